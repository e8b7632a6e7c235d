//! Dates in lines of LIST: in many languages, with and without a year, and in the order of whoever set the server up. No
//! socket.

use super::facts::parse_number;
use crate::time::Timestamp;

/// How exactly LIST told a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// To the second, and in UTC.
    Second,
    /// To the minute.
    Minute,
    /// To the day.
    Day,
}

/// When an entry was changed last, in the server's zone: the beginning of the span that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListDate {
    /// Told so exactly.
    Told(Timestamp, TimeUnit),
    /// Three numbers, which [`DosDate::time`] makes a date of.
    Dos(DosDate),
    /// Not told, or nonsense.
    Unknown,
}

impl ListDate {
    /// The time, with the numbers of DOS in that order.
    pub fn time(self, order: DateOrder) -> Option<(Timestamp, TimeUnit)> {
        match self {
            Self::Told(at, unit) => Some((at, unit)),
            Self::Dos(date) => Some((date.time(order)?, TimeUnit::Minute)),
            Self::Unknown => None,
        }
    }
}

/// The order of the numbers in a DOS date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateOrder {
    /// `11-22-26`, as IIS writes it.
    MonthFirst,
    /// `22-11-26`.
    DayFirst,
    /// `2026-11-22`, `26-11-22`.
    YearFirst,
}

/// Three numbers and a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DosDate {
    numbers: [u16; 3],
    /// Which of them has four digits.
    year_at: Option<u8>,
    minute_of_day: u16,
}

impl DosDate {
    /// Reads `11-22-26` or `2026/11/22` and `05:31PM` or `17:31`.
    pub(super) fn parse(date: &[u8], clock: &[u8]) -> Option<Self> {
        let mut numbers = [0; 3];
        let mut year_at = None;
        let mut count = 0;
        for part in date.split(|byte| matches!(byte, b'-' | b'/' | b'.')) {
            let number = numbers.get_mut(count)?;
            *number = u16::try_from(parse_number(part)?).ok()?;
            match part.len() {
                1 | 2 => {}
                4 => year_at = Some(count as u8),
                _ => return None,
            }
            count += 1;
        }
        let (hour, minute) = parse_clock(clock)?;
        let date = Self {
            numbers,
            year_at,
            minute_of_day: (hour * 60 + minute) as u16,
        };
        (count == 3 && ORDERS.iter().any(|order| date.time(*order).is_some())).then_some(date)
    }

    /// The time that it is in that order, if it is one.
    pub fn time(self, order: DateOrder) -> Option<Timestamp> {
        let [one, two, three] = self.numbers;
        let (year, month, day, place) = match order {
            DateOrder::MonthFirst => (three, one, two, 2),
            DateOrder::DayFirst => (three, two, one, 2),
            DateOrder::YearFirst => (one, two, three, 0),
        };
        let year = match self.year_at {
            Some(at) if at == place => i64::from(year),
            Some(_) => return None,
            // Windows begins its century of two digits in 1970 where FTP is concerned.
            None if year < 70 => 2000 + i64::from(year),
            None => 1900 + i64::from(year),
        };
        let (hour, minute) = (self.minute_of_day / 60, self.minute_of_day % 60);
        Timestamp::from_civil(
            year,
            u32::from(month),
            u32::from(day),
            u32::from(hour),
            u32::from(minute),
            0,
        )
    }
}

/// The orders, the usual one first.
const ORDERS: [DateOrder; 3] = [
    DateOrder::MonthFirst,
    DateOrder::DayFirst,
    DateOrder::YearFirst,
];

/// Finds the order by all dates of a listing: one of them may have a day that is no month.
#[derive(Debug, Clone, Copy, Default)]
pub struct Orders {
    /// How many dates each order explains.
    explained: [u32; 3],
}

impl Orders {
    /// Takes a date in.
    pub fn note(&mut self, date: DosDate) {
        for (order, count) in ORDERS.iter().zip(&mut self.explained) {
            *count += u32::from(date.time(*order).is_some());
        }
    }

    /// The order that explains the most dates; the usual one of those that explain as many.
    pub fn best(&self) -> DateOrder {
        let mut best = 0;
        for place in 1..ORDERS.len() {
            if self.explained[place] > self.explained[best] {
                best = place;
            }
        }
        ORDERS[best]
    }
}

/// A date without a year is the last such date, up to a day ahead of `now`: the zone of the server is not known.
pub(super) fn recent(
    month: u32,
    day: u32,
    (hour, minute): (u32, u32),
    now: Timestamp,
) -> Option<Timestamp> {
    const DAY_SECS: i64 = 86_400;
    let latest = now.plus_secs(DAY_SECS);
    let year = latest.to_civil().year;
    // The 29th of February may lie four years back, eight around 1900 and 2100.
    (year - 8..=year)
        .rev()
        .filter_map(|year| Timestamp::from_civil(year, month, day, hour, minute, 0))
        .find(|time| *time <= latest)
}

/// `17:31`, `17:31:05`, `17:31:05.123456789`, `05:31PM`.
pub(super) fn parse_clock(word: &[u8]) -> Option<(u32, u32)> {
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
        let whole = second.split(|byte| *byte == b'.').next()?;
        parse_number(whole)?;
    }
    let hour = match half {
        Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
        Some(_) => return None,
        None => hour,
    };
    (parts.next().is_none() && hour < 24 && minute < 60).then_some((hour, minute))
}

