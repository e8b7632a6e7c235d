//! Carries a plan out, in the order that loses nothing: make directories ▸ copy files ▸ delete, deepest first ▸
//! record, deepest first. One failing entry does not stop the others; what ends the run ends it between two steps,
//! and what was done by then is recorded.
//!
//! Nothing is deleted before the other side has denied that exact name and the entry was seen unchanged, and never in
//! a directory in which an earlier step failed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::{Doing, Error, ErrorKind, Result, Scope};
use crate::job::Job;
use crate::path::{Name, RelPath};
use crate::replica::{Kind, Removal, Staging, Stat, Times, Written};
use crate::side::{Side, Sides};
use crate::sync::classify::Status;
use crate::sync::deletion::{Deletion, delete_batch};
use crate::sync::digest;
use crate::sync::event::{Deed, DeletedFor, Event, Resolved};
use crate::sync::journal::Doomed;
use crate::sync::lock::{self, RemoteLock};
use crate::sync::moving::{Moving, move_batch};
use crate::sync::noted::{Change, copied, recorded};
use crate::sync::plan::{DirPlan, OldName, OwnRecord, Plan, Step, Todo};
use crate::sync::pool::{Failure, Hands, Pool, Task};
use crate::sync::rename::Place;
use crate::sync::store;
use crate::sync::survey::Terms;
use crate::sync::transfer::{self, Copy, KeepBoth, ancestors};
use crate::sync::trash;
use crate::sync::{Done, Summary};
use crate::time::Timestamp;

/// How many names travel in one batch of questions or deletions.
const BATCH: usize = 256;

/// How often waiting for workers is interrupted to tell how far they are.
const TELL_INTERVAL: Duration = Duration::from_millis(200);

/// When the journal has grown to this, what was done is recorded and the journal emptied: it is read whole into the
/// memory of the next run if this one is cut off.
const JOURNAL_BYTES: u64 = 1 << 20;

/// How many staged files wait for their names at most, how many bytes they have, and for how long they wait: so much is
/// copied again after a kill, and so much a card writes in a moment. Each batch of them costs one wait for the disk.
const STAGED_FILES: usize = 256;
const STAGED_BYTES: u64 = 8 << 20;
const STAGED_FOR: Duration = Duration::from_secs(3);

/// Room that downloads leave on the local disk: a full disk breaks more than a sync.
const RESERVE_BYTES: u64 = 8 << 20;

/// What carrying out a plan takes.
pub struct Execution<'w, 'scope, 'env> {
    /// The job.
    pub job: &'env Job,
    /// What all surveys have in common: whose records, which trash.
    pub terms: &'env Terms,
    /// What all copies have in common.
    pub copying: &'env transfer::Terms<'env>,
    /// Who does it.
    pub pool: &'w mut Pool<'scope, 'env, Done>,
    /// Who listens.
    pub tell: &'w mut dyn FnMut(Event<'_>),
    /// What this run calls itself in the remote lock.
    pub holder: &'env str,
    /// The wall clock at the start.
    pub now: Timestamp,
    /// What is to be done.
    pub plan: Plan,
}

/// Carries the plan out and records what was truly made equal.
///
/// An error means that nothing was changed.
pub fn execute(execution: Execution<'_, '_, '_>) -> Result<Summary> {
    let states = execution
        .plan
        .dirs
        .iter()
        .map(|_| DirState::default())
        .collect();
    let mut run = Run {
        states,
        lock: None,
        full: Sides::new(0, 0),
        stopped_by: None,
        needs_journal: false,
        unsettled: HashSet::new(),
        unmoved: HashMap::new(),
        under_way: HashMap::new(),
        staged: Sides::default(),
        unsaved: false,
        work: execution,
    };
    if run.work.plan.is_empty() {
        run.release_left_lock();
    } else {
        run.check_room()?;
        run.take_lock()?;
        run.prepare();
        run.make_dirs();
        run.rename_files();
        run.copy_files();
        run.keep_unmoved();
        run.delete_files();
        run.delete_dirs();
        run.finish();
    }
    Ok(run.summary())
}

/// Tells what would be done.
pub fn tell_plan(plan: &Plan, tell: &mut dyn FnMut(Event<'_>)) {
    for dir in &plan.dirs {
        let path = &dir.paths.local;
        if let Some(side) = dir.make_on {
            tell(Event::Entry {
                path,
                kind: Kind::Dir,
                deed: made(side),
            });
        }
        if dir.moved_from.is_some() {
            tell(Event::Entry {
                path,
                kind: Kind::Dir,
                deed: Deed::Renamed { from: Side::Local },
            });
        }
        for step in &dir.steps {
            if let Some(deed) = deed_of(step) {
                let path = path.join(step.name_on(Side::Local));
                tell(Event::Entry {
                    path: &path,
                    kind: Kind::File,
                    deed,
                });
            }
        }
        if let Some((on, why)) = dir.remove_on {
            tell(Event::Entry {
                path,
                kind: Kind::Dir,
                deed: Deed::Deleted { on, why },
            });
        }
    }
}

const fn made(on: Side) -> Deed {
    Deed::Copied {
        from: on.peer(),
        status: Status::New,
        bytes: 0,
    }
}

/// What a step is called when it is done; none for what was told when it was decided.
fn deed_of(step: &Step) -> Option<Deed> {
    let bytes = |side: Side| step.stat_on(side).map_or(0, |stat| stat.size);
    match step.todo {
        Todo::Record { .. } | Todo::RenamedAway => None,
        Todo::Forget => Some(Deed::Forgotten),
        Todo::Rename { .. } => Some(Deed::Renamed { from: Side::Local }),
        Todo::Copy {
            from,
            status,
            is_resolution: false,
            ..
        } => Some(Deed::Copied {
            from,
            status,
            bytes: bytes(from),
        }),
        Todo::Copy {
            from,
            is_resolution: true,
            ..
        } => Some(Deed::Resolved(match step.stat_on(from.peer()) {
            Some(_) => Resolved::Copied {
                from,
                bytes: bytes(from),
            },
            None => Resolved::Restored {
                from,
                bytes: bytes(from),
            },
        })),
        Todo::Delete {
            on,
            why,
            is_resolution: false,
        } => Some(Deed::Deleted { on, why }),
        Todo::Delete {
            on,
            is_resolution: true,
            ..
        } => Some(Deed::Resolved(Resolved::Deleted { on })),
        Todo::KeepBoth { winner } => Some(Deed::Resolved(Resolved::KeptBoth { winner })),
    }
}

/// What became of a directory so far.
#[derive(Debug, Default)]
struct DirState {
    /// Something in it failed: nothing is deleted in it.
    failed: bool,
    /// It is not removed, because something in it or below failed.
    stays: bool,
    /// It could not be made: nothing can be put into it.
    unmade: bool,
    /// It is gone from the side it was to be removed from.
    removed: bool,
    /// What its metadata, on both sides, does not yet say, but for what follows from steps that only record.
    changes: Vec<Change>,
    /// How many of its steps were come to.
    begun: usize,
    /// Up to which step those are recorded that only record.
    recorded: usize,
}

impl DirState {
    /// What follows from steps that only record and are not yet recorded: made when it is written, because a first run
    /// over two equal trees is all of it.
    fn records(&self, plan: &DirPlan) -> impl Iterator<Item = Change> {
        let steps = plan.steps[self.recorded..self.begun].iter();
        steps.flat_map(|step| match step.todo {
            Todo::Record { uploaded_at } => recorded(step, uploaded_at),
            Todo::Forget
            | Todo::Copy { .. }
            | Todo::Delete { .. }
            | Todo::Rename { .. }
            | Todo::RenamedAway
            | Todo::KeepBoth { .. } => Vec::new(),
        })
    }
}

/// When something is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// While more is to be done.
    Meanwhile,
    /// All that can be done is done.
    AtTheEnd,
}

