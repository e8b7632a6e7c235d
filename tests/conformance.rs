//! What every target must do, whatever is behind it. A new target joins with one line at the end.

mod support;

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use coracle::error::{Error, ErrorKind, Result};
use coracle::job::{
    Connections, DataMode, FtpLocation, Habits, Limits, Links, Protection, Secret, ServerPath,
};
use coracle::path::{PartOwner, RelPath, partial_name};
use coracle::replica::{
    Algorithm, Bytes, FtpReplica, Hasher, Kind, Listing, LocalReplica, Mtime, NewFile, Removal,
    Replica, Source, Staging, Stat, Times, Unwatched, Watch, Written, load,
};
use coracle::time::Timestamp;
use support::faulty::{Fault, FaultyReplica, Moment, Script};
use support::ftp_server::{Config, FtpServer, ListStyle};
use support::memory::{Manners, Node, Tree};
use support::servers::{Kind as Brand, Options, Server};
use support::temp::TempDir;

/// A target with an empty root, and what must live as long as it does.
struct Subject {
    target: Box<dyn Replica>,
    _alive: Box<dyn Any>,
}

impl Subject {
    fn new(target: impl Replica + 'static, alive: impl Any) -> Self {
        Self {
            target: Box::new(target),
            _alive: Box::new(alive),
        }
    }
}

/// Runs all checks on what a function makes, each on a fresh one.
macro_rules! conforms {
    ($name:ident, $make:expr) => {
        conforms!(@ $name, $make;
            lists_an_empty_root
            lists_what_is_there_in_order
            listing_a_missing_directory_is_not_found
            looks_up_what_is_there_and_what_is_not
            reads_back_what_was_written
            counts_all_bytes_and_asks_before_placing
            reads_from_an_offset
            reading_a_missing_file_is_not_found
            stays_usable_after_a_dropped_source
            keeps_mtimes_or_says_that_they_are_lost
            replaces_the_expected_file
            leaves_a_changed_file_alone
            leaves_alone_what_has_appeared
            does_not_put_a_file_in_place_of_a_directory
            refuses_a_file_that_is_shorter_than_announced
            refuses_a_file_that_is_longer_than_announced
            a_failing_source_leaves_the_old_file
            a_source_that_fails_at_its_end_leaves_the_old_file
            a_refusing_watch_leaves_the_old_file
            stages_files_and_places_them_together
            writes_small_files_together
            places_no_staged_file_over_what_has_appeared
            places_no_staged_file_that_lost_bytes
            goes_on_with_a_kept_partial_file
            goes_on_with_a_complete_partial_file
            does_not_go_on_with_another_partial_file
            starts_over_on_a_stale_partial_file
            sets_the_replaced_file_aside
            sets_nothing_aside_over_another_file
            makes_directories
            shows_marks_and_when_they_were_made
            a_failed_directory_does_not_stop_the_others
            removes_files_and_empty_directories
            never_removes_what_is_in_a_directory
            renames_files_and_directories
            renames_over_nothing
            takes_odd_names_or_refuses_them
            digests_match
            tells_free_space_or_nothing
            loads_small_files
        );
    };
    (@ $name:ident, $make:expr; $($check:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[test]
                fn $check() {
                    let mut subject: Subject = $make;
                    super::$check(subject.target.as_mut());
                }
            )*
        }
    };
}

// ---------------------------------------------------------------------------------------------------------------
// Looking
// ---------------------------------------------------------------------------------------------------------------

fn lists_an_empty_root(target: &mut dyn Replica) {
    assert_eq!(names(target, ""), Vec::<String>::new());
}

fn lists_what_is_there_in_order(target: &mut dyn Replica) {
    make_dir(target, "d");
    put(target, "d/inside", b"not in the root");
    put(target, "b", b"12345");
    put(target, "B", b"1");
    put(target, ".hidden", b"");

    let listing = list(target, "");
    assert_eq!(listing.gap(), None);
    let shown: Vec<_> = listing
        .iter()
        .map(|entry| (entry.name.to_string(), entry.stat.kind, entry.stat.size))
        .collect();
    assert_eq!(
        shown,
        [
            (".hidden".to_owned(), Kind::File, 0),
            ("B".to_owned(), Kind::File, 1),
            ("b".to_owned(), Kind::File, 5),
            ("d".to_owned(), Kind::Dir, 0),
        ]
    );
    assert_eq!(names(target, "d"), ["inside"]);
}

