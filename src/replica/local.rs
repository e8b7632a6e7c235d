//! A directory on this machine as a target.
//!
//! Every path is walked from the root's own handle, name by name, without following links; so whatever somebody
//! swaps for a link meanwhile, nothing outside the root is read, written or removed. The one exception is asked for
//! with [`Links::Follow`]: then links are followed by [`Trail`], which never leaves the root either.
//!
//! A power cut never shows a torn file: its bytes are synced before it gets its name. On some file systems a name that is
//! synced before its bytes would be a file of the right size and time that holds anything, and the next run would take it for
//! equal. Small files are staged, and synced all at once ([`Replica::place`]): a card in a router takes as long to sync one of
//! them as all. The names themselves are synced once for many files, by [`Replica::make_lasting`], before what they stand for
//! is recorded; those of files set aside at once, because the old content has no other name.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::job::Links;
use crate::net::Pipe;
use crate::path::{Escaped, RelPath};
use crate::replica::checks::tell_unset_mode;
use crate::replica::{
    Algorithm, Capabilities, CaseSensitivity, Connect, Digest, FileIdentity, Hasher, Kind, Listing,
    Mtime, NewFile, Own, Precision, Removal, Replica, Source, Staging, Stat, Times, Watch, Written,
};
use crate::system::{self, FileKind, Identity, Status};

/// How much is read at a time: large enough that system calls do not count, small beside the 32 MB of a router.
const BUFFER_BYTES: usize = 64 * 1024;

/// How many links one name may lead through, as in Linux itself; more is a loop.
const MAX_LINKS: usize = 40;

/// Up to this a file is staged: syncing it takes longer than writing it. A larger one is synced alone, which is when what is
/// left of it after a power cut can be trusted, and gone on with.
const STAGE_BYTES: u64 = 1 << 20;

/// The right of its owner to write a file.
const OWNER_WRITES: u32 = 0o200;

const NOT_A_FILE: &str = "it is not a regular file any more";
const WAY_BLOCKED: &str = "a directory above it was replaced by something else";

/// A local root, held open.
#[derive(Debug)]
pub struct LocalReplica {
    path: PathBuf,
    /// Empty while there is no such directory.
    root: OnceCell<Root>,
    links: Links,
    buffer: Vec<u8>,
    pipe: Option<Pipe>,
}

/// The directory at the root's path.
#[derive(Debug)]
struct Root {
    handle: OwnedFd,
    /// Its path without links, to recognise links that lead into it.
    real_path: Vec<u8>,
}

impl LocalReplica {
    /// Opens a root, which may be reached through links; `NotFound` when there is none.
    pub fn open(root: &Path, links: Links) -> Result<Self> {
        let target = Self::at(root, links);
        target.root()?;
        Ok(target)
    }

    /// Opens a root that may not be there yet: then everything in it is `NotFound`, and making its root directory
    /// makes it.
    pub fn open_or_absent(root: &Path, links: Links) -> Result<Self> {
        match Self::open(root, links) {
            Err(error) if error.is_not_found() => Ok(Self::at(root, links)),
            opened => opened,
        }
    }

    /// Makes a root, with the directories above it, and opens it. One that is there already is a success.
    pub fn create(root: &Path, links: Links) -> Result<Self> {
        let target = Self::at(root, links);
        target.make_root()?;
        Ok(target)
    }

    fn at(root: &Path, links: Links) -> Self {
        Self {
            path: root.to_owned(),
            root: OnceCell::new(),
            links,
            buffer: Vec::new(),
            pipe: None,
        }
    }

