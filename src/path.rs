//! Names and paths: the one door through which a name, whoever sent it, gets into coracle.
//!
//! Names are bytes. A name that could leave its directory, end a command line or vanish is refused here,
//! so that everything behind this door may join, send and print without looking again.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The metadata file of a directory, as pyftpsync names it.
pub const METADATA_NAME: &[u8] = b".pyftpsync-meta.json";
/// Where earlier versions put a metadata file that they could not read.
const CORRUPT_METADATA_NAME: &[u8] = b".pyftpsync-meta.json.corrupt";
/// The directory in a remote root that holds the marks of those who write there.
pub const LOCK_DIR_NAME: &[u8] = b".coracle-lock";
/// The lock file in a remote root, as pyftpsync names it.
pub const LOCK_NAME: &[u8] = b".pyftpsync-lock.json";
/// What the names of all that is coracle's own start with: the archive's directory, partial files, the mark of a trash.
const OWN_PREFIX: &[u8] = b".coracle";
/// The file that says of a directory that it is a trash: no content for any client.
pub const TRASH_MARK: &[u8] = b".coracle-trash";
/// The directory in a local root that holds the archives of its peers.
pub const HOME_NAME: &[u8] = b".coracle";
/// What every partial name starts with.
pub const PARTIAL_PREFIX: &[u8] = b".coracle-part-";
/// What follows the partial name where not the new file lies under it but the old one, while the new one takes its name on a
/// server that does not rename over a file.
pub const ASIDE_SUFFIX: &[u8] = b"-old";

/// Task files, which no command copies or deletes; of two in one directory the first is in force.
pub const TASK_FILE_NAMES: [&str; 2] = ["coracle.yaml", "pyftpsync.yaml"];

/// The longest name that is used: what a Linux file system holds is 255, and SMB shares and some servers go
/// further; a name beyond this is an attack.
pub const MAX_NAME_BYTES: usize = 1024;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// It has no bytes.
    Empty,
    /// It is `.` or `..`, or holds a `/`: it would name something outside its directory.
    Escapes,
    /// It holds NUL, CR or LF, which end a command line or cut a name on some server.
    Breaks,
    /// It is longer than [`MAX_NAME_BYTES`].
    TooLong,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the name is empty",
            Self::Escapes => "the name would leave its directory",
            Self::Breaks => "the name holds a line break or a NUL byte",
            Self::TooLong => "the name is too long",
        })
    }
}

/// One name within a directory: not empty, not `.` or `..`, without `/`, NUL, CR and LF.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Accepts `bytes` as a name, or says why not.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BadName> {
        match bytes {
            b"" => Err(BadName::Empty),
            b"." | b".." => Err(BadName::Escapes),
            _ if bytes.contains(&b'/') => Err(BadName::Escapes),
            _ if bytes.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) => Err(BadName::Breaks),
            _ if bytes.len() > MAX_NAME_BYTES => Err(BadName::TooLong),
            _ => Ok(Self(bytes)),
        }
    }

    /// The name in these bytes, which were accepted before: listings and records are gone through time and again.
    pub(crate) fn accepted(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::new(bytes).is_ok(), "it was accepted when it came in");
        Self(bytes)
    }

    /// The bytes of the name.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether coracle or pyftpsync keeps something of its own under this name; such names are never synced.
    pub fn is_reserved(self) -> bool {
        self.0.starts_with(OWN_PREFIX)
            || [METADATA_NAME, CORRUPT_METADATA_NAME, LOCK_NAME].contains(&self.0)
            || TASK_FILE_NAMES.iter().any(|name| name.as_bytes() == self.0)
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.0, f)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A path below a root: names joined by `/`, without a leading or trailing one; the root itself is empty.
///
/// Paths order as a walk meets them: a directory before what is in it, `a/b` before `a-b`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RelPath(Box<[u8]>);

