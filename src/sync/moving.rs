//! Renaming on the remote side, once it is proven: the local side denies the old name and still has the file under the
//! new one, and on the remote side the old name is as it was listed and the new one free.

use crate::error::{Error, ErrorKind, Result};
use crate::path::RelPath;
use crate::replica::{Renaming, Stat, Times, Written};
use crate::side::{Side, Sides};
use crate::sync::journal::{Intent, Journal};
use crate::sync::pool::Hands;

/// An entry to be renamed on the remote side, with what must be true of it.
#[derive(Debug, Clone)]
pub struct Moving {
    /// Its old path on each side.
    pub from: Sides<RelPath>,
    /// Its new path on each side.
    pub to: Sides<RelPath>,
    /// What was listed: on the local side under the new name, on the remote side under the old one.
    pub listed: Sides<Stat>,
    /// Whether the remote side keeps the times it is given.
    pub times: Times,
}

/// Renames those of a batch that may be renamed; what the remote side shows under their new names then. May be called
/// again after the connection died: it finds out first what was done.
pub fn move_batch(
    hands: &mut Hands,
    journal: Option<&Journal>,
    moves: &[Moving],
) -> Vec<Result<Written>> {
    let Sides { local, remote } = &mut hands.sides;
    let paths_of = |path: fn(&Moving) -> &RelPath| moves.iter().map(path).cloned().collect();
    let (olds, news): (Vec<RelPath>, Vec<RelPath>) = (
        paths_of(|one| &one.from.remote),
        paths_of(|one| &one.to.remote),
    );
    let left = local.look_up(&paths_of(|one| &one.from.local));
    let come = local.look_up(&paths_of(|one| &one.to.local));
    let is_moved_here = left.into_iter().zip(come);
    let old = remote.look_up(&olds);
    let new = remote.look_up(&news);
    let findings = is_moved_here.zip(old.into_iter().zip(new)).zip(moves);
    let mut results: Vec<Result<Finding>> = findings
        .map(|(((left, come), (old, new)), one)| {
            check_local(one, left?, come?)?;
            check_remote(one, old?, new?)
        })
        .collect();

    let cleared: Vec<usize> = (0..moves.len())
        .filter(|index| matches!(results[*index], Ok(Finding::Ready(_))))
        .collect();
    for (index, one) in moves.iter().enumerate() {
        if let (Ok(Finding::Ready(shown)), Some(journal)) = (&results[index], journal)
            && let Some(intent) = intent_of(one, shown)
        {
            journal.note(&intent);
        }
    }
    let renames: Vec<Renaming> = cleared
        .iter()
        .map(|index| Renaming {
            from: olds[*index].clone(),
            to: news[*index].clone(),
        })
        .collect();
    let renamed = remote.rename_each(&renames);
    let places: Vec<RelPath> = renames.into_iter().map(|renaming| renaming.to).collect();
    let shown = remote.look_up(&places);
    for (index, (renamed, shown)) in cleared.into_iter().zip(renamed.into_iter().zip(shown)) {
        let expected = moves[index].listed.remote;
        results[index] = renamed.and(shown).and_then(|shown| match shown {
            Some(stat) if stat.may_equal(&expected) => Ok(Finding::Done(stat)),
            _ => Err(unshown()),
        });
    }
    let written = |(finding, one): (Result<Finding>, &Moving)| {
        let (Finding::Ready(stat) | Finding::Done(stat)) = finding?;
        Ok(Written {
            stat,
            times: one.times,
            inode: 0,
        })
    };
    results.into_iter().zip(moves).map(written).collect()
}

enum Finding {
    /// Under the old name lies what was listed, under the new one nothing.
    Ready(Stat),
    /// It is under the new name.
    Done(Stat),
}

fn check_local(one: &Moving, left: Option<Stat>, come: Option<Stat>) -> Result<()> {
    match (left, come) {
        (None, Some(now)) if now.may_equal(&one.listed.local) => Ok(()),
        (Some(_), _) => Err(changed("the old name is there again")),
        (None, _) => Err(changed("it changed since it was listed")),
    }
}

fn check_remote(one: &Moving, old: Option<Stat>, new: Option<Stat>) -> Result<Finding> {
    let expected = one.listed.remote;
    match (old, new) {
        (Some(now), None) if now.may_equal(&expected) => Ok(Finding::Ready(now)),
        // The try before got as far as this, and only the reply was lost.
        (None, Some(now)) if now.may_equal(&expected) => Ok(Finding::Done(now)),
        (Some(_), None) => Err(changed("it changed since it was listed")),
        (_, Some(_)) => Err(changed("something has appeared under the new name")),
        (None, None) => Err(changed("it is gone")),
    }
}

/// A file that is about to get its new name, as one that is about to be placed there.
fn intent_of(one: &Moving, shown: &Stat) -> Option<Intent> {
    let (dir, name) = (one.to.local.parent(), one.to.local.name()?);
    let source = &one.listed.local;
    Intent::new(
        dir,
        name.as_bytes(),
        Side::Remote,
        source,
        shown.best_mtime(),
    )
}

fn changed(what: &'static str) -> Error {
    ErrorKind::Changed(what).into()
}

fn unshown() -> Error {
    let text = "the server confirmed the rename, but does not show the file under the new name";
    ErrorKind::Verify(text.to_owned()).into()
}
