//! Giving a file its name: what is under the partial name is looked at, then it is renamed, then the result is looked at.

use super::flights::ask_all;
use super::look::{SPECIAL, stat_of};
use super::{SftpReplica, is_ok, refusal};
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::path::{ASIDE_SUFFIX, Escaped};
use crate::replica::checks::{check_moved_aside, check_replaced, misplaced};
use crate::replica::{NewFile, Stat, Times, Written};
use crate::sftp::{Attributes, Reply, Request, code};
use crate::time::Timestamp;

/// The full paths that a file has to do with.
pub(super) struct Names {
    pub(super) partial: Vec<u8>,
    pub(super) place: Vec<u8>,
    pub(super) aside: Option<Vec<u8>>,
}

/// A file that lies under its partial name, looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) stat: Stat,
    pub(super) times: Times,
}

impl Stored {
    /// What the server shows of a file that was written; fails where that is not what was sent.
    pub(super) fn of(attributes: &Attributes, size: u64, mtime: Option<Timestamp>) -> Result<Self> {
        let stat = stat_of(attributes).unwrap_or(SPECIAL);
        if stat.kind != crate::replica::Kind::File || stat.size != size {
            return Err(ErrorKind::Verify(format!(
                "the server confirmed the file, but shows {} bytes of {size}",
                stat.size
            ))
            .into());
        }
        let times = match (mtime, stat.mtime) {
            (None, _) => Times::Unknown,
            (Some(asked), Some(shown)) if shown.may_be(asked) => Times::Kept,
            (Some(_), _) => Times::Lost,
        };
        Ok(Self { stat, times })
    }
}

/// The modification time as SFTP has it; none outside 1970 to 2106, which 32 bits cannot tell.
pub(super) fn wire_times(mtime: Option<Timestamp>) -> Option<Attributes> {
    let secs = u32::try_from(mtime?.as_secs()).ok()?;
    Some(Attributes {
        times: Some((secs, secs)),
        ..Attributes::default()
    })
}

/// How a rename went.
pub(super) enum Renamed {
    Done(Stat),
    /// The server does not rename over a file, or not in this way.
    NeedsRoom,
    Failed(Error),
}

/// The requests of a rename: the rename, and looks at what came of it.
pub(super) fn rename_requests<'a>(names: &'a Names, replaces: bool) -> [Request<'a>; 3] {
    let (partial, place) = (&names.partial, &names.place);
    let rename = if replaces {
        Request::PosixRename(partial, place)
    } else {
        Request::Rename(partial, place)
    };
    [rename, Request::Lstat(place), Request::Lstat(partial)]
}

impl SftpReplica {
    pub(super) fn names_of(&self, file: &NewFile<'_>) -> Names {
        Names {
            partial: self.full(file.partial),
            place: self.full(file.path),
            aside: file.set_aside.map(|aside| self.full(aside)),
        }
    }

    /// Notes whether the server keeps times, where it was asked to.
    pub(super) fn learn_times(&mut self, stored: &Stored) {
        match (stored.times, self.learnt.times) {
            (Times::Kept, _) => self.learnt.times = Times::Kept,
            (Times::Lost, Times::Unknown) => self.learnt.times = Times::Lost,
            (Times::Lost | Times::Unknown, _) => {}
        }
    }

    /// Gives the file its name, in whichever way the server can.
    pub(super) fn give_name(
        &mut self,
        names: &Names,
        stored: &Stored,
        replaces: bool,
    ) -> Result<Written> {
        let stat = match (&names.aside, replaces) {
            (Some(aside), true) => {
                self.set_aside(&names.place, aside)?;
                self.rename_free(names, &stored.stat)
                    .inspect_err(|_| self.put_back(aside, &names.place))?
            }
            (None, true) if self.learnt.renames_over => self.rename_over(names, &stored.stat)?,
            (None, true) => self.rename_around(names, &stored.stat)?,
            (_, false) => self.rename_free(names, &stored.stat)?,
        };
        Ok(written(stat, stored))
    }

    fn rename_free(&mut self, names: &Names, expected: &Stat) -> Result<Stat> {
        let replies = ask_all(&mut self.session, &rename_requests(names, false))?;
        match self.renamed(replies, expected) {
            Renamed::Done(stat) => Ok(stat),
            Renamed::Failed(error) => Err(error),
            Renamed::NeedsRoom => {
                check_replaced(None, self.look_at_one(&names.place)?)?;
                Err(ErrorKind::Unsupported("the server does not rename files").into())
            }
        }
    }

