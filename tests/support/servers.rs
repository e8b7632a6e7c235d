//! Real FTP servers as child processes on free loopback ports, each with a directory of its own; dropping a [`Server`] stops it.
//!
//! Every control connection goes through a relay in this process that notes each command and changes nothing. Data connections
//! go straight to the server, which listens for them on the same address.
//!
//! Started by root, a server serves files as [`SERVER_UID`] and shows its directory as `/` (vsftpd: one level down). Started by
//! anyone else, it serves as that user and shows the real path (but for pyftpdlib). [`Server::url`] and [`Server::remote_path`] hide the difference.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, Pid, User, getegid, geteuid};

use super::temp::TempDir;

/// The user and group that servers become when root starts them, so that permissions mean something: Debian's `daemon`. It is not
/// `nobody`, because vsftpd wants a user whose home directory exists.
pub const SERVER_UID: u32 = 1;

const PASSWORD: &str = "seaworthy";

/// [`PASSWORD`] with the fewest rounds that crypt(3) allows: Pure-FTPd's own choice of hash takes seconds a login.
const PASSWORD_HASH: &str = "$5$rounds=1000$coracle$Z5GiwOUT4dJ3evXXk/Gw8BEGm1ymaSJiUcM5qLQRNu7";

/// A server that greets at all does so within a second; a loaded machine gets a generous multiple.
const START_SECS: u64 = 30;

/// Between choosing a free port and listening on it another process may take it; that this happens so often in a row means
/// that something else is wrong.
const START_ATTEMPTS: u32 = 5;

/// Between two looks at a server that does not listen yet.
const POLL_MILLIS: u64 = 5;

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No MLSD, no MFMT; sets times by `MDTM time name`. Its only user is anonymous, who may write.
    Vsftpd,
    /// MLSD with `cdir`, MFMT and much more.
    Proftpd,
    /// MLSD, MFMT; keeps at most 10,000 names of a listing. Runs as root only.
    PureFtpd,
    /// MLSD without `cdir`, MFMT of files only.
    Pyftpdlib,
    /// Twisted's, in Python: after `PASV` it runs no command until somebody connects; names that are no ASCII are mangled.
    Twisted,
    /// aioftp, in Python.
    Aioftp,
    /// `rclone serve ftp`, in Go. It remembers directories for five minutes.
    Rclone,
    /// `ftp-srv`, for Node. Tells no size of an empty file.
    FtpSrv,
    /// The ftpd of GNU inetutils, started once for each connection. No MLSD, no way to set times, `LIST` in local time.
    Inetutils,
    /// The ftpd of BusyBox, started once for each connection. No MLSD, no way to set times, `LIST` in local time.
    Busybox,
}

impl Kind {
    /// Those that coracle does not know by their greetings.
    pub const STRANGERS: [Self; 4] = [Self::Twisted, Self::Aioftp, Self::Rclone, Self::FtpSrv];

    /// All that it knows.
    pub const ALL: [Self; 4] = [Self::Vsftpd, Self::Proftpd, Self::PureFtpd, Self::Pyftpdlib];

    /// Those that this user can start: all of them as root, else all but Pure-FTPd (`tests/run` says so).
    pub fn startable() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|kind| is_root() || *kind != Self::PureFtpd)
            .collect()
    }

    /// The program's name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vsftpd => "vsftpd",
            Self::Proftpd => "proftpd",
            Self::PureFtpd => "pure-ftpd",
            Self::Pyftpdlib => "pyftpdlib",
            Self::Twisted => "twisted",
            Self::Aioftp => "aioftp",
            Self::Rclone => "rclone",
            Self::FtpSrv => "ftp-srv",
            Self::Inetutils => "inetutils-ftpd",
            Self::Busybox => "busybox",
        }
    }
}

