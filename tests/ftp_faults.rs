//! The FTP target against a server that fails at the n-th command, for every n and every kind of failure: whatever is
//! reported, a file is the old or the new one, and the next try succeeds.

mod support;

use std::fs;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coracle::error::{ErrorKind, Result, Scope};
use coracle::job::{
    Connections, DataMode, FtpLocation, Habits, Limits, Protection, Secret, ServerPath,
};
use coracle::path::RelPath;
use coracle::replica::{
    Bytes, FtpConnector, FtpReplica, Listing, NewFile, Removal, Replica, Stat, Times, Unwatched,
    load,
};
use coracle::time::Timestamp;
use support::acquainted::acquainted;
use support::ftp_server::{Act, Close, Config, Effect, Fault, FtpServer, Say, Then};
use support::temp::TempDir;

/// 2024-02-29 12:34:56 UTC.
const LEAP_DAY: Timestamp = Timestamp::from_secs(1_709_210_096);

/// How long the server may be silent.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The same where a failure is expected and must not take long.
const IMPATIENCE: Duration = Duration::from_millis(250);

/// More commands than one round of everything takes.
const MAX_COMMANDS: usize = 40;

/// What a server may do to a command; each ends at once, so that the sweep is quick.
fn effects() -> Vec<(&'static str, Effect)> {
    let mut effects = vec![
        ("fin", Effect::close_control(Close::Fin)),
        ("reset", Effect::close_control(Close::Reset)),
        ("done, then fin", Effect::act_then_close(Close::Fin)),
        ("done, then reset", Effect::act_then_close(Close::Reset)),
        ("garbage", Effect::raw_reply("what do you want?\r\n")),
        (
            "half a reply, then fin",
            Effect::raw_reply("25").closing(Close::Fin),
        ),
        ("twice", Effect::double_reply()),
        ("cut data", Effect::cut_data(1)),
        ("cut data, 226", Effect::cut_data(1).saying(226, "fine")),
        ("short data", Effect::write_short(1)),
    ];
    for code in [200, 226, 257, 350, 421, 426, 450, 500, 550, 552, 999] {
        let name = Box::leak(format!("{code} instead").into_boxed_str());
        effects.push((name, Effect::reply(code, "so there")));
    }
    for code in [421, 426, 451, 500, 550] {
        let name = Box::leak(format!("done, but {code}").into_boxed_str());
        effects.push((name, Effect::act_then_reply(code, "so there")));
    }
    effects
}

#[test]
fn a_failure_at_any_command_loses_nothing_and_the_next_try_succeeds() {
    sweep(&["a"], |_| {});
}

#[test]
fn the_same_without_mlsd() {
    sweep(&["a"], |config| {
        config.mlsd = false;
        config.mfmt = false;
        config.list_zone_secs = 3600;
    });
}

#[test]
fn the_same_without_renaming_over() {
    sweep(&["a"], |config| config.rename_over = false);
}

/// Where the next data connection stands before its command.
#[test]
fn the_same_on_a_server_that_can_be_hurried() {
    sweep(&["a", "c"], |config| {
        config.greeting = "(vsFTPd 3.0.5)".to_owned()
    });
}

