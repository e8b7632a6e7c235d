//! Looks around: counts what is there, and notes what runs have left.

use super::super::Visitor;
use super::Scanning;
use crate::error::{Doing, Error, Result};
use crate::path::{LOCK_NAME, METADATA_NAME, Name, Part, RelPath, TRASH_MARK};
use crate::replica::{Entry, Kind, Listing};
use crate::side::Sides;
use crate::sync::carry::trash;
use crate::sync::event::Event;
use crate::time::Timestamp;
use crate::words::local_time;

/// What was found.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) files: u64,
    /// The root included, as pyftpsync counts.
    pub(super) dirs: u64,
    pub(super) bytes: u64,
    pub(super) trashes: Vec<TrashFound>,
    pub(super) parts: Vec<PartFound>,
    /// pyftpsync's records, and the true times of files that it and we leave on servers that cannot keep them.
    pub(super) metadata: Vec<RelPath>,
    /// Lock files below the root: each locks the directory that it lies in.
    pub(super) lock_files: Vec<RelPath>,
}

/// A trash, and the runs in it by their names, which are their times in UTC.
pub(super) struct TrashFound {
    pub(super) path: RelPath,
    pub(super) runs: Vec<String>,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// A partial file.
pub(super) struct PartFound {
    pub(super) path: RelPath,
    pub(super) size: u64,
    pub(super) mtime: Option<Timestamp>,
    /// Whether it is the old file, moved aside, and not a part of the new one.
    pub(super) is_old_file: bool,
    /// Which of the known jobs left it.
    pub(super) job: Option<usize>,
}

impl Scanning<'_> {
    /// Walks the target, or looks at its root alone.
    pub(super) fn look_around(
        &self,
        visitor: &mut Visitor<'_>,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Findings> {
        let mut found = Findings {
            dirs: 1,
            ..Findings::default()
        };
        self.look_at(visitor, &RelPath::root(), &mut found, tell)?;
        if !self.what.recursive {
            let dirs = std::mem::take(&mut found.trashes);
            self.find_trashes(visitor, dirs, &mut found)?;
        }
        Ok(found)
    }

    fn look_at(
        &self,
        visitor: &mut Visitor<'_>,
        dir: &RelPath,
        found: &mut Findings,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        let Some(listing) = visitor.list_or_tell(dir, tell)? else {
            return Ok(());
        };
        if listing.find(TRASH_MARK).is_some() {
            let trash = Self::trash_of(dir, &listing);
            found.trashes.push(self.weigh(visitor, trash, tell)?);
            return Ok(());
        }
        self.tell_unread(visitor.unread.take(), dir, tell);
        if !self.what.list {
            tell_progress(&listing, tell);
        }
        for name in listing.unusable() {
            tell(Event::Warning(&format!(
                "{dir}: {name} is a name that no other side can have; it is never synced"
            )));
        }
        for entry in listing.iter() {
            let path = dir.join(entry.name);
            self.note_left(&path, &entry, found);
            if !visitor.is_wanted(&path, entry.stat.kind) {
                continue;
            }
            match entry.stat.kind {
                Kind::Dir => found.dirs += 1,
                Kind::File => {
                    found.files += 1;
                    found.bytes += entry.stat.size;
                }
                Kind::Special => {}
            }
            if self.what.list {
                tell(Event::Line(&listed(dir, &entry)));
            }
            if entry.stat.kind == Kind::Dir {
                if self.what.recursive {
                    self.look_at(visitor, &path, found, tell)?;
                } else {
                    // Whether it is one is asked of all together.
                    found.trashes.push(Self::trash_of(&path, &Listing::new()));
                }
            }
        }
        Ok(())
    }

    /// Notes what a run left, by its name.
    fn note_left(&self, path: &RelPath, entry: &Entry<'_>, found: &mut Findings) {
        let name = entry.name;
        if entry.stat.kind != Kind::File {
            return;
        }
        if name.as_bytes() == METADATA_NAME {
            found.metadata.push(path.clone());
        } else if name.as_bytes() == LOCK_NAME && path.depth() > 1 {
            found.lock_files.push(path.clone());
        } else if let Some(part) = crate::path::part_of_anyone(name) {
            let owns = |job: &super::KnownJob| job.owner.part(name).is_some();
            found.parts.push(PartFound {
                path: path.clone(),
                size: entry.stat.size,
                mtime: entry.stat.mtime.map(|mtime| mtime.at),
                is_old_file: matches!(part, Part::Aside(_)),
                job: self.jobs.iter().position(owns),
            });
        }
    }

