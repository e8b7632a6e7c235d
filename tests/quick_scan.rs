//! `--quick-scan`: what proves a remote directory unchanged, what is noticed and what is not, and that a server that does
//! not play along costs nothing but time.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use support::ftp_server::{Close, Config, Effect, Fault, FtpServer};
use support::program::{Ended, Place, faketime, finish};
use support::servers::{Kind, Options, Server};

/// 2009-02-13 12:00 UTC: so long ago that `STAT` tells the day alone, and in the middle of it.
const LONG_AGO: u64 = 1_234_526_400;

/// Writes a file below `root`, with the directories above it.
fn put(root: &Path, name: &str, content: &str, secs: u64) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    date(&path, secs);
}

fn date(path: &Path, secs: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(secs);
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// Dates all directories back: no test waits until they are older than what happens to them next.
fn date_dirs(root: &Path) {
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            date_dirs(&entry.path());
        }
    }
    let dir = File::open(root).unwrap();
    dir.set_modified(UNIX_EPOCH + Duration::from_secs(LONG_AGO))
        .unwrap();
}

fn read(root: &Path, name: &str) -> Option<String> {
    fs::read_to_string(root.join(name)).ok()
}

/// Runs `coracle ARGUMENTS` as if it were two days later: all that was written by then is old.
fn later(place: &Place, arguments: &[&str]) -> Ended {
    let mut coracle = place.command(arguments);
    coracle
        .env("LD_PRELOAD", faketime())
        .env("FAKETIME", "+2d")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
    finish(coracle)
}

/// The directories that were listed, by the commands of a run.
fn listed(commands: &[String]) -> BTreeSet<String> {
    let mut dir = String::new();
    let mut listed = BTreeSet::new();
    for command in commands {
        let (verb, path) = command.split_once(' ').unwrap_or((command, ""));
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        match verb {
            "MLSD" => _ = listed.insert(last(path)),
            "CWD" => dir = last(path),
            "LIST" => _ = listed.insert(dir.clone()),
            _ => {}
        }
    }
    listed
}

