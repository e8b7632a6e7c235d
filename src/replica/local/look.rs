//! Looking: listings, single names, and files that are read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use super::walk::{Led, Parents, Place, failure, last_name};
use super::{BUFFER_BYTES, LocalReplica, NOT_A_FILE};
use crate::error::{ErrorKind, Result};
use crate::job::Links;
use crate::path::{Escaped, RelPath};
use crate::replica::{
    Algorithm, Digest, FileIdentity, Hasher, Kind, Listing, Mtime, Own, Precision, Source, Stat,
};
use crate::system::{self, FileKind, Status};

/// What is at a name.
pub(super) struct Looked {
    pub(super) stat: Stat,
    /// 0 for all but files, and for what a link leads to, which has another name as well.
    pub(super) inode: u64,
    /// Whether a link is there, which leads to that.
    pub(super) is_link: bool,
}

impl Looked {
    const fn at(stat: Stat) -> Self {
        Self {
            stat,
            inode: 0,
            is_link: false,
        }
    }
}

impl LocalReplica {
    pub(super) fn list_into(&self, place: &Place, listing: &mut Listing) -> Result<()> {
        let dir = system::open_dir_at(place.as_fd(), b".").map_err(failure)?;
        let keeps_inodes = system::keeps_inodes(dir.as_fd());
        let file_system = system::file_system(dir.as_fd()).map_err(failure)?;
        listing.own = own_of(dir.as_fd(), keeps_inodes, file_system.id).map_err(failure)?;
        listing.own.is_linked = place.trail.as_ref().is_some_and(|trail| trail.is_linked);
        let mut seen = false;
        let read = system::read_dir(dir, |name, kind| {
            seen = true;
            // The kind alone says all about these; a file's size and time, and whatever is unclear, must be asked for.
            let stat = match (kind, self.links) {
                (Some(FileKind::Dir), _) => Ok(Some(Looked::at(Stat::dir()))),
                (Some(FileKind::Special), _) | (Some(FileKind::Link), Links::Skip) => {
                    Ok(Some(Looked::at(SPECIAL)))
                }
                (Some(FileKind::File) | None, _) | (Some(FileKind::Link), Links::Follow) => {
                    self.look_in(place, name)
                }
            };
            match stat {
                Ok(Some(Looked {
                    mut stat,
                    inode,
                    is_link,
                })) => {
                    if let (true, Some(mtime)) = (file_system.has_even_times, &mut stat.mtime) {
                        mtime.precision = Precision::TwoSeconds;
                    }
                    if is_link {
                        listing.push_link(name, stat);
                    } else {
                        listing.push_local(name, stat, if keeps_inodes { inode } else { 0 });
                    }
                }
                // It was removed since its name was read.
                Ok(None) => {}
                Err(error) => listing.mark_incomplete(format!("{}: {error}", Escaped(name))),
            }
        });
        match read {
            Ok(()) => Ok(()),
            Err(error) if seen => {
                listing.mark_incomplete(failure(error).to_string());
                Ok(())
            }
            Err(error) => Err(failure(error)),
        }
    }

    pub(super) fn look_up_one(
        &mut self,
        parents: &mut Parents,
        path: &RelPath,
    ) -> Result<Option<Stat>> {
        let Some(name) = path.name() else {
            return Ok(Some(Stat::dir()));
        };
        match parents.of(self, path) {
            Ok(place) => self.stat_in(&place, name.as_bytes()),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is at that name, or that there is certainly nothing; a link is looked through where links are followed.
    pub(super) fn stat_in(&self, place: &Place, name: &[u8]) -> Result<Option<Stat>> {
        Ok(self.look_in(place, name)?.map(|looked| looked.stat))
    }

    /// The same, with all that is told of it.
    pub(super) fn look_in(&self, place: &Place, name: &[u8]) -> Result<Option<Looked>> {
        let status = match system::status_at(place.as_fd(), name) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failure(error)),
        };
        let (FileKind::Link, Some(trail)) = (status.kind, &place.trail) else {
            let inode = match status.kind {
                FileKind::File => status.identity.inode,
                FileKind::Dir | FileKind::Link | FileKind::Special => 0,
            };
            return Ok(Some(Looked {
                inode,
                ..Looked::at(stat_of(&status))
            }));
        };
        let stat = match trail.clone().follow(self, name)? {
            Led::ToDir(identity) if trail.passed.contains(&identity) => SPECIAL,
            Led::ToDir(_) => Stat::dir(),
            Led::ToEntry { status, .. } => stat_of(&status),
            Led::Nowhere => SPECIAL,
        };
        Ok(Some(Looked {
            is_link: true,
            ..Looked::at(stat)
        }))
    }

