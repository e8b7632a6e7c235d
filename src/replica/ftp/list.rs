//! Listing a directory, in whichever way this server has; and doubting what comes back.

use std::sync::Arc;

use super::learnt::Lists;
use super::paths::{join, last_name};
use super::{FtpReplica, names};
use crate::error::{Error, ErrorKind, Result};
use crate::ftp::{Command, Meaning, Reply, Trick};
use crate::replica::{Kind, Listing, Mtime, Precision, Stat};
use crate::time::Timestamp;

mod dialect;
mod otherwise;
mod seen;

use dialect::Dialect;
pub(super) use dialect::{mtime_of_list, stat_of_list};
use seen::SeenFacts;

/// Files whose MDTM is asked to learn the zone of LIST: one may be gone or carry a wrong year.
const ZONE_PROBES: usize = 8;

/// Zones are whole quarters of an hour off, and none by more than this many seconds.
const ZONE_STEP_SECS: i64 = 900;
const MAX_ZONE_SECS: i64 = 26 * 3600;

/// So many directories are listed a second time to see whether `MLSD` shows names that begin with a dot: most trees have
/// one near the top.
const MAX_MLSD_TRIALS: u8 = 4;

/// What came of a way to list.
enum Yield {
    /// What there is to know.
    Good,
    /// Less than another way may tell.
    Poor(&'static str),
}

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
        self.read_shown(dir, listing)?;
        self.check_lossy(dir, listing)
    }

    /// The same without a doubt whether names are shown as they are; those of printable ASCII always are.
    pub(super) fn read_shown(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        match self.learnt.lists {
            Lists::Mlsd => self.read_facts(dir, listing)?,
            Lists::MlsdAtBest => {
                self.read_mlsd(dir, listing)?;
            }
            Lists::ListAll { .. } | Lists::List | Lists::Nlst => self.read_list(dir, listing)?,
        }
        if listing.is_broken_off() {
            self.read_otherwise(dir, listing)?;
        }
        Ok(())
    }

    /// By MLSD, unless LIST turns out to tell more.
    fn read_facts(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        let why = match self.read_mlsd(dir, listing) {
            Ok(Yield::Good) => match self.what_mlsd_hides(dir, listing)? {
                Some(whole) => {
                    self.learnt.lists = Lists::ListAll { proven: true };
                    *listing = whole;
                    return Ok(());
                }
                None => return Ok(()),
            },
            Ok(Yield::Poor(why)) => why,
            Err(error) if is_unknown_command(&error) => {
                self.learnt.lists = Lists::ListAll { proven: false };
                log::debug!("the server has no MLSD; using LIST");
                return self.read_list(dir, listing);
            }
            Err(error) => return Err(error),
        };
        self.learnt.lists = match self.read_list_once(dir)? {
            Some((other, form)) if other.gap().is_none() && other.len() >= listing.len() => {
                log::debug!("MLSD {why}; using LIST");
                *listing = other;
                form
            }
            Some(_) | None => Lists::MlsdAtBest,
        };
        Ok(())
    }

    fn read_mlsd(&mut self, dir: &[u8], listing: &mut Listing) -> Result<Yield> {
        let fresh = SeenFacts::new(self.encoding(), Arc::clone(self.session.mask()));
        let seen = self.read_lines(&Command::Mlsd(dir), listing, &fresh, SeenFacts::take)?;
        // Some servers show a directory that may not be read as an empty one.
        let doubtful = listing.is_empty() && listing.gap().is_none() && !seen.proven;
        if doubtful && !self.session.ask(&Command::Cwd(dir))?.is_success() {
            listing.mark_incomplete(
                "it looks empty, but cannot be entered, so it may hold what is not shown",
            );
        }
        if self.learnt.lists == Lists::Mlsd
            && !listing.is_empty()
            && let Some(why) = seen.lack()
        {
            return Ok(Yield::Poor(why));
        }
        self.ask_untold(dir, &seen.untold, listing)?;
        Ok(Yield::Good)
    }

    /// A server may leave names that begin with a dot out of MLSD and show them by LIST -a; then that is the way. The
    /// listing by it, where it shows more.
    fn what_mlsd_hides(&mut self, dir: &[u8], listing: &Listing) -> Result<Option<Listing>> {
        let is_dotted = |name: &[u8]| name.first() == Some(&b'.');
        let tricks = self.session.tricks();
        if !tricks.is_untried(Trick::WholeMlsd) || listing.gap().is_some() {
            return Ok(None);
        }
        if listing.iter().any(|entry| is_dotted(entry.name.as_bytes())) {
            tricks.hold(Trick::WholeMlsd);
            return Ok(None);
        }
        if self.learnt.mlsd_trials >= MAX_MLSD_TRIALS {
            return Ok(None);
        }
        self.learnt.mlsd_trials += 1;
        let Some((all, form)) = self.read_list_once(dir)? else {
            self.learnt.mlsd_trials = MAX_MLSD_TRIALS;
            return Ok(None);
        };
        let shows_more = form == (Lists::ListAll { proven: true })
            && all.gap().is_none()
            && all.iter().any(|entry| is_dotted(entry.name.as_bytes()));
        if !shows_more {
            return Ok(None);
        }
        let why = "MLSD hides names that begin with a dot; using LIST -a";
        self.session.tricks().give_up(Trick::WholeMlsd, &why);
        Ok(Some(all))
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
        let plain = match entered.meaning() {
            Meaning::Done => Command::List,
            Meaning::Unknown => Command::ListPath(dir),
            _ => return Err(self.session.refusal(&entered)),
        };
        if let (Lists::ListAll { proven }, Command::List) = (self.learnt.lists, plain) {
            match self.read_dialect(dir, &Command::ListAll, listing) {
                Ok(seen) if proven || seen => {
                    self.learnt.lists = Lists::ListAll { proven: true };
                    return self.settle_zone(dir, listing);
                }
                // It broke off before anything was seen, which says nothing of `-a`.
                Ok(_) if listing.gap().is_some() => return Ok(()),
                Ok(_) => {}
                Err(error) if is_nothing(&error) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Refused { .. }) => {
                    self.learnt.lists = Lists::List;
                }
                Err(error) => return Err(error),
            }
        }
        if self.learnt.lists == Lists::Nlst {
            return self.read_names(dir, listing);
        }
        // Nothing at all: the server may have looked for a file called `-a`.
        let seen = match self.read_dialect(dir, &plain, listing) {
            // Where nobody can be listed, nothing is refused but the wish to see it.
            Err(error) if is_nothing(&error) && entered.is_success() => return Ok(()),
            other => other?,
        };
        if seen {
            self.learnt.lists = Lists::List;
        }
        self.settle_zone(dir, listing)
    }

    /// Lists the current directory, or the one that the command names; whether anything was seen, be it `.` alone.
    fn read_dialect(
        &mut self,
        dir: &[u8],
        command: &Command<'_>,
        listing: &mut Listing,
    ) -> Result<bool> {
        let may_have_years = self.is_stranger();
        let fresh = self.dialect();
        let mut dialect = self.read_lines(command, listing, &fresh, Dialect::take)?;
        if may_have_years && self.has_years_behind(dir, &dialect)? {
            log::debug!("the year stands behind the time of day");
            self.learnt.has_years_behind = true;
            listing.clear();
            // The question may have led elsewhere.
            let _ = self.session.ask(&Command::Cwd(dir))?;
            return self.read_dialect(dir, command, listing);
        }
        dialect.end(listing);
        if dialect.understood_nothing() && self.learnt.lists != Lists::Nlst {
            let mut names = Listing::new();
            match self.read_names(dir, &mut names) {
                Ok(()) if names.iter().any(|entry| entry.stat.kind != Kind::Special) => {
                    self.learnt.lists = Lists::Nlst;
                    *listing = names;
                    return Ok(true);
                }
                Err(error) if self.session.has_failed() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.ask_untold(dir, &dialect.untold, listing)?;
        Ok(dialect.has_seen)
    }

    /// What reads the lines of a LIST.
    fn dialect(&self) -> Dialect {
        let mask = Arc::clone(self.session.mask());
        Dialect::new(self.encoding(), mask, self.learnt.has_years_behind)
    }

    /// Whether what begins all names is the year. Where there is a file, the server knows it by one of the two names.
    fn has_years_behind(&mut self, dir: &[u8], dialect: &Dialect) -> Result<bool> {
        let Some((kind, with_year, without)) = dialect.year_or_name() else {
            return Ok(false);
        };
        let (long, short) = (join(dir, with_year), join(dir, without));
        let ask = |path| match kind {
            Kind::Dir => Command::Cwd(path),
            Kind::File | Kind::Special => Command::Size(path),
        };
        let replies = self.session.ask_all(&[ask(&long), ask(&short)])?;
        let is_known = |reply: &Result<_>| reply.as_ref().is_ok_and(Reply::is_success);
        Ok(match (is_known(&replies[0]), is_known(&replies[1])) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => dialect.dated > 1,
        })
    }

    /// Lists the current directory by names alone, and asks for each of them.
    fn read_names(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
        let encoding = self.encoding();
        let take = |untold: &mut Vec<usize>, line: &[u8], listing: &mut Listing| {
            // Some servers put the path before each name.
            let name = last_name(line);
            if !matches!(name, b"" | b"." | b"..") {
                untold.push(listing.len());
                listing.push(&names::decode(name, encoding), special());
            }
        };
        let untold = self.read_lines(&Command::Nlst, listing, &Vec::new(), take)?;
        self.ask_untold(dir, &untold, listing)
    }

    /// Asks for what a listing leaves open: SIZE tells a file, CWD a directory. What nobody tells stays as it is.
    fn ask_untold(&mut self, dir: &[u8], untold: &[usize], listing: &mut Listing) -> Result<()> {
        let paths: Vec<(usize, Vec<u8>)> = untold
            .iter()
            .filter_map(|index| Some((*index, self.child(dir, listing, *index)?)))
            .collect();
        let commands: Vec<Command<'_>> = paths
            .iter()
            .flat_map(|(_, path)| [Command::Size(path), Command::Cwd(path)])
            .collect();
        let replies = self.session.ask_all(&commands)?;
        for ((index, _), pair) in paths.iter().zip(replies.chunks(2)) {
            let size = pair[0].as_ref().ok().and_then(super::look::size_in);
            let is_dir = pair[1].as_ref().is_ok_and(Reply::is_success);
            let mtime = listing.at(*index).and_then(|entry| entry.stat.mtime);
            let stat = match (is_dir, size) {
                (true, _) => Stat::dir(),
                (false, Some(size)) => Stat {
                    kind: Kind::File,
                    size,
                    mtime,
                },
                (false, None) => continue,
            };
            listing.set_stat(*index, stat);
        }
        Ok(())
    }

    /// The full path of an entry.
    fn child(&self, dir: &[u8], listing: &Listing, index: usize) -> Option<Vec<u8>> {
        let entry = listing.at(index)?;
        Some(self.below(dir, entry.name.as_bytes()))
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
            if let Some(mtime) = &mut stat.mtime
                && !mtime.precision.is_exact()
            {
                mtime.at = mtime.at.plus_secs(zone_secs);
                listing.set_stat(index, stat);
            }
        }
        Ok(())
    }

    fn learn_zone(&mut self, dir: &[u8], listing: &Listing) -> Result<Option<i64>> {
        let told = |precision: Precision| {
            listing
                .iter()
                .filter(|entry| entry.stat.kind == Kind::File)
                .filter_map(move |entry| Some((entry.name, entry.stat.mtime?)))
                .filter(move |(_, mtime)| mtime.precision == precision)
                .take(ZONE_PROBES)
        };
        let mut probes: Vec<(Vec<u8>, Mtime)> = told(Precision::Minute)
            .map(|(name, mtime)| (self.below(dir, name.as_bytes()), mtime))
            .collect();
        if probes.is_empty() && self.is_stranger() {
            // Days tell no zone, but whether MDTM speaks of the same times at all.
            probes = told(Precision::Day)
                .map(|(name, mtime)| (self.below(dir, name.as_bytes()), mtime))
                .collect();
        }
        let commands: Vec<Command<'_>> =
            probes.iter().map(|(path, _)| Command::Mdtm(path)).collect();
        let replies = self.session.ask_all(&commands)?;
        let pairs: Vec<(Mtime, Timestamp)> = replies
            .iter()
            .zip(&probes)
            .filter_map(|(reply, (_, listed))| {
                let reply = reply.as_ref().ok().filter(|reply| reply.is_success())?;
                let exact = Timestamp::parse_ftp(reply.last_line().trim_ascii())?;
                Some((*listed, exact))
            })
            .collect();
        if self.is_stranger() && !pairs.is_empty() && !pairs.iter().any(speak_of_one_time) {
            log::debug!("MDTM tells other times than LIST; they are not used");
            self.learnt.has_wrong_mdtm = true;
            return Ok(None);
        }
        Ok(pairs
            .iter()
            .filter(|(listed, _)| listed.precision == Precision::Minute)
            .find_map(|(listed, exact)| zone_between(listed.at, *exact)))
    }

    /// Looks at names with a question mark, which some servers put in place of what they cannot express. Where such a
    /// name is denied, other names may be missing, too.
    pub(super) fn check_lossy(&mut self, dir: &[u8], listing: &mut Listing) -> Result<()> {
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
            .filter_map(|index| self.child(dir, listing, *index))
            .collect();
        let commands: Vec<Command<'_>> = paths.iter().map(|path| Command::Size(path)).collect();
        let replies = self.session.ask_all(&commands)?;
        for (index, reply) in doubted.into_iter().zip(replies) {
            if reply.is_ok_and(|reply| reply.meaning() != Meaning::No) {
                continue;
            }
            listing.set_stat(index, special());
            listing.mark_incomplete("the server cannot show all names as they are");
        }
        Ok(())
    }
}

