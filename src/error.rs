//! What can go wrong, doing what, and how much it spoils.

use std::fmt;
use std::io;

/// What every fallible function here returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: what happened, and while doing what.
///
/// In a box, because every `Result` is as large as this: moving a word takes a third less code than moving all of it.
#[derive(Debug)]
pub struct Error(Box<Failure>);

#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    doing: Option<String>,
}

/// What happened.
#[derive(Debug)]
pub enum ErrorKind {
    /// The local disk or file system failed or refused.
    Disk(io::Error),
    /// The network failed: no route, refused, reset, name not found.
    Network(io::Error),
    /// A wait ran out.
    Timeout(Phase),
    /// The server said no to this command.
    Refused {
        /// The reply code.
        code: u16,
        /// The reply's text, escaped for showing.
        text: String,
    },
    /// The server has no room for this connection, or is shutting down (421, a 530 that speaks of limits).
    Unavailable(String),
    /// The server did not accept the login.
    Login(String),
    /// TLS could not be had, or the server is not the one it should be.
    Tls(String),
    /// The server said nonsense.
    Protocol(String),
    /// There is nothing under that name.
    NotFound,
    /// What was there is not what was listed: somebody changed it meanwhile.
    Changed(&'static str),
    /// What arrived is not what was sent.
    Verify(String),
    /// This target cannot do that.
    Unsupported(&'static str),
    /// A metadata file cannot be used and there is no safe way on.
    Metadata(String),
    /// A metadata file of another version: the user has to say `--migrate`.
    MetadataVersion(String),
    /// A name that cannot be used.
    Name(String),
    /// A guard refused the run.
    Guard(String),
    /// Another run holds the lock.
    Locked(String),
    /// The job as given makes no sense.
    Usage(String),
    /// The user or the time limit ended the run.
    Interrupted(&'static str),
}

/// What a wait was for, so that its end can say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding the host's address.
    Resolve,
    /// Opening the control connection.
    Connect,
    /// The server's first line.
    Greeting,
    /// The TLS handshake.
    Handshake,
    /// User and password.
    Login,
    /// The reply to a command.
    Reply,
    /// Opening a data connection.
    DataConnect,
    /// Bytes on a data connection.
    Data,
    /// The reply that ends a transfer.
    TransferEnd,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the host's address",
            Self::Connect => "the connection",
            Self::Greeting => "the server's greeting",
            Self::Handshake => "the TLS handshake",
            Self::Login => "the login",
            Self::Reply => "a reply",
            Self::DataConnect => "the data connection",
            Self::Data => "data",
            Self::TransferEnd => "the end of the transfer",
        })
    }
}

/// How much a failure spoils.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This entry alone: report it, go on.
    Entry,
    /// This connection: redial, try again.
    Session,
    /// The whole job: stop, record what was done.
    Job,
}

