//! `--quick-scan`: asks the server about all recorded directories at a glance, before the walk, many in one round trip; which
//! of them are as recorded, the walk need not list.

use std::collections::HashMap;

use crate::error::{Error, Result, Scope};
use crate::path::RelPath;
use crate::replica::Mtime;
use crate::side::Side;
use crate::sync::look::Terms;
use crate::sync::look::seal::{Glance, Recorded, may_be_proven};
use crate::sync::workers::{Failure, Hands, Inbox, Turn, Workers};
use crate::time::Timestamp;

/// Directories that are asked about in one go: few enough that their answers, of which some
/// 30 bytes stay, are read within the time that a reply may take.
const WINDOW: usize = 256;

/// What a glance at a directory came to.
#[derive(Debug, Clone, Copy)]
pub enum Finding {
    /// It is as recorded.
    Proven,
    /// It has no such proof; this was seen, and when it was itself changed.
    Seen(Glance, Mtime),
}

/// What is known of many directories.
pub type Findings = HashMap<RelPath, Finding>;

/// Glances at all recorded directories of the branch for which it may be of use.
///
/// Where the server does not play along there is nothing, and all is listed. An error is one that ends the run.
pub fn glance_over<'env>(
    workers: &Workers<'_, 'env>,
    terms: &'env Terms<'env>,
    only: &RelPath,
    now: Timestamp,
) -> Result<Findings> {
    let mut findings = HashMap::new();
    let dirs: Vec<RelPath> = terms
        .archive
        .dirs()
        .filter(|dir| dir.is_within(only))
        .collect();
    for window in dirs.chunks(WINDOW) {
        let window = window.to_vec();
        let mut is_again = false;
        let mut inbox = Inbox::default();
        workers.send(&mut inbox, (), Turn::Frugal, move |hands| {
            // A connection that died of it would die again.
            if std::mem::replace(&mut is_again, true) {
                return Ok(None);
            }
            match glance(hands, terms, &window, now) {
                Ok(found) => Ok(Some(found)),
                Err(error) if error.scope() == Scope::Session => Err(error),
                Err(error) => {
                    tell_refusal(&error);
                    Ok(None)
                }
            }
        });
        let next = workers.next(&mut inbox, None);
        let (_, glanced) = next.expect("a glance that was handed in comes back");
        match glanced {
            Ok(Some(found)) => findings.extend(found),
            Ok(None) => return Ok(HashMap::new()),
            Err(Failure::Entry(error)) => {
                tell_refusal(&error);
                return Ok(HashMap::new());
            }
            Err(Failure::Job(error)) => return Err(error),
        }
    }
    Ok(findings)
}

fn tell_refusal(error: &Error) {
    log::info!("--quick-scan is of no use here, all directories are listed: {error}");
}

/// Glances at the directories of one window.
fn glance(
    hands: &mut Hands<'_>,
    terms: &Terms<'_>,
    dirs: &[RelPath],
    now: Timestamp,
) -> Result<Vec<(RelPath, Finding)>> {
    let (mut asked, mut expected) = (Vec::new(), Vec::new());
    for dir in dirs {
        let Some(block) = terms.archive.block(dir)? else {
            continue;
        };
        let seal = block.facts().glance;
        if seal.is_some() || may_be_proven(&block, now) {
            asked.push(dir.clone());
            expected.push((seal, Recorded::of(&block)));
        }
    }
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let mut seen = vec![Glance::default(); asked.len()];
    let remote = hands.of(Side::Remote)?;
    let told = remote.glance(&asked, &mut |place, name, stat| {
        seen[place].see(name, &stat)
    })?;
    let answers = asked.into_iter().zip(seen).zip(told).zip(expected);
    let findings = answers.filter_map(|(((dir, seen), changed), (seal, recorded))| {
        let changed = changed?;
        let finding = if seal == Some(seen.seal(changed, recorded)) {
            Finding::Proven
        } else {
            Finding::Seen(seen, changed)
        };
        Some((dir, finding))
    });
    Ok(findings.collect())
}
