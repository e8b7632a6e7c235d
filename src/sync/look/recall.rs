//! What is remembered, held against what is there: before records are believed that may be wrong. Pure.
//!
//! Two kinds may be: what a run noted that was killed or cut off by a power cut, and what pyftpsync left in folders that may
//! have come from elsewhere since.

use crate::path::{Escaped, Name};
use crate::replica::{Kind, Listing, Stat};
use crate::side::{Side, Sides};
use crate::sync::look::Found;
use crate::sync::look::directory::true_time;
use crate::sync::record::{Change, DirFacts, Intent, Shown, What};

/// Drops rows of pyftpsync in a folder that came from elsewhere: the remote side contradicts them.
pub fn doubt_adopted(found: &mut Found, there: Sides<bool>) {
    let is_whole = found.complete == Sides::new(true, true) && there == Sides::new(true, true);
    if !found.block.facts().adopted || !is_whole {
        return;
    }
    let (mut agree, mut differ, mut named) = (0_u64, 0_u64, 0_u64);
    for record in found.block.iter() {
        let name = record.name.as_bytes();
        let Some(remote) = found.listings.remote.find(name) else {
            continue;
        };
        named += 1;
        let What::File(shown) = record.what else {
            continue;
        };
        let fits_here = || {
            let local = found.listings.local.find(name);
            local.is_some_and(|entry| shown.local.is_same(&entry.shown))
        };
        if shown.remote.is_same(&remote.shown) {
            agree += 1;
        } else if fits_here() {
            differ += 1;
        }
    }
    let names_nothing = named == 0 && !found.listings.remote.is_empty() && !found.block.is_empty();
    if differ > agree || names_nothing {
        let names: Vec<Box<[u8]>> = found
            .block
            .iter()
            .map(|record| record.name.as_bytes().into())
            .collect();
        for name in names {
            forget(found, name);
        }
        let facts = DirFacts {
            settled: false,
            adopted: false,
            ..found.block.facts()
        };
        found.block.set_facts(facts);
        found.notes.push(Change::Facts(facts));
    }
}

/// Takes in what a run had under way that was cut off: a file that it placed counts as in step, one whose name it had
/// cleared as not yet there. After a power cut, what it noted as placed here may be gone again.
pub fn recall(found: &mut Found, is_same_boot: bool) {
    if !is_same_boot {
        let lost: Vec<Box<[u8]>> = found
            .block
            .fresh()
            .iter()
            .filter(|name| {
                found.complete.local && found.listings.local.find(name).is_none()
                    || found.complete.remote && found.listings.remote.find(name).is_none()
            })
            .cloned()
            .collect();
        for name in lost {
            forget(found, name);
        }
    }
    for intent in found.block.intents().to_vec() {
        match intent {
            Intent::Place {
                name,
                to,
                source,
                seen,
                ..
            } => recall_placing(
                found,
                name,
                to,
                source,
                seen.map(|mtime| Shown {
                    mtime: Some(mtime),
                    ..source
                }),
            ),
            Intent::Delete { name, on, .. } => {
                if is_surely_gone(found, on, &name) {
                    forget(found, name);
                } else if *found.complete.of(on) {
                    found.notes.push(Change::Undone { name });
                }
            }
            // The start of the run asked what became of it.
            Intent::MoveDir { .. } => {}
        }
    }
}

/// The names on the remote side of which nothing is recorded.
pub fn unrecorded(found: &Found) -> Vec<Box<[u8]>> {
    let spellings: Vec<&[u8]> = found
        .block
        .iter()
        .filter_map(|record| record.remote_name)
        .map(Name::as_bytes)
        .collect();
    let names = found
        .listings
        .remote
        .iter()
        .map(|entry| entry.name.as_bytes());
    let is_unknown = |name: &&[u8]| found.block.find(name).is_none() && !spellings.contains(name);
    names.filter(is_unknown).map(Into::into).collect()
}

/// The recorded names that the remote side does not show.
pub fn lacking(found: &Found) -> Vec<Box<[u8]>> {
    let remote = &found.listings.remote;
    let is_shown = |name: &Name<'_>| remote.find(name.as_bytes()).is_some();
    let records = found.block.iter();
    let lacking = records.filter(|record| !is_shown(&record.remote_name.unwrap_or(record.name)));
    lacking
        .map(|record| record.name.as_bytes().into())
        .collect()
}

/// Takes the one name of `unknown` that can be another spelling of `name`, which the server has as `stat` says, for that.
/// Where there is none, or more than one, nothing may be deleted for want of the name.
pub fn respell(found: &mut Found, name: &[u8], stat: &Stat, unknown: &[Box<[u8]>]) {
    let fits = |other: &[u8]| {
        let entry = found.listings.remote.find(other);
        is_spelling(name, other) && entry.is_some_and(|entry| entry.shown.may_equal(stat))
    };
    let mut fitting = unknown.iter().filter(|other| fits(other));
    let (Some(shown), None) = (fitting.next(), fitting.next()) else {
        let text = format!(
            "{} is not listed, and is there when asked for",
            Escaped(name)
        );
        found.listings.remote.mark_incomplete(text);
        found.complete.remote = false;
        return;
    };
    let Some(record) = found.block.find(name) else {
        return;
    };
    let change = Change::Set {
        name: name.into(),
        remote_name: Some(shown.clone()),
        what: record.what,
        ids: record.ids,
    };
    found.block.apply(&change);
    found.notes.push(change);
}

