//! The lock of the remote root, between machines: two of them with a server each shares, an hour that passes in a moment, servers
//! that allow less than others. What must come of it: never two at once, the loser leaves with 5, no lock is left behind.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, FileTimes};
use std::num::{NonZeroU8, NonZeroU64};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use coracle::Run;
use coracle::error::{ErrorKind, Result};
use coracle::job::{
    Connections, Direction, FtpLocation, Habits, Job, Location, Protection, Resolve, Secret,
    ServerPath, StateDir,
};
use coracle::path::RelPath;
use coracle::sync::Summary;
use coracle::sync::event::{Answer, Ask, Conflict, Event};

use support::ftp_server::{Close, Config, Effect, Fault, FtpServer};
use support::is_long;
use support::random::Random;
use support::servers::{Kind, Options, Server};
use support::temp::TempDir;

const LOCK: &str = ".coracle-lock";
/// A mark of a run from elsewhere.
const THEIRS: &str = "0123456789abcdef-1";

/// A machine: a local root and a state directory of its own.
struct Machine {
    dir: TempDir,
    job: Job,
}

/// What a run of a machine came to.
struct Ran {
    result: Result<Summary>,
    notices: Vec<String>,
}

impl Machine {
    fn new(name: &str, remote: Location) -> Self {
        let dir = TempDir::in_memory(name);
        let (local, state) = (dir.path().join("local"), dir.path().join("state"));
        fs::create_dir(&local).unwrap();
        let mut job = Job::new(Direction::Sync, local, remote);
        job.state = StateDir::Below(state);
        job.policy.resolve = Resolve::Skip;
        job.limits.connections = Connections::AtMost(NonZeroU8::MIN);
        job.limits.timeout = Duration::from_secs(20);
        Self { dir, job }
    }

    fn at(name: &str, server: &FtpServer) -> Self {
        let account = ("tester", "secret");
        Self::new(name, ftp(server.addr(), account, ""))
    }

    fn local(&self) -> PathBuf {
        self.dir.path().join("local")
    }

    fn put(&self, name: &str, bytes: usize) {
        fs::write(self.local().join(name), patterned(bytes)).unwrap();
    }

    fn limit(&mut self, bytes_per_sec: u64) {
        self.job.limits.bytes_per_sec = NonZeroU64::new(bytes_per_sec);
    }

    fn run(&self) -> Ran {
        let mut notices = Vec::new();
        let mut tell = |event: Event<'_>| {
            if let Event::Notice(text) | Event::Warning(text) = event {
                notices.push(text.to_owned());
            }
        };
        let run = Run::of(&self.job);
        #[cfg(feature = "sftp")]
        let run = run.answered_by(std::sync::Arc::new(Password));
        let result = run.start(&mut tell, Some(&mut Nobody));
        Ran { result, notices }
    }
}

impl Ran {
    /// Whether all was done; otherwise it was locked out, and nothing else.
    #[track_caller]
    fn won(&self) -> bool {
        match &self.result {
            Ok(summary) => {
                assert!(summary.stopped_by.is_none(), "{summary:?}");
                assert_eq!(summary.totals.errors, 0, "{:?}", self.notices);
                true
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Locked(_)), "{error}");
                false
            }
        }
    }

    #[track_caller]
    fn expect_done(self) -> Self {
        assert!(self.won(), "locked out: {:?}", self.result.err());
        self
    }

    #[track_caller]
    fn told(&self, part: &str) {
        let is_told = self.notices.iter().any(|notice| notice.contains(part));
        assert!(is_told, "no \"{part}\" in {:?}", self.notices);
    }
}

struct Nobody;

impl Ask for Nobody {
    fn ask(
        &mut self,
        conflict: &Conflict<'_>,
        _compare: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Answer> {
        panic!("nobody is asked about {}", conflict.path)
    }
}

#[cfg(feature = "sftp")]
struct Password;

#[cfg(feature = "sftp")]
impl coracle::sftp::Answers for Password {
    fn password(&self, _user: &str) -> Result<Option<Secret>> {
        Ok(Some(Secret::new(support::ssh::PASSWORD.to_owned())))
    }

