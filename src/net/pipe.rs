//! Moving bytes from a socket to a file inside the kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags};

/// A pipe through which bytes go from a socket to a file without a copy of them in this process.
#[derive(Debug)]
pub struct Pipe {
    exit: OwnedFd,
    entry: OwnedFd,
}

impl Pipe {
    /// What it holds, in bytes: the 64 KiB that pipes have by themselves cost four times the system calls and a third more
    /// CPU. A buffer as large would do as well, but take that memory from this process for each connection.
    pub const BYTES: usize = 256 * 1024;

    /// Makes one.
    pub fn new() -> io::Result<Self> {
        let (exit, entry) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        // Best effort: a user with many pipes gets small ones.
        let _ = nix::fcntl::fcntl(&entry, FcntlArg::F_SETPIPE_SZ(Self::BYTES as i32));
        Ok(Self { exit, entry })
    }

    /// Takes up to `max` bytes from the socket, in one go; 0 at its end. Waits as long as reading it would.
    pub fn fill(&self, socket: BorrowedFd<'_>, max: usize) -> nix::Result<usize> {
        splice(socket, &self.entry, max)
    }

    /// Writes up to `max` bytes at the file's present place; never more than are in the pipe.
    pub fn drain(&self, file: BorrowedFd<'_>, max: usize) -> nix::Result<usize> {
        splice(&self.exit, file, max)
    }

    /// Reads what is in the pipe, for a file that cannot take it.
    pub fn read(&self, buffer: &mut [u8]) -> nix::Result<usize> {
        nix::unistd::read(&self.exit, buffer)
    }
}

fn splice(from: impl AsFd, to: impl AsFd, max: usize) -> nix::Result<usize> {
    nix::fcntl::splice(from, None, to, None, max, SpliceFFlags::empty())
}
