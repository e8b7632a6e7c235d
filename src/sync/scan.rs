//! Pairs what is on the two sides and in the records, name by name. Pure.
//!
//! Three sorted lists are merged in one pass. Where names that differ only in case count as one (`--case local`,
//! `--case remote`), they are paired by their folded form; where they might be confused (no `--case`), the directory
//! is refused.

use crate::job::Case;
use crate::path::Fnv64;
use crate::replica::Listing;
use crate::sync::metadata::Records;

/// A list of names, sorted by their bytes and without doubles.
pub trait Names {
    /// How many there are.
    fn count(&self) -> usize;
    /// The bytes of the name at that place.
    fn name_at(&self, index: usize) -> &[u8];
}

impl Names for Listing {
    fn count(&self) -> usize {
        self.len()
    }

    fn name_at(&self, index: usize) -> &[u8] {
        self.name_at(index)
    }
}

impl Names for Records {
    fn count(&self) -> usize {
        self.len()
    }

    fn name_at(&self, index: usize) -> &[u8] {
        self.name_at(index)
    }
}

/// Where one name stands in the three lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    at: [u32; 3],
}

/// No place: a list never has this many names.
const NOWHERE: u32 = u32::MAX;

const LOCAL: usize = 0;
const REMOTE: usize = 1;
const RECORD: usize = 2;

impl Places {
    const fn nowhere() -> Self {
        Self { at: [NOWHERE; 3] }
    }

    fn place(self, list: usize) -> Option<usize> {
        let place = self.at[list];
        (place != NOWHERE).then_some(place as usize)
    }

    /// Its place in the local listing.
    pub fn local(self) -> Option<usize> {
        self.place(LOCAL)
    }

    /// Its place in the remote listing.
    pub fn remote(self) -> Option<usize> {
        self.place(REMOTE)
    }

    /// Its place in the records.
    pub fn record(self) -> Option<usize> {
        self.place(RECORD)
    }
}

/// Two names that differ only in case, where nobody said what that is to mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ambiguous {
    /// One of them.
    pub one: Vec<u8>,
    /// The other.
    pub other: Vec<u8>,
}

/// The pairs of a directory.
#[derive(Debug)]
pub enum Pairs {
    /// Names pair with themselves: the lists are merged again whenever they are looked at, which takes less of a router
    /// than keeping the places of 50,000 names.
    Alike,
    /// Names pair by their folded form.
    Folded(Vec<Places>),
}

impl Pairs {
    /// The places of each pair in the lists that were paired up, in the order of their bytes.
    pub fn iter<'l>(
        &'l self,
        local: &'l dyn Names,
        remote: &'l dyn Names,
        records: &'l dyn Names,
    ) -> impl Iterator<Item = Places> + use<'l> {
        let (mut merge, folded) = match self {
            Self::Alike => (Some(Merge::of([local, remote, records])), &[][..]),
            Self::Folded(pairs) => (None, &pairs[..]),
        };
        let mut folded = folded.iter().copied();
        std::iter::from_fn(move || merge.as_mut().map_or_else(|| folded.next(), Merge::next))
    }
}

/// Pairs the names of both sides and of the records.
///
/// # Panics
/// When a list is not sorted or names something twice: pairing it would lose entries.
pub fn pair_up(
    local: &dyn Names,
    remote: &dyn Names,
    records: &dyn Names,
    case: Case,
) -> Result<Pairs, Ambiguous> {
    let lists = [local, remote, records];
    for list in lists {
        let sorted = (1..list.count()).all(|index| list.name_at(index - 1) < list.name_at(index));
        assert!(sorted, "lists are sorted and hold each name once");
    }
    match case {
        Case::Strict => Ok(Pairs::Alike),
        Case::Refuse => refuse_lookalikes(lists).map(|()| Pairs::Alike),
        Case::Local | Case::Remote => pair_folded(lists).map(Pairs::Folded),
    }
}

/// Three sorted lists, merged.
struct Merge<'l> {
    lists: [&'l dyn Names; 3],
    next: [usize; 3],
}

