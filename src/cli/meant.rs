//! What was typed without its scheme: `ftp.example.org/www`, `me@nas:/photos`, as browsers, scp and rsync take it. Pure, but for
//! the look whether something of that name is there.
//!
//! Such a target is a path like any other, and only whether it is there tells what was meant. Where it is not, a new directory
//! of that name would be made here, and nothing would ever reach the server.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::job::{FTPS_PORT, SSH_PORT};
use crate::path::Escaped;

/// A path of which nothing is there, and which looks like an address, would become a directory on the wrong machine. `base` is
/// the directory where it begins.
pub fn refuse_lost_scheme(path: &Path, base: &Path) -> Result<()> {
    let is_begun = match path.components().next() {
        Some(first) => base.join(first).symlink_metadata().is_ok(),
        None => false,
    };
    match url_for(path) {
        Some(url) if !is_begun => Err(ErrorKind::Usage(format!(
            "no directory of that name is here, and it looks like an address: write {url} (or ftps://, sftp://) as REMOTE; \
             a new directory of that name is written ./NAME"
        ))
        .into()),
        Some(_) | None => Ok(()),
    }
}

/// The URL that a path seems to be meant for, without a password; none where it looks like a path.
pub fn url_for(path: &Path) -> Option<String> {
    let text = path.as_os_str().as_bytes();
    let end = position(text, b'/').unwrap_or(text.len());
    let (first, rest) = text.split_at(end);
    let (login, place) = match first.iter().rposition(|byte| *byte == b'@') {
        Some(at) => (Some(&first[..at]), &first[at + 1..]),
        None => (None, first),
    };
    let (host, tail) = host_and_tail(place)?;
    let looks_so = match (login, tail) {
        (Some(user), _) => !user.is_empty() && is_host(host),
        // One letter and a colon is a disk of Windows, and digits around a colon are a time.
        (None, Some(tail)) => {
            is_host(host) && host.len() > 1 && !is_number(host) && position(tail, b':').is_none()
        }
        (None, None) => is_address(host) || is_known_domain(host, rest),
    };
    if !looks_so {
        return None;
    }
    if login.is_none() && position(rest, b'@').is_some() {
        // A password with a slash in it: what seems to be the host is the user.
        return Some("ftp://USER@HOST/PATH".to_owned());
    }
    let user = login.map_or(String::new(), |login| {
        let user = &login[..position(login, b':').unwrap_or(login.len())];
        format!("{}@", Escaped(user))
    });
    let host = std::str::from_utf8(host).ok()?;
    let port = tail.and_then(port_number);
    let path = match (tail, port) {
        // As scp has it: what follows the colon is below the login directory.
        (Some(tail), None) if !tail.is_empty() => {
            let below = tail.strip_prefix(b"~").unwrap_or(tail);
            format!("/~/{}{}", Escaped(below), Escaped(rest)).replace("/~//", "/~/")
        }
        (Some(_) | None, _) if rest.is_empty() => "/".to_owned(),
        (Some(_) | None, _) => Escaped(rest).to_string(),
    };
    let scheme = match port {
        Some(FTPS_PORT) => "ftps",
        Some(SSH_PORT) => "sftp",
        Some(_) | None if host.starts_with("ftps.") => "ftps",
        Some(_) | None if host.starts_with("sftp.") => "sftp",
        Some(_) | None => "ftp",
    };
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{scheme}://{user}{host}{port}{path}"))
}

/// The host and what follows the colon behind it.
fn host_and_tail(place: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = match position(place, b']') {
        Some(bracket) if place.starts_with(b"[") => bracket + 1,
        Some(_) | None => position(place, b':').unwrap_or(place.len()),
    };
    match &place[end..] {
        [] => Some((&place[..end], None)),
        [b':', tail @ ..] => Some((&place[..end], Some(tail))),
        _ => None,
    }
}

