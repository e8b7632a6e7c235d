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
        // Whoever set it aside ended before the next one was written.
        Verdict::None if dir.as_ref().is_some_and(|dir| opening.has_set_aside(dir)) => {
            notices.push(format!(
                "the archive in {} was set aside, and none was written since; both sides meet as for the first time, and nothing is deleted in this run",
                home.shown(b"")
            ));
            (Archive::nothing(peer), false)
        }
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
        if elsewhere == self.home
            || !elsewhere.is_in_reach()
            || !elsewhere.find()?.is_some_and(|dir| is_there(&dir))
        {
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

    fn has_set_aside(&self, dir: &OwnedFd) -> bool {
        [&self.names.copied, &self.names.damaged]
            .into_iter()
            .any(|name| system::status_at(dir.as_fd(), name).is_ok())
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
            Found::Whole(header, index) => (header, *index),
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
            Found::Whole(_, index) => *index,
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
        if let (Some(dir), Mode::ReadWrite) = (dir, self.mode) {
            // What a killed run had begun, or reserved room for.
            remove(dir, &self.names.new_archive).doing(doing)?;
        }
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
                    left.is_foreign = true;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::path::RelPath;
    use crate::sync::record::archive::Change;
    use crate::sync::record::save::save;
    use crate::sync::record::scene::{Scene, file, note, path, place, set, settled, told};

    fn open_at(home: &Home, elsewhere: Option<&Home>, scene: &Scene) -> Result<Opened> {
        let mode = Mode::ReadWrite;
        open(home, elsewhere, &scene.root, &scene.peer, mode, false)
    }

    fn recorded(name: &str) -> Scene {
        let scene = Scene::new(name);
        scene.record(&[
            ("", settled()),
            ("d", settled()),
            ("d", set(b"caf\xe9", file(1))),
        ]);
        scene
    }

    /// Opens what should be set aside, and looks at it.
    fn assert_set_aside(scene: &Scene, to: &[u8]) {
        let before = std::fs::read(scene.archive()).unwrap();
        let dry = scene.open_in(Mode::ReadOnly);
        assert!(dry.archive.is_first_meeting() && !dry.may_delete);
        assert!(scene.archive().exists(), "a dry run writes nothing");
        let opened = scene.open();
        assert!(opened.archive.is_first_meeting() && !opened.may_delete);
        assert_eq!(opened.notices.len(), 1, "{:?}", opened.notices);
        assert!(!scene.archive().exists());
        assert_eq!(std::fs::read(scene.file(to)).unwrap(), before);
        // That run was cut off before it recorded anything.
        drop(opened);
        let opened = scene.open();
        assert!(opened.archive.is_first_meeting() && !opened.may_delete);
        assert_eq!(opened.notices.len(), 1, "{:?}", opened.notices);
        note(&opened, &[("", settled())]);
        scene.save(&opened);
        let opened = scene.open();
        assert!(opened.may_delete && opened.notices.is_empty());
        assert!(!opened.archive.is_first_meeting());
    }

    #[test]
    fn an_archive_that_is_not_whole_is_set_aside() {
        let scene = recorded("open-damaged");
        let whole = std::fs::read(scene.archive()).unwrap();
        for end in 0..whole.len() {
            std::fs::write(scene.archive(), &whole[..end]).unwrap();
            let opened = scene.open_in(Mode::ReadOnly);
            assert!(
                !opened.may_delete && opened.archive.is_first_meeting(),
                "{end}"
            );
        }
        std::fs::write(scene.archive(), [&whole[..], b"x"].concat()).unwrap();
        assert_set_aside(&scene, &scene.names.damaged);
    }

    #[test]
    fn a_changed_byte_anywhere_is_damage() {
        let scene = recorded("open-flipped");
        let whole = std::fs::read(scene.archive()).unwrap();
        let before = told(&scene.open());
        for place in 0..whole.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = whole.clone();
                changed[place] ^= flip;
                std::fs::write(scene.archive(), &changed).unwrap();
                let opened = scene.open_in(Mode::ReadOnly);
                assert!(!opened.may_delete, "{place} {flip}");
            }
        }
        std::fs::write(scene.archive(), &whole).unwrap();
        assert_eq!(told(&scene.open()), before);
    }

    #[test]
    fn a_copy_in_a_new_root_is_recognised() {
        let scene = recorded("open-copied");
        let other = Scene::new("open-copy");
        std::fs::create_dir(other.home.path()).unwrap();
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .args([scene.archive(), other.archive()])
            .status();
        assert!(copied.unwrap().success());
        assert_set_aside(&other, &other.names.copied);
    }

    #[test]
    fn an_older_archive_over_the_newer_one_is_recognised() {
        let scene = recorded("open-restored");
        let backup = scene.scratch.join("backup");
        std::fs::copy(scene.archive(), &backup).unwrap();
        scene.record(&[("d", set(b"new", file(2)))]);
        // As `cp` does it: into the file that is there.
        std::fs::copy(&backup, scene.archive()).unwrap();
        assert_set_aside(&scene, &scene.names.copied);
    }

    #[test]
    fn a_file_of_another_archive_is_recognised() {
        let scene = recorded("open-linked");
        let other = recorded("open-linked-other");
        std::fs::remove_file(scene.archive()).unwrap();
        std::fs::hard_link(other.archive(), scene.archive()).unwrap();
        // It is the same file, and so no copy; a restored one is a new file.
        assert!(scene.open().may_delete);
        let bytes = std::fs::read(other.archive()).unwrap();
        let beside = scene.file(b"restored");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(&beside, scene.archive()).unwrap();
        assert_set_aside(&scene, &scene.names.copied);
    }

    #[test]
    fn a_root_that_is_renamed_keeps_its_archive() {
        let mut scene = recorded("open-renamed");
        let moved = scene.scratch.join("moved");
        std::fs::rename(&scene.root, &moved).unwrap();
        scene.home = Home::in_root(&moved);
        scene.root = moved;
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(scene.archive(), mode).unwrap();
        let opened = scene.open();
        assert!(opened.may_delete && !opened.archive.is_first_meeting());
    }

    #[test]
    fn in_a_state_directory_another_root_of_that_path_is_recognised() {
        let mut scene = Scene::new("open-state");
        scene.home = Home::in_state(&scene.scratch.join("state"), &scene.root);
        scene.record(&[("", settled())]);
        assert_eq!(std::fs::read_dir(&scene.root).unwrap().count(), 0);
        assert!(scene.open().may_delete);
        std::fs::rename(&scene.root, scene.scratch.join("old")).unwrap();
        std::fs::create_dir(&scene.root).unwrap();
        assert_set_aside(&scene, &scene.names.copied);
    }

    #[test]
    fn in_a_state_directory_a_journal_belongs_to_its_root() {
        let mut scene = Scene::new("open-state-journal");
        scene.home = Home::in_state(&scene.scratch.join("state"), &scene.root);
        scene.be_killed(&[("", settled())]);
        assert!(!scene.open().archive.is_first_meeting());
        std::fs::rename(&scene.root, scene.scratch.join("old")).unwrap();
        std::fs::create_dir(&scene.root).unwrap();
        assert!(scene.open().archive.is_first_meeting());
    }

    #[test]
    fn an_archive_in_the_other_place_stops_the_run() {
        let scene = recorded("open-elsewhere");
        let state = Home::in_state(&scene.scratch.join("state"), &scene.root);
        let usage = |opened: Result<Opened>| {
            let error = opened.err().expect("it is refused");
            assert!(matches!(error.kind(), ErrorKind::Usage(_)), "{error}");
            error.to_string()
        };
        let only = usage(open_at(&state, Some(&scene.home), &scene));
        assert!(
            only.contains(".coracle/archive-") && only.contains("--state-dir"),
            "{only}"
        );
        let opened = open_at(&state, None, &scene).unwrap();
        note(&opened, &[("", settled())]);
        save(&state, &opened.archive, &opened.journal).unwrap();
        let both = usage(open_at(&scene.home, Some(&state), &scene));
        assert!(
            both.contains("two archives") && both.contains("/state/"),
            "{both}"
        );
        std::fs::remove_dir_all(state.path()).unwrap();
        assert!(open_at(&scene.home, Some(&state), &scene).is_ok());
    }

    fn refusal(scene: &Scene) -> String {
        let error = open_at(&scene.home, None, scene)
            .err()
            .expect("it is refused");
        assert!(matches!(error.kind(), ErrorKind::Metadata(_)), "{error}");
        assert!(
            scene.archive().symlink_metadata().is_ok(),
            "nothing was done"
        );
        error.to_string()
    }

    /// Puts other words into an archive, and the checksum that fits.
    fn rewrite(scene: &Scene, from: &str, to: &str) {
        let text = String::from_utf8(std::fs::read(scene.archive()).unwrap()).unwrap();
        let body = &text[..text.rfind("{\"end\":").unwrap()];
        let mut changed = body.replace(from, to).into_bytes();
        assert_ne!(changed, body.as_bytes());
        let mut hash = crate::path::Fnv64::new();
        hash.update(&changed);
        let lines = changed.iter().filter(|byte| **byte == b'\n').count();
        crate::sync::record::header::write_end(lines as u64, hash.finish(), &mut changed);
        std::fs::write(scene.archive(), changed).unwrap();
    }

    #[test]
    fn what_cannot_be_used_is_an_error_and_stays() {
        let scene = recorded("open-newer");
        rewrite(&scene, "{\"coracle\":1,", "{\"coracle\":2,");
        assert!(refusal(&scene).contains("has format 2"));
        rewrite(&scene, "{\"coracle\":2,", "{\"coracle\":1,\"later\":[1],");
        assert!(scene.open().may_delete);
        rewrite(&scene, "bob@nas", "eve@nas");
        assert!(refusal(&scene).contains("eve@nas"));
        std::fs::remove_file(scene.archive()).unwrap();
        std::os::unix::fs::symlink("/dev/null", scene.archive()).unwrap();
        assert!(refusal(&scene).contains("cannot be read"));
        std::fs::remove_file(scene.archive()).unwrap();
        std::fs::create_dir(scene.archive()).unwrap();
        assert!(refusal(&scene).contains("is no file"));
    }

    #[test]
    fn an_archive_of_another_user_is_an_error() {
        let scene = recorded("open-owner");
        if system::effective_user() == 0 {
            std::os::unix::fs::chown(scene.archive(), Some(12_345), None).unwrap();
            assert!(refusal(&scene).contains("belongs to user 12345"));
        }
    }

    #[test]
    fn a_home_that_is_a_link_is_not_followed() {
        let scene = Scene::new("open-link");
        std::os::unix::fs::symlink(scene.scratch.join(""), scene.home.path()).unwrap();
        assert!(open_at(&scene.home, None, &scene).is_err());
    }

    #[test]
    fn the_home_is_for_its_user_alone_and_ignored_by_git() {
        let scene = recorded("open-mode");
        let home = std::fs::metadata(scene.home.path()).unwrap();
        assert_eq!(home.mode() & 0o777, 0o700);
        let ignore = std::fs::read(scene.home.path().join(".gitignore")).unwrap();
        assert_eq!(ignore, b"*\n");
        assert_eq!(
            std::fs::metadata(scene.archive()).unwrap().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn each_peer_has_an_archive_of_its_own() {
        let mut scene = recorded("open-peers");
        scene.peer = PeerKey::named("ftp://eve@nas:21/x".into());
        scene.names = Names::of(&scene.peer);
        assert!(scene.open().archive.is_first_meeting());
        scene.record(&[("e", settled())]);
        assert_eq!(scene.left().len(), 2);
    }

    #[test]
    fn a_journal_of_a_set_aside_archive_is_set_aside_with_it() {
        let scene = recorded("open-aside-journal");
        scene.be_killed(&[("e", settled())]);
        let whole = std::fs::read(scene.archive()).unwrap();
        std::fs::write(scene.archive(), &whole[1..]).unwrap();
        let opened = scene.open();
        assert!(opened.archive.is_first_meeting() && opened.journal.is_empty());
        assert!(!scene.journal().exists());
    }

    const META: &str = r#"{"_disclaimer":"x","_file_version":3,"_time":1,"_time_str":"","_version":"4.1.0","mtimes":{},"peer_sync":{
        "nas/x":{":last_sync":1700000009.5,"b.txt":{"m":1700000000.25,"s":5,"u":1700000005},"a":{"m":null,"s":null,"u":1}}}}"#;

    fn lay(scene: &Scene, dir: &str, text: &str) {
        let dir = scene.root.join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(".pyftpsync-meta.json"), text).unwrap();
    }

    fn meta(scene: &Scene, dir: &str) -> Option<String> {
        std::fs::read_to_string(scene.root.join(dir).join(".pyftpsync-meta.json")).ok()
    }

    fn with_others() -> String {
        META.replace(
            "\"peer_sync\":{",
            "\"mine\":[1],\"peer_sync\":{\"other/y\":{\"z\":1},",
        )
    }

    fn assert_adopted(opened: &Opened) {
        let dirs: Vec<RelPath> = opened.archive.dirs().collect();
        assert_eq!(dirs, [path(""), path("a"), path("a/b"), path("a-")]);
        for (dir, block) in told(opened) {
            assert!(block.facts().adopted && block.facts().settled, "{dir}");
            assert_eq!(block.len(), 2);
            assert_eq!(
                block.find(b"a").unwrap().what,
                crate::sync::record::What::Dir
            );
            let found = block.find(b"b.txt").unwrap();
            let crate::sync::record::What::File(shown) = found.what else {
                panic!("{found:?}");
            };
            assert_eq!(shown.local, shown.remote);
            assert_eq!(shown.local.size, 5);
            let mtime = shown.local.mtime.unwrap();
            assert_eq!(mtime.at.as_nanos(), 1_700_000_000_250_000_000);
            assert_eq!(mtime.precision, crate::replica::Precision::Close);
        }
    }

    fn pyftpsync_was_here(name: &str) -> Scene {
        let scene = Scene::new(name);
        for dir in ["", "a/b", "a-"] {
            lay(&scene, dir, META);
        }
        lay(&scene, "a", &with_others());
        lay(&scene, "foreign", &META.replace("nas/x", "nas/y"));
        std::os::unix::fs::symlink(scene.root.join("a"), scene.root.join("link")).unwrap();
        scene
    }

    #[test]
    fn what_pyftpsync_recorded_is_taken_over_and_taken_out() {
        let scene = pyftpsync_was_here("open-adopt");
        let dry = scene.open_in(Mode::ReadOnly);
        assert_adopted(&dry);
        assert!(!scene.home.path().exists());
        let opened = scene.open();
        assert_adopted(&opened);
        assert!(opened.may_delete);
        assert!(meta(&scene, "a/b").is_some(), "nothing is safe yet");
        assert_eq!(scene.left(), [""; 0]);
        assert_eq!(scene.save(&opened), [""; 0]);
        for dir in ["", "a/b", "a-"] {
            assert_eq!(meta(&scene, dir), None);
        }
        assert!(meta(&scene, "foreign").unwrap().contains("nas/y"));
        let rest = meta(&scene, "a").unwrap();
        assert!(!rest.contains("nas/x") && !rest.contains("b.txt"), "{rest}");
        assert!(
            rest.contains(r#""peer_sync":{"other/y":{"z":1}}"#),
            "{rest}"
        );
        assert!(rest.contains(r#""mine":[1]"#), "{rest}");
        let opened = scene.open();
        assert_adopted(&opened);
        assert!(opened.notices.is_empty() && !opened.archive.header.is_adopting);
        scene.save(&opened);
        assert_eq!(scene.left().len(), 1);
    }

    #[test]
    fn a_killed_first_run_takes_over_once_more_and_goes_on() {
        let scene = pyftpsync_was_here("open-adopt-killed");
        scene.be_killed(&[
            ("a", set(b"new", file(1))),
            ("b", Change::MovedFrom(path("a/b"))),
        ]);
        let opened = scene.open();
        let dirs: Vec<RelPath> = opened.archive.dirs().collect();
        assert_eq!(dirs, [path(""), path("a"), path("a-"), path("b")]);
        assert_eq!(opened.archive.files_below(&path("")), 5);
        opened.journal.intend(&place("", b"x", 1)).unwrap();
        opened.journal.reserve(1000).unwrap();
        assert_eq!(scene.left().len(), 2);
        let opened = scene.open();
        assert_eq!(scene.left().len(), 1, "what was reserved is given back");
        scene.save(&opened);
        assert_eq!(meta(&scene, "a/b"), None);
        assert_eq!(scene.open().archive.files_below(&path("")), 5);
    }

    #[test]
    fn a_half_done_adoption_is_finished() {
        let scene = pyftpsync_was_here("open-adopt-half");
        let opened = scene.open();
        scene.save(&opened);
        rewrite(&scene, "\"number\":2", "\"adopting\":true,\"number\":2");
        lay(&scene, "a/b", META);
        assert!(scene.open_in(Mode::ReadOnly).archive.header.is_adopting);
        assert!(meta(&scene, "a/b").is_some());
        let opened = scene.open();
        assert_eq!(meta(&scene, "a/b"), None);
        scene.save(&opened);
        let opened = scene.open();
        assert!(!opened.archive.header.is_adopting);
        assert_adopted(&opened);
    }

    #[test]
    fn what_this_program_kept_in_these_files_counts_as_well() {
        let scene = Scene::new("open-adopt-own");
        let own = r#"{"_file_version":3,"mtimes":{},"peer_sync":{"ftp://bob@nas:21/x":{":last_sync":1,":proof":"00",
            "f":{"i":77,"m":5.5,"r":9,"s":3,"u":1}}}}"#;
        lay(&scene, "", own);
        let opened = scene.open();
        let block = opened.archive.block(&path("")).unwrap().unwrap();
        let record = block.find(b"f").unwrap();
        assert_eq!(record.ids.local, 77);
        let crate::sync::record::What::File(shown) = record.what else {
            panic!("{record:?}");
        };
        assert_eq!(shown.remote.mtime.unwrap().at.as_secs(), 9);
        scene.save(&opened);
        assert_eq!(meta(&scene, ""), None);
    }

    #[test]
    fn another_version_stops_the_run_and_migrate_goes_on() {
        let scene = pyftpsync_was_here("open-adopt-version");
        lay(&scene, "z", r#"{"_file_version":2,"peer_sync":{}}"#);
        let error = open_at(&scene.home, None, &scene).err().unwrap();
        assert!(
            matches!(error.kind(), ErrorKind::MetadataVersion(_)),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains("z/.pyftpsync-meta.json") && text.contains("--migrate"),
            "{text}"
        );
        let mode = Mode::ReadWrite;
        let opened = open(&scene.home, None, &scene.root, &scene.peer, mode, true).unwrap();
        assert!(opened.archive.is_first_meeting() && opened.may_delete);
        assert_eq!(scene.save(&opened), [""; 0]);
        assert!(meta(&scene, "a/b").is_some());
    }

    #[test]
    fn a_file_that_makes_no_sense_is_told_and_left() {
        let scene = pyftpsync_was_here("open-adopt-damaged");
        lay(&scene, "z", &META[..META.len() - 5]);
        let opened = scene.open();
        assert_adopted(&opened);
        let told = opened
            .notices
            .iter()
            .any(|notice| notice.contains("z/.pyftpsync-meta.json"));
        assert!(told, "{:?}", opened.notices);
        scene.save(&opened);
        assert!(meta(&scene, "z").is_some());
        assert!(!scene.open().archive.header.is_adopting);
    }

    #[test]
    fn nothing_is_taken_over_where_an_archive_was_set_aside() {
        let scene = pyftpsync_was_here("open-adopt-aside");
        std::fs::create_dir(scene.home.path()).unwrap();
        std::fs::write(scene.archive(), b"x").unwrap();
        let opened = scene.open();
        assert!(opened.archive.is_first_meeting() && !opened.may_delete);
        assert!(meta(&scene, "a").is_some());
    }
}
