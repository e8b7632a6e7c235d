//! What the SSH program complains of, in one sentence of ours: what happened, and what to try. Pure.
//!
//! Its exit code says nothing: dbclient ends with 0 after a refused login, and ssh with 255 after a good session with some
//! servers. So its words are looked for, one case after the other; what nobody knows is shown as it is.

use std::io;

use super::command::{Dialect, Terms};
use super::prompt::{fingerprint, fingerprint_text};
use crate::error::{Error, ErrorKind, Phase};
use crate::job::{Mask, Pin};
use crate::path::Escaped;

/// How much of a line that nobody knows is shown.
const SHOWN_BYTES: usize = 300;

/// What is said where a server has no SFTP.
pub(super) const NO_SFTP: &str = "the server has no SFTP: OpenSSH's sshd_config needs a line 'Subsystem sftp internal-sftp', \
     and beside dropbear the package openssh-sftp-server has to be installed";

/// All that is known when the program has ended.
pub(super) struct Heard<'a> {
    /// What it said on its standard error.
    pub(super) stderr: &'a [u8],
    pub(super) dialect: Dialect,
    pub(super) terms: &'a Terms,
    /// The host key that it asked about.
    pub(super) asked_about: Option<Pin>,
    /// Whether it was given the password.
    pub(super) was_told_password: bool,
    /// What it was told, and may repeat.
    pub(super) mask: &'a Mask,
}

impl Heard<'_> {
    /// A line as it may be shown.
    fn shown(&self, line: &str) -> String {
        let mut line = self.mask.hide(line.as_bytes());
        line.truncate(SHOWN_BYTES);
        Escaped(&line).to_string()
    }
}

/// Why the program ended; none where it said nothing.
pub(super) fn explain(heard: &Heard<'_>) -> Option<Error> {
    let text = String::from_utf8_lossy(heard.stderr);
    of_host_key(heard, &text)
        .or_else(|| of_login(heard, &text))
        .or_else(|| of_connection(heard, &text))
        .or_else(|| of_unknown(heard, &text))
}

/// The refusal of a host key that is not known.
pub(super) fn unknown_host_key(terms: &Terms, pin: Option<Pin>) -> Error {
    let host = shown_host(terms);
    refused_key(match pin {
        Some(pin) => format!(
            "the host key of {host} is not known: {}; if that is the server's, accept it once by --accept-new-host-key, or \
             always by --pin {pin}",
            fingerprint_text(&pin)
        ),
        None => format!(
            "the host key of {host} is not known; if you trust the way there, accept it once by --accept-new-host-key"
        ),
    })
}

/// The refusal of a host key that is none of the pinned ones.
pub(super) fn wrong_pin(terms: &Terms, shown: Option<Pin>) -> Error {
    let host = shown_host(terms);
    refused_key(match shown {
        Some(pin) => format!(
            "the host key of {host} is not one that --pin names, but {pin}; somebody may be between, or the server was \
             set up anew"
        ),
        None => format!(
            "the SSH program does not tell the host key of {host}, so --pin cannot be followed"
        ),
    })
}

/// The refusal of a login.
pub(super) fn login_refused(
    terms: &Terms,
    was_told_password: bool,
    methods: Option<&str>,
) -> Error {
    let who = account(terms);
    let takes = match methods {
        Some(methods) => format!("; it takes: {methods}"),
        None => String::new(),
    };
    ErrorKind::Login(if was_told_password {
        format!("the server does not accept the password of {who}{takes}")
    } else {
        format!("the server accepts no key of {who}{takes}")
    })
    .into()
}

fn of_host_key(heard: &Heard<'_>, text: &str) -> Option<Error> {
    let host = shown_host(heard.terms);
    if text.contains("IDENTIFICATION HAS CHANGED") || text.contains("host key mismatch for") {
        let shown = match fingerprint_after(text, heard.dialect) {
            Some(pin) => format!(" to {}", fingerprint_text(&pin)),
            None => String::new(),
        };
        let noted = match line_with(text, " key in ") {
            Some(line) => format!(" (the old one is noted: {})", heard.shown(line)),
            None => String::new(),
        };
        return Some(refused_key(format!(
            "the host key of {host} has CHANGED{shown}{noted}; somebody may be between. If the server was set up anew, remove \
             the old key from known_hosts and accept the new one by --accept-new-host-key"
        )));
    }
    let is_unknown = (text.contains("host key is known for") && text.contains("No "))
        || text.contains("Host key verification failed")
        || text.contains("Didn't validate host key");
    is_unknown.then(|| unknown_host_key(heard.terms, heard.asked_about))
}

