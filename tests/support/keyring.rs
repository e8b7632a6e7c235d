//! A keyring as a desktop has it, GNOME's, on a D-Bus of its own; and a stand-in for the program that asks it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::program::Place;
use super::servers::{python, target};

/// A daemon takes no longer to begin, on a loaded machine either.
const BEGIN_WAIT: Duration = Duration::from_secs(60);

/// A bus without any service files: nobody is started on it unasked, and no dialogue is shown.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:dir=DIR</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

/// A keyring and its bus, for as long as this lives.
pub struct Keyring {
    dir: PathBuf,
    address: String,
    daemon: Option<Child>,
    bus: Child,
}

impl Keyring {
    /// Starts both, with the keyring open. What is not installed fails the test.
    pub fn start(place: &Place) -> Self {
        let dir = place.path().join("desktop");
        fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        let config = dir.join("bus.conf");
        fs::write(&config, BUS.replace("DIR", dir.to_str().unwrap())).unwrap();
        let mut bus = command("dbus-daemon", &dir)
            .args(["--nofork", "--print-address", "--config-file"])
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon was installed");
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        assert!(!address.is_empty(), "dbus-daemon does not start");
        let mut keyring = Self {
            dir,
            address: address.trim().to_owned(),
            daemon: None,
            bus,
        };
        keyring.open();
        keyring
    }

    /// Starts the daemon anew, with its keyring open.
    pub fn open(&mut self) {
        self.begin("--unlock");
    }

    /// Starts the daemon anew, with its keyring locked.
    pub fn lock(&mut self) {
        self.begin("--start");
    }

    fn begin(&mut self, how: &str) {
        self.end();
        let mut daemon = self
            .speaker("gnome-keyring-daemon")
            .args(["--foreground", "--components=secrets", how])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon was installed");
        daemon.stdin.take().unwrap().write_all(b"open me").unwrap();
        self.daemon = Some(daemon);
        let until = Instant::now() + BEGIN_WAIT;
        while !self
            .tool(&["lookup", "nothing", "at-all"])
            .stderr
            .is_empty()
        {
            assert!(
                Instant::now() < until,
                "gnome-keyring-daemon does not start"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("it is our child");
            daemon.wait().expect("it is our child");
        }
    }

    /// Gives a command of the program the surroundings of somebody at this desktop.
    pub fn surround<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("PATH", path_with(&bin()))
            .env("LD_LIBRARY_PATH", target().join("keyring/lib"))
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
    }

    fn speaker(&self, program: &str) -> Command {
        let mut command = command(program, &self.dir);
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command
    }

    fn tool(&self, words: &[&str]) -> Output {
        let mut tool = self.speaker("secret-tool");
        tool.args(words)
            .output()
            .expect("secret-tool was installed")
    }

    /// Every account that is kept under pyftpsync's name for a server.
    pub fn accounts(&self, server: &str) -> Vec<String> {
        let words = [
            "search",
            "--all",
            "service",
            "pyftpsync",
            "username",
            server,
        ];
        let said = String::from_utf8(self.tool(&words).stdout).unwrap();
        let secrets = said
            .lines()
            .filter_map(|line| line.strip_prefix("secret = "));
        secrets.map(str::to_owned).collect()
    }

    /// Has pyftpsync's own function keep an account.
    pub fn keep_by_pyftpsync(&self, server: &str, user: &str, password: &str) {
        let script =
            "import sys; from ftpsync.util import save_password; save_password(*sys.argv[1:])";
        self.python(script, &[server, user, password]);
        assert_eq!(self.accounts(server), [format!("{user}:{password}")]);
    }

    /// What pyftpsync's own function finds.
    pub fn found_by_pyftpsync(&self, server: &str) -> String {
        let script = "import sys; from ftpsync.util import get_credentials_for_url as get\n\
            print('\\n' + ' '.join(get(sys.argv[1], {'no_netrc': True})))";
        let said = self.python(script, &[server]);
        said.lines().last().unwrap_or_default().to_owned()
    }

    fn python(&self, script: &str, words: &[&str]) -> String {
        let mut python = python();
        let output = python
            .args(["-c", script])
            .args(words)
            .env("HOME", &self.dir)
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .output()
            .expect("Python was installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{complaints}");
        said
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.end();
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

/// Puts a stand-in for `secret-tool` before all programs; it writes its arguments into `asked` of the place, a word a line, and then
/// does as the script says. The bus that it is for is nowhere.
pub fn stand_in(place: &Place, script: &str) -> impl Fn(&mut Command) {
    let dir = place.path().join("bin");
    fs::create_dir_all(&dir).unwrap();
    let tool = dir.join("secret-tool");
    let asked = asked(place);
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >>'{}'\nenv >>'{}.env'\n{script}\n",
        asked.display(),
        asked.display()
    );
    fs::write(&tool, text).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    move |command| {
        command
            .env("PATH", path_with(&dir))
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
    }
}

/// Where a stand-in writes what it was asked.
pub fn asked(place: &Place) -> PathBuf {
    place.path().join("asked")
}

fn bin() -> PathBuf {
    let bin = target().join("keyring/debian/usr/bin");
    assert!(
        bin.join("gnome-keyring-daemon").exists(),
        "no keyring is installed; run tests/run, which installs it"
    );
    bin
}

fn path_with(dir: &Path) -> String {
    format!("{}:/usr/bin:/bin", dir.display())
}

fn command(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(bin().join(program));
    command
        .env_clear()
        .env("PATH", path_with(&bin()))
        .env("LD_LIBRARY_PATH", target().join("keyring/lib"))
        .env("HOME", dir)
        .env("XDG_RUNTIME_DIR", dir)
        .stdin(Stdio::null());
    command
}
