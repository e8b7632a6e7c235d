//! The program, run as a user runs it, and the commands that a server got from it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::support::servers::Server;
use crate::support::temp::TempDir;
use crate::tree::FROM_2039_NAME;

/// A user of the program: their home directory, which holds what it remembers of their roots.
pub(crate) struct User {
    home: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        Self {
            home: TempDir::new("home"),
        }
    }

    /// A directory of theirs, made if need be.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.home.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Runs `coracle COMMAND OPTIONS LOCAL REMOTE` to its end.
    pub(crate) fn run(&self, command: &str, options: &[&str], local: &Path, remote: &str) -> Run {
        self.start(command, options, local, remote).wait()
    }

    /// Starts `coracle COMMAND OPTIONS LOCAL REMOTE`.
    pub(crate) fn start(
        &self,
        command: &str,
        options: &[&str],
        local: &Path,
        remote: &str,
    ) -> Running {
        let child = Command::new(env!("CARGO_BIN_EXE_coracle"))
            .arg(command)
            .args(["--no-prompt", "--timeout", "20"])
            .args(options)
            .arg(local)
            .arg(remote)
            .env_clear()
            .env("HOME", self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        Running(child)
    }
}

/// A run that goes on.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn wait(self) -> Run {
        Run::of(self.0.wait_with_output().unwrap())
    }
}

/// A run that has ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("names are escaped"),
            stderr: String::from_utf8(output.stderr).expect("names are escaped"),
        }
    }

    /// Fails the test unless all was done.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.ends(0)
    }

    /// Fails the test unless this is the exit code.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Fails the test unless exactly so many files were copied.
    #[track_caller]
    pub(crate) fn wrote(self, files: usize) -> Self {
        let summary = self.stdout.lines().rfind(|line| line.contains(" Seen: "));
        let summary = summary.unwrap_or_else(|| panic!("nothing was summed up\n{self}"));
        let parts = summary.split(", ").flat_map(|part| part.split(": "));
        let copies = parts.filter(|part| part.contains(" up (") || part.contains(" down ("));
        let copied = copies.map(|part| {
            let (number, _) = part.split_once(' ').expect("a number begins each part");
            let number = number.replace(',', "").parse::<usize>();
            number.unwrap_or_else(|_| panic!("{part} has no number\n{self}"))
        });
        assert_eq!(
            copied.sum::<usize>(),
            files,
            "{files} files should have been written\n{self}"
        );
        self
    }
}

impl fmt::Display for Run {
    /// The end of what was printed: a failing run of a large tree prints a line for each file.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LINES: usize = 40;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES)..];
            writeln!(formatter, "--- {name}\n{}", last.join("\n"))?;
        }
        writeln!(formatter, "--- exit code {:?}", self.code)
    }
}

/// A place in a server's log of commands.
pub(crate) struct Mark(usize);

impl Mark {
    /// The end of the log as it is now.
    pub(crate) fn now(server: &Server) -> Self {
        Self(server.sessions().len())
    }

    /// The commands of each session that began since.
    pub(crate) fn since(&self, server: &Server) -> Vec<Vec<String>> {
        server.sessions().split_off(self.0)
    }
}

/// The files that each session may ask for the time of, to compare it with the listed one.
const ZONE_PROBES: usize = 8;

/// The word that a command begins with.
pub(crate) fn verb(command: &str) -> &str {
    command.split(' ').next().unwrap_or_default()
}

/// Fails the test if these sessions asked for anything but the listings of `dirs` directories.
///
/// `metadata` says how many files of records the server holds, each of which is read as well.
#[track_caller]
pub(crate) fn assert_only_listings(sessions: &[Vec<String>], dirs: usize, metadata: usize) {
    let excerpt = || {
        let lines: Vec<&str> = sessions.iter().flatten().map(String::as_str).collect();
        let shown = &lines[..lines.len().min(60)];
        format!("the commands began with:\n{}", shown.join("\n"))
    };
    let commands = || sessions.iter().flatten();
    let count = |wanted: &[&str]| {
        commands()
            .filter(|command| wanted.contains(&verb(command)))
            .count()
    };
    // A server that loses times gives files the time of their upload, told to the minute.
    let has_young_minutes = metadata > 0 && count(&["LIST"]) > 0;
    for command in commands() {
        let is_allowed = match verb(command) {
            "USER" | "PASS" | "FEAT" | "SYST" | "OPTS" | "CLNT" | "PWD" | "TYPE" => true,
            "EPSV" | "PASV" | "MLSD" | "LIST" | "QUIT" => true,
            // How a directory is listed by `LIST`, and how its times are seen to be in UTC.
            "CWD" | "MDTM" => count(&["LIST"]) > 0,
            // A question mark may stand for what the server cannot express; and a day to come, which is all that
            // `LIST` tells of such a time, proves nothing.
            // Where files have the time of their upload, a minute proves nothing right after it.
            "SIZE" => {
                command.contains('?') || command.ends_with(FROM_2039_NAME) || has_young_minutes
            }
            "RETR" => command.ends_with("/.pyftpsync-meta.json"),
            _ => false,
        };
        assert!(is_allowed, "{command} has no place here; {}", excerpt());
    }
    assert_eq!(count(&["MLSD", "LIST"]), dirs, "listings; {}", excerpt());
    // True times are read for what is new or changed alone.
    assert!(count(&["RETR"]) <= metadata, "metadata; {}", excerpt());
    assert!(
        count(&["MDTM"]) <= ZONE_PROBES * sessions.len() || has_young_minutes,
        "{}",
        excerpt()
    );
    assert!(count(&["TYPE"]) <= sessions.len(), "{}", excerpt());
}
