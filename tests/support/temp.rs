//! A directory of one test's own below `target/tmp`, removed with all that is in it when dropped.

// Some programs include this file alone, and use a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An empty directory that lives as long as this value.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes a new directory whose name starts with `name`.
    pub fn new(name: &str) -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    /// Makes a new directory in memory, where this machine has such a place: thousands of runs need not wait for a disk.
    pub fn in_memory(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        match fs::metadata(memory) {
            Ok(found) if found.is_dir() && !found.permissions().readonly() => {
                Self::below(memory, &format!("coracle-{name}"))
            }
            Ok(_) | Err(_) => Self::new(name),
        }
    }

    fn below(place: &Path, name: &str) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = place.join(format!("{name}-{}-{number}", process::id()));
        // An earlier process of the same id may have been killed before it could remove its own.
        remove_tree(&path);
        fs::create_dir_all(&path).expect("a directory below target/tmp can be made");
        Self { path }
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        remove_tree(&self.path);
    }
}

/// Removes `path` and all below it, also directories that their owner may not write or list.
fn remove_tree(path: &Path) {
    if fs::remove_dir_all(path).is_ok() {
        return;
    }
    open_up(path);
    // What cannot be removed even so stays for `cargo clean`; a panic in a drop would hide the test's own.
    let _ = fs::remove_dir_all(path);
}

fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
