//! Names on the way: as bytes in UTF-8 with us, in the server's encoding with it.

use std::borrow::Cow;

use crate::job::Encoding;

/// The characters of Windows-1252 from 0x80 to 0x9F; it has none at five places.
const WINDOWS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// A character that the encoding lacks becomes a byte that no command takes, so that the name is refused and never
/// means another file.
const UNSENDABLE: u8 = 0;

/// The name as the server has it.
pub(super) fn encode(name: &[u8], encoding: Encoding) -> Vec<u8> {
    let text = match (encoding, std::str::from_utf8(name)) {
        (Encoding::Utf8, _) => return name.to_vec(),
        (Encoding::Latin1 | Encoding::Windows1252, Ok(text)) => text,
        (Encoding::Latin1 | Encoding::Windows1252, Err(_)) => return vec![UNSENDABLE],
    };
    text.chars()
        .map(|letter| byte_of(letter, encoding))
        .collect()
}

/// A name of the server's as we have it.
pub(super) fn decode(name: &[u8], encoding: Encoding) -> Cow<'_, [u8]> {
    if encoding == Encoding::Utf8 || name.is_ascii() {
        return Cow::Borrowed(name);
    }
    let letters = name.iter().map(|byte| letter_of(*byte, encoding));
    Cow::Owned(letters.collect::<String>().into_bytes())
}

fn letter_of(byte: u8, encoding: Encoding) -> char {
    match (byte, encoding) {
        (0x80..=0x9f, Encoding::Windows1252) => WINDOWS[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn byte_of(letter: char, encoding: Encoding) -> u8 {
    (0..=255)
        .find(|byte| letter_of(*byte, encoding) == letter)
        .unwrap_or(UNSENDABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for encoding in [Encoding::Latin1, Encoding::Windows1252] {
            let bytes: Vec<u8> = (1..=255).collect();
            let name = decode(&bytes, encoding);
            assert!(std::str::from_utf8(&name).is_ok());
            assert_eq!(encode(&name, encoding), bytes);
        }
    }

    #[test]
    fn what_the_encoding_lacks_cannot_be_sent() {
        assert_eq!(encode("Bücher".as_bytes(), Encoding::Latin1), b"B\xfccher");
        assert_eq!(encode("5 €".as_bytes(), Encoding::Windows1252), b"5 \x80");
        assert!(encode("5 €".as_bytes(), Encoding::Latin1).contains(&UNSENDABLE));
        assert!(encode(b"\xff", Encoding::Latin1).contains(&UNSENDABLE));
        assert_eq!(encode(b"\xff", Encoding::Utf8), b"\xff");
    }
}
