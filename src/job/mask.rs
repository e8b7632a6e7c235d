//! Keeps a password out of everything that is shown: servers repeat what they were sent, whole, in part, or in another form.

use super::ANONYMOUS_PASSWORD;

/// A shorter piece of a password is not looked for: it would hide ordinary words.
const MIN_PIECE_BYTES: usize = 4;

/// The same for the digits of base64 and of hexadecimal numbers, which times and sizes consist of.
const MIN_BASE64_DIGITS: usize = 6;
const MIN_HEX_DIGITS: usize = 8;

/// What stands in the place of a word.
const MASK: &[u8] = b"****";

/// Knows the forms in which passwords may come back. It neither prints nor compares.
#[derive(Clone, Default)]
pub struct Mask(Vec<Form>);

/// A password in one form, in small letters.
#[derive(Clone)]
struct Form {
    bytes: Vec<u8>,
    /// So much of it gives it away.
    least: usize,
    /// Whether everything but letters and digits is passed over: quotes, blanks, line ends, what stands for a letter that the
    /// server does not have.
    is_spread: bool,
    /// Whether it counts only where nothing is beside it.
    is_alone: bool,
}

impl Mask {
    /// Of what nobody may see.
    pub fn of(secret: &[u8]) -> Self {
        let mut mask = Self::default();
        mask.add(secret);
        mask
    }

    /// Hides this, too.
    pub fn add(&mut self, secret: &[u8]) {
        // Everybody knows that one.
        if secret == ANONYMOUS_PASSWORD.as_bytes() {
            return;
        }
        if secret.len() < MIN_PIECE_BYTES {
            self.add_form(secret.to_vec(), secret.len().max(1), true);
        }
        self.add_form(secret.to_vec(), MIN_PIECE_BYTES, false);
        self.add_form(percent_encoded(secret), MIN_PIECE_BYTES, false);
        self.add_form(as_html(secret), MIN_PIECE_BYTES, false);
        self.add_form(hexadecimal(secret), MIN_HEX_DIGITS, false);
        // It may stand behind a user and a colon.
        for before in 0..3 {
            self.add_form(base64(secret, before), MIN_BASE64_DIGITS, false);
        }
    }

    fn add_form(&mut self, mut bytes: Vec<u8>, least: usize, is_alone: bool) {
        bytes.make_ascii_lowercase();
        let letters: Vec<u8> = bytes
            .iter()
            .copied()
            .filter(u8::is_ascii_alphanumeric)
            .collect();
        for (bytes, is_spread) in [(bytes, false), (letters, true)] {
            let is_known = self
                .0
                .iter()
                .any(|form| form.bytes == bytes && form.is_spread == is_spread);
            if bytes.len() >= least && !is_known && !(is_alone && is_spread) {
                self.0.push(Form {
                    bytes,
                    least,
                    is_spread,
                    is_alone,
                });
            }
        }
    }

    /// The text without the words that hold a password or a piece of one.
    pub fn hide(&self, text: &[u8]) -> Vec<u8> {
        let small = |(place, byte): (usize, &u8)| (place, byte.to_ascii_lowercase());
        let all: Vec<(usize, u8)> = text.iter().enumerate().map(small).collect();
        let is_letter = |(_, byte): &(usize, u8)| byte.is_ascii_alphanumeric();
        let letters: Vec<(usize, u8)> = all.iter().copied().filter(is_letter).collect();
        let mut hidden = vec![false; text.len()];
        for form in &self.0 {
            form.mark(if form.is_spread { &letters } else { &all }, &mut hidden);
        }
        let mut shown = Vec::with_capacity(text.len());
        let mut start = 0;
        while start < text.len() {
            // A word, and what is between the words.
            let is_blank = |place: usize| text[place].is_ascii_whitespace() && !hidden[place];
            let kind = is_blank(start);
            let end = (start..text.len())
                .find(|place| is_blank(*place) != kind)
                .unwrap_or(text.len());
            if hidden[start..end].contains(&true) {
                shown.extend_from_slice(MASK);
            } else {
                shown.extend_from_slice(&text[start..end]);
            }
            start = end;
        }
        shown
    }
}

impl Form {
    /// Marks its pieces in a text, of which each byte comes with its place.
    fn mark(&self, text: &[(usize, u8)], hidden: &mut [bool]) {
        for (at, seen) in text.windows(self.least).enumerate() {
            let is_piece =
                |piece: &[u8]| piece.iter().zip(seen).all(|(one, (_, other))| one == other);
            if self.bytes.windows(self.least).any(is_piece)
                && !(self.is_alone && is_beside_letters(text, at, self.least))
            {
                hidden[seen[0].0..=seen[self.least - 1].0].fill(true);
            }
        }
    }
}

fn is_beside_letters(text: &[(usize, u8)], at: usize, count: usize) -> bool {
    let is_letter = |place: Option<usize>| {
        let byte = place.and_then(|place| text.get(place));
        byte.is_some_and(|(_, byte)| byte.is_ascii_alphanumeric())
    };
    is_letter(at.checked_sub(1)) || is_letter(Some(at + count))
}

