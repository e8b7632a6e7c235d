//! FTPS: with the real servers, with bad certificates, and under attack.
#![cfg(any(feature = "tls-rustls", feature = "tls-native"))]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::servers::{Kind, Server};
use support::temp::TempDir;
use support::tls::{Variant, Version, authority};

#[test]
fn vsftpd_takes_and_gives_files() {
    for strict in [false, true] {
        for version in [Version::Tls12, Version::Tls13] {
            try_server(Variant {
                kind: Kind::Vsftpd,
                version: Some(version),
                strict,
            });
        }
    }
}

#[test]
fn proftpd_takes_and_gives_files() {
    try_versions(Kind::Proftpd);
}

#[test]
fn pure_ftpd_takes_and_gives_files() {
    if Kind::startable().contains(&Kind::PureFtpd) {
        try_versions(Kind::PureFtpd);
    }
}

#[test]
fn pyftpdlib_takes_and_gives_files() {
    try_versions(Kind::Pyftpdlib);
}

fn try_versions(kind: Kind) {
    for version in [Some(Version::Tls12), Some(Version::Tls13), None] {
        try_server(Variant {
            kind,
            version,
            strict: false,
        });
    }
}

/// Upload, a silent second run, sync both ways, download, with several connections.
fn try_server(variant: Variant) {
    println!("{variant:?}");
    let server = Server::start(variant.kind, variant.options(authority().good()));
    let remote = ftps(&server);
    let home = TempDir::new("local");
    let local = home.path().join("a");
    fs::create_dir_all(local.join("sub/deep")).unwrap();
    for number in 0..15 {
        fs::write(
            local.join(format!("sub/{number}")),
            format!("file {number}"),
        )
        .unwrap();
    }
    fs::write(local.join("empty"), "").unwrap();
    fs::write(local.join("sub/deep/large"), vec![b'x'; 3_000_000]).unwrap();
    let trust = format!("--ca-file={}", authority().file().display());
    let run = |command: &str, local: &Path| {
        let local = local.to_str().unwrap();
        let output = coracle(&[command, local, &remote, &trust, "-vvv"]);
        check(&output, variant);
        output
    };

    run("sync", &local);
    assert_eq!(tree(&local), tree(server.root()), "{variant:?}: uploaded");
    let second = run("sync", &local);
    let log = String::from_utf8_lossy(&second.stderr);
    for change in ["> STOR", "> DELE", "> RNFR", "> MKD"] {
        assert!(!log.contains(change), "{variant:?}: the second run: {log}");
    }

    fs::write(server.root().join("sub/theirs"), "from the server").unwrap();
    fs::write(local.join("sub/ours"), "from here").unwrap();
    fs::remove_file(local.join("sub/7")).unwrap();
    server.own_files();
    run("sync", &local);
    assert_eq!(tree(&local), tree(server.root()), "{variant:?}: synced");
    assert!(local.join("sub/theirs").exists() && !server.root().join("sub/7").exists());

    let copy = home.path().join("b");
    fs::create_dir(&copy).unwrap();
    run("download", &copy);
    assert_eq!(tree(&copy), tree(&local), "{variant:?}: downloaded");
}

/// That the run went well, over that version, with the session resumed where the server demands it.
fn check(output: &Output, variant: Variant) {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{variant:?}: {}",
        shown(output)
    );
    let log = String::from_utf8_lossy(&output.stderr);
    if let Some(version) = variant.version {
        let wanted = match version {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        };
        let other = ["TLSv1.2", "TLSv1.3"]
            .into_iter()
            .find(|name| *name != wanted)
            .unwrap();
        assert!(
            log.contains(wanted) && !log.contains(other),
            "{variant:?}: {log}"
        );
    }
    let full = log.matches(", not resumed").count();
    let sessions = log.matches("> AUTH TLS").count();
    if variant.demands_resumption() {
        assert!(
            full <= sessions,
            "{variant:?}: {full} full handshakes in {sessions} sessions"
        );
    }
    assert!(
        log.contains(", resumed") || variant.kind == Kind::PureFtpd,
        "{variant:?}: {log}"
    );
}

/// The server's URL with TLS.
fn ftps(server: &Server) -> String {
    server.url("").replacen("ftp://", "ftps://", 1)
}

fn coracle(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args(args)
        .args(["--no-netrc", "--no-prompt", "--timeout=20"])
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap()
}

fn shown(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// All files below, without what the program itself keeps there.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                waiting.push(path);
            } else if !name.starts_with(".pyftpsync") && !name.starts_with(".coracle") {
                let below = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(below, fs::read(&path).unwrap());
            }
        }
    }
    found
}
