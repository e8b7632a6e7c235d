//! Renames: a file that vanished under one name and appeared under another is renamed on the other side, too, instead of
//! being sent again. Pure.
//!
//! The plan is made as if nothing was ever renamed: the old name is to be deleted on the other side, the new one to be
//! copied there. So everything that may forbid either of them has had its say, and what is left are two steps that can
//! be put together:
//!
//! ```text
//!  gone      to be deleted there, unmodified there, recorded with an identity ┐ one of each
//!  appeared  to be copied there, nothing of that name is there yet          ┘ for an identity ─▶ Move
//! ```
//!
//! Both must have the same identity (the inode here, what a server calls `unique`), size and modification time. One that comes twice on either side (hard links)
//! proves nothing. A file system gives a free inode to the next file it makes, and some programs set times that are
//! always the same; so where the file system tells when a file was made, it must have been made before it was recorded.
//!
//! A *directory* is known by its inode, too, and by what is in it: the walk finds that out and visits it as one that both
//! sides have, under two names; see [`mod@crate::sync::plan::walk`].

use crate::replica::{FileIdentity, Mtime};
use crate::time::Timestamp;

/// The place of a step in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its directory.
    pub dir: usize,
    /// Its number there.
    pub step: usize,
}

/// A recorded file that is gone from one side, and is to be deleted on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// The step that deletes it.
    pub at: Place,
    /// Its recorded identity.
    pub id: u64,
    /// Its recorded size in bytes.
    pub size: u64,
    /// Its recorded modification time.
    pub mtime: Mtime,
    /// When it was last seen to be as recorded.
    pub seen_at: Timestamp,
}

/// A file that the other side does not have, and that is to be copied there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appeared {
    /// The step that copies it.
    pub at: Place,
    /// Its identity.
    pub id: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time.
    pub mtime: Mtime,
}

/// A file under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The step that deletes the old name.
    pub from: Place,
    /// The step that copies to the new one.
    pub to: Place,
    id: u64,
    seen_at: Timestamp,
}

/// Puts together what is gone and what appeared.
pub fn match_up(mut gone: Vec<Gone>, appeared: impl Iterator<Item = Appeared>) -> Vec<Move> {
    if gone.is_empty() {
        return Vec::new();
    }
    gone.sort_unstable_by_key(|gone| gone.id);
    // Only those that may match are kept: a first upload copies everything there is.
    let mut found: Vec<Appeared> = appeared
        .filter(|file| gone.binary_search_by_key(&file.id, |gone| gone.id).is_ok())
        .collect();
    found.sort_unstable_by_key(|file| file.id);
    let mut of_gone = gone.chunk_by(|one, other| one.id == other.id);
    found
        .chunk_by(|one, other| one.id == other.id)
        .filter_map(|files| {
            let olds = of_gone.find(|olds| olds[0].id == files[0].id)?;
            let ([old], [new]) = (olds, files) else {
                return None;
            };
            (old.size == new.size && old.mtime.is_same(new.mtime)).then_some(Move {
                from: old.at,
                to: new.at,
                id: old.id,
                seen_at: old.seen_at,
            })
        })
        .collect()
}

impl Move {
    /// Whether the file under the new name is the one that was recorded under the old one, as far as its file system
    /// can tell.
    pub fn is_proven_by(&self, identity: FileIdentity) -> bool {
        identity.inode == self.id && identity.born.is_none_or(|born| born <= self.seen_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(step: usize) -> Place {
        Place { dir: 0, step }
    }

    fn gone(step: usize, id: u64) -> Gone {
        Gone {
            at: at(step),
            id,
            size: 10,
            mtime: Mtime::exact(Timestamp::from_secs(100)),
            seen_at: Timestamp::from_secs(1_000),
        }
    }

    fn appeared(step: usize, id: u64) -> Appeared {
        Appeared {
            at: at(step),
            id,
            size: 10,
            mtime: Mtime::exact(Timestamp::from_secs(100)),
        }
    }

    fn moves(gone: &[Gone], appeared: &[Appeared]) -> Vec<(usize, usize)> {
        match_up(gone.to_vec(), appeared.iter().copied())
            .iter()
            .map(|found| (found.from.step, found.to.step))
            .collect()
    }

    #[test]
    fn the_same_inode_under_another_name_is_a_rename() {
        let found = moves(
            &[gone(0, 7), gone(1, 5), gone(2, 6)],
            &[appeared(3, 9), appeared(4, 6), appeared(5, 7)],
        );
        assert_eq!(found, [(2, 4), (0, 5)]);
    }

    #[test]
    fn another_size_or_time_is_another_file() {
        let other_size = Appeared {
            size: 11,
            ..appeared(1, 7)
        };
        let other_time = Appeared {
            mtime: Mtime::exact(Timestamp::from_secs(101)),
            ..appeared(1, 7)
        };
        assert_eq!(moves(&[gone(0, 7)], &[other_size]), []);
        assert_eq!(moves(&[gone(0, 7)], &[other_time]), []);
    }

    #[test]
    fn hard_links_prove_nothing() {
        assert_eq!(moves(&[gone(0, 7)], &[appeared(1, 7), appeared(2, 7)]), []);
        assert_eq!(moves(&[gone(0, 7), gone(1, 7)], &[appeared(2, 7)]), []);
    }

    #[test]
    fn without_anything_gone_nothing_is_a_rename() {
        assert_eq!(moves(&[], &[appeared(0, 7)]), []);
        assert_eq!(moves(&[gone(0, 7)], &[]), []);
    }

    #[test]
    fn an_inode_that_was_given_to_a_younger_file_proves_nothing() {
        let found = match_up(vec![gone(0, 7)], [appeared(1, 7)].into_iter());
        let is_proven = |inode, born: Option<i64>| {
            found[0].is_proven_by(FileIdentity {
                inode,
                born: born.map(Timestamp::from_secs),
            })
        };
        assert!(is_proven(7, Some(999)) && is_proven(7, None));
        assert!(!is_proven(7, Some(1_001)));
        assert!(!is_proven(8, Some(999)), "somebody swapped it meanwhile");
    }
}
