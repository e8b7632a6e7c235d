//! The program itself, run as a user would run it, with a home of its own and nobody at the terminal.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::temp::TempDir;

/// No run of a test takes longer, on a loaded machine either; one that does hangs.
const LONGEST_RUN: Duration = Duration::from_secs(120);

/// A directory with a local root, a place for the remote one, and a home for the program.
pub struct Place {
    dir: TempDir,
}

/// What a run came to.
pub struct Ended {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// The library that tells a program another time; `tests/run` installs it.
pub fn faketime() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let library = target.join("servers/lib/libfaketimeMT.so.1");
    assert!(
        library.exists(),
        "libfaketime is not installed; run tests/run --install-only"
    );
    library
}

impl Place {
    /// Makes `local`, `remote` and `home`, all empty.
    pub fn new(name: &str) -> Self {
        let dir = TempDir::new(name);
        for part in ["local", "remote", "home"] {
            fs::create_dir(dir.path().join(part)).expect("a new directory can be made");
        }
        Self { dir }
    }

    /// The place itself.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The local root.
    pub fn local(&self) -> PathBuf {
        self.dir.path().join("local")
    }

    /// The other directory, as a remote root or to be served.
    pub fn remote(&self) -> PathBuf {
        self.dir.path().join("remote")
    }

    /// Where the program keeps what belongs to no root.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Both roots, byte for byte.
    pub fn snapshot(&self) -> (Snapshot, Snapshot) {
        (Snapshot::of(&self.local()), Snapshot::of(&self.remote()))
    }

    /// The program with a command and options, its surroundings those of this place.
    pub fn command(&self, arguments: &[&str]) -> Command {
        // What a shell in the background or nohup makes ignored stays so, and some tests send such signals.
        let mut command = Command::new("env");
        command
            .args(["--default-signal", env!("CARGO_BIN_EXE_coracle")])
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home())
            .env("XDG_STATE_HOME", self.home().join("state"))
            .stdin(Stdio::null());
        command
    }

    /// Gives another command the surroundings that the program has here, and nothing else of its own.
    pub fn surround<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let as_run = self.command(&[]);
        let environment = as_run.get_envs();
        command
            .current_dir(self.path())
            .env_clear()
            .envs(environment.filter_map(|(name, value)| Some((name, value?))))
    }

    /// Runs `coracle ARGUMENTS`.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        finish(self.command(arguments))
    }

    /// Runs `coracle COMMAND local remote OPTIONS`.
    pub fn between(&self, command: &str, options: &[&str]) -> Ended {
        self.with(command, "remote", options)
    }

    /// Runs `coracle COMMAND local URL OPTIONS`.
    pub fn with(&self, command: &str, url: &str, options: &[&str]) -> Ended {
        self.run(&[&[command, "local", url], options].concat())
    }
}

impl Ended {
    /// Fails unless the program ended with this code; then everything it said is shown.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Fails unless this was said on standard error.
    #[track_caller]
    pub fn complains(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no \"{part}\" in {self}");
        self
    }

    /// Fails unless this was printed.
    #[track_caller]
    pub fn prints(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "no \"{part}\" in {self}");
        self
    }

    /// Fails if either output holds this.
    #[track_caller]
    pub fn hides(self, secret: &str) -> Self {
        assert!(
            !self.stdout.contains(secret) && !self.stderr.contains(secret),
            "\"{secret}\" in {self}"
        );
        self
    }

    /// Fails unless standard error is one line in the user's words.
    #[track_caller]
    pub fn says_one_sentence(self) -> Self {
        assert_eq!(self.stderr.lines().count(), 1, "{self}");
        self.reads_as_prose()
    }

    /// Fails if the complaint shows the program's insides.
    #[track_caller]
    pub fn reads_as_prose(self) -> Self {
        for inside in [
            "panicked",
            "RUST_BACKTRACE",
            "os error",
            "Err(",
            "Os {",
            "src/",
        ] {
            assert!(!self.stderr.contains(inside), "\"{inside}\" in {self}");
        }
        self
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit code {:?} after {:?}\n--- output\n{}--- errors\n{}",
            self.code, self.took, self.stdout, self.stderr
        )
    }
}

