//! Replies on the control connection (RFC 959, 4.2): bytes in, a reply out, no socket.

use std::fmt;

/// The longest line of a reply: the longest path that any server takes is half of it.
pub(super) const MAX_LINE_BYTES: usize = 8 * 1024;
/// The longest reply: a banner of several screens fits; more is a server that wants to fill memory.
pub(super) const MAX_REPLY_BYTES: usize = 64 * 1024;
/// The most lines of a reply, for the same reason.
pub(super) const MAX_REPLY_LINES: usize = 512;

/// The longest reply that is taken in line by line: the listing of some 10,000 names, which a directory may have grown
/// to since it was small.
const MAX_LONG_REPLY_BYTES: usize = 1 << 20;

/// One reply: its code, and the text of its lines without the codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The reply code, from 100 to 699.
    pub code: u16,
    /// All lines, each ended by LF but the last.
    text: Vec<u8>,
}

/// What cannot be a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The line does not start with a reply code.
    NoCode,
    /// A line is longer than `MAX_LINE_BYTES`.
    LongLine,
    /// The reply is longer than `MAX_REPLY_BYTES` or has more than `MAX_REPLY_LINES` lines.
    LongReply,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCode => "a reply does not start with a reply code",
            Self::LongLine => "a line of a reply is longer than 8 KiB",
            Self::LongReply => "a reply is longer than 64 KiB or 512 lines",
        })
    }
}

/// How a reply is taken from what has arrived.
pub(super) trait Form {
    /// The reply, once its last line has arrived, and how many bytes at the front of `input` are done with.
    fn parse(&mut self, input: &[u8]) -> Result<(Option<Reply>, usize), Malformed>;

    /// What all of `input` may be where it does not end as it should: a reply whose last line has another code than its
    /// first, which is what an ordinary line of it looks like, too.
    fn odd_end(&self, input: &[u8]) -> Option<Reply>;
}

/// A reply with all its lines.
pub(super) struct Whole;

impl Form for Whole {
    fn parse(&mut self, input: &[u8]) -> Result<(Option<Reply>, usize), Malformed> {
        Ok(match Reply::parse(input)? {
            Some((reply, taken)) => (Some(reply), taken),
            None => (None, 0),
        })
    }

    fn odd_end(&self, input: &[u8]) -> Option<Reply> {
        let lines = input.strip_suffix(b"\n")?;
        let mut lines = lines.split(|byte| *byte == b'\n');
        let last = lines.next_back()?;
        let last = last.strip_suffix(b"\r").unwrap_or(last);
        lines.next()?;
        (last.get(3) == Some(&b' ')).then_some(())?;
        Some(Reply {
            code: code_of(last)?,
            text: last[4..].to_vec(),
        })
    }
}

/// A reply whose lines between the first and the last are given away as they arrive: a listing may be long. Once it has
/// ended, the same form takes the next one.
pub(super) struct LongReply<'t> {
    take: &'t mut dyn FnMut(&[u8]),
    code: Option<u16>,
    bytes: usize,
}

impl<'t> LongReply<'t> {
    /// A reply of which nothing has arrived.
    pub(super) fn new(take: &'t mut dyn FnMut(&[u8])) -> Self {
        Self {
            take,
            code: None,
            bytes: 0,
        }
    }
}

impl Form for LongReply<'_> {
    fn parse(&mut self, input: &[u8]) -> Result<(Option<Reply>, usize), Malformed> {
        let mut taken = if self.code.is_none() {
            blank_before(input)
        } else {
            0
        };
        while let Some(end) = input[taken..].iter().position(|byte| *byte == b'\n') {
            if end > MAX_LINE_BYTES {
                return Err(Malformed::LongLine);
            }
            let line = &input[taken..taken + end];
            taken += end + 1;
            self.bytes += end + 1;
            if self.bytes > MAX_LONG_REPLY_BYTES {
                return Err(Malformed::LongReply);
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let code = code_of(line);
            match (self.code, code, line.get(3)) {
                (None, None, _) => return Err(Malformed::NoCode),
                (None, Some(code), Some(b'-')) => self.code = Some(code),
                (first, Some(code), Some(b' ') | None)
                    if first.is_none_or(|first| first == code) =>
                {
                    let text = line.get(4..).unwrap_or_default().to_vec();
                    (self.code, self.bytes) = (None, 0);
                    return Ok((Some(Reply { code, text }), taken));
                }
                (None, Some(_), _) => return Err(Malformed::NoCode),
                (Some(first), Some(code), Some(b'-')) if first == code => (self.take)(&line[4..]),
                (Some(_), _, _) => (self.take)(line),
            }
        }
        incomplete(&input[taken..], self.code.is_none()).map(|_| (None, taken))
    }

    /// A line of a listing looks like that.
    fn odd_end(&self, _input: &[u8]) -> Option<Reply> {
        None
    }
}

