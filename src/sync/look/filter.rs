//! Which entries take part: `--match` for files, then what is left out, files and directories. Pure.
//!
//! A pattern without `/` is matched against the name, as Python's `fnmatch` does (pyftpsync's rule). One with `/` before its
//! end is matched against the path from the root: `*` stays within one name, `**` stands for any number of
//! directories. A trailing `/` means directories only, at any depth where nothing else is said. Of the patterns of what is
//! left out the last one that matches decides, and `!` before one takes back what earlier ones left out.

use crate::job::{DEFAULT_EXCLUDES, Selection};
use crate::path::RelPath;
use crate::replica::Kind;

/// The compiled patterns of a job.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    matching: Vec<Pattern>,
    rules: Vec<Rule>,
}

/// What the filter says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It takes part.
    Accepted,
    /// This job's patterns leave it out.
    Rejected,
    /// Only the defaults leave it out.
    RejectedByDefault,
}

/// One pattern of what is left out, or taken back.
#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    verdict: Verdict,
}

impl Filter {
    /// Compiles the patterns of a selection.
    pub fn new(selection: &Selection) -> Self {
        let defaults = DEFAULT_EXCLUDES
            .iter()
            .filter(|_| selection.default_excludes);
        let defaults = defaults.map(|text| Rule {
            pattern: Pattern::new(text),
            verdict: Verdict::RejectedByDefault,
        });
        let given = selection
            .excluded
            .iter()
            .map(|text| match text.strip_prefix('!') {
                Some(taken_back) => Rule {
                    pattern: Pattern::new(taken_back),
                    verdict: Verdict::Accepted,
                },
                None => Rule {
                    pattern: Pattern::new(text),
                    verdict: Verdict::Rejected,
                },
            });
        Self {
            matching: selection
                .matching
                .iter()
                .map(|text| Pattern::new(text))
                .collect(),
            rules: defaults.chain(given).collect(),
        }
    }

    /// Rejects what these patterns match, and nothing else.
    pub fn of(patterns: &[String]) -> Self {
        Self::new(&Selection {
            excluded: patterns.to_vec(),
            default_excludes: false,
            ..Selection::default()
        })
    }

    /// What becomes of the entry. Reserved names are not this filter's business.
    pub fn judge(&self, path: &RelPath, kind: Kind) -> Verdict {
        let is_wanted = kind == Kind::Dir
            || self.matching.is_empty()
            || self
                .matching
                .iter()
                .any(|pattern| pattern.matches(path, kind));
        if !is_wanted {
            return Verdict::Rejected;
        }
        let mut last_first = self.rules.iter().rev();
        last_first
            .find(|rule| rule.pattern.matches(path, kind))
            .map_or(Verdict::Accepted, |rule| rule.verdict)
    }
}

#[derive(Debug, Clone)]
struct Pattern {
    form: Form,
    dirs_only: bool,
}

#[derive(Debug, Clone)]
enum Form {
    /// Against the last name, which it is.
    Literal(Box<[u8]>),
    /// Against the last name.
    Name(Vec<Token>),
    /// Against the whole path.
    Path(Vec<Step>),
}

#[derive(Debug, Clone)]
enum Step {
    /// `**`: any number of names, none included.
    AnyDepth,
    /// One name.
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This character.
    Literal(Char),
    /// `?`: one character.
    Any,
    /// `*`: any characters.
    Star,
    /// `[…]`, `[!…]`: one character of these ranges, or of no range.
    OneOf {
        ranges: Vec<(Char, Char)>,
        negated: bool,
    },
}

/// A character, or a byte that is part of none; bytes sort after all characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Char {
    Text(char),
    Byte(u8),
}

impl Pattern {
    fn new(text: &str) -> Self {
        let (body, dirs_only) = match text.strip_suffix('/') {
            Some(body) => (body, true),
            None => (text, false),
        };
        if !body.contains('/') {
            let form = if body.contains(['*', '?', '[']) {
                Form::Name(tokens(body))
            } else {
                Form::Literal(body.as_bytes().into())
            };
            return Self { form, dirs_only };
        }
        let anchored = body.strip_prefix('/').unwrap_or(body);
        let steps = anchored.split('/').map(|part| {
            if part == "**" {
                Step::AnyDepth
            } else {
                Step::Name(tokens(part))
            }
        });
        Self {
            form: Form::Path(steps.collect()),
            dirs_only,
        }
    }

