//! Asking for exact names: what is there, and when it is certain that nothing is.
//!
//! A refusal alone proves nothing: below a directory that may not be entered every name is refused, and some servers refuse
//! all there is. So a name counts as absent only where a whole listing of its directory lacks it, or where the server is
//! known to deny only what is absent ([`Trick::Denials`]) and its directory can be entered, or is absent itself.

use std::collections::HashMap;

use super::learnt::Looks;
use super::mode::{Modes, mode_of_mlst};
use super::paths::{last_name, parent};
use super::{FtpReplica, names};
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::ftp::{Command, Facts, FactsKind, Meaning, Reply, Software, Trick};
use crate::replica::{Kind, Listing, Mtime, Stat};
use crate::time::Timestamp;

/// Paths that are asked for at a time: their replies lie in memory together.
const MAX_LOOKS: usize = 1024;

/// What is known of a directory in which a name was refused.
enum Dir {
    /// It can be entered; its listing where that was needed.
    Entered(Option<Shown>),
    /// It is not there.
    Absent,
    /// It is there or may be, and nothing below it can be told.
    Closed,
}

/// A listing that is to prove what is absent.
struct Shown {
    listing: Listing,
    /// Whether it lacks something whatever the names.
    lacks_lines: bool,
}

impl Shown {
    /// Whether something may be there under this name although the listing lacks it. What a server cannot show as it is,
    /// it shows with a question mark (BusyBox), and that is never a letter of ASCII.
    fn may_hide(&self, name: &[u8]) -> bool {
        let is_plain = name.iter().all(|byte| matches!(byte, b' '..=b'~'));
        match is_plain {
            true => self.lacks_lines,
            false => self.listing.gap().is_some(),
        }
    }
}

impl FtpReplica {
    /// What is at these full paths.
    pub(super) fn look_at(&mut self, paths: &[Vec<u8>]) -> Vec<Result<Option<Stat>>> {
        let mut dirs = HashMap::new();
        paths
            .chunks(MAX_LOOKS)
            .flat_map(|paths| self.look_at_some(paths, &mut dirs))
            .collect()
    }

    fn look_at_some(
        &mut self,
        paths: &[Vec<u8>],
        dirs: &mut HashMap<Vec<u8>, Dir>,
    ) -> Vec<Result<Option<Stat>>> {
        let mut answers: Vec<Answer> = paths.iter().map(|_| Answer::Open).collect();
        if self.learnt.looks == Looks::Mlst {
            self.ask_mlst(paths, &mut answers);
        }
        if self.learnt.looks <= Looks::Size {
            self.ask_size(paths, &mut answers);
        }
        self.learnt.has_confirmed |= answers.iter().any(|answer| matches!(answer, Answer::Is(_)));
        paths
            .iter()
            .zip(answers)
            .map(|(path, answer)| match answer {
                Answer::Is(stat) => Ok(Some(stat)),
                Answer::Failed(error) => Err(error),
                Answer::Denied(error) => self.settle_denied(path, error, dirs),
                Answer::Open if self.session.has_failed() => Err(self.session.failure()),
                Answer::Open => self.settle_denied(path, untold(), dirs),
            })
            .collect()
    }

    /// What is at this full path.
    pub(super) fn look_at_one(&mut self, path: &[u8]) -> Result<Option<Stat>> {
        let mut answers = self.look_at(&[path.to_vec()]);
        answers.pop().unwrap_or_else(|| Err(self.session.failure()))
    }

    fn ask_mlst(&mut self, paths: &[Vec<u8>], answers: &mut [Answer]) {
        let commands: Vec<Command<'_>> = paths.iter().map(|path| Command::Mlst(path)).collect();
        let replies = self.ask_each(&commands);
        for ((answer, reply), path) in answers.iter_mut().zip(replies).zip(paths) {
            *answer = match reply {
                Err(error) => Answer::Failed(error),
                Ok(reply) if reply.is_unknown_command() => {
                    self.learnt.leave_looks(Looks::Mlst);
                    Answer::Open
                }
                Ok(reply) => match stat_of_mlst(&reply, path) {
                    Ok(Some(stat)) => Answer::Is(stat),
                    // It is there, and what it is was not told in a way that can be used.
                    Ok(None) if reply.is_success() => Answer::Open,
                    Ok(None) => self.refused(&reply),
                    Err(error) => Answer::Failed(error),
                },
            };
        }
    }

