//! Walks both sides in step and makes the plan: survey a directory, pair its names, classify, decide, go on below.
//!
//! Workers survey ahead of the walk, so that round trips overlap; what they find is consumed here in order, one
//! directory at a time, so memory follows the widest directory and not the tree.
//!
//! A directory that one side deleted is *doomed*: it is walked all the same, each file in it counts for itself, and
//! it goes only when nothing in it is to be kept.
//!
//! A directory that was *renamed* on the local side looks like one that was deleted there and one that is new. Its
//! metadata moved along; so what is new is visited after all that is on both sides, and what was deleted after that. If
//! the records in a new directory are those of which a deleted one's record holds the digest, and the remote side is
//! still what that digest says, the two are one: it is visited as a directory that both sides have, under its old path on
//! the remote side, and renamed there before anything else is done in it.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::job::{Delete, Job, Location, RemoteScan};
use crate::path::{Escaped, RelPath};
use crate::replica::{Kind, Listing, Stat};
use crate::side::{Side, Sides};
use crate::sync::classify::{Status, is_coarse, needs_exact_time};
use crate::sync::decide::{Action, decide, decide_unmatched};
use crate::sync::digest;
use crate::sync::draft::{Dir, Draft};
use crate::sync::event::{
    Answer, Ask, Choice, Conflict, Deed, DeletedFor, Event, Recorded, Skipped,
};
use crate::sync::filter::Filter;
use crate::sync::found::{Found, Pair, baseline, kind_of, special_side};
use crate::sync::glance::{Finding, Findings, glance_over};
use crate::sync::guard;
use crate::sync::journal::{Doomed, Leftover};
use crate::sync::metadata::{Record, RecordKind};
use crate::sync::plan::{OldName, OwnRecord, Plan, Todo};
use crate::sync::pool::{Failure, Pool, Task};
use crate::sync::rename;
use crate::sync::resolve::{self, Resolution};
use crate::sync::scan::{Ambiguous, Pairs};
use crate::sync::subtree::{Evidence, Judged, Subtree, Verdict};
use crate::sync::survey::{Survey, Terms, make_times_exact, survey, survey_subtree};
use crate::sync::transfer::compare_bytes;
use crate::sync::{Done, refuse_if};
use crate::time::Timestamp;

/// How deep a tree may be. Deeper ones are loops made of links that a server shows as directories.
const MAX_DEPTH: usize = 64;

/// What the walk needs.
pub struct Walk<'w, 'scope, 'env> {
    /// The job.
    pub job: &'env Job,
    /// What all surveys have in common.
    pub terms: &'env Terms,
    /// Who does the asking of targets.
    pub pool: &'w mut Pool<'scope, 'env, Done>,
    /// Who listens.
    pub tell: &'w mut dyn FnMut(Event<'_>),
    /// Who answers.
    pub ask: &'w mut dyn Ask,
    /// What a run that was cut off had in hand.
    pub leftover: &'w Leftover,
    /// Whether the roots are known to have held files.
    pub held_files: Sides<bool>,
    /// Whether the local root is on another file system than last time.
    pub is_elsewhere: bool,
    /// The wall clock at the start.
    pub now: Timestamp,
}

/// Makes the plan of a run.
///
/// Fails when a guard refuses, when the connection is lost for good or the run was stopped. What fails about single
/// entries is told, counted in the totals, and left out of the plan.
pub fn walk(terms: Walk<'_, '_, '_>) -> Result<Plan> {
    let filter = Filter::new(&terms.job.selection);
    let mut walker = Walker {
        filter,
        draft: Draft::default(),
        stack: Vec::new(),
        ahead: HashMap::new(),
        fresh: Vec::new(),
        vanished: Vec::new(),
        knows_vanished: false,
        emptied: Vec::new(),
        standing_answer: None,
        findings: Findings::new(),
        walk: terms,
    };
    if walker.walk.terms.remote_scan == RemoteScan::Quick {
        let walk = &mut walker.walk;
        walker.findings = glance_over(walk.pool, walk.terms, walk.now)?;
    }
    walker.start();
    while let Some(visit) = walker.next_visit() {
        walker.visit(visit)?;
    }
    walker.draft.plan.restore_kept();
    walker.draft.plan.settle_moved();
    walker.find_renames()?;
    walker.judge_all_emptied()?;
    Ok(walker.draft.plan)
}

struct Walker<'w, 'scope, 'env> {
    walk: Walk<'w, 'scope, 'env>,
    filter: Filter,
    draft: Draft,
    stack: Vec<Visit>,
    /// Surveys under way, by the place on the stack of the visit they are for.
    ahead: HashMap<usize, u64>,
    /// Directories that may be others under a new name; they wait until these are known.
    fresh: Vec<Visit>,
    /// Directories that the local side deleted, or renamed.
    vanished: Vec<Vanished>,
    /// Whether all that is on both sides was visited.
    knows_vanished: bool,
    /// First-level directories that became empty on the local side, and how many files are recorded in them.
    emptied: Vec<(Rc<Dir>, u64)>,
    /// The answer that holds for all further conflicts.
    standing_answer: Option<Choice>,
    /// What is known of remote directories before they are listed.
    findings: Findings,
}

/// A directory to be visited.
struct Visit {
    dir: Rc<Dir>,
    doom: Doom,
    /// Nothing is deleted here or below: something above could not be listed in full.
    is_protected: bool,
    /// The digest in its record; none where it has no record.
    recorded_digest: Option<Option<u64>>,
    /// It has no record: it may have had another name.
    is_fresh: bool,
}

/// A directory that the local side has no more.
struct Vanished {
    visit: Visit,
    why: DeletedFor,
    /// The digest of all that was in it when it was last synced.
    digest: u64,
}

