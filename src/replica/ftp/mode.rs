//! The mode of a file that takes the place of another: a `config.php` that only its owner may read stays so.
//!
//! `MLST` tells it with the look that is made anyway, on some servers once it is asked to; elsewhere `STAT` of the name shows the
//! line of `LIST`. The partial file
//! gets the mode before it gets its name. What the server does not tell, or refuses to set, stays as it makes it.

use super::FtpReplica;
use super::learnt::Looks;
use crate::error::{Error, Result};
use crate::ftp::{Command, Facts, ListKind, ListLine, Reply, parse_line};
use crate::path::Escaped;
use crate::replica::checks::tell_unset_mode;
use crate::time::Timestamp;

/// What is taken over. Programs get a set-user-ID bit again from whoever trusts them.
const RIGHTS: u32 = 0o777;

/// The modes of a partial file and of the one whose place it takes, where they were told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Modes {
    pub(super) partial: Option<u32>,
    pub(super) place: Option<u32>,
}

impl FtpReplica {
    /// Gives the partial file the mode of the one whose place it takes.
    pub(super) fn take_over_mode(
        &mut self,
        partial: &[u8],
        place: &[u8],
        told: Modes,
    ) -> Result<()> {
        let modes = match told.place {
            Some(_) => told,
            None => self.ask_modes(partial, place)?,
        };
        let Some(mode) = modes.place.filter(|mode| modes.partial != Some(*mode)) else {
            return Ok(());
        };
        if let Some(refusal) = self.set_mode(partial, mode)? {
            let place = Escaped(place);
            log::warn!(
                "the server sets no modes ({refusal}): {place} had {mode:o}, and gets the one of a new file, as all that are replaced"
            );
        }
        Ok(())
    }

    /// Gives the file the mode that is asked for.
    pub(super) fn give_mode(&mut self, file: &[u8], mode: u32, told: Modes) -> Result<()> {
        if told.partial != Some(mode)
            && let Some(refusal) = self.set_mode(file, mode)?
        {
            tell_unset_mode(&refusal);
        }
        Ok(())
    }

    /// Why the mode was not set, the first time that it was not; after that it is not tried again.
    fn set_mode(&mut self, file: &[u8], mode: u32) -> Result<Option<Error>> {
        if !self.learnt.sets_modes {
            return Ok(None);
        }
        let reply = self.session.ask(&Command::SiteChmod(mode, file))?;
        self.learnt.sets_modes = reply.is_success();
        Ok((!self.learnt.sets_modes).then(|| self.session.refusal(&reply)))
    }

    /// The mode of a file, where the server tells it.
    pub(super) fn mode_at(&mut self, place: &[u8]) -> Result<Option<u32>> {
        if self.learnt.looks == Looks::Mlst && !self.session.features().mode_on_demand {
            let (_, _, told) = self.send_and_look_closely(&[], &[place])?;
            if told.partial.is_some() {
                return Ok(told.partial);
            }
        }
        Ok(self.ask_modes(place, place)?.place)
    }

    /// Asks where the look told no modes. A stranger is not asked by `STAT`: nobody knows what it makes of the path.
    fn ask_modes(&mut self, partial: &[u8], place: &[u8]) -> Result<Modes> {
        let by_facts = self.learnt.looks == Looks::Mlst && self.session.features().mode_on_demand;
        if !self.learnt.tells_modes || (self.is_stranger() && !by_facts) {
            return Ok(Modes::default());
        }
        let modes = if by_facts {
            let lead = [Command::OptsMlstModes];
            self.send_and_look_closely(&lead, &[partial, place])?.2
        } else {
            let commands = [Command::Stat(partial), Command::Stat(place)];
            let replies = self.session.ask_all(&commands)?;
            let replies = replies.into_iter().collect::<Result<Vec<Reply>>>()?;
            Modes {
                partial: replies.first().and_then(mode_of_stat),
                place: replies.get(1).and_then(mode_of_stat),
            }
        };
        if modes.place.is_none() {
            self.learnt.tells_modes = false;
            log::info!(
                "the server tells no modes; what replaces a file gets the one of a new file"
            );
        }
        Ok(modes)
    }
}

/// The mode in a reply to `MLST`.
pub(super) fn mode_of_mlst(reply: &Reply) -> Option<u32> {
    let facts = reply.lines().find_map(Facts::parse_indented)?;
    facts.unix_mode.map(|mode| mode & RIGHTS)
}

/// The mode in a reply to `STAT` of a file: one line as in `LIST`.
fn mode_of_stat(reply: &Reply) -> Option<u32> {
    if !reply.is_success() {
        return None;
    }
    let mut files = reply.lines().map(<[u8]>::trim_ascii_start).filter(|line| {
        matches!(parse_line(line, Timestamp::now()), ListLine::Entry(entry) if entry.kind == ListKind::File)
    });
    let (file, other) = (files.next()?, files.next());
    if other.is_some() {
        return None;
    }
    mode_of_letters(file.get(1..10)?)
}

/// `rw-r--r--`
fn mode_of_letters(letters: &[u8]) -> Option<u32> {
    letters
        .iter()
        .zip(b"rwxrwxrwx")
        .try_fold(0, |mode, (letter, right)| {
            let has_it = match letter {
                b'-' | b'S' | b'T' => false,
                b's' | b't' => *right == b'x',
                letter if letter == right => true,
                _ => return None,
            };
            Some(mode << 1 | u32::from(has_it))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_a_mode() {
        let mode = |letters: &str| mode_of_letters(letters.as_bytes());
        assert_eq!(mode("rw-r--r--"), Some(0o644));
        assert_eq!(mode("rwsr-xr-t"), Some(0o755));
        assert_eq!(mode("rw-------"), Some(0o600));
        assert_eq!(mode("rwSr--r-T"), Some(0o644));
        assert_eq!(mode("[RWCEMFA]"), None);
    }
}
