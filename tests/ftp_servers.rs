//! The FTP target against real servers: each promise of the trait, on each server.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::num::NonZeroU8;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coracle::error::{Error, ErrorKind, Result};
use coracle::job::{
    Connections, DataMode, FtpLocation, Habits, Limits, Links, Protection, Secret, ServerPath,
};
use coracle::path::RelPath;
use coracle::replica::{
    Algorithm, Bytes, FtpReplica, Kind, Listing, LocalReplica, Mtime, NewFile, Precision, Removal,
    Replica, Source, Stat, Times, Unwatched, Watch, Written,
};
use coracle::time::Timestamp;
use support::read_all;
use support::servers::{Kind as Brand, Options, Server};
use support::temp::TempDir;

/// 2024-02-29 12:34:56 UTC.
const LEAP_DAY: Timestamp = Timestamp::from_secs(1_709_210_096);

/// Names that need care somewhere on the way.
const ODD_NAMES: [&str; 9] = [
    "plain.txt",
    "two words.txt",
    "semi;colon=x; y.txt",
    "-la",
    "[br]*.txt",
    "grüße-日本.txt",
    "a -> b.txt",
    "quote\"name.txt",
    "%41 ~tilde{a,b}.txt",
];

fn limits(data: DataMode) -> Limits {
    Limits {
        connections: Connections::AtMost(NonZeroU8::MIN),
        timeout: Duration::from_secs(20),
        retries: 0,
        max_duration: None,
        bytes_per_sec: None,
        data,
        ..Limits::default()
    }
}

fn connect_at(server: &Server, path: &str, data: DataMode) -> FtpReplica {
    let location = FtpLocation {
        host: server.address().ip().to_string(),
        port: server.address().port(),
        protection: Protection::Clear,
        user: server.user().to_owned(),
        password: Secret::new(server.password().to_owned()),
        path: ServerPath::Absolute(rel(&server.remote_path(path))),
        habits: Habits::default(),
    };
    FtpReplica::connect(&location, &limits(data)).unwrap()
}

fn connect(server: &Server) -> FtpReplica {
    connect_at(server, "", DataMode::Passive)
}

fn each_server(test: impl Fn(&Server, &mut FtpReplica)) {
    for brand in Brand::startable() {
        let server = Server::start(brand, Options::default());
        let mut target = connect(&server);
        println!("{brand:?}");
        test(&server, &mut target);
    }
}

fn rel(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).unwrap()
}

fn put(target: &mut FtpReplica, path: &str, content: &[u8]) -> Result<Written> {
    put_over(target, path, content, None)
}

fn put_over(
    target: &mut FtpReplica,
    path: &str,
    content: &[u8],
    replaces: Option<Stat>,
) -> Result<Written> {
    let path = rel(path);
    let partial = path
        .parent()
        .join(coracle::path::Name::new(b".coracle-part-test").unwrap());
    let file = NewFile {
        path: &path,
        partial: &partial,
        size: content.len() as u64,
        mtime: Some(LEAP_DAY),
        mode: None,
        resume_at: 0,
        replaces,
        set_aside: None,
        keep_partial: false,
    };
    target.write(&file, &mut Bytes(content), &mut Unwatched)
}

fn names(target: &mut FtpReplica, dir: &str) -> Vec<String> {
    let mut listing = Listing::new();
    target.list(&rel(dir), &mut listing).unwrap();
    assert_eq!(listing.gap(), None);
    listing.iter().map(|entry| entry.name.to_string()).collect()
}

fn read(target: &mut FtpReplica, path: &str, offset: u64) -> Result<Vec<u8>> {
    read_all(target.open(&rel(path), offset)?.as_mut())
}