/// Writes those names; `a` is there already.
fn sweep(names: &[&str], change: impl Fn(&mut Config)) {
    for (name, effect) in effects() {
        for number in 1..=MAX_COMMANDS {
            let root = TempDir::new("ftp-faults");
            fs::write(root.path().join("a"), b"old").unwrap();
            fs::write(root.path().join("b"), b"bystander").unwrap();
            let mut config = Config::serving(root.path());
            change(&mut config);
            // Nothing waits for it but what never comes, and a busy machine takes its time.
            config.accept_timeout = Duration::from_secs(1);
            config.faults = vec![Fault::at_command(number).then(effect.clone())];
            let server = FtpServer::start(config);
            let case = format!("{name} at command {number}");
            let first = connect_within(&server, IMPATIENCE)
                .and_then(|mut target| work(&mut target, names, &case));
            let reached = server.commands().len() >= number;
            let content = fs::read(root.path().join("a"));
            match &first {
                Ok(()) => assert_eq!(content.unwrap(), b"new", "{case}"),
                // Where a server does not rename over a file, the old one may have been moved aside when it failed.
                Err(_) => assert!(
                    content.as_ref().map_or_else(
                        |_| fs::read_dir(root.path()).unwrap().flatten().any(|entry| {
                            entry.file_name().to_string_lossy().ends_with("-old")
                                && fs::read(entry.path()).unwrap() == b"old"
                        }),
                        |content| content == b"old" || content == b"new"
                    ),
                    "{case}: {content:?}"
                ),
            }
            if let Ok(later) = fs::read(root.path().join("c")) {
                assert_eq!(later, b"new", "{case}");
            }
            server.heal();
            let mut target = connect(&server).unwrap();
            work(&mut target, names, &case)
                .unwrap_or_else(|error| panic!("{case}, again: {error}"));
            assert_eq!(fs::read(root.path().join("a")).unwrap(), b"new", "{case}");
            assert_eq!(
                fs::read(root.path().join("b")).unwrap(),
                b"bystander",
                "{case}"
            );
            if !reached {
                break;
            }
        }
    }
}

/// Lists, reads and writes; whatever is reported as done is checked.
fn work(target: &mut FtpReplica, names: &[&str], case: &str) -> Result<()> {
    let mut listing = Listing::new();
    target.list(&RelPath::root(), &mut listing)?;
    if listing.gap().is_none() {
        assert!(
            listing.find(b"b").is_some(),
            "{case}: the listing lacks a name"
        );
    }
    let bystander = load(target, &rel("b"), 100)?;
    if let Some(bystander) = bystander {
        // Whether all of it came only the listed size tells; nothing else may come.
        assert!(b"bystander".starts_with(&bystander), "{case}");
    }
    names.iter().try_for_each(|name| put(target, name, case))
}

/// The old file stays under its name where a server only says that it moved it out of the way.
#[test]
fn an_old_file_that_was_not_moved_aside_is_not_given_up() {
    let root = TempDir::new("ftp-faults");
    fs::write(root.path().join("a"), b"old").unwrap();
    let mut config = Config::serving(root.path());
    config.rename_over = false;
    let server = FtpServer::start(config);
    server.inject(
        Fault::on("RNTO")
            .containing("-old")
            .always()
            .then(Effect::reply(250, "Rename successful.")),
    );
    let mut target = connect(&server).unwrap();
    let refused = put(&mut target, "a", "moved by word alone").unwrap_err();
    assert!(refused.to_string().contains("old name"), "{refused}");
    assert_eq!(fs::read(root.path().join("a")).unwrap(), b"old");
}

fn put(target: &mut FtpReplica, name: &str, case: &str) -> Result<()> {
    let path = rel(name);
    let old = target.look_up(std::slice::from_ref(&path)).remove(0)?;
    let written = target.write(
        &NewFile {
            path: &path,
            partial: &rel(".coracle-part-x"),
            size: 3,
            mtime: Some(LEAP_DAY),
            mode: None,
            resume_at: 0,
            replaces: old,
            set_aside: None,
            keep_partial: false,
        },
        &mut Bytes(b"new"),
        &mut Unwatched,
    )?;
    assert_eq!(written.stat.size, 3, "{case}");
    Ok(())
}

