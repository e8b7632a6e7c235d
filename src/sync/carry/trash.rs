//! The trash: where deleted and overwritten files go on their own side, by a rename.
//!
//! Below the trash directory each run has a directory of its own, named after its time, and in it the tree looks as it did, so
//! nothing in the trash is ever overwritten.

use crate::error::{Result, Scope};
use crate::job::Trash;
use crate::path::{Name, PartOwner, RelPath, TRASH_MARK};
use crate::replica::{Kind, Listing, Removal, Replica, Stat, save};
use crate::sync::carry::copy::make_parents;
use crate::sync::carry::rename::rename_or_find;
use crate::time::Timestamp;

/// Where a file of the run that began at that time goes.
pub fn place(trash: &Trash, run: Timestamp, path: &RelPath) -> RelPath {
    run_dir(trash, run).join_path(path)
}

fn run_dir(trash: &Trash, run: Timestamp) -> RelPath {
    let run = run_name(run);
    trash
        .dir
        .join(Name::new(run.as_bytes()).expect("digits are a good name"))
}

/// Moves a file there. May be called again after the session died: it finds out whether that was done.
pub fn move_to(
    target: &mut dyn Replica,
    path: &RelPath,
    place: &RelPath,
    listed: Option<Stat>,
) -> Result<()> {
    make_parents(target, place)?;
    let is_it = |there: &Stat| listed.is_some_and(|listed| there.may_equal(&listed));
    rename_or_find(target, path, place, is_it)
}

/// A server that shows something in the trash for each of so many seconds shows it for all.
const MOST_SECONDS: i64 = 60;

/// Makes the trash of that side, and marks it as one: such a directory is no content for any client. Says which second this run
/// takes for its own: the first from `now` on of which the trash holds nothing yet.
pub fn open(
    replica: &mut dyn Replica,
    trash: &Trash,
    now: Timestamp,
    owner: PartOwner,
) -> Result<Timestamp> {
    let mark = trash
        .dir
        .join(Name::new(TRASH_MARK).expect("our own names are good names"));
    let is_there = |found: Option<&Result<Option<Stat>>>| matches!(found, Some(Ok(Some(_))));
    let mut second = now;
    let found = replica.look_up(&[mark.clone(), run_dir(trash, second)]);
    let is_marked = is_there(found.first());
    // Nothing is ever moved to where something is, so that what cannot be told now is told then.
    let mut is_taken = is_there(found.get(1));
    while is_taken && second < now.plus_secs(MOST_SECONDS) {
        second = second.plus_secs(1);
        is_taken = is_there(replica.look_up(&[run_dir(trash, second)]).first());
    }
    if !is_marked {
        make_parents(replica, &mark)?;
        save(replica, &mark, b"", owner)?;
    }
    Ok(second)
}

/// Removes what has been in the trash for longer than it is to be kept.
pub fn expire(target: &mut dyn Replica, trash: &Trash, now: Timestamp) -> Result<()> {
    let Some(keep_days) = trash.keep_days else {
        return Ok(());
    };
    let limit = run_name(now.plus_secs(-i64::from(keep_days) * 86_400));
    let mut runs = Listing::new();
    match target.list(&trash.dir, &mut runs) {
        Err(error) if error.scope() == Scope::Entry => return Ok(()),
        listed => listed?,
    }
    for entry in runs
        .iter()
        .filter(|entry| entry.stat.kind == Kind::Dir && is_expired(entry.name, &limit))
    {
        remove_tree(target, &trash.dir.join(entry.name))?;
    }
    Ok(())
}

/// The name of a run's directory: its time, which sorts by age.
fn run_name(run: Timestamp) -> String {
    let digits = run.to_ftp();
    format!("{}-{}", &digits[..8], &digits[8..])
}

/// Whether this is a run's directory: nothing else in the trash is ours. `20231114-221320`
pub fn is_run(name: &[u8]) -> bool {
    let is_right = |(place, byte): (usize, &u8)| match place {
        8 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    name.len() == 15 && name.iter().enumerate().all(is_right)
}

/// Whether this is a run's directory from before `limit`.
fn is_expired(name: Name<'_>, limit: &str) -> bool {
    is_run(name.as_bytes()) && name.as_bytes() < limit.as_bytes()
}

/// Removes a directory of the trash and what is in it; links are removed, never followed.
fn remove_tree(target: &mut dyn Replica, top: &RelPath) -> Result<()> {
    let mut dirs = vec![top.clone()];
    let mut next = 0;
    while next < dirs.len() {
        let mut listing = Listing::new();
        target.list(&dirs[next], &mut listing)?;
        let mut files = Vec::new();
        for entry in listing.iter() {
            let path = dirs[next].join(entry.name);
            match entry.stat.kind {
                Kind::Dir => dirs.push(path),
                Kind::File | Kind::Special => files.push(Removal::File(path)),
            }
        }
        target.remove(&files).into_iter().collect::<Result<()>>()?;
        next += 1;
    }
    let dirs: Vec<Removal> = dirs.into_iter().rev().map(Removal::Dir).collect();
    target.remove(&dirs).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_path_below_the_run() {
        let trash = Trash {
            dir: RelPath::parse(b".trash").unwrap(),
            keep_days: None,
        };
        let place = place(
            &trash,
            Timestamp::from_secs(1_700_000_000),
            &RelPath::parse(b"a/b.txt").unwrap(),
        );
        assert_eq!(place.to_string(), ".trash/20231114-221320/a/b.txt");
    }

    #[test]
    fn only_old_runs_expire() {
        let limit = run_name(Timestamp::from_secs(1_700_000_000));
        let expired = |name: &str| is_expired(Name::new(name.as_bytes()).unwrap(), &limit);
        assert!(expired("20231114-221319"));
        assert!(!expired("20231114-221320"));
        assert!(!expired("holiday photos!"), "not ours");
    }
}
