//! Renaming, copying and deleting files.

use std::time::{Duration, Instant};

use super::copy::{Batch, Copy, KeepBoth, place_staged};
use super::delete::Deletion;
use super::note::{copied, time_of_copy};
use super::rename::{Moving, move_batch, respell_batch};
use super::tell::deed_of;
use super::{BATCH, Run, trash, whole};
use crate::error::Result;
use crate::path::Name;
use crate::replica::{Kind, Renaming, Staging, Stat, Times, Written};
use crate::side::{Side, Sides};
use crate::sync::event::{Deed, DeletedFor, Event};
use crate::sync::look::filter::Verdict;
use crate::sync::look::spelling::{renamed, twin_hash};
use crate::sync::plan::aside::aside_name;
use crate::sync::plan::moved::Place;
use crate::sync::plan::{DirPlan, Respelling, Step, Todo};
use crate::sync::record::Change;
use crate::sync::workers::{Failure, Hands, Pile, Turn};
use crate::time::Timestamp;

/// How often waiting for workers is interrupted to tell how far they are.
const TELL_INTERVAL: Duration = Duration::from_millis(200);

/// How many staged files wait for their names at most, how many bytes they have, and for how long they wait: so much is
/// copied again after a kill, and so much a card writes in a moment. Each batch of them costs one wait for the disk.
const STAGED_FILES: usize = 256;
const STAGED_BYTES: u64 = 8 << 20;
const STAGED_FOR: Duration = Duration::from_secs(3);

/// How many bytes small files have together that are copied in one go: they wait in memory.
const GATHERED_BYTES: u64 = 1 << 20;

/// What a worker was sent for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand {
    /// To copy files.
    Copy,
    /// To give staged files of that side their names.
    Place(Side),
}

/// What a worker brings back of each.
pub(super) type Brought = (Place, Result<Came>);

/// What became of a file.
pub(super) enum Came {
    /// It is copied, or staged where it is to be.
    Copied(Staging),
    /// Both files of a conflict are copied: the loser, the winner.
    Both(Written, Written),
}

/// Small files that are to be copied together, from one side.
#[derive(Default)]
pub(super) struct Gathered {
    copies: Vec<(Place, Copy)>,
    bytes: u64,
}

/// Files that wait for their names, on one side.
#[derive(Default)]
pub(super) struct Staged {
    files: Vec<Place>,
    bytes: u64,
    since: Option<Instant>,
}

impl Staged {
    fn add(&mut self, file: Place, bytes: u64) {
        self.files.push(file);
        self.bytes += bytes;
        self.since.get_or_insert_with(Instant::now);
    }

    fn is_due(&self) -> bool {
        self.files.len() >= STAGED_FILES
            || self.bytes >= STAGED_BYTES
            || self
                .since
                .is_some_and(|since| since.elapsed() >= STAGED_FOR)
    }
}

impl<'env> Run<'_, '_, 'env> {
    /// Renames files on one side that were renamed on the other. Those that cannot be renamed are copied.
    pub(super) fn rename_files(&mut self) {
        for by in Side::BOTH {
            let (doable, hopeless): (Vec<_>, Vec<_>) = self
                .work
                .plan
                .renames_by(by)
                .into_iter()
                .partition(|(to, _)| !self.states[to.dir].unmade);
            for (to, old) in hopeless {
                self.unmoved.insert(to, (old, by));
            }
            for batch in doable.chunks(BATCH) {
                if self.is_stopped() {
                    return;
                }
                let moves: Vec<Moving> = batch
                    .iter()
                    .map(|(to, old)| self.moving(*to, *old, by))
                    .collect();
                let journal = self.work.journal;
                let moved = self.each(batch.len(), move |hands| {
                    move_batch(hands, by, journal, &moves)
                });
                for ((to, old), moved) in batch.iter().zip(moved) {
                    match moved {
                        Ok(written) => self.file_renamed(*to, *old, by, &written),
                        Err(error) => {
                            let path = self.work.plan.path_of(*to, Side::Local);
                            log::info!("renaming to {path}: {error}; it is sent instead");
                            self.work.plan.copy_instead(*to, by);
                            self.unmoved.insert(*to, (*old, by));
                        }
                    }
                }
                self.refresh_lock();
            }
        }
    }

