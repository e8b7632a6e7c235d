//! Small trees on disk for tests that compare runs: random ones, changes to them, what they hold, what is recorded of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coracle::side::{Side, Sides};
use serde_json::Value;

use super::random::Random;

/// Times that differ by no more than this are the same to both programs, in seconds.
pub const TOLERANCE_SECS: u64 = 2;

const METADATA: &str = ".pyftpsync-meta.json";
const LOCK: &str = ".pyftpsync-lock.json";

/// What a file is made of: its size and time, of which its bytes follow.
///
/// Files of one size and time have the same bytes, because no program that compares sizes and times could tell them apart. Files of
/// another time have other bytes, but for every fifth size: touching such a file changes nothing but its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub size: usize,
    /// Which of the [`MOMENTS`].
    pub moment: usize,
    /// Whether it is a little later than that, within the tolerance.
    pub is_late: bool,
}

/// How many times there are. The second half lies in the future: a server dates its files now, so only a later time shows a change.
pub const MOMENTS: usize = 8;

impl Content {
    /// Its modification time, in seconds since the epoch.
    pub fn mtime(self) -> u64 {
        let base = if self.is_future() {
            2_000_000_000
        } else {
            1_600_000_000
        };
        // No two of these differ by a whole number of quarter hours, which would look like another time zone.
        base + self.moment as u64 * 1237 + u64::from(self.is_late) * TOLERANCE_SECS
    }

    /// Whether it lies in the future.
    pub fn is_future(self) -> bool {
        self.moment >= MOMENTS / 2
    }

    fn bytes(self) -> Vec<u8> {
        let moment = if self.size.is_multiple_of(5) {
            MOMENTS
        } else {
            self.moment
        };
        let mut rng = Random::new((self.size * (MOMENTS + 1) + moment) as u64);
        (0..self.size).map(|_| rng.next() as u8).collect()
    }
}

/// A change to one side of a tree.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Writes a file, new or over another one, and its parent directories.
    Write {
        /// The side.
        on: Side,
        /// Where.
        path: String,
        /// What.
        content: Content,
    },
    /// Makes a directory.
    MakeDir {
        /// The side.
        on: Side,
        /// Where.
        path: String,
    },
    /// Removes a file, or a directory with all that is in it.
    Remove {
        /// The side.
        on: Side,
        /// What.
        path: String,
    },
    /// Renames a file or a directory, metadata and all, to a name that is free.
    Rename {
        /// The side.
        on: Side,
        /// What.
        from: String,
        /// The new name.
        to: String,
        /// Writes all files anew that were renamed, with their sizes, at this moment.
        rewritten: Option<usize>,
    },
}

impl Edit {
    /// Makes the change.
    pub fn apply(&self, roots: &Sides<PathBuf>) {
        match self {
            Self::Write { on, path, content } => {
                let path = roots.of(*on).join(path);
                let parent = path.parent().expect("a file is in the root or below");
                fs::create_dir_all(parent).expect("the parent is a directory or free");
                write(&path, *content);
            }
            Self::MakeDir { on, path } => {
                fs::create_dir_all(roots.of(*on).join(path)).expect("the name is free");
            }
            Self::Remove { on, path } => remove(&roots.of(*on).join(path)),
            Self::Rename {
                on,
                from,
                to,
                rewritten,
            } => {
                let to = roots.of(*on).join(to);
                fs::rename(roots.of(*on).join(from), &to).expect("the new name is free");
                if let Some(moment) = rewritten {
                    rewrite(&to, *moment);
                }
            }
        }
    }
}

fn write(path: &Path, content: Content) {
    fs::write(path, content.bytes()).expect("the name is free or a file");
    let mtime = UNIX_EPOCH + Duration::from_secs(content.mtime());
    let file = File::options().append(true).open(path);
    file.and_then(|file| file.set_times(FileTimes::new().set_modified(mtime)))
        .expect("times of our own files can be set");
}

fn rewrite(path: &Path, moment: usize) {
    if path.is_dir() {
        for name in names(path) {
            rewrite(&path.join(name), moment);
        }
    } else if path.file_name().is_some_and(|name| name != METADATA) {
        let size = fs::read(path).expect("it is a file").len();
        write(
            path,
            Content {
                size,
                moment,
                is_late: false,
            },
        );
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).expect("it is ours");
    } else {
        fs::remove_file(path).expect("it is there");
    }
}

