//! What is to be recorded: the changes to metadata that follow from what was truly made equal. Pure.

use crate::path::Name;
use crate::replica::{Stat, Times, Written};
use crate::side::Side;
use crate::sync::metadata::{Metadata, RecordKind, TrueTime};
use crate::sync::plan::Step;
use crate::time::Timestamp;

/// A change to metadata.
#[derive(Debug, Clone)]
pub enum Change {
    /// Both sides are equal, and this is what they are.
    Set {
        /// The entry.
        name: Box<[u8]>,
        /// What it is.
        what: RecordKind,
        /// Its inode on the local side; 0 where it is not known.
        inode: u64,
    },
    /// Nothing is recorded any more.
    Forget {
        /// The entry.
        name: Box<[u8]>,
    },
    /// Nothing that is recorded in this directory is true any more.
    ForgetAll,
    /// A subdirectory is on both sides.
    SetDir {
        /// The directory.
        name: Box<[u8]>,
    },
    /// A subdirectory has this digest now, if it is recorded.
    Digest {
        /// The directory.
        name: Box<[u8]>,
        /// The digest of what is below it.
        digest: Option<u64>,
    },
    /// What was told of the remote directory proves that it is as recorded.
    Proof(u64),
    /// The remote side cannot keep the true time of this file.
    TrueTime {
        /// The file.
        name: Box<[u8]>,
        /// Its true time, and when it was uploaded.
        time: TrueTime,
    },
    /// The remote file is gone, or keeps its own time.
    ForgetTrueTime {
        /// The file.
        name: Box<[u8]>,
    },
}

impl Change {
    /// Applies what concerns the records, which live on the local side.
    pub fn apply_to_local(&self, metadata: &mut Metadata, now: Timestamp) {
        match self {
            Self::Set { name, what, inode } => {
                if let Ok(name) = Name::new(name) {
                    metadata.set_record(name, *what, now);
                }
                if *inode != 0 {
                    metadata.set_inode(name, *inode, now);
                }
            }
            Self::Forget { name } => metadata.forget_record(name),
            Self::ForgetAll => metadata.forget_records(),
            Self::SetDir { name } => {
                let digest = match metadata.records().find(name).map(|record| record.what) {
                    Some(RecordKind::Dir { digest }) => digest,
                    Some(RecordKind::File { .. }) | None => None,
                };
                if let Ok(name) = Name::new(name) {
                    metadata.set_record(name, RecordKind::Dir { digest }, now);
                }
            }
            Self::Digest { name, digest } => {
                let is_dir = metadata
                    .records()
                    .find(name)
                    .is_some_and(|record| matches!(record.what, RecordKind::Dir { .. }));
                if let (true, Ok(name)) = (is_dir, Name::new(name)) {
                    metadata.set_record(name, RecordKind::Dir { digest: *digest }, now);
                }
            }
            Self::Proof(proof) => metadata.set_proof(*proof),
            Self::TrueTime { .. } | Self::ForgetTrueTime { .. } => {}
        }
    }

    /// Applies what concerns true times, which live on a remote side that cannot keep them.
    pub fn apply_to_remote(&self, metadata: &mut Metadata) {
        match self {
            Self::TrueTime { name, time } => {
                if let Ok(name) = Name::new(name) {
                    metadata.set_true_time(name, *time);
                }
            }
            Self::ForgetTrueTime { name } => metadata.forget_true_time(name),
            Self::Set { .. }
            | Self::Forget { .. }
            | Self::ForgetAll
            | Self::SetDir { .. }
            | Self::Digest { .. }
            | Self::Proof(_) => {}
        }
    }
}

/// What is to be recorded of a copied file: the source as it was listed, and the copy as its side reports it. `inode` is
/// that of a source on the local side.
pub fn copied(
    name: &[u8],
    source: Option<Stat>,
    inode: u64,
    from: Side,
    written: &Written,
    has_remote_metadata: bool,
) -> Vec<Change> {
    let Some((size, mtime)) = source.and_then(|stat| Some((stat.size, stat.best_mtime()?))) else {
        // Without a time nothing can be recognised later: the next run compares anew.
        return vec![Change::Forget { name: name.into() }];
    };
    let name: Box<[u8]> = name.into();
    let copy_mtime = written.stat.exact_mtime();
    let mut changes = Vec::new();
    let remote_mtime = match (from, written.times) {
        (Side::Local, Times::Kept | Times::Unknown) => {
            if has_remote_metadata {
                changes.push(Change::ForgetTrueTime { name: name.clone() });
            }
            copy_mtime
        }
        (Side::Local, Times::Lost) => {
            let uploaded_at = copy_mtime.unwrap_or_else(Timestamp::now);
            changes.push(Change::TrueTime {
                name: name.clone(),
                time: TrueTime {
                    mtime,
                    size,
                    uploaded_at,
                },
            });
            None
        }
        (Side::Remote, _) => None,
    };
    changes.push(Change::Set {
        name,
        what: RecordKind::File {
            size,
            mtime,
            remote_mtime,
        },
        inode: match from {
            Side::Local => inode,
            Side::Remote => written.inode,
        },
    });
    changes
}

/// What is to be recorded of a file that was found equal.
pub fn recorded(step: &Step, uploaded_at: Option<Timestamp>) -> Vec<Change> {
    let (Some(local), Some(remote)) = (step.stats.local, step.stats.remote) else {
        return Vec::new();
    };
    let Some(mtime) = local.best_mtime() else {
        return Vec::new();
    };
    let what = RecordKind::File {
        size: local.size,
        mtime,
        remote_mtime: remote.best_mtime(),
    };
    let mut changes = vec![Change::Set {
        name: step.name.clone(),
        what,
        inode: step.inode,
    }];
    if let Some(uploaded_at) = uploaded_at {
        let time = TrueTime {
            mtime,
            size: local.size,
            uploaded_at,
        };
        changes.push(Change::TrueTime {
            name: step.name.clone(),
            time,
        });
    }
    changes
}
