//! Looks at one directory: both listings and its block of the archive.

use crate::error::{Doing, Result, Scope};
use crate::job::{Case, Job, RemoteScan};
use crate::path::{
    LOCK_DIR_NAME, LOCK_NAME, METADATA_NAME, Name, NameHash, Part, PartOwner, RelPath, TRASH_MARK,
    partial_name,
};
use crate::replica::{Entry, Kind, Listing, Mtime, Renaming, Replica, Stat, load};
use crate::side::{Side, Sides};
use crate::sync::look::pair::{Pairs, Places, pair_up};
use crate::sync::look::recall;
use crate::sync::look::spelling::{self, Meeting, Spelling};
use crate::sync::record::{Archive, Block, Change, Record, RemoteTimes, Shown, What};
use crate::sync::workers::Hands;
use crate::time::Timestamp;

/// A time of lower precision proves something unchanged only when its span ended this long before that was recorded or
/// sealed, in seconds: the server's clock may lag behind ours, and a change right after would fall into the same minute.
pub const COARSE_MARGIN_SECS: i64 = 15 * 60;

/// Remote metadata is not ours alone, but no larger than what a directory of some ten thousand files needs.
const REMOTE_TIMES_MAX_BYTES: usize = 4 << 20;

/// What all looks of a run have in common.
pub struct Terms<'env> {
    /// What is remembered.
    pub archive: &'env Archive,
    /// Whether the remote side is listed, or the records are believed.
    pub remote_scan: RemoteScan,
    /// How names that differ only in case are paired.
    pub case: Case,
    /// The trash, which takes no part.
    pub trash: Option<RelPath>,
    /// Whether the journal that a cut-off run left was written since this machine started.
    pub is_same_boot: bool,
    /// Whose partial files are looked for.
    pub owner: PartOwner,
    /// On which sides this job writes, and so has left some.
    pub writes: Sides<bool>,
    /// Whether it writes remote files under their final names at once.
    pub in_place: bool,
}

impl<'env> Terms<'env> {
    /// The terms of a job.
    pub fn of(job: &Job, archive: &'env Archive, is_same_boot: bool, owner: PartOwner) -> Self {
        let writes = |side| job.direction.writes(side);
        Self {
            archive,
            remote_scan: job.policy.remote_scan,
            case: job.policy.case,
            trash: job.policy.trash.as_ref().map(|trash| trash.dir.clone()),
            is_same_boot,
            owner,
            writes: Sides::new(writes(Side::Local), writes(Side::Remote)),
            in_place: job.writes_in_place(),
        }
    }
}

/// Where a directory is, and where its records are.
#[derive(Debug, Clone)]
pub struct Where {
    /// Its path on each side.
    pub paths: Sides<RelPath>,
    /// The path of its records: the local one, but for a directory that was renamed since.
    pub recorded: RelPath,
    /// On which sides it is.
    pub there: Sides<bool>,
    /// Whether the remote side is known to be as recorded, so that it is not listed.
    pub is_remote_known: bool,
}

/// A directory as it was found.
#[derive(Debug)]
pub struct Found {
    /// What is in it on each side, without names that take no part; empty where it is not.
    pub listings: Sides<Listing>,
    /// Why a side could not be listed at all.
    pub failed: Sides<Option<crate::error::Error>>,
    /// Whether each listing shows all there is.
    pub complete: Sides<bool>,
    /// What is remembered of it.
    pub block: Block,
    /// Names that a side spells otherwise than they are recorded, or than the other side does.
    pub spellings: Sides<Vec<Spelling>>,
    /// Names that a side takes for one with another.
    pub meetings: Vec<Meeting>,
    /// What a cut-off run had done and this run has to note.
    pub notes: Vec<Change>,
    /// Our partial files in it, with their sizes.
    pub partials: Sides<Vec<(RelPath, u64)>>,
    /// Old files of which the name is free, because a run was cut off before the new one took it. They are shown under it.
    pub aside: Sides<Vec<Renaming>>,
    /// Whether there is remote metadata.
    pub has_remote_times: bool,
    /// Whether there is a lock on the remote side.
    pub has_lock: bool,
    /// Whether there are names on the remote side that take no part.
    pub has_reserved: bool,
    /// Whether it is a trash, which is no content.
    pub is_trash: bool,
}

