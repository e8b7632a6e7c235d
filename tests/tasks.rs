//! Task files: beside pyftpsync's own `run` on the same files, and as a user meets them.

#![cfg(feature = "yaml")]

mod support;

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;

use coracle::cli::{self, Invocation, Request};
use coracle::job::{Case, Delete, Direction, HostKeys, Location, Protection, Resolve, ServerPath};
use coracle::job::{DataMode, FtpLocation};
use coracle::login::Prompt;
use coracle::path::RelPath;
use coracle::screen::{Color, ShowProgress};
use coracle::tasks::{TaskFile, Work};
use support::ftp_server::{Config, FtpServer};
use support::program::{Place, content, put};
use support::servers::python;
use support::temp::TempDir;

/// A file, where `run` is called from, how, and what becomes of it.
struct Example {
    text: &'static str,
    below: &'static str,
    args: &'static [&'static str],
    expected: Expected,
}

enum Expected {
    /// Both programs understand the same.
    Same,
    /// Both refuse it, and coracle with these words.
    Refused(&'static str),
}
use Expected::{Refused, Same};

const fn example(text: &'static str, expected: Expected) -> Example {
    Example {
        text,
        below: "",
        args: &[],
        expected,
    }
}

const fn called(
    text: &'static str,
    below: &'static str,
    args: &'static [&'static str],
    expected: Expected,
) -> Example {
    Example {
        text,
        below,
        args,
        expected,
    }
}

/// As its documentation has it.
const DOCUMENTED: &str = "
# Configuration for pyftpsync
default_task: deploy_force

common_config:
  # Mandatory arguments
  command: 'upload'
  remote: 'ftp://www.example.com/my_project'
  local: .
  # Options: default values for optional parameters
  dry_run: false
  force: false
  match:
  exclude: .DS_Store,.git,.hg,.svn,*.egg-info
  no_color: false
  no_keyring: false
  no_netrc: false
  no_prompt: false
  no_verify_host_keys: false
  prompt: false
  verbose: 3
  progress: true
  resolve: ask

tasks:
  deploy:
    command: upload
    delete_unmatched: true
  deploy_force:
    command: 'upload'
    resolve: local
    delete: true
    force: true
  synchronize:
    command: sync
    resolve: ask
  clean:
    command: upload
    dry_run: true
    verbose: 4
";

