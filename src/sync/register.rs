//! What is remembered of a job outside of its roots: when a disk is not mounted or a server shows an empty directory,
//! the metadata is gone with the files, and only this can tell that there was something.
//!
//! One small file for each job. To have no register (a read-only home) is never an error: the guard is weaker then.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Doing, ErrorKind, Result};
use crate::job::StateDir;
use crate::path::{Escaped, Fnv64};
use crate::sync::json;
use crate::sync::peer::PeerKey;

/// The largest file of a job, in bytes: two paths and a few numbers.
const MAX_BYTES: u64 = 64 << 10;

/// The directory of the register below a state directory.
const DIR_NAME: &str = ".coracle-jobs";

/// The state directory of a machine without homes.
const LAST_RESORT: &str = "/var/lib/coracle";

/// A job as the register knows it: the local root and the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobId {
    /// The local root, absolute.
    pub local: PathBuf,
    /// The other side.
    pub peer: PeerKey,
}

/// What is remembered of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// The device number of the local root.
    pub device: u64,
    /// The file system id of the local root.
    pub fsid: u64,
    /// Whether the local side held files after the last run.
    pub had_files: bool,
    /// Whether the remote side did.
    pub remote_had_files: bool,
}

/// The register.
#[derive(Debug, Clone)]
pub struct Register {
    dir: PathBuf,
}

impl Register {
    /// The register in the directory `dir`, which need not exist.
    pub const fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The register of a run that keeps its metadata in `state`; `variable` reads the environment.
    pub fn of(state: &StateDir, variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        Self::at(match state {
            StateDir::Below(dir) => dir.join(DIR_NAME),
            StateDir::Beside => absolute("XDG_STATE_HOME")
                .map(|dir| dir.join("coracle"))
                .or_else(|| absolute("HOME").map(|home| home.join(".local/state/coracle")))
                .unwrap_or_else(|| LAST_RESORT.into()),
        })
    }

    /// What is remembered of the job; none when there is nothing, or nothing that can be read.
    pub fn read(&self, job: &JobId) -> Option<Remembered> {
        let path = self.path(job);
        match read_file(&path) {
            Ok(text) => {
                let remembered = parse(&text, job);
                if remembered.is_none() {
                    log::debug!("{} does not tell of this job", shown(&path));
                }
                remembered
            }
            Err(error) => {
                log::debug!("reading {}: {error}", shown(&path));
                None
            }
        }
    }

    /// Remembers this of the job; says whether anything was written. What is remembered already is not written again.
    pub fn remember(&self, job: &JobId, remembered: &Remembered) -> Result<bool> {
        if self.read(job).as_ref() == Some(remembered) {
            return Ok(false);
        }
        let path = self.path(job);
        self.replace(&path, &serialize(job, remembered))
            .map_err(ErrorKind::Disk)
            .doing(|| format!("writing {}", shown(&path)))?;
        Ok(true)
    }

