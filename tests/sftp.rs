//! The program over SSH: it syncs, and each thing that can go wrong before the first file ends it with a sentence and a code.
#![cfg(feature = "sftp")]

mod support;

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, iter};

use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn};

use support::program::{Ended, Place, content, put};
use support::ssh::{Daemon, PASSWORD, SshClient, SshServer, USER, client_command};

/// Both clients.
const CLIENTS: [SshClient; 2] = [SshClient::Ssh, SshClient::Dbclient];

struct Scene {
    server: SshServer,
    place: Place,
}

impl Scene {
    fn new(daemon: Daemon) -> Self {
        Self::with(SshServer::start(daemon))
    }

    fn with(server: SshServer) -> Self {
        let place = Place::new("sftp");
        Self { server, place }
    }

    fn run(&self, verb: &str, client: SshClient, options: &[&str]) -> Ended {
        let command = self.server.command(client);
        self.run_by(verb, &command, options)
    }

    fn run_by(&self, verb: &str, command: &str, options: &[&str]) -> Ended {
        let url = self.server.url("");
        let fixed = ["--ssh-command", command, "--timeout", "8", "--retries", "0"];
        self.place.with(verb, &url, &[&fixed[..], options].concat())
    }

    /// A client that knows no host.
    fn stranger(&self, client: SshClient, with_key: bool) -> String {
        let home = self.place.home();
        fs::create_dir_all(home.join(".ssh")).unwrap();
        for key in ["key", "key.pub", "dropbear_key"] {
            let _ = fs::copy(self.server.home().join(key), home.join(key));
        }
        client_command(client, &home, with_key)
    }

    fn known_hosts(&self) -> String {
        let file = self.place.home().join(".ssh/known_hosts");
        fs::read_to_string(file).unwrap_or_default()
    }
}

#[test]
fn syncs_both_ways_with_both_clients() {
    for client in CLIENTS {
        let scene = Scene::new(Daemon::OpenSsh);
        put(&scene.place.local(), "a/one.txt", "one", 1000);
        put(&scene.place.local(), "large.bin", vec![7; 3_000_000], 900);
        scene.run("upload", client, &[]).expect(0);
        assert_eq!(content(&scene.server.root(), "a/one.txt"), "one");
        put(&scene.server.root(), "b/two.txt", "two", 500);
        put(&scene.place.local(), "a/one.txt", "one more", 10);
        scene.server.own_files();
        scene.run("sync", client, &[]).expect(0);
        assert_eq!(content(&scene.place.local(), "b/two.txt"), "two");
        assert_eq!(content(&scene.server.root(), "a/one.txt"), "one more");
        let again = scene.run("sync", client, &["-v"]).expect(0);
        assert!(!again.stdout.contains("copied"), "{again}");
    }
}

/// More small files than one session takes together, so that several have some in hand.
#[test]
fn several_connections_copy_small_files_side_by_side() {
    for client in CLIENTS {
        let scene = Scene::new(Daemon::OpenSsh);
        for n in 0..300 {
            put(
                &scene.place.local(),
                &format!("d{}/up {n}", n % 7),
                format!("up {n}"),
                1000,
            );
        }
        scene.run("upload", client, &["--connections=3"]).expect(0);
        for n in 0..300 {
            put(
                &scene.server.root(),
                &format!("e{}/down {n}", n % 5),
                format!("down {n}"),
                500,
            );
        }
        scene.server.own_files();
        scene.run("sync", client, &["--connections=3"]).expect(0);
        for side in [scene.place.local(), scene.server.root()] {
            for n in 0..300 {
                assert_eq!(
                    content(&side, &format!("d{}/up {n}", n % 7)),
                    format!("up {n}")
                );
                assert_eq!(
                    content(&side, &format!("e{}/down {n}", n % 5)),
                    format!("down {n}")
                );
            }
        }
    }
}

#[test]
fn what_is_uploaded_gets_the_mode_that_is_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new(Daemon::OpenSsh);
    let mode = |name: &str| {
        let file = fs::metadata(scene.server.root().join(name)).unwrap();
        file.permissions().mode() & 0o7777
    };
    put(&scene.place.local(), "small", "small", 1000);
    put(&scene.place.local(), "large", vec![7; 3_000_000], 900);
    for asked in ["640", "666"] {
        let ended = scene
            .run("upload", SshClient::Ssh, &["--chmod", asked])
            .expect(0);
        assert!(!ended.stderr.contains("--chmod"), "{ended}");
        let asked = u32::from_str_radix(asked, 8).unwrap();
        assert_eq!((mode("small"), mode("large")), (asked, asked));
        put(&scene.place.local(), "small", "small, edited", 10);
        put(&scene.place.local(), "large", vec![8; 3_000_001], 9);
    }
}

