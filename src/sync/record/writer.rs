//! Writes an archive: line after line into a buffer of its own, with the checksum of all at the end.

use std::io::{self, Write};

use crate::path::{Fnv64, RelPath};
use crate::sync::record::block::Block;
use crate::sync::record::format;
use crate::sync::record::header::{Header, HeaderOf, write_end};
use crate::sync::record::line::DirLine;

/// How much is written at a time, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// An archive on its way into a file.
pub(super) struct Writer<'w> {
    out: &'w mut dyn Write,
    buffer: Vec<u8>,
    hash: Fnv64,
    lines: u64,
    bytes: u64,
}

impl<'w> Writer<'w> {
    /// Begins with that header.
    pub(super) fn begin(header: &Header, out: &'w mut dyn Write) -> Self {
        let mut writer = Self {
            out,
            buffer: Vec::with_capacity(BUFFER_BYTES + 4096),
            hash: Fnv64::new(),
            lines: 0,
            bytes: 0,
        };
        header.write(HeaderOf::Archive, &mut writer.buffer);
        writer
    }

    /// Writes the records of a directory.
    pub(super) fn block(&mut self, path: &RelPath, block: &Block) -> io::Result<()> {
        let line = DirLine {
            path: path.clone(),
            facts: block.facts(),
            rows: block.len() as u64,
            name_bytes: block.name_bytes() as u64,
        };
        format::write_dir(&line, &mut self.buffer);
        for record in block.iter() {
            format::write_record(&record, &mut self.buffer);
            self.write_if_full()?;
        }
        for part in block.parts() {
            format::write_part(part, &mut self.buffer);
        }
        for intent in block.intents() {
            format::write_intent(intent, &mut self.buffer);
        }
        self.write_if_full()
    }

    /// Writes lines as they stand in an earlier archive.
    pub(super) fn lines(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.write_if_full()
    }

    /// Writes the last line; says how many bytes there are in all.
    pub(super) fn end(mut self) -> io::Result<u64> {
        self.write()?;
        write_end(self.lines, self.hash.finish(), &mut self.buffer);
        self.write()?;
        Ok(self.bytes)
    }

    fn write_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.lines += self.buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.bytes += self.buffer.len() as u64;
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
