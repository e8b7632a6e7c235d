//! What the operating system offers and `std` does not: directory handles, exact times, locks, signals, the terminal.
//!
//! Names are bytes, sizes and times have 64 bits on every machine, and no call here follows a symbolic link in the
//! last name it is given. Nothing above this file may need `unsafe`.

// The one place where system calls are made by hand; everywhere else the lint stands.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{FlockArg, OFlag};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::UnlinkatFlags;

use crate::time::Timestamp;

// ---------------------------------------------------------------------------------------------------------------
// Directories and files
// ---------------------------------------------------------------------------------------------------------------

const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// A file is never waited for (a pipe that took its place would block) and never followed; on 32-bit machines files
/// beyond 2 GiB need to be asked for.
const FILE: OFlag = OFlag::O_NOFOLLOW
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_LARGEFILE);

/// Opens a directory by its path, following links: for roots, which the user names.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(nix::fcntl::open(path, DIRECTORY, Mode::empty())?)
}

/// Opens the directory `name` in `dir`. A link fails with `ENOTDIR` or `ELOOP`.
pub fn open_dir_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = DIRECTORY | OFlag::O_NOFOLLOW;
    Ok(nix::fcntl::openat(dir, name, flags, Mode::empty())?)
}

/// Opens the directory at `path`, of several names, below `dir` without following a link anywhere on the way.
///
/// None where the kernel cannot do that in one go (before Linux 5.6) or will not; walk by [`open_dir_at`] then.
pub fn open_dir_beneath(dir: BorrowedFd<'_>, path: &[u8]) -> Option<io::Result<OwnedFd>> {
    /// `struct open_how` of openat2(2).
    #[repr(C)]
    struct OpenHow {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    static OPENAT2_IS_MISSING: AtomicBool = AtomicBool::new(false);

    if OPENAT2_IS_MISSING.load(Ordering::Relaxed) {
        return None;
    }
    let how = OpenHow {
        flags: DIRECTORY.bits() as u64,
        mode: 0,
        resolve: libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS,
    };
    let opened = path.with_nix_path(|path| {
        // SAFETY: both pointers are valid for the call, and the size is that of `how`.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                dir.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<OpenHow>(),
            )
        };
        Errno::result(fd)
    });
    match opened.and_then(|opened| opened) {
        // SAFETY: the kernel has just handed out this descriptor, and nobody else knows it.
        Ok(fd) => Some(Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        // EPERM: what old container sandboxes say to system calls they do not know.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            OPENAT2_IS_MISSING.store(true, Ordering::Relaxed);
            None
        }
        // A race that the kernel does not want to judge.
        Err(Errno::EAGAIN) => None,
        Err(errno) => Some(Err(errno.into())),
    }
}

/// Opens `name` in `dir` for reading. Whether it is a file has to be asked of the result.
pub fn open_to_read(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let fd = nix::fcntl::openat(dir, name, OFlag::O_RDONLY | FILE, Mode::empty())?;
    Ok(File::from(fd))
}

/// Opens `name` in `dir` for writing. Whether it is a file has to be asked of the result.
pub fn open_to_write(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let fd = nix::fcntl::openat(dir, name, OFlag::O_WRONLY | FILE, Mode::empty())?;
    Ok(File::from(fd))
}

/// Makes the file `name` in `dir` for writing; `EEXIST` where there is anything of that name. `mode` is narrowed by
/// the process's umask.
pub fn create_file(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | FILE;
    let fd = nix::fcntl::openat(dir, name, flags, Mode::from_bits_truncate(mode))?;
    Ok(File::from(fd))
}

/// Makes the directory `name` in `dir`.
pub fn make_dir(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(nix::sys::stat::mkdirat(
        dir,
        name,
        Mode::from_bits_truncate(0o777),
    )?)
}

/// Removes the file or link `name` in `dir`.
pub fn remove_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(nix::unistd::unlinkat(
        dir,
        name,
        UnlinkatFlags::NoRemoveDir,
    )?)
}

/// Removes the empty directory `name` in `dir`.
pub fn remove_dir(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(nix::unistd::unlinkat(dir, name, UnlinkatFlags::RemoveDir)?)
}

