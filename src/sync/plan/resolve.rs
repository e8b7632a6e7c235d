//! What becomes of a conflict: the rule of the job, or the user's answer, applied to what is there. Pure.

use crate::job::{Delete, Direction, Resolve};
use crate::replica::{Kind, Stat};
use crate::side::{Side, Sides};
use crate::sync::event::Choice;

/// What is to be done about a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing.
    Skip,
    /// Nobody can tell by rule: the user is asked.
    Ask,
    /// Copy over the other side's file.
    Copy {
        /// The winner.
        from: Side,
    },
    /// Copy to the side that had deleted it.
    Restore {
        /// The side that still has it.
        from: Side,
    },
    /// Delete it where it still is.
    Delete {
        /// The side that still has it.
        on: Side,
    },
    /// Keep both files: the loser gets another name, then both are copied.
    KeepBoth {
        /// The side whose file keeps its name.
        winner: Side,
    },
    /// A file against a directory: the loser gets another name on its side, and the winner is copied to where it was.
    MoveAside {
        /// The side whose entry gives way.
        loser: Side,
    },
}

/// What the rule makes of a conflict between these two entries.
///
/// Rules that cannot apply (older and newer where a file is gone, is a directory, or the times are equal) fall back: with equal
/// times to asking where a user can be asked (the rule was chosen by a person at a terminal), else to skipping.
pub fn resolve(
    rule: Resolve,
    direction: Direction,
    delete: Delete,
    stats: Sides<Option<Stat>>,
) -> Resolution {
    let choice = match rule {
        Resolve::Ask => return Resolution::Ask,
        Resolve::Skip => Choice::Skip,
        Resolve::Local => Choice::Use(Side::Local),
        Resolve::Remote => Choice::Use(Side::Remote),
        Resolve::Old if newer(stats).is_some() => Choice::Older,
        Resolve::New if newer(stats).is_some() => Choice::Newer,
        Resolve::Old | Resolve::New => {
            return match (stats.local, stats.remote) {
                (Some(local), Some(remote)) if local.kind == remote.kind => Resolution::Ask,
                (Some(_) | None, Some(_) | None) => Resolution::Skip,
            };
        }
        Resolve::Both => Choice::Both,
    };
    apply(choice, direction, delete, stats)
}

/// What a choice makes of a conflict between these two entries.
pub fn apply(
    choice: Choice,
    direction: Direction,
    delete: Delete,
    stats: Sides<Option<Stat>>,
) -> Resolution {
    let winner = match choice {
        Choice::Skip => return Resolution::Skip,
        Choice::Both => return keep_both(direction, stats),
        Choice::Use(side) => side,
        Choice::Newer | Choice::Older => match (newer(stats), choice) {
            (None, _) => return Resolution::Skip,
            (Some(side), Choice::Older) => side.peer(),
            (Some(side), _) => side,
        },
    };
    let loser = winner.peer();
    match (stats.of(winner), stats.of(loser)) {
        (Some(one), Some(other)) if direction.writes(loser) => {
            if one.kind == other.kind {
                Resolution::Copy { from: winner }
            } else {
                Resolution::MoveAside { loser }
            }
        }
        (Some(_), None) if direction.writes(loser) => Resolution::Restore { from: winner },
        // Upload and download delete only what they were told to.
        (None, Some(_)) if direction.writes(loser) && may_delete(direction, delete) => {
            Resolution::Delete { on: loser }
        }
        (Some(_), Some(_) | None) | (None, Some(_) | None) => Resolution::Skip,
    }
}

fn keep_both(direction: Direction, stats: Sides<Option<Stat>>) -> Resolution {
    if direction != Direction::Sync {
        return Resolution::Skip;
    }
    match (stats.local, stats.remote) {
        // All that is in a directory keeps its path.
        (Some(local), Some(remote)) if local.kind != remote.kind => Resolution::MoveAside {
            loser: if local.kind == Kind::File {
                Side::Local
            } else {
                Side::Remote
            },
        },
        (Some(_), Some(_)) => Resolution::KeepBoth {
            winner: newer(stats).unwrap_or(Side::Local),
        },
        // A change against a deletion: keeping both means keeping the change.
        (Some(_), None) => Resolution::Restore { from: Side::Local },
        (None, Some(_)) => Resolution::Restore { from: Side::Remote },
        (None, None) => Resolution::Skip,
    }
}