/// Why a directory is to go.
#[derive(Clone, Copy)]
enum Doom {
    /// It is not.
    Spared,
    /// This side deleted it.
    DeletedOn { side: Side, evidence: Evidence },
    /// The filter rejects it, and all of it goes.
    Unmatched { on: Side },
}

impl Doom {
    /// The side that deleted the directory, if one did.
    const fn gone_from(self) -> Option<Side> {
        match self {
            Self::DeletedOn { side, .. } => Some(side),
            Self::Spared | Self::Unmatched { .. } => None,
        }
    }
}

impl<'w, 'scope, 'env> Walker<'w, 'scope, 'env> {
    fn start(&mut self) {
        let dir = Rc::new(Dir::root(Sides::new(true, true)));
        self.stack.push(Visit {
            dir,
            doom: Doom::Spared,
            is_protected: false,
            recorded_digest: None,
            is_fresh: false,
        });
    }

    /// What both sides have first, then what is new, then what is gone.
    fn next_visit(&mut self) -> Option<Visit> {
        if self.stack.is_empty() {
            self.knows_vanished = true;
            if self.fresh.is_empty() {
                // Nothing is left that these could be called now.
                for vanished in std::mem::take(&mut self.vanished).into_iter().rev() {
                    self.doom(&vanished.visit.dir, Side::Remote, vanished.why);
                    self.stack.push(vanished.visit);
                }
            }
            self.stack.extend(self.fresh.drain(..).rev());
        }
        self.stack.pop()
    }

    /// Has a directory removed at the end.
    fn doom(&mut self, dir: &Dir, on: Side, why: DeletedFor) {
        let index = self.draft.planned(dir);
        self.draft.plan.dirs[index].remove_on = Some((on, why));
    }

    /// Whether the job renames directories: where it would have deleted the old one and copied the new one.
    fn renames_dirs(&self) -> bool {
        match self.walk.job.direction.follower() {
            None => true,
            Some(Side::Remote) => self.walk.job.policy.delete != Delete::Never,
            Some(Side::Local) => false,
        }
    }

    /// A directory without a record waits until all is known that it may have been called before.
    fn visit_fresh(&mut self, mut visit: Visit, below: &mut Vec<Visit>) {
        visit.is_fresh = true;
        if self.knows_vanished {
            below.push(visit);
        } else {
            self.fresh.push(visit);
        }
    }

    fn visit(&mut self, mut visit: Visit) -> Result<()> {
        if visit.dir.depth > MAX_DEPTH {
            let error = Error::new(ErrorKind::Verify(format!(
                "deeper than {MAX_DEPTH} directories; a loop of links?"
            )));
            self.fail(&visit.dir, &visit.dir.paths.local, &error);
            return Ok(());
        }
        let mut survey = self.take_survey(self.stack.len(), &visit.dir)?;
        self.survey_ahead();
        if visit.dir.parent.is_none() {
            self.face_missing_root(&mut visit, &mut survey)?;
        }
        let mut tells_of_deletions = true;
        if visit.is_fresh {
            let before = self.find_vanished(&survey);
            if visit.dir.there.remote {
                // A server that does not rename at once was cut off in the middle of it.
                tells_of_deletions = before.is_none();
            } else if let Some(place) = before
                && self.is_movable(place, &visit.dir)?
            {
                self.take_for_moved(&mut visit, place);
                let id = self.submit_survey(&visit.dir);
                survey = self.await_survey(id)?;
            } else {
                self.draft.ensure_there(&visit.dir, Side::Remote);
            }
        }
        let dir = Rc::clone(&visit.dir);
        let Some(mut found) = self.unwrap_listings(&visit, survey)? else {
            return Ok(());
        };
        found.records_apply &= tells_of_deletions;
        if dir.parent.is_none() {
            self.guard_roots(&dir, &found)?;
        }
        self.tell_scanned(&found);
        let is_doomed = matches!(visit.doom, Doom::DeletedOn { .. });
        if is_doomed && !found.metadata.records().is_known() {
            return self.visit_unrecorded(&visit);
        }
        self.visit_entries(&visit, found)
    }

    /// The finding of the visit that stood at that place of the stack, made ahead or now.
    fn take_survey(&mut self, place: usize, dir: &Rc<Dir>) -> Result<Survey> {
        let id = match self.ahead.remove(&place) {
            Some(id) => id,
            None => self.submit_survey(dir),
        };
        self.await_survey(id)
    }

    fn await_survey(&mut self, id: u64) -> Result<Survey> {
        match self.walk.pool.wait_for(id).map_err(Failure::into_error)? {
            Done::Survey(survey) => Ok(*survey),
            _ => unreachable!("a survey's number brings a survey"),
        }
    }

    /// The place of the only vanished directory whose records these are.
    fn find_vanished(&self, survey: &Survey) -> Option<usize> {
        let records = survey.metadata.records();
        // Empty directories are all alike.
        let digest = digest::of_records(records).filter(|_| !records.is_empty())?;
        let mut places =
            (0..self.vanished.len()).filter(|place| self.vanished[*place].digest == digest);
        let place = places.next()?;
        places.next().is_none().then_some(place)
    }

    /// Whether the remote side still has exactly what was synced of a vanished directory, and all of it takes part under
    /// the new name, too.
    fn is_movable(&mut self, place: usize, dir: &Dir) -> Result<bool> {
        let top = self.vanished[place].visit.dir.paths.remote.clone();
        let subtree = match self.list_subtree(Side::Remote, &top) {
            Ok(subtree) => subtree,
            // It is not moved, and whoever visits it tells why it cannot be listed.
            Err(Failure::Entry(_)) => return Ok(false),
            Err(Failure::Job(error)) => return Err(error),
        };
        let evidence = Evidence::Digest(self.vanished[place].digest);
        let judged = Subtree::new(subtree, &self.filter).judge(evidence);
        Ok(judged.iter().all(|entry| {
            let moved = entry.path.moved(&top, &dir.paths.local);
            entry.verdict == Verdict::Unchanged
                && entry.stat.kind != Kind::Special
                && moved.is_some_and(|path| self.filter.accepts(&path, entry.stat.kind))
        }))
    }

