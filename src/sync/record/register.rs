//! What is known of a job outside of its roots: when a disk is not mounted or a server shows an empty directory, the
//! archive is gone with the files, and only this can tell that there was something, and on which disk.
//!
//! One small file for each pair of paths. To have no register (a read-only home) is never an error: the guards are weaker
//! then.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Doing, ErrorKind, Result};
use crate::path::{Escaped, Fnv64, PartOwner};
use crate::side::{Side, Sides};
use crate::sync::record::home::machine_id;
use crate::sync::record::json;
use crate::sync::record::peer::PeerKey;

/// The largest file of a job that is read, in bytes: two paths and a few numbers.
const MAX_BYTES: u64 = 64 << 10;

/// How many disks are remembered of a path: more than anyone changes in turns.
const MAX_IDENTITIES: usize = 64;

/// The register's directory below the state directory.
const DIR_NAME: &str = "jobs";

/// The file that holds this holder's name, in the state directory.
const HOLDER_NAME: &str = "holder";

/// The state directory of a machine without homes.
const LAST_RESORT: &str = "/var/lib/coracle";

/// The state directory: the one that is given, else this user's. `variable` reads the environment.
pub fn state_dir(given: Option<&Path>, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    given
        .map(Path::to_owned)
        .or_else(|| absolute("XDG_STATE_HOME").map(|dir| dir.join("coracle")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state/coracle")))
        .unwrap_or_else(|| LAST_RESORT.into())
}

/// A job as the register knows it: by the paths of its roots, whatever disks are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobId {
    /// The local root, absolute.
    pub local: PathBuf,
    /// The other side.
    pub peer: PeerKey,
}

/// What is remembered of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Whether each side held files after the last run.
    pub held: Sides<bool>,
    /// The identities of all file systems that were seen at each side's path; 0 stands for one that keeps none.
    pub identities: Sides<Vec<u64>>,
}

impl Remembered {
    /// Adds the identity of a file system that was seen on that side.
    pub fn saw(&mut self, side: Side, identity: u64) {
        let seen = self.identities.of_mut(side);
        seen.retain(|other| *other != identity);
        seen.push(identity);
        if seen.len() > MAX_IDENTITIES {
            seen.remove(0);
        }
    }
}

/// The register.
#[derive(Debug, Clone)]
pub struct Register {
    state_dir: PathBuf,
}

impl Register {
    /// The register in that state directory, which need not exist.
    pub fn of(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
        }
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
        replace(&path, &serialize(job, remembered))
            .map_err(ErrorKind::Disk)
            .doing(|| format!("writing {}", shown(&path)))?;
        Ok(true)
    }

    /// All jobs of this user, by the paths of their roots, in no order; what cannot be read is passed over. Their peers are named
    /// by their places.
    pub fn jobs(&self) -> Vec<JobId> {
        let Ok(files) = std::fs::read_dir(self.state_dir.join(DIR_NAME)) else {
            return Vec::new();
        };
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        let texts = paths.filter_map(|path| read_file(&path).ok());
        texts.filter_map(|text| job_of(&text)).collect()
    }

    /// The name by which runs on this local root hold locks, 16 digits: of this machine and user, as a random name says that is
    /// made once for each state directory, and of the root, whose own lock keeps other runs out.
    pub fn holder(&self, local: &Path) -> Result<String> {
        let name = match self.known_name() {
            Some(name) => name,
            None => {
                let path = self.state_dir.join(HOLDER_NAME);
                let name = Self::passing_holder();
                replace(&path, format!("{name}\n").as_bytes())
                    .map_err(ErrorKind::Disk)
                    .doing(|| format!("writing {}", shown(&path)))?;
                name
            }
        };
        Ok(holder_of(&name, local))
    }

    /// The same; none where this user never held a lock.
    pub fn known_holder(&self, local: &Path) -> Option<String> {
        Some(holder_of(&self.known_name()?, local))
    }

    /// Whose the partial files of this job are. Where no name can be kept the machine's has to do, or nobody would ever go on
    /// with what a run left.
    pub fn part_owner(&self, job: &JobId) -> PartOwner {
        let name = self.known_name().unwrap_or_else(machine_id);
        let holder = [name.as_bytes(), job.local.as_os_str().as_bytes()].concat();
        PartOwner::of(&holder, job.peer.place().as_bytes())
    }

    fn known_name(&self) -> Option<String> {
        let known = read_file(&self.state_dir.join(HOLDER_NAME)).ok()?;
        let name = known.trim();
        let is_name = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_name.then(|| name.to_owned())
    }

    /// A name for one run alone, where none can be kept: whatever that run leaves behind is a stranger's to the next one.
    pub fn passing_holder() -> String {
        format!("{:016x}", RandomState::new().build_hasher().finish())
    }

    fn path(&self, job: &JobId) -> PathBuf {
        let mut hash = Fnv64::new();
        hash.update(job.local.as_os_str().as_bytes());
        hash.update(&[0]);
        hash.update(job.peer.place().as_bytes());
        let name = format!("{:016x}.json", hash.finish());
        self.state_dir.join(DIR_NAME).join(name)
    }
}

