//! The plan while the walk makes it: directories get their place when the first thing is to be done in them.

use std::cell::Cell;
use std::rc::Rc;

use crate::path::{PartOwner, RelPath};
use crate::side::{Side, Sides};
use crate::sync::look::{Found, Pair, partial_path};
use crate::sync::plan::moved::{Gone, Place};
use crate::sync::plan::status::Status;
use crate::sync::plan::{DirPlan, OwnRecord, Plan, Retimed, Step, Todo};
use crate::sync::record::DirFacts;

/// A directory, and the way up from it.
#[derive(Debug)]
pub struct Dir {
    /// Its path on each side.
    pub paths: Sides<RelPath>,
    /// The path of its records.
    pub recorded: RelPath,
    /// The directory it is in; none for the root.
    pub parent: Option<Rc<Self>>,
    /// On which sides it is.
    pub there: Sides<bool>,
    /// How many directories are above it.
    pub depth: usize,
    /// What is to be remembered of it, once it was visited.
    pub facts: Cell<Option<DirFacts>>,
    /// Its place in the plan, once it has one.
    planned: Cell<Option<usize>>,
}

impl Dir {
    /// The directory at the top of a walk, on the sides that have it.
    pub fn top(path: &RelPath, there: Sides<bool>) -> Self {
        Self {
            paths: Sides::new(path.clone(), path.clone()),
            recorded: path.clone(),
            parent: None,
            there,
            depth: path.depth(),
            facts: Cell::new(None),
            planned: Cell::new(None),
        }
    }

    /// The directory that this pair in `parent` is.
    pub fn below(parent: &Rc<Self>, pair: &Pair<'_>, there: Sides<bool>) -> Self {
        let recorded = pair.record.as_ref().map_or(pair.name, |record| record.name);
        Self {
            paths: pair.paths_in(&parent.paths),
            recorded: parent.recorded.join(recorded),
            parent: Some(Rc::clone(parent)),
            there,
            depth: parent.depth + 1,
            facts: Cell::new(None),
            planned: Cell::new(None),
        }
    }

    /// This directory, as `old` is on the remote side and in the archive.
    pub fn moved_from(&self, old: &Self) -> Self {
        Self {
            paths: Sides::new(self.paths.local.clone(), old.paths.remote.clone()),
            recorded: old.recorded.clone(),
            parent: self.parent.clone(),
            there: Sides::new(true, true),
            depth: self.depth,
            facts: Cell::new(None),
            planned: Cell::new(None),
        }
    }

    /// Its place in the plan, if it has one.
    pub fn place(&self) -> Option<usize> {
        self.planned.get()
    }
}

/// A plan in the making.
#[derive(Debug)]
pub struct Draft {
    /// What is planned so far.
    pub plan: Plan,
    owner: PartOwner,
}

impl Draft {
    /// Nothing is planned yet. The partial files are those of `owner`.
    pub fn new(owner: PartOwner) -> Self {
        Self {
            plan: Plan::default(),
            owner,
        }
    }

    /// The directory's place in the plan; it and those above it get one now if they have none.
    pub fn planned(&mut self, dir: &Dir) -> usize {
        if let Some(index) = dir.planned.get() {
            return index;
        }
        let parent = dir.parent.as_ref().map(|parent| self.planned(parent));
        let index = self.plan.dirs.len();
        let plan = DirPlan::new(dir.paths.clone(), dir.recorded.clone(), parent);
        self.plan.dirs.push(plan);
        dir.planned.set(Some(index));
        index
    }

    /// The directory's plan, see [`Draft::planned`].
    pub fn plan_of(&mut self, dir: &Dir) -> &mut DirPlan {
        let index = self.planned(dir);
        &mut self.plan.dirs[index]
    }

