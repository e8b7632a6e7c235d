//! What became of an entry since it was recorded. Pure; looks at one side only, never at the other side's clock.

use std::fmt;

use crate::replica::{Kind, Stat};
use crate::side::{Side, Sides};
use crate::sync::record::What;

/// An entry against its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not there, and not recorded.
    Missing,
    /// There, in a directory that was never synced with this peer.
    Existing,
    /// There, and not recorded.
    New,
    /// There, as recorded.
    Unmodified,
    /// There, otherwise than recorded.
    Modified,
    /// Recorded, and not there.
    Deleted,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Existing,
        Self::New,
        Self::Unmodified,
        Self::Modified,
        Self::Deleted,
    ];

    /// Whether there is an entry at all.
    pub const fn is_there(self) -> bool {
        match self {
            Self::Missing | Self::Deleted => false,
            Self::Existing | Self::New | Self::Unmodified | Self::Modified => true,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Existing => "existing",
            Self::New => "new",
            Self::Unmodified => "unmodified",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
        })
    }
}

/// What became of an entry of that side. `settled` says whether its directory has been in step with this peer before.
///
/// A record of another kind (a file then, a directory now) is no record of this entry.
pub fn status_of(side: Side, shown: Option<&Stat>, record: Option<&What>, settled: bool) -> Status {
    let Some(shown) = shown else {
        return if record.is_some() {
            Status::Deleted
        } else {
            Status::Missing
        };
    };
    match (shown.kind, record) {
        (Kind::Dir, Some(What::Dir)) => Status::Unmodified,
        (Kind::File, Some(What::File(recorded))) => {
            if recorded.of(side).is_same(shown) {
                Status::Unmodified
            } else {
                Status::Modified
            }
        }
        _ if settled => Status::New,
        _ => Status::Existing,
    }
}

/// What became of a pair. `gone_from` names the side that deleted the whole directory, if one did: whatever the other side has
/// in it appeared after that.
pub fn statuses(
    shown: Sides<Option<Stat>>,
    record: Option<&What>,
    settled: bool,
    gone_from: Option<Side>,
) -> Sides<Status> {
    let kind = shown.local.or(shown.remote).map(|stat| stat.kind);
    let record = record.filter(|what| kind.is_none_or(|kind| kind == what.kind()));
    let mut statuses = Sides::new(
        status_of(Side::Local, shown.local.as_ref(), record, settled),
        status_of(Side::Remote, shown.remote.as_ref(), record, settled),
    );
    if let Some(side) = gone_from
        && *statuses.of(side) == Status::Missing
    {
        *statuses.of_mut(side) = Status::Deleted;
    }
    statuses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::record::Shown;
    use crate::time::Timestamp;

    fn file(size: u64, secs: i64) -> Stat {
        Stat::file(size, Timestamp::from_secs(secs))
    }

    fn recorded() -> What {
        What::File(Sides::new(
            Shown::of(&file(10, 1_000_000)),
            Shown::of(&file(10, 2_000_000)),
        ))
    }

    fn local(stat: Option<Stat>, record: Option<&What>, settled: bool) -> Status {
        status_of(Side::Local, stat.as_ref(), record, settled)
    }

    #[test]
    fn a_file_in_every_cell_of_the_status_table() {
        let record = recorded();
        let record = Some(&record);
        assert_eq!(
            local(Some(file(10, 1_000_000)), record, true),
            Status::Unmodified
        );
        assert_eq!(
            local(Some(file(10, 1_000_001)), record, true),
            Status::Modified
        );
        assert_eq!(
            local(Some(file(11, 1_000_000)), record, true),
            Status::Modified
        );
        assert_eq!(local(Some(file(10, 1_000_000)), None, true), Status::New);
        assert_eq!(
            local(Some(file(10, 1_000_000)), None, false),
            Status::Existing
        );
        assert_eq!(local(None, record, true), Status::Deleted);
        assert_eq!(local(None, None, true), Status::Missing);
        assert_eq!(local(None, None, false), Status::Missing);
    }

    #[test]
    fn each_side_is_compared_with_what_it_showed_itself() {
        let record = recorded();
        let shown = Sides::new(Some(file(10, 1_000_000)), Some(file(10, 2_000_000)));
        let both = statuses(shown, Some(&record), true, None);
        assert_eq!(both, Sides::new(Status::Unmodified, Status::Unmodified));
        let both = statuses(shown.swap(), Some(&record), true, None);
        assert_eq!(both, Sides::new(Status::Modified, Status::Modified));
    }

    #[test]
    fn a_directory_in_every_cell_of_the_status_table() {
        assert_eq!(
            local(Some(Stat::dir()), Some(&What::Dir), true),
            Status::Unmodified
        );
        assert_eq!(local(Some(Stat::dir()), None, true), Status::New);
        assert_eq!(local(Some(Stat::dir()), None, false), Status::Existing);
        assert_eq!(local(None, Some(&What::Dir), true), Status::Deleted);
    }

    #[test]
    fn a_record_of_another_kind_is_none() {
        let record = recorded();
        assert_eq!(local(Some(Stat::dir()), Some(&record), true), Status::New);
        assert_eq!(
            local(Some(file(10, 1_000_000)), Some(&What::Dir), true),
            Status::New
        );
        let shown = Sides::new(Some(Stat::dir()), None);
        let both = statuses(shown, Some(&record), true, None);
        assert_eq!(both, Sides::new(Status::New, Status::Missing));
    }

    #[test]
    fn what_appeared_in_a_deleted_directory_appeared_after_that() {
        let shown = Sides::new(None, Some(file(10, 1)));
        let both = statuses(shown, None, true, Some(Side::Local));
        assert_eq!(both, Sides::new(Status::Deleted, Status::New));
    }
}
