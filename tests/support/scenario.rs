//! Two trees on disk, what their user did to them, and what must be true of them whenever a run ends, however it ends.
//!
//! ```text
//!  World ── user's files, first run, user's changes ──▶ saved
//!  saved ── the undisturbed run ──▶ Reference (both trees before and after)
//!  saved ── a run that is disturbed ──▶ check_cut_off ── the next run ──▶ check_recovered ── another ──▶ nothing changes
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use coracle::path::{METADATA_NAME, Name, TRASH_MARK};
use coracle::side::{Side, Sides};

use super::connections;
use super::ftp_server::{Config, FtpServer};
use super::servers::{Kind, Options, Server};
use super::ssh::{Daemon, SshClient, SshServer};
use super::temp::TempDir;

/// When the files of a fresh world were modified, in seconds since 1970; changed ones are a day younger.
pub const BORN_SECS: i64 = 1_600_000_000;
const DAY_SECS: i64 = 86_400;

/// What a server does for a killed client may take so long on a loaded machine: it waits for a data connection first, and
/// real ones do that for up to ten seconds.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// How long the server in this process waits for the data connection of a client that is gone.
const ACCEPT_WAIT: Duration = Duration::from_secs(5);

/// What the remote side is.
#[allow(clippy::large_enum_variant, reason = "a test has one")]
pub enum Place {
    /// A directory of this machine.
    Directory,
    /// A server inside this process.
    InProcess(FtpServer),
    /// A real one.
    Real(Box<Server>),
    /// A real SSH server, reached by that program.
    Ssh(Box<SshServer>, SshClient),
}

/// A local and a remote tree with the state directory of their user.
pub struct World {
    dir: TempDir,
    remote: PathBuf,
    place: Place,
    /// Whether remote files are to have the times that the undisturbed run gave them.
    pub keeps_times: bool,
    /// `--timeout`, in seconds.
    pub timeout_secs: u32,
    /// `--connections`.
    pub connections: u8,
}

impl World {
    /// Two directories of this machine.
    pub fn of_directories(name: &str) -> Self {
        Self::at(name, None, Place::Directory, true)
    }

    /// A directory and a server in this process.
    pub fn of_process(name: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new(name);
        let served = dir.path().join("served");
        fs::create_dir(&served).unwrap();
        let mut config = Config::serving(&served);
        config.accept_timeout = ACCEPT_WAIT;
        configure(&mut config);
        let keeps_times = config.mfmt || config.mdtm_set || config.site_utime;
        let server = FtpServer::start(config);
        Self::at(name, Some(dir), Place::InProcess(server), keeps_times)
    }

    /// A directory and a real server.
    pub fn of_server(name: &str, kind: Kind, sets_times: bool) -> Self {
        let options = Options {
            sets_times,
            ..Options::default()
        };
        Self::at(
            name,
            None,
            Place::Real(Box::new(Server::start(kind, options))),
            sets_times,
        )
    }

    /// A directory and a real SSH server, reached by that program.
    pub fn of_ssh(name: &str, daemon: Daemon, client: SshClient) -> Self {
        let server = Box::new(SshServer::start(daemon));
        Self::at(name, None, Place::Ssh(server, client), true)
    }

    fn at(name: &str, dir: Option<TempDir>, place: Place, keeps_times: bool) -> Self {
        let dir = dir.unwrap_or_else(|| TempDir::new(name));
        let connections = connections(match &place {
            Place::Directory | Place::InProcess(_) | Place::Real(_) => 4,
            // A login costs more than all else here.
            Place::Ssh(..) => 2,
        });
        let remote = match &place {
            Place::Directory => dir.path().join("remote"),
            Place::InProcess(server) => server.root().join("r"),
            Place::Real(server) => server.root().join("r"),
            Place::Ssh(server, _) => server.root().join("r"),
        };
        fs::create_dir_all(dir.path().join("now/local")).unwrap();
        fs::create_dir_all(dir.path().join("now/home")).unwrap();
        fs::create_dir_all(&remote).unwrap();
        Self {
            dir,
            remote,
            place,
            keeps_times,
            timeout_secs: 10,
            connections,
        }
    }

