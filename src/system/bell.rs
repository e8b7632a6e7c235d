//! Waiting for another thread.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Wakes one waiting thread, which may wait for a limited time.
///
/// Timed waits of std end at once on 32-bit machines whose C library has 64-bit times, and burn a whole core; poll(2) waits.
#[derive(Debug)]
pub struct Bell {
    ear: io::PipeReader,
    string: io::PipeWriter,
    has_rung: AtomicBool,
}

impl Bell {
    /// A bell that has not rung.
    pub fn new() -> io::Result<Self> {
        let (ear, string) = io::pipe()?;
        Ok(Self {
            ear,
            string,
            has_rung: AtomicBool::new(false),
        })
    }

    /// Wakes who waits, or who will wait next.
    pub fn ring(&self) {
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            // At most one byte is in the pipe, so that this never waits; both ends live as long as the bell.
            let _ = (&self.string).write(&[0]);
        }
    }

    /// Waits until it rings, or has rung since the last wait; no longer than `span`, if there is one.
    pub fn wait(&self, span: Option<Duration>) {
        let mut heard = [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)];
        let timeout = span.map_or(PollTimeout::NONE, |span| {
            PollTimeout::try_from(span).unwrap_or(PollTimeout::MAX)
        });
        // A signal ends the wait early, and the caller looks around.
        if poll(&mut heard, timeout).is_ok_and(|count| count > 0) {
            let _ = (&self.ear).read(&mut [0]);
            self.has_rung.store(false, Ordering::Release);
        }
    }
}
