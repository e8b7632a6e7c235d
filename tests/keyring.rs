//! Passwords that are kept: in a real keyring, shared with pyftpsync, and in a file where there is none.
#![cfg(feature = "keyring")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use support::ftp_server::{Config, FtpServer};
use support::keyring::{Keyring, asked, stand_in};
use support::program::{Ended, Place, content, finish, put};
use support::servers::{Kind, Options, Server};
use support::terminal::Terminal;

const USER: &str = "sailor";
const PASSWORD: &str = "Ahoy:there %1";
const WRONG: &str = "Belay-that";

/// A folder with a file, and a server that lets one user in by one password.
struct Scene {
    place: Place,
    server: FtpServer,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new("keyring");
        put(&place.local(), "f", "photo", 100);
        let server = FtpServer::start(Config {
            user: Some(USER.to_owned()),
            password: Some(PASSWORD.to_owned()),
            ..Config::serving(place.remote())
        });
        Self { place, server }
    }

    /// The name of the server in a keyring.
    fn name(&self) -> String {
        self.server.addr().to_string()
    }

    fn url(&self, user: &str) -> String {
        let at = if user.is_empty() { "" } else { "@" };
        format!("ftp://{user}{at}{}/", self.server.addr())
    }

    fn upload(&self, user: &str, options: &[&str], surround: impl FnOnce(&mut Command)) -> Ended {
        let url = self.url(user);
        let words = ["upload", "local", &url, "--retries=0"];
        let mut command = self.place.command(&[&words[..], options].concat());
        surround(&mut command);
        finish(command)
    }

    /// As somebody at a desktop.
    fn at(&self, desktop: &Keyring, user: &str, options: &[&str]) -> Ended {
        self.upload(user, options, |command| {
            desktop.surround(command);
        })
    }

    /// As cron or a router does it, where nobody has a keyring.
    fn alone(&self, user: &str, options: &[&str]) -> Ended {
        self.upload(user, options, |_| {})
    }

    /// With a password that the user gives.
    fn giving(&self, password: &str, user: &str, options: &[&str]) -> Ended {
        self.upload(user, options, |command| {
            command.env("CORACLE_PASSWORD", password);
        })
    }

    fn file(&self) -> PathBuf {
        self.place.home().join(".config/coracle/passwords")
    }

    fn write_file(&self, password: &str, mode: u32) {
        let port = self.server.addr().port();
        fs::create_dir_all(self.file().parent().unwrap()).unwrap();
        fs::write(
            self.file(),
            format!("# mine\n[\"127.0.0.1\", {port}, \"{USER}\", \"{password}\"]\n"),
        )
        .unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// How often a password was tried since it was asked last.
    fn tries(&self) -> usize {
        let commands = self.server.take_commands();
        let is_try = |line: &&String| line.starts_with("PASS");
        commands.iter().filter(is_try).count()
    }

    #[track_caller]
    fn is_sent(&self) {
        assert_eq!(content(self.server.root(), "f"), "photo");
    }
}

// ---------------------------------------------------------------------------------------------------------------
// The keyring
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn what_pyftpsync_kept_lets_coracle_in_and_the_other_way_round() {
    let place = Place::new("keyring");
    put(&place.local(), "f", "photo", 100);
    let desktop = Keyring::start(&place);
    let server = Server::start(Kind::Vsftpd, Options::default());
    let (user, password) = (server.user(), server.password());
    let name = server.address().to_string();
    let upload = |user: &str, options: &[&str], given: Option<&str>| {
        let url = format!("ftp://{user}{name}{}", server.remote_path(""));
        let mut command = place.command(&[&["upload", "local", &url], options].concat());
        command.envs(given.map(|given| ("CORACLE_PASSWORD", given)));
        desktop.surround(&mut command);
        finish(command).hides(password)
    };

    desktop.keep_by_pyftpsync(&name, user, password);
    upload("", &[], None).expect(0);
    assert_eq!(content(server.root(), "f"), "photo");

    desktop.keep_by_pyftpsync(&name, user, "an old one");
    let given = Some(password);
    upload(&format!("{user}@"), &["--store-password"], given)
        .expect(0)
        .prints(&format!(
            "kept in the keyring (service pyftpsync, user name {name})"
        ));
    assert_eq!(desktop.accounts(&name), [format!("{user}:{password}")]);
    assert_eq!(
        desktop.found_by_pyftpsync(&name),
        format!("{user} {password}")
    );
    put(&place.local(), "g", "more", 100);
    upload(&format!("{user}@"), &[], None).expect(0);
    assert_eq!(content(server.root(), "g"), "more");
}

