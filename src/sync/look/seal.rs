//! Proofs that a remote directory is as it is recorded: what the server told of it at a glance, sealed together with the
//! records, and compared in the next run. Pure.
//!
//! A glance tells of a time only the minute or the day, in a zone of the server's. So it is no good for telling what is
//! there, only for telling that nothing has changed since an earlier glance, and only as far as a change shows:
//!
//! | change | shows in |
//! |---|---|
//! | an entry came, went, was renamed | the names; a hidden one in the directory's own time |
//! | a file has another size | the size |
//! | a file was written anew | its time: whatever is sealed had not changed for a while, so what changes now gets another minute |
//! | the same by a partial file and a rename, and its old time set | the directory's own time |
//! | the same in place, and its time set within the same minute (day, where that is older than half a year) | **nothing** |
//!
//! The glance is taken *before* the listing that the proof rests on. What changes between them makes a proof that no later
//! glance will match, which costs a listing; the other way round it would be missed.

use crate::path::Fnv64;
use crate::replica::{Kind, Listing, Mtime, Precision, Stat};
use crate::sync::look::directory::COARSE_MARGIN_SECS;
use crate::sync::record::{Block, What};
use crate::time::Timestamp;

/// The most entries of a directory with a proof: the listing of more takes longer on its way than the round trips that a
/// proof saves.
const MAX_ENTRIES: usize = 2_000;

/// The zone furthest behind UTC, in seconds: what was told in a zone that is not known may be later by so much.
const ZONE_SECS: i64 = 12 * 3600;

/// A time told in a zone that is not known, and perhaps to the day, is less than this from the true one, in seconds.
const APART_SECS: u64 = 2 * 86_400;

/// What is recorded of a directory's remote side, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded(u64);

impl Recorded {
    /// Of these records.
    pub fn of(block: &Block) -> Self {
        let mut hash = Fnv64::new();
        for record in block.iter() {
            let (kind, size, mtime) = match record.what {
                What::File(shown) => (b'f', shown.remote.size, shown.remote.mtime),
                What::Dir => (b'd', 0, None),
            };
            hash.update(record.remote_name.unwrap_or(record.name).as_bytes());
            // No name holds a NUL, so a name cannot run into what follows it.
            hash.update(&[0, kind]);
            hash.update(&size.to_le_bytes());
            let nanos = mtime.map_or(0, |mtime| mtime.at.as_nanos());
            hash.update(&nanos.to_le_bytes());
        }
        Self(hash.finish())
    }
}

/// A glance at one directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance {
    /// Kinds, names and sizes. The order in which a server tells of entries means nothing, so this is a sum.
    shape: u64,
    /// These and the times.
    state: u64,
    /// The latest time of a file.
    newest: Option<Timestamp>,
    /// The latest time of a file of which only the day was told.
    newest_day: Option<Timestamp>,
}

impl Glance {
    /// Takes in an entry.
    pub fn see(&mut self, name: &[u8], stat: &Stat) {
        self.shape = self.shape.wrapping_add(hash_of_shape(name, stat).finish());
        let mut hash = hash_of_shape(name, stat);
        update_with_time(stat.mtime, &mut hash);
        self.state = self.state.wrapping_add(hash.finish());
        if let (Kind::File, Some(mtime)) = (stat.kind, stat.mtime) {
            self.newest = self.newest.max(Some(mtime.at));
            if mtime.precision == Precision::Day {
                self.newest_day = self.newest_day.max(Some(mtime.at));
            }
        }
    }

    /// This glance, at a directory that was itself `changed` then, sealed together with what is recorded: a later glance
    /// that gives the same seal proves that the directory is still as recorded, if it was when this was
    /// [proven](Glance::prove).
    pub fn seal(&self, changed: Mtime, recorded: Recorded) -> u64 {
        let mut hash = Fnv64::new();
        hash.update(&self.state.to_le_bytes());
        update_with_time(Some(changed), &mut hash);
        hash.update(&recorded.0.to_le_bytes());
        hash.finish()
    }