struct Run<'w, 'scope, 'env> {
    work: Execution<'w, 'scope, 'env>,
    states: Vec<DirState>,
    lock: Option<RemoteLock>,
    /// How many copies were not tried because that side is full.
    full: Sides<u64>,
    stopped_by: Option<Error>,
    /// Whether the next run needs to know what this one had in hand: partial files are left, one of the two files of a
    /// conflict is copied, or files stay that were to be deleted and that no record knows.
    needs_journal: bool,
    /// Entries of which only the journal tells what became of them, by directory and name.
    unsettled: HashSet<(RelPath, Box<[u8]>)>,
    /// Files that could not be renamed and are not copied yet: the place of the old name, by that of the new one.
    unmoved: HashMap<Place, Place>,
    /// What workers have in hand while files are copied.
    under_way: HashMap<u64, Errand>,
    /// Files that wait for their names, on each side.
    staged: Sides<Staged>,
    /// Whether something that was done could not be recorded.
    unsaved: bool,
}

/// What a worker was sent for.
enum Errand {
    /// To copy a file.
    Copy(Place),
    /// To give staged files their names.
    Place(Vec<Place>),
}

/// Files that wait for their names, on one side.
#[derive(Default)]
struct Staged {
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
    /// Refuses downloads that do not fit on the disk, before the first byte.
    fn check_room(&mut self) -> Result<()> {
        let wanted = Sides::new(
            self.work.plan.copies_to(Side::Local).1,
            self.work.plan.copies_to(Side::Remote).1,
        );
        if wanted == Sides::new(0, 0) {
            return Ok(());
        }
        let asked = self.work.pool.call(Box::new(move |hands| {
            let room = |side: Side, hands: &mut Hands| match *wanted.of(side) {
                0 => Ok(None),
                _ => hands.sides.of_mut(side).free_space(),
            };
            Ok(Done::Room(Sides::new(
                room(Side::Local, hands)?,
                room(Side::Remote, hands)?,
            )))
        }));
        let Done::Room(room) = asked.map_err(Failure::into_error)? else {
            unreachable!("a question for room brings the room");
        };
        for side in Side::BOTH {
            if let Some(free) = room.of(side)
                && wanted.of(side).saturating_add(RESERVE_BYTES) > *free
            {
                let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
                return Err(Error::new(ErrorKind::Disk(full)).while_doing(format!(
                    "the files to be copied take {} bytes, and the {side} side has {free} left (of which {RESERVE_BYTES} \
                     stay free); nothing was changed",
                    wanted.of(side),
                )));
            }
        }
        Ok(())
    }

    /// Takes the remote lock if anything is to be written there, and honours another's in any case.
    fn take_lock(&mut self) -> Result<()> {
        let writes = self.work.plan.writes(Side::Remote);
        if !writes && !self.work.plan.lock_seen {
            return Ok(());
        }
        let (holder, now) = (self.work.holder, self.work.now);
        let make_root = self
            .work
            .plan
            .dirs
            .first()
            .is_some_and(|root| root.make_on == Some(Side::Remote));
        let taken = self.work.pool.call(Box::new(move |hands| {
            let remote = hands.sides.remote.as_mut();
            if make_root {
                remote
                    .make_dirs(&[RelPath::root()])
                    .into_iter()
                    .collect::<Result<()>>()?;
            }
            if writes {
                RemoteLock::take(remote, holder, now)?;
            } else {
                RemoteLock::check(remote, holder, now)?;
            }
            Ok(Done::Nothing)
        }));
        taken
            .map_err(Failure::into_error)
            .doing(|| "locking the remote directory")?;
        if writes {
            self.lock = Some(RemoteLock::held_by(holder));
        } else {
            self.release_left_lock();
        }
        Ok(())
    }

    /// Removes the lock of a run from here that was killed; this one needs none.
    fn release_left_lock(&mut self) {
        if !self.work.plan.lock_seen {
            return;
        }
        let holder = self.work.holder;
        let released = self.work.pool.call(Box::new(move |hands| {
            RemoteLock::release_left(hands.sides.remote.as_mut(), holder)?;
            Ok(Done::Nothing)
        }));
        if let Err(failure) = released {
            log::info!(
                "removing the lock that an earlier run left: {}",
                failure.into_error()
            );
        }
    }

