//! One entry's line: what was done, on which side, and in which color. Pure.

use super::Verbosity;
use crate::side::Side;
use crate::sync::event::{Deed, DeletedFor, Resolved, Skipped};
use crate::sync::plan::status::Status;

/// One entry's line: what was done, which side it changed, from which verbosity on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    words: &'static str,
    arrow: Arrow,
    pub(super) level: Verbosity,
}

/// Which side is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrow {
    /// That one.
    Towards(Side),
    Both,
    /// None: they are equal.
    Equal,
    /// None: it is left alone.
    Neither,
    /// None: it is a conflict.
    Conflict,
}

/// What the signs mean, for the help.
pub(crate) const LEGEND: [(&str, &str); 6] = [
    ("->", "the remote side is changed"),
    ("<-", "the local side is changed"),
    ("<>", "both are"),
    ("==", "it is equal on both sides"),
    ("--", "it is left alone"),
    ("??", "it is a conflict, and was skipped"),
];

impl Arrow {
    const fn sign(self) -> &'static str {
        match self {
            Self::Towards(Side::Remote) => "->",
            Self::Towards(Side::Local) => "<-",
            Self::Both => "<>",
            Self::Equal => "==",
            Self::Neither => "--",
            Self::Conflict => "??",
        }
    }
}

impl Line {
    pub(super) fn of(deed: Deed) -> Self {
        use Verbosity as V;
        let (words, arrow, level) = match deed {
            Deed::Equal => ("equal", Arrow::Equal, V::EQUALS),
            Deed::Recorded => ("found equal", Arrow::Equal, V::EQUALS),
            Deed::Visited => ("visit", Arrow::Equal, V::EQUALS),
            Deed::Copied { from, status, .. } => {
                (copied(status), Arrow::Towards(from.peer()), V::WRITES)
            }
            Deed::Renamed { from } => ("rename", Arrow::Towards(from.peer()), V::WRITES),
            Deed::Deleted { on, why } => (
                match why {
                    DeletedFor::Missing => "delete missing",
                    DeletedFor::Unmatched => "delete unmatched",
                },
                Arrow::Towards(on),
                V::WRITES,
            ),
            Deed::PutBack { on } => ("put back", Arrow::Towards(on), V::WRITES),
            Deed::Forgotten => ("forget", Arrow::Neither, V::EQUALS),
            Deed::Resolved(resolved) => {
                let (words, arrow) = settled(resolved);
                (words, arrow, V::WRITES)
            }
            Deed::ConflictSkipped => ("skip conflict", Arrow::Conflict, V::PROBLEMS),
            Deed::Skipped(skipped) => {
                let (words, level) = left(skipped);
                (words, Arrow::Neither, level)
            }
        };
        Self {
            words,
            arrow,
            level,
        }
    }

    /// `copy new         -> `, as wide for all.
    pub(super) fn head(&self) -> String {
        format!("{:<16} {} ", self.words, self.arrow.sign())
    }

    pub(super) fn color(&self) -> Option<&'static str> {
        let is_new = self.words == copied(Status::New);
        match self.arrow {
            Arrow::Towards(_) if self.words.starts_with("delete") => Some(RED),
            Arrow::Towards(Side::Local) if is_new => Some(BRIGHT_GREEN),
            Arrow::Towards(Side::Remote) if is_new => Some(BRIGHT_CYAN),
            Arrow::Towards(Side::Local) => Some(GREEN),
            Arrow::Towards(Side::Remote) | Arrow::Both => Some(CYAN),
            Arrow::Conflict => Some(LIGHT_RED),
            Arrow::Equal | Arrow::Neither => Some(GRAY),
        }
    }
}

const fn settled(resolved: Resolved) -> (&'static str, Arrow) {
    match resolved {
        Resolved::Copied { from, .. } => ("copy conflict", Arrow::Towards(from.peer())),
        Resolved::Restored { from, .. } => ("restore conflict", Arrow::Towards(from.peer())),
        Resolved::Deleted { on } => ("delete conflict", Arrow::Towards(on)),
        Resolved::KeptBoth { .. } => ("keep both", Arrow::Both),
        Resolved::MovedAside { loser } => ("move aside", Arrow::Towards(loser)),
    }
}