fn listing_a_missing_directory_is_not_found(target: &mut dyn Replica) {
    let mut listing = Listing::new();
    let error = target.list(&path("no/such"), &mut listing).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let error = target.list(&path("none"), &mut listing).unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

fn looks_up_what_is_there_and_what_is_not(target: &mut dyn Replica) {
    make_dir(target, "d");
    put(target, "d/file", b"123");
    let asked = ["d/file", "none", "d", "no/such", "", "d/fil"].map(path);
    let found: Vec<Option<(Kind, u64)>> = target
        .look_up(&asked)
        .into_iter()
        .map(|found| found.unwrap().map(|stat| (stat.kind, stat.size)))
        .collect();
    let dir = Some((Kind::Dir, 0));
    assert_eq!(found, [Some((Kind::File, 3)), None, dir, None, dir, None]);
}

fn reading_a_missing_file_is_not_found(target: &mut dyn Replica) {
    for missing in ["none", "no/such"] {
        let error = target.open(&path(missing), 0).err().expect("it is missing");
        assert!(error.is_not_found(), "{error}");
    }
}

fn reads_from_an_offset(target: &mut dyn Replica) {
    put(target, "f", b"0123456789");
    assert_eq!(read(target, "f", 4), b"456789");
    assert_eq!(read(target, "f", 10), b"");
    assert_eq!(read(target, "f", 0), b"0123456789");
}

fn stays_usable_after_a_dropped_source(target: &mut dyn Replica) {
    let content = patterned(3 * 1024 * 1024);
    put(target, "large", &content);
    let mut source = target.open(&path("large"), 0).unwrap();
    let mut buffer = [0; 100];
    assert!(source.read(&mut buffer).unwrap() > 0);
    drop(source);
    drop(target.open(&path("large"), 0).unwrap());
    assert_eq!(names(target, ""), ["large"]);
    assert!(read(target, "large", 0) == content);
}

fn digests_match(target: &mut dyn Replica) {
    let content = patterned(200_000);
    put(target, "f", &content);
    for algorithm in [Algorithm::Sha256, Algorithm::Md5, Algorithm::Crc32] {
        // A target may know none of them.
        if let Some(digest) = target.digest(&path("f"), &[algorithm]).unwrap() {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&content);
            assert_eq!(digest, hasher.finish());
        }
    }
    assert_eq!(target.digest(&path("f"), &[]).unwrap(), None);
}

fn tells_free_space_or_nothing(target: &mut dyn Replica) {
    assert_ne!(target.free_space().unwrap(), Some(0));
}

fn loads_small_files(target: &mut dyn Replica) {
    put(target, "f", b"content");
    assert_eq!(load(target, &path("f"), 7).unwrap().unwrap(), b"content");
    assert_eq!(load(target, &path("none"), 7).unwrap(), None);
    let error = load(target, &path("f"), 6).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Metadata(_)), "{error}");
}

// ---------------------------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------------------------

fn reads_back_what_was_written(target: &mut dyn Replica) {
    for size in [0, 1, 1024, 64 * 1024, 64 * 1024 + 1, 3 * 1024 * 1024] {
        let content = patterned(size);
        let name = format!("{size}");
        let written = put(target, &name, &content);
        assert_eq!(
            (written.stat.kind, written.stat.size),
            (Kind::File, size as u64)
        );
        assert!(read(target, &name, 0) == content, "{size} bytes");
    }
    assert_eq!(names(target, "").len(), 6, "no partial file is left");
}

fn counts_all_bytes_and_asks_before_placing(target: &mut dyn Replica) {
    /// Refuses to count after it was asked.
    #[derive(Default)]
    struct Counting {
        bytes: u64,
        placed: Option<Stat>,
    }
    impl Watch for Counting {
        fn moved(&mut self, bytes: u64) -> Result<()> {
            assert_eq!(self.placed, None);
            self.bytes += bytes;
            Ok(())
        }
        fn placing(&mut self, stat: &Stat, _times: Times) -> Result<()> {
            assert_eq!(self.placed, None);
            self.placed = Some(*stat);
            Ok(())
        }
    }
    let content = patterned(300_000);
    let mut watch = Counting::default();
    let file = Draft::new("f", content.len());
    let written = target
        .write(&file.new_file(), &mut Bytes(&content), &mut watch)
        .unwrap();
    assert_eq!(watch.bytes, 300_000);
    assert!(written.stat.may_equal(&watch.placed.unwrap()));
}

fn keeps_mtimes_or_says_that_they_are_lost(target: &mut dyn Replica) {
    for secs in [
        1,
        1_000_000_000,
        1_700_000_001,
        2_000_000_000,
        2_240_000_000,
    ] {
        let asked = Timestamp::from_secs(secs);
        let name = format!("{secs}");
        let mut file = Draft::new(&name, 1);
        file.mtime = Some(asked);
        let written = file.write(target, b"x").unwrap();
        let looked_up = look_up(target, &name).unwrap();
        assert!(
            written.stat.may_equal(&looked_up),
            "{written:?} {looked_up:?}"
        );
        match written.times {
            Times::Kept => assert!(looked_up.mtime.unwrap().may_be(asked), "{looked_up:?}"),
            Times::Lost => assert!(!looked_up.mtime.is_some_and(|mtime| mtime.may_be(asked))),
            Times::Unknown => panic!("a time was asked for"),
        }
    }
}

