//! The metadata file of a directory: what both sides were after the last sync, in pyftpsync's format, version 3.
//!
//! Bytes in, bytes out; opening and writing the file is the caller's. The file is kept compact in memory because a
//! directory may hold 50,000 files and the router 32 MB: names in one arena, a row of 40 bytes for each record, and
//! everything that is not ours (other peers, unknown keys) as the text it was. It is read while it comes, and written
//! in pieces ([`Text`]), so that what is ours is never there as text.
//!
//! # Two programs, one file
//!
//! pyftpsync knows the peer by host and path only, coracle by account, port and path ([`PeerKey`]). So that either
//! program can go on where the other one stopped, with deletions still known, coracle writes its records twice: under
//! its own key, with what it adds to them, and as a mirror under pyftpsync's key. Whoever finds the two different knows
//! that pyftpsync ran since, for coracle always writes both alike: then the mirror is the truth, and what coracle
//! adds is kept for those records that are still the same. A file with nothing but pyftpsync's key is adopted, and
//! claimed by being written again.
//!
//! Where a second account reaches the same path, pyftpsync's key no longer says whose records it holds; it is not
//! believed then, and goes when the file is written.
//!
//! Beside its own records coracle keeps the proof that the remote directory is as they say ([`crate::sync::proof`]), and
//! drops it when pyftpsync ran since.
//!
//! Unknown keys of the file, of `peer_sync` and of a record survive. Those of a record go when the record is
//! replaced, for they described what was there before.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::vec;

use crate::path::Name;
use crate::replica::{Kind, Listing, Mtime};
use crate::sync::json::{self, Malformed, Outline, Wanted};
use crate::sync::peer::{PeerKey, legacy_of};
use crate::time::{TOLERANCE_NANOS, Timestamp};

/// The largest metadata file that is read, in bytes: a listing has at most 1,000,000 names, and the record of a name
/// of usual length takes some 120 bytes, twice.
pub const METADATA_MAX_BYTES: usize = 256 << 20;

/// The version of the format.
const FILE_VERSION: &str = "3";

/// What pyftpsync keeps beside the records of a peer: when it last recorded one.
const LAST_SYNC: &[u8] = b":last_sync";

/// That time as text, when pyftpsync was told to be chatty.
const LAST_SYNC_TEXT: &[u8] = b":last_sync_str";

/// What coracle keeps beside its own records: the proof that the remote directory is as they say.
const PROOF: &[u8] = b":proof";

/// Why a metadata file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It is of this other version.
    Version(String),
    /// It is cut short or damaged, in this way.
    Corrupt(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "the file has version {version}, not {FILE_VERSION}")
            }
            Self::Corrupt(how) => write!(f, "the file is damaged: {how}"),
        }
    }
}

/// The metadata file of one directory, as one peer sees it.
#[derive(Debug, Clone)]
pub struct Metadata {
    key: PeerKey,
    records: Records,
    /// The true mtimes of files on a target that cannot keep them.
    true_times: Table,
    /// Other peers: their keys and, as text, their records.
    others: Vec<(Vec<u8>, Box<str>)>,
    /// Keys of the file that this program does not know, and their values as text.
    unknown: Vec<(Vec<u8>, Box<str>)>,
    /// Whether the mirror under pyftpsync's key can be ours alone.
    is_mirrored: bool,
    is_changed: bool,
}

impl Metadata {
    /// Metadata of a directory that has no metadata file.
    pub fn empty(key: &PeerKey) -> Self {
        Self {
            key: key.clone(),
            records: Records::default(),
            true_times: Table::default(),
            others: Vec::new(),
            unknown: Vec::new(),
            is_mirrored: key.legacy().is_some(),
            is_changed: false,
        }
    }

    /// Reads a metadata file.
    ///
    /// A record that makes no sense counts as none: the entry is compared instead. Fails when the file as a whole
    /// makes no sense, is of another version or cannot be read on.
    pub fn read(file: &mut dyn Read, key: &PeerKey) -> Result<Self, Unreadable> {
        let mut reading = Reading::of(key);
        let read = json::read_object(file, &mut reading);
        // Another version may look otherwise, and says so before it does.
        match (&reading.version, read) {
            (Some(version), _) if !is_known_version(version) => {
                Err(Unreadable::Version(version.chars().take(20).collect()))
            }
            (_, Err(error)) => Err(Unreadable::Corrupt(error.to_string())),
            // pyftpsync, too, takes a missing number for version 0.
            (None, Ok(())) if reading.has_times && reading.has_peers => {
                Err(Unreadable::Version("0".into()))
            }
            (None, Ok(())) => Err(Unreadable::Corrupt("it has no version".into())),
            (Some(_), Ok(())) => Ok(reading.finish()),
        }
    }

    /// What is recorded for this peer.
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// Records what `name` is on both sides now. The same record again changes nothing, whatever the time. Records alone do
    /// not make the directory a synced one, see [`Metadata::mark_synced`].
    pub fn set_record(&mut self, name: Name<'_>, what: RecordKind, at: Timestamp) {
        if name.as_bytes() != LAST_SYNC {
            let row = Row::of_record(what, at);
            if self.records.table.set(name.as_bytes(), row) {
                self.records.last_sync = self.records.last_sync.map(|last| last.max(at));
                self.is_changed = true;
            }
        }
    }

    /// Says that the first sync of this directory is over: whatever has no record from now on is new. A directory of which
    /// nothing is recorded needs no such mark.
    pub fn mark_synced(&mut self, at: Timestamp) {
        if !self.records.is_synced() && !self.records.is_empty() {
            self.records.last_sync = Some(at);
            self.is_changed = true;
        }
    }

    /// Adds to the record of the file `name` which inode it has on the local side, to be recognised by when it is
    /// renamed. A record that is there already is made anew: the file is as recorded at this time.
    pub fn set_inode(&mut self, name: &[u8], inode: u64, at: Timestamp) {
        let Some(place) = self.records.table.place_of(name) else {
            return;
        };
        let row = self.records.table.row_at(place);
        if row.kind == RowKind::File && row.inode != inode {
            let row = Row {
                inode,
                at_nanos: at.as_nanos(),
                ..row
            };
            self.records.table.put(place, row);
            self.is_changed = true;
        }
    }

    /// Forgets everything that is recorded for this peer, and that anything ever was.
    pub fn forget_records(&mut self) {
        self.is_changed |= self.records.is_known();
        self.records = Records::default();
    }

    /// Forgets the record of `name`, if there is one.
    pub fn forget_record(&mut self, name: &[u8]) {
        if self.records.table.forget(name) {
            self.is_changed = true;
        }
    }

    /// What was last told of the remote directory when it was as recorded, see [`crate::sync::proof`].
    pub const fn proof(&self) -> Option<u64> {
        self.records.proof
    }

    /// Keeps a proof. A directory in which something is called as the proof is has none.
    pub fn set_proof(&mut self, proof: u64) {
        if self.records.proof != Some(proof) && self.records.find(PROOF).is_none() {
            self.records.proof = Some(proof);
            self.is_changed = true;
        }
    }

    /// Puts the true mtimes of files, as remembered on a target that cannot keep them, into its `listing`.
    ///
    /// A file that has another size than when it was uploaded, or a later mtime, was changed by someone else: what is
    /// remembered of it is dropped, and so is what is no longer listed at all, as long as the listing is complete.
    pub fn restore_times(&mut self, listing: &mut Listing) {
        let mut stale = Vec::new();
        for (name, row) in self.true_times.iter() {
            let Some(place) = listing.position(name) else {
                if listing.gap().is_none() {
                    stale.push(name.to_vec());
                }
                continue;
            };
            let listed = listing.at(place).map(|entry| entry.stat);
            match listed {
                Some(stat) if row.is_true_of(stat.kind, stat.size, stat.mtime) => {
                    listing.restore_mtime(place, row.mtime());
                }
                _ => stale.push(name.to_vec()),
            }
        }
        for name in stale {
            self.forget_true_time(&name);
        }
    }