    /// The seal of this glance, if what was listed after it is what is recorded, and nothing of it is too young.
    ///
    /// `listing` is that of the remote side, without names that take no part: where there are any, there is no proof.
    pub fn prove(
        &self,
        changed: Mtime,
        block: &Block,
        listing: &Listing,
        now: Timestamp,
    ) -> Option<u64> {
        let is_recorded = listing.gap().is_none()
            && listing.len() == block.len()
            && listing.iter().all(|entry| {
                let record = block.find(entry.name.as_bytes());
                record.is_some_and(|record| match (record.what, entry.stat.kind) {
                    (What::Dir, Kind::Dir) => true,
                    (What::File(shown), Kind::File) => {
                        shown.remote.is_same(&entry.shown) && is_believed(&entry.shown, block)
                    }
                    (What::Dir | What::File(_), Kind::File | Kind::Dir | Kind::Special) => false,
                })
            });
        let shape = listing.iter().fold(0, |sum: u64, entry| {
            sum.wrapping_add(hash_of_shape(entry.name.as_bytes(), &entry.stat).finish())
        });
        let newest_day = self.newest_day.map(|at| Mtime {
            at,
            precision: Precision::Day,
        });
        let proves = is_recorded
            && shape == self.shape
            && self.tells_times(block)
            && may_be_proven(block, now)
            && !is_young(changed, now)
            && newest_day.is_none_or(|day| !is_young(day, now));
        proves.then(|| self.seal(changed, Recorded::of(block)))
    }

    /// Whether the times are those of the files, as far as zones and days let it be told.
    fn tells_times(&self, block: &Block) -> bool {
        let recorded = remote_times(block).flatten().max();
        match (self.newest, recorded) {
            (Some(told), Some(recorded)) => {
                told.as_secs().abs_diff(recorded.as_secs()) < APART_SECS
            }
            (told, recorded) => told.is_none() && recorded.is_none(),
        }
    }
}

/// Whether a time of a minute or a day had passed when the file was recorded: what changes since shows another one.
fn is_believed(shown: &Stat, block: &Block) -> bool {
    shown.mtime.is_none_or(|mtime| {
        let is_past = mtime.latest().plus_secs(COARSE_MARGIN_SECS) < block.facts().seen_at;
        mtime.precision.is_exact() || is_past
    })
}

/// The times of the recorded files as the remote side shows them.
fn remote_times(block: &Block) -> impl Iterator<Item = Option<Timestamp>> {
    block.iter().filter_map(|record| match record.what {
        What::File(shown) => Some(shown.remote.mtime.map(|mtime| mtime.at)),
        What::Dir => None,
    })
}

/// Whether a directory with these records can have a proof: they are neither too many nor too young.
///
/// It is not enough that a time is old by our clock. When it was recorded it was in the past by the server's clock, unless
/// somebody set it; so what was recorded a while ago is old by every clock.
pub fn may_be_proven(block: &Block, now: Timestamp) -> bool {
    let limit = now.plus_secs(-COARSE_MARGIN_SECS);
    let is_old = |time: Timestamp| time.plus_secs(Precision::Minute.span_secs()) < limit;
    (1..=MAX_ENTRIES).contains(&block.len())
        && block.facts().seen_at < limit
        && remote_times(block).all(|time| time.is_some_and(is_old))
}

/// Whether what happened then may happen again and get the same time. Only exact times are told in a known zone.
fn is_young(time: Mtime, now: Timestamp) -> bool {
    let zone_secs = match time.precision {
        Precision::Fraction | Precision::Second | Precision::TwoSeconds | Precision::Close => 0,
        Precision::Minute | Precision::Day => ZONE_SECS,
    };
    time.latest().plus_secs(COARSE_MARGIN_SECS + zone_secs) >= now
}

fn hash_of_shape(name: &[u8], stat: &Stat) -> Fnv64 {
    let mut hash = Fnv64::new();
    hash.update(name);
    let kind = match stat.kind {
        Kind::File => b'f',
        Kind::Dir => b'd',
        Kind::Special => b's',
    };
    hash.update(&[0, kind]);
    hash.update(&stat.size.to_le_bytes());
    hash
}