    /// The directory that is synced on that side.
    pub fn root(&self, side: Side) -> PathBuf {
        match side {
            Side::Local => self.dir.path().join("now/local"),
            Side::Remote => self.remote.clone(),
        }
    }

    /// The server in this process; there must be one.
    pub fn server(&self) -> &FtpServer {
        match &self.place {
            Place::InProcess(server) => server,
            Place::Directory | Place::Real(_) | Place::Ssh(..) => {
                panic!("this world has no server in process")
            }
        }
    }

    /// Whether its server is reached over SSH.
    pub fn is_over_ssh(&self) -> bool {
        matches!(self.place, Place::Ssh(..))
    }

    fn url(&self) -> String {
        match &self.place {
            Place::Directory => self.remote.to_str().unwrap().to_owned(),
            Place::InProcess(server) => server.url("r"),
            Place::Real(server) => server.url("r"),
            Place::Ssh(server, _) => server.url("r"),
        }
    }

    fn ssh_options(&self) -> Vec<String> {
        match &self.place {
            Place::Ssh(server, client) => vec!["--ssh-command".into(), server.command(*client)],
            Place::Directory | Place::InProcess(_) | Place::Real(_) => Vec::new(),
        }
    }

    /// Gives what the test wrote to the server's user.
    fn hand_over(&self) {
        match &self.place {
            Place::Directory | Place::InProcess(_) => {}
            Place::Real(server) => server.own_files(),
            Place::Ssh(server, _) => server.own_files(),
        }
    }

