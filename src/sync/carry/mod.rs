//! Carries a plan out, in the order that loses nothing: move losers aside ▸ make directories ▸ rename ▸ copy ▸ delete, deepest
//! first. One failing entry does not stop the others; what ends the run ends it between two steps, and what was done by then
//! is noted.
//!
//! Nothing is deleted before the other side has denied that exact name and the entry was seen unchanged, and never in
//! a directory in which an earlier step failed.
//!
//! `aside` gives other names to the losers of conflicts, `dirs` makes and removes directories, `files` sees to renames, copies
//! and deletions, `note` to what is to be remembered of all of them.

mod aside;
pub mod copy;
pub mod delete;
mod dirs;
mod files;
pub mod lock;
mod note;
pub mod rename;
mod tell;
pub mod trash;
pub mod undo;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::error::{Doing, Error, ErrorKind, Result, Scope};
use crate::job::{Job, RemoteScan};
use crate::path::RelPath;
use crate::replica::{Removal, Renaming};
use crate::side::{Side, Sides};
use crate::sync::carry::files::{Errand, Gathered, Staged};
use crate::sync::carry::lock::Claim;
use crate::sync::carry::note::TimeChange;
use crate::sync::event::{Event, Totals};
use crate::sync::look::filter::Filter;
use crate::sync::plan::Plan;
use crate::sync::plan::moved::Place;
use crate::sync::record::Journal;
use crate::sync::workers::{Failure, Hands, Inbox, Pile, Turn, Workers};
use crate::time::Timestamp;

pub use tell::tell_plan;

/// How many names travel in one batch of questions.
const BATCH: usize = 256;

/// Room that downloads leave on a disk: a full disk breaks more than a sync. Small disks keep less, see [`kept_free`].
const RESERVE_BYTES: u64 = 1 << 20;

/// Who meets another run's lock tries once more after as long at most.
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// What carrying out a plan takes.
pub struct Carrying<'w, 'scope, 'env> {
    /// The job.
    pub job: &'env Job,
    /// What all copies have in common.
    pub copying: &'env copy::Terms<'env>,
    /// Where each step is noted, before and after.
    pub journal: &'env Journal,
    /// Who does it.
    pub workers: &'w Workers<'scope, 'env>,
    /// Whether each side is a disk of this machine.
    pub is_disk: Sides<bool>,
    /// Who listens.
    pub tell: &'w mut dyn FnMut(Event<'_>),
    /// The wall clock at the start.
    pub now: Timestamp,
    /// Rejects the files that come last.
    pub last: Filter,
    /// What is to be done.
    pub plan: Plan,
}

/// What came of it.
#[derive(Debug)]
pub struct Done {
    /// What was done.
    pub totals: Totals,
    /// What ended the run before all was done.
    pub stopped_by: Option<Error>,
}

/// Carries the plan out and notes what was truly made equal.
///
/// An error means that nothing was changed.
pub fn carry(carrying: Carrying<'_, '_, '_>) -> Result<Done> {
    let states = carrying.plan.dirs.iter().map(|_| DirState::default());
    let mut run = Run {
        states: states.collect(),
        full: Sides::new(0, 0),
        stopped_by: None,
        unmoved: HashMap::new(),
        copies: Inbox::default(),
        gathered: Sides::default(),
        refreshes: Inbox::default(),
        staged: Sides::default(),
        placed_in: Sides::default(),
        times: Vec::new(),
        trash_of: Sides::new(carrying.now, carrying.now),
        work: carrying,
    };
    if run.work.plan.is_empty() {
        if run.work.plan.lock_seen {
            run.release_left_lock();
        }
    } else {
        run.check_room()?;
        run.take_lock()?;
        run.prepare();
        run.move_aside();
        run.note_respellings();
        run.make_dirs();
        run.note_found();
        run.respell_files();
        run.rename_files();
        run.copy_files();
        run.keep_unmoved();
        if run.may_delete() {
            run.delete_files();
            run.delete_dirs();
        }
        run.finish();
    }
    Ok(Done {
        totals: run.work.plan.totals,
        stopped_by: run.stopped_by,
    })
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
}

