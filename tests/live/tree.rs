//! Trees of files: made from a seed, looked at, compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coracle::path::Escaped;

use crate::support::servers::Kind;

/// Two mtimes this close are the same: servers keep whole seconds.
const TOLERANCE_SECS: i64 = 1;

/// The file beside the user's files that coracle keeps its records in.
const METADATA: &str = ".pyftpsync-meta.json";

/// The directory in a local root that holds its archives.
const ARCHIVE_DIR: &str = ".coracle";

/// Most files are smaller; the last one of a tree is not.
const MAX_SMALL_BYTES: u64 = 8 * 1024;

const LARGE_BYTES: usize = 3 * 1024 * 1024;

/// Names that every server keeps as they are, of files and of directories.
const ODD_NAMES: [&[u8]; 15] = [
    b"two  words.txt",
    b".hidden",
    b"..two dots",
    b"semi;colon=x; y.txt",
    b"100%",
    b"%41%2F.txt",
    b"[a-z]?.txt",
    b"\"double\" and 'single'",
    b"-rf",
    b"-la",
    b"~tilde{a,b}",
    b"a -> b",
    "gr\u{fc}\u{df}e-\u{65e5}\u{672c}-\u{1f6f6}.txt".as_bytes(),
    b"#hash & amp | pipe $HOME `id`",
    b"CON.txt",
];

/// A Latin-1 name, which is no UTF-8.
pub(crate) const LATIN_1_NAME: &[u8] = b"gr\xfc\xdfe-latin1.txt";

/// A name that begins with blanks.
pub(crate) const LEADING_BLANKS_NAME: &[u8] = b"  leading blanks";

/// A name with a control character other than a line end.
pub(crate) const CONTROL_NAME: &[u8] = b"tab\tand\x01bell";

/// A name that ends with a blank.
pub(crate) const TRAILING_BLANK_NAME: &[u8] = b"trailing blank ";

pub(crate) const BACKSLASH_NAME: &[u8] = b"back\\slash";

/// ProFTPD refuses it for directories.
pub(crate) const STAR_NAME: &[u8] = b"star*.txt";

/// Names that some server does not keep.
pub(crate) const DEMANDING_NAMES: [&[u8]; 6] = [
    LATIN_1_NAME,
    LEADING_BLANKS_NAME,
    CONTROL_NAME,
    TRAILING_BLANK_NAME,
    BACKSLASH_NAME,
    STAR_NAME,
];

/// The file of a tree that has a time beyond 32 bits.
const FROM_2039: usize = 3;

pub(crate) const FROM_2039_NAME: &str = "from 2039";

/// Whether this server keeps the name of a file.
pub(crate) fn keeps(kind: Kind, name: &[u8]) -> bool {
    match name {
        LATIN_1_NAME => kind != Kind::Pyftpdlib,
        CONTROL_NAME | TRAILING_BLANK_NAME | BACKSLASH_NAME => kind != Kind::PureFtpd,
        _ => true,
    }
}

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Fills `root` with `files` files in `dirs` directories besides the root, three levels deep, with every kind of name
/// that `kind` keeps, small sizes and one large one, old and odd times.
pub(crate) fn fill(root: &Path, kind: Kind, seed: u64, files: usize, dirs: usize) {
    let mut random = Random(seed);
    let mut odd: Vec<Vec<u8>> = ODD_NAMES
        .into_iter()
        .chain(DEMANDING_NAMES)
        .filter(|name| keeps(kind, name))
        .map(<[u8]>::to_vec)
        .collect();
    odd.push([b"long-".repeat(30), b"name.txt".to_vec()].concat());
    let mut made: Vec<PathBuf> = vec![root.to_owned()];
    for number in 0..dirs {
        // The first ones carry odd names themselves.
        let name = match odd.get(number) {
            Some(name) if name != STAR_NAME => [name, b".d".as_slice()].concat(),
            Some(_) | None => format!("dir{number:03}").into_bytes(),
        };
        let parents = made.len().min(1 + dirs / 10);
        let parent = usize::try_from(random.below(parents as u64)).expect("it is small");
        let dir = made[parent].join(OsStr::from_bytes(&name));
        fs::create_dir_all(&dir).unwrap();
        made.push(dir);
    }
    for number in 0..files {
        let dir = &made[number % made.len()];
        let name = match odd.get(number / made.len()) {
            Some(name) if random.below(2) == 0 => name.clone(),
            _ => format!("file{number:04}.bin").into_bytes(),
        };
        let name = match number {
            FROM_2039 => FROM_2039_NAME.into(),
            _ => name,
        };
        let size = match number {
            0 => 0,
            1 => LARGE_BYTES,
            _ => random.below(MAX_SMALL_BYTES) as usize,
        };
        let path = dir.join(OsStr::from_bytes(&name));
        fs::write(&path, random.bytes(size)).unwrap();
        let nanos = random.below(1_000_000_000);
        let secs = match number {
            2 => -86_400 * 365,
            FROM_2039 => 2_200_000_000,
            _ => 1_000_000_000 + random.below(700_000_000) as i64,
        };
        set_mtime(&path, secs, nanos as u32);
    }
}

