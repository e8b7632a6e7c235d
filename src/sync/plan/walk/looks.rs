//! The looks that are under way, and the visits that they are for: first sent, first taken.

use std::collections::{HashMap, VecDeque};

use super::Visit;
use crate::error::Result;
use crate::sync::look::directory::Where;
use crate::sync::look::{Found, Terms, survey};
use crate::sync::workers::{Failure, Inbox, Pile, Turn, Workers};

/// Looks that were sent and not yet taken.
#[derive(Default)]
pub(super) struct Looks {
    /// What they are for, in the order of their numbers.
    visits: VecDeque<Visit>,
    inbox: Inbox<u64, Pile<Found>>,
    /// What came in before its turn, by number.
    found: HashMap<u64, Result<Found, Failure>>,
    /// The number of the first visit.
    first: u64,
}

impl Looks {
    pub(super) fn is_empty(&self) -> bool {
        self.visits.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.visits.len()
    }

    /// Has one worker look at these directories, which these visits are about.
    pub(super) fn send<'env>(
        &mut self,
        workers: &Workers<'_, 'env>,
        terms: &'env Terms<'env>,
        dirs: Vec<Where>,
        visits: Vec<Visit>,
    ) {
        let turn = if dirs.iter().all(|at| at.is_remote_known) {
            Turn::Frugal
        } else {
            Turn::Last
        };
        let number = self.first + self.visits.len() as u64;
        self.visits.extend(visits);
        workers.send_pile(&mut self.inbox, number, turn, move |hands, found| {
            survey(hands, terms, &dirs, found)
        });
    }

    /// The next visit, and what was found for it; none where nothing was sent.
    pub(super) fn next(&mut self, workers: &Workers<'_, '_>) -> Result<Option<(Visit, Found)>> {
        let Some(visit) = self.visits.pop_front() else {
            return Ok(None);
        };
        loop {
            if let Some(found) = self.found.remove(&self.first) {
                self.first += 1;
                let found = found.map_err(Failure::into_error)?;
                return Ok(Some((visit, found)));
            }
            let next = workers.next(&mut self.inbox, None);
            let (number, pile) = next.expect("a look that was sent comes back");
            // Where it broke off, the first that is missing tells why, and ends the walk.
            let found = pile.brought.into_iter().map(Ok);
            let found = found.chain(pile.failure.map(Err));
            self.found.extend((number..).zip(found));
        }
    }
}