impl RelPath {
    /// The root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads a path from bytes: names between single or repeated `/`; leading, trailing ones and `.` do not count.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadName> {
        let mut path = Self::root();
        for part in bytes.split(|byte| *byte == b'/') {
            if !part.is_empty() && part != b"." {
                path = path.join(Name::new(part)?);
            }
        }
        Ok(path)
    }

    /// The path of `name` in this directory.
    pub fn join(&self, name: Name<'_>) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.0.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.0);
        Self(bytes.into_boxed_slice())
    }

    /// The path of `other` taken from this directory.
    pub fn join_path(&self, other: &Self) -> Self {
        other
            .names()
            .fold(self.clone(), |path, name| path.join(name))
    }

    /// Where this path leads once `from`, which it is below, is called `to`.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        let below = self.0.strip_prefix(&from.0[..])?.strip_prefix(b"/")?;
        Some(to.join_path(&Self::parse(below).ok()?))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory this path is in; the root's is the root.
    pub fn parent(&self) -> Self {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => Self(self.0[..slash].into()),
            None => Self::root(),
        }
    }

    /// The last name; none for the root.
    pub fn name(&self) -> Option<Name<'_>> {
        let slash = self.0.iter().rposition(|byte| *byte == b'/');
        let name = &self.0[slash.map_or(0, |slash| slash + 1)..];
        (!name.is_empty()).then_some(Name(name))
    }

    /// The names from the root down.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = Name<'_>> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty())
            .map(Name)
    }

    /// How many names the path has; 0 for the root.
    pub fn depth(&self) -> usize {
        self.names().count()
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || (self.0.starts_with(&other.0)
                && matches!(self.0.get(other.0.len()), None | Some(b'/')))
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.names().cmp(other.names())
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for RelPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            f.write_str(".")
        } else {
            write_escaped(&self.0, f)
        }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Text from outside (names, server replies) as it may be shown: what could steer a terminal or a log is escaped.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(self.0, f)
    }
}