fn replaces_the_expected_file(target: &mut dyn Replica) {
    let old = put(target, "f", b"old").stat;
    let mut file = Draft::new("f", 7);
    file.replaces = Some(old);
    let written = file.write(target, b"the new").unwrap();
    assert_eq!(written.stat.size, 7);
    assert_eq!(read(target, "f", 0), b"the new");
    assert_eq!(names(target, ""), ["f"]);
}

fn leaves_a_changed_file_alone(target: &mut dyn Replica) {
    let mut expected = put(target, "f", b"changed").stat;
    expected.size += 1;
    let mut file = Draft::new("f", 3);
    file.replaces = Some(expected);
    assert_changed(file.write(target, b"new"));
    assert_eq!(read(target, "f", 0), b"changed");
    assert_eq!(names(target, ""), ["f"]);
}

fn leaves_alone_what_has_appeared(target: &mut dyn Replica) {
    put(target, "f", b"appeared");
    assert_changed(Draft::new("f", 3).write(target, b"new"));
    assert_eq!(read(target, "f", 0), b"appeared");
    assert_eq!(names(target, ""), ["f"]);
}

fn does_not_put_a_file_in_place_of_a_directory(target: &mut dyn Replica) {
    make_dir(target, "d");
    assert_changed(Draft::new("d", 3).write(target, b"new"));
    assert_eq!(look_up(target, "d").unwrap().kind, Kind::Dir);
    assert_eq!(names(target, ""), ["d"]);
}

fn refuses_a_file_that_is_shorter_than_announced(target: &mut dyn Replica) {
    old_file_survives(target, |target, file| {
        file.size = 10;
        let error = file.write(target, b"too short").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
    });
}

fn refuses_a_file_that_is_longer_than_announced(target: &mut dyn Replica) {
    old_file_survives(target, |target, file| {
        file.size = 3;
        let error = file.write(target, b"too long").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
    });
}

fn a_failing_source_leaves_the_old_file(target: &mut dyn Replica) {
    old_file_survives(target, |target, file| {
        file.size = 200_000;
        let content = patterned(200_000);
        let mut source = Breaking::after(&content[..150_000]);
        let error = target
            .write(&file.new_file(), &mut source, &mut Unwatched)
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Network(_)), "{error}");
    });
}

fn a_source_that_fails_at_its_end_leaves_the_old_file(target: &mut dyn Replica) {
    old_file_survives(target, |target, file| {
        let mut source = Breaking {
            bytes: Bytes(b"new"),
            breaks: Break::AtFinish,
        };
        target
            .write(&file.new_file(), &mut source, &mut Unwatched)
            .unwrap_err();
    });
}

fn a_refusing_watch_leaves_the_old_file(target: &mut dyn Replica) {
    struct Refusing;
    impl Watch for Refusing {
        fn moved(&mut self, _bytes: u64) -> Result<()> {
            Ok(())
        }
        fn placing(&mut self, _stat: &Stat, _times: Times) -> Result<()> {
            Err(ErrorKind::Interrupted("the test").into())
        }
    }
    old_file_survives(target, |target, file| {
        let error = target
            .write(&file.new_file(), &mut Bytes(b"new"), &mut Refusing)
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Interrupted(_)), "{error}");
    });
}

fn stages_files_and_places_them_together(target: &mut dyn Replica) {
    make_dir(target, "d");
    let old = put(target, "d/old", b"old").stat;
    let mut files = [
        Draft::new("a", 3),
        Draft::new("d/old", 7),
        Draft::new("large", 3_000_000),
        Draft::new("empty", 0),
    ];
    files[1].replaces = Some(old);
    let mut written: Vec<Option<Written>> = Vec::new();
    for (file, content) in files.iter().zip(CONTENTS) {
        written.push(match file.stage(target, &content()).unwrap() {
            Staging::Placed(written) => Some(written),
            Staging::Staged => {
                let before = look_up(target, &file.path.to_string());
                assert_eq!(before, file.replaces, "it has its name too early");
                None
            }
        });
    }
    let staged: Vec<usize> = (0..files.len())
        .filter(|index| written[*index].is_none())
        .collect();
    let new_files: Vec<NewFile<'_>> = staged.iter().map(|at| files[*at].new_file()).collect();
    let mut noted = Vec::new();
    let placed = target.place(&new_files, &mut |index, stat| noted.push((index, *stat)));
    for ((at, placed), (index, noted)) in staged.iter().zip(placed).zip(noted.iter().enumerate()) {
        let placed = placed.unwrap();
        assert!(
            noted.0 == index && placed.stat.may_equal(&noted.1),
            "{placed:?} {noted:?}"
        );
        written[*at] = Some(placed);
    }
    for ((file, content), written) in files.iter().zip(CONTENTS).zip(written) {
        let (name, written) = (file.path.to_string(), written.unwrap());
        assert!(read(target, &name, 0) == content(), "{name}");
        assert!(
            written.stat.may_equal(&look_up(target, &name).unwrap()),
            "{name}"
        );
        if let (Times::Kept, Some(asked)) = (written.times, file.mtime) {
            assert!(written.stat.mtime.unwrap().may_be(asked), "{written:?}");
        }
    }
    assert_eq!(names(target, ""), ["a", "d", "empty", "large"]);
    assert_eq!(names(target, "d"), ["old"]);
}

