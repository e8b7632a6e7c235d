//! Where a target is, as people write it: a path, or `ftp://user:password@host:port/path`, with `ftps` or `sftp` as well. Pure.
//!
//! No message from here shows a password, nor a part of the text that may turn out to be one.

use core::net::Ipv6Addr;
use std::ffi::{OsStr, OsString};
use std::fmt;

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::error::{ErrorKind, Result};
use crate::job::{Secret, ServerPath};
use crate::path::{Escaped, Name, RelPath};

/// A target as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A directory on this machine.
    Path(PathBuf),
    /// A directory on a server.
    Server(ServerUrl),
}

/// What a URL says; what it leaves open is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// What the server speaks.
    pub scheme: Scheme,
    /// Host name in lower case or address, without brackets.
    pub host: String,
    /// Port, with FTP of the control connection.
    pub port: Option<u16>,
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// The root on the server.
    pub path: ServerPath,
}

/// What a URL begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `ftp://`
    Ftp,
    /// `ftps://`
    Ftps,
    /// `sftp://`
    Sftp,
}

impl Scheme {
    /// What a URL begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Ftp => "ftp://",
            Self::Ftps => "ftps://",
            Self::Sftp => "sftp://",
        }
    }
}

impl Address {
    /// Reads a path or a URL. What has no scheme is a path.
    pub fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(usage("a target is empty; is a shell variable unset?"));
        }
        let Some((scheme, rest)) = split_scheme(bytes) else {
            return Ok(Self::Path(PathBuf::from(text)));
        };
        let Some(rest) = rest.strip_prefix(b"//") else {
            return match scheme.as_str() {
                "ftp" | "ftps" | "sftp" => Err(usage(format!(
                    "a URL starts with '{scheme}://', with two slashes; a path of that name is written './{scheme}:…'"
                ))),
                _ => Ok(Self::Path(PathBuf::from(text))),
            };
        };
        match scheme.as_str() {
            "ftp" => ServerUrl::parse_after_scheme(Scheme::Ftp, rest).map(Self::Server),
            "ftps" => ServerUrl::parse_after_scheme(Scheme::Ftps, rest).map(Self::Server),
            "sftp" => ServerUrl::parse_after_scheme(Scheme::Sftp, rest).map(Self::Server),
            _ => Err(usage(format!(
                "{scheme}:// is not a kind of target; use ftp://, ftps://, sftp:// or a path"
            ))),
        }
    }
}

impl ServerUrl {
    fn parse_after_scheme(scheme: Scheme, rest: &[u8]) -> Result<Self> {
        let (authority, path) = match rest.iter().position(|byte| *byte == b'/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, &b""[..]),
        };
        // The last '@': people do not always encode the one in their password.
        let (login, place) = match authority.iter().rposition(|byte| *byte == b'@') {
            Some(at) => (&authority[..at], &authority[at + 1..]),
            None => (&b""[..], authority),
        };
        let (user, password) = match login.iter().position(|byte| *byte == b':') {
            Some(colon) => (&login[..colon], Some(&login[colon + 1..])),
            None => (login, None),
        };
        let user = Some(login_text("user name", user)?).filter(|user| !user.is_empty());
        let password = password
            .map(|password| login_text("password", password).map(Secret::new))
            .transpose()?;
        if user.is_none()
            && password
                .as_ref()
                .is_some_and(|secret| !secret.reveal().is_empty())
        {
            return Err(usage("the URL has a password but no user name"));
        }
        let (host, port) = host_and_port(place)?;
        Ok(Self {
            scheme,
            host,
            port,
            user,
            password,
            path: server_path(path)?,
        })
    }
}

/// The same text with each byte of its password overwritten; none where it holds no password.
pub fn without_password(text: &OsStr) -> Option<OsString> {
    let mut bytes = text.as_bytes().to_vec();
    let begin = bytes.windows(3).position(|three| three == b"://")? + 3;
    let authority = bytes[begin..].split(|byte| *byte == b'/').next()?;
    let login = &authority[..authority.iter().rposition(|byte| *byte == b'@')?];
    let colon = login.iter().position(|byte| *byte == b':')?;
    let password = begin + colon + 1..begin + login.len();
    if password.is_empty() {
        return None;
    }
    bytes[password].fill(b'*');
    Some(OsString::from_vec(bytes))
}

/// The scheme in lower case and what follows its colon.
fn split_scheme(text: &[u8]) -> Option<(String, &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = (&text[..colon], &text[colon + 1..]);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(byte));
    let lower = String::from_utf8(scheme.to_ascii_lowercase()).ok()?;
    is_scheme.then_some((lower, rest))
}

fn login_text(what: &str, encoded: &[u8]) -> Result<String> {
    let text = String::from_utf8(percent_decode(encoded))
        .map_err(|_| usage(format!("the {what} in the URL is not UTF-8")))?;
    if text.contains(['\r', '\n', '\0']) {
        return Err(usage(format!(
            "the {what} in the URL holds a line break or a NUL byte"
        )));
    }
    Ok(text)
}

