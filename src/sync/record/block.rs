//! The records of one directory: compact, because a directory may hold 50,000 files and the router 32 MB.
//!
//! Names lie in one arena, and a row is 48 bytes. What few rows have lies in a table beside them.

use std::collections::BTreeMap;
use std::fmt;

use crate::path::Name;
use crate::replica::{Mtime, Precision};
use crate::side::Sides;
use crate::sync::record::archive::{Change, DirFacts, Intent, Part, Record, Shown, What};
use crate::time::Timestamp;

/// The records of one directory, sorted by the bytes of their names, and what else is known of it.
#[derive(Clone, Default)]
pub struct Block {
    facts: DirFacts,
    rows: Vec<Row>,
    arena: Vec<u8>,
    /// What few rows have, by where their names begin in the arena.
    rare: BTreeMap<u32, Rare>,
    intents: Vec<Intent>,
    parts: Vec<Part>,
    /// Names of which a run that was cut off noted a record.
    fresh: Vec<Box<[u8]>>,
    /// Whether rows were pushed out of order, or of a name that is there already.
    is_unsettled: bool,
}

impl Block {
    /// A block of which nothing is known.
    pub fn empty() -> Self {
        Self::default()
    }

    /// What is known of the directory itself.
    pub const fn facts(&self) -> DirFacts {
        self.facts
    }

    /// Says what is known of the directory itself.
    pub const fn set_facts(&mut self, facts: DirFacts) {
        self.facts = facts;
    }

