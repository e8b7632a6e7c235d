//! The file in which pyftpsync keeps its records of a directory, `.pyftpsync-meta.json`, version 3. No paths here.

use std::io::Read;

use crate::path::Name;
use crate::replica::{Mtime, Precision};
use crate::side::Sides;
use crate::sync::record::archive::{DirFacts, Record, Shown, What};
use crate::sync::record::block::Block;
use crate::sync::record::json::{self, Malformed};
use crate::sync::record::object::{Outline, Wanted, read_object};
use crate::sync::record::peer::PeerKey;
use crate::time::Timestamp;

/// The version of the format.
pub(super) const FILE_VERSION: &str = "3";

/// Why such a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is of this other version.
    Version(String),
    /// It is cut short or damaged, in this way.
    Damaged(String),
}

/// Under which keys a peer's records stand in such a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'k> {
    /// pyftpsync's; none where it cannot reach the peer.
    legacy: Option<&'k [u8]>,
    /// That of earlier versions of this program.
    own: &'k [u8],
}

impl<'k> Keys<'k> {
    pub(super) fn of(peer: &'k PeerKey) -> Self {
        Self {
            legacy: peer.legacy(),
            own: peer.place().as_bytes(),
        }
    }

    fn is_ours(&self, key: &[u8]) -> bool {
        Some(key) == self.legacy || key == self.own
    }
}

/// What the file records of the peer; none where it knows nothing of it. A record that makes no sense counts as none.
pub(super) fn read(file: &mut dyn Read, keys: &Keys<'_>) -> Result<Option<Block>, Unreadable> {
    let mut reading = Reading::of(*keys);
    let read = read_object(file, &mut reading);
    judge(reading.version.as_deref(), read, reading.has_peers)?;
    // pyftpsync's rows are the newer ones where the two differ: this program wrote both alike.
    let Some(mut block) = reading.legacy.or(reading.own) else {
        return Ok(None);
    };
    block.settle();
    block.set_facts(DirFacts {
        settled: true,
        adopted: true,
        ..DirFacts::default()
    });
    Ok(Some(block))
}

/// Whether a file that says so and was read so can be used.
pub(super) fn judge(
    version: Option<&str>,
    read: Result<(), Malformed>,
    has_content: bool,
) -> Result<(), Unreadable> {
    match (version, read) {
        (Some("3" | "3.0"), Ok(())) => Ok(()),
        (Some("3" | "3.0"), Err(error)) => Err(Unreadable::Damaged(error.to_string())),
        // Another version may look otherwise, and says so before it does.
        (Some(version), _) => Err(Unreadable::Version(version.chars().take(20).collect())),
        // pyftpsync, too, takes a missing number for version 0.
        (None, Ok(())) if has_content => Err(Unreadable::Version("0".into())),
        (None, Ok(())) => Err(Unreadable::Damaged("it has no version".into())),
        (None, Err(error)) => Err(Unreadable::Damaged(error.to_string())),
    }
}

/// Where a reading is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Peers,
    Legacy,
    Own,
}

struct Reading<'k> {
    keys: Keys<'k>,
    place: Place,
    version: Option<String>,
    has_peers: bool,
    legacy: Option<Block>,
    own: Option<Block>,
}

impl<'k> Reading<'k> {
    const fn of(keys: Keys<'k>) -> Self {
        Self {
            keys,
            place: Place::File,
            version: None,
            has_peers: false,
            legacy: None,
            own: None,
        }
    }
}

impl Outline for Reading<'_> {
    fn begin(&mut self, name: &[u8]) -> Wanted {
        self.place = match self.place {
            Place::File if name == b"peer_sync" => {
                self.has_peers = true;
                Place::Peers
            }
            Place::Peers if Some(name) == self.keys.legacy => {
                self.legacy = Some(Block::empty());
                Place::Legacy
            }
            Place::Peers if name == self.keys.own => {
                self.own = Some(Block::empty());
                Place::Own
            }
            Place::File | Place::Peers | Place::Legacy | Place::Own => return Wanted::Text,
        };
        Wanted::Fields
    }

    fn text(&mut self, name: &[u8], text: &str) -> Result<(), Malformed> {
        if self.place == Place::File && name == b"_file_version" {
            self.version = Some(text.to_owned());
        }
        let block = match self.place {
            Place::Legacy => &mut self.legacy,
            Place::Own => &mut self.own,
            Place::File | Place::Peers => return json::check(text),
        };
        let Some(block) = block.as_mut().filter(|_| text.starts_with('{')) else {
            return json::check(text);
        };
        add_row(name, text, block)
    }

    fn end(&mut self) {
        self.place = match self.place {
            Place::File | Place::Peers => Place::File,
            Place::Legacy | Place::Own => Place::Peers,
        };
    }
}

