//! The end of a run, for those who wait.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Phase};

/// No wait is longer than this without a look at whether the run is to end.
pub(super) const SLICE: Duration = Duration::from_millis(500);

/// Once the run is to end, what is being waited for may still come: a server that answers keeps its session for the
/// cleaning up. With [`SLICE`] it makes less than the two seconds that a person waits gladly.
const GRACE: Duration = Duration::from_secs(1);

/// Who ends the run, if it is to end.
type Check = dyn Fn() -> Option<&'static str> + Send + Sync;

/// Tells those who wait on the network that the run is to end. The default never does.
#[derive(Clone, Default)]
pub struct Halt(Option<Arc<Check>>);

impl Halt {
    /// Asks `check` again and again: it says who ends the run, if somebody does.
    pub fn new(check: impl Fn() -> Option<&'static str> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(check)))
    }

    fn by(&self) -> Option<&'static str> {
        self.0.as_ref().and_then(|check| check())
    }
}

impl fmt::Debug for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Halt")
    }
}

/// One who waits.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    halt: Halt,
    /// When the run was first seen to end.
    since: Option<Instant>,
}

impl Waiter {
    pub(super) const fn new(halt: Halt) -> Self {
        Self { halt, since: None }
    }

    /// Fails some time after the run was to end.
    pub(super) fn check(&mut self) -> io::Result<()> {
        let Some(by) = self.halt.by() else {
            self.since = None;
            return Ok(());
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() < GRACE {
            return Ok(());
        }
        Err(io::Error::other(Halted(by)))
    }
}

#[derive(Debug)]
struct Halted(&'static str);

impl fmt::Display for Halted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}", self.0)
    }
}

impl std::error::Error for Halted {}

/// What the failure of a wait for `phase` is to the user.
pub(super) fn failure(error: io::Error, phase: Phase) -> Error {
    if let Some(Halted(by)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return ErrorKind::Interrupted(by).into();
    }
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ErrorKind::Timeout(phase).into(),
        _ => ErrorKind::Network(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_ends_leaves_a_moment_and_no_more() {
        let mut waiter = Waiter::new(Halt::new(|| Some("the user")));
        let begun = Instant::now();
        while waiter.check().is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(begun.elapsed() >= GRACE && begun.elapsed() < 2 * GRACE);
        let error = failure(waiter.check().unwrap_err(), Phase::Data);
        assert!(matches!(error.kind(), ErrorKind::Interrupted("the user")));
        assert!(Waiter::new(Halt::default()).check().is_ok());
    }
}
