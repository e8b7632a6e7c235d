//! Passwords that the command line and the environment give: a file, a command, a variable.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::private::is_open_to_others;
use super::{CredentialOptions, Surroundings};
use crate::error::{Doing, Error, ErrorKind, Result};
use crate::job::Secret;
use crate::path::Escaped;

/// A password is a line; what is longer is another file.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// What editors of Windows put before UTF-8 text; it belongs to no password.
pub(super) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The password that a file or a command has.
pub(super) fn by_option(
    options: &CredentialOptions,
    warn: &mut dyn FnMut(&str),
) -> Result<Option<Secret>> {
    if let Some(path) = &options.password_file {
        return from_file(path, warn).map(Some);
    }
    match &options.password_command {
        Some(command) => from_command(command).map(Some),
        None => Ok(None),
    }
}

/// The password that the environment has.
pub(super) fn by_environment(around: &Surroundings<'_>) -> Result<Option<Secret>> {
    let Some(password) = &around.environment else {
        return Ok(None);
    };
    let password = first_line(password.as_bytes());
    password.map(Some).doing(|| "reading CORACLE_PASSWORD")
}

fn from_file(path: &Path, warn: &mut dyn FnMut(&str)) -> Result<Secret> {
    let shown = Escaped(path.as_os_str().as_bytes()).to_string();
    let doing = || format!("reading the password file {shown}");
    let file = File::open(path).map_err(unreadable).doing(doing)?;
    let metadata = file.metadata().map_err(unreadable).doing(doing)?;
    if metadata.is_file() && is_open_to_others(metadata.permissions().mode()) {
        warn(&format!(
            "others can read the password file {shown}; chmod 600 keeps it secret"
        ));
    }
    let mut content = Vec::new();
    file.take(MAX_PASSWORD_BYTES)
        .read_to_end(&mut content)
        .map_err(unreadable)
        .doing(doing)?;
    first_line(&content).doing(doing)
}

/// However long it takes: it may ask the user.
fn from_command(command: &str) -> Result<Secret> {
    let failed =
        |what: String| Error::new(ErrorKind::Login(what)).while_doing("running --password-command");
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("sh cannot be started: {error}")))?;
    let mut content = Vec::new();
    let read = match child.stdout.take() {
        Some(mut stdout) => stdout
            .by_ref()
            .take(MAX_PASSWORD_BYTES)
            .read_to_end(&mut content)
            // To its end, so that a talkative command does not die of a closed pipe.
            .and_then(|_| io::copy(&mut stdout, &mut io::sink())),
        None => Ok(0),
    };
    let status = child.wait().and_then(|status| read.map(|_| status));
    match status {
        Ok(status) if status.success() => {
            first_line(&content).doing(|| "running --password-command")
        }
        Ok(status) => Err(failed(format!("the command failed ({status})"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The first line as a password. The messages do not tell what is in it.
pub(super) fn first_line(content: &[u8]) -> Result<Secret> {
    let line = content
        .strip_prefix(BYTE_ORDER_MARK.as_bytes())
        .unwrap_or(content)
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let bad = |what: &str| Err(ErrorKind::Usage(what.to_owned()).into());
    if line.is_empty() {
        return bad("the first line is empty");
    }
    if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
        return bad("the first line holds a carriage return or a NUL byte");
    }
    match std::str::from_utf8(line) {
        Ok(text) => Ok(Secret::new(text.to_owned())),
        Err(_) => bad("the first line is not UTF-8"),
    }
}

fn unreadable(error: io::Error) -> Error {
    ErrorKind::Usage(Error::new(ErrorKind::Disk(error)).to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::tests::{Case, Scratch, pair};

    #[test]
    fn a_password_is_a_line_of_any_system() {
        let dir = Scratch::new("line-ends");
        let mut case = Case::new(Some("me"));
        for text in ["pw", "pw\n", "pw\r\n", "\u{feff}pw\r\nmore\r\n"] {
            case.options.password_file = Some(dir.write("pw", text, 0o600));
            assert_eq!(case.account(), pair("me", "pw"), "{text:?}");
        }
        case.options.password_file = Some(dir.write("pw", "\u{feff}\r\n", 0o600));
        assert!(case.resolve().unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn a_password_file_that_others_can_read_is_used_with_a_warning() {
        let dir = Scratch::new("file");
        let mut case = Case::new(Some("me"));
        case.options.password_file = Some(dir.write("pw", "s3cret", 0o644));
        assert_eq!(case.account(), pair("me", "s3cret"));
        assert!(case.warnings[0].contains("chmod 600"));
    }

    #[test]
    fn bad_sources_are_named_and_end_the_run() {
        let dir = Scratch::new("bad");
        let mut case = Case::new(Some("me"));
        case.options.password_file = Some(dir.0.join("none"));
        let error = case.resolve().unwrap_err().to_string();
        assert!(error.contains("/none: no such file"), "{error}");
        case.options.password_file = Some(dir.write("pw", "\nx", 0o600));
        assert!(
            case.resolve()
                .unwrap_err()
                .to_string()
                .contains("first line is empty")
        );
        case.options.password_file = None;
        case.options.password_command = Some("echo secret; exit 3".into());
        let error = case.resolve().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Login(_)));
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn a_talkative_command_is_heard_out() {
        let mut case = Case::new(Some("me"));
        case.options.password_command = Some("echo pw; head -c 300000 /dev/zero".into());
        assert_eq!(case.account(), pair("me", "pw"));
    }
}