#[test]
fn the_login_directory_is_found() {
    let scene = Scene::new(Daemon::OpenSsh);
    put(&scene.place.local(), "f", "f", 100);
    let url = format!("sftp://{USER}@{}/~/root", scene.server.address());
    let command = scene.server.command(SshClient::Ssh);
    let options = ["--ssh-command", command.as_str()];
    scene.place.with("upload", &url, &options).expect(0);
    assert_eq!(content(&scene.server.root(), "f"), "f");

    // The same directory by its full path is the same peer: what was synced with it is known.
    fs::remove_file(scene.place.local().join("f")).unwrap();
    put(&scene.place.local(), "g", "g", 100);
    scene.run("sync", SshClient::Ssh, &[]).expect(0);
    assert_eq!(content(&scene.server.root(), "g"), "g");
    assert!(!scene.server.root().join("f").exists());
}

// ---------------------------------------------------------------------------------------------------------------
// Host keys
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn an_unknown_host_key_is_refused_with_what_accepts_it() {
    for client in CLIENTS {
        let scene = Scene::new(Daemon::OpenSsh);
        put(&scene.place.local(), "f", "f", 100);
        let command = scene.stranger(client, true);
        let refused = scene.run_by("upload", &command, &[]).expect(7);
        assert!(
            refused.stderr.contains("is not known: SHA256:"),
            "{refused}"
        );
        assert!(
            refused.stderr.contains("--accept-new-host-key"),
            "{refused}"
        );
        let refused = refused.reads_as_prose();

        // What it names is what helps.
        let (_, rest) = refused
            .stderr
            .split_once("--pin ")
            .expect("it names the pin");
        let pin = rest.split_whitespace().next().unwrap();
        scene.run_by("upload", &command, &["--pin", pin]).expect(0);
        assert_eq!(scene.known_hosts(), "");
        scene
            .run_by("upload", &command, &["--accept-new-host-key"])
            .expect(0);
        assert!(scene.known_hosts().contains("ssh-ed25519"));
        scene.run_by("upload", &command, &[]).expect(0);
    }
}

#[test]
fn a_wrong_pin_is_refused() {
    for client in CLIENTS {
        let scene = Scene::new(Daemon::OpenSsh);
        let pin = format!("sha256:{}", "07".repeat(32));
        let command = scene.stranger(client, true);
        scene
            .run_by("upload", &command, &["--pin", &pin])
            .expect(7)
            .complains("is not one that --pin names, but sha256:")
            .reads_as_prose();
    }
}

