//! Explains one entry: what each side shows, what is recorded, and what each command would do about it by which rule.

use std::io::{self, IsTerminal, Write};

use super::wrapped;
use super::{ExitCode, exit_code_of, failure, reason, terminal, warning};
use crate::error::Error;
use crate::job::{Delete, Direction};
use crate::path::RelPath;
use crate::side::Sides;
use crate::sync::event::{Decision, Deed, Event, Skipped};
use crate::sync::plan::decide::{Action, decide};
use crate::sync::plan::status::Status;

/// Tells of one entry, of the events of a look at it.
pub struct Explanation<Out, Err> {
    out: Out,
    err: Err,
    path: RelPath,
    /// What lines are to fit, where somebody reads them at a terminal.
    columns: Option<usize>,
    is_told: bool,
    worst: ExitCode,
}

impl Explanation<io::Stdout, io::Stderr> {
    /// What is explained to whoever started this process.
    pub fn of_process(path: RelPath) -> Self {
        let columns = io::stdout().is_terminal().then(terminal::width);
        Self::new(io::stdout(), io::stderr(), path, columns)
    }
}

impl<Out: Write, Err: Write> Explanation<Out, Err> {
    /// An explanation of that entry, in lines of so many columns.
    pub const fn new(out: Out, err: Err, path: RelPath, columns: Option<usize>) -> Self {
        Self {
            out,
            err,
            path,
            columns,
            is_told: false,
            worst: ExitCode::Done,
        }
    }

    /// Shows what concerns the entry.
    pub fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Decided(decision) if *decision.path == self.path => self.decided(decision),
            Event::Entry {
                path,
                deed: Deed::Recorded,
                ..
            } if **path == self.path => {
                self.say("Both sides hold the same bytes, where that was looked at: then it is only recorded.");
            }
            Event::Failed { error, .. } => {
                self.is_told = true;
                self.worst = ExitCode::SomeFailed;
                let _ = writeln!(
                    self.err,
                    "{}",
                    failure(format_args!("{}: {error}", self.path))
                );
            }
            Event::Warning(text) => {
                let _ = writeln!(self.err, "{}", warning(text));
            }
            Event::Started
            | Event::Scanned { .. }
            | Event::Planned { .. }
            | Event::Decided(_)
            | Event::Entry { .. }
            | Event::Moved { .. }
            | Event::Question
            | Event::Notice(_)
            | Event::Line(_) => {}
        }
    }

    /// Ends it.
    pub fn finish(mut self, error: Option<&Error>) -> ExitCode {
        if let Some(error) = error {
            let _ = writeln!(self.err, "{}", failure(error));
            return self.worst.worse(exit_code_of(error));
        }
        if !self.is_told {
            let text = format!(
                "{} is on neither side, and nothing is recorded of it. PATH begins at the roots.",
                self.path
            );
            self.say(&text);
        }
        self.worst
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        self.is_told = true;
        let path = self.path.to_string();
        self.say(&path);
        for fact in reason::facts(decision) {
            self.say(&format!("  {fact}"));
        }
        for (command, action) in rulings(decision) {
            let ruling = Decision {
                action,
                ..*decision
            };
            self.say(&format!("{command}: {}", reason::ruling(&ruling)));
        }
        if may_be_renamed(decision) {
            self.say(
                "Only this entry was looked at: a run may find that it only has another name.",
            );
        }
    }

    fn say(&mut self, text: &str) {
        // Who reads us may have gone.
        let _ = match self.columns {
            Some(columns) => writeln!(self.out, "{}", wrapped(text, columns)),
            None => writeln!(self.out, "{text}"),
        };
    }
}

/// What each command makes of the entry, without options.
fn rulings(decision: &Decision<'_>) -> Vec<(&'static str, Action)> {
    let Sides { local, remote } = decision.stats;
    let is_for_all = match decision.action {
        Action::Skip(
            Skipped::Unmatched
            | Skipped::TooYoung
            | Skipped::Special { .. }
            | Skipped::Linked { .. }
            | Skipped::Protected { .. },
        )
        | Action::Forget => true,
        // A file against a directory.
        _ => local
            .zip(remote)
            .is_some_and(|(local, remote)| local.kind != remote.kind),
    };
    if is_for_all {
        return vec![("upload, download, sync", decision.action)];
    }
    let of = |direction| {
        let stats = decision.stats.as_ref().map(|stat| stat.as_ref());
        decide(direction, false, Delete::Never, decision.status, stats)
    };
    vec![
        ("sync", decision.action),
        ("upload", of(Direction::Upload)),
        ("download", of(Direction::Download)),
    ]
}

fn may_be_renamed(decision: &Decision<'_>) -> bool {
    let Sides { local, remote } = decision.status;
    match decision.action {
        Action::Copy { .. } => local == Status::Missing || remote == Status::Missing,
        Action::Delete { .. } => true,
        Action::Keep | Action::Record | Action::Forget | Action::Conflict | Action::Skip(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Stat;
    use crate::time::Timestamp;

    #[test]
    fn each_command_has_its_ruling() {
        let path = RelPath::parse(b"a/x").unwrap();
        let stat = |size| Some(Stat::file(size, Timestamp::from_secs(1_700_000_000)));
        let decision = Decision {
            path: &path,
            stats: Sides::new(stat(1), stat(2)),
            record: None,
            status: Sides::new(Status::Unmodified, Status::Modified),
            action: Action::Copy {
                from: crate::side::Side::Remote,
            },
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut explanation = Explanation::new(&mut out, &mut err, path.clone(), None);
        explanation.show(&Event::Decided(&decision));
        assert_eq!(explanation.finish(None), ExitCode::Done);
        let out = String::from_utf8(out).unwrap();
        for part in [
            "a/x\n  local     ",
            "\nsync: it is copied to the local side, for the remote side changed it, and the local one did not\n",
            "\nupload: it is left alone, for it is changed on the remote side, and this command copies the other way only\n",
            "\ndownload: it is copied to the local side, ",
        ] {
            assert!(out.contains(part), "no {part:?} in {out}");
        }
    }

    #[test]
    fn what_is_nowhere_is_said_to_be() {
        let path = RelPath::parse(b"a/x").unwrap();
        let mut out = Vec::new();
        let explanation = Explanation::new(&mut out, Vec::new(), path, None);
        assert_eq!(explanation.finish(None), ExitCode::Done);
        let out = String::from_utf8(out).unwrap();
        assert!(
            out.starts_with("a/x is on neither side, and nothing is recorded of it."),
            "{out}"
        );
    }
}
