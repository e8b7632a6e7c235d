//! What the user sees of a run: lines, progress, summary, log, exit code. The only room that prints.
//!
//! [`Report`] is told of events, [`ask`] asks about conflicts; the other files are pure, but for what looks at the terminal. What
//! another program reads from us may end early (`| head`); the run goes on.

pub mod ask;
mod exit;
mod explain;
mod heading;
mod line;
mod log;
mod progress;
mod reason;
mod report;
mod style;
mod summary;
pub mod terminal;

pub use exit::{ExitCode, exit_code_of};
pub use explain::Explanation;
pub use heading::Heading;
pub(crate) use line::{LEGEND, LIGHT_RED, RESET};
pub use log::start_log;
pub use report::{ProcessReport, Report};
pub use style::{Color, ShowProgress, Style, Verbosity};
pub use summary::Ending;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use crate::error::Error;
use crate::words;

/// Prints a text that was asked for: help, version.
pub fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Prints a failure that came before there was anything to report on.
pub fn print_failure(error: &Error) -> ExitCode {
    let mut text = failure(error);
    if io::stderr().is_terminal() {
        text = wrapped(&text, terminal::width());
    }
    let _ = writeln!(io::stderr(), "{text}");
    exit_code_of(error)
}

/// Text in lines that are shorter than the window, which not every terminal breaks at words; what goes on is set in.
fn wrapped(text: &str, columns: usize) -> String {
    words::wrapped("", 2, text, columns.saturating_sub(1))
}

/// What all failures begin with: in the mail of a cron job or in a log it says who complains.
fn failure(error: impl Display) -> String {
    format!("coracle: {error}")
}

fn warning(text: impl Display) -> String {
    failure(format_args!("warning: {text}"))
}