#[test]
fn a_changed_host_key_is_refused_whatever_is_accepted() {
    for client in CLIENTS {
        let scene = Scene::new(Daemon::OpenSsh);
        let other = SshServer::start(Daemon::OpenSsh);
        let key = fs::read_to_string(other.home().join("host_key.pub")).unwrap();
        let command = scene.stranger(client, true);
        let (ip, port) = (scene.server.address().ip(), scene.server.address().port());
        let known = format!("[{ip}]:{port} {key}{ip} {key}");
        let file = scene.place.home().join(".ssh/known_hosts");
        fs::write(file, known).unwrap();
        for options in [&[][..], &["--accept-new-host-key"]] {
            scene
                .run_by("upload", &command, options)
                .expect(7)
                .complains("has CHANGED to SHA256:")
                .reads_as_prose();
        }
        scene
            .run_by("upload", &command, &["--no-verify-host-keys"])
            .expect(0)
            .complains("any server is accepted");
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Logging in
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_password_is_typed_where_it_is_asked_for() {
    for (daemon, client) in [
        (Daemon::Proftpd, SshClient::Ssh),
        (Daemon::Proftpd, SshClient::Dbclient),
        (Daemon::Asyncssh, SshClient::Ssh),
    ] {
        let scene = Scene::new(daemon);
        put(&scene.place.local(), "f", "f", 100);
        let file = scene.place.path().join("password");
        fs::write(&file, PASSWORD).unwrap();
        let with_file = ["--password-file", file.to_str().unwrap()];
        let done = scene
            .run("upload", client, &with_file)
            .expect(0)
            .hides(PASSWORD);
        assert_eq!(content(&scene.server.root(), "f"), "f", "{done}");

        fs::write(&file, "wrong-one").unwrap();
        let refused = scene.run("upload", client, &with_file).expect(7);
        assert!(
            refused.stderr.contains("does not accept the password"),
            "{daemon:?} {client:?} {refused}"
        );
        refused.hides("wrong-one").reads_as_prose();

        scene
            .run("upload", client, &[])
            .expect(7)
            .complains("the server wants the password of sailor@127.0.0.1, and there is none")
            .reads_as_prose();
    }
}

#[test]
fn a_refused_key_names_what_the_server_takes() {
    for client in CLIENTS {
        let scene = Scene::with(SshServer::start_with(
            Daemon::OpenSsh,
            &[
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
            ],
        ));
        scene.server.know_host();
        fs::write(scene.server.home().join(".ssh/authorized_keys"), "").unwrap();
        let refused = scene.run("upload", client, &[]).expect(7);
        assert!(refused.stderr.contains("login refused"), "{refused}");
        refused.reads_as_prose();
    }
}

#[test]
fn a_key_that_is_not_there_and_a_user_that_is_not_known_are_refused() {
    for client in CLIENTS {
        let scene = Scene::with(SshServer::start_with(
            Daemon::OpenSsh,
            &[
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
            ],
        ));
        let command = scene.server.command(client);
        let home = scene.server.home().display().to_string();
        let keyless = match client {
            SshClient::Ssh => format!("{command} -i {home}/gone -o IdentityFile=none"),
            SshClient::Dbclient => command.replace("dropbear_key", "gone"),
        };
        if client == SshClient::Ssh {
            fs::remove_file(scene.server.home().join("key")).unwrap();
        }
        scene
            .run_by("upload", &keyless, &[])
            .expect(7)
            .complains("login refused")
            .complains("/gone")
            .reads_as_prose();

        let url = scene.server.url("").replace(USER, "stowaway");
        let fixed = ["--ssh-command", &command, "--timeout", "8", "--retries=0"];
        scene
            .place
            .with("upload", &url, &fixed)
            .expect(7)
            .complains("stowaway@127.0.0.1")
            .reads_as_prose();
    }
}

#[test]
fn a_locked_key_asks_for_its_phrase_and_nobody_is_there() {
    let scene = Scene::new(Daemon::OpenSsh);
    let key = scene.server.home().join("key");
    let locked = Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "a phrase", "-f"])
        .arg(&key)
        .stdin(Stdio::null())
        .status();
    assert!(locked.unwrap().success());
    scene
        .run("upload", SshClient::Ssh, &[])
        .expect(7)
        .complains("asks \"Enter passphrase for key")
        .reads_as_prose();
}

// ---------------------------------------------------------------------------------------------------------------
// What is not there
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_server_that_is_not_there_is_told_as_with_ftp() {
    for client in CLIENTS {
        let mut scene = Scene::new(Daemon::OpenSsh);
        scene.server.kill();
        scene
            .run("upload", client, &[])
            .expect(6)
            .complains("connection refused")
            .reads_as_prose();
    }
}

#[test]
fn a_name_without_an_address_is_told_as_with_ftp() {
    for client in CLIENTS {
        let scene = Scene::new(Daemon::OpenSsh);
        let command = scene.server.command(client);
        let fixed = ["--ssh-command", &command, "--retries=0"];
        scene
            .place
            .with("upload", "sftp://sailor@nowhere.invalid/x", &fixed)
            .expect(6)
            .complains("the name has no address")
            .reads_as_prose();
    }
}

#[test]
fn a_server_without_sftp_is_told_as_such() {
    let no_sftp = ["Subsystem other internal-sftp"];
    let scene = Scene::with(SshServer::start_with(Daemon::OpenSsh, &no_sftp));
    scene
        .run("upload", SshClient::Ssh, &[])
        .expect(6)
        .complains("the server has no SFTP")
        .reads_as_prose();
    let dropbear = scene.run("upload", SshClient::Dbclient, &[]).expect(6);
    assert!(dropbear.stderr.contains("SFTP"), "{dropbear}");
    dropbear.reads_as_prose();
}

