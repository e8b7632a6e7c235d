//! Measures the most memory that the program takes: for large trees, and while it uploads.
//!
//! ```sh
//! cargo bench --bench memory                                     # everything
//! cargo bench --bench memory -- one upload                       # some of it
//! cargo bench --bench memory -- --program old/coracle one        # another build beside this one
//! ```
//!
//! The trees take 150,000 empty files below `target/tmp` on each side and about a minute. Uploads go to the server in this
//! process and to ProFTPD, in the clear and through TLS; that one is installed by `tests/run --install-only`.

#[path = "../tests/support/mod.rs"]
mod support;
mod watch;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use support::ftp_server::{Config, FtpServer};
use support::servers::{Kind, Options, Server};
use support::temp::TempDir;
use support::tls::{Variant, authority};
use watch::watch;

/// What a user has hours for, a benchmark has not: many times what the kernel's buffers hold.
const LARGE_BYTES: usize = 256 << 20;

/// What is only listed may have any size; this one takes as many digits as most.
const PHOTO_BYTES: u64 = 3_141_592;

/// One packet or two.
const SMALL_BYTES: u64 = 3_000;

/// A tree that is compared, twice: when nothing is recorded yet, and unchanged.
struct Tree {
    name: &'static str,
    what: &'static str,
    mark: &'static str,
    dirs: u64,
    files: u64,
}

const TREES: [Tree; 2] = [
    Tree {
        name: "many",
        what: "100,000 files in 1,000 directories",
        mark: "4 MiB for the second run",
        dirs: 1_000,
        files: 100,
    },
    Tree {
        name: "one",
        what: "50,000 files in one directory",
        mark: "12 MiB for the second run",
        dirs: 1,
        files: 50_000,
    },
];

fn main() {
    let (mut programs, mut wanted) = (Vec::new(), Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--program" => programs.push(PathBuf::from(words.next().expect("a path"))),
            _ => wanted.push(word),
        }
    }
    programs.push(env!("CARGO_BIN_EXE_coracle").into());
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    let home = TempDir::new("memory");
    for tree in TREES.iter().filter(|tree| is_wanted(tree.name)) {
        println!("{} (mark: {}):", tree.what, tree.mark);
        compare_trees(home.path(), tree, &programs);
    }
    if is_wanted("upload") {
        println!("8 connections (mark: 6 MiB):");
        upload(home.path(), &programs);
    }
}

fn compare_trees(home: &Path, tree: &Tree, programs: &[PathBuf]) {
    let (here, there) = (home.join("here"), home.join("there"));
    for side in [&here, &there] {
        make(&side.join(tree.name), tree.dirs, tree.files, PHOTO_BYTES);
    }
    let server = FtpServer::start(Config::serving(&there));
    for program in programs {
        forget(&here.join(tree.name));
        let run = |connections| {
            let job = (here.join(tree.name), server.url(tree.name), connections);
            measure(home, program, &job)
        };
        println!("  {}", program.display());
        println!("    first  {}", run(4));
        println!("    second {}", run(4));
        println!("    second, 1 connection {}", run(1));
    }
}

/// Uploads small files, and small ones with a large one, to several servers.
fn upload(home: &Path, programs: &[PathBuf]) {
    let (small, large) = (home.join("small"), home.join("large"));
    make(&small, 20, 100, SMALL_BYTES);
    make(&large, 5, 100, SMALL_BYTES);
    fs::write(large.join("film.mkv"), vec![0; LARGE_BYTES]).expect("there is room");
    let variant = Variant {
        kind: Kind::Proftpd,
        version: None,
        strict: false,
    };
    fs::create_dir(home.join("inside")).expect("a directory below target/tmp can be made");
    let inside = FtpServer::start(Config::serving(home.join("inside")));
    let clear = Server::start(Kind::Proftpd, Options::default());
    let secured = Server::start(Kind::Proftpd, variant.options(authority().good()));
    for (number, program) in programs.iter().enumerate() {
        println!("  {}", program.display());
        for (tree, what) in [
            (&small, "2,000 small files"),
            (&large, "500 small files and one of 256 MiB"),
        ] {
            let path = format!("{number}-{}", what.len());
            for (server, url) in [
                ("the server in this process", inside.url(&path)),
                ("ProFTPD", clear.url(&path)),
                (
                    "ProFTPD, TLS",
                    secured.url(&path).replacen("ftp://", "ftps://", 1),
                ),
            ] {
                forget(tree);
                println!(
                    "    {what} to {server}: {}",
                    measure(home, program, &(tree.clone(), url, 8))
                );
            }
        }
    }
}

/// Makes `dirs` directories of `files` files, alike wherever it is called.
fn make(root: &Path, dirs: u64, files: u64, bytes: u64) {
    const OLDEST_SECS: u64 = 1_500_000_000;
    for dir in 0..dirs {
        for file in 0..files {
            let path = place(root, dirs, dir, file);
            if file == 0 {
                let parent = path.parent().expect("it is below the root");
                fs::create_dir_all(parent).expect("a directory below target/tmp can be made");
            }
            let secs = OLDEST_SECS + dir * files + file;
            File::create(path)
                .and_then(|made| {
                    // Sparse: it takes no room.
                    made.set_len(bytes)?;
                    made.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs))
                })
                .expect("a file below target/tmp can be made");
        }
    }
}

fn place(root: &Path, dirs: u64, dir: u64, file: u64) -> PathBuf {
    let path = root.join(format!("directory-{dir:04}"));
    let path = if dirs == 1 { root.to_owned() } else { path };
    path.join(format!("IMG_20170714_{file:06}.jpg"))
}

/// Removes what earlier runs recorded.
fn forget(root: &Path) {
    let below = fs::read_dir(root).expect("the tree is there").flatten();
    let dirs = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for dir in dirs.map(|entry| entry.path()).chain([root.to_owned()]) {
        let _it_may_not_be_there = fs::remove_file(dir.join(".pyftpsync-meta.json"));
    }
}

/// Runs an upload and says what it took and what it says of itself.
fn measure(
    home: &Path,
    program: &Path,
    (local, url, connections): &(PathBuf, String, u32),
) -> String {
    let trust = url
        .starts_with("ftps:")
        .then(|| format!("--ca-file={}", authority().file().display()));
    let mut command = Command::new(program);
    command
        .args(["upload", "--create-folder", "--no-prompt", "--no-color"])
        .args(["--connections", &connections.to_string()])
        .args(trust)
        .arg(local)
        .arg(url)
        .env_clear()
        .env("HOME", home)
        .stdout(File::create(home.join("output")).expect("a file below target/tmp can be made"));
    let (status, taken) = watch(&mut command);
    let output = fs::read_to_string(home.join("output")).unwrap_or_default();
    let summary = output.lines().last().unwrap_or_default();
    format!(
        "{} KiB, CPU {:.2} of {:.2} s, {status}: {summary}",
        taken.peak_kib,
        taken.cpu.as_secs_f64(),
        taken.wall.as_secs_f64()
    )
}
