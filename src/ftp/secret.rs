//! Keeps the password out of everything that is shown: servers repeat what they were sent, whole, in part, or in
//! another case.

/// A shorter piece of a password is not looked for: it would hide ordinary words.
const MIN_MASKED_BYTES: usize = 4;

/// What stands in its place.
const MASK: &[u8] = b"****";

/// The text without the password and its pieces.
pub(super) fn mask(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let encoded = percent_encoded(secret);
    let mut shown = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let told = told(rest, secret).max(told(rest, &encoded));
        let is_echo = told > 0 && (told >= MIN_MASKED_BYTES || is_argument(&shown, rest, told));
        let taken = if is_echo {
            if !shown.ends_with(MASK) {
                shown.extend_from_slice(MASK);
            }
            told
        } else {
            shown.push(rest[0]);
            1
        };
        rest = &rest[taken..];
    }
    shown
}

/// How many bytes at the front of `text` are a piece of the secret, in any case.
fn told(text: &[u8], secret: &[u8]) -> usize {
    let common = |from: usize| {
        let pairs = text.iter().zip(&secret[from..]);
        pairs
            .take_while(|(one, two)| one.eq_ignore_ascii_case(two))
            .count()
    };
    (0..secret.len()).map(common).max().unwrap_or(0)
}

/// Whether a short password stands where the command had it.
fn is_argument(before: &[u8], rest: &[u8], told: usize) -> bool {
    let start = before.len().saturating_sub(5);
    let ends = rest
        .get(told)
        .is_none_or(|byte| !byte.is_ascii_alphanumeric());
    ends && before[start..].eq_ignore_ascii_case(b"PASS ")
}

fn percent_encoded(secret: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for byte in secret {
        if byte.is_ascii_alphanumeric() {
            encoded.push(*byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str, secret: &str) -> String {
        String::from_utf8(mask(text.as_bytes(), secret.as_bytes())).unwrap()
    }

    #[test]
    fn no_form_of_the_password_is_shown() {
        for (text, shown) in [
            ("PASS geheim not understood", "PASS **** not understood"),
            ("'PASS GEHEIM' what?", "'PASS ****' what?"),
            ("wrong: gehe", "wrong: ****"),
            ("geheimgeheim", "****"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(masked(text, "geheim"), shown);
        }
        assert_eq!(
            masked("PASS p%40ss+w%C3%B6 no", "p@ss+wö"),
            "PASS ****+**** no"
        );
        assert_eq!(
            masked("500 PASS ab: no, about", "ab"),
            "500 PASS ****: no, about"
        );
        assert_eq!(masked("any", ""), "any");
        assert_eq!(masked("**** PASS", "****"), "**** PASS");
    }
}
