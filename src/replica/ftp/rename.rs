//! Renaming: to a free name, over an old file, around one that may not be renamed over; and looking whether it was done.

use super::FtpReplica;
use super::learnt::Looks;
use crate::error::{Error, ErrorKind, Result};
use crate::ftp::{Command, Reply};
use crate::path::{ASIDE_SUFFIX, Escaped};
use crate::replica::Stat;
use crate::replica::checks::{check_moved_aside, check_replaced, misplaced, unmoved};

impl FtpReplica {
    pub(super) fn rename_path(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        // RNTO after a refused RNFR is refused, too, so the two can travel together.
        let replies = self
            .session
            .ask_all(&[Command::Rnfr(from), Command::Rnto(to)])?;
        self.check_renamed(replies)
    }

    pub(super) fn check_renamed(
        &self,
        replies: impl IntoIterator<Item = Result<Reply>>,
    ) -> Result<()> {
        for reply in replies {
            let reply = reply?;
            if !reply.is_success() && !reply.is_intermediate() {
                return Err(self.session.refusal(&reply));
            }
        }
        Ok(())
    }

    /// A confirmed rename is believed of servers that are known to be honest: it is where it should be, unless it is where it was.
    pub(super) fn check_moved(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        if !self.is_stranger() {
            return Ok(());
        }
        let (_, stats) = self.send_and_look(&[], &[from, to])?;
        match stats[..] {
            [Some(_), None] => Err(unmoved()),
            _ => Ok(()),
        }
    }

    /// Moves the old file out of the way, and sees that it is there: what replaces it would be the end of it.
    pub(super) fn set_aside(&mut self, place: &[u8], aside: &[u8]) -> Result<()> {
        let lead = [Command::Rnfr(place), Command::Rnto(aside)];
        let (replies, stats) = self.send_and_look(&lead, &[place, aside])?;
        match refused(&replies) {
            Some(reply) => Err(self.unrenamed(reply)),
            None => {
                let shown = |index: usize| stats.get(index).copied().flatten();
                check_moved_aside(shown(0), shown(1)).inspect_err(|_| {
                    if shown(0).is_none() {
                        self.put_back(aside, place);
                    }
                })
            }
        }
    }

    /// Renames to a name that is free.
    pub(super) fn rename_free(
        &mut self,
        partial: &[u8],
        place: &[u8],
        expected: &Stat,
    ) -> Result<Stat> {
        let lead = [Command::Rnfr(partial), Command::Rnto(place)];
        let (replies, stats) = match self.send_and_look(&lead, &[place]) {
            Err(error) if matches!(error.kind(), ErrorKind::Name(_)) => {
                // Nothing was under the name as the server understands it, so what is there now is ours.
                let _ = self.session.ask(&Command::Dele(place));
                return Err(error);
            }
            other => other?,
        };
        let shown = stats.first().copied().flatten();
        match (refused(&replies), shown) {
            (None, Some(stat)) if stat.may_equal(expected) => Ok(stat),
            (None, _) => Err(misplaced(shown)),
            (Some(reply), _) => {
                let error = self.unrenamed(reply);
                if self.learnt.looks == Looks::Mlst {
                    return Err(error);
                }
                // Without MLST a directory of that name shows only now.
                match self.look_at_one(place) {
                    Ok(Some(_)) => check_replaced(None, Some(Stat::dir())).and(Err(error)),
                    Ok(None) | Err(_) => Err(error),
                }
            }
        }
    }

    /// Renames over the old file, and finds another way where the server does not allow it.
    pub(super) fn rename_over(
        &mut self,
        partial: &[u8],
        place: &[u8],
        expected: &Stat,
    ) -> Result<Stat> {
        let lead = [Command::Rnfr(partial), Command::Rnto(place)];
        let (replies, stats) = self.send_and_look(&lead, &[place, partial])?;
        let (shown, left) = (
            stats.first().copied().flatten(),
            stats.get(1).copied().flatten(),
        );
        match (refused(&replies), shown, left) {
            // What the partial name held is under the final one, whatever was said.
            (_, Some(stat), None) if stat.may_equal(expected) => Ok(stat),
            (Some(_), _, Some(_)) => self.rename_around(partial, place, expected),
            (Some(reply), _, None) => Err(self.session.refusal(reply)),
            (None, _, _) => Err(misplaced(shown)),
        }
    }

    /// Moves the old file out of the way, renames, and removes the old file.
    pub(super) fn rename_around(
        &mut self,
        partial: &[u8],
        place: &[u8],
        expected: &Stat,
    ) -> Result<Stat> {
        let mut old = partial.to_vec();
        old.extend_from_slice(ASIDE_SUFFIX);
        // An old file left over from a broken run may lie there; it is no longer needed, for there is one in place.
        let _ = self.session.ask(&Command::Dele(&old))?;
        self.set_aside(place, &old)?;
        let stat = self
            .rename_free(partial, place, expected)
            .inspect_err(|_| self.put_back(&old, place))?;
        // The server was found to do it only this way.
        self.learnt.renames_over = false;
        // What is left of it is a partial name and goes with the next clean-up.
        let _ = self.session.ask(&Command::Dele(&old));
        Ok(stat)
    }

    fn unrenamed(&self, reply: &Reply) -> Error {
        let error = self.session.refusal(reply);
        error.while_doing("renaming it (--inplace, if this server renames nothing)")
    }

    pub(super) fn put_back(&mut self, aside: &[u8], place: &[u8]) {
        if let Err(error) = self.rename_path(aside, place) {
            log::warn!(
                "could not move {} back to {}: {error}",
                Escaped(aside),
                Escaped(place)
            );
        }
    }
}

fn refused(replies: &[Reply]) -> Option<&Reply> {
    replies
        .iter()
        .find(|reply| !reply.is_success() && !reply.is_intermediate())
}