    fn matches(&self, path: &RelPath, kind: Kind) -> bool {
        if self.dirs_only && kind != Kind::Dir {
            return false;
        }
        match &self.form {
            Form::Literal(literal) => path
                .name()
                .is_some_and(|name| name.as_bytes() == &**literal),
            Form::Name(tokens) => path
                .name()
                .is_some_and(|name| matches_name(tokens, &chars(name.as_bytes()))),
            Form::Path(steps) => {
                let names: Vec<Vec<Char>> =
                    path.names().map(|name| chars(name.as_bytes())).collect();
                matches_path(steps, &names)
            }
        }
    }
}

/// Whether the steps match the names. Row by row: `reached[i]` says whether the steps so far match the first `i`
/// names, so that no pattern takes more than steps × names comparisons.
fn matches_path(steps: &[Step], names: &[Vec<Char>]) -> bool {
    let mut reached = vec![false; names.len() + 1];
    reached[0] = true;
    for step in steps {
        reached = match step {
            Step::AnyDepth => {
                let first = reached.iter().position(|yes| *yes).unwrap_or(reached.len());
                (0..reached.len()).map(|index| index >= first).collect()
            }
            Step::Name(tokens) => (0..reached.len())
                .map(|index| {
                    index > 0 && reached[index - 1] && matches_name(tokens, &names[index - 1])
                })
                .collect(),
        };
    }
    reached[names.len()]
}

/// Greedy with one way back: a later `*` makes every choice of an earlier one good enough.
fn matches_name(tokens: &[Token], name: &[Char]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < name.len() {
        match tokens.get(token) {
            Some(Token::Star) => {
                retry = Some((token, at));
                token += 1;
            }
            Some(one) if one.takes(name[at]) => {
                token += 1;
                at += 1;
            }
            _ => {
                let Some((star, taken)) = retry else {
                    return false;
                };
                retry = Some((star, taken + 1));
                token = star + 1;
                at = taken + 1;
            }
        }
    }
    tokens[token..].iter().all(|token| *token == Token::Star)
}

impl Token {
    /// Whether this token takes that one character; `*` is the caller's business.
    fn takes(&self, c: Char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::Any => true,
            Self::Star => false,
            Self::OneOf { ranges, negated } => {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&c))
                    != *negated
            }
        }
    }
}

fn chars(bytes: &[u8]) -> Vec<Char> {
    let mut all = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        all.extend(chunk.valid().chars().map(Char::Text));
        all.extend(chunk.invalid().iter().copied().map(Char::Byte));
    }
    all
}

fn tokens(pattern: &str) -> Vec<Token> {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = pattern.get(at) {
        at += 1;
        let token = match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => match character_class(&pattern[at..]) {
                Some((token, taken)) => {
                    at += taken;
                    token
                }
                // A bracket that is never closed stands for itself.
                None => Token::Literal(Char::Text('[')),
            },
            other => Token::Literal(Char::Text(other)),
        };
        tokens.push(token);
    }
    tokens
}