#[test]
fn writes_a_file_whole_with_its_time() {
    each_server(|server, target| {
        for content in [&b""[..], b"eleven bytes", &vec![7; 300_000]] {
            let written = put(target, "a.bin", content).unwrap();
            assert_eq!(written.times, Times::Kept);
            assert_eq!(written.stat, Stat::file(content.len() as u64, LEAP_DAY));
            assert_eq!(fs::read(server.root().join("a.bin")).unwrap(), content);
            let modified = fs::metadata(server.root().join("a.bin"))
                .unwrap()
                .modified()
                .unwrap();
            assert_eq!(Timestamp::from(modified), LEAP_DAY);
            assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1);
            fs::remove_file(server.root().join("a.bin")).unwrap();
        }
    });
}

#[test]
fn replaces_only_what_was_listed() {
    each_server(|server, target| {
        let old = put(target, "a.txt", b"old").unwrap().stat;
        let error = put(target, "a.txt", b"unexpected").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Changed(_)), "{error}");
        assert_eq!(fs::read(server.root().join("a.txt")).unwrap(), b"old");
        put_over(target, "a.txt", b"newer", Some(old)).unwrap();
        assert_eq!(fs::read(server.root().join("a.txt")).unwrap(), b"newer");
        let error = put_over(target, "a.txt", b"newest", Some(old)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Changed(_)), "{error}");
        assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1);
    });
}

#[test]
fn sets_the_old_file_aside() {
    each_server(|server, target| {
        let old = put(target, "a.txt", b"old").unwrap().stat;
        target.make_dirs(&[rel("trash")]).pop().unwrap().unwrap();
        let file = NewFile {
            path: &rel("a.txt"),
            partial: &rel(".coracle-part-test"),
            size: 3,
            mtime: Some(LEAP_DAY),
            mode: None,
            resume_at: 0,
            replaces: Some(old),
            set_aside: Some(&rel("trash/a.txt")),
            keep_partial: false,
        };
        target
            .write(&file, &mut Bytes(b"new"), &mut Unwatched)
            .unwrap();
        assert_eq!(fs::read(server.root().join("a.txt")).unwrap(), b"new");
        assert_eq!(fs::read(server.root().join("trash/a.txt")).unwrap(), b"old");
    });
}

#[test]
fn what_replaces_a_file_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    each_server(|server, target| {
        for (name, mode) in [("config.php", 0o600), ("form.cgi", 0o755)] {
            let old = put(target, name, b"old").unwrap().stat;
            let path = server.root().join(name);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let file = NewFile {
                path: &rel(name),
                partial: &rel(".coracle-part-test"),
                size: 5,
                mtime: Some(LEAP_DAY),
                mode: None,
                resume_at: 0,
                replaces: Some(old),
                set_aside: None,
                keep_partial: false,
            };
            let written = target.write(&file, &mut Bytes(b"newer"), &mut Unwatched);
            written.unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"newer");
            // This vsftpd has only an anonymous user, and lets none of these set modes.
            if server.kind() != Brand::Vsftpd {
                let now = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                assert_eq!(now, mode, "{name}");
            }
        }
    });
}

#[test]
fn goes_on_with_a_partial_file_only_at_its_end() {
    each_server(|server, target| {
        let partial = rel(".coracle-part-test");
        let whole: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
        let file = NewFile {
            path: &rel("a.bin"),
            partial: &partial,
            size: whole.len() as u64,
            mtime: Some(LEAP_DAY),
            mode: None,
            resume_at: 0,
            replaces: None,
            set_aside: None,
            keep_partial: true,
        };
        let error = target
            .write(&file, &mut Breaks(&whole[..70_000]), &mut Unwatched)
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Interrupted(_)), "{error}");
        let left = target
            .look_up(std::slice::from_ref(&partial))
            .pop()
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(left.size, 70_000);
        let wrong = NewFile {
            resume_at: 60_000,
            ..file
        };
        let error = target
            .write(&wrong, &mut Bytes(&whole[60_000..]), &mut Unwatched)
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Changed(_)), "{error}");
        let right = NewFile {
            resume_at: 70_000,
            ..file
        };
        target
            .write(&right, &mut Bytes(&whole[70_000..]), &mut Unwatched)
            .unwrap();
        assert!(fs::read(server.root().join("a.bin")).unwrap() == whole);
        assert_eq!(fs::read_dir(server.root()).unwrap().count(), 1);
    });
}

