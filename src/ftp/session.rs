//! A session: one logged-in control connection, by the textbook.
//!
//! Each command waits for its reply, unless [`Trick`]s allow more. Nothing is sent while the bytes of a transfer are on
//! their way, because servers run such commands at once, drop them or mix up their replies. A session on which something
//! unexpected happened is closed and never used again.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{Command, Iac};
use super::features::Features;
use super::ports::{Ready, Way};
use super::reply::Reply;
use super::software::Software;
use super::tricks::{Trick, Tricks};
use crate::error::{Doing, Error, ErrorKind, Phase, Result, Scope};
use crate::job::Mask;
use crate::net::{Halt, Secured, Stream, Tickets, TlsClient, dial};
use crate::path::Escaped;

/// A TLS session is left for a new one at this age: the shortest life that servers were seen to announce is two hours,
/// and GnuTLS gives one by itself.
const TLS_SESSION_LIFE: Duration = Duration::from_secs(45 * 60);

/// Error texts are cut at this many bytes.
const MAX_SHOWN_BYTES: usize = 300;

/// A session is begun anew at most this often because a trick went wrong in it: each does so once.
const MAX_BEGINNINGS: usize = 4;

/// Whom to log in.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
}

/// How long to wait, who opens data connections, and what is known of the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a connection may be silent.
    pub timeout: Duration,
    /// The ways to open data connections, the first one first.
    pub ways: Arc<[Way]>,
    /// Whether names are sent as UTF-8.
    pub utf8: bool,
    /// What the sessions with this server have learnt.
    pub tricks: Arc<Tricks>,
    /// Ends every wait when the run is to end.
    pub halt: Halt,
}

/// How the connections of a session are protected.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all.
    Clear,
    /// By TLS, asked for with AUTH before anything is said (RFC 4217).
    Explicit(Arc<TlsClient>),
    /// By TLS from the first byte.
    Implicit(Arc<TlsClient>),
}

/// The TLS of a session.
pub(super) struct Protection {
    pub(super) client: Arc<TlsClient>,
    pub(super) tickets: Tickets,
    pub(super) since: Instant,
    /// Whether a data connection has resumed the session.
    pub(super) has_resumed: bool,
    /// What the server said where it does not want to protect data connections.
    pub(super) refusal: Option<String>,
}

/// A logged-in control connection.
pub struct Session {
    pub(super) stream: Stream,
    pub(super) settings: Settings,
    /// The server's address, to which data connections go whatever the server says.
    pub(super) peer: SocketAddr,
    /// Received, not parsed yet.
    pub(super) input: Vec<u8>,
    /// To be sent with the next flush.
    pub(super) output: Vec<u8>,
    /// The length of each command that has no final reply yet.
    pub(super) sent: VecDeque<usize>,
    /// The most commands that were on their way since all had been answered.
    pub(super) flight: usize,
    /// Whether commands are sent ahead to see what becomes of it.
    pub(super) is_trying: bool,
    /// What is in hand for the next transfer.
    pub(super) ready: Ready,
    /// Whether a transfer begins on a port that had been in hand.
    pub(super) is_on_spare_port: bool,
    pub(super) failed: Option<ErrorKind>,
    pub(super) software: Software,
    pub(super) features: Features,
    pub(super) login_dir: Option<Vec<u8>>,
    pub(super) max_line_bytes: usize,
    pub(super) iac: Iac,
    mask: Arc<Mask>,
    /// Whether the account was let in.
    pub(super) is_in: bool,
    /// None for a session in the clear.
    pub(super) protection: Option<Protection>,
}

impl Session {
    /// Connects, logs in, and asks what the server can do.
    pub fn open(
        host: &str,
        port: u16,
        account: Account<'_>,
        settings: &Settings,
        security: &Security,
    ) -> Result<Self> {
        let client = match security {
            Security::Explicit(client) | Security::Implicit(client) => Some(client),
            Security::Clear => None,
        };
        // The server may refuse the version of TLS that was offered; then there is a higher one.
        let version = || client.is_some_and(|client| client.is_raised());
        let mut beginnings = 0;
        loop {
            let before = (version(), settings.tricks.given_up());
            let opened = Self::open_once(host, port, account, settings, security);
            beginnings += 1;
            match opened {
                Err(error)
                    if before != (version(), settings.tricks.given_up())
                        && !matches!(error.kind(), ErrorKind::Interrupted(_))
                        && beginnings < MAX_BEGINNINGS =>
                {
                    log::debug!("beginning anew: {error}");
                }
                Err(error) => return Err(no_room(error, settings)),
                Ok(session) => return Ok(session),
            }
        }
    }

    fn open_once(
        host: &str,
        port: u16,
        account: Account<'_>,
        settings: &Settings,
        security: &Security,
    ) -> Result<Self> {
        let socket = dial(host, port, settings.timeout, &settings.halt)?;
        let peer = socket.peer_addr().map_err(ErrorKind::Network)?;
        let halt = settings.halt.clone();
        let stream = Stream::new(socket, settings.timeout, Phase::Greeting, halt);
        stream.keep_alive();
        let (max_line_bytes, _) =
            super::tricks::line_limits(Software::Unknown, &Features::default());
        let mut session = Self {
            stream,
            settings: settings.clone(),
            peer,
            input: Vec::new(),
            output: Vec::new(),
            sent: VecDeque::new(),
            flight: 0,
            is_trying: false,
            ready: Ready::default(),
            is_on_spare_port: false,
            failed: None,
            software: Software::Unknown,
            features: Features::default(),
            login_dir: None,
            max_line_bytes,
            iac: Iac::Refused,
            mask: Arc::new(Mask::of(account.password.as_bytes())),
            is_in: false,
            protection: None,
        };
        session
            .begin_session(account, security)
            .doing(|| format!("connecting to {host}:{port}"))?;
        Ok(session)
    }

