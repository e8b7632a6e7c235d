//! What a directory holds: compact, because a directory may hold 50,000 names and the router 32 MB.
//!
//! All names of a listing lie in one arena, with the inode before the name where there is one, and a row is 24 bytes.

use std::collections::BTreeMap;

use crate::path::{BadName, Escaped, Name};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// The most names a listing may have. A home has photo folders of 50,000 files; a million is a server gone mad.
const MAX_ENTRIES: usize = 1_000_000;

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// Anything else: a link that is not followed, a device, a pipe, a type this program does not know, a name
    /// listed twice. It is there, and nothing is done with it.
    Special,
}

/// How exactly a time was told, finest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// With a fraction of the second.
    Fraction,
    /// To the second: most servers, and file systems whose times have no fraction.
    Second,
    /// To two seconds: FAT and exFAT.
    TwoSeconds,
    /// Give or take pyftpsync's tolerance of 2.01 s: what pyftpsync recorded.
    Close,
    /// To the minute: `LIST` for the last half year. The time is the minute's beginning.
    Minute,
    /// To the day: `LIST` for older and future files. The time is the day's beginning.
    Day,
}

impl Precision {
    /// How long after the told time the true one may lie, in seconds.
    pub const fn span_secs(self) -> i64 {
        match self {
            Self::Fraction | Self::Second | Self::TwoSeconds | Self::Close => 0,
            Self::Minute => 59,
            Self::Day => 86_399,
        }
    }

    /// Whether the time can be compared and recorded as it is, or only as a span of a minute or a day.
    pub const fn is_exact(self) -> bool {
        self.span_secs() == 0
    }
}

/// A modification time and how exactly it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mtime {
    /// The time, or the beginning of the span it lies in.
    pub at: Timestamp,
    /// How exactly.
    pub precision: Precision,
}

impl Mtime {
    /// A time told to the second or, where it has a fraction, finer.
    pub const fn exact(at: Timestamp) -> Self {
        let precision = if at.as_nanos() % NANOS_PER_SEC == 0 {
            Precision::Second
        } else {
            Precision::Fraction
        };
        Self { at, precision }
    }

    /// Whether two times that *one* side told, perhaps in two ways, can be one and the same: within the coarser precision.
    pub fn is_same(self, other: Self) -> bool {
        let (fine, coarse) = if self.precision <= other.precision {
            (self, other)
        } else {
            (other, self)
        };
        let ahead = i128::from(fine.at.as_nanos()) - i128::from(coarse.at.as_nanos());
        let within =
            |secs: i64| ahead.unsigned_abs() < u128::from(secs.unsigned_abs()) * 1_000_000_000;
        match coarse.precision {
            Precision::Fraction => ahead == 0,
            Precision::Second => within(1),
            Precision::TwoSeconds => within(2),
            Precision::Close => fine.at.is_close_to(coarse.at),
            Precision::Minute => ahead >= 0 && within(60),
            // A server that moves to another zone lists other days for some hours' files.
            Precision::Day => within(86_400),
        }
    }

    /// The last moment that this time may mean.
    pub const fn latest(self) -> Timestamp {
        self.at.plus_secs(self.precision.span_secs())
    }

    /// Whether `time` may be the time that is meant, give or take the tolerance.
    pub fn may_be(self, time: Timestamp) -> bool {
        (self.at <= time && time <= self.latest())
            || self.at.is_close_to(time)
            || self.latest().is_close_to(time)
    }
}

/// What a target says of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// File, directory or something else.
    pub kind: Kind,
    /// Bytes; 0 for anything but a file.
    pub size: u64,
    /// The modification time, where it was told.
    pub mtime: Option<Mtime>,
}

impl Stat {
    /// A file of that size and exactly told time.
    pub const fn file(size: u64, mtime: Timestamp) -> Self {
        Self {
            kind: Kind::File,
            size,
            mtime: Some(Mtime::exact(mtime)),
        }
    }

    /// A directory.
    pub const fn dir() -> Self {
        Self {
            kind: Kind::Dir,
            size: 0,
            mtime: None,
        }
    }

