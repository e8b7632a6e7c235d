//! Pairs what is on the two sides and in the records, name by name. Pure.
//!
//! Three sorted lists are merged in one pass. Where names that differ only in case count as one (`--case local`,
//! `--case remote`), they are paired by their folded form; where they might be confused (no `--case`), nothing is done with
//! them. A name that a side is known to spell otherwise pairs by the name it stands for.

use crate::job::Case;
use crate::path::{Fnv64, fold_case};
use crate::replica::Listing;
use crate::side::Sides;
use crate::sync::record::Block;

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

impl Names for Block {
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

/// The pairs of a directory.
#[derive(Debug, Default)]
pub struct Pairs {
    order: Order,
    /// Names that differ from another one only in case, where nobody said what that is to mean; sorted.
    lookalikes: Vec<Box<[u8]>>,
}

#[derive(Debug, Default)]
enum Order {
    /// Names pair with themselves: the lists are merged again whenever they are looked at, which takes less of a router
    /// than keeping the places of 50,000 names.
    #[default]
    Alike,
    /// Names pair by a key: their folded form, or the name that a spelling stands for.
    Keyed(Vec<Places>),
}

impl Pairs {
    /// The places of each pair in the lists that were paired up, in the order of their bytes.
    pub fn iter<'l>(
        &'l self,
        local: &'l dyn Names,
        remote: &'l dyn Names,
        records: &'l dyn Names,
    ) -> impl Iterator<Item = Places> + use<'l> {
        let (mut merge, keyed) = match &self.order {
            Order::Alike => (Some(Merge::of([local, remote, records])), &[][..]),
            Order::Keyed(pairs) => (None, &pairs[..]),
        };
        let mut keyed = keyed.iter().copied();
        std::iter::from_fn(move || merge.as_mut().map_or_else(|| keyed.next(), Merge::next))
    }

    /// Whether another name of the directory differs from this one only in case, so that nothing is to be done with either.
    pub fn is_lookalike(&self, name: &[u8]) -> bool {
        self.lookalikes
            .binary_search_by(|other| (**other).cmp(name))
            .is_ok()
    }
}

