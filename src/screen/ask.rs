//! Asks the user at the terminal how to resolve a conflict: shows both files, takes one letter. As pyftpsync does.

use std::io::{self, BufRead, Write};

use crate::error::{Error, ErrorKind, Result};
use crate::replica::{Kind, Stat};
use crate::screen::{LIGHT_RED, RESET, grouped};
use crate::side::{Side, Sides};
use crate::sync::event::{Answer, Ask, Choice, Choices, Conflict};
use crate::sync::record::Shown;

/// Asks over a pair of streams.
#[derive(Debug)]
pub struct TerminalAsk<In, Out> {
    input: In,
    output: Out,
    style: AskStyle,
    asked: u64,
}

/// How questions look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskStyle {
    /// Letters to type are marked, conflicts are red.
    Colored,
    /// Plain text.
    Plain,
}

impl<In: BufRead, Out: Write> TerminalAsk<In, Out> {
    /// Somebody who has not been asked yet.
    ///
    /// `input` must pass on that a signal interrupted it, as standard input does: that is the user breaking off.
    pub const fn new(input: In, output: Out, style: AskStyle) -> Self {
        Self {
            input,
            output,
            style,
            asked: 0,
        }
    }

    /// How many conflicts the user was asked about.
    pub const fn asked(&self) -> u64 {
        self.asked
    }

    fn say(&mut self, text: &str) -> Result<()> {
        let written = writeln!(self.output, "{text}");
        written.map_err(|_| lost())
    }

    fn prompt(&mut self, text: &str) -> Result<()> {
        let written = write!(self.output, "{text}").and_then(|()| self.output.flush());
        written.map_err(|_| lost())
    }

    /// One line without its end; the user's ^C and ^D are an interruption.
    fn read_line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            let arrived = match self.input.fill_buf() {
                Ok([]) => return Err(given_up()),
                Ok(arrived) => arrived,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(given_up()),
                Err(_) => return Err(lost()),
            };
            let end = arrived.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(arrived.len(), |end| end + 1);
            // Only the first letter counts; what else is typed is read and dropped.
            let room = MAX_ANSWER_BYTES.saturating_sub(line.len());
            line.extend_from_slice(&arrived[..taken.min(room)]);
            self.input.consume(taken);
            if end.is_some() {
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
        }
    }
}

impl<In: BufRead, Out: Write> Ask for TerminalAsk<In, Out> {
    fn ask(
        &mut self,
        conflict: &Conflict<'_>,
        compare: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Answer> {
        self.asked += 1;
        let description = describe(conflict, self.style);
        self.say(&description)?;
        let prompt = prompt(conflict.choices, self.style);
        loop {
            self.prompt(&prompt)?;
            let Some(reply) = Reply::parse(&self.read_line()?, conflict.choices) else {
                continue;
            };
            match reply {
                Reply::Decided(answer) => return Ok(answer),
                Reply::NoTimes => self.say(no_times(conflict))?,
                Reply::Help => {
                    self.say(&help(conflict.choices))?;
                    self.say(&description)?;
                }
                Reply::Compare => {
                    let verdict = verdict(conflict, compare)?;
                    self.say(&verdict)?;
                }
            }
        }
    }
}

/// Nobody: for runs without a terminal. Every conflict is skipped, and that is said once.
pub struct Nobody<'a> {
    warn: &'a mut dyn FnMut(&str),
    has_warned: bool,
}

impl<'a> Nobody<'a> {
    /// Nobody to ask; `warn` is told at the first conflict.
    pub fn new(warn: &'a mut dyn FnMut(&str)) -> Self {
        Self {
            warn,
            has_warned: false,
        }
    }
}

impl Ask for Nobody<'_> {
    fn ask(&mut self, _: &Conflict<'_>, _: &mut dyn FnMut() -> Result<bool>) -> Result<Answer> {
        if !std::mem::replace(&mut self.has_warned, true) {
            (self.warn)("conflicts are skipped: there is no terminal to ask on; see --resolve");
        }
        Ok(Answer::Once(Choice::Skip))
    }
}