#[test]
fn a_source_of_another_size_is_not_stored() {
    each_server(|server, target| {
        let mut file = NewFile {
            path: &rel("a.bin"),
            partial: &rel(".coracle-part-test"),
            size: 100_000,
            mtime: Some(LEAP_DAY),
            mode: None,
            resume_at: 0,
            replaces: None,
            set_aside: None,
            keep_partial: true,
        };
        for size in [50_000, 150_000] {
            file.size = size;
            let error = target
                .write(&file, &mut Bytes(&[1; 100_000]), &mut Unwatched)
                .unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
        }
        assert_eq!(fs::read_dir(server.root()).unwrap().count(), 0);
    });
}

#[test]
fn a_watch_stops_before_anything_is_replaced() {
    each_server(|server, target| {
        let old = put(target, "a.txt", b"old").unwrap().stat;
        let file = NewFile {
            path: &rel("a.txt"),
            partial: &rel(".coracle-part-test"),
            size: 3,
            mtime: Some(LEAP_DAY),
            mode: None,
            resume_at: 0,
            replaces: Some(old),
            set_aside: None,
            keep_partial: false,
        };
        let error = target
            .write(&file, &mut Bytes(b"new"), &mut Stops)
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Interrupted(_)), "{error}");
        assert_eq!(fs::read(server.root().join("a.txt")).unwrap(), b"old");
        assert_eq!(names(target, ""), ["a.txt"]);
    });
}

#[test]
fn odd_names_come_back_as_they_were_sent() {
    each_server(|server, target| {
        let mut sorted: Vec<&str> = ODD_NAMES.to_vec();
        sorted.sort_unstable();
        target
            .make_dirs(&[rel("d d"), rel("d d/ü [x]")])
            .into_iter()
            .for_each(|made| made.unwrap());
        for name in ODD_NAMES {
            put(target, &format!("d d/ü [x]/{name}"), name.as_bytes()).unwrap();
        }
        let listed: Vec<String> = sorted.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(names(target, "d d/ü [x]"), listed);
        let paths: Vec<RelPath> = sorted
            .iter()
            .map(|name| rel(&format!("d d/ü [x]/{name}")))
            .collect();
        for (name, stat) in sorted.iter().zip(target.look_up(&paths)) {
            assert_eq!(stat.unwrap(), Some(Stat::file(name.len() as u64, LEAP_DAY)));
            assert_eq!(
                read(target, &format!("d d/ü [x]/{name}"), 0).unwrap(),
                name.as_bytes()
            );
        }
        let removals: Vec<Removal> = paths.into_iter().map(Removal::File).collect();
        target
            .remove(&removals)
            .into_iter()
            .for_each(|removed| removed.unwrap());
        assert_eq!(
            fs::read_dir(server.root().join("d d/ü [x]"))
                .unwrap()
                .count(),
            0
        );
    });
}

#[test]
fn lists_kinds_sizes_and_times() {
    each_server(|server, target| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs() as i64;
        put(target, "old.txt", b"12345").unwrap();
        fs::write(server.root().join("fresh.txt"), b"123").unwrap();
        fs::create_dir(server.root().join("dir")).unwrap();
        fs::write(server.root().join(".hidden"), b"1").unwrap();
        std::os::unix::fs::symlink("nowhere", server.root().join("link")).unwrap();
        server.own_files();
        let mut listing = Listing::new();
        target.list(&RelPath::root(), &mut listing).unwrap();
        assert_eq!(listing.gap(), None);
        let old = listing.find(b"old.txt").unwrap().stat;
        assert!(old.may_equal(&Stat::file(5, LEAP_DAY)), "{old:?}");
        let fresh = listing.find(b"fresh.txt").unwrap().stat;
        assert!(
            fresh.mtime.unwrap().may_be(Timestamp::from_secs(now)),
            "{fresh:?}"
        );
        assert_eq!(listing.find(b"dir").unwrap().stat, Stat::dir());
        assert!(listing.find(b".hidden").is_some());
        // ProFTPD and pyftpdlib do not show a link that leads nowhere.
        assert!(
            listing
                .find(b"link")
                .is_none_or(|link| link.stat.kind == Kind::Special)
        );
        if server.kind() == Brand::Vsftpd {
            assert_eq!(old.mtime.unwrap().precision, Precision::Day);
        } else {
            assert_eq!(old.mtime.unwrap().precision, Precision::Second);
        }
    });
}