/// What dropbear does for `sftp` where OpenSSH's program is not installed.
#[test]
fn a_dropbear_without_sftp_server_is_told_as_such() {
    let none = ["-c", "exec /usr/lib/no-such-directory/sftp-server"];
    for client in CLIENTS {
        let scene = Scene::with(SshServer::start_with(Daemon::Dropbear, &none));
        let ended = scene.run("upload", client, &[]).expect(6);
        ended.complains("SFTP").reads_as_prose();
    }
}

#[test]
fn a_host_that_does_not_answer_is_given_up_in_time() {
    // A queue that is full takes no connection: to whoever dials, the host is silent.
    let full = socket::socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::empty(),
        None,
    );
    let full = full.unwrap();
    let any = SockaddrIn::new(127, 0, 0, 1, 0);
    socket::bind(full.as_raw_fd(), &any).unwrap();
    socket::listen(&full, Backlog::new(0).unwrap()).unwrap();
    let address: SockaddrIn = socket::getsockname(full.as_raw_fd()).unwrap();
    let address = SocketAddr::from((address.ip(), address.port()));
    let waiting = Duration::from_millis(100);
    let queue = iter::from_fn(|| TcpStream::connect_timeout(&address, waiting).ok());
    let _queue: Vec<TcpStream> = queue.collect();
    for client in CLIENTS {
        let scene = Scene::new(Daemon::OpenSsh);
        let command = scene.server.command(client);
        let url = format!("sftp://sailor@{address}/x");
        let started = Instant::now();
        let options = ["--ssh-command", &command, "--timeout=2", "--retries=0"];
        let ended = scene.place.with("upload", &url, &options).expect(6);
        ended.complains("timed out").reads_as_prose();
        assert!(started.elapsed() < Duration::from_secs(10), "{client:?}");
    }
}

#[test]
fn a_server_that_writes_no_file_from_its_middle_gets_it_whole() {
    let scene = Scene::new(Daemon::Rclone);
    let content: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7) as u8).collect();
    put(&scene.place.local(), "big", &content, 900);
    let options = [
        "--limit-rate=400k",
        "--max-duration=3",
        "--password-file=pw",
    ];
    fs::write(scene.place.path().join("pw"), PASSWORD).unwrap();
    scene.run("upload", SshClient::Ssh, &options).expect(3);
    let left = fs::read_dir(scene.server.root()).unwrap().count();
    assert_eq!(left, 1, "a part is kept");
    let options = ["--password-file=pw"];
    scene.run("upload", SshClient::Ssh, &options).expect(0);
    assert!(fs::read(scene.server.root().join("big")).unwrap() == content);
}

#[test]
fn a_shell_that_prints_is_told_as_such() {
    for client in CLIENTS {
        let noisy = ["Subsystem sftp echo Welcome to the harbour;true"];
        let scene = Scene::with(SshServer::start_with(Daemon::OpenSsh, &noisy));
        scene
            .run("upload", client, &[])
            .expect(6)
            .complains("its shell prints before SFTP begins: \"Welcome to the harbour\"")
            .reads_as_prose();
    }
}

#[test]
fn a_missing_program_is_told_as_such() {
    let place = Place::new("sftp");
    place
        .with(
            "upload",
            "sftp://nas/x",
            &["--ssh-command", "/no/such/program"],
        )
        .expect(2)
        .complains("--ssh-command: /no/such/program cannot be started: no such file")
        .says_one_sentence();
    let mut command = place.command(&["upload", "local", "sftp://nas/x"]);
    command.env("PATH", place.path());
    let program = env!("CARGO_BIN_EXE_coracle");
    let mut bare = Command::new(program);
    bare.args(["upload", "local", "sftp://nas/x"])
        .current_dir(place.path())
        .env_clear()
        .env("PATH", place.path())
        .env("HOME", place.home());
    support::program::finish(bare)
        .expect(2)
        .complains("install OpenSSH's ssh or dropbear's dbclient")
        .says_one_sentence();
}

#[test]
fn odd_hosts_and_users_start_nothing() {
    let place = Place::new("sftp");
    let fake = place.path().join("fake");
    fs::write(&fake, "#!/bin/sh\necho started >> \"$0.log\"\n").unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&fake, mode).unwrap();
    for url in [
        "sftp://-Jtouch/x",
        "sftp://-oProxyCommand=x@nas/x",
        "sftp://a,b/x",
    ] {
        let command = fake.to_str().unwrap();
        place
            .with("upload", url, &["--ssh-command", command])
            .expect(2)
            .says_one_sentence();
    }
    assert!(!place.path().join("fake.log").exists());
}

