//! Listing a directory: MLSD where there is one, else LIST; and doubting what comes back.

use super::look::stat_of_facts;
use super::{FtpReplica, Lists, join};
use crate::error::{Error, ErrorKind, Result};
use crate::ftp::{Command, Facts, FactsKind, ListEntry, ListKind, ListLine, TimeUnit, parse_line};
use crate::path::Escaped;
use crate::replica::{Kind, Listing, Mtime, Precision, Stat};
use crate::time::Timestamp;

/// A longer line is no line of a listing: names have at most 1024 bytes.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// Read at a time from a listing.
const CHUNK_BYTES: usize = 16 * 1024;

/// Words with which a server that says 226 confesses that not all was listed.
const CONFESSIONS: [&str; 7] = [
    "truncat",
    "unable",
    "fail",
    "denied",
    "incomplete",
    "cannot",
    "could not",
];

/// Files whose MDTM is asked to learn the zone of LIST: one may be gone or carry a wrong year.
const ZONE_PROBES: usize = 8;

/// Zones are whole quarters of an hour off, and none by more than this many seconds.
const ZONE_STEP_SECS: i64 = 900;
const MAX_ZONE_SECS: i64 = 26 * 3600;

impl FtpReplica {
    /// Lists a full path; [`ErrorKind::NotFound`] only when the directory is certainly not there.
    pub(super) fn list_path(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        match self.read_listing(dir, listing) {
            Err(error) if matches!(error.kind(), ErrorKind::Refused { .. }) => {
                Err(self.why_unlisted(dir, error))
            }
            other => other,
        }
    }

    /// Lists a full path, in whichever way this server has. The entries are not sorted.
    pub(super) fn read_listing(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        if self.learnt.lists == Lists::Mlsd {
            match self.read_mlsd(dir, listing) {
                Err(error) if is_unknown_command(&error) => {
                    log::debug!("the server has no MLSD; using LIST");
                    self.learnt.lists = Lists::ListAll { proven: false };
                }
                other => return other.and_then(|()| self.check_lossy(dir, listing)),
            }
        }
        self.read_list(dir, listing)?;
        self.check_lossy(dir, listing)
    }

    fn read_mlsd(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        let mut proven = false;
        self.read_lines(&Command::Mlsd(dir), listing, |line, listing| {
            let Some(facts) = Facts::parse(line) else {
                return listing.mark_incomplete("a line of the listing could not be understood");
            };
            match facts.kind {
                FactsKind::CurrentDir => proven |= facts.may_enter(),
                FactsKind::ParentDir => {}
                _ if matches!(facts.name, b"." | b"..") => {}
                FactsKind::File | FactsKind::Dir | FactsKind::Unknown => {
                    listing.push(facts.name, stat_of_facts(&facts));
                }
            }
        })?;
        // Some servers show a directory that may not be read as an empty one.
        let doubtful = listing.is_empty() && listing.gap().is_none() && !proven;
        if doubtful && !self.session.ask(&Command::Cwd(dir))?.is_success() {
            listing.mark_incomplete(
                "it looks empty, but cannot be entered, so it may hold what is not shown",
            );
        }
        Ok(())
    }

