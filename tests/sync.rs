//! Whole runs between two trees in memory, told as a diary: put trees, sync, compare trees.

mod support;

use std::num::NonZeroU8;
use std::time::Duration;

use coracle::job::{Case, Connections, Delete, Direction, MaxDelete, RemoteScan, Resolve, Trash};
use coracle::path::RelPath;
use coracle::replica::{CaseSensitivity, Times};
use coracle::side::Side::{Local, Remote};
use coracle::sync::event::{Answer, Choice};
use support::is_long;
use support::memory::Manners;
use support::world::{NOW_SECS, Ran, World, once};

// First meetings

#[test]
fn first_sync_brings_each_side_what_the_other_has() {
    let mut world = World::new();
    world.put_local("a=one@1 d/b=two@2 empty/");
    world.put_remote("c=three@3 d/e=four@4 f/g/h=five@5");
    let ran = world.run().expect_clean();
    world.assert_both("a=one@1 c=three@3 d/b=two@2 d/e=four@4 empty/ f/g/h=five@5");
    assert_eq!(ran.said_of("a"), ["copy >"]);
    assert_eq!(ran.said_of("f/g/h"), ["copy <"]);
    world.assert_settled();
}

#[test]
fn files_that_differ_when_they_first_meet_are_conflicts_whichever_is_newer() {
    let mut world = World::new();
    world.put_local("equal=x@1 newer-here=L@5 newer-there=old@1 differ=short@3");
    world.put_remote("equal=x@1 newer-here=R@1 newer-there=new@5 differ=longer@3");
    let ran = world.run().expect_clean();
    world.assert_trees(
        "equal=x@1 newer-here=L@5 newer-there=old@1 differ=short@3",
        "equal=x@1 newer-here=R@1 newer-there=new@5 differ=longer@3",
    );
    assert_eq!(ran.said_of("equal"), ["found equal"]);
    for path in ["newer-here", "newer-there", "differ"] {
        assert_eq!(ran.said_of(path), ["conflict"], "{path}");
    }
    world.assert_settled();
    // They are still told after that, and settled by a rule.
    let mut world = world.resolve(Resolve::New);
    world.answers = [once(Choice::Skip)].into();
    world.run().expect_clean();
    world.assert_trees(
        "equal=x@1 newer-here=L@5 newer-there=new@5 differ=short@3",
        "equal=x@1 newer-here=L@5 newer-there=new@5 differ=longer@3",
    );
}

#[test]
fn a_mirror_takes_the_newer_file_at_a_first_meeting() {
    for (direction, near) in [(Direction::Upload, Local), (Direction::Download, Remote)] {
        let mut world = World::new().command(direction);
        world.put(near, "newer=N@5 older=O@1");
        world.put(near.peer(), "newer=old@1 older=new@5");
        world.run().expect_clean();
        let follower = "newer=N@5 older=new@5";
        match near {
            Local => world.assert_trees("newer=N@5 older=O@1", follower),
            Remote => world.assert_trees(follower, "newer=N@5 older=O@1"),
        }
    }
}

#[test]
fn files_of_one_size_and_two_times_are_compared_by_content_where_that_costs_no_transfer() {
    // It computes digests.
    let mut world = World::new().in_memory();
    world.put_local("same=content@1 other=content@1");
    world.put_remote("same=content@5 other=CONTENT@5");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("same"), ["found equal"]);
    assert_eq!(ran.said_of("other"), ["conflict"]);
    world.assert_settled();
    world.take(Local, "same");
    world.run().expect_clean();
    world.assert_trees("other=content@1", "other=CONTENT@5");
}

#[test]
fn what_was_found_equal_is_recorded_so_that_a_deletion_is_one() {
    let mut world = World::new();
    world.put_local("a=x@1 b=y@1");
    world.put_remote("a=x@1 b=y@1");
    world.run().expect_clean();
    world.take(Remote, "a");
    world.run().expect_clean();
    world.assert_both("b=y@1");
}

#[test]
fn a_second_run_writes_nothing_anywhere() {
    let mut world = World::synced("a=one@1 d/b=two@2 d/e/f=three@3 empty/");
    let ran = world.run().expect_clean();
    assert_eq!(ran.changes, Vec::<String>::new());
    assert_eq!(ran.said_of("d/e/f"), ["equal"]);
}

#[test]
fn an_empty_file_and_an_empty_directory_are_something() {
    let mut world = World::new();
    world.put_local("file=@1 dir/");
    world.run().expect_clean();
    world.assert_both("file=@1 dir/");
    world.assert_settled();
    world.take(Local, "file dir");
    world.put_local("other=x@1");
    world.run().expect_clean();
    world.assert_both("other=x@1");
}

#[test]
fn a_name_gone_on_both_sides_is_forgotten_and_may_come_back() {
    let mut world = World::synced("a=one@1 b=two@1");
    world.take(Local, "a");
    world.take(Remote, "a");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("a"), ["forget"]);
    world.put_remote("a=one@1");
    world.run().expect_clean();
    world.assert_both("a=one@1 b=two@1");
}

#[test]
fn the_same_change_made_twice_is_no_conflict() {
    let mut world = World::synced("a=one@1");
    world.put_local("a=two@5");
    world.put_remote("a=two@5");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("a"), ["found equal"]);
    world.assert_settled();
}

#[test]
fn a_renamed_directory_keeps_its_files_though_its_records_say_they_were_synced() {
    for (direction, delete) in [
        (Direction::Sync, Delete::Never),
        (Direction::Upload, Delete::Missing),
    ] {
        let mut world = World::synced("old/file=one@1 old/in/deep=two@2 other=x@1");
        world.rename(Local, "old", "new");
        let mut world = world
            .command(direction)
            .job(|job| job.policy.delete = delete);
        world.run().expect_clean();
        world.assert_both("new/file=one@1 new/in/deep=two@2 other=x@1");
        world.assert_settled();
    }
}

// Every kind of change, every command, every rule

/// Changes of every kind since the last sync, each in a file named after it. The near side is the one that upload reads.
fn changed(near: coracle::side::Side) -> World {
    let mut world = World::synced(
        "same=0@0 ldel=0@0 rdel=0@0 gone=0@0 lmod=0@0 rmod=0@0 xmod=0@0 lmrd=0@0 ldrm=0@0",
    );
    let far = near.peer();
    world.take(near, "ldel gone ldrm");
    world.put(near, "lnew=L@5 xnew=L@9 lmod=L@5 xmod=L@5 lmrd=L@5");
    world.take(far, "rdel gone lmrd");
    world.put(far, "rnew=R@6 xnew=R@6 rmod=R@6 xmod=R@9 ldrm=R@6");
    world
}

