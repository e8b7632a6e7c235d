//! One target by itself: how it is reached, and what this machine knows of it.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Reach, Remote, Run, absolute, given_state_dir, real, state_dir_of};
use crate::error::Result;
use crate::job::{Location, Purpose, Visit};
use crate::path::Escaped;
use crate::survey::{KnownJob, Scanning, Visitor, probe, tree};
use crate::sync::event::Event;
use crate::sync::record::{Home, Mode, Register};
use crate::time::Timestamp;

impl Run<'_, Visit> {
    /// Looks at the target, and tells what is asked of it.
    pub fn visit(&self, tell: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        let visit = self.request;
        let remote = self.reach(
            &visit.target,
            &Reach {
                limits: &visit.limits,
                links: visit.links,
                state: &visit.state,
                mode: if visit.dry_run {
                    Mode::ReadOnly
                } else {
                    Mode::ReadWrite
                },
            },
        )?;
        let mut visitor = Visitor::new(visit, remote.connect.get(), self.stop);
        let visited = match visit.purpose {
            Purpose::Tree(what) => {
                let mut root = shown_root(&visit.target)?;
                if !visit.selection.only.is_root() {
                    root = format!("{}/{}", root.trim_end_matches('/'), visit.selection.only);
                }
                tree(&mut visitor, what, &root, tell)
            }
            Purpose::Scan(what) => {
                let Known { homes, jobs } = known(visit, &remote)?;
                let scanning = Scanning {
                    visit,
                    what,
                    peer: &remote.peer,
                    homes,
                    jobs,
                    holder: Register::passing_holder(),
                    now: Timestamp::now(),
                };
                scanning.run(&mut visitor, tell)
            }
            Purpose::Probe => probe(&mut visitor, tell),
        };
        remote.connect.tell_overheard(tell);
        visited
    }
}

/// What this machine knows of a target.
struct Known {
    /// Where archives of it may be; of a server, those of the local roots that were synced with it.
    homes: Vec<(Home, PathBuf)>,
    /// What this user does.
    jobs: Vec<KnownJob>,
}

fn known(visit: &Visit, remote: &Remote<'_>) -> Result<Known> {
    let given = given_state_dir(&visit.state)?;
    let state = state_dir_of(given.as_deref());
    let register = Register::of(&state);
    let jobs: Vec<KnownJob> = register
        .jobs()
        .into_iter()
        .map(|id| KnownJob {
            owner: register.part_owner(&id),
            holder: register.known_holder(&id.local),
            id,
        })
        .collect();
    let mut roots = match &visit.target {
        Location::Path(path) => vec![real(path)?],
        Location::Ftp(_) | Location::Sftp(_) => {
            let about_it = |job: &&KnownJob| job.id.peer.place() == remote.peer.place();
            let about_it = jobs.iter().filter(about_it);
            about_it.map(|job| job.id.local.clone()).collect()
        }
    };
    roots.sort();
    roots.dedup();
    let homes = roots.into_iter().flat_map(|root| {
        let homes = [Home::in_root(&root), Home::in_state(&state, &root)];
        homes.map(|home| (home, root.clone()))
    });
    let homes = homes.collect();
    Ok(Known { homes, jobs })
}

/// The root of a tree, as pyftpsync names it: its path, wherever it is.
fn shown_root(target: &Location) -> Result<String> {
    Ok(match target {
        Location::Path(path) => {
            let path = absolute(path)?;
            // Python leaves no `.` in it.
            let path: PathBuf = path.components().collect();
            Escaped(path.as_os_str().as_bytes()).to_string()
        }
        Location::Ftp(ftp) => ftp.path.to_string(),
        Location::Sftp(sftp) => sftp.path.to_string(),
    })
}
