//! What a journal changes in an archive: for each directory where its records are, and which lines are laid over them.
//!
//! The journal is read once and not kept: a layer knows where its lines are. Directories that were renamed or dropped
//! have a layer, too.

use std::collections::BTreeMap;
use std::io;

use crate::path::RelPath;
use crate::sync::record::block::Block;
use crate::sync::record::index::{Index, Room};
use crate::sync::record::line::{self, Line, Scratch};
use crate::sync::record::lines::{Lines, RawLine, Source};

/// The directories of which a journal says something.
#[derive(Debug, Default)]
pub(super) struct Layers {
    by_dir: BTreeMap<RelPath, Layer>,
    /// How many lines of the journal say something.
    lines: u64,
}

/// What a journal says of one directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    /// Its place in the archive; none where that has no records of it.
    base: Option<usize>,
    /// The lines of the journal, in order.
    runs: Vec<Run>,
    /// What the lines add at most.
    room: Room,
    /// Whether a line among them makes a block where there is none.
    makes_block: bool,
    /// What its block comes to; none where there is none, or where nobody has summed up.
    sums: Option<Sums>,
}

/// What is asked of a directory without reading its block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub(super) files: u64,
}

/// Lines of a journal that follow one another and are about one directory.
#[derive(Debug, Clone, Copy)]
struct Run {
    offset: u64,
    bytes: u64,
}

impl Layers {
    /// Reads a journal that belongs to the archive of that index. A line that is broken or torn ends what is known of
    /// where one is: what follows is believed from the next line on that names a directory.
    pub(super) fn read(journal: &Source, index: &Index) -> io::Result<Self> {
        let mut reading = Reading {
            layers: Self::default(),
            index,
            current: None,
        };
        let mut lines = Lines::all(journal);
        let mut scratch = Scratch::default();
        while let Some(line) = lines.next()? {
            match line::parse(line.text, &mut scratch).filter(|_| line.is_whole) {
                Some(parsed) => reading.take(&line, parsed),
                None => reading.lose_place(),
            }
        }
        reading.lose_place();
        Ok(reading.layers)
    }

    /// How many lines of the journal say something.
    pub(super) const fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether a journal says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.by_dir.is_empty()
    }

    /// Reads each block, once, for what is asked of it later.
    pub(super) fn sum_up(
        &mut self,
        archive: (&Source, &Index),
        journal: &Source,
    ) -> io::Result<()> {
        for (dir, layer) in &mut self.by_dir {
            let block = layer.block(archive, journal, dir)?;
            layer.sums = block.map(|block| Sums {
                files: block.files(),
            });
        }
        Ok(())
    }

    /// The layer of that directory.
    pub(super) fn of(&self, dir: &RelPath) -> Option<&Layer> {
        self.by_dir.get(dir)
    }

    /// All layers, in the order in which a walk meets their directories.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&RelPath, &Layer)> {
        self.by_dir.iter()
    }

    fn at(&mut self, dir: &RelPath, index: &Index) -> &mut Layer {
        self.by_dir
            .entry(dir.clone())
            .or_insert_with(|| Layer::of_base(index.find(dir).ok()))
    }

    /// Takes the layers of a directory and of all below it out, by what of their paths is below it; behind, nothing is
    /// recorded there.
    fn take_out(&mut self, dir: &RelPath, index: &Index) -> Vec<(RelPath, Layer)> {
        let mut taken = Vec::new();
        for place in index.within(dir) {
            self.by_dir
                .entry(index.dir(place))
                .or_insert_with(|| Layer::of_base(Some(place)));
        }
        for (path, layer) in self.by_dir.range_mut(dir.clone()..) {
            if !path.is_within(dir) {
                break;
            }
            taken.push((path.clone(), std::mem::take(layer)));
        }
        taken
    }

    fn rename(&mut self, from: &RelPath, to: &RelPath, index: &Index) {
        let taken = self.take_out(from, index);
        self.take_out(to, index);
        for (path, layer) in taken {
            let moved = if path == *from {
                Some(to.clone())
            } else {
                path.moved(from, to)
            };
            if let Some(moved) = moved {
                self.by_dir.insert(moved, layer);
            }
        }
    }
}

/// A journal that is being read.
struct Reading<'i> {
    layers: Layers,
    index: &'i Index,
    /// The directory that lines are about now, and those that were read of it.
    current: Option<(RelPath, Layer)>,
}

