//! The file of passwords where there is no keyring: one line for each account, a list in JSON,
//! `["nas", 21, "me", "password"]`. Lines that begin with `#` are the user's.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::job::Secret;
use crate::login::Asked;
use crate::login::private::{self, plain};
use crate::system;

const NAME: &str = "passwords";

/// Another run writes a line, which takes no time but on a disk that is asleep.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Between two looks at whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where the file is; none where this user has no home.
pub(super) fn path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))?;
    Some(config.join("coracle").join(NAME))
}

/// User and password that the file has for a server.
pub(super) fn find(path: &Path, asked: &Asked<'_>) -> Result<Option<(String, Secret)>, String> {
    let content = private::read(path)?.unwrap_or_default();
    let mut unclear = None;
    for (line, number) in content.split(|byte| *byte == b'\n').zip(1..) {
        match Line::read(line) {
            Line::Account(account) if account.fits(asked) => {
                let password = Secret::new(account.password);
                return Ok(Some((account.user, password)));
            }
            Line::Account(_) | Line::Remark => {}
            Line::Unclear => unclear = unclear.or(Some(number)),
        }
    }
    match unclear {
        None => Ok(None),
        Some(number) => Err(format!(
            "line {number} of it is not [\"HOST\", PORT, \"USER\", \"PASSWORD\"]"
        )),
    }
}

/// Puts an account into the file, in place of what it has of it.
pub(super) fn store(path: &Path, asked: &Asked<'_>, password: &Secret) -> Result<(), String> {
    let dir = path.parent().ok_or("it has no directory")?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(plain)?;
    let dir = File::open(dir).map_err(plain)?;
    lock(&dir)?;
    let content = private::read(path)?.unwrap_or_default();
    let content = with(&content, asked, password).map_err(|error| error.to_string())?;
    replace(path, &content)
        .and_then(|()| system::sync_dir(dir.as_fd()))
        .map_err(plain)
}

/// Keeps other runs from writing until the directory is closed. Where there are no locks, what is written is whole all the same.
fn lock(dir: &File) -> Result<(), String> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match system::try_lock(dir.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(()) | Err(_) => return Ok(()),
        }
        if Instant::now() > until {
            return Err("another program holds it".to_owned());
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Writes a file beside, whole, and renames it.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    // What a run that was killed left there may have any mode.
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| std::fs::rename(&beside, path));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    renamed
}

/// A line of the file.
enum Line {
    Account(Account),
    /// Empty, or the user's.
    Remark,
    Unclear,
}

struct Account {
    host: String,
    port: u16,
    user: String,
    password: String,
}

impl Line {
    fn read(line: &[u8]) -> Self {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Self::Remark;
        }
        // As text, for which the code is there already.
        match serde_json::from_str(std::str::from_utf8(line).unwrap_or_default()) {
            Ok((host, port, user, password)) => Self::Account(Account {
                host,
                port,
                user,
                password,
            }),
            // Its text would tell what is in the line.
            Err(_) => Self::Unclear,
        }
    }
}

impl Account {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        self.host.eq_ignore_ascii_case(asked.host)
            && self.port == asked.port
            && asked.user.is_none_or(|user| user == self.user)
    }
}

/// The content with this account; all other lines stay as they are, also those that nobody understands.
fn with(content: &[u8], asked: &Asked<'_>, password: &Secret) -> serde_json::Result<Vec<u8>> {
    let account = (
        asked.host,
        asked.port,
        asked.user.unwrap_or_default(),
        password.reveal(),
    );
    let account = serde_json::to_vec(&account)?;
    let mut unwritten = Some(&account);
    let mut lines = Vec::new();
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    for line in content
        .split(|byte| *byte == b'\n')
        .filter(|_| !content.is_empty())
    {
        match Line::read(line) {
            Line::Account(old) if old.fits(asked) => lines.extend(unwritten.take().cloned()),
            Line::Account(_) | Line::Remark | Line::Unclear => lines.push(line.to_vec()),
        }
    }
    lines.extend(unwritten.cloned());
    lines.push(Vec::new());
    Ok(lines.join(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Asked<'_> = Asked {
        host: "nas",
        port: 21,
        user: Some("me"),
    };

    fn put(content: &str, asked: &Asked<'_>, password: &str) -> String {
        let content = with(content.as_bytes(), asked, &Secret::new(password.to_owned()));
        String::from_utf8(content.unwrap()).unwrap()
    }

    fn read(line: &str, asked: &Asked<'_>) -> Option<(String, String)> {
        match Line::read(line.as_bytes()) {
            Line::Account(account) if account.fits(asked) => Some((account.user, account.password)),
            _ => None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for password in ["pw", "", "a b", "\"q\"\\", "ä\u{1}\u{2028}", "]#"] {
            let line = put("", &ME, password);
            assert_eq!(line.lines().count(), 1, "{line:?}");
            assert_eq!(
                read(&line, &ME),
                Some(("me".to_owned(), password.to_owned()))
            );
        }
    }

    #[test]
    fn an_account_is_of_its_host_port_and_user() {
        let line = r#"["NAS", 21, "me", "pw"]"#;
        assert!(read(line, &ME).is_some());
        assert!(read(line, &Asked { user: None, ..ME }).is_some());
        for other in [
            Asked { host: "na", ..ME },
            Asked { port: 2121, ..ME },
            Asked {
                user: Some("you"),
                ..ME
            },
        ] {
            assert!(read(line, &other).is_none());
        }
    }

    #[test]
    fn an_account_is_replaced_and_everything_else_stays() {
        let others = "# mine\n\n[\"nas\",21,\"you\",\"x\"]\nno idea\n";
        let with_me = put(others, &ME, "old");
        assert_eq!(with_me, format!("{others}[\"nas\",21,\"me\",\"old\"]\n"));
        let changed = put(&format!("{with_me}# end"), &ME, "new");
        assert_eq!(
            changed,
            format!("{others}[\"nas\",21,\"me\",\"new\"]\n# end\n")
        );
        let twice = format!("{with_me}{with_me}");
        assert_eq!(put(&twice, &ME, "n").matches("\"me\"").count(), 1);
    }

    #[test]
    fn the_file_lies_where_settings_lie() {
        let path = |config: Option<&str>, home: Option<&str>| {
            path(|name| match name {
                "XDG_CONFIG_HOME" => config.map(PathBuf::from),
                _ => home.map(PathBuf::from),
            })
        };
        let is = |text: &str| Some(PathBuf::from(text));
        assert_eq!(path(Some("/c"), Some("/h")), is("/c/coracle/passwords"));
        assert_eq!(
            path(Some("c"), Some("/h")),
            is("/h/.config/coracle/passwords")
        );
        assert_eq!(path(None, None), None);
    }
}
