//! Does what a scan is told to do: locks first, so that whoever held one is known, then records, then what is broken.

use std::os::unix::ffi::OsStrExt;

use super::super::Visitor;
use super::look::Findings;
use super::{KnownJob, Scanning};
use crate::error::{Error, Result};
use crate::path::{Escaped, RelPath};
use crate::replica::Removal;
use crate::sync::carry::lock::{Claim, Cleared};
use crate::sync::event::Event;
use crate::sync::record::{Home, Keeps, Kept};

/// What a dry run says before what it would do.
const DRY: &str = "(DRY-RUN) ";

impl Scanning<'_> {
    /// Does it. What cannot be done is told, and the rest is done.
    pub(super) fn tidy_up(
        &self,
        visitor: &mut Visitor<'_>,
        found: &Findings,
        kept: &[(&Home, Kept)],
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        if self.what.remove_locks {
            self.remove_locks(visitor, found, tell)?;
        }
        let writes_there = self.what.remove_meta && !found.metadata.is_empty()
            || self.what.repair && found.parts.iter().any(|part| part.job.is_some());
        if self.is_local() || !writes_there || self.visit.dry_run {
            return self.remove_and_repair(visitor, found, kept, tell);
        }
        // Whoever writes on a server does so alone.
        let claim = self.claim();
        let taken = visitor.ask(|replica| claim.take(replica))?;
        taken
            .told
            .iter()
            .for_each(|text| tell(Event::Warning(text)));
        let done = self.remove_and_repair(visitor, found, kept, tell);
        let released = match &taken.sign {
            Some(sign) => visitor.ask(|replica| claim.release(replica, sign)),
            None => Ok(()),
        };
        done.and(released)
    }

    const fn claim(&self) -> Claim<'_> {
        Claim {
            holder: self.holder.as_str(),
            breaks: false,
            may_have_file: true,
            now: self.now,
        }
    }

    fn remove_and_repair(
        &self,
        visitor: &mut Visitor<'_>,
        found: &Findings,
        kept: &[(&Home, Kept)],
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        if self.what.remove_meta {
            self.remove_files(visitor, &found.metadata, tell)?;
            if self.is_local() {
                self.remove_archives(kept, tell);
            }
        }
        if self.what.repair {
            self.repair_parts(visitor, found, tell)?;
            if self.is_local() && !self.what.remove_meta {
                self.repair_archives(kept, tell);
            }
        }
        Ok(())
    }

    /// Removes all locks, but those of runs that are known to go on.
    fn remove_locks(
        &self,
        visitor: &mut Visitor<'_>,
        found: &Findings,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        self.remove_files(visitor, &found.lock_files, tell)?;
        if self.visit.dry_run {
            return Ok(());
        }
        let running = self.jobs.iter().filter(|job| job.is_running());
        let spared: Vec<String> = running.filter_map(|job| job.holder.clone()).collect();
        let claim = self.claim();
        for cleared in visitor.ask(|replica| claim.clear(replica, &spared))? {
            let Cleared {
                holder,
                age_secs,
                is_fresh,
            } = cleared;
            let (who, age) = (self.who(holder.as_deref()), Self::age(age_secs));
            tell(Event::Line(&format!("DELETE lock: of {who}, {age}")));
            if is_fresh {
                tell(Event::Warning(
                    "the run that held it may still go on; if so, it ends when it refreshes its lock, and writes until then",
                ));
            }
        }
        Ok(())
    }

    /// Removes files of the target.
    fn remove_files(
        &self,
        visitor: &mut Visitor<'_>,
        paths: &[RelPath],
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        let removals: Vec<Removal> = paths.iter().cloned().map(Removal::File).collect();
        let results = if self.visit.dry_run {
            removals.iter().map(|_| Ok(())).collect()
        } else {
            visitor.ask(|replica| Ok(replica.remove(&removals)))?
        };
        for (path, result) in paths.iter().zip(results) {
            self.tell_removed(path, &path.to_string(), result, tell);
        }
        Ok(())
    }

    fn tell_removed(
        &self,
        path: &RelPath,
        shown: &str,
        result: Result<()>,
        tell: &mut dyn FnMut(Event<'_>),
    ) {
        match result {
            Ok(()) => {
                let prefix = if self.visit.dry_run { DRY } else { "" };
                tell(Event::Line(&format!("{prefix}DELETE {shown}")));
            }
            Err(error) => tell(Event::Failed {
                path,
                error: &error,
            }),
        }
    }

    fn remove_archives(&self, kept: &[(&Home, Kept)], tell: &mut dyn FnMut(Event<'_>)) {
        for (home, kept) in kept {
            let removed = if self.visit.dry_run {
                Ok(())
            } else {
                home.remove(kept)
            };
            let path = RelPath::parse(&kept.name).unwrap_or_default();
            let shown = home.path_of(kept);
            let shown = Escaped(shown.as_os_str().as_bytes()).to_string();
            self.tell_removed(&path, &shown, removed, tell);
        }
    }

    /// Removes what transfers of this machine left that no run goes on with now: whoever does one of these jobs again begins
    /// that file anew. Old files are never touched: each may be the last copy.
    fn repair_parts(
        &self,
        visitor: &mut Visitor<'_>,
        found: &Findings,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        for (number, job) in self.jobs.iter().enumerate() {
            let own = found
                .parts
                .iter()
                .filter(|part| part.job == Some(number) && !part.is_old_file);
            let own: Vec<RelPath> = own.map(|part| part.path.clone()).collect();
            if own.is_empty() {
                continue;
            }
            // This scan itself keeps runs out of its target.
            let is_target =
                self.is_local() && self.homes.iter().any(|(_, root)| *root == job.id.local);
            let _lock = match job.keep_out() {
                Err(error) if !is_target => {
                    Self::tell_spared(job, &error, tell);
                    continue;
                }
                kept_out => kept_out.ok(),
            };
            self.remove_files(visitor, &own, tell)?;
        }
        Ok(())
    }

    fn tell_spared(job: &KnownJob, error: &Error, tell: &mut dyn FnMut(Event<'_>)) {
        tell(Event::Warning(&format!(
            "{error}; what {} left over stays",
            job.shown()
        )));
    }

    fn repair_archives(&self, kept: &[(&Home, Kept)], tell: &mut dyn FnMut(Event<'_>)) {
        let prefix = if self.visit.dry_run { DRY } else { "" };
        for (home, kept) in kept {
            let path = RelPath::parse(&kept.name).unwrap_or_default();
            match &kept.what {
                Keeps::Damaged(_) => {
                    let set_aside = if self.visit.dry_run {
                        Ok(())
                    } else {
                        home.set_aside(kept)
                    };
                    match set_aside {
                        Ok(()) => tell(Event::Line(&format!(
                            "{prefix}SET ASIDE {path}: the next run meets anew, and deletes nothing"
                        ))),
                        Err(error) => tell(Event::Failed {
                            path: &path,
                            error: &error,
                        }),
                    }
                }
                Keeps::Unfinished => {
                    let removed = if self.visit.dry_run {
                        Ok(())
                    } else {
                        home.remove(kept)
                    };
                    self.tell_removed(&path, &path.to_string(), removed, tell);
                }
                Keeps::Archive { .. }
                | Keeps::Journal { .. }
                | Keeps::Unusable(_)
                | Keeps::SetAside => {}
            }
        }
    }
}
