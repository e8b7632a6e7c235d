//! THE ALGORITHM. Sees targets through their trait and plain data; never a socket, never a terminal.
//!
//! ```text
//!  glance ─▶ survey ─▶ scan ─▶ classify ─▶ decide ─▶ plan ─▶ guard ─▶ execute ─▶ record
//!  (worker)  (workers)  pure     pure       pure     data     pure    (workers)   atomic
//! ```
//!
//! [`run`] is the whole of it. The first half ([`mod@walk`]) reads and changes nothing; its result is a [`plan::Plan`],
//! which the guards may refuse and a dry run only tells. The second half ([`mod@execute`]) carries the plan out and
//! records what was truly made equal. Both give their work to the [`pool`], whose workers own the connections; the
//! calling thread alone decides, asks, records and tells.

pub mod walk;

pub mod draft;

pub mod glance;

pub mod proof;

pub mod survey;

pub mod found;

pub mod scan;

pub mod filter;

pub mod classify;

pub mod decide;

pub mod resolve;

pub mod subtree;

pub mod plan;

pub mod guard;

pub mod execute;

pub mod rename;

pub mod moving;

pub mod deletion;

pub mod noted;

pub mod record;

pub mod transfer;

pub mod trash;

pub mod pool;

pub mod metadata;

pub mod digest;

pub mod store;

pub mod journal;

pub mod lock;

pub mod register;

pub mod peer;

pub mod event;

mod json;

#[cfg(test)]
mod scratch;

use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::job::Job;
use crate::path::RelPath;
use crate::replica::{FileIdentity, Listing, Staging, Written};
use crate::side::{Side, Sides};
use crate::sync::event::{Ask, Event, Totals};
use crate::sync::execute::{Execution, execute};
use crate::sync::glance::Glanced;
use crate::sync::journal::{Journal, Leftover};
use crate::sync::plan::Plan;
use crate::sync::pool::{Connect, Failure, Pool, Stop};
use crate::sync::survey::{Survey, Terms};
use crate::sync::walk::{Walk, walk};
use crate::time::Timestamp;

/// What a run needs besides its job.
pub struct Setting<'env> {
    /// Opens the targets.
    pub connect: &'env dyn Connect,
    /// When to stop.
    pub stop: Stop<'env>,
    /// Where files about to be placed are noted; none where no journal can be kept.
    pub journal: Option<&'env Journal>,
    /// What a run that was cut off had in hand.
    pub leftover: &'env Leftover,
    /// Whether the roots are known from elsewhere to have held files.
    pub held_files: Sides<bool>,
    /// Whether the local root is on another file system than last time.
    pub is_elsewhere: bool,
    /// What this run calls itself in the remote lock.
    pub holder: &'env str,
    /// The wall clock at the start.
    pub now: Timestamp,
}

/// What a run came to.
#[derive(Debug)]
pub struct Summary {
    /// What was done.
    pub totals: Totals,
    /// What ended the run before all was done.
    pub stopped_by: Option<Error>,
    /// Whether each side holds files now.
    pub holds_files: Sides<bool>,
    /// Whether all that was done is recorded and no partial file is left, so that no journal is needed.
    pub is_settled: bool,
}

/// What a worker brings back.
#[derive(Debug)]
pub enum Done {
    /// What is known of directories at a glance; none where the server does not play along.
    Glanced(Option<Glanced>),
    /// What is in a directory.
    Survey(Box<Survey>),
    /// All that is below a directory.
    Subtree(Vec<(RelPath, Listing)>),
    /// Whether two files hold the same bytes.
    Equal(bool),
    /// A file was copied, or is staged where it is to be.
    Copied(Staging),
    /// Both files of a conflict were copied: the loser, the winner.
    BothCopied(Written, Written),
    /// What became of each of several things.
    Each(Vec<Result<()>>),
    /// The same where each was written.
    EachWritten(Vec<Result<Written>>),
    /// Which things several files are.
    Identified(Vec<Option<FileIdentity>>),
    /// How much room there is, on each side.
    Room(Sides<Option<u64>>),
    /// It is done.
    Nothing,
}