#[test]
fn an_entry_is_for_its_own_user_and_its_own_port() {
    let scene = Scene::new();
    let desktop = Keyring::start(&scene.place);
    // pyftpsync's name for a server has no port; this may be another service's password.
    desktop.keep_by_pyftpsync("127.0.0.1", USER, PASSWORD);
    let nobody = "no password for sailor@127.0.0.1";
    scene.at(&desktop, USER, &[]).expect(7).complains(nobody);
    desktop.keep_by_pyftpsync(&scene.name(), "captain", PASSWORD);
    scene.at(&desktop, USER, &[]).expect(7).complains(nobody);
    assert_eq!(scene.tries(), 0);

    let stored = scene.upload(USER, &["--store-password"], |command| {
        desktop.surround(command).env("CORACLE_PASSWORD", PASSWORD);
    });
    stored
        .expect(0)
        .complains("has that of captain there")
        .hides(PASSWORD)
        .reads_as_prose();
    scene.is_sent();
    assert_eq!(
        desktop.accounts(&scene.name()),
        [format!("captain:{PASSWORD}")]
    );
    assert!(!scene.file().exists());
}

#[test]
fn a_kept_password_that_is_wrong_is_tried_once_and_told_where_it_is() {
    let scene = Scene::new();
    let desktop = Keyring::start(&scene.place);
    desktop.keep_by_pyftpsync(&scene.name(), USER, WRONG);
    let options = ["--retries=3", "--connections=8", "--store-password"];
    scene
        .at(&desktop, "", &options)
        .expect(7)
        .complains("is kept in the keyring (service pyftpsync, user name 127.0.0.1:")
        .complains("--prompt --store-password replaces it")
        .hides(WRONG)
        .reads_as_prose();
    assert_eq!(scene.tries(), 1);
    let kept = [format!("{USER}:{WRONG}")];
    assert_eq!(desktop.accounts(&scene.name()), kept);
}

#[test]
fn what_the_server_refused_is_not_kept() {
    let scene = Scene::new();
    let desktop = Keyring::start(&scene.place);
    let refused = scene.upload(USER, &["--store-password"], |command| {
        desktop.surround(command).env("CORACLE_PASSWORD", WRONG);
    });
    refused.expect(7).hides(WRONG);
    assert_eq!(desktop.accounts(&scene.name()), [""; 0]);
    scene.giving(WRONG, USER, &["--store-password"]).expect(7);
    assert!(!scene.file().exists());
}

#[test]
fn a_locked_keyring_is_told_and_the_file_keeps_the_password() {
    let scene = Scene::new();
    let mut desktop = Keyring::start(&scene.place);
    desktop.lock();
    let stored = scene.upload(USER, &["--store-password"], |command| {
        desktop.surround(command).env("CORACLE_PASSWORD", PASSWORD);
    });
    stored
        .expect(0)
        .complains("the keyring is not used: ")
        .prints("which this user alone can read")
        .hides(PASSWORD);
    scene.at(&desktop, USER, &[]).expect(0);
    scene.is_sent();
    // Where it is, it is replaced, and the keyring gets no second one.
    desktop.open();
    scene.write_file(WRONG, 0o600);
    let stored = scene.upload(USER, &["--store-password"], |command| {
        desktop.surround(command).env("CORACLE_PASSWORD", PASSWORD);
    });
    stored.expect(0);
    assert_eq!(desktop.accounts(&scene.name()), [""; 0]);
    scene.at(&desktop, USER, &[]).expect(0);
}