    /// SIZE and MDTM for files; what has no size may be a directory, which CWD tells.
    fn ask_size(&mut self, paths: &[Vec<u8>], answers: &mut [Answer]) {
        let open: Vec<usize> = open_ones(answers);
        let commands: Vec<Command<'_>> = open
            .iter()
            .flat_map(|index| [Command::Size(&paths[*index]), Command::Mdtm(&paths[*index])])
            .collect();
        let mut replies = self.ask_each(&commands).into_iter();
        for index in &open {
            let (Some(size), Some(mdtm)) = (replies.next(), replies.next()) else {
                break;
            };
            answers[*index] = match (size, mdtm) {
                (Err(error), _) | (_, Err(error)) => Answer::Failed(error),
                // For the moment it does not tell (RFC 959, 4.2.1: 4yz).
                (Ok(size), Ok(_)) if size.meaning() == Meaning::NotNow => self.refused(&size),
                // A file is there, and its time is not told: without it the answer is not whole. Only a server that
                // does not know the command at all never will tell.
                (Ok(size), Ok(mdtm))
                    if size.is_success() && !mdtm.is_success() && !mdtm.is_unknown_command() =>
                {
                    Answer::Failed(self.session.refusal(&mdtm))
                }
                (Ok(size), Ok(mdtm)) => match self.stat_of_size(&size, &mdtm) {
                    Ok(Some(stat)) => Answer::Is(stat),
                    Ok(None) => Answer::Open,
                    Err(error) => Answer::Failed(self.session.fail(error)),
                },
            };
        }
        // A size may be that of a directory, on servers that are not known to keep it for files.
        let may_be_dir = |answer: &Answer| match answer {
            Answer::Open => true,
            Answer::Is(stat) => self.is_stranger() && stat.kind == Kind::File,
            Answer::Denied(_) | Answer::Failed(_) => false,
        };
        let open: Vec<usize> = (0..answers.len())
            .filter(|index| open.contains(index) && may_be_dir(&answers[*index]))
            .collect();
        let commands: Vec<Command<'_>> = open
            .iter()
            .map(|index| Command::Cwd(&paths[*index]))
            .collect();
        let replies = self.ask_each(&commands);
        for (index, reply) in open.into_iter().zip(replies) {
            answers[index] = match reply {
                Err(error) => Answer::Failed(error),
                Ok(reply) if reply.is_success() => Answer::Is(Stat::dir()),
                Ok(_) if matches!(answers[index], Answer::Is(_)) => continue,
                Ok(reply) => self.refused(&reply),
            };
        }
    }

    fn refused(&self, reply: &Reply) -> Answer {
        let error = self.session.refusal(reply);
        match reply.meaning() {
            Meaning::No | Meaning::Unknown => Answer::Denied(error),
            // A listing tells where a stranger says "not now" for "not there".
            Meaning::NotNow if self.is_stranger() => Answer::Denied(error),
            Meaning::NotNow | Meaning::Preliminary | Meaning::Done | Meaning::GoOn => {
                Answer::Failed(error)
            }
        }
    }

    /// Decides whether a denied name is absent.
    fn settle_denied(
        &mut self,
        path: &[u8],
        denial: Error,
        dirs: &mut HashMap<Vec<u8>, Dir>,
    ) -> Result<Option<Stat>> {
        let Some(above) = parent(path) else {
            return Err(denial);
        };
        self.explore(above, dirs)?;
        match dirs.get_mut(above) {
            Some(Dir::Absent) => Ok(None),
            Some(Dir::Entered(_)) if self.believes(&denial) => Ok(None),
            Some(Dir::Entered(listing)) => {
                if listing.is_none() {
                    *listing = Some(self.show(above)?);
                }
                let shown = listing.as_ref().expect("it was read just now");
                let name = names::decode(last_name(path), self.encoding());
                let found = (
                    shown.listing.find(&name).map(|entry| entry.stat),
                    shown.may_hide(last_name(path)),
                );
                let other = shown
                    .listing
                    .iter()
                    .find(|entry| entry.stat.kind == Kind::File)
                    .map(|entry| self.below(above, entry.name.as_bytes()));
                self.weigh(&denial, found.0.is_some(), other)?;
                match found {
                    (Some(stat), _) => Ok(Some(stat)),
                    (None, false) => Ok(None),
                    (None, true) => Err(denial),
                }
            }
            Some(Dir::Closed) | None => Err(denial),
        }
    }

