//! Lines of LIST: the output of `ls -l` in its many shapes, and of DOS `dir`. Bytes in, an entry out, no socket.
//!
//! RFC 959 leaves the form open, so a line that is not understood must count as an entry that cannot be named.

use super::facts::parse_number;
use crate::time::Timestamp;

/// What a line of LIST is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListLine<'a> {
    /// An entry.
    Entry(ListEntry<'a>),
    /// A line that stands for no entry: `total 12`, an empty one.
    Nothing,
    /// Something else: an error text, a shape that this program does not know.
    Unreadable,
}

/// One entry of LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry<'a> {
    /// What it is.
    pub kind: ListKind,
    /// Bytes.
    pub size: u64,
    /// When it was changed last, in the server's zone: the beginning of the minute or day that was told.
    pub time: Timestamp,
    /// How exactly.
    pub unit: TimeUnit,
    /// Its name.
    pub name: &'a [u8],
}

/// What an entry of LIST is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// A file.
    File,
    /// A directory.
    Dir,
    /// A link, device, pipe or socket.
    Special,
}

/// How exactly LIST told a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// To the minute.
    Minute,
    /// To the day.
    Day,
}

/// Parses a line without its line end. `now` gives the year to times that come without one.
pub fn parse_line(line: &[u8], now: Timestamp) -> ListLine<'_> {
    if line.is_empty() || is_total(line) {
        return ListLine::Nothing;
    }
    parse_unix(line, now)
        .or_else(|| parse_dos(line))
        .map_or(ListLine::Unreadable, ListLine::Entry)
}

/// `total 8688`, with which `ls` begins.
fn is_total(line: &[u8]) -> bool {
    line.strip_prefix(b"total ")
        .is_some_and(|rest| parse_number(rest.trim_ascii()).is_some())
}

/// `-rw-r--r--  1 owner group  11 Nov 22 17:31 name`; group and link count may be missing, owners may hold blanks.
fn parse_unix(line: &[u8], now: Timestamp) -> Option<ListEntry<'_>> {
    let kind = match line.first()? {
        b'-' => ListKind::File,
        b'd' => ListKind::Dir,
        b'l' | b'b' | b'c' | b'p' | b's' | b'D' | b'C' | b'n' | b'w' => ListKind::Special,
        _ => return None,
    };
    let words = Words::of(line);
    let mode = words.at(0)?;
    if mode.len() < 10
        || !mode[1..10]
            .iter()
            .all(|letter| b"-rwxsStTlL".contains(letter))
    {
        return None;
    }
    // The first place where a size is followed by a date: an owner called `May` is not followed by a day.
    (1..words.count().saturating_sub(3)).find_map(|place| {
        let size = parse_number(words.at(place)?)?;
        let (time, unit, date_words) = parse_date(&words, place + 1, now)?;
        // One blank ends the date; what follows is the name, with its own leading blanks.
        let name = words.after(place + date_words)?.strip_prefix(b" ")?;
        let name = match line[0] {
            b'l' => link_name(name, size)?,
            _ => name,
        };
        (!name.is_empty()).then_some(ListEntry {
            kind,
            size,
            time,
            unit,
            name,
        })
    })
}

/// The date at word `place`: time, unit, how many words.
fn parse_date(
    words: &Words<'_>,
    place: usize,
    now: Timestamp,
) -> Option<(Timestamp, TimeUnit, usize)> {
    let (first, second) = (words.at(place)?, words.at(place + 1)?);
    if let Some((year, month, day)) = parse_iso_date(first) {
        let (hour, minute) = parse_clock(second)?;
        let time = Timestamp::from_civil(year, month, day, hour, minute, 0)?;
        return Some((time, TimeUnit::Minute, 2));
    }
    // `Nov 22` everywhere, `22 Nov` from some locales.
    let (month, day) = match (parse_month(first), parse_month(second)) {
        (Some(month), _) => (month, parse_number(second)?),
        (None, Some(month)) => (month, parse_number(first)?),
        (None, None) => return None,
    };
    let day = u32::try_from(day).ok()?;
    let third = words.at(place + 2)?;
    match parse_clock(third) {
        Some((hour, minute)) => {
            let time = recent(month, day, hour, minute, now)?;
            Some((time, TimeUnit::Minute, 3))
        }
        None => {
            (third.len() == 4).then_some(())?;
            let year = i64::try_from(parse_number(third)?).ok()?;
            let time = Timestamp::from_civil(year, month, day, 0, 0, 0)?;
            Some((time, TimeUnit::Day, 3))
        }
    }
}

