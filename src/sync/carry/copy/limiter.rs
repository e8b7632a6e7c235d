//! The rate of all connections together.

use std::num::NonZeroU64;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::sync::workers::Stop;

/// Keeps all connections together below a rate, and notices when the run is to stop.
#[derive(Debug)]
pub struct Limiter {
    bytes_per_sec: Option<NonZeroU64>,
    free_at: Mutex<Instant>,
}

/// How long a worker sleeps at most before it looks whether the run is to stop.
const LONGEST_NAP: Duration = Duration::from_millis(100);

impl Limiter {
    /// No more than that many bytes a second; none for no limit.
    pub fn new(bytes_per_sec: Option<NonZeroU64>) -> Self {
        Self {
            bytes_per_sec,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `bytes` more may have been sent.
    pub(super) fn take(&self, bytes: u64, stop: Stop<'_>) -> Result<()> {
        stop.check()?;
        let Some(rate) = self.bytes_per_sec else {
            return Ok(());
        };
        let span = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate);
        let until = {
            let mut free_at = self.free_at.lock().expect("nobody panics while counting");
            *free_at = (*free_at).max(Instant::now()) + span;
            *free_at
        };
        while let Some(rest) = until.checked_duration_since(Instant::now()) {
            stop.check()?;
            thread::sleep(rest.min(LONGEST_NAP));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limiter_shares_one_rate() {
        let stop = Stop {
            asked: &|| false,
            deadline: None,
        };
        let limiter = Limiter::new(NonZeroU64::new(1_000_000));
        let start = Instant::now();
        for _ in 0..4 {
            limiter.take(10_000, stop).unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(39));
    }

    #[test]
    fn the_limiter_does_not_outsleep_the_user() {
        let stop = Stop {
            asked: &|| true,
            deadline: None,
        };
        assert!(
            Limiter::new(NonZeroU64::new(1))
                .take(1_000_000, stop)
                .is_err()
        );
    }
}
