//! TLS for control and data connections: whom to trust, why not, and sessions that data connections resume.
//!
//! Only the files below name a TLS crate. A [`TlsClient`] serves one run and holds what is trusted. [`Tickets`] belong
//! to one control connection: servers let in only data connections that resume its session, and tickets of one control
//! connection are worth nothing on another. Nothing here knows FTP.
//!
//! Reading ends with 0 only where the peer said so (close_notify): anything else may be an attacker's cut.

#![cfg_attr(
    not(any(feature = "tls-rustls", feature = "tls-native")),
    allow(dead_code, reason = "without TLS there is nobody to trust or refuse")
)]

mod certificate;

#[cfg(feature = "tls-native")]
#[path = "tls/native.rs"]
mod backend;
#[cfg(all(feature = "tls-rustls", not(feature = "tls-native")))]
#[path = "tls/rustls.rs"]
mod backend;
#[cfg(not(any(feature = "tls-rustls", feature = "tls-native")))]
#[path = "tls/none.rs"]
mod backend;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::halt;
use super::stream::Wire;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::job::{Pin, TlsSettings};
use crate::time::Timestamp;
use certificate::Certificate;

/// The library that does TLS in this build; none where an `ftps://` URL cannot be followed.
pub const BACKEND: Option<&str> = backend::NAME;

/// The protocol's name in the handshake (ALPN): a server cannot be tricked into taking the connection for a web
/// browser's. Servers that do not know it ignore it.
const ALPN: &str = "ftp";

/// A clock that shows an earlier time was never set: routers begin in 1970 or with the day of their firmware.
/// 2025-01-01.
const EARLIEST_NOW: Timestamp = Timestamp::from_secs(1_735_689_600);

/// What all TLS connections of a run share.
pub struct TlsClient {
    backend: backend::Client,
    /// Whether a data connection of this run was seen to work.
    proven: AtomicBool,
    /// Whether this server wants a newer version than is offered at first.
    newer: AtomicBool,
}

impl TlsClient {
    /// Reads what is trusted, for connections to `host`.
    pub fn new(settings: &TlsSettings, host: &str) -> Result<Self> {
        // An interface (fe80::1%eth0) is no part of a name.
        let name = host.split('%').next().unwrap_or(host);
        Ok(Self {
            backend: backend::Client::new(settings, name)?,
            proven: AtomicBool::new(false),
            newer: AtomicBool::new(false),
        })
    }

    /// Whether [`TlsClient::prove`] was called.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Remembers that the server accepts data connections of this client.
    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Whether the version of TLS is raised: a first try that failed with the lower one is worth another.
    pub fn is_raised(&self) -> bool {
        self.newer.load(Ordering::Relaxed)
    }

    /// An empty store, for one control connection and its data connections.
    pub fn tickets(&self) -> Result<Tickets> {
        let tickets = self.backend.tickets(self.is_raised())?;
        Ok(Tickets {
            backend: tickets,
            leaf: None,
        })
    }

    /// Shakes hands. The first connection of these tickets is the control connection; every later one resumes its
    /// session or shows the same certificate.
    pub(super) fn connect(&self, wire: Wire, tickets: &mut Tickets) -> Result<Secured> {
        let connection = self
            .backend
            .connect(wire, &mut tickets.backend)
            .map_err(|failure| self.failure(failure))?;
        let leaf = connection.leaf();
        match (&tickets.leaf, &leaf) {
            (Some(known), Some(leaf)) if known == leaf => {}
            (None, Some(_)) => tickets.leaf = leaf,
            (None, None) => {
                let text = "the server showed no certificate".to_owned();
                return Err(ErrorKind::Tls(text).into());
            }
            (Some(_), _) => {
                let text = "a data connection showed another certificate than the control \
                            connection: somebody else answered"
                    .to_owned();
                return Err(ErrorKind::Tls(text).into());
            }
        }
        log::debug!("{}", connection.summary());
        Ok(Secured(connection))
    }

    fn failure(&self, failure: Failure) -> Error {
        match failure {
            Failure::Io(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    let closed = "the server closed the connection during the TLS handshake";
                    ErrorKind::Network(io::Error::new(error.kind(), closed)).into()
                }
                _ => halt::failure(error, Phase::Handshake),
            },
            Failure::Rejected(rejection) => ErrorKind::Tls(rejection.to_string()).into(),
            Failure::Version => {
                self.newer.store(true, Ordering::Relaxed);
                let text = "the server and this client have no version of TLS in common";
                ErrorKind::Tls(text.to_owned()).into()
            }
            Failure::Tls(text) => {
                ErrorKind::Tls(format!("the TLS handshake failed: {text}")).into()
            }
        }
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").finish_non_exhaustive()
    }
}

/// The sessions of one control connection, and the certificate it showed.
pub struct Tickets {
    backend: backend::Tickets,
    leaf: Option<Vec<u8>>,
}

