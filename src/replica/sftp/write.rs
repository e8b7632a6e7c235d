//! Writing a file: many pieces ahead, none of them believed before the server has confirmed it.
//!
//! A piece that fails leaves a hole of zeros, and the pieces behind it make the file as long as it should be. So a size
//! proves nothing here: what counts is how far every piece was confirmed, and what lies beyond is cut off.

use std::collections::VecDeque;

use super::flights::{NONSENSE, ask_all};
use super::look::stat_of;
use super::place::{Names, Stored, wire_times};
use super::{PIECE_BYTES, SftpReplica, WINDOW_BYTES, is_ok, refusal};
use crate::error::{Error, ErrorKind, Result};
use crate::replica::checks::{Litter, check_aside, check_replaced, misread, tell_unset_mode};
use crate::replica::{Kind, NewFile, Source, Stat, Watch, Written};
use crate::sftp::{Access, Attributes, Handle, Reply, Request, Status, code};

/// The rights of a file while it is written that takes the place of another: whoever may not read that one may not read
/// this one.
const PRIVATE_MODE: u32 = 0o600;

/// What is set and compared of a mode.
const RIGHTS: u32 = 0o777;

/// Up to this the server is asked to have a file on its disk before it gets its name. For a larger one that may take longer
/// than anybody waits for a reply.
const SYNC_BYTES: u64 = 1 << 20;

impl SftpReplica {
    pub(super) fn write_file(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        let names = self.names_of(file);
        let opened = self.open_partial(file, &names)?;
        let Closed {
            stored,
            present,
            aside,
        } = match self.store(file, &names, &opened, source, watch) {
            Ok(closed) => closed,
            Err((error, litter)) => {
                self.session.forget_all();
                if litter == Litter::Useless || !file.keep_partial {
                    self.clean_up(&names.partial);
                }
                return Err(error);
            }
        };
        self.learn_times(&stored);
        let placed = check_replaced(file.replaces, present)
            .and_then(|()| check_aside(aside))
            .and_then(|()| watch.placing(&stored.stat, stored.times))
            .and_then(|()| self.give_name(&names, &stored, present.is_some()));
        if placed.is_err() {
            self.clean_up(&names.partial);
        }
        placed
    }

    /// Makes the partial file, or opens it where it is to be gone on with.
    fn open_partial(&mut self, file: &NewFile<'_>, names: &Names) -> Result<Opened> {
        let (partial, place) = (names.partial.as_slice(), names.place.as_slice());
        if file.resume_at > 0 {
            return self.open_rest(file, names);
        }
        let open = Request::Open(partial, Access::New, first_mode(file));
        let requests = [open, Request::Lstat(place)];
        let mut replies = ask_all(&mut self.session, &requests)?;
        let old_mode = mode_of(replies.pop());
        let first = match replies.pop() {
            Some(Reply::Handle(handle)) => return Ok(Opened { handle, old_mode }),
            Some(Reply::Status(status)) if !is_ok(&status) => refusal(&status),
            _ => return Err(self.session.nonsense(NONSENSE)),
        };
        // Left by an earlier run, and of no use now; or there is no such directory.
        if self.look_at_one(partial)?.is_none() {
            return Err(self.explain_full(first));
        }
        let mut replies = ask_all(&mut self.session, &[Request::Remove(partial), open])?;
        match replies.pop() {
            Some(Reply::Handle(handle)) => Ok(Opened { handle, old_mode }),
            Some(Reply::Status(status)) if !is_ok(&status) => Err(refusal(&status)),
            _ => Err(self.session.nonsense(NONSENSE)),
        }
    }

    /// A partial file is continued only at exactly its present end.
    fn open_rest(&mut self, file: &NewFile<'_>, names: &Names) -> Result<Opened> {
        let (partial, place) = (names.partial.as_slice(), names.place.as_slice());
        let requests = [
            Request::Open(partial, Access::Write, None),
            Request::Lstat(place),
            Request::Lstat(partial),
        ];
        let mut replies = ask_all(&mut self.session, &requests)?;
        let left = match replies.pop() {
            Some(reply) => self.looked_at(reply),
            None => Err(self.session.nonsense(NONSENSE)),
        };
        let old_mode = mode_of(replies.pop());
        let opened = match replies.pop() {
            Some(Reply::Handle(handle)) => Ok(handle),
            Some(Reply::Status(status)) if !is_ok(&status) => Err(refusal(&status)),
            _ => return Err(self.session.nonsense(NONSENSE)),
        };
        let is_as_left =
            matches!(left?, Some(stat) if stat.kind == Kind::File && stat.size == file.resume_at);
        match opened {
            Ok(handle) if is_as_left => Ok(Opened { handle, old_mode }),
            Err(error) if is_as_left => Err(error),
            Ok(handle) => {
                self.session.ask(&Request::Close(&handle))?;
                Err(other_partial())
            }
            Err(_) => Err(other_partial()),
        }
    }

