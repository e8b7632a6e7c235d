//! Requests in flight over two pipes: each has an id, replies may come in any order, and every wait ends.
//!
//! Both directions are looked after in one wait: a server that waits for its replies to be read reads no requests.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{read, write};

use super::packet::{self, Hello, Malformed, Reply};
use super::request::{self, Request};
use super::ssh::Program;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::path::Escaped;

/// Read at a time: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// So much may wait to be written before a request is sent; what is behind that waits in the caller's hands.
const MAX_UNWRITTEN_BYTES: usize = 256 * 1024;

/// So much of a text that comes where SFTP should begin is shown.
const SHOWN_BYTES: usize = 120;

/// What packets travel on.
pub struct Channel {
    /// Where replies come from.
    pub input: OwnedFd,
    /// Where requests go.
    pub output: OwnedFd,
    /// The program at the other end, where it is one of ours.
    pub program: Option<Program>,
}

/// One SFTP session.
pub struct Session {
    // In this order: a program ends by itself once its input ends.
    output: Option<OwnedFd>,
    input: OwnedFd,
    program: Option<Program>,
    timeout: Duration,
    /// What the present wait is for.
    phase: Phase,
    /// When something last moved.
    moved: Instant,
    /// Bytes to be written, and how many of them are.
    unwritten: Vec<u8>,
    written: usize,
    /// Bytes that were read, with room for more behind them: how many there are, and how many of them are done with.
    unread: Vec<u8>,
    arrived: usize,
    done: usize,
    next_id: u32,
    /// What becomes of the replies that are still to come.
    in_flight: HashMap<u32, Fate>,
    /// Replies that came before anybody asked for them.
    early: BTreeMap<u32, Reply>,
    extensions: Vec<Vec<u8>>,
    /// Why the session is of no use any more.
    lost: Option<String>,
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Wanted,
    Forgotten,
}

