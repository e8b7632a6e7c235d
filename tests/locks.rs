//! Locks and interruptions, through the program: who comes second leaves, who is broken off leaves nothing half done.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coracle::path::{Name, PARTIAL_PREFIX, PartOwner, partial_name};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::ftp_server::{Close, Config, Effect, Fault, FtpServer};
use support::program::{Ended, Place, Snapshot, content, put, wait};
#[cfg(feature = "sftp")]
use support::ssh::{Daemon, SshClient, SshServer};

const DAY_SECS: u64 = 86_400;
/// The lock of the remote root, and that of pyftpsync.
const LOCK: &str = ".coracle-lock";
const LOCK_FILE: &str = ".pyftpsync-lock.json";
const PARTIAL: &str = ".coracle-part-";

/// What is waited for comes within this time, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run that goes on while the test does something else.
struct Running {
    child: Child,
    started: Instant,
}

impl Running {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            started: Instant::now(),
            child: command.spawn().unwrap(),
        }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id() as i32), signal).unwrap();
    }

    fn end(self) -> Ended {
        wait(self.child, self.started)
    }
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Stops the server at the first command with this verb, until the test lets it go on.
struct Gate {
    reached: Receiver<()>,
    go_on: Sender<()>,
}

impl Gate {
    fn at(server: &FtpServer, verb: &'static str, part: &'static str) -> Self {
        let (tell, reached) = channel();
        let (go_on, wait) = channel();
        let (tell, wait): (Mutex<Sender<()>>, Mutex<Receiver<()>>) =
            (Mutex::new(tell), Mutex::new(wait));
        let mut open = false;
        server.hook(move |command| {
            let argument = String::from_utf8_lossy(command.argument);
            if !open && command.verb == verb && argument.contains(part) {
                open = true;
                tell.lock().unwrap().send(()).ok()?;
                let _the_test_has_ended = wait.lock().unwrap().recv_timeout(PATIENCE);
            }
            None
        });
        Self { reached, go_on }
    }

    fn wait(&self) {
        self.reached
            .recv_timeout(PATIENCE)
            .expect("the run comes here");
    }
}

fn now_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn put_lock(root: &Path, age_secs: u64) {
    let time = now_secs() - age_secs;
    let text = format!("{{\"lock_time\": {time}.5, \"lock_holder\": \"somebody else\"}}");
    put(root, LOCK_FILE, text, age_secs);
}

/// No lock and no partial file anywhere.
#[track_caller]
fn assert_tidy(place: &Place) {
    for root in [place.local(), place.remote()] {
        let held = Snapshot::of(&root);
        let ours = [PARTIAL, LOCK, LOCK_FILE];
        let own: Vec<_> = held
            .own_names()
            .into_iter()
            .filter(|name| ours.iter().any(|own| name.contains(own)))
            .map(str::to_owned)
            .collect();
        assert_eq!(own, Vec::<String>::new(), "in {}", root.display());
    }
}

// Locks

#[test]
fn a_second_run_on_the_same_local_root_leaves_and_names_the_first() {
    let place = Place::new("second");
    put(&place.local(), "a", "a", DAY_SECS);
    fs::create_dir(place.path().join("another")).unwrap();
    let server = FtpServer::start(Config::serving(place.remote()));
    let gate = Gate::at(&server, "STOR", PARTIAL);
    let first = Running::start(&place, &["upload", "local", &server.url("")]);
    gate.wait();
    for command in ["sync", "upload", "download"] {
        let second = place
            .with(command, "another", &[])
            .expect(5)
            .says_one_sentence();
        let second = second.complains(&first.id().to_string());
        assert!(second.took < Duration::from_secs(15), "at once: {second}");
    }
    assert_eq!(
        Snapshot::of(&place.path().join("another")).names(),
        Vec::<&str>::new()
    );
    gate.go_on.send(()).unwrap();
    first.end().expect(0);
    assert_eq!(content(&place.remote(), "a"), "a");
    place.with("upload", "another", &[]).expect(0);
    assert_tidy(&place);
}

