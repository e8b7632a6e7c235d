//! Writing a file: partial name, check, time, rename, check again.
//!
//! The server's word counts for nothing here: the size is asked after the transfer and the final name after the
//! rename, and only what these answers show is reported.

use super::learnt::Looks;
use super::look::unkept_name;
use super::mode::Modes;
use super::paths::{last_name, parent};
use super::{FtpReplica, SetTime, Setter, names};
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::ftp::{Command, Reply, Transfer};
use crate::replica::checks::{Litter, check_aside, check_replaced, misread};
use crate::replica::{Listing, NewFile, Source, Stat, Times, Watch, Written};
use crate::time::Timestamp;

/// Read and sent at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Moved at a time inside the kernel; the watch is asked in between.
const KERNEL_CHUNK_BYTES: usize = 256 * 1024;

/// So much is sent before the server has said that it takes the file: a small file saves the wait, and a refusal
/// costs little.
const EAGER_BYTES: u64 = 16 * 1024;

/// The ways to set a time, the best first.
const SETTERS: [SetTime; 4] = [
    SetTime::Mfmt,
    SetTime::Mdtm,
    SetTime::SiteUtime,
    SetTime::SiteUtimeLong,
];

/// The bytes under the partial name, looked at.
struct Stored {
    partial: Stat,
    times: Times,
    modes: Modes,
    /// What is under the final name now.
    present: Option<Stat>,
    /// What is where the old file is to go.
    aside: Option<Stat>,
}

impl FtpReplica {
    pub(super) fn write_file(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        let place = self.full(file.path);
        if self.rewrites(&place) || (!place.is_ascii() && self.learnt.keeps_letters == Some(false))
        {
            return Err(unkept_name());
        }
        if self.connector.location.habits.in_place {
            return self.write_in_place(file, source, watch);
        }
        let partial = self.full(file.partial);
        if file.resume_at > 0 {
            self.check_partial(&partial, file.resume_at)?;
        }
        if let Err((error, litter)) = self.store(&partial, file, source, watch) {
            if litter == Litter::Useless || !file.keep_partial {
                self.clean_up(&partial);
            }
            return Err(error);
        }
        let placed = self.place(&partial, file, watch);
        let checked = placed.and_then(|written| {
            self.check_letters(&place, &written.stat)?;
            Ok(written)
        });
        match checked {
            Ok(written) => Ok(written),
            Err(error) => {
                self.clean_up(&partial);
                Err(error)
            }
        }
    }

    /// A stranger may show another name than it was told, and know it only by what it was told (Twisted). The first name that
    /// is no ASCII tells. A server that takes both names for one (NFC and NFD) keeps it.
    fn check_letters(&mut self, place: &[u8], placed: &Stat) -> Result<()> {
        let is_known =
            place.is_ascii() || !self.is_stranger() || self.learnt.keeps_letters.is_some();
        let Some(dir) = parent(place).filter(|_| !is_known) else {
            return Ok(());
        };
        let mut listing = Listing::new();
        self.read_listing(dir, &mut listing)?;
        listing.sort();
        let name = names::decode(last_name(place), self.encoding());
        let mut is_shown = listing.find(&name).is_some();
        if !is_shown && listing.gap().is_some() {
            return Ok(());
        }
        // A listing that is looked at once more would prove nothing.
        if !is_shown && self.learnt.looks != Looks::Listing {
            let others = listing
                .iter()
                .filter(|other| !other.name.as_bytes().is_ascii() && other.stat.may_equal(placed));
            let others: Vec<Vec<u8>> = others
                .map(|other| self.below(dir, other.name.as_bytes()))
                .collect();
            let others: Vec<&[u8]> = others.iter().map(|other| &other[..]).collect();
            let (_, stats) = self.send_and_look(&[], &others)?;
            is_shown = (stats.iter().flatten()).any(|stat| stat.may_equal(placed));
        }
        self.learnt.keeps_letters = Some(is_shown);
        if is_shown {
            return Ok(());
        }
        self.clean_up(place);
        Err(unkept_name())
    }

