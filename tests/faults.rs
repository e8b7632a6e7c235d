//! Fails the n-th call of a target, for every n until a run passes untouched, in every way and on either side. Whatever
//! fails: whole files under final names, nothing lost, nothing claimed that is not so; and the next run, with the fault
//! gone, comes to where an undisturbed one comes.

mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use coracle::job::{Delete, Direction, Job, Resolve, Trash};
use coracle::path::RelPath;
use coracle::replica::Times;
use coracle::side::{Side, Sides};

use support::faulty::{Fault, Moment, Script};
use support::is_long;
use support::memory::{Manners, Node};
use support::world::{NOW_SECS, Ran, World, plain_job};

#[test]
fn of_a_first_upload() {
    fail_all(&Story {
        remote: Times::Kept,
        synced: "",
        changed: |world| world.put_local("a=one@1 d/b=two@2 d/e/c=three@3 top=four@4"),
        job: |job| job.direction = Direction::Upload,
    });
}

#[test]
fn of_a_first_download() {
    fail_all(&Story {
        remote: Times::Kept,
        synced: "",
        changed: |world| world.put_remote("a=one@1 d/b=two@2 d/e/c=three@3"),
        job: |job| job.direction = Direction::Download,
    });
}

#[test]
fn of_a_first_sync() {
    fail_all(&Story {
        remote: Times::Kept,
        synced: "",
        changed: |world| {
            world.put_local(
                "same=s@1 l=one@1 d/newer=here@5 d/older=early@2 d/same=s@1 x/only=local@2",
            );
            world.put_remote(
                "same=s@1 r=two@1 d/newer=there@3 d/older=late@4 d/same=s@1 y/only=remote@2",
            );
        },
        job: |_| {},
    });
}

#[test]
fn of_changes_both_ways() {
    fail_all(&CHANGES);
}

#[test]
fn of_changes_both_ways_where_times_are_lost() {
    fail_all(&Story {
        remote: Times::Lost,
        ..CHANGES
    });
}

#[test]
fn of_a_mirror_with_deletions() {
    fail_all(&Story {
        remote: Times::Kept,
        synced: SYNCED,
        changed: |world| {
            world.take(Side::Local, "a d");
            world.put_local("b=changed@9");
            world.put_remote("c=overwritten@9 unwanted/x=gone@9");
        },
        job: |job| {
            job.direction = Direction::Upload;
            job.policy.force = true;
            job.policy.delete = Delete::Missing;
        },
    });
}

#[test]
fn of_conflicts_of_which_both_files_are_kept() {
    fail_all(&Story {
        remote: Times::Kept,
        synced: SYNCED,
        changed: |world| {
            world.put_local("a=local@9 d/x=here@8");
            world.put_remote("a=remote@8 d/x=there@9");
        },
        job: |job| job.policy.resolve = Resolve::Both,
    });
}

#[test]
fn of_renames() {
    fail_all(&RENAMES);
}

#[test]
fn of_renames_where_times_are_lost() {
    fail_all(&Story {
        remote: Times::Lost,
        ..RENAMES
    });
}

#[test]
fn of_renamed_directories() {
    fail_all(&RENAMED_DIRS);
}

#[test]
fn of_renamed_directories_where_times_are_lost() {
    fail_all(&Story {
        remote: Times::Lost,
        ..RENAMED_DIRS
    });
}

#[test]
fn of_a_run_with_trash() {
    fail_all(&Story {
        job: |job| {
            job.policy.trash = Some(Trash {
                dir: RelPath::parse(b".trash").unwrap(),
                keep_days: None,
            });
        },
        ..CHANGES
    });
}

#[test]
fn of_a_copy_hide_no_later_deletion_of_another() {
    let story = Story {
        remote: Times::Kept,
        synced: "k=7@1",
        changed: |world| world.put_local("a=one@1 b=two@2"),
        job: |_| {},
    };
    let mut failed = 0;
    for nth in 1.. {
        // Over SFTP both go together, and fail together.
        let mut world = story.begin().in_memory();
        let script = Script::new(nth, Fault::Network, Moment::Before);
        let ran = run(&mut world, 0, Some((Side::Local, script.clone())));
        if script.calls() < nth {
            break;
        }
        if !ran.is_clean() && ran.said_of("a") == ["copy >"] {
            failed += 1;
            world.take(Side::Remote, "a");
            let next = run(&mut world, 100, None);
            assert_eq!(
                world.words(Side::Local),
                "b=two@2 k=7@1",
                "call {nth}: {:#?}",
                next.lines
            );
        }
    }
    assert!(failed > 0, "no run failed after the first copy");
}

