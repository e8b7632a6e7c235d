//! One target looked at by itself: `tree` and `scan` beside pyftpsync's, and what only coracle tells and tidies up.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle::path::{Name, partial_name};
use coracle::replica::LocalReplica;
use coracle::sync::record::Register;
use support::ftp_server::{Config, FtpServer};
use support::program::{Place, Snapshot, content, finish, put};
use support::servers::{Kind, Options, Server, pyftpsync};

/// What people have: names with blanks and letters of theirs, upper and lower case, empty directories, what is left out.
fn lay_out(root: &Path) {
    for (path, size) in [
        ("index.html", 1_234_567),
        ("Readme", 0),
        ("a file with a name that is longer than any column.txt", 12),
        ("photos/Zoo/1.jpg", 12_345),
        ("photos/Zoo/2.jpg", 999),
        ("photos/alps/täler/a b.jpg", 1),
        ("photos/notes.tmp", 5),
        (".git/config", 3),
        ("last/of/all/deep.txt", 7),
        (".htaccess", 9),
    ] {
        put(root, path, vec![b'x'; size], 90_000);
    }
    for dir in ["empty", "photos/Beach", "last/of/one"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
}

/// What both programs print of the target, each line but the time that it took.
fn both(
    place: &Place,
    command: &str,
    target: &str,
    options: &[&str],
) -> (Vec<String>, Vec<String>) {
    let arguments = [&[command, target], options].concat();
    let zone = |command: &mut Command| {
        command.env("TZ", "Asia/Kolkata");
    };
    let mut theirs = pyftpsync();
    theirs.args(&arguments).current_dir(place.path());
    zone(&mut theirs);
    let mut ours = place.command(&arguments);
    zone(&mut ours);
    let lines = |command: Command| {
        let ended = finish(command).expect(0);
        let without_time = |line: &str| match line.split_once(" took ") {
            Some((start, _)) => start.to_owned(),
            None => line.to_owned(),
        };
        ended.stdout.lines().map(without_time).collect()
    };
    (lines(ours), lines(theirs))
}

#[test]
fn a_tree_is_drawn_as_pyftpsync_draws_it() {
    let server = Server::start(Kind::Pyftpdlib, Options::default());
    let place = Place::new("tree-beside");
    lay_out(&place.local());
    lay_out(server.root());
    server.own_files();
    for target in ["local", &server.url("")] {
        for options in [
            &["--sort"][..],
            &["--files", "--sort"],
            &["--files", "--sort", "-m", "*.jpg"],
            &["--files", "--sort", "-x", "Zoo,*.tmp,.git"],
        ] {
            let (ours, theirs) = both(&place, "tree", target, options);
            assert_eq!(ours, theirs, "{target} {options:?}");
            assert!(ours.len() > 6, "{ours:?}");
        }
    }
}

#[test]
#[cfg(feature = "yaml")]
fn a_task_draws_the_tree_of_its_remote_side() {
    let server = Server::start(Kind::Pyftpdlib, Options::default());
    let place = Place::new("tree-task");
    lay_out(server.root());
    server.own_files();
    fs::create_dir_all(place.local().join("photos")).unwrap();
    for (options, remote) in [
        ("files: true, sort: true", server.url("")),
        ("sort: true, delete: true", server.url("/photos")),
    ] {
        let file = format!(
            "default_task: show\ncommon_config: {{local: local, exclude: .git}}\ntasks:\n  show: {{command: tree, remote: \"{remote}\", {options}}}\n"
        );
        put(place.path(), "pyftpsync.yaml", file, 60);
        let (ours, theirs) = both(&place, "run", "show", &[]);
        let drawn = |lines: Vec<String>| -> Vec<String> {
            lines
                .into_iter()
                .skip_while(|line| !line.starts_with('['))
                .collect()
        };
        let (ours, theirs) = (drawn(ours), drawn(theirs));
        assert_eq!(ours, theirs, "{options}");
        assert!(ours.len() > 3, "{ours:?}");
    }
    // From below, the branch that belongs to that directory.
    let file = format!(
        "tasks:\n  show: {{command: tree, local: local, remote: \"{}\"}}\n",
        server.url("")
    );
    put(place.path(), "pyftpsync.yaml", file, 60);
    let mut below = place.command(&["run", "show", "--here", "--files"]);
    below.current_dir(place.local().join("photos"));
    let ended = finish(below).expect(0);
    ended
        .prints("/photos]\n")
        .prints("notes.tmp")
        .hides("Readme");
}

#[test]
fn a_scan_lists_as_pyftpsync_lists() {
    let server = Server::start(Kind::Pyftpdlib, Options::default());
    let place = Place::new("scan-beside");
    lay_out(&place.local());
    // pyftpsync indents what is below the root of a server as if it were in the root.
    lay_out(&server.root().join("site"));
    server.own_files();
    for target in ["local", &server.url("/site")] {
        for options in [
            &["--list"][..],
            &["--list", "-r"],
            &["--list", "--recursive", "-m", "*.jpg"],
        ] {
            let (mut ours, mut theirs) = both(&place, "scan", target, options);
            // pyftpsync lists in no order; and it counts no bytes.
            ours.retain(|line| !line.contains(" bytes"));
            ours.sort();
            theirs.sort();
            assert_eq!(ours, theirs, "{target} {options:?}");
        }
    }
}

#[test]
fn a_link_is_drawn_and_not_followed() {
    let place = Place::new("tree-link");
    put(&place.local(), "d/f", "f", 60);
    symlink("..", place.local().join("d/up")).unwrap();
    place
        .run(&["tree", "--files", "local"])
        .expect(0)
        .prints("Scanning 1 files in 2 directories");
    // Followed, one that leads back is no way down without end.
    place
        .run(&["scan", "-r", "--links=follow", "local"])
        .expect(0);
}

#[test]
fn names_cannot_steer_the_terminal() {
    let place = Place::new("tree-escaped");
    put(&place.local(), "a\u{1b}[2Jb", "f", 60);
    let ended = place.run(&["tree", "--files", "local"]).expect(0);
    ended.prints("a\\x1b[2Jb").hides("\u{1b}");
}

#[test]
fn a_directory_that_cannot_be_listed_is_told_and_the_rest_is_shown() {
    let place = Place::new("scan-unreadable");
    put(&place.remote(), "closed/f", "f", 60);
    put(&place.remote(), "open/g", "g", 60);
    let server = FtpServer::start(Config::serving(place.remote()));
    let refuse = support::ftp_server::Fault::on("MLSD").containing(*b"closed");
    server.inject(
        refuse
            .then(support::ftp_server::Effect::reply(550, "not for you"))
            .always(),
    );
    for command in ["tree", "scan"] {
        let options = if command == "tree" { "--files" } else { "-r" };
        let ended = place.run(&[command, options, &server.url("/")]).expect(1);
        ended
            .complains("closed")
            .complains("not for you")
            .reads_as_prose()
            .prints("Scanning 1 files in 3 directories");
    }
    place
        .run(&["scan", "missing"])
        .expect(2)
        .says_one_sentence();
}

/// What pyftpsync leaves in each directory that it synced.
fn put_metadata(root: &Path) {
    for dir in ["", "d/", "d/e/"] {
        put(root, &format!("{dir}f"), "f", 60);
        let content = r#"{"_file_version": 3, "mtimes": {}, "peer_sync": {}}"#;
        put(root, &format!("{dir}.pyftpsync-meta.json"), content, 60);
    }
}

fn metadata_left(root: &Path) -> usize {
    let files = ["", "d", "d/e"].map(|dir| root.join(dir).join(".pyftpsync-meta.json"));
    files.iter().filter(|file| file.exists()).count()
}

#[test]
fn metadata_is_really_removed_below_the_root_only_with_r() {
    let place = Place::new("scan-meta");
    put_metadata(&place.local());
    put_metadata(&place.remote());
    let server = FtpServer::start(Config::serving(place.remote()));
    for (root, target) in [
        (place.local(), "local".to_owned()),
        (place.remote(), server.url("/")),
    ] {
        let scan = |options: &[&str]| place.run(&[&["scan", &target], options].concat()).expect(0);
        let before = Snapshot::of(&root);
        scan(&["-r"]).prints("3 files of pyftpsync's kind");
        scan(&["-r", "--remove-meta", "--dry-run"])
            .prints("(DRY-RUN) DELETE d/e/.pyftpsync-meta.json");
        assert_eq!(before, Snapshot::of(&root));
        scan(&["--remove-meta"]).prints("DELETE .pyftpsync-meta.json");
        assert_eq!(metadata_left(&root), 2, "{target}");
        scan(&["--remove-meta", "-r"]).prints("DELETE d/.pyftpsync-meta.json");
        assert_eq!(metadata_left(&root), 0, "{target}");
        assert_eq!(content(&root, "d/e/f"), "f");
        assert!(!root.join(".coracle-lock").exists());
    }
}

#[test]
fn metadata_that_is_damaged_is_told() {
    let place = Place::new("scan-meta-damaged");
    put(
        &place.local(),
        "d/.pyftpsync-meta.json",
        "{\"_file_version\": 3, \"mti",
        60,
    );
    let ended = place.run(&["scan", "-r", "local"]).expect(1);
    ended
        .complains("d/.pyftpsync-meta.json")
        .complains("damaged");
}

/// A local root that was synced with a server.
fn synced(name: &str) -> (Place, FtpServer) {
    let place = Place::new(name);
    put(&place.local(), "a", "aa", 7_200);
    put(&place.local(), "d/b", "bb", 7_200);
    let server = FtpServer::start(Config::serving(place.remote()));
    place.with("sync", &server.url("/"), &[]).expect(0);
    (place, server)
}

fn archives(root: &Path) -> Vec<PathBuf> {
    let home = fs::read_dir(root.join(".coracle")).unwrap();
    let mut paths: Vec<PathBuf> = home.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("archive-") && !name.contains('.')
    });
    paths
}

