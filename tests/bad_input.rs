//! Bad input of every kind, through the program: one clear sentence, the right exit code, nothing lost, no password shown.

mod support;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::ftp_server::{Close, Config, Effect, Fault, FtpServer};
use support::program::{Ended, Place, Snapshot, content, finish, put};
use support::servers::{self, Kind, Options};

const DAY_SECS: u64 = 86_400;

/// No run against a server that is silent may take longer than the timeout by this much.
const GRACE: Duration = Duration::from_secs(15);

/// A server that says whatever it is told to, to everybody who connects.
struct Impostor {
    port: u16,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Impostor {
    /// `talk` has the connection for itself; when it returns, the connection is closed.
    fn new(talk: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stopping = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopping);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.load(Ordering::Relaxed) {
                    return;
                }
                talk(&mut stream.unwrap());
            }
        });
        Self {
            port,
            stopping,
            thread: Some(thread),
        }
    }

    fn url(&self) -> String {
        format!("ftp://me:hush-hush@127.0.0.1:{}/", self.port)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Reads until the other end has gone.
fn until_gone(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A place with one file to upload.
fn place(name: &str) -> Place {
    let place = Place::new(name);
    put(&place.local(), "a.txt", "hello", DAY_SECS);
    place
}

/// Uploads to `url`; fails unless that was refused with this code and these words, and the local side is as it was.
#[track_caller]
fn refused(place: &Place, url: &str, options: &[&str], code: i32, words: &str) -> Ended {
    let before = place.snapshot();
    let options = [&["--timeout", "2", "--retries", "0"], options].concat();
    let mut ended = None;
    for command in ["sync", "upload"] {
        ended = Some(
            place
                .with(command, url, &options)
                .expect(code)
                .says_one_sentence()
                .complains(words)
                .hides("hush-hush"),
        );
        assert_eq!(place.snapshot(), before, "something was changed");
    }
    ended.unwrap()
}

// Who is at the other end

#[test]
fn a_wrong_password_is_refused_by_every_server() {
    let place = place("wrong-password");
    let fake = FtpServer::start(Config {
        user: Some("me".to_owned()),
        password: Some("right".to_owned()),
        ..Config::serving(place.remote())
    });
    let url = format!("ftp://me:hush-hush@{}/", fake.addr());
    refused(&place, &url, &[], 7, "login refused");
    for kind in Kind::startable() {
        // Its only user is anonymous, whose password is not looked at.
        if kind == Kind::Vsftpd {
            continue;
        }
        let server = servers::Server::start(kind, Options::default());
        let url = server.url("").replace(server.password(), "hush-hush");
        // Some let whoever guesses passwords wait.
        let ended = refused(&place, &url, &["--timeout=30"], 7, "login refused");
        assert!(ended.stderr.contains("530"), "{} {ended}", kind.name());
    }
}

#[test]
fn what_a_server_repeats_of_the_password_is_not_shown() {
    let place = place("repeated-password");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = FtpServer::start(Config {
        user: Some("me".to_owned()),
        password: Some("hush-hush".to_owned()),
        ..Config::serving(place.remote())
    });
    let forms = [
        "PASS hush-hush?",
        "me:HUSH-HUSH@nas",
        "hush%2Dhush",
        "h u s h - h u s h",
        "\"hush-\r\n-hu\r\nsh\"",
        "bWU6aHVzaC1odXNo",
        "687573682D68757368",
    ];
    for form in forms {
        let reply = |code: u16| {
            let text = format!("{code}-it was\r\n{form}\r\n{code} so\r\n");
            Effect::raw_reply(text)
        };
        let line = format!("{form}\r\n");
        for (verb, effect) in [
            ("PASS", reply(530)),
            ("PASS", reply(421)),
            ("FEAT", reply(211)),
            ("PWD", reply(599)),
            ("MLSD", reply(550)),
            ("MLSD", Effect::extra_listing_lines(&[line.as_bytes()])),
            ("STOR", reply(553)),
            ("RNTO", Effect::raw_reply(format!("{form}\r\n"))),
            ("QUIT", reply(221)),
        ] {
            server.heal();
            server.inject(Fault::on(verb).always().then(effect));
            let options = ["--retries=0", "--timeout=5", "-vvv"];
            let url = format!("ftp://me:hush-hush@{}/", server.addr());
            let ended = place.with("sync", &url, &options);
            let all = ended.to_string().to_lowercase();
            assert!(all.contains("****"), "{verb} {form}: {all}");
            for piece in [
                "hush-", "-hush", "-hu", "s h", "hush%2d", "aHVzaC1", "6875736",
            ] {
                assert!(
                    !all.contains(&piece.to_lowercase()),
                    "{verb} {form}: {piece}: {all}"
                );
            }
        }
    }
}

#[test]
fn a_user_that_vsftpd_does_not_know_is_refused() {
    let place = place("unknown-user");
    let server = servers::Server::start(Kind::Vsftpd, Options::default());
    let url = format!("ftp://nobody-here:hush-hush@{}/", server.address());
    refused(&place, &url, &[], 7, "login refused");
}

#[test]
fn a_password_from_elsewhere_is_not_shown_either() {
    let place = place("hidden-password");
    let fake = FtpServer::start(Config {
        password: Some("right".to_owned()),
        ..Config::serving(place.remote())
    });
    put(place.path(), "secret", "hush-hush\n", 0);
    fs::set_permissions(place.path().join("secret"), Permissions::from_mode(0o600)).unwrap();
    let url = format!("ftp://me@{}/", fake.addr());
    for options in [
        &["--password-file=secret"][..],
        &["--password-command=cat secret"],
        &["--password-file=secret", "-vvv"],
    ] {
        place
            .with("sync", &url, &[&["--retries=0"], options].concat())
            .expect(7)
            .complains("login refused")
            .hides("hush-hush");
    }
    let mut by_environment = place.command(&["sync", "local", &url, "--retries=0", "-vvv"]);
    by_environment.env("CORACLE_PASSWORD", "hush-hush");
    finish(by_environment).expect(7).hides("hush-hush");
}

#[test]
fn an_unknown_host_is_named() {
    let place = place("unknown-host");
    refused(
        &place,
        "ftp://me:hush-hush@no-such-host.invalid/",
        &[],
        6,
        "no-such-host.invalid",
    );
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let place = place("refused-port");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("ftp://me:hush-hush@127.0.0.1:{port}/");
    let ended = refused(&place, &url, &[], 6, "connection refused");
    assert!(ended.stderr.contains(&port.to_string()), "{ended}");
}

#[test]
fn an_ssh_server_is_recognised() {
    let place = place("ssh");
    let ssh = Impostor::new(|stream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
        until_gone(stream);
    });
    refused(&place, &ssh.url(), &[], 6, "SSH");
}

#[test]
fn a_web_server_is_no_ftp_server() {
    let place = place("http");
    // It says nothing until it is asked, and then only that it did not understand.
    let http = Impostor::new(|stream| {
        let mut request = [0; 512];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html>");
    });
    refused(&place, &http.url(), &[], 6, "127.0.0.1");
    let eager = Impostor::new(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n");
        until_gone(stream);
    });
    refused(&place, &eager.url(), &[], 6, "this is a web server");
}

