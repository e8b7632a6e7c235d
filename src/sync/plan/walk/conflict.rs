//! Conflicts: settled by rule where one applies. The user is asked about all others once the whole tree is known, so that it can
//! be said how many there are, and nobody waits for a listing between two questions.

use super::entry::{Decided, is_linked, would_replace_link};
use super::{Seen, Visit, Walker};
use crate::error::Result;
use crate::job::Resolve;
use crate::replica::{Kind, same_bytes};
use crate::side::{Side, Sides};
use crate::sync::event::{Answer, Conflict, DeletedFor, Event, Skipped};
use crate::sync::look::{Found, Places};
use crate::sync::plan::Todo;
use crate::sync::plan::draft::Dir;
use crate::sync::plan::resolve::{self, Resolution};
use crate::sync::plan::status::Status;
use crate::sync::workers::Failure;

/// A directory that was visited, but for what the user is asked about.
pub(super) struct Waiting {
    pub(super) visit: Visit,
    pub(super) found: Found,
    pub(super) seen: Seen,
}

/// A conflict that the user is asked about.
#[derive(Debug)]
pub(super) struct Question {
    places: Places,
    named_by: Option<Side>,
    kind: Kind,
    status: Sides<Status>,
}

impl<'a> Decided<'a> {
    /// The entry that a question is about.
    fn of(question: &Question, found: &'a Found, dir: &Dir) -> Self {
        let pair = found.pair(question.places);
        let entry = Self {
            places: question.places,
            path: dir.paths.local.join(pair.name),
            pair,
            named_by: None,
            kind: question.kind,
            status: question.status,
        };
        match question.named_by {
            Some(side) => entry.named_by(side, dir),
            None => entry,
        }
    }

    /// The entry by the name that the user gave it on that side; the other side gets it, too.
    pub(super) fn named_by(mut self, side: Side, dir: &Dir) -> Self {
        self.named_by = Some(side);
        self.pair.name = self.pair.name_on(side);
        self.pair.remote_name = None;
        self.path = dir.paths.local.join(self.pair.name);
        self
    }
}

