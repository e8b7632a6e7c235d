//! `--quick-scan`: asks the server about all recorded directories at a glance, before the walk, level by level and many in
//! one round trip; which of them are as recorded, the walk need not list.

use std::collections::HashMap;

use crate::error::{Error, Result, Scope};
use crate::path::RelPath;
use crate::replica::Mtime;
use crate::sync::Done;
use crate::sync::metadata::RecordKind;
use crate::sync::pool::{Failure, Hands, Pool};
use crate::sync::proof::{Glance, Recorded, may_be_proven};
use crate::sync::store;
use crate::sync::survey::Terms;
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

/// What one window of directories brings.
#[derive(Debug, Default)]
pub struct Glanced {
    found: Vec<(RelPath, Finding)>,
    /// The recorded directories in them.
    below: Vec<RelPath>,
}

/// Glances at all recorded directories for which it may be of use.
///
/// Where the server does not play along there is nothing, and all is listed. An error is one that ends the run.
pub fn glance_over<'env>(
    pool: &mut Pool<'_, 'env, Done>,
    terms: &'env Terms,
    now: Timestamp,
) -> Result<Findings> {
    let mut findings = HashMap::new();
    let mut level = vec![RelPath::root()];
    while !level.is_empty() {
        let mut below = Vec::new();
        while !level.is_empty() {
            let window: Vec<RelPath> = level.drain(..level.len().min(WINDOW)).collect();
            let mut is_again = false;
            let id = pool.submit_frugally(Box::new(move |hands| {
                // A connection that died of it would die again.
                if std::mem::replace(&mut is_again, true) {
                    return Ok(Done::Glanced(None));
                }
                match glance(hands, terms, &window, now) {
                    Ok(glanced) => Ok(Done::Glanced(Some(glanced))),
                    Err(error) if error.scope() == Scope::Session => Err(error),
                    Err(error) => {
                        tell_refusal(&error);
                        Ok(Done::Glanced(None))
                    }
                }
            }));
            match pool.wait_for(id) {
                Ok(Done::Glanced(Some(glanced))) => {
                    findings.extend(glanced.found);
                    below.extend(glanced.below);
                }
                Ok(Done::Glanced(None)) => return Ok(HashMap::new()),
                Ok(_) => unreachable!("a glance's number brings a glance"),
                Err(Failure::Entry(error)) => {
                    tell_refusal(&error);
                    return Ok(HashMap::new());
                }
                Err(Failure::Job(error)) => return Err(error),
            }
        }
        level = below;
    }
    Ok(findings)
}

fn tell_refusal(error: &Error) {
    log::info!("--quick-scan is of no use here, all directories are listed: {error}");
}

/// Glances at the directories of one window.
fn glance(hands: &mut Hands, terms: &Terms, dirs: &[RelPath], now: Timestamp) -> Result<Glanced> {
    let mut glanced = Glanced::default();
    let (mut asked, mut expected) = (Vec::new(), Vec::new());
    for dir in dirs {
        let home = hands.metadata_home();
        // What cannot be read is told of by the survey.
        let Ok(loaded) = store::load(home, dir, &terms.key, terms.other_version) else {
            continue;
        };
        let (proof, records) = (loaded.metadata.proof(), loaded.metadata.records());
        for record in records.iter() {
            if let RecordKind::Dir { .. } = record.what {
                glanced.below.push(dir.join(record.name));
            }
        }
        if proof.is_some() || may_be_proven(records, now) {
            asked.push(dir.clone());
            expected.push((proof, Recorded::of(records)));
        }
    }
    if asked.is_empty() {
        return Ok(glanced);
    }
    let mut seen = vec![Glance::default(); asked.len()];
    let remote = hands.sides.remote.as_mut();
    let told = remote.glance(&asked, &mut |place, name, stat| {
        seen[place].see(name, &stat)
    })?;
    for (((dir, seen), changed), (proof, recorded)) in
        asked.into_iter().zip(seen).zip(told).zip(expected)
    {
        let Some(changed) = changed else { continue };
        let finding = if proof == Some(seen.seal(changed, recorded)) {
            Finding::Proven
        } else {
            Finding::Seen(seen, changed)
        };
        glanced.found.push((dir, finding));
    }
    Ok(glanced)
}