/// Pairs the names of both sides and of the records. `spellings` holds the names that a side spells otherwise: its spelling
/// first, then the name that it stands for; sorted.
///
/// # Panics
/// When a list is not sorted or names something twice: pairing it would lose entries.
pub fn pair_up(
    local: &dyn Names,
    remote: &dyn Names,
    records: &dyn Names,
    spellings: &Sides<Vec<(&[u8], &[u8])>>,
    case: Case,
) -> Pairs {
    let lists = [local, remote, records];
    for list in lists {
        let sorted = (1..list.count()).all(|index| list.name_at(index - 1) < list.name_at(index));
        assert!(sorted, "lists are sorted and hold each name once");
    }
    let folds = matches!(case, Case::Local | Case::Remote);
    let has_spellings = !spellings.local.is_empty() || !spellings.remote.is_empty();
    let mut pairs = if folds || has_spellings {
        pair_keyed(lists, |list, name| {
            let spellings: &[(&[u8], &[u8])] = match list {
                LOCAL => &spellings.local,
                REMOTE => &spellings.remote,
                _ => &[],
            };
            let known = spellings
                .binary_search_by(|(shown, _)| (*shown).cmp(name))
                .map_or(name, |at| spellings[at].1);
            if folds {
                fold_case(known)
            } else {
                known.to_vec()
            }
        })
    } else {
        Pairs::default()
    };
    if case == Case::Refuse {
        pairs.lookalikes = lookalikes(lists, &pairs);
    }
    pairs
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

/// The names of which another pair has one that folds to the same. Compares 32-bit hashes first, which take little memory.
fn lookalikes(lists: [&dyn Names; 3], pairs: &Pairs) -> Vec<Box<[u8]>> {
    let names = || {
        let [local, remote, records] = lists;
        pairs.iter(local, remote, records).flat_map(|pair| {
            let local = pair.local().map(|at| lists[LOCAL].name_at(at));
            let remote = pair.remote().map(|at| lists[REMOTE].name_at(at));
            // What is one entry is no lookalike of itself.
            let is_one = |remote: &&[u8]| {
                local.is_some_and(|local| local == *remote || fold_case(local) == fold_case(remote))
            };
            local
                .into_iter()
                .chain(remote.filter(|remote| !is_one(remote)))
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
        return Vec::new();
    }
    let mut suspects: Vec<&[u8]> = names()
        .filter(|name| doubled.binary_search(&folded_hash(name)).is_ok())
        .collect();
    suspects.sort_by_key(|name| fold_case(name));
    let mut found: Vec<Box<[u8]>> = suspects
        .chunk_by(|one, other| fold_case(one) == fold_case(other))
        .filter(|alike| alike.len() > 1)
        .flatten()
        .map(|name| (*name).into())
        .collect();
    found.sort_unstable();
    found
}

/// Pairs names by their keys. Two names of one list with one key are no pair of anything, but lookalikes.
fn pair_keyed(lists: [&dyn Names; 3], key: impl Fn(usize, &[u8]) -> Vec<u8>) -> Pairs {
    let mut keyed: Vec<(Vec<u8>, usize, u32)> = Vec::new();
    for (list, names) in lists.into_iter().enumerate() {
        keyed.extend(
            (0..names.count()).map(|index| (key(list, names.name_at(index)), list, index as u32)),
        );
    }
    keyed.sort_unstable();
    let mut pairs: Vec<Places> = Vec::new();
    let mut lookalikes: Vec<Box<[u8]>> = Vec::new();
    for group in keyed.chunk_by(|one, other| one.0 == other.0) {
        let mut pair = Places::nowhere();
        let mut further = Vec::new();
        for &(_, list, index) in group {
            let taken = pair.at[list];
            if taken == NOWHERE {
                pair.at[list] = index;
            } else {
                further.push((list, index));
                if list != RECORD {
                    lookalikes
                        .extend([taken, index].map(|at| lists[list].name_at(at as usize).into()));
                }
            }
        }
        keep_better_record(lists, &mut pair, &mut further);
        pairs.push(pair);
        pairs.extend(further.into_iter().map(|(list, index)| {
            let mut alone = Places::nowhere();
            alone.at[list] = index;
            alone
        }));
    }
    lookalikes.sort_unstable();
    lookalikes.dedup();
    Pairs {
        order: Order::Keyed(pairs),
        lookalikes,
    }
}

/// Of two records for what is one name now, the one that a side still spells so is kept.
fn keep_better_record(lists: [&dyn Names; 3], pair: &mut Places, further: &mut [(usize, u32)]) {
    let spelled = |pair: &Places, record: u32| {
        let name = lists[RECORD].name_at(record as usize);
        [LOCAL, REMOTE].into_iter().any(|list| {
            pair.place(list)
                .is_some_and(|at| lists[list].name_at(at) == name)
        })
    };
    if pair.at[RECORD] == NOWHERE || spelled(pair, pair.at[RECORD]) {
        return;
    }
    let better = further
        .iter_mut()
        .find(|(list, record)| *list == RECORD && spelled(pair, *record));
    if let Some((_, record)) = better {
        std::mem::swap(record, &mut pair.at[RECORD]);
    }
}

fn folded_hash(name: &[u8]) -> u32 {
    let mut hash = Fnv64::new();
    if name.is_ascii() {
        // The common case without an allocation.
        for byte in name {
            hash.update(&[byte.to_ascii_lowercase()]);
        }
    } else {
        hash.update(&fold_case(name));
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

    fn paired_with(
        local: &[&'static str],
        remote: &[&'static str],
        records: &[&'static str],
        spellings: &[(&[u8], &[u8])],
        case: Case,
    ) -> (Vec<Row>, Vec<String>) {
        let [local, remote, records] = [local, remote, records].map(|names| List(names.to_vec()));
        let spellings = Sides::new(Vec::new(), spellings.to_vec());
        let pairs = pair_up(&local, &remote, &records, &spellings, case);
        let row = |pair: Places| {
            (
                pair.local().map(|at| local.0[at]),
                pair.remote().map(|at| remote.0[at]),
                pair.record().map(|at| records.0[at]),
            )
        };
        let lookalikes = pairs.lookalikes.iter();
        let lookalikes = lookalikes.map(|name| String::from_utf8(name.to_vec()).unwrap());
        (
            pairs.iter(&local, &remote, &records).map(row).collect(),
            lookalikes.collect(),
        )
    }

    fn paired(
        local: &[&'static str],
        remote: &[&'static str],
        records: &[&'static str],
        case: Case,
    ) -> Vec<Row> {
        paired_with(local, remote, records, &[], case).0
    }

    fn lookalikes(local: &[&'static str], remote: &[&'static str], case: Case) -> Vec<String> {
        paired_with(local, remote, &[], &[], case).1
    }

    #[test]
    fn merges_three_lists_by_name() {
        assert_eq!(
            paired(&["a", "c"], &["b", "c"], &["c", "d"], Case::Strict),
            [
                (Some("a"), None, None),
                (None, Some("b"), None),
                (Some("c"), Some("c"), Some("c")),
                (None, None, Some("d")),
            ]
        );
    }

    #[test]
    fn finds_names_that_differ_only_in_case() {
        assert_eq!(
            lookalikes(&["A", "a", "b"], &[], Case::Refuse),
            ["A", "a"],
            "on one side"
        );
        assert_eq!(
            lookalikes(&["A"], &["a", "c"], Case::Refuse),
            ["A", "a"],
            "across the sides"
        );
        assert_eq!(
            lookalikes(&["É"], &["é"], Case::Refuse),
            ["É", "é"],
            "beyond ASCII"
        );
        assert!(lookalikes(&["a", "b"], &["a", "b"], Case::Refuse).is_empty());
        assert!(lookalikes(&["A"], &["a"], Case::Strict).is_empty());
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
        assert!(lookalikes(&[one, other], &[], Case::Refuse).is_empty());
        assert_eq!(
            lookalikes(&[one, other, "A", "a"], &[], Case::Refuse),
            ["A", "a"]
        );
    }

    #[test]
    fn a_record_of_another_case_is_no_lookalike() {
        let (pairs, lookalikes) = paired_with(&["a"], &["a"], &["A"], &[], Case::Refuse);
        assert_eq!(
            pairs,
            [(None, None, Some("A")), (Some("a"), Some("a"), None)]
        );
        assert!(lookalikes.is_empty());
    }

    #[test]
    fn strict_keeps_them_apart_and_local_pairs_them() {
        assert_eq!(
            paired(&["A"], &["a"], &["A"], Case::Strict),
            [(Some("A"), None, Some("A")), (None, Some("a"), None)]
        );
        assert_eq!(
            paired(&["A"], &["a"], &["A"], Case::Local),
            [(Some("A"), Some("a"), Some("A"))]
        );
        assert_eq!(lookalikes(&["A", "a"], &[], Case::Local), ["A", "a"]);
    }

    #[test]
    fn of_two_records_the_one_still_spelled_so_counts() {
        assert_eq!(
            paired(&["a"], &["a"], &["A", "a"], Case::Remote),
            [(Some("a"), Some("a"), Some("a")), (None, None, Some("A"))]
        );
    }

    #[test]
    fn a_known_spelling_pairs_with_its_record() {
        let spelling: (&[u8], &[u8]) = (b"cafe~", b"cafe");
        let (pairs, lookalikes) = paired_with(
            &["cafe", "d"],
            &["cafe~", "d"],
            &["cafe"],
            &[spelling],
            Case::Refuse,
        );
        assert_eq!(
            pairs,
            [
                (Some("cafe"), Some("cafe~"), Some("cafe")),
                (Some("d"), Some("d"), None)
            ]
        );
        assert!(lookalikes.is_empty());
    }

    #[test]
    #[should_panic(expected = "sorted")]
    fn refuses_unsorted_names() {
        let _ = paired(&["b", "a"], &[], &[], Case::Strict);
    }
}
