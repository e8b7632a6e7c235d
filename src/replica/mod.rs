//! Replicas: the two sides, each behind one trait.
//!
//! The trait is path-based (no current directory that a caller could get wrong) and coarse: one call is one thing
//! done for good, so that a protocol can send all the commands it takes back to back and wait once. No rule of
//! syncing lives here; a replica says what is there and does what it is told, all or nothing.

mod checks;
mod digest;
mod ftp;
mod listing;
mod local;
#[cfg(feature = "sftp")]
mod sftp;

#[cfg(feature = "sftp")]
pub use crate::sftp::{Answers, Secrecy};
pub use digest::Hasher;
pub use ftp::{FtpConnector, FtpReplica, Memory};
pub use listing::{Entry, Kind, Listing, Mtime, Own, Precision, Stat};
pub use local::{LocalConnector, LocalReplica, RootLock};
#[cfg(feature = "sftp")]
pub use sftp::{SftpConnector, SftpReplica};

use std::io;
use std::os::fd::BorrowedFd;

use crate::error::{Doing, ErrorKind, Result};
use crate::job::Pin;
use crate::net::Pipe;
use crate::path::{Name, PartOwner, RelPath, partial_name};

/// One replica: a directory tree that can be listed, read and written.
///
/// Paths are relative to the replica's root. Every method that takes several paths returns one result for each, in
/// their order, and a failure of one does not keep the others from being tried.
pub trait Replica: Send {
    /// What this target can do, as far as it is known by now: it may learn more while working.
    fn capabilities(&self) -> Capabilities;

    /// What there is to say of this target to somebody who sets it up: what it says of itself, and what it was found to do.
    fn describe(&mut self) -> Described {
        Described::default()
    }

    /// Lists the directory into `listing` (emptied first), sorted, with everything in it but `.` and `..`.
    ///
    /// A listing that broke off or held what cannot be understood is not an error: it is marked incomplete, with
    /// what was read. An error means that nothing is known: [`ErrorKind::NotFound`](crate::error::ErrorKind) when
    /// there is certainly no such directory.
    fn list(&mut self, dir: &RelPath, listing: &mut Listing) -> Result<()>;

    /// Says which directories will be listed next, one after the other: where a round trip costs more than what is listed, they
    /// are asked for together now. Whatever goes wrong is told by [`Replica::list`].
    fn list_ahead(&mut self, dirs: &[RelPath]) {
        let _ = dirs;
    }

    /// Says which files will be opened next, from their beginnings, and how they were listed: the same for small ones, some
    /// tens at a time. Whatever goes wrong is told by [`Replica::open`].
    fn read_ahead(&mut self, files: &[(RelPath, Stat)]) {
        let _ = files;
    }

    /// Glances at directories: cheaper than listing them, and good only to be compared with an earlier glance.
    ///
    /// `see` is called for each thing in each of them but `.` and `..`, in any order, with the place of the directory in
    /// `dirs`, and with what the target tells of it: a time to the minute or day, in whatever zone. The result for each
    /// directory is when it was changed itself; none where not all that is in it was told, or where something could
    /// hide in it. An error means that this target cannot do it, or is lost.
    fn glance(
        &mut self,
        dirs: &[RelPath],
        see: &mut dyn FnMut(usize, &[u8], Stat),
    ) -> Result<Vec<Option<Mtime>>> {
        let _ = (dirs, see);
        Err(ErrorKind::Unsupported("this target has no glance").into())
    }

    /// Asks for exactly these names: what is there, or that there is certainly nothing.
    ///
    /// Times come as exactly as this target can tell them. An error means that it cannot be told.
    fn look_up(&mut self, paths: &[RelPath]) -> Vec<Result<Option<Stat>>>;