fn register(place: &Place) -> Register {
    Register::of(&place.home().join("state/coracle"))
}

#[test]
fn archives_are_told_with_their_peer_and_age_from_both_sides() {
    let (place, server) = synced("scan-archive");
    let (local, remote) = place.snapshot();
    for target in ["local", &server.url("/")] {
        let ended = place.run(&["scan", "-r", target]).expect(0);
        ended
            .prints("archive: of ftp://")
            .prints("2 files in 2 directories, written ")
            .prints(" ago)");
    }
    // Another root's archive is none of this target's.
    let other = place.run(&["scan", &server.url("/d")]).expect(0);
    other.hides("archive:");
    assert_eq!((local, remote), place.snapshot());
    // Without it, both sides meet as for the first time.
    place
        .run(&["scan", "--remove-meta", "local"])
        .expect(0)
        .prints("DELETE ");
    assert!(archives(&place.local()).is_empty());
    fs::remove_file(place.local().join("a")).unwrap();
    place.with("sync", &server.url("/"), &[]).expect(0);
    assert_eq!(content(&place.local(), "a"), "aa");
}

#[test]
fn a_damaged_archive_is_told_and_repaired_so_that_nothing_is_deleted() {
    let (place, server) = synced("scan-damaged");
    let archive = archives(&place.local()).pop().unwrap();
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() - 9]).unwrap();
    let url = server.url("/");
    let told = place.run(&["scan", "local"]).expect(1);
    told.complains("archive-").complains("--repair");
    let dry = place.run(&["scan", "--repair", "-n", "local"]).expect(0);
    dry.prints("(DRY-RUN) SET ASIDE archive-");
    assert!(archive.exists());
    place
        .run(&["scan", "--repair", "local"])
        .expect(0)
        .prints("SET ASIDE archive-");
    assert!(!archive.exists());
    let aside = archive.with_extension("damaged");
    assert_eq!(fs::read(aside).unwrap(), &whole[..whole.len() - 9]);
    // The next run meets anew and deletes nothing; the one after it knows again.
    fs::remove_file(place.local().join("a")).unwrap();
    let next = place.with("upload", &url, &["--delete"]).expect(0);
    next.complains("nothing is deleted in this run");
    assert_eq!(content(&place.remote(), "a"), "aa");
    place.with("upload", &url, &["--delete"]).expect(0);
    assert!(!place.remote().join("a").exists());
    place
        .run(&["scan", "local"])
        .expect(0)
        .prints("set aside: ");
}

