//! This process and others: locks and who holds them, what others can see of this one, and its memory.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use nix::fcntl::FlockArg;

use super::Identity;

/// Tries to lock the open file or directory for this descriptor alone; the lock ends when it is closed.
/// `EWOULDBLOCK` where somebody else holds it.
pub fn try_lock(fd: BorrowedFd<'_>) -> io::Result<()> {
    // nix's other form unlocks by itself, which closing does as well, and takes the descriptor away.
    #[allow(deprecated)]
    Ok(nix::fcntl::flock(
        fd.as_raw_fd(),
        FlockArg::LockExclusiveNonblock,
    )?)
}

/// A process, as the user may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// What it was started as, without directories; empty where that cannot be told.
    pub program: Vec<u8>,
}

/// Who holds a lock on that file or directory, where the kernel tells.
pub fn lock_holder(locked: Identity) -> Option<Process> {
    let locks = std::fs::read("/proc/locks").ok()?;
    let pid = holder_in(&locks, locked)?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let path = command.split(|byte| *byte == 0).next().unwrap_or_default();
    let program = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    Some(Process {
        pid,
        program: program.to_vec(),
    })
}

/// Finds the holder in the text of `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 1234 08:01:131 0 EOF`.
///
/// Some file systems (btrfs, overlayfs) show there another device than to stat(2), so the device only decides
/// between several locks on the same inode number.
fn holder_in(locks: &[u8], locked: Identity) -> Option<u32> {
    let mut other_device = None;
    for line in locks.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        // Those who wait have a "->" before their type, and hold nothing.
        let [_, "FLOCK", _, _, pid, place, ..] = fields[..] else {
            continue;
        };
        let mut place = place.split(':');
        let (Some(major), Some(minor), Some(inode)) = (place.next(), place.next(), place.next())
        else {
            continue;
        };
        // A holder in another pid namespace is shown as 0 or -1.
        let Some(pid) = pid.parse::<u32>().ok().filter(|pid| *pid > 0) else {
            continue;
        };
        if inode.parse() != Ok(locked.inode) {
            continue;
        }
        let device = (
            u32::from_str_radix(major, 16),
            u32::from_str_radix(minor, 16),
        );
        if let (Ok(major), Ok(minor)) = device
            && libc::makedev(major, minor) as u64 == locked.device
        {
            return Some(pid);
        }
        other_device = Some(pid);
    }
    other_device
}

/// Writes `new` over the arguments of this process as the list of processes shows them. Both must take as many bytes, and `old`
/// must be what stands there: an emulator may show other addresses than it uses. Not possible after [`forbid_core_dumps`].
pub fn replace_arguments(old: &[OsString], new: &[OsString]) -> io::Result<()> {
    /// The place of `arg_start` behind the name of the program, see proc_pid_stat(5).
    const ARG_START: usize = 45;

    let joined = |args: &[OsString]| -> Vec<u8> {
        let each = args.iter().map(|arg| arg.as_bytes());
        each.flat_map(|arg| arg.iter().copied().chain([0]))
            .collect()
    };
    let (old, new) = (joined(old), joined(new));
    let stat = std::fs::read("/proc/self/stat")?;
    let stat = String::from_utf8_lossy(&stat);
    let begin = stat
        .rsplit_once(") ")
        .and_then(|(_, fields)| fields.split(' ').nth(ARG_START)?.parse().ok())
        .filter(|begin| *begin > 0 && old.len() == new.len())
        .ok_or(io::ErrorKind::Unsupported)?;
    let memory = File::options()
        .read(true)
        .write(true)
        .open("/proc/self/mem")?;
    let mut there = vec![0; old.len()];
    memory.read_exact_at(&mut there, begin)?;
    if there != old {
        return Err(io::ErrorKind::Unsupported.into());
    }
    memory.write_all_at(&new, begin)
}

/// Keeps the process's memory, which holds passwords, from being written to disk when it crashes and from being read
/// by other processes of the same user. Best effort.
pub fn forbid_core_dumps() {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is valid for the call.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
    // SAFETY: this prctl takes one number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0 as libc::c_ulong) };
}

/// Lets all threads share one heap, and gives large pieces back to the system as soon as they are free. glibc would
/// give each thread a heap that never shrinks, which is faster and on a small router too much; other C libraries need
/// no telling. To be called before the first thread is started.
pub fn spare_memory() {
    #[cfg(target_env = "gnu")]
    {
        /// From this size on a piece of memory is mapped by itself, in bytes.
        const LARGE_BYTES: libc::c_int = 64 * 1024;
        // SAFETY: it sets a number inside the allocator.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        // SAFETY: as above.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &[u8] = b"1: FLOCK  ADVISORY  WRITE 77 08:01:131 0 EOF\n\
        1: -> FLOCK  ADVISORY  WRITE 78 08:01:131 0 EOF\n\
        2: POSIX  ADVISORY  WRITE 79 08:01:132 0 EOF\n\
        3: FLOCK  ADVISORY  WRITE 80 00:2a:140 0 EOF\n\
        4: FLOCK  ADVISORY  WRITE 0 08:01:150 0 EOF\n";

    fn identity(major: u32, minor: u32, inode: u64) -> Identity {
        Identity {
            device: libc::makedev(major, minor) as u64,
            inode,
        }
    }

    #[test]
    fn finds_the_holder_of_a_lock() {
        assert_eq!(holder_in(LOCKS, identity(8, 1, 131)), Some(77));
    }

    #[test]
    fn finds_the_holder_where_the_device_is_shown_differently() {
        assert_eq!(holder_in(LOCKS, identity(0, 43, 140)), Some(80));
    }

    #[test]
    fn names_no_holder_of_other_locks_or_other_namespaces() {
        assert_eq!(holder_in(LOCKS, identity(8, 1, 132)), None);
        assert_eq!(holder_in(LOCKS, identity(8, 1, 150)), None);
        assert_eq!(holder_in(b"", identity(8, 1, 131)), None);
        assert_eq!(holder_in(b"1: FLOCK\n\xff\n", identity(8, 1, 131)), None);
    }
}
