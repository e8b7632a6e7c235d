//! Which server speaks, as far as its greeting shows. No socket.

use super::features::Features;

/// The software of a server, where something depends on it that the server does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    /// vsftpd.
    Vsftpd,
    /// ProFTPD.
    Proftpd,
    /// Pure-FTPd.
    PureFtpd,
    /// pyftpdlib.
    Pyftpdlib,
    /// The ftpd of GNU inetutils.
    Inetutils,
    /// The ftpd of BusyBox.
    Busybox,
    /// Any other, or one of these that does not show it: nothing may be taken for granted.
    Unknown,
}

/// What the greetings say. The first that is found counts: a welcome that an administrator wrote may name two.
const WORDS: [(&[u8], Software); 6] = [
    // Before all others: they write the names that they are told.
    (b"pure-ftpd", Software::PureFtpd),
    (b"vsftpd", Software::Vsftpd),
    // Before those that take commands in a stream.
    (b"proftpd", Software::Proftpd),
    // Before those that take data early.
    (b"pyftpdlib", Software::Pyftpdlib),
    (b"inetutils", Software::Inetutils),
    // It says no name, and no other was seen to greet so.
    (b"operation successful", Software::Busybox),
];

impl Software {
    /// Whether a server that greets so has the features that this software has: a greeting can be anybody's.
    pub fn agrees(self, features: &Features) -> bool {
        let has = |name| features.has(name);
        match self {
            Self::Vsftpd => has("tvfs") && !features.mlst,
            Self::Proftpd => has("clnt") && !has("esta"),
            Self::PureFtpd => has("esta"),
            Self::Pyftpdlib => features.mlst && has("tvfs") && !has("clnt") && !has("esta"),
            Self::Inetutils => has("lprt"),
            Self::Busybox => features.told && !features.mlst && !has("tvfs") && !has("lprt"),
            Self::Unknown => true,
        }
    }

    /// Reads the text of a greeting.
    pub fn of(greeting: &[u8]) -> Self {
        let is_said = |words: &[u8]| {
            greeting
                .windows(words.len())
                .any(|part| part.eq_ignore_ascii_case(words))
        };
        WORDS
            .iter()
            .find(|(words, _)| is_said(words))
            .map_or(Self::Unknown, |(_, software)| *software)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the servers greet.
    const GREETINGS: [(&[u8], Software); 6] = [
        (b"(vsFTPd 3.0.3)", Software::Vsftpd),
        (b"ProFTPD Server (q) [127.0.0.1]", Software::Proftpd),
        (
            b"---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\nYou are user number 1 of 50 allowed.",
            Software::PureFtpd,
        ),
        (b"pyftpdlib 2.2.0 ready.", Software::Pyftpdlib),
        (
            b"box FTP server (GNU inetutils 2.4) ready.",
            Software::Inetutils,
        ),
        (b"Operation successful", Software::Busybox),
    ];

    #[test]
    fn knows_servers_by_their_greetings() {
        for (greeting, software) in GREETINGS {
            assert_eq!(Software::of(greeting), software);
            assert_eq!(Software::of(&greeting.to_ascii_uppercase()), software);
        }
    }

    #[test]
    fn a_borrowed_greeting_does_not_fit() {
        // What FEAT tells, in the order of `GREETINGS`.
        const FEATURES: [&str; 6] = [
            "EPRT EPSV MDTM PASV SIZE TVFS",
            "CLNT CSID EPRT EPSV HOST MDTM MFF MFMT MLST TVFS UTF8",
            "UTF8 EPRT IDLE MDTM SIZE MFMT MLST MLSD PRET TVFS ESTA PASV EPSV ESTP",
            "EPRT EPSV MDTM MFMT MLST SIZE TVFS UTF8",
            "MDTM SIZE EPRT EPSV LPRT LPSV",
            "EPSV PASV MDTM SIZE",
        ];
        for (told, (_, server)) in FEATURES.iter().zip(GREETINGS) {
            let lines: String = told.split(' ').map(|name| format!(" {name}\r\n")).collect();
            let reply = format!("211-Features:\r\n{lines}211 End\r\n");
            let (reply, _) = super::super::Reply::parse(reply.as_bytes())
                .unwrap()
                .unwrap();
            let features = Features::parse(&reply);
            for (_, software) in GREETINGS {
                assert_eq!(
                    software.agrees(&features),
                    software == server,
                    "{software:?} {told}"
                );
            }
        }
    }

    #[test]
    fn what_names_no_server_is_unknown() {
        for greeting in [&b""[..], b"Welcome", b"FTP server ready.", b"vsFTP d"] {
            assert_eq!(Software::of(greeting), Software::Unknown);
        }
    }

    #[test]
    fn a_cut_or_changed_greeting_is_that_of_the_same_server_or_of_none() {
        for (greeting, software) in GREETINGS {
            let expected = [software, Software::Unknown];
            for end in 0..greeting.len() {
                assert!(expected.contains(&Software::of(&greeting[..end])), "{end}");
            }
            for place in 0..greeting.len() {
                for byte in 0..=255 {
                    let mut changed = greeting.to_vec();
                    changed[place] = byte;
                    assert!(expected.contains(&Software::of(&changed)), "{place} {byte}");
                }
            }
        }
    }

    #[test]
    fn of_two_that_are_named_one_counts() {
        let named = |greeting: &str| Software::of(greeting.as_bytes());
        assert_eq!(named("vsftpd, and no longer Pure-FTPd"), Software::PureFtpd);
        assert_eq!(named("ProFTPD, and no longer vsftpd"), Software::Vsftpd);
        assert_eq!(named("pyftpdlib, and no longer ProFTPD"), Software::Proftpd);
        assert_eq!(
            named("inetutils, and no longer pyftpdlib"),
            Software::Pyftpdlib
        );
    }
}