#[test]
fn partial_files_are_told_with_whose_they_are_and_only_ours_are_removed() {
    let (place, server) = synced("scan-partial");
    let register = register(&place);
    let job = register.jobs().pop().expect("it was synced");
    let name = Name::new(b"film.mkv").unwrap();
    let ours = partial_name(register.part_owner(&job), name, 9, Some(1));
    let ours = format!("d/{}", String::from_utf8(ours).unwrap());
    let theirs = "d/.coracle-part-00000009-0123456789abcdef-0123456789abcdef".to_owned();
    let aside = format!("{ours}-old");
    for path in [&ours, &theirs, &aside] {
        put(&place.remote(), path, "part", 7_200);
    }
    let url = server.url("/");
    let told = place.run(&["scan", "-r", &url]).expect(0);
    told.prints(&format!(
        "left over: {ours}, 4 bytes, from 2 hours ago: part of a file, of this machine"
    ))
    .prints(&format!(
        "left over: {aside}, 4 bytes, from 2 hours ago: old file"
    ))
    .prints("of another machine, user or task");
    // While a run of that job goes on, they are that run's.
    let root = LocalReplica::open(&place.local(), coracle::job::Links::Skip).unwrap();
    let lock = root.lock().unwrap();
    let spared = place.run(&["scan", "-r", "--repair", &url]).expect(0);
    spared.complains("in use by process");
    assert!(place.remote().join(&ours).exists());
    drop(lock);
    place
        .run(&["scan", "-r", "--repair", &url])
        .expect(0)
        .prints(&format!("DELETE {ours}"));
    assert!(!place.remote().join(&ours).exists());
    assert!(place.remote().join(&theirs).exists() && place.remote().join(&aside).exists());
    assert!(!place.remote().join(".coracle-lock").exists());
}

