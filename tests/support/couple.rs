//! A local and a remote tree that a test tells about in words, and on which it runs coracle and pyftpsync in turn.
//!
//! Trees are told as `file=content@time dir/file=content@time dir/`, the time in thousands of seconds since [`BEGINNING_SECS`].

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use coracle::side::{Side, Sides};

use super::servers::{self, Server};
use super::temp::TempDir;
use super::tree::{self, Node, TOLERANCE_SECS};

/// Time 0 of the words.
pub const BEGINNING_SECS: u64 = 1_600_000_000;
const TICK_SECS: u64 = 1000;

/// A time that no server's clock has reached: what is changed there is dated later than all uploads.
pub const LATER: &str = "500000";

/// One of both programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// This one.
    Coracle,
    /// The other one, as it comes.
    Pyftpsync,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// What it printed on both channels.
    pub said: String,
}

/// A local directory and its peer.
pub struct Couple {
    roots: Sides<PathBuf>,
    remote: String,
    is_served: bool,
    home: TempDir,
}

impl Couple {
    /// Two directories.
    pub fn of_directories() -> Self {
        let home = TempDir::new("couple");
        let remote = home.path().join("remote");
        let shown = remote
            .to_str()
            .expect("target/ has a UTF-8 path")
            .to_owned();
        Self::at(home, remote, shown, false)
    }

    /// A directory and one of that name on a server.
    pub fn on(server: &Server, name: &str) -> Self {
        Self::at(
            TempDir::new("couple"),
            server.root().join(name),
            server.url(name),
            true,
        )
    }

    fn at(home: TempDir, remote: PathBuf, shown: String, is_served: bool) -> Self {
        let local = home.path().join("local");
        fs::create_dir_all(&local).expect("target/tmp is ours");
        fs::create_dir_all(&remote).expect("target/tmp is ours");
        Self {
            roots: Sides::new(local, remote),
            remote: shown,
            is_served,
            home,
        }
    }

    /// The directory on disk that is synced on that side.
    pub fn root(&self, side: Side) -> &Path {
        self.roots.of(side)
    }

    /// Puts entries into the tree of that side.
    pub fn put(&self, side: Side, words: &str) {
        for word in words.split_whitespace() {
            let Some((path, rest)) = word.split_once('=') else {
                fs::create_dir_all(self.root(side).join(word)).expect("the name is free");
                continue;
            };
            let (content, time) = rest
                .split_once('@')
                .expect("a file is told as path=content@time");
            let path = self.root(side).join(path);
            fs::create_dir_all(path.parent().expect("it is below the root"))
                .expect("the name is free");
            fs::write(&path, content).expect("the name is free or a file");
            let time: u64 = time.parse().expect("a time is a number");
            let mtime = UNIX_EPOCH + Duration::from_secs(BEGINNING_SECS + time * TICK_SECS);
            let file = File::options()
                .append(true)
                .open(path)
                .expect("it was written");
            file.set_modified(mtime).expect("it is ours");
        }
    }

    /// Takes entries, with all below them, from the tree of that side.
    pub fn take(&self, side: Side, paths: &str) {
        for path in paths
            .split_whitespace()
            .map(|path| self.root(side).join(path))
        {
            if path.is_dir() {
                fs::remove_dir_all(path).expect("it is ours");
            } else {
                fs::remove_file(path).expect("it is there");
            }
        }
    }

    /// The tree of that side, in words.
    pub fn words(&self, side: Side) -> String {
        let tree = tree::read(self.root(side));
        let words = tree.iter().filter_map(|(path, node)| match node {
            Node::File { bytes, mtime } => {
                let content = String::from_utf8_lossy(bytes);
                let time = mtime
                    .saturating_add(TOLERANCE_SECS)
                    .saturating_sub(BEGINNING_SECS)
                    / TICK_SECS;
                Some(format!("{path}={content}@{time}"))
            }
            Node::Dir => {
                let inside = format!("{path}/");
                let is_empty = !tree.keys().any(|other| other.starts_with(&inside));
                is_empty.then_some(inside)
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Both sides hold exactly this.
    #[track_caller]
    pub fn assert_both(&self, words: &str) {
        self.assert_trees(words, words);
    }

    /// The local and the remote side hold exactly this.
    #[track_caller]
    pub fn assert_trees(&self, local: &str, remote: &str) {
        let found = Sides::new(self.words(Side::Local), self.words(Side::Remote));
        assert_eq!(
            (found.local.as_str(), found.remote.as_str()),
            (local, remote),
            "(local, remote)"
        );
    }

    /// Runs a command with its options; conflicts are skipped unless they say something else.
    pub fn run(&self, tool: Tool, args: &str) -> Ended {
        if self.is_served {
            tree::give(self.root(Side::Remote), servers::SERVER_UID);
        }
        let mut command = match tool {
            Tool::Coracle => Command::new(env!("CARGO_BIN_EXE_coracle")),
            Tool::Pyftpsync => servers::pyftpsync(),
        };
        command
            .args(args.split_whitespace())
            .args(["-v", "--no-color", "--no-prompt"]);
        if tool == Tool::Pyftpsync && self.root(Side::Local).join(".coracle").exists() {
            // It knows nothing of the archive, and would send it.
            command.arg("--exclude=.DS_Store,.git,.hg,.svn,.coracle");
        }
        if !args.contains("--resolve") {
            command.arg("--resolve=skip");
        }
        let output = command
            .arg(self.root(Side::Local))
            .arg(&self.remote)
            .env("HOME", self.home.path())
            .env_remove("XDG_STATE_HOME")
            .env_remove("CORACLE_PASSWORD")
            .stdin(Stdio::null())
            .output()
            .expect("the program is installed");
        Ended {
            code: output.status.code(),
            said: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        }
    }

    /// Runs a command that must end well.
    #[track_caller]
    pub fn expect(&self, tool: Tool, args: &str) -> Ended {
        let ended = self.run(tool, args);
        assert_eq!(ended.code, Some(0), "{tool:?} {args}: {}", ended.said);
        ended
    }
}
