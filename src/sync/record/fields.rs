//! The fields of one line, a JSON object without blanks, as they stand there: nothing is copied and nothing is made.
//!
//! By hand, for an archive of 100,000 files is read twice in each run.

use crate::path::Name;
use crate::replica::{Mtime, Precision};
use crate::sync::record::json;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// What stands behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// What is between the quotes of a string, without anything escaped.
    Plain(&'a [u8]),
    /// The same with something escaped.
    Escaped(&'a [u8]),
    /// A number, `true`, `false` or `null`.
    Word(&'a [u8]),
    /// An object or a list.
    Nested,
}

/// What is wrong with a line that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// Takes field after field from a line.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    is_first: bool,
}

impl<'a> Fields<'a> {
    /// The fields of that line; none when it does not begin as one.
    pub(super) fn of(line: &'a [u8]) -> Option<Self> {
        line.starts_with(b"{").then_some(Self {
            rest: line,
            is_first: true,
        })
    }

    /// The next key and its value; none at the end of the line.
    pub(super) fn next(&mut self) -> Result<Option<(&'a [u8], Value<'a>)>, Broken> {
        let text = match self.rest {
            [b'{', rest @ ..] if self.is_first => rest,
            [b',', rest @ ..] if !self.is_first => rest,
            [b'}'] if !self.is_first => return Ok(None),
            _ => return Err(Broken),
        };
        let (Value::Plain(key), [b':', text @ ..]) = string(text)? else {
            return Err(Broken);
        };
        let (value, rest) = match text {
            [b'"', ..] => string(text)?,
            [b'{' | b'[', ..] => (Value::Nested, nested(text)?),
            _ => word(text)?,
        };
        self.is_first = false;
        self.rest = rest;
        Ok(Some((key, value)))
    }
}

/// Takes a string from the front.
fn string(text: &[u8]) -> Result<(Value<'_>, &[u8]), Broken> {
    let [b'"', text @ ..] = text else {
        return Err(Broken);
    };
    let mut is_plain = true;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                let (text, rest) = (&text[..at], &text[at + 1..]);
                let value = if is_plain {
                    Value::Plain(text)
                } else {
                    Value::Escaped(text)
                };
                return Ok((value, rest));
            }
            b'\\' => {
                is_plain = false;
                at += 2;
            }
            // What a hole in a file reads as, and what must be escaped.
            0..=0x1f => return Err(Broken),
            _ => at += 1,
        }
    }
    Err(Broken)
}

/// Takes what is no string, object or list from the front.
fn word(text: &[u8]) -> Result<(Value<'_>, &[u8]), Broken> {
    let mut length = 0;
    while let Some(b'0'..=b'9' | b'a'..=b'z' | b'.' | b'-' | b'+' | b'E') = text.get(length) {
        length += 1;
    }
    if length == 0 {
        return Err(Broken);
    }
    let (word, rest) = text.split_at(length);
    Ok((Value::Word(word), rest))
}

/// What is behind the object or list at the front.
fn nested(mut text: &[u8]) -> Result<&[u8], Broken> {
    let mut depth = 0_usize;
    loop {
        let (first, rest) = text.split_first().ok_or(Broken)?;
        text = match first {
            b'"' => string(text)?.1,
            _ => rest,
        };
        match first {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(text);
        }
    }
}

impl<'a> Value<'a> {
    /// The bytes of a string; `scratch` holds them where something is escaped.
    pub(super) fn bytes(self, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Escaped(text) => {
                scratch.clear();
                json::unescape(str::from_utf8(text).ok()?, scratch)?;
                Some(scratch)
            }
            Self::Word(_) | Self::Nested => None,
        }
    }

    /// A string that is a name.
    pub(super) fn name(self, scratch: &'a mut Vec<u8>) -> Option<Name<'a>> {
        Name::new(self.bytes(scratch)?).ok()
    }

    /// A whole number.
    pub(super) fn number(self) -> Option<u64> {
        let Self::Word(text) = self else { return None };
        decimal(text)
    }

    /// `true`.
    pub(super) fn is_true(self) -> bool {
        self == Self::Word(b"true")
    }

    /// A string of 16 hexadecimal digits.
    pub(super) fn hex(self) -> Option<u64> {
        let Self::Plain(text) = self else { return None };
        if text.len() != 16 {
            return None;
        }
        text.iter().try_fold(0, |value, digit| {
            let digit = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            Some(value << 4 | u64::from(digit))
        })
    }

    /// A point in time.
    pub(super) fn time(self) -> Option<Timestamp> {
        let Self::Word(text) = self else { return None };
        Some(Timestamp::from_nanos(nanos(text)?.0))
    }

    /// A modification time, see [`write_mtime`](super::format::write_mtime).
    pub(super) fn mtime(self) -> Option<Mtime> {
        let (nanos, precision) = match self {
            Self::Word(text) => {
                let (nanos, has_fraction) = nanos(text)?;
                let precision = if has_fraction {
                    Precision::Fraction
                } else {
                    Precision::Second
                };
                (nanos, precision)
            }
            Self::Plain(text) => {
                let (letter, digits) = text.split_last()?;
                (nanos(digits)?.0, precision_of(*letter)?)
            }
            Self::Escaped(_) | Self::Nested => return None,
        };
        Some(Mtime {
            at: Timestamp::from_nanos(nanos),
            precision,
        })
    }
}