    /// Renames on one side files of which the user changed the case on the other. Where that is refused, each side keeps its
    /// spelling.
    pub(super) fn respell_files(&mut self) {
        for dir in 0..self.work.plan.dirs.len() {
            let all = std::mem::take(&mut self.work.plan.dirs[dir].respellings);
            for batch in all.chunks(BATCH) {
                for on in Side::BOTH {
                    let of_side = batch.iter().filter(|one| one.by == on.peer());
                    let of_side: Vec<&Respelling> = of_side.collect();
                    if self.is_stopped() || of_side.is_empty() || self.states[dir].unmade {
                        continue;
                    }
                    let path = self.work.plan.dirs[dir].paths.of(on);
                    let old = |one: &Respelling| path.join(Name::accepted(&one.old));
                    let renames = of_side.iter().map(|one| Renaming {
                        from: old(one),
                        to: path.join(one.name()),
                    });
                    let renames: Vec<Renaming> = renames.collect();
                    let listed: Vec<Stat> = of_side.iter().map(|one| one.shown).collect();
                    let respelled = self.each(of_side.len(), move |hands| {
                        Ok(respell_batch(hands.of(on)?, &renames, &listed))
                    });
                    for (one, result) in of_side.into_iter().zip(respelled) {
                        self.file_respelled(dir, one, result);
                    }
                }
            }
        }
    }

    fn file_respelled(&mut self, dir: usize, one: &Respelling, result: Result<()>) {
        if self.stopped_by.is_some() {
            return;
        }
        let path = self.work.plan.dirs[dir].paths.local.join(one.name());
        let mut names = Sides::new(one.new.clone(), one.new.clone());
        match result {
            Ok(()) => {
                self.work.plan.totals.renamed += 1;
                self.placed_in.of_mut(one.by.peer()).insert(dir);
                (self.work.tell)(Event::Entry {
                    path: &path,
                    kind: Kind::File,
                    deed: Deed::Renamed { from: one.by },
                });
            }
            Err(error) => {
                log::info!("renaming to {path}: {error}; each side keeps its spelling");
                *names.of_mut(one.by.peer()) = one.old.clone();
            }
        }
        for change in renamed(&one.old, names, one.what, one.ids) {
            self.note_in(dir, &change);
        }
    }

    fn moving(&self, to: Place, old: Place, by: Side) -> Moving {
        let plan = &self.work.plan;
        let (new_step, old_step) = (plan.step(to), plan.step(old));
        let mut listed = Sides::new(new_step.shown_on(by), new_step.shown_on(by));
        *listed.of_mut(by.peer()) = old_step.shown_on(by.peer());
        let (Some(local), Some(remote)) = (listed.local, listed.remote) else {
            unreachable!("what is renamed was listed under both names");
        };
        let paths_of = |at| {
            Sides::new(
                plan.path_of(at, Side::Local),
                plan.path_of(at, Side::Remote),
            )
        };
        Moving {
            from: paths_of(old),
            to: paths_of(to),
            listed: Sides::new(local, remote),
            times: match plan.dirs[old.dir].has_remote_times && !local.may_equal(&remote) {
                true => Times::Lost,
                false => Times::Kept,
            },
            name: new_step.name.clone(),
        }
    }

