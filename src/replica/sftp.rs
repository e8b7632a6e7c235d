//! A directory on an SSH server, through the trait.
//!
//! What takes one round trip for each of many things takes it once: see [`flights`]. A status of success proves nothing,
//! and one of failure little (servers say "failure" to nearly everything), so what matters is looked at. When the session
//! is lost every method fails with the reason of the loss, until the caller connects anew.

mod ahead;
mod batch;
mod describe;
mod flights;
mod look;
mod place;
mod read;
mod storing;
mod write;

use std::sync::Arc;

use self::ahead::Ahead;
use self::flights::{NONSENSE, ask_all};
use crate::error::{Doing, Error, ErrorKind, Result, Scope};
use crate::job::{Limits, ServerPath, SftpLocation};
use crate::path::{Escaped, RelPath};
use crate::replica::checks::check_free;
use crate::replica::{
    Algorithm, Capabilities, CaseSensitivity, Connect, Described, Digest, Kind, Listing, Mtime,
    NewFile, Removal, Renaming, Replica, Source, Stat, Times, Watch, Written,
};
use crate::sftp::packet::{parse_check_file, parse_free_bytes};
use crate::sftp::{Answers, Client, Program, Reply, Request, Session, Status, Terms, code};

/// Read or written by one request: what every server takes, and more gains nothing.
const PIECE_BYTES: usize = 32 * 1024;

/// On their way at a time: OpenSSH's own window, at which 20 ms cost nothing.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// Small files under way at a time: two batches of 64, of which one is on the line while the other's answers come. Each has a
/// file open on the server.
const UNDER_WAY: usize = 128;

/// A directory on an SSH server.
pub struct SftpReplica {
    session: Session,
    /// The full path of the root on the server; `/` or without a slash at its end.
    root: Vec<u8>,
    /// Where the login ends, if the root is told from there.
    login_dir: Option<Vec<u8>>,
    learnt: Learnt,
    ahead: Ahead,
}

/// What this server was found to do.
#[derive(Debug)]
struct Learnt {
    times: Times,
    /// Whether it lists `.` and `..`.
    shows_dots: bool,
    /// Whether it renames over a file.
    renames_over: bool,
    /// Whether it computes digests.
    digests: bool,
}

/// Opens replicas for one account of a server.
#[derive(Clone)]
pub struct SftpConnector {
    location: SftpLocation,
    terms: Terms,
    client: Client,
    answers: Arc<dyn Answers>,
}

impl SftpConnector {
    /// Finds the SSH program, and refuses what it could misread; nothing is sent.
    pub fn new(
        location: &SftpLocation,
        limits: &Limits,
        answers: Arc<dyn Answers>,
    ) -> Result<Self> {
        Ok(Self {
            location: location.clone(),
            terms: Terms::of(location, limits.timeout)?,
            client: Client::find(location.ssh_command.as_deref())?,
            answers,
        })
    }

    /// Connects and logs in. Whether the root is there shows when it is listed.
    pub fn connect(&self) -> Result<SftpReplica> {
        let host = Escaped(self.location.host.as_bytes());
        let open = || {
            let channel = Program::start(&self.client, &self.terms, Arc::clone(&self.answers))?;
            Session::open(channel, self.terms.timeout)
        };
        let mut session = open().doing(|| format!("connecting to {host}"))?;
        let (root, login_dir) = match &self.location.path {
            ServerPath::Absolute(path) => (join(b"/", path.as_bytes()), None),
            ServerPath::FromLogin(path) => {
                let dir = login_dir(&mut session)?;
                (join(&dir, path.as_bytes()), Some(dir))
            }
        };
        let mut replica = SftpReplica::over(session, &root);
        replica.login_dir = login_dir;
        Ok(replica)
    }
}

/// The directory that the server begins in. Its own request for that is not to be trusted: ProFTPD announces one that it
/// never answers.
fn login_dir(session: &mut Session) -> Result<Vec<u8>> {
    match session.ask(&Request::RealPath(b"."))? {
        Reply::Names(names) => match names.into_iter().next() {
            Some(dir) if dir.name.starts_with(b"/") => Ok(dir.name),
            _ => Err(session.nonsense("it does not tell the login directory")),
        },
        Reply::Status(status) if !is_ok(&status) => {
            Err(refusal(&status)).doing(|| "asking for the login directory")
        }
        _ => Err(session.nonsense(NONSENSE)),
    }
}

impl SftpReplica {
    /// A replica over a session that somebody else opened; its root is a full path on the server.
    pub fn over(session: Session, root: &[u8]) -> Self {
        Self {
            session,
            root: join(b"/", root),
            login_dir: None,
            learnt: Learnt {
                times: Times::Unknown,
                shows_dots: false,
                renames_over: true,
                digests: true,
            },
            ahead: Ahead::default(),
        }
    }

