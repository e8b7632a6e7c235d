//! FTPS: with the real servers, with bad certificates, and under attack.
#![cfg(any(feature = "tls-rustls", feature = "tls-native"))]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::ftp_server::{Config, Effect, Fault, FtpServer};
use support::servers::{Kind, Server};
use support::temp::TempDir;
use support::tls::{LOOPBACK, Shown, VALID, Variant, Version, authority};
use support::tls_front::{Conduct, Front, RECORD_BYTES};

#[test]
fn vsftpd_takes_and_gives_files() {
    for strict in [false, true] {
        for version in [Version::Tls12, Version::Tls13] {
            try_server(Variant {
                kind: Kind::Vsftpd,
                version: Some(version),
                strict,
            });
        }
    }
}

#[test]
fn proftpd_takes_and_gives_files() {
    try_versions(Kind::Proftpd);
}

#[test]
fn pure_ftpd_takes_and_gives_files() {
    if Kind::startable().contains(&Kind::PureFtpd) {
        try_versions(Kind::PureFtpd);
    }
}

#[test]
fn pyftpdlib_takes_and_gives_files() {
    try_versions(Kind::Pyftpdlib);
}

fn try_versions(kind: Kind) {
    for version in [Some(Version::Tls12), Some(Version::Tls13), None] {
        try_server(Variant {
            kind,
            version,
            strict: false,
        });
    }
}

/// Upload, a silent second run, sync both ways, download, with several connections.
fn try_server(variant: Variant) {
    println!("{variant:?}");
    let server = Server::start(variant.kind, variant.options(authority().good()));
    let remote = ftps(&server);
    let home = TempDir::new("local");
    let local = home.path().join("a");
    fs::create_dir_all(local.join("sub/deep")).unwrap();
    for number in 0..15 {
        fs::write(
            local.join(format!("sub/{number}")),
            format!("file {number}"),
        )
        .unwrap();
    }
    fs::write(local.join("empty"), "").unwrap();
    fs::write(local.join("sub/deep/large"), vec![b'x'; 3_000_000]).unwrap();
    let trust = trust();
    let run = |command: &str, local: &Path| {
        let local = local.to_str().unwrap();
        let output = coracle(&[command, local, &remote, &trust, "-vvv"]);
        check(&output, variant);
        output
    };

    run("sync", &local);
    assert_eq!(tree(&local), tree(server.root()), "{variant:?}: uploaded");
    let second = run("sync", &local);
    let log = String::from_utf8_lossy(&second.stderr);
    for change in ["> STOR", "> DELE", "> RNFR", "> MKD"] {
        assert!(!log.contains(change), "{variant:?}: the second run: {log}");
    }

    fs::write(server.root().join("sub/theirs"), "from the server").unwrap();
    fs::write(local.join("sub/ours"), "from here").unwrap();
    fs::remove_file(local.join("sub/7")).unwrap();
    server.own_files();
    run("sync", &local);
    assert_eq!(tree(&local), tree(server.root()), "{variant:?}: synced");
    assert!(local.join("sub/theirs").exists() && !server.root().join("sub/7").exists());

    let copy = home.path().join("b");
    fs::create_dir(&copy).unwrap();
    run("download", &copy);
    assert_eq!(tree(&copy), tree(&local), "{variant:?}: downloaded");
}

/// That the run went well, over that version, with the session resumed where the server demands it.
fn check(output: &Output, variant: Variant) {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{variant:?}: {}",
        shown(output)
    );
    let log = String::from_utf8_lossy(&output.stderr);
    if let Some(version) = variant.version {
        let wanted = match version {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        };
        let other = ["TLSv1.2", "TLSv1.3"]
            .into_iter()
            .find(|name| *name != wanted)
            .unwrap();
        assert!(
            log.contains(wanted) && !log.contains(other),
            "{variant:?}: {log}"
        );
    }
    let full = log.matches(", not resumed").count();
    let sessions = log.matches("> AUTH TLS").count();
    if variant.demands_resumption() {
        assert!(
            full <= sessions,
            "{variant:?}: {full} full handshakes in {sessions} sessions"
        );
    }
    assert!(
        log.contains(", resumed") || variant.kind == Kind::PureFtpd,
        "{variant:?}: {log}"
    );
}

