//! Glancing at directories: `STAT` answers with a listing on the control connection, so that hundreds of directories are
//! asked in one round trip, where listing one takes three.
//!
//! What the servers answer to `STAT` with a full path:
//!
//! | | form | dot files | `.` | the directory's own time |
//! |---|---|---|---|---|
//! | vsftpd 3.0 | `213-`, lines of `ls -la` | shown | shown | of `.`, to the minute |
//! | ProFTPD 1.3.8 | `212-`, the same behind a blank | shown | shown | `MLST`, to the second |
//! | Pure-FTPd 1.0.50 | `213-`, lines of `ls -l` | with `STAT -a` | the same | `MLST`, to the second |
//! | pyftpdlib 2.2 | `213-`, lines of `ls -l` | shown | hidden | `MLST`, to the second |
//! | BusyBox 1.35, inetutils 2.4 | `213-`, `211-` | shown | hidden | not told |
//!
//! A server that hides dot files cannot hide that one came or went: that changes the time of the directory. So a directory whose own time is not told is not believed. Nor is one whose path may be taken for a pattern (Pure-FTPd;
//! pyftpdlib refuses it) or, where it has blanks, for several (Pure-FTPd), or where a line makes no sense. A directory that
//! is not there looks empty to vsftpd and Pure-FTPd, but has no time of its own.
//!
//! A line break in a name can end the reply early, and what follows would be taken for the replies to other commands,
//! those that delete included. So each batch ends with questions whose right answers nobody on the server can foresee.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::learnt::Looks;
use super::list::{mtime_of_list, stat_of_list};
use super::paths::{last_name, parent};
use super::{FtpReplica, names};
use crate::error::{ErrorKind, Result};
use crate::ftp::{Command, Facts, FactsKind, ListLine, Reply, Software, parse_line};
use crate::replica::{Listing, Mtime, Stat};
use crate::time::Timestamp;

/// Questions at the end of a batch: who guesses their order is right once in 65,536 times.
const FENCE: usize = 16;

/// What servers take for patterns.
const WILD: &[u8] = b"*?[]{}\\~";

impl FtpReplica {
    /// Glances at these full paths, see [`Replica::glance`](crate::replica::Replica::glance).
    pub(super) fn glance_at(
        &mut self,
        dirs: &[Vec<u8>],
        see: &mut dyn FnMut(usize, &[u8], Stat),
    ) -> Result<Vec<Option<Mtime>>> {
        let mut glances: Vec<Glance> = dirs.iter().map(|_| Glance::default()).collect();
        let by_mlst = self.learnt.looks == Looks::Mlst;
        let encoding = self.encoding();
        let mut commands = Vec::new();
        // Which directory a command is about.
        let mut places = Vec::new();
        for (place, path) in dirs.iter().enumerate() {
            let Some(command) = self.stat_of(path) else {
                continue;
            };
            commands.push(command);
            places.push(place);
            if by_mlst {
                commands.push(Command::Mlst(path));
                places.push(place);
            }
        }
        if commands.is_empty() {
            return Ok(dirs.iter().map(|_| None).collect());
        }
        let now = Timestamp::now();
        let replies = self.ask_fenced(&commands, &mut |index, line| {
            let line = line.strip_prefix(b" ").unwrap_or(line);
            match (commands.get(index), places.get(index)) {
                (Some(Command::Stat(_) | Command::StatAll(_)), Some(place)) => {
                    glances[*place].take_line(line, now, &mut |name, stat| {
                        see(*place, &names::decode(name, encoding), stat);
                    });
                }
                (Some(Command::Mlst(_)), Some(place)) => glances[*place].take_facts(line),
                _ => {}
            }
        })?;
        for ((reply, place), command) in replies.into_iter().zip(places).zip(&commands) {
            let is_stat = matches!(command, Command::Stat(_) | Command::StatAll(_));
            match reply {
                Ok(reply) if reply.is_unknown_command() => {
                    if is_stat {
                        return Err(self.session.refusal(&reply));
                    }
                    self.learnt.leave_looks(Looks::Mlst);
                }
                Ok(reply) if is_stat => glances[place].is_told = reply.is_success(),
                // What MLST said of the directory was in its lines.
                Ok(_) => {}
                // The path cannot be sent.
                Err(_) => glances[place].is_told = false,
            }
        }
        Ok(glances.into_iter().map(Glance::changed).collect())
    }

