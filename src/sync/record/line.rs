//! What the lines of archive and journal say, read from their bytes. No I/O; how they are written, `format` says.
//!
//! The first key of a line says what it is. Keys and lines that are not known are passed over.

use crate::path::{Name, RelPath};
use crate::replica::Mtime;
use crate::side::{Side, Sides};
use crate::sync::record::archive::{DirFacts, Intent, Part, Record, Shown, What};
use crate::sync::record::fields::{Fields, Value};
use crate::time::Timestamp;

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// In an archive: the lines of this directory begin.
    Dir(DirLine),
    /// In a journal: what follows is about this directory.
    In(RelPath),
    /// An entry's record.
    Record(Record<'a>),
    /// What a step is about to do.
    Intent(Step<'a>),
    /// A part of an interrupted transfer.
    Part(Part),
    /// The name has no record any more.
    Forget(Name<'a>),
    /// Nothing came of what was intended for the name.
    Undone(Name<'a>),
    /// There is no part of this file any more.
    NoPart(Name<'a>),
    /// What is known of the directory.
    Facts(DirFacts),
    /// The block is gone, and all below.
    Drop,
    /// The blocks are those of this path.
    MovedFrom(RelPath),
    /// A line of a later version.
    Unknown,
}

/// The first line of a directory in an archive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DirLine {
    pub(super) path: RelPath,
    pub(super) facts: DirFacts,
    /// How many records follow, so that room can be made for them.
    pub(super) rows: u64,
    /// How many bytes their names have together.
    pub(super) name_bytes: u64,
}

/// An intent, which does not say in which directory.
#[derive(Debug, PartialEq)]
pub(super) enum Step<'a> {
    Place {
        name: Name<'a>,
        to: Side,
        source: Shown,
        seen: Option<Mtime>,
        at: Timestamp,
    },
    Delete {
        name: Name<'a>,
        on: Side,
    },
    Move {
        name: Name<'a>,
        from: RelPath,
    },
}

impl Step<'_> {
    /// The intent in that directory.
    pub(super) fn in_dir(self, dir: &RelPath) -> Intent {
        match self {
            Self::Place {
                name,
                to,
                source,
                seen,
                at,
            } => Intent::Place {
                dir: dir.clone(),
                name: name.as_bytes().into(),
                to,
                source,
                seen,
                at,
            },
            Self::Delete { name, on } => Intent::Delete {
                dir: dir.clone(),
                name: name.as_bytes().into(),
                on,
            },
            Self::Move { name, from } => Intent::MoveDir {
                from,
                to: dir.join(name),
            },
        }
    }
}

/// Room for names in which something is escaped.
#[derive(Default)]
pub(super) struct Scratch {
    name: Vec<u8>,
    remote_name: Vec<u8>,
}

/// What the line says; none when it is broken.
pub(super) fn parse<'a>(line: &'a [u8], scratch: &'a mut Scratch) -> Option<Line<'a>> {
    let mut fields = Fields::of(line)?;
    let (key, value) = fields.next().ok()??;
    let Scratch { name, remote_name } = scratch;
    Some(match key {
        b"f" => Line::Record(parse_file(value.name(name)?, remote_name, fields)?),
        b"d" => Line::Record(parse_subdirectory(value.name(name)?, remote_name, fields)?),
        b"dir" => Line::Dir(parse_dir(path(value, name)?, fields)?),
        b"in" => Line::In(ended(fields, path(value, name)?)?),
        b"place" => Line::Intent(parse_place(value.name(name)?, fields)?),
        b"delete" => Line::Intent(parse_delete(value.name(name)?, fields)?),
        b"move" => Line::Intent(parse_move(value.name(name)?, fields, remote_name)?),
        b"part" => Line::Part(parse_part(value.name(name)?, fields)?),
        b"forget" => Line::Forget(ended(fields, value.name(name)?)?),
        b"undone" => Line::Undone(ended(fields, value.name(name)?)?),
        b"nopart" => Line::NoPart(ended(fields, value.name(name)?)?),
        b"facts" => Line::Facts(parse_facts(fields)?.0),
        b"drop" => ended(fields, Line::Drop)?,
        b"moved" => Line::MovedFrom(ended(fields, path(value, name)?)?),
        _ => ended(fields, Line::Unknown)?,
    })
}

fn path<'a>(value: Value<'a>, scratch: &'a mut Vec<u8>) -> Option<RelPath> {
    RelPath::parse(value.bytes(scratch)?).ok()
}

/// That, if the rest of the line is whole.
fn ended<T>(mut fields: Fields<'_>, then: T) -> Option<T> {
    while fields.next().ok()?.is_some() {}
    Some(then)
}