    fn file_renamed(&mut self, to: Place, old: Place, by: Side, written: &Written) {
        let plan = &self.work.plan;
        let step = plan.step(to);
        let change = copied(&step.name, step.remote_name.as_deref(), step, by, written);
        let old_name = plan.step(old).name.clone();
        self.work.plan.totals.renamed += 1;
        self.placed_in.of_mut(by.peer()).insert(to.dir);
        self.note_in(to.dir, &change);
        self.note_in(
            old.dir,
            &Change::Forget {
                name: old_name.clone(),
            },
        );
        if by == Side::Local {
            self.leave_time(to, by, written);
            self.forget_time(old.dir, &old_name);
        }
        self.tell_step(to);
    }

    fn leave_time(&mut self, at: Place, from: Side, written: &Written) {
        let step = self.work.plan.step(at);
        let has_times = self.work.plan.dirs[at.dir].has_remote_times;
        if let (Side::Local, Some(source)) = (from, step.stat_on(from))
            && let Some(change) = time_of_copy(&step.name, &source, written, has_times)
        {
            self.times.push((at.dir, change));
        }
    }

    /// What could neither be renamed nor copied stays where it is.
    pub(super) fn keep_unmoved(&mut self) {
        for (_, (old, _)) in std::mem::take(&mut self.unmoved) {
            self.keep(old.dir);
        }
    }

    /// Copies all files, with all workers at once, and notes what needs no copying.
    pub(super) fn copy_files(&mut self) {
        let (mut twins, mut last) = (Vec::new(), Vec::new());
        for dir in 0..self.work.plan.dirs.len() {
            if self.is_stopped() {
                break;
            }
            let of_dir = twins_among(&self.work.plan.dirs[dir].steps);
            for step in 0..self.work.plan.dirs[dir].steps.len() {
                if self.is_stopped() {
                    break;
                }
                let at = Place { dir, step };
                let is_twin = of_dir.binary_search(&step).is_ok();
                if self.comes_last(at) {
                    last.push((at, is_twin));
                } else if is_twin {
                    twins.push(at);
                } else {
                    self.begin_in_turn(at);
                }
            }
        }
        for at in twins {
            self.begin_alone(at);
        }
        self.end_copies();
        self.copy_last(&last);
        for side in Side::BOTH {
            let untried = *self.full.of(side);
            if untried > 0 {
                self.work.plan.totals.errors += untried;
                self.work.plan.totals.copy_errors += untried;
                self.warn(&format!(
                    "{untried} more files were not copied, because the {side} side is full"
                ));
            }
        }
    }

    /// Copies what waited until all else is in place; it goes on waiting where something is not.
    fn copy_last(&mut self, last: &[(Place, bool)]) {
        if last.is_empty() || self.is_stopped() {
            return;
        }
        if !self.went_well() {
            last.iter().for_each(|(at, _)| self.keep(at.dir));
            self.warn(&format!(
                "files that come last (--last) wait for the next run, {} of them, and so does what is to be deleted: something \
                 before them failed",
                last.len()
            ));
            return;
        }
        for (at, is_twin) in last {
            if self.is_stopped() {
                break;
            }
            if *is_twin {
                self.begin_alone(*at);
            } else {
                self.begin_in_turn(*at);
            }
        }
        self.end_copies();
    }

    fn comes_last(&self, at: Place) -> bool {
        if self.work.job.policy.last.is_empty() {
            return false;
        }
        let is_copy = match self.work.plan.step(at).todo {
            Todo::Copy { .. } | Todo::KeepBoth { .. } => true,
            Todo::Record { .. }
            | Todo::Forget { .. }
            | Todo::Delete { .. }
            | Todo::Rename { .. }
            | Todo::RenamedAway => false,
        };
        let path = self.work.plan.path_of(at, Side::Local);
        is_copy && self.work.last.judge(&path, Kind::File) != Verdict::Accepted
    }

    /// Begins a step as soon as a worker can take it.
    fn begin_in_turn(&mut self, at: Place) {
        self.begin_step(at);
        while self.copies.pending() >= self.work.workers.room() {
            self.take_result();
        }
    }

