//! pyftpsync and coracle take turns on the same trees: what one has done is done for the other. What pyftpsync recorded is taken
//! over by coracle; whoever goes back to pyftpsync meets both sides as for the first time.

mod support;

use std::collections::BTreeMap;
use std::fs;

use coracle::side::Side::{self, Local, Remote};

use support::couple::Tool::{self, Coracle, Pyftpsync};
use support::couple::{Couple, LATER};
use support::is_long;
use support::random::Random;
use support::servers::{Kind, Options, Server};
use support::tree;

/// Servers that keep times, and one that does not.
fn servers() -> Vec<(&'static str, Server)> {
    let without_times = Options {
        sets_times: false,
        ..Options::default()
    };
    // pyftpsync deletes what NLST names and then the directory, which fails where its own metadata is not named.
    let with_hidden_names = Options {
        extra: vec!["ListOptions -a".into()],
        ..Options::default()
    };
    vec![
        (
            "pyftpdlib",
            Server::start(Kind::Pyftpdlib, Options::default()),
        ),
        (
            "pyftpdlib without times",
            Server::start(Kind::Pyftpdlib, without_times),
        ),
        ("proftpd", Server::start(Kind::Proftpd, with_hidden_names)),
    ]
}

/// The programs in the order of their turns.
const TURNS: [&[Tool]; 4] = [
    &[Pyftpsync, Coracle],
    &[Coracle, Pyftpsync],
    &[Pyftpsync, Coracle, Pyftpsync],
    &[Coracle, Pyftpsync, Coracle],
];

const TREE: &str = "a=1@1 b=1@1 d/a=2@2 d/b=2@2 d/e/a=3@3 deleted/here/a=4@4 deleted/there/a=5@5 empty/ x=7@7 y=8@8";

/// Runs a sync that must transfer nothing.
fn expect_nothing(server: &Server, couple: &Couple, tool: Tool, when: &str) {
    let before = server.commands().len();
    let said = couple.expect(tool, "sync").said;
    let transfers: Vec<String> = server
        .commands()
        .split_off(before)
        .into_iter()
        .filter(|command| {
            ["STOR ", "APPE ", "RETR "]
                .iter()
                .any(|verb| command.starts_with(verb))
        })
        .filter(|command| !command.contains(".pyftpsync-"))
        .collect();
    assert_eq!(transfers, [""; 0], "{when}, {tool:?}: {said}");
    let nothing = match tool {
        Pyftpsync => "Wrote 0/",
        Coracle => "Nothing to do",
    };
    assert!(said.contains(nothing), "{when}, {tool:?}: {said}");
}

#[test]
fn nothing_is_transferred_again() {
    for (name, server) in servers() {
        for (number, turns) in TURNS.into_iter().enumerate() {
            let couple = Couple::on(&server, &format!("turns-{number}"));
            couple.put(Local, TREE);
            let (first, others) = turns.split_first().unwrap();
            couple.expect(*first, "sync");
            couple.assert_both(TREE);
            for tool in others {
                expect_nothing(&server, &couple, *tool, &format!("{name}, {turns:?}"));
                couple.assert_both(TREE);
            }
        }
    }
}

/// Turns after which coracle knows what was in step: from pyftpsync's records, or from its own.
const KNOWN: [&[Tool]; 3] = [
    &[Pyftpsync, Coracle],
    &[Coracle, Coracle],
    &[Coracle, Pyftpsync, Coracle],
];

