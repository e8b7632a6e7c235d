//! A directory on an FTP server, through the trait: maps replies to what the trait promises, and learns what the
//! server can do.
//!
//! Commands carry full paths and never rely on a current directory. What a server allows is tried, not configured: a
//! refusal of an optional command makes this target use the next best one from then on. A reply of success proves
//! nothing, so what matters is looked at afterwards. When the session is lost every method fails with the reason of
//! the loss, until the caller connects anew.

mod glance;
mod learnt;
mod lines;
mod list;
mod look;
mod names;
mod read;
mod write;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use self::learnt::Learnt;
pub use self::learnt::Memory;
use self::look::{is_demanding, unkept_name};
use crate::error::{Doing, Error, ErrorKind, Result, Scope};
use crate::ftp::{Account, Command, Reply, Security, Session, Settings, Software, Tricks, Way};
use crate::job::{
    ANONYMOUS, DataMode, Encoding, FtpLocation, Limits, Passive, Protection, ServerPath,
};
use crate::net::{Halt, TlsClient, is_private};
use crate::path::RelPath;
use crate::replica::{
    Algorithm, Capabilities, CaseSensitivity, Digest, Kind, Listing, Mtime, NewFile, Removal,
    Renaming, Replica, Source, Stat, Times, Watch, Written,
};
use crate::time::Timestamp;

/// What those say who have no password (RFC 1635 asks for an address; servers are content with an @).
const ANONYMOUS_PASSWORD: &str = "anonymous@";

/// A directory on an FTP server.
pub struct FtpReplica {
    session: Session,
    /// The full path of the root on the server; `/` or without a slash at its end.
    root: Vec<u8>,
    learnt: Learnt,
    connector: FtpConnector,
}

/// How modification times are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setter {
    Untried,
    Known(SetTime),
    /// There is no way.
    Missing,
}

/// A command that sets a file's modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SetTime {
    Mfmt,
    /// vsftpd.
    Mdtm,
    /// ProFTPD and Pure-FTPd, where MFMT is switched off.
    SiteUtime,
    SiteUtimeLong,
}

impl SetTime {
    const fn command(self, time: Timestamp, path: &[u8]) -> Command<'_> {
        match self {
            Self::Mfmt => Command::Mfmt(time, path),
            Self::Mdtm => Command::MdtmSet(time, path),
            Self::SiteUtime => Command::SiteUtime(time, path),
            Self::SiteUtimeLong => Command::SiteUtimeLong(time, path),
        }
    }
}

/// Opens targets for one account of a server, which share what protects them.
#[derive(Clone)]
pub struct FtpConnector {
    location: FtpLocation,
    limits: Limits,
    security: Security,
    ways: Arc<[Way]>,
    tricks: Arc<Tricks>,
    halt: Halt,
    /// What all targets have learnt; none before the first of them.
    learnt: Arc<Mutex<Option<Learnt>>>,
    memory: Option<Arc<dyn Memory>>,
    /// What the memory holds.
    kept: Arc<Mutex<Vec<u8>>>,
    /// Where the password went readable by everyone on the way.
    overheard: Arc<OnceLock<IpAddr>>,
}

impl FtpConnector {
    /// Reads what is needed to trust the server; nothing is sent.
    pub fn new(location: &FtpLocation, limits: &Limits) -> Result<Self> {
        let client = |settings| TlsClient::new(settings, &location.host).map(Arc::new);
        Ok(Self {
            location: location.clone(),
            limits: *limits,
            security: match &location.protection {
                Protection::Clear => Security::Clear,
                Protection::Explicit(settings) => Security::Explicit(client(settings)?),
                Protection::Implicit(settings) => Security::Implicit(client(settings)?),
            },
            ways: ways(limits.data, &location.habits.passive).into(),
            tricks: Arc::default(),
            halt: Halt::default(),
            learnt: Arc::default(),
            memory: None,
            kept: Arc::default(),
            overheard: Arc::default(),
        })
    }

    /// With the end of the run, which all waits obey.
    #[must_use]
    pub fn with_halt(self, halt: Halt) -> Self {
        Self { halt, ..self }
    }

