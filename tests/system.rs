//! Signals, core dumps and the terminal: each in a process of its own, since they belong to a whole process.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio, exit};

use coracle::system;
use nix::sys::signal::{Signal, raise};

/// In the process that a test starts: the part it plays there.
const PART: &str = "CORACLE_TEST_PART";

#[test]
fn the_first_signal_is_remembered_and_the_second_one_ends_the_process() {
    if plays("signals") {
        system::watch_signals().unwrap();
        assert_eq!(system::stopped_by(), None);
        raise(Signal::SIGINT).unwrap();
        assert_eq!(system::stopped_by(), Some("SIGINT"));
        raise(Signal::SIGTERM).unwrap();
        exit(0);
    }
    let name = "the_first_signal_is_remembered_and_the_second_one_ends_the_process";
    assert_eq!(play("signals", name).signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn an_ignored_signal_stays_ignored() {
    if plays("ignored") {
        system::watch_signals().unwrap();
        raise(Signal::SIGHUP).unwrap();
        exit(if system::stopped_by().is_none() { 7 } else { 1 });
    }
    let name = "an_ignored_signal_stays_ignored";
    let inner = command("ignored", name);
    let mut nohup = Command::new("sh");
    nohup
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(PART, "ignored")
        .stdout(Stdio::null());
    assert_eq!(nohup.status().unwrap().code(), Some(7));
}

#[test]
fn a_crash_leaves_no_core() {
    if plays("core") {
        system::forbid_core_dumps();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let fields: Vec<&str> = core.unwrap().split_ascii_whitespace().collect();
        assert_eq!(fields[4..6], ["0", "0"]);
        exit(7);
    }
    assert_eq!(play("core", "a_crash_leaves_no_core").code(), Some(7));
}

#[test]
fn a_typed_password_is_not_shown() {
    let name = "a_typed_password_is_not_shown";
    if plays("prompt") {
        let typed = system::prompt_hidden(QUESTION).unwrap();
        exit(if typed.as_deref() == Some(b"sesame") {
            7
        } else {
            1
        });
    }
    let (shown, status) = at_a_terminal("prompt", name, b"sesame\n");
    assert_eq!(status.code(), Some(7), "{shown:?}");
    assert!(!shown.contains("sesame"), "{shown:?}");
}

#[test]
fn an_interrupted_question_ends_and_the_terminal_shows_again_what_is_typed() {
    let name = "an_interrupted_question_ends_and_the_terminal_shows_again_what_is_typed";
    if plays("interrupt") {
        use nix::sys::termios::{LocalFlags, tcgetattr};
        system::watch_signals().unwrap();
        let error = system::prompt_hidden(QUESTION).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
        let terminal = tcgetattr(std::io::stdin()).unwrap();
        assert!(terminal.local_flags.contains(LocalFlags::ECHO));
        exit(if system::stopped_by() == Some("SIGINT") {
            7
        } else {
            1
        });
    }
    // ^C
    let (shown, status) = at_a_terminal("interrupt", name, b"ses\x03");
    assert_eq!(status.code(), Some(7), "{shown:?}");
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    if plays("no terminal") {
        assert_eq!(system::prompt_hidden(QUESTION).unwrap(), None);
        exit(7);
    }
    let inner = command("no terminal", "without_a_terminal_nothing_is_asked");
    let status = in_a_session(&inner, &["--wait"], "no terminal").status();
    assert_eq!(status.unwrap().code(), Some(7));
}

const QUESTION: &str = "Password? ";

/// Runs one test of this program at a terminal of its own, answers its question, and gives what the terminal showed.
fn at_a_terminal(part: &str, test: &str, answer: &[u8]) -> (String, ExitStatus) {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let inner = command(part, test);
    let mut child = in_a_session(&inner, &["--ctty", "--wait"], part)
        .stdin(terminal.slave)
        .spawn()
        .unwrap();
    let mut ours = File::from(terminal.master);
    let mut shown = Vec::new();
    let mut answered = false;
    let mut buffer = [0; 256];
    // When the other end is closed, reading fails.
    while let Ok(count @ 1..) = ours.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
        if !answered && String::from_utf8_lossy(&shown).contains(QUESTION) {
            ours.write_all(answer).unwrap();
            answered = true;
        }
    }
    (
        String::from_utf8_lossy(&shown).into_owned(),
        child.wait().unwrap(),
    )
}

/// That command in a session of its own, so without the terminal from which the tests may have been started.
fn in_a_session(inner: &Command, options: &[&str], part: &str) -> Command {
    let mut command = Command::new("setsid");
    command
        .args(options)
        .arg(inner.get_program())
        .args(inner.get_args())
        .env(PART, part)
        .stdout(Stdio::null());
    command
}

#[test]
fn a_pipe_has_no_columns() {
    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(system::terminal_columns(&reader), None);
}

fn plays(part: &str) -> bool {
    std::env::var(PART).is_ok_and(|played| played == part)
}

/// Runs one test of this program in a new process, where it plays that part.
fn play(part: &str, test: &str) -> ExitStatus {
    command(part, test).status().unwrap()
}

fn command(part: &str, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    // One thread: a raised signal must meet the thread that raises it, and no other test.
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .stdout(Stdio::null());
    command
}