/// How a server is set up; the default is a server that allows everything over IPv4.
#[derive(Clone, Debug)]
pub struct Options {
    /// Serves this directory, made by the test, instead of a new one. Root gives it to [`SERVER_UID`] with all it holds.
    pub root: Option<PathBuf>,
    /// Listens on `[::1]` instead of `127.0.0.1`.
    pub ipv6: bool,
    /// Whether a client may set modification times. Pure-FTPd cannot refuse it.
    pub sets_times: bool,
    /// Refuses every command that changes something. Pure-FTPd has no such switch: its directory (not those in it) is made
    /// one that its user may not write, so this needs root there.
    pub read_only: bool,
    /// Sessions that one address may have at once.
    pub sessions_per_ip: Option<u32>,
    /// Ends a session without commands after so many seconds; Pure-FTPd counts in minutes.
    pub idle_secs: Option<u32>,
    /// The relay puts this in the place of the server's greeting.
    pub greeting: Option<&'static str>,
    /// Permission bits taken from new files and directories.
    pub umask: u32,
    /// `TZ` of the server process.
    pub time_zone: Option<&'static str>,
    /// More variables of the server process.
    pub environment: Vec<(&'static str, String)>,
    /// More lines for the configuration of vsftpd and ProFTPD, more arguments for Pure-FTPd and `pyftpdlib_server.py`.
    pub extra: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: None,
            ipv6: false,
            sets_times: true,
            read_only: false,
            sessions_per_ip: None,
            idle_secs: None,
            greeting: None,
            umask: 0o022,
            time_zone: None,
            environment: Vec::new(),
            extra: Vec::new(),
        }
    }
}

/// A running server.
pub struct Server {
    kind: Kind,
    root: PathBuf,
    // Stopped in this order: first the server, so that its sessions end, then the relay, then the files go.
    process: Process,
    relay: Relay,
    home: TempDir,
    options: Options,
    /// Where the server itself listens.
    behind: SocketAddr,
}

impl Server {
    /// Starts a server and waits until it greets.
    pub fn start(kind: Kind, options: Options) -> Self {
        let home = TempDir::new(kind.name());
        let root = options
            .root
            .clone()
            .unwrap_or_else(|| home.path().join("root"));
        fs::create_dir_all(&root).expect("the directory to serve can be made");
        if is_root() {
            give(&root, SERVER_UID);
            if kind == Kind::PureFtpd && options.read_only {
                lchown(&root, Some(0), Some(0)).expect("root may give files away");
            }
        }
        let plan = Plan {
            kind,
            home: home.path(),
            root: &root,
            options: &options,
        };
        for _ in 0..START_ATTEMPTS {
            let address = free_address(options.ipv6);
            let mut process = Process::start(plan.command(address), &plan.output());
            if process.wait_for_greeting(address, plan.is_silent()) {
                let relay = Relay::start(address, options.greeting);
                return Self {
                    kind,
                    root,
                    process,
                    relay,
                    home,
                    options,
                    behind: address,
                };
            }
        }
        panic!(
            "{} does not start; it says:\n{}",
            kind.name(),
            fs::read_to_string(plan.output()).unwrap_or_default()
        );
    }

