//! What must not happen, through the program: each guard refuses with exit code 4, names the option that overrides it,
//! and has changed nothing on either side; and the override works.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use support::ftp_server::{Config, Effect, Fault, FtpServer};
use support::program::{Ended, Place, Snapshot, content, faketime, finish, put, with_mounts};

const DAY_SECS: u64 = 86_400;

/// Exit code of a guard.
const REFUSED: i32 = 4;

/// Where the remote root is: a directory of this machine, or on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remote {
    Directory,
    Server,
}

const REMOTES: [Remote; 2] = [Remote::Directory, Remote::Server];

/// Two roots that were synced.
struct Synced {
    place: Place,
    server: Option<FtpServer>,
}

impl Synced {
    /// Uploads these files, each a day old and more.
    fn with(name: &str, remote: Remote, files: &[&str]) -> Self {
        let place = Place::new(name);
        for (number, file) in files.iter().enumerate() {
            put(
                &place.local(),
                file,
                format!("content of {file}"),
                DAY_SECS + 1000 * number as u64,
            );
        }
        let server =
            (remote == Remote::Server).then(|| FtpServer::start(Config::serving(place.remote())));
        let synced = Self { place, server };
        synced.run("sync", &[]).expect(0);
        synced
    }

    fn url(&self) -> String {
        match &self.server {
            Some(server) => server.url(""),
            None => "remote".to_owned(),
        }
    }

    fn run(&self, command: &str, options: &[&str]) -> Ended {
        self.place.with(command, &self.url(), options)
    }

    /// Runs, and fails unless that was refused for this reason, with nothing changed.
    #[track_caller]
    fn refused(&self, command: &str, options: &[&str], reason: &str, override_by: &str) {
        let before = self.place.snapshot();
        self.run(command, options)
            .expect(REFUSED)
            .says_one_sentence()
            .complains(reason)
            .complains(override_by);
        assert_eq!(self.place.snapshot(), before, "something was changed");
    }

    #[track_caller]
    fn assert_names(&self, local: &[&str], remote: &[&str]) {
        let (found_local, found_remote) = self.place.snapshot();
        assert_eq!(found_local.names(), local, "local");
        assert_eq!(found_remote.names(), remote, "remote");
    }
}

fn numbered(dir: &str, count: usize) -> Vec<String> {
    (10..10 + count)
        .map(|number| format!("{dir}f{number}"))
        .collect()
}

fn as_strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn empty(root: &Path) {
    fs::remove_dir_all(root).unwrap();
    fs::create_dir(root).unwrap();
}

// Vanished roots

#[test]
fn a_local_root_that_became_empty_is_refused_although_its_metadata_is_gone_too() {
    for remote in REMOTES {
        let synced = Synced::with("emptied", remote, &["a", "d/b"]);
        empty(&synced.place.local());
        synced.refused("sync", &[], "the local root is empty", "--allow-empty");
        synced.refused(
            "upload",
            &["--delete"],
            "the local root is empty",
            "--allow-empty",
        );
        synced.run("sync", &["--allow-empty"]).expect(0);
        synced.assert_names(&["a", "d", "d/b"], &["a", "d", "d/b"]);
    }
}

#[test]
fn a_local_root_that_became_empty_but_for_its_metadata_is_refused_without_a_register() {
    for remote in REMOTES {
        let synced = Synced::with("emptied-known", remote, &["a", "d/b"]);
        fs::remove_file(synced.place.local().join("a")).unwrap();
        fs::remove_dir_all(synced.place.local().join("d")).unwrap();
        fs::remove_dir_all(synced.place.home()).unwrap();
        synced.refused("sync", &[], "the local root is empty", "--allow-empty");
        synced.run("sync", &["--allow-empty"]).expect(0);
        synced.assert_names(&[], &[]);
    }
}

#[test]
fn a_local_root_that_vanished_is_refused() {
    for remote in REMOTES {
        let synced = Synced::with("vanished", remote, &["a", "d/b"]);
        fs::remove_dir_all(synced.place.local()).unwrap();
        for options in [&[][..], &["--create-folder"]] {
            synced.refused(
                "sync",
                options,
                "the local root is missing",
                "--allow-empty",
            );
        }
        synced
            .run("sync", &["--allow-empty", "--create-folder"])
            .expect(0);
        synced.assert_names(&["a", "d", "d/b"], &["a", "d", "d/b"]);
    }
}

