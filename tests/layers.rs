//! Holds the house together: which module may use which, and where the outside world may be touched.
//!
//! Reads `src/` as text, every line of every file but comments and tests. A `crate::…` against an arrow, a socket outside `net/`
//! and `ftp/`, a file outside the few places that own files, `unsafe` outside `system/`, a `println!` outside `screen/`: each
//! fails with the line.

use std::fs;
use std::path::{Path, PathBuf};

/// What each top-level module may use, besides itself. Arrows go down only.
const HOUSE: [(&str, &[&str]); 22] = [
    ("main", &["run"]),
    ("lib", &["program", "run"]),
    (
        "program",
        &[
            "cli", "error", "job", "login", "net", "path", "replica", "run", "screen", "sync",
            "system", "tasks",
        ],
    ),
    (
        "tasks",
        &["cli", "error", "job", "path", "screen", "system"],
    ),
    (
        "run",
        &[
            "error", "job", "net", "path", "replica", "side", "survey", "sync", "time",
        ],
    ),
    (
        "survey",
        &[
            "error", "job", "path", "replica", "side", "sync", "system", "time", "words",
        ],
    ),
    (
        "cli",
        &[
            "error", "job", "login", // Only to say which TLS this build has.
            "net", "path", "screen", "side", "words",
        ],
    ),
    (
        "login",
        &[
            "error", "job", "path", "process", "screen", "sftp", "system",
        ],
    ),
    (
        "screen",
        &[
            "error", "job", "path", "replica", "side", "sync", "system", "time", "words",
        ],
    ),
    (
        "sync",
        &["error", "job", "path", "replica", "side", "system", "time"],
    ),
    (
        "replica",
        &[
            "error", "ftp", "job", "net", "path", "sftp", "system", "time",
        ],
    ),
    ("sftp", &["error", "job", "path", "process", "system"]),
    ("ftp", &["error", "job", "net", "path", "time"]),
    ("net", &["error", "job", "path", "system", "time"]),
    ("job", &["error", "path", "side"]),
    ("path", &[]),
    ("error", &[]),
    ("side", &[]),
    ("time", &[]),
    ("words", &["system", "time"]),
    ("process", &["system"]),
    // The floor below the floor.
    ("system", &["path", "time"]),
];

/// The same within `sync/`: mod ▸ carry ▸ plan ▸ look ▸ record, and what all of them speak of.
const SYNC: [(&str, &[&str]); 7] = [
    (
        "mod",
        &["carry", "event", "look", "plan", "record", "workers"],
    ),
    ("carry", &["event", "look", "plan", "record", "workers"]),
    ("plan", &["event", "look", "record", "workers"]),
    ("look", &["record", "workers"]),
    ("record", &[]),
    // What is told and asked is told in the words of the plan.
    ("event", &["plan", "record"]),
    ("workers", &[]),
];

/// Where files may be touched by path. Everything else goes through a replica's directory handles.
const FILES: [&str; 10] = [
    "src/replica/local",
    // Reads again what a source has handed over, by its descriptor.
    "src/replica/ftp/write.rs",
    "src/sync/record/",
    "src/system/",
    "src/login/",
    "src/cli/patterns.rs",
    "src/tasks/mod.rs",
    "src/screen/terminal.rs",
    // The lists of trusted authorities.
    "src/net/tls/rustls.rs",
    "src/net/tls/native.rs",
];

#[test]
fn modules_use_only_what_lies_below_them() {
    for file in sources() {
        let module = room(&file.path, "src/");
        file.hold_to(&HOUSE, &module, "crate::");
    }
}

#[test]
fn within_sync_arrows_go_down_only() {
    for file in sources() {
        if file.path.starts_with("src/sync/") {
            let module = room(&file.path, "src/sync/");
            file.hold_to(&SYNC, &module, "crate::sync::");
        }
    }
}

#[test]
fn what_is_above_sync_uses_its_words_and_not_its_parts() {
    for file in sources() {
        let module = room(&file.path, "src/");
        let may_use: &[&str] = match module.as_str() {
            "run" => &["event", "plan", "record", "workers"],
            "program" | "screen" => &["event", "plan", "record", "workers"],
            "survey" => &["carry", "event", "look", "record", "workers"],
            _ => &[],
        };
        if module == "sync" {
            continue;
        }
        for (number, used) in file.names_after("crate::sync::") {
            assert!(
                may_use.contains(&used.as_str()),
                "{}:{number}: `{module}` may not use `sync::{used}`",
                file.path
            );
        }
    }
}

