//! The first and the last line: whose archive or journal this is, which one, and whether it is whole and in its place.
//!
//! A file of ours names its own inode and time of birth. No program that copies or restores it can bring both along, so a
//! copy is told from the one that this program made.

use crate::sync::record::fields::{Fields, Value};
use crate::sync::record::format::{write_hex, write_key, write_number, write_text, write_time};
use crate::sync::record::json;
use crate::time::Timestamp;

/// The format that this program writes, and the newest that it reads.
pub(super) const FORMAT: u64 = 1;

/// What tells a file or directory from every other, where the file system keeps that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seal {
    /// Its inode; 0 where the file system keeps none.
    pub(super) inode: u64,
    /// When it was made, where the file system tells.
    pub(super) born: Option<Timestamp>,
}

impl Seal {
    /// Whether this can be the file that was sealed so: what either does not know is not compared.
    pub(super) fn may_be(self, sealed: Self) -> bool {
        let is_same_inode = self.inode == 0 || sealed.inode == 0 || self.inode == sealed.inode;
        let is_same_birth = match (self.born, sealed.born) {
            (Some(born), Some(sealed)) => born == sealed,
            (None, _) | (_, None) => true,
        };
        is_same_inode && is_same_birth
    }
}

/// What tells a local root from every other, for an archive that does not lie in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RootSeal {
    /// Its inode; 0 where the file system keeps none.
    pub(super) inode: u64,
    /// The identity of its file system; 0 where it has none.
    pub(super) fsid: u64,
}

impl RootSeal {
    /// Whether this can be the root that was sealed so.
    pub(super) const fn may_be(self, sealed: Self) -> bool {
        (self.inode == 0 || sealed.inode == 0 || self.inode == sealed.inode)
            && (self.fsid == 0 || sealed.fsid == 0 || self.fsid == sealed.fsid)
    }
}

/// Which archive this is; of a journal, to which archive it belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The format.
    pub(super) format: u64,
    /// The peer's whole name.
    pub(super) peer: String,
    /// How many archives there were, this one included; 0 for one that was never written.
    pub(super) number: u64,
    /// A random number; 0 for an archive that was never written.
    pub(super) id: u64,
    /// The file in which this stands.
    pub(super) seal: Seal,
    /// The local root, where the file does not lie in it.
    pub(super) root: RootSeal,
    /// Of an archive: rows of pyftpsync's were taken over, and are still to be taken out there.
    pub(super) is_adopting: bool,
    /// Of a journal: since which boot of the machine it is written; empty where the machine does not tell.
    pub(super) boot: String,
}

/// What kind of file a header begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderOf {
    Archive,
    Journal,
}

impl HeaderOf {
    const fn key(self) -> &'static [u8] {
        match self {
            Self::Archive => b"coracle",
            Self::Journal => b"journal",
        }
    }
}

impl Header {
    /// Reads a header; none when the line is none of this kind.
    pub(super) fn parse(of: HeaderOf, line: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(line)?;
        let (key, format) = fields.next().ok()??;
        if key != of.key() {
            return None;
        }
        let mut header = Self {
            format: format.number()?,
            ..Self::default()
        };
        let (mut peer, mut scratch) = (None, Vec::new());
        while let Some((key, value)) = fields.next().ok()? {
            match key {
                b"peer" => peer = Some(text(value, &mut scratch)?),
                b"number" => header.number = value.number()?,
                b"id" => header.id = value.hex()?,
                b"ino" => header.seal.inode = value.number()?,
                b"born" => header.seal.born = Some(value.time()?),
                b"root_ino" => header.root.inode = value.number()?,
                b"root_fs" => header.root.fsid = value.hex()?,
                b"adopting" => header.is_adopting = value.is_true(),
                b"boot" => header.boot = text(value, &mut scratch)?,
                _ => {}
            }
        }
        header.peer = peer?;
        Some(header)
    }

    /// Writes the header.
    pub(super) fn write(&self, of: HeaderOf, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(of.key());
        out.extend_from_slice(b"\":");
        json::write_number(self.format, out);
        write_string(b"peer", &self.peer, out);
        write_number(b"number", self.number, out);
        write_hex(b"id", self.id, out);
        if self.seal.inode != 0 {
            write_number(b"ino", self.seal.inode, out);
        }
        if let Some(born) = self.seal.born {
            write_time(b"born", born, out);
        }
        if self.root.inode != 0 {
            write_number(b"root_ino", self.root.inode, out);
        }
        if self.root.fsid != 0 {
            write_hex(b"root_fs", self.root.fsid, out);
        }
        if self.is_adopting {
            out.extend_from_slice(b",\"adopting\":true");
        }
        if !self.boot.is_empty() {
            write_string(b"boot", &self.boot, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn text(value: Value<'_>, scratch: &mut Vec<u8>) -> Option<String> {
    String::from_utf8(value.bytes(scratch)?.to_vec()).ok()
}

fn write_string(key: &[u8], text: &str, out: &mut Vec<u8>) {
    write_key(key, out);
    write_text(text.as_bytes(), out);
}

/// Writes the last line: how many lines there are before it, and the checksum of all their bytes.
pub(super) fn write_end(lines: u64, sum: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"end\":");
    json::write_number(lines, out);
    write_hex(b"sum", sum, out);
    out.extend_from_slice(b"}\n");
}