/// The letter that says how exactly a time was told.
pub(super) const fn letter_of(precision: Precision) -> u8 {
    match precision {
        Precision::Fraction => b'f',
        Precision::Second => b's',
        Precision::TwoSeconds => b't',
        Precision::Close => b'c',
        Precision::Minute => b'm',
        Precision::Day => b'd',
    }
}

const fn precision_of(letter: u8) -> Option<Precision> {
    Some(match letter {
        b'f' => Precision::Fraction,
        b's' => Precision::Second,
        b't' => Precision::TwoSeconds,
        b'c' => Precision::Close,
        b'm' => Precision::Minute,
        b'd' => Precision::Day,
        _ => return None,
    })
}

fn decimal(text: &[u8]) -> Option<u64> {
    /// So many digits are no number that is too large.
    const SAFE_DIGITS: usize = 19;
    if text.is_empty() || text.len() > SAFE_DIGITS + 1 {
        return None;
    }
    let mut value = 0_u64;
    let (safe, last) = text.split_at(text.len().min(SAFE_DIGITS));
    for digit in safe {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    match last {
        [] => Some(value),
        [digit @ b'0'..=b'9'] => value.checked_mul(10)?.checked_add((digit - b'0').into()),
        _ => None,
    }
}

/// Nanoseconds of `-12.5`, and whether there is a fraction. None when it is no such number, or beyond what a time holds.
fn nanos(text: &[u8]) -> Option<(i64, bool)> {
    const MOST_PLACES: usize = 9;
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut point = 0;
    while text.get(point).is_some_and(|byte| *byte != b'.') {
        point += 1;
    }
    let mut nanos = decimal(&text[..point])?.checked_mul(NANOS_PER_SEC as u64)?;
    let has_fraction = point < text.len();
    if has_fraction {
        let digits = &text[point + 1..];
        let mut fraction = decimal(digits)?;
        for _ in digits.len()..MOST_PLACES {
            fraction *= 10;
        }
        if digits.len() > MOST_PLACES {
            return None;
        }
        nanos = nanos.checked_add(fraction)?;
    }
    let nanos = if is_negative {
        0_i64.checked_sub_unsigned(nanos)?
    } else {
        i64::try_from(nanos).ok()?
    };
    Some((nanos, has_fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &[u8]) -> Option<Vec<(&[u8], Value<'_>)>> {
        let mut fields = Fields::of(line)?;
        let mut all = Vec::new();
        loop {
            match fields.next() {
                Ok(Some(field)) => all.push(field),
                Ok(None) => return Some(all),
                Err(Broken) => return None,
            }
        }
    }

    #[test]
    fn fields_come_as_they_stand_there() {
        let line = br#"{"f":"a","s":12,"x":{"y":["}",1]},"l":-1.5,"rn":"\"\udce9","ok":true}"#;
        let expected: [(&[u8], Value<'_>); 6] = [
            (b"f", Value::Plain(b"a")),
            (b"s", Value::Word(b"12")),
            (b"x", Value::Nested),
            (b"l", Value::Word(b"-1.5")),
            (b"rn", Value::Escaped(br#"\"\udce9"#)),
            (b"ok", Value::Word(b"true")),
        ];
        assert_eq!(all(line).unwrap(), expected);
        let mut scratch = Vec::new();
        assert_eq!(expected[4].1.bytes(&mut scratch), Some(&b"\"\xe9"[..]));
    }

    #[test]
    fn a_line_cut_anywhere_is_none() {
        let line = br#"{"f":"a\"","s":12,"x":{"y":["}",1]},"ok":true}"#;
        assert!(all(line).is_some());
        for end in 0..line.len() {
            assert_eq!(all(&line[..end]), None, "{end}");
        }
        for none in [
            &b"{}x"[..],
            b"{}",
            b"{\"a\":1},",
            b"{\"a\":}",
            b"{\"a\\n\":1}",
            b"{\"a\":\"\0\"}",
        ] {
            assert_eq!(all(none), None, "{}", none.escape_ascii());
        }
    }

    #[test]
    fn numbers_are_exact_or_none() {
        let word = |text: &'static str| Value::Word(text.as_bytes());
        assert_eq!(word("18446744073709551615").number(), Some(u64::MAX));
        for none in ["18446744073709551616", "-1", "1.5", "true", ""] {
            assert_eq!(word(none).number(), None, "{none}");
        }
        let time = |text| word(text).time().map(Timestamp::as_nanos);
        assert_eq!(time("9223372036.854775807"), Some(i64::MAX));
        assert_eq!(time("-9223372036.854775808"), Some(i64::MIN));
        assert_eq!(time("-0.5"), Some(-500_000_000));
        for none in [
            "9223372036.854775808",
            "1.",
            ".5",
            "1.1234567890",
            "1e5",
            "-",
            "",
            "99999999999999999999",
        ] {
            assert_eq!(time(none), None, "{none}");
        }
        assert_eq!(Value::Plain(b"00000000000000ff").hex(), Some(255));
        for none in [
            &b"0000000000000fF"[..],
            b"00000000000000FF",
            b"",
            b"00000000000000fff",
        ] {
            assert_eq!(Value::Plain(none).hex(), None);
        }
    }
}