    /// Has the directory, and those above it, made on that side where they are not there.
    pub fn ensure_there(&mut self, dir: &Dir, side: Side) {
        let mut next = Some(dir);
        while let Some(dir) = next.filter(|dir| !dir.there.of(side)) {
            let plan = self.plan_of(dir);
            plan.make_on = Some(side);
            plan.own_record = OwnRecord::Set;
            // Its inode is another now.
            if let (None, Some(facts)) = (plan.facts, dir.facts.get()) {
                plan.facts = Some(facts);
                plan.was_settled = facts.settled;
            }
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

    /// The directory turned out to be no content: whatever was planned for it as such is not done.
    pub fn leave_alone(&mut self, dir: &Dir) {
        self.keep(dir);
        if let Some(index) = dir.planned.get() {
            let plan = &mut self.plan.dirs[index];
            plan.make_on = None;
            plan.kept_on = None;
            plan.own_record = OwnRecord::Keep;
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
            .stats()
            .of(from)
            .map(|stat| partial_path(self.owner, pair.name_on(to), dir.paths.of(to), &stat));
        let left = found.partials.of(to).iter();
        let partial_bytes = left
            .filter(|(path, _)| Some(path) == partial.as_ref())
            .map(|(_, size)| *size)
            .next();
        self.add_step(
            dir,
            pair,
            Todo::Copy {
                from,
                status,
                is_resolution,
                partial_bytes: partial_bytes.unwrap_or(0),
            },
        );
    }

    /// Adds something to be done with an entry.
    pub fn add_step(&mut self, dir: &Dir, pair: &Pair<'_>, todo: Todo) {
        self.plan_of(dir).steps.push(step(pair, todo));
    }

    /// Notes a file that is to be deleted on the other side of `by` by the step that is added next, because it may have
    /// another name there now.
    pub fn note_gone(&mut self, dir: &Dir, found: &Found, pair: &Pair<'_>, by: Side) {
        let (Some(record), Some(shown)) = (&pair.record, pair.recorded_file()) else {
            return;
        };
        let (id, shown) = (*record.ids.of(by), *shown.of(by));
        let Some(mtime) = shown.mtime.filter(|_| id != 0) else {
            return;
        };
        let index = self.planned(dir);
        let at = Place {
            dir: index,
            step: self.plan.dirs[index].steps.len(),
        };
        self.plan.gone.of_mut(by).push(Gone {
            at,
            id,
            size: shown.size,
            mtime,
            seen_at: found.block.facts().seen_at,
        });
    }

    /// Notes a file of which the time moved and not the size, for a shift that may be accepted.
    pub fn note_retimed(&mut self, dir: &Dir, pair: &Pair<'_>, moved: Sides<Option<i64>>) {
        if moved == Sides::new(None, None) {
            return;
        }
        let step = step(pair, Todo::Record { digest: None });
        if !step.is_of_one_size() {
            return;
        }
        let dir = self.planned(dir);
        let last = self.plan.dirs[dir].steps.last();
        let is_planned = last.is_some_and(|last| last.name == step.name);
        let at = is_planned.then(|| self.plan.dirs[dir].steps.len() - 1);
        self.plan.retimed.push(Retimed {
            dir,
            at,
            step,
            moved,
        });
    }

    /// Our partial files that no planned copy goes on with are of no use; what a cut-off run had moved aside gets its name back.
    pub fn plan_clean_up(&mut self, dir: &Dir, found: &Found) {
        for side in Side::BOTH {
            let aside = found.aside.of(side);
            if !aside.is_empty() {
                *self.plan_of(dir).put_back.of_mut(side) = aside.clone();
            }
            if found.partials.of(side).is_empty() {
                continue;
            }
            let owner = self.owner;
            let resumed: Vec<RelPath> = dir.planned.get().map_or_else(Vec::new, |index| {
                let copies = self.plan.dirs[index].steps.iter().filter(|step| {
                    matches!(step.todo, Todo::Copy { from, partial_bytes, .. } if from == side.peer() && partial_bytes > 0)
                });
                let partial_of = |step: &Step| {
                    let source = step.stat_on(side.peer())?;
                    Some(partial_path(owner, step.name_on(side), dir.paths.of(side), &source))
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
                *self.plan_of(dir).litter.of_mut(side) = litter;
            }
        }
    }
}

fn step(pair: &Pair<'_>, todo: Todo) -> Step {
    let stats = pair.stats();
    Step {
        name: pair.name.as_bytes().into(),
        remote_name: pair.remote_name.map(|name| name.as_bytes().into()),
        stats,
        ids: pair.ids(),
        remote_shown: pair
            .shown()
            .remote
            .filter(|shown| stats.remote != Some(*shown))
            .map(Box::new),
        todo,
    }
}
