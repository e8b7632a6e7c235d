//! The journal.
use crate::error::Result;
use crate::path::RelPath;
use crate::sync::record::{Change, Intent};

/// A journal to be appended to, by any thread.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// A journal that keeps nothing, as that of a dry run.
    pub fn nowhere() -> Self {
        todo!()
    }
    /// Notes a step that is about to be made.
    pub fn intend(&self, _intent: &Intent) -> Result<()> {
        todo!()
    }
    /// Notes what is true of the records of that directory now.
    pub fn note(&self, _dir: &RelPath, _change: &Change) -> Result<()> {
        todo!()
    }
    /// Writes what is not yet written.
    pub fn flush(&self) -> Result<()> {
        todo!()
    }
    /// Whether nothing was noted, neither by this run nor by one that was cut off.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Renames of directories, from and to, that a run began and did not end.
    pub fn unfinished_moves(&self) -> Vec<(RelPath, RelPath)> {
        todo!()
    }
    /// Whether what a killed run left surely comes from this boot of the machine.
    pub fn is_same_boot(&self) -> bool {
        todo!()
    }
    /// Makes sure that there is room for that many bytes of notes and for the next archive.
    pub fn reserve(&self, _bytes: u64) -> Result<()> {
        todo!()
    }
}