/// A fault of the code itself ends the run, whichever call it is in, and the next one goes on.
#[test]
fn of_code_that_panics_end_the_run() {
    let mut ended = 0;
    for nth in 1.. {
        let mut world = CHANGES.begin();
        let script = Script::new(nth, Fault::Panic, Moment::Before);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            run(&mut world, 0, Some((Side::Remote, script.clone())))
        }));
        if script.calls() < nth {
            break;
        }
        // What the calling thread does itself may end in its panic.
        if let Ok(ran) = ran {
            ended += u32::from(!ran.is_clean());
            let next = run(&mut world, 100, None);
            assert!(
                next.is_clean(),
                "call {nth}, the next run: {:#?}",
                next.lines
            );
            assert_eq!(
                world.words(Side::Local),
                world.words(Side::Remote),
                "call {nth}"
            );
        }
    }
    assert!(ended > 5, "{ended} runs ended with an error");
}

const SYNCED: &str = "a=1@1 b=2@1 c=3@1 d/x=4@1 d/y=5@1 e/f/z=6@1 k=7@1 m=8@1";

const CHANGES: Story = Story {
    remote: Times::Kept,
    synced: SYNCED,
    changed: |world| {
        world.put_local("a=changed@9 new/l=up@9 n=up@8");
        world.put_remote("b=other@9 new2/r=down@9 o=down@8");
        world.take(Side::Local, "d c");
        world.take(Side::Remote, "e k");
    },
    job: |_| {},
};

const RENAMES: Story = Story {
    remote: Times::Kept,
    synced: SYNCED,
    changed: |world| {
        world.rename(Side::Local, "a", "new/a");
        world.rename(Side::Local, "d/x", "d/w");
        world.rename(Side::Local, "e/f/z", "z");
        world.put_local("new/l=up@9");
        world.take(Side::Local, "e c");
    },
    job: |_| {},
};

const RENAMED_DIRS: Story = Story {
    remote: Times::Kept,
    synced: SYNCED,
    changed: |world| {
        world.rename(Side::Local, "e/f", "new/f");
        world.rename(Side::Local, "d", "w");
        world.rename(Side::Local, "m", "w/m");
        world.put_local("w/new=up@9 new/f/more=up@9");
        world.take(Side::Local, "c");
    },
    job: |_| {},
};

/// What was synced, what was changed then, and which job is run.
#[derive(Clone, Copy)]
struct Story {
    remote: Times,
    synced: &'static str,
    changed: fn(&mut World),
    job: fn(&mut Job),
}

impl Story {
    fn begin(&self) -> World {
        let remote = Manners {
            times: self.remote,
            ..Manners::default()
        };
        let mut world = World::with(Manners::default(), remote);
        if !self.synced.is_empty() {
            world.put_local(self.synced);
            world.run().expect_clean();
        }
        world.job = plain_job(Direction::Sync);
        world.job.policy.allow.delete = coracle::job::MaxDelete::Percent(100);
        (self.job)(&mut world.job);
        (self.changed)(&mut world);
        world
    }
}

type Nodes = BTreeMap<String, Node>;

fn nodes(world: &World) -> Sides<Nodes> {
    Sides::new(
        world.trees.local.user_paths(),
        world.trees.remote.user_paths(),
    )
}

/// Runs the story with every fault at every call; over SFTP, unless the run is a long one, at every 32nd.
fn fail_all(story: &Story) {
    let mut undisturbed = story.begin();
    let step = if undisturbed.is_served() && !is_long() {
        32
    } else {
        1
    };
    let mut first = 0;
    let before = nodes(&undisturbed);
    run(&mut undisturbed, 0, None).expect_clean();
    let after = nodes(&undisturbed);
    for side in Side::BOTH {
        for fault in Fault::ALL {
            // Only what spoils a connection is tried again.
            let most_retries = u32::from(matches!(fault, Fault::Network | Fault::Timeout));
            for retries in 0..=most_retries {
                for moment in Moment::ALL {
                    // Each begins at another call, so that all of them are met.
                    first += 1;
                    for nth in (1 + first % step..).step_by(step as usize) {
                        let mut world = story.begin();
                        world.job.limits.retries = retries;
                        let script = Script::new(nth, fault, moment);
                        let when = format!(
                            "{fault:?} {moment:?} call {nth} on the {side} side, {retries} retries"
                        );
                        let ran = run(&mut world, 0, Some((side, script.clone())));
                        check_sound(&world, &before, &after, &when);
                        if ran.is_clean() {
                            check_same(&world, story, &after, &when, &ran.lines);
                        }
                        let next = run(&mut world, 100, None);
                        assert!(
                            next.is_clean(),
                            "{when}; the next run: {next:#?}\nafter {ran:#?}"
                        );
                        let both = [&ran.lines[..], &next.lines[..]].concat();
                        check_same(&world, story, &after, &when, &both);
                        check_settled(&mut world, &when);
                        if script.calls() < nth {
                            break;
                        }
                    }
                }
            }
        }
    }
}

