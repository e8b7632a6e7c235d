//! What the dialogue about a conflict says. Pure.

use super::AskStyle;
use super::keys::{has_followers, is_comparable, offered};
use crate::job::Direction;
use crate::replica::{Kind, Mtime, Stat};
use crate::screen::{LIGHT_RED, RESET};
use crate::side::{Side, Sides};
use crate::sync::event::{Choice, Conflict};
use crate::sync::plan::resolve::{Resolution, newer};
use crate::sync::plan::status::Status;
use crate::sync::record::Shown;
use crate::words::{count, local_time};

/// Stands for a key that has no sign.
pub(super) const SOME_KEY: char = '\u{fffd}';

/// What is explained besides the answers.
pub(super) const HELP: &str = "\
\x20 Times are this machine's. Nothing is done before all conflicts are answered.
\x20 --resolve local, remote, old, new, both or skip answers them without asking.";

/// What there is on both sides, and what is known of it.
pub(super) fn describe(conflict: &Conflict<'_>, style: AskStyle) -> String {
    let (red, reset) = match style {
        AskStyle::Colored => (LIGHT_RED, RESET),
        AskStyle::Plain => ("", ""),
    };
    let newer = newer(conflict.stats);
    let rows = Side::BOTH.into_iter().map(|side| {
        let stat = conflict.stats.of(side).as_ref();
        let other = conflict.stats.of(side.peer()).as_ref();
        let (time, size) = match stat {
            None => ("deleted".to_owned(), String::new()),
            Some(stat) if stat.kind == Kind::Dir => ("a directory".to_owned(), String::new()),
            Some(stat) => (time(stat.mtime), count(stat.size, "byte")),
        };
        let label = side.to_string();
        Row {
            label,
            time,
            size,
            remark: remark(side, newer, stat, other),
        }
    });
    let mut rows: Vec<Row> = rows.collect();
    if let Some(record) = conflict.record {
        let row = |label: &str, shown: Shown| Row {
            label: label.to_owned(),
            time: time(shown.mtime),
            size: count(shown.size, "byte"),
            remark: String::new(),
        };
        let (local, remote) = (
            row("last in step", record.local),
            row("last in step", record.remote),
        );
        if (&local.time, &local.size) == (&remote.time, &remote.size) {
            rows.push(local);
        } else {
            rows.push(row("last, local", record.local));
            rows.push(row("last, remote", record.remote));
        }
    }
    let width = rows.iter().map(|row| row.size.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows.iter().map(|row| row.line(width)).collect();
    format!(
        "\n{red}Conflict {} of {}: {}{reset}\n  {}\n{}",
        conflict.number,
        conflict.all,
        conflict.path,
        what_happened(conflict),
        lines.join("\n")
    )
}

struct Row {
    label: String,
    time: String,
    size: String,
    remark: String,
}

impl Row {
    fn line(&self, width: usize) -> String {
        let Self {
            label,
            time,
            size,
            remark,
        } = self;
        let line = format!("  {label:<12}  {time:<19}  {size:>width$}  {remark}");
        line.trim_end().to_owned()
    }
}

fn what_happened(conflict: &Conflict<'_>) -> String {
    let change = |status: Status| match status {
        Status::Modified => "changed",
        Status::New | Status::Existing => "new",
        Status::Unmodified => "as it was",
        Status::Missing | Status::Deleted => "deleted",
    };
    let Sides { local, remote } = conflict.stats;
    match (local, remote) {
        (Some(local), Some(remote)) if local.kind != remote.kind => {
            let kind = |stat: Stat| match stat.kind {
                Kind::Dir => "a directory",
                Kind::File | Kind::Special => "a file",
            };
            let (local, remote) = (kind(local), kind(remote));
            format!("{local} on the local side, {remote} on the remote side")
        }
        (Some(_), Some(_)) if conflict.record.is_some() => {
            "changed on both sides since they were last in step".to_owned()
        }
        (Some(_), Some(_)) => "different, and never in step before".to_owned(),
        (None, _) | (_, None) => {
            let Sides { local, remote } = conflict.status.map(change);
            format!("{local} on the local side, {remote} on the remote side")
        }
    }
}

/// `newer, larger`. What is said of the time is what the answers `o` and `n` go by.
fn remark(side: Side, newer: Option<Side>, stat: Option<&Stat>, other: Option<&Stat>) -> String {
    let (Some(stat), Some(other)) = (stat, other) else {
        return String::new();
    };
    if stat.kind != other.kind {
        return String::new();
    }
    let age = newer.map(|newer| if newer == side { "newer" } else { "older" });
    let size = match stat.size.cmp(&other.size) {
        std::cmp::Ordering::Less => Some("smaller"),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some("larger"),
    };
    let words: Vec<&str> = age.into_iter().chain(size).collect();
    words.join(", ")
}

fn time(mtime: Option<Mtime>) -> String {
    mtime.map_or_else(|| "time not known".to_owned(), |mtime| local_time(mtime.at))
}

/// Every key, and what it comes to.
pub(super) fn offer(conflict: &Conflict<'_>, style: AskStyle) -> String {
    let mut lines: Vec<(char, &str, String)> = offered(conflict)
        .map(|(key, choice)| (key, of(choice), comes_to(choice, conflict)))
        .collect();
    let mut add = |key, word, text: &str| lines.push((key, word, text.to_owned()));
    if is_comparable(conflict) {
        add('d', "compare", "read both, and say whether they differ");
    }
    if has_followers(conflict) {
        add('a', "all", "one of the above for all that follow, too");
    }
    add(
        'q',
        "quit",
        "change nothing, and drop the answers given so far",
    );
    let (mark, reset) = match style {
        AskStyle::Colored => (MARK, RESET),
        AskStyle::Plain => ("", ""),
    };
    let lines: Vec<String> = lines
        .into_iter()
        .map(|(key, word, text)| format!("  {mark}{key}{reset}  {word:<8} {text}"))
        .collect();
    lines.join("\n")
}

const MARK: &str = "\x1b[1m";

/// The keys of the question.
pub(super) fn keys(conflict: &Conflict<'_>) -> String {
    let more = [
        ('d', is_comparable(conflict)),
        ('a', has_followers(conflict)),
        ('q', true),
        ('?', true),
    ];
    let more = more.into_iter().filter(|(_, is_there)| *is_there);
    let all = offered(conflict)
        .map(|(key, _)| key)
        .chain(more.map(|(key, _)| key));
    spaced(all)
}

/// The keys of answers.
pub(super) fn answers(conflict: &Conflict<'_>) -> String {
    spaced(offered(conflict).map(|(key, _)| key))
}

fn spaced(keys: impl Iterator<Item = char>) -> String {
    let keys: Vec<String> = keys.map(String::from).collect();
    keys.join(" ")
}

/// The word for an answer.
pub(super) const fn of(choice: Choice) -> &'static str {
    match choice {
        Choice::Use(Side::Local) => "local",
        Choice::Use(Side::Remote) => "remote",
        Choice::Older => "older",
        Choice::Newer => "newer",
        Choice::Both => "both",
        Choice::Skip => "skip",
    }
}

