//! The true times of files on a server that cannot set them, as pyftpsync keeps them in `.pyftpsync-meta.json` beside these
//! files: `mtimes: {NAME: {m, s, u}}`. Bytes in, bytes out.
//!
//! What else is in such a file stays as it is. After the first meeting no decision of this client rests on it.

use std::collections::BTreeMap;

use crate::error::{ErrorKind, Result};
use crate::path::Name;
use crate::replica::{Kind, Listing, Mtime};
use crate::sync::record::json::{self, Malformed};
use crate::sync::record::object::{Outline, Wanted, read_object};
use crate::sync::record::pyftpsync::{FILE_VERSION, Unreadable, judge};
use crate::time::{TOLERANCE_NANOS, Timestamp};

/// The true time of an uploaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrueTime {
    /// The modification time that the file should have.
    pub mtime: Timestamp,
    /// Its size in bytes.
    pub size: u64,
    /// When it was uploaded, by the server's clock.
    pub uploaded_at: Timestamp,
}

/// The true times of the files of one remote directory.
#[derive(Debug, Clone, Default)]
pub struct RemoteTimes {
    /// All names, one behind the other.
    arena: Vec<u8>,
    /// Sorted by name.
    rows: Vec<Row>,
    /// Keys of rows that this program does not know: `,"key":value` for each.
    extras: BTreeMap<Box<[u8]>, Vec<u8>>,
    /// Fields of the file that are not ours, in their order: `"key":value`.
    others: Vec<Vec<u8>>,
    /// Whether there is anything among them but what each such file has.
    has_more: bool,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    time: TrueTime,
    name_start: u32,
    name_bytes: u32,
}

impl RemoteTimes {
    /// Reads such a file. Fails when it makes no sense, or is of another version. A row that makes no sense counts as none.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut reading = Reading::default();
        let read = read_object(&mut &*text, &mut reading);
        let has_content = reading.has_content;
        match judge(reading.version.as_deref(), read, has_content) {
            Ok(()) => {
                reading.times.settle();
                Ok(reading.times)
            }
            Err(Unreadable::Version(version)) => Err(ErrorKind::MetadataVersion(format!(
                "the file has version {version}, and this program reads version {FILE_VERSION}"
            ))
            .into()),
            Err(Unreadable::Damaged(how)) => {
                Err(ErrorKind::Metadata(format!("the file is damaged: {how}")).into())
            }
        }
    }

    /// Puts the true times of the files at these places into their listing.
    pub fn restore(&self, listing: &mut Listing, places: impl IntoIterator<Item = usize>) {
        for place in places {
            let entry = listing.at(place).expect("the place is in the listing");
            let time = self.get(entry.name.as_bytes(), entry.stat.size, entry.shown.mtime);
            if let (Kind::File, Some(mtime)) = (entry.stat.kind, time) {
                listing.restore_mtime(place, mtime);
            }
        }
    }

    /// The true time of the file `name`, which has that size and is shown with that time. None as well when somebody
    /// changed it since it was uploaded: its size is another one, or it is shown with a later time.
    pub fn get(&self, name: &[u8], size: u64, shown: Option<Mtime>) -> Option<Timestamp> {
        let time = self.row(self.place(name).ok()?).time;
        let newest = time.uploaded_at.as_nanos().saturating_add(TOLERANCE_NANOS);
        let is_as_uploaded =
            time.size == size && shown.is_none_or(|shown| shown.at.as_nanos() <= newest);
        is_as_uploaded.then_some(time.mtime)
    }

    /// Remembers the true time of a file that was just uploaded.
    pub fn set(&mut self, name: &[u8], time: TrueTime) {
        if Name::new(name).is_err() {
            return;
        }
        self.extras.remove(name);
        match self.place(name) {
            Ok(place) => self.rows[place].time = time,
            Err(place) => {
                let row = self.new_row(name, time);
                self.rows.insert(place, row);
            }
        }
    }

    /// Forgets the true time of a file, if it is remembered.
    pub fn forget(&mut self, name: &[u8]) {
        if let Ok(place) = self.place(name) {
            self.rows.remove(place);
            self.extras.remove(name);
        }
    }

    /// Whether nothing is left in the file that anybody needs, so that it is to be removed.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.has_more
    }

    /// The names whose true times are remembered, in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| self.name(row))
    }

    /// The content of the file as of `now`.
    pub fn to_bytes(&self, now: Timestamp) -> Vec<u8> {
        const BYTES_PER_ROW: usize = 100;
        let mut out = Vec::with_capacity(self.rows.len() * BYTES_PER_ROW);
        out.extend_from_slice(b"{\"_disclaimer\":");
        let text = "Generated by coracle, for itself and https://github.com/mar10/pyftpsync";
        json::write_bytes(text.as_bytes(), &mut out);
        json::push(
            &mut out,
            format_args!(",\"_file_version\":{FILE_VERSION},\"_time\":"),
        );
        json::write_secs(now, &mut out);
        let version = env!("CARGO_PKG_VERSION");
        json::push(
            &mut out,
            format_args!(
                ",\"_time_str\":\"{now}\",\"_version\":\"coracle {version}\",\"mtimes\":{{"
            ),
        );
        for (index, row) in self.rows.iter().enumerate() {
            let name = self.name(row);
            json::write_key(name, index == 0, &mut out);
            out.extend_from_slice(b"{\"m\":");
            json::write_secs(row.time.mtime, &mut out);
            out.extend_from_slice(b",\"s\":");
            json::write_number(row.time.size, &mut out);
            out.extend_from_slice(b",\"u\":");
            json::write_secs(row.time.uploaded_at, &mut out);
            out.extend_from_slice(self.extras.get(name).map_or(&b""[..], |extra| extra));
            out.push(b'}');
        }
        out.push(b'}');
        for other in &self.others {
            out.push(b',');
            out.extend_from_slice(other);
        }
        if !self.others.iter().any(|other| other.starts_with(PEERS)) {
            // pyftpsync wants it there.
            out.push(b',');
            out.extend_from_slice(PEERS);
            out.extend_from_slice(b"{}");
        }
        out.push(b'}');
        out
    }

    fn row(&self, place: usize) -> &Row {
        &self.rows[place]
    }

    fn name(&self, row: &Row) -> &[u8] {
        name_in(&self.arena, row)
    }

    fn place(&self, name: &[u8]) -> std::result::Result<usize, usize> {
        self.rows
            .binary_search_by(|row| name_in(&self.arena, row).cmp(name))
    }

    fn new_row(&mut self, name: &[u8], time: TrueTime) -> Row {
        let name_start = u32::try_from(self.arena.len())
            .expect("a directory's names are limited to far less than 4 GiB");
        self.arena.extend_from_slice(name);
        Row {
            time,
            name_start,
            // A name is at most `MAX_NAME_BYTES` long.
            name_bytes: name.len() as u32,
        }
    }

    /// Sorts what was read. Of a name that came twice the last one stays.
    fn settle(&mut self) {
        let arena = &self.arena;
        self.rows
            .sort_by(|one, two| name_in(arena, one).cmp(name_in(arena, two)));
        self.rows.dedup_by(|later, earlier| {
            let is_same = name_in(arena, later) == name_in(arena, earlier);
            if is_same {
                *earlier = *later;
            }
            is_same
        });
    }
}