impl<'l> Merge<'l> {
    const fn of(lists: [&'l dyn Names; 3]) -> Self {
        Self {
            lists,
            next: [0; 3],
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = Places;

    fn next(&mut self) -> Option<Places> {
        let lists = self.lists;
        let heads = [LOCAL, REMOTE, RECORD].map(|list| {
            (self.next[list] < lists[list].count()).then(|| lists[list].name_at(self.next[list]))
        });
        let least = heads.into_iter().flatten().min()?;
        let mut pair = Places::nowhere();
        for list in [LOCAL, REMOTE, RECORD] {
            if heads[list] == Some(least) {
                pair.at[list] = self.next[list] as u32;
                self.next[list] += 1;
            }
        }
        Some(pair)
    }
}

/// Finds two names on either side that fold to the same. Compares 32-bit hashes first, which take little memory.
fn refuse_lookalikes(lists: [&dyn Names; 3]) -> Result<(), Ambiguous> {
    let names = || {
        Merge::of(lists).filter_map(|pair| {
            let local = pair.local().map(|at| lists[LOCAL].name_at(at));
            local.or_else(|| pair.remote().map(|at| lists[REMOTE].name_at(at)))
        })
    };
    let mut hashes = Vec::with_capacity(lists[LOCAL].count().max(lists[REMOTE].count()));
    hashes.extend(names().map(folded_hash));
    hashes.sort_unstable();
    let doubled: Vec<u32> = hashes
        .windows(2)
        .filter(|twins| twins[0] == twins[1])
        .map(|twins| twins[0])
        .collect();
    drop(hashes);
    if doubled.is_empty() {
        return Ok(());
    }
    let mut suspects: Vec<&[u8]> = names()
        .filter(|name| doubled.binary_search(&folded_hash(name)).is_ok())
        .collect();
    suspects.sort_by_key(|name| fold(name));
    match suspects
        .windows(2)
        .find(|twins| fold(twins[0]) == fold(twins[1]))
    {
        Some(twins) => Err(Ambiguous {
            one: twins[0].to_vec(),
            other: twins[1].to_vec(),
        }),
        None => Ok(()),
    }
}

fn pair_folded(lists: [&dyn Names; 3]) -> Result<Vec<Places>, Ambiguous> {
    let mut keyed: Vec<(Vec<u8>, usize, u32)> = Vec::new();
    for (list, names) in lists.into_iter().enumerate() {
        keyed.extend(
            (0..names.count()).map(|index| (fold(names.name_at(index)), list, index as u32)),
        );
    }
    keyed.sort_unstable();
    let mut pairs: Vec<Places> = Vec::new();
    for group in keyed.chunk_by(|one, other| one.0 == other.0) {
        let mut pair = Places::nowhere();
        let mut stale_records = Vec::new();
        for &(_, list, index) in group {
            let taken = pair.at[list];
            if taken == NOWHERE {
                pair.at[list] = index;
            } else if list == RECORD {
                // Two records for what is one name now: the one that a side still spells so is kept.
                stale_records.push(index);
            } else {
                return Err(Ambiguous {
                    one: lists[list].name_at(taken as usize).to_vec(),
                    other: lists[list].name_at(index as usize).to_vec(),
                });
            }
        }
        let spelled = |record: u32| {
            let name = lists[RECORD].name_at(record as usize);
            [LOCAL, REMOTE].into_iter().any(|list| {
                pair.place(list)
                    .is_some_and(|at| lists[list].name_at(at) == name)
            })
        };
        if let Some(better) = stale_records.iter_mut().find(|record| spelled(**record))
            && !spelled(pair.at[RECORD])
        {
            std::mem::swap(better, &mut pair.at[RECORD]);
        }
        pairs.push(pair);
        pairs.extend(stale_records.into_iter().map(|record| {
            let mut alone = Places::nowhere();
            alone.at[RECORD] = record;
            alone
        }));
    }
    Ok(pairs)
}

/// The name in lower case, where it is text; other bytes stay.
fn fold(name: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        folded.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}

fn folded_hash(name: &[u8]) -> u32 {
    let mut hash = Fnv64::new();
    if name.is_ascii() {
        // The common case without an allocation.
        for byte in name {
            hash.update(&[byte.to_ascii_lowercase()]);
        }
    } else {
        hash.update(&fold(name));
    }
    let hash = hash.finish();
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    struct List(Vec<&'static str>);

    impl Names for List {
        fn count(&self) -> usize {
            self.0.len()
        }

        fn name_at(&self, index: usize) -> &[u8] {
            self.0[index].as_bytes()
        }
    }

    type Row = (
        Option<&'static str>,
        Option<&'static str>,
        Option<&'static str>,
    );

    fn paired(
        local: &[&'static str],
        remote: &[&'static str],
        records: &[&'static str],
        case: Case,
    ) -> Result<Vec<Row>, Ambiguous> {
        let [local, remote, records] = [local, remote, records].map(|names| List(names.to_vec()));
        let pairs = pair_up(&local, &remote, &records, case)?;
        let row = |pair: Places| {
            (
                pair.local().map(|at| local.0[at]),
                pair.remote().map(|at| remote.0[at]),
                pair.record().map(|at| records.0[at]),
            )
        };
        Ok(pairs.iter(&local, &remote, &records).map(row).collect())
    }

    #[test]
    fn merges_three_lists_by_name() {
        assert_eq!(
            paired(&["a", "c"], &["b", "c"], &["c", "d"], Case::Strict),
            Ok(vec![
                (Some("a"), None, None),
                (None, Some("b"), None),
                (Some("c"), Some("c"), Some("c")),
                (None, None, Some("d")),
            ])
        );
    }

    #[test]
    fn refuses_names_that_differ_only_in_case() {
        let ambiguous = |local: &[&'static str], remote: &[&'static str]| {
            paired(local, remote, &[], Case::Refuse).is_err()
        };
        assert!(ambiguous(&["A", "a"], &[]), "on one side");
        assert!(ambiguous(&["A"], &["a"]), "across the sides");
        assert!(ambiguous(&["É"], &["é"]), "beyond ASCII");
        assert!(!ambiguous(&["a", "b"], &["a", "b"]));
    }

    #[test]
    fn names_of_one_hash_are_told_apart() {
        // Found by trying: of 100,000 such names one pair in each 32-bit hash is to be expected.
        let name = |number: u32| format!("{number:06}").into_bytes();
        let mut seen = std::collections::HashMap::new();
        let twins = (0..1_000_000).find_map(|number| {
            let twin = seen.insert(folded_hash(&name(number)), number)?;
            Some([twin, number])
        });
        let twins = twins.expect("a million names have two of one hash");
        let text = |number| &*String::from_utf8(name(number)).unwrap().leak();
        let [one, other] = twins.map(text);
        assert!(paired(&[one, other], &[], &[], Case::Refuse).is_ok());
        assert!(paired(&[one, other, "A", "a"], &[], &[], Case::Refuse).is_err());
    }

    #[test]
    fn a_record_of_another_case_is_no_ambiguity() {
        let pairs = paired(&["a"], &["a"], &["A"], Case::Refuse);
        assert_eq!(
            pairs,
            Ok(vec![(None, None, Some("A")), (Some("a"), Some("a"), None)])
        );
    }

    #[test]
    fn strict_keeps_them_apart_and_local_pairs_them() {
        assert_eq!(
            paired(&["A"], &["a"], &["A"], Case::Strict),
            Ok(vec![(Some("A"), None, Some("A")), (None, Some("a"), None)])
        );
        assert_eq!(
            paired(&["A"], &["a"], &["A"], Case::Local),
            Ok(vec![(Some("A"), Some("a"), Some("A"))])
        );
        assert!(paired(&["A", "a"], &[], &[], Case::Local).is_err());
    }

    #[test]
    fn of_two_records_the_one_still_spelled_so_counts() {
        assert_eq!(
            paired(&["a"], &["a"], &["A", "a"], Case::Remote),
            Ok(vec![
                (Some("a"), Some("a"), Some("a")),
                (None, None, Some("A"))
            ])
        );
    }

    #[test]
    #[should_panic(expected = "sorted")]
    fn refuses_unsorted_names() {
        let _ = paired(&["b", "a"], &[], &[], Case::Strict);
    }
}