#[test]
fn a_remote_root_that_became_empty_is_refused() {
    for remote in REMOTES {
        let synced = Synced::with("remote-emptied", remote, &["a", "d/b"]);
        for entry in ["a", "d/b"] {
            fs::remove_file(synced.place.remote().join(entry)).unwrap();
        }
        fs::remove_dir(synced.place.remote().join("d")).unwrap();
        synced.refused("sync", &[], "the remote root is empty", "--allow-empty");
        synced.refused(
            "download",
            &["--delete"],
            "the remote root is empty",
            "--allow-empty",
        );
        synced.run("sync", &["--allow-empty"]).expect(0);
        synced.assert_names(&[], &[]);
    }
}

#[test]
fn a_source_that_was_always_empty_deletes_nothing_of_its_follower() {
    let place = Place::new("never-held");
    put(&place.remote(), "precious", "x", DAY_SECS);
    let before = place.snapshot();
    place
        .between("upload", &["--delete"])
        .expect(REFUSED)
        .complains("--allow-empty");
    assert_eq!(place.snapshot(), before);
    place
        .between("upload", &["--delete", "--allow-empty"])
        .expect(0);
    assert_eq!(Snapshot::of(&place.remote()).names(), Vec::<&str>::new());
}

#[test]
fn a_first_level_directory_that_became_empty_is_refused() {
    let mut names = numbered("photos/", 10);
    names.extend(numbered("other/", 40));
    for remote in REMOTES {
        let synced = Synced::with("dir-emptied", remote, &as_strs(&names));
        for name in &names[..10] {
            fs::remove_file(synced.place.remote().join(name)).unwrap();
        }
        synced.refused(
            "sync",
            &[],
            "photos became empty on the remote side",
            "--allow-empty",
        );
        synced.run("sync", &["--allow-empty"]).expect(0);
        assert!(!synced.place.local().join("photos/f10").exists());
        assert!(synced.place.local().join("other/f10").exists());
    }
}

#[test]
fn another_disk_in_place_of_the_local_root_is_refused() {
    let synced = Synced::with("another-disk", Remote::Directory, &["a", "d/b"]);
    let remote = Snapshot::of(&synced.place.remote());
    let mounted = "mount -t tmpfs none local; echo else >local/else;";
    with_mounts(
        &synced.place,
        &format!("{mounted} \"$0\" sync local remote"),
    )
    .expect(REFUSED)
    .says_one_sentence()
    .complains("at the local root there is another disk than in earlier runs")
    .complains("--accept-disk");
    assert_eq!(Snapshot::of(&synced.place.remote()), remote);
    with_mounts(
        &synced.place,
        &format!("{mounted} \"$0\" sync local remote --accept-disk"),
    )
    .expect(0);
    assert!(synced.place.remote().join("else").exists());
    assert!(synced.place.remote().join("a").exists());
}

#[test]
fn a_tree_that_was_copied_to_another_disk_meets_its_peer_anew_and_deletes_nothing() {
    let synced = Synced::with("moved-disk", Remote::Directory, &["a", "d/b"]);
    let moved = "cp -a local moved; mount -t tmpfs none local; cp -a moved/. local/; rm local/a;";
    with_mounts(&synced.place, &format!("{moved} \"$0\" sync local remote"))
        .expect(REFUSED)
        .complains("--accept-disk");
    let moved = moved.replace("cp -a local moved;", "");
    with_mounts(
        &synced.place,
        &format!("{moved} \"$0\" sync --accept-disk local remote; test -e local/a"),
    )
    .expect(0)
    .complains("came with a copy of its directory");
    assert_eq!(
        Snapshot::of(&synced.place.remote()).names(),
        ["a", "d", "d/b"]
    );
}

// Mass deletions

