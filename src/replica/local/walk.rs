//! Walking: from the root to a directory, by handles, and never through a link that leads out.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use super::change::errno_of;
use super::{LocalReplica, WAY_BLOCKED};
use crate::error::{Error, ErrorKind, Result};
use crate::job::Links;
use crate::path::RelPath;
use crate::system::{self, FileKind, Identity, Status};

/// How many links one name may lead through, as in Linux itself; more is a loop.
const MAX_LINKS: usize = 40;

impl LocalReplica {
    /// Opens a directory of this target.
    pub(super) fn enter(&self, dir: &RelPath) -> Result<Rc<Place>> {
        match self.links {
            Links::Skip => self.walk(dir).map(|fd| Place {
                fd: Rc::new(fd),
                trail: None,
            }),
            Links::Follow => self.trail_to(dir).map(|trail| Place {
                fd: Rc::clone(trail.top()),
                trail: Some(trail),
            }),
        }
        .map(Rc::new)
    }

    fn walk(&self, dir: &RelPath) -> Result<OwnedFd> {
        if dir.is_root() {
            return self.root()?.handle.try_clone().map_err(failure);
        }
        match system::open_dir_beneath(self.handle()?, dir.as_bytes()) {
            Some(opened) => opened.map_err(blocked),
            None => self.walk_by_name(dir),
        }
    }

    /// For kernels that cannot walk a whole path without following links.
    fn walk_by_name(&self, dir: &RelPath) -> Result<OwnedFd> {
        let start = self.root()?.handle.try_clone().map_err(failure)?;
        dir.names().try_fold(start, |here, name| {
            system::open_dir_at(here.as_fd(), name.as_bytes()).map_err(blocked)
        })
    }

    fn trail_to(&self, dir: &RelPath) -> Result<Trail> {
        let mut trail = Trail {
            steps: vec![Rc::new(self.root()?.handle.try_clone().map_err(failure)?)],
            passed: vec![system::status(self.handle()?).map_err(failure)?.identity],
            is_linked: false,
        };
        for name in dir.names() {
            match trail.follow(self, name.as_bytes())? {
                Led::ToDir(identity) => trail.passed.push(identity),
                Led::ToEntry { .. } | Led::Nowhere => {
                    return Err(ErrorKind::Changed(WAY_BLOCKED).into());
                }
            }
        }
        Ok(trail)
    }
}

/// A directory of this target, open, and how it was reached where links are followed.
#[derive(Debug)]
pub(super) struct Place {
    fd: Rc<OwnedFd>,
    pub(super) trail: Option<Trail>,
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The directory of the path before, since the paths of a batch mostly share theirs. It lives no longer than a
/// batch: what is open stays open when somebody puts another directory in its place.
#[derive(Default)]
pub(super) struct Parents {
    last: Option<(RelPath, Rc<Place>)>,
    /// Whether something was changed in the last one since it was entered.
    pub(super) changed: bool,
    /// The first failure to make changes last.
    unsynced: Option<io::Error>,
}

impl Parents {
    /// The directory that `path` is in.
    pub(super) fn of(&mut self, target: &LocalReplica, path: &RelPath) -> Result<Rc<Place>> {
        let parent = path.parent();
        if let Some((last, place)) = &self.last
            && *last == parent
        {
            return Ok(Rc::clone(place));
        }
        self.leave();
        let place = target.enter(&parent)?;
        self.last = Some((parent, Rc::clone(&place)));
        Ok(place)
    }

    /// Makes the changes in the last directory last through a power cut: once, and not for each entry.
    fn leave(&mut self) {
        if let Some((_, place)) = self.last.take()
            && std::mem::take(&mut self.changed)
            && let Err(error) = system::sync_dir(place.as_fd())
        {
            self.unsynced.get_or_insert(error);
        }
    }

    /// Ends a batch of changes. Where they cannot be made to last, none of them is known to have happened.
    pub(super) fn settle(mut self, results: &mut [Result<()>]) {
        self.leave();
        if let Some(error) = self.unsynced {
            let errno = errno_of(error);
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(failure(errno.into()));
            }
        }
    }
}

/// The directories from the root down to one, each open, with the links on the way replaced by where they lead.
#[derive(Debug, Clone)]
pub(super) struct Trail {
    /// The root and all below it; `..` takes one away, so it can never lead above the root.
    steps: Vec<Rc<OwnedFd>>,
    /// What the names of the path led to, the root first: a link back to one of these would be a loop.
    pub(super) passed: Vec<Identity>,
    /// Whether a link was followed.
    pub(super) is_linked: bool,
}

