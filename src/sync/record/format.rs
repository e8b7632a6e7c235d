//! How archive and journal are written. No I/O; what was written, `line` reads.
//!
//! Each line is a JSON object, and its first key says what it is. Names that are not UTF-8 stand there as Python's
//! `surrogateescape` writes them. A time is a number of seconds, exact to the nanosecond; where it does not follow from the
//! digits how exactly it was told, a string with a letter behind them.

use crate::replica::{Mtime, Precision};
use crate::side::Side;
use crate::sync::record::archive::{DirFacts, Intent, Part, Record, Shown, What};
use crate::sync::record::fields::letter_of;
use crate::sync::record::json;
use crate::sync::record::line::DirLine;
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Writes the first line of a directory.
pub(super) fn write_dir(line: &DirLine, out: &mut Vec<u8>) {
    write_first(b"dir", line.path.as_bytes(), out);
    write_number(b"n", line.rows, out);
    write_number(b"b", line.name_bytes, out);
    write_facts_fields(&line.facts, out);
    out.extend_from_slice(b"}\n");
}

/// Writes a line with nothing but a path or name behind its key.
pub(super) fn write_single(key: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
    write_first(key, bytes, out);
    out.extend_from_slice(b"}\n");
}

/// Writes that the block is gone.
pub(super) fn write_drop(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"drop\":true}\n");
}

/// Writes what is known of a directory.
pub(super) fn write_facts(facts: &DirFacts, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"facts\":true");
    write_facts_fields(facts, out);
    out.extend_from_slice(b"}\n");
}

fn write_facts_fields(facts: &DirFacts, out: &mut Vec<u8>) {
    if facts.inode != 0 {
        write_number(b"i", facts.inode, out);
    }
    if let Some(mount) = facts.mounts.local {
        write_hex(b"mount", mount, out);
    }
    if let Some(mount) = facts.mounts.remote {
        write_hex(b"rmount", mount, out);
    }
    if facts.settled {
        out.extend_from_slice(b",\"settled\":true");
    }
    if facts.left_out {
        out.extend_from_slice(b",\"out\":true");
    }
    if facts.adopted {
        out.extend_from_slice(b",\"adopted\":true");
    }
    if let Some(glance) = facts.glance {
        write_hex(b"glance", glance, out);
    }
    if facts.seen_at != Timestamp::from_secs(0) {
        write_time(b"at", facts.seen_at, out);
    }
}

/// Writes an entry's record.
pub(super) fn write_record(record: &Record<'_>, out: &mut Vec<u8>) {
    match record.what {
        What::File(shown) => {
            write_first(b"f", record.name.as_bytes(), out);
            write_shown(&shown.local, b"l", out);
            if let Some(mtime) = shown.remote.mtime {
                write_mtime(b"r", mtime, out);
            }
            if shown.remote.size != shown.local.size {
                write_number(b"rs", shown.remote.size, out);
            }
            if let Some(digest) = shown.local.digest {
                write_hex(b"h", digest, out);
            }
        }
        What::Dir => write_first(b"d", record.name.as_bytes(), out),
    }
    if record.ids.local != 0 {
        write_number(b"i", record.ids.local, out);
    }
    if record.ids.remote != 0 {
        write_hex(b"u", record.ids.remote, out);
    }
    if let Some(remote_name) = record.remote_name {
        write_key(b"rn", out);
        write_text(remote_name.as_bytes(), out);
    }
    out.extend_from_slice(b"}\n");
}

