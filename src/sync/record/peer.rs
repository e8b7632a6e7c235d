//! The name under which a local directory remembers the other side.

use std::path::{Component, Path, PathBuf};

use crate::job::{
    FTP_PORT, FTPS_PORT, FtpLocation, Protection, SSH_PORT, ServerPath, SftpLocation,
};
use crate::path::{Fnv64, RelPath};
use crate::sync::record::json;

/// The other side of a job, as archive, journal and register name it; holds no password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerKey {
    name: String,
    /// The same without the identity of a file system.
    place: String,
    legacy: Option<Vec<u8>>,
}

impl PeerKey {
    /// A directory on this machine: `file:///path`, or `file://IDENTITY/path` where its file system has an identity that
    /// stays (0 where it has none). So each of two disks that are used in turns is a peer of its own.
    pub fn of_path(path: &Path, fsid: u64) -> Self {
        let path = absolute(path);
        let place = format!("file://{path}");
        let name = match fsid {
            0 => place.clone(),
            fsid => format!("file://{fsid:016x}{path}"),
        };
        Self {
            name,
            legacy: Some(unescape(path.as_bytes())),
            place,
        }
    }

    /// A directory on a server: `ftp://user@host:port/path`, with or without TLS, and `ftp://user@host:port/~/path` from
    /// the login directory for as long as nobody has asked where that is.
    pub fn of_ftp(ftp: &FtpLocation) -> Self {
        let mut name = account_of(ftp);
        write_path(&ftp.path, &mut name);
        Self::named(into_text(name))
    }

    /// A directory that SSH reaches: `sftp://user@host:port/path`, or from the login directory as with FTP. A user or port that the URL leaves to the SSH program's
    /// settings is left out here as well.
    pub fn of_sftp(sftp: &SftpLocation) -> Self {
        let mut name = b"sftp://".to_vec();
        let user = sftp.user.as_deref().unwrap_or_default();
        write_account(user, &sftp.host, &mut name);
        json::push(
            &mut name,
            format_args!(":{}", sftp.port.unwrap_or(SSH_PORT)),
        );
        write_path(&sftp.path, &mut name);
        Self::named(into_text(name))
    }

    /// A replica of another kind, by a name that is its own.
    pub fn named(name: String) -> Self {
        let legacy = legacy_of(name.as_bytes());
        Self {
            place: name.clone(),
            name,
            legacy,
        }
    }

    /// The same peer once it is known that the login directory is this one.
    #[must_use]
    pub fn with_login_dir(&self, dir: &RelPath) -> Self {
        let Some((account, below)) = self.login_parts() else {
            return self.clone();
        };
        let mut name = account.as_bytes().to_vec();
        name.push(b'/');
        write_absolute(dir, &mut name);
        if !below.is_empty() && !dir.is_root() {
            name.push(b'/');
        }
        name.extend_from_slice(below.as_bytes());
        Self {
            name: into_text(name.clone()),
            place: into_text(name),
            // pyftpsync knows no login directories.
            legacy: None,
        }
    }

    /// Whether its path begins at the login directory, and nobody has said yet where that is.
    pub fn is_from_login(&self) -> bool {
        self.login_parts().is_some()
    }

    /// What comes before and behind `/~` in such a name.
    fn login_parts(&self) -> Option<(&str, &str)> {
        let rest = ["ftp://", "sftp://"];
        let rest = rest
            .iter()
            .find_map(|scheme| self.name.strip_prefix(scheme))?;
        let slash = self.name.len() - rest.len() + rest.find('/')?;
        let below = self.name[slash..].strip_prefix("/~")?;
        let is_from_login = below.is_empty() || below.starts_with('/');
        is_from_login.then(|| (&self.name[..slash], below.trim_start_matches('/')))
    }

    /// The name of the peer; text that may be shown.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name without the identity of a file system: what a user means by a path, whatever disk is there. Earlier
    /// versions of this program knew the peer by it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A hash of the name, as names of files have it: 16 digits.
    pub fn hash(&self) -> String {
        let mut hash = Fnv64::new();
        hash.update(self.name.as_bytes());
        format!("{:016x}", hash.finish())
    }

