//! Whole runs, each spoilt once: at every reply of the server in every way, and at every system call with every error.
//! Nothing is lost by it, a run that says that all went well has done all, and the next run finishes what is left.
//!
//! An ordinary run of the tests takes a share of the cases, another one for each `CORACLE_SEED`; with `CORACLE_LONG=1` it takes
//! all of them.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::ftp_server::{Close, Config, Effect, Fault, FtpServer};
use support::is_long;
use support::program::{Ended, Place, finish, put};
use support::random::Random;

/// How many cases of each story an ordinary run takes.
const SHARE: usize = 8;

/// The impatience of a run, in seconds: a lost reply costs so long.
const TIMEOUT: &str = "1";

const AGE_SECS: u64 = 100_000;

/// Content by path.
type Tree = BTreeMap<String, Vec<u8>>;

/// What is done to one of two trees that were equal.
type Edit = fn(&Path);

/// A run with something of everything to do.
#[derive(Clone, Copy)]
struct Story {
    command: &'static [&'static str],
    local: Edit,
    remote: Edit,
}

const UPLOAD: Story = Story {
    command: &["upload", "--delete"],
    local: edit_all,
    remote: edit_nothing,
};
const DOWNLOAD: Story = Story {
    command: &["download", "--delete"],
    local: edit_nothing,
    remote: edit_all,
};
const SYNC: Story = Story {
    command: &["sync"],
    local: edit_some,
    remote: edit_others,
};

fn edit_nothing(_: &Path) {}

fn edit_all(root: &Path) {
    edit_some(root);
    edit_others(root);
}

fn edit_some(root: &Path) {
    put(root, "new", "new, and never seen before", 1_000);
    put(root, "changed", "changed, and longer than before", 1_000);
    put(root, "made/deep/new", "new below new directories", 1_000);
    fs::remove_file(root.join("gone")).unwrap();
    fs::rename(root.join("moved"), root.join("d/moved")).unwrap();
}

fn edit_others(root: &Path) {
    put(root, "d/new", "another new one", 1_000);
    put(root, "d/changed", "another changed one, longer", 1_000);
    fs::remove_file(root.join("away/gone")).unwrap();
    fs::remove_dir(root.join("away")).unwrap();
}

/// Two trees, one of them served, that come back to the beginning of a story for every case.
struct Stage {
    place: Place,
    server: FtpServer,
    story: Story,
    before: [Tree; 2],
    after: Tree,
}

impl Stage {
    fn set(story: Story) -> Self {
        let place = Place::new("sweep");
        let server = FtpServer::start(Config {
            accept_timeout: Duration::from_millis(100),
            ..Config::serving(place.remote())
        });
        let mut stage = Self {
            place,
            server,
            story,
            before: Default::default(),
            after: Tree::new(),
        };
        stage.begin();
        stage.before = stage.trees();
        finish(stage.command(story.command)).expect(0);
        let [local, remote] = stage.trees();
        assert_eq!(users(&local), users(&remote));
        stage.after = users(&local);
        stage
    }

    /// Puts everything in its place for a case. An archive knows when it was copied, so that a run makes it anew.
    fn begin(&self) {
        self.server.heal();
        for root in [self.place.local(), self.place.remote(), self.place.home()] {
            fs::remove_dir_all(&root).unwrap();
            fs::create_dir(&root).unwrap();
        }
        for name in [
            "kept",
            "changed",
            "gone",
            "moved",
            "d/kept",
            "d/changed",
            "away/gone",
        ] {
            put(&self.place.local(), name, format!("old {name}"), AGE_SECS);
        }
        finish(self.command(&["sync"])).expect(0);
        (self.story.local)(&self.place.local());
        (self.story.remote)(&self.place.remote());
        self.server.take_commands();
    }

    fn command(&self, command: &[&str]) -> Command {
        let url = self.server.url("");
        let options = ["--timeout", TIMEOUT, "--connections", "1"];
        let arguments = [command, &["local", &url], &options].concat();
        self.place.command(&arguments)
    }

    fn trees(&self) -> [Tree; 2] {
        [tree(&self.place.local()), tree(&self.place.remote())]
    }