#[test]
fn changes_and_deletions_travel_whoever_synced_before() {
    for (name, server) in servers() {
        for (number, turns) in KNOWN.into_iter().enumerate() {
            let couple = Couple::on(&server, &format!("turns-{number}"));
            couple.put(Local, TREE);
            let (last, others) = turns.split_last().unwrap();
            for tool in others {
                couple.expect(*tool, "sync");
            }
            couple.take(Local, "a d/a deleted/here/a");
            couple.take(Remote, "b d/b deleted/there");
            couple.put(Local, "x=changed@11 new/here=9@9");
            couple.put(Remote, &format!("y=changed@{LATER} new-there/a=10@10"));
            let said = couple.expect(*last, "sync").said;
            let expected = format!(
                "d/e/a=3@3 deleted/here/ empty/ new/here=9@9 new-there/a=10@10 x=changed@11 y=changed@{LATER}"
            );
            let mut words: Vec<&str> = expected.split(' ').collect();
            words.sort_unstable();
            for side in [Local, Remote] {
                let told = couple.words(side);
                let mut found: Vec<&str> = told.split(' ').collect();
                found.sort_unstable();
                assert_eq!(found, words, "{name}, {turns:?}, {side}: {said}");
            }
            for tool in [Pyftpsync, Coracle] {
                expect_nothing(
                    &server,
                    &couple,
                    tool,
                    &format!("{name}, {turns:?} and then"),
                );
            }
        }
    }
}

/// pyftpsync's rows of a directory go with it.
#[test]
fn a_directory_deleted_between_pyftpsync_and_coracle_is_a_conflict_that_loses_nothing() {
    let couple = Couple::of_directories();
    couple.put(Local, TREE);
    couple.expect(Pyftpsync, "sync");
    couple.take(Local, "d");
    let said = couple.run(Coracle, "sync").said;
    assert_eq!(said.matches("??").count(), 3, "{said}");
    let without = TREE.replace(" d/a=2@2 d/b=2@2 d/e/a=3@3", "");
    couple.assert_trees(&without, TREE);
    couple.expect(Coracle, "sync --resolve local");
    assert_eq!(files_of(&couple, Local), files_of(&couple, Remote));
    assert!(!couple.root(Remote).join("d/a").exists());
}

#[test]
fn equal_trees_stay_equal_whoever_looks_first() {
    for (name, server) in servers() {
        for (number, turns) in TURNS.into_iter().enumerate() {
            let couple = Couple::on(&server, &format!("turns-{number}"));
            couple.put(Local, TREE);
            couple.put(Remote, TREE);
            for tool in turns {
                expect_nothing(&server, &couple, *tool, &format!("{name}, {turns:?}"));
                couple.assert_both(TREE);
            }
        }
    }
}

// Handover: pyftpsync first, then coracle, then pyftpsync again, over random trees

#[test]
fn directories_are_handed_over() {
    hand_over_all("directories", 0, Couple::of_directories);
}

#[test]
fn a_server_is_handed_over() {
    let server = Server::start(Kind::Pyftpdlib, Options::default());
    hand_over_all("server", 1000, || Couple::on(&server, "handover"));
}

#[test]
fn a_server_without_times_is_handed_over() {
    let options = Options {
        sets_times: false,
        ..Options::default()
    };
    let server = Server::start(Kind::Pyftpdlib, options);
    hand_over_all("server without times", 2000, || {
        Couple::on(&server, "handover")
    });
}

fn hand_over_all(name: &str, first: u64, make: impl Fn() -> Couple) {
    let seeds = if is_long() { 100 } else { 5 };
    for seed in first..first + seeds {
        println!("{name}, seed {seed}");
        let couple = make();
        for side in [Local, Remote] {
            for entry in fs::read_dir(couple.root(side)).unwrap().flatten() {
                couple.take(side, entry.file_name().to_str().unwrap());
            }
        }
        hand_over(&couple, &mut Random::new(seed));
    }
}

/// The files of a tree, by their paths, as words have them.
type Files = BTreeMap<String, String>;

fn files_of(couple: &Couple, side: Side) -> Files {
    let words = couple.words(side);
    let files = words.split_whitespace().filter_map(|word| {
        let (path, rest) = word.split_once('=')?;
        Some((path.to_owned(), rest.to_owned()))
    });
    files.collect()
}

