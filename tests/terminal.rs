//! The program on a terminal: conflicts resolved by a letter, the progress line, the password prompt. And without one.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::ftp_server::{Config, FtpServer};
use support::program::{Ended, Place, Snapshot, content, finish, put};

const DAY_SECS: u64 = 86_400;

/// What is typed and what is waited for.
#[derive(Default)]
struct Dialog {
    steps: Vec<serde_json::Value>,
}

impl Dialog {
    fn new() -> Self {
        Self::default()
    }

    fn step(mut self, what: &str, with: impl Into<serde_json::Value>) -> Self {
        self.steps.push(serde_json::json!([what, with.into()]));
        self
    }

    fn columns(self, columns: u16) -> Self {
        self.step("columns", columns)
    }

    fn expect(self, text: &str) -> Self {
        self.step("expect", text)
    }

    fn send(self, text: &str) -> Self {
        self.step("send", text)
    }

    /// Waits for the question about that file and answers it.
    fn answer(self, name: &str, text: &str) -> Self {
        self.expect(&format!("CONFLICT: '{name}'"))
            .expect("elp ? ")
            .send(text)
    }

    /// Has this dialog with the program, on a terminal of its own.
    fn with(self, place: &Place, arguments: &[&str]) -> Ended {
        self.with_program(place, env!("CARGO_BIN_EXE_coracle"), arguments)
    }

    fn with_program(self, place: &Place, program: &str, arguments: &[&str]) -> Ended {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/terminal.py");
        let mut command = Command::new("python3");
        command
            .arg(driver)
            .arg(serde_json::Value::from(self.steps).to_string())
            .arg(program)
            .args(arguments);
        place.surround(&mut command).env("TERM", "xterm");
        finish(command)
    }
}

/// Two directories in which these files were changed on both sides, the remote one later.
fn in_conflict(files: &[&str]) -> Place {
    let place = Place::new("terminal");
    for file in files {
        put(&place.local(), file, "before", DAY_SECS);
    }
    place.between("sync", &[]).expect(0);
    for file in files {
        put(&place.local(), file, "local", 5000);
        put(&place.remote(), file, "remote", 1000);
    }
    place
}

/// What a file holds on both sides.
fn both(place: &Place, file: &str) -> (String, String) {
    (
        content(&place.local(), file),
        content(&place.remote(), file),
    )
}

fn on_both(text: &str) -> (String, String) {
    (text.to_owned(), text.to_owned())
}

// Conflicts

#[test]
fn each_letter_resolves_one_conflict() {
    let place = in_conflict(&["a", "b", "c", "d", "e"]);
    Dialog::new()
        .answer("a", "l\n")
        .answer("b", "r\n")
        .answer("c", "o\n")
        .answer("d", "n\n")
        .answer("e", "s\n")
        .with(&place, &["sync", "local", "remote"])
        .expect(0);
    assert_eq!(both(&place, "a"), on_both("local"));
    assert_eq!(both(&place, "b"), on_both("remote"));
    assert_eq!(both(&place, "c"), on_both("local"));
    assert_eq!(both(&place, "d"), on_both("remote"));
    assert_eq!(both(&place, "e"), ("local".to_owned(), "remote".to_owned()));
}

#[test]
fn a_capital_letter_holds_for_all_that_follow() {
    for (letter, expected) in [
        ("L", on_both("local")),
        ("R", on_both("remote")),
        ("O", on_both("local")),
        ("N", on_both("remote")),
        ("S", ("local".to_owned(), "remote".to_owned())),
    ] {
        let place = in_conflict(&["a", "b", "d/c"]);
        let ended = Dialog::new()
            .answer("a", "s\n")
            .answer("b", &format!("{letter}\n"))
            .with(&place, &["sync", "local", "remote"])
            .expect(0);
        assert_eq!(ended.stdout.matches(" ? ").count(), 2, "{ended}");
        assert_eq!(both(&place, "b"), expected, "{letter}");
        assert_eq!(both(&place, "d/c"), expected, "{letter}");
    }
}

#[test]
fn the_question_shows_both_files() {
    let place = in_conflict(&["a"]);
    Dialog::new()
        .expect("was modified on both targets since last sync")
        .expect("When last in step:")
        .expect("Local:")
        .expect("5 bytes")
        .expect("Remote:")
        .expect("6 bytes (newer, larger)")
        .expect(" ? ")
        .send("s\n")
        .with(&place, &["sync", "local", "remote", "--no-color"])
        .expect(0)
        .prints("Use Local, Remote, Older, Newer, Skip, Binary compare, Help ? ");
}

