//! JSON as Python reads and writes it: names that need not be UTF-8, and seconds that are exact.
//!
//! Python keeps a byte of a name that is not UTF-8 as a lone surrogate (`surrogateescape`: 0xE9 is `\udce9`), and so
//! does coracle, so that every name survives both programs. Objects are read field by field, with the values left as
//! text: a file of 50,000 records never becomes a tree of values.

use std::fmt;
use std::io::Write;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::time::Timestamp;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Digits between a second and a nanosecond.
const NANO_PLACES: i64 = 9;

/// Calls `field` with the name and the JSON text of each field of the object `text`, in their order.
///
/// Fails when `text` is not one JSON object and nothing else; fields before the mistake were seen by then.
pub(crate) fn each_field<'de>(
    text: &'de str,
    field: &mut dyn FnMut(&[u8], &'de str),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Fields(field))?;
    deserializer.end()
}

struct Fields<'f, 'de>(&'f mut dyn FnMut(&[u8], &'de str));

impl<'de> Visitor<'de> for Fields<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut name = Vec::new();
        while map.next_key_seed(Bytes(&mut name))?.is_some() {
            let value: &'de RawValue = map.next_value()?;
            (self.0)(&name, value.get());
        }
        Ok(())
    }
}

/// Reads a JSON string into a buffer, lone surrogates as the bytes they stand for.
struct Bytes<'b>(&'b mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Bytes<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Bytes<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: serde::de::Error>(self, text: &[u8]) -> Result<(), E> {
        self.0.clear();
        unescape_surrogates(text, self.0);
        Ok(())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _seq: A) -> Result<(), A::Error> {
        // serde_json takes an array of numbers for bytes, too.
        Err(A::Error::custom("expected a string"))
    }
}

/// serde_json hands out a lone surrogate as the three bytes that UTF-8 would have for it; U+DC80 to U+DCFF are
/// `ED B2 80` to `ED B3 BF`.
fn unescape_surrogates(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == 0xed) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let taken = match from {
            [0xed, 0xb2, low, ..] => {
                out.push(*low);
                3
            }
            [0xed, 0xb3, low, ..] => {
                out.push(low | 0x40);
                3
            }
            _ => {
                out.push(0xed);
                1
            }
        };
        rest = &from[taken..];
    }
    out.extend_from_slice(rest);
}

/// The bytes of the JSON string `text`; none when it is no string.
pub(crate) fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Bytes(&mut bytes).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(bytes)
}

/// The time that the JSON number `text` means in seconds since 1970, exact to the nanosecond; a time beyond what the
/// type holds becomes its nearest end. None when it is no number.
// Without `f64`, because reading and writing those takes 30 KB on a router's processor.
pub(crate) fn parse_secs(text: &str) -> Option<Timestamp> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut digits = whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits.clone().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut places = whole.len() as i64 + i64::from(exponent) + NANO_PLACES;
    let mut nanos = 0_i64;
    while places > 0 && nanos < i64::MAX {
        nanos = match digits.next() {
            Some(digit) => push_digit(nanos, digit - b'0'),
            // However many zeros follow.
            None if nanos == 0 => break,
            None => push_digit(nanos, 0),
        };
        places -= 1;
    }
    Some(Timestamp::from_nanos(if is_negative {
        -nanos
    } else {
        nanos
    }))
}

fn push_digit(number: i64, digit: u8) -> i64 {
    number.saturating_mul(10).saturating_add(digit.into())
}

/// Writes `name` as a JSON string.
pub(crate) fn write_bytes(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                // DEL and the C1 controls need no escape in JSON, but a log or terminal that shows the file does.
                _ if c.is_control() => push(out, format_args!("\\u{:04x}", u32::from(c))),
                _ => push(out, format_args!("{c}")),
            }
        }
        for byte in chunk.invalid() {
            push(out, format_args!("\\udc{byte:02x}"));
        }
    }
    out.push(b'"');
}

