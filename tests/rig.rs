//! Shows that the test rig itself works: each real server starts, does what tests expect of it, and stops.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use support::servers::{self, Kind, Options, Server};
use support::temp::TempDir;

/// 2024-02-29 12:34:56 UTC.
const LEAP_DAY_SECS: u64 = 1_709_210_096;

/// No reply of a server on this machine takes longer unless it hangs.
const REPLY_SECS: u64 = 30;

#[test]
fn every_server_takes_a_file_renames_it_over_another_and_sets_its_time() {
    for kind in Kind::startable() {
        let server = Server::start(kind, Options::default());
        let mut client = Client::login(&server);
        let path = |name| server.remote_path(name);
        assert_eq!(
            client.command(&format!("MKD {}", path("dir"))),
            257,
            "{kind:?}"
        );
        client.store(&path("dir/old"), b"old");
        client.store(&path("dir/new"), b"new bytes");
        assert_eq!(
            client.command(&format!("RNFR {}", path("dir/new"))),
            350,
            "{kind:?}"
        );
        assert_eq!(
            client.command(&format!("RNTO {}", path("dir/old"))),
            250,
            "{kind:?}"
        );
        let (verb, code) = if kind == Kind::Vsftpd {
            ("MDTM", 213)
        } else {
            ("MFMT", 213)
        };
        let set_time = format!("{verb} 20240229123456 {}", path("dir/old"));
        assert_eq!(client.command(&set_time), code, "{kind:?}");
        assert_eq!(
            client.command(&format!("SIZE {}", path("dir/old"))),
            213,
            "{kind:?}"
        );

        let file = server.root().join("dir/old");
        assert_eq!(fs::read(&file).unwrap(), b"new bytes", "{kind:?}");
        assert!(!server.root().join("dir/new").exists(), "{kind:?}");
        assert_eq!(mtime_secs(&file), LEAP_DAY_SECS, "{kind:?}");

        let user = format!("USER {}", server.user());
        let stored = format!("STOR {}", path("dir/new"));
        let commands = server.commands();
        assert_eq!(commands[0], user, "{kind:?}");
        assert!(commands.contains(&stored), "{kind:?}: {commands:?}");
        assert_eq!(commands[commands.len() - 2], set_time, "{kind:?}");
    }
}

#[test]
fn every_server_resumes_deletes_and_removes() {
    for kind in Kind::startable() {
        let server = Server::start(kind, Options::default());
        let mut client = Client::login(&server);
        let path = |name| server.remote_path(name);
        client.store(&path("file"), b"0123");
        assert_eq!(client.command("REST 4"), 350, "{kind:?}");
        client.store(&path("file"), b"4567");
        assert_eq!(
            fs::read(server.root().join("file")).unwrap(),
            b"01234567",
            "{kind:?}"
        );
        assert_eq!(
            client.command(&format!("DELE {}", path("file"))),
            250,
            "{kind:?}"
        );
        assert_eq!(
            client.command(&format!("MKD {}", path("dir"))),
            257,
            "{kind:?}"
        );
        assert_eq!(
            client.command(&format!("RMD {}", path("dir"))),
            250,
            "{kind:?}"
        );
        assert_eq!(fs::read_dir(server.root()).unwrap().count(), 0, "{kind:?}");
    }
}

#[test]
fn every_server_refuses_a_wrong_password() {
    // All at once, because each takes its time over it.
    thread::scope(|scope| {
        for kind in Kind::startable() {
            scope.spawn(move || {
                let server = Server::start(kind, Options::default());
                let mut client = Client::connect(server.address());
                assert_eq!(
                    client.command(&format!("USER {}", server.user())),
                    331,
                    "{kind:?}"
                );
                assert_eq!(client.command("PASS wrong"), 530, "{kind:?}");
            });
        }
    });
}

#[test]
fn every_server_listens_on_ipv6() {
    for kind in Kind::startable() {
        let server = Server::start(
            kind,
            Options {
                ipv6: true,
                ..Options::default()
            },
        );
        assert!(
            server.url("dir").contains("@[::1]:"),
            "{}",
            server.url("dir")
        );
        let mut client = Client::login(&server);
        client.store(&server.remote_path("file"), b"over six");
        assert_eq!(
            fs::read(server.root().join("file")).unwrap(),
            b"over six",
            "{kind:?}"
        );
    }
}

