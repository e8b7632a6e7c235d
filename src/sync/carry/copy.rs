//! Copies one file from one target to the other, as often as it takes: resumes, watches, remembers, verifies.

use std::sync::{Mutex, PoisonError};

use crate::error::{Doing, Error, ErrorKind, Result, Scope};
use crate::job::{Modes, Verify};
use crate::path::{Name, PartOwner, RelPath};
use crate::replica::{
    NewFile, Removal, Replica, SMALL_BYTES, Staging, Stat, Times, Watch, Written, fill,
    look_up_one, read_whole, short_digest,
};
use crate::side::{Side, Sides};
use crate::sync::carry::lock::Keeping;
use crate::sync::look::partial_path;
use crate::sync::record::{Intent, Journal, Shown};
use crate::sync::workers::{Hands, Stop};
use crate::time::Timestamp;

pub use batch::Batch;
pub use limiter::Limiter;
use verify::verify_digest;

mod batch;
mod limiter;
mod verify;

/// A part of less is sent again, and a try that brought less is a lost one: going on takes a few round trips, in which any line
/// carries more. So a line that brings one byte a try comes to its end.
const STEP_BYTES: u64 = 4 << 10;

/// So much of a part's end is compared with the source before anything is added to it: what a disk writes in one go. What a power cut
/// takes was written last, so an end of zeros shows, however long it is. On a line that breaks again and again each try brings
/// this much for nothing.
const TAIL_BYTES: u64 = 4 << 10;

/// What all copies of a run have in common.
pub struct Terms<'env> {
    /// Where a file about to be placed is noted.
    pub journal: &'env Journal,
    /// How fast it may go.
    pub limiter: Limiter,
    /// When to stop.
    pub stop: Stop<'env>,
    /// Which modes files get.
    pub modes: Modes,
    /// What is compared afterwards.
    pub verify: Verify,
    /// Whether the content of what is copied is to be recognised later.
    pub records_digests: bool,
    /// Whether partial files that an earlier run left on the local side can be trusted: a power cut may have taken
    /// bytes from a file and not from its size.
    pub trusts_local_partials: bool,
    /// Bytes moved since somebody last asked.
    pub moved: Moved,
    /// Whose partial files the copies make and go on with.
    pub owner: PartOwner,
    /// The lock that is kept fresh meanwhile.
    pub lock: Keeping<'env>,
}

/// A count of bytes that many threads add to. A lock keeps it, because MIPS and older ARM have no 64-bit atomics.
#[derive(Debug, Default)]
pub struct Moved(Mutex<u64>);

impl Moved {
    fn add(&self, bytes: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
    }

    /// What was added since the last call.
    pub fn take(&self) -> u64 {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One file to be copied.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The side it comes from.
    pub from: Side,
    /// The directory it is recorded in, by its local path.
    pub dir: RelPath,
    /// The name it is recorded by.
    pub name: Box<[u8]>,
    /// Its paths.
    pub paths: Sides<RelPath>,
    /// The source as it was listed, with its true time.
    pub source: Stat,
    /// The same as its side shows it.
    pub shown: Stat,
    /// What is to be replaced.
    pub replaces: Option<Stat>,
    /// The size of the partial file of an earlier run.
    pub partial_bytes: u64,
    /// Where what is replaced goes.
    pub set_aside: Option<RelPath>,
    tries: u32,
    /// How much of it was found on the other side at most.
    furthest: u64,
    placed: Option<(Stat, Times)>,
}

impl Copy {
    /// Copies to a name where nothing is.
    pub fn new(
        from: Side,
        dir: RelPath,
        name: Name<'_>,
        paths: Sides<RelPath>,
        source: Stat,
        shown: Stat,
    ) -> Self {
        Self {
            from,
            dir,
            name: name.as_bytes().into(),
            paths,
            source,
            shown,
            replaces: None,
            partial_bytes: 0,
            set_aside: None,
            tries: 0,
            furthest: 0,
            placed: None,
        }
    }

    /// Copies the file, up to where its target would stage it. May be called again after the connection died: it finds out
    /// first what was done.
    pub fn run(&mut self, hands: &mut Hands<'_>, terms: &Terms<'_>) -> Result<Staging> {
        // What is verified by its digest is read back under its name.
        self.attempt(hands, terms, terms.verify != Verify::Hash)
    }

