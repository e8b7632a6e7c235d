//! Conflicts of kinds: a file on one side, a directory of that name on the other.

use super::conflict::link_in_the_way;
use super::entry::{Decided, descend_to};
use super::{Doom, Seen, Visit, Walker};
use crate::error::Result;
use crate::job::Delete;
use crate::path::Name;
use crate::replica::Kind;
use crate::side::{Side, Sides};
use crate::sync::event::{DeletedFor, Skipped};
use crate::sync::look::{Found, Pair};
use crate::sync::plan::Todo;
use crate::sync::plan::aside::{Aside, aside_name};
use crate::sync::plan::decide::Action;
use crate::sync::plan::draft::Dir;
use crate::sync::plan::resolve::Resolution;
use crate::sync::plan::status::Status;
use crate::sync::record::{Record, What};

impl Walker<'_, '_, '_> {
    /// A file here, a directory there: the loser gets another name on its side, and both are copied as new ones are.
    pub(super) fn settle_kinds(
        &mut self,
        visit: &Visit,
        found: &Found,
        entry: Decided<'_>,
        below: &mut Vec<Visit>,
        seen: &mut Seen,
    ) -> Result<()> {
        self.tell_decided(&entry, Action::Conflict);
        if let Some(resolution) = self.resolve(&entry, seen) {
            self.give_way(visit, found, entry, resolution, below);
        }
        Ok(())
    }

    pub(super) fn give_way(
        &mut self,
        visit: &Visit,
        found: &Found,
        mut entry: Decided<'_>,
        resolution: Resolution,
        below: &mut Vec<Visit>,
    ) {
        let dir = &visit.dir;
        if let Some(on) = link_in_the_way(found, &entry, resolution) {
            self.skip(dir, &entry.path, entry.kind, Skipped::Linked { on });
            return;
        }
        let Resolution::MoveAside { loser } = resolution else {
            self.skip_conflict(dir, &entry.path, entry.kind);
            return;
        };
        let other = aside_name(entry.pair.name.as_bytes(), self.walk.now, |name| {
            let is_there = |side: &Side| found.listings.of(*side).find(name).is_some();
            Side::BOTH.iter().any(is_there)
        });
        let mut aside = Pair {
            name: Name::new(&other).expect("a good name with a time in it is a good name"),
            remote_name: None,
            entries: Sides::new(None, None),
            record: None,
        };
        let name = entry.pair.name_on(loser);
        let given_up = entry.pair.entries.of_mut(loser).take();
        *aside.entries.of_mut(loser) = given_up;
        self.draft.keep(dir);
        let kind = given_up.map_or(entry.kind, |entry| entry.stat.kind);
        let at = self.draft.planned(dir);
        let won = Dir::below(dir, &entry.pair, entry.pair.there());
        self.bring(visit, found, &entry.pair, won, below);
        let mut gone = Dir::below(dir, &aside, aside.there());
        *gone.paths.of_mut(loser) = dir.paths.of(loser).join(name);
        let plan = self.bring(visit, found, &aside, gone, below);
        self.draft.plan.asides.push(Aside {
            dir: at,
            on: loser,
            name: name.as_bytes().into(),
            other: other.clone(),
            kind,
            plan,
        });
        let was_dir = |record: &Record<'_>| record.what == What::Dir && kind == Kind::Dir;
        if let Some(record) = entry.pair.record.filter(was_dir) {
            let name = record.name.as_bytes().into();
            self.draft.plan_of(dir).forgotten_dirs.push(name);
        }
    }

    /// Has what is new on one side brought to the other, where that is written; the plan of what is a directory.
    fn bring(
        &mut self,
        visit: &Visit,
        found: &Found,
        pair: &Pair<'_>,
        dir: Dir,
        below: &mut Vec<Visit>,
    ) -> Option<usize> {
        let from = if *dir.there.of(Side::Local) {
            Side::Local
        } else {
            Side::Remote
        };
        if !self.walk.job.direction.writes(from.peer()) {
            return self.give_up(visit, pair, dir, from, below);
        }
        if *pair.kinds().of(from) != Some(Kind::Dir) {
            self.draft
                .add_copy(&visit.dir, found, pair, from, Status::New, false);
            return None;
        }
        let mut visit = descend_to(visit, dir, Doom::Spared);
        // That a file took the place of a directory deletes nothing of what was in it.
        visit.was_left_out = true;
        self.draft.ensure_there(&visit.dir, from.peer());
        let plan = self.draft.planned(&visit.dir);
        below.push(visit);
        Some(plan)
    }

    /// What a mirror moved aside is surplus, which goes where that was asked for; the plan of what is a directory.
    fn give_up(
        &mut self,
        visit: &Visit,
        pair: &Pair<'_>,
        dir: Dir,
        on: Side,
        below: &mut Vec<Visit>,
    ) -> Option<usize> {
        let is_asked_for = match self.walk.job.policy.delete {
            // No record says that a run made it equal once.
            Delete::Never | Delete::Ours => false,
            Delete::Missing | Delete::Unmatched => true,
        };
        if !is_asked_for || visit.is_protected {
            return None;
        }
        let why = DeletedFor::Missing;
        if *pair.kinds().of(on) == Some(Kind::Dir) {
            let visit = descend_to(visit, dir, Doom::Spared);
            self.doom(&visit.dir, on, why);
            let plan = self.draft.planned(&visit.dir);
            below.push(visit);
            return Some(plan);
        }
        let losses = self.draft.plan.losses.of_mut(on);
        losses.lost += 1;
        losses.files += 1;
        let is_resolution = true;
        let todo = Todo::Delete {
            on,
            why,
            is_resolution,
        };
        self.draft.add_step(&visit.dir, pair, todo);
        None
    }
}