const ANCHORS: &str = "
.shared: &shared {remote: \"ftps://me@nas:2121/a%20b\", exclude: [.git, '*.tmp']}
x-quiet: &quiet
  verbose: 2
tasks:
  one:
    <<: *shared
    command: download
  two:
    <<: [*quiet, *shared]
    exclude: []
    command: sync
    no_prompt: yes
";

const EXAMPLES: &[Example] = &[
    example(DOCUMENTED, Same),
    called(DOCUMENTED, "", &["deploy"], Same),
    called(DOCUMENTED, "", &["synchronize"], Same),
    called(DOCUMENTED, "", &["clean"], Same),
    called(DOCUMENTED, "", &["clean", "--execute"], Same),
    called(DOCUMENTED, "", &["clean", "--no-dry-run", "-v"], Same),
    called(
        DOCUMENTED,
        "",
        &["--dry-run", "--no-prompt", "--report-problems"],
        Same,
    ),
    called(DOCUMENTED, "", &["deploy", "-q"], Same),
    called(
        DOCUMENTED,
        "",
        &["nothing"],
        Refused("pyftpsync.yaml:25: there is no task 'nothing'; the file has deploy, deploy_force"),
    ),
    called(DOCUMENTED, "sub/deep", &[], Refused("--root syncs all of")),
    called(DOCUMENTED, "sub/deep", &["--root"], Same),
    called(DOCUMENTED, "sub/deep", &["--here"], Same),
    called(
        DOCUMENTED,
        "sub",
        &["--here", "--root"],
        Refused("exclude each other"),
    ),
    called(DOCUMENTED, "", &["--here"], Same),
    called(ANCHORS, "", &["one"], Same),
    called(ANCHORS, "", &["two"], Same),
    called(
        "tasks: {a: {command: sync, remote: /r, local: sub, root: true}}",
        "sub/deep",
        &["a"],
        Same,
    ),
    called(
        "tasks: {a: {command: sync, remote: /r, local: sub, root: true}}",
        "sub/deep",
        &["a", "--here"],
        Same,
    ),
    called(
        "tasks: {a: {command: sync, remote: /r, here: true}}",
        "sub/deep",
        &["a"],
        Same,
    ),
    // JSON, and a byte order mark.
    example(
        "\u{feff}{\"default_task\": \"a\", \"tasks\": {\"a\": {\"command\": \"upload\", \"remote\": \"/r\", \"create_folder\": true}}}",
        Same,
    ),
    example(
        "default_task: a\r\ntasks:\r\n  a:\r\n    command: upload\r\n    remote: sftp://me@nas/x # there\r\n    no_verify_host_keys: on\r\n",
        Same,
    ),
    example(
        "default_task: a\ncommon_config: {match: '*.a, *.b'}\ntasks: {a: {command: download, remote: /r, match: null}}",
        Same,
    ),
    example(
        "default_task: a\ntasks: {a: {command: download, remote: ftp://h, match: \"*.a, *.b\", ftp_active: 1, migrate: True}}",
        Same,
    ),
    example(
        "default_task: a\ntasks: {a: {command: sync, remote: ftp://h/x, resolve: new, case: strict, progress: ON, no_color: Yes}}",
        Same,
    ),
    example(
        "default_task: a\ntasks: {a: {command: upload, remote: ftp://me:p%40ss@h/x, prompt: true, no_keyring: true, no_netrc: true}}",
        Same,
    ),
    example(
        "default_task: a\ntasks:\n  a:\n    command: upload\n    remote: >-\n      /r\n    exclude:\n    - a*\n    - \"b'c\"\n",
        Same,
    ),
    example(
        "default_task: 2024\ntasks: {b: {}}",
        Refused("pyftpsync.yaml:1: there is no task '2024'; the file has b"),
    ),
    example(
        "default_task: a\ntasks: {a: {command: mirror, remote: /r}}",
        Refused("pyftpsync.yaml:2: command cannot be 'mirror': use one of upload, download, sync"),
    ),
    example(
        "default_task: a\ntasks:\n  a:\n    command: upload",
        Refused("pyftpsync.yaml:3: the task 'a' lacks the key 'remote'"),
    ),
    example(
        "default_task: a\ntasks:\n  a:\n    remote: /r",
        Refused("pyftpsync.yaml:3: the task 'a' lacks the key 'command'"),
    ),
    example(
        "default_task: a\ntasks:\n  a:\n    command: upload\n    remote: /r\n    exlude: x",
        Refused("pyftpsync.yaml:6: unknown key 'exlude'; did you mean 'exclude'?"),
    ),
    example(
        "default_task: a\ncommon_config:\n  dry-run: true\ntasks: {a: {command: upload, remote: /r}}",
        Refused("pyftpsync.yaml:3: unknown key 'dry-run'; did you mean 'dry_run'?"),
    ),
    example(
        "default_task: a\ntasks: {a: {command: upload, remote: /r, no_dry_run: true}}",
        Refused("write dry_run: false"),
    ),
    example(
        "default_task: a\ntasks: {a: {command: upload, remote: .}}",
        Refused("LOCAL and REMOTE are the same directory"),
    ),
    example(
        "default_task: a\ntasks:\n  a:\n  command: upload",
        Refused("the task 'a' lacks the key 'command'"),
    ),
    example(
        "default_task: a\ntasks: [a]",
        Refused("pyftpsync.yaml:2: tasks must be a map"),
    ),
    example(
        "default_task: a\ntasks:\n  a: {command: upload",
        Refused("this is no YAML"),
    ),
    example(
        "tasks: {a: {command: upload, remote: /r}}",
        Refused("there is no default_task; the file has a"),
    ),
    example(
        "default_task: a",
        Refused("pyftpsync.yaml:1: the key 'tasks' is missing"),
    ),
    example("", Refused("pyftpsync.yaml:1: the file is empty")),
    example(
        "tasks: {}\n---\ntasks: {}",
        Refused("pyftpsync.yaml:2: a second document"),
    ),
    example(
        "default_task: a\ntasks: {a: !python/object {command: upload}}",
        Refused("means nothing here"),
    ),
    example(
        "default_task: a\ntasks: {a: {<<: *b}}",
        Refused("this is no YAML"),
    ),
];

#[test]
fn run_understands_task_files_as_pyftpsync_does() {
    let dir = TempDir::new("examples");
    let mut asked = String::new();
    for (number, example) in EXAMPLES.iter().enumerate() {
        let root = dir.path().join(number.to_string());
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        fs::write(root.join("pyftpsync.yaml"), example.text).unwrap();
        let case = serde_json::json!({"here": root.join(example.below), "args": example.args});
        asked.push_str(&format!("{case}\n"));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/pyftpsync_run.py");
    let mut child = python()
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(asked.as_bytes()).unwrap();
    drop(stdin);
    let answers = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), EXAMPLES.len(), "{answers:#?}");
    for ((number, example), theirs) in EXAMPLES.iter().enumerate().zip(answers) {
        let here = dir.path().join(number.to_string()).join(example.below);
        let ours = understood(&here, example.args);
        let shown = format!(
            "{}\n{:?} in '{}'\n  theirs: {theirs}\n  ours:   {ours}",
            example.text, example.args, example.below
        );
        match example.expected {
            Same => assert_eq!(ours, theirs, "{shown}"),
            Refused(part) => assert!(
                theirs.starts_with("refused") && ours.starts_with("refused") && ours.contains(part),
                "{shown}"
            ),
        }
    }
}