    /// Moves all bytes under the partial name and looks at the file there, at its place and at where the old one goes; says
    /// what a failure leaves.
    fn store(
        &mut self,
        file: &NewFile<'_>,
        names: &Names,
        opened: &Opened,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Closed, (Error, Litter)> {
        let mut ahead = Ahead::new(file.resume_at);
        if let Err(error) = self.pump(file, &opened.handle, source, watch, &mut ahead) {
            return Err(self.stop(file, &opened.handle, error, ahead));
        }
        let closing = self
            .send_closing(file, names, opened)
            .map_err(|error| (error, Litter::Resumable))?;
        // The handle is gone by now, and with it the way to cut off what is behind a hole.
        let useless = |error| (error, Litter::Useless);
        while ahead.confirmed < file.size {
            if let Err(error) = self.confirm(&mut ahead) {
                return Err(useless(self.explain_full(error)));
            }
        }
        let finished = source.finish();
        let closed = self.take_closing(file, closing).map_err(useless)?;
        finished.map_err(useless)?;
        Ok(closed)
    }

    fn pump(
        &mut self,
        file: &NewFile<'_>,
        handle: &Handle,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
        ahead: &mut Ahead,
    ) -> Result<()> {
        let left = file.size.saturating_sub(file.resume_at).saturating_add(1);
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
        loop {
            let mut filled = 0;
            while filled < piece.len() {
                match source.read(&mut piece[filled..])? {
                    0 => break,
                    count => {
                        filled += count;
                        watch.moved(count as u64)?;
                    }
                }
            }
            let is_wrong = ahead.sent + filled as u64 > file.size
                || (filled < piece.len() && ahead.sent + (filled as u64) < file.size);
            if is_wrong {
                return Err(misread(source));
            }
            if filled == 0 {
                return Ok(());
            }
            while ahead.sent - ahead.confirmed > (WINDOW_BYTES - PIECE_BYTES) as u64 {
                self.confirm(ahead)?;
            }
            let request = Request::Write(handle, ahead.sent, &piece[..filled]);
            let id = self.session.send(&request)?;
            ahead.push(id, filled as u64);
        }
    }

    /// Waits for the oldest piece that is not confirmed.
    fn confirm(&mut self, ahead: &mut Ahead) -> Result<()> {
        let Some((id, bytes)) = ahead.pieces.pop_front() else {
            return Err(self.session.nonsense(NONSENSE));
        };
        match self.session.receive(id)? {
            Reply::Status(status) if is_ok(&status) => {
                ahead.confirmed += bytes;
                Ok(())
            }
            Reply::Status(status) => Err(refusal(&status)),
            _ => Err(self.session.nonsense(NONSENSE)),
        }
    }

    /// Ends a transfer that failed: what was confirmed stays, if it is wanted, and nothing beyond it.
    fn stop(
        &mut self,
        file: &NewFile<'_>,
        handle: &Handle,
        error: Error,
        mut ahead: Ahead,
    ) -> (Error, Litter) {
        let mut litter = Litter::after(&error);
        let keeps = file.keep_partial && litter == Litter::Resumable;
        let refused = matches!(error.kind(), ErrorKind::Refused { .. });
        let mut is_whole = !refused;
        while keeps && is_whole && !ahead.pieces.is_empty() {
            is_whole = self.confirm(&mut ahead).is_ok();
        }
        if keeps && !is_whole {
            let cut = Attributes {
                size: Some(ahead.confirmed),
                ..Attributes::default()
            };
            let reply = self.session.ask(&Request::Fsetstat(handle, cut));
            if !matches!(reply, Ok(Reply::Status(status)) if is_ok(&status)) {
                litter = Litter::Useless;
            }
        }
        // Whether it could be closed says nothing more.
        let _ = self.session.ask(&Request::Close(handle));
        let error = self.explain_full(error);
        if error.is_full() {
            litter = Litter::Useless;
        }
        (error, litter)
    }

    /// Sends what ends the file, behind its last piece.
    fn send_closing(
        &mut self,
        file: &NewFile<'_>,
        names: &Names,
        opened: &Opened,
    ) -> Result<Closing> {
        let handle = &opened.handle;
        let mut settings = Vec::new();
        settings.extend(wire_times(file.mtime));
        settings.extend(last_mode(file, opened.old_mode).map(mode_only));
        for attributes in settings {
            // What became of it the look tells.
            let id = self.session.send(&Request::Fsetstat(handle, attributes))?;
            self.session.forget(id);
        }
        let look = self.session.send(&Request::Fstat(handle))?;
        let is_synced = file.size <= SYNC_BYTES && self.session.offers(b"fsync@openssh.com");
        let sync = match is_synced {
            true => Some(self.session.send(&Request::Fsync(handle))?),
            false => None,
        };
        Ok(Closing {
            look,
            sync,
            close: self.session.send(&Request::Close(handle))?,
            place: self.session.send(&Request::Lstat(&names.place))?,
            aside: match &names.aside {
                Some(aside) => Some(self.session.send(&Request::Lstat(aside))?),
                None => None,
            },
        })
    }

    fn take_closing(&mut self, file: &NewFile<'_>, closing: Closing) -> Result<Closed> {
        let look = self.session.receive(closing.look)?;
        let sync = closing
            .sync
            .map(|id| self.session.receive(id))
            .transpose()?;
        let close = self.session.receive(closing.close)?;
        let place = self.session.receive(closing.place)?;
        let aside = closing
            .aside
            .map(|id| self.session.receive(id))
            .transpose()?;
        if let Some(sync) = sync {
            self.synced(sync)?;
        }
        self.done(close)?;
        let stored = match look {
            Reply::Attributes(attributes) => {
                check_mode(file, &attributes);
                Stored::of(&attributes, file.size, file.mtime)?
            }
            Reply::Status(status) if !is_ok(&status) => return Err(refusal(&status)),
            _ => return Err(self.session.nonsense(NONSENSE)),
        };
        let place = self.looked_at(place)?;
        let aside = aside.map(|reply| self.looked_at(reply)).transpose()?;
        Ok(Closed {
            stored,
            present: place,
            aside: aside.flatten(),
        })
    }

    /// A server that cannot do it for this kind of file says so, and is believed.
    pub(super) fn synced(&mut self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Status(Status {
                code: code::UNSUPPORTED,
                ..
            }) => Ok(()),
            reply => self.done(reply),
        }
    }
}