    /// Opens the file for reading from `offset`.
    ///
    /// A source dropped before [`Source::finish`] ends its transfer, and the target stays usable.
    fn open<'a>(&'a mut self, file: &RelPath, offset: u64) -> Result<Box<dyn Source + 'a>>;

    /// Writes a file: partial name, bytes, [`Source::finish`], size check, mtime, [`Watch::placing`], rename, and
    /// a look at the result. All or nothing: after a failure the final name holds what it held before. The partial
    /// file stays only where it can serve to go on (see [`NewFile::keep_partial`]).
    fn write(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Written>;

    /// Writes small files from their beginnings, of which all bytes are at hand, each as [`Replica::write`] does: where a round
    /// trip costs more than what is written, together. `placing` is called for each by its place in `files`, as
    /// [`Watch::placing`].
    fn write_small(
        &mut self,
        files: &[(NewFile<'_>, &[u8])],
        placing: &mut dyn FnMut(usize, &Stat, Times),
    ) -> Vec<Result<Written>> {
        let one_by_one = files.iter().enumerate().map(|(index, (file, content))| {
            let mut watch = Placing(|stat: &Stat, times| placing(index, stat, times));
            self.write(file, &mut Bytes(content), &mut watch)
        });
        one_by_one.collect()
    }

    /// Writes a file as [`Replica::write`] does; or only to its partial name, where files are better given their names
    /// together, by [`Replica::place`]: a disk has to be waited for in between, once and not for each file. A file that is
    /// set aside for it is placed at once.
    fn stage(
        &mut self,
        file: &NewFile<'_>,
        source: &mut dyn Source,
        watch: &mut dyn Watch,
    ) -> Result<Staging> {
        self.write(file, source, watch).map(Staging::Placed)
    }

    /// Gives files that were staged here, by any handle, their names; `placing` is called for each by its place in `files`,
    /// as [`Watch::placing`]. All or nothing for each: after a failure its final name holds what it held before, and its
    /// partial file is gone.
    fn place(
        &mut self,
        files: &[NewFile<'_>],
        placing: &mut dyn FnMut(usize, &Stat),
    ) -> Vec<Result<Written>> {
        let _ = placing;
        let refuse = |_: &NewFile<'_>| Err(ErrorKind::Unsupported("nothing is staged here").into());
        files.iter().map(refuse).collect()
    }

    /// Makes the names of all files written to this directory so far last through a power cut. What was written is whole
    /// before that, too, under its final name or its partial one; but only after it may be recorded. Where nobody can
    /// tell, as with a server, nothing is done.
    fn make_lasting(&mut self, dir: &RelPath) -> Result<()> {
        let _ = dir;
        Ok(())
    }

    /// Makes directories, parents before children as given. One that is there already is a success.
    fn make_dirs(&mut self, dirs: &[RelPath]) -> Vec<Result<()>>;

    /// Makes the directory `mark`, and tells what stands beside it then, itself included: each name, and when it was made by this
    /// target's own clock, in whatever zone, where it tells. In one go where the protocol can: it is what a lock is made of. That
    /// `mark` is there already is a success. Whether what is told is all shows by whether `mark` is among it.
    fn put_mark(
        &mut self,
        mark: &RelPath,
        see: &mut dyn FnMut(&[u8], Option<Mtime>),
    ) -> Result<()> {
        self.make_dirs(std::slice::from_ref(mark))
            .into_iter()
            .collect::<Result<()>>()?;
        let mut listing = Listing::new();
        self.list(&mark.parent(), &mut listing)?;
        listing
            .iter()
            .for_each(|entry| see(entry.name.as_bytes(), entry.stat.mtime));
        Ok(())
    }

    /// Removes files, and directories that are empty; never more. Something that is gone already is a success.
    fn remove(&mut self, removals: &[Removal]) -> Vec<Result<()>>;

    /// Renames a file or directory, replacing nothing: an existing `to` is an error where the target can tell, unless it is
    /// `from` for a target that does not tell case apart. Success means that it is there under the new name: where a server's
    /// word is no proof, the replica looks.
    fn rename(&mut self, from: &RelPath, to: &RelPath) -> Result<()>;

    /// Renames several, one after the other, as [`Replica::rename`] does.
    fn rename_each(&mut self, renames: &[Renaming]) -> Vec<Result<()>> {
        renames
            .iter()
            .map(|renaming| self.rename(&renaming.from, &renaming.to))
            .collect()
    }

    /// Which thing the file or directory is, whatever its name; none where this replica cannot tell for good.
    fn identify(&mut self, path: &RelPath) -> Result<Option<FileIdentity>> {
        let _ = path;
        Ok(None)
    }

    /// The rights of a file, below 0o1000; none where this target has or tells none.
    fn mode(&mut self, file: &RelPath) -> Result<Option<u32>> {
        let _ = file;
        Ok(None)
    }

    /// The file's digest in the first of these algorithms that this target can compute; none where it can do none.
    fn digest(&mut self, file: &RelPath, algorithms: &[Algorithm]) -> Result<Option<Digest>>;

    /// Bytes that may still be written, where this target can tell.
    fn free_space(&mut self) -> Result<Option<u64>>;
}

/// Opens handles of one replica: one connection each time.
pub trait Connect: Sync {
    /// A new handle.
    fn connect(&self) -> Result<Box<dyn Replica>>;

    /// How many small files or directories a handle takes in one go, because a round trip costs more than they do:
    /// [`Replica::list_ahead`], [`Replica::read_ahead`], [`Replica::write_small`]. One where it takes them one by one.
    fn batch(&self) -> usize {
        1
    }

    /// Whether it is a disk of this machine: opening it takes no session, and names must be made to last
    /// ([`Replica::make_lasting`]) before they are recorded.
    fn is_disk(&self) -> bool {
        false
    }
}

impl<F: Fn() -> Result<Box<dyn Replica>> + Sync> Connect for F {
    fn connect(&self) -> Result<Box<dyn Replica>> {
        self()
    }
}

/// What is said of a target, a line for each topic, in the order in which a person reads them.
#[derive(Debug, Default)]
pub struct Described {
    /// The lines.
    pub lines: Vec<(Topic, String)>,
    /// The key by which the server can be pinned, where it showed one.
    pub pin: Option<Pin>,
}

/// What a line is about, in a word or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic(pub &'static str);

impl Described {
    /// Adds a line.
    pub fn say(&mut self, topic: Topic, text: String) {
        self.lines.push((topic, text));
    }
}

/// What a replica can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether files keep the mtime they are given.
    pub times: Times,
    /// Whether names that differ only in case are different files.
    pub case: CaseSensitivity,
}

/// Whether a target keeps the mtimes it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Yes.
    Kept,
    /// No: files carry the time they were uploaded, and the true one must be remembered elsewhere.
    Lost,
    /// Not tried yet.
    Unknown,
}

/// Whether a target tells names apart that differ only in case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseSensitivity {
    /// It does.
    Sensitive,
    /// It does not, as FAT, exFAT and Windows servers.
    Insensitive,
    /// Nobody has asked yet.
    Unknown,
}