/// An answer is one letter.
const MAX_ANSWER_BYTES: usize = 64;

const MARK: &str = "\x1b[1m\x1b[4m";

/// What a typed line means.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Decided(Answer),
    /// Older or newer, where that cannot be told.
    NoTimes,
    Compare,
    Help,
}

impl Reply {
    fn parse(typed: &str, choices: Choices) -> Option<Self> {
        let [letter] = typed.as_bytes() else {
            return None;
        };
        if let Some((_, choice)) =
            options(choices).find(|(option, _)| option.letter == letter.to_ascii_lowercase())
        {
            let answer = if letter.is_ascii_uppercase() {
                Answer::Always(choice)
            } else {
                Answer::Once(choice)
            };
            return Some(Self::Decided(answer));
        }
        match letter {
            b'h' | b'H' | b'?' => Some(Self::Help),
            b'b' | b'B' if choices.comparable => Some(Self::Compare),
            b'o' | b'O' | b'n' | b'N' if choices.only.is_none() => Some(Self::NoTimes),
            _ => None,
        }
    }
}

/// One way to answer.
struct Key {
    letter: u8,
    word: &'static str,
    help: &'static str,
}

/// The answers that these choices allow, in the order of the prompt.
fn options(choices: Choices) -> impl Iterator<Item = (Key, Choice)> {
    let use_help = |side: Side| match (side, choices.only) {
        (Side::Local, None) => "Use local file",
        (Side::Remote, None) => "Use remote file",
        (Side::Local, Some(_)) => "Upload local file",
        (Side::Remote, Some(_)) => "Download remote file",
    };
    let may_use = |side: Side| choices.only.is_none_or(|only| only == side);
    let by_time = choices.by_time && choices.only.is_none();
    [
        (
            may_use(Side::Local),
            b'l',
            "Local",
            use_help(Side::Local),
            Choice::Use(Side::Local),
        ),
        (
            may_use(Side::Remote),
            b'r',
            "Remote",
            use_help(Side::Remote),
            Choice::Use(Side::Remote),
        ),
        (by_time, b'o', "Older", "Use older file", Choice::Older),
        (by_time, b'n', "Newer", "Use newer file", Choice::Newer),
        (
            true,
            b's',
            "Skip",
            "Skip this file (leave both targets unchanged)",
            Choice::Skip,
        ),
    ]
    .into_iter()
    .filter(|(allowed, ..)| *allowed)
    .map(|(_, letter, word, help, choice)| (Key { letter, word, help }, choice))
}

/// `Use Local, Remote, Older, Newer, Skip, Binary compare, Help ? `
fn prompt(choices: Choices, style: AskStyle) -> String {
    let words = options(choices)
        .map(|(option, _)| option.word)
        .chain(choices.comparable.then_some("Binary compare"))
        .chain(std::iter::once("Help"));
    let marked: Vec<String> = words
        .map(|word| match style {
            AskStyle::Colored => format!("{MARK}{}{RESET}{}", &word[..1], &word[1..]),
            AskStyle::Plain => word.to_owned(),
        })
        .collect();
    format!("Use {} ? ", marked.join(", "))
}

fn help(choices: Choices) -> String {
    let mut lines = vec!["The following keys are supported:".to_owned()];
    if choices.comparable {
        lines.push("  'b': Binary compare".to_owned());
    }
    for (option, _) in options(choices) {
        lines.push(format!(
            "  '{}': {}",
            char::from(option.letter),
            option.help
        ));
    }
    lines.push(
        "Hold Shift (upper case letters) to apply choice for all remaining conflicts.".to_owned(),
    );
    lines.push("Hit Ctrl+C to abort.".to_owned());
    lines.join("\n")
}