/// Runs a shell command where file systems can be mounted, seen by nobody else. `$0` is the program.
pub fn with_mounts(place: &Place, script: &str) -> Ended {
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args([
        "--mount",
        "sh",
        "-ec",
        script,
        env!("CARGO_BIN_EXE_coracle"),
    ]);
    place.surround(&mut command).stdin(Stdio::null());
    finish(command)
}

/// Runs a command to its end. One that hangs is killed and fails the test.
pub fn finish(mut command: Command) -> Ended {
    let started = Instant::now();
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built");
    wait(child, started)
}

/// Waits for a child whose outputs are pipes.
pub fn wait(mut child: Child, started: Instant) -> Ended {
    let drain = |stream: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                stream.read_to_end(&mut bytes).expect("a pipe can be read");
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = drain(child.stdout.take().map(|stream| Box::new(stream) as _));
    let stderr = drain(child.stderr.take().map(|stream| Box::new(stream) as _));
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break Some(status);
        }
        if started.elapsed() > LONGEST_RUN {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let took = started.elapsed();
    let Output { stdout, stderr, .. } = Output {
        status: status.unwrap_or_default(),
        stdout: stdout.join().expect("the reader does not panic").into(),
        stderr: stderr.join().expect("the reader does not panic").into(),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it was text a line ago");
    let ended = Ended {
        code: status.and_then(|status| status.code()),
        stdout: text(stdout),
        stderr: text(stderr),
        took,
    };
    assert!(status.is_some(), "it hangs: {ended}");
    ended
}

/// Writes a file, with the directories above it, and gives it a time so many seconds ago.
pub fn put(root: &Path, path: &str, content: impl AsRef<[u8]>, age_secs: u64) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("the root is above it"))
        .expect("directories can be made");
    fs::write(&path, content).expect("a file can be written");
    let mtime = SystemTime::now() - Duration::from_secs(age_secs);
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(mtime))
        .expect("our own file takes a time");
}

/// What is in a file.
#[track_caller]
pub fn content(root: &Path, path: &str) -> String {
    let bytes = fs::read(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All that is below a directory, coracle's own files included: types, bytes and times.
#[derive(PartialEq, Eq, Clone)]
pub struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    /// Looks at all of it; a directory that is not there holds nothing.
    pub fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        collect(root, "", &mut entries);
        Self(entries)
    }

    /// The paths, without what coracle keeps for itself.
    pub fn names(&self) -> Vec<&str> {
        let own = |path: &&str| {
            !path
                .split('/')
                .any(|name| name.starts_with(".pyftpsync") || name.starts_with(".coracle"))
        };
        self.0.keys().map(String::as_str).filter(own).collect()
    }

    /// The paths of files that coracle or pyftpsync keeps for itself.
    pub fn own_names(&self) -> Vec<&str> {
        let users = self.names();
        let all = self.0.keys().map(String::as_str);
        all.filter(|path| !users.contains(path)).collect()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

fn collect(dir: &Path, prefix: &str, entries: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = String::from_utf8_lossy(OsStr::as_bytes(&entry.file_name())).into_owned();
        let path = format!("{prefix}{name}");
        let status = entry.metadata().expect("what is listed is there");
        if status.is_dir() {
            entries.insert(path.clone(), "dir".to_owned());
            collect(&entry.path(), &format!("{path}/"), entries);
        } else {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            let shown: String = String::from_utf8_lossy(&bytes).chars().take(400).collect();
            let at = format!("{}.{:09}", status.mtime(), status.mtime_nsec());
            entries.insert(path, format!("{} bytes @{at}: {shown}", bytes.len()));
        }
    }
}
