//! Shows the main job: starts an FTP server on loopback, uploads a small tree to it with the real program, changes
//! both sides, syncs, and prints what happened.
//!
//! ```sh
//! cargo run --release --example demo
//! ```

#[path = "../tests/support/ftp_server.rs"]
mod ftp_server;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use ftp_server::{Config, FtpServer};

fn main() -> ExitCode {
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> io::Result<()> {
    let program = build_program()?;
    let stage = Stage::new()?;
    let server = FtpServer::start(Config {
        user: Some("anna".to_owned()),
        password: Some("seaworthy".to_owned()),
        ..Config::serving(stage.served())
    });
    let url = server.url("/photos");
    println!("An FTP server is listening on {}.\n", server.addr());

    println!("1. A folder with three files goes up for the first time.");
    stage.write("local/harbour.jpg", "a picture of the harbour")?;
    stage.write("local/notes.txt", "low tide at six")?;
    stage.write("local/2025/storm.jpg", "a picture of the storm")?;
    coracle(&program, &stage, &["upload", "--create-folder"], &url)?;

    println!(
        "2. Both sides change: here a note is edited and a picture deleted, there a picture appears."
    );
    stage.write("local/notes.txt", "low tide at seven, wind from the west")?;
    fs::remove_file(stage.dir.join("local/harbour.jpg"))?;
    stage.write(
        "served/photos/2025/calm.jpg",
        "a picture from the other boat",
    )?;
    coracle(&program, &stage, &["sync"], &url)?;

    println!("3. Nothing changed since, so nothing is done.");
    coracle(&program, &stage, &["sync"], &url)?;

    println!("Both folders now hold:");
    for (local, served) in stage
        .list("local")?
        .iter()
        .zip(&stage.list("served/photos")?)
    {
        println!("  {local:<20} {served:<20}");
    }
    if stage.list("local")? != stage.list("served/photos")? {
        return Err(io::Error::other("the two folders differ"));
    }
    Ok(())
}

/// Builds the program itself, which `cargo run --example` does not.
fn build_program() -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--bin", "coracle"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !built.success() {
        return Err(io::Error::other("building the program failed"));
    }
    // target/release/examples/demo -> target/release/coracle
    let demo = std::env::current_exe()?;
    let release = demo.ancestors().nth(2).unwrap_or(Path::new("."));
    Ok(release.join("coracle"))
}

fn coracle(program: &Path, stage: &Stage, args: &[&str], url: &str) -> io::Result<()> {
    println!(
        "   $ coracle {} local {}",
        args.join(" "),
        url.replace(":seaworthy", "")
    );
    let status = Command::new(program)
        .args(args)
        .arg("local")
        .arg(url)
        .current_dir(&stage.dir)
        .env("XDG_STATE_HOME", stage.dir.join("state"))
        .status()?;
    println!();
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("coracle ended with {status}")))
    }
}

/// A directory of the demo's own, removed at the end.
struct Stage {
    dir: PathBuf,
}

impl Stage {
    fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("coracle-demo-{}", std::process::id()));
        fs::create_dir_all(dir.join("local"))?;
        fs::create_dir_all(dir.join("served"))?;
        Ok(Self { dir })
    }

    fn served(&self) -> PathBuf {
        self.dir.join("served")
    }

    fn write(&self, path: &str, content: &str) -> io::Result<()> {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
        fs::write(path, content)
    }

    /// The files below `top`, without coracle's own.
    fn list(&self, top: &str) -> io::Result<Vec<String>> {
        let top = self.dir.join(top);
        let mut files = Vec::new();
        let mut waiting = vec![top.clone()];
        while let Some(dir) = waiting.pop() {
            for entry in fs::read_dir(&dir)? {
                let path = entry?.path();
                let shown = path
                    .strip_prefix(&top)
                    .unwrap_or(&path)
                    .display()
                    .to_string();
                if path.is_dir() {
                    waiting.push(path);
                } else if !shown.contains(".pyftpsync-meta.json") {
                    files.push(shown);
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _it_is_only_a_temporary_directory = fs::remove_dir_all(&self.dir);
    }
}
