//! Walks both sides in step and makes the plan: look at a directory, pair its names, decide, go on below.
//!
//! Workers look ahead of the walk, so that round trips overlap; what they find is consumed here, one directory at a time, in
//! the order in which it was sent for, so memory follows the widest directory and not the tree, and two runs decide in the
//! same order. What is below a directory is sent for as soon as it was visited, before what is beside it.
//!
//! A directory that one side deleted is *doomed*: it is walked all the same, each file in it counts for itself, and
//! it goes only when nothing in it is to be kept.
//!
//! A directory that was *renamed* on the local side looks like one that was deleted there and one that is new. So what is new
//! is visited after all that is on both sides, and what was deleted after that. Where the new one has the inode that is
//! recorded of a deleted one, and a file that is recorded in that, the two are one: it is visited as a directory that both
//! sides have, under its old path on the remote side, and renamed there before anything else is done in it.

use std::rc::Rc;

use crate::error::{Error, ErrorKind, Result};
use crate::job::{Job, RemoteScan};
use crate::path::{Escaped, RelPath};
use crate::replica::Kind;
use crate::side::{Side, Sides};
use crate::sync::event::{Ask, Choice, Deed, DeletedFor, Event, Skipped};
use crate::sync::look::directory::Where;
use crate::sync::look::filter::Filter;
use crate::sync::look::quick::{Finding, Findings};
use crate::sync::look::spelling::Meeting;
use crate::sync::look::{Found, Pair, Terms, recall, survey};
use crate::sync::plan::draft::{Dir, Draft};
use crate::sync::plan::guard::Copies;
use crate::sync::plan::{OwnRecord, Plan};
use crate::sync::record::{Change, DirFacts};
use crate::sync::workers::{Failure, Workers};
use crate::time::Timestamp;
use conflict::{Question, Waiting};
use looks::Looks;

mod conflict;
mod content;
mod entry;
mod kinds;
mod looks;
mod renames;
mod respell;
mod roots;

/// How deep a tree may be. Deeper ones are loops made of links that a server shows as directories.
const MAX_DEPTH: usize = 200;

/// How many entries all workers look at ahead, if directories are as wide as those before: a mebibyte or two.
const ENTRIES_AHEAD: usize = 8192;

/// What the walk needs.
pub struct Walk<'w, 'scope, 'env> {
    /// The job.
    pub job: &'env Job,
    /// What all looks have in common.
    pub terms: &'env Terms<'env>,
    /// Which entries take part.
    pub filter: &'env Filter,
    /// Who does the looking.
    pub workers: &'w Workers<'scope, 'env>,
    /// Who listens.
    pub tell: &'w mut dyn FnMut(Event<'_>),
    /// Who answers; none where nobody does.
    pub ask: Option<&'w mut dyn Ask>,
    /// Whether the roots are known to have held files.
    pub held_files: Sides<bool>,
    /// Whether anything may be deleted: not where the sides meet for the first time although there was an archive.
    pub may_delete: bool,
    /// What is known of remote directories before they are listed.
    pub findings: Findings,
    /// The wall clock at the start.
    pub now: Timestamp,
}

/// Makes the plan of a run.
///
/// Fails when a guard refuses, when the connection is lost for good or the run was stopped. What fails about single
/// entries is told, counted in the totals, and left out of the plan.
pub fn walk(walk: Walk<'_, '_, '_>) -> Result<Plan> {
    let mut walker = Walker {
        draft: Draft::new(walk.terms.owner),
        stack: Vec::new(),
        looks: Looks::default(),
        visited: 0,
        fresh: Vec::new(),
        vanished: Vec::new(),
        knows_vanished: false,
        emptied: Vec::new(),
        waiting: Vec::new(),
        asked: 0,
        standing_answer: None,
        has_told_nobody_answers: false,
        walk,
    };
    walker.start();
    walker.refuse_left_out_branch()?;
    while let Some((visit, found)) = walker.next_visit()? {
        walker.visit(visit, found)?;
    }
    walker.draft.plan.restore_kept();
    walker.draft.plan.settle_moved();
    if walker.renames_files() {
        for side in Side::BOTH {
            walker.find_renames(side)?;
        }
    }
    walker.judge_all_emptied()?;
    Ok(walker.draft.plan)
}

