//! What was found in a directory, and the pairs it makes: each name with its entries and its record. Pure.

use std::collections::HashMap;

use crate::job::Case;
use crate::path::{Name, RelPath};
use crate::replica::{Kind, Listing, Stat};
use crate::side::{Side, Sides};
use crate::sync::classify::{Baseline, Status, classify};
use crate::sync::journal::Intent;
use crate::sync::metadata::{Metadata, Record, RecordKind};
use crate::sync::scan::{Ambiguous, Pairs, Places, pair_up};
use crate::sync::survey::Terms;
use crate::time::Timestamp;

/// A directory's listings and records, ready to be decided on.
#[derive(Debug)]
pub struct Found {
    /// What is listed on each side, without reserved names.
    pub listings: Sides<Listing>,
    /// What is recorded.
    pub metadata: Metadata,
    /// Partial files of earlier runs, with their sizes.
    pub partials: Sides<Vec<(RelPath, u64)>>,
    /// Whether there is remote metadata.
    pub has_remote_metadata: bool,
    /// Whether nothing may be deleted here or below.
    pub is_protected: bool,
    /// Whether each listing shows all there is.
    pub complete: Sides<bool>,
    /// Whether the records are about what is here. Those in a directory that only one side has, and the other did not
    /// delete, came with it when it was renamed: they tell nothing of deletions.
    pub records_apply: bool,
    /// Files that a cut-off run placed; with their upload times where the server could not keep the true ones.
    pub placed: HashMap<Vec<u8>, Option<Timestamp>>,
}

impl Found {
    /// Puts what a cut-off run had in hand here into the records: a file that it placed counts as synced, and one whose
    /// old version it had moved out of the way counts as not yet there.
    pub fn recall_interrupted(&mut self, intents: &[Intent]) {
        for intent in intents {
            let Ok(name) = Name::new(&intent.name) else {
                continue;
            };
            let listing = self.listings.of(intent.to);
            match listing
                .position(name.as_bytes())
                .and_then(|place| Some((place, listing.at(place)?.stat)))
            {
                Some((place, stat)) => {
                    let seen = intent.seen.unwrap_or(intent.mtime);
                    if !stat.may_equal(&Stat::file(intent.size, seen)) {
                        continue;
                    }
                    let times_lost = intent.to == Side::Remote && intent.seen.is_some();
                    if times_lost {
                        self.listings.remote.restore_mtime(place, intent.mtime);
                    }
                    let what = RecordKind::File {
                        size: intent.size,
                        mtime: intent.mtime,
                        remote_mtime: None,
                    };
                    self.metadata.set_record(name, what, intent.at);
                    self.placed
                        .insert(name.as_bytes().to_vec(), intent.seen.filter(|_| times_lost));
                }
                None if listing.gap().is_none() => self.metadata.forget_record(name.as_bytes()),
                None => {}
            }
        }
        self.metadata.settle();
    }

    /// What became of a pair on each side. Where `gone_from` names a side, that side deleted the whole directory.
    pub fn statuses(&self, pair: &Pair<'_>, gone_from: Option<Side>) -> Sides<Status> {
        let known = self.records_apply && self.metadata.records().is_synced();
        let status_on = |side: Side| {
            // A record of another kind is no record of what is there now.
            let record = pair.record.as_ref().filter(|record| {
                pair.stats
                    .local
                    .or(pair.stats.remote)
                    .is_none_or(|stat| stat.kind == kind_of(record))
            });
            let baseline = record.map(|record| baseline(record, side));
            classify(pair.stats.of(side).as_ref(), baseline.as_ref(), known)
        };
        let mut status = Sides::new(status_on(Side::Local), status_on(Side::Remote));
        if let Some(side) = gone_from
            && *status.of(side) == Status::Missing
        {
            // Whatever appeared in a directory appeared after the other side had deleted it.
            *status.of_mut(side) = Status::Deleted;
        }
        status
    }

    /// Nothing at all.
    pub fn nothing(terms: &Terms, is_protected: bool) -> Self {
        Self {
            listings: Sides::default(),
            metadata: Metadata::empty(&terms.key),
            partials: Sides::default(),
            has_remote_metadata: false,
            is_protected,
            complete: Sides::new(true, true),
            records_apply: true,
            placed: HashMap::new(),
        }
    }

