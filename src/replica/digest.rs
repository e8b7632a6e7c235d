//! Computes the digests that servers offer.

use sha2::Digest as _;

use crate::replica::{Algorithm, Digest};

/// Takes in bytes in pieces, gives their digest.
#[derive(Debug, Clone)]
pub struct Hasher(State);

#[derive(Debug, Clone)]
enum State {
    Sha256(sha2::Sha256),
    Md5(md5::Md5),
    /// The remainder so far, inverted.
    Crc32(u32),
}

impl Hasher {
    /// Begins a digest.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Crc32 => State::Crc32(u32::MAX),
        })
    }

    /// Takes in `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Md5(state) => state.update(bytes),
            State::Crc32(remainder) => {
                *remainder = bytes.iter().fold(*remainder, |crc, byte| shift(crc, *byte))
            }
        }
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        let (algorithm, bytes) = match self.0 {
            State::Sha256(state) => (Algorithm::Sha256, state.finalize().to_vec()),
            State::Md5(state) => (Algorithm::Md5, state.finalize().to_vec()),
            State::Crc32(remainder) => (Algorithm::Crc32, (!remainder).to_be_bytes().to_vec()),
        };
        Digest { algorithm, bytes }
    }
}

/// Four bits at a time: a table of 64 bytes, and still far faster than a router's line.
fn shift(remainder: u32, byte: u8) -> u32 {
    const TABLE: [u32; 16] = table();
    let low = remainder ^ u32::from(byte);
    let half = (low >> 4) ^ TABLE[(low & 15) as usize];
    (half >> 4) ^ TABLE[(half & 15) as usize]
}

/// The remainders of all half bytes, of the polynomial that zip, PNG and Ethernet use, bits reversed.
const fn table() -> [u32; 16] {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        let mut remainder = index as u32;
        let mut bit = 0;
        while bit < 4 {
            remainder = (remainder >> 1) ^ (POLYNOMIAL * (remainder & 1));
            bit += 1;
        }
        table[index] = remainder;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(algorithm: Algorithm, pieces: &[&[u8]]) -> String {
        let mut hasher = Hasher::new(algorithm);
        for piece in pieces {
            hasher.update(piece);
        }
        let digest = hasher.finish();
        assert_eq!(digest.algorithm, algorithm);
        digest
            .bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn gives_the_check_values_of_the_standards() {
        assert_eq!(hex(Algorithm::Crc32, &[b"1234", b"56789"]), "cbf43926");
        assert_eq!(hex(Algorithm::Crc32, &[]), "00000000");
        assert_eq!(
            hex(Algorithm::Md5, &[b"a", b"bc"]),
            "900150983cd24fb0d6963f7d28e17f72"
        );
        assert_eq!(
            hex(Algorithm::Sha256, &[b"ab", b"c"]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