/// What coracle makes of `run ARGS` in a directory, in the form of `pyftpsync_run.py`.
fn understood(here: &Path, args: &[&str]) -> String {
    let tasks =
        cli::parse(["run"].iter().chain(args).map(OsString::from)).and_then(
            |request| match request {
                Request::Tasks(request) => TaskFile::find(here)?.tasks(&request, here),
                other => panic!("{args:?}: {other:?}"),
            },
        );
    match tasks {
        Ok(tasks) => match &tasks[0].work {
            Work::Sync(invocation) => line(invocation),
            Work::Look(visiting) => format!("looks at {}", visiting.visit.target),
        },
        Err(error) => format!("refused {error}"),
    }
}

fn line(invocation: &Invocation) -> String {
    let Invocation {
        job, credentials, ..
    } = invocation;
    let policy = &job.policy;
    let is_ftp_active = job.limits.data == DataMode::Active;
    let anyone = matches!(&job.remote, Location::Sftp(sftp) if sftp.host_keys == HostKeys::Anyone);
    let on: Vec<&str> = [
        ("create_folder", job.create_folder),
        ("delete", policy.delete == Delete::Missing),
        ("delete_unmatched", policy.delete == Delete::Unmatched),
        ("dry_run", job.dry_run),
        ("force", policy.force),
        ("ftp_active", is_ftp_active),
        ("migrate", job.migrate),
        ("no_color", invocation.color == Color::Never),
        ("no_keyring", !credentials.keyring),
        ("no_netrc", !credentials.netrc),
        ("no_prompt", credentials.prompt == Prompt::Never),
        ("no_verify_host_keys", anyone),
        ("progress", invocation.progress == ShowProgress::Always),
        ("prompt", credentials.prompt == Prompt::Always),
        ("report_problems", invocation.report_problems),
    ]
    .into_iter()
    .filter_map(|(key, is_on)| is_on.then_some(key))
    .collect();
    let command = match job.direction {
        Direction::Upload => "upload",
        Direction::Download => "download",
        Direction::Sync => "sync",
    };
    let resolve = match policy.resolve {
        Resolve::Local => "local",
        Resolve::Remote => "remote",
        Resolve::Old => "old",
        Resolve::New => "new",
        Resolve::Both => "both",
        Resolve::Skip => "skip",
        Resolve::Ask => "ask",
    };
    let case = match policy.case {
        Case::Refuse => "-",
        Case::Strict => "strict",
        Case::Local => "local",
        Case::Remote => "remote",
    };
    format!(
        "{command} local={} remote={} match={} exclude={} resolve={resolve} case={case} verbose={} on={}",
        below(&job.local, &job.selection.only).display(),
        remote(
            &job.remote,
            credentials.user.as_deref(),
            &job.selection.only
        ),
        job.selection.matching.join(","),
        job.selection.excluded.join(","),
        invocation.verbosity.level(),
        on.join(",")
    )
}

