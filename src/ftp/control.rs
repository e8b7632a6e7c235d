//! The wire of the control connection: lines out, replies in, each in a time.

use std::io;
use std::time::{Duration, Instant};

use super::command::Command;
use super::reply::{Form, LongReply, Malformed, Reply, Whole};
use super::session::{Session, copy_kind};
use crate::error::{Error, ErrorKind, Phase, Result};

/// Where the wire is logged: every line in both directions, without the password.
const WIRE: &str = "coracle::wire";

/// A reply may take this long in all, with those that announce it, unless the silence that is allowed is longer: a server
/// that sends a byte now and then is dead, too.
pub(super) const REPLY_TOTAL: Duration = Duration::from_secs(60);

/// The most preliminary replies to one command.
pub(super) const MAX_PRELIMINARY: usize = 64;

/// A reply that began with another code than the one it ends with is over when nothing comes for so long.
const ODD_END_WAIT: Duration = Duration::from_secs(1);

/// The end of an upload may take so many times the silence that is allowed elsewhere: everything is there, and the server
/// writes it to a slow disk, or looks for viruses.
const END_PATIENCE: u32 = 4;

/// So much is shown of a line that is no reply.
const MAX_FOREIGN_BYTES: usize = 60;

/// How long whoever leaves waits for the socket to take the farewell.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);

impl Session {
    /// Puts a command behind those that go out with the next flush.
    pub(super) fn queue(&mut self, command: &Command<'_>) -> Result<()> {
        self.check_quiet()?;
        self.enqueue(command)
    }

    /// Sends what is queued.
    pub(super) fn flush(&mut self) -> Result<()> {
        let output = std::mem::take(&mut self.output);
        if output.is_empty() {
            return Ok(());
        }
        self.stream.enter(Phase::Reply, self.settings.timeout, None);
        match self.stream.write_all(&output) {
            Ok(()) => Ok(()),
            // A server that closes says why first: 421 lies unread in the socket.
            Err(error) => match self.next_reply(Phase::Reply, Duration::from_secs(1), None) {
                Err(said) if matches!(said.kind(), ErrorKind::Unavailable(_)) => Err(said),
                _ => Err(self.fail(error)),
            },
        }
    }

    /// The final reply to the oldest command that has none.
    pub(super) fn reply(&mut self) -> Result<Reply> {
        self.flush()?;
        self.final_reply(Phase::Reply, self.settings.timeout)
    }

    /// How long the reply that ends a transfer may take.
    pub(super) fn end_wait(&self, is_upload: bool) -> Duration {
        if is_upload {
            self.settings.timeout * END_PATIENCE
        } else {
            self.settings.timeout
        }
    }

    /// The next reply to the oldest command, preliminary or final.
    pub(super) fn any_reply(&mut self, phase: Phase, wait: Duration) -> Result<Reply> {
        let total = REPLY_TOTAL.max(wait);
        self.any_reply_in(phase, wait, total, &mut Whole)
    }

    pub(super) fn any_reply_in(
        &mut self,
        phase: Phase,
        wait: Duration,
        total: Duration,
        form: &mut dyn Form,
    ) -> Result<Reply> {
        let reply = self.next_reply_in(phase, wait, Some(total), form)?;
        if !reply.is_preliminary() {
            self.sent.pop_front();
        }
        Ok(reply)
    }

    /// Whether a reply, or the end, arrives within that time.
    pub(super) fn has_input(&mut self, within: Duration) -> bool {
        !self.input.is_empty() || self.stream.is_readable(within)
    }

    /// Takes a preliminary reply to the oldest command for its final one.
    pub(super) fn settle_for_preliminary(&mut self) {
        self.sent.pop_front();
    }

    /// The final reply to the oldest command that has none, in that phase.
    pub(super) fn final_reply(&mut self, phase: Phase, wait: Duration) -> Result<Reply> {
        self.final_reply_in(phase, wait, &mut Whole)
    }

    fn final_reply_in(
        &mut self,
        phase: Phase,
        wait: Duration,
        form: &mut dyn Form,
    ) -> Result<Reply> {
        let until = Instant::now() + REPLY_TOTAL.max(wait);
        for _ in 0..MAX_PRELIMINARY {
            let left = until.saturating_duration_since(Instant::now());
            let reply = self.any_reply_in(phase, wait, left, form)?;
            if !reply.is_preliminary() {
                return Ok(reply);
            }
        }
        Err(self.fail_chatting())
    }

