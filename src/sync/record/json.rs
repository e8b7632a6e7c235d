//! JSON as Python reads and writes it: names that need not be UTF-8, and seconds that are exact.
//!
//! Python keeps a byte of a name that is not UTF-8 as a lone surrogate (`surrogateescape`: 0xE9 is `\udce9`), and so
//! does coracle, so that every name survives both programs. Objects are read field by field, with the values left as
//! text, and large ones in pieces: a file of 50,000 records never becomes a tree of values, nor is its text ever in
//! memory as a whole.

use std::fmt;
use std::io::{self, Write};

use serde::de::{Deserialize, IgnoredAny};

use crate::time::Timestamp;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Digits between a second and a nanosecond.
const NANO_PLACES: i64 = 9;

/// Calls `field` with the name and the JSON text of each field of the object `text`, in their order.
///
/// Fails when `text` is not one JSON object and nothing else; fields before the mistake were seen by then.
pub(crate) fn each_field<'t>(
    text: &'t str,
    field: &mut dyn FnMut(&[u8], &'t str),
) -> Result<(), Malformed> {
    let mut reader = Reader { text, at: 0 };
    let mut name = Vec::new();
    reader.expect(b'{', "an object")?;
    if reader.next() == Some(b'}') {
        return reader.is_done().map(|_| ());
    }
    loop {
        unquote(reader.value()?, &mut name)?;
        reader.expect(b':', "a colon")?;
        field(&name, reader.value()?);
        if reader.is_done()? {
            return Ok(());
        }
    }
}

/// Takes JSON from the front of a text. What a value is, serde_json says; but its own way to walk an object and to read a
/// string brings along all it knows of numbers and errors, 20 KB on a router's processor.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    /// The next byte that is no blank; it is not taken.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(BLANKS).len();
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        if self.next() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(Malformed::Expected(what))
        }
    }

    fn value(&mut self) -> Result<&'t str, Malformed> {
        self.next();
        let rest = &self.text[self.at..];
        let length = Seen::default().end_in(rest.as_bytes());
        let value = &rest[..length.unwrap_or(rest.len())];
        self.at += value.len();
        check(value).map(|()| value)
    }

    /// Whether the object ends here, and the text with it; if not, the comma is taken.
    fn is_done(&mut self) -> Result<bool, Malformed> {
        match self.next() {
            Some(b'}') => self.at += 1,
            Some(_) | None => return self.expect(b',', "a comma").map(|()| false),
        }
        match self.next() {
            None => Ok(true),
            Some(_) => Err(Malformed::Expected("nothing behind the object")),
        }
    }
}

/// What is wrong with a text that should be JSON.
#[derive(Debug)]
pub(crate) enum Malformed {
    /// It does not go on as it must.
    Expected(&'static str),
    /// It is not UTF-8.
    NotUtf8,
    /// A value in it is none.
    NoValue,
    /// It cannot be read on.
    Unread(io::Error),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::NoValue => f.write_str("expected a value"),
            Self::Unread(error) => error.fmt(f),
        }
    }
}

/// What was seen of a value.
#[derive(Default)]
pub(super) struct Seen {
    depth: usize,
    is_in_string: bool,
    /// What is escaped, above all a quote, ends nothing.
    is_escaped: bool,
}

/// How far a value goes.
enum Goes {
    On,
    ToHere,
    NotToHere,
}

impl Seen {
    /// Where in the bytes that follow the value must end, if it is one; none when it goes on behind them.
    // Byte by byte, which is where the time of reading metadata goes.
    pub(super) fn end_in(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            match self.take(*byte) {
                Goes::On => {}
                Goes::ToHere => return Some(index + 1),
                Goes::NotToHere => return Some(index),
            }
        }
        None
    }

    const fn take(&mut self, byte: u8) -> Goes {
        if self.is_in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.is_in_string = false;
                    if self.depth == 0 {
                        return Goes::ToHere;
                    }
                }
                _ => {}
            }
            return Goes::On;
        }
        match byte {
            // Before all else, for it is most of what stands outside strings.
            b'0'..=b'9' => {}
            b'"' => self.is_in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 1 => self.depth -= 1,
            b'}' | b']' if self.depth == 1 => return Goes::ToHere,
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => {
                return Goes::NotToHere;
            }
            _ => {}
        }
        Goes::On
    }
}

/// Whether `text` is one JSON value.
pub(crate) fn check(text: &str) -> Result<(), Malformed> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match IgnoredAny::deserialize(&mut deserializer).and_then(|_| deserializer.end()) {
        Ok(()) => Ok(()),
        Err(_) => Err(Malformed::NoValue),
    }
}

/// The bytes of the JSON string `text`; none when it is no string.
pub(crate) fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    check(text).ok()?;
    unquote(text.trim_matches(BLANKS), &mut bytes).ok()?;
    Some(bytes)
}