#[test]
fn a_connection_that_is_closed_at_once_is_told() {
    let place = place("closed");
    let closing = Impostor::new(|stream| {
        let _ = stream.shutdown(Shutdown::Both);
    });
    refused(&place, &closing.url(), &[], 6, "127.0.0.1");
}

#[test]
fn a_server_that_never_answers_is_given_up_within_the_timeout() {
    let place = place("silent");
    let silent = Impostor::new(until_gone);
    let ended = refused(&place, &silent.url(), &[], 6, "timed out waiting for");
    assert!(ended.took < Duration::from_secs(2) + GRACE, "{ended}");
    for verb in ["USER", "PASS", "FEAT", "TYPE", "MLSD"] {
        println!("{verb}");
        let server = FtpServer::start(Config::serving(place.remote()));
        server.inject(Fault::on(verb).always().then(Effect::stall()));
        let ended = refused(
            &place,
            &server.url("").replace("guest", "hush-hush"),
            &[],
            6,
            "timed out",
        );
        assert!(
            ended.took < Duration::from_secs(2) + GRACE,
            "{verb} {ended}"
        );
    }
}

#[test]
fn a_greeting_that_drips_without_end_is_given_up() {
    let place = place("drip");
    let dripping = Impostor::new(|stream| {
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let ended = refused(&place, &dripping.url(), &[], 6, "127.0.0.1");
    assert!(ended.took < Duration::from_secs(2) + GRACE, "{ended}");
}

#[test]
fn an_endless_line_is_given_up() {
    let place = place("endless");
    let endless = Impostor::new(|stream| {
        let chunk = [b'2'; 4096];
        while stream.write_all(&chunk).is_ok() {}
    });
    refused(&place, &endless.url(), &[], 6, "127.0.0.1");
    let server = FtpServer::start(Config::serving(place.remote()));
    server.inject(
        Fault::on("FEAT")
            .always()
            .then(Effect::endless_reply("211-on and on\r\n", Duration::ZERO)),
    );
    let before = place.snapshot();
    let ended = place.with("sync", &server.url(""), &["--timeout=2", "--retries=0"]);
    let ended = ended.reads_as_prose();
    assert!(matches!(ended.code, Some(0 | 6)), "{ended}");
    assert!(
        ended.code == Some(0) || place.snapshot() == before,
        "{ended}"
    );
}

#[test]
fn a_server_with_no_room_for_another_session_is_unavailable() {
    let place = place("full-house");
    let server = FtpServer::start(Config {
        max_sessions: Some(0),
        ..Config::serving(place.remote())
    });
    refused(&place, &server.url(""), &[], 6, "server is unavailable");
    let server = FtpServer::start(Config {
        max_logins: Some(0),
        ..Config::serving(place.remote())
    });
    refused(&place, &server.url(""), &[], 6, "server is unavailable");
}

// Remote directories

#[test]
fn a_missing_remote_directory_is_named_and_made_on_request() {
    for kind in Kind::startable() {
        let place = place("missing-dir");
        let server = servers::Server::start(kind, Options::default());
        let url = server.url("not/there");
        let ended = refused(
            &place,
            &url,
            &[],
            2,
            "does not exist; --create-folder makes it",
        );
        assert!(ended.stderr.contains("not/there"), "{ended}");
        place
            .with("download", &url, &["--retries=0"])
            .expect(2)
            .complains("does not exist");
        place.with("sync", &url, &["--create-folder"]).expect(0);
        assert_eq!(
            content(server.root(), "not/there/a.txt"),
            "hello",
            "{}",
            kind.name()
        );
    }
}

#[test]
fn a_missing_local_directory_is_named_and_made_on_request() {
    let place = Place::new("missing-local");
    put(&place.remote(), "a.txt", "hello", DAY_SECS);
    fs::remove_dir(place.local()).unwrap();
    for command in ["sync", "download", "upload"] {
        place
            .between(command, &[])
            .expect(2)
            .says_one_sentence()
            .complains("local directory local does not exist");
    }
    place.between("upload", &["--create-folder"]).expect(2);
    place.between("download", &["--create-folder"]).expect(0);
    assert_eq!(content(&place.local(), "a.txt"), "hello");
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let place = place("file-root");
    fs::remove_dir(place.remote()).unwrap();
    fs::write(place.remote(), "a file").unwrap();
    let ended = place
        .between("sync", &[])
        .reads_as_prose()
        .says_one_sentence();
    assert!(matches!(ended.code, Some(2 | 8)), "{ended}");
    let ended = place
        .run(&["sync", "local/a.txt", "elsewhere"])
        .reads_as_prose()
        .says_one_sentence();
    assert!(matches!(ended.code, Some(2 | 8)), "{ended}");
}

#[test]
fn a_server_that_lets_nobody_write_loses_nothing() {
    for kind in Kind::startable() {
        let place = place("read-only");
        let options = Options {
            read_only: true,
            ..Options::default()
        };
        let server = servers::Server::start(kind, options);
        let before = Snapshot::of(server.root());
        let ended = place
            .with("sync", &server.url(""), &["--retries=0"])
            .reads_as_prose()
            .hides(server.password());
        assert!(matches!(ended.code, Some(1 | 6)), "{} {ended}", kind.name());
        assert!(
            ended.stderr.contains("55"),
            "the reply: {} {ended}",
            kind.name()
        );
        assert_eq!(Snapshot::of(server.root()), before);
        assert_eq!(content(&place.local(), "a.txt"), "hello");
    }
}

#[test]
fn a_remote_directory_without_permission_costs_only_itself() {
    let place = Place::new("no-permission");
    for file in ["open/a", "shut/b", "x"] {
        put(&place.local(), file, file, DAY_SECS);
    }
    let server = FtpServer::start(Config::serving(place.remote()));
    place.with("sync", &server.url(""), &[]).expect(0);
    put(&place.local(), "open/new", "n", 100);
    put(&place.local(), "shut/new", "n", 100);
    server.inject(
        Fault::on("MLSD")
            .containing("shut")
            .always()
            .then(Effect::reply(550, "Permission denied.")),
    );
    place
        .with("sync", &server.url(""), &[])
        .expect(1)
        .complains("listing the remote directory")
        .complains("shut")
        .reads_as_prose();
    assert!(place.remote().join("open/new").exists());
    assert!(place.local().join("shut/b").exists() && place.remote().join("shut/b").exists());
    server.heal();
    place.with("sync", &server.url(""), &[]).expect(0);
    assert!(place.remote().join("shut/new").exists());
}

// Transfers that end too early

#[test]
fn a_lost_connection_is_redialled_and_the_file_arrives() {
    for verb in ["STOR", "RETR"] {
        let place = Place::new("redial");
        let big: Vec<u8> = (0..300_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let (source, target) = match verb {
            "STOR" => (place.local(), place.remote()),
            _ => (place.remote(), place.local()),
        };
        put(&source, "big", &big, DAY_SECS);
        put(&source, "small", "s", DAY_SECS);
        let server = FtpServer::start(Config::serving(place.remote()));
        server.inject(
            Fault::on(verb)
                .containing(part_of(verb, "big"))
                .times(1)
                .then(Effect::cut_data(100_000).closing(Close::Reset)),
        );
        place
            .with("sync", &server.url(""), &["--connections=1"])
            .expect(0);
        assert!(fs::read(target.join("big")).unwrap() == big, "{verb}");
        assert!(target.join("small").exists());
    }
}

#[test]
fn a_connection_that_is_always_lost_ends_the_run_and_keeps_what_was_done() {
    let place = Place::new("always-lost");
    put(&place.local(), "a-first", "1", DAY_SECS);
    put(&place.local(), "z-last", "2", DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    server.inject(
        Fault::on("STOR")
            .containing(PARTIAL)
            .nth(2)
            .always()
            .then(Effect::cut_data(0).closing(Close::Reset)),
    );
    let options = ["--connections=1", "--retries=1"];
    let ended = place
        .with("sync", &server.url(""), &options)
        .complains("z-last")
        .reads_as_prose();
    assert!(matches!(ended.code, Some(1 | 6)), "{ended}");
    assert_eq!(content(&place.remote(), "a-first"), "1");
    assert!(
        !place.remote().join("z-last").exists(),
        "no short file under its name"
    );
    server.heal();
    server.take_commands();
    place.with("sync", &server.url(""), &options).expect(0);
    let again = server.take_commands();
    assert!(
        again
            .iter()
            .filter(|line| line.starts_with("STOR") && line.contains(PARTIAL))
            .count()
            == 1,
        "z-last alone; what was done was recorded: {again:?}"
    );
    assert_eq!(content(&place.remote(), "z-last"), "2");
}

#[test]
fn a_full_server_stops_uploads_and_keeps_the_old_files() {
    let place = Place::new("server-full");
    for file in ["a", "b", "c"] {
        put(&place.local(), file, "old", DAY_SECS);
    }
    let server = FtpServer::start(Config::serving(place.remote()));
    place.with("sync", &server.url(""), &[]).expect(0);
    for file in ["a", "b", "c"] {
        put(&place.local(), file, "new content", 100);
    }
    put(&place.remote(), "from-there", "x", DAY_SECS);
    server.inject(
        Fault::on("STOR")
            .containing(PARTIAL)
            .always()
            .then(Effect::write_short(3).saying(552, "Disk full.")),
    );
    let ended = place
        .with("sync", &server.url(""), &["--connections=1"])
        .complains("552 Disk full.")
        .reads_as_prose();
    assert!(matches!(ended.code, Some(1 | 6)), "{ended}");
    assert_eq!(content(&place.remote(), "a"), "old");
    assert_eq!(
        content(&place.local(), "from-there"),
        "x",
        "downloads go on"
    );
    server.heal();
    place.with("sync", &server.url(""), &[]).expect(0);
    for file in ["a", "b", "c"] {
        assert_eq!(content(&place.remote(), file), "new content");
    }
}

/// Begins the names under which files arrive before they get their own.
const PARTIAL: &str = ".coracle-";

/// What the argument of that verb holds when `name` is copied.
fn part_of(verb: &str, name: &str) -> String {
    match verb {
        "STOR" => PARTIAL.to_owned(),
        _ => name.to_owned(),
    }
}

/// Runs a shell script in which `$0` is the program and `ulimit`s hold.
fn in_shell(place: &Place, script: &str) -> Ended {
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_coracle")]);
    place
        .surround(&mut command)
        .stdin(std::process::Stdio::null());
    finish(command)
}

#[test]
fn a_local_file_that_cannot_grow_leaves_no_short_file_under_its_name() {
    let place = Place::new("too-big");
    put(&place.remote(), "big", vec![7; 300_000], DAY_SECS);
    put(&place.remote(), "small", "s", DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    // 100 blocks of 1024 bytes, and no signal about it.
    let script = format!(
        "trap '' XFSZ; ulimit -f 100; exec \"$0\" sync local {} --connections=1",
        server.url("")
    );
    let ended = in_shell(&place, &script).complains("big").reads_as_prose();
    assert!(matches!(ended.code, Some(1 | 8)), "{ended}");
    assert!(!place.local().join("big").exists());
    assert_eq!(content(&place.local(), "small"), "s");
    place.with("sync", &server.url(""), &[]).expect(0);
    assert_eq!(
        fs::read(place.local().join("big")).unwrap(),
        vec![7; 300_000]
    );
}

#[test]
fn a_local_disk_without_room_is_told_before_the_first_byte() {
    let place = Place::new("disk-full");
    put(&place.remote(), "big", vec![7; 3_000_000], DAY_SECS);
    let unshare = if nix::unistd::geteuid().is_root() {
        "unshare --mount"
    } else {
        "unshare --user --map-root-user --mount"
    };
    let script = format!(
        "{unshare} sh -ec 'mount -t tmpfs -o size=2m none local; \"$0\" download local remote' \"$0\""
    );
    in_shell(&place, &script)
        .expect(8)
        .says_one_sentence()
        .complains("no space left on device")
        .complains("nothing was changed");
    assert_eq!(Snapshot::of(&place.local()).names(), Vec::<&str>::new());
}

// Metadata

/// What pyftpsync leaves beside the files.
const METADATA: &str = ".pyftpsync-meta.json";

/// The archive of a root that has one peer.
fn archive_of(place: &Place) -> std::path::PathBuf {
    let home = place.local().join(".coracle");
    let mut files = fs::read_dir(home)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .find(|path| {
            path.file_name()
                .unwrap()
                .as_encoded_bytes()
                .starts_with(b"archive-")
        })
        .expect("a run has written it")
}

#[test]
fn a_damaged_archive_is_set_aside_and_deletes_nothing() {
    for damage in ["truncated", "garbage", "empty", "another shape"] {
        let place = Place::new("damaged");
        for file in ["a", "b", "d/c"] {
            put(&place.local(), file, file, DAY_SECS);
        }
        place.between("sync", &[]).expect(0);
        let path = archive_of(&place);
        let whole = fs::read(&path).unwrap();
        let damaged = match damage {
            "truncated" => whole[..whole.len() / 2].to_vec(),
            "garbage" => vec![0xff, 0, 17, b'{'],
            "empty" => Vec::new(),
            _ => br#"{"_file_version": 3, "peer_sync": []}"#.to_vec(),
        };
        // In place: another file of that name would be taken for one that came with a copy.
        fs::write(&path, &damaged).unwrap();
        fs::remove_file(place.remote().join("a")).unwrap();
        let ended = place.between("sync", &[]).reads_as_prose();
        let ended = ended.expect(0).complains("set aside");
        assert!(place.local().join("a").exists(), "{damage} {ended}");
        assert_eq!(content(&place.remote(), "a"), "a", "{damage}");
        let aside = path.with_extension("damaged");
        assert_eq!(fs::read(aside).unwrap(), damaged, "{damage}");
        let before = place.snapshot();
        place.between("sync", &[]).expect(0);
        assert_eq!(place.snapshot(), before, "{damage}");
    }
}

#[test]
fn records_of_another_version_stop_the_run_until_they_are_given_up() {
    let place = Place::new("version");
    put(&place.local(), "d/a", "a", DAY_SECS);
    let of_pyftpsync = br#"{"_file_version": 2, "peer_sync": {}, "mtimes": {}}"#;
    fs::write(place.local().join("d").join(METADATA), of_pyftpsync).unwrap();
    let before = place.snapshot();
    place
        .between("sync", &[])
        .expect(9)
        .says_one_sentence()
        .complains(&format!("d/{METADATA}"))
        .complains("--migrate");
    assert_eq!(place.snapshot(), before);
    place.between("sync", &["--migrate"]).expect(0);
    assert_eq!(content(&place.remote(), "d/a"), "a");
    let before = place.snapshot();
    place.between("sync", &[]).expect(0);
    assert_eq!(place.snapshot(), before);
}

// What the local disk refuses

/// Runs the program as a user to whom permissions mean something, also when root runs the tests.
fn as_nobody(place: &Place, arguments: &str) -> Ended {
    if !nix::unistd::geteuid().is_root() {
        return in_shell(place, &format!("exec \"$0\" {arguments}"));
    }
    // Root is let in everywhere; without that right it is as good as anybody.
    in_shell(
        place,
        &format!(
            "exec setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search \"$0\" {arguments}"
        ),
    )
}

#[test]
fn a_local_file_that_cannot_be_read_is_named_and_the_others_go() {
    let place = Place::new("unreadable");
    for file in ["a", "locked", "z"] {
        put(&place.local(), file, file, DAY_SECS);
    }
    fs::set_permissions(place.local().join("locked"), Permissions::from_mode(0o000)).unwrap();
    as_nobody(&place, "upload local remote")
        .expect(1)
        .says_one_sentence()
        .complains("locked")
        .complains("permission denied");
    assert_eq!(Snapshot::of(&place.remote()).names(), ["a", "z"]);
}

#[test]
fn a_local_directory_that_cannot_be_read_deletes_nothing_on_the_other_side() {
    let place = Place::new("unreadable-dir");
    for file in ["a", "locked/b", "z"] {
        put(&place.local(), file, file, DAY_SECS);
    }
    place.between("sync", &[]).expect(0);
    fs::set_permissions(place.local().join("locked"), Permissions::from_mode(0o000)).unwrap();
    for command in ["sync", "upload --delete"] {
        let (command, options) = command.split_once(' ').unwrap_or((command, ""));
        let ended = as_nobody(&place, &format!("{command} local remote {options}"))
            .complains("locked")
            .complains("permission denied")
            .reads_as_prose();
        assert!(matches!(ended.code, Some(1 | 8)), "{ended}");
        assert_eq!(content(&place.remote(), "locked/b"), "locked/b");
    }
}

#[test]
fn a_local_root_that_cannot_be_written_is_told() {
    let place = Place::new("unwritable");
    put(&place.remote(), "a", "a", DAY_SECS);
    fs::set_permissions(place.local(), Permissions::from_mode(0o555)).unwrap();
    let ended = as_nobody(&place, "download local remote")
        .complains("permission denied")
        .reads_as_prose();
    assert!(matches!(ended.code, Some(1 | 8)), "{ended}");
    assert_eq!(Snapshot::of(&place.local()).names(), Vec::<&str>::new());
    fs::set_permissions(place.local(), Permissions::from_mode(0o755)).unwrap();
    place.between("download", &[]).expect(0);
}

// The command line

#[test]
fn bad_urls_and_options_are_one_sentence_and_touch_nothing() {
    let place = place("usage");
    let before = place.snapshot();
    for (arguments, words) in [
        (&["sync", "local", "ftp://"][..], "host"),
        (&["sync", "local", "ftp://me:hush-hush@host:99999/"], "port"),
        (&["sync", "local", "ftp://me:hush-hush@host:ftp/"], "port"),
        (&["sync", "local", "gopher://me:hush-hush@host/"], "gopher"),
        (&["sync", "local", "ftp://me:hush-hush@[::1/"], ""),
        (&["sync", "local", "ftp://me:hush-hush@host/a%00b"], ""),
        (&["sync", "local", "ftp://me:hush-hush@host/a/../../b"], ""),
        (&["sync", "ftp://me:hush-hush@host/", "remote"], "LOCAL"),
        (&["sync", "local"], "REMOTE"),
        (&["sync", "local", "remote", "third"], "too many"),
        (&["sync", "local", "local"], "same"),
        (
            &["sync", "local", "local/inside"],
            "one lies inside the other",
        ),
        (&["sync", "local", "remote", "--resolve", "coin"], "coin"),
        (
            &["upload", "local", "remote", "--resolve", "remote"],
            "use local",
        ),
        (
            &["sync", "local", "remote", "--max-delete", "-1"],
            "--max-delete",
        ),
        (
            &["sync", "local", "remote", "--max-delete", "101%"],
            "--max-delete",
        ),
        (&["sync", "local", "remote", "--timeout", "0"], "--timeout"),
        (
            &["sync", "local", "remote", "--connections", "0"],
            "--connections",
        ),
        (
            &["sync", "local", "remote", "--check-file", "../x"],
            "--check-file",
        ),
        (&["sync", "local", "remote", "--trash", "/etc"], "--trash"),
        (
            &["sync", "local", "remote", "--limit-rate", "fast"],
            "--limit-rate",
        ),
        (
            &[
                "sync",
                "local",
                "ftp://me@127.0.0.1:1/",
                "--password-file",
                "absent",
            ],
            "absent",
        ),
        (
            &["sync", "local", "remote", "--exclude-from", "absent"],
            "absent",
        ),
        (&["sync", "local", "remote", "--links"], "--links"),
        (&["sync", "local", "remote", "--tls", "explicit"], "--tls"),
        (&["sync", "local", "remote", "--json"], "--json"),
        (&["help", "swim"], "swim"),
        (
            &["sync", "local", "remote", "--no-remote-scan"],
            "--no-remote-scan",
        ),
        (&["sync", "", "remote"], ""),
    ] {
        println!("{arguments:?}");
        place
            .run(arguments)
            .expect(2)
            .says_one_sentence()
            .complains(words)
            .hides("hush-hush");
        assert_eq!(place.snapshot(), before, "{arguments:?}");
    }
}

#[test]
fn the_process_list_shows_no_password_that_came_by_file() {
    // What a run was given by file is never put on a command line of its own making.
    let place = place("no-child");
    put(place.path(), "secret", "hush-hush\n", 0);
    fs::set_permissions(place.path().join("secret"), Permissions::from_mode(0o600)).unwrap();
    let server = FtpServer::start(Config::serving(place.remote()));
    let url = format!("ftp://me@{}/", server.addr());
    place
        .with("sync", &url, &["--password-file=secret", "-vvv"])
        .expect(0)
        .hides("hush-hush");
    let kept = Snapshot::of(place.path());
    let shown = format!("{kept:?}").replace("9 bytes", "");
    let mentions = shown.matches("hush-hush").count();
    assert_eq!(mentions, 1, "only the file of the user's own: {kept:?}");
    assert!(Path::new(env!("CARGO_BIN_EXE_coracle")).exists());
}
