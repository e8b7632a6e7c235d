//! Changing: files written, placed, removed, renamed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

use nix::errno::Errno;

use super::look::{Looked, stat_of};
use super::walk::{Parents, Place, failure, last_name};
use super::{BUFFER_BYTES, LocalReplica};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::net::Pipe;
use crate::path::RelPath;
use crate::replica::checks::tell_unset_mode;
use crate::replica::{Kind, NewFile, Removal, Source, Stat, Times, Watch, Written};
use crate::system::{self, FileKind, Status};

/// The right of its owner to write a file.
const OWNER_WRITES: u32 = 0o200;

impl LocalReplica {
    pub(super) fn write_file(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        let (place, partial) = self.write_partial(file, source, watch)?;
        let written = partial
            .sync_all()
            .map_err(failure)
            .and_then(|()| system::status(partial.as_fd()).map_err(failure))
            .and_then(|status| {
                let mut placing = |stat: &Stat, times| watch.placing(stat, times);
                self.give_name(file, &place, &status, &mut placing)
            });
        if let Err(error) = &written {
            drop_partial(file, &place, &partial, error);
        }
        written
    }

    /// Writes all bytes under the partial name, and sets the mtime. Nothing is synced.
    pub(super) fn write_partial(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<(Rc<Place>, File)> {
        debug_assert_eq!(file.path.parent(), file.partial.parent());
        let place = self.enter(&file.path.parent())?;
        let mut partial = open_partial(file, &place)?;
        match self.fill(file, &mut partial, source, watch) {
            Ok(()) => {
                // A file system that keeps no times, or not these, is told by what it shows then.
                let _ = file
                    .mtime
                    .map(|mtime| system::set_mtime(partial.as_fd(), mtime));
                if let Some(mode) = file.mode {
                    let rights = std::fs::Permissions::from_mode(mode);
                    if let Err(error) = partial.set_permissions(rights) {
                        tell_unset_mode(&error);
                    }
                }
                Ok((place, partial))
            }
            Err(error) => {
                drop_partial(file, &place, &partial, &error);
                Err(error)
            }
        }
    }

    /// Makes content and mtime of staged files last through a power cut: with one call for each file system, where it has
    /// one that can be relied on.
    pub(super) fn sync_staged(&self, files: &[NewFile<'_>]) -> Vec<Result<()>> {
        let mut synced = HashMap::new();
        let mut parents = Parents::default();
        let mut sync_one = |file: &NewFile<'_>| {
            let place = parents.of(self, file.partial)?;
            let status = system::status(place.as_fd()).map_err(failure)?;
            // That it failed is told once, and does not say for which file.
            let all = synced.entry(status.identity.device).or_insert_with(|| {
                let all = system::sync_file_system(place.as_fd())?;
                // This has the drive empty its own cache, which the other does not do on FAT.
                system::sync_dir(place.as_fd()).map_err(errno_of)?;
                Ok(all)
            });
            if all.map_err(|errno: Errno| failure(errno.into()))? {
                return Ok(());
            }
            sync_file(place.as_fd(), last_name(file.partial)?).map_err(failure)
        };
        files.iter().map(&mut sync_one).collect()
    }

    pub(super) fn place_one(
        &self,
        parents: &mut Parents,
        file: &NewFile<'_>,
        synced: Result<()>,
        placing: &mut dyn FnMut(&Stat),
    ) -> Result<Written> {
        let place = parents.of(self, file.path)?;
        let partial_name = last_name(file.partial)?;
        let placed = synced
            .and_then(|()| system::status_at(place.as_fd(), partial_name).map_err(failure))
            .and_then(|status| {
                let mut placing = |stat: &Stat, _| {
                    placing(stat);
                    Ok(())
                };
                self.give_name(file, &place, &status, &mut placing)
            });
        if placed.is_err() {
            // The rename may have taken it away already.
            let _ = system::remove_file(place.as_fd(), partial_name);
        }
        placed
    }

    /// Gives a file its name whose partial file is like this and safe from a power cut.
    fn give_name(
        &self,
        file: &NewFile<'_>,
        place: &Place,
        partial: &Status,
        placing: &mut dyn FnMut(&Stat, Times) -> Result<()>,
    ) -> Result<Written> {
        let (stat, times) = seen(file, partial)?;
        placing(&stat, times)?;
        self.put_in_place(file, place)?;
        self.look_at_result(file, place, times)
    }

    /// Moves all bytes, and makes sure that they are as many as they should be.
    fn fill(
        &mut self,
        file: &NewFile<'_>,
        partial: &mut File,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<()> {
        let mut size = file.resume_at;
        // A small file is not worth a pipe. After a failure the pipe may hold bytes of this file, and is not used again.
        let is_small = file.size <= BUFFER_BYTES as u64;
        let mut pipe = match self.pipe.take() {
            kept if is_small => {
                self.pipe = kept;
                None
            }
            None => Pipe::new().ok(),
            kept => kept,
        };
        loop {
            let moved = match &pipe {
                Some(pipe) => source.read_into(pipe, Pipe::BYTES)?,
                None => None,
            };
            let count = match moved {
                Some(count) => count,
                None => {
                    pipe = None;
                    self.buffer.resize(BUFFER_BYTES, 0);
                    source.read(&mut self.buffer)?
                }
            };
            if count == 0 {
                break;
            }
            size += count as u64;
            if size > file.size {
                return Err(wrong_size(file.size, "more"));
            }
            match &pipe {
                Some(full) => {
                    if !empty(full, count, partial, &mut self.buffer)? {
                        pipe = None;
                    }
                }
                None => partial.write_all(&self.buffer[..count]).map_err(failure)?,
            }
            watch.moved(count as u64)?;
        }
        self.pipe = pipe.or(self.pipe.take());
        source.finish()?;
        if size != file.size {
            return Err(wrong_size(file.size, &format!("only {size}")));
        }
        Ok(())
    }

    /// Renames the partial file to its final name, if there is still what was there.
    fn put_in_place(&self, file: &NewFile<'_>, place: &Place) -> Result<()> {
        let dir = place.as_fd();
        let name = last_name(file.path)?;
        let partial = (dir, last_name(file.partial)?);
        match (self.stat_in(place, name)?, &file.replaces) {
            (None, None) => {}
            (Some(now), Some(expected)) if now.may_equal(expected) => {}
            (Some(_), None) => {
                return Err(ErrorKind::Changed("something has appeared in its place").into());
            }
            (Some(_), Some(_)) => {
                return Err(ErrorKind::Changed("the file to be replaced has changed").into());
            }
            (None, Some(_)) => {
                return Err(ErrorKind::Changed("the file to be replaced is gone").into());
            }
        }
        match (file.replaces, file.set_aside) {
            (None, _) => place_anew(partial, (dir, name))?,
            (Some(_), None) => system::rename(partial, (dir, name)).map_err(failure)?,
            (Some(_), Some(aside)) => {
                let aside_place = self.enter(&aside.parent())?;
                let aside_name = (aside_place.as_fd(), last_name(aside)?);
                place_anew((dir, name), aside_name)
                    .doing(|| format!("setting it aside as {aside}"))?;
                if let Err(error) = place_anew(partial, (dir, name)) {
                    // The name must hold what it held. If this fails, too, the file is safe where it was set aside.
                    let _ = system::rename_no_replace(aside_name, (dir, name));
                    return Err(error);
                }
                system::sync_dir(aside_place.as_fd()).map_err(failure)?;
                system::sync_dir(dir).map_err(failure)?;
            }
        }
        Ok(())
    }

    fn look_at_result(&self, file: &NewFile<'_>, place: &Place, times: Times) -> Result<Written> {
        match self.look_in(place, last_name(file.path)?)? {
            Some(Looked { stat, inode, .. })
                if stat.kind == Kind::File && stat.size == file.size =>
            {
                let is_lasting = system::keeps_inodes(place.as_fd());
                Ok(Written {
                    stat,
                    times,
                    inode: if is_lasting { inode } else { 0 },
                    digest: None,
                })
            }
            _ => Err(
                ErrorKind::Changed("somebody else changed it right after it was written").into(),
            ),
        }
    }

    pub(super) fn make_one(&mut self, parents: &mut Parents, dir: &RelPath) -> Result<()> {
        let Some(name) = dir.name() else {
            return match self.root.get() {
                Some(_) => Ok(()),
                None => self.make_root(),
            };
        };
        let place = parents.of(self, dir)?;
        match system::make_dir(place.as_fd(), name.as_bytes()) {
            Ok(()) => {
                parents.changed = true;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match self.stat_in(&place, name.as_bytes())? {
                    Some(stat) if stat.kind == Kind::Dir => Ok(()),
                    _ => Err(ErrorKind::Changed("something else has that name").into()),
                }
            }
            Err(error) => Err(failure(error)),
        }
    }

    pub(super) fn remove_one(&mut self, parents: &mut Parents, removal: &Removal) -> Result<()> {
        let name = last_name(removal.path())?;
        let removed = match parents.of(self, removal.path()) {
            Ok(place) => match removal {
                Removal::File(_) => system::remove_file(place.as_fd(), name),
                Removal::Dir(_) => system::remove_dir(place.as_fd(), name),
            },
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        match removed {
            Ok(()) => {
                parents.changed = true;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // POSIX lets rmdir(2) say EEXIST for the same.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST)) => {
                Err(ErrorKind::Changed("the directory is not empty").into())
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::ENOTDIR)) => {
                Err(ErrorKind::Changed("it was replaced by something of another kind").into())
            }
            Err(error) => Err(failure(error)),
        }
    }

    pub(super) fn rename_one(&self, from: &RelPath, to: &RelPath) -> Result<()> {
        let (old_dir, new_dir) = (self.enter(&from.parent())?, self.enter(&to.parent())?);
        let old = (old_dir.as_fd(), last_name(from)?);
        let new = (new_dir.as_fd(), last_name(to)?);
        match place_anew(old, new) {
            Err(_) if is_respelling(old, new) => system::rename(old, new).map_err(failure)?,
            renamed => renamed?,
        }
        system::sync_dir(new_dir.as_fd()).map_err(failure)?;
        system::sync_dir(old_dir.as_fd()).map_err(failure)
    }
}

/// Makes the partial file, or opens it where it is to be gone on with, ready to take the first byte.
fn open_partial(file: &NewFile<'_>, place: &Place) -> Result<File> {
    let name = last_name(file.partial)?;
    if file.resume_at > 0 {
        return resume_partial(file, place);
    }
    // The new file is to be as private as the one it replaces, from its first byte on. Programs are made executable
    // again by whoever trusts them with a set-user-ID bit.
    let old = system::status_at(place.as_fd(), last_name(file.path)?)
        .ok()
        .filter(|old| old.kind == FileKind::File);
    let mode = match (file.mode, &old) {
        // A file that nobody may write could not be gone on with.
        (Some(mode), _) => mode | OWNER_WRITES,
        (None, Some(old)) => old.mode & 0o777,
        (None, None) => 0o666,
    };
    let partial = match system::create_file(place.as_fd(), name, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by an earlier run, and of no use now.
            system::remove_file(place.as_fd(), name).map_err(failure)?;
            system::create_file(place.as_fd(), name, mode)
        }
        created => created,
    }
    .map_err(failure)?;
    if let Some(old) = old {
        take_over_rights(&partial, &old, mode);
    }
    Ok(partial)
}

/// Best effort: FAT has no rights, and only root may give files away.
fn take_over_rights(partial: &File, old: &Status, mode: u32) {
    let Ok(now) = system::status(partial.as_fd()) else {
        return;
    };
    if now.owner != old.owner {
        let _ = std::os::unix::fs::fchown(partial, Some(old.owner.0), Some(old.owner.1));
    }
    if now.mode != mode {
        let _ = partial.set_permissions(std::fs::Permissions::from_mode(mode));
    }
}

fn resume_partial(file: &NewFile<'_>, place: &Place) -> Result<File> {
    let other_size = || Error::new(ErrorKind::Changed("its partial file is not what it was"));
    let mut partial = match system::open_to_write(place.as_fd(), last_name(file.partial)?) {
        Ok(partial) => partial,
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ELOOP | libc::ENXIO | libc::EISDIR)
            ) =>
        {
            return Err(other_size());
        }
        Err(error) => return Err(failure(error)),
    };
    let status = system::status(partial.as_fd()).map_err(failure)?;
    if status.kind != FileKind::File || status.size != file.resume_at {
        return Err(other_size());
    }
    partial.seek(SeekFrom::End(0)).map_err(failure)?;
    Ok(partial)
}

