//! Plays `tests/transcripts/*.txt` against the FTP target. A transcript is the specification of what is said:
//!
//! ```text
//! S: 220 ready        the server says this
//! C: USER tester      the client must say this
//! D> one\r\n          the server sends this over the data connection and closes it
//! D< bytes            the client must send this over the data connection and close it
//! D! bytes            the server sends this over the data connection and resets it
//! D-                  the server closes the data connection unused
//! X                   the server closes the control connection
//! = login MLST MFMT   the usual login of a server with these features
//! = fence             the questions, in any order, that show whether the replies are in step
//! ```
//!
//! `{port}` in what the server says is a fresh passive port, `{p1},{p2}` the same in two numbers. `\r`, `\n`, `\\` and
//! `\xNN` stand for themselves. The client may end with QUIT.

#[allow(unreachable_pub, reason = "other tests reach it through support")]
#[path = "support/acquainted.rs"]
mod acquainted;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::num::NonZeroU8;
use std::path::Path;
use std::thread;
use std::time::Duration;

use coracle::error::{Error, ErrorKind, Result, Scope};
use coracle::job::{
    Connections, DataMode, FtpLocation, Habits, Limits, Protection, Secret, ServerPath,
};
use coracle::path::RelPath;
use coracle::replica::{
    Algorithm, Bytes, FtpConnector, FtpReplica, Kind, Listing, NewFile, Precision, Removal,
    Replica, Stat, Times, Unwatched, Written,
};
use coracle::time::Timestamp;

use nix::sys::socket::sockopt::Linger;

use acquainted::acquainted;

/// 2024-02-29 12:34:56 UTC.
const LEAP_DAY: Timestamp = Timestamp::from_secs(1_709_210_096);

/// Whoever waits longer than this for the other side has lost the thread.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many questions make a fence.
const FENCE: usize = 16;

/// Plays the transcript while `act` uses the target, and checks that both came to the end.
fn play(name: &str, act: impl FnOnce(Result<FtpReplica>)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(name)
        .with_extension("txt");
    let script = fs::read_to_string(path).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        Player::new(socket).play(&script)
    });
    let location = FtpLocation {
        host: "127.0.0.1".to_owned(),
        port,
        protection: Protection::Clear,
        user: "tester".to_owned(),
        password: Secret::new("geheim".to_owned()),
        path: ServerPath::Absolute(RelPath::parse(b"r").unwrap()),
        habits: Habits::default(),
    };
    let limits = Limits {
        connections: Connections::AtMost(NonZeroU8::MIN),
        timeout: PATIENCE,
        retries: 0,
        max_duration: None,
        bytes_per_sec: None,
        data: DataMode::Passive,
        ..Limits::default()
    };
    act(FtpConnector::new(&location, &limits)
        .map(|connector| connector.with_memory(acquainted()))
        .and_then(|connector| connector.connect()));
    server.join().unwrap();
}

/// The server's part of a transcript.
struct Player {
    control: BufReader<TcpStream>,
    passive: Option<TcpListener>,
}

