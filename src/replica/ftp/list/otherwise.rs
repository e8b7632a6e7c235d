//! The ways to list that are not the usual one of a server: what breaks off by one may come whole by another.

use crate::error::Result;
use crate::ftp::Reply;
use crate::replica::Listing;
use crate::replica::ftp::FtpReplica;
use crate::replica::ftp::learnt::Lists;

impl FtpReplica {
    /// Another way may tell what broke off: `LIST` in place of `MLSD`, and `STAT`, which needs no data connection. It counts
    /// where it is whole and has all that arrived.
    pub(super) fn read_otherwise(&mut self, dir: &[u8], broken: &mut Listing) -> Result<()> {
        let mut take_whole = |other: Option<Listing>| {
            let Some(mut other) = other else { return false };
            other.sort();
            let has_all = broken
                .iter()
                .all(|entry| other.find(entry.name.as_bytes()).is_some());
            let is_better = has_all && other.gap().is_none();
            if is_better {
                log::debug!(
                    "{}; it was listed in another way",
                    broken.gap().unwrap_or_default()
                );
                *broken = other;
            }
            is_better
        };
        if matches!(self.learnt.lists, Lists::Mlsd | Lists::MlsdAtBest) {
            let listed = self.read_list_once(dir)?;
            if take_whole(listed.map(|(other, _)| other)) {
                return Ok(());
            }
        }
        let told = self.read_stat(dir)?;
        take_whole(told);
        Ok(())
    }

    /// The listing on the control connection; none where the server has none, or shows nothing, not even the directory itself.
    fn read_stat(&mut self, dir: &[u8]) -> Result<Option<Listing>> {
        let Some(command) = self.stat_of(dir) else {
            return Ok(None);
        };
        let mut listing = Listing::new();
        let mut dialect = self.dialect();
        let replies = self.ask_fenced(&[command], &mut |index, line| {
            if index == 0 {
                dialect.take(line.strip_prefix(b" ").unwrap_or(line), &mut listing);
            }
        })?;
        let is_told = replies.iter().flatten().any(Reply::is_success);
        if !is_told || !dialect.has_seen {
            return Ok(None);
        }
        dialect.end(&mut listing);
        self.ask_untold(dir, &dialect.untold, &mut listing)?;
        self.settle_zone(dir, &mut listing)?;
        Ok(Some(listing))
    }

    /// Lists by `LIST` this time, if that is possible, and which form of it showed something.
    pub(super) fn read_list_once(&mut self, dir: &[u8]) -> Result<Option<(Listing, Lists)>> {
        let mut listing = Listing::new();
        let list = Lists::ListAll { proven: false };
        let usual = std::mem::replace(&mut self.learnt.lists, list);
        let listed = self.read_list(dir, &mut listing);
        let form = std::mem::replace(&mut self.learnt.lists, usual);
        match listed {
            Ok(()) => Ok(Some((listing, form))),
            Err(error) if self.session.has_failed() => Err(error),
            Err(_) => Ok(None),
        }
    }
}