/// Whatever failed, no file is half, and what the undisturbed run keeps is somewhere.
fn check_sound(world: &World, before: &Sides<Nodes>, after: &Sides<Nodes>, when: &str) {
    let now = nodes(world);
    let contents = |nodes: &Nodes| -> Vec<(String, Vec<u8>)> {
        let files = nodes.iter().filter_map(|(path, node)| match node {
            Node::File { content, .. } => Some((without_time(path), content.clone())),
            Node::Dir | Node::Special => None,
        });
        files.collect()
    };
    for side in Side::BOTH {
        let known = [contents(before.of(side)), contents(after.of(side))].concat();
        for file in contents(now.of(side)) {
            assert!(known.contains(&file), "{when}: {side} has {file:?}");
        }
        for dir in ["", "d", "e", "e/f", "new", "new2"] {
            if let Some(text) = world.remote_times(dir) {
                let parsed = serde_json::from_str::<serde_json::Value>(&text);
                assert!(parsed.is_ok(), "{when}: true times of {dir:?}: {text}");
            }
        }
    }
    let there: Vec<Vec<u8>> = Side::BOTH
        .into_iter()
        .flat_map(|side| world.trees.of(side).paths())
        .filter_map(|(_, node)| match node {
            Node::File { content, .. } => Some(content),
            Node::Dir | Node::Special => None,
        })
        .collect();
    for side in Side::BOTH {
        for (path, content) in contents(after.of(side)) {
            assert!(there.contains(&content), "{when}: {side} {path} is lost");
        }
    }
}

fn check_same(world: &World, story: &Story, after: &Sides<Nodes>, when: &str, lines: &[String]) {
    let now = nodes(world);
    for side in Side::BOTH {
        let with_times = side == Side::Local || story.remote == Times::Kept;
        let (found, expected) = (
            shown(now.of(side), with_times),
            shown(after.of(side), with_times),
        );
        assert_eq!(found, expected, "{when}: {side}; {lines:#?}");
    }
}

fn shown(nodes: &Nodes, with_times: bool) -> Vec<String> {
    let mut shown: Vec<String> = nodes
        .iter()
        .map(|(path, node)| match node {
            Node::File { content, .. } if !with_times => {
                format!(
                    "{} {}",
                    without_time(path),
                    String::from_utf8_lossy(content)
                )
            }
            Node::File { .. } | Node::Dir | Node::Special => {
                format!("{} {node:?}", without_time(path))
            }
        })
        .collect();
    shown.sort();
    // What two runs put into the trash lies in two directories of it.
    shown.dedup_by(|one, two| one == two && one.starts_with(".trash"));
    shown
}

fn check_settled(world: &mut World, when: &str) {
    let before = (world.trees.local.paths(), world.trees.remote.paths());
    let archive = world.archive();
    let ran = run(world, 200, None);
    assert!(ran.is_clean() && !world.has_journal(), "{when}: {ran:#?}");
    let after = (world.trees.local.paths(), world.trees.remote.paths());
    assert_eq!(before, after, "{when}: a further run writes");
    assert_eq!(archive, world.archive(), "{when}: a further run records");
    let ours = after.0.keys().chain(after.1.keys());
    let left: Vec<_> = ours
        .filter(|path| path.contains(".coracle-part-") || path.contains(".coracle-lock"))
        .collect();
    assert!(left.is_empty(), "{when}: left over: {left:?}");
}

/// The time of a run, in the names of conflict and trash, as `#`.
fn without_time(path: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for char in path.chars().chain(['\0']) {
        if char.is_ascii_digit() {
            digits.push(char);
            continue;
        }
        out += if digits.len() >= 6 { "#" } else { &digits };
        digits.clear();
        out.push(char);
    }
    out.pop();
    out
}

/// One run, so many seconds after the first.
fn run(world: &mut World, later_secs: i64, script: Option<(Side, Script)>) -> Ran {
    world.now_secs = NOW_SECS + later_secs;
    world.script = script;
    world.run()
}