impl Player {
    fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            control: BufReader::new(socket),
            passive: None,
        }
    }

    fn play(mut self, script: &str) {
        for (number, line) in script.lines().enumerate() {
            let at = format!("line {}: {line}", number + 1);
            if let Some(said) = line.strip_prefix("S: ") {
                self.say(said);
            } else if let Some(expected) = line.strip_prefix("C: ") {
                self.hear(expected, &at);
            } else if let Some(bytes) = line.strip_prefix("D> ") {
                let bytes = unescape(bytes);
                self.accept(&at).write_all(&bytes).unwrap();
            } else if let Some(bytes) = line.strip_prefix("D< ") {
                let mut received = Vec::new();
                self.accept(&at).read_to_end(&mut received).unwrap();
                assert_eq!(
                    String::from_utf8_lossy(&received),
                    String::from_utf8_lossy(&unescape(bytes)),
                    "{at}"
                );
            } else if let Some(bytes) = line.strip_prefix("D! ") {
                let mut data = self.accept(&at);
                data.write_all(&unescape(bytes)).unwrap();
                await_taken(&data);
                let at_once = nix::libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                nix::sys::socket::setsockopt(&data, Linger, &at_once).unwrap();
            } else if line == "D-" {
                drop(self.accept(&at));
            } else if line == "X" {
                self.control.get_ref().shutdown(Shutdown::Both).unwrap();
                return;
            } else if line == "= fence" {
                self.pass_fence(&at);
            } else if let Some(features) = line.strip_prefix("= login") {
                self.log_in(features, &at);
            } else {
                assert!(
                    line.is_empty() || line.starts_with('#'),
                    "{at}: not understood"
                );
            }
        }
        let mut rest = String::new();
        self.control.read_to_string(&mut rest).unwrap();
        assert!(
            rest.is_empty() || rest == "QUIT\r\n",
            "the client says more: {rest}"
        );
    }

    fn log_in(&mut self, features: &str, at: &str) {
        self.say("220 ready");
        self.hear("USER tester", at);
        self.say("331 password");
        self.hear("PASS geheim", at);
        self.say("230 welcome");
        self.hear("FEAT", at);
        let features: String = features
            .split_whitespace()
            .map(|name| format!(" {name}\\r\\n"))
            .collect();
        self.say(&format!("211-Features\\r\\n{features}211 End"));
        self.hear("OPTS UTF8 ON", at);
        self.say("200 fine");
        self.hear("TYPE I", at);
        self.say("200 binary");
        self.hear("PWD", at);
        self.say("257 \"/\"");
    }

    fn pass_fence(&mut self, at: &str) {
        for _ in 0..FENCE {
            let mut line = String::new();
            self.control.read_line(&mut line).unwrap();
            match line.trim_end() {
                "PWD" => self.say("257 \"/\""),
                "TYPE I" => self.say("200 binary"),
                other => panic!("{at}: {other}"),
            }
        }
    }

    fn say(&mut self, text: &str) {
        let mut text = text.to_owned();
        if text.contains("{p") {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            self.passive = Some(listener);
            text = text
                .replace("{port}", &port.to_string())
                .replace("{p1}", &(port / 256).to_string())
                .replace("{p2}", &(port % 256).to_string());
        }
        let mut bytes = unescape(&text);
        bytes.extend_from_slice(b"\r\n");
        // A client that has gone shows where it is listened to.
        let _ = self.control.get_mut().write_all(&bytes);
    }

    fn hear(&mut self, expected: &str, at: &str) {
        let mut line = Vec::new();
        if let Err(error) = self.control.read_until(b'\n', &mut line) {
            panic!("{at}: heard nothing: {error}");
        }
        let mut expected = unescape(expected);
        expected.extend_from_slice(b"\r\n");
        assert_eq!(
            String::from_utf8_lossy(&line),
            String::from_utf8_lossy(&expected),
            "{at}"
        );
    }

    fn accept(&mut self, at: &str) -> TcpStream {
        let listener = self
            .passive
            .take()
            .unwrap_or_else(|| panic!("{at}: no passive port"));
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

/// Waits until the other end has read all that was sent: a reset may overtake it.
fn await_taken(data: &TcpStream) {
    let ports =
        [data.peer_addr(), data.local_addr()].map(|end| format!(":{:04X}", end.unwrap().port()));
    let is_taken = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row[1].ends_with(&ports[0]) && row[2].ends_with(&ports[1]));
        row.is_none_or(|row| row[4].ends_with(":00000000"))
    };
    while !is_taken() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'\\', [b'r', after @ ..]) => (bytes.push(b'\r'), rest = after).1,
            (b'\\', [b'n', after @ ..]) => (bytes.push(b'\n'), rest = after).1,
            (b'\\', [b'\\', after @ ..]) => (bytes.push(b'\\'), rest = after).1,
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn rel(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).unwrap()
}

/// Writes `new` to `a` through `part`.
fn put(target: &mut FtpReplica, replaces: Option<Stat>) -> Result<Written> {
    let file = NewFile {
        path: &rel("a"),
        partial: &rel("part"),
        size: 3,
        mtime: Some(LEAP_DAY),
        mode: None,
        resume_at: 0,
        replaces,
        set_aside: None,
        keep_partial: false,
    };
    target.write(&file, &mut Bytes(b"new"), &mut Unwatched)
}

fn list(target: &mut FtpReplica) -> Result<(Vec<String>, Option<String>)> {
    let mut listing = Listing::new();
    target.list(&RelPath::root(), &mut listing)?;
    let names = listing.iter().map(|entry| entry.name.to_string()).collect();
    Ok((names, listing.gap().map(str::to_owned)))
}

fn refused_login(name: &str) -> Error {
    let mut error = None;
    play(name, |target| error = target.err());
    error.expect("the login fails")
}

