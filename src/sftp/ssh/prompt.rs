//! What the SSH program asks, read from the end of what it printed. Pure.

use crate::job::Pin;

/// OpenSSH shows only so much of a user's and a host's name when it asks for a password.
const SHOWN_USER_BYTES: usize = 30;
const SHOWN_HOST_BYTES: usize = 128;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// A password; of whom on which host, where it says so.
    Password(Option<(String, String)>),
    /// Whether a host key is the right one.
    HostKey {
        /// The host, where it says so.
        host: Option<String>,
        /// The key's digest, where it could be read.
        pin: Option<Pin>,
    },
    /// The answer about the host key was none that it takes.
    HostKeyAgain,
    /// Anything else: a key's phrase, a code.
    Other,
}

/// The question at the end of what was printed, if there is one.
pub(super) fn find(printed: &[u8]) -> Option<Question> {
    let text = String::from_utf8_lossy(printed);
    // Some servers forget the blank at the end.
    let last = text
        .rsplit(['\n', '\r'])
        .next()
        .unwrap_or_default()
        .trim_end();
    let is_open = last.ends_with(':') || last.ends_with('?') || last.ends_with("(y/n)");
    if !is_open {
        return None;
    }
    if last.contains("(yes/no") || last.contains("(y/n)") {
        return Some(Question::HostKey {
            host: host_of(&text),
            pin: fingerprint(&text),
        });
    }
    if last.starts_with("Please type 'yes'") {
        return Some(Question::HostKeyAgain);
    }
    if last.eq_ignore_ascii_case("password:") {
        return Some(Question::Password(None));
    }
    // Of OpenSSH when the server asks freely: `(user@host) Password: `.
    if let Some((account, rest)) = last
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(") "))
        && rest.eq_ignore_ascii_case("password:")
    {
        return Some(Question::Password(account_of(account)));
    }
    if let Some(account) = last.strip_suffix("'s password:") {
        return Some(Question::Password(account_of(account)));
    }
    Some(Question::Other)
}

/// Whether an account in a question can be that of the job.
pub(super) fn is_account(shown: &(String, String), user: Option<&str>, host: &str) -> bool {
    let shown_host = shown.1.as_str();
    let is_user = user.is_none_or(|user| cut(user, SHOWN_USER_BYTES) == shown.0);
    is_user && cut(host, SHOWN_HOST_BYTES).eq_ignore_ascii_case(shown_host)
}

/// Whether the host in a question about its key is that of the job: `nas`, `[nas]:2222`, `nas (192.0.2.1)`.
pub(super) fn is_host(shown: &str, host: &str) -> bool {
    let name = shown.split(" (").next().unwrap_or(shown);
    let name = match name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
    {
        Some((name, _port)) => name,
        None => name,
    };
    name.eq_ignore_ascii_case(host)
}

/// The host of `The authenticity of host 'HOST' can't …` and `Host 'HOST' is not in the trusted hosts file.`
fn host_of(text: &str) -> Option<String> {
    let at = text.rfind("ost '")?;
    let (host, _) = text[at + "ost '".len()..].split_once('\'')?;
    Some(host.to_owned())
}

fn account_of(text: &str) -> Option<(String, String)> {
    let (user, host) = text.rsplit_once('@')?;
    Some((user.to_owned(), host.to_owned()))
}

fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The last fingerprint in a text: `SHA256:` and 43 digits of base64.
pub(super) fn fingerprint(text: &str) -> Option<Pin> {
    let at = text.rfind("SHA256:")?;
    pin_of(&text.as_bytes()[at + "SHA256:".len()..])
}

fn pin_of(text: &[u8]) -> Option<Pin> {
    let mut bytes = [0; 32];
    let (mut bits, mut held, mut count) = (0_u32, 0_u32, 0);
    for digit in text.iter().take(43) {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            *bytes.get_mut(count)? = (bits >> held) as u8;
            count += 1;
        }
    }
    (count == 32).then_some(Pin(bytes))
}

/// The fingerprint as SSH programs write it.
pub(super) fn fingerprint_text(pin: &Pin) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "SHA256:".to_owned();
    for three in pin.0.chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte))
            << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "SHA256:uNiVztksCsDhcc0u9e8BrRXZ3IWj8UQUfYzKKNnSm8w";

    fn password(user: &str, host: &str) -> Option<Question> {
        Some(Question::Password(Some((user.into(), host.into()))))
    }

    #[test]
    fn fingerprints_go_there_and_back() {
        let pin = fingerprint(&format!("key fingerprint is {SHA}.")).unwrap();
        assert_eq!(fingerprint_text(&pin), SHA);
        assert_eq!(fingerprint("SHA256:short"), None);
        assert_eq!(fingerprint("MD5:00:11"), None);
    }

    #[test]
    fn recognizes_what_openssh_asks() {
        assert_eq!(find(b"me@nas's password: "), password("me", "nas"));
        assert_eq!(find(b"\r\n(me@nas) Password: "), password("me", "nas"));
        assert_eq!(find(b"(me@nas) Password:"), password("me", "nas"));
        assert_eq!(
            find(b"Enter passphrase for key '/k': "),
            Some(Question::Other)
        );
        assert_eq!(find(b"(me@nas) Verification code: "), Some(Question::Other));
        let text = format!(
            "The authenticity of host '[nas]:22 ([192.0.2.1]:22)' can't be established.\r\n\
             ED25519 key fingerprint is {SHA}.\r\nThis key is not known by any other names.\r\n\
             Are you sure you want to continue connecting (yes/no/[fingerprint])? "
        );
        assert_eq!(
            find(text.as_bytes()),
            Some(Question::HostKey {
                host: Some("[nas]:22 ([192.0.2.1]:22)".into()),
                pin: fingerprint(SHA)
            })
        );
        assert_eq!(
            find(b"Please type 'yes', 'no' or the fingerprint: "),
            Some(Question::HostKeyAgain)
        );
    }

    #[test]
    fn recognizes_what_dropbear_asks() {
        assert_eq!(find(b"Password: "), Some(Question::Password(None)));
        let text = format!(
            "\nHost 'nas' is not in the trusted hosts file.\n(ssh-ed25519 fingerprint {SHA})\n\
             Do you want to continue connecting? (y/n) "
        );
        assert_eq!(
            find(text.as_bytes()),
            Some(Question::HostKey {
                host: Some("nas".into()),
                pin: fingerprint(SHA)
            })
        );
    }

    #[test]
    fn what_is_not_finished_is_no_question() {
        let whole = b"me@nas's password: ";
        for end in 0..whole.len() - 2 {
            assert_eq!(find(&whole[..end]), None, "{end}");
        }
        assert_eq!(find(b"Warning: something\r\n"), None);
        assert_eq!(find(b"\xff\xfe: "), Some(Question::Other));
    }

    #[test]
    fn only_the_jobs_own_account_is_meant() {
        let shown = |user: &str, host: &str| (user.to_owned(), host.to_owned());
        assert!(is_account(&shown("me", "NAS"), Some("me"), "nas"));
        assert!(is_account(&shown("anyone", "nas"), None, "nas"));
        assert!(!is_account(&shown("me", "jump"), Some("me"), "nas"));
        assert!(!is_account(&shown("you", "nas"), Some("me"), "nas"));
        let long = "u".repeat(40);
        assert!(is_account(&shown(&long[..30], "nas"), Some(&long), "nas"));
        assert!(is_host("[nas]:2222 ([192.0.2.1]:2222)", "nas"));
        assert!(is_host("nas (192.0.2.1)", "nas") && is_host("::1", "::1"));
        assert!(!is_host("jump", "nas"));
    }
}
