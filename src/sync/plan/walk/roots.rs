//! The walk's guards: roots, mount points and first-level directories that are not what they were.

use std::rc::Rc;

use super::{Visit, Walker};
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Delete, Location};
use crate::path::RelPath;
use crate::replica::{Kind, Listing};
use crate::side::{Side, Sides};
use crate::sync::look::Found;
use crate::sync::look::filter::Verdict;
use crate::sync::plan::draft::Dir;
use crate::sync::plan::{Todo, guard};
use crate::sync::refuse_if;

impl Walker<'_, '_, '_> {
    /// A branch that the filter leaves out cannot be walked.
    pub(super) fn refuse_left_out_branch(&self) -> Result<()> {
        let mut way = self.walk.job.selection.only.clone();
        while !way.is_root() {
            if self.walk.filter.judge(&way, Kind::Dir) != Verdict::Accepted {
                let text = format!("--only: {way} is left out by the filter (-x)");
                return Err(ErrorKind::Usage(text).into());
            }
            way = way.parent();
        }
        Ok(())
    }

    /// A root that is not there is refused, or made if that was asked for.
    pub(super) fn face_missing_root(&mut self, visit: &mut Visit, found: &mut Found) -> Result<()> {
        let job = self.walk.job;
        let is_missing = |error: &Option<Error>| error.as_ref().is_some_and(Error::is_not_found);
        if visit.dir.depth > 0
            && is_missing(&found.failed.local)
            && is_missing(&found.failed.remote)
        {
            let text = format!("the branch {} is on neither side", visit.dir.paths.local);
            return Err(ErrorKind::Usage(text).into());
        }
        for side in Side::BOTH {
            let failed = found.failed.of_mut(side);
            if !failed.as_ref().is_some_and(Error::is_not_found) {
                continue;
            }
            let root = guard::Root {
                is_there: false,
                is_empty: true,
                held_files: self.held_files(side),
            };
            refuse_if(guard::vanished_root(side, root, job.policy.allow))?;
            let may_make = job.create_folder && job.direction.writes(side) && visit.dir.depth == 0;
            if !may_make && visit.dir.depth == 0 {
                let hint = if job.direction.writes(side) {
                    "; --create-folder makes it"
                } else {
                    ""
                };
                let root = match side {
                    Side::Local => Location::Path(job.local.clone()),
                    Side::Remote => job.remote.clone(),
                };
                let text = format!("the {side} directory {root} does not exist{hint}");
                return Err(ErrorKind::Usage(text).into());
            }
            *failed = None;
            *found.complete.of_mut(side) = true;
            let mut there = visit.dir.there;
            *there.of_mut(side) = false;
            visit.dir = Rc::new(Dir::top(&visit.dir.paths.local, there));
            if may_make {
                let dir = Rc::clone(&visit.dir);
                self.draft.ensure_there(&dir, side);
            }
        }
        Ok(())
    }

    /// Whether that root is known to have held files that this archive, or the register, tells of.
    pub(super) fn held_files(&self, side: Side) -> bool {
        *self.walk.held_files.of(side) || self.walk.terms.archive.files_below(&RelPath::root()) > 0
    }

    pub(super) fn guard_roots(&mut self, dir: &Dir, found: &Found) -> Result<()> {
        let allow = self.walk.job.policy.allow;
        for side in Side::BOTH {
            let root = guard::Root {
                is_there: *dir.there.of(side),
                is_empty: found.listings.of(side).is_empty(),
                held_files: self.held_files(side),
            };
            refuse_if(guard::vanished_root(side, root, allow))?;
        }
        if let Some(follower) = self.walk.job.direction.follower() {
            refuse_if(guard::empty_source(
                follower.peer(),
                found.listings.as_ref().map(Listing::is_empty),
                self.walk.job.policy.delete != Delete::Never,
                allow,
            ))?;
        }
        Ok(())
    }

    /// Whether what was mounted at this directory is mounted there now. Where it is not, and files are missing, all below is
    /// left alone on both sides.
    pub(super) fn is_mount_there(&mut self, dir: &Dir, found: &Found) -> bool {
        for side in Side::BOTH {
            let listing = found.listings.of(side);
            let lacks_files = || {
                let mut recorded = found.block.iter();
                recorded.any(|record| found.listed(side, record.name.as_bytes()).is_none())
            };
            let recorded = *found.block.facts().mounts.of(side);
            let now = listing.own.mount;
            let judged = guard::vanished_mount(
                &format!("{} on the {side} side", dir.paths.of(side)),
                recorded,
                now,
                recorded.is_some() && recorded != now && lacks_files(),
                self.walk.job.policy.allow,
            );
            if let Err(refusal) = judged {
                self.draft.keep(dir);
                self.draft.plan.refusals.push(refusal);
                return false;
            }
        }
        true
    }

    /// A first-level directory that became empty on one side must not empty the other.
    pub(super) fn guard_emptied(&mut self, dir: &Rc<Dir>, found: &Found) -> Result<()> {
        if dir.depth != 1 || dir.there != Sides::new(true, true) {
            return Ok(());
        }
        let recorded = self.walk.terms.archive.files_below(&dir.recorded);
        for side in Side::BOTH {
            let is_empty =
                found.listings.of(side).is_empty() && !found.listings.of(side.peer()).is_empty();
            if is_empty && side == Side::Local && self.renames_on(Side::Remote) {
                // Its files may be elsewhere by now, which shows at the end.
                self.emptied.push((Rc::clone(dir), recorded));
                continue;
            }
            self.judge_emptied(dir, side, recorded, is_empty)?;
        }
        Ok(())
    }

    pub(super) fn judge_emptied(
        &self,
        dir: &Dir,
        side: Side,
        recorded: u64,
        is_empty: bool,
    ) -> Result<()> {
        let path = dir.paths.of(side).to_string();
        let allow = self.walk.job.policy.allow;
        refuse_if(guard::emptied_dir(&path, side, recorded, is_empty, allow))
    }

    /// Judges the emptied directories once it is known which of their files were only renamed.
    pub(super) fn judge_all_emptied(&self) -> Result<()> {
        let plan = &self.draft.plan;
        for (dir, recorded) in &self.emptied {
            let below = plan
                .dirs
                .iter()
                .filter(|other| other.paths.local.is_within(&dir.paths.local));
            let renamed = below
                .flat_map(|dir| &dir.steps)
                .filter(|step| step.todo == Todo::RenamedAway)
                .count() as u64;
            self.judge_emptied(dir, Side::Local, recorded.saturating_sub(renamed), true)?;
        }
        Ok(())
    }
}