#[test]
fn sockets_are_opened_in_net_and_ftp_alone() {
    for text in ["std::net", "TcpStream", "TcpListener"] {
        refuse(text, &["src/net/", "src/ftp/"]);
    }
}

#[test]
fn files_are_opened_in_few_places() {
    for text in ["std::fs", "File::open(", "File::options("] {
        refuse(text, &FILES);
    }
}

#[test]
fn only_the_report_prints() {
    for printing in ["println!(", "eprintln!(", "print!(", "dbg!("] {
        refuse(printing, &["src/screen/"]);
    }
}

#[test]
fn unsafe_stays_in_system_and_in_the_hook_into_openssl() {
    refuse("unsafe ", &["src/system/", "src/net/tls/native.rs"]);
}

/// On 32-bit machines they end at once, and a whole core is burnt while one waits (`system::Bell`).
#[test]
fn nothing_waits_for_a_limited_time_by_std() {
    for wait in ["wait_timeout", "recv_timeout", "park_timeout"] {
        refuse(wait, &[]);
    }
}

#[test]
fn tests_are_left_out_and_what_follows_them_is_not() {
    let file = SourceFile {
        path: "src/x.rs".to_owned(),
        text: "use a;\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n// c\nuse b;\n#[cfg(test)]\nuse t;\nuse c;\n"
            .to_owned(),
    };
    assert_eq!(file.code(), [(1, "use a;"), (7, "use b;"), (10, "use c;")]);
}

#[test]
fn no_room_is_called_utils() {
    for file in sources() {
        for word in ["util", "helper", "manager", "common", "misc"] {
            assert!(!file.path.contains(word), "{} says nothing", file.path);
        }
    }
}

/// Fails on code (not comments, not tests) that holds `text` outside these places.
fn refuse(text: &str, allowed: &[&str]) {
    for file in sources() {
        if allowed.iter().any(|place| file.path.starts_with(place)) {
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
    /// All lines but comments, and items that are compiled for tests alone.
    fn code(&self) -> Vec<(usize, &str)> {
        let mut code = Vec::new();
        let mut lines = self.text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            let inner = line.trim_start();
            let indent = &line[..line.len() - inner.len()];
            if inner.starts_with("#[cfg(test)]") {
                // The item ends with its closing brace, as far out as it began, or with the line itself.
                let ends = |line: &str| {
                    let rest = line.strip_prefix(indent);
                    rest.is_some_and(|rest| {
                        rest == "}" || (!rest.starts_with(' ') && rest.ends_with(';'))
                    })
                };
                lines.by_ref().find(|(line, _)| ends(line));
            } else if !inner.starts_with("//") {
                code.push((number, line));
            }
        }
        code
    }

    /// The names that stand after `path` in this file.
    fn names_after(&self, path: &str) -> Vec<(usize, String)> {
        let code = self.code();
        let name_at = |line: &str, at: usize| {
            let rest = &line[at..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            rest[..end.unwrap_or(rest.len())].to_owned()
        };
        let mut names: Vec<(usize, String)> = code
            .iter()
            .flat_map(|(number, line)| {
                let found = line.match_indices(path);
                found.map(|(at, _)| (*number, name_at(line, at + path.len())))
            })
            .collect();
        names.retain(|(_, name)| !name.is_empty());
        // `use crate::sync::{self, carry};`
        for (number, line) in code {
            for (at, _) in line.match_indices(&format!("{path}{{")) {
                let list = &line[at + path.len() + 1..];
                let list = list.split('}').next().unwrap_or(list);
                let each = list.split(',').map(|part| name_at(part.trim_start(), 0));
                names.extend(
                    each.filter(|name| name != "self" && name.starts_with(char::is_lowercase))
                        .map(|name| (number, name)),
                );
            }
        }
        // Types and functions of the module itself are no modules.
        names.retain(|(_, name)| name.starts_with(char::is_lowercase));
        names
    }

    fn hold_to(&self, house: &[(&str, &[&str])], module: &str, path: &str) {
        let Some((_, may_use)) = house.iter().find(|(name, _)| *name == module) else {
            panic!(
                "{} belongs to no room of the house: name its arrows here",
                self.path
            );
        };
        for (number, used) in self.names_after(path) {
            let is_room = house.iter().any(|(name, _)| *name == used);
            assert!(
                !is_room || used == module || may_use.contains(&used.as_str()),
                "{}:{number}: `{module}` may not use `{used}`",
                self.path
            );
        }
    }
}

/// The room that a file is in: the first part of its path below `house`.
fn room(path: &str, house: &str) -> String {
    let below = path.strip_prefix(house).expect("it lies there");
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