#[test]
fn sync_resolves_conflicts_by_each_rule_and_nothing_else() {
    // What no rule has a say in.
    let settled = "same=0@0 lnew=L@5 rnew=R@6 lmod=L@5 rmod=R@6";
    for (rule, local, remote) in [
        (
            Resolve::Skip,
            "xnew=L@9 xmod=L@5 lmrd=L@5",
            "xnew=R@6 xmod=R@9 ldrm=R@6",
        ),
        (
            Resolve::Local,
            "xnew=L@9 xmod=L@5 lmrd=L@5",
            "xnew=L@9 xmod=L@5 lmrd=L@5",
        ),
        (
            Resolve::Remote,
            "xnew=R@6 xmod=R@9 ldrm=R@6",
            "xnew=R@6 xmod=R@9 ldrm=R@6",
        ),
        (
            Resolve::New,
            "xnew=L@9 xmod=R@9 lmrd=L@5",
            "xnew=L@9 xmod=R@9 ldrm=R@6",
        ),
        (
            Resolve::Old,
            "xnew=R@6 xmod=L@5 lmrd=L@5",
            "xnew=R@6 xmod=L@5 ldrm=R@6",
        ),
        (
            Resolve::Both,
            "xnew=L@9 xnew.conflict-20270115-080000=R@6 xmod=R@9 xmod.conflict-20270115-080000=L@5 lmrd=L@5 ldrm=R@6",
            "xnew=L@9 xnew.conflict-20270115-080000=R@6 xmod=R@9 xmod.conflict-20270115-080000=L@5 lmrd=L@5 ldrm=R@6",
        ),
    ] {
        println!("--resolve {rule:?}");
        let mut world = changed(Local).resolve(rule);
        let ran = world.run().expect_clean();
        world.assert_trees(
            &format!("{settled} {local}"),
            &format!("{settled} {remote}"),
        );
        assert_eq!(ran.totals().conflicts, 4);
        world.assert_settled();
    }
}

#[test]
fn upload_and_download_write_one_side_only_and_delete_what_they_are_told() {
    type Switches = (bool, Delete, bool);
    let source = "same=0@0 rdel=0@0 lnew=L@5 xnew=L@9 lmod=L@5 rmod=0@0 xmod=L@5 lmrd=L@5";
    let cases: [(Switches, &str); 7] = [
        (
            (false, Delete::Never, false),
            "same=0@0 ldel=0@0 lnew=L@5 rnew=R@6 xnew=R@6 lmod=L@5 rmod=R@6 xmod=R@9 ldrm=R@6",
        ),
        (
            (false, Delete::Never, true),
            "same=0@0 ldel=0@0 lnew=L@5 rnew=R@6 xnew=L@9 lmod=L@5 rmod=R@6 xmod=L@5 lmrd=L@5 ldrm=R@6",
        ),
        (
            (false, Delete::Missing, false),
            "same=0@0 lnew=L@5 xnew=R@6 lmod=L@5 rmod=R@6 xmod=R@9 ldrm=R@6",
        ),
        (
            (false, Delete::Missing, true),
            "same=0@0 lnew=L@5 xnew=L@9 lmod=L@5 rmod=R@6 xmod=L@5 lmrd=L@5",
        ),
        (
            (true, Delete::Never, false),
            "same=0@0 ldel=0@0 rdel=0@0 lnew=L@5 rnew=R@6 xnew=L@9 lmod=L@5 rmod=0@0 xmod=L@5 ldrm=R@6",
        ),
        (
            (true, Delete::Missing, true),
            "same=0@0 rdel=0@0 lnew=L@5 xnew=L@9 lmod=L@5 rmod=0@0 xmod=L@5 lmrd=L@5",
        ),
        (
            (true, Delete::Unmatched, true),
            "same=0@0 rdel=0@0 lnew=L@5 xnew=L@9 lmod=L@5 rmod=0@0 xmod=L@5 lmrd=L@5",
        ),
    ];
    for ((force, delete, source_wins), follower) in cases {
        for (direction, near) in [(Direction::Upload, Local), (Direction::Download, Remote)] {
            println!("{direction:?} force {force} {delete:?} source wins {source_wins}");
            let rule = match (source_wins, near) {
                (false, _) => Resolve::Skip,
                (true, Local) => Resolve::Local,
                (true, Remote) => Resolve::Remote,
            };
            let mut world = changed(near).command(direction).resolve(rule).job(|job| {
                job.policy.force = force;
                job.policy.delete = delete;
            });
            let ran = world.run().expect_clean();
            match near {
                Local => world.assert_trees(source, follower),
                Remote => world.assert_trees(follower, source),
            }
            let written: Vec<_> = ran
                .changes
                .iter()
                .filter(|change| change.starts_with(&near.to_string()))
                .filter(|change| !change.contains(" sync "))
                .collect();
            assert_eq!(
                written,
                Vec::<&String>::new(),
                "the source is never written"
            );
            world.assert_settled();
        }
    }
}

#[test]
fn upload_with_delete_empties_and_removes_directories_that_it_never_recorded() {
    let mut world = World::new()
        .command(Direction::Upload)
        .job(|job| job.policy.delete = Delete::Missing);
    world.put_local("a=1@1");
    world.put_remote("a=1@1 d/b=2@2 d/e/f=3@3 empty/");
    world.run().expect_clean();
    world.assert_both("a=1@1");
}

#[test]
fn what_others_put_there_stays_where_only_ours_is_deleted() {
    for resolve in [Resolve::Skip, Resolve::Local] {
        let mut world =
            World::synced("i=0@1 page=1@1 d/asset=2@1 d/kept=3@1 old/page=4@1 gone/page=5@1")
                .command(Direction::Upload)
                .resolve(resolve)
                .job(|job| job.policy.delete = Delete::Ours);
        world.put_remote("photo=v@5 uploads/photo=v@5 d/kept=v@6 old/photo=v@5");
        world.take(Local, "page d old gone");
        world.run().expect_clean();
        // A file of ours that somebody wrote anew is not what we put there any more.
        world.assert_trees(
            "i=0@1",
            "i=0@1 photo=v@5 uploads/photo=v@5 d/kept=v@6 old/photo=v@5",
        );
        world.run().expect_clean();
        world.assert_trees(
            "i=0@1",
            "i=0@1 photo=v@5 uploads/photo=v@5 d/kept=v@6 old/photo=v@5",
        );
    }
}

#[test]
fn where_nothing_is_recorded_nothing_is_ours() {
    let mut world = World::new()
        .command(Direction::Upload)
        .job(|job| job.policy.delete = Delete::Ours);
    world.put_local("a=1@1");
    world.put_remote("a=1@1 d/b=2@2 empty/");
    world.run().expect_clean();
    world.assert_trees("a=1@1", "a=1@1 d/b=2@2 empty/");
    // What was found equal was made equal.
    world.put_local("z=1@1");
    world.take(Local, "a");
    world.run().expect_clean();
    world.assert_trees("z=1@1", "z=1@1 d/b=2@2 empty/");
}

#[test]
fn upload_without_delete_leaves_surplus_alone() {
    let mut world = World::new().command(Direction::Upload);
    world.put_local("a=1@1");
    world.put_remote("d/b=2@2 empty/ c=3@3");
    world.run().expect_clean();
    world.assert_trees("a=1@1", "a=1@1 d/b=2@2 empty/ c=3@3");
    world.assert_settled();
}

#[test]
fn force_restores_a_directory_that_the_follower_deleted() {
    let mut world = World::synced("d/a=1@1 d/e/b=2@2 c=3@3")
        .command(Direction::Upload)
        .job(|job| job.policy.force = true);
    world.take(Remote, "d");
    world.run().expect_clean();
    world.assert_both("d/a=1@1 d/e/b=2@2 c=3@3");
    world.assert_settled();
}

