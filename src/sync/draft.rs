//! The plan while the walk makes it: directories get their place when the first thing is to be done in them.

use std::cell::Cell;
use std::rc::Rc;

use crate::job::Direction;
use crate::path::RelPath;
use crate::side::{Side, Sides};
use crate::sync::classify::{Baseline, Status};
use crate::sync::found::{Found, Pair, baseline};
use crate::sync::metadata::RecordKind;
use crate::sync::plan::{DirPlan, OwnRecord, Plan, Step, Todo};
use crate::sync::rename::{Gone, Place};
use crate::sync::transfer::partial_path;

/// A directory, and the way up from it.
#[derive(Debug)]
pub struct Dir {
    /// Its path on each side.
    pub paths: Sides<RelPath>,
    /// The directory it is in; none for the root.
    pub parent: Option<Rc<Self>>,
    /// On which sides it is.
    pub there: Sides<bool>,
    /// How many directories are above it.
    pub depth: usize,
    /// Its place in the plan, once it has one.
    planned: Cell<Option<usize>>,
    is_whole: Cell<bool>,
}

impl Dir {
    /// The root, on the sides that have one.
    pub fn root(there: Sides<bool>) -> Self {
        Self {
            paths: Sides::default(),
            parent: None,
            there,
            depth: 0,
            planned: Cell::new(None),
            is_whole: Cell::new(false),
        }
    }

    /// The directory that this pair in `parent` is.
    pub fn below(parent: &Rc<Self>, pair: &Pair<'_>, there: Sides<bool>) -> Self {
        Self {
            paths: pair.paths_in(&parent.paths),
            parent: Some(Rc::clone(parent)),
            there,
            depth: parent.depth + 1,
            planned: Cell::new(None),
            is_whole: Cell::new(false),
        }
    }

    /// This directory, as it is on the remote side under its old path.
    pub fn moved_from(&self, remote: RelPath) -> Self {
        Self {
            paths: Sides::new(self.paths.local.clone(), remote),
            parent: self.parent.clone(),
            there: Sides::new(true, true),
            depth: self.depth,
            planned: Cell::new(None),
            is_whole: Cell::new(false),
        }
    }

    /// Its place in the plan, if it has one.
    pub fn place(&self) -> Option<usize> {
        self.planned.get()
    }
}

/// A plan in the making.
#[derive(Debug, Default)]
pub struct Draft {
    /// What is planned so far.
    pub plan: Plan,
}

impl Draft {
    /// The directory's place in the plan; it and those above it get one now if they have none.
    pub fn planned(&mut self, dir: &Dir) -> usize {
        if let Some(index) = dir.planned.get() {
            return index;
        }
        let parent = dir.parent.as_ref().map(|parent| self.planned(parent));
        let index = self.plan.dirs.len();
        let is_local = *dir.there.of(Side::Local);
        let mut plan = DirPlan::new(dir.paths.clone(), parent, is_local);
        plan.is_whole = dir.is_whole.get();
        self.plan.dirs.push(plan);
        dir.planned.set(Some(index));
        index
    }

    /// Notes that all that is in the directory was seen and decided on.
    pub fn mark_whole(&mut self, dir: &Dir) {
        dir.is_whole.set(true);
        if let Some(index) = dir.planned.get() {
            self.plan.dirs[index].is_whole = true;
        }
    }

    /// Says what becomes of the directory's own record.
    pub fn own_record(&mut self, dir: &Dir, own_record: OwnRecord) {
        let index = self.planned(dir);
        self.plan.dirs[index].own_record = own_record;
    }

    /// Has the directory, and those above it, made on that side where they are not there.
    pub fn ensure_there(&mut self, dir: &Dir, side: Side) {
        let mut next = Some(dir);
        while let Some(dir) = next.filter(|dir| !dir.there.of(side)) {
            let index = self.planned(dir);
            self.plan.dirs[index].make_on = Some(side);
            self.plan.dirs[index].own_record = OwnRecord::Set;
            next = dir.parent.as_deref();
        }
    }

    /// Something in this directory stays, so it is not removed, nor is what it is in.
    pub fn keep(&mut self, dir: &Dir) {
        let mut next = Some(dir);
        while let Some(dir) = next {
            if let Some(index) = dir.planned.get() {
                self.plan.keep(index);
                return;
            }
            next = dir.parent.as_deref();
        }
    }

