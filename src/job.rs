//! A job: one run's full, validated request. Whatever holds a `Job` need not check it again.

use std::fmt;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use crate::path::{Escaped, Name, RelPath};
use crate::side::Side;

mod mask;

pub use mask::Mask;

/// One run's request.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which way changes travel.
    pub direction: Direction,
    /// The local root.
    pub local: PathBuf,
    /// The remote root.
    pub remote: Location,
    /// What may be done.
    pub policy: Policy,
    /// Which entries take part.
    pub selection: Selection,
    /// How much, how fast, how long.
    pub limits: Limits,
    /// Where the archive is.
    pub state: StateDir,
    /// Whether missing roots are made.
    pub create_folder: bool,
    /// Whether what pyftpsync recorded is left alone: both sides meet as for the first time.
    pub migrate: bool,
    /// Whether to plan and print only.
    pub dry_run: bool,
    /// A file that must be in both roots.
    pub check_file: Option<RelPath>,
}

impl Job {
    /// A job with safe defaults: conflicts are skipped, nothing is deleted that was not synced before, every guard holds.
    pub fn new(direction: Direction, local: impl Into<PathBuf>, remote: Location) -> Self {
        Self {
            direction,
            local: local.into(),
            remote,
            policy: Policy::default(),
            selection: Selection::default(),
            limits: Limits::default(),
            state: StateDir::InRoot,
            create_folder: false,
            migrate: false,
            dry_run: false,
            check_file: None,
        }
    }
}

/// A request about one target by itself.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The target.
    pub target: Location,
    /// What is asked.
    pub purpose: Purpose,
    /// Which entries are asked about.
    pub selection: Selection,
    /// What happens to symbolic links.
    pub links: Links,
    /// How long things may take.
    pub limits: Limits,
    /// Where archives may be, besides the target itself.
    pub state: StateDir,
    /// Whether what would be changed is only told.
    pub dry_run: bool,
}

/// What is asked about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// What is in it, as a tree.
    Tree(Tree),
    /// What is in it, what runs have left there, what is damaged.
    Scan(Scan),
    /// What its server can do.
    Probe,
}

/// What of a tree is drawn, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tree {
    /// Files, too.
    pub files: bool,
    /// In the order of names in which case does not count, files first.
    pub sort: bool,
}

/// How a target is scanned, and what is done there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scan {
    /// Each entry is told.
    pub list: bool,
    /// What is below the directories of the root is looked at, too.
    pub recursive: bool,
    /// Records are removed: pyftpsync's, and the archives of a local root.
    pub remove_meta: bool,
    /// Locks are removed, whoever holds them.
    pub remove_locks: bool,
    /// What runs of this machine left is tidied up.
    pub repair: bool,
}

impl Scan {
    /// Whether anything may be changed.
    pub const fn writes(self) -> bool {
        self.remove_meta || self.remove_locks || self.repair
    }
}

/// Which way changes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The remote side follows the local one.
    Upload,
    /// The local side follows the remote one.
    Download,
    /// Both ways.
    Sync,
}

impl Direction {
    /// The side that follows the other one; none when both do.
    pub const fn follower(self) -> Option<Side> {
        match self {
            Self::Upload => Some(Side::Remote),
            Self::Download => Some(Side::Local),
            Self::Sync => None,
        }
    }

    /// Whether entries on that side may be written or deleted.
    pub fn writes(self, side: Side) -> bool {
        self.follower().is_none_or(|follower| follower == side)
    }
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory on this machine.
    Path(PathBuf),
    /// A directory on an FTP server.
    Ftp(FtpLocation),
    /// A directory on an SSH server.
    Sftp(SftpLocation),
}

/// A directory on an SSH server, and the account that reaches it. What is none is left to the SSH program and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpLocation {
    /// Host name, address or the settings' own name for one, without brackets.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
    /// User name.
    pub user: Option<String>,
    /// Password, for servers that take no key of ours.
    pub password: Option<Secret>,
    /// The root on the server.
    pub path: ServerPath,
    /// Which host keys are the right ones.
    pub host_keys: HostKeys,
    /// The SSH program, with its first arguments; `ssh` or `dbclient` where none is given.
    pub ssh_command: Option<String>,
}

/// Which host keys are taken for the right ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HostKeys {
    /// Those that the SSH program knows; the user is asked about others.
    #[default]
    Known,
    /// Those, and any of a host that it does not know yet, which it notes: `--accept-new-host-key`.
    AcceptNew,
    /// These.
    Pins(Vec<Pin>),
    /// All: `--no-verify-host-keys`.
    Anyone,
}

