//! What is in a target, what runs have left in it, what is damaged; and what is done about it where that is asked for.

mod look;
mod tidy;

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{Visitor, closing};
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::job::{Links, Location, Scan, Visit};
use crate::path::{Escaped, PartOwner, RelPath};
use crate::replica::{LocalReplica, RootLock};
use crate::sync::carry::lock::{self, Lying};
use crate::sync::event::Event;
use crate::sync::record::{Home, HomeLock, JobId, Keeps, Kept, PeerKey};
use crate::time::Timestamp;
use crate::words::{ago, count, local_time, span};
use look::Findings;

/// What a scan needs to know.
pub struct Scanning<'a> {
    /// The request.
    pub visit: &'a Visit,
    /// How, and what is done.
    pub what: Scan,
    /// The target, where it is the other side of a job.
    pub peer: &'a PeerKey,
    /// Where archives of the target may be, each with its local root: a target on this machine is such a root itself.
    pub homes: Vec<(Home, PathBuf)>,
    /// What this machine does.
    pub jobs: Vec<KnownJob>,
    /// What this scan calls itself in the lock.
    pub holder: String,
    /// The wall clock.
    pub now: Timestamp,
}

/// A job that this user ran on this machine.
pub struct KnownJob {
    /// Its sides.
    pub id: JobId,
    /// Whose partial files it leaves.
    pub owner: PartOwner,
    /// What it calls itself in locks.
    pub holder: Option<String>,
}

impl KnownJob {
    /// Keeps runs of it out for as long as the answer lives; `Locked` where one goes on. None where its root is gone.
    fn keep_out(&self) -> Result<Option<RootLock>> {
        match LocalReplica::open(&self.id.local, Links::Skip) {
            Ok(root) => root.lock().map(Some),
            Err(_) => Ok(None),
        }
    }

    fn is_running(&self) -> bool {
        let kept_out = self.keep_out();
        kept_out.is_err_and(|error| matches!(error.kind(), ErrorKind::Locked(_)))
    }

    /// Whether a run of it goes on. Some file systems have no locks by which that could be told.
    fn state(&self) -> &'static str {
        match self.keep_out() {
            Err(error) if matches!(error.kind(), ErrorKind::Locked(_)) => {
                "a run on this machine that goes on"
            }
            Ok(Some(lock)) if lock.is_held() => "a run on this machine that ended",
            Ok(_) | Err(_) => "a run on this machine, which may go on",
        }
    }

    fn shown(&self) -> String {
        use std::os::unix::ffi::OsStrExt;
        let local = Escaped(self.id.local.as_os_str().as_bytes());
        format!("{local} with {}", self.id.peer.place())
    }
}

