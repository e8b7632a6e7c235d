//! A target that fails once, at a call of the test's choice: for every n, the n-th.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coracle::error::{Error, ErrorKind, Phase, Result};
use coracle::path::RelPath;
use coracle::replica::{
    Algorithm, Capabilities, Digest, FileIdentity, Listing, Mtime, NewFile, Removal, Renaming,
    Replica, Source, Stat, Times, Watch, Written,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset.
    Network,
    /// The connection is silent for too long.
    Timeout,
    /// The disk is full.
    Disk,
    /// The disk is broken.
    BrokenDisk,
    /// The server refuses.
    Refused,
    /// The code that talks to it panics.
    Panic,
}

impl Fault {
    /// All that are told as errors.
    pub const ALL: [Self; 5] = [
        Self::Network,
        Self::Timeout,
        Self::Disk,
        Self::BrokenDisk,
        Self::Refused,
    ];

    fn error(self) -> Error {
        match self {
            Self::Network => ErrorKind::Network(io::ErrorKind::ConnectionReset.into()),
            Self::Timeout => ErrorKind::Timeout(Phase::Reply),
            Self::BrokenDisk => ErrorKind::Disk(io::Error::from_raw_os_error(libc::EIO)),
            Self::Disk => ErrorKind::Disk(io::Error::from_raw_os_error(libc::ENOSPC)),
            Self::Refused => ErrorKind::Refused {
                code: 550,
                text: "not now".to_owned(),
            },
            Self::Panic => panic!("the test wants this panic"),
        }
        .into()
    }
}

/// When it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before anything is done.
    Before,
    /// When all is done: only the answer is lost.
    After,
}

impl Moment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Before, Self::After];
}

/// Counts calls and strikes at one of them. Clones share the count, so one script can serve several targets.
#[derive(Debug, Clone)]
pub struct Script {
    calls: Arc<AtomicUsize>,
    strike_at: u64,
    fault: Fault,
    moment: Moment,
}

impl Script {
    /// Fails the call of that number, the first being 1; never for 0.
    pub fn new(strike_at: u64, fault: Fault, moment: Moment) -> Self {
        Self {
            calls: Arc::default(),
            strike_at,
            fault,
            moment,
        }
    }

    /// Fails nothing and counts, to learn how many calls there are to fail.
    pub fn counting() -> Self {
        Self::new(0, Fault::Network, Moment::Before)
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed) as u64
    }

    /// Counts a call and says whether it is the one to fail.
    fn strikes(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) as u64 + 1 == self.strike_at
    }

    fn around<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        match (self.strikes(), self.moment) {
            (false, _) => call(),
            (true, Moment::Before) => Err(self.fault.error()),
            (true, Moment::After) => call().and_then(|_| Err(self.fault.error())),
        }
    }

    fn around_batch<T>(
        &self,
        count: usize,
        call: impl FnOnce() -> Vec<Result<T>>,
    ) -> Vec<Result<T>> {
        let all_failed = || (0..count).map(|_| Err(self.fault.error())).collect();
        match (self.strikes(), self.moment) {
            (false, _) => call(),
            (true, Moment::Before) => all_failed(),
            (true, Moment::After) => {
                call();
                all_failed()
            }
        }
    }
}

/// A target whose calls, and those of its sources, go by a script.
pub struct FaultyReplica<T> {
    target: T,
    script: Script,
}

impl<T: Replica> FaultyReplica<T> {
    /// Puts `target` under the script.
    pub fn new(target: T, script: &Script) -> Self {
        Self {
            target,
            script: script.clone(),
        }
    }
}

impl<T: Replica> Replica for FaultyReplica<T> {
    fn capabilities(&self) -> Capabilities {
        self.target.capabilities()
    }

    fn list(&mut self, dir: &RelPath, listing: &mut Listing) -> Result<()> {
        self.script.around(|| self.target.list(dir, listing))
    }

    // What goes wrong ahead is told by whoever asks next.
    fn list_ahead(&mut self, dirs: &[RelPath]) {
        self.target.list_ahead(dirs);
    }

    fn read_ahead(&mut self, files: &[(RelPath, Stat)]) {
        self.target.read_ahead(files);
    }

    fn look_up(&mut self, paths: &[RelPath]) -> Vec<Result<Option<Stat>>> {
        self.script
            .around_batch(paths.len(), || self.target.look_up(paths))
    }

    fn open<'a>(&'a mut self, file: &RelPath, offset: u64) -> Result<Box<dyn Source + 'a>> {
        let source = self.script.around(|| self.target.open(file, offset))?;
        Ok(Box::new(FaultySource {
            source,
            script: self.script.clone(),
        }))
    }

    fn write(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written> {
        self.script
            .around(|| self.target.write(file, source, watch))
    }

    fn write_small(
        &mut self,
        files: &[(NewFile<'_>, &[u8])],
        placing: &mut dyn FnMut(usize, &Stat, Times),
    ) -> Vec<Result<Written>> {
        self.script
            .around_batch(files.len(), || self.target.write_small(files, placing))
    }

    fn make_lasting(&mut self, dir: &RelPath) -> Result<()> {
        self.script.around(|| self.target.make_lasting(dir))
    }

    fn make_dirs(&mut self, dirs: &[RelPath]) -> Vec<Result<()>> {
        self.script
            .around_batch(dirs.len(), || self.target.make_dirs(dirs))
    }

    fn put_mark(
        &mut self,
        mark: &RelPath,
        see: &mut dyn FnMut(&[u8], Option<Mtime>),
    ) -> Result<()> {
        self.script.around(|| self.target.put_mark(mark, see))
    }

    fn remove(&mut self, removals: &[Removal]) -> Vec<Result<()>> {
        self.script
            .around_batch(removals.len(), || self.target.remove(removals))
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<()> {
        self.script.around(|| self.target.rename(from, to))
    }

    fn rename_each(&mut self, renames: &[Renaming]) -> Vec<Result<()>> {
        self.script
            .around_batch(renames.len(), || self.target.rename_each(renames))
    }

    fn identify(&mut self, file: &RelPath) -> Result<Option<FileIdentity>> {
        self.script.around(|| self.target.identify(file))
    }

    fn digest(&mut self, file: &RelPath, algorithms: &[Algorithm]) -> Result<Option<Digest>> {
        self.script.around(|| self.target.digest(file, algorithms))
    }

    fn free_space(&mut self) -> Result<Option<u64>> {
        self.script.around(|| self.target.free_space())
    }
}

/// A source under the script of its target. It shows no descriptor, since nobody could count what moves through it.
struct FaultySource<'a> {
    source: Box<dyn Source + 'a>,
    script: Script,
}

impl Source for FaultySource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.script.around(|| self.source.read(buffer))
    }

    fn finish(&mut self) -> Result<()> {
        self.script.around(|| self.source.finish())
    }
}