#[test]
fn a_mass_of_deletions_is_refused_on_either_side() {
    let names = numbered("", 20);
    for remote in REMOTES {
        let synced = Synced::with("mass", remote, &as_strs(&names));
        for name in &names[..11] {
            fs::remove_file(synced.place.local().join(name)).unwrap();
        }
        let reason = "delete or overwrite 11 of 20 files on the remote side";
        synced.refused("sync", &[], reason, "--max-delete 11");
        synced.refused("upload", &["--delete"], reason, "--max-delete 11");
        synced.refused("sync", &["--max-delete", "10"], reason, "--max-delete 11");
        synced.refused("sync", &["--max-delete", "54%"], reason, "--max-delete 11");
        synced.run("sync", &["--max-delete", "55%"]).expect(0);
        assert_eq!(
            Snapshot::of(&synced.place.remote()).names(),
            as_strs(&names[11..])
        );

        for name in &names[11..15] {
            fs::remove_file(synced.place.remote().join(name)).unwrap();
        }
        let reason = "delete or overwrite 4 of 9 files on the local side";
        synced.refused("sync", &["--max-delete", "3"], reason, "--max-delete 4");
        synced.run("sync", &["--max-delete", "4"]).expect(0);
        assert_eq!(
            Snapshot::of(&synced.place.local()).names(),
            as_strs(&names[15..])
        );
    }
}

#[test]
fn overwriting_by_a_rule_counts_as_deleting() {
    let names = numbered("", 12);
    let synced = Synced::with("mass-overwrite", Remote::Directory, &as_strs(&names));
    for name in &names {
        put(&synced.place.local(), name, "local change", 500);
        put(&synced.place.remote(), name, "remote change!", 400);
    }
    synced.refused(
        "sync",
        &["--resolve", "local"],
        "delete or overwrite 12 of 12 files on the remote side",
        "--max-delete 12",
    );
    synced
        .run("sync", &["--resolve", "local", "--max-delete", "12"])
        .expect(0);
    assert_eq!(content(&synced.place.remote(), "f10"), "local change");
}

#[test]
fn what_is_emptied_at_one_stroke_counts_with_all_that_is_below() {
    let mut names = numbered("d/e/", 15);
    names.extend(numbered("", 5));
    let synced = Synced::with("mass-tree", Remote::Directory, &as_strs(&names));
    fs::remove_dir_all(synced.place.local().join("d")).unwrap();
    synced.refused(
        "sync",
        &[],
        "15 of 20 files on the remote side",
        "--max-delete 15",
    );
    synced.run("sync", &["--max-delete=15"]).expect(0);
    assert!(!synced.place.remote().join("d").exists());
}

// Incomplete listings and unproven deletions

#[test]
fn a_listing_with_a_line_that_cannot_be_read_deletes_nothing() {
    let synced = Synced::with("garbage", Remote::Server, &["d/a", "d/b", "d/s/c", "x"]);
    let server = synced.server.as_ref().unwrap();
    fs::remove_file(server.root().join("d/a")).unwrap();
    fs::remove_dir_all(server.root().join("d/s")).unwrap();
    fs::remove_file(synced.place.local().join("d/b")).unwrap();
    server.inject(
        Fault::on("MLSD")
            .containing("d")
            .always()
            .then(Effect::extra_listing_lines(&[b"this is no facts line"])),
    );
    synced
        .run("sync", &[])
        .expect(1)
        .complains("nothing is deleted here or below")
        .reads_as_prose();
    synced.assert_names(&["d", "d/a", "d/s", "d/s/c", "x"], &["d", "d/b", "x"]);
    server.heal();
    synced.run("sync", &[]).expect(0);
    synced.assert_names(&["d", "x"], &["d", "x"]);
}

#[test]
fn a_listing_that_breaks_off_deletes_nothing() {
    let names = numbered("d/", 8);
    let mut all = as_strs(&names);
    all.push("x");
    let synced = Synced::with("broken-off", Remote::Server, &all);
    let server = synced.server.as_ref().unwrap();
    server.inject(
        Fault::on("MLSD")
            .containing("d")
            .always()
            .then(Effect::cut_data(150)),
    );
    let before = synced.place.snapshot();
    // Another way of listing tells all of it.
    synced.run("sync", &["--retries", "0"]).expect(0);
    assert_eq!(synced.place.snapshot(), before);
    server.inject(Fault::on("LIST").always().then(Effect::cut_data(150)));
    server.inject(
        Fault::on("STAT")
            .always()
            .then(Effect::reply(502, "Command not implemented.")),
    );
    let ended = synced.run("sync", &["--retries", "0"]).reads_as_prose();
    assert_ne!(ended.code, Some(0), "{ended}");
    assert_eq!(synced.place.snapshot(), before);
}