/// Bytes of a file on their way, in order.
pub trait Source {
    /// Reads the next bytes into `buffer`; 0 means that there are no more.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// A descriptor from which the bytes can be moved inside the kernel, where there is one.
    ///
    /// Whoever moves bytes through it says so with [`Source::moved_by_fd`].
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Counts bytes that were moved through [`Source::as_fd`].
    fn moved_by_fd(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// Moves the next bytes into the pipe inside the kernel, up to `max` of them, which it must have room for; 0 means that
    /// there are no more, none that they have to be read.
    fn read_into(&mut self, pipe: &Pipe, max: usize) -> Result<Option<usize>> {
        let _ = (pipe, max);
        Ok(None)
    }

    /// Ends the transfer and says whether all went well: the server confirmed it, the file did not change
    /// meanwhile. What was read may be used only after this.
    fn finish(&mut self) -> Result<()>;
}

/// A source of bytes that are in memory: metadata and lock files.
pub struct Bytes<'a>(pub &'a [u8]);

impl Source for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = buffer.len().min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A file to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewFile<'a> {
    /// Its final path.
    pub path: &'a RelPath,
    /// The path in the same directory under which its bytes land first.
    pub partial: &'a RelPath,
    /// Its size in bytes: the source must yield exactly this much, `resume_at` included.
    pub size: u64,
    /// The modification time it is to have; none leaves it to the target.
    pub mtime: Option<crate::time::Timestamp>,
    /// The rights it is to have, below 0o1000; none leaves it those of the file that it replaces, or of a new one.
    pub mode: Option<u32>,
    /// How many bytes lie under the partial name already and are to be kept; the source starts there. Where the
    /// partial file has another size by now, the write fails with `Changed`.
    pub resume_at: u64,
    /// What is expected at `path` now; anything else there fails with `Changed` before it is replaced. None:
    /// nothing was there when it was listed.
    pub replaces: Option<Stat>,
    /// Where what is at `path` goes instead of being replaced (trash, the loser of a conflict); its directory exists.
    pub set_aside: Option<&'a RelPath>,
    /// Whether a transfer that breaks off may leave its bytes under the partial name for the next try.
    pub keep_partial: bool,
}

