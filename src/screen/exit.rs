//! What a run tells the program that started it. Pure.

use crate::error::{Error, ErrorKind, Scope};

/// What a run tells the program that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All is done.
    Done = 0,
    /// Some entries failed, the rest is done.
    SomeFailed = 1,
    /// The command line or a file it names makes no sense.
    Usage = 2,
    /// The user or `--max-duration` ended the run.
    Interrupted = 3,
    /// A guard refused the run, and nothing was changed.
    Guard = 4,
    /// Another run holds the lock.
    Locked = 5,
    /// The network failed, or the server is unavailable or talks nonsense.
    Network = 6,
    /// The server refused the login, or it is not the one it should be, or it gives no TLS.
    Login = 7,
    /// The local disk is full, read-only or broken.
    LocalDisk = 8,
    /// Metadata is unreadable and there is no safe way on.
    Metadata = 9,
    /// Conflicts were skipped or copies failed, and `--report-problems` asks for a code of its own.
    Problems = 10,
}

impl ExitCode {
    /// From harmless to grave: what the next run mends by itself comes before what somebody has to mend, and a
    /// refusal to do anything at all comes last. `--report-problems` replaces the code for failed entries, as in
    /// pyftpsync, and hides nothing graver.
    const BY_GRAVITY: [Self; 11] = [
        Self::Done,
        Self::SomeFailed,
        Self::Problems,
        Self::Interrupted,
        Self::Locked,
        Self::Network,
        Self::Login,
        Self::LocalDisk,
        Self::Metadata,
        Self::Guard,
        Self::Usage,
    ];

    /// The graver of the two.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let gravity = |code: Self| Self::BY_GRAVITY.iter().position(|known| *known == code);
        if gravity(self) >= gravity(other) {
            self
        } else {
            other
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// The exit code of a run that this failure ended.
pub fn exit_code_of(error: &Error) -> ExitCode {
    if error.is_not_found() {
        // A run ends so when a root is missing: the command line names what is not there.
        return ExitCode::Usage;
    }
    match error.kind() {
        ErrorKind::Disk(_) => ExitCode::LocalDisk,
        ErrorKind::Network(_)
        | ErrorKind::Timeout(_)
        | ErrorKind::Refused { .. }
        | ErrorKind::Unavailable(_)
        | ErrorKind::Protocol(_)
        | ErrorKind::Unsupported(_) => ExitCode::Network,
        ErrorKind::Login(_) | ErrorKind::Tls(_) => ExitCode::Login,
        ErrorKind::NotFound | ErrorKind::Usage(_) => ExitCode::Usage,
        ErrorKind::Changed(_) | ErrorKind::Verify(_) | ErrorKind::Name(_) => ExitCode::SomeFailed,
        ErrorKind::Metadata(_) | ErrorKind::MetadataVersion(_) => ExitCode::Metadata,
        ErrorKind::Guard(_) => ExitCode::Guard,
        ErrorKind::Locked(_) => ExitCode::Locked,
        ErrorKind::Interrupted(_) => ExitCode::Interrupted,
    }
}

/// What a failed entry makes of a run that goes on: a local disk that is full or fails is worth a code of its own.
pub(super) fn exit_code_of_entry(error: &Error) -> ExitCode {
    match error.kind() {
        ErrorKind::Disk(_) if error.is_full() || error.scope() == Scope::Job => ExitCode::LocalDisk,
        _ => ExitCode::SomeFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn the_graver_code_wins_either_way() {
        for (place, code) in ExitCode::BY_GRAVITY.iter().enumerate() {
            for harmless in &ExitCode::BY_GRAVITY[..place] {
                assert_eq!(code.worse(*harmless), *code);
                assert_eq!(harmless.worse(*code), *code);
            }
        }
        let mut numbers = ExitCode::BY_GRAVITY.map(|code| code as u8);
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[test]
    fn exit_codes_follow_the_failure() {
        let code = |kind: ErrorKind| exit_code_of(&Error::new(kind));
        let io = |errno| io::Error::from_raw_os_error(errno);
        assert_eq!(code(ErrorKind::Usage("x".into())), ExitCode::Usage);
        assert_eq!(
            code(ErrorKind::Interrupted("the user")),
            ExitCode::Interrupted
        );
        assert_eq!(
            code(ErrorKind::Network(io(libc::ECONNREFUSED))),
            ExitCode::Network
        );
        assert_eq!(code(ErrorKind::Login("530".into())), ExitCode::Login);
        assert_eq!(code(ErrorKind::Disk(io(libc::EROFS))), ExitCode::LocalDisk);
        assert_eq!(code(ErrorKind::Disk(io(libc::ENOENT))), ExitCode::Usage);
        assert_eq!(code(ErrorKind::Metadata("x".into())), ExitCode::Metadata);
        assert_eq!(
            code(ErrorKind::MetadataVersion("x".into())),
            ExitCode::Metadata
        );
    }
}