#[test]
fn a_server_that_spoils_a_port_asked_for_at_the_end_of_data_is_asked_no_more() {
    let spoilt = [
        ("refused", Effect::reply(450, "data transfer in progress")),
        ("unknown", Effect::reply(500, "what?")),
        ("dropped", Effect::drop_reply()),
        ("closed", Effect::close_control(Close::Fin)),
    ];
    for (case, effect) in spoilt {
        let root = TempDir::new("ftp-haste");
        fs::write(root.path().join("a"), b"content").unwrap();
        let server = FtpServer::start(Config {
            faults: vec![Fault::on("EPSV").nth(2).then(effect)],
            ..Config::serving(root.path())
        });
        let connector = connector(&server, IMPATIENCE).with_memory(acquainted());
        let mut target = connector.connect().unwrap();
        let mut read = || load(&mut target, &rel("a"), 100);
        // The server confirmed this one.
        assert_eq!(read().unwrap().unwrap(), b"content", "{case}");
        let is_lost = read().is_err();
        assert_eq!(is_lost, ["dropped", "closed"].contains(&case), "{case}");
        let mut target = connector.connect().unwrap();
        server.take_commands();
        for _ in 0..2 {
            let again = load(&mut target, &rel("a"), 100).unwrap().unwrap();
            assert_eq!(again, b"content", "{case}");
        }
        let commands = server.take_commands();
        assert_eq!(commands, ["EPSV", "RETR /a", "EPSV", "RETR /a"], "{case}");
    }
}

#[test]
fn a_server_that_overlooks_a_connection_opened_ahead_loses_nothing() {
    let root = TempDir::new("ftp-haste");
    let server = FtpServer::start(Config {
        greeting: "(vsFTPd 3.0.5)".to_owned(),
        faults: vec![
            Fault::on("STOR")
                .nth(2)
                .then(Effect::reply(425, "no connection")),
        ],
        ..Config::serving(root.path())
    });
    let connector = connector(&server, TIMEOUT);
    let mut target = connector.connect().unwrap();
    put(&mut target, "a", "first").unwrap();
    let error = put(&mut target, "b", "second").unwrap_err();
    // Whoever called tries again with a new connection.
    assert_eq!(error.scope(), Scope::Session, "{error}");
    let mut target = connector.connect().unwrap();
    for name in ["b", "c", "d"] {
        put(&mut target, name, "again").unwrap();
        assert_eq!(fs::read(root.path().join(name)).unwrap(), b"new");
    }
}

#[test]
fn replies_without_end_are_cut_short() {
    for chunk in ["220-more\r\n", "220 more", "150 wait\r\n"] {
        let root = TempDir::new("ftp-endless");
        let server = FtpServer::start(Config {
            faults: vec![Fault::on("MLST").then(Effect::endless_reply(chunk, Duration::ZERO))],
            ..Config::serving(root.path())
        });
        let mut target = connect(&server).unwrap();
        let error = target.look_up(&[rel("a")]).remove(0).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Protocol(_)),
            "{chunk}: {error}"
        );
    }
}

#[test]
fn silence_ends_in_time() {
    let root = TempDir::new("ftp-silence");
    let server = FtpServer::start(Config {
        faults: vec![Fault::on("MLST").then(Effect::stall())],
        ..Config::serving(root.path())
    });
    let mut target = connect(&server).unwrap();
    let start = Instant::now();
    let error = target.look_up(&[rel("a")]).remove(0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout(_)), "{error}");
    assert!(start.elapsed() < 3 * TIMEOUT);
}

#[test]
fn what_lies_in_a_missing_directory_is_absent() {
    let root = TempDir::new("ftp-gone");
    let server = FtpServer::start(Config::serving(root.path()));
    let mut target = connect(&server).unwrap();
    let looks = target.look_up(&[rel("no/such/file"), rel("no/other")]);
    assert!(looks.iter().all(|look| matches!(look, Ok(None::<Stat>))));
}

/// What a server does, and what it is called.
type Manner = (&'static str, fn() -> Effect);

/// What a server does to commands that come before the ones before them are answered.
const MANNERS: [Manner; 6] = [
    ("500", || Effect::reply(500, "one at a time")),
    ("503", || Effect::reply(503, "one at a time")),
    ("silence", passed_over),
    ("silence when it is done", Effect::drop_reply),
    ("an end", || Effect::close_control(Close::Fin)),
    ("a reset", || Effect::close_control(Close::Reset)),
];

/// Nothing is done and nothing said.
fn passed_over() -> Effect {
    Effect::of(Act::Skip, Say::Nothing, Then::GoOn)
}

/// A server that will not have some commands sent ahead; how many of them it met.
fn strict_server(
    root: &TempDir,
    verbs: &'static [&'static str],
    effect: fn() -> Effect,
) -> (FtpServer, Arc<AtomicUsize>) {
    let server = FtpServer::start(Config {
        accept_timeout: IMPATIENCE,
        ..Config::serving(root.path())
    });
    let met = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&met);
    server.hook(move |command| {
        let is_meant = command.is_sent_ahead && verbs.contains(&command.verb);
        is_meant.then(|| {
            count.fetch_add(1, Ordering::Relaxed);
            effect()
        })
    });
    (server, met)
}