fn of_login(heard: &Heard<'_>, text: &str) -> Option<Error> {
    let methods = line_with(text, "Permission denied (").and_then(|line| {
        let (_, rest) = line.split_once("Permission denied (")?;
        rest.split_once(')').map(|(methods, _)| methods)
    });
    let is_refused = methods.is_some()
        || [
            "exited: Disconnect received",
            "No auth methods could be used",
            "Too many authentication failures",
        ]
        .iter()
        .any(|words| text.contains(words));
    if !is_refused {
        return None;
    }
    let methods = methods.map(|methods| heard.shown(methods));
    let error = login_refused(heard.terms, heard.was_told_password, methods.as_deref());
    let key_file = line_with(text, "Identity file ").or_else(|| line_with(text, "loading keyfile"));
    Some(match key_file {
        Some(line) => error.while_doing(heard.shown(line)),
        None => error,
    })
}

fn of_connection(heard: &Heard<'_>, text: &str) -> Option<Error> {
    let host = shown_host(heard.terms);
    // The server's shell names the program that it cannot start, in whatever language: dropbear knows no other way.
    if text.contains("subsystem request failed") || text.contains("/sftp-server") {
        return Some(ErrorKind::Unsupported(NO_SFTP).into());
    }
    if text.contains("Could not resolve hostname") || text.contains("Error resolving") {
        let nothing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let error = Error::new(ErrorKind::Network(nothing));
        return Some(error.while_doing(format!("looking up {host}")));
    }
    if text.contains("Unable to negotiate with") || text.contains("No matching algo") {
        let line = line_with(text, "no matching").or_else(|| line_with(text, "No matching"));
        let what = heard.shown(line.unwrap_or_default());
        return Some(refused_key(format!(
            "{host} and this machine have no method in common: {what}"
        )));
    }
    let failed = [
        ("Connection refused", libc::ECONNREFUSED),
        ("No route to host", libc::EHOSTUNREACH),
        ("Network is unreachable", libc::ENETUNREACH),
        ("Connection reset by", libc::ECONNRESET),
    ];
    let doing = || format!("connecting to {host}");
    if let Some((_, code)) = failed.iter().find(|(words, _)| text.contains(words)) {
        let error = ErrorKind::Network(io::Error::from_raw_os_error(*code));
        return Some(Error::new(error).while_doing(doing()));
    }
    let is_late = [
        "Connection timed out",
        "Operation timed out",
        "Keepalive timeout",
        "not responding",
    ];
    is_late
        .iter()
        .any(|words| text.contains(words))
        .then(|| Error::new(ErrorKind::Timeout(Phase::Connect)).while_doing(doing()))
}

fn of_unknown(heard: &Heard<'_>, text: &str) -> Option<Error> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let shown = format!("the SSH program says: {}", heard.shown(line));
    Some(ErrorKind::Network(io::Error::other(shown)).into())
}

/// OpenSSH shows the new key's fingerprint, dropbear the new one first and then the old one.
fn fingerprint_after(text: &str, dialect: Dialect) -> Option<Pin> {
    match dialect {
        Dialect::OpenSsh => fingerprint(text),
        Dialect::Dropbear => {
            let first = text.find("SHA256:")?;
            let end = text[first + 1..]
                .find("SHA256:")
                .map_or(text.len(), |at| first + 1 + at);
            fingerprint(&text[..end])
        }
    }
}

fn line_with<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.lines()
        .map(str::trim)
        .find(|line| line.contains(words))
}

fn refused_key(text: String) -> Error {
    ErrorKind::Tls(text).into()
}

fn account(terms: &Terms) -> String {
    let host = shown_host(terms);
    match &terms.user {
        Some(user) => format!("{}@{host}", Escaped(user.as_bytes())),
        None => host,
    }
}

