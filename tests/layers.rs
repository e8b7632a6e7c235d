//! Holds the house together: which module may use which, and where the outside world may be touched.
//!
//! Reads `src/` as text. A `use crate::…` against an arrow, a socket outside `net/` and `ftp/`, a file outside the few
//! places that own files, `unsafe` outside `system.rs`, a `println!` anywhere: each fails with the line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each top-level module may use, besides itself. Arrows go down only.
const ARROWS: [(&str, &[&str]); 16] = [
    ("main", &["run"]),
    ("lib", &[]),
    (
        "run",
        &[
            "cli", "error", "job", "login", "path", "replica", "screen", "side", "sync", "system",
            "time",
        ],
    ),
    (
        "cli",
        &[
            "error", "job", "login", // Only to say which TLS this build has.
            "net", "path", "screen", "side",
        ],
    ),
    ("login", &["error", "job", "path", "screen", "sftp"]),
    (
        "screen",
        &[
            "error", "job", "path", "replica", "side", "sync", "system", "time",
        ],
    ),
    ("sync", &["error", "job", "path", "replica", "side", "time"]),
    (
        "replica",
        &[
            "error", "ftp", "job", "net", "path", "sftp", "system", "time",
        ],
    ),
    ("sftp", &["error", "job", "path", "system"]),
    ("ftp", &["error", "job", "net", "path", "time"]),
    ("net", &["error", "job", "path", "system", "time"]),
    ("job", &["error", "path", "side"]),
    ("path", &[]),
    ("error", &[]),
    ("side", &[]),
    ("time", &[]),
];

/// `system` is the floor below the floor.
const SYSTEM: &[&str] = &["time", "path"];

/// Where files may be touched by path. Everything else goes through a replica's directory handles.
const FILES: [&str; 10] = [
    "src/replica/local.rs",
    "src/sync/journal.rs",
    "src/sync/register.rs",
    "src/sync/scratch.rs",
    "src/system.rs",
    "src/login/mod.rs",
    "src/cli/patterns.rs",
    "src/screen/terminal.rs",
    // The lists of trusted authorities.
    "src/net/tls/rustls.rs",
    "src/net/tls/native.rs",
];

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    allowed.insert("system", SYSTEM);
    for file in sources() {
        let module = top_module(&file.path);
        let may_use = allowed.get(module.as_str()).unwrap_or_else(|| {
            panic!(
                "{} belongs to no room of the house: name its arrows here",
                file.path
            )
        });
        for (number, used) in file.uses() {
            assert!(
                used == module || may_use.contains(&used.as_str()),
                "{}:{number}: `{module}` may not use `{used}`",
                file.path
            );
        }
    }
}

#[test]
fn sockets_are_opened_in_net_and_ftp_alone() {
    refuse("std::net::Tcp", |path| {
        path.starts_with("src/net/") || path.starts_with("src/ftp/")
    });
    refuse("TcpStream", |path| {
        path.starts_with("src/net/") || path.starts_with("src/ftp/")
    });
}

#[test]
fn files_are_opened_in_few_places() {
    refuse("std::fs", |path| FILES.contains(&path));
    refuse("File::open(", |path| FILES.contains(&path));
}

#[test]
fn only_the_report_prints() {
    for printing in ["println!(", "eprintln!(", "print!(", "dbg!("] {
        refuse(printing, |_| false);
    }
}

#[test]
fn unsafe_stays_in_system_and_in_the_hook_into_openssl() {
    refuse("unsafe ", |path| {
        path == "src/system.rs" || path == "src/net/tls/native.rs"
    });
}

#[test]
fn no_room_is_called_utils() {
    for file in sources() {
        for word in ["util", "helper", "manager", "common", "misc"] {
            assert!(!file.path.contains(word), "{} says nothing", file.path);
        }
    }
}

/// Fails on code (not comments, not tests) that holds `text` where `is_allowed` says no.
fn refuse(text: &str, is_allowed: impl Fn(&str) -> bool) {
    for file in sources() {
        if is_allowed(&file.path) {
            continue;
        }
        for (number, line) in file.code() {
            assert!(
                !line.contains(text),
                "{}:{number}: `{text}` does not belong here",
                file.path
            );
        }
    }
}

struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    /// The lines before the unit tests, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line))
    }

    /// The top-level modules that this file names after `crate::`.
    fn uses(&self) -> impl Iterator<Item = (usize, String)> {
        self.code().flat_map(|(number, line)| {
            line.match_indices("crate::").map(move |(at, found)| {
                let rest = &line[at + found.len()..];
                let end = rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                (number, rest[..end].to_owned())
            })
        })
    }
}

fn top_module(path: &str) -> String {
    let below = path.strip_prefix("src/").expect("sources lie in src/");
    let first = below.split('/').next().expect("a path has a first part");
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

fn sources() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut waiting = vec![root.join("src")];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).expect("src/ can be listed") {
            let path: PathBuf = entry.expect("src/ can be listed").path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("sources can be read");
                let path = path
                    .strip_prefix(root)
                    .expect("below the root")
                    .display()
                    .to_string();
                files.push(SourceFile { path, text });
            }
        }
    }
    assert!(files.len() > 30, "found only {} sources", files.len());
    files
}
