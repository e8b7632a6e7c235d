//! Lines of LIST: the output of `ls -l` in its many shapes, of DOS `dir`, and EPLF. Bytes in, an entry out, no socket.
//!
//! RFC 959 leaves the form open, so a line that is not understood must count as an entry that cannot be named.

use super::facts::parse_number;
use super::list_date::{
    DosDate, ListDate, TimeUnit, parse_clock, parse_day, parse_iso_date, parse_month, parse_year,
    recent,
};
use crate::time::Timestamp;

/// What a line of LIST is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListLine<'a> {
    /// An entry.
    Entry(ListEntry<'a>),
    /// A line that stands for no entry: `total 12`, an empty one.
    Nothing,
    /// A word and a number: `total 12` in some language, if it is the first line and others are entries.
    Heading,
    /// Something else: an error text, a shape that this program does not know.
    Unreadable,
}

/// One entry of LIST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry<'a> {
    /// What it is.
    pub kind: ListKind,
    /// Bytes; none where what was told can be no size.
    pub size: Option<u64>,
    /// When it was changed last.
    pub date: ListDate,
    /// Its name.
    pub name: &'a [u8],
    /// Where the name begins with what may be the year, behind the time of day: the entry read so.
    pub with_year: Option<(ListDate, &'a [u8])>,
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

/// Parses a line without its line end. `now` gives the year to times that come without one.
pub fn parse_line(line: &[u8], now: Timestamp) -> ListLine<'_> {
    if line.is_empty() {
        return ListLine::Nothing;
    }
    if let Some(heading) = parse_total(line) {
        return heading;
    }
    parse_unix(line, now)
        .or_else(|| parse_dos(line))
        .or_else(|| parse_eplf(line))
        .map_or(ListLine::Unreadable, ListLine::Entry)
}

/// `total 8688`, with which `ls` begins; `insgesamt 8`, `total 1,5M`.
fn parse_total(line: &[u8]) -> Option<ListLine<'static>> {
    let blank = line.iter().rposition(|byte| *byte == b' ')?;
    let (words, number) = (line[..blank].trim_ascii_end(), &line[blank + 1..]);
    let is_number = number.first().is_some_and(u8::is_ascii_digit)
        && number
            .iter()
            .all(|byte| byte.is_ascii_digit() || b".,kKMGTB".contains(byte));
    let is_word = !words.is_empty()
        && words
            .iter()
            .all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    match (is_number && is_word, words) {
        (false, _) => None,
        (true, b"total") => Some(ListLine::Nothing),
        (true, _) => Some(ListLine::Heading),
    }
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
    let is_unix = |mode: &[u8]| {
        mode.len() >= 10
            && mode[1..10]
                .iter()
                .all(|letter| b"-rwxsStTlLaAdD?".contains(letter))
    };
    // Novell's rights stand in brackets.
    let is_novell = |mode: &[u8]| mode.len() == 1 && words.at(1).is_some_and(|it| it[0] == b'[');
    let mode = words.at(0)?;
    if !is_unix(mode) && !is_novell(mode) {
        return None;
    }
    // The first place where a size is followed by a date: an owner called `May` is not followed by a day.
    (1..words.count().saturating_sub(3)).find_map(|place| {
        let size = parse_size(words.at(place)?)?;
        let (date, date_words) = parse_date(&words, place + 1, now)?;
        // One blank ends the date; what follows is the name, with its own leading blanks.
        let name = |last: usize| -> Option<&[u8]> {
            let name = words.after(last)?.strip_prefix(b" ")?;
            let name = match line[0] {
                b'l' => link_name(name, size.unwrap_or(0))?,
                _ => name,
            };
            (!name.is_empty()).then_some(name)
        };
        let last = place + date_words;
        let with_year = parse_year_after(&words, place + 1, last)
            .and_then(|date| Some((date, name(last + 1)?)));
        Some(ListEntry {
            kind,
            size,
            date,
            name: name(last)?,
            with_year,
        })
    })
}

/// A size; none within where it can be none: negative, or more than there is.
fn parse_size(word: &[u8]) -> Option<Option<u64>> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let is_size = !digits.is_empty()
        && digits
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b',')
        && digits[digits.len() - 1] != b',';
    is_size.then(|| {
        let digits: Vec<u8> = word.iter().copied().filter(|byte| *byte != b',').collect();
        parse_number(&digits)
    })
}

