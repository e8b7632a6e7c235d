//! Servers that coracle does not know by their greetings, and those that it knows under another's: everything works all the
//! same, by the book at first.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::program::{Ended, Place, put};
use support::servers::{Kind, Options, Server};

/// Names that people have. Twisted's server takes the bytes of a name for Latin-1 and writes them as UTF-8, so that it shows
/// another name than it was told: its own mistake, as it is BusyBox's to show such names with question marks;
/// [`a_mangled_name_is_told_and_loses_nothing`] is about both.
const PLAIN: [&str; 7] = [
    "a.txt",
    ".hidden",
    "two  blanks",
    "f (1) [x].txt",
    "d/b.txt",
    "d/e/100%.txt",
    "-r",
];
const FOREIGN: [&str; 2] = ["d/Übung.txt", "日本/ノート"];

/// What lies below a directory, but for what coracle keeps for itself.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).expect("the directory is ours") {
            let path = entry.expect("the directory is ours").path();
            let name = path
                .strip_prefix(root)
                .expect("it is below")
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                walk(root, &path, found);
            } else if !name.contains(".pyftpsync-") && !name.contains(".coracle") {
                found.insert(name, fs::read(&path).expect("the file is ours"));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn assert_same(place: &Place, server: &Server, when: &str) {
    let (local, remote) = (tree(&place.local()), tree(server.root()));
    let names = |tree: &BTreeMap<String, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&local), names(&remote), "{when}");
    assert!(local == remote, "{when}: the content differs");
}

fn assert_quiet(ended: &Ended, when: &str) {
    for word in ["\ncopy ", "\ndelete ", "conflict", "\nrename "] {
        assert!(!ended.stdout.contains(word), "{when}: {}", ended.stdout);
    }
}

