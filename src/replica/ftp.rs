//! A directory on an FTP server, through the trait: maps replies to what the trait promises, and learns what the
//! server can do.
//!
//! Commands carry full paths and never rely on a current directory. What a server allows is tried, not configured: a
//! refusal of an optional command makes this target use the next best one from then on. A reply of success proves
//! nothing, so what matters is looked at afterwards. When the session is lost every method fails with the reason of
//! the loss, until the caller connects anew.

mod connector;
mod describe;
mod digest;
mod glance;
mod learnt;
mod lines;
mod list;
mod look;
mod mode;
mod names;
mod paths;
mod read;
mod rename;
mod write;

pub use self::connector::FtpConnector;
use self::digest::find_digest;
use self::learnt::Learnt;
pub use self::learnt::Memory;
use self::look::{is_demanding, unkept_name};
use self::paths::{ancestors, join, last_name, root_path};
use crate::error::{Doing, ErrorKind, Result, Scope};
use crate::ftp::{Command, Reply, Session, Software};
use crate::job::{Encoding, FtpLocation, Limits};
use crate::path::RelPath;
use crate::replica::checks::check_free;
use crate::replica::{
    Algorithm, Capabilities, CaseSensitivity, Connect, Described, Digest, Kind, Listing, Mtime,
    NewFile, Removal, Renaming, Replica, Source, Stat, Times, Watch, Written,
};
use crate::time::Timestamp;

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

impl FtpReplica {
    /// Connects and logs in. Whether the root is there shows when it is listed.
    pub fn connect(location: &FtpLocation, limits: &Limits) -> Result<Self> {
        FtpConnector::new(location, limits)?.connect()
    }

    /// The directory that the server said the login ends in, from the server's root; none where it said nothing usable.
    pub fn login_dir(&self) -> Option<RelPath> {
        RelPath::parse(self.session.login_dir()?).ok()
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

impl Connect for FtpConnector {
    fn connect(&self) -> Result<Box<dyn Replica>> {
        Ok(Box::new(Self::connect(self)?))
    }
}

impl Replica for FtpReplica {
    fn describe(&mut self) -> Described {
        self.describe_server()
    }

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
        listing.forget_times_of_dirs();
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
        self.open_path(&self.full(file), offset)
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

    fn put_mark(
        &mut self,
        mark: &RelPath,
        see: &mut dyn FnMut(&[u8], Option<Mtime>),
    ) -> Result<()> {
        self.renew()?;
        let marked = self.put_mark_at(&self.full(mark), see);
        self.connector.publish(self.learnt);
        marked
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
        let renaming = Renaming {
            from: from.clone(),
            to: to.clone(),
        };
        let mut results = self.rename_each(&[renaming]);
        results.pop().expect("one answer for one question")
    }

    fn rename_each(&mut self, renames: &[Renaming]) -> Vec<Result<()>> {
        let places: Vec<Vec<u8>> = renames.iter().map(|one| self.full(&one.to)).collect();
        let there = self.look_at(&places);
        let mut results: Vec<Result<()>> = there
            .into_iter()
            .zip(renames)
            .zip(&places)
            .map(|((there, renaming), place)| match there? {
                None if self.rewrites(place) => Err(unkept_name()),
                there => check_free(self, there, renaming),
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

    fn mode(&mut self, file: &RelPath) -> Result<Option<u32>> {
        let path = self.full(file);
        self.mode_at(&path)
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
}

impl Drop for FtpReplica {
    fn drop(&mut self) {
        self.connector.publish(self.learnt);
    }
}
