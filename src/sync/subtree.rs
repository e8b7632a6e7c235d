//! Whether a subtree is still what it was when it was last synced, told without its records. Pure.
//!
//! The records of a directory lie in it on the local side. Where that directory was deleted they went with it, and
//! what is left is one line in the parent's metadata: the digest of the subtree, or, where pyftpsync wrote the line,
//! its time.

use std::collections::{HashMap, HashSet};

use crate::path::RelPath;
use crate::replica::{Kind, Listing, Stat};
use crate::sync::digest::SubtreeHash;
use crate::sync::filter::Filter;
use crate::time::Timestamp;

/// What tells whether the files of a subtree changed since they were synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The digest of the subtree: if it differs, any file may have changed.
    Digest(u64),
    /// The time of the record: what is not younger did not change since. A file that was put there later with an older
    /// time is mistaken for a synced one; this is only believed where no digest was ever made.
    Since(Timestamp),
}

/// A subtree as it is listed.
#[derive(Debug)]
pub struct Subtree<'f> {
    listings: Vec<(RelPath, Listing)>,
    filter: &'f Filter,
}

/// One entry of a subtree, and what is to be thought of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its path.
    pub path: RelPath,
    /// What was listed.
    pub stat: Stat,
    /// The same as its side itself shows it.
    pub shown: Stat,
    /// What is to be thought of it.
    pub verdict: Verdict,
}

/// What is to be thought of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it was synced.
    Unchanged,
    /// It may have changed, or appeared.
    Changed,
    /// The filter rejects it, with all that is below.
    Unmatched,
}

impl<'f> Subtree<'f> {
    /// The listings of a directory and of all below it, each before those in it.
    pub const fn new(listings: Vec<(RelPath, Listing)>, filter: &'f Filter) -> Self {
        Self { listings, filter }
    }

    /// Judges all entries, each directory before what is in it.
    pub fn judge(&self, evidence: Evidence) -> Vec<Judged> {
        let is_as_recorded = match evidence {
            Evidence::Digest(recorded) => self.digest() == Some(recorded),
            Evidence::Since(_) => true,
        };
        let verdict = |stat: &Stat| {
            let unchanged = match (evidence, stat.mtime) {
                (Evidence::Since(at), Some(mtime)) => {
                    mtime.latest() <= at || mtime.latest().is_close_to(at)
                }
                (Evidence::Since(_), None) => stat.kind == Kind::Dir,
                (Evidence::Digest(_), _) => is_as_recorded,
            };
            if unchanged {
                Verdict::Unchanged
            } else {
                Verdict::Changed
            }
        };
        let mut judged = Vec::new();
        let mut rejected: HashSet<RelPath> = HashSet::new();
        for (dir, listing) in &self.listings {
            if rejected.contains(dir) {
                rejected.extend(listing.iter().map(|entry| dir.join(entry.name)));
                continue;
            }
            for entry in listing.iter() {
                let path = dir.join(entry.name);
                let verdict = if self.filter.accepts(&path, entry.stat.kind) {
                    verdict(&entry.stat)
                } else {
                    rejected.insert(path.clone());
                    Verdict::Unmatched
                };
                judged.push(Judged {
                    path,
                    stat: entry.stat,
                    shown: entry.shown,
                    verdict,
                });
            }
        }
        judged
    }

    /// The digest, as the records would give it if all of this were recorded; none when a file's time is unknown.
    fn digest(&self) -> Option<u64> {
        let mut digests: HashMap<&RelPath, u64> = HashMap::new();
        // Backwards, so that what is in a directory comes before it.
        for (dir, listing) in self.listings.iter().rev() {
            let mut hash = SubtreeHash::new();
            for entry in listing.iter() {
                let path = dir.join(entry.name);
                if !self.filter.accepts(&path, entry.stat.kind) {
                    continue;
                }
                match entry.stat.kind {
                    Kind::File => hash.file(
                        entry.name,
                        entry.stat.size,
                        entry.stat.exact_mtime()?.as_secs(),
                    ),
                    Kind::Dir => hash.dir(entry.name, *digests.get(&path)?),
                    Kind::Special => {}
                }
            }
            digests.insert(dir, hash.finish());
        }
        self.listings
            .first()
            .and_then(|(top, _)| digests.get(top).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Selection;

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    fn listing(entries: &[(&str, Stat)]) -> Listing {
        let mut listing = Listing::new();
        for (name, stat) in entries {
            listing.push(name.as_bytes(), *stat);
        }
        listing.sort();
        listing
    }

    fn tree(secs: i64) -> Vec<(RelPath, Listing)> {
        let file = Stat::file(3, Timestamp::from_secs(secs));
        vec![
            (path("top"), listing(&[("a", file), ("sub", Stat::dir())])),
            (
                path("top/sub"),
                listing(&[("b", Stat::file(4, Timestamp::from_secs(50)))]),
            ),
        ]
    }

    fn verdicts(
        listings: Vec<(RelPath, Listing)>,
        filter: &Filter,
        evidence: Evidence,
    ) -> Vec<(String, Verdict)> {
        let judged = Subtree::new(listings, filter).judge(evidence);
        judged
            .into_iter()
            .map(|entry| (entry.path.to_string(), entry.verdict))
            .collect()
    }

    #[test]
    fn one_changed_file_makes_all_doubtful() {
        let filter = Filter::default();
        let digest = Subtree::new(tree(100), &filter).digest().unwrap();
        let all = |listings| {
            verdicts(listings, &filter, Evidence::Digest(digest))
                .into_iter()
                .map(|(_, verdict)| verdict)
        };
        assert!(all(tree(100)).all(|verdict| verdict == Verdict::Unchanged));
        assert!(all(tree(101)).all(|verdict| verdict == Verdict::Changed));
    }

    #[test]
    fn without_a_digest_the_time_of_the_record_tells() {
        let verdicts = verdicts(
            tree(100),
            &Filter::default(),
            Evidence::Since(Timestamp::from_secs(80)),
        );
        let expected = [
            ("top/a", Verdict::Changed),
            ("top/sub", Verdict::Unchanged),
            ("top/sub/b", Verdict::Unchanged),
        ];
        assert_eq!(
            verdicts,
            expected.map(|(path, verdict)| (path.to_owned(), verdict))
        );
    }

    #[test]
    fn what_the_filter_rejects_counts_for_nothing() {
        let filter = Filter::new(&Selection {
            matching: Vec::new(),
            excluded: vec!["sub".to_owned()],
        });
        let verdicts = verdicts(
            tree(100),
            &filter,
            Evidence::Since(Timestamp::from_secs(1000)),
        );
        let expected = [
            ("top/a", Verdict::Unchanged),
            ("top/sub", Verdict::Unmatched),
        ];
        assert_eq!(
            verdicts,
            expected.map(|(path, verdict)| (path.to_owned(), verdict))
        );
    }
}
