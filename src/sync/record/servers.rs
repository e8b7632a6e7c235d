//! What was learnt of servers: one small file for each host and port below the state directory, so that a run begins where the
//! last one ended.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::path::{Escaped, Fnv64};
use crate::replica::Memory;
use crate::sync::record::Mode;
use crate::sync::record::register::replace;

/// The directory of these files below a state directory.
const DIR_NAME: &str = "servers";

/// More than what any server gives to learn, in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// The memory of servers.
#[derive(Debug)]
pub struct Servers {
    dir: PathBuf,
    mode: Mode,
}

impl Servers {
    /// The memory in that state directory, which need not exist.
    pub fn of(state_dir: &Path, mode: Mode) -> Self {
        Self {
            dir: state_dir.join(DIR_NAME),
            mode,
        }
    }

    fn path(&self, place: &str) -> PathBuf {
        let mut hash = Fnv64::new();
        hash.update(place.as_bytes());
        self.dir.join(format!("{:016x}", hash.finish()))
    }
}

impl Memory for Servers {
    fn recall(&self, place: &str) -> Option<Vec<u8>> {
        let file = std::fs::File::open(self.path(place)).ok()?;
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text).ok()?;
        Some(text)
    }

    fn keep(&self, place: &str, text: &[u8]) {
        let path = self.path(place);
        if self.mode == Mode::ReadWrite
            && let Err(error) = replace(&path, text)
        {
            let shown = Escaped(path.as_os_str().as_bytes());
            log::debug!("writing {shown}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::record::scratch::Scratch;

    #[test]
    fn each_server_is_remembered_by_itself() {
        let scratch = Scratch::new("servers");
        let servers = Servers::of(&scratch.join("state"), Mode::ReadWrite);
        assert_eq!(servers.recall("nas:21"), None);
        servers.keep("nas:21", b"no MLSD");
        assert_eq!(servers.recall("nas:21").as_deref(), Some(&b"no MLSD"[..]));
        assert_eq!(servers.recall("nas:2121"), None);
    }

    #[test]
    fn a_dry_run_keeps_nothing() {
        let scratch = Scratch::new("servers-dry");
        let servers = Servers::of(&scratch.join("state"), Mode::ReadOnly);
        servers.keep("nas:21", b"no MLSD");
        assert_eq!(servers.recall("nas:21"), None);
        assert!(!scratch.join("state").exists());
    }
}
