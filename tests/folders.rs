//! What people do to whole folders between two runs: replace, merge, restore, copy, unmount them. Whatever it is, no content that
//! nobody deleted is lost, and what was deleted stays deleted.

mod support;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::ftp_server::{Config, Effect, Fault, FtpServer};
use support::program::{Ended, Place, Snapshot, content, finish, put, with_mounts};

const DAY_SECS: u64 = 86_400;

/// A local directory and a remote one, which may be on a server.
struct Pair {
    place: Place,
    server: Option<FtpServer>,
}

impl Pair {
    /// One between directories, and one with a server.
    fn each(name: &str) -> [Self; 2] {
        [false, true].map(|is_served| {
            let place = Place::new(name);
            let server = is_served.then(|| FtpServer::start(Config::serving(place.remote())));
            // A root that becomes empty is another guard's business.
            put(&place.local(), "always/there", "x", 9 * DAY_SECS);
            Self { place, server }
        })
    }

    fn run(&self, command: &str, options: &[&str]) -> Ended {
        let url = (self.server.as_ref()).map_or("remote".to_owned(), |server| server.url(""));
        self.place.with(command, &url, options)
    }

    fn put_local(&self, path: &str, content: &str, age_days: u64) {
        put(&self.place.local(), path, content, age_days * DAY_SECS);
    }

    fn put_remote(&self, path: &str, content: &str, age_days: u64) {
        put(&self.place.remote(), path, content, age_days * DAY_SECS);
    }

    /// Runs a shell command in the directory of both roots, `local` and `remote`.
    fn shell(&self, script: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]).current_dir(self.place.path());
        assert!(shell.status().unwrap().success(), "{script}");
    }

    /// Both sides hold exactly these files, each with its content.
    #[track_caller]
    fn assert_both(&self, files: &[(&str, &str)]) {
        for root in [self.place.local(), self.place.remote()] {
            for (path, expected) in files {
                assert_eq!(
                    content(&root, path),
                    *expected,
                    "{path} in {}",
                    root.display()
                );
            }
            assert_eq!(
                count_files(&root),
                files.len() + 1,
                "{:?}",
                Snapshot::of(&root).names()
            );
        }
    }
}

/// The user's files below a root.
fn count_files(root: &Path) -> usize {
    let snapshot = Snapshot::of(root);
    let names = snapshot.names();
    names
        .iter()
        .filter(|name| root.join(name).is_file())
        .count()
}

#[test]
fn a_folder_that_another_one_replaces_brings_its_content() {
    for pair in Pair::each("replaced") {
        for n in 1..=5 {
            pair.put_local(&format!("site/p{n}"), &format!("old {n}"), 20);
            pair.put_local(&format!("site.new/p{n}"), &format!("new {n}"), 19);
        }
        for n in 1..=30 {
            pair.put_local(&format!("k{n}"), "k", 20);
        }
        pair.run("sync", &[]).expect(0);
        pair.shell("rm -r local/site; mv local/site.new local/site");
        pair.run("sync", &[]).expect(0);
        for root in [pair.place.local(), pair.place.remote()] {
            for n in 1..=5 {
                assert_eq!(content(&root, &format!("site/p{n}")), format!("new {n}"));
            }
            assert!(!root.join("site.new").exists());
        }
    }
}

#[test]
fn two_folders_that_are_merged_keep_all_that_was_in_either() {
    for pair in Pair::each("merged") {
        for n in 1..=12 {
            pair.put_local(&format!("summer/s{n}"), &format!("summer {n}"), 20);
            pair.put_local(&format!("winter/w{n}"), &format!("winter {n}"), 20);
        }
        pair.put_local("summer/same", "same", 20);
        pair.put_local("winter/same", "same", 20);
        pair.run("sync", &[]).expect(0);
        pair.shell("mv -f local/summer/* local/winter/; rmdir local/summer");
        pair.run("sync", &[]).expect(0);
        let names: Vec<(String, String)> = (1..=12)
            .flat_map(|n| {
                [
                    (format!("winter/s{n}"), format!("summer {n}")),
                    (format!("winter/w{n}"), format!("winter {n}")),
                ]
            })
            .collect();
        let mut files: Vec<(&str, &str)> = (names.iter())
            .map(|(path, content)| (path.as_str(), content.as_str()))
            .collect();
        files.push(("winter/same", "same"));
        pair.assert_both(&files);
    }
}

