//! Entries that a side calls otherwise than they are recorded: each keeps its spelling, or gets the one that the user gave it.

use super::entry::Decided;
use super::{Seen, Visit, Walker};
use crate::replica::Kind;
use crate::side::{Side, Sides};
use crate::sync::look::{Found, Pair, spelling};
use crate::sync::plan::decide::Action;
use crate::sync::plan::draft::Dir;
use crate::sync::plan::{OldName, OwnRecord, Respelling};

impl Walker<'_, '_, '_> {
    /// Sees to an entry that has another name on a side than it is recorded by. Where the user changed its case on one side, it
    /// gets that name on the other, too; in any other case each side keeps its spelling, and the record says so. None where
    /// nothing else is to be done with it.
    pub(super) fn take_respelling<'a>(
        &mut self,
        visit: &Visit,
        found: &Found,
        entry: Decided<'a>,
        action: Action,
        seen: &mut Seen,
    ) -> Option<(Decided<'a>, Action)> {
        let pair = &entry.pair;
        let is_file = entry.kind == Kind::File;
        let shown = pair.shown();
        let (Some(record), Some(local), Some(remote)) = (&pair.record, shown.local, shown.remote)
        else {
            return Some((entry, action));
        };
        let names = Sides::new(pair.name, pair.name_on(Side::Remote));
        if record.names() == names || record.what.kind() != entry.kind || !is_file {
            return Some((entry, action));
        }
        let Some(by) = self
            .renamed_by(found, pair)
            .filter(|by| self.renames_on(by.peer()))
        else {
            let names = names.map(|name| name.as_bytes().into());
            let old = record.name.as_bytes();
            (seen.respelled).extend(spelling::renamed(old, names, record.what, record.ids));
            return Some((entry, action));
        };
        let new = *names.of(by);
        self.draft.keep(&visit.dir);
        self.draft.plan_of(&visit.dir).respellings.push(Respelling {
            by,
            old: record.name.as_bytes().into(),
            new: new.as_bytes().into(),
            shown: *Sides::new(local, remote).of(by.peer()),
            what: record.what,
            ids: record.ids,
        });
        if action == Action::Keep {
            return None;
        }
        Some((entry.named_by(by, &visit.dir), action))
    }

    /// The side on which the user changed the case of a name that had been one on both, if one did.
    fn renamed_by(&self, found: &Found, pair: &Pair<'_>) -> Option<Side> {
        let record = pair.record.as_ref()?;
        let had_one_name = record.remote_name.is_none();
        let mut sides = Side::BOTH
            .into_iter()
            .filter(|side| pair.name_on(*side) != record.name);
        let (Some(by), None) = (sides.next(), sides.next()) else {
            return None;
        };
        let is_rename = found.is_renamed(by, pair.name_on(by).as_bytes());
        (had_one_name && is_rename).then_some(by)
    }

    /// The same as [`Self::take_respelling`] for a directory that both sides have. The local side's names lead, so it keeps
    /// its own where the remote user changed the case.
    pub(super) fn respell_dir(&mut self, visit: &Visit, found: &Found, pair: &Pair<'_>, dir: &Dir) {
        let Some(record) = &pair.record else { return };
        let names = Sides::new(pair.name, pair.name_on(Side::Remote));
        if record.names() == names {
            return;
        }
        let parent = self.draft.planned(&visit.dir);
        let is_carried =
            self.renamed_by(found, pair) == Some(Side::Local) && self.renames_on(Side::Remote);
        let plan = self.draft.plan_of(dir);
        plan.own_record = OwnRecord::Set;
        if is_carried {
            plan.moved_from = Some(OldName {
                parent,
                names: record.names().map(|name| name.as_bytes().into()),
            });
        }
    }
}