    /// The time, when it was told exactly.
    pub fn exact_mtime(&self) -> Option<Timestamp> {
        self.mtime
            .filter(|mtime| mtime.precision.is_exact())
            .map(|mtime| mtime.at)
    }

    /// The modification time as well as it was told: the beginning of its minute or day where no more is known.
    pub fn best_mtime(&self) -> Option<Timestamp> {
        self.mtime.map(|mtime| mtime.at)
    }

    /// Whether the side that showed this size and time before still shows them: times are equal within the coarser precision, and
    /// where either is not told, the size decides.
    pub fn is_as_shown(&self, size: u64, mtime: Option<Mtime>) -> bool {
        let is_same_time = match (mtime, self.mtime) {
            (Some(before), Some(now)) => before.is_same(now),
            (None, _) | (_, None) => true,
        };
        self.size == size && is_same_time
    }

    /// Whether the two may be the same state of one file: kind, size, and times that do not contradict each other.
    pub fn may_equal(&self, other: &Self) -> bool {
        let times_agree = match (self.mtime, other.mtime) {
            (Some(one), Some(two)) => one.may_be(two.at) || two.may_be(one.at),
            // A target that tells no time cannot contradict.
            (None, _) | (_, None) => true,
        };
        self.kind == other.kind
            && (self.kind != Kind::File || (self.size == other.size && times_agree))
    }
}

/// One name in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// What the target says of it.
    pub stat: Stat,
    /// The same with the time that the target itself shows, where `stat` has a true time that is remembered elsewhere:
    /// whoever looks the entry up sees this.
    pub shown: Stat,
    /// What tells a file from all others of its side, for as long as it lives: its inode on this machine, a hash of what the
    /// server calls unique on another (RFC 3659, 7.5.2). 0 where there is neither, and for anything but a file.
    pub inode: u64,
    /// Whether it is a link, of which the rest says what it leads to: never deleted, and never replaced by a file.
    pub is_link: bool,
}

/// What a replica says of a directory itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own {
    /// Its inode, see [`Entry::inode`].
    pub inode: u64,
    /// The file system that is mounted here: its number, 0 where it has none that lasts. None where nothing is mounted.
    pub mount: Option<u64>,
    /// Whether a link leads to it, so that what it holds has another name as well: nothing is deleted there.
    pub is_linked: bool,
}

/// The entries of one directory, and whether they are all.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The directory itself, as far as its replica tells.
    pub own: Own,
    arena: Vec<u8>,
    rows: Vec<Row>,
    /// The times that the target itself shows of entries with restored ones, by their places.
    shown: BTreeMap<usize, Option<Mtime>>,
    unusable: Vec<Box<[u8]>>,
    gap: Option<Box<str>>,
    /// Whether the gap is that it broke off.
    is_broken_off: bool,
}

/// Says of a row that its inode stands before the name: no name is so long. Remote listings have none to take room.
const HAS_INODE: u16 = 1 << 15;

/// Says of a row that it is a link that is followed.
const IS_LINK: u16 = 1 << 14;

#[derive(Debug, Clone, Copy)]
struct Row {
    size: u64,
    mtime_nanos: i64,
    /// Where its inode and name begin in the arena.
    start: u32,
    /// The length of the name, [`HAS_INODE`] and [`IS_LINK`].
    name_bytes: u16,
    kind: Kind,
    /// None where no time was told.
    precision: Option<Precision>,
}

impl Listing {
    /// An empty and so far complete listing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all entries, keeps the memory.
    pub fn clear(&mut self) {
        self.own = Own::default();
        self.arena.clear();
        self.rows.clear();
        self.shown.clear();
        self.unusable.clear();
        self.gap = None;
        self.is_broken_off = false;
    }

    /// Adds an entry. A name that must not be used is left out and makes the listing incomplete.
    pub fn push(&mut self, name: &[u8], stat: Stat) {
        self.push_with_id(name, stat, 0);
    }

    /// Adds an entry with what tells it from all others of its side, see [`Entry::inode`].
    pub fn push_with_id(&mut self, name: &[u8], stat: Stat, id: u64) {
        match Name::new(name) {
            Ok(name) => self.push_name(name, stat, id),
            Err(why) => self.push_refused(name, why),
        }
    }