fn hand_over(couple: &Couple, rng: &mut Random) {
    for dir in ["", "d/", "d/e/", "f/", "g/h/"] {
        for name in ["a", "b", "c", "x"] {
            if rng.percent(70) {
                let side = rng.pick(&[Local, Remote]);
                let time = 1 + rng.below(50);
                couple.put(side, &format!("{dir}{name}={name}{time}@{time}"));
            }
        }
    }
    couple.put(Local, "keep=k@1");
    couple.expect(Pyftpsync, "sync");
    let mut expected = files_of(couple, Local);
    assert_eq!(expected, files_of(couple, Remote));

    let copies = change(couple, rng, 0, &mut expected);
    let ended = couple.expect(Coracle, "sync --max-delete=100%");
    for side in [Local, Remote] {
        assert_eq!(files_of(couple, side), expected, "{side}: {}", ended.said);
    }
    let copied = |said: &str| {
        said.lines()
            .filter(|line| line.starts_with("copy ") && !line.ends_with('/'))
            .count()
    };
    assert_eq!(copied(&ended.said), copies, "{}", ended.said);
    let left = tree::read_records(couple.root(Local));
    assert!(left.is_empty(), "our peer's rows are taken out: {left:?}");

    // Back to pyftpsync: nothing old is believed, nothing is sent, nothing deleted.
    let ended = couple.expect(Pyftpsync, "sync");
    assert!(ended.said.contains("Wrote 0/"), "{}", ended.said);
    for side in [Local, Remote] {
        assert_eq!(files_of(couple, side), expected, "{side}: {}", ended.said);
    }

    // And to coracle once more, which goes by its archive.
    let copies = change(couple, rng, 1, &mut expected);
    let ended = couple.expect(Coracle, "sync --max-delete=100%");
    for side in [Local, Remote] {
        assert_eq!(files_of(couple, side), expected, "{side}: {}", ended.said);
    }
    assert_eq!(copied(&ended.said), copies, "{}", ended.said);
}

/// Changes, deletes and adds files, each on one side, at the times of that phase; says how many are to be copied.
fn change(couple: &Couple, rng: &mut Random, phase: usize, expected: &mut Files) -> usize {
    // No two phases write at one time: of one size, too, nobody could tell their files apart.
    let later = LATER.parse::<usize>().unwrap() + phase * 100;
    let mut copies = 0;
    let paths: Vec<String> = expected.keys().cloned().collect();
    let dir_of = |path: &str| {
        path.rsplit_once('/')
            .map_or(String::new(), |(dir, _)| dir.to_owned())
    };
    // What pyftpsync recorded is not believed where most of it is otherwise on the remote side: two thirds stay as they are.
    let mut may_change: BTreeMap<String, usize> = BTreeMap::new();
    for path in &paths {
        *may_change.entry(dir_of(path)).or_default() += 1;
    }
    may_change.values_mut().for_each(|files| *files /= 3);
    for path in paths {
        let left = may_change.get_mut(&dir_of(&path)).unwrap();
        let side = rng.pick(if *left > 0 {
            &[Local, Remote][..]
        } else {
            &[Local]
        });
        if side == Remote {
            *left -= 1;
        }
        match rng.below(100) {
            _ if path == "keep" => {}
            0..20 => {
                let time = later + rng.below(50);
                let content = format!("changed{}@{time}", rng.below(1000));
                couple.put(side, &format!("{path}={content}"));
                expected.insert(path, content);
                copies += 1;
            }
            20..40 => {
                couple.take(side, &path);
                expected.remove(&path);
            }
            _ => {}
        }
    }
    for n in 0..rng.below(4) {
        let side = rng.pick(&[Local, Remote]);
        let dir = rng.pick(&["", "d/", "new/", "new/deep/"]);
        let (path, time) = (format!("{dir}n{n}-{}", rng.below(1000)), later + n);
        couple.put(side, &format!("{path}=new{n}@{time}"));
        expected.insert(path, format!("new{n}@{time}"));
        copies += 1;
    }
    copies
}