    /// What shows a directory on the control connection; none where its path may be taken for something else.
    pub(super) fn stat_of<'a>(&self, dir: &'a [u8]) -> Option<Command<'a>> {
        let dialect = Dialect::of(self.session.software());
        let is_several = dir.contains(&b' ') && dialect != Dialect::PathsWithBlanks;
        let is_plain = !is_several && !dir.iter().any(|byte| WILD.contains(byte));
        is_plain.then_some(match dialect {
            Dialect::AllByOption => Command::StatAll(dir),
            Dialect::PathsWithBlanks | Dialect::Unknown => Command::Stat(dir),
        })
    }

    /// Asks for listings on the control connection, and then what shows that the replies are still in step.
    pub(super) fn ask_fenced(
        &mut self,
        commands: &[Command<'_>],
        take: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<Vec<Result<Reply>>> {
        let is_pwd = fence();
        let fence = is_pwd.map(|is_pwd| match is_pwd {
            true => Command::Pwd,
            false => Command::TypeImage,
        });
        let mut replies = self.session.ask_long(&[commands, &fence].concat(), take)?;
        for (reply, is_pwd) in replies.split_off(commands.len()).into_iter().zip(is_pwd) {
            if reply?.code != if is_pwd { 257 } else { 200 } {
                let text = "its replies are out of step with the commands".to_owned();
                return Err(self.session.fail(ErrorKind::Protocol(text).into()));
            }
        }
        Ok(replies)
    }

    /// Makes the directory at this full path and shows what is in the one that it is in, see
    /// [`Replica::put_mark`](crate::replica::Replica::put_mark): by `STAT` in one go where that is known, else by a listing.
    pub(super) fn put_mark_at(
        &mut self,
        mark: &[u8],
        see: &mut dyn FnMut(&[u8], Option<Mtime>),
    ) -> Result<()> {
        let dir = parent(mark).expect("a mark is in a directory");
        let is_known = Dialect::of(self.session.software()) != Dialect::Unknown;
        let stat = self.stat_of(dir).filter(|_| is_known);
        let commands: Vec<Command<'_>> = [Some(Command::Mkd(mark)), stat]
            .into_iter()
            .flatten()
            .collect();
        let now = Timestamp::now();
        let mut seen: Vec<(Vec<u8>, Option<Mtime>)> = Vec::new();
        let mut replies = match commands.len() {
            1 => self.session.ask_all(&commands)?,
            _ => self.ask_fenced(&commands, &mut |index, line| {
                let line = line.strip_prefix(b" ").unwrap_or(line);
                if index == 1
                    && let ListLine::Entry(entry) = parse_line(line, now)
                    && !matches!(entry.name, b"." | b"..")
                {
                    seen.push((entry.name.to_vec(), mtime_of_list(&entry)));
                }
            })?,
        };
        let made = replies.swap_remove(0)?;
        if !seen.iter().any(|(name, _)| name == last_name(mark)) {
            if !made.is_success() && self.look_at_one(mark)?.is_none() {
                return Err(self.session.refusal(&made));
            }
            let mut listing = Listing::new();
            self.read_listing(dir, &mut listing)?;
            let entries = listing.iter();
            seen = entries
                .map(|entry| (entry.name.as_bytes().to_vec(), entry.stat.mtime))
                .collect();
        }
        seen.iter().for_each(|(name, mtime)| see(name, *mtime));
        Ok(())
    }
}

/// What was told of one directory.
#[derive(Default)]
struct Glance {
    /// Whether there was a listing at all.
    is_told: bool,
    /// Whether something in it was not understood.
    is_flawed: bool,
    /// The time of `.`.
    of_list: Option<Mtime>,
    of_facts: Option<Timestamp>,
}

impl Glance {
    fn take_line(&mut self, line: &[u8], now: Timestamp, see: &mut dyn FnMut(&[u8], Stat)) {
        match parse_line(line, now) {
            ListLine::Nothing => {}
            ListLine::Heading | ListLine::Unreadable => self.is_flawed = true,
            ListLine::Entry(entry) => match entry.name {
                b"." => self.of_list = mtime_of_list(&entry),
                b".." => {}
                name => see(name, stat_of_list(&entry)),
            },
        }
    }

    fn take_facts(&mut self, line: &[u8]) {
        if let Some(facts) = Facts::parse(line)
            // The server's root is its own parent (Pure-FTPd).
            && matches!(facts.kind, FactsKind::Dir | FactsKind::CurrentDir | FactsKind::ParentDir)
        {
            self.of_facts = facts.modify;
        }
    }

    fn changed(self) -> Option<Mtime> {
        let told = self.of_facts.map(Mtime::exact).or(self.of_list);
        told.filter(|_| self.is_told && !self.is_flawed)
    }
}

/// How a server takes what follows `STAT`, as far as it shows what it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// As a path, blanks and all.
    PathsWithBlanks,
    /// As options and several paths (Pure-FTPd).
    AllByOption,
    /// A blank may mean anything.
    Unknown,
}

impl Dialect {
    const fn of(software: Software) -> Self {
        match software {
            Software::PureFtpd => Self::AllByOption,
            Software::Vsftpd | Software::Proftpd | Software::Pyftpdlib => Self::PathsWithBlanks,
            Software::Inetutils | Software::Busybox | Software::Unknown => Self::Unknown,
        }
    }
}

