//! What became of an entry since it was recorded. Pure; looks at one side only, never at the other side's clock.

use std::fmt;

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