    /// pyftpsync's name for the peer: host and path, or the path alone for a directory on this machine. None where
    /// pyftpsync cannot reach the peer: it does not know login directories.
    pub fn legacy(&self) -> Option<&[u8]> {
        self.legacy.as_deref()
    }
}

fn account_of(ftp: &FtpLocation) -> Vec<u8> {
    let mut name = b"ftp://".to_vec();
    write_account(&ftp.user, &ftp.host, &mut name);
    // With and without TLS it is one account, so both of its usual ports are one peer.
    let port = match (&ftp.protection, ftp.port) {
        (Protection::Implicit(_), FTPS_PORT) => FTP_PORT,
        (Protection::Clear | Protection::Explicit(_) | Protection::Implicit(_), port) => port,
    };
    json::push(&mut name, format_args!(":{port}"));
    name
}

fn write_account(user: &str, host: &str, name: &mut Vec<u8>) {
    escape(user.as_bytes(), b"@:/", name);
    name.push(b'@');
    let host = host.to_ascii_lowercase();
    if host.contains(':') {
        json::push(name, format_args!("[{host}]"));
    } else {
        name.extend_from_slice(host.as_bytes());
    }
}

fn write_path(path: &ServerPath, name: &mut Vec<u8>) {
    name.push(b'/');
    match path {
        ServerPath::Absolute(path) => write_absolute(path, name),
        ServerPath::FromLogin(path) if path.is_root() => name.push(b'~'),
        ServerPath::FromLogin(path) => {
            name.extend_from_slice(b"~/");
            escape(path.as_bytes(), b"", name);
        }
    }
}

/// A directory that is named "~" must not look like the login directory.
fn write_absolute(path: &RelPath, name: &mut Vec<u8>) {
    match path.as_bytes() {
        [b'~', rest @ ..] => {
            name.extend_from_slice(b"%7E");
            escape(rest, b"", name);
        }
        path => escape(path, b"", name),
    }
}

/// The path from the root of this machine, tidied by its text alone, as Python's abspath.
fn absolute(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    // Fails only for an empty path or a working directory that is gone.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component);
            }
        }
    }
    let mut absolute = Vec::new();
    escape(plain.as_os_str().as_bytes(), b"", &mut absolute);
    into_text(absolute)
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