    /// Begins a step when all others are through, and sees it through: it is to see what they made of a name that looks like its own.
    fn begin_alone(&mut self, at: Place) {
        self.end_copies();
        if !self.is_stopped() {
            self.begin_step(at);
            self.end_copies();
        }
    }

    /// Waits for all that is under way, and gives what is staged its names.
    fn end_copies(&mut self) {
        for from in Side::BOTH {
            if !self.is_stopped() {
                self.send_gathered(from);
            }
        }
        while self.copies.pending() > 0 {
            self.take_result();
        }
        self.place_last();
    }

    /// Notes what needs no transfer; hands the rest to a worker.
    fn begin_step(&mut self, at: Place) {
        let todo = self.work.plan.step(at).todo;
        match todo {
            Todo::Record { .. } | Todo::Forget { .. } => {
                self.note_record(at);
                self.tell_step(at);
            }
            // A rename that is still one was never tried.
            Todo::Delete { .. } | Todo::Rename { .. } | Todo::RenamedAway => {}
            // That the directory could not be made was told; it stands for all that is in it.
            Todo::Copy { .. } | Todo::KeepBoth { .. } if self.states[at.dir].unmade => {}
            Todo::Copy { from, .. } if *self.full.of(from.peer()) > 0 => {
                *self.full.of_mut(from.peer()) += 1;
                self.states[at.dir].failed = true;
            }
            Todo::Copy {
                from,
                partial_bytes,
                ..
            } => self.begin_copy(at, from, partial_bytes),
            Todo::KeepBoth { winner } => {
                let mut both = self.keep_both(at, winner);
                let terms = self.work.copying;
                self.send(Errand::Copy, vec![at], move |hands, brought| {
                    let (loser, winner) = both.run(hands, terms)?;
                    brought.push((at, Ok(Came::Both(loser, winner))));
                    Ok(())
                });
            }
        }
    }

    /// Hands a copy to a worker, or gathers it with others.
    fn begin_copy(&mut self, at: Place, from: Side, partial_bytes: u64) {
        let copy = self.copy_with_aside(at, from, partial_bytes);
        if !copy.is_small(self.work.copying) {
            return self.send_copies(vec![(at, copy)]);
        }
        let most = self.work.workers.batch();
        let gathered = self.gathered.of_mut(from);
        gathered.bytes += copy.source.size;
        gathered.copies.push((at, copy));
        if gathered.copies.len() >= most || gathered.bytes >= GATHERED_BYTES {
            self.send_gathered(from);
        }
    }

    fn copy_with_aside(&self, at: Place, from: Side, partial_bytes: u64) -> Copy {
        let plan = &self.work.plan;
        let mut copy = copy_of(&plan.dirs[at.dir], plan.step(at), from);
        copy.partial_bytes = partial_bytes;
        if let (Some(trash), Some(_)) = (&self.work.job.policy.trash, copy.replaces) {
            let path = copy.paths.of(from.peer());
            let second = *self.trash_of.of(from.peer());
            copy.set_aside = Some(trash::place(trash, second, path));
        }
        copy
    }

    fn send_gathered(&mut self, from: Side) {
        let gathered = std::mem::take(self.gathered.of_mut(from));
        if !gathered.copies.is_empty() {
            self.send_copies(gathered.copies);
        }
    }

    fn send_copies(&mut self, copies: Vec<(Place, Copy)>) {
        let places = copies.iter().map(|(at, _)| *at).collect();
        let mut batch = Batch::of(copies);
        let terms = self.work.copying;
        self.send(Errand::Copy, places, move |hands, brought| {
            let mut done = Vec::new();
            let ran = batch.run(hands, terms, &mut done);
            let came = |(at, result): (Place, Result<Staging>)| (at, result.map(Came::Copied));
            brought.extend(done.into_iter().map(came));
            ran
        });
    }

