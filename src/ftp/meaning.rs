//! What a reply means: by the class of its code, then by the code where a decision needs one, then by its words (RFC 959,
//! 4.2; RFC 1123, 4.1.2.11). The one place that decides it.

use super::reply::Reply;

/// What a reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// More follows (1xx).
    Preliminary,
    /// It is done (2xx), whichever code says so.
    Done,
    /// The next command of a sequence is wanted (3xx).
    GoOn,
    /// Not now (4xx).
    NotNow,
    /// No (5xx).
    No,
    /// The server does not know or does not implement the command: it need not be sent again.
    Unknown,
}

/// What the reply to a login means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// Come in.
    Done,
    /// The password is wanted.
    Password,
    /// An account name is wanted.
    Account,
    /// There is no room for now.
    Full,
    /// User or password is wrong, or the way they come.
    Refused,
}

/// Words of a server that refuses what it was told.
const WRONG: [&str; 8] = [
    "incorrect",
    "denied",
    "invalid",
    "wrong",
    "authentication failed",
    "login failed",
    "not allow",
    "encryption",
];

/// Words of a server that has no room, now.
const FULL: [&str; 14] = [
    "too many",
    "maximum",
    "exceed",
    "limit",
    "already",
    "in use",
    "try again",
    "later",
    "connections",
    "busy",
    "full",
    "no more",
    "sessions",
    "temporar",
];

/// Words of a server that lets nobody in without TLS (vsftpd 530, ProFTPD 550, Pure-FTPd 421, FileZilla 503), said to one who
/// came without.
const NO_TLS: [&str; 6] = [
    "tls",
    "ssl",
    "encrypt",
    "cleartext",
    "clear text",
    "auth first",
];

/// Words of a server that has nothing to list.
const NOTHING: [&str; 5] = [
    "no files",
    "no file found",
    "no data set",
    "empty",
    "no entries",
];

/// Whether the text of a refused listing says that there is nothing to list, in a directory that was entered.
pub fn says_nothing_there(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    NOTHING.iter().any(|words| text.contains(words))
}

/// Whether the text of a refused login says that it came without TLS.
pub(super) fn says_tls_is_wanted(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    NO_TLS.iter().any(|words| text.contains(words))
}

impl Meaning {
    /// What a code means by itself.
    pub const fn of(code: u16) -> Self {
        match code {
            // `202`: not implemented, superfluous at this site.
            202 | 500 | 502 | 504 => Self::Unknown,
            100..200 => Self::Preliminary,
            200..300 => Self::Done,
            300..400 => Self::GoOn,
            400..500 => Self::NotNow,
            _ => Self::No,
        }
    }
}

impl Reply {
    /// What it means.
    pub const fn meaning(&self) -> Meaning {
        Meaning::of(self.code)
    }

    /// Whether more replies to the same command follow (1xx).
    pub const fn is_preliminary(&self) -> bool {
        matches!(self.meaning(), Meaning::Preliminary)
    }

    /// Whether the command succeeded.
    pub const fn is_success(&self) -> bool {
        matches!(self.meaning(), Meaning::Done)
    }

    /// Whether the server wants the next command of a sequence (3xx).
    pub const fn is_intermediate(&self) -> bool {
        matches!(self.meaning(), Meaning::GoOn)
    }

    /// Whether the server does not know or does not implement the command: it need not be sent again.
    pub const fn is_unknown_command(&self) -> bool {
        matches!(self.meaning(), Meaning::Unknown)
    }

    /// Whether this may be about the command having been sent ahead: it is not known, cannot be run now, or not in this
    /// order.
    pub(super) const fn says_too_early(&self) -> bool {
        matches!(self.code, 500 | 502 | 503)
    }

    /// Whether a transfer is refused for its data connection: there is none (425), or nobody asked for one (503).
    pub(super) const fn lacks_connection(&self) -> bool {
        matches!(self.code, 425 | 503)
    }

    /// Whether the data connection was not found, or cut.
    pub(super) const fn lost_connection(&self) -> bool {
        matches!(self.code, 425 | 426)
    }

    /// Whether this refuses a data connection that does not resume the TLS session, after it has shaken hands: vsftpd
    /// says 522, ProFTPD and FileZilla 425; others may choose the neighbours.
    pub(super) const fn wants_resumption(&self) -> bool {
        matches!(self.code, 425 | 426 | 450 | 522 | 534)
    }

    /// Whether the server closes the control connection with it (RFC 959, 4.2.2).
    pub(super) const fn is_goodbye(&self) -> bool {
        self.code == 421
    }

    /// What it means as the reply to `USER` or `PASS`. `was_let_in`: this account could log in before, so what is refused
    /// now is not its password.
    pub(super) fn login_meaning(&self, was_let_in: bool) -> Login {
        match self.code {
            332 => Login::Account,
            300..400 => Login::Password,
            200..300 => Login::Done,
            400..500 => Login::Full,
            _ if was_let_in => Login::Full,
            _ if self.mentions(&WRONG) => Login::Refused,
            _ if self.mentions(&FULL) => Login::Full,
            _ => Login::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        let (reply, _) = Reply::parse(format!("{text}\r\n").as_bytes())
            .unwrap()
            .unwrap();
        reply
    }

    #[test]
    fn the_class_decides() {
        for code in 100..=699 {
            let meaning = Meaning::of(code);
            match code {
                202 | 500 | 502 | 504 => assert_eq!(meaning, Meaning::Unknown),
                _ => assert_eq!(meaning == Meaning::Done, code / 100 == 2, "{code}"),
            }
        }
        assert!(reply("200 gone").is_success() && reply("299 gone").is_success());
        assert_eq!(reply("451 busy").meaning(), Meaning::NotNow);
        assert_eq!(reply("521 there").meaning(), Meaning::No);
    }

    #[test]
    fn a_full_server_is_told_from_a_wrong_password_in_any_words() {
        for text in [
            "530 Sorry, you have exceeded the number of connections.",
            "530 Sorry, the maximum number of clients (1) for this user are already connected.",
            "530 User already logged in.",
            "530 Not logged in, user session in use.",
            "530 Too many users, try again later",
            "430 who knows",
            "421 There are too many connections from your internet address.",
        ] {
            assert_eq!(reply(text).login_meaning(false), Login::Full, "{text}");
        }
        for text in [
            "530 Login incorrect. Please try again.",
            "530 Login authentication failed, check limits of your account",
            "530 Access denied",
            "530 User cannot log in.",
            "530 This server does not allow plain FTP. You have to use FTP over TLS.",
            "534 Policy requires SSL.",
            "503 Use AUTH first.",
        ] {
            assert_eq!(reply(text).login_meaning(false), Login::Refused, "{text}");
            assert_eq!(reply(text).login_meaning(true), Login::Full, "{text}");
        }
        assert_eq!(reply("332 whose?").login_meaning(true), Login::Account);
        assert_eq!(reply("331 who?").login_meaning(false), Login::Password);
        assert_eq!(reply("202 superfluous").login_meaning(false), Login::Done);
    }

    #[test]
    fn an_empty_directory_may_be_refused() {
        for text in ["No files found", "No data sets found."] {
            assert!(says_nothing_there(text), "{text}");
        }
        for text in ["Permission denied", "No such file or directory"] {
            assert!(!says_nothing_there(text), "{text}");
        }
    }
}
