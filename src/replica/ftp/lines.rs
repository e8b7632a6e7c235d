//! A transfer of lines: a listing, in whichever form. What breaks off is never taken for the whole.

use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::time::Duration;

use super::FtpReplica;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::ftp::{Command, Transfer};
use crate::replica::Listing;

/// A longer line is no line of a listing: names have at most 1024 bytes.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// Read at a time from a listing.
const CHUNK_BYTES: usize = 16 * 1024;

/// The longest listing: a million names, which is all that a listing holds.
const MAX_LISTING_BYTES: u64 = 256 << 20;

/// A listing may take this long in all: the largest of an old NAS takes minutes.
const LISTING_TOTAL: Duration = Duration::from_secs(30 * 60);

/// What is wrong where the last line has no end.
const TORN: &str = "the listing ends within a line";

/// Words with which a server that says 226 confesses that not all was listed.
const CONFESSIONS: [&str; 7] = [
    "truncat",
    "unable",
    "fail",
    "denied",
    "incomplete",
    "cannot",
    "could not",
];

/// How a listing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// As it should.
    Well,
    /// By a reset, although the server says that it has sent all.
    Reset,
    /// Before its TLS began, although the server says that it has sent all.
    Unproven,
    /// Otherwise; that is marked in the listing.
    Badly,
}

/// What arrived.
struct Arrived {
    ending: Ending,
    /// How much it was, and its digest.
    mark: (u64, u64),
}

impl FtpReplica {
    /// Runs a transfer of lines, which go to `take`, and gives back the reader: each time that the listing is read it begins as
    /// `fresh`. What breaks off is marked in the listing; an error means that nothing was listed.
    pub(super) fn read_lines<R: Clone>(
        &mut self,
        command: &Command<'_>,
        listing: &mut Listing,
        fresh: &R,
        take: impl Fn(&mut R, &[u8], &mut Listing),
    ) -> Result<R> {
        let mut before = None;
        loop {
            let mut reader = fresh.clone();
            let mut take_one =
                |line: &[u8], listing: &mut Listing| take(&mut reader, line, listing);
            let arrived = match self.read_lines_once(command, listing, &mut take_one) {
                // The server did not wait for the connection; by the book it need not.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Refused { code: 425, .. })
                        && !self.session.has_failed() =>
                {
                    self.read_lines_once(command, listing, &mut take_one)?
                }
                other => other?,
            };
            let is_other = before.is_some_and(|before| before != arrived.mark);
            self.learnt.loses_ends |= is_other;
            match arrived.ending {
                Ending::Well | Ending::Badly => {}
                Ending::Unproven => self.check_nothing(command, listing)?,
                // What is read now takes the place of all that came before.
                Ending::Reset if before.is_none() => {
                    before = Some(arrived.mark);
                    listing.clear();
                    continue;
                }
                // A reset can overtake what was sent before it, but hardly twice at the same byte, unless it often does.
                Ending::Reset if !self.learnt.loses_ends => {}
                Ending::Reset => {
                    listing.mark_broken_off("the listing ends with a reset, each time elsewhere");
                }
            }
            return Ok(reader);
        }
    }

    fn read_lines_once(
        &mut self,
        command: &Command<'_>,
        listing: &mut Listing,
        take: &mut dyn FnMut(&[u8], &mut Listing),
    ) -> Result<Arrived> {
        let mut transfer = self.session.begin(command, 0)?;
        if let Err(error) = self.session.await_start(&mut transfer) {
            // The refusal was the final reply; ending only closes the data connection.
            let _ = self.session.end(transfer);
            return Err(error);
        }
        let mut lines = Lines::default();
        let mut hasher = DefaultHasher::new();
        let broken = loop {
            match read_chunk(&mut transfer, &mut lines, &mut hasher, listing, take) {
                Ok(0) => break None,
                Ok(_) => {}
                Err(error) if is_end_of_patience(&error) => return Err(self.session.fail(error)),
                Err(error) => break Some(error),
            }
        };
        let bytes = transfer.moved_bytes();
        let mut ending = if transfer.is_unproven() {
            Ending::Unproven
        } else {
            Ending::Well
        };
        let is_clear = self.session.is_clear();
        let reply = self.session.end(transfer)?;
        let flaw = lines.flaw();
        if !reply.is_success() {
            let error = self.session.refusal(&reply);
            listing.mark_broken_off(format!("the listing broke off: {error}"));
            ending = Ending::Badly;
        } else if reply.mentions(&CONFESSIONS) {
            let error = self.session.refusal(&reply);
            listing.mark_incomplete(format!("the server says that not all is listed: {error}"));
            ending = Ending::Badly;
        }
        if let Some(error) = broken {
            let was_reset = network_kind(&error) == Some(io::ErrorKind::ConnectionReset);
            let was_cut = !is_clear && network_kind(&error) == Some(io::ErrorKind::UnexpectedEof);
            match ending {
                Ending::Well if was_reset && flaw.is_none() => ending = Ending::Reset,
                Ending::Well if was_cut && self.connector.location.habits.unclean_ends => {}
                _ if was_cut => {
                    listing.mark_broken_off(format!(
                        "the listing broke off: {error}; if this server always ends so: --tls-unclean-ends"
                    ));
                    ending = Ending::Badly;
                }
                _ => {
                    listing.mark_broken_off(format!("the listing broke off: {error}"));
                    ending = Ending::Badly;
                }
            }
        }
        match flaw {
            Some(TORN) => listing.mark_broken_off(TORN),
            Some(why) => listing.mark_incomplete(why),
            None => {}
        }
        Ok(Arrived {
            ending,
            mark: (bytes, hasher.finish()),
        })
    }