#[test]
fn answers_of_the_user_hold_once_or_for_all_that_follow() {
    let mut world = changed(Local).resolve(Resolve::Ask);
    // Asked in the order of names: ldrm, lmrd, xmod, xnew.
    world.answers = [
        once(Choice::Skip),
        once(Choice::Use(Remote)),
        Answer::Always(Choice::Newer),
    ]
    .into();
    world.run().expect_clean();
    world.assert_trees(
        "same=0@0 lnew=L@5 rnew=R@6 lmod=L@5 rmod=R@6 xnew=L@9 xmod=R@9",
        "same=0@0 lnew=L@5 rnew=R@6 lmod=L@5 rmod=R@6 xnew=L@9 xmod=R@9 ldrm=R@6",
    );
}

#[test]
fn a_conflict_with_equal_times_is_not_settled_by_time() {
    let mut world = World::synced("a=1@1").resolve(Resolve::New);
    world.put_local("a=short@5");
    world.put_remote("a=longer@5");
    world.answers = [once(Choice::Use(Local))].into();
    world.run().expect_clean();
    world.assert_both("a=short@5");
    assert!(world.answers.is_empty(), "the user was asked");
}

// Selection

#[test]
fn filters_hold_inside_directories_that_are_new() {
    let mut world = World::new().job(|job| {
        job.selection.excluded = vec![".git".to_owned(), "*.o".to_owned()];
    });
    world.put_local("d/a.c=1@1 d/a.o=2@1 d/.git/config=3@1 d/e/b.o=4@1");
    world.run().expect_clean();
    world.assert_trees(
        "d/a.c=1@1 d/a.o=2@1 d/.git/config=3@1 d/e/b.o=4@1",
        "d/a.c=1@1 d/e/",
    );
    world.assert_settled();
}

#[test]
fn match_chooses_among_files_only() {
    let mut world = World::new().job(|job| job.selection.matching = vec!["*.txt".to_owned()]);
    world.put_local("a.txt=1@1 a.bin=2@1 d/b.txt=3@1 d/b.bin=4@1");
    world.run().expect_clean();
    world.assert_trees(
        "a.txt=1@1 a.bin=2@1 d/b.txt=3@1 d/b.bin=4@1",
        "a.txt=1@1 d/b.txt=3@1",
    );
}

#[test]
fn an_excluded_directory_on_both_sides_is_left_alone() {
    for direction in [Direction::Sync, Direction::Upload, Direction::Download] {
        let mut world = World::new().command(direction).job(|job| {
            job.selection.excluded = vec![".git".to_owned()];
            job.policy.delete = Delete::Missing;
        });
        world.put_local(".git/a=1@1 x=1@1");
        world.put_remote(".git/b=2@1 x=1@1");
        world.run().expect_clean();
        world.assert_trees(".git/a=1@1 x=1@1", ".git/b=2@1 x=1@1");
    }
}

#[test]
fn a_file_excluded_later_is_not_deleted_for_it() {
    let mut world = World::synced("a.o=1@1 b=2@1").job(|job| {
        job.selection.excluded = vec!["*.o".to_owned()];
    });
    world.take(Local, "a.o");
    world.run().expect_clean();
    world.assert_trees("b=2@1", "a.o=1@1 b=2@1");
}

#[test]
fn a_directory_deleted_while_it_was_left_out_takes_nothing_along_later() {
    let mut world = World::synced("a/x/f=1@1 a/x/s/g=2@1 a/k=k@1 b=2@1");
    world.job.selection.excluded = vec!["a".to_owned()];
    world.take(Remote, "a/x");
    world.run().expect_clean();
    world.job.selection.excluded.clear();
    world.job.direction = Direction::Download;
    world.run().expect_clean();
    world.job.direction = Direction::Sync;
    world.run().expect_clean();
    world.assert_both("a/x/f=1@1 a/x/s/g=2@1 a/k=k@1 b=2@1");
    world.assert_settled();
}

#[test]
fn delete_unmatched_removes_what_the_filter_rejects_but_never_reserved_names() {
    let mut world = World::new().command(Direction::Upload).job(|job| {
        job.selection.excluded = vec!["*.o".to_owned(), "build".to_owned()];
        job.policy.delete = Delete::Unmatched;
    });
    world.put_local("a=1@1 keep.o=2@1");
    world.put_remote("a=1@1 old.o=3@1 keep.o=2@1 build/x=4@1 build/y/z=5@1 pyftpsync.yaml=6@1");
    world.run().expect_clean();
    world.assert_trees("a=1@1 keep.o=2@1", "a=1@1");
    assert!(world.trees.remote.paths().contains_key("pyftpsync.yaml"));
    world.assert_settled();
}

#[test]
fn young_files_wait_for_the_next_run() {
    let mut world =
        World::synced("old=1@1").job(|job| job.policy.min_age = Duration::from_secs(60));
    let young = NOW_SECS - 10;
    world.put_local(&format!("young=2@{young}s aged=3@5"));
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("young"), ["skip too young"]);
    world.assert_trees(
        &format!("old=1@1 young=2@{young}s aged=3@5"),
        "old=1@1 aged=3@5",
    );
}

#[test]
fn names_are_synced_to_the_disk_once_and_before_they_are_recorded() {
    let mut world = World::new().command(Direction::Download);
    world.put_remote("d/a=1@1 d/b=2@2 d/c=3@3");
    let ran = world.run().expect_clean();
    let of_local: Vec<&str> = (ran.changes.iter())
        .filter_map(|change| change.strip_prefix("local "))
        .collect();
    let (files, lasting) = of_local.split_at(4);
    // Several connections end in any order.
    let mut files = files.to_vec();
    files.sort_unstable();
    assert_eq!(files, ["mkdir d", "write d/a", "write d/b", "write d/c"]);
    assert_eq!(lasting, ["sync d"]);
}

#[test]
fn a_link_or_device_is_left_alone_and_so_is_its_peer() {
    for direction in [Direction::Sync, Direction::Upload, Direction::Download] {
        let mut world = World::new().command(direction).job(|job| {
            job.policy.delete = Delete::Missing;
            job.policy.force = direction != Direction::Sync;
        });
        world.put_local("alone~ here~ there=1@1 d/inner~ d/x=1@1");
        world.put_remote("here=1@1 there~ d/x=1@1");
        world.run().expect_clean();
        world.assert_trees(
            "alone~ here~ there=1@1 d/inner~ d/x=1@1",
            "here=1@1 there~ d/x=1@1",
        );
        world.assert_settled();
    }
}

#[test]
fn a_file_that_became_a_link_keeps_its_peer() {
    let mut world = World::synced("a=1@1 b=2@1");
    world.take(Local, "a");
    world.put_local("a~");
    world.run().expect_clean();
    world.assert_trees("a~ b=2@1", "a=1@1 b=2@1");
}

#[test]
fn a_link_in_a_deleted_directory_keeps_that_directory() {
    let mut world = World::synced("d/a=1@1 x=1@1");
    world.put_remote("d/l~");
    world.take(Local, "d");
    world.run();
    assert!(
        world.words(Remote).contains("d/l~"),
        "{}",
        world.words(Remote)
    );
    world.assert_settled();
}

// Case