#[test]
fn every_server_connects_to_a_client_in_active_mode() {
    for kind in Kind::startable() {
        let server = Server::start(kind, Options::default());
        let mut client = Client::login(&server);
        let listener = TcpListener::bind((server.address().ip(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(
            client.command(&format!("PORT 127,0,0,1,{},{}", port >> 8, port & 255)),
            200
        );
        let opening = client.command(&format!("STOR {}", server.remote_path("file")));
        assert!(matches!(opening, 125 | 150), "{kind:?}: {opening}");
        let (mut data, _) = listener.accept().unwrap();
        data.write_all(b"called back").unwrap();
        drop(data);
        assert_eq!(client.reply(), 226, "{kind:?}");
        assert_eq!(
            fs::read(server.root().join("file")).unwrap(),
            b"called back",
            "{kind:?}"
        );
    }
}

#[test]
fn every_server_can_be_read_only() {
    for kind in Kind::startable() {
        let server = Server::start(
            kind,
            Options {
                read_only: true,
                ..Options::default()
            },
        );
        let mut client = Client::login(&server);
        assert_eq!(
            client.command(&format!("MKD {}", server.remote_path("dir"))),
            550,
            "{kind:?}"
        );
        assert_eq!(fs::read_dir(server.root()).unwrap().count(), 0, "{kind:?}");
    }
}

#[test]
fn every_server_obeys_permissions_on_disk() {
    for kind in Kind::startable() {
        let root = TempDir::new("served");
        let locked = root.path().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
        let options = Options {
            root: Some(root.path().into()),
            ..Options::default()
        };
        let server = Server::start(kind, options);
        let mut client = Client::login(&server);
        let refused = client.command(&format!("MKD {}", server.remote_path("locked/dir")));
        assert_eq!(refused, 550, "{kind:?}");
    }
}

#[test]
fn every_server_limits_the_sessions_of_an_address() {
    for kind in Kind::startable() {
        let server = Server::start(
            kind,
            Options {
                sessions_per_ip: Some(2),
                ..Options::default()
            },
        );
        let _first = Client::login(&server);
        let _second = Client::login(&server);
        let refusal = Client::try_login(&server)
            .err()
            .expect("a third session is one too many");
        assert!(
            refusal.starts_with("421") || refusal.starts_with("530"),
            "{kind:?}: {refusal}"
        );
        assert_eq!(server.sessions().len(), 3, "{kind:?}");
    }
}

#[test]
fn every_server_ends_an_idle_session() {
    // Pure-FTPd counts in minutes, which is too long to wait for.
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::Pyftpdlib] {
        let server = Server::start(
            kind,
            Options {
                idle_secs: Some(3),
                ..Options::default()
            },
        );
        let mut client = Client::login(&server);
        assert_eq!(client.reply(), 421, "{kind:?}");
        assert_eq!(client.control.read(&mut [0]).unwrap(), 0, "{kind:?}");
    }
}

#[test]
fn a_server_told_so_does_not_set_times() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::Pyftpdlib] {
        let server = Server::start(
            kind,
            Options {
                sets_times: false,
                ..Options::default()
            },
        );
        let mut client = Client::login(&server);
        client.store(&server.remote_path("file"), b"");
        let path = server.remote_path("file");
        for verb in ["MFMT", "MDTM"] {
            let code = client.command(&format!("{verb} 20240229123456 {path}"));
            assert!(code >= 500, "{kind:?}: {verb}: {code}");
        }
        assert_ne!(
            mtime_secs(&server.root().join("file")),
            LEAP_DAY_SECS,
            "{kind:?}"
        );
    }
}

#[test]
fn a_killed_server_ends_its_sessions_and_refuses_new_ones() {
    for kind in Kind::startable() {
        let mut server = Server::start(kind, Options::default());
        let mut client = Client::login(&server);
        server.kill();
        assert_eq!(client.control.read(&mut [0]).unwrap(), 0, "{kind:?}");
        let mut refused = TcpStream::connect(server.address()).unwrap();
        assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0, "{kind:?}");
    }
}

#[test]
fn every_server_takes_the_umask() {
    for kind in Kind::startable() {
        let server = Server::start(
            kind,
            Options {
                umask: 0o027,
                ..Options::default()
            },
        );
        let mut client = Client::login(&server);
        client.store(&server.remote_path("file"), b"");
        client.command(&format!("MKD {}", server.remote_path("dir")));
        let mode = |name| {
            fs::metadata(server.root().join(name))
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode("file") & 0o777, 0o640, "{kind:?}");
        assert_eq!(mode("dir") & 0o777, 0o750, "{kind:?}");
    }
}

