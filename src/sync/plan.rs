//! All that is to be done, before anything is done: what the guards count, a dry run prints and `execute` carries out.
//!
//! A plan holds only what changes; an unchanged tree of any size makes an empty plan.

use crate::path::{Name, RelPath};
use crate::replica::{Kind, Stat};
use crate::side::{Side, Sides};
use crate::sync::classify::Status;
use crate::sync::event::{DeletedFor, Totals};
use crate::sync::guard::{Changes, Losses};
use crate::sync::rename::{Appeared, Gone, Move, Place};
use crate::time::Timestamp;

/// What a run is going to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// The directories in which something is to be done, each before those below it.
    pub dirs: Vec<DirPlan>,
    /// What was seen, and which conflicts were met.
    pub totals: Totals,
    /// What would be lost on each side.
    pub losses: Sides<Losses>,
    /// How the recorded files changed on each side.
    pub changes: Sides<Changes>,
    /// Files that are skipped, and recorded anew if their times moved and not their content; with their directories.
    pub retimed: Vec<(usize, Step)>,
    /// Files that may have been renamed.
    pub gone: Vec<Gone>,
    /// Whether a lock file was seen in the remote root.
    pub lock_seen: bool,
}

/// What is to be done in one directory.
#[derive(Debug)]
pub struct DirPlan {
    /// The directory's path on each side; they differ only in case, and only where that is allowed.
    pub paths: Sides<RelPath>,
    /// The plan of the directory it is in; none for the root.
    pub parent: Option<usize>,
    /// It is to be made on this side first.
    pub make_on: Option<Side>,
    /// What it is called on the remote side as yet.
    pub moved_from: Option<OldName>,
    /// It is to be removed from this side at the end, when it is empty.
    pub remove_on: Option<(Side, DeletedFor)>,
    /// The side it was to be removed from before something was found in it that stays.
    pub kept_on: Option<Side>,
    /// What becomes of its own record, in its parent's metadata.
    pub own_record: OwnRecord,
    /// The proof to be kept that its remote side is as recorded.
    pub proof: Option<u64>,
    /// What is to be done with the entries in it.
    pub steps: Vec<Step>,
    /// Partial files of earlier runs, of no use any more.
    pub litter: Sides<Vec<RelPath>>,
    /// Whether it is on the local side.
    pub is_local: bool,
    /// Whether its remote metadata file is there.
    pub has_remote_metadata: bool,
    /// Metadata files in it that cannot be read and are to be set aside.
    pub damaged: Sides<bool>,
    /// Whether all that is in it was seen and decided on. Only then can a first sync of it be over.
    pub is_whole: bool,
    /// Whether an earlier run left its first sync unfinished, and this one ends it unless it is cut off.
    pub was_unfinished: bool,
}

/// What a directory was called before it was renamed on the local side.
#[derive(Debug, Clone)]
pub struct OldName {
    /// The plan of the directory it was in.
    pub parent: usize,
    /// Its name there; the one it is recorded by, and the remote one.
    pub names: Sides<Box<[u8]>>,
}

/// What becomes of a directory's own record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnRecord {
    /// It stays, but for the digest.
    Keep,
    /// The directory is on both sides now: it is recorded.
    Set,
}

/// What is to be done with one entry.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name; where the sides spell it differently, the local one.
    pub name: Box<[u8]>,
    /// Its name on the remote side, where that differs.
    pub remote_name: Option<Box<[u8]>>,
    /// What was listed on each side.
    pub stats: Sides<Option<Stat>>,
    /// The inode of the local file; 0 where there is none that is known.
    pub inode: u64,
    /// What the remote side itself shows, where its metadata knows a truer time. Rare, and a step is kept for each file.
    pub remote_shown: Option<Box<Stat>>,
    /// What is to be done.
    pub todo: Todo,
}

/// What is to be done with a file or a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Record that both sides are equal.
    Record {
        /// When the remote file was uploaded, by the server's clock, where the server cannot keep its time and nobody
        /// remembers it yet.
        uploaded_at: Option<Timestamp>,
    },
    /// Drop the record.
    Forget,
    /// Copy the file.
    Copy {
        /// The side it comes from.
        from: Side,
        /// Its status there.
        status: Status,
        /// Whether this resolves a conflict.
        is_resolution: bool,
        /// The size of the partial file that an interrupted transfer of the same file left.
        partial_bytes: u64,
    },
    /// Delete the file.
    Delete {
        /// The side it is on.
        on: Side,
        /// Why.
        why: DeletedFor,
        /// Whether this resolves a conflict.
        is_resolution: bool,
    },
    /// Rename what the remote side has under the old name of the file.
    Rename {
        /// The step of the old name.
        from: Place,
    },
    /// Nothing: the file has another name now, and that one's step renames it.
    RenamedAway,
    /// Keep both files, the loser under another name.
    KeepBoth {
        /// The side whose file keeps the name.
        winner: Side,
    },
}