#[test]
fn names_that_differ_only_in_case_are_left_alone_and_the_rest_goes_on() {
    for (local, remote) in [
        ("a=1@1", "A=1@1"),
        ("a=1@1 A=2@1", ""),
        ("", "d/x=1@1 d/X=2@1"),
        ("d/x=1@1", "D/y=2@1"),
    ] {
        let mut world = World::new();
        world.put_local(&format!("{local} other=o@1"));
        world.put_remote(&format!("{remote} there=t@1"));
        let ran = world.run();
        let told = ran
            .lines
            .iter()
            .find(|line| line.contains("differs from this one only in case"));
        let told = told.unwrap_or_else(|| panic!("{:?}", ran.lines));
        assert!(told.contains("--case strict"), "{told}");
        // Each is counted once: it is told as an error.
        assert_eq!((ran.totals().errors, ran.totals().conflicts), (2, 0));
        let with = |words: &str| {
            let dirs = if words.is_empty() && remote.contains("d/") {
                " d/"
            } else {
                ""
            };
            format!("{words} other=o@1 there=t@1{dirs}")
        };
        world.assert_trees(&with(local), &with(remote));
    }
}

const CASES: [Case; 4] = [Case::Refuse, Case::Strict, Case::Local, Case::Remote];

fn folding() -> Manners {
    Manners {
        case: CaseSensitivity::Insensitive,
        ..Manners::default()
    }
}

#[test]
fn a_file_renamed_in_case_alone_is_renamed_there_too() {
    for (by, said) in [(Local, "rename >"), (Remote, "rename <")] {
        for case in CASES {
            for manners in [Manners::default(), folding()] {
                let plain = Manners::default();
                let mut world = match by {
                    Local => World::with(plain, manners),
                    Remote => World::with(manners, plain),
                };
                world.job.policy.case = case;
                world.put_local("readme=r@1 other=o@1");
                world.run().expect_clean();
                world.rename(by, "readme", "README");
                let ran = world.run().expect_clean();
                assert_eq!(ran.said_of("README"), [said], "{case:?} {:?}", ran.lines);
                world.assert_both("README=r@1 other=o@1");
                world.assert_settled();
            }
        }
    }
}

#[test]
fn a_file_renamed_in_case_and_edited_is_both_there_too() {
    for case in CASES {
        for manners in [Manners::default(), folding()] {
            let mut world = World::with(Manners::default(), manners);
            world.job.policy.case = case;
            world.put_local("d/readme=r@1 other=o@1");
            world.run().expect_clean();
            world.rename(Local, "d/readme", "d/README");
            world.put_local("d/README=again@5");
            world.run().expect_clean();
            world.assert_both("d/README=again@5 other=o@1");
            world.assert_settled();
        }
    }
}

#[test]
fn a_directory_renamed_in_case_alone_is_renamed_there_too() {
    for case in CASES {
        for manners in [Manners::default(), folding()] {
            let mut world = World::with(Manners::default(), manners);
            world.job.policy.case = case;
            world.put_local("docs/sub/a=1@1 docs/b=2@1 other=o@1");
            world.run().expect_clean();
            world.rename(Local, "docs", "Docs");
            world.put_local("Docs/b=22@5 Docs/new=3@5");
            world.run().expect_clean();
            world.assert_both("Docs/sub/a=1@1 Docs/b=22@5 Docs/new=3@5 other=o@1");
            world.assert_settled();
            world.take(Local, "Docs/sub/a");
            world.run().expect_clean();
            world.assert_both("Docs/sub/ Docs/b=22@5 Docs/new=3@5 other=o@1");
            world.assert_settled();
        }
    }
}

#[test]
fn a_directory_that_the_other_side_renamed_in_case_alone_keeps_its_spelling_here() {
    // With `strict`, the one is deleted and the other new.
    for case in [Case::Refuse, Case::Local, Case::Remote] {
        let mut world = World::synced("docs/sub/a=1@1 docs/b=2@1 other=o@1");
        world.job.policy.case = case;
        world.rename(Remote, "docs", "Docs");
        world.put_remote("Docs/b=22@5");
        world.run().expect_clean();
        world.assert_trees(
            "docs/sub/a=1@1 docs/b=22@5 other=o@1",
            "Docs/sub/a=1@1 Docs/b=22@5 other=o@1",
        );
        world.assert_settled();
        world.take(Remote, "Docs/sub/a");
        world.run().expect_clean();
        world.assert_trees(
            "docs/sub/ docs/b=22@5 other=o@1",
            "Docs/sub/ Docs/b=22@5 other=o@1",
        );
        world.assert_settled();
    }
}

#[test]
fn a_name_renamed_in_case_on_both_sides_is_one_name() {
    for case in CASES {
        let mut world = World::synced("readme=r@1 d/a=1@1 other=o@1");
        world.job.policy.case = case;
        for side in [Local, Remote] {
            world.rename(side, "readme", "README");
            world.rename(side, "d", "D");
        }
        world.put_local("README=again@5");
        world.run().expect_clean();
        world.assert_both("README=again@5 D/a=1@1 other=o@1");
        world.assert_settled();
    }
}

#[test]
fn a_second_name_beside_a_recorded_one_is_a_lookalike() {
    let mut world = World::synced("readme=r@1 other=o@1");
    world.rename(Local, "readme", "README");
    world.put_remote("README=new@5");
    world.run();
    world.assert_trees("README=r@1 other=o@1", "readme=r@1 README=new@5 other=o@1");
}

#[test]
fn an_upload_that_deletes_nothing_renames_nothing() {
    let mut world = World::synced("readme=r@1 d/a=1@1 other=o@1").command(Direction::Upload);
    world.rename(Local, "readme", "README");
    world.rename(Local, "d", "D");
    world.run().expect_clean();
    world.assert_trees(
        "README=r@1 D/a=1@1 other=o@1",
        "readme=r@1 d/a=1@1 other=o@1",
    );
    world.assert_settled();
    world.put_local("README=again@5 D/a=11@5");
    world.run().expect_clean();
    world.assert_trees(
        "README=again@5 D/a=11@5 other=o@1",
        "readme=again@5 d/a=11@5 other=o@1",
    );
    world.assert_settled();
}

#[test]
fn two_names_that_meet_on_a_side_both_stay() {
    for (here, there) in [(Local, Remote), (Remote, Local)] {
        for direction in [Direction::Sync, Direction::Upload, Direction::Download] {
            if !direction.writes(there) {
                continue;
            }
            let mut world = match there {
                Remote => World::with(Manners::default(), folding()),
                Local => World::with(folding(), Manners::default()),
            };
            world.job.policy.case = Case::Strict;
            world.job.direction = direction;
            world.job.policy.delete = Delete::Missing;
            world.put(here, "README=upper@1 Readme=mixed@2 x=x@1 y=y@1");
            for _ in 0..3 {
                let ran = world.run();
                assert!(ran.totals().errors > 0, "{:?}", ran.lines);
                assert_eq!(
                    world.words(here),
                    "README=upper@1 Readme=mixed@2 x=x@1 y=y@1"
                );
                assert_eq!(world.trees.of(there).user_paths().len(), 3);
            }
            // The one that is there goes on; the other one gets its place when that is gone.
            world.take(here, "README");
            world.run().expect_clean();
            world.run().expect_clean();
            assert!(
                world.words(there).contains("=mixed@2"),
                "{}",
                world.words(there)
            );
            world.assert_settled();
        }
    }
}

#[test]
fn strict_case_keeps_both_names() {
    let mut world = World::new().job(|job| job.policy.case = Case::Strict);
    world.put_local("a=1@1");
    world.put_remote("A=2@1");
    world.run().expect_clean();
    world.assert_both("a=1@1 A=2@1");
    world.assert_settled();
}