#[test]
fn logs_in_past_120_and_without_a_password() {
    play("login-120-no-password", |target| {
        target.unwrap();
    });
}

#[test]
fn a_wrong_password_is_the_end_and_never_repeated() {
    let error = refused_login("login-refused");
    assert!(matches!(error.kind(), ErrorKind::Login(_)), "{error}");
    assert_eq!(error.scope(), Scope::Job);
    let text = error.to_string();
    assert!(
        text.contains("530 wrong password ****") && !text.contains("geheim"),
        "{text}"
    );
}

#[test]
fn a_server_that_lets_nobody_in_without_tls_gets_it_by_another_scheme() {
    for name in [
        "login-wants-tls-421",
        "login-wants-tls-530",
        "login-wants-tls-550",
    ] {
        let error = refused_login(name);
        assert!(
            matches!(error.kind(), ErrorKind::Login(_)),
            "{name}: {error}"
        );
        assert_eq!(error.scope(), Scope::Job, "{name}");
        assert!(error.to_string().contains("use ftps://"), "{name}: {error}");
    }
    let error = refused_login("login-refused").to_string();
    assert!(!error.contains("ftps"), "{error}");
}

#[test]
fn a_full_server_can_be_tried_again() {
    for name in ["login-too-many-530", "login-421"] {
        let error = refused_login(name);
        assert!(
            matches!(error.kind(), ErrorKind::Unavailable(_)),
            "{name}: {error}"
        );
        assert_eq!(error.scope(), Scope::Session);
    }
}

#[test]
fn an_ssh_server_is_named_as_one() {
    let error = refused_login("login-ssh");
    assert!(
        error.to_string().contains("this is an SSH server"),
        "{error}"
    );
}

#[test]
fn lists_with_mlsd_and_leaves_out_the_directory_itself() {
    play("list-mlsd", |target| {
        let mut target = target.unwrap();
        let mut listing = Listing::new();
        target.list(&RelPath::root(), &mut listing).unwrap();
        let entries: Vec<_> = listing
            .iter()
            .map(|entry| (entry.name.to_string(), entry.stat.kind, entry.stat.size))
            .collect();
        assert_eq!(
            entries,
            [
                (" lead".to_owned(), Kind::File, 5),
                ("d".to_owned(), Kind::Dir, 0),
                ("link".to_owned(), Kind::Special, 0),
                ("nosize".to_owned(), Kind::Special, 0),
            ]
        );
        assert_eq!(listing.gap(), None);
        assert_eq!(
            listing.find(b" lead").unwrap().stat,
            Stat::file(5, LEAP_DAY)
        );
    });
}

#[test]
fn a_foreign_address_in_a_227_is_not_connected_to() {
    play("pasv-foreign-host", |target| {
        let mut target = target.unwrap();
        assert_eq!(list(&mut target).unwrap().0, ["a"]);
        // EPSV was refused once and is not asked again.
        assert_eq!(list(&mut target).unwrap().0, ["b"]);
    });
}

#[test]
fn a_listing_that_broke_off_is_incomplete() {
    for (name, why) in [
        ("list-426", "426"),
        ("list-truncated", "not all is listed"),
        ("list-cut-line", "within a line"),
        ("list-nonsense-line", "could not be understood"),
        ("list-bad-name", "would leave its directory"),
        ("list-empty-closed", "cannot be entered"),
    ] {
        play(name, |target| {
            let (_, gap) = list(&mut target.unwrap()).unwrap();
            assert!(
                gap.as_deref().is_some_and(|gap| gap.contains(why)),
                "{name}: {gap:?}"
            );
        });
    }
}

#[test]
fn a_listing_that_ends_with_a_reset_is_replaced_by_one_that_ends_well() {
    play("list-reset-once", |target| {
        let (names, gap) = list(&mut target.unwrap()).unwrap();
        assert_eq!((names, gap), (vec!["a".to_owned(), "b".to_owned()], None));
    });
}

#[test]
fn what_breaks_off_is_listed_in_another_way() {
    for name in ["list-reset-elsewhere", "list-mlsd-426"] {
        play(name, |target| {
            let (names, gap) = list(&mut target.unwrap()).unwrap();
            let all = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
            assert_eq!((names, gap), (all, None), "{name}");
        });
    }
    // It lacks what had arrived.
    play("list-426-less-by-stat", |target| {
        let (names, gap) = list(&mut target.unwrap()).unwrap();
        assert_eq!(names, ["a", "b"]);
        assert!(gap.is_some_and(|gap| gap.contains("426")));
    });
}