impl Session {
    /// Begins a session: says hello, and waits until the server does.
    pub fn open(channel: Channel, timeout: Duration) -> Result<Self> {
        let Channel {
            input,
            output,
            program,
        } = channel;
        for end in [input.as_fd(), output.as_fd()] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|errno| ErrorKind::Network(errno.into()))?;
        }
        let mut session = Self {
            output: Some(output),
            input,
            program,
            timeout,
            phase: Phase::Login,
            moved: Instant::now(),
            unwritten: request::init().to_vec(),
            written: 0,
            unread: Vec::new(),
            arrived: 0,
            done: 0,
            next_id: 0,
            in_flight: HashMap::new(),
            early: BTreeMap::new(),
            extensions: Vec::new(),
            lost: None,
        };
        let hello = session.await_hello()?;
        if let Some(program) = &session.program {
            program.is_in();
        }
        log::debug!("the server speaks SFTP {}", hello.version);
        if hello.version < 3 {
            return Err(ErrorKind::Unsupported(
                "the server speaks SFTP of a version before 3; it is too old",
            )
            .into());
        }
        session.extensions = hello.extensions;
        session.phase = Phase::Reply;
        Ok(session)
    }

    /// Whether the server announced an extension.
    pub fn offers(&self, extension: &[u8]) -> bool {
        self.extensions.iter().any(|known| known == extension)
    }

    /// All extensions that the server announced.
    pub fn extensions(&self) -> impl Iterator<Item = &[u8]> {
        self.extensions.iter().map(Vec::as_slice)
    }

    /// What the program at the other end is called, where it is one of ours.
    pub fn program(&self) -> Option<&str> {
        self.program.as_ref().map(Program::name)
    }

    /// Sends a request; its id, by which its reply is known.
    ///
    /// Waits only while too much is unwritten already, and takes replies in meanwhile.
    pub fn send(&mut self, request: &Request<'_>) -> Result<u32> {
        if self.lost.is_some() {
            return Err(self.failure());
        }
        while self.unwritten.len() - self.written > MAX_UNWRITTEN_BYTES {
            self.turn()?;
            self.take_early()?;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        request.write_to(id, &mut self.unwritten);
        self.in_flight.insert(id, Fate::Wanted);
        Ok(id)
    }

    /// The reply to that request.
    pub fn receive(&mut self, id: u32) -> Result<Reply> {
        loop {
            if let Some(reply) = self.early.remove(&id) {
                return Ok(reply);
            }
            if self.lost.is_some() {
                return Err(self.failure());
            }
            match self.next_parsed()? {
                Some((found, reply)) if found == id => return Ok(reply),
                Some((other, reply)) => {
                    self.early.insert(other, reply);
                }
                None => self.turn()?,
            }
        }
    }

    /// The next reply, whichever request it answers.
    pub fn receive_any(&mut self) -> Result<(u32, Reply)> {
        loop {
            if let Some(early) = self.early.pop_first() {
                return Ok(early);
            }
            if self.lost.is_some() {
                return Err(self.failure());
            }
            match self.next_parsed()? {
                Some(reply) => return Ok(reply),
                None => self.turn()?,
            }
        }
    }

    /// Sends a request and waits for its reply.
    pub fn ask(&mut self, request: &Request<'_>) -> Result<Reply> {
        let id = self.send(request)?;
        self.receive(id)
    }

    /// Nobody will ask for the reply to that request.
    pub fn forget(&mut self, id: u32) {
        if self.early.remove(&id).is_none()
            && let Some(fate) = self.in_flight.get_mut(&id)
        {
            *fate = Fate::Forgotten;
        }
    }

    /// Nobody will ask for any reply that is still to come: what was begun has failed.
    pub fn forget_all(&mut self) {
        self.early.clear();
        for fate in self.in_flight.values_mut() {
            *fate = Fate::Forgotten;
        }
    }

    /// Why the session is of no use any more.
    pub fn failure(&self) -> Error {
        let text = self.lost.clone().unwrap_or_else(|| "not connected".into());
        ErrorKind::Network(io::Error::new(io::ErrorKind::NotConnected, text)).into()
    }

    /// Marks the session as lost for this reason, and gives the reason back.
    pub fn fail(&mut self, error: Error) -> Error {
        if self.lost.is_none() {
            log::debug!("the SFTP session failed: {error}");
            self.lost = Some(error.to_string());
            self.output = None;
        }
        error
    }

    /// What the server sent makes no sense.
    pub fn nonsense(&mut self, what: impl Into<String>) -> Error {
        self.fail(ErrorKind::Protocol(what.into()).into())
    }

    fn await_hello(&mut self) -> Result<Hello> {
        loop {
            match packet::split(&self.unread[..self.arrived]) {
                Ok(None) => self.turn()?,
                Ok(Some((body, taken))) => {
                    let hello = packet::parse_hello(body);
                    self.done = taken;
                    return hello.map_err(|why| self.malformed(why));
                }
                Err(_) => return Err(self.noise()),
            }
        }
    }

    /// Whatever comes where SFTP should begin is text, as a rule: of a shell's start-up file.
    fn noise(&mut self) -> Error {
        let text = String::from_utf8_lossy(&self.unread[..self.arrived]);
        let line = text.lines().find(|line| !line.is_empty());
        let line = line.unwrap_or(&text).trim_ascii();
        let mut shown = match &self.program {
            Some(program) => program.shown(line).into_bytes(),
            None => line.as_bytes().to_vec(),
        };
        shown.truncate(SHOWN_BYTES);
        let shown = Escaped(&shown);
        self.nonsense(format!(
            "its shell prints before SFTP begins: \"{shown}\"; make the account's start-up files (.bashrc, .profile) \
             silent where there is no terminal"
        ))
    }

    fn malformed(&mut self, why: Malformed) -> Error {
        self.nonsense(format!("it sent {why}"))
    }

    fn take_early(&mut self) -> Result<()> {
        while let Some((id, reply)) = self.next_parsed()? {
            self.early.insert(id, reply);
        }
        Ok(())
    }

    /// The next reply that has arrived whole and that somebody waits for.
    fn next_parsed(&mut self) -> Result<Option<(u32, Reply)>> {
        loop {
            let parsed = match packet::split(&self.unread[self.done..self.arrived]) {
                Ok(None) => return Ok(None),
                Ok(Some((body, taken))) => {
                    let parsed = packet::parse_reply(body);
                    self.done += taken;
                    parsed
                }
                Err(why) => Err(why),
            };
            let (id, reply) = parsed.map_err(|why| self.malformed(why))?;
            self.moved = Instant::now();
            match self.in_flight.remove(&id) {
                Some(Fate::Wanted) => return Ok(Some((id, reply))),
                Some(Fate::Forgotten) => {}
                None => return Err(self.nonsense("it answered what it was not asked")),
            }
        }
    }

    /// Waits until something can be read or written, and does it.
    fn turn(&mut self) -> Result<()> {
        let left = self.timeout.saturating_sub(self.moved.elapsed());
        if left.is_zero() {
            return Err(self.timed_out());
        }
        let (can_read, has_news) = match self.wait(left) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(self.fail(ErrorKind::Network(errno.into()).into())),
        };
        if has_news && let Some(program) = &mut self.program {
            let asked = Instant::now();
            if let Err(error) = program.attend() {
                return Err(self.fail(error));
            }
            // A user may take as long as it takes.
            self.moved += asked.elapsed();
        }
        if let Err(errno) = self.write_some() {
            // Why it hears nothing any more, it says itself.
            log::trace!("writing to the SSH program: {errno}");
            self.output = None;
        }
        if can_read {
            self.read_some()?;
        }
        Ok(())
    }

    /// Whether packets can be read, and whether the program has something to say beside them.
    fn wait(&self, left: Duration) -> nix::Result<(bool, bool)> {
        // At least a millisecond: zero would be a look that waits for nothing.
        let timeout =
            PollTimeout::try_from(left.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
        let beside = self.program.iter().flat_map(Program::descriptors);
        fds.extend(beside.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let news = 1..fds.len();
        if let Some(output) = &self.output
            && self.written < self.unwritten.len()
        {
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLOUT));
        }
        poll(&mut fds, timeout)?;
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        Ok((is_ready(&fds[0]), fds[news].iter().any(is_ready)))
    }

    fn write_some(&mut self) -> nix::Result<()> {
        let Some(output) = &self.output else {
            self.unwritten.clear();
            self.written = 0;
            return Ok(());
        };
        while self.written < self.unwritten.len() {
            match write(output, &self.unwritten[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.moved = Instant::now();
                }
                Err(Errno::EAGAIN) => {
                    self.unwritten.drain(..self.written);
                    self.written = 0;
                    return Ok(());
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.unwritten.clear();
        self.written = 0;
        Ok(())
    }

    fn read_some(&mut self) -> Result<()> {
        self.unread.copy_within(self.done..self.arrived, 0);
        self.arrived -= self.done;
        self.done = 0;
        let end = self.arrived + READ_BYTES;
        if self.unread.len() < end {
            self.unread.resize(end, 0);
        }
        let count = read(&self.input, &mut self.unread[self.arrived..end]);
        self.arrived += count.unwrap_or(0);
        match count {
            Ok(0) => Err(self.ended()),
            Err(Errno::EAGAIN | Errno::EINTR) | Ok(_) => Ok(()),
            Err(errno) => Err(self.fail(ErrorKind::Network(errno.into()).into())),
        }
    }

    fn timed_out(&mut self) -> Error {
        let phase = self.phase;
        let explained = self.program.as_mut().and_then(|program| match phase {
            Phase::Login => Some(program.explain_silence()),
            _ => None,
        });
        let error = explained.unwrap_or_else(|| ErrorKind::Timeout(phase).into());
        self.fail(error)
    }

    fn ended(&mut self) -> Error {
        self.output = None;
        let closed = || -> Error {
            let text = "the connection was closed";
            ErrorKind::Network(io::Error::new(io::ErrorKind::UnexpectedEof, text)).into()
        };
        let error = match &mut self.program {
            Some(program) => program.explain_end().unwrap_or_else(closed),
            None => closed(),
        };
        self.fail(error)
    }
}