    fn ask(&self, question: &str, _: coracle::sftp::Secrecy) -> Result<Option<Secret>> {
        panic!("nobody should be asked: {question}")
    }
}

fn ftp(address: std::net::SocketAddr, (user, password): (&str, &str), root: &str) -> Location {
    Location::Ftp(FtpLocation {
        host: address.ip().to_string(),
        port: address.port(),
        protection: Protection::Clear,
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
        path: ServerPath::Absolute(RelPath::parse(root.as_bytes()).unwrap()),
        habits: Habits::default(),
    })
}

fn served(name: &str, change: impl FnOnce(&mut Config)) -> (TempDir, FtpServer) {
    let root = TempDir::in_memory(name);
    let mut config = Config::serving(root.path());
    change(&mut config);
    let server = FtpServer::start(config);
    (root, server)
}

fn patterned(size: usize) -> Vec<u8> {
    let byte = |index: usize| (index ^ (index >> 9)) as u8;
    (0..size).map(byte).collect()
}

/// The names in a root, those of coracle and pyftpsync included.
fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Makes a mark of a run from elsewhere.
fn put_mark(root: &Path, age_secs: u64) {
    let mark = root.join(LOCK).join(THEIRS);
    fs::create_dir_all(&mark).unwrap();
    let made = SystemTime::now() - Duration::from_secs(age_secs);
    let times = FileTimes::new().set_modified(made);
    fs::File::open(mark).unwrap().set_times(times).unwrap();
}

// Marks of others

/// How servers tell of directories: to the second, to the minute, as DOS does.
const TELLING: [fn(&mut Config); 3] = [
    |_| {},
    |config| config.mlsd = false,
    |config| {
        config.mlsd = false;
        config.list_style = support::ftp_server::ListStyle::Dos;
    },
];

#[test]
fn a_fresh_mark_is_honoured_and_a_stale_one_broken() {
    for (place, telling) in TELLING.into_iter().enumerate() {
        // The server's clock is far from ours: only its own times count.
        for clock_offset in [0, -86_400 * 3] {
            let (root, server) = served("marks", |config| {
                telling(config);
                config.clock_offset = clock_offset;
            });
            let age = |secs: i64| u64::try_from(secs - clock_offset).unwrap();
            println!("server {place}, clock {clock_offset}");
            let machine = Machine::at("marks-local", &server);
            machine.put("a", 10);
            put_mark(root.path(), age(60));
            assert!(!machine.run().won());
            assert_eq!(names(root.path()), [LOCK]);
            assert_eq!(names(&root.path().join(LOCK)), [THEIRS]);
            put_mark(root.path(), age(2 * 3600));
            machine.run().expect_done().told("was broken");
            assert_eq!(names(root.path()), ["a"]);
        }
    }
}

#[test]
fn a_fresh_mark_is_broken_where_that_was_asked_for() {
    let (root, server) = served("break", |_| {});
    let mut machine = Machine::at("break-local", &server);
    machine.put("a", 10);
    put_mark(root.path(), 60);
    machine.job.policy.allow.lock = true;
    machine.run().expect_done().told("--break-lock");
    assert_eq!(names(root.path()), ["a"]);
}

#[test]
fn on_a_disk_a_mark_counts_as_well() {
    let root = TempDir::new("marks-disk");
    let machine = Machine::new("marks-disk-local", Location::Path(root.path().to_owned()));
    machine.put("a", 10);
    put_mark(root.path(), 60);
    assert!(!machine.run().won());
    put_mark(root.path(), 2 * 3600);
    machine.run().expect_done();
    assert_eq!(names(root.path()), ["a"]);
}

#[test]
fn whoever_loses_the_lock_in_the_middle_stops() {
    let (root, server) = served("lost", |_| {});
    let mut machine = Machine::at("lost-local", &server);
    machine.put("a", 2_000_000);
    machine.put("b", 2_000_000);
    machine.limit(1_000_000);
    machine.job.limits.lock_refresh = Duration::from_millis(200);
    let lock = root.path().join(LOCK);
    let theirs = root.path().join(LOCK).join(THEIRS);
    let mut has_lost = false;
    server.hook(move |command| {
        // Somebody else breaks the lock while the first file is on its way.
        if command.verb == "STOR" && !std::mem::replace(&mut has_lost, true) {
            for mark in fs::read_dir(&lock).unwrap().flatten() {
                fs::remove_dir(mark.path()).unwrap();
            }
            fs::create_dir(&theirs).unwrap();
        }
        None
    });
    let summary = machine.run().result.unwrap();
    let why = summary.stopped_by.expect("it was stopped");
    assert!(matches!(why.kind(), ErrorKind::Locked(_)), "{why}");
    assert_eq!(names(&root.path().join(LOCK)), [THEIRS]);
    assert!(!root.path().join("b").exists());
}

// Races

/// Two machines begin within a moment of each other, each with a file that the other does not have.
fn race(random: &mut Random, name: &str, locations: [Location; 2], least: u64) -> [bool; 2] {
    let machines = locations.map(|location| {
        let mut machine = Machine::new(name, location);
        machine.limit(300_000 + random.next() % 300_000);
        machine
    });
    for (place, machine) in machines.iter().enumerate() {
        let bytes = least + random.next() % 600_000;
        machine.put(&format!("of-{place}"), usize::try_from(bytes).unwrap());
    }
    let pause = Duration::from_millis(random.next() % 60);
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            thread::sleep(pause);
            machines[1].run().won()
        });
        [machines[0].run().won(), second.join().unwrap()]
    })
}

