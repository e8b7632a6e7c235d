//! Arguments as people type them, put in the form that argh reads: `--x=y`, `-vvq`, `-mPATTERN` and `--`. Pure.
//!
//! Which options there are, and which take a value, is read from the argh structure itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use argh::{FlagInfo, FlagInfoKind, Optionality};

use super::help::Length;
use crate::error::{ErrorKind, Result};
use crate::path::Escaped;

/// Arguments, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// What is no option: the command and the targets, in any bytes.
    pub(super) words: Vec<OsString>,
    /// Options in their long form with their values; of one that takes a value and does not repeat, the last.
    pub(super) options: Vec<(&'static str, Option<String>)>,
    /// The help that was asked for.
    pub(super) help: Option<Length>,
}

/// Sorts the arguments that follow the program's name.
pub(super) fn sort(
    args: impl IntoIterator<Item = OsString>,
    known: &'static [FlagInfo<'static>],
) -> Result<Arguments> {
    let mut sorter = Sorter {
        known,
        sorted: Arguments::default(),
    };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.as_bytes() {
            b"--" => {
                sorter.sorted.words.extend(args);
                break;
            }
            [b'-', b'-', ..] => sorter.take_long(text(&arg)?, &mut args)?,
            [b'-', _, ..] => sorter.take_bundle(text(&arg)?, &mut args)?,
            _ => sorter.sorted.words.push(arg),
        }
    }
    Ok(sorter.sorted)
}

struct Sorter {
    known: &'static [FlagInfo<'static>],
    sorted: Arguments,
}

impl Sorter {
    /// `--name`, `--name=value`, `--name value`.
    fn take_long(&mut self, arg: &str, rest: &mut impl Iterator<Item = OsString>) -> Result<()> {
        let (name, attached) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg, None),
        };
        let option = self.named(name)?;
        if takes_value(option) {
            let value = match attached {
                Some(value) => value.to_owned(),
                None => self.next_value(option, rest)?,
            };
            self.give(option, Some(value));
        } else if attached.is_some() {
            return Err(usage(format!("{name} takes no value")));
        } else {
            self.give(option, None);
        }
        Ok(())
    }

    /// The option of that name, or the only one that begins so, as argparse takes them in pyftpsync.
    fn named(&self, name: &str) -> Result<&'static FlagInfo<'static>> {
        if let Some(option) = self.known.iter().find(|option| option.long == name) {
            return Ok(option);
        }
        let begins_so = |option: &&FlagInfo<'static>| option.long.starts_with(name);
        let mut meant = self.known.iter().filter(begins_so);
        match (meant.next(), meant.next()) {
            (Some(option), None) => Ok(option),
            (None, _) => Err(self.unknown(name)),
            (Some(one), Some(other)) => {
                let mut all = format!("{}, {}", one.long, other.long);
                meant.for_each(|option| all.push_str(&format!(", {}", option.long)));
                let shown = shown(name);
                Err(usage(format!("option '{shown}' may be each of {all}")))
            }
        }
    }

    /// `-n`, `-vvq`, `-nmPATTERN`, `-m PATTERN`, `-m=PATTERN`.
    fn take_bundle(&mut self, arg: &str, rest: &mut impl Iterator<Item = OsString>) -> Result<()> {
        let letters = &arg[1..];
        for (at, letter) in letters.char_indices() {
            let Some(option) = self
                .known
                .iter()
                .find(|option| short(option) == Some(letter))
            else {
                let doubled = format!("-{arg}");
                let name = doubled.split('=').next().unwrap_or(&doubled);
                return Err(if self.known.iter().any(|option| option.long == name) {
                    usage(format!("unknown option '{arg}'; did you mean '{doubled}'?"))
                } else if letters.len() == letter.len_utf8() {
                    self.unknown(arg)
                } else {
                    usage(format!("unknown option '-{letter}' in '{}'", shown(arg)))
                });
            };
            if option.long == "--help" {
                self.sorted.help.get_or_insert(Length::Short);
                continue;
            }
            if takes_value(option) {
                let attached = &letters[at + letter.len_utf8()..];
                let value = match attached.strip_prefix('=').unwrap_or(attached) {
                    "" if attached.is_empty() => self.next_value(option, rest)?,
                    value => value.to_owned(),
                };
                self.give(option, Some(value));
                return Ok(());
            }
            self.give(option, None);
        }
        Ok(())
    }

    fn next_value(
        &self,
        option: &FlagInfo<'static>,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<String> {
        let name = option.long;
        let value = rest
            .next()
            .ok_or_else(|| usage(format!("{name} needs a value")))?;
        let value = text(&value)?;
        // `--exclude --dry-run` would be a real run that excludes nothing: more likely a value was forgotten.
        let is_option = value.len() > 1
            && self.known.iter().any(|known| {
                let typed = value.split('=').next().unwrap_or(value);
                typed == known.long
                    || short(known).is_some_and(|letter| *value == *format!("-{letter}"))
            });
        if is_option || value == "--" {
            return Err(usage(format!(
                "{name} needs a value, but '{value}' follows; if that is the value, write {name}={value}"
            )));
        }
        Ok(value.to_owned())
    }

    fn give(&mut self, option: &FlagInfo<'static>, value: Option<String>) {
        if option.long == "--help" {
            self.sorted.help = Some(Length::All);
            return;
        }
        let replaces = takes_value(option) && option.optionality != Optionality::Repeating;
        if replaces {
            self.sorted.options.retain(|(name, _)| *name != option.long);
        }
        self.sorted.options.push((option.long, value));
    }

    fn unknown(&self, name: &str) -> crate::error::Error {
        let all = || self.known.iter().map(|option| option.long);
        let nearest = all()
            .filter(|known| is_near(name, known))
            .min_by_key(|known| edit_distance(name, known))
            .or_else(|| {
                let meant = all().filter(|known| is_short_for(name, known));
                meant.min_by_key(|known| known.len())
            });
        usage(match nearest {
            Some(known) => format!("unknown option '{}'; did you mean '{known}'?", shown(name)),
            None => format!("unknown option '{}'; see coracle --help", shown(name)),
        })
    }
}