#[test]
fn a_chosen_case_pairs_names_and_each_side_keeps_its_own() {
    for case in [Case::Local, Case::Remote] {
        let mut world = World::new()
            .resolve(Resolve::New)
            .job(|job| job.policy.case = case);
        world.put_local("Readme=1@1 Docs/Guide=2@1 docs-here=3@1");
        world.put_remote("README=9@5 DOCS/guide=2@1 DOCS/new=4@1");
        world.run().expect_clean();
        world.assert_trees(
            "Readme=9@5 Docs/Guide=2@1 Docs/new=4@1 docs-here=3@1",
            "README=9@5 DOCS/guide=2@1 DOCS/new=4@1 docs-here=3@1",
        );
        world.assert_settled();
        world.take(Local, "Docs/Guide");
        world.put_remote("README=again@7");
        world.run().expect_clean();
        world.assert_trees(
            "Readme=again@7 Docs/new=4@1 docs-here=3@1",
            "README=again@7 DOCS/new=4@1 docs-here=3@1",
        );
        world.assert_settled();
    }
}

#[test]
fn a_side_that_cannot_tell_case_apart_is_synced_all_the_same() {
    let folding = Manners {
        case: CaseSensitivity::Insensitive,
        ..Manners::default()
    };
    let mut world =
        World::with(Manners::default(), folding).job(|job| job.policy.case = Case::Local);
    world.put_local("Photo.JPG=1@1");
    world.put_remote("photo.jpg=1@1");
    world.run().expect_clean();
    world.put_local("Photo.JPG=2@5");
    world.run().expect_clean();
    world.assert_trees("Photo.JPG=2@5", "photo.jpg=2@5");
    world.assert_settled();
}

// A change of type

#[test]
fn a_file_here_and_a_directory_there_is_a_conflict_that_loses_nothing() {
    for rule in [Resolve::Skip, Resolve::New, Resolve::Old] {
        let mut world = World::synced("a=1@1 d/x=1@1").resolve(rule);
        world.take(Local, "a d");
        world.put_local("a/inside=2@5 d=3@5");
        let ran = world.run().expect_clean();
        assert_eq!(ran.said_of("a"), ["conflict"]);
        world.assert_trees("a/inside=2@5 d=3@5", "a=1@1 d/x=1@1");
        world.assert_settled();
    }
}

/// The file and the directory of two names, once on each side; who has them in the end, and under which names.
#[test]
fn a_file_or_a_directory_that_gives_way_gets_another_name() {
    for (rule, kept, aside) in [
        (Resolve::Local, "a/inside=2@5 d=3@5", ["a", "d/x"]),
        (Resolve::Remote, "a=1@1 d/x=1@1", ["a/inside", "d"]),
        (Resolve::Both, "a/inside=2@5 d/x=1@1", ["a", "d"]),
    ] {
        let mut world = World::synced("a=1@1 d/x=1@1").resolve(rule);
        world.take(Local, "a d");
        world.put_local("a/inside=2@5 d=3@5");
        world.run().expect_clean();
        let there = world.words(Local);
        assert_eq!(there, world.words(Remote), "{rule:?}");
        for file in kept.split(' ') {
            assert!(
                there.split(' ').any(|word| word == file),
                "{rule:?}: {file} in {there}"
            );
        }
        for path in aside {
            let (name, below) = path.split_once('/').unwrap_or((path, ""));
            let renamed =
                |file: &str| file.starts_with(&format!("{name}.conflict-")) && file.contains(below);
            assert!(there.split(' ').any(renamed), "{rule:?}: {path} in {there}");
        }
        world.assert_settled();
    }
}

#[test]
fn a_mirror_moves_aside_on_its_follower_and_deletes_only_as_it_was_told() {
    for (delete, stays) in [
        (Delete::Never, true),
        (Delete::Ours, true),
        (Delete::Missing, false),
    ] {
        let mut world = World::synced("a=1@1 d/x=1@1 e=1@1 f=1@1")
            .command(Direction::Upload)
            .resolve(Resolve::Local)
            .job(|job| job.policy.delete = delete);
        world.take(Local, "a d");
        world.put_local("a/inside=2@5 d=3@5");
        world.run().expect_clean();
        let mirrored = "a/inside=2@5 d=3@5 e=1@1 f=1@1";
        assert_eq!(world.words(Local), mirrored);
        let there = world.words(Remote);
        for word in mirrored.split(' ') {
            assert!(
                there.split(' ').any(|other| other == word),
                "{word} in {there}"
            );
        }
        for aside in ["a.conflict-", "d.conflict-"] {
            assert_eq!(
                there.contains(aside),
                stays,
                "{delete:?}: {aside} in {there}"
            );
        }
        world.assert_settled();
    }
}

#[test]
fn an_old_record_of_another_type_deletes_nothing() {
    let mut world = World::synced("a=1@1 d/x=1@1 keep=1@1");
    world.take(Local, "a d");
    world.take(Remote, "a d");
    // What was a file is a directory now, on one side only; and the other way round.
    world.put_remote("a/inside=2@5 d=3@5");
    world.run().expect_clean();
    world.assert_both("a/inside=2@5 d=3@5 keep=1@1");
    world.assert_settled();
}

// Deleted directories

#[test]
fn a_deleted_directory_goes_with_all_that_was_synced() {
    for (gone, other) in [(Local, Remote), (Remote, Local)] {
        let mut world = World::synced("d/a=1@1 d/s/b=2@2 d/empty/ x=1@1");
        world.take(gone, "d");
        let ran = world.run().expect_clean();
        world.assert_both("x=1@1");
        assert_eq!(ran.totals().files_deleted, 2, "on the {other} side");
        assert_eq!(ran.totals().dirs_deleted, 3);
        world.assert_settled();
    }
}

#[test]
fn a_changed_file_in_a_deleted_directory_is_a_conflict_and_the_rest_goes() {
    let mut world = World::synced("d/a=1@1 d/b=1@1 d/s/c=1@1 x=1@1");
    world.take(Remote, "d");
    world.put_local("d/b=changed@5");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("d/b"), ["conflict"]);
    world.assert_trees("d/b=changed@5 x=1@1", "x=1@1");
    world.assert_settled();
}

#[test]
fn an_added_file_in_a_deleted_directory_is_a_conflict_and_the_rest_goes() {
    let mut world = World::synced("d/a=1@1 d/s/c=1@1 x=1@1");
    world.take(Remote, "d");
    world.put_local("d/s/new=n@5");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("d/s/new"), ["conflict"]);
    world.assert_trees("d/s/new=n@5 x=1@1", "x=1@1");
    world.assert_settled();
}

#[test]
fn a_changed_file_is_restored_in_a_deleted_directory() {
    let mut world = World::synced("d/a=1@1 d/s/b=1@1 d/s/c=1@1 x=1@1").resolve(Resolve::Local);
    world.take(Remote, "d");
    world.put_local("d/s/b=changed@5");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("d/s/b"), ["restore >"]);
    world.assert_both("d/s/b=changed@5 x=1@1");
    world.assert_settled();
}

#[test]
fn a_rule_may_delete_the_changed_file_and_then_the_directory() {
    let mut world = World::synced("d/a=1@1 d/s/b=1@1 x=1@1").resolve(Resolve::Remote);
    world.take(Remote, "d");
    world.put_local("d/s/b=changed@5");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("d/s/b"), ["resolve by delete <"]);
    world.assert_both("x=1@1");
    world.assert_settled();
}

