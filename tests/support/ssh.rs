//! Real SSH servers on loopback, and the clients that reach them; all of it unpacked below target/ by `tests/run`.
//!
//! The servers run as an ordinary user, and know one: `sailor`, with a home of its own, a key and a password. nss_wrapper
//! shows them that user instead of the machine's. Started by root, they run as [`SERVER_UID`].

use std::fs::{self, Permissions};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use coracle::job::{HostKeys, Secret, ServerPath, SftpLocation};
use coracle::path::RelPath;

use super::servers::{Process, free_address, give, ids, installed, is_root, target};
use super::temp::TempDir;

/// The only user.
pub const USER: &str = "sailor";
/// The user's password.
pub const PASSWORD: &str = "seaworthy";
/// [`PASSWORD`] with the fewest rounds that crypt(3) allows.
const PASSWORD_HASH: &str = "$5$rounds=1000$coracle$Z5GiwOUT4dJ3evXXk/Gw8BEGm1ymaSJiUcM5qLQRNu7";

/// A server that greets at all does so within a second; a loaded machine gets a generous multiple.
const GREETING_WAIT: Duration = Duration::from_secs(30);

/// Between choosing a free port and listening on it another process may take it.
const START_ATTEMPTS: u32 = 5;

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// OpenSSH's sshd with its own SFTP.
    OpenSsh,
    /// dropbear with OpenSSH's sftp-server.
    Dropbear,
    /// ProFTPD's mod_sftp: passwords only.
    Proftpd,
    /// asyncssh: passwords only.
    Asyncssh,
    /// `rclone serve sftp`: passwords only here; it renames over files unasked, hides links, and writes no file from its middle.
    Rclone,
}

/// Which program connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SshClient {
    /// OpenSSH's.
    Ssh,
    /// dropbear's.
    Dbclient,
}

/// A running server with an empty directory to serve.
pub struct SshServer {
    daemon: Daemon,
    address: SocketAddr,
    process: Process,
    home: TempDir,
}

impl SshServer {
    /// Starts a server and waits until it greets.
    pub fn start(daemon: Daemon) -> Self {
        Self::start_with(daemon, &[])
    }

    /// The same with more lines in its settings (OpenSSH), or more arguments.
    pub fn start_with(daemon: Daemon, extra: &[&str]) -> Self {
        let home = TempDir::new("ssh");
        prepare(home.path());
        let output = home.path().join("output");
        for _ in 0..START_ATTEMPTS {
            let address = free_address(false);
            let command = match daemon {
                Daemon::OpenSsh => sshd(home.path(), address, extra),
                Daemon::Dropbear => dropbear(home.path(), address, extra),
                Daemon::Proftpd => proftpd(home.path(), address, extra),
                Daemon::Asyncssh => asyncssh(home.path(), address),
                Daemon::Rclone => rclone(home.path(), address),
            };
            let mut process = Process::start(as_sailor(home.path(), &command), &output);
            if process.wait_until(address, greets) {
                return Self {
                    daemon,
                    address,
                    process,
                    home,
                };
            }
        }
        let said = fs::read_to_string(&output).unwrap_or_default();
        panic!("{daemon:?} does not start; it says:\n{said}");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory on disk that is served.
    pub fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    /// What lies around the server: keys, lists of known hosts.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Ends the server at once, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Gives all files to the server's user.
    pub fn own_files(&self) {
        self.own(&self.root());
    }

    /// Gives a directory of this machine, and all that is in it, to the server's user.
    pub fn own(&self, dir: &Path) {
        if is_root() {
            give(dir, ids().0);
        }
    }

    /// What the server said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("output")).unwrap_or_default()
    }

    /// The served directory as a URL has it, without a password.
    pub fn url(&self, path: &str) -> String {
        self.url_of(&self.root().join(path))
    }

    /// Any directory of this machine as a URL has it.
    pub fn url_of(&self, dir: &Path) -> String {
        format!("sftp://{USER}@{}{}", self.address, dir.display())
    }

    /// The command that reaches it: with the client's key, and with this server's host key known.
    pub fn command(&self, client: SshClient) -> String {
        let home = self.home.path();
        self.know_host();
        let command = client_command(client, home, self.takes_keys());
        match client {
            SshClient::Ssh => command,
            SshClient::Dbclient => {
                command.replacen("env ", &format!("env HOME={} ", home.display()), 1)
            }
        }
    }

    /// The served directory, reached by that client.
    pub fn location(&self, client: SshClient) -> SftpLocation {
        let root = self.root();
        let root = root.to_str().expect("target/ has a UTF-8 path");
        SftpLocation {
            host: self.address.ip().to_string(),
            port: Some(self.address.port()),
            user: Some(USER.to_owned()),
            password: Some(Secret::new(PASSWORD.to_owned())),
            path: ServerPath::Absolute(RelPath::parse(root.as_bytes()).expect("it is a path")),
            host_keys: HostKeys::Known,
            ssh_command: Some(self.command(client)),
        }
    }

    fn takes_keys(&self) -> bool {
        matches!(self.daemon, Daemon::OpenSsh | Daemon::Dropbear)
    }

