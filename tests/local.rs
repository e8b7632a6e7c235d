//! What only a directory on this machine can get wrong: links, special files, rights, races.

mod support;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle::error::{ErrorKind, Result};
use coracle::job::Links;
use coracle::path::RelPath;
use coracle::replica::{
    Bytes, Kind, Listing, LocalReplica, NewFile, Removal, Replica, Stat, Times, Unwatched, Written,
};
use coracle::time::Timestamp;
use support::temp::TempDir;

// ---------------------------------------------------------------------------------------------------------------
// The root
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_missing_root_is_not_found_and_can_be_made() {
    let temp = TempDir::new("local");
    let root = temp.path().join("not/yet");
    let error = LocalReplica::open(&root, Links::Skip).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    let mut target = LocalReplica::create(&root, Links::Skip).unwrap();
    write(&mut target, "f", b"content").unwrap();
    LocalReplica::create(&root, Links::Skip).unwrap();
    assert_eq!(fs::read(root.join("f")).unwrap(), b"content");
}

#[test]
fn a_root_that_another_handle_has_made_is_written_to() {
    let temp = TempDir::new("local");
    let root = temp.path().join("not/yet");
    let open = || LocalReplica::open_or_absent(&root, Links::Skip).unwrap();
    let (mut early, mut idle, mut maker) = (open(), open(), open());
    maker.make_dirs(&[RelPath::root()]).remove(0).unwrap();
    write(&mut early, "f", b"content").unwrap();
    assert_eq!(fs::read(root.join("f")).unwrap(), b"content");
    idle.make_lasting(&RelPath::root()).unwrap();
    idle.rename(&path("f"), &path("g")).unwrap();
    idle.remove(&[Removal::File(path("g"))]).remove(0).unwrap();
    assert!(names_in(&root).is_empty());
}

#[test]
fn a_root_that_appears_is_not_listed() {
    let temp = TempDir::new("local");
    let root = temp.path().join("disk");
    let mut early = LocalReplica::open_or_absent(&root, Links::Skip).unwrap();
    fs::create_dir(&root).unwrap();
    fs::write(root.join("f"), "").unwrap();
    let error = early
        .list(&RelPath::root(), &mut Listing::new())
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
}

#[test]
fn a_file_is_no_root() {
    let temp = TempDir::new("local");
    let file = temp.path().join("f");
    fs::write(&file, "").unwrap();
    let error = LocalReplica::open(&file, Links::Skip).unwrap_err();
    assert!(!error.is_not_found(), "{error}");
}

#[test]
fn the_root_itself_is_never_changed() {
    let (temp, mut target) = fresh(Links::Skip);
    let root = RelPath::root();
    assert!(target.remove(&[Removal::Dir(root.clone())])[0].is_err());
    assert!(target.rename(&root, &path("x")).is_err());
    assert!(temp.path().is_dir());
}

#[test]
fn a_file_is_known_by_its_identity_whatever_its_name() {
    let (temp, mut target) = fresh(Links::Skip);
    let before = Timestamp::now().plus_secs(-1);
    let written = write(&mut target, "f", b"content").unwrap();
    fs::create_dir(temp.path().join("d")).unwrap();
    symlink("f", temp.path().join("link")).unwrap();
    let identity = target.identify(&path("f")).unwrap().unwrap();
    let inode = fs::metadata(temp.path().join("f")).unwrap().ino();
    assert_eq!((identity.inode, written.inode), (inode, inode));
    assert!(identity.born.is_none_or(|born| born > before));
    fs::rename(temp.path().join("f"), temp.path().join("g")).unwrap();
    assert_eq!(target.identify(&path("g")).unwrap(), Some(identity));
    assert!(target.identify(&path("f")).unwrap_err().is_not_found());
    let mut listing = Listing::new();
    target.list(&RelPath::root(), &mut listing).unwrap();
    let inodes: Vec<u64> = listing.iter().map(|entry| entry.inode).collect();
    assert_eq!(inodes, [0, inode, 0], "directories and links have none");
    let dir = target.identify(&path("d")).unwrap().unwrap();
    assert_eq!(
        dir.inode,
        fs::metadata(temp.path().join("d")).unwrap().ino()
    );
    assert_eq!(target.identify(&path("link")).unwrap(), None);
}