    fn path(&self, job: &JobId) -> PathBuf {
        let mut hash = Fnv64::new();
        hash.update(job.local.as_os_str().as_bytes());
        hash.update(&[0]);
        hash.update(job.peer.own().as_bytes());
        self.dir.join(format!("{:016x}.json", hash.finish()))
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        // Two runs of one job never write at the same time: the job's lock is held.
        let beside = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// None as well when the file is another job's, whose hash is the same.
fn parse(text: &str, job: &JobId) -> Option<Remembered> {
    let (mut local, mut peer) = (None, None);
    let (mut device, mut fsid, mut had_files, mut remote_had_files) = (None, None, None, None);
    json::each_field(text, &mut |key, value| match key {
        b"local" => local = json::parse_bytes(value),
        b"peer" => peer = json::parse_bytes(value),
        b"device" => device = value.parse().ok(),
        b"fsid" => fsid = value.parse().ok(),
        b"had_files" => had_files = value.parse().ok(),
        b"remote_had_files" => remote_had_files = value.parse().ok(),
        _ => {}
    })
    .ok()?;
    let is_this_job = local.as_deref() == Some(job.local.as_os_str().as_bytes())
        && peer.as_deref() == Some(job.peer.own().as_bytes());
    let remembered = Remembered {
        device: device?,
        fsid: fsid?,
        had_files: had_files?,
        remote_had_files: remote_had_files?,
    };
    is_this_job.then_some(remembered)
}

fn serialize(job: &JobId, remembered: &Remembered) -> Vec<u8> {
    let Remembered {
        device,
        fsid,
        had_files,
        remote_had_files,
    } = remembered;
    let mut out = b"{\"version\":1,\"local\":".to_vec();
    json::write_bytes(job.local.as_os_str().as_bytes(), &mut out);
    out.extend_from_slice(b",\"peer\":");
    json::write_bytes(job.peer.own().as_bytes(), &mut out);
    json::push(
        &mut out,
        format_args!(
            ",\"device\":{device},\"fsid\":{fsid},\"had_files\":{had_files},\"remote_had_files\":{remote_had_files}}}\n"
        ),
    );
    out
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Location;
    use crate::sync::scratch::Scratch;

    fn job(local: &[u8]) -> JobId {
        JobId {
            local: PathBuf::from(std::ffi::OsStr::from_bytes(local)),
            peer: PeerKey::of(&Location::Path("/peer".into())),
        }
    }

    const SEEN: Remembered = Remembered {
        device: u64::MAX,
        fsid: 7,
        had_files: true,
        remote_had_files: false,
    };

    #[test]
    fn remembers_each_job_and_writes_only_what_is_new() {
        let scratch = Scratch::new("register");
        let register = Register::at(scratch.join("a/b"));
        let (one, two) = (job(b"/data/caf\xe9"), job(b"/data/x"));
        assert_eq!(register.read(&one), None);
        assert!(register.remember(&one, &SEEN).unwrap());
        assert_eq!(register.read(&one), Some(SEEN));
        assert_eq!(register.read(&two), None);
        assert!(!register.remember(&one, &SEEN).unwrap());
        let changed = Remembered {
            had_files: false,
            ..SEEN
        };
        assert!(register.remember(&one, &changed).unwrap());
        assert_eq!(register.read(&one), Some(changed));
        assert_eq!(std::fs::read_dir(scratch.join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_no_memory_and_is_replaced() {
        let scratch = Scratch::new("register-damaged");
        let register = Register::at(scratch.join("r"));
        let job = job(b"/data");
        register.remember(&job, &SEEN).unwrap();
        let whole = std::fs::read(register.path(&job)).unwrap();
        // The last byte is only the line's end.
        for end in 0..whole.len() - 1 {
            std::fs::write(register.path(&job), &whole[..end]).unwrap();
            assert_eq!(register.read(&job), None, "{end}");
        }
        assert!(register.remember(&job, &SEEN).unwrap());
        assert_eq!(register.read(&job), Some(SEEN));
    }

    #[test]
    fn the_file_of_a_job_with_the_same_hash_is_not_believed() {
        let scratch = Scratch::new("register-hash");
        let register = Register::at(scratch.join("r"));
        let (one, two) = (job(b"/one"), job(b"/two"));
        register.remember(&one, &SEEN).unwrap();
        std::fs::rename(register.path(&one), register.path(&two)).unwrap();
        assert_eq!(register.read(&two), None);
    }

    #[test]
    fn says_what_cannot_be_written() {
        let scratch = Scratch::new("register-blocked");
        std::fs::write(scratch.join("file"), b"").unwrap();
        let register = Register::at(scratch.join("file"));
        let job = job(b"/data");
        assert_eq!(register.read(&job), None);
        let error = register.remember(&job, &SEEN).unwrap_err().to_string();
        assert!(
            error.starts_with("writing ") && error.contains(".json: "),
            "{error}"
        );
    }

    #[test]
    fn is_kept_where_the_system_keeps_states() {
        let of = |state: &StateDir, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| PathBuf::from(value))
            };
            Register::of(state, variable).dir
        };
        let home = ("HOME", "/home/bob");
        let beside = StateDir::Beside;
        assert_eq!(
            of(&beside, &[("XDG_STATE_HOME", "/s"), home]),
            Path::new("/s/coracle")
        );
        assert_eq!(
            of(&beside, &[("XDG_STATE_HOME", "s"), home]),
            Path::new("/home/bob/.local/state/coracle")
        );
        assert_eq!(of(&beside, &[]), Path::new("/var/lib/coracle"));
        assert_eq!(
            of(&StateDir::Below("/d".into()), &[home]),
            Path::new("/d/.coracle-jobs")
        );
    }
}