#[test]
fn a_name_that_the_listing_lacks_and_the_server_knows_is_not_deleted() {
    let synced = Synced::with("unproven", Remote::Server, &["a", "b", "x"]);
    let server = synced.server.as_ref().unwrap();
    server.inject(
        Fault::on("MLSD")
            .always()
            .then(Effect::short_listing(|_, line| {
                line.ends_with(b" a") || line.ends_with(b" b")
            })),
    );
    fs::remove_file(server.root().join("b")).unwrap();
    synced
        .run("sync", &[])
        .expect(1)
        .complains("a: ")
        .complains("it is there on the other side after all, and is not deleted")
        .reads_as_prose();
    synced.assert_names(&["a", "x"], &["a", "x"]);
}

#[test]
fn a_file_that_changed_after_it_was_listed_is_not_deleted() {
    let synced = Synced::with("changed-late", Remote::Server, &["a", "b", "x"]);
    let server = synced.server.as_ref().unwrap();
    fs::remove_file(server.root().join("a")).unwrap();
    let local = synced.place.local();
    // b goes up after the listing and before the deletions.
    put(&local, "b", "new content", 100);
    server.hook(move |command| {
        if command.verb == "RNTO" && command.argument.ends_with(b"b") {
            put(&local, "a", "written meanwhile", 50);
        }
        None
    });
    synced
        .run("sync", &[])
        .expect(1)
        .complains("it changed since it was listed, and is not deleted");
    assert_eq!(content(&synced.place.local(), "a"), "written meanwhile");
}

// All changed

/// Shifts the times of all files of a root.
fn shift(root: &Path, names: &[&str], secs: u64) {
    for name in names {
        let path = root.join(name);
        let at = fs::metadata(&path).unwrap().modified().unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(at + Duration::from_secs(secs))
            .unwrap();
    }
}

#[test]
fn a_shift_of_all_times_is_refused_and_its_acceptance_copies_nothing() {
    let names = ["a", "b", "c", "d/e", "d/f", "g"];
    for remote in REMOTES {
        for command in ["sync", "upload", "download"] {
            let synced = Synced::with("shift", remote, &names);
            shift(&synced.place.remote(), &names, 3600);
            synced.refused(
                command,
                &[],
                "times shifted by +1:00 h",
                "--accept-time-shift",
            );
            let ended = synced.run(command, &["--accept-time-shift"]).expect(0);
            let (local, _) = synced.place.snapshot();
            assert!(
                !ended.stdout.contains("\ncopy "),
                "{command} {remote:?} {ended}"
            );
            let before = synced.place.snapshot();
            let second = synced.run(command, &[]).expect(0);
            assert!(
                !second.stdout.contains("\ncopy "),
                "{command} {remote:?} {second}"
            );
            assert_eq!(synced.place.snapshot(), before, "the second run is silent");
            assert!(local.names().contains(&"d/f"));
            // A change is still a change.
            put(&synced.place.local(), "a", "changed now", 60);
            synced.run("sync", &[]).expect(0);
            assert_eq!(content(&synced.place.remote(), "a"), "changed now");
        }
    }
}

#[test]
fn nearly_all_times_changed_and_no_size_is_refused() {
    let names = numbered("", 25);
    let names = as_strs(&names);
    let synced = Synced::with("retimed", Remote::Directory, &names);
    for (number, name) in names.iter().enumerate() {
        shift(
            &synced.place.local(),
            &[name],
            10_000 + 1234 * number as u64,
        );
    }
    synced.refused(
        "sync",
        &[],
        "25 of 25 recorded files on the local side have another time but the same size",
        "--accept-new-times",
    );
    // They did not move by one shift, so that is no way out.
    synced.refused(
        "sync",
        &["--accept-time-shift"],
        "25 of 25 recorded files",
        "--accept-new-times",
    );
    let ended = synced.run("sync", &["--accept-new-times"]).expect(0);
    assert_eq!(ended.stdout.matches("\ncopy ").count(), 25, "{ended}");
    let before = synced.place.snapshot();
    synced.run("sync", &[]).expect(0);
    assert_eq!(synced.place.snapshot(), before);
}

#[test]
fn a_side_that_went_back_in_time_is_refused() {
    let names = numbered("", 25);
    let names = as_strs(&names);
    for side in ["local", "remote"] {
        let synced = Synced::with("older", Remote::Directory, &names);
        let root = synced.place.path().join(side);
        for (number, name) in names[..12].iter().enumerate() {
            put(
                &root,
                name,
                "an old version",
                900 * DAY_SECS + 1234 * number as u64,
            );
        }
        synced.refused("sync", &[], "older", "--allow-older");
        synced.run("sync", &["--allow-older"]).expect(0);
        for other in [synced.place.local(), synced.place.remote()] {
            assert_eq!(content(&other, names[0]), "an old version");
        }
    }
}