/// Where a name led.
pub(super) enum Led {
    /// To a directory, which the trail now ends at.
    ToDir(Identity),
    /// To something that is neither a directory nor a link, in the directory that the trail now ends at.
    ToEntry {
        /// Its name there.
        name: Vec<u8>,
        /// What it is.
        status: Status,
    },
    /// Out of the root, in circles, or to nothing.
    Nowhere,
}

impl Trail {
    pub(super) fn top(&self) -> &Rc<OwnedFd> {
        self.steps.last().expect("the root is never taken away")
    }

    /// Follows one name, and all links it leads through. `NotFound` when there is nothing of that name.
    pub(super) fn follow(&mut self, target: &LocalReplica, name: &[u8]) -> Result<Led> {
        let mut links = 0;
        // What is still to be walked, the next name last.
        let mut ahead: Vec<Vec<u8>> = vec![name.to_vec()];
        while let Some(name) = ahead.pop() {
            if name == b".." {
                if self.steps.len() == 1 {
                    return Ok(Led::Nowhere);
                }
                self.steps.pop();
                continue;
            }
            let status = match system::status_at(self.top().as_fd(), &name) {
                Ok(status) => status,
                Err(error) if links > 0 && error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Led::Nowhere);
                }
                Err(error) => return Err(failure(error)),
            };
            match status.kind {
                FileKind::Dir => {
                    let dir = system::open_dir_at(self.top().as_fd(), &name).map_err(blocked)?;
                    self.steps.push(Rc::new(dir));
                }
                FileKind::Link => {
                    links += 1;
                    self.is_linked = true;
                    let text = system::read_link(self.top().as_fd(), &name).map_err(failure)?;
                    if links > MAX_LINKS || !self.turn(target, &text, &mut ahead) {
                        return Ok(Led::Nowhere);
                    }
                }
                FileKind::File | FileKind::Special if ahead.is_empty() => {
                    return Ok(Led::ToEntry { name, status });
                }
                FileKind::File | FileKind::Special => return Ok(Led::Nowhere),
            }
        }
        let status = system::status(self.top().as_fd()).map_err(failure)?;
        Ok(Led::ToDir(status.identity))
    }

    /// Puts what a link says in front of what is ahead; says no where it certainly leads out of the root.
    fn turn(&mut self, target: &LocalReplica, text: &[u8], ahead: &mut Vec<Vec<u8>>) -> bool {
        let relative = if text.starts_with(b"/") {
            let real_root = (target.root.get()).map_or(&[][..], |root| &root.real_path);
            let below = text.strip_prefix(real_root);
            let Some(below) = below.filter(|below| {
                !real_root.is_empty() && matches!(below.first(), None | Some(b'/'))
            }) else {
                return false;
            };
            self.steps.truncate(1);
            below
        } else {
            text
        };
        let names = relative
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".");
        ahead.extend(names.rev().map(<[u8]>::to_vec));
        true
    }
}

/// The last name of a path that must have one: the root itself is never written, renamed or removed.
pub(super) fn last_name(path: &RelPath) -> Result<&[u8]> {
    match path.name() {
        Some(name) => Ok(name.as_bytes()),
        None => Err(ErrorKind::Unsupported("that cannot be done to the root itself").into()),
    }
}

pub(super) fn failure(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound.into(),
        _ => ErrorKind::Disk(error).into(),
    }
}

/// The failure to enter a directory: that it is none, or a link, is something that has changed since it was listed.
fn blocked(error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOTDIR | libc::ELOOP) => ErrorKind::Changed(WAY_BLOCKED).into(),
        _ => failure(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Links;

    /// The kernel of this machine walks whole paths, so the other way must be called by its name.
    #[test]
    fn both_ways_to_walk_refuse_links() {
        let root = std::env::temp_dir().join(format!("coracle-walk-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        std::os::unix::fs::symlink("a", root.join("inward")).unwrap();
        std::os::unix::fs::symlink("/", root.join("a/outward")).unwrap();

        let target = LocalReplica::open(&root, Links::Skip).unwrap();
        let mut answers = Vec::new();
        for dir in [
            "a/b",
            "a",
            "inward",
            "inward/b",
            "a/outward",
            "a/outward/tmp",
            "a/file",
            "a/none/b",
        ] {
            let dir = RelPath::parse(dir.as_bytes()).unwrap();
            let at_once = target
                .walk(&dir)
                .map(drop)
                .map_err(|error| error.to_string());
            let by_name = target
                .walk_by_name(&dir)
                .map(drop)
                .map_err(|error| error.to_string());
            assert_eq!(at_once, by_name, "{dir}");
            answers.push(by_name.is_ok());
        }
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(
            answers,
            [true, true, false, false, false, false, false, false]
        );
    }
}