/// A path without `.` and `..`, and the branch below it.
fn below(root: &Path, only: &RelPath) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in root.components() {
        match part {
            Component::ParentDir => assert!(plain.pop()),
            part => plain.push(part),
        }
    }
    if only.is_root() {
        plain
    } else {
        plain.join(only.to_string())
    }
}

fn remote(remote: &Location, user: Option<&str>, only: &RelPath) -> String {
    let url = |scheme: &str, host: &str, port: u16, path: &ServerPath| {
        let ServerPath::Absolute(path) = path else {
            panic!("no example begins in the login directory")
        };
        let path = below(&Path::new("/").join(path.to_string()), only);
        let path = if path == Path::new("/.") {
            "/".into()
        } else {
            path
        };
        format!(
            "{scheme}:{}:{host}:{port}:{}",
            user.unwrap_or_default(),
            path.display()
        )
    };
    match remote {
        Location::Path(path) => below(path, only).display().to_string(),
        Location::Ftp(FtpLocation {
            host,
            port,
            protection,
            path,
            ..
        }) => {
            let scheme = if *protection == Protection::Clear {
                "ftp"
            } else {
                "ftps"
            };
            url(scheme, host, *port, path)
        }
        Location::Sftp(sftp) => url("sftp", &sftp.host, sftp.port.unwrap_or(22), &sftp.path),
    }
}

/// What coracle refuses and pyftpsync does not, because it would do what nobody meant.
#[test]
fn what_nobody_can_have_meant_is_refused() {
    for (text, part) in [
        // pyftpsync deletes: the text is not empty.
        (
            "delete: \"no\"",
            "pyftpsync.yaml:6: delete is true or false, without quotes",
        ),
        (
            "exclude: a\n    exclude: b",
            "pyftpsync.yaml:7: the key 'exclude' is given twice, first in line 6",
        ),
        (
            "max_delete: 150%",
            "pyftpsync.yaml:6: max_delete cannot be '150%': use a number of files, or a share",
        ),
        (
            "connections: [4]\n    trash_days: 3",
            "pyftpsync.yaml:7: trash_days needs --trash",
        ),
        (
            "delete_ours: true\n    delete: true",
            "pyftpsync.yaml:6: delete_ours and delete exclude each other",
        ),
        (
            "resolve: remote",
            "pyftpsync.yaml:6: resolve: for this command use local, skip or ask",
        ),
        ("resolve: no", "resolve takes a value, and no is yes or no"),
        (
            "verbose: loud",
            "pyftpsync.yaml:6: verbose is a number from 0 to 6",
        ),
        (
            "match: {a: b}",
            "pyftpsync.yaml:6: match takes a value or a list of values",
        ),
        (
            "match:\n    - [a]",
            "pyftpsync.yaml:7: match takes a value or a list of values",
        ),
        (
            "password: hunter2",
            "pyftpsync.yaml:6: unknown key 'password'; did you mean 'password_file'?",
        ),
        (
            "local: ftp://me:hunter2@nas/",
            "pyftpsync.yaml:6: local must be a directory on this machine",
        ),
        (
            "local: ~/www",
            "pyftpsync.yaml:6: local: '~' is the shell's",
        ),
        ("all: true", "pyftpsync.yaml:6: unknown key 'all'"),
        (
            "pin: sha256:00",
            "pyftpsync.yaml:6: pin cannot be 'sha256:00'",
        ),
    ] {
        let place = Place::new("unmeant");
        put_task(
            &place,
            &format!(
                "default_task: a\ntasks:\n  a:\n    command: upload\n    remote: ftps://nas/x\n    {text}\n"
            ),
        );
        let refused = place
            .run(&["run"])
            .expect(2)
            .says_one_sentence()
            .complains(part);
        refused.hides("hunter2");
    }
    let place = Place::new("unmeant");
    for (text, part) in [
        (
            "comon_config: {dry_run: true}\ntasks: {a: {}}",
            "pyftpsync.yaml:1: unknown key 'comon_config'; did you mean 'common_config'?",
        ),
        (
            "tasks: {a: {command: upload, remote: ftp.example.org/www}}",
            "pyftpsync.yaml:1: remote: no directory of that name is here",
        ),
        (
            "tasks: {a: {command: upload, remote: 'ftp://me:hunter2@h:0/'}}",
            "pyftpsync.yaml:1: remote: the port in the URL",
        ),
    ] {
        put_task(&place, text);
        place
            .run(&["run", "a"])
            .expect(2)
            .says_one_sentence()
            .complains(part)
            .hides("hunter2");
    }
    put_task(&place, "tasks: {photos: {command: upload, remote: /r}}");
    place
        .run(&["run", "potos"])
        .expect(2)
        .complains("did you mean 'photos'?");
    fs::remove_file(place.path().join("pyftpsync.yaml")).unwrap();
    place
        .run(&["run"])
        .expect(2)
        .complains("there is no task file in")
        .complains("coracle.yaml, pyftpsync.yaml");
}

