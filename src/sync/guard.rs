//! What must not happen. Pure: facts in, a refusal out. Each refusal says what was found and what overrides it.

use crate::job::{MaxDelete, Overrides};
use crate::side::{Side, Sides};
use crate::time::Timestamp;

/// When this version was made: 2026-11-01. A clock before it has not been set since the router started.
pub const MADE_AT: Timestamp = Timestamp::from_secs(1_793_491_200);

/// Fewer deletions than this are never a mass, whatever their share.
const MASS_FILES: u64 = 10;

/// From this many recorded files on, a directory that became empty is suspicious.
const EMPTIED_DIR_FILES: u64 = 10;

/// From this many files on, nearly all of them changed without one changing its size is suspicious.
const ALL_CHANGED_FILES: u64 = 20;

/// From this many files on, all of them shifted by the same time are suspicious.
const SHIFTED_FILES: u64 = 5;

/// Zones and daylight saving differ by multiples of this.
const SHIFT_STEP_SECS: i64 = 15 * 60;

/// Refuses when the clock was not set: no decision by time would be right, and no time worth recording.
pub fn unset_clock(now: Timestamp) -> Result<(), String> {
    if now >= MADE_AT {
        return Ok(());
    }
    Err(format!(
        "the clock of this machine says {now}, which is before this program was made; \
         set the clock (is ntpd running?), then try again"
    ))
}

/// What is known of one root, now and from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Whether there is such a directory.
    pub is_there: bool,
    /// Whether it holds nothing but reserved names.
    pub is_empty: bool,
    /// Whether it was known to hold files.
    pub held_files: bool,
    /// Whether it is on another file system than last time, and nothing in it is known.
    pub is_elsewhere: bool,
}

/// Refuses when a root that held files is gone, empty, or another disk.
pub fn vanished_root(side: Side, root: Root, allow: Overrides) -> Result<(), String> {
    if !root.held_files || allow.empty {
        return Ok(());
    }
    let found = match root {
        Root {
            is_there: false, ..
        } => "is missing",
        Root {
            is_elsewhere: true, ..
        } => "is on another disk than last time and holds nothing that is known",
        Root { is_empty: true, .. } => "is empty",
        _ => return Ok(()),
    };
    Err(format!(
        "the {side} root {found}, although it held files when it was last synced; \
         is its disk mounted? --allow-empty goes on all the same"
    ))
}

/// Refuses to delete all that the follower has because its source holds nothing at all, whether it ever did or not.
pub fn empty_source(
    source: Side,
    is_empty: Sides<bool>,
    deletes: bool,
    allow: Overrides,
) -> Result<(), String> {
    if !deletes || !*is_empty.of(source) || *is_empty.of(source.peer()) || allow.empty {
        return Ok(());
    }
    Err(format!(
        "the {source} root is empty, and everything on the {} side would be deleted; is its disk mounted? \
         --allow-empty goes on all the same",
        source.peer()
    ))
}

/// Refuses when a first-level directory that had many files became empty and its peer's would be deleted.
pub fn emptied_dir(
    path: &str,
    side: Side,
    recorded: u64,
    is_empty: bool,
    allow: Overrides,
) -> Result<(), String> {
    if !is_empty || recorded < EMPTIED_DIR_FILES || allow.empty {
        return Ok(());
    }
    Err(format!(
        "{path} became empty on the {side} side, although {recorded} files are recorded there; \
         --allow-empty deletes them on the other side, too"
    ))
}

/// How many files of a side are there, and how many a plan deletes or overwrites by a conflict rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Files seen.
    pub files: u64,
    /// Files to be lost.
    pub lost: u64,
}

/// Refuses a plan that deletes more than it may on either side.
pub fn mass_delete(losses: Sides<Losses>, limit: MaxDelete) -> Result<(), String> {
    for side in Side::BOTH {
        let Losses { files, lost } = *losses.of(side);
        let too_many = match limit {
            MaxDelete::Half => lost >= MASS_FILES && lost * 2 > files,
            MaxDelete::Files(most) => lost > most,
            MaxDelete::Percent(most) => lost * 100 > files * u64::from(most),
        };
        if too_many {
            return Err(format!(
                "this would delete or overwrite {lost} of {files} files on the {side} side; \
                 if that is meant, allow it with --max-delete {lost}"
            ));
        }
    }
    Ok(())
}