/// An old file that was moved aside for a new one.
struct Aside {
    of: NameHash,
    path: RelPath,
    stat: Stat,
}

/// Looks at a directory on the sides that have it.
///
/// Fails only where the session or the whole run is spoilt; that a listing was refused is a finding.
fn look(hands: &mut Hands<'_>, terms: &Terms<'_>, at: &Where) -> Result<Found> {
    let block = terms.archive.block(&at.recorded)?;
    let mut found = Found::of(block.unwrap_or_else(Block::empty));
    // Where a run was cut off, only the remote side knows what it came to, be it in a directory that was not there before.
    let lists_remote = if at.is_remote_known {
        !found.block.intents().is_empty()
    } else {
        at.there.remote
    };
    let mut aside: Sides<Vec<Aside>> = Sides::default();
    for side in Side::BOTH {
        let listed = match side {
            Side::Local if at.there.local => list(hands.of(side)?, &at.paths.local)?,
            Side::Remote if lists_remote => list(hands.of(side)?, &at.paths.remote)?,
            Side::Remote if at.there.remote => Ok(recorded_listing(&found.block)),
            Side::Local | Side::Remote => continue,
        };
        match listed {
            Err(error) if error.is_not_found() && !*at.there.of(side) => {}
            Ok(listing) => {
                *aside.of_mut(side) = found.take(side, listing, at.paths.of(side), terms);
            }
            Err(error) => {
                *found.failed.of_mut(side) = Some(error);
                *found.complete.of_mut(side) = false;
            }
        }
    }
    for side in Side::BOTH {
        for old in std::mem::take(aside.of_mut(side)) {
            found.settle_aside(side, at.paths.of(side), old);
        }
    }
    if found.block.facts().adopted && found.has_remote_times {
        found.see_adopted(hands, &at.paths.remote)?;
    }
    recall::doubt_adopted(&mut found, at.there);
    spelling::find(&mut found, hands, at, terms.case)?;
    recall::recall(&mut found, terms.is_same_boot, terms.in_place);
    if lists_remote {
        found.make_times_exact(hands, &at.paths.remote)?;
        if found.has_remote_times {
            found.restore_times(hands, &at.paths.remote)?;
        }
    }
    Ok(found)
}

/// Looks at directories one after the other, of which the remote side is asked for the listings together.
pub fn survey(
    hands: &mut Hands<'_>,
    terms: &Terms<'_>,
    dirs: &[Where],
    found: &mut Vec<Found>,
) -> Result<()> {
    let left = &dirs[found.len()..];
    let remote = left
        .iter()
        .filter(|at| at.there.remote && !at.is_remote_known);
    let remote: Vec<RelPath> = remote.map(|at| at.paths.remote.clone()).collect();
    if remote.len() > 1 {
        hands.of(Side::Remote)?.list_ahead(&remote);
    }
    for at in left {
        let looked = look(hands, terms, at);
        found.push(if at.paths.local.is_root() {
            // What fails there says of which root.
            looked?
        } else {
            looked.doing(|| format!("looking at {}", at.paths.local))?
        });
    }
    Ok(())
}