    /// With what earlier runs have learnt of the server; what this one learns is kept there, too.
    #[must_use]
    pub fn with_memory(self, memory: Arc<dyn Memory>) -> Self {
        let kept = memory.recall(&self.place()).unwrap_or_default();
        if !kept.is_empty() {
            let text = String::from_utf8_lossy(&kept);
            log::debug!("known of the server: {}", text.trim().replace('\n', ", "));
        }
        Self {
            tricks: Arc::new(Tricks::remembering(kept.clone())),
            kept: Arc::new(Mutex::new(kept)),
            memory: Some(memory),
            ..self
        }
    }

    /// The name under which the server is remembered.
    fn place(&self) -> String {
        format!("{}:{}", self.location.host, self.location.port)
    }

    /// What a further target begins with.
    fn begin(&self, session: &Session) -> Learnt {
        let fresh = || Learnt::of(session.features()).recall(session.tricks(), &lock(&self.kept));
        *lock(&self.learnt).get_or_insert_with(fresh)
    }

    /// Takes in what a target has learnt, for the others and for the next run.
    fn publish(&self, learnt: Learnt) {
        *lock(&self.learnt) = Some(learnt);
        let Some(memory) = &self.memory else { return };
        let text = self.tricks.to_text(&learnt.lines());
        let mut kept = lock(&self.kept);
        if *kept != text {
            memory.keep(&self.place(), &text);
            *kept = text;
        }
    }

    /// Connects and logs in. Whether the root is there shows when it is listed.
    pub fn connect(&self) -> Result<FtpReplica> {
        FtpReplica::of(self.log_in()?, self)
    }

    /// The server's address, if user and password went there in the clear through a network that is not one's own.
    pub fn overheard_on_the_way_to(&self) -> Option<IpAddr> {
        self.overheard.get().copied()
    }

    fn log_in(&self) -> Result<Session> {
        let location = &self.location;
        let password = match location.password.reveal() {
            "" if location.user == ANONYMOUS => ANONYMOUS_PASSWORD,
            password => password,
        };
        let account = Account {
            user: &location.user,
            password,
        };
        let settings = Settings {
            timeout: self.limits.timeout,
            ways: Arc::clone(&self.ways),
            utf8: location.habits.encoding == Encoding::Utf8,
            tricks: Arc::clone(&self.tricks),
            halt: self.halt.clone(),
        };
        let (host, port) = (&location.host, location.port);
        let session = Session::open(host, port, account, &settings, &self.security)
            .doing(|| format!("connecting to {host}:{port}"))?;
        let address = session.peer().ip();
        if session.is_clear() && !location.password.reveal().is_empty() && !is_private(address) {
            let _ = self.overheard.set(address);
        }
        Ok(session)
    }
}

impl FtpReplica {
    /// Connects and logs in. Whether the root is there shows when it is listed.
    pub fn connect(location: &FtpLocation, limits: &Limits) -> Result<Self> {
        FtpConnector::new(location, limits)?.connect()
    }

    fn of(session: Session, connector: &FtpConnector) -> Result<Self> {
        let root = root_path(&connector.location.path, session.login_dir())?;
        Ok(Self {
            learnt: connector.begin(&session),
            session,
            root,
            connector: connector.clone(),
        })
    }

    /// Makes the directories at these full paths, and those above the root if `with_root` says so.
    fn make_paths(&mut self, paths: &[Vec<u8>], with_root: bool) -> Vec<Result<()>> {
        let mut above = if with_root {
            ancestors(&self.root)
        } else {
            Vec::new()
        };
        // Most of these are there already and refused; only the root itself is looked at. A stranger may take it ill.
        if self.is_stranger() {
            above = self.missing_of(above);
        }
        let mut commands: Vec<Command<'_>> = Vec::with_capacity(above.len() + paths.len());
        commands.extend(above.iter().map(|path| Command::Mkd(path)));
        commands.extend(paths.iter().map(|path| Command::Mkd(path)));
        let replies = self.ask_each(&commands).split_off(above.len());
        let mut results = self.settle(paths, replies, |stat| {
            stat.is_some_and(|stat| stat.kind == Kind::Dir)
        });
        for (result, path) in results.iter_mut().zip(paths) {
            if result.is_ok() && is_demanding(last_name(path)) {
                *result = self.check_made(path);
            }
        }
        results
    }

    fn can_enter_root(&mut self) -> bool {
        let reply = self.session.ask(&Command::Cwd(&self.root));
        reply.is_ok_and(|reply| reply.is_success())
    }