/// Writes the `count` bytes in the pipe to the file; whether that could be done inside the kernel.
fn empty(pipe: &Pipe, count: usize, file: &mut File, buffer: &mut Vec<u8>) -> Result<bool> {
    let mut left = count;
    while left > 0 {
        match pipe.drain(file.as_fd(), left) {
            Ok(0) => return Err(failure(io::ErrorKind::WriteZero.into())),
            Ok(written) => left -= written,
            Err(Errno::EINTR) => {}
            // Some file systems take bytes from a process only.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                buffer.resize(BUFFER_BYTES, 0);
                while left > 0 {
                    let most = buffer.len().min(left);
                    let read = pipe.read(&mut buffer[..most]).map_err(io::Error::from);
                    let read = read.map_err(failure)?;
                    file.write_all(&buffer[..read]).map_err(failure)?;
                    left -= read;
                }
                return Ok(false);
            }
            Err(errno) => return Err(failure(errno.into())),
        }
    }
    Ok(true)
}

fn wrong_size(expected: u64, arrived: &str) -> Error {
    ErrorKind::Verify(format!("{expected} bytes were expected, {arrived} arrived")).into()
}

/// How a file will appear whose partial file is like this, and whether it has its mtime.
pub(super) fn seen(file: &NewFile<'_>, partial: &Status) -> Result<(Stat, Times)> {
    if partial.kind != FileKind::File || partial.size != file.size {
        return Err(wrong_size(
            file.size,
            &format!("{} are on the disk", partial.size),
        ));
    }
    let times = match file.mtime {
        Some(asked) if asked.is_close_to(partial.mtime) => Times::Kept,
        Some(_) => Times::Lost,
        None => Times::Unknown,
    };
    Ok((stat_of(partial), times))
}