/// Something that is there, and of which nothing more is known.
const fn special() -> Stat {
    Stat {
        kind: Kind::Special,
        size: 0,
        mtime: None,
    }
}

fn is_unknown_command(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Refused { code, .. } if Meaning::of(*code) == Meaning::Unknown)
}

/// Whether a listing was refused because there is nothing to list.
fn is_nothing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Refused { text, .. } if crate::ftp::says_nothing_there(text))
}

/// A 64-bit FNV-1a hash; never 0, which stands for none.
fn fnv(text: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = text.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    });
    hash.max(1)
}

/// Whether a listed time and an exact one may be one and the same, in some zone and in a year that was guessed.
fn speak_of_one_time((listed, exact): &(Mtime, Timestamp)) -> bool {
    const DAY_SECS: i64 = 86_400;
    const YEAR_DAYS: i64 = 365;
    let apart = exact.as_secs() - listed.at.as_secs();
    let days = apart.div_euclid(DAY_SECS);
    let years = (days + YEAR_DAYS / 2).div_euclid(YEAR_DAYS);
    // Two days for the zone and the hour, and one for each leap year.
    (days - years * YEAR_DAYS).abs() <= 2 + years.abs() / 4 + 1
}

/// The seconds from a listed minute to the true time, as far as a zone explains them.
fn zone_between(listed: Timestamp, exact: Timestamp) -> Option<i64> {
    let apart = exact.as_secs() - listed.as_secs();
    let zone = apart.div_euclid(ZONE_STEP_SECS) * ZONE_STEP_SECS;
    (apart.rem_euclid(ZONE_STEP_SECS) < 60 && zone.abs() <= MAX_ZONE_SECS).then_some(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_that_counts_from_zero_is_another_time() {
        let at = Timestamp::from_civil(2023, 11, 14, 0, 0, 0).unwrap();
        let listed = Mtime {
            at,
            precision: Precision::Day,
        };
        let is_one = |days: i64| speak_of_one_time(&(listed, at.plus_secs(days * 86_400)));
        assert!(is_one(0) && is_one(1) && is_one(-1) && is_one(-365) && is_one(-731));
        assert!(!is_one(-31) && !is_one(-28) && !is_one(-365 - 30));
    }

    #[test]
    fn unique_facts_are_hashed_by_the_book() {
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
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
