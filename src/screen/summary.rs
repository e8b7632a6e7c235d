//! What a run came to, in words and as an exit code. Pure.

use super::exit::{ExitCode, exit_code_of};
use super::grouped;
use crate::error::Error;
use crate::sync::event::Totals;

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

pub(super) fn detail(totals: &Totals) -> String {
    format!(
        "{} bytes to local, {} bytes to remote; directories made: {}; renamed: {}; deleted: {} files, {} directories; conflicts: {}",
        grouped(totals.bytes_written.local),
        grouped(totals.bytes_written.remote),
        totals.dirs_created,
        totals.renamed,
        totals.files_deleted,
        totals.dirs_deleted,
        totals.conflicts
    )
}