fn host_and_port(place: &[u8]) -> Result<(String, Option<u16>)> {
    let (host, port) = match place.strip_prefix(b"[") {
        Some(bracketed) => {
            let end = bracketed
                .iter()
                .position(|byte| *byte == b']')
                .ok_or_else(|| usage("the IPv6 address in the URL lacks its closing bracket"))?;
            (ipv6_host(&bracketed[..end])?, &bracketed[end + 1..])
        }
        None if place.iter().filter(|byte| **byte == b':').count() > 1 => {
            return Err(usage(format!(
                "the host in the URL has several colons; an IPv6 address goes in brackets, and {ENCODE_IN_LOGIN}"
            )));
        }
        None => {
            let end = place
                .iter()
                .position(|byte| *byte == b':')
                .unwrap_or(place.len());
            (host_name(&place[..end])?, &place[end..])
        }
    };
    let port = match port {
        b"" | b":" => None,
        [b':', digits @ ..] => Some(port_number(digits)?),
        _ => return Err(usage("after the IPv6 address comes ':PORT' or '/PATH'")),
    };
    Ok((host, port))
}

fn ipv6_host(address: &[u8]) -> Result<String> {
    let bad = || usage("what stands in brackets in the URL is no IPv6 address");
    let text = std::str::from_utf8(address).map_err(|_| bad())?;
    // A zone names an interface: fe80::1%eth0, encoded as %25eth0 (RFC 6874).
    let (number, zone) = match text.split_once('%') {
        Some((number, zone)) => (number, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (text, None),
    };
    number.parse::<Ipv6Addr>().map_err(|_| bad())?;
    Ok(match zone {
        Some(zone) if zone.bytes().all(|byte| byte.is_ascii_graphic()) => {
            format!("{number}%{zone}")
        }
        Some(_) => return Err(bad()),
        None => number.to_owned(),
    })
}

fn host_name(host: &[u8]) -> Result<String> {
    if host.is_empty() {
        return Err(usage(
            "the URL names no host; it is written ftp://HOST/PATH",
        ));
    }
    let is_name = host
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte) || !byte.is_ascii());
    match std::str::from_utf8(host) {
        Ok(host) if is_name => Ok(host.to_ascii_lowercase()),
        _ => Err(usage(format!(
            "the host in the URL holds what no host name has; {ENCODE_IN_LOGIN}"
        ))),
    }
}

fn port_number(digits: &[u8]) -> Result<u16> {
    std::str::from_utf8(digits)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| {
            usage(format!(
                "the port in the URL is no number from 1 to 65535; {ENCODE_IN_LOGIN}"
            ))
        })
}

/// A slash in a password ends the authority too early; the message must help without showing what it found.
const ENCODE_IN_LOGIN: &str = "in a user name or password '/' is written %2F and '@' %40";

fn server_path(path: &[u8]) -> Result<ServerPath> {
    let mut names = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .peekable();
    let from_login = names.next_if(|first| *first == b"~").is_some();
    let mut root = RelPath::root();
    for encoded in names {
        // Decoded name by name, so that an encoded slash stays within its name, and is refused there.
        let decoded = percent_decode(encoded);
        let name = Name::new(&decoded).map_err(|reason| {
            usage(format!(
                "the path in the URL holds '{}', which cannot be used: {reason}",
                Escaped(&decoded)
            ))
        })?;
        root = root.join(name);
    }
    Ok(if from_login {
        ServerPath::FromLogin(root)
    } else {
        ServerPath::Absolute(root)
    })
}