/// What the files of the test above hold.
const CONTENTS: [fn() -> Vec<u8>; 4] = [
    || b"new".to_vec(),
    || b"the new".to_vec(),
    || patterned(3_000_000),
    Vec::new,
];

fn writes_small_files_together(target: &mut dyn Replica) {
    make_dir(target, "d");
    let old = put(target, "d/old", b"old").stat;
    let other = put(target, "other", b"other").stat;
    let mut files = [
        Draft::new("a", 3),
        Draft::new("d/old", 7),
        Draft::new("empty", 0),
        Draft::new("large", 65_536),
        Draft::new("none/a", 3),
        Draft::new("other", 3),
    ];
    files[1].replaces = Some(old);
    let large = patterned(65_536);
    let contents: [&[u8]; 6] = [b"new", b"the new", b"", &large, b"new", b"new"];
    // A partial file that an earlier run left.
    put(target, &files[0].partial.to_string(), b"litter");
    let new_files: Vec<(NewFile<'_>, &[u8])> =
        (files.iter().map(Draft::new_file).zip(contents)).collect();
    let mut placing = Vec::new();
    let mut written = target.write_small(&new_files, &mut |index, stat, _| {
        placing.push((index, stat.size));
    });
    placing.sort_unstable();
    // Of one that finds another file in its place it may be told before, or not.
    placing.retain(|(index, _)| *index != 5);
    assert_eq!(placing, [(0, 3), (1, 7), (2, 0), (3, 65_536)]);
    assert_changed(written.pop().unwrap());
    assert!(
        written.pop().unwrap().is_err(),
        "there is no such directory"
    );
    for ((file, content), written) in files.iter().zip(contents).zip(written) {
        let (name, written) = (file.path.to_string(), written.unwrap());
        assert!(read(target, &name, 0) == content, "{name}");
        assert!(
            written.stat.may_equal(&look_up(target, &name).unwrap()),
            "{name}"
        );
        if let (Times::Kept, Some(asked)) = (written.times, file.mtime) {
            assert!(written.stat.mtime.unwrap().may_be(asked), "{written:?}");
        }
    }
    assert_eq!(look_up(target, "other"), Some(other));
    assert_eq!(names(target, ""), ["a", "d", "empty", "large", "other"]);
    assert_eq!(names(target, "d"), ["old"]);
}

fn places_no_staged_file_over_what_has_appeared(target: &mut dyn Replica) {
    let files = [Draft::new("f", 3), Draft::new("g", 3)];
    let are_staged: Vec<bool> = files
        .iter()
        .map(|file| file.stage(target, b"new").unwrap() == Staging::Staged)
        .collect();
    // A target that stages nothing has them in their places already, and is done with.
    if are_staged == [false, false] {
        assert_eq!(names(target, ""), ["f", "g"]);
        return;
    }
    put(target, "f", b"appeared");
    let new_files: Vec<NewFile<'_>> = files.iter().map(Draft::new_file).collect();
    let mut placed = target.place(&new_files, &mut |_, _| {});
    assert!(placed.pop().unwrap().is_ok(), "the other one has its name");
    assert_changed(placed.pop().unwrap());
    assert_eq!(read(target, "f", 0), b"appeared");
    assert_eq!(names(target, ""), ["f", "g"]);
}

fn places_no_staged_file_that_lost_bytes(target: &mut dyn Replica) {
    let file = Draft::new("f", 3);
    if file.stage(target, b"new").unwrap() != Staging::Staged {
        assert_eq!(names(target, ""), ["f"]);
        return;
    }
    target
        .remove(&[Removal::File(file.partial.clone())])
        .pop()
        .unwrap()
        .unwrap();
    put(target, &file.partial.to_string(), b"ne");
    let placed = target
        .place(&[file.new_file()], &mut |_, _| {})
        .pop()
        .unwrap();
    assert!(matches!(placed.unwrap_err().kind(), ErrorKind::Verify(_)));
    assert_eq!(names(target, ""), Vec::<String>::new());
}

fn goes_on_with_a_kept_partial_file(target: &mut dyn Replica) {
    let content = patterned(200_000);
    let mut file = Draft::new("f", content.len());
    file.keep_partial = true;
    target
        .write(
            &file.new_file(),
            &mut Breaking::after(&content[..150_000]),
            &mut Unwatched,
        )
        .unwrap_err();
    assert_eq!(look_up(target, "f"), None);
    let kept = look_up(target, &file.partial.to_string()).expect("it was to be kept");
    assert!(kept.size <= 150_000, "{kept:?}");

    file.resume_at = kept.size;
    let written = match file.write(target, &content[kept.size as usize..]) {
        // rclone's SFTP writes no file from its middle.
        Err(error) if matches!(error.kind(), ErrorKind::Refused { code: 4, .. }) => {
            file.resume_at = 0;
            file.write(target, &content)
        }
        written => written,
    };
    assert_eq!(written.unwrap().stat.size, 200_000);
    assert!(read(target, "f", 0) == content);
    assert_eq!(names(target, ""), ["f"]);
}

fn goes_on_with_a_complete_partial_file(target: &mut dyn Replica) {
    let mut file = Draft::new("f", 3);
    put(target, &file.partial.to_string(), b"all");
    file.resume_at = 3;
    file.write(target, b"").unwrap();
    assert_eq!(read(target, "f", 0), b"all");
    assert_eq!(names(target, ""), ["f"]);
}

fn does_not_go_on_with_another_partial_file(target: &mut dyn Replica) {
    let mut file = Draft::new("f", 10);
    file.resume_at = 5;
    assert_changed(file.write(target, b"67890"));
    put(target, &file.partial.to_string(), b"1234");
    assert_changed(file.write(target, b"67890"));
    assert_eq!(look_up(target, "f"), None);
}

fn starts_over_on_a_stale_partial_file(target: &mut dyn Replica) {
    let file = Draft::new("f", 3);
    put(target, &file.partial.to_string(), b"stale and longer");
    file.write(target, b"new").unwrap();
    assert_eq!(read(target, "f", 0), b"new");
    assert_eq!(names(target, ""), ["f"]);
}

fn sets_the_replaced_file_aside(target: &mut dyn Replica) {
    make_dir(target, "trash");
    let aside = path("trash/f");
    let mut file = Draft::new("f", 3);
    file.replaces = Some(put(target, "f", b"old").stat);
    let new_file = NewFile {
        set_aside: Some(&aside),
        ..file.new_file()
    };
    target
        .write(&new_file, &mut Bytes(b"new"), &mut Unwatched)
        .unwrap();
    assert_eq!(read(target, "f", 0), b"new");
    assert_eq!(read(target, "trash/f", 0), b"old");
    assert_eq!(names(target, ""), ["f", "trash"]);
}

fn sets_nothing_aside_over_another_file(target: &mut dyn Replica) {
    let aside = path("aside");
    let mut file = Draft::new("f", 3);
    file.replaces = Some(put(target, "f", b"old").stat);
    put(target, "aside", b"other");
    let new_file = NewFile {
        set_aside: Some(&aside),
        ..file.new_file()
    };
    target
        .write(&new_file, &mut Bytes(b"new"), &mut Unwatched)
        .unwrap_err();
    assert_eq!(read(target, "f", 0), b"old");
    assert_eq!(read(target, "aside", 0), b"other");
    assert_eq!(names(target, ""), ["aside", "f"]);
}

// ---------------------------------------------------------------------------------------------------------------
// Directories, removing, renaming
// ---------------------------------------------------------------------------------------------------------------

fn makes_directories(target: &mut dyn Replica) {
    let dirs = ["a", "a/b", "a/b/c", "a", ""].map(path);
    for made in target.make_dirs(&dirs) {
        made.unwrap();
    }
    assert_eq!(names(target, "a/b"), ["c"]);
}

fn shows_marks_and_when_they_were_made(target: &mut dyn Replica) {
    let mut put = |name: &str| -> Vec<(String, Option<i64>)> {
        let mut seen = Vec::new();
        let mut see = |name: &[u8], made: Option<Mtime>| {
            let name = String::from_utf8_lossy(name).into_owned();
            seen.push((name, made.map(|made| made.at.as_secs())));
        };
        target.put_mark(&path(name), &mut see).unwrap();
        seen.sort();
        seen
    };
    assert!(matches!(&put("one")[..], [(name, _)] if name == "one"));
    let both = put("two");
    let [(one, first), (two, second)] = &both[..] else {
        panic!("{both:?}");
    };
    assert_eq!([one.as_str(), two], ["one", "two"]);
    // A minute may begin in between, and nothing else can come between them.
    let apart = first.zip(*second).map(|(first, second)| second - first);
    assert!(
        apart.is_none_or(|secs| (0..=60).contains(&secs)),
        "{both:?}"
    );
    assert_eq!(put("two").len(), 2, "it is there already");
    assert!(
        target
            .put_mark(&path("none/three"), &mut |_, _| {})
            .is_err()
    );
}

fn a_failed_directory_does_not_stop_the_others(target: &mut dyn Replica) {
    put(target, "f", b"");
    let made = target.make_dirs(&["f", "no/such", "d"].map(path));
    let made: Vec<bool> = made.iter().map(Result::is_ok).collect();
    assert_eq!(made, [false, false, true]);
    assert_eq!(names(target, ""), ["d", "f"]);
    let error = Draft::new("no/f", 0).write(target, b"").unwrap_err();
    assert!(!matches!(error.kind(), ErrorKind::Verify(_)), "{error}");
}

fn removes_files_and_empty_directories(target: &mut dyn Replica) {
    make_dir(target, "d");
    make_dir(target, "d/e");
    put(target, "d/e/f", b"");
    put(target, "stays", b"");
    let removals = [
        Removal::File(path("d/e/f")),
        Removal::File(path("gone")),
        Removal::Dir(path("d/e")),
        Removal::File(path("no/such")),
        Removal::Dir(path("d")),
        Removal::Dir(path("d")),
    ];
    for removed in target.remove(&removals) {
        removed.unwrap();
    }
    assert_eq!(names(target, ""), ["stays"]);
}

fn never_removes_what_is_in_a_directory(target: &mut dyn Replica) {
    make_dir(target, "d");
    put(target, "d/f", b"precious");
    put(target, "g", b"");
    let removals = [
        Removal::Dir(path("d")),
        Removal::File(path("d")),
        Removal::File(path("g")),
    ];
    let removed: Vec<bool> = target.remove(&removals).iter().map(Result::is_ok).collect();
    assert_eq!(removed, [false, false, true]);
    assert_eq!(read(target, "d/f", 0), b"precious");
}

fn renames_files_and_directories(target: &mut dyn Replica) {
    make_dir(target, "d");
    put(target, "d/f", b"content");
    target.rename(&path("d/f"), &path("g")).unwrap();
    target.rename(&path("g"), &path("d/h")).unwrap();
    target.rename(&path("d"), &path("e")).unwrap();
    assert_eq!(names(target, ""), ["e"]);
    assert_eq!(read(target, "e/h", 0), b"content");
    assert!(target.rename(&path("none"), &path("new")).is_err());
}

fn renames_over_nothing(target: &mut dyn Replica) {
    put(target, "one", b"1");
    put(target, "two", b"2");
    assert!(target.rename(&path("one"), &path("two")).is_err());
    assert_eq!(read(target, "one", 0), b"1");
    assert_eq!(read(target, "two", 0), b"2");
}

/// A name is either used exactly as it is, or it is refused and nothing is left of it.
fn takes_odd_names_or_refuses_them(target: &mut dyn Replica) {
    let odd: [&[u8]; 17] = [
        b" leading",
        b"trailing ",
        b"two  blanks",
        b"...",
        b"..x",
        b"-rf",
        b"~",
        b"a;b",
        b"%41",
        b"back\\slash",
        b"*",
        b"[a]",
        b"\"quoted\"",
        "é€😀".as_bytes(),
        b"caf\xe9",
        b"\xff",
        b"tab\tbell\x07",
    ];
    let mut taken = 0;
    for name in odd {
        let place = RelPath::parse(name).unwrap();
        let mut file = Draft::new("f", name.len());
        file.path = place.clone();
        if file.write(target, name).is_ok() {
            assert_eq!(read_path(target, &place, 0), name, "{place}");
            assert!(list(target, "").find(name).is_some(), "{place}");
            let found = target
                .look_up(std::slice::from_ref(&place))
                .remove(0)
                .unwrap();
            assert_eq!(
                found.map(|stat| stat.size),
                Some(name.len() as u64),
                "{place}"
            );
            taken += 1;
        }
        for removed in target.remove(&[Removal::File(place)]) {
            // What cannot be said to a server cannot be removed there either.
            if let Err(error) = removed {
                assert!(matches!(error.kind(), ErrorKind::Name(_)), "{error}");
            }
        }
        assert_eq!(names(target, ""), Vec::<String>::new(), "{}", file.path);
    }
    assert!(taken > odd.len() / 2, "only {taken} names were taken");
}

// ---------------------------------------------------------------------------------------------------------------
// Failing anywhere
// ---------------------------------------------------------------------------------------------------------------

/// Whatever call of a copy fails, and whether before or after it took effect, the file is the old or the new one.
#[test]
fn a_copy_that_fails_anywhere_leaves_a_whole_file() {
    let content = patterned(5000);
    let run = |script: &Script| {
        let (from, to) = (Tree::new(), Tree::new());
        from.put("f", Node::file(content.clone(), 2_000));
        to.put("f", Node::file("old", 1_000));
        let mut source_target = FaultyReplica::new(from.target(), script);
        let mut target = FaultyReplica::new(to.target(), script);
        let mut file = Draft::new("f", content.len());
        file.replaces = Some(Stat::file(3, Timestamp::from_secs(1_000)));
        let copied = source_target
            .open(&path("f"), 0)
            .and_then(|mut source| target.write(&file.new_file(), source.as_mut(), &mut Unwatched));
        (copied, to.paths())
    };
    let counting = Script::counting();
    let (copied, _) = run(&counting);
    copied.unwrap();
    assert!(counting.calls() > 5);

    let old = [("f".to_owned(), Node::file("old", 1_000))].into();
    let new = [("f".to_owned(), Node::file(content.clone(), 1_700_000_000))].into();
    for call in 1..=counting.calls() {
        for (fault, moment) in Fault::ALL
            .into_iter()
            .flat_map(|fault| Moment::ALL.map(|moment| (fault, moment)))
        {
            let script = Script::new(call, fault, moment);
            let (copied, tree) = run(&script);
            assert!(copied.is_err(), "call {call}, {fault:?} {moment:?}");
            assert!(
                tree == old || tree == new,
                "call {call}, {fault:?} {moment:?}: {tree:?}"
            );
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------
// What the checks use
// ---------------------------------------------------------------------------------------------------------------

/// A file to be written, all of its own.
struct Draft {
    path: RelPath,
    partial: RelPath,
    size: u64,
    mtime: Option<Timestamp>,
    resume_at: u64,
    replaces: Option<Stat>,
    keep_partial: bool,
}

impl Draft {
    fn new(name: &str, size: usize) -> Self {
        let path = path(name);
        let size = size as u64;
        let partial = partial_name(PartOwner::ANYONE, path.name().unwrap(), size, None);
        Self {
            partial: path
                .parent()
                .join(coracle::path::Name::new(&partial).unwrap()),
            path,
            size,
            mtime: Some(Timestamp::from_secs(1_700_000_000)),
            resume_at: 0,
            replaces: None,
            keep_partial: false,
        }
    }

    fn new_file(&self) -> NewFile<'_> {
        NewFile {
            path: &self.path,
            partial: &self.partial,
            size: self.size,
            mtime: self.mtime,
            mode: None,
            resume_at: self.resume_at,
            replaces: self.replaces,
            set_aside: None,
            keep_partial: self.keep_partial,
        }
    }

    fn write(&self, target: &mut dyn Replica, content: &[u8]) -> Result<Written> {
        target.write(&self.new_file(), &mut Bytes(content), &mut Unwatched)
    }

    fn stage(&self, target: &mut dyn Replica, content: &[u8]) -> Result<Staging> {
        target.stage(&self.new_file(), &mut Bytes(content), &mut Unwatched)
    }
}

/// A source whose connection breaks.
struct Breaking<'a> {
    bytes: Bytes<'a>,
    breaks: Break,
}

enum Break {
    AfterBytes,
    AtFinish,
}

impl<'a> Breaking<'a> {
    fn after(content: &'a [u8]) -> Self {
        Self {
            bytes: Bytes(content),
            breaks: Break::AfterBytes,
        }
    }

    fn failure() -> Error {
        ErrorKind::Network(io::ErrorKind::ConnectionReset.into()).into()
    }
}

impl Source for Breaking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match (self.bytes.read(buffer)?, &self.breaks) {
            (0, Break::AfterBytes) => Err(Self::failure()),
            (count, _) => Ok(count),
        }
    }

    fn finish(&mut self) -> Result<()> {
        Err(Self::failure())
    }
}