/// A directory on an FTP server, and the account that reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FtpLocation {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port of the control connection.
    pub port: u16,
    /// How the connections are protected.
    pub protection: Protection,
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// The root on the server.
    pub path: ServerPath,
    /// What its user says of the server.
    pub habits: Habits,
}

/// What the user says of a server that cannot show it, or does not keep to what is usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Habits {
    /// How names are written there.
    pub encoding: Encoding,
    /// The commands that ask for a passive port, the first one first; empty: whichever works.
    pub passive: Vec<Passive>,
    /// Whether data connections that end without the end mark of TLS are taken for whole.
    pub unclean_ends: bool,
    /// Whether files are written under their final names at once, for servers that rename nothing.
    pub in_place: bool,
}

/// How names are written on a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As UTF-8; what is none is taken as it comes.
    #[default]
    Utf8,
    /// As ISO 8859-1.
    Latin1,
    /// As Windows writes Western European names.
    Windows1252,
}

/// A command that asks for a passive port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passive {
    /// `EPSV` (RFC 2428).
    Epsv,
    /// `PASV`.
    Pasv,
}

/// How the connections to an FTP server are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Not at all: `ftp://`.
    Clear,
    /// By TLS, which the client asks for before it says anything else (RFC 4217).
    Explicit(TlsSettings),
    /// By TLS from the first byte.
    Implicit(TlsSettings),
}

impl Protection {
    /// What TLS needs to know; none where there is no TLS.
    pub const fn settings(&self) -> Option<&TlsSettings> {
        match self {
            Self::Clear => None,
            Self::Explicit(settings) | Self::Implicit(settings) => Some(settings),
        }
    }

    /// The port of the control connection where none is named.
    pub const fn default_port(&self) -> u16 {
        match self {
            Self::Clear | Self::Explicit(_) => FTP_PORT,
            Self::Implicit(_) => FTPS_PORT,
        }
    }
}

/// Whom TLS trusts, and who we are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Which servers are the right ones.
    pub trust: Trust,
    /// What we show to servers that want a certificate.
    pub identity: Option<Identity>,
}

/// How the right server is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// An authority that this system trusts vouches for its name.
    #[default]
    System,
    /// An authority in this file (PEM) vouches for its name.
    CaFile(PathBuf),
    /// It has one of these keys, whatever its certificate says.
    Pins(Vec<Pin>),
    /// Any server is taken for the right one: `--insecure`.
    Anyone,
}

/// The SHA-256 digest of a server's public key, as its certificate has it (SubjectPublicKeyInfo); with SSH, of its host key,
/// which SSH programs show in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; 32]);

impl Pin {
    const PREFIX: &str = "sha256:";

    /// Reads `sha256:` and 64 hexadecimal digits, with or without colons between the bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u32> = text
            .strip_prefix(Self::PREFIX)?
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16))
            .collect::<Option<_>>()?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)))
            .collect::<Result<_, _>>()
            .ok()?;
        (digits.len() == 64)
            .then(|| bytes.try_into().ok().map(Self))
            .flatten()
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A certificate of ours and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// File with the certificate and those between it and its authority.
    pub cert: PathBuf,
    /// File with the private key.
    pub key: PathBuf,
}

/// A root directory on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerPath {
    /// From the server's root: `ftp://host/a/b`.
    Absolute(RelPath),
    /// From the login directory: `ftp://host/~/a/b`.
    FromLogin(RelPath),
}

impl fmt::Display for ServerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(path) => write!(f, "/{}", Escaped(path.as_bytes())),
            Self::FromLogin(path) if path.is_root() => f.write_str("/~"),
            Self::FromLogin(path) => write!(f, "/~/{}", Escaped(path.as_bytes())),
        }
    }
}

/// As a person would write it, without the password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => {
                use std::os::unix::ffi::OsStrExt;
                write!(f, "{}", Escaped(path.as_os_str().as_bytes()))
            }
            Self::Ftp(ftp) => write!(f, "{ftp}"),
            Self::Sftp(sftp) => write!(f, "{sftp}"),
        }
    }
}

impl fmt::Display for SftpLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sftp://")?;
        if let Some(user) = &self.user {
            write!(f, "{}@", Escaped(user.as_bytes()))?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.path)
    }
}

impl fmt::Display for FtpLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.protection {
            Protection::Clear => "ftp://",
            Protection::Explicit(_) | Protection::Implicit(_) => "ftps://",
        })?;
        if self.user != ANONYMOUS {
            write!(f, "{}@", Escaped(self.user.as_bytes()))?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        // An implicit port is shown in any case: the URL alone would mean explicit TLS.
        if self.port != FTP_PORT {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "{}", self.path)
    }
}