    /// How many records there are.
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The record at that place, in the order of names.
    pub fn at(&self, index: usize) -> Option<Record<'_>> {
        self.rows.get(index).map(|row| self.record(row))
    }

    /// The bytes of the name at that place, which must be below [`Block::len`].
    pub fn name_at(&self, index: usize) -> &[u8] {
        self.rows[index].name(&self.arena)
    }

    /// The record of that name.
    pub fn find(&self, name: &[u8]) -> Option<Record<'_>> {
        self.place(name).ok().and_then(|index| self.at(index))
    }

    /// The records in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.rows.iter().map(|row| self.record(row))
    }

    /// How many of the records are of files.
    pub fn files(&self) -> u64 {
        let is_file = |row: &&Row| row.kind == RowKind::File;
        self.rows.iter().filter(is_file).count() as u64
    }

    /// How many bytes all names have together.
    pub(super) fn name_bytes(&self) -> usize {
        self.rows
            .iter()
            .map(|row| row.name(&self.arena).len())
            .sum()
    }

    /// Steps that a run began here and did not end, in their order.
    pub fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// Transfers into this directory that were interrupted and can go on.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names of which a run that was cut off noted what both sides are: after a power cut, what it placed may be gone.
    pub fn fresh(&self) -> &[Box<[u8]>] {
        &self.fresh
    }

    /// Notes that the record of this name comes from such a run.
    pub(super) fn add_fresh(&mut self, name: &[u8]) {
        self.fresh.push(name.into());
    }

    /// Whether the remote side spells one of the names otherwise.
    pub fn has_spellings(&self) -> bool {
        self.rare.values().any(|rare| rare.remote_name.is_some())
    }

    /// Makes a change to a record, or to what is known of the directory.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Set { .. } => {
                if let Some(record) = change.record() {
                    self.set(&record);
                }
            }
            Change::Forget { name } => self.forget(name),
            Change::Facts(facts) => self.set_facts(*facts),
            Change::Undone { name } => self.end_intents(name),
            Change::Part(part) => self.add_part(part.clone()),
            Change::NoPart { name } => self.end_part(name),
            // These are about more than the records of one directory.
            Change::Drop | Change::MovedFrom(_) => {}
        }
    }

    /// Puts this record in the place of what was recorded of its name.
    pub fn set(&mut self, record: &Record<'_>) {
        let row = self.pack(record);
        self.end_step(record.name.as_bytes());
        match self.place(record.name.as_bytes()) {
            Ok(index) => self.rows[index] = row,
            Err(index) => self.rows.insert(index, row),
        }
    }

    /// Forgets the record of that name, if there is one.
    pub fn forget(&mut self, name: &[u8]) {
        self.end_step(name);
        if let Ok(index) = self.place(name) {
            self.rows.remove(index);
        }
    }

    /// Makes room for so many more records, and for so many bytes of names.
    pub(super) fn reserve(&mut self, rows: usize, name_bytes: usize) {
        self.rows.reserve_exact(rows);
        self.arena.reserve_exact(name_bytes);
    }

    /// As [`Block::set`], but in the order in which records come: [`Block::settle`] must follow.
    pub(super) fn push(&mut self, record: &Record<'_>) {
        self.end_step(record.name.as_bytes());
        let row = self.pack(record);
        self.push_row(row);
    }

    /// As [`Block::forget`], but in the order in which changes come: [`Block::settle`] must follow.
    pub(super) fn push_forgotten(&mut self, name: Name<'_>) {
        self.end_step(name.as_bytes());
        let mut row = self.pack(&Record {
            name,
            remote_name: None,
            what: What::Dir,
            ids: Sides::default(),
        });
        row.kind = RowKind::Gone;
        self.is_unsettled = true;
        self.push_row(row);
    }

    fn push_row(&mut self, row: Row) {
        let arena = &self.arena;
        if let Some(last) = self.rows.last() {
            self.is_unsettled |= last.name(arena) >= row.name(arena);
        }
        self.rows.push(row);
    }

    /// Sorts what was pushed. Of a name that came twice the last one stays.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.is_unsettled) {
            return;
        }
        let arena = &self.arena;
        // The stable sort keeps the order of equal names, and merges a few sorted parts in one pass.
        self.rows
            .sort_by(|one, two| one.name(arena).cmp(two.name(arena)));
        self.rows.dedup_by(|later, earlier| {
            let is_same = later.name(arena) == earlier.name(arena);
            if is_same {
                *earlier = *later;
            }
            is_same
        });
        self.rows.retain(|row| row.kind != RowKind::Gone);
    }

    /// Adds a step that is not known to have ended. The same step, begun once more, is one step.
    pub(super) fn intend(&mut self, intent: Intent) {
        self.intents.retain(|other| !is_same_step(other, &intent));
        self.intents.push(intent);
    }

    /// Ends all that was intended for that name, whatever came of it.
    pub(super) fn end_intents(&mut self, name: &[u8]) {
        self.intents.retain(|intent| intent.name() != name);
    }

    pub(super) fn add_part(&mut self, part: Part) {
        self.end_part(&part.name);
        self.parts.push(part);
    }

    pub(super) fn end_part(&mut self, name: &[u8]) {
        self.parts.retain(|part| *part.name != *name);
    }

    fn end_step(&mut self, name: &[u8]) {
        self.end_intents(name);
        self.end_part(name);
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.rows
            .binary_search_by(|row| row.name(&self.arena).cmp(name))
    }

    fn pack(&mut self, record: &Record<'_>) -> Row {
        let name = record.name.as_bytes();
        let name_start = u32::try_from(self.arena.len())
            .expect("a directory's names are limited to far less than 4 GiB");
        self.arena.extend_from_slice(name);
        let mut rare = Rare {
            remote_name: record.remote_name.map(|name| name.as_bytes().into()),
            remote_size: None,
            digest: None,
        };
        let mut row = Row {
            size: 0,
            local_nanos: 0,
            remote_nanos: 0,
            inode: record.ids.local,
            unique: record.ids.remote,
            name_start,
            // A name is at most `MAX_NAME_BYTES` long.
            name_bytes: name.len() as u16,
            precisions: 0,
            kind: RowKind::Dir,
        };
        if let What::File(shown) = record.what {
            row.kind = RowKind::File;
            row.size = shown.local.size;
            if shown.remote.size != shown.local.size {
                rare.remote_size = Some(shown.remote.size);
            }
            rare.digest = shown.local.digest;
            row.local_nanos = nanos(shown.local.mtime);
            row.remote_nanos = nanos(shown.remote.mtime);
            row.precisions = code(shown.local.mtime) | code(shown.remote.mtime) << 4;
        }
        if rare.remote_name.is_some() || rare.remote_size.is_some() || rare.digest.is_some() {
            row.name_bytes |= HAS_RARE;
            self.rare.insert(name_start, rare);
        }
        row
    }

    fn record(&self, row: &Row) -> Record<'_> {
        let name = Name::accepted(row.name(&self.arena));
        let rare = (row.name_bytes & HAS_RARE != 0)
            .then(|| self.rare.get(&row.name_start))
            .flatten();
        let what = match row.kind {
            RowKind::File => What::File(Sides::new(
                Shown {
                    size: row.size,
                    mtime: mtime(row.local_nanos, row.precisions & 0xf),
                    digest: rare.and_then(|rare| rare.digest),
                },
                Shown {
                    size: rare.and_then(|rare| rare.remote_size).unwrap_or(row.size),
                    mtime: mtime(row.remote_nanos, row.precisions >> 4),
                    digest: None,
                },
            )),
            RowKind::Dir | RowKind::Gone => What::Dir,
        };
        Record {
            name,
            remote_name: rare
                .and_then(|rare| rare.remote_name.as_deref())
                .and_then(|name| Name::new(name).ok()),
            what,
            ids: Sides::new(row.inode, row.unique),
        }
    }
}

fn is_same_step(one: &Intent, two: &Intent) -> bool {
    match (one, two) {
        (
            Intent::Place {
                name,
                to,
                source,
                seen,
                ..
            },
            Intent::Place {
                name: name2,
                to: to2,
                source: source2,
                seen: seen2,
                ..
            },
        ) => name == name2 && to == to2 && source == source2 && seen == seen2,
        (Intent::Place { .. } | Intent::Delete { .. } | Intent::MoveDir { .. }, _) => one == two,
    }
}

/// Two blocks are equal when they tell the same; how they came to it does not matter.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.facts == other.facts
            && self.intents == other.intents
            && self.parts == other.parts
            && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("facts", &self.facts)
            .field("records", &self.iter().collect::<Vec<_>>())
            .field("intents", &self.intents)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