/// Which connections wrote at the same time as another: between its first and its last change beside the lock.
fn overlaps(server: &FtpServer) -> bool {
    let mut spans: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (at, logged) in server.log().iter().enumerate() {
        let line = logged.text();
        let changes = ["STOR", "APPE", "RNTO", "DELE"];
        if changes.iter().any(|verb| line.starts_with(verb)) && !line.contains(LOCK) {
            let span = spans.entry(logged.connection).or_insert((at, at));
            span.1 = at;
        }
    }
    let mut spans: Vec<(usize, usize)> = spans.into_values().collect();
    spans.sort_unstable();
    spans.windows(2).any(|pair| pair[1].0 < pair[0].1)
}

#[test]
fn of_two_machines_never_two_at_once() {
    let races = if is_long() { 200 } else { 12 };
    let (mut both, mut one, mut none) = (0, 0, 0);
    for first in (0..races).step_by(4) {
        thread::scope(|scope| {
            let seeds = first..(first + 4).min(races);
            let raced: Vec<_> = seeds
                .map(|seed| scope.spawn(move || race_on_a_server(seed)))
                .collect();
            for raced in raced {
                match raced.join().unwrap() {
                    [true, true] => both += 1,
                    [true, false] | [false, true] => one += 1,
                    [false, false] => none += 1,
                }
            }
        });
    }
    println!("{races} races: both done {both}, one locked out {one}, both locked out {none}");
    assert!(one > 0, "nobody met anybody");
}

fn race_on_a_server(seed: u64) -> [bool; 2] {
    let mut random = Random::new(seed);
    let telling = random.pick(&TELLING);
    let latency = Duration::from_millis(random.next() % 12);
    let (root, server) = served("race", |config| {
        telling(config);
        config.latency = latency;
    });
    let location = || ftp(server.addr(), ("tester", "secret"), "");
    let won = race(&mut random, "race-local", [location(), location()], 0);
    assert!(!overlaps(&server), "seed {seed}: {:?}", server.commands());
    let expected: Vec<String> = (0..2)
        .filter(|place| won[*place])
        .map(|place| format!("of-{place}"))
        .collect();
    assert_eq!(names(root.path()), expected, "seed {seed}");
    won
}

#[test]
fn of_two_machines_on_real_servers_one_at_most() {
    for kind in Kind::startable() {
        println!("{}", kind.name());
        let server = Server::start(kind, Options::default());
        let account = (server.user(), server.password());
        let root = server.remote_path("");
        let location = || ftp(server.address(), account, &root);
        // The winner needs longer than the loser waits before it tries again.
        let won = race(
            &mut Random::new(7),
            "race-real",
            [location(), location()],
            1_500_000,
        );
        assert_ne!(won, [true, true]);
        let left = names(server.root());
        assert!(!left.contains(&LOCK.to_owned()), "{left:?}");
    }
}

#[cfg(feature = "sftp")]
#[test]
fn of_two_machines_on_ssh_servers_one_at_most() {
    use support::ssh::{Daemon, SshClient, SshServer};
    for daemon in [Daemon::OpenSsh, Daemon::Dropbear, Daemon::Proftpd] {
        println!("{daemon:?}");
        let server = SshServer::start(daemon);
        server.know_host();
        let location = || Location::Sftp(server.location(SshClient::Ssh));
        let won = race(
            &mut Random::new(7),
            "race-ssh",
            [location(), location()],
            1_500_000,
        );
        assert_ne!(won, [true, true]);
        let left = names(&server.root());
        assert!(!left.contains(&LOCK.to_owned()), "{left:?}");
    }
}

// Hours

/// What is an hour to this run passes in a second and a half; so a file of three seconds takes two hours.
const REFRESH: Duration = Duration::from_millis(500);

fn aging(machine: &mut Machine) {
    machine.job.limits.lock_refresh = REFRESH;
    machine.limit(1_000_000);
}