/// Does it with a new connection as long as connections die, as the workers of a run do; how often it took.
fn stubbornly(
    connector: &FtpConnector,
    what: &str,
    mut does: impl FnMut(&mut FtpReplica) -> Result<()>,
) -> usize {
    for tries in 1..=MAX_TRIES {
        match connector.connect().and_then(|mut target| does(&mut target)) {
            Ok(()) => return tries,
            Err(error) if error.scope() == Scope::Session => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }
    panic!("{what}: it never comes to an end");
}

/// One for each place where commands are sent ahead: the login, a batch, a transfer's port, what follows a transfer.
const MAX_TRIES: usize = 4;

fn upload_two(target: &mut FtpReplica) -> Result<()> {
    for name in ["a", "b"] {
        let path = rel(name);
        let there = target.look_up(std::slice::from_ref(&path)).remove(0)?;
        let file = NewFile {
            path: &path,
            partial: &rel(".coracle-part-x"),
            size: 3,
            mtime: Some(LEAP_DAY),
            mode: None,
            resume_at: 0,
            replaces: there,
            set_aside: None,
            keep_partial: false,
        };
        let written = target.write(&file, &mut Bytes(b"new"), &mut Unwatched)?;
        assert_eq!(written.stat, Stat::file(3, LEAP_DAY));
        assert_eq!(written.times, Times::Kept);
    }
    Ok(())
}

/// Uploads to a server that will not have these verbs sent ahead, however it shows that.
fn uploads_where_not_ahead(verbs: &'static [&'static str]) {
    for (manner, effect) in MANNERS {
        let root = TempDir::new("ftp-strict");
        let (server, met) = strict_server(&root, verbs, effect);
        let connector = connector(&server, IMPATIENCE);
        let what = format!("{verbs:?} ahead are answered with {manner}");
        stubbornly(&connector, &what, upload_two);
        for name in ["a", "b"] {
            assert_eq!(fs::read(root.path().join(name)).unwrap(), b"new", "{what}");
        }
        assert!(
            met.swap(0, Ordering::Relaxed) > 0,
            "{what}: they never were"
        );
        // It is known by now, in a new session, too.
        assert_eq!(stubbornly(&connector, &what, upload_two), 1);
        assert_eq!(met.load(Ordering::Relaxed), 0, "{what}: once is enough");
    }
}

#[test]
fn no_command_at_all_is_sent_ahead_to_a_server_that_takes_none() {
    uploads_where_not_ahead(&[
        "OPTS", "TYPE", "PWD", "MFMT", "MLST", "RNFR", "RNTO", "EPSV", "CWD",
    ]);
}

#[test]
fn what_follows_a_transfer_goes_one_by_one_where_it_must() {
    uploads_where_not_ahead(&["MLST", "RNTO"]);
    uploads_where_not_ahead(&["RNTO"]);
}

#[test]
fn a_passive_port_is_asked_for_alone_where_it_must() {
    uploads_where_not_ahead(&["EPSV"]);
}