/// The user name of those who have none (RFC 1635).
pub const ANONYMOUS: &str = "anonymous";

/// What they give as password: RFC 1635 asks for an address, of which servers check at most the '@'.
pub const ANONYMOUS_PASSWORD: &str = "anonymous@";

/// The control connection's port (RFC 959).
pub const FTP_PORT: u16 = 21;

/// The control connection's port with implicit TLS.
pub const FTPS_PORT: u16 = 990;

/// The port of SSH, where neither URL nor settings name one.
pub const SSH_PORT: u16 = 22;

/// A password: it can be used, but not shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The password itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// What may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether the follower's own changes are overwritten (upload and download).
    pub force: bool,
    /// What may be deleted by upload and download; sync always deletes what the other side deleted.
    pub delete: Delete,
    /// How conflicts are resolved.
    pub resolve: Resolve,
    /// How names that differ only in case are paired.
    pub case: Case,
    /// What happens to symbolic links.
    pub links: Links,
    /// Files that changed less than this ago are left alone.
    pub min_age: Duration,
    /// Where deleted and overwritten entries go instead.
    pub trash: Option<Trash>,
    /// Patterns of files that are copied when all else is in place, and before anything is deleted: a page must not name what
    /// is not there yet, nor what is gone. With any, nothing is renamed; files are sent under their new names.
    pub last: Vec<String>,
    /// The rights of files that are written.
    pub modes: Modes,
    /// By what a changed file is told.
    pub compare: Compare,
    /// What is compared after a transfer.
    pub verify: Verify,
    /// Whether the remote side is listed at all.
    pub remote_scan: RemoteScan,
    /// Whether true times are left for other clients on a server that cannot keep them.
    pub remote_times: bool,
    /// Guards that this run overrides.
    pub allow: Overrides,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            force: false,
            delete: Delete::Never,
            resolve: Resolve::Skip,
            case: Case::Refuse,
            links: Links::Skip,
            min_age: Duration::ZERO,
            trash: None,
            last: Vec::new(),
            modes: Modes::Theirs,
            compare: Compare::Time,
            verify: Verify::Size,
            remote_scan: RemoteScan::Full,
            remote_times: true,
            allow: Overrides::default(),
        }
    }
}

/// What upload and download may delete on the side that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delete {
    /// Nothing.
    Never,
    /// What the other side does not have.
    Missing,
    /// That, and what the filter rejects.
    Unmatched,
    /// What the other side does not have, and what a record says that both once had: others write there, too.
    Ours,
}

/// How conflicts are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolve {
    /// The older file wins.
    Old,
    /// The newer file wins.
    New,
    /// The local side wins.
    Local,
    /// The remote side wins.
    Remote,
    /// Nothing is done.
    Skip,
    /// The user is asked; without a terminal nothing is done.
    Ask,
    /// Both files are kept, the loser under another name.
    Both,
}

/// How names that differ only in case are paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Case {
    /// Not at all: nothing is done with such names.
    Refuse,
    /// They are different names.
    Strict,
    /// They are one; new entries take the local spelling.
    Local,
    /// They are one; new entries take the remote spelling.
    Remote,
}

/// What happens to symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Links {
    /// They are left alone.
    Skip,
    /// What they lead to is synced, as long as it lies within the root.
    Follow,
}

/// Where deleted and overwritten entries go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trash {
    /// The trash directory, from the root of each side.
    pub dir: RelPath,
    /// How long it keeps what is in it; for ever when none.
    pub keep_days: Option<u32>,
}

/// Which rights a file has that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Modes {
    /// Those of the file that it replaces, or those that its side gives to a new one.
    Theirs,
    /// These on the remote side, below 0o1000.
    Remote(u32),
    /// Those of the file that it is a copy of, where both sides have them.
    Carried,
}

/// By what a changed file is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compare {
    /// By size and time.
    Time,
    /// By its content, where its time changed and not its size: digests are recorded of what is copied.
    Content,
}

/// What is compared after a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verify {
    /// The size.
    Size,
    /// The size, and a digest where the server can compute one.
    Hash,
}

/// Whether the remote side is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteScan {
    /// It is.
    Full,
    /// Only those directories of which the server does not tell at a glance that they are as recorded.
    Quick,
    /// It is not: the records say what is there (upload only).
    Trusted,
}

