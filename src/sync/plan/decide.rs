//! From two statuses to one action: propose, then let the policy have its say. Pure, total, one place.
//!
//! [`propose`] is what `sync` does. [`decide`] is what the command makes of it: upload and download write one side
//! only, delete only what they were told to, and `--force` lets the source win where nobody would be asked.

use crate::job::{Delete, Direction};
use crate::replica::{Kind, Stat};
use crate::side::{Side, Sides};
use crate::sync::event::{DeletedFor, Skipped};
use crate::sync::plan::status::Status;

/// What is to be done with a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing: equal, and recorded as equal.
    Keep,
    /// Nothing but recording that the sides are equal.
    Record,
    /// Drop the record: gone on both sides.
    Forget,
    /// Copy the file, or make the directory and go into it.
    Copy {
        /// The side that has it.
        from: Side,
    },
    /// Delete the file, or empty the directory and remove it.
    Delete {
        /// The side that still has it.
        on: Side,
        /// Why.
        why: DeletedFor,
    },
    /// Both sides changed: a rule or the user decides.
    Conflict,
    /// Leave it, and say why.
    Skip(Skipped),
}

/// What makes the two sides equal again, before policy has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proposal {
    /// Both are as recorded.
    Equal,
    /// Gone on both sides.
    Forget,
    /// Copy from this side.
    Copy(Side),
    /// Delete on this side.
    Delete(Side),
    /// Both sides have what was never recorded: they meet for the first time.
    Meet,
    /// Only looking closer can tell; equal or a conflict.
    Compare,
    /// Both sides changed since they were recorded.
    Conflict,
}

/// Proposes what makes the two sides equal again.
pub fn propose(status: Sides<Status>) -> Proposal {
    use Side::{Local, Remote};
    use Status::{Deleted, Existing, Missing, Modified, New, Unmodified};
    match (status.local, status.remote) {
        (Missing | Deleted, Missing | Deleted) => Proposal::Forget,
        (Unmodified, Unmodified) => Proposal::Equal,

        // One side alone has it, and nobody deleted it.
        (Existing | New | Unmodified | Modified, Missing) => Proposal::Copy(Local),
        (Missing, Existing | New | Unmodified | Modified) => Proposal::Copy(Remote),

        // One side deleted what the other left alone, or what it changed.
        (Unmodified, Deleted) => Proposal::Delete(Local),
        (Deleted, Unmodified) => Proposal::Delete(Remote),
        (Existing | New | Modified, Deleted) | (Deleted, Existing | New | Modified) => {
            Proposal::Conflict
        }

        (Modified, Unmodified) => Proposal::Copy(Local),
        (Unmodified, Modified) => Proposal::Copy(Remote),
        // The same change made twice is none.
        (Modified, Modified) => Proposal::Compare,

        // No record of one of them. Mixed pairs arise only from damaged records, and count as new.
        (Existing, Existing) => Proposal::Meet,
        (New | Existing, New | Existing | Unmodified | Modified)
        | (Unmodified | Modified, New | Existing) => Proposal::Compare,
    }
}

/// Both entries of a pair that only a closer look can tell apart, as the one thing they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Same size, same time.
    Equal,
    /// This side's file is newer.
    Newer(Side),
    /// Same time, another size.
    Differ,
}

/// Compares two files by what is listed of them; a time that one side does not tell makes them differ.
pub fn compare(stats: Sides<&Stat>) -> Comparison {
    let (Some(local), Some(remote)) = (stats.local.mtime, stats.remote.mtime) else {
        return Comparison::Differ;
    };
    let same_time = local.may_be(remote.at) || remote.may_be(local.at);
    match (same_time, stats.local.size == stats.remote.size) {
        (true, true) => Comparison::Equal,
        (true, false) => Comparison::Differ,
        (false, _) if local.at > remote.at => Comparison::Newer(Side::Local),
        (false, _) => Comparison::Newer(Side::Remote),
    }
}

/// What the command makes of a pair.
///
/// `stats` are the entries themselves, present exactly where the status says so. Pairs of a file and a directory, or
/// with a [`Kind::Special`] entry, are not for this function.
pub fn decide(
    direction: Direction,
    force: bool,
    delete: Delete,
    status: Sides<Status>,
    stats: Sides<Option<&Stat>>,
) -> Action {
    let proposed = closer_look(direction, propose(status), stats);
    let is_file = stats
        .local
        .or(stats.remote)
        .is_some_and(|stat| stat.kind == Kind::File);
    match direction.follower() {
        None => unrestricted(proposed),
        Some(follower) => {
            let proposed = if force {
                forced(follower, is_file, status, proposed)
            } else {
                proposed
            };
            restricted(follower, delete, status, proposed)
        }
    }
}