    /// What is remembered of the uploaded file `name`, on a target that cannot keep mtimes.
    pub fn true_time(&self, name: &[u8]) -> Option<TrueTime> {
        let row = self.true_times.find(name)?;
        Some(TrueTime {
            mtime: row.mtime(),
            size: row.size_or_digest,
            uploaded_at: row.at(),
        })
    }

    /// Remembers the true mtime of an uploaded file, on a target that cannot keep it.
    pub fn set_true_time(&mut self, name: Name<'_>, true_time: TrueTime) {
        // The upload time counts, too: with an older one the next listing would disown the file.
        if self.true_time(name.as_bytes()) != Some(true_time) {
            let row = Row {
                at_nanos: true_time.uploaded_at.as_nanos(),
                ..Row::file(true_time.size, true_time.mtime)
            };
            self.true_times.forget(name.as_bytes());
            self.true_times.set(name.as_bytes(), row);
            self.is_changed = true;
        }
    }

    /// Forgets the true mtime of `name`, if it is remembered.
    pub fn forget_true_time(&mut self, name: &[u8]) {
        if self.true_times.forget(name) {
            self.is_changed = true;
        }
    }

    /// Puts what was recorded since the file was read into its place, so that records can be found by place again.
    pub fn settle(&mut self) {
        if !self.records.table.is_settled() {
            self.records.table.settle();
        }
    }

    /// Whether the file must be written for what is here to be remembered.
    pub const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Says that the file now holds what is here.
    pub fn mark_saved(&mut self) {
        self.is_changed = false;
    }

    /// Whether there is nothing to be remembered, so that the file is to be removed instead of written.
    pub fn is_empty_of_content(&self) -> bool {
        let has_unknown = self.unknown.iter().any(|(name, _)| name != b"_disclaimer");
        !self.records.is_known()
            && self.true_times.len() == 0
            && self.others.is_empty()
            && !has_unknown
    }

    /// The content of the file as of `now`.
    pub fn text(&self, now: Timestamp) -> Text<'_> {
        let mut fields: Vec<(&[u8], Field<'_>)> = vec![
            (b"_file_version", Field::Raw(FILE_VERSION)),
            (b"_time", Field::Time(now)),
            (b"_time_str", Field::Text(now.to_string())),
            (
                b"_version",
                Field::Text(concat!("coracle ", env!("CARGO_PKG_VERSION")).into()),
            ),
            (b"mtimes", Field::TrueTimes),
            (b"peer_sync", Field::Peers),
        ];
        fields.extend(
            self.unknown
                .iter()
                .map(|(name, text)| (&name[..], Field::Raw(text))),
        );
        if !self.unknown.iter().any(|(name, _)| name == b"_disclaimer") {
            let text = "Generated by coracle, for itself and https://github.com/mar10/pyftpsync";
            fields.push((b"_disclaimer", Field::Text(text.into())));
        }
        fields.sort_by_key(|(name, _)| *name);
        let mut parts = Parts::default();
        parts.text.push(b'{');
        for (index, (name, field)) in fields.into_iter().enumerate() {
            json::write_key(name, index == 0, &mut parts.text);
            match field {
                Field::Raw(text) => parts.push(Part::Raw(text)),
                Field::Text(text) => json::write_bytes(text.as_bytes(), &mut parts.text),
                Field::Time(time) => json::write_secs(time, &mut parts.text),
                Field::TrueTimes => {
                    parts.text.push(b'{');
                    parts.push_rows(&self.true_times, Additions::Omitted, true);
                    parts.text.push(b'}');
                }
                Field::Peers => self.lay_out_peers(&mut parts),
            }
        }
        parts.text.push(b'}');
        parts.into_text()
    }

    fn lay_out_peers<'m>(&'m self, parts: &mut Parts<'m>) {
        let mut peers: Vec<(&[u8], Peer<'m>)> = Vec::with_capacity(self.others.len() + 2);
        if self.records.is_known() {
            peers.push((self.key.own().as_bytes(), Peer::Own(Additions::Written)));
            if let Some(legacy) = self.key.legacy().filter(|_| self.is_mirrored) {
                peers.push((legacy, Peer::Own(Additions::Omitted)));
            }
        }
        peers.extend(
            self.others
                .iter()
                .map(|(name, text)| (&name[..], Peer::Other(text))),
        );
        peers.sort_by_key(|(name, _)| *name);
        parts.text.push(b'{');
        for (index, (name, peer)) in peers.into_iter().enumerate() {
            json::write_key(name, index == 0, &mut parts.text);
            match peer {
                Peer::Own(additions) => self.records.lay_out(additions, parts),
                Peer::Other(text) => parts.push(Part::Raw(text)),
            }
        }
        parts.text.push(b'}');
    }
}

/// A field of the file.
enum Field<'a> {
    Raw(&'a str),
    Text(String),
    Time(Timestamp),
    TrueTimes,
    Peers,
}

/// A field of `peer_sync`.
enum Peer<'a> {
    Own(Additions),
    Other(&'a str),
}

/// Whether records are written with what coracle adds to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Additions {
    Written,
    Omitted,
}

/// The content of a metadata file, to be taken in pieces.
pub struct Text<'m> {
    parts: vec::IntoIter<Part<'m>>,
    /// The rows that are being written.
    rows: Option<RowsLeft<'m>>,
    /// What of a long text is not yet taken.
    raw: &'m [u8],
    /// What was written last, and how much of it is taken.
    written: Vec<u8>,
    taken: usize,
}

/// A part of the file.
enum Part<'m> {
    Written(Vec<u8>),
    Raw(&'m str),
    Rows(RowsLeft<'m>),
}

struct RowsLeft<'m> {
    table: &'m Table,
    rows: Box<dyn Iterator<Item = (&'m [u8], Row)> + 'm>,
    additions: Additions,
    is_first: bool,
}

impl Text<'_> {
    /// Puts the next bytes into `buffer`; how many, 0 at the end.
    pub fn take(&mut self, buffer: &mut [u8]) -> usize {
        self.prepare();
        let ready = match self.raw {
            b"" => &self.written[self.taken..],
            raw => raw,
        };
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.skip(count);
        count
    }

    /// How many bytes are to come; they are gone then.
    pub fn count(mut self) -> u64 {
        let mut size = 0;
        loop {
            self.prepare();
            let count = self.raw.len().max(self.written.len() - self.taken);
            if count == 0 {
                return size;
            }
            self.skip(count);
            size += count as u64;
        }
    }

    fn skip(&mut self, count: usize) {
        match self.raw {
            b"" => self.taken += count,
            raw => self.raw = &raw[count..],
        }
    }

    /// Makes sure that something can be taken, unless the end is reached.
    fn prepare(&mut self) {
        while self.raw.is_empty() && self.taken == self.written.len() {
            self.written.clear();
            self.taken = 0;
            match &mut self.rows {
                Some(rows) => {
                    if !rows.write_next(&mut self.written) {
                        self.rows = None;
                    }
                }
                None => match self.parts.next() {
                    None => return,
                    Some(Part::Written(text)) => self.written = text,
                    Some(Part::Raw(text)) => self.raw = text.as_bytes(),
                    Some(Part::Rows(rows)) => self.rows = Some(rows),
                },
            }
        }
    }
}

impl RowsLeft<'_> {
    /// Whether there was another row.
    fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((name, row)) = self.rows.next() else {
            return false;
        };
        json::write_key(name, self.is_first, out);
        self.is_first = false;
        row.serialize(self.additions, out);
        if let Some(extra) = self.table.extras.get(name) {
            out.push(b',');
            out.extend_from_slice(extra.as_bytes());
        }
        out.push(b'}');
        true
    }
}

/// The parts of a file in the making.
#[derive(Default)]
struct Parts<'m> {
    done: Vec<Part<'m>>,
    /// What goes behind them.
    text: Vec<u8>,
}

impl<'m> Parts<'m> {
    fn push(&mut self, part: Part<'m>) {
        let text = std::mem::take(&mut self.text);
        self.done.extend([Part::Written(text), part]);
    }