    /// Removes what earlier runs left behind, and puts damaged metadata out of the way.
    fn prepare(&mut self) {
        if let Some(journal) = self.work.copying.journal
            && let Err(error) = journal.begin()
        {
            self.warn(&format!(
                "{error}; a run that is cut off may find conflicts where there are none"
            ));
        }
        let litter = Side::BOTH.into_iter().map(|side| {
            let of_side = self
                .work
                .plan
                .dirs
                .iter()
                .flat_map(|dir| dir.litter.of(side));
            (
                side,
                of_side
                    .map(|path| Removal::File(path.clone()))
                    .collect::<Vec<_>>(),
            )
        });
        for (side, removals) in litter.collect::<Vec<_>>() {
            for batch in removals.chunks(BATCH) {
                let batch = batch.to_vec();
                let removed = self.each(batch.len(), move |hands| {
                    hands.sides.of_mut(side).remove(&batch)
                });
                for error in removed.into_iter().filter_map(Result::err) {
                    log::info!("removing a partial file on the {side} side: {error}");
                }
            }
        }
        let damaged: Vec<(Side, RelPath)> = self
            .work
            .plan
            .dirs
            .iter()
            .flat_map(|dir| {
                Side::BOTH
                    .into_iter()
                    .filter(|side| *dir.damaged.of(*side))
                    .map(|side| (side, dir.paths.of(side).clone()))
            })
            .collect();
        for (side, dir) in damaged {
            let set_aside = self.work.pool.call(Box::new(move |hands| {
                match side {
                    Side::Local => store::set_aside(hands.metadata_home(), &dir)?,
                    Side::Remote => store::set_aside(hands.sides.remote.as_mut(), &dir)?,
                }
                Ok(Done::Nothing)
            }));
            if let Err(failure) = set_aside {
                self.take_failure(None, &RelPath::root(), failure);
            }
        }
    }

    /// Makes directories, and renames those that are there under another name: each once the one it is to be in is
    /// there.
    fn make_dirs(&mut self) {
        for side in Side::BOTH {
            let mut waiting = Vec::new();
            for index in 0..self.work.plan.dirs.len() {
                let dir = &self.work.plan.dirs[index];
                if dir.make_on == Some(side) {
                    waiting.push(index);
                }
                if let (Side::Remote, Some(old)) = (side, dir.moved_from.clone()) {
                    self.make_all(side, &std::mem::take(&mut waiting));
                    self.move_dir(index, &old);
                }
            }
            self.make_all(side, &waiting);
        }
    }

    fn make_all(&mut self, side: Side, all: &[usize]) {
        for batch in all.chunks(BATCH) {
            if self.is_stopped() {
                return;
            }
            let paths: Vec<RelPath> = batch
                .iter()
                .map(|index| self.work.plan.dirs[*index].paths.of(side).clone())
                .collect();
            let results = self.each(batch.len(), move |hands| {
                hands.sides.of_mut(side).make_dirs(&paths)
            });
            for (index, result) in batch.iter().zip(results) {
                self.dir_made(*index, side, result);
            }
        }
    }

    fn move_dir(&mut self, index: usize, old: &OldName) {
        let parent = self.work.plan.dirs[index].parent;
        if self.is_stopped() || parent.is_some_and(|parent| self.states[parent].unmade) {
            self.leave_unmoved(index, old);
            return;
        }
        let plan = &self.work.plan;
        let moving = Moving {
            from: plan.old_paths(old),
            to: plan.dirs[index].paths.clone(),
            listed: Sides::new(Stat::dir(), Stat::dir()),
            times: Times::Unknown,
        };
        let path = moving.to.local.clone();
        match self.move_all(vec![moving]).pop() {
            Some(Ok(_)) => {
                let name = old.names.local.clone();
                self.states[old.parent]
                    .changes
                    .push(Change::Forget { name });
                self.work.plan.totals.renamed += 1;
                (self.work.tell)(Event::Entry {
                    path: &path,
                    kind: Kind::Dir,
                    deed: Deed::Renamed { from: Side::Local },
                });
            }
            Some(Err(error)) => {
                self.leave_unmoved(index, old);
                if self.stopped_by.is_none() {
                    // Its records were about the old name. Without them the next run takes it for new, and copies it.
                    self.states[index].changes = vec![Change::ForgetAll];
                    self.save_dir(index, When::Meanwhile);
                    let error = error.while_doing(
                        "renaming the directory on the remote side (the next run copies it)",
                    );
                    self.take_failure(Some(index), &path, Failure::Entry(error));
                }
            }
            None => unreachable!("one answer for one directory"),
        }
    }

    /// Nothing is done in a directory that has not got its new name, nor with what has the old one.
    fn leave_unmoved(&mut self, index: usize, old: &OldName) {
        self.keep(old.parent);
        self.states[index].unmade = true;
        // Parents stand before their children.
        for below in index..self.work.plan.dirs.len() {
            let parent = self.work.plan.dirs[below].parent;
            if parent.is_some_and(|parent| self.states[parent].unmade) {
                self.states[below].unmade = true;
            }
            self.states[below].failed |= self.states[below].unmade;
        }
    }

    fn dir_made(&mut self, index: usize, side: Side, result: Result<()>) {
        let path = self.work.plan.dirs[index].paths.local.clone();
        let parent_unmade = self.work.plan.dirs[index]
            .parent
            .is_some_and(|parent| self.states[parent].unmade);
        match result {
            Ok(()) => {
                self.work.plan.totals.dirs_created += 1;
                (self.work.tell)(Event::Entry {
                    path: &path,
                    kind: Kind::Dir,
                    deed: made(side),
                });
            }
            Err(error) => {
                self.states[index].unmade = true;
                self.states[index].failed = true;
                if !parent_unmade {
                    let error =
                        error.while_doing(format!("making the directory on the {side} side"));
                    self.take_failure(Some(index), &path, Failure::Entry(error));
                }
            }
        }
    }

    /// Renames files on the remote side that were renamed on the local one. Those that cannot be renamed are copied.
    fn rename_files(&mut self) {
        let (doable, hopeless): (Vec<_>, Vec<_>) = self
            .work
            .plan
            .renames()
            .into_iter()
            .partition(|(to, _)| !self.states[to.dir].unmade);
        for (to, from) in hopeless {
            self.unmoved.insert(to, from);
        }
        for batch in doable.chunks(BATCH) {
            if self.is_stopped() {
                return;
            }
            let moves = batch
                .iter()
                .map(|(to, from)| self.moving(*to, *from))
                .collect();
            for ((to, from), moved) in batch.iter().zip(self.move_all(moves)) {
                match moved {
                    Ok(written) => self.file_renamed(*to, *from, &written),
                    Err(error) => {
                        let path = self.work.plan.path_of(*to, Side::Local);
                        log::info!("renaming to {path}: {error}; it is sent instead");
                        self.work.plan.copy_instead(*to);
                        self.unmoved.insert(*to, *from);
                    }
                }
            }
            self.refresh_lock();
            self.checkpoint_if_due();
        }
    }