/// Writes a file beside and renames it, and makes its directory where that is missing.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
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

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn holder_of(name: &str, local: &Path) -> String {
    let mut hash = Fnv64::new();
    hash.update(name.as_bytes());
    hash.update(local.as_os_str().as_bytes());
    format!("{:016x}", hash.finish())
}

/// Whose file it is.
fn job_of(text: &str) -> Option<JobId> {
    let (mut local, mut peer) = (None, None);
    json::each_field(text, &mut |key, value| match key {
        b"local" => local = json::parse_bytes(value),
        b"peer" => peer = json::parse_bytes(value),
        _ => {}
    })
    .ok()?;
    Some(JobId {
        local: PathBuf::from(OsString::from_vec(local?)),
        peer: PeerKey::named(String::from_utf8(peer?).ok()?),
    })
}

/// None as well when the file is another job's, whose hash is the same.
fn parse(text: &str, job: &JobId) -> Option<Remembered> {
    let mut held = Sides::default();
    let mut identities = Sides::default();
    json::each_field(text, &mut |key, value| match key {
        b"local_held" => held.local = value.parse().ok(),
        b"remote_held" => held.remote = value.parse().ok(),
        b"local_disks" => identities.local = parse_identities(value),
        b"remote_disks" => identities.remote = parse_identities(value),
        _ => {}
    })
    .ok()?;
    let is_this_job = job_of(text)
        .is_some_and(|known| known.local == job.local && known.peer.place() == job.peer.place());
    let remembered = Remembered {
        held: Sides::new(held.local?, held.remote?),
        identities: Sides::new(identities.local?, identities.remote?),
    };
    is_this_job.then_some(remembered)
}

/// Numbers with blanks between them: `"0123456789abcdef 0"`.
fn parse_identities(value: &str) -> Option<Vec<u64>> {
    let text = String::from_utf8(json::parse_bytes(value)?).ok()?;
    text.split_ascii_whitespace()
        .map(|identity| u64::from_str_radix(identity, 16).ok())
        .collect()
}

