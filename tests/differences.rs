//! Where coracle decides otherwise than pyftpsync 4.1 on purpose: each case lived with both programs, as they are.
//!
//! The differential test mends or avoids these in pyftpsync; here they are shown, so that it mends nothing that is not broken.

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use coracle::side::Side::{Local, Remote};

use support::couple::{Couple, LATER, Tool};
use support::servers::{Kind, Options, Server};
use support::temp::TempDir;

/// Lives the same story with both programs, and tells where each of them ended.
fn twice(story: impl Fn(&Couple, Tool)) -> (Couple, Couple) {
    let lived = |tool| {
        let couple = Couple::of_directories();
        story(&couple, tool);
        couple
    };
    (lived(Tool::Pyftpsync), lived(Tool::Coracle))
}

/// A couple in step, after a first sync.
fn synced(couple: &Couple, tool: Tool, words: &str) {
    couple.put(Local, words);
    couple.expect(tool, "sync");
    couple.assert_both(words);
}

#[test]
fn a_name_gone_on_both_sides_is_forgotten() {
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "a=one@1 keep=k@1");
        couple.take(Local, "a");
        couple.take(Remote, "a");
        couple.expect(tool, "sync");
        couple.put(Remote, "a=one@1");
        couple.expect(tool, "sync");
    });
    theirs.assert_both("keep=k@1");
    ours.assert_both("a=one@1 keep=k@1");
}

#[test]
fn a_directory_deleted_there_goes_without_what_changed_here() {
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "d/changed=1@1 d/same=1@1 keep=k@1");
        couple.take(Remote, "d");
        couple.put(Local, "d/changed=22@2 d/added=3@3");
        couple.expect(tool, "sync");
    });
    theirs.assert_both("keep=k@1");
    ours.assert_trees("d/added=3@3 d/changed=22@2 keep=k@1", "keep=k@1");
}

#[test]
fn a_directory_deleted_here_goes_only_if_nothing_changed_there() {
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "d/changed=1@1 d/same=1@1 keep=k@1 same/x=1@1");
        couple.take(Local, "d same");
        couple.put(Remote, "d/changed=22@2 d/added=3@3");
        couple.expect(tool, "sync");
    });
    theirs.assert_both("keep=k@1");
    ours.assert_trees("keep=k@1", "d/added=3@3 d/changed=22@2 keep=k@1");
}

#[test]
fn a_folder_that_replaces_another_brings_its_content_and_not_its_records() {
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "keep=k@1 site.new/p=new@1 site/p=old@2");
        couple.take(Local, "site");
        let root = couple.root(Local);
        fs::rename(root.join("site.new"), root.join("site")).unwrap();
        couple.expect(tool, "sync");
    });
    theirs.assert_both("keep=k@1 site/p=old@2");
    ours.assert_both("keep=k@1 site/p=new@1");
}

#[test]
fn a_deletion_that_upload_did_not_carry_over_is_forgotten() {
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "a=one@1 keep=k@1");
        couple.take(Local, "a");
        couple.expect(tool, "upload");
        couple.expect(tool, "sync");
    });
    theirs.assert_both("keep=k@1");
    ours.assert_both("a=one@1 keep=k@1");
}

#[test]
fn a_newer_file_does_not_win_at_a_first_meeting() {
    let (theirs, ours) = twice(|couple, tool| {
        couple.put(Local, "thesis=@9");
        couple.put(Remote, "thesis=years@1");
        couple.expect(tool, "sync");
    });
    theirs.assert_both("thesis=@9");
    ours.assert_trees("thesis=@9", "thesis=years@1");
}

#[test]
fn what_is_excluded_comes_on_top_of_what_always_is() {
    let (theirs, ours) = twice(|couple, tool| {
        couple.put(Local, ".git/config=1@1 a.tmp=1@1 b=1@1");
        couple.expect(tool, "upload --exclude *.tmp");
    });
    assert_eq!(theirs.words(Remote), ".git/config=1@1 b=1@1");
    assert_eq!(ours.words(Remote), "b=1@1");
}

#[test]
fn names_that_differ_only_in_case_do_not_stop_the_rest() {
    let (theirs, ours) = twice(|couple, tool| {
        couple.put(Local, "a=1@1 b=1@1");
        couple.put(Remote, "B=2@2");
        couple.run(tool, "sync");
    });
    theirs.assert_trees("a=1@1 b=1@1", "B=2@2");
    ours.assert_trees("a=1@1 b=1@1", "B=2@2 a=1@1");
}

#[test]
fn a_file_here_and_a_directory_there_is_a_conflict_of_that_entry() {
    let tell = |tool| {
        let couple = Couple::of_directories();
        couple.put(Local, "a=one@1 other=x@1");
        couple.put(Remote, "a/in=two@2");
        (couple.run(tool, "sync"), couple)
    };
    let (theirs, _) = tell(Tool::Pyftpsync);
    assert!(theirs.said.contains("AssertionError"), "{}", theirs.said);
    let (ours, couple) = tell(Tool::Coracle);
    assert!(ours.said.contains("skip conflict"), "{}", ours.said);
    couple.assert_trees("a=one@1 other=x@1", "a/in=two@2 other=x@1");
}