    /// Goes there and lists: a path given to LIST is taken for a pattern, an option or several names by one server or
    /// another, and a directory that is not there looks empty.
    fn read_list(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        let mut commands = vec![Command::Cwd(dir)];
        commands.extend(self.session.port_command());
        let mut replies = self.session.ask_all(&commands)?.into_iter();
        let entered = replies
            .next()
            .unwrap_or_else(|| Err(self.session.failure()))?;
        if let Some(Ok(port)) = replies.next() {
            self.session.take_port(&port);
        }
        if !entered.is_success() {
            return Err(self.session.refusal(&entered));
        }
        if let Lists::ListAll { proven } = self.learnt.lists {
            match self.read_list_here(&Command::ListAll, listing) {
                Ok(seen) => {
                    if proven || seen {
                        self.learnt.lists = Lists::ListAll { proven: true };
                        return self.settle_zone(dir, listing);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::Refused { .. }) => {
                    self.learnt.lists = Lists::List;
                }
                Err(error) => return Err(error),
            }
        }
        // Nothing at all: the server may have looked for a file called `-a`.
        let seen = self.read_list_here(&Command::List, listing)?;
        if seen {
            self.learnt.lists = Lists::List;
        }
        self.settle_zone(dir, listing)
    }

    /// Lists the current directory; whether anything was seen, be it `.` alone.
    fn read_list_here(&mut self, command: &Command<'_>, listing: &mut Listing) -> Result<bool> {
        let now = Timestamp::now();
        let mut seen = false;
        self.read_lines(command, listing, |line, listing| {
            match parse_line(line, now) {
                ListLine::Nothing => {}
                ListLine::Unreadable => {
                    seen = true;
                    listing.mark_incomplete(format!(
                        "a line of the listing could not be understood: \"{}\"",
                        Escaped(&line[..line.len().min(80)])
                    ));
                }
                ListLine::Entry(entry) => {
                    seen = true;
                    if !matches!(entry.name, b"." | b"..") {
                        listing.push(entry.name, stat_of_list(&entry));
                    }
                }
            }
        })?;
        Ok(seen)
    }

    /// Runs a transfer of lines. What breaks off is marked in the listing; an error means that nothing was listed.
    fn read_lines(
        &mut self,
        command: &Command<'_>,
        listing: &mut Listing,
        mut take: impl FnMut(&[u8], &mut Listing),
    ) -> Result<()> {
        let mut transfer = self.session.begin(command, 0)?;
        if let Err(error) = self.session.await_start(&mut transfer) {
            // The refusal was the final reply; ending only closes the data connection.
            let _ = self.session.end(transfer);
            return Err(error);
        }
        let mut lines = Lines::default();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            match transfer.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => lines.feed(&buffer[..count], &mut |line| take(line, listing)),
                Err(error) if matches!(error.kind(), ErrorKind::Timeout(_)) => {
                    return Err(self.session.fail(error));
                }
                Err(error) => {
                    listing.mark_incomplete(format!("the listing broke off: {error}"));
                    break;
                }
            }
        }
        if let Some(why) = lines.flaw() {
            listing.mark_incomplete(why);
        }
        let reply = self.session.end(transfer)?;
        if !reply.is_success() {
            let error = self.session.refusal(&reply);
            listing.mark_incomplete(format!("the listing broke off: {error}"));
        } else if reply.mentions(&CONFESSIONS) {
            let error = self.session.refusal(&reply);
            listing.mark_incomplete(format!("the server says that not all is listed: {error}"));
        }
        Ok(())
    }

    /// Moves the times of LIST, which are in the server's zone, to UTC. The zone is learnt once, from files whose
    /// exact time MDTM tells.
    fn settle_zone(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        let zone_secs = match self.learnt.zone_secs {
            Some(zone) => zone,
            None => match self.learn_zone(dir, listing)? {
                Some(zone) => *self.learnt.zone_secs.insert(zone),
                None => 0,
            },
        };
        if zone_secs == 0 {
            return Ok(());
        }
        for index in 0..listing.len() {
            let Some(entry) = listing.at(index) else {
                break;
            };
            let mut stat = entry.stat;
            if let Some(mtime) = &mut stat.mtime {
                mtime.at = mtime.at.plus_secs(zone_secs);
                listing.set_stat(index, stat);
            }
        }
        Ok(())
    }

    fn learn_zone(&mut self, dir: &[u8], listing: &Listing) -> Result<Option<i64>> {
        let probes: Vec<(Vec<u8>, Timestamp)> = listing
            .iter()
            .filter(|entry| entry.stat.kind == Kind::File)
            .filter_map(|entry| {
                let mtime = entry.stat.mtime?;
                (mtime.precision == Precision::Minute)
                    .then(|| (join(dir, entry.name.as_bytes()), mtime.at))
            })
            .take(ZONE_PROBES)
            .collect();
        let commands: Vec<Command<'_>> =
            probes.iter().map(|(path, _)| Command::Mdtm(path)).collect();
        let replies = self.session.ask_all(&commands)?;
        let zone = replies
            .iter()
            .zip(&probes)
            .find_map(|(reply, (_, listed))| {
                let reply = reply.as_ref().ok().filter(|reply| reply.code == 213)?;
                zone_between(
                    *listed,
                    Timestamp::parse_ftp(reply.last_line().trim_ascii())?,
                )
            });
        Ok(zone)
    }

    /// Looks at names with a question mark, which some servers put in place of what they cannot express. Where such a
    /// name is denied, other names may be missing, too.
    fn check_lossy(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        let doubted: Vec<usize> = listing
            .iter()
            .enumerate()
            .filter(|(_, entry)| {
                entry.name.as_bytes().contains(&b'?') && entry.stat.kind == Kind::File
            })
            .map(|(index, _)| index)
            .collect();
        let paths: Vec<Vec<u8>> = doubted
            .iter()
            .filter_map(|index| listing.at(*index))
            .map(|entry| join(dir, entry.name.as_bytes()))
            .collect();
        let commands: Vec<Command<'_>> = paths.iter().map(|path| Command::Size(path)).collect();
        let replies = self.session.ask_all(&commands)?;
        for (index, reply) in doubted.into_iter().zip(replies) {
            if reply.is_ok_and(|reply| reply.code != 550) {
                continue;
            }
            let special = Stat {
                kind: Kind::Special,
                size: 0,
                mtime: None,
            };
            listing.set_stat(index, special);
            listing.mark_incomplete("the server cannot show all names as they are");
        }
        Ok(())
    }
}

fn is_unknown_command(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Refused {
            code: 500 | 502 | 504,
            ..
        }
    )
}

