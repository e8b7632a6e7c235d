//! Writes the next archive: the last one, laid over with the journal, directory by directory. Beside, synced, renamed.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;

use crate::error::{Doing, ErrorKind, Result};
use crate::sync::record::adopt;
use crate::sync::record::archive_file::Archive;
use crate::sync::record::header::{FORMAT, Header};
use crate::sync::record::home::{self, Home};
use crate::sync::record::index::{Found, Index};
use crate::sync::record::journal::{Journal, Keeper, remove};
use crate::sync::record::layers::Layers;
use crate::sync::record::lines::Source;
use crate::sync::record::pyftpsync::Keys;
use crate::sync::record::writer::Writer;
use crate::system;

/// How much is copied at a time, in bytes.
const COPY_BYTES: usize = 64 << 10;

/// Writes the next archive and ends the journal, which must not be used any more. Where nothing was noted and nothing was
/// taken over, nothing is written. Returns what the user has to be told.
///
/// After a failure the last archive and the journal are as they were, and the next run goes on with them.
pub fn save(home: &Home, archive: &Archive, journal: &Journal) -> Result<Vec<String>> {
    let Some(keeper) = &journal.keeper else {
        return Ok(Vec::new());
    };
    if journal.is_empty() && !archive.is_unwritten {
        keeper.remove()?;
        return Ok(Vec::new());
    }
    journal.flush()?;
    let doing = || format!("writing {}", home.shown(&keeper.names.archive));
    let mut header = next_header(&archive.header);
    write_next(keeper, archive, &mut header).doing(doing)?;
    keeper.remove()?;
    let mut notices = Vec::new();
    if header.is_adopting {
        let keys = Keys::of(&archive.peer);
        if adopt::take_out(&archive.local_root, &keys, &mut notices)? {
            say_adopted(home, archive, keeper).doing(doing)?;
        }
    }
    Ok(notices)
}

/// A number and an id that no earlier archive has.
fn next_header(last: &Header) -> Header {
    Header {
        format: FORMAT,
        number: last.number + 1,
        id: RandomState::new().build_hasher().finish(),
        ..last.clone()
    }
}

fn write_next(keeper: &Keeper, archive: &Archive, header: &mut Header) -> Result<()> {
    let journal = keeper.written()?;
    let layers = Layers::read(&journal, &archive.index).map_err(ErrorKind::Disk)?;
    let file = keeper.next_archive()?;
    let written = write_file(file, archive, header, (&layers, &journal))
        .map_err(ErrorKind::Disk)
        .map_err(Into::into)
        .and_then(|()| put_in_place(keeper));
    if written.is_err()
        && let Ok(Some(dir)) = keeper.home.find()
    {
        // The failure itself is told.
        let _ = remove(&dir, &keeper.names.new_archive);
    }
    written
}

/// Writes the file, and waits until it is safe.
fn write_file(
    mut file: File,
    archive: &Archive,
    header: &mut Header,
    journal: (&Layers, &Source),
) -> io::Result<()> {
    header.seal = home::seal(&file)?;
    let bytes = write_all(&mut file, archive, header, journal)?;
    // Room that was reserved and not needed goes back to the file system; where it cannot, nothing is lost.
    let _ = file.set_len(bytes);
    file.sync_all()
}

/// Gives the new archive its name.
fn put_in_place(keeper: &Keeper) -> Result<()> {
    let dir = keeper.home.make()?;
    let names = &keeper.names;
    system::rename(
        (dir.as_fd(), &names.new_archive),
        (dir.as_fd(), &names.archive),
    )
    .and_then(|()| system::sync_dir(dir.as_fd()))
    .map_err(|error| ErrorKind::Disk(error).into())
}

/// Writes old and new blocks in the order of a walk; says how many bytes there are.
fn write_all(
    out: &mut dyn Write,
    archive: &Archive,
    header: &Header,
    (layers, journal): (&Layers, &Source),
) -> io::Result<u64> {
    let index = &archive.index;
    let mut writer = Writer::begin(header, out);
    let mut next = 0;
    for (dir, layer) in layers.iter() {
        let (place, is_there) = match index.find(dir) {
            Ok(place) => (place, true),
            Err(place) => (place, false),
        };
        copy(&archive.source, index.bytes(next..place), &mut writer)?;
        next = place + usize::from(is_there);
        if let Some(block) = layer.block((&archive.source, index), journal, dir)? {
            writer.block(dir, &block)?;
        }
    }
    copy(&archive.source, index.bytes(next..index.len()), &mut writer)?;
    writer.end()
}