/// A conflict is about a file that changed since it was recorded: it is not what was made equal any more.
fn may_delete(direction: Direction, delete: Delete) -> bool {
    match delete {
        Delete::Never | Delete::Ours => direction == Direction::Sync,
        Delete::Missing | Delete::Unmatched => true,
    }
}

/// The side with the newer file; none where there are no two files, or their times cannot be told apart.
pub fn newer(stats: Sides<Option<Stat>>) -> Option<Side> {
    let times = stats.map(|stat| {
        let file = stat.filter(|stat| stat.kind == Kind::File);
        file.and_then(|stat| stat.mtime)
    });
    let (local, remote) = times.local.zip(times.remote)?;
    let is_told = !local.may_be(remote.at) && !remote.may_be(local.at);
    is_told.then_some(if local.at > remote.at {
        Side::Local
    } else {
        Side::Remote
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use Side::{Local, Remote};

    const RULES: [Resolve; 7] = [
        Resolve::Old,
        Resolve::New,
        Resolve::Local,
        Resolve::Remote,
        Resolve::Skip,
        Resolve::Ask,
        Resolve::Both,
    ];

    fn file(secs: i64) -> Option<Stat> {
        Some(Stat::file(1, Timestamp::from_secs(secs)))
    }

    fn sync(rule: Resolve, local: Option<Stat>, remote: Option<Stat>) -> Resolution {
        resolve(
            rule,
            Direction::Sync,
            Delete::Never,
            Sides::new(local, remote),
        )
    }

    #[test]
    fn each_rule_with_both_files_there() {
        let resolved = RULES.map(|rule| sync(rule, file(100), file(200)));
        let copy = |from| Resolution::Copy { from };
        let expected = [
            copy(Local),
            copy(Remote),
            copy(Local),
            copy(Remote),
            Resolution::Skip,
            Resolution::Ask,
            Resolution::KeepBoth { winner: Remote },
        ];
        assert_eq!(resolved, expected);
    }

    #[test]
    fn each_rule_with_a_change_against_a_deletion() {
        let resolved = RULES.map(|rule| sync(rule, file(100), None));
        let restore = Resolution::Restore { from: Local };
        let expected = [
            Resolution::Skip,
            Resolution::Skip,
            restore,
            Resolution::Delete { on: Local },
            Resolution::Skip,
            Resolution::Ask,
            restore,
        ];
        assert_eq!(resolved, expected);
    }

    #[test]
    fn equal_times_leave_old_and_new_to_the_user() {
        assert_eq!(sync(Resolve::New, file(100), file(101)), Resolution::Ask);
        assert_eq!(sync(Resolve::Old, file(100), file(101)), Resolution::Ask);
    }

    #[test]
    fn a_file_against_a_directory_gives_way_or_is_asked_about() {
        let resolved = RULES.map(|rule| sync(rule, file(100), Some(Stat::dir())));
        let aside = |loser| Resolution::MoveAside { loser };
        let expected = [
            Resolution::Skip,
            Resolution::Skip,
            aside(Remote),
            aside(Local),
            Resolution::Skip,
            Resolution::Ask,
            aside(Local),
        ];
        assert_eq!(resolved, expected);
    }

    #[test]
    fn upload_never_writes_local_and_deletes_only_when_told() {
        for rule in RULES {
            for delete in [
                Delete::Never,
                Delete::Missing,
                Delete::Unmatched,
                Delete::Ours,
            ] {
                for (local, remote) in [
                    (file(1), file(9)),
                    (file(9), file(1)),
                    (file(1), None),
                    (None, file(1)),
                    (file(1), Some(Stat::dir())),
                    (Some(Stat::dir()), file(1)),
                ] {
                    match resolve(rule, Direction::Upload, delete, Sides::new(local, remote)) {
                        Resolution::Copy { from } | Resolution::Restore { from } => {
                            assert_eq!(from, Local)
                        }
                        Resolution::Delete { on } => {
                            assert_eq!(on, Remote);
                            assert!(!matches!(delete, Delete::Never | Delete::Ours));
                        }
                        Resolution::MoveAside { loser } => assert_eq!(loser, Remote),
                        Resolution::KeepBoth { .. } => panic!("a mirror cannot keep both"),
                        Resolution::Skip | Resolution::Ask => {}
                    }
                }
            }
        }
    }
}