#[test]
fn a_trash_is_told_with_its_runs_and_is_no_content() {
    let place = Place::new("scan-trash");
    put(&place.local(), "a", "aa", 7_200);
    put(&place.local(), "b", "bbb", 7_200);
    let server = FtpServer::start(Config::serving(place.remote()));
    let url = server.url("/");
    place.with("upload", &url, &[]).expect(0);
    fs::remove_file(place.local().join("b")).unwrap();
    place
        .with("upload", &url, &["--delete", "--trash=old"])
        .expect(0);
    place
        .run(&["scan", &url])
        .expect(0)
        .prints("trash: old, 1 run from 20");
    let all = place.run(&["scan", "-r", &url]).expect(0);
    all.prints("1 file, 2 bytes\n")
        .prints(", 1 file, 3 bytes\n");
}

/// A mark that another machine made, by the clock of the server.
fn put_mark(root: &Path, mark: &str) {
    fs::create_dir_all(root.join(".coracle-lock").join(mark)).unwrap();
}

#[test]
fn locks_are_told_and_really_removed_and_a_fresh_one_is_warned_of() {
    let (place, server) = synced("scan-locks");
    put_mark(&place.remote(), "0123456789abcdef-7");
    put(
        &place.remote(),
        ".pyftpsync-lock.json",
        "{\"lock_time\": 1700000000.5}",
        60,
    );
    put(
        &place.remote(),
        "d/.pyftpsync-lock.json",
        "{\"lock_time\": 1700000000.5}",
        60,
    );
    let url = server.url("/");
    let before = Snapshot::of(&place.remote());
    let told = place.run(&["scan", "-r", &url]).expect(0);
    told.prints("lock: of 0123456789abcdef, another machine or user")
        .prints("lock: of another program, perhaps pyftpsync, since 2023-11-14")
        .prints("lock: d/.pyftpsync-lock.json");
    let dry = place
        .run(&["scan", "-r", "--remove-locks", "-n", &url])
        .expect(0);
    dry.prints("(DRY-RUN) DELETE lock: of 0123456789abcdef");
    assert_eq!(before, Snapshot::of(&place.remote()));
    let removed = place.run(&["scan", "-r", "--remove-locks", &url]).expect(0);
    removed
        .prints("DELETE lock: of 0123456789abcdef, another machine or user, ")
        .prints("DELETE lock: of another program")
        .prints("DELETE d/.pyftpsync-lock.json")
        .complains("may still go on");
    assert!(!place.remote().join(".coracle-lock").exists());
    assert!(!place.remote().join(".pyftpsync-lock.json").exists());
    put(&place.local(), "new", "new", 60);
    place.with("sync", &url, &[]).expect(0);
    assert_eq!(content(&place.remote(), "new"), "new");
}