/// The date at word `place`, and how many words it takes.
fn parse_date(words: &Words<'_>, place: usize, now: Timestamp) -> Option<(ListDate, usize)> {
    let (first, second) = (words.at(place)?, words.at(place + 1)?);
    if let Some((year, month, day)) = parse_iso_date(first) {
        let (hour, minute) = parse_clock(second)?;
        let time = Timestamp::from_civil(year, month, day, hour, minute, 0);
        // `ls --full-time` adds the zone to a time with a fraction.
        let has_zone = second.contains(&b'.')
            && words
                .at(place + 2)
                .is_some_and(|zone| matches!(zone, [b'+' | b'-', _, _, _, _]));
        return Some((told(time, TimeUnit::Minute), 2 + usize::from(has_zone)));
    }
    let (month, day) = month_and_day(first, second)?;
    let third = words.at(place + 2)?;
    let (time, unit) = match (parse_clock(third), parse_year(third)) {
        (Some(clock), _) => (recent(month, day, clock, now), TimeUnit::Minute),
        (None, Some(year)) => (
            Timestamp::from_civil(year, month, day, 0, 0, 0),
            TimeUnit::Day,
        ),
        (None, None) => return None,
    };
    Some((told(time, unit), 3))
}

/// `Nov 22` everywhere, `22 Nov` from some locales.
fn month_and_day(first: &[u8], second: &[u8]) -> Option<(u32, u32)> {
    match (parse_month(first), parse_month(second)) {
        (Some(month), _) => Some((month, parse_day(second)?)),
        (None, Some(month)) => Some((month, parse_day(first)?)),
        (None, None) => None,
    }
}

/// The date whose year stands behind the time of day: `Nov 22 17:31 2026`. `last` is the word of the time.
fn parse_year_after(words: &Words<'_>, place: usize, last: usize) -> Option<ListDate> {
    let (month, day) = month_and_day(words.at(place)?, words.at(place + 1)?)?;
    let (hour, minute) = parse_clock(words.at(last)?)?;
    let year = parse_year(words.at(last + 1)?)?;
    let time = Timestamp::from_civil(year, month, day, hour, minute, 0);
    Some(told(time, TimeUnit::Minute))
}

/// A date that does not exist is not known.
fn told(time: Option<Timestamp>, unit: TimeUnit) -> ListDate {
    time.map_or(ListDate::Unknown, |time| ListDate::Told(time, unit))
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
    let date = DosDate::parse(words.at(0)?, words.at(1)?)?;
    let told = words.at(2)?;
    let rest = words.after(2)?;
    let (kind, size, name) = match told {
        // The column of `<DIR>` is ten blanks wide before the one that ends it; a narrower one is another server's.
        b"<DIR>" => {
            let name = rest.strip_prefix(b"          ").unwrap_or(rest);
            (ListKind::Dir, Some(0), skip_one_or_all(name))
        }
        _ if told.starts_with(b"<") && told.ends_with(b">") => {
            (ListKind::Special, Some(0), rest.trim_ascii_start())
        }
        _ => (ListKind::File, parse_size(told)?, rest.strip_prefix(b" ")?),
    };
    (!name.is_empty()).then_some(ListEntry {
        kind,
        size,
        date: ListDate::Dos(date),
        name,
        with_year: None,
    })
}

fn skip_one_or_all(name: &[u8]) -> &[u8] {
    match name.strip_prefix(b" ") {
        Some(name) if !name.starts_with(b" ") => name,
        _ => name.trim_ascii_start(),
    }
}