struct Run<'w, 'scope, 'env> {
    work: Carrying<'w, 'scope, 'env>,
    states: Vec<DirState>,
    /// How many copies were not tried because that side is full.
    full: Sides<u64>,
    stopped_by: Option<Error>,
    /// Files that could not be renamed and are not copied yet: the place of the old name and the side of the user, by the
    /// place of the new one.
    unmoved: HashMap<Place, (Place, Side)>,
    /// What workers have in hand while files are copied.
    copies: Inbox<(Errand, Vec<Place>), Pile<files::Brought>>,
    /// Small files that are not handed to a worker yet, by the side they come from.
    gathered: Sides<Gathered>,
    /// What is done to keep the remote lock fresh.
    refreshes: Inbox<(), std::result::Result<(), Failure>>,
    /// Files that wait for their names, on each side.
    staged: Sides<Staged>,
    /// Directories in which names were given on that side, and do not last yet.
    placed_in: Sides<HashSet<usize>>,
    /// What is to be left for other clients on a server that cannot keep times.
    times: Vec<(usize, TimeChange)>,
    /// Which second of the trash of each side is this run's.
    trash_of: Sides<Timestamp>,
}

impl<'env> Run<'_, '_, 'env> {
    /// Refuses copies that do not fit on their side, before the first byte, and makes room for what is to be noted of them.
    fn check_room(&mut self) -> Result<()> {
        let has_trash = self.work.job.policy.trash.is_some();
        for side in Side::BOTH {
            let wanted = self.work.plan.room_on(side, has_trash);
            if wanted == 0 {
                continue;
            }
            let asked = self
                .work
                .workers
                .call(move |hands| hands.of(side)?.free_space());
            let Some(free) = asked.map_err(Failure::into_error)? else {
                continue;
            };
            if wanted.saturating_add(kept_free(free)) > free {
                let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
                return Err(Error::new(ErrorKind::Disk(full)).while_doing(format!(
                    "the files to be copied take {wanted} bytes, and the {side} side has {free} left; nothing was changed; make room there, or \
                     leave something out (-x, --only)"
                )));
            }
        }
        let lines = self.work.plan.steps() as u64;
        self.work
            .journal
            .reserve(lines * note::LINE_BYTES)
            .doing(|| "making room to record what will be done; nothing was changed".to_owned())
    }

    /// Takes the remote lock if anything is to be written there, and where another seems to have it.
    fn take_lock(&mut self) -> Result<()> {
        let writes = self.work.plan.writes(Side::Remote);
        if !writes && !self.work.plan.lock_seen {
            return Ok(());
        }
        let root = self.work.plan.dirs.first();
        if root.is_some_and(|root| root.make_on == Some(Side::Remote)) {
            let made = self.work.workers.call(|hands| {
                let remote = hands.of(Side::Remote)?;
                let made = remote.make_dirs(&[RelPath::root()]);
                made.into_iter().collect::<Result<()>>()
            });
            made.map_err(Failure::into_error)
                .doing(|| "making the remote directory")?;
        }
        let claim = self.claim();
        let take = move |hands: &mut Hands<'env>| claim.take(hands.of(Side::Remote)?);
        let mut taken = self.work.workers.call(take);
        if let Err(Failure::Job(error)) = &taken
            && matches!(error.kind(), ErrorKind::Locked(_))
        {
            log::info!("{error}; trying once more");
            // Two that met are not to meet again.
            let random = RandomState::new().build_hasher().finish();
            let span = LOCK_PAUSE.mul_f64(random as f64 / u64::MAX as f64);
            self.work.copying.stop.pause(span)?;
            taken = self.work.workers.call(take);
        }
        if let Err(Failure::Entry(error) | Failure::Job(error)) = &taken
            && !matches!(error.kind(), ErrorKind::Locked(_))
            && error.scope() != Scope::Session
        {
            self.work.workers.wind_down();
            self.release_left_lock();
        }
        let taken = taken
            .map_err(Failure::into_error)
            .doing(|| "locking the remote directory")?;
        for notice in taken.told {
            (self.work.tell)(Event::Notice(&notice));
        }
        if let Some(sign) = taken.sign {
            self.work.copying.lock.hold(sign);
        }
        Ok(())
    }

