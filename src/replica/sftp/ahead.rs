//! What will be wanted next, asked for together: many directories or small files cost the round trips of one.
//!
//! It is used once, and only for what it was asked for: whatever went wrong ahead is found out again by the ordinary way,
//! which says why.

use std::collections::HashMap;

use super::flights::{Flights, Outbox, drive};
use super::look::{Scan, stat_of};
use super::{PIECE_BYTES, SftpReplica, UNDER_WAY};
use crate::error::Result;
use crate::replica::{Kind, SMALL_BYTES, Source, Stat};
use crate::sftp::{Access, Handle, Reply, Request};

/// Directories under way at a time: more gain nothing at 20 ms.
const DIRS_UNDER_WAY: usize = 32;

/// How many bytes of small files wait in memory.
const MAX_BYTES: u64 = 1 << 20;

/// What has come ahead, by its full path.
#[derive(Default)]
pub(super) struct Ahead {
    dirs: HashMap<Vec<u8>, Scan>,
    files: HashMap<Vec<u8>, Box<[u8]>>,
}

impl Ahead {
    pub(super) fn take_dir(&mut self, path: &[u8]) -> Option<Scan> {
        self.dirs.remove(path)
    }

    pub(super) fn take_file(&mut self, path: &[u8]) -> Option<Fetched> {
        let bytes = self.files.remove(path)?;
        Some(Fetched { bytes, given: 0 })
    }

    /// Something is changed there: nothing that is known of it holds any more.
    pub(super) fn forget(&mut self) {
        self.dirs.clear();
        self.files.clear();
    }
}

impl SftpReplica {
    pub(super) fn list_all_ahead(&mut self, paths: Vec<Vec<u8>>) {
        self.ahead.dirs.clear();
        let mut scans: Vec<Scan> = paths.iter().map(|path| Scan::new(path)).collect();
        // A loss is told by whoever asks next.
        if drive(&mut self.session, &mut scans, DIRS_UNDER_WAY).is_ok() {
            self.ahead.dirs.extend(paths.into_iter().zip(scans));
        }
    }

    pub(super) fn read_all_ahead(&mut self, files: Vec<(Vec<u8>, Stat)>) {
        self.ahead.files.clear();
        let mut left = MAX_BYTES;
        let mut fetches: Vec<Fetch> = Vec::new();
        for (path, stat) in files {
            if stat.kind != Kind::File || stat.size > SMALL_BYTES {
                continue;
            }
            let Some(rest) = left.checked_sub(stat.size) else {
                break;
            };
            left = rest;
            fetches.push(Fetch::new(path, stat.size));
        }
        // As above.
        if drive(&mut self.session, &mut fetches, UNDER_WAY).is_ok() {
            let fetched = fetches.into_iter();
            self.ahead
                .files
                .extend(fetched.filter_map(|fetch| Some((fetch.path, fetch.whole?))));
        }
    }
}

/// A small file that is in memory, and was the same before and after it was read.
pub(super) struct Fetched {
    bytes: Box<[u8]>,
    given: usize,
}

impl Source for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let rest = &self.bytes[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A small file on its way here.
struct Fetch {
    path: Vec<u8>,
    size: u64,
    is_open: bool,
    /// Its bytes, if all went as it should.
    whole: Option<Box<[u8]>>,
}

impl Fetch {
    const fn new(path: Vec<u8>, size: u64) -> Self {
        Self {
            path,
            size,
            is_open: false,
            whole: None,
        }
    }

    fn read(&self, handle: &Handle, out: &mut Outbox<'_>) -> Result<()> {
        out.send(&Request::Fstat(handle))?;
        for start in (0..self.size).step_by(PIECE_BYTES) {
            // At most a piece.
            let bytes = (self.size - start).min(PIECE_BYTES as u64) as u32;
            out.send(&Request::Read(handle, start, bytes))?;
        }
        out.send(&Request::Fstat(handle))?;
        out.tell(&Request::Close(handle))
    }

    /// All of it, if each piece is whole and the file was the same before and after.
    fn join(&self, replies: Vec<Reply>) -> Option<Box<[u8]>> {
        let mut replies = replies.into_iter();
        let look = |reply: Option<Reply>| match reply? {
            Reply::Attributes(attributes) => stat_of(&attributes),
            _ => None,
        };
        let before = look(replies.next())?;
        let after = look(replies.next_back())?;
        if before != after || before.kind != Kind::File || before.size != self.size {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.size as usize);
        for reply in replies {
            match reply {
                Reply::Data(piece) => bytes.extend_from_slice(&piece),
                _ => return None,
            }
        }
        (bytes.len() as u64 == self.size).then(|| bytes.into_boxed_slice())
    }
}

impl Flights for Fetch {
    fn fly(&mut self, mut replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()> {
        if replies.is_empty() {
            return out.send(&Request::Open(&self.path, Access::Read, None));
        }
        if self.is_open {
            self.whole = self.join(replies);
            return Ok(());
        }
        match replies.pop() {
            Some(Reply::Handle(handle)) => {
                self.is_open = true;
                self.read(&handle, out)
            }
            _ => Ok(()),
        }
    }
}