#[test]
fn names_with_question_marks_that_are_denied_make_it_incomplete() {
    play("list-lossy", |target| {
        let mut listing = Listing::new();
        target
            .unwrap()
            .list(&RelPath::root(), &mut listing)
            .unwrap();
        assert!(listing.gap().is_some());
        assert_eq!(listing.find(b"caf?").unwrap().stat.kind, Kind::Special);
        assert_eq!(listing.find(b"real?").unwrap().stat.kind, Kind::File);
    });
}

#[test]
fn falls_back_to_list_and_learns_its_zone() {
    play("list-fallback-zone", |target| {
        let mut target = target.unwrap();
        let mut listing = Listing::new();
        target.list(&RelPath::root(), &mut listing).unwrap();
        assert_eq!(listing.gap(), None);
        let old = listing.find(b"old").unwrap().stat.mtime.unwrap();
        assert_eq!(old.precision, Precision::Day);
        // Five hours west: the local day begins at five in UTC.
        assert_eq!(old.at.to_string(), "2024-02-29 05:00:00");
        assert!(listing.find(b".hidden").is_some());
    });
}

#[test]
fn a_server_that_takes_the_option_for_a_name_is_asked_without() {
    play("list-no-option", |target| {
        let mut target = target.unwrap();
        assert_eq!(list(&mut target).unwrap().0, ["a b"]);
        assert_eq!(list(&mut target).unwrap().0, ["a b"]);
    });
}

#[test]
fn a_directory_counts_as_missing_only_where_its_parent_is_open() {
    play("list-missing", |target| {
        assert!(list(&mut target.unwrap()).unwrap_err().is_not_found());
    });
    play("list-closed-without-mlst", |target| {
        let error = list(&mut target.unwrap()).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Refused { code: 550, .. }),
            "{error}"
        );
    });
}

#[test]
fn writes_checks_and_renames() {
    play("write", |target| {
        let mut target = target.unwrap();
        let written = put(&mut target, None).unwrap();
        assert_eq!(
            written,
            Written {
                stat: Stat::file(3, LEAP_DAY),
                times: Times::Kept,
                inode: 0,
                digest: None,
            }
        );
    });
}

#[test]
fn finds_a_way_to_set_the_time_and_keeps_to_it() {
    play("write-setter-ladder", |target| {
        let mut target = target.unwrap();
        assert_eq!(put(&mut target, None).unwrap().times, Times::Kept);
        let old = Stat::file(3, LEAP_DAY);
        assert_eq!(put(&mut target, Some(old)).unwrap().times, Times::Kept);
    });
}

#[test]
fn a_time_that_did_not_take_is_lost() {
    play("write-time-ignored", |target| {
        let written = put(&mut target.unwrap(), None).unwrap();
        assert_eq!(written.times, Times::Lost);
        assert_eq!(written.stat, Stat::file(3, LEAP_DAY.plus_secs(86_400)));
    });
}

#[test]
fn a_confirmed_file_of_another_size_is_not_renamed() {
    play("write-wrong-size", |target| {
        let error = put(&mut target.unwrap(), None).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
    });
}

#[test]
fn a_file_that_changed_meanwhile_is_not_replaced() {
    play("write-changed-meanwhile", |target| {
        let error = put(&mut target.unwrap(), Some(Stat::file(9, LEAP_DAY))).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Changed(_)), "{error}");
    });
}

#[test]
fn moves_the_old_file_aside_where_renaming_over_it_is_refused() {
    play("write-rename-refused", |target| {
        let mut target = target.unwrap();
        let old = Stat::file(9, LEAP_DAY);
        assert_eq!(
            put(&mut target, Some(old)).unwrap().stat,
            Stat::file(3, LEAP_DAY)
        );
        put(&mut target, Some(Stat::file(3, LEAP_DAY))).unwrap();
    });
}

#[test]
fn puts_the_old_file_back_when_the_new_one_cannot_take_its_place() {
    play("write-rename-hopeless", |target| {
        let error = put(&mut target.unwrap(), Some(Stat::file(9, LEAP_DAY))).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Refused { code: 553, .. }),
            "{error}"
        );
    });
}

