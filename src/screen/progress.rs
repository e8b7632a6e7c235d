//! How far a run has come, how fast, and how long it will take. Pure: the time is handed in.

use std::time::Duration;

/// How far a run has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) files_seen: u64,
    pub(super) dirs_seen: u64,
    pub(super) planned: Option<Planned>,
    pub(super) files_done: u64,
    pub(super) bytes_moved: u64,
    rate: Rate,
    pub(super) is_shown: bool,
}

/// What is to be copied, and when that was known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) at: Duration,
}

impl Progress {
    /// The line after this time of running.
    pub(super) fn line(&mut self, elapsed: Duration) -> String {
        let Some(planned) = self.planned else {
            return format!(
                "Scanned {} files in {} directories...",
                self.files_seen, self.dirs_seen
            );
        };
        self.rate
            .sample(elapsed.saturating_sub(planned.at), self.bytes_moved);
        // What is sent again after a failure counts as moved, and must not make more than all.
        let moved = self.bytes_moved.min(planned.bytes);
        let unit = Unit::fitting(planned.bytes);
        let mut line = format!(
            "Copied {}/{} files, {}/{} {}",
            self.files_done,
            planned.files,
            unit.count(moved),
            unit.count(planned.bytes),
            unit.name
        );
        if let Some(bytes_per_sec) = self.rate.bytes_per_sec() {
            let unit = Unit::fitting(bytes_per_sec);
            let left_secs = (planned.bytes - moved) / bytes_per_sec.max(1);
            line.push_str(&format!(
                ", {} {}/s, ETA {}",
                unit.count(bytes_per_sec),
                unit.name,
                clock(left_secs)
            ));
        }
        line
    }
}

/// How fast bytes move, with the past fading.
#[derive(Debug, Default)]
struct Rate {
    last: Option<(Duration, u64)>,
    bytes_per_sec: Option<u64>,
}

impl Rate {
    /// After this long, a change of speed has for the most part arrived in the number.
    const FADE_MILLIS: u64 = 5000;

    fn sample(&mut self, elapsed: Duration, bytes: u64) {
        let (last_elapsed, last_bytes) = self.last.unwrap_or_default();
        let millis = elapsed.saturating_sub(last_elapsed).as_millis() as u64;
        if millis == 0 {
            return;
        }
        let now = bytes.saturating_sub(last_bytes).saturating_mul(1000) / millis;
        // The start of an exponential curve, of which no more than that is seen between two samples.
        let weight = millis.min(Self::FADE_MILLIS);
        let before = self.bytes_per_sec.unwrap_or(now);
        let fading = before.saturating_mul(Self::FADE_MILLIS - weight);
        let mixed = now.saturating_mul(weight).saturating_add(fading);
        self.bytes_per_sec = Some(mixed / Self::FADE_MILLIS);
        self.last = Some((elapsed, bytes));
    }

    fn bytes_per_sec(&self) -> Option<u64> {
        self.bytes_per_sec.filter(|rate| *rate > 0)
    }
}

/// A unit of bytes.
#[derive(Debug, Clone, Copy)]
struct Unit {
    name: &'static str,
    bytes: u64,
}

impl Unit {
    const ALL: [Self; 4] = [
        Self {
            name: "GiB",
            bytes: 1 << 30,
        },
        Self {
            name: "MiB",
            bytes: 1 << 20,
        },
        Self {
            name: "KiB",
            bytes: 1 << 10,
        },
        Self {
            name: "bytes",
            bytes: 1,
        },
    ];

    fn fitting(bytes: u64) -> Self {
        let [.., smallest] = Self::ALL;
        Self::ALL
            .into_iter()
            .find(|unit| bytes >= unit.bytes)
            .unwrap_or(smallest)
    }

    fn count(self, bytes: u64) -> String {
        if self.bytes == 1 {
            bytes.to_string()
        } else {
            let tenths = bytes.saturating_mul(10).saturating_add(self.bytes / 2) / self.bytes;
            format!("{}.{}", tenths / 10, tenths % 10)
        }
    }
}

/// `1 byte`, `1.5 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let unit = Unit::fitting(bytes);
    match bytes {
        1 => "1 byte".to_owned(),
        bytes => format!("{} {}", unit.count(bytes), unit.name),
    }
}

/// `0:07`, `12:34`, `3:04:05`.
fn clock(secs: u64) -> String {
    let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{secs:02}")
    } else {
        format!("{minutes}:{secs:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_rate_and_time_left() {
        let secs = Duration::from_secs;
        let mut progress = Progress {
            files_seen: 12,
            dirs_seen: 3,
            ..Progress::default()
        };
        assert_eq!(
            progress.line(secs(1)),
            "Scanned 12 files in 3 directories..."
        );
        progress.planned = Some(Planned {
            files: 5,
            bytes: 100 << 20,
            at: secs(2),
        });
        assert_eq!(progress.line(secs(2)), "Copied 0/5 files, 0.0/100.0 MiB");
        progress.bytes_moved = 10 << 20;
        progress.files_done = 1;
        assert_eq!(
            progress.line(secs(3)),
            "Copied 1/5 files, 10.0/100.0 MiB, 10.0 MiB/s, ETA 0:09"
        );
        progress.bytes_moved = 200 << 20;
        assert!(progress.line(secs(4)).contains("100.0/100.0 MiB"));
    }

    #[test]
    fn rate_follows_a_change_and_fades_the_past() {
        let mut rate = Rate::default();
        rate.sample(Duration::from_secs(1), 1000);
        assert_eq!(rate.bytes_per_sec(), Some(1000));
        rate.sample(Duration::from_secs(2), 1000);
        let slower = rate.bytes_per_sec().unwrap();
        assert!((700..1000).contains(&slower), "{slower}");
        rate.sample(Duration::from_secs(100), 1000);
        assert_eq!(rate.bytes_per_sec(), None);
    }

    #[test]
    fn sizes_have_units_and_times_are_clocks() {
        assert_eq!(
            [clock(7), clock(754), clock(11_045)],
            ["0:07", "12:34", "3:04:05"]
        );
        let shown = |bytes| {
            let unit = Unit::fitting(bytes);
            format!("{} {}", unit.count(bytes), unit.name)
        };
        assert_eq!(
            [shown(0), shown(1023), shown(1024)],
            ["0 bytes", "1023 bytes", "1.0 KiB"]
        );
    }
}
