//! What is remembered: a record for each entry, facts for each directory, and how a run changes them. No I/O.

use crate::path::{Name, RelPath};
use crate::replica::{Kind, Mtime, Stat};
use crate::side::{Side, Sides};
use crate::time::Timestamp;

/// What one side showed of a file when it was last in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Its size in bytes.
    pub size: u64,
    /// Its time, as exactly as that side told it; none where it told none.
    pub mtime: Option<Mtime>,
    /// What it held, where somebody looked: the short form of its digest, see [`Digest::short`](crate::replica::Digest::short).
    pub digest: Option<u64>,
}

impl Shown {
    /// What a side says of a file now.
    pub const fn of(stat: &Stat) -> Self {
        Self {
            size: stat.size,
            mtime: stat.mtime,
            digest: None,
        }
    }

    /// Whether that side still shows this: the same size, and times that are equal within the coarser precision. Where
    /// either has no time, the size decides.
    pub fn is_same(&self, stat: &Stat) -> bool {
        stat.is_as_shown(self.size, self.mtime)
    }
}

/// What a recorded entry was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A file, as each side showed it.
    File(Sides<Shown>),
    /// A directory. What is in it stands in a block of its own.
    Dir,
}

impl What {
    /// What kind of entry it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::File(_) => Kind::File,
            Self::Dir => Kind::Dir,
        }
    }
}

/// One entry's record, borrowed from its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its name; on the local side, where the two differ.
    pub name: Name<'a>,
    /// Its name on the remote side, where that is another one.
    pub remote_name: Option<Name<'a>>,
    /// What it was.
    pub what: What,
    /// By what each side knows it: the local inode, and a hash of the remote `unique` fact. 0 where that is not known.
    pub ids: Sides<u64>,
}

impl<'a> Record<'a> {
    /// Its name on each side.
    pub fn names(&self) -> Sides<Name<'a>> {
        Sides::new(self.name, self.remote_name.unwrap_or(self.name))
    }

    /// Its name on that side.
    pub fn name_on(&self, side: Side) -> Name<'a> {
        *self.names().of(side)
    }
}

/// What is remembered of a directory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirFacts {
    /// Its local inode; 0 where that is not known.
    pub inode: u64,
    /// It was a mount point of the file system with this identity, on the sides that are disks; 0 stands for one that keeps
    /// none.
    pub mounts: Sides<Option<u64>>,
    /// It has been in step with this peer before: what has no record here is new, not existing.
    pub settled: bool,
    /// It was left out by a filter since: what a side does not show as recorded here is no change to be carried over.
    pub left_out: bool,
    /// Its rows come from pyftpsync, and were not yet held against the remote side.
    pub adopted: bool,
    /// What a glance at the remote directory told when all of it was as recorded (`--quick-scan`).
    pub glance: Option<u64>,
    /// When all of it was last seen to be as recorded.
    pub seen_at: Timestamp,
}

impl Default for DirFacts {
    fn default() -> Self {
        Self {
            inode: 0,
            mounts: Sides::new(None, None),
            settled: false,
            left_out: false,
            adopted: false,
            glance: None,
            seen_at: Timestamp::from_secs(0),
        }
    }
}

/// A step that is about to replace, delete or rename something: noted before it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A file gets its final name.
    Place {
        /// The directory it is placed in.
        dir: RelPath,
        /// Its name there.
        name: Box<[u8]>,
        /// The side it is placed on.
        to: Side,
        /// What it is a copy of, as the other side showed it.
        source: Shown,
        /// Its time as the side it is placed on will show it, where that is known.
        seen: Option<Mtime>,
        /// When it is placed, by this machine's clock.
        at: Timestamp,
    },
    /// An entry is deleted.
    Delete {
        /// The directory it is in.
        dir: RelPath,
        /// Its name there.
        name: Box<[u8]>,
        /// The side it is deleted on.
        on: Side,
    },
    /// A directory is renamed on the remote side, as it already was on the local one.
    MoveDir {
        /// Where it is.
        from: RelPath,
        /// Where it is going to be.
        to: RelPath,
    },
}

impl Intent {
    /// The directory in which this happens: the one that a renamed directory gets into.
    pub fn dir(&self) -> RelPath {
        match self {
            Self::Place { dir, .. } | Self::Delete { dir, .. } => dir.clone(),
            Self::MoveDir { to, .. } => to.parent(),
        }
    }

    /// The name of the entry that this happens to; the new one of a renamed directory.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Place { name, .. } | Self::Delete { name, .. } => name,
            Self::MoveDir { to, .. } => to.name().map_or(b"", Name::as_bytes),
        }
    }
}

/// A transfer that was interrupted and can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The final name of the file.
    pub name: Box<[u8]>,
    /// The side on which a part of it lies under its partial name.
    pub to: Side,
    /// What it is a copy of, as the other side showed it.
    pub source: Shown,
    /// How many bytes are known to be there, in order and safe.
    pub confirmed: u64,
}

/// What is true of the records of a directory from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Both sides are equal, and this is what they show. Ends all that was intended for the name, and its part.
    Set {
        /// The entry.
        name: Box<[u8]>,
        /// Its name on the remote side, where that is another one.
        remote_name: Option<Box<[u8]>>,
        /// What it is.
        what: What,
        /// By what each side knows it, see [`Record::ids`].
        ids: Sides<u64>,
    },
    /// The name has no record any more. Ends all that was intended for it, and its part.
    Forget {
        /// The entry.
        name: Box<[u8]>,
    },
    /// What was intended for the name came to nothing: its record stays as it is.
    Undone {
        /// The entry.
        name: Box<[u8]>,
    },
    /// A transfer was interrupted and can go on.
    Part(Part),
    /// Nothing lies under a partial name for this file any more.
    NoPart {
        /// The file.
        name: Box<[u8]>,
    },
    /// What is known of the directory itself. Makes its block where there is none.
    Facts(DirFacts),
    /// The block of the directory is gone, and all below it.
    Drop,
    /// The blocks of the directory and of all below it are those that this path had. That path has none any more.
    MovedFrom(RelPath),
}

impl Change {
    /// That record.
    pub fn set(record: &Record<'_>) -> Self {
        Self::Set {
            name: record.name.as_bytes().into(),
            remote_name: record.remote_name.map(|name| name.as_bytes().into()),
            what: record.what,
            ids: record.ids,
        }
    }

    /// The record that is set; none where none is, or where a name of it is none: that has no place in an archive, and no
    /// entry can have it.
    pub(super) fn record(&self) -> Option<Record<'_>> {
        let Self::Set {
            name,
            remote_name,
            what,
            ids,
        } = self
        else {
            return None;
        };
        let remote_name = remote_name.as_deref().map(Name::new);
        Some(Record {
            name: Name::new(name).ok()?,
            remote_name: remote_name.transpose().ok()?,
            what: *what,
            ids: *ids,
        })
    }
}
