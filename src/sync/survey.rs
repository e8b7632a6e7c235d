//! What a worker finds out about one directory: both listings and the records. No decisions.

use crate::error::{Result, Scope};
use crate::job::{Job, RemoteScan, StateDir};
use crate::path::{LOCK_NAME, METADATA_NAME, Name, RelPath};
use crate::replica::{Kind, Listing, Mtime, Replica, Stat};
use crate::side::{Side, Sides};
use crate::sync::classify::is_coarse;
use crate::sync::metadata::{Metadata, RecordKind};
use crate::sync::peer::PeerKey;
use crate::sync::pool::Hands;
use crate::sync::store::{self, OtherVersion};

/// What all surveys of a run have in common.
#[derive(Debug)]
pub struct Terms {
    /// The peer whose records count.
    pub key: PeerKey,
    /// What to do with metadata of another version.
    pub other_version: OtherVersion,
    /// Whether the remote side is listed, or the records are believed.
    pub remote_scan: RemoteScan,
    /// The trash, which takes no part.
    pub trash: Option<RelPath>,
}

impl Terms {
    /// The terms of a job.
    pub fn of(job: &Job) -> Self {
        let key = PeerKey::of(&job.remote);
        Self {
            key: match job.state {
                StateDir::Beside => key,
                // pyftpsync never looks there.
                StateDir::Below(_) => key.without_legacy(),
            },
            other_version: if job.migrate {
                OtherVersion::Discard
            } else {
                OtherVersion::Refuse
            },
            remote_scan: job.policy.remote_scan,
            trash: job.policy.trash.as_ref().map(|trash| trash.dir.clone()),
        }
    }
}

/// A directory as it was found.
#[derive(Debug)]
pub struct Survey {
    /// What is in it on each side that has it, without reserved names; or why nothing is known of it.
    pub listings: Sides<Option<Result<Listing>>>,
    /// What is recorded of it.
    pub metadata: Metadata,
    /// Partial files in it, with their sizes.
    pub partials: Sides<Vec<(RelPath, u64)>>,
    /// Whether there is remote metadata.
    pub has_remote_metadata: bool,
    /// Whether there is a lock file on the remote side.
    pub has_lock: bool,
    /// Whether there are any reserved names on the remote side.
    pub has_reserved: bool,
    /// Which of its metadata files cannot be read.
    pub damaged: Sides<bool>,
}

/// Looks at a directory on the sides that have it.
///
/// Where the remote side is known to be as recorded, it is not listed.
///
/// Fails only where the connection or the whole run is spoilt; that a listing was refused is a finding.
pub fn survey(
    hands: &mut Hands,
    terms: &Terms,
    paths: &Sides<RelPath>,
    there: Sides<bool>,
    remote_is_known: bool,
) -> Result<Survey> {
    let mut damaged = Sides::new(false, false);
    let metadata = if there.local || hands.state.is_some() {
        let loaded = store::load(
            hands.metadata_home(),
            &paths.local,
            &terms.key,
            terms.other_version,
        )?;
        damaged.local = loaded.is_damaged;
        loaded.metadata
    } else {
        Metadata::empty(&terms.key)
    };

    let mut partials = Sides::new(Vec::new(), Vec::new());
    let mut has_remote_metadata = false;
    let mut has_lock = false;
    let mut has_reserved = false;
    let mut listings = Sides::new(None, None);
    for side in Side::BOTH {
        if !*there.of(side) {
            continue;
        }
        let listed = if side == Side::Remote && remote_is_known {
            Ok(recorded_listing(&metadata))
        } else {
            list(hands.sides.of_mut(side).as_mut(), paths.of(side))?
        };
        *listings.of_mut(side) = Some(match listed {
            Ok(mut listing) => {
                if side == Side::Remote {
                    has_remote_metadata = listing.find(METADATA_NAME).is_some();
                    has_lock = listing.find(LOCK_NAME).is_some();
                }
                let all = listing.len();
                *partials.of_mut(side) =
                    take_reserved(&mut listing, paths.of(side), terms.trash.as_ref());
                has_reserved |= side == Side::Remote && listing.len() < all;
                Ok(listing)
            }
            Err(error) => Err(error),
        });
    }

    if let (true, Some(Ok(listing))) = (has_remote_metadata, &mut listings.remote) {
        let remote = hands.sides.remote.as_mut();
        let mut loaded = store::load(remote, &paths.remote, &terms.key, terms.other_version)?;
        loaded.metadata.restore_times(listing);
        damaged.remote = loaded.is_damaged;
    }
    Ok(Survey {
        listings,
        metadata,
        partials,
        has_remote_metadata,
        has_lock,
        has_reserved,
        damaged,
    })
}

