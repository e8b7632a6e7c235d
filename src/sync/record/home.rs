//! Where archive and journal lie: in the local root itself, or in a directory of its own below the state directory.
//!
//! All goes through a handle of that directory, and no link is followed in the last name.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::path::{Escaped, Fnv64, HOME_NAME};
use crate::sync::record::header::{RootSeal, Seal};
use crate::sync::record::peer::PeerKey;
use crate::system;

/// What is locked where a root cannot be.
const LOCK_FILE: &[u8] = b"lock";

/// Where Linux tells this machine from all others.
const MACHINE_ID_FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// The directory that holds archive and journal of a local root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The directory that it is in.
    base: PathBuf,
    name: Vec<u8>,
    is_in_root: bool,
}

/// A file that keeps other runs out; dropping it lets them in.
#[derive(Debug)]
pub struct HomeLock(
    #[expect(dead_code, reason = "the lock lasts as long as the file is open")] File,
);

impl Home {
    /// In the local root itself: `.coracle`. It is made when something is written for the first time.
    pub fn in_root(local_root: &Path) -> Self {
        Self {
            base: local_root.to_owned(),
            name: HOME_NAME.to_vec(),
            is_in_root: true,
        }
    }

    /// Below a state directory, by a name that is made of this machine's and of the local root's whole path. It is made when
    /// something is written for the first time.
    pub fn in_state(state_dir: &Path, local_root: &Path) -> Self {
        let whole = local_root.canonicalize();
        let whole = whole.unwrap_or_else(|_| local_root.to_owned());
        let mut hash = Fnv64::new();
        hash.update(machine_id().as_bytes());
        hash.update(&[0]);
        hash.update(whole.as_os_str().as_bytes());
        Self {
            base: state_dir.to_owned(),
            name: format!("{:016x}", hash.finish()).into_bytes(),
            is_in_root: false,
        }
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.base.join(OsStr::from_bytes(&self.name))
    }

    /// Keeps other runs on this machine out by a file in it, where the root itself cannot be locked, as on NFS. None where
    /// that file cannot be locked either; `Locked` where another run has it.
    pub fn lock(&self) -> Result<Option<HomeLock>> {
        let dir = self.make()?;
        let opened = system::create_file(dir.as_fd(), LOCK_FILE, 0o600)
            .or_else(|_| system::open_to_write(dir.as_fd(), LOCK_FILE))
            .map_err(ErrorKind::Disk)?;
        match system::try_lock(opened.as_fd()) {
            Ok(()) => Ok(Some(HomeLock(opened))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ErrorKind::Locked(
                "the local directory is in use by another run; wait for it to end".to_owned(),
            )
            .into()),
            Err(_) => Ok(None),
        }
    }

    /// The path of a file in it, to be shown.
    pub(super) fn shown(&self, name: &[u8]) -> String {
        let path = self.path().join(OsStr::from_bytes(name));
        Escaped(path.as_os_str().as_bytes()).to_string()
    }

    /// Opens it; none where it was never made.
    pub(super) fn find(&self) -> Result<Option<OwnedFd>> {
        match self.open() {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ErrorKind::Metadata(format!(
                "{}: {}; what is recorded cannot be read, and nothing was done",
                self.shown(b""),
                Error::from(ErrorKind::Disk(error))
            ))
            .into()),
        }
    }

    /// Whether this user could have anything in it: a state directory below a home that is not there, or not this user's,
    /// holds nothing of this user's.
    pub(super) fn is_in_reach(&self) -> bool {
        self.is_in_root || system::open_root(&self.base).is_ok()
    }

    fn open(&self) -> io::Result<OwnedFd> {
        let base = system::open_root(&self.base)?;
        system::open_dir_at(base.as_fd(), &self.name)
    }

    /// Opens it, and makes it before where it is not there.
    pub(super) fn make(&self) -> Result<OwnedFd> {
        if let Some(dir) = self.find()? {
            return Ok(dir);
        }
        self.make_dir().map_err(ErrorKind::Disk).doing(|| {
            let advice = if self.is_in_root {
                " (--state-dir keeps it elsewhere)"
            } else {
                ""
            };
            format!("making {}{advice}", self.shown(b""))
        })
    }

    fn make_dir(&self) -> io::Result<OwnedFd> {
        DirBuilder::new()
            .recursive(!self.is_in_root)
            .mode(0o700)
            .create(self.path())?;
        let dir = self.open()?;
        if self.is_in_root {
            let mut ignore = system::create_file(dir.as_fd(), b".gitignore", 0o600)?;
            ignore.write_all(b"*\n")?;
        }
        Ok(dir)
    }

    /// What tells this root from every other; nothing where the home lies in it, and moves with it.
    pub(super) fn root_seal(&self, local_root: &Path) -> RootSeal {
        if self.is_in_root {
            return RootSeal::default();
        }
        let Ok(root) = system::open_root(local_root) else {
            return RootSeal::default();
        };
        let inode = match system::status(root.as_fd()) {
            Ok(status) if system::keeps_inodes(root.as_fd()) => status.identity.inode,
            Ok(_) | Err(_) => 0,
        };
        RootSeal {
            inode,
            fsid: system::file_system_identity(root.as_fd()).unwrap_or(0),
        }
    }
}

/// What tells that file from every other, where its file system keeps that.
pub(super) fn seal(file: &File) -> io::Result<Seal> {
    if !system::keeps_inodes(file.as_fd()) {
        return Ok(Seal::default());
    }
    let status = system::status(file.as_fd())?;
    Ok(Seal {
        inode: status.identity.inode,
        born: status.born,
    })
}

/// What the names of our files begin with.
pub(super) mod starts {
    pub(in super::super) const ARCHIVE: &str = "archive-";
    pub(in super::super) const JOURNAL: &str = "journal-";
}

/// What the names of archives end with that are not in force.
pub(super) mod ends {
    pub(in super::super) const UNFINISHED: &str = ".new";
    pub(in super::super) const COPIED: &str = ".copied";
    pub(in super::super) const DAMAGED: &str = ".damaged";
}

/// The names of the files of one peer.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) archive: Vec<u8>,
    pub(super) new_archive: Vec<u8>,
    pub(super) copied: Vec<u8>,
    pub(super) damaged: Vec<u8>,
    pub(super) journal: Vec<u8>,
}

impl Names {
    pub(super) fn of(peer: &PeerKey) -> Self {
        let hash = peer.hash();
        let name = |start: &str, end: &str| format!("{start}{hash}{end}").into_bytes();
        Self {
            archive: name(starts::ARCHIVE, ""),
            new_archive: name(starts::ARCHIVE, ends::UNFINISHED),
            copied: name(starts::ARCHIVE, ends::COPIED),
            damaged: name(starts::ARCHIVE, ends::DAMAGED),
            journal: name(starts::JOURNAL, ""),
        }
    }
}

/// What this machine is called; its host name where it has no id.
pub(super) fn machine_id() -> String {
    let mut ids = MACHINE_ID_FILES
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok());
    ids.find(|id| !id.trim().is_empty()).map_or_else(
        || {
            let host = nix::unistd::gethostname().unwrap_or_default();
            host.to_string_lossy().into_owned()
        },
        |id| id.trim().to_owned(),
    )
}