impl Tickets {
    /// Whether the server gave tickets and all of them are used up, so that the next connection cannot resume.
    pub fn are_spent(&self) -> bool {
        self.backend.are_spent()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// A connection after its handshake.
pub struct Secured(backend::Connection);

impl Secured {
    /// Whether it resumed a session.
    pub fn is_resumed(&self) -> bool {
        self.0.is_resumed()
    }

    /// Version, cipher, and what the server's certificate says.
    pub fn describe(&self) -> String {
        let summary = self.0.summary();
        let Some(certificate) = self.certificate() else {
            return summary;
        };
        format!(
            "{summary}; certificate for {}, by {}, from {} to {}",
            certificate.shown_names(),
            certificate.shown_issuer(),
            certificate.not_before,
            certificate.not_after
        )
    }

    /// The digest of the key in the server's certificate.
    pub fn pin(&self) -> Option<Pin> {
        self.certificate().map(|certificate| certificate.pin)
    }

    fn certificate(&self) -> Option<Certificate> {
        Certificate::parse(&self.0.leaf()?)
    }

    pub(super) fn wire(&self) -> &Wire {
        self.0.wire()
    }

    pub(super) fn wire_mut(&mut self) -> &mut Wire {
        self.0.wire_mut()
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the TLS connection was cut off before its end",
            ),
            _ => error,
        })
    }

    /// Writes some of the bytes, down to the socket.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Tells the peer that nothing follows.
    pub(super) fn close_notify(&mut self) -> io::Result<()> {
        self.0.close_notify()
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secured").field(&self.0.summary()).finish()
    }
}

/// Why a handshake failed.
enum Failure {
    /// The connection.
    Io(io::Error),
    /// The certificate.
    Rejected(Rejection),
    /// The server wants another version of TLS.
    Version,
    /// Anything else.
    Tls(String),
}

/// A certificate that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rejection {
    why: Why,
    /// The server's name as we know it.
    host: String,
    now: Timestamp,
    /// The certificates that the server showed, its own first.
    chain: Vec<Vec<u8>>,
}

/// Why a certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// It is no longer valid.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for another server.
    OtherName,
    /// Nobody who is trusted vouches for it.
    UnknownIssuer,
    /// A signature in its chain is wrong.
    BadSignature,
    /// It is an authority's certificate, or has no usable name, where a server's is wanted.
    NotForServers,
    /// Its key is not the pinned one.
    WrongPin,
    /// Its key is too short.
    WeakKey,
    /// The library's words.
    Other(String),
}

impl Rejection {
    fn new(why: Why, host: &str, chain: Vec<Vec<u8>>) -> Self {
        Self {
            why,
            host: host.to_owned(),
            now: Timestamp::now(),
            chain,
        }
    }

    /// One sentence of what is wrong.
    fn reason(&self, leaf: &Certificate) -> String {
        match &self.why {
            Why::Expired => format!("it expired on {}", date(leaf.not_after)),
            Why::NotYetValid => format!(
                "it is not valid before {}; if that has passed, the clock of this machine is wrong",
                date(leaf.not_before)
            ),
            Why::OtherName => format!("it is not for {}", self.host),
            Why::UnknownIssuer if leaf.issuer == leaf.subject => {
                "it is self-signed, so nobody vouches for it".to_owned()
            }
            // The issuer's own certificate was not sent: either it should have been, or it is not trusted.
            Why::UnknownIssuer if self.chain.len() == 1 => format!(
                "its chain is broken: the certificate of its issuer, {}, was neither sent nor is it trusted here",
                leaf.shown_issuer()
            ),
            Why::UnknownIssuer => {
                let last = self.chain.last().and_then(|der| Certificate::parse(der));
                let issuer = last.as_ref().unwrap_or(leaf).shown_issuer();
                format!("its authority, {issuer}, is not trusted here (see --ca-file)")
            }
            Why::BadSignature => {
                "its chain is broken: a signature in it is not its issuer's".to_owned()
            }
            // What NAS boxes make of themselves; rustls does not take it even from --ca-file.
            Why::NotForServers if leaf.issuer == leaf.subject => {
                "it is self-signed, so nobody vouches for it, and made for an authority".to_owned()
            }
            Why::NotForServers => {
                "it is made for an authority, or lacks the names that a server's has".to_owned()
            }
            Why::WrongPin => "its key is not the pinned one".to_owned(),
            Why::WeakKey => match leaf.rsa_bits {
                Some(bits) => format!("its key is too weak (RSA with {bits} bits)"),
                None => "its key is too weak".to_owned(),
            },
            Why::Other(text) => text.clone(),
        }
    }

