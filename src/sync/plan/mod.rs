//! Planning: what became of each entry, what is to be done about it, and whether that may be. Pure but for the walk, which lets
//! workers look and asks about conflicts.
//!
//! A plan holds only what changes; an unchanged tree of any size makes an empty plan. It is complete before anything is done:
//! the guards count it, a dry run prints it, `carry` carries it out.

pub mod aside;
pub mod decide;
pub mod draft;
pub mod guard;
pub mod moved;
pub mod resolve;
pub mod status;
pub mod walk;

use std::collections::HashMap;

use crate::path::{Name, RelPath};
use crate::replica::{Kind, Renaming, Stat};
use crate::side::{Side, Sides};
use crate::sync::event::{DeletedFor, Totals};
use crate::sync::plan::aside::Aside;
use crate::sync::plan::guard::{Changes, Copies, Losses};
use crate::sync::plan::moved::{Appeared, Gone, Move, Place};
use crate::sync::plan::status::Status;
use crate::sync::record::{Change, DirFacts, What};

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
    /// What of the local side are copies of what was recorded, in all.
    pub copies: Copies,
    /// The directories that are such copies.
    pub restored: Vec<(RelPath, Copies)>,
    /// Files whose times moved and not their sizes, where a shift is accepted.
    pub retimed: Vec<Retimed>,
    /// Files that may have been renamed, by the side on which.
    pub gone: Sides<Vec<Gone>>,
    /// Whether a lock was seen in the remote root.
    pub lock_seen: bool,
    /// Directories that a filter leaves out from now on, with what is known of them.
    pub left_out: Vec<(RelPath, DirFacts)>,
    /// What gives way to an entry of another kind.
    pub asides: Vec<Aside>,
    /// Why parts of the tree are left alone.
    pub refusals: Vec<String>,
}

/// What is to be done in one directory.
#[derive(Debug)]
pub struct DirPlan {
    /// The directory's path on each side; they differ only in spelling.
    pub paths: Sides<RelPath>,
    /// The path of its records.
    pub recorded: RelPath,
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
    /// Whether the record that both sides have it is to be made.
    pub own_record: OwnRecord,
    /// What is to be remembered of it once all of it went well.
    pub facts: Option<DirFacts>,
    /// Whether it had been in step before this run.
    pub was_settled: bool,
    /// What a cut-off run had done.
    pub notes: Vec<Change>,
    /// Files in it that are to be renamed in case alone, before anything else is done with them.
    pub respellings: Vec<Respelling>,
    /// What is to be done with the entries in it.
    pub steps: Vec<Step>,
    /// Directories in it that are gone on both sides; with all below.
    pub forgotten_dirs: Vec<Box<[u8]>>,
    /// Old files that a cut-off run had moved aside, and that get their names back before anything else is done.
    pub put_back: Sides<Vec<Renaming>>,
    /// Partial files of earlier runs, of no use any more.
    pub litter: Sides<Vec<RelPath>>,
    /// Whether there are true times on the remote side.
    pub has_remote_times: bool,
}

/// A file whose time moved and not its size.
#[derive(Debug)]
pub struct Retimed {
    /// Its directory.
    pub dir: usize,
    /// The step that was planned for it, if one was.
    pub at: Option<usize>,
    /// The step that records it anew.
    pub step: Step,
    /// By how many seconds it moved on each side.
    pub moved: Sides<Option<i64>>,
}

/// A file that has one name on both sides, and of which the user changed the case on one.
#[derive(Debug)]
pub struct Respelling {
    /// The side of the user.
    pub by: Side,
    /// The recorded name, which the other side has as yet.
    pub old: Box<[u8]>,
    /// The new one.
    pub new: Box<[u8]>,
    /// What the other side shows under the old one.
    pub shown: Stat,
    /// What is recorded of it.
    pub what: What,
    /// The same of what the sides know it by.
    pub ids: Sides<u64>,
}

/// What a directory was called before it was renamed on the local side.
#[derive(Debug, Clone)]
pub struct OldName {
    /// The plan of the directory it was in.
    pub parent: usize,
    /// Its name there on each side.
    pub names: Sides<Box<[u8]>>,
}

/// What becomes of a directory's record in the one it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnRecord {
    /// It stays.
    Keep,
    /// The directory is on both sides now: it is recorded.
    Set,
    /// It is on one side, and is to stay there.
    Forget,
}

/// What is to be done with one entry.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name; where the sides spell it differently, the local one.
    pub name: Box<[u8]>,
    /// Its name on the remote side, where that differs.
    pub remote_name: Option<Box<[u8]>>,
    /// What was listed on each side, with true times.
    pub stats: Sides<Option<Stat>>,
    /// By what each side knows the file; 0 where it does not.
    pub ids: Sides<u64>,
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
        /// What they hold, see [`Shown::digest`](crate::sync::record::Shown::digest).
        digest: Option<u64>,
    },
    /// Drop the record. The user hears of it where the entry is gone on both sides.
    Forget {
        /// Whether it is.
        is_gone: bool,
    },
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
    /// Rename what the other side has under the old name of the file.
    Rename {
        /// The step of the old name.
        old: Place,
        /// The side on which the user renamed it.
        by: Side,
    },
    /// Nothing: the file has another name now, and that one's step renames it.
    RenamedAway,
    /// Keep both files, the loser under another name.
    KeepBoth {
        /// The side whose file keeps the name.
        winner: Side,
    },
}