    /// Whether nothing was lost by what just ended, and the next run finishes it.
    fn check(&self, ended: &Ended, case: &str) {
        assert!(ended.code.is_some(), "{case}: {ended}");
        assert!(!ended.stderr.contains("panicked"), "{case}: {ended}");
        let now = self.trees();
        for (before, now) in self.before.iter().zip(&now) {
            self.check_kept(before, now, &format!("{case}: {ended}"));
        }
        self.check_anywhere(&now, &format!("{case}: {ended}"));
        if ended.code == Some(0) {
            for now in &now {
                assert_eq!(shown(&users(now)), shown(&self.after), "{case}: {ended}");
            }
        }
        self.server.heal();
        let next = finish(self.command(self.story.command));
        let all = format!("{case}: {ended}\n--- and then\n{next}");
        assert_eq!(next.code, Some(0), "{all}");
        for now in self.trees() {
            assert_eq!(shown(&users(&now)), shown(&self.after), "{all}");
        }
    }

    /// Each file is the old or the new one.
    fn check_kept(&self, before: &Tree, now: &Tree, case: &str) {
        let paths: BTreeSet<&String> = before.keys().chain(self.after.keys()).collect();
        for path in paths.into_iter().filter(|path| !is_own(path)) {
            let (old, new) = (before.get(path), self.after.get(path));
            match now.get(path) {
                Some(content) => assert!(
                    Some(content) == old || Some(content) == new,
                    "{path} holds {:?}\n{case}",
                    String::from_utf8_lossy(content)
                ),
                // Moved aside, where the server does not rename over a file.
                None => assert!(
                    old.is_none() || new.is_none() || now.values().any(|it| Some(it) == old),
                    "{path} is lost\n{case}"
                ),
            }
        }
    }

    /// Whatever is to stay is there somewhere: what was moved on one side may go from the other before it comes back there.
    fn check_anywhere(&self, now: &[Tree; 2], case: &str) {
        let is_in = |tree: &Tree, content| tree.values().any(|it| it == content);
        for content in self.before.iter().flat_map(Tree::values) {
            assert!(
                !is_in(&self.after, content) || now.iter().any(|tree| is_in(tree, content)),
                "{:?} is lost\n{case}",
                String::from_utf8_lossy(content)
            );
        }
    }
}