fn comes_to(choice: Choice, conflict: &Conflict<'_>) -> String {
    match conflict.comes_to(choice) {
        Resolution::Copy { from } => {
            format!("the {from} file replaces the {} one", from.peer())
        }
        Resolution::Restore { from } => format!(
            "the {from} file is copied to the {} side again",
            from.peer()
        ),
        Resolution::Delete { on } => format!("the {on} file is deleted, too"),
        Resolution::KeepBoth { winner } => format!(
            "the {} one becomes NAME.conflict-DATE, and both are copied",
            winner.peer()
        ),
        Resolution::MoveAside { loser } => {
            format!("the {loser} one becomes NAME.conflict-DATE, and both are copied")
        }
        Resolution::Skip | Resolution::Ask => {
            "both sides stay as they are; the next run asks again".to_owned()
        }
    }
}

/// The question for the second key after `a`.
pub(super) fn for_all(conflict: &Conflict<'_>) -> String {
    match conflict.all - conflict.number {
        1 => "This one and the next?".to_owned(),
        more => format!("This one and the {more} that follow?"),
    }
}

/// What was not done when the user broke off.
pub(super) fn quit(conflict: &Conflict<'_>) -> String {
    match conflict.number - 1 {
        0 => "Nothing was changed.".to_owned(),
        1 => "Nothing was changed; the first answer was dropped.".to_owned(),
        given => format!("Nothing was changed; the {given} answers so far were dropped."),
    }
}