    /// The directory that the login ends in, from the server's root; none where nobody needed to ask.
    pub fn login_dir(&self) -> Option<RelPath> {
        RelPath::parse(self.login_dir.as_deref()?).ok()
    }

    /// The full path on the server.
    fn full(&self, path: &RelPath) -> Vec<u8> {
        join(&self.root, path.as_bytes())
    }

    /// Asks all of it at once, and turns the answers into results: what was refused is a success all the same where the
    /// look at it says that it is as wanted.
    fn settle(
        &mut self,
        requests: &[Request<'_>],
        paths: &[Vec<u8>],
        is_as_wanted: impl Fn(Option<Stat>) -> bool,
    ) -> Vec<Result<()>> {
        let replies = match ask_all(&mut self.session, requests) {
            Ok(replies) => replies,
            Err(first) => return self.all_lost(first, paths.len()),
        };
        let refused: Vec<Vec<u8>> = replies
            .iter()
            .zip(paths)
            .filter(|(reply, _)| !matches!(reply, Reply::Status(status) if is_ok(status)))
            .map(|(_, path)| path.clone())
            .collect();
        let mut looks = self.look_at(&refused).into_iter();
        replies
            .into_iter()
            .map(|reply| match reply {
                Reply::Status(status) if is_ok(&status) => Ok(()),
                Reply::Status(status) => match looks.next() {
                    Some(Ok(stat)) if is_as_wanted(stat) => Ok(()),
                    Some(Err(error)) if error.scope() != Scope::Entry => Err(error),
                    Some(Ok(_) | Err(_)) | None => Err(refusal(&status)),
                },
                _ => Err(self.session.nonsense(NONSENSE)),
            })
            .collect()
    }

    fn all_lost<T>(&self, first: Error, count: usize) -> Vec<Result<T>> {
        let mut first = Some(first);
        (0..count)
            .map(|_| Err(first.take().unwrap_or_else(|| self.session.failure())))
            .collect()
    }

    fn rename_path(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let reply = self.session.ask(&Request::Rename(from, to))?;
        self.done(reply)
    }

    /// Whether a reply says that it is done.
    fn done(&mut self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Status(status) if is_ok(&status) => Ok(()),
            Reply::Status(status) => Err(refusal(&status)),
            _ => Err(self.session.nonsense(NONSENSE)),
        }
    }

    /// Removes a partial file that nobody can use. A failure leaves litter that the next run finds by its name.
    fn clean_up(&mut self, partial: &[u8]) {
        let _ = self.session.ask(&Request::Remove(partial));
    }

    /// Servers say "failure" when the disk is full; whether it is, the free space tells.
    fn explain_full(&mut self, error: Error) -> Error {
        let says_nothing = matches!(error.kind(), ErrorKind::Refused { code: FAILURE, .. });
        if says_nothing && matches!(self.free_space(), Ok(Some(0..PIECE_ROOM))) {
            let text = "there is no space left".to_owned();
            return ErrorKind::Refused {
                code: NO_SPACE,
                text,
            }
            .into();
        }
        error
    }
}

/// The code of a full disk in later versions of SFTP, which some servers use and others only say "failure".
const NO_SPACE: u16 = 14;
const FAILURE: u16 = 4;

/// Less than this is no room for a piece and what the file system adds to it.
const PIECE_ROOM: u64 = 2 * PIECE_BYTES as u64;

impl Connect for SftpConnector {
    fn connect(&self) -> Result<Box<dyn Replica>> {
        Ok(Box::new(Self::connect(self)?))
    }

    fn batch(&self) -> usize {
        UNDER_WAY
    }
}