    /// The same for a file that is placed at once.
    fn run_to_the_end(&mut self, hands: &mut Hands<'_>, terms: &Terms<'_>) -> Result<Written> {
        match self.attempt(hands, terms, false)? {
            Staging::Placed(written) => Ok(written),
            Staging::Staged => unreachable!("nothing is staged where it may not be"),
        }
    }

    fn attempt(
        &mut self,
        hands: &mut Hands<'_>,
        terms: &Terms<'_>,
        may_stage: bool,
    ) -> Result<Staging> {
        let to = self.from.peer();
        let path = self.paths.of(to).clone();
        let doing = || copying(&path, to);
        self.tries += 1;
        let target_side = hands.of(to)?;
        if self.tries > 1
            && let Some(written) = self.already_placed(target_side, &path).doing(doing)?
        {
            return Ok(Staging::Placed(written));
        }
        if let Some(aside) = &self.set_aside {
            make_parents(target_side, aside).doing(doing)?;
        }
        let resume_at = self.resume_at(target_side, terms).doing(doing)?;
        if resume_at >= self.furthest + STEP_BYTES {
            self.furthest = resume_at;
            hands.note_progress();
        }
        let Sides { local, remote } = hands.both()?;
        if terms.lock.is_due() {
            terms.lock.keep(remote)?;
        }
        let (source_side, target_side) = match self.from {
            Side::Local => (local, remote),
            Side::Remote => (remote, local),
        };
        let mut staging = self
            .transfer(source_side, target_side, terms, may_stage, resume_at)
            .doing(doing)?;
        if self.from == Side::Remote && self.source.size > SMALL_BYTES {
            self.look_again(source_side, target_side, terms, staging)
                .doing(doing)?;
        }
        if terms.verify == Verify::Hash {
            verify_digest(source_side, self.paths.of(self.from), target_side, &path)
                .doing(doing)?;
        }
        if let (Staging::Placed(written), true) = (&mut staging, terms.records_digests) {
            let local = match self.from {
                Side::Local => source_side,
                Side::Remote => target_side,
            };
            written.digest = self.digest(local, written);
        }
        Ok(staging)
    }

    /// Whether a remote file is still what was listed, after it was read: a server does not say that it changed meanwhile. What
    /// takes no time to read is not asked for once more; that it changed since it was listed shows in the next run.
    fn look_again(
        &self,
        source: &mut dyn Replica,
        target: &mut dyn Replica,
        terms: &Terms<'_>,
        staging: Staging,
    ) -> Result<()> {
        match look_up_one(source, self.paths.of(self.from)) {
            Ok(Some(now)) if now.may_equal(&self.shown) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.scope() == Scope::Entry => return Ok(()),
            Err(error) => return Err(error),
        }
        if staging == Staging::Staged {
            let removed = target.remove(&[Removal::File(self.partial(terms.owner))]);
            removed.into_iter().collect::<Result<()>>()?;
        }
        Err(
            ErrorKind::Changed("it changed while it was copied; the next run copies it again")
                .into(),
        )
    }

    /// What the local file holds, in short; none where it is no longer what was copied.
    fn digest(&self, local: &mut dyn Replica, written: &Written) -> Option<u64> {
        let expected = match self.from {
            Side::Local => self.shown,
            Side::Remote => written.stat,
        };
        // Without it the next new time of the file is a change.
        short_digest(local, &self.paths.local, &expected).ok()?
    }

    /// Whether the try before got as far as the rename, of which only the reply was lost.
    fn already_placed(&self, target: &mut dyn Replica, path: &RelPath) -> Result<Option<Written>> {
        let Some((placed, times)) = self.placed else {
            return Ok(None);
        };
        let there = look_up_one(target, path)?;
        Ok(there
            .filter(|stat| stat.may_equal(&placed))
            .map(|stat| Written {
                stat,
                times,
                // It was not told, and asking is not worth it: it is only for recognising the file when it is renamed.
                inode: 0,
                digest: None,
            }))
    }

