//! What becomes of one entry: filter, status, action.

use std::rc::Rc;
use std::time::Duration;

use super::{Doom, Seen, Vanished, Visit, Walker};
use crate::error::Result;
use crate::job::Delete;
use crate::path::RelPath;
use crate::replica::{Kind, Precision};
use crate::side::{Side, Sides};
use crate::sync::event::{Decision, Deed, DeletedFor, Event, Skipped};
use crate::sync::look::filter::Verdict;
use crate::sync::look::{Found, Pair, Places};
use crate::sync::plan::decide::{Action, decide, decide_unmatched};
use crate::sync::plan::draft::Dir;
use crate::sync::plan::status::{Status, statuses};
use crate::sync::plan::{OwnRecord, Todo};
use crate::sync::record::{DirFacts, What};

/// An entry on its way from its statuses to the plan.
pub(super) struct Decided<'a> {
    pub(super) places: Places,
    pub(super) pair: Pair<'a>,
    /// The side whose name it goes by although it is recorded by another, where the user renamed it there.
    pub(super) named_by: Option<Side>,
    pub(super) path: RelPath,
    pub(super) kind: Kind,
    pub(super) status: Sides<Status>,
}

impl Walker<'_, '_, '_> {
    pub(super) fn decide_entry(
        &mut self,
        visit: &Visit,
        found: &Found,
        places: Places,
        below: &mut Vec<Visit>,
        seen: &mut Seen,
    ) -> Result<()> {
        let dir = &visit.dir;
        let pair = found.pair(places);
        let path = dir.paths.local.join(pair.name);
        let kinds = pair.kinds();
        if let Some(on) = pair.special_side() {
            seen.is_partial |= pair.record.is_some();
            let status = statuses_of(visit, found, &pair);
            self.tell_decision(&path, &pair, status, Action::Skip(Skipped::Special { on }));
            self.skip(dir, &path, Kind::Special, Skipped::Special { on });
            return Ok(());
        }
        let Some(kind) = kinds.local.or(kinds.remote) else {
            let gone = Sides::new(Status::Deleted, Status::Deleted);
            self.tell_decision(&path, &pair, gone, Action::Forget);
            self.forget_gone(visit, found, &pair);
            return Ok(());
        };
        let entry = Decided {
            status: statuses_of(visit, found, &pair),
            places,
            pair,
            named_by: None,
            path,
            kind,
        };
        if let Doom::Unmatched { on } = visit.doom {
            let why = DeletedFor::Unmatched;
            return self.take_action(
                visit,
                found,
                &entry,
                Action::Delete { on, why },
                below,
                seen,
            );
        }
        let verdict = self.walk.filter.judge(&entry.path, kind);
        if verdict != Verdict::Accepted {
            return self.leave_out(visit, found, entry, verdict, below, seen);
        }
        if self.is_too_young(&entry.pair) {
            seen.is_partial = true;
            self.tell_decided(&entry, Action::Skip(Skipped::TooYoung));
            self.skip(dir, &entry.path, kind, Skipped::TooYoung);
            return Ok(());
        }
        if matches!((kinds.local, kinds.remote), (Some(local), Some(remote)) if local != remote) {
            seen.is_partial = true;
            return self.settle_kinds(visit, found, entry, below, seen);
        }
        self.decide_accepted(visit, found, entry, below, seen)
    }

    fn decide_accepted(
        &mut self,
        visit: &Visit,
        found: &Found,
        mut entry: Decided<'_>,
        below: &mut Vec<Visit>,
        seen: &mut Seen,
    ) -> Result<()> {
        let has_new_times = self.is_unchanged_within(&visit.dir, &mut entry)?;
        self.count(&entry, seen);
        if has_new_times {
            self.record_content(&visit.dir, &entry);
            return Ok(());
        }
        let policy = &self.walk.job.policy;
        let stats = entry.pair.stats();
        let action = decide(
            self.walk.job.direction,
            policy.force,
            policy.delete,
            entry.status,
            stats.as_ref().map(|stat| stat.as_ref()),
        );
        let respelled = self.take_respelling(visit, found, entry, action, seen);
        let Some((entry, action)) = respelled else {
            return Ok(());
        };
        let asked_before = seen.questions.len();
        self.take_action(visit, found, &entry, action, below, seen)?;
        if seen.questions.len() == asked_before {
            self.note_retimed(&visit.dir, &entry);
        }
        Ok(())
    }

    /// Notes the file for a shift of times that may be accepted, once it is known what else is to be done with it.
    pub(super) fn note_retimed(&mut self, dir: &Dir, entry: &Decided<'_>) {
        let moved = self.shift_of(entry);
        self.draft.note_retimed(dir, &entry.pair, moved);
    }

    /// By how many seconds a modified file moved on each side, where a shift is accepted.
    fn shift_of(&self, entry: &Decided<'_>) -> Sides<Option<i64>> {
        let mut moved = Sides::new(None, None);
        let (true, Some(recorded)) = (
            self.walk.job.policy.allow.time_shift,
            entry.pair.recorded_file(),
        ) else {
            return moved;
        };
        let shown = entry.pair.shown();
        for side in Side::BOTH {
            let then = *recorded.of(side);
            if let (Status::Modified, Some(now)) = (*entry.status.of(side), *shown.of(side))
                && now.size == then.size
                && let (Some(now), Some(then)) = (now.mtime, then.mtime)
            {
                *moved.of_mut(side) = Some(now.at.as_secs() - then.at.as_secs());
            }
        }
        moved
    }

    /// Counts for the guards: each file of this job once, and how a recorded one changed.
    fn count(&mut self, entry: &Decided<'_>, seen: &mut Seen) {
        if entry.kind != Kind::File {
            return;
        }
        let shown = entry.pair.shown();
        let there = entry.pair.there();
        for side in Side::BOTH {
            self.draft.plan.losses.of_mut(side).files += u64::from(*there.of(side));
        }
        let (Some(record), Some(recorded)) = (&entry.pair.record, entry.pair.recorded_file())
        else {
            return;
        };
        for side in Side::BOTH {
            let (Some(now), then) = (*shown.of(side), *recorded.of(side)) else {
                continue;
            };
            let changes = self.draft.plan.changes.of_mut(side);
            match entry.status.of(side) {
                Status::Modified => {
                    let times = then.mtime.zip(now.mtime);
                    changes.count_modified(
                        then.size == now.size,
                        times.map(|(then, now)| (then.at, now.at)),
                    );
                }
                Status::Unmodified => {
                    changes.count_unmodified(now.mtime.map(|mtime| mtime.precision));
                }
                Status::Missing | Status::Existing | Status::New | Status::Deleted => {}
            }
        }
        let id = entry.pair.ids().local;
        if entry.status.local == Status::Unmodified && id != 0 && record.ids.local != 0 {
            seen.copies.known += 1;
            seen.copies.other += u64::from(id != record.ids.local);
        }
    }

    /// In the records alone: gone on both sides.
    fn forget_gone(&mut self, visit: &Visit, found: &Found, pair: &Pair<'_>) {
        let Some(record) = &pair.record else { return };
        if visit.is_protected || found.complete != Sides::new(true, true) {
            return;
        }
        match record.what {
            What::File(_) => {
                let is_told = self
                    .walk
                    .filter
                    .judge(&visit.dir.paths.local.join(pair.name), Kind::File)
                    == Verdict::Accepted;
                let todo = Todo::Forget { is_gone: is_told };
                self.draft.add_step(&visit.dir, pair, todo);
            }
            What::Dir => {
                let name = record.name.as_bytes().into();
                self.draft.plan_of(&visit.dir).forgotten_dirs.push(name);
            }
        }
    }

    /// What the filter rejects is left alone on both sides, and its record with it, until a side shows something else: what was
    /// done while it was left out is not carried over later.
    fn leave_out(
        &mut self,
        visit: &Visit,
        found: &Found,
        entry: Decided<'_>,
        verdict: Verdict,
        below: &mut Vec<Visit>,
        seen: &mut Seen,
    ) -> Result<()> {
        let delete = match verdict {
            Verdict::RejectedByDefault => Delete::Never,
            Verdict::Accepted | Verdict::Rejected => self.walk.job.policy.delete,
        };
        let action = decide_unmatched(self.walk.job.direction, delete, entry.pair.there());
        if let (Action::Skip(_), Some(record)) = (action, &entry.pair.record) {
            seen.is_partial = true;
            if record.what == What::Dir {
                // A disk that is away may have been mounted in it: what is known of it stays.
                self.note_left_out(visit.dir.recorded.join(record.name))?;
            }
            if entry.status != Sides::new(Status::Unmodified, Status::Unmodified) {
                let todo = Todo::Forget { is_gone: false };
                self.draft.add_step(&visit.dir, &entry.pair, todo);
            }
        }
        self.take_action(visit, found, &entry, action, below, seen)
    }

    /// Notes, once, that a directory is left out from now on, or still is.
    pub(super) fn note_left_out(&mut self, recorded: RelPath) -> Result<()> {
        let facts = self.walk.terms.archive.facts(&recorded)?;
        if let Some(facts) = facts.filter(|facts| !facts.left_out) {
            let facts = DirFacts {
                left_out: true,
                ..facts
            };
            self.draft.plan.left_out.push((recorded, facts));
        }
        Ok(())
    }

    fn take_action(
        &mut self,
        visit: &Visit,
        found: &Found,
        entry: &Decided<'_>,
        action: Action,
        below: &mut Vec<Visit>,
        seen: &mut Seen,
    ) -> Result<()> {
        // What a listing does not show may be there all the same.
        let there = entry.pair.there();
        let unproven = Side::BOTH
            .into_iter()
            .find(|side| !found.complete.of(*side) && !*there.of(*side));
        let action = match (action, unproven) {
            (Action::Delete { on, .. }, _) if visit.is_protected => {
                Action::Skip(Skipped::Protected { on })
            }
            (Action::Delete { on, .. }, _) if is_linked(found, &entry.pair, on) => {
                Action::Skip(Skipped::Linked { on })
            }
            (Action::Copy { from }, _) if would_replace_link(entry, from) => {
                let on = from.peer();
                Action::Skip(Skipped::Linked { on })
            }
            (Action::Copy { .. } | Action::Conflict, Some(side)) => {
                Action::Skip(Skipped::Protected { on: side.peer() })
            }
            (action, _) => action,
        };
        self.tell_decided(entry, action);
        match action {
            Action::Forget => self.forget_gone(visit, found, &entry.pair),
            Action::Skip(why) => self.take_skip(visit, entry, why, below, seen),
            Action::Keep | Action::Record | Action::Copy { .. } | Action::Delete { .. }
                if entry.kind == Kind::Dir =>
            {
                self.take_dir(visit, found, entry, action, below);
            }
            Action::Keep => self.take_equal(visit, entry),
            Action::Record => {
                self.tell_entry(entry, Deed::Recorded);
                let todo = Todo::Record { digest: None };
                self.draft.add_step(&visit.dir, &entry.pair, todo);
            }
            Action::Copy { from } => {
                let dir = &visit.dir;
                self.draft.keep(dir);
                self.draft.ensure_there(dir, from.peer());
                if self.walk.job.policy.force && *there.of(from.peer()) {
                    self.count_overwritten(entry, from.peer());
                }
                let status = *entry.status.of(from);
                self.draft
                    .add_copy(dir, found, &entry.pair, from, status, false);
            }
            Action::Delete { on, why } => {
                let losses = self.draft.plan.losses.of_mut(on);
                losses.lost += 1;
                // What the filter rejects is not counted with what is synced, but this is to go.
                losses.files += u64::from(why == DeletedFor::Unmatched);
                seen.copies.deletions +=
                    u64::from(on == Side::Remote && why == DeletedFor::Missing);
                if why == DeletedFor::Missing {
                    self.draft
                        .note_gone(&visit.dir, found, &entry.pair, on.peer());
                }
                let todo = Todo::Delete {
                    on,
                    why,
                    is_resolution: false,
                };
                self.draft.add_step(&visit.dir, &entry.pair, todo);
            }
            Action::Conflict if entry.kind == Kind::Dir => {
                // New here, in a directory that the other side deleted: what is in it decides.
                let doom = match visit.doom {
                    Doom::DeletedOn(_) => visit.doom,
                    Doom::Spared | Doom::Unmatched { .. } => Doom::Spared,
                };
                self.draft.keep(&visit.dir);
                below.push(descend(visit, &entry.pair, doom));
            }
            Action::Conflict => self.settle_conflict(visit, found, entry, seen)?,
        }
        Ok(())
    }

    /// A change of the follower that the source overwrites, told or not, is lost.
    fn count_overwritten(&mut self, entry: &Decided<'_>, on: Side) {
        match entry.status.of(on) {
            Status::Existing | Status::New | Status::Modified => {
                self.draft.plan.losses.of_mut(on).lost += 1;
            }
            Status::Missing | Status::Unmodified | Status::Deleted => {}
        }
    }

    /// Equal, and recorded; anew where the record says less than what the sides show now.
    fn take_equal(&mut self, visit: &Visit, entry: &Decided<'_>) {
        self.tell_entry(entry, Deed::Equal);
        let (Some(record), Some(recorded)) = (&entry.pair.record, entry.pair.recorded_file())
        else {
            return;
        };
        let is_adopted = [recorded.local, recorded.remote].into_iter().any(|shown| {
            shown
                .mtime
                .is_some_and(|mtime| mtime.precision == Precision::Close)
        });
        let ids = entry.pair.ids();
        let is_copy = record.ids.local != 0 && ids.local != 0 && ids.local != record.ids.local;
        if is_adopted || is_copy {
            let digest = recorded.local.digest;
            self.draft
                .add_step(&visit.dir, &entry.pair, Todo::Record { digest });
        }
    }

    pub(super) fn tell_decided(&mut self, entry: &Decided<'_>, action: Action) {
        self.tell_decision(&entry.path, &entry.pair, entry.status, action);
    }

    fn tell_decision(
        &mut self,
        path: &RelPath,
        pair: &Pair<'_>,
        status: Sides<Status>,
        action: Action,
    ) {
        (self.walk.tell)(Event::Decided(&Decision {
            path,
            stats: pair.stats(),
            record: pair.record.as_ref().map(|record| record.what),
            status,
            action,
        }));
    }

    pub(super) fn tell_entry(&mut self, entry: &Decided<'_>, deed: Deed) {
        (self.walk.tell)(Event::Entry {
            path: &entry.path,
            kind: entry.kind,
            deed,
        });
    }

    fn take_skip(
        &mut self,
        visit: &Visit,
        entry: &Decided<'_>,
        why: Skipped,
        below: &mut Vec<Visit>,
        seen: &mut Seen,
    ) {
        let dir = &visit.dir;
        match why {
            Skipped::Gone { .. } if entry.kind == Kind::Dir => {
                // What is new in it is sent, and what is not is told file by file.
                self.draft.keep(dir);
                below.push(descend(visit, &entry.pair, Doom::Spared));
                return;
            }
            Skipped::Gone { .. } => self.draft.plan.totals.gone += 1,
            // A deletion that is not carried over is forgotten. What is in a directory counts for itself: what was changed there
            // stays a conflict, and a disk that is away protects what was on it.
            Skipped::NotDeleted { .. } | Skipped::NotOurs { .. } if entry.pair.record.is_some() => {
                match entry.kind {
                    Kind::Dir => below.push(Visit {
                        is_forgotten: true,
                        ..descend(visit, &entry.pair, Doom::Spared)
                    }),
                    Kind::File | Kind::Special => {
                        let todo = Todo::Forget { is_gone: false };
                        self.draft.add_step(dir, &entry.pair, todo);
                    }
                }
            }
            Skipped::Protected { .. } | Skipped::Linked { .. } => seen.is_partial = true,
            Skipped::NotOurs { .. } | Skipped::OneWay { .. } => {
                self.draft.plan.totals.left_alone += 1;
            }
            Skipped::NotDeleted { .. }
            | Skipped::Unmatched
            | Skipped::TooYoung
            | Skipped::Special { .. } => {}
        }
        self.skip(dir, &entry.path, entry.kind, why);
    }

    fn take_dir(
        &mut self,
        visit: &Visit,
        found: &Found,
        entry: &Decided<'_>,
        action: Action,
        below: &mut Vec<Visit>,
    ) {
        match action {
            Action::Keep => {
                self.tell_entry(entry, Deed::Equal);
                let below_it = descend(visit, &entry.pair, Doom::Spared);
                self.respell_dir(visit, found, &entry.pair, &below_it.dir);
                below.push(below_it);
            }
            Action::Record => {
                self.tell_entry(entry, Deed::Visited);
                let visit = descend(visit, &entry.pair, Doom::Spared);
                self.draft.plan_of(&visit.dir).own_record = OwnRecord::Set;
                below.push(visit);
            }
            Action::Copy { from } => {
                self.draft.keep(&visit.dir);
                let is_new = matches!(entry.status.of(from), Status::New | Status::Existing);
                let visit = descend(visit, &entry.pair, Doom::Spared);
                if from == Side::Local && is_new && self.renames_on(Side::Remote) {
                    self.visit_fresh(visit, below);
                } else {
                    self.draft.ensure_there(&visit.dir, from.peer());
                    below.push(visit);
                }
            }
            Action::Delete { on, why } => self.take_doomed(visit, entry, on, why, below),
            Action::Forget | Action::Conflict | Action::Skip(_) => {
                unreachable!("these are not about directories alone")
            }
        }
    }

    fn take_doomed(
        &mut self,
        visit: &Visit,
        entry: &Decided<'_>,
        on: Side,
        why: DeletedFor,
        below: &mut Vec<Visit>,
    ) {
        let is_recorded = entry
            .pair
            .record
            .as_ref()
            .is_some_and(|record| record.what == What::Dir);
        let doom = match why {
            DeletedFor::Unmatched => Doom::Unmatched { on },
            DeletedFor::Missing if is_recorded => Doom::DeletedOn(on.peer()),
            // Surplus on the side that follows: what is in it is surplus, too.
            DeletedFor::Missing => Doom::Spared,
        };
        let only_there = Sides::new(on == Side::Local, on == Side::Remote);
        let visit = descend_into(visit, &entry.pair, doom, only_there);
        let inode = match doom {
            Doom::DeletedOn(Side::Local) if self.renames_on(Side::Remote) => {
                let facts = self.walk.terms.archive.facts(&visit.dir.recorded);
                // What cannot be read now is read again when it is visited, and told then.
                facts.ok().flatten().map_or(0, |facts| facts.inode)
            }
            Doom::DeletedOn(_) | Doom::Spared | Doom::Unmatched { .. } => 0,
        };
        if inode == 0 || self.knows_vanished {
            self.doom(&visit.dir, on, why);
            below.push(visit);
        } else {
            self.vanished.push(Vanished { visit, why, inode });
        }
    }

    fn is_too_young(&self, pair: &Pair<'_>) -> bool {
        let min_age = self.walk.job.policy.min_age;
        if min_age == Duration::ZERO {
            return false;
        }
        let secs = i64::try_from(min_age.as_secs()).unwrap_or(i64::MAX);
        pair.is_younger_than(self.walk.now.plus_secs(-secs))
    }
}

