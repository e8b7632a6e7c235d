//! The journal of a run: each step before it replaces or deletes anything, and what is true of the records after it.
//!
//! Its first line names the archive that it goes on with, so one that was left beside another archive is not believed.
//! Lines are appended; a kill tears at most the last one. Nothing is synced to the disk: a power cut loses the memory of
//! finished work, never the truth of what is left, and the flash is spared.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Doing, Error, ErrorKind, Result};
use crate::path::RelPath;
use crate::sync::record::archive::{Change, Intent};
use crate::sync::record::format;
use crate::sync::record::header::{Header, HeaderOf, Seal};
use crate::sync::record::home::{self, Home, Names};
use crate::sync::record::lines::{Lines, Source};
use crate::system;

/// How much is noted before it is written, in bytes.
const BUFFER_BYTES: usize = 32 << 10;

/// Where Linux tells this boot from all others.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// This boot of the machine; empty where it does not tell.
pub(super) fn current_boot() -> String {
    let text = std::fs::read_to_string(BOOT_ID_FILE).unwrap_or_default();
    text.trim().to_owned()
}

/// A journal to be appended to, by any thread.
#[derive(Debug)]
pub struct Journal {
    /// None where nothing is kept.
    pub(super) keeper: Option<Keeper>,
    left_lines: u64,
    moves: Vec<(RelPath, RelPath)>,
    is_same_boot: bool,
}

/// What a killed run left, and what a journal has to know to go on with it.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// How many lines say something.
    pub(super) lines: u64,
    /// Whether there was a journal that goes on with no archive that is here.
    pub(super) is_foreign: bool,
    /// Renames of directories that were begun and not ended.
    pub(super) moves: Vec<(RelPath, RelPath)>,
    /// What the file is like; none where there is none to go on with.
    pub(super) file: Option<LeftFile>,
}

/// A journal's file that a killed run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftFile {
    /// Where its last whole line ends. What is behind is torn, and makes room.
    bytes: u64,
    /// The boots of the runs that wrote it.
    boots: Vec<String>,
}

impl LeftFile {
    /// Looks at a journal; none when it does not go on with the archive of that header.
    pub(super) fn read(journal: &Source, seal: Seal, archive: &Header) -> io::Result<Option<Self>> {
        let mut lines = Lines::all(journal);
        let mut left = Self {
            bytes: 0,
            boots: Vec::new(),
        };
        while let Some(line) = lines.next()? {
            let header = Header::parse(HeaderOf::Journal, line.text).filter(|_| line.is_whole);
            match header {
                Some(header) => {
                    if !is_of(&header, seal, archive) {
                        return Ok(None);
                    }
                    left.boots.push(header.boot);
                }
                None if left.boots.is_empty() => return Ok(None),
                None => {}
            }
            if line.is_whole {
                left.bytes = line.offset + line.text.len() as u64 + 1;
            }
        }
        Ok((!left.boots.is_empty()).then_some(left))
    }
}

/// Whether a journal that begins so, in a file with that seal, goes on with that archive.
fn is_of(journal: &Header, seal: Seal, archive: &Header) -> bool {
    journal.format == archive.format
        && journal.peer == archive.peer
        && (journal.number, journal.id) == (archive.number, archive.id)
        && seal.may_be(journal.seal)
        && archive.root.may_be(journal.root)
}

impl Journal {
    /// A journal that keeps nothing, as that of a dry run.
    pub fn nowhere() -> Self {
        Self::of(None, Left::default())
    }

    /// A journal that goes on with what was left; it keeps nothing where there is no home.
    pub(super) fn of(keeper: Option<Keeper>, left: Left) -> Self {
        let is_same_boot = match &left.file {
            Some(file) => {
                let boot = current_boot();
                !boot.is_empty() && file.boots.iter().all(|of_left| *of_left == boot)
            }
            None => !left.is_foreign,
        };
        Self {
            keeper,
            left_lines: left.lines,
            moves: left.moves,
            is_same_boot,
        }
    }