impl Respelling {
    /// The new name.
    pub fn name(&self) -> Name<'_> {
        Name::new(&self.new).expect("plans are made of accepted names")
    }
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

    /// The sides that this step writes, if it writes entries.
    pub const fn writes(&self) -> Sides<bool> {
        match self.todo {
            Todo::Record { .. } | Todo::Forget { .. } | Todo::RenamedAway => {
                Sides::new(false, false)
            }
            Todo::Rename { by: from, .. } | Todo::Copy { from, .. } => match from {
                Side::Local => Sides::new(false, true),
                Side::Remote => Sides::new(true, false),
            },
            Todo::Delete { on, .. } => match on {
                Side::Local => Sides::new(true, false),
                Side::Remote => Sides::new(false, true),
            },
            Todo::KeepBoth { .. } => Sides::new(true, true),
        }
    }
}

impl Plan {
    /// Whether there is nothing to do at all.
    pub fn is_empty(&self) -> bool {
        self.dirs.iter().all(DirPlan::is_empty) && self.left_out.is_empty()
    }

    /// Whether anything is to be written on that side, records aside.
    pub fn writes(&self, side: Side) -> bool {
        self.asides.iter().any(|aside| aside.on == side)
            || self.dirs.iter().any(|dir| {
                dir.make_on == Some(side)
                    || (side == Side::Remote && dir.moved_from.is_some())
                    || dir.remove_on.is_some_and(|(on, _)| on == side)
                    || !dir.litter.of(side).is_empty()
                    || !dir.put_back.of(side).is_empty()
                    || dir.respellings.iter().any(|one| one.by == side.peer())
                    || dir.steps.iter().any(|step| *step.writes().of(side))
            })
    }

    /// How many steps there are.
    pub fn steps(&self) -> usize {
        let steps = self.dirs.iter();
        steps
            .map(|dir| dir.steps.len() + dir.respellings.len() + 1)
            .sum()
    }

    /// The files to be copied to that side, and their bytes.
    pub fn copies_to(&self, side: Side) -> (u64, u64) {
        let mut copies = (0, 0);
        for step in self.dirs.iter().flat_map(|dir| &dir.steps) {
            let stat = match step.todo {
                Todo::Copy { from, .. } if from == side.peer() => step.stat_on(from),
                Todo::KeepBoth { .. } => step.stat_on(side.peer()),
                Todo::Copy { .. }
                | Todo::Record { .. }
                | Todo::Forget { .. }
                | Todo::Delete { .. }
                | Todo::Rename { .. }
                | Todo::RenamedAway => None,
            };
            if let Some(stat) = stat {
                copies = (copies.0 + 1, copies.1 + stat.size);
            }
        }
        copies
    }

    /// How many bytes of room the copies to that side take: what they replace makes room for them, unless the trash keeps it, and
    /// what was sent before is there already.
    pub fn room_on(&self, side: Side, has_trash: bool) -> u64 {
        let mut room = 0_u64;
        for step in self.dirs.iter().flat_map(|dir| &dir.steps) {
            let (stat, there) = match step.todo {
                Todo::Copy {
                    from,
                    partial_bytes,
                    ..
                } if from == side.peer() => {
                    let replaced = step.stat_on(side).filter(|_| !has_trash);
                    let replaced = replaced.map_or(0, |stat| stat.size);
                    (step.stat_on(from), partial_bytes.max(replaced))
                }
                Todo::KeepBoth { .. } => (step.stat_on(side.peer()), 0),
                Todo::Copy { .. }
                | Todo::Record { .. }
                | Todo::Forget { .. }
                | Todo::Delete { .. }
                | Todo::Rename { .. }
                | Todo::RenamedAway => (None, 0),
            };
            room += stat.map_or(0, |stat| stat.size.saturating_sub(there));
        }
        room
    }

