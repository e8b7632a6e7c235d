//! The help texts, made from what the options say about themselves. Pure.

use argh::{ArgsInfo, FlagInfo, FlagInfoKind};

use super::arguments::short;
use super::command::{COMMANDS, Command, Does, choices_of_resolve, lacks};
use super::options::{Options, one_of};
use crate::screen::LEGEND;
use crate::words::wrapped;

/// The groups of options: title, and the option each begins with.
const GROUPS: &[(&str, &str)] = &[
    ("Which task", "--all"),
    ("What to tell and to tidy up", "--list"),
    ("Which entries", "--match"),
    ("What to do", "--dry-run"),
    ("Safety", "--max-delete"),
    ("Speed and connection", "--connections"),
    ("FTPS", "--tls"),
    ("SFTP", "--ssh-command"),
    ("Login", "--password-file"),
    ("Output", "--verbose"),
];

/// Longer lines are hard to read, however wide the window is.
const MAX_COLUMNS: usize = 120;

/// Where descriptions begin.
const INDENT: usize = 30;

/// The options that most people use: what `-h` lists.
const USUAL: [&str; 16] = [
    "--all",
    "--match",
    "--exclude",
    "--dry-run",
    "--force",
    "--resolve",
    "--delete",
    "--delete-ours",
    "--create-folder",
    "--max-delete",
    "--trash",
    "--quick-scan",
    "--password-file",
    "--verbose",
    "--quiet",
    "--report-problems",
];

/// How much help is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// The usual options: `-h`.
    Short,
    /// All options, in sections: `--help`.
    All,
}

/// A help text; how wide it is depends on the window.
#[derive(Debug, Clone, Copy)]
pub struct Help {
    pub(super) about: Option<&'static Command>,
    pub(super) length: Length,
}

impl Help {
    /// The text in lines that fit a window of so many columns.
    pub fn text(&self, columns: usize) -> String {
        let mut page = Page {
            text: String::new(),
            columns: columns.min(MAX_COLUMNS),
        };
        match self.about {
            Some(command) => of(command, self.length, &mut page),
            None => overview(&mut page),
        }
        page.text
    }
}

/// What coracle is and which commands it has.
fn overview(page: &mut Page) {
    page.paragraph(
        "coracle keeps a directory on this machine and one on an FTP or SFTP server in step.",
    );
    page.line("");
    page.line("Usage: coracle COMMAND [OPTIONS] LOCAL REMOTE");
    page.line("       coracle run [OPTIONS] [TASK...]");
    page.line("       coracle tree|scan|probe [OPTIONS] TARGET");
    page.line("\nCommands:");
    for command in COMMANDS {
        page.entry(&format!("  {}", command.name), command.summary);
    }
    page.line("");
    page.paragraph(
        "LOCAL is a directory here. REMOTE is ftp://[USER[:PASSWORD]@]HOST[:PORT]/PATH, where /PATH begins at the server's root and \
         /~/PATH in the login directory; it may be a directory here, too. ftps:// protects user, password and files on the way by \
         TLS, sftp:// by the SSH program of this machine.",
    );
    page.line("");
    page.line("Try first, with nothing changed:");
    page.line("  coracle upload --dry-run photos ftp://me@nas/photos");
    page.line("Options of a command: coracle COMMAND -h, and all of them: coracle COMMAND --help");
}

/// What one command does and its options.
fn of(command: &Command, length: Length, page: &mut Page) {
    page.line(&format!(
        "Usage: coracle {} [OPTIONS] {}\n",
        command.name, command.operands
    ));
    page.paragraph(command.about);
    match length {
        Length::Short => {
            page.line("\nThe options that most people use:");
            for option in Options::get_args_info().flags {
                if USUAL.contains(&option.long) && lacks(command.does, option.long).is_none() {
                    page.entry(&heading_of(option), &description(option, command.does));
                }
            }
            page.line(&format!("\nAll options: coracle {} --help", command.name));
        }
        Length::All => {
            all_options(command, page);
            page.line("\nWhat is told of an entry:");
            for (sign, meaning) in LEGEND {
                page.entry(&format!("  {sign}"), meaning);
            }
            page.line("");
            page.paragraph(
                "Exit codes: 0 done, 1 some entries failed, 2 usage, 3 interrupted, 4 a guard refused, 5 locked, 6 network or server, 7 \
                 login or TLS, 8 local disk, 9 metadata, 10 see --report-problems",
            );
        }
    }
}

fn all_options(command: &Command, page: &mut Page) {
    let mut group = None;
    for option in Options::get_args_info().flags {
        // argh lists its own --help first; it belongs to the last group, and has no text of ours.
        if option.long == "--help" {
            continue;
        }
        group = GROUPS
            .iter()
            .find(|(_, first)| *first == option.long)
            .or(group);
        if lacks(command.does, option.long).is_some() {
            continue;
        }
        // A group of which the command has nothing has no title.
        if let Some((title, _)) = group.take() {
            page.line(&format!("\n{title}:"));
        }
        page.entry(&heading_of(option), &description(option, command.does));
    }
    page.entry("  -h, --help", "print the usual options, or all of them");
}

