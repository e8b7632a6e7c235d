//! Finds the archive of a peer, makes sure that it can be believed, and takes over what pyftpsync recorded where there is none.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::sync::record::adopt;
use crate::sync::record::archive_file::Archive;
use crate::sync::record::header::{FORMAT, Header, Seal};
use crate::sync::record::home::{self, Home, Names};
use crate::sync::record::index::{Found, Index};
use crate::sync::record::journal::{Journal, Keeper, Left, LeftFile, create_anew, remove};
use crate::sync::record::lines::Source;
use crate::sync::record::peer::PeerKey;
use crate::sync::record::pyftpsync::Keys;
use crate::sync::record::writer::Writer;
use crate::system::{self, FileKind};

/// What may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing, anywhere: a dry run.
    ReadOnly,
    /// All that is needed.
    ReadWrite,
}

/// An archive, and the journal that goes on with it.
pub struct Opened {
    /// What is remembered.
    pub archive: Archive,
    /// Where this run notes what it does.
    pub journal: Journal,
    /// What the user has to be told.
    pub notices: Vec<String>,
    /// False where both sides meet as for the first time although there was an archive: nothing is deleted in this run.
    pub may_delete: bool,
}

/// Opens the archive of this peer, and the journal that a killed run left beside it. `elsewhere` is the other one of the
/// two places where it could be.
///
/// An archive that is damaged or came with a copy is set aside and told. One that cannot be read, belongs to another user or
/// has a newer format is an error, and so are one in each place and one in the other place alone. Where there is none, what
/// pyftpsync recorded is taken over, unless `migrate` says that nothing old counts.
pub fn open(
    home: &Home,
    elsewhere: Option<&Home>,
    local_root: &Path,
    peer: &PeerKey,
    mode: Mode,
    migrate: bool,
) -> Result<Opened> {
    let opening = Opening {
        home,
        names: Names::of(peer),
        local_root,
        peer,
        mode,
    };
    let dir = home.find()?;
    if let Some(elsewhere) = elsewhere {
        opening.refuse_elsewhere(elsewhere, dir.as_ref())?;
    }
    let mut notices = Vec::new();
    let found = match &dir {
        Some(dir) => opening.read(dir)?,
        None => Verdict::None,
    };
    let (mut archive, may_delete) = match found {
        Verdict::Good(archive) => (*archive, true),
        Verdict::None if migrate => (Archive::nothing(peer), true),
        Verdict::None => (opening.adopt(&mut notices)?, true),
        Verdict::SetAside(aside) => {
            opening.set_aside(dir.as_ref(), aside, &mut notices)?;
            (Archive::nothing(peer), false)
        }
    };
    archive.local_root = local_root.to_owned();
    archive.header.root = home.root_seal(local_root);
    opening.finish_adoption(&mut archive, &mut notices)?;
    let journal = opening.journal(home.find()?.as_ref(), &mut archive)?;
    Ok(Opened {
        archive,
        journal,
        notices,
        may_delete,
    })
}

/// What lies in the place of an archive.
enum Verdict {
    None,
    Good(Box<Archive>),
    SetAside(Aside),
}

/// Why an archive is set aside.
#[derive(Debug, Clone, Copy)]
enum Aside {
    Copied,
    Damaged(&'static str),
}

struct Opening<'o> {
    home: &'o Home,
    names: Names,
    local_root: &'o Path,
    peer: &'o PeerKey,
    mode: Mode,
}