    fn push_rows(&mut self, table: &'m Table, additions: Additions, is_first: bool) {
        self.push(Part::Rows(RowsLeft {
            table,
            rows: Box::new(table.iter()),
            additions,
            is_first,
        }));
    }

    fn into_text(mut self) -> Text<'m> {
        self.done.push(Part::Written(self.text));
        Text {
            parts: self.done.into_iter(),
            rows: None,
            raw: b"",
            written: Vec::new(),
            taken: 0,
        }
    }
}

/// A metadata file that is being read.
struct Reading {
    metadata: Metadata,
    /// Where the reading is: what the next field belongs to.
    place: Place,
    version: Option<String>,
    has_times: bool,
    has_peers: bool,
    own: Option<Records>,
    mirror: Option<Records>,
}

/// An object in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    TrueTimes,
    Peers,
    Own,
    Mirror,
}

impl Outline for Reading {
    fn begin(&mut self, name: &[u8]) -> Wanted {
        let key = &self.metadata.key;
        self.place = match (self.place, name) {
            (Place::File, b"mtimes") => {
                self.has_times = true;
                self.metadata.true_times = Table::default();
                Place::TrueTimes
            }
            (Place::File, b"peer_sync") => {
                self.has_peers = true;
                Place::Peers
            }
            (Place::Peers, name) if name == key.own().as_bytes() => {
                self.own = Some(Records::default());
                Place::Own
            }
            (Place::Peers, name) if Some(name) == key.legacy() => {
                self.mirror = Some(Records::default());
                Place::Mirror
            }
            (Place::File | Place::TrueTimes | Place::Peers | Place::Own | Place::Mirror, _) => {
                return Wanted::Text;
            }
        };
        Wanted::Fields
    }

    fn text(&mut self, name: &[u8], text: &str) -> Result<(), Malformed> {
        let Metadata {
            true_times,
            others,
            unknown,
            ..
        } = &mut self.metadata;
        match self.place {
            Place::File => {
                json::check(text)?;
                match name {
                    b"_file_version" => self.version = Some(text.to_owned()),
                    // Written anew each time.
                    b"_time" | b"_time_str" | b"_version" => {}
                    _ => unknown.push((name.to_vec(), text.into())),
                }
            }
            Place::TrueTimes => {
                if let Some((row, extra)) = parse_row(name, text)?
                    && row.kind == RowKind::File
                {
                    true_times.push(name, row, extra);
                }
            }
            Place::Peers => {
                json::check(text)?;
                others.push((name.to_vec(), text.into()));
            }
            Place::Own => self.own.get_or_insert_default().add(name, text)?,
            Place::Mirror => self.mirror.get_or_insert_default().add(name, text)?,
        }
        Ok(())
    }

    fn end(&mut self) {
        self.place = match self.place {
            Place::File | Place::TrueTimes | Place::Peers => Place::File,
            Place::Own | Place::Mirror => Place::Peers,
        };
    }
}

impl Reading {
    fn of(key: &PeerKey) -> Self {
        Self {
            metadata: Metadata::empty(key),
            place: Place::File,
            version: None,
            has_times: false,
            has_peers: false,
            own: None,
            mirror: None,
        }
    }

    /// What the file says of the peer.
    fn finish(self) -> Metadata {
        let (mut metadata, mut mirror) = (self.metadata, self.mirror);
        metadata.true_times.settle();
        let legacy = metadata.key.legacy();
        let is_shared = metadata.others.iter().any(|(other, _)| {
            legacy_of(other).is_some_and(|of_other| Some(&of_other[..]) == legacy)
        });
        if is_shared {
            metadata.is_mirrored = false;
            mirror = None;
        }
        match (self.own, mirror) {
            (None, None) => {}
            (Some(mut own), None) => {
                own.table.settle();
                metadata.records = own;
            }
            (None, Some(mut mirror)) => {
                mirror.table.settle();
                metadata.is_changed = mirror.is_known();
                metadata.records = mirror;
            }
            (Some(own), Some(mut mirror)) => {
                mirror.table.settle();
                metadata.is_changed = mirror.complete_from(own) == Mirror::Differs;
                metadata.records = mirror;
            }
        }
        metadata
    }
}

fn is_known_version(version: &str) -> bool {
    matches!(version, FILE_VERSION | "3.0")
}

/// What is recorded of an entry: what it was on both sides when they were last made equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// What it was.
    pub what: RecordKind,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The inode of a file on the local side; 0 where it is not known.
    pub inode: u64,
}

/// What an entry was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A file.
    File {
        /// Its size in bytes.
        size: u64,
        /// Its modification time.
        mtime: Timestamp,
        /// Its modification time as the remote side lists it, where that is another second. Given as the same second,
        /// it is not kept.
        remote_mtime: Option<Timestamp>,
    },
    /// A directory.
    Dir {
        /// The digest of what was below it, if that is known.
        digest: Option<u64>,
    },
}

impl RecordKind {
    /// The whole second of a file's mtime on the remote side; none for a directory.
    pub fn remote_secs(&self) -> Option<i64> {
        match self {
            Self::File {
                mtime,
                remote_mtime,
                ..
            } => Some(remote_mtime.unwrap_or(*mtime).as_secs()),
            Self::Dir { .. } => None,
        }
    }
}

/// The true mtime of a file on a target that cannot keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrueTime {
    /// The modification time that the file should have.
    pub mtime: Timestamp,
    /// Its size in bytes.
    pub size: u64,
    /// When it was uploaded, by the target's clock.
    pub uploaded_at: Timestamp,
}

/// The records of a directory for one peer, sorted by the bytes of their names.
#[derive(Debug, Clone, Default)]
pub struct Records {
    table: Table,
    last_sync: Option<Timestamp>,
    proof: Option<u64>,
    /// What else is kept beside the records of the peer, as text.
    unknown: BTreeMap<Vec<u8>, Box<str>>,
}

impl Records {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a sync of this directory with this peer went through, or a second one was not cut off. Until then, what has no
    /// record was there before the first one, which failed on it or was cut off before it.
    pub const fn is_synced(&self) -> bool {
        self.last_sync.is_some()
    }

    /// Whether anything of this directory was ever synced with this peer; it may have been empty then.
    pub const fn is_known(&self) -> bool {
        self.last_sync.is_some() || !self.is_empty()
    }

    /// When something was last recorded; none as long as no sync went through.
    pub const fn last_sync(&self) -> Option<Timestamp> {
        self.last_sync
    }

    /// The record of that name.
    pub fn find(&self, name: &[u8]) -> Option<Record<'_>> {
        let place = self.table.place_of(name)?;
        self.table.record_at(place)
    }

    /// The record at that place, in the order of their names.
    ///
    /// # Panics
    /// When something was recorded or forgotten since the file was read or [`Metadata::settle`] was called.
    pub fn at(&self, index: usize) -> Option<Record<'_>> {
        (index < self.table.settled().len()).then(|| self.table.record_at(index))?
    }

    /// The bytes of the name at that place, which must be below [`Records::len`].
    ///
    /// # Panics
    /// As [`Records::at`].
    pub fn name_at(&self, index: usize) -> &[u8] {
        self.table.name(&self.table.settled()[index])
    }

    /// The records in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.table
            .iter()
            .filter_map(|(name, row)| row.as_record(name))
    }

    /// Takes in a field while reading.
    fn add(&mut self, name: &[u8], text: &str) -> Result<(), Malformed> {
        if text.starts_with('{') {
            if let Some((row, extra)) = parse_row(name, text)? {
                self.table.push(name, row, extra);
            }
            return Ok(());
        }
        json::check(text)?;
        if name == LAST_SYNC {
            self.last_sync = json::parse_secs(text);
        } else if name == PROOF && text.starts_with('"') {
            self.proof = parse_digest(text);
        } else if name.starts_with(b":") && name != LAST_SYNC_TEXT {
            self.unknown.insert(name.to_vec(), text.into());
        }
        Ok(())
    }

    /// Adds what coracle remembers beyond pyftpsync to those records that are the same in `own`.
    fn complete_from(&mut self, own: Self) -> Mirror {
        let (mut own, own_proof) = (own.table, own.proof);
        own.settle();
        let mut same = 0;
        for (name, row) in own.iter() {
            if let Some(place) = self.table.place_of(name)
                && let mut mirrored = self.table.row_at(place)
                && mirrored.is_mirror_of(&row)
            {
                mirrored.adopt_additions(&row);
                self.table.put(place, mirrored);
                same += 1;
                if let Some(extra) = own.extras.get(name) {
                    self.table.extras.insert(name.into(), extra.clone());
                }
            }
        }
        if same == own.len() && same == self.len() {
            self.proof = own_proof;
            Mirror::Agrees
        } else {
            self.proof = None;
            Mirror::Differs
        }
    }

    fn lay_out<'m>(&'m self, additions: Additions, parts: &mut Parts<'m>) {
        parts.text.push(b'{');
        let mut is_first = true;
        if let Some(time) = self.last_sync {
            json::write_key(LAST_SYNC, is_first, &mut parts.text);
            json::write_secs(time, &mut parts.text);
            is_first = false;
        }
        if let (Some(proof), Additions::Written) = (self.proof, additions) {
            json::write_key(PROOF, is_first, &mut parts.text);
            json::push(&mut parts.text, format_args!("\"{proof:016x}\""));
            is_first = false;
        }
        for (name, text) in &self.unknown {
            json::write_key(name, is_first, &mut parts.text);
            parts.push(Part::Raw(text));
            is_first = false;
        }
        parts.push_rows(&self.table, additions, is_first);
        parts.text.push(b'}');
    }
}

