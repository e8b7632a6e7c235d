//! One entry's line, in pyftpsync's words and colors. Pure.

use super::Verbosity;
use crate::job::Direction;
use crate::side::Side;
use crate::sync::event::{Deed, DeletedFor, Resolved, Skipped};
use crate::sync::plan::status::Status;

/// One entry's line: what, why, which way, from which verbosity on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    action: &'static str,
    status: &'static str,
    pub(super) symbol: &'static str,
    pub(super) level: Verbosity,
}

impl Line {
    const fn new(
        action: &'static str,
        status: &'static str,
        symbol: &'static str,
        level: Verbosity,
    ) -> Self {
        Self {
            action,
            status,
            symbol,
            level,
        }
    }

    pub(super) fn of(deed: Deed, direction: Direction) -> Self {
        use Verbosity as V;
        match deed {
            Deed::Equal | Deed::Recorded => Self::new("", "equal", "=", V::EQUALS),
            Deed::Visited => Self::new("", "visit", "?", V::EQUALS),
            Deed::Copied { from, status, .. } => {
                Self::new("copy", word(status), arrow(from), V::WRITES)
            }
            Deed::Renamed { from } => Self::new("rename", "moved", arrow(from), V::WRITES),
            Deed::Deleted {
                on,
                why: DeletedFor::Missing,
            } => Self::new("delete", "missing", cross(on), V::WRITES),
            Deed::Deleted {
                on,
                why: DeletedFor::Unmatched,
            } => Self::new("delete", "unmatched", arrow(on.peer()), V::WRITES),
            Deed::PutBack { on } => Self::new("restore", "trash", arrow(on.peer()), V::WRITES),
            Deed::Forgotten => Self::new("", "forget", "x", V::EQUALS),
            Deed::Resolved(resolved) => {
                let (action, symbol) = match resolved {
                    Resolved::Copied {
                        from: Side::Local, ..
                    } => ("copy", "*>*"),
                    Resolved::Copied {
                        from: Side::Remote, ..
                    } => ("copy", "*<*"),
                    Resolved::Restored {
                        from: Side::Local, ..
                    } => ("restore", "*>x"),
                    Resolved::Restored {
                        from: Side::Remote, ..
                    } => ("restore", "x<*"),
                    Resolved::Deleted { on: Side::Local } => ("delete", "*<x"),
                    Resolved::Deleted { on: Side::Remote } => ("delete", "x>*"),
                    Resolved::KeptBoth {
                        winner: Side::Local,
                    }
                    | Resolved::MovedAside {
                        loser: Side::Remote,
                    } => ("both", "*>+"),
                    Resolved::KeptBoth {
                        winner: Side::Remote,
                    }
                    | Resolved::MovedAside { loser: Side::Local } => ("both", "+<*"),
                };
                Self::new(action, "conflict", symbol, V::WRITES)
            }
            Deed::ConflictSkipped => Self::new("skip", "conflict", "*?*", V::PROBLEMS),
            Deed::Skipped(skipped) => match skipped {
                Skipped::Unmatched => match direction {
                    Direction::Upload | Direction::Download => {
                        Self::new("skip", "unmatched", "-", V::EQUALS)
                    }
                    Direction::Sync => Self::new("skip", "mismatch", "?", V::EQUALS),
                },
                Skipped::NotDeleted { on } => {
                    Self::new("skip", undeleted(on), cross(on), V::WRITES)
                }
                // The summary counts them, and the next run would list the same.
                Skipped::NotOurs { on } => Self::new("skip", undeleted(on), cross(on), V::EQUALS),
                Skipped::OneWay { from: Side::Local } => {
                    Self::new("skip", "upload", ">", V::EQUALS)
                }
                Skipped::OneWay { from: Side::Remote } => {
                    Self::new("skip", "download", "<", V::EQUALS)
                }
                Skipped::Gone { .. } => Self::new("skip", "gone there", "-", V::EQUALS),
                Skipped::TooYoung => Self::new("skip", "too young", "-", V::EQUALS),
                Skipped::Special { .. } => Self::new("skip", "special", "-", V::EQUALS),
                Skipped::Linked { .. } => Self::new("skip", "linked", "-", V::WRITES),
                Skipped::Protected { on } => Self::new("skip", "protected", cross(on), V::WRITES),
            },
        }
    }

    pub(super) fn tag(&self) -> String {
        let words = [self.action, self.status].join(" ");
        words.trim_start().to_ascii_uppercase()
    }

    pub(super) fn color(&self) -> Option<&'static str> {
        let to_local = self.symbol.contains('<');
        match (self.action, self.status) {
            ("copy", "new") if to_local => Some(BRIGHT_GREEN),
            ("copy", "new") => Some(BRIGHT_CYAN),
            ("copy" | "restore" | "both" | "rename", _) if to_local => Some(GREEN),
            ("copy" | "restore" | "both" | "rename", _) => Some(CYAN),
            ("delete", _) => Some(RED),
            (_, "conflict") => Some(LIGHT_RED),
            ("skip", _) | (_, "equal" | "visit") => Some(GRAY),
            _ => None,
        }
    }
}

/// Whether the deed brought a file's bytes to the other side.
pub(super) fn is_copy(deed: Deed) -> bool {
    match deed {
        Deed::Copied { .. }
        | Deed::Resolved(
            Resolved::Copied { .. } | Resolved::Restored { .. } | Resolved::KeptBoth { .. },
        ) => true,
        Deed::Equal
        | Deed::Recorded
        | Deed::Visited
        | Deed::Renamed { .. }
        | Deed::Deleted { .. }
        | Deed::PutBack { .. }
        | Deed::Forgotten
        | Deed::Resolved(Resolved::Deleted { .. } | Resolved::MovedAside { .. })
        | Deed::ConflictSkipped
        | Deed::Skipped(_) => false,
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Missing => "missing",
        Status::Existing => "existing",
        Status::New => "new",
        Status::Unmodified => "unmodified",
        Status::Modified => "modified",
        Status::Deleted => "deleted",
    }
}

fn arrow(from: Side) -> &'static str {
    match from {
        Side::Local => ">",
        Side::Remote => "<",
    }
}

fn undeleted(on: Side) -> &'static str {
    match on {
        Side::Local => "local del.",
        Side::Remote => "remote del.",
    }
}

fn cross(on: Side) -> &'static str {
    match on {
        Side::Local => "X< ",
        Side::Remote => " >X",
    }
}
const GREEN: &str = "\x1b[32m";
const BRIGHT_GREEN: &str = "\x1b[32m\x1b[1m";
const CYAN: &str = "\x1b[36m";
const BRIGHT_CYAN: &str = "\x1b[36m\x1b[1m";
const RED: &str = "\x1b[31m";
pub(crate) const LIGHT_RED: &str = "\x1b[91m";
const GRAY: &str = "\x1b[90m";
pub(crate) const RESET: &str = "\x1b[0m";
/// Takes a progress line back.
pub(crate) const ERASE_BELOW: &str = "\r\x1b[J";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmatched_entries_have_another_word_in_a_sync() {
        let unmatched = Deed::Skipped(Skipped::Unmatched);
        assert_eq!(
            Line::of(unmatched, Direction::Upload).tag(),
            "SKIP UNMATCHED"
        );
        assert_eq!(Line::of(unmatched, Direction::Sync).tag(), "SKIP MISMATCH");
    }
}
