//! The directories of a target, and its files where they are asked for, as pyftpsync's `tree` draws them.

use std::time::Instant;

use super::{Visitor, closing};
use crate::error::Result;
use crate::job::Tree;
use crate::path::{Name, RelPath, fold_case};
use crate::replica::{Kind, Listing, Stat};
use crate::sync::event::Event;
use crate::words::{grouped, local_time};

/// Draws the tree. `root` is what its first line says.
pub fn tree(
    visitor: &mut Visitor<'_>,
    what: Tree,
    root: &str,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<()> {
    let mut drawing = Drawing {
        visitor,
        what,
        began: Instant::now(),
        files: 0,
        dirs: 1,
        tell,
    };
    drawing.line(&format!("[{root}]"));
    let top = drawing.visitor.visit.selection.only.clone();
    drawing.branch(&top, "")?;
    let end = closing(drawing.files, drawing.dirs, drawing.began);
    drawing.line(&end);
    Ok(())
}

struct Drawing<'d, 'a> {
    visitor: &'d mut Visitor<'a>,
    what: Tree,
    began: Instant,
    files: u64,
    dirs: u64,
    tell: &'d mut dyn FnMut(Event<'_>),
}

impl Drawing<'_, '_> {
    fn line(&mut self, text: &str) {
        (self.tell)(Event::Line(text));
    }

    /// Draws what is in a directory. `trunk` leads to it.
    fn branch(&mut self, dir: &RelPath, trunk: &str) -> Result<()> {
        let Some(listing) = self.visitor.list_or_tell(dir, self.tell)? else {
            return Ok(());
        };
        let places = self.drawn(dir, &listing);
        for (number, place) in places.iter().enumerate() {
            let entry = listing.at(*place).expect("the place is below the length");
            let is_last = number + 1 == places.len();
            let twig = if is_last { " `- " } else { " +- " };
            let name = entry.name.to_string();
            match entry.stat.kind {
                Kind::Dir => {
                    self.dirs += 1;
                    self.line(&format!("{trunk}{twig}[{name}]"));
                    let stem = if is_last { "    " } else { " |  " };
                    self.branch(&dir.join(entry.name), &format!("{trunk}{stem}"))?;
                }
                Kind::File => {
                    self.files += 1;
                    let facts = facts(&entry.stat);
                    self.line(&format!("{trunk}{twig}{name:<20} {facts}"));
                }
                // It is no file, and so it is not counted as one.
                Kind::Special => {
                    self.line(&format!("{trunk}{twig}{name:<20} (a link or a device)"));
                }
            }
        }
        Ok(())
    }

    /// The places of what is drawn of a directory, in their order.
    fn drawn(&self, dir: &RelPath, listing: &Listing) -> Vec<usize> {
        let mut places: Vec<usize> = (0..listing.len()).collect();
        let at = |place: usize| listing.at(place).expect("the place is below the length");
        places.retain(|place| {
            let (name, kind) = (at(*place).name, at(*place).stat.kind);
            (self.what.files || kind == Kind::Dir) && self.visitor.is_wanted(&dir.join(name), kind)
        });
        if self.what.sort {
            places.sort_by_cached_key(|place| rank(at(*place).stat.kind, at(*place).name));
        }
        places
    }
}

/// Files before directories, and case does not count; names are in order already where it does.
fn rank(kind: Kind, name: Name<'_>) -> (bool, Vec<u8>) {
    (kind == Kind::Dir, fold_case(name.as_bytes()))
}

fn facts(stat: &Stat) -> String {
    let time = stat.mtime.map_or_else(
        || format!("{:19}", "(no time)"),
        |mtime| local_time(mtime.at),
    );
    format!("{time}, {:>8} bytes", grouped(stat.size))
}