    /// Goes on at `resume_at`; or begins anew, where the server does not want to, or what lies there turns out to be another.
    ///
    /// Where the lock has to be refreshed meanwhile, the bytes move in several goes: a server may not answer before a transfer is
    /// over.
    fn transfer(
        &mut self,
        source_side: &mut dyn Replica,
        target_side: &mut dyn Replica,
        terms: &Terms<'_>,
        may_stage: bool,
        resume_at: u64,
    ) -> Result<Staging> {
        let partial = self.partial(terms.owner);
        let mode = self.mode(source_side, terms)?;
        let mut from = resume_at;
        let mut was_suspended = false;
        loop {
            let file = NewFile {
                resume_at: from,
                ..self.new_file(&partial, mode)
            };
            let mut watch = Watcher {
                copy: &*self,
                terms,
                at: from,
                is_suspended: false,
                placed: None,
                has_moved: false,
            };
            let copied = copy_file(
                source_side,
                self.paths.of(self.from),
                target_side,
                &file,
                may_stage,
                &mut watch,
            );
            let Watcher {
                placed,
                has_moved,
                is_suspended,
                ..
            } = watch;
            self.placed = placed.or(self.placed);
            match copied {
                Err(error) if is_suspended && matches!(error.kind(), ErrorKind::Interrupted(_)) => {
                    match self.from {
                        Side::Local => keep_in_a_pause(&terms.lock, target_side)?,
                        Side::Remote => keep_in_a_pause(&terms.lock, source_side)?,
                    }
                    was_suspended = true;
                    self.tries += 1;
                    from = self.resume_at(target_side, terms)?;
                    if from == 0 {
                        terms.lock.spare_transfers();
                    }
                }
                Err(error)
                    if from > 0
                        && is_about_the_part(&error)
                        && (was_suspended
                            || !has_moved
                            || self.adds_nothing(&error, from, target_side, terms)) =>
                {
                    let path = self.paths.of(self.from.peer());
                    log::info!("{path}: {error}; it is sent from its beginning");
                    if was_suspended {
                        // It would have come to its end, had it not been suspended.
                        terms.lock.spare_transfers();
                    }
                    from = 0;
                }
                other => return other,
            }
        }
    }

    /// Whether a server took bytes and refused to add them to the part: some say only then that they write no file from its
    /// middle (rclone).
    fn adds_nothing(
        &self,
        error: &Error,
        from: u64,
        target: &mut dyn Replica,
        terms: &Terms<'_>,
    ) -> bool {
        matches!(error.kind(), ErrorKind::Refused { .. })
            && self
                .resume_at(target, terms)
                .is_ok_and(|part_bytes| part_bytes <= from)
    }

    fn doing(&self) -> String {
        let to = self.from.peer();
        copying(self.paths.of(to), to)
    }

    /// Whether it is copied as fast together with others: all of it from its beginning, and nobody looks at it before it is
    /// in its place.
    pub fn is_small(&self, terms: &Terms<'_>) -> bool {
        self.source.size <= SMALL_BYTES
            && self.partial_bytes == 0
            && self.set_aside.is_none()
            && terms.verify != Verify::Hash
    }

    /// All of the file.
    fn read(&self, source: &mut dyn Replica, terms: &Terms<'_>) -> Result<Box<[u8]>> {
        let mut source = source
            .open(self.paths.of(self.from), 0)
            .doing(|| self.doing())?;
        let mut watch = Watcher {
            copy: self,
            terms,
            // It is too small to be suspended.
            at: self.source.size,
            is_suspended: false,
            placed: None,
            has_moved: false,
        };
        read_whole(self.source.size, source.as_mut(), &mut watch).doing(|| self.doing())
    }

    fn partial(&self, owner: PartOwner) -> RelPath {
        let path = self.paths.of(self.from.peer());
        let name = path.name().expect("files have names");
        partial_path(owner, name, &path.parent(), &self.source)
    }

    /// The mode that it is to get; none leaves that to its side.
    fn mode(&self, source: &mut dyn Replica, terms: &Terms<'_>) -> Result<Option<u32>> {
        match terms.modes {
            Modes::Theirs => Ok(None),
            Modes::Remote(mode) => Ok(Some(mode).filter(|_| self.from == Side::Local)),
            Modes::Carried => match source.mode(self.paths.of(self.from)) {
                Err(error) if error.scope() == Scope::Entry => Ok(None),
                mode => mode,
            },
        }
    }

