//! Files and directories that the user renamed on the local side: renamed on the remote side, not sent again.

mod support;

use coracle::job::{Case, Delete, Direction, MaxDelete, Trash};
use coracle::path::RelPath;
use coracle::replica::Times;
use coracle::side::Side::{Local, Remote};
use coracle::time::Timestamp;
use support::ftp_server::{Effect, Fault};
use support::memory::Manners;
use support::scenario::World as Served;
use support::world::{BEGINNING_SECS, NOW_SECS, Ran, World};

/// Whether no file of the user was written or removed on the remote side.
fn sent_nothing(ran: &Ran) -> bool {
    let touches = |change: &String| {
        let is_ours = change.contains(".pyftpsync") || change.contains(".coracle");
        !is_ours && (change.starts_with("remote write") || change.starts_with("remote remove"))
    };
    !ran.changes.iter().any(touches)
}

#[test]
fn a_renamed_file_is_renamed_and_not_sent() {
    let mut world = World::synced("a=one@1 keep=x@1");
    world.rename(Local, "a", "b");
    let ran = world.run().expect_clean();
    world.assert_both("b=one@1 keep=x@1");
    assert_eq!(ran.said_of("b"), ["rename >"]);
    assert!(ran.changes.contains(&"remote rename a".to_owned()) && sent_nothing(&ran));
    let totals = ran.totals();
    assert_eq!((totals.renamed, totals.files_deleted), (1, 0));
    assert_eq!(totals.files_written.remote, 0);
    world.assert_settled();
}

#[test]
fn a_file_moved_to_another_directory_is_renamed() {
    let mut world = World::synced("d/a=one@1 d/b=two@2 e/c=x@1 top=t@1");
    world.rename(Local, "d/a", "e/a");
    world.rename(Local, "top", "new/deep/top");
    world.rename(Local, "e/c", "c");
    let ran = world.run().expect_clean();
    world.assert_both("d/b=two@2 e/a=one@1 new/deep/top=t@1 c=x@1");
    assert_eq!(ran.totals().renamed, 3);
    assert!(sent_nothing(&ran), "{:#?}", ran.changes);
    world.assert_settled();
}

#[test]
fn a_file_can_be_renamed_again_and_again() {
    let mut world = World::synced("a=one@1 keep=x@1");
    for (from, to) in [("a", "b"), ("b", "d/c"), ("d/c", "a")] {
        world.rename(Local, from, to);
        let ran = world.run().expect_clean();
        assert_eq!(ran.said_of(to), ["rename >"]);
        world.assert_settled();
    }
}

#[test]
fn a_downloaded_file_is_known_by_its_inode_too() {
    let mut world = World::new();
    world.put_remote("a=one@1 keep=x@1");
    world.run().expect_clean();
    world.rename(Local, "a", "b");
    assert_eq!(world.run().expect_clean().said_of("b"), ["rename >"]);
    world.assert_both("b=one@1 keep=x@1");
}

#[test]
fn upload_renames_only_where_it_would_have_deleted() {
    let mut world = World::synced("a=one@1 keep=x@1").command(Direction::Upload);
    world.rename(Local, "a", "b");
    world.run().expect_clean();
    world.assert_trees("b=one@1 keep=x@1", "a=one@1 b=one@1 keep=x@1");

    let mut world = World::synced("a=one@1 keep=x@1")
        .command(Direction::Upload)
        .job(|job| job.policy.delete = Delete::Missing);
    world.rename(Local, "a", "b");
    assert_eq!(world.run().expect_clean().said_of("b"), ["rename >"]);
    world.assert_both("b=one@1 keep=x@1");
    world.assert_settled();
}

#[test]
fn a_file_renamed_on_the_remote_side_is_renamed_here_where_the_server_tells_which_it_is() {
    let mut world = World::new().in_memory();
    world.put_local("a=one@1 keep=x@1");
    world.run().expect_clean();
    world.rename(Remote, "a", "d/b");
    let ran = world.run().expect_clean();
    world.assert_both("d/b=one@1 keep=x@1");
    assert_eq!(ran.said_of("d/b"), ["rename <"]);
    assert_eq!(ran.totals().files_written.local, 0);
    world.assert_settled();
}

