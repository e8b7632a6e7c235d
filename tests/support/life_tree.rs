//! Trees of a folder life: contents that can be told apart, what is on a side, and what people do to folders.

#![allow(unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The number of a content; no two files that were written differently have the same.
pub type Content = usize;

/// Where the program keeps its archive.
pub const ARCHIVE_DIR: &str = ".coracle";

/// The trash of runs that have one.
pub const TRASH: &str = "trash";

/// Every content that was ever written, by its number.
#[derive(Default)]
pub struct Contents(Vec<Vec<u8>>);

impl Contents {
    /// A new content of that size, or as much as its number needs: its number, then bytes that follow from it.
    pub fn make(&mut self, size: usize) -> Content {
        let content = self.count();
        let mut bytes = format!("#{content:08} ").into_bytes();
        let own: Vec<u8> = (b'a'..=b'z')
            .cycle()
            .skip(content)
            .step_by(content % 5 * 2 + 1)
            .take(size)
            .collect();
        bytes.extend(own.iter().skip(bytes.len()));
        self.0.push(bytes);
        content
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What a file of it holds.
    pub fn bytes(&self, content: Content) -> &[u8] {
        &self.0[content]
    }

    /// Which content this is; none if it is torn, or was never written.
    pub fn recognise(&self, bytes: &[u8]) -> Option<Content> {
        let number = std::str::from_utf8(bytes.get(1..9)?).ok()?;
        let content = number.parse().ok()?;
        (self.0.get(content).map(Vec::as_slice) == Some(bytes)).then_some(content)
    }
}

/// What is on one side.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The user's files.
    pub files: BTreeMap<String, Content>,
    /// Directories.
    pub dirs: BTreeSet<String>,
    /// Symbolic links.
    pub links: BTreeSet<String>,
    /// When each file was changed, in seconds.
    pub times: BTreeMap<String, u64>,
    /// What lies in the trash, or under a name of the program's own.
    pub put_aside: BTreeSet<Content>,
    /// Files of the user's that hold what nobody wrote.
    pub torn: Vec<String>,
}

impl Seen {
    /// Looks at all that is below `root`, through no link.
    pub fn of(root: &Path, contents: &Contents) -> Self {
        let mut seen = Self::default();
        seen.look(root, "", false, contents);
        seen
    }

    fn look(&mut self, dir: &Path, prefix: &str, is_aside: bool, contents: &Contents) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries {
            let entry = entry.expect("a directory of our own can be listed");
            let name = entry.file_name().into_string().expect("our names are text");
            if name == ARCHIVE_DIR || name.starts_with(".pyftpsync") || name == ".coracle-lock" {
                continue;
            }
            let path = format!("{prefix}{name}");
            let is_aside = is_aside || name.starts_with(".coracle") || path == TRASH;
            let found = entry.metadata().expect("it was listed a moment ago");
            if found.is_symlink() {
                self.links.insert(path);
            } else if found.is_dir() {
                if !is_aside {
                    self.dirs.insert(path.clone());
                }
                self.look(&entry.path(), &format!("{path}/"), is_aside, contents);
            } else {
                let bytes = fs::read(entry.path()).expect("a file of our own can be read");
                let content = contents.recognise(&bytes);
                match (content, is_aside) {
                    (Some(content), true) => {
                        self.put_aside.insert(content);
                    }
                    (None, true) => {}
                    (Some(content), false) => {
                        self.times.insert(path.clone(), secs(found.modified().ok()));
                        self.files.insert(path, content);
                    }
                    (None, false) => self.torn.push(path),
                }
            }
        }
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.dirs.is_empty()
    }

    /// Whether there is anything at this path.
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path) || self.dirs.contains(path) || self.links.contains(path)
    }

    /// The files below a directory, by path.
    pub fn below<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = (&'a String, &'a Content)> {
        self.files
            .iter()
            .filter(move |(path, _)| is_below(path, dir))
    }

    /// Whether both have the same files, directories and links.
    pub fn is_like(&self, other: &Self) -> bool {
        self.files == other.files && self.dirs == other.dirs && self.links == other.links
    }

    /// A line for each entry.
    pub fn shown(&self) -> String {
        let dirs = self.dirs.iter().map(|path| format!("{path}/"));
        let links = self.links.iter().map(|path| format!("{path}@"));
        let files = self.files.iter().map(|(path, content)| {
            let time = self.times[path];
            format!("{path} #{content} t{time}")
        });
        let mut all: Vec<String> = dirs.chain(links).chain(files).collect();
        all.sort();
        format!("{} aside {:?}", all.join(", "), self.put_aside)
    }
}

fn secs(time: Option<SystemTime>) -> u64 {
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_secs())
}

/// Whether a path is a directory or lies below it.
pub fn is_at_or_below(path: &str, dir: &str) -> bool {
    path == dir || is_below(path, dir)
}

/// Whether a path lies below a directory; all lie below the root, which is the empty path.
pub fn is_below(path: &str, dir: &str) -> bool {
    dir.is_empty()
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// The directory that a path is in; the root is the empty path.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Whether all that is above a path is a true directory, or not there.
pub fn can_hold(root: &Path, path: &str) -> bool {
    let mut dir = root.to_owned();
    parent(path)
        .split('/')
        .filter(|name| !name.is_empty())
        .all(|name| {
            dir.push(name);
            fs::symlink_metadata(&dir).map_or(true, |found| found.is_dir())
        })
}

/// Writes a file with its time, over what is there.
pub fn write(path: &Path, bytes: &[u8], at: SystemTime) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, bytes)?;
    touch(path, at)
}

/// Gives a file a time.
pub fn touch(path: &Path, at: SystemTime) -> io::Result<()> {
    let file = File::options().append(true).open(path)?;
    file.set_times(FileTimes::new().set_modified(at))
}

/// The time so many nanoseconds after the epoch.
pub fn moment(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

/// Removes what is there, whatever it is.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Copies a tree with its times and links, into what is there. Files that are there are written in place, as `cp` does.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    if found.is_symlink() {
        remove(to)?;
        return symlink(fs::read_link(from)?, to);
    }
    let there = fs::symlink_metadata(to);
    if there.is_ok_and(|there| there.is_dir() != found.is_dir() || there.is_symlink()) {
        remove(to)?;
    }
    if found.is_file() {
        fs::copy(from, to)?;
        return touch(to, found.modified()?);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Moves what is in a directory into another one, as a file manager does that replaces files of the same names.
pub fn merge(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        let there = fs::symlink_metadata(&to);
        let both_are_dirs =
            entry.file_type()?.is_dir() && there.as_ref().is_ok_and(|there| there.is_dir());
        if both_are_dirs {
            merge(&entry.path(), &to)?;
        } else {
            remove(&to)?;
            fs::rename(entry.path(), &to)?;
        }
    }
    fs::remove_dir(from)
}