/// Makes one file last through a power cut, whatever its rights are, which it has from the file it is to replace.
fn sync_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    system::open_to_read(dir, name)
        .or_else(|_| system::open_to_write(dir, name))?
        .sync_all()
}

pub(super) fn errno_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Removes the partial file after a failure, where it cannot be gone on with.
fn drop_partial(file: &NewFile<'_>, place: &Place, partial: &File, error: &Error) {
    if file.keep_partial && can_go_on(error) {
        // Its size is what the next try trusts, so it must be true after a power cut as well. If that fails, the next
        // try starts over at worst.
        let _ = partial.sync_data();
    } else if let Ok(name) = last_name(file.partial) {
        // The rename may have taken it away already.
        let _ = system::remove_file(place.as_fd(), name);
    }
}

/// Whether what lies under the partial name is right as far as it goes: the transfer broke off, nothing else.
fn can_go_on(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Network(_)
        | ErrorKind::Timeout(_)
        | ErrorKind::Unavailable(_)
        | ErrorKind::Protocol(_)
        | ErrorKind::Refused { .. }
        | ErrorKind::Interrupted(_) => true,
        // A full disk needs the room more than we need the bytes.
        ErrorKind::Disk(_)
        | ErrorKind::Changed(_)
        | ErrorKind::Verify(_)
        | ErrorKind::NotFound
        | ErrorKind::Unsupported(_)
        | ErrorKind::Login(_)
        | ErrorKind::Tls(_)
        | ErrorKind::Metadata(_)
        | ErrorKind::MetadataVersion(_)
        | ErrorKind::Name(_)
        | ErrorKind::Guard(_)
        | ErrorKind::Locked(_)
        | ErrorKind::Usage(_) => false,
    }
}