/// Whether a link leads to the entry on that side: then it has another name as well, and is not deleted under this one.
pub(super) fn is_linked(found: &Found, pair: &Pair<'_>, on: Side) -> bool {
    let is_link = pair.entries.of(on).is_some_and(|entry| entry.is_link);
    is_link || found.listings.of(on).own.is_linked
}

/// Whether a file would take the place of a link.
pub(super) fn would_replace_link(entry: &Decided<'_>, from: Side) -> bool {
    let there = entry.pair.entries.of(from.peer());
    entry.kind == Kind::File && there.is_some_and(|there| there.is_link)
}

fn statuses_of(visit: &Visit, found: &Found, pair: &Pair<'_>) -> Sides<Status> {
    statuses(
        pair.shown(),
        pair.record.as_ref().map(|record| &record.what),
        found.block.facts().settled,
        visit.doom.gone_from(),
    )
}

fn descend(visit: &Visit, pair: &Pair<'_>, doom: Doom) -> Visit {
    descend_into(visit, pair, doom, pair.there())
}

fn descend_into(visit: &Visit, pair: &Pair<'_>, doom: Doom, there: Sides<bool>) -> Visit {
    descend_to(visit, Dir::below(&visit.dir, pair, there), doom)
}

pub(super) fn descend_to(visit: &Visit, dir: Dir, doom: Doom) -> Visit {
    Visit {
        dir: Rc::new(dir),
        doom,
        is_protected: visit.is_protected,
        is_fresh: false,
        is_forgotten: false,
        was_left_out: visit.was_left_out,
    }
}