/// A proposal after the closer look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    Equal,
    FoundEqual,
    Forget,
    Copy(Side),
    Delete(Side),
    Conflict,
}

fn closer_look(direction: Direction, proposal: Proposal, stats: Sides<Option<&Stat>>) -> Looked {
    let comparison = || match (stats.local, stats.remote) {
        // Directories are equal as such; what is in them is compared there.
        (
            Some(Stat {
                kind: Kind::Dir, ..
            }),
            Some(Stat {
                kind: Kind::Dir, ..
            }),
        ) => Comparison::Equal,
        (Some(local), Some(remote)) => compare(Sides::new(local, remote)),
        (None, _) | (_, None) => Comparison::Differ,
    };
    match proposal {
        Proposal::Equal => Looked::Equal,
        Proposal::Forget => Looked::Forget,
        Proposal::Copy(from) => Looked::Copy(from),
        Proposal::Delete(on) => Looked::Delete(on),
        Proposal::Conflict => Looked::Conflict,
        Proposal::Meet => match comparison() {
            Comparison::Equal => Looked::FoundEqual,
            // A mirror brings its follower what is newer. Neither side of a sync is the follower: an empty draft that is newer
            // would overwrite a thesis.
            Comparison::Newer(side) if direction != Direction::Sync => Looked::Copy(side),
            Comparison::Newer(_) | Comparison::Differ => Looked::Conflict,
        },
        Proposal::Compare => match comparison() {
            Comparison::Equal => Looked::FoundEqual,
            Comparison::Newer(_) | Comparison::Differ => Looked::Conflict,
        },
    }
}

fn unrestricted(proposed: Looked) -> Action {
    match proposed {
        Looked::Equal => Action::Keep,
        Looked::FoundEqual => Action::Record,
        Looked::Forget => Action::Forget,
        Looked::Copy(from) => Action::Copy { from },
        Looked::Delete(on) => Action::Delete {
            on,
            why: DeletedFor::Missing,
        },
        Looked::Conflict => Action::Conflict,
    }
}

/// `--force`: the source wins where both have the file, and restores what the follower deleted.
fn forced(follower: Side, is_file: bool, status: Sides<Status>, proposed: Looked) -> Looked {
    use Status::{Deleted, Existing, Modified, New, Unmodified};
    let source = follower.peer();
    // Seen from the source, upload and download are the same.
    match (*status.of(source), *status.of(follower)) {
        _ if proposed == Looked::FoundEqual => proposed,
        (New, New) | (Existing, Existing) | (Modified, Modified) | (Unmodified, Modified)
            if is_file =>
        {
            Looked::Copy(source)
        }
        (Unmodified, Deleted) => Looked::Copy(source),
        _ => proposed,
    }
}

/// Upload and download: the source is never written, and the follower loses nothing it was not told to lose.
fn restricted(follower: Side, delete: Delete, status: Sides<Status>, proposed: Looked) -> Action {
    use Status::{Existing, Missing, New};
    let source = follower.peer();
    let gone_from_source = matches!(
        (status.of(source), status.of(follower)),
        (Missing, New | Existing)
    );
    match proposed {
        Looked::Copy(from) if from == source => Action::Copy { from },
        // What only the follower has is surplus.
        Looked::Copy(_) if gone_from_source => delete_if_told(follower, delete, Owner::Unknown),
        Looked::Copy(from) => Action::Skip(Skipped::OneWay { from }),
        Looked::Delete(on) if on == follower => delete_if_told(follower, delete, Owner::Ours),
        Looked::Delete(_) => Action::Skip(Skipped::Gone { from: follower }),
        Looked::Equal | Looked::FoundEqual | Looked::Forget | Looked::Conflict => {
            unrestricted(proposed)
        }
    }
}

/// Whose an entry is that the follower alone has.
#[derive(Clone, Copy)]
enum Owner {
    /// It was made equal on both sides by an earlier run, and is as it was then.
    Ours,
    /// No record tells of it: anybody may have put it there.
    Unknown,
}

fn delete_if_told(follower: Side, delete: Delete, owner: Owner) -> Action {
    match (delete, owner) {
        (Delete::Never | Delete::Ours, Owner::Unknown) => {
            Action::Skip(Skipped::NotOurs { on: follower })
        }
        (Delete::Never, Owner::Ours) => Action::Skip(Skipped::NotDeleted { on: follower }),
        (Delete::Missing | Delete::Unmatched, _) | (Delete::Ours, Owner::Ours) => Action::Delete {
            on: follower,
            why: DeletedFor::Missing,
        },
    }
}