    fn claim(&self) -> Claim<'env> {
        let job = self.work.job;
        let is_listed = job.policy.remote_scan == RemoteScan::Full && job.selection.only.is_root();
        Claim {
            holder: self.work.copying.lock.holder(),
            breaks: job.policy.allow.lock,
            may_have_file: self.work.plan.lock_seen || !is_listed,
            now: self.work.now,
        }
    }

    /// Removes what of a lock a run from here left that was killed; this one needs none.
    fn release_left_lock(&mut self) {
        let claim = self.claim();
        let released = self
            .work
            .workers
            .call(move |hands| claim.release_left(hands.of(Side::Remote)?));
        if let Err(failure) = released {
            log::info!(
                "removing the lock that an earlier run left: {}",
                failure.into_error()
            );
        }
    }

    /// Gives old files their names back that a cut-off run had moved aside. Where that fails, what was to become of the file
    /// fails, too, and tells it.
    fn put_back(&mut self, side: Side) {
        let dirs = self.work.plan.dirs.iter();
        let all: Vec<Renaming> = dirs
            .flat_map(|dir| dir.put_back.of(side))
            .cloned()
            .collect();
        for batch in all.chunks(BATCH) {
            let renames = batch.to_vec();
            let renamed = self.each(batch.len(), move |hands| {
                Ok(hands.of(side)?.rename_each(&renames))
            });
            for (done, renaming) in renamed.into_iter().zip(batch) {
                let Renaming { from, to } = renaming;
                match done {
                    Ok(()) => (self.work.tell)(Event::Notice(&format!(
                        "{to} has its name back on the {side} side: a run that was cut off had moved it aside as {from}"
                    ))),
                    Err(error) => {
                        self.warn(&format!("{error}: {to} stays as {from} on the {side} side"))
                    }
                }
            }
        }
    }

    /// Removes what earlier runs left behind, and marks the trash.
    fn prepare(&mut self) {
        for side in Side::BOTH {
            self.put_back(side);
            let of_side = self
                .work
                .plan
                .dirs
                .iter()
                .flat_map(|dir| dir.litter.of(side));
            let removals: Vec<Removal> = of_side.cloned().map(Removal::File).collect();
            for batch in removals.chunks(BATCH) {
                let batch = batch.to_vec();
                let removed =
                    self.each(batch.len(), move |hands| Ok(hands.of(side)?.remove(&batch)));
                for error in removed.into_iter().filter_map(Result::err) {
                    log::info!("removing a partial file on the {side} side: {error}");
                }
            }
            if let Some(trash) = &self.work.job.policy.trash
                && self.work.plan.writes(side)
            {
                let (now, owner) = (self.work.now, self.work.copying.owner);
                let opened = self
                    .work
                    .workers
                    .call(move |hands| trash::open(hands.of(side)?, trash, now, owner));
                match opened {
                    Ok(second) => *self.trash_of.of_mut(side) = second,
                    Err(failure) => {
                        let error = failure.into_error();
                        let error =
                            error.while_doing(format!("opening the trash on the {side} side"));
                        self.stop_on(Failure::Job(error));
                    }
                }
            }
        }
    }

    /// Lets what was done last, leaves true times for others, cleans up.
    fn finish(&mut self) {
        self.work.workers.wind_down();
        self.make_lasting();
        self.note_dirs();
        if let Err(error) = self.work.journal.flush() {
            self.warn(&error.to_string());
        }
        // A server that is gone is not waited for again.
        let is_server_gone = self
            .stopped_by
            .as_ref()
            .is_some_and(|error| error.scope() == Scope::Session);
        if is_server_gone {
            return;
        }
        self.leave_times();
        if self.stopped_by.is_none() && self.work.plan.totals.errors == 0 {
            self.expire_trash();
        }
        self.release_lock();
    }

    /// Whether everything so far went as it was planned.
    fn went_well(&mut self) -> bool {
        !self.is_stopped()
            && self.work.plan.totals.errors == 0
            && self.full == Sides::new(0, 0)
            && !self.states.iter().any(|dir| dir.failed || dir.unmade)
    }

    /// Where files come last, what is to go may be named by one of them until all of them are in place.
    fn may_delete(&mut self) -> bool {
        self.work.job.policy.last.is_empty() || self.went_well()
    }

    fn release_lock(&mut self) {
        self.take_refreshes(None);
        let Some(sign) = self.work.copying.lock.let_go() else {
            return;
        };
        let claim = self.claim();
        let released = self
            .work
            .workers
            .call(move |hands| claim.release(hands.of(Side::Remote)?, &sign));
        if let Err(failure) = released {
            self.warn(&format!(
                "removing the remote lock: {}",
                failure.into_error()
            ));
        }
    }

    fn expire_trash(&mut self) {
        let Some(trash) = self.work.job.policy.trash.as_ref() else {
            return;
        };
        if trash.keep_days.is_none() {
            return;
        }
        let now = self.work.now;
        for side in Side::BOTH
            .into_iter()
            .filter(|side| self.work.job.direction.writes(*side))
        {
            let expired = self
                .work
                .workers
                .call(move |hands| trash::expire(hands.of(side)?, trash, now));
            if let Err(failure) = expired {
                self.warn(&format!(
                    "emptying the trash on the {side} side: {}",
                    failure.into_error()
                ));
            }
        }
    }

    /// Has the lock refreshed by a worker with nothing to do, where it is due. Those that copy see to it themselves.
    fn refresh_lock(&mut self) {
        self.take_refreshes(Some(Duration::ZERO));
        let lock = &self.work.copying.lock;
        if lock.is_due() && self.refreshes.pending() == 0 {
            let task = |hands: &mut Hands<'env>| lock.keep(hands.of(Side::Remote)?);
            let workers = self.work.workers;
            workers.send(&mut self.refreshes, (), Turn::Frugal, task);
        }
    }

    fn take_refreshes(&mut self, span: Option<Duration>) {
        let workers = self.work.workers;
        while let Some(((), refreshed)) = workers.next(&mut self.refreshes, span) {
            if let Err(failure) = refreshed {
                self.stop_on(Failure::Job(failure.into_error()));
            }
        }
    }

    /// Runs a task that answers for several things; where it fails as a whole, it fails for each. A dead session spoils the
    /// whole batch: it is tried again on a new one, where what is done already counts as done.
    fn each<T: Send + 'env>(
        &mut self,
        count: usize,
        mut task: impl FnMut(&mut Hands<'env>) -> Result<Vec<Result<T>>> + Send + 'env,
    ) -> Vec<Result<T>> {
        let called = self.work.workers.call(move |hands| whole(task(hands)?));
        match called {
            Ok(results) => results,
            Err(failure) => {
                let (Failure::Entry(error) | Failure::Job(error)) = &failure;
                let text = error.to_string();
                self.stop_on(failure);
                let failed = |_| Err(ErrorKind::Verify(text.clone()).into());
                (0..count).map(failed).collect()
            }
        }
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

    fn take_failure(&mut self, dir: usize, path: &RelPath, failure: Failure) {
        self.keep(dir);
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
        if let Err(error) = self.work.workers.check_stop() {
            self.stopped_by.get_or_insert(error);
        }
        self.stopped_by.is_some()
    }

    fn warn(&mut self, text: &str) {
        (self.work.tell)(Event::Warning(text));
    }
}

/// A batch of which the session did not die in the middle.
fn whole<T>(results: Vec<Result<T>>) -> Result<Vec<Result<T>>> {
    let is_lost = |result: &Result<T>| {
        let error = result.as_ref().err();
        error.is_some_and(|error| error.scope() == Scope::Session)
    };
    if !results.iter().any(is_lost) {
        return Ok(results);
    }
    let mut errors = results.into_iter().filter_map(Result::err);
    let lost = errors.find(|error| error.scope() == Scope::Session);
    Err(lost.expect("it was there a moment ago"))
}

/// What is kept free of a disk, in bytes: a mebibyte, or a hundredth of a small one.
fn kept_free(free_bytes: u64) -> u64 {
    RESERVE_BYTES.min(free_bytes / 100)
}