/// Copies the lines of directories that did not change.
fn copy(source: &Source, bytes: Range<u64>, writer: &mut Writer<'_>) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES.min((bytes.end - bytes.start) as usize)];
    let mut at = bytes.start;
    while at < bytes.end {
        let most = buffer.len().min((bytes.end - at) as usize);
        let count = source.read_at(&mut buffer[..most], at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        writer.lines(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}

/// Writes the archive once more, without the word that something is still to be taken out elsewhere.
fn say_adopted(home: &Home, archive: &Archive, keeper: &Keeper) -> Result<()> {
    let dir = home.make()?;
    let file = system::open_to_read(dir.as_fd(), &keeper.names.archive).map_err(ErrorKind::Disk)?;
    let source = Source::File(file);
    let (header, index) = match Index::read(&source).map_err(ErrorKind::Disk)? {
        Found::Whole(header, index) => (header, *index),
        Found::Damaged(why) => return Err(ErrorKind::Metadata(why.to_owned()).into()),
    };
    let mut next = Header {
        is_adopting: false,
        ..next_header(&header)
    };
    let written = Archive::of(header, &archive.peer, source, index);
    write_next(keeper, &written, &mut next)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::path::RelPath;
    use crate::side::Sides;
    use crate::sync::record::archive::{Change, DirFacts, Intent, Record, What};
    use crate::sync::record::block::Block;
    use crate::sync::record::open::{Mode, Opened};
    use crate::sync::record::scene::{
        Random, Scene, file, forget, name, note, odd_records, part, path, place, set, settled, told,
    };
    use crate::time::Timestamp;

    #[test]
    fn what_is_noted_stands_in_the_next_archive() {
        let scene = Scene::new("save");
        let opened = scene.open();
        assert!(opened.archive.is_first_meeting() && opened.journal.is_empty());
        assert!(opened.may_delete && opened.notices.is_empty());
        note(&opened, &[("", settled()), ("a/b", settled())]);
        for record in odd_records() {
            let change = Change::set(&record);
            opened.journal.note(&path("a/b"), &change).unwrap();
        }
        assert!(!opened.journal.is_empty());
        scene.save(&opened);
        assert_eq!(
            scene.left(),
            [str::from_utf8(&scene.names.archive).unwrap()]
        );

        let opened = scene.open();
        assert!(!opened.archive.is_first_meeting() && opened.journal.is_empty());
        let block = opened.archive.block(&path("a/b")).unwrap().unwrap();
        assert!(block.facts().settled && block.facts().inode == 11);
        let mut records = odd_records();
        records.sort_by_key(|record| record.name);
        assert_eq!(block.iter().collect::<Vec<_>>(), records);
        assert_eq!(opened.archive.files_below(&path("")), 6);
        assert_eq!(opened.archive.files_below(&path("a/b")), 6);
        assert_eq!(opened.archive.files_below(&path("b")), 0);
        assert!(opened.archive.holds(&path("")) && !opened.archive.holds(&path("a")));
        assert!(opened.archive.block(&path("a")).unwrap().is_none());
        let dirs: Vec<RelPath> = opened.archive.dirs().collect();
        assert_eq!(dirs, [path(""), path("a/b")]);
        let facts = ["", "a/b"].map(|dir| opened.archive.facts(&path(dir)).unwrap());
        assert!(
            facts
                .iter()
                .all(|facts| facts.is_some_and(|facts| facts.settled))
        );
    }

    #[test]
    fn nothing_noted_is_nothing_written() {
        let scene = Scene::new("save-nothing");
        let opened = scene.open();
        opened.journal.flush().unwrap();
        scene.save(&opened);
        assert!(!scene.home.path().exists());
        scene.record(&[("", settled())]);
        let before = std::fs::read(scene.archive()).unwrap();
        let opened = scene.open();
        opened.journal.reserve(1000).unwrap();
        scene.save(&opened);
        assert_eq!(std::fs::read(scene.archive()).unwrap(), before);
        assert_eq!(scene.left().len(), 1);
    }

    #[test]
    fn room_is_reserved_and_given_back() {
        use std::os::unix::fs::MetadataExt;
        let scene = Scene::new("save-reserve");
        let opened = scene.open();
        opened.journal.reserve(1 << 20).unwrap();
        assert_eq!(scene.left().len(), 2);
        note(&opened, &[("", settled())]);
        scene.save(&opened);
        let archive = std::fs::metadata(scene.archive()).unwrap();
        assert!(archive.blocks() * 512 < 1 << 19, "{}", archive.blocks());
        let error = scene.open().journal.reserve(1 << 60).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Disk(_)), "{error}");
    }

    #[test]
    fn a_dry_run_writes_nothing() {
        let scene = Scene::new("save-dry");
        let opened = scene.open_in(Mode::ReadOnly);
        note(&opened, &[("", settled())]);
        opened.journal.intend(&place("", b"a", 1)).unwrap();
        opened.journal.reserve(1000).unwrap();
        scene.save(&opened);
        assert!(!scene.home.path().exists());
    }

    #[test]
    fn what_was_not_ended_survives() {
        let scene = Scene::new("save-intents");
        let moved = |from: &str, to: &str| Intent::MoveDir {
            from: path(from),
            to: path(to),
        };
        let opened = scene.open();
        note(&opened, &[("d", settled()), ("old", settled())]);
        let intents = [
            place("d", b"a", 1),
            place("d", b"b", 2),
            place("d", b"c", 3),
            moved("old", "d/new"),
            moved("x", "y"),
        ];
        for intent in &intents {
            opened.journal.intend(intent).unwrap();
        }
        let undone = Change::Undone {
            name: b"c"[..].into(),
        };
        note(&opened, &[("d", set(b"b", file(2))), ("d", undone)]);
        note(&opened, &[("d", Change::Part(part(b"p", 5)))]);
        opened.journal.flush().unwrap();
        for round in 0..3 {
            let opened = scene.open();
            let block = opened.archive.block(&path("d")).unwrap().unwrap();
            let open = [intents[0].clone(), intents[3].clone()];
            assert_eq!(block.intents(), open, "{round}");
            assert_eq!(block.parts(), [part(b"p", 5)], "{round}");
            let mut moves = opened.journal.unfinished_moves();
            moves.sort();
            let expected = [(path("old"), path("d/new")), (path("x"), path("y"))];
            assert_eq!(moves, expected, "{round}");
            scene.save(&opened);
        }
        scene.record(&[
            ("d", forget(b"a")),
            ("d/new", Change::MovedFrom(path("old"))),
            ("", forget(b"y")),
        ]);
        let opened = scene.open();
        assert_eq!(opened.journal.unfinished_moves(), []);
        let block = opened.archive.block(&path("d")).unwrap().unwrap();
        assert!(block.intents().is_empty() && block.len() == 1);
        assert!(opened.archive.holds(&path("d/new")) && !opened.archive.holds(&path("old")));
    }

    #[test]
    fn a_kill_between_any_two_steps_loses_nothing() {
        for steps in 0..4 {
            let scene = Scene::new(&format!("save-killed-{steps}"));
            scene.record(&[("a", settled()), ("a", set(b"1", file(1)))]);
            let opened = scene.open();
            note(&opened, &[("a", set(b"2", file(2))), ("b", settled())]);
            opened.journal.flush().unwrap();
            stop_after(steps, &opened);
            let after = scene.open();
            let dirs: Vec<RelPath> = after.archive.dirs().collect();
            assert_eq!(dirs, [path("a"), path("b")], "{steps}");
            assert_eq!(after.archive.files_below(&path("a")), 2, "{steps}");
            assert_eq!(after.journal.is_empty(), steps >= 2, "{steps}");
            note(&after, &[("a", forget(b"1"))]);
            scene.save(&after);
            assert_eq!(scene.open().archive.files_below(&path("")), 1, "{steps}");
            assert_eq!(scene.left().len(), 1, "{steps}");
        }
    }

    /// Saves, and stops after so many steps.
    fn stop_after(steps: usize, opened: &Opened) {
        let keeper = opened.journal.keeper.as_ref().unwrap();
        let mut header = next_header(&opened.archive.header);
        let journal = keeper.written().unwrap();
        let layers = Layers::read(&journal, &opened.archive.index).unwrap();
        let file = keeper.next_archive().unwrap();
        if steps == 0 {
            return;
        }
        write_file(file, &opened.archive, &mut header, (&layers, &journal)).unwrap();
        if steps >= 2 {
            put_in_place(keeper).unwrap();
        }
        if steps >= 3 {
            keeper.remove().unwrap();
        }
    }

    /// What the archive should say, worked out without it.
    #[derive(Default)]
    struct Model(BTreeMap<RelPath, (bool, Block)>);

    impl Model {
        fn at(&mut self, dir: &RelPath, makes: bool) -> &mut Block {
            let (is_made, block) = self.0.entry(dir.clone()).or_default();
            *is_made |= makes;
            block
        }

        fn take_out(&mut self, dir: &RelPath) -> Vec<(RelPath, (bool, Block))> {
            let all = std::mem::take(&mut self.0).into_iter();
            let (inside, outside): (Vec<_>, Vec<_>) =
                all.partition(|(path, _)| path.is_within(dir));
            self.0 = outside.into_iter().collect();
            inside
        }

        fn note(&mut self, dir: &RelPath, change: &Change) {
            match change {
                Change::Set {
                    name: bytes,
                    remote_name,
                    what,
                    ids,
                } => {
                    let record = Record {
                        name: name(bytes),
                        remote_name: remote_name.as_deref().map(name),
                        what: *what,
                        ids: *ids,
                    };
                    self.at(dir, true).set(&record);
                }
                Change::Forget { name } => self.at(dir, false).forget(name),
                Change::Undone { name } => self.at(dir, false).end_intents(name),
                Change::Part(part) => self.at(dir, false).add_part(part.clone()),
                Change::NoPart { name } => self.at(dir, false).end_part(name),
                Change::Facts(facts) => self.at(dir, true).set_facts(*facts),
                Change::Drop => drop(self.take_out(dir)),
                Change::MovedFrom(from) => {
                    if let Some(name) = dir.name() {
                        self.at(&dir.parent(), false).end_intents(name.as_bytes());
                    }
                    let taken = self.take_out(from);
                    self.take_out(dir);
                    for (path, (is_made, mut block)) in taken {
                        let to = path.moved(from, dir).unwrap_or(dir.clone());
                        // An intent is told of where its directory is now.
                        let intents: Vec<Intent> = block.intents().to_vec();
                        for intent in intents {
                            block.end_intents(intent.name());
                            block.intend(in_dir(intent, &to));
                        }
                        self.0.insert(to, (is_made, block));
                    }
                }
            }
        }

        /// All that is there; from now on it is there whatever becomes of it.
        fn settle(&mut self) -> Vec<(RelPath, Block)> {
            self.0.retain(|_, (is_made, block)| {
                *is_made || !block.intents().is_empty() || !block.parts().is_empty()
            });
            let told =
                |(path, (_, block)): (&RelPath, &(bool, Block))| (path.clone(), block.clone());
            self.0.iter().map(told).collect()
        }

        fn is_saved(&mut self) {
            for (is_made, _) in self.0.values_mut() {
                *is_made = true;
            }
        }
    }

    fn in_dir(intent: Intent, to: &RelPath) -> Intent {
        match intent {
            Intent::Place {
                name,
                to: side,
                source,
                seen,
                at,
                ..
            } => Intent::Place {
                dir: to.clone(),
                name,
                to: side,
                source,
                seen,
                at,
            },
            Intent::Delete { name, on, .. } => Intent::Delete {
                dir: to.clone(),
                name,
                on,
            },
            Intent::MoveDir { from, to: old } => Intent::MoveDir {
                from,
                to: to.join(old.name().unwrap()),
            },
        }
    }

    fn random_dir(random: &mut Random) -> RelPath {
        let names = ["a", "a-", "b", "caf\u{e9}"];
        let mut dir = RelPath::root();
        for _ in 0..random.below(4) {
            dir = dir.join(name(names[random.below(4) as usize].as_bytes()));
        }
        dir
    }

    fn random_change(random: &mut Random) -> Change {
        let names: [&[u8]; 5] = [b"a", b"b", b"f\xff", b"g", b"h"];
        let bytes = names[random.below(5) as usize];
        let boxed: Box<[u8]> = bytes.into();
        match random.below(16) {
            0..6 => set(bytes, file(random.below(100))),
            6 => Change::Set {
                name: boxed,
                remote_name: Some(b"R\xe9"[..].into()),
                what: What::Dir,
                ids: Sides::new(random.below(9), 0),
            },
            7 | 8 => forget(bytes),
            9 => Change::Undone { name: boxed },
            10 => Change::Part(part(bytes, random.below(50))),
            11 => Change::NoPart { name: boxed },
            12 | 13 => Change::Facts(DirFacts {
                inode: random.below(50),
                mounts: Sides::new((random.below(3) == 0).then_some(random.below(3)), None),
                settled: random.below(2) == 0,
                seen_at: Timestamp::from_secs(random.below(50) as i64),
                ..DirFacts::default()
            }),
            14 => Change::Drop,
            // The root itself stays where it is.
            _ => Change::MovedFrom(random_dir(random).join(name(b"a"))),
        }
    }

    fn random_intent(random: &mut Random) -> Intent {
        let dir = random_dir(random);
        match random.below(3) {
            0 => Intent::MoveDir {
                from: random_dir(random),
                to: dir.join(name(b"a")),
            },
            1 => Intent::Delete {
                dir,
                name: b"b"[..].into(),
                on: crate::side::Side::Local,
            },
            _ => place(&dir.to_string().replace('.', ""), b"g", random.below(3)),
        }
    }

    fn check(opened: &Opened, model: &mut Model, what: &str) {
        let expected = model.settle();
        assert_eq!(told(opened), expected, "{what}");
        let archive = &opened.archive;
        assert_eq!(archive.is_first_meeting(), expected.is_empty(), "{what}");
        let mut moves = Vec::new();
        for (dir, block) in &expected {
            assert!(archive.holds(dir), "{what} {dir}");
            let below = expected.iter().filter(|(other, _)| other.is_within(dir));
            let files: u64 = below.map(|(_, block)| block.files()).sum();
            assert_eq!(archive.files_below(dir), files, "{what} {dir}");
            for intent in block.intents() {
                if let Intent::MoveDir { from, to } = intent {
                    moves.push((from.clone(), to.clone()));
                }
            }
        }
        let mut found = opened.journal.unfinished_moves();
        found.sort();
        moves.sort();
        assert_eq!(found, moves, "{what}");
        for (dir, block) in &expected {
            assert_eq!(
                archive.facts(dir).unwrap(),
                Some(block.facts()),
                "{what} {dir}"
            );
        }
    }

    #[test]
    fn journal_and_archive_say_the_same_whatever_was_noted() {
        for seed in 0..30 {
            let scene = Scene::new(&format!("save-random-{seed}"));
            let mut random = Random(seed);
            let mut model = Model::default();
            for round in 0..8 {
                let what = format!("seed {seed}, round {round}");
                let opened = scene.open();
                check(&opened, &mut model, &what);
                for _ in 0..random.below(40) {
                    if random.below(6) == 0 {
                        let intent = random_intent(&mut random);
                        model.at(&intent.dir(), false).intend(intent.clone());
                        opened.journal.intend(&intent).unwrap();
                    } else {
                        let dir = random_dir(&mut random);
                        let change = random_change(&mut random);
                        model.note(&dir, &change);
                        opened.journal.note(&dir, &change).unwrap();
                    }
                }
                opened.journal.flush().unwrap();
                if random.below(2) == 0 {
                    scene.save(&opened);
                    model.settle();
                    model.is_saved();
                    assert!(scene.open().journal.is_empty());
                }
            }
        }
    }
}