impl Step {
    /// Its name on that side.
    pub fn name_on(&self, side: Side) -> Name<'_> {
        let bytes = match (side, &self.remote_name) {
            (Side::Remote, Some(name)) => name,
            (Side::Remote, None) | (Side::Local, _) => &self.name,
        };
        Name::new(bytes).expect("steps are made from accepted names")
    }

    /// Whether it is a file of the same size on both sides.
    pub fn is_of_one_size(&self) -> bool {
        matches!(
            (self.stats.local, self.stats.remote),
            (Some(local), Some(remote))
                if local.kind == Kind::File && remote.kind == Kind::File && local.size == remote.size
        )
    }

    /// What was listed of the file on that side.
    pub fn stat_on(&self, side: Side) -> Option<Stat> {
        *self.stats.of(side)
    }

    /// What that side itself shows of the file: what is expected there when it is replaced or deleted.
    pub fn shown_on(&self, side: Side) -> Option<Stat> {
        match (side, &self.remote_shown) {
            (Side::Remote, Some(shown)) => Some(**shown),
            (Side::Remote, None) | (Side::Local, _) => self.stat_on(side),
        }
    }

    /// The side that this step writes, if it writes entries.
    pub const fn writes(&self) -> Sides<bool> {
        match self.todo {
            Todo::Record { .. } | Todo::Forget | Todo::RenamedAway => Sides::new(false, false),
            Todo::Rename { .. } => Sides::new(false, true),
            Todo::Copy {
                from: Side::Local, ..
            }
            | Todo::Delete {
                on: Side::Remote, ..
            } => Sides::new(false, true),
            Todo::Copy {
                from: Side::Remote, ..
            }
            | Todo::Delete {
                on: Side::Local, ..
            } => Sides::new(true, false),
            Todo::KeepBoth { .. } => Sides::new(true, true),
        }
    }
}

impl Plan {
    /// Whether there is nothing to do at all.
    pub fn is_empty(&self) -> bool {
        self.dirs.iter().all(DirPlan::is_empty)
    }

    /// Whether anything is to be written on that side, records aside.
    pub fn writes(&self, side: Side) -> bool {
        self.dirs.iter().any(|dir| {
            dir.make_on == Some(side)
                || (side == Side::Remote && dir.moved_from.is_some())
                || dir.remove_on.is_some_and(|(on, _)| on == side)
                || !dir.litter.of(side).is_empty()
                || dir.steps.iter().any(|step| *step.writes().of(side))
        })
    }

    /// The files to be copied to that side, and their bytes.
    pub fn copies_to(&self, side: Side) -> (u64, u64) {
        let mut copies = (0, 0);
        for step in self.dirs.iter().flat_map(|dir| &dir.steps) {
            let sizes = match step.todo {
                Todo::Copy { from, .. } if from == side.peer() => [step.stat_on(from), None],
                Todo::KeepBoth { .. } => [step.stat_on(side.peer()), None],
                Todo::Copy { .. }
                | Todo::Record { .. }
                | Todo::Forget
                | Todo::Delete { .. }
                | Todo::Rename { .. }
                | Todo::RenamedAway => [None, None],
            };
            for stat in sizes.into_iter().flatten() {
                copies = (copies.0 + 1, copies.1 + stat.size);
            }
        }
        copies
    }

    /// The files that are new on the local side, and that may be known under another name.
    pub fn appeared(&self) -> impl Iterator<Item = Appeared> {
        self.dirs.iter().enumerate().flat_map(|(dir, plan)| {
            plan.steps.iter().enumerate().filter_map(move |(at, step)| {
                let is_new = matches!(
                    step.todo,
                    Todo::Copy {
                        from: Side::Local,
                        status: Status::New | Status::Existing,
                        is_resolution: false,
                        // One that was sent in part before was new before.
                        partial_bytes: 0,
                    }
                );
                let stat = step
                    .stats
                    .local
                    .filter(|_| is_new && step.inode != 0 && step.stats.remote.is_none())?;
                Some(Appeared {
                    at: Place { dir, step: at },
                    inode: step.inode,
                    size: stat.size,
                    mtime: stat.exact_mtime()?,
                })
            })
        })
    }

    /// The step at that place.
    pub fn step(&self, at: Place) -> &Step {
        &self.dirs[at.dir].steps[at.step]
    }

    /// The path of that step's entry on that side.
    pub fn path_of(&self, at: Place, side: Side) -> RelPath {
        let dir = &self.dirs[at.dir];
        dir.paths.of(side).join(dir.steps[at.step].name_on(side))
    }

    /// Turns a deletion and a copy into the rename that they are. Nothing is lost by it.
    pub fn rename(&mut self, found: Move) {
        let Move { from, to, .. } = found;
        self.dirs[from.dir].steps[from.step].todo = Todo::RenamedAway;
        self.dirs[to.dir].steps[to.step].todo = Todo::Rename { from };
        self.losses.remote.lost -= 1;
    }

