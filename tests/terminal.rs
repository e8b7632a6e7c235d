//! The program on a terminal: conflicts resolved by a key, the progress line, the password prompt. And without one.

mod support;

use std::fs;

use support::ftp_server::{Config, FtpServer};
use support::program::{Place, Snapshot, content, put};
use support::terminal::Terminal;

const DAY_SECS: u64 = 86_400;

/// Ends what the dialogue asks.
const ASKED: &str = "?] ";

/// Syncs what is in conflict, at a terminal of 80 columns.
fn sync(place: &Place) -> Terminal {
    Terminal::start(place, &["sync", "local", "remote", "--no-color"], 80)
}

/// Waits for the question about that file and answers it.
fn answer(terminal: Terminal, name: &str, keys: &str) -> Terminal {
    terminal
        .expect(&format!(": {name}\r\n"))
        .expect(ASKED)
        .send(keys)
}

/// Two directories in which these files were changed on both sides, the remote one later.
fn in_conflict(files: &[&str]) -> Place {
    let place = Place::new("terminal");
    for file in files {
        put(&place.local(), file, "before", DAY_SECS);
    }
    place.between("sync", &[]).expect(0);
    for file in files {
        put(&place.local(), file, "local", 5000);
        put(&place.remote(), file, "remote", 1000);
    }
    place
}

/// What a file holds on both sides.
fn both(place: &Place, file: &str) -> (String, String) {
    (
        content(&place.local(), file),
        content(&place.remote(), file),
    )
}

fn on_both(text: &str) -> (String, String) {
    (text.to_owned(), text.to_owned())
}

// Conflicts

#[test]
fn each_key_resolves_one_conflict() {
    let place = in_conflict(&["a", "b", "c", "d", "e", "f"]);
    let mut terminal = sync(&place);
    for (file, key) in [
        ("a", "l"),
        ("b", "r"),
        ("c", "o"),
        ("d", "n"),
        ("e", "s"),
        ("f", "B"),
    ] {
        terminal = answer(terminal, file, key);
    }
    terminal.finish().expect(0);
    assert_eq!(both(&place, "a"), on_both("local"));
    assert_eq!(both(&place, "b"), on_both("remote"));
    assert_eq!(both(&place, "c"), on_both("local"));
    assert_eq!(both(&place, "d"), on_both("remote"));
    assert_eq!(both(&place, "e"), ("local".to_owned(), "remote".to_owned()));
    assert_eq!(both(&place, "f"), on_both("remote"));
    let (local, remote) = place.snapshot();
    for side in [local, remote] {
        let kept = side
            .names()
            .iter()
            .filter(|name| name.starts_with("f.conflict-"))
            .count();
        assert_eq!(kept, 1, "{side:?}");
    }
}

#[test]
fn an_answer_for_all_that_follow_takes_a_second_key() {
    for (key, expected) in [
        ("l", on_both("local")),
        ("r", on_both("remote")),
        ("o", on_both("local")),
        ("n", on_both("remote")),
        ("s", ("local".to_owned(), "remote".to_owned())),
    ] {
        let place = in_conflict(&["a", "b", "d/c"]);
        let ended = answer(sync(&place), "a", "s");
        let ended = answer(ended, "b", &format!("a{key}")).finish().expect(0);
        assert_eq!(ended.stdout.matches(ASKED).count(), 2, "{ended}");
        assert_eq!(both(&place, "b"), expected, "{key}");
        assert_eq!(both(&place, "d/c"), expected, "{key}");
    }
}

#[test]
fn a_capital_letter_holds_for_one_conflict() {
    let place = in_conflict(&["a", "b"]);
    let terminal = answer(sync(&place), "a", "L");
    answer(terminal, "b", "R").finish().expect(0);
    assert_eq!(both(&place, "a"), on_both("local"));
    assert_eq!(both(&place, "b"), on_both("remote"));
}

#[test]
fn conflicts_of_all_directories_are_counted_before_the_first_is_asked() {
    let place = in_conflict(&["a", "d/b", "d/e/c"]);
    let mut terminal = sync(&place);
    for (number, file) in ["a", "d/b", "d/e/c"].into_iter().enumerate() {
        terminal = terminal.expect(&format!("Conflict {} of 3: {file}\r\n", number + 1));
        terminal = terminal.expect(ASKED).send("s");
    }
    terminal.finish().expect(0).prints("3 conflicts skipped");
}