/// Runs a job: plans, asks the guards, carries out, records.
///
/// An error means that nothing was changed. What ends a run in the middle is in the summary.
pub fn run(
    job: &Job,
    setting: &Setting<'_>,
    tell: &mut dyn FnMut(Event<'_>),
    ask: &mut dyn Ask,
) -> Result<Summary> {
    refuse_if(guard::unset_clock(setting.now))?;
    let terms = Terms::of(job);
    let most = usize::from(job.limits.connections.get());
    let copying = transfer::Terms {
        journal: setting.journal,
        limiter: transfer::Limiter::new(job.limits.bytes_per_sec),
        stop: setting.stop,
        verify: job.policy.verify,
        trusts_local_partials: setting.leftover.is_same_boot(),
        moved: transfer::Moved::default(),
    };
    thread::scope(|scope| {
        let mut pool = Pool::new(
            scope,
            setting.connect,
            setting.stop,
            most,
            job.limits.retries,
        );
        tell(Event::Started);
        find_check_file(job, &mut pool)?;
        let mut plan = walk(Walk {
            job,
            terms: &terms,
            pool: &mut pool,
            tell: &mut *tell,
            ask,
            leftover: setting.leftover,
            held_files: setting.held_files,
            is_elsewhere: setting.is_elsewhere,
            now: setting.now,
        })?;
        judge(job, &mut plan)?;
        let (files, bytes) = Side::BOTH
            .into_iter()
            .map(|side| plan.copies_to(side))
            .fold((0, 0), |sum, (files, bytes)| (sum.0 + files, sum.1 + bytes));
        tell(Event::Planned { files, bytes });
        if job.dry_run {
            execute::tell_plan(&plan, tell);
            let holds_files = plan.totals.files.map(|files| files > 0);
            return Ok(Summary {
                totals: plan.totals,
                stopped_by: None,
                holds_files,
                is_settled: false,
            });
        }
        execute(Execution {
            job,
            terms: &terms,
            copying: &copying,
            pool: &mut pool,
            tell,
            holder: setting.holder,
            now: setting.now,
            plan,
        })
    })
}

/// `--check-file`: the file must be in both roots, or their disks are not what they should be.
fn find_check_file<'env>(job: &'env Job, pool: &mut Pool<'_, 'env, Done>) -> Result<()> {
    let Some(file) = &job.check_file else {
        return Ok(());
    };
    let looked = pool.call(Box::new(move |hands| {
        for side in Side::BOTH {
            let found = hands.sides.of_mut(side).look_up(std::slice::from_ref(file)).pop();
            let is_there = match found.expect("one answer for one question") {
                Ok(found) => found.is_some(),
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(error.while_doing("looking for the check file")),
            };
            if !is_there {
                return Err(Error::new(ErrorKind::Guard(format!(
                    "the check file {file} is not in the {side} root; is its disk mounted? nothing was done"
                ))));
            }
        }
        Ok(Done::Nothing)
    }));
    looked.map(|_| ()).map_err(Failure::into_error)
}

/// Lets the guards look at the finished plan, before anything is done.
fn judge(job: &Job, plan: &mut Plan) -> Result<()> {
    let allow = job.policy.allow;
    refuse_if(guard::all_changed(plan.changes, allow))?;
    if allow.time_shift
        && Side::BOTH
            .into_iter()
            .any(|side| plan.changes.of(side).is_suspicious())
    {
        plan.accept_time_shift();
    }
    refuse_if(guard::mass_delete(plan.losses, allow.delete))
}

fn refuse_if(guarded: std::result::Result<(), String>) -> Result<()> {
    guarded.map_err(|refusal| ErrorKind::Guard(refusal).into())
}
