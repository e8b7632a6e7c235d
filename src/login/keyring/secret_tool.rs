//! The keyring of the desktop (Secret Service: GNOME Keyring, KWallet, KeePassXC), by libsecret's `secret-tool`.
//!
//! An entry is what pyftpsync 4.1 stores by Python's keyring 25: the attributes `service`, `username` (the server's name) and
//! `application`, and as its secret `USER:PASSWORD`. With the same attributes either program replaces what the other stored. There is
//! nothing for macOS, where coracle does not run: `security` wants the secret among its arguments, or typed.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::variable;
use crate::job::Secret;
use crate::login::given::first_line;
use crate::login::place::SERVICE;
use crate::login::private::plain;
use crate::path::Escaped;
use crate::process::{self, Said};

const PROGRAM: &str = "secret-tool";

/// What Python's keyring notes as the application; an entry is replaced by one with the same attributes.
const APPLICATION: &str = "Python keyring library";

/// So much of a complaint is shown.
const SHOWN_BYTES: usize = 200;

/// A keyring that can perhaps be asked.
pub(super) struct Keyring {
    patience: Duration,
}

/// Why the keyring did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is none on this machine, or none for this session; that is as it should be in cron and on routers.
    Absent,
    /// It is there, and does not do it, for this reason.
    Broken(String),
}

impl Keyring {
    /// The keyring of this session, if it has a bus to reach one by.
    pub(super) fn of_process(patience: Duration) -> Option<Self> {
        has_bus(variable).then_some(Self { patience })
    }

    /// The account that is kept under this name.
    pub(super) fn look_up(&self, name: &str) -> Result<Option<(String, Secret)>, Failure> {
        let said = self.run(&["lookup", "service", SERVICE, "username", name], b"")?;
        if said.status.success() {
            return entry(&said.output).map(Some);
        }
        if said.complaints.is_empty() {
            // Nothing is there under this name, or what is there is locked and cannot be opened from here.
            return Ok(None);
        }
        Err(failure(&said.complaints))
    }

    /// Keeps an account under this name, in place of what was there.
    pub(super) fn store(&self, name: &str, user: &str, password: &Secret) -> Result<(), Failure> {
        let label = format!("--label=Password for '{name}' on '{SERVICE}'");
        let words = [
            "store",
            &label,
            "service",
            SERVICE,
            "username",
            name,
            "application",
            APPLICATION,
        ];
        let secret = format!("{user}:{}", password.reveal());
        let said = self.run(&words, secret.as_bytes())?;
        if said.status.success() {
            Ok(())
        } else {
            Err(failure(&said.complaints))
        }
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Result<Said, Failure> {
        let mut command = Command::new(PROGRAM);
        // Its complaints are read here, and no secret is handed on.
        command
            .args(words)
            .env("LC_ALL", "C")
            .env_remove("CORACLE_PASSWORD");
        process::ask(&mut command, input, self.patience).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::Absent,
            io::ErrorKind::TimedOut => Failure::Broken(format!(
                "it gave no answer within {} s; is it locked?",
                self.patience.as_secs()
            )),
            io::ErrorKind::Interrupted => Failure::Broken("it was not waited for".to_owned()),
            _ => Failure::Broken(format!("{PROGRAM} cannot be run: {}", plain(error))),
        })
    }
}

/// Whether there is a bus to reach a keyring by. Without one the program would start a bus and a keyring of its own.
fn has_bus(variable: impl Fn(&str) -> Option<PathBuf>) -> bool {
    let address = variable("DBUS_SESSION_BUS_ADDRESS").map(OsString::from);
    address.is_some()
        || variable("XDG_RUNTIME_DIR").is_some_and(|dir: PathBuf| dir.join("bus").exists())
}

/// User and password, parted at the first colon. The messages do not tell what is in it.
fn entry(secret: &[u8]) -> Result<(String, Secret), Failure> {
    let broken = |what: &str| Failure::Broken(format!("what it holds for this server {what}"));
    let text = first_line(secret).map_err(|_| broken("is no line of text"))?;
    match text.reveal().split_once(':') {
        Some((user, password)) if !user.is_empty() => {
            Ok((user.to_owned(), Secret::new(password.to_owned())))
        }
        Some(_) | None => Err(broken("is not USER:PASSWORD")),
    }
}

/// What a complaint of the program means.
fn failure(complaints: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(complaints);
    // Whoever logs in by SSH has a bus, and mostly nothing on it; a bus may be gone with the session that it was of.
    let nobody_there = ["org.freedesktop.secrets", "Could not connect", "autolaunch"];
    if nobody_there.iter().any(|part| text.contains(part)) {
        return Failure::Absent;
    }
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("it does not say why").as_bytes();
    Failure::Broken(Escaped(&line[..line.len().min(SHOWN_BYTES)]).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_parted_at_its_first_colon() {
        let parted = |secret: &[u8]| {
            let (user, password) = entry(secret).ok()?;
            Some((user, password.reveal().to_owned()))
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(parted(b"me:pw"), pair("me", "pw"));
        assert_eq!(parted(b"me:p:w:"), pair("me", "p:w:"));
        assert_eq!(parted(b"me:pw\n"), pair("me", "pw"));
        assert_eq!(parted(b"me:"), pair("me", ""));
        for bad in [&b""[..], b"pw", b":pw", b"me:\xff", b"me:a\0b"] {
            assert_eq!(parted(bad), None, "{bad:?}");
        }
        let Err(Failure::Broken(text)) = entry(b"hush") else {
            panic!("it is no entry");
        };
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn a_bus_without_a_keyring_is_no_fault() {
        for text in [
            "secret-tool: The name org.freedesktop.secrets was not provided by any .service files\n",
            "secret-tool: Could not connect: No such file or directory\n",
        ] {
            assert_eq!(failure(text.as_bytes()), Failure::Absent);
        }
        let locked = "secret-tool: Cannot create an item in a locked collection";
        assert_eq!(
            failure(locked.as_bytes()),
            Failure::Broken(locked.to_owned())
        );
        assert_eq!(
            failure(b"\n"),
            Failure::Broken("it does not say why".to_owned())
        );
    }

    #[test]
    fn without_a_bus_nobody_is_asked() {
        let dir = std::env::temp_dir();
        assert!(!has_bus(|_| None));
        assert!(has_bus(
            |name| (name == "DBUS_SESSION_BUS_ADDRESS").then(|| "unix:x".into())
        ));
        assert!(!has_bus(
            |name| (name == "XDG_RUNTIME_DIR").then(|| dir.join("none"))
        ));
    }
}