    /// Which program it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The directory on disk that is served.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.relay.address
    }

    /// The only user.
    pub fn user(&self) -> &'static str {
        match self.kind {
            Kind::Vsftpd => "ftp",
            Kind::Proftpd
            | Kind::PureFtpd
            | Kind::Pyftpdlib
            | Kind::Twisted
            | Kind::Aioftp
            | Kind::Rclone
            | Kind::FtpSrv
            | Kind::Inetutils
            | Kind::Busybox => "coracle",
        }
    }

    /// The user's password; every other one is refused.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// `ftp://user:password@host:port/path`, with `path` below the served directory and written as a URL has it.
    pub fn url(&self, path: &str) -> String {
        let (user, address) = (self.user(), self.address());
        let root = percent_encoded(&self.remote_path(""));
        format!(
            "ftp://{user}:{PASSWORD}@{address}{root}{}",
            path.trim_start_matches('/')
        )
    }

    /// The absolute path by which a client names `path`, which is below the served directory.
    pub fn remote_path(&self, path: &str) -> String {
        let outside = match self.kind {
            // It has `/` at the directory of its user, chroot or not.
            Kind::Pyftpdlib | Kind::Twisted | Kind::Aioftp | Kind::Rclone | Kind::FtpSrv => {
                &self.root
            }
            Kind::Vsftpd if is_root() => jail(&self.root),
            Kind::Proftpd | Kind::PureFtpd if is_root() => &self.root,
            // They change their root only for users that files of the machine name.
            Kind::Inetutils | Kind::Busybox => Path::new("/"),
            Kind::Vsftpd | Kind::Proftpd | Kind::PureFtpd => Path::new("/"),
        };
        let root = self
            .root
            .strip_prefix(outside)
            .expect("the root is below the jail");
        let root = Path::new("/").join(root);
        let root = root
            .to_str()
            .expect("target/ has a UTF-8 path")
            .trim_end_matches('/');
        format!("{root}/{}", path.trim_start_matches('/'))
    }

    /// All commands received so far, those of later connections after those of earlier ones, without line ends.
    pub fn commands(&self) -> Vec<String> {
        self.sessions().concat()
    }

    /// The commands of each connection, in the order of connecting; one that sent none is an empty list.
    pub fn sessions(&self) -> Vec<Vec<String>> {
        self.relay
            .sessions
            .lock()
            .expect("no relay thread panics")
            .clone()
    }

    /// How often a client spoke after the server had: the round trips of all control connections so far, connecting not
    /// counted.
    pub fn turns(&self) -> usize {
        self.relay.turns.load(Ordering::SeqCst)
    }

    /// Gives all files to the server's user. A test that runs as root calls this after it made or changed files in
    /// [`Server::root`] that the server is to change.
    pub fn own_files(&self) {
        if is_root() {
            give(&self.root, SERVER_UID);
        }
    }

    /// What the server itself wrote to its output and log.
    pub fn log(&self) -> String {
        let read = |name| fs::read(self.home.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("output"), read("log")].concat()).into_owned()
    }

    /// Ends the server at once, as a crash would; its sessions end too and new connections are closed.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the server anew after [`Server::kill`], with the same files, settings and address.
    pub fn restart(&mut self) {
        let plan = Plan {
            kind: self.kind,
            home: self.home.path(),
            root: &self.root,
            options: &self.options,
        };
        self.process = Process::start(plan.command(self.behind), &plan.output());
        assert!(
            self.process.wait_for_greeting(self.behind, false),
            "{} does not start anew; it says:\n{}",
            self.kind.name(),
            self.log()
        );
    }
}

/// pyftpsync as `tests/run` installed it, to which the caller adds arguments; it finds no settings of the user's.
pub fn pyftpsync() -> Command {
    let program = installed("venv/bin/pyftpsync", "pyftpsync");
    let mut command = Command::new(program);
    command
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::null());
    command
}

/// The Python that `tests/run` installed pyftpsync for, to which the caller adds arguments.
pub fn python() -> Command {
    let mut command = Command::new(installed("venv/bin/python", "pyftpsync"));
    command
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("PYTHONIOENCODING", "utf-8");
    command
}

/// What it takes to start one server, but for the port.
struct Plan<'a> {
    kind: Kind,
    home: &'a Path,
    root: &'a Path,
    options: &'a Options,
}