#[test]
fn a_folder_restored_from_a_backup_stays_beside_what_the_server_has_of_that_name() {
    for pair in Pair::each("restored") {
        for n in 1..=5 {
            pair.put_local(&format!("d/f{n}"), &format!("restored {n}"), 20);
        }
        pair.run("sync", &[]).expect(0);
        pair.shell("cp -a local/d backup; rm -r local/d");
        pair.run("sync", &[]).expect(0);
        assert!(!pair.place.remote().join("d").exists());
        pair.put_remote("d/other", "from elsewhere", 10);
        pair.shell("cp -a backup local/d");
        pair.run("sync", &[]).expect(0);
        pair.assert_both(&[
            ("d/f1", "restored 1"),
            ("d/f2", "restored 2"),
            ("d/f3", "restored 3"),
            ("d/f4", "restored 4"),
            ("d/f5", "restored 5"),
            ("d/other", "from elsewhere"),
        ]);
    }
}

#[test]
fn a_copied_folder_beside_an_empty_one_on_the_server_is_sent() {
    for pair in Pair::each("copied") {
        pair.put_local("d/a", "a", 20);
        pair.put_local("d/b", "b", 20);
        pair.run("sync", &[]).expect(0);
        pair.shell("cp -a local/d local/e; mkdir remote/e");
        pair.run("sync", &[]).expect(0);
        pair.assert_both(&[("d/a", "a"), ("d/b", "b"), ("e/a", "a"), ("e/b", "b")]);
    }
}

#[test]
fn a_folder_that_was_gone_on_both_sides_may_come_back_where_the_archive_is_elsewhere() {
    for pair in Pair::each("comeback") {
        let state = ["--state-dir", "state"];
        pair.put_local("d/a", "a", 20);
        pair.put_local("d/b", "b", 20);
        pair.run("sync", &state).expect(0);
        assert!(!pair.place.local().join(".coracle").exists());
        pair.shell("mv local/d aside; rm -r remote/d");
        pair.run("sync", &state).expect(0);
        pair.shell("mv aside local/d");
        pair.run("sync", &state).expect(0);
        pair.assert_both(&[("d/a", "a"), ("d/b", "b")]);
    }
}