/// How pyftpsync's records compare to coracle's.
#[derive(PartialEq, Eq)]
enum Mirror {
    Agrees,
    Differs,
}

/// Rows by name: a sorted part, and behind it a short sorted tail of what came later.
///
/// The tail keeps a first sync that finishes its files in any order from moving the whole table for each of them.
#[derive(Debug, Clone, Default)]
struct Table {
    arena: Vec<u8>,
    rows: Vec<Packed>,
    /// When rows were recorded, which is the same for many.
    recorded_at: Vec<i64>,
    /// Remote mtimes, which few rows have.
    remote_mtimes: Vec<i64>,
    /// Where the tail begins.
    tail_start: usize,
    /// How many rows are gone; they keep their place until the tail is merged.
    gone: usize,
    /// Unknown keys of rows, as JSON text `"key":value,...`.
    extras: BTreeMap<Box<[u8]>, Box<str>>,
}

/// How long the tail may grow: inserting into so many rows of 40 bytes costs less than writing one file.
const TAIL_ROWS: usize = 512;

/// What a row says.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// A file's size, a directory's digest.
    size_or_digest: u64,
    mtime_nanos: i64,
    remote_mtime_nanos: i64,
    at_nanos: i64,
    /// 0 where it is not known.
    inode: u64,
    kind: RowKind,
    /// Whether the remote mtime or the digest is known.
    has_addition: bool,
}

/// A row as the table keeps it.
#[derive(Debug, Clone, Copy)]
struct Packed {
    size_or_digest: u64,
    mtime_nanos: i64,
    inode: u64,
    /// Its place among the remote mtimes; past their end where it has none.
    remote_mtime: u32,
    /// Its place among the times of recording.
    at: u32,
    name_start: u32,
    name_bytes: u16,
    kind: RowKind,
    has_addition: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKind {
    File,
    Dir,
    Gone,
}

impl Table {
    const fn len(&self) -> usize {
        self.rows.len() - self.gone
    }

    fn name(&self, row: &Packed) -> &[u8] {
        name_in(&self.arena, row)
    }

    /// Adds a row while reading, in any order; [`Table::settle`] must follow.
    fn push(&mut self, name: &[u8], row: Row, extra: Option<Box<str>>) {
        let packed = self.pack_new(name, row);
        self.rows.push(packed);
        match extra {
            Some(extra) => self.extras.insert(name.into(), extra),
            None => self.extras.remove(name),
        };
    }

    fn pack_new(&mut self, name: &[u8], row: Row) -> Packed {
        let name_start = u32::try_from(self.arena.len())
            .expect("a directory's names are limited to far less than 4 GiB");
        let name_bytes = u16::try_from(name.len()).expect("a name is at most 1024 bytes long");
        self.arena.extend_from_slice(name);
        self.pack(row, name_start, name_bytes)
    }

    fn pack(&mut self, row: Row, name_start: u32, name_bytes: u16) -> Packed {
        let remote_mtime = match (row.kind, row.has_addition) {
            (RowKind::File, true) => place_in(&mut self.remote_mtimes, row.remote_mtime_nanos),
            _ => u32::MAX,
        };
        Packed {
            size_or_digest: row.size_or_digest,
            mtime_nanos: row.mtime_nanos,
            inode: row.inode,
            remote_mtime,
            at: place_in(&mut self.recorded_at, row.at_nanos),
            name_start,
            name_bytes,
            kind: row.kind,
            has_addition: row.has_addition,
        }
    }

    fn row(&self, packed: &Packed) -> Row {
        let remote_mtime = self.remote_mtimes.get(packed.remote_mtime as usize);
        Row {
            size_or_digest: packed.size_or_digest,
            mtime_nanos: packed.mtime_nanos,
            remote_mtime_nanos: remote_mtime.copied().unwrap_or(0),
            at_nanos: self.recorded_at[packed.at as usize],
            inode: packed.inode,
            kind: packed.kind,
            has_addition: packed.has_addition,
        }
    }

    fn row_at(&self, place: usize) -> Row {
        self.row(&self.rows[place])
    }

    fn record_at(&self, place: usize) -> Option<Record<'_>> {
        self.row_at(place).as_record(self.name(&self.rows[place]))
    }

    /// Makes the row at that place another one of the same name.
    fn put(&mut self, place: usize, row: Row) {
        let Packed {
            name_start,
            name_bytes,
            ..
        } = self.rows[place];
        self.rows[place] = self.pack(row, name_start, name_bytes);
    }

    /// Sorts all rows into one part and drops those that are gone. Of a name that came twice the last one stays.
    fn settle(&mut self) {
        let arena = &self.arena;
        self.rows.retain(|row| row.kind != RowKind::Gone);
        // The stable sort keeps the order of equal names, and merges two sorted parts in one pass.
        self.rows
            .sort_by(|one, two| name_in(arena, one).cmp(name_in(arena, two)));
        self.rows.dedup_by(|later, earlier| {
            let is_same = name_in(arena, later) == name_in(arena, earlier);
            if is_same {
                *earlier = *later;
            }
            is_same
        });
        self.tail_start = self.rows.len();
        self.gone = 0;
    }

    const fn is_settled(&self) -> bool {
        self.tail_start == self.rows.len() && self.gone == 0
    }

    fn settled(&self) -> &[Packed] {
        assert!(
            self.is_settled(),
            "places are only known of settled records"
        );
        &self.rows
    }

