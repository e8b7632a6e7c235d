//! The places of a folder life: two roots, a home, a disk that comes and goes, and a mount namespace of its own.

#![allow(unreachable_pub)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ftp_server::{Config, FtpServer};
use crate::life_model::{Both, Side};
use crate::life_tree::{Contents, Seen};
use crate::mounts;
use crate::temp::TempDir;

/// What the two sides are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Directories,
    Server,
    ServerWithoutTimes,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Directories, Self::Server, Self::ServerWithoutTimes];
}

/// The places of one life.
pub struct World {
    dir: TempDir,
    pub kind: Kind,
    pub can_mount: bool,
    server: Option<FtpServer>,
    /// Where disks are mounted now.
    pub mounted: Vec<(Side, String)>,
}

impl World {
    /// Empty roots. In memory there is no waiting for a disk; some lives are on the disk all the same, where other rules hold.
    pub fn new(kind: Kind, can_mount: bool, in_memory: bool) -> Self {
        let dir = match in_memory {
            true => TempDir::in_memory("life"),
            false => TempDir::new("life"),
        };
        for part in ["local", "remote", "home", "outside", "shots", "disks"] {
            fs::create_dir(dir.path().join(part)).expect("a new directory can be made");
        }
        let mut world = Self {
            dir,
            kind,
            can_mount,
            server: None,
            mounted: Vec::new(),
        };
        if kind != Kind::Directories {
            let keeps_times = kind == Kind::Server;
            world.server = Some(FtpServer::start(Config {
                mfmt: keeps_times,
                mdtm_set: keeps_times,
                site_utime: keeps_times,
                // A killed client never comes to a data connection that it has asked for.
                accept_timeout: std::time::Duration::from_secs(1),
                ..Config::serving(world.root(Side::Remote))
            }));
        }
        world
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn root(&self, side: Side) -> PathBuf {
        self.path().join(side.name())
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    pub fn server(&self) -> Option<&FtpServer> {
        self.server.as_ref()
    }

    pub fn look(&self, contents: &Contents) -> Both {
        Both {
            local: Seen::of(&self.root(Side::Local), contents),
            remote: Seen::of(&self.root(Side::Remote), contents),
        }
    }

    /// The archives in memory of both places: names and bytes.
    pub fn archives(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for place in [self.root(Side::Local).join(".coracle"), self.home()] {
            collect_archives(&place, &mut found);
        }
        found.sort();
        found
    }

    /// `coracle ARGUMENTS` with the two roots behind the first of them.
    pub fn command(&self, arguments: &[String]) -> Command {
        let remote = match &self.server {
            Some(server) => server.url(""),
            None => "remote".to_owned(),
        };
        let built = std::env::var_os("CORACLE_PROGRAM");
        let mut command = Command::new(built.unwrap_or(env!("CARGO_BIN_EXE_coracle").into()));
        command
            .args(&arguments[..1])
            .args(["local", &remote])
            .args(&arguments[1..])
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.home())
            .env("XDG_STATE_HOME", self.home().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Mounts the disk of that name at a directory below a root.
    pub fn mount(&mut self, side: Side, dir: &str) -> io::Result<()> {
        let disk = self.disk(side, dir);
        fs::create_dir_all(&disk)?;
        let at = self.root(side).join(dir);
        fs::create_dir_all(&at)?;
        mounts::bind(&disk, &at)?;
        self.mounted.push((side, dir.to_owned()));
        Ok(())
    }

    pub fn unmount(&mut self, place: &(Side, String)) -> io::Result<()> {
        mounts::take_away(&self.root(place.0).join(&place.1))?;
        self.mounted.retain(|mounted| mounted != place);
        Ok(())
    }

    /// What is mounted there, as it is while nothing is.
    pub fn disk(&self, side: Side, dir: &str) -> PathBuf {
        let name = format!("{}-{}", side.name(), dir.replace('/', "-"));
        self.path().join("disks").join(name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for place in std::mem::take(&mut self.mounted) {
            let _ = self.unmount(&place);
        }
    }
}

fn collect_archives(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_archives(&path, found);
        } else if entry.file_name().to_string_lossy().starts_with("archive-") {
            found.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
}