    /// Pairs the names up.
    pub fn pair_up(&self, case: Case) -> Result<Pairs, Ambiguous> {
        let Sides { local, remote } = &self.listings;
        pair_up(local, remote, self.metadata.records(), case)
    }

    /// Where these pairs stand.
    pub fn places<'f>(&'f self, pairs: &'f Pairs) -> impl Iterator<Item = Places> + use<'f> {
        let Sides { local, remote } = &self.listings;
        pairs.iter(local, remote, self.metadata.records())
    }

    /// The pair that stands at these places.
    pub fn pair(&self, places: Places) -> Pair<'_> {
        let local = places
            .local()
            .and_then(|place| self.listings.local.at(place));
        let remote = places
            .remote()
            .and_then(|place| self.listings.remote.at(place));
        let record = places
            .record()
            .and_then(|place| self.metadata.records().at(place));
        // Records are made under the local spelling, so it is known where the local entry is gone.
        let name = match (local, &record, remote) {
            (Some(entry), _, _) | (None, None, Some(entry)) => entry.name,
            (None, Some(record), _) => record.name,
            (None, None, None) => unreachable!("a pair stands in one of the lists"),
        };
        let is_in_records_alone = local.is_none() && remote.is_none();
        Pair {
            placed: self.placed.get(name.as_bytes()).copied(),
            name,
            remote_name: remote
                .map(|entry| entry.name)
                .filter(|remote_name| *remote_name != name),
            stats: Sides::new(
                local.map(|entry| entry.stat),
                remote.map(|entry| entry.stat),
            ),
            shown: Sides::new(
                local.map(|entry| entry.shown),
                remote.map(|entry| entry.shown),
            ),
            inode: local.map_or(0, |entry| entry.inode),
            record: record.filter(|_| self.records_apply || is_in_records_alone),
        }
    }
}

/// A pair with everything that is known of it.
#[derive(Debug)]
pub struct Pair<'a> {
    /// Its name; where the sides spell it differently, the local one.
    pub name: Name<'a>,
    /// Its name on the remote side, where that differs.
    pub remote_name: Option<Name<'a>>,
    /// What is listed on each side.
    pub stats: Sides<Option<Stat>>,
    /// The same as each side itself shows it, see [`Entry::shown`](crate::replica::Entry).
    pub shown: Sides<Option<Stat>>,
    /// The inode of the local file; 0 where there is none that is known.
    pub inode: u64,
    /// Its record.
    pub record: Option<Record<'a>>,
    /// Whether a cut-off run placed it and could not record it; with the upload time where the server could not keep
    /// the true one.
    pub placed: Option<Option<Timestamp>>,
}

impl Pair<'_> {
    /// Its name on that side.
    pub fn name_on(&self, side: Side) -> Name<'_> {
        match side {
            Side::Local => self.name,
            Side::Remote => self.remote_name.unwrap_or(self.name),
        }
    }

    /// Its paths in that directory.
    pub fn paths_in(&self, dir: &Sides<RelPath>) -> Sides<RelPath> {
        Sides::new(
            dir.local.join(self.name),
            dir.remote.join(self.name_on(Side::Remote)),
        )
    }
}

/// What a record says of one side.
pub fn baseline(record: &Record<'_>, side: Side) -> Baseline {
    match record.what {
        RecordKind::File {
            size,
            mtime,
            remote_mtime,
        } => Baseline::File {
            size,
            mtime: match side {
                Side::Local => mtime,
                Side::Remote => remote_mtime.unwrap_or(mtime),
            },
            recorded_at: record.recorded_at,
        },
        RecordKind::Dir { .. } => Baseline::Dir,
    }
}

/// What kind of thing a record is about.
pub const fn kind_of(record: &Record<'_>) -> Kind {
    match record.what {
        RecordKind::File { .. } => Kind::File,
        RecordKind::Dir { .. } => Kind::Dir,
    }
}

/// A side that has something there that is neither file nor directory.
pub fn special_side(kinds: Sides<Option<Kind>>) -> Option<Side> {
    Side::BOTH
        .into_iter()
        .find(|side| *kinds.of(*side) == Some(Kind::Special))
}