// ---------------------------------------------------------------------------------------------------------------
// The program that is asked
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_keyring_that_never_answers_is_left_after_a_while() {
    let scene = Scene::new();
    let hanging = stand_in(&scene.place, "exec sleep 100000");
    let netrc = scene.place.home().join(".netrc");
    fs::write(
        &netrc,
        format!("machine 127.0.0.1 login {USER} password \"{PASSWORD}\""),
    )
    .unwrap();
    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
    scene
        .upload("", &["--store-password"], &hanging)
        .expect(0)
        .complains("the keyring is not used: it gave no answer within 10 s")
        .hides(PASSWORD)
        .reads_as_prose();
    scene.is_sent();
    assert_eq!(
        fs::metadata(scene.file()).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn no_secret_is_among_arguments_in_the_environment_or_in_a_log() {
    let scene = Scene::new();
    let script = r#"case $1 in
        lookup) [ ! -e "$0.kept" ] || exec cat "$0.kept"; exit 1;;
        store) exec cat >"$0.kept";;
    esac"#;
    let desktop = stand_in(&scene.place, script);
    let all = ["--store-password", "-vvvv"];
    let stored = scene.upload(USER, &all, |command| {
        desktop(command);
        command.env("CORACLE_PASSWORD", PASSWORD);
        command.env("RUST_LOG", "trace");
    });
    stored
        .expect(0)
        .hides(PASSWORD)
        .prints("kept in the keyring");
    let kept = content(&scene.place.path().join("bin"), "secret-tool.kept");
    assert_eq!(kept, format!("{USER}:{PASSWORD}"));
    let found = scene.upload("", &all, |command| {
        desktop(command);
        command.env("RUST_LOG", "trace");
    });
    found.expect(0).hides(PASSWORD);
    scene.is_sent();
    let words = content(scene.place.path(), "asked");
    assert!(words.starts_with("lookup\nservice\npyftpsync\nusername\n127.0.0.1:"));
    for file in ["asked", "asked.env"] {
        assert!(!content(scene.place.path(), file).contains(PASSWORD));
    }
}

#[test]
fn pyftpsyncs_name_for_a_server_is_asked_for_at_the_usual_port() {
    let place = Place::new("keyring");
    let desktop = stand_in(&place, "exit 1");
    // Nobody is there, or nobody who lets anonymous users in where tests run.
    let mut command = place.command(&["upload", "local", "ftp://127.0.0.1/", "--retries=0"]);
    desktop(&mut command);
    finish(command);
    let words = "lookup\nservice\npyftpsync\nusername\n127.0.0.1\n";
    assert_eq!(content(place.path(), "asked"), words, "it is asked once");
}

#[test]
fn nobody_is_asked_where_it_cannot_matter() {
    let scene = Scene::new();
    let desktop = stand_in(&scene.place, "echo sailor:Ahoy:there %1");
    let unasked = |user: &str, options: &[&str], code: i32, password: Option<&str>, bus: bool| {
        let ended = scene.upload(user, options, |command| {
            desktop(command);
            if !bus {
                command.env_remove("DBUS_SESSION_BUS_ADDRESS");
            }
            command.envs(password.map(|password| ("CORACLE_PASSWORD", password)));
        });
        let ended = ended.expect(code);
        assert!(!asked(&scene.place).exists(), "{ended}");
    };
    unasked(USER, &["--no-keyring"], 7, None, true);
    unasked(USER, &[], 0, Some(PASSWORD), true);
    unasked(USER, &[], 7, None, false);
    unasked("anonymous", &[], 7, None, true);
    unasked(USER, &["--store-password", "-n"], 0, Some(PASSWORD), true);
    scene.upload(USER, &[], &desktop).expect(0);
    assert!(asked(&scene.place).exists());
}

// ---------------------------------------------------------------------------------------------------------------
// The file
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn without_a_keyring_a_file_keeps_it_for_this_user_alone() {
    let scene = Scene::new();
    scene
        .giving(PASSWORD, USER, &["--store-password"])
        .expect(0)
        .prints("/.config/coracle/passwords, which this user alone can read")
        .hides(PASSWORD);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&scene.file()), 0o600);
    assert_eq!(mode(&scene.file().parent().unwrap().to_owned()), 0o700);
    scene.alone("", &[]).expect(0).hides(PASSWORD);
    scene.alone(USER, &["-vvvv"]).expect(0).hides(PASSWORD);
    scene.is_sent();
    scene.alone(USER, &["--no-keyring"]).expect(7);
    scene.alone("captain", &[]).expect(7);
}

#[test]
fn a_file_that_others_can_read_is_told_and_neither_used_nor_written() {
    let scene = Scene::new();
    for mode in [0o640, 0o604] {
        scene.write_file(PASSWORD, mode);
        scene
            .alone(USER, &[])
            .expect(7)
            .complains("passwords is not used: others can read it; chmod 600 helps")
            .complains("no password for sailor@127.0.0.1")
            .reads_as_prose();
        let before = fs::read(scene.file()).unwrap();
        scene
            .giving(PASSWORD, USER, &["--store-password"])
            .expect(0)
            .complains("is not kept: ");
        assert_eq!(fs::read(scene.file()).unwrap(), before);
    }
}