#[test]
fn a_restored_tree_is_refused_where_deletions_follow_from_what_it_lacks() {
    let names = numbered("d/", 30);
    let synced = Synced::with("restored", Remote::Directory, &as_strs(&names));
    let local = synced.place.local();
    // An older backup, which lacks the newest files, takes the place of the directory.
    for name in &names[25..] {
        fs::remove_file(local.join(name)).unwrap();
    }
    let mut restore = Command::new("cp");
    restore.arg("-a").arg(local.join("d")).arg(local.join("e"));
    assert!(restore.status().unwrap().success());
    fs::remove_dir_all(local.join("d")).unwrap();
    fs::rename(local.join("e"), local.join("d")).unwrap();
    synced.refused("sync", &[], "copies", "--allow-older");
    synced.run("sync", &["--allow-older"]).expect(0);
    assert!(!synced.place.remote().join(&names[29]).exists());
    assert!(synced.place.remote().join(&names[0]).exists());
}

#[test]
fn overwriting_by_force_counts_as_deleting() {
    let names = numbered("", 12);
    let synced = Synced::with("mass-force", Remote::Directory, &as_strs(&names));
    for name in &names {
        put(&synced.place.remote(), name, "remote change!", 400);
    }
    synced.refused(
        "upload",
        &["--force"],
        "delete or overwrite 12 of 12 files on the remote side",
        "--max-delete 12",
    );
    synced
        .run("upload", &["--force", "--max-delete", "12"])
        .expect(0);
    assert_eq!(content(&synced.place.remote(), "f10"), "content of f10");
}

#[test]
fn files_that_the_filter_leaves_out_do_not_dilute_a_mass_of_deletions() {
    let mut names = numbered("", 20);
    names.extend(numbered("left-out/", 200));
    let synced = Synced::with("mass-filter", Remote::Directory, &as_strs(&names));
    for name in &names[..11] {
        fs::remove_file(synced.place.local().join(name)).unwrap();
    }
    let exclude = ["-x", "left-out"];
    let reason = "delete or overwrite 11 of 20 files on the remote side";
    synced.refused("sync", &exclude, reason, "--max-delete 11");
}

// The clock

#[test]
fn a_clock_that_was_never_set_is_refused() {
    let synced = Synced::with("clock", Remote::Directory, &["a", "b"]);
    put(&synced.place.local(), "c", "new", 10);
    let before = synced.place.snapshot();
    for command in ["sync", "upload", "download"] {
        let mut coracle = synced.place.command(&[command, "local", "remote"]);
        coracle
            .env("LD_PRELOAD", faketime())
            .env("FAKETIME", "@1970-01-01 00:02:00")
            .env("TZ", "UTC");
        finish(coracle)
            .expect(REFUSED)
            .says_one_sentence()
            .complains("the clock of this machine says 1970-01-01 00:0")
            .complains("set the clock");
        assert_eq!(synced.place.snapshot(), before);
    }
    synced.run("sync", &[]).expect(0);
}

// Names that lead out

#[test]
fn a_name_that_leads_out_is_never_used_and_protects_its_directory() {
    for name in [
        &b"../outside"[..],
        b"a/b",
        b"/etc/x",
        b"..",
        b"nul\0byte",
        b"carriage\rreturn",
        b"",
    ] {
        println!("{:?}", String::from_utf8_lossy(name));
        let synced = Synced::with("escape", Remote::Server, &["d/a", "d/b", "x"]);
        let server = synced.server.as_ref().unwrap();
        fs::remove_file(server.root().join("d/a")).unwrap();
        let line = [b"type=file;size=5;modify=20260101000000; ", name].concat();
        server.inject(
            Fault::on("MLSD")
                .containing("d")
                .always()
                .then(Effect::extra_listing_lines(&[&line])),
        );
        let ended = synced.run("sync", &[]);
        let files = Snapshot::of(synced.place.path());
        if name == b".." {
            // A directory entry of that name is no news; one of type file is nonsense all the same.
            assert!(matches!(ended.code, Some(0 | 1)), "{ended}");
        } else {
            let ended = ended
                .expect(1)
                .complains("nothing is deleted here or below")
                .reads_as_prose();
            assert!(!ended.stderr.contains(['\0', '\r']), "{ended}");
            assert!(synced.place.local().join("d/a").exists(), "it is protected");
        }
        let asked = server.take_commands();
        assert!(
            !asked.iter().any(|line| line.contains("outside")),
            "{asked:?}"
        );
        let all_names: Vec<_> = files.names();
        assert!(
            !all_names.iter().any(|path| path.contains("outside")),
            "{all_names:?}"
        );
    }
}