fn shown_host(terms: &Terms) -> String {
    let host = Escaped(terms.host.as_bytes());
    match terms.port {
        Some(port) if terms.host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::HostKeys;

    const SHA: &str = "SHA256:uNiVztksCsDhcc0u9e8BrRXZ3IWj8UQUfYzKKNnSm8w";

    fn terms() -> Terms {
        Terms {
            host: "nas".to_owned(),
            port: Some(2222),
            user: Some("me".to_owned()),
            host_keys: HostKeys::Known,
            timeout: Duration::from_secs(30),
        }
    }

    fn explained(dialect: Dialect, stderr: &str, was_told_password: bool) -> Option<Error> {
        explain(&Heard {
            stderr: stderr.as_bytes(),
            dialect,
            terms: &terms(),
            asked_about: None,
            was_told_password,
            mask: &Mask::of(b"geheim"),
        })
    }

    fn sentence(dialect: Dialect, stderr: &str) -> String {
        explained(dialect, stderr, false).unwrap().to_string()
    }

    #[test]
    fn a_changed_key_is_shouted() {
        let ssh = format!(
            "@@@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n@@@@@@\r\n\
             The fingerprint for the ED25519 key sent by the remote host is\n{SHA}.\r\nPlease contact your system administrator.\r\n\
             Offending ED25519 key in /home/me/.ssh/known_hosts:3\r\nHost key verification failed.\r\n"
        );
        let text = sentence(Dialect::OpenSsh, &ssh);
        assert!(
            text.starts_with(&format!("the host key of nas:2222 has CHANGED to {SHA} (")),
            "{text}"
        );
        assert!(text.contains("known_hosts:3"), "{text}");
        let old = SHA.replace("uNiV", "0000");
        let dropbear = format!(
            "dbclient: Connection to me@nas:2222 exited: \n\nssh-ed25519 host key mismatch for nas !\n\
             Fingerprint is {SHA}\nExpected {old}\nIf you know that the host key is correct you can\nremove the bad entry"
        );
        let text = sentence(Dialect::Dropbear, &dropbear);
        assert!(text.contains(&format!("CHANGED to {SHA};")), "{text}");
    }

    #[test]
    fn an_unknown_key_comes_with_the_option_that_accepts_it() {
        for said in [
            "No ED25519 host key is known for nas and you have requested strict checking.\r\nHost key verification failed.\r\n",
            "dbclient: Connection to me@nas:22 exited: Didn't validate host key\n",
        ] {
            let error = explained(Dialect::OpenSsh, said, false).unwrap();
            assert!(matches!(error.kind(), ErrorKind::Tls(_)));
            assert!(
                error.to_string().contains("--accept-new-host-key"),
                "{error}"
            );
        }
        let pin = fingerprint(SHA);
        let text = unknown_host_key(&terms(), pin).to_string();
        assert!(
            text.contains(SHA) && text.contains("--pin sha256:b8d895ced92c0ac0"),
            "{text}"
        );
    }

    #[test]
    fn a_refused_login_names_what_the_server_takes() {
        let said = "me@nas: Permission denied (publickey,password).\r\n";
        assert_eq!(
            sentence(Dialect::OpenSsh, said),
            "login refused: the server accepts no key of me@nas:2222; it takes: publickey,password"
        );
        assert_eq!(
            explained(Dialect::OpenSsh, said, true).unwrap().to_string(),
            "login refused: the server does not accept the password of me@nas:2222; it takes: publickey,password"
        );
        let dropbear = "dbclient: Connection to me@nas:2222 exited: Disconnect received\n";
        let error = explained(Dialect::Dropbear, dropbear, true).unwrap();
        assert!(matches!(error.kind(), ErrorKind::Login(_)), "{error}");
        let key = "Warning: Identity file /k not accessible: No such file or directory.\r\n";
        let text = sentence(Dialect::OpenSsh, &format!("{key}{said}"));
        assert!(
            text.contains("/k not accessible") && text.contains("login refused"),
            "{text}"
        );
    }

    #[test]
    fn a_server_that_is_not_reached_is_told_as_with_ftp() {
        for (said, told) in [
            (
                "ssh: connect to host nas port 2222: Connection refused\r\n",
                "connecting to nas:2222: connection refused",
            ),
            (
                "dbclient: Connection to me@nas:2222 exited: Connect failed: Connection refused\n",
                "connecting to nas:2222: connection refused",
            ),
            (
                "ssh: connect to host nas port 22: Connection timed out\r\n",
                "connecting to nas:2222: timed out waiting for the connection",
            ),
            (
                "ssh: Could not resolve hostname nas: Name or service not known\r\n",
                "looking up nas:2222: the name has no address",
            ),
            (
                "dbclient: Error resolving 'nas' port '22'. Name or service not known\n",
                "looking up nas:2222: the name has no address",
            ),
        ] {
            assert_eq!(sentence(Dialect::OpenSsh, said), told);
        }
        let error = explained(
            Dialect::OpenSsh,
            "subsystem request failed on channel 0\r\n",
            false,
        )
        .unwrap();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)));
    }

    #[test]
    fn what_nobody_knows_is_shown_escaped() {
        assert_eq!(
            sentence(Dialect::OpenSsh, "one\r\nBad \x1b[31mthing\r\n\r\n"),
            "the SSH program says: Bad \\x1b[31mthing"
        );
        assert!(explained(Dialect::OpenSsh, " \r\n", false).is_none());
    }

    #[test]
    fn what_was_typed_is_not_shown() {
        for said in [
            "wrong: 'geheim'\r\n",
            "me@nas: Permission denied (publickey,geheim).\r\n",
            "Warning: Identity file geheim not accessible\r\nme@nas: Permission denied (a).\r\n",
            "Unable to negotiate with nas: no matching GEHEIM found\r\n",
        ] {
            let text = sentence(Dialect::OpenSsh, said);
            assert!(text.contains("****"), "{text}");
            assert!(!text.to_ascii_lowercase().contains("geheim"), "{text}");
        }
    }

    #[test]
    fn survives_being_cut_anywhere() {
        let said = format!(
            "@ REMOTE HOST IDENTIFICATION HAS CHANGED!\r\n{SHA}\r\nme@nas: Permission denied (a"
        );
        for end in 0..said.len() {
            for dialect in [Dialect::OpenSsh, Dialect::Dropbear] {
                let _ = explained(dialect, &said[..end], false);
            }
        }
    }
}