/// How many marks were made, after checking that there was one at every moment.
fn marks_made(commands: &[String]) -> usize {
    let of_marks = |line: &&String| {
        let is_change = line.starts_with("MKD") || line.starts_with("RMD");
        is_change && line.contains(&format!("{LOCK}/"))
    };
    let lines: Vec<&String> = commands.iter().filter(of_marks).collect();
    let (mut made, mut standing) = (0, 0);
    for (place, line) in lines.iter().enumerate() {
        let is_last = place + 1 == lines.len();
        if line.starts_with("MKD") {
            (made, standing) = (made + 1, standing + 1);
        } else if !line.contains(THEIRS) {
            standing -= 1;
            assert!(standing > 0 || is_last, "no mark stood: {lines:?}");
        }
    }
    made
}

#[test]
fn a_file_of_hours_on_all_connections_leaves_the_lock_fresh() {
    for direction in [Direction::Upload, Direction::Download] {
        let (root, server) = served("hours", |_| {});
        let mut machine = Machine::at("hours-local", &server);
        machine.job.direction = direction;
        aging(&mut machine);
        machine.job.limits.connections = Connections::AtMost(NonZeroU8::new(2).unwrap());
        let (from, to) = match direction {
            Direction::Download => (root.path().to_owned(), machine.local()),
            Direction::Upload | Direction::Sync => (machine.local(), root.path().to_owned()),
        };
        for name in ["a", "b"] {
            fs::write(from.join(name), patterned(2_000_000)).unwrap();
        }
        if direction == Direction::Download {
            // Else it would take no lock.
            put_mark(root.path(), 7200);
        }
        machine.run().expect_done();
        for name in ["a", "b"] {
            assert!(fs::read(to.join(name)).unwrap() == patterned(2_000_000));
        }
        let commands = server.commands();
        assert!(marks_made(&commands) >= 4, "{commands:?}");
        assert!(
            server.connections() <= 2,
            "{} connections",
            server.connections()
        );
        assert!(!root.path().join(LOCK).exists());
    }
}

#[test]
fn a_server_that_cannot_go_on_gets_its_file_all_the_same() {
    let (root, server) = served("no-resume", |config| {
        config.rest = false;
        config.without = vec!["APPE"];
    });
    let mut machine = Machine::at("no-resume-local", &server);
    aging(&mut machine);
    machine.put("a", 2_000_000);
    machine.run().expect_done();
    assert!(fs::read(root.path().join("a")).unwrap() == patterned(2_000_000));
    assert_eq!(names(root.path()), ["a"]);
}

#[test]
fn in_place_nothing_is_suspended() {
    let (root, server) = served("in-place", |_| {});
    let mut machine = Machine::at("in-place-local", &server);
    aging(&mut machine);
    let Location::Ftp(location) = &mut machine.job.remote else {
        unreachable!("it is a server")
    };
    location.habits.in_place = true;
    machine.put("a", 2_000_000);
    machine.run().expect_done();
    assert_eq!(names(root.path()), ["a"]);
    let stored = server.commands();
    let stored = stored.iter().filter(|line| line.starts_with("STOR"));
    assert_eq!(stored.count(), 1);
}

#[test]
fn a_file_of_hours_on_real_servers() {
    for kind in Kind::startable() {
        println!("{}", kind.name());
        let server = Server::start(kind, Options::default());
        let account = (server.user(), server.password());
        let location = ftp(server.address(), account, &server.remote_path(""));
        file_of_hours(location, server.root());
        let made = server
            .commands()
            .iter()
            .filter(|line| line.contains("MKD") && line.contains(&format!("{LOCK}/")))
            .count();
        assert!(made >= 3, "{made} marks: {:?}", server.commands());
    }
}

#[cfg(feature = "sftp")]
#[test]
fn a_file_of_hours_on_an_ssh_server() {
    use support::ssh::{Daemon, SshClient, SshServer};
    let server = SshServer::start(Daemon::OpenSsh);
    server.know_host();
    file_of_hours(
        Location::Sftp(server.location(SshClient::Ssh)),
        &server.root(),
    );
}

fn file_of_hours(location: Location, root: &Path) {
    let mut machine = Machine::new("hours-real", location);
    aging(&mut machine);
    machine.put("a", 3_000_000);
    machine.run().expect_done();
    assert!(fs::read(root.join("a")).unwrap() == patterned(3_000_000));
    assert_eq!(names(root), ["a"]);
}