/// Writes an intent; its directory has to be told by what stands before it.
pub(super) fn write_intent(intent: &Intent, out: &mut Vec<u8>) {
    match intent {
        Intent::Place {
            name,
            to,
            source,
            seen,
            at,
            ..
        } => {
            write_first(b"place", name, out);
            write_side(b"to", *to, out);
            write_shown(source, b"m", out);
            if let Some(seen) = seen {
                write_mtime(b"seen", *seen, out);
            }
            write_time(b"at", *at, out);
        }
        Intent::Delete { name, on, .. } => {
            write_first(b"delete", name, out);
            write_side(b"on", *on, out);
        }
        Intent::MoveDir { from, .. } => {
            write_first(b"move", intent.name(), out);
            write_key(b"from", out);
            write_text(from.as_bytes(), out);
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Writes what is there of a file.
pub(super) fn write_part(part: &Part, out: &mut Vec<u8>) {
    write_first(b"part", &part.name, out);
    write_side(b"to", part.to, out);
    write_shown(&part.source, b"m", out);
    write_number(b"done", part.confirmed, out);
    out.extend_from_slice(b"}\n");
}

fn write_shown(shown: &Shown, time_key: &[u8], out: &mut Vec<u8>) {
    write_number(b"s", shown.size, out);
    if let Some(mtime) = shown.mtime {
        write_mtime(time_key, mtime, out);
    }
}

fn write_side(key: &[u8], side: Side, out: &mut Vec<u8>) {
    write_key(key, out);
    out.extend_from_slice(match side {
        Side::Local => b"\"local\"",
        Side::Remote => b"\"remote\"",
    });
}

/// Writes a modification time: as a number where its digits say how exactly it was told, else with a letter behind it.
pub(super) fn write_mtime(key: &[u8], mtime: Mtime, out: &mut Vec<u8>) {
    write_key(key, out);
    let has_fraction = mtime.at.as_nanos() % NANOS_PER_SEC != 0;
    let follows_from_digits = match mtime.precision {
        Precision::Fraction => has_fraction,
        Precision::Second => !has_fraction,
        Precision::TwoSeconds | Precision::Close | Precision::Minute | Precision::Day => false,
    };
    if follows_from_digits {
        json::write_secs(mtime.at, out);
        return;
    }
    out.push(b'"');
    json::write_secs(mtime.at, out);
    out.extend_from_slice(&[letter_of(mtime.precision), b'"']);
}

pub(super) fn write_time(key: &[u8], time: Timestamp, out: &mut Vec<u8>) {
    write_key(key, out);
    json::write_secs(time, out);
}

pub(super) fn write_number(key: &[u8], number: u64, out: &mut Vec<u8>) {
    write_key(key, out);
    json::write_number(number, out);
}

pub(super) fn write_hex(key: &[u8], number: u64, out: &mut Vec<u8>) {
    write_key(key, out);
    out.push(b'"');
    write_digits(number, out);
    out.push(b'"');
}

/// Writes 16 hexadecimal digits.
pub(super) fn write_digits(number: u64, out: &mut Vec<u8>) {
    let digit = |place: u32| b"0123456789abcdef"[(number >> (place * 4) & 0xf) as usize];
    out.extend((0..16).rev().map(digit));
}

/// Writes the key that says what a line is, and what it is about.
pub(super) fn write_first(key: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
    write_text(bytes, out);
}

pub(super) fn write_key(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key);
    out.extend_from_slice(b"\":");
}

/// Most names need no second look.
pub(super) fn write_text(bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'"' && *byte != b'\\';
    if bytes.iter().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        json::write_bytes(bytes, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Name, RelPath};
    use crate::side::Sides;
    use crate::sync::record::line::{Line, Scratch, parse};
    use crate::sync::record::scene::{at, name, odd_records, part, path, place};

    /// Each line that there can be, as text and as what it says.
    fn lines() -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut line = Vec::new();
            write(&mut line);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            assert_eq!(line.pop(), Some(b'\n'));
            lines.push(line);
        };
        for record in odd_records() {
            add(&|out| write_record(&record, out));
        }
        for facts in odd_facts() {
            add(&|out| write_facts(&facts, out));
            let line = DirLine {
                path: RelPath::parse(b"caf\xe9/\"").unwrap(),
                facts,
                rows: 12,
                name_bytes: 240,
            };
            add(&|out| write_dir(&line, out));
        }
        for intent in odd_intents() {
            add(&|out| write_intent(&intent, out));
        }
        add(&|out| write_part(&part(b"caf\xe9", 7), out));
        add(&|out| write_drop(out));
        for key in [&b"in"[..], b"forget", b"undone", b"nopart", b"moved"] {
            add(&|out| write_single(key, b"\"\xe9", out));
        }
        lines
    }

    fn odd_facts() -> [DirFacts; 2] {
        let all = DirFacts {
            inode: u64::MAX,
            mounts: Sides::new(Some(0), Some(u64::MAX)),
            settled: true,
            left_out: true,
            adopted: true,
            glance: Some(u64::MAX),
            seen_at: Timestamp::from_nanos(-1),
        };
        [DirFacts::default(), all]
    }

    fn odd_intents() -> [Intent; 4] {
        let bare = Intent::Place {
            dir: path("d"),
            name: b"x"[..].into(),
            to: Side::Local,
            source: Shown {
                size: u64::MAX,
                mtime: None,
                digest: None,
            },
            seen: None,
            at: Timestamp::from_nanos(i64::MIN),
        };
        let delete = Intent::Delete {
            dir: path("d"),
            name: b"caf\xe9"[..].into(),
            on: Side::Remote,
        };
        let rename = Intent::MoveDir {
            from: RelPath::parse(b"a/\"/\xe9").unwrap(),
            to: path("d/new"),
        };
        [place("d", b"\\", 3), bare, delete, rename]
    }

    #[test]
    fn every_record_comes_back() {
        for record in odd_records() {
            let mut line = Vec::new();
            write_record(&record, &mut line);
            line.pop();
            let mut scratch = Scratch::default();
            let parsed = parse(&line, &mut scratch);
            let shown = String::from_utf8_lossy(&line);
            assert_eq!(parsed, Some(Line::Record(record)), "{shown}");
        }
    }

    #[test]
    fn facts_intents_and_parts_come_back() {
        let mut scratch = Scratch::default();
        for facts in odd_facts() {
            let mut line = Vec::new();
            write_facts(&facts, &mut line);
            line.pop();
            assert_eq!(parse(&line, &mut scratch), Some(Line::Facts(facts)));
        }
        for intent in odd_intents() {
            let mut line = Vec::new();
            write_intent(&intent, &mut line);
            line.pop();
            let Some(Line::Intent(step)) = parse(&line, &mut scratch) else {
                panic!("{}", line.escape_ascii());
            };
            assert_eq!(step.in_dir(&path("d")), intent);
        }
        let mut line = Vec::new();
        write_part(&part(b"caf\xe9", 7), &mut line);
        line.pop();
        let parsed = parse(&line, &mut scratch);
        assert_eq!(parsed, Some(Line::Part(part(b"caf\xe9", 7))));
    }

    #[test]
    fn every_line_is_json_that_others_read() {
        for line in lines() {
            let text = str::from_utf8(&line).unwrap();
            assert!(json::check(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_line_is_short_and_reads_well() {
        let record = Record {
            name: name(b"photo.jpg"),
            remote_name: None,
            what: What::File(Sides::new(
                Shown {
                    size: 12,
                    mtime: at(1_698_765_432_123_456_789, Precision::Fraction),
                    digest: Some(0xabc),
                },
                Shown {
                    size: 12,
                    mtime: at(1_698_765_420_000_000_000, Precision::Minute),
                    digest: None,
                },
            )),
            ids: Sides::new(5, 0),
        };
        let mut line = Vec::new();
        write_record(&record, &mut line);
        assert_eq!(
            str::from_utf8(&line).unwrap(),
            "{\"f\":\"photo.jpg\",\"s\":12,\"l\":1698765432.123456789,\"r\":\"1698765420m\",\"h\":\"0000000000000abc\",\"i\":5}\n"
        );
    }

    #[test]
    fn a_line_cut_anywhere_says_nothing() {
        for line in lines() {
            for end in 0..line.len() {
                let mut scratch = Scratch::default();
                let shown = line[..end].escape_ascii();
                assert_eq!(parse(&line[..end], &mut scratch), None, "{shown}");
            }
        }
    }

    #[test]
    fn a_changed_byte_is_no_panic_and_no_bad_name() {
        for line in lines() {
            for place in 0..line.len() {
                for byte in [0, b'"', b'\\', b'/', b'.', b'0', b'{', b'}', 0xff] {
                    let mut changed = line.clone();
                    changed[place] = byte;
                    let mut scratch = Scratch::default();
                    if let Some(Line::Record(record)) = parse(&changed, &mut scratch) {
                        assert!(Name::new(record.name.as_bytes()).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        let mut scratch = Scratch::default();
        let line = br#"{"f":"a","new":{"x":[1]},"s":5,"later":"y"}"#;
        let Some(Line::Record(record)) = parse(line, &mut scratch) else {
            panic!("a record with more to it is one");
        };
        assert!(matches!(record.what, What::File(shown) if shown.local.size == 5));
        let line = br#"{"later":1,"x":[]}"#;
        assert_eq!(parse(line, &mut scratch), Some(Line::Unknown));
        assert_eq!(parse(br#"{"f":"..","s":5}"#, &mut scratch), None);
        assert_eq!(parse(br#"{"in":"a/../b"}"#, &mut scratch), None);
    }
}