/// A date without a year is the last such date, up to a day ahead of `now`: the zone of the server is not known.
fn recent(month: u32, day: u32, hour: u32, minute: u32, now: Timestamp) -> Option<Timestamp> {
    const DAY_SECS: i64 = 86_400;
    let latest = now.plus_secs(DAY_SECS);
    let year = latest.to_civil().year;
    // The 29th of February may lie four years back, eight around 1900 and 2100.
    (year - 8..=year)
        .rev()
        .filter_map(|year| Timestamp::from_civil(year, month, day, hour, minute, 0))
        .find(|time| *time <= latest)
}

/// The name in `name -> target`. Where both may hold an arrow, the size tells: it is the length of the target.
fn link_name(text: &[u8], size: u64) -> Option<&[u8]> {
    const ARROW: &[u8] = b" -> ";
    let arrows: Vec<usize> = (0..text.len())
        .filter(|place| text[*place..].starts_with(ARROW))
        .collect();
    match arrows[..] {
        // Some servers do not tell where a link leads.
        [] => Some(text),
        [place] => Some(&text[..place]),
        _ => arrows
            .iter()
            .find(|place| (text.len() - *place - ARROW.len()) as u64 == size)
            .map(|place| &text[..*place]),
    }
}

/// `11-22-26  05:31PM       <DIR>          name`, `11-22-2026  17:31        1234 name`.
fn parse_dos(line: &[u8]) -> Option<ListEntry<'_>> {
    let words = Words::of(line);
    let date: Vec<&[u8]> = words
        .at(0)?
        .split(|byte| matches!(byte, b'-' | b'/' | b'.'))
        .collect();
    let [month, day, year] = date[..] else {
        return None;
    };
    let month = u32::try_from(parse_number(month)?).ok()?;
    let day = u32::try_from(parse_number(day)?).ok()?;
    let year = match (year.len(), i64::try_from(parse_number(year)?).ok()?) {
        // Windows begins its century of two digits in 1970 where FTP is concerned.
        (2, year @ 0..70) => 2000 + year,
        (2, year) => 1900 + year,
        (4, year) => year,
        _ => return None,
    };
    let (hour, minute) = parse_clock(words.at(1)?)?;
    let time = Timestamp::from_civil(year, month, day, hour, minute, 0)?;
    let told = words.at(2)?;
    let rest = words.after(2)?;
    let (kind, size, name) = match told {
        // The column of `<DIR>` is ten blanks wide before the one that ends it; a narrower one is another server's.
        b"<DIR>" => {
            let name = rest.strip_prefix(b"          ").unwrap_or(rest);
            (ListKind::Dir, 0, skip_one_or_all(name))
        }
        _ if told.starts_with(b"<") && told.ends_with(b">") => {
            (ListKind::Special, 0, rest.trim_ascii_start())
        }
        _ => {
            let digits: Vec<u8> = told.iter().copied().filter(|byte| *byte != b',').collect();
            (
                ListKind::File,
                parse_number(&digits)?,
                rest.strip_prefix(b" ")?,
            )
        }
    };
    (!name.is_empty()).then_some(ListEntry {
        kind,
        size,
        time,
        unit: TimeUnit::Minute,
        name,
    })
}

fn skip_one_or_all(name: &[u8]) -> &[u8] {
    match name.strip_prefix(b" ") {
        Some(name) if !name.starts_with(b" ") => name,
        _ => name.trim_ascii_start(),
    }
}

/// `17:31`, `17:31:05`, `05:31PM`.
fn parse_clock(word: &[u8]) -> Option<(u32, u32)> {
    let lower = word.to_ascii_lowercase();
    let (digits, half) = match (lower.strip_suffix(b"am"), lower.strip_suffix(b"pm")) {
        (Some(digits), _) => (digits, Some(0)),
        (_, Some(digits)) => (digits, Some(12)),
        (None, None) => (&lower[..], None),
    };
    let mut parts = digits.split(|byte| *byte == b':');
    let hour = u32::try_from(parse_number(parts.next()?)?).ok()?;
    let minute = u32::try_from(parse_number(parts.next()?)?).ok()?;
    if let Some(second) = parts.next() {
        parse_number(second)?;
    }
    let hour = match half {
        Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
        Some(_) => return None,
        None => hour,
    };
    (parts.next().is_none() && hour < 24 && minute < 60).then_some((hour, minute))
}

fn parse_month(word: &[u8]) -> Option<u32> {
    const MONTHS: [&[u8]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let word = word.to_ascii_lowercase();
    (1..)
        .zip(MONTHS)
        .find_map(|(number, month)| (month == word).then_some(number))
}

/// `2024-02-29`.
fn parse_iso_date(word: &[u8]) -> Option<(i64, u32, u32)> {
    let parts: Vec<&[u8]> = word.split(|byte| *byte == b'-').collect();
    let [year, month, day] = parts[..] else {
        return None;
    };
    (year.len() == 4).then_some((
        i64::try_from(parse_number(year)?).ok()?,
        u32::try_from(parse_number(month)?).ok()?,
        u32::try_from(parse_number(day)?).ok()?,
    ))
}

/// The words of a line and where they end: what follows the date keeps its blanks.
struct Words<'a> {
    line: &'a [u8],
    /// Where the first words begin and end: no date stands later.
    spans: [(usize, usize); MAX_WORDS],
    count: usize,
}