    /// The file as it is written from its first byte.
    fn new_file<'a>(&'a self, partial: &'a RelPath, mode: Option<u32>) -> NewFile<'a> {
        NewFile {
            path: self.paths.of(self.from.peer()),
            partial,
            size: self.source.size,
            mtime: self.source.best_mtime(),
            mode,
            resume_at: 0,
            replaces: self.replaces,
            set_aside: self.set_aside.as_ref(),
            keep_partial: self.source.size >= STEP_BYTES,
        }
    }

    /// Notes that the file is about to be placed, where it will look like `stat`. The journal is for runs that are cut off; that
    /// it cannot be kept fails nothing.
    fn note(&self, journal: &Journal, stat: &Stat) {
        let intent = Intent::Place {
            dir: self.dir.clone(),
            name: self.name.clone(),
            to: self.from.peer(),
            source: Shown::of(&self.shown),
            seen: stat.mtime.filter(|mtime| mtime.precision.is_exact()),
            at: Timestamp::now(),
        };
        if let Err(error) = journal.intend(&intent) {
            log::debug!("{error}");
        }
    }

    /// Where to go on. A partial file that is of no use is removed.
    fn resume_at(&self, target: &mut dyn Replica, terms: &Terms<'_>) -> Result<u64> {
        let partial = self.partial(terms.owner);
        let is_first_try = self.tries == 1;
        if is_first_try && self.partial_bytes == 0 {
            return Ok(0);
        }
        let Some(left) = look_up_one(target, &partial)? else {
            return Ok(0);
        };
        let is_trusted = !is_first_try || self.from == Side::Local || terms.trusts_local_partials;
        if is_trusted && (STEP_BYTES..=self.source.size).contains(&left.size) {
            return Ok(left.size);
        }
        let removed = target.remove(&[Removal::File(partial)]);
        removed.into_iter().collect::<Result<()>>()?;
        Ok(0)
    }
}

/// Refreshes the lock while a transfer is suspended.
fn keep_in_a_pause(lock: &Keeping<'_>, remote: &mut dyn Replica) -> Result<()> {
    let kept = lock.keep(remote);
    if let Err(error) = &kept
        && error.scope() == Scope::Session
    {
        // It may not outlive that any transfer is broken off.
        lock.spare_transfers();
    }
    kept
}

fn copy_file(
    source_side: &mut dyn Replica,
    source: &RelPath,
    target_side: &mut dyn Replica,
    file: &NewFile<'_>,
    may_stage: bool,
    watch: &mut dyn Watch,
) -> Result<Staging> {
    let tail = read_tail(target_side, file)?;
    // What is added follows in the same go.
    let mut source = source_side.open(source, file.resume_at - tail.len() as u64)?;
    let mut begun = vec![0; tail.len()];
    if fill(source.as_mut(), &mut begun)? != tail.len() || begun != tail {
        return Err(ErrorKind::Changed("the partial file does not end as it was sent").into());
    }
    if may_stage {
        return target_side.stage(file, source.as_mut(), watch);
    }
    let written = target_side.write(file, source.as_mut(), watch)?;
    Ok(Staging::Placed(written))
}

/// The last bytes of what lies under the partial name, read back: their size alone proves nothing, a disk or server may have lost what
/// it had not written yet.
fn read_tail(target: &mut dyn Replica, file: &NewFile<'_>) -> Result<Vec<u8>> {
    if file.resume_at == 0 {
        return Ok(Vec::new());
    }
    let other = || Error::from(ErrorKind::Changed("the partial file is not as it was left"));
    let length = file.resume_at.min(TAIL_BYTES) as usize;
    let mut part = target
        .open(file.partial, file.resume_at - length as u64)
        .map_err(|error| if error.is_not_found() { other() } else { error })?;
    // One byte more shows that it goes on.
    let mut tail = vec![0; length + 1];
    if fill(part.as_mut(), &mut tail)? != length {
        return Err(other());
    }
    part.finish()?;
    tail.truncate(length);
    Ok(tail)
}

/// Whether a copy that went on where another left off may have failed because of that.
fn is_about_the_part(error: &Error) -> bool {
    error.scope() == Scope::Entry && !error.is_full() && !error.is_not_found()
}

/// Gives the files of copies that were staged, all on the side of `target`, their names.
pub fn place_staged(
    target: &mut dyn Replica,
    copies: &[Copy],
    terms: &Terms<'_>,
) -> Vec<Result<Written>> {
    let partials: Vec<RelPath> = copies
        .iter()
        .map(|copy| copy.partial(terms.owner))
        .collect();
    let files: Vec<NewFile<'_>> = copies
        .iter()
        .zip(&partials)
        // They were given their modes when they were staged.
        .map(|(copy, partial)| copy.new_file(partial, None))
        .collect();
    let mut placed = target.place(&files, &mut |index, stat| {
        copies[index].note(terms.journal, stat);
    });
    if terms.records_digests {
        // Only a disk stages.
        for (copy, written) in copies.iter().zip(&mut placed) {
            if let Ok(written) = written {
                written.digest = copy.digest(target, written);
            }
        }
    }
    placed
}

/// What became of one file; an error is one that says more than that.
fn of_entry<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error) if error.scope() != Scope::Entry => Err(error),
        result => Ok(result),
    }
}