fn percent_encoded(secret: &[u8]) -> Vec<u8> {
    encoded(secret, |byte| {
        (!byte.is_ascii_alphanumeric()).then(|| format!("%{byte:02X}"))
    })
}

fn as_html(secret: &[u8]) -> Vec<u8> {
    encoded(secret, |byte| {
        let entity = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => return None,
        };
        Some(entity.to_owned())
    })
}

fn hexadecimal(secret: &[u8]) -> Vec<u8> {
    encoded(secret, |byte| Some(format!("{byte:02x}")))
}

fn encoded(secret: &[u8], encode: impl Fn(u8) -> Option<String>) -> Vec<u8> {
    let encode = |byte: &u8| encode(*byte).map_or_else(|| vec![*byte], String::into_bytes);
    secret.iter().flat_map(encode).collect()
}

/// The digits that nothing but the secret decides, with so many bytes before it.
fn base64(secret: &[u8], before: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = [&vec![0; before], secret].concat();
    let bit = |place: usize| usize::from(bytes[place / 8] >> (7 - place % 8) & 1);
    let digits = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
    digits
        .map(|digit| DIGITS[(0..6).fold(0, |value, at| value << 1 | bit(digit * 6 + at))])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str, secret: &str) -> String {
        String::from_utf8_lossy(&Mask::of(secret.as_bytes()).hide(text.as_bytes())).into_owned()
    }

    #[test]
    fn no_form_of_the_password_is_shown() {
        for (text, shown) in [
            ("PASS geheim not understood", "PASS **** not understood"),
            ("'PASS GEHEIM' what?", "'PASS **** what?"),
            ("wrong: gehe", "wrong: ****"),
            ("geheimgeheim", "****"),
            ("ftp://me:geheim@nas/ is no path", "**** is no path"),
            // In two lines of a reply, in three, letter by letter.
            ("PASS geh\neim what?", "PASS **** what?"),
            ("g\n-eh-\neim", "****"),
            ("g e h e i m", "****"),
            // Beside a user, and alone: `user:geheim`, `me:geheim`, `\0me\0geheim`, `geheim`.
            ("dXNlcjpnZWhlaW0=", "****"),
            ("bWU6Z2VoZWlt", "****"),
            ("AG1lAGdlaGVpbQ== again", "**** again"),
            ("Z2VoZWlt", "****"),
            ("67656865696d or 67 65 68 65 69 6D", "**** or ****"),
            (
                "nothing to hide, 213 20240229123456",
                "nothing to hide, 213 20240229123456",
            ),
        ] {
            assert_eq!(masked(text, "geheim"), shown, "{text}");
        }
    }

    #[test]
    fn nor_any_form_of_what_is_no_letter() {
        let secret = "p@ss\"+&wö";
        for text in [
            "p@ss\"+&wö",
            "P@SS\"+&WÖ",
            "p%40ss%22%2B%26w%C3%B6",
            "p%40ss%22%2b&w%c3%b6",
            "p@ss&quot;+&amp;wö",
            "p@ss\\\"+&w\\xc3\\xb6",
            "p@ss\"\"+&w??",
            "p@ss\"+&wÃ¶",
            "cEBzcyIrJnfDtg==",
        ] {
            assert_eq!(
                masked(&format!("no: {text} (so)"), secret),
                "no: **** (so)",
                "{text}"
            );
        }
    }

    #[test]
    fn a_short_password_is_hidden_where_it_stands_alone() {
        for (text, shown) in [
            ("500 PASS ab: no, about", "500 PASS **** no, about"),
            ("what is 'AB'?", "what is ****"),
            ("pass=ab", "****"),
            ("absent", "absent"),
        ] {
            assert_eq!(masked(text, "ab"), shown);
        }
        assert_eq!(masked("p%40 or p@", "p@"), "**** or ****");
        assert_eq!(masked("any", ""), "any");
        assert_eq!(masked("**** PASS", "****"), "**** PASS");
        assert_eq!(
            masked("no anonymous@ here", "anonymous@"),
            "no anonymous@ here"
        );
    }

    #[test]
    fn any_piece_of_four_bytes_gives_it_away() {
        let secret = "Tr0ub4dor&3 h0rse";
        let bytes = secret.as_bytes();
        for start in 0..bytes.len() {
            for end in start + MIN_PIECE_BYTES..=bytes.len() {
                let text = format!("say {}!", &secret[start..end]);
                let shown = masked(&text, secret);
                let is_left = |piece: &[u8]| {
                    let shown = shown.as_bytes();
                    shown.windows(MIN_PIECE_BYTES).any(|it| it == piece)
                };
                assert!(
                    !bytes.windows(MIN_PIECE_BYTES).any(is_left),
                    "{text}: {shown}"
                );
            }
        }
    }
}