#[test]
fn a_root_knows_the_file_system_that_it_is_on() {
    let (temp, target) = fresh(Links::Skip);
    fs::create_dir(temp.path().join("d")).unwrap();
    let below = LocalReplica::open(&temp.path().join("d"), Links::Skip).unwrap();
    let elsewhere = LocalReplica::open(std::path::Path::new("/proc"), Links::Skip).unwrap();
    let identity = target.file_system_id().unwrap();
    assert_eq!(identity, below.file_system_id().unwrap());
    assert_eq!(
        elsewhere.file_system_id().unwrap(),
        0,
        "/proc keeps no number"
    );
}

#[test]
fn a_locked_root_names_its_holder_and_is_free_again_afterwards() {
    let (temp, target) = fresh(Links::Skip);
    let second = LocalReplica::open(temp.path(), Links::Skip).unwrap();
    let lock = target.lock().unwrap();
    assert!(lock.is_held());
    let error = second.lock().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Locked(_)), "{error}");
    let text = error.to_string();
    let program = std::env::current_exe().unwrap();
    let program = program.file_name().unwrap().to_str().unwrap();
    let me = format!("process {} ({program})", std::process::id());
    assert!(text.contains(&me), "{text}");
    drop(lock);
    assert!(second.lock().unwrap().is_held());
}

// ---------------------------------------------------------------------------------------------------------------
// Links and special files
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn links_are_there_and_left_alone() {
    let (temp, mut target) = fresh(Links::Skip);
    fs::write(temp.path().join("file"), "123").unwrap();
    fs::create_dir(temp.path().join("dir")).unwrap();
    for (name, to) in [
        ("l1", "file"),
        ("l2", "dir"),
        ("l3", "gone"),
        ("l4", "/etc"),
    ] {
        symlink(to, temp.path().join(name)).unwrap();
        assert_eq!(kind(&mut target, name), Some(Kind::Special));
    }
    let kinds: Vec<Kind> = list(&mut target, "")
        .iter()
        .map(|entry| entry.stat.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            Kind::Dir,
            Kind::File,
            Kind::Special,
            Kind::Special,
            Kind::Special,
            Kind::Special
        ]
    );
    assert_changed(target.open(&path("l1"), 0).map(|_| ()));
}

#[test]
fn nothing_is_done_behind_a_link() {
    let (temp, mut target) = fresh(Links::Skip);
    let outside = TempDir::new("outside");
    fs::write(outside.path().join("f"), "precious").unwrap();
    fs::create_dir(outside.path().join("d")).unwrap();
    symlink(outside.path(), temp.path().join("link")).unwrap();

    assert_changed(write(&mut target, "link/new", b"content"));
    assert_changed(target.list(&path("link"), &mut Listing::new()));
    assert_changed(target.open(&path("link/f"), 0).map(|_| ()));
    assert_changed(target.look_up(&[path("link/f")]).remove(0));
    assert_changed(target.make_dirs(&[path("link/new")]).remove(0));
    assert_changed(target.make_dirs(&[path("link/d/new")]).remove(0));
    assert_changed(target.remove(&[Removal::File(path("link/f"))]).remove(0));
    assert_changed(target.remove(&[Removal::Dir(path("link/d"))]).remove(0));
    assert_changed(target.rename(&path("link/f"), &path("f")));
    write(&mut target, "own", b"").unwrap();
    assert_changed(target.rename(&path("own"), &path("link/own")));
    assert_eq!(names_in(outside.path()), ["d", "f"]);
    assert_eq!(names_in(&outside.path().join("d")), Vec::<String>::new());
}

#[test]
fn removing_a_link_leaves_what_it_leads_to() {
    let (temp, mut target) = fresh(Links::Skip);
    fs::write(temp.path().join("file"), "123").unwrap();
    symlink("file", temp.path().join("link")).unwrap();
    target
        .remove(&[Removal::File(path("link"))])
        .remove(0)
        .unwrap();
    assert_eq!(names_in(temp.path()), ["file"]);
}