/// Why an entry is left alone. What the next run would tell again counts in the summary, and is listed on request.
const fn left(skipped: Skipped) -> (&'static str, Verbosity) {
    match skipped {
        Skipped::Unmatched => ("skip unmatched", Verbosity::EQUALS),
        Skipped::NotDeleted { on } => (only(on), Verbosity::WRITES),
        Skipped::NotOurs { on } => (only(on), Verbosity::EQUALS),
        Skipped::OneWay { from: Side::Local } => ("changed local", Verbosity::EQUALS),
        Skipped::OneWay { from: Side::Remote } => ("changed remote", Verbosity::EQUALS),
        Skipped::Gone { from: Side::Local } => ("gone local", Verbosity::EQUALS),
        Skipped::Gone { from: Side::Remote } => ("gone remote", Verbosity::EQUALS),
        Skipped::TooYoung => ("too young", Verbosity::EQUALS),
        Skipped::Special { .. } => ("no file", Verbosity::EQUALS),
        Skipped::Linked { .. } => ("left: a link", Verbosity::WRITES),
        Skipped::Protected { .. } => ("protected", Verbosity::WRITES),
    }
}

const fn only(on: Side) -> &'static str {
    match on {
        Side::Local => "only local",
        Side::Remote => "only remote",
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

const fn copied(status: Status) -> &'static str {
    match status {
        Status::New => "copy new",
        Status::Existing => "copy existing",
        Status::Modified => "copy modified",
        // With --force alone.
        Status::Unmodified => "copy unmodified",
        Status::Missing | Status::Deleted => "copy",
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
    use Side::{Local, Remote};

    const fn copy(from: Side, status: Status) -> Deed {
        Deed::Copied {
            from,
            status,
            bytes: 0,
        }
    }

    const fn delete(on: Side, why: DeletedFor) -> Deed {
        Deed::Deleted { on, why }
    }

    #[test]
    fn lines_say_what_is_done_and_point_to_the_side_that_it_changes() {
        let cases = [
            (copy(Local, Status::New), "copy new         -> "),
            (copy(Remote, Status::Modified), "copy modified    <- "),
            (Deed::Renamed { from: Local }, "rename           -> "),
            (Deed::Equal, "equal            == "),
            (delete(Local, DeletedFor::Missing), "delete missing   <- "),
            (
                delete(Remote, DeletedFor::Unmatched),
                "delete unmatched -> ",
            ),
            (Deed::ConflictSkipped, "skip conflict    ?? "),
            (
                Deed::Skipped(Skipped::OneWay { from: Remote }),
                "changed remote   -- ",
            ),
            (
                Deed::Skipped(Skipped::NotDeleted { on: Local }),
                "only local       -- ",
            ),
            (
                Deed::Resolved(Resolved::Restored {
                    from: Remote,
                    bytes: 0,
                }),
                "restore conflict <- ",
            ),
            (
                Deed::Resolved(Resolved::KeptBoth { winner: Local }),
                "keep both        <> ",
            ),
        ];
        for (deed, head) in cases {
            assert_eq!(Line::of(deed).head(), head, "{deed:?}");
        }
    }

    #[test]
    fn colors_are_those_of_pyftpsync() {
        let color = |deed| Line::of(deed).color();
        assert_eq!(color(copy(Local, Status::New)), Some(BRIGHT_CYAN));
        assert_eq!(color(copy(Remote, Status::Modified)), Some(GREEN));
        assert_eq!(color(delete(Local, DeletedFor::Missing)), Some(RED));
        assert_eq!(color(Deed::ConflictSkipped), Some(LIGHT_RED));
        assert_eq!(color(Deed::Equal), Some(GRAY));
    }

    #[test]
    fn the_legend_explains_every_sign() {
        let arrows = [
            Arrow::Towards(Remote),
            Arrow::Towards(Local),
            Arrow::Both,
            Arrow::Equal,
            Arrow::Neither,
            Arrow::Conflict,
        ];
        assert_eq!(arrows.map(Arrow::sign), LEGEND.map(|(sign, _)| sign));
    }
}
