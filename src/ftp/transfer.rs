//! A data connection in use: bytes in or out, counted, and how it went.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::command::Command;
use super::reply::Reply;
use crate::error::{ErrorKind, Phase, Result};
use crate::net::{Pipe, Stream};

/// A transfer may not be slower than this many bytes a minute, once it has run for [`DRIP_GRACE`]: a peer that sends
/// a byte before each silence gets too long is no peer.
const MIN_BYTES_PER_MINUTE: u64 = 1024;
/// See [`MIN_BYTES_PER_MINUTE`]: a slow disk may need to wake up first.
const DRIP_GRACE: Duration = Duration::from_secs(120);

/// A transfer that runs.
pub struct Transfer {
    pub(super) stream: Stream,
    pub(super) course: Course,
    /// Whether the server said that it goes on.
    pub(super) started: bool,
    /// The final reply, where it came early.
    pub(super) end: Option<Reply>,
    pub(super) since: Instant,
}

/// How a transfer went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    /// Whether the bytes go to the server.
    pub(super) is_upload: bool,
    /// Whether the TLS session of the control connection was resumed.
    pub(super) is_resumed: bool,
    /// Whether the connection stood before the command was sent, and before anybody asked for one.
    pub(super) was_early: bool,
    /// Whether the command was sent before the connection stood.
    pub(super) was_command_first: bool,
    pub(super) is_listing: bool,
    /// Whether the server has sent all that it wanted to.
    pub(super) has_ended: bool,
    /// Whether the connection failed, so that nothing more can be said on it.
    pub(super) is_broken: bool,
    /// Whether it ended before its TLS began, so that nobody knows who said that there is nothing.
    pub(super) is_unproven: bool,
    pub(super) moved_bytes: u64,
}

impl Transfer {
    pub(super) fn new(stream: Stream, command: &Command<'_>) -> Self {
        Self {
            stream,
            started: false,
            end: None,
            course: Course {
                is_upload: matches!(command, Command::Stor(_)),
                is_resumed: false,
                was_early: false,
                was_command_first: false,
                is_listing: is_listing(command),
                is_unproven: false,
                has_ended: false,
                is_broken: false,
                moved_bytes: 0,
            },
            since: Instant::now(),
        }
    }

    /// Whether it ended before its TLS began, so that only the control connection vouches for there being nothing.
    pub const fn is_unproven(&self) -> bool {
        self.course.is_unproven
    }

    /// Reads the next bytes; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.course.is_unproven {
            return Ok(0);
        }
        let read = self.stream.read(buffer);
        let count = self.note(read)?;
        self.course.has_ended |= count == 0 && !buffer.is_empty();
        self.count(count)?;
        Ok(count)
    }

    /// Moves up to `max` bytes into the pipe inside the kernel; see [`Stream::read_into`].
    pub fn read_into(&mut self, pipe: &Pipe, max: usize) -> Result<Option<usize>> {
        if self.course.is_unproven {
            return Ok(None);
        }
        let moved = self.stream.read_into(pipe, max);
        let Some(count) = self.note(moved)? else {
            return Ok(None);
        };
        self.course.has_ended |= count == 0;
        self.count(count)?;
        Ok(Some(count))
    }

    /// Writes all of the bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.stream.write_all(bytes);
        self.note(written)?;
        self.course.moved_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Moves up to `max` bytes of a file inside the kernel; see [`Stream::write_from`].
    pub fn write_from(&mut self, file: BorrowedFd<'_>, max: usize) -> Result<Option<usize>> {
        let moved = self.stream.write_from(file, max);
        let count = self.note(moved)?;
        self.course.moved_bytes += count.unwrap_or(0) as u64;
        Ok(count)
    }

    /// How long ago it began.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The bytes that were moved so far.
    pub const fn moved_bytes(&self) -> u64 {
        self.course.moved_bytes
    }

    const fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        self.course.is_broken |= result.is_err();
        result
    }

    /// Counts bytes and refuses a drip.
    fn count(&mut self, bytes: usize) -> Result<()> {
        self.course.moved_bytes += bytes as u64;
        let elapsed = self.since.elapsed();
        let wanted = elapsed.as_secs() / 60 * MIN_BYTES_PER_MINUTE;
        if bytes > 0 && elapsed > DRIP_GRACE && self.course.moved_bytes < wanted {
            return Err(ErrorKind::Timeout(Phase::Data).into());
        }
        Ok(())
    }
}

/// Whether the command asks for names, with nothing at stake.
pub(super) const fn is_listing(command: &Command<'_>) -> bool {
    matches!(
        command,
        Command::Mlsd(_) | Command::List | Command::ListAll | Command::ListPath(_) | Command::Nlst
    )
}
