//! A local root with its archive, for tests.

use std::path::PathBuf;

use crate::path::{Name, RelPath};
use crate::replica::{Mtime, Precision};
use crate::side::{Side, Sides};
use crate::sync::record::archive::{Change, DirFacts, Intent, Part, Record, Shown, What};
use crate::sync::record::home::{Home, Names};
use crate::sync::record::open::{Mode, Opened, open};
use crate::sync::record::save::save;
use crate::sync::record::scratch::Scratch;
use crate::sync::record::{Block, PeerKey};
use crate::time::Timestamp;

pub(super) fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

pub(super) fn name(bytes: &[u8]) -> Name<'_> {
    Name::new(bytes).unwrap()
}

pub(super) fn at(nanos: i64, precision: Precision) -> Option<Mtime> {
    Some(Mtime {
        at: Timestamp::from_nanos(nanos),
        precision,
    })
}

/// A file as both sides show it, the remote one to the second.
pub(super) fn file(size: u64) -> What {
    let nanos = 1_700_000_000_123_456_789 + size as i64;
    What::File(Sides::new(
        Shown {
            size,
            mtime: at(nanos, Precision::Fraction),
            digest: None,
        },
        Shown {
            size,
            mtime: at(nanos / 1_000_000_000 * 1_000_000_000, Precision::Second),
            digest: None,
        },
    ))
}

pub(super) fn set(name: &[u8], what: What) -> Change {
    Change::Set {
        name: name.into(),
        remote_name: None,
        what,
        ids: Sides::new(7, 0xabc),
    }
}

pub(super) fn forget(name: &[u8]) -> Change {
    Change::Forget { name: name.into() }
}

pub(super) fn settled() -> Change {
    Change::Facts(DirFacts {
        inode: 11,
        settled: true,
        seen_at: Timestamp::from_secs(1_700_000_000),
        ..DirFacts::default()
    })
}

pub(super) fn place(dir: &str, name: &[u8], size: u64) -> Intent {
    Intent::Place {
        dir: path(dir),
        name: name.into(),
        to: Side::Remote,
        source: Shown {
            size,
            mtime: at(-1, Precision::Fraction),
            digest: None,
        },
        seen: at(60_000_000_000, Precision::Minute),
        at: Timestamp::from_nanos(1_700_000_000_000_000_001),
    }
}

pub(super) fn part(name: &[u8], confirmed: u64) -> Part {
    Part {
        name: name.into(),
        to: Side::Local,
        source: Shown {
            size: 99,
            mtime: None,
            digest: None,
        },
        confirmed,
    }
}

/// Records of every kind and oddity.
pub(super) fn odd_records() -> Vec<Record<'static>> {
    let shown = |size, mtime| Shown {
        size,
        mtime,
        digest: None,
    };
    let second = 1_000_000_000;
    let plain = |name: &'static [u8], what| Record {
        name: Name::new(name).unwrap(),
        remote_name: None,
        what,
        ids: Sides::default(),
    };
    let files = [
        (shown(0, None), shown(0, None)),
        (
            shown(1, at(i64::MIN, Precision::Fraction)),
            shown(1, at(i64::MAX, Precision::Day)),
        ),
        (
            shown(u64::MAX, at(0, Precision::Second)),
            shown(u64::MAX - 1, at(second, Precision::Fraction)),
        ),
        (
            Shown {
                digest: Some(u64::MAX),
                ..shown(3, at(-second, Precision::TwoSeconds))
            },
            shown(3, at(-1, Precision::Second)),
        ),
        (
            shown(4, at(5, Precision::Close)),
            shown(4, at(60 * second, Precision::Minute)),
        ),
    ];
    let names: [&[u8]; 5] = [
        b" ",
        b"\"\\",
        b"caf\xe9",
        "caf\u{e9}".as_bytes(),
        b"\x01\xff",
    ];
    let mut records: Vec<Record<'_>> = names
        .into_iter()
        .zip(files)
        .map(|(name, (local, remote))| plain(name, What::File(Sides::new(local, remote))))
        .collect();
    records.push(plain(b"a dir", What::Dir));
    records.push(Record {
        remote_name: Name::new("e\u{301}".as_bytes()).ok(),
        ids: Sides::new(u64::MAX, u64::MAX),
        ..plain(b"other name", What::Dir)
    });
    records.push(Record {
        remote_name: Name::new(b"\"\xe9").ok(),
        ids: Sides::new(1, 2),
        ..plain(b"other name too", file(5))
    });
    records
}

/// A local root, and a state directory beside it.
pub(super) struct Scene {
    pub(super) scratch: Scratch,
    pub(super) root: PathBuf,
    pub(super) home: Home,
    pub(super) peer: PeerKey,
    pub(super) names: Names,
}

impl Scene {
    pub(super) fn new(name: &str) -> Self {
        let scratch = Scratch::new(&format!("record-{name}"));
        let root = scratch.join("root");
        std::fs::create_dir(&root).unwrap();
        let peer = PeerKey::named("ftp://bob@nas:21/x".into());
        Self {
            home: Home::in_root(&root),
            names: Names::of(&peer),
            root,
            peer,
            scratch,
        }
    }

    pub(super) fn open(&self) -> Opened {
        self.open_in(Mode::ReadWrite)
    }

    pub(super) fn open_in(&self, mode: Mode) -> Opened {
        open(&self.home, None, &self.root, &self.peer, mode, false).unwrap()
    }

    /// Opens, notes, saves.
    pub(super) fn record(&self, changes: &[(&str, Change)]) {
        let opened = self.open();
        note(&opened, changes);
        assert_eq!(self.save(&opened), [""; 0]);
    }

    pub(super) fn save(&self, opened: &Opened) -> Vec<String> {
        save(&self.home, &opened.archive, &opened.journal).unwrap()
    }

    /// Opens, notes and ends as a run does that is killed.
    pub(super) fn be_killed(&self, changes: &[(&str, Change)]) {
        let opened = self.open();
        note(&opened, changes);
        opened.journal.flush().unwrap();
    }

    pub(super) fn file(&self, name: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.home.path().join(std::ffi::OsStr::from_bytes(name))
    }

    pub(super) fn archive(&self) -> PathBuf {
        self.file(&self.names.archive)
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.file(&self.names.journal)
    }

    /// All names in the home, sorted.
    pub(super) fn left(&self) -> Vec<String> {
        let dir = std::fs::read_dir(self.home.path()).unwrap();
        let names = dir.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != ".gitignore").collect();
        names.sort();
        names
    }
}

pub(super) fn note(opened: &Opened, changes: &[(&str, Change)]) {
    for (dir, change) in changes {
        opened.journal.note(&path(dir), change).unwrap();
    }
}

/// All that an archive says.
pub(super) fn told(opened: &Opened) -> Vec<(RelPath, Block)> {
    let archive = &opened.archive;
    let block = |dir: RelPath| {
        let block = archive.block(&dir).unwrap().expect("it is one of them");
        (dir, block)
    };
    archive.dirs().map(block).collect()
}

/// Numbers that look random and are the same each time.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