#[test]
fn a_link_planted_under_the_partial_name_is_not_written_through() {
    let (temp, mut target) = fresh(Links::Skip);
    let outside = TempDir::new("outside");
    let victim = outside.path().join("victim");
    fs::write(&victim, "12345").unwrap();
    symlink(&victim, temp.path().join(PARTIAL)).unwrap();

    let (name, partial) = (path("f"), path(PARTIAL));
    let mut file = new_file(&name, &partial, 8);
    file.resume_at = 5;
    assert_changed(target.write(&file, &mut Bytes(b"678"), &mut Unwatched));
    file.resume_at = 0;
    target
        .write(&file, &mut Bytes(b"12345678"), &mut Unwatched)
        .unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"12345");
    assert_eq!(fs::read(temp.path().join("f")).unwrap(), b"12345678");
}

#[test]
fn pipes_and_sockets_are_never_opened() {
    let (temp, mut target) = fresh(Links::Skip);
    let pipe = temp.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    // Not by binding it: the path is too long for that.
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    let socket = nix::sys::stat::SFlag::S_IFSOCK;
    nix::sys::stat::mknod(&temp.path().join("socket"), socket, mode, 0).unwrap();
    for name in ["pipe", "socket"] {
        assert_eq!(kind(&mut target, name), Some(Kind::Special));
        // A blocking open of the pipe would never come back.
        assert_changed(target.open(&path(name), 0).map(|_| ()));
        assert_changed(write(&mut target, name, b"content"));
    }
    assert!(
        list(&mut target, "")
            .iter()
            .all(|entry| entry.stat.kind == Kind::Special)
    );
}

#[test]
fn a_name_with_a_line_break_is_reported_and_the_listing_complete() {
    let (temp, mut target) = fresh(Links::Skip);
    fs::write(temp.path().join("a\nb"), "").unwrap();
    fs::write(temp.path().join("c"), "").unwrap();
    let listing = list(&mut target, "");
    assert_eq!(listing.gap(), None);
    assert_eq!(listing.len(), 1);
    let unusable: Vec<String> = listing.unusable().map(|name| name.to_string()).collect();
    assert_eq!(unusable, [r"a\x0ab"]);
}

/// Somebody swaps a directory for a link again and again while everything that a target can do is done below it.
#[test]
fn nothing_happens_outside_while_a_directory_is_swapped_for_a_link() {
    for links in [Links::Skip, Links::Follow] {
        let (temp, mut target) = fresh(links);
        let outside = TempDir::new("outside");
        fs::write(outside.path().join("victim"), "secret").unwrap();
        fs::create_dir(outside.path().join("empty")).unwrap();
        let dir = temp.path().join("d");
        let away = temp.path().join("away");
        fs::create_dir(&dir).unwrap();

        let done = AtomicBool::new(false);
        let (mut succeeded, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for swaps in 0_u64.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    fs::rename(&dir, &away).unwrap();
                    symlink(outside.path(), &dir).unwrap();
                    std::thread::yield_now();
                    fs::remove_file(&dir).unwrap();
                    fs::rename(&away, &dir).unwrap();
                    // Now and then there is time for all that is done to be done between two swaps.
                    std::thread::sleep(Duration::from_micros(swaps % 8 * 100));
                }
            });
            let _end = SetWhenDropped(&done);
            let mut rounds = 0;
            // Enough that both happened, and an end in case one never does.
            while rounds < 300 || ((succeeded < 20 || refused < 20) && rounds < 20_000) {
                rounds += 1;
                match write(&mut target, "d/new", b"content") {
                    Ok(_) => succeeded += 1,
                    Err(_) => refused += 1,
                }
                // Whether these succeed is luck; what they do is looked at below.
                let _ = target.remove(&["d/new", "d/victim"].map(|name| Removal::File(path(name))));
                let _ = target.remove(&[Removal::Dir(path("d/empty"))]);
                let _ = target.make_dirs(&[path("d/made")]);
                let _ = target.rename(&path("d/victim"), &path("stolen"));
                assert!(target.open(&path("d/victim"), 0).is_err());
            }
        });
        assert!(
            succeeded >= 20 && refused >= 20,
            "{succeeded} and {refused}"
        );
        assert_eq!(names_in(outside.path()), ["empty", "victim"]);
        assert_eq!(fs::read(outside.path().join("victim")).unwrap(), b"secret");
        assert!(!temp.path().join("stolen").exists());
    }
}

