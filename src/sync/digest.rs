//! One number for all that a directory held when it was last synced: when one side has deleted the directory, and its
//! metadata with it, the other side can still be told to be untouched. Pure.

use crate::path::{Fnv64, Name};
use crate::sync::metadata::{RecordKind, Records};

/// The digest of the directory whose records these are; none as long as that of a subdirectory is unknown.
pub fn of_records(records: &Records) -> Option<u64> {
    let mut hash = SubtreeHash::new();
    for record in records.iter() {
        match record.what {
            RecordKind::File {
                size,
                mtime,
                remote_mtime,
            } => hash.file(record.name, size, remote_mtime.unwrap_or(mtime).as_secs()),
            RecordKind::Dir { digest } => hash.dir(record.name, digest?),
        }
    }
    Some(hash.finish())
}

/// A directory's digest in the making. Entries come in the order of their names' bytes, without those that are never
/// synced.
#[derive(Debug, Clone, Default)]
pub struct SubtreeHash(Fnv64);

impl SubtreeHash {
    /// An empty directory's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a file: its size in bytes and the whole second of its mtime, as the remote side lists it.
    pub fn file(&mut self, name: Name<'_>, size: u64, remote_mtime_secs: i64) {
        self.entry(b'f', name);
        self.0.update(&size.to_le_bytes());
        self.0.update(&remote_mtime_secs.to_le_bytes());
    }

    /// Takes in a directory with its own digest.
    pub fn dir(&mut self, name: Name<'_>, digest: u64) {
        self.entry(b'd', name);
        self.0.update(&digest.to_le_bytes());
    }

    /// The digest of all that was taken in.
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn entry(&mut self, kind: u8, name: Name<'_>) {
        self.0.update(&[kind]);
        self.0.update(name.as_bytes());
        // No name holds a NUL, so a name cannot run into what follows it.
        self.0.update(&[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Location;
    use crate::sync::metadata::Metadata;
    use crate::sync::peer::PeerKey;
    use crate::time::Timestamp;

    fn digest(entries: &[(&str, RecordKind)]) -> Option<u64> {
        let key = PeerKey::of(&Location::Path("/peer".into()));
        let mut metadata = Metadata::empty(&key);
        for (name, what) in entries {
            let name = Name::new(name.as_bytes()).unwrap();
            metadata.set_record(name, *what, Timestamp::from_secs(1));
        }
        of_records(metadata.records())
    }

    fn file(size: u64, mtime: f64, remote: Option<i64>) -> RecordKind {
        RecordKind::File {
            size,
            mtime: Timestamp::from_secs_f64(mtime).unwrap(),
            remote_mtime: remote.map(Timestamp::from_secs),
        }
    }

    const fn dir(digest: Option<u64>) -> RecordKind {
        RecordKind::Dir { digest }
    }

    #[test]
    fn a_remote_walk_finds_the_digest_of_the_records() {
        let name = |text: &'static str| Name::new(text.as_bytes()).unwrap();
        let mut walked = SubtreeHash::new();
        walked.file(name("a"), 5, 100);
        walked.dir(name("d"), 7);
        walked.file(name("z"), 6, 3_700);
        let recorded = [
            ("z", file(6, 100.0, Some(3_700))),
            ("a", file(5, 100.9, None)),
            ("d", dir(Some(7))),
        ];
        assert_eq!(digest(&recorded), Some(walked.finish()));
    }

    #[test]
    fn any_change_changes_it() {
        let variants = [
            digest(&[]),
            digest(&[("a", file(5, 100.0, None))]),
            digest(&[("b", file(5, 100.0, None))]),
            digest(&[("a", file(6, 100.0, None))]),
            digest(&[("a", file(5, 101.0, None))]),
            digest(&[("a", dir(Some(5)))]),
            digest(&[("a", dir(Some(6)))]),
            digest(&[("a", file(5, 100.0, None)), ("b", file(5, 100.0, None))]),
        ];
        for (place, one) in variants.iter().enumerate() {
            assert!(one.is_some());
            assert!(!variants[place + 1..].contains(one), "{place}");
        }
    }

    #[test]
    fn it_is_unknown_as_long_as_a_subdirectory_has_none() {
        assert_eq!(digest(&[("a", dir(None))]), None);
    }
}