#[test]
fn a_fresh_remote_lock_of_another_is_honoured() {
    for served in [false, true] {
        let place = Place::new("fresh-lock");
        put(&place.local(), "a", "a", DAY_SECS);
        put_lock(&place.remote(), 60);
        let server = served.then(|| FtpServer::start(Config::serving(place.remote())));
        let url = server
            .as_ref()
            .map_or("remote".to_owned(), |server| server.url(""));
        let (local, remote) = place.snapshot();
        place
            .with("sync", &url, &[])
            .expect(5)
            .says_one_sentence()
            .complains("somebody else");
        let before = place.snapshot();
        assert_eq!(before.1, remote, "the lock is untouched, too");
        assert_eq!(before.0.names(), local.names());
        assert_eq!(before.0.own_names(), [".coracle", ".coracle/.gitignore"]);
        // A dry run needs no lock.
        place.with("sync", &url, &["--dry-run"]).expect(0);
        assert_eq!(place.snapshot(), before);
    }
}

#[test]
fn a_stale_remote_lock_is_broken() {
    let place = Place::new("stale-lock");
    put(&place.local(), "a", "a", DAY_SECS);
    put_lock(&place.remote(), 3700);
    let server = FtpServer::start(Config::serving(place.remote()));
    place
        .with("sync", &server.url(""), &[])
        .expect(0)
        .prints("was broken");
    assert_eq!(content(&place.remote(), "a"), "a");
    assert_tidy(&place);
}

#[test]
fn a_fresh_remote_lock_is_broken_where_that_was_asked_for() {
    let place = Place::new("break-lock");
    put(&place.local(), "a", "a", DAY_SECS);
    put_lock(&place.remote(), 60);
    let server = FtpServer::start(Config::serving(place.remote()));
    let url = server.url("");
    place
        .with("sync", &url, &[])
        .expect(5)
        .complains("--break-lock");
    place
        .with("sync", &url, &["--break-lock"])
        .expect(0)
        .prints("was broken");
    assert_eq!(content(&place.remote(), "a"), "a");
    assert_tidy(&place);
}

#[test]
fn the_remote_lock_is_there_while_files_are_written_and_gone_at_the_end() {
    let place = Place::new("lock-life");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    let gate = Gate::at(&server, "RNTO", "/a");
    let run = Running::start(&place, &["upload", "local", &server.url("")]);
    gate.wait();
    let marks = fs::read_dir(place.remote().join(LOCK)).unwrap().flatten();
    let marks: Vec<_> = marks.map(|mark| mark.file_name()).collect();
    assert_eq!(marks.len(), 1, "{marks:?}");
    gate.go_on.send(()).unwrap();
    run.end().expect(0);
    assert_tidy(&place);
}

#[test]
fn the_remote_lock_is_removed_when_entries_failed() {
    let place = Place::new("lock-error");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    server.inject(
        Fault::on("RNTO")
            .containing("/a")
            .always()
            .then(Effect::reply(553, "No.")),
    );
    server.inject(
        Fault::on("DELE")
            .containing("/a")
            .then(Effect::reply(550, "No.")),
    );
    let ended = place.with("upload", &server.url(""), &[]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert_tidy(&place);
}

#[test]
fn a_run_with_nothing_to_do_takes_no_lock() {
    let place = Place::new("no-lock");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    place.with("sync", &server.url(""), &[]).expect(0);
    server.take_commands();
    let before = place.snapshot();
    place.with("sync", &server.url(""), &[]).expect(0);
    assert_eq!(place.snapshot(), before);
    let asked = server.take_commands();
    assert!(
        !asked
            .iter()
            .any(|line| line.starts_with("STOR") || line.starts_with("MKD")),
        "{asked:?}"
    );
}

// Interruptions

/// A place with a small file that goes first and a big one that takes long at the rate below.
fn big_and_small(name: &str, upload: bool) -> Place {
    let place = Place::new(name);
    let source = if upload {
        place.local()
    } else {
        place.remote()
    };
    put(&source, "a-small", "small", DAY_SECS);
    put(&source, "z-big", vec![b'x'; 3_000_000], DAY_SECS);
    place
}

const SLOWLY: [&str; 2] = ["--limit-rate=100k", "--connections=1"];

/// A partial file of more than so many bytes.
fn has_partial(root: &Path, bytes: u64) -> bool {
    fs::read_dir(root).unwrap().flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with(PARTIAL)
            && entry.metadata().is_ok_and(|status| status.len() > bytes)
    })
}

/// The partial files in a directory, with what is in them.
fn parts_in(root: &Path) -> Vec<(String, Vec<u8>)> {
    let names = Snapshot::of(root);
    let names = names.own_names().into_iter();
    let parts = names.filter(|name| name.contains(PARTIAL));
    parts
        .map(|name| (name.to_owned(), fs::read(root.join(name)).unwrap()))
        .collect()
}

