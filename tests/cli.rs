//! The program as a user meets it: help, version, and how it refuses.

mod support;

use std::process::{Command, Output};

use support::ftp_server::{Config, FtpServer};
use support::program::{Place, Snapshot, content, put};

fn coracle(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args(args)
        .env_remove("CORACLE_PASSWORD")
        .env("HOME", "/nonexistent")
        .output()
        .expect("the program was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program prints UTF-8")
}

/// Exit code and message of a refusal, which prints nothing else.
fn refusal(args: &[&str]) -> (Option<i32>, String) {
    let output = coracle(args);
    assert_eq!(text(&output.stdout), "", "{args:?}");
    (output.status.code(), text(&output.stderr))
}

#[test]
fn version_is_printed_and_nothing_else() {
    let output = coracle(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        concat!("coracle ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn help_goes_to_the_output() {
    for args in [
        &["--help"][..],
        &["help"],
        &["upload", "-h"],
        &["download", "--help"],
        &["help", "sync"],
    ] {
        let output = coracle(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(text(&output.stdout).contains("Usage: coracle "), "{args:?}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn usage_errors_are_one_line_and_code_2() {
    for (args, message) in [
        (&[][..], "coracle: no command;"),
        (
            &["uplod", "a", "b"],
            "coracle: unknown command 'uplod'; did you mean 'upload'?",
        ),
        (
            &["sync", "a", "b", "--dryrun"],
            "coracle: unknown option '--dryrun'; did you mean '--dry-run'?",
        ),
        (
            &["sync", "a", "b", "--delete"],
            "coracle: sync has no --delete:",
        ),
        (
            &["sync", "a", "b", "--timeout", "x"],
            "coracle: --timeout cannot be 'x':",
        ),
        (&["sync", "a"], "coracle: REMOTE is missing:"),
        (
            &["sync", "a", "ftp://h:0/"],
            "coracle: the port in the URL is no number",
        ),
    ] {
        let (code, stderr) = refusal(args);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.starts_with(message), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn an_address_without_its_scheme_is_no_new_directory() {
    let place = Place::new("no-scheme");
    put(&place.local(), "f", "f", 60);
    for (typed, url) in [
        ("ftp.example.org/www", "ftp://ftp.example.org/www"),
        ("me:hunter2@nas:/www", "ftp://me@nas/www"),
        ("nas:www", "ftp://nas/~/www"),
    ] {
        for options in [&[][..], &["--create-folder"]] {
            let before = Snapshot::of(place.path());
            let ended = place.with("sync", typed, options).expect(2);
            ended.complains(url).hides("hunter2").says_one_sentence();
            assert_eq!(before, Snapshot::of(place.path()), "{typed}");
        }
    }
    // What is there, and what is a path for sure, is no address.
    for path in ["ftp.example.org/www", "./nas:www", "backup/www"] {
        let first = place.path().join("ftp.example.org");
        std::fs::create_dir_all(first).expect("a directory can be made");
        place.with("sync", path, &["--create-folder"]).expect(0);
        assert_eq!(content(&place.path().join(path), "f"), "f");
    }
}

#[test]
fn a_password_in_the_url_does_not_stay_in_the_list_of_processes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("a socket of ours");
    let place = Place::new("process-list");
    let url = format!(
        "ftp://me:hunter2@{}/",
        listener.local_addr().expect("it is bound")
    );
    let mut command = place.command(&["upload", "local", &url]);
    let quiet = std::process::Stdio::null;
    let mut child = command
        .stdout(quiet())
        .stderr(quiet())
        .spawn()
        .expect("the program was built");
    // Whoever has come this far has started long ago.
    while listener.accept().is_err() {
        let ended = child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "it ended without a word to the server");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let shown = std::fs::read(format!("/proc/{}/cmdline", child.id()));
    child.kill().expect("it is our child");
    child.wait().expect("it is our child");
    let shown = text(&shown.expect("it runs"));
    assert!(shown.contains("ftp://me:*******@127.0.0.1"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_missing_pattern_file_is_named() {
    let output = coracle(&[
        "sync",
        "/nonexistent/a",
        "/nonexistent/b",
        "--exclude-from=/nonexistent/list",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("reading patterns from /nonexistent/list: no such file"),
        "{stderr}"
    );
}

#[test]
fn a_user_without_a_password_is_told_how_to_give_one() {
    let output = coracle(&["sync", "/nonexistent/a", "ftp://me@127.0.0.1:1/"]);
    assert_eq!(output.status.code(), Some(7));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("no password for me@127.0.0.1; give it by --password-file"),
        "{stderr}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    use std::process::Stdio;
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args(["upload", "--help"])
        .stdout(Stdio::from(writer))
        .status()
        .expect("the program was built");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_login_directory_costs_no_session_of_its_own() {
    let place = Place::new("login-dir");
    put(&place.local(), "a", "a", 100);
    let server = FtpServer::start(Config::serving(place.remote()));
    let one = ["--connections", "1"];
    place.with("upload", &server.url("/~/"), &one).expect(0);
    assert_eq!(content(&place.remote(), "a"), "a");
    assert_eq!(server.connections(), 1);
}