    /// From here on the visit is about the directory that both sides have.
    fn take_for_moved(&mut self, visit: &mut Visit, place: usize) {
        let old = self.vanished.remove(place).visit.dir;
        visit.dir = Rc::new(visit.dir.moved_from(old.paths.remote.clone()));
        let name_of = |path: &RelPath| path.name().map(|name| Box::from(name.as_bytes()));
        let (Some(parent), Some(local), Some(remote)) = (
            &old.parent,
            name_of(&old.paths.local),
            name_of(&old.paths.remote),
        ) else {
            unreachable!("a root does not vanish from its parent");
        };
        let parent = self.draft.planned(parent);
        self.draft.own_record(&visit.dir, OwnRecord::Set);
        let index = self.draft.planned(&visit.dir);
        self.draft.plan.dirs[index].moved_from = Some(OldName {
            parent,
            names: Sides::new(local, remote),
        });
    }

    /// Keeps the workers busy with what will be visited next.
    fn survey_ahead(&mut self) {
        let lowest = self.stack.len().saturating_sub(self.walk.pool.room());
        for place in (lowest..self.stack.len()).rev() {
            if self.ahead.len() >= self.walk.pool.room() {
                return;
            }
            if !self.ahead.contains_key(&place) {
                let dir = Rc::clone(&self.stack[place].dir);
                let id = self.submit_survey(&dir);
                self.ahead.insert(place, id);
            }
        }
    }