#[test]
fn a_directory_moved_elsewhere_arrives_there_and_goes_here() {
    let mut world = World::synced("d/a=1@1 d/b=2@2 x=1@1");
    world.take(Local, "d");
    world.put_local("e/a=1@1 e/b=2@2");
    world.run().expect_clean();
    world.assert_both("e/a=1@1 e/b=2@2 x=1@1");
    world.assert_settled();
}

#[test]
fn a_directory_deleted_here_and_made_anew_there_comes_back() {
    let mut world = World::synced("d/a=1@1 x=1@1");
    world.take(Local, "d");
    world.take(Remote, "d");
    world.run().expect_clean();
    world.put_remote("d/b=2@2");
    world.run().expect_clean();
    world.assert_both("d/b=2@2 x=1@1");
    world.assert_settled();
}

// Listings that are not whole

#[test]
fn an_incomplete_listing_protects_its_directory_and_all_below_on_both_sides() {
    for broken in [Local, Remote] {
        let mut world = World::synced("d/a=1@1 d/b=1@1 d/s/c=1@1 d/s/t/e=1@1 x=1@1 y=1@1");
        world.take(Remote, "d/a d/s/c d/s/t y");
        world.take(Local, "d/b x");
        world.trees.of(broken).break_listing("d");
        let ran = world.run();
        // Elsewhere, all goes as usual.
        world.assert_trees("d/a=1@1 d/s/c=1@1 d/s/t/e=1@1", "d/b=1@1 d/s/");
        assert!(ran.totals().errors > 0, "{:?}", ran.lines);
        assert!(
            ran.lines
                .iter()
                .any(|line| line.contains("listing is incomplete")),
            "{:?}",
            ran.lines
        );
    }
}

#[test]
fn an_incomplete_listing_of_the_root_protects_everything() {
    let mut world = World::synced("a=1@1 d/b=1@1 x=1@1");
    world.take(Remote, "a d/b");
    world.trees.remote.break_listing("");
    world.run();
    world.assert_trees("a=1@1 d/b=1@1 x=1@1", "d/ x=1@1");
}

#[test]
fn a_name_that_an_incomplete_listing_lacks_is_not_overwritten() {
    let mut world = World::synced("d/a=1@1 x=1@1");
    world.put_local("d/new=2@2");
    world.trees.remote.break_listing("d");
    let ran = world.run();
    assert_eq!(ran.said_of("d/new"), ["skip protected"]);
    world.assert_trees("d/a=1@1 d/new=2@2 x=1@1", "d/a=1@1 x=1@1");
}

// Trash

fn trash(keep_days: Option<u32>) -> Option<Trash> {
    Some(Trash {
        dir: RelPath::parse(b".trash").unwrap(),
        keep_days,
    })
}

#[test]
fn what_is_deleted_or_overwritten_goes_to_the_trash_of_its_side() {
    let mut world = World::synced("a=1@1 d/b=1@1 e/c=1@1 x=1@1").job(|job| {
        job.policy.trash = trash(None);
    });
    world.take(Local, "a");
    world.take(Remote, "e");
    world.put_local("d/b=2@5");
    world.run().expect_clean();
    world.assert_trees(
        "d/b=2@5 x=1@1 .trash/20270115-080000/e/c=1@1",
        "d/b=2@5 x=1@1 .trash/20270115-080000/a=1@1 .trash/20270115-080000/d/b=1@1",
    );
    world.assert_settled();
}

#[test]
fn a_trash_is_no_content_for_a_run_that_has_none() {
    for (emptied, direction) in [
        (Remote, Direction::Sync),
        (Local, Direction::Sync),
        (Local, Direction::Upload),
    ] {
        let mut world = World::synced("a=1@1 d/b=1@1 x=1@1").job(|job| {
            job.policy.trash = trash(None);
        });
        world.take(emptied, "a");
        world.run().expect_clean();
        let trees = (world.words(Local), world.words(Remote));
        let mut world = world.command(direction).job(|job| {
            job.policy.trash = None;
            job.policy.delete = match direction {
                Direction::Sync => Delete::Never,
                Direction::Upload | Direction::Download => Delete::Missing,
            };
        });
        world.run().expect_clean();
        world.assert_trees(&trees.0, &trees.1);
        world.assert_settled();
    }
}

#[test]
fn two_runs_of_one_second_each_have_their_own_in_the_trash() {
    let mut world = World::synced("a=1@1 b=1@1 c=1@1 x=1@1").job(|job| {
        job.policy.trash = trash(None);
    });
    world.take(Local, "a");
    world.put_local("b=22@5");
    world.run().expect_clean();
    world.put_local("a=new@6");
    world.run().expect_clean();
    world.take(Local, "a");
    world.put_local("b=333@7");
    world.run().expect_clean();
    world.assert_trees(
        "b=333@7 c=1@1 x=1@1",
        "b=333@7 c=1@1 x=1@1 .trash/20270115-080000/a=1@1 .trash/20270115-080000/b=1@1 \
         .trash/20270115-080001/a=new@6 .trash/20270115-080001/b=22@5",
    );
}

#[test]
fn old_trash_expires_and_nothing_else_in_it() {
    let mut world = World::synced("a=1@1 b=1@1").job(|job| job.policy.trash = trash(Some(30)));
    world.put_remote(
        ".trash/20261115-000000/old=1@1 .trash/20261115-000000/d/e=1@1 .trash/20270110-000000/young=1@1 .trash/mine/x=1@1",
    );
    world.take(Local, "a");
    world.run().expect_clean();
    world.assert_trees(
        "b=1@1",
        "b=1@1 .trash/20270115-080000/a=1@1 .trash/20270110-000000/young=1@1 .trash/mine/x=1@1",
    );
}

// A remote side that cannot keep times

fn forgetful() -> World {
    let loses_times = Manners {
        times: Times::Lost,
        ..Manners::default()
    };
    World::with(Manners::default(), loses_times)
}

#[test]
fn a_remote_side_that_loses_times_has_them_in_its_metadata() {
    let mut world = forgetful();
    world.put_local("a=1@1 d/b=2@2");
    world.run().expect_clean();
    let rows = world.remote_times("d").expect("the upload's true time");
    let json: serde_json::Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(json["mtimes"]["b"]["m"], 1_700_000_154, "{rows}");
    world.assert_settled();
    // Downloaded by somebody else, the file gets its true time back.
    let mut other = World::new().command(Direction::Download);
    other.trees.remote = world.trees.remote.clone();
    other.run().expect_clean();
    assert_eq!(other.words(Local), "a=1@1 d/b=2@2");
}

#[test]
fn a_foreign_change_is_noticed_where_times_are_lost() {
    let mut world = forgetful();
    world.put_local("same-size=1@1 other-size=1@1 d/deleted=1@1 x=1@1");
    world.run().expect_clean();
    let later = NOW_SECS + 500;
    world.put_remote(&format!("same-size=9@{later}s other-size=long@{later}s"));
    world.take(Remote, "d/deleted");
    world.run().expect_clean();
    assert_eq!(
        world.words(Local),
        format!("d/ other-size=long@{later}s same-size=9@{later}s x=1@1")
    );
    world.assert_settled();
}

