//! What `probe` tells of a server, against servers that do as they are told and the real ones; and that it writes nothing there.

mod support;

use std::fs;

use support::ftp_server::{Config, FtpServer, ListStyle};
use support::program::{Place, Snapshot, content, put};
use support::servers::{Kind, Options, Server};

/// A place whose remote directory is served.
fn served(name: &str, change: impl FnOnce(&mut Config)) -> (Place, FtpServer) {
    let place = Place::new(name);
    put(&place.remote(), "a", "aa", 7_200);
    put(&place.remote(), "d/b", "bb", 7_200);
    let mut config = Config::serving(place.remote());
    change(&mut config);
    let server = FtpServer::start(config);
    (place, server)
}

/// The command line that a probe ends with, as words for this program; `--dry-run` is taken out.
fn advised(printed: &str) -> Vec<String> {
    let line = printed
        .lines()
        .find(|line| line.starts_with("coracle sync "));
    let line = line.expect("a command line is told");
    line.split(' ')
        .skip(1)
        .filter(|word| *word != "--dry-run")
        .map(|word| word.trim_matches('\'').replace("DIRECTORY", "local"))
        .collect()
}

#[test]
fn a_probe_tells_what_works_and_writes_nothing() {
    let (place, server) = served("probe", |_| {});
    let before = Snapshot::of(&place.remote());
    let url = server.url("/");
    let told = place.run(&["probe", &url]).expect(0);
    let told = told
        .prints("listed by         MLSD")
        .prints("looked up by      MLST")
        .prints("data by           EPSV")
        .prints("MFMT")
        .prints("protection        none")
        .prints("root              2 entries")
        .prints("8 at a time");
    let writing = [
        "STOR", "APPE", "MKD", "RMD", "DELE", "RNFR", "RNTO", "SITE", "MFMT ",
    ];
    for command in server.commands() {
        assert!(
            !writing.iter().any(|verb| command.starts_with(verb)),
            "{command}"
        );
    }
    assert_eq!(before, Snapshot::of(&place.remote()));
    // What is told as the command line is one, and what is told as a task is one.
    let words = advised(&told.stdout);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    place.run(&words).expect(0);
    assert_eq!(content(&place.local(), "d/b"), "bb");
    if cfg!(feature = "yaml") {
        let (_, task) = told
            .stdout
            .split_once("\ntasks:\n")
            .expect("a task is told");
        let task = format!("tasks:\n{task}").replace("DIRECTORY", "local");
        put(place.path(), "coracle.yaml", task, 60);
        let again = place.run(&["run", "NAME"]).expect(0);
        again.prints("Nothing to do");
    }
}

#[test]
fn what_a_server_lacks_is_told() {
    let (place, server) = served("probe-old", |config| {
        config.mlsd = false;
        config.feat = false;
        config.epsv = false;
        config.list_style = ListStyle::Unix;
        config.list_zone_secs = 7_200;
        config.max_sessions = Some(2);
    });
    let told = place
        .run(&["probe", &server.url("/"), "--retries=0"])
        .expect(0);
    let told = told
        .prints("not told: each is tried when it is needed")
        .prints("listed by         LIST")
        .prints("data by           PASV")
        .prints("zone              its listings are +2 hours from UTC")
        .prints("2 at a time, and no more");
    assert!(advised(&told.stdout).join(" ").contains("--connections 2"));
    // What was learnt is there for the next run, and told by the next probe, too.
    let kept = place.home().join("state/coracle/servers");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 1);
    place
        .run(&["probe", &server.url("/"), "--retries=0"])
        .expect(0)
        .prints("leads nowhere     EPSV");
}

#[test]
fn a_root_that_is_not_there_and_a_login_that_is_refused_are_told() {
    let (place, server) = served("probe-missing", |config| {
        config.user = Some("me".into());
        config.password = Some("seaworthy".into());
    });
    let address = server.addr();
    let missing = format!("ftp://me:seaworthy@{address}/nowhere");
    let told = place.run(&["probe", &missing]).expect(0);
    told.prints("root              not there")
        .hides("seaworthy");
    let wrong = format!("ftp://me:hunter2@{address}/");
    let refused = place.run(&["probe", &wrong, "--retries=0"]).expect(7);
    refused.hides("hunter2").reads_as_prose();
    place
        .run(&["probe", "local"])
        .expect(2)
        .complains("probe is about a server");
}

#[test]
fn the_real_servers_are_told_apart() {
    for (kind, name, listed) in [
        (Kind::Pyftpdlib, "Pyftpdlib: ", "MLSD"),
        (Kind::Vsftpd, "Vsftpd: ", "LIST -a"),
        (Kind::Proftpd, "Proftpd: ", "MLSD"),
    ] {
        let server = Server::start(kind, Options::default());
        put(server.root(), "a/b", "b", 7_200);
        server.own_files();
        let place = Place::new("probe-real");
        let told = place.run(&["probe", &server.url("")]).expect(0);
        told.prints(&format!("server            {name}"))
            .prints(&format!("listed by         {listed}"))
            .prints("faster with       ")
            .hides(server.password());
    }
}

#[test]
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
fn the_key_of_an_unknown_server_is_told_and_can_be_pinned() {
    use support::tls::{Variant, authority};
    let variant = Variant {
        kind: Kind::Pyftpdlib,
        version: None,
        strict: false,
    };
    let server = Server::start(variant.kind, variant.options(authority().good()));
    let place = Place::new("probe-tls");
    put(&place.local(), "a", "aa", 7_200);
    let url = server.url("").replace("ftp://", "ftps://");
    place
        .run(&["probe", &url])
        .expect(7)
        .complains("--pin sha256:");
    let told = place.run(&["probe", "--insecure", &url]).expect(0);
    let told = told
        .complains("--insecure")
        .prints("protection        TLS")
        .prints("127.0.0.1, localhost, by Test Authority")
        .prints("key               --pin sha256:");
    let words = advised(&told.stdout);
    assert!(!words.contains(&"--insecure".to_owned()));
    let pin = words
        .iter()
        .position(|word| word == "--pin")
        .expect("a pin is advised");
    place
        .run(&["upload", "local", &url, "--pin", &words[pin + 1]])
        .expect(0);
    assert_eq!(content(server.root(), "a"), "aa");
}

#[test]
#[cfg(feature = "sftp")]
fn of_an_ssh_server_its_extensions_are_told() {
    use support::ssh::{Daemon, SshClient, SshServer};
    let server = SshServer::start(Daemon::OpenSsh);
    server.know_host();
    let place = Place::new("probe-ssh");
    let command = server.command(SshClient::Ssh);
    let told = place
        .run(&["probe", &server.url(""), "--ssh-command", &command])
        .expect(0);
    told.prints("protection        by SSH: ")
        .prints("posix-rename@openssh.com")
        .prints("free              ")
        .prints("--ssh-command '");
}