/// What JSON lets stand between its parts.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// Puts the bytes of a string into `bytes`, lone surrogates as what they stand for. `value` is known to be a JSON value.
pub(super) fn unquote(value: &str, bytes: &mut Vec<u8>) -> Result<(), Malformed> {
    bytes.clear();
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|text| unescape(text, bytes))
        .ok_or(Malformed::Expected("a string"))
}

/// Appends what stands between the quotes of a JSON string, lone surrogates as the bytes they stand for.
pub(super) fn unescape(text: &str, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let (plain, escape) = rest.split_at(at);
        out.extend_from_slice(plain);
        let (&kind, after) = escape[1..].split_first()?;
        rest = after;
        out.push(match kind {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let unit = take_unit(&mut rest)?;
                push_unit(unit, &mut rest, out);
                continue;
            }
            itself => itself,
        });
    }
    out.extend_from_slice(rest);
    Some(())
}

/// The unit of UTF-16 in the four digits at the front.
fn take_unit(rest: &mut &[u8]) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(4)?;
    let mut unit = 0;
    for digit in digits {
        unit = unit << 4 | char::from(*digit).to_digit(16)?;
    }
    *rest = after;
    Some(unit)
}

/// Appends one unit of UTF-16, together with its other half where that follows.
fn push_unit(unit: u32, rest: &mut &[u8], out: &mut Vec<u8>) {
    if let (0xd800..=0xdbff, Some(mut after)) = (unit, rest.strip_prefix(b"\\u"))
        && let Some(low @ 0xdc00..=0xdfff) = take_unit(&mut after)
    {
        *rest = after;
        push_code_point(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out);
    } else {
        push_code_point(unit, out);
    }
}

/// Appends a character; U+DC80 to U+DCFF as the byte that Python keeps in them, other lone surrogates as the three
/// bytes that UTF-8 would have for them.
fn push_code_point(code_point: u32, out: &mut Vec<u8>) {
    match (char::from_u32(code_point), code_point) {
        (Some(c), _) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        (None, 0xdc80..=0xdcff) => out.push((code_point & 0xff) as u8),
        (None, _) => out.extend_from_slice(&[
            0xe0 | (code_point >> 12) as u8,
            0x80 | (code_point >> 6 & 0x3f) as u8,
            0x80 | (code_point & 0x3f) as u8,
        ]),
    }
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
                _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
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
    write_number(nanos / NANOS_PER_SEC, out);
    if !nanos.is_multiple_of(NANOS_PER_SEC) {
        let point = out.len();
        // The leading one keeps the zeros behind the point.
        write_number(nanos % NANOS_PER_SEC + NANOS_PER_SEC, out);
        out[point] = b'.';
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Writes a number.
// By hand, for a record has three, and formatting them takes longer than all else about it.
pub(crate) fn write_number(number: u64, out: &mut Vec<u8>) {
    const MOST_DIGITS: usize = 20;
    let mut digits = [0; MOST_DIGITS];
    let mut first = MOST_DIGITS;
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Writes `"key":`, after a comma where it is not the first of its object.
pub(crate) fn write_key(key: &[u8], is_first: bool, out: &mut Vec<u8>) {
    if !is_first {
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
    fn takes_for_an_object_what_a_tree_would_be_made_of() {
        let good = r#" {"a" : [1, -0.5e+3, {"b\u00e9\ud83d\ude00\n": null}], "c":"x\"\\\/", "": false ,"t":true,"e":{},"l":[ ]} "#;
        let alike = |text: &[u8]| {
            let Ok(text) = std::str::from_utf8(text) else {
                return;
            };
            let tree: Result<serde_json::Map<String, serde_json::Value>, _> =
                serde_json::from_str(text);
            let ours = each_field(text, &mut |_, _| ());
            // Fine here, and not there.
            let is_lenient = |error: &serde_json::Error| {
                ["out of range", "surrogate", "end of hex escape"]
                    .iter()
                    .any(|reason| error.to_string().contains(reason))
            };
            match tree {
                Ok(_) => assert!(ours.is_ok(), "{text}"),
                Err(error) => assert!(ours.is_err() || is_lenient(&error), "{text}: {error}"),
            }
        };
        alike(good.as_bytes());
        assert!(each_field(good, &mut |_, _| ()).is_ok());
        for at in 0..good.len() {
            alike(&good.as_bytes()[..at]);
            for byte in 0..128 {
                let mut changed = good.as_bytes().to_vec();
                changed[at] = byte;
                alike(&changed);
                changed.insert(at, b'0');
                alike(&changed);
            }
        }
    }

    #[test]
    fn lone_surrogates_keep_their_place() {
        assert_eq!(
            parse_bytes(r#""\ud800\udce9\ud83dx\udcff\ud83d\ud83d\ude00""#),
            Some(b"\xf0\x90\x83\xa9\xed\xa0\xbdx\xff\xed\xa0\xbd\xf0\x9f\x98\x80".to_vec())
        );
    }

    #[test]
    fn deep_nesting_is_walked_without_a_deep_stack() {
        let nested = |depth| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(each_field(&nested(1_000_000), &mut |_, _| ()).is_ok());
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
