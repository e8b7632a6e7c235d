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

// What is told

const DAY_SECS: u64 = 86_400;

/// Two directories in step, of which one file each was changed, deleted and added since.
fn changed() -> Place {
    let place = Place::new("told");
    for name in ["same", "edited", "d/gone"] {
        put(&place.local(), name, "before", DAY_SECS);
    }
    place.between("sync", &[]).expect(0);
    put(&place.local(), "edited", "longer than before", 500);
    put(&place.remote(), "d/new", "new", 500);
    std::fs::remove_file(place.local().join("d/gone")).unwrap();
    place
}

#[test]
fn a_dry_run_says_would_and_counts_what_the_run_does() {
    let place = changed();
    let before = place.snapshot();
    let dry = place.between("sync", &["-n"]).expect(0);
    assert_eq!(place.snapshot(), before);
    let lines = [
        "copy modified    -> edited",
        "copy new         <- d/new",
        "delete missing   -> d/gone",
    ];
    let told = "1 file up (18 bytes), 1 file down (3 bytes), 1 file deleted; no errors. Seen: ";
    let ended = lines
        .iter()
        .fold(dry, |dry, line| dry.prints(&format!("\nwould {line}\n")));
    ended
        .prints(&format!("To be done: {told}"))
        .prints("Dry run, nothing is changed: ");
    let done = place.between("sync", &[]).expect(0);
    let done = lines
        .iter()
        .fold(done, |done, line| done.prints(&format!("\n{line}\n")));
    done.prints(&format!("Done: {told}"));
    place
        .between("sync", &[])
        .expect(0)
        .prints("Nothing to do; no errors. Seen: 3 files, 1 directory, in ");
}

#[test]
fn decisions_have_their_reasons_and_classes_their_facts() {
    let place = changed();
    place
        .between("sync", &["-n", "-vv"])
        .expect(0)
        .prints(
            "  edited: local modified, remote unmodified: it is copied to the remote side, for the local side changed it, \
             and the remote one did not\n",
        )
        .prints("  same: local unmodified, remote unmodified: nothing is done, for ");
    let classes = place
        .between("sync", &["-n", "-v", "--debug", "classify"])
        .expect(0);
    assert!(!classes.stdout.contains(", for "), "{classes}");
    classes
        .prints(", 18 bytes; modified\n    remote    ")
        .prints("\n    recorded  ");
}

#[test]
fn explain_tells_of_one_entry_and_changes_nothing() {
    let place = changed();
    let before = place.snapshot();
    let explain = |path: &str| place.run(&["explain", "local", "remote", path]);
    explain("edited")
        .expect(0)
        .prints("edited\n  local     ")
        .prints(", 18 bytes; modified\n  remote    ")
        .prints(", 6 bytes; unmodified\n  recorded  ")
        .prints("\nsync: it is copied to the remote side, for the local side changed it")
        .prints("\nupload: it is copied to the remote side, ")
        .prints("\ndownload: it is left alone, ");
    explain("d/gone")
        .expect(0)
        .prints("  local     nothing; deleted\n")
        .prints("\nsync: it is deleted on the remote side, for the local side deleted it");
    explain("d")
        .expect(0)
        .prints("  local     a directory; unmodified\n");
    explain("no/where")
        .expect(2)
        .complains("the branch no is on neither side");
    explain("nowhere")
        .expect(0)
        .prints("nowhere is on neither side, and nothing is recorded");
    let filtered = ["explain", "local", "remote", "same", "-x", "sa*"];
    place
        .run(&filtered)
        .expect(0)
        .prints("upload, download, sync: it is left alone, for the filter");
    assert_eq!(place.snapshot(), before);
    let (code, said) = refusal(&["explain", "local", "remote"]);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("coracle: PATH is missing:"), "{said}");
}

#[test]
fn a_host_that_is_not_there_is_told_once() {
    let place = Place::new("no-host");
    let ended = place.with("upload", "ftp://no.such.host.invalid/x", &["--no-prompt"]);
    let ended = ended.expect(6).says_one_sentence();
    let told = "coracle: looking up no.such.host.invalid: ";
    assert!(ended.stderr.starts_with(told), "{ended}");
    assert!(!ended.stderr.contains("lookup"), "{ended}");
}