    /// A partial file is continued only at exactly its present end: servers leave holes or append elsewhere.
    fn check_partial(&mut self, partial: &[u8], size: u64) -> Result<()> {
        let (_, stats) = self.send_and_look(&[], &[partial])?;
        match stats.first() {
            Some(Some(stat)) if stat.size == size => Ok(()),
            _ => Err(ErrorKind::Changed("the partial file is not as it was left").into()),
        }
    }

    /// Writes under the final name at once, for servers that rename nothing. What breaks off is removed: a short file would
    /// be taken for a changed one.
    fn write_in_place(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        let place = self.full(file.path);
        let present = self.look_at_one(&place)?;
        check_replaced(file.replaces, present)?;
        if let (Some(aside), Some(_)) = (file.set_aside, present) {
            let aside = self.full(aside);
            self.rename_path(&place, &aside)?;
            self.check_moved(&place, &aside)?;
        }
        watch.overwriting();
        let whole = NewFile {
            resume_at: 0,
            ..*file
        };
        let written = match self.store(&place, &whole, source, watch) {
            Ok(()) => self.finish_in_place(&place, file, watch),
            Err((error, _)) => Err(error),
        };
        if written.is_err() {
            self.clean_up(&place);
        }
        written
    }

    fn finish_in_place(
        &mut self,
        place: &[u8],
        file: &NewFile<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        let stored = self.inspect(place, &[place], file.mtime)?;
        check_size(&stored, file)?;
        watch.placing(&stored.partial, stored.times)?;
        if let Some(mode) = file.mode {
            self.give_mode(place, mode, stored.modes)?;
        }
        Ok(Written {
            stat: stored.partial,
            times: stored.times,
            inode: 0,
            digest: None,
        })
    }

