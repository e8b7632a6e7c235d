//! The lock file in the remote root, as pyftpsync writes it: a sign for runs from other machines.
//!
//! Runs on this machine are kept apart by a lock of the kernel; this one can only be advice, because no FTP server can
//! create a file atomically. It is written when there is something to write, looked at again to see who won, refreshed
//! on long runs and removed at the end.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::error::{ErrorKind, Result};
use crate::path::{Escaped, LOCK_NAME, Name, RelPath};
use crate::sync::store;
use crate::target::{self, Removal, Target};
use crate::time::Timestamp;

/// A lock that was not refreshed for this long belongs to a run that died.
const STALE_AFTER_SECS: i64 = 3600;

/// A lock is refreshed this often: several times within the time after which it counts as stale.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

/// More than any lock file needs.
const MAX_BYTES: usize = 64 * 1024;

/// A lock that this run holds.
#[derive(Debug)]
pub struct RemoteLock {
    holder: String,
    written: Instant,
}

#[derive(Debug, Deserialize)]
struct Content {
    #[serde(default)]
    lock_time: f64,
    #[serde(default)]
    lock_holder: Option<String>,
}

impl RemoteLock {
    /// Fails with `Locked` when a fresh lock of another run is there.
    pub fn check(remote: &mut dyn Target, holder: &str, now: Timestamp) -> Result<()> {
        let refusal = load(remote)?.and_then(|content| refusal(&content, holder, now));
        match refusal {
            Some(refusal) => Err(ErrorKind::Locked(refusal).into()),
            None => Ok(()),
        }
    }

    /// Removes the lock if an earlier run of this holder was killed before it could do so.
    pub fn release_left(remote: &mut dyn Target, holder: &str) -> Result<()> {
        match load(remote)? {
            Some(content) if content.lock_holder.as_deref() == Some(holder) => {
                Self::release(remote)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the lock. Fails with `Locked` when another run has it.
    pub fn take(remote: &mut dyn Target, holder: &str, now: Timestamp) -> Result<()> {
        Self::check(remote, holder, now)?;
        write(remote, holder, now)?;
        // Whoever wrote last has it; the other one sees that here and leaves.
        Self::check(remote, holder, now)
    }

    /// The lock just taken.
    pub fn held_by(holder: &str) -> Self {
        Self {
            holder: holder.to_owned(),
            written: Instant::now(),
        }
    }

    /// Whether it is time to refresh the lock.
    pub fn is_due(&self) -> bool {
        self.written.elapsed() >= REFRESH_INTERVAL
    }

    /// Who holds it.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Notes that the lock was refreshed.
    pub fn refreshed(&mut self) {
        self.written = Instant::now();
    }

    /// Removes the lock.
    pub fn release(remote: &mut dyn Target) -> Result<()> {
        remote
            .remove(&[Removal::File(path())])
            .into_iter()
            .collect()
    }
}

/// Writes the lock file, for the first time or anew.
pub fn write(remote: &mut dyn Target, holder: &str, now: Timestamp) -> Result<()> {
    let content = serde_json::json!({ "lock_time": now.as_secs_f64(), "lock_holder": holder });
    store::write_own(remote, &path(), content.to_string().as_bytes())
}

/// The lock that is there. What is not a lock file locks nothing.
fn load(remote: &mut dyn Target) -> Result<Option<Content>> {
    let file = target::load(remote, &path(), MAX_BYTES)?;
    Ok(file.and_then(|file| serde_json::from_slice(&file).ok()))
}

fn path() -> RelPath {
    RelPath::root().join(Name::new(LOCK_NAME).expect("our own names are good names"))
}

/// Why the lock is to be honoured; none where it is stale or this run's own.
fn refusal(content: &Content, holder: &str, now: Timestamp) -> Option<String> {
    let age_secs = now.as_secs() - Timestamp::from_secs_f64(content.lock_time)?.as_secs();
    let is_own = content.lock_holder.as_deref() == Some(holder);
    // A lock from the future was written by a machine whose clock is ahead of ours.
    if is_own || age_secs.abs() > STALE_AFTER_SECS {
        return None;
    }
    let who = content
        .lock_holder
        .as_deref()
        .unwrap_or("another program, perhaps pyftpsync");
    Some(format!(
        "the remote directory is locked by {} since {} s; if that run died, the lock counts as stale {} s from now, \
         or remove {} there",
        Escaped(who.as_bytes()),
        age_secs.max(0),
        STALE_AFTER_SECS - age_secs.abs(),
        Escaped(LOCK_NAME),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(lock_time: f64, lock_holder: Option<&str>) -> bool {
        let content = Content {
            lock_time,
            lock_holder: lock_holder.map(str::to_owned),
        };
        refusal(&content, "me", Timestamp::from_secs(1_000_000)).is_some()
    }

    #[test]
    fn honours_a_fresh_lock_of_another() {
        assert!(refused(999_000.0, Some("you")));
        assert!(refused(999_000.0, None), "pyftpsync names no holder");
        assert!(refused(1_000_900.0, Some("you")), "a clock that is ahead");
    }

    #[test]
    fn breaks_a_stale_lock_and_its_own() {
        assert!(!refused(996_000.0, Some("you")));
        assert!(!refused(999_000.0, Some("me")));
    }
}