    /// Like [`Session::reply`], with the lines between the first and the last given to `take`.
    pub(super) fn long_reply(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<Reply> {
        self.flush()?;
        let wait = self.settings.timeout;
        self.final_reply_in(Phase::Reply, wait, &mut LongReply::new(take))
    }

    pub(super) fn fail_chatting(&mut self) -> Error {
        let text = "preliminary replies without end".to_owned();
        self.fail(ErrorKind::Protocol(text).into())
    }

    pub(super) fn enqueue(&mut self, command: &Command<'_>) -> Result<()> {
        let start = self.output.len();
        command
            .encode(&mut self.output, self.max_line_bytes, self.iac)
            .map_err(|why| Error::new(ErrorKind::Name(why.to_string())))?;
        log::trace!(target: WIRE, "> {command}");
        if self.sent.is_empty() {
            self.flight = 0;
        }
        self.sent.push_back(self.output.len() - start);
        self.flight = self.flight.max(self.sent.len());
        Ok(())
    }

    /// Fails when this session has failed, or when the server said something that nobody asked for: then nobody
    /// knows which reply belongs to which command.
    pub(super) fn check_quiet(&mut self) -> Result<()> {
        if let Some(kind) = &self.failed {
            return Err(copy_kind(kind).into());
        }
        if !self.sent.is_empty() || !self.has_input(Duration::ZERO) {
            return Ok(());
        }
        match self.next_reply(Phase::Reply, self.settings.timeout, Some(REPLY_TOTAL))? {
            // What `next_reply` passed over left nothing behind.
            reply if reply.code == 0 => Ok(()),
            reply => {
                let text = format!(
                    "a reply nobody asked for: {} {}",
                    reply.code,
                    self.shown(&reply)
                );
                Err(self.fail(ErrorKind::Protocol(text).into()))
            }
        }
    }

    pub(super) fn next_reply(
        &mut self,
        phase: Phase,
        idle: Duration,
        total: Option<Duration>,
    ) -> Result<Reply> {
        self.next_reply_in(phase, idle, total, &mut Whole)
    }

    fn next_reply_in(
        &mut self,
        phase: Phase,
        idle: Duration,
        total: Option<Duration>,
        form: &mut dyn Form,
    ) -> Result<Reply> {
        if let Some(kind) = &self.failed {
            return Err(copy_kind(kind).into());
        }
        self.stream.enter(phase, idle, total);
        loop {
            let parsed = form.parse(&self.input).map(|(reply, taken)| {
                self.input.drain(..taken);
                reply
            });
            let parsed = match parsed {
                Ok(None) => Ok(self.oddly_ended(form)),
                other => other,
            };
            match parsed {
                Ok(Some(reply)) => match self.take_reply(reply)? {
                    Some(reply) => return Ok(reply),
                    None => continue,
                },
                Ok(None) => {}
                Err(why) => {
                    let error = self.malformed(why, phase);
                    return Err(self.fail(error));
                }
            }
            if let Err(error) = self.fill() {
                return Err(self.fail(error));
            }
        }
    }

    /// What a reply comes to that ends with another code than it began with, once nothing follows (glftpd).
    fn oddly_ended(&mut self, form: &mut dyn Form) -> Option<Reply> {
        form.odd_end(&self.input)?;
        if self.stream.is_readable(ODD_END_WAIT) {
            return None;
        }
        let reply = form.odd_end(&self.input)?;
        self.input.clear();
        Some(reply)
    }

    /// Nothing where the reply was to nobody's question, and other ones follow.
    fn take_reply(&mut self, reply: Reply) -> Result<Option<Reply>> {
        log::trace!(target: WIRE, "< {} {}", reply.code, self.shown(&reply));
        if !reply.is_goodbye() {
            return Ok(Some(reply));
        }
        // pyftpdlib says 421 when nobody has come to its passive port, and goes on.
        if self.has_port() && reply.mentions(&["data channel"]) {
            self.drop_port();
            return Ok(self.sent.is_empty().then(Reply::none));
        }
        let text = self.shown(&reply);
        Err(self.fail(ErrorKind::Unavailable(text).into()))
    }

    fn fill(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer)? {
            0 => {
                let closed = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed the connection",
                );
                Err(ErrorKind::Network(closed).into())
            }
            count => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    fn malformed(&self, why: Malformed, phase: Phase) -> Error {
        let line = self.input.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        let line = self.shown_text(line, MAX_FOREIGN_BYTES);
        let text = match (why, phase) {
            (Malformed::NoCode, Phase::Greeting) => foreign_greeting(&self.input, &line),
            (Malformed::NoCode, _) => format!("{why}: \"{line}\""),
            (Malformed::LongLine | Malformed::LongReply, _) => why.to_string(),
        };
        ErrorKind::Protocol(text).into()
    }

    /// A courtesy; nobody waits for the answer.
    pub(super) fn say_goodbye(&mut self) {
        let _ = self.enqueue(&Command::Quit);
        let output = std::mem::take(&mut self.output);
        self.stream.enter(Phase::Reply, FAREWELL_WAIT, None);
        let _ = self.stream.write(&output);
    }
}

/// What speaks there instead of an FTP server.
fn foreign_greeting(input: &[u8], line: &str) -> String {
    if input.starts_with(b"SSH-") {
        "this is an SSH server; FTP does not run there".to_owned()
    } else if input.starts_with(b"HTTP/") || input.starts_with(b"<") {
        "this is a web server; FTP does not run there".to_owned()
    } else if input.starts_with(&[0x15, 3]) || input.starts_with(&[0x16, 3]) {
        "this port speaks TLS, not plain FTP".to_owned()
    } else {
        format!("this is no FTP server; it says \"{line}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_answered_instead() {
        assert!(foreign_greeting(b"SSH-2.0-OpenSSH_9.2\r\n", "").contains("SSH server"));
        assert!(foreign_greeting(b"HTTP/1.1 400 Bad\r\n", "").contains("web server"));
        assert!(foreign_greeting(&[0x15, 3, 1], "").contains("TLS"));
        assert!(foreign_greeting(b"* OK", "* OK").ends_with(r#"it says "* OK""#));
    }
}