    /// The files that are new on that side, and that may be known under another name.
    pub fn appeared(&self, on: Side) -> impl Iterator<Item = Appeared> {
        self.dirs.iter().enumerate().flat_map(move |(dir, plan)| {
            plan.steps.iter().enumerate().filter_map(move |(at, step)| {
                let is_new = matches!(
                    step.todo,
                    Todo::Copy {
                        from,
                        status: Status::New | Status::Existing,
                        is_resolution: false,
                        // One that was sent in part before was new before.
                        partial_bytes: 0,
                    } if from == on
                );
                let id = *step.ids.of(on);
                let stat = step
                    .shown_on(on)
                    .filter(|_| is_new && id != 0 && step.stat_on(on.peer()).is_none())?;
                Some(Appeared {
                    at: Place { dir, step: at },
                    id,
                    size: stat.size,
                    mtime: stat.mtime?,
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
    pub fn rename(&mut self, found: Move, by: Side) {
        let Move { from, to, .. } = found;
        self.dirs[from.dir].steps[from.step].todo = Todo::RenamedAway;
        self.dirs[to.dir].steps[to.step].todo = Todo::Rename { old: from, by };
        self.losses.of_mut(by.peer()).lost -= 1;
    }

    /// Turns a rename that was refused back into a copy. The old name is deleted once that has succeeded, see
    /// [`Plan::delete_renamed`].
    pub fn copy_instead(&mut self, to: Place, by: Side) {
        self.dirs[to.dir].steps[to.step].todo = Todo::Copy {
            from: by,
            status: Status::New,
            is_resolution: false,
            partial_bytes: 0,
        };
    }

    /// The file is under its new name: what is under the old one is to be deleted.
    pub fn delete_renamed(&mut self, old: Place, on: Side) {
        self.dirs[old.dir].steps[old.step].todo = Todo::Delete {
            on,
            why: DeletedFor::Missing,
            is_resolution: false,
        };
    }

    /// The path of what gives way, under that one of its names.
    pub fn path_aside(&self, aside: &Aside, name: &[u8]) -> RelPath {
        let name = Name::new(name).expect("a listed name, or one with a time in it");
        self.dirs[aside.dir].paths.of(aside.on).join(name)
    }

    /// All renames of files that were made on that side: the new place and the old one.
    pub fn renames_by(&self, side: Side) -> Vec<(Place, Place)> {
        let mut renames = Vec::new();
        for (dir, plan) in self.dirs.iter().enumerate() {
            for (at, step) in plan.steps.iter().enumerate() {
                if let Todo::Rename { old, by } = step.todo
                    && by == side
                {
                    renames.push((Place { dir, step: at }, old));
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

    /// Says where everything is once directories have their new names: those that were renamed have them on the remote side, those
    /// that give way on theirs. While all was planned they had the old ones.
    pub fn settle_moved(&mut self) {
        let dirs_aside = self
            .asides
            .iter()
            .filter_map(|aside| Some((aside.plan?, aside)));
        let asides: HashMap<usize, &Aside> = dirs_aside.collect();
        if asides.is_empty() && self.dirs.iter().all(|dir| dir.moved_from.is_none()) {
            return;
        }
        // Parents stand before their children.
        for index in 0..self.dirs.len() {
            let dir = &self.dirs[index];
            let Some(parent) = dir.parent else { continue };
            let settled = Sides::new(Side::Local, Side::Remote).map(|side| {
                let own = match asides.get(&index) {
                    Some(aside) if aside.on == side => Name::new(&aside.other).ok(),
                    Some(_) | None if side == Side::Remote && dir.moved_from.is_some() => {
                        dir.paths.local.name()
                    }
                    Some(_) | None => dir.paths.of(side).name(),
                };
                let own = own.expect("only the root has no name");
                self.dirs[parent].paths.of(side).join(own)
            });
            self.dirs[index].paths = settled;
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

    /// Makes mere records of what was planned for files whose times moved by the one shift of their side, and nothing else of
    /// them.
    pub fn accept_time_shift(&mut self) {
        let shifts = self.changes.as_ref().map(Changes::common_shifts);
        for Retimed {
            dir,
            at,
            step,
            moved,
        } in std::mem::take(&mut self.retimed)
        {
            let has_moved_so = Side::BOTH.into_iter().any(|side| {
                let mut of_side = shifts.of(side).iter().flatten();
                let moved = moved.of(side);
                moved.is_some_and(|moved| of_side.any(|shift| guard::is_shift(moved, *shift)))
            });
            if !has_moved_so {
                continue;
            }
            match at {
                Some(at) => self.dirs[dir].steps[at].todo = Todo::Record { digest: None },
                None => self.dirs[dir].steps.push(step),
            }
        }
    }
}

impl DirPlan {
    /// Nothing to be done yet.
    pub const fn new(paths: Sides<RelPath>, recorded: RelPath, parent: Option<usize>) -> Self {
        Self {
            paths,
            recorded,
            parent,
            make_on: None,
            moved_from: None,
            remove_on: None,
            kept_on: None,
            own_record: OwnRecord::Keep,
            facts: None,
            was_settled: false,
            notes: Vec::new(),
            respellings: Vec::new(),
            steps: Vec::new(),
            forgotten_dirs: Vec::new(),
            put_back: Sides::new(Vec::new(), Vec::new()),
            litter: Sides::new(Vec::new(), Vec::new()),
            has_remote_times: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.make_on.is_none()
            && self.moved_from.is_none()
            && self.remove_on.is_none()
            && self.own_record == OwnRecord::Keep
            && self.facts.is_none()
            && self.notes.is_empty()
            && self.respellings.is_empty()
            && self.steps.is_empty()
            && self.forgotten_dirs.is_empty()
            && self.put_back.local.is_empty()
            && self.put_back.remote.is_empty()
            && self.litter.local.is_empty()
            && self.litter.remote.is_empty()
    }
}