fn place_anew(from: (BorrowedFd<'_>, &[u8]), to: (BorrowedFd<'_>, &[u8])) -> Result<()> {
    match system::rename_no_replace(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(ErrorKind::Changed("something has the new name already").into())
        }
        renamed => renamed.map_err(failure),
    }
}

/// Whether both names mean one thing because the file system does not tell upper from lower case. Two names of one
/// file (hard links) do not count: renaming one to the other would do nothing.
fn is_respelling(old: (BorrowedFd<'_>, &[u8]), new: (BorrowedFd<'_>, &[u8])) -> bool {
    let lower = |name| String::from_utf8_lossy(name).to_lowercase();
    let identity = |(dir, name)| {
        system::status_at(dir, name)
            .map(|status| status.identity)
            .ok()
    };
    old.1 != new.1
        && lower(old.1) == lower(new.1)
        && identity(old).is_some()
        && identity(old) == identity(new)
        && !both_are_listed(old.0, old.1, new.1)
}

fn both_are_listed(dir: BorrowedFd<'_>, old: &[u8], new: &[u8]) -> bool {
    let mut found = 0;
    let read = system::open_dir_at(dir, b".").and_then(|dir| {
        system::read_dir(dir, |name, _| {
            found += usize::from(name == old || name == new)
        })
    });
    read.is_err() || found > 1
}

