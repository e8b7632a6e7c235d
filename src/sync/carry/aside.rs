//! Where the loser of a conflict goes: under a name of its own beside the winner, on its side.

use super::Run;
use super::tell::moved_aside;
use crate::error::{Doing, ErrorKind, Result};
use crate::path::RelPath;
use crate::replica::{Kind, Replica};
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
                let moved = move_to(hands.of(on)?, kind, &from, &to);
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

/// Renames an entry to a name where nothing is. May be called again after the session died.
///
/// A confirmed rename proves nothing: both names are looked at.
fn move_to(replica: &mut dyn Replica, kind: Kind, from: &RelPath, to: &RelPath) -> Result<()> {
    let look = |replica: &mut dyn Replica| -> Result<(Option<Kind>, Option<Kind>)> {
        let mut found = replica.look_up(&[from.clone(), to.clone()]).into_iter();
        let mut next = || -> Result<Option<Kind>> {
            let found = found.next().expect("one answer for one question")?;
            Ok(found.map(|stat| stat.kind))
        };
        Ok((next()?, next()?))
    };
    match look(replica)? {
        (None, Some(now)) if now == kind => return Ok(()),
        (Some(now), None) if now == kind => replica.rename(from, to)?,
        (Some(_), Some(_)) => {
            return Err(ErrorKind::Changed("something has appeared under the new name").into());
        }
        (_, _) => return Err(ErrorKind::Changed("it changed since it was listed").into()),
    }
    match look(replica)? {
        (None, Some(now)) if now == kind => Ok(()),
        (_, _) => {
            let text = "the server confirmed the rename, but does not show it under the new name";
            Err(ErrorKind::Verify(text.to_owned()).into())
        }
    }
}