/// Whether `typed` is so close to `known` that it is a slip of the finger.
pub(super) fn is_near(typed: &str, known: &str) -> bool {
    /// More slips than that make another word; a short word bears fewer.
    const MOST_SLIPS: usize = 2;
    const LETTERS_A_SLIP: usize = 3;
    let letters = typed.trim_start_matches('-').chars().count();
    edit_distance(typed, known) <= MOST_SLIPS.min(letters / LETTERS_A_SLIP)
}

/// Whether `typed` is `known` with letters left out, as `--pasv` is `--passive`.
fn is_short_for(typed: &str, known: &str) -> bool {
    const FEWEST_LETTERS: usize = 3;
    let (typed, known) = (typed.trim_start_matches('-'), known.trim_start_matches('-'));
    let mut rest = known.chars();
    typed.chars().count() >= FEWEST_LETTERS
        && typed.chars().next() == known.chars().next()
        && typed
            .chars()
            .all(|letter| rest.any(|other| other == letter))
}

/// How many characters must be put in, left out, replaced or exchanged with the next to make one word of the other (optimal
/// string alignment).
pub(super) fn edit_distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let differs = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (rows[i - 1][j - 1] + differs)
                .min(rows[i - 1][j] + 1)
                .min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

fn takes_value(option: &FlagInfo<'_>) -> bool {
    match option.kind {
        FlagInfoKind::Switch => false,
        FlagInfoKind::Option { .. } => true,
    }
}

/// The option's letter; argh keeps none for its own `--help`.
pub(super) fn short(option: &FlagInfo<'_>) -> Option<char> {
    if option.long == "--help" {
        Some('h')
    } else {
        option.short
    }
}

fn text(arg: &OsString) -> Result<&str> {
    arg.to_str().ok_or_else(|| {
        usage(format!(
            "the argument '{}' is not UTF-8; only LOCAL and REMOTE may be otherwise",
            Escaped(arg.as_bytes())
        ))
    })
}

fn shown(text: &str) -> Escaped<'_> {
    Escaped(text.as_bytes())
}

