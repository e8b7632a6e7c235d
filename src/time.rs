//! Points in time: one type, UTC, no local zone anywhere, and the tolerance within which two of them are equal.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Modification times closer than this are equal, in nanoseconds: FAT keeps even seconds only, and pyftpsync uses
/// the same 2.01 s.
pub const TOLERANCE_NANOS: i64 = 2_010_000_000;

/// Nanoseconds in a second.
pub const NANOS_PER_SEC: i64 = 1_000_000_000;
const SECS_PER_DAY: i64 = 86_400;

/// A point in time: nanoseconds since 1970 in UTC, from 1677 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since 1970.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since 1970; a time beyond what the type holds becomes its nearest end.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(NANOS_PER_SEC))
    }

    /// From seconds since 1970 as metadata files hold them; none for NaN and infinities.
    pub fn from_secs_f64(secs: f64) -> Option<Self> {
        // `as` saturates, which is the wish for far-off times.
        secs.is_finite().then(|| Self((secs * 1e9).round() as i64))
    }

    /// The wall clock now. It may be wrong: see the unset-clock guard.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Nanoseconds since 1970.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SEC)
    }

    /// Seconds since 1970 with their fraction, as metadata files hold them.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// This time moved by `secs` seconds.
    #[must_use]
    pub const fn plus_secs(self, secs: i64) -> Self {
        Self(self.0.saturating_add(secs.saturating_mul(NANOS_PER_SEC)))
    }

    /// Whether the two times are equal as far as file systems and servers can tell.
    pub const fn is_close_to(self, other: Self) -> bool {
        self.0.abs_diff(other.0) <= TOLERANCE_NANOS as u64
    }

    /// From a civil UTC date and time; none where a field is out of its range. Second 60 (a leap second) counts as 59.
    pub fn from_civil(
        year: i64,
        month: u32,
        day: u32,
        hour: u32,
        minute: u32,
        second: u32,
    ) -> Option<Self> {
        let in_range = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60
            && (1601..=9999).contains(&year);
        in_range.then(|| {
            let time_of_day =
                i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second.min(59));
            Self::from_secs(days_from_civil(year, month, day) * SECS_PER_DAY + time_of_day)
        })
    }

    /// The civil UTC date and time.
    pub fn to_civil(self) -> Civil {
        let secs = self.as_secs();
        let (year, month, day) = civil_from_days(secs.div_euclid(SECS_PER_DAY));
        let time_of_day = secs.rem_euclid(SECS_PER_DAY) as u32;
        Civil {
            year,
            month,
            day,
            hour: time_of_day / 3600,
            minute: time_of_day / 60 % 60,
            second: time_of_day % 60,
        }
    }

    /// Parses `YYYYMMDDHHMMSS[.fraction]` (RFC 3659, 2.3). Anything else, or a date that does not exist, is none.
    pub fn parse_ftp(text: &[u8]) -> Option<Self> {
        let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
            Some(dot) => (&text[..dot], &text[dot + 1..]),
            None => (text, &b""[..]),
        };
        if whole.len() != 14 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            whole[range]
                .iter()
                .fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'))
        };
        let time = Self::from_civil(
            i64::from(number(0..4)),
            number(4..6),
            number(6..8),
            number(8..10),
            number(10..12),
            number(12..14),
        )?;
        let nanos = (0..9).fold(0, |nanos, place| {
            nanos * 10
                + fraction
                    .get(place)
                    .map_or(0, |digit| i64::from(digit - b'0'))
        });
        Some(Self(time.0.saturating_add(nanos)))
    }

    /// `YYYYMMDDHHMMSS`, without the fraction: pyftpdlib refuses one in MFMT, the others drop it.
    pub fn to_ftp(self) -> String {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self.to_civil();
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(nanos(after)),
            Err(before) => Self(-nanos(before.duration())),
        }
    }
}

/// `2023-11-14 22:13:20`, in UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self.to_civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )
    }
}

/// A date and time of day in UTC, Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Year, from 1677 to 2262.
    pub year: i64,
    /// Month, from 1.
    pub month: u32,
    /// Day of the month, from 1.
    pub day: u32,
    /// Hour, from 0 to 23.
    pub hour: u32,
    /// Minute, from 0 to 59.
    pub minute: u32,
    /// Second, from 0 to 59.
    pub second: u32,
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01. Counting years from March puts the leap day at a year's end, where it needs no case.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in -130_000..90_000 {
            let (year, month, of_month) = civil_from_days(day);
            assert_eq!(days_from_civil(year, month, of_month), day);
            assert!(of_month <= days_in_month(year, month));
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
    }

    #[test]
    fn reads_ftp_times() {
        assert_eq!(
            Timestamp::parse_ftp(b"20240229123456"),
            Some(Timestamp::from_secs(1_709_210_096))
        );
        assert_eq!(
            Timestamp::parse_ftp(b"19700101000000.5"),
            Some(Timestamp::from_nanos(500_000_000))
        );
        assert_eq!(
            Timestamp::parse_ftp(b"19600101000000"),
            Some(Timestamp::from_secs(-315_619_200))
        );
        assert_eq!(
            Timestamp::parse_ftp(b"20161231235960"),
            Timestamp::parse_ftp(b"20161231235959")
        );
    }

    #[test]
    fn refuses_times_that_do_not_exist() {
        let bad = [
            "",
            "2024",
            "20241301000000",
            "20230229000000",
            "20240229240000",
            "191000101000000",
            "-0240229123456",
        ];
        for text in bad {
            assert_eq!(Timestamp::parse_ftp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in [
            "20240229123456",
            "19600101000000",
            "20400101000000",
            "21100203040506",
        ] {
            assert_eq!(
                Timestamp::parse_ftp(text.as_bytes()).unwrap().to_ftp(),
                text
            );
        }
    }

    #[test]
    fn json_seconds_come_back_unchanged() {
        for secs in [
            0.0,
            1_700_000_000.0,
            1_700_000_000.123_456_7,
            -5.25,
            4_102_444_800.75,
        ] {
            assert_eq!(Timestamp::from_secs_f64(secs).unwrap().as_secs_f64(), secs);
        }
        assert_eq!(Timestamp::from_secs_f64(f64::NAN), None);
    }

    #[test]
    fn two_seconds_apart_is_close_and_three_is_not() {
        let time = Timestamp::from_secs(1_000);
        assert!(time.is_close_to(time.plus_secs(2)) && time.is_close_to(time.plus_secs(-2)));
        assert!(!time.is_close_to(time.plus_secs(3)));
        assert!(!Timestamp::from_nanos(i64::MIN).is_close_to(Timestamp::from_nanos(i64::MAX)));
    }
}
