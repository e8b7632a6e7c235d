//! The true times of files on servers that cannot keep them.
use crate::error::Result;
use crate::replica::Mtime;
use crate::time::Timestamp;

/// The true time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrueTime {
    /// The time that the file should have.
    pub mtime: Timestamp,
    /// Its size in bytes.
    pub size: u64,
    /// When it was uploaded, by the server's clock.
    pub uploaded_at: Timestamp,
}

/// pyftpsync's file in a remote directory.
#[derive(Debug, Clone, Default)]
pub struct RemoteTimes {}

impl RemoteTimes {
    /// Reads it.
    pub fn parse(_text: &[u8]) -> Result<Self> {
        todo!()
    }
    /// The true time.
    pub fn get(&self, _name: &[u8], _size: u64, _shown: Option<Mtime>) -> Option<Timestamp> {
        todo!()
    }
    /// Remembers it.
    pub fn set(&mut self, _name: &[u8], _time: TrueTime) {
        todo!()
    }
    /// Forgets it.
    pub fn forget(&mut self, _name: &[u8]) {
        todo!()
    }
    /// The content of the file as of `now`.
    pub fn to_bytes(&self, _now: Timestamp) -> Vec<u8> {
        todo!()
    }
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
}
