//! The name under which a local directory remembers the other side.

use std::path::{Component, Path, PathBuf};

use crate::job::{
    FTP_PORT, FTPS_PORT, FtpLocation, Location, Protection, SSH_PORT, ServerPath, SftpLocation,
};
use crate::sync::json;

/// The other side of a job, as metadata, journal and register name it; holds no password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerKey {
    own: String,
    legacy: Option<Vec<u8>>,
}

impl PeerKey {
    /// The key of that location: `ftp://user@host:port/path`, with or without TLS, `ftp://user@host:port/~/path` from the login directory,
    /// `file:///path` for a directory on this machine.
    pub fn of(location: &Location) -> Self {
        let own = match location {
            Location::Path(path) => own_of_path(path),
            Location::Ftp(ftp) => own_of_ftp(ftp),
            Location::Sftp(sftp) => own_of_sftp(sftp),
        };
        let legacy = legacy_of(own.as_bytes());
        Self { own, legacy }
    }

    /// The same peer, unknown to pyftpsync: for metadata kept where pyftpsync never looks.
    #[must_use]
    pub fn without_legacy(self) -> Self {
        Self {
            legacy: None,
            ..self
        }
    }

    /// coracle's name for the peer; text that may be shown.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// pyftpsync's name for the peer: host and path, or the path alone for a directory on this machine. None where
    /// pyftpsync cannot reach the peer: it does not know login directories.
    pub fn legacy(&self) -> Option<&[u8]> {
        self.legacy.as_deref()
    }
}

fn own_of_ftp(ftp: &FtpLocation) -> String {
    let mut own = b"ftp://".to_vec();
    push_account(&mut own, &ftp.user, &ftp.host);
    // With and without TLS it is one account, so both of its usual ports are one peer.
    let port = match (&ftp.protection, ftp.port) {
        (Protection::Implicit(_), FTPS_PORT) => FTP_PORT,
        (Protection::Clear | Protection::Explicit(_) | Protection::Implicit(_), port) => port,
    };
    json::push(&mut own, format_args!(":{port}/"));
    push_path(&mut own, &ftp.path);
    into_text(own)
}

/// A user or port that the URL leaves to the SSH program's settings is left out here as well.
fn own_of_sftp(sftp: &SftpLocation) -> String {
    let mut own = b"sftp://".to_vec();
    push_account(
        &mut own,
        sftp.user.as_deref().unwrap_or_default(),
        &sftp.host,
    );
    let port = sftp.port.unwrap_or(SSH_PORT);
    json::push(&mut own, format_args!(":{port}/"));
    push_path(&mut own, &sftp.path);
    into_text(own)
}

fn push_account(own: &mut Vec<u8>, user: &str, host: &str) {
    escape(user.as_bytes(), b"@:/", own);
    own.push(b'@');
    let host = host.to_ascii_lowercase();
    if host.contains(':') {
        json::push(own, format_args!("[{host}]"));
    } else {
        own.extend_from_slice(host.as_bytes());
    }
}

fn push_path(own: &mut Vec<u8>, path: &ServerPath) {
    match path {
        // A directory that is named "~" must not look like the login directory.
        ServerPath::Absolute(path) if path.as_bytes().starts_with(b"~") => {
            own.extend_from_slice(b"%7E");
            escape(&path.as_bytes()[1..], b"", own);
        }
        ServerPath::Absolute(path) => escape(path.as_bytes(), b"", own),
        ServerPath::FromLogin(path) if path.is_root() => own.push(b'~'),
        ServerPath::FromLogin(path) => {
            own.extend_from_slice(b"~/");
            escape(path.as_bytes(), b"", own);
        }
    }
}

fn own_of_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    // Fails only for an empty path or a working directory that is gone.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // By the text alone, as Python's abspath.
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component);
            }
        }
    }
    let mut own = b"file://".to_vec();
    escape(plain.as_os_str().as_bytes(), b"", &mut own);
    into_text(own)
}

fn into_text(own: Vec<u8>) -> String {
    String::from_utf8(own).expect("whatever is not UTF-8 was escaped")
}

/// Percent-escapes what is not UTF-8, control characters, `%` and the bytes in `also`.
fn escape(bytes: &[u8], also: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let encoded = c.encode_utf8(&mut buffer).as_bytes();
            if c.is_control() || c == '%' || also.contains(&encoded[0]) {
                percent(encoded, out);
            } else {
                out.extend_from_slice(encoded);
            }
        }
        percent(chunk.invalid(), out);
    }
}

fn percent(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        json::push(out, format_args!("%{byte:02X}"));
    }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                let value = hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0);
                bytes.push(value as u8);
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