/// What became of a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The file as this target reports it now.
    pub stat: Stat,
    /// Whether it has the mtime that was asked for; never `Unknown` when one was asked for.
    pub times: Times,
    /// Its inode, see [`Entry::inode`]; 0 where this target has none.
    pub inode: u64,
    /// What it holds, in the short form of [`Digest::short`], where it is to be recorded: whoever had it copied looks.
    pub digest: Option<u64>,
}

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staging {
    /// It is written for good.
    Placed(Written),
    /// It is whole under its partial name, but not yet safe from a power cut.
    Staged,
}

/// Watches a write: counts, slows down, remembers, stops.
pub trait Watch {
    /// Called after each piece of at most a few hundred KiB. An error stops the transfer.
    fn moved(&mut self, bytes: u64) -> Result<()>;

    /// Called before the first byte is written under the final name itself, where no partial name can be used: until the file
    /// is placed, what is there may be a piece of it.
    fn overwriting(&mut self) {}

    /// Called when all bytes are safe under the partial name, right before the rename, with the file as it will
    /// appear. An error stops the write before anything is replaced.
    fn placing(&mut self, stat: &Stat, times: Times) -> Result<()>;
}

/// A watch for writes that need none: small files of our own.
pub struct Unwatched;

impl Watch for Unwatched {
    fn moved(&mut self, _bytes: u64) -> Result<()> {
        Ok(())
    }

    fn placing(&mut self, _stat: &Stat, _times: Times) -> Result<()> {
        Ok(())
    }
}

/// A watch that only waits for the file to be placed.
struct Placing<F>(F);

impl<F: FnMut(&Stat, Times)> Watch for Placing<F> {
    fn moved(&mut self, _bytes: u64) -> Result<()> {
        Ok(())
    }

    fn placing(&mut self, stat: &Stat, times: Times) -> Result<()> {
        (self.0)(stat, times);
        Ok(())
    }
}

/// An entry to be renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renaming {
    /// What it is called.
    pub from: RelPath,
    /// What it is to be called.
    pub to: RelPath,
}

/// What a file is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// Its inode, see [`Entry::inode`].
    pub inode: u64,
    /// When it was made, where the file system tells: an inode is given to another file as soon as it is free.
    pub born: Option<crate::time::Timestamp>,
}

/// Something to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// A file, or a link itself.
    File(RelPath),
    /// A directory, which must be empty.
    Dir(RelPath),
}

impl Removal {
    /// What is to be removed.
    pub const fn path(&self) -> &RelPath {
        match self {
            Self::File(path) | Self::Dir(path) => path,
        }
    }
}

/// A digest algorithm that servers offer for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// MD5: against accidents only.
    Md5,
    /// CRC-32 as in zip: against accidents only.
    Crc32,
}

impl Algorithm {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Md5, Self::Crc32];
}

/// A file's digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// How it was computed.
    pub algorithm: Algorithm,
    /// The digest, most significant byte first.
    pub bytes: Vec<u8>,
}

impl Digest {
    /// Its first eight bytes: enough to tell an unchanged file from a changed one, which differ by chance in one of 2^64 cases.
    pub fn short(&self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.bytes.first_chunk()?))
    }
}

/// Reads a small file of ours whole; none when it is not there.
///
/// Fails with `Metadata` when it is larger than `limit` bytes.
pub fn load(target: &mut dyn Replica, file: &RelPath, limit: usize) -> Result<Option<Vec<u8>>> {
    let mut source = match target.open(file, 0) {
        Ok(source) => source,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            count => content.extend_from_slice(&buffer[..count]),
        }
        if content.len() > limit {
            return Err(ErrorKind::Metadata(format!(
                "{file} is larger than {limit} bytes; it cannot be ours"
            ))
            .into());
        }
    }
    source.finish()?;
    Ok(Some(content))
}

