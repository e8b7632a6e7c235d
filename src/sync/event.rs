//! What a run tells while it works, and what it asks. The run knows nothing of terminals: it is handed somebody who
//! listens and somebody who answers.

use crate::error::{Error, Result};
use crate::job::{Delete, Direction};
use crate::path::RelPath;
use crate::replica::{Kind, Stat};
use crate::side::{Side, Sides};
use crate::sync::plan::decide::Action;
use crate::sync::plan::resolve::{self, Resolution};
use crate::sync::plan::status::Status;
use crate::sync::record::{Shown, What};

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run begins, the targets are reached.
    Started,
    /// A directory was listed on the sides that have it.
    Scanned {
        /// Files seen, on each side.
        files: Sides<u64>,
        /// Directories seen, on each side.
        dirs: Sides<u64>,
    },
    /// All is planned; so much is to be copied.
    Planned {
        /// Files to be copied.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// It was decided what is to be done with an entry. More may come of it: a conflict is settled, a file found renamed.
    Decided(&'a Decision<'a>),
    /// An entry was dealt with; in a dry run: would be.
    Entry {
        /// Its path.
        path: &'a RelPath,
        /// File or directory.
        kind: Kind,
        /// What was done.
        deed: Deed,
    },
    /// Bytes of files went from one side to the other.
    Moved {
        /// How many since the last such event.
        bytes: u64,
    },
    /// An entry failed; the run goes on.
    Failed {
        /// Its path.
        path: &'a RelPath,
        /// What was being done, what happened, what was kept.
        error: &'a Error,
    },
    /// A question to the user comes next.
    Question,
    /// Something the user should know or act on.
    Warning(&'a str),
    /// Something worth knowing.
    Notice(&'a str),
    /// A line of what was asked for, as it is: blanks in it stand for something.
    Line(&'a str),
}

/// What is to be done with an entry, and what that follows from.
#[derive(Debug)]
pub struct Decision<'a> {
    /// Its path.
    pub path: &'a RelPath,
    /// What is there on each side.
    pub stats: Sides<Option<Stat>>,
    /// What is recorded.
    pub record: Option<What>,
    /// What became of it on each side.
    pub status: Sides<Status>,
    /// What is to be done.
    pub action: Action,
}

/// What was done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It was equal on both sides.
    Equal,
    /// It was found equal for the first time, and recorded.
    Recorded,
    /// A directory that was there on both sides without a record.
    Visited,
    /// It was copied.
    Copied {
        /// The side it came from.
        from: Side,
        /// Why: its status on that side.
        status: Status,
        /// How many bytes.
        bytes: u64,
    },
    /// It was renamed on the peer of that side, as it had been renamed there.
    Renamed {
        /// The side on which the user had renamed it.
        from: Side,
    },
    /// It was deleted.
    Deleted {
        /// On that side.
        on: Side,
        /// Why.
        why: DeletedFor,
    },
    /// It was taken back from the trash.
    PutBack {
        /// On that side.
        on: Side,
    },
    /// A record was dropped: the entry is gone on both sides.
    Forgotten,
    /// A conflict was resolved.
    Resolved(Resolved),
    /// A conflict was left as it is.
    ConflictSkipped,
    /// Nothing was done.
    Skipped(Skipped),
}

/// Why an entry was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedFor {
    /// It is missing on the other side.
    Missing,
    /// The filter rejects it.
    Unmatched,
}

