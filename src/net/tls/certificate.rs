//! What people and pins need to know of an X.509 certificate (RFC 5280): its key, its names, its dates. Sans-io; it
//! verifies nothing.

use sha2::{Digest, Sha256};

use crate::job::Pin;
use crate::path::Escaped;
use crate::time::Timestamp;

/// An RSA key of fewer bits counts as broken.
const MIN_RSA_BITS: usize = 2048;

/// More names are not shown.
const MAX_SHOWN_NAMES: usize = 5;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// 1.2.840.113549.1.1.1
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// A certificate, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// Digest of its public key.
    pub(super) pin: Pin,
    /// Bits of its key, where it is an RSA key.
    pub(super) rsa_bits: Option<usize>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// Distinguished names, encoded.
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// The names and addresses it is good for, or the common name where it has none; escaped.
    pub(super) names: Vec<String>,
}

impl Certificate {
    /// Takes a certificate apart; none where it is none.
    pub(super) fn parse(der: &[u8]) -> Option<Self> {
        let mut whole = Der(der);
        let mut outer = Der(whole.take(SEQUENCE)?);
        let mut inner = Der(outer.take(SEQUENCE)?);
        inner.take_if(VERSION);
        inner.take(INTEGER)?;
        inner.take(SEQUENCE)?;
        let issuer = inner.take(SEQUENCE)?;
        let mut validity = Der(inner.take(SEQUENCE)?);
        let (not_before, not_after) = (validity.take_time()?, validity.take_time()?);
        let subject = inner.take(SEQUENCE)?;
        let before_key = inner.0;
        let key = inner.take(SEQUENCE)?;
        let key_whole = &before_key[..before_key.len() - inner.0.len()];
        let mut names = alternative_names(inner).unwrap_or_default();
        if names.is_empty() {
            names.extend(common_name(subject));
        }
        Some(Self {
            pin: Pin(Sha256::digest(key_whole).into()),
            rsa_bits: rsa_bits(key),
            not_before,
            not_after,
            subject: subject.to_vec(),
            issuer: issuer.to_vec(),
            names,
        })
    }

    /// Whether its key is so short that it proves nothing.
    pub(super) fn is_weak(&self) -> bool {
        self.rsa_bits.is_some_and(|bits| bits < MIN_RSA_BITS)
    }

    /// The names it is good for, as text.
    pub(super) fn shown_names(&self) -> String {
        match self.names.as_slice() {
            [] => "no name".to_owned(),
            names if names.len() > MAX_SHOWN_NAMES => {
                format!("{} and more", names[..MAX_SHOWN_NAMES].join(", "))
            }
            names => names.join(", "),
        }
    }

    /// Who vouches for it, as text.
    pub(super) fn shown_issuer(&self) -> String {
        common_name(&self.issuer).unwrap_or_else(|| "an authority without a name".to_owned())
    }
}

/// What is left of an encoding.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, which has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.take_any()?;
        (found == tag).then_some(content)
    }

    /// The content of the next element, if it has this tag.
    fn take_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.0.first() == Some(&tag)).then(|| self.take(tag))?
    }

    fn take_any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short @ 0..=0x7f => (short, rest),
            // Nothing in a certificate is as long as 16 MiB.
            long @ 0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(long - 0x80)?;
                let length = digits
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn take_time(&mut self) -> Option<Timestamp> {
        let (tag, text) = self.take_any()?;
        let digits = text.strip_suffix(b"Z")?;
        match (tag, digits.first()) {
            (GENERALIZED_TIME, _) => Timestamp::parse_ftp(digits),
            // Two digits of a year: 1950 to 2049 (RFC 5280, 4.1.2.5.1).
            (UTC_TIME, Some(b'0'..=b'4')) => Timestamp::parse_ftp(&[b"20", digits].concat()),
            (UTC_TIME, _) => Timestamp::parse_ftp(&[b"19", digits].concat()),
            _ => None,
        }
    }
}

fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut key = Der(key);
    let mut algorithm = Der(key.take(SEQUENCE)?);
    if algorithm.take(OBJECT_ID)? != RSA {
        return None;
    }
    // A bit string begins with the number of its unused bits.
    let (_, bits) = key.take(BIT_STRING)?.split_first()?;
    let modulus = Der(Der(bits).take(SEQUENCE)?).take(INTEGER)?;
    let start = modulus.iter().position(|byte| *byte != 0)?;
    let leading = modulus[start].leading_zeros() as usize;
    Some((modulus.len() - start) * 8 - leading)
}

fn common_name(name: &[u8]) -> Option<String> {
    let mut parts = Der(name);
    let mut found = None;
    while let Some(set) = parts.take(SET) {
        let mut pair = Der(Der(set).take(SEQUENCE)?);
        if pair.take(OBJECT_ID)? == COMMON_NAME {
            let (_, text) = pair.take_any()?;
            found = Some(Escaped(text).to_string());
        }
    }
    found
}

/// The names in the extension for them.
fn alternative_names(mut rest: Der<'_>) -> Option<Vec<String>> {
    let mut extensions = loop {
        match rest.take_any()? {
            (EXTENSIONS, content) => break Der(Der(content).take(SEQUENCE)?),
            // Unique identifiers, of which nobody has heard in decades.
            _ => continue,
        }
    };
    while let Some(extension) = extensions.take(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.take(OBJECT_ID)? != SUBJECT_ALT_NAME {
            continue;
        }
        let (tag, content) = extension.take_any()?;
        // A boolean may stand before: whether it is critical.
        let content = if tag == OCTET_STRING {
            content
        } else {
            extension.take(OCTET_STRING)?
        };
        let mut names = Der(Der(content).take(SEQUENCE)?);
        let mut shown = Vec::new();
        while let Some((tag, name)) = names.take_any() {
            match tag {
                DNS_NAME => shown.push(Escaped(name).to_string()),
                IP_ADDRESS => shown.extend(address(name)),
                // Mail addresses and the like say nothing of servers.
                _ => {}
            }
        }
        return Some(shown);
    }
    None
}

fn address(bytes: &[u8]) -> Option<String> {
    use std::net::IpAddr;
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let six = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or(six).ok().map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: &[u8] = include_bytes!("example.der");

    #[test]
    fn takes_a_certificate_apart() {
        let leaf = Certificate::parse(LEAF).unwrap();
        assert_eq!(leaf.names, ["nas.lan", "192.168.1.2"]);
        assert_eq!(leaf.rsa_bits, Some(1024));
        assert_eq!(leaf.issuer, leaf.subject);
        assert_eq!(leaf.shown_issuer(), "nas");
        assert_eq!(leaf.not_after.as_secs() - leaf.not_before.as_secs(), 86_400);
        // By `openssl x509 -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256`.
        assert_eq!(
            leaf.pin.to_string(),
            "sha256:51748f577884619458141e12d0cdd636138dee26e084c4dc2ec87fcb34d8b7ad"
        );
    }

    #[test]
    fn survives_every_prefix_and_every_changed_byte() {
        for end in 0..LEAF.len() {
            assert_eq!(Certificate::parse(&LEAF[..end]), None, "{end}");
        }
        for place in 0..LEAF.len() {
            for byte in 0..=255 {
                let mut changed = LEAF.to_vec();
                changed[place] = byte;
                if let Some(leaf) = Certificate::parse(&changed) {
                    let text = leaf.shown_names() + &leaf.shown_issuer();
                    assert!(!text.contains(char::is_control), "{text:?}");
                }
            }
        }
    }
}