/// What becomes of an entry that the filter rejects: `--delete-unmatched` removes it from the follower.
pub fn decide_unmatched(direction: Direction, delete: Delete, there: Sides<bool>) -> Action {
    match (direction.follower(), delete) {
        (Some(follower), Delete::Unmatched) if *there.of(follower) => Action::Delete {
            on: follower,
            why: DeletedFor::Unmatched,
        },
        (Some(_) | None, Delete::Never | Delete::Missing | Delete::Unmatched | Delete::Ours) => {
            Action::Skip(Skipped::Unmatched)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use Side::{Local, Remote};
    use Status::{Deleted, Existing, Missing, Modified, New, Unmodified};

    const DIRECTIONS: [Direction; 3] = [Direction::Upload, Direction::Download, Direction::Sync];
    const DELETES: [Delete; 4] = [
        Delete::Never,
        Delete::Missing,
        Delete::Unmatched,
        Delete::Ours,
    ];

    fn stat(size: u64, secs: i64) -> Stat {
        Stat::file(size, Timestamp::from_secs(secs))
    }

    /// Every pair of entries that matters: equal, newer here, newer there, same time but other size, directories.
    fn entries() -> [Sides<Stat>; 5] {
        [
            Sides::new(stat(1, 100), stat(1, 101)),
            Sides::new(stat(1, 200), stat(1, 100)),
            Sides::new(stat(1, 100), stat(1, 200)),
            Sides::new(stat(1, 100), stat(2, 100)),
            Sides::new(Stat::dir(), Stat::dir()),
        ]
    }

    fn present(status: Sides<Status>, stats: &Sides<Stat>) -> Sides<Option<&Stat>> {
        Sides::new(
            status.local.is_there().then_some(&stats.local),
            status.remote.is_there().then_some(&stats.remote),
        )
    }

    /// Calls `check` with every combination of statuses, entries, command and switches.
    fn for_all(mut check: impl FnMut(Direction, bool, Delete, Sides<Status>, Sides<Stat>, Action)) {
        for local in Status::ALL {
            for remote in Status::ALL {
                let status = Sides::new(local, remote);
                for stats in entries() {
                    for direction in DIRECTIONS {
                        for force in [false, true] {
                            for delete in DELETES {
                                let action = decide(
                                    direction,
                                    force,
                                    delete,
                                    status,
                                    present(status, &stats),
                                );
                                check(direction, force, delete, status, stats, action);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn proposes_every_cell_of_the_table() {
        use Proposal::{Compare as N, Conflict as X, Equal, Forget as F, Meet as E};
        let (l, r) = (Proposal::Copy(Local), Proposal::Copy(Remote));
        let (dl, dr) = (Proposal::Delete(Local), Proposal::Delete(Remote));
        // Columns: remote missing, existing, new, unmodified, modified, deleted.
        let table = [
            (Missing, [F, r, r, r, r, F]),
            (Existing, [l, E, N, N, N, X]),
            (New, [l, N, N, N, N, X]),
            (Unmodified, [l, N, N, Equal, r, dl]),
            (Modified, [l, N, N, l, N, X]),
            (Deleted, [F, X, X, dr, X, F]),
        ];
        for (local, row) in table {
            for (remote, expected) in Status::ALL.into_iter().zip(row) {
                assert_eq!(
                    propose(Sides::new(local, remote)),
                    expected,
                    "({local}, {remote})"
                );
            }
        }
    }

    #[test]
    fn a_proposal_is_mirror_symmetric() {
        let mirrored = |proposal| match proposal {
            Proposal::Copy(side) => Proposal::Copy(side.peer()),
            Proposal::Delete(side) => Proposal::Delete(side.peer()),
            other => other,
        };
        for local in Status::ALL {
            for remote in Status::ALL {
                let status = Sides::new(local, remote);
                assert_eq!(
                    propose(status.swap()),
                    mirrored(propose(status)),
                    "{status:?}"
                );
            }
        }
    }

    #[test]
    fn download_is_upload_in_the_mirror() {
        let mirror_skip = |skipped| match skipped {
            Skipped::OneWay { from } => Skipped::OneWay { from: from.peer() },
            Skipped::NotDeleted { on } => Skipped::NotDeleted { on: on.peer() },
            Skipped::NotOurs { on } => Skipped::NotOurs { on: on.peer() },
            Skipped::Gone { from } => Skipped::Gone { from: from.peer() },
            other => other,
        };
        let mirror = |action| match action {
            Action::Copy { from } => Action::Copy { from: from.peer() },
            Action::Delete { on, why } => Action::Delete { on: on.peer(), why },
            Action::Skip(skipped) => Action::Skip(mirror_skip(skipped)),
            other => other,
        };
        for_all(|direction, force, delete, status, stats, action| {
            let other = match direction {
                Direction::Upload => Direction::Download,
                Direction::Download => Direction::Upload,
                Direction::Sync => Direction::Sync,
            };
            let (status, stats) = (status.swap(), stats.swap());
            assert_eq!(
                decide(other, force, delete, status, present(status, &stats)),
                mirror(action)
            );
        });
    }

    #[test]
    fn upload_never_writes_local_and_download_never_remote() {
        for_all(|direction, _, _, status, _, action| {
            let Some(follower) = direction.follower() else {
                return;
            };
            match action {
                Action::Copy { from } => {
                    assert_eq!(from, follower.peer(), "{direction:?} {status:?}")
                }
                Action::Delete { on, .. } => assert_eq!(on, follower, "{direction:?} {status:?}"),
                Action::Keep
                | Action::Record
                | Action::Forget
                | Action::Conflict
                | Action::Skip(_) => {}
            }
        });
    }

    #[test]
    fn nothing_is_deleted_unless_told() {
        for_all(|direction, _, delete, status, _, action| {
            if let Action::Delete { on, .. } = action {
                assert!(
                    direction == Direction::Sync || delete != Delete::Never,
                    "{direction:?} {status:?}"
                );
                assert!(
                    !status.of(on.peer()).is_there(),
                    "only what the other side does not have"
                );
            }
        });
    }

    #[test]
    fn sync_never_overwrites_or_deletes_a_change() {
        for_all(|direction, _, _, status, _, action| {
            if direction != Direction::Sync {
                return;
            }
            let lost = match action {
                Action::Copy { from } => Some(*status.of(from.peer())),
                Action::Delete { on, .. } => Some(*status.of(on)),
                Action::Keep
                | Action::Record
                | Action::Forget
                | Action::Conflict
                | Action::Skip(_) => None,
            };
            assert!(
                !matches!(lost, Some(New | Modified | Existing)),
                "{status:?} {action:?}"
            );
        });
    }

    #[test]
    fn without_force_a_mirror_never_overwrites_a_change() {
        for_all(|direction, force, _, status, stats, action| {
            let (Some(follower), false, Action::Copy { .. }) =
                (direction.follower(), force, action)
            else {
                return;
            };
            let source_is_newer = status == Sides::new(Existing, Existing)
                && compare(stats.as_ref()) == Comparison::Newer(follower.peer());
            assert!(
                source_is_newer || !matches!(status.of(follower), New | Modified | Existing),
                "{status:?}"
            );
        });
    }

    #[test]
    fn found_equal_is_recorded_whatever_the_command() {
        for_all(|_, _, _, status, stats, action| {
            let unrecorded = matches!(
                (status.local, status.remote),
                (New | Existing, New | Existing) | (Modified, Modified)
            );
            let equal =
                stats.local.kind == Kind::Dir || compare(stats.as_ref()) == Comparison::Equal;
            if unrecorded && equal {
                assert_eq!(action, Action::Record, "{status:?}");
            }
        });
    }

    #[test]
    fn force_overwrites_and_restores_but_resolves_no_deletion() {
        let upload = |status: Sides<Status>| {
            let stats = Sides::new(stat(1, 100), stat(2, 200));
            decide(
                Direction::Upload,
                true,
                Delete::Never,
                status,
                present(status, &stats),
            )
        };
        let copy = Action::Copy { from: Local };
        for pair in [
            (New, New),
            (Modified, Modified),
            (Existing, Existing),
            (Unmodified, Modified),
            (Unmodified, Deleted),
        ] {
            assert_eq!(upload(Sides::new(pair.0, pair.1)), copy, "{pair:?}");
        }
        assert_eq!(upload(Sides::new(Deleted, Modified)), Action::Conflict);
        assert_eq!(upload(Sides::new(Modified, Deleted)), Action::Conflict);
    }

    #[test]
    fn upload_deletes_surplus_only_when_told() {
        let stats = Sides::new(stat(1, 1), stat(1, 1));
        for remote in [New, Existing] {
            let status = Sides::new(Missing, remote);
            let run = |delete| {
                decide(
                    Direction::Upload,
                    false,
                    delete,
                    status,
                    present(status, &stats),
                )
            };
            assert_eq!(
                run(Delete::Never),
                Action::Skip(Skipped::NotOurs { on: Remote })
            );
            assert_eq!(
                run(Delete::Missing),
                Action::Delete {
                    on: Remote,
                    why: DeletedFor::Missing
                }
            );
        }
    }

    #[test]
    fn unmatched_entries_go_from_the_follower_only_when_told() {
        for direction in DIRECTIONS {
            for delete in DELETES {
                for local in [false, true] {
                    for remote in [false, true] {
                        let there = Sides::new(local, remote);
                        let action = decide_unmatched(direction, delete, there);
                        let deletes = delete == Delete::Unmatched
                            && direction
                                .follower()
                                .is_some_and(|follower| *there.of(follower));
                        assert_eq!(matches!(action, Action::Delete { .. }), deletes);
                        assert_eq!(action == Action::Skip(Skipped::Unmatched), !deletes);
                    }
                }
            }
        }
    }
}