/// Lets `fail` fail to replace a file, and sees that the file is as it was and nothing else is there.
fn old_file_survives(target: &mut dyn Replica, fail: impl FnOnce(&mut dyn Replica, &mut Draft)) {
    let old = put(target, "f", b"old").stat;
    let mut file = Draft::new("f", 3);
    file.replaces = Some(old);
    fail(target, &mut file);
    assert_eq!(read(target, "f", 0), b"old");
    assert!(look_up(target, "f").unwrap().may_equal(&old));
    assert_eq!(names(target, ""), ["f"]);
}

fn assert_changed(result: Result<Written>) {
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Changed(_)), "{error}");
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn put(target: &mut dyn Replica, name: &str, content: &[u8]) -> Written {
    Draft::new(name, content.len())
        .write(target, content)
        .unwrap()
}

fn make_dir(target: &mut dyn Replica, dir: &str) {
    target.make_dirs(&[path(dir)]).remove(0).unwrap();
}

fn read(target: &mut dyn Replica, file: &str, offset: u64) -> Vec<u8> {
    read_path(target, &path(file), offset)
}

fn read_path(target: &mut dyn Replica, file: &RelPath, offset: u64) -> Vec<u8> {
    let mut source = target.open(file, offset).unwrap();
    support::read_all(source.as_mut()).unwrap()
}