    /// Notes the host key where both clients look for it.
    pub fn know_host(&self) {
        let home = self.home.path();
        let public = fs::read_to_string(home.join("host_key.pub")).expect("it was made");
        let key: Vec<&str> = public.split_whitespace().take(2).collect();
        let (ip, port) = (self.address.ip(), self.address.port());
        let key = key.join(" ");
        let known = format!("[{ip}]:{port} {key}\n{ip} {key}\n");
        fs::create_dir_all(home.join(".ssh")).expect("directories can be made");
        // In one step: another thread's client may be reading it.
        let beside = home.join(format!(
            ".ssh/known_hosts-{:?}",
            std::thread::current().id()
        ));
        fs::write(&beside, known).expect("files can be written");
        fs::rename(beside, home.join(".ssh/known_hosts")).expect("files can be renamed");
    }
}

/// A client with a key in `home`, if `with_key` says so. Known hosts are in `.ssh/known_hosts` there, with dbclient in that of
/// whoever runs it.
pub fn client_command(client: SshClient, home: &Path, with_key: bool) -> String {
    let (home, lib) = (home.display(), target().join("ssh/lib"));
    let lib = lib.display();
    match client {
        SshClient::Ssh => {
            let program = installed("ssh/debian/usr/bin/ssh", "ssh");
            let key = if with_key { "key" } else { "no_key" };
            let settings = format!(
                "IdentityFile {home}/{key}\nIdentitiesOnly yes\nUserKnownHostsFile {home}/.ssh/known_hosts\n\
                 GlobalKnownHostsFile /dev/null\nPubkeyAuthentication {}\n",
                if with_key { "yes" } else { "no" },
            );
            let name = format!("{home}/{key}.config");
            fs::write(&name, settings).expect("files can be written");
            format!("env LD_LIBRARY_PATH={lib} {} -F {name}", program.display())
        }
        SshClient::Dbclient => {
            let program = installed("ssh/debian/usr/bin/dbclient", "dbclient");
            let key = if with_key {
                format!(" -i {home}/dropbear_key")
            } else {
                String::new()
            };
            format!("env LD_LIBRARY_PATH={lib} {}{key}", program.display())
        }
    }
}

/// Makes the keys, the user and the directory to be served.
fn prepare(home: &Path) {
    fs::create_dir(home.join("root")).expect("directories can be made");
    for key in ["host_key", "key"] {
        make_key(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"],
            &home.join(key),
        );
    }
    let dropbear_key = home.join("dropbear_key");
    let said = make_key("dropbearkey", &["-t", "ed25519", "-f"], &dropbear_key);
    let public = said.lines().find(|line| line.starts_with("ssh-ed25519"));
    let key = fs::read_to_string(home.join("key.pub")).expect("it was made");
    fs::create_dir(home.join(".ssh")).expect("directories can be made");
    let keys = format!("{key}{}\n", public.expect("it shows the public key"));
    fs::write(home.join(".ssh/authorized_keys"), keys).expect("files can be written");
    let (uid, gid) = ids();
    let home_text = home.display();
    let passwd = format!("{USER}:{PASSWORD_HASH}:{uid}:{gid}::{home_text}:/bin/sh\n");
    fs::write(home.join("passwd"), passwd).expect("files can be written");
    fs::write(home.join("group"), format!("{USER}:x:{gid}:\n")).expect("files can be written");
    fs::set_permissions(home, Permissions::from_mode(0o755)).expect("it is ours");
    if is_root() {
        give(home, uid);
        // The client is not the server's user, and insists that nobody else can read its key.
        for own in ["key", "dropbear_key"] {
            std::os::unix::fs::chown(home.join(own), Some(0), Some(0)).expect("root may");
        }
    }
}

fn make_key(program: &str, arguments: &[&str], file: &Path) -> String {
    let made = Command::new(installed(&format!("ssh/debian/usr/bin/{program}"), program))
        .env("LD_LIBRARY_PATH", target().join("ssh/lib"))
        .args(arguments)
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("it can be started");
    assert!(made.status.success(), "{program}: {made:?}");
    String::from_utf8_lossy(&made.stdout).into_owned()
}

fn sshd(home: &Path, address: SocketAddr, extra: &[&str]) -> Command {
    let shown = home.display();
    let mut settings: Vec<String> = vec![
        format!("Port {}", address.port()),
        format!("ListenAddress {}", address.ip()),
        format!("HostKey {shown}/host_key"),
        "PidFile none".into(),
        "UsePAM no".into(),
        "StrictModes no".into(),
        "UseDNS no".into(),
        format!("AuthorizedKeysFile {shown}/.ssh/authorized_keys"),
        "MaxStartups 100".into(),
    ];
    settings.extend(extra.iter().map(|line| (*line).to_owned()));
    if !extra.iter().any(|line| line.contains("Subsystem")) {
        settings.push("Subsystem sftp internal-sftp".into());
    }
    let file = home.join("sshd_config");
    fs::write(&file, settings.join("\n") + "\n").expect("files can be written");
    let mut command = Command::new(installed("ssh/debian/usr/sbin/sshd", "sshd"));
    command.args(["-D", "-e", "-f"]).arg(file);
    command
}