    /// Turns a rename that was refused back into a copy. The old name is deleted once that has succeeded, see
    /// [`Plan::delete_renamed`].
    pub fn copy_instead(&mut self, to: Place) {
        self.dirs[to.dir].steps[to.step].todo = Todo::Copy {
            from: Side::Local,
            status: Status::New,
            is_resolution: false,
            partial_bytes: 0,
        };
    }

    /// The file is under its new name: what is under the old one is to be deleted.
    pub fn delete_renamed(&mut self, from: Place) {
        self.dirs[from.dir].steps[from.step].todo = Todo::Delete {
            on: Side::Remote,
            why: DeletedFor::Missing,
            is_resolution: false,
        };
    }

    /// All renames of files: the new place and the old one.
    pub fn renames(&self) -> Vec<(Place, Place)> {
        let mut renames = Vec::new();
        for (dir, plan) in self.dirs.iter().enumerate() {
            for (at, step) in plan.steps.iter().enumerate() {
                if let Todo::Rename { from } = step.todo {
                    renames.push((Place { dir, step: at }, from));
                }
            }
        }
        renames
    }

    /// Marks that something in this directory stays on both sides, so that neither it nor what it is in is removed.
    pub fn keep(&mut self, dir: usize) {
        let mut next = Some(dir);
        while let Some(index) = next {
            if let Some((on, _)) = self.dirs[index].remove_on.take() {
                self.dirs[index].kept_on = Some(on);
            }
            next = self.dirs[index].parent;
        }
    }

    /// A directory that was to be removed and stays, in one that comes back on the other side, comes back there, too:
    /// otherwise only the next run would bring it.
    pub fn restore_kept(&mut self) {
        // Parents stand before their children.
        for index in 0..self.dirs.len() {
            let dir = &self.dirs[index];
            let made_around_it = dir.parent.and_then(|parent| self.dirs[parent].make_on);
            if let (Some(on), None, Some(side)) = (dir.kept_on, dir.make_on, made_around_it)
                && side == on.peer()
            {
                self.dirs[index].make_on = Some(side);
                self.dirs[index].own_record = OwnRecord::Set;
            }
        }
    }

    /// Says where everything is on the remote side once the directories have their new names. While they were planned
    /// they had the old ones.
    pub fn settle_moved(&mut self) {
        if self.dirs.iter().all(|dir| dir.moved_from.is_none()) {
            return;
        }
        // Parents stand before their children.
        for index in 0..self.dirs.len() {
            let dir = &self.dirs[index];
            let own = match dir.moved_from {
                Some(_) => dir.paths.local.name(),
                None => dir.paths.remote.name(),
            };
            if let (Some(parent), Some(name)) = (dir.parent, own) {
                let path = self.dirs[parent].paths.remote.join(name);
                self.dirs[index].paths.remote = path;
            }
        }
    }

    /// The old path of a directory that is to be renamed.
    pub fn old_paths(&self, old: &OldName) -> Sides<RelPath> {
        let dir = &self.dirs[old.parent].paths;
        let name_on =
            |side| Name::new(old.names.of(side)).expect("plans are made of accepted names");
        Sides::new(
            dir.local.join(name_on(Side::Local)),
            dir.remote.join(name_on(Side::Remote)),
        )
    }

    /// Turns copies between files of the same size into mere records: their times moved, not their content.
    pub fn accept_time_shift(&mut self) {
        for (dir, step) in std::mem::take(&mut self.retimed) {
            self.dirs[dir].steps.push(step);
        }
        for step in self.dirs.iter_mut().flat_map(|dir| &mut dir.steps) {
            let is_copy = matches!(
                step.todo,
                Todo::Copy {
                    is_resolution: false,
                    ..
                }
            );
            if is_copy && step.is_of_one_size() {
                step.todo = Todo::Record { uploaded_at: None };
            }
        }
    }
}

impl DirPlan {
    /// Nothing to be done yet.
    pub const fn new(paths: Sides<RelPath>, parent: Option<usize>, is_local: bool) -> Self {
        Self {
            paths,
            parent,
            make_on: None,
            moved_from: None,
            remove_on: None,
            kept_on: None,
            own_record: OwnRecord::Keep,
            proof: None,
            steps: Vec::new(),
            litter: Sides::new(Vec::new(), Vec::new()),
            is_local,
            has_remote_metadata: false,
            damaged: Sides::new(false, false),
            is_whole: false,
            was_unfinished: false,
        }
    }

    /// Whether it has, or will have, the directory on the local side in which its records lie.
    pub fn has_records(&self) -> bool {
        self.is_local || self.make_on == Some(Side::Local)
    }

    fn is_empty(&self) -> bool {
        self.make_on.is_none()
            && self.moved_from.is_none()
            && self.remove_on.is_none()
            && self.own_record == OwnRecord::Keep
            && self.proof.is_none()
            && self.steps.is_empty()
            && self.litter.local.is_empty()
            && self.litter.remote.is_empty()
            && self.damaged == Sides::new(false, false)
            && !self.was_unfinished
    }
}