#[test]
fn the_lock_of_a_run_that_goes_on_here_stays() {
    let (place, server) = synced("scan-lock-own");
    let job = register(&place).jobs().pop().unwrap();
    let holder = register(&place).known_holder(&job.local).unwrap();
    put_mark(&place.remote(), &format!("{holder}-7"));
    let url = server.url("/");
    let root = LocalReplica::open(&place.local(), coracle::job::Links::Skip).unwrap();
    let lock = root.lock().unwrap();
    place
        .run(&["scan", &url])
        .expect(0)
        .prints("a run on this machine that goes on");
    place
        .run(&["scan", "--remove-locks", &url])
        .expect(0)
        .hides("DELETE");
    assert!(
        place
            .remote()
            .join(format!(".coracle-lock/{holder}-7"))
            .exists()
    );
    // Nor is anything else of it touched.
    place
        .run(&["scan", "local"])
        .expect(0)
        .prints("lock: the local directory is in use by");
    place
        .run(&["scan", "--remove-meta", "local"])
        .expect(5)
        .complains("in use by");
    drop(lock);
    place
        .run(&["scan", "--remove-locks", &url])
        .expect(0)
        .prints("a run on this machine that ended");
    assert!(!place.remote().join(".coracle-lock").exists());
}

#[test]
fn metadata_is_not_removed_under_the_hands_of_another_run() {
    let (place, server) = synced("scan-meta-locked");
    put_metadata(&place.remote());
    put_mark(&place.remote(), "0123456789abcdef-7");
    let ended = place
        .run(&["scan", "-r", "--remove-meta", &server.url("/")])
        .expect(5);
    ended.complains("locked by another run");
    assert_eq!(metadata_left(&place.remote()), 3);
    let both = [
        "scan",
        "-r",
        "--remove-meta",
        "--remove-locks",
        &server.url("/"),
    ];
    place.run(&both).expect(0);
    assert_eq!(metadata_left(&place.remote()), 0);
}

#[test]
fn a_home_that_cannot_be_read_is_told() {
    let place = Place::new("scan-closed-home");
    put(&place.local(), ".coracle", "no directory", 60);
    let ended = place.run(&["scan", "local"]).expect(1);
    ended.complains(".coracle").reads_as_prose();
}

#[test]
fn a_target_that_is_meant_otherwise_is_refused() {
    let place = Place::new("survey-refused");
    for (arguments, part) in [
        (&["scan"][..], "TARGET is missing"),
        (&["tree", "local", "remote"], "1 argument(s) too many"),
        (&["tree", "nas:/www"], "ftp://nas/www"),
        (&["tree", "-n", "local"], "tree has no --dry-run"),
        (&["scan", "--files", "local"], "that is for coracle tree"),
        (
            &["sync", "--repair", "local", "remote"],
            "that is for coracle scan",
        ),
        (&["scan", "--pin=sha256:00", "local"], "--pin"),
    ] {
        place
            .run(arguments)
            .expect(2)
            .complains(part)
            .says_one_sentence();
    }
}