fn describe(conflict: &Conflict<'_>, style: AskStyle) -> String {
    let (red, reset) = match style {
        AskStyle::Colored => (LIGHT_RED, RESET),
        AskStyle::Plain => ("", ""),
    };
    let Sides { local, remote } = conflict.stats;
    let what = match (local, remote) {
        (Some(_), Some(_)) => "was modified on both targets",
        (Some(_), None) => "was modified on local and deleted on remote",
        (None, Some(_)) => "was deleted on local and modified on remote",
        (None, None) => "was deleted on both targets",
    };
    let before = match conflict.record {
        Some(record) => {
            let describe = |shown: Shown| {
                let time = shown.mtime.map_or_else(
                    || "time unknown".to_owned(),
                    |mtime| format!("{} UTC", mtime.at),
                );
                format!("{time}, {} bytes", grouped(shown.size))
            };
            let (local, remote) = (describe(record.local), describe(record.remote));
            if local == remote {
                format!("When last in step: {local}.")
            } else {
                format!("When last in step: local {local}; remote {remote}.")
            }
        }
        None => "(It was never in step.)".to_owned(),
    };
    let absent = || "n.a.".to_owned();
    format!(
        "{red}CONFLICT: '{}' {what} since last sync.{reset}\n    {before}\n    Local:  {}\n    Remote: {}",
        conflict.path,
        local.map_or_else(absent, |stat| describe_entry(&stat)),
        remote.map_or_else(absent, |stat| describe_entry(&stat)
            + &against(&stat, local.as_ref())),
    )
}

fn describe_entry(stat: &Stat) -> String {
    if stat.kind == Kind::Dir {
        return "a directory".to_owned();
    }
    let time = match stat.mtime {
        Some(mtime) => format!("{} UTC", mtime.at),
        None => "time unknown".to_owned(),
    };
    format!("{time}, {:>8} bytes", grouped(stat.size))
}

/// ` (older, smaller)`.
fn against(stat: &Stat, other: Option<&Stat>) -> String {
    let Some(other) = other.filter(|other| other.kind == stat.kind) else {
        return String::new();
    };
    let age = match (stat.mtime, other.mtime) {
        (Some(one), Some(two)) if one.latest() < two.at => Some("older"),
        (Some(one), Some(two)) if one.at > two.latest() => Some("newer"),
        _ => None,
    };
    let size = match stat.size.cmp(&other.size) {
        std::cmp::Ordering::Less => Some("smaller"),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some("larger"),
    };
    let words: Vec<&str> = age.into_iter().chain(size).collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({})", words.join(", "))
    }
}