    fn show(&mut self, dir: &[u8]) -> Result<Shown> {
        let mut listing = Listing::new();
        self.read_shown(dir, &mut listing)?;
        let lacks_lines = listing.gap().is_some();
        self.check_lossy(dir, &mut listing)?;
        listing.sort();
        Ok(Shown {
            listing,
            lacks_lines,
        })
    }

    /// Finds out about a directory, going up as far as needed.
    fn explore(&mut self, dir: &[u8], dirs: &mut HashMap<Vec<u8>, Dir>) -> Result<()> {
        if dirs.contains_key(dir) {
            return Ok(());
        }
        let reply = self.session.ask(&Command::Cwd(dir))?;
        let found = if reply.is_success() {
            Dir::Entered(None)
        } else if parent(dir).is_none() {
            Dir::Closed
        } else {
            let there = if self.learnt.looks == Looks::Mlst {
                let reply = self.session.ask(&Command::Mlst(dir))?;
                stat_of_mlst(&reply, dir)?.is_some()
            } else {
                false
            };
            let denial = self.session.refusal(&reply);
            match (there, reply.meaning()) {
                (false, Meaning::No) => match self.settle_denied(dir, denial, dirs) {
                    Ok(None) => Dir::Absent,
                    Err(error) if error.scope() != Scope::Entry => return Err(error),
                    Ok(Some(_)) | Err(_) => Dir::Closed,
                },
                _ => Dir::Closed,
            }
        };
        dirs.insert(dir.to_vec(), found);
        Ok(())
    }

    /// Whether this denial alone, in a directory that can be entered, proves absence.
    fn believes(&self, denial: &Error) -> bool {
        self.learnt.looks == Looks::Mlst
            && self.session.tricks().holds(Trick::Denials)
            && matches!(denial.kind(), ErrorKind::Refused { code: 550, .. })
    }

    /// A listing shows whether a denial was about something that is there. The server has to have confirmed something, too:
    /// one that denies all there is would never be wrong about what is absent.
    /// So `other`, which is there, is asked for once.
    fn weigh(&mut self, denial: &Error, is_there: bool, other: Option<Vec<u8>>) -> Result<()> {
        if !matches!(denial.kind(), ErrorKind::Refused { code: 550, .. })
            || !self.session.tricks().is_untried(Trick::Denials)
        {
            return Ok(());
        }
        if let (false, Looks::Mlst, Some(other)) =
            (self.learnt.has_confirmed, self.learnt.looks, other)
        {
            let reply = self.session.ask(&Command::Mlst(&other))?;
            self.learnt.has_confirmed = stat_of_mlst(&reply, &other)?.is_some();
        }
        let tricks = self.session.tricks();
        if is_there {
            tricks.give_up(Trick::Denials, &"the server denies what it lists");
        } else if self.learnt.has_confirmed && self.learnt.looks == Looks::Mlst {
            tricks.hold(Trick::Denials);
        }
        Ok(())
    }

    /// Why a directory could not be listed: certainly not there, or refused.
    pub(super) fn why_unlisted(&mut self, dir: &[u8], refusal: Error) -> Error {
        match self.look_at_one(dir) {
            Ok(None) => ErrorKind::NotFound.into(),
            Ok(Some(_)) => refusal,
            Err(error) => error,
        }
    }