/// A year of four digits.
pub(super) fn parse_year(word: &[u8]) -> Option<i64> {
    let year = i64::try_from(parse_number(word)?).ok()?;
    (word.len() == 4 && (1601..=2999).contains(&year)).then_some(year)
}

/// The day of a month: `22`, `22.`, `22,`.
pub(super) fn parse_day(word: &[u8]) -> Option<u32> {
    let digits = word
        .strip_suffix(b".")
        .or(word.strip_suffix(b","))
        .unwrap_or(word);
    let day = u32::try_from(parse_number(digits)?).ok()?;
    (1..=31).contains(&day).then_some(day)
}

/// The months as `ls` writes them: English, German, French, Spanish, Italian, Portuguese, Dutch, the Scandinavian
/// languages, Finnish, Polish, Czech, Hungarian, Russian, Turkish. No word means two months; where two languages differ
/// about one, it is left out.
const MONTHS: [&str; 12] = [
    "jan janv ene gen januar januari led sty tammi янв oca",
    "feb févr fév fev febr úno lut helmi фев şub",
    "mar mär märz mars mrt maalis bře márc мар",
    "apr avril avr abr huhti kwi dub ápr апр nis",
    "may mai mei maj mag touko kvě máj мая май",
    "jun juin giu juni kesä cze júni jún июн haz",
    "jul juil lug juli heinä lip čvc júl июл tem",
    "aug août aoû ago elo sie srp авг ağu",
    "sep sept set syys wrz zář szept сен eyl",
    "oct okt ott out loka paź říj окт eki",
    "nov marras lis ноя kas",
    "dec dez déc dic des joulu gru pro дек ara",
];

/// The month that a word names, in any of these languages or as the number that Chinese, Japanese and Korean have.
pub(super) fn parse_month(word: &[u8]) -> Option<u32> {
    let text = match std::str::from_utf8(word) {
        Ok(text) => text.to_lowercase(),
        // As servers wrote before UTF-8.
        Err(_) => word
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
            .to_lowercase(),
    };
    let text = text.trim_end_matches(['.', ',']);
    if let Some(number) = text.strip_suffix(['月', '월']) {
        let month = u32::try_from(parse_number(number.as_bytes())?).ok()?;
        return (1..=12).contains(&month).then_some(month);
    }
    (1..)
        .zip(MONTHS)
        .find_map(|(number, names)| names.split(' ').any(|name| name == text).then_some(number))
}

/// `2024-02-29`, `2024/02/29`.
pub(super) fn parse_iso_date(word: &[u8]) -> Option<(i64, u32, u32)> {
    let mut parts = word.split(|byte| matches!(byte, b'-' | b'/'));
    let year = parse_year(parts.next()?)?;
    let month = u32::try_from(parse_number(parts.next()?)?).ok()?;
    let day = u32::try_from(parse_number(parts.next()?)?).ok()?;
    parts.next().is_none().then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_means_two_months() {
        let mut words: Vec<&str> = MONTHS.iter().flat_map(|names| names.split(' ')).collect();
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
    }

    #[test]
    fn reads_months_of_many_languages() {
        for (word, month) in [
            ("Mär", 3),
            ("MÄR", 3),
            ("févr.", 2),
            ("août", 8),
            ("déc.", 12),
            ("11月", 11),
            ("3월", 3),
            ("ноя", 11),
            ("Şub", 2),
        ] {
            assert_eq!(parse_month(word.as_bytes()), Some(month), "{word}");
        }
        assert_eq!(parse_month(b"M\xe4r"), Some(3), "Latin-1");
        for word in ["13月", "0月", "000", "noon", ""] {
            assert_eq!(parse_month(word.as_bytes()), None, "{word}");
        }
    }

    fn order(dates: &[&str]) -> DateOrder {
        let mut orders = Orders::default();
        for date in dates {
            orders.note(DosDate::parse(date.as_bytes(), b"17:31").unwrap());
        }
        orders.best()
    }

    #[test]
    fn the_order_is_found_by_looking_at_all_dates() {
        assert_eq!(order(&["11-12-26", "01-02-26"]), DateOrder::MonthFirst);
        assert_eq!(order(&["11-12-26", "13-02-26"]), DateOrder::DayFirst);
        assert_eq!(order(&["11-12-26", "01-13-26"]), DateOrder::MonthFirst);
        assert_eq!(order(&["26-02-29", "26-11-30"]), DateOrder::DayFirst);
        assert_eq!(order(&["2023-11-14"]), DateOrder::YearFirst);
        assert_eq!(order(&["99-11-14", "98-01-02"]), DateOrder::YearFirst);
        assert_eq!(order(&["14.11.2023"]), DateOrder::DayFirst);
    }

    #[test]
    fn nonsense_is_no_date() {
        for (date, clock) in [
            ("13-32-26", "17:31"),
            ("11-22", "17:31"),
            ("11-22-26-1", "17:31"),
            ("11-22-026", "17:31"),
            ("11-22-26", "25:31"),
            ("11-22-26", "13:31PM"),
            ("99-99-99", "17:31"),
        ] {
            assert_eq!(
                DosDate::parse(date.as_bytes(), clock.as_bytes()),
                None,
                "{date}"
            );
        }
    }
}
