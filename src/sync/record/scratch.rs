//! A directory for one test, gone when the test is done.

use std::path::{Path, PathBuf};

/// The directory.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty directory; `name` is unique among the tests.
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("coracle-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    /// A path in it.
    pub(crate) fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is in the system's directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