/// What a line of LIST says of an entry.
pub(super) fn stat_of_list(entry: &ListEntry<'_>) -> Stat {
    match entry.kind {
        ListKind::File => Stat {
            kind: Kind::File,
            size: entry.size,
            mtime: Some(mtime_of_list(entry)),
        },
        ListKind::Dir => Stat::dir(),
        ListKind::Special => Stat {
            kind: Kind::Special,
            size: 0,
            mtime: None,
        },
    }
}

/// The time in a line of LIST, in the server's zone.
pub(super) const fn mtime_of_list(entry: &ListEntry<'_>) -> Mtime {
    Mtime {
        at: entry.time,
        precision: match entry.unit {
            TimeUnit::Minute => Precision::Minute,
            TimeUnit::Day => Precision::Day,
        },
    }
}

/// The seconds from a listed minute to the true time, as far as a zone explains them.
fn zone_between(listed: Timestamp, exact: Timestamp) -> Option<i64> {
    let apart = exact.as_secs() - listed.as_secs();
    let zone = apart.div_euclid(ZONE_STEP_SECS) * ZONE_STEP_SECS;
    (apart.rem_euclid(ZONE_STEP_SECS) < 60 && zone.abs() <= MAX_ZONE_SECS).then_some(zone)
}

/// Cuts a stream into lines, and notes what is wrong with it.
#[derive(Default)]
struct Lines {
    /// A line whose end has not come.
    rest: Vec<u8>,
    /// Whether the present line is passed over for its length.
    skipping: bool,
    overlong: bool,
    with_cr: bool,
    without_cr: bool,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], take: &mut dyn FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = (&bytes[..end], &bytes[end + 1..]);
            bytes = tail;
            if std::mem::take(&mut self.skipping) {
                self.rest.clear();
                continue;
            }
            if self.rest.is_empty() {
                self.take_line(head, take);
            } else {
                self.rest.extend_from_slice(head);
                let line = std::mem::take(&mut self.rest);
                self.take_line(&line, take);
                self.rest = line;
                self.rest.clear();
            }
        }
        if self.skipping {
            return;
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > MAX_LINE_BYTES {
            (self.skipping, self.overlong) = (true, true);
            self.rest.clear();
        }
    }

    fn take_line(&mut self, line: &[u8], take: &mut dyn FnMut(&[u8])) {
        match line.strip_suffix(b"\r") {
            Some(line) => {
                self.with_cr = true;
                take(line);
            }
            None => {
                self.without_cr = true;
                take(line);
            }
        }
    }

    /// What is wrong with all that was read.
    fn flaw(&self) -> Option<&'static str> {
        if self.overlong {
            Some("a line of the listing is longer than 8 KiB")
        } else if self.with_cr && self.without_cr {
            // A name with a line break looks like this.
            Some("the lines of the listing do not end alike, so a name may hold a line break")
        } else if !self.rest.is_empty() || self.skipping {
            Some("the listing ends within a line")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> (Vec<String>, Option<&'static str>) {
        let mut lines = Lines::default();
        let mut taken = Vec::new();
        for piece in pieces {
            lines.feed(piece, &mut |line| {
                taken.push(String::from_utf8_lossy(line).into_owned())
            });
        }
        (taken, lines.flaw())
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let text = b"one\r\ntwo\r\n\r\nthree\r\n";
        let whole = cut(&[text]);
        assert_eq!(whole.0, ["one", "two", "", "three"]);
        assert_eq!(whole.1, None);
        for at in 0..text.len() {
            assert_eq!(cut(&[&text[..at], &text[at..]]), whole);
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(cut(&bytes), whole);
    }

    #[test]
    fn notes_cut_mixed_and_endless_lines() {
        assert_eq!(
            cut(&[b"one\r\ntw"]).1,
            Some("the listing ends within a line")
        );
        assert!(
            cut(&[b"one\ntwo\r\n"])
                .1
                .is_some_and(|why| why.contains("line break"))
        );
        let (taken, flaw) = cut(&[&[b'x'; 9000], b"rest\r\n", b"two\r\n"]);
        assert_eq!(taken, ["two"]);
        assert!(flaw.is_some_and(|why| why.contains("8 KiB")));
    }

    #[test]
    fn a_zone_is_whole_quarters_of_an_hour() {
        let listed = Timestamp::from_secs(1_000_000_020 / 60 * 60);
        assert_eq!(
            zone_between(listed, listed.plus_secs(18_000 + 59)),
            Some(18_000)
        );
        assert_eq!(
            zone_between(listed, listed.plus_secs(-34_200 + 5)),
            Some(-34_200)
        );
        assert_eq!(zone_between(listed, listed.plus_secs(7)), Some(0));
        assert_eq!(zone_between(listed, listed.plus_secs(61)), None);
        assert_eq!(zone_between(listed, listed.plus_secs(40 * 86_400)), None);
    }
}