    /// What helps.
    fn advice(&self, pin: Pin) -> String {
        match &self.why {
            Why::WeakKey => "the server needs a new key, of 2048 bits or more".to_owned(),
            Why::WrongPin => format!(
                "somebody else may have answered; if the server was given a new key: --pin {pin}"
            ),
            Why::Expired
            | Why::NotYetValid
            | Why::OtherName
            | Why::UnknownIssuer
            | Why::BadSignature
            | Why::NotForServers
            | Why::Other(_) => {
                format!("if it is surely the right server, this accepts its key: --pin {pin}")
            }
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's certificate is refused: ")?;
        let Some(leaf) = self.chain.first().and_then(|der| Certificate::parse(der)) else {
            return f.write_str("it cannot be understood");
        };
        // Both dates look wrong to a clock that was never set; a wrong name stays wrong.
        if matches!(self.why, Why::Expired | Why::NotYetValid) && self.now < EARLIEST_NOW {
            write!(
                f,
                "whether it is valid cannot be told, because the clock of this machine was never set: it shows {}",
                date(self.now)
            )?;
        } else {
            f.write_str(&self.reason(&leaf))?;
        }
        write!(
            f,
            " (for {}; issued by {}; valid {} to {}; key {}); {}",
            leaf.shown_names(),
            leaf.shown_issuer(),
            date(leaf.not_before),
            date(leaf.not_after),
            leaf.pin,
            self.advice(leaf.pin)
        )
    }
}

impl std::error::Error for Rejection {}

/// Accepts or refuses a key by pins.
fn check_pins(pins: &[Pin], leaf: &[u8]) -> Result<(), Why> {
    match Certificate::parse(leaf) {
        Some(leaf) if pins.contains(&leaf.pin) => Ok(()),
        Some(_) | None => Err(Why::WrongPin),
    }
}

/// Refuses a certificate that is not valid at `now_secs` after 1970. The system's OpenSSL does that by itself.
#[cfg_attr(
    any(feature = "tls-native", not(feature = "tls-rustls")),
    allow(dead_code)
)]
fn check_dates(leaf: &[u8], now_secs: u64) -> Result<(), Why> {
    let now = Timestamp::from_secs(i64::try_from(now_secs).unwrap_or(i64::MAX));
    match Certificate::parse(leaf) {
        Some(leaf) if now < leaf.not_before => Err(Why::NotYetValid),
        Some(leaf) if now > leaf.not_after => Err(Why::Expired),
        Some(_) => Ok(()),
        None => Err(Why::Other("it cannot be understood".to_owned())),
    }
}

/// Refuses a key that is too short to prove anything.
fn check_strength(leaf: &[u8]) -> Result<(), Why> {
    if Certificate::parse(leaf).is_some_and(|leaf| leaf.is_weak()) {
        return Err(Why::WeakKey);
    }
    Ok(())
}

/// `2026-11-22`
fn date(time: Timestamp) -> String {
    let day = time.to_civil();
    format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl req -x509 -newkey rsa:1024 -days 1 -subj /CN=nas -addext subjectAltName=DNS:nas.lan,IP:192.168.1.2`.
    const LEAF: &[u8] = include_bytes!("tls/example.der");

    fn shown(why: Why, now: i64) -> String {
        let rejection = Rejection {
            now: Timestamp::from_secs(now),
            ..Rejection::new(why, "nas.lan", vec![LEAF.to_vec()])
        };
        rejection.to_string()
    }

    #[test]
    fn a_clock_that_was_never_set_is_told_from_an_expired_certificate() {
        let today = EARLIEST_NOW.as_secs() + 1;
        assert!(shown(Why::Expired, today).contains("it expired on 2026-"));
        for why in [Why::NotYetValid, Why::Expired] {
            let text = shown(why, 86_400 * 3);
            assert!(
                text.contains("clock of this machine was never set: it shows 1970-01-04"),
                "{text}"
            );
            assert!(!text.contains("expired"), "{text}");
        }
        // The name is wrong whatever the time.
        assert!(shown(Why::OtherName, 0).contains("it is not for nas.lan"));
    }

    #[test]
    fn a_refusal_says_all_that_helps() {
        let text = shown(Why::OtherName, EARLIEST_NOW.as_secs());
        let leaf = Certificate::parse(LEAF).unwrap();
        assert!(
            text.contains("(for nas.lan, 192.168.1.2; issued by nas; valid 2026-"),
            "{text}"
        );
        assert!(text.ends_with(&format!("--pin {}", leaf.pin)), "{text}");
        let garbage = Rejection::new(Why::Expired, "h", vec![b"garbage".to_vec()]);
        assert!(garbage.to_string().ends_with("it cannot be understood"));
    }

    #[test]
    fn dates_count_for_a_certificate_that_is_trusted_itself() {
        let leaf = Certificate::parse(LEAF).unwrap();
        let at = |time: Timestamp, plus: i64| check_dates(LEAF, (time.as_secs() + plus) as u64);
        assert_eq!(at(leaf.not_before, 1), Ok(()));
        assert_eq!(at(leaf.not_before, -1), Err(Why::NotYetValid));
        assert_eq!(at(leaf.not_after, 1), Err(Why::Expired));
    }

    #[test]
    fn a_short_key_is_weak() {
        assert_eq!(check_strength(LEAF), Err(Why::WeakKey));
        assert!(shown(Why::WeakKey, 0).contains("RSA with 1024 bits"));
    }
}
