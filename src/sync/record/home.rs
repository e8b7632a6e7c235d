//! Where archive and journal lie.
use std::path::Path;

/// The directory that holds archive and journal.
#[derive(Debug, Clone)]
pub struct Home {}

impl Home {
    /// In the local root itself: `.coracle`.
    pub fn in_root(_local_root: &Path) -> Self {
        todo!()
    }
    /// Below a state directory.
    pub fn in_state(_state_dir: &Path, _local_root: &Path) -> Self {
        todo!()
    }
}