    /// The place of `name`, which may be gone, or the place in the tail where it belongs.
    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        let (head, tail) = self.rows.split_at(self.tail_start);
        let compare = |row: &Packed| self.name(row).cmp(name);
        head.binary_search_by(compare).or_else(|_| {
            tail.binary_search_by(compare)
                .map(|place| place + self.tail_start)
                .map_err(|place| place + self.tail_start)
        })
    }

    /// Where there is a row of that name.
    fn place_of(&self, name: &[u8]) -> Option<usize> {
        let place = self.place(name).ok()?;
        Some(place).filter(|place| self.rows[*place].kind != RowKind::Gone)
    }

    fn find(&self, name: &[u8]) -> Option<Row> {
        self.place_of(name).map(|place| self.row_at(place))
    }

    /// Says whether this changed anything.
    fn set(&mut self, name: &[u8], row: Row) -> bool {
        match self.place(name) {
            Ok(place) => {
                let old = self.row_at(place);
                if old.is_same(&row) {
                    return false;
                }
                self.gone -= usize::from(old.kind == RowKind::Gone);
                self.put(place, row);
                self.extras.remove(name);
            }
            Err(place) => {
                let packed = self.pack_new(name, row);
                let is_last = self.rows.last().is_none_or(|last| self.name(last) < name);
                self.rows.insert(place, packed);
                if is_last && self.tail_start + 1 == self.rows.len() {
                    self.tail_start += 1;
                } else if self.rows.len() - self.tail_start > TAIL_ROWS {
                    self.settle();
                }
            }
        }
        true
    }

    /// Says whether there was such a row.
    fn forget(&mut self, name: &[u8]) -> bool {
        let Some(place) = self.place_of(name) else {
            return false;
        };
        self.rows[place].kind = RowKind::Gone;
        self.gone += 1;
        self.extras.remove(name);
        true
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], Row)> {
        let (head, tail) = self.rows.split_at(self.tail_start);
        let mut head = head.iter().peekable();
        let mut tail = tail.iter().peekable();
        std::iter::from_fn(move || match (head.peek(), tail.peek()) {
            (Some(one), Some(two)) if self.name(two) < self.name(one) => tail.next(),
            (Some(_), _) => head.next(),
            (None, _) => tail.next(),
        })
        .filter(|row| row.kind != RowKind::Gone)
        .map(|row| (self.name(row), self.row(row)))
    }
}

fn name_in<'a>(arena: &'a [u8], row: &Packed) -> &'a [u8] {
    &arena[row.name_start as usize..][..usize::from(row.name_bytes)]
}

/// Where that time stands in the list, which gets it where it does not stand there last.
fn place_in(times: &mut Vec<i64>, nanos: i64) -> u32 {
    if times.last() != Some(&nanos) {
        times.push(nanos);
    }
    u32::try_from(times.len() - 1).expect("a directory has far less than 4 billion records")
}

impl Row {
    const fn file(size: u64, mtime: Timestamp) -> Self {
        Self {
            size_or_digest: size,
            mtime_nanos: mtime.as_nanos(),
            remote_mtime_nanos: 0,
            at_nanos: 0,
            inode: 0,
            kind: RowKind::File,
            has_addition: false,
        }
    }

    const fn dir(digest: Option<u64>) -> Self {
        let blank = Self::file(0, Timestamp::from_nanos(0));
        match digest {
            Some(digest) => Self {
                size_or_digest: digest,
                kind: RowKind::Dir,
                has_addition: true,
                ..blank
            },
            None => Self {
                kind: RowKind::Dir,
                ..blank
            },
        }
    }

    fn of_record(what: RecordKind, at: Timestamp) -> Self {
        let row = match what {
            RecordKind::File {
                size,
                mtime,
                remote_mtime,
            } => {
                let row = Self::file(size, mtime);
                match remote_mtime.filter(|remote| remote.as_secs() != mtime.as_secs()) {
                    Some(remote) => row.with_remote_mtime(remote),
                    None => row,
                }
            }
            RecordKind::Dir { digest } => Self::dir(digest),
        };
        Self {
            at_nanos: at.as_nanos(),
            ..row
        }
    }

    const fn with_remote_mtime(self, remote: Timestamp) -> Self {
        Self {
            remote_mtime_nanos: remote.as_nanos(),
            has_addition: true,
            ..self
        }
    }

    fn as_record<'a>(&self, name: &'a [u8]) -> Option<Record<'a>> {
        let what = match self.kind {
            RowKind::File => RecordKind::File {
                size: self.size_or_digest,
                mtime: self.mtime(),
                remote_mtime: self
                    .has_addition
                    .then_some(Timestamp::from_nanos(self.remote_mtime_nanos)),
            },
            RowKind::Dir => RecordKind::Dir {
                digest: self.has_addition.then_some(self.size_or_digest),
            },
            RowKind::Gone => return None,
        };
        Some(Record {
            name: Name::new(name).ok()?,
            what,
            recorded_at: self.at(),
            inode: self.inode,
        })
    }

    const fn mtime(&self) -> Timestamp {
        Timestamp::from_nanos(self.mtime_nanos)
    }

    const fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.at_nanos)
    }

    /// Whether both say the same of their entry; when they were recorded does not matter, nor by which inode.
    fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.has_addition == other.has_addition
            && self.size_or_digest == other.size_or_digest
            && is_same_instant(self.mtime_nanos, other.mtime_nanos)
            && is_same_instant(self.remote_mtime_nanos, other.remote_mtime_nanos)
    }

    /// Whether this row, which pyftpsync may have written, is the mirror of `own`.
    fn is_mirror_of(&self, own: &Self) -> bool {
        let has_same_size = self.kind == RowKind::Dir || self.size_or_digest == own.size_or_digest;
        self.kind == own.kind
            && has_same_size
            && self.mtime_nanos == own.mtime_nanos
            && self.at_nanos == own.at_nanos
    }

    fn adopt_additions(&mut self, own: &Self) {
        self.has_addition = own.has_addition;
        self.remote_mtime_nanos = own.remote_mtime_nanos;
        self.inode = own.inode;
        if self.kind == RowKind::Dir {
            self.size_or_digest = own.size_or_digest;
        }
    }

    /// Whether a file that is listed like this is still the one that was uploaded with the true mtime of this row.
    fn is_true_of(&self, kind: Kind, size: u64, listed: Option<Mtime>) -> bool {
        let newest = self.at_nanos.saturating_add(TOLERANCE_NANOS);
        kind == Kind::File
            && size == self.size_or_digest
            && listed.is_none_or(|mtime| mtime.at.as_nanos() <= newest)
    }

    /// Writes the row but for the closing brace.
    fn serialize(&self, additions: Additions, out: &mut Vec<u8>) {
        out.push(b'{');
        let has_addition = self.has_addition && additions == Additions::Written;
        match self.kind {
            RowKind::File => {
                if self.inode != 0 && additions == Additions::Written {
                    json::push(out, format_args!("\"i\":{},", self.inode));
                }
                out.extend_from_slice(b"\"m\":");
                json::write_secs(self.mtime(), out);
                if has_addition {
                    out.extend_from_slice(b",\"r\":");
                    json::write_secs(Timestamp::from_nanos(self.remote_mtime_nanos), out);
                }
                out.extend_from_slice(b",\"s\":");
                json::write_number(self.size_or_digest, out);
            }
            RowKind::Dir | RowKind::Gone => {
                if has_addition {
                    json::push(out, format_args!("\"d\":\"{:016x}\",", self.size_or_digest));
                }
                out.extend_from_slice(b"\"m\":null,\"s\":null");
            }
        }
        out.extend_from_slice(b",\"u\":");
        json::write_secs(self.at(), out);
    }
}

/// Python keeps times as floats, which end somewhat below a microsecond.
const fn is_same_instant(one_nanos: i64, two_nanos: i64) -> bool {
    one_nanos.abs_diff(two_nanos) < 1_000
}

/// A row, and what is in it that this program does not know.
type RowAndExtra = (Row, Option<Box<str>>);

/// The row in `text`; none when it makes no sense, or when no entry can have that name.
fn parse_row(name: &[u8], text: &str) -> Result<Option<RowAndExtra>, Malformed> {
    if !text.starts_with('{') {
        return json::check(text).map(|()| None);
    }
    let mut fields = RowFields::default();
    let mut extra = Vec::new();
    json::each_field(text, &mut |key, value| match key {
        b"m" => fields.mtime = Some(value),
        b"s" => fields.size = Some(value),
        b"u" => fields.at = Some(value),
        b"r" => fields.remote_mtime = Some(value),
        b"d" => fields.digest = Some(value),
        b"i" => fields.inode = value.parse().unwrap_or(0),
        // Written for people by a chatty pyftpsync, and stale as soon as it is not.
        b"mtime_str" | b"uploaded_str" => {}
        _ => {
            json::write_key(key, extra.is_empty(), &mut extra);
            extra.extend_from_slice(value.as_bytes());
        }
    })?;
    if name == LAST_SYNC || Name::new(name).is_err() {
        return Ok(None);
    }
    let extra = String::from_utf8(extra)
        .ok()
        .filter(|extra| !extra.is_empty());
    Ok(fields
        .row()
        .map(|row| (row, extra.map(String::into_boxed_str))))
}

