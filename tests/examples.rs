//! The examples of the library do what their first lines say.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::temp::TempDir;

/// Builds an example beside the tests, and says where it is.
fn built(name: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo is there").success(), "{name}");
    let program = Path::new(env!("CARGO_BIN_EXE_coracle"));
    let dir = program.parent().expect("a program is in a directory");
    dir.join("examples").join(name)
}

fn run(name: &str, home: &Path, arguments: &[&Path]) -> Output {
    let ran = Command::new(built(name))
        .args(arguments)
        .env("HOME", home)
        .env_remove("XDG_STATE_HOME")
        .output()
        .expect("it was built just now");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    ran
}

#[test]
fn two_folders_are_kept_in_step_with_an_archive() {
    let place = TempDir::new("example-library");
    let [home, local, remote] = ["home", "local", "remote"].map(|name| place.path().join(name));
    for dir in [&home, &local, &remote] {
        fs::create_dir(dir).unwrap();
    }
    fs::write(local.join("note.txt"), "low tide at six").unwrap();
    let said = run("library", &home, &[&local, &remote]).stdout;
    assert!(String::from_utf8_lossy(&said).ends_with("1 files copied\n"));
    assert_eq!(
        fs::read_to_string(remote.join("note.txt")).unwrap(),
        "low tide at six"
    );
    assert!(local.join(".coracle").is_dir());
    // The archive tells a deletion from an addition.
    fs::remove_file(remote.join("note.txt")).unwrap();
    fs::write(remote.join("other.txt"), "x").unwrap();
    run("library", &home, &[&local, &remote]);
    assert!(!local.join("note.txt").exists() && local.join("other.txt").exists());
}

#[test]
fn a_replica_of_ones_own_has_an_archive_of_its_own() {
    let place = TempDir::new("example-replica");
    let [home, local] = ["home", "local"].map(|name| place.path().join(name));
    for dir in [&home, &local] {
        fs::create_dir(dir).unwrap();
    }
    run("own_replica", &home, &[&local]);
    assert_eq!(
        fs::read_to_string(local.join("note.txt")).unwrap(),
        "low tide at six"
    );
    let archives = fs::read_dir(local.join(".coracle")).unwrap();
    let texts = archives.map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let names = |text: Vec<u8>| String::from_utf8_lossy(&text).contains("memory://example");
    assert_eq!(texts.filter(|text| names(text.clone())).count(), 1);
}
