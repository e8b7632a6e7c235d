//! Where a password is kept.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::job::Secret;
use crate::path::Escaped;

/// Whose entries of the keyring are read and written.
pub(super) const SERVICE: &str = "pyftpsync";

/// Where a password is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the keyring, as pyftpsync's password of a server that goes by this name.
    Keyring(String),
    /// In this file.
    File(PathBuf),
}

/// A password that is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) place: Place,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring(name) => {
                write!(f, "the keyring (service {SERVICE}, user name {name})")
            }
            Self::File(path) => {
                let path = Escaped(path.as_os_str().as_bytes());
                write!(f, "{path}, which this user alone can read")
            }
        }
    }
}
