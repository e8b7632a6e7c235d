//! Small files, many at once: their bytes wait in memory until as many have come together as the line can carry.
//!
//! Two flights bring a file under its partial name, one gives it its name. Nothing is renamed before every write to it was
//! confirmed, so that a final name never holds half a file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::flights::{NONSENSE, ask_all, drive};
use super::place::{Names, Renamed, Stored, is_loss, rename_requests, written};
use super::storing::{Storing, Waiting};
use super::{SftpReplica, is_ok, refusal};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::path::RelPath;
use crate::replica::checks::{check_replaced, misread};
use crate::replica::{NewFile, Removal, Source, Staging, Stat, Watch, Written};
use crate::sftp::{Reply, Request, code};

/// A file up to this size is small: a round trip costs more than its bytes.
pub(super) const SMALL_BYTES: u64 = 64 * 1024;

/// So much waits in memory; what comes on top is written to its partial name at once, with all that waits.
const POOL_BYTES: usize = 1 << 20;
const POOL_FILES: usize = 256;

/// Under way at a time: two batches of 64, of which one is on the line while the other's answers come. Each has a file open
/// on the server.
const UNDER_WAY: usize = 128;

/// In a batch of up to so many files the server is asked to have them on its disk before they get their names; in a larger
/// one that would take longer than all the rest.
const SYNCED_FILES: usize = 8;

/// Files that were staged, by their partial names.
#[derive(Default)]
pub(super) struct Pool {
    files: HashMap<RelPath, Staged>,
    bytes: usize,
}

/// A file that waits for its name.
enum Staged {
    /// Its bytes are here.
    Here(Waiting),
    /// It is under its partial name.
    There(Stored),
    /// It could not be written there.
    Failed(Error),
}

impl Pool {
    fn put(&mut self, partial: &RelPath, staged: Staged) {
        self.take(partial);
        if let Staged::Here(waiting) = &staged {
            self.bytes += waiting.bytes.len();
        }
        self.files.insert(partial.clone(), staged);
    }

    fn take(&mut self, partial: &RelPath) -> Option<Staged> {
        let staged = self.files.remove(partial)?;
        if let Staged::Here(waiting) = &staged {
            self.bytes -= waiting.bytes.len();
        }
        Some(staged)
    }

    fn is_full(&self) -> bool {
        let waiting = |staged: &&Staged| matches!(staged, Staged::Here(_));
        self.bytes > POOL_BYTES || self.files.values().filter(waiting).count() > POOL_FILES
    }

    fn take_waiting(&mut self) -> Vec<(RelPath, Waiting)> {
        let (waiting, others): (Vec<_>, Vec<_>) = self
            .files
            .drain()
            .partition(|(_, staged)| matches!(staged, Staged::Here(_)));
        self.files.extend(others);
        self.bytes = 0;
        let here = |(path, staged)| match staged {
            Staged::Here(waiting) => Some((path, waiting)),
            Staged::There(_) | Staged::Failed(_) => None,
        };
        waiting.into_iter().filter_map(here).collect()
    }
}