/// Gives a tree to the user that a server runs as; only root needs to, and may.
pub fn give(path: &Path, user: u32) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    lchown(path, Some(user), Some(user)).expect("root may give files away");
    if path.is_dir() {
        for name in names_with_reserved(path) {
            give(&path.join(name), user);
        }
    }
}

/// What is at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A file.
    File {
        /// What is in it.
        bytes: Vec<u8>,
        /// Its time, in seconds since the epoch: the true one, where metadata says that it is another than the listed one.
        mtime: u64,
    },
}

impl Node {
    /// Whether both are the same, with times within the tolerance.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dir, Self::Dir) => true,
            (
                Self::File { bytes, mtime },
                Self::File {
                    bytes: other_bytes,
                    mtime: other_mtime,
                },
            ) => bytes == other_bytes && mtime.abs_diff(*other_mtime) <= TOLERANCE_SECS,
            (Self::Dir, Self::File { .. }) | (Self::File { .. }, Self::Dir) => false,
        }
    }
}

/// All that is below a root, by path; each directory before what is in it.
pub type Tree = BTreeMap<String, Node>;

/// Reads what is below `root`, but for metadata and lock files.
pub fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    read_dir(root, "", &mut tree);
    tree
}

fn read_dir(dir: &Path, prefix: &str, tree: &mut Tree) {
    let metadata = read_metadata(dir);
    for name in names(dir) {
        let path = dir.join(&name);
        let shown = format!("{prefix}{name}");
        if path.is_dir() {
            tree.insert(shown.clone(), Node::Dir);
            read_dir(&path, &format!("{shown}/"), tree);
        } else {
            let bytes = fs::read(&path).expect("root reads everything");
            let mtime = true_time(&metadata["mtimes"][&name], bytes.len(), mtime_of(&path));
            tree.insert(shown, Node::File { bytes, mtime });
        }
    }
}

/// The time that a server without a way to set times is known to mean.
fn true_time(row: &Value, size: usize, listed: u64) -> u64 {
    let Some(uploaded_at) = row["u"].as_f64() else {
        return listed;
    };
    let is_ours = row["s"].as_u64() == Some(size as u64) && listed as f64 - uploaded_at <= 2.01;
    match row["m"].as_f64() {
        Some(mtime) if is_ours => mtime as u64,
        _ => listed,
    }
}

fn mtime_of(path: &Path) -> u64 {
    let mtime = fs::metadata(path).and_then(|metadata| metadata.modified());
    let mtime: SystemTime = mtime.expect("it was listed a moment ago");
    mtime
        .duration_since(UNIX_EPOCH)
        .expect("no test file is older than the epoch")
        .as_secs()
}

/// The names in a directory, but for what the programs keep for themselves.
fn names(dir: &Path) -> Vec<String> {
    let mut names = names_with_reserved(dir);
    names.retain(|name| name != METADATA && name != LOCK && !name.starts_with(".coracle"));
    names
}

fn names_with_reserved(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .expect("root lists everything")
        .map(|entry| {
            let name = entry.expect("root lists everything").file_name();
            name.into_string().expect("test names are UTF-8")
        })
        .collect()
}

fn read_metadata(dir: &Path) -> Value {
    match fs::read(dir.join(METADATA)) {
        Ok(bytes) => serde_json::from_slice(&bytes).expect("metadata is JSON"),
        Err(_) => Value::Null,
    }
}

/// pyftpsync's metadata files below a local root, by their directories.
pub fn read_metadata_files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for dir in dirs_of(root) {
        if let Ok(bytes) = fs::read(root.join(&dir).join(METADATA)) {
            found.insert(dir, bytes);
        }
    }
    found
}

/// Puts metadata files back into those directories that are there and have none.
pub fn restore_metadata_files(root: &Path, known: &BTreeMap<String, Vec<u8>>) {
    for (dir, bytes) in known {
        let dir = root.join(dir);
        if dir.is_dir() && !dir.join(METADATA).exists() {
            fs::write(dir.join(METADATA), bytes).expect("it is ours");
        }
    }
}

