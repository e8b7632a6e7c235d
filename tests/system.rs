//! Signals, core dumps and the terminal: each in a process of its own, since they belong to a whole process.

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