/// Begins to send the big file, and is interrupted by the user.
fn cut_off_upload(place: &Place, url: &str) {
    let run = Running::start(place, &[&["sync", "local", url][..], &SLOWLY].concat());
    until("the big file is under way", || {
        has_partial(&place.remote(), 1000)
    });
    run.signal(Signal::SIGINT);
    run.end().expect(3);
}

#[test]
fn what_another_machine_was_cut_off_in_is_its_own() {
    let place = big_and_small("two-machines", true);
    let server = FtpServer::start(Config::serving(place.remote()));
    let url = server.url("");
    cut_off_upload(&place, &url);
    let left = parts_in(&place.remote());
    assert_eq!(left.len(), 1, "{left:?}");

    // The same root and the same file, so that the name of the state directory alone tells the two apart.
    let other = Place::new("other-machine");
    put(&other.local(), "z-big", vec![b'x'; 3_000_000], DAY_SECS);
    put(&other.local(), "b", "b", DAY_SECS);
    server.take_commands();
    other.with("sync", &url, &[]).expect(0);
    assert_eq!(
        parts_in(&place.remote()),
        left,
        "neither removed nor added to"
    );
    let sent = server.take_commands();
    assert!(
        !sent.iter().any(|line| line.starts_with("APPE")),
        "{sent:?}"
    );

    place.with("sync", &url, &[]).expect(0);
    assert!(has_same_big(&place));
    assert_tidy(&place);
}

#[test]
fn our_own_part_of_a_file_that_changed_since_is_removed() {
    let place = big_and_small("stale-part", true);
    let server = FtpServer::start(Config::serving(place.remote()));
    let url = server.url("");
    cut_off_upload(&place, &url);
    fs::remove_file(place.local().join("z-big")).unwrap();
    place.with("sync", &url, &[]).expect(0);
    assert_tidy(&place);
}

/// Of an old file that was moved aside, either it or the new one has the name after the next run, whatever was done when the run
/// was cut off.
#[test]
fn a_run_that_is_cut_off_while_the_old_file_is_aside_loses_neither() {
    for (verb, nth) in [("RNTO", 2), ("RNTO", 3), ("DELE", 2)] {
        println!("{verb} {nth}");
        let place = Place::new("aside");
        put(&place.local(), "a", "old", DAY_SECS);
        let mut config = Config::serving(place.remote());
        config.rename_over = false;
        let server = FtpServer::start(config);
        let url = server.url("");
        place.with("sync", &url, &[]).expect(0);
        put(&place.local(), "a", "newer", 60);
        let mut seen = 0;
        server.hook(move |command| {
            let is_aside = command.argument.ends_with(b"-old") || command.argument.ends_with(b"/a");
            seen += usize::from(command.verb == verb && is_aside);
            (seen >= nth).then(|| Effect::close_control(Close::Reset))
        });
        let ended = place.with("sync", &url, &["--retries=0"]);
        server.heal();
        // Another machine sees what is there, and leaves it.
        let cut_off = parts_in(&place.remote());
        assert!(!cut_off.is_empty(), "it was cut off: {ended}");
        let is_aside = !place.remote().join("a").exists();
        assert_eq!(is_aside, (verb, nth) == ("RNTO", 3));
        let other = Place::new("other-machine");
        other.with("download", &url, &["--break-lock"]).expect(0);
        assert_eq!(parts_in(&place.remote()), cut_off);

        let ended = place.with("sync", &url, &[]).expect(0);
        assert_eq!(
            is_aside,
            ended.to_string().contains("has its name back"),
            "{ended}"
        );
        assert_eq!(content(&place.local(), "a"), "newer");
        assert_eq!(content(&place.remote(), "a"), "newer");
        assert_tidy(&place);
    }
}