    /// Moves the bytes under the partial name, and says what a failure leaves there.
    fn store(
        &mut self,
        partial: &[u8],
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<(), (Error, Litter)> {
        let mut transfer = self
            .session
            .begin(&Command::Stor(partial), file.resume_at)
            .map_err(unbegun)?;
        let moved = self.pump(&mut transfer, file, source, watch);
        match moved {
            Ok(()) => {}
            Err(Stop::Source(error)) => {
                self.session.abandon(transfer);
                let litter = Litter::after(&error);
                return Err((error, litter));
            }
            Err(Stop::Refused(error)) => {
                self.session.abandon(transfer);
                return Err(unbegun(error));
            }
            Err(Stop::Data(error)) => return Err(self.explain(transfer, error)),
        }
        let reply = self
            .session
            .end(transfer)
            .map_err(|error| (error, Litter::Resumable))?;
        if !reply.is_success() {
            let error = self.session.refusal(&reply);
            let litter = Litter::after(&error);
            return Err((error, litter));
        }
        // Only now: what the source finds out may take as long as the transfer did.
        source.finish().map_err(|error| (error, Litter::Useless))
    }

    fn pump(
        &mut self,
        transfer: &mut Transfer,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<(), Stop> {
        let mut left = file.size - file.resume_at.min(file.size);
        let mut sent = 0;
        let mut by_kernel = left > EAGER_BYTES && source.as_fd().is_some();
        let eager = self.session.takes_data_early();
        let mut buffer = Vec::new();
        loop {
            if !eager || sent >= EAGER_BYTES || by_kernel {
                self.session.await_start(transfer).map_err(Stop::Refused)?;
            }
            if by_kernel && left > 0 {
                let max = KERNEL_CHUNK_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX));
                let moved = match source.as_fd() {
                    Some(fd) => transfer.write_from(fd, max).map_err(Stop::Data)?,
                    None => None,
                };
                match moved {
                    Some(count) if count > 0 => {
                        source.moved_by_fd(count as u64);
                        (sent, left) = (sent + count as u64, left - count as u64);
                        watch.moved(count as u64).map_err(Stop::Source)?;
                        continue;
                    }
                    // At its end early, or not to be moved so: an ordinary read tells which.
                    Some(_) | None => by_kernel = false,
                }
            }
            if buffer.is_empty() {
                let fitting = usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX);
                buffer = vec![0; CHUNK_BYTES.min(fitting)];
            }
            let count = source.read(&mut buffer).map_err(Stop::Source)?;
            if count == 0 {
                break;
            }
            left = left
                .checked_sub(count as u64)
                .ok_or_else(|| Stop::Source(misread(source)))?;
            transfer.write_all(&buffer[..count]).map_err(Stop::Data)?;
            sent += count as u64;
            watch.moved(count as u64).map_err(Stop::Source)?;
        }
        if left > 0 {
            return Err(Stop::Source(misread(source)));
        }
        Ok(())
    }

    /// A data connection that breaks is explained by the final reply, where one comes.
    fn explain(&mut self, transfer: Transfer, error: Error) -> (Error, Litter) {
        if matches!(
            error.kind(),
            ErrorKind::Timeout(_) | ErrorKind::Interrupted(_)
        ) {
            return (self.session.fail(error), Litter::Resumable);
        }
        let error = match self.session.end(transfer) {
            Ok(reply) if !reply.is_success() => self.session.refusal(&reply),
            // Some servers confirm what they have got of it.
            Ok(_) => error.while_doing("the data connection broke off"),
            Err(lost) => lost,
        };
        let litter = Litter::after(&error);
        (error, litter)
    }

    /// Checks what lies under the partial name, gives it its time, and renames it.
    fn place(
        &mut self,
        partial: &[u8],
        file: &NewFile<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        let place = self.full(file.path);
        let aside = file.set_aside.map(|aside| self.full(aside));
        let mut paths: Vec<&[u8]> = vec![partial, &place];
        paths.extend(aside.as_deref());
        let stored = self.inspect(partial, &paths, file.mtime)?;
        check_size(&stored, file)?;
        check_replaced(file.replaces, stored.present)?;
        check_aside(stored.aside)?;
        watch.placing(&stored.partial, stored.times)?;
        match file.mode {
            Some(mode) => self.give_mode(partial, mode, stored.modes)?,
            None if stored.present.is_some() => {
                self.take_over_mode(partial, &place, stored.modes)?;
            }
            None => {}
        }
        let stat = match (&aside, stored.present) {
            (Some(aside), Some(_)) => {
                self.set_aside(&place, aside)?;
                self.rename_free(partial, &place, &stored.partial)
                    .inspect_err(|_| self.put_back(aside, &place))?
            }
            (None, Some(_)) if self.learnt.renames_over => {
                self.rename_over(partial, &place, &stored.partial)?
            }
            (None, Some(_)) => self.rename_around(partial, &place, &stored.partial)?,
            (_, None) => self.rename_free(partial, &place, &stored.partial)?,
        };
        Ok(Written {
            stat,
            times: stored.times,
            inode: 0,
            digest: None,
        })
    }

    /// Sets the time, and looks at the paths (partial, final, where the old file goes), in one go where the way to set
    /// it is known.
    fn inspect(
        &mut self,
        partial: &[u8],
        paths: &[&[u8]],
        mtime: Option<Timestamp>,
    ) -> Result<Stored> {
        let Some(mtime) = mtime else {
            let (_, stats, modes) = self.send_and_look_closely(&[], paths)?;
            return self.stored(paths, &stats, modes, self.capability());
        };
        let ladder: &[SetTime] = match &self.learnt.setter {
            Setter::Untried => &SETTERS,
            Setter::Known(known) => &[*known],
            Setter::Missing => &[],
        };
        let ladder = ladder.to_vec();
        let mut last = None;
        for set_time in ladder {
            if set_time == SetTime::Mfmt
                && self.session.features().told
                && !self.session.features().mfmt
            {
                continue;
            }
            let command = set_time.command(mtime, partial);
            let (replies, stats, modes) = self.send_and_look_closely(&[command], paths)?;
            // A success is believed only when the file shows that time.
            let took = replies.iter().all(Reply::is_success)
                && stats.first().copied().flatten().is_some_and(|stat| {
                    stat.exact_mtime()
                        .is_some_and(|shown| shown.is_close_to(mtime))
                });
            if took {
                if self.learnt.setter == Setter::Untried {
                    log::debug!("modification times are set with {set_time:?}");
                }
                self.learnt.setter = Setter::Known(set_time);
                return self.stored(paths, &stats, modes, Times::Kept);
            }
            last = Some((set_time, replies, stats, modes));
        }
        let Some((_, replies, stats, modes)) = last else {
            self.learnt.setter = Setter::Missing;
            let (_, stats, modes) = self.send_and_look_closely(&[], paths)?;
            return self.stored(paths, &stats, modes, Times::Lost);
        };
        // A way that MFMT promises may have failed for this file alone.
        let is_hopeless =
            !self.session.features().mfmt && replies.iter().all(|reply| !reply.is_success());
        if self.learnt.setter == Setter::Untried && is_hopeless {
            self.learnt.setter = Setter::Missing;
        }
        self.stored(paths, &stats, modes, Times::Lost)
    }

    /// What was told of the paths. Where a stranger denies what it has just confirmed, the listing of the directory tells,
    /// and how it was asked is of no use.
    fn stored(
        &mut self,
        paths: &[&[u8]],
        stats: &[Option<Stat>],
        modes: Modes,
        times: Times,
    ) -> Result<Stored> {
        let mut stats = stats.to_vec();
        if let (Some(None), Some(partial)) = (stats.first(), paths.first()) {
            let has_confirmed = self.learnt.has_confirmed;
            stats[0] = self.look_at_one(partial)?;
            let is_useless = stats[0].is_some() && !has_confirmed;
            if is_useless && self.learnt.looks != Looks::Listing {
                self.learnt.leave_looks(self.learnt.looks);
                (_, stats) = self.send_and_look(&[], paths)?;
            }
        }
        let partial = stats.first().copied().flatten().ok_or_else(|| {
            let text = "the server confirmed the file, but does not show it".to_owned();
            Error::new(ErrorKind::Verify(text))
        })?;
        Ok(Stored {
            partial,
            times,
            modes,
            present: stats.get(1).copied().flatten(),
            aside: stats.get(2).copied().flatten(),
        })
    }

    fn capability(&self) -> Times {
        match self.learnt.setter {
            Setter::Untried => Times::Unknown,
            Setter::Known(_) => Times::Kept,
            Setter::Missing => Times::Lost,
        }
    }

    /// Removes a partial file that nobody can use. A failure leaves litter that the next run finds by its name.
    fn clean_up(&mut self, partial: &[u8]) {
        let _ = self.session.ask(&Command::Dele(partial));
    }
}

/// Why the bytes stopped.
enum Stop {
    /// The source or the watch.
    Source(Error),
    /// The data connection.
    Data(Error),
    /// The server did not want the file, or said nothing.
    Refused(Error),
}

/// A transfer that did not begin: what an earlier one left is of no use only where the server does not want it.
fn unbegun(error: Error) -> (Error, Litter) {
    let litter = match error.scope() {
        Scope::Session => Litter::after(&error),
        Scope::Entry | Scope::Job => Litter::Useless,
    };
    (error, litter)
}

fn check_size(stored: &Stored, file: &NewFile<'_>) -> Result<()> {
    let size = stored.partial.size;
    if size == file.size {
        return Ok(());
    }
    let wanted = file.size;
    let text = format!("the server confirmed the file, but shows {size} bytes of {wanted}");
    Err(ErrorKind::Verify(text).into())
}