/// What the recorded files of one side look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that have a record and are there.
    pub recorded: u64,
    /// Those of them with another time and the same size.
    pub retimed: u64,
    /// The shift of the first of them, in seconds.
    first_shift_secs: Option<i64>,
    /// Those of them shifted by the same time as the first.
    alike: u64,
}

impl Changes {
    /// Counts a file that is as recorded, or differs in more than its time.
    pub fn count_other(&mut self) {
        self.recorded += 1;
    }

    /// Counts a file with the recorded size and another time.
    pub fn count_retimed(&mut self, recorded: Timestamp, now: Timestamp) {
        self.recorded += 1;
        self.retimed += 1;
        let shift = now.as_secs() - recorded.as_secs();
        let first = *self.first_shift_secs.get_or_insert(shift);
        // Each of the two times may be off by the tolerance of its file system.
        if (shift - first).abs() <= 2 {
            self.alike += 1;
        }
    }

    /// Whether so many files changed nothing but their time that it is hardly their content.
    pub fn is_suspicious(&self) -> bool {
        self.common_shift_secs().is_some() || self.nearly_all_retimed()
    }

    fn nearly_all_retimed(&self) -> bool {
        self.retimed >= ALL_CHANGED_FILES && self.retimed * 10 > self.recorded * 9
    }

    /// The one shift by which all files moved, if there is one that a zone could explain.
    pub fn common_shift_secs(&self) -> Option<i64> {
        let shift = self.first_shift_secs?;
        let rounded =
            (shift + shift.signum() * SHIFT_STEP_SECS / 2) / SHIFT_STEP_SECS * SHIFT_STEP_SECS;
        let common = self.recorded >= SHIFTED_FILES
            && self.alike == self.recorded
            && rounded != 0
            && (shift - rounded).abs() <= 2;
        common.then_some(rounded)
    }
}

/// Refuses when nearly all files changed their time and none its size, or all moved by one shift.
pub fn all_changed(changes: Sides<Changes>, allow: Overrides) -> Result<(), String> {
    if allow.time_shift {
        return Ok(());
    }
    for side in Side::BOTH {
        let of_side = changes.of(side);
        if let Some(shift) = of_side.common_shift_secs() {
            return Err(format!(
                "all {} recorded files on the {side} side have times shifted by {}; a zone or daylight saving, not a \
                 change? --accept-time-shift corrects the records and copies nothing",
                of_side.recorded,
                as_hours(shift),
            ));
        }
        if of_side.nearly_all_retimed() {
            return Err(format!(
                "{} of {} recorded files on the {side} side have another time but the same size; was the tree copied \
                 without its times? --accept-time-shift corrects the records and copies nothing",
                of_side.retimed, of_side.recorded,
            ));
        }
    }
    Ok(())
}