    /// Writes a file whose content follows from `label` alone; `days` after the birth of the world.
    pub fn put(&self, side: Side, path: &str, label: &str, size: usize, days: i64) {
        let path = self.root(side).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content(label, size)).unwrap();
        let secs = (BORN_SECS + days * DAY_SECS) as u64;
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(secs))
            .unwrap();
    }

    /// Removes a file, or a directory with all that is in it.
    pub fn take(&self, side: Side, path: &str) {
        let path = self.root(side).join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// Renames a file or directory, into a directory that is made where it is not there.
    pub fn rename(&self, side: Side, from: &str, to: &str) {
        let to = self.root(side).join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.root(side).join(from), to).unwrap();
    }

    /// The program, with `args` (the first is the command) and both roots.
    pub fn coracle(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
        self.complete(&mut command, args);
        command
    }

    fn complete(&self, command: &mut Command, args: &[&str]) {
        let (command_name, options) = args.split_first().expect("the command comes first");
        command
            .arg(command_name)
            .args([
                "--timeout",
                &self.timeout_secs.to_string(),
                "--retries",
                "1",
                "--connections",
                &self.connections.to_string(),
            ])
            .args(self.ssh_options())
            .args(options)
            .arg(self.root(Side::Local))
            .arg(self.url())
            .env("HOME", self.dir.path().join("now/home"))
            .env_remove("XDG_STATE_HOME")
            .env_remove("CORACLE_PASSWORD")
            .stdin(Stdio::null())
            .stdout(self.empty_output())
            .stderr(File::options().append(true).open(self.output()).unwrap());
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    /// Both channels append to it, or one would overwrite what the other has written.
    fn empty_output(&self) -> File {
        let _none_the_first_time = fs::remove_file(self.output());
        File::options()
            .append(true)
            .create(true)
            .open(self.output())
            .unwrap()
    }

    /// What the last run printed on both channels.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.output()).unwrap()).into_owned()
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        let begin = Instant::now();
        let status = self.coracle(args).status().unwrap();
        Ended {
            code: status.code(),
            printed: self.printed(),
            took: begin.elapsed(),
        }
    }

    /// How many commands the server in this process was sent since this was asked last; 0 where there is none.
    fn commands(&self) -> u64 {
        match &self.place {
            Place::InProcess(server) => server.take_commands().len() as u64,
            Place::Directory | Place::Real(_) | Place::Ssh(..) => 0,
        }
    }

    /// Keeps both trees and the state as they are now.
    pub fn save(&self) {
        let saved = self.dir.path().join("saved");
        let _none_the_first_time = fs::remove_dir_all(&saved);
        fs::create_dir(&saved).unwrap();
        copy_tree("-al", &self.dir.path().join("now"), &saved.join("now"));
        copy_tree("-a", &self.remote, &saved.join("remote"));
    }

    /// Brings back what was saved. The remote root stays the same directory.
    pub fn restore(&self) {
        let saved = self.dir.path().join("saved");
        fs::remove_dir_all(self.dir.path().join("now")).unwrap();
        copy_tree("-al", &saved.join("now"), &self.dir.path().join("now"));
        // A server may still make something for a client that is gone.
        until(|| fs::remove_dir_all(&self.remote).is_ok());
        copy_tree("-a", &saved.join("remote"), &self.remote);
        self.hand_over();
    }

    /// Both trees.
    pub fn trees(&self) -> Sides<Tree> {
        Side::BOTH.into_iter().fold(
            Sides::new(Tree::default(), Tree::default()),
            |mut trees, side| {
                *trees.of_mut(side) = Tree::read(&self.root(side));
                trees
            },
        )
    }

    /// Runs undisturbed, makes sure that nothing is left to do then, and goes back to the start.
    pub fn reference(&self, args: &[&str]) -> Reference {
        self.save();
        // What is undone later must not differ from what was there at first, inodes included.
        self.restore();
        let before = self.trees();
        self.commands();
        let ended = self.run(args);
        assert_eq!(
            ended.code,
            Some(0),
            "the undisturbed run: {}",
            ended.printed
        );
        let after = self.trees();
        let reference = Reference {
            commands: self.commands(),
            conflicts: conflict_lines(&ended.printed),
            renames: ended.printed.matches("\nrename ").count(),
            took: ended.took,
            before,
            after,
        };
        self.check_does_nothing(args, "after the undisturbed run");
        self.restore();
        reference
    }

    /// Panics unless what a run that was cut off has left is sound: whole files under final names, nothing lost, good metadata.
    pub fn check_cut_off(&self, reference: &Reference, when: &str) {
        let mut wrong = String::new();
        // A file may be renamed by the server between two looks at the tree.
        let sound = holds_soon(|| {
            wrong = self.faults_of(&self.trees(), reference);
            wrong.is_empty()
        });
        assert!(
            sound,
            "{when}:\n{wrong}\nthe run printed:\n{}",
            self.printed()
        );
    }

    fn faults_of(&self, now: &Sides<Tree>, reference: &Reference) -> String {
        let mut wrong = String::new();
        for side in Side::BOTH {
            for (path, node) in &now.of(side).0 {
                let Node::File { hash, size, .. } = node else {
                    continue;
                };
                if is_ours(path) {
                    continue;
                }
                let may_be = [&reference.before, &reference.after].map(|trees| trees.of(side));
                let is_known = may_be.iter().any(|tree| tree.has(path, *hash));
                if !is_known {
                    wrong += &format!("{side} {path} has {size} bytes that nobody wrote there\n");
                }
            }
            for file in metadata_files(&self.root(side)) {
                let Ok(bytes) = fs::read(&file) else { continue };
                let parsed = serde_json::from_slice::<serde_json::Value>(&bytes);
                if !parsed.is_ok_and(|value| value["_file_version"] == 3) {
                    wrong += &format!("{} is damaged\n", file.display());
                }
            }
            for (path, node) in &now.of(side).0 {
                if path.starts_with(".coracle/archive-")
                    && !path.ends_with(".new")
                    && matches!(node, Node::File { .. })
                    && !is_whole(&self.root(side).join(path))
                {
                    wrong += &format!("{side} {path} is not whole\n");
                }
            }
        }
        let there: Vec<u64> = Side::BOTH
            .into_iter()
            .flat_map(|side| now.of(side).hashes())
            .collect();
        for side in Side::BOTH {
            for (path, node) in reference.after.of(side).users() {
                if let Node::File { hash, .. } = node
                    && !there.contains(hash)
                {
                    wrong += &format!("the content of {side} {path} is lost\n");
                }
            }
        }
        wrong
    }

    /// Panics unless the next run brings the trees to where the undisturbed one did, and the one after does nothing.
    pub fn check_recovers(&self, args: &[&str], reference: &Reference, when: &str) {
        let ended = self.run(args);
        let context = || format!("{when}; the next run printed:\n{}", ended.printed);
        assert_eq!(ended.code, Some(0), "{}", context());
        let new_conflicts: Vec<String> = conflict_lines(&ended.printed)
            .into_iter()
            .filter(|line| !reference.conflicts.contains(line))
            .collect();
        assert!(
            new_conflicts.is_empty(),
            "new conflicts {new_conflicts:?}: {}",
            context()
        );
        let mut now = self.trees();
        let _a_killed_clients_session_may_still_be_at_it = holds_soon(|| {
            now = self.trees();
            Side::BOTH
                .into_iter()
                .all(|side| now.of(side).left_over().is_empty())
        });
        for side in Side::BOTH {
            let left_over = now.of(side).left_over();
            assert!(
                left_over.is_empty(),
                "{side} has {left_over:?}: {}",
                context()
            );
            let keeps_times = side == Side::Local || self.keeps_times;
            let (is, expected) = (
                now.of(side).lines(keeps_times),
                reference.after.of(side).lines(keeps_times),
            );
            assert!(
                is == expected,
                "{side}: differences (- expected, + found):\n{}\n{}",
                differences(&expected, &is),
                context()
            );
        }
        self.check_does_nothing(args, when);
    }

    /// Checks that one more run writes nothing.
    fn check_does_nothing(&self, args: &[&str], when: &str) {
        let before = stamps(&[self.root(Side::Local), self.root(Side::Remote)]);
        let ended = self.run(args);
        assert_eq!(
            ended.code,
            Some(0),
            "{when}, the run after that: {}",
            ended.printed
        );
        let after = stamps(&[self.root(Side::Local), self.root(Side::Remote)]);
        let written = differences(&before, &after);
        assert!(
            written.is_empty(),
            "{when}, the run after that writes: {}\n{written}",
            ended.printed
        );
    }
}