#[test]
fn a_task_runs_against_a_server_and_its_password_is_kept() {
    let place = Place::new("served");
    put(&place.local(), "index.html", b"page", 900);
    put(&place.local(), "notes.tmp", b"scratch", 900);
    let server = FtpServer::start(Config {
        user: Some("me".to_owned()),
        password: Some("hunter2".to_owned()),
        ..Config::serving(place.remote())
    });
    let address = server.addr();
    fs::write(place.path().join("secret"), "hunter2\n").unwrap();
    fs::set_permissions(
        place.path().join("secret"),
        PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    put_task(
        &place,
        &format!(
            "common_config: {{exclude: '*.tmp', local: local}}\ntasks:\n  up: {{command: upload, remote: 'ftp://me@{address}/', password_file: secret}}\n  open: {{command: upload, remote: 'ftp://me:hunter2@{address}/'}}\n"
        ),
    );
    place
        .run(&["run", "up"])
        .expect(0)
        .prints("Running task 'up' from pyftpsync.yaml")
        .prints("index.html")
        .hides("hunter2");
    assert_eq!(content(&place.remote(), "index.html"), "page");
    assert!(!place.remote().join("notes.tmp").exists());
    // What leaves out adds up.
    put(&place.local(), "notes.bak", b"scratch", 900);
    place
        .run(&["run", "open", "-x", "*.bak"])
        .expect(0)
        .complains("pyftpsync.yaml holds a password and others can read it")
        .hides("hunter2");
    assert!(
        !place.remote().join("notes.tmp").exists() && !place.remote().join("notes.bak").exists()
    );
    fs::set_permissions(
        place.path().join("pyftpsync.yaml"),
        PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let quiet = place.run(&["run", "open", "-q"]).expect(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn a_branch_goes_by_the_records_of_the_whole() {
    let place = Place::new("branch");
    put(&place.local(), "a/one", b"1", 900);
    put(&place.local(), "b/two", b"2", 900);
    put_task(
        &place,
        "default_task: all\ntasks: {all: {command: sync, local: local, remote: remote}}",
    );
    place.run(&["run"]).expect(0);
    fs::remove_file(place.local().join("a/one")).unwrap();
    fs::remove_file(place.local().join("b/two")).unwrap();
    let from = |dir: &Path, args: &[&str]| {
        let mut command = place.command(args);
        command.current_dir(dir);
        support::program::finish(command)
    };
    from(
        &place.local().join("a"),
        &["run", "--here", "--max-delete=9"],
    )
    .expect(0);
    assert!(!place.remote().join("a/one").exists() && place.remote().join("b/two").exists());
    // A link to the directory is the directory.
    symlink(place.local().join("b"), place.path().join("link")).unwrap();
    from(
        &place.path().join("link"),
        &["run", "--here", "--max-delete=9"],
    )
    .expect(0);
    assert!(!place.remote().join("b/two").exists());
    from(&place.home(), &["run", "--here"])
        .expect(2)
        .complains("this directory is not below");
}

#[test]
fn several_tasks_run_on_and_the_worst_code_is_told() {
    let place = Place::new("several");
    put(&place.local(), "x", b"x", 900);
    put_task(
        &place,
        "tasks:\n  gone: {command: upload, local: nowhere, remote: remote}\n  good: {command: upload, local: local, remote: other, create_folder: true}\n",
    );
    place
        .run(&["run", "--all"])
        .expect(2)
        .prints("Running task 'good'")
        .complains("nowhere");
    assert_eq!(content(&place.path().join("other"), "x"), "x");
    place.run(&["run", "good", "good"]).expect(0);
    // All are read before the first begins.
    fs::remove_file(place.path().join("other/x")).unwrap();
    place
        .run(&["run", "good", "bad"])
        .expect(2)
        .says_one_sentence();
    assert!(!place.path().join("other/x").exists());
}

#[test]
fn what_is_typed_wins_over_the_task_and_the_task_over_all() {
    let place = Place::new("wins");
    put(&place.local(), "a.jpg", b"a", 900);
    put(&place.local(), "b.png", b"b", 900);
    put_task(
        &place,
        "common_config: {delete: true, verbose: 6, local: local, no_remote_scan: true}\ntasks:\n  up: {command: upload, remote: remote, match: '*.jpg', dry_run: true, verbose: 2, delete_ours: true, quick_scan: true}\n  both: {command: sync, remote: remote, force: true}\n",
    );
    let dry = place.run(&["run", "up"]).expect(0);
    assert_eq!(dry.stdout, "");
    place
        .run(&["run", "up", "--match=*.png", "--execute", "--delete", "-v"])
        .expect(0)
        .prints("b.png");
    assert!(place.remote().join("b.png").exists() && !place.remote().join("a.jpg").exists());
    place
        .run(&["run", "both", "-q", "-v"])
        .expect(0)
        .prints("pyftpsync.yaml:4: force has no effect: neither side is the source");
}

#[test]
fn the_nearer_file_counts_and_none_is_copied() {
    let place = Place::new("nearer");
    put_task(&place, "nonsense");
    fs::write(
        place.path().join("coracle.yaml"),
        "tasks: {a: {command: upload, local: local, remote: remote}}",
    )
    .unwrap();
    fs::copy(
        place.path().join("coracle.yaml"),
        place.local().join("coracle.yaml"),
    )
    .unwrap();
    fs::copy(
        place.path().join("coracle.yaml"),
        place.local().join("pyftpsync.yaml"),
    )
    .unwrap();
    place
        .run(&["run", "a"])
        .expect(0)
        .prints("from coracle.yaml");
    assert_eq!(fs::read_dir(place.remote()).unwrap().count(), 0);
}

#[test]
fn no_command_is_run_for_a_file_that_anybody_may_have_written() {
    let place = Place::new("planted");
    put_task(
        &place,
        "tasks: {a: {command: upload, local: local, remote: 'ftp://me@127.0.0.1:1/', password_command: 'touch run'}}",
    );
    fs::set_permissions(
        place.path().join("pyftpsync.yaml"),
        PermissionsExt::from_mode(0o666),
    )
    .unwrap();
    place
        .run(&["run", "a"])
        .expect(2)
        .complains("password_command would run a command");
    assert!(!place.path().join("run").exists());
}

fn put_task(place: &Place, text: &str) {
    fs::write(place.path().join("pyftpsync.yaml"), text).unwrap();
}