/// The whole round: upload and download, nothing to do, changes on both sides, renames, deletions, a glance, another place.
fn round(kind: Kind, greeting: Option<&'static str>, connections: &str) {
    let when = format!("{} as {greeting:?} with {connections}", kind.name());
    let place = Place::new("stranger");
    let extra = match kind {
        // It would not see what this test does behind its back.
        Kind::Rclone => vec!["--dir-cache-time=100ms".to_owned()],
        _ => Vec::new(),
    };
    let server = Server::start(
        kind,
        Options {
            greeting,
            extra,
            ..Options::default()
        },
    );
    let names: Vec<&str> = match kind {
        Kind::Twisted | Kind::Busybox => PLAIN.to_vec(),
        _ => PLAIN.iter().chain(&FOREIGN).copied().collect(),
    };
    for (age, name) in names.iter().enumerate() {
        put(
            &place.local(),
            name,
            format!("local {name}"),
            10_000 + age as u64,
        );
    }
    put(&place.local(), "empty", "", 9_000);
    put(&place.local(), "big", vec![7; 1_500_000], 9_000);
    put(server.root(), "there/r", "remote", 400 * 86_400);
    put(server.root(), "s", "remote, too", 8_000);
    server.own_files();
    let url = server.url("");
    let sync = |options: &[&str]| {
        let options = [options, &["--connections", connections, "--timeout", "10"]].concat();
        let ended = place.with("sync", &url, &options).expect(0);
        assert_same(&place, &server, &when);
        ended
    };
    sync(&[]);
    assert_eq!(tree(&place.local()).len(), names.len() + 4, "{when}");
    assert_quiet(&sync(&[]), &when);

    put(&place.local(), "a.txt", "changed here, and longer", 100);
    put(server.root(), "s", "changed there, and longer", 100);
    server.own_files();
    fs::remove_file(place.local().join("d/b.txt")).unwrap();
    fs::remove_file(server.root().join("there/r")).unwrap();
    fs::rename(place.local().join("big"), place.local().join("large")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    sync(&[]);
    assert_eq!(
        tree(&place.local())["s"],
        b"changed there, and longer",
        "{when}"
    );
    assert!(!server.root().join("d/b.txt").exists(), "{when}");
    assert_quiet(&sync(&[]), &when);
    assert_quiet(&sync(&["--quick-scan"]), &when);

    let other = Place::new("stranger");
    other
        .with("download", &url, &["--connections", connections])
        .expect(0);
    assert_same(&other, &server, &when);
}

fn rounds(kind: Kind) {
    for connections in ["1", "4"] {
        round(kind, None, connections);
    }
}

#[test]
fn twisted() {
    rounds(Kind::Twisted);
}

#[test]
fn aioftp() {
    rounds(Kind::Aioftp);
}

#[test]
fn rclone() {
    rounds(Kind::Rclone);
}

/// With TLS from the first byte it refuses `PROT P`, and sends files readable by everyone: none is sent or taken.
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
#[test]
fn rclone_protects_no_data_and_gets_none() {
    use support::tls::{Variant, authority};
    let variant = Variant {
        kind: Kind::Rclone,
        strict: false,
        version: None,
    };
    let place = Place::new("stranger");
    let server = Server::start(Kind::Rclone, variant.options(authority().good()));
    put(&place.local(), "a", "mine", 1_000);
    put(server.root(), "b", "yours", 1_000);
    let url = server.url("").replace("ftp://", "ftps://");
    let ca_file = format!("--ca-file={}", authority().file().display());
    place
        .with("sync", &url, &["--tls=implicit", &ca_file])
        .expect(7)
        .complains("does not protect files and listings");
    assert_eq!(tree(&place.local()).len(), 1);
    assert_eq!(tree(server.root()).len(), 1);
}

/// Without it `tests/run` installs no `ftp-srv`, and says so.
fn has_npm() -> bool {
    let mut npm = std::process::Command::new("npm");
    npm.arg("--version").output().is_ok()
}

#[test]
fn ftp_srv() {
    if has_npm() {
        rounds(Kind::FtpSrv);
    }
}

#[test]
fn inetutils() {
    rounds(Kind::Inetutils);
}

#[test]
fn busybox() {
    rounds(Kind::Busybox);
}

#[test]
fn nothing_rests_on_the_name_in_a_greeting() {
    const GREETINGS: [&str; 3] = ["(vsFTPd 3.0.5)", "pyftpdlib 2.2.0 ready.", "Welcome"];
    for kind in Kind::startable() {
        for greeting in GREETINGS {
            round(kind, Some(greeting), "4");
        }
    }
    for kind in Kind::STRANGERS
        .into_iter()
        .chain([Kind::Inetutils, Kind::Busybox])
        .filter(|kind| *kind != Kind::FtpSrv || has_npm())
    {
        round(kind, Some(GREETINGS[0]), "4");
    }
}

/// Twisted's shows another name than it was told, BusyBox's a question mark for each byte that is no ASCII.
#[test]
fn a_mangled_name_is_told_and_loses_nothing() {
    // BusyBox's keeps the name that it cannot show, so that only later runs miss it.
    for (kind, first_code) in [(Kind::Twisted, 1), (Kind::Busybox, 0)] {
        let place = Place::new("mangled");
        let server = Server::start(kind, Options::default());
        put(&place.local(), "Übung", "mine", 1_000);
        put(&place.local(), "plain", "plain", 1_000);
        let url = server.url("");
        for code in [first_code, 1] {
            place.with("sync", &url, &["--timeout", "10"]).expect(code);
            assert_eq!(fs::read(place.local().join("Übung")).unwrap(), b"mine");
            assert_eq!(fs::read(server.root().join("plain")).unwrap(), b"plain");
        }
        fs::write(place.local().join("plain"), "changed").unwrap();
        place.with("sync", &url, &["--timeout", "10"]).expect(1);
        assert_eq!(tree(server.root())["plain"], b"changed", "{}", kind.name());
        assert_eq!(tree(&place.local()).len(), 2, "{}", kind.name());
    }
}

// Names that a server changes

/// What the server does to names, and a name that it changes.
const CHANGED: [(&str, &str); 8] = [
    ("fold", "Photo.JPG"),
    ("lower", "Photo.JPG"),
    ("lower", "Docs/Sub/A.txt"),
    ("decompose", "caf\u{e9}.jpg"),
    ("decompose", "\u{dc}bung/\u{e9}.txt"),
    ("strip", "name."),
    ("strip", "blank "),
    ("strip", "dir./x."),
];

fn spelling_server(names: &str, greeting: Option<&'static str>) -> Server {
    Server::start(
        Kind::Pyftpdlib,
        Options {
            greeting,
            extra: vec!["--names".to_owned(), names.to_owned()],
            ..Options::default()
        },
    )
}

/// The contents of files, whatever these are called.
fn contents(root: &Path) -> Vec<Vec<u8>> {
    let mut contents: Vec<Vec<u8>> = tree(root).into_values().collect();
    contents.sort_unstable();
    contents
}

#[test]
fn a_name_that_the_server_changes_is_the_same_file() {
    for (change, name) in CHANGED {
        for (command, greeting) in [("sync", None), ("upload", Some("Welcome"))] {
            let when = format!("{command}, {change} {name}");
            let place = Place::new("spelled");
            let server = spelling_server(change, greeting);
            let url = server.url("");
            let run = |command: &str, options: &[&str]| {
                let delete: &[&str] = match command {
                    "sync" => &[],
                    _ => &["--delete"],
                };
                let ended = place
                    .with(command, &url, &[delete, options].concat())
                    .expect(0);
                assert_eq!(
                    contents(&place.local()),
                    contents(server.root()),
                    "{when}: {ended}"
                );
                ended
            };
            let quiet =
                |command: &str, options: &[&str]| assert_quiet(&run(command, options), &when);
            put(&place.local(), name, "the only one", 10_000);
            put(&place.local(), "plain", "plain", 9_000);
            put(&place.local(), "other/plain", "other", 8_000);
            run(command, &[]);
            quiet(command, &["--dry-run"]);
            quiet("download", &["--dry-run"]);
            quiet(command, &[]);
            quiet("download", &[]);
            quiet("sync", &["--quick-scan"]);
            quiet("upload", &["--no-remote-scan"]);

            put(&place.local(), name, "edited here", 1_000);
            run(command, &[]);
            quiet(command, &[]);
            let there = tree(server.root());
            let (shown, _) = there
                .iter()
                .find(|(_, content)| *content == b"edited here")
                .unwrap();
            put(server.root(), shown, "edited there, and longer", 100);
            server.own_files();
            run("sync", &[]);
            let here = tree(&place.local());
            assert_eq!(here[name], b"edited there, and longer", "{when}");
            quiet("sync", &[]);

            fs::remove_file(place.local().join(name)).unwrap();
            run(command, &[]);
            assert_eq!(contents(server.root()).len(), 2, "{when}");
            quiet("sync", &[]);
        }
    }
}

#[test]
fn a_changed_name_is_known_again_without_its_record() {
    for (change, name) in CHANGED.into_iter().filter(|(change, _)| *change != "lower") {
        let place = Place::new("unrecorded");
        let server = spelling_server(change, None);
        let url = server.url("");
        put(&place.local(), name, "the only one", 10_000);
        place.with("upload", &url, &[]).expect(0);
        fs::remove_dir_all(place.local().join(".coracle")).unwrap();
        for _ in 0..2 {
            let ended = place.with("sync", &url, &[]).expect(0);
            assert_quiet(&ended, name);
        }
        assert_eq!(tree(&place.local()).len(), 1, "{change} {name}");
        assert_eq!(
            contents(server.root()),
            [b"the only one"],
            "{change} {name}"
        );
    }
}

#[test]
fn two_names_that_are_one_on_the_server_both_stay_here() {
    for (change, one, other) in [
        ("fold", "README.md", "Readme.md"),
        ("lower", "README.md", "Readme.md"),
        ("lower", "Docs/a", "docs/a"),
        ("decompose", "\u{e9}", "e\u{301}"),
        ("strip", "a", "a."),
    ] {
        for command in [&["sync"][..], &["upload", "--delete"]] {
            let when = format!("{command:?} {change} {one}");
            let place = Place::new("meeting");
            let server = spelling_server(change, None);
            put(&place.local(), one, "one", 10_000);
            put(&place.local(), other, "two", 9_000);
            for name in ["v", "w", "x", "y", "z"] {
                put(&place.local(), name, name, 8_000);
            }
            let here = tree(&place.local());
            for _ in 0..3 {
                let options = [&command[1..], &["--case=strict", "--connections=4"]].concat();
                place.with(command[0], &server.url(""), &options).expect(1);
                assert!(tree(&place.local()) == here, "{when}");
                assert_eq!(tree(server.root()).len(), 6, "{when}");
            }
        }
    }
}
