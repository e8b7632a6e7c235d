//! Shows a run, event by event: lines, progress, and what it came to.

use std::io::{self, BufWriter, Write};
use std::time::{Duration, Instant};

use super::exit::{ExitCode, exit_code_of, exit_code_of_entry};
use super::heading::Heading;
use super::line::{ERASE_BELOW, LIGHT_RED, Line, RESET, is_copy};
use super::progress::{Planned, Progress};
use super::reason;
use super::style::{Style, Verbosity};
use super::summary::{self, Ending, exit_code};
use super::{failure, warning, wrapped};
use crate::error::Error;
use crate::job::{Direction, Job};
use crate::path::RelPath;
use crate::replica::Kind;
use crate::sync::event::{Decision, Deed, Event};

/// Tells a user what happens, event by event.
pub struct Report<Out: Write, Err: Write> {
    out: Out,
    err: Err,
    style: Style,
    heading: Heading,
    progress: Progress,
    started: Instant,
    /// When the user was asked the question that may be open.
    asked: Option<Instant>,
    flushed: Instant,
    drawn: Option<Instant>,
    worst: ExitCode,
}

/// A report to the standard output and error of this process.
pub type ProcessReport = Report<BufWriter<io::StdoutLock<'static>>, io::Stderr>;

impl ProcessReport {
    /// A report of this job.
    pub fn of_process(job: &Job, style: Style) -> Self {
        Self::new(
            BufWriter::new(io::stdout().lock()),
            io::stderr(),
            style,
            Heading::of(job),
        )
    }

    /// A report of what is told of one target.
    pub fn of_target(dry_run: bool, style: Style) -> Self {
        let heading = Heading {
            // Nothing travels.
            direction: Direction::Sync,
            local: String::new(),
            remote: String::new(),
            dry_run,
        };
        Self::new(
            BufWriter::new(io::stdout().lock()),
            io::stderr(),
            style,
            heading,
        )
    }
}

impl<Out: Write, Err: Write> Report<Out, Err> {
    /// A report that has not begun.
    pub fn new(out: Out, err: Err, style: Style, heading: Heading) -> Self {
        let now = Instant::now();
        Self {
            out,
            err,
            style,
            heading,
            progress: Progress::default(),
            started: now,
            asked: None,
            flushed: now,
            drawn: None,
            worst: ExitCode::Done,
        }
    }

    /// Time counts from now on.
    pub fn restart_clock(&mut self) {
        self.started = Instant::now();
    }

    /// Shows an event, as far as the verbosity allows.
    pub fn show(&mut self, event: &Event<'_>) {
        if let Some(asked) = self.asked.take() {
            // Waiting for the user is not the run's time.
            self.started += asked.elapsed();
        }
        match event {
            Event::Started => {
                let heading = self.heading.to_string();
                self.line(Verbosity::WRITES, &heading);
            }
            Event::Scanned { files, dirs } => {
                self.progress.files_seen += files.local.max(files.remote);
                self.progress.dirs_seen += dirs.local.max(dirs.remote);
            }
            Event::Planned { files, bytes } => {
                self.progress.planned = Some(Planned {
                    files: *files,
                    bytes: *bytes,
                    at: self.started.elapsed(),
                });
            }
            Event::Entry { path, kind, deed } => {
                self.progress.files_done += u64::from(*kind == Kind::File && is_copy(*deed));
                self.entry(path, *kind, *deed);
            }
            Event::Decided(decision) => self.decided(decision),
            Event::Moved { bytes } => self.progress.bytes_moved += bytes,
            Event::Failed { path, error } => self.failed(path, error),
            Event::Question => {
                self.clear_progress();
                let _ = self.out.flush();
                self.asked = Some(Instant::now());
                return;
            }
            Event::Warning(text) => self.warning(text),
            Event::Notice(text) => self.text(Verbosity::WRITES, text),
            Event::Line(text) => self.line(Verbosity::WRITES, text),
        }
        self.draw_progress(Draw::WhenDue);
    }

    /// Whether lines are coloured.
    pub const fn is_colored(&self) -> bool {
        self.style.color_out
    }

    /// Tells the user of something to act on.
    pub fn warning(&mut self, text: &str) {
        self.error_line(Verbosity::PROBLEMS, &warning(text));
    }

