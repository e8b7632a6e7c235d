//! What is remembered of a job outside of its roots.
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::side::Sides;
use crate::sync::record::PeerKey;

/// A job as the register knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobId {
    /// The local root, absolute.
    pub local: PathBuf,
    /// The other side.
    pub peer: PeerKey,
}

/// What is remembered of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Whether each side held files after the last run.
    pub held: Sides<bool>,
    /// The identities of the file systems that were seen at each side's path; 0 for one that keeps none.
    pub identities: Sides<Vec<u64>>,
}

/// The register.
#[derive(Debug, Clone)]
pub struct Register {}

/// The state directory of this user.
pub fn state_dir(_given: Option<&Path>, _variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    todo!()
}

impl Register {
    /// The register in a state directory.
    pub fn of(_state_dir: &Path) -> Self {
        todo!()
    }
    /// What is remembered of the job.
    pub fn read(&self, _job: &JobId) -> Option<Remembered> {
        todo!()
    }
    /// Remembers this of the job; says whether anything was written.
    pub fn remember(&self, _job: &JobId, _remembered: &Remembered) -> Result<bool> {
        todo!()
    }
    /// The name of this holder of locks.
    pub fn holder(&self) -> Result<String> {
        todo!()
    }
}