fn look_up(target: &mut dyn Replica, name: &str) -> Option<Stat> {
    target.look_up(&[path(name)]).remove(0).unwrap()
}

fn list(target: &mut dyn Replica, dir: &str) -> Listing {
    let mut listing = Listing::new();
    target.list(&path(dir), &mut listing).unwrap();
    listing
}

fn names(target: &mut dyn Replica, dir: &str) -> Vec<String> {
    let listing = list(target, dir);
    assert_eq!(listing.gap(), None);
    listing.iter().map(|entry| entry.name.to_string()).collect()
}

/// Bytes that differ from block to block, so that a piece in the wrong place shows.
fn patterned(size: usize) -> Vec<u8> {
    (0..size)
        .map(|index| (index ^ (index >> 9)) as u8)
        .collect()
}

// ---------------------------------------------------------------------------------------------------------------
// The targets
// ---------------------------------------------------------------------------------------------------------------

fn local(links: Links) -> Subject {
    let root = TempDir::new("conformance");
    Subject::new(LocalReplica::open(root.path(), links).unwrap(), root)
}

fn memory(times: Times) -> Subject {
    let tree = Tree::with(Manners {
        times,
        ..Default::default()
    });
    Subject::new(tree.target(), tree)
}

/// A target on an FTP server in this process; it is given time to misbehave as `change` says.
fn ftp(change: impl FnOnce(&mut Config)) -> Subject {
    let root = TempDir::new("conformance-ftp");
    let mut config = Config::serving(root.path());
    change(&mut config);
    let server = FtpServer::start(config);
    let account = ("tester".to_owned(), "secret".to_owned());
    let target = connect(server.addr(), account, "");
    Subject::new(target, (server, root))
}