/// Reads a small file that is to be copied whole; `size` is how large it was listed.
pub fn read_whole(size: u64, source: &mut dyn Source, watch: &mut dyn Watch) -> Result<Box<[u8]>> {
    let listed = usize::try_from(size).map_err(|_| ErrorKind::Unsupported("it is not small"))?;
    // One byte more shows a file that has grown.
    let mut bytes = vec![0; listed + 1];
    let filled = fill(source, &mut bytes)?;
    watch.moved(filled as u64)?;
    if filled != listed {
        return Err(checks::misread(source));
    }
    source.finish()?;
    bytes.truncate(filled);
    Ok(bytes.into_boxed_slice())
}

/// Writes a small file of ours, replacing what is there.
pub fn save(
    replica: &mut dyn Replica,
    path: &RelPath,
    content: &[u8],
    owner: PartOwner,
) -> Result<()> {
    let name = path.name().expect("our files have names");
    // Always the same, so that one that was left is taken the next time, even where nobody would see it.
    let partial_bytes = partial_name(owner, name, 0, None);
    let partial = path
        .parent()
        .join(Name::new(&partial_bytes).expect("partial names are good names"));
    let there = look_up_one(replica, path);
    let file = NewFile {
        path,
        partial: &partial,
        size: content.len() as u64,
        mtime: None,
        mode: None,
        resume_at: 0,
        replaces: there.doing(|| format!("looking for {path}"))?,
        set_aside: None,
        keep_partial: false,
    };
    replica
        .write(&file, &mut Bytes(content), &mut Unwatched)
        .map(drop)
        .doing(|| format!("writing {path}"))
}

/// A file of up to this many bytes is small: a round trip costs more than it does.
pub const SMALL_BYTES: u64 = 64 * 1024;

/// How much of each of two files is compared at a time, in bytes.
const COMPARE_BYTES: usize = 32 * 1024;

/// Whether two files, each of its own replica, hold the same bytes; both are read.
pub fn same_bytes(
    one: (&mut dyn Replica, &RelPath),
    other: (&mut dyn Replica, &RelPath),
) -> Result<bool> {
    let mut sources = [one.0.open(one.1, 0)?, other.0.open(other.1, 0)?];
    let mut buffers = [vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]];
    loop {
        let mut counts = [0; 2];
        for ((source, buffer), count) in sources.iter_mut().zip(&mut buffers).zip(&mut counts) {
            *count = fill(source.as_mut(), buffer)?;
        }
        let [one, other] = &buffers;
        if one[..counts[0]] != other[..counts[1]] {
            return Ok(false);
        }
        if counts[0] == 0 {
            sources.iter_mut().try_for_each(|source| source.finish())?;
            return Ok(true);
        }
    }
}

/// What is at that path.
pub fn look_up_one(target: &mut dyn Replica, path: &RelPath) -> Result<Option<Stat>> {
    target
        .look_up(std::slice::from_ref(path))
        .pop()
        .expect("one answer for one question")
}

/// The short digest ([`Digest::short`]) of a file that still is what was shown of it; none where it is not, or where its replica
/// computes none.
pub fn short_digest(
    replica: &mut dyn Replica,
    file: &RelPath,
    shown: &Stat,
) -> Result<Option<u64>> {
    let Some(digest) = replica.digest(file, &[Algorithm::Sha256])? else {
        return Ok(None);
    };
    let now = look_up_one(replica, file)?;
    let is_same = now.is_some_and(|now| now.is_as_shown(shown.size, shown.mtime));
    Ok(digest.short().filter(|_| is_same))
}

/// Reads until the buffer is full or there is no more; how many bytes there were.
pub(crate) fn fill(source: &mut dyn Source, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Presents a source to code that wants [`io::Read`].
pub struct Reader<'a>(pub &'a mut dyn Source);

impl io::Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(io::Error::other)
    }
}