impl Replica for SftpReplica {
    fn describe(&mut self) -> Described {
        self.describe_server()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            times: self.learnt.times,
            case: CaseSensitivity::Unknown,
        }
    }

    fn list(&mut self, dir: &RelPath, listing: &mut Listing) -> Result<()> {
        listing.clear();
        let path = self.full(dir);
        self.list_path(&path, listing)
            .doing(|| format!("listing {dir}"))?;
        listing.sort();
        Ok(())
    }

    fn list_ahead(&mut self, dirs: &[RelPath]) {
        let paths = dirs.iter().map(|dir| self.full(dir)).collect();
        self.list_all_ahead(paths);
    }

    fn read_ahead(&mut self, files: &[(RelPath, Stat)]) {
        let files = files.iter().map(|(file, stat)| (self.full(file), *stat));
        let files = files.collect();
        self.read_all_ahead(files);
    }

    fn look_up(&mut self, paths: &[RelPath]) -> Vec<Result<Option<Stat>>> {
        let paths: Vec<Vec<u8>> = paths.iter().map(|path| self.full(path)).collect();
        self.look_at(&paths)
    }

    fn open<'a>(&'a mut self, file: &RelPath, offset: u64) -> Result<Box<dyn Source + 'a>> {
        let path = self.full(file);
        match self.ahead.take_file(&path) {
            Some(fetched) if offset == 0 => Ok(Box::new(fetched)),
            Some(_) | None => self.open_path(&path, offset),
        }
    }

    fn write(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        self.ahead.forget();
        self.write_file(file, source, watch)
    }

    fn write_small(
        &mut self,
        files: &[(NewFile<'_>, &[u8])],
        placing: &mut dyn FnMut(usize, &Stat, Times),
    ) -> Vec<Result<Written>> {
        self.ahead.forget();
        self.write_together(files, placing)
    }

    fn make_dirs(&mut self, dirs: &[RelPath]) -> Vec<Result<()>> {
        self.ahead.forget();
        let paths: Vec<Vec<u8>> = dirs.iter().map(|dir| self.full(dir)).collect();
        let is_dir = |stat: Option<Stat>| stat.is_some_and(|stat| stat.kind == Kind::Dir);
        if dirs.iter().any(RelPath::is_root) {
            // Most of these are there already; only the root itself matters.
            let above = ancestors(&self.root);
            let requests: Vec<Request<'_>> =
                above.iter().map(|path| Request::MakeDir(path)).collect();
            if let Err(first) = ask_all(&mut self.session, &requests) {
                return self.all_lost(first, paths.len());
            }
        }
        let requests: Vec<Request<'_>> = paths.iter().map(|path| Request::MakeDir(path)).collect();
        self.settle(&requests, &paths, is_dir)
    }

    fn put_mark(
        &mut self,
        mark: &RelPath,
        see: &mut dyn FnMut(&[u8], Option<Mtime>),
    ) -> Result<()> {
        self.make_dirs(std::slice::from_ref(mark))
            .into_iter()
            .collect::<Result<()>>()?;
        self.see_times(&self.full(&mark.parent()), see)
    }

    fn remove(&mut self, removals: &[Removal]) -> Vec<Result<()>> {
        self.ahead.forget();
        let paths: Vec<Vec<u8>> = removals
            .iter()
            .map(|removal| self.full(removal.path()))
            .collect();
        let requests: Vec<Request<'_>> = removals
            .iter()
            .zip(&paths)
            .map(|(removal, path)| match removal {
                Removal::File(_) => Request::Remove(path),
                Removal::Dir(_) => Request::RemoveDir(path),
            })
            .collect();
        self.settle(&requests, &paths, |stat| stat.is_none())
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<()> {
        let renaming = Renaming {
            from: from.clone(),
            to: to.clone(),
        };
        let mut results = self.rename_each(&[renaming]);
        results.pop().expect("one answer for one question")
    }

    fn rename_each(&mut self, renames: &[Renaming]) -> Vec<Result<()>> {
        self.ahead.forget();
        let places: Vec<Vec<u8>> = renames.iter().map(|one| self.full(&one.to)).collect();
        let there = self.look_at(&places);
        let mut results: Vec<Result<()>> = there
            .into_iter()
            .zip(renames)
            .map(|(there, renaming)| check_free(self, there?, renaming))
            .collect();
        let free: Vec<usize> = (0..results.len())
            .filter(|index| results[*index].is_ok())
            .collect();
        let olds: Vec<Vec<u8>> = free
            .iter()
            .map(|index| self.full(&renames[*index].from))
            .collect();
        let requests: Vec<Request<'_>> = free
            .iter()
            .zip(&olds)
            .map(|(index, old)| Request::Rename(old, &places[*index]))
            .collect();
        let renamed = match ask_all(&mut self.session, &requests) {
            Ok(replies) => replies.into_iter().map(|reply| self.done(reply)).collect(),
            Err(first) => self.all_lost(first, free.len()),
        };
        for (index, result) in free.into_iter().zip(renamed) {
            results[index] = result;
        }
        results
    }

    fn mode(&mut self, file: &RelPath) -> Result<Option<u32>> {
        let path = self.full(file);
        let reply = self.session.ask(&Request::Stat(&path))?;
        Ok(write::mode_of(Some(reply)))
    }

    fn digest(&mut self, file: &RelPath, algorithms: &[Algorithm]) -> Result<Option<Digest>> {
        if !self.learnt.digests || algorithms.is_empty() {
            return Ok(None);
        }
        let path = self.full(file);
        let names: Vec<&str> = algorithms.iter().copied().map(digest_name).collect();
        let names = names.join(",");
        match self
            .session
            .ask(&Request::CheckFile(&path, names.as_bytes()))?
        {
            Reply::Extended(reply) => Ok(digest_of(&reply, algorithms)),
            // Not announced by those who have it, so that it is tried once.
            Reply::Status(status) if status.code == code::UNSUPPORTED => {
                self.learnt.digests = false;
                Ok(None)
            }
            Reply::Status(status) if !is_ok(&status) => match self.look_at_one(&path)? {
                None => Err(ErrorKind::NotFound.into()),
                // An algorithm that it does not know, as a rule.
                Some(_) => Ok(None),
            },
            _ => Err(self.session.nonsense(NONSENSE)),
        }
    }

    fn free_space(&mut self) -> Result<Option<u64>> {
        if !self.session.offers(b"statvfs@openssh.com") {
            return Ok(None);
        }
        match self.session.ask(&Request::StatVfs(&self.root))? {
            Reply::Extended(reply) => Ok(parse_free_bytes(&reply)),
            _ => Ok(None),
        }
    }
}

const fn digest_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sha256 => "sha256",
        Algorithm::Md5 => "md5",
        Algorithm::Crc32 => "crc32",
    }
}