/// How a run ended.
pub struct Ended {
    /// The exit code; none when it was killed.
    pub code: Option<i32>,
    /// What it printed, on both channels.
    pub printed: String,
    /// How long it took.
    pub took: Duration,
}

/// What the undisturbed run made of a world.
pub struct Reference {
    /// The trees it found.
    pub before: Sides<Tree>,
    /// The trees it left.
    pub after: Sides<Tree>,
    /// Its lines about conflicts.
    pub conflicts: Vec<String>,
    /// How many files and directories it renamed.
    pub renames: usize,
    /// How long it took.
    pub took: Duration,
    /// How many commands a server in process was sent.
    pub commands: u64,
}

/// A tree at one moment, by path.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Node>);

/// What is at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// A directory.
    Dir,
    /// A file.
    File {
        /// Of its content.
        hash: u64,
        /// Bytes.
        size: u64,
        /// Seconds since 1970.
        mtime_secs: i64,
    },
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        walk(root, &mut |path, metadata| {
            let node = if metadata.is_dir() {
                Node::Dir
            } else {
                let Ok(bytes) = fs::read(path) else { return };
                Node::File {
                    hash: hash(&bytes),
                    size: bytes.len() as u64,
                    mtime_secs: metadata.mtime(),
                }
            };
            let path = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            tree.0.insert(path, node);
        });
        tree
    }

    /// What is the user's in it.
    pub fn users(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.0.iter().filter(|(path, _)| !is_ours(path))
    }

    fn hashes(&self) -> impl Iterator<Item = u64> {
        self.0.values().filter_map(|node| match node {
            Node::File { hash, .. } => Some(*hash),
            Node::Dir => None,
        })
    }

    fn has(&self, path: &str, wanted: u64) -> bool {
        let path = without_time(path);
        let mut same = self
            .0
            .iter()
            .filter(|(other, _)| without_time(other) == path);
        same.any(|(_, node)| matches!(node, Node::File { hash, .. } if *hash == wanted))
    }

    /// What a run may not leave behind: partial files, journals, locks.
    fn left_over(&self) -> Vec<&String> {
        let is_archive = |name: &str| {
            let hash = name.strip_prefix("archive-").unwrap_or_default();
            hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let is_left = |path: &&String| {
            let name = path.rsplit('/').next().expect("there is a last part");
            let is_to_stay = match path.strip_prefix(".coracle") {
                Some(below) => matches!(below, "" | "/.gitignore") || is_archive(name),
                None => name.as_bytes() == METADATA_NAME || name.as_bytes() == TRASH_MARK,
            };
            is_ours(path) && !is_to_stay
        };
        self.0.keys().filter(is_left).collect()
    }

    /// The user's part as lines that can be compared.
    fn lines(&self, with_times: bool) -> Vec<String> {
        let mut lines: Vec<String> = self
            .users()
            .map(|(path, node)| match node {
                Node::Dir => format!("{}/", without_time(path)),
                Node::File {
                    hash,
                    size,
                    mtime_secs,
                } => {
                    let at = if with_times { *mtime_secs } else { 0 };
                    format!("{} {size} bytes, {hash:x} @{at}", without_time(path))
                }
            })
            .collect();
        lines.sort();
        // What two runs put into the trash lies in two directories of it.
        lines.dedup_by(|one, two| one == two && one.starts_with(".trash"));
        lines
    }
}