    /// Sends a worker on an errand, from which [`Run::take_result`] takes what it brings.
    fn send(
        &mut self,
        errand: Errand,
        files: Vec<Place>,
        task: impl FnMut(&mut Hands<'env>, &mut Vec<Brought>) -> Result<()> + Send + 'env,
    ) {
        let workers = self.work.workers;
        workers.send_pile(&mut self.copies, (errand, files), Turn::Last, task);
    }

    fn keep_both(&self, at: Place, winner: Side) -> KeepBoth {
        let plan = &self.work.plan.dirs[at.dir];
        let step = &plan.steps[at.step];
        let loser = winner.peer();
        let aside = aside_of(plan, step, self.work.now);
        let aside = Name::new(&aside).expect("a good name with a time in it is a good name");
        let listed = "both files of a kept conflict are there";
        let source = step.stat_on(loser).expect(listed);
        let shown = step.shown_on(loser).expect(listed);
        let mut paths = Sides::new(plan.paths.local.join(aside), plan.paths.remote.join(aside));
        *paths.of_mut(loser) = plan.paths.of(loser).join(step.name_on(loser));
        let dir = plan.paths.local.clone();
        let of_loser = Copy::new(loser, dir, aside, paths, source, shown);
        let mut of_winner = copy_of(plan, step, winner);
        of_winner.set_aside = Some(plan.paths.of(loser).join(aside));
        KeepBoth::new(of_loser, of_winner)
    }

    /// Takes one result of what is under way, or tells how far it is.
    fn take_result(&mut self) {
        let workers = self.work.workers;
        let next = workers.next(&mut self.copies, Some(TELL_INTERVAL));
        let bytes = self.work.copying.moved.take();
        if bytes > 0 {
            (self.work.tell)(Event::Moved { bytes });
        }
        self.refresh_lock();
        for side in Side::BOTH {
            if self.staged.of(side).is_due() && !self.is_stopped() {
                self.place_staged(side);
            }
        }
        if let Some(((errand, files), pile)) = next {
            self.take_pile(errand, files, pile);
        }
    }

    fn take_pile(&mut self, errand: Errand, mut left: Vec<Place>, pile: Pile<Brought>) {
        for (at, result) in pile.brought {
            left.retain(|other| *other != at);
            match result {
                Ok(came) => self.step_done(at, came),
                Err(error) => self.copy_failed(at, Failure::Entry(error)),
            }
        }
        match (errand, pile.failure) {
            (_, None) => {}
            (Errand::Place(side), Some(failure)) => self.not_placed(side, left, failure),
            // One of them may be what a server dies of: each for itself tells which.
            (Errand::Copy, Some(Failure::Entry(error))) if left.len() > 1 => {
                log::info!("{error}; trying each file by itself");
                for at in left {
                    if let Todo::Copy { from, .. } = self.work.plan.step(at).todo {
                        let copy = self.copy_with_aside(at, from, 0);
                        self.send_copies(vec![(at, copy)]);
                    }
                }
            }
            (Errand::Copy, Some(failure)) => self.not_copied(left, failure),
        }
    }

    fn not_copied(&mut self, files: Vec<Place>, failure: Failure) {
        let mut files = files.into_iter();
        if let Some(first) = files.next() {
            self.copy_failed(first, failure);
        }
        for at in files {
            self.work.plan.totals.copy_errors += 1;
            self.keep(at.dir);
        }
    }

    /// Sends a worker to give the staged files of that side their names.
    fn place_staged(&mut self, side: Side) {
        let Some((files, copies)) = self.take_staged(side) else {
            return;
        };
        let terms = self.work.copying;
        self.send(Errand::Place(side), files.clone(), move |hands, brought| {
            let placed = whole(place_staged(hands.of(side)?, &copies, terms))?;
            let placed = placed.into_iter().map(came_to_place);
            brought.extend(files.iter().copied().zip(placed));
            Ok(())
        });
    }

    /// Gives the staged files that are left their names, without a worker: also where the run is to stop, or the line is
    /// dead, no partial file stays of what is whole.
    fn place_last(&mut self) {
        let terms = self.work.copying;
        for side in Side::BOTH {
            let Some((files, copies)) = self.take_staged(side) else {
                continue;
            };
            match self.work.workers.open(side) {
                Ok(mut replica) => {
                    let placed = place_staged(replica.as_mut(), &copies, terms);
                    let placed = placed.into_iter().map(came_to_place);
                    let brought = files.iter().copied().zip(placed).collect();
                    let failure = None;
                    self.take_pile(Errand::Place(side), files, Pile { brought, failure });
                }
                Err(error) => self.not_placed(side, files, Failure::Job(error)),
            }
        }
    }

    fn take_staged(&mut self, side: Side) -> Option<(Vec<Place>, Vec<Copy>)> {
        let files = std::mem::take(self.staged.of_mut(side)).files;
        let plan = &self.work.plan;
        let copies = files
            .iter()
            .map(|at| copy_of(&plan.dirs[at.dir], plan.step(*at), side.peer()));
        let copies: Vec<Copy> = copies.collect();
        (!files.is_empty()).then_some((files, copies))
    }

    /// Nobody could place them, which says nothing about one of them: they wait for [`Run::place_last`].
    fn not_placed(&mut self, side: Side, files: Vec<Place>, failure: Failure) {
        for at in files {
            self.keep(at.dir);
            self.stage(at, side);
        }
        self.stop_on(Failure::Job(failure.into_error()));
    }

    fn stage(&mut self, at: Place, side: Side) {
        let source = self.work.plan.step(at).stat_on(side.peer());
        let bytes = source.map_or(0, |stat| stat.size);
        self.staged.of_mut(side).add(at, bytes);
    }

    fn copy_failed(&mut self, at: Place, failure: Failure) {
        let path = self.work.plan.path_of(at, Side::Local);
        let (Failure::Entry(error) | Failure::Job(error)) = &failure;
        if error.is_full()
            && let Todo::Copy { from, .. } = self.work.plan.step(at).todo
        {
            *self.full.of_mut(from.peer()) += 1;
        }
        self.work.plan.totals.copy_errors += 1;
        self.take_failure(at.dir, &path, failure);
    }

    fn step_done(&mut self, at: Place, came: Came) {
        let step = self.work.plan.step(at);
        match (step.todo, came) {
            (Todo::Copy { from, .. }, Came::Copied(Staging::Staged)) => {
                self.stage(at, from.peer());
                return;
            }
            (Todo::Copy { from, .. }, Came::Copied(Staging::Placed(written))) => {
                let name = step.remote_name.as_deref();
                let change = copied(&step.name, name, step, from, &written);
                self.count_written(at, from);
                self.leave_time(at, from, &written);
                self.note_step(at, [change]);
            }
            (Todo::KeepBoth { winner }, Came::Both(loser, won)) => {
                let aside = aside_of(&self.work.plan.dirs[at.dir], step, self.work.now);
                let name = step.remote_name.as_deref();
                let changes = [
                    copied(&aside, None, step, winner.peer(), &loser),
                    copied(&step.name, name, step, winner, &won),
                ];
                self.count_written(at, winner.peer());
                self.count_written(at, winner);
                let of_upload = match winner {
                    Side::Local => won,
                    Side::Remote => loser,
                };
                self.leave_time(at, Side::Local, &of_upload);
                self.note_step(at, changes);
            }
            (
                Todo::Copy { .. }
                | Todo::KeepBoth { .. }
                | Todo::Record { .. }
                | Todo::Forget { .. }
                | Todo::Delete { .. }
                | Todo::Rename { .. }
                | Todo::RenamedAway,
                Came::Copied(_) | Came::Both(..),
            ) => unreachable!("a step's task brings what the step is about"),
        }
        if let Some((old, by)) = self.unmoved.remove(&at) {
            self.work.plan.delete_renamed(old, by.peer());
        }
        self.tell_step(at);
    }

    fn count_written(&mut self, at: Place, from: Side) {
        let to = from.peer();
        let bytes = self
            .work
            .plan
            .step(at)
            .stat_on(from)
            .map_or(0, |stat| stat.size);
        *self.work.plan.totals.files_written.of_mut(to) += 1;
        *self.work.plan.totals.bytes_written.of_mut(to) += bytes;
        self.placed_in.of_mut(to).insert(at.dir);
    }

    pub(super) fn tell_step(&mut self, at: Place) {
        let plan = &self.work.plan;
        if let Some(deed) = deed_of(plan.step(at)) {
            (self.work.tell)(Event::Entry {
                path: &plan.path_of(at, Side::Local),
                kind: Kind::File,
                deed,
            });
        }
    }

    pub(super) fn delete_files(&mut self) {
        for on in Side::BOTH {
            let mut deletions = Vec::new();
            for (index, dir) in self.work.plan.dirs.iter().enumerate().rev() {
                if self.states[index].failed {
                    continue;
                }
                deletions.extend(dir.steps.iter().filter_map(|step| match step.todo {
                    Todo::Delete { on: side, why, .. } if side == on => Some(Deletion {
                        dir: index,
                        paths: Sides::new(
                            dir.paths.local.join(step.name_on(Side::Local)),
                            dir.paths.remote.join(step.name_on(Side::Remote)),
                        ),
                        kind: Kind::File,
                        listed: step.shown_on(on),
                        needs_denial: why == DeletedFor::Missing,
                        deed: deed_of(step)?,
                        name: step.name.clone(),
                    }),
                    Todo::Delete { .. }
                    | Todo::Record { .. }
                    | Todo::Forget { .. }
                    | Todo::Copy { .. }
                    | Todo::Rename { .. }
                    | Todo::RenamedAway
                    | Todo::KeepBoth { .. } => None,
                }));
            }
            self.delete_all(on, &deletions);
        }
    }
}

fn came_to_place(placed: Result<Written>) -> Result<Came> {
    placed.map(|written| Came::Copied(Staging::Placed(written)))
}

/// The steps that copy to a name which looks like that of an earlier one, in their order. A side may take both for one: under way at the same time,
/// neither would see the other, and the last one would stay.
fn twins_among(steps: &[Step]) -> Vec<usize> {
    let copies = steps.iter().enumerate().filter_map(|(at, step)| {
        let Todo::Copy { from, .. } = step.todo else {
            return None;
        };
        Some((twin_hash(step.name_on(from.peer()).as_bytes()), at))
    });
    let mut copies: Vec<(u32, usize)> = copies.collect();
    copies.sort_unstable();
    let alike = copies.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let mut twins: Vec<usize> = alike.map(|pair| pair[1].1).collect();
    twins.sort_unstable();
    twins
}

fn copy_of(plan: &DirPlan, step: &Step, from: Side) -> Copy {
    let name = step.name_on(Side::Local);
    let paths = Sides::new(
        plan.paths.local.join(name),
        plan.paths.remote.join(step.name_on(Side::Remote)),
    );
    let listed = "what is copied was listed";
    let source = step.stat_on(from).expect(listed);
    let shown = step.shown_on(from).expect(listed);
    let mut copy = Copy::new(from, plan.paths.local.clone(), name, paths, source, shown);
    copy.replaces = step.shown_on(from.peer());
    copy
}

/// The name under which the loser of a conflict is kept. A run that was killed within this second may have left a file
/// of that name, and something is to be done with it.
fn aside_of(plan: &DirPlan, step: &Step, now: Timestamp) -> Box<[u8]> {
    let is_taken = |name: &[u8]| plan.steps.iter().any(|other| *other.name == *name);
    aside_name(&step.name, now, is_taken)
}