impl SftpReplica {
    /// Takes a small file into memory, and writes any other.
    pub(super) fn stage_file(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Staging> {
        if file.size > SMALL_BYTES || file.resume_at > 0 || file.set_aside.is_some() {
            return self.write_file(file, source, watch).map(Staging::Placed);
        }
        let waiting = Waiting {
            bytes: read_whole(file.size, source, watch)?,
            mtime: file.mtime,
            replaces: file.replaces,
            names: self.names_of(file),
        };
        let overflow = {
            let mut pool = lock(&self.staged);
            pool.put(file.partial, Staged::Here(waiting));
            if pool.is_full() {
                pool.take_waiting()
            } else {
                Vec::new()
            }
        };
        if !overflow.is_empty() {
            self.store_all(overflow, UNDER_WAY)?;
        }
        Ok(Staging::Staged)
    }

    /// What is removed is not to come back.
    pub(super) fn forget_staged(&mut self, removals: &[Removal]) {
        let mut pool = lock(&self.staged);
        for removal in removals {
            if let Removal::File(path) = removal {
                pool.take(path);
            }
        }
    }

    /// Writes files to their partial names, and notes what came of it. When the session is lost they wait again.
    fn store_all(&mut self, files: Vec<(RelPath, Waiting)>, most: usize) -> Result<()> {
        let syncs = files.len() <= SYNCED_FILES && self.session.offers(b"fsync@openssh.com");
        let (paths, files): (Vec<RelPath>, Vec<Waiting>) = files.into_iter().unzip();
        let mut tasks: Vec<Storing> = files
            .into_iter()
            .map(|file| Storing::new(file, syncs))
            .collect();
        let driven = drive(&mut self.session, &mut tasks, most);
        let mut is_refused = false;
        for (path, task) in paths.into_iter().zip(tasks) {
            let staged = match task.outcome {
                Some(Ok(stored)) => {
                    self.learn_times(&stored);
                    Staged::There(stored)
                }
                Some(Err(error)) => {
                    is_refused = true;
                    Staged::Failed(error)
                }
                None => Staged::Here(task.file),
            };
            lock(&self.staged).put(&path, staged);
        }
        if is_refused && driven.is_ok() {
            self.explain_failures();
        }
        driven
    }

    /// A full disk is told as such.
    fn explain_failures(&mut self) {
        let full = ErrorKind::Refused {
            code: super::FAILURE,
            text: String::new(),
        };
        if !self.explain_full(full.into()).is_full() {
            return;
        }
        for staged in lock(&self.staged).files.values_mut() {
            if let Staged::Failed(error) = staged
                && matches!(
                    error.kind(),
                    ErrorKind::Refused {
                        code: super::FAILURE,
                        ..
                    }
                )
            {
                let text = "there is no space left".to_owned();
                *error = ErrorKind::Refused {
                    code: super::NO_SPACE,
                    text,
                }
                .into();
            }
        }
    }

    /// Gives staged files their names.
    pub(super) fn place_files(
        &mut self,
        files: &[NewFile<'_>],
        placing: &mut dyn FnMut(usize, &Stat),
    ) -> Vec<Result<Written>> {
        let waiting: Vec<(RelPath, Waiting)> = {
            let mut pool = lock(&self.staged);
            let mut waiting = Vec::new();
            for file in files {
                match pool.take(file.partial) {
                    Some(Staged::Here(bytes)) => waiting.push((file.partial.clone(), bytes)),
                    Some(other) => pool.put(file.partial, other),
                    None => {}
                }
            }
            waiting
        };
        let mut results = Vec::with_capacity(files.len());
        if let Err(first) = self.store_all(waiting, UNDER_WAY) {
            return self.all_lost(first, files.len());
        }
        for some in files.chunks(UNDER_WAY) {
            let start = results.len();
            let mut placing = |index: usize, stat: &Stat| placing(start + index, stat);
            results.extend(self.place_some(some, &mut placing));
        }
        results
    }

    fn place_some(
        &mut self,
        files: &[NewFile<'_>],
        placing: &mut dyn FnMut(usize, &Stat),
    ) -> Vec<Result<Written>> {
        let names: Vec<Names> = files.iter().map(|file| self.names_of(file)).collect();
        let looks: Vec<Request<'_>> = names
            .iter()
            .flat_map(|names| [Request::Lstat(&names.partial), Request::Lstat(&names.place)])
            .collect();
        let mut looks = match ask_all(&mut self.session, &looks) {
            Ok(looks) => looks.into_iter(),
            Err(first) => return self.all_lost(first, files.len()),
        };
        let mut ready: Vec<Result<Ready>> = Vec::with_capacity(files.len());
        for (index, file) in files.iter().enumerate() {
            let looked = (looks.next(), looks.next());
            let found = self.check_staged(file, looked);
            if let Ok(Ready::ToBeNamed { stored, .. }) = &found {
                placing(index, &stored.stat);
            }
            ready.push(found);
        }
        let renames: Vec<Request<'_>> = ready
            .iter()
            .zip(&names)
            .flat_map(|(ready, names)| match ready {
                Ok(Ready::ToBeNamed { replaces, .. }) => Some(rename_requests(names, *replaces)),
                Ok(Ready::Named(_)) | Err(_) => None,
            })
            .flatten()
            .collect();
        let renamed = match ask_all(&mut self.session, &renames) {
            Ok(replies) => replies,
            Err(first) => return self.all_lost(first, files.len()),
        };
        let mut renamed = renamed.into_iter();
        let mut results = Vec::with_capacity(files.len());
        for ((ready, names), file) in ready.into_iter().zip(&names).zip(files) {
            let placed = match ready {
                Ok(Ready::Named(written)) => Ok(written),
                Ok(Ready::ToBeNamed { stored, .. }) => {
                    let replies = renamed.by_ref().take(3).collect();
                    self.finish_placing(names, &stored, replies)
                }
                Err(error) => Err(error),
            };
            if !placed.as_ref().is_err_and(is_loss) {
                lock(&self.staged).take(file.partial);
            }
            if placed.as_ref().is_err_and(|error| !is_loss(error)) {
                self.clean_up(&names.partial);
            }
            results.push(placed.doing(|| format!("writing {}", file.path)));
        }
        results
    }

    /// Whether what is under the partial name is what was staged, and can have its name.
    fn check_staged(
        &mut self,
        file: &NewFile<'_>,
        (partial, place): (Option<Reply>, Option<Reply>),
    ) -> Result<Ready> {
        let (Some(partial), Some(place)) = (partial, place) else {
            return Err(self.session.nonsense(NONSENSE));
        };
        let noted = match lock(&self.staged).files.get_mut(file.partial) {
            Some(Staged::Failed(error)) => {
                let told = ErrorKind::Verify("it could not be written".to_owned());
                return Err(std::mem::replace(error, told.into()));
            }
            Some(Staged::There(stored)) => Some(*stored),
            Some(Staged::Here(_)) | None => None,
        };
        let place = self.looked_at(place)?;
        let shown = match partial {
            Reply::Attributes(attributes) => Stored::of(&attributes, file.size, file.mtime)?,
            Reply::Status(status) if status.code == code::NO_SUCH_FILE => {
                // The line broke after the rename.
                if let (Some(stored), Some(stat)) = (noted, place)
                    && stat.may_equal(&stored.stat)
                {
                    return Ok(Ready::Named(written(stat, &stored)));
                }
                return Err(ErrorKind::Verify("its partial file is gone".to_owned()).into());
            }
            Reply::Status(status) if !is_ok(&status) => return Err(refusal(&status)),
            _ => return Err(self.session.nonsense(NONSENSE)),
        };
        check_replaced(file.replaces, place)?;
        Ok(Ready::ToBeNamed {
            stored: noted.unwrap_or(shown),
            replaces: place.is_some(),
        })
    }

    fn finish_placing(
        &mut self,
        names: &Names,
        stored: &Stored,
        replies: Vec<Reply>,
    ) -> Result<Written> {
        match self.renamed(replies, &stored.stat) {
            Renamed::Done(stat) => Ok(written(stat, stored)),
            Renamed::Failed(error) => Err(error),
            Renamed::NeedsRoom => {
                let present = self.look_at_one(&names.place)?;
                self.give_name(names, stored, present.is_some())
            }
        }
    }
}

/// A staged file that was looked at.
enum Ready {
    ToBeNamed {
        stored: Stored,
        replaces: bool,
    },
    /// It has its name already.
    Named(Written),
}

/// The bytes of a small file, which must be as many as were announced.
fn read_whole(size: u64, source: &mut dyn Source, watch: &mut dyn Watch) -> Result<Box<[u8]>> {
    // Small, as the caller has seen; one byte more shows a file that has grown.
    let mut bytes = vec![0; size as usize + 1];
    let mut filled = 0;
    while filled < bytes.len() {
        match source.read(&mut bytes[filled..])? {
            0 => break,
            count => {
                filled += count;
                watch.moved(count as u64)?;
            }
        }
    }
    if filled as u64 != size {
        return Err(misread(source));
    }
    source.finish()?;
    bytes.truncate(filled);
    Ok(bytes.into_boxed_slice())
}

/// A worker that panicked holds no half-made entry: each is put in or taken out whole.
fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}