#[test]
fn filters_hold_in_new_directories() {
    let (theirs, ours) = twice(|couple, tool| {
        couple.put(Local, "d/a=1@1 d/b.tmp=2@1");
        couple.expect(tool, "upload --exclude *.tmp");
    });
    theirs.assert_both("d/a=1@1 d/b.tmp=2@1");
    ours.assert_trees("d/a=1@1 d/b.tmp=2@1", "d/a=1@1");
}

#[test]
fn a_dry_run_looks_into_new_directories() {
    let said = |tool| {
        let couple = Couple::of_directories();
        couple.put(Local, "d/a=1@1");
        couple.expect(tool, "upload --dry-run").said
    };
    assert!(!said(Tool::Pyftpsync).contains("d/a"));
    assert!(said(Tool::Coracle).contains("d/a"));
}

#[test]
fn links_lead_nowhere_and_leave_their_peer_alone() {
    let outside = TempDir::new("outside");
    fs::write(outside.path().join("secret"), "s").unwrap();
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "a=1@1 keep=k@1");
        couple.take(Local, "a");
        symlink("nowhere", couple.root(Local).join("a")).unwrap();
        symlink(outside.path(), couple.root(Local).join("out")).unwrap();
        couple.expect(tool, "sync");
    });
    assert!(theirs.root(Remote).join("out/secret").exists());
    assert!(!theirs.root(Remote).join("a").exists());
    assert_eq!(ours.words(Remote), "a=1@1 keep=k@1");
}

#[test]
fn directories_with_capital_letters_are_visited() {
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "Dir/a=1@1");
        couple.put(Local, "Dir/a=22@2");
        couple.expect(tool, "sync");
    });
    theirs.assert_trees("Dir/a=22@2", "Dir/a=1@1");
    ours.assert_both("Dir/a=22@2");
}

#[test]
fn a_deletion_on_a_server_leaves_the_other_records_of_that_run() {
    let server = Server::start(Kind::Pyftpdlib, Options::default());
    let lived = |tool, name| {
        let couple = Couple::on(&server, name);
        synced(&couple, tool, "a=1@1 b=1@1");
        couple.take(Local, "a");
        couple.put(Local, "b=22@2");
        couple.expect(tool, "sync");
        couple.put(Local, "b=333@3");
        couple.expect(tool, "sync");
        couple
    };
    lived(Tool::Pyftpsync, "theirs").assert_trees("b=333@3", "b=22@2");
    lived(Tool::Coracle, "ours").assert_both("b=333@3");
}

#[test]
fn a_change_against_a_deletion_is_not_resolved_by_time() {
    for rule in ["new", "old"] {
        let tell = |tool| {
            let couple = Couple::of_directories();
            synced(&couple, tool, "a=1@1 keep=k@1");
            couple.put(Local, "a=22@2");
            couple.take(Remote, "a");
            (couple.run(tool, &format!("sync --resolve={rule}")), couple)
        };
        let (theirs, _) = tell(Tool::Pyftpsync);
        assert!(
            theirs.said.contains("NotImplementedError"),
            "{}",
            theirs.said
        );
        let (ours, couple) = tell(Tool::Coracle);
        assert_eq!(ours.code, Some(0), "{}", ours.said);
        couple.assert_trees("a=22@2 keep=k@1", "keep=k@1");
    }
}

#[test]
fn files_of_one_time_are_not_resolved_by_time_and_nobody_is_asked() {
    let tell = |tool| {
        let couple = Couple::of_directories();
        couple.put(Local, "a=1@1");
        couple.put(Remote, "a=22@1");
        (couple.run(tool, "sync --resolve=new"), couple)
    };
    let (theirs, _) = tell(Tool::Pyftpsync);
    assert!(theirs.said.contains("EOFError"), "{}", theirs.said);
    let (ours, couple) = tell(Tool::Coracle);
    assert_eq!(ours.code, Some(0), "{}", ours.said);
    couple.assert_trees("a=1@1", "a=22@1");
}

#[test]
fn a_record_of_a_file_says_nothing_of_a_directory() {
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "a=1@1 keep=k@1");
        couple.take(Local, "a");
        couple.take(Remote, "a");
        couple.put(Local, "a/in=2@2");
        couple.expect(tool, "sync");
    });
    theirs.assert_both("keep=k@1");
    ours.assert_both("a/in=2@2 keep=k@1");
}

#[test]
fn files_found_equal_are_recorded() {
    let (theirs, ours) = twice(|couple, tool| {
        couple.put(Local, "a=1@1 b=2@1");
        couple.put(Remote, "a=1@1 b=2@1");
        couple.expect(tool, "sync");
        couple.take(Local, "a");
        couple.expect(tool, "sync");
    });
    theirs.assert_both("a=1@1 b=2@1");
    ours.assert_both("b=2@1");
}

