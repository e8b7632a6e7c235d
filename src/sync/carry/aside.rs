//! Where the loser of a conflict goes: under a name of its own beside the winner, on its side.

use super::Run;
use super::rename::rename_or_find;
use super::tell::moved_aside;
use crate::error::Doing;
use crate::replica::Stat;
use crate::sync::event::Event;
use crate::sync::plan::aside::Aside;

impl Run<'_, '_, '_> {
    /// Gives other names to what makes room for an entry of another kind. What keeps its name keeps the winner out, too.
    pub(super) fn move_aside(&mut self) {
        for aside in std::mem::take(&mut self.work.plan.asides) {
            let Aside { dir, on, kind, .. } = aside;
            if self.is_stopped() {
                aside.plan.iter().for_each(|plan| self.leave_unmade(*plan));
                continue;
            }
            let from = self.work.plan.path_aside(&aside, &aside.name);
            let to = self.work.plan.path_aside(&aside, &aside.other);
            let path = from.clone();
            let moved = self.work.workers.call(move |hands| {
                let is_it = |there: &Stat| there.kind == kind;
                let moved = rename_or_find(hands.of(on)?, &from, &to, is_it);
                moved.doing(|| format!("moving it aside on the {on} side"))
            });
            match moved {
                Ok(()) => {
                    self.placed_in.of_mut(on).insert(dir);
                    (self.work.tell)(Event::Entry {
                        path: &path,
                        kind,
                        deed: moved_aside(&aside),
                    });
                }
                Err(failure) => {
                    aside.plan.iter().for_each(|plan| self.leave_unmade(*plan));
                    self.take_failure(dir, &path, failure);
                }
            }
        }
    }
}