#[test]
fn an_interrupted_run_is_continued_by_the_next_one() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for upload in [true, false] {
            println!("{signal} upload {upload}");
            let place = big_and_small("interrupted", upload);
            let server = FtpServer::start(Config::serving(place.remote()));
            let url = server.url("");
            let arguments = [&["sync", "local", &url][..], &SLOWLY].concat();
            let run = Running::start(&place, &arguments);
            let target = if upload {
                place.remote()
            } else {
                place.local()
            };
            // On a disk the small file waits for its name still: it was whole, and is not lost.
            until("the big file is under way", || has_partial(&target, 1000));
            run.signal(signal);
            let interrupted = Instant::now();
            let ended = run
                .end()
                .expect(3)
                .reads_as_prose()
                .complains("interrupted");
            assert!(interrupted.elapsed() < Duration::from_secs(10), "{ended}");
            assert!(!target.join("z-big").exists());
            assert!(!place.remote().join(LOCK).exists());
            assert!(
                has_partial(&target, 1000),
                "what came across waits for the next run"
            );

            server.take_commands();
            place.with("sync", &url, &[]).expect(0);
            assert_tidy(&place);
            assert_eq!(fs::metadata(target.join("z-big")).unwrap().len(), 3_000_000);
            let again = server.take_commands();
            // An upload reads back the tail of what lies there.
            let verbs = if upload {
                ["STOR", "APPE"]
            } else {
                ["RETR", "RETR"]
            };
            let moved = again
                .iter()
                .filter(|line| verbs.iter().any(|verb| line.starts_with(verb)));
            let most = if upload { 2 } else { 1 };
            assert!(
                moved.count() <= most,
                "what was done was recorded: {again:?}"
            );
            let is_resumed = |line: &String| line.starts_with("APPE") || line.starts_with("REST");
            assert!(again.iter().any(is_resumed), "{again:?}");
            let before = place.snapshot();
            place.with("sync", &url, &[]).expect(0);
            assert_eq!(place.snapshot(), before);
        }
    }
}

/// A power cut takes what was written last, and leaves the size: what lies there ends in zeros.
fn spoil_the_end_of_the_part(root: &Path) {
    let mut parts = parts_in(root);
    assert_eq!(parts.len(), 1, "one file is under way");
    let (name, mut bytes) = parts.remove(0);
    let sound = bytes.len() - 5000;
    bytes[sound..].fill(0);
    fs::write(root.join(name), bytes).unwrap();
}

fn is_not_built_upon(place: &Place, upload: bool, url: &str, options: &[&str]) {
    let target = if upload {
        place.remote()
    } else {
        place.local()
    };
    let slowly = [&["sync", "local", url][..], &SLOWLY, options].concat();
    let run = Running::start(place, &slowly);
    until("the big file is under way", || has_partial(&target, 50_000));
    run.signal(Signal::SIGINT);
    run.end().expect(3);
    spoil_the_end_of_the_part(&target);
    let again = [options, &["--retries=0", "--connections=1"]].concat();
    place.with("sync", url, &again).expect(0);
    assert!(has_same_big(place), "upload {upload}");
    assert_tidy(place);
}

#[test]
fn a_part_whose_end_is_spoilt_is_not_built_upon() {
    for upload in [true, false] {
        let place = big_and_small("spoilt-part", upload);
        let server = FtpServer::start(Config::serving(place.remote()));
        is_not_built_upon(&place, upload, &server.url(""), &[]);
    }
}

#[cfg(feature = "sftp")]
#[test]
fn a_part_whose_end_is_spoilt_is_not_built_upon_over_sftp() {
    for upload in [true, false] {
        let place = big_and_small("spoilt-part", upload);
        let server = SshServer::start(Daemon::OpenSsh);
        server.own(&place.remote());
        let url = server.url_of(&place.remote());
        let command = server.command(SshClient::Ssh);
        is_not_built_upon(&place, upload, &url, &["--ssh-command", &command]);
    }
}

/// What is said of the big file under its partial name, or under its own where it is the source.
fn moving_big(place: &Place, upload: bool) -> Fault {
    if !upload {
        return Fault::on("RETR").containing("z-big");
    }
    let metadata = fs::metadata(place.local().join("z-big")).unwrap();
    let nanos = metadata.mtime() * 1_000_000_000;
    let name = Name::new(b"z-big").unwrap();
    let partial = partial_name(PartOwner::ANYONE, name, metadata.len(), Some(nanos));
    Fault::on("STOR").containing(after_owner(&partial))
}

/// What a partial name says of the file, whoever sends it.
fn after_owner(partial: &[u8]) -> &[u8] {
    &partial[PARTIAL_PREFIX.len() + "01234567".len()..]
}

fn has_same_big(place: &Place) -> bool {
    let read = |root: PathBuf| fs::read(root.join("z-big")).unwrap();
    read(place.local()) == read(place.remote())
}