impl Reply {
    /// Parses one reply from the front of `input`: the reply and the bytes it took, or `None` until all of it has
    /// arrived.
    ///
    /// Lines end with LF, usually after a CR.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let mut text = Vec::new();
        // Some servers put an empty line before a reply.
        let mut taken = blank_before(input);
        let mut first_code = None;
        for _ in 0..MAX_REPLY_LINES {
            if taken > MAX_REPLY_BYTES {
                return Err(Malformed::LongReply);
            }
            let rest = &input[taken..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                return incomplete(rest, first_code.is_none());
            };
            if end > MAX_LINE_BYTES {
                return Err(Malformed::LongLine);
            }
            taken += end + 1;
            let line = &rest[..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let (code, mark) = (code_of(line), line.get(3).copied());
            match (first_code, code, mark) {
                (None, None, _) => return Err(Malformed::NoCode),
                (None, Some(code), Some(b'-')) => {
                    first_code = Some(code);
                    text.extend_from_slice(&line[4..]);
                }
                (None, Some(code), Some(b' ') | None) => {
                    text.extend_from_slice(line.get(4..).unwrap_or_default());
                    return Ok(Some((Self { code, text }, taken)));
                }
                (None, Some(_), Some(_)) => return Err(Malformed::NoCode),
                // A multi-line reply ends at its own code and a blank; lines between may begin with any digits
                // (RFC 959, 4.2): ProFTPD and Pure-FTPd put listings there.
                (Some(first), Some(code), Some(b' ') | None) if first == code => {
                    text.push(b'\n');
                    text.extend_from_slice(line.get(4..).unwrap_or_default());
                    return Ok(Some((Self { code, text }, taken)));
                }
                (Some(first), Some(code), Some(b'-')) if first == code => {
                    text.push(b'\n');
                    text.extend_from_slice(&line[4..]);
                }
                (Some(_), _, _) => {
                    text.push(b'\n');
                    text.extend_from_slice(line);
                }
            }
        }
        Err(Malformed::LongReply)
    }

    /// What stands for no reply at all.
    pub(super) const fn none() -> Self {
        Self {
            code: 0,
            text: Vec::new(),
        }
    }

    /// The text of each line, without its code; lines between the first and the last as they came.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.text.split(|byte| *byte == b'\n')
    }

    /// The whole text.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The text of the last line.
    pub fn last_line(&self) -> &[u8] {
        self.lines().next_back().unwrap_or_default()
    }

    /// Whether the text speaks of one of `words`, which are in lower case.
    pub fn mentions(&self, words: &[&str]) -> bool {
        let text = String::from_utf8_lossy(&self.text).to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    }
}

/// How many bytes of line ends stand before a reply.
fn blank_before(input: &[u8]) -> usize {
    let is_blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    input
        .iter()
        .take(MAX_LINE_BYTES)
        .take_while(is_blank)
        .count()
}

/// Decides on a line whose end has not arrived, as early as it can be refused.
fn incomplete(rest: &[u8], is_first: bool) -> Result<Option<(Reply, usize)>, Malformed> {
    if rest.len() > MAX_LINE_BYTES {
        return Err(Malformed::LongLine);
    }
    let wrong_start = rest.iter().take(3).any(|byte| !byte.is_ascii_digit())
        || rest
            .first()
            .is_some_and(|digit| !matches!(digit, b'1'..=b'6'));
    if is_first && wrong_start {
        return Err(Malformed::NoCode);
    }
    Ok(None)
}