    /// What the server says it can do.
    pub const fn features(&self) -> &Features {
        &self.features
    }

    /// The directory of the login, where the server told it.
    pub fn login_dir(&self) -> Option<&[u8]> {
        self.login_dir.as_deref()
    }

    /// What the server is, as far as it shows.
    pub const fn software(&self) -> Software {
        self.software
    }

    /// The TLS of the control connection.
    pub fn secured(&self) -> Option<&Secured> {
        self.stream.secured()
    }

    /// How data connections are opened now.
    pub fn data_way(&self) -> Option<Way> {
        let wished = &self.settings.ways;
        (!wished.is_empty()).then(|| self.tricks().way(wished))
    }

    /// What is known of the server.
    pub fn tricks(&self) -> &Tricks {
        &self.settings.tricks
    }

    /// Whether an upload may begin, and even end, before the server has said that it takes it.
    pub fn takes_data_early(&self) -> bool {
        // A TLS handshake begins when the server says so.
        self.is_clear() && self.settings.tricks.holds(Trick::EarlyConnection)
    }

    /// Whether everything that is sent can be read on the way.
    pub const fn is_clear(&self) -> bool {
        self.protection.is_none()
    }

    /// The server's address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether data connections may soon be refused because the TLS session has become old or has no ticket left, so
    /// that it is time for a new control connection.
    pub fn is_worn(&self) -> bool {
        self.protection.as_ref().is_some_and(|protection| {
            protection.since.elapsed() > TLS_SESSION_LIFE || protection.tickets.are_spent()
        })
    }

    /// Whether it can no longer be used.
    pub const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Sends the command and waits for its final reply, whatever it says.
    pub fn ask(&mut self, command: &Command<'_>) -> Result<Reply> {
        self.queue(command)?;
        self.reply()
    }

    /// The error that this reply is.
    pub fn refusal(&self, reply: &Reply) -> Error {
        let code = reply.code;
        Error::new(ErrorKind::Refused {
            code,
            text: self.shown(reply),
        })
    }

    /// Why this session can no longer be used; for one that can, that it is not known.
    pub fn failure(&self) -> Error {
        self.failed
            .as_ref()
            .map_or_else(
                || ErrorKind::Network(io::ErrorKind::NotConnected.into()),
                copy_kind,
            )
            .into()
    }

    /// Marks the session as unusable for this reason, and gives the reason back.
    pub fn fail(&mut self, error: Error) -> Error {
        if self.failed.is_none() {
            log::debug!("session with {} failed: {error}", self.peer);
            self.settings.tricks.lost(self.flight);
            if self.is_on_spare_port {
                self.settings.tricks.give_up(Trick::PortInHand, &error);
            }
            self.failed = Some(copy_kind(error.kind()));
            let _ = self.stream.socket().shutdown(std::net::Shutdown::Both);
        }
        error
    }

    /// What is not to be shown of what the server says.
    pub const fn mask(&self) -> &Arc<Mask> {
        &self.mask
    }

    /// The reply's text as it may be shown: escaped, short, and without the password, which some servers repeat.
    pub(super) fn shown(&self, reply: &Reply) -> String {
        self.shown_text(reply.text(), MAX_SHOWN_BYTES)
    }

    pub(super) fn shown_text(&self, text: &[u8], most: usize) -> String {
        let mut text = self.mask.hide(text);
        for byte in &mut text {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
        text.truncate(most);
        Escaped(text.trim_ascii()).to_string()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_in {
            self.settings.tricks.leave();
        }
        if self.failed.is_none() && self.sent.is_empty() {
            self.say_goodbye();
        }
    }
}

/// A server that lets in no more than so many shows it in many ways: where others are in, and a further one is cut off or
/// gets no answer, there is no room.
fn no_room(error: Error, settings: &Settings) -> Error {
    let is_cut = matches!(error.kind(), ErrorKind::Network(_) | ErrorKind::Timeout(_));
    if is_cut && error.scope() == Scope::Session && settings.tricks.are_others_in() {
        return ErrorKind::Unavailable(format!("no further session: {error}")).into();
    }
    error
}

/// The same failure once more, for those who come later.
pub(super) fn copy_kind(kind: &ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::Timeout(phase) => ErrorKind::Timeout(*phase),
        ErrorKind::Unavailable(text) => ErrorKind::Unavailable(text.clone()),
        ErrorKind::Protocol(text) => ErrorKind::Protocol(text.clone()),
        ErrorKind::Login(text) => ErrorKind::Login(text.clone()),
        ErrorKind::Tls(text) => ErrorKind::Tls(text.clone()),
        ErrorKind::Interrupted(by) => ErrorKind::Interrupted(by),
        ErrorKind::Network(error) => {
            ErrorKind::Network(io::Error::new(error.kind(), error.to_string()))
        }
        _ => ErrorKind::Network(io::ErrorKind::NotConnected.into()),
    }
}
