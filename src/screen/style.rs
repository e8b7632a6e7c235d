//! How much is said, and how it looks.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use super::terminal;

/// How much is said, from 0 to 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Verbosity(u8);

impl Verbosity {
    /// Nothing.
    pub const SILENT: Self = Self(0);
    /// What failed.
    pub const ERRORS: Self = Self(1);
    /// Warnings and skipped conflicts, too.
    pub const PROBLEMS: Self = Self(2);
    /// What is changed, and the summary, too.
    pub const WRITES: Self = Self(3);
    /// What is equal or left out, too.
    pub const EQUALS: Self = Self(4);
    /// Why, too.
    pub const DECISIONS: Self = Self(5);
    /// What is said to the server and by it, too.
    pub const PROTOCOL: Self = Self(6);
    /// Unless the user says otherwise.
    pub const DEFAULT: Self = Self::WRITES;

    /// The level, or the nearest there is.
    pub fn new(level: i32) -> Self {
        let highest = i32::from(Self::PROTOCOL.0);
        Self(u8::try_from(level.clamp(0, highest)).expect("the level was clamped"))
    }

    /// The level as a number.
    pub const fn level(self) -> u8 {
        self.0
    }
}

/// Whether lines are colored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    OnTerminal,
    /// Never.
    Never,
}

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowProgress {
    /// On a terminal, when lines are shown, too.
    OnTerminal,
    /// In any case.
    Always,
}

/// How a report looks.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// How much is said.
    pub verbosity: Verbosity,
    /// Whether what goes to the output is colored.
    pub color_out: bool,
    /// Whether what goes to the error output is colored.
    pub color_err: bool,
    /// Whether progress is shown.
    pub progress: bool,
    /// Whether statuses and records are shown (`--debug classify`).
    pub classify: bool,
    /// Whether the output is a terminal, where a line can be taken back.
    pub on_terminal: bool,
    /// Whether the error output is a terminal, where lines are to fit.
    pub err_on_terminal: bool,
    /// Tells how many columns the terminal has now.
    pub width: fn() -> usize,
}

impl Style {
    /// The style that fits this process's output.
    pub fn of_process(
        verbosity: Verbosity,
        color: Color,
        progress: ShowProgress,
        classify: bool,
    ) -> Self {
        let on_terminal = io::stdout().is_terminal();
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let may_color = match color {
            Color::OnTerminal => {
                // https://no-color.org
                !is_dumb
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value == OsString::new())
            }
            Color::Never => false,
        };
        Self {
            verbosity,
            color_out: may_color && on_terminal,
            color_err: may_color && io::stderr().is_terminal(),
            progress: match progress {
                // Log lines on the same terminal would tear it.
                ShowProgress::OnTerminal => {
                    on_terminal
                        && !is_dumb
                        && (Verbosity::WRITES..Verbosity::DECISIONS).contains(&verbosity)
                }
                ShowProgress::Always => true,
            },
            classify,
            err_on_terminal: io::stderr().is_terminal(),
            on_terminal: on_terminal && !is_dumb,
            width: terminal::width,
        }
    }
}