/// Takes the metadata files from a directory and all below it.
pub fn strip_metadata_files(root: &Path) {
    for dir in dirs_of(root) {
        let _there_may_be_none = fs::remove_file(root.join(dir).join(METADATA));
    }
}

/// Takes the row of one path, and of all below it, from the metadata files below a local root.
pub fn forget_record(root: &Path, path: &str) {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut metadata = read_metadata(&root.join(dir));
    let peers = metadata["peer_sync"].as_object_mut();
    let rows = peers
        .into_iter()
        .flatten()
        .filter_map(|(_, rows)| rows.as_object_mut());
    let forgotten = rows.filter_map(|rows| rows.remove(name)).count();
    if forgotten > 0 {
        fs::write(root.join(dir).join(METADATA), metadata.to_string()).expect("it is ours");
    }
    strip_metadata_files(&root.join(path));
}

/// The directories of a tree, the root as an empty path.
fn dirs_of(root: &Path) -> Vec<String> {
    let mut dirs = Vec::new();
    if root.is_dir() {
        dirs.push(String::new());
        let of_tree = read(root)
            .into_iter()
            .filter(|(_, node)| *node == Node::Dir);
        dirs.extend(of_tree.map(|(path, _)| path));
    }
    dirs
}

/// What is recorded of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// A directory.
    Dir,
    /// A file.
    File {
        /// Bytes.
        size: usize,
        /// Seconds since the epoch.
        mtime: u64,
    },
}

impl Row {
    /// Whether the entry is as recorded.
    pub fn is_of(self, node: &Node) -> bool {
        match (self, node) {
            (Self::Dir, Node::Dir) => true,
            (
                Self::File { size, mtime },
                Node::File {
                    bytes,
                    mtime: listed,
                },
            ) => size == bytes.len() && mtime.abs_diff(*listed) <= TOLERANCE_SECS,
            (Self::Dir, Node::File { .. }) | (Self::File { .. }, Node::Dir) => false,
        }
    }
}

/// What the metadata below a local root records of its only peer, by path.
pub fn read_records(root: &Path) -> BTreeMap<String, Row> {
    let mut records = BTreeMap::new();
    read_records_of(root, "", &mut records);
    records
}

fn read_records_of(dir: &Path, prefix: &str, records: &mut BTreeMap<String, Row>) {
    let metadata = read_metadata(dir);
    let peers = metadata["peer_sync"].as_object();
    for (name, row) in peers
        .and_then(|peers| peers.values().next())
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(name, _)| !name.starts_with(':'))
    {
        let row = match (row["s"].as_u64(), row["m"].as_f64()) {
            (Some(size), Some(mtime)) => Row::File {
                size: size as usize,
                mtime: mtime as u64,
            },
            _ => Row::Dir,
        };
        records.insert(format!("{prefix}{name}"), row);
    }
    for name in names(dir) {
        if dir.join(&name).is_dir() {
            read_records_of(&dir.join(&name), &format!("{prefix}{name}/"), records);
        }
    }
}

/// Two trees side by side, a line for each path, differences marked.
pub fn side_by_side(left: &Tree, right: &Tree) -> String {
    let mut text = String::new();
    let mut paths: Vec<&String> = left.keys().chain(right.keys()).collect();
    paths.sort();
    paths.dedup();
    for path in paths {
        let (one, other) = (left.get(path), right.get(path));
        let mark = match (one, other) {
            (Some(one), Some(other)) if one.is_like(other) => ' ',
            _ => '!',
        };
        let _ = writeln!(
            text,
            "  {mark} {path:24} {:34} {}",
            shown(one),
            shown(other)
        );
    }
    text
}

fn shown(node: Option<&Node>) -> String {
    match node {
        None => "-".into(),
        Some(Node::Dir) => "directory".into(),
        Some(Node::File { bytes, mtime }) => {
            let sum = bytes
                .iter()
                .fold(0u16, |sum, byte| sum.rotate_left(3) ^ u16::from(*byte));
            format!("{} bytes {sum:04x} at {mtime}", bytes.len())
        }
    }
}

/// Whether both trees hold the same.
pub fn are_alike(left: &Tree, right: &Tree) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|((path, node), (other_path, other))| path == other_path && node.is_like(other))
}
