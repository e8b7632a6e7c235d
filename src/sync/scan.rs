//! Pairs what is on the two sides and in the records, name by name. Pure.
//!
//! Three sorted lists are merged in one pass. Where names that differ only in case count as one (`--case local`,
//! `--case remote`), they are paired by their folded form; where they might be confused (no `--case`), the directory
//! is refused.

use crate::job::Case;
use crate::path::Fnv64;
use crate::sync::metadata::Records;
use crate::target::Listing;

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
        self.at(index)
            .expect("callers stay below `count`")
            .name
            .as_bytes()
    }
}

impl Names for Records {
    fn count(&self) -> usize {
        self.len()
    }

    fn name_at(&self, index: usize) -> &[u8] {
        self.at(index)
            .expect("callers stay below `count`")
            .name
            .as_bytes()
    }
}

/// Where one name stands in the three lists. Small, because a directory may have 50,000.
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

/// Pairs the names of both sides and of the records, in the order of their bytes.
///
/// # Panics
/// When a list is not sorted or names something twice: pairing it would lose entries.
pub fn pair_up(
    local: &dyn Names,
    remote: &dyn Names,
    records: &dyn Names,
    case: Case,
) -> Result<Vec<Places>, Ambiguous> {
    let lists = [local, remote, records];
    for list in lists {
        let sorted = (1..list.count()).all(|index| list.name_at(index - 1) < list.name_at(index));
        assert!(sorted, "lists are sorted and hold each name once");
    }
    match case {
        Case::Strict => Ok(merge(lists)),
        Case::Refuse => {
            let pairs = merge(lists);
            refuse_lookalikes(lists, &pairs)?;
            Ok(pairs)
        }
        Case::Local | Case::Remote => pair_folded(lists),
    }
}

fn merge(lists: [&dyn Names; 3]) -> Vec<Places> {
    let counts = lists.map(Names::count);
    let mut next = [0; 3];
    let mut pairs = Vec::with_capacity(counts.into_iter().max().unwrap_or(0));
    loop {
        let heads = [LOCAL, REMOTE, RECORD]
            .map(|list| (next[list] < counts[list]).then(|| lists[list].name_at(next[list])));
        let Some(least) = heads.into_iter().flatten().min() else {
            return pairs;
        };
        let mut pair = Places::nowhere();
        for list in [LOCAL, REMOTE, RECORD] {
            if heads[list] == Some(least) {
                pair.at[list] = next[list] as u32;
                next[list] += 1;
            }
        }
        pairs.push(pair);
    }
}

/// Finds two names on either side that fold to the same. Compares 64-bit hashes first, which need little memory.
fn refuse_lookalikes(lists: [&dyn Names; 3], pairs: &[Places]) -> Result<(), Ambiguous> {
    let name_of = |pair: &Places| {
        pair.local()
            .map(|at| lists[LOCAL].name_at(at))
            .or_else(|| pair.remote().map(|at| lists[REMOTE].name_at(at)))
    };
    let mut hashes: Vec<(u64, u32)> = pairs
        .iter()
        .enumerate()
        .filter_map(|(index, pair)| name_of(pair).map(|name| (folded_hash(name), index as u32)))
        .collect();
    hashes.sort_unstable();
    for twins in hashes.windows(2).filter(|twins| twins[0].0 == twins[1].0) {
        let [one, other] = [twins[0].1, twins[1].1]
            .map(|index| name_of(&pairs[index as usize]).unwrap_or_default());
        if fold(one) == fold(other) {
            return Err(Ambiguous {
                one: one.to_vec(),
                other: other.to_vec(),
            });
        }
    }
    Ok(())
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

fn folded_hash(name: &[u8]) -> u64 {
    let mut hash = Fnv64::new();
    if name.is_ascii() {
        // The common case without an allocation.
        for byte in name {
            hash.update(&[byte.to_ascii_lowercase()]);
        }
    } else {
        hash.update(&fold(name));
    }
    hash.finish()
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
        let row = |pair: &Places| {
            (
                pair.local().map(|at| local.0[at]),
                pair.remote().map(|at| remote.0[at]),
                pair.record().map(|at| records.0[at]),
            )
        };
        Ok(pairs.iter().map(row).collect())
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
