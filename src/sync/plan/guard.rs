//! What must not happen. Pure: facts in, a refusal out. Each refusal says what was found and what overrides it.

use std::cmp::Ordering;

use crate::job::{MaxDelete, Overrides};
use crate::replica::Precision;
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

/// From this many files on, most of those that changed having gone back in time, or most of those that did not having other
/// inodes, means that an old copy was restored.
const RESTORED_FILES: u64 = 10;

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
    /// Whether it holds nothing that takes part.
    pub is_empty: bool,
    /// Whether it was known to hold files.
    pub held_files: bool,
}

/// Refuses when a root that held files is gone or empty.
pub fn vanished_root(side: Side, root: Root, allow: Overrides) -> Result<(), String> {
    if !root.held_files || allow.empty {
        return Ok(());
    }
    let found = match root {
        Root {
            is_there: false, ..
        } => "is missing",
        Root { is_empty: true, .. } => "is empty",
        _ => return Ok(()),
    };
    Err(format!(
        "the {side} root {found}, although it held files when it was last synced; \
         is its disk mounted? --allow-empty goes on all the same"
    ))
}

/// Refuses a disk that was never seen at this path, where others were. `seen` holds the identities of those, 0 for one that
/// keeps none.
pub fn strange_disk(side: Side, seen: &[u64], now: u64, allow: Overrides) -> Result<(), String> {
    if seen.is_empty() || seen.contains(&now) || allow.disk {
        return Ok(());
    }
    Err(format!(
        "at the {side} root there is another disk than in earlier runs; is the right one mounted? \
         --accept-disk goes on, and remembers it"
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

/// Says what protects a directory below the root at which another file system was mounted, or none is any more. `lacks_files`
/// says that recorded entries are missing there.
pub fn vanished_mount(
    path: &str,
    recorded: Option<u64>,
    now: Option<u64>,
    lacks_files: bool,
    allow: Overrides,
) -> Result<(), String> {
    let Some(recorded) = recorded else {
        return Ok(());
    };
    if now == Some(recorded) || !lacks_files || allow.empty {
        return Ok(());
    }
    let found = match now {
        Some(_) => "another disk is mounted",
        None => "no disk is mounted any more",
    };
    Err(format!(
        "at {path} {found}, and files that were there are missing; nothing in it is touched on either side; \
         --allow-empty takes them for deleted"
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that have a record with a time, and are there.
    pub recorded: u64,
    /// Those of them with another time and the same size.
    pub retimed: u64,
    /// Those of them with a later time, whatever their size.
    pub forward: u64,
    /// Those of them with an earlier time, whatever their size.
    pub back: u64,
    /// By how many seconds those of the same size moved, and how many moved so.
    shifts: Vec<(i64, u64)>,
}

/// By how much the times of a side moved: two shifts where daylight saving has a part in it.
pub type Shifts = [Option<i64>; 2];

impl Changes {
    /// Counts a file that is as recorded. One of which only the day is told proves nothing about shifts.
    pub fn count_unmodified(&mut self, shown: Option<Precision>) {
        self.recorded += u64::from(shown.is_some_and(|precision| precision != Precision::Day));
    }

    /// Counts a file that changed, and its time with it where both are known.
    pub fn count_modified(&mut self, has_same_size: bool, times: Option<(Timestamp, Timestamp)>) {
        let Some((recorded, now)) = times else { return };
        self.recorded += 1;
        match now.cmp(&recorded) {
            Ordering::Less => self.back += 1,
            Ordering::Equal => return,
            Ordering::Greater => self.forward += 1,
        }
        if !has_same_size {
            return;
        }
        self.retimed += 1;
        let shift = now.as_secs() - recorded.as_secs();
        let known = self
            .shifts
            .iter()
            .position(|(other, _)| is_shift(*other, shift));
        match known {
            Some(at) => self.shifts[at].1 += 1,
            None if self.shifts.len() < MAX_SHIFTS => self.shifts.push((shift, 1)),
            None => {}
        }
    }

    fn nearly_all_retimed(&self) -> bool {
        self.retimed >= ALL_CHANGED_FILES && is_nearly_all(self.retimed, self.recorded)
    }

    fn mostly_back(&self) -> bool {
        self.back >= RESTORED_FILES && self.back > self.forward
    }

    /// The shifts by which nearly all files moved, if a zone could explain them.
    pub fn common_shifts(&self) -> Shifts {
        let of_zone = self
            .shifts
            .iter()
            .filter(|(shift, _)| zone_of(*shift).is_some());
        let Some((first, count)) = of_zone.max_by_key(|(_, count)| *count).copied() else {
            return [None; 2];
        };
        let is_season = |other: i64| is_shift((other - first).abs(), SEASON_SECS);
        let seasons = self.shifts.iter().filter(|(shift, _)| is_season(*shift));
        let second = seasons.max_by_key(|(_, count)| *count).copied();
        let alike = count + second.map_or(0, |(_, count)| count);
        if alike < SHIFTED_FILES || !is_nearly_all(alike, self.recorded) {
            return [None; 2];
        }
        [Some(first), second.map(|(shift, _)| shift)]
    }
}

/// The most shifts that are told apart: a zone makes two of them.
const MAX_SHIFTS: usize = 32;

/// What daylight saving makes of one shift.
const SEASON_SECS: i64 = 3600;

/// Whether more than nine of ten are.
const fn is_nearly_all(files: u64, of: u64) -> bool {
    files * 10 > of * 9
}

/// The shift of zones that comes next to this one, if it can be one.
fn zone_of(shift: i64) -> Option<i64> {
    let half = SHIFT_STEP_SECS / 2;
    let rounded = (shift + shift.signum() * half) / SHIFT_STEP_SECS * SHIFT_STEP_SECS;
    (rounded != 0 && is_shift(shift, rounded)).then_some(rounded)
}

/// Whether both are one shift: each of the two times may be off by the tolerance of its file system.
pub const fn is_shift(one_secs: i64, other_secs: i64) -> bool {
    (one_secs - other_secs).abs() <= 2
}

/// Refuses when all files moved by one shift, when nearly all of them changed their time and none its size, or when most of
/// those that changed went back in time.
pub fn all_changed(changes: &Sides<Changes>, allow: Overrides) -> Result<(), String> {
    for side in Side::BOTH {
        let of_side = changes.of(side);
        let shifts = of_side.common_shifts();
        if shifts != [None; 2] {
            if allow.time_shift {
                continue;
            }
            let shown: Vec<String> = shifts.iter().flatten().copied().map(as_hours).collect();
            return Err(format!(
                "nearly all {} recorded files on the {side} side have times shifted by {}; a zone or daylight saving, not a \
                 change? --accept-time-shift corrects the records and copies nothing",
                of_side.recorded,
                shown.join(" or "),
            ));
        }
        if of_side.nearly_all_retimed() && !allow.new_times {
            return Err(format!(
                "{} of {} recorded files on the {side} side have another time but the same size; was the tree copied \
                 without its times, or a site built anew? --accept-new-times takes them for changed; what is built anew each time is \
                 better run with --compare content",
                of_side.retimed, of_side.recorded,
            ));
        }
        if of_side.mostly_back() && !allow.older {
            return Err(format!(
                "{} of {} files that changed on the {side} side are older than what was synced; was an old copy restored? \
                 --allow-older takes them for the new ones",
                of_side.back,
                of_side.back + of_side.forward,
            ));
        }
    }
    Ok(())
}

/// The files of a directory that are as recorded, and what would be deleted because others are missing there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copies {
    /// Unmodified files of which the inode is known, now and from before.
    pub known: u64,
    /// Those of them that have another inode than recorded.
    pub other: u64,
    /// Files to be deleted on the other side, because they are missing here.
    pub deletions: u64,
}

impl Copies {
    /// Whether most files are copies of those that were recorded, so that what is missing may just not be in the copy.
    pub const fn is_restored(&self) -> bool {
        self.other >= RESTORED_FILES && self.other * 2 > self.known
    }

    /// Adds those of another directory.
    pub const fn add(&mut self, other: Self) {
        self.known += other.known;
        self.other += other.other;
        self.deletions += other.deletions;
    }
}

/// Refuses deletions that follow from what is missing in a restored copy of a tree.
pub fn restored_tree(path: &str, copies: Copies, allow: Overrides) -> Result<(), String> {
    if !copies.is_restored() || copies.deletions == 0 || allow.older {
        return Ok(());
    }
    Err(format!(
        "{} of {} unchanged files in {path} are copies of those that were synced; was a backup restored? {} files that are \
         missing in it would be deleted on the other side; --allow-older deletes them",
        copies.other, copies.known, copies.deletions,
    ))
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
        lock: false,
        empty: false,
        disk: false,
        time_shift: false,
        new_times: false,
        older: false,
        delete: MaxDelete::Half,
    };
    const FULL: Root = Root {
        is_there: true,
        is_empty: false,
        held_files: true,
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
    fn a_disk_that_was_never_seen_is_refused_once() {
        let accepting = Overrides {
            disk: true,
            ..NO_OVERRIDE
        };
        assert!(
            strange_disk(Side::Local, &[], 7, NO_OVERRIDE).is_ok(),
            "the first run"
        );
        assert!(
            strange_disk(Side::Local, &[7, 8], 8, NO_OVERRIDE).is_ok(),
            "rotated"
        );
        assert!(strange_disk(Side::Local, &[7], 8, NO_OVERRIDE).is_err());
        assert!(
            strange_disk(Side::Local, &[7], 0, NO_OVERRIDE).is_err(),
            "none that keeps one"
        );
        assert!(strange_disk(Side::Local, &[7], 8, accepting).is_ok());
    }

    #[test]
    fn a_mount_that_lacks_nothing_is_no_vanished_one() {
        let judge = |recorded, now, lacks| vanished_mount("usb", recorded, now, lacks, NO_OVERRIDE);
        assert!(judge(Some(7), None, true).is_err());
        assert!(judge(Some(7), Some(8), true).is_err());
        assert!(judge(Some(0), None, true).is_err());
        assert!(
            judge(Some(7), None, false).is_ok(),
            "moved to the disk below for good"
        );
        assert!(
            judge(Some(7), Some(7), true).is_ok(),
            "deleted on that disk"
        );
        assert!(judge(None, None, true).is_ok());
    }

    const fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn judge(changes: Changes) -> Result<(), String> {
        all_changed(&Sides::new(changes, Changes::default()), NO_OVERRIDE)
    }

    #[test]
    fn names_the_shift_of_a_zone() {
        let mut changes = Changes::default();
        for secs in 0..9 {
            changes.count_modified(
                true,
                Some((at(secs * 1000), at(secs * 1000 + 3600 + secs % 2))),
            );
        }
        let refusal = judge(changes.clone()).unwrap_err();
        assert!(refusal.contains("shifted by +1:00 h"), "{refusal}");
        changes.count_unmodified(Some(Precision::Day));
        assert_eq!(
            changes.common_shifts(),
            [Some(3600), None],
            "a day tells no hours"
        );
        changes.count_unmodified(Some(Precision::Second));
        assert_eq!(
            changes.common_shifts(),
            [None; 2],
            "one file that did not move"
        );
    }

    #[test]
    fn summer_and_winter_may_shift_by_an_hour_more() {
        let mut changes = Changes::default();
        for secs in 0..10 {
            let shift = -3600 * (1 + secs % 2);
            changes.count_modified(true, Some((at(secs * 1000), at(secs * 1000 + shift))));
        }
        let refusal = judge(changes).unwrap_err();
        assert!(
            refusal.contains("-2:00 h") && refusal.contains("-1:00 h"),
            "{refusal}"
        );
    }

    #[test]
    fn touched_files_are_no_shift() {
        let mut changes = Changes::default();
        for secs in 0..19 {
            changes.count_modified(true, Some((at(secs * 1000), at(1_000_000))));
        }
        assert!(judge(changes.clone()).is_ok());
        changes.count_modified(true, Some((at(7), at(1_000_000))));
        assert!(judge(changes).unwrap_err().contains("--accept-new-times"));
    }

    #[test]
    fn most_changes_going_back_in_time_are_an_old_copy() {
        let mut changes = Changes::default();
        for secs in 0..10 {
            changes.count_modified(false, Some((at(5_000 + secs), at(secs * secs))));
        }
        assert!(
            judge(changes.clone())
                .unwrap_err()
                .contains("--allow-older")
        );
        for secs in 0..10 {
            changes.count_modified(false, Some((at(secs), at(5_000 + secs * secs))));
        }
        assert!(judge(changes).is_ok(), "half of them");
    }

    #[test]
    fn a_restored_tree_deletes_nothing_for_what_it_lacks() {
        let copies = Copies {
            known: 12,
            other: 11,
            deletions: 1,
        };
        let refuses = |copies| restored_tree("photos", copies, NO_OVERRIDE).is_err();
        assert!(refuses(copies));
        assert!(!refuses(Copies {
            deletions: 0,
            ..copies
        }));
        assert!(!refuses(Copies { other: 9, ..copies }), "few");
        assert!(
            !refuses(Copies {
                known: 22,
                ..copies
            }),
            "half"
        );
    }

    #[test]
    fn an_emptied_directory_of_ten_files_is_refused() {
        assert!(emptied_dir("photos", Side::Remote, 10, true, NO_OVERRIDE).is_err());
        assert!(emptied_dir("photos", Side::Remote, 9, true, NO_OVERRIDE).is_ok());
        assert!(emptied_dir("photos", Side::Remote, 10, false, NO_OVERRIDE).is_ok());
    }
}
