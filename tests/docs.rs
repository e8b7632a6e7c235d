//! What the pages say is so: links lead somewhere, and the session that README shows is what is seen.

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::ftp_server::{Config, FtpServer};
use support::program::put;
use support::temp::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages: path from the root of the project, and text.
fn pages() -> Vec<(PathBuf, String)> {
    let dirs = ["", "docs", "cross"];
    let found = dirs.iter().flat_map(|dir| {
        let entries = fs::read_dir(root().join(dir)).unwrap();
        entries.map(move |entry| Path::new(dir).join(entry.unwrap().file_name()))
    });
    let pages = found.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let read = pages.map(|path| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        (path, text)
    });
    read.collect()
}

/// The text without what is shown as code.
fn prose(text: &str) -> String {
    let parts = text.split("```").step_by(2);
    let inline = parts.flat_map(|part| part.split('`').step_by(2));
    inline.collect::<Vec<_>>().join("")
}

/// The names by which headings are linked to.
fn anchors(text: &str) -> HashSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let pages = pages();
    let mut checked = 0;
    for (path, text) in &pages {
        let prose = prose(text);
        for link in prose.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            let there = root().join(&target);
            assert!(there.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let text = fs::read_to_string(there).unwrap();
                assert!(
                    anchors(&text).contains(anchor),
                    "{}: {link}",
                    path.display()
                );
            }
            checked += 1;
        }
    }
    println!("{checked} links in {} pages", pages.len());
    assert!(checked >= 30, "{checked} links were found");
}

/// The lines between these marks.
fn block<'t>(text: &'t str, kind: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("```{kind}\n")).expect(kind);
    rest.split("```").next().unwrap()
}

#[test]
fn the_session_in_readme_is_what_is_seen() {
    const DAY_SECS: u64 = 86_400;
    let place = TempDir::new("readme");
    let (here, there) = (
        place.path().join("photos"),
        place.path().join("server/photos"),
    );
    fs::create_dir_all(&there).unwrap();
    for number in 0..210 {
        put(
            &here,
            &format!("{:02}/{number}.jpg", number % 11),
            "a picture",
            DAY_SECS,
        );
    }
    for name in ["old.txt", "notes.txt", "d/sea.jpg"] {
        put(&here, name, "as it was", DAY_SECS);
    }
    let server = FtpServer::start(Config::serving(place.path().join("server")));
    let url = format!("ftp://me@{}/photos", server.addr());
    let run = |command: &str| {
        let command = command.replace("ftp://me@nas/photos", &url);
        let mut program = Command::new(env!("CARGO_BIN_EXE_coracle"));
        program
            .args(command.split(' ').skip(1))
            .current_dir(place.path())
            .env("HOME", place.path())
            .env("CORACLE_PASSWORD", "x");
        String::from_utf8(program.output().unwrap().stdout).unwrap()
    };
    run("coracle sync photos ftp://me@nas/photos");
    put(&here, "d/photo.jpg", "x".repeat(1_258_291), 500);
    put(&here, "notes.txt", "changed here", 500);
    put(&there, "notes.txt", "and there", 400);
    fs::remove_file(there.join("old.txt")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut shown = block(&readme, "console").lines();
    let command = shown.next().unwrap();
    let seen = run(command.strip_prefix("$ ").unwrap())
        .replace(place.path().to_str().unwrap(), "/home/me")
        .replace(&url, "ftp://me@nas/photos");
    // How long it took is another matter.
    let timeless = |line: &str| match line.split_once(", in ") {
        Some((before, _)) if line.contains("Seen: ") => before.to_owned(),
        _ => line.to_owned(),
    };
    let seen: Vec<String> = seen.lines().map(timeless).collect();
    let shown: Vec<String> = shown.map(timeless).collect();
    assert_eq!(seen, shown, "{}", seen.join("\n"));
}