#[test]
fn tells_empty_from_missing_and_closed() {
    each_server(|server, target| {
        for (dir, mode) in [
            ("empty", 0o755),
            ("blind", 0o444),
            ("deaf", 0o311),
            ("closed", 0o000),
        ] {
            fs::create_dir(server.root().join(dir)).unwrap();
            if dir != "empty" {
                fs::write(server.root().join(dir).join("inside"), b"x").unwrap();
            }
            server.own_files();
            fs::set_permissions(server.root().join(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(names(target, "empty"), [""; 0]);
        let mut listing = Listing::new();
        let missing = target.list(&rel("missing"), &mut listing).unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        let missing = target
            .list(&rel("missing/deeper/still"), &mut listing)
            .unwrap_err();
        assert!(missing.is_not_found(), "{missing}");
        for dir in ["blind", "deaf", "closed"] {
            let listed = target.list(&rel(dir), &mut listing);
            match listed {
                Ok(()) => assert!(listing.gap().is_some(), "{dir} is believed"),
                Err(error) => assert!(!error.is_not_found(), "{dir}: {error}"),
            }
        }
        let paths = [
            rel("blind/inside"),
            rel("closed/inside"),
            rel("empty/inside"),
            rel("missing/inside"),
            rel("closed"),
        ];
        let mut looks = target.look_up(&paths).into_iter();
        assert!(!matches!(looks.next().unwrap(), Ok(None)));
        assert!(!matches!(looks.next().unwrap(), Ok(None)));
        assert!(matches!(looks.next().unwrap(), Ok(None)));
        assert!(matches!(looks.next().unwrap(), Ok(None)));
        assert!(!matches!(looks.next().unwrap(), Ok(None)));
        for dir in ["blind", "deaf", "closed"] {
            fs::set_permissions(server.root().join(dir), fs::Permissions::from_mode(0o755))
                .unwrap();
        }
    });
}

#[test]
fn reads_from_any_offset_and_survives_a_dropped_source() {
    each_server(|server, target| {
        let content: Vec<u8> = (0..3_000_000u32)
            .map(|number| (number % 251) as u8)
            .collect();
        fs::write(server.root().join("big"), &content).unwrap();
        server.own_files();
        assert!(read(target, "big", 0).unwrap() == content);
        assert!(read(target, "big", 2_000_000).unwrap() == content[2_000_000..]);
        assert_eq!(read(target, "big", 3_000_000).unwrap_or_default(), b"");
        let mut source = target.open(&rel("big"), 0).unwrap();
        assert!(source.read(&mut [0; 100]).unwrap() > 0);
        drop(source);
        assert_eq!(names(target, ""), ["big"]);
        let error = read(target, "missing", 0).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        let error = read(target, "no/such/dir", 0).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert!(read(target, "big", 2_999_990).unwrap() == content[2_999_990..]);
    });
}

/// Sizes around those of buffers and pipes, with one connection and one handle of the local directory, as a worker has.
#[test]
fn downloads_files_of_any_size_whole() {
    each_server(|server, target| {
        let here = TempDir::new("download");
        let mut local = LocalReplica::open(here.path(), Links::Skip).unwrap();
        for size in [
            0, 1, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 1_500_007,
        ] {
            let content: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
            fs::write(server.root().join("f"), &content).unwrap();
            server.own_files();
            for resume_at in [0, size / 3] {
                let partial = here.path().join(".coracle-part-test");
                if resume_at > 0 {
                    fs::write(partial, &content[..resume_at]).unwrap();
                }
                let written = download(target, &mut local, size, resume_at, &mut Unwatched);
                assert_eq!(written.unwrap().stat.size, size as u64);
                assert!(
                    fs::read(here.path().join("f")).unwrap() == content,
                    "{size}"
                );
                fs::remove_file(here.path().join("f")).unwrap();
            }
        }
    });
}

#[test]
fn a_download_that_stops_or_is_too_long_leaves_nothing_for_the_next() {
    const SIZE: usize = 2_000_000;
    each_server(|server, target| {
        let here = TempDir::new("download");
        let mut local = LocalReplica::open(here.path(), Links::Skip).unwrap();
        let content: Vec<u8> = (0..SIZE).map(|place| (place % 251) as u8).collect();
        fs::write(server.root().join("f"), &content).unwrap();
        server.own_files();
        let stopped = download(target, &mut local, SIZE, 0, &mut StopsAfter(300_000));
        let error = stopped.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Interrupted(_)), "{error}");
        for wrong in [SIZE - 1, SIZE + 1] {
            let error = download(target, &mut local, wrong, 0, &mut Unwatched).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
        }
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
        let written = download(target, &mut local, SIZE, 0, &mut Unwatched);
        assert_eq!(written.unwrap().stat.size, SIZE as u64);
        assert!(fs::read(here.path().join("f")).unwrap() == content);
    });
}

fn download(
    target: &mut FtpReplica,
    local: &mut LocalReplica,
    size: usize,
    resume_at: usize,
    watch: &mut dyn Watch,
) -> Result<Written> {
    let file = NewFile {
        path: &rel("f"),
        partial: &rel(".coracle-part-test"),
        size: size as u64,
        mtime: Some(LEAP_DAY),
        mode: None,
        resume_at: resume_at as u64,
        replaces: None,
        set_aside: None,
        keep_partial: false,
    };
    let mut source = target.open(&rel("f"), resume_at as u64)?;
    local.write(&file, source.as_mut(), watch)
}

/// Stops when that many bytes were moved.
struct StopsAfter(u64);

impl Watch for StopsAfter {
    fn moved(&mut self, bytes: u64) -> Result<()> {
        self.0 = self.0.saturating_sub(bytes);
        match self.0 {
            0 => Err(Error::new(ErrorKind::Interrupted("the test"))),
            _ => Ok(()),
        }
    }

    fn placing(&mut self, _stat: &Stat, _times: Times) -> Result<()> {
        unreachable!("it stops before")
    }
}

#[test]
fn makes_and_removes_directories_and_says_what_it_could_not() {
    each_server(|server, target| {
        let mut deep = connect_at(server, "new/root", DataMode::Passive);
        let mut listing = Listing::new();
        assert!(
            deep.list(&RelPath::root(), &mut listing)
                .unwrap_err()
                .is_not_found()
        );
        deep.make_dirs(&[RelPath::root()]).pop().unwrap().unwrap();
        deep.list(&RelPath::root(), &mut listing).unwrap();
        let made = target.make_dirs(&[rel("new"), rel("new/a"), rel("new/a/b"), rel("x/y")]);
        let made: Vec<bool> = made.iter().map(Result::is_ok).collect();
        assert_eq!(made, [true, true, true, false]);
        put(target, "new/a/f", b"x").unwrap();
        let is_ok =
            |results: Vec<Result<()>>| -> Vec<bool> { results.iter().map(Result::is_ok).collect() };
        let full = target.remove(&[Removal::Dir(rel("new/a"))]);
        assert_eq!(is_ok(full), [false]);
        let removed = target.remove(&[
            Removal::File(rel("new/a/f")),
            Removal::File(rel("gone")),
            Removal::Dir(rel("gone too")),
            Removal::Dir(rel("new/a/b")),
            Removal::Dir(rel("new/a")),
        ]);
        assert_eq!(is_ok(removed), [true; 5]);
        assert_eq!(names(target, "new"), ["root"]);
    });
}

#[test]
fn renames_but_never_over_something() {
    each_server(|server, target| {
        put(target, "a", b"a").unwrap();
        put(target, "b", b"b").unwrap();
        assert!(target.rename(&rel("a"), &rel("b")).is_err());
        target.rename(&rel("a"), &rel("c c")).unwrap();
        assert_eq!(names(target, ""), ["b", "c c"]);
        assert_eq!(fs::read(server.root().join("b")).unwrap(), b"b");
        assert!(target.rename(&rel("missing"), &rel("d")).is_err());
    });
}

#[test]
fn answers_for_more_names_than_travel_at_once() {
    each_server(|server, target| {
        for number in 0..1_000 {
            fs::write(server.root().join(format!("file-{number}")), b"x").unwrap();
        }
        server.own_files();
        let paths: Vec<RelPath> = (0..2_000)
            .map(|number| rel(&format!("file-{number}")))
            .collect();
        let looks = target.look_up(&paths);
        let there = looks
            .iter()
            .filter(|look| matches!(look, Ok(Some(_))))
            .count();
        let absent = looks.iter().filter(|look| matches!(look, Ok(None))).count();
        let failed = looks.iter().find(|look| look.is_err());
        assert_eq!(
            (there, absent),
            (1_000, 1_000),
            "{failed:?}; the server says:\n{}",
            server.log()
        );
    });
}

#[test]
fn computes_no_digest_where_the_server_offers_none() {
    each_server(|_, target| {
        put(target, "a", b"abc").unwrap();
        let algorithms = [Algorithm::Sha256, Algorithm::Md5, Algorithm::Crc32];
        assert_eq!(target.digest(&rel("a"), &algorithms).unwrap(), None);
        assert_eq!(target.free_space().unwrap(), None);
    });
}

#[test]
fn says_that_times_are_lost() {
    for brand in Brand::startable() {
        if brand == Brand::PureFtpd {
            continue;
        }
        let server = Server::start(
            brand,
            Options {
                sets_times: false,
                ..Options::default()
            },
        );
        let mut target = connect(&server);
        let before = Timestamp::now().plus_secs(-5);
        let written = put(&mut target, "a", b"abc").unwrap();
        assert_eq!(written.times, Times::Lost, "{brand:?}");
        assert!(
            written
                .stat
                .exact_mtime()
                .is_some_and(|mtime| mtime > before),
            "{brand:?}"
        );
    }
}

#[test]
fn works_over_active_connections_and_ipv6() {
    for brand in Brand::startable() {
        for (ipv6, data) in [
            (false, DataMode::Active),
            (true, DataMode::Active),
            (true, DataMode::Passive),
        ] {
            let server = Server::start(
                brand,
                Options {
                    ipv6,
                    ..Options::default()
                },
            );
            let mut target = connect_at(&server, "", data);
            put(&mut target, "a", b"abc")
                .unwrap_or_else(|error| panic!("{brand:?} {ipv6} {data:?}: {error}"));
            assert_eq!(read(&mut target, "a", 1).unwrap(), b"bc");
            assert!(names(&mut target, "").contains(&"a".to_owned()));
            let error = read(&mut target, "missing", 0).unwrap_err();
            assert!(error.is_not_found(), "{error}");
        }
    }
}

#[test]
fn a_zone_away_does_not_move_times() {
    for brand in [Brand::Vsftpd, Brand::PureFtpd] {
        if !Brand::startable().contains(&brand) {
            continue;
        }
        let server = Server::start(
            brand,
            Options {
                time_zone: Some("America/New_York"),
                ..Options::default()
            },
        );
        fs::write(server.root().join("fresh"), b"1").unwrap();
        server.own_files();
        let now = Timestamp::now();
        let mut target = connect(&server);
        let mut listing = Listing::new();
        target.list(&RelPath::root(), &mut listing).unwrap();
        let stat = listing.find(b"fresh").unwrap().stat;
        assert!(stat.mtime.unwrap().may_be(now), "{stat:?}");
    }
}

#[test]
fn a_small_upload_takes_few_round_trips() {
    each_server(|server, target| {
        for number in 0..4 {
            put(target, &format!("file-{number}"), b"small").unwrap();
        }
        let sent = server.commands();
        let verbs: Vec<&str> = sent
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        // One port, one transfer, one check and one rename for each file.
        let count = |verb: &str| verbs.iter().filter(|sent| **sent == verb).count();
        assert_eq!(count("EPSV"), 5);
        assert_eq!(count("FEAT"), 1);
        assert_eq!(count("STOR"), 4);
        assert_eq!(count("RNTO"), 4);
        assert_eq!(count("CWD"), 0);
    });
}

/// Bytes that end with an interruption.
struct Breaks<'a>(&'a [u8]);