    /// Ends the report with the summary or with the failure, and tells the exit code.
    pub fn finish(mut self, ending: &Ending<'_>) -> ExitCode {
        self.clear_progress();
        self.style.progress = false;
        if let Some(error) = ending.error {
            self.error_line(Verbosity::ERRORS, &failure(error));
        }
        if ending.error.is_none() || ending.totals.has_changes() {
            let summary = summary::of(ending, self.heading.dry_run, self.started.elapsed());
            self.text(Verbosity::WRITES, &summary);
        }
        if let Some(gone) = self.heading.gone(ending.totals.gone) {
            self.text(Verbosity::PROBLEMS, &gone);
        }
        let _ = self.out.flush();
        self.worst.worse(exit_code(ending))
    }

    /// Ends a report that has no summary, and tells the exit code.
    pub fn end(mut self, error: Option<&Error>) -> ExitCode {
        self.clear_progress();
        self.style.progress = false;
        if let Some(error) = error {
            self.error_line(Verbosity::ERRORS, &failure(error));
        }
        let _ = self.out.flush();
        error.map_or(self.worst, |error| self.worst.worse(exit_code_of(error)))
    }

    fn decided(&mut self, decision: &Decision<'_>) {
        if self.style.verbosity >= Verbosity::DECISIONS {
            let text = format!("  {}: {}", decision.path, reason::of(decision));
            self.line(Verbosity::DECISIONS, &text);
        }
        if self.style.classify {
            for fact in reason::facts(decision) {
                self.line(Verbosity::EQUALS, &format!("    {fact}"));
            }
        }
    }

    fn entry(&mut self, path: &RelPath, kind: Kind, deed: Deed) {
        let line = Line::of(deed);
        if self.style.verbosity < line.level {
            return;
        }
        let name = match kind {
            Kind::Dir => format!("{path}/"),
            Kind::File | Kind::Special => path.to_string(),
        };
        let (color, reset) = match line.color() {
            Some(color) if self.style.color_out => (color, RESET),
            _ => ("", ""),
        };
        let text = format!("{color}{}{}{name}{reset}", self.heading.mood(), line.head());
        self.line(line.level, &text);
    }

    fn failed(&mut self, path: &RelPath, error: &Error) {
        self.worst = self.worst.worse(exit_code_of_entry(error));
        let path = path.to_string();
        let error = error.to_string();
        let text = if names_path(&error, &path) {
            failure(&error)
        } else {
            failure(format_args!("{path}: {error}"))
        };
        self.error_line(Verbosity::ERRORS, &text);
    }

    /// Sentences, in lines that fit.
    fn text(&mut self, level: Verbosity, text: &str) {
        match self.style.on_terminal {
            true => self.line(level, &wrapped(text, (self.style.width)())),
            false => self.line(level, text),
        }
    }

    fn line(&mut self, level: Verbosity, text: &str) {
        if self.style.verbosity < level {
            return;
        }
        let was_shown = self.clear_progress();
        // Who reads us may have gone; the run is worth more than its report.
        let _ = writeln!(self.out, "{text}");
        self.put_back_progress(was_shown);
        self.flush_when_due();
    }

    fn error_line(&mut self, level: Verbosity, text: &str) {
        if self.style.verbosity < level {
            return;
        }
        let was_shown = self.clear_progress();
        // Before it, so that both streams in one file keep their order.
        let _ = self.out.flush();
        let (color, reset) = if self.style.color_err {
            (LIGHT_RED, RESET)
        } else {
            ("", "")
        };
        let text = match self.style.err_on_terminal {
            true => wrapped(text, (self.style.width)()),
            false => text.to_owned(),
        };
        let _ = writeln!(self.err, "{color}{text}{reset}");
        self.put_back_progress(was_shown);
    }

    /// A person sees each line at once; a log file may wait a second.
    fn flush_when_due(&mut self) {
        if self.style.on_terminal || self.flushed.elapsed() >= FLUSH_INTERVAL {
            let _ = self.out.flush();
            self.flushed = Instant::now();
        }
    }