impl Walker<'_, '_, '_> {
    /// What the rule makes of a conflict; none where the user will be asked.
    pub(super) fn resolve(&mut self, entry: &Decided<'_>, seen: &mut Seen) -> Option<Resolution> {
        self.draft.plan.totals.conflicts += 1;
        let job = self.walk.job;
        let stats = entry.pair.stats();
        let (direction, delete) = (job.direction, job.policy.delete);
        let by_rule = resolve::resolve(job.policy.resolve, direction, delete, stats);
        if by_rule != Resolution::Ask {
            return Some(by_rule);
        }
        // Whatever would be answered, a dry run does not do it.
        if job.dry_run || self.walk.ask.is_none() {
            self.tell_nobody_answers();
            return Some(Resolution::Skip);
        }
        seen.questions.push(Question {
            places: entry.places,
            named_by: entry.named_by,
            kind: entry.kind,
            status: entry.status,
        });
        None
    }

    fn tell_nobody_answers(&mut self) {
        if self.walk.job.dry_run || std::mem::replace(&mut self.has_told_nobody_answers, true) {
            return;
        }
        (self.walk.tell)(Event::Warning(match self.walk.job.policy.resolve {
            Resolve::Old | Resolve::New => {
                "conflicts between files of one time are skipped: there is no terminal to ask on; --resolve local, remote or both settle \
                 them, too"
            }
            Resolve::Local | Resolve::Remote | Resolve::Skip | Resolve::Ask | Resolve::Both => {
                "conflicts are skipped: there is no terminal to ask on; see --resolve"
            }
        }));
    }

    pub(super) fn settle_conflict(
        &mut self,
        visit: &Visit,
        found: &Found,
        entry: &Decided<'_>,
        seen: &mut Seen,
    ) -> Result<()> {
        if self.meets_equal(&visit.dir, entry)? {
            self.record_content(&visit.dir, entry);
        } else if let Some(resolution) = self.resolve(entry, seen) {
            self.plan_resolution(visit, found, entry, resolution);
        }
        Ok(())
    }

    fn plan_resolution(
        &mut self,
        visit: &Visit,
        found: &Found,
        entry: &Decided<'_>,
        resolution: Resolution,
    ) {
        let dir = &visit.dir;
        let pair = &entry.pair;
        if let Some(on) = link_in_the_way(found, entry, resolution) {
            self.skip(dir, &entry.path, Kind::File, Skipped::Linked { on });
            return;
        }
        match resolution {
            Resolution::Ask | Resolution::Skip | Resolution::MoveAside { .. } => {
                self.skip_conflict(dir, &entry.path, Kind::File);
            }
            Resolution::Delete { on } if visit.is_protected => {
                self.skip(dir, &entry.path, Kind::File, Skipped::Protected { on });
            }
            Resolution::Copy { from } | Resolution::Restore { from } => {
                self.draft.keep(dir);
                self.draft.ensure_there(dir, from.peer());
                if pair.stats().of(from.peer()).is_some() {
                    self.draft.plan.losses.of_mut(from.peer()).lost += 1;
                }
                self.draft
                    .add_copy(dir, found, pair, from, Status::Modified, true);
            }
            Resolution::Delete { on } => {
                self.draft.plan.losses.of_mut(on).lost += 1;
                let todo = Todo::Delete {
                    on,
                    why: DeletedFor::Missing,
                    is_resolution: true,
                };
                self.draft.add_step(dir, pair, todo);
            }
            Resolution::KeepBoth { winner } => {
                self.draft.keep(dir);
                self.draft.add_step(dir, pair, Todo::KeepBoth { winner });
            }
        }
    }

    /// Asks about all that waits. What is to be visited after that goes onto the stack.
    pub(super) fn ask_all(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let open: usize = waiting.iter().map(|one| one.seen.questions.len()).sum();
        let all = self.asked + open as u64;
        for Waiting {
            visit,
            mut found,
            mut seen,
        } in waiting
        {
            let mut below = Vec::new();
            for question in std::mem::take(&mut seen.questions) {
                let entry = Decided::of(&question, &found, &visit.dir);
                self.asked += 1;
                let resolution = self.answer(&visit.dir, &entry, all)?;
                let kinds = entry.pair.kinds();
                if kinds.local.is_some() && kinds.remote.is_some() && kinds.local != kinds.remote {
                    self.give_way(&visit, &found, entry, resolution, &mut below);
                } else {
                    self.plan_resolution(&visit, &found, &entry, resolution);
                    self.note_retimed(&visit.dir, &entry);
                }
            }
            self.close(&visit.dir, &mut found, seen);
            self.stack.extend(below.into_iter().rev());
        }
        Ok(())
    }

    fn answer(&mut self, dir: &Dir, entry: &Decided<'_>, all: u64) -> Result<Resolution> {
        let pair = &entry.pair;
        let conflict = Conflict {
            path: &entry.path,
            number: self.asked,
            all,
            stats: pair.stats(),
            status: entry.status,
            record: pair.recorded_file(),
            direction: self.walk.job.direction,
            delete: self.walk.job.policy.delete,
        };
        if let Some(choice) = self.standing_answer {
            return Ok(conflict.comes_to(choice));
        }
        let paths = pair.paths_in(&dir.paths);
        let workers = self.walk.workers;
        let mut compare = || {
            let paths = paths.clone();
            let compared = workers.call(move |hands| {
                let Sides { local, remote } = hands.both()?;
                same_bytes((local, &paths.local), (remote, &paths.remote))
            });
            compared.map_err(Failure::into_error)
        };
        (self.walk.tell)(Event::Question);
        let ask = self.walk.ask.as_mut();
        let ask = ask.expect("only where somebody answers are there questions");
        let choice = match ask.ask(&conflict, &mut compare)? {
            Answer::Once(choice) => choice,
            Answer::Always(choice) => {
                self.standing_answer = Some(choice);
                choice
            }
        };
        Ok(conflict.comes_to(choice))
    }
}

/// The side on which a link stands where a conflict would be settled.
pub(super) fn link_in_the_way(
    found: &Found,
    entry: &Decided<'_>,
    resolution: Resolution,
) -> Option<Side> {
    let (on, is_in_the_way) = match resolution {
        Resolution::Copy { from } | Resolution::Restore { from } => {
            (from.peer(), would_replace_link(entry, from))
        }
        Resolution::Delete { on } => (on, is_linked(found, &entry.pair, on)),
        // The loser gets another name.
        Resolution::KeepBoth { winner } => {
            let loser = winner.peer();
            (loser, is_linked(found, &entry.pair, loser))
        }
        Resolution::MoveAside { loser } => (loser, is_linked(found, &entry.pair, loser)),
        Resolution::Ask | Resolution::Skip => return None,
    };
    is_in_the_way.then_some(on)
}
