//! Deleting, once it is proven: the other side has denied that exact name, and the entry is still what was listed.

use crate::error::{ErrorKind, Result, Scope};
use crate::path::{METADATA_NAME, Name, RelPath};
use crate::replica::{Kind, Removal, Replica, Stat};
use crate::side::{Side, Sides};
use crate::sync::carry::trash;
use crate::sync::event::Deed;
use crate::sync::record::{Intent, Journal};
use crate::sync::workers::Hands;

/// One entry to be deleted, with what must be true of it.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// Its directory's place in the plan.
    pub dir: usize,
    /// Its path on each side.
    pub paths: Sides<RelPath>,
    /// File or directory.
    pub kind: Kind,
    /// What was listed of a file.
    pub listed: Option<Stat>,
    /// Whether the other side has to deny the name first.
    pub needs_denial: bool,
    /// What it is called when it is done.
    pub deed: Deed,
    /// The name it is recorded by.
    pub name: Box<[u8]>,
}

/// How many names travel in one batch. What is deleted is looked at in the same batch; on a server somebody may change it in
/// between, and the fewer are looked at at a time, the shorter that is.
pub const fn batch_on(side: Side) -> usize {
    match side {
        Side::Local => 256,
        Side::Remote => 16,
    }
}

/// Deletes those of a batch that may be deleted: the other side denies the name, and the entry is as it was listed.
///
/// An error is one of the session: all is tried again on a new one, where what is done already counts as done.
pub fn delete_batch(
    hands: &mut Hands<'_>,
    on: Side,
    deletions: &[Deletion],
    journal: &Journal,
    trash: impl Fn(&RelPath) -> Option<RelPath>,
) -> Result<Vec<Result<()>>> {
    let mut verdicts: Vec<Result<()>> = deletions.iter().map(|_| Ok(())).collect();
    let asked: Vec<usize> = (0..deletions.len())
        .filter(|index| deletions[*index].needs_denial)
        .collect();
    let names: Vec<RelPath> = asked
        .iter()
        .map(|index| deletions[*index].paths.of(on.peer()).clone())
        .collect();
    let answers = if names.is_empty() {
        Vec::new()
    } else {
        hands.of(on.peer())?.look_up(&names)
    };
    for (index, answer) in asked.into_iter().zip(answers) {
        verdicts[index] = match answer {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(ErrorKind::Changed(
                "it is there on the other side after all, and is not deleted",
            )
            .into()),
            Err(error) => {
                Err(error.while_doing("asking the other side whether it is really gone there"))
            }
        };
    }
    let replica = hands.of(on)?;
    // A disk is looked at right before each one.
    let step = match on {
        Side::Local => 1,
        Side::Remote => deletions.len().max(1),
    };
    for (several, verdicts) in deletions.chunks(step).zip(verdicts.chunks_mut(step)) {
        look_again(replica, on, several, verdicts);
        remove_cleared(replica, on, several, verdicts, journal, &trash)?;
    }
    Ok(verdicts)
}

/// Clears what is still as it was listed.
fn look_again(
    replica: &mut dyn Replica,
    on: Side,
    deletions: &[Deletion],
    verdicts: &mut [Result<()>],
) {
    let files: Vec<usize> = (0..deletions.len())
        .filter(|index| verdicts[*index].is_ok() && deletions[*index].listed.is_some())
        .collect();
    let paths: Vec<RelPath> = files
        .iter()
        .map(|index| deletions[*index].paths.of(on).clone())
        .collect();
    for (index, answer) in files.into_iter().zip(replica.look_up(&paths)) {
        verdicts[index] = match (answer, deletions[index].listed) {
            (Ok(Some(now)), Some(listed)) if !now.may_equal(&listed) => {
                Err(ErrorKind::Changed("it changed since it was listed, and is not deleted").into())
            }
            (Ok(_), _) => Ok(()),
            (Err(error), _) => Err(error),
        };
    }
}

/// Removes, or moves to the trash, what was cleared for deletion.
fn remove_cleared(
    replica: &mut dyn Replica,
    on: Side,
    deletions: &[Deletion],
    verdicts: &mut [Result<()>],
    journal: &Journal,
    trash: &impl Fn(&RelPath) -> Option<RelPath>,
) -> Result<()> {
    let mut removals = Vec::new();
    let mut owners = Vec::new();
    for (index, deletion) in deletions.iter().enumerate() {
        if verdicts[index].is_err() {
            continue;
        }
        intend(journal, on, deletion);
        let path = deletion.paths.of(on);
        match (deletion.kind, trash(path)) {
            (Kind::File, Some(place)) => {
                verdicts[index] = trash::move_to(replica, path, &place, deletion.listed);
            }
            (Kind::File, None) | (Kind::Special, _) => {
                owners.push(Some(index));
                removals.push(Removal::File(path.clone()));
            }
            (Kind::Dir, _) => {
                // It may not be there, and if it cannot be removed, the directory will say so.
                let metadata = Name::new(METADATA_NAME).expect("our own names are good names");
                owners.push(None);
                removals.push(Removal::File(path.join(metadata)));
                owners.push(Some(index));
                removals.push(Removal::Dir(path.clone()));
            }
        }
    }
    for (owner, result) in owners.into_iter().zip(replica.remove(&removals)) {
        match (owner, result) {
            (Some(index), result) => verdicts[index] = result,
            (None, Err(error)) if error.scope() == Scope::Session => return Err(error),
            (None, _) => {}
        }
    }
    Ok(())
}

/// The journal is for runs that are cut off; that it cannot be kept fails nothing.
fn intend(journal: &Journal, on: Side, deletion: &Deletion) {
    let intent = Intent::Delete {
        dir: deletion.paths.local.parent(),
        name: deletion.name.clone(),
        on,
    };
    if let Err(error) = journal.intend(&intent) {
        log::debug!("{error}");
    }
}
