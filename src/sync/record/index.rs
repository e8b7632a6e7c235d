//! Where in an archive the lines of each directory are: one pass over all of it, which also tells whether it is whole.

use std::cmp::Ordering;
use std::io;
use std::ops::Range;

use crate::path::{Fnv64, RelPath};
use crate::sync::record::archive::DirFacts;
use crate::sync::record::block::Block;
use crate::sync::record::header::{Header, HeaderOf, write_end};
use crate::sync::record::line::{self, Line, Scratch};
use crate::sync::record::lines::{Lines, Source};

/// The directories of an archive, in the order in which a walk meets them.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// All paths, one behind the other.
    arena: Vec<u8>,
    rows: Vec<Row>,
    /// Where the line of the first directory begins, where that of the end does.
    start: u64,
    end: u64,
    /// Those in which a rename was begun and not ended.
    moves: Vec<usize>,
}

#[derive(Debug)]
struct Row {
    offset: u64,
    path_end: u32,
    files: u32,
}

/// What a file that should be an archive is.
#[derive(Debug)]
pub(super) enum Found {
    /// One that is whole.
    Whole(Header, Box<Index>),
    /// One that is not, and why.
    Damaged(&'static str),
}

impl Index {
    /// Reads an archive from its first byte to its last.
    pub(super) fn read(source: &Source) -> io::Result<Found> {
        let mut lines = Lines::all(source);
        let mut scratch = Scratch::default();
        let mut index = Self::default();
        let mut hash = Fnv64::new();
        let mut header = None;
        let mut count = 0;
        while let Some(line) = lines.next()? {
            if line.text.starts_with(b"{\"end\":") {
                let mut expected = Vec::new();
                write_end(count, hash.finish(), &mut expected);
                index.end = line.offset;
                let is_as_expected =
                    line.is_whole && expected.strip_suffix(b"\n") == Some(line.text);
                let is_last = is_as_expected && lines.next()?.is_none();
                return Ok(match header {
                    Some(header) if is_last => Found::Whole(header, Box::new(index)),
                    Some(_) | None => Found::Damaged("its checksum does not fit"),
                });
            }
            if !line.is_whole {
                break;
            }
            if count == 0 {
                header = Header::parse(HeaderOf::Archive, line.text);
                index.start = line.offset + line.text.len() as u64 + 1;
            } else if !index.take(line.offset, line.text, &mut scratch) {
                return Ok(Found::Damaged("its directories are out of order"));
            }
            hash.update(line.text);
            hash.update(b"\n");
            count += 1;
        }
        Ok(Found::Damaged("it has no end"))
    }

    /// Takes in a line; false when no archive can have it.
    fn take(&mut self, offset: u64, text: &[u8], scratch: &mut Scratch) -> bool {
        if text.starts_with(b"{\"f\":") {
            if let Some(row) = self.rows.last_mut() {
                row.files += 1;
            }
        } else if text.starts_with(b"{\"move\":") {
            let place = self.rows.len().saturating_sub(1);
            if self.moves.last() != Some(&place) {
                self.moves.push(place);
            }
        } else if text.starts_with(b"{\"dir\":") {
            let Some(Line::Dir(dir)) = line::parse(text, scratch) else {
                return false;
            };
            let path = dir.path.as_bytes();
            let is_first = self.rows.is_empty();
            if !is_first && walk_order(self.path(self.rows.len() - 1), path) != Ordering::Less {
                return false;
            }
            let Ok(path_end) = u32::try_from(self.arena.len() + path.len()) else {
                return false;
            };
            self.arena.extend_from_slice(path);
            self.rows.push(Row {
                offset,
                path_end,
                files: 0,
            });
        }
        true
    }

    /// How many directories there are.
    pub(super) const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The bytes of the path at that place.
    fn path(&self, place: usize) -> &[u8] {
        let start = match place.checked_sub(1) {
            Some(before) => self.rows[before].path_end,
            None => 0,
        };
        &self.arena[start as usize..self.rows[place].path_end as usize]
    }

    /// The directory at that place.
    pub(super) fn dir(&self, place: usize) -> RelPath {
        RelPath::parse(self.path(place)).expect("only good paths get into an index")
    }

    /// How many files are recorded in the directory at that place.
    pub(super) fn files(&self, place: usize) -> u64 {
        self.rows[place].files.into()
    }