fn dropbear(home: &Path, address: SocketAddr, extra: &[&str]) -> Command {
    let host_key = home.join("dropbear_host_key");
    if !host_key.exists() {
        let said = make_key("dropbearkey", &["-t", "ed25519", "-f"], &host_key);
        let public = said.lines().find(|line| line.starts_with("ssh-ed25519"));
        let public = public.expect("it shows the public key");
        fs::write(home.join("host_key.pub"), public).expect("files can be written");
        if is_root() {
            give(&host_key, ids().0);
        }
    }
    let mut command = Command::new(installed("ssh/debian/usr/sbin/dropbear", "dropbear"));
    command.args(["-F", "-E", "-r"]).arg(host_key);
    command
        .args(["-p", &address.to_string(), "-P"])
        .arg(home.join("pid"));
    let sftp_server = installed("ssh/debian/usr/lib/openssh/sftp-server", "sftp-server");
    command.arg("-c").arg(sftp_server).args(extra);
    command
}

fn proftpd(home: &Path, address: SocketAddr, extra: &[&str]) -> Command {
    let shown = home.display();
    let users = home.join("passwd");
    fs::set_permissions(&users, Permissions::from_mode(0o600)).expect("it is ours");
    let modules = installed("servers/debian/usr/lib/proftpd", "proftpd");
    let mut settings: Vec<String> = vec![
        "ServerType standalone".into(),
        format!("ModulePath {}", modules.display()),
        "LoadModule mod_sftp.c".into(),
        format!("DefaultAddress {}", address.ip()),
        format!("Port {}", address.port()),
        "UseIPv6 off".into(),
        "AuthOrder mod_auth_file.c".into(),
        format!("AuthUserFile {}", users.display()),
        "RequireValidShell off".into(),
        "UseFtpUsers off".into(),
        format!("User {USER}"),
        format!("Group {USER}"),
        format!("SystemLog {shown}/log"),
        format!("ScoreboardFile {shown}/scoreboard"),
        format!("PidFile {shown}/pid"),
        "TransferLog none".into(),
        "WtmpLog off".into(),
        "UseReverseDNS off".into(),
        "DelayEngine off".into(),
        "AllowOverwrite on".into(),
        "AllowStoreRestart on".into(),
        "MaxInstances 100".into(),
        "SFTPEngine on".into(),
        format!("SFTPLog {shown}/sftp.log"),
        format!("SFTPHostKey {shown}/host_key"),
    ];
    settings.extend(extra.iter().map(|line| (*line).to_owned()));
    let file = home.join("proftpd.conf");
    fs::write(&file, settings.join("\n") + "\n").expect("files can be written");
    let mut command = Command::new(installed("servers/debian/usr/sbin/proftpd", "proftpd"));
    command
        .args(["--nodaemon", "--quiet", "--config"])
        .arg(file);
    command
}

/// Serves the whole machine, so that paths are as with the others. It remembers directories for five minutes.
fn rclone(home: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(installed("strangers/venv/bin/rclone", "rclone"));
    command.args(["serve", "sftp", "/", "--config", ""]);
    command.args(["--addr", &address.to_string()]);
    command.args(["--user", USER, "--pass", PASSWORD, "--key"]);
    command.arg(home.join("host_key"));
    command
}

fn asyncssh(home: &Path, address: SocketAddr) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/asyncssh_server.py");
    let mut command = Command::new(installed("venv/bin/python", "python"));
    command.arg(script).arg(home.join("host_key"));
    command.args([
        &address.ip().to_string(),
        &address.port().to_string(),
        USER,
        PASSWORD,
        &ids().0.to_string(),
    ]);
    command
}

/// The command with the one user that there is, run as that user.
fn as_sailor(home: &Path, command: &Command) -> Command {
    let (uid, gid) = ids();
    let wrapper = installed("ssh/lib/libnss_wrapper.so", "libnss-wrapper");
    // The other user may not be allowed to run this machine's Python, which changes to that user itself.
    let is_python = command.get_program() == target().join("venv/bin/python");
    let mut whole = if is_root() && !is_python {
        let mut whole = Command::new("setpriv");
        whole.args([
            format!("--reuid={uid}"),
            format!("--regid={gid}"),
            "--clear-groups".to_owned(),
            "env".to_owned(),
        ]);
        whole
    } else {
        Command::new("env")
    };
    whole
        .arg(format!("LD_PRELOAD={}", wrapper.display()))
        .arg(format!(
            "NSS_WRAPPER_PASSWD={}",
            home.join("passwd").display()
        ))
        .arg(format!(
            "NSS_WRAPPER_GROUP={}",
            home.join("group").display()
        ))
        .arg(format!(
            "LD_LIBRARY_PATH={}:{}",
            target().join("ssh/lib").display(),
            target().join("servers/lib").display()
        ))
        .arg(format!(
            "PYTHONPATH={}",
            target().join("ssh-python/packages").display()
        ))
        .arg(format!("HOME={}", home.display()))
        .arg(command.get_program())
        .args(command.get_args());
    whole
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(GREETING_WAIT)).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && greeting == *b"SSH-"
}
