//! Digests, in the two dialects that servers have: `HASH` and one command for each algorithm.

use super::FtpReplica;
use crate::error::Result;
use crate::ftp::{Command, Reply};
use crate::replica::{Algorithm, Digest};

impl FtpReplica {
    pub(super) fn ask_digest(
        &mut self,
        path: &[u8],
        algorithm: Algorithm,
    ) -> Result<Option<Reply>> {
        let features = self.session.features();
        let (name, own, command) = match algorithm {
            Algorithm::Sha256 => ("SHA-256", features.xsha256, Command::Xsha256(path)),
            Algorithm::Md5 => ("MD5", features.xmd5, Command::Xmd5(path)),
            Algorithm::Crc32 => ("CRC32", features.xcrc, Command::Xcrc(path)),
        };
        if own {
            return self.session.ask(&command).map(Some);
        }
        if !features
            .hash
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
        {
            return Ok(None);
        }
        let chosen = self.session.ask(&Command::OptsHash(name))?;
        if !chosen.is_success() {
            return Ok(None);
        }
        self.session.ask(&Command::Hash(path)).map(Some)
    }
}

/// The digest in a reply: the word that has its length in hexadecimal digits. Servers put the algorithm, a range or
/// the name around it.
pub(super) fn find_digest(text: &[u8], algorithm: Algorithm) -> Option<Digest> {
    let bytes = match algorithm {
        Algorithm::Sha256 => 32,
        Algorithm::Md5 => 16,
        Algorithm::Crc32 => 4,
    };
    let text = String::from_utf8_lossy(text);
    let word = text.split_whitespace().find(|word| {
        let digits = word.len() == 2 * bytes || (bytes == 4 && (1..=8).contains(&word.len()));
        digits && word.bytes().all(|digit| digit.is_ascii_hexdigit())
    })?;
    let padded = format!("{word:0>width$}", width = 2 * bytes);
    let bytes = (0..bytes)
        .map(|place| u8::from_str_radix(&padded[2 * place..2 * place + 2], 16).ok())
        .collect::<Option<_>>()?;
    Some(Digest { algorithm, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_digests_in_recorded_replies() {
        let crc = find_digest(b"4076E5D1", Algorithm::Crc32).unwrap();
        assert_eq!(crc.bytes, [0x40, 0x76, 0xe5, 0xd1]);
        let md5 = find_digest(b"3749F52BB326AE96782B42DC0A97B4C1", Algorithm::Md5).unwrap();
        assert_eq!((md5.bytes[0], md5.bytes.len()), (0x37, 16));
        let line = b"SHA-256 0-11 c67c199595622dfbdc9e415c4a0ad6166eb49cbf74c6aac7bb3e958604d5ecb8 file.txt";
        let sha = find_digest(line, Algorithm::Sha256).unwrap();
        assert_eq!((sha.bytes[0], sha.bytes.len()), (0xc6, 32));
        assert_eq!(find_digest(b"no digest here", Algorithm::Md5), None);
    }
}
