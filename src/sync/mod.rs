//! THE ALGORITHM. Sees replicas through their trait, the archive and plain data; never a socket, never a terminal.
//!
//! ```text
//!  archive ─▶ look ─▶ plan ─▶ carry ─▶ record ─▶ archive
//!             both     pure    make ▸   what was truly
//!             sides            copy ▸   made equal
//!                              delete
//! ```
//!
//! [`run`] is the whole of it. [`mod@look`] finds out what is on both sides and what is remembered; [`plan`] decides, and its guards
//! may refuse; a dry run tells the plan, any other has [`mod@carry`] carry it out; [`record`] keeps what both sides are now. What
//! takes a session or the disk is done by the [`workers`]; the calling thread alone decides, asks, notes and tells.

pub mod carry;
pub mod event;
pub mod look;
pub mod plan;
pub mod record;
pub mod workers;

pub use carry::undo::Undo;

use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::job::{Compare, Job, RemoteScan};
use crate::path::PartOwner;
use crate::replica::Connect;
use crate::side::{Side, Sides};
use crate::sync::carry::{Carrying, carry, copy, tell_plan};
use crate::sync::event::{Ask, Event, Totals};
use crate::sync::look::Terms;
use crate::sync::look::filter::Filter;
use crate::sync::look::quick::{Findings, glance_over};
use crate::sync::plan::walk::{Walk, walk};
use crate::sync::plan::{Plan, guard};
use crate::sync::record::{Change, Home, Opened, save};
use crate::sync::workers::{Failure, Stop, Workers};
use crate::time::Timestamp;

/// What a run needs besides its job.
pub struct Setting<'env> {
    /// Opens the two sides.
    pub connect: Sides<&'env dyn Connect>,
    /// When to stop.
    pub stop: Stop<'env>,
    /// What is remembered, and where it is kept.
    pub opened: &'env Opened,
    /// Where the archive and its journal are.
    pub home: &'env Home,
    /// Whether the roots are known from elsewhere to have held files.
    pub held_files: Sides<bool>,
    /// What this run calls itself in the remote lock; no other run that goes on has this name.
    pub holder: &'env str,
    /// Whose partial files it makes, goes on with and removes.
    pub owner: PartOwner,
    /// The wall clock at the start.
    pub now: Timestamp,
}

/// What a run came to.
#[derive(Debug)]
pub struct Summary {
    /// What was done.
    pub totals: Totals,
    /// What ended the run before all was done, or kept a part of the tree from being synced at all.
    pub stopped_by: Option<Error>,
    /// Whether each side is known to have held files, before or after.
    pub held_files: Sides<bool>,
}

