//! One small file on its way, in three flights: open, then all of its bytes, then its name.

use super::flights::{Flights, Outbox};
use super::look::{SPECIAL, stat_of};
use super::place::{Names, Stored, rename_requests, wire_times};
use super::write::{check_mode, first_mode, last_mode, mode_of, mode_only};
use super::{PIECE_BYTES, is_ok, refusal};
use crate::error::{Error, Result};
use crate::replica::checks::check_replaced;
use crate::replica::{NewFile, Stat};
use crate::sftp::{Access, Handle, Reply, Request, code};

/// A small file on its way.
pub(super) struct Storing<'a> {
    file: &'a NewFile<'a>,
    content: &'a [u8],
    pub(super) names: Names,
    syncs: bool,
    /// Whether the server is known to rename over files, or not known not to.
    renames_over: bool,
    /// Told that the file is about to get its name.
    placing: Box<dyn FnMut(&Stored) + 'a>,
    step: Step,
    mode: Option<u32>,
    pub(super) outcome: Outcome,
}

/// What became of it.
pub(super) enum Outcome {
    /// The session ended before.
    Pending,
    /// It could not be written, and its partial file is gone.
    Failed(Error),
    /// It is whole under its partial name, and was renamed if there are replies to that.
    Stored {
        stored: Stored,
        replaces: bool,
        renamed: Option<Vec<Reply>>,
    },
}

/// Which flight is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Opening,
    /// Something was under the partial name.
    OpeningAgain,
    Writing,
    Naming,
    /// What was written is of no use.
    Removing,
}

impl<'a> Storing<'a> {
    pub(super) const fn new(
        file: &'a NewFile<'a>,
        content: &'a [u8],
        names: Names,
        syncs: bool,
        renames_over: bool,
        placing: Box<dyn FnMut(&Stored) + 'a>,
    ) -> Self {
        Self {
            file,
            content,
            names,
            syncs,
            renames_over,
            placing,
            step: Step::Begin,
            mode: None,
            outcome: Outcome::Pending,
        }
    }

    fn open(&mut self, out: &mut Outbox<'_>) -> Result<()> {
        let names = &self.names;
        out.send(&Request::Open(
            &names.partial,
            Access::New,
            first_mode(self.file),
        ))?;
        out.send(&Request::Lstat(&names.place))
    }

    fn opened(&mut self, mut replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()> {
        self.mode = last_mode(self.file, mode_of(replies.pop()));
        match replies.pop() {
            Some(Reply::Handle(handle)) => {
                self.step = Step::Writing;
                self.write(&handle, out)
            }
            Some(Reply::Status(status)) if !is_ok(&status) => {
                if self.step == Step::OpeningAgain {
                    self.outcome = Outcome::Failed(refusal(&status));
                    return Ok(());
                }
                // Left by an earlier run, and of no use now.
                self.step = Step::OpeningAgain;
                out.tell(&Request::Remove(&self.names.partial))?;
                self.open(out)
            }
            _ => Err(out.nonsense()),
        }
    }

    fn write(&self, handle: &Handle, out: &mut Outbox<'_>) -> Result<()> {
        let mut offset = 0;
        for piece in self.content.chunks(PIECE_BYTES) {
            out.send(&Request::Write(handle, offset, piece))?;
            offset += piece.len() as u64;
        }
        let mode = self.mode.map(mode_only);
        for attributes in wire_times(self.file.mtime).into_iter().chain(mode) {
            // What became of it the look tells.
            out.tell(&Request::Fsetstat(handle, attributes))?;
        }
        if self.syncs {
            out.tell(&Request::Fsync(handle))?;
        }
        out.send(&Request::Close(handle))?;
        out.send(&Request::Lstat(&self.names.partial))?;
        out.send(&Request::Lstat(&self.names.place))
    }

    fn written(&mut self, replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()> {
        match self.judge(replies, out)? {
            Ok((stored, present)) => {
                (self.placing)(&stored);
                let replaces = present.is_some();
                if !replaces || self.renames_over {
                    self.step = Step::Naming;
                    for request in rename_requests(&self.names, replaces) {
                        out.send(&request)?;
                    }
                }
                self.outcome = Outcome::Stored {
                    stored,
                    replaces,
                    renamed: None,
                };
            }
            Err(error) => {
                self.step = Step::Removing;
                self.outcome = Outcome::Failed(error);
                out.send(&Request::Remove(&self.names.partial))?;
            }
        }
        Ok(())
    }

    /// Whether all of it is there, and may take its place.
    fn judge(
        &self,
        mut replies: Vec<Reply>,
        out: &mut Outbox<'_>,
    ) -> Result<Result<(Stored, Option<Stat>)>> {
        let (Some(place), Some(partial)) = (replies.pop(), replies.pop()) else {
            return Err(out.nonsense());
        };
        for reply in replies {
            match reply {
                Reply::Status(status) if is_ok(&status) => {}
                Reply::Status(status) => return Ok(Err(refusal(&status))),
                _ => return Err(out.nonsense()),
            }
        }
        let stored = match partial {
            Reply::Attributes(attributes) => {
                check_mode(self.file, &attributes);
                Stored::of(&attributes, self.content.len() as u64, self.file.mtime)
            }
            Reply::Status(status) if !is_ok(&status) => Err(refusal(&status)),
            _ => return Err(out.nonsense()),
        };
        let present = match place {
            Reply::Attributes(attributes) => Some(stat_of(&attributes).unwrap_or(SPECIAL)),
            Reply::Status(status) if status.code == code::NO_SUCH_FILE => None,
            Reply::Status(status) if !is_ok(&status) => return Ok(Err(refusal(&status))),
            _ => return Err(out.nonsense()),
        };
        Ok(stored.and_then(|stored| {
            check_replaced(self.file.replaces, present)?;
            Ok((stored, present))
        }))
    }
}

impl Flights for Storing<'_> {
    fn fly(&mut self, replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()> {
        match self.step {
            Step::Begin => {
                self.step = Step::Opening;
                self.open(out)
            }
            Step::Opening | Step::OpeningAgain => self.opened(replies, out),
            Step::Writing => self.written(replies, out),
            Step::Naming => {
                if let Outcome::Stored { renamed, .. } = &mut self.outcome {
                    *renamed = Some(replies);
                }
                Ok(())
            }
            Step::Removing => Ok(()),
        }
    }
}