/// A target on a real FTP server.
fn real(brand: Brand) -> Subject {
    let server = Server::start(brand, Options::default());
    let account = (server.user().to_owned(), server.password().to_owned());
    let target = connect(server.address(), account, &server.remote_path(""));
    Subject::new(target, server)
}

fn connect(address: SocketAddr, (user, password): (String, String), root: &str) -> FtpReplica {
    let location = FtpLocation {
        host: address.ip().to_string(),
        port: address.port(),
        protection: Protection::Clear,
        user,
        password: Secret::new(password),
        path: ServerPath::Absolute(path(root)),
        habits: Habits::default(),
    };
    FtpReplica::connect(&location, &limits()).unwrap()
}

fn limits() -> Limits {
    Limits {
        connections: Connections::AtMost(NonZeroU8::MIN),
        timeout: Duration::from_secs(20),
        retries: 0,
        max_duration: None,
        bytes_per_sec: None,
        data: DataMode::Passive,
        ..Limits::default()
    }
}

conforms!(on_disk, local(Links::Skip));
conforms!(on_disk_following_links, local(Links::Follow));
conforms!(in_memory, memory(Times::Kept));
conforms!(in_memory_without_times, memory(Times::Lost));
conforms!(ftp_with_everything, ftp(|_| {}));
conforms!(
    ftp_without_mlsd,
    ftp(|config| {
        config.mlsd = false;
        config.mfmt = false;
        config.list_missing_is_empty = true;
        config.list_zone_secs = -5 * 3600;
    })
);
conforms!(
    ftp_that_keeps_silent,
    ftp(|config| {
        config.feat = false;
        config.epsv = false;
        config.mlsd = false;
        config.list_style = ListStyle::Dos;
    })
);
conforms!(
    ftp_without_times,
    ftp(|config| {
        config.mfmt = false;
        config.mdtm_set = false;
        config.site_utime = false;
    })
);
conforms!(
    ftp_that_never_renames_over,
    ftp(|config| config.rename_over = false)
);
conforms!(on_vsftpd, real(Brand::Vsftpd));
conforms!(on_proftpd, real(Brand::Proftpd));
conforms!(on_pure_ftpd, real(Brand::PureFtpd));
conforms!(on_pyftpdlib, real(Brand::Pyftpdlib));