    fn rename_over(&mut self, names: &Names, expected: &Stat) -> Result<Stat> {
        let replies = ask_all(&mut self.session, &rename_requests(names, true))?;
        match self.renamed(replies, expected) {
            Renamed::Done(stat) => Ok(stat),
            Renamed::Failed(error) => Err(error),
            Renamed::NeedsRoom => self.rename_around(names, expected),
        }
    }

    /// Moves the old file out of the way, renames, and removes the old file.
    pub(super) fn rename_around(&mut self, names: &Names, expected: &Stat) -> Result<Stat> {
        let mut old = names.partial.clone();
        old.extend_from_slice(ASIDE_SUFFIX);
        // An old file left over from a broken run may lie there; it is no longer needed, for there is one in place.
        self.session.ask(&Request::Remove(&old))?;
        self.set_aside(&names.place, &old)?;
        let stat = self
            .rename_free(names, expected)
            .inspect_err(|_| self.put_back(&old, &names.place))?;
        // The server was found to do it only this way.
        self.learnt.renames_over = false;
        // What is left of it is a partial name and goes with the next clean-up.
        let _ = self.session.ask(&Request::Remove(&old));
        Ok(stat)
    }

    /// Moves the old file out of the way, and sees that it is there.
    fn set_aside(&mut self, place: &[u8], aside: &[u8]) -> Result<()> {
        let requests = [
            Request::Rename(place, aside),
            Request::Lstat(place),
            Request::Lstat(aside),
        ];
        let mut replies = ask_all(&mut self.session, &requests)?.into_iter();
        let (Some(renamed), Some(left), Some(there)) =
            (replies.next(), replies.next(), replies.next())
        else {
            return Err(self.session.nonsense(super::flights::NONSENSE));
        };
        self.done(renamed)?;
        let left = self.looked_at(left)?;
        let there = self.looked_at(there)?;
        check_moved_aside(left, there).inspect_err(|_| {
            if left.is_none() {
                self.put_back(aside, place);
            }
        })
    }

    fn put_back(&mut self, aside: &[u8], place: &[u8]) {
        if let Err(error) = self.rename_path(aside, place) {
            let (aside, place) = (Escaped(aside), Escaped(place));
            log::warn!("could not move {aside} back to {place}: {error}");
        }
    }

    /// What came of [`rename_requests`]: what the two names show counts, whatever was said.
    pub(super) fn renamed(&mut self, replies: Vec<Reply>, expected: &Stat) -> Renamed {
        let mut replies = replies.into_iter();
        let (Some(Reply::Status(status)), Some(place), Some(partial)) =
            (replies.next(), replies.next(), replies.next())
        else {
            return Renamed::Failed(self.session.nonsense(super::flights::NONSENSE));
        };
        let looks = self
            .looked_at(place)
            .and_then(|place| Ok((place, self.looked_at(partial)?)));
        let (place, partial) = match looks {
            Ok(looks) => looks,
            Err(error) => return Renamed::Failed(error),
        };
        match (place, partial) {
            (Some(stat), None) if stat.may_equal(expected) => Renamed::Done(stat),
            (_, Some(_)) if status.code == code::UNSUPPORTED => Renamed::NeedsRoom,
            (Some(_), Some(_)) if !is_ok(&status) => Renamed::NeedsRoom,
            _ if !is_ok(&status) => Renamed::Failed(refusal(&status)),
            (shown, _) => Renamed::Failed(misplaced(shown)),
        }
    }
}

pub(super) const fn written(stat: Stat, stored: &Stored) -> Written {
    Written {
        stat,
        times: stored.times,
        inode: 0,
        digest: None,
    }
}

/// Whether the session is lost with this error.
pub(super) fn is_loss(error: &Error) -> bool {
    error.scope() == Scope::Session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_beyond_32_bits_are_not_set() {
        let wire = |secs| wire_times(Some(Timestamp::from_secs(secs))).and_then(|wire| wire.times);
        assert_eq!(wire(0), Some((0, 0)));
        assert_eq!(wire(4_294_967_295), Some((u32::MAX, u32::MAX)));
        assert_eq!((wire(-1), wire(4_294_967_296)), (None, None));
        assert_eq!(wire_times(None), None);
    }

    #[test]
    fn what_the_server_shows_decides() {
        let shown = |size, changed| Attributes {
            size: Some(size),
            mode: Some(0o100_644),
            times: Some((1, changed)),
        };
        let asked = Some(Timestamp::from_secs(100));
        let times = |changed| Stored::of(&shown(5, changed), 5, asked).unwrap().times;
        assert_eq!((times(100), times(900)), (Times::Kept, Times::Lost));
        assert!(Stored::of(&shown(4, 100), 5, asked).is_err());
        assert!(Stored::of(&Attributes::default(), 5, asked).is_err());
    }
}