#[test]
fn a_user_without_a_home_is_served_all_the_same() {
    for pair in Pair::each("homeless") {
        pair.put_local("d/a", "a", 20);
        fs::write(pair.place.path().join("file"), "in the way").unwrap();
        let url = (pair.server.as_ref()).map_or("remote".to_owned(), |server| server.url(""));
        let run = |options: &[&str]| {
            let mut command = pair
                .place
                .command(&[&["sync", "local", &url], options].concat());
            command.env_remove("XDG_STATE_HOME");
            command.env("HOME", pair.place.path().join("file"));
            finish(command)
        };
        let first = run(&[]).expect(0).prints("--state-dir");
        assert_eq!(first.stdout.matches("--state-dir").count(), 1, "{first}");
        assert_eq!(first.stderr, "", "{first}");
        pair.assert_both(&[("d/a", "a")]);
        pair.shell("rm local/d/a");
        assert_eq!(run(&["-q"]).expect(0).stdout, "", "it is no news");
        pair.assert_both(&[]);
        // What was asked for by name is not passed over.
        let state = pair.place.path().join("file/state");
        let state = state.to_str().expect("the name is ours");
        run(&["--state-dir", state])
            .expect(9)
            .complains("file/state");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_synced_with_its_archive_elsewhere() {
    let place = Place::new("read-only");
    put(&place.local(), "f", "f", DAY_SECS);
    let script = |options: &str| {
        format!(
            "mount --bind local local; mount -o remount,bind,ro local;
            \"$0\" upload local remote {options}"
        )
    };
    with_mounts(&place, &script(""))
        .expect(8)
        .complains("--state-dir")
        .says_one_sentence();
    assert_eq!(count_files(&place.remote()), 0);
    with_mounts(&place, &script("--state-dir state")).expect(0);
    assert_eq!(content(&place.remote(), "f"), "f");
}

const MOUNTED: &str = "mkdir -p local/a/photos; mount -t tmpfs none local/a/photos;
    for n in $(seq 30); do echo photo $n >local/a/photos/p$n; done; \"$0\" sync local remote;";

#[test]
fn a_disk_below_the_root_that_is_not_mounted_any_more_protects_what_was_on_it() {
    for command in ["upload --delete", "sync"] {
        let place = Place::new("unmounted");
        put(&place.local(), "k", "k", DAY_SECS);
        let script = format!(
            "{MOUNTED} umount local/a/photos; echo new >local/new; \"$0\" {command} local remote"
        );
        with_mounts(&place, &script).expect(4).complains("a/photos");
        assert_eq!(
            count_files(&place.remote().join("a/photos")),
            30,
            "{command}"
        );
        assert_eq!(content(&place.remote(), "new"), "new\n", "the rest goes on");
    }
}

#[test]
fn a_disk_below_the_root_may_be_gone_for_good() {
    let place = Place::new("unmounted-for-good");
    put(&place.local(), "k", "k", DAY_SECS);
    // All photos moved from the disk to the directory below it: nothing is missing.
    let script = format!(
        "{MOUNTED} cp -a local/a/photos moved; umount local/a/photos; cp -a moved/. local/a/photos;
         \"$0\" sync local remote; rm local/a/photos/p1; \"$0\" sync local remote"
    );
    with_mounts(&place, &script).expect(0);
    assert_eq!(count_files(&place.remote().join("a/photos")), 29);

    let place = Place::new("unmounted-allowed");
    put(&place.local(), "k", "k", DAY_SECS);
    let script = format!(
        "{MOUNTED} umount local/a/photos; \"$0\" sync --allow-empty --max-delete 100% local remote"
    );
    with_mounts(&place, &script).expect(0);
    assert_eq!(count_files(&place.remote()), 1);
}

#[test]
fn an_old_local_file_that_was_never_synced_survives_its_directory_on_the_server() {
    let place = Place::new("never-synced");
    for path in ["d/a", "d/b", "k"] {
        put(&place.local(), path, path, 20 * DAY_SECS);
    }
    let remote = place.remote().canonicalize().unwrap();
    put(&remote, "k", "k", 20 * DAY_SECS);
    let row = |root: &Path, path: &str| {
        let status = fs::metadata(root.join(path)).unwrap();
        let mtime = status
            .modified()
            .unwrap()
            .duration_since(std::time::UNIX_EPOCH);
        let mtime = mtime.unwrap().as_secs_f64();
        format!(r#"{{"m":{mtime},"s":{},"u":{mtime}}}"#, status.len())
    };
    let write = |dir: &str, rows: &str| {
        let text = format!(
            r#"{{"_file_version":3,"mtimes":{{}},"peer_sync":{{"{}":{{":last_sync":1700000000.5,{rows}}}}}}}"#,
            remote.display(),
        );
        fs::write(place.local().join(dir).join(".pyftpsync-meta.json"), text).unwrap();
    };
    let local = place.local();
    write(
        "",
        &format!(
            r#""d":{{"m":null,"s":null,"u":1700000000.5}},"k":{}"#,
            row(&local, "k")
        ),
    );
    write(
        "d",
        &format!(r#""a":{},"b":{}"#, row(&local, "d/a"), row(&local, "d/b")),
    );
    put(&local, "d/never-synced", "precious", 900 * DAY_SECS);
    place.between("sync", &[]);
    assert_eq!(content(&local, "d/never-synced"), "precious");
    assert!(!local.join("d/a").exists(), "a deletion stays a deletion");
    assert!(!remote.join("d/a").exists());
}

#[test]
fn what_upload_leaves_alone_is_counted_and_told_only_when_asked_for() {
    for pair in Pair::each("left-alone") {
        pair.put_local("ours", "content", 20);
        pair.put_local("edited", "content", 20);
        pair.run("upload", &[]).expect(0);
        pair.put_remote("visitor", "theirs", 20);
        pair.put_remote("edited", "by somebody", 1);
        for options in [&[][..], &["--delete-ours"], &["--dry-run"]] {
            let ended = pair.run("upload", options).expect(0);
            assert!(!ended.stdout.contains("visitor"), "{ended}");
            assert!(!ended.stdout.contains("edited"), "{ended}");
            assert!(ended.stdout.contains("2 left alone; no errors"), "{ended}");
        }
        let ended = pair.run("upload", &["-v"]).expect(0);
        for line in ["only remote      -- visitor", "changed remote   -- edited"] {
            assert!(ended.stdout.contains(line), "{ended}");
        }
        assert!(pair.place.remote().join("visitor").exists(), "{ended}");
    }
}

#[test]
fn a_deletion_that_upload_does_not_carry_over_is_told_once() {
    for pair in Pair::each("told-once") {
        pair.put_local("gone", "content", 20);
        pair.run("upload", &[]).expect(0);
        pair.shell("rm local/gone");
        let ended = pair.run("upload", &[]).expect(0);
        assert!(ended.stdout.contains("only remote      -- gone"), "{ended}");
        let ended = pair.run("upload", &[]).expect(0);
        assert!(!ended.stdout.contains("gone"), "{ended}");
        assert!(ended.stdout.contains("1 left alone; no errors"), "{ended}");
        assert!(pair.place.remote().join("gone").exists(), "{ended}");
    }
}

#[test]
fn what_is_uploaded_gets_the_mode_that_is_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    for pair in Pair::each("chmod") {
        let mode = |name: &str| {
            let file = fs::metadata(pair.place.remote().join(name)).unwrap();
            file.permissions().mode() & 0o7777
        };
        pair.put_local("new", "content", 20);
        pair.put_local("edited", "content", 20);
        pair.put_local("d/large", &"content".repeat(200_000), 20);
        pair.put_remote("edited", "old", 30);
        pair.run("upload", &["--chmod", "640"]).expect(0);
        for name in ["new", "edited", "d/large"] {
            assert_eq!(mode(name), 0o640, "{name}");
        }
        pair.put_local("new", "edited now", 1);
        pair.run("upload", &["--chmod", "444"]).expect(0);
        assert_eq!((mode("new"), mode("edited")), (0o444, 0o640));
        pair.put_local("new", "and once more", 0);
        pair.run("upload", &[]).expect(0);
        assert_eq!(mode("new"), 0o444, "what replaces a file keeps its mode");
        pair.run("download", &["--chmod", "600"]).expect(2);
    }
}

#[test]
fn what_is_copied_gets_the_mode_of_its_source_with_perms() {
    use std::os::unix::fs::PermissionsExt;
    for pair in Pair::each("perms") {
        let set = |root: &Path, name: &str, mode: u32| {
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        let mode = |root: &Path, name: &str| {
            let file = fs::metadata(root.join(name)).unwrap();
            file.permissions().mode() & 0o7777
        };
        let (local, remote) = (pair.place.local(), pair.place.remote());
        for (name, copies) in [("run.sh", 1), ("d/tool", 200_000)] {
            pair.put_local(name, &"content".repeat(copies), 20);
            set(&local, name, 0o750);
        }
        pair.put_remote("secret", "content", 20);
        set(&remote, "secret", 0o600);
        pair.put_remote("always/there", "x", 9);
        pair.run("sync", &["--perms"]).expect(0);
        for name in ["run.sh", "d/tool"] {
            assert_eq!(mode(&remote, name), 0o750, "{name}");
        }
        assert_eq!(mode(&local, "secret"), 0o600);
        pair.put_local("run.sh", "edited", 1);
        set(&local, "run.sh", 0o700);
        pair.run("sync", &["--perms"]).expect(0);
        assert_eq!(mode(&remote, "run.sh"), 0o700);
        pair.run("sync", &["--perms", "--chmod", "600"]).expect(2);
    }
}

#[test]
fn in_a_deleted_directory_one_changed_file_is_the_only_conflict() {
    for pair in Pair::each("one-changed") {
        for n in 1..=5 {
            pair.put_local(&format!("d/f{n}"), "content", 20);
        }
        pair.run("sync", &[]).expect(0);
        pair.shell("rm -r local/d");
        pair.put_remote("d/f3", "changed", 1);
        let ended = pair.run("sync", &["--resolve", "skip"]).expect(0);
        assert_eq!(ended.stdout.matches("??").count(), 1, "{ended}");
        assert_eq!(
            Snapshot::of(&pair.place.local()).names(),
            ["always", "always/there"]
        );
        assert_eq!(
            Snapshot::of(&pair.place.remote()).names(),
            ["always", "always/there", "d", "d/f3"]
        );
    }
}

#[test]
fn what_is_new_or_edited_in_a_directory_that_the_follower_lost_is_sent_or_told() {
    for command in ["upload", "download"] {
        for pair in Pair::each("lost") {
            let (source, follower, wins) = match command {
                "upload" => (pair.place.local(), pair.place.remote(), "local"),
                _ => (pair.place.remote(), pair.place.local(), "remote"),
            };
            pair.put_remote("always/there", "x", 9);
            for name in ["d/same", "d/edited", "d/s/deep"] {
                put(&source, name, "old", 20 * DAY_SECS);
            }
            pair.run("sync", &[]).expect(0);
            fs::remove_dir_all(follower.join("d")).unwrap();
            put(&source, "d/edited", "edited", DAY_SECS);
            put(&source, "d/s/new", "new", DAY_SECS);
            let ended = pair.run(command, &["--resolve", "skip"]).expect(0);
            assert_eq!(content(&follower, "d/s/new"), "new", "{ended}");
            assert!(
                ended.stdout.contains("d/edited"),
                "the conflict is told: {ended}"
            );
            assert!(!follower.join("d/same").exists() && !follower.join("d/edited").exists());
            pair.run(command, &["--resolve", wins]).expect(0);
            assert_eq!(content(&follower, "d/edited"), "edited");
            pair.run(command, &["--force"]).expect(0);
            for name in ["d/same", "d/s/deep"] {
                assert_eq!(content(&follower, name), "old", "--force sends it again");
            }
        }
    }
}

#[test]
fn a_whole_root_that_another_program_copied_deletes_nothing() {
    for pair in Pair::each("copied-root") {
        pair.put_local("d/a", "a", 20);
        pair.put_local("d/b", "b", 20);
        pair.run("sync", &[]).expect(0);
        // The archive came along, and of the files only some, as yet.
        pair.shell("cp -a local whole; rm -r local; cp -a whole local; rm local/d/b");
        let ended = pair.run("sync", &[]).expect(0);
        assert!(ended.stderr.contains(".copied"), "{ended}");
        pair.assert_both(&[("d/a", "a"), ("d/b", "b")]);
        // From here on all is as ever.
        pair.shell("rm local/d/b");
        pair.run("sync", &[]).expect(0);
        pair.assert_both(&[("d/a", "a")]);
    }
}

/// What the last run deleted and overwrote comes back; what another run did before it stays as it is.
#[test]
fn undo_brings_back_what_the_last_run_moved_to_the_trash() {
    for pair in Pair::each("undo") {
        let (local, remote) = (pair.place.local(), pair.place.remote());
        for name in ["d/s/gone", "d/edited", "early", "kept"] {
            pair.put_local(name, &format!("old {name}"), 20);
        }
        pair.run("sync", &["--trash", ".bin"]).expect(0);
        fs::remove_file(local.join("early")).unwrap();
        pair.run("sync", &["--trash", ".bin"]).expect(0);
        std::thread::sleep(Duration::from_millis(1100));
        fs::remove_dir_all(local.join("d/s")).unwrap();
        pair.put_local("d/edited", "new", 1);
        fs::remove_file(remote.join("kept")).unwrap();
        pair.run("sync", &["--trash", ".bin"]).expect(0);
        assert!(!remote.join("d/s").exists() && !local.join("kept").exists());

        let before = pair.place.snapshot();
        pair.run("undo", &["--dry-run"])
            .expect(0)
            .prints("d/s/gone");
        assert_eq!(pair.place.snapshot(), before, "a dry run changes nothing");
        pair.run("undo", &[]).expect(0).prints("3 files put back");
        assert_eq!(content(&remote, "d/s/gone"), "old d/s/gone");
        assert_eq!(content(&remote, "d/edited"), "old d/edited");
        assert_eq!(content(&local, "kept"), "old kept");
        assert!(!remote.join("early").exists(), "another run deleted it");
        // What had the name meanwhile can be had back as well.
        pair.run("undo", &["--trash", ".bin"]).expect(0);
        assert_eq!(content(&remote, "d/edited"), "new");
        pair.run("undo", &["--delete"]).expect(2);
        let nothing = Place::new("undo-nothing");
        nothing.between("undo", &[]).expect(2).complains("--trash");
    }
}

/// A film that somebody replaces while it is fetched is neither kept as a mixture of both nor taken for synced.
#[test]
fn what_changes_on_the_server_while_it_is_read_is_fetched_by_the_next_run() {
    let place = Place::new("changes-while-read");
    let server = FtpServer::start(Config::serving(place.remote()));
    put(
        &place.local(),
        "film",
        "the film of last year",
        30 * DAY_SECS,
    );
    put(&place.remote(), "film", vec![b'1'; 300_000], 20 * DAY_SECS);
    let (root, mut is_read) = (place.remote(), false);
    server.hook(move |command| {
        if command.verb == "RETR" && !std::mem::replace(&mut is_read, true) {
            put(&root, "film", vec![b'2'; 300_000], DAY_SECS);
        }
        None
    });
    place
        .with("download", &server.url(""), &[])
        .expect(1)
        .complains("changed while it was copied");
    assert_eq!(content(&place.local(), "film"), "the film of last year");
    place.with("download", &server.url(""), &[]).expect(0);
    assert_eq!(content(&place.local(), "film"), "2".repeat(300_000));
}

/// Gives all files of a side new times, as a site generator and a checkout do.
fn rebuild(root: &Path, pages: std::ops::Range<usize>, age_days: u64) {
    for n in pages {
        put(
            root,
            &format!("p{n}"),
            format!("page {n:03}"),
            age_days * DAY_SECS,
        );
    }
}

/// How many files of this root are other ones than before.
fn replaced(root: &Path, before: &HashMap<PathBuf, u64>) -> usize {
    let now = inodes(root);
    now.iter()
        .filter(|(path, inode)| before.get(*path) != Some(inode))
        .count()
}

fn inodes(root: &Path) -> HashMap<PathBuf, u64> {
    let files = fs::read_dir(root).unwrap().map(Result::unwrap);
    let files = files.filter(|file| file.file_type().unwrap().is_file());
    files
        .map(|file| (file.path(), file.metadata().unwrap().ino()))
        .collect()
}

#[test]
fn of_a_site_built_anew_only_the_pages_that_changed_are_sent() {
    const CONTENT: &[&str] = &["--compare", "content"];
    for pair in Pair::each("rebuilt") {
        rebuild(&pair.place.local(), 0..40, 20);
        pair.run("upload", CONTENT).expect(0);
        let before = inodes(&pair.place.remote());
        rebuild(&pair.place.local(), 0..40, 2);
        pair.put_local("p7", "page XXX", 2);
        pair.put_local("p9", "a longer page", 2);
        pair.run("upload", &["--delete", "--compare=content"])
            .expect(0);
        assert_eq!(replaced(&pair.place.remote(), &before), 2);
        assert_eq!(content(&pair.place.remote(), "p7"), "page XXX");
        assert_eq!(content(&pair.place.remote(), "p9"), "a longer page");
        // The new times are known from now on, to runs that compare times alone, too.
        let before = inodes(&pair.place.remote());
        pair.run("upload", &[]).expect(0);
        assert_eq!(replaced(&pair.place.remote(), &before), 0);
        // What was recorded with its new time is still recognised.
        rebuild(&pair.place.local(), 20..40, 1);
        pair.run("sync", CONTENT).expect(0);
        assert_eq!(replaced(&pair.place.remote(), &before), 0);
    }
}

#[test]
fn what_is_compared_by_content_is_a_conflict_only_where_it_differs() {
    const CONTENT: &[&str] = &["--compare", "content", "--resolve", "skip"];
    for pair in Pair::each("contents") {
        for name in ["same", "other"] {
            pair.put_local(name, "one content", 20);
            pair.put_remote(name, "one content", 10);
        }
        pair.put_remote("always/there", "x", 9);
        pair.put_remote("other", "two content", 10);
        pair.run("sync", CONTENT).expect(0).prints("other");
        pair.put_local("same", "new content", 5);
        pair.run("sync", CONTENT).expect(0);
        assert_eq!(
            content(&pair.place.remote(), "same"),
            "new content",
            "it was recorded as equal"
        );
        pair.put_local("same", "third words", 4);
        pair.put_remote("same", "third words", 3);
        let ended = pair.run("sync", CONTENT).expect(0);
        assert!(
            !ended.stdout.contains("same"),
            "both were given one content: {ended}"
        );
        assert_eq!(content(&pair.place.local(), "other"), "one content");
        assert_eq!(content(&pair.place.remote(), "other"), "two content");
    }
}

#[test]
fn a_download_that_is_touched_afterwards_is_not_sent_back() {
    for pair in Pair::each("touched") {
        pair.put_remote("always/there", "x", 9);
        rebuild(&pair.place.remote(), 0..5, 20);
        pair.run("sync", &["--compare", "content"]).expect(0);
        let before = inodes(&pair.place.remote());
        rebuild(&pair.place.local(), 0..5, 2);
        pair.put_local("p3", "page YYY", 2);
        pair.run("sync", &["--compare", "content"]).expect(0);
        assert_eq!(replaced(&pair.place.remote(), &before), 1);
        assert_eq!(content(&pair.place.remote(), "p3"), "page YYY");
    }
}

/// Recorded, the directory would pass for one that the server deleted, and what is in it for a conflict.
#[test]
fn a_directory_that_the_server_only_says_it_made_is_made_by_the_next_run() {
    for (nth, command) in [(3, "sync"), (4, "sync"), (3, "upload"), (4, "upload")] {
        let place = Place::new("folders-unmade");
        let server = FtpServer::start(Config::serving(place.remote()));
        let url = server.url("");
        put(&place.local(), "f", "f", 1000);
        place.with("sync", &url, &[]).expect(0);
        put(&place.local(), "made/deep/new", "new", 1000);
        // The first two make the lock.
        let lie = Effect::reply(257, "as you like");
        server.inject(Fault::on("MKD").nth(nth).then(lie));
        place.with(command, &url, &["--connections=1"]).expect(1);
        server.heal();
        place.with(command, &url, &[]).expect(0);
        assert_eq!(content(&place.remote(), "made/deep/new"), "new", "{nth}");
    }
}