#[test]
fn a_binary_compare_reads_both_files_and_asks_again() {
    let place = in_conflict(&["a", "b", "c"]);
    put(&place.local(), "b", "equal!", 5000);
    put(&place.remote(), "b", "equal!", 1000);
    put(&place.local(), "c", "differ", 5000);
    put(&place.remote(), "c", "DIFFER", 1000);
    let before = place.snapshot();
    Dialog::new()
        .answer("a", "b\n")
        .expect("Files are different (size 5 != 6).")
        .expect(" ? ")
        .send("s\n")
        .answer("b", "b\n")
        .expect("Files are equal.")
        .expect(" ? ")
        .send("s\n")
        .answer("c", "B\n")
        .expect("Files are different.")
        .expect(" ? ")
        .send("s\n")
        .with(&place, &["sync", "local", "remote"])
        .expect(0);
    assert_eq!(place.snapshot(), before);
}

#[test]
fn help_explains_the_letters_and_asks_again() {
    let place = in_conflict(&["a"]);
    Dialog::new()
        .answer("a", "h\n")
        .expect("The following keys are supported:")
        .expect("'l': Use local file")
        .expect("Hold Shift (upper case letters)")
        .expect("Hit Ctrl+C to abort.")
        .expect(" ? ")
        .send("l\n")
        .with(&place, &["sync", "local", "remote"])
        .expect(0);
    assert_eq!(both(&place, "a"), on_both("local"));
}

#[test]
fn what_is_no_answer_is_asked_again() {
    let place = in_conflict(&["a"]);
    let ended = Dialog::new()
        .answer("a", "x\n")
        .expect(" ? ")
        .send("\n")
        .expect(" ? ")
        .send("local\n")
        .expect(" ? ")
        .send("r\n")
        .with(&place, &["sync", "local", "remote"])
        .expect(0);
    assert_eq!(ended.stdout.matches(" ? ").count(), 4, "{ended}");
    assert_eq!(both(&place, "a"), on_both("remote"));
}

#[test]
fn upload_offers_what_upload_can_do() {
    let place = in_conflict(&["a", "b"]);
    Dialog::new()
        .answer("a", "r\n")
        .expect(" ? ")
        .send("l\n")
        .answer("b", "s\n")
        .with(&place, &["upload", "local", "remote", "--no-color"])
        .expect(0)
        .prints("Use Local, Skip, Binary compare, Help ? ");
    assert_eq!(both(&place, "a"), on_both("local"));
    assert_eq!(both(&place, "b"), ("local".to_owned(), "remote".to_owned()));
}

#[test]
fn a_change_against_a_deletion_can_be_settled_either_way() {
    let place = in_conflict(&["a", "b", "other"]);
    put(&place.remote(), "other", "local", 5000);
    fs::remove_file(place.remote().join("a")).unwrap();
    fs::remove_file(place.local().join("b")).unwrap();
    Dialog::new()
        .expect("'a' was modified on local and deleted on remote")
        .expect(" ? ")
        .send("l\n")
        .expect("'b' was deleted on local and modified on remote")
        .expect(" ? ")
        .send("n\n")
        .expect("One of the files was deleted; it is neither older nor newer.")
        .expect(" ? ")
        .send("l\n")
        .with(&place, &["sync", "local", "remote"])
        .expect(0);
    assert_eq!(both(&place, "a"), on_both("local"));
    assert!(!place.remote().join("b").exists());
}

#[test]
fn breaking_off_at_the_question_changes_nothing() {
    // ^C and ^D.
    for key in ["\x03", "\x04"] {
        let place = in_conflict(&["a", "b"]);
        put(&place.local(), "new", "n", 100);
        let before = place.snapshot();
        Dialog::new()
            .answer("a", "l\n")
            .answer("b", key)
            .with(&place, &["sync", "local", "remote"])
            .expect(3)
            .prints("interrupted by the user");
        assert_eq!(place.snapshot(), before);
    }
}

#[test]
fn without_a_terminal_conflicts_are_skipped_and_that_is_said_once() {
    let place = in_conflict(&["a", "b"]);
    let ended = place
        .between("sync", &[])
        .expect(0)
        .says_one_sentence()
        .complains("conflicts are skipped: there is no terminal to ask on; see --resolve");
    assert!(ended.stdout.contains("*?*"), "{ended}");
    assert_eq!(both(&place, "a"), ("local".to_owned(), "remote".to_owned()));
    place.between("sync", &["--report-problems"]).expect(10);
}

// Progress