/// Sets a file's modification time.
pub(crate) fn set_mtime(path: &Path, secs: i64, nanos: u32) {
    let whole = Duration::from_secs(secs.unsigned_abs());
    let time: SystemTime = if secs < 0 {
        UNIX_EPOCH - whole
    } else {
        UNIX_EPOCH + whole
    };
    let time = time + Duration::from_nanos(nanos.into());
    File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(time))
        .unwrap();
}

/// Writes a file with a modification time, making the directories above it.
pub(crate) fn put(root: &Path, name: &str, content: &[u8], secs: i64) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    set_mtime(&path, secs, 0);
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// None for a directory.
    content: Option<Vec<u8>>,
    mtime: (i64, i64),
    ctime: (i64, i64),
    inode: u64,
}

/// All that is below a directory, by path.
pub(crate) type Tree = BTreeMap<Vec<u8>, Seen>;

/// Looks at everything below `root`.
pub(crate) fn look(root: &Path) -> Tree {
    let mut tree = Tree::new();
    look_below(root, root, &mut tree);
    tree
}

fn look_below(root: &Path, dir: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().to_owned();
        let seen = Seen {
            content: (!about.is_dir()).then(|| fs::read(&path).unwrap()),
            mtime: (about.mtime(), about.mtime_nsec()),
            ctime: (about.ctime(), about.ctime_nsec()),
            inode: about.ino(),
        };
        tree.insert(name.into_vec(), seen);
        if about.is_dir() {
            look_below(root, &path, tree);
        }
    }
}

/// The user's part of a tree: what is not the record of a run.
pub(crate) fn users(tree: &Tree) -> Tree {
    tree.iter()
        .filter(|(path, _)| {
            !path.ends_with(METADATA.as_bytes()) && !path.starts_with(ARCHIVE_DIR.as_bytes())
        })
        .map(|(path, seen)| (path.clone(), seen.clone()))
        .collect()
}

/// How two trees differ in names, kinds, bytes and, if asked, mtimes of files; nothing where they do not.
pub(crate) fn differences(one: &Tree, other: &Tree, with_times: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, seen) in one {
        let name = Escaped(path);
        match other.get(path) {
            None => found.push(format!("{name} is only in the first")),
            Some(other) if seen.content.is_none() != other.content.is_none() => {
                found.push(format!(
                    "{name} is a directory in one and a file in the other"
                ));
            }
            Some(other) if seen.content != other.content => {
                let length = |seen: &Seen| seen.content.as_ref().map(Vec::len);
                let (one, other) = (length(seen), length(other));
                found.push(format!("{name} differs, {one:?} and {other:?} bytes"));
            }
            Some(other)
                if with_times
                    && seen.content.is_some()
                    && (seen.mtime.0 - other.mtime.0).abs() > TOLERANCE_SECS =>
            {
                let (one, other) = (seen.mtime.0, other.mtime.0);
                found.push(format!("{name} is of {one} and {other}"));
            }
            Some(_) => {}
        }
    }
    for path in other.keys().filter(|path| !one.contains_key(*path)) {
        found.push(format!("{} is only in the second", Escaped(path)));
    }
    found
}

/// What was touched between two looks at one directory: also what was written anew with the same content.
pub(crate) fn touched(before: &Tree, after: &Tree) -> Vec<String> {
    before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| Escaped(path).to_string())
        .collect()
}