/// Ends the other thread also when this one panics: a failing test must not hang.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Followed links
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_followed_link_is_what_it_leads_to() {
    let (temp, mut target) = fresh(Links::Follow);
    let root = temp.path();
    fs::create_dir_all(root.join("dir/deep")).unwrap();
    fs::write(root.join("dir/file"), "12345").unwrap();
    symlink("../dir/file", root.join("dir/relative")).unwrap();
    symlink(
        root.canonicalize().unwrap().join("dir"),
        root.join("absolute"),
    )
    .unwrap();
    symlink("absolute/./deep/../relative", root.join("chain")).unwrap();

    let stats: Vec<(String, Kind, u64)> = list(&mut target, "")
        .iter()
        .map(|entry| (entry.name.to_string(), entry.stat.kind, entry.stat.size))
        .collect();
    assert_eq!(
        stats,
        [
            ("absolute".to_owned(), Kind::Dir, 0),
            ("chain".to_owned(), Kind::File, 5),
            ("dir".to_owned(), Kind::Dir, 0),
        ]
    );
    for name in ["chain", "absolute/relative", "dir/relative"] {
        assert_eq!(kind(&mut target, name), Some(Kind::File), "{name}");
        assert_eq!(read(&mut target, name), b"12345", "{name}");
    }
    write(&mut target, "absolute/new", b"content").unwrap();
    assert_eq!(fs::read(root.join("dir/new")).unwrap(), b"content");
}

#[test]
fn a_link_that_leads_out_or_nowhere_is_not_followed() {
    let (temp, mut target) = fresh(Links::Follow);
    let outside = TempDir::new("outside");
    fs::write(outside.path().join("f"), "secret").unwrap();
    let root = temp.path();
    fs::create_dir(root.join("d")).unwrap();
    let back_in = format!("../{}/d", root.file_name().unwrap().to_str().unwrap());
    let absolute = outside.path().to_str().unwrap();
    let name_of_root_longer = format!("{}x", root.canonicalize().unwrap().display());
    let bad = [
        ("out", absolute),
        ("up", ".."),
        ("up_and_in", back_in.as_str()),
        ("gone", "none"),
        ("self", "self"),
        ("longer", name_of_root_longer.as_str()),
        ("through_file", "file/x"),
    ];
    fs::write(root.join("file"), "").unwrap();
    for (name, to) in bad {
        symlink(to, root.join(name)).unwrap();
        assert_eq!(kind(&mut target, name), Some(Kind::Special), "{name}");
        assert_changed(target.open(&path(name), 0).map(|_| ()));
        assert_changed(target.list(&path(name), &mut Listing::new()));
        assert_changed(write(&mut target, &format!("{name}/new"), b"content"));
    }
    assert_eq!(names_in(outside.path()), ["f"]);
}

#[test]
fn loops_of_links_end() {
    let (temp, mut target) = fresh(Links::Follow);
    let root = temp.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir(root.join("c")).unwrap();
    symlink("..", root.join("a/b/up")).unwrap();
    symlink("../..", root.join("a/b/root")).unwrap();
    symlink("../c", root.join("a/to_c")).unwrap();
    symlink("../a", root.join("c/to_a")).unwrap();

    let mut walked = Vec::new();
    let mut ahead = vec![RelPath::root()];
    while let Some(dir) = ahead.pop() {
        assert!(walked.len() < 100, "it goes on for ever: {walked:?}");
        let mut listing = Listing::new();
        target.list(&dir, &mut listing).unwrap();
        let dirs = listing.iter().filter(|entry| entry.stat.kind == Kind::Dir);
        ahead.extend(dirs.map(|entry| dir.join(entry.name)));
        walked.push(dir.to_string());
    }
    assert!(walked.contains(&"a/to_c".to_owned()) && walked.contains(&"c/to_a/b".to_owned()));
    assert_eq!(kind(&mut target, "a/to_c/to_a"), Some(Kind::Special));
}

