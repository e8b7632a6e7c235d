//! pyftpsync and coracle take turns on the same trees: what one has done is done for the other, what was deleted stays deleted.

mod support;

use coracle::side::Side::{Local, Remote};

use support::couple::Tool::{self, Coracle, Pyftpsync};
use support::couple::{Couple, LATER};
use support::servers::{Kind, Options, Server};

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
    assert!(said.contains("Wrote 0/"), "{when}, {tool:?}: {said}");
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

#[test]
fn changes_and_deletions_travel_whoever_synced_before() {
    for (name, server) in servers() {
        for (number, turns) in TURNS.into_iter().enumerate() {
            let couple = Couple::on(&server, &format!("turns-{number}"));
            couple.put(Local, TREE);
            let (last, others) = turns.split_last().unwrap();
            for tool in others {
                couple.expect(*tool, "sync");
            }
            couple.take(Local, "a d/a deleted/here");
            couple.take(Remote, "b d/b deleted/there");
            couple.put(Local, "x=changed@11 new/here=9@9");
            couple.put(Remote, &format!("y=changed@{LATER} new-there/a=10@10"));
            let said = couple.expect(*last, "sync").said;
            let expected = format!(
                "d/e/a=3@3 deleted/ empty/ new/here=9@9 new-there/a=10@10 x=changed@11 y=changed@{LATER}"
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