#[test]
fn a_server_that_renames_nothing_is_told_with_the_option_for_it() {
    play("write-renames-nothing", |target| {
        let error = put(&mut target.unwrap(), Some(Stat::file(9, LEAP_DAY))).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("--inplace") && text.contains("550"), "{text}");
    });
}

#[test]
fn a_confirmed_rename_that_shows_nothing_is_an_error() {
    play("write-renamed-away", |target| {
        let error = put(&mut target.unwrap(), None).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
    });
}

#[test]
fn a_full_disk_leaves_no_litter() {
    play("write-disk-full", |target| {
        let error = put(&mut target.unwrap(), None).unwrap_err();
        assert!(error.is_full(), "{error}");
    });
}

#[test]
fn a_refused_upload_leaves_the_session_usable() {
    play("write-refused", |target| {
        let mut target = target.unwrap();
        let error = put(&mut target, None).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Refused { code: 553, .. }),
            "{error}"
        );
        assert_eq!(
            target.look_up(&[rel("x")]).pop().unwrap().unwrap(),
            Some(Stat::dir())
        );
    });
}

#[test]
fn a_421_anywhere_ends_the_session_for_good() {
    for name in ["421-in-batch", "421-in-transfer"] {
        play(name, |target| {
            let mut target = target.unwrap();
            let error = put(&mut target, None).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Unavailable(_)),
                "{name}: {error}"
            );
            let error = target.look_up(&[rel("x")]).pop().unwrap().unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Unavailable(_)),
                "{name}: {error}"
            );
        });
    }
}

#[test]
fn a_reply_nobody_asked_for_ends_the_session() {
    play("extra-reply", |target| {
        let mut target = target.unwrap();
        assert!(target.look_up(&[rel("x")]).pop().unwrap().is_ok());
        let error = target.look_up(&[rel("x")]).pop().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error}");
    });
}

#[test]
fn a_bad_reply_ends_the_session() {
    play("bad-reply", |target| {
        let error = target
            .unwrap()
            .look_up(&[rel("x")])
            .pop()
            .unwrap()
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error}");
    });
}

#[test]
fn a_download_counts_only_with_its_final_reply() {
    play("read-426", |target| {
        let mut target = target.unwrap();
        let mut source = target.open(&rel("a"), 0).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(source.read(&mut buffer).unwrap(), 4);
        assert_eq!(source.read(&mut buffer).unwrap(), 0);
        let error = source.finish().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Refused { code: 426, .. }),
            "{error}"
        );
    });
}

#[test]
fn a_download_goes_on_only_after_350() {
    play("read-rest", |target| {
        let mut target = target.unwrap();
        let error = target.open(&rel("a"), 4).err().unwrap();
        assert!(
            matches!(error.kind(), ErrorKind::Refused { code: 502, .. }),
            "{error}"
        );
        let mut source = target.open(&rel("a"), 2).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(source.read(&mut buffer).unwrap(), 2);
        source.finish().unwrap();
    });
}

#[test]
fn what_is_gone_or_there_already_is_a_success() {
    play("remove-and-make", |target| {
        let mut target = target.unwrap();
        let removed = target.remove(&[Removal::File(rel("gone")), Removal::File(rel("stays"))]);
        assert!(removed[0].is_ok() && removed[1].is_err());
        let made = target.make_dirs(&[rel("there"), rel("file")]);
        assert!(made[0].is_ok() && made[1].is_err());
    });
}

#[test]
fn digests_are_found_in_both_dialects() {
    play("digest", |target| {
        let mut target = target.unwrap();
        let digest = target
            .digest(&rel("a"), &[Algorithm::Sha256])
            .unwrap()
            .unwrap();
        assert_eq!(digest.bytes[..2], [0xc6, 0x7c]);
        let digest = target
            .digest(&rel("a"), &[Algorithm::Crc32])
            .unwrap()
            .unwrap();
        assert_eq!(digest.bytes, [0x40, 0x76, 0xe5, 0xd1]);
        assert_eq!(target.free_space().unwrap(), Some(123_456));
    });
}

#[test]
fn facts_are_found_wherever_a_server_puts_them() {
    play("look-odd-facts", |target| {
        let mut target = target.unwrap();
        for _ in 0..3 {
            let stat = target.look_up(&[rel("x")]).pop().unwrap().unwrap().unwrap();
            assert_eq!((stat.kind, stat.size), (Kind::File, 3));
            let time = stat.mtime.map(|mtime| mtime.at.as_secs());
            assert_eq!(time, Some(LEAP_DAY.as_secs()));
        }
    });
}