fn count(commands: &[String], verb: &str) -> usize {
    let is_it = |command: &&String| command.split(' ').next() == Some(verb);
    commands.iter().filter(is_it).count()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

// ---------------------------------------------------------------------------------------------------------------
// Real servers
// ---------------------------------------------------------------------------------------------------------------

/// A place whose `local` is in step with a server, and the directories on the server have proofs.
fn proven_on(server: &Server, place: &Place) {
    let url = server.url("there");
    place.with("upload", &url, &["--create-folder"]).expect(0);
    date_dirs(&server.root().join("there"));
    later(place, &["upload", "local", &url, "--quick-scan"]).expect(0);
}

#[test]
fn an_unchanged_tree_is_proven_in_a_few_round_trips() {
    const DIRS: usize = 100;
    for kind in Kind::startable() {
        let server = Server::start(kind, Options::default());
        let place = Place::new("quick-cost");
        for dir in 0..DIRS {
            for file in 0..20 {
                put(
                    &place.local(),
                    &format!("dir{dir:03}/file{file:02}.txt"),
                    "12345",
                    LONG_AGO,
                );
            }
        }
        proven_on(&server, &place);
        let before = place.snapshot();
        for command in ["upload", "download", "sync"] {
            let (turns, sessions) = (server.turns(), server.sessions().len());
            later(
                &place,
                &[command, "local", &server.url("there"), "--quick-scan"],
            )
            .expect(0);
            // Connecting is no turn.
            let turns = 1 + server.turns() - turns;
            let mut sessions = server.sessions().split_off(sessions);
            assert_eq!(sessions.len(), 1, "{kind:?} {sessions:?}");
            let commands = sessions.pop().unwrap();
            println!(
                "{kind:?} {command}: {turns} round trips, {} commands",
                commands.len()
            );
            assert!(turns <= 15, "{kind:?}: {turns} round trips");
            assert_eq!(count(&commands, "STAT"), 1 + DIRS, "{kind:?}");
            for verb in ["MLSD", "LIST", "EPSV", "PASV", "CWD"] {
                assert_eq!(count(&commands, verb), 0, "{kind:?} {verb}");
            }
        }
        assert!(
            place.snapshot() == before,
            "{kind:?}: something was written"
        );
    }
}

/// The other way not to list, for which nothing is asked at all.
#[test]
fn trusting_the_records_costs_no_login_where_there_is_nothing_to_do() {
    for kind in Kind::startable() {
        let server = Server::start(kind, Options::default());
        let place = Place::new("trusted-cost");
        for dir in 0..50 {
            put(&place.local(), &format!("d{dir}/file"), "12345", LONG_AGO);
        }
        let url = server.url("there");
        place.with("upload", &url, &["--create-folder"]).expect(0);
        let before = server.sessions().len();
        place.with("upload", &url, &["--no-remote-scan"]).expect(0);
        let sessions = server.sessions().split_off(before);
        assert!(sessions.is_empty(), "{kind:?} {sessions:?}");
    }
}

#[test]
fn changes_on_the_server_are_noticed_but_for_one() {
    for kind in Kind::startable() {
        println!("{kind:?}");
        let server = Server::start(kind, Options::default());
        let place = Place::new("quick-changes");
        let dirs = [
            "added",
            "hidden",
            "gone",
            "grown",
            "rewritten",
            "replaced",
            "unseen",
            "inner",
            "same",
            "two words",
        ];
        for dir in dirs {
            put(&place.local(), &format!("{dir}/file"), "old", LONG_AGO);
            put(&place.local(), &format!("{dir}/.dot"), "dot", LONG_AGO);
        }
        put(&place.local(), "same/deep/file", "old", LONG_AGO);
        proven_on(&server, &place);
        let quick = |command: &str| {
            let mark = server.sessions().len();
            later(
                &place,
                &[command, "local", &server.url("there"), "--quick-scan"],
            )
            .expect(0);
            listed(&server.sessions().split_off(mark).concat())
        };
        // Pure-FTPd takes a blank for the end of a path.
        let always: BTreeSet<String> = match kind {
            Kind::PureFtpd => names(["two words"]),
            Kind::Vsftpd | Kind::Proftpd | Kind::Pyftpdlib => names([]),
            Kind::Twisted
            | Kind::Aioftp
            | Kind::Rclone
            | Kind::FtpSrv
            | Kind::Inetutils
            | Kind::Busybox => {
                unreachable!("no stranger is asked")
            }
        };
        assert_eq!(quick("sync"), always);

        let there = server.root().join("there");
        put(&there, "added/new", "new", LONG_AGO);
        put(&there, "hidden/.new", "new", LONG_AGO);
        fs::remove_file(there.join("gone/file")).unwrap();
        put(&there, "grown/file", "older", LONG_AGO);
        fs::write(there.join("rewritten/file"), "new").unwrap();
        // As other programs, and this one, replace a file: with its true time, which is of the same day.
        put(&there, "replaced/.partial", "new", LONG_AGO + 3600);
        fs::rename(there.join("replaced/.partial"), there.join("replaced/file")).unwrap();
        put(&there, "unseen/file", "new", LONG_AGO + 3600);
        fs::create_dir(there.join("inner/empty")).unwrap();
        put(&there, "same/deep/new", "new", LONG_AGO);
        server.own_files();

        let mut expected = names([
            "added",
            "hidden",
            "gone",
            "grown",
            "rewritten",
            "replaced",
            "inner",
            "empty",
            "deep",
        ]);
        expected.extend(always.clone());
        let listed = quick("sync");
        assert_eq!(listed, expected, "{kind:?}");
        let local = place.local();
        let is = |name: &str| read(&local, name);
        assert_eq!(is("added/new").as_deref(), Some("new"));
        assert_eq!(is("hidden/.new").as_deref(), Some("new"));
        assert_eq!(is("gone/file"), None);
        assert_eq!(is("grown/file").as_deref(), Some("older"));
        assert_eq!(is("rewritten/file").as_deref(), Some("new"));
        assert!(local.join("inner/empty").is_dir());
        assert_eq!(is("same/deep/new").as_deref(), Some("new"));
        assert_eq!(is("same/.dot").as_deref(), Some("dot"));
        // The limit of the switch, and of `LIST`.
        assert_eq!(is("unseen/file").as_deref(), Some("old"));
        if kind != Kind::Vsftpd {
            assert_eq!(is("replaced/file").as_deref(), Some("new"));
            later(&place, &["sync", "local", &server.url("there")]).expect(0);
            assert_eq!(is("unseen/file").as_deref(), Some("new"));
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// A server of our own
// ---------------------------------------------------------------------------------------------------------------

/// A server, and a local directory in step with it.
struct Bed {
    server: FtpServer,
    place: Place,
    url: String,
}

/// The directories of a bed.
const DIRS: [&str; 4] = ["a", "b", "c", "d"];

impl Bed {
    fn new() -> Self {
        let place = Place::new("quick");
        for dir in DIRS {
            put(&place.local(), &format!("{dir}/file"), "old", LONG_AGO);
            put(&place.local(), &format!("{dir}/other"), "other", LONG_AGO);
        }
        let server = FtpServer::start(Config {
            list_dotfiles: true,
            // Of a stranger each denial is looked into first.
            greeting: "pyftpdlib 2.2.0 ready.".to_owned(),
            ..Config::serving(place.remote())
        });
        let url = server.url("");
        place.with("upload", &url, &[]).expect(0);
        date_dirs(server.root());
        server.take_commands();
        Self { server, place, url }
    }

    /// The same, with proofs.
    fn proven() -> Self {
        let bed = Self::new();
        assert_eq!(listed(&bed.quick("upload")).len(), 1 + DIRS.len());
        assert_eq!(listed(&bed.quick("upload")), names([]));
        bed
    }

    /// Runs a command two days later, and returns what the server was asked.
    fn quick(&self, command: &str) -> Vec<String> {
        let options = [
            command,
            "local",
            &self.url,
            "--quick-scan",
            "--timeout",
            "1",
            "--connections",
            "1",
        ];
        later(&self.place, &options).expect(0);
        self.server.take_commands()
    }

    fn archive(&self) -> PathBuf {
        let home = self.place.local().join(".coracle");
        let mut files = fs::read_dir(home).unwrap().map(|file| file.unwrap().path());
        let is_archive = |path: &PathBuf| path.to_string_lossy().contains("/archive-");
        files.find(is_archive).expect("a run made it")
    }
}

#[test]
fn what_is_young_gets_no_proof() {
    let bed = Bed::new();
    for _ in 0..2 {
        bed.place
            .with("upload", &bed.url, &["--quick-scan"])
            .expect(0);
        let commands = bed.server.take_commands();
        assert!(listed(&commands).is_superset(&names(DIRS)));
    }
    // The root holds no files, and was dated back.
    let archive = fs::read_to_string(bed.archive()).unwrap();
    let sealed: Vec<&str> = (archive.lines())
        .filter(|line| line.contains("\"dir\"") && line.contains("\"glance\""))
        .collect();
    assert!(
        sealed.iter().all(|line| line.contains("\"dir\":\"\"")),
        "{sealed:?}"
    );
}

#[test]
fn without_the_switch_nothing_is_glanced_at() {
    let bed = Bed::proven();
    later(&bed.place, &["upload", "local", &bed.url]).expect(0);
    let commands = bed.server.take_commands();
    assert_eq!(count(&commands, "STAT"), 0);
    assert_eq!(listed(&commands).len(), 1 + DIRS.len());
}

#[test]
fn a_remote_directory_on_this_machine_is_listed() {
    let place = Place::new("quick-local");
    put(&place.local(), "a/file", "old", LONG_AGO);
    for _ in 0..2 {
        later(&place, &["sync", "local", "remote", "--quick-scan"]).expect(0);
        assert_eq!(read(&place.remote(), "a/file").as_deref(), Some("old"));
    }
    put(&place.remote(), "a/new", "new", LONG_AGO);
    later(&place, &["sync", "local", "remote", "--quick-scan"]).expect(0);
    assert_eq!(read(&place.local(), "a/new").as_deref(), Some("new"));
}

#[test]
fn a_dry_run_uses_proofs_and_keeps_none() {
    let bed = Bed::new();
    let before = bed.place.snapshot();
    for _ in 0..2 {
        later(
            &bed.place,
            &["upload", "local", &bed.url, "--quick-scan", "--dry-run"],
        )
        .expect(0);
        assert_eq!(listed(&bed.server.take_commands()).len(), 1 + DIRS.len());
    }
    assert!(bed.place.snapshot() == before);
    bed.quick("upload");
    later(
        &bed.place,
        &["upload", "local", &bed.url, "--quick-scan", "--dry-run"],
    )
    .expect(0);
    assert_eq!(listed(&bed.server.take_commands()), names([]));
}

#[test]
fn a_changed_directory_is_listed_and_proven_anew_when_it_is_old() {
    let bed = Bed::proven();
    put(&bed.server.root().join("b"), "new", "new", LONG_AGO);
    assert_eq!(listed(&bed.quick("download")), names(["b"]));
    assert_eq!(read(&bed.place.local(), "b/new").as_deref(), Some("new"));
    // What was recorded just now is too young.
    assert_eq!(listed(&bed.quick("download")), names(["b"]));
}

#[test]
fn a_proven_directory_that_is_gone_here_is_listed_before_it_goes_there() {
    let bed = Bed::proven();
    fs::remove_dir_all(bed.place.local().join("b")).unwrap();
    assert_eq!(listed(&bed.quick("sync")), names(["b"]));
    assert!(!bed.server.root().join("b").exists());
    assert!(bed.server.root().join("a/file").exists());
}

#[test]
fn files_that_only_the_local_side_changed_go_up_from_a_proven_directory() {
    let bed = Bed::proven();
    put(&bed.place.local(), "c/file", "newer", LONG_AGO + 1_000_000);
    put(&bed.place.local(), "c/new", "new", LONG_AGO);
    fs::remove_file(bed.place.local().join("d/file")).unwrap();
    let commands = bed.quick("sync");
    assert_eq!(listed(&commands), names([]));
    assert_eq!(count(&commands, "DELE"), 1, "{commands:?}");
    assert_eq!(read(bed.server.root(), "c/file").as_deref(), Some("newer"));
    assert_eq!(read(bed.server.root(), "c/new").as_deref(), Some("new"));
    assert_eq!(read(bed.server.root(), "d/file"), None);
}

#[test]
fn whatever_is_answered_to_a_glance_all_changes_are_found() {
    let effects: Vec<(&str, Effect)> = vec![
        ("500", Effect::reply(500, "what?")),
        ("502", Effect::reply(502, "not here")),
        ("450", Effect::reply(450, "busy")),
        ("550", Effect::reply(550, "no")),
        ("421", Effect::reply(421, "closing").closing(Close::Fin)),
        (
            "nothing to see",
            Effect::reply(213, "Status follows:\nEnd of status"),
        ),
        (
            "one line",
            Effect::reply(213, "-rw-r--r-- 1 0 0 3 Feb 13 2009 file"),
        ),
        ("FIN", Effect::close_control(Close::Fin)),
        ("RST", Effect::close_control(Close::Reset)),
        ("done, then FIN", Effect::act_then_close(Close::Fin)),
        ("no reply", Effect::drop_reply()),
        ("stall", Effect::stall()),
        ("reply doubled", Effect::double_reply()),
        ("garbage", Effect::raw_reply(b"\x00\xff garbage\r\n")),
        (
            "half a reply",
            Effect::raw_reply("213-Status\r\n-rw-r--").closing(Close::Fin),
        ),
        (
            "endless",
            Effect::endless_reply("213-x\r\n", Duration::ZERO),
        ),
        (
            "a line too many",
            Effect::edit_reply(|reply| {
                [
                    &reply[..reply.len() - b"213 End of status\r\n".len()],
                    b"nonsense\r\n213 End of status\r\n",
                ]
                .concat()
            }),
        ),
        (
            "names with line ends",
            Effect::edit_reply(|reply| {
                let end = reply.len() - b"213 End of status\r\n".len();
                [
                    &reply[..end],
                    b"213 End\r\n250-Listing\r\n250 End\r\n213-more\r\n",
                    &reply[end..],
                ]
                .concat()
            }),
        ),
    ];
    for (name, effect) in effects {
        for fault in [
            Fault::on("STAT").always(),
            Fault::on("STAT").nth(3),
            Fault::on("MLST").nth(2),
        ] {
            println!("{name}");
            let bed = Bed::proven();
            let root = bed.server.root().to_owned();
            put(&root, "a/new", "new", LONG_AGO);
            fs::remove_file(root.join("b/file")).unwrap();
            fs::write(root.join("c/file"), "new").unwrap();
            bed.server.inject(fault.then(effect.clone()));
            bed.quick("sync");
            let local = bed.place.local();
            assert_eq!(read(&local, "a/new").as_deref(), Some("new"), "{name}");
            assert_eq!(read(&local, "b/file"), None, "{name}");
            assert_eq!(read(&local, "c/file").as_deref(), Some("new"), "{name}");
            assert_eq!(read(&local, "d/file").as_deref(), Some("old"), "{name}");
            assert_eq!(read(&root, "d/file").as_deref(), Some("old"), "{name}");
        }
    }
}

#[test]
fn an_old_answer_hides_nothing_that_changes_the_directory() {
    let bed = Bed::proven();
    let root = bed.server.root().to_owned();
    put(&root, "a/new", "new", LONG_AGO);
    fs::remove_file(root.join("b/file")).unwrap();
    let row = |size: u64, name: &str| format!("-rw-r--r-- 1 0 0 {size} Feb 13  2009 {name}");
    let old = format!(
        "Status follows:\n{}\n{}\nEnd",
        row(3, "file"),
        row(5, "other")
    );
    let lie = Fault::on("STAT").nth(2).always();
    bed.server.inject(lie.then(Effect::reply(213, &old)));
    assert_eq!(listed(&bed.quick("sync")), names(["a", "b"]));
    assert_eq!(read(&bed.place.local(), "a/new").as_deref(), Some("new"));
    assert_eq!(read(&bed.place.local(), "b/file"), None);
}

#[test]
fn a_connection_that_dies_of_it_is_asked_no_more() {
    let bed = Bed::proven();
    bed.server.inject(
        Fault::on("STAT")
            .always()
            .then(Effect::close_control(Close::Fin)),
    );
    let commands = bed.quick("upload");
    assert_eq!(count(&commands, "STAT"), 1);
    assert_eq!(listed(&commands).len(), 1 + DIRS.len());
    assert_eq!(count(&commands, "USER"), 2);
}

#[test]
fn replies_that_are_out_of_step_end_the_connection() {
    let bed = Bed::proven();
    bed.server
        .inject(Fault::on("STAT").nth(2).then(Effect::edit_reply(|reply| {
            [&reply[..], b"213 one more\r\n"].concat()
        })));
    let commands = bed.quick("upload");
    assert_eq!(listed(&commands).len(), 1 + DIRS.len());
    assert_eq!(count(&commands, "USER"), 2);
}

#[test]
fn directories_with_what_is_not_recorded_have_no_proof() {
    let bed = Bed::new();
    let root = bed.server.root().to_owned();
    // A name that takes no part, a partial file, metadata of other programs, a link.
    put(&root, "a/excluded.tmp", "x", LONG_AGO);
    put(&root, "b/.coracle-part-0123456789abcdef", "x", LONG_AGO);
    put(&root, "c/.pyftpsync-meta.json", "{}", LONG_AGO);
    std::os::unix::fs::symlink("file", root.join("d/link")).unwrap();
    let run = || {
        let job = ["download", "local", &bed.url, "--quick-scan"];
        let _ = later(&bed.place, &[&job[..], &["--exclude", "*.tmp"]].concat());
        bed.server.take_commands()
    };
    run();
    run();
    assert_eq!(listed(&run()), names(["a", "b", "c", "d"]));
}

#[test]
fn a_run_that_proves_writes_nothing() {
    let bed = Bed::proven();
    let touched = |path: &Path| {
        let status = fs::metadata(path).unwrap();
        (status.ino(), status.ctime(), status.ctime_nsec())
    };
    let local = bed.place.local();
    let paths = [
        local.clone(),
        local.join("a"),
        local.join(".coracle"),
        bed.archive(),
    ];
    let before = paths.each_ref().map(|path| touched(path));
    bed.quick("sync");
    assert_eq!(paths.each_ref().map(|path| touched(path)), before);
}