    fn submit_survey(&mut self, dir: &Rc<Dir>) -> u64 {
        let (paths, there, terms) = (dir.paths.clone(), dir.there, self.walk.terms);
        let is_known = self.is_remote_known(dir);
        let task: Task<'env, Done> = Box::new(move |hands| {
            let found = survey(hands, terms, &paths, there, is_known)
                .doing(|| format!("listing {}", paths.local))?;
            Ok(Done::Survey(Box::new(found)))
        });
        if is_known {
            self.walk.pool.submit_frugally(task)
        } else {
            self.walk.pool.submit(task)
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
                    && matches!(self.findings.get(&dir.paths.local), Some(Finding::Proven))
            }
        }
    }

    /// Keeps the proof that the remote side is as recorded, where nothing is to be done that would make it void.
    fn keep_proof(&mut self, dir: &Dir, found: &Found) {
        let Some(Finding::Seen(glance, changed)) = self.findings.remove(&dir.paths.local) else {
            return;
        };
        let has_steps = |index: usize| !self.draft.plan.dirs[index].steps.is_empty();
        if dir.there != Sides::new(true, true)
            || dir.paths.local != dir.paths.remote
            || dir.place().is_some_and(has_steps)
        {
            return;
        }
        let records = found.metadata.records();
        let listing = &found.listings.remote;
        if let Some(proof) = glance.prove(changed, records, listing, self.walk.now)
            && found.metadata.proof() != Some(proof)
        {
            let index = self.draft.planned(dir);
            self.draft.plan.dirs[index].proof = Some(proof);
        }
    }

    /// The survey with a listing for each side that has the directory; none when one of them failed, which is told.
    fn unwrap_listings(&mut self, visit: &Visit, survey: Survey) -> Result<Option<Found>> {
        let Survey {
            listings,
            metadata,
            partials,
            has_remote_metadata,
            has_lock,
            has_reserved,
            damaged,
        } = survey;
        if has_reserved {
            // A proof must not hide them from the next run.
            self.findings.remove(&visit.dir.paths.local);
        }
        let mut is_protected = visit.is_protected;
        let mut complete = Sides::new(true, true);
        let mut found = Sides::new(Listing::new(), Listing::new());
        for (side, listing) in [
            (Side::Local, listings.local),
            (Side::Remote, listings.remote),
        ] {
            match listing {
                None => {}
                Some(Ok(listing)) => {
                    if let Some(gap) = listing.gap() {
                        self.tell_gap(&visit.dir, side, gap);
                        is_protected = true;
                        *complete.of_mut(side) = false;
                    }
                    let unusable: Vec<String> =
                        listing.unusable().map(|name| name.to_string()).collect();
                    for name in unusable {
                        let error = Error::new(ErrorKind::Name(format!(
                            "the name \"{name}\" cannot be sent to a server; rename the file to have it synced"
                        )));
                        self.fail(&visit.dir, &visit.dir.paths.local, &error);
                    }
                    *found.of_mut(side) = listing;
                }
                Some(Err(error)) => {
                    if visit.dir.parent.is_none() {
                        return Err(error.while_doing(format!("listing the {side} root")));
                    }
                    let error = error.while_doing(format!("listing the {side} directory"));
                    self.fail(&visit.dir, &visit.dir.paths.local, &error);
                    return Ok(None);
                }
            }
        }
        if damaged != Sides::new(false, false) {
            let index = self.draft.planned(&visit.dir);
            self.draft.plan.dirs[index].damaged = damaged;
            (self.walk.tell)(Event::Warning(&format!(
                "the metadata of {} cannot be read; it is set aside, and nothing is deleted for lack of records",
                visit.dir.paths.local
            )));
        }
        self.draft.plan.lock_seen |= has_lock;
        let is_on_one_side = visit.dir.there != Sides::new(true, true);
        let is_deleted = !matches!(visit.doom, Doom::Spared);
        let records_apply = !is_on_one_side || is_deleted || visit.dir.parent.is_none();
        let mut found = Found {
            listings: found,
            metadata,
            partials,
            has_remote_metadata,
            is_protected,
            complete,
            records_apply,
            placed: HashMap::new(),
        };
        found.recall_interrupted(self.walk.leftover.intents_of(&visit.dir.paths.local));
        Ok(Some(found))
    }

    fn tell_gap(&mut self, dir: &Dir, side: Side, gap: &str) {
        let error = Error::new(ErrorKind::Verify(format!(
            "the {side} listing is incomplete: {gap}; nothing is deleted here or below"
        )));
        self.fail(dir, &dir.paths.local, &error);
    }

    /// A root that is not there is refused, or made if that was asked for.
    fn face_missing_root(&mut self, visit: &mut Visit, survey: &mut Survey) -> Result<()> {
        for side in Side::BOTH {
            let listing = survey.listings.of_mut(side);
            if !matches!(listing, Some(Err(error)) if error.is_not_found()) {
                continue;
            }
            let root = guard::Root {
                is_there: false,
                is_empty: true,
                held_files: *self.walk.held_files.of(side) || !survey.metadata.records().is_empty(),
                is_elsewhere: false,
            };
            refuse_if(guard::vanished_root(side, root, self.walk.job.policy.allow))?;
            let may_make = self.walk.job.create_folder && self.walk.job.direction.writes(side);
            if !may_make {
                let hint = if self.walk.job.direction.writes(side) {
                    "; --create-folder makes it"
                } else {
                    ""
                };
                let root = match side {
                    Side::Local => Location::Path(self.walk.job.local.clone()),
                    Side::Remote => self.walk.job.remote.clone(),
                };
                return Err(ErrorKind::Usage(format!(
                    "the {side} directory {root} does not exist{hint}"
                ))
                .into());
            }
            *listing = None;
            let mut there = visit.dir.there;
            *there.of_mut(side) = false;
            visit.dir = Rc::new(Dir::root(there));
            let dir = Rc::clone(&visit.dir);
            self.draft.ensure_there(&dir, side);
        }
        Ok(())
    }

    fn guard_roots(&mut self, dir: &Dir, found: &Found) -> Result<()> {
        let recorded = found.metadata.records().iter().count() > 0;
        for side in Side::BOTH {
            let known_here = found.metadata.records().iter().any(|record| {
                found
                    .listings
                    .of(side)
                    .find(record.name.as_bytes())
                    .is_some()
            });
            let root = guard::Root {
                is_there: *dir.there.of(side),
                is_empty: found.listings.of(side).is_empty(),
                held_files: recorded || *self.walk.held_files.of(side),
                is_elsewhere: side == Side::Local && self.walk.is_elsewhere && !known_here,
            };
            refuse_if(guard::vanished_root(side, root, self.walk.job.policy.allow))?;
        }
        if let Some(follower) = self.walk.job.direction.follower() {
            let policy = &self.walk.job.policy;
            refuse_if(guard::empty_source(
                follower.peer(),
                found.listings.as_ref().map(Listing::is_empty),
                policy.delete != Delete::Never,
                policy.allow,
            ))?;
        }
        Ok(())
    }

    fn tell_scanned(&mut self, found: &Found) {
        let count = |kind: Kind| {
            found.listings.as_ref().map(|listing| {
                listing
                    .iter()
                    .filter(|entry| entry.stat.kind == kind)
                    .count() as u64
            })
        };
        let (files, dirs) = (count(Kind::File), count(Kind::Dir));
        for side in Side::BOTH {
            *self.draft.plan.totals.files.of_mut(side) += files.of(side);
            *self.draft.plan.totals.dirs.of_mut(side) += dirs.of(side);
            self.draft.plan.losses.of_mut(side).files += files.of(side);
        }
        (self.walk.tell)(Event::Scanned { files, dirs });
    }

    fn visit_entries(&mut self, visit: &Visit, mut found: Found) -> Result<()> {
        let dir = &visit.dir;
        let pairs = found
            .pair_up(self.walk.job.policy.case)
            .map_err(|ambiguous| ambiguity(&dir.paths.local, &ambiguous))?;
        self.guard_emptied(dir, &found)?;
        self.make_remote_times_exact(dir, &mut found, &pairs)?;
        if let (true, Some(gap)) = (found.complete.remote, found.listings.remote.gap()) {
            self.tell_gap(dir, Side::Remote, gap);
            found.is_protected = true;
            found.complete.remote = false;
        }
        let mut below = Vec::new();
        let mut has_young = false;
        for places in found.places(&pairs) {
            let pair = found.pair(places);
            has_young |= self.is_too_young(&pair);
            self.decide_entry(visit, &found, pair, &mut below)?;
        }
        self.draft.plan_litter(dir, &found, self.walk.job.direction);
        if found.metadata.is_changed() && dir.there.local {
            // pyftpsync's records are taken over, or it has changed them since.
            self.draft.planned(dir);
        }
        let records = found.metadata.records();
        let is_second_try = dir.there.local && !records.is_synced() && !records.is_empty();
        if found.complete == Sides::new(true, true) && (!has_young || is_second_try) {
            self.draft.mark_whole(dir);
            if is_second_try {
                let index = self.draft.planned(dir);
                self.draft.plan.dirs[index].was_unfinished = true;
            }
        }
        if let Some(index) = dir.place() {
            let plan = &mut self.draft.plan.dirs[index];
            plan.has_remote_metadata = found.has_remote_metadata;
            // All steps of all directories wait for the guards.
            plan.steps.shrink_to_fit();
        }
        self.check_digest(visit, &found);
        self.keep_proof(dir, &found);
        self.stack.extend(below.into_iter().rev());
        self.survey_ahead();
        Ok(())
    }

    /// A first-level directory that became empty on one side must not empty the other.
    fn guard_emptied(&mut self, dir: &Rc<Dir>, found: &Found) -> Result<()> {
        if dir.depth != 1 || dir.there != Sides::new(true, true) {
            return Ok(());
        }
        let files = found
            .metadata
            .records()
            .iter()
            .filter(|record| matches!(record.what, RecordKind::File { .. }));
        let recorded = files.count() as u64;
        for side in Side::BOTH {
            let is_empty =
                found.listings.of(side).is_empty() && !found.listings.of(side.peer()).is_empty();
            if is_empty && side == Side::Local && self.renames_dirs() {
                // Its files may be elsewhere by now, which shows at the end.
                self.emptied.push((Rc::clone(dir), recorded));
                continue;
            }
            self.judge_emptied(dir, side, recorded, is_empty)?;
        }
        Ok(())
    }

    fn judge_emptied(&self, dir: &Dir, side: Side, recorded: u64, is_empty: bool) -> Result<()> {
        let path = dir.paths.of(side).to_string();
        let allow = self.walk.job.policy.allow;
        refuse_if(guard::emptied_dir(&path, side, recorded, is_empty, allow))
    }

    /// Judges the emptied directories once it is known which of their files were only renamed.
    fn judge_all_emptied(&self) -> Result<()> {
        for (dir, recorded) in &self.emptied {
            let renamed = dir.place().map_or(0, |index| {
                let steps = self.draft.plan.dirs[index].steps.iter();
                let renamed = steps.filter(|step| step.todo == Todo::RenamedAway);
                renamed.count() as u64
            });
            self.judge_emptied(dir, Side::Local, recorded.saturating_sub(renamed), true)?;
        }
        Ok(())
    }

    /// Where a listing tells minutes only (`LIST`), asks for the exact times that a decision rests on.
    fn make_remote_times_exact(
        &mut self,
        dir: &Dir,
        found: &mut Found,
        pairs: &Pairs,
    ) -> Result<()> {
        let mut wanted: Vec<usize> = Vec::new();
        for places in found.places(pairs) {
            let pair = found.pair(places);
            let baseline = pair
                .record
                .as_ref()
                .map(|record| baseline(record, Side::Remote));
            // What may be copied from the remote side is recorded by its exact time, and a file that is as it was is
            // copied where its peer is not (`--force`).
            let is_settled = || found.statuses(&pair, None).local == Status::Unmodified;
            if let (Some(place), Some(stat)) = (places.remote(), pair.stats.remote)
                && (needs_exact_time(&stat, baseline.as_ref()) || is_coarse(&stat) && !is_settled())
            {
                wanted.push(place);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        wanted.sort_unstable();
        let path = dir.paths.remote.clone();
        let listing = std::mem::take(&mut found.listings.remote);
        let slot = std::sync::Arc::new(std::sync::Mutex::new(listing));
        let shared = std::sync::Arc::clone(&slot);
        let asked = self.walk.pool.call(Box::new(move |hands| {
            let mut listing = shared.lock().expect("nobody panics with a listing in hand");
            let remote = hands.sides.remote.as_mut();
            make_times_exact(remote, &path, &mut listing, |place| {
                wanted.binary_search(&place).is_ok()
            })?;
            Ok(Done::Nothing)
        }));
        found.listings.remote =
            std::mem::take(&mut slot.lock().expect("nobody panics with a listing in hand"));
        asked
            .map_err(Failure::into_error)
            .doing(|| format!("asking for the times in {}", dir.paths.local))?;
        Ok(())
    }

    fn decide_entry(
        &mut self,
        visit: &Visit,
        found: &Found,
        pair: Pair<'_>,
        below: &mut Vec<Visit>,
    ) -> Result<()> {
        let dir = &visit.dir;
        let path = dir.paths.local.join(pair.name);
        let kinds = pair.stats.map(|stat| stat.map(|stat| stat.kind));

        if let Some(on) = special_side(kinds) {
            self.skip(dir, &path, Kind::Special, Skipped::Special { on });
            return Ok(());
        }
        let Some(kind) = kinds.local.or(kinds.remote) else {
            // In the records alone.
            if found.is_protected
                || !pair
                    .record
                    .as_ref()
                    .is_some_and(|record| self.filter.accepts(&path, kind_of(record)))
            {
                return Ok(());
            }
            self.draft.add_step(dir, &pair, Todo::Forget);
            return Ok(());
        };
        if let Doom::Unmatched { on } = visit.doom {
            let action = Action::Delete {
                on,
                why: DeletedFor::Unmatched,
            };
            return self.take_action(
                visit,
                found,
                pair,
                &path,
                kind,
                action,
                Status::Unmodified,
                below,
            );
        }
        if !self.filter.accepts(&path, kind) {
            let action = decide_unmatched(
                self.walk.job.direction,
                self.walk.job.policy.delete,
                kinds.map(|kind| kind.is_some()),
            );
            return self.take_action(
                visit,
                found,
                pair,
                &path,
                kind,
                action,
                Status::Unmodified,
                below,
            );
        }
        if self.is_too_young(&pair) {
            self.skip(dir, &path, kind, Skipped::TooYoung);
            return Ok(());
        }
        if matches!((kinds.local, kinds.remote), (Some(local), Some(remote)) if local != remote) {
            // A file here, a directory there: whichever won, something would be lost.
            self.draft.plan.totals.conflicts += 1;
            self.skip_conflict(dir, &path, kind);
            return Ok(());
        }

        let status = found.statuses(&pair, visit.doom.gone_from());
        self.draft.count_changes(&pair, status);
        let policy = &self.walk.job.policy;
        let stats = pair.stats.as_ref().map(|stat| stat.as_ref());
        let action = decide(
            self.walk.job.direction,
            policy.force,
            policy.delete,
            status,
            stats,
        );
        let source = match action {
            Action::Copy { from } => *status.of(from),
            _ => Status::Unmodified,
        };
        self.take_action(visit, found, pair, &path, kind, action, source, below)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one pair's facts, which no type would make fewer"
    )]
    fn take_action(
        &mut self,
        visit: &Visit,
        found: &Found,
        pair: Pair<'_>,
        path: &RelPath,
        kind: Kind,
        action: Action,
        source: Status,
        below: &mut Vec<Visit>,
    ) -> Result<()> {
        let dir = &visit.dir;
        // What a listing does not show may be there all the same.
        let unproven = Side::BOTH
            .into_iter()
            .find(|side| !found.complete.of(*side) && pair.stats.of(*side).is_none());
        let action = match (action, unproven) {
            (Action::Delete { on, .. }, _) if found.is_protected => {
                Action::Skip(Skipped::Protected { on })
            }
            (Action::Copy { .. } | Action::Conflict, Some(side)) => {
                Action::Skip(Skipped::Protected { on: side.peer() })
            }
            (action, _) => action,
        };
        match action {
            Action::Keep => {
                if let Some(uploaded_at) = pair.placed {
                    self.draft
                        .add_step(dir, &pair, Todo::Record { uploaded_at });
                }
                (self.walk.tell)(Event::Entry {
                    path,
                    kind,
                    deed: Deed::Equal,
                });
                if kind == Kind::Dir {
                    below.push(self.descend(visit, found, &pair, Doom::Spared));
                }
            }
            Action::Record => {
                if kind == Kind::Dir {
                    (self.walk.tell)(Event::Entry {
                        path,
                        kind,
                        deed: Deed::Visited,
                    });
                    let visit = self.descend(visit, found, &pair, Doom::Spared);
                    self.draft.own_record(&visit.dir, OwnRecord::Set);
                    if self.renames_dirs() {
                        self.visit_fresh(visit, below);
                    } else {
                        below.push(visit);
                    }
                } else {
                    (self.walk.tell)(Event::Entry {
                        path,
                        kind,
                        deed: Deed::Recorded,
                    });
                    let uploaded_at = pair.placed.flatten();
                    self.draft
                        .add_step(dir, &pair, Todo::Record { uploaded_at });
                }
            }
            Action::Forget => self.draft.add_step(dir, &pair, Todo::Forget),
            Action::Copy { from } if kind == Kind::Dir => {
                self.draft.keep(dir);
                let is_new = matches!(source, Status::New | Status::Existing);
                let visit = self.descend(visit, found, &pair, Doom::Spared);
                if from == Side::Local && is_new && self.renames_dirs() {
                    self.visit_fresh(visit, below);
                } else {
                    self.draft.ensure_there(&visit.dir, from.peer());
                    below.push(visit);
                }
            }
            Action::Copy { from } => {
                self.draft.keep(dir);
                self.draft.ensure_there(dir, from.peer());
                self.draft.add_copy(dir, found, &pair, from, source, false);
            }
            Action::Delete { on, why } if kind == Kind::Dir => {
                let doom = match why {
                    DeletedFor::Unmatched => Doom::Unmatched { on },
                    DeletedFor::Missing => self.doom_of(&pair, on),
                };
                let only_there = Sides::new(on == Side::Local, on == Side::Remote);
                let visit = self.descend_into(visit, found, &pair, doom, only_there);
                match doom {
                    Doom::DeletedOn {
                        side: Side::Local,
                        evidence: Evidence::Digest(digest),
                    } if self.renames_dirs() => {
                        self.vanished.push(Vanished { visit, why, digest });
                    }
                    _ => {
                        self.doom(&visit.dir, on, why);
                        below.push(visit);
                    }
                }
            }
            Action::Delete { on, why } => {
                self.draft.plan.losses.of_mut(on).lost += 1;
                if let (Side::Remote, DeletedFor::Missing) = (on, why) {
                    self.draft.note_gone(dir, &pair);
                }
                self.draft.add_step(
                    dir,
                    &pair,
                    Todo::Delete {
                        on,
                        why,
                        is_resolution: false,
                    },
                );
            }
            Action::Conflict if kind == Kind::Dir => {
                // New here, in a directory that the other side deleted: what is in it decides.
                let doom = match visit.doom {
                    Doom::DeletedOn { .. } => visit.doom,
                    Doom::Spared | Doom::Unmatched { .. } => Doom::Spared,
                };
                self.draft.keep(dir);
                below.push(self.descend(visit, found, &pair, doom));
            }
            Action::Conflict => self.settle_conflict(visit, found, &pair, path)?,
            Action::Skip(why) => {
                if matches!(why, Skipped::OneWay { .. }) && self.walk.job.policy.allow.time_shift {
                    self.draft.note_retimed(dir, &pair);
                }
                self.skip(dir, path, kind, why);
            }
        }
        Ok(())
    }

    fn settle_conflict(
        &mut self,
        visit: &Visit,
        found: &Found,
        pair: &Pair<'_>,
        path: &RelPath,
    ) -> Result<()> {
        let dir = &visit.dir;
        self.draft.plan.totals.conflicts += 1;
        let job = self.walk.job;
        let (direction, delete) = (job.direction, job.policy.delete);
        let by_rule = match self.standing_answer {
            Some(choice) => resolve::apply(choice, direction, delete, pair.stats),
            None => resolve::resolve(job.policy.resolve, direction, delete, pair.stats),
        };
        let resolution = match by_rule {
            Resolution::Ask => {
                let choice = self.ask_user(dir, pair, path)?;
                resolve::apply(choice, direction, delete, pair.stats)
            }
            settled => settled,
        };
        match resolution {
            Resolution::Ask | Resolution::Skip => self.skip_conflict(dir, path, Kind::File),
            Resolution::Delete { on } if found.is_protected => {
                self.skip(dir, path, Kind::File, Skipped::Protected { on });
            }
            Resolution::Copy { from } | Resolution::Restore { from } => {
                self.draft.keep(dir);
                self.draft.ensure_there(dir, from.peer());
                if pair.stats.of(from.peer()).is_some() {
                    self.draft.plan.losses.of_mut(from.peer()).lost += 1;
                }
                self.draft
                    .add_copy(dir, found, pair, from, Status::Modified, true);
            }
            Resolution::Delete { on } => {
                self.draft.plan.losses.of_mut(on).lost += 1;
                self.draft.add_step(
                    dir,
                    pair,
                    Todo::Delete {
                        on,
                        why: DeletedFor::Missing,
                        is_resolution: true,
                    },
                );
            }
            Resolution::KeepBoth { winner } => {
                self.draft.keep(dir);
                self.draft.add_step(dir, pair, Todo::KeepBoth { winner });
            }
        }
        Ok(())
    }

    fn ask_user(&mut self, dir: &Dir, pair: &Pair<'_>, path: &RelPath) -> Result<Choice> {
        let recorded = pair.record.as_ref().and_then(|record| match record.what {
            RecordKind::File { size, mtime, .. } => Some(Recorded {
                size,
                mtime,
                at: record.recorded_at,
            }),
            RecordKind::Dir { .. } => None,
        });
        let conflict = Conflict {
            path,
            stats: pair.stats,
            record: recorded,
            choices: resolve::choices(self.walk.job.direction, pair.stats),
        };
        let paths = pair.paths_in(&dir.paths);
        let pool = &mut *self.walk.pool;
        let mut compare = || {
            let paths = paths.clone();
            let compared = pool.call(Box::new(move |hands| {
                Ok(Done::Equal(compare_bytes(hands, &paths)?))
            }));
            match compared.map_err(Failure::into_error)? {
                Done::Equal(equal) => Ok(equal),
                _ => unreachable!("a comparison brings its own result"),
            }
        };
        match self.walk.ask.ask(&conflict, &mut compare)? {
            Answer::Once(choice) => Ok(choice),
            Answer::Always(choice) => {
                self.standing_answer = Some(choice);
                Ok(choice)
            }
        }
    }

    /// Visits a doomed directory whose records are gone with the side that deleted it: lists all of it, and the
    /// evidence says what changed.
    fn visit_unrecorded(&mut self, visit: &Visit) -> Result<()> {
        let Doom::DeletedOn {
            side: gone_from,
            evidence,
        } = visit.doom
        else {
            unreachable!("only deleted directories come here");
        };
        let on = gone_from.peer();
        let top = visit.dir.paths.of(on).clone();
        let subtree = match self.list_subtree(on, &top) {
            Ok(subtree) => subtree,
            Err(Failure::Entry(error)) => {
                let error =
                    error.while_doing("listing what may have to be deleted; nothing of it is");
                self.fail(&visit.dir, &visit.dir.paths.local, &error);
                return Ok(());
            }
            Err(Failure::Job(error)) => return Err(error),
        };
        let judged = Subtree::new(subtree, &self.filter).judge(evidence);
        self.plan_subtree(visit, gone_from, judged)
    }

    fn list_subtree(
        &mut self,
        on: Side,
        top: &RelPath,
    ) -> std::result::Result<Vec<(RelPath, Listing)>, Failure> {
        let (top, terms) = (top.clone(), self.walk.terms);
        let listed = self.walk.pool.call(Box::new(move |hands| {
            Ok(Done::Subtree(survey_subtree(
                hands.sides.of_mut(on).as_mut(),
                on,
                terms,
                &top,
            )?))
        }));
        match listed? {
            Done::Subtree(subtree) => Ok(subtree),
            _ => unreachable!("a subtree's number brings a subtree"),
        }
    }

    fn plan_subtree(&mut self, visit: &Visit, gone_from: Side, judged: Vec<Judged>) -> Result<()> {
        let on = gone_from.peer();
        let mut dirs: HashMap<RelPath, Rc<Dir>> = HashMap::new();
        dirs.insert(visit.dir.paths.of(on).clone(), Rc::clone(&visit.dir));
        self.draft.mark_whole(&visit.dir);
        for entry in judged {
            let parent = Rc::clone(&dirs[&entry.path.parent()]);
            let name = entry.path.name().expect("entries have names");
            let path = parent.paths.local.join(name);
            let mut stats = Sides::new(None, None);
            *stats.of_mut(on) = Some(entry.stat);
            let mut shown = Sides::new(None, None);
            *shown.of_mut(on) = Some(entry.shown);
            let pair = Pair {
                name,
                remote_name: None,
                stats,
                shown,
                inode: 0,
                record: None,
                placed: None,
            };
            match (entry.stat.kind, entry.verdict) {
                (kind, Verdict::Unmatched) => self.skip(&parent, &path, kind, Skipped::Unmatched),
                (Kind::Special, _) => {
                    self.skip(&parent, &path, Kind::Special, Skipped::Special { on })
                }
                (Kind::Dir, _) => {
                    let child = Rc::new(Dir::below(&parent, &pair, parent.there));
                    self.draft.mark_whole(&child);
                    self.doom(&child, on, DeletedFor::Missing);
                    dirs.insert(entry.path.clone(), child);
                }
                (Kind::File, verdict) => {
                    let was_cleared = || self.was_cleared(&parent, &entry);
                    let is_unchanged = verdict == Verdict::Unchanged || was_cleared();
                    *self.draft.plan.totals.files.of_mut(on) += 1;
                    self.draft.plan.losses.of_mut(on).files += 1;
                    let mut status = Sides::new(Status::Deleted, Status::Deleted);
                    *status.of_mut(on) = if is_unchanged {
                        Status::Unmodified
                    } else {
                        Status::Modified
                    };
                    let policy = &self.walk.job.policy;
                    let action = decide(
                        self.walk.job.direction,
                        policy.force,
                        policy.delete,
                        status,
                        stats.as_ref().map(|stat| stat.as_ref()),
                    );
                    let found = Found::nothing(self.walk.terms, visit.is_protected);
                    let inner = Visit {
                        dir: Rc::clone(&parent),
                        doom: visit.doom,
                        is_protected: visit.is_protected,
                        recorded_digest: None,
                        is_fresh: false,
                    };
                    let source = *status.of(on);
                    self.take_action(
                        &inner,
                        &found,
                        pair,
                        &path,
                        Kind::File,
                        action,
                        source,
                        &mut Vec::new(),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Whether a run that was cut off had proven that this file may go: what it deleted has changed the digest.
    fn was_cleared(&self, parent: &Dir, entry: &Judged) -> bool {
        let (Some(name), Some(mtime)) = (entry.path.name(), entry.shown.exact_mtime()) else {
            return false;
        };
        self.walk.leftover.has_doomed(&Doomed {
            dir: parent.paths.local.clone(),
            name: name.as_bytes().into(),
            size: entry.shown.size,
            mtime,
        })
    }

    /// Notices a digest in the parent's record that no longer says what is recorded here.
    fn check_digest(&mut self, visit: &Visit, found: &Found) {
        let is_spared =
            matches!(visit.doom, Doom::Spared) && visit.dir.there == Sides::new(true, true);
        if let (true, Some(recorded)) = (is_spared, visit.recorded_digest)
            && recorded != digest::of_records(found.metadata.records())
        {
            self.draft.own_record(&visit.dir, OwnRecord::Set);
        }
    }

    fn doom_of(&self, pair: &Pair<'_>, on: Side) -> Doom {
        match &pair.record {
            Some(Record {
                what: RecordKind::Dir { digest },
                recorded_at,
                ..
            }) => {
                let evidence = digest.map_or(Evidence::Since(*recorded_at), Evidence::Digest);
                Doom::DeletedOn {
                    side: on.peer(),
                    evidence,
                }
            }
            // Surplus on the side that follows: what is in it is surplus, too.
            _ => Doom::Spared,
        }
    }

    fn descend(&mut self, visit: &Visit, found: &Found, pair: &Pair<'_>, doom: Doom) -> Visit {
        let there = pair.stats.map(|stat| stat.is_some());
        self.descend_into(visit, found, pair, doom, there)
    }

    fn descend_into(
        &mut self,
        visit: &Visit,
        found: &Found,
        pair: &Pair<'_>,
        doom: Doom,
        there: Sides<bool>,
    ) -> Visit {
        let dir = Rc::new(Dir::below(&visit.dir, pair, there));
        let recorded_digest = match pair.record {
            Some(Record {
                what: RecordKind::Dir { digest },
                ..
            }) => Some(digest),
            _ => None,
        };
        Visit {
            dir,
            doom,
            is_protected: found.is_protected,
            recorded_digest,
            is_fresh: false,
        }
    }

    /// Finds the files that are only called otherwise, once the whole tree is known.
    fn find_renames(&mut self) -> Result<()> {
        let plan = &mut self.draft.plan;
        let gone = std::mem::take(&mut plan.gone);
        let found = rename::match_up(gone, plan.appeared());
        if found.is_empty() {
            return Ok(());
        }
        let paths: Vec<RelPath> = found
            .iter()
            .map(|found| plan.path_of(found.to, Side::Local))
            .collect();
        let identified = self.walk.pool.call(Box::new(move |hands| {
            let local = hands.sides.local.as_mut();
            // What cannot be told proves nothing.
            let of_each = paths.iter().map(|path| local.identify(path).ok().flatten());
            Ok(Done::Identified(of_each.collect()))
        }));
        let Done::Identified(identities) = identified.map_err(Failure::into_error)? else {
            unreachable!("a question for identities brings them");
        };
        for (found, identity) in found.into_iter().zip(identities) {
            if identity.is_some_and(|identity| found.is_proven_by(identity)) {
                self.draft.plan.rename(found);
            }
        }
        Ok(())
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

    fn is_too_young(&self, pair: &Pair<'_>) -> bool {
        let min_age = self.walk.job.policy.min_age;
        if min_age == Duration::ZERO {
            return false;
        }
        let limit = self
            .walk
            .now
            .plus_secs(-i64::try_from(min_age.as_secs()).unwrap_or(i64::MAX));
        let is_young = |stat: Option<Stat>| {
            stat.is_some_and(|stat| {
                stat.kind == Kind::File && stat.mtime.is_some_and(|mtime| mtime.latest() > limit)
            })
        };
        is_young(pair.stats.local) || is_young(pair.stats.remote)
    }
}

fn ambiguity(dir: &RelPath, ambiguous: &Ambiguous) -> Error {
    Error::new(ErrorKind::Guard(format!(
        "in {dir}, \"{}\" and \"{}\" differ only in case; --case strict keeps them apart, --case local or \
         --case remote takes them as one",
        Escaped(&ambiguous.one),
        Escaped(&ambiguous.other),
    )))
}