/// How a conflict was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// One side's file was copied over the other's.
    Copied {
        /// The side that won.
        from: Side,
        /// How many bytes.
        bytes: u64,
    },
    /// A file that one side had deleted was restored there.
    Restored {
        /// The side that still had it.
        from: Side,
        /// How many bytes.
        bytes: u64,
    },
    /// A file that one side had deleted was deleted on the other, too.
    Deleted {
        /// The side that still had it.
        on: Side,
    },
    /// Both files were kept; the loser has another name now.
    KeptBoth {
        /// The side whose file kept its name.
        winner: Side,
    },
    /// A file gave way to a directory or the other way round; it has another name now.
    MovedAside {
        /// The side whose entry gave way.
        loser: Side,
    },
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// The filter rejects it.
    Unmatched,
    /// Upload and download copy one way only. The next run would tell the same.
    OneWay {
        /// The side it would have been copied from.
        from: Side,
    },
    /// The source lost it, and deleting was not asked for. Told once: its record is dropped.
    NotDeleted {
        /// The side it would have been deleted on.
        on: Side,
    },
    /// The side that follows alone has it, nobody knows from whom, and deleting such was not asked for. The next run would
    /// tell the same.
    NotOurs {
        /// The side that has it.
        on: Side,
    },
    /// The side that follows lost it, and the source is never written.
    Gone {
        /// The side that lost it.
        from: Side,
    },
    /// It changed a moment ago (`--min-age`).
    TooYoung,
    /// A link, a device, a type nobody knows: on that side.
    Special {
        /// The side that has it.
        on: Side,
    },
    /// What was to be deleted or replaced is a link there, or has another name beside the one that a link gives it
    /// (`--links follow`).
    Linked {
        /// The side that has the link.
        on: Side,
    },
    /// Its directory could not be listed in full, so nothing is deleted there.
    Protected {
        /// The side it would have been deleted on.
        on: Side,
    },
}

/// A conflict that needs a decision.
#[derive(Debug)]
pub struct Conflict<'a> {
    /// The entry.
    pub path: &'a RelPath,
    /// Which one of all that are asked about it is, from 1.
    pub number: u64,
    /// How many are asked about, as far as is known.
    pub all: u64,
    /// What is there on each side.
    pub stats: Sides<Option<Stat>>,
    /// What became of it on each side.
    pub status: Sides<Status>,
    /// What the record says of each side.
    pub record: Option<Sides<Shown>>,
    /// Which side may be written.
    pub direction: Direction,
    /// What may be deleted.
    pub delete: Delete,
}

impl Conflict<'_> {
    /// What would be done if that was the answer.
    pub fn comes_to(&self, choice: Choice) -> Resolution {
        resolve::apply(choice, self.direction, self.delete, self.stats)
    }
}

/// An answer to a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This side wins.
    Use(Side),
    /// The older file wins.
    Older,
    /// The newer file wins.
    Newer,
    /// Both files are kept, one of them under another name.
    Both,
    /// Nothing is done.
    Skip,
}

/// An answer, and for how long it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// For this conflict.
    Once(Choice),
    /// For this one and all that follow.
    Always(Choice),
}

/// Somebody who answers conflicts.
pub trait Ask {
    /// Asks about one conflict. `compare` tells whether the bytes of both files are equal; it reads them.
    ///
    /// Fails with `Interrupted` when the user breaks off.
    fn ask(
        &mut self,
        conflict: &Conflict<'_>,
        compare: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Answer>;
}

/// What a run did, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files seen on each side.
    pub files: Sides<u64>,
    /// Directories seen on each side.
    pub dirs: Sides<u64>,
    /// Files copied to each side.
    pub files_written: Sides<u64>,
    /// Bytes copied to each side.
    pub bytes_written: Sides<u64>,
    /// Files and directories renamed on the remote side, as they had been on the local one.
    pub renamed: u64,
    /// Files that were taken back from the trash.
    pub put_back: u64,
    /// Directories made on either side.
    pub dirs_created: u64,
    /// Files deleted on either side.
    pub files_deleted: u64,
    /// Directories deleted on either side.
    pub dirs_deleted: u64,
    /// Files that the side that follows lost, and that stay on the source.
    pub gone: u64,
    /// Entries that differ or are surplus on the side that follows, and that nobody told the run to touch.
    pub left_alone: u64,
    /// Conflicts met.
    pub conflicts: u64,
    /// Conflicts left as they are.
    pub conflicts_skipped: u64,
    /// Copies that failed.
    pub copy_errors: u64,
    /// Entries that failed, copies included.
    pub errors: u64,
}

impl Totals {
    /// How many conflicts were settled, by a rule or by the user.
    pub const fn conflicts_settled(&self) -> u64 {
        self.conflicts.saturating_sub(self.conflicts_skipped)
    }

    /// Whether anything was changed on either side.
    pub const fn has_changes(&self) -> bool {
        self.files_written.local
            + self.files_written.remote
            + self.renamed
            + self.put_back
            + self.dirs_created
            + self.files_deleted
            + self.dirs_deleted
            > 0
    }
}