fn no_times(conflict: &Conflict<'_>) -> &'static str {
    match conflict.stats {
        Sides {
            local: Some(_),
            remote: Some(_),
        } => "Files have identical or unknown modification times.",
        Sides { .. } => "One of the files was deleted; it is neither older nor newer.",
    }
}

/// Whether the files are equal, in words. A comparison that fails is a word, too: the user can still decide.
fn verdict(conflict: &Conflict<'_>, compare: &mut dyn FnMut() -> Result<bool>) -> Result<String> {
    if let Sides {
        local: Some(local),
        remote: Some(remote),
    } = conflict.stats
        && local.size != remote.size
    {
        return Ok(format!(
            "    Files are different (size {} != {}).",
            grouped(local.size),
            grouped(remote.size)
        ));
    }
    match compare() {
        Ok(true) => Ok("    Files are equal.".to_owned()),
        Ok(false) => Ok("    Files are different.".to_owned()),
        Err(error) if matches!(error.kind(), ErrorKind::Interrupted(_)) => Err(error),
        Err(error) => Ok(format!("    Files cannot be compared: {error}")),
    }
}

fn given_up() -> Error {
    Error::new(ErrorKind::Interrupted("the user"))
}

fn lost() -> Error {
    Error::new(ErrorKind::Interrupted("the loss of the terminal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;
    use crate::time::Timestamp;

    const ALL: Choices = Choices {
        only: None,
        by_time: true,
        comparable: true,
    };

    fn conflict(path: &RelPath, choices: Choices) -> Conflict<'_> {
        Conflict {
            path,
            stats: Sides::new(
                Some(Stat::file(1234, Timestamp::from_secs(1_700_000_000))),
                Some(Stat::file(1000, Timestamp::from_secs(1_600_000_000))),
            ),
            record: Some(Sides::new(
                Shown::of(&Stat::file(10, Timestamp::from_secs(0))),
                Shown::of(&Stat::file(10, Timestamp::from_secs(0))),
            )),
            choices,
        }
    }

    /// What comes of these lines, and what was written.
    fn typed(conflict: &Conflict<'_>, lines: &str) -> (Result<Answer>, String) {
        let mut output = Vec::new();
        let mut asker = TerminalAsk::new(lines.as_bytes(), &mut output, AskStyle::Plain);
        let answer = asker.ask(conflict, &mut || Ok(true));
        assert_eq!(asker.asked(), 1);
        (answer, String::from_utf8(output).unwrap())
    }

    fn answer(choices: Choices, lines: &str) -> Answer {
        let path = RelPath::parse(b"x").unwrap();
        typed(&conflict(&path, choices), lines).0.unwrap()
    }

    #[test]
    fn shows_both_files_as_pyftpsync_does() {
        let path = RelPath::parse(b"a/x").unwrap();
        let (_, output) = typed(&conflict(&path, ALL), "s\n");
        assert_eq!(
            output,
            "CONFLICT: 'a/x' was modified on both targets since last sync.\n    \
             When last in step: 1970-01-01 00:00:00 UTC, 10 bytes.\n    \
             Local:  2023-11-14 22:13:20 UTC,    1,234 bytes\n    \
             Remote: 2020-09-13 12:26:40 UTC,    1,000 bytes (older, smaller)\n\
             Use Local, Remote, Older, Newer, Skip, Binary compare, Help ? "
        );
    }

    #[test]
    fn each_letter_is_a_choice_and_capitals_hold_for_the_rest() {
        let choices = [
            ("l", Choice::Use(Side::Local)),
            ("r", Choice::Use(Side::Remote)),
            ("o", Choice::Older),
            ("n", Choice::Newer),
            ("s", Choice::Skip),
        ];
        for (letter, choice) in choices {
            assert_eq!(answer(ALL, &format!(" {letter}\r\n")), Answer::Once(choice));
            let capital = letter.to_uppercase();
            assert_eq!(answer(ALL, &format!("{capital}\n")), Answer::Always(choice));
        }
    }

    #[test]
    fn asks_again_until_it_understands() {
        assert_eq!(
            answer(ALL, "\nx\nlocal\nl\n"),
            Answer::Once(Choice::Use(Side::Local))
        );
        let long = "l".repeat(100_000) + "\ns\n";
        assert_eq!(answer(ALL, &long), Answer::Once(Choice::Skip));
    }

    #[test]
    fn a_mirror_lets_only_its_source_win() {
        let upload = Choices {
            only: Some(Side::Local),
            ..ALL
        };
        assert_eq!(
            answer(upload, "r\no\nn\nl\n"),
            Answer::Once(Choice::Use(Side::Local))
        );
        assert_eq!(
            prompt(upload, AskStyle::Plain),
            "Use Local, Skip, Binary compare, Help ? "
        );
        assert!(help(upload).contains("'l': Upload local file"));
        let download = Choices {
            only: Some(Side::Remote),
            ..ALL
        };
        assert_eq!(
            answer(download, "l\nR\n"),
            Answer::Always(Choice::Use(Side::Remote))
        );
    }

    #[test]
    fn equal_times_rule_out_older_and_newer() {
        let path = RelPath::parse(b"x").unwrap();
        let choices = Choices {
            by_time: false,
            ..ALL
        };
        let (answer, output) = typed(&conflict(&path, choices), "o\nN\ns\n");
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Skip));
        assert_eq!(
            output.matches("identical or unknown").count(),
            2,
            "{output}"
        );
        assert!(!output.contains("Older"));
    }

    #[test]
    fn a_deleted_side_is_shown_and_cannot_be_compared() {
        let path = RelPath::parse(b"x").unwrap();
        let mut conflict = conflict(
            &path,
            Choices {
                only: None,
                by_time: false,
                comparable: false,
            },
        );
        conflict.stats.remote = None;
        conflict.record = None;
        let (answer, output) = typed(&conflict, "b\nn\nr\n");
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Use(Side::Remote)));
        assert!(output.contains("was modified on local and deleted on remote since last sync."));
        assert!(output.contains("(It was never in step.)"));
        assert!(output.contains("Remote: n.a.\n"));
        assert!(output.contains("was deleted; it is neither"));
    }

    #[test]
    fn help_explains_and_shows_the_files_again() {
        let path = RelPath::parse(b"x").unwrap();
        let (_, output) = typed(&conflict(&path, ALL), "h\ns\n");
        assert!(output.contains("  'o': Use older file\n"), "{output}");
        assert_eq!(output.matches("CONFLICT:").count(), 2);
    }

    #[test]
    fn compares_bytes_when_sizes_do_not_tell() {
        let path = RelPath::parse(b"x").unwrap();
        let mut conflict = conflict(&path, ALL);
        let (_, output) = typed(&conflict, "b\ns\n");
        assert!(
            output.contains("Files are different (size 1,234 != 1,000)."),
            "{output}"
        );
        conflict.stats.remote = conflict.stats.local;
        let (_, output) = typed(&conflict, "B\ns\n");
        assert!(output.contains("Files are equal."), "{output}");
    }

    #[test]
    fn a_comparison_that_fails_leaves_the_choice_open() {
        let path = RelPath::parse(b"x").unwrap();
        let mut conflict = conflict(&path, ALL);
        conflict.stats.remote = conflict.stats.local;
        let mut output = Vec::new();
        let mut asker = TerminalAsk::new(&b"b\nl\n"[..], &mut output, AskStyle::Plain);
        let answer = asker.ask(&conflict, &mut || Err(Error::new(ErrorKind::NotFound)));
        assert_eq!(answer.unwrap(), Answer::Once(Choice::Use(Side::Local)));
        assert!(
            String::from_utf8(output)
                .unwrap()
                .contains("cannot be compared: no such")
        );
    }

    #[test]
    fn the_end_of_input_and_a_signal_are_the_user_breaking_off() {
        struct Signal;
        impl io::Read for Signal {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::Interrupted.into())
            }
        }
        let path = RelPath::parse(b"x").unwrap();
        let conflict = conflict(&path, ALL);
        let (answer, _) = typed(&conflict, "l");
        assert!(matches!(
            answer.unwrap_err().kind(),
            ErrorKind::Interrupted(_)
        ));
        let mut asker = TerminalAsk::new(io::BufReader::new(Signal), io::sink(), AskStyle::Plain);
        let error = asker.ask(&conflict, &mut || Ok(true)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Interrupted(_)));
    }

    #[test]
    fn letters_are_marked_on_a_terminal() {
        let prompt = prompt(ALL, AskStyle::Colored);
        assert!(
            prompt.starts_with("Use \x1b[1m\x1b[4mL\x1b[0mocal, "),
            "{prompt:?}"
        );
    }

    #[test]
    fn nobody_skips_and_says_so_once() {
        let path = RelPath::parse(b"x").unwrap();
        let conflict = conflict(&path, ALL);
        let mut said = Vec::new();
        let mut warn = |text: &str| said.push(text.to_owned());
        let mut nobody = Nobody::new(&mut warn);
        for _ in 0..2 {
            let answer = nobody.ask(&conflict, &mut || Ok(true)).unwrap();
            assert_eq!(answer, Answer::Once(Choice::Skip));
        }
        assert_eq!(said.len(), 1);
    }
}