struct Walker<'w, 'scope, 'env> {
    walk: Walk<'w, 'scope, 'env>,
    draft: Draft,
    /// Directories that nobody looks at yet.
    stack: Vec<Visit>,
    looks: Looks,
    /// How many directories were visited.
    visited: u64,
    /// Directories that may be others under a new name; they wait until these are known.
    fresh: Vec<Visit>,
    /// Directories that the local side deleted, or renamed.
    vanished: Vec<Vanished>,
    /// Whether all that is on both sides was visited.
    knows_vanished: bool,
    /// First-level directories that became empty on the local side, and how many files are recorded in them.
    emptied: Vec<(Rc<Dir>, u64)>,
    /// Directories with conflicts that the user is asked about once all else is known.
    waiting: Vec<Waiting>,
    /// How many conflicts the user was asked about.
    asked: u64,
    /// The answer that holds for all further conflicts.
    standing_answer: Option<Choice>,
    /// Whether it was said that nobody answers.
    has_told_nobody_answers: bool,
}

/// A directory to be visited.
struct Visit {
    dir: Rc<Dir>,
    doom: Doom,
    /// Nothing is deleted here or below: something above could not be listed in full.
    is_protected: bool,
    /// It has no record: it may have had another name.
    is_fresh: bool,
    /// That a side deleted it is not carried over: its record goes.
    is_forgotten: bool,
    /// A filter had left it out, or what it is in: what was done there meanwhile is not carried over.
    was_left_out: bool,
}

/// A directory that the local side has no more.
struct Vanished {
    visit: Visit,
    why: DeletedFor,
    inode: u64,
}

/// Why a directory is to go.
#[derive(Clone, Copy)]
enum Doom {
    /// It is not.
    Spared,
    /// This side deleted it.
    DeletedOn(Side),
    /// The filter rejects it, and all of it goes.
    Unmatched { on: Side },
}

impl Doom {
    /// The side that deleted the directory, if one did.
    const fn gone_from(self) -> Option<Side> {
        match self {
            Self::DeletedOn(side) => Some(side),
            Self::Spared | Self::Unmatched { .. } => None,
        }
    }
}