impl Source for Breaks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match Bytes(self.0).read(buffer)? {
            0 => Err(Error::new(ErrorKind::Interrupted("the test"))),
            count => {
                self.0 = &self.0[count..];
                Ok(count)
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Stops when all is ready to be placed.
struct Stops;

impl Watch for Stops {
    fn moved(&mut self, _bytes: u64) -> Result<()> {
        Ok(())
    }

    fn placing(&mut self, _stat: &Stat, _times: Times) -> Result<()> {
        Err(Error::new(ErrorKind::Interrupted("the test")))
    }
}

/// What a glance at these directories tells: of each, the names, and when it was changed.
fn glance(target: &mut FtpReplica, dirs: &[&[u8]]) -> Vec<(Vec<String>, Option<Mtime>)> {
    let paths: Vec<RelPath> = dirs
        .iter()
        .map(|dir| RelPath::parse(dir).unwrap())
        .collect();
    let mut names = vec![Vec::new(); dirs.len()];
    let changed = target
        .glance(&paths, &mut |place, name, _| {
            names[place].push(String::from_utf8_lossy(name).into_owned());
        })
        .unwrap();
    names.iter_mut().for_each(|names| names.sort());
    names.into_iter().zip(changed).collect()
}

#[test]
fn a_glance_tells_names_sizes_times_and_when_the_directory_was_changed() {
    each_server(|server, target| {
        let dir = server.root().join("dir");
        fs::create_dir_all(dir.join("sub")).unwrap();
        let old = UNIX_EPOCH + Duration::from_secs(LEAP_DAY.as_secs().unsigned_abs());
        let recent = SystemTime::now() - Duration::from_secs(30 * 86_400);
        for (name, time) in [("old", old), (".dot", old), ("recent", recent)] {
            fs::write(dir.join(name), b"12345").unwrap();
            let file = fs::File::options()
                .append(true)
                .open(dir.join(name))
                .unwrap();
            file.set_modified(time).unwrap();
        }
        let now = SystemTime::now();
        fs::File::open(&dir).unwrap().set_modified(now).unwrap();
        server.own_files();
        let mut seen = Vec::new();
        let changed = target
            .glance(&[rel("dir")], &mut |place, name, stat| {
                assert_eq!(place, 0);
                seen.push((String::from_utf8(name.to_vec()).unwrap(), stat));
            })
            .unwrap();
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        let names: Vec<&str> = seen.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [".dot", "old", "recent", "sub"]);
        for (name, stat) in &seen[..3] {
            assert_eq!((stat.kind, stat.size), (Kind::File, 5), "{name}");
            let mtime = stat.mtime.unwrap();
            let (precision, time) = match name.as_str() {
                "recent" => (Precision::Minute, Timestamp::from(recent)),
                _ => (Precision::Day, LEAP_DAY),
            };
            assert_eq!(mtime.precision, precision, "{name}");
            // To the zone.
            assert!(mtime.at.as_secs().abs_diff(time.as_secs()) < 86_400 + 14 * 3600);
        }
        assert_eq!(seen[3].1, Stat::dir());
        let precision = match server.kind() {
            Brand::Vsftpd => Precision::Minute,
            Brand::Proftpd | Brand::PureFtpd | Brand::Pyftpdlib => Precision::Second,
            Brand::Twisted
            | Brand::Aioftp
            | Brand::Rclone
            | Brand::FtpSrv
            | Brand::Inetutils
            | Brand::Busybox => {
                unreachable!("no stranger is asked")
            }
        };
        let changed = changed[0].unwrap();
        assert_eq!(changed.precision, precision);
        if precision == Precision::Second {
            assert_eq!(changed.at.as_secs(), Timestamp::from(now).as_secs());
        }
    });
}

#[test]
fn a_glance_tells_the_right_directory_or_nothing() {
    each_server(|server, target| {
        let dirs: [&[u8]; 17] = [
            b"plain",
            b"plain plain",
            b" lead",
            b"-la",
            b"-a x",
            b"%41",
            b"semi;colon",
            b"quote\"q",
            b"a -> b",
            "gr\u{fc}\u{df}e-\u{65e5}\u{672c}".as_bytes(),
            b"caf\xe9",
            b"[br]",
            b"st*r",
            b"qu?",
            b"{a,b}",
            b"~tilde",
            b"back\\slash",
        ];
        for dir in dirs {
            let path = server.root().join(OsStr::from_bytes(dir));
            fs::create_dir(&path).unwrap();
            // Each holds another name, so that the wrong one shows.
            let name: String = dir.iter().map(|byte| format!("{byte:02x}")).collect();
            fs::write(path.join(name), b"").unwrap();
        }
        server.own_files();
        let told = glance(target, &dirs);
        let mut untold = Vec::new();
        for (dir, (names, changed)) in dirs.into_iter().zip(told) {
            let name: String = dir.iter().map(|byte| format!("{byte:02x}")).collect();
            match changed {
                Some(_) => assert_eq!(names, [name], "{}", String::from_utf8_lossy(dir)),
                None => untold.push(dir),
            }
        }
        let blanks: [&[u8]; 4] = [b"plain plain", b" lead", b"-a x", b"a -> b"];
        let mut expected: Vec<&[u8]> = match server.kind() {
            Brand::PureFtpd => blanks.to_vec(),
            Brand::Pyftpdlib => vec![b"caf\xe9"],
            Brand::Vsftpd | Brand::Proftpd => Vec::new(),
            Brand::Twisted
            | Brand::Aioftp
            | Brand::Rclone
            | Brand::FtpSrv
            | Brand::Inetutils
            | Brand::Busybox => {
                unreachable!("no stranger is asked")
            }
        };
        expected.extend(&dirs[11..]);
        assert_eq!(untold, expected);
    });
}

#[test]
fn a_glance_at_what_is_no_directory_tells_nothing() {
    each_server(|server, target| {
        fs::create_dir_all(server.root().join("closed")).unwrap();
        fs::write(server.root().join("file"), b"").unwrap();
        server.own_files();
        let closed = fs::Permissions::from_mode(0o000);
        fs::set_permissions(server.root().join("closed"), closed).unwrap();
        for (dir, (_, changed)) in [&b"file"[..], b"missing", b"missing/below"]
            .iter()
            .zip(glance(target, &[b"file", b"missing", b"missing/below"]))
        {
            assert_eq!(changed, None, "{}", String::from_utf8_lossy(dir));
        }
        // It may look empty, but not as anything that was ever recorded.
        let (names, changed) = glance(target, &[b"closed"]).remove(0);
        assert!(changed.is_none() || names.is_empty(), "{names:?}");
        // And the session goes on.
        assert_eq!(glance(target, &[b""])[0].0, ["closed", "file"]);
    });
}
