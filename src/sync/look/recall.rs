//! What is remembered, held against what is there: before records are believed that may be wrong. Pure.
//!
//! Two kinds may be: what a run noted that was killed or cut off by a power cut, and what pyftpsync left in folders that may
//! have come from elsewhere since.

use crate::path::Name;
use crate::replica::{Kind, Stat};
use crate::side::{Side, Sides};
use crate::sync::look::Found;
use crate::sync::look::directory::true_time;
use crate::sync::look::spelling::renamed;
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
/// cleared as not yet there. After a power cut, what it noted as placed here may be gone again. With `in_place` what is under a
/// name on the remote side may be a piece of a file.
pub fn recall(found: &mut Found, is_same_boot: bool, in_place: bool) {
    if !is_same_boot {
        let lost: Vec<Box<[u8]>> = found
            .block
            .fresh()
            .iter()
            .filter(|name| {
                is_surely_gone(found, Side::Local, name)
                    || is_surely_gone(found, Side::Remote, name)
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
            } if in_place && seen.is_none() && is_piece(found, to, &name, source) => {
                take_for_unmodified(found, name, to, source);
            }
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
    let Some(entry) = found.listed(to, &name) else {
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
    record(found, &name, shown);
}

/// Whether a run that writes files under their final names at once was cut off while it did so here.
fn is_piece(found: &Found, to: Side, name: &[u8], source: Shown) -> bool {
    let entry = found.listed(to, name).filter(|_| to == Side::Remote);
    entry.is_some_and(|entry| {
        let is_within = entry.stat.kind == Kind::File && entry.stat.size <= source.size;
        is_within && !is_placed(&entry.shown, source, None)
    })
}

/// Records a piece of a file as what was in step: so it is nobody's change, and the whole file replaces it.
fn take_for_unmodified(found: &mut Found, name: Box<[u8]>, to: Side, source: Shown) {
    let Some(entry) = found.listed(to, &name).filter(|_| Name::new(&name).is_ok()) else {
        return;
    };
    // Its source is not of that size, and so is modified.
    let other = Shown {
        size: !source.size,
        mtime: None,
        digest: None,
    };
    let mut shown = Sides::new(other, other);
    *shown.of_mut(to) = Shown::of(&entry.shown);
    record(found, &name, shown);
}

/// Records that both sides were so.
fn record(found: &mut Found, name: &[u8], shown: Sides<Shown>) {
    let both = Sides::new(Side::Local, Side::Remote);
    let ids = both.map(|side| found.listed(side, name).map_or(0, |entry| entry.inode));
    let names = both.map(|side| found.name_on(side, name).into());
    for change in renamed(name, names, What::File(shown), ids) {
        found.block.apply(&change);
        found.notes.push(change);
    }
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
    *found.complete.of(side) && found.listed(side, name).is_none()
}

fn forget(found: &mut Found, name: Box<[u8]>) {
    let change = Change::Forget { name };
    found.block.apply(&change);
    found.notes.push(change);
}
