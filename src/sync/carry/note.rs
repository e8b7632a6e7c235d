//! What is to be remembered: the lines that the journal gets after each step, and the true times that are left for other
//! clients where a server cannot keep them.

use std::collections::BTreeMap;

use super::Run;
use crate::path::{METADATA_NAME, Name, RelPath};
use crate::replica::{Removal, Replica, Stat, Times, Written, look_up_one, save};
use crate::side::{Side, Sides};
use crate::sync::event::Event;
use crate::sync::look::directory::load_remote_times;
use crate::sync::look::spelling::renamed;
use crate::sync::plan::moved::Place;
use crate::sync::plan::{OwnRecord, Step, Todo};
use crate::sync::record::{Change, DirFacts, Shown, TrueTime, What};

/// What a line of the journal takes at most, names aside: for the room that is made before anything is done.
pub(super) const LINE_BYTES: u64 = 250;

/// A true time to be left for other clients, or one that is none any more.
#[derive(Debug, Clone)]
pub(super) enum TimeChange {
    Set(Box<[u8]>, TrueTime),
    Forget(Box<[u8]>),
}

/// What is to be recorded of a file that was copied: the source as it was listed, and the copy as its side shows it.
pub(super) fn copied(
    name: &[u8],
    remote_name: Option<&[u8]>,
    step: &Step,
    from: Side,
    written: &Written,
) -> Change {
    let source = step.shown_on(from).expect("what is copied was listed");
    let mut shown = Sides::new(Shown::of(&source), Shown::of(&source));
    *shown.of_mut(from.peer()) = Shown::of(&written.stat);
    shown.local.digest = written.digest;
    let mut ids = Sides::new(0, 0);
    *ids.of_mut(from) = *step.ids.of(from);
    *ids.of_mut(from.peer()) = written.inode;
    Change::Set {
        name: name.into(),
        remote_name: remote_name.map(Into::into),
        what: What::File(shown),
        ids,
    }
}

/// What is to be recorded of a file that was found equal, with the digest of its content; none where a side does not have it.
pub(super) fn found_equal(step: &Step, digest: Option<u64>) -> Option<Change> {
    let (local, remote) = (step.shown_on(Side::Local)?, step.shown_on(Side::Remote)?);
    let mut shown = Sides::new(Shown::of(&local), Shown::of(&remote));
    shown.local.digest = digest;
    Some(Change::Set {
        name: step.name.clone(),
        remote_name: step.remote_name.clone(),
        what: What::File(shown),
        ids: step.ids,
    })
}

/// What other clients are to know of a file that was copied to the remote side.
pub(super) fn time_of_copy(
    name: &[u8],
    source: &Stat,
    written: &Written,
    has_remote_times: bool,
) -> Option<TimeChange> {
    match written.times {
        Times::Lost => Some(TimeChange::Set(
            name.into(),
            TrueTime {
                mtime: source.best_mtime()?,
                size: source.size,
                uploaded_at: written.stat.best_mtime()?,
            },
        )),
        Times::Kept | Times::Unknown => has_remote_times.then(|| TimeChange::Forget(name.into())),
    }
}