/// The digest in a reply, where it is of an algorithm that was asked for and has its length.
fn digest_of(reply: &[u8], algorithms: &[Algorithm]) -> Option<Digest> {
    let (name, bytes) = parse_check_file(reply)?;
    let algorithm = *algorithms
        .iter()
        .find(|known| name.eq_ignore_ascii_case(digest_name(**known).as_bytes()))?;
    let length = match algorithm {
        Algorithm::Sha256 => 32,
        Algorithm::Md5 => 16,
        Algorithm::Crc32 => 4,
    };
    (bytes.len() == length).then(|| Digest {
        algorithm,
        bytes: bytes.to_vec(),
    })
}

fn is_ok(status: &Status) -> bool {
    status.code == code::OK
}

/// The error that a status is.
fn refusal(status: &Status) -> Error {
    let said = Escaped(&status.text).to_string();
    let text = match (said.as_str(), status.code) {
        ("", code::NO_SUCH_FILE) => "no such file".to_owned(),
        ("", code::PERMISSION_DENIED) => "permission denied".to_owned(),
        ("", _) => "failure".to_owned(),
        _ => said,
    };
    ErrorKind::Refused {
        code: u16::try_from(status.code).unwrap_or(FAILURE),
        text,
    }
    .into()
}

fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    let mut full = dir.to_vec();
    while full.len() > 1 && full.ends_with(b"/") {
        full.pop();
    }
    let path = path.strip_prefix(b"/").unwrap_or(path);
    if !path.is_empty() {
        if !full.ends_with(b"/") {
            full.push(b'/');
        }
        full.extend_from_slice(path);
    }
    full
}

/// The directories above a full path, the topmost first, without the server's root.
fn ancestors(path: &[u8]) -> Vec<Vec<u8>> {
    path.iter()
        .enumerate()
        .skip(1)
        .filter(|(_, byte)| **byte == b'/')
        .map(|(slash, _)| path[..slash].to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_once() {
        assert_eq!(join(b"/", b"a"), b"/a");
        assert_eq!(join(b"/home/me/", b"a/b"), b"/home/me/a/b");
        assert_eq!(join(b"/", b""), b"/");
        assert_eq!(join(b"/", b"/srv"), b"/srv");
        assert_eq!(ancestors(b"/a/b/c"), [b"/a".to_vec(), b"/a/b".to_vec()]);
        assert_eq!(ancestors(b"/"), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_digest_is_believed_only_where_it_has_its_length() {
        let reply = |bytes: usize| [&b"\0\0\0\x03md5"[..], &vec![7; bytes]].concat();
        assert!(digest_of(&reply(16), &[Algorithm::Sha256, Algorithm::Md5]).is_some());
        assert_eq!(digest_of(&reply(15), &[Algorithm::Md5]), None);
        assert_eq!(digest_of(&reply(16), &[Algorithm::Sha256]), None);
    }

    #[test]
    fn refusals_have_words_where_the_server_has_none() {
        let status = |code, text: &[u8]| Status {
            code,
            text: text.to_vec(),
        };
        assert_eq!(
            refusal(&status(3, b"")).to_string(),
            "server refused: 3 permission denied"
        );
        assert_eq!(
            refusal(&status(4, b"Bad\x1bthing")).to_string(),
            "server refused: 4 Bad\\x1bthing"
        );
        assert!(refusal(&status(14, b"No space left")).is_full());
        assert!(!refusal(&status(70_000, b"")).is_full());
    }
}