#[test]
fn a_file_that_another_replaced_on_the_remote_side_is_copied() {
    let mut world = World::synced("a=one@1 keep=x@1");
    world.take(Remote, "a");
    world.put_remote("b=one@1");
    let ran = world.run().expect_clean();
    world.assert_both("b=one@1 keep=x@1");
    assert_eq!(ran.said_of("b"), ["copy <"]);
}

#[test]
fn a_file_changed_after_it_was_renamed_is_sent() {
    let mut world = World::synced("a=one@1 keep=x@1");
    world.rename(Local, "a", "b");
    let inode = world.trees.local.inode("b");
    world.put_local("b=two@9");
    world.trees.local.set_inode("b", inode, None);
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("b"), ["copy >"]);
    world.assert_both("b=two@9 keep=x@1");
}

#[test]
fn a_file_changed_on_the_remote_side_is_not_renamed() {
    let mut world = World::synced("a=one@1 keep=x@1");
    world.rename(Local, "a", "b");
    world.put_remote("a=other@9");
    let ran = world.run();
    assert_eq!(ran.said_of("a"), ["conflict"]);
    world.assert_trees("b=one@1 keep=x@1", "a=other@9 b=one@1 keep=x@1");
}

#[test]
fn an_inode_used_again_is_another_file() {
    let mut world = World::synced("a=one@1 keep=x@1");
    let inode = world.trees.local.inode("a");
    world.take(Local, "a");
    world.put_local("b=eno@1");
    let made = Timestamp::from_secs(NOW_SECS + 100);
    world.trees.local.set_inode("b", inode, Some(made));
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("b"), ["copy >"]);
    world.assert_both("b=eno@1 keep=x@1");
}

#[test]
fn of_two_hard_links_neither_is_a_rename() {
    let mut world = World::synced("a=one@1 keep=x@1");
    let inode = world.trees.local.inode("a");
    world.take(Local, "a");
    world.put_local("b=one@1 c=one@1");
    world.trees.local.set_inode("b", inode, None);
    world.trees.local.set_inode("c", inode, None);
    let ran = world.run().expect_clean();
    assert_eq!(ran.totals().renamed, 0);
    world.assert_both("b=one@1 c=one@1 keep=x@1");
}

#[test]
fn what_the_filter_rejects_is_not_renamed() {
    let mut world = World::synced("a=one@1 b=two@1 keep=x@1")
        .job(|job| job.selection.excluded = vec!["*.bak".to_owned()]);
    world.rename(Local, "a", "a.bak");
    world.run().expect_clean();
    world.assert_trees("a.bak=one@1 b=two@1 keep=x@1", "b=two@1 keep=x@1");
}

#[test]
fn nothing_is_renamed_below_an_incomplete_listing() {
    let mut world = World::synced("d/a=one@1 e/x=x@1 keep=x@1");
    world.rename(Local, "d/a", "e/a");
    world.trees.local.break_listing("d");
    let ran = world.run();
    assert!(ran.changes.iter().all(|change| !change.contains("rename")));
    world.assert_trees(
        "d/ e/a=one@1 e/x=x@1 keep=x@1",
        "d/a=one@1 e/a=one@1 e/x=x@1 keep=x@1",
    );
}

#[test]
fn a_dry_run_tells_renames_and_does_nothing() {
    let mut world = World::synced("a=one@1 keep=x@1").job(|job| job.dry_run = true);
    world.rename(Local, "a", "b");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("b"), ["rename >"]);
    assert_eq!(ran.said_of("a"), Vec::<&str>::new());
    assert_eq!(ran.changes, Vec::<String>::new());
}

#[test]
fn renames_are_no_deletions_to_the_guard() {
    let words: Vec<String> = (0..20).map(|n| format!("f{n:02}={n:02}@1")).collect();
    let mut world =
        World::synced(&words.join(" ")).job(|job| job.policy.allow.delete = MaxDelete::Files(0));
    for n in 0..20 {
        world.rename(Local, &format!("f{n:02}"), &format!("d/g{n:02}"));
    }
    let ran = world.run().expect_clean();
    assert_eq!(ran.totals().renamed, 20);
    world.rename(Local, "d/g00", "d/h");
    world.take(Local, "d/g01");
    assert!(world.run().refusal().contains("overwrite 1 of 20 files"));
}