/// Says of a row that it has something in the table of rare things: no name is so long.
const HAS_RARE: u16 = 1 << 15;

#[derive(Debug, Clone, Copy)]
struct Row {
    /// On both sides, but for those few whose remote size is another one.
    size: u64,
    local_nanos: i64,
    remote_nanos: i64,
    inode: u64,
    unique: u64,
    name_start: u32,
    /// The length of the name, and [`HAS_RARE`].
    name_bytes: u16,
    /// Of the local time in the lower half, of the remote one in the upper; 0 where there is no time.
    precisions: u8,
    kind: RowKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKind {
    File,
    Dir,
    Gone,
}

/// What few rows have.
#[derive(Debug, Clone)]
struct Rare {
    remote_name: Option<Box<[u8]>>,
    remote_size: Option<u64>,
    digest: Option<u64>,
}

impl Row {
    fn name<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        &arena[self.name_start as usize..][..usize::from(self.name_bytes & !HAS_RARE)]
    }
}

fn nanos(mtime: Option<Mtime>) -> i64 {
    mtime.map_or(0, |mtime| mtime.at.as_nanos())
}

fn mtime(nanos: i64, code: u8) -> Option<Mtime> {
    let precision = *PRECISIONS.get(usize::from(code).checked_sub(1)?)?;
    Some(Mtime {
        at: Timestamp::from_nanos(nanos),
        precision,
    })
}

fn code(mtime: Option<Mtime>) -> u8 {
    match mtime.map(|mtime| mtime.precision) {
        None => 0,
        Some(Precision::Fraction) => 1,
        Some(Precision::Second) => 2,
        Some(Precision::TwoSeconds) => 3,
        Some(Precision::Close) => 4,
        Some(Precision::Minute) => 5,
        Some(Precision::Day) => 6,
    }
}

/// By their codes, from 1.
const PRECISIONS: [Precision; 6] = [
    Precision::Fraction,
    Precision::Second,
    Precision::TwoSeconds,
    Precision::Close,
    Precision::Minute,
    Precision::Day,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::record::scene::{file, name, odd_records, part, place};

    fn record(name: &[u8], size: u64) -> Record<'_> {
        Record {
            name: Name::new(name).unwrap(),
            remote_name: None,
            what: file(size),
            ids: Sides::new(size, 0),
        }
    }

    #[test]
    fn a_row_is_small_whatever_the_machine() {
        assert!(size_of::<Row>() <= 56, "{}", size_of::<Row>());
        const FILES: usize = 50_000;
        let mut block = Block::empty();
        block.reserve(FILES, FILES * 20);
        for index in 0..FILES {
            block.push(&record(format!("IMG_{index:012}.jpg").as_bytes(), 1));
        }
        let bytes = block.rows.capacity() * size_of::<Row>() + block.arena.capacity();
        assert!(bytes < 4 << 20, "{bytes}");
    }

    #[test]
    fn records_of_every_kind_come_back_in_order() {
        let mut block = Block::empty();
        let mut records = odd_records();
        for record in records.iter().rev() {
            block.set(record);
        }
        records.sort_by_key(|record| record.name);
        assert_eq!(block.iter().collect::<Vec<_>>(), records);
        for (index, record) in records.iter().enumerate() {
            assert_eq!(block.at(index), Some(*record));
            assert_eq!(block.name_at(index), record.name.as_bytes());
            assert_eq!(block.find(record.name.as_bytes()), Some(*record));
        }
        assert_eq!(block.files(), 6);
        assert_eq!(block.at(records.len()), None);
        assert_eq!(block.find(b"x"), None);
    }

    #[test]
    fn what_is_pushed_in_any_order_is_what_is_set() {
        let mut pushed = Block::empty();
        let mut set = Block::empty();
        let steps: [(&[u8], u64); 9] = [
            (b"b", 1),
            (b"a", 2),
            (b"c", 3),
            (b"b", 0),
            (b"d", 4),
            (b"a", 5),
            (b"x", 0),
            (b"b", 6),
            (b"d", 0),
        ];
        for (bytes, size) in steps {
            // No size: it is forgotten.
            if size == 0 {
                pushed.push_forgotten(name(bytes));
                set.forget(bytes);
            } else {
                pushed.push(&record(bytes, size));
                set.set(&record(bytes, size));
            }
        }
        pushed.settle();
        assert_eq!(pushed, set);
        assert_eq!(pushed.len(), 3);
        assert_eq!(pushed.name_bytes(), 3);
    }

    #[test]
    fn a_record_ends_what_was_intended() {
        let mut block = Block::empty();
        block.intend(place("d", b"a", 1));
        block.intend(place("d", b"b", 2));
        block.intend(place("d", b"a", 1));
        block.add_part(part(b"b", 5));
        block.add_part(part(b"b", 6));
        assert_eq!(block.intents(), [place("d", b"b", 2), place("d", b"a", 1)]);
        assert_eq!(block.parts(), [part(b"b", 6)]);
        block.forget(b"a");
        assert_eq!(block.intents(), [place("d", b"b", 2)]);
        block.set(&record(b"b", 2));
        assert!(block.intents().is_empty() && block.parts().is_empty());
    }
}