fn add_row(name: &[u8], text: &str, block: &mut Block) -> Result<(), Malformed> {
    let (mut mtime, mut size, mut remote, mut inode) = (None, None, None, 0);
    json::each_field(text, &mut |key, value| match key {
        b"m" => mtime = Some(value),
        b"s" => size = Some(value),
        b"r" => remote = json::parse_secs(value),
        b"i" => inode = value.parse().unwrap_or(0),
        _ => {}
    })?;
    let what = match (mtime, size) {
        (Some("null"), Some("null")) => Some(What::Dir),
        (Some(mtime), Some(size)) => file_of(size, mtime, remote),
        (None, _) | (_, None) => None,
    };
    if let (Ok(name), Some(what)) = (Name::new(name), what) {
        block.push(&Record {
            name,
            remote_name: None,
            what,
            ids: Sides::new(inode, 0),
        });
    }
    Ok(())
}

/// One row stands for both sides, to pyftpsync's tolerance.
fn file_of(size: &str, mtime: &str, remote: Option<Timestamp>) -> Option<What> {
    let size = size.parse().ok()?;
    let local = json::parse_secs(mtime)?;
    let shown = |at| Shown {
        size,
        mtime: Some(Mtime {
            at,
            precision: Precision::Close,
        }),
        digest: None,
    };
    Some(What::File(Sides::new(
        shown(local),
        shown(remote.unwrap_or(local)),
    )))
}

/// The file without what it records of the peer, empty where nothing is left in it; none where it records nothing of it.
pub(super) fn without(file: &mut dyn Read, keys: &Keys<'_>) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut rest = Rest {
        keys: *keys,
        depth: Depth::File,
        version: None,
        has_ours: false,
        has_more: false,
        fields: Vec::new(),
        peers: Vec::new(),
    };
    let read = read_object(file, &mut rest);
    judge(rest.version.as_deref(), read, !rest.peers.is_empty())?;
    if !rest.has_ours {
        return Ok(None);
    }
    Ok(Some(rest.into_text()))
}

/// A file that is being read for all that is not ours.
struct Rest<'k> {
    keys: Keys<'k>,
    depth: Depth,
    version: Option<String>,
    has_ours: bool,
    /// Whether there is anything but what each such file has.
    has_more: bool,
    /// The fields of the file, the peers left out, and those of the peers that are not ours: `"key":value`.
    fields: Vec<Vec<u8>>,
    peers: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    File,
    Peers,
    Ours,
}

impl Outline for Rest<'_> {
    fn begin(&mut self, name: &[u8]) -> Wanted {
        self.depth = match self.depth {
            Depth::File if name == b"peer_sync" => Depth::Peers,
            Depth::Peers if self.keys.is_ours(name) => {
                self.has_ours = true;
                Depth::Ours
            }
            Depth::File | Depth::Peers | Depth::Ours => return Wanted::Text,
        };
        Wanted::Fields
    }

    fn text(&mut self, name: &[u8], text: &str) -> Result<(), Malformed> {
        json::check(text)?;
        let fields = match self.depth {
            Depth::File => &mut self.fields,
            Depth::Peers => &mut self.peers,
            Depth::Ours => return Ok(()),
        };
        let mut field = Vec::new();
        json::write_key(name, true, &mut field);
        field.extend_from_slice(text.as_bytes());
        fields.push(field);
        let is_in_each_file = self.depth == Depth::File
            && match name {
                b"_file_version" => {
                    self.version = Some(text.to_owned());
                    true
                }
                b"_time" | b"_time_str" | b"_version" | b"_disclaimer" => true,
                b"mtimes" => text.trim_start_matches('{').trim_start().starts_with('}'),
                _ => false,
            };
        self.has_more |= !is_in_each_file;
        Ok(())
    }

    fn end(&mut self) {
        self.depth = match self.depth {
            Depth::File | Depth::Peers => Depth::File,
            Depth::Ours => Depth::Peers,
        };
    }
}

impl Rest<'_> {
    fn into_text(mut self) -> Vec<u8> {
        if !self.has_more {
            return Vec::new();
        }
        let peers = self.peers.join(&b","[..]);
        self.fields
            .push([b"\"peer_sync\":{", &peers[..], b"}"].concat());
        [b"{", &self.fields.join(&b","[..])[..], b"}"].concat()
    }
}
