//! Opens the archive.
use std::path::Path;

use crate::error::Result;
use crate::sync::record::{Archive, Home, Journal, PeerKey};

/// What may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing, anywhere: a dry run.
    ReadOnly,
    /// All that is needed.
    ReadWrite,
}

/// An archive and the journal that goes on with it.
pub struct Opened {
    /// The archive.
    pub archive: Archive,
    /// The journal.
    pub journal: Journal,
    /// What the user has to be told.
    pub notices: Vec<String>,
    /// False where both sides meet as for the first time although there was an archive.
    pub may_delete: bool,
}

/// Opens the archive for this peer.
pub fn open(
    _home: &Home,
    _elsewhere: Option<&Home>,
    _local_root: &Path,
    _peer: &PeerKey,
    _mode: Mode,
    _migrate: bool,
) -> Result<Opened> {
    todo!()
}