    /// Notes a step that is about to be made. It is written when this returns.
    pub fn intend(&self, intent: &Intent) -> Result<()> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        let mut state = keeper.lock();
        state.enter(&intent.dir());
        format::write_intent(intent, &mut state.pending);
        state.lines += 1;
        keeper.write_out(&mut state)
    }

    /// Notes what is true of the records of that directory now.
    pub fn note(&self, dir: &RelPath, change: &Change) -> Result<()> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        let mut state = keeper.lock();
        state.note(dir, change);
        if state.pending.len() >= BUFFER_BYTES {
            keeper.write_out(&mut state)?;
        }
        Ok(())
    }

    /// Writes what is not yet written.
    pub fn flush(&self) -> Result<()> {
        match &self.keeper {
            Some(keeper) => keeper.write_out(&mut keeper.lock()),
            None => Ok(()),
        }
    }

    /// Whether nothing was noted, neither by this run nor by one that was killed.
    pub fn is_empty(&self) -> bool {
        let keeper = self.keeper.as_ref();
        self.left_lines == 0 && keeper.is_none_or(|keeper| keeper.lock().lines == 0)
    }

    /// Renames of directories, from and to, that a run began on the remote side and did not end.
    pub fn unfinished_moves(&self) -> Vec<(RelPath, RelPath)> {
        self.moves.clone()
    }

    /// Whether no run was surely cut off by a power cut: what a killed one left comes from this boot of the machine, or the last
    /// one came to its end and left nothing. If not, a partial file here may lack data that was never synced to the disk,
    /// whatever its size says.
    pub const fn is_same_boot(&self) -> bool {
        self.is_same_boot
    }

    /// Makes sure that there is room for that many bytes of notes, and for the next archive.
    pub fn reserve(&self, bytes: u64) -> Result<()> {
        match &self.keeper {
            Some(keeper) => keeper.reserve(bytes),
            None => Ok(()),
        }
    }
}

/// Who writes a journal.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) home: Home,
    pub(super) names: Names,
    /// What the first line says, but for the file's own seal.
    header: Header,
    /// How large the archive is that the next one is made of.
    archive_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Opened with the first write, so that a run with nothing to do writes nothing.
    file: Option<File>,
    /// What a killed run left.
    left: Option<LeftFile>,
    /// How much of the file is written. A write that failed is made again from here.
    written_bytes: u64,
    pending: Vec<u8>,
    /// The directory that the last line is about.
    dir: Option<RelPath>,
    /// How many lines of this run say something.
    lines: u64,
    /// The next archive, for which room is reserved.
    next: Option<File>,
}