    /// A data connection that ended before its TLS began may have been ended by anybody. What the server says on the
    /// control connection nobody else can have said.
    fn check_nothing(&mut self, command: &Command<'_>, listing: &mut Listing) -> Result<()> {
        let dir = match command {
            Command::Mlsd(dir) | Command::ListPath(dir) => *dir,
            _ => b".",
        };
        let mut has_more = false;
        let replies = self
            .session
            .ask_long(&[Command::Stat(dir)], &mut |_, line| {
                let line = line.trim_ascii();
                has_more |= line.first().is_some_and(|first| b"-dlbcps".contains(first))
                    && line.len() > 10
                    && !line.ends_with(b" .")
                    && !line.ends_with(b" ..");
            })?;
        drop(replies);
        if has_more {
            listing.mark_incomplete(
                "the listing ended before its TLS began, and the server tells of more (STAT)",
            );
        }
        Ok(())
    }
}

fn read_chunk(
    transfer: &mut Transfer,
    lines: &mut Lines,
    hasher: &mut DefaultHasher,
    listing: &mut Listing,
    take: &mut dyn FnMut(&[u8], &mut Listing),
) -> Result<usize> {
    let mut buffer = [0; CHUNK_BYTES];
    if transfer.moved_bytes() > MAX_LISTING_BYTES || transfer.age() > LISTING_TOTAL {
        let text = "the listing has no end".to_owned();
        return Err(ErrorKind::Protocol(text).into());
    }
    let count = transfer.read(&mut buffer)?;
    hasher.write(&buffer[..count]);
    lines.feed(&buffer[..count], &mut |line| take(line, listing));
    Ok(count)
}

/// Whether nobody waits any longer for the rest.
fn is_end_of_patience(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Timeout(Phase::Data) | ErrorKind::Interrupted(_) | ErrorKind::Protocol(_)
    )
}

/// How the network failed, if it did.
pub(super) fn network_kind(error: &Error) -> Option<io::ErrorKind> {
    match error.kind() {
        ErrorKind::Network(cause) => Some(cause.kind()),
        _ => None,
    }
}

/// Cuts a stream into lines, and notes what is wrong with it.
#[derive(Default)]
struct Lines {
    /// A line whose end has not come.
    rest: Vec<u8>,
    /// Whether the present line is passed over for its length.
    skipping: bool,
    overlong: bool,
    with_cr: bool,
    without_cr: bool,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], take: &mut dyn FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = (&bytes[..end], &bytes[end + 1..]);
            bytes = tail;
            if std::mem::take(&mut self.skipping) {
                self.rest.clear();
                continue;
            }
            if self.rest.is_empty() {
                self.take_line(head, take);
            } else {
                self.rest.extend_from_slice(head);
                let line = std::mem::take(&mut self.rest);
                self.take_line(&line, take);
                self.rest = line;
                self.rest.clear();
            }
        }
        if self.skipping {
            return;
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > MAX_LINE_BYTES {
            (self.skipping, self.overlong) = (true, true);
            self.rest.clear();
        }
    }

    fn take_line(&mut self, line: &[u8], take: &mut dyn FnMut(&[u8])) {
        match line.strip_suffix(b"\r") {
            Some(line) => {
                self.with_cr = true;
                take(line);
            }
            None => {
                self.without_cr = true;
                take(line);
            }
        }
    }

    /// What is wrong with all that was read.
    fn flaw(&self) -> Option<&'static str> {
        if self.overlong {
            Some("a line of the listing is longer than 8 KiB")
        } else if self.with_cr && self.without_cr {
            // A name with a line break looks like this.
            Some("the lines of the listing do not end alike, so a name may hold a line break")
        } else if !self.rest.is_empty() || self.skipping {
            Some(TORN)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> (Vec<String>, Option<&'static str>) {
        let mut lines = Lines::default();
        let mut taken = Vec::new();
        for piece in pieces {
            lines.feed(piece, &mut |line| {
                taken.push(String::from_utf8_lossy(line).into_owned())
            });
        }
        (taken, lines.flaw())
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let text = b"one\r\ntwo\r\n\r\nthree\r\n";
        let whole = cut(&[text]);
        assert_eq!(whole.0, ["one", "two", "", "three"]);
        assert_eq!(whole.1, None);
        for at in 0..text.len() {
            assert_eq!(cut(&[&text[..at], &text[at..]]), whole);
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(cut(&bytes), whole);
    }

    #[test]
    fn notes_cut_mixed_and_endless_lines() {
        assert_eq!(
            cut(&[b"one\r\ntw"]).1,
            Some("the listing ends within a line")
        );
        assert!(
            cut(&[b"one\ntwo\r\n"])
                .1
                .is_some_and(|why| why.contains("line break"))
        );
        let (taken, flaw) = cut(&[&[b'x'; 9000], b"rest\r\n", b"two\r\n"]);
        assert_eq!(taken, ["two"]);
        assert!(flaw.is_some_and(|why| why.contains("8 KiB")));
    }
}
