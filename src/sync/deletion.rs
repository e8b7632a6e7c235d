//! Deleting, once it is proven: the other side has denied that exact name, and the entry is still what was listed.

use crate::error::{ErrorKind, Result, Scope};
use crate::path::{CORRUPT_METADATA_NAME, METADATA_NAME, Name, RelPath};
use crate::replica::{Kind, Removal, Replica, Stat};
use crate::side::{Side, Sides};
use crate::sync::event::Deed;
use crate::sync::pool::Hands;
use crate::sync::trash;

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

/// Deletes those of a batch that may be deleted: the other side denies the name, and the entry is as it was listed.
pub fn delete_batch(
    hands: &mut Hands,
    on: Side,
    deletions: &[Deletion],
    trash: impl Fn(&RelPath) -> Option<RelPath>,
) -> Vec<Result<()>> {
    let mut verdicts: Vec<Result<()>> = deletions.iter().map(|_| Ok(())).collect();
    let asked: Vec<usize> = (0..deletions.len())
        .filter(|index| deletions[*index].needs_denial)
        .collect();
    let names: Vec<RelPath> = asked
        .iter()
        .map(|index| deletions[*index].paths.of(on.peer()).clone())
        .collect();
    let answers = hands.sides.of_mut(on.peer()).look_up(&names);
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
    let target = hands.sides.of_mut(on).as_mut();
    let files: Vec<usize> = (0..deletions.len())
        .filter(|index| verdicts[*index].is_ok() && deletions[*index].listed.is_some())
        .collect();
    let paths: Vec<RelPath> = files
        .iter()
        .map(|index| deletions[*index].paths.of(on).clone())
        .collect();
    for (index, answer) in files.into_iter().zip(target.look_up(&paths)) {
        verdicts[index] = match (answer, deletions[index].listed) {
            (Ok(Some(now)), Some(listed)) if !now.may_equal(&listed) => {
                Err(ErrorKind::Changed("it changed since it was listed, and is not deleted").into())
            }
            (Ok(_), _) => Ok(()),
            (Err(error), _) => Err(error),
        };
    }
    remove_cleared(target, on, deletions, verdicts, trash)
}

/// Removes, or moves to the trash, what was cleared for deletion.
fn remove_cleared(
    target: &mut dyn Replica,
    on: Side,
    deletions: &[Deletion],
    mut verdicts: Vec<Result<()>>,
    trash: impl Fn(&RelPath) -> Option<RelPath>,
) -> Vec<Result<()>> {
    let mut removals = Vec::new();
    let mut owners = Vec::new();
    for (index, deletion) in deletions.iter().enumerate() {
        if verdicts[index].is_err() {
            continue;
        }
        let path = deletion.paths.of(on);
        match (deletion.kind, trash(path)) {
            (Kind::File, Some(place)) => verdicts[index] = trash::move_to(target, path, &place),
            (Kind::File, None) | (Kind::Special, _) => {
                owners.push(index);
                removals.push(Removal::File(path.clone()));
            }
            (Kind::Dir, _) => {
                let own = [METADATA_NAME, CORRUPT_METADATA_NAME]
                    .map(|name| Name::new(name).expect("our own names are good names"));
                for name in own {
                    // It may not be there, and if it cannot be removed, the directory will say so.
                    owners.push(usize::MAX);
                    removals.push(Removal::File(path.join(name)));
                }
                owners.push(index);
                removals.push(Removal::Dir(path.clone()));
            }
        }
    }
    for (owner, result) in owners.into_iter().zip(target.remove(&removals)) {
        if let Some(verdict) = verdicts.get_mut(owner) {
            *verdict = result;
        } else if let Err(error) = result
            && error.scope() == Scope::Session
        {
            return deletions
                .iter()
                .map(|_| Err(ErrorKind::Protocol(error.to_string()).into()))
                .collect();
        }
    }
    verdicts
}
