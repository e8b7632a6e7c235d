//! One small file on its way to its partial name, in two flights: open, then all the rest.

use super::flights::{Flights, NONSENSE, Outbox};
use super::place::{Names, Stored, wire_times};
use super::write::{first_mode, mode_of, mode_only};
use super::{PIECE_BYTES, is_ok, refusal};
use crate::error::{ErrorKind, Result};
use crate::replica::Stat;
use crate::sftp::{Access, Handle, Reply, Request};
use crate::time::Timestamp;

/// A file whose bytes are in memory.
pub(super) struct Waiting {
    pub(super) bytes: Box<[u8]>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) replaces: Option<Stat>,
    pub(super) names: Names,
}

/// A small file on its way to its partial name.
pub(super) struct Storing {
    pub(super) file: Waiting,
    syncs: bool,
    step: Step,
    old_mode: Option<u32>,
    pub(super) outcome: Option<Result<Stored>>,
}

/// Which flight is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Opening,
    /// Something was under the partial name.
    OpeningAgain,
    Writing,
    /// What was written is of no use.
    Removing,
}

impl Storing {
    pub(super) const fn new(file: Waiting, syncs: bool) -> Self {
        Self {
            file,
            syncs,
            step: Step::Begin,
            old_mode: None,
            outcome: None,
        }
    }

    fn open(&mut self, out: &mut Outbox<'_>) -> Result<()> {
        let names = &self.file.names;
        out.send(&Request::Open(
            &names.partial,
            Access::New,
            first_mode(self.file.replaces),
        ))?;
        out.send(&Request::Lstat(&names.place))
    }

    fn opened(&mut self, mut replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()> {
        self.old_mode = mode_of(replies.pop()).filter(|_| self.file.replaces.is_some());
        match replies.pop() {
            Some(Reply::Handle(handle)) => {
                self.step = Step::Writing;
                self.write(&handle, out)
            }
            Some(Reply::Status(status)) if !is_ok(&status) => {
                if self.step == Step::OpeningAgain {
                    self.outcome = Some(Err(refusal(&status)));
                    return Ok(());
                }
                // Left by an earlier run, and of no use now.
                self.step = Step::OpeningAgain;
                out.tell(&Request::Remove(&self.file.names.partial))?;
                self.open(out)
            }
            _ => Err(out.nonsense()),
        }
    }

    fn write(&self, handle: &Handle, out: &mut Outbox<'_>) -> Result<()> {
        let mut offset = 0;
        for piece in self.file.bytes.chunks(PIECE_BYTES) {
            out.send(&Request::Write(handle, offset, piece))?;
            offset += piece.len() as u64;
        }
        let mode = self.old_mode.map(mode_only);
        for attributes in wire_times(self.file.mtime).into_iter().chain(mode) {
            // What became of it the look tells.
            out.tell(&Request::Fsetstat(handle, attributes))?;
        }
        if self.syncs {
            out.tell(&Request::Fsync(handle))?;
        }
        out.send(&Request::Close(handle))?;
        out.send(&Request::Lstat(&self.file.names.partial))
    }

    fn written(&mut self, mut replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()> {
        let look = replies.pop();
        let refused = replies.into_iter().find_map(|reply| match reply {
            Reply::Status(status) => (!is_ok(&status)).then(|| refusal(&status)),
            _ => Some(ErrorKind::Protocol(NONSENSE.to_owned()).into()),
        });
        let size = self.file.bytes.len() as u64;
        let stored = match (refused, look) {
            (Some(error), _) => Err(error),
            (None, Some(Reply::Attributes(attributes))) => {
                Stored::of(&attributes, size, self.file.mtime)
            }
            (None, Some(Reply::Status(status))) if !is_ok(&status) => Err(refusal(&status)),
            (None, _) => return Err(out.nonsense()),
        };
        if stored.is_err() {
            self.step = Step::Removing;
            out.send(&Request::Remove(&self.file.names.partial))?;
        }
        self.outcome = Some(stored);
        Ok(())
    }
}

impl Flights for Storing {
    fn fly(&mut self, replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()> {
        match self.step {
            Step::Begin => {
                self.step = Step::Opening;
                self.open(out)
            }
            Step::Opening | Step::OpeningAgain => self.opened(replies, out),
            Step::Writing => self.written(replies, out),
            Step::Removing => Ok(()),
        }
    }
}
