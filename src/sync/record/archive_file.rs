//! The archive as it lies in its file: an index of its directories in memory, their blocks read when they are asked for.

use std::io;
use std::path::PathBuf;

use crate::error::{Doing, ErrorKind, Result};
use crate::path::RelPath;
use crate::sync::record::archive::{DirFacts, Intent};
use crate::sync::record::block::Block;
use crate::sync::record::header::{FORMAT, Header};
use crate::sync::record::index::{Index, Room};
use crate::sync::record::layers::{Layer, Layers};
use crate::sync::record::lines::Source;
use crate::sync::record::peer::PeerKey;

/// What is remembered of a local root and a peer, as a killed run left it: the last archive, and laid over it the journal
/// that goes on with it. Any thread may read from it.
pub struct Archive {
    /// What its first line says.
    pub(super) header: Header,
    pub(super) peer: PeerKey,
    pub(super) local_root: PathBuf,
    pub(super) source: Source,
    pub(super) index: Index,
    /// What a killed run left.
    journal: Source,
    layers: Layers,
    /// What must be written although nothing was noted.
    pub(super) is_unwritten: bool,
}

impl Archive {
    /// The archive of a root that never met this peer.
    pub fn nothing(peer: &PeerKey) -> Self {
        let header = Header {
            format: FORMAT,
            peer: peer.name().to_owned(),
            ..Header::default()
        };
        Self::of(header, peer, Source::nothing(), Index::default())
    }

    /// The archive in that source, whose index was read.
    pub(super) fn of(header: Header, peer: &PeerKey, source: Source, index: Index) -> Self {
        Self {
            header,
            peer: peer.clone(),
            local_root: PathBuf::new(),
            source,
            index,
            journal: Source::nothing(),
            layers: Layers::default(),
            is_unwritten: false,
        }
    }

    /// Lays a journal over it that a killed run left.
    pub(super) fn lay_over(&mut self, journal: Source) -> Result<()> {
        let read = Layers::read(&journal, &self.index);
        let mut layers = read.map_err(unreadable)?;
        layers
            .sum_up((&self.source, &self.index), &journal)
            .map_err(unreadable)?;
        self.layers = layers;
        self.journal = journal;
        Ok(())
    }

    /// How many lines a killed run left.
    pub(super) const fn left_lines(&self) -> u64 {
        self.layers.lines()
    }

    /// Whether nothing is recorded at all: both sides meet for the first time.
    pub fn is_first_meeting(&self) -> bool {
        self.dirs().next().is_none()
    }

    /// What is remembered of that directory; none where nothing is.
    pub fn block(&self, dir: &RelPath) -> Result<Option<Block>> {
        if let Some(layer) = self.layers.of(dir) {
            return self.layer_block(dir, layer);
        }
        let Ok(place) = self.index.find(dir) else {
            return Ok(None);
        };
        let read = self.index.block(&self.source, place, dir, Room::default());
        read.map(Some).map_err(unreadable).doing(|| doing(dir))
    }

    fn layer_block(&self, dir: &RelPath, layer: &Layer) -> Result<Option<Block>> {
        layer
            .block((&self.source, &self.index), &self.journal, dir)
            .map_err(unreadable)
            .doing(|| doing(dir))
    }

    /// Whether anything is remembered of that directory.
    pub fn holds(&self, dir: &RelPath) -> bool {
        match self.layers.of(dir) {
            Some(layer) => layer.sums().is_some(),
            None => self.index.find(dir).is_ok(),
        }
    }

    /// How many files are recorded in the directory and below.
    pub fn files_below(&self, dir: &RelPath) -> u64 {
        let is_as_it_was = |place: &usize| {
            self.layers.is_empty() || self.layers.of(&self.index.dir(*place)).is_none()
        };
        let places = self.index.within(dir).filter(is_as_it_was);
        let of_archive: u64 = places.map(|place| self.index.files(place)).sum();
        let layers = self.layers.iter().filter(|(path, _)| path.is_within(dir));
        let of_layers = layers.filter_map(|(_, layer)| layer.sums());
        of_archive + of_layers.map(|sums| sums.files).sum::<u64>()
    }

    /// All directories of which anything is remembered, in the order in which a walk meets them.
    pub fn dirs(&self) -> impl Iterator<Item = RelPath> {
        let mut places = (0..self.index.len()).peekable();
        let mut layers = self.layers.iter().peekable();
        std::iter::from_fn(move || {
            loop {
                let place = places.peek().map(|place| self.index.dir(*place));
                let layer = layers
                    .peek()
                    .map(|(path, layer)| (*path, layer.sums().is_some()));
                let (path, is_there) = match (place, layer) {
                    (None, None) => return None,
                    (Some(path), None) => {
                        places.next();
                        (path, true)
                    }
                    (Some(path), Some((layer, _))) if path < *layer => {
                        places.next();
                        (path, true)
                    }
                    (place, Some((layer, is_there))) => {
                        layers.next();
                        if place.as_ref() == Some(layer) {
                            places.next();
                        }
                        (layer.clone(), is_there)
                    }
                };
                if is_there {
                    return Some(path);
                }
            }
        })
    }

    /// What is known of a directory itself; none where nothing is.
    pub fn facts(&self, dir: &RelPath) -> Result<Option<DirFacts>> {
        match (self.layers.of(dir), self.index.find(dir)) {
            (None, Ok(place)) => {
                let read = self.index.facts(&self.source, place);
                read.map(Some).map_err(unreadable).doing(|| doing(dir))
            }
            (None, Err(_)) => Ok(None),
            (Some(layer), _) => Ok(self.layer_block(dir, layer)?.map(|block| block.facts())),
        }
    }

    /// Renames of directories, from and to, that were begun and not ended.
    pub(super) fn moves(&self) -> Result<Vec<(RelPath, RelPath)>> {
        let places = self
            .index
            .moves()
            .iter()
            .map(|place| self.index.dir(*place));
        let mut dirs: Vec<RelPath> = places.filter(|dir| self.layers.of(dir).is_none()).collect();
        dirs.extend(self.layers.iter().map(|(dir, _)| dir.clone()));
        let mut moves = Vec::new();
        for dir in dirs {
            let Some(block) = self.block(&dir)? else {
                continue;
            };
            for intent in block.intents() {
                if let Intent::MoveDir { from, to } = intent {
                    moves.push((from.clone(), to.clone()));
                }
            }
        }
        Ok(moves)
    }
}

fn unreadable(error: io::Error) -> ErrorKind {
    ErrorKind::Metadata(format!("{error}"))
}

fn doing(dir: &RelPath) -> String {
    format!("reading what is recorded of {dir}")
}