// Servers that allow less

#[test]
fn where_no_directory_can_be_made_a_file_stands_for_the_lock() {
    let (root, server) = served("no-mkd", |config| config.without = vec!["MKD", "XMKD"]);
    let machine = Machine::at("no-mkd-local", &server);
    machine.put("a", 10);
    machine.run().expect_done();
    assert_eq!(names(root.path()), ["a"]);
    let lock = root.path().join(".pyftpsync-lock.json");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let text = format!("{{\"lock_time\": {}}}", now.unwrap().as_secs() - 60);
    fs::write(&lock, text).unwrap();
    machine.put("b", 10);
    assert!(!machine.run().won());
    fs::remove_file(&lock).unwrap();
    machine.run().expect_done();
    assert_eq!(names(root.path()), ["a", "b"]);
}

#[test]
fn where_the_root_cannot_be_written_the_run_goes_on_and_says_so() {
    let (root, server) = served("closed-root", |_| {});
    fs::create_dir(root.path().join("www")).unwrap();
    for verb in ["MKD", "STOR"] {
        server.hook(move |command| {
            let argument = String::from_utf8_lossy(command.argument);
            let is_in_root = !argument.trim_start_matches('/').contains('/');
            (command.verb == verb && is_in_root).then(|| Effect::reply(553, "Permission denied."))
        });
    }
    let machine = Machine::at("closed-root-local", &server);
    fs::create_dir(machine.local().join("www")).unwrap();
    machine.put("www/index.html", 10);
    machine.run().expect_done().told("cannot be locked");
    assert_eq!(names(root.path()), ["www"]);
    assert_eq!(names(&root.path().join("www")), ["index.html"]);
}

#[test]
fn a_mark_that_was_confirmed_and_not_made_is_no_lock() {
    let (root, server) = served("liar", |_| {});
    server.inject(
        Fault::on("MKD")
            .containing(format!("{LOCK}/"))
            .always()
            .then(Effect::reply(257, "Made.")),
    );
    let machine = Machine::at("liar-local", &server);
    machine.put("a", 10);
    machine.run().expect_done();
    assert_eq!(names(root.path()), ["a"]);
    let is_of_file = |line: &String| line.starts_with("RNTO") && line.ends_with("-lock.json");
    let commands = server.commands();
    assert!(commands.iter().any(is_of_file), "{commands:?}");
}

#[test]
fn a_server_that_ends_the_session_with_a_transfer_gets_its_file_all_the_same() {
    let (root, server) = served("no-abort", |_| {});
    let closes = Effect::act_then_close(Close::Fin);
    server.inject(Fault::on("STOR").then(closes));
    let mut machine = Machine::at("no-abort-local", &server);
    aging(&mut machine);
    machine.put("a", 4_000_000);
    machine.run().expect_done();
    assert!(fs::read(root.path().join("a")).unwrap() == patterned(4_000_000));
    assert_eq!(names(root.path()), ["a"]);
    let commands = server.commands();
    let sent = |line: &&String| line.starts_with("STOR") || line.starts_with("APPE");
    assert_eq!(commands.iter().filter(sent).count(), 2, "{commands:?}");
}

#[test]
fn a_server_that_renames_nothing_is_locked_all_the_same() {
    let (root, server) = served("no-rename", |_| {});
    let refused = || Effect::reply(553, "Can't rename file.");
    server.inject(Fault::on("RNFR").always().then(refused()));
    let mut machine = Machine::at("no-rename-local", &server);
    let Location::Ftp(location) = &mut machine.job.remote else {
        unreachable!("it is a server")
    };
    location.habits.in_place = true;
    machine.put("a", 10);
    machine.run().expect_done();
    machine.put("a", 20);
    machine.put("b", 10);
    machine.run().expect_done();
    assert_eq!(names(root.path()), ["a", "b"]);
    assert_eq!(fs::read(root.path().join("a")).unwrap(), patterned(20));
}

#[test]
fn taking_and_leaving_the_lock_needs_no_data_connection() {
    let (_root, server) = served("cost", |config| {
        config.greeting = "pyftpdlib 2.2.0 ready.".to_owned();
    });
    let machine = Machine::at("cost-local", &server);
    machine.put("a", 10);
    machine.run().expect_done();
    let commands = server.commands();
    let of_lock: Vec<&str> = commands
        .iter()
        .filter(|line| line.contains(LOCK))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        of_lock,
        ["MKD", "MKD", "STAT", "RMD", "RMD"],
        "{commands:?}"
    );
}
