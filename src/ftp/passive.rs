//! Replies to EPSV and PASV: bytes in, a port out, no socket.
//!
//! Only the port is used. A server that names another host would make this program connect wherever the server
//! likes; and behind NAT the named address is wrong anyway.

use super::facts::parse_number;

/// Ports below this belong to services that a server has no business sending us to.
const MIN_PORT: u16 = 1024;

/// The port in the text of a 229 reply: `Entering Extended Passive Mode (|||6446|)` (RFC 2428, 3). Any delimiter from
/// `!` to `~`; the address fields must be empty.
pub fn parse_epsv(text: &[u8]) -> Option<u16> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let inner = &text[open + 1..];
    let (&delimiter, fields) = inner.split_first()?;
    if !(33..=126).contains(&delimiter) || delimiter.is_ascii_digit() {
        return None;
    }
    let rest = fields.strip_prefix(&[delimiter, delimiter])?;
    let end = rest.iter().position(|byte| *byte == delimiter)?;
    (rest.get(end + 1) == Some(&b')')).then_some(())?;
    accept(parse_number(&rest[..end])?)
}

/// The port in the text of a 227 reply: six numbers somewhere in it, with or without parentheses (RFC 959 gives no
/// form).
pub fn parse_pasv(text: &[u8]) -> Option<u16> {
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b',';
    text.split(|byte| !is_part(byte)).find_map(|run| {
        let numbers: Vec<u64> = run
            .split(|byte| *byte == b',')
            .map(|digits| parse_number(digits).filter(|number| *number <= 255))
            .collect::<Option<_>>()?;
        match numbers[..] {
            [_, _, _, _, high, low] => accept(high * 256 + low),
            _ => None,
        }
    })
}

fn accept(port: u64) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port >= MIN_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_recorded_replies() {
        assert_eq!(parse_epsv(b"EPSV ok (|||33699|)"), Some(33699));
        assert_eq!(
            parse_epsv(b"Entering Extended Passive Mode (|||36203|)"),
            Some(36203)
        );
        assert_eq!(
            parse_epsv(b"Extended Passive mode OK (!!!2000!)"),
            Some(2000)
        );
        assert_eq!(
            parse_pasv(b"Entering Passive Mode (127,0,0,1,224,95)."),
            Some(57439)
        );
        assert_eq!(parse_pasv(b"PASV ok (127,0,0,1,152,89)"), Some(39001));
        assert_eq!(
            parse_pasv(b"Entering Passive Mode 127,0,0,1,8,0"),
            Some(2048)
        );
        assert_eq!(parse_pasv(b"=127,0,0,1,8,0"), Some(2048));
    }

    #[test]
    fn refuses_addresses_low_ports_and_nonsense() {
        for bad in [
            "(|1|10.0.0.1|5000|)",
            "(|||22|)",
            "(|||70000|)",
            "(|||5000)",
            "(||5000|)",
            "|||5000|",
            "(",
        ] {
            assert_eq!(parse_epsv(bad.as_bytes()), None, "{bad}");
        }
        for bad in [
            "(127,0,0,1,0,22)",
            "(127,0,0,1,256,1)",
            "(127,0,0,1,9)",
            "(1,2,3,4,5,6,7)",
            "",
        ] {
            assert_eq!(parse_pasv(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn survives_every_prefix_and_every_changed_byte() {
        let epsv: &[u8] = b"Entering Extended Passive Mode (|||36203|)";
        let pasv: &[u8] = b"Entering Passive Mode (127,0,0,1,224,95).";
        let parse = |text: &[u8]| parse_epsv(text).or_else(|| parse_pasv(text));
        for text in [epsv, pasv] {
            for end in 0..text.len() {
                let _ = parse(&text[..end]);
            }
            for place in 0..text.len() {
                for byte in 0..=255 {
                    let mut changed = text.to_vec();
                    changed[place] = byte;
                    assert!(parse(&changed).is_none_or(|port| port >= MIN_PORT));
                }
            }
        }
    }
}
