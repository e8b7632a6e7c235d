//! What is run, in words. Pure.

use std::fmt;

use crate::job::{Direction, Job, Location};
use crate::side::Side;

/// What is run, in the words of the first lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// Which way changes travel.
    pub direction: Direction,
    /// The local root.
    pub local: String,
    /// The remote root, without the password.
    pub remote: String,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

impl Heading {
    /// The heading of a job; paths are shown in full.
    pub fn of(job: &Job) -> Self {
        let whole = |location: Location| match location {
            // Without a current directory the path as given must do.
            Location::Path(path) => Location::Path(std::path::absolute(&path).unwrap_or(path)),
            Location::Ftp(_) | Location::Sftp(_) => location,
        };
        Self {
            direction: job.direction,
            local: whole(Location::Path(job.local.clone())).to_string(),
            remote: whole(job.remote.clone()).to_string(),
            dry_run: job.dry_run,
        }
    }

    /// What an entry's line begins with.
    pub(super) const fn mood(&self) -> &'static str {
        if self.dry_run { "would " } else { "" }
    }

    /// That the side that follows lost files, which the source still has; none where it lost none.
    pub(super) fn gone(&self, files: u64) -> Option<String> {
        let side = self.direction.follower().filter(|_| files > 0)?;
        let (count, them) = if files == 1 {
            ("1 file is".to_owned(), "it")
        } else {
            (format!("{files} files are"), "them")
        };
        let verb = match side {
            Side::Local => "fetches",
            Side::Remote => "sends",
        };
        Some(format!(
            "{count} gone on the {side} side; --force {verb} {them} again."
        ))
    }
}

impl fmt::Display for Heading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, preposition) = match self.direction {
            Direction::Upload => ("Upload", "to"),
            Direction::Download => ("Download to", "from"),
            Direction::Sync => ("Synchronize", "with"),
        };
        let dry = if self.dry_run {
            "Dry run, nothing is changed: "
        } else {
            ""
        };
        let preposition_at = dry.len() + verb.len();
        write!(
            f,
            "{dry}{verb} {}\n{preposition:>preposition_at$} {}",
            self.local, self.remote
        )
    }
}
