//! Directories and files by their handles: no call follows a symbolic link in the last name it is given.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;

use super::status_at;

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
    pub(super) const fn from_mode(mode: u32) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