    fn draw_progress(&mut self, draw: Draw) {
        let interval = match self.style.on_terminal {
            true => PROGRESS_INTERVAL,
            false => PLAIN_PROGRESS_INTERVAL,
        };
        let is_due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= interval);
        if !self.style.progress || !(is_due || draw == Draw::Now) {
            return;
        }
        let line = self.progress.line(self.started.elapsed());
        if self.style.on_terminal {
            // One column stays free: a full line makes some terminals wrap. The window may have another width by now.
            let width = (self.style.width)() - 1;
            let fitting: String = line.chars().take(width).collect();
            let _ = write!(self.out, "{ERASE_BELOW}{fitting}\r");
            self.progress.is_shown = true;
        } else {
            let _ = writeln!(self.out, "{line}");
        }
        let _ = self.out.flush();
        self.drawn = Some(Instant::now());
    }

    /// Takes the progress line from the terminal; whether there was one.
    fn clear_progress(&mut self) -> bool {
        let was_shown = std::mem::take(&mut self.progress.is_shown);
        if was_shown {
            let _ = write!(self.out, "{ERASE_BELOW}");
        }
        was_shown
    }

    fn put_back_progress(&mut self, was_shown: bool) {
        if was_shown {
            self.draw_progress(Draw::Now);
        }
    }
}

/// When progress is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draw {
    WhenDue,
    /// Below a line that took its place.
    Now,
}

/// Whether the error says what was being done to that path: "copying a/b to …". A short name may stand by chance in any
/// other text.
fn names_path(error: &str, path: &str) -> bool {
    let doing = format!("ing {path}");
    error
        .match_indices(&doing)
        .any(|(at, _)| matches!(error[at + doing.len()..].chars().next(), Some(' ' | ':')))
}

