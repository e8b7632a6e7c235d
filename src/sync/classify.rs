//! What became of an entry since it was recorded. Pure; looks at one side only, never at the other side's clock.

use std::fmt;

use crate::replica::{Kind, Stat};
use crate::time::Timestamp;

/// An entry against its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not there, and not recorded.
    Missing,
    /// There, in a directory that was never synced with this peer.
    Existing,
    /// There, and not recorded.
    New,
    /// There, as recorded.
    Unmodified,
    /// There, otherwise than recorded.
    Modified,
    /// Recorded, and not there.
    Deleted,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Existing,
        Self::New,
        Self::Unmodified,
        Self::Modified,
        Self::Deleted,
    ];

    /// Whether there is an entry at all.
    pub const fn is_there(self) -> bool {
        match self {
            Self::Missing | Self::Deleted => false,
            Self::Existing | Self::New | Self::Unmodified | Self::Modified => true,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Existing => "existing",
            Self::New => "new",
            Self::Unmodified => "unmodified",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
        })
    }
}

/// What is remembered of an entry: what it was on both sides when they were last made equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// A file.
    File {
        /// Its size in bytes.
        size: u64,
        /// Its modification time on this side.
        mtime: Timestamp,
        /// When it was recorded.
        recorded_at: Timestamp,
    },
    /// A directory.
    Dir,
}

/// A time of lower precision proves something unchanged only when its span ended this long before that was recorded or
/// sealed, in seconds: the server's clock may lag behind ours, and a change right after would fall into the same minute.
pub const COARSE_MARGIN_SECS: i64 = 15 * 60;

/// What became of an entry. `known` says whether a sync of its directory with this peer ever went through.
///
/// A record of another kind (a file then, a directory now) is no record of this entry.
pub fn classify(stat: Option<&Stat>, baseline: Option<&Baseline>, known: bool) -> Status {
    let Some(stat) = stat else {
        return if baseline.is_some() {
            Status::Deleted
        } else {
            Status::Missing
        };
    };
    match (stat.kind, baseline) {
        (Kind::Dir, Some(Baseline::Dir)) => Status::Unmodified,
        (Kind::File, Some(Baseline::File { size, mtime, .. })) => {
            if stat.size == *size && stat.mtime.is_some_and(|listed| listed.may_be(*mtime)) {
                Status::Unmodified
            } else {
                Status::Modified
            }
        }
        _ if known => Status::New,
        _ => Status::Existing,
    }
}

/// Whether this is a file whose time was told only to the minute or day.
pub fn is_coarse(stat: &Stat) -> bool {
    stat.kind == Kind::File && stat.exact_mtime().is_none()
}

/// Whether the listed time is too coarse to classify the entry by: it may be the recorded one, or a change made
/// within the same minute or day.
pub fn needs_exact_time(stat: &Stat, baseline: Option<&Baseline>) -> bool {
    let Some(listed) = stat.mtime.filter(|mtime| !mtime.precision.is_exact()) else {
        return false;
    };
    match baseline {
        Some(Baseline::File {
            size,
            mtime,
            recorded_at,
        }) => {
            let proven = listed.may_be(*mtime)
                && listed.latest().plus_secs(COARSE_MARGIN_SECS) < *recorded_at;
            // A file of another size or from another day is modified whatever the exact time; that time is
            // needed all the same, because it is what will be compared and recorded.
            !(proven && stat.size == *size)
        }
        Some(Baseline::Dir) | None => stat.kind == Kind::File,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::{Mtime, Precision};

    const RECORD: Baseline = Baseline::File {
        size: 10,
        mtime: Timestamp::from_secs(1_000_000),
        recorded_at: Timestamp::from_secs(2_000_000),
    };

    fn file(size: u64, secs: i64) -> Stat {
        Stat::file(size, Timestamp::from_secs(secs))
    }

    #[test]
    fn a_file_in_every_cell_of_the_status_table() {
        assert_eq!(
            classify(Some(&file(10, 1_000_002)), Some(&RECORD), true),
            Status::Unmodified
        );
        assert_eq!(
            classify(Some(&file(10, 1_000_003)), Some(&RECORD), true),
            Status::Modified
        );
        assert_eq!(
            classify(Some(&file(11, 1_000_000)), Some(&RECORD), true),
            Status::Modified
        );
        assert_eq!(
            classify(Some(&file(10, 1_000_000)), None, true),
            Status::New
        );
        assert_eq!(
            classify(Some(&file(10, 1_000_000)), None, false),
            Status::Existing
        );
        assert_eq!(classify(None, Some(&RECORD), true), Status::Deleted);
        assert_eq!(classify(None, None, true), Status::Missing);
        assert_eq!(classify(None, None, false), Status::Missing);
    }

    #[test]
    fn a_directory_in_every_cell_of_the_status_table() {
        assert_eq!(
            classify(Some(&Stat::dir()), Some(&Baseline::Dir), true),
            Status::Unmodified
        );
        assert_eq!(classify(Some(&Stat::dir()), None, true), Status::New);
        assert_eq!(classify(Some(&Stat::dir()), None, false), Status::Existing);
        assert_eq!(classify(None, Some(&Baseline::Dir), true), Status::Deleted);
    }

    #[test]
    fn a_record_of_another_kind_is_none() {
        assert_eq!(
            classify(Some(&Stat::dir()), Some(&RECORD), true),
            Status::New
        );
        assert_eq!(
            classify(Some(&file(10, 1_000_000)), Some(&Baseline::Dir), true),
            Status::New
        );
    }

    #[test]
    fn a_minute_long_past_proves_and_a_fresh_one_does_not() {
        let listed = |at: i64| Stat {
            kind: Kind::File,
            size: 10,
            mtime: Some(Mtime {
                at: Timestamp::from_secs(at),
                precision: Precision::Minute,
            }),
        };
        let record = |mtime: i64, recorded_at: i64| Baseline::File {
            size: 10,
            mtime: Timestamp::from_secs(mtime),
            recorded_at: Timestamp::from_secs(recorded_at),
        };
        assert!(!needs_exact_time(&listed(600), Some(&record(630, 100_000))));
        assert!(
            needs_exact_time(&listed(600), Some(&record(630, 640))),
            "changed in the minute of the sync"
        );
        assert!(
            needs_exact_time(&listed(600), Some(&record(900, 100_000))),
            "another time"
        );
        assert!(needs_exact_time(&listed(600), None));
        assert!(
            !needs_exact_time(&file(10, 600), None),
            "told exactly already"
        );
    }
}
