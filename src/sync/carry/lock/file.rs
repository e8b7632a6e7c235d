//! pyftpsync's lock file: that of another counts, and ours stands for the lock where no directory can be made.

use super::{Claim, Cleared, STALE_AFTER_SECS, Sign, locked_by};
use crate::error::{ErrorKind, Result};
use crate::path::{LOCK_NAME, Name, PartOwner, RelPath};
use crate::replica::{self, Replica};
use crate::sync::record::json;
use crate::time::Timestamp;

/// More than any lock file needs.
const MAX_BYTES: usize = 64 * 1024;

/// A lock file. pyftpsync's names no holder.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) lock_time: Timestamp,
    pub(super) lock_holder: Option<String>,
}

/// Writes the lock file, for the first time or anew.
pub(super) fn write(remote: &mut dyn Replica, holder: &str, now: Timestamp) -> Result<()> {
    let mut content = b"{\"lock_time\":".to_vec();
    json::write_secs(now, &mut content);
    content.extend_from_slice(b",\"lock_holder\":");
    json::write_bytes(holder.as_bytes(), &mut content);
    content.push(b'}');
    let owner = PartOwner::of(holder.as_bytes(), b"");
    replica::save(remote, &path(), &content, owner)
}

/// The lock file that is there. What is none locks nothing.
pub(super) fn load(remote: &mut dyn Replica) -> Result<Option<Content>> {
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

pub(super) fn path() -> RelPath {
    RelPath::root().join(Name::new(LOCK_NAME).expect("our own names are good names"))
}

impl Claim<'_> {
    pub(super) fn take_file(&self, remote: &mut dyn Replica) -> Result<()> {
        write(remote, self.holder, self.now)?;
        // Whoever wrote last has it; the other one sees that here and leaves.
        let content = load(remote)?;
        match content.and_then(|content| self.refusal(&content)) {
            Some(refusal) => Err(ErrorKind::Locked(refusal).into()),
            None => Ok(()),
        }
    }

    pub(super) fn clear_file(&self, remote: &mut dyn Replica) -> Result<Option<Cleared>> {
        if replica::look_up_one(remote, &path())?.is_none() {
            return Ok(None);
        }
        let content = load(remote)?;
        self.release(remote, &Sign::File)?;
        Ok(Some(match content {
            Some(content) => Cleared {
                age_secs: Some(self.now.as_secs() - content.lock_time.as_secs()),
                is_fresh: self.refusal(&content).is_some(),
                holder: content.lock_holder.map(|holder| holder.into_bytes().into()),
            },
            // It is none, and locked nothing.
            None => Cleared {
                age_secs: None,
                is_fresh: false,
                holder: None,
            },
        }))
    }

    /// Honours the lock file of another; one that is stale, our own, or to be broken is removed, and told.
    pub(super) fn face_file(&self, remote: &mut dyn Replica) -> Result<Option<String>> {
        let Some(content) = load(remote)? else {
            return Ok(None);
        };
        let refusal = self.refusal(&content);
        let told = match refusal {
            Some(refusal) if !self.breaks => return Err(ErrorKind::Locked(refusal).into()),
            Some(_) => Some("the remote lock of another run was broken (--break-lock)".to_owned()),
            None if content.lock_holder.as_deref() == Some(self.holder) => None,
            None => Some("the remote lock of a run that died was broken".to_owned()),
        };
        self.release(remote, &Sign::File)?;
        Ok(told)
    }

    /// Why a lock file is to be honoured; none where it is stale or this run's own. Its time is that of the machine that wrote
    /// it: pyftpsync takes no other.
    pub(super) fn refusal(&self, content: &Content) -> Option<String> {
        let age_secs = self.now.as_secs() - content.lock_time.as_secs();
        let is_own = content.lock_holder.as_deref() == Some(self.holder);
        // A lock from the future was written by a machine whose clock is ahead of ours.
        if is_own || age_secs.abs() > STALE_AFTER_SECS {
            return None;
        }
        let who = content
            .lock_holder
            .as_deref()
            .unwrap_or("another program, perhaps pyftpsync");
        Some(locked_by(who.as_bytes(), Some(age_secs)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::CLAIM;
    use super::*;

    fn refused(lock_time: i64, lock_holder: Option<&str>) -> bool {
        let content = Content {
            lock_time: Timestamp::from_secs(lock_time),
            lock_holder: lock_holder.map(str::to_owned),
        };
        CLAIM.refusal(&content).is_some()
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