#[test]
fn changes_and_deletions_travel_to_a_side_that_loses_times() {
    let mut world = forgetful();
    world.put_local("a=1@1 b=1@1 c=1@1");
    world.run().expect_clean();
    world.put_local("a=22@5");
    world.take(Local, "b");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("a"), ["copy >"]);
    assert_eq!(ran.said_of("b"), ["delete >"]);
    let rows = world.remote_times("").unwrap();
    let json: serde_json::Value = serde_json::from_str(&rows).unwrap();
    assert_eq!(json["mtimes"]["a"]["s"], 2);
    assert!(json["mtimes"].get("b").is_none(), "{rows}");
    world.assert_settled();
}

#[test]
fn a_side_that_keeps_times_gets_no_metadata() {
    let world = World::synced("a=1@1 d/b=2@2");
    assert_eq!(world.remote_times(""), None);
    assert_eq!(world.remote_times("d"), None);
}

// Other ways to run

#[test]
fn without_a_remote_scan_the_records_say_what_is_there() {
    let mut world = World::synced("a=1@1 b=1@1 d/c=1@1 e/f=1@1")
        .command(Direction::Upload)
        .job(|job| {
            job.policy.remote_scan = RemoteScan::Trusted;
            job.policy.delete = Delete::Missing;
        });
    // Nobody looks: neither at what is wrong there nor at how it is listed.
    world.trees.remote.break_listing("");
    world.trees.remote.break_listing("d");
    world.put_remote("foreign=1@1");
    world.put_local("a=22@5 d/new=3@5 n/o=4@5");
    world.take(Local, "b e");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("a"), ["copy >"]);
    assert_eq!(
        world.words(Remote),
        "a=22@5 d/c=1@1 d/new=3@5 foreign=1@1 n/o=4@5"
    );
    world.assert_settled();
}

#[test]
fn a_dry_run_tells_the_same_and_changes_nothing() {
    for rule in [Resolve::Skip, Resolve::Local, Resolve::Both] {
        let mut dry = changed(Local).resolve(rule).job(|job| job.dry_run = true);
        dry.put_local("new/deep/file=1@5");
        let told = dry.run().expect_clean();
        assert_eq!(told.changes, Vec::<String>::new());
        let mut real = changed(Local).resolve(rule);
        real.put_local("new/deep/file=1@5");
        let done = real.run().expect_clean();
        assert_eq!(in_order_of_text(told.lines), in_order_of_text(done.lines));
    }
}

#[test]
fn one_failing_file_does_not_stop_the_others() {
    let mut world = World::synced("d/old=o@1 e/gone=g@1 x=x@1");
    world.trees.remote.refuse("d/bad");
    world.put_local("d/bad=b@2 d/good=g@2 z=z@2");
    world.take(Local, "e/gone d/old");
    let ran = world.run();
    assert_eq!(ran.totals().copy_errors, 1, "{:?}", ran.lines);
    assert_eq!(world.words(Local), "d/bad=b@2 d/good=g@2 e/ x=x@1 z=z@2");
    // What was copied may be a part of what the failed file belongs to: nothing is deleted beside it.
    assert_eq!(world.words(Remote), "d/good=g@2 d/old=o@1 e/ x=x@1 z=z@2");
}

/// A site of which each page names the assets of its release.
fn site() -> World {
    World::synced("app/1.css=1@1 app/1.js=1@1 index=1@1 z=0@1")
        .command(Direction::Upload)
        .job(|job| {
            job.policy.delete = Delete::Missing;
            job.policy.last = vec!["index".to_owned()];
        })
}

#[test]
fn what_comes_last_is_copied_when_all_else_is_there_and_before_anything_goes() {
    for connections in [1, 4] {
        let mut world = site();
        world.job.limits.connections =
            Connections::AtMost(std::num::NonZeroU8::new(connections).unwrap());
        world.put_local("index=2@5 app/2.js=2@5 z=2@5");
        world.take(Local, "app/1.js");
        // What is renamed at once would be gone too early.
        world.rename(Local, "app/1.css", "app/2.css");
        let ran = world.run().expect_clean();
        world.assert_both("app/2.css=1@1 app/2.js=2@5 index=2@5 z=2@5");
        let place = |name: &str| {
            let touched = ran
                .changes
                .iter()
                .rposition(|change| change.ends_with(name));
            touched.unwrap_or_else(|| panic!("{name} in {:?}", ran.changes))
        };
        for early in ["app/2.js", "app/2.css", "z"] {
            assert!(place(early) < place("index"), "{early}: {:?}", ran.changes);
        }
        for late in ["app/1.js", "app/1.css"] {
            assert!(place(late) > place("index"), "{late}: {:?}", ran.changes);
        }
        world.assert_settled();
    }
}

#[test]
fn what_comes_last_waits_with_all_deletions_until_all_else_is_there() {
    let mut world = site();
    world.put_local("index=2@5 app/2.js=2@5 z=2@5");
    world.take(Local, "app/1.js");
    world.trees.remote.refuse("app/2.js");
    let ran = world.run();
    assert_eq!(ran.totals().errors, 1, "{:?}", ran.lines);
    assert!(
        ran.lines.iter().any(|line| line.contains("--last")),
        "{:?}",
        ran.lines
    );
    let remote = world.words(Remote);
    assert_eq!(remote, "app/1.css=1@1 app/1.js=1@1 index=1@1 z=2@5");
    world.trees.remote.refuse_nothing();
    world.run().expect_clean();
    world.assert_both("app/1.css=1@1 app/2.js=2@5 index=2@5 z=2@5");
    world.assert_settled();
    // So it is where the last one itself fails.
    world.put_local("index=3@9");
    world.take(Local, "app/2.js");
    world.trees.remote.refuse("index");
    world.run();
    let remote = world.words(Remote);
    assert_eq!(remote, "app/1.css=1@1 app/2.js=2@5 index=2@5 z=2@5");
}

#[test]
fn what_does_not_fit_is_refused_before_the_first_byte() {
    let small = Manners {
        room: 100,
        ..Manners::default()
    };
    let mut world = World::with(Manners::default(), small);
    world.put_local(&format!("a={}@1 b=1@1", "a".repeat(100)));
    let refusal = world.run().refusal();
    assert!(
        refusal.contains("take 101 bytes, and the remote side has 100 left"),
        "{refusal}"
    );
}

#[test]
fn a_mass_of_deletions_is_refused_before_the_first() {
    let many: Vec<String> = (0..20).map(|number| format!("f{number}=x@1")).collect();
    let mut world = World::synced(&many.join(" "));
    for number in 0..11 {
        world.take(Local, &format!("f{number}"));
    }
    let refusal = world.run().refusal();
    assert!(
        refusal.contains("11 of 20 files on the remote side"),
        "{refusal}"
    );
    assert!(refusal.contains("--max-delete 11"), "{refusal}");
    world.job.policy.allow.delete = MaxDelete::Files(11);
    world.run().expect_clean();
    world.assert_settled();
}

