//! The help texts, made from what the options say about themselves. Pure.

use argh::{ArgsInfo, FlagInfo, FlagInfoKind};

use super::arguments::short;
use super::command::{COMMANDS, Command, Does, choices_of_resolve, lacks};
use super::options::{Options, one_of};
use crate::screen::LEGEND;

/// The groups of options: title, and the option each begins with.
const GROUPS: &[(&str, &str)] = &[
    ("Which task", "--all"),
    ("What to copy", "--match"),
    ("What to do", "--dry-run"),
    ("Safety", "--max-delete"),
    ("Speed and connection", "--connections"),
    ("FTPS", "--tls"),
    ("SFTP", "--ssh-command"),
    ("Login", "--password-file"),
    ("Output", "--verbose"),
];

/// No line is longer, so that it fits most windows.
const MAX_COLUMNS: usize = 100;

/// Where descriptions begin.
const INDENT: usize = 30;

/// What coracle is and which commands it has.
pub(super) fn overview() -> String {
    let mut text = String::from(
        "coracle keeps a directory on this machine and one on an FTP server in step.\n\n\
         Usage: coracle COMMAND [OPTIONS] LOCAL REMOTE\n       coracle run [OPTIONS] [TASK...]\n\nCommands:\n",
    );
    for command in COMMANDS {
        entry(&mut text, &format!("  {}", command.name), command.summary);
    }
    text.push_str(
        "\nLOCAL is a directory here. REMOTE is ftp://[USER[:PASSWORD]@]HOST[:PORT]/PATH, where /PATH begins\n\
         at the server's root and /~/PATH in the login directory; it may be a directory here, too. ftps://\n\
         protects user, password and files on the way by TLS, sftp:// by the SSH program of this machine.\n\n\
         Try first, with nothing changed:  coracle upload --dry-run photos ftp://me@nas/photos\n\
         Options of a command:             coracle COMMAND --help\n\
         Version:                          coracle --version\n",
    );
    text
}

/// What one command does and its options.
pub(super) fn of(command: &Command) -> String {
    let mut text = format!(
        "Usage: coracle {} [OPTIONS] {}\n\n{}\n",
        command.name, command.operands, command.about
    );
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
            text.push_str(&format!("\n{title}:\n"));
        }
        entry(
            &mut text,
            &heading_of(option),
            &description(option, command.does),
        );
    }
    entry(&mut text, "  -h, --help", "print this help");
    text.push_str("\nWhat is told of an entry:\n");
    for (sign, meaning) in LEGEND {
        entry(&mut text, &format!("  {sign}"), meaning);
    }
    text.push_str(
        "\nExit codes: 0 done, 1 some entries failed, 2 usage, 3 interrupted, 4 a guard refused, 5 locked,\n\
         6 network or server, 7 login or TLS, 8 local disk, 9 metadata, 10 see --report-problems\n",
    );
    text
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

/// One line of a list and its description, wrapped.
fn entry(text: &mut String, heading: &str, description: &str) {
    let mut line = format!("{heading:<INDENT$}");
    if heading.len() + 1 > INDENT {
        text.push_str(heading);
        text.push('\n');
        line = " ".repeat(INDENT);
    }
    let mut is_first = true;
    for word in description.split_whitespace() {
        if !is_first && line.chars().count() + 1 + word.chars().count() > MAX_COLUMNS {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(INDENT);
            is_first = true;
        }
        if !is_first {
            line.push(' ');
        }
        line.push_str(word);
        is_first = false;
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<String> {
        let mut texts: Vec<String> = COMMANDS.iter().map(of).collect();
        texts.push(overview());
        texts
    }

    #[test]
    fn no_line_is_too_long_or_ends_in_blanks() {
        for text in all() {
            for line in text.lines() {
                assert!(line.chars().count() <= MAX_COLUMNS, "{line}");
                assert_eq!(line.trim_end(), line);
                assert!(!line.contains("CHOICES"), "{line}");
            }
        }
    }

    #[test]
    fn every_option_of_a_command_is_listed_once() {
        for command in COMMANDS {
            let text = of(command);
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
            for command in COMMANDS
                .iter()
                .filter(|command| !["undo", "explain"].contains(&command.name))
            {
                let is_of_run = *first == "--all" && command.does != Does::Run;
                let is_there = of(command).contains(&format!("\n{title}:\n"));
                assert_ne!(is_there, is_of_run, "{title}");
            }
        }
    }

    #[test]
    fn resolve_names_the_choices_of_the_command() {
        let upload = of(&COMMANDS[0]);
        assert!(upload.contains("local, skip or ask"), "{upload}");
        assert!(!upload.contains("remote, both"), "{upload}");
    }
}