impl Run<'_, '_, '_> {
    /// Notes what is true from now on. That it could not be kept is told at the end, by whoever writes the archive.
    pub(super) fn note(&mut self, dir: &RelPath, change: &Change) {
        let noted = self.work.journal.note(dir, change);
        self.stopped_by = self.stopped_by.take().or(noted.err());
    }

    /// The same for a directory of the plan.
    pub(super) fn note_in(&mut self, dir: usize, change: &Change) {
        let path = &self.work.plan.dirs[dir].paths.local;
        let noted = self.work.journal.note(path, change);
        self.stopped_by = self.stopped_by.take().or(noted.err());
    }

    /// Notes what a cut-off run had done, and what is gone on both sides: before anything else is noted of these names, which
    /// comes after it.
    pub(super) fn note_found(&mut self) {
        for dir in 0..self.work.plan.dirs.len() {
            if !self.states[dir].unmade {
                self.note_found_in(dir);
            }
        }
    }

    fn note_found_in(&mut self, dir: usize) {
        let plan = &mut self.work.plan.dirs[dir];
        let notes = std::mem::take(&mut plan.notes);
        let gone = std::mem::take(&mut plan.forgotten_dirs);
        for change in &notes {
            self.note_in(dir, change);
        }
        for name in gone {
            let below = self.work.plan.dirs[dir].recorded.clone();
            if let Ok(of_dir) = Name::new(&name) {
                self.note(&below.join(of_dir), &Change::Drop);
            }
            self.note_in(dir, &Change::Forget { name });
        }
    }

    /// Makes the names that were given last through a power cut. A record of a file that one took away would pass for its
    /// deletion.
    pub(super) fn make_lasting(&mut self) {
        for side in Side::BOTH {
            let dirs = std::mem::take(self.placed_in.of_mut(side));
            if !*self.work.is_disk.of(side) || dirs.is_empty() {
                continue;
            }
            let paths = dirs
                .iter()
                .map(|dir| self.work.plan.dirs[*dir].paths.of(side).clone());
            let paths: Vec<RelPath> = paths.collect();
            let lasting =
                self.work.workers.open(side).and_then(|mut replica| {
                    paths.iter().try_for_each(|dir| replica.make_lasting(dir))
                });
            if let Err(error) = lasting {
                self.stopped_by.get_or_insert(error);
            }
        }
    }

    /// Notes what is to be known of the directories themselves, once it is known what became of all in them.
    pub(super) fn note_dirs(&mut self) {
        for (dir, facts) in std::mem::take(&mut self.work.plan.left_out) {
            self.note(&dir, &Change::Facts(facts));
        }
        let mut local = None;
        for index in 0..self.work.plan.dirs.len() {
            if self.states[index].unmade || self.states[index].removed {
                continue;
            }
            if self.was_not_made(index) {
                self.leave_unmade(index);
                continue;
            }
            self.note_own_record(index);
            if let Some(facts) = self.facts_of(index, &mut local) {
                self.note_in(index, &Change::Facts(facts));
            }
        }
    }

    /// Whether a directory is not there although the side said that it made it: recorded, it would pass for one that was deleted.
    /// Only where something in it failed is that worth a question.
    fn was_not_made(&mut self, index: usize) -> bool {
        let (Some(side), true) = (self.work.plan.dirs[index].make_on, self.states[index].stays)
        else {
            return false;
        };
        if self.stopped_by.is_some() {
            return false;
        }
        let path = self.work.plan.dirs[index].paths.of(side).clone();
        let there = self.each(1, move |hands| {
            Ok(vec![look_up_one(hands.of(side)?, &path)])
        });
        !matches!(there.into_iter().next(), Some(Ok(Some(_))))
    }

    /// Notes in the directory above that both sides have this one, or that it is not known any more.
    fn note_own_record(&mut self, index: usize) {
        let plan = &self.work.plan.dirs[index];
        let (Some(parent), Some(name)) = (plan.parent, plan.paths.local.name()) else {
            return;
        };
        let changes = match plan.own_record {
            OwnRecord::Keep => return,
            OwnRecord::Set => {
                let names = Sides::new(name, plan.paths.remote.name().unwrap_or(name));
                // One that was moved has none under its old name any more.
                let old = plan.recorded.name().filter(|_| plan.moved_from.is_none());
                let old = old.unwrap_or(name).as_bytes();
                let names = names.map(|name| name.as_bytes().into());
                renamed(old, names, What::Dir, Sides::default())
            }
            OwnRecord::Forget => vec![Change::Forget {
                name: plan.recorded.name().unwrap_or(name).as_bytes().into(),
            }],
        };
        for change in changes {
            self.note_in(parent, &change);
        }
    }

    /// Directories that the local side spells otherwise now take their records along, before anything is recorded in them.
    pub(super) fn note_respellings(&mut self) {
        // Parents stand before their children.
        for index in 0..self.work.plan.dirs.len() {
            let plan = &self.work.plan.dirs[index];
            let (Some(old), Some(new)) = (plan.recorded.name(), plan.paths.local.name()) else {
                continue;
            };
            if plan.moved_from.is_some() || old == new || plan.own_record != OwnRecord::Set {
                continue;
            }
            let from = plan.paths.local.parent().join(old);
            let is_there = plan.make_on.is_none();
            self.note_in(index, &Change::MovedFrom(from));
            if is_there {
                self.note_own_record(index);
            }
        }
    }

    /// What is to be known of a directory: less than planned where something in it failed. `local` is opened when it is needed.
    fn facts_of(&self, index: usize, local: &mut Option<Box<dyn Replica>>) -> Option<DirFacts> {
        let plan = &self.work.plan.dirs[index];
        let mut facts = plan.facts?;
        let is_over = !self.states[index].failed && self.stopped_by.is_none();
        // What is not done yet, and has no record, must not look like something new to the next run.
        facts.settled = plan.was_settled || facts.settled && is_over;
        if plan.make_on == Some(Side::Local) {
            if local.is_none() {
                *local = self.work.workers.open(Side::Local).ok();
            }
            let replica = local.as_mut();
            let identity = replica.and_then(|local| local.identify(&plan.paths.local).ok()?);
            facts.inode = identity.map_or(0, |identity| identity.inode);
        }
        Some(facts)
    }

    /// Notes that another client need not know a true time of this file any more.
    pub(super) fn forget_time(&mut self, dir: usize, name: &[u8]) {
        if self.work.plan.dirs[dir].has_remote_times {
            self.times.push((dir, TimeChange::Forget(name.into())));
        }
    }

    /// Writes the true times into the remote directories whose server cannot keep them. A server that loses them costs this
    /// client nothing.
    pub(super) fn leave_times(&mut self) {
        let mut by_dir: BTreeMap<usize, Vec<TimeChange>> = BTreeMap::new();
        for (dir, change) in std::mem::take(&mut self.times) {
            by_dir.entry(dir).or_default().push(change);
        }
        for (dir, changes) in by_dir {
            if !self.work.job.policy.remote_times || self.states[dir].removed {
                continue;
            }
            let path = self.work.plan.dirs[dir].paths.remote.clone();
            let (now, owner) = (self.work.now, self.work.copying.owner);
            let left = self.work.workers.call(move |hands| {
                let remote = hands.of(Side::Remote)?;
                let mut times = load_remote_times(remote, &path)?.unwrap_or_default();
                for change in &changes {
                    match change {
                        TimeChange::Set(name, time) => times.set(name, *time),
                        TimeChange::Forget(name) => times.forget(name),
                    }
                }
                let name = Name::new(METADATA_NAME).expect("our own names are good names");
                let file = path.join(name);
                if times.is_empty() {
                    let removed = remote.remove(&[Removal::File(file)]);
                    removed.into_iter().collect()
                } else {
                    save(remote, &file, &times.to_bytes(now), owner)
                }
            });
            if let Err(failure) = left {
                let error = failure
                    .into_error()
                    .while_doing("leaving true times for other clients");
                let path = self.work.plan.dirs[dir].paths.local.clone();
                self.work.plan.totals.errors += 1;
                (self.work.tell)(Event::Failed {
                    path: &path,
                    error: &error,
                });
            }
        }
    }

    /// Notes that a step came to its end.
    pub(super) fn note_step(&mut self, at: Place, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.note_in(at.dir, &change);
        }
    }

    /// Notes a step that needs no transfer.
    pub(super) fn note_record(&mut self, at: Place) {
        let step = self.work.plan.step(at);
        let change = match step.todo {
            Todo::Record { digest } => found_equal(step, digest),
            Todo::Forget { .. } => Some(Change::Forget {
                name: step.name.clone(),
            }),
            Todo::Copy { .. }
            | Todo::Delete { .. }
            | Todo::Rename { .. }
            | Todo::RenamedAway
            | Todo::KeepBoth { .. } => None,
        };
        if let Some(change) = change {
            self.note_in(at.dir, &change);
        }
    }
}
