//! What the lines of one LIST have in common: where the year stands, which number of a date is the month, whether the first
//! line is a heading.

use std::sync::Arc;

use crate::ftp::{
    DateOrder, DosDate, ListDate, ListEntry, ListKind, ListLine, Orders, TimeUnit, parse_line,
};
use crate::job::{Encoding, Mask};
use crate::path::Escaped;
use crate::replica::ftp::names;
use crate::replica::{Kind, Listing, Mtime, Precision, Stat};
use crate::time::Timestamp;

/// So much is shown of a line that makes no sense.
const MAX_SHOWN_BYTES: usize = 80;

/// Reads the lines of one LIST into a listing.
#[derive(Clone)]
pub(super) struct Dialect {
    now: Timestamp,
    encoding: Encoding,
    mask: Arc<Mask>,
    has_years_behind: bool,
    /// Whether anything was seen, be it `.` alone.
    pub(super) has_seen: bool,
    /// How many lines made sense, and how many did not.
    entries: usize,
    unreadable: usize,
    /// The first line, where it may be a heading.
    heading: Option<Vec<u8>>,
    /// Lines with a time of day, and those of them behind which a year may stand.
    pub(super) dated: usize,
    with_years: usize,
    /// The first name of which a year may be the beginning, a file's if there is one: what it is, the name with the year and
    /// without it.
    year_or_name: Option<(Kind, Vec<u8>, Vec<u8>)>,
    orders: Orders,
    /// Entries whose dates are three numbers.
    dos: Vec<(usize, DosDate)>,
    /// Files whose size is not told.
    pub(super) untold: Vec<usize>,
}