fn differences(expected: &[String], is: &[String]) -> String {
    let missing = expected
        .iter()
        .filter(|line| !is.contains(line))
        .map(|line| format!("- {line}"));
    let extra = is
        .iter()
        .filter(|line| !expected.contains(line))
        .map(|line| format!("+ {line}"));
    missing.chain(extra).collect::<Vec<_>>().join("\n")
}

/// A path in which the time of a run is `#`, as conflict and trash names carry it.
fn without_time(path: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for char in path.chars().chain(['\0']) {
        if char.is_ascii_digit() {
            digits.push(char);
            continue;
        }
        out += if digits.len() >= 6 { "#" } else { &digits };
        digits.clear();
        out.push(char);
    }
    out.pop();
    out
}

fn is_ours(path: &str) -> bool {
    path.split('/')
        .any(|part| Name::new(part.as_bytes()).unwrap().is_reserved())
}

/// Whether an archive has its last line; one that was replaced meanwhile is no matter.
fn is_whole(archive: &Path) -> bool {
    let Ok(text) = fs::read_to_string(archive) else {
        return true;
    };
    text.ends_with('\n') && (text.lines().last()).is_some_and(|line| line.starts_with("{\"end\":"))
}

/// The lines that tell of a conflict, without what differs from run to run.
fn conflict_lines(printed: &str) -> Vec<String> {
    // What was done stands before the sign; names may speak of conflicts, too.
    let done = |line: &str| line.get(..16).unwrap_or_default().to_owned();
    let tells = |line: &&str| done(line).contains("conflict") || done(line).contains("keep both");
    printed.lines().filter(tells).map(without_time).collect()
}

fn metadata_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(root, &mut |path, _| {
        if path
            .file_name()
            .is_some_and(|name| name.as_bytes() == METADATA_NAME)
        {
            found.push(path.to_owned());
        }
    });
    found
}