impl Plan<'_> {
    fn command(&self, address: SocketAddr) -> Command {
        let mut command = match self.kind {
            Kind::Vsftpd => self.vsftpd(address),
            Kind::Proftpd => self.proftpd(address),
            Kind::PureFtpd => self.pure_ftpd(address),
            Kind::Pyftpdlib => self.pyftpdlib(address),
            Kind::Twisted | Kind::Aioftp => self.of_python(address),
            Kind::Rclone => self.rclone(address),
            Kind::FtpSrv => self.ftp_srv(address),
            Kind::Inetutils | Kind::Busybox => self.by_inetd(address),
        };
        command.env("LD_LIBRARY_PATH", target().join("servers/lib"));
        command.envs(self.options.time_zone.map(|zone| ("TZ", zone)));
        command.envs(
            self.options
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        );
        command
    }

    /// Whether the client has to begin: TLS from the first byte.
    fn is_silent(&self) -> bool {
        self.kind == Kind::Rclone && self.options.extra.iter().any(|it| it.starts_with("--cert"))
    }

    fn output(&self) -> PathBuf {
        self.home.join("output")
    }

    fn vsftpd(&self, address: SocketAddr) -> Command {
        let program = installed("servers/debian/usr/sbin/vsftpd", "vsftpd");
        let empty = self.home.join("empty");
        fs::create_dir_all(&empty).expect("a directory can be made");
        let passwords = self.write("passwords", &format!("{PASSWORD}\n"));
        let (listen, listen_address) = if address.is_ipv6() {
            ("listen_ipv6", "listen_address6")
        } else {
            ("listen", "listen_address")
        };
        let mut settings = vec![
            format!("{listen}=YES"),
            format!("{listen_address}={}", address.ip()),
            format!("listen_port={}", address.port()),
            format!("anon_root={}", jail(self.root).display()),
            format!("email_password_file={}", passwords.display()),
            format!("secure_chroot_dir={}", empty.display()),
            format!("vsftpd_log_file={}", self.home.join("log").display()),
            format!("anon_umask=0{:o}", self.options.umask),
            format!("mdtm_write={}", yes_or_no(self.options.sets_times)),
            format!("write_enable={}", yes_or_no(!self.options.read_only)),
        ];
        // A local user would need PAM and an account on this machine. Anonymous may do the same when told so, and with a
        // list of valid "email addresses" has a password that can be wrong.
        settings.extend(
            [
                "background=NO",
                "anonymous_enable=YES",
                "local_enable=NO",
                "secure_email_list_enable=YES",
                "ftp_username=daemon",
                "anon_upload_enable=YES",
                "anon_mkdir_write_enable=YES",
                "anon_other_write_enable=YES",
                "anon_world_readable_only=NO",
                "connect_from_port_20=NO",
                "xferlog_enable=YES",
                "log_ftp_protocol=YES",
                "syslog_enable=NO",
                // Need rights or system calls that containers do not give.
                "isolate=NO",
                "isolate_network=NO",
                "seccomp_sandbox=NO",
                // A client that was killed between STOR and its data connection leaves the file locked for so long, and for
                // whoever writes to it next the server is silent: by default a minute, longer than the tests wait.
                "accept_timeout=5",
            ]
            .map(String::from),
        );
        if !is_root() {
            settings.push("run_as_launching_user=YES".into());
        }
        settings.extend(
            self.options
                .sessions_per_ip
                .map(|most| format!("max_per_ip={most}")),
        );
        settings.extend(
            self.options
                .idle_secs
                .map(|secs| format!("idle_session_timeout={secs}")),
        );
        let mut command = Command::new(program);
        command.arg(self.write_settings(settings));
        command
    }

    fn proftpd(&self, address: SocketAddr) -> Command {
        let program = installed("servers/debian/usr/sbin/proftpd", "proftpd");
        let (uid, gid) = ids();
        let login = format!(
            "coracle:{PASSWORD_HASH}:{uid}:{gid}::{}:/bin/sh\n",
            self.root.display()
        );
        let users = self.write("passwords", &login);
        let home = self.home.display();
        let mut settings = vec![
            "ServerType standalone".into(),
            format!("DefaultAddress {}", address.ip()),
            format!("Port {}", address.port()),
            format!("UseIPv6 {}", if address.is_ipv6() { "on" } else { "off" }),
            user_and_group(),
            "AuthOrder mod_auth_file.c".into(),
            format!("AuthUserFile {}", users.display()),
            "RequireValidShell off".into(),
            "UseFtpUsers off".into(),
            format!("SystemLog {home}/log"),
            format!("ScoreboardFile {home}/scoreboard"),
            format!("PidFile {home}/pid"),
            "TransferLog none".into(),
            "WtmpLog off".into(),
            "UseReverseDNS off".into(),
            "DelayEngine off".into(),
            "TimesGMT on".into(),
            "AllowOverwrite on".into(),
            "AllowStoreRestart on".into(),
            "AllowRetrieveRestart on".into(),
            "MaxInstances 100".into(),
            format!("Umask 0{0:o} 0{0:o}", self.options.umask),
        ];
        if is_root() {
            // Not `~`, which it resolves as the user, to whom the directories above may be closed.
            settings.push(format!("DefaultRoot {}", self.root.display()));
        }
        if self.options.read_only {
            settings.push("<Limit WRITE>\nDenyAll\n</Limit>".into());
        }
        if !self.options.sets_times {
            settings.push("<Limit MFMT MFF SITE_UTIME>\nDenyAll\n</Limit>".into());
        }
        settings.extend(
            self.options
                .sessions_per_ip
                .map(|most| format!("MaxClientsPerHost {most}")),
        );
        settings.extend(
            self.options
                .idle_secs
                .map(|secs| format!("TimeoutIdle {secs}")),
        );
        let mut command = Command::new(program);
        command
            .args(["--nodaemon", "--quiet", "--config"])
            .arg(self.write_settings(settings));
        command
    }

    fn pure_ftpd(&self, address: SocketAddr) -> Command {
        let program = installed("servers/debian/usr/sbin/pure-ftpd", "pure-ftpd");
        assert!(is_root(), "pure-ftpd serves only when started by root");
        assert!(
            self.options.sets_times,
            "pure-ftpd cannot be kept from setting times"
        );
        let login = format!(
            "coracle:{PASSWORD_HASH}:{SERVER_UID}:{SERVER_UID}::{}/./::::::::::::\n",
            self.root.display()
        );
        let users = self.write("passwords", &login);
        let database = self.home.join("passwords.pdb");
        let made = Command::new(installed("servers/debian/usr/bin/pure-pw", "pure-pw"))
            .env("LD_LIBRARY_PATH", target().join("servers/lib"))
            .arg("mkdb")
            .arg(&database)
            .arg("-f")
            .arg(users)
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "pure-pw mkdb failed"
        );
        // It makes files that may be run, unless told otherwise.
        let umask = self.options.umask;
        let mut command = Command::new(program);
        command.args(["--login", &format!("puredb:{}", database.display())]);
        command.args(["--bind", &format!("{},{}", address.ip(), address.port())]);
        command.arg("--pidfile").arg(self.home.join("pid"));
        command.args(["--umask", &format!("{:03o}:{umask:03o}", umask | 0o111)]);
        command.args([
            "--chrooteveryone",
            "--noanonymous",
            "--dontresolve",
            "--minuid",
            "1",
            "--maxclientsnumber",
            "100",
        ]);
        if let Some(most) = self.options.sessions_per_ip {
            command.args(["--maxclientsperip", &most.to_string()]);
        }
        if let Some(secs) = self.options.idle_secs {
            assert!(
                secs.is_multiple_of(60),
                "pure-ftpd counts idle time in minutes"
            );
            command.args(["--maxidletime", &(secs / 60).to_string()]);
        }
        command.args(&self.options.extra);
        command
    }

    fn pyftpdlib(&self, address: SocketAddr) -> Command {
        let program = installed("venv/bin/python", "pyftpdlib");
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/pyftpdlib_server.py");
        let mut command = Command::new(program);
        command.arg(script).arg(self.root);
        command.args([
            &address.ip().to_string(),
            &address.port().to_string(),
            "coracle",
            PASSWORD,
        ]);
        command.arg(format!("--umask={:o}", self.options.umask));
        if is_root() {
            command.arg(format!("--uid={SERVER_UID}"));
        }
        if self.options.read_only {
            command.arg("--read-only");
        }
        if !self.options.sets_times {
            command.arg("--without-mfmt");
        }
        command.args(
            self.options
                .sessions_per_ip
                .map(|most| format!("--sessions-per-ip={most}")),
        );
        command.args(
            self.options
                .idle_secs
                .map(|secs| format!("--idle-secs={secs}")),
        );
        command.args(&self.options.extra);
        command
    }

    fn of_python(&self, address: SocketAddr) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/strange_servers.py");
        let mut command = Command::new(installed("strangers/venv/bin/python", self.kind.name()));
        command.arg(script).arg(self.kind.name()).arg(self.root);
        command.args([&address.port().to_string(), "coracle", PASSWORD]);
        command
    }

    fn rclone(&self, address: SocketAddr) -> Command {
        let mut command = Command::new(installed("strangers/venv/bin/rclone", "rclone"));
        command.args(["serve", "ftp"]).arg(self.root);
        command.arg(format!("--addr={address}"));
        command.args(["--user=coracle", &format!("--pass={PASSWORD}")]);
        command.arg(format!("--cache-dir={}", self.home.join("cache").display()));
        command.env("HOME", self.home).args(&self.options.extra);
        command
    }

    fn ftp_srv(&self, address: SocketAddr) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/ftp_srv.js");
        let modules = installed("strangers/node_modules", "ftp-srv");
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules).arg(script).arg(self.root);
        command.arg(address.port().to_string());
        command
    }

    /// A server that speaks on its standard input and output. It takes its user for one of the machine's, which nss_wrapper
    /// shows it.
    fn by_inetd(&self, address: SocketAddr) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/inetd.py");
        let (uid, gid) = ids();
        let user = format!(
            "coracle:{PASSWORD_HASH}:{uid}:{gid}::{}:/bin/sh\n",
            self.root.display()
        );
        let lib = target().join("inetd/lib");
        let mut command = Command::new("env");
        command.arg(format!("LD_LIBRARY_PATH={}", lib.display()));
        command.arg(format!(
            "LD_PRELOAD={}",
            installed("ssh/lib/libnss_wrapper.so", "nss_wrapper").display()
        ));
        command.args([installed("venv/bin/python", "Python"), script]);
        command.args([address.ip().to_string(), address.port().to_string()]);
        command.arg(self.root);
        match self.kind {
            Kind::Inetutils => command
                .arg(installed("inetd/debian/usr/sbin/ftpd", "inetutils-ftpd"))
                .arg("--auth=default")
                .arg(format!("--umask={:o}", self.options.umask)),
            _ => command
                .arg(installed("inetd/busybox", "busybox"))
                .args(["ftpd", "-w"])
                // Only root may become somebody; whoever else starts it is who logs in.
                .args((!is_root()).then_some("-A")),
        };
        command.env("NSS_WRAPPER_PASSWD", self.write("passwd", &user));
        let group = self.write("group", &format!("coracle:x:{gid}:\n"));
        command.env("NSS_WRAPPER_GROUP", group);
        command
    }

    fn write_settings(&self, mut settings: Vec<String>) -> PathBuf {
        settings.extend(self.options.extra.iter().cloned());
        self.write("settings", &(settings.join("\n") + "\n"))
    }

    /// Writes a file of the server's own that only its owner may read: ProFTPD insists on that for passwords.
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::write(&path, content).expect("a file below target/tmp can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }
}