    fn moving(&self, to: Place, from: Place) -> Moving {
        let plan = &self.work.plan;
        let (new, old) = (plan.step(to), plan.step(from));
        let path_of = |at, side| plan.path_of(at, side);
        let listed = (new.stat_on(Side::Local), old.shown_on(Side::Remote));
        let (Some(local), Some(remote)) = listed else {
            unreachable!("what is renamed was listed under both names");
        };
        Moving {
            from: Sides::new(path_of(from, Side::Local), path_of(from, Side::Remote)),
            to: Sides::new(
                path_of(to, Side::Local),
                plan.dirs[to.dir]
                    .paths
                    .remote
                    .join(new.name_on(Side::Remote)),
            ),
            listed: Sides::new(local, remote),
            times: match old.remote_shown {
                Some(_) => Times::Lost,
                None => Times::Kept,
            },
        }
    }

    fn move_all(&mut self, moves: Vec<Moving>) -> Vec<Result<Written>> {
        let journal = self.work.copying.journal;
        self.each_written(moves.len(), move |hands| move_batch(hands, journal, &moves))
    }

    fn file_renamed(&mut self, to: Place, from: Place, written: &Written) {
        let plan = &self.work.plan;
        let new = plan.step(to);
        let changes = copied(
            &new.name,
            new.stat_on(Side::Local),
            new.inode,
            Side::Local,
            written,
            plan.dirs[to.dir].has_remote_metadata,
        );
        let old = &plan.step(from).name;
        let forgotten = [
            Change::ForgetTrueTime { name: old.clone() },
            Change::Forget { name: old.clone() },
        ];
        self.work.plan.totals.renamed += 1;
        self.states[to.dir].changes.extend(changes);
        self.states[from.dir].changes.extend(forgotten);
        self.tell_step(to);
    }

    /// What could neither be renamed nor copied stays where it is on the remote side.
    fn keep_unmoved(&mut self) {
        for (_, from) in std::mem::take(&mut self.unmoved) {
            self.keep(from.dir);
        }
    }