/// What pyftpsync calls the peer that coracle calls `own`; none where pyftpsync cannot reach it, or when `own` is not
/// a key of coracle's.
pub(crate) fn legacy_of(own: &[u8]) -> Option<Vec<u8>> {
    if let Some(path) = own.strip_prefix(b"file://") {
        return path.starts_with(b"/").then(|| unescape(path));
    }
    let scheme_end = own.windows(3).position(|three| three == b"://")?;
    let rest = &own[scheme_end + 3..];
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let (authority, path) = rest.split_at(slash);
    let at = authority.iter().position(|byte| *byte == b'@')?;
    let colon = authority.iter().rposition(|byte| *byte == b':')?;
    let host = authority.get(at + 1..colon)?;
    let host = match host {
        [b'[', inner @ .., b']'] => inner,
        _ => host,
    };
    if path == b"/~" || path.starts_with(b"/~/") {
        return None;
    }
    Some([host, &unescape(path)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Secret, TlsSettings};
    use crate::path::RelPath;

    fn ftp(user: &str, host: &str, port: u16, path: ServerPath) -> PeerKey {
        PeerKey::of(&Location::Ftp(FtpLocation {
            host: host.into(),
            port,
            protection: Protection::Clear,
            user: user.into(),
            password: Secret::new("hidden".into()),
            path,
        }))
    }

    fn absolute(path: &[u8]) -> ServerPath {
        ServerPath::Absolute(RelPath::parse(path).unwrap())
    }

    fn legacy(key: &PeerKey) -> Option<&str> {
        key.legacy().map(|legacy| str::from_utf8(legacy).unwrap())
    }

    #[test]
    fn names_account_and_path_without_password() {
        let key = ftp("bob", "NAS.lan", 2121, absolute("/a b/é".as_bytes()));
        assert_eq!(key.own(), "ftp://bob@nas.lan:2121/a b/é");
        assert_eq!(legacy(&key), Some("nas.lan/a b/é"));
        assert!(!format!("{key:?}").contains("hidden"));
    }

    #[test]
    fn an_account_is_one_peer_with_and_without_tls() {
        let key = |port, protection| {
            PeerKey::of(&Location::Ftp(FtpLocation {
                host: "nas".into(),
                port,
                protection,
                user: "bob".into(),
                password: Secret::default(),
                path: absolute(b"x"),
            }))
        };
        let clear = key(21, Protection::Clear);
        assert_eq!(clear.own(), "ftp://bob@nas:21/x");
        assert_eq!(key(21, Protection::Explicit(TlsSettings::default())), clear);
        assert_eq!(
            key(990, Protection::Implicit(TlsSettings::default())),
            clear
        );
    }

    #[test]
    fn a_root_keeps_its_slash() {
        let key = ftp("anonymous", "::1", 21, absolute(b""));
        assert_eq!(key.own(), "ftp://anonymous@[::1]:21/");
        assert_eq!(legacy(&key), Some("::1/"));
    }

    #[test]
    fn a_login_directory_is_no_directory_named_tilde() {
        let login = ftp(
            "bob",
            "nas",
            21,
            ServerPath::FromLogin(RelPath::parse(b"x").unwrap()),
        );
        assert_eq!(login.own(), "ftp://bob@nas:21/~/x");
        assert_eq!(legacy(&login), None);
        let named = ftp("bob", "nas", 21, absolute(b"~/x"));
        assert_eq!(named.own(), "ftp://bob@nas:21/%7E/x");
        assert_eq!(legacy(&named), Some("nas/~/x"));
    }

    #[test]
    fn odd_bytes_are_escaped_and_come_back_in_the_legacy_key() {
        let key = ftp("b@b:/", "nas", 21, absolute(b"caf\xe9/50%"));
        assert_eq!(key.own(), "ftp://b%40b%3A%2F@nas:21/caf%E9/50%25");
        assert_eq!(key.legacy(), Some(&b"nas/caf\xe9/50%"[..]));
    }

    #[test]
    fn a_local_peer_is_known_by_its_absolute_path() {
        let key = PeerKey::of(&Location::Path("/mnt/usb/../disk/./x/".into()));
        assert_eq!(key.own(), "file:///mnt/disk/x");
        assert_eq!(legacy(&key), Some("/mnt/disk/x"));
        assert_eq!(legacy(&PeerKey::of(&Location::Path("/".into()))), Some("/"));
    }

    #[test]
    fn a_foreign_key_has_no_legacy_name() {
        for key in [
            "nas/x",
            "/mnt/x",
            "",
            "ftp://",
            "ftp://nas/x",
            "file://x",
            "://@:",
            "ftp://@:/",
        ] {
            let expected = (key == "ftp://@:/").then(|| b"/".to_vec());
            assert_eq!(legacy_of(key.as_bytes()), expected, "{key}");
        }
    }
}