    /// Adds an entry of a disk that this program can read. A name that must not be used is kept apart, see
    /// [`Listing::unusable`], and the listing stays complete: no other target can have an entry of that name, so
    /// nothing is taken for missing because of it. For `inode` see [`Entry::inode`].
    pub fn push_local(&mut self, name: &[u8], stat: Stat, inode: u64) {
        match Name::new(name) {
            Ok(name) => self.push_name(name, stat, inode),
            Err(_) => self.unusable.push(name.into()),
        }
    }

    /// The same for a link that is followed, and what it leads to.
    pub fn push_link(&mut self, name: &[u8], leads_to: Stat) {
        let count = self.rows.len();
        self.push_local(name, leads_to, 0);
        for row in &mut self.rows[count..] {
            row.name_bytes |= IS_LINK;
        }
    }

    /// The names of entries that are there but cannot be named to another target: for reporting, escaped. They are
    /// no entries of the listing, but their directory is not empty.
    pub fn unusable(&self) -> impl ExactSizeIterator<Item = Escaped<'_>> {
        self.unusable.iter().map(|name| Escaped(name))
    }

    fn push_name(&mut self, name: Name<'_>, stat: Stat, inode: u64) {
        let Ok(name_start) = u32::try_from(self.arena.len()) else {
            return self.mark_incomplete("the listing is too large");
        };
        if self.rows.len() >= MAX_ENTRIES {
            return self.mark_incomplete("the listing has more than 1,000,000 names");
        }
        if inode != 0 {
            self.arena.extend_from_slice(&inode.to_le_bytes());
        }
        self.arena.extend_from_slice(name.as_bytes());
        // A name is at most `MAX_NAME_BYTES` long.
        let name_bytes = name.as_bytes().len() as u16;
        self.rows.push(Row {
            size: stat.size,
            mtime_nanos: stat.mtime.map_or(0, |mtime| mtime.at.as_nanos()),
            start: name_start,
            name_bytes: name_bytes | if inode == 0 { 0 } else { HAS_INODE },
            kind: stat.kind,
            precision: stat.mtime.map(|mtime| mtime.precision),
        });
    }

    fn push_refused(&mut self, name: &[u8], why: BadName) {
        self.mark_incomplete(format!(
            "{why}: \"{}\"",
            Escaped(&name[..name.len().min(80)])
        ));
    }

    /// Says that entries may be missing, and why. The first reason stays.
    pub fn mark_incomplete(&mut self, why: impl Into<Box<str>>) {
        self.gap.get_or_insert_with(|| why.into());
    }

    /// Says that it broke off, and why: what came is right, and another way to list may bring the rest.
    pub fn mark_broken_off(&mut self, why: impl Into<Box<str>>) {
        self.is_broken_off |= self.gap.is_none();
        self.mark_incomplete(why);
    }

    /// Whether it broke off, and nothing else is wrong with it.
    pub const fn is_broken_off(&self) -> bool {
        self.is_broken_off
    }

    /// Why entries may be missing; none when the listing is complete.
    pub fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }

    /// Sorts the entries by the bytes of their names. A name that came twice becomes one [`Kind::Special`] entry,
    /// and the listing incomplete: nobody can say which of the two is meant.
    pub fn sort(&mut self) {
        let arena = &self.arena;
        self.rows
            .sort_unstable_by(|one, two| one.name(arena).cmp(two.name(arena)));
        let mut doubled = None;
        self.rows.dedup_by(|later, earlier| {
            let same = later.name(arena) == earlier.name(arena);
            if same {
                earlier.kind = Kind::Special;
                doubled.get_or_insert(*earlier);
            }
            same
        });
        if let Some(row) = doubled {
            let why = format!(
                "the name \"{}\" is listed twice",
                Escaped(row.name(&self.arena))
            );
            self.mark_incomplete(why);
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The entry at that place.
    pub fn at(&self, index: usize) -> Option<Entry<'_>> {
        self.rows.get(index).map(|row| self.entry(index, row))
    }

    /// The entries in their order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Entry<'_>> + ExactSizeIterator {
        let rows = self.rows.iter().enumerate();
        rows.map(|(index, row)| self.entry(index, row))
    }

    fn entry(&self, index: usize, row: &Row) -> Entry<'_> {
        let mut entry = row.entry(&self.arena);
        if let Some(mtime) = self.shown.get(&index) {
            entry.shown.mtime = *mtime;
        }
        entry
    }

    /// The bytes of the name at that place, which must be below [`Listing::len`].
    pub fn name_at(&self, index: usize) -> &[u8] {
        self.rows[index].name(&self.arena)
    }

    /// The entry of that name, in a sorted listing.
    pub fn find(&self, name: &[u8]) -> Option<Entry<'_>> {
        let place = self.position(name)?;
        self.at(place)
    }

    /// Where that name stands in a sorted listing.
    pub fn position(&self, name: &[u8]) -> Option<usize> {
        self.rows
            .binary_search_by(|row| row.name(&self.arena).cmp(name))
            .ok()
    }

    /// Replaces what is said of the entry at that place.
    pub fn set_stat(&mut self, index: usize, stat: Stat) {
        let row = &mut self.rows[index];
        row.kind = stat.kind;
        row.size = stat.size;
        row.mtime_nanos = stat.mtime.map_or(0, |mtime| mtime.at.as_nanos());
        row.precision = stat.mtime.map(|mtime| mtime.precision);
    }

    /// Gives the entry at that place the true time that is remembered of it; the listing stays as it is from then on.
    pub fn restore_mtime(&mut self, index: usize, mtime: Timestamp) {
        let Some(entry) = self.at(index) else { return };
        let (stat, shown) = (entry.stat, entry.shown.mtime);
        self.shown.insert(index, shown);
        self.set_stat(
            index,
            Stat {
                mtime: Some(Mtime::exact(mtime)),
                ..stat
            },
        );
    }

    /// Forgets when directories were changed: that is told by some servers alone, and nothing that is synced.
    pub fn forget_times_of_dirs(&mut self) {
        for row in self.rows.iter_mut().filter(|row| row.kind == Kind::Dir) {
            (row.mtime_nanos, row.precision) = (0, None);
        }
    }

    /// Leaves only the entries for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(Entry<'_>) -> bool) {
        let arena = &self.arena;
        self.rows.retain(|row| keep(row.entry(arena)));
    }
}