/// An open partial file, and the rights of the one whose place it takes.
struct Opened {
    handle: Handle,
    old_mode: Option<u32>,
}

/// Requests that end a file.
struct Closing {
    look: u32,
    sync: Option<u32>,
    close: u32,
    place: u32,
    aside: Option<u32>,
}

/// A file that is whole under its partial name.
struct Closed {
    stored: Stored,
    /// What is under the final name now.
    present: Option<Stat>,
    /// What is where the old file is to go.
    aside: Option<Stat>,
}

/// Pieces on their way, in the order of their places in the file.
struct Ahead {
    pieces: VecDeque<(u32, u64)>,
    sent: u64,
    /// Up to here every byte was confirmed.
    confirmed: u64,
}

impl Ahead {
    fn new(start: u64) -> Self {
        Self {
            pieces: VecDeque::new(),
            sent: start,
            confirmed: start,
        }
    }

    fn push(&mut self, id: u32, bytes: u64) {
        self.pieces.push_back((id, bytes));
        self.sent += bytes;
    }
}

/// The rights that a file takes over from another; programs are made executable for others again by whoever trusts them.
pub(super) const fn mode_only(mode: u32) -> Attributes {
    Attributes {
        size: None,
        mode: Some(mode),
        times: None,
    }
}

/// The rights of a file that was looked at.
pub(super) fn mode_of(look: Option<Reply>) -> Option<u32> {
    match look {
        Some(Reply::Attributes(attributes)) => {
            let is_file = stat_of(&attributes).is_some_and(|stat| stat.kind == Kind::File);
            attributes
                .mode
                .filter(|_| is_file)
                .map(|mode| mode & RIGHTS)
        }
        _ => None,
    }
}

/// The mode of a partial file while it is written.
pub(super) fn first_mode(file: &NewFile<'_>) -> Option<u32> {
    (file.mode.is_some() || file.replaces.is_some()).then_some(PRIVATE_MODE)
}

/// The mode of a partial file once it is whole: the one that is asked for, else that of the file it replaces.
pub(super) fn last_mode(file: &NewFile<'_>, old: Option<u32>) -> Option<u32> {
    file.mode.or(old.filter(|_| file.replaces.is_some()))
}

/// Sees whether the file got the mode that is asked for.
pub(super) fn check_mode(file: &NewFile<'_>, shown: &Attributes) {
    if let (Some(wanted), Some(shown)) = (file.mode, shown.mode)
        && shown & RIGHTS != wanted
    {
        tell_unset_mode(&format!("it shows {:o} after {wanted:o}", shown & RIGHTS));
    }
}

fn other_partial() -> Error {
    ErrorKind::Changed("the partial file is not as it was left").into()
}