    pub(super) fn identify_one(&self, path: &RelPath) -> Result<Option<FileIdentity>> {
        let place = self.enter(&path.parent())?;
        let status = system::status_at(place.as_fd(), last_name(path)?).map_err(failure)?;
        let is_lasting = matches!(status.kind, FileKind::File | FileKind::Dir)
            && system::keeps_inodes(place.as_fd());
        Ok(is_lasting.then_some(FileIdentity {
            inode: status.identity.inode,
            born: status.born,
        }))
    }

    /// FAT and exFAT show one mode for all files.
    pub(super) fn mode_of(&self, file: &RelPath) -> Result<Option<u32>> {
        let place = self.enter(&file.parent())?;
        let source = self.open_file_in(&place, last_name(file)?)?;
        let file_system = system::file_system(source.as_fd()).map_err(failure)?;
        let status = system::status(source.as_fd()).map_err(failure)?;
        Ok((!file_system.has_even_times).then_some(status.mode & 0o777))
    }

    pub(super) fn open_source(&mut self, file: &RelPath, offset: u64) -> Result<LocalSource> {
        let place = self.enter(&file.parent())?;
        let opened = self.open_file_in(&place, last_name(file)?)?;
        let before = system::status(opened.as_fd()).map_err(failure)?;
        if before.kind != FileKind::File {
            return Err(ErrorKind::Changed(NOT_A_FILE).into());
        }
        let left = before.size.checked_sub(offset).ok_or(ErrorKind::Changed(
            "the file is shorter than what was already sent of it",
        ))?;
        let mut source = LocalSource {
            file: opened,
            before,
            left,
        };
        if offset > 0 {
            source.file.seek(SeekFrom::Start(offset)).map_err(failure)?;
        }
        Ok(source)
    }

    fn open_file_in(&self, place: &Place, name: &[u8]) -> Result<File> {
        match system::open_to_read(place.as_fd(), name) {
            Ok(file) => Ok(file),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                let Some(mut trail) = place.trail.clone() else {
                    return Err(ErrorKind::Changed(NOT_A_FILE).into());
                };
                match trail.follow(self, name)? {
                    Led::ToEntry { name, .. } => {
                        system::open_to_read(trail.top().as_fd(), &name).map_err(failure)
                    }
                    Led::ToDir(_) | Led::Nowhere => Err(ErrorKind::Changed(NOT_A_FILE).into()),
                }
            }
            // What open(2) says of a socket.
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                Err(ErrorKind::Changed(NOT_A_FILE).into())
            }
            Err(error) => Err(failure(error)),
        }
    }

    pub(super) fn digest_with(&mut self, file: &RelPath, algorithm: Algorithm) -> Result<Digest> {
        let mut source = self.open_source(file, 0)?;
        let mut hasher = Hasher::new(algorithm);
        self.buffer.resize(BUFFER_BYTES, 0);
        loop {
            match source.read(&mut self.buffer)? {
                0 => break,
                count => hasher.update(&self.buffer[..count]),
            }
        }
        source.finish()?;
        Ok(hasher.finish())
    }
}

/// What is to be known of a directory itself. Where the kernel does not tell of mount points, one is where the device
/// changes.
fn own_of(dir: BorrowedFd<'_>, keeps_inodes: bool, file_system: u64) -> io::Result<Own> {
    let status = system::status(dir)?;
    let is_mount = match status.is_mount {
        Some(is_mount) => is_mount,
        None => system::status_at(dir, b"..")?.identity.device != status.identity.device,
    };
    Ok(Own {
        inode: if keeps_inodes {
            status.identity.inode
        } else {
            0
        },
        mount: is_mount.then_some(file_system),
        is_linked: false,
    })
}

const SPECIAL: Stat = Stat {
    kind: Kind::Special,
    size: 0,
    mtime: None,
};

pub(super) fn stat_of(status: &Status) -> Stat {
    match status.kind {
        FileKind::File => Stat {
            kind: Kind::File,
            size: status.size,
            mtime: Some(Mtime::exact(status.mtime)),
        },
        FileKind::Dir => Stat::dir(),
        FileKind::Link | FileKind::Special => SPECIAL,
    }
}

/// A local file that is being read, and as what it was opened.
pub(super) struct LocalSource {
    file: File,
    before: Status,
    /// Bytes up to the size that the file had when it was opened; what is appended meanwhile is not read.
    left: u64,
}

impl LocalSource {
    const CHANGED: ErrorKind = ErrorKind::Changed("the file changed while it was read");
}

impl Source for LocalSource {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if wanted == 0 {
            return Ok(0);
        }
        loop {
            match self.file.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(Self::CHANGED.into()),
                Ok(count) => {
                    self.left -= count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(error)),
            }
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn moved_by_fd(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(bytes);
    }

    fn finish(&mut self) -> Result<()> {
        let now = system::status(self.file.as_fd()).map_err(failure)?;
        if (now.size, now.mtime) == (self.before.size, self.before.mtime) {
            Ok(())
        } else {
            Err(Self::CHANGED.into())
        }
    }
}