impl Row {
    fn name<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        let (_, name) = self.parts(arena);
        name
    }

    /// Its inode, 0 where there is none, and its name.
    fn parts<'a>(&self, arena: &'a [u8]) -> (u64, &'a [u8]) {
        let own = &arena[self.start as usize..];
        let length = usize::from(self.name_bytes & !(HAS_INODE | IS_LINK));
        if self.name_bytes & HAS_INODE == 0 {
            return (0, &own[..length]);
        }
        let (inode, name) = own
            .split_first_chunk()
            .expect("an inode stands before the name");
        (u64::from_le_bytes(*inode), &name[..length])
    }

    fn entry<'a>(&self, arena: &'a [u8]) -> Entry<'a> {
        let (inode, name) = self.parts(arena);
        let name = Name::accepted(name);
        let mtime = self.precision.map(|precision| Mtime {
            at: Timestamp::from_nanos(self.mtime_nanos),
            precision,
        });
        let stat = Stat {
            kind: self.kind,
            size: self.size,
            mtime,
        };
        Entry {
            name,
            stat,
            shown: stat,
            inode,
            is_link: self.name_bytes & IS_LINK != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let mut listing = Listing::new();
        for name in names {
            listing.push(name.as_bytes(), Stat::file(1, Timestamp::from_secs(5)));
        }
        listing.sort();
        listing
    }

    #[test]
    fn sorts_by_bytes_and_finds() {
        let listing = listing(&["b", "a", "é", "B"]);
        let names: Vec<String> = listing.iter().map(|entry| entry.name.to_string()).collect();
        assert_eq!(names, ["B", "a", "b", "é"]);
        assert!(listing.find(b"a").is_some() && listing.find(b"c").is_none());
        assert_eq!(listing.gap(), None);
    }

    #[test]
    fn a_bad_name_makes_it_incomplete() {
        let listing = listing(&["a", "../b"]);
        assert_eq!(listing.len(), 1);
        assert_eq!(
            listing.gap(),
            Some("the name would leave its directory: \"../b\"")
        );
    }

    #[test]
    fn a_bad_name_on_a_disk_is_kept_apart() {
        let mut listing = listing(&["a"]);
        listing.push_local(b"b\nc", Stat::dir(), 0);
        let unusable: Vec<String> = listing.unusable().map(|name| name.to_string()).collect();
        assert_eq!(unusable, [r"b\x0ac"]);
        assert_eq!((listing.len(), listing.gap()), (1, None));
        listing.clear();
        assert_eq!(listing.unusable().len(), 0);
    }

    #[test]
    fn a_doubled_name_is_kept_once_and_never_used() {
        let listing = listing(&["a", "b", "a"]);
        assert_eq!(listing.find(b"a").unwrap().stat.kind, Kind::Special);
        assert_eq!(listing.find(b"b").unwrap().stat.kind, Kind::File);
        assert_eq!(listing.gap(), Some("the name \"a\" is listed twice"));
    }

    #[test]
    fn inodes_stay_with_their_names() {
        let longest = vec![b'x'; crate::path::MAX_NAME_BYTES];
        let mut listing = Listing::new();
        listing.push_local(b"b", Stat::dir(), u64::MAX);
        listing.push_local(b"c", Stat::dir(), 0);
        listing.push_local(&longest, Stat::dir(), 7);
        listing.push(b"a", Stat::dir());
        listing.sort();
        let inodes: Vec<u64> = listing.iter().map(|entry| entry.inode).collect();
        assert_eq!(inodes, [0, u64::MAX, 0, 7]);
        assert_eq!(listing.name_at(1), b"b");
        assert_eq!(listing.find(&longest).unwrap().inode, 7);
    }

    #[test]
    fn a_row_stays_small() {
        assert_eq!(size_of::<Row>(), 24);
    }

    #[test]
    fn two_times_of_one_side_are_the_same_within_the_coarser_precision() {
        let time = |nanos: i64, precision| Mtime {
            at: Timestamp::from_nanos(nanos),
            precision,
        };
        let secs = 1_000_000_000;
        let same = |one: Mtime, two: Mtime| {
            assert_eq!(one.is_same(two), two.is_same(one));
            one.is_same(two)
        };
        use Precision::{Close, Day, Fraction, Minute, Second, TwoSeconds};
        assert!(!same(time(5, Fraction), time(6, Fraction)));
        assert!(same(
            time(100 * secs, Second),
            time(100 * secs + 7, Fraction)
        ));
        assert!(!same(time(100 * secs, Second), time(101 * secs, Second)));
        assert!(same(time(100 * secs, TwoSeconds), time(101 * secs, Second)));
        assert!(same(time(100 * secs, Close), time(102 * secs, Second)));
        assert!(!same(time(100 * secs, Close), time(103 * secs, Second)));
        assert!(same(time(600 * secs, Minute), time(659 * secs, Second)));
        assert!(!same(time(600 * secs, Minute), time(599 * secs, Second)));
        assert!(!same(time(600 * secs, Minute), time(660 * secs, Minute)));
        assert!(same(time(86_400 * secs, Day), time(90_000 * secs, Minute)));
        assert!(!same(
            time(86_400 * secs, Day),
            time(2 * 86_400 * secs, Day)
        ));
    }

    #[test]
    fn a_minute_may_be_any_second_in_it() {
        let minute = Mtime {
            at: Timestamp::from_secs(600),
            precision: Precision::Minute,
        };
        assert!(
            minute.may_be(Timestamp::from_secs(600)) && minute.may_be(Timestamp::from_secs(659))
        );
        assert!(
            !minute.may_be(Timestamp::from_secs(663)) && !minute.may_be(Timestamp::from_secs(597))
        );
    }
}