/// Whether it could be a host at all.
fn is_host(host: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        let mut bytes = label.iter();
        !label.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    };
    is_address(host) || host.split(|byte| *byte == b'.').all(is_label)
}

fn is_address(host: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(host) else {
        return false;
    };
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    text.parse::<Ipv4Addr>().is_ok()
        || bracketed.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Whether it is a name that people know as a host's. With one dot and nothing behind it, it may as well be `photos.old`.
fn is_known_domain(host: &[u8], rest: &[u8]) -> bool {
    let labels: Vec<&[u8]> = host.split(|byte| *byte == b'.').collect();
    let (Some(first), Some(last)) = (labels.first(), labels.last()) else {
        return false;
    };
    let is_long =
        labels.len() > 2 || !rest.is_empty() || [&b"ftp"[..], b"ftps", b"sftp"].contains(first);
    let is_top = last.len() > 1 && last.iter().all(u8::is_ascii_alphabetic);
    host == b"localhost" || (labels.len() > 1 && is_long && is_top && is_host(host))
}

fn port_number(tail: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(tail).ok()?;
    text.parse().ok().filter(|port| *port != 0)
}

fn is_number(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

fn position(text: &[u8], wanted: u8) -> Option<usize> {
    text.iter().position(|byte| *byte == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(text: &str) -> Option<String> {
        url_for(Path::new(text))
    }

    #[test]
    fn an_address_without_its_scheme_is_known() {
        for (typed, url) in [
            ("ftp.example.org/www", "ftp://ftp.example.org/www"),
            ("ftp.example.org", "ftp://ftp.example.org/"),
            ("fritz.box/usb/photos", "ftp://fritz.box/usb/photos"),
            ("127.0.0.1:2121/www", "ftp://127.0.0.1:2121/www"),
            ("192.168.1.1", "ftp://192.168.1.1/"),
            ("[::1]:2121/www", "ftp://[::1]:2121/www"),
            ("localhost", "ftp://localhost/"),
            ("nas:/volume1/photos", "ftp://nas/volume1/photos"),
            ("nas:photos/2024", "ftp://nas/~/photos/2024"),
            ("nas:~/photos", "ftp://nas/~/photos"),
            ("nas:", "ftp://nas/"),
            ("nas:2121/www", "ftp://nas:2121/www"),
            ("me@nas", "ftp://me@nas/"),
            ("me@nas/www", "ftp://me@nas/www"),
            ("me@nas:www", "ftp://me@nas/~/www"),
            ("me@nas:/www", "ftp://me@nas/www"),
            ("me@example.org@nas/www", "ftp://me@example.org@nas/www"),
            ("nas:22/www", "sftp://nas:22/www"),
            ("nas:990/www", "ftps://nas:990/www"),
            ("sftp.example.org/www", "sftp://sftp.example.org/www"),
        ] {
            assert_eq!(meant(typed).as_deref(), Some(url), "{typed}");
        }
    }

    #[test]
    fn an_ordinary_path_stays_one() {
        for path in [
            "backup",
            "backup/www",
            "backup/ftp.example.org/www",
            "./ftp.example.org/www",
            "../nas:/www",
            "/srv/ftp.example.org",
            "~/www",
            ".config/www",
            "photos.old",
            "v1.2/www",
            "release-1.2.3",
            "12:30/www",
            "2024-01-01T10:00:00",
            "C:",
            "C:/photos",
            r"C:\photos",
            r"\\nas\photos",
            "@eaDir/www",
            "me@",
            "we & you@home and away/x",
            "[old]/www",
        ] {
            assert_eq!(meant(path), None, "{path}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        for typed in [
            "me:hunter2@nas/www",
            "me:hunter2@nas:/www",
            "me:hun/ter2@nas/www",
            "me:hunter2/@nas/www",
        ] {
            let url = meant(typed).unwrap();
            assert!(!url.contains("hun"), "{typed}: {url}");
        }
    }
}