#[test]
fn nothing_goes_to_the_trash() {
    let mut world = World::synced("a=one@1 keep=x@1").job(|job| {
        job.policy.trash = Some(Trash {
            dir: RelPath::parse(b".trash").unwrap(),
            keep_days: None,
        });
    });
    world.rename(Local, "a", "b");
    world.run().expect_clean();
    world.assert_trees("b=one@1 keep=x@1", ".trash/ b=one@1 keep=x@1");
}

#[test]
fn a_name_in_another_case_is_another_name() {
    let mut world = World::synced("d/a=one@1 keep=x@1");
    world.rename(Local, "d/a", "e/a");
    world.put_remote("e/A=there@9");
    let mut world = world.job(|job| job.policy.case = Case::Strict);
    world.run().expect_clean();
    world.assert_both("d/ e/a=one@1 e/A=there@9 keep=x@1");
}

#[test]
fn true_times_move_along_where_the_server_keeps_none() {
    let manners = Manners {
        times: Times::Lost,
        ..Manners::default()
    };
    let mut world = World::with(Manners::default(), manners);
    world.put_local("d/a=one@1 d/b=two@2 keep=x@1");
    world.run().expect_clean();
    world.rename(Local, "d/a", "e/a");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("e/a"), ["rename >"]);
    let of_dir = |dir| world.remote_times(dir).unwrap_or_default();
    let true_mtime = format!("\"m\":{}", BEGINNING_SECS + 77);
    assert!(of_dir("e").contains(&true_mtime), "{}", of_dir("e"));
    assert!(!of_dir("d").contains(&true_mtime), "{}", of_dir("d"));
    world.assert_settled();
}

// Directories

#[test]
fn a_renamed_directory_is_renamed_as_one() {
    for (direction, delete) in [
        (Direction::Sync, Delete::Never),
        (Direction::Upload, Delete::Missing),
    ] {
        let mut world = World::synced("d/a=one@1 d/sub/b=two@2 keep=x@1")
            .command(direction)
            .job(|job| job.policy.delete = delete);
        world.rename(Local, "d", "e");
        let ran = world.run().expect_clean();
        assert_eq!(ran.said_of("e"), ["rename >"]);
        assert_eq!(ran.said_of("e/a"), ["equal"]);
        let renames = ran
            .changes
            .iter()
            .filter(|change| change.contains("rename"));
        assert_eq!(renames.collect::<Vec<_>>(), ["remote rename d"]);
        assert!(sent_nothing(&ran), "{:#?}", ran.changes);
        assert_eq!(ran.totals().renamed, 1);
        world.assert_both("e/a=one@1 e/sub/b=two@2 keep=x@1");
        world.assert_settled();
    }
}

#[test]
fn a_directory_can_move_into_a_new_one_and_back() {
    let mut world = World::synced("d/a=one@1 d/sub/b=two@2 keep=x@1");
    world.rename(Local, "d", "new/deep/e");
    world.put_local("new/deep/k=k@1");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("new/deep/e"), ["rename >"]);
    world.assert_both("new/deep/e/a=one@1 new/deep/e/sub/b=two@2 new/deep/k=k@1 keep=x@1");
    world.assert_settled();
    world.rename(Local, "new/deep/e", "d");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("d"), ["rename >"]);
    world.assert_both("d/a=one@1 d/sub/b=two@2 new/deep/k=k@1 keep=x@1");
    world.assert_settled();
}

#[test]
fn what_changed_in_a_renamed_directory_is_synced_there() {
    let mut world =
        World::synced("d/a=one@1 d/b=two@2 d/c=three@3 d/k=k@1 d/sub/x=y@1 d/sub/z=z@1 keep=x@1");
    world.rename(Local, "d", "e");
    world.put_local("e/a=changed@9 e/new=new@9 e/more/deep=new@9");
    world.take(Local, "e/b");
    world.rename(Local, "e/c", "c");
    world.rename(Local, "e/sub", "e/bus");
    world.put_local("e/bus/x=changed@9");
    let ran = world.run().expect_clean();
    world.assert_both(
        "e/a=changed@9 e/k=k@1 e/new=new@9 e/more/deep=new@9 c=three@3 e/bus/x=changed@9 e/bus/z=z@1 keep=x@1",
    );
    for (path, said) in [
        ("e", "rename >"),
        // One renamed directory in another is copied, and its files are renamed.
        ("e/bus", "copy >"),
        ("c", "rename >"),
        ("e/a", "copy >"),
        ("e/b", "delete >"),
        ("e/bus/z", "rename >"),
    ] {
        assert_eq!(ran.said_of(path), [said], "{path}");
    }
    world.assert_settled();
}