#[test]
fn batches_go_one_by_one_where_they_must() {
    let names: Vec<RelPath> = (0..20).map(|n| rel(&format!("d{n}"))).collect();
    let removals: Vec<Removal> = names.iter().cloned().map(Removal::Dir).collect();
    for (manner, effect) in MANNERS {
        let root = TempDir::new("ftp-strict");
        let (server, met) = strict_server(&root, &["MKD", "RMD", "DELE"], effect);
        let connector = connector(&server, IMPATIENCE);
        let what = format!("batches are answered with {manner}");
        stubbornly(&connector, &what, |target| {
            target.make_dirs(&names).into_iter().collect()
        });
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), names.len());
        assert!(
            met.swap(0, Ordering::Relaxed) > 0,
            "{what}: they never were"
        );
        let tries = stubbornly(&connector, &what, |target| {
            target.remove(&removals).into_iter().collect()
        });
        assert_eq!(tries, 1, "{what}: it is known by now");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert_eq!(met.load(Ordering::Relaxed), 0, "{what}: once is enough");
    }
}

#[test]
fn a_port_is_not_kept_where_another_command_spoils_it() {
    for effect in [
        || Effect::reply(425, "Use PORT or PASV first."),
        || Effect::reply(503, "Bad sequence of commands."),
        || Effect::close_control(Close::Fin),
        passed_over,
    ] as [fn() -> Effect; 4]
    {
        let root = TempDir::new("ftp-port");
        let server = FtpServer::start(Config {
            accept_timeout: IMPATIENCE,
            ..Config::serving(root.path())
        });
        let is_fresh = AtomicBool::new(false);
        let spoilt = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&spoilt);
        server.hook(move |command| match command.verb {
            "EPSV" | "PASV" => {
                // A port that was asked for with other commands is not for the next transfer.
                is_fresh.store(!command.is_sent_ahead, Ordering::Relaxed);
                None
            }
            "STOR" if !is_fresh.load(Ordering::Relaxed) => {
                count.fetch_add(1, Ordering::Relaxed);
                Some(effect())
            }
            _ => None,
        });
        let connector = connector(&server, IMPATIENCE).with_memory(acquainted());
        stubbornly(&connector, "a spoilt port", upload_two);
        assert_eq!(spoilt.swap(0, Ordering::Relaxed), 1);
        assert_eq!(stubbornly(&connector, "again", upload_two), 1);
        assert_eq!(spoilt.load(Ordering::Relaxed), 0);
    }
}

fn connect(server: &FtpServer) -> Result<FtpReplica> {
    connect_within(server, TIMEOUT)
}

fn connect_within(server: &FtpServer, timeout: Duration) -> Result<FtpReplica> {
    connector(server, timeout).connect()
}

fn connector(server: &FtpServer, timeout: Duration) -> FtpConnector {
    let location = FtpLocation {
        host: server.addr().ip().to_string(),
        port: server.addr().port(),
        protection: Protection::Clear,
        user: "tester".to_owned(),
        password: Secret::new("geheim".to_owned()),
        path: ServerPath::Absolute(RelPath::root()),
        habits: Habits::default(),
    };
    let limits = Limits {
        connections: Connections::AtMost(NonZeroU8::MIN),
        timeout,
        retries: 0,
        max_duration: None,
        bytes_per_sec: None,
        data: DataMode::Passive,
        ..Limits::default()
    };
    FtpConnector::new(&location, &limits).unwrap()
}

fn rel(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).unwrap()
}

#[test]
fn metadata_that_does_not_come_whole_is_not_taken_for_damaged() {
    let dir = TempDir::new("ftp-faults-metadata");
    let whole = r#"{"_file_version":3,"mtimes":{"a":{"m":1,"s":2,"u":3}},"peer_sync":{}}"#;
    let path = dir.path().join(".pyftpsync-meta.json");
    fs::write(&path, whole).unwrap();
    let server = FtpServer::start(Config::serving(dir.path()));
    let load = || {
        let mut target = connect_within(&server, IMPATIENCE)?;
        load(&mut target, &rel(".pyftpsync-meta.json"), 1000)
    };
    assert_eq!(load().unwrap().as_deref(), Some(whole.as_bytes()));
    for bytes in 0..whole.len() as u64 {
        server.inject(Fault::on("RETR").then(Effect::cut_data(bytes)));
        let cut = load();
        assert!(cut.is_err(), "after {bytes} bytes: {cut:?}");
        server.heal();
    }
}