#[test]
fn the_same_change_on_both_sides_is_none() {
    let (theirs, ours) = twice(|couple, tool| {
        synced(couple, tool, "a=1@1 keep=k@1");
        couple.put(Local, "a=22@2");
        couple.put(Remote, "a=22@2");
        let said = couple.expect(tool, "sync").said;
        assert_eq!(said.contains("CONFLICT"), tool == Tool::Pyftpsync, "{said}");
        couple.take(Local, "a");
        couple.expect(tool, "sync");
    });
    theirs.assert_trees("keep=k@1", "a=22@2 keep=k@1");
    ours.assert_both("keep=k@1");
}

#[test]
fn an_excluded_directory_on_both_sides_is_left_alone() {
    let (theirs, ours) = twice(|couple, tool| {
        couple.put(Local, "d/a=1@1");
        couple.put(Remote, "d/b=2@2");
        couple.expect(tool, "sync --exclude d");
    });
    theirs.assert_both("d/a=1@1 d/b=2@2");
    ours.assert_trees("d/a=1@1", "d/b=2@2");
}

#[test]
fn surplus_directories_go_too() {
    for (command, source, follower) in [("upload", Local, Remote), ("download", Remote, Local)] {
        let (theirs, ours) = twice(|couple, tool| {
            couple.put(source, "a=1@1");
            couple.put(follower, "a=1@1 d/e/b=2@2 surplus=3@3");
            couple.expect(tool, &format!("{command} --delete"));
        });
        assert_eq!(theirs.words(follower), "a=1@1 d/e/b=2@2");
        assert_eq!(ours.words(follower), "a=1@1");
    }
}

#[test]
fn a_mirror_deletes_no_change_without_delete() {
    for (command, source, follower) in [
        ("upload --resolve=local", Local, Remote),
        ("download --resolve=remote", Remote, Local),
    ] {
        let (theirs, ours) = twice(|couple, tool| {
            synced(couple, tool, "a=1@1 keep=k@1");
            couple.take(source, "a");
            couple.put(follower, "a=22@2");
            couple.expect(tool, command);
        });
        assert_eq!(theirs.words(follower), "keep=k@1");
        assert_eq!(ours.words(follower), "a=22@2 keep=k@1");
    }
}

#[test]
fn delete_unmatched_leaves_the_task_file() {
    let (theirs, ours) = twice(|couple, tool| {
        couple.put(Local, "a=1@1");
        couple.put(Remote, "pyftpsync.yaml=tasks@1 b.tmp=2@2");
        couple.expect(tool, "upload --delete-unmatched --exclude *.tmp");
    });
    assert_eq!(theirs.words(Remote), "a=1@1");
    assert_eq!(ours.words(Remote), "a=1@1 pyftpsync.yaml=tasks@1");
}

#[test]
fn a_followed_link_is_recorded_as_what_it_leads_to() {
    let couple = Couple::of_directories();
    couple.put(Local, "a=content@1");
    symlink("a", couple.root(Local).join("link")).unwrap();
    couple.expect(Tool::Coracle, "upload --links=follow");
    assert_eq!(couple.words(Remote), "a=content@1 link=content@1");
    let again = couple.expect(Tool::Coracle, "upload --links=follow").said;
    assert!(again.contains("Nothing to do"), "{again}");
}

#[test]
fn each_side_keeps_its_spelling_of_a_name() {
    let (theirs, ours) = twice(|couple, tool| {
        couple.put(Local, "Name=22@2");
        couple.put(Remote, "name=1@1");
        couple.expect(tool, "sync --case=local --resolve=new");
    });
    assert_eq!(theirs.words(Remote), "Name=22@2 name=1@1");
    ours.assert_trees("Name=22@2", "name=22@2");
}

#[test]
fn a_second_directory_is_made_when_asked_for() {
    let tell = |tool| {
        let couple = Couple::of_directories();
        couple.put(Local, "a=1@1");
        fs::remove_dir(couple.root(Remote)).unwrap();
        (couple.run(tool, "upload --create-folder"), couple)
    };
    let (theirs, _) = tell(Tool::Pyftpsync);
    assert!(
        theirs.said.contains("is not a directory"),
        "{}",
        theirs.said
    );
    let (ours, couple) = tell(Tool::Coracle);
    assert_eq!(ours.code, Some(0), "{}", ours.said);
    couple.assert_both("a=1@1");
}

#[test]
fn a_file_that_cannot_be_fetched_leaves_the_local_one() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(Kind::Pyftpdlib, Options::default());
    let lived = |tool, name| {
        let couple = Couple::on(&server, name);
        synced(&couple, tool, "a=1@1 keep=k@1");
        couple.put(Remote, &format!("a=22@{LATER}"));
        let closed = fs::Permissions::from_mode(0o000);
        fs::set_permissions(couple.root(Remote).join("a"), closed).unwrap();
        let ended = couple.run(tool, "sync");
        assert_ne!(ended.code, Some(0), "{}", ended.said);
        fs::read(couple.root(Local).join("a")).unwrap()
    };
    assert_eq!(lived(Tool::Pyftpsync, "theirs"), b"");
    assert_eq!(lived(Tool::Coracle, "ours"), b"1");
}
