//! Making, renaming and removing directories.

use std::collections::HashSet;

use super::delete::{Deletion, batch_on, delete_batch};
use super::rename::{Moving, move_batch};
use super::{BATCH, Run, tell, trash};
use crate::error::{ErrorKind, Result};
use crate::path::RelPath;
use crate::replica::{Kind, Stat, Times, look_up_one};
use crate::side::{Side, Sides};
use crate::sync::event::{Deed, DeletedFor, Event};
use crate::sync::look::spelling::twin_hash;
use crate::sync::plan::OldName;
use crate::sync::record::{Change, DirFacts};
use crate::sync::workers::Failure;

impl Run<'_, '_, '_> {
    /// Makes directories, and renames those that are there under another name: each once the one it is to be in is
    /// there.
    pub(super) fn make_dirs(&mut self) {
        for side in Side::BOTH {
            let mut waiting = Vec::new();
            let mut looks = HashSet::new();
            for index in 0..self.work.plan.dirs.len() {
                let dir = &self.work.plan.dirs[index];
                if dir.make_on == Some(side) {
                    let look = dir
                        .paths
                        .of(side)
                        .name()
                        .map(|name| twin_hash(name.as_bytes()));
                    let is_twin = !looks.insert((dir.parent, look));
                    if is_twin {
                        self.make_all(side, &std::mem::take(&mut waiting));
                        self.make_twin(side, index);
                        continue;
                    }
                    waiting.push(index);
                }
                if let (Side::Remote, Some(old)) = (side, dir.moved_from.clone()) {
                    self.make_all(side, &std::mem::take(&mut waiting));
                    self.move_dir(index, &old);
                }
            }
            self.make_all(side, &waiting);
        }
    }

    fn make_all(&mut self, side: Side, all: &[usize]) {
        for batch in all.chunks(BATCH) {
            if self.is_stopped() {
                // What is to be in them cannot be put there, and they are not on both sides.
                batch
                    .iter()
                    .for_each(|index| self.states[*index].unmade = true);
                continue;
            }
            let paths: Vec<RelPath> = batch
                .iter()
                .map(|index| self.work.plan.dirs[*index].paths.of(side).clone())
                .collect();
            let results = self.each(batch.len(), move |hands| {
                Ok(hands.of(side)?.make_dirs(&paths))
            });
            for (index, result) in batch.iter().zip(results) {
                self.dir_made(*index, side, result);
            }
        }
    }

    /// Makes a directory whose name looks like that of one that was made before. A side may take both for one, and what is in
    /// them would meet.
    fn make_twin(&mut self, side: Side, index: usize) {
        let path = self.work.plan.dirs[index].paths.of(side).clone();
        let there = self.each(1, move |hands| {
            Ok(vec![look_up_one(hands.of(side)?, &path)])
        });
        match there.into_iter().next() {
            Some(Ok(None)) => self.make_all(side, &[index]),
            Some(Ok(Some(_))) => {
                let text = format!(
                    "the {side} side takes this name for one with another that looks like it; rename one of the two"
                );
                self.dir_made(index, side, Err(ErrorKind::Name(text).into()));
            }
            Some(Err(error)) => self.dir_made(index, side, Err(error)),
            None => unreachable!("one answer for one directory"),
        }
    }

    fn dir_made(&mut self, index: usize, side: Side, result: Result<()>) {
        let path = self.work.plan.dirs[index].paths.local.clone();
        let parent_unmade = self.work.plan.dirs[index]
            .parent
            .is_some_and(|parent| self.states[parent].unmade);
        match result {
            Ok(()) => {
                self.work.plan.totals.dirs_created += 1;
                (self.work.tell)(Event::Entry {
                    path: &path,
                    kind: Kind::Dir,
                    deed: tell::made(side),
                });
            }
            Err(error) => {
                self.states[index].unmade = true;
                self.states[index].failed = true;
                if !parent_unmade {
                    let error =
                        error.while_doing(format!("making the directory on the {side} side"));
                    self.take_failure(index, &path, Failure::Entry(error));
                }
            }
        }
    }

    fn move_dir(&mut self, index: usize, old: &OldName) {
        let parent = self.work.plan.dirs[index].parent;
        if self.is_stopped() || parent.is_some_and(|parent| self.states[parent].unmade) {
            self.leave_unmoved(index, old);
            return;
        }
        let plan = &self.work.plan;
        let from = plan.old_paths(old);
        let to = plan.dirs[index].paths.clone();
        let moving = Moving {
            from: from.clone(),
            to: to.clone(),
            listed: Sides::new(Stat::dir(), Stat::dir()),
            times: Times::Unknown,
            name: Box::default(),
        };
        let journal = self.work.journal;
        let moved = self.each(1, move |hands| {
            move_batch(hands, Side::Local, journal, std::slice::from_ref(&moving))
        });
        match moved.into_iter().next() {
            Some(Ok(_)) => {
                self.note(&to.local, &Change::MovedFrom(from.local));
                let name = old.names.local.clone();
                let old_parent = self.work.plan.dirs[old.parent].paths.local.clone();
                self.note(&old_parent, &Change::Forget { name });
                self.work.plan.totals.renamed += 1;
                (self.work.tell)(Event::Entry {
                    path: &to.local,
                    kind: Kind::Dir,
                    deed: Deed::Renamed { from: Side::Local },
                });
            }
            Some(Err(error)) => {
                self.leave_unmoved(index, old);
                if self.stopped_by.is_none() {
                    self.forget_inode(&from.local);
                    let error = error.while_doing(
                        "renaming the directory on the remote side (the next run copies it)",
                    );
                    self.take_failure(index, &to.local, Failure::Entry(error));
                }
            }
            None => unreachable!("one answer for one directory"),
        }
    }

    /// Without it, the next run takes the new directory for new, and copies it.
    fn forget_inode(&mut self, recorded: &RelPath) {
        let facts = DirFacts {
            settled: true,
            ..DirFacts::default()
        };
        self.note(recorded, &Change::Facts(facts));
    }

    /// Nothing is done in a directory that has not got its new name, nor with what has the old one.
    fn leave_unmoved(&mut self, index: usize, old: &OldName) {
        self.keep(old.parent);
        self.leave_unmade(index);
    }

    /// Nothing is done in a directory that is not where it should be, nor below it.
    pub(super) fn leave_unmade(&mut self, index: usize) {
        self.states[index].unmade = true;
        // Parents stand before their children.
        for below in index..self.work.plan.dirs.len() {
            let parent = self.work.plan.dirs[below].parent;
            if parent.is_some_and(|parent| self.states[parent].unmade) {
                self.states[below].unmade = true;
            }
            self.states[below].failed |= self.states[below].unmade;
        }
    }

    /// Removes directories, deepest first, each level in batches.
    pub(super) fn delete_dirs(&mut self) {
        for on in Side::BOTH {
            let mut by_depth: Vec<(usize, Deletion)> = Vec::new();
            for (index, dir) in self.work.plan.dirs.iter().enumerate() {
                let Some((side, why)) = dir.remove_on.filter(|(side, _)| *side == on) else {
                    continue;
                };
                let deletion = Deletion {
                    dir: index,
                    paths: dir.paths.clone(),
                    kind: Kind::Dir,
                    listed: None,
                    needs_denial: why == DeletedFor::Missing,
                    deed: Deed::Deleted { on: side, why },
                    name: dir
                        .recorded
                        .name()
                        .map_or_else(Box::default, |name| name.as_bytes().into()),
                };
                by_depth.push((dir.paths.local.depth(), deletion));
            }
            by_depth.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
            for level in by_depth.chunk_by(|one, other| one.0 == other.0) {
                let deletions: Vec<Deletion> = level
                    .iter()
                    .filter(|(_, deletion)| !self.states[deletion.dir].stays)
                    .map(|(_, deletion)| deletion.clone())
                    .collect();
                self.delete_all(on, &deletions);
            }
        }
    }

    pub(super) fn delete_all(&mut self, on: Side, deletions: &[Deletion]) {
        for batch in deletions.chunks(batch_on(on)) {
            if self.is_stopped() {
                return;
            }
            let several = batch.to_vec();
            let trash = self.work.job.policy.trash.as_ref();
            let (second, journal) = (*self.trash_of.of(on), self.work.journal);
            let results = self.each(batch.len(), move |hands| {
                delete_batch(hands, on, &several, journal, |path| {
                    trash.map(|trash| trash::place(trash, second, path))
                })
            });
            for (deletion, result) in batch.iter().zip(results) {
                self.deleted(on, deletion, result);
            }
            self.refresh_lock();
        }
    }

    fn deleted(&mut self, on: Side, deletion: &Deletion, result: Result<()>) {
        let path = deletion.paths.local.clone();
        if let Err(error) = result {
            let error = error.while_doing(format!("deleting on the {on} side"));
            self.take_failure(deletion.dir, &path, Failure::Entry(error));
            return;
        }
        let holder = match deletion.kind {
            Kind::Dir => {
                self.work.plan.totals.dirs_deleted += 1;
                self.states[deletion.dir].removed = true;
                let recorded = self.work.plan.dirs[deletion.dir].recorded.clone();
                self.note(&recorded, &Change::Drop);
                self.work.plan.dirs[deletion.dir].parent
            }
            Kind::File | Kind::Special => {
                self.work.plan.totals.files_deleted += 1;
                if on == Side::Remote {
                    self.forget_time(deletion.dir, &deletion.name);
                }
                Some(deletion.dir)
            }
        };
        if let Some(holder) = holder {
            let dir = self.work.plan.dirs[holder].paths.local.clone();
            let name = deletion.name.clone();
            self.note(&dir, &Change::Forget { name });
        }
        (self.work.tell)(Event::Entry {
            path: &path,
            kind: deletion.kind,
            deed: deletion.deed,
        });
    }
}