/// Why a key does nothing.
pub(super) fn why_not(key: char, conflict: &Conflict<'_>) -> String {
    let letter = key.to_ascii_lowercase();
    let has_both_files = is_comparable(conflict);
    let why = match (letter, conflict.direction) {
        ('d', _) => "there are no two files to compare",
        ('a', _) => "this is the last one",
        ('o' | 'n', Direction::Sync) if !has_both_files => {
            "there are no two files of which one is older"
        }
        ('o' | 'n', _) if newer(conflict.stats).is_none() => "their times are equal, or not known",
        ('l' | 'r' | 'o' | 'n' | 'b', Direction::Upload) => "upload never changes the local side",
        ('l' | 'r' | 'o' | 'n' | 'b', Direction::Download) => {
            "download never changes the remote side"
        }
        _ => "? lists the keys",
    };
    let name = match key {
        '\n' | '\r' => "Return".to_owned(),
        ' ' => "Space".to_owned(),
        key if key.is_ascii_graphic() => format!("'{key}'"),
        _ => "that key".to_owned(),
    };
    format!("{name} means nothing here: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Delete;
    use crate::path::RelPath;
    use crate::time::Timestamp;

    fn file(size: u64, secs: i64) -> Option<Stat> {
        Some(Stat::file(size, Timestamp::from_secs(secs)))
    }

    fn conflict(path: &RelPath) -> Conflict<'_> {
        let shown = Shown::of(&file(10, 1_500_000_000).unwrap());
        Conflict {
            path,
            number: 2,
            all: 3,
            stats: Sides::new(file(1234, 1_700_000_000), file(1, 1_600_000_000)),
            status: Sides::new(Status::Modified, Status::Modified),
            record: Some(Sides::new(shown, shown)),
            direction: Direction::Sync,
            delete: Delete::Never,
        }
    }

    fn plain(conflict: &Conflict<'_>) -> String {
        describe(conflict, AskStyle::Plain)
    }

    #[test]
    fn both_sides_and_the_record_are_shown_in_columns() {
        let path = RelPath::parse(b"a/x").unwrap();
        let time = |secs| local_time(Timestamp::from_secs(secs));
        let expected = format!(
            "\nConflict 2 of 3: a/x\n  changed on both sides since they were last in step\n  \
             local         {}  1,234 bytes  newer, larger\n  \
             remote        {}       1 byte  older, smaller\n  \
             last in step  {}     10 bytes",
            time(1_700_000_000),
            time(1_600_000_000),
            time(1_500_000_000)
        );
        assert_eq!(plain(&conflict(&path)), expected);
    }

    #[test]
    fn what_is_said_of_times_is_what_the_answers_go_by() {
        let path = RelPath::parse(b"x").unwrap();
        for (local, remote) in [(100, 200), (200, 100), (100, 100), (100, 101), (100, 103)] {
            let mut conflict = conflict(&path);
            conflict.stats = Sides::new(file(5, local), file(5, remote));
            let said = plain(&conflict);
            let newer = said.lines().find(|line| line.ends_with("newer"));
            match conflict.comes_to(Choice::Newer) {
                Resolution::Copy { from } => {
                    assert!(
                        newer.unwrap().trim().starts_with(&from.to_string()),
                        "{said}"
                    );
                }
                resolution => {
                    assert_eq!((newer, resolution), (None, Resolution::Skip));
                }
            }
        }
    }

    #[test]
    fn a_deletion_and_a_first_meeting_are_said_so() {
        let path = RelPath::parse(b"x").unwrap();
        let mut one = conflict(&path);
        one.stats.remote = None;
        one.status.remote = Status::Deleted;
        let said = plain(&one);
        assert!(
            said.contains("changed on the local side, deleted on the remote side"),
            "{said}"
        );
        assert!(said.contains("remote        deleted\n"), "{said}");
        let offered = offer(&one, AskStyle::Plain);
        assert!(
            offered.contains("r  remote   the local file is deleted, too"),
            "{offered}"
        );
        assert!(
            !offered.contains("older") && !offered.contains("compare"),
            "{offered}"
        );
        let mut two = conflict(&path);
        two.record = None;
        let said = plain(&two);
        assert!(said.contains("never in step before"), "{said}");
        two.stats.local = Some(Stat::dir());
        let said = plain(&two);
        assert!(
            said.contains("a directory on the local side, a file on the remote"),
            "{said}"
        );
    }

    #[test]
    fn every_key_says_what_it_comes_to() {
        let path = RelPath::parse(b"x").unwrap();
        let mut conflict = conflict(&path);
        let offered = offer(&conflict, AskStyle::Plain);
        assert_eq!(
            offered,
            "  l  local    the local file replaces the remote one\n  \
             r  remote   the remote file replaces the local one\n  \
             o  older    the remote file replaces the local one\n  \
             n  newer    the local file replaces the remote one\n  \
             b  both     the remote one becomes NAME.conflict-DATE, and both are copied\n  \
             s  skip     both sides stay as they are; the next run asks again\n  \
             d  compare  read both, and say whether they differ\n  \
             a  all      one of the above for all that follow, too\n  \
             q  quit     change nothing, and drop the answers given so far"
        );
        assert!(offered.lines().all(|line| line.len() < 80));
        assert_eq!(keys(&conflict), "l r o n b s d a q ?");
        conflict.number = 3;
        conflict.direction = Direction::Upload;
        assert_eq!(keys(&conflict), "l n s d q ?");
    }
}