    /// Where that directory is, or where it would be.
    pub(super) fn find(&self, dir: &RelPath) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.rows.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match walk_order(self.path(middle), dir.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// The directory and all below it.
    pub(super) fn within(&self, dir: &RelPath) -> Range<usize> {
        let start = self.find(dir).unwrap_or_else(|place| place);
        let is_within = |place: &usize| {
            let path = self.path(*place);
            dir.is_root()
                || path
                    .strip_prefix(dir.as_bytes())
                    .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        };
        let count = (start..self.rows.len()).take_while(is_within).count();
        start..start + count
    }

    /// Where the line of the end begins.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// Those in which a rename was begun and not ended.
    pub(super) fn moves(&self) -> &[usize] {
        &self.moves
    }

    /// Where the lines of the directories from `start` to before `end` are.
    pub(super) fn bytes(&self, places: Range<usize>) -> Range<u64> {
        let offset = |place: usize| self.rows.get(place).map_or(self.end, |row| row.offset);
        offset(places.start)..offset(places.end)
    }

    /// Reads the block at that place; `dir` is what its directory is called now.
    pub(super) fn block(
        &self,
        source: &Source,
        place: usize,
        dir: &RelPath,
        room: Room,
    ) -> io::Result<Block> {
        let bytes = self.bytes(place..place + 1);
        let mut lines = Lines::between(source, bytes.start, bytes.end);
        let mut scratch = Scratch::default();
        let mut block = Block::empty();
        let limit = bytes.end - bytes.start;
        while let Some(line) = lines.next()? {
            match line::parse(line.text, &mut scratch) {
                Some(Line::Dir(dir)) => {
                    block.set_facts(dir.facts);
                    let rows = dir.rows.min(limit) as usize + room.rows;
                    block.reserve(rows, dir.name_bytes.min(limit) as usize + room.name_bytes);
                }
                Some(Line::Record(record)) => block.push(&record),
                Some(Line::Part(part)) => block.add_part(part),
                Some(Line::Intent(step)) => block.intend(step.in_dir(dir)),
                // What only a journal says, and what a later version added.
                Some(
                    Line::In(_)
                    | Line::Forget(_)
                    | Line::Undone(_)
                    | Line::NoPart(_)
                    | Line::Facts(_)
                    | Line::Drop
                    | Line::MovedFrom(_)
                    | Line::Unknown,
                ) => {}
                None => return Err(senseless()),
            }
        }
        block.settle();
        Ok(block)
    }

    /// What is known of the directory at that place: its first line alone is read.
    pub(super) fn facts(&self, source: &Source, place: usize) -> io::Result<DirFacts> {
        let bytes = self.bytes(place..place + 1);
        let mut scratch = Scratch::default();
        for end in [bytes.start + FIRST_LINE_BYTES, bytes.end] {
            let mut lines = Lines::between(source, bytes.start, end.min(bytes.end));
            if let Some(line) = lines.next()?
                && line.is_whole
                && let Some(Line::Dir(dir)) = line::parse(line.text, &mut scratch)
            {
                return Ok(dir.facts);
            }
        }
        Err(senseless())
    }
}

/// As much as the first line of a directory nearly always takes, in bytes.
const FIRST_LINE_BYTES: u64 = 512;

/// A line of an archive that is whole says what no line should.
fn senseless() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a line makes no sense")
}

/// Room that a block is to have beyond what the archive puts into it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) rows: usize,
    pub(super) name_bytes: usize,
}

/// The order in which a walk meets directories: by their names, one after the other. No name holds a NUL, so a `/` sorts
/// as one.
pub(super) fn walk_order(one: &[u8], two: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(rank).cmp(two.iter().map(rank))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::record::scene::{Random, path};

    #[test]
    fn the_order_is_that_of_paths() {
        let mut random = Random(1);
        let mut paths = vec![RelPath::root()];
        for _ in 0..300 {
            let letter = |random: &mut Random| b"ab-/\xff"[random.below(5) as usize];
            let count = random.below(7);
            let bytes: Vec<u8> = (0..count).map(|_| letter(&mut random)).collect();
            paths.push(RelPath::parse(&bytes).unwrap());
        }
        for one in &paths {
            for two in &paths {
                assert_eq!(walk_order(one.as_bytes(), two.as_bytes()), one.cmp(two));
            }
        }
    }

    fn index(dirs: &[&str]) -> Index {
        let mut text = b"{\"coracle\":1,\"peer\":\"p\"}\n".to_vec();
        for dir in dirs {
            text.extend_from_slice(format!("{{\"dir\":\"{dir}\"}}\n{{\"f\":\"x\"}}\n").as_bytes());
        }
        let mut hash = Fnv64::new();
        hash.update(&text);
        write_end(1 + 2 * dirs.len() as u64, hash.finish(), &mut text);
        match Index::read(&Source::Memory(text)).unwrap() {
            Found::Whole(_, index) => *index,
            Found::Damaged(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_directory_and_all_below_it_are_in_one_piece() {
        let index = index(&["", "a", "a/b", "a/b/c", "a-b", "b"]);
        assert_eq!(index.within(&path("a")), 1..4);
        assert_eq!(index.within(&path("a/b")), 2..4);
        assert_eq!(index.within(&path("")), 0..6);
        assert_eq!(index.within(&path("a/x")), 4..4);
        assert_eq!(index.find(&path("a-b")), Ok(4));
        assert_eq!(index.find(&path("a/c")), Err(4));
        assert_eq!(index.files(3), 1);
        assert_eq!(index.dir(3), path("a/b/c"));
    }
}