/// Control characters, invisible and direction-changing ones and bytes that are not UTF-8 become `\xNN`, and a
/// backslash is doubled so that the result can be told apart from such a name.
fn write_escaped(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                f.write_str("\\\\")?;
            } else if is_harmless(c) {
                fmt::Write::write_char(f, c)?;
            } else {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    write!(f, "\\x{byte:02x}")?;
                }
            }
        }
        for byte in chunk.invalid() {
            write!(f, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

fn is_harmless(c: char) -> bool {
    let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !hidden
}

/// The name in lower case, where it is text; other bytes stay.
pub fn fold_case(name: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        folded.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}

/// Whose a partial file is: that of one holder's job, that is of one state directory, local root and peer. Nobody else goes on
/// with it or removes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartOwner(u32);

/// What lies under a partial name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Bytes on their way.
    Bytes,
    /// The old file, moved aside for the new one.
    Aside(NameHash),
}

/// What a partial name tells of the final one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameHash(u64);

impl NameHash {
    /// The hash of that final name.
    pub fn of(name: Name<'_>) -> Self {
        let mut hash = Fnv64::new();
        hash.update(name.as_bytes());
        Self(hash.finish())
    }
}

impl PartOwner {
    /// Small files whose partial name must be known without a holder: whoever writes one next takes what is left of it.
    pub const ANYONE: Self = Self(0);

    /// The job that `holder` does with that peer.
    pub fn of(holder: &[u8], peer: &[u8]) -> Self {
        let mut hash = Fnv64::new();
        hash.update(holder);
        hash.update(&[0]);
        hash.update(peer);
        let hash = hash.finish();
        Self((hash ^ (hash >> 32)) as u32)
    }

    /// What this owner keeps under that name, if it is one of theirs.
    pub fn part(self, name: Name<'_>) -> Option<Part> {
        let rest = name.as_bytes().strip_prefix(self.prefix().as_slice())?;
        let (digits, rest) = rest.split_at_checked(NAME_DIGITS)?;
        let digits = std::str::from_utf8(digits).ok()?;
        let of = NameHash(u64::from_str_radix(digits, 16).ok()?);
        Some(if rest.ends_with(ASIDE_SUFFIX) {
            Part::Aside(of)
        } else {
            Part::Bytes
        })
    }

    fn prefix(self) -> Vec<u8> {
        [PARTIAL_PREFIX, format!("{:08x}-", self.0).as_bytes()].concat()
    }
}

/// What lies under a partial name, whoever made it; none for another name.
pub fn part_of_anyone(name: Name<'_>) -> Option<Part> {
    let rest = name.as_bytes().strip_prefix(PARTIAL_PREFIX)?;
    let owner = std::str::from_utf8(rest.split(|byte| *byte == b'-').next()?).ok()?;
    PartOwner(u32::from_str_radix(owner, 16).ok()?).part(name)
}

/// How many digits of a partial name stand for the final one.
const NAME_DIGITS: usize = 16;

/// The partial name for a transfer of `name` with that size and mtime (nanoseconds, if known).
///
/// The same source gives the same name, so an interrupted transfer can go on; a source that changed gives another
/// one, and what lies under the old name is stale.
pub fn partial_name(
    owner: PartOwner,
    name: Name<'_>,
    size: u64,
    mtime_nanos: Option<i64>,
) -> Vec<u8> {
    let mut hash = Fnv64::new();
    hash.update(&size.to_le_bytes());
    // Whole seconds: a server that lists no fractions must give the same name when it is the source.
    hash.update(
        &mtime_nanos
            .map_or(i64::MIN, |nanos| nanos.div_euclid(1_000_000_000))
            .to_le_bytes(),
    );
    let (NameHash(of), source) = (NameHash::of(name), hash.finish());
    let mut partial = owner.prefix();
    partial.extend_from_slice(format!("{of:0NAME_DIGITS$x}-{source:016x}").as_bytes());
    partial
}

/// FNV-1a with 64 bits: a stable, tiny hash for names; it resists accidents, not attackers.
#[derive(Debug, Clone)]
pub struct Fnv64(u64);

impl Fnv64 {
    /// An empty hash.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The hash of all that was taken in.
    pub fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Fnv64 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_that_leave_their_directory() {
        for bad in [&b".."[..], b".", b"a/b", b"/", b"/etc"] {
            assert_eq!(Name::new(bad), Err(BadName::Escapes), "{bad:?}");
        }
        assert_eq!(Name::new(b""), Err(BadName::Empty));
    }

    #[test]
    fn refuses_names_that_end_a_command_line() {
        for bad in [&b"a\r"[..], b"a\nDELE b", b"a\0b"] {
            assert_eq!(Name::new(bad), Err(BadName::Breaks), "{bad:?}");
        }
    }

    #[test]
    fn takes_any_other_bytes() {
        for good in [&b"..."[..], b" lead", b"caf\xe9", b"a;b", b"-rf", b"\xff"] {
            assert_eq!(Name::new(good).map(Name::as_bytes), Ok(good));
        }
    }

    #[test]
    fn paths_order_as_a_walk_meets_them() {
        let mut paths: Vec<RelPath> = [&b"a-b"[..], b"a/b", b"a", b""]
            .iter()
            .map(|p| RelPath::parse(p).unwrap())
            .collect();
        paths.sort();
        let shown: Vec<String> = paths.iter().map(RelPath::to_string).collect();
        assert_eq!(shown, [".", "a", "a/b", "a-b"]);
    }

    #[test]
    fn within_does_not_take_a_sibling_with_the_same_start() {
        let path = |text: &str| RelPath::parse(text.as_bytes()).unwrap();
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a").is_within(&path("a")));
        assert!(path("a").is_within(&RelPath::root()));
        assert!(!path("ab").is_within(&path("a")));
    }

    #[test]
    fn shows_nothing_that_steers_a_terminal() {
        let path = RelPath::parse("\u{1b}[31mé\u{202e}\\".as_bytes()).unwrap();
        assert_eq!(path.to_string(), r"\x1b[31mé\xe2\x80\xae\\");
        assert_eq!(Escaped(b"caf\xe9\r").to_string(), r"caf\xe9\x0d");
    }

    #[test]
    fn partial_name_follows_the_source() {
        let (name, other) = (
            Name::new(b"photo.jpg").unwrap(),
            Name::new(b"other").unwrap(),
        );
        let owner = PartOwner::of(b"me", b"ftp://host/");
        let first = partial_name(owner, name, 10, Some(5_000_000_000));
        assert_eq!(first, partial_name(owner, name, 10, Some(5_400_000_000)));
        assert_ne!(first, partial_name(owner, name, 11, Some(5_000_000_000)));
        assert_ne!(first, partial_name(owner, name, 10, Some(6_000_000_000)));
        assert_ne!(first, partial_name(owner, other, 10, Some(5_000_000_000)));
    }

    #[test]
    fn partial_name_tells_whose_it_is() {
        let name = Name::new(b"photo.jpg").unwrap();
        let owner = PartOwner::of(b"me", b"ftp://host/");
        let mut partial = partial_name(owner, name, 10, None);
        let part = |owner: PartOwner, bytes: &[u8]| owner.part(Name::new(bytes).unwrap());
        assert_eq!(part(owner, &partial), Some(Part::Bytes));
        for stranger in [
            PartOwner::of(b"you", b"ftp://host/"),
            PartOwner::of(b"me", b"ftp://other/"),
            PartOwner::ANYONE,
        ] {
            assert_eq!(part(stranger, &partial), None);
        }
        partial.extend_from_slice(ASIDE_SUFFIX);
        let aside = Part::Aside(NameHash::of(name));
        assert_eq!(part(owner, &partial), Some(aside));
        let of_an_older_version = b".coracle-part-0123456789abcdef";
        assert_eq!(part(owner, of_an_older_version), None);
    }
}