/// Reads what stands behind `[`: the token and how many characters it took. A `]` right at the start is a member.
fn character_class(rest: &[char]) -> Option<(Token, usize)> {
    let negated = rest.first() == Some(&'!');
    let start = usize::from(negated);
    let end = start + 1 + rest.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let members = &rest[start..end];
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&first) = members.get(at) {
        let (last, taken) = match (members.get(at + 1), members.get(at + 2)) {
            (Some('-'), Some(&last)) => (last, 3),
            _ => (first, 1),
        };
        ranges.push((Char::Text(first), Char::Text(last)));
        at += taken;
    }
    Some((Token::OneOf { ranges, negated }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(matching: &[&str], excluded: &[&str]) -> Filter {
        let own = |patterns: &[&str]| patterns.iter().map(|text| (*text).to_owned()).collect();
        Filter::new(&Selection {
            matching: own(matching),
            excluded: own(excluded),
            ..Selection::default()
        })
    }

    fn judge(filter: &Filter, path: &str) -> Verdict {
        let kind = if path.ends_with('/') {
            Kind::Dir
        } else {
            Kind::File
        };
        filter.judge(&RelPath::parse(path.as_bytes()).unwrap(), kind)
    }

    fn accepts(filter: &Filter, path: &str) -> bool {
        judge(filter, path) == Verdict::Accepted
    }

    fn name_matches(pattern: &str, name: &[u8]) -> bool {
        matches_name(&tokens(pattern), &chars(name))
    }

    #[test]
    fn names_match_as_in_fnmatch() {
        let yes = [
            ("*", ""),
            ("*.txt", "a.txt"),
            ("*.txt", ".txt"),
            ("a?c", "aéc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("[!]]", "a"),
            ("[", "["),
            ("[a", "[a"),
            ("*a*b*", "xxaxxbxx"),
            ("**", "ab"),
            ("[a-]", "-"),
        ];
        for (pattern, name) in yes {
            assert!(
                name_matches(pattern, name.as_bytes()),
                "{pattern} should match {name}"
            );
        }
        let no = [
            ("*.txt", "a.TXT"),
            ("?", ""),
            ("?", "ab"),
            ("[a-c]", "d"),
            ("[!a-c]", "b"),
            ("[]", "]"),
            ("a", "A"),
        ];
        for (pattern, name) in no {
            assert!(
                !name_matches(pattern, name.as_bytes()),
                "{pattern} should not match {name}"
            );
        }
    }

    #[test]
    fn a_byte_that_is_no_text_is_one_character() {
        assert!(name_matches("caf?", b"caf\xe9"));
        assert!(name_matches("caf*", b"caf\xe9"));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let name = "a".repeat(200);
        assert!(!name_matches(
            &format!("{}b", "a*".repeat(60)),
            name.as_bytes()
        ));
    }

    #[test]
    fn match_is_for_files_only() {
        let filter = filter(&["*.jpg", "*.png"], &[]);
        assert!(accepts(&filter, "a/x.jpg") && accepts(&filter, "y.png"));
        assert!(!accepts(&filter, "x.txt"));
        assert!(accepts(&filter, "photos/"));
    }

    #[test]
    fn exclude_is_for_files_and_directories_after_match() {
        let filter = filter(&["*.jpg"], &[".git", "x*"]);
        assert!(!accepts(&filter, ".git/") && !accepts(&filter, "x.jpg"));
        assert!(accepts(&filter, "a.jpg"));
    }

    #[test]
    fn the_defaults_hold_until_they_are_taken_back() {
        let with = filter(&[], &["*.bak"]);
        assert_eq!(judge(&with, "a/.git/"), Verdict::RejectedByDefault);
        assert_eq!(judge(&with, "x.bak"), Verdict::Rejected);
        assert!(accepts(&filter(&[], &["!.git"]), ".git/"));
        let without = Filter::new(&Selection {
            default_excludes: false,
            ..Selection::default()
        });
        assert!(accepts(&without, ".git/"));
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let filter = filter(&[], &["*.log", "!keep.log", "/keep.log"]);
        assert!(!accepts(&filter, "a.log") && !accepts(&filter, "keep.log"));
        assert!(accepts(&filter, "a/keep.log"));
    }

    #[test]
    fn a_name_with_a_slash_behind_it_is_a_directory_at_any_depth() {
        let filter = filter(&[], &["cache/"]);
        assert!(!accepts(&filter, "cache/") && !accepts(&filter, "a/b/cache/"));
        assert!(accepts(&filter, "cache") && accepts(&filter, "a/cache"));
    }

    #[test]
    fn patterns_with_a_slash_see_the_whole_path() {
        let filter = filter(
            &[],
            &["build/*.o", "/top", "**/cache/", "docs/**/*.tmp", "logs/**"],
        );
        for rejected in [
            "build/a.o",
            "top",
            "top/",
            "cache/",
            "a/b/cache/",
            "docs/x.tmp",
            "docs/a/b/x.tmp",
            "logs/a",
            "logs/a/b",
        ] {
            assert!(!accepts(&filter, rejected), "{rejected}");
        }
        for accepted in [
            "build/sub/a.o",
            "a/build/a.o",
            "sub/top",
            "cache",
            "docs/x.txt",
            "x.tmp",
        ] {
            assert!(accepts(&filter, accepted), "{accepted}");
        }
    }
}