/// Renames, replacing what is at the new name.
pub fn rename(from: (BorrowedFd<'_>, &[u8]), to: (BorrowedFd<'_>, &[u8])) -> io::Result<()> {
    Ok(nix::fcntl::renameat(from.0, from.1, to.0, to.1)?)
}

/// Renames, replacing nothing: `EEXIST` where something is at the new name.
///
/// Where the file system cannot promise that, the new name is looked at right before.
pub fn rename_no_replace(
    from: (BorrowedFd<'_>, &[u8]),
    to: (BorrowedFd<'_>, &[u8]),
) -> io::Result<()> {
    let renamed = from.1.with_nix_path(|old| {
        to.1.with_nix_path(|new| {
            // SAFETY: both names are valid for the call and end with NUL.
            let done = unsafe {
                libc::syscall(
                    libc::SYS_renameat2,
                    from.0.as_raw_fd(),
                    old.as_ptr(),
                    to.0.as_raw_fd(),
                    new.as_ptr(),
                    libc::RENAME_NOREPLACE,
                )
            };
            Errno::result(done)
        })
    });
    match renamed.and_then(|renamed| renamed).and_then(|done| done) {
        Ok(_) => Ok(()),
        // Before Linux 3.15, and file systems that know no flags (NFS, some FUSE ones).
        Err(Errno::ENOSYS | Errno::EINVAL) => match status_at(to.0, to.1) {
            Ok(_) => Err(Errno::EEXIST.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => rename(from, to),
            Err(error) => Err(error),
        },
        Err(errno) => Err(errno.into()),
    }
}

/// Where the link `name` in `dir` leads, as it is written there.
pub fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    Ok(nix::fcntl::readlinkat(dir, name)?.into_vec())
}

/// What kind of thing a file system entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Special,
}

impl FileKind {
    /// From the type bits of a mode.
    const fn from_mode(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::File,
            libc::S_IFDIR => Self::Dir,
            libc::S_IFLNK => Self::Link,
            _ => Self::Special,
        }
    }

    /// From `d_type`; none where the file system does not say.
    const fn from_dirent(kind: u8) -> Option<Self> {
        match kind {
            libc::DT_UNKNOWN => None,
            libc::DT_REG => Some(Self::File),
            libc::DT_DIR => Some(Self::Dir),
            libc::DT_LNK => Some(Self::Link),
            _ => Some(Self::Special),
        }
    }
}

/// Calls `each` for every name in the directory but `.` and `..`, with its kind where that costs nothing.
///
/// `dir` must be freshly opened: a directory is read on from where its descriptor stands. An error may come after
/// some names.
pub fn read_dir(dir: OwnedFd, mut each: impl FnMut(&[u8], Option<FileKind>)) -> io::Result<()> {
    // The kernel fills it from the front; this is what C libraries take, too.
    let mut buffer = vec![0_u8; 32 * 1024];
    loop {
        // SAFETY: the kernel writes at most `buffer.len()` bytes to the buffer.
        let count = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                dir.as_raw_fd(),
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        };
        let count = Errno::result(count)? as usize;
        if count == 0 {
            return Ok(());
        }
        for_each_dirent(&buffer[..count], &mut each)?;
    }
}

/// Goes through what getdents64(2) wrote: inode (8 bytes), offset (8), length of the record (2), type (1), name, NUL.
fn for_each_dirent(
    mut records: &[u8],
    each: &mut impl FnMut(&[u8], Option<FileKind>),
) -> io::Result<()> {
    const NAME_AT: usize = 19;
    while !records.is_empty() {
        let length = match records.get(16..18) {
            Some(bytes) => usize::from(u16::from_ne_bytes([bytes[0], bytes[1]])),
            None => 0,
        };
        let name = records
            .get(NAME_AT..length)
            .and_then(|name| CStr::from_bytes_until_nul(name).ok())
            .ok_or(Errno::EIO)?
            .to_bytes();
        if name != b"." && name != b".." {
            each(name, FileKind::from_dirent(records[18]));
        }
        records = &records[length..];
    }
    Ok(())
}

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

// ---------------------------------------------------------------------------------------------------------------
// Waiting
// ---------------------------------------------------------------------------------------------------------------

