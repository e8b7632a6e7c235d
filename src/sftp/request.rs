//! Requests of SFTP version 3 and of the extensions that servers have, as bytes. No I/O.

use super::packet::{Attributes, Handle};

/// The version that is spoken; all servers know it.
const VERSION: u32 = 3;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To be read.
    Read,
    /// To be written from its start; it must not be there. Where a server does not care, it is emptied.
    New,
    /// To be written where it is there already.
    Write,
}

impl Access {
    const fn flags(self) -> u32 {
        const READ: u32 = 1;
        const WRITE: u32 = 2;
        const CREATE: u32 = 8;
        const TRUNCATE: u32 = 0x10;
        const EXCLUSIVE: u32 = 0x20;
        match self {
            Self::Read => READ,
            Self::New => WRITE | CREATE | TRUNCATE | EXCLUSIVE,
            Self::Write => WRITE,
        }
    }
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Opens a file; a mode is given to a new one.
    Open(&'a [u8], Access, Option<u32>),
    /// Ends the use of a handle.
    Close(&'a Handle),
    /// Reads up to so many bytes from an offset.
    Read(&'a Handle, u64, u32),
    /// Writes at an offset.
    Write(&'a Handle, u64, &'a [u8]),
    /// What is at the path, of a link itself.
    Lstat(&'a [u8]),
    /// What is at the path, links followed.
    Stat(&'a [u8]),
    /// What an open file is.
    Fstat(&'a Handle),
    /// Changes what is said of an open file.
    Fsetstat(&'a Handle, Attributes),
    /// Opens a directory to be listed.
    OpenDir(&'a [u8]),
    /// The next names.
    ReadDir(&'a Handle),
    /// Removes a file or link.
    Remove(&'a [u8]),
    /// Makes a directory.
    MakeDir(&'a [u8]),
    /// Removes an empty directory.
    RemoveDir(&'a [u8]),
    /// The path without links and dots.
    RealPath(&'a [u8]),
    /// Renames; most servers replace nothing.
    Rename(&'a [u8], &'a [u8]),
    /// Renames as rename(2) does, replacing a file.
    PosixRename(&'a [u8], &'a [u8]),
    /// What statvfs(3) says.
    StatVfs(&'a [u8]),
    /// Has an open file written to the disk.
    Fsync(&'a Handle),
    /// A digest of a file, in the first algorithm of this list that is known.
    CheckFile(&'a [u8], &'a [u8]),
}

impl Request<'_> {
    /// Appends the packet.
    pub fn write_to(&self, id: u32, out: &mut Vec<u8>) {
        let start = out.len();
        push_u32(out, 0);
        out.push(self.kind());
        push_u32(out, id);
        self.write_fields(out);
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn write_fields(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Open(path, access, mode) => {
                push_string(out, path);
                push_u32(out, access.flags());
                let attributes = Attributes {
                    mode,
                    ..Attributes::default()
                };
                attributes.write_to(out);
            }
            Self::Close(handle) | Self::Fstat(handle) | Self::ReadDir(handle) => {
                push_string(out, &handle.0);
            }
            Self::Read(handle, offset, length) => {
                push_string(out, &handle.0);
                out.extend_from_slice(&offset.to_be_bytes());
                push_u32(out, length);
            }
            Self::Write(handle, offset, data) => {
                push_string(out, &handle.0);
                out.extend_from_slice(&offset.to_be_bytes());
                push_string(out, data);
            }
            Self::Fsetstat(handle, attributes) => {
                push_string(out, &handle.0);
                attributes.write_to(out);
            }
            Self::Lstat(path)
            | Self::Stat(path)
            | Self::OpenDir(path)
            | Self::Remove(path)
            | Self::RemoveDir(path)
            | Self::RealPath(path) => push_string(out, path),
            Self::MakeDir(path) => {
                push_string(out, path);
                Attributes::default().write_to(out);
            }
            Self::Rename(from, to) => {
                push_string(out, from);
                push_string(out, to);
            }
            Self::PosixRename(from, to) => {
                push_string(out, b"posix-rename@openssh.com");
                push_string(out, from);
                push_string(out, to);
            }
            Self::StatVfs(path) => {
                push_string(out, b"statvfs@openssh.com");
                push_string(out, path);
            }
            Self::Fsync(handle) => {
                push_string(out, b"fsync@openssh.com");
                push_string(out, &handle.0);
            }
            Self::CheckFile(path, algorithms) => {
                push_string(out, b"check-file-name");
                push_string(out, path);
                push_string(out, algorithms);
                // All of the file, as one block.
                out.extend_from_slice(&[0; 20]);
            }
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Open(..) => 3,
            Self::Close(_) => 4,
            Self::Read(..) => 5,
            Self::Write(..) => 6,
            Self::Lstat(_) => 7,
            Self::Fstat(_) => 8,
            Self::Fsetstat(..) => 10,
            Self::OpenDir(_) => 11,
            Self::ReadDir(_) => 12,
            Self::Remove(_) => 13,
            Self::MakeDir(_) => 14,
            Self::RemoveDir(_) => 15,
            Self::RealPath(_) => 16,
            Self::Stat(_) => 17,
            Self::Rename(..) => 18,
            Self::PosixRename(..) | Self::StatVfs(_) | Self::Fsync(_) | Self::CheckFile(..) => 200,
        }
    }
}

/// The packet that a client begins with.
pub(super) fn init() -> [u8; 9] {
    let mut packet = [0, 0, 0, 5, 1, 0, 0, 0, 0];
    packet[5..].copy_from_slice(&VERSION.to_be_bytes());
    packet
}

impl Attributes {
    fn write_to(&self, out: &mut Vec<u8>) {
        let flag = |is_there: bool, flag: u32| if is_there { flag } else { 0 };
        let flags = flag(self.size.is_some(), Self::SIZE)
            | flag(self.mode.is_some(), Self::MODE)
            | flag(self.times.is_some(), Self::TIMES);
        push_u32(out, flags);
        if let Some(size) = self.size {
            out.extend_from_slice(&size.to_be_bytes());
        }
        if let Some(mode) = self.mode {
            push_u32(out, mode);
        }
        if let Some((read, changed)) = self.times {
            push_u32(out, read);
            push_u32(out, changed);
        }
    }
}

fn push_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    // Names are short and data comes in pieces; what has no 32-bit length is refused by any server.
    push_u32(out, u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_layout_of_the_draft() {
        let bytes = |request: Request<'_>| {
            let mut out = Vec::new();
            request.write_to(7, &mut out);
            out
        };
        assert_eq!(
            bytes(Request::Open(b"/f", Access::New, Some(0o600))),
            b"\0\0\0\x17\x03\0\0\0\x07\0\0\0\x02/f\0\0\0\x3a\0\0\0\x04\0\0\x01\x80"
        );
        let handle = Handle(Box::new(*b"h"));
        assert_eq!(
            bytes(Request::Write(&handle, 5, b"xy")),
            b"\0\0\0\x18\x06\0\0\0\x07\0\0\0\x01h\0\0\0\0\0\0\0\x05\0\0\0\x02xy"
        );
        let times = Attributes {
            times: Some((1, 2)),
            ..Attributes::default()
        };
        assert_eq!(
            bytes(Request::Fsetstat(&handle, times)),
            b"\0\0\0\x16\x0a\0\0\0\x07\0\0\0\x01h\0\0\0\x08\0\0\0\x01\0\0\0\x02"
        );
        assert_eq!(
            bytes(Request::Fsync(&handle)),
            b"\0\0\0\x1f\xc8\0\0\0\x07\0\0\0\x11fsync@openssh.com\0\0\0\x01h"
        );
        assert_eq!(init(), *b"\0\0\0\x05\x01\0\0\0\x03");
    }
}