fn in_order_of_text(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

// Laws, over random worlds

/// splitmix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

const PLACES: [&str; 16] = [
    "a", "b", "c", "d/a", "d/b", "d/s/a", "d/s/b", "d/s/t/a", "e/a", "e/b", "e/s/a", "f/g/h/a",
    "f/g/b", "f/a", "n.o", "d/n.o",
];

/// How many random worlds each law is held against.
fn seeds() -> u64 {
    match is_long() {
        true => 3000,
        // The engine is the same; what a server makes of it needs fewer.
        false if World::new().is_served() => 20,
        false => 80,
    }
}

/// A world with a past and with changes since, whose content says who put it there.
fn random_world(seed: u64) -> World {
    let mut random = Random(seed);
    let remote = Manners {
        times: if random.one_in(4) {
            Times::Lost
        } else {
            Times::Kept
        },
        ..Manners::default()
    };
    let mut world = World::with(Manners::default(), remote);
    world.job.policy.allow.delete = MaxDelete::Percent(100);
    world.job.policy.allow.empty = true;
    world.job.policy.allow.time_shift = false;
    if !random.one_in(6) {
        for place in PLACES {
            if !random.one_in(3) {
                world.put_local(&format!("{place}=0@{}", random.below(3)));
            }
        }
        world.put_local("x=0@0");
        world.run().expect_clean();
    }
    for side in [Local, Remote] {
        for (number, place) in PLACES.iter().enumerate() {
            // Later than anything that a side without times may have noted, and each at a time of its own.
            let at = NOW_SECS + 10_000 + i64::try_from(random.below(40)).unwrap() * 100;
            match random.below(12) {
                0 => world.take(side, place),
                1 | 2 => place_over(&mut world, side, &format!("{place}={side}{number}@{at}s")),
                3 if random.one_in(4) => {
                    world.take(side, place.split('/').next().unwrap());
                }
                4 if random.one_in(4) => place_over(
                    &mut world,
                    side,
                    &format!("{place}/in={side}{number}@{at}s"),
                ),
                5 if random.one_in(8) => place_over(&mut world, side, &format!("{place}~")),
                6 if random.one_in(4) => place_over(&mut world, side, &format!("dir{number}/")),
                _ => {}
            }
        }
    }
    let job = &mut world.job;
    job.direction = random.pick(&[
        Direction::Sync,
        Direction::Sync,
        Direction::Upload,
        Direction::Download,
    ]);
    job.policy.resolve = match job.direction {
        Direction::Sync => random.pick(&[
            Resolve::Skip,
            Resolve::Local,
            Resolve::Remote,
            Resolve::New,
            Resolve::Old,
            Resolve::Both,
        ]),
        Direction::Upload => random.pick(&[Resolve::Local, Resolve::Skip]),
        Direction::Download => random.pick(&[Resolve::Remote, Resolve::Skip]),
    };
    if job.direction != Direction::Sync {
        job.policy.delete = random.pick(&[
            Delete::Never,
            Delete::Missing,
            Delete::Unmatched,
            Delete::Ours,
        ]);
        job.policy.force = random.one_in(3);
    }
    if random.one_in(3) {
        job.selection.excluded = vec!["*.o".to_owned(), "s".to_owned()];
    }
    if random.one_in(4) {
        job.policy.trash = trash(Some(30));
    }
    world
}

/// Puts an entry where something of another type may be, and where a file may be in the way.
fn place_over(world: &mut World, side: coracle::side::Side, word: &str) {
    let path = word.split(['=', '~']).next().unwrap().trim_end_matches('/');
    let mut above = String::new();
    for name in path.split('/') {
        let there = world.words(side);
        let is_in_the_way = |prefix: &str| {
            there
                .split(' ')
                .any(|held| held.starts_with(&format!("{prefix}=")) || held == format!("{prefix}~"))
        };
        if !above.is_empty() && is_in_the_way(&above) {
            world.take(side, &above);
        }
        if !above.is_empty() {
            above.push('/');
        }
        above.push_str(name);
    }
    world.take(side, path);
    world.put(side, word);
}

#[test]
fn a_second_run_right_after_the_first_does_nothing() {
    for seed in 0..seeds() {
        println!("seed {seed}");
        let mut world = random_world(seed);
        println!(
            "{:?}\nlocal  {}\nremote {}",
            world.job,
            world.words(Local),
            world.words(Remote)
        );
        let ran = world.run().expect_clean();
        println!("{:#?}", ran.lines);
        settle_skipped(&mut world, &ran);
        world.assert_settled();
    }
}

/// Files that met without a record and were skipped by upload or download, because the follower's was newer, are a
/// conflict once their directory has records (as in pyftpsync): then the next run still has something to resolve.
fn settle_skipped(world: &mut World, ran: &Ran) {
    if ran
        .lines
        .iter()
        .any(|line| line.starts_with("skip one-way"))
    {
        world.run().expect_clean();
    }
}

#[test]
fn a_dry_run_foretells_every_line_of_the_run() {
    for seed in 0..seeds() {
        println!("seed {seed}");
        let mut world = random_world(seed);
        world.job.dry_run = true;
        let told = world.run().expect_clean();
        assert_eq!(told.changes, Vec::<String>::new());
        world.job.dry_run = false;
        let done = world.run().expect_clean();
        assert_eq!(in_order_of_text(told.lines), in_order_of_text(done.lines));
    }
}

#[test]
fn the_number_of_connections_changes_nothing() {
    for seed in 0..seeds() {
        println!("seed {seed}");
        let mut alone = random_world(seed);
        let mut together = random_world(seed);
        together.job.limits.connections = Connections::AtMost(NonZeroU8::new(8).unwrap());
        let (one, many) = (alone.run().expect_clean(), together.run().expect_clean());
        assert_eq!(contents(&alone, Local), contents(&together, Local));
        assert_eq!(contents(&alone, Remote), contents(&together, Remote));
        settle_skipped(&mut together, &many);
        together.assert_settled();
        assert_eq!(in_order_of_text(one.lines), in_order_of_text(many.lines));
    }
}

#[test]
fn sync_loses_nothing_that_no_rule_decided() {
    for seed in 0..seeds() {
        println!("seed {seed}");
        let mut world = random_world(seed).command(Direction::Sync);
        world.job.policy.delete = Delete::Never;
        world.job.policy.force = false;
        world.job.policy.resolve = if seed % 2 == 0 {
            Resolve::Skip
        } else {
            Resolve::Both
        };
        let mut changed: Vec<String> = Vec::new();
        for side in [Local, Remote] {
            let changes = contents(&world, side).into_iter();
            changed.extend(changes.map(|(_, content)| content).filter(|it| it != "0"));
        }
        println!(
            "{:?}\nlocal  {}\nremote {}",
            world.job,
            world.words(Local),
            world.words(Remote)
        );
        println!("{:#?}", world.run().expect_clean().lines);
        let kept: Vec<String> = [Local, Remote]
            .into_iter()
            .flat_map(|side| contents(&world, side))
            .map(|(_, content)| content)
            .collect();
        for content in changed {
            assert!(kept.contains(&content), "{content} is lost");
        }
    }
}

#[test]
fn upload_never_writes_the_local_tree_and_download_never_the_remote_one() {
    for seed in 0..seeds() {
        for (direction, source) in [(Direction::Upload, Local), (Direction::Download, Remote)] {
            println!("seed {seed} {direction:?}");
            let mut world = random_world(seed).command(direction);
            world.job.policy.resolve = match source {
                Local => Resolve::Local,
                Remote => Resolve::Remote,
            };
            let before = world.words(source);
            world.run().expect_clean();
            assert_eq!(world.words(source), before);
        }
    }
}

/// Every file and what is in it, without times.
fn contents(world: &World, side: coracle::side::Side) -> Vec<(String, String)> {
    let words = world.words(side);
    let files = words.split(' ').filter_map(|word| {
        let (path, rest) = word.split_once('=')?;
        let (content, _) = rest.split_once('@')?;
        Some((path.to_owned(), content.to_owned()))
    });
    files.collect()
}