impl Scanning<'_> {
    /// Scans the target.
    pub fn run(&self, visitor: &mut Visitor<'_>, tell: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        let began = Instant::now();
        let may_write = self.what.writes() && !self.visit.dry_run;
        let _locks = match &self.visit.target {
            Location::Path(path) if may_write => Some(self.keep_out(path)?),
            Location::Path(_) | Location::Ftp(_) | Location::Sftp(_) => None,
        };
        let found = self.look_around(visitor, tell)?;
        self.tell_found(&found, tell);
        self.tell_use(tell)?;
        let kept = self.inventory(tell);
        for (home, kept) in &kept {
            self.tell_kept(home, kept, tell);
        }
        self.tell_locks(visitor, tell)?;
        self.tidy_up(visitor, &found, &kept, tell)?;
        tell(Event::Line(&closing(found.files, found.dirs, began)));
        Ok(())
    }

    /// Keeps runs out of a local target.
    fn keep_out(&self, path: &Path) -> Result<(RootLock, Option<HomeLock>)> {
        let root = LocalReplica::open(path, Links::Skip)?.lock()?;
        let homes = self.homes.first().filter(|_| !root.is_held());
        let file = homes.map_or(Ok(None), |(home, _)| home.lock())?;
        Ok((root, file))
    }

    fn is_local(&self) -> bool {
        matches!(self.visit.target, Location::Path(_))
    }

    /// Our files in all homes; of a server, those that are about it.
    fn inventory(&self, tell: &mut dyn FnMut(Event<'_>)) -> Vec<(&Home, Kept)> {
        let mut all = Vec::new();
        for (home, local) in &self.homes {
            let is_about_it = |kept: &Kept| match &kept.what {
                Keeps::Archive { peer, .. } | Keeps::Journal { peer: Some(peer) } => {
                    peer == self.peer.name()
                }
                // Whose it is can no longer be told.
                Keeps::Journal { peer: None }
                | Keeps::Damaged(_)
                | Keeps::Unusable(_)
                | Keeps::SetAside
                | Keeps::Unfinished => false,
            };
            let kept = match home.inventory(local) {
                Ok(kept) => kept,
                Err(error) => {
                    let path = RelPath::root();
                    tell(Event::Failed {
                        path: &path,
                        error: &error,
                    });
                    continue;
                }
            };
            let kept = kept
                .into_iter()
                .filter(|kept| self.is_local() || is_about_it(kept));
            all.extend(kept.map(|kept| (home, kept)));
        }
        all
    }

    fn tell_found(&self, found: &Findings, tell: &mut dyn FnMut(Event<'_>)) {
        let mut line = |text: String| tell(Event::Line(&text));
        let everything = if self.what.recursive {
            ""
        } else {
            " in the directory itself (-r looks into those below)"
        };
        line(format!(
            "{}, {}{everything}",
            count(found.files, "file"),
            count(found.bytes, "byte")
        ));
        for trash in &found.trashes {
            let runs = match (trash.runs.first(), trash.runs.last()) {
                (Some(first), Some(last)) => format!(
                    "{} from {first} to {last}",
                    count(trash.runs.len() as u64, "run")
                ),
                (_, _) => "no run".to_owned(),
            };
            let held = if self.what.recursive {
                format!(
                    ", {}, {}",
                    count(trash.files, "file"),
                    count(trash.bytes, "byte")
                )
            } else {
                String::new()
            };
            line(format!("trash: {}, {runs}{held}", trash.path));
        }
        for part in &found.parts {
            let whose = match part.job {
                Some(job) => format!("of this machine, {}", self.jobs[job].shown()),
                None => "of another machine, user or task".to_owned(),
            };
            let age = part.mtime.map_or(String::new(), |mtime| {
                format!(", from {}", ago(mtime, self.now))
            });
            let what = if part.is_old_file {
                "old file, moved aside (the next run gives it its name back)"
            } else {
                "part of a file"
            };
            line(format!(
                "left over: {}, {}{age}: {what}, {whose}",
                part.path,
                count(part.size, "byte")
            ));
        }
        if let Some(first) = found.metadata.first() {
            let many = count(found.metadata.len() as u64, "file");
            line(format!(
                "metadata: {many} of pyftpsync's kind, the first is {first}"
            ));
        }
        for path in &found.lock_files {
            line(format!(
                "lock: {path}, which locks the directory that it lies in"
            ));
        }
    }

    /// Says whether a run on this machine is using a local target now.
    fn tell_use(&self, tell: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        let Location::Path(path) = &self.visit.target else {
            return Ok(());
        };
        if self.what.writes() && !self.visit.dry_run {
            // It was taken for this scan.
            return Ok(());
        }
        match LocalReplica::open(path, Links::Skip)?.lock() {
            Err(error) if matches!(error.kind(), ErrorKind::Locked(_)) => {
                tell(Event::Line(&format!("lock: {error}")));
                Ok(())
            }
            locked => locked.map(drop),
        }
    }

    fn tell_kept(&self, home: &Home, kept: &Kept, tell: &mut dyn FnMut(Event<'_>)) {
        use std::os::unix::ffi::OsStrExt;
        let path = home.path_of(kept);
        let path = Escaped(path.as_os_str().as_bytes());
        let written = format!(
            "{} ({})",
            local_time(kept.written),
            ago(kept.written, self.now)
        );
        let text = match &kept.what {
            Keeps::Archive {
                peer,
                dirs,
                files,
                is_copy,
            } => {
                let copy = if *is_copy {
                    "; it came with a copy of its directory, and the next run sets it aside"
                } else {
                    ""
                };
                format!(
                    "archive: of {peer}, {} in {}, written {written}: {path}{copy}",
                    count(*files, "file"),
                    count(*dirs, "directory")
                )
            }
            Keeps::Journal { peer } => {
                let of = peer
                    .as_ref()
                    .map_or(String::new(), |peer| format!(" of {peer}"));
                format!(
                    "journal: a run{of} was cut off {written}, and the next one goes on from it: {path}"
                )
            }
            Keeps::SetAside => {
                format!("set aside: an archive that no run reads any more, since {written}: {path}")
            }
            Keeps::Unfinished => {
                format!("left over: an archive that was not finished, from {written}: {path}")
            }
            Keeps::Damaged(why) if self.what.repair => {
                format!("damaged: {path}: {why}")
            }
            Keeps::Damaged(why) => {
                let advice = "the next run sets it aside, meets anew and deletes nothing (--repair sets it aside now)";
                return self.fail(kept, home, &format!("{why}; {advice}"), tell);
            }
            Keeps::Unusable(why) => return self.fail(kept, home, why, tell),
        };
        tell(Event::Line(&text));
    }

    fn fail(&self, kept: &Kept, home: &Home, why: &str, tell: &mut dyn FnMut(Event<'_>)) {
        use std::os::unix::ffi::OsStrExt;
        let path = RelPath::parse(&kept.name).unwrap_or_default();
        let dir = home.path();
        let error = Error::from(ErrorKind::Metadata(format!(
            "in {}: {why}",
            Escaped(dir.as_os_str().as_bytes())
        )));
        tell(Event::Failed {
            path: &path,
            error: &error,
        });
    }

    fn tell_locks(&self, visitor: &mut Visitor<'_>, tell: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        if self.what.remove_locks && !self.visit.dry_run {
            return Ok(());
        }
        let lying = match visitor.ask(lock::lying) {
            Err(error) if error.scope() == Scope::Entry => {
                let path = RelPath::root();
                let error = error.while_doing("looking for locks");
                tell(Event::Failed {
                    path: &path,
                    error: &error,
                });
                return Ok(());
            }
            lying => lying?,
        };
        for Lying { holder, made } in lying {
            let since = match made {
                Some(made) => format!(
                    "since {} by the clock of the side it is on ({} by ours)",
                    local_time(made),
                    ago(made, self.now)
                ),
                None => "and nobody tells since when".to_owned(),
            };
            let prefix = if self.what.remove_locks {
                "(DRY-RUN) DELETE "
            } else {
                ""
            };
            let who = self.who(holder.as_deref());
            tell(Event::Line(&format!("{prefix}lock: of {who}, {since}")));
        }
        Ok(())
    }

    /// Who holds a lock, in words.
    fn who(&self, holder: Option<&[u8]>) -> String {
        let Some(holder) = holder else {
            return "another program, perhaps pyftpsync".to_owned();
        };
        let shown = Escaped(holder);
        match self.job_of(holder) {
            Some(job) => format!("{shown}: {}, {}", job.state(), job.shown()),
            None => format!("{shown}, another machine or user"),
        }
    }

    fn job_of(&self, holder: &[u8]) -> Option<&KnownJob> {
        self.jobs
            .iter()
            .find(|job| job.holder.as_deref().map(str::as_bytes) == Some(holder))
    }

    fn age(secs: Option<i64>) -> String {
        secs.map_or("of unknown age".to_owned(), |secs| {
            format!("{} old", span(secs.abs()))
        })
    }
}
