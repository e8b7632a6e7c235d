//! A directory on this machine as a target.
//!
//! Every path is walked from the root's own handle, name by name, without following links; so whatever somebody
//! swaps for a link meanwhile, nothing outside the root is read, written or removed. The one exception is asked for
//! with [`Links::Follow`]: then links are followed by [`walk::Trail`], which never leaves the root either.
//!
//! A power cut never shows a torn file: its bytes are synced before it gets its name. On some file systems a name that is
//! synced before its bytes would be a file of the right size and time that holds anything, and the next run would take it for
//! equal. Small files are staged, and synced all at once ([`Replica::place`]): a card in a router takes as long to sync one of
//! them as all. The names themselves are synced once for many files, by [`Replica::make_lasting`], before what they stand for
//! is recorded; those of files set aside at once, because the old content has no other name.

mod change;
mod look;
mod walk;

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, ErrorKind, Result};
use crate::job::Links;
use crate::net::Pipe;
use crate::path::{Escaped, RelPath};
use crate::replica::{
    Algorithm, Capabilities, CaseSensitivity, Connect, Digest, FileIdentity, Listing, Mtime,
    NewFile, Removal, Replica, Source, Staging, Stat, Times, Watch, Written,
};
use crate::system;
use change::name_each;
use walk::{Parents, failure};

/// How much is read at a time: large enough that system calls do not count, small beside the 32 MB of a router.
const BUFFER_BYTES: usize = 64 * 1024;

/// Up to this a file is staged: syncing it takes longer than writing it. A larger one is synced alone, which is when what is
/// left of it after a power cut can be trusted, and gone on with.
const STAGE_BYTES: u64 = 1 << 20;

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