fn parse_file<'a>(
    name: Name<'a>,
    scratch: &'a mut Vec<u8>,
    mut fields: Fields<'a>,
) -> Option<Record<'a>> {
    let (mut size, mut remote_size, mut remote_name, mut digest) = (None, None, None, None);
    let mut mtimes: Sides<Option<Mtime>> = Sides::default();
    let mut ids = Sides::default();
    while let Some((key, value)) = fields.next().ok()? {
        match key {
            b"s" => size = Some(value.number()?),
            b"l" => mtimes.local = Some(value.mtime()?),
            b"r" => mtimes.remote = Some(value.mtime()?),
            b"i" => ids.local = value.number()?,
            b"u" => ids.remote = value.hex()?,
            b"h" => digest = Some(value.hex()?),
            b"rs" => remote_size = Some(value.number()?),
            b"rn" => remote_name = Some(value),
            _ => {}
        }
    }
    let size = size?;
    let shown = |size, mtime| Shown {
        size,
        mtime,
        digest: None,
    };
    let local = Shown {
        digest,
        ..shown(size, mtimes.local)
    };
    Some(Record {
        name,
        remote_name: parse_remote_name(remote_name, scratch)?,
        what: What::File(Sides::new(
            local,
            shown(remote_size.unwrap_or(size), mtimes.remote),
        )),
        ids,
    })
}

fn parse_subdirectory<'a>(
    name: Name<'a>,
    scratch: &'a mut Vec<u8>,
    mut fields: Fields<'a>,
) -> Option<Record<'a>> {
    let mut remote_name = None;
    let mut ids = Sides::default();
    while let Some((key, value)) = fields.next().ok()? {
        match key {
            b"i" => ids.local = value.number()?,
            b"u" => ids.remote = value.hex()?,
            b"rn" => remote_name = Some(value),
            _ => {}
        }
    }
    Some(Record {
        name,
        remote_name: parse_remote_name(remote_name, scratch)?,
        what: What::Dir,
        ids,
    })
}

fn parse_remote_name<'a>(
    value: Option<Value<'a>>,
    scratch: &'a mut Vec<u8>,
) -> Option<Option<Name<'a>>> {
    match value {
        Some(value) => value.name(scratch).map(Some),
        None => Some(None),
    }
}

fn parse_dir(path: RelPath, fields: Fields<'_>) -> Option<DirLine> {
    let (facts, rows, name_bytes) = parse_facts(fields)?;
    Some(DirLine {
        path,
        facts,
        rows,
        name_bytes,
    })
}

/// The facts, and the numbers of records and of bytes in their names.
fn parse_facts(mut fields: Fields<'_>) -> Option<(DirFacts, u64, u64)> {
    let mut facts = DirFacts::default();
    let (mut rows, mut name_bytes) = (0, 0);
    while let Some((key, value)) = fields.next().ok()? {
        match key {
            b"n" => rows = value.number()?,
            b"b" => name_bytes = value.number()?,
            b"i" => facts.inode = value.number()?,
            b"mount" => facts.mounts.local = Some(value.hex()?),
            b"rmount" => facts.mounts.remote = Some(value.hex()?),
            b"out" => facts.left_out = value.is_true(),
            b"settled" => facts.settled = value.is_true(),
            b"adopted" => facts.adopted = value.is_true(),
            b"glance" => facts.glance = Some(value.hex()?),
            b"at" => facts.seen_at = value.time()?,
            _ => {}
        }
    }
    Some((facts, rows, name_bytes))
}

fn parse_place<'a>(name: Name<'a>, mut fields: Fields<'a>) -> Option<Step<'a>> {
    let (mut to, mut size, mut mtime, mut seen, mut at) = (None, None, None, None, None);
    while let Some((key, value)) = fields.next().ok()? {
        match key {
            b"to" => to = Some(side(value)?),
            b"s" => size = Some(value.number()?),
            b"m" => mtime = Some(value.mtime()?),
            b"seen" => seen = Some(value.mtime()?),
            b"at" => at = Some(value.time()?),
            _ => {}
        }
    }
    Some(Step::Place {
        name,
        to: to?,
        source: Shown {
            size: size?,
            mtime,
            digest: None,
        },
        seen,
        at: at?,
    })
}

fn parse_delete<'a>(name: Name<'a>, mut fields: Fields<'a>) -> Option<Step<'a>> {
    let mut on = None;
    while let Some((key, value)) = fields.next().ok()? {
        if key == b"on" {
            on = Some(side(value)?);
        }
    }
    Some(Step::Delete { name, on: on? })
}

fn parse_move<'a>(
    name: Name<'a>,
    mut fields: Fields<'a>,
    scratch: &mut Vec<u8>,
) -> Option<Step<'a>> {
    let mut from = None;
    while let Some((key, value)) = fields.next().ok()? {
        if key == b"from" {
            from = Some(RelPath::parse(value.bytes(scratch)?).ok()?);
        }
    }
    Some(Step::Move { name, from: from? })
}

fn parse_part(name: Name<'_>, mut fields: Fields<'_>) -> Option<Part> {
    let (mut to, mut size, mut mtime, mut confirmed) = (None, None, None, None);
    while let Some((key, value)) = fields.next().ok()? {
        match key {
            b"to" => to = Some(side(value)?),
            b"s" => size = Some(value.number()?),
            b"m" => mtime = Some(value.mtime()?),
            b"done" => confirmed = Some(value.number()?),
            _ => {}
        }
    }
    Some(Part {
        name: name.as_bytes().into(),
        to: to?,
        source: Shown {
            size: size?,
            mtime,
            digest: None,
        },
        confirmed: confirmed?,
    })
}

fn side(value: Value<'_>) -> Option<Side> {
    match value {
        Value::Plain(b"local") => Some(Side::Local),
        Value::Plain(b"remote") => Some(Side::Remote),
        Value::Plain(_) | Value::Escaped(_) | Value::Word(_) | Value::Nested => None,
    }
}
