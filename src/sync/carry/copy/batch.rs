//! Small files that are copied together: in as many round trips as one of them takes, where the server can.

use std::collections::VecDeque;

use super::{Copy, Terms, of_entry, verify::digest_of};
use crate::error::{Doing, Result};
use crate::path::RelPath;
use crate::replica::{NewFile, Staging, Stat, Written};
use crate::side::{Side, Sides};
use crate::sync::plan::moved::Place;
use crate::sync::workers::Hands;

/// Small files that are copied together, from one side.
#[derive(Debug)]
pub struct Batch {
    copies: VecDeque<(Place, Copy)>,
    is_begun: bool,
}

impl Batch {
    /// Those files.
    pub fn of(copies: Vec<(Place, Copy)>) -> Self {
        Self {
            copies: copies.into(),
            is_begun: false,
        }
    }

    /// Copies them. May be called again after the connection died: then those that are left are copied one by one, and each
    /// finds out first what was done.
    pub fn run(
        &mut self,
        hands: &mut Hands<'_>,
        terms: &Terms<'_>,
        done: &mut Vec<(Place, Result<Staging>)>,
    ) -> Result<()> {
        // What fails from here on says nothing about the connection as such.
        let Sides { remote, .. } = hands.both()?;
        if terms.lock.is_due() {
            terms.lock.keep(remote)?;
        }
        let is_first_try = !std::mem::replace(&mut self.is_begun, true);
        match self.copies.front() {
            Some((_, first)) if is_first_try && self.copies.len() > 1 => match first.from {
                Side::Local => return self.send_together(hands, terms, done),
                Side::Remote => self.fetch_ahead(hands)?,
            },
            Some(_) | None => {}
        }
        while let Some((at, copy)) = self.copies.front_mut() {
            let copied = of_entry(copy.run(hands, terms))?;
            done.push((*at, copied));
            self.copies.pop_front();
        }
        Ok(())
    }

    fn fetch_ahead(&self, hands: &mut Hands<'_>) -> Result<()> {
        let files = self.copies.iter();
        let files = files.map(|(_, copy)| (copy.paths.remote.clone(), copy.shown));
        let files: Vec<(RelPath, Stat)> = files.collect();
        hands.of(Side::Remote)?.read_ahead(&files);
        Ok(())
    }

    /// Reads them all, and has them written together.
    fn send_together(
        &mut self,
        hands: &mut Hands<'_>,
        terms: &Terms<'_>,
        done: &mut Vec<(Place, Result<Staging>)>,
    ) -> Result<()> {
        let Sides { local, remote } = hands.both()?;
        let (mut ready, mut contents) = (Vec::new(), Vec::new());
        for (at, copy) in &mut self.copies {
            match of_entry(copy.read(local, terms))? {
                Ok(content) => {
                    let mode = copy.mode(local, terms)?;
                    contents.push((copy.partial(terms.owner), content, mode));
                    ready.push((*at, copy.clone()));
                }
                Err(error) => done.push((*at, Err(error))),
            }
        }
        self.copies.clear();
        let files = ready.iter().zip(&contents);
        let files: Vec<(NewFile<'_>, &[u8])> = files
            .map(|((_, copy), (partial, content, mode))| {
                (copy.new_file(partial, *mode), &**content)
            })
            .collect();
        let mut placed = vec![None; ready.len()];
        let written = remote.write_small(&files, &mut |index, stat, times| {
            placed[index] = Some((*stat, times));
            ready[index].1.note(terms.journal, stat);
        });
        drop(files);
        let mut lost = None;
        let digests = contents
            .iter()
            .map(|(_, content, _)| terms.records_digests.then(|| digest_of(content)).flatten());
        let written = written.into_iter().zip(digests);
        for (((at, mut copy), placed), (written, digest)) in
            ready.into_iter().zip(placed).zip(written)
        {
            match of_entry(written.doing(|| copy.doing())) {
                Ok(written) => done.push((
                    at,
                    written.map(|written| Staging::Placed(Written { digest, ..written })),
                )),
                Err(error) => {
                    copy.tries += 1;
                    copy.placed = placed;
                    self.copies.push_back((at, copy));
                    lost.get_or_insert(error);
                }
            }
        }
        lost.map_or(Ok(()), Err)
    }
}