#[test]
fn writing_to_a_followed_link_replaces_the_link() {
    let (temp, mut target) = fresh(Links::Follow);
    fs::write(temp.path().join("file"), "12345").unwrap();
    symlink("file", temp.path().join("link")).unwrap();
    let seen = target.look_up(&[path("link")]).remove(0).unwrap();
    let (name, partial) = (path("link"), path(PARTIAL));
    let mut file = new_file(&name, &partial, 3);
    file.replaces = seen;
    target
        .write(&file, &mut Bytes(b"new"), &mut Unwatched)
        .unwrap();
    assert_eq!(fs::read(temp.path().join("file")).unwrap(), b"12345");
    assert_eq!(fs::read(temp.path().join("link")).unwrap(), b"new");
    assert!(!temp.path().join("link").is_symlink());
}

// ---------------------------------------------------------------------------------------------------------------
// Files
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_file_that_grows_or_shrinks_while_it_is_read_is_noticed() {
    let (temp, mut target) = fresh(Links::Skip);
    let place = temp.path().join("f");
    let mut buffer = [0; 100];

    fs::write(&place, "12345").unwrap();
    let mut source = target.open(&path("f"), 0).unwrap();
    OpenOptions::new()
        .append(true)
        .open(&place)
        .unwrap()
        .write_all(b"678")
        .unwrap();
    assert_eq!(source.read(&mut buffer).unwrap(), 5);
    assert_eq!(source.read(&mut buffer).unwrap(), 0);
    assert_changed(source.finish());
    drop(source);

    let mut source = target.open(&path("f"), 0).unwrap();
    File::create(&place).unwrap();
    assert_changed(source.read(&mut buffer));
    assert_changed(source.finish());
}

#[test]
fn a_file_that_is_rewritten_while_it_is_read_is_noticed() {
    let (temp, mut target) = fresh(Links::Skip);
    let place = temp.path().join("f");
    fs::write(&place, "12345").unwrap();
    set_mtime(&place, 1_000_000_000);
    let mut source = target.open(&path("f"), 0).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(source.read(&mut buffer).unwrap(), 5);
    fs::write(&place, "54321").unwrap();
    assert_changed(source.finish());
}

#[test]
fn bytes_moved_inside_the_kernel_count() {
    let (temp, mut target) = fresh(Links::Skip);
    fs::write(temp.path().join("f"), "12345").unwrap();
    let mut source = target.open(&path("f"), 1).unwrap();
    let fd = source
        .as_fd()
        .expect("a file has one")
        .try_clone_to_owned()
        .unwrap();
    assert_eq!(File::from(fd).stream_position().unwrap(), 1);
    source.moved_by_fd(4);
    assert_eq!(source.read(&mut [0; 10]).unwrap(), 0);
    source.finish().unwrap();
}

#[test]
fn a_replaced_file_keeps_its_rights() {
    let (temp, mut target) = fresh(Links::Skip);
    let place = temp.path().join("f");
    fs::write(&place, "old").unwrap();
    fs::set_permissions(&place, Permissions::from_mode(0o4610)).unwrap();
    let seen = target.look_up(&[path("f")]).remove(0).unwrap();
    let (name, partial) = (path("f"), path(PARTIAL));
    let mut file = new_file(&name, &partial, 3);
    file.replaces = seen;
    target
        .write(&file, &mut Bytes(b"new"), &mut Unwatched)
        .unwrap();
    // But not that it runs as another user: its content came from elsewhere.
    assert_eq!(fs::metadata(&place).unwrap().mode() & 0o7777, 0o610);
}

