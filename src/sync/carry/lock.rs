//! The lock file in the remote root, as pyftpsync writes it: a sign for runs from other machines.
//!
//! Runs on this machine are kept apart by a lock of the kernel; this one can only be advice, because no FTP server can
//! create a file atomically. It is written when there is something to write, looked at again to see who won, refreshed
//! on long runs and removed at the end.

use std::time::{Duration, Instant};

use crate::error::{ErrorKind, Result};
use crate::path::{Escaped, LOCK_NAME, Name, RelPath};
use crate::replica::{self, Removal, Replica};
use crate::sync::record::json;
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

/// A lock file. pyftpsync's names no holder.
#[derive(Debug)]
struct Content {
    lock_time: Timestamp,
    lock_holder: Option<String>,
}

impl RemoteLock {
    /// Fails with `Locked` when a fresh lock of another run is there.
    pub fn check(remote: &mut dyn Replica, holder: &str, now: Timestamp) -> Result<()> {
        let refusal = load(remote)?.and_then(|content| refusal(&content, holder, now));
        match refusal {
            Some(refusal) => Err(ErrorKind::Locked(refusal).into()),
            None => Ok(()),
        }
    }

    /// Removes the lock if an earlier run of this holder was killed before it could do so.
    pub fn release_left(remote: &mut dyn Replica, holder: &str) -> Result<()> {
        match load(remote)? {
            Some(content) if content.lock_holder.as_deref() == Some(holder) => {
                Self::release(remote)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the lock. Fails with `Locked` when another run has it.
    pub fn take(remote: &mut dyn Replica, holder: &str, now: Timestamp) -> Result<()> {
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
    pub fn release(remote: &mut dyn Replica) -> Result<()> {
        remote
            .remove(&[Removal::File(path())])
            .into_iter()
            .collect()
    }
}

/// Writes the lock file, for the first time or anew.
pub fn write(remote: &mut dyn Replica, holder: &str, now: Timestamp) -> Result<()> {
    let mut content = b"{\"lock_time\":".to_vec();
    json::write_secs(now, &mut content);
    content.extend_from_slice(b",\"lock_holder\":");
    json::write_bytes(holder.as_bytes(), &mut content);
    content.push(b'}');
    replica::save(remote, &path(), &content)
}

/// The lock that is there. What is not a lock file locks nothing.
fn load(remote: &mut dyn Replica) -> Result<Option<Content>> {
    let file = replica::load(remote, &path(), MAX_BYTES)?;
    Ok(file.and_then(|file| parse(&file)))
}

/// None for what is no lock file.
fn parse(file: &[u8]) -> Option<Content> {
    let mut content = Content {
        lock_time: Timestamp::from_secs(0),
        lock_holder: None,
    };
    let mut is_good = true;
    json::each_field(
        std::str::from_utf8(file).ok()?,
        &mut |key, value| match key {
            b"lock_time" => match json::parse_secs(value) {
                Some(time) => content.lock_time = time,
                None => is_good = false,
            },
            b"lock_holder" => {
                content.lock_holder =
                    json::parse_bytes(value).and_then(|holder| String::from_utf8(holder).ok());
            }
            _ => {}
        },
    )
    .ok()?;
    is_good.then_some(content)
}

fn path() -> RelPath {
    RelPath::root().join(Name::new(LOCK_NAME).expect("our own names are good names"))
}

/// Why the lock is to be honoured; none where it is stale or this run's own.
fn refusal(content: &Content, holder: &str, now: Timestamp) -> Option<String> {
    let age_secs = now.as_secs() - content.lock_time.as_secs();
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

    fn refused(lock_time: i64, lock_holder: Option<&str>) -> bool {
        let content = Content {
            lock_time: Timestamp::from_secs(lock_time),
            lock_holder: lock_holder.map(str::to_owned),
        };
        refusal(&content, "me", Timestamp::from_secs(1_000_000)).is_some()
    }

    #[test]
    fn honours_a_fresh_lock_of_another() {
        assert!(refused(999_000, Some("you")));
        assert!(refused(999_000, None), "pyftpsync names no holder");
        assert!(refused(1_000_900, Some("you")), "a clock that is ahead");
    }

    #[test]
    fn reads_the_lock_of_pyftpsync_and_nothing_else() {
        let of_pyftpsync = parse(br#"{"lock_time": 1700000000.25, "lock_holder": "h"}"#).unwrap();
        let time = Timestamp::from_nanos(1_700_000_000_250_000_000);
        assert_eq!(of_pyftpsync.lock_time, time);
        assert_eq!(of_pyftpsync.lock_holder.as_deref(), Some("h"));
        let bare = parse(br#"{"lock_holder": null}"#).unwrap();
        assert_eq!(bare.lock_time, Timestamp::from_secs(0));
        assert_eq!(bare.lock_holder, None);
        for text in [
            "",
            "[]",
            "{\"lock_time\": \"now\"}",
            "{\"lock_time\": 1",
            "\u{0}",
        ] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn breaks_a_stale_lock_and_its_own() {
        assert!(!refused(996_000, Some("you")));
        assert!(!refused(999_000, Some("me")));
    }
}