/// Writes `time` as seconds since 1970: an integer when it is whole, else with the digits it has.
pub(crate) fn write_secs(time: Timestamp, out: &mut Vec<u8>) {
    let nanos = time.as_nanos();
    if nanos < 0 {
        out.push(b'-');
    }
    let nanos = nanos.unsigned_abs();
    push(out, format_args!("{}", nanos / NANOS_PER_SEC));
    if !nanos.is_multiple_of(NANOS_PER_SEC) {
        push(out, format_args!(".{:09}", nanos % NANOS_PER_SEC));
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Writes `"key":` after a comma where one is needed.
pub(crate) fn write_key(key: &[u8], out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{')) {
        out.push(b',');
    }
    write_bytes(key, out);
    out.push(b':');
}

/// Writes formatted text.
pub(crate) fn push(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &[u8]) -> String {
        let mut out = Vec::new();
        write_bytes(name, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_that_are_not_utf8_become_lone_surrogates() {
        assert_eq!(written(b"caf\xe9"), r#""caf\udce9""#);
        assert_eq!(
            written("é\u{7f}\"\\\n".as_bytes()),
            "\"é\\u007f\\\"\\\\\\u000a\""
        );
    }

    #[test]
    fn every_name_comes_back() {
        let mut names: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![b'a', byte, b'z']).collect();
        // What UTF-8 would have for U+DC80, U+D800 and a cut four-byte character.
        names.extend([
            b"\xed\xb2\x80".to_vec(),
            b"\xed\xa0\x80".to_vec(),
            b"\xf0\x9f\x98".to_vec(),
        ]);
        names.push("héllo 😀 \u{2028}".into());
        for name in names {
            let text = written(&name);
            assert_eq!(parse_bytes(&text).as_deref(), Some(&name[..]), "{text}");
            let object = format!("{{{text}:1}}");
            let mut seen = Vec::new();
            each_field(&object, &mut |key, value| seen.push((key.to_vec(), value))).unwrap();
            assert_eq!(seen, [(name, "1")]);
        }
    }

    #[test]
    fn reads_what_python_escapes() {
        assert_eq!(
            parse_bytes(r#""\u00e9\ud83d\ude00\udcff""#).unwrap(),
            "é😀".bytes().chain([0xff]).collect::<Vec<_>>()
        );
        assert_eq!(parse_bytes("[97]"), None);
        assert_eq!(parse_bytes("\"a\"b"), None);
    }

    #[test]
    fn seconds_are_exact_both_ways() {
        for (text, nanos) in [
            ("0", 0),
            ("1700000000.123456789", 1_700_000_000_123_456_789),
            ("1700000000.1234567", 1_700_000_000_123_456_700),
            ("-5.25", -5_250_000_000),
            ("-0.000000001", -1),
            ("9223372036.854775807", i64::MAX),
        ] {
            assert_eq!(
                parse_secs(text),
                Some(Timestamp::from_nanos(nanos)),
                "{text}"
            );
            let mut out = Vec::new();
            write_secs(Timestamp::from_nanos(nanos), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn seconds_may_be_floats_of_any_shape_and_nothing_else() {
        assert_eq!(
            parse_secs("1700000000.0"),
            Some(Timestamp::from_secs(1_700_000_000))
        );
        assert_eq!(parse_secs("5e-05"), Some(Timestamp::from_nanos(50_000)));
        assert_eq!(
            parse_secs("-1.5E+3"),
            Some(Timestamp::from_nanos(-1_500_000_000_000))
        );
        assert_eq!(parse_secs("123e-12"), Some(Timestamp::from_nanos(0)));
        assert_eq!(parse_secs("0e2000000000"), Some(Timestamp::from_nanos(0)));
        for beyond in ["1e99", "1e2000000000", "9223372036.854775808"] {
            let end = Some(Timestamp::from_nanos(i64::MAX));
            assert_eq!(parse_secs(beyond), end, "{beyond}");
        }
        for text in [
            "null", "\"5\"", "true", "[]", "nan", "inf", "", "-", ".", "1e", "1e5.0",
        ] {
            assert_eq!(parse_secs(text), None, "{text}");
        }
    }
}