    /// Copies all files, with all workers at once, and notes what needs no copying.
    fn copy_files(&mut self) {
        for dir in 0..self.work.plan.dirs.len() {
            for step in 0..self.work.plan.dirs[dir].steps.len() {
                if self.is_stopped() {
                    break;
                }
                self.states[dir].begun = step + 1;
                if let Some(task) = self.begin_step(dir, step) {
                    let id = self.work.pool.submit(task);
                    self.under_way.insert(id, Errand::Copy(Place { dir, step }));
                }
                while self.work.pool.pending() >= self.work.pool.room() {
                    self.take_result();
                }
            }
        }
        while self.work.pool.pending() > 0 {
            self.take_result();
        }
        self.place_last();
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

    /// Sends a worker to give the staged files of that side their names.
    fn place_staged(&mut self, side: Side) {
        let Some((files, copies)) = self.take_staged(side) else {
            return;
        };
        let journal = self.work.copying.journal;
        let place = move |hands: &mut Hands| {
            transfer::place_staged(hands.sides.of_mut(side).as_mut(), &copies, journal)
        };
        let id = (self.work.pool).submit(batch_of(place, Done::EachWritten));
        self.under_way.insert(id, Errand::Place(files));
    }

    /// Gives the staged files that are left their names, without a worker: also where the run is to stop, or the line is
    /// dead, no partial file stays of what is whole.
    fn place_last(&mut self) {
        for side in Side::BOTH {
            let Some((files, copies)) = self.take_staged(side) else {
                continue;
            };
            match self.work.pool.open(side) {
                Ok(mut target) => {
                    let journal = self.work.copying.journal;
                    let placed = transfer::place_staged(target.as_mut(), &copies, journal);
                    self.placed(files, placed);
                }
                Err(error) => self.not_placed(files, Failure::Job(error)),
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

    fn placed(&mut self, files: Vec<Place>, results: Vec<Result<Written>>) {
        for (at, result) in files.into_iter().zip(results) {
            match result {
                Ok(written) => self.step_done(at, &Done::Copied(Staging::Placed(written))),
                Err(error) => self.copy_failed(at, Failure::Entry(error)),
            }
        }
    }

    /// Nobody could place them, which says nothing about one of them: they wait for [`Run::place_last`].
    fn not_placed(&mut self, files: Vec<Place>, failure: Failure) {
        for at in files {
            self.keep(at.dir);
            self.step_staged(at);
        }
        self.needs_journal = true;
        self.stop_on(Failure::Job(failure.into_error()));
    }

    /// Notes what needs no transfer; otherwise makes the transfer's task.
    fn begin_step(&mut self, dir: usize, step: usize) -> Option<Task<'env, Done>> {
        let plan = &self.work.plan.dirs[dir];
        let step = &plan.steps[step];
        match step.todo {
            Todo::Record { .. } => None,
            Todo::Forget => {
                let name = step.name.clone();
                let path = plan.paths.local.join(step.name_on(Side::Local));
                self.states[dir].changes.push(Change::Forget { name });
                (self.work.tell)(Event::Entry {
                    path: &path,
                    kind: Kind::File,
                    deed: Deed::Forgotten,
                });
                None
            }
            // A rename that is still one was never tried.
            Todo::Delete { .. } | Todo::Rename { .. } | Todo::RenamedAway => None,
            Todo::Copy {
                from,
                partial_bytes,
                ..
            } => {
                // That the directory could not be made was told; it stands for all that is in it.
                if self.states[dir].unmade {
                    return None;
                }
                if *self.full.of(from.peer()) > 0 {
                    *self.full.of_mut(from.peer()) += 1;
                    self.states[dir].failed = true;
                    return None;
                }
                let mut copy = copy_of(plan, step, from);
                copy.partial_bytes = partial_bytes;
                if let (Some(trash), Some(_)) = (&self.work.job.policy.trash, copy.replaces) {
                    copy.set_aside = Some(trash::place(
                        trash,
                        self.work.now,
                        copy.paths.of(from.peer()),
                    ));
                }
                let terms = self.work.copying;
                Some(Box::new(move |hands| {
                    Ok(Done::Copied(copy.run(hands, terms)?))
                }))
            }
            Todo::KeepBoth { winner } => {
                let mut both = self.keep_both(plan, step, winner);
                let terms = self.work.copying;
                Some(Box::new(move |hands| {
                    let (loser, winner) = both.run(hands, terms)?;
                    Ok(Done::BothCopied(loser, winner))
                }))
            }
        }
    }

    fn keep_both(&self, plan: &DirPlan, step: &Step, winner: Side) -> KeepBoth {
        let loser = winner.peer();
        let aside = aside_name(plan, step, self.work.now);
        let aside = Name::new(&aside).expect("a good name with a time behind it is a good name");
        let source = step
            .stat_on(loser)
            .expect("both files of a kept conflict are there");
        let mut paths = Sides::new(plan.paths.local.join(aside), plan.paths.remote.join(aside));
        *paths.of_mut(loser) = plan.paths.of(loser).join(step.name_on(loser));
        let of_loser = Copy::new(loser, plan.paths.local.clone(), aside, paths, source);
        let mut of_winner = copy_of(plan, step, winner);
        of_winner.set_aside = Some(plan.paths.of(loser).join(aside));
        KeepBoth::new(of_loser, of_winner)
    }

    /// Takes one result of what is under way, or tells how far it is.
    fn take_result(&mut self) {
        let result = self.work.pool.next_within(TELL_INTERVAL);
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
        let Some((id, result)) = result else { return };
        match (self.under_way.remove(&id), result) {
            (Some(Errand::Copy(at)), Ok(Done::Copied(Staging::Staged))) => self.step_staged(at),
            (Some(Errand::Copy(at)), Ok(done)) => self.step_done(at, &done),
            (Some(Errand::Copy(at)), Err(failure)) => self.copy_failed(at, failure),
            (Some(Errand::Place(files)), Ok(Done::EachWritten(results))) => {
                self.placed(files, results);
            }
            (Some(Errand::Place(..)), Ok(_)) => {
                unreachable!("whoever places files brings a result for each")
            }
            (Some(Errand::Place(files)), Err(failure)) => {
                self.not_placed(files, failure);
            }
            (None, _) => {}
        }
        self.checkpoint_if_due();
    }

    fn step_staged(&mut self, at: Place) {
        let step = self.work.plan.step(at);
        if let Todo::Copy { from, .. } = step.todo {
            let bytes = step.stat_on(from).map_or(0, |stat| stat.size);
            self.staged.of_mut(from.peer()).add(at, bytes);
        }
    }

    fn copy_failed(&mut self, at: Place, failure: Failure) {
        let path = self.work.plan.path_of(at, Side::Local);
        let todo = self.work.plan.step(at).todo;
        let (Failure::Entry(error) | Failure::Job(error)) = &failure;
        // Whatever else was reported, the file may be in its place.
        if !matches!(error.kind(), ErrorKind::Name(_)) {
            self.needs_journal = true;
            self.unsettle(at);
        }
        if error.is_full()
            && let Todo::Copy { from, .. } = todo
        {
            *self.full.of_mut(from.peer()) += 1;
        }
        self.work.plan.totals.copy_errors += 1;
        self.take_failure(Some(at.dir), &path, failure);
    }

    fn checkpoint_if_due(&mut self) {
        let journal = self.work.copying.journal;
        // What the journal says of files that are being placed is not recorded yet.
        let is_placing = |errand: &Errand| matches!(errand, Errand::Place(_));
        if journal.is_some_and(|journal| journal.bytes() >= JOURNAL_BYTES)
            && !self.under_way.values().any(is_placing)
        {
            self.checkpoint();
        }
    }

    /// Keeps what the journal says of a copy that failed.
    fn unsettle(&mut self, at: Place) {
        let plan = &self.work.plan.dirs[at.dir];
        let step = &plan.steps[at.step];
        let path = &plan.paths.local;
        self.unsettled.insert((path.clone(), step.name.clone()));
        if let Todo::KeepBoth { .. } = step.todo {
            let aside = aside_name(plan, step, self.work.now);
            self.unsettled.insert((path.clone(), aside.into()));
        }
    }

    fn step_done(&mut self, at: Place, done: &Done) {
        let plan = &self.work.plan.dirs[at.dir];
        let step = &plan.steps[at.step];
        let totals = &mut self.work.plan.totals;
        let mut count = |to: Side, stat: Option<Stat>| {
            *totals.files_written.of_mut(to) += 1;
            *totals.bytes_written.of_mut(to) += stat.map_or(0, |stat| stat.size);
        };
        let changes = match (step.todo, done) {
            (Todo::Copy { from, .. }, Done::Copied(Staging::Placed(written))) => {
                count(from.peer(), step.stat_on(from));
                copied(
                    &step.name,
                    step.stat_on(from),
                    step.inode,
                    from,
                    written,
                    plan.has_remote_metadata,
                )
            }
            (Todo::KeepBoth { winner }, Done::BothCopied(loser_written, winner_written)) => {
                let loser = winner.peer();
                count(winner, step.stat_on(loser));
                count(loser, step.stat_on(winner));
                let aside = aside_name(plan, step, self.work.now);
                let has_metadata = plan.has_remote_metadata;
                let mut changes = copied(
                    &aside,
                    step.stat_on(loser),
                    // A loser on the local side keeps it under its new name.
                    step.inode,
                    loser,
                    loser_written,
                    has_metadata,
                );
                let of_winner = copied(
                    &step.name,
                    step.stat_on(winner),
                    step.inode,
                    winner,
                    winner_written,
                    has_metadata,
                );
                changes.extend(of_winner);
                changes
            }
            _ => unreachable!("a step's task brings what the step is about"),
        };
        self.states[at.dir].changes.extend(changes);
        if let Some(from) = self.unmoved.remove(&at) {
            self.work.plan.delete_renamed(from);
        }
        self.tell_step(at);
    }

    fn tell_step(&mut self, at: Place) {
        let plan = &self.work.plan;
        if let Some(deed) = deed_of(plan.step(at)) {
            (self.work.tell)(Event::Entry {
                path: &plan.path_of(at, Side::Local),
                kind: Kind::File,
                deed,
            });
        }
    }

    fn delete_files(&mut self) {
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
                    _ => None,
                }));
            }
            self.delete_all(on, &deletions);
        }
    }

    /// Removes directories, deepest first, each level in batches.
    fn delete_dirs(&mut self) {
        for on in Side::BOTH {
            let mut by_depth: Vec<(usize, Deletion)> = Vec::new();
            for (index, dir) in self.work.plan.dirs.iter().enumerate() {
                let Some((side, why)) = dir.remove_on.filter(|(side, _)| *side == on) else {
                    continue;
                };
                by_depth.push((
                    dir.paths.local.depth(),
                    Deletion {
                        dir: index,
                        paths: dir.paths.clone(),
                        kind: Kind::Dir,
                        listed: None,
                        needs_denial: why == DeletedFor::Missing,
                        deed: Deed::Deleted { on: side, why },
                        name: dir
                            .paths
                            .local
                            .name()
                            .map_or_else(Box::default, |name| name.as_bytes().into()),
                    },
                ));
            }
            by_depth.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
            for level in by_depth.chunk_by(|one, other| one.0 == other.0) {
                let deletions: Vec<Deletion> = level
                    .iter()
                    .filter(|(_, deletion)| !self.states[deletion.dir].stays)
                    .map(|(_, deletion)| deletion.clone())
                    .collect();
                self.delete_all(on, &deletions);
            }
        }
    }

    fn delete_all(&mut self, on: Side, deletions: &[Deletion]) {
        for batch in deletions.chunks(BATCH) {
            if self.is_stopped() {
                return;
            }
            self.note_doomed(on, batch);
            let shared: Arc<[Deletion]> = batch.into();
            let trash = self.work.job.policy.trash.clone();
            let now = self.work.now;
            let results = self.each(batch.len(), move |hands| {
                delete_batch(hands, on, &shared, |path| {
                    trash.as_ref().map(|trash| trash::place(trash, now, path))
                })
            });
            for (deletion, result) in batch.iter().zip(results) {
                self.deleted(on, deletion, result);
            }
            self.refresh_lock();
        }
    }

    /// Notes files whose records went with the directory on the other side: once some of them are gone, the digest in
    /// the parent's record says nothing about the others.
    fn note_doomed(&mut self, on: Side, batch: &[Deletion]) {
        let Some(journal) = self.work.copying.journal else {
            return;
        };
        let doomed: Vec<Doomed> = batch
            .iter()
            .filter(|deletion| self.has_lost_records(on, deletion))
            .filter_map(|deletion| {
                let listed = deletion.listed?;
                Some(Doomed {
                    dir: self.work.plan.dirs[deletion.dir].paths.local.clone(),
                    name: deletion.name.clone(),
                    size: listed.size,
                    mtime: listed.exact_mtime()?,
                })
            })
            .collect();
        if let Err(error) = journal.deleting(&doomed) {
            self.warn(&format!(
                "{error}; a run that is cut off may find conflicts where there are none"
            ));
        }
    }

    fn has_lost_records(&self, on: Side, deletion: &Deletion) -> bool {
        on == Side::Remote && !self.work.plan.dirs[deletion.dir].has_records()
    }

    fn deleted(&mut self, on: Side, deletion: &Deletion, result: Result<()>) {
        let path = deletion.paths.local.clone();
        if let Err(error) = result {
            if self.has_lost_records(on, deletion) {
                self.needs_journal = true;
                let dir = self.work.plan.dirs[deletion.dir].paths.local.clone();
                self.unsettled.insert((dir, deletion.name.clone()));
            }
            let error = error.while_doing(format!("deleting on the {on} side"));
            self.take_failure(Some(deletion.dir), &path, Failure::Entry(error));
            return;
        }
        let holder = match deletion.kind {
            Kind::Dir => {
                self.work.plan.totals.dirs_deleted += 1;
                self.states[deletion.dir].removed = true;
                self.forget_state_of(&path);
                self.work.plan.dirs[deletion.dir].parent
            }
            Kind::File | Kind::Special => {
                self.work.plan.totals.files_deleted += 1;
                if on == Side::Remote {
                    let name = deletion.name.clone();
                    self.states[deletion.dir]
                        .changes
                        .push(Change::ForgetTrueTime { name });
                }
                Some(deletion.dir)
            }
        };
        if let Some(holder) = holder {
            self.states[holder].changes.push(Change::Forget {
                name: deletion.name.clone(),
            });
        }
        (self.work.tell)(Event::Entry {
            path: &path,
            kind: deletion.kind,
            deed: deletion.deed,
        });
    }

    /// A directory in which something failed stays, and so do those it is in.
    fn keep(&mut self, dir: usize) {
        self.states[dir].failed = true;
        let mut next = Some(dir);
        while let Some(index) = next {
            self.states[index].stays = true;
            next = self.work.plan.dirs[index].parent;
        }
    }

    /// With a state directory, the metadata of a directory that is gone goes, too.
    fn forget_state_of(&mut self, dir: &RelPath) {
        let dir = dir.clone();
        let _a_leftover_harms_nobody = self.work.pool.call(Box::new(move |hands| {
            if let Some(state) = &mut hands.state {
                let _it_may_not_be_there = state.remove(&[
                    Removal::File(store::metadata_path(&dir)),
                    Removal::Dir(dir.clone()),
                ]);
            }
            Ok(Done::Nothing)
        }));
    }

    /// Records all that was done so far, and empties the journal.
    fn checkpoint(&mut self) {
        for dir in (0..self.work.plan.dirs.len()).rev() {
            let state = &self.states[dir];
            let has_records = || state.records(&self.work.plan.dirs[dir]).next().is_some();
            if !state.changes.is_empty() || has_records() {
                self.save_dir(dir, When::Meanwhile);
            }
        }
        if !self.unsaved
            && let Some(journal) = self.work.copying.journal
            && let Err(error) = journal.checkpoint()
        {
            self.warn(&error.to_string());
        }
    }

    /// Records everything, deepest directories first, so that each parent learns its children's digests; then cleans up.
    fn finish(&mut self) {
        self.work.pool.wind_down();
        for index in 0..self.work.plan.dirs.len() {
            if self.work.plan.dirs[index].own_record == OwnRecord::Set
                && !self.states[index].unmade
                && !self.states[index].removed
            {
                self.record_dir(index);
            }
        }
        for dir in (0..self.work.plan.dirs.len()).rev() {
            if self.states[dir].unmade || self.states[dir].removed {
                continue;
            }
            if let Some(proof) = self.work.plan.dirs[dir].proof {
                self.states[dir].changes.push(Change::Proof(proof));
            }
            let digest = self.save_dir(dir, When::AtTheEnd);
            let plan = &self.work.plan.dirs[dir];
            // Where the records are gone, the digest is all that still tells what was there.
            if let (Some(parent), Some(name), true) =
                (plan.parent, plan.paths.local.name(), plan.has_records())
            {
                let name = name.as_bytes().into();
                self.states[parent]
                    .changes
                    .push(Change::Digest { name, digest });
            }
        }
        if self.needs_journal
            && !self.unsaved
            && let Some(journal) = self.work.copying.journal
            && let Err(error) =
                journal.keep_only(|dir, name| self.unsettled.contains(&(dir.clone(), name.into())))
        {
            self.warn(&error.to_string());
        }
        if self.stopped_by.is_none() && self.work.plan.totals.errors == 0 {
            self.expire_trash();
        }
        if self.lock.take().is_some() {
            let released = self.work.pool.call(Box::new(|hands| {
                RemoteLock::release(hands.sides.remote.as_mut())?;
                Ok(Done::Nothing)
            }));
            if let Err(failure) = released {
                self.warn(&format!(
                    "removing the remote lock: {}",
                    failure.into_error()
                ));
            }
        }
    }

    fn record_dir(&mut self, index: usize) {
        let plan = &self.work.plan.dirs[index];
        // A directory that was to be made, and whose making was never tried, is not on both sides.
        let was_made = plan.make_on.is_none() || self.stopped_by.is_none();
        if let (Some(parent), Some(name), true) = (plan.parent, plan.paths.local.name(), was_made) {
            let name = name.as_bytes().into();
            self.states[parent].changes.push(Change::SetDir { name });
        }
    }

    /// Writes what changed in the metadata of a directory, on both sides; the digest of what is recorded now.
    fn save_dir(&mut self, dir: usize, when: When) -> Option<u64> {
        let state = &mut self.states[dir];
        let mut changes = std::mem::take(&mut state.changes);
        changes.extend(state.records(&self.work.plan.dirs[dir]));
        state.recorded = state.begun;
        let paths = self.work.plan.dirs[dir].paths.clone();
        let (terms, now) = (self.work.terms, Timestamp::now());
        // What is not done yet, and has no record, must not look like something new to the next run. But the rule of a first sync,
        // by which the older file goes without a question, must not hold for as long as one file fails: there is one second try.
        let plan = &self.work.plan.dirs[dir];
        let is_over = when == When::AtTheEnd
            && plan.is_whole
            && (!self.states[dir].failed || plan.was_unfinished)
            && self.stopped_by.is_none();
        let digest = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&digest);
        let of_remote = changes
            .iter()
            .any(|change| matches!(change, Change::TrueTime { .. }))
            || (self.work.plan.dirs[dir].has_remote_metadata
                && changes
                    .iter()
                    .any(|change| matches!(change, Change::ForgetTrueTime { .. })));
        let direction = self.work.job.direction;
        let places_files = changes
            .iter()
            .any(|change| matches!(change, Change::Set { .. }));
        let saved = self.work.pool.call(Box::new(move |hands| {
            if places_files {
                // A record of a file that a power cut took away would pass for its deletion.
                for side in Side::BOTH
                    .into_iter()
                    .filter(|side| direction.writes(*side))
                {
                    hands.sides.of_mut(side).make_lasting(paths.of(side))?;
                }
            }
            if of_remote {
                let remote = hands.sides.remote.as_mut();
                let mut metadata =
                    store::load(remote, &paths.remote, &terms.key, terms.other_version)?.metadata;
                changes
                    .iter()
                    .for_each(|change| change.apply_to_remote(&mut metadata));
                store::save(remote, &paths.remote, &mut metadata, now)?;
            }
            if let Some(state) = &mut hands.state {
                let mut dirs = ancestors(&store::metadata_path(&paths.local));
                dirs.insert(0, RelPath::root());
                state.make_dirs(&dirs).into_iter().collect::<Result<()>>()?;
            }
            let home = hands.metadata_home();
            let mut metadata =
                store::load(home, &paths.local, &terms.key, terms.other_version)?.metadata;
            changes
                .iter()
                .for_each(|change| change.apply_to_local(&mut metadata, now));
            if is_over {
                metadata.mark_synced(now);
            }
            store::save(home, &paths.local, &mut metadata, now)?;
            *slot.lock().expect("nobody panics with a digest in hand") =
                digest::of_records(metadata.records());
            Ok(Done::Nothing)
        }));
        if let Err(failure) = saved {
            self.unsaved = true;
            let error = failure.into_error().while_doing("recording what was done");
            let path = self.work.plan.dirs[dir].paths.local.clone();
            self.work.plan.totals.errors += 1;
            (self.work.tell)(Event::Failed {
                path: &path,
                error: &error,
            });
        }
        *digest.lock().expect("nobody panics with a digest in hand")
    }

    fn expire_trash(&mut self) {
        let Some(trash) = self
            .work
            .job
            .policy
            .trash
            .clone()
            .filter(|trash| trash.keep_days.is_some())
        else {
            return;
        };
        let now = self.work.now;
        for side in Side::BOTH
            .into_iter()
            .filter(|side| self.work.job.direction.writes(*side))
        {
            let trash = trash.clone();
            let expired = self.work.pool.call(Box::new(move |hands| {
                trash::expire(hands.sides.of_mut(side).as_mut(), &trash, now)?;
                Ok(Done::Nothing)
            }));
            if let Err(failure) = expired {
                self.warn(&format!(
                    "emptying the trash on the {side} side: {}",
                    failure.into_error()
                ));
            }
        }
    }

    fn refresh_lock(&mut self) {
        let Some(lock) = self.lock.as_mut().filter(|lock| lock.is_due()) else {
            return;
        };
        lock.refreshed();
        let holder = self.work.holder;
        let refreshed = self.work.pool.call(Box::new(move |hands| {
            lock::write(hands.sides.remote.as_mut(), holder, Timestamp::now())?;
            Ok(Done::Nothing)
        }));
        if let Err(failure) = refreshed {
            self.warn(&format!(
                "refreshing the remote lock: {}",
                failure.into_error()
            ));
        }
    }

    /// Runs a task that answers for several things; where it fails as a whole, it fails for each.
    fn each(
        &mut self,
        count: usize,
        task: impl FnMut(&mut Hands) -> Vec<Result<()>> + Send + 'env,
    ) -> Vec<Result<()>> {
        self.batch(count, batch_of(task, Done::Each), |done| match done {
            Done::Each(results) => results,
            _ => unreachable!("a batch brings a result for each"),
        })
    }

    /// The same for a task that writes.
    fn each_written(
        &mut self,
        count: usize,
        task: impl FnMut(&mut Hands) -> Vec<Result<Written>> + Send + 'env,
    ) -> Vec<Result<Written>> {
        self.batch(
            count,
            batch_of(task, Done::EachWritten),
            |done| match done {
                Done::EachWritten(results) => results,
                _ => unreachable!("a batch that writes brings what it wrote"),
            },
        )
    }

    fn batch<T>(
        &mut self,
        count: usize,
        task: Task<'env, Done>,
        results_of: fn(Done) -> Vec<Result<T>>,
    ) -> Vec<Result<T>> {
        match self.work.pool.call(task) {
            Ok(done) => results_of(done),
            Err(failure) => {
                let text = match &failure {
                    Failure::Entry(error) | Failure::Job(error) => error.to_string(),
                };
                self.stop_on(failure);
                (0..count)
                    .map(|_| Err(ErrorKind::Verify(text.clone()).into()))
                    .collect()
            }
        }
    }

    fn take_failure(&mut self, dir: Option<usize>, path: &RelPath, failure: Failure) {
        if let Some(dir) = dir {
            self.keep(dir);
        }
        match failure {
            Failure::Entry(error) => {
                self.work.plan.totals.errors += 1;
                (self.work.tell)(Event::Failed {
                    path,
                    error: &error,
                });
                if error.scope() == Scope::Job {
                    self.stop_on(Failure::Job(error));
                }
            }
            failure @ Failure::Job(_) => self.stop_on(failure),
        }
    }

    fn stop_on(&mut self, failure: Failure) {
        if let Failure::Job(error) = failure {
            self.stopped_by.get_or_insert(error);
        }
    }

    fn is_stopped(&mut self) -> bool {
        if let Err(error) = self.work.copying.stop.check() {
            self.stopped_by.get_or_insert(error);
        }
        self.stopped_by.is_some()
    }

    fn warn(&mut self, text: &str) {
        (self.work.tell)(Event::Warning(text));
    }

    fn summary(self) -> Summary {
        let totals = self.work.plan.totals;
        let holds = |side: Side| {
            *totals.files.of(side) + *totals.files_written.of(side) > totals.files_deleted
        };
        Summary {
            totals,
            holds_files: Sides::new(holds(Side::Local), holds(Side::Remote)),
            is_settled: !self.unsaved && !self.needs_journal,
            stopped_by: self.stopped_by,
        }
    }
}