/// More often, and a slow terminal costs more than the transfer.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// In a log each is a line that stays.
const PLAIN_PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A line in a log file may be this late.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::job::Direction;
    use crate::side::Side;
    use crate::side::Sides;
    use crate::sync::event::Skipped;
    use crate::sync::event::Totals;
    use crate::sync::plan::status::Status;

    const PLAIN: Style = Style {
        verbosity: Verbosity::WRITES,
        color_out: false,
        color_err: false,
        progress: false,
        classify: false,
        on_terminal: false,
        err_on_terminal: false,
        width: || 80,
    };

    fn heading(direction: Direction) -> Heading {
        Heading {
            direction,
            local: "/a".into(),
            remote: "ftp://nas/b".into(),
            dry_run: false,
        }
    }

    /// What events print, on the output and the error output.
    fn shown(style: Style, heading: Heading, events: &[Event<'_>]) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut report = Report::new(&mut out, &mut err, style, heading);
        for event in events {
            report.show(event);
        }
        drop(report);
        (
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    const COPY: Deed = Deed::Copied {
        from: Side::Local,
        status: Status::New,
        bytes: 1,
    };

    #[test]
    fn directories_end_with_a_slash_and_dry_runs_say_would() {
        let path = path("a/b");
        let event = Event::Entry {
            path: &path,
            kind: Kind::Dir,
            deed: COPY,
        };
        let heading = Heading {
            dry_run: true,
            ..heading(Direction::Upload)
        };
        assert_eq!(
            shown(PLAIN, heading, &[event]).0,
            "would copy new         -> a/b/\n"
        );
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let path = path("\u{1b}[2Jx");
        let event = Event::Entry {
            path: &path,
            kind: Kind::File,
            deed: COPY,
        };
        assert!(
            shown(PLAIN, heading(Direction::Upload), &[event])
                .0
                .contains(r"\x1b[2Jx")
        );
    }

    #[test]
    fn lines_are_colored_where_that_is_wanted() {
        let path = path("x");
        let event = Event::Entry {
            path: &path,
            kind: Kind::File,
            deed: COPY,
        };
        let style = Style {
            color_out: true,
            ..PLAIN
        };
        assert_eq!(
            shown(style, heading(Direction::Upload), &[event]).0,
            "\x1b[36m\x1b[1mcopy new         -> x\x1b[0m\n"
        );
    }

    #[test]
    fn heading_names_both_roots() {
        let (out, _) = shown(PLAIN, heading(Direction::Upload), &[Event::Started]);
        assert_eq!(out, "Upload /a\n    to ftp://nas/b\n");
        assert!(
            heading(Direction::Download)
                .to_string()
                .starts_with("Download to /a\n")
        );
        assert!(
            heading(Direction::Sync)
                .to_string()
                .starts_with("Synchronize /a\n")
        );
    }

    #[test]
    fn each_verbosity_shows_what_it_promises() {
        let path = path("x");
        let failure = Error::new(ErrorKind::Verify("short".into()));
        let entry = |deed| Event::Entry {
            path: &path,
            kind: Kind::File,
            deed,
        };
        let lines = |level| {
            let events = [
                Event::Failed {
                    path: &path,
                    error: &failure,
                },
                Event::Warning("care"),
                entry(Deed::ConflictSkipped),
                entry(COPY),
                Event::Notice("note"),
                entry(Deed::Equal),
                entry(Deed::Skipped(Skipped::NotOurs { on: Side::Remote })),
            ];
            let style = Style {
                verbosity: Verbosity::new(level),
                ..PLAIN
            };
            let (out, err) = shown(style, heading(Direction::Sync), &events);
            (out.lines().count(), err.lines().count())
        };
        assert_eq!(lines(-7), (0, 0));
        assert_eq!(lines(1), (0, 1));
        assert_eq!(lines(2), (1, 2));
        assert_eq!(lines(3), (3, 2));
        assert_eq!(lines(99), (5, 2));
    }

    #[test]
    fn failures_name_the_path_once() {
        let path = path("a/b");
        let failure = Error::new(ErrorKind::Verify("short".into()));
        let (_, err) = shown(
            PLAIN,
            heading(Direction::Sync),
            &[Event::Failed {
                path: &path,
                error: &failure,
            }],
        );
        assert_eq!(err, "coracle: a/b: short\n");
        let failure = failure.while_doing("copying a/b");
        let (_, err) = shown(
            PLAIN,
            heading(Direction::Sync),
            &[Event::Failed {
                path: &path,
                error: &failure,
            }],
        );
        assert_eq!(err, "coracle: copying a/b: short\n");
    }

    fn finished(events: &[Event<'_>], ending: &Ending<'_>) -> (String, String, ExitCode) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut report = Report::new(&mut out, &mut err, PLAIN, heading(Direction::Sync));
        for event in events {
            report.show(event);
        }
        let code = report.finish(ending);
        (
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
            code,
        )
    }

    fn ending(totals: &Totals) -> Ending<'_> {
        Ending {
            totals,
            error: None,
            report_problems: false,
        }
    }

    #[test]
    fn a_failed_job_ends_with_its_reason() {
        let error = Error::new(ErrorKind::Guard("the local root is empty".into()));
        let totals = Totals::default();
        let ending = Ending {
            error: Some(&error),
            ..ending(&totals)
        };
        let (out, err, code) = finished(&[], &ending);
        assert_eq!(
            (out.as_str(), err.as_str()),
            ("", "coracle: the local root is empty\n")
        );
        assert_eq!(code, ExitCode::Guard);
    }

    #[test]
    fn a_full_local_disk_is_told_from_other_failed_entries() {
        let path = path("x");
        let full = Error::new(ErrorKind::Disk(io::Error::from_raw_os_error(libc::ENOSPC)));
        let denied = Error::new(ErrorKind::Disk(io::Error::from_raw_os_error(libc::EACCES)));
        let totals = Totals {
            errors: 1,
            ..Totals::default()
        };
        let code = |error| finished(&[Event::Failed { path: &path, error }], &ending(&totals)).2;
        assert_eq!(code(&full), ExitCode::LocalDisk);
        assert_eq!(code(&denied), ExitCode::SomeFailed);
    }

    #[test]
    fn progress_fits_the_terminal_and_stays_below_the_lines() {
        let style = Style {
            progress: true,
            on_terminal: true,
            width: || 20,
            ..PLAIN
        };
        let path = path("x");
        let events = [
            Event::Scanned {
                files: Sides::new(1, 0),
                dirs: Sides::new(1, 0),
            },
            Event::Entry {
                path: &path,
                kind: Kind::File,
                deed: COPY,
            },
        ];
        let (out, _) = shown(style, heading(Direction::Sync), &events);
        assert_eq!(
            out,
            "\r\x1b[JScanned 1 files in \r\r\x1b[Jcopy new         -> x\n\r\x1b[JScanned 1 files in \r"
        );
    }

    #[test]
    fn a_reader_that_has_gone_does_not_end_the_run() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let mut report = Report::new(Gone, Gone, PLAIN, heading(Direction::Sync));
        report.show(&Event::Started);
        report.warning("care");
        assert_eq!(report.finish(&ending(&Totals::default())), ExitCode::Done);
    }
}
