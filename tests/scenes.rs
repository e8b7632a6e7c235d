//! Scenes of everyday work with folders, each the smallest that once lost something or did what it need not. Most were found by
//! the lives of `life.rs`.

#[path = "support/mounts.rs"]
mod mounts;
mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use support::program::{Place, content, put};

/// A directory is deleted on one side while a file in it is edited on the other. A run that carries no deletions over forgets
/// the deletion, but not that the edited file is a conflict.
#[test]
fn an_edit_in_a_directory_that_the_other_side_deleted_stays_a_conflict() {
    let place = Place::new("scene-edit-in-deleted");
    let (local, remote) = (place.local(), place.remote());
    for name in ["b/d/f0", "b/d/f3", "c/f"] {
        put(&remote, name, name, 1000);
    }
    place.between("sync", &[]).expect(0);
    fs::remove_dir_all(remote.join("b")).unwrap();
    put(&local, "b/d/f3", "edited here", 10);
    place.between("download", &[]).expect(0);
    place.between("download", &["--delete"]).expect(0);
    assert_eq!(content(&local, "b/d/f3"), "edited here");
    place.between("sync", &[]).expect(0);
    assert_eq!(content(&local, "b/d/f3"), "edited here");
}

/// What was deleted and not carried over is forgotten: later it is new.
#[test]
fn a_directory_whose_deletion_was_not_carried_over_comes_back() {
    let place = Place::new("scene-not-carried-over");
    let (local, remote) = (place.local(), place.remote());
    for name in ["b/d/f0", "b/f1", "c/f"] {
        put(&local, name, name, 1000);
    }
    place.between("sync", &[]).expect(0);
    fs::remove_dir_all(local.join("b")).unwrap();
    place.between("upload", &[]).expect(0);
    place.between("sync", &[]).expect(0);
    assert_eq!(content(&local, "b/d/f0"), "b/d/f0");
    assert_eq!(content(&remote, "b/f1"), "b/f1");
}

/// A directory that a run makes anew is another one than was recorded: it is recorded then, not by the run after it.
#[test]
fn a_directory_that_came_back_is_recorded_by_the_run_that_made_it() {
    let place = Place::new("scene-made-anew");
    let (local, remote) = (place.local(), place.remote());
    put(&local, "a/f1", "one", 1000);
    put(&local, "b/f2", "two", 1000);
    place.between("sync", &[]).expect(0);
    put(&remote, "a/d/new", "new", 100);
    fs::remove_dir_all(local.join("a")).unwrap();
    place.between("download", &[]).expect(0);
    let before = place.snapshot();
    place.between("download", &[]).expect(0);
    assert_eq!(place.snapshot(), before);
}

/// A conflict that nobody settles must not make a directory one that never was in step: two new files of one name are a conflict.
#[test]
fn beside_a_standing_conflict_a_new_file_is_no_first_meeting() {
    let place = Place::new("scene-standing-conflict");
    let (local, remote) = (place.local(), place.remote());
    put(&local, "ok", "ok", 1000);
    put(&local, "x/in", "a directory here", 1000);
    put(&remote, "x", "a file there", 1000);
    place.between("sync", &[]).expect(0);
    put(&remote, "n", "theirs", 500);
    put(&local, "n", "mine", 100);
    place.between("upload", &[]).expect(0);
    assert_eq!(content(&remote, "n"), "theirs");
}

/// A directory in one that was left out is gone from a side: all that was recorded below it is forgotten with it.
#[test]
fn nothing_below_a_directory_that_went_while_it_was_left_out_is_remembered() {
    let place = Place::new("scene-went-while-left-out");
    let (local, remote) = (place.local(), place.remote());
    for name in ["b/f", "b/d/f", "ok"] {
        put(&local, name, name, 1000);
    }
    place.between("sync", &[]).expect(0);
    place.between("download", &["-x", "b/"]).expect(0);
    fs::rename(remote.join("b"), remote.join("z")).unwrap();
    place.between("download", &[]).expect(0);
    place.between("sync", &["-x", "b/"]).expect(0);
    place.between("sync", &[]).expect(0);
    assert_eq!(content(&local, "b/d/f"), "b/d/f");
    assert_eq!(content(&local, "b/f"), "b/f");
}