fn heading_of(option: &FlagInfo<'_>) -> String {
    let letter = match short(option) {
        Some(letter) => format!("-{letter}, "),
        None => "    ".to_owned(),
    };
    match option.kind {
        FlagInfoKind::Switch => format!("  {letter}{}", option.long),
        FlagInfoKind::Option { arg_name } => {
            format!(
                "  {letter}{} {}",
                option.long,
                arg_name.to_ascii_uppercase()
            )
        }
    }
}

fn description(option: &FlagInfo<'_>, does: Does) -> String {
    let choices = one_of(&choices_of_resolve(does));
    option.description.replace("CHOICES", &choices)
}

/// Text in lines that fit.
struct Page {
    text: String,
    columns: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn paragraph(&mut self, text: &str) {
        self.words("", 0, text);
    }

    /// One line of a list and its description.
    fn entry(&mut self, heading: &str, description: &str) {
        // In a narrow window descriptions begin further left.
        let indent = INDENT.min(self.columns / 3);
        if heading.len() + 1 > indent {
            self.line(heading);
            self.words(&" ".repeat(indent), indent, description);
        } else {
            self.words(&format!("{heading:<indent$}"), indent, description);
        }
    }

    /// Words in lines of which the first begins so, and the others are set in.
    fn words(&mut self, first: &str, indent: usize, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let lines = wrapped(first, indent, &words.join(" "), self.columns);
        self.line(&lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &'static Command, length: Length, columns: usize) -> String {
        let about = Some(command);
        Help { about, length }.text(columns)
    }

    #[test]
    fn lines_fit_the_window_and_do_not_end_in_blanks() {
        for columns in [60, 80, 100, 200] {
            let mut texts = vec![
                Help {
                    about: None,
                    length: Length::All,
                }
                .text(columns),
            ];
            for command in COMMANDS {
                texts.push(of(command, Length::Short, columns));
                texts.push(of(command, Length::All, columns));
            }
            for line in texts.iter().flat_map(|text| text.lines()) {
                let is_one_word = line.split_whitespace().count() <= 1;
                // The lines of the overview that are to be typed are not broken.
                let is_to_type = line.contains("coracle ");
                let fits = line.chars().count() <= columns.min(MAX_COLUMNS);
                assert!(fits || is_one_word || is_to_type, "{columns}: {line}");
                assert_eq!(line.trim_end(), line);
            }
        }
    }

    #[test]
    fn the_short_help_fits_a_window_and_names_the_long_one() {
        for command in COMMANDS {
            let text = of(command, Length::Short, 80);
            assert!(text.lines().count() <= 48, "{text}");
            assert!(text.contains(&format!("coracle {} --help", command.name)));
        }
        let flags = Options::get_args_info().flags;
        for usual in USUAL {
            assert!(flags.iter().any(|option| option.long == usual), "{usual}");
        }
    }

    #[test]
    fn every_option_of_a_command_is_listed_once() {
        for command in COMMANDS {
            let text = of(command, Length::All, 100);
            for option in Options::get_args_info().flags {
                let listed = text
                    .lines()
                    .filter(|line| {
                        line.starts_with("  ")
                            && !line.starts_with(&" ".repeat(INDENT))
                            && line.split_whitespace().any(|word| word == option.long)
                    })
                    .count();
                let expected = usize::from(lacks(command.does, option.long).is_none());
                assert_eq!(listed, expected, "{} {}", command.name, option.long);
            }
        }
    }

    #[test]
    fn every_group_begins_with_an_option() {
        let flags = Options::get_args_info().flags;
        assert_eq!(flags[1].long, GROUPS[0].1);
        for (title, first) in GROUPS {
            assert!(flags.iter().any(|option| option.long == *first), "{title}");
            let begins = |option: &&FlagInfo<'_>| GROUPS.iter().any(|(_, one)| *one == option.long);
            let group = flags.iter().skip_while(|option| option.long != *first);
            let others = group.clone().skip(1).take_while(|option| !begins(option));
            let group: Vec<&str> = group
                .take(1)
                .chain(others)
                .map(|option| option.long)
                .collect();
            for command in COMMANDS {
                let has_one = group
                    .iter()
                    .any(|option| lacks(command.does, option).is_none());
                let is_there = of(command, Length::All, 100).contains(&format!("\n{title}:\n"));
                assert_eq!(is_there, has_one, "{} {title}", command.name);
            }
        }
    }

    #[test]
    fn resolve_names_the_choices_of_the_command() {
        let upload = of(&COMMANDS[0], Length::All, 100);
        assert!(upload.contains("local, skip or ask"), "{upload}");
        assert!(!upload.contains("remote, both"), "{upload}");
    }
}