    /// The root; opened now where it was not there before, because another handle may have made it meanwhile.
    fn root(&self) -> Result<&Root> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let handle = system::open_root(&self.path)
            .map_err(failure)
            .doing(|| format!("opening the local directory {}", self.shown()))?;
        let real_path = match self.path.canonicalize() {
            Ok(real) => real.into_os_string().into_encoded_bytes(),
            // Then links with absolute targets are taken to lead out, which is the safe side.
            Err(_) => Vec::new(),
        };
        Ok(self.root.get_or_init(|| Root { handle, real_path }))
    }

    fn handle(&self) -> Result<BorrowedFd<'_>> {
        self.root().map(|root| root.handle.as_fd())
    }

    fn make_root(&self) -> Result<()> {
        std::fs::create_dir_all(&self.path)
            .map_err(failure)
            .doing(|| format!("making the local directory {}", self.shown()))?;
        self.root().map(drop)
    }

    fn shown(&self) -> Escaped<'_> {
        Escaped(self.path.as_os_str().as_bytes())
    }

    /// What the file system of the root calls itself, wherever it is mounted; 0 where it keeps no number.
    pub fn file_system_id(&self) -> Result<u64> {
        let found = system::file_system(self.handle()?).map_err(failure)?;
        Ok(found.id)
    }

    /// Takes the root for this run alone; `Locked` names the process that has it.
    pub fn lock(&self) -> Result<RootLock> {
        // A lock belongs to the opening, and ends when its last descriptor is closed; so it gets one of its own.
        let own = system::open_dir_at(self.handle()?, b".").map_err(failure)?;
        match system::try_lock(own.as_fd()) {
            Ok(()) => Ok(RootLock { held: Some(own) }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let identity = system::status(own.as_fd()).map_err(failure)?.identity;
                Err(ErrorKind::Locked(held_by(system::lock_holder(identity))).into())
            }
            // Network file systems without locks, and those that lock only what is open for writing.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(
                        libc::EBADF
                            | libc::ENOLCK
                            | libc::EOPNOTSUPP
                            | libc::ENOSYS
                            | libc::EINVAL
                            | libc::EIO
                    )
                ) =>
            {
                Ok(RootLock { held: None })
            }
            Err(error) => Err(failure(error)),
        }
    }
}

fn held_by(holder: Option<system::Process>) -> String {
    let who = match holder {
        Some(holder) if holder.program.is_empty() => format!("process {}", holder.pid),
        Some(holder) => format!("process {} ({})", holder.pid, Escaped(&holder.program)),
        None => "another process".to_owned(),
    };
    format!("the local directory is in use by {who}; wait for it to end, or end it")
}

/// A local root taken for one run; dropping it gives it back.
#[derive(Debug)]
pub struct RootLock {
    held: Option<OwnedFd>,
}

impl RootLock {
    /// Whether the root is truly locked: some network file systems have no locks, and the user should know.
    pub const fn is_held(&self) -> bool {
        self.held.is_some()
    }
}

/// Opens handles of a directory of this machine, which may not be there yet.
#[derive(Debug, Clone)]
pub struct LocalConnector {
    root: PathBuf,
    links: Links,
}

impl LocalConnector {
    /// Of that root.
    pub fn new(root: &Path, links: Links) -> Self {
        Self {
            root: root.to_owned(),
            links,
        }
    }
}

impl Connect for LocalConnector {
    fn connect(&self) -> Result<Box<dyn Replica>> {
        let replica = LocalReplica::open_or_absent(&self.root, self.links)?;
        Ok(Box::new(replica))
    }

    fn is_disk(&self) -> bool {
        true
    }
}