/// A task for several things. A dead connection spoils the whole batch: it is tried again on a new one, where what is done
/// already counts as done.
fn batch_of<'env, T: 'env>(
    mut task: impl FnMut(&mut Hands) -> Vec<Result<T>> + Send + 'env,
    done: fn(Vec<Result<T>>) -> Done,
) -> Task<'env, Done> {
    Box::new(move |hands| {
        let results = task(hands);
        let is_lost = |result: &Result<T>| {
            let error = result.as_ref().err();
            error.is_some_and(|error| error.scope() == Scope::Session)
        };
        if results.iter().any(is_lost) {
            let mut errors = results.into_iter().filter_map(Result::err);
            return Err(errors
                .find(|error| error.scope() == Scope::Session)
                .expect("it was there a moment ago"));
        }
        Ok(done(results))
    })
}

fn copy_of(plan: &DirPlan, step: &Step, from: Side) -> Copy {
    let name = step.name_on(Side::Local);
    let paths = Sides::new(
        plan.paths.local.join(name),
        plan.paths.remote.join(step.name_on(Side::Remote)),
    );
    let source = step.stat_on(from).expect("what is copied was listed");
    let mut copy = Copy::new(from, plan.paths.local.clone(), name, paths, source);
    copy.replaces = step.shown_on(from.peer());
    copy
}

