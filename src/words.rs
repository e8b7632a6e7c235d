//! How numbers, times, spans and long texts are written for a person. Pure, but for the zone of this machine.

use crate::system::zone_offset_secs;
use crate::time::Timestamp;

/// With commas between thousands, as Python writes it: `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Lines of at most so many columns, broken at blanks; a word that is longer has a line of its own. The first line begins with
/// `first`, and what goes on is set in by `indent`.
pub(crate) fn wrapped(first: &str, indent: usize, text: &str, columns: usize) -> String {
    let mut out = first.to_owned();
    let mut used = first.chars().count();
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
            used = 0;
        }
        for (at, word) in line.split(' ').enumerate() {
            let length = word.chars().count();
            if at > 0 && used > indent && used + 1 + length > columns {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                used = indent;
            } else if at > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
    }
    out
}

/// As a clock on this machine's wall shows it: `2023-11-14 23:13:20`.
pub(crate) fn local_time(time: Timestamp) -> String {
    time.plus_secs(zone_offset_secs(time)).to_string()
}

/// How long ago that was, roughly: `3 hours ago`.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    let secs = now.as_secs() - time.as_secs();
    match secs {
        ..-60 => "in the future by this machine's clock".to_owned(),
        _ => format!("{} ago", span(secs.max(0))),
    }
}

/// A span in its largest unit: `3 hours`.
pub(crate) fn span(secs: i64) -> String {
    const UNITS: [(i64, &str); 4] = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let fits = |unit: &&(i64, &str)| secs >= unit.0;
    let (unit, name) = UNITS.iter().find(fits).unwrap_or(&(1, "second"));
    count(u64::try_from(secs / unit).unwrap_or(0), name)
}

/// `1 file`, `2,000 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let many = match (number, noun.strip_suffix('y')) {
        (1, _) => noun.to_owned(),
        (_, Some(stem)) if !noun.ends_with("day") => format!("{stem}ies"),
        (_, _) => format!("{noun}s"),
    };
    format!("{} {many}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let shown: Vec<String> = [0, 123, 999, 1_000, 12_345, 1_234_567]
            .map(grouped)
            .into_iter()
            .collect();
        assert_eq!(shown, ["0", "123", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        let told: Vec<String> = [0, 1, 59, 60, 7_199, 7_200, 86_400, 864_000]
            .map(span)
            .into_iter()
            .collect();
        let expected = [
            "0 seconds",
            "1 second",
            "59 seconds",
            "1 minute",
            "1 hour",
            "2 hours",
            "1 day",
            "10 days",
        ];
        assert_eq!(told, expected);
        assert_eq!(count(2, "directory"), "2 directories");
        let now = Timestamp::from_secs(1_000);
        assert_eq!(ago(Timestamp::from_secs(940), now), "1 minute ago");
        assert!(ago(Timestamp::from_secs(2_000), now).contains("future"));
    }

    #[test]
    fn lines_break_at_blanks_and_words_stay_whole() {
        let broken = |text: &str, columns| wrapped("", 2, text, columns);
        assert_eq!(broken("one two three", 79), "one two three");
        assert_eq!(broken("one two three", 8), "one two\n  three");
        assert_eq!(broken("a\n  b", 79), "a\n  b");
        assert_eq!(
            broken("the directory /a/very/long/path is gone", 13),
            "the directory\n  /a/very/long/path\n  is gone"
        );
        assert_eq!(wrapped("key  ", 5, "one two", 9), "key  one\n     two");
    }
}