    /// Says of metadata in a directory that it cannot be read: it counts as none in every run.
    fn tell_unread(&self, unread: Option<Error>, dir: &RelPath, tell: &mut dyn FnMut(Event<'_>)) {
        let Some(error) = unread.filter(|_| !self.what.remove_meta) else {
            return;
        };
        let path = dir.join(Name::new(METADATA_NAME).expect("our own names are good names"));
        let error = error.while_doing("what it records counts as none (--remove-meta removes it)");
        tell(Event::Failed {
            path: &path,
            error: &error,
        });
    }

    fn trash_of(dir: &RelPath, listing: &Listing) -> TrashFound {
        let runs = listing.iter().filter(|entry| entry.stat.kind == Kind::Dir);
        let names = runs.map(|entry| entry.name);
        TrashFound {
            path: dir.clone(),
            runs: names
                .filter(|name| trash::is_run(name.as_bytes()))
                .map(|name| name.to_string())
                .collect(),
            files: 0,
            bytes: 0,
        }
    }

    /// Counts what is in a trash.
    fn weigh(
        &self,
        visitor: &mut Visitor<'_>,
        mut trash: TrashFound,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<TrashFound> {
        let mut waiting = vec![trash.path.clone()];
        while let Some(dir) = waiting.pop() {
            let Some(listing) = visitor.list_or_tell(&dir, tell)? else {
                continue;
            };
            for entry in listing.iter() {
                match entry.stat.kind {
                    Kind::Dir => waiting.push(dir.join(entry.name)),
                    Kind::File if entry.name.as_bytes() != TRASH_MARK => {
                        trash.files += 1;
                        trash.bytes += entry.stat.size;
                    }
                    Kind::File | Kind::Special => {}
                }
            }
        }
        Ok(trash)
    }

    /// Which of these directories are a trash, and what runs are in them.
    fn find_trashes(
        &self,
        visitor: &mut Visitor<'_>,
        dirs: Vec<TrashFound>,
        found: &mut Findings,
    ) -> Result<()> {
        let mark = Name::new(TRASH_MARK).expect("our own names are good names");
        let marks: Vec<RelPath> = dirs.iter().map(|dir| dir.path.join(mark)).collect();
        let answers = visitor.ask(|replica| Ok(replica.look_up(&marks)))?;
        for (dir, answer) in dirs.into_iter().zip(answers) {
            if matches!(answer, Ok(Some(_))) {
                let listing = visitor.list(&dir.path);
                let listing = listing.doing(|| "looking into the trash")?;
                found.trashes.push(Self::trash_of(&dir.path, &listing));
            }
        }
        Ok(())
    }
}

/// Says that a directory was looked at, for whoever waits.
fn tell_progress(listing: &Listing, tell: &mut dyn FnMut(Event<'_>)) {
    let files = listing.iter().filter(|entry| entry.stat.kind == Kind::File);
    tell(Event::Scanned {
        files: Sides::new(0, files.count() as u64),
        dirs: Sides::new(0, 1),
    });
}

/// The line of an entry, as pyftpsync's `scan --list` prints it.
fn listed(dir: &RelPath, entry: &Entry<'_>) -> String {
    let indent = "    ".repeat(dir.depth());
    let name = entry.name.to_string();
    match entry.stat.kind {
        Kind::Dir => format!("{indent} [{name}]"),
        Kind::Special => format!("{indent} {name:<40} (a link or a device)"),
        Kind::File => {
            let time = entry.stat.mtime.map(|mtime| local_time(mtime.at));
            let time = time.as_deref().unwrap_or("(no time)");
            match entry.shown.mtime {
                Some(shown) if entry.stat.mtime.is_some_and(|mtime| mtime.at != shown.at) => {
                    let shown = local_time(shown.at);
                    format!("{indent} {name:<40} {time} (system: {shown})")
                }
                Some(_) | None => format!("{indent} {name:<40} {time}"),
            }
        }
    }
}