/// Goes through all cases, or through some that the seed chooses. One that fails is told, and the others are tried all the
/// same.
fn choose(count: usize, play: impl Fn(usize)) {
    let seed = std::env::var("CORACLE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = Random::new(seed);
    let chosen: Vec<usize> = if is_long() {
        (0..count).collect()
    } else {
        (0..SHARE).map(|_| random.below(count)).collect()
    };
    let fails = |case: &usize| catch_unwind(AssertUnwindSafe(|| play(*case))).is_err();
    let tried = chosen.len();
    let failed = chosen.into_iter().filter(fails).count();
    assert_eq!(failed, 0, "of {tried} cases");
}

/// All files below a directory.
fn tree(root: &Path) -> Tree {
    fn walk(root: &Path, dir: &Path, found: &mut Tree) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut found = Tree::new();
    walk(root, root, &mut found);
    found
}

/// Whether coracle keeps it for itself.
fn is_own(path: &str) -> bool {
    path.contains(".coracle") || path.contains(".pyftpsync-")
}

fn users(tree: &Tree) -> Tree {
    let mut tree = tree.clone();
    tree.retain(|path, _| !is_own(path));
    tree
}

fn shown(tree: &Tree) -> Vec<(&str, String)> {
    tree.iter()
        .map(|(path, content)| (&path[..], String::from_utf8_lossy(content).into_owned()))
        .collect()
}

/// What stands in the place of a reply.
fn replies() -> Vec<(String, Effect)> {
    let mut replies = vec![
        ("silence".to_owned(), Effect::drop_reply()),
        ("an end".to_owned(), Effect::close_control(Close::Fin)),
        ("a reset".to_owned(), Effect::close_control(Close::Reset)),
        (
            "done, then an end".to_owned(),
            Effect::act_then_close(Close::Fin),
        ),
        (
            "done, then a reset".to_owned(),
            Effect::act_then_close(Close::Reset),
        ),
        (
            "garbage".to_owned(),
            Effect::raw_reply("what do you want?\r\n"),
        ),
        (
            "half a reply".to_owned(),
            Effect::raw_reply("25").closing(Close::Fin),
        ),
        ("twice".to_owned(), Effect::double_reply()),
        ("cut data".to_owned(), Effect::cut_data(1)),
        (
            "cut data and 226".to_owned(),
            Effect::cut_data(1).saying(226, "fine"),
        ),
        ("short data".to_owned(), Effect::write_short(1)),
    ];
    for code in [200, 226, 257, 350, 421, 426, 450, 500, 550, 552] {
        replies.push((code.to_string(), Effect::reply(code, "so there")));
    }
    for code in [421, 426, 451, 500, 550] {
        let name = format!("done, but {code}");
        replies.push((name, Effect::act_then_reply(code, "so there")));
    }
    assert_eq!(replies.len(), 26);
    replies
}

fn spoil_replies(story: Story) {
    let stage = Stage::set(story);
    stage.begin();
    finish(stage.command(story.command)).expect(0);
    let commands = stage.server.take_commands();
    let replies = replies();
    choose(commands.len() * replies.len(), |case| {
        let (number, (name, effect)) = (case / replies.len(), &replies[case % replies.len()]);
        let case = format!("{name} for {} ({})", commands[number], number + 1);
        stage.begin();
        stage
            .server
            .inject(Fault::at_command(number + 1).then(effect.clone()));
        let ended = finish(stage.command(story.command));
        stage.check(&ended, &case);
    });
}

#[test]
fn no_spoilt_reply_of_an_upload_loses_anything() {
    spoil_replies(UPLOAD);
}

#[test]
fn no_spoilt_reply_of_a_download_loses_anything() {
    spoil_replies(DOWNLOAD);
}

#[test]
fn no_spoilt_reply_of_a_sync_loses_anything() {
    spoil_replies(SYNC);
}

/// What system calls fail with.
const ERRORS: [(&str, i32); 5] = [
    ("EIO", libc::EIO),
    ("ENOSPC", libc::ENOSPC),
    ("EACCES", libc::EACCES),
    ("EROFS", libc::EROFS),
    ("EMFILE", libc::EMFILE),
];

/// Builds what makes system calls fail, from its source beside this.
fn failing_calls(place: &Place) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/failing_calls.rs");
    let library = place.path().join("failing_calls.so");
    let built = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()))
        .args(["--edition=2024", "--crate-type=cdylib", "-Copt-level=1"])
        .args([Path::new("-o"), &library, &source])
        .output()
        .expect("whoever runs this has a Rust toolchain");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    library
}

fn fail_calls(story: Story) {
    let stage = Stage::set(story);
    let library = failing_calls(&stage.place);
    let note = stage.place.path().join("note");
    // The note tells which call was hit, or how many there were.
    let run = |number: usize, error: i32| {
        stage.begin();
        let _ = fs::remove_file(&note);
        let command = stage.command(story.command);
        // The program itself, without what starts it.
        let mut alone = Command::new(env!("CARGO_BIN_EXE_coracle"));
        alone
            .args(command.get_args().skip(2))
            .current_dir(stage.place.path())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .env("LD_PRELOAD", &library)
            .env("FAIL_AT", number.to_string())
            .env("FAIL_WITH", error.to_string())
            .env("FAIL_NOTE", &note);
        let ended = finish(alone);
        (ended, fs::read_to_string(&note).unwrap_or_default())
    };
    let (ended, count) = run(0, 0);
    let count: usize = count
        .parse()
        .unwrap_or_else(|_| panic!("{count:?}: {ended}"));
    choose(count * ERRORS.len(), |case| {
        let (number, (name, error)) = (case / ERRORS.len() + 1, ERRORS[case % ERRORS.len()]);
        let (ended, call) = run(number, error);
        stage.check(&ended, &format!("{name} at call {number}, {call}"));
    });
}

#[test]
fn no_failing_call_of_an_upload_loses_anything() {
    fail_calls(UPLOAD);
}

#[test]
fn no_failing_call_of_a_download_loses_anything() {
    fail_calls(DOWNLOAD);
}

#[test]
fn no_failing_call_of_a_sync_loses_anything() {
    fail_calls(SYNC);
}