/// What changes whenever something is written: of every entry, ours included, inode, size and times.
fn stamps(roots: &[PathBuf]) -> Vec<String> {
    let mut stamps = Vec::new();
    for root in roots {
        walk(root, &mut |path, metadata| {
            let size = if metadata.is_dir() {
                0
            } else {
                metadata.size()
            };
            let (path, inode) = (path.display(), metadata.ino());
            let at = (metadata.mtime(), metadata.mtime_nsec());
            stamps.push(format!("{path}: {size} bytes, inode {inode}, at {at:?}"));
        });
    }
    stamps.sort();
    stamps
}

/// Visits everything below `dir`; what vanishes meanwhile is passed over.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        visit(&path, &metadata);
        if metadata.is_dir() {
            walk(&path, visit);
        }
    }
}

/// With `-al` the copy's files are the same ones: they keep their inodes, and are replaced but never written.
fn copy_tree(how: &str, from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg(how)
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(copied.success(), "copying {}", from.display());
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Bytes that no other label has.
pub fn content(label: &str, size: usize) -> Vec<u8> {
    let mut random = Random::new(hash(label.as_bytes()));
    let mut bytes = format!("{label}\n").into_bytes();
    while bytes.len() < size {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes
}

/// Waits until it holds, and panics if it does not come to that.
pub fn until(mut holds: impl FnMut() -> bool) {
    assert!(holds_soon(&mut holds), "what was waited for never came");
}

fn holds_soon(mut holds: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begin.elapsed() > SETTLE_LIMIT {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the end of a child that others may kill meanwhile.
pub fn reap(child: &std::sync::Mutex<Option<Child>>) -> std::process::ExitStatus {
    loop {
        let ended = child
            .lock()
            .unwrap()
            .as_mut()
            .expect("the child is there")
            .try_wait()
            .unwrap();
        if let Some(status) = ended {
            return status;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Numbers that look random and are the same in every run (xorshift64*).
pub struct Random(u64);

impl Random {
    /// The sequence of that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What a user did and what is run then.
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What was on both sides at first.
    pub born: fn(&World),
    /// The run after that; none leaves it at that.
    pub first: Option<&'static [&'static str]>,
    /// What the user changed then.
    pub changed: fn(&World),
    /// The run that is looked at.
    pub run: &'static [&'static str],
}

impl Scenario {
    /// Puts the world into the state before the run.
    pub fn play(&self, world: &World) {
        (self.born)(world);
        world.hand_over();
        if let Some(args) = self.first {
            let ended = world.run(args);
            assert_eq!(ended.code, Some(0), "{}: {}", self.name, ended.printed);
        }
        (self.changed)(world);
        world.hand_over();
    }

    /// All of them.
    pub const ALL: [Self; 10] = [
        Self {
            name: "first upload",
            born: |world| some_files(world, Side::Local),
            first: None,
            changed: |_| {},
            run: &["upload"],
        },
        Self {
            name: "first download",
            born: |world| some_files(world, Side::Remote),
            first: None,
            changed: |_| {},
            run: &["download"],
        },
        Self {
            name: "first sync",
            born: |world| {
                for side in Side::BOTH {
                    some_files(world, side);
                    world.put(side, &format!("only {side}/file"), "lonely", 3_000, 0);
                }
                world.put(Side::Local, "d1/newer", "newer local", 900, 2);
                world.put(Side::Remote, "d1/newer", "older remote", 800, 1);
            },
            first: None,
            changed: |_| {},
            run: &["sync"],
        },
        Self {
            name: "changes both ways",
            born: |world| some_files(world, Side::Local),
            first: Some(&["sync"]),
            changed: |world| {
                for (side, n) in [(Side::Local, 1), (Side::Remote, 2)] {
                    world.put(
                        side,
                        &format!("d{n}/file 1"),
                        &format!("{side} changed"),
                        5_000,
                        1,
                    );
                    world.put(
                        side,
                        &format!("d{n}/file 2"),
                        &format!("{side} shorter"),
                        50,
                        1,
                    );
                    world.put(
                        side,
                        &format!("d{n}/new one"),
                        &format!("{side} new"),
                        700,
                        1,
                    );
                    world.put(
                        side,
                        &format!("new {side}/a/b/deep"),
                        &format!("{side} deep"),
                        70_000,
                        1,
                    );
                    world.put(
                        side,
                        &format!("new {side}/beside"),
                        &format!("{side} beside"),
                        10,
                        1,
                    );
                    world.take(side, &format!("d{n}/file 0"));
                }
                world.take(Side::Local, "d3");
                world.take(Side::Remote, "d4/sub");
            },
            run: &["sync"],
        },
        Self {
            name: "mirror with deletions",
            born: |world| some_files(world, Side::Local),
            first: Some(&["upload"]),
            changed: |world| {
                world.take(Side::Local, "d2");
                world.take(Side::Local, "d1/file 2");
                world.put(Side::Local, "d1/file 0", "changed here", 2_000, 1);
                world.put(Side::Remote, "d1/file 1", "changed there", 2_000, 1);
                world.put(Side::Remote, "unwanted/file", "unwanted", 200, 1);
            },
            run: &["upload", "--force", "--delete"],
        },
        Self {
            name: "mirror of the remote",
            born: |world| some_files(world, Side::Remote),
            first: Some(&["download"]),
            changed: |world| {
                world.take(Side::Remote, "d2");
                world.put(Side::Remote, "d1/file 0", "changed there", 2_000, 1);
                world.put(Side::Local, "d1/file 1", "changed here", 2_000, 1);
                world.put(Side::Local, "unwanted/file", "unwanted", 200, 1);
            },
            run: &["download", "--force", "--delete"],
        },
        Self {
            name: "large files",
            born: |world| world.put(Side::Local, "old", "old large", 2_500_000, 0),
            first: Some(&["sync"]),
            changed: |world| {
                world.put(Side::Remote, "old", "new large", 2_600_000, 1);
                world.put(Side::Local, "dir/up", "large up", 2_700_000, 1);
            },
            run: &["sync", "--limit-rate", "20M"],
        },
        Self {
            name: "both files of conflicts kept",
            born: |world| some_files(world, Side::Local),
            first: Some(&["sync"]),
            changed: |world| {
                for n in 0..3 {
                    let path = format!("d1/file {n}");
                    world.put(Side::Local, &path, &format!("local {n}"), 3_000, 1);
                    world.put(
                        Side::Remote,
                        &path,
                        &format!("remote {n}"),
                        2_000,
                        1 + n % 2 * 2,
                    );
                }
            },
            run: &["sync", "--resolve", "both"],
        },
        Self {
            name: "renames",
            born: |world| some_files(world, Side::Local),
            first: Some(&["sync"]),
            changed: |world| {
                world.rename(Side::Local, "d1/file 0", "new/deep/moved");
                world.rename(Side::Local, "d1/file 1", "d1/other name");
                world.rename(Side::Local, "at the top", "d3/at the top");
                world.rename(Side::Local, "d2", "called otherwise");
                world.rename(Side::Local, "d4/sub", "new/sub");
                world.put(Side::Local, "new/one", "new one", 700, 1);
            },
            run: &["sync"],
        },
        Self {
            name: "trash",
            born: |world| some_files(world, Side::Local),
            first: Some(&["sync"]),
            changed: |world| {
                world.put(Side::Local, "d1/file 0", "changed here", 2_000, 1);
                world.put(Side::Remote, "d1/file 1", "changed there", 2_000, 1);
                world.take(Side::Local, "d2/file 0");
                world.take(Side::Remote, "d3/file 0");
            },
            run: &["sync", "--trash", ".trash"],
        },
    ];
}

/// Sixteen files of many sizes in six directories.
fn some_files(world: &World, side: Side) {
    for dir in ["d1", "d2", "d3", "d4", "d4/sub"] {
        for n in 0..3 {
            let path = format!("{dir}/file {n}");
            world.put(side, &path, &path, 10 + 7_000 * n * dir.len(), 0);
        }
    }
    world.put(side, "at the top", "at the top", 100, 0);
}