/// Wakes one waiting thread, which may wait for a limited time.
///
/// Timed waits of std end at once on 32-bit machines whose C library has 64-bit times, and burn a whole core; poll(2) waits.
#[derive(Debug)]
pub struct Bell {
    ear: io::PipeReader,
    string: io::PipeWriter,
    has_rung: AtomicBool,
}

impl Bell {
    /// A bell that has not rung.
    pub fn new() -> io::Result<Self> {
        let (ear, string) = io::pipe()?;
        Ok(Self {
            ear,
            string,
            has_rung: AtomicBool::new(false),
        })
    }

    /// Wakes who waits, or who will wait next.
    pub fn ring(&self) {
        if !self.has_rung.swap(true, Ordering::AcqRel) {
            // At most one byte is in the pipe, so that this never waits; both ends live as long as the bell.
            let _ = (&self.string).write(&[0]);
        }
    }

    /// Waits until it rings, or has rung since the last wait; no longer than `span`, if there is one.
    pub fn wait(&self, span: Option<Duration>) {
        let mut heard = [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)];
        let timeout = span.map_or(PollTimeout::NONE, |span| {
            PollTimeout::try_from(span).unwrap_or(PollTimeout::MAX)
        });
        // A signal ends the wait early, and the caller looks around.
        if poll(&mut heard, timeout).is_ok_and(|count| count > 0) {
            let _ = (&self.ear).read(&mut [0]);
            self.has_rung.store(false, Ordering::Release);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Locks and processes
// ---------------------------------------------------------------------------------------------------------------

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

// ---------------------------------------------------------------------------------------------------------------
// Signals
// ---------------------------------------------------------------------------------------------------------------

/// The signal that asked this process to stop; 0 while none has.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// From now on SIGINT, SIGTERM and SIGHUP are remembered for [`stopped_by`], and a second one ends the process at
/// once; SIGPIPE does nothing, so that a write to a closed pipe or socket fails instead.
///
/// A signal that was ignored before stays ignored: `nohup` and shells that start something in the background rely on
/// it.
pub fn watch_signals() -> io::Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let before = sigaction(signal, None)?;
        if before.sa_sigaction != libc::SIG_IGN {
            sigaction(signal, Some(remember_signal as *const () as usize))?;
        }
    }
    sigaction(libc::SIGPIPE, Some(libc::SIG_IGN))?;
    Ok(())
}

/// The name of the signal that asked this process to stop, if one has.
pub fn stopped_by() -> Option<&'static str> {
    match STOPPED_BY.load(Ordering::Relaxed) {
        0 => None,
        libc::SIGINT => Some("SIGINT"),
        libc::SIGHUP => Some("SIGHUP"),
        _ => Some("SIGTERM"),
    }
}

/// Sets what is done at a signal, if anything is given, and says what was done before.
fn sigaction(signal: i32, action: Option<usize>) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all bits zero is a valid `sigaction`: no flags, no signals masked.
    let mut new: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let new = match action {
        Some(action) => {
            new.sa_sigaction = action;
            // Without SA_RESTART, so that a wait for the network or the terminal ends.
            &raw const new
        }
        None => std::ptr::null(),
    };
    // SAFETY: `new` is null or valid, `before` can hold the answer, and what runs at the signal is `SIG_IGN` or
    // `remember_signal`, which does nothing that a signal handler must not do.
    Errno::result(unsafe { libc::sigaction(signal, new, before.as_mut_ptr()) })?;
    // SAFETY: the call has filled it.
    Ok(unsafe { before.assume_init() })
}