/// Lists a directory; a refusal is a finding, a dead session an error.
fn list(replica: &mut dyn Replica, dir: &RelPath) -> Result<Result<Listing>> {
    let mut listing = Listing::new();
    match replica.list(dir, &mut listing) {
        Ok(()) => Ok(Ok(listing)),
        Err(error) if error.scope() == Scope::Entry => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// What the remote side holds if the records are right.
fn recorded_listing(block: &Block) -> Listing {
    let mut listing = Listing::new();
    for record in block.iter() {
        let stat = match record.what {
            What::File(shown) => Stat {
                kind: Kind::File,
                size: shown.remote.size,
                mtime: shown.remote.mtime,
            },
            What::Dir => Stat::dir(),
        };
        let name = record.remote_name.unwrap_or(record.name);
        listing.push(name.as_bytes(), stat);
    }
    listing.sort();
    listing
}

impl Found {
    fn of(block: Block) -> Self {
        Self {
            listings: Sides::default(),
            failed: Sides::new(None, None),
            complete: Sides::new(true, true),
            block,
            spellings: Sides::default(),
            meetings: Vec::new(),
            notes: Vec::new(),
            partials: Sides::default(),
            aside: Sides::default(),
            has_remote_times: false,
            has_lock: false,
            has_reserved: false,
            is_trash: false,
        }
    }

    /// Takes a listing in, without the names that take no part; says which old files of ours lie aside.
    fn take(
        &mut self,
        side: Side,
        mut listing: Listing,
        dir: &RelPath,
        terms: &Terms<'_>,
    ) -> Vec<Aside> {
        *self.complete.of_mut(side) = listing.gap().is_none();
        if side == Side::Remote {
            self.has_remote_times = listing.find(METADATA_NAME).is_some();
            let names = [LOCK_DIR_NAME, LOCK_NAME];
            self.has_lock = names.iter().any(|name| listing.find(name).is_some());
        }
        self.is_trash |= listing.find(TRASH_MARK).is_some();
        let all = listing.len();
        let trash = terms.trash.as_ref();
        let trash = trash.filter(|trash| trash.parent() == *dir);
        let trash = trash.and_then(RelPath::name);
        let partials = self.partials.of_mut(side);
        let looks_for_parts = *terms.writes.of(side);
        let mut aside = Vec::new();
        listing.retain(|entry| {
            if looks_for_parts && entry.stat.kind == Kind::File {
                match terms.owner.part(entry.name) {
                    Some(Part::Bytes) => partials.push((dir.join(entry.name), entry.stat.size)),
                    Some(Part::Aside(of)) => aside.push(Aside {
                        of,
                        path: dir.join(entry.name),
                        stat: entry.stat,
                    }),
                    None => {}
                }
            }
            !entry.name.is_reserved() && trash != Some(entry.name)
        });
        self.has_reserved |= side == Side::Remote && listing.len() < all;
        *self.listings.of_mut(side) = listing;
        aside
    }

    /// An old file that lies aside is of no use once something has its name. Where nothing has, it may be the last copy: it is
    /// shown under its name, and gets it back. One of which the name is known to nobody stays where it is.
    fn settle_aside(&mut self, side: Side, dir: &RelPath, aside: Aside) {
        let Aside { of, path, stat } = aside;
        let is_meant = |name: Name<'_>| NameHash::of(name) == of;
        if self
            .listings
            .of(side)
            .iter()
            .any(|entry| is_meant(entry.name))
        {
            self.partials.of_mut(side).push((path, stat.size));
            return;
        }
        let other = self.listings.of(side.peer());
        let listed = other.iter().find(|entry| is_meant(entry.name));
        let mut records = self.block.iter();
        let record = records.find(|record| is_meant(record.name_on(side)));
        let name = record.as_ref().map(|record| record.name_on(side));
        let Some(name) = name.or(listed.map(|entry| entry.name)) else {
            log::info!("{path} on the {side} side is an old file whose name is not known any more");
            return;
        };
        let is_deleted_since = record.as_ref().is_some_and(|record| match record.what {
            What::File(shown) => {
                let recorded = shown.map(|shown| Stat {
                    kind: Kind::File,
                    size: shown.size,
                    mtime: shown.mtime,
                });
                // What replaced it was recorded, so this is not where the run was cut off.
                !stat.may_equal(recorded.of(side))
                    && listed.is_some_and(|entry| entry.stat.may_equal(recorded.of(side.peer())))
            }
            _ => false,
        });
        if is_deleted_since || !*self.complete.of(side) {
            log::info!("{path} on the {side} side is an old file, and is left there");
            return;
        }
        let renaming = Renaming {
            from: path,
            to: dir.join(name),
        };
        let name = name.as_bytes().to_vec();
        self.aside.of_mut(side).push(renaming);
        let listing = self.listings.of_mut(side);
        listing.push(&name, stat);
        listing.sort();
    }

    /// How that side spells what is recorded, or what the other side has, by this name.
    pub fn name_on<'f>(&'f self, side: Side, name: &'f [u8]) -> &'f [u8] {
        let mut spellings = self.spellings.of(side).iter();
        if let Some(spelling) = spellings.find(|spelling| *spelling.meant == *name) {
            return &spelling.shown;
        }
        let record = self.block.find(name);
        record.map_or(name, |record| record.name_on(side).as_bytes())
    }

    /// Whether the user of that side gave the entry this name.
    pub fn is_renamed(&self, side: Side, shown: &[u8]) -> bool {
        let spellings = self.spellings.of(side).iter();
        spellings
            .filter(|one| one.is_rename)
            .any(|one| *one.shown == *shown)
    }

    /// The other name that a side takes for one with this entry's; also where it is the other's, and both were recorded.
    pub fn meeting_of(&self, pair: &Pair<'_>) -> Option<&Meeting> {
        self.meetings.iter().find(|meeting| {
            *meeting.name == *pair.name.as_bytes()
                || meeting.is_recorded && *meeting.with == *pair.name_on(meeting.on).as_bytes()
        })
    }

    /// What that side lists of it.
    pub fn listed(&self, side: Side, name: &[u8]) -> Option<Entry<'_>> {
        self.listings.of(side).find(self.name_on(side, name))
    }

    /// Where the listing tells minutes or days only, asks for the exact times that a decision may rest on.
    fn make_times_exact(&mut self, hands: &mut Hands<'_>, dir: &RelPath) -> Result<()> {
        let wanted: Vec<usize> = (0..self.listings.remote.len())
            .filter(|place| self.needs_exact_time(*place))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let listing = &mut self.listings.remote;
        let paths: Vec<RelPath> = wanted
            .iter()
            .filter_map(|place| listing.at(*place))
            .map(|entry| dir.join(entry.name))
            .collect();
        let answers = hands.of(Side::Remote)?.look_up(&paths);
        for (place, answer) in wanted.into_iter().zip(answers) {
            match answer {
                Ok(Some(stat)) if stat.mtime.is_some() => listing.set_stat(place, stat),
                // A server that cannot tell more at all: the coarse time is the time.
                Ok(Some(_)) => {}
                Ok(None) => set_untold(listing, place, "it is listed, and denied when asked for"),
                Err(error) if error.scope() == Scope::Entry => {
                    set_untold(listing, place, &error.to_string());
                }
                Err(error) => {
                    return Err(error).doing(|| format!("asking for the times in {dir}"));
                }
            }
        }
        self.complete.remote &= listing.gap().is_none();
        Ok(())
    }

    /// Whether the listed time of a remote file is too coarse: it may be the recorded one, or a change made within the same
    /// minute or day.
    fn needs_exact_time(&self, place: usize) -> bool {
        let Some(entry) = self.listings.remote.at(place) else {
            return false;
        };
        let stat = entry.stat;
        let Some(listed) = stat.mtime.filter(|mtime| !mtime.precision.is_exact()) else {
            return false;
        };
        if stat.kind != Kind::File {
            return false;
        }
        let Some((record, shown)) = self.block.find(entry.name.as_bytes()).and_then(|record| {
            let What::File(shown) = record.what else {
                return None;
            };
            Some((record, shown))
        }) else {
            return true;
        };
        let local = self.listings.local.find(record.name.as_bytes());
        let is_settled_here = local.is_some_and(|entry| shown.local.is_same(&entry.shown));
        let says_no_more = shown
            .remote
            .mtime
            .is_some_and(|mtime| !mtime.precision.is_exact());
        let is_proven = shown.remote.is_same(&stat)
            && (says_no_more
                || listed.latest().plus_secs(COARSE_MARGIN_SECS) < self.block.facts().seen_at);
        // What is copied from there is recorded by its exact time, and a file that is as it was is copied where its peer is not.
        !(is_proven && is_settled_here)
    }

    /// Puts the true times of changed files, as a client left them beside files on a server that cannot keep them, into the
    /// listing. A file that is as recorded needs none.
    fn restore_times(&mut self, hands: &mut Hands<'_>, dir: &RelPath) -> Result<()> {
        let listing = &mut self.listings.remote;
        let wanted: Vec<usize> = (0..listing.len())
            .filter(|place| {
                let entry = listing.at(*place).expect("the place is below the length");
                let record = self.block.find(entry.name.as_bytes());
                let is_as_recorded = record.is_some_and(|record| match record.what {
                    What::File(shown) => shown.remote.is_same(&entry.stat),
                    What::Dir => false,
                });
                entry.stat.kind == Kind::File && !is_as_recorded
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let Some(times) = load_remote_times(hands.of(Side::Remote)?, dir)? else {
            return Ok(());
        };
        times.restore(listing, wanted);
        Ok(())
    }

    /// Says of what pyftpsync recorded how the remote side itself shows it: pyftpsync sets no times on servers, and records the
    /// true ones, which stand in the metadata beside the files.
    fn see_adopted(&mut self, hands: &mut Hands<'_>, dir: &RelPath) -> Result<()> {
        let Some(times) = load_remote_times(hands.of(Side::Remote)?, dir)? else {
            return Ok(());
        };
        let seen = self.block.iter().filter_map(|record| {
            let What::File(shown) = record.what else {
                return None;
            };
            let name = record.name.as_bytes();
            let entry = self.listings.remote.find(name)?;
            let meant = times.get(name, entry.stat.size, entry.shown.mtime)?;
            let is_as_recorded =
                (shown.remote.mtime).is_some_and(|mtime| mtime.is_same(Mtime::exact(meant)));
            (is_as_recorded && shown.remote.size == entry.stat.size).then(|| {
                Change::set(&Record {
                    what: What::File(Sides::new(shown.local, Shown::of(&entry.shown))),
                    ..record
                })
            })
        });
        let seen: Vec<Change> = seen.collect();
        for change in seen {
            self.block.apply(&change);
            self.notes.push(change);
        }
        Ok(())
    }

    /// Pairs the names up.
    pub fn pair_up(&self, case: Case) -> Pairs {
        let mut spellings = self.spellings.as_ref().map(|spellings| {
            let spelled = spellings.iter().map(|one| (&*one.shown, &*one.meant));
            spelled.collect::<Vec<_>>()
        });
        if self.block.has_spellings() {
            // What was found now is truer than what is recorded.
            let is_told = |name: &[u8]| self.spellings.remote.iter().any(|one| *one.meant == *name);
            let spelled = self.block.iter().filter_map(|record| {
                let shown = record.remote_name?;
                Some((shown.as_bytes(), record.name.as_bytes()))
            });
            spellings
                .remote
                .extend(spelled.filter(|(_, name)| !is_told(name)));
        }
        for spellings in [&mut spellings.local, &mut spellings.remote] {
            spellings.sort_unstable();
        }
        let Sides { local, remote } = &self.listings;
        pair_up(local, remote, &self.block, &spellings, case)
    }

    /// Where these pairs stand.
    pub fn places<'f>(&'f self, pairs: &'f Pairs) -> impl Iterator<Item = Places> + use<'f> {
        let Sides { local, remote } = &self.listings;
        pairs.iter(local, remote, &self.block)
    }

    /// The pair that stands at these places.
    pub fn pair(&self, places: Places) -> Pair<'_> {
        let local = places.local().and_then(|at| self.listings.local.at(at));
        let remote = places.remote().and_then(|at| self.listings.remote.at(at));
        let record = places.record().and_then(|at| self.block.at(at));
        // Records are made under the local spelling, so it is known where the local entry is gone.
        let name = match (&local, &record, &remote) {
            (Some(entry), _, _) | (None, None, Some(entry)) => entry.name,
            (None, Some(record), _) => record.name,
            (None, None, None) => unreachable!("a pair stands in one of the lists"),
        };
        Pair {
            name,
            remote_name: remote
                .as_ref()
                .map(|entry| entry.name)
                .or(record.and_then(|record| record.remote_name))
                .filter(|remote_name| *remote_name != name),
            entries: Sides::new(local, remote),
            record,
        }
    }
}

/// The time of a recorded file on this side, where the remote side dated it otherwise.
pub fn true_time(recorded: Sides<Shown>) -> Option<Mtime> {
    let (here, there) = (recorded.local.mtime?, recorded.remote.mtime?);
    let is_dated_otherwise = recorded.local.size == recorded.remote.size
        && here.precision.is_exact()
        && !here.may_be(there.at)
        && !there.may_be(here.at);
    is_dated_otherwise.then_some(here)
}

/// Reads the metadata that another client, or an earlier run, left on a server that cannot keep times. What cannot be read
/// or makes no sense is none: nothing rests on it but the times of files that are new here.
pub fn load_remote_times(replica: &mut dyn Replica, dir: &RelPath) -> Result<Option<RemoteTimes>> {
    let read = read_remote_times(replica, dir)?;
    Ok(read.and_then(|read| read.inspect_err(|error| log::info!("{error}")).ok()))
}

/// The same; what cannot be read or makes no sense is told.
pub fn read_remote_times(
    replica: &mut dyn Replica,
    dir: &RelPath,
) -> Result<Option<Result<RemoteTimes>>> {
    let path = dir.join(Name::new(METADATA_NAME).expect("our own names are good names"));
    match load(replica, &path, REMOTE_TIMES_MAX_BYTES) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => {
            let read = RemoteTimes::parse(&bytes);
            Ok(Some(read.doing(|| format!("reading {path}"))))
        }
        Err(error) if error.scope() == Scope::Session => Err(error),
        Err(error) => Ok(Some(Err(error.while_doing(format!("reading {path}"))))),
    }
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

/// Where the bytes of a file land first: a name that tells the size and time of its source, so that what an interrupted
/// transfer left there is known to be a part of it.
pub fn partial_path(owner: PartOwner, name: Name<'_>, dir: &RelPath, source: &Stat) -> RelPath {
    let bytes = partial_name(
        owner,
        name,
        source.size,
        source.mtime.map(|mtime| mtime.at.as_nanos()),
    );
    dir.join(Name::new(&bytes).expect("partial names are good names"))
}

/// One name with everything that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Its name; where the sides spell it differently, the local one.
    pub name: Name<'a>,
    /// Its name on the remote side, where that differs.
    pub remote_name: Option<Name<'a>>,
    /// What is listed on each side.
    pub entries: Sides<Option<Entry<'a>>>,
    /// Its record.
    pub record: Option<Record<'a>>,
}

impl<'a> Pair<'a> {
    /// Its name on that side.
    pub fn name_on(&self, side: Side) -> Name<'a> {
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

    /// What each side says of it, with the true times.
    pub fn stats(&self) -> Sides<Option<Stat>> {
        let mut stats = (self.entries.as_ref()).map(|entry| entry.as_ref().map(|entry| entry.stat));
        if let Some(stat) = &mut stats.remote
            && let Some(mtime) = self.true_time(stat)
        {
            stat.mtime = Some(mtime);
        }
        stats
    }

    /// The time that a remote file has on this side, where its server dated it otherwise and it is still what was recorded.
    fn true_time(&self, remote: &Stat) -> Option<Mtime> {
        let recorded = self.recorded_file()?;
        true_time(recorded).filter(|_| recorded.remote.is_same(remote))
    }

    /// The same as each side itself shows it.
    pub fn shown(&self) -> Sides<Option<Stat>> {
        self.entries
            .as_ref()
            .map(|entry| entry.as_ref().map(|entry| entry.shown))
    }

    /// On which sides it is.
    pub fn there(&self) -> Sides<bool> {
        self.entries.as_ref().map(Option::is_some)
    }

    /// What is on each side.
    pub fn kinds(&self) -> Sides<Option<Kind>> {
        self.stats().map(|stat| stat.map(|stat| stat.kind))
    }

    /// What each side tells it apart by, whatever its name; 0 where it does not.
    pub fn ids(&self) -> Sides<u64> {
        self.entries
            .as_ref()
            .map(|entry| entry.as_ref().map_or(0, |entry| entry.inode))
    }

    /// A side that has something there that is neither file nor directory.
    pub fn special_side(&self) -> Option<Side> {
        let kinds = self.kinds();
        Side::BOTH
            .into_iter()
            .find(|side| *kinds.of(*side) == Some(Kind::Special))
    }

    /// The recorded file, where it is the record of a file.
    pub fn recorded_file(&self) -> Option<Sides<Shown>> {
        match self.record.as_ref()?.what {
            What::File(shown) => Some(shown),
            What::Dir => None,
        }
    }

    /// Whether one of its files changed after `limit`.
    pub fn is_younger_than(&self, limit: Timestamp) -> bool {
        let is_young = |stat: Option<Stat>| {
            stat.is_some_and(|stat| {
                stat.kind == Kind::File && stat.mtime.is_some_and(|mtime| mtime.latest() > limit)
            })
        };
        let stats = self.stats();
        is_young(stats.local) || is_young(stats.remote)
    }
}