/// `+i8388621.48594,m825718503,r,s280,` and a tab before the name (EPLF).
fn parse_eplf(line: &[u8]) -> Option<ListEntry<'_>> {
    let line = line.strip_prefix(b"+")?;
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (facts, name) = (&line[..tab], &line[tab + 1..]);
    let mut entry = ListEntry {
        kind: ListKind::Special,
        size: None,
        date: ListDate::Unknown,
        name,
        with_year: None,
    };
    for fact in facts.split(|byte| *byte == b',') {
        match fact {
            b"/" => entry.kind = ListKind::Dir,
            b"r" => entry.kind = ListKind::File,
            [b's', size @ ..] => entry.size = parse_number(size),
            [b'm', secs @ ..] => {
                let secs = parse_number(secs).and_then(|secs| i64::try_from(secs).ok());
                entry.date = told(secs.map(Timestamp::from_secs), TimeUnit::Second);
            }
            _ => {}
        }
    }
    (!name.is_empty()).then_some(entry)
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
    use super::super::list_date::DateOrder;
    use super::*;

    const NOW: i64 = 1_795_368_600; // 2026-11-22 17:30:00

    fn parse(line: &[u8]) -> Option<ListEntry<'_>> {
        match parse_line(line, Timestamp::from_secs(NOW)) {
            ListLine::Entry(entry) => Some(entry),
            ListLine::Nothing | ListLine::Heading | ListLine::Unreadable => None,
        }
    }

    fn shown(line: &str) -> String {
        parse(line.as_bytes()).map_or_else(
            || "-".to_owned(),
            |entry| {
                let name = String::from_utf8_lossy(entry.name);
                let size = entry.size.map_or("?".to_owned(), |size| size.to_string());
                match entry.date.time(DateOrder::MonthFirst) {
                    Some((at, unit)) => {
                        format!("{:?} {size} {at} {unit:?} '{name}'", entry.kind)
                    }
                    None => format!("{:?} {size} ? '{name}'", entry.kind),
                }
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
    fn reads_lines_of_many_servers() {
        let table = [
            (
                "-rw-rw-r--+  1 u    g   11 Nov 22 17:31 acl",
                "File 11 2026-11-22 17:31:00 Minute 'acl'",
            ),
            (
                "-rwsr-sr-T@  1 u  g   11 Nov 22 17:31 setid",
                "File 11 2026-11-22 17:31:00 Minute 'setid'",
            ),
            (
                "-rwxr-xr-x         1000            0             11 Nov 22 17:31 a",
                "File 11 2026-11-22 17:31:00 Minute 'a'",
            ),
            (
                "-rw-r--r-- 1 u g 11 14. M\u{e4}r 2023 a",
                "File 11 2023-03-14 00:00:00 Day 'a'",
            ),
            (
                "-rw-r--r-- 1 u g 11 11\u{6708} 14  2023 a",
                "File 11 2023-11-14 00:00:00 Day 'a'",
            ),
            (
                "-rwxrwxrwx 1 vita vita -1294967296 Nov 22 17:31 big",
                "File ? 2026-11-22 17:31:00 Minute 'big'",
            ),
            (
                "-rw-r--r-- 1 a b 99999999999999999999 Nov 22 17:31 a",
                "File ? 2026-11-22 17:31:00 Minute 'a'",
            ),
            ("-rw-r--r-- 1 a b 11 Feb 30  2024 a", "File 11 ? 'a'"),
            (
                "-rw-r--r-- 1 a b 11 2024-02-29 12:34:56.000000000 +0100 a",
                "File 11 2024-02-29 12:34:00 Minute 'a'",
            ),
            (
                "d [R----F--] supervisor 512 Nov 22 17:31 login",
                "Dir 512 2026-11-22 17:31:00 Minute 'login'",
            ),
            (
                "2023-11-14  22:13       <DIR>          sub",
                "Dir 0 ? 'sub'",
            ),
            (
                "+i8388621.48594,m825718503,r,s280,\tdjb.html",
                "File 280 1996-03-01 22:15:03 Second 'djb.html'",
            ),
            (
                "+i8388621.50690,m824255907,/,\t514",
                "Dir ? 1996-02-13 23:58:27 Second '514'",
            ),
        ];
        for (line, entry) in table {
            assert_eq!(shown(line), entry, "{line}");
        }
    }

    #[test]
    fn a_year_may_stand_behind_the_time() {
        let line = b"-rw-r--r-- 1 u g 11 Nov 14 22:13 2023 a b";
        let entry = parse(line).unwrap();
        assert_eq!(entry.name, b"2023 a b");
        let (date, name) = entry.with_year.unwrap();
        assert_eq!(name, b"a b");
        let time = Timestamp::from_civil(2023, 11, 14, 22, 13, 0).unwrap();
        assert_eq!(date, ListDate::Told(time, TimeUnit::Minute));
        for line in [
            &b"-rw-r--r-- 1 u g 11 Nov 14 22:13 2023"[..],
            b"-rw-r--r-- 1 u g 11 Nov 14  2023 1999 a",
            b"-rw-r--r-- 1 u g 11 Nov 14 22:13 20234 a",
        ] {
            assert_eq!(parse(line).unwrap().with_year, None);
        }
    }

    #[test]
    fn tells_text_from_entries() {
        let now = Timestamp::from_secs(NOW);
        for nothing in [&b""[..], b"total 8688", b"total 0"] {
            assert_eq!(parse_line(nothing, now), ListLine::Nothing);
        }
        for heading in ["insgesamt 8", "总用量 8", "итого 8,0K"] {
            assert_eq!(parse_line(heading.as_bytes(), now), ListLine::Heading);
        }
        for text in [
            &b"noperm: Permission denied"[..],
            b"line.txt",
            b"missing: No such file or directory",
            b"-rw-r--r-- 1 a b 11 Nov 22 25:31 a",
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
        let lines: [&[u8]; 6] = [
            b"-rw-r--r-- 1 u g 11 Nov 14 22:13:20 2023 a b",
            b"+i8388621.48594,m825718503,r,s280,\tdjb.html",
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