/// Content of which no part is like another.
fn varied(size: u32) -> Vec<u8> {
    (0..size / 4).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_line_that_breaks_again_and_again_brings_the_file_all_the_same() {
    for upload in [true, false] {
        for (size, step) in [(3_000_000, 500_000), (60_000, 9_000)] {
            let place = big_and_small("flaky-line", upload);
            let source = if upload {
                place.local()
            } else {
                place.remote()
            };
            put(&source, "z-big", varied(size), DAY_SECS);
            let server = FtpServer::start(Config::serving(place.remote()));
            let breaks = Effect::cut_data(step).closing(Close::Reset);
            let times = size as usize / step as usize;
            server.inject(moving_big(&place, upload).times(times).then(breaks));
            let arguments = ["--connections=1", "--retries=1", "--timeout=5"];
            let ended = place.with("sync", &server.url(""), &arguments).expect(0);
            assert_tidy(&place);
            assert!(has_same_big(&place), "{ended}");
        }
    }
}

#[test]
fn a_line_that_brings_a_byte_a_try_is_left_alone_in_the_end() {
    for upload in [true, false] {
        let place = big_and_small("dripping-line", upload);
        let server = FtpServer::start(Config::serving(place.remote()));
        let breaks = Effect::cut_data(1).closing(Close::Reset);
        server.inject(moving_big(&place, upload).always().then(breaks));
        let arguments = ["--connections=1", "--retries=1", "--timeout=5"];
        place.with("sync", &server.url(""), &arguments).expect(1);
        let target = if upload {
            place.remote()
        } else {
            place.local()
        };
        assert!(!target.join("z-big").exists());
    }
}

#[test]
fn a_server_that_does_not_go_on_gets_the_file_from_its_beginning() {
    for upload in [true, false] {
        let place = big_and_small("no-restart", upload);
        let server = FtpServer::start(Config::serving(place.remote()));
        let breaks = Effect::cut_data(500_000).closing(Close::Reset);
        server.inject(moving_big(&place, upload).then(breaks));
        server.inject(Fault::on("REST").always().then(Effect::reply(502, "No.")));
        server.inject(Fault::on("APPE").always().then(Effect::reply(502, "No.")));
        let arguments = ["--connections=1", "--retries=1", "--timeout=5"];
        place.with("sync", &server.url(""), &arguments).expect(0);
        assert_tidy(&place);
        assert!(has_same_big(&place));
    }
}

#[test]
fn a_line_that_dies_leaves_what_was_whole_in_its_place() {
    let place = big_and_small("dead-line", false);
    let server = FtpServer::start(Config::serving(place.remote()));
    let url = server.url("");
    let breaks = || Effect::close_control(Close::Reset);
    server.inject(Fault::on("RETR").containing("z-big").then(breaks()));
    // The server is not there for a new connection either.
    server.inject(Fault::on("USER").nth(2).always().then(breaks()));
    let arguments = ["--connections=1", "--retries=1", "--timeout=2"];
    place.with("sync", &url, &arguments).expect(6);
    assert_eq!(content(&place.local(), "a-small"), "small");
    assert!(!has_partial(&place.local(), 0));

    server.heal();
    server.take_commands();
    place.with("sync", &url, &[]).expect(0);
    assert_tidy(&place);
    let again = server.take_commands();
    let fetched = again.iter().filter(|line| line.starts_with("RETR"));
    assert!(
        fetched.clone().any(|line| line.ends_with("z-big")),
        "{again:?}"
    );
    assert!(
        !fetched.clone().any(|line| line.ends_with("a-small")),
        "{again:?}"
    );
}

#[test]
fn an_interruption_while_the_server_is_silent_ends_the_run() {
    let place = Place::new("interrupt-silent");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    let gate = Gate::at(&server, "MLSD", "");
    let url = server.url("");
    let run = Running::start(&place, &["sync", "local", &url, "--timeout=5"]);
    gate.wait();
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert!(matches!(ended.code, Some(3 | 6)), "{ended}");
    assert!(ended.took < Duration::from_secs(15), "{ended}");
    gate.go_on.send(()).unwrap();
    assert!(!place.remote().join("a").exists());
}

#[test]
fn the_time_limit_stops_a_run_that_the_next_one_continues() {
    for upload in [true, false] {
        let place = big_and_small("time-limit", upload);
        let server = FtpServer::start(Config::serving(place.remote()));
        let url = server.url("");
        let target = if upload {
            place.remote()
        } else {
            place.local()
        };
        place
            .with("sync", &url, &[&SLOWLY[..], &["--max-duration=1"]].concat())
            .expect(3)
            .complains("the next run continues");
        assert!(!target.join("z-big").exists());
        assert_eq!(content(&target, "a-small"), "small");
        place.with("sync", &url, &[]).expect(0);
        assert_eq!(fs::metadata(target.join("z-big")).unwrap().len(), 3_000_000);
        assert_tidy(&place);
        let before = place.snapshot();
        place.with("sync", &url, &[]).expect(0);
        assert_eq!(place.snapshot(), before);
    }
}