fn usage(text: String) -> crate::error::Error {
    ErrorKind::Usage(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_may_be_cut_short_while_it_is_the_only_one() {
        let sorted = |arg: &str| sort([arg.into()], KNOWN).map(|sorted| sorted.options);
        assert_eq!(sorted("--dry").unwrap(), [("--dry-run", None)]);
        let given = [("--match", Some("*.jpg".to_owned()))];
        assert_eq!(sorted("--mat=*.jpg").unwrap(), given);
        let told = |arg: &str| sorted(arg).unwrap_err().to_string();
        assert!(told("--drx").contains("unknown option '--drx'"));
        let all = told("--=x");
        assert!(all.contains("--help, --verbose, --quiet"), "{all}");
    }

    static KNOWN: &[FlagInfo<'static>] = &[
        switch("--help", None),
        switch("--verbose", Some('v')),
        switch("--quiet", Some('q')),
        switch("--dry-run", Some('n')),
        option("--match", Some('m'), Optionality::Optional),
        option("--from", None, Optionality::Repeating),
    ];

    const fn switch(long: &'static str, short: Option<char>) -> FlagInfo<'static> {
        FlagInfo {
            kind: FlagInfoKind::Switch,
            optionality: Optionality::Optional,
            long,
            short,
            description: "",
            hidden: false,
        }
    }

    const fn option(
        long: &'static str,
        short: Option<char>,
        optionality: Optionality,
    ) -> FlagInfo<'static> {
        FlagInfo {
            kind: FlagInfoKind::Option { arg_name: "x" },
            optionality,
            long,
            short,
            description: "",
            hidden: false,
        }
    }

    fn sorted(args: &[&str]) -> Result<Arguments> {
        sort(args.iter().map(OsString::from), KNOWN)
    }

    fn options(args: &[&str]) -> Vec<String> {
        let given = sorted(args).unwrap().options;
        given
            .into_iter()
            .flat_map(|(name, value)| std::iter::once(name.to_owned()).chain(value))
            .collect()
    }

    fn refusal(args: &[&str]) -> String {
        sorted(args).unwrap_err().to_string()
    }

    #[test]
    fn splits_long_options_at_the_equals_sign() {
        assert_eq!(options(&["--match=a=b"]), ["--match", "a=b"]);
        assert_eq!(options(&["--match="]), ["--match", ""]);
        assert_eq!(options(&["--match", "a"]), ["--match", "a"]);
        assert_eq!(refusal(&["--dry-run=yes"]), "--dry-run takes no value");
    }

    #[test]
    fn takes_bundles_apart() {
        assert_eq!(options(&["-vvq"]), ["--verbose", "--verbose", "--quiet"]);
        assert_eq!(options(&["-nmp*"]), ["--dry-run", "--match", "p*"]);
        assert_eq!(options(&["-nm", "p*"]), ["--dry-run", "--match", "p*"]);
        assert_eq!(options(&["-m=p*"]), ["--match", "p*"]);
        assert_eq!(refusal(&["-vz"]), "unknown option '-z' in '-vz'");
    }

    #[test]
    fn values_may_look_negative() {
        assert_eq!(options(&["--match", "-5"]), ["--match", "-5"]);
        assert_eq!(options(&["-m-5"]), ["--match", "-5"]);
    }

    #[test]
    fn an_option_is_not_taken_for_a_forgotten_value() {
        for args in [
            ["--match", "--dry-run"],
            ["-m", "-n"],
            ["-m", "--match=x"],
            ["-m", "--"],
        ] {
            assert!(
                refusal(&args).starts_with("--match needs a value, but"),
                "{args:?}"
            );
        }
        assert_eq!(options(&["--match=--dry-run"]), ["--match", "--dry-run"]);
        assert_eq!(refusal(&["--match"]), "--match needs a value");
    }

    #[test]
    fn two_dashes_end_the_options() {
        let arguments = sorted(&["a", "-n", "--", "-v", "--"]).unwrap();
        assert_eq!(arguments.options, [("--dry-run", None)]);
        assert_eq!(arguments.words, ["a", "-v", "--"]);
        assert_eq!(sorted(&["-"]).unwrap().words, ["-"]);
    }

    #[test]
    fn the_last_value_wins_unless_the_option_repeats() {
        assert_eq!(
            options(&["-ma", "-v", "-mb"]),
            ["--verbose", "--match", "b"]
        );
        assert_eq!(
            options(&["--from=a", "--from=b"]),
            ["--from", "a", "--from", "b"]
        );
    }

    #[test]
    fn unknown_options_are_named_with_the_nearest() {
        assert_eq!(
            refusal(&["--dryrun"]),
            "unknown option '--dryrun'; did you mean '--dry-run'?"
        );
        assert_eq!(
            refusal(&["-dry-run"]),
            "unknown option '-dry-run'; did you mean '--dry-run'?"
        );
        assert_eq!(
            refusal(&["--json"]),
            "unknown option '--json'; see coracle --help"
        );
        assert!(refusal(&["--a\u{1b}b"]).contains(r"\x1b"));
    }

    #[test]
    fn help_has_a_letter_of_its_own() {
        let help = |args: &[&str]| sorted(args).unwrap().help;
        assert_eq!(help(&["-h"]), Some(Length::Short));
        assert_eq!(help(&["-vh"]), Some(Length::Short));
        assert_eq!(help(&["--help"]), Some(Length::All));
        assert_eq!(help(&["-h", "--help"]), Some(Length::All));
        assert_eq!(help(&["--", "-h"]), None);
    }

    #[test]
    fn words_may_be_any_bytes_and_options_may_not() {
        use std::os::unix::ffi::OsStringExt;
        let raw = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let arguments = sort([raw(b"caf\xe9")], KNOWN).unwrap();
        assert_eq!(arguments.words, [raw(b"caf\xe9")]);
        assert!(sort([raw(b"--match=\xe9")], KNOWN).is_err());
    }

    #[test]
    fn edit_distance_counts_slips() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", "abc"), 0);
        assert_eq!(edit_distance("snyc", "sync"), 1);
    }

    #[test]
    fn suggestions_are_words_that_may_be_meant() {
        for (typed, known) in [
            ("--dryrun", "--dry-run"),
            ("--exlcude", "--exclude"),
            ("snyc", "sync"),
        ] {
            assert!(is_near(typed, known), "{typed}");
        }
        assert!(!is_near("--pasv", "--case"));
        assert!(!is_near("-z", "-n"));
        assert!(is_short_for("--pasv", "--passive"));
        assert!(!is_short_for("--pasv", "--password-file"));
    }
}
