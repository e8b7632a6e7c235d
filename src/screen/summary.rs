//! What a run came to, in words and as an exit code. Pure.

use std::time::Duration;

use super::exit::{ExitCode, exit_code_of};
use super::progress::size;
use crate::error::Error;
use crate::side::Side;
use crate::sync::event::Totals;
use crate::words::{count, grouped};

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// What was done.
    pub totals: &'a Totals,
    /// What ended it before its end.
    pub error: Option<&'a Error>,
    /// Whether skipped conflicts and failed copies make an exit code of their own.
    pub report_problems: bool,
}

pub(super) fn exit_code(ending: &Ending<'_>) -> ExitCode {
    let Totals {
        errors,
        copy_errors,
        conflicts_skipped,
        gone,
        ..
    } = *ending.totals;
    let entries = if errors > 0 || copy_errors > 0 {
        ExitCode::SomeFailed
    } else {
        ExitCode::Done
    };
    let problems = if ending.report_problems && errors + copy_errors + conflicts_skipped + gone > 0
    {
        ExitCode::Problems
    } else {
        ExitCode::Done
    };
    let end = ending.error.map_or(ExitCode::Done, exit_code_of);
    entries.worse(problems).worse(end)
}

/// What a run came to: each thing once, and only what there was.
pub(super) fn of(ending: &Ending<'_>, is_dry: bool, took: Duration) -> String {
    let totals = ending.totals;
    let done = parts(totals);
    let mut clauses = vec![match (done.is_empty(), is_dry) {
        (true, _) => "Nothing to do".to_owned(),
        (false, true) => format!("To be done: {}", done.join(", ")),
        (false, false) => format!("Done: {}", done.join(", ")),
    }];
    clauses.extend(conflicts(totals));
    if totals.left_alone > 0 {
        clauses.push(format!("{} left alone", grouped(totals.left_alone)));
    }
    clauses.push(match totals.errors {
        0 => "no errors".to_owned(),
        errors => count(errors, "error"),
    });
    let files = count(totals.files.local.max(totals.files.remote), "file");
    let dirs = count(totals.dirs.local.max(totals.dirs.remote), "directory");
    let (secs, hundredths) = (took.as_secs(), took.subsec_millis() / 10);
    format!(
        "{}. Seen: {files}, {dirs}, in {secs}.{hundredths:02} s.",
        clauses.join("; ")
    )
}

fn parts(totals: &Totals) -> Vec<String> {
    let mut parts = Vec::new();
    for (side, way) in [(Side::Remote, "up"), (Side::Local, "down")] {
        let files = *totals.files_written.of(side);
        if files > 0 {
            let size = size(*totals.bytes_written.of(side));
            parts.push(format!("{} {way} ({size})", count(files, "file")));
        }
    }
    let made = |number: u64, noun: &str, done: &str| format!("{} {done}", count(number, noun));
    let counted = [
        (totals.put_back, made(totals.put_back, "file", "put back")),
        (
            totals.dirs_created,
            made(totals.dirs_created, "directory", "made"),
        ),
        (
            totals.renamed,
            format!("{} renamed", grouped(totals.renamed)),
        ),
        (
            totals.files_deleted,
            made(totals.files_deleted, "file", "deleted"),
        ),
        (
            totals.dirs_deleted,
            made(totals.dirs_deleted, "directory", "deleted"),
        ),
    ];
    let there = counted.into_iter().filter(|(number, _)| *number > 0);
    parts.extend(there.map(|(_, text)| text));
    parts
}

/// What became of the conflicts. What was copied or deleted for one counts as such.
fn conflicts(totals: &Totals) -> Option<String> {
    let all = |what: &str| format!("{} {what}", count(totals.conflicts, "conflict"));
    match (totals.conflicts_settled(), totals.conflicts_skipped) {
        (0, 0) => None,
        (_, 0) => Some(all("settled")),
        (0, _) => Some(all("skipped")),
        (settled, _) => Some(format!(
            "{} of {} settled",
            grouped(settled),
            count(totals.conflicts, "conflict")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::side::Sides;

    fn ending(totals: &Totals) -> Ending<'_> {
        Ending {
            totals,
            error: None,
            report_problems: false,
        }
    }

    fn said(totals: &Totals) -> String {
        of(&ending(totals), false, Duration::from_millis(1230))
    }

    #[test]
    fn all_that_was_done_is_counted_once() {
        let seen = Totals {
            files: Sides::new(7, 5),
            dirs: Sides::new(1, 1),
            ..Totals::default()
        };
        assert_eq!(
            said(&seen),
            "Nothing to do; no errors. Seen: 7 files, 1 directory, in 1.23 s."
        );
        let left = Totals {
            left_alone: 2,
            conflicts: 1,
            conflicts_skipped: 1,
            ..seen
        };
        assert_eq!(
            said(&left),
            "Nothing to do; 1 conflict skipped; 2 left alone; no errors. Seen: 7 files, 1 directory, in 1.23 s."
        );
        let done = Totals {
            files_written: Sides::new(1, 3),
            bytes_written: Sides::new(1, 3 << 20),
            dirs_created: 2,
            renamed: 1,
            files_deleted: 1,
            conflicts: 4,
            errors: 2,
            ..left
        };
        assert_eq!(
            said(&done),
            "Done: 3 files up (3.0 MiB), 1 file down (1 byte), 2 directories made, 1 renamed, 1 file deleted; 3 of 4 conflicts \
             settled; 2 left alone; 2 errors. Seen: 7 files, 1 directory, in 1.23 s."
        );
        assert!(of(&ending(&done), true, Duration::ZERO).starts_with("To be done: 3 files up"));
    }

    #[test]
    fn report_problems_has_a_code_of_its_own() {
        let skipped = Totals {
            conflicts_skipped: 1,
            ..Totals::default()
        };
        let failed = Totals {
            copy_errors: 1,
            errors: 1,
            ..Totals::default()
        };
        let with = |totals| Ending {
            report_problems: true,
            ..ending(totals)
        };
        assert_eq!(exit_code(&ending(&skipped)), ExitCode::Done);
        assert_eq!(exit_code(&with(&skipped)), ExitCode::Problems);
        assert_eq!(exit_code(&ending(&failed)), ExitCode::SomeFailed);
        assert_eq!(exit_code(&with(&failed)), ExitCode::Problems);
        let locked = Error::new(ErrorKind::Locked("by 1".into()));
        let ending = Ending {
            error: Some(&locked),
            ..with(&failed)
        };
        assert_eq!(exit_code(&ending), ExitCode::Locked);
    }
}
