//! Where lines come from: a file that several threads read at the same time, or memory; in pieces, whatever their number.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::unix::fs::FileExt;

/// How much is read at a time, in bytes: few calls of the kernel, and little beside all else.
const BUFFER_BYTES: usize = 64 << 10;

/// The longest line that is read, in bytes. A path of 4 KiB with each of its bytes escaped takes 24 KiB; a line beyond
/// this is none of ours.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Bytes that can be read from any place.
#[derive(Debug)]
pub(super) enum Source {
    /// In a file.
    File(File),
    /// In memory.
    Memory(Vec<u8>),
}

impl Source {
    /// Nothing at all.
    pub(super) const fn nothing() -> Self {
        Self::Memory(Vec::new())
    }

    /// Reads from that place on; 0 at the end.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File(file) => loop {
                match file.read_at(buffer, offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return done,
                }
            },
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
                let count = buffer.len().min(bytes.len() - start);
                buffer[..count].copy_from_slice(&bytes[start..start + count]);
                Ok(count)
            }
        }
    }
}

/// A line on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawLine<'b> {
    /// Where it begins.
    pub(super) offset: u64,
    /// Its bytes, without the end of the line.
    pub(super) text: &'b [u8],
    /// Whether it has an end. The last one may be torn, and one that is too long comes in pieces.
    pub(super) is_whole: bool,
}

/// Reads line after line.
pub(super) struct Lines<'s> {
    source: &'s Source,
    /// What is read: from where, and of it from where to where is not yet told.
    buffer: Vec<u8>,
    offset: u64,
    start: usize,
    filled: usize,
    /// Where reading ends.
    end: u64,
}

impl<'s> Lines<'s> {
    /// The lines from `start` to `end`, at most.
    pub(super) fn between(source: &'s Source, start: u64, end: u64) -> Self {
        let bytes = usize::try_from(end - start).unwrap_or(usize::MAX);
        Self {
            source,
            buffer: vec![0; bytes.clamp(1, BUFFER_BYTES)],
            offset: start,
            start: 0,
            filled: 0,
            end,
        }
    }

    /// All lines.
    pub(super) fn all(source: &'s Source) -> Self {
        Self::between(source, 0, u64::MAX)
    }

    /// The next line; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        let mut searched = 0;
        loop {
            let mut unsearched = &self.buffer[self.start + searched..self.filled];
            let available = unsearched.len();
            // Reading from memory does not fail.
            let length = searched + unsearched.skip_until(b'\n').unwrap_or(available);
            let is_whole = length > 0 && self.buffer[self.start + length - 1] == b'\n';
            searched += available;
            if is_whole {
                return Ok(self.tell(length, length - 1));
            }
            if searched >= MAX_LINE_BYTES || !self.fill()? {
                return Ok(self.tell(searched, searched));
            }
        }
    }

    /// The line of so many bytes that begins here, of which so many are text.
    fn tell(&mut self, length: usize, text_bytes: usize) -> Option<RawLine<'_>> {
        if length == 0 {
            return None;
        }
        let line = RawLine {
            offset: self.offset + self.start as u64,
            text: &self.buffer[self.start..self.start + text_bytes],
            is_whole: text_bytes < length,
        };
        self.start += length;
        Some(line)
    }

    /// Reads more behind what is there; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.offset += self.start as u64;
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.filled * 2, 0);
        }
        let place = self.offset + self.filled as u64;
        let room = usize::try_from(self.end.saturating_sub(place)).unwrap_or(usize::MAX);
        let room = room.min(self.buffer.len() - self.filled);
        let count = self
            .source
            .read_at(&mut self.buffer[self.filled..self.filled + room], place)?;
        self.filled += count;
        Ok(count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &Source, start: u64, end: u64) -> Vec<(u64, Vec<u8>, bool)> {
        let mut lines = Lines::between(source, start, end);
        let mut told = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            told.push((line.offset, line.text.to_vec(), line.is_whole));
        }
        told
    }

    #[test]
    fn lines_come_with_their_places_and_a_torn_one_says_so() {
        let source = Source::Memory(b"ab\n\ncde\nf".to_vec());
        let all = [
            (0, b"ab".to_vec(), true),
            (3, b"".to_vec(), true),
            (4, b"cde".to_vec(), true),
            (8, b"f".to_vec(), false),
        ];
        assert_eq!(told(&source, 0, u64::MAX), all);
        assert_eq!(told(&source, 3, 8), all[1..3]);
        assert_eq!(told(&source, 0, 2), [(0, b"ab".to_vec(), false)]);
        assert_eq!(told(&Source::nothing(), 0, 9), []);
    }

    #[test]
    fn a_line_may_be_longer_than_what_is_read_at_a_time_but_not_without_end() {
        let long = vec![b'x'; BUFFER_BYTES * 2 + 5];
        let source = Source::Memory([b"a\n", &long[..], b"\nb\n"].concat());
        let lines = told(&source, 0, u64::MAX);
        assert_eq!(lines.len(), 3);
        assert!(lines[1].1 == long && lines[1].2);
        assert_eq!(lines[2], (3 + long.len() as u64, b"b".to_vec(), true));
        let endless = Source::Memory(vec![b'x'; MAX_LINE_BYTES * 3]);
        let pieces = told(&endless, 0, u64::MAX);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| !piece.2));
    }
}