#[test]
fn the_question_shows_both_files_and_what_each_key_comes_to() {
    let place = in_conflict(&["a"]);
    let terminal = sync(&place).expect(ASKED);
    let screen = terminal.look();
    for part in [
        "Conflict 1 of 1: a\n  changed on both sides since they were last in step\n",
        "5 bytes  older, smaller\n",
        "6 bytes  newer, larger\n",
        "  last in step  ",
        "\n  l  local    the local file replaces the remote one\n",
        "\n  n  newer    the remote file replaces the local one\n",
        "\nWhich? [l r o n b s d q ?]",
    ] {
        assert!(screen.contains(part), "no {part:?} in\n{screen}");
    }
    terminal.send("s").finish().expect(0);
}

#[test]
fn times_in_questions_are_those_of_this_machine() {
    let place = in_conflict(&["a"]);
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let file = fs::File::options()
        .write(true)
        .open(place.local().join("a"));
    file.and_then(|file| file.set_modified(at)).unwrap();
    let script = format!(
        "TZ=TST-5 exec {} sync local remote --no-color",
        env!("CARGO_BIN_EXE_coracle")
    );
    Terminal::start_program(&place, "/bin/sh", &["-c", &script], 80)
        .expect("2023-11-15 03:13:20")
        .expect(ASKED)
        .send("s")
        .finish()
        .expect(0);
}

#[test]
fn a_comparison_reads_both_files_and_asks_again() {
    let place = in_conflict(&["a", "b", "c"]);
    put(&place.local(), "b", "equal!", 5000);
    put(&place.remote(), "b", "equal!", 1000);
    put(&place.local(), "c", "differ", 5000);
    put(&place.remote(), "c", "DIFFER", 1000);
    let before = place.snapshot();
    let terminal = answer(sync(&place), "a", "d").expect("different: their sizes are");
    let terminal = answer(terminal.expect(ASKED).send("s"), "b", "d");
    let terminal = terminal.expect("equal, byte for byte").expect(ASKED);
    let terminal = answer(terminal.send("s"), "c", "d");
    let terminal = terminal.expect("different, although").expect(ASKED);
    terminal.send("s").finish().expect(0);
    assert_eq!(place.snapshot(), before);
}

#[test]
fn help_explains_and_asks_again() {
    let place = in_conflict(&["a"]);
    let terminal = answer(sync(&place), "a", "?");
    let terminal = terminal
        .expect("Conflict 1 of 1")
        .expect("--resolve local, remote");
    terminal.expect(ASKED).send("l").finish().expect(0);
    assert_eq!(both(&place, "a"), on_both("local"));
}

#[test]
fn a_key_that_means_nothing_says_so_and_asks_again() {
    let place = in_conflict(&["a"]);
    let terminal = answer(sync(&place), "a", "x").expect("'x' means nothing here");
    let terminal = terminal.expect(ASKED).send("\r");
    let terminal = terminal.expect("Return means nothing here");
    let ended = terminal.expect(ASKED).send("r").finish().expect(0);
    assert_eq!(ended.stdout.matches(ASKED).count(), 3, "{ended}");
    assert_eq!(both(&place, "a"), on_both("remote"));
}

#[test]
fn what_was_typed_before_a_question_answers_nothing() {
    let place = in_conflict(&["a", "b"]);
    let terminal = answer(sync(&place), "a", "lrrrrr");
    answer(terminal, "b", "s").finish().expect(0);
    assert_eq!(both(&place, "b"), ("local".to_owned(), "remote".to_owned()));
}

#[test]
fn upload_offers_what_upload_can_do() {
    let place = in_conflict(&["a", "b"]);
    let terminal = Terminal::start(&place, &["upload", "local", "remote", "--no-color"], 80);
    let terminal = terminal.expect("[l o s d a q ?] ").send("r");
    let terminal = terminal.expect("'r' means nothing here: upload never changes the local side");
    let terminal = terminal.expect(ASKED).send("l");
    answer(terminal, "b", "s").finish().expect(0);
    assert_eq!(both(&place, "a"), on_both("local"));
    assert_eq!(both(&place, "b"), ("local".to_owned(), "remote".to_owned()));
}