/// Which of the last questions is for the current directory; the others set the type.
fn fence() -> [bool; FENCE] {
    let random = RandomState::new().build_hasher().finish();
    std::array::from_fn(|bit| (random >> bit) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::{Kind, Precision};

    /// 2026-11-22 22:00 UTC.
    const NOW: Timestamp = Timestamp::from_secs(1_795_384_800);

    /// What the lines of STAT, and the line of MLST, tell: the entries, and when the directory was changed.
    fn told(listing: &[u8], facts: &[u8]) -> (Vec<(Vec<u8>, Stat)>, Option<Mtime>) {
        let mut seen = Vec::new();
        let mut glance = Glance {
            is_told: true,
            ..Glance::default()
        };
        for line in listing.split(|byte| *byte == b'\n') {
            let line = line.strip_prefix(b" ").unwrap_or(line);
            glance.take_line(line, NOW, &mut |name, stat| {
                seen.push((name.to_vec(), stat))
            });
        }
        glance.take_facts(facts);
        (seen, glance.changed())
    }

    const VSFTPD: &[u8] = b"drwxr-xr-x    3 1        1            4096 Nov 22 21:08 .
drwxr-xr-x   22 1        1            4096 Nov 22 21:08 ..
-rw-r--r--    1 1        1               5 Feb 29  2024 .hid
-rw-r--r--    1 1        1               7 Nov 22 21:08 one.txt
drwxr-xr-x    2 1        1            4096 Nov 22 21:08 sub";
    const PROFTPD: &[u8] = b" drwxr-xr-x   3 coracle  1            4096 Nov 22 21:08 .
 drwxr-xr-x  22 coracle  1            4096 Nov 22 21:08 ..
 -rw-r--r--   1 coracle  1               5 Feb 29  2024 .hid
 -rw-r--r--   1 coracle  1               7 Nov 22 21:08 one.txt
 drwxr-xr-x   2 coracle  1            4096 Nov 22 21:08 sub";
    const PYFTPDLIB: &[u8] = b"-rw-r--r--   1 1        1               5 Feb 29  2024 .hid
-rw-r--r--   1 1        1               7 Nov 22 21:08 one.txt
drwxr-xr-x   2 1        1            4096 Nov 22 21:08 sub";
    const FACTS: &[u8] = b"modify=20261122210804;perm=flcdmpe;type=dir;unique=FE00U584829; /dot";

    #[test]
    fn all_servers_tell_the_same() {
        let (entries, changed) = told(VSFTPD, b"");
        let at = Timestamp::from_civil(2026, 11, 22, 21, 8, 0).unwrap();
        let precision = Precision::Minute;
        assert_eq!(changed, Some(Mtime { at, precision }));
        let names: Vec<&[u8]> = entries.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, [&b".hid"[..], b"one.txt", b"sub"]);
        assert_eq!(entries[1].1.mtime, Some(Mtime { at, precision }));
        assert_eq!((entries[1].1.size, entries[2].1.kind), (7, Kind::Dir));
        let exact = Some(Mtime::exact(at.plus_secs(4)));
        assert_eq!(told(PROFTPD, FACTS), (entries.clone(), exact));
        assert_eq!(told(PYFTPDLIB, FACTS), (entries, exact));
    }

    #[test]
    fn without_a_time_of_its_own_a_directory_is_not_believed() {
        assert_eq!(told(PYFTPDLIB, b"").1, None);
        let of_file = b"modify=20261122210804;type=file;size=5; /dot";
        assert_eq!(told(PYFTPDLIB, of_file).1, None);
        assert_eq!(told(b"", b"").1, None);
    }

    #[test]
    fn any_nonsense_spoils_it() {
        for line in [
            &b"dot: Permission denied"[..],
            b"/:",
            b"-rw-r--r-- 1 a b 5 Feb",
        ] {
            let spoilt = [VSFTPD, b"\n", line].concat();
            assert_eq!(told(&spoilt, FACTS).1, None);
        }
        let unanswered = Glance {
            of_facts: Some(NOW),
            ..Glance::default()
        };
        assert_eq!(unanswered.changed(), None);
    }

    #[test]
    fn a_cut_listing_is_never_taken_for_the_whole_one() {
        let whole = told(VSFTPD, FACTS);
        for end in 0..VSFTPD.len() {
            assert_ne!(told(&VSFTPD[..end], FACTS), whole, "{end}");
        }
    }

    #[test]
    fn blanks_in_paths_are_for_servers_known_to_take_them() {
        assert!(Dialect::of(Software::Vsftpd) == Dialect::PathsWithBlanks);
        assert!(Dialect::of(Software::PureFtpd) == Dialect::AllByOption);
        assert!(Dialect::of(Software::Unknown) == Dialect::Unknown);
    }
}