/// Guards that this run overrides; none by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    /// A side may have become empty.
    pub empty: bool,
    /// Another disk may be where one was known; it is remembered.
    pub disk: bool,
    /// All files may have changed by one time shift; the records are corrected.
    pub time_shift: bool,
    /// Nearly all files may have new times and their old sizes; they count as changed.
    pub new_times: bool,
    /// Most files may be older than what was synced, or copies of it.
    pub older: bool,
    /// Another run may seem to hold the remote lock; it is broken.
    pub lock: bool,
    /// How many files may be deleted.
    pub delete: MaxDelete,
}

/// How many files of a side a run may delete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MaxDelete {
    /// Up to half of them, or up to nine.
    #[default]
    Half,
    /// This many.
    Files(u64),
    /// This share of them, in per cent.
    Percent(u8),
}

/// Which entries take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Patterns of which a file must match one; any file when empty.
    pub matching: Vec<String>,
    /// Patterns of what is left out, the last one that matches an entry decides: `!` before one takes it back.
    pub excluded: Vec<String>,
    /// Whether [`DEFAULT_EXCLUDES`] are left out, too.
    pub default_excludes: bool,
    /// The branch that is walked, from the root of each side; all of it where this is the root.
    pub only: RelPath,
    /// The one entry of that branch that is looked at, without what is below it; all where there is none. For dry runs.
    pub alone: Option<Box<[u8]>>,
}

impl Selection {
    /// The one entry that it is narrowed down to, if it is.
    pub fn entry(&self) -> Option<RelPath> {
        let name = Name::new(self.alone.as_deref()?).ok()?;
        Some(self.only.join(name))
    }

    /// Narrows it down to that entry. The root is none.
    pub fn narrow_to(&mut self, entry: &RelPath) {
        self.only = entry.parent();
        self.alone = entry.name().map(|name| name.as_bytes().into());
    }
}

/// What no one means to sync: version control, what systems and other programs put into every folder.
pub const DEFAULT_EXCLUDES: [&str; 9] = [
    ".DS_Store",
    ".git",
    ".hg",
    ".svn",
    "#recycle",
    "lost+found",
    "@eaDir",
    "Thumbs.db",
    ".ftpquota",
];

impl Default for Selection {
    fn default() -> Self {
        Self {
            matching: Vec::new(),
            excluded: Vec::new(),
            default_excludes: true,
            only: RelPath::root(),
            alone: None,
        }
    }
}

/// How much, how fast, how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many connections there are to the remote side.
    pub connections: Connections,
    /// How long a socket may be silent.
    pub timeout: Duration,
    /// How often a failed connection is tried again.
    pub retries: u32,
    /// After this time the run stops cleanly.
    pub max_duration: Option<Duration>,
    /// Bytes a second over all connections together.
    pub bytes_per_sec: Option<std::num::NonZeroU64>,
    /// Who opens data connections.
    pub data: DataMode,
    /// How often the remote lock is refreshed; it counts as stale after an hour. Long transfers are suspended for it.
    pub lock_refresh: Duration,
}

impl Job {
    /// Whether uploads are written under their final names at once.
    pub const fn writes_in_place(&self) -> bool {
        match &self.remote {
            Location::Ftp(location) => location.habits.in_place,
            Location::Path(_) | Location::Sftp(_) => false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Connections::Auto,
            timeout: Duration::from_secs(30),
            retries: 3,
            max_duration: None,
            bytes_per_sec: None,
            data: DataMode::Passive,
            lock_refresh: Duration::from_secs(20 * 60),
        }
    }
}

/// How many connections there are to a remote side at a time. Each is opened only once there is work that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// As many as make it faster.
    Auto,
    /// At most so many.
    AtMost(NonZeroU8),
}

impl Connections {
    /// The most of them to that remote side.
    pub fn most(self, remote: &Location) -> usize {
        match (self, remote) {
            (Self::AtMost(most), _) => usize::from(most.get()),
            // Each of them waits for replies most of the time.
            (Self::Auto, Location::Ftp(_)) => 8,
            // Each has much under way at a time, and costs the memory of a process of its own; a disk does not wait at all.
            (Self::Auto, Location::Sftp(_) | Location::Path(_)) => 4,
        }
    }
}

/// Who opens FTP data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataMode {
    /// The client does (EPSV, PASV).
    Passive,
    /// The server does (EPRT, PORT).
    Active,
}

/// Where the archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateDir {
    /// In `.coracle` in the local root.
    InRoot,
    /// Below this directory.
    Below(PathBuf),
}