#[test]
fn a_server_cannot_make_a_download_follow_a_local_link() {
    let place = Place::new("link");
    fs::create_dir(place.path().join("outside")).unwrap();
    std::os::unix::fs::symlink("../outside", place.local().join("d")).unwrap();
    put(&place.remote(), "d/planted", "x", DAY_SECS);
    place.between("sync", &[]);
    place.between("download", &["--force"]);
    assert!(!place.path().join("outside/planted").exists());
}

#[test]
fn a_local_name_that_cannot_be_sent_is_reported_and_counts_as_present() {
    let synced = Synced::with("unsendable", Remote::Server, &["d/a", "x"]);
    put(&synced.place.local(), "d/line\nfeed", "x", DAY_SECS);
    synced
        .run("sync", &[])
        .expect(1)
        .complains("line\\x0afeed")
        .complains("cannot be sent to a server");
    assert!(synced.place.local().join("d/line\nfeed").exists());
    // Its directory is not removed over it either.
    fs::remove_dir_all(synced.place.remote().join("d")).unwrap();
    synced.run("sync", &[]).expect(1);
    assert!(synced.place.local().join("d/line\nfeed").exists());
}

// The check file

#[test]
fn without_the_check_file_in_both_roots_nothing_is_done() {
    for remote in REMOTES {
        let synced = Synced::with("check-file", remote, &["a", "disk/mounted"]);
        put(&synced.place.local(), "new", "x", 100);
        synced.refused(
            "sync",
            &["--check-file", "absent"],
            "the check file absent is not in the local root",
            "mounted?",
        );
        let check = &["--check-file", "disk/mounted"];
        fs::rename(
            synced.place.remote().join("disk/mounted"),
            synced.place.path().join("aside"),
        )
        .unwrap();
        synced.refused(
            "sync",
            check,
            "the check file disk/mounted is not in the remote root",
            "mounted?",
        );
        fs::rename(
            synced.place.path().join("aside"),
            synced.place.remote().join("disk/mounted"),
        )
        .unwrap();
        synced.run("sync", check).expect(0);
        assert!(synced.place.remote().join("new").exists());
    }
}

// Names that differ only in case

#[test]
fn names_that_differ_only_in_case_are_told_and_nothing_else_waits_for_them() {
    let synced = Synced::with("case", Remote::Server, &["a", "x"]);
    put(&synced.place.local(), "d/Readme", "local", 1000);
    put(&synced.place.remote(), "d/README", "remote", 1000);
    put(&synced.place.local(), "d/other", "other", 1000);
    synced
        .run("sync", &[])
        .expect(1)
        .complains("d/README: another name differs from this one only in case")
        .complains("--case strict");
    synced.assert_names(
        &["a", "d", "d/Readme", "d/other", "x"],
        &["a", "d", "d/README", "d/other", "x"],
    );
    synced.run("sync", &["--case=strict"]).expect(0);
    assert!(synced.place.remote().join("d/Readme").exists());
    assert!(synced.place.local().join("d/README").exists());
}

#[test]
fn a_refusal_leaves_no_lock_behind_and_opens_no_way_to_write() {
    let synced = Synced::with("no-write", Remote::Server, &["a", "b"]);
    let server = synced.server.as_ref().unwrap();
    empty(&synced.place.local());
    server.take_commands();
    synced.run("sync", &[]).expect(REFUSED);
    let writing = [
        "STOR", "APPE", "DELE", "MKD", "RMD", "RNFR", "RNTO", "MFMT", "SITE",
    ];
    let asked = server.take_commands();
    assert!(
        !asked
            .iter()
            .any(|line| writing.iter().any(|verb| line.starts_with(verb))),
        "{asked:?}"
    );
    let now = SystemTime::now();
    assert!(fs::metadata(server.root()).unwrap().modified().unwrap() <= now);
}