impl Dialect {
    pub(super) fn new(encoding: Encoding, mask: Arc<Mask>, has_years_behind: bool) -> Self {
        Self {
            now: Timestamp::now(),
            encoding,
            mask,
            has_years_behind,
            has_seen: false,
            entries: 0,
            unreadable: 0,
            heading: None,
            dated: 0,
            with_years: 0,
            year_or_name: None,
            orders: Orders::default(),
            dos: Vec::new(),
            untold: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, line: &[u8], listing: &mut Listing) {
        match parse_line(line, self.now) {
            ListLine::Nothing => {}
            ListLine::Heading if !self.has_seen && self.heading.is_none() => {
                self.heading = Some(line.to_vec());
            }
            ListLine::Heading | ListLine::Unreadable => self.take_unreadable(line, listing),
            ListLine::Entry(entry) => self.take_entry(entry, listing),
        }
    }

    fn take_unreadable(&mut self, line: &[u8], listing: &mut Listing) {
        self.has_seen = true;
        self.unreadable += 1;
        listing.mark_incomplete(unreadable(line, &self.mask));
    }

    fn take_entry(&mut self, mut entry: ListEntry<'_>, listing: &mut Listing) {
        self.has_seen = true;
        self.entries += 1;
        if let ListDate::Told(_, TimeUnit::Minute) = entry.date {
            self.dated += 1;
        }
        let stat = stat_of_list(&entry);
        if let Some((date, name)) = entry.with_year {
            self.with_years += 1;
            let is_first = self.year_or_name.as_ref();
            if is_first.is_none_or(|(kind, ..)| *kind == Kind::Dir && stat.kind == Kind::File) {
                self.year_or_name = Some((stat.kind, entry.name.to_vec(), name.to_vec()));
            }
            if self.has_years_behind {
                (entry.date, entry.name) = (date, name);
            }
        }
        if matches!(entry.name, b"." | b"..") {
            return;
        }
        let place = listing.len();
        let mut stat = stat_of_list(&entry);
        if stat.kind == Kind::Dir {
            stat.mtime = mtime_of_list(&entry);
        }
        listing.push(&names::decode(entry.name, self.encoding), stat);
        if listing.len() == place {
            return;
        }
        if let ListDate::Dos(date) = entry.date {
            self.orders.note(date);
            self.dos.push((place, date));
        }
        if entry.kind == ListKind::File && entry.size.is_none() {
            self.untold.push(place);
        }
    }

    /// A name that tells whether years stand behind the time of day: what it is, with the year, and without; where all lines
    /// look so.
    pub(super) fn year_or_name(&self) -> Option<(Kind, &[u8], &[u8])> {
        let look_so = !self.has_years_behind && self.dated > 0 && self.dated == self.with_years;
        let (kind, with_year, without) = self.year_or_name.as_ref().filter(|_| look_so)?;
        Some((*kind, with_year, without))
    }

    /// Whether there were lines, and none of them could be read.
    pub(super) const fn understood_nothing(&self) -> bool {
        self.entries == 0 && self.unreadable > 0
    }

    /// Gives the dates of which only all lines tell what they mean.
    pub(super) fn end(&mut self, listing: &mut Listing) {
        if self.entries == 0
            && let Some(line) = self.heading.take()
        {
            // It may as well be the name of the only file.
            self.take_unreadable(&line, listing);
        }
        let order = self.orders.best();
        if order == DateOrder::MonthFirst {
            return;
        }
        for (place, date) in self.dos.drain(..) {
            let Some(entry) = listing.at(place) else {
                continue;
            };
            let mtime = mtime_of(ListDate::Dos(date), order);
            let stat = Stat {
                mtime: mtime.filter(|_| entry.stat.kind != Kind::Special),
                ..entry.stat
            };
            listing.set_stat(place, stat);
        }
    }
}

/// Why a listing with this line is not whole.
pub(super) fn unreadable(line: &[u8], mask: &Mask) -> String {
    let mut line = mask.hide(line);
    line.truncate(MAX_SHOWN_BYTES);
    let line = Escaped(&line);
    format!("a line of the listing could not be understood: \"{line}\"")
}

/// What a line of LIST says of an entry. A file without a size is left alone, until it is told: nobody could say whether it
/// arrived.
pub(in crate::replica::ftp) fn stat_of_list(entry: &ListEntry<'_>) -> Stat {
    match (entry.kind, entry.size) {
        (ListKind::File, Some(size)) => Stat {
            kind: Kind::File,
            size,
            mtime: mtime_of_list(entry),
        },
        (ListKind::Dir, _) => Stat::dir(),
        (ListKind::File, None) => Stat {
            kind: Kind::Special,
            size: 0,
            mtime: mtime_of_list(entry),
        },
        (ListKind::Special, _) => super::special(),
    }
}

/// The time in a line of LIST, in the server's zone; in the usual order where three numbers tell it.
pub(in crate::replica::ftp) fn mtime_of_list(entry: &ListEntry<'_>) -> Option<Mtime> {
    mtime_of(entry.date, DateOrder::MonthFirst)
}

fn mtime_of(date: ListDate, order: DateOrder) -> Option<Mtime> {
    let (at, unit) = date.time(order)?;
    let precision = match unit {
        TimeUnit::Second => Precision::Second,
        TimeUnit::Minute => Precision::Minute,
        TimeUnit::Day => Precision::Day,
    };
    Some(Mtime { at, precision })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str], has_years_behind: bool) -> (Dialect, Listing) {
        let mut listing = Listing::new();
        let mut dialect = Dialect::new(Encoding::Utf8, Arc::default(), has_years_behind);
        for line in lines {
            dialect.take(line.as_bytes(), &mut listing);
        }
        dialect.end(&mut listing);
        (dialect, listing)
    }

    #[test]
    fn the_order_of_dates_is_that_of_all_lines() {
        let day_first = ["01-02-26  05:31PM  12 a", "22-11-25  05:31PM  12 b"];
        let (_, listing) = read(&day_first, false);
        let time = |place| {
            listing
                .at(place)
                .and_then(|entry| entry.stat.mtime)
                .map(|it| it.at)
        };
        assert_eq!(time(0), Timestamp::from_civil(2026, 2, 1, 17, 31, 0));
        assert_eq!(time(1), Timestamp::from_civil(2025, 11, 22, 17, 31, 0));
        assert_eq!(listing.gap(), None);
    }

    #[test]
    fn a_heading_in_any_language_is_no_entry_and_a_lonely_one_may_be() {
        let line = "-rw-r--r-- 1 u g 11 Nov 14  2023 a";
        let (_, listing) = read(&["insgesamt 8", line], false);
        assert_eq!((listing.len(), listing.gap()), (1, None));
        let (_, listing) = read(&[line, "insgesamt 8"], false);
        assert!(listing.gap().is_some());
        let (dialect, listing) = read(&["photo 12"], false);
        assert!(listing.gap().is_some() && dialect.understood_nothing());
        let (_, listing) = read(&["total 0"], false);
        assert_eq!((listing.len(), listing.gap()), (0, None));
    }

    #[test]
    fn years_behind_the_time_are_seen_by_all_lines() {
        let lines = [
            "drwxr-xr-x 1 u g 11 Nov 14 22:13 2023 d",
            "-rw-r--r-- 1 u g 11 Nov 14 22:13 2023 a b",
        ];
        let (dialect, _) = read(&lines, false);
        let asked = (Kind::File, &b"2023 a b"[..], &b"a b"[..]);
        assert_eq!(dialect.year_or_name(), Some(asked));
        let other = ["-rw-r--r-- 1 u g 11 Nov 14 22:13 c"];
        let (dialect, _) = read(&[&lines[..], &other].concat(), false);
        assert_eq!(dialect.year_or_name(), None);
        let (dialect, listing) = read(&lines, true);
        assert_eq!(dialect.year_or_name(), None);
        assert_eq!(listing.name_at(1), b"a b");
        let time = listing
            .at(1)
            .and_then(|entry| entry.stat.mtime)
            .map(|mtime| mtime.at);
        assert_eq!(time, Timestamp::from_civil(2023, 11, 14, 22, 13, 0));
    }

    #[test]
    fn an_absurd_size_is_asked_for_and_nothing_else_is_lost() {
        let (dialect, listing) = read(&["-rw-r--r-- 1 u g -5 Nov 14  2023 a"], false);
        assert_eq!((dialect.untold, listing.gap()), (vec![0], None));
        assert_eq!(
            listing.at(0).map(|entry| entry.stat.kind),
            Some(Kind::Special)
        );
    }
}