fn serialize(job: &JobId, remembered: &Remembered) -> Vec<u8> {
    let mut out = b"{\"version\":1,\"local\":".to_vec();
    json::write_bytes(job.local.as_os_str().as_bytes(), &mut out);
    out.extend_from_slice(b",\"peer\":");
    json::write_bytes(job.peer.place().as_bytes(), &mut out);
    for side in Side::BOTH {
        let held = remembered.held.of(side);
        let disks: Vec<String> = remembered
            .identities
            .of(side)
            .iter()
            .map(|identity| format!("{identity:x}"))
            .collect();
        let disks = disks.join(" ");
        json::push(
            &mut out,
            format_args!(",\"{side}_held\":{held},\"{side}_disks\":\"{disks}\""),
        );
    }
    out.extend_from_slice(b"}\n");
    out
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::record::scratch::Scratch;

    fn job(local: &[u8]) -> JobId {
        JobId {
            local: PathBuf::from(std::ffi::OsStr::from_bytes(local)),
            peer: PeerKey::of_path(Path::new("/peer"), 0),
        }
    }

    fn seen() -> Remembered {
        Remembered {
            held: Sides::new(true, false),
            identities: Sides::new(vec![u64::MAX, 0], vec![]),
        }
    }

    #[test]
    fn remembers_each_job_and_writes_only_what_is_new() {
        let scratch = Scratch::new("record-register");
        let register = Register::of(&scratch.join("a/b"));
        let (one, two) = (job(b"/data/caf\xe9"), job(b"/data/x"));
        assert_eq!(register.read(&one), None);
        assert!(register.remember(&one, &seen()).unwrap());
        assert_eq!(register.read(&one), Some(seen()));
        assert_eq!(register.read(&two), None);
        assert!(!register.remember(&one, &seen()).unwrap());
        let mut changed = seen();
        changed.held.local = false;
        changed.saw(Side::Remote, 7);
        changed.saw(Side::Local, u64::MAX);
        assert_eq!(changed.identities, Sides::new(vec![0, u64::MAX], vec![7]));
        assert!(register.remember(&one, &changed).unwrap());
        assert_eq!(register.read(&one), Some(changed));
        let files = std::fs::read_dir(scratch.join("a/b/jobs")).unwrap();
        assert_eq!(files.count(), 1);
        let known = register.jobs();
        let [known] = known.as_slice() else {
            panic!("one job: {known:?}");
        };
        assert_eq!(known.local, one.local);
        assert_eq!(known.peer.place(), one.peer.place());
        assert_eq!(register.part_owner(known), register.part_owner(&one));
    }

    #[test]
    fn a_path_is_one_job_whichever_disk_is_there() {
        let scratch = Scratch::new("record-register-disks");
        let register = Register::of(&scratch.join("s"));
        let on_disk = |fsid| JobId {
            peer: PeerKey::of_path(Path::new("/peer"), fsid),
            ..job(b"/data")
        };
        register.remember(&on_disk(1), &seen()).unwrap();
        assert_eq!(register.read(&on_disk(2)), Some(seen()));
    }

    #[test]
    fn many_disks_are_remembered_but_not_without_end() {
        let mut remembered = Remembered::default();
        for identity in 0..100 {
            remembered.saw(Side::Local, identity);
        }
        let expected: Vec<u64> = (36..100).collect();
        assert_eq!(remembered.identities.local, expected);
    }

    #[test]
    fn a_damaged_file_is_no_memory_and_is_replaced() {
        let scratch = Scratch::new("record-register-damaged");
        let register = Register::of(&scratch.join("r"));
        let job = job(b"/data");
        register.remember(&job, &seen()).unwrap();
        let whole = std::fs::read(register.path(&job)).unwrap();
        // The last byte is only the line's end.
        for end in 0..whole.len() - 1 {
            std::fs::write(register.path(&job), &whole[..end]).unwrap();
            assert_eq!(register.read(&job), None, "{end}");
        }
        assert!(register.remember(&job, &seen()).unwrap());
        assert_eq!(register.read(&job), Some(seen()));
    }

    #[test]
    fn the_file_of_a_job_with_the_same_hash_is_not_believed() {
        let scratch = Scratch::new("record-register-hash");
        let register = Register::of(&scratch.join("r"));
        let (one, two) = (job(b"/one"), job(b"/two"));
        register.remember(&one, &seen()).unwrap();
        std::fs::rename(register.path(&one), register.path(&two)).unwrap();
        assert_eq!(register.read(&two), None);
    }

    #[test]
    fn says_what_cannot_be_written() {
        let scratch = Scratch::new("record-register-blocked");
        std::fs::write(scratch.join("file"), b"").unwrap();
        let register = Register::of(&scratch.join("file"));
        let job = job(b"/data");
        assert_eq!(register.read(&job), None);
        let error = register.remember(&job, &seen()).unwrap_err().to_string();
        assert!(
            error.starts_with("writing ") && error.contains(".json: "),
            "{error}"
        );
        let error = register.holder(&job.local).unwrap_err().to_string();
        assert!(error.starts_with("writing "), "{error}");
        assert_ne!(Register::passing_holder(), Register::passing_holder());
    }

    #[test]
    fn a_holder_keeps_its_name() {
        let scratch = Scratch::new("record-register-holder");
        let (one, two) = (scratch.join("one"), scratch.join("two"));
        let (root, other) = (Path::new("/data"), Path::new("/photos"));
        let name = Register::of(&one).holder(root).unwrap();
        assert_eq!(name.len(), 16);
        assert_eq!(Register::of(&one).holder(root).unwrap(), name);
        assert_ne!(Register::of(&one).holder(other).unwrap(), name);
        assert_ne!(Register::of(&two).holder(root).unwrap(), name);
        std::fs::write(one.join("holder"), b"../../x").unwrap();
        assert_ne!(Register::of(&one).holder(root).unwrap(), name);
    }

    #[test]
    fn is_kept_where_the_system_keeps_states() {
        let of = |given: Option<&str>, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| PathBuf::from(value))
            };
            state_dir(given.map(Path::new), variable)
        };
        let home = ("HOME", "/home/bob");
        let expected = Path::new("/home/bob/.local/state/coracle");
        assert_eq!(
            of(None, &[("XDG_STATE_HOME", "/s"), home]),
            Path::new("/s/coracle")
        );
        assert_eq!(of(None, &[("XDG_STATE_HOME", "s"), home]), expected);
        assert_eq!(of(None, &[]), Path::new("/var/lib/coracle"));
        assert_eq!(of(Some("/d"), &[home]), Path::new("/d"));
    }
}
