//! One target, looked at by itself: what `tree`, `scan` and `probe` tell of it.
//!
//! ```text
//!  Visit ─run─▶ Visitor ── tree    the tree, as lines
//!   (one        a session   scan    what is there, what runs have left, what is damaged; tidies up what it is told to
//!   target)     and its     probe   what the server can do, and what was learnt of it
//!               retries
//! ```
//!
//! Nothing is written but what an option asks for by name. A directory that cannot be listed is told, and the rest is looked at.

mod probe;
mod scan;
mod tree;

pub use probe::probe;
pub use scan::{KnownJob, Scanning};
pub use tree::tree;

use std::time::{Duration, Instant};

use crate::error::{Doing, Error, ErrorKind, Result, Scope};
use crate::job::{Purpose, Visit};
use crate::path::{METADATA_NAME, RelPath};
use crate::replica::{Connect, Kind, Listing, Replica};
use crate::sync::event::Event;
use crate::sync::look::directory::read_remote_times;
use crate::sync::look::filter::{Filter, Verdict};
use crate::sync::workers::Stop;
use crate::words::grouped;

/// No tree that people make is deeper; a loop of links is.
const MAX_DEPTH: usize = 200;

/// How long is waited before a session is opened anew, for each time that it was.
const PAUSE: Duration = Duration::from_secs(1);

/// Who looks around: the target, and the session with it. One that is lost is opened anew.
pub struct Visitor<'a> {
    visit: &'a Visit,
    connect: &'a dyn Connect,
    stop: Stop<'a>,
    session: Option<Box<dyn Replica>>,
    filter: Filter,
    /// Why the metadata of the directory that was listed last cannot be read.
    unread: Option<Error>,
}

impl<'a> Visitor<'a> {
    /// A visitor without a session yet.
    pub fn new(visit: &'a Visit, connect: &'a dyn Connect, stop: Stop<'a>) -> Self {
        Self {
            visit,
            connect,
            stop,
            session: None,
            filter: Filter::new(&visit.selection),
            unread: None,
        }
    }

    /// Asks the target something that may be asked twice.
    pub(crate) fn ask<T>(
        &mut self,
        mut question: impl FnMut(&mut dyn Replica) -> Result<T>,
    ) -> Result<T> {
        let mut retries = 0;
        loop {
            self.stop.check()?;
            let session = match self.session.take() {
                Some(session) => Ok(session),
                None => self.connect.connect(),
            };
            let answer = session.and_then(|mut session| {
                let answer = question(session.as_mut());
                if !matches!(&answer, Err(error) if error.scope() == Scope::Session) {
                    self.session = Some(session);
                }
                answer
            });
            match answer {
                Err(error)
                    if error.scope() == Scope::Session && retries < self.visit.limits.retries =>
                {
                    log::info!("{error}; trying again");
                    retries += 1;
                    self.stop.pause(PAUSE * retries)?;
                }
                answer => return answer,
            }
        }
    }

    /// Everything that is in a directory, with the true times of files whose server cannot keep them.
    fn list(&mut self, dir: &RelPath) -> Result<Listing> {
        if dir.depth() > MAX_DEPTH {
            let text = format!("deeper than {MAX_DEPTH} directories; a loop of links?");
            return Err(ErrorKind::Verify(text).into());
        }
        // A disk keeps times; what lies there is read only to see whether it can be.
        let is_disk = self.connect.is_disk();
        let is_read = !is_disk || matches!(self.visit.purpose, Purpose::Scan(_));
        let mut unread = None;
        let listing = self.ask(|replica| {
            let mut listing = Listing::new();
            replica.list(dir, &mut listing)?;
            if listing.find(METADATA_NAME).is_none() || !is_read {
                return Ok(listing);
            }
            match read_remote_times(replica, dir)? {
                Some(Ok(times)) if !is_disk => {
                    let all = 0..listing.len();
                    times.restore(&mut listing, all);
                }
                Some(Err(error)) => unread = Some(error),
                Some(Ok(_)) | None => {}
            }
            Ok(listing)
        });
        self.unread = unread;
        listing.doing(|| format!("looking at {dir}"))
    }

    /// The same; what keeps it from being seen whole is told. None where nothing is seen at all.
    fn list_or_tell(
        &mut self,
        dir: &RelPath,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Listing>> {
        let listing = match self.list(dir) {
            Ok(listing) => listing,
            // Without its root there is nothing to look at.
            Err(error) if error.scope() != Scope::Entry || *dir == self.visit.selection.only => {
                return Err(error);
            }
            Err(error) => {
                tell(Event::Failed {
                    path: dir,
                    error: &error,
                });
                return Ok(None);
            }
        };
        if let Some(gap) = listing.gap() {
            let error = Error::from(ErrorKind::Verify(format!(
                "not all of it can be seen: {gap}"
            )));
            tell(Event::Failed {
                path: dir,
                error: &error,
            });
        }
        Ok(Some(listing))
    }

    /// Whether an entry is one of those that are asked for.
    fn is_wanted(&self, path: &RelPath, kind: Kind) -> bool {
        let is_ours = path.name().is_some_and(crate::path::Name::is_reserved);
        !is_ours && self.filter.judge(path, kind) == Verdict::Accepted
    }
}

/// What a walk ends with, in pyftpsync's words.
fn closing(files: u64, dirs: u64, began: Instant) -> String {
    let secs = began.elapsed().as_secs_f64();
    format!(
        "Scanning {} files in {} directories took {secs:.2} seconds.",
        grouped(files),
        grouped(dirs)
    )
}
