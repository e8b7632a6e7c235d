//! File systems as wholes: what they keep, how much room they have, and what makes it last.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Makes the directory's entries last through a power cut.
pub fn sync_dir(dir: BorrowedFd<'_>) -> io::Result<()> {
    match nix::unistd::fsync(dir) {
        // File systems on which a directory cannot be synced.
        Err(Errno::EINVAL | Errno::EBADF | Errno::EROFS) => Ok(()),
        synced => Ok(synced?),
    }
}

// `f_type` of statfs(2): magic numbers of file systems.
const FAT: u32 = 0x4d44;
const EXFAT: u32 = 0x2011_bab0;
const FUSE: u32 = 0x6573_5546;
const SMB: [u32; 3] = [0x517b, 0xff53_4d42, 0xfe53_4d42];
const NINE_P: u32 = 0x0102_1997;
const NFS: u32 = 0x6969;
const EXT: u32 = 0xef53;
const BTRFS: u32 = 0x9123_683e;
const F2FS: u32 = 0xf2f5_2010;

/// What kind of file system an open file or directory is on.
// The width of the type differs from machine to machine.
#[allow(clippy::unnecessary_cast)]
fn file_system_type(fd: BorrowedFd<'_>) -> nix::Result<u32> {
    Ok(nix::sys::statfs::fstatfs(fd)?.filesystem_type().0 as u32)
}

/// From here on syncfs(2) reports what could not be written.
const SYNCFS_TELLS: (u32, u32) = (5, 8);

/// Has all that was written to the file system of the open file or directory written to its drive. The drive may still keep
/// it in a cache of its own, on FAT, until a file is synced. False where nothing can be relied on: with FUSE, SMB and 9P
/// only the kernel's part is written, and older kernels keep failures to themselves.
pub fn sync_file_system(fd: BorrowedFd<'_>) -> nix::Result<bool> {
    let is_elsewhere = match file_system_type(fd) {
        Ok(FUSE | NINE_P) | Err(_) => true,
        Ok(other) => SMB.contains(&other),
    };
    let release = std::fs::read("/proc/sys/kernel/osrelease").unwrap_or_default();
    if is_elsewhere || kernel_of(&release).is_none_or(|kernel| kernel < SYNCFS_TELLS) {
        return Ok(false);
    }
    nix::unistd::syncfs(fd)?;
    Ok(true)
}

/// The version and patch level that a kernel calls itself by.
fn kernel_of(release: &[u8]) -> Option<(u32, u32)> {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit());
    let mut next = || str::from_utf8(numbers.next()?).ok()?.parse().ok();
    Some((next()?, next()?))
}

/// What statvfs(3) says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSystem {
    /// Bytes that may still be written by us.
    pub free_bytes: u64,
    /// The file system's own number, which it keeps on whatever machine and under whatever path it is mounted; 0 where it
    /// has none that lasts: only ext, btrfs and f2fs write theirs on the disk.
    pub id: u64,
    /// Whether its times are even seconds: FAT and exFAT.
    pub has_even_times: bool,
}

/// What the file system of an open file or directory says of itself.
// The widths of these fields differ from machine to machine.
#[allow(clippy::unnecessary_cast)]
pub fn file_system(fd: BorrowedFd<'_>) -> io::Result<FileSystem> {
    let mut found = MaybeUninit::<libc::statvfs64>::zeroed();
    // SAFETY: the C library fills a struct of this layout.
    Errno::result(unsafe { libc::fstatvfs64(fd.as_raw_fd(), found.as_mut_ptr()) })?;
    // SAFETY: the call has filled it, and all of its fields are numbers.
    let found = unsafe { found.assume_init() };
    let kind = file_system_type(fd);
    Ok(FileSystem {
        free_bytes: (found.f_bavail as u64).saturating_mul(found.f_frsize as u64),
        id: match kind {
            Ok(EXT | BTRFS | F2FS) => found.f_fsid as u64,
            Ok(_) | Err(_) => 0,
        },
        has_even_times: matches!(kind, Ok(FAT | EXFAT)),
    })
}

/// Whether a file in this directory keeps its inode for as long as it lives: FAT, exFAT, FUSE and SMB number their files anew
/// with every mount, or whenever they please.
pub fn keeps_inodes(dir: BorrowedFd<'_>) -> bool {
    match file_system_type(dir) {
        Ok(FAT | EXFAT | FUSE) | Err(_) => false,
        Ok(other) => !SMB.contains(&other),
    }
}

/// Whether a file in this directory belongs to whoever makes it: FAT, exFAT, FUSE, SMB, 9P and NFS may show any owner.
pub fn keeps_owners(dir: BorrowedFd<'_>) -> bool {
    match file_system_type(dir) {
        Ok(FAT | EXFAT | FUSE | NINE_P | NFS) | Err(_) => false,
        Ok(other) => !SMB.contains(&other),
    }
}

/// What tells the file system of an open file or directory from every other one, for as long as it lives, see
/// [`FileSystem::id`]. None where it keeps no such number.
pub fn file_system_identity(fd: BorrowedFd<'_>) -> Option<u64> {
    file_system(fd)
        .ok()
        .map(|found| found.id)
        .filter(|id| *id != 0)
}

/// Whose files this process makes.
pub fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Reserves room for bytes of a file that are not written yet; the file is no larger for it.
pub fn reserve(file: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<()> {
    let (Ok(offset), Ok(bytes)) = (libc::off_t::try_from(offset), libc::off_t::try_from(bytes))
    else {
        return Err(Errno::EFBIG.into());
    };
    let flags = nix::fcntl::FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(nix::fcntl::fallocate(file, flags, offset, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_apart_by_version_and_patch_level() {
        assert_eq!(kernel_of(b"6.6.73\n"), Some((6, 6)));
        assert_eq!(kernel_of(b"5.10-rc1"), Some((5, 10)));
        assert_eq!(kernel_of(b"4.14.0-generic"), Some((4, 14)));
        for unknown in [&b""[..], b"6", b"next", b"99999999999.1"] {
            assert_eq!(kernel_of(unknown), None);
        }
    }
}
