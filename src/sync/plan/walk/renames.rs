//! What is only called otherwise than it was: directories told by their inodes, files by what they show.

use std::rc::Rc;

use super::{Visit, Walker};
use crate::error::Result;
use crate::job::Delete;
use crate::path::RelPath;
use crate::replica::Kind;
use crate::side::{Side, Sides};
use crate::sync::look::Found;
use crate::sync::plan::{OldName, OwnRecord, moved};
use crate::sync::record::What;
use crate::sync::workers::Failure;

impl Walker<'_, '_, '_> {
    /// Where files come last, one of those on the other side may name what would be renamed, until it is in place.
    pub(super) fn renames_files(&self) -> bool {
        self.walk.job.policy.last.is_empty()
    }

    /// Whether the job renames on that side what was renamed on the other: where it would have deleted the old name and copied
    /// the new one.
    pub(super) fn renames_on(&self, side: Side) -> bool {
        self.renames_files()
            && match self.walk.job.direction.follower() {
                None => true,
                Some(follower) => side == follower && self.walk.job.policy.delete != Delete::Never,
            }
    }

    /// A directory without a record waits until all is known that it may have been called before.
    pub(super) fn visit_fresh(&mut self, mut visit: Visit, below: &mut Vec<Visit>) {
        visit.is_fresh = true;
        if self.knows_vanished {
            below.push(visit);
        } else {
            self.fresh.push(visit);
        }
    }

    /// The place of the only vanished directory that this one was: it has its inode, and a file that is recorded there.
    pub(super) fn find_vanished(&self, found: &Found) -> Option<usize> {
        let inode = found.listings.local.own.inode;
        let mut places = (0..self.vanished.len())
            .filter(|place| inode != 0 && self.vanished[*place].inode == inode);
        let place = places.next()?;
        let archive = self.walk.terms.archive;
        let recorded = &self.vanished[place].visit.dir.recorded;
        // What cannot be read now is read again when it is visited, and told then.
        let block = archive.block(recorded).ok().flatten()?;
        let is_here = |record: crate::sync::record::Record<'_>| {
            let entry = found.listings.local.find(record.name.as_bytes());
            entry.is_some_and(|entry| match record.what {
                What::File(shown) => {
                    shown.local.is_same(&entry.shown) && record.ids.local == entry.inode
                }
                What::Dir => entry.stat.kind == Kind::Dir,
            })
        };
        let knows_one = block.iter().any(is_here);
        (knows_one && places.next().is_none()).then_some(place)
    }

    /// From here on the visit is about the directory that both sides have.
    pub(super) fn take_for_moved(&mut self, visit: &mut Visit, place: usize) {
        let old = self.vanished.remove(place).visit.dir;
        visit.dir = Rc::new(visit.dir.moved_from(&old));
        let name_of = |path: &RelPath| path.name().map(|name| Box::from(name.as_bytes()));
        let (Some(parent), Some(local), Some(remote)) = (
            &old.parent,
            name_of(&old.recorded),
            name_of(&old.paths.remote),
        ) else {
            unreachable!("a root does not vanish from its parent");
        };
        let parent = self.draft.planned(parent);
        let plan = self.draft.plan_of(&visit.dir);
        plan.own_record = OwnRecord::Set;
        plan.moved_from = Some(OldName {
            parent,
            names: Sides::new(local, remote),
        });
    }

    /// Finds the files that are only called otherwise on that side, once the whole tree is known.
    pub(super) fn find_renames(&mut self, by: Side) -> Result<()> {
        let plan = &mut self.draft.plan;
        let gone = std::mem::take(plan.gone.of_mut(by));
        let found = moved::match_up(gone, plan.appeared(by));
        if found.is_empty() {
            return Ok(());
        }
        let paths: Vec<RelPath> = found
            .iter()
            .map(|found| plan.path_of(found.to, by))
            .collect();
        let identified = self.walk.workers.call(move |hands| {
            let replica = hands.of(by)?;
            // What cannot be told proves nothing.
            let of_each = paths
                .iter()
                .map(|path| replica.identify(path).ok().flatten());
            Ok(of_each.collect::<Vec<_>>())
        });
        let identities = identified.map_err(Failure::into_error)?;
        for (found, identity) in found.into_iter().zip(identities) {
            let is_proven = match by {
                Side::Local => identity.is_some_and(|identity| found.is_proven_by(identity)),
                // A server tells no more of a file than its listing did.
                Side::Remote => true,
            };
            if is_proven {
                self.draft.plan.rename(found, by);
            }
        }
        Ok(())
    }
}