/// Everything below a directory of one side, each directory before those in it.
///
/// Fails when any of it cannot be listed in full: what is asked for is a proof.
pub fn survey_subtree(
    target: &mut dyn Replica,
    side: Side,
    terms: &Terms,
    top: &RelPath,
) -> Result<Vec<(RelPath, Listing)>> {
    let mut found = Vec::new();
    let mut waiting = vec![top.clone()];
    while let Some(dir) = waiting.pop() {
        let mut listing = Listing::new();
        target.list(&dir, &mut listing)?;
        if let Some(gap) = listing.gap() {
            return Err(crate::error::ErrorKind::Verify(format!("{dir}: {gap}")).into());
        }
        let has_metadata = side == Side::Remote && listing.find(METADATA_NAME).is_some();
        take_reserved(&mut listing, &dir, terms.trash.as_ref());
        if has_metadata {
            store::load(target, &dir, &terms.key, terms.other_version)?
                .metadata
                .restore_times(&mut listing);
        }
        make_times_exact(target, &dir, &mut listing, |_| true)?;
        let dirs = listing.iter().filter(|entry| entry.stat.kind == Kind::Dir);
        waiting.extend(dirs.map(|entry| dir.join(entry.name)).rev());
        found.push((dir, listing));
    }
    Ok(found)
}

/// Asks for the exact times of those files for which `wanted` says so and the listing told only the minute or day.
pub fn make_times_exact(
    target: &mut dyn Replica,
    dir: &RelPath,
    listing: &mut Listing,
    wanted: impl Fn(usize) -> bool,
) -> Result<()> {
    let places: Vec<usize> = listing
        .iter()
        .enumerate()
        .filter(|(index, entry)| is_coarse(&entry.stat) && wanted(*index))
        .map(|(index, _)| index)
        .collect();
    if places.is_empty() {
        return Ok(());
    }
    let paths: Vec<RelPath> = places
        .iter()
        .filter_map(|index| listing.at(*index))
        .map(|entry| dir.join(entry.name))
        .collect();
    for (place, answer) in places.into_iter().zip(target.look_up(&paths)) {
        match answer {
            Ok(Some(stat)) if stat.mtime.is_some() => listing.set_stat(place, stat),
            // A server that cannot tell more at all: the coarse time is the time.
            Ok(Some(_)) => {}
            Ok(None) => set_untold(listing, place, "it is listed, and denied when asked for"),
            Err(error) if error.scope() == Scope::Entry => {
                set_untold(listing, place, &error.to_string());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Leaves an entry alone whose exact time is not told now: with the wrong one it would be recorded wrongly.
fn set_untold(listing: &mut Listing, place: usize, why: &str) {
    let name = listing
        .at(place)
        .map_or_else(String::new, |entry| entry.name.to_string());
    listing.mark_incomplete(format!(
        "the exact time of {name} cannot be told now: {why}"
    ));
    let untold = Stat {
        kind: Kind::Special,
        size: 0,
        mtime: None,
    };
    listing.set_stat(place, untold);
}

/// Lists a directory; a refusal is a finding, a dead connection an error.
fn list(target: &mut dyn Replica, dir: &RelPath) -> Result<Result<Listing>> {
    let mut listing = Listing::new();
    match target.list(dir, &mut listing) {
        Ok(()) => Ok(Ok(listing)),
        Err(error) if error.scope() == Scope::Entry => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// Takes the reserved names out of a listing and returns the partial files among them, with their sizes.
fn take_reserved(
    listing: &mut Listing,
    dir: &RelPath,
    trash: Option<&RelPath>,
) -> Vec<(RelPath, u64)> {
    let mut partials = Vec::new();
    let is_trash = |name: Name<'_>| trash.is_some_and(|trash| dir.join(name) == *trash);
    listing.retain(|entry| {
        if entry.name.is_partial() && entry.stat.kind == Kind::File {
            partials.push((dir.join(entry.name), entry.stat.size));
        }
        !entry.name.is_reserved() && !is_trash(entry.name)
    });
    partials
}

/// What the remote side holds if the records are right.
fn recorded_listing(metadata: &Metadata) -> Listing {
    let mut listing = Listing::new();
    for record in metadata.records().iter() {
        let stat = match record.what {
            RecordKind::File {
                size,
                mtime,
                remote_mtime,
            } => Stat {
                kind: Kind::File,
                size,
                mtime: Some(Mtime::exact(remote_mtime.unwrap_or(mtime))),
            },
            RecordKind::Dir { .. } => Stat::dir(),
        };
        listing.push(record.name.as_bytes(), stat);
    }
    listing.sort();
    listing
}
