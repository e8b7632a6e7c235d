//! Files that are for one user's eyes.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// A list of hosts and passwords is small; what is larger is something else.
const MAX_BYTES: usize = 1024 * 1024;

/// What is in the file; none where there is no file. Fails with the reason where it cannot be read, or others can.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(plain(error)),
    };
    if is_open_to_others(file.metadata().map_err(plain)?.permissions().mode()) {
        return Err("others can read it; chmod 600 helps".to_owned());
    }
    let mut content = Vec::new();
    // One byte more tells that there is more.
    file.take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut content)
        .map_err(plain)?;
    if content.len() > MAX_BYTES {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok(Some(content))
}

/// The error in the words that all errors have here.
pub(super) fn plain(error: io::Error) -> String {
    Error::new(ErrorKind::Disk(error)).to_string()
}

/// Whether users other than the owner can read a file of this mode.
pub(super) const fn is_open_to_others(mode: u32) -> bool {
    mode & 0o044 != 0
}