#[test]
fn what_is_kept_is_replaced_and_what_else_is_there_stays() {
    let scene = Scene::new();
    scene.write_file(WRONG, 0o600);
    scene
        .alone(USER, &[])
        .expect(7)
        .complains("/.config/coracle/passwords, which this user alone can read; --prompt")
        .hides(WRONG);
    // Not looked up, but kept: the way to replace what is wrong where nobody can be asked.
    scene
        .giving(PASSWORD, USER, &["--no-keyring", "--store-password"])
        .expect(0);
    let text = fs::read_to_string(scene.file()).unwrap();
    assert!(
        text.starts_with("# mine\n[") && !text.contains(WRONG),
        "{text}"
    );
    scene.alone(USER, &[]).expect(0);
    scene.is_sent();
}

#[test]
fn where_nothing_can_be_kept_the_run_goes_on() {
    let scene = Scene::new();
    fs::write(scene.place.home().join(".config"), "a file").unwrap();
    scene
        .giving(PASSWORD, USER, &["--store-password"])
        .expect(0)
        .complains("the password of sailor@127.0.0.1 is not kept: ")
        .hides(PASSWORD)
        .reads_as_prose();
    scene.is_sent();
}

#[test]
fn a_dry_run_keeps_nothing() {
    let scene = Scene::new();
    scene
        .giving(PASSWORD, USER, &["--store-password", "--dry-run"])
        .expect(0)
        .prints("no password is kept");
    assert!(!scene.file().exists());
}

#[test]
fn a_password_is_typed_once_for_all() {
    let scene = Scene::new();
    let url = scene.url(USER);
    let arguments = ["upload", "local", &url, "--store-password"];
    let ended = Terminal::start(&scene.place, &arguments, 120)
        .expect("Password for sailor@127.0.0.1: ")
        .send(&format!("{PASSWORD}\n"))
        .expect("is kept in ")
        .finish();
    assert_eq!(ended.code, Some(0), "{ended}");
    ended.hides(PASSWORD);
    scene.is_sent();
    scene.alone("", &[]).expect(0);
}

#[cfg(feature = "yaml")]
#[test]
fn a_task_keeps_its_password_and_may_leave_it_alone() {
    let scene = Scene::new();
    let url = scene.url(USER);
    let text = format!(
        "common_config: {{command: upload, local: local, remote: '{url}'}}\ntasks:\n  keep: {{store_password: true}}\n  \
         use: {{}}\n  leave: {{no_keyring: true}}\n"
    );
    fs::write(scene.place.path().join("coracle.yaml"), text).unwrap();
    let mut keep = scene.place.command(&["run", "keep"]);
    keep.env("CORACLE_PASSWORD", PASSWORD);
    finish(keep).expect(0).prints("is kept in");
    scene.place.run(&["run", "use"]).expect(0);
    scene.is_sent();
    scene.place.run(&["run", "leave"]).expect(7);
}

#[cfg(feature = "sftp")]
#[test]
fn over_ssh_the_password_that_was_asked_for_is_kept() {
    use support::ssh::{Daemon, PASSWORD, SshClient, SshServer};
    for client in [SshClient::Ssh, SshClient::Dbclient] {
        let place = Place::new("keyring");
        put(&place.local(), "f", "photo", 100);
        let server = SshServer::start(Daemon::Proftpd);
        let (url, ssh) = (server.url(""), server.command(client));
        let upload = |options: &[&str], given: Option<&str>| {
            let words = ["upload", "local", &url, "--ssh-command", &ssh];
            let mut command = place.command(&[&words[..], options].concat());
            command.envs(given.map(|given| ("CORACLE_PASSWORD", given)));
            finish(command).hides(PASSWORD).hides(WRONG)
        };
        let file = place.home().join(".config/coracle/passwords");
        let store = ["--store-password"];
        upload(&store, Some(WRONG)).expect(7);
        assert!(!file.exists(), "{client:?}");
        upload(&store, Some(PASSWORD))
            .expect(0)
            .prints("is kept in");
        upload(&[], None).expect(0);
        assert_eq!(content(&server.root(), "f"), "photo");
        let wrong = fs::read_to_string(&file).unwrap().replace(PASSWORD, WRONG);
        fs::write(&file, wrong).unwrap();
        upload(&store, None)
            .expect(7)
            .complains("the password that was refused is kept in");
    }
}