/// What pyftpsync calls the peer of that name; none where pyftpsync cannot reach it.
fn legacy_of(name: &[u8]) -> Option<Vec<u8>> {
    let scheme_end = name.windows(3).position(|three| three == b"://")?;
    let rest = &name[scheme_end + 3..];
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
    use crate::job::{Habits, HostKeys, Secret, TlsSettings};
    use crate::path::RelPath;

    fn ftp(user: &str, host: &str, port: u16, path: ServerPath) -> PeerKey {
        PeerKey::of_ftp(&FtpLocation {
            host: host.into(),
            port,
            protection: Protection::Clear,
            user: user.into(),
            password: Secret::new("hidden".into()),
            habits: Habits::default(),
            path,
        })
    }

    fn at(path: &[u8]) -> ServerPath {
        ServerPath::Absolute(RelPath::parse(path).unwrap())
    }

    fn legacy(key: &PeerKey) -> Option<&str> {
        key.legacy().map(|legacy| str::from_utf8(legacy).unwrap())
    }

    #[test]
    fn names_account_and_path_without_password() {
        let key = ftp("bob", "NAS.lan", 2121, at("/a b/é".as_bytes()));
        assert_eq!(key.name(), "ftp://bob@nas.lan:2121/a b/é");
        assert_eq!(legacy(&key), Some("nas.lan/a b/é"));
        assert!(!format!("{key:?}").contains("hidden"));
    }

    #[test]
    fn an_account_is_one_peer_with_and_without_tls() {
        let key = |port, protection| {
            PeerKey::of_ftp(&FtpLocation {
                host: "nas".into(),
                port,
                protection,
                user: "bob".into(),
                password: Secret::default(),
                habits: Habits::default(),
                path: at(b"x"),
            })
        };
        let clear = key(21, Protection::Clear);
        assert_eq!(clear.name(), "ftp://bob@nas:21/x");
        assert_eq!(key(21, Protection::Explicit(TlsSettings::default())), clear);
        assert_eq!(
            key(990, Protection::Implicit(TlsSettings::default())),
            clear
        );
    }

    #[test]
    fn a_root_keeps_its_slash() {
        let key = ftp("anonymous", "::1", 21, at(b""));
        assert_eq!(key.name(), "ftp://anonymous@[::1]:21/");
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
        assert_eq!(login.name(), "ftp://bob@nas:21/~/x");
        assert_eq!(legacy(&login), None);
        let named = ftp("bob", "nas", 21, at(b"~/x"));
        assert_eq!(named.name(), "ftp://bob@nas:21/%7E/x");
        assert_eq!(legacy(&named), Some("nas/~/x"));
    }

    #[test]
    fn odd_bytes_are_escaped_and_come_back_in_the_legacy_key() {
        let key = ftp("b@b:/", "nas", 21, at(b"caf\xe9/50%"));
        assert_eq!(key.name(), "ftp://b%40b%3A%2F@nas:21/caf%E9/50%25");
        assert_eq!(key.legacy(), Some(&b"nas/caf\xe9/50%"[..]));
    }

    #[test]
    fn a_local_peer_is_known_by_its_absolute_path_and_its_disk() {
        let key = PeerKey::of_path(Path::new("/mnt/usb/../disk/./x/"), 0);
        assert_eq!(key.name(), "file:///mnt/disk/x");
        assert_eq!(legacy(&key), Some("/mnt/disk/x"));
        let disk = PeerKey::of_path(Path::new("/mnt/disk/x"), 0xabc);
        assert_eq!(disk.name(), "file://0000000000000abc/mnt/disk/x");
        assert_eq!(disk.place(), key.name());
        assert_eq!(disk.legacy(), key.legacy());
        assert_ne!(disk.hash(), key.hash());
        assert_eq!(PeerKey::of_path(Path::new("/"), 0).name(), "file:///");
    }

    #[test]
    fn a_login_directory_is_put_where_the_server_says_it_is() {
        let from = |path: &[u8]| {
            let path = ServerPath::FromLogin(RelPath::parse(path).unwrap());
            ftp("bob", "nas", 21, path)
        };
        let dir = |path: &[u8]| RelPath::parse(path).unwrap();
        let name = |key: PeerKey| key.name().to_owned();
        let below = from(b"x/y").with_login_dir(&dir(b"home/bob"));
        assert_eq!(
            below.name(),
            ftp("bob", "nas", 21, at(b"home/bob/x/y")).name()
        );
        assert_eq!(below.legacy(), None);
        assert_eq!(
            name(from(b"").with_login_dir(&dir(b"home"))),
            "ftp://bob@nas:21/home"
        );
        assert_eq!(
            name(from(b"x").with_login_dir(&dir(b""))),
            "ftp://bob@nas:21/x"
        );
        assert_eq!(
            name(from(b"").with_login_dir(&dir(b""))),
            "ftp://bob@nas:21/"
        );
        assert!(from(b"").is_from_login() && !below.is_from_login());
        let sftp = |path| {
            PeerKey::of_sftp(&SftpLocation {
                host: "nas".into(),
                port: None,
                user: Some("bob".into()),
                password: None,
                path,
                host_keys: HostKeys::Known,
                ssh_command: None,
            })
        };
        let below = ServerPath::FromLogin(RelPath::parse(b"x").unwrap());
        assert_eq!(
            name(sftp(below).with_login_dir(&dir(b"home"))),
            "sftp://bob@nas:22/home/x"
        );
        let plain = ftp("bob", "nas", 21, at(b"~/x"));
        assert_eq!(plain.with_login_dir(&dir(b"home")), plain);
    }

    #[test]
    fn a_peer_of_another_kind_is_called_as_it_says() {
        let key = PeerKey::named("memory:one".into());
        assert_eq!(
            (key.name(), key.place(), key.legacy()),
            ("memory:one", "memory:one", None)
        );
        assert!(!key.is_from_login());
    }
}
