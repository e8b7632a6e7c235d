//! What a program takes: its time, the processor's, and the most memory.

use std::fs;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Between two looks at the high-water mark of memory, which never falls.
const LOOK_MILLIS: u64 = 2;

/// What a run took.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    pub(super) peak_kib: u64,
}

/// Runs a program to its end. No other may be waited for meanwhile.
pub(super) fn watch(command: &mut Command) -> (ExitStatus, Taken) {
    let cpu = cpu_of_children();
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .expect("the program is there");
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = most_memory(child.id()).unwrap_or(peak_kib);
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        thread::sleep(Duration::from_millis(LOOK_MILLIS));
    };
    let taken = Taken {
        wall: started.elapsed(),
        cpu: cpu_of_children() - cpu,
        peak_kib,
    };
    (status, taken)
}

/// The CPU time of all processes that were waited for.
fn cpu_of_children() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it needs no rights");
    let micros = (used.user_time() + used.system_time()).num_microseconds();
    Duration::from_micros(micros.try_into().expect("time goes forward"))
}

/// The most memory that a process had so far, in KiB; none when it has ended.
fn most_memory(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