pub(super) fn name_each<'a>(
    results: Vec<Result<()>>,
    paths: impl IntoIterator<Item = &'a RelPath>,
    verb: &str,
) -> Vec<Result<()>> {
    results
        .into_iter()
        .zip(paths)
        .map(|(result, path)| result.doing(|| format!("{verb} {path}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file opened to be appended to is one, on every file system.
    #[test]
    fn what_the_kernel_refuses_to_move_is_written_by_hand() {
        use std::os::unix::net::UnixStream;
        let path = std::env::temp_dir().join(format!("coracle-pipe-{}", std::process::id()));
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        let content: Vec<u8> = (0..200_000_u32).map(|place| (place % 251) as u8).collect();
        let (mut from, to) = UnixStream::pair().unwrap();
        let pipe = Pipe::new().unwrap();
        let mut moved = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| from.write_all(&content).unwrap());
            while moved < content.len() {
                let count = pipe.fill(to.as_fd(), Pipe::BYTES).unwrap();
                let by_kernel = empty(&pipe, count, &mut file, &mut Vec::new()).unwrap();
                assert!(!by_kernel);
                moved += count;
            }
        });
        assert!(std::fs::read(&path).unwrap() == content);
        std::fs::remove_file(&path).unwrap();
    }

    /// The file system of this machine is synced as a whole, so the other way must be called by its name.
    #[test]
    fn a_file_is_synced_whatever_its_rights_are() {
        use std::os::unix::fs::PermissionsExt;
        let root = std::env::temp_dir().join(format!("coracle-sync-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let dir = system::open_root(&root).unwrap();
        for mode in [0o600, 0o400, 0o200] {
            let path = root.join("f");
            std::fs::write(&path, "content").unwrap();
            let rights = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, rights).unwrap();
            sync_file(dir.as_fd(), b"f").unwrap();
            std::fs::remove_file(&path).unwrap();
        }
        let missing = sync_file(dir.as_fd(), b"f").unwrap_err();
        assert_eq!(errno_of(missing), Errno::ENOENT);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