fn as_hours(shift_secs: i64) -> String {
    let minutes = shift_secs.abs() / 60;
    let sign = if shift_secs < 0 { '-' } else { '+' };
    format!("{sign}{}:{:02} h", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_OVERRIDE: Overrides = Overrides {
        empty: false,
        time_shift: false,
        delete: MaxDelete::Half,
    };
    const FULL: Root = Root {
        is_there: true,
        is_empty: false,
        held_files: true,
        is_elsewhere: false,
    };

    fn losses(lost: u64, files: u64) -> Sides<Losses> {
        Sides::new(Losses::default(), Losses { files, lost })
    }

    #[test]
    fn refuses_an_unset_clock() {
        assert_eq!(MADE_AT.to_string(), "2026-11-01 00:00:00");
        assert!(
            unset_clock(Timestamp::from_secs(0))
                .unwrap_err()
                .contains("1970-01-01")
        );
        assert_eq!(unset_clock(MADE_AT), Ok(()));
    }

    #[test]
    fn refuses_a_root_that_vanished() {
        for gone in [
            Root {
                is_there: false,
                ..FULL
            },
            Root {
                is_empty: true,
                ..FULL
            },
            Root {
                is_elsewhere: true,
                ..FULL
            },
        ] {
            assert!(
                vanished_root(Side::Local, gone, NO_OVERRIDE).is_err(),
                "{gone:?}"
            );
            assert!(
                vanished_root(
                    Side::Local,
                    gone,
                    Overrides {
                        empty: true,
                        ..NO_OVERRIDE
                    }
                )
                .is_ok()
            );
            assert!(
                vanished_root(
                    Side::Local,
                    Root {
                        held_files: false,
                        ..gone
                    },
                    NO_OVERRIDE
                )
                .is_ok()
            );
        }
        assert_eq!(vanished_root(Side::Local, FULL, NO_OVERRIDE), Ok(()));
    }

    #[test]
    fn an_empty_source_deletes_nothing_unless_told() {
        let refuses = |local, remote, deletes| {
            let is_empty = Sides::new(local, remote);
            empty_source(Side::Local, is_empty, deletes, NO_OVERRIDE).is_err()
        };
        assert!(refuses(true, false, true));
        assert!(!refuses(true, false, false), "nothing is deleted");
        assert!(!refuses(true, true, true), "there is nothing to delete");
        assert!(!refuses(false, false, true));
        let told = Overrides {
            empty: true,
            ..NO_OVERRIDE
        };
        assert!(empty_source(Side::Local, Sides::new(true, false), true, told).is_ok());
    }

    #[test]
    fn more_than_half_and_ten_is_a_mass() {
        let half = |lost, files| mass_delete(losses(lost, files), MaxDelete::Half);
        assert!(half(9, 9).is_ok(), "few files");
        assert!(half(10, 20).is_ok(), "exactly half");
        assert!(half(10, 19).is_err());
    }

    #[test]
    fn the_given_limit_counts_instead() {
        assert!(mass_delete(losses(100, 100), MaxDelete::Files(100)).is_ok());
        assert!(mass_delete(losses(1, 100), MaxDelete::Files(0)).is_err());
        assert!(mass_delete(losses(5, 100), MaxDelete::Percent(5)).is_ok());
        assert!(mass_delete(losses(6, 100), MaxDelete::Percent(5)).is_err());
    }

    #[test]
    fn names_the_shift_of_a_zone() {
        let mut changes = Changes::default();
        for secs in 0..5 {
            let recorded = Timestamp::from_secs(secs * 1000);
            changes.count_retimed(recorded, recorded.plus_secs(3600 + secs % 2));
        }
        let refusal =
            all_changed(Sides::new(changes, Changes::default()), NO_OVERRIDE).unwrap_err();
        assert!(refusal.contains("shifted by +1:00 h"), "{refusal}");
        changes.count_other();
        assert_eq!(
            changes.common_shift_secs(),
            None,
            "one file that did not move"
        );
    }

    #[test]
    fn touched_files_are_no_shift() {
        let mut changes = Changes::default();
        for secs in 0..19 {
            changes.count_retimed(
                Timestamp::from_secs(secs * 1000),
                Timestamp::from_secs(1_000_000),
            );
        }
        assert!(all_changed(Sides::new(changes, Changes::default()), NO_OVERRIDE).is_ok());
        changes.count_retimed(Timestamp::from_secs(7), Timestamp::from_secs(1_000_000));
        assert!(all_changed(Sides::new(changes, Changes::default()), NO_OVERRIDE).is_err());
    }

    #[test]
    fn an_emptied_directory_of_ten_files_is_refused() {
        assert!(emptied_dir("photos", Side::Remote, 10, true, NO_OVERRIDE).is_err());
        assert!(emptied_dir("photos", Side::Remote, 9, true, NO_OVERRIDE).is_ok());
        assert!(emptied_dir("photos", Side::Remote, 10, false, NO_OVERRIDE).is_ok());
    }
}