fn update_with_time(time: Option<Mtime>, hash: &mut Fnv64) {
    if let Some(time) = time {
        hash.update(&time.at.as_nanos().to_le_bytes());
        hash.update(&time.precision.span_secs().to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::side::Sides;
    use crate::sync::record::{Change, DirFacts, Shown};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const OLD: i64 = 1_600_000_000 / 60 * 60;
    const RECORDED: Timestamp = Timestamp::from_secs(1_690_000_000);
    const CHANGED: Mtime = Mtime::exact(Timestamp::from_secs(1_689_999_999));

    /// A directory as all sides see it.
    #[derive(Clone)]
    struct Case {
        glance: Vec<(&'static str, Stat)>,
        changed: Mtime,
        records: Vec<(&'static str, What)>,
        seen_at: Timestamp,
        listing: Vec<(&'static str, Stat)>,
    }

    /// Two files and a directory, all of them proven.
    fn proven() -> Case {
        Case {
            glance: vec![
                ("b", told(7, OLD + 60, Precision::Minute)),
                ("d", Stat::dir()),
                ("a", told(5, OLD / 86_400 * 86_400, Precision::Day)),
            ],
            changed: CHANGED,
            records: vec![
                ("a", file(5, OLD + 30)),
                ("b", file(7, OLD + 90)),
                ("d", What::Dir),
            ],
            seen_at: RECORDED,
            listing: vec![
                ("a", Stat::file(5, Timestamp::from_secs(OLD + 30))),
                ("b", Stat::file(7, Timestamp::from_secs(OLD + 90))),
                ("d", Stat::dir()),
            ],
        }
    }

    /// A file that both sides show so.
    fn file(size: u64, secs: i64) -> What {
        let shown = Shown::of(&Stat::file(size, Timestamp::from_secs(secs)));
        What::File(Sides::new(shown, shown))
    }

    fn told(size: u64, secs: i64, precision: Precision) -> Stat {
        Stat {
            kind: Kind::File,
            size,
            mtime: Some(Mtime {
                at: Timestamp::from_secs(secs),
                precision,
            }),
        }
    }

    impl Case {
        fn with(change: impl FnOnce(&mut Self)) -> Self {
            let mut case = proven();
            change(&mut case);
            case
        }

        fn glance(&self) -> Glance {
            let mut glance = Glance::default();
            for (name, stat) in &self.glance {
                glance.see(name.as_bytes(), stat);
            }
            glance
        }

        fn block(&self) -> Block {
            let mut block = Block::empty();
            block.set_facts(DirFacts {
                seen_at: self.seen_at,
                ..DirFacts::default()
            });
            for (name, what) in &self.records {
                block.apply(&Change::Set {
                    name: name.as_bytes().into(),
                    remote_name: None,
                    what: *what,
                    ids: Sides::new(0, 0),
                });
            }
            block
        }

        fn seal(&self) -> u64 {
            self.glance()
                .seal(self.changed, Recorded::of(&self.block()))
        }

        fn prove_at(&self, now: Timestamp) -> Option<u64> {
            let mut listing = Listing::new();
            for (name, stat) in &self.listing {
                listing.push(name.as_bytes(), *stat);
            }
            listing.sort();
            self.glance()
                .prove(self.changed, &self.block(), &listing, now)
        }

        fn prove(&self) -> Option<u64> {
            self.prove_at(NOW)
        }
    }

    #[test]
    fn a_later_glance_at_the_same_gives_the_same_seal() {
        let proof = proven().prove().unwrap();
        assert_eq!(proven().seal(), proof);
        let shuffled = Case::with(|case| case.glance.reverse());
        assert_eq!(shuffled.seal(), proof);
        let redated = Case::with(|case| case.seen_at = NOW);
        assert_eq!(
            redated.seal(),
            proof,
            "when it was recorded does not matter"
        );
    }

    #[test]
    fn whatever_is_told_otherwise_gives_another_seal() {
        let minute = |secs| told(7, secs, Precision::Minute);
        let changes: [fn(&mut Case); 5] = [
            |case| case.glance.push(("new", Stat::dir())),
            |case| _ = case.glance.pop(),
            |case| case.glance[0].0 = "c",
            |case| case.glance[1].1 = told(0, OLD, Precision::Day),
            |case| case.changed = Mtime::exact(CHANGED.at.plus_secs(1)),
        ];
        let mut seals: Vec<u64> = changes.map(|change| Case::with(change).seal()).to_vec();
        let stats = [
            told(8, OLD + 60, Precision::Minute),
            minute(OLD),
            minute(OLD + 120),
            told(7, OLD + 60, Precision::Day),
            Stat {
                kind: Kind::Special,
                size: 7,
                mtime: None,
            },
        ];
        seals.extend(stats.map(|stat| Case::with(|case| case.glance[0].1 = stat).seal()));
        seals.push(proven().seal());
        for (place, seal) in seals.iter().enumerate() {
            assert!(!seals[place + 1..].contains(seal), "{place}");
        }
    }

    #[test]
    fn other_records_give_another_seal() {
        let changes: [fn(&mut Case); 3] = [
            |case| _ = case.records.pop(),
            |case| case.records[1].0 = "c",
            |case| case.records[0].1 = What::Dir,
        ];
        let mut seals: Vec<u64> = changes.map(|change| Case::with(change).seal()).to_vec();
        let kinds = [file(6, OLD + 30), file(5, OLD + 31), file(5, OLD)];
        seals.extend(kinds.map(|kind| Case::with(|case| case.records[0].1 = kind).seal()));
        seals.push(proven().seal());
        for (place, seal) in seals.iter().enumerate() {
            assert!(!seals[place + 1..].contains(seal), "{place}");
        }
    }

    #[test]
    fn what_is_not_as_recorded_has_no_proof() {
        let special = Stat {
            kind: Kind::Special,
            size: 0,
            mtime: None,
        };
        let minute = told(5, OLD, Precision::Minute);
        let cases = [
            Case::with(|case| _ = case.listing.pop()),
            Case::with(|case| case.listing.push(("z", Stat::dir()))),
            Case::with(|case| case.listing[2].0 = "e"),
            Case::with(|case| case.listing[2].1 = special),
            Case::with(|case| case.listing[0].1.size = 6),
            Case::with(|case| case.listing[0].1 = Stat::file(5, Timestamp::from_secs(OLD + 40))),
            // The listing is right, and the glance shows something else.
            Case::with(|case| _ = case.glance.pop()),
            Case::with(|case| case.glance.push((".hidden", minute))),
            Case::with(|case| case.glance[0].1.size = 8),
            Case::with(|case| case.glance[1].1 = special),
            // Times that are not those of the files.
            Case::with(|case| case.glance[0].1 = told(7, OLD + 9 * 86_400, Precision::Minute)),
            Case::with(|case| {
                case.records.clear();
                case.glance.clear();
                case.listing.clear();
            }),
        ];
        for (place, case) in cases.iter().enumerate() {
            assert_eq!(case.prove(), None, "{place}");
        }
    }

    #[test]
    fn a_coarse_listing_proves_what_it_would_be_believed() {
        let coarse = Case::with(|case| case.listing[0].1 = told(5, OLD, Precision::Minute));
        assert_eq!(coarse.prove(), proven().prove());
        let recorded_at_once = Case::with(|case| {
            case.listing[0].1 = told(5, OLD, Precision::Minute);
            case.seen_at = Timestamp::from_secs(OLD + 50);
        });
        assert_eq!(recorded_at_once.prove(), None);
    }

    #[test]
    fn a_listing_with_a_gap_proves_nothing() {
        let case = proven();
        let block = case.block();
        let mut listing = Listing::new();
        for (name, stat) in &case.listing {
            listing.push(name.as_bytes(), *stat);
        }
        listing.sort();
        let glance = case.glance();
        let prove = |listing: &Listing| glance.prove(CHANGED, &block, listing, NOW);
        assert!(prove(&listing).is_some());
        listing.mark_incomplete("cut");
        assert_eq!(prove(&listing), None);
    }

    #[test]
    fn nothing_young_is_proven() {
        let is_proven = |case: &Case, secs: i64| {
            let first = Timestamp::from_secs(secs);
            (
                case.prove_at(first).is_some(),
                case.prove_at(first.plus_secs(1)).is_some(),
            )
        };
        let recorded = Case::with(|case| case.seen_at = NOW);
        let (quarter, now) = (15 * 60, NOW.as_secs());
        assert_eq!(is_proven(&recorded, now + quarter), (false, true));
        let dir = Case::with(|case| case.changed = Mtime::exact(NOW));
        assert_eq!(is_proven(&dir, now + quarter), (false, true));
        // A minute in a zone that may be behind.
        let precision = Precision::Minute;
        let dir = Case::with(|case| case.changed = Mtime { at: NOW, precision });
        assert_eq!(
            is_proven(&dir, now + 59 + quarter + 12 * 3600),
            (false, true)
        );
        // A file from the future, and one that the server tells only the day of.
        let ahead = Case::with(|case| {
            let at = Timestamp::from_secs(now);
            case.records[0].1 = file(5, now);
            case.listing[0].1 = Stat::file(5, at);
            case.glance[2].1 = told(5, now / 60 * 60, Precision::Minute);
        });
        assert_eq!(is_proven(&ahead, now + 59 + quarter), (false, true));
        let by_day = Case::with(|case| {
            case.glance[2].1 = told(5, now, Precision::Day);
            case.glance[0].1 = told(7, now, Precision::Minute);
            for place in [0, 1] {
                let at = Timestamp::from_secs(now);
                case.records[place].1 = file([5, 7][place], now);
                case.listing[place].1 = Stat::file([5, 7][place], at);
            }
        });
        let day = 86_399 + quarter + 12 * 3600;
        assert_eq!(is_proven(&by_day, now + day), (false, true));
    }

    #[test]
    fn large_directories_are_listed() {
        let mut block = proven().block();
        for name in ["a", "b", "d"] {
            block.forget(name.as_bytes());
        }
        for number in 0..=MAX_ENTRIES {
            assert_eq!(may_be_proven(&block, NOW), number > 0, "{number}");
            block.apply(&Change::Set {
                name: number.to_string().into_bytes().into(),
                remote_name: None,
                what: What::Dir,
                ids: Sides::new(0, 0),
            });
        }
        assert!(!may_be_proven(&block, NOW));
    }
}