    /// Sends `lead`, then looks at `paths`, all at once: the replies, and what was told of each path. Nothing told is
    /// no proof of absence.
    pub(super) fn send_and_look(
        &mut self,
        lead: &[Command<'_>],
        paths: &[&[u8]],
    ) -> Result<(Vec<Reply>, Vec<Option<Stat>>)> {
        let (replies, stats, _) = self.send_and_look_closely(lead, paths)?;
        Ok((replies, stats))
    }

    /// The same, with the modes that were told on the way of the first two paths: a partial file and its place.
    pub(super) fn send_and_look_closely(
        &mut self,
        lead: &[Command<'_>],
        paths: &[&[u8]],
    ) -> Result<(Vec<Reply>, Vec<Option<Stat>>, Modes)> {
        let looks_by = self.learnt.looks;
        let mut commands = lead.to_vec();
        for path in paths {
            match looks_by {
                Looks::Mlst => commands.push(Command::Mlst(path)),
                Looks::Size => commands.extend([Command::Size(path), Command::Mdtm(path)]),
                Looks::Listing => {}
            }
        }
        let port = self.session.port_command();
        commands.extend(port);
        // After a rename comes the next file, or nothing.
        let replies = match lead.last() {
            Some(Command::Rnto(_)) => self.session.ask_all_and_connect(&commands)?,
            Some(_) | None => self.session.ask_all(&commands)?,
        };
        let mut replies = replies.into_iter().collect::<Result<Vec<Reply>>>()?;
        if port.is_some()
            && let Some(reply) = replies.pop()
        {
            self.session.take_port(&reply);
        }
        let looks = replies.split_off(lead.len());
        if !looks.is_empty() && looks.iter().any(Reply::is_unknown_command) {
            let is_all =
                looks_by == Looks::Mlst || looks.iter().step_by(2).all(Reply::is_unknown_command);
            if is_all {
                self.learnt.leave_looks(looks_by);
                let (_, stats) = self.send_and_look(&[], paths)?;
                return Ok((replies, stats, Modes::default()));
            }
        }
        let modes = match looks_by {
            Looks::Mlst => Modes {
                partial: looks.first().and_then(mode_of_mlst),
                place: looks.get(1).and_then(mode_of_mlst),
            },
            Looks::Size | Looks::Listing => Modes::default(),
        };
        let mut stats: Vec<Option<Stat>> = match looks_by {
            Looks::Mlst => looks
                .iter()
                .zip(paths)
                .map(|(reply, path)| stat_of_mlst(reply, path))
                .collect::<Result<_>>()?,
            Looks::Size => looks
                .chunks(2)
                .map(|pair| self.stat_of_size(&pair[0], &pair[1]))
                .collect::<Result<_>>()
                .map_err(|error| self.session.fail(error))?,
            Looks::Listing => {
                let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.to_vec()).collect();
                let told = self.look_at(&paths);
                told.into_iter().collect::<Result<_>>()?
            }
        };
        self.learnt.has_confirmed |= stats.iter().any(Option::is_some);
        let each = looks.len() / paths.len().max(1);
        for (place, path) in paths.iter().enumerate() {
            // It is there, and what it is was not told in a way that can be used.
            let is_untold = looks
                .get(place * each)
                .is_some_and(|reply| each > 0 && reply.is_success());
            if is_untold && stats[place].is_none() {
                stats[place] = self.look_at_one(path)?;
            }
        }
        Ok((replies, stats, modes))
    }
}

/// Why a name is asked for elsewhere that no command asks for.
fn untold() -> Error {
    ErrorKind::Unsupported("the server answers no question for a single name").into()
}

/// What was said of one path so far.
enum Answer {
    Open,
    Is(Stat),
    Denied(Error),
    Failed(Error),
}

fn open_ones(answers: &[Answer]) -> Vec<usize> {
    let is_open = |index: &usize| matches!(answers[*index], Answer::Open);
    (0..answers.len()).filter(is_open).collect()
}

/// What facts say of an entry. A file without a size is left alone: nobody could tell whether it arrived.
pub(super) fn stat_of_facts(facts: &Facts<'_>) -> Stat {
    match (facts.kind, facts.size) {
        (FactsKind::File, Some(size)) => Stat {
            kind: Kind::File,
            size,
            mtime: facts.modify.map(Mtime::exact),
        },
        (FactsKind::Dir | FactsKind::CurrentDir | FactsKind::ParentDir, _) => Stat::dir(),
        (FactsKind::File | FactsKind::Unknown, _) => Stat {
            kind: Kind::Special,
            size: 0,
            mtime: None,
        },
    }
}

/// The facts stand on a line of their own that begins with a blank. None where the reply tells nothing.
///
/// A server that takes other characters for bytes that are not UTF-8 (pyftpdlib) means another file than we do: that
/// is an error of the name.
fn stat_of_mlst(reply: &Reply, path: &[u8]) -> Result<Option<Stat>> {
    if !reply.is_success() {
        return Ok(None);
    }
    let Some(facts) = reply.lines().find_map(Facts::parse_indented) else {
        return Ok(None);
    };
    if facts.tell_nothing() || (facts.kind == FactsKind::File && facts.size.is_none()) {
        return Ok(None);
    }
    let asked = last_name(path);
    let shown = last_name(facts.name);
    // A server that drops blanks and dots at an end takes both names for one, as its listing will tell.
    let is_trimmed = || {
        let end = asked.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
        end.is_some_and(|end| asked[..=end].trim_ascii_start() == shown.trim_ascii_start())
    };
    if is_demanding(asked) && shown != asked && !is_trimmed() {
        return Err(unkept_name());
    }
    Ok(Some(stat_of_facts(&facts)))
}

/// Whether servers may write this name in another way: Pure-FTPd puts `_` for control bytes and for a blank at an end,
/// pyftpdlib something else for what is not UTF-8.
pub(super) fn is_demanding(name: &[u8]) -> bool {
    let is_at_an_end = |byte| name.first() == Some(&byte) || name.last() == Some(&byte);
    std::str::from_utf8(name).is_err()
        || name.iter().any(u8::is_ascii_control)
        || is_at_an_end(b' ')
}

impl FtpReplica {
    /// Whether this server is known to put `_` for something in the name: Pure-FTPd does for control bytes and for a
    /// blank at the end, answers as if nothing had happened, and would even replace a file of that other name.
    pub(super) fn rewrites(&self, path: &[u8]) -> bool {
        let name = last_name(path);
        let is_rewritten = name.last() == Some(&b' ') || name.iter().any(u8::is_ascii_control);
        match self.session.software() {
            Software::PureFtpd => is_rewritten,
            Software::Vsftpd
            | Software::Proftpd
            | Software::Pyftpdlib
            | Software::Inetutils
            | Software::Busybox
            | Software::Unknown => false,
        }
    }
}

/// The server took a name, and shows another.
pub(super) fn unkept_name() -> Error {
    let text = "the server does not keep such a name: it has letters, control characters or blanks at an end that come \
                back as others (see --encoding)";
    ErrorKind::Name(text.to_owned()).into()
}

impl FtpReplica {
    /// See [`stat_of_size`]; without the time, where this server tells wrong ones.
    fn stat_of_size(&self, size: &Reply, mdtm: &Reply) -> Result<Option<Stat>> {
        let stat = stat_of_size(size, mdtm)?;
        Ok(stat.map(|stat| Stat {
            mtime: stat.mtime.filter(|_| !self.learnt.has_wrong_mdtm),
            ..stat
        }))
    }
}

/// Fails where a size stands in the place of a time: then the replies are out of step with the commands, and nothing on
/// this connection can be believed any more.
fn stat_of_size(size: &Reply, mdtm: &Reply) -> Result<Option<Stat>> {
    let Some(bytes) = size_in(size) else {
        return Ok(None);
    };
    let told = mdtm.last_line().trim_ascii();
    let mtime = Timestamp::parse_ftp(told).filter(|_| mdtm.is_success());
    // Fourteen digits that are no date are a date that the server gets wrong.
    let is_size = told.len() != 14 && told.iter().all(u8::is_ascii_digit);
    if mdtm.is_success() && mtime.is_none() && is_size {
        let text = "it answers a question for a time with something else".to_owned();
        return Err(ErrorKind::Protocol(text).into());
    }
    Ok(Some(Stat {
        kind: Kind::File,
        size: bytes,
        mtime: mtime.map(Mtime::exact),
    }))
}

/// The size in the reply to SIZE.
pub(super) fn size_in(reply: &Reply) -> Option<u64> {
    let text = std::str::from_utf8(reply.last_line()).ok()?;
    text.trim().parse().ok().filter(|_| reply.is_success())
}