#[test]
fn a_terminal_shows_progress_and_no_trace_of_it_remains() {
    let place = Place::new("progress");
    put(&place.local(), "big", vec![7; 1_000_000], DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    let arguments = [
        "upload",
        "local",
        &server.url(""),
        "--limit-rate=500k",
        "--no-color",
    ];
    let ended = Dialog::new()
        .columns(100)
        .expect("Copied 0/1 files, ")
        .expect("KiB/s, ETA 0:0")
        .with(&place, &arguments)
        .expect(0)
        .prints("/976.6 KiB, ")
        .hides("guest");
    // Each is written over by what comes next.
    for line in ended.stdout.split('\n') {
        if let Some(at) = line.rfind("Copied ") {
            assert!(
                line[at..].contains('\r'),
                "left on the screen: {line:?} of {ended}"
            );
        }
    }
    assert!(ended.stdout.contains("Wrote 1/1 files"), "{ended}");
}

#[test]
fn progress_is_never_wider_than_the_terminal() {
    let place = Place::new("narrow");
    put(&place.local(), "big", vec![7; 600_000], DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    let arguments = [
        "upload",
        "local",
        &server.url(""),
        "--limit-rate=500k",
        "--no-color",
    ];
    let ended = Dialog::new()
        .columns(30)
        .expect("Copied 0/1 files")
        .with(&place, &arguments)
        .expect(0);
    for line in ended
        .stdout
        .split(['\n', '\r'])
        .filter(|line| line.contains("Copied "))
    {
        let text = line.rsplit("\x1b[").next().unwrap_or(line);
        let text = text
            .split_once(['K', 'm', 'J'])
            .map_or(text, |(_, text)| text);
        assert!(text.len() < 30, "{text:?}");
    }
}

#[test]
fn without_a_terminal_there_is_no_progress_line() {
    let place = Place::new("no-progress");
    put(&place.local(), "big", vec![7; 300_000], DAY_SECS);
    let ended = place.between("upload", &["--limit-rate=500k"]).expect(0);
    assert!(!ended.stdout.contains("Copied"), "{ended}");
    assert!(!ended.stdout.contains(['\r', '\x1b']), "{ended}");
}

#[test]
fn names_cannot_control_the_terminal() {
    let place = Place::new("hostile-name");
    put(&place.local(), "red\x1b[31m\u{202e}name", "x", DAY_SECS);
    let ended = Dialog::new()
        .with(&place, &["upload", "local", "remote", "--no-color"])
        .expect(0);
    assert!(!ended.stdout.contains("\x1b[31m"), "{ended}");
    assert!(!ended.stdout.contains('\u{202e}'), "{ended}");
    assert!(ended.stdout.contains("red\\x1b"), "{ended}");
}

// Passwords

fn locked_server(place: &Place) -> FtpServer {
    FtpServer::start(Config {
        user: Some("me".to_owned()),
        password: Some("hush-hush".to_owned()),
        ..Config::serving(place.remote())
    })
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let place = Place::new("prompt");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = locked_server(&place);
    let host = server.addr().ip().to_string();
    let url = format!("ftp://me@{}/", server.addr());
    Dialog::new()
        .expect(&format!("Password for me@{host}: "))
        .send("hush-hush\n")
        .with(&place, &["upload", "local", &url])
        .expect(0)
        .hides("hush");
    assert_eq!(content(&place.remote(), "a"), "a");
}

#[test]
fn prompt_asks_for_the_user_too_and_overrides_every_other_source() {
    let place = Place::new("prompt-user");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = locked_server(&place);
    let url = format!("ftp://{}/", server.addr());
    Dialog::new()
        .expect("User name for ")
        .send("me\n")
        .expect("Password for me@")
        .send("hush-hush\n")
        .with(&place, &["upload", "local", &url, "--prompt"])
        .expect(0)
        .hides("hush");
}

#[test]
fn breaking_off_at_the_password_gives_the_terminal_back() {
    let place = Place::new("prompt-break");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = locked_server(&place);
    let url = format!("ftp://me@{}/", server.addr());
    Dialog::new()
        .expect("Password for me@")
        .send("hush\x03")
        .with(&place, &["upload", "local", &url])
        .expect(3)
        .hides("hush");
    assert_eq!(server.connections(), 0, "nobody was called");
    assert_eq!(Snapshot::of(&place.remote()).names(), Vec::<&str>::new());
    // A shell that goes on in the same terminal shows what is typed again.
    let script = format!(
        "{} upload local {url}; stty -a | tr ' ' '\\n' | grep -x 'echo;\\?'",
        env!("CARGO_BIN_EXE_coracle")
    );
    Dialog::new()
        .expect("Password for me@")
        .send("\x03")
        .expect("interrupted")
        .with_program(&place, "/bin/bash", &["-c", &script])
        .expect(0)
        .prints("echo");
}

#[test]
fn no_prompt_asks_nothing_even_on_a_terminal() {
    let place = Place::new("no-prompt");
    let server = locked_server(&place);
    let url = format!("ftp://me@{}/", server.addr());
    Dialog::new()
        .with(&place, &["upload", "local", &url, "--no-prompt"])
        .expect(7)
        .prints("no password for me@");
}
