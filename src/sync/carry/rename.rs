//! Renaming on one side what the user renamed on the other, once it is proven: that one denies the old name and still has the
//! file under the new one, and here the old name is as it was listed and the new one free.

use crate::error::{Error, ErrorKind, Result};
use crate::path::{RelPath, fold_case};
use crate::replica::{Kind, Renaming, Replica, Stat, Times, Written};
use crate::side::{Side, Sides};
use crate::sync::record::{Intent, Journal, Shown};
use crate::sync::workers::Hands;
use crate::time::Timestamp;

/// An entry to be renamed, with what must be true of it.
#[derive(Debug, Clone)]
pub struct Moving {
    /// Its old path on each side.
    pub from: Sides<RelPath>,
    /// Its new path on each side.
    pub to: Sides<RelPath>,
    /// What was listed: under the new name where the user renamed it, under the old one on the other side.
    pub listed: Sides<Stat>,
    /// Whether the side keeps the times it is given.
    pub times: Times,
    /// The name that a file is recorded by from now on.
    pub name: Box<[u8]>,
}

impl Moving {
    /// Whether its names on that side differ in case alone.
    fn is_respelling(&self, on: Side) -> bool {
        let (from, to) = (self.from.of(on).as_bytes(), self.to.of(on).as_bytes());
        from != to && fold_case(from) == fold_case(to)
    }
}

/// Renames those of a batch that may be renamed, on the side that is not `by`; what that shows under their new names then.
/// May be called again after the session died: it finds out first what was done.
///
/// An error is one of the session.
pub fn move_batch(
    hands: &mut Hands<'_>,
    by: Side,
    journal: &Journal,
    moves: &[Moving],
) -> Result<Vec<Result<Written>>> {
    let on = by.peer();
    let froms = |side: Side| -> Vec<RelPath> {
        moves.iter().map(|one| one.from.of(side).clone()).collect()
    };
    let tos =
        |side: Side| -> Vec<RelPath> { moves.iter().map(|one| one.to.of(side).clone()).collect() };
    let user = hands.of(by)?;
    let left = user.look_up(&froms(by));
    let come = user.look_up(&tos(by));
    let is_moved_here = left.into_iter().zip(come);
    let (olds, news) = (froms(on), tos(on));
    let replica = hands.of(on)?;
    let old = replica.look_up(&olds);
    let new = replica.look_up(&news);
    let findings = is_moved_here.zip(old.into_iter().zip(new)).zip(moves);
    let mut results: Vec<Result<Finding>> = findings
        .map(|(((left, come), (old, new)), one)| {
            check_user(one, by, left?, come?)?;
            check_peer(one, on, old?, new?)
        })
        .collect();

    let cleared: Vec<usize> = (0..moves.len())
        .filter(|index| matches!(results[*index], Ok(Finding::Ready(_))))
        .collect();
    for (index, one) in moves.iter().enumerate() {
        if let Ok(Finding::Ready(shown)) = &results[index]
            && let Err(error) = journal.intend(&intent_of(one, on, shown))
        {
            // The journal is for runs that are cut off; that it cannot be kept fails nothing.
            log::debug!("{error}");
        }
    }
    let renames: Vec<Renaming> = cleared
        .iter()
        .map(|index| Renaming {
            from: olds[*index].clone(),
            to: news[*index].clone(),
        })
        .collect();
    let renamed = replica.rename_each(&renames);
    let places: Vec<RelPath> = renames.into_iter().map(|renaming| renaming.to).collect();
    let shown = replica.look_up(&places);
    for (index, (renamed, shown)) in cleared.into_iter().zip(renamed.into_iter().zip(shown)) {
        let expected = *moves[index].listed.of(on);
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
            digest: None,
        })
    };
    Ok(results.into_iter().zip(moves).map(written).collect())
}