/// Decodes `%41`; a `%` without two hexadecimal digits stands for itself, as in pyftpsync.
fn percent_decode(encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [first, tail @ ..] = rest {
        let pair = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match pair {
            Some((high, low)) => {
                decoded.push(high * 16 + low);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn usage(text: impl fmt::Display) -> crate::error::Error {
    ErrorKind::Usage(text.to_string()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ftp(text: &str) -> ServerUrl {
        match Address::parse(OsStr::new(text)) {
            Ok(Address::Server(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> String {
        Address::parse(OsStr::new(text)).unwrap_err().to_string()
    }

    fn absolute(path: &[u8]) -> ServerPath {
        ServerPath::Absolute(RelPath::parse(path).unwrap())
    }

    #[test]
    fn reads_every_part_of_a_url() {
        let url = ftp("ftp://me:s%65cret@Example.com:2121/a%20b/c");
        assert_eq!(url.host, "example.com");
        assert_eq!(url.port, Some(2121));
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password, Some(Secret::new("secret".into())));
        assert_eq!(url.path, absolute(b"a b/c"));
    }

    #[test]
    fn what_a_url_leaves_open_is_none() {
        let url = ftp("FTP://host");
        assert_eq!((url.user, url.password), (None, None));
        assert_eq!((url.port, url.path), (None, absolute(b"")));
        assert_eq!(ftp("ftp://me@host/").password, None);
        assert_eq!(ftp("ftp://me:@host/").password, Some(Secret::default()));
    }

    #[test]
    fn login_may_hold_what_urls_reserve() {
        let url = ftp("ftp://me%40home:p@ss:w%2Ford%@host/");
        assert_eq!(url.user.as_deref(), Some("me@home"));
        assert_eq!(url.password, Some(Secret::new("p@ss:w/ord%".into())));
    }

    #[test]
    fn tilde_is_the_login_directory() {
        let login = |path| ServerPath::FromLogin(RelPath::parse(path).unwrap());
        assert_eq!(ftp("ftp://h/~").path, login(b""));
        assert_eq!(ftp("ftp://h/~/www/x").path, login(b"www/x"));
        assert_eq!(ftp("ftp://h/%7E/www").path, absolute(b"~/www"));
        assert_eq!(ftp("ftp://h/~me").path, absolute(b"~me"));
    }

    #[test]
    fn paths_are_bytes() {
        assert_eq!(ftp("ftp://h/caf%E9//./x%").path, absolute(b"caf\xe9/x%"));
        let raw = OsStr::from_bytes(b"ftp://h/caf\xe9");
        assert!(
            matches!(Address::parse(raw), Ok(Address::Server(url)) if url.path == absolute(b"caf\xe9"))
        );
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(ftp("ftp://[::1]/").host, "::1");
        assert_eq!(ftp("ftp://[::1]:2121/").port, Some(2121));
        assert_eq!(ftp("ftp://[fe80::1%25eth0]").host, "fe80::1%eth0");
        assert!(refusal("ftp://::1/").contains("brackets"));
        assert!(refusal("ftp://[::1").contains("bracket"));
        assert!(refusal("ftp://[example.com]/").contains("IPv6"));
        assert!(refusal("ftp://[::1]21/").contains(":PORT"));
    }

    #[test]
    fn paths_that_leave_their_directory_are_refused() {
        for bad in [
            "ftp://h/../etc",
            "ftp://h/a%2Fb",
            "ftp://h/a%0d%0aDELE%20b",
            "ftp://h/a%00",
        ] {
            assert!(refusal(bad).contains("cannot be used"), "{bad}");
        }
    }

    #[test]
    fn bad_hosts_and_ports_are_refused() {
        assert!(refusal("ftp:///path").contains("no host"));
        assert!(refusal("ftp://me@/path").contains("no host"));
        assert!(refusal("ftp://ho st/").contains("host"));
        for port in ["0", "65536", "x", "-1", "+21"] {
            assert!(
                refusal(&format!("ftp://h:{port}/")).contains("port"),
                "{port}"
            );
        }
        assert_eq!(ftp("ftp://h:/").port, None);
        assert!(refusal("ftp://me%0dx:y@h/").contains("line break"));
        assert!(refusal("ftp://:secret@h/").contains("no user"));
    }

    #[test]
    fn no_message_shows_a_password() {
        for bad in [
            "ftp://me:hunter2/x@host/",
            "ftp://me:hunter2@ho st/",
            "ftp://me:hunter2@host:x/",
            "ftp://me:hunter2@host/../",
            "ftps://me:hunter2@ho st/",
            "gopher://me:hunter2@host/",
            "ftp:/me:hunter2@host/",
        ] {
            assert!(!refusal(bad).contains("hunter2"), "{bad}: {}", refusal(bad));
        }
        assert!(!format!("{:?}", ftp("ftp://me:hunter2@host/")).contains("hunter2"));
    }

    #[test]
    fn a_password_can_be_overwritten_in_its_place() {
        let hidden = |text: &str| without_password(OsStr::new(text));
        for (text, shown) in [
            ("ftp://me:hunter2@nas/x", "ftp://me:*******@nas/x"),
            ("SFTP://me:a:b@c@nas:22", "SFTP://me:*****@nas:22"),
            ("ftps://me:%C3%BC@[::1]/a@b", "ftps://me:******@[::1]/a@b"),
        ] {
            assert_eq!(hidden(text).as_deref(), Some(OsStr::new(shown)));
        }
        for text in [
            "ftp://me@nas/x",
            "ftp://me:@nas/x",
            "ftp://nas:21/x:y@z",
            "a:b@c",
            "",
        ] {
            assert_eq!(hidden(text), None, "{text}");
        }
    }

    #[test]
    fn other_schemes_are_named() {
        assert_eq!(ftp("SFTP://me@h:2222/~/x").scheme, Scheme::Sftp);
        assert!(refusal("http://h/").contains("http:// is not a kind of target"));
        assert!(refusal("ftp:/h/").contains("two slashes"));
    }

    #[test]
    fn anything_else_is_a_path() {
        for path in ["a", "/a", "./ftp:x", "C:x", "a:b", "1:2//"] {
            assert_eq!(
                Address::parse(OsStr::new(path)).unwrap(),
                Address::Path(PathBuf::from(path))
            );
        }
        assert!(refusal("").contains("empty"));
    }
}