    /// Those of the directories, each above the next, that cannot be entered.
    fn missing_of(&mut self, mut dirs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let mut there = dirs.len();
        while there > 0 {
            let reply = self.session.ask(&Command::Cwd(&dirs[there - 1]));
            if reply.is_ok_and(|reply| reply.is_success()) {
                break;
            }
            there -= 1;
        }
        dirs.split_off(there)
    }

    /// Takes a new control connection where the present one will soon be refused data connections.
    fn renew(&mut self) -> Result<()> {
        if self.session.is_worn() {
            log::debug!("the TLS session is worn out; connecting anew");
            self.session = self.connector.log_in()?;
        }
        Ok(())
    }

    /// The full path on the server.
    fn full(&self, path: &RelPath) -> Vec<u8> {
        self.below(&self.root, path.as_bytes())
    }

    /// The full path of what we call `path`, below a full path.
    fn below(&self, dir: &[u8], path: &[u8]) -> Vec<u8> {
        join(dir, &names::encode(path, self.encoding()))
    }

    fn encoding(&self) -> Encoding {
        self.connector.location.habits.encoding
    }

    /// Whether nobody vouches for what this server says.
    fn is_stranger(&self) -> bool {
        self.session.software() == Software::Unknown
    }
}

impl Replica for FtpReplica {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            times: match self.learnt.setter {
                Setter::Untried => Times::Unknown,
                Setter::Known(_) => Times::Kept,
                Setter::Missing => Times::Lost,
            },
            case: CaseSensitivity::Unknown,
        }
    }

    fn list(&mut self, dir: &RelPath, listing: &mut Listing) -> Result<()> {
        listing.clear();
        self.renew()?;
        let path = self.full(dir);
        self.list_path(&path, listing)
            .doing(|| format!("listing {dir}"))?;
        listing.sort();
        self.connector.publish(self.learnt);
        Ok(())
    }

    fn glance(
        &mut self,
        dirs: &[RelPath],
        see: &mut dyn FnMut(usize, &[u8], Stat),
    ) -> Result<Vec<Option<Mtime>>> {
        let paths: Vec<Vec<u8>> = dirs.iter().map(|dir| self.full(dir)).collect();
        self.glance_at(&paths, see)
    }

    fn look_up(&mut self, paths: &[RelPath]) -> Vec<Result<Option<Stat>>> {
        let paths: Vec<Vec<u8>> = paths.iter().map(|path| self.full(path)).collect();
        self.look_at(&paths)
    }

    fn open<'a>(&'a mut self, file: &RelPath, offset: u64) -> Result<Box<dyn Source + 'a>> {
        self.renew()?;
        self.open_path(&self.full(file), offset, None)
    }

    fn open_listed<'a>(
        &'a mut self,
        file: &RelPath,
        offset: u64,
        listed: &Stat,
    ) -> Result<Box<dyn Source + 'a>> {
        self.renew()?;
        let listed = self.is_stranger().then_some(*listed);
        self.open_path(&self.full(file), offset, listed)
    }

    fn write(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        self.renew()?;
        let written = self.write_file(file, source, watch);
        self.connector.publish(self.learnt);
        written
    }

    fn make_dirs(&mut self, dirs: &[RelPath]) -> Vec<Result<()>> {
        let paths: Vec<Vec<u8>> = dirs.iter().map(|dir| self.full(dir)).collect();
        let with_root = dirs.iter().any(RelPath::is_root);
        let has_root = with_root && self.is_stranger() && self.can_enter_root();
        let (made, others): (Vec<_>, Vec<_>) =
            paths.into_iter().enumerate().partition(|(place, path)| {
                !(self.rewrites(path) || has_root && dirs[*place].is_root())
            });
        let (places, made): (Vec<usize>, Vec<Vec<u8>>) = made.into_iter().unzip();
        let made = self.make_paths(&made, with_root && !has_root);
        let mut results: Vec<(usize, Result<()>)> = places.into_iter().zip(made).collect();
        results.extend(
            others
                .into_iter()
                .map(|(place, _)| match dirs[place].is_root() {
                    true => (place, Ok(())),
                    false => (place, Err(unkept_name())),
                }),
        );
        results.sort_by_key(|(place, _)| *place);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn remove(&mut self, removals: &[Removal]) -> Vec<Result<()>> {
        let paths: Vec<Vec<u8>> = removals
            .iter()
            .map(|removal| self.full(removal.path()))
            .collect();
        let commands: Vec<Command<'_>> = removals
            .iter()
            .zip(&paths)
            .map(|(removal, path)| match removal {
                Removal::File(_) => Command::Dele(path),
                Removal::Dir(_) => Command::Rmd(path),
            })
            .collect();
        let replies = self.ask_each(&commands);
        let is_done = |reply: &Result<Reply>| reply.as_ref().is_ok_and(Reply::is_success);
        let done: Vec<usize> = (0..replies.len())
            .filter(|place| is_done(&replies[*place]))
            .collect();
        let mut results = self.settle(&paths, replies, |stat| stat.is_none());
        self.check_gone(&paths, &done, &mut results);
        results
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<()> {
        let (from, to) = (self.full(from), self.full(to));
        // Servers replace a file without a word, so it is asked for before.
        if self.look_at_one(&to)?.is_some() {
            return Err(taken());
        }
        self.rename_path(&from, &to)?;
        self.check_moved(&from, &to)
    }

    fn rename_each(&mut self, renames: &[Renaming]) -> Vec<Result<()>> {
        let places: Vec<Vec<u8>> = renames.iter().map(|one| self.full(&one.to)).collect();
        let mut results: Vec<Result<()>> = self
            .look_at(&places)
            .into_iter()
            .zip(&places)
            .map(|(there, place)| match there? {
                Some(_) => Err(taken()),
                None if self.rewrites(place) => Err(unkept_name()),
                None => Ok(()),
            })
            .collect();
        let free: Vec<usize> = (0..results.len())
            .filter(|index| results[*index].is_ok())
            .collect();
        let olds: Vec<Vec<u8>> = free
            .iter()
            .map(|index| self.full(&renames[*index].from))
            .collect();
        // RNTO after a refused RNFR is refused, too, so all of them can travel together.
        let commands: Vec<Command<'_>> = free
            .iter()
            .zip(&olds)
            .flat_map(|(index, old)| [Command::Rnfr(old), Command::Rnto(&places[*index])])
            .collect();
        let mut replies = self.ask_each(&commands).into_iter();
        for index in free {
            results[index] = match (replies.next(), replies.next()) {
                (Some(rnfr), Some(rnto)) => self.check_renamed([rnfr, rnto]),
                _ => Err(self.session.failure()),
            };
        }
        for (result, renaming) in results.iter_mut().zip(renames) {
            if result.is_ok() {
                *result = self.check_moved(&self.full(&renaming.from), &self.full(&renaming.to));
            }
        }
        results
    }

    fn digest(&mut self, file: &RelPath, algorithms: &[Algorithm]) -> Result<Option<Digest>> {
        let path = self.full(file);
        for algorithm in algorithms {
            let Some(reply) = self.ask_digest(&path, *algorithm)? else {
                continue;
            };
            if !reply.is_success() {
                if reply.is_unknown_command() {
                    continue;
                }
                return Err(self.session.refusal(&reply));
            }
            return Ok(find_digest(reply.last_line(), *algorithm));
        }
        Ok(None)
    }

    fn free_space(&mut self) -> Result<Option<u64>> {
        if !self.session.features().avbl {
            return Ok(None);
        }
        let reply = self.session.ask(&Command::Avbl(&self.root))?;
        if !reply.is_success() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(reply.last_line());
        Ok(text.split_whitespace().find_map(|word| word.parse().ok()))
    }
}

impl FtpReplica {
    /// One reply or failure for each command, also when the session is lost on the way.
    fn ask_each(&mut self, commands: &[Command<'_>]) -> Vec<Result<Reply>> {
        match self.session.ask_all(commands) {
            Ok(replies) => replies,
            Err(first) => {
                let mut first = Some(first);
                commands
                    .iter()
                    .map(|_| Err(first.take().unwrap_or_else(|| self.session.failure())))
                    .collect()
            }
        }
    }

    /// Turns replies into results: what was refused is a success all the same where the look at it says that it is
    /// as wanted.
    fn settle(
        &mut self,
        paths: &[Vec<u8>],
        replies: Vec<Result<Reply>>,
        is_as_wanted: impl Fn(Option<Stat>) -> bool,
    ) -> Vec<Result<()>> {
        let refused: Vec<Vec<u8>> = paths
            .iter()
            .zip(&replies)
            .filter(|(_, reply)| reply.as_ref().is_ok_and(|reply| !reply.is_success()))
            .map(|(path, _)| path.clone())
            .collect();
        let mut looks = self.look_at(&refused).into_iter();
        replies
            .into_iter()
            .map(|reply| {
                let reply = reply?;
                if reply.is_success() {
                    return Ok(());
                }
                match looks.next().expect("each refused path was looked at") {
                    Ok(stat) if is_as_wanted(stat) => Ok(()),
                    Err(error) if error.scope() != Scope::Entry => Err(error),
                    Ok(_) | Err(_) => Err(self.session.refusal(&reply)),
                }
            })
            .collect()
    }

    /// A confirmation is believed of servers that are known to be honest.
    fn check_gone(&mut self, paths: &[Vec<u8>], done: &[usize], results: &mut [Result<()>]) {
        if !self.is_stranger() || done.is_empty() {
            return;
        }
        let asked: Vec<&[u8]> = done.iter().map(|place| &paths[*place][..]).collect();
        // Where that fails, what was confirmed counts; the next command shows what is wrong.
        let Ok((_, stats)) = self.send_and_look(&[], &asked) else {
            return;
        };
        for (place, stat) in done.iter().zip(stats) {
            if stat.is_some() {
                let text = "the server confirmed the removal, but still shows it".to_owned();
                results[*place] = Err(ErrorKind::Verify(text).into());
            }
        }
    }

    /// The same for a rename: it is where it should be, unless it is where it was.
    fn check_moved(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        if !self.is_stranger() {
            return Ok(());
        }
        let (_, stats) = self.send_and_look(&[], &[from, to])?;
        match stats[..] {
            [Some(_), None] => Err(unmoved()),
            _ => Ok(()),
        }
    }

    /// Whether a directory is there under the name it was made by; it is removed where it is there under another.
    fn check_made(&mut self, path: &[u8]) -> Result<()> {
        match self.look_at_one(path) {
            Ok(Some(_)) => Ok(()),
            Err(error) if !matches!(error.kind(), ErrorKind::Name(_)) => Err(error),
            Ok(None) | Err(_) => {
                let _ = self.session.ask(&Command::Rmd(path));
                Err(unkept_name())
            }
        }
    }

    fn rename_path(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        // RNTO after a refused RNFR is refused, too, so the two can travel together.
        let replies = self
            .session
            .ask_all(&[Command::Rnfr(from), Command::Rnto(to)])?;
        self.check_renamed(replies)
    }

    fn check_renamed(&self, replies: impl IntoIterator<Item = Result<Reply>>) -> Result<()> {
        for reply in replies {
            let reply = reply?;
            if !reply.is_success() && !reply.is_intermediate() {
                return Err(self.session.refusal(&reply));
            }
        }
        Ok(())
    }

    fn ask_digest(&mut self, path: &[u8], algorithm: Algorithm) -> Result<Option<Reply>> {
        let features = self.session.features();
        let (name, own, command) = match algorithm {
            Algorithm::Sha256 => ("SHA-256", features.xsha256, Command::Xsha256(path)),
            Algorithm::Md5 => ("MD5", features.xmd5, Command::Xmd5(path)),
            Algorithm::Crc32 => ("CRC32", features.xcrc, Command::Xcrc(path)),
        };
        if own {
            return self.session.ask(&command).map(Some);
        }
        if !features
            .hash
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
        {
            return Ok(None);
        }
        let chosen = self.session.ask(&Command::OptsHash(name))?;
        if !chosen.is_success() {
            return Ok(None);
        }
        self.session.ask(&Command::Hash(path)).map(Some)
    }
}

fn unmoved() -> Error {
    let text = "the server confirmed the rename, but shows the old name".to_owned();
    ErrorKind::Verify(text).into()
}

/// The ways to open data connections, the first one first.
fn ways(data: DataMode, passive: &[Passive]) -> Vec<Way> {
    let way = |passive: &Passive| match passive {
        Passive::Epsv => Way::Epsv,
        Passive::Pasv => Way::Pasv,
    };
    match (data, passive) {
        (DataMode::Active, _) => vec![Way::Active],
        (DataMode::Passive, []) => vec![Way::Epsv, Way::Pasv, Way::Active],
        (DataMode::Passive, wished) => wished.iter().map(way).collect(),
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one assignment, so a panic elsewhere leaves nothing half done.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for FtpReplica {
    fn drop(&mut self) {
        self.connector.publish(self.learnt);
    }
}

fn taken() -> Error {
    ErrorKind::Changed("there is something under the new name already").into()
}

/// The root's full path: the login directory comes from the server.
fn root_path(path: &ServerPath, login_dir: Option<&[u8]>) -> Result<Vec<u8>> {
    match path {
        ServerPath::Absolute(path) => Ok(join(b"/", path.as_bytes())),
        ServerPath::FromLogin(path) => match login_dir {
            Some(dir) => Ok(join(dir, path.as_bytes())),
            None => Err(Error::new(ErrorKind::Unsupported(
                "the server does not tell the login directory; give the full path without ~",
            ))),
        },
    }
}

fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    let mut full = dir.to_vec();
    if !path.is_empty() {
        if !full.ends_with(b"/") {
            full.push(b'/');
        }
        full.extend_from_slice(path);
    }
    full
}

/// The directory that a full path lies in; none for the server's root.
fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    match slash {
        0 if path.len() == 1 => None,
        0 => Some(b"/"),
        _ => Some(&path[..slash]),
    }
}

/// The last name of a full path.
fn last_name(path: &[u8]) -> &[u8] {
    let start = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    &path[start..]
}

/// The directories above a full path, the topmost first, without the server's root.
fn ancestors(path: &[u8]) -> Vec<Vec<u8>> {
    let mut above = Vec::new();
    let mut dir = parent(path);
    while let Some(path) = dir
        && path != b"/"
    {
        above.push(path.to_vec());
        dir = parent(path);
    }
    above.reverse();
    above
}

/// The digest in a reply: the word that has its length in hexadecimal digits. Servers put the algorithm, a range or
/// the name around it.
fn find_digest(text: &[u8], algorithm: Algorithm) -> Option<Digest> {
    let bytes = match algorithm {
        Algorithm::Sha256 => 32,
        Algorithm::Md5 => 16,
        Algorithm::Crc32 => 4,
    };
    let text = String::from_utf8_lossy(text);
    let word = text.split_whitespace().find(|word| {
        let digits = word.len() == 2 * bytes || (bytes == 4 && (1..=8).contains(&word.len()));
        digits && word.bytes().all(|digit| digit.is_ascii_hexdigit())
    })?;
    let padded = format!("{word:0>width$}", width = 2 * bytes);
    let bytes = (0..bytes)
        .map(|place| u8::from_str_radix(&padded[2 * place..2 * place + 2], 16).ok())
        .collect::<Option<_>>()?;
    Some(Digest { algorithm, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_digests_in_recorded_replies() {
        let crc = find_digest(b"4076E5D1", Algorithm::Crc32).unwrap();
        assert_eq!(crc.bytes, [0x40, 0x76, 0xe5, 0xd1]);
        let md5 = find_digest(b"3749F52BB326AE96782B42DC0A97B4C1", Algorithm::Md5).unwrap();
        assert_eq!((md5.bytes[0], md5.bytes.len()), (0x37, 16));
        let line = b"SHA-256 0-11 c67c199595622dfbdc9e415c4a0ad6166eb49cbf74c6aac7bb3e958604d5ecb8 file.txt";
        let sha = find_digest(line, Algorithm::Sha256).unwrap();
        assert_eq!((sha.bytes[0], sha.bytes.len()), (0xc6, 32));
        assert_eq!(find_digest(b"no digest here", Algorithm::Md5), None);
    }

    #[test]
    fn paths_go_up_to_the_root() {
        assert_eq!(parent(b"/a/b"), Some(&b"/a"[..]));
        assert_eq!(parent(b"/a"), Some(&b"/"[..]));
        assert_eq!(parent(b"/"), None);
        assert_eq!(ancestors(b"/a/b/c"), [b"/a".to_vec(), b"/a/b".to_vec()]);
        assert_eq!(last_name(b"/a/b c"), b"b c");
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/a", b""), b"/a");
    }
}