/// The fields of a row that are known, as JSON text.
#[derive(Default)]
struct RowFields<'t> {
    mtime: Option<&'t str>,
    size: Option<&'t str>,
    at: Option<&'t str>,
    remote_mtime: Option<&'t str>,
    digest: Option<&'t str>,
    inode: u64,
}

impl RowFields<'_> {
    fn row(&self) -> Option<Row> {
        // pyftpsync, too, takes a missing upload time for 0.
        let at = self
            .at
            .map_or(Some(Timestamp::from_nanos(0)), json::parse_secs)?;
        let row = match (self.mtime?, self.size?) {
            ("null", "null") => Row::dir(self.digest.and_then(parse_digest)),
            (mtime, size) => {
                let row = Row::file(size.parse().ok()?, json::parse_secs(mtime)?);
                match self.remote_mtime.and_then(json::parse_secs) {
                    Some(remote) => row.with_remote_mtime(remote),
                    None => row,
                }
            }
        };
        Some(Row {
            at_nanos: at.as_nanos(),
            inode: self.inode,
            ..row
        })
    }
}

fn parse_digest(text: &str) -> Option<u64> {
    let digits = String::from_utf8(json::parse_bytes(text)?).ok()?;
    u64::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{FtpLocation, Habits, Location, Protection, Secret, ServerPath};
    use crate::path::RelPath;
    use crate::replica::{Precision, Stat};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn peer(user: &str) -> PeerKey {
        PeerKey::of(&Location::Ftp(FtpLocation {
            host: "nas".into(),
            port: 21,
            protection: Protection::Clear,
            user: user.into(),
            password: Secret::default(),
            path: ServerPath::Absolute(RelPath::parse(b"backup").unwrap()),
            habits: Habits::default(),
        }))
    }

    fn name(text: &str) -> Name<'_> {
        Name::new(text.as_bytes()).unwrap()
    }

    fn file(size: u64, secs: i64) -> RecordKind {
        RecordKind::File {
            size,
            mtime: Timestamp::from_secs(secs),
            remote_mtime: None,
        }
    }

    fn text(metadata: &Metadata) -> String {
        let (mut out, mut piece) = (Vec::new(), [0; 100]);
        let mut text = metadata.text(NOW);
        loop {
            let count = text.take(&mut piece);
            out.extend_from_slice(&piece[..count]);
            if count == 0 {
                break;
            }
        }
        assert_eq!(metadata.text(NOW).count(), out.len() as u64);
        String::from_utf8(out).unwrap()
    }

    fn read(mut file: &[u8], user: &str) -> Result<Metadata, Unreadable> {
        Metadata::read(&mut file, &peer(user))
    }

    fn parse(text: &str, user: &str) -> Metadata {
        read(text.as_bytes(), user).unwrap()
    }

    fn shown(records: &Records) -> Vec<(String, RecordKind)> {
        records
            .iter()
            .map(|record| (record.name.to_string(), record.what))
            .collect()
    }

    const PYFTPSYNC: &str = r#"{"_disclaimer":"Generated by https://github.com/mar10/pyftpsync","_file_version":3,"_time":1695000000.0,"_time_str":"2023-09-18 01:20:00","_version":"4.1.0","mtimes":{},"peer_sync":{"nas/backup":{":last_sync":1695000000.25,"a.txt":{"m":1690000000.123457,"s":5,"u":1695000000.2},"dir":{"m":null,"s":null,"u":1695000000.25}}}}"#;

    #[test]
    fn adopts_what_pyftpsync_recorded_and_claims_it() {
        let metadata = parse(PYFTPSYNC, "bob");
        let mtime = Timestamp::from_nanos(1_690_000_000_123_457_000);
        let a = RecordKind::File {
            size: 5,
            mtime,
            remote_mtime: None,
        };
        assert_eq!(
            shown(metadata.records()),
            [
                ("a.txt".into(), a),
                ("dir".into(), RecordKind::Dir { digest: None })
            ]
        );
        assert!(metadata.is_changed() && metadata.records().is_known());
        let again = parse(&text(&metadata), "bob");
        assert_eq!(shown(again.records()), shown(metadata.records()));
        assert!(!again.is_changed());
    }

    #[test]
    fn writes_like_pyftpsync() {
        let mut metadata = Metadata::empty(&peer("bob"));
        let half = Timestamp::from_nanos(1_690_000_000_500_000_000);
        let remote_mtime = Some(Timestamp::from_secs(1_690_003_600));
        metadata.set_record(
            name("b"),
            RecordKind::File {
                size: 5,
                mtime: half,
                remote_mtime,
            },
            NOW,
        );
        metadata.set_record(name("a"), RecordKind::Dir { digest: Some(0xab) }, NOW);
        metadata.mark_synced(NOW);
        let time = TrueTime {
            mtime: half,
            size: 5,
            uploaded_at: NOW,
        };
        metadata.set_true_time(name("b"), time);
        let expected = concat!(
            r#"{"_disclaimer":"Generated by coracle, for itself and https://github.com/mar10/pyftpsync","#,
            r#""_file_version":3,"_time":1700000000,"_time_str":"2023-11-14 22:13:20","_version":"coracle "#,
            env!("CARGO_PKG_VERSION"),
            r#"","mtimes":{"b":{"m":1690000000.5,"s":5,"u":1700000000}},"#,
            r#""peer_sync":{"ftp://bob@nas:21/backup":{":last_sync":1700000000,"#,
            r#""a":{"d":"00000000000000ab","m":null,"s":null,"u":1700000000},"#,
            r#""b":{"m":1690000000.5,"r":1690003600,"s":5,"u":1700000000}},"#,
            r#""nas/backup":{":last_sync":1700000000,"#,
            r#""a":{"m":null,"s":null,"u":1700000000},"b":{"m":1690000000.5,"s":5,"u":1700000000}}}}"#,
        );
        assert_eq!(text(&metadata), expected);
        let again = parse(expected, "bob");
        assert_eq!(text(&again), expected);
        assert_eq!(again.true_time(b"b"), Some(time));
        assert!(!again.is_changed());
    }

    #[test]
    fn follows_pyftpsync_when_it_ran_since() {
        let mut metadata = Metadata::empty(&peer("bob"));
        let dir = RecordKind::Dir { digest: Some(7) };
        metadata.set_record(name("dir"), dir, NOW);
        metadata.set_record(name("kept"), file(1, 10), NOW);
        metadata.set_record(name("deleted"), file(2, 20), NOW);
        let written = text(&metadata);
        let mirror = written.find("\"nas/backup\"").unwrap();
        let (before, ours) = written.split_at(mirror);
        // pyftpsync leaves ":last_sync" alone when it deletes.
        let theirs = ours.replace(r#""deleted":{"m":20,"s":2,"u":1700000000},"#, "");
        assert_ne!(theirs, ours);
        let metadata = parse(&format!("{before}{theirs}"), "bob");
        assert_eq!(
            shown(metadata.records()),
            [("dir".into(), dir), ("kept".into(), file(1, 10))]
        );
        assert!(metadata.is_changed());
    }

    #[test]
    fn additions_of_a_record_that_pyftpsync_replaced_are_dropped() {
        let mut metadata = Metadata::empty(&peer("bob"));
        let remote_mtime = Some(Timestamp::from_secs(99));
        let kind = RecordKind::File {
            size: 1,
            mtime: Timestamp::from_secs(10),
            remote_mtime,
        };
        metadata.set_record(name("a"), kind, NOW);
        let written = text(&metadata);
        assert_eq!(
            parse(&written, "bob").records().find(b"a").unwrap().what,
            kind
        );
        let theirs = written.replace(r#""a":{"m":10,"s":1,"u":"#, r#""a":{"m":11,"s":1,"u":"#);
        assert_ne!(theirs, written);
        assert_eq!(
            parse(&theirs, "bob").records().find(b"a").unwrap().what,
            file(1, 11)
        );
    }

    #[test]
    fn peers_may_stand_in_any_order() {
        let own = r#""ftp://bob@nas:21/backup":{"a":{"m":10,"r":99,"s":1,"u":5},"b":{"m":7,"s":1,"u":5}}"#;
        let mirror = r#""nas/backup":{"b":{"m":8,"s":1,"u":6},"a":{"m":10,"s":1,"u":5}}"#;
        let other = r#""ftp://eve@nas:21/backup":{"z":{"m":1,"s":1,"u":1}}"#;
        let read = |peers: [&str; 3]| {
            let peers = peers.join(",");
            let file_text =
                format!(r#"{{"peer_sync":{{{peers}}},"mtimes":{{}},"_file_version":3}}"#);
            shown(parse(&file_text.replace("{,", "{").replace(",}", "}"), "bob").records())
        };
        let remote_mtime = Some(Timestamp::from_secs(99));
        let a = RecordKind::File {
            size: 1,
            mtime: Timestamp::from_secs(10),
            remote_mtime,
        };
        let followed = [("a".into(), a), ("b".into(), file(1, 8))];
        assert_eq!(read([own, mirror, ""]), followed);
        assert_eq!(read([mirror, own, ""]), followed);
        let alone = [("a".into(), a), ("b".into(), file(1, 7))];
        assert_eq!(read([mirror, own, other]), alone);
        assert_eq!(read([other, mirror, own]), alone);
    }

    #[test]
    fn two_accounts_on_one_path_do_not_share_records() {
        let mut of_bob = Metadata::empty(&peer("bob"));
        of_bob.set_record(name("a"), file(1, 10), NOW);
        let mut of_eve = parse(&text(&of_bob), "eve");
        assert!(!of_eve.records().is_known() && !of_eve.is_changed());
        of_eve.set_record(name("b"), file(2, 20), NOW);
        let both = text(&of_eve);
        assert!(!both.contains("\"nas/backup\""), "{both}");
        assert_eq!(
            shown(parse(&both, "bob").records()),
            [("a".into(), file(1, 10))]
        );
        assert_eq!(
            shown(parse(&both, "eve").records()),
            [("b".into(), file(2, 20))]
        );
        assert!(!parse(&both, "bob").is_changed());
    }

    #[test]
    fn metadata_out_of_pyftpsyncs_sight_has_no_mirror() {
        let mut metadata = Metadata::empty(&peer("bob").without_legacy());
        metadata.set_record(name("a"), file(1, 10), NOW);
        assert!(!text(&metadata).contains("\"nas/backup\""));
    }

    #[test]
    fn the_same_record_again_changes_nothing() {
        let mut metadata = Metadata::empty(&peer("bob"));
        assert!(!metadata.is_changed());
        metadata.set_record(name("a"), file(1, 10), NOW);
        metadata.mark_saved();
        metadata.set_record(name("a"), file(1, 10), NOW.plus_secs(5));
        metadata.forget_record(b"b");
        assert!(!metadata.is_changed());
        // Python's float of 10 s and 1 ns is 10 s.
        let close = RecordKind::File {
            size: 1,
            mtime: Timestamp::from_nanos(10_000_000_001),
            remote_mtime: Some(Timestamp::from_secs(10)),
        };
        metadata.set_record(name("a"), close, NOW);
        assert!(!metadata.is_changed());
        metadata.set_record(name("a"), file(2, 10), NOW);
        assert!(metadata.is_changed());
    }

    #[test]
    fn a_directory_whose_records_are_all_forgotten_stays_known() {
        let mut metadata = Metadata::empty(&peer("bob"));
        assert!(metadata.is_empty_of_content());
        metadata.set_record(name("a"), file(1, 10), NOW);
        metadata.mark_synced(NOW);
        metadata.forget_record(b"a");
        assert!(metadata.records().is_empty() && metadata.records().is_known());
        let again = parse(&text(&metadata), "bob");
        assert!(again.records().is_known() && !again.is_empty_of_content());
    }

    #[test]
    fn a_first_sync_that_was_cut_off_is_not_over() {
        let mut metadata = Metadata::empty(&peer("bob"));
        metadata.mark_synced(NOW);
        assert!(
            !metadata.records().is_synced() && !metadata.is_changed(),
            "nothing is recorded"
        );
        metadata.set_record(name("a"), file(1, 10), NOW);
        let mut again = parse(&text(&metadata), "bob");
        assert!(again.records().is_known() && !again.records().is_synced());
        again.mark_synced(NOW);
        assert!(again.is_changed() && parse(&text(&again), "bob").records().is_synced());
    }

    #[test]
    fn what_is_unknown_survives() {
        let file_text = r#"{"_file_version":3,"future":[1,{"x":"\udce9"}],"mtimes":{"z":{"m":1,"s":2,"u":3,"q":4}},
            "peer_sync":{"other/x":{"f":{"m":9}},"ftp://bob@nas:21/backup":{":note":"hi","a":{"m":1,"s":2,"u":3,"h":"x"}}}}"#;
        let mut metadata = parse(file_text, "bob");
        metadata.set_record(name("b"), file(1, 1), NOW);
        let written = text(&metadata);
        for part in [
            r#""future":[1,{"x":"\udce9"}]"#,
            r#""z":{"m":1,"s":2,"u":3,"q":4}"#,
            r#""other/x":{"f":{"m":9}}"#,
            r#"":note":"hi""#,
            r#""a":{"m":1,"s":2,"u":3,"h":"x"}"#,
        ] {
            assert!(written.contains(part), "{part} in {written}");
        }
        metadata.set_record(name("a"), file(9, 1), NOW);
        assert!(!text(&metadata).contains(r#""h":"x""#));
    }

    #[test]
    fn a_record_that_makes_no_sense_is_none() {
        for row in [
            r#"{"m":"x","s":1,"u":1}"#,
            r#"{"m":1,"s":-1,"u":1}"#,
            r#"{"m":1,"s":null,"u":1}"#,
            r#"{"m":1,"s":1.5,"u":1}"#,
            r#"{"m":1,"s":1,"u":"now"}"#,
            r#"{"s":1,"u":1}"#,
            "5",
            "[]",
        ] {
            let file_text = format!(
                r#"{{"_file_version":3,"mtimes":{{"a":{row}}},"peer_sync":{{"nas/backup":{{"a":{row},"..":{{"m":1,"s":1,"u":1}},":last_sync":{{"m":1,"s":1,"u":1}},"b":{{"m":1,"s":1,"u":1}}}}}}}}"#
            );
            assert_eq!(
                shown(parse(&file_text, "bob").records()),
                [("b".into(), file(1, 1))],
                "{row}"
            );
        }
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let of = |text: &str| read(text.as_bytes(), "bob").err();
        let version = |text: &str| Some(Unreadable::Version(text.into()));
        assert_eq!(of(r#"{"_file_version":2,"files":[]}"#), version("2"));
        assert_eq!(of(r#"{"_file_version":4,"mtimes":7}"#), version("4"));
        assert_eq!(of(r#"{"mtimes":{},"peer_sync":{}}"#), version("0"));
        assert_eq!(of(r#"{"_file_version":3}"#), None);
        for damaged in [
            "",
            "{}",
            "[]",
            "null",
            "\0\0",
            r#"{"_file_version":3,"mtimes":[]}"#,
            r#"{"_file_version":3} x"#,
        ] {
            assert!(
                matches!(of(damaged), Some(Unreadable::Corrupt(_))),
                "{damaged}"
            );
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_corrupt() {
        let mut metadata = parse(PYFTPSYNC, "bob");
        metadata.set_record(
            Name::new(b"caf\xe9").unwrap(),
            RecordKind::Dir { digest: Some(1) },
            NOW,
        );
        let whole = text(&metadata);
        for end in 0..whole.len() {
            let cut = read(&whole.as_bytes()[..end], "bob");
            assert!(matches!(cut, Err(Unreadable::Corrupt(_))), "{end}");
        }
    }

    #[test]
    fn no_flipped_bit_makes_it_panic() {
        let mut metadata = parse(PYFTPSYNC, "bob");
        metadata.set_record(
            Name::new(b"caf\xe9").unwrap(),
            RecordKind::Dir { digest: Some(1) },
            NOW,
        );
        metadata.set_true_time(
            name("t"),
            TrueTime {
                mtime: NOW,
                size: 1,
                uploaded_at: NOW,
            },
        );
        let whole = text(&metadata).into_bytes();
        let mut readable = 0;
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[place] ^= 1 << bit;
                if let Ok(read) = read(&flipped, "bob") {
                    readable += 1;
                    let again = parse(&text(&read), "bob");
                    assert_eq!(shown(again.records()), shown(read.records()));
                }
            }
        }
        assert!(readable > 0 && readable < whole.len() * 8);
    }

    #[test]
    fn records_stay_sorted_whatever_the_order_they_come_in() {
        let mut metadata = Metadata::empty(&peer("bob"));
        let mut expected = BTreeMap::new();
        let mut random: u64 = 42;
        for round in 0..6_000u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let text = format!("{:04}", (random >> 33) % 3_000);
            if round % 5 == 4 {
                metadata.forget_record(text.as_bytes());
                expected.remove(&text);
            } else {
                metadata.set_record(name(&text), file(round, 1), NOW);
                expected.insert(text, file(round, 1));
            }
        }
        assert_eq!(metadata.records().len(), expected.len());
        for (text, what) in &expected {
            assert_eq!(
                metadata.records().find(text.as_bytes()).unwrap().what,
                *what
            );
        }
        assert_eq!(
            shown(metadata.records()),
            expected.clone().into_iter().collect::<Vec<_>>()
        );
        let again = parse(&text(&metadata), "bob");
        assert_eq!(
            shown(again.records()),
            expected.into_iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn true_times_replace_the_listed_ones_until_somebody_changes_the_file() {
        let true_time = TrueTime {
            mtime: Timestamp::from_secs(50),
            size: 3,
            uploaded_at: NOW,
        };
        let mut metadata = Metadata::empty(&peer("bob"));
        for file in ["same", "resized", "touched", "gone", "replaced"] {
            metadata.set_true_time(name(file), true_time);
        }
        metadata.mark_saved();
        let mut listing = Listing::new();
        listing.push(b"same", Stat::file(3, NOW.plus_secs(2)));
        listing.push(b"resized", Stat::file(4, NOW));
        listing.push(b"touched", Stat::file(3, NOW.plus_secs(3)));
        listing.push(b"replaced", Stat::dir());
        listing.sort();
        metadata.restore_times(&mut listing);
        assert_eq!(
            listing.find(b"same").unwrap().stat,
            Stat::file(3, true_time.mtime)
        );
        assert_eq!(
            listing.find(b"touched").unwrap().stat,
            Stat::file(3, NOW.plus_secs(3))
        );
        for file in ["resized", "touched", "gone", "replaced"] {
            assert_eq!(metadata.true_time(file.as_bytes()), None, "{file}");
        }
        assert!(metadata.is_changed());
    }

    #[test]
    fn a_broken_off_listing_forgets_no_true_time() {
        let true_time = TrueTime {
            mtime: Timestamp::from_secs(50),
            size: 3,
            uploaded_at: NOW,
        };
        let mut metadata = Metadata::empty(&peer("bob"));
        metadata.set_true_time(name("a"), true_time);
        metadata.mark_saved();
        let mut listing = Listing::new();
        listing.mark_incomplete("it broke off");
        metadata.restore_times(&mut listing);
        assert_eq!(metadata.true_time(b"a"), Some(true_time));
        assert!(!metadata.is_changed());
    }

    #[test]
    fn a_time_told_to_the_minute_is_taken_at_its_beginning() {
        let true_time = TrueTime {
            mtime: Timestamp::from_secs(50),
            size: 3,
            uploaded_at: NOW,
        };
        let mut metadata = Metadata::empty(&peer("bob"));
        metadata.set_true_time(name("a"), true_time);
        let minute = Mtime {
            at: NOW.plus_secs(-20),
            precision: Precision::Minute,
        };
        let mut listing = Listing::new();
        listing.push(
            b"a",
            Stat {
                mtime: Some(minute),
                ..Stat::file(3, NOW)
            },
        );
        metadata.restore_times(&mut listing);
        assert_eq!(
            listing.find(b"a").unwrap().stat.exact_mtime(),
            Some(true_time.mtime)
        );
    }

    #[test]
    fn an_inode_is_kept_beside_our_own_record_alone() {
        let mut metadata = Metadata::empty(&peer("bob"));
        metadata.set_record(name("a"), file(5, 100), NOW);
        metadata.set_inode(b"a", u64::MAX, NOW);
        metadata.set_record(name("d"), RecordKind::Dir { digest: None }, NOW);
        metadata.set_inode(b"d", 7, NOW);
        let text = text(&metadata);
        assert_eq!(text.matches("\"i\":18446744073709551615,").count(), 1);
        assert_eq!(text.matches("\"i\":").count(), 1, "{text}");
        let mut again = parse(&text, "bob");
        let inode = |metadata: &Metadata| metadata.records().find(b"a").unwrap().inode;
        assert_eq!((inode(&again), again.is_changed()), (u64::MAX, false));
        again.set_inode(b"a", u64::MAX, NOW.plus_secs(1));
        again.set_record(name("a"), file(5, 100), NOW.plus_secs(1));
        assert_eq!((inode(&again), again.is_changed()), (u64::MAX, false));
        again.set_record(name("a"), file(6, 100), NOW);
        assert_eq!((inode(&again), again.is_changed()), (0, true));
    }

    #[test]
    fn forgetting_all_records_leaves_no_trace_of_the_peer() {
        let mut metadata = Metadata::empty(&peer("bob"));
        metadata.forget_records();
        assert!(!metadata.is_changed());
        metadata.set_record(name("a"), file(5, 100), NOW);
        metadata.mark_saved();
        metadata.forget_records();
        assert!(metadata.is_changed() && metadata.is_empty_of_content());
    }

    #[test]
    fn a_row_stays_small() {
        assert_eq!(size_of::<Packed>(), 40);
    }

    #[test]
    fn a_proof_is_coracles_own_and_survives() {
        let mut metadata = parse(PYFTPSYNC, "me");
        metadata.mark_saved();
        metadata.set_proof(0x0123_4567_89ab_cdef);
        assert!(metadata.is_changed());
        let written = text(&metadata);
        assert_eq!(written.matches(r#"":proof":"0123456789abcdef""#).count(), 1);
        let mut again = parse(&written, "me");
        assert_eq!(
            (again.proof(), again.is_changed()),
            (Some(0x0123_4567_89ab_cdef), false)
        );
        again.set_proof(0x0123_4567_89ab_cdef);
        assert!(!again.is_changed());
        let alone = written.replacen(r#""nas/backup""#, r#""other/backup""#, 1);
        assert_eq!(parse(&alone, "me").proof(), metadata.proof());
        assert_eq!(parse(&written, "you").proof(), None);
    }

    #[test]
    fn a_proof_that_makes_no_sense_is_none() {
        let mut metadata = parse(PYFTPSYNC, "me");
        metadata.set_proof(1);
        let written = text(&metadata);
        for instead in [
            "\"1\"",
            "\"\"",
            "1",
            "null",
            "{}",
            "[1]",
            "\"000000000000000g\"",
        ] {
            let damaged = written.replacen("\"0000000000000001\"", instead, 1);
            let read = parse(&damaged, "me");
            assert_eq!(read.proof(), None, "{instead}");
            assert_eq!(
                shown(read.records()),
                shown(metadata.records()),
                "{instead}"
            );
        }
    }

    #[test]
    fn an_entry_may_be_called_like_a_proof() {
        let mut metadata = Metadata::empty(&peer("me"));
        metadata.set_record(name(":proof"), file(5, 100), NOW);
        metadata.set_proof(1);
        let read = parse(&text(&metadata), "me");
        assert_eq!(shown(read.records()), [(":proof".into(), file(5, 100))]);
        assert_eq!(read.proof(), None);
    }
}