fn code_of(line: &[u8]) -> Option<u16> {
    match line.get(..3)? {
        [a @ b'1'..=b'6', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEAT: &[u8] = b"211-Features:\r\n MLST type*;size*;\r\n211 End\r\n";
    /// Recorded from Pure-FTPd 1.0.50.
    const BANNER: &[u8] = b"220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\r\n220-You are user number 1 of 50 allowed.\r\n220 You will be disconnected after 15 minutes of inactivity.\r\n";

    fn parse(input: &[u8]) -> Reply {
        let (reply, taken) = Reply::parse(input).unwrap().unwrap();
        assert_eq!(taken, input.len());
        reply
    }

    #[test]
    fn waits_for_its_last_byte() {
        for full in [FEAT, BANNER, b"226 Transfer complete.\r\n"] {
            for end in 0..full.len() {
                assert_eq!(Reply::parse(&full[..end]), Ok(None), "{end} bytes");
            }
            parse(full);
        }
    }

    #[test]
    fn survives_every_changed_byte() {
        for full in [FEAT, BANNER] {
            for place in 0..full.len() {
                for byte in 0..=255 {
                    let mut changed = full.to_vec();
                    changed[place] = byte;
                    if let Ok(Some((_, taken))) = Reply::parse(&changed) {
                        assert!(taken <= changed.len());
                    }
                }
            }
        }
    }

    #[test]
    fn takes_the_first_of_two() {
        let (reply, taken) = Reply::parse(b"200 Ok\r\n213 5\r\n").unwrap().unwrap();
        assert_eq!((reply.code, reply.text(), taken), (200, &b"Ok"[..], 8));
    }

    #[test]
    fn passes_over_empty_lines_before_a_reply() {
        assert_eq!(parse(b"\r\n\n226 x\r\n").text(), b"x");
        assert_eq!(Reply::parse(b"\r\n\r\n"), Ok(None));
    }

    #[test]
    fn a_reply_may_end_with_another_code_once_nothing_follows() {
        let glftpd: &[u8] = b"553-\r\n553- Excluded.\r\n150 Opening\r\n";
        assert_eq!(Reply::parse(glftpd), Ok(None));
        let reply = Whole.odd_end(glftpd).unwrap();
        assert_eq!((reply.code, reply.text()), (150, &b"Opening"[..]));
        for end in 0..glftpd.len() {
            assert_eq!(Whole.odd_end(&glftpd[..end]), None, "{end}");
        }
        assert_eq!(Whole.odd_end(b"150 Opening\r\n"), None, "it is whole");
    }

    #[test]
    fn takes_bare_line_feeds_and_lone_codes() {
        assert_eq!(parse(b"226\n").code, 226);
        assert_eq!(parse(b"250-a\n b\n250 c\n").text(), b"a\n b\nc");
    }

    #[test]
    fn ends_only_at_its_own_code() {
        let reply = parse(b"213-x\r\n226 not the end\r\n-rw 213 y\r\n213-more\r\n213 End\r\n");
        let lines: Vec<_> = reply.lines().collect();
        assert_eq!(
            lines,
            [&b"x"[..], b"226 not the end", b"-rw 213 y", b"more", b"End"]
        );
    }

    #[test]
    fn refuses_what_is_no_reply() {
        for bad in [
            &b"SSH-2.0"[..],
            b"HTTP/1.1 400\r\n",
            b" \r\n",
            b"020 x\r\n",
            b"2",
            b"220x\r\n",
        ] {
            let verdict = Reply::parse(bad);
            if bad == b"2" {
                assert_eq!(verdict, Ok(None));
            } else {
                assert_eq!(verdict, Err(Malformed::NoCode), "{bad:?}");
            }
        }
    }

    #[test]
    fn refuses_what_never_ends() {
        assert_eq!(Reply::parse(&[b'2'; 9000]), Err(Malformed::LongLine));
        let mut lines = b"220-x\r\n".to_vec();
        for _ in 0..600 {
            lines.extend_from_slice(b"220-x\r\n");
        }
        assert_eq!(Reply::parse(&lines), Err(Malformed::LongReply));
        let mut wide = b"220-x\r\n".to_vec();
        for _ in 0..20 {
            wide.extend_from_slice(&[b'y'; 4000]);
            wide.push(b'\n');
        }
        assert_eq!(Reply::parse(&wide), Err(Malformed::LongReply));
    }

    const LISTING: &[u8] = b"213-Status follows:\r\n-rw-r--r-- 1 a b 5 Feb 13 2009 x\r\n 226 y\r\n213-z\r\n\r\n213 End\r\n";

    type Streamed = (Option<Reply>, Vec<Vec<u8>>, usize);

    /// What a long reply comes to when it arrives cut at these places: the reply, its lines, and what is left over.
    fn stream(input: &[u8], ends: &[usize]) -> Result<Streamed, Malformed> {
        let mut lines = Vec::new();
        let mut take = |line: &[u8]| lines.push(line.to_vec());
        let mut form = LongReply::new(&mut take);
        let mut start = 0;
        for end in ends.iter().copied().chain([input.len()]) {
            let (reply, taken) = form.parse(&input[start..end])?;
            start += taken;
            if reply.is_some() {
                return Ok((reply, lines, input.len() - start));
            }
        }
        Ok((None, lines, input.len() - start))
    }

    #[test]
    fn a_long_reply_is_the_same_however_it_arrives() {
        for full in [FEAT, BANNER, LISTING, b"450 no such directory\r\n"] {
            let whole = parse(full);
            let between: Vec<Vec<u8>> = whole.lines().map(<[u8]>::to_vec).collect();
            let between = match between.len() {
                1 => &[][..],
                count => &between[1..count - 1],
            };
            for one in 0..=full.len() {
                for other in (one..=full.len()).step_by(7) {
                    let (reply, lines, left) = stream(full, &[one, other]).unwrap();
                    let reply = reply.unwrap();
                    assert_eq!((reply.code, reply.text()), (whole.code, whole.last_line()));
                    assert_eq!((&lines[..], left), (between, 0), "{one} {other}");
                }
            }
        }
    }

    #[test]
    fn a_long_reply_with_any_changed_byte_is_what_the_whole_one_is() {
        for place in 0..LISTING.len() {
            for byte in 0..=255 {
                let mut changed = LISTING.to_vec();
                changed[place] = byte;
                let whole = Reply::parse(&changed)
                    .map(|parsed| parsed.map(|(reply, taken)| (reply.code, changed.len() - taken)));
                let long = stream(&changed, &[place])
                    .map(|(reply, _, left)| reply.map(|reply| (reply.code, left)));
                assert_eq!(long, whole, "{place} {byte}");
            }
        }
    }

    #[test]
    fn a_long_reply_leaves_nothing_behind_for_the_next() {
        let input = [b"150-wait\r\n150 a while\r\n", LISTING].concat();
        let mut count = 0;
        let mut take = |_: &[u8]| count += 1;
        let mut form = LongReply::new(&mut take);
        let (preliminary, taken) = form.parse(&input).unwrap();
        assert_eq!(preliminary.unwrap().text(), b"a while");
        assert_eq!((form.code, form.bytes), (None, 0));
        let (listing, rest) = form.parse(&input[taken..]).unwrap();
        assert_eq!(listing.unwrap(), parse(b"213 End\r\n"));
        assert_eq!((taken + rest, count), (input.len(), 4));
    }

    #[test]
    fn a_long_reply_may_be_long_but_not_endless() {
        let mut lines = b"213-x\r\n".to_vec();
        for _ in 0..10_000 {
            lines.extend_from_slice(b"-rw-r--r-- 1 a b 5 Feb 13 2009 some name or other\r\n");
        }
        let ended = [&lines[..], b"213 End\r\n"].concat();
        let (reply, taken, left) = stream(&ended, &[5_000, 90_000]).unwrap();
        assert_eq!((reply.unwrap().code, taken.len(), left), (213, 10_000, 0));
        assert_eq!(stream(&lines.repeat(3), &[]), Err(Malformed::LongReply));
        assert_eq!(stream(&[b'2'; 9_000], &[]), Err(Malformed::LongLine));
    }
}
