//! Whether files hold the same bytes, where sizes are equal and times are not.

use super::Walker;
use super::entry::Decided;
use crate::error::Result;
use crate::job::Compare;
use crate::path::RelPath;
use crate::replica::{Algorithm, Kind, Stat, same_bytes, short_digest};
use crate::side::{Side, Sides};
use crate::sync::event::Deed;
use crate::sync::plan::Todo;
use crate::sync::plan::draft::Dir;
use crate::sync::plan::status::Status;
use crate::sync::workers::{Failure, Hands};

impl<'env> Walker<'_, '_, 'env> {
    fn looks_into_files(&self) -> bool {
        self.walk.job.policy.compare == Compare::Content
    }

    /// Takes a file with a new time for unmodified where it holds what is recorded of it. Whether it is unmodified on both sides
    /// by this: then only its times are to be recorded.
    pub(super) fn is_unchanged_within(&self, dir: &Dir, entry: &mut Decided<'_>) -> Result<bool> {
        if !self.looks_into_files() || entry.kind != Kind::File {
            return Ok(false);
        }
        let Some(recorded) = entry.pair.recorded_file() else {
            return Ok(false);
        };
        let Some(digest) = recorded.local.digest else {
            return Ok(false);
        };
        let (shown, paths) = (entry.pair.shown(), entry.pair.paths_in(&dir.paths));
        let mut has_new_time = false;
        for side in Side::BOTH {
            let status = entry.status.of_mut(side);
            if let (Status::Modified, Some(now)) = (*status, *shown.of(side))
                && now.size == recorded.of(side).size
                && self.digest_on(side, paths.of(side).clone(), now)? == Some(digest)
            {
                *status = Status::Unmodified;
                has_new_time = true;
            }
        }
        Ok(has_new_time && entry.status == Sides::new(Status::Unmodified, Status::Unmodified))
    }

    /// Records two files that hold the same bytes.
    pub(super) fn record_content(&mut self, dir: &Dir, entry: &Decided<'_>) {
        let local = *entry.pair.shown().of(Side::Local);
        let mut digest = None;
        if let (true, Some(local)) = (self.looks_into_files(), local) {
            let path = entry.pair.paths_in(&dir.paths).local;
            // Without it the next new time is a change.
            digest = self.digest_on(Side::Local, path, local).ok().flatten();
        }
        self.tell_entry(entry, Deed::Recorded);
        self.draft
            .add_step(dir, &entry.pair, Todo::Record { digest });
    }

    fn digest_on(&self, side: Side, path: RelPath, shown: Stat) -> Result<Option<u64>> {
        self.told(move |hands| short_digest(hands.of(side)?, &path, &shown))
    }

    /// Whether two files of one size and two times hold the same bytes: where they meet for the first time, if that can be told
    /// without a transfer; where the job compares contents, always.
    pub(super) fn meets_equal(&self, dir: &Dir, entry: &Decided<'_>) -> Result<bool> {
        let stats = entry.pair.stats();
        let has_one_size = matches!(
            (stats.local, stats.remote),
            (Some(local), Some(remote)) if local.size == remote.size
        );
        let reads = self.looks_into_files();
        let is_first_meeting = entry.status == Sides::new(Status::Existing, Status::Existing);
        if !has_one_size || !(is_first_meeting || reads) {
            return Ok(false);
        }
        let paths = entry.pair.paths_in(&dir.paths);
        let is_equal = self.told(move |hands| {
            let Sides { local, remote } = hands.both()?;
            let Some(of_remote) = remote.digest(&paths.remote, &Algorithm::ALL)? else {
                let both = ((local, &paths.local), (remote, &paths.remote));
                return Ok(Some(reads && same_bytes(both.0, both.1)?));
            };
            let of_local = local.digest(&paths.local, &[of_remote.algorithm])?;
            Ok(Some(of_local == Some(of_remote)))
        });
        Ok(is_equal? == Some(true))
    }

    /// What a look into files told; none where it could not be told: then sizes and times decide.
    fn told<T: Send + 'env>(
        &self,
        look: impl FnMut(&mut Hands<'env>) -> Result<Option<T>> + Send + 'env,
    ) -> Result<Option<T>> {
        match self.walk.workers.call(look) {
            Ok(told) => Ok(told),
            Err(Failure::Entry(_)) => Ok(None),
            Err(Failure::Job(error)) => Err(error),
        }
    }
}