#[test]
fn a_change_against_a_deletion_can_be_settled_either_way() {
    let place = in_conflict(&["a", "b", "other"]);
    put(&place.remote(), "other", "local", 5000);
    fs::remove_file(place.remote().join("a")).unwrap();
    fs::remove_file(place.local().join("b")).unwrap();
    sync(&place)
        .expect("changed on the local side, deleted on the remote side")
        .expect("l  local    the local file is copied to the remote side again")
        .expect("[l r b s a q ?] ")
        .send("l")
        .expect("deleted on the local side, changed on the remote side")
        .expect("l  local    the remote file is deleted, too")
        .expect(ASKED)
        .send("n")
        .expect("there are no two files of which one is older")
        .expect(ASKED)
        .send("l")
        .finish()
        .expect(0);
    assert_eq!(both(&place, "a"), on_both("local"));
    assert!(!place.remote().join("b").exists());
}

#[test]
fn a_file_against_a_directory_is_asked_about_and_what_is_in_it_is_copied() {
    let place = Place::new("terminal-kinds");
    put(&place.local(), "x", "file", DAY_SECS);
    put(&place.remote(), "x/y", "within", DAY_SECS);
    sync(&place)
        .expect("a file on the local side, a directory on the remote side")
        .expect("r  remote   the local one becomes NAME.conflict-DATE, and both are copied")
        .expect(ASKED)
        .send("r")
        .finish()
        .expect(0);
    assert_eq!(both(&place, "x/y"), on_both("within"));
}

#[test]
fn breaking_off_at_a_question_changes_nothing_and_says_so() {
    // ^C, ^D and the key for it.
    for key in ["\x03", "\x04", "q"] {
        let place = in_conflict(&["a", "b"]);
        put(&place.local(), "new", "n", 100);
        let before = place.snapshot();
        answer(answer(sync(&place), "a", "l"), "b", key)
            .finish()
            .expect(3)
            .prints("Nothing was changed; the first answer was dropped.")
            .prints("interrupted by the user");
        assert_eq!(place.snapshot(), before);
    }
}

#[test]
fn a_question_gives_the_terminal_back() {
    for key in ["s", "q"] {
        let place = in_conflict(&["a"]);
        let script = format!(
            "{} sync local remote; stty -a | tr ' ' '\\n' | grep -x 'i\\?echo;\\?\\|icanon;\\?'",
            env!("CARGO_BIN_EXE_coracle")
        );
        Terminal::start_program(&place, "/bin/bash", &["-c", &script], 80)
            .expect(ASKED)
            .send(key)
            .expect("icanon")
            .expect("echo")
            .finish();
    }
}

#[test]
fn a_dry_run_asks_nothing() {
    let place = in_conflict(&["a"]);
    let before = place.snapshot();
    let arguments = ["sync", "local", "remote", "--dry-run"];
    let ended = Terminal::start(&place, &arguments, 80).finish().expect(0);
    assert!(!ended.stdout.contains(ASKED), "{ended}");
    assert_eq!(place.snapshot(), before);
}

#[test]
fn without_a_terminal_conflicts_are_skipped_and_that_is_said_once() {
    let place = in_conflict(&["a", "b"]);
    let ended = place
        .between("sync", &[])
        .expect(0)
        .says_one_sentence()
        .complains("conflicts are skipped: there is no terminal to ask on; see --resolve");
    assert!(ended.stdout.contains("skip conflict    ?? a"), "{ended}");
    assert_eq!(both(&place, "a"), ("local".to_owned(), "remote".to_owned()));
    place.between("sync", &["--report-problems"]).expect(10);
}

// Progress

#[test]
fn a_terminal_shows_progress_and_no_trace_of_it_remains() {
    let place = Place::new("progress");
    put(&place.local(), "big", vec![7; 1_000_000], DAY_SECS);
    let server = FtpServer::start(Config::serving(place.remote()));
    let arguments = [
        "upload",
        "local",
        &server.url(""),
        "--limit-rate=500k",
        "--no-color",
    ];
    let ended = Terminal::start(&place, &arguments, 100)
        .expect("Copied 0/1 files, ")
        .expect("KiB/s, ETA 0:0")
        .finish()
        .expect(0)
        .prints("/976.6 KiB, ")
        .hides("guest");
    // Each is written over by what comes next.
    for line in ended.stdout.split('\n') {
        if let Some(at) = line.rfind("Copied ") {
            assert!(
                line[at..].contains('\r'),
                "left on the screen: {line:?} of {ended}"
            );
        }
    }
    assert!(
        ended.stdout.contains("Done: 1 file up (976.6 KiB)"),
        "{ended}"
    );
}