/// Whether two names can be one in two spellings: what they have of ASCII, in lower case and without blanks and dots at the end, is
/// the same but for letters that decomposing takes out of accented ones.
fn is_spelling(one: &[u8], other: &[u8]) -> bool {
    let skeleton = |name: &[u8]| {
        let end = name.iter().rposition(|byte| !matches!(byte, b'.' | b' '));
        let kept = name[..end.map_or(0, |end| end + 1)]
            .iter()
            .filter(|byte| byte.is_ascii());
        kept.map(u8::to_ascii_lowercase).collect::<Vec<u8>>()
    };
    let (one, other) = (skeleton(one), skeleton(other));
    let (short, long) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
    let mut rest = long.iter();
    short.iter().all(|byte| rest.any(|other| other == byte))
}

fn recall_placing(
    found: &mut Found,
    name: Box<[u8]>,
    to: Side,
    source: Shown,
    seen: Option<Shown>,
) {
    if Name::new(&name).is_err() {
        return;
    }
    let listing: &Listing = found.listings.of(to);
    let Some(entry) = listing.find(&name) else {
        // The old version was moved out of the way, and the new one not yet put there.
        if is_surely_gone(found, to, &name) {
            forget(found, name);
        }
        return;
    };
    if entry.stat.kind != Kind::File || !is_placed(&entry.shown, source, seen) {
        let change = Change::Undone { name };
        found.block.apply(&change);
        found.notes.push(change);
        return;
    }
    let mut shown = Sides::new(source, source);
    *shown.of_mut(to) = Shown::of(&entry.shown);
    let ids = found
        .listings
        .as_ref()
        .map(|listing| listing.find(&name).map_or(0, |entry| entry.inode));
    let change = Change::Set {
        name,
        remote_name: None,
        what: What::File(shown),
        ids,
    };
    found.block.apply(&change);
    found.notes.push(change);
}

/// Whether what is there now is what was about to be placed.
fn is_placed(now: &Stat, source: Shown, seen: Option<Shown>) -> bool {
    match seen {
        Some(seen) => seen.is_same(now),
        None => now.may_equal(&Stat {
            kind: Kind::File,
            size: source.size,
            mtime: source.mtime,
        }),
    }
}

/// Forgets what a side does not show as recorded: it was done while the directory was left out. Returns the directories among
/// it, of which all below is to be forgotten, too.
pub fn forget_changed(found: &mut Found) -> Vec<Box<[u8]>> {
    let mut changed: Vec<Box<[u8]>> = Vec::new();
    let mut dirs = Vec::new();
    let mut dated = Vec::new();
    for record in found.block.iter() {
        let names = Sides::new(record.name, record.remote_name.unwrap_or(record.name));
        let is_as_recorded = Sides::new(Side::Local, Side::Remote).map(|side| {
            let entry = found.listings.of(side).find(names.of(side).as_bytes());
            entry.is_some_and(|entry| match record.what {
                What::File(shown) => shown.of(side).is_same(&entry.shown),
                What::Dir => entry.stat.kind == Kind::Dir,
            })
        });
        if is_as_recorded == Sides::new(true, true) {
            continue;
        }
        changed.push(record.name.as_bytes().into());
        match record.what {
            What::Dir => dirs.push(record.name.as_bytes().into()),
            // Its server may have dated it otherwise: only the record tells its time.
            What::File(shown) if is_as_recorded.remote => {
                let place = found.listings.remote.position(names.remote.as_bytes());
                dated.extend(place.zip(true_time(shown)));
            }
            What::File(_) => {}
        }
    }
    for (place, mtime) in dated {
        found.listings.remote.restore_mtime(place, mtime.at);
    }
    for name in changed {
        forget(found, name);
    }
    dirs
}

fn is_surely_gone(found: &Found, side: Side, name: &[u8]) -> bool {
    *found.complete.of(side) && found.listings.of(side).find(name).is_none()
}

fn forget(found: &mut Found, name: Box<[u8]>) {
    let change = Change::Forget { name };
    found.block.apply(&change);
    found.notes.push(change);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_other_spellings() {
        let spelled = |one: &str, other: &str| is_spelling(one.as_bytes(), other.as_bytes());
        assert!(spelled("caf\u{e9}.jpg", "cafe\u{301}.jpg"));
        assert!(spelled("Photo.JPG", "photo.jpg"));
        assert!(spelled("name. ", "name"));
        assert!(!spelled("a.jpg", "b.jpg"));
        assert!(!spelled("photo1.jpg", "photo2.jpg"));
    }
}