/// The name under which the loser of a conflict is kept. A run that was killed within this second may have left a file
/// of that name, and something is to be done with it.
fn aside_name(plan: &DirPlan, step: &Step, now: Timestamp) -> Vec<u8> {
    (0..)
        .map(|secs| conflict_name(&step.name, now.plus_secs(secs)))
        .find(|name| plan.steps.iter().all(|other| *other.name != **name))
        .expect("there are more seconds than steps")
}

/// `NAME.conflict-20231114-221320`, within what a name may be long.
fn conflict_name(name: &[u8], now: Timestamp) -> Vec<u8> {
    let at = now.to_ftp();
    let suffix = format!(".conflict-{}-{}", &at[..8], &at[8..]);
    let room = 255 - suffix.len();
    let mut kept = &name[..name.len().min(room)];
    // A character is not cut in two.
    while kept.len() < name.len()
        && !kept.is_empty()
        && std::str::from_utf8(kept).is_err()
        && std::str::from_utf8(name).is_ok()
    {
        kept = &kept[..kept.len() - 1];
    }
    [kept, suffix.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_name_says_when_and_stays_within_a_names_length() {
        let now = Timestamp::from_secs(1_700_000_000);
        assert_eq!(
            conflict_name(b"a.txt", now),
            b"a.txt.conflict-20231114-221320"
        );
        let long = "é".repeat(127);
        let shortened = conflict_name(long.as_bytes(), now);
        assert!(shortened.len() <= 255 && std::str::from_utf8(&shortened).is_ok());
    }
}