impl Error {
    /// A failure of that kind, without context yet.
    pub fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Failure { kind, doing: None }))
    }

    /// What happened.
    pub const fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// How much this failure spoils: the whole retry policy is this match.
    pub fn scope(&self) -> Scope {
        match &self.0.kind {
            ErrorKind::Disk(error) => match error.raw_os_error() {
                // A disk that fails or has turned read-only spoils everything that would follow.
                Some(libc::EIO | libc::EROFS | libc::ENODEV | libc::ESTALE | libc::ENXIO) => {
                    Scope::Job
                }
                _ => Scope::Entry,
            },
            ErrorKind::Network(_)
            | ErrorKind::Timeout(_)
            | ErrorKind::Unavailable(_)
            | ErrorKind::Protocol(_)
            // The data connection could not be opened, or was cut (RFC 959, 5.4): nothing is wrong with the file.
            | ErrorKind::Refused { code: 425 | 426, .. } => Scope::Session,
            ErrorKind::Refused { .. }
            | ErrorKind::NotFound
            | ErrorKind::Changed(_)
            | ErrorKind::Verify(_)
            | ErrorKind::Unsupported(_)
            | ErrorKind::Name(_) => Scope::Entry,
            ErrorKind::Login(_)
            | ErrorKind::Tls(_)
            | ErrorKind::Metadata(_)
            | ErrorKind::MetadataVersion(_)
            | ErrorKind::Guard(_)
            | ErrorKind::Locked(_)
            | ErrorKind::Usage(_)
            | ErrorKind::Interrupted(_) => Scope::Job,
        }
    }

    /// Whether the side that was written to has no room left.
    pub fn is_full(&self) -> bool {
        match &self.0.kind {
            ErrorKind::Disk(error) => {
                matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
            }
            // Of FTP, and of SFTP: no space, quota exceeded.
            ErrorKind::Refused { code, .. } => matches!(code, 452 | 552 | 14 | 15),
            _ => false,
        }
    }

    /// Whether there was nothing under that name.
    pub fn is_not_found(&self) -> bool {
        match &self.0.kind {
            ErrorKind::NotFound => true,
            ErrorKind::Disk(error) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Puts what was being done before what is there already: `copying a/b.txt: ` + `listing a: …`.
    #[must_use]
    pub fn while_doing(mut self, doing: impl Into<String>) -> Self {
        let outer = doing.into();
        self.0.doing = Some(match self.0.doing.take() {
            Some(inner) => format!("{outer}: {inner}"),
            None => outer,
        });
        self
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(doing) = &self.0.doing {
            write!(f, "{doing}: ")?;
        }
        match &self.0.kind {
            ErrorKind::Disk(error) => write!(f, "{}", plain(error)),
            ErrorKind::Network(error) => write!(f, "{}", plain(error)),
            ErrorKind::Timeout(phase) => write!(f, "timed out waiting for {phase}"),
            ErrorKind::Refused { code, text } => write!(f, "server refused: {code} {text}"),
            ErrorKind::Unavailable(text) => write!(f, "server is unavailable: {text}"),
            ErrorKind::Login(text) => write!(f, "login refused: {text}"),
            ErrorKind::Protocol(text) => write!(f, "server broke the protocol: {text}"),
            ErrorKind::NotFound => f.write_str("no such file or directory"),
            ErrorKind::Changed(what) => write!(f, "{what}; it is left for the next run"),
            ErrorKind::Unsupported(what) => f.write_str(what),
            ErrorKind::Tls(text)
            | ErrorKind::Verify(text)
            | ErrorKind::Metadata(text)
            | ErrorKind::MetadataVersion(text)
            | ErrorKind::Name(text)
            | ErrorKind::Guard(text)
            | ErrorKind::Locked(text)
            | ErrorKind::Usage(text) => f.write_str(text),
            ErrorKind::Interrupted(by) => write!(f, "interrupted by {by}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.kind {
            ErrorKind::Disk(error) | ErrorKind::Network(error) => Some(error),
            _ => None,
        }
    }
}

/// The error's words without Rust's "(os error 2)", in lower case as all our errors.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        // "I/O error" and "EOF" keep their capitals.
        Some(first)
            if !text
                .chars()
                .nth(1)
                .is_some_and(|c| c.is_ascii_uppercase() || c == '/') =>
        {
            std::iter::once(first.to_ascii_lowercase())
                .chain(chars)
                .collect()
        }
        _ => text.to_owned(),
    }
}

/// Adds what was being done to a failure.
pub trait Doing<T> {
    /// Says what was being done when this failed; the text is only made then.
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Doing<T> for std::result::Result<T, E> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().while_doing(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_done_then_what_happened() {
        let refused = Error::new(ErrorKind::Refused {
            code: 552,
            text: "disk full".into(),
        });
        let error = refused
            .while_doing("writing b.txt")
            .while_doing("copying a/b.txt");
        assert_eq!(
            error.to_string(),
            "copying a/b.txt: writing b.txt: server refused: 552 disk full"
        );
        assert!(error.is_full());
    }

    #[test]
    fn system_errors_read_like_prose() {
        let error = Error::new(ErrorKind::Disk(io::Error::from_raw_os_error(libc::ENOENT)));
        assert_eq!(error.to_string(), "no such file or directory");
        // As musl says it; glibc has other words.
        let error = Error::new(ErrorKind::Disk(io::Error::other("I/O error")));
        assert_eq!(error.to_string(), "I/O error");
    }

    #[test]
    fn a_full_disk_spoils_an_entry_and_a_dead_one_the_job() {
        let disk = |code| Error::new(ErrorKind::Disk(io::Error::from_raw_os_error(code)));
        assert_eq!(disk(libc::ENOSPC).scope(), Scope::Entry);
        assert_eq!(disk(libc::EIO).scope(), Scope::Job);
        assert_eq!(disk(libc::EROFS).scope(), Scope::Job);
    }
}