fn yes_or_no(answer: bool) -> &'static str {
    if answer { "YES" } else { "NO" }
}

/// A server process with its children, in a process group of their own.
pub(super) struct Process {
    supervisor: Child,
}

impl Process {
    /// Starts `command` below a shell that ends the whole group as soon as the server ends or this process does, by whatever
    /// signal: the shell sees the end of its input.
    pub(super) fn start(command: Command, output: &Path) -> Self {
        const SUPERVISE: &str = r#"{ "$@"; kill -s KILL 0; } & cat; kill -s KILL 0"#;
        let output = File::create(output).expect("a file below target/tmp can be made");
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", SUPERVISE, "supervisor"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            shell.env(name, value.expect("no variable is removed"));
        }
        let supervisor = shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("file handles are left"))
            .stderr(output)
            .spawn()
            .expect("/bin/sh can be started");
        Self { supervisor }
    }

    /// Whether the server greets at `address`; not if it ends before, as when the port was taken.
    fn wait_for_greeting(&mut self, address: SocketAddr, is_silent: bool) -> bool {
        // Had another process taken the port, it would be that one's greeting and ours would have ended.
        self.wait_until(address, |address| {
            if is_silent {
                TcpStream::connect(address).is_ok()
            } else {
                greets(address)
            }
        })
    }

    /// Whether `greets` says that the server at `address` is there, before it ends.
    pub(super) fn wait_until(
        &mut self,
        address: SocketAddr,
        greets: impl Fn(SocketAddr) -> bool,
    ) -> bool {
        let deadline = Instant::now() + Duration::from_secs(START_SECS);
        while Instant::now() < deadline {
            let ended = self
                .supervisor
                .try_wait()
                .expect("it is our child")
                .is_some();
            if ended {
                return false;
            }
            if greets(address) {
                return self
                    .supervisor
                    .try_wait()
                    .expect("it is our child")
                    .is_none();
            }
            thread::sleep(Duration::from_millis(POLL_MILLIS));
        }
        false
    }

    pub(super) fn kill(&mut self) {
        // One by one, because vsftpd's sessions leave the process group.
        for process in descendants(self.supervisor.id()) {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The children of process `id`, their children, and so on.
fn descendants(id: u32) -> Vec<i32> {
    let id = i32::try_from(id).expect("process ids are small");
    let parents: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let child = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The program's name in parentheses may hold anything; the state and the parent follow it (proc(5)).
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((child, parent.parse().ok()?))
        })
        .collect();
    let mut found = vec![id];
    let mut next = 0;
    while let Some(&process) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == process)
                .map(|(child, _)| *child),
        );
        next += 1;
    }
    found.split_off(1)
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let timeout = Some(Duration::from_secs(START_SECS));
    let mut greeting = [0; 3];
    let greeted = stream.set_read_timeout(timeout).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && greeting == *b"220";
    // Reading on to the end lets the server finish this session before a test counts sessions.
    let _ = stream.write_all(b"QUIT\r\n");
    let _ = stream.read_to_end(&mut Vec::new());
    greeted
}