#[test]
fn a_server_lives_in_the_time_zone_it_is_given() {
    let options = Options {
        time_zone: Some("EST5"),
        extra: vec!["use_localtime=YES".into()],
        ..Options::default()
    };
    let server = Server::start(Kind::Vsftpd, options);
    let mut client = Client::login(&server);
    client.store(&server.remote_path("file"), b"");
    let minutes = mtime_secs(&server.root().join("file")) / 60 - 5 * 60;
    let clock = format!(" {:02}:{:02} file\r\n", minutes / 60 % 24, minutes % 60);
    assert_eq!(
        client.command(&format!("CWD {}", server.remote_path(""))),
        250
    );
    let mut listing = String::new();
    client
        .open_data("LIST")
        .read_to_string(&mut listing)
        .unwrap();
    assert_eq!(client.reply(), 226);
    assert!(
        listing.ends_with(&clock),
        "{listing} does not end with {clock}"
    );
}

#[test]
fn pyftpsync_uploads_to_every_server_with_mlsd() {
    for kind in Kind::startable()
        .into_iter()
        .filter(|kind| *kind != Kind::Vsftpd)
    {
        let server = Server::start(kind, Options::default());
        let local = TempDir::new("local");
        fs::create_dir(local.path().join("sub")).unwrap();
        fs::write(local.path().join("sub/file"), "bytes").unwrap();
        let output = servers::pyftpsync()
            .arg("upload")
            .arg(local.path())
            .arg(server.url(""))
            .args([
                "--resolve",
                "local",
                "--no-prompt",
                "--no-keyring",
                "--no-netrc",
            ])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{kind:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert_eq!(
            fs::read(server.root().join("sub/file")).unwrap(),
            b"bytes",
            "{kind:?}"
        );
    }
}

fn mtime_secs(file: &Path) -> u64 {
    let modified = fs::metadata(file).unwrap().modified().unwrap();
    modified.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// As much of an FTP client as these tests need.
struct Client {
    control: BufReader<TcpStream>,
}

impl Client {
    fn login(server: &Server) -> Self {
        Self::try_login(server)
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", server.kind().name()))
    }

    /// The refusal is the first reply that is not the usual one.
    fn try_login(server: &Server) -> Result<Self, String> {
        let mut client = Self {
            control: BufReader::new(connect(server.address())),
        };
        client.expect("220")?;
        for (command, code) in [
            (format!("USER {}", server.user()), "331"),
            (format!("PASS {}", server.password()), "230"),
            ("TYPE I".into(), "200"),
        ] {
            client.send(&command);
            client.expect(code)?;
        }
        Ok(client)
    }

    fn expect(&mut self, code: &str) -> Result<(), String> {
        let line = self.reply_line();
        if line.starts_with(code) {
            Ok(())
        } else {
            Err(line)
        }
    }

    fn connect(address: SocketAddr) -> Self {
        let mut client = Self {
            control: BufReader::new(connect(address)),
        };
        assert_eq!(client.reply(), 220);
        client
    }

    /// Sends a command and returns the code of its reply.
    fn command(&mut self, line: &str) -> u16 {
        self.send(line);
        self.reply()
    }

    fn store(&mut self, path: &str, content: &[u8]) {
        let mut data = self.open_data(&format!("STOR {path}"));
        data.write_all(content).unwrap();
        drop(data);
        assert_eq!(self.reply(), 226);
    }

    /// Connects for data and sends the command that moves some.
    fn open_data(&mut self, command: &str) -> TcpStream {
        self.send("EPSV");
        let opened = self.reply_line();
        let port = opened
            .split('|')
            .nth(3)
            .unwrap_or_else(|| panic!("EPSV: {opened}"));
        let ip = self.control.get_ref().peer_addr().unwrap().ip();
        let data = connect(SocketAddr::new(ip, port.parse().unwrap()));
        let opening = self.command(command);
        assert!(matches!(opening, 125 | 150), "{command}: {opening}");
        data
    }

    fn send(&mut self, line: &str) {
        self.control
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
    }

    fn reply(&mut self) -> u16 {
        let line = self.reply_line();
        line[..3]
            .parse()
            .unwrap_or_else(|_| panic!("not a reply: {line}"))
    }

    /// The last line of the next reply.
    fn reply_line(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.control.read_line(&mut line).unwrap();
            assert!(
                line.len() >= 4,
                "the connection ended in place of a reply: {line:?}"
            );
            if line.as_bytes()[3] == b' ' && line.as_bytes()[0].is_ascii_digit() {
                return line;
            }
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(REPLY_SECS)))
        .unwrap();
    stream
}