impl Opening<'_> {
    /// Two archives of one peer, or one where this run does not look: only the user can say what is meant.
    fn refuse_elsewhere(&self, elsewhere: &Home, dir: Option<&OwnedFd>) -> Result<()> {
        let name = &self.names.archive;
        let is_there = |dir: &OwnedFd| system::status_at(dir.as_fd(), name).is_ok();
        if elsewhere == self.home || !elsewhere.find()?.is_some_and(|dir| is_there(&dir)) {
            return Ok(());
        }
        let other = elsewhere.shown(name);
        let refusal = if dir.is_some_and(is_there) {
            format!(
                "there are two archives for this peer, {} and {other}; remove the one that is out of date",
                self.home.shown(name)
            )
        } else {
            format!(
                "the archive for this peer is {other}, and this run would keep it in {}; run as before (with or without --state-dir), or move it there",
                self.home.shown(b"")
            )
        };
        Err(ErrorKind::Usage(refusal).into())
    }

    fn read(&self, dir: &OwnedFd) -> Result<Verdict> {
        let name = &self.names.archive;
        let file = match system::open_to_read(dir.as_fd(), name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verdict::None),
            Err(error) => return Err(self.unusable(format!("cannot be read: {error}"))),
        };
        let seal = self.check_file(dir, &file)?;
        let source = Source::File(file);
        let found = Index::read(&source)
            .map_err(|error| self.unusable(format!("cannot be read: {error}")))?;
        let (header, index) = match found {
            Found::Whole(header, index) => (header, index),
            Found::Damaged(why) => return Ok(Verdict::SetAside(Aside::Damaged(why))),
        };
        if header.format > FORMAT {
            return Err(self.unusable(format!(
                "has format {}, and this program reads format {FORMAT}: use the newer one that wrote it",
                header.format
            )));
        }
        if header.peer != self.peer.name() {
            return Err(self.unusable(format!(
                "is the archive of {}, not of {}: move it away",
                header.peer,
                self.peer.name()
            )));
        }
        let root = self.home.root_seal(self.local_root);
        if !seal.may_be(header.seal) || !root.may_be(header.root) {
            return Ok(Verdict::SetAside(Aside::Copied));
        }
        let archive = Archive::of(header, self.peer, source, index);
        Ok(Verdict::Good(Box::new(archive)))
    }

    /// Makes sure that it is a file of this user's; says by what it is known.
    fn check_file(&self, dir: &OwnedFd, file: &File) -> Result<Seal> {
        let unreadable = |error| self.unusable(format!("cannot be read: {error}"));
        let status = system::status(file.as_fd()).map_err(unreadable)?;
        if status.kind != FileKind::File {
            return Err(self.unusable("is no file".to_owned()));
        }
        let user = system::effective_user();
        if status.owner.0 != user && system::keeps_owners(dir.as_fd()) {
            return Err(self.unusable(format!(
                "belongs to user {}, and this run is of user {user}: run as that user, or give it to this one",
                status.owner.0
            )));
        }
        home::seal(file).map_err(unreadable)
    }

    fn unusable(&self, why: String) -> Error {
        ErrorKind::Metadata(format!(
            "{} {why}; nothing was done",
            self.home.shown(&self.names.archive)
        ))
        .into()
    }

    /// Puts an archive out of the way where the user can look at it, and what a killed run noted to go on with it.
    fn set_aside(
        &self,
        dir: Option<&OwnedFd>,
        aside: Aside,
        notices: &mut Vec<String>,
    ) -> Result<()> {
        let archive = self.home.shown(&self.names.archive);
        let (to, why) = match aside {
            Aside::Copied => (
                &self.names.copied,
                "was not written here: it came with a copy of its directory, or with one that was restored, and may be older or newer than the files beside it".to_owned(),
            ),
            Aside::Damaged(why) => (&self.names.damaged, format!("is damaged ({why})")),
        };
        let verb = match self.mode {
            Mode::ReadWrite => "it is",
            Mode::ReadOnly => "a run would have it",
        };
        notices.push(format!(
            "{archive} {why}; {verb} set aside as {}, both sides meet as for the first time, and nothing is deleted in this run",
            self.home.shown(to)
        ));
        let Some(dir) = dir.filter(|_| self.mode == Mode::ReadWrite) else {
            return Ok(());
        };
        system::rename((dir.as_fd(), &self.names.archive), (dir.as_fd(), to))
            .map_err(ErrorKind::Disk)
            .doing(|| format!("setting {archive} aside"))
    }

    /// Takes over what pyftpsync recorded: into a file that nobody sees, or for a dry run into memory.
    fn adopt(&self, notices: &mut Vec<String>) -> Result<Archive> {
        let header = Header {
            is_adopting: true,
            ..Archive::nothing(self.peer).header
        };
        let mut hidden = Hidden {
            opening: self,
            written: Written::Nothing,
            failure: None,
        };
        let mut writer = Writer::begin(&header, &mut hidden);
        let mut count = 0_u64;
        let taken = adopt::each_block(
            self.local_root,
            &Keys::of(self.peer),
            notices,
            &mut |dir, block| {
                count += 1;
                writer
                    .block(dir, block)
                    .map_err(|error| ErrorKind::Disk(error).into())
            },
        );
        if taken.is_ok() && count == 0 {
            return Ok(Archive::nothing(self.peer));
        }
        let written = taken.and_then(|()| {
            let ended = writer.end();
            ended
                .map(|_| ())
                .map_err(|error| ErrorKind::Disk(error).into())
        });
        let source = hidden
            .into_source(written)
            .doing(|| "taking over what pyftpsync recorded")?;
        let index = match Index::read(&source).map_err(ErrorKind::Disk)? {
            Found::Whole(_, index) => index,
            Found::Damaged(why) => return Err(ErrorKind::Metadata(why.to_owned()).into()),
        };
        let many = if count == 1 {
            "directory"
        } else {
            "directories"
        };
        notices.push(format!(
            "what pyftpsync recorded of {count} {many} is taken over"
        ));
        let mut archive = Archive::of(header, self.peer, source, index);
        archive.is_unwritten = true;
        Ok(archive)
    }

    /// Takes out of pyftpsync's files what an earlier run took over and could not take out.
    fn finish_adoption(&self, archive: &mut Archive, notices: &mut Vec<String>) -> Result<()> {
        let was_written = archive.header.number > 0;
        if !archive.header.is_adopting || !was_written || self.mode == Mode::ReadOnly {
            return Ok(());
        }
        if adopt::take_out(self.local_root, &Keys::of(self.peer), notices)? {
            archive.header.is_adopting = false;
            archive.is_unwritten = true;
        }
        Ok(())
    }

    /// Opens the journal, and lays what a killed run left in it over the archive.
    fn journal(&self, dir: Option<&OwnedFd>, archive: &mut Archive) -> Result<Journal> {
        let name = &self.names.journal;
        let doing = || format!("reading {}", self.home.shown(name));
        let mut left = Left::default();
        let opened = dir.map(|dir| system::open_to_read(dir.as_fd(), name));
        match opened {
            None => {}
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Some(Err(error)) => return Err(ErrorKind::Disk(error)).doing(doing),
            Some(Ok(file)) => {
                let seal = home::seal(&file).map_err(ErrorKind::Disk).doing(doing)?;
                let source = Source::File(file);
                left.file = LeftFile::read(&source, seal, &archive.header)
                    .map_err(ErrorKind::Disk)
                    .doing(doing)?;
                if left.file.is_some() {
                    archive.lay_over(source).doing(doing)?;
                } else if let (Some(dir), Mode::ReadWrite) = (dir, self.mode) {
                    // It goes on with an archive that is no longer here, and must never seem to go on with another one.
                    remove(dir, name).doing(doing)?;
                }
            }
        }
        left.lines = archive.left_lines();
        left.moves = archive.moves()?;
        let keeper = match self.mode {
            Mode::ReadOnly => None,
            Mode::ReadWrite => Some(Keeper::new(
                self.home,
                &self.names,
                &archive.header,
                archive.index.end(),
                left.file.clone(),
            )),
        };
        Ok(Journal::of(keeper, left))
    }
}