/// How the field begins in which pyftpsync keeps records; they mean nothing on a remote side.
const PEERS: &[u8] = b"\"peer_sync\":";

fn name_in<'a>(arena: &'a [u8], row: &Row) -> &'a [u8] {
    &arena[row.name_start as usize..][..row.name_bytes as usize]
}

/// A file that is being read.
#[derive(Default)]
struct Reading {
    times: RemoteTimes,
    is_in_times: bool,
    has_content: bool,
    version: Option<String>,
}

impl Outline for Reading {
    fn begin(&mut self, name: &[u8]) -> Wanted {
        if !self.is_in_times && name == b"mtimes" {
            self.is_in_times = true;
            self.has_content = true;
            return Wanted::Fields;
        }
        Wanted::Text
    }

    fn text(&mut self, name: &[u8], text: &str) -> std::result::Result<(), Malformed> {
        if self.is_in_times {
            return self.times.add(name, text);
        }
        json::check(text)?;
        match name {
            b"_file_version" => self.version = Some(text.to_owned()),
            // Written anew each time.
            b"_time" | b"_time_str" | b"_version" | b"_disclaimer" => {}
            _ => {
                let mut field = Vec::new();
                json::write_key(name, true, &mut field);
                field.extend_from_slice(text.as_bytes());
                let is_empty = text.trim_start_matches('{').trim_start().starts_with('}');
                self.times.has_more |= !(field.starts_with(PEERS) && is_empty);
                self.times.others.push(field);
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.is_in_times = false;
    }
}

impl RemoteTimes {
    /// Takes in a row while reading.
    fn add(&mut self, name: &[u8], text: &str) -> std::result::Result<(), Malformed> {
        if !text.starts_with('{') {
            return json::check(text);
        }
        let (mut mtime, mut size, mut uploaded_at) = (None, None, None);
        let mut extra = Vec::new();
        json::each_field(text, &mut |key, value| match key {
            b"m" => mtime = json::parse_secs(value),
            b"s" => size = value.parse().ok(),
            b"u" => uploaded_at = json::parse_secs(value),
            // Written for people by a chatty pyftpsync, and stale as soon as it is not.
            b"mtime_str" | b"uploaded_str" => {}
            _ => {
                json::write_key(key, false, &mut extra);
                extra.extend_from_slice(value.as_bytes());
            }
        })?;
        if let (Some(mtime), Some(size), Ok(name)) = (mtime, size, Name::new(name)) {
            let time = TrueTime {
                mtime,
                size,
                // pyftpsync, too, takes a missing one for 0.
                uploaded_at: uploaded_at.unwrap_or(Timestamp::from_secs(0)),
            };
            let row = self.new_row(name.as_bytes(), time);
            self.rows.push(row);
            if !extra.is_empty() {
                self.extras.insert(name.as_bytes().into(), extra);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn time(mtime: i64, size: u64, uploaded_at: i64) -> TrueTime {
        TrueTime {
            mtime: secs(mtime),
            size,
            uploaded_at: secs(uploaded_at),
        }
    }

    fn shown(at: i64) -> Option<Mtime> {
        Some(Mtime::exact(secs(at)))
    }

    const FILE: &str = r#"{"_disclaimer":"x","_file_version":3,"_time":1.5,"_time_str":"y","_version":"pyftpsync 4.1.0",
        "mtimes":{"caf\udce9":{"m":100.25,"s":5,"u":1000.5,"uploaded_str":"z","mine":[1]},"a":{"m":7,"s":1,"u":2000},
        "odd":{"m":null,"s":null,"u":3},"../x":{"m":7,"s":1,"u":2000}},"peer_sync":{"host/x":{"a":1}},"later":{"k":null}}"#;

    #[test]
    fn a_true_time_holds_as_long_as_the_file_is_as_it_was_uploaded() {
        let times = RemoteTimes::parse(FILE.as_bytes()).unwrap();
        let cafe = b"caf\xe9";
        let truth = Some(Timestamp::from_nanos(100_250_000_000));
        assert_eq!(times.get(cafe, 5, shown(1000)), truth);
        assert_eq!(times.get(cafe, 5, shown(1002)), truth);
        assert_eq!(times.get(cafe, 5, None), truth);
        assert_eq!(times.get(cafe, 5, shown(1003)), None, "changed since");
        assert_eq!(times.get(cafe, 6, shown(1000)), None, "another size");
        assert_eq!(times.get(b"odd", 0, None), None);
        assert_eq!(times.names().collect::<Vec<_>>(), [&b"a"[..], cafe]);
    }

    #[test]
    fn what_is_not_known_survives() {
        let mut times = RemoteTimes::parse(FILE.as_bytes()).unwrap();
        times.set(b"b", time(9, 2, 3000));
        times.forget(b"a");
        let text = String::from_utf8(times.to_bytes(secs(4000))).unwrap();
        for kept in [
            r#""caf\udce9":{"m":100.25,"s":5,"u":1000.5,"mine":[1]}"#,
            r#""b":{"m":9,"s":2,"u":3000}"#,
            r#""peer_sync":{"host/x":{"a":1}}"#,
            r#""later":{"k":null}"#,
        ] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
        assert!(!text.contains(r#""a":{"m"#));
        let again = RemoteTimes::parse(text.as_bytes()).unwrap();
        assert_eq!(again.to_bytes(secs(4000)), text.as_bytes());
        times.set(b"caf\xe9", time(1, 5, 1));
        let text = String::from_utf8(times.to_bytes(secs(4000))).unwrap();
        assert!(!text.contains("mine"), "it described another file");
    }

    #[test]
    fn is_empty_when_nobody_needs_the_file() {
        let mut times = RemoteTimes::default();
        assert!(times.is_empty());
        times.set(b"a", time(1, 2, 3));
        assert!(!times.is_empty());
        let mut times = RemoteTimes::parse(&times.to_bytes(secs(5))).unwrap();
        assert_eq!(times.get(b"a", 2, shown(3)), Some(secs(1)));
        times.forget(b"a");
        assert!(times.is_empty());
        assert!(!RemoteTimes::parse(FILE.as_bytes()).unwrap().is_empty());
    }

    #[test]
    fn another_version_and_damage_are_told_apart() {
        let is_version = |text: &[u8]| {
            let error = RemoteTimes::parse(text).unwrap_err();
            matches!(error.kind(), ErrorKind::MetadataVersion(_))
        };
        assert!(is_version(br#"{"_file_version":4,"new":{}}"#));
        assert!(is_version(br#"{"mtimes":{}}"#));
        assert!(!is_version(b"{}"));
        for end in 0..FILE.len() {
            assert!(
                RemoteTimes::parse(&FILE.as_bytes()[..end]).is_err(),
                "{end}"
            );
        }
    }
}