fn copying(path: &RelPath, to: Side) -> String {
    format!("copying {path} to the {to} side")
}

/// A conflict of which both files are kept.
#[derive(Debug, Clone)]
pub struct KeepBoth {
    /// The loser's file, to the winner's side, under its new name.
    pub loser: Copy,
    /// The winner's file, to the loser's side, where the old one moves to the new name.
    pub winner: Copy,
    loser_written: Option<Written>,
}

impl KeepBoth {
    /// First the loser is copied, then the winner, so that at every moment each file is somewhere.
    pub const fn new(loser: Copy, winner: Copy) -> Self {
        Self {
            loser,
            winner,
            loser_written: None,
        }
    }

    /// Copies both files; what became of the loser's and of the winner's.
    pub fn run(&mut self, hands: &mut Hands<'_>, terms: &Terms<'_>) -> Result<(Written, Written)> {
        let loser = match self.loser_written {
            Some(written) => written,
            None => self.loser.run_to_the_end(hands, terms)?,
        };
        self.loser_written = Some(loser);
        Ok((loser, self.winner.run_to_the_end(hands, terms)?))
    }
}

struct Watcher<'a> {
    copy: &'a Copy,
    terms: &'a Terms<'a>,
    /// How many bytes of the file have been moved.
    at: u64,
    /// Whether it was stopped to go on at once.
    is_suspended: bool,
    placed: Option<(Stat, Times)>,
    has_moved: bool,
}

impl Watch for Watcher<'_> {
    fn moved(&mut self, bytes: u64) -> Result<()> {
        self.has_moved = true;
        self.terms.moved.add(bytes);
        self.terms.limiter.take(bytes, self.terms.stop)?;
        self.at += bytes;
        // So much that it can be gone on with, and something is left to do.
        let is_within = (STEP_BYTES..self.copy.source.size).contains(&self.at);
        if is_within && self.terms.lock.wants_a_pause() {
            self.is_suspended = true;
            return Err(ErrorKind::Interrupted("the refresh of the remote lock").into());
        }
        Ok(())
    }

    fn overwriting(&mut self) {
        let untimed = Stat {
            mtime: None,
            ..self.copy.source
        };
        self.copy.note(self.terms.journal, &untimed);
    }

    fn placing(&mut self, stat: &Stat, times: Times) -> Result<()> {
        self.placed = Some((*stat, times));
        self.copy.note(self.terms.journal, stat);
        Ok(())
    }
}

/// Makes the directories that a path is in, where they are not there.
pub fn make_parents(target: &mut dyn Replica, path: &RelPath) -> Result<()> {
    target.make_dirs(&ancestors(path)).into_iter().collect()
}

/// The directories that a path is in, from the top down, without the root.
fn ancestors(path: &RelPath) -> Vec<RelPath> {
    let mut dirs = Vec::new();
    let mut dir = path.parent();
    while !dir.is_root() {
        dirs.push(dir.clone());
        dir = dir.parent();
    }
    dirs.reverse();
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestors_come_from_the_top_down() {
        let shown: Vec<String> = ancestors(&RelPath::parse(b"a/b/c").unwrap())
            .iter()
            .map(RelPath::to_string)
            .collect();
        assert_eq!(shown, ["a", "a/b"]);
        assert!(ancestors(&RelPath::parse(b"a").unwrap()).is_empty());
    }
}