    /// Adds a copy, which goes on where an interrupted one left off.
    pub fn add_copy(
        &mut self,
        dir: &Dir,
        found: &Found,
        pair: &Pair<'_>,
        from: Side,
        status: Status,
        is_resolution: bool,
    ) {
        let to = from.peer();
        let partial = pair
            .stats
            .of(from)
            .map(|stat| partial_path(pair.name_on(to), dir.paths.of(to), &stat));
        let partial_bytes = found
            .partials
            .of(to)
            .iter()
            .find(|(path, _)| Some(path) == partial.as_ref())
            .map_or(0, |(_, size)| *size);
        self.add_step(
            dir,
            pair,
            Todo::Copy {
                from,
                status,
                is_resolution,
                partial_bytes,
            },
        );
    }

    /// Adds something to be done with an entry.
    pub fn add_step(&mut self, dir: &Dir, pair: &Pair<'_>, todo: Todo) {
        let index = self.planned(dir);
        self.plan.dirs[index].steps.push(step(pair, todo));
    }

    /// Notes a file that is to be deleted by the step that is added next, because it may have another name now.
    pub fn note_gone(&mut self, dir: &Dir, pair: &Pair<'_>) {
        let Some(record) = pair.record.filter(|record| record.inode != 0) else {
            return;
        };
        let RecordKind::File { size, mtime, .. } = record.what else {
            return;
        };
        let dir = self.planned(dir);
        let step = self.plan.dirs[dir].steps.len();
        self.plan.gone.push(Gone {
            at: Place { dir, step },
            inode: record.inode,
            size,
            mtime,
            recorded_at: record.recorded_at,
        });
    }

    /// Notes a file that is not to be copied, but is to be recorded anew if nothing but its time has moved.
    pub fn note_retimed(&mut self, dir: &Dir, pair: &Pair<'_>) {
        let index = self.planned(dir);
        let step = step(pair, Todo::Record { uploaded_at: None });
        if step.is_of_one_size() {
            self.plan.retimed.push((index, step));
        }
    }

    /// Partial files that no planned copy goes on with are of no use.
    pub fn plan_litter(&mut self, dir: &Dir, found: &Found, direction: Direction) {
        for side in Side::BOTH {
            // Metadata is written on the local side whatever the direction.
            let is_ours = side == Side::Local || direction.writes(side);
            if found.partials.of(side).is_empty() || !is_ours {
                continue;
            }
            let resumed: Vec<RelPath> = dir.planned.get().map_or_else(Vec::new, |index| {
                let copies = self.plan.dirs[index].steps.iter().filter(|step| {
                    matches!(step.todo, Todo::Copy { from, partial_bytes, .. } if from == side.peer() && partial_bytes > 0)
                });
                let partial_of = |step: &Step| {
                    let source = step.stat_on(side.peer())?;
                    Some(partial_path(step.name_on(side), dir.paths.of(side), &source))
                };
                copies.filter_map(partial_of).collect()
            });
            let litter: Vec<RelPath> = found
                .partials
                .of(side)
                .iter()
                .map(|(path, _)| path.clone())
                .filter(|path| !resumed.contains(path))
                .collect();
            if !litter.is_empty() {
                let index = self.planned(dir);
                *self.plan.dirs[index].litter.of_mut(side) = litter;
            }
        }
    }

    /// Counts for the guards how a recorded file changed on each side.
    pub fn count_changes(&mut self, pair: &Pair<'_>, status: Sides<Status>) {
        let Some(record) = &pair.record else { return };
        for side in Side::BOTH {
            let (Some(stat), Baseline::File { size, mtime, .. }) =
                (pair.stats.of(side), baseline(record, side))
            else {
                continue;
            };
            let changes = self.plan.changes.of_mut(side);
            match (status.of(side), stat.mtime) {
                (Status::Modified, Some(listed)) if stat.size == size => {
                    changes.count_retimed(mtime, listed.at)
                }
                _ => changes.count_other(),
            }
        }
    }
}

fn step(pair: &Pair<'_>, todo: Todo) -> Step {
    Step {
        name: pair.name.as_bytes().into(),
        remote_name: pair.remote_name.map(|name| name.as_bytes().into()),
        stats: pair.stats,
        inode: pair.inode,
        remote_shown: pair
            .shown
            .remote
            .filter(|shown| pair.stats.remote != Some(*shown))
            .map(Box::new),
        todo,
    }
}