#[test]
fn absence_is_proven_by_a_listing() {
    play("look-denied-but-listed", |target| {
        let mut target = target.unwrap();
        let mut look = || target.look_up(&[rel("x")]).pop().unwrap().unwrap();
        // This denial is of the kind that is known to be true.
        assert_eq!(look(), None);
        assert_eq!(look(), Some(Stat::file(3, LEAP_DAY)));
    });
    play("look-by-listing", |target| {
        let mut target = target.unwrap();
        let stat = target.look_up(&[rel("x")]).pop().unwrap().unwrap().unwrap();
        assert_eq!((stat.kind, stat.size), (Kind::File, 3));
    });
}

#[test]
fn an_empty_directory_may_be_refused() {
    play("list-nothing-450", |target| {
        let (names, gap) = list(&mut target.unwrap()).unwrap();
        assert_eq!((names.len(), gap), (0, None));
    });
}

#[test]
fn what_one_listing_does_not_tell_another_does() {
    for (name, expected) in [
        ("list-mlsd-names-alone", &[("a.txt", Kind::File, 3)][..]),
        (
            "list-odd-sizes",
            &[
                ("big", Kind::File, 3_000_000_000),
                ("huge", Kind::Special, 0),
                ("never", Kind::File, 3),
            ],
        ),
        ("list-years-behind", &[("a b", Kind::File, 3)]),
        (
            "list-by-names",
            &[("A.TXT", Kind::File, 3), ("D", Kind::Dir, 0)],
        ),
    ] {
        play(name, |target| {
            let mut listing = Listing::new();
            target
                .unwrap()
                .list(&RelPath::root(), &mut listing)
                .unwrap();
            let entries: Vec<_> = listing
                .iter()
                .map(|entry| (entry.name.to_string(), entry.stat.kind, entry.stat.size))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, kind, size)| ((*name).to_owned(), *kind, *size))
                .collect();
            assert_eq!(entries, expected, "{name}");
            assert_eq!(listing.gap(), None, "{name}");
        });
    }
}

#[test]
fn ports_are_found_in_any_form() {
    play("pasv-odd-forms", |target| {
        let mut target = target.unwrap();
        for name in ["a", "b", "c"] {
            assert_eq!(list(&mut target).unwrap().0, [name]);
        }
    });
    play("pret", |target| {
        assert_eq!(list(&mut target.unwrap()).unwrap().0, ["a"]);
    });
}

#[test]
fn the_class_of_a_code_decides() {
    play("write-codes-200", |target| {
        let written = put(&mut target.unwrap(), None).unwrap();
        assert_eq!(written.times, Times::Kept);
    });
}

#[test]
fn a_confirmation_proves_nothing() {
    play("remove-confirmed-not-done", |target| {
        let mut target = target.unwrap();
        let removed = target.remove(&[Removal::File(rel("a")), Removal::Dir(rel("d"))]);
        assert!(matches!(
            removed[0].as_ref().unwrap_err().kind(),
            ErrorKind::Verify(_)
        ));
        assert!(removed[1].is_ok());
        let error = target.rename(&rel("a"), &rel("new")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
    });
    play("write-aside-not-done", |target| {
        let file = NewFile {
            path: &rel("a"),
            partial: &rel("part"),
            size: 3,
            mtime: Some(LEAP_DAY),
            mode: None,
            resume_at: 0,
            replaces: Some(Stat::file(9, LEAP_DAY)),
            set_aside: Some(&rel("aside")),
            keep_partial: false,
        };
        let error = target
            .unwrap()
            .write(&file, &mut Bytes(b"new"), &mut Unwatched)
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
    });
}

#[test]
fn a_login_that_cannot_work_says_why_and_shows_no_password() {
    let error = refused_login("login-acct");
    assert!(error.to_string().contains("ACCT"), "{error}");
    let error = refused_login("login-200");
    assert_eq!(error.scope(), Scope::Job, "one try is enough");
    let text = error.to_string().to_lowercase();
    assert!(
        text.contains("incorrect") && !text.contains("gehe"),
        "{text}"
    );
}

#[test]
fn a_stranger_is_served_by_the_book_and_tried_once() {
    play("stranger", |target| {
        let mut target = target.unwrap();
        for _ in 0..2 {
            assert_eq!(list(&mut target).unwrap().0, [".hidden", "a"]);
        }
    });
}