#[test]
fn implicit_tls_works_too() {
    let scene = Scene::new(Conduct {
        implicit: true,
        ..Conduct::default()
    });
    let output = scene.run("upload", &["--tls=implicit", &trust()]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert!(scene.is_at(&scene.remote, "ours"));
    assert_eq!(scene.front.clear(), "");
}

#[test]
fn a_client_certificate_opens_the_door() {
    let good = authority().good();
    let variant = Variant {
        kind: Kind::Vsftpd,
        version: None,
        strict: false,
    };
    let mut options = variant.options(good);
    options.extra.extend([
        "ssl_request_cert=YES".into(),
        "require_cert=YES".into(),
        "validate_cert=YES".into(),
        format!("ca_certs_file={}", authority().file().display()),
    ]);
    let server = Server::start(variant.kind, options);
    let home = TempDir::new("local");
    fs::write(home.path().join("file"), "content").unwrap();
    let local = home.path().to_str().unwrap();
    let remote = ftps(&server);
    let without = coracle(&["upload", local, &remote, &trust(), "--retries=0"]);
    assert_ne!(without.status.code(), Some(0), "{}", shown(&without));
    let extensions = "extendedKeyUsage=clientAuth\n";
    let ours = authority().sign_with("client", "ca", extensions, VALID, "rsa:2048");
    let cert = format!("--client-cert={}", ours.cert.display());
    let key = format!("--client-key={}", ours.key.display());
    let with = coracle(&["upload", local, &remote, &trust(), &cert, &key]);
    assert_eq!(with.status.code(), Some(0), "{}", shown(&with));
    assert_eq!(tree(home.path()), tree(server.root()));
}

/// Each is refused with its own words, and the server hears nothing but the handshake.
#[test]
fn bad_certificates_are_refused_each_with_its_sentence() {
    let ca = authority();
    ca.found("stranger", "Some Stranger");
    ca.sign_authority("between", "ca");
    let day = |name, valid| ca.sign(name, "ca", LOOPBACK, valid, "rsa:2048");
    let past = ("20200101000000Z", "20210101000000Z");
    let future = ("20480101000000Z", "20491231000000Z");
    let unknown = ca.sign("unknown", "stranger", LOOPBACK, VALID, "rsa:2048");
    for (shown, sentence) in [
        (day("expired", past), "it expired on 2021-01-01"),
        (
            day("early", future),
            "it is not valid before 2048-01-01; if that has passed, the clock",
        ),
        (
            ca.sign("other", "ca", "DNS:example.org", VALID, "rsa:2048"),
            "it is not for 127.0.0.1 (for example.org;",
        ),
        (
            ca.self_signed("selfsigned"),
            "it is self-signed, so nobody vouches for it",
        ),
        (
            ca.with_issuer(unknown, "stranger"),
            "its authority, Some Stranger, is not trusted here (see --ca-file)",
        ),
        (
            ca.sign("orphan", "between", LOOPBACK, VALID, "rsa:2048"),
            "its chain is broken: the certificate of its issuer, server between, was neither sent nor",
        ),
    ] {
        let scene = Scene::showing(&shown, Conduct::default());
        let output = scene.run("upload", &[&trust()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(sentence), "{sentence}: {said}");
        assert!(said.contains(&format!("--pin {}", shown.pin())), "{said}");
        scene.assert_refused(&output);
        assert_eq!(scene.front.commands(), [] as [&str; 0], "{sentence}");

        let pinned = scene.run("upload", &[&format!("--pin={}", shown.pin())]);
        assert_eq!(
            pinned.status.code(),
            Some(0),
            "{sentence}: {}",
            self::shown(&pinned)
        );
        assert!(scene.is_at(&scene.remote, "ours"));
    }
}

#[test]
fn a_wrong_pin_is_refused_and_another_one_may_be_right() {
    let good = authority().good();
    let scene = Scene::showing(good, Conduct::default());
    let wrong = format!("--pin=sha256:{}", "ab".repeat(32));
    let output = scene.run("upload", &[&wrong]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("its key is not the pinned one"), "{said}");
    scene.assert_refused(&output);
    assert_eq!(scene.front.commands(), [] as [&str; 0]);
    let output = scene.run("upload", &[&wrong, &format!("--pin={}", good.pin())]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
}

#[test]
fn a_weak_key_is_refused_even_when_it_is_pinned() {
    let weak = authority().sign("weak", "ca", LOOPBACK, VALID, "rsa:1024");
    let variant = Variant {
        kind: Kind::Vsftpd,
        version: None,
        strict: false,
    };
    let mut options = variant.options(&weak);
    options.environment = vec![("OPENSSL_CONF", authority().careless_file())];
    options.extra.push("ssl_ciphers=ALL:@SECLEVEL=0".into());
    let server = Server::start(variant.kind, options);
    let home = TempDir::new("local");
    fs::write(home.path().join("file"), "content").unwrap();
    let (local, remote) = (home.path().to_str().unwrap(), ftps(&server));
    for trust in [trust(), format!("--pin={}", weak.pin())] {
        let output = coracle(&["upload", local, &remote, &trust]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert!(
            said.contains("its key is too weak (RSA with 1024 bits)"),
            "{said}"
        );
    }
    assert!(!server.log().contains("USER"), "{}", server.log());
    assert_eq!(tree(server.root()).len(), 0);
}

#[test]
fn insecure_accepts_anybody_and_says_so_each_time() {
    let shown = authority().self_signed("anybody");
    let scene = Scene::showing(&shown, Conduct::default());
    for _ in 0..2 {
        let output = scene.run("upload", &["--insecure"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(
            said.contains("coracle: warning: --insecure: any server is accepted"),
            "{said}"
        );
    }
}

#[test]
fn nothing_is_said_where_tls_is_not_given() {
    for auth in [
        "500 what?\r\n",
        "502 no\r\n",
        "534 no\r\n",
        "431 not now\r\n",
        "334 go on\r\n",
        "230 you are in\r\n",
        "200 fine\r\n",
        // Put there by somebody between, to be taken for what comes through TLS.
        "234 go on\r\n230 you are in\r\n",
        "234 go on\r\n331 password, please\r\n230 you are in\r\n",
        "234 go on\r\n2",
    ] {
        let scene = Scene::new(Conduct {
            auth,
            ..Conduct::default()
        });
        let output = scene.run("sync", &[&trust()]);
        assert_eq!(scene.front.clear(), "AUTH TLS\r\n", "{auth}");
        assert_eq!(scene.front.commands(), [] as [&str; 0], "{auth}");
        scene.assert_refused(&output);
    }
}

#[test]
fn a_server_that_greets_with_a_login_gets_nothing() {
    for greeting in [
        "230 you are in\r\n",
        "220 ready\r\n230 you are in\r\n",
        "421 full\r\n",
    ] {
        let scene = Scene::new(Conduct {
            greeting: Some(greeting),
            ..Conduct::default()
        });
        let output = scene.run("sync", &[&trust(), "--retries=0"]);
        assert_ne!(output.status.code(), Some(0), "{greeting}");
        assert!(!scene.front.clear().contains("USER"), "{greeting}");
        assert_eq!(scene.front.commands(), [] as [&str; 0], "{greeting}");
        assert_eq!(tree(&scene.remote), scene.before, "{greeting}");
    }
}

#[test]
fn no_file_goes_where_data_is_not_protected() {
    for prot in [
        "536 no\r\n",
        "534 no\r\n",
        "431 no\r\n",
        "500 what?\r\n",
        "300 well\r\n",
    ] {
        let scene = Scene::new(Conduct {
            prot,
            ..Conduct::default()
        });
        let output = scene.run("sync", &[&trust()]);
        scene.assert_refused(&output);
        let transfers = ["EPSV", "PASV", "MLSD", "LIST", "STOR", "RETR"];
        let commands = scene.front.commands();
        assert!(
            !commands
                .iter()
                .any(|line| transfers.iter().any(|verb| line.starts_with(verb)))
        );
    }
}

/// A server that demands what it does not give is found out by a listing, before anything is written.
#[test]
fn a_session_that_is_not_resumed_stops_the_run_before_any_upload() {
    let scene = Scene::new(Conduct {
        resumes: false,
        demands: true,
        ..Conduct::default()
    });
    for options in [&[][..], &["--no-remote-scan"]] {
        let output = scene.run("upload", &[&[trust().as_str()], options].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("a data connection that does not resume the TLS session"),
            "{said}"
        );
        scene.assert_refused(&output);
        let commands = scene.front.commands();
        assert!(
            !commands.iter().any(|line| line.starts_with("STOR")),
            "{commands:?}"
        );
    }
}

#[test]
fn a_server_without_sessions_that_asks_for_none_is_served() {
    let scene = Scene::new(Conduct {
        resumes: false,
        ..Conduct::default()
    });
    let output = scene.run("sync", &[&trust()]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert_eq!(tree(&scene.local), tree(&scene.remote));
}

/// Somebody cuts a data connection after any of its records; the server notices nothing and says that all is well.
#[test]
fn what_is_cut_off_is_never_taken_for_whole() {
    for (command, verb) in [("download", "RETR"), ("upload", "STOR"), ("sync", "MLSD")] {
        let mut whole = false;
        for records in 0..12 {
            let scene = Scene::new(Conduct {
                cut: Some((verb, records)),
                ..Conduct::default()
            });
            let output = scene.run(command, &[&trust(), "--retries=0"]);
            let (local, remote) = (tree(&scene.local), tree(&scene.remote));
            let context = format!("{verb} cut after {records}: {}", shown(&output));
            // Every file on either side is one that was there whole.
            for (name, content) in local.iter().chain(&remote) {
                assert!(scene.had(name, content), "{name}: {context}");
            }
            for (name, content) in &scene.before {
                assert!(
                    remote.get(name) == Some(content) || command != "download",
                    "{context}"
                );
            }
            if output.status.code() == Some(0) {
                whole = true;
                let arrived = match command {
                    "download" => scene.is_at(&scene.local, "theirs"),
                    "upload" => scene.is_at(&scene.remote, "ours"),
                    _ => local == remote && local.len() == 2,
                };
                assert!(arrived, "{context}");
            }
            assert_eq!(scene.front.clear_data_connections(), 0);
        }
        assert!(
            whole,
            "{verb}: the cut after the last record spoils nothing"
        );
    }
}

/// A server that forgets close_notify: a file counts, because its size is known; a listing does not.
#[test]
fn a_missing_end_mark_is_forgiven_where_the_size_proves_the_end() {
    let scene = Scene::new(Conduct {
        mute: &["RETR"],
        ..Conduct::default()
    });
    let output = scene.run("download", &[&trust()]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    assert!(scene.is_at(&scene.local, "theirs"));

    let scene = Scene::new(Conduct {
        mute: &["MLSD", "LIST"],
        ..Conduct::default()
    });
    // Nor does it tell on the control connection what is there.
    let unknown = Effect::reply(502, "Command not implemented.");
    scene
        .server
        .inject(Fault::on("STAT").always().then(unknown));
    let output = scene.run("upload", &["--delete", &trust()]);
    assert_ne!(output.status.code(), Some(0), "{}", shown(&output));
    assert!(
        tree(&scene.remote).contains_key("theirs"),
        "nothing is deleted"
    );
}

/// A server inside this process behind a TLS front, and a directory here; each has a file that the other has not.
struct Scene {
    front: Front,
    server: FtpServer,
    _home: TempDir,
    local: PathBuf,
    remote: PathBuf,
    /// What the server had at first.
    before: BTreeMap<String, Vec<u8>>,
}

impl Scene {
    fn new(conduct: Conduct) -> Self {
        Self::showing(authority().good(), conduct)
    }

    fn showing(shown: &Shown, conduct: Conduct) -> Self {
        let home = TempDir::new("scene");
        let (local, remote) = (home.path().join("local"), home.path().join("remote"));
        fs::create_dir(&local).unwrap();
        fs::create_dir(&remote).unwrap();
        fs::write(local.join("ours"), vec![b'o'; 4 * RECORD_BYTES + 1]).unwrap();
        fs::write(remote.join("theirs"), vec![b't'; 4 * RECORD_BYTES + 1]).unwrap();
        let server = FtpServer::start(Config {
            user: Some("coracle".into()),
            password: Some("seaworthy".into()),
            early_150: true,
            ..Config::serving(&remote)
        });
        Self {
            front: Front::start(server.addr(), shown, conduct),
            before: tree(&remote),
            server,
            _home: home,
            local,
            remote,
        }
    }

    fn run(&self, command: &str, options: &[&str]) -> Output {
        let url = self.front.url("");
        let roots = [command, self.local.to_str().unwrap(), &url];
        coracle(&[&roots, options].concat())
    }

    /// Whether this file is there, and whole.
    fn is_at(&self, root: &Path, name: &str) -> bool {
        let content = tree(root).remove(name);
        content.is_some_and(|content| self.had(name, &content))
    }

    /// Whether one of the sides had this file at first.
    fn had(&self, name: &str, content: &[u8]) -> bool {
        let byte = if name == "ours" { b'o' } else { b't' };
        matches!(name, "ours" | "theirs") && content == vec![byte; 4 * RECORD_BYTES + 1]
    }

    /// Exit 7, nothing changed, no secret in the clear.
    fn assert_refused(&self, output: &Output) {
        assert_eq!(output.status.code(), Some(7), "{}", shown(output));
        assert_eq!(tree(&self.remote), self.before);
        assert_eq!(tree(&self.local).len(), 1);
        let clear = self.front.clear();
        assert!(
            !clear.contains("USER") && !clear.contains("seaworthy"),
            "{clear}"
        );
        assert_eq!(self.front.clear_data_connections(), 0);
    }
}

fn trust() -> String {
    format!("--ca-file={}", authority().file().display())
}

/// The server's URL with TLS.
fn ftps(server: &Server) -> String {
    server.url("").replacen("ftp://", "ftps://", 1)
}

fn coracle(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args(args)
        .args(["--no-netrc", "--no-prompt", "--timeout=20"])
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap()
}

fn shown(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// All files below, without what the program itself keeps there.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                if name != ".coracle" {
                    waiting.push(path);
                }
            } else if !name.starts_with(".pyftpsync") && !name.starts_with(".coracle") {
                let below = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(below, fs::read(&path).unwrap());
            }
        }
    }
    found
}