extern "C" fn remember_signal(signal: i32) {
    if STOPPED_BY.swap(signal, Ordering::Relaxed) != 0 {
        // Ends the process as the signal would have: whoever started it sees that. It is blocked while this function
        // runs, so it strikes when it returns.
        // SAFETY: both functions may be called in a signal handler.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Terminals
// ---------------------------------------------------------------------------------------------------------------

/// A terminal that nobody sits at: a program asks on one end, we answer at the other.
#[derive(Debug)]
pub struct Pty {
    /// Where we read what is asked, and write the answers.
    pub ours: OwnedFd,
    /// The program's end. Kept open here as well: programs close what they inherit and open their terminal anew to ask, and
    /// with nobody at that end in between ours would fail.
    pub theirs: OwnedFd,
}

impl Pty {
    /// Makes a terminal that does not repeat what is typed. No child inherits either end.
    pub fn open() -> io::Result<Self> {
        use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let ours = nix::pty::posix_openpt(flags)?;
        nix::pty::grantpt(&ours)?;
        nix::pty::unlockpt(&ours)?;
        let name = nix::pty::ptsname_r(&ours)?;
        let theirs = nix::fcntl::open(name.as_str(), flags, Mode::empty())?;
        let mut settings = tcgetattr(&theirs)?;
        settings
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        tcsetattr(&theirs, SetArg::TCSANOW, &settings)?;
        Ok(Self {
            ours: OwnedFd::from(ours),
            theirs,
        })
    }

    /// Has the command run in a session of its own, which this terminal controls: there it asks, and there it is told by
    /// the kernel when this process ends. This must live until the command is started.
    pub fn control(&self, command: &mut std::process::Command) {
        use std::os::unix::process::CommandExt;
        let theirs = self.theirs.as_raw_fd();
        let take = move || {
            nix::unistd::setsid()?;
            // SAFETY: this request takes a number and touches no memory.
            Errno::result(unsafe { libc::ioctl(theirs, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: between fork and exec it makes two system calls, and allocates nothing.
        unsafe { command.pre_exec(take) };
    }
}

/// By how many seconds local clocks are ahead of UTC at that time, as this machine's zone has it; 0 where that is not known.
#[allow(
    clippy::useless_conversion,
    reason = "seconds are shorter on 32-bit machines"
)]
pub fn zone_offset_secs(at: Timestamp) -> i64 {
    let Some(secs) = at.as_secs().try_into().ok() else {
        return 0;
    };
    let mut civil = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: it reads the time and fills the `tm`.
    let filled = unsafe { libc::localtime_r(&raw const secs, civil.as_mut_ptr()) };
    if filled.is_null() {
        return 0;
    }
    // SAFETY: all bits zero is a valid `tm`, and the call has filled it.
    let offset = unsafe { civil.assume_init() }.tm_gmtoff;
    i64::from(offset)
}

/// Takes over the zone from where OpenWrt keeps it: a static binary's libc does not look there. To be called before there are
/// threads.
pub fn adopt_time_zone() {
    if std::env::var_os("TZ").is_some() {
        return;
    }
    if let Ok(zone) = std::fs::read_to_string("/etc/TZ")
        && !zone.contains('\0')
    {
        // SAFETY: no other thread is there to read the environment.
        unsafe { std::env::set_var("TZ", zone.trim()) };
    }
}

/// How many columns the terminal has; none where this is not a terminal or it does not say.
pub fn terminal_columns(terminal: impl AsFd) -> Option<u16> {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: this request fills a `winsize`.
    let done = unsafe {
        libc::ioctl(
            terminal.as_fd().as_raw_fd(),
            libc::TIOCGWINSZ,
            size.as_mut_ptr(),
        )
    };
    Errno::result(done).ok()?;
    // SAFETY: all bits zero is a valid `winsize`, and the call has filled it.
    let columns = unsafe { size.assume_init() }.ws_col;
    (columns > 0).then_some(columns)
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

    #[test]
    fn a_broken_directory_record_is_an_error() {
        let mut record = vec![0; 24];
        record[16..18].copy_from_slice(&24_u16.to_ne_bytes());
        record[18] = libc::DT_DIR;
        record[19] = b'a';
        let mut seen = Vec::new();
        let mut each = |name: &[u8], kind| seen.push((name.to_vec(), kind));
        for_each_dirent(&record, &mut each).unwrap();
        for end in 1..record.len() {
            assert!(for_each_dirent(&record[..end], &mut each).is_err(), "{end}");
        }
        record[16..18].copy_from_slice(&0_u16.to_ne_bytes());
        assert!(for_each_dirent(&record, &mut each).is_err());
        assert_eq!(seen, [(b"a".to_vec(), Some(FileKind::Dir))]);
    }

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