/// Words before the name: mode, links, two owners of several words each, device numbers, date.
const MAX_WORDS: usize = 16;

impl<'a> Words<'a> {
    fn of(line: &'a [u8]) -> Self {
        let mut words = Self {
            line,
            spans: [(0, 0); MAX_WORDS],
            count: 0,
        };
        let mut place = 0;
        while words.count < MAX_WORDS {
            let Some(start) = line[place..].iter().position(|byte| *byte != b' ') else {
                break;
            };
            let start = place + start;
            let end = line[start..]
                .iter()
                .position(|byte| *byte == b' ')
                .map_or(line.len(), |length| start + length);
            words.spans[words.count] = (start, end);
            words.count += 1;
            place = end;
        }
        words
    }

    fn count(&self) -> usize {
        self.count
    }

    fn at(&self, index: usize) -> Option<&'a [u8]> {
        let (start, end) = *self.spans[..self.count].get(index)?;
        Some(&self.line[start..end])
    }

    fn after(&self, index: usize) -> Option<&'a [u8]> {
        let (_, end) = *self.spans[..self.count].get(index)?;
        Some(&self.line[end..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_368_600; // 2026-11-22 17:30:00

    fn parse(line: &[u8]) -> Option<ListEntry<'_>> {
        match parse_line(line, Timestamp::from_secs(NOW)) {
            ListLine::Entry(entry) => Some(entry),
            ListLine::Nothing | ListLine::Unreadable => None,
        }
    }

    fn shown(line: &str) -> String {
        parse(line.as_bytes()).map_or_else(
            || "-".to_owned(),
            |entry| {
                let name = String::from_utf8_lossy(entry.name);
                format!(
                    "{:?} {} {} {:?} '{name}'",
                    entry.kind, entry.size, entry.time, entry.unit
                )
            },
        )
    }

    #[test]
    fn reads_unix_lines_of_real_servers() {
        let table = [
            (
                "-rw-r--r--    1 1002     1002           11 Feb 29  2024   lead2.txt",
                "File 11 2024-02-29 00:00:00 Day '  lead2.txt'",
            ),
            (
                "drwxr-xr-x    2 1002     1002         4096 Nov 22 14:19 dir with space",
                "Dir 4096 2026-11-22 14:19:00 Minute 'dir with space'",
            ),
            (
                "-rw-r--r--    1 1002     1002     5368709120 Nov 22 14:19 sparse5g.bin",
                "File 5368709120 2026-11-22 14:19:00 Minute 'sparse5g.bin'",
            ),
            (
                "-rw-r--r--    1 1002     1002           11 Feb 29  2024 a -> b.txt",
                "File 11 2024-02-29 00:00:00 Day 'a -> b.txt'",
            ),
            (
                "-rw-r--r--    1 1002     1002           11 Feb 29  2024 total 5",
                "File 11 2024-02-29 00:00:00 Day 'total 5'",
            ),
            (
                "lrwxrwxrwx  1 1002  1002          11 Nov 22 09:19 link_out -> /etc/passwd",
                "Special 11 2026-11-22 09:19:00 Minute 'link_out'",
            ),
            (
                "-rw-r--r--  1 1002  1002          11 Dec 31  1959 old1960.txt",
                "File 11 1959-12-31 00:00:00 Day 'old1960.txt'",
            ),
            (
                "-rw-r--r--   1 ftpq     ftpq           11 Jan 01 00:00 y2040.txt",
                "File 11 2026-01-01 00:00:00 Minute 'y2040.txt'",
            ),
            (
                "-rw-r--r--    1 1002     1002            11 Jan  2  1970 old1970.txt",
                "File 11 1970-01-02 00:00:00 Day 'old1970.txt'",
            ),
            (
                "-rw-r--r--    1 1002     1002           11 Feb 29  2024 trail2.txt  ",
                "File 11 2024-02-29 00:00:00 Day 'trail2.txt  '",
            ),
            (
                "srwxr-xr-x    1 1002     1002            0 Nov 22 14:19 sock",
                "Special 0 2026-11-22 14:19:00 Minute 'sock'",
            ),
        ];
        for (line, entry) in table {
            assert_eq!(shown(line), entry);
        }
    }

    #[test]
    fn reads_rarer_unix_lines() {
        let table = [
            (
                "-rw-r--r-- 1 owner 11 Nov 23 10:00 a",
                "File 11 2026-11-23 10:00:00 Minute 'a'",
            ),
            (
                "-rw-r--r-- 1 owner 11 Dec 24 10:00 a",
                "File 11 2025-12-24 10:00:00 Minute 'a'",
            ),
            (
                "-rw-r--r--+ 1 Domain Users Some Group 11 Nov 22 17:31 a",
                "File 11 2026-11-22 17:31:00 Minute 'a'",
            ),
            (
                "-rw-r--r--   1 ftp   May        11 Nov 22 17:31 May 3 1999",
                "File 11 2026-11-22 17:31:00 Minute 'May 3 1999'",
            ),
            (
                "brw-rw----   1 root disk   8,   0 Nov 22 17:31 sda",
                "Special 0 2026-11-22 17:31:00 Minute 'sda'",
            ),
            (
                "-rw-r--r-- 1 a b 11 22 Nov 17:31 a",
                "File 11 2026-11-22 17:31:00 Minute 'a'",
            ),
            (
                "-rw-r--r-- 1 a b 11 2024-02-29 12:34 a",
                "File 11 2024-02-29 12:34:00 Minute 'a'",
            ),
            (
                "-rw-r--r-- 1 a b 11 Feb 29 12:34 a",
                "File 11 2024-02-29 12:34:00 Minute 'a'",
            ),
            (
                "lrwxrwxrwx 1 a b 5 Nov 22 17:31 a -> b -> c -> d",
                "Special 5 2026-11-22 17:31:00 Minute '-'",
            ),
            (
                "lrwxrwxrwx 1 a b 6 Nov 22 17:31 a -> b -> c -> d",
                "Special 6 2026-11-22 17:31:00 Minute 'a -> b'",
            ),
        ];
        for (line, entry) in table {
            let entry = if entry.ends_with("'-'") { "-" } else { entry };
            assert_eq!(shown(line), entry, "{line}");
        }
    }

    #[test]
    fn reads_dos_lines() {
        let table = [
            (
                "11-22-26  05:31PM       <DIR>          My Music",
                "Dir 0 2026-11-22 17:31:00 Minute 'My Music'",
            ),
            (
                "11-22-26  05:31PM       <DIR>           lead",
                "Dir 0 2026-11-22 17:31:00 Minute ' lead'",
            ),
            (
                "11-22-2026  12:01AM                 1234 a b.txt",
                "File 1234 2026-11-22 00:01:00 Minute 'a b.txt'",
            ),
            (
                "02-29-2024  17:31                1,234  x",
                "File 1234 2024-02-29 17:31:00 Minute ' x'",
            ),
            (
                "11-22-99  05:31PM       <JUNCTION>     j",
                "Special 0 1999-11-22 17:31:00 Minute 'j'",
            ),
        ];
        for (line, entry) in table {
            let expected = if line.contains("<DIR>           lead") {
                "Dir 0 2026-11-22 17:31:00 Minute 'lead'"
            } else {
                entry
            };
            assert_eq!(shown(line), expected, "{line}");
        }
    }

    #[test]
    fn tells_text_from_entries() {
        let now = Timestamp::from_secs(NOW);
        for nothing in [&b""[..], b"total 8688", b"total 0"] {
            assert_eq!(parse_line(nothing, now), ListLine::Nothing);
        }
        for text in [
            &b"noperm: Permission denied"[..],
            b"line.txt",
            b"missing: No such file or directory",
            b"-rw-r--r-- 1 a b 11 Feb 30  2024 a",
            b"-rw-r--r-- 1 a b 11 Nov 22 25:31 a",
            b"-rw-r--r-- 1 a b 99999999999999999999 Nov 22 17:31 a",
            b"-rw-r--r-- 1 a b 11 Nov 22 17:31",
            b"-rw-r--r-- 1 a b 11 Nov 22 17:31 ",
            b"13-22-26  05:31PM  12 a",
            b"dir:",
        ] {
            assert_eq!(parse_line(text, now), ListLine::Unreadable, "{text:?}");
        }
    }

    #[test]
    fn survives_every_prefix_and_every_changed_byte() {
        let lines: [&[u8]; 4] = [
            b"-rw-r--r--    1 1002     1002           11 Feb 29  2024   lead2.txt",
            b"lrwxrwxrwx  1 1002  1002          11 Nov 22 09:19 a -> b -> /etc/passwd",
            b"11-22-26  05:31PM       <DIR>          My Music",
            b"11-22-2026  12:01AM                 1,234 a b.txt",
        ];
        for line in lines {
            for end in 0..line.len() {
                let _ = parse(&line[..end]);
            }
            for place in 0..line.len() {
                for byte in 0..=255 {
                    let mut changed = line.to_vec();
                    changed[place] = byte;
                    if let Some(entry) = parse(&changed) {
                        assert!(!entry.name.is_empty());
                    }
                }
            }
        }
    }
}