impl Replica for LocalReplica {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            times: Times::Kept,
            case: CaseSensitivity::Unknown,
        }
    }

    fn list(&mut self, dir: &RelPath, listing: &mut Listing) -> Result<()> {
        listing.clear();
        // It is listed by who made it or found it: a disk that appears in the middle of a run must not look like the new
        // files of one side.
        if self.root.get().is_none() {
            return Err(ErrorKind::NotFound.into());
        }
        self.enter(dir)
            .and_then(|place| self.list_into(&place, listing))
            .doing(|| format!("listing {dir}"))?;
        listing.sort();
        Ok(())
    }

    fn look_up(&mut self, paths: &[RelPath]) -> Vec<Result<Option<Stat>>> {
        let mut parents = Parents::default();
        paths
            .iter()
            .map(|path| {
                self.look_up_one(&mut parents, path)
                    .doing(|| format!("looking up {path}"))
            })
            .collect()
    }

    fn open<'a>(&'a mut self, file: &RelPath, offset: u64) -> Result<Box<dyn Source + 'a>> {
        let source = self
            .open_source(file, offset)
            .doing(|| format!("reading {file}"))?;
        Ok(Box::new(source))
    }

    fn write(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        self.write_file(file, source, watch)
            .doing(|| format!("writing {}", file.path))
    }

    fn stage(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Staging> {
        if file.size >= STAGE_BYTES || file.set_aside.is_some() {
            return self.write(file, source, watch).map(Staging::Placed);
        }
        self.write_partial(file, source, watch)
            .doing(|| format!("writing {}", file.path))?;
        Ok(Staging::Staged)
    }

    fn place(
        &mut self,
        files: &[NewFile<'_>],
        placing: &mut dyn FnMut(usize, &Stat),
    ) -> Vec<Result<Written>> {
        let synced = self.sync_staged(files);
        let mut parents = Parents::default();
        let staged = files.iter().zip(synced).enumerate();
        staged
            .map(|(index, (file, synced))| {
                self.place_one(&mut parents, file, synced, &mut |stat| placing(index, stat))
                    .doing(|| format!("writing {}", file.path))
            })
            .collect()
    }

    fn make_lasting(&mut self, dir: &RelPath) -> Result<()> {
        self.enter(dir)
            .and_then(|place| system::sync_dir(place.as_fd()).map_err(failure))
            .doing(|| format!("writing {dir} to the disk"))
    }

    fn make_dirs(&mut self, dirs: &[RelPath]) -> Vec<Result<()>> {
        let mut parents = Parents::default();
        let mut made: Vec<Result<()>> = dirs
            .iter()
            .map(|dir| self.make_one(&mut parents, dir))
            .collect();
        parents.settle(&mut made);
        name_each(made, dirs, "making")
    }

    fn put_mark(
        &mut self,
        mark: &RelPath,
        see: &mut dyn FnMut(&[u8], Option<Mtime>),
    ) -> Result<()> {
        self.make_dirs(std::slice::from_ref(mark))
            .into_iter()
            .collect::<Result<()>>()?;
        let place = self.enter(&mark.parent())?;
        let dir = system::open_dir_at(place.as_fd(), b".").map_err(failure)?;
        system::read_dir(dir, |name, _| {
            // What has gone since its name was read is not there.
            if let Ok(status) = system::status_at(place.as_fd(), name) {
                see(name, Some(Mtime::exact(status.mtime)));
            }
        })
        .map_err(failure)
    }

    fn remove(&mut self, removals: &[Removal]) -> Vec<Result<()>> {
        let mut parents = Parents::default();
        let mut removed: Vec<Result<()>> = removals
            .iter()
            .map(|removal| self.remove_one(&mut parents, removal))
            .collect();
        parents.settle(&mut removed);
        name_each(removed, removals.iter().map(Removal::path), "removing")
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<()> {
        self.rename_one(from, to)
            .doing(|| format!("renaming {from} to {to}"))
    }

    fn identify(&mut self, file: &RelPath) -> Result<Option<FileIdentity>> {
        self.identify_one(file)
            .doing(|| format!("looking up {file}"))
    }

    fn mode(&mut self, file: &RelPath) -> Result<Option<u32>> {
        self.mode_of(file).doing(|| format!("looking up {file}"))
    }

    fn digest(&mut self, file: &RelPath, algorithms: &[Algorithm]) -> Result<Option<Digest>> {
        let Some(algorithm) = algorithms.first() else {
            return Ok(None);
        };
        self.digest_with(file, *algorithm)
            .map(Some)
            .doing(|| format!("reading {file}"))
    }

    fn free_space(&mut self) -> Result<Option<u64>> {
        // Nobody can tell which file system a root will be on that is yet to be made.
        let Some(root) = self.root.get() else {
            return Ok(None);
        };
        let found = system::file_system(root.handle.as_fd()).map_err(failure)?;
        Ok(Some(found.free_bytes))
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Looking
// ---------------------------------------------------------------------------------------------------------------

impl LocalReplica {
    fn list_into(&self, place: &Place, listing: &mut Listing) -> Result<()> {
        let dir = system::open_dir_at(place.as_fd(), b".").map_err(failure)?;
        let keeps_inodes = system::keeps_inodes(dir.as_fd());
        let file_system = system::file_system(dir.as_fd()).map_err(failure)?;
        listing.own = own_of(dir.as_fd(), keeps_inodes, file_system.id).map_err(failure)?;
        let mut seen = false;
        let read = system::read_dir(dir, |name, kind| {
            seen = true;
            // The kind alone says all about these; a file's size and time, and whatever is unclear, must be asked for.
            let stat = match (kind, self.links) {
                (Some(FileKind::Dir), _) => Ok(Some((Stat::dir(), 0))),
                (Some(FileKind::Special), _) | (Some(FileKind::Link), Links::Skip) => {
                    Ok(Some((SPECIAL, 0)))
                }
                (Some(FileKind::File) | None, _) | (Some(FileKind::Link), Links::Follow) => {
                    self.look_in(place, name)
                }
            };
            match stat {
                Ok(Some((mut stat, inode))) => {
                    if let (true, Some(mtime)) = (file_system.has_even_times, &mut stat.mtime) {
                        mtime.precision = Precision::TwoSeconds;
                    }
                    listing.push_local(name, stat, if keeps_inodes { inode } else { 0 });
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

    fn look_up_one(&mut self, parents: &mut Parents, path: &RelPath) -> Result<Option<Stat>> {
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
    fn stat_in(&self, place: &Place, name: &[u8]) -> Result<Option<Stat>> {
        Ok(self.look_in(place, name)?.map(|(stat, _)| stat))
    }

    /// The same with the inode; 0 for what a link leads to, which has another name as well.
    fn look_in(&self, place: &Place, name: &[u8]) -> Result<Option<(Stat, u64)>> {
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
            return Ok(Some((stat_of(&status), inode)));
        };
        let stat = match trail.clone().follow(self, name)? {
            Led::ToDir(identity) if trail.passed.contains(&identity) => SPECIAL,
            Led::ToDir(_) => Stat::dir(),
            Led::ToEntry { status, .. } => stat_of(&status),
            Led::Nowhere => SPECIAL,
        };
        Ok(Some((stat, 0)))
    }

    fn identify_one(&self, path: &RelPath) -> Result<Option<FileIdentity>> {
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
    fn mode_of(&self, file: &RelPath) -> Result<Option<u32>> {
        let place = self.enter(&file.parent())?;
        let source = self.open_file_in(&place, last_name(file)?)?;
        let file_system = system::file_system(source.as_fd()).map_err(failure)?;
        let status = system::status(source.as_fd()).map_err(failure)?;
        Ok((!file_system.has_even_times).then_some(status.mode & 0o777))
    }

    fn open_source(&mut self, file: &RelPath, offset: u64) -> Result<LocalSource> {
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

    fn digest_with(&mut self, file: &RelPath, algorithm: Algorithm) -> Result<Digest> {
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
    })
}

const SPECIAL: Stat = Stat {
    kind: Kind::Special,
    size: 0,
    mtime: None,
};

fn stat_of(status: &Status) -> Stat {
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
struct LocalSource {
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

// ---------------------------------------------------------------------------------------------------------------
// Changing
// ---------------------------------------------------------------------------------------------------------------

impl LocalReplica {
    fn write_file(
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
    fn write_partial(
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
    fn sync_staged(&self, files: &[NewFile<'_>]) -> Vec<Result<()>> {
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

    fn place_one(
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
            Some((stat, inode)) if stat.kind == Kind::File && stat.size == file.size => {
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

    fn make_one(&mut self, parents: &mut Parents, dir: &RelPath) -> Result<()> {
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

    fn remove_one(&mut self, parents: &mut Parents, removal: &Removal) -> Result<()> {
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

    fn rename_one(&self, from: &RelPath, to: &RelPath) -> Result<()> {
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
fn seen(file: &NewFile<'_>, partial: &Status) -> Result<(Stat, Times)> {
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

fn errno_of(error: io::Error) -> Errno {
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

fn name_each<'a>(
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

// ---------------------------------------------------------------------------------------------------------------
// Walking
// ---------------------------------------------------------------------------------------------------------------

impl LocalReplica {
    /// Opens a directory of this target.
    fn enter(&self, dir: &RelPath) -> Result<Rc<Place>> {
        match self.links {
            Links::Skip => self.walk(dir).map(|fd| Place {
                fd: Rc::new(fd),
                trail: None,
            }),
            Links::Follow => self.trail_to(dir).map(|trail| Place {
                fd: Rc::clone(trail.top()),
                trail: Some(trail),
            }),
        }
        .map(Rc::new)
    }

    fn walk(&self, dir: &RelPath) -> Result<OwnedFd> {
        if dir.is_root() {
            return self.root()?.handle.try_clone().map_err(failure);
        }
        match system::open_dir_beneath(self.handle()?, dir.as_bytes()) {
            Some(opened) => opened.map_err(blocked),
            None => self.walk_by_name(dir),
        }
    }

    /// For kernels that cannot walk a whole path without following links.
    fn walk_by_name(&self, dir: &RelPath) -> Result<OwnedFd> {
        let start = self.root()?.handle.try_clone().map_err(failure)?;
        dir.names().try_fold(start, |here, name| {
            system::open_dir_at(here.as_fd(), name.as_bytes()).map_err(blocked)
        })
    }

    fn trail_to(&self, dir: &RelPath) -> Result<Trail> {
        let mut trail = Trail {
            steps: vec![Rc::new(self.root()?.handle.try_clone().map_err(failure)?)],
            passed: vec![system::status(self.handle()?).map_err(failure)?.identity],
        };
        for name in dir.names() {
            match trail.follow(self, name.as_bytes())? {
                Led::ToDir(identity) => trail.passed.push(identity),
                Led::ToEntry { .. } | Led::Nowhere => {
                    return Err(ErrorKind::Changed(WAY_BLOCKED).into());
                }
            }
        }
        Ok(trail)
    }
}

/// A directory of this target, open, and how it was reached where links are followed.
#[derive(Debug)]
struct Place {
    fd: Rc<OwnedFd>,
    trail: Option<Trail>,
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The directory of the path before, since the paths of a batch mostly share theirs. It lives no longer than a
/// batch: what is open stays open when somebody puts another directory in its place.
#[derive(Default)]
struct Parents {
    last: Option<(RelPath, Rc<Place>)>,
    /// Whether something was changed in the last one since it was entered.
    changed: bool,
    /// The first failure to make changes last.
    unsynced: Option<io::Error>,
}

impl Parents {
    /// The directory that `path` is in.
    fn of(&mut self, target: &LocalReplica, path: &RelPath) -> Result<Rc<Place>> {
        let parent = path.parent();
        if let Some((last, place)) = &self.last
            && *last == parent
        {
            return Ok(Rc::clone(place));
        }
        self.leave();
        let place = target.enter(&parent)?;
        self.last = Some((parent, Rc::clone(&place)));
        Ok(place)
    }

    /// Makes the changes in the last directory last through a power cut: once, and not for each entry.
    fn leave(&mut self) {
        if let Some((_, place)) = self.last.take()
            && std::mem::take(&mut self.changed)
            && let Err(error) = system::sync_dir(place.as_fd())
        {
            self.unsynced.get_or_insert(error);
        }
    }

    /// Ends a batch of changes. Where they cannot be made to last, none of them is known to have happened.
    fn settle(mut self, results: &mut [Result<()>]) {
        self.leave();
        if let Some(error) = self.unsynced {
            let errno = errno_of(error);
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(failure(errno.into()));
            }
        }
    }
}

/// The directories from the root down to one, each open, with the links on the way replaced by where they lead.
#[derive(Debug, Clone)]
struct Trail {
    /// The root and all below it; `..` takes one away, so it can never lead above the root.
    steps: Vec<Rc<OwnedFd>>,
    /// What the names of the path led to, the root first: a link back to one of these would be a loop.
    passed: Vec<Identity>,
}

/// Where a name led.
enum Led {
    /// To a directory, which the trail now ends at.
    ToDir(Identity),
    /// To something that is neither a directory nor a link, in the directory that the trail now ends at.
    ToEntry {
        /// Its name there.
        name: Vec<u8>,
        /// What it is.
        status: Status,
    },
    /// Out of the root, in circles, or to nothing.
    Nowhere,
}

impl Trail {
    fn top(&self) -> &Rc<OwnedFd> {
        self.steps.last().expect("the root is never taken away")
    }

    /// Follows one name, and all links it leads through. `NotFound` when there is nothing of that name.
    fn follow(&mut self, target: &LocalReplica, name: &[u8]) -> Result<Led> {
        let mut links = 0;
        // What is still to be walked, the next name last.
        let mut ahead: Vec<Vec<u8>> = vec![name.to_vec()];
        while let Some(name) = ahead.pop() {
            if name == b".." {
                if self.steps.len() == 1 {
                    return Ok(Led::Nowhere);
                }
                self.steps.pop();
                continue;
            }
            let status = match system::status_at(self.top().as_fd(), &name) {
                Ok(status) => status,
                Err(error) if links > 0 && error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Led::Nowhere);
                }
                Err(error) => return Err(failure(error)),
            };
            match status.kind {
                FileKind::Dir => {
                    let dir = system::open_dir_at(self.top().as_fd(), &name).map_err(blocked)?;
                    self.steps.push(Rc::new(dir));
                }
                FileKind::Link => {
                    links += 1;
                    let text = system::read_link(self.top().as_fd(), &name).map_err(failure)?;
                    if links > MAX_LINKS || !self.turn(target, &text, &mut ahead) {
                        return Ok(Led::Nowhere);
                    }
                }
                FileKind::File | FileKind::Special if ahead.is_empty() => {
                    return Ok(Led::ToEntry { name, status });
                }
                FileKind::File | FileKind::Special => return Ok(Led::Nowhere),
            }
        }
        let status = system::status(self.top().as_fd()).map_err(failure)?;
        Ok(Led::ToDir(status.identity))
    }

    /// Puts what a link says in front of what is ahead; says no where it certainly leads out of the root.
    fn turn(&mut self, target: &LocalReplica, text: &[u8], ahead: &mut Vec<Vec<u8>>) -> bool {
        let relative = if text.starts_with(b"/") {
            let real_root = (target.root.get()).map_or(&[][..], |root| &root.real_path);
            let below = text.strip_prefix(real_root);
            let Some(below) = below.filter(|below| {
                !real_root.is_empty() && matches!(below.first(), None | Some(b'/'))
            }) else {
                return false;
            };
            self.steps.truncate(1);
            below
        } else {
            text
        };
        let names = relative
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".");
        ahead.extend(names.rev().map(<[u8]>::to_vec));
        true
    }
}

/// The last name of a path that must have one: the root itself is never written, renamed or removed.
fn last_name(path: &RelPath) -> Result<&[u8]> {
    match path.name() {
        Some(name) => Ok(name.as_bytes()),
        None => Err(ErrorKind::Unsupported("that cannot be done to the root itself").into()),
    }
}

fn failure(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound.into(),
        _ => ErrorKind::Disk(error).into(),
    }
}

/// The failure to enter a directory: that it is none, or a link, is something that has changed since it was listed.
fn blocked(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOTDIR | libc::ELOOP) => ErrorKind::Changed(WAY_BLOCKED).into(),
        _ => failure(error),
    }
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

    /// The kernel of this machine walks whole paths, so the other way must be called by its name.
    #[test]
    fn both_ways_to_walk_refuse_links() {
        let root = std::env::temp_dir().join(format!("coracle-walk-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        std::os::unix::fs::symlink("a", root.join("inward")).unwrap();
        std::os::unix::fs::symlink("/", root.join("a/outward")).unwrap();

        let target = LocalReplica::open(&root, Links::Skip).unwrap();
        let mut answers = Vec::new();
        for dir in [
            "a/b",
            "a",
            "inward",
            "inward/b",
            "a/outward",
            "a/outward/tmp",
            "a/file",
            "a/none/b",
        ] {
            let dir = RelPath::parse(dir.as_bytes()).unwrap();
            let at_once = target
                .walk(&dir)
                .map(drop)
                .map_err(|error| error.to_string());
            let by_name = target
                .walk_by_name(&dir)
                .map(drop)
                .map_err(|error| error.to_string());
            assert_eq!(at_once, by_name, "{dir}");
            answers.push(by_name.is_ok());
        }
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            answers,
            [true, true, false, false, false, false, false, false]
        );
    }
}