#[test]
fn times_are_kept_to_the_nanosecond_in_any_century() {
    let (temp, mut target) = fresh(Links::Skip);
    let nanos = [
        -1_500_000_001,
        0,
        1_700_000_000_123_456_789,
        // 2040 and 2110: beyond 32 bits, signed and unsigned.
        2_208_988_800_000_000_001,
        4_417_977_600_999_999_999,
    ];
    for nanos in nanos {
        let asked = Timestamp::from_nanos(nanos);
        let (name, partial) = (path(&format!("f{nanos}")), path(PARTIAL));
        let mut file = new_file(&name, &partial, 0);
        file.mtime = Some(asked);
        let written = target
            .write(&file, &mut Bytes(b""), &mut Unwatched)
            .unwrap();
        assert_eq!(written.times, Times::Kept);
        assert_eq!(written.stat, Stat::file(0, asked));
        let found = fs::metadata(temp.path().join(name.to_string())).unwrap();
        assert_eq!(found.mtime() * 1_000_000_000 + found.mtime_nsec(), nanos);
    }
}

#[test]
fn files_beyond_4_gib_are_listed_and_read_at_any_offset() {
    const SIZE: u64 = 5 << 30;
    let (temp, mut target) = fresh(Links::Skip);
    let mut file = File::create(temp.path().join("f")).unwrap();
    // All but its end is a hole and takes no room.
    file.seek(SeekFrom::Start(SIZE - 3)).unwrap();
    file.write_all(b"end").unwrap();
    assert_eq!(list(&mut target, "").find(b"f").unwrap().stat.size, SIZE);
    let mut source = target.open(&path("f"), SIZE - 3).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(source.read(&mut buffer).unwrap(), 3);
    assert_eq!(&buffer[..3], b"end");
    source.finish().unwrap();
    drop(source);
    assert_changed(target.open(&path("f"), SIZE + 1).map(|_| ()));
}

#[test]
fn hard_links_are_two_names_that_cannot_become_one() {
    let (temp, mut target) = fresh(Links::Skip);
    fs::write(temp.path().join("name"), "content").unwrap();
    fs::hard_link(temp.path().join("name"), temp.path().join("NAME")).unwrap();
    assert_changed(target.rename(&path("name"), &path("NAME")));
    assert_eq!(names_in(temp.path()), ["NAME", "name"]);
}

// ---------------------------------------------------------------------------------------------------------------
// What the tests use
// ---------------------------------------------------------------------------------------------------------------

const PARTIAL: &str = ".coracle-part-0123456789abcdef";

fn fresh(links: Links) -> (TempDir, LocalReplica) {
    let temp = TempDir::new("local");
    let target = LocalReplica::open(temp.path(), links).unwrap();
    (temp, target)
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn new_file<'a>(name: &'a RelPath, partial: &'a RelPath, size: u64) -> NewFile<'a> {
    NewFile {
        path: name,
        partial,
        size,
        mtime: None,
        mode: None,
        resume_at: 0,
        replaces: None,
        set_aside: None,
        keep_partial: false,
    }
}

fn write(target: &mut LocalReplica, name: &str, content: &[u8]) -> Result<Written> {
    let name = path(name);
    let partial = path(&format!("{}/{PARTIAL}", name.parent()));
    let file = new_file(&name, &partial, content.len() as u64);
    target.write(&file, &mut Bytes(content), &mut Unwatched)
}

fn read(target: &mut LocalReplica, name: &str) -> Vec<u8> {
    coracle::replica::load(target, &path(name), 1 << 20)
        .unwrap()
        .unwrap()
}

fn list(target: &mut LocalReplica, dir: &str) -> Listing {
    let mut listing = Listing::new();
    target.list(&path(dir), &mut listing).unwrap();
    listing
}

fn kind(target: &mut LocalReplica, name: &str) -> Option<Kind> {
    let found = target.look_up(&[path(name)]).remove(0).unwrap();
    found.map(|stat| stat.kind)
}

fn assert_changed<T>(result: Result<T>) {
    let error = result.err().expect("it must not work");
    assert!(matches!(error.kind(), ErrorKind::Changed(_)), "{error}");
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn set_mtime(file: &Path, secs: u64) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(secs);
    File::options()
        .write(true)
        .open(file)
        .unwrap()
        .set_modified(time)
        .unwrap();
}