/// Changes the case of names on the side that is not the user's: what came of each. May be called again after the session died.
/// On a side that does not tell case apart both names are one entry before and after.
pub fn respell_batch(
    replica: &mut dyn Replica,
    renames: &[Renaming],
    listed: &[Stat],
) -> Vec<Result<()>> {
    let paths = |of: fn(&Renaming) -> &RelPath| -> Vec<RelPath> {
        renames
            .iter()
            .map(|renaming| of(renaming).clone())
            .collect()
    };
    let olds = replica.look_up(&paths(|renaming| &renaming.from));
    let mut results: Vec<Result<()>> = olds
        .into_iter()
        .zip(listed)
        .map(|(old, listed)| match old? {
            Some(now) if now.may_equal(listed) => Ok(()),
            Some(_) => Err(changed("it changed since it was listed")),
            None => Err(changed("it is gone")),
        })
        .collect();
    let cleared = (0..renames.len()).filter(|index| results[*index].is_ok());
    let cleared: Vec<usize> = cleared.collect();
    let several: Vec<Renaming> = cleared
        .iter()
        .map(|index| renames[*index].clone())
        .collect();
    for (index, renamed) in cleared.into_iter().zip(replica.rename_each(&several)) {
        results[index] = renamed;
    }
    results
}

/// Renames an entry to where nothing is. May be called again after the session died: then it finds what it is looking for under
/// the new name alone.
pub fn rename_or_find(
    replica: &mut dyn Replica,
    from: &RelPath,
    to: &RelPath,
    is_it: impl Fn(&Stat) -> bool,
) -> Result<()> {
    let Err(error) = replica.rename(from, to) else {
        return Ok(());
    };
    match &replica.look_up(&[from.clone(), to.clone()])[..] {
        [Ok(None), Ok(Some(there))] if is_it(there) => Ok(()),
        _ => Err(error),
    }
}

enum Finding {
    /// Under the old name lies what was listed, under the new one nothing.
    Ready(Stat),
    /// It is under the new name.
    Done(Stat),
}

fn check_user(one: &Moving, by: Side, left: Option<Stat>, come: Option<Stat>) -> Result<()> {
    match (left, come) {
        (None, Some(now)) if now.may_equal(one.listed.of(by)) => Ok(()),
        (Some(_), _) => Err(changed("the old name is there again")),
        (None, _) => Err(changed("it changed since it was listed")),
    }
}

fn check_peer(one: &Moving, on: Side, old: Option<Stat>, new: Option<Stat>) -> Result<Finding> {
    let expected = one.listed.of(on);
    match (old, new) {
        (Some(now), None) if now.may_equal(expected) => Ok(Finding::Ready(now)),
        // The try before got as far as this, and only the reply was lost.
        (None, Some(now)) if now.may_equal(expected) => Ok(Finding::Done(now)),
        (Some(_), None) => Err(changed("it changed since it was listed")),
        // A side that does not tell case apart may take both for one; whoever renames it finds that out.
        (Some(now), Some(new))
            if one.is_respelling(on) && now.may_equal(expected) && now == new =>
        {
            Ok(Finding::Ready(now))
        }
        (_, Some(_)) => Err(changed("something has appeared under the new name")),
        (None, None) => Err(changed("it is gone")),
    }
}

/// A file that is about to get its new name is one that is about to be placed there.
fn intent_of(one: &Moving, on: Side, shown: &Stat) -> Intent {
    if shown.kind == Kind::Dir {
        return Intent::MoveDir {
            from: one.from.local.clone(),
            to: one.to.local.clone(),
        };
    }
    Intent::Place {
        dir: one.to.local.parent(),
        name: one.name.clone(),
        to: on,
        source: Shown::of(one.listed.of(on.peer())),
        seen: shown.mtime,
        at: Timestamp::now(),
    }
}

fn changed(what: &'static str) -> Error {
    ErrorKind::Changed(what).into()
}

fn unshown() -> Error {
    let text = "the server confirmed the rename, but does not show the file under the new name";
    ErrorKind::Verify(text.to_owned()).into()
}
