//! Whole dialogues, changed at random: a relay spoils lines of what the server says on the control connection. Whatever
//! comes of it: no panic, an end in time, bounded memory, and nothing lost on the server.
//!
//! `CORACLE_MUTATIONS=1000000` plays so many dialogues; `CORACLE_SEED=7` begins with that one.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU8;
use std::thread;
use std::time::{Duration, Instant};

use coracle::job::{
    Connections, DataMode, FtpLocation, Habits, Limits, Protection, Secret, ServerPath,
};
use coracle::path::RelPath;
use coracle::replica::{
    Bytes, FtpConnector, FtpReplica, Listing, NewFile, Removal, Replica, Stat, Unwatched, load,
};
use coracle::time::Timestamp;

use support::acquainted::acquainted;
use support::ftp_server::{Config, FtpServer};
use support::scenario::Random;
use support::temp::TempDir;

/// Dialogues of an ordinary run of the tests.
const USUAL: u64 = 40;

/// A dialogue ends within this; a server that has lost the thread costs a time-out for each session.
const LONGEST: Duration = Duration::from_secs(60);

const TIMEOUT: Duration = Duration::from_millis(200);

/// The most memory that this process may have come to need, in KiB: tests and servers live in it, too.
const MOST_KIB: u64 = 128 * 1024;

const OLD: &[u8] = b"the old content";
const NEW: &[u8] = b"the new content, which is longer";

#[test]
fn no_spoilt_dialogue_loses_anything() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("CORACLE_SEED").unwrap_or(1);
    let count = number("CORACLE_MUTATIONS").unwrap_or(USUAL);
    for seed in first..first + count {
        let started = Instant::now();
        play(seed);
        let took = started.elapsed();
        assert!(took < LONGEST, "seed {seed} took {took:?}");
    }
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells of processes");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    assert!(peak.is_some_and(|kib| kib < MOST_KIB), "{peak:?} KiB");
}

fn play(seed: u64) {
    let root = TempDir::new("mutation");
    let path = |name: &str| root.path().join(name);
    fs::create_dir(path("d")).unwrap();
    for name in ["kept", "d/kept", "a", "gone"] {
        fs::write(path(name), OLD).unwrap();
    }
    let server = FtpServer::start(Config {
        mlsd: !seed.is_multiple_of(3),
        accept_timeout: TIMEOUT,
        ..Config::serving(root.path())
    });
    let address = relay(server.addr(), seed);
    let connector = connector(address);
    // Every other one is a server that is not a stranger.
    let connector = if seed.is_multiple_of(2) {
        connector.with_memory(acquainted())
    } else {
        connector
    };
    // A session that is lost is followed by another, as in a run.
    for _ in 0..2 {
        if let Ok(mut target) = connector.connect() {
            use_all(&mut target);
        }
    }
    drop(server);
    let read = |name: &str| fs::read(path(name)).ok();
    for name in ["kept", "d/kept"] {
        assert_eq!(read(name).as_deref(), Some(OLD), "seed {seed}: {name}");
    }
    assert!(
        read("new").is_none_or(|content| content == NEW),
        "seed {seed}: a short file under a final name"
    );
    let somewhere = fs::read_dir(root.path())
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path()).ok())
        .any(|content| content == NEW);
    match read("a") {
        Some(content) => assert!(content == OLD || content == NEW, "seed {seed}: a"),
        // It was moved out of the way, and the way back was spoilt.
        None => assert!(
            somewhere || path("part-old").exists(),
            "seed {seed}: a is lost"
        ),
    }
}

/// Everything that is done with a server. What fails, fails.
fn use_all(target: &mut FtpReplica) {
    let mut listing = Listing::new();
    for dir in [RelPath::root(), rel("d")] {
        let _ = target.list(&dir, &mut listing);
    }
    let _ = target.look_up(&[rel("a"), rel("d"), rel("missing")]);
    let _ = load(target, &rel("kept"), 1000);
    let old = target.look_up(&[rel("a")]).pop();
    if let Some(Ok(Some(old))) = old {
        put(target, "a", Some(old));
    }
    put(target, "new", None);
    let _ = target.glance(&[RelPath::root(), rel("d")], &mut |_, _, _| {});
    let _ = target.remove(&[Removal::File(rel("gone"))]);
    let _ = target.make_dirs(&[rel("made")]);
}

fn put(target: &mut FtpReplica, name: &str, replaces: Option<Stat>) {
    let file = NewFile {
        path: &rel(name),
        partial: &rel("part"),
        size: NEW.len() as u64,
        mtime: Some(Timestamp::from_secs(1_700_000_000)),
        mode: None,
        resume_at: 0,
        replaces,
        set_aside: None,
        keep_partial: false,
    };
    let _ = target.write(&file, &mut Bytes(NEW), &mut Unwatched);
}

/// Passes control connections on, and spoils some lines of the server.
fn relay(server: SocketAddr, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (place, client) in listener.incoming().enumerate() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                return;
            };
            let random = Random::new(seed * 1000 + place as u64);
            let (to_server, from_client) = (server.try_clone(), client.try_clone());
            thread::spawn(move || spoil(&server, &client, random));
            if let (Ok(mut to_server), Ok(mut from_client)) = (to_server, from_client) {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from_client, &mut to_server);
                    let _ = to_server.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

fn spoil(server: &TcpStream, mut client: &TcpStream, mut random: Random) {
    let mut lines = BufReader::new(server);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        if random.below(30) == 0 {
            mutate(&mut line, &mut random);
        }
        if client.write_all(&line).is_err() {
            break;
        }
        line.clear();
    }
    let _ = client.shutdown(Shutdown::Both);
}

fn mutate(line: &mut Vec<u8>, random: &mut Random) {
    const DIGITS: &[u8] = b"0123456789";
    let place = random.below(line.len() as u64) as usize;
    match random.below(12) {
        0 => line[place] = random.below(256) as u8,
        1 => line.truncate(place),
        2 => line.clear(),
        3 => line.extend_from_within(..),
        4 => line[0] = DIGITS[random.below(10) as usize],
        5 if line.len() > 3 => line[3] = b'-',
        6 => line.splice(place..place, *b"\r\n").for_each(drop),
        7 => line
            .splice(place..place, [0xff, 0, b' ', b'"', b'|'])
            .for_each(drop),
        8 => line.splice(0..0, *b"421 later\r\n").for_each(drop),
        9 => line.splice(place..place, vec![b'9'; 10_000]).for_each(drop),
        10 => {
            for byte in line.iter_mut().filter(|byte| byte.is_ascii_digit()) {
                *byte = DIGITS[random.below(10) as usize];
            }
        }
        _ => line.splice(0..0, *b"150 wait\r\n").for_each(drop),
    }
}

fn connector(address: SocketAddr) -> FtpConnector {
    let location = FtpLocation {
        host: address.ip().to_string(),
        port: address.port(),
        protection: Protection::Clear,
        user: "tester".into(),
        password: Secret::new("secret".into()),
        path: ServerPath::Absolute(RelPath::root()),
        habits: Habits::default(),
    };
    let limits = Limits {
        connections: Connections::AtMost(NonZeroU8::MIN),
        timeout: TIMEOUT,
        retries: 0,
        max_duration: None,
        bytes_per_sec: None,
        data: DataMode::Passive,
        ..Limits::default()
    };
    FtpConnector::new(&location, &limits).expect("nothing is read for a session in the clear")
}

fn rel(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).expect("a good path")
}
