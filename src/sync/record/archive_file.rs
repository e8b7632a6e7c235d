//! The archive as it lies in its file.
use crate::error::Result;
use crate::path::RelPath;
use crate::sync::record::{Block, DirFacts, PeerKey};

/// What is remembered of a local root and a peer.
pub struct Archive {}

impl Archive {
    /// The archive of a root that never met this peer.
    pub fn nothing(_peer: &PeerKey) -> Self {
        todo!()
    }
    /// Whether nothing is recorded at all.
    pub fn is_first_meeting(&self) -> bool {
        todo!()
    }
    /// What is remembered of that directory; none where nothing is.
    pub fn block(&self, _dir: &RelPath) -> Result<Option<Block>> {
        todo!()
    }
    /// Whether anything is remembered of that directory.
    pub fn holds(&self, _dir: &RelPath) -> bool {
        todo!()
    }
    /// How many files are recorded in the directory and below.
    pub fn files_below(&self, _dir: &RelPath) -> u64 {
        todo!()
    }
    /// All directories, in the order in which a walk meets them.
    pub fn dirs(&self) -> impl Iterator<Item = RelPath> {
        std::iter::empty()
    }
    /// The directories that were mount points, and the identity of what was mounted there.
    pub fn mounts(&self) -> impl Iterator<Item = (RelPath, u64)> {
        std::iter::empty()
    }
    /// The directories with what is known of them, in order.
    pub fn glances(&self) -> Result<Vec<(RelPath, DirFacts)>> {
        todo!()
    }
}