impl Reading<'_> {
    fn take(&mut self, line: &RawLine<'_>, parsed: Line<'_>) {
        let room = match &parsed {
            Line::In(dir) => {
                self.lose_place();
                self.current = Some((dir.clone(), Layer::default()));
                return;
            }
            // The header, one more for each boot; what a later version added.
            Line::Unknown => return,
            Line::Dir(_) => return self.lose_place(),
            Line::Drop => {
                if let Some(dir) = self.pause_in() {
                    self.layers.take_out(&dir, self.index);
                    self.layers.lines += 1;
                }
                return;
            }
            Line::MovedFrom(from) => {
                if let Some(dir) = self.pause_in() {
                    self.layers.rename(from, &dir, self.index);
                    self.layers.lines += 1;
                }
                return;
            }
            Line::Record(record) => Room::of(record.name.as_bytes()),
            Line::Forget(name) => Room::of(name.as_bytes()),
            Line::Facts(_)
            | Line::Intent(_)
            | Line::Part(_)
            | Line::Undone(_)
            | Line::NoPart(_) => Room::default(),
        };
        let Some((_, layer)) = &mut self.current else {
            return;
        };
        self.layers.lines += 1;
        layer.room.rows += room.rows;
        layer.room.name_bytes += room.name_bytes;
        layer.makes_block |= matches!(parsed, Line::Record(_) | Line::Facts(_));
        let bytes = line.text.len() as u64 + 1;
        match layer.runs.last_mut() {
            Some(run) if run.offset + run.bytes == line.offset => run.bytes += bytes,
            Some(_) | None => layer.runs.push(Run {
                offset: line.offset,
                bytes,
            }),
        }
    }

    /// Lays what was read over what is there, and stays in the directory.
    fn pause(&mut self) {
        if let Some((dir, layer)) = &mut self.current {
            let layer = std::mem::take(layer);
            if !layer.runs.is_empty() {
                self.layers.at(dir, self.index).lay_over(layer);
            }
        }
    }

    /// The same; says in which directory.
    fn pause_in(&mut self) -> Option<RelPath> {
        self.pause();
        self.current.as_ref().map(|(dir, _)| dir.clone())
    }

    fn lose_place(&mut self) {
        self.pause();
        self.current = None;
    }
}

impl Room {
    const fn of(name: &[u8]) -> Self {
        Self {
            rows: 1,
            name_bytes: name.len(),
        }
    }
}

impl Layer {
    fn of_base(base: Option<usize>) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    fn lay_over(&mut self, mut later: Self) {
        self.runs.append(&mut later.runs);
        self.room.rows += later.room.rows;
        self.room.name_bytes += later.room.name_bytes;
        self.makes_block |= later.makes_block;
    }

    /// What its block comes to; none where there is none.
    pub(super) const fn sums(&self) -> Option<Sums> {
        self.sums
    }

    /// The block of the directory `dir`; none where nothing is known of it.
    pub(super) fn block(
        &self,
        archive: (&Source, &Index),
        journal: &Source,
        dir: &RelPath,
    ) -> io::Result<Option<Block>> {
        let (source, index) = archive;
        let mut block = match self.base {
            Some(place) => index.block(source, place, dir, self.room)?,
            None => {
                let mut block = Block::empty();
                block.reserve(self.room.rows, self.room.name_bytes);
                block
            }
        };
        let mut scratch = Scratch::default();
        for run in &self.runs {
            let mut lines = Lines::between(journal, run.offset, run.offset + run.bytes);
            while let Some(line) = lines.next()? {
                if let Some(parsed) = line::parse(line.text, &mut scratch) {
                    lay_line(parsed, dir, &mut block);
                }
            }
        }
        block.settle();
        let is_there = self.base.is_some()
            || self.makes_block
            || !block.intents().is_empty()
            || !block.parts().is_empty();
        Ok(is_there.then_some(block))
    }
}

fn lay_line(line: Line<'_>, dir: &RelPath, block: &mut Block) {
    match line {
        Line::Record(record) => {
            block.add_fresh(record.name.as_bytes());
            block.push(&record);
        }
        Line::Forget(name) => block.push_forgotten(name),
        Line::Intent(step) => block.intend(step.in_dir(dir)),
        Line::Part(part) => block.add_part(part),
        Line::Undone(name) => block.end_intents(name.as_bytes()),
        Line::NoPart(name) => block.end_part(name.as_bytes()),
        Line::Facts(facts) => block.set_facts(facts),
        // These are no lines of a run.
        Line::Dir(_) | Line::In(_) | Line::Drop | Line::MovedFrom(_) | Line::Unknown => {}
    }
}