impl Walker<'_, '_, '_> {
    fn start(&mut self) {
        let only = &self.walk.job.selection.only;
        self.stack.push(Visit {
            dir: Rc::new(Dir::top(only, Sides::new(true, true))),
            doom: Doom::Spared,
            is_protected: !self.walk.may_delete,
            is_fresh: false,
            is_forgotten: false,
            was_left_out: false,
        });
    }

    /// What both sides have first, then what is new, then what is gone; then the user is asked, who may want to have more
    /// visited.
    fn next_visit(&mut self) -> Result<Option<(Visit, Found)>> {
        self.look_ahead();
        if self.looks.is_empty() {
            self.knows_vanished = true;
            if self.fresh.is_empty() {
                // Nothing is left that these could be called now.
                for vanished in std::mem::take(&mut self.vanished).into_iter().rev() {
                    self.doom(&vanished.visit.dir, Side::Remote, vanished.why);
                    self.stack.push(vanished.visit);
                }
            }
            self.stack.extend(self.fresh.drain(..).rev());
            if self.stack.is_empty() {
                self.ask_all()?;
            }
            self.look_ahead();
        }
        self.looks.next(self.walk.workers)
    }

    /// Has a directory removed at the end.
    fn doom(&mut self, dir: &Dir, on: Side, why: DeletedFor) {
        self.draft.plan_of(dir).remove_on = Some((on, why));
    }

    fn visit(&mut self, mut visit: Visit, mut found: Found) -> Result<()> {
        if visit.dir.depth > MAX_DEPTH {
            let error = Error::new(ErrorKind::Verify(format!(
                "deeper than {MAX_DEPTH} directories; a loop of links?"
            )));
            self.fail(&visit.dir, &visit.dir.paths.local, &error);
            return Ok(());
        }
        self.visited += 1;
        if visit.dir.parent.is_none() {
            self.face_missing_root(&mut visit, &mut found)?;
        }
        if found.is_trash {
            self.draft.leave_alone(&visit.dir);
            return Ok(());
        }
        if visit.is_fresh && !visit.dir.there.remote {
            match self.find_vanished(&found) {
                Some(place) => {
                    self.take_for_moved(&mut visit, place);
                    found = self.look(&visit.dir)?;
                }
                None => self.draft.ensure_there(&visit.dir, Side::Remote),
            }
        }
        if !self.is_usable(&mut visit, &mut found)? {
            self.draft.keep(&visit.dir);
            return Ok(());
        }
        if visit.dir.depth == 0 {
            self.guard_roots(&visit.dir, &found)?;
        } else if !self.is_mount_there(&visit.dir, &found) {
            return Ok(());
        }
        if visit.is_forgotten {
            self.draft.plan_of(&visit.dir).own_record = OwnRecord::Forget;
        }
        visit.was_left_out |= found.block.facts().left_out;
        self.tell_scanned(&found);
        self.guard_emptied(&visit.dir, &found)?;
        self.visit_entries(visit, found)
    }

    /// Keeps the workers busy with what will be visited next. What they find waits for its turn in memory, so there is a bound.
    fn look_ahead(&mut self) {
        let batch = self.batch();
        let most = 2 * self.walk.workers.room() * batch;
        while !self.stack.is_empty() && self.looks.len() + batch <= most {
            let rest = self.stack.len().saturating_sub(batch);
            let visits: Vec<Visit> = self.stack.drain(rest..).rev().collect();
            let dirs = visits.iter().map(|visit| self.place_of(&visit.dir));
            let dirs = dirs.collect();
            self.looks
                .send(self.walk.workers, self.walk.terms, dirs, visits);
        }
    }

    /// Looks at a directory once more, now.
    fn look(&self, dir: &Dir) -> Result<Found> {
        let terms = self.walk.terms;
        let dirs = [self.place_of(dir)];
        let found = self.walk.workers.call(move |hands| {
            let mut found = Vec::new();
            survey(hands, terms, &dirs, &mut found)?;
            Ok(found)
        });
        let found = found.map_err(Failure::into_error)?;
        let mut found = found.into_iter();
        Ok(found.next().expect("one directory has one finding"))
    }

    /// How many directories a worker looks at in one go: fewer where they are wide, for all that is found in them waits here.
    fn batch(&self) -> usize {
        let totals = &self.draft.plan.totals;
        let seen = |side| *totals.files.of(side) + *totals.dirs.of(side);
        let entries = seen(Side::Local).max(seen(Side::Remote));
        let width = usize::try_from(entries / self.visited.max(1)).unwrap_or(usize::MAX);
        let in_one_go = ENTRIES_AHEAD / width.max(1) / self.walk.workers.room();
        in_one_go.clamp(1, self.walk.workers.batch())
    }

    fn place_of(&self, dir: &Dir) -> Where {
        Where {
            paths: dir.paths.clone(),
            recorded: dir.recorded.clone(),
            there: dir.there,
            is_remote_known: self.is_remote_known(dir),
        }
    }

    /// Whether the remote side of a directory need not be listed.
    fn is_remote_known(&self, dir: &Dir) -> bool {
        match self.walk.terms.remote_scan {
            RemoteScan::Full => false,
            RemoteScan::Trusted => true,
            RemoteScan::Quick => {
                dir.there == Sides::new(true, true)
                    && dir.paths.local == dir.paths.remote
                    && matches!(
                        self.walk.findings.get(&dir.paths.local),
                        Some(Finding::Proven)
                    )
            }
        }
    }

    /// Tells what is wrong with the listings; false where nothing can be done in the directory.
    fn is_usable(&mut self, visit: &mut Visit, found: &mut Found) -> Result<bool> {
        let dir = Rc::clone(&visit.dir);
        for side in Side::BOTH {
            if let Some(error) = found.failed.of_mut(side).take() {
                if dir.depth == 0 {
                    return Err(error.while_doing(format!("listing the {side} root")));
                }
                let error = error.while_doing(format!("listing the {side} directory"));
                self.fail(&dir, &dir.paths.local, &error);
                return Ok(false);
            }
            if let Some(gap) = found.listings.of(side).gap() {
                let error = Error::new(ErrorKind::Verify(format!(
                    "the {side} listing is incomplete: {gap}; nothing is deleted here or below"
                )));
                self.fail(&dir, &dir.paths.local, &error);
                visit.is_protected = true;
            }
            let unusable: Vec<String> = found
                .listings
                .of(side)
                .unusable()
                .map(|name| name.to_string())
                .collect();
            for name in unusable {
                let error = Error::new(ErrorKind::Name(format!(
                    "the name \"{name}\" cannot be sent to a server; rename the file to have it synced"
                )));
                self.fail(&dir, &dir.paths.local, &error);
            }
        }
        if found.has_reserved {
            // A proof must not hide them from the next run.
            self.walk.findings.remove(&dir.paths.local);
        }
        self.draft.plan.lock_seen |= found.has_lock;
        Ok(true)
    }

    fn tell_scanned(&mut self, found: &Found) {
        let count = |kind: Kind| {
            found.listings.as_ref().map(|listing| {
                let of_kind = listing.iter().filter(|entry| entry.stat.kind == kind);
                of_kind.count() as u64
            })
        };
        let (files, dirs) = (count(Kind::File), count(Kind::Dir));
        for side in Side::BOTH {
            *self.draft.plan.totals.files.of_mut(side) += files.of(side);
            *self.draft.plan.totals.dirs.of_mut(side) += dirs.of(side);
        }
        (self.walk.tell)(Event::Scanned { files, dirs });
    }

    fn visit_entries(&mut self, visit: Visit, mut found: Found) -> Result<()> {
        let dir = &visit.dir;
        if visit.was_left_out {
            let forgotten = recall::forget_changed(&mut found);
            if !forgotten.is_empty() {
                self.draft.plan_of(dir).forgotten_dirs.extend(forgotten);
            }
        }
        let pairs = found.pair_up(self.walk.job.policy.case);
        let mut seen = Seen::default();
        let mut below = Vec::new();
        for places in found.places(&pairs) {
            let pair = found.pair(places);
            if !self.is_looked_at(&pair) {
                seen.is_partial = true;
                continue;
            }
            if pairs.is_lookalike(pair.name.as_bytes())
                || pair
                    .remote_name
                    .is_some_and(|name| pairs.is_lookalike(name.as_bytes()))
            {
                self.refuse_lookalike(dir, &pair);
                seen.is_partial = true;
            } else if let Some(meeting) = found.meeting_of(&pair) {
                self.refuse_meeting(dir, &pair, meeting);
                seen.is_partial = true;
            } else {
                self.decide_entry(&visit, &found, places, &mut below, &mut seen)?;
            }
        }
        if seen.questions.is_empty() {
            self.close(dir, &mut found, seen);
        } else {
            self.waiting.push(Waiting { visit, found, seen });
        }
        if self.walk.job.selection.alone.is_some() {
            self.fresh.clear();
            self.vanished.clear();
            below.clear();
        }
        self.stack.extend(below.into_iter().rev());
        Ok(())
    }

    /// Whether it is what the job is about, where that is one entry.
    fn is_looked_at(&self, pair: &Pair<'_>) -> bool {
        let alone = self.walk.job.selection.alone.as_deref();
        alone.is_none_or(|alone| {
            pair.name.as_bytes() == alone || pair.name_on(Side::Remote).as_bytes() == alone
        })
    }

    /// All entries of a directory are decided on.
    fn close(&mut self, dir: &Dir, found: &mut Found, mut seen: Seen) {
        self.draft.plan_clean_up(dir, found);
        let mut notes = std::mem::take(&mut found.notes);
        notes.append(&mut seen.respelled);
        if !notes.is_empty() {
            self.draft.plan_of(dir).notes = notes;
        }
        self.plan_facts(dir, found, &seen);
        if let Some(index) = dir.place() {
            let plan = &mut self.draft.plan.dirs[index];
            plan.has_remote_times = found.has_remote_times;
            // All steps of all directories wait for the guards.
            plan.steps.shrink_to_fit();
        }
        if seen.copies.is_restored() {
            let path = dir.paths.local.clone();
            self.draft.plan.restored.push((path, seen.copies));
        }
        self.draft.plan.copies.add(seen.copies);
    }

    fn refuse_lookalike(&mut self, dir: &Dir, pair: &Pair<'_>) {
        let error = Error::new(ErrorKind::Name(
            "another name differs from this one only in case, and nothing is done with either; --case strict keeps them \
             apart, --case local or --case remote takes them as one"
                .to_owned(),
        ));
        self.fail(dir, &dir.paths.local.join(pair.name), &error);
    }

    fn refuse_meeting(&mut self, dir: &Dir, pair: &Pair<'_>, meeting: &Meeting) {
        let error = Error::new(ErrorKind::Name(format!(
            "the {} side takes this name and \"{}\" for one, and nothing is done with it; rename one of the two",
            meeting.on,
            Escaped(&meeting.with)
        )));
        self.fail(dir, &dir.paths.local.join(pair.name), &error);
    }

    /// What is to be remembered of the directory itself, where that differs from what is remembered now.
    fn plan_facts(&mut self, dir: &Dir, found: &Found, seen: &Seen) {
        let old = found.block.facts();
        let own = found.listings.local.own;
        let is_whole = found.complete == Sides::new(true, true) && !seen.is_partial;
        let has_steps = dir.place().is_some_and(|index| {
            let plan = &self.draft.plan.dirs[index];
            !plan.steps.is_empty()
                || !plan.notes.is_empty()
                || plan.moved_from.is_some()
                || plan.make_on.is_some()
                || !plan.respellings.is_empty()
        });
        let was_listed = !self.is_remote_known(dir);
        let facts = DirFacts {
            inode: if own.inode == 0 { old.inode } else { own.inode },
            mounts: Sides::new(
                mount_of(Side::Local, dir, found),
                mount_of(Side::Remote, dir, found),
            ),
            left_out: false,
            // What was skipped stays skipped: whatever takes its place later is new.
            settled: old.settled || found.complete == Sides::new(true, true),
            adopted: false,
            glance: self.glance_of(dir, found, has_steps, was_listed),
            seen_at: if is_whole && was_listed {
                self.walk.now
            } else {
                old.seen_at
            },
        };
        dir.facts.set(Some(facts));
        let differs = DirFacts {
            seen_at: old.seen_at,
            ..facts
        } != old;
        if differs || has_steps {
            let plan = self.draft.plan_of(dir);
            plan.facts = Some(facts);
            plan.was_settled = old.settled;
        }
    }

    /// The seal that the remote side is as recorded, where nothing is to be done that would make it void.
    fn glance_of(
        &mut self,
        dir: &Dir,
        found: &Found,
        has_steps: bool,
        was_listed: bool,
    ) -> Option<u64> {
        let old = found.block.facts().glance;
        let finding = self.walk.findings.remove(&dir.paths.local);
        let is_same_dir =
            dir.there == Sides::new(true, true) && dir.paths.local == dir.paths.remote;
        if has_steps || !is_same_dir {
            return None;
        }
        match finding {
            Some(Finding::Seen(glance, changed)) => {
                let listing = &found.listings.remote;
                glance.prove(changed, &found.block, listing, self.walk.now)
            }
            Some(Finding::Proven) => old,
            // Nobody asked; what was sealed is still so where the listing says so.
            None => old.filter(|_| was_listed),
        }
    }

    fn skip(&mut self, dir: &Dir, path: &RelPath, kind: Kind, why: Skipped) {
        self.draft.keep(dir);
        (self.walk.tell)(Event::Entry {
            path,
            kind,
            deed: Deed::Skipped(why),
        });
    }

    fn skip_conflict(&mut self, dir: &Dir, path: &RelPath, kind: Kind) {
        self.draft.keep(dir);
        self.draft.plan.totals.conflicts_skipped += 1;
        (self.walk.tell)(Event::Entry {
            path,
            kind,
            deed: Deed::ConflictSkipped,
        });
    }

    fn fail(&mut self, dir: &Dir, path: &RelPath, error: &Error) {
        self.draft.keep(dir);
        self.draft.plan.totals.errors += 1;
        (self.walk.tell)(Event::Failed { path, error });
    }
}

/// The mount point that is to be remembered of that side. The root is none: its disk is known by the peer and the register.
fn mount_of(side: Side, dir: &Dir, found: &Found) -> Option<u64> {
    match (*dir.there.of(side), dir.depth) {
        (_, 0) => None,
        (true, _) => found.listings.of(side).own.mount,
        (false, _) => *found.block.facts().mounts.of(side),
    }
}

/// What was met in a directory.
#[derive(Debug, Default)]
struct Seen {
    /// Something in it was not decided on: too young, left out, of another kind.
    is_partial: bool,
    /// What of it are copies of what was recorded.
    copies: Copies,
    /// The records of what has another name on a side than it had.
    respelled: Vec<Change>,
    /// What the user is asked about.
    questions: Vec<Question>,
}
