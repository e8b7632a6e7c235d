//! What the lines of one MLSD have in common: whether they tell what they should.

use std::sync::Arc;

use super::dialect::unreadable;
use super::fnv;
use crate::ftp::{Facts, FactsKind};
use crate::job::{Encoding, Mask};
use crate::replica::ftp::look::stat_of_facts;
use crate::replica::ftp::names;
use crate::replica::{Kind, Listing, Mtime};

/// Reads the lines of one MLSD into a listing.
#[derive(Clone)]
pub(super) struct SeenFacts {
    encoding: Encoding,
    mask: Arc<Mask>,
    /// Whether the directory itself was there, and may be entered.
    pub(super) proven: bool,
    has_types: bool,
    files: usize,
    times: usize,
    /// Entries of which another question has to tell what they are.
    pub(super) untold: Vec<usize>,
}

impl SeenFacts {
    pub(super) const fn new(encoding: Encoding, mask: Arc<Mask>) -> Self {
        Self {
            encoding,
            mask,
            proven: false,
            has_types: false,
            files: 0,
            times: 0,
            untold: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, line: &[u8], listing: &mut Listing) {
        let Some(facts) = Facts::parse(line) else {
            return listing.mark_incomplete(unreadable(line, &self.mask));
        };
        match facts.kind {
            FactsKind::CurrentDir => self.proven |= facts.may_enter(),
            FactsKind::ParentDir => {}
            _ if matches!(facts.name, b"." | b"..") => {}
            FactsKind::File | FactsKind::Dir | FactsKind::Unknown => {
                self.take_entry(&facts, listing);
            }
        }
    }

    fn take_entry(&mut self, facts: &Facts<'_>, listing: &mut Listing) {
        let is_file = facts.kind == FactsKind::File;
        if facts.tell_nothing() || (is_file && facts.size.is_none()) {
            self.untold.push(listing.len());
        }
        self.has_types |= !facts.tell_nothing();
        self.files += usize::from(is_file);
        self.times += usize::from(is_file && facts.modify.is_some());
        let id = match facts.unique {
            Some(unique) if is_file => fnv(unique),
            Some(_) | None => 0,
        };
        let name = names::decode(facts.name, self.encoding);
        let mut stat = stat_of_facts(facts);
        if stat.kind == Kind::Dir {
            stat.mtime = facts.modify.map(Mtime::exact);
        }
        listing.push_with_id(&name, stat, id);
    }

    /// What these lines lack that another way may tell.
    pub(super) const fn lack(&self) -> Option<&'static str> {
        if !self.has_types {
            Some("tells names alone")
        } else if self.files > 0 && self.times == 0 {
            Some("tells no times")
        } else {
            None
        }
    }
}