/// Whether that is what the progress line begins with.
fn is_progress(row: &str) -> bool {
    row.starts_with("Copied ") || row.starts_with("Scanned ")
}

/// Looks at the screen at any moment: there is at most one progress line, in one row, and nothing is below it.
fn progress_stays_in_its_row(screen: &vt100::Screen) {
    let (_, columns) = screen.size();
    let rows: Vec<String> = screen.rows(0, columns.get()).collect();
    let last = rows.iter().rposition(|row| !row.trim().is_empty());
    for (at, row) in rows.iter().enumerate() {
        if is_progress(row) {
            let all = rows.join("\n");
            assert_eq!(Some(at), last, "stale or not the last one:\n{all}");
            assert!(row.trim_end().len() < usize::from(columns.get()), "{row:?}");
        }
    }
}

#[test]
fn progress_fits_one_row_of_a_window_that_is_resized() {
    let place = Place::new("resized");
    for number in 0..60 {
        let name = format!("a directory/photo number {number:02} with quite a long name.jpeg");
        put(&place.local(), &name, vec![7; 20_000], DAY_SECS);
    }
    let server = FtpServer::start(Config::serving(place.remote()));
    let arguments = [
        "upload",
        "local",
        &server.url(""),
        "--limit-rate=300k",
        "--no-color",
    ];
    let (ended, screen) = Terminal::start(&place, &arguments, 80)
        .watched(progress_stays_in_its_row)
        .expect("Copied 5/60 files")
        .resize(60)
        .expect("Copied 20/60 files")
        .resize(120)
        .expect("Copied 40/60 files")
        .resize(30)
        .expect("Copied 50/60 f")
        .resize(80)
        .finish_with_screen();
    ended.expect(0);
    let summary = "Done: 60 files up (1.1 MiB), 1 directory made; no errors. Seen: 60 files, 1";
    assert!(screen.contains(summary), "{screen}");
    assert!(!screen.lines().any(is_progress), "{screen}");
}

#[test]
fn without_a_terminal_there_is_no_progress_line() {
    let place = Place::new("no-progress");
    put(&place.local(), "big", vec![7; 300_000], DAY_SECS);
    let ended = place.between("upload", &["--limit-rate=500k"]).expect(0);
    assert!(!ended.stdout.contains("Copied"), "{ended}");
    assert!(!ended.stdout.contains(['\r', '\x1b']), "{ended}");
}

#[test]
fn names_cannot_control_the_terminal() {
    let place = Place::new("hostile-name");
    put(&place.local(), "red\x1b[31m\u{202e}name", "x", DAY_SECS);
    let arguments = ["upload", "local", "remote", "--no-color"];
    let ended = Terminal::start(&place, &arguments, 80).finish().expect(0);
    assert!(!ended.stdout.contains("\x1b[31m"), "{ended}");
    assert!(!ended.stdout.contains('\u{202e}'), "{ended}");
    assert!(ended.stdout.contains("red\\x1b"), "{ended}");
}

// Passwords

fn locked_server(place: &Place) -> FtpServer {
    FtpServer::start(Config {
        user: Some("me".to_owned()),
        password: Some("hush-hush".to_owned()),
        ..Config::serving(place.remote())
    })
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let place = Place::new("prompt");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = locked_server(&place);
    let host = server.addr().ip().to_string();
    let url = format!("ftp://me@{}/", server.addr());
    Terminal::start(&place, &["upload", "local", &url], 80)
        .expect(&format!("Password for me@{host}: "))
        .send("hush-hush\n")
        .finish()
        .expect(0)
        .hides("hush");
    assert_eq!(content(&place.remote(), "a"), "a");
}

#[test]
fn prompt_asks_for_the_user_too_and_overrides_every_other_source() {
    let place = Place::new("prompt-user");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = locked_server(&place);
    let url = format!("ftp://{}/", server.addr());
    Terminal::start(&place, &["upload", "local", &url, "--prompt"], 80)
        .expect("User name for ")
        .send("me\n")
        .expect("Password for me@")
        .send("hush-hush\n")
        .finish()
        .expect(0)
        .hides("hush");
}

