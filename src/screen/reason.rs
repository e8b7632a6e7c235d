//! Why something is done with an entry, in words: what became of it on each side, and the rule that follows. Pure.

use crate::replica::{Kind, Stat};
use crate::side::{Side, Sides};
use crate::sync::event::{Decision, DeletedFor, Skipped};
use crate::sync::plan::decide::Action;
use crate::sync::plan::status::Status;
use crate::sync::record::{Shown, What};
use crate::words::{count, local_time};

/// What is done, and why: one line.
pub(super) fn of(decision: &Decision<'_>) -> String {
    let Sides { local, remote } = decision.status;
    format!("local {local}, remote {remote}: {}", ruling(decision))
}

/// What is done, and by which rule.
pub(super) fn ruling(decision: &Decision<'_>) -> String {
    format!("{}, for {}", what(decision.action), why(decision))
}

/// What there is and what is recorded, a line each.
pub(super) fn facts(decision: &Decision<'_>) -> Vec<String> {
    let mut lines: Vec<String> = Side::BOTH
        .into_iter()
        .map(|side| {
            let shown = decision.stats.of(side).map_or("nothing".to_owned(), stat);
            let label = side.to_string();
            format!("{label:<9} {shown}; {}", decision.status.of(side))
        })
        .collect();
    match decision.record {
        None => lines.push("recorded  nothing".to_owned()),
        Some(What::Dir) => lines.push("recorded  a directory".to_owned()),
        Some(What::File(Sides { local, remote })) => {
            let (local, remote) = (shown(local), shown(remote));
            if local == remote {
                lines.push(format!("recorded  {local}"));
            } else {
                lines.push(format!("recorded  {local} on the local side"));
                lines.push(format!("          {remote} on the remote side"));
            }
        }
    }
    lines
}

fn stat(stat: Stat) -> String {
    match stat.kind {
        Kind::Dir => "a directory".to_owned(),
        Kind::Special => "neither file nor directory".to_owned(),
        Kind::File => shown(Shown::of(&stat)),
    }
}

fn shown(shown: Shown) -> String {
    let time = shown
        .mtime
        .map_or_else(|| "no time".to_owned(), |mtime| local_time(mtime.at));
    format!("{time}, {}", count(shown.size, "byte"))
}

/// What is done.
fn what(action: Action) -> String {
    match action {
        Action::Keep => "nothing is done".to_owned(),
        Action::Record => "it is only recorded".to_owned(),
        Action::Forget => "its record is dropped".to_owned(),
        Action::Copy { from } => format!("it is copied to the {} side", from.peer()),
        Action::Delete { on, .. } => format!("it is deleted on the {on} side"),
        Action::Conflict => "it is a conflict, which --resolve or the user settles".to_owned(),
        Action::Skip(_) => "it is left alone".to_owned(),
    }
}

fn why(decision: &Decision<'_>) -> String {
    let status = decision.status;
    match decision.action {
        Action::Keep => "both sides are as they were recorded".to_owned(),
        Action::Record => "both sides have the same size and time".to_owned(),
        Action::Forget => "it is gone on both sides".to_owned(),
        Action::Copy { from } => copied(from, status),
        Action::Delete {
            on,
            why: DeletedFor::Unmatched,
        } => format!(
            "the filter leaves it out, and --delete-unmatched deletes such on the {on} side"
        ),
        Action::Delete { on, .. } if *status.of(on.peer()) == Status::Deleted => format!(
            "the {} side deleted it, and the {on} side has it as it was then",
            on.peer()
        ),
        Action::Delete { on, .. } => format!(
            "the {} side does not have it, and --delete deletes such",
            on.peer()
        ),
        Action::Conflict => match (status.local, status.remote) {
            (Status::Deleted, _) => {
                "the local side deleted what is new or changed on the remote one".to_owned()
            }
            (_, Status::Deleted) => {
                "the remote side deleted what is new or changed on the local one".to_owned()
            }
            (Status::Modified, Status::Modified) => {
                "both sides changed it, and not to the same size and time".to_owned()
            }
            _ => "both sides have it, no record says which changed, and size or time differ"
                .to_owned(),
        },
        Action::Skip(skipped) => left_alone(skipped),
    }
}

fn copied(from: Side, status: Sides<Status>) -> String {
    let to = from.peer();
    let is = *status.of(from);
    match status.of(to) {
        Status::Missing => {
            format!("the {from} side has it, the {to} one does not, and no record says that it had")
        }
        Status::Unmodified => format!("the {from} side changed it, and the {to} one did not"),
        Status::Deleted => format!("the {to} side lost it, and --force restores such"),
        Status::Existing if is == Status::Existing => {
            format!(
                "they meet for the first time, and the {from} one is newer, or --force lets it win"
            )
        }
        Status::Existing | Status::New | Status::Modified => {
            format!("--force lets the {from} side win")
        }
    }
}

fn left_alone(skipped: Skipped) -> String {
    match skipped {
        Skipped::Unmatched => {
            "the filter (-x, -m, what is left out by default) rejects it".to_owned()
        }
        Skipped::OneWay { from } => {
            format!("it is changed on the {from} side, and this command copies the other way only")
        }
        Skipped::NotDeleted { on } | Skipped::NotOurs { on } => format!(
            "only the {on} side has it, and nothing asks to delete it there (--delete, --delete-ours)"
        ),
        Skipped::Gone { from } => {
            format!("the {from} side lost it, and only --force sends what did not change again")
        }
        Skipped::TooYoung => "it changed a moment ago (--min-age)".to_owned(),
        Skipped::Special { on } => format!("on the {on} side it is no file and no directory"),
        Skipped::Linked { on } => format!(
            "on the {on} side a link leads to it: it has another name there as well, and a link is never replaced"
        ),
        Skipped::Protected { on } => format!(
            "what the {} side has could not be read in full, and so nothing is deleted or replaced",
            on.peer()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;
    use crate::time::Timestamp;

    fn decision(path: &RelPath, status: Sides<Status>, action: Action) -> Decision<'_> {
        let file = |size| Some(Stat::file(size, Timestamp::from_secs(1_700_000_000)));
        Decision {
            path,
            stats: Sides::new(file(1), file(1234)),
            record: None,
            status,
            action,
        }
    }

    #[test]
    fn a_reason_names_what_became_of_both_sides() {
        let path = RelPath::parse(b"x").unwrap();
        let said = |local, remote, action| of(&decision(&path, Sides::new(local, remote), action));
        let copy = Action::Copy { from: Side::Local };
        assert_eq!(
            said(Status::Modified, Status::Unmodified, copy),
            "local modified, remote unmodified: it is copied to the remote side, for the local side changed it, and the \
             remote one did not"
        );
        let delete = Action::Delete {
            on: Side::Local,
            why: DeletedFor::Missing,
        };
        assert!(
            said(Status::Unmodified, Status::Deleted, delete)
                .ends_with("the remote side deleted it, and the local side has it as it was then")
        );
    }

    #[test]
    fn facts_are_what_each_side_shows_and_what_is_recorded() {
        let path = RelPath::parse(b"x").unwrap();
        let status = Sides::new(Status::New, Status::New);
        let time = local_time(Timestamp::from_secs(1_700_000_000));
        assert_eq!(
            facts(&decision(&path, status, Action::Conflict)),
            [
                format!("local     {time}, 1 byte; new"),
                format!("remote    {time}, 1,234 bytes; new"),
                "recorded  nothing".to_owned(),
            ]
        );
    }
}