/// An archive that is never seen: a file without a name, or memory where nothing may be written.
struct Hidden<'o> {
    opening: &'o Opening<'o>,
    written: Written,
    /// What went wrong, where it was more than a write.
    failure: Option<Error>,
}

enum Written {
    Nothing,
    InFile(File, File),
    InMemory(Vec<u8>),
}

impl Hidden<'_> {
    fn begin(&self) -> Result<Written> {
        if self.opening.mode == Mode::ReadOnly {
            return Ok(Written::InMemory(Vec::new()));
        }
        let dir = self.opening.home.make()?;
        let name = &self.opening.names.new_archive;
        let file = create_anew(&dir, name)?;
        let to_read = system::open_to_read(dir.as_fd(), name).map_err(ErrorKind::Disk)?;
        remove(&dir, name)?;
        Ok(Written::InFile(file, to_read))
    }

    /// What was written, if all went well.
    fn into_source(self, outcome: Result<()>) -> Result<Source> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        outcome?;
        Ok(match self.written {
            Written::Nothing => Source::nothing(),
            Written::InFile(_, to_read) => Source::File(to_read),
            Written::InMemory(bytes) => Source::Memory(bytes),
        })
    }
}

impl Write for Hidden<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Written::Nothing = self.written {
            match self.begin() {
                Ok(written) => self.written = written,
                Err(failure) => {
                    self.failure = Some(failure);
                    return Err(io::ErrorKind::Other.into());
                }
            }
        }
        match &mut self.written {
            Written::InFile(file, _) => file.write(bytes),
            Written::InMemory(memory) => memory.write(bytes),
            Written::Nothing => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