// ---------------------------------------------------------------------------------------------------------------
// The child process
// ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_silent_program_is_ended_in_time() {
    let place = Place::new("sftp");
    let fake = place.path().join("fake");
    let script = "#!/bin/sh\ncase \"$*\" in *-V*) echo OpenSSH >&2; exit;; esac\necho $$ > \"$0.pid\"\ntrap '' TERM\nsleep 100 & wait; wait\n";
    fs::write(&fake, script).unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&fake, mode).unwrap();
    let started = Instant::now();
    let options = [
        "--ssh-command",
        fake.to_str().unwrap(),
        "--timeout",
        "2",
        "--retries",
        "0",
    ];
    place
        .with("upload", "sftp://nas/x", &options)
        .expect(6)
        .complains("timed out waiting for the login")
        .reads_as_prose();
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    let pid = content(place.path(), "fake.pid");
    let left = fs::exists(format!("/proc/{}", pid.trim())).unwrap();
    assert!(!left, "process {pid} is left");
}

#[test]
fn no_secret_is_where_others_can_read_it() {
    let place = Place::new("sftp");
    let fake = place.path().join("fake");
    let script = "#!/bin/sh\ncase \"$*\" in *-V*) echo OpenSSH >&2; exit;; esac\n\
        tr '\\0' '\\n' < /proc/$$/environ > \"$0.environ\"\necho \"$*\" > \"$0.arguments\"\n\
        printf \"me@nas's password: \" > /dev/tty\nread answer < /dev/tty\n[ \"$answer\" = seaworthy ] && touch \"$0.told\"\n\
        printf \"me@nas's password: \" > /dev/tty\nread answer < /dev/tty\n";
    fs::write(&fake, script).unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&fake, mode).unwrap();
    let mut command = place.command(&[
        "upload",
        "local",
        "sftp://me@nas/x",
        "--ssh-command",
        fake.to_str().unwrap(),
        "--retries",
        "0",
        "-vvv",
    ]);
    command.env("CORACLE_PASSWORD", PASSWORD);
    support::program::finish(command)
        .expect(7)
        .complains("does not accept the password of me@nas")
        .hides(PASSWORD);
    assert!(place.path().join("fake.told").exists(), "it was told once");
    for file in ["fake.environ", "fake.arguments"] {
        assert!(!content(place.path(), file).contains(PASSWORD), "{file}");
    }
}

#[test]
fn what_the_ssh_program_repeats_of_the_password_is_not_shown() {
    let place = Place::new("sftp");
    let fake = place.path().join("fake");
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    for last in [
        "echo \"who is $answer?\" >&2",
        "echo \"who is $answer?\"; read rest",
        "printf \"$answer is not me@jump's password: \" > /dev/tty; read rest < /dev/tty",
    ] {
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *-V*) echo OpenSSH >&2; exit;; esac\n\
             printf \"me@nas's password: \" > /dev/tty\nread answer < /dev/tty\n{last}\n"
        );
        fs::write(&fake, script).unwrap();
        fs::set_permissions(&fake, mode.clone()).unwrap();
        let url = format!("sftp://me:{PASSWORD}@nas/x");
        let fake = fake.to_str().unwrap();
        let options = [
            "--ssh-command",
            fake,
            "--retries",
            "0",
            "--timeout",
            "5",
            "-vvv",
        ];
        let ended = place.with("upload", &url, &options);
        assert!(matches!(ended.code, Some(6 | 7)), "{ended}");
        ended.complains("****").hides(PASSWORD);
    }
}

#[test]
fn a_jump_hosts_question_is_not_answered_with_our_password() {
    let place = Place::new("sftp");
    let fake = place.path().join("fake");
    let script = "#!/bin/sh\ncase \"$*\" in *-V*) echo OpenSSH >&2; exit;; esac\n\
        printf \"me@jump's password: \" > /dev/tty\nread answer < /dev/tty\necho \"$answer\" > \"$0.told\"\n";
    fs::write(&fake, script).unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&fake, mode).unwrap();
    let url = format!("sftp://me:{PASSWORD}@nas/x");
    place
        .with(
            "upload",
            &url,
            &["--ssh-command", fake.to_str().unwrap(), "--retries", "0"],
        )
        .expect(7)
        .complains("asks \"me@jump's password:\", and there is nobody to answer")
        .hides(PASSWORD);
    assert!(!place.path().join("fake.told").exists());
}