#[test]
fn what_is_new_in_the_peer_of_a_renamed_directory_comes_along() {
    let mut world = World::synced("d/a=one@1 d/b=two@2 keep=x@1");
    world.rename(Local, "d", "e");
    world.put_remote("d/new=there@9 d/b=changed@9");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("e"), ["rename >"]);
    world.assert_both("e/a=one@1 e/b=changed@9 e/new=there@9 keep=x@1");
    world.assert_settled();
}

#[test]
fn what_the_filter_rejects_in_a_renamed_directory_moves_along_on_its_side() {
    let mut world = World::synced("d/a=one@1 keep=x@1")
        .job(|job| job.selection.excluded = vec!["*.tmp".to_owned()]);
    world.put_remote("d/x.tmp=there@9");
    world.rename(Local, "d", "e");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("e"), ["rename >"]);
    world.assert_trees("e/a=one@1 keep=x@1", "e/a=one@1 e/x.tmp=there@9 keep=x@1");
    world.assert_settled();
}

#[test]
fn a_directory_that_does_not_take_part_under_its_new_name_is_not_renamed() {
    let mut world = World::synced("d/a=one@1 keep=x@1")
        .job(|job| job.selection.excluded = vec!["e".to_owned()]);
    world.rename(Local, "d", "e");
    world.run().expect_clean();
    world.assert_trees("e/a=one@1 keep=x@1", "keep=x@1");
}

#[test]
fn a_copy_of_a_directory_is_no_rename() {
    let mut world = World::synced("d/a=one@1 keep=x@1");
    for (path, node) in world.trees.local.paths() {
        if let Some(name) = path.strip_prefix("d/") {
            world.trees.local.put(&format!("e/{name}"), node);
        }
    }
    let ran = world.run().expect_clean();
    assert_eq!(ran.totals().renamed, 0);
    world.assert_both("d/a=one@1 e/a=one@1 keep=x@1");
    world.assert_settled();
}

#[test]
fn of_two_directories_that_were_alike_the_renamed_one_is_known() {
    let mut world = World::synced("d1/a=one@1 d2/a=one@1 keep=x@1");
    world.rename(Local, "d1", "e");
    world.take(Local, "d2");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("e"), ["rename >"]);
    assert_eq!(ran.said_of("d2"), ["delete >"]);
    world.assert_both("e/a=one@1 keep=x@1");
    world.assert_settled();
}

#[test]
fn a_directory_found_half_renamed_loses_nothing() {
    let mut world = World::synced("d/a=one@1 d/b=two@2 keep=x@1");
    world.rename(Local, "d", "e");
    // As a server leaves it that renames file by file, and was stopped.
    world.put_remote("e/");
    world.rename(Remote, "d/a", "e/a");
    let ran = world.run();
    assert_eq!(
        world.words(Local),
        "e/a=one@1 e/b=two@2 keep=x@1",
        "{:#?}",
        ran.lines
    );
    assert!(world.words(Remote).contains("e/a=one@1 e/b=two@2"));
}

#[test]
fn a_renamed_directory_brings_its_true_times_along() {
    let manners = Manners {
        times: Times::Lost,
        ..Manners::default()
    };
    let mut world = World::with(Manners::default(), manners);
    world.put_local("d/a=one@1 d/sub/b=two@2 keep=x@1");
    world.run().expect_clean();
    world.rename(Local, "d", "e");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("e"), ["rename >"]);
    world.assert_settled();
    assert!(world.remote_times("e/sub").is_some());
}

#[test]
fn a_dry_run_tells_a_renamed_directory() {
    let mut world = World::synced("d/a=one@1 keep=x@1").job(|job| job.dry_run = true);
    world.rename(Local, "d", "e");
    let ran = world.run().expect_clean();
    assert_eq!(ran.said_of("e"), ["rename >"]);
    assert_eq!(ran.changes, Vec::<String>::new());
}