#[test]
fn breaking_off_at_the_password_gives_the_terminal_back() {
    let place = Place::new("prompt-break");
    put(&place.local(), "a", "a", DAY_SECS);
    let server = locked_server(&place);
    let url = format!("ftp://me@{}/", server.addr());
    Terminal::start(&place, &["upload", "local", &url], 80)
        .expect("Password for me@")
        .send("hush\x03")
        .finish()
        .expect(3)
        .hides("hush");
    assert_eq!(server.connections(), 0, "nobody was called");
    assert_eq!(Snapshot::of(&place.remote()).names(), Vec::<&str>::new());
    // A shell that goes on in the same terminal shows what is typed again.
    let script = format!(
        "{} upload local {url}; stty -a | tr ' ' '\\n' | grep -x 'echo;\\?'",
        env!("CARGO_BIN_EXE_coracle")
    );
    Terminal::start_program(&place, "/bin/bash", &["-c", &script], 80)
        .expect("Password for me@")
        .send("\x03")
        .expect("interrupted")
        .finish()
        .expect(0)
        .prints("echo");
}

#[test]
fn no_prompt_asks_nothing_even_on_a_terminal() {
    let place = Place::new("no-prompt");
    let server = locked_server(&place);
    let url = format!("ftp://me@{}/", server.addr());
    Terminal::start(&place, &["upload", "local", &url, "--no-prompt"], 80)
        .finish()
        .expect(7)
        .prints("no password for me@");
}

// Screens for the documentation

/// Where the screens are kept that the documentation shows.
const SCREENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/screens.md");

/// With this set, the test writes them.
const WRITE_SCREENS: &str = "CORACLE_WRITE_SCREENS";

/// The text with every number and the blanks before it as one: they differ from run to run.
fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        let is_more_of_it = match letter {
            '0'..='9' | '.' | ',' | ':' | '-' => out.ends_with('0'),
            ' ' => out.ends_with([' ', '0']),
            _ => false,
        };
        if !is_more_of_it {
            out.push(if letter.is_ascii_digit() { '0' } else { letter });
        }
    }
    out
}

/// An upload of a few small files and a big one, while the big one is under way.
fn screen_of_an_upload() -> String {
    let place = Place::new("screen");
    for name in ["boat.jpg", "lake.jpg", "otter.jpg"] {
        put(
            &place.local(),
            &format!("a day out/{name}"),
            vec![7; 30_000],
            DAY_SECS,
        );
    }
    put(
        &place.local(),
        "a day out/video.mp4",
        vec![7; 2_000_000],
        DAY_SECS,
    );
    let server = FtpServer::start(Config::serving(place.remote()));
    let options = ["--connections=1", "--limit-rate=300k", "--no-color"];
    let url = server.url("");
    let terminal = Terminal::start(
        &place,
        &[&["upload", "local", &url], &options[..]].concat(),
        80,
    );
    let terminal = terminal.expect("Copied 3/4 files").expect("ETA 0:0");
    let screen = terminal
        .look()
        .replace(url.trim_end_matches('/'), "ftp://nas");
    terminal.finish().expect(0);
    screen.replace(place.path().to_str().unwrap(), "/home/me")
}

/// A question, and the end of the run that asked it.
fn screens_of_a_sync() -> [String; 2] {
    let place = in_conflict(&["diary.txt", "poem.txt"]);
    let terminal = sync(&place)
        .expect(ASKED)
        .send("n")
        .expect("Conflict 2")
        .expect(ASKED);
    let whole = terminal.look();
    let at = whole.find("Conflict 2").unwrap();
    let (_, end) = terminal.send("s").finish_with_screen();
    let at_end = end.find("skip conflict").unwrap();
    [whole[at..].to_owned(), end[at_end..].to_owned()]
}

#[test]
fn the_screens_of_the_documentation_are_those_of_today() {
    let upload = screen_of_an_upload();
    let [question, end] = screens_of_a_sync();
    let now = format!(
        "# What it looks like\n\nThree screens of 80 columns, written by `tests/terminal.rs`.\n\n\
         ## An upload under way\n\n```text\n{upload}\n```\n\n\
         ## A conflict\n\n```text\n{question}\n```\n\n\
         ## The end of that sync\n\n```text\n{end}\n```\n"
    );
    if std::env::var_os(WRITE_SCREENS).is_some() {
        fs::write(SCREENS, &now).unwrap();
    }
    let kept = fs::read_to_string(SCREENS).unwrap();
    assert_eq!(
        without_numbers(&kept),
        without_numbers(&now),
        "{WRITE_SCREENS}=1 writes them anew"
    );
}