#[cfg(feature = "sftp")]
mod over_ssh {
    use std::sync::Arc;

    use coracle::job::{Secret, SftpLocation};
    use coracle::replica::SftpConnector;
    use coracle::sftp::{Answers, Secrecy};

    use super::*;
    use crate::support::ssh::{Daemon, PASSWORD, SshClient, SshServer};

    /// Knows the password, and nothing else.
    struct Password;

    impl Answers for Password {
        fn password(&self, _user: &str) -> Result<Option<Secret>> {
            Ok(Some(Secret::new(PASSWORD.to_owned())))
        }

        fn ask(&self, question: &str, _secrecy: Secrecy) -> Result<Option<Secret>> {
            panic!("nobody should be asked: {question}")
        }
    }

    fn sftp(daemon: Daemon, client: SshClient) -> Subject {
        let server = SshServer::start(daemon);
        let location: SftpLocation = server.location(client);
        let connector = SftpConnector::new(&location, &limits(), Arc::new(Password)).unwrap();
        let target = connector
            .connect()
            .unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
        Subject::new(target, server)
    }

    conforms!(openssh_by_ssh, sftp(Daemon::OpenSsh, SshClient::Ssh));
    conforms!(
        openssh_by_dbclient,
        sftp(Daemon::OpenSsh, SshClient::Dbclient)
    );
    conforms!(dropbear_by_ssh, sftp(Daemon::Dropbear, SshClient::Ssh));
    conforms!(
        dropbear_by_dbclient,
        sftp(Daemon::Dropbear, SshClient::Dbclient)
    );
    conforms!(proftpd_by_ssh, sftp(Daemon::Proftpd, SshClient::Ssh));
    conforms!(
        proftpd_by_dbclient,
        sftp(Daemon::Proftpd, SshClient::Dbclient)
    );
    conforms!(rclone_by_ssh, sftp(Daemon::Rclone, SshClient::Ssh));
    conforms!(
        rclone_by_dbclient,
        sftp(Daemon::Rclone, SshClient::Dbclient)
    );
    // dbclient cannot log in there: asyncssh refuses the key exchange that it guesses.
    conforms!(asyncssh_by_ssh, sftp(Daemon::Asyncssh, SshClient::Ssh));
}