/// Runs a job: looks, plans, asks the guards, carries out, records.
///
/// An error means that nothing was changed. What ends a run in the middle is in the summary.
pub fn run(
    job: &Job,
    setting: &Setting<'_>,
    tell: &mut dyn FnMut(Event<'_>),
    ask: Option<&mut dyn Ask>,
) -> Result<Summary> {
    refuse_if(guard::unset_clock(setting.now))?;
    let Opened {
        archive, journal, ..
    } = setting.opened;
    let terms = Terms::of(job, archive, journal.is_same_boot(), setting.owner);
    let filter = Filter::new(&job.selection);
    let copying = copy::Terms {
        journal,
        limiter: copy::Limiter::new(job.limits.bytes_per_sec),
        stop: setting.stop,
        modes: job.policy.modes,
        records_digests: job.policy.compare == Compare::Content,
        verify: job.policy.verify,
        trusts_local_partials: journal.is_same_boot(),
        moved: copy::Moved::default(),
        owner: setting.owner,
        lock: carry::lock::Keeping::new(
            setting.holder,
            job.limits.lock_refresh,
            !job.writes_in_place(),
        ),
    };
    let ran = thread::scope(|scope| -> Result<carry::Done> {
        let most = job.limits.connections.most(&job.remote);
        let connect = setting.connect;
        let workers = Workers::new(scope, connect, setting.stop, most, job.limits.retries)?;
        tell(Event::Started);
        find_check_file(job, &workers)?;
        let findings = match job.policy.remote_scan {
            RemoteScan::Quick => glance_over(&workers, &terms, &job.selection.only, setting.now)?,
            RemoteScan::Full | RemoteScan::Trusted => Findings::new(),
        };
        let mut plan = walk(Walk {
            job,
            terms: &terms,
            filter: &filter,
            workers: &workers,
            tell: &mut *tell,
            ask: ask.map(|ask| ask as &mut dyn Ask),
            held_files: setting.held_files,
            may_delete: setting.opened.may_delete,
            findings,
            now: setting.now,
        })?;
        judge(job, &mut plan)?;
        tell_planned(&plan, tell);
        let refusals = std::mem::take(&mut plan.refusals);
        let mut ended = if job.dry_run {
            carry::Done {
                totals: tell_plan(&plan, tell),
                stopped_by: None,
            }
        } else {
            carry(Carrying {
                job,
                copying: &copying,
                journal,
                workers: &workers,
                is_disk: connect.map(Connect::is_disk),
                tell,
                now: setting.now,
                last: Filter::of(&job.policy.last),
                plan,
            })?
        };
        let mut refusals = refusals.into_iter();
        if ended.stopped_by.is_none() {
            let first = refusals.next();
            ended.stopped_by = first.map(|refusal| ErrorKind::Guard(refusal).into());
        }
        refusals.for_each(|refusal| tell(Event::Warning(&refusal)));
        Ok(ended)
    });
    let mut ended = match ran {
        Ok(ended) => ended,
        Err(refusal) => {
            if !job.dry_run && journal.is_empty() {
                // Nothing was noted: this only takes away what was made to note it in. The refusal itself is told.
                let _ = save(setting.home, archive, journal);
            }
            return Err(refusal);
        }
    };
    if !job.dry_run {
        match save(setting.home, archive, journal) {
            Ok(notices) => notices
                .iter()
                .for_each(|notice| tell(Event::Notice(notice))),
            Err(error) => {
                let error = error
                    .while_doing("recording what was done (the next run goes on from the journal)");
                ended.stopped_by.get_or_insert(error);
            }
        }
    }
    let held_files = hold_files(setting.held_files, &ended.totals);
    Ok(Summary {
        totals: ended.totals,
        stopped_by: ended.stopped_by,
        held_files,
    })
}

/// Once a side held files it is known to have held some, also when this run's deletions emptied it.
fn hold_files(before: Sides<bool>, totals: &Totals) -> Sides<bool> {
    let mut held = before;
    for side in Side::BOTH {
        *held.of_mut(side) |= *totals.files.of(side) + *totals.files_written.of(side) > 0;
    }
    held
}

/// `--check-file`: the file must be in both roots, or their disks are not what they should be.
fn find_check_file<'env>(job: &'env Job, workers: &Workers<'_, 'env>) -> Result<()> {
    let Some(file) = &job.check_file else {
        return Ok(());
    };
    let looked = workers.call(move |hands| {
        for side in Side::BOTH {
            let found = hands.of(side)?.look_up(std::slice::from_ref(file)).pop();
            let is_file = match found.expect("one answer for one question") {
                Ok(found) => found.is_some_and(|stat| stat.kind == crate::replica::Kind::File),
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(error.while_doing("looking for the check file")),
            };
            if !is_file {
                return Err(Error::new(ErrorKind::Guard(format!(
                    "the check file {file} is not in the {side} root, or no file; is its disk mounted? nothing was done"
                ))));
            }
        }
        Ok(())
    });
    looked.map_err(Failure::into_error)
}

/// Finds out what became of directories that a cut-off run was renaming on the remote side, and notes it. Says whether one got
/// there: the archive is to be written, and read again, before anybody looks.
pub(crate) fn settle_moves(opened: &Opened, remote: &dyn Connect) -> Result<bool> {
    let moves = opened.journal.unfinished_moves();
    if moves.is_empty() {
        return Ok(false);
    }
    let mut remote = remote.connect()?;
    let mut has_moved = false;
    for (from, to) in moves {
        let answers = remote.look_up(&[from.clone(), to.clone()]);
        let is_moved = matches!(answers.as_slice(), [Ok(None), Ok(Some(_))]);
        if is_moved && opened.archive.holds(&from) {
            opened.journal.note(&to, &Change::MovedFrom(from))?;
            has_moved = true;
        }
    }
    Ok(has_moved)
}

/// Lets the guards look at the finished plan, before anything is done.
fn judge(job: &Job, plan: &mut Plan) -> Result<()> {
    let allow = job.policy.allow;
    refuse_if(guard::all_changed(&plan.changes, allow))?;
    if allow.time_shift {
        plan.accept_time_shift();
    }
    refuse_if(guard::restored_tree("the local root", plan.copies, allow))?;
    for (dir, copies) in &plan.restored {
        refuse_if(guard::restored_tree(&dir.to_string(), *copies, allow))?;
    }
    refuse_if(guard::mass_delete(plan.losses, allow.delete))
}

fn tell_planned(plan: &Plan, tell: &mut dyn FnMut(Event<'_>)) {
    let (files, bytes) = Side::BOTH
        .into_iter()
        .map(|side| plan.copies_to(side))
        .fold((0, 0), |sum, (files, bytes)| (sum.0 + files, sum.1 + bytes));
    tell(Event::Planned { files, bytes });
}

pub(crate) fn refuse_if(guarded: std::result::Result<(), String>) -> Result<()> {
    guarded.map_err(|refusal| ErrorKind::Guard(refusal).into())
}