#[test]
fn a_renamed_directory_is_no_deletion_to_the_guard() {
    let words: Vec<String> = (0..20).map(|n| format!("d/f{n:02}={n:02}@1")).collect();
    let mut world =
        World::synced(&words.join(" ")).job(|job| job.policy.allow.delete = MaxDelete::Files(0));
    world.rename(Local, "d", "e");
    assert_eq!(world.run().expect_clean().totals().renamed, 1);
}

// Servers that refuse

/// A local directory with `d/a`, `d/b` and `top`, synced with a server in this process, and then changed.
fn synced_with_server(change: impl FnOnce(&Served)) -> Served {
    let world = Served::of_process("renames", |_| {});
    for path in ["d/a", "d/b", "top"] {
        world.put(Local, path, path, 100, 0);
    }
    assert_eq!(world.run(&["sync"]).code, Some(0));
    change(&world);
    world
}

/// The user's paths on the remote side.
fn remote_paths(world: &Served) -> Vec<String> {
    let tree = world.trees().remote;
    tree.users().map(|(path, _)| path.clone()).collect()
}

#[test]
fn a_file_that_cannot_be_renamed_is_sent_and_then_deleted() {
    let world = synced_with_server(|world| {
        world.rename(Local, "d/a", "c");
        world.rename(Local, "top", "d/top");
    });
    let fault = Fault::on("RNFR").containing("/d/a").always();
    world.server().inject(fault.then(Effect::reply(550, "no")));
    world.server().take_commands();
    let ended = world.run(&["sync", "--max-delete", "0"]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed);
    assert_eq!(remote_paths(&world), ["c", "d", "d/b", "d/top"]);
    let commands = world.server().take_commands();
    let stored = commands.iter().position(|line| line.starts_with("STOR"));
    let deleted = commands
        .iter()
        .position(|line| line.starts_with("DELE") && line.ends_with("/d/a"));
    assert!(stored.is_some() && stored < deleted, "{commands:#?}");
}

#[test]
fn a_file_that_can_be_neither_renamed_nor_sent_stays_under_its_old_name() {
    let world = synced_with_server(|world| world.rename(Local, "d/a", "new/a"));
    for fault in [
        Fault::on("RNFR").containing("/d/a"),
        Fault::on("RNTO").containing("/new/a"),
    ] {
        world
            .server()
            .inject(fault.always().then(Effect::reply(550, "no")));
    }
    let ended = world.run(&["sync"]);
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    assert_eq!(remote_paths(&world), ["d", "d/a", "d/b", "new", "top"]);
    world.server().heal();
    let ended = world.run(&["sync"]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed);
    assert_eq!(remote_paths(&world), ["d", "d/b", "new", "new/a", "top"]);
}

#[test]
fn a_directory_that_cannot_be_renamed_is_copied_by_the_next_run() {
    let world = synced_with_server(|world| world.rename(Local, "d", "e"));
    let fault = Fault::on("RNFR").containing("/d").always();
    world.server().inject(fault.then(Effect::reply(550, "no")));
    let ended = world.run(&["sync"]);
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    assert!(
        ended.printed.contains("the next run copies it"),
        "{}",
        ended.printed
    );
    assert_eq!(remote_paths(&world), ["d", "d/a", "d/b", "top"]);
    let ended = world.run(&["sync"]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed);
    assert_eq!(remote_paths(&world), ["e", "e/a", "e/b", "top"]);
    let ended = world.run(&["sync"]);
    assert!(
        ended.printed.contains("Nothing to do;"),
        "{}",
        ended.printed
    );
}

#[test]
fn many_renames_cost_few_round_trips() {
    const FILES: usize = 100;
    let world = Served::of_process("renames", |config| {
        config.greeting = "pyftpdlib 2.2.0 ready.".to_owned();
    });
    for n in 0..FILES {
        world.put(Local, &format!("d/{n}"), "x", 10, n as i64);
    }
    assert_eq!(world.run(&["sync"]).code, Some(0));
    for n in 0..FILES {
        world.rename(Local, &format!("d/{n}"), &format!("new/{n}"));
    }
    let before = world.server().data_connections();
    let ended = world.run(&["sync"]);
    assert_eq!(ended.code, Some(0), "{}", ended.printed);
    assert_eq!(ended.printed.matches("\nrename ").count(), FILES);
    // Three listings; the directory that became empty stays.
    let used = world.server().data_connections() - before;
    assert!(used <= 3, "{used} data connections");
}
