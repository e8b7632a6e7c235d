//! What is kept from run to run: in the keyring of the desktop, where pyftpsync keeps it too, else in a file that the user alone
//! can read.
//!
//! A password has one place. It is looked for in the file first, since that costs nothing and waits for nobody, and it is replaced
//! where it is; a new one goes to the keyring, and to the file where there is no keyring that takes it.

mod file;
mod secret_tool;

use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::secret_tool::{Failure, Keyring};
use super::place::{Kept, Place, SERVICE};
use super::{Account, Asked};
use crate::job::{ANONYMOUS, FTP_PORT, FTPS_PORT, SSH_PORT};
use crate::path::Escaped;

/// A locked keyring waits so long for an answer to a dialogue that perhaps nobody sees.
const PATIENCE_WITH_NOBODY: Duration = Duration::from_secs(10);

/// Where somebody sits at the terminal: to read the dialogue, and to type the keyring's password.
const PATIENCE_WITH_SOMEBODY: Duration = Duration::from_secs(60);

/// What is kept for a server, and for that user where one is asked for. What cannot be asked keeps nothing, with a warning.
pub(super) fn find(asked: &Asked<'_>, warn: &mut dyn FnMut(&str)) -> Option<Kept> {
    if asked.user == Some(ANONYMOUS) {
        return None;
    }
    if let Some(path) = file::path(variable) {
        match file::find(&path, asked) {
            Ok(None) => {}
            Ok(Some((user, password))) => {
                let place = Place::File(path);
                return Some(Kept {
                    user,
                    password,
                    place,
                });
            }
            Err(reason) => warn(&format!("{} is not used: {reason}", shown(&path))),
        }
    }
    let (keyring, name) = (Keyring::of_process(patience())?, name_of(asked)?);
    match keyring.look_up(&name) {
        Ok(found) => {
            let (user, password) = found?;
            let place = Place::Keyring(name);
            // An entry is of one account, and of no other.
            asked
                .user
                .is_none_or(|asked| asked == user)
                .then_some(Kept {
                    user,
                    password,
                    place,
                })
        }
        Err(Failure::Absent) => None,
        Err(Failure::Broken(reason)) => {
            warn(&format!("the keyring is not used: {reason}"));
            None
        }
    }
}

/// Keeps a password that a server took. Says where; and why not in the keyring, where there is one that should have it.
pub(super) fn keep(
    host: &str,
    port: u16,
    account: &Account,
) -> Result<(Place, Option<String>), String> {
    let asked = Asked {
        host,
        port,
        user: Some(&account.user),
    };
    let path = file::path(variable);
    let is_in_file = path
        .as_deref()
        .is_some_and(|path| file::find(path, &asked).is_ok_and(|found| found.is_some()));
    let mut complaint = None;
    if !is_in_file
        && let Some(keyring) = Keyring::of_process(patience())
        && let Some(name) = name_of(&asked)
    {
        match keep_in(&keyring, &name, account)? {
            Ok(()) => return Ok((Place::Keyring(name), None)),
            Err(Failure::Absent) => {}
            Err(Failure::Broken(reason)) => complaint = Some(reason),
        }
    }
    let path = path.ok_or("there is no home directory for it")?;
    file::store(&path, &asked, &account.password)
        .map_err(|reason| format!("{}: {reason}", shown(&path)))?;
    Ok((Place::File(path), complaint))
}

/// Puts a password into the keyring, which holds one for each server; that of another user there stays. What cannot be kept at all
/// is told apart from a keyring that fails.
fn keep_in(
    keyring: &Keyring,
    name: &str,
    account: &Account,
) -> Result<Result<(), Failure>, String> {
    if account.user.contains(':') {
        return Err("the keyring cannot hold a user name with a colon in it".to_owned());
    }
    match keyring.look_up(name) {
        Ok(Some((user, _))) if user != account.user => Err(format!(
            "the keyring holds one password for each server, and has that of {} there; `secret-tool clear service {} username {name}` \
             takes it out, --password-file and ~/.netrc hold more than one",
            Escaped(user.as_bytes()),
            SERVICE,
        )),
        Ok(Some((_, password))) if password == account.password => Ok(Ok(())),
        Ok(_) => Ok(keyring.store(name, &account.user, &account.password)),
        Err(failure) => Ok(Err(failure)),
    }
}

/// What pyftpsync calls a server: its host, whatever the port. A password is for the service that it was stored for, so here the
/// bare host means the usual ports, and another port belongs to the name. None for what is no name.
fn name_of(asked: &Asked<'_>) -> Option<String> {
    let Asked { host, port, .. } = asked;
    if host.is_empty() || host.starts_with('-') {
        return None;
    }
    Some(match *port {
        FTP_PORT | FTPS_PORT | SSH_PORT => (*host).to_owned(),
        port if host.contains(':') => format!("[{host}]:{port}"),
        port => format!("{host}:{port}"),
    })
}

fn patience() -> Duration {
    if io::stdin().is_terminal() {
        PATIENCE_WITH_SOMEBODY
    } else {
        PATIENCE_WITH_NOBODY
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_ports_share_pyftpsyncs_name_and_others_have_their_own() {
        let name = |host, port| {
            name_of(&Asked {
                host,
                port,
                user: None,
            })
        };
        for port in [21, 22, 990] {
            assert_eq!(name("nas", port), Some("nas".to_owned()));
            assert_eq!(name("fe80::1", port), Some("fe80::1".to_owned()));
        }
        assert_eq!(name("nas", 2121), Some("nas:2121".to_owned()));
        assert_eq!(name("fe80::1", 2121), Some("[fe80::1]:2121".to_owned()));
        assert_eq!(name("--help", 21), None);
    }

    #[test]
    fn an_anonymous_user_asks_nobody() {
        let asked = Asked {
            host: "nas",
            port: 21,
            user: Some(ANONYMOUS),
        };
        assert_eq!(find(&asked, &mut |text| panic!("{text}")), None);
    }
}
