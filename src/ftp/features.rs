//! The reply to FEAT (RFC 2389): what a server says it can do. No socket.

use super::Reply;

/// What a server says it can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// Whether the server answered at all; if not, everything has to be tried.
    pub told: bool,
    /// `MLST`, and with it `MLSD`.
    pub mlst: bool,
    /// Whether facts tell modes (`UNIX.mode`) only when they are asked to.
    pub mode_on_demand: bool,
    /// `MFMT`.
    pub mfmt: bool,
    /// `UTF8`.
    pub utf8: bool,
    /// `HASH`: the algorithms, in lower case.
    pub hash: Vec<String>,
    /// `XSHA256`.
    pub xsha256: bool,
    /// `XMD5`.
    pub xmd5: bool,
    /// `XCRC`.
    pub xcrc: bool,
    /// `AVBL`.
    pub avbl: bool,
    /// All names, in lower case.
    pub(super) names: Vec<String>,
}

impl Features {
    /// Whether the reply names it, in lower case.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// All names, in lower case.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Reads the reply; a refusal tells nothing.
    pub fn parse(reply: &Reply) -> Self {
        let mut features = Self::default();
        if !reply.is_success() || reply.lines().count() < 2 {
            return features;
        }
        features.told = true;
        for line in reply.lines() {
            let line = String::from_utf8_lossy(line).trim().to_ascii_lowercase();
            let (name, rest) = line.split_once(' ').unwrap_or((&line, ""));
            features.names.push(name.to_owned());
            match name {
                "mlst" | "mlsd" => {
                    features.mlst = true;
                    // The facts that are told carry a star.
                    features.mode_on_demand |= rest.split(';').any(|fact| fact == "unix.mode");
                }
                "mfmt" => features.mfmt = true,
                // Seen as `UTF8`, `UTF8 ON` and `UTF-8`.
                "utf8" | "utf-8" => features.utf8 = true,
                "hash" => {
                    // The algorithm in use carries a star: `SHA-1*;SHA-256`.
                    features.hash = rest
                        .split(';')
                        .map(|name| name.trim_end_matches('*').trim().to_owned())
                        .collect();
                }
                "xsha256" => features.xsha256 = true,
                "xmd5" => features.xmd5 = true,
                "xcrc" => features.xcrc = true,
                "avbl" => features.avbl = true,
                _ => {}
            }
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from ProFTPD 1.3.8, shortened.
    const PROFTPD: &[u8] = b"211-Features:\r\n CLNT\r\n HASH CRC32;MD5;SHA-1*;SHA-256;SHA-512;\r\n MDTM\r\n MFMT\r\n MLST modify*;perm*;size*;type*;unique*;UNIX.group*;\r\n UTF8\r\n XCRC\r\n XMD5\r\n XSHA256\r\n211 End\r\n";

    fn parse(bytes: &[u8]) -> Option<Features> {
        let (reply, _) = Reply::parse(bytes).ok()??;
        Some(Features::parse(&reply))
    }

    #[test]
    fn reads_a_recorded_reply() {
        let features = parse(PROFTPD).unwrap();
        assert!(features.told && features.mlst && features.mfmt && features.utf8);
        assert!(features.xsha256 && features.xmd5 && features.xcrc && !features.avbl);
        assert!(features.hash.iter().any(|name| name == "sha-256"));
        assert!(features.hash.iter().any(|name| name == "sha-1"));
    }

    #[test]
    fn a_refusal_tells_nothing() {
        assert_eq!(parse(b"530 Login first\r\n"), Some(Features::default()));
    }

    #[test]
    fn survives_every_prefix_and_every_changed_byte() {
        for end in 0..PROFTPD.len() {
            assert_eq!(parse(&PROFTPD[..end]), None);
        }
        for place in 0..PROFTPD.len() {
            for byte in 0..=255 {
                let mut changed = PROFTPD.to_vec();
                changed[place] = byte;
                let _ = parse(&changed);
            }
        }
    }
}