impl Keeper {
    pub(super) fn new(
        home: &Home,
        names: &Names,
        archive: &Header,
        archive_bytes: u64,
        left: Option<LeftFile>,
    ) -> Self {
        let header = Header {
            boot: current_boot(),
            is_adopting: false,
            ..archive.clone()
        };
        Self {
            home: home.clone(),
            names: names.clone(),
            header,
            archive_bytes,
            state: Mutex::new(State {
                left,
                ..State::default()
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between two calls, also where another thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is pending, in one piece. The lock is held over it, for the order of lines is the order of writing.
    fn write_out(&self, state: &mut State) -> Result<()> {
        if state.pending.is_empty() {
            return Ok(());
        }
        let written = self.opened(state).and_then(|()| {
            let State {
                file,
                pending,
                written_bytes,
                ..
            } = state;
            let file = file.as_ref().expect("it was just opened");
            file.write_all_at(pending, *written_bytes).map_err(disk)?;
            *written_bytes += pending.len() as u64;
            pending.clear();
            Ok(())
        });
        written.doing(|| format!("writing {}", self.home.shown(&self.names.journal)))
    }

    /// Opens the file and puts the line before all else that says whose journal it is.
    fn opened(&self, state: &mut State) -> Result<()> {
        if state.file.is_some() {
            return Ok(());
        }
        let dir = self.home.make()?;
        let name = &self.names.journal;
        let file = match &state.left {
            Some(left) => {
                let file = system::open_to_write(dir.as_fd(), name).map_err(disk)?;
                file.set_len(left.bytes).map_err(disk)?;
                state.written_bytes = left.bytes;
                file
            }
            None => {
                remove(&dir, name)?;
                system::create_file(dir.as_fd(), name, 0o600).map_err(disk)?
            }
        };
        let header = Header {
            seal: home::seal(&file).map_err(disk)?,
            ..self.header.clone()
        };
        let mut before = Vec::new();
        header.write(HeaderOf::Journal, &mut before);
        before.append(&mut state.pending);
        state.pending = before;
        state.file = Some(file);
        Ok(())
    }

    fn reserve(&self, bytes: u64) -> Result<()> {
        let mut state = self.lock();
        let doing = || format!("reserving room in {}", self.home.shown(b""));
        self.opened(&mut state).doing(doing)?;
        self.write_out(&mut state)?;
        let dir = self.home.make()?;
        if state.next.is_none() {
            state.next = Some(create_anew(&dir, &self.names.new_archive).doing(doing)?);
        }
        let State {
            file: Some(file),
            next: Some(next),
            written_bytes,
            ..
        } = &*state
        else {
            return Ok(());
        };
        let for_archive = self.archive_bytes.saturating_add(bytes);
        let reserved = system::reserve(file.as_fd(), *written_bytes, bytes.max(1))
            .and_then(|()| system::reserve(next.as_fd(), 0, for_archive.max(1)));
        match reserved {
            Ok(()) => Ok(()),
            Err(error) if is_unsupported(&error) => {
                let free = system::file_system(dir.as_fd())
                    .map_err(disk)
                    .doing(doing)?;
                if free.free_bytes < for_archive.saturating_add(bytes) {
                    let full = io::Error::from_raw_os_error(libc::ENOSPC);
                    return Err(Error::new(ErrorKind::Disk(full)).while_doing(doing()));
                }
                Ok(())
            }
            Err(error) => Err(disk(error).while_doing(doing())),
        }
    }

    /// The file of the next archive: that for which room was reserved, or a new one.
    pub(super) fn next_archive(&self) -> Result<File> {
        if let Some(file) = self.lock().next.take() {
            return Ok(file);
        }
        create_anew(&self.home.make()?, &self.names.new_archive)
    }

    /// What was written so far, to be read.
    pub(super) fn written(&self) -> Result<Source> {
        let Some(dir) = self.home.find()? else {
            return Ok(Source::nothing());
        };
        let state = self.lock();
        if state.file.is_none() && state.left.is_none() {
            return Ok(Source::nothing());
        }
        let file = system::open_to_read(dir.as_fd(), &self.names.journal);
        file.map(Source::File).map_err(disk)
    }

    /// Ends the journal: all that it says stands in an archive, or there is nothing that it says.
    pub(super) fn remove(&self) -> Result<()> {
        let mut state = self.lock();
        let is_there = state.file.take().is_some() | state.left.take().is_some();
        let has_next = state.next.take().is_some();
        let Some(dir) = self.home.find()?.filter(|_| is_there || has_next) else {
            return Ok(());
        };
        if has_next {
            remove(&dir, &self.names.new_archive)?;
        }
        remove(&dir, &self.names.journal)
            .doing(|| format!("removing {}", self.home.shown(&self.names.journal)))
    }
}

impl State {
    /// Says which directory the next line is about.
    fn enter(&mut self, dir: &RelPath) {
        if self.dir.as_ref() != Some(dir) {
            format::write_single(b"in", dir.as_bytes(), &mut self.pending);
            self.dir = Some(dir.clone());
        }
    }

    fn note(&mut self, dir: &RelPath, change: &Change) {
        if let (Change::MovedFrom(_), Some(name)) = (change, dir.name()) {
            // A rename is a step of the directory that the renamed one got into.
            self.enter(&dir.parent());
            format::write_single(b"undone", name.as_bytes(), &mut self.pending);
        }
        self.enter(dir);
        self.lines += 1;
        let out = &mut self.pending;
        match change {
            Change::Set { .. } => {
                if let Some(record) = change.record() {
                    format::write_record(&record, out);
                }
            }
            Change::Forget { name } => format::write_single(b"forget", name, out),
            Change::Undone { name } => format::write_single(b"undone", name, out),
            Change::Part(part) => format::write_part(part, out),
            Change::NoPart { name } => format::write_single(b"nopart", name, out),
            Change::Facts(facts) => format::write_facts(facts, out),
            Change::Drop => format::write_drop(out),
            Change::MovedFrom(from) => format::write_single(b"moved", from.as_bytes(), out),
        }
    }
}

fn disk(error: io::Error) -> Error {
    ErrorKind::Disk(error).into()
}

/// Makes a file in the place of what a killed run may have left there.
pub(super) fn create_anew(dir: &impl AsFd, name: &[u8]) -> Result<File> {
    remove(dir, name)?;
    system::create_file(dir.as_fd(), name, 0o600).map_err(disk)
}

/// Removes a file of ours, if it is there.
pub(super) fn remove(dir: &impl AsFd, name: &[u8]) -> Result<()> {
    match system::remove_file(dir.as_fd(), name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// File systems that cannot reserve room: what is free is counted instead.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::ENODEV | libc::EPERM)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::record::scene::{Scene, file, forget, note, place, set, settled, told};

    #[test]
    fn a_killed_run_is_continued() {
        let scene = Scene::new("journal");
        scene.be_killed(&[("d", settled()), ("d", set(b"a", file(1)))]);
        let opened = scene.open();
        assert!(!opened.journal.is_empty() && opened.journal.is_same_boot());
        assert_eq!(opened.archive.files_below(&RelPath::root()), 1);
        note(&opened, &[("d", set(b"b", file(2)))]);
        opened.journal.flush().unwrap();
        let opened = scene.open();
        assert_eq!(opened.archive.files_below(&RelPath::root()), 2);
        scene.save(&opened);
        assert!(scene.open().journal.is_same_boot(), "nothing was left");
    }

    #[test]
    fn an_intent_is_written_at_once_and_notes_before_it() {
        let scene = Scene::new("journal-intent");
        let opened = scene.open();
        note(&opened, &[("d", set(b"a", file(1)))]);
        assert!(!scene.journal().exists());
        opened.journal.intend(&place("d", b"b", 2)).unwrap();
        let text = std::fs::read(scene.journal()).unwrap();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 4);
        let block = scene.open().archive.block(&RelPath::parse(b"d").unwrap());
        let block = block.unwrap().unwrap();
        assert_eq!(block.intents(), [place("d", b"b", 2)]);
        assert_eq!(block.len(), 1);
    }

    #[test]
    fn a_journal_torn_at_every_byte_tells_what_is_whole() {
        let scene = Scene::new("journal-torn");
        scene.record(&[("x", settled()), ("x", set(b"old", file(9)))]);
        let archive = std::fs::read(scene.archive()).unwrap();
        let changes = [
            ("x", set(b"caf\xe9", file(1))),
            ("y", set(b"b", file(2))),
            ("x", forget(b"old")),
            ("z", Change::MovedFrom(RelPath::parse(b"x").unwrap())),
            ("z", set(b"c", file(3))),
            ("y", Change::Drop),
        ];
        scene.be_killed(&changes);
        let whole = std::fs::read(scene.journal()).unwrap();
        let mut seen = Vec::new();
        for end in (0..=whole.len()).rev() {
            // In place, for a file that is made anew would be a copy.
            std::fs::write(scene.journal(), &whole[..end]).unwrap();
            let opened = scene.open_in(crate::sync::record::Mode::ReadOnly);
            let now = told(&opened);
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        assert_eq!(seen.len(), changes.len() + 1);
        assert_eq!(std::fs::read(scene.archive()).unwrap(), archive);
    }

    #[test]
    fn what_was_torn_makes_room_for_what_follows() {
        let scene = Scene::new("journal-tail");
        scene.be_killed(&[("x", set(b"a", file(1))), ("x", set(b"bbbbbbbb", file(2)))]);
        let whole = std::fs::read(scene.journal()).unwrap();
        for cut in [1, 2, 30] {
            std::fs::write(scene.journal(), &whole[..whole.len() - cut]).unwrap();
            scene.be_killed(&[("y", set(b"c", file(3)))]);
            let opened = scene.open();
            let dirs: Vec<String> = opened.archive.dirs().map(|dir| dir.to_string()).collect();
            assert_eq!(dirs, ["x", "y"]);
            assert_eq!(opened.archive.files_below(&RelPath::root()), 2, "{cut}");
        }
    }

    #[test]
    fn a_hole_hides_what_follows_until_a_directory_is_named() {
        let scene = Scene::new("journal-hole");
        scene.be_killed(&[
            ("x", set(b"a", file(1))),
            ("x", set(b"b", file(2))),
            ("y", set(b"c", file(3))),
            ("y", set(b"d", file(4))),
            ("z", set(b"e", file(5))),
        ]);
        let mut text = std::fs::read(scene.journal()).unwrap();
        let hole = text.windows(6).position(|six| six == b"{\"in\":").unwrap();
        let second = hole
            + 6
            + text[hole + 6..]
                .windows(6)
                .position(|six| six == b"{\"in\":")
                .unwrap();
        // All but the end of what names the second directory is lost.
        text[second - 20..second + 5].fill(0);
        std::fs::write(scene.journal(), &text).unwrap();
        let opened = scene.open();
        let files: Vec<(String, u64)> = told(&opened)
            .into_iter()
            .map(|(dir, block)| (dir.to_string(), block.files()))
            .collect();
        assert_eq!(files, [("x".to_owned(), 1), ("z".to_owned(), 1)]);
    }

    #[test]
    fn a_journal_of_another_archive_is_not_believed() {
        let scene = Scene::new("journal-foreign");
        scene.be_killed(&[("x", set(b"a", file(1)))]);
        let old = std::fs::read(scene.journal()).unwrap();
        scene.save(&scene.open());
        // The same bytes in the same place, and even the file may be the same to those who look at inodes.
        scene.be_killed(&[("y", set(b"b", file(2)))]);
        std::fs::write(scene.journal(), &old).unwrap();
        let opened = scene.open();
        assert!(opened.journal.is_empty() && !opened.journal.is_same_boot());
        assert_eq!(opened.archive.dirs().count(), 1);
        assert!(!scene.journal().exists(), "it never fits any more");
        note(&opened, &[("z", set(b"c", file(3)))]);
        opened.journal.flush().unwrap();
        assert_eq!(scene.open().archive.dirs().count(), 2);
    }

    #[test]
    fn a_journal_that_came_with_a_copy_is_not_believed() {
        let scene = Scene::new("journal-copied");
        scene.be_killed(&[("x", set(b"a", file(1)))]);
        let copy = scene.file(b"copy");
        std::fs::copy(scene.journal(), &copy).unwrap();
        std::fs::rename(&copy, scene.journal()).unwrap();
        assert!(scene.open().archive.is_first_meeting());
    }

    #[test]
    fn another_boot_is_noticed() {
        let scene = Scene::new("journal-boot");
        scene.be_killed(&[("x", set(b"a", file(1)))]);
        let text = String::from_utf8(std::fs::read(scene.journal()).unwrap()).unwrap();
        let other = text.replace(&current_boot(), "another");
        std::fs::write(scene.journal(), other).unwrap();
        assert!(!scene.open().journal.is_same_boot());
        scene.be_killed(&[("x", set(b"b", file(1)))]);
        let opened = scene.open();
        assert!(!opened.journal.is_same_boot());
        assert_eq!(opened.archive.files_below(&RelPath::root()), 2);
    }

    #[test]
    fn lines_of_many_threads_are_whole() {
        let scene = Scene::new("journal-threads");
        let opened = scene.open();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let journal = &opened.journal;
                scope.spawn(move || {
                    let dir = format!("d{thread}");
                    for round in 0..50 {
                        let name = format!("{thread}-{round}");
                        let intent = place(&dir, name.as_bytes(), round);
                        journal.intend(&intent).unwrap();
                        let change = set(name.as_bytes(), file(round));
                        journal.note(&intent.dir(), &change).unwrap();
                    }
                });
            }
        });
        opened.journal.flush().unwrap();
        let told = told(&scene.open());
        assert_eq!(told.len(), 4);
        assert!(
            told.iter()
                .all(|(_, block)| block.len() == 50 && block.intents().is_empty())
        );
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let scene = Scene::new("journal-link");
        scene.record(&[("x", settled())]);
        let precious = scene.scratch.join("precious");
        std::fs::write(&precious, b"x").unwrap();
        std::os::unix::fs::symlink(&precious, scene.journal()).unwrap();
        let opened = crate::sync::record::open(
            &scene.home,
            None,
            &scene.root,
            &scene.peer,
            crate::sync::record::Mode::ReadWrite,
            false,
        );
        assert!(opened.is_err());
        assert_eq!(std::fs::read(&precious).unwrap(), b"x");
    }

    #[test]
    fn a_journal_that_is_nowhere_keeps_nothing() {
        let journal = Journal::nowhere();
        journal.intend(&place("d", b"a", 1)).unwrap();
        journal.note(&RelPath::root(), &settled()).unwrap();
        journal.flush().unwrap();
        assert!(journal.is_empty() && journal.is_same_boot());
    }
}