/// A disk is taken out, and its mount point with it, as desktops do. A run that carries no deletions over must not forget that a
/// disk belongs there: the next one with `--delete` would empty the server.
#[test]
fn a_mount_point_that_is_gone_is_not_forgotten_by_a_run_that_deletes_nothing() {
    let place = Place::new("scene-mount-point-gone");
    if !mounts::own() {
        println!("nothing can be mounted here");
        return;
    }
    let (local, remote) = (place.local(), place.remote());
    let (disk, at) = (place.path().join("disk"), local.join("photos"));
    for name in ["1.jpg", "2.jpg"] {
        put(&disk, name, name, 1000);
    }
    put(&local, "index", "index", 1000);
    fs::create_dir(&at).unwrap();
    mounts::bind(&disk, &at).unwrap();
    place.between("upload", &[]).expect(0);
    mounts::take_away(&at).unwrap();
    fs::remove_dir(&at).unwrap();
    place.between("upload", &[]).expect(4);
    place.between("upload", &[]).expect(4);
    place.between("upload", &["--delete"]).expect(4);
    assert_eq!(content(&remote, "photos/1.jpg"), "1.jpg");
    fs::create_dir(&at).unwrap();
    mounts::bind(&disk, &at).unwrap();
    place.between("upload", &["--delete"]).expect(0);
    assert_eq!(content(&remote, "photos/2.jpg"), "2.jpg");
    mounts::take_away(&at).unwrap();
}

/// A folder with a link to a directory in it and one to a file, all of it on both sides.
fn place_with_links(name: &str) -> (Place, PathBuf, PathBuf) {
    let place = Place::new(name);
    let (local, remote) = (place.local(), place.remote());
    for file in ["album/1.jpg", "album/2.jpg", "cover.jpg"] {
        put(&local, file, file, 1000);
    }
    symlink("album", local.join("best")).unwrap();
    symlink("cover.jpg", local.join("front.jpg")).unwrap();
    place.between("sync", &["--links=follow"]).expect(0);
    assert_eq!(content(&remote, "best/1.jpg"), "album/1.jpg");
    assert_eq!(content(&remote, "front.jpg"), "cover.jpg");
    (place, local, remote)
}

/// What a followed link leads to has another name as well: deleted under the link's name, it would be gone under its own.
#[test]
fn nothing_is_deleted_through_a_followed_link() {
    let (place, local, remote) = place_with_links("scene-deleted-behind-link");
    fs::remove_file(remote.join("best/1.jpg")).unwrap();
    fs::remove_file(remote.join("front.jpg")).unwrap();
    for _ in 0..2 {
        let ended = place.between("sync", &["--links=follow"]).expect(0);
        assert!(ended.stdout.contains("best/1.jpg"), "{ended}");
        assert!(ended.stdout.contains("front.jpg"), "{ended}");
    }
    fs::remove_dir_all(remote.join("best")).unwrap();
    for options in [&["--links=follow"][..], &["--links=follow", "--trash=.old"]] {
        place.between("sync", options).expect(0);
    }
    let options = ["--links=follow", "--delete", "--max-delete=100%"];
    place.between("download", &options).expect(0);
    for side in [&local, &remote] {
        for file in ["album/1.jpg", "album/2.jpg", "cover.jpg"] {
            assert_eq!(content(side, file), file);
        }
    }
    assert!(local.join("best").is_symlink() && local.join("front.jpg").is_symlink());
    // Walked alone, the directory is still one that a link leads to.
    let options = ["--links=follow", "--delete", "--only=best"];
    place.between("download", &options);
    assert_eq!(content(&local, "album/1.jpg"), "album/1.jpg");
}

/// A link stays a link, whatever the other side makes of what it stands for there.
#[test]
fn no_file_takes_the_place_of_a_followed_link() {
    for options in [
        &[][..],
        &["--resolve=remote"],
        &["--resolve=both"],
        &["--trash=.old"],
    ] {
        let (place, local, remote) = place_with_links("scene-replaced-link");
        let options = [&["--links=follow"], options].concat();
        put(&remote, "front.jpg", "edited there", 10);
        place.between("sync", &options).expect(0);
        put(&local, "cover.jpg", "edited here", 5);
        place.between("sync", &options).expect(0);
        fs::remove_file(remote.join("front.jpg")).unwrap();
        put(&remote, "front.jpg/x", "a directory there", 10);
        place.between("sync", &options).expect(0);
        assert!(local.join("front.jpg").is_symlink(), "{options:?}");
        assert!(local.join("best").is_symlink(), "{options:?}");
        for side in [&local, &remote] {
            assert_eq!(content(side, "cover.jpg"), "edited here", "{options:?}");
        }
    }
}
