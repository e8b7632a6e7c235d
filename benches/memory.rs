//! Measures the most memory that the program takes for large trees, on an FTP server in this process.
//!
//! ```sh
//! cargo bench --bench memory
//! ```
//!
//! It makes 150,000 small files below `target/tmp` on each side and takes about a minute.

#[path = "../tests/support/ftp_server.rs"]
mod ftp_server;
// It serves the tests first, where all of it is needed.
#[allow(unreachable_pub)]
#[path = "../tests/support/temp.rs"]
mod temp;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ftp_server::{Config, FtpServer};
use temp::TempDir;

/// Between two looks at the high-water mark, which never falls.
const LOOK_MILLIS: u64 = 2;

fn main() {
    let home = TempDir::new("memory");
    let (here, there) = (home.path().join("here"), home.path().join("there"));
    let server = {
        fs::create_dir_all(&there).expect("a directory below target/tmp can be made");
        FtpServer::start(Config::serving(&there))
    };
    for side in [&here, &there] {
        make(&side.join("many"), 1_000, 100);
        make(&side.join("one"), 1, 50_000);
    }
    make(&here.join("new"), 20, 100);
    for (tree, what, mark) in [
        ("new", "2,000 new files in 20 directories", "none"),
        ("many", "100,000 files in 1,000 directories", "4 MiB"),
        ("one", "50,000 files in one directory", "12 MiB"),
    ] {
        let run = || measure(home.path(), &here.join(tree), &server.url(tree));
        let (first, again) = (run(), run());
        println!("{what} (mark for the second run: {mark}):\n  first  {first}\n  second {again}");
    }
}

/// Makes `dirs` directories of `files` files, alike wherever it is called.
fn make(root: &Path, dirs: u64, files: u64) {
    const OLDEST_SECS: u64 = 1_500_000_000;
    for dir in 0..dirs {
        let path = root.join(format!("directory-{dir:04}"));
        let path = if dirs == 1 { root.to_owned() } else { path };
        fs::create_dir_all(&path).expect("a directory below target/tmp can be made");
        for file in 0..files {
            let secs = OLDEST_SECS + dir * files + file;
            File::create(path.join(format!("IMG_20170714_{file:06}.jpg")))
                .and_then(|made| {
                    made.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs))
                })
                .expect("a file below target/tmp can be made");
        }
    }
}

/// Runs an upload and says what it took and what it says of itself.
fn measure(home: &Path, local: &Path, url: &str) -> String {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args(["upload", "--create-folder", "--no-prompt", "--no-color"])
        .arg(local)
        .arg(url)
        .env_clear()
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(File::create(home.join("output")).expect("a file below target/tmp can be made"))
        .spawn()
        .expect("the program was built");
    let mut kibibytes = 0;
    let status = loop {
        kibibytes = most_memory(child.id()).unwrap_or(kibibytes);
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        thread::sleep(Duration::from_millis(LOOK_MILLIS));
    };
    let output = fs::read_to_string(home.join("output")).unwrap_or_default();
    let summary = output.lines().last().unwrap_or_default();
    let seconds = started.elapsed().as_secs_f64();
    format!("{kibibytes} KiB, {seconds:.2} s, {status}: {summary}")
}

/// The most memory that a process had so far, in KiB; none when it has ended.
fn most_memory(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