/// Ports below those that the kernel gives away by itself: there, the data connection or the relay of another test could
/// come in between, and its greeting be taken for the server's.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// A loopback address whose port nothing listens on, and that no other test of this process was given.
pub(super) fn free_address(ipv6: bool) -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let ip = loopback(ipv6);
    // Other test programs that run at the same time begin elsewhere.
    let start = std::process::id().wrapping_mul(97);
    let count = PORTS.end - PORTS.start;
    (0..count)
        .map(|_| PORTS.start + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % count)
        .map(|port| SocketAddr::new(ip, u16::try_from(port).expect("the range holds ports")))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("this machine has a loopback interface with free ports")
}

fn loopback(ipv6: bool) -> IpAddr {
    if ipv6 {
        IpAddr::from(Ipv6Addr::LOCALHOST)
    } else {
        IpAddr::from(Ipv4Addr::LOCALHOST)
    }
}

/// Passes control connections on to a server and notes the commands.
struct Relay {
    address: SocketAddr,
    sessions: Arc<Mutex<Vec<Vec<String>>>>,
    turns: Arc<AtomicUsize>,
    closing: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(server: SocketAddr, greeting: Option<&'static str>) -> Self {
        let listener = TcpListener::bind((loopback(server.is_ipv6()), 0))
            .expect("this machine has a loopback interface with free ports");
        let address = listener.local_addr().expect("a listener has an address");
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let turns = Arc::new(AtomicUsize::new(0));
        let closing = Arc::new(AtomicBool::new(false));
        let accepting = thread::spawn({
            let (sessions, closing) = (Arc::clone(&sessions), Arc::clone(&closing));
            let turns = Arc::clone(&turns);
            move || accept(&listener, server, greeting, &sessions, &turns, &closing)
        });
        Self {
            address,
            sessions,
            turns,
            closing,
            accepting: Some(accepting),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    server: SocketAddr,
    greeting: Option<&'static str>,
    sessions: &Arc<Mutex<Vec<Vec<String>>>>,
    turns: &Arc<AtomicUsize>,
    closing: &AtomicBool,
) {
    for client in listener.incoming() {
        if closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let number = {
            let mut sessions = sessions.lock().expect("no relay thread panics");
            sessions.push(Vec::new());
            sessions.len() - 1
        };
        // A server that is gone shows as a connection that ends at once.
        let Ok(mut server) = TcpStream::connect(server) else {
            continue;
        };
        if let Some(greeting) = greeting {
            pass_over_greeting(&mut server);
            let _ = (&client).write_all(format!("220 {greeting}\r\n").as_bytes());
        }
        let sessions = Arc::clone(sessions);
        let note = move |command: &[u8]| {
            let command = String::from_utf8_lossy(command).into_owned();
            sessions.lock().expect("no relay thread panics")[number].push(command);
        };
        // Both threads end when the server's process does, which is before the relay's end.
        let _ = relay(client, server, note, Arc::clone(turns));
    }
}

/// Reads the greeting to its last line, and nothing more.
fn pass_over_greeting(server: &mut TcpStream) {
    let mut line = Vec::new();
    let mut byte = [0];
    while server.read_exact(&mut byte).is_ok() {
        line.push(byte[0]);
        if byte[0] == b'\n' {
            if line.starts_with(b"220 ") {
                return;
            }
            line.clear();
        }
    }
}

fn relay(
    client: TcpStream,
    server: TcpStream,
    note: impl FnMut(&[u8]) + Send + 'static,
    turns: Arc<AtomicUsize>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let mut lines = Lines {
        begun: Vec::new(),
        note,
    };
    let server_spoke = Arc::new(AtomicBool::new(false));
    thread::spawn({
        let server_spoke = Arc::clone(&server_spoke);
        move || {
            pass(from_server, to_client, |_| {
                server_spoke.store(true, Ordering::SeqCst);
            });
        }
    });
    thread::spawn(move || {
        pass(client, server, |bytes| {
            if server_spoke.swap(false, Ordering::SeqCst) {
                turns.fetch_add(1, Ordering::SeqCst);
            }
            lines.take(bytes);
        });
    });
    Ok(())
}

/// Passes all bytes on, and then the end of the stream, so that either direction may end first.
fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(length) => {
                // Looked at first: whoever sees the server's reply also finds the command noted.
                look(&buffer[..length]);
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Cuts a stream into lines.
struct Lines<F> {
    begun: Vec<u8>,
    note: F,
}

impl<F: FnMut(&[u8])> Lines<F> {
    fn take(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            (self.note)(line.strip_suffix(b"\r").unwrap_or(line));
        }
    }
}

/// What vsftpd shows as `/` when root starts it: the directory that has the served one in it, because anonymous users are refused
/// a `/` that they may write, whatever `allow_writeable_chroot` says.
fn jail(root: &Path) -> &Path {
    root.parent().expect("nobody serves the whole machine")
}

/// A file that `tests/run` put below the target directory.
pub(super) fn installed(path: &str, name: &str) -> PathBuf {
    let path = target().join(path);
    assert!(
        path.exists(),
        "{name} is not installed; run tests/run, which installs it"
    );
    path
}

pub fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("target/tmp is in target")
}

pub(super) fn is_root() -> bool {
    geteuid().is_root()
}

/// The user and group that serve.
pub fn ids() -> (u32, u32) {
    if is_root() {
        (SERVER_UID, SERVER_UID)
    } else {
        (geteuid().as_raw(), getegid().as_raw())
    }
}

/// The same as ProFTPD's settings, which take no numbers.
fn user_and_group() -> String {
    let (uid, gid) = ids();
    let user = User::from_uid(uid.into())
        .ok()
        .flatten()
        .expect("the user has a name");
    let group = Group::from_gid(gid.into())
        .ok()
        .flatten()
        .expect("the group has a name");
    format!("User {}\nGroup {}", user.name, group.name)
}

/// Gives `path` and all below it to user and group `id`, following no link.
pub(super) fn give(path: &Path, id: u32) {
    lchown(path, Some(id), Some(id)).expect("root may give files away");
    if path.is_symlink() || !path.is_dir() {
        return;
    }
    for entry in fs::read_dir(path).expect("root may list any directory") {
        give(&entry.expect("root may list any directory").path(), id);
    }
}

/// Encodes all bytes that have a meaning in a URL, but for the slashes.
fn percent_encoded(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
