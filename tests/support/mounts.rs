//! Mounting in a view of one thread's own: nobody else sees it, and it goes with the thread, however that ends.

// Some test programs include this file privately, and use a part of it.
#![allow(dead_code, unreachable_pub)]

use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// Whether this thread, and what it starts from now on, got a view of its own of what is mounted. Only root does.
pub fn own() -> bool {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
        && mount(None::<&str>, "/", None::<&str>, private, None::<&str>).is_ok()
}

/// Mounts a directory at another one.
pub fn bind(disk: &Path, at: &Path) -> io::Result<()> {
    mount(Some(disk), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

/// Takes away what is mounted there.
pub fn take_away(at: &Path) -> io::Result<()> {
    umount2(at, MntFlags::MNT_DETACH)?;
    Ok(())
}
