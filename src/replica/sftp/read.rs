//! Reading a file: many requests ahead, and a last look at whether it stayed as it was.

use std::collections::VecDeque;

use super::flights::NONSENSE;
use super::look::stat_of;
use super::{PIECE_BYTES, SftpReplica, WINDOW_BYTES, is_ok, refusal};
use crate::error::{ErrorKind, Result};
use crate::replica::{Kind, Source, Stat};
use crate::sftp::{Handle, Reply, Request, code};

/// Asked for at first: a small file needs no more, and costs one round trip less than one whose size is asked for before.
const FIRST_PIECES: usize = 2;

/// Asked for once the size is known; it doubles with each piece.
const KNOWN_PIECES: usize = 8;

const CHANGED: ErrorKind = ErrorKind::Changed("the file changed while it was read");

impl SftpReplica {
    /// Opens a full path for reading.
    pub(super) fn open_path<'a>(
        &'a mut self,
        path: &[u8],
        offset: u64,
    ) -> Result<Box<dyn Source + 'a>> {
        let handle =
            match self
                .session
                .ask(&Request::Open(path, crate::sftp::Access::Read, None))?
            {
                Reply::Handle(handle) => handle,
                Reply::Status(status) if !is_ok(&status) => {
                    return Err(match self.look_at_one(path)? {
                        None => ErrorKind::NotFound.into(),
                        Some(_) => refusal(&status),
                    });
                }
                _ => return Err(self.session.nonsense(NONSENSE)),
            };
        let mut source = SftpSource {
            target: self,
            handle,
            opened_as: None,
            pieces: VecDeque::new(),
            arrived: Vec::new(),
            given: 0,
            next_offset: offset,
            read_to: offset,
            window: FIRST_PIECES,
            at_end: false,
            last_look: None,
        };
        source.begin()?;
        Ok(Box::new(source))
    }
}

/// A piece that was asked for.
struct Piece {
    id: u32,
    offset: u64,
    bytes: u32,
}

/// The bytes of a remote file on their way.
struct SftpSource<'a> {
    target: &'a mut SftpReplica,
    handle: Handle,
    /// What it was when it was opened.
    opened_as: Option<Stat>,
    /// In the order of their places in the file.
    pieces: VecDeque<Piece>,
    /// The piece at hand, and how much of it was handed out.
    arrived: Vec<u8>,
    given: usize,
    /// Where the next piece begins, and where what has arrived ends.
    next_offset: u64,
    read_to: u64,
    /// How many pieces may be under way.
    window: usize,
    at_end: bool,
    /// The look at the file that was sent behind the piece after its end.
    last_look: Option<u32>,
}

impl SftpSource<'_> {
    fn begin(&mut self) -> Result<()> {
        let look = self.target.session.send(&Request::Fstat(&self.handle))?;
        self.ask_ahead()?;
        // Behind the pieces, so that it tells whether they are of one file. For a larger one it is asked anew.
        let last_look = self.target.session.send(&Request::Fstat(&self.handle))?;
        self.last_look = Some(last_look);
        let stat = self.stat_from(look)?;
        if stat.kind != Kind::File {
            return Err(ErrorKind::Changed("it is not a regular file any more").into());
        }
        if stat.size < self.read_to {
            let what = "the file is shorter than what was already sent of it";
            return Err(ErrorKind::Changed(what).into());
        }
        self.opened_as = Some(stat);
        self.window = KNOWN_PIECES;
        if stat.size == self.read_to {
            self.at_end = true;
            self.drop_pieces();
        }
        Ok(())
    }

    fn stat_from(&mut self, look: u32) -> Result<Stat> {
        match self.target.session.receive(look)? {
            Reply::Attributes(attributes) => {
                stat_of(&attributes).ok_or_else(|| self.target.session.nonsense(NONSENSE))
            }
            Reply::Status(status) if !is_ok(&status) => Err(refusal(&status)),
            _ => Err(self.target.session.nonsense(NONSENSE)),
        }
    }

    /// Keeps the line full, up to the end that the file had when it was opened.
    fn ask_ahead(&mut self) -> Result<()> {
        let end = self.opened_as.map_or(u64::MAX, |stat| stat.size);
        while self.pieces.len() < self.window && self.next_offset < end {
            let (offset, bytes) = (self.next_offset, PIECE_BYTES as u32);
            let id = self
                .target
                .session
                .send(&Request::Read(&self.handle, offset, bytes))?;
            self.pieces.push_back(Piece { id, offset, bytes });
            self.next_offset += u64::from(bytes);
            if let Some(outdated) = self.last_look.take() {
                self.target.session.forget(outdated);
            }
        }
        Ok(())
    }

    /// Takes the next piece in.
    fn advance(&mut self) -> Result<()> {
        let Some(piece) = self.pieces.pop_front() else {
            self.at_end = true;
            return Ok(());
        };
        match self.target.session.receive(piece.id)? {
            Reply::Data(data) => self.take(&piece, data),
            Reply::Status(status) if status.code == code::EOF => {
                self.at_end = true;
                self.drop_pieces();
                Ok(())
            }
            Reply::Status(status) if !is_ok(&status) => Err(refusal(&status)),
            _ => Err(self.target.session.nonsense(NONSENSE)),
        }
    }

    fn take(&mut self, piece: &Piece, data: Vec<u8>) -> Result<()> {
        if data.is_empty() || data.len() > piece.bytes as usize {
            return Err(self
                .target
                .session
                .nonsense("it sent other bytes than were asked for"));
        }
        let missing = piece.bytes - data.len() as u32;
        self.read_to = piece.offset + data.len() as u64;
        self.arrived = data;
        self.given = 0;
        // The look behind the last piece tells whether the end is still there; no piece has to find it.
        if self.opened_as.is_some_and(|stat| self.read_to >= stat.size) {
            self.at_end = true;
            self.drop_pieces();
            return Ok(());
        }
        if missing > 0 {
            // A short piece is not the end.
            let offset = self.read_to;
            let id = self
                .target
                .session
                .send(&Request::Read(&self.handle, offset, missing))?;
            self.pieces.push_front(Piece {
                id,
                offset,
                bytes: missing,
            });
        }
        self.window = (self.window * 2).min(WINDOW_BYTES / PIECE_BYTES);
        self.ask_ahead()
    }

    fn drop_pieces(&mut self) {
        for piece in self.pieces.drain(..) {
            self.target.session.forget(piece.id);
        }
    }
}

impl Source for SftpSource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while self.given == self.arrived.len() && !self.at_end {
            self.advance()?;
        }
        let rest = &self.arrived[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }

    fn finish(&mut self) -> Result<()> {
        if !self.at_end && self.read(&mut [0])? != 0 {
            return Err(ErrorKind::Changed("the file has grown while it was read").into());
        }
        let now = match self.last_look.take() {
            Some(look) => self.stat_from(look)?,
            None => {
                let look = self.target.session.send(&Request::Fstat(&self.handle))?;
                self.stat_from(look)?
            }
        };
        if self.opened_as != Some(now) || self.read_to != now.size {
            return Err(CHANGED.into());
        }
        Ok(())
    }
}

impl Drop for SftpSource<'_> {
    fn drop(&mut self) {
        let session = &mut self.target.session;
        session.forget_all();
        // A session that is lost has closed it.
        if let Ok(id) = session.send(&Request::Close(&self.handle)) {
            // It travels with the next request: alone it would be waited for by the kernel (Nagle).
            session.forget(id);
        }
    }
}
