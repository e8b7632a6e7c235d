//! What the file system says of an entry, and the time that it is told to remember.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::NixPath;
use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::FileKind;
use crate::time::Timestamp;

/// What the file system says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// When its content changed.
    pub mtime: Timestamp,
    /// When it was made, where the file system tells.
    pub born: Option<Timestamp>,
    /// Its permission bits, without the type.
    pub mode: u32,
    /// Whose it is: user and group.
    pub owner: (u32, u32),
    /// Which thing it is, whatever its name.
    pub identity: Identity,
    /// Whether a file system, or a part of one, is mounted here; none where the kernel does not tell (before Linux 5.8).
    pub is_mount: Option<bool>,
}

/// What statx(2) says of a directory at which something is mounted, also where it is a part of the same file system.
const ATTR_MOUNT_ROOT: u64 = 0x2000;

/// Tells one thing in a file system from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device.
    pub device: u64,
    /// The inode on that device.
    pub inode: u64,
}

/// What the file system says of `name` in `dir`, of a link itself.
pub fn status_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Status> {
    name.with_nix_path(|name| status_of(dir, name, 0))?
}

/// What the file system says of an open file or directory.
pub fn status(fd: BorrowedFd<'_>) -> io::Result<Status> {
    status_of(fd, c"", libc::AT_EMPTY_PATH)
}

/// statx(2) has 64-bit sizes and times on every machine; where it is missing (before Linux 4.11), fstatat(2).
fn status_of(dir: BorrowedFd<'_>, name: &CStr, flags: i32) -> io::Result<Status> {
    static STATX_IS_MISSING: AtomicBool = AtomicBool::new(false);

    let flags = flags | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    if !STATX_IS_MISSING.load(Ordering::Relaxed) {
        let mut found = MaybeUninit::<libc::statx>::zeroed();
        // SAFETY: the name ends with NUL, and the kernel fills a struct of this layout.
        let done = unsafe {
            libc::syscall(
                libc::SYS_statx,
                dir.as_raw_fd(),
                name.as_ptr(),
                flags,
                libc::STATX_BASIC_STATS | libc::STATX_BTIME,
                found.as_mut_ptr(),
            )
        };
        match Errno::result(done) {
            // SAFETY: the call has filled it, and all of its fields are numbers.
            Ok(_) => return Ok(Status::from_statx(&unsafe { found.assume_init() })),
            // EPERM: what old container sandboxes say to system calls they do not know.
            Err(Errno::ENOSYS | Errno::EPERM) => STATX_IS_MISSING.store(true, Ordering::Relaxed),
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut found = MaybeUninit::<libc::stat64>::zeroed();
    // SAFETY: the name ends with NUL, and the C library fills a struct of this layout.
    let done =
        unsafe { libc::fstatat64(dir.as_raw_fd(), name.as_ptr(), found.as_mut_ptr(), flags) };
    Errno::result(done)?;
    // SAFETY: the call has filled it, and all of its fields are numbers.
    Ok(Status::from_stat(&unsafe { found.assume_init() }))
}

impl Status {
    fn from_statx(found: &libc::statx) -> Self {
        let mode = u32::from(found.stx_mode);
        Self {
            kind: FileKind::from_mode(mode),
            size: found.stx_size,
            mtime: timestamp(found.stx_mtime.tv_sec, i64::from(found.stx_mtime.tv_nsec)),
            born: (found.stx_mask & libc::STATX_BTIME != 0)
                .then(|| timestamp(found.stx_btime.tv_sec, i64::from(found.stx_btime.tv_nsec))),
            mode: mode & 0o7777,
            owner: (found.stx_uid, found.stx_gid),
            identity: Identity {
                device: libc::makedev(found.stx_dev_major, found.stx_dev_minor) as u64,
                inode: found.stx_ino,
            },
            is_mount: (found.stx_attributes_mask & ATTR_MOUNT_ROOT != 0)
                .then_some(found.stx_attributes & ATTR_MOUNT_ROOT != 0),
        }
    }

    // The widths of these fields differ from machine to machine.
    #[allow(clippy::unnecessary_cast)]
    fn from_stat(found: &libc::stat64) -> Self {
        let mode = found.st_mode as u32;
        Self {
            kind: FileKind::from_mode(mode),
            size: found.st_size as u64,
            mtime: timestamp(found.st_mtime as i64, found.st_mtime_nsec as i64),
            born: None,
            mode: mode & 0o7777,
            owner: (found.st_uid, found.st_gid),
            identity: Identity {
                device: found.st_dev as u64,
                inode: found.st_ino as u64,
            },
            is_mount: None,
        }
    }
}

const NANOS_PER_SEC: i64 = 1_000_000_000;

/// A time beyond what the type holds becomes its nearest end.
fn timestamp(secs: i64, nanos: i64) -> Timestamp {
    Timestamp::from_nanos(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
}

/// Sets the file's mtime and leaves its access time alone.
pub fn set_mtime(file: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()> {
    let secs = mtime.as_secs();
    let nanos = mtime.as_nanos().rem_euclid(NANOS_PER_SEC);
    #[cfg(target_pointer_width = "32")]
    {
        /// `struct __kernel_timespec`: 64 bits, also where the C library's has 32 and ends in 2038.
        #[repr(C)]
        struct Timespec64 {
            secs: i64,
            nanos: i64,
        }
        // Since Linux 5.4 system calls have the same number everywhere, but for an architecture's own base; so the
        // base of one gives the other (437 is openat2, 412 utimensat_time64).
        const SYS_UTIMENSAT_TIME64: libc::c_long = libc::SYS_openat2 as libc::c_long - 437 + 412;
        let times = [
            Timespec64 {
                secs: 0,
                nanos: libc::UTIME_OMIT as i64,
            },
            Timespec64 { secs, nanos },
        ];
        // SAFETY: a null path means the descriptor itself; the two times are valid for the call.
        let done = unsafe {
            libc::syscall(
                SYS_UTIMENSAT_TIME64,
                file.as_raw_fd(),
                std::ptr::null::<libc::c_char>(),
                times.as_ptr(),
                0,
            )
        };
        match Errno::result(done) {
            Ok(_) => return Ok(()),
            Err(Errno::ENOSYS | Errno::EPERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // Seconds have 32 bits on some machines.
    #[allow(clippy::useless_conversion)]
    let secs = secs.try_into().map_err(|_| Errno::EOVERFLOW)?;
    let mtime = TimeSpec::new(
        secs, // Below 1,000,000,000, which fits a `long` of any machine.
        nanos as _,
    );
    Ok(futimens(file, &TimeSpec::UTIME_OMIT, &mtime)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn reads_times_before_1970() {
        assert_eq!(timestamp(-2, 500_000_000).as_nanos(), -1_500_000_000);
        assert_eq!(timestamp(i64::MAX, 5).as_nanos(), i64::MAX);
    }

    #[test]
    fn the_old_system_call_says_the_same_as_the_new_one() {
        let mut old = MaybeUninit::<libc::stat64>::zeroed();
        let file = File::open("/proc/self/exe").unwrap();
        // SAFETY: the C library fills a struct of this layout.
        let done = unsafe { libc::fstat64(file.as_raw_fd(), old.as_mut_ptr()) };
        assert_eq!(done, 0);
        // SAFETY: the call has filled it.
        let old = Status::from_stat(&unsafe { old.assume_init() });
        let new = Status {
            born: None,
            is_mount: None,
            ..status(file.as_fd()).unwrap()
        };
        assert_eq!(old, new);
    }
}
