//! The control connection: login, and commands and replies in step.
//!
//! Replies come in the order of the commands, so commands can be sent ahead: that is what makes FTP bearable on a
//! slow line. Nothing is sent while the bytes of a transfer are on their way, because servers run such commands at
//! once, drop them or mix up their replies. A session on which something unexpected happened is closed and never used again.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::{Command, Iac};
use super::features::Features;
use super::pace::Pace;
use super::passive::{parse_epsv, parse_pasv};
use super::reply::{Form, LongReply, Malformed, Reply, Whole};
use super::software::Software;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::job::DataMode;
use crate::net::{Stream, Tickets, TlsClient, connect, dial};
use crate::path::Escaped;

/// Where the wire is logged: every line in both directions, without the password.
const WIRE: &str = "coracle::wire";

/// A greeting or a login may take this long in all: servers that hash passwords slowly were seen to take 13 s.
const LOGIN_TOTAL: Duration = Duration::from_secs(120);
/// A reply may take this long in all, unless the silence that is allowed is longer: a server that sends a byte now
/// and then is dead, too.
const REPLY_TOTAL: Duration = Duration::from_secs(60);

/// Bytes of commands on their way without a reply: so few fit into the socket buffers of the poorest server, so that
/// both ends never wait for each other to read.
const MAX_AHEAD_BYTES: usize = 16 * 1024;
/// Bytes of commands in one flight: one TCP segment on any line, IPv6's least included.
const MAX_FLIGHT_BYTES: usize = 1200;

/// The longest command line of a server that is not known to take more: old BSD servers cut at 512 bytes and run the
/// rest as a command.
const MAX_LINE_BYTES: usize = 500;
/// The longest command line of a server that is known to be newer: pyftpdlib takes 2048 bytes, all others more.
const MAX_LINE_BYTES_NEWER: usize = 2000;

/// The most preliminary replies to one command.
pub(super) const MAX_PRELIMINARY: usize = 64;

/// A passive port in hand is used within this time: pyftpdlib closes it after 30 s.
const PORT_LIFE: Duration = Duration::from_secs(20);

/// A TLS session is left for a new one at this age: the shortest life that servers were seen to announce is two hours,
/// and GnuTLS gives one by itself.
const TLS_SESSION_LIFE: Duration = Duration::from_secs(45 * 60);

/// Error texts are cut at this many bytes.
const MAX_SHOWN_BYTES: usize = 300;

/// So much is shown of a line that is no reply.
const MAX_FOREIGN_BYTES: usize = 60;

/// A shorter password is not looked for in what the server says: it would hide ordinary words.
const MIN_MASKED_BYTES: usize = 4;

/// Whom to log in.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
}

/// With these a server may say that a command came too early: it does not know it, cannot run it now, or not in this order.
const TOO_EARLY: [u16; 3] = [500, 502, 503];

/// How long to wait, who opens data connections, and how far ahead commands are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a connection may be silent.
    pub timeout: Duration,
    /// Who opens data connections.
    pub data: DataMode,
    /// What the sessions with this server have learnt.
    pub pace: Arc<Pace>,
}

/// How the connections of a session are protected.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all.
    Clear,
    /// By TLS, asked for with AUTH before anything is said (RFC 4217).
    Explicit(Arc<TlsClient>),
    /// By TLS from the first byte.
    Implicit(Arc<TlsClient>),
}

/// The TLS of a session.
pub(super) struct Protection {
    pub(super) client: Arc<TlsClient>,
    pub(super) tickets: Tickets,
    since: Instant,
    /// Whether a data connection has resumed the session.
    pub(super) has_resumed: bool,
}

/// A logged-in control connection.
pub struct Session {
    pub(super) stream: Stream,
    pub(super) settings: Settings,
    /// The server's address, to which data connections go whatever the server says.
    pub(super) peer: SocketAddr,
    /// Received, not parsed yet.
    input: Vec<u8>,
    /// To be sent with the next flush.
    output: Vec<u8>,
    /// The length of each command that has no final reply yet.
    sent: VecDeque<usize>,
    /// The most commands that were on their way since all had been answered.
    flight: usize,
    /// How EPSV fared so far.
    passive: PassiveWay,
    /// A passive port that the server offered, and when.
    port: Option<(u16, Instant)>,
    /// A data connection that no command has used yet, and when it was opened.
    early: Option<(Stream, Instant)>,
    /// Whether a transfer begins on a port that had been in hand.
    pub(super) is_on_spare_port: bool,
    failed: Option<ErrorKind>,
    software: Software,
    features: Features,
    login_dir: Option<Vec<u8>>,
    max_line_bytes: usize,
    iac: Iac,
    takes_data_early: bool,
    ahead: Ahead,
    password: Vec<u8>,
    /// None for a session in the clear.
    pub(super) protection: Option<Protection>,
}

/// How commands may be sent ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    /// More of them while replies come.
    Stream,
    /// A small segment of them, and the next when all are answered.
    ///
    /// ProFTPD takes no line end that is torn apart by two of its reads: it joins such a line with the next one, so
    /// that a reply is missing and all that follow belong to other commands. A segment that arrives whole at a server
    /// that has read everything before is read at once.
    Flights,
}

/// How passive ports are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PassiveWay {
    Epsv,
    Pasv,
}

impl Session {
    /// Connects, logs in, and asks what the server can do.
    pub fn open(
        host: &str,
        port: u16,
        account: Account<'_>,
        settings: Settings,
        security: &Security,
    ) -> Result<Self> {
        let (Security::Explicit(client) | Security::Implicit(client)) = security else {
            return Self::open_once(host, port, account, settings, security);
        };
        let was_raised = client.is_raised();
        match Self::open_once(host, port, account, settings.clone(), security) {
            // The server refused the version of TLS that was offered; now there is a higher one.
            Err(_) if client.is_raised() && !was_raised => {
                Self::open_once(host, port, account, settings, security)
            }
            other => other,
        }
    }

    fn open_once(
        host: &str,
        port: u16,
        account: Account<'_>,
        settings: Settings,
        security: &Security,
    ) -> Result<Self> {
        let socket = dial(host, port, settings.timeout)?;
        let peer = socket.peer_addr().map_err(ErrorKind::Network)?;
        let stream = Stream::new(socket, settings.timeout, Phase::Greeting);
        stream.keep_alive();
        let mut session = Self {
            stream,
            settings,
            peer,
            input: Vec::new(),
            output: Vec::new(),
            sent: VecDeque::new(),
            flight: 0,
            passive: PassiveWay::Epsv,
            port: None,
            early: None,
            is_on_spare_port: false,
            failed: None,
            software: Software::Unknown,
            features: Features::default(),
            login_dir: None,
            max_line_bytes: MAX_LINE_BYTES,
            iac: Iac::Refused,
            takes_data_early: false,
            ahead: Ahead::Flights,
            password: account.password.as_bytes().to_vec(),
            protection: None,
        };
        match security {
            Security::Clear => session.greet()?,
            Security::Explicit(client) => {
                session.greet()?;
                session.ask_for_tls()?;
                session.secure(client)?;
            }
            Security::Implicit(client) => {
                session.secure(client)?;
                session.greet()?;
            }
        }
        session.log_in(account)?;
        session.ask_around()?;
        Ok(session)
    }

    /// What the server says it can do.
    pub const fn features(&self) -> &Features {
        &self.features
    }

    /// The directory of the login, where the server told it.
    pub fn login_dir(&self) -> Option<&[u8]> {
        self.login_dir.as_deref()
    }

    /// What the server is, as far as it shows.
    pub const fn software(&self) -> Software {
        self.software
    }

    /// Sends the command and waits for its final reply, whatever it says.
    pub fn ask(&mut self, command: &Command<'_>) -> Result<Reply> {
        self.queue(command)?;
        self.reply()
    }

    /// Sends the commands ahead and collects the final reply to each. A command that cannot be sent has its error; an
    /// error of the session ends it all.
    ///
    /// What is refused when it was sent ahead is sent once more alone, until it is known whether this server minds; where it
    /// does, so is all behind it. So a command may be run twice, but no rename is that was confirmed.
    pub fn ask_all(&mut self, commands: &[Command<'_>]) -> Result<Vec<Result<Reply>>> {
        self.ask_doubting(commands, |_| {})
    }

    /// The same; and while the commands travel, opens the data connection that the next transfer will use.
    pub fn ask_all_and_connect(&mut self, commands: &[Command<'_>]) -> Result<Vec<Result<Reply>>> {
        self.ask_doubting(commands, Self::connect_ahead)
    }

    /// Like [`Session::ask_all`] for replies that hold listings: the lines between the first and the last go to `take`
    /// as they come, with the place of their command, and are not in the replies. No refusal is doubted.
    pub fn ask_long(
        &mut self,
        commands: &[Command<'_>],
        take: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<Vec<Result<Reply>>> {
        self.ask_ahead(commands, |_| {}, &mut |session, place| {
            session.long_reply(&mut |line| take(place, line))
        })
    }

    fn ask_doubting(
        &mut self,
        commands: &[Command<'_>],
        meanwhile: fn(&mut Self),
    ) -> Result<Vec<Result<Reply>>> {
        let mut replies = self.ask_ahead(commands, meanwhile, &mut |session, _| session.reply())?;
        let Some(first) = self.first_doubted(commands, &replies) else {
            return Ok(replies);
        };
        if let Command::Rnto(_) = commands[first] {
            // It counts only right behind its RNFR.
            replies[first - 1] = Ok(self.ask(&commands[first - 1])?);
        }
        let again = self.ask(&commands[first])?;
        let was_taken = !TOO_EARLY.contains(&again.code);
        replies[first] = Ok(again);
        self.settings.pace.sent_again(was_taken);
        if !was_taken {
            return Ok(replies);
        }
        for place in first + 1..commands.len() {
            let is_confirmed = |place: usize| {
                matches!(commands.get(place), Some(Command::Rnto(_)))
                    && replies[place].as_ref().is_ok_and(Reply::is_success)
            };
            let is_half_a_rename = matches!(commands[place], Command::Rnfr(_));
            let is_done = is_confirmed(place) || is_half_a_rename && is_confirmed(place + 1);
            if replies[place].is_ok() && !is_done {
                replies[place] = Ok(self.ask(&commands[place])?);
            }
        }
        Ok(replies)
    }

    /// The first command that may have been refused for having been sent ahead.
    fn first_doubted(&self, commands: &[Command<'_>], replies: &[Result<Reply>]) -> Option<usize> {
        if !self.settings.pace.doubts_refusals() {
            return None;
        }
        let is_doubted = |place: &usize| {
            // Most servers refuse OPTS UTF8, and nothing depends on it.
            !matches!(commands[*place], Command::OptsUtf8)
                && replies[*place]
                    .as_ref()
                    .is_ok_and(|reply| TOO_EARLY.contains(&reply.code))
        };
        (1..commands.len()).find(is_doubted)
    }

    fn ask_ahead(
        &mut self,
        commands: &[Command<'_>],
        meanwhile: fn(&mut Self),
        read: &mut dyn FnMut(&mut Self, usize) -> Result<Reply>,
    ) -> Result<Vec<Result<Reply>>> {
        self.check_quiet()?;
        let mut meanwhile = Some(meanwhile);
        let most = self.settings.pace.most();
        let mut replies: Vec<Option<Result<Reply>>> = Vec::with_capacity(commands.len());
        let mut waiting = VecDeque::new();
        let mut next = 0;
        loop {
            // Filled up only when half empty, so that commands travel in large segments.
            let may_send = match self.ahead {
                Ahead::Stream => {
                    self.ahead_bytes() * 2 <= MAX_AHEAD_BYTES && waiting.len() * 2 <= most
                }
                Ahead::Flights => waiting.is_empty(),
            };
            if may_send {
                while let Some(command) = commands.get(next)
                    && (waiting.is_empty() || self.has_room_for(command))
                    && waiting.len() < most
                {
                    match self.enqueue(command) {
                        Ok(()) => {
                            waiting.push_back(next);
                            replies.push(None);
                        }
                        Err(error) => replies.push(Some(Err(error))),
                    }
                    next += 1;
                }
            }
            let Some(index) = waiting.pop_front() else {
                break;
            };
            self.flush()?;
            if let Some(meanwhile) = meanwhile.take() {
                meanwhile(self);
            }
            let reply = read(self, index)?;
            replies[index] = Some(Ok(reply));
        }
        self.settings.pace.answered(self.flight);
        let replies = replies.into_iter();
        Ok(replies
            .map(|reply| reply.expect("each command was answered or refused"))
            .collect())
    }

    /// Whether an upload may begin, and even end, before the server has said that it takes it.
    pub const fn takes_data_early(&self) -> bool {
        // A TLS handshake begins when the server says so.
        self.takes_data_early && self.protection.is_none()
    }

    /// Whether everything that is sent can be read on the way.
    pub const fn is_clear(&self) -> bool {
        self.protection.is_none()
    }

    /// The server's address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether data connections may soon be refused because the TLS session has become old or has no ticket left, so
    /// that it is time for a new control connection.
    pub fn is_worn(&self) -> bool {
        self.protection.as_ref().is_some_and(|protection| {
            protection.since.elapsed() > TLS_SESSION_LIFE || protection.tickets.are_spent()
        })
    }

    /// The error that this reply is.
    pub fn refusal(&self, reply: &Reply) -> Error {
        let code = reply.code;
        Error::new(ErrorKind::Refused {
            code,
            text: self.shown(reply),
        })
    }

    /// Why this session can no longer be used; for one that can, that it is not known.
    pub fn failure(&self) -> Error {
        self.failed
            .as_ref()
            .map_or_else(
                || ErrorKind::Network(io::ErrorKind::NotConnected.into()),
                copy_kind,
            )
            .into()
    }

    /// Marks the session as unusable for this reason, and gives the reason back.
    pub fn fail(&mut self, error: Error) -> Error {
        if self.failed.is_none() {
            log::debug!("session with {} failed: {error}", self.peer);
            self.settings.pace.lost(self.flight);
            if self.is_on_spare_port {
                self.settings.pace.port_failed();
            }
            self.failed = Some(copy_kind(error.kind()));
            let _ = self.stream.socket().shutdown(std::net::Shutdown::Both);
        }
        error
    }

    /// The command that asks for the next passive port, to be put behind a batch; none in active mode and where one
    /// is in hand.
    pub fn port_command(&self) -> Option<Command<'static>> {
        let port_since = self.port.map(|(_, since)| since);
        let early_since = self.early.as_ref().map(|(_, since)| *since);
        let in_hand = port_since
            .or(early_since)
            .is_some_and(|since| since.elapsed() < PORT_LIFE);
        match (self.settings.data, self.passive) {
            _ if in_hand || !self.settings.pace.keeps_ports() => None,
            (DataMode::Active, _) => None,
            (DataMode::Passive, PassiveWay::Epsv) => Some(Command::Epsv),
            (DataMode::Passive, PassiveWay::Pasv) => Some(Command::Pasv),
        }
    }

    /// Takes the reply to [`Session::port_command`] in.
    pub fn take_port(&mut self, reply: &Reply) {
        let port = match reply.code {
            229 => parse_epsv(reply.last_line()),
            227 => parse_pasv(reply.last_line()),
            _ => None,
        };
        if port.is_none() && self.passive == PassiveWay::Epsv {
            self.passive = PassiveWay::Pasv;
        }
        // Whoever asks for a new port gives the old one up.
        self.early = None;
        self.port = port.map(|port| (port, Instant::now()));
    }

    /// The port in hand, while it is fresh.
    pub(super) fn port_in_hand(&mut self) -> Option<u16> {
        let (port, since) = self.port.take()?;
        (since.elapsed() < PORT_LIFE).then_some(port)
    }

    /// Opens a data connection to the port in hand, where the server looks at it only once it runs the command. A
    /// failure only means that there is none.
    fn connect_ahead(&mut self) {
        if !self.settings.pace.connects_early()
            || !self.takes_data_early()
            || self.settings.data != DataMode::Passive
        {
            return;
        }
        let Some(port) = self.port_in_hand() else {
            return;
        };
        let address = SocketAddr::new(self.peer.ip(), port);
        let wait = self.settings.timeout;
        if let Ok(socket) = connect(address, wait, Phase::DataConnect) {
            let stream = Stream::new(socket, wait, Phase::Data);
            self.early = Some((stream, Instant::now()));
        }
    }

    /// The data connection in hand, while it is fresh and stands.
    pub(super) fn connection_in_hand(&mut self) -> Option<Stream> {
        let (mut stream, since) = self.early.take()?;
        // The server has nothing to say on it yet, but the end.
        (since.elapsed() < PORT_LIFE && !stream.is_readable(Duration::ZERO)).then_some(stream)
    }

    /// Asks for a passive port.
    pub(super) fn ask_port(&mut self) -> Result<u16> {
        // EPSV once; where it is refused PASV, for good.
        for _ in 0..2 {
            let way = self.passive;
            let command = match way {
                PassiveWay::Epsv => Command::Epsv,
                PassiveWay::Pasv => Command::Pasv,
            };
            let reply = self.ask(&command)?;
            self.take_port(&reply);
            if let Some((port, _)) = self.port.take() {
                return Ok(port);
            }
            if way == PassiveWay::Pasv {
                if reply.is_success() {
                    let text = format!("no usable port in \"{}\"", self.shown(&reply));
                    return Err(self.fail(ErrorKind::Protocol(text).into()));
                }
                let error = self.refusal(&reply);
                return Err(error.while_doing("opening a data connection"));
            }
        }
        unreachable!("the second round asks PASV and returns")
    }

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

    /// How long the reply that ends a transfer may take: no longer than any other silence, so that `--timeout` says it
    /// all. A server whose disk is slow to write what it has taken wants a longer one.
    pub(super) fn end_wait(&self) -> Duration {
        self.settings.timeout
    }

    /// The next reply to the oldest command, preliminary or final.
    pub(super) fn any_reply(&mut self, phase: Phase, wait: Duration) -> Result<Reply> {
        self.any_reply_in(phase, wait, &mut Whole)
    }

    fn any_reply_in(&mut self, phase: Phase, wait: Duration, form: &mut dyn Form) -> Result<Reply> {
        let total = REPLY_TOTAL.max(wait);
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
        for _ in 0..MAX_PRELIMINARY {
            let reply = self.any_reply_in(phase, wait, form)?;
            if !reply.is_preliminary() {
                return Ok(reply);
            }
        }
        Err(self.fail_chatting())
    }

    /// Like [`Session::reply`], with the lines between the first and the last given to `take`.
    fn long_reply(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<Reply> {
        self.flush()?;
        let wait = self.settings.timeout;
        self.final_reply_in(Phase::Reply, wait, &mut LongReply::new(take))
    }

    pub(super) fn fail_chatting(&mut self) -> Error {
        let text = "preliminary replies without end".to_owned();
        self.fail(ErrorKind::Protocol(text).into())
    }

    fn has_room_for(&self, command: &Command<'_>) -> bool {
        let limit = match self.ahead {
            Ahead::Stream => MAX_AHEAD_BYTES,
            Ahead::Flights => MAX_FLIGHT_BYTES,
        };
        let mut line = Vec::new();
        // What cannot be sent takes no room.
        let _ = command.encode(&mut line, self.max_line_bytes, self.iac);
        self.ahead_bytes() + line.len() <= limit
    }

    fn ahead_bytes(&self) -> usize {
        self.sent.iter().sum()
    }

    fn enqueue(&mut self, command: &Command<'_>) -> Result<()> {
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
    fn check_quiet(&mut self) -> Result<()> {
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

    fn next_reply(
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
            match parsed {
                Ok(Some(reply)) => {
                    log::trace!(target: WIRE, "< {} {}", reply.code, self.shown(&reply));
                    if reply.code != 421 {
                        return Ok(reply);
                    }
                    // pyftpdlib says 421 when nobody has come to its passive port, and goes on.
                    if self.port.is_some() && reply.mentions(&["data channel"]) {
                        self.port = None;
                        if self.sent.is_empty() {
                            return Ok(Reply::none());
                        }
                        continue;
                    }
                    let text = self.shown(&reply);
                    return Err(self.fail(ErrorKind::Unavailable(text).into()));
                }
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
        let text = match (why, phase) {
            (Malformed::NoCode, Phase::Greeting) => foreign_greeting(&self.input),
            (Malformed::NoCode, _) => {
                let line = self.input.split(|byte| *byte == b'\n').next();
                let line = line.unwrap_or_default();
                let line = &line[..line.len().min(MAX_FOREIGN_BYTES)];
                format!("{why}: \"{}\"", Escaped(line.trim_ascii()))
            }
            (Malformed::LongLine | Malformed::LongReply, _) => why.to_string(),
        };
        ErrorKind::Protocol(text).into()
    }

    fn greet(&mut self) -> Result<()> {
        let reply = loop {
            let reply =
                self.next_reply(Phase::Greeting, self.settings.timeout, Some(LOGIN_TOTAL))?;
            // 120 says that the server will be ready soon.
            if !reply.is_preliminary() {
                break reply;
            }
        };
        match reply.code {
            220 => {}
            400..600 => {
                let text = format!("{} {}", reply.code, self.shown(&reply));
                return Err(self.fail(ErrorKind::Unavailable(text).into()));
            }
            _ => {
                let text = format!("it begins with {} {}", reply.code, self.shown(&reply));
                return Err(self.fail(ErrorKind::Protocol(text).into()));
            }
        }
        self.software = Software::of(reply.text());
        Ok(())
    }

    /// Asks for TLS, and sees to it that nothing follows in the clear: it could have been put there by somebody between,
    /// to be taken for what the server says through TLS.
    fn ask_for_tls(&mut self) -> Result<()> {
        let reply = self.ask(&Command::AuthTls)?;
        if reply.code != 234 {
            let text = format!(
                "the server gives no TLS, so nothing more was said to it: {} {} (ftp:// would send user, password and \
                 files readable by everyone on the way)",
                reply.code,
                self.shown(&reply)
            );
            return Err(self.fail(ErrorKind::Tls(text).into()));
        }
        if !self.input.is_empty() {
            let text = "more follows in the clear where TLS should begin; somebody may be tampering with the connection"
                .to_owned();
            return Err(self.fail(ErrorKind::Tls(text).into()));
        }
        Ok(())
    }

    fn secure(&mut self, client: &Arc<TlsClient>) -> Result<()> {
        let wait = self.settings.timeout;
        self.stream
            .enter(Phase::Handshake, wait, Some(REPLY_TOTAL.max(wait)));
        let mut tickets = client.tickets()?;
        if let Err(error) = self.stream.secure(client, &mut tickets) {
            return Err(self.fail(error));
        }
        self.protection = Some(Protection {
            client: Arc::clone(client),
            tickets,
            since: Instant::now(),
            has_resumed: false,
        });
        Ok(())
    }

    fn log_in(&mut self, account: Account<'_>) -> Result<()> {
        let mut reply = self.ask_login(&Command::User(account.user))?;
        if reply.code == 331 {
            reply = self.ask_login(&Command::Pass(account.password))?;
        }
        match reply.code {
            200..300 => Ok(()),
            332 => {
                let text =
                    "the server wants an account name (ACCT), which is not supported".to_owned();
                Err(self.fail(ErrorKind::Login(text).into()))
            }
            // A full server says so with 530 after PASS (ProFTPD).
            _ => {
                let text = format!("{} {}", reply.code, self.shown(&reply));
                let is_temporary = reply.code / 100 == 4
                    || reply.mentions(&[
                        "too many",
                        "maximum",
                        "limit",
                        "try again",
                        "later",
                        "connections",
                    ]);
                let kind = if is_temporary {
                    ErrorKind::Unavailable(text)
                } else {
                    ErrorKind::Login(text)
                };
                Err(self.fail(kind.into()))
            }
        }
    }

    fn ask_login(&mut self, command: &Command<'_>) -> Result<Reply> {
        self.check_quiet()?;
        // Not a path: the rule for 0xFF in names is not known yet and must not stop a login.
        self.iac = Iac::Single;
        let queued = self.enqueue(command);
        self.iac = Iac::Refused;
        queued?;
        self.flush()?;
        let reply = self.next_reply(Phase::Login, self.settings.timeout, Some(LOGIN_TOTAL))?;
        self.sent.pop_front();
        Ok(reply)
    }

    /// Asks all that a session needs to know, in one go.
    fn ask_around(&mut self) -> Result<()> {
        let commands = [
            Command::Feat,
            Command::OptsUtf8,
            Command::TypeImage,
            Command::Pwd,
            // RFC 4217, 9: the size comes before the level, and is always 0.
            Command::Pbsz,
            Command::ProtPrivate,
        ];
        let wanted = if self.protection.is_some() { 6 } else { 4 };
        let mut replies = self.ask_all(&commands[..wanted])?;
        if let Some(private) = replies.drain(4..).nth(1) {
            self.check_private(&private?)?;
        }
        let [feat, _utf8, image, pwd] = <[Result<Reply>; 4]>::try_from(replies)
            .map_err(|_| Error::new(ErrorKind::Protocol("lost count of replies".to_owned())))?;
        self.features = Features::parse(&feat?);
        let image = image?;
        if !image.is_success() {
            let text = format!(
                "it refuses binary transfers: {} {}",
                image.code,
                self.shown(&image)
            );
            return Err(self.fail(ErrorKind::Protocol(text).into()));
        }
        let pwd = pwd?;
        if pwd.code == 257 {
            self.login_dir = parse_quoted(pwd.last_line());
        }
        (self.max_line_bytes, self.iac) = server_limits(self.software, &self.features);
        self.takes_data_early = accepts_after_command(self.software);
        self.ahead = way_ahead(self.software);
        Ok(())
    }

    /// Without the server's consent data connections would go in the clear.
    fn check_private(&mut self, reply: &Reply) -> Result<()> {
        if reply.is_success() {
            return Ok(());
        }
        let text = format!(
            "the server does not protect files and listings, so none is sent: {} {}",
            reply.code,
            self.shown(reply)
        );
        Err(self.fail(ErrorKind::Tls(text).into()))
    }

    /// The reply's text as it may be shown: escaped, short, and without the password, which some servers repeat.
    fn shown(&self, reply: &Reply) -> String {
        let mut text = reply.text().to_vec();
        for byte in &mut text {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
        if self.password.len() >= MIN_MASKED_BYTES {
            while let Some(place) = find(&text, &self.password) {
                text.splice(place..place + self.password.len(), *b"****");
                if find(b"****", &self.password).is_some() {
                    break;
                }
            }
        }
        text.truncate(MAX_SHOWN_BYTES);
        Escaped(text.trim_ascii()).to_string()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.failed.is_none() && self.sent.is_empty() {
            // A courtesy; nobody waits for the answer.
            let _ = self.enqueue(&Command::Quit);
            let output = std::mem::take(&mut self.output);
            self.stream
                .enter(Phase::Reply, Duration::from_secs(1), None);
            let _ = self.stream.write(&output);
        }
    }
}

/// How long a command line may be and how 0xFF is sent, as far as the server shows what it is.
const fn server_limits(software: Software, features: &Features) -> (usize, Iac) {
    let (is_newer, iac) = match software {
        // Newer, though it has no MLST.
        Software::Vsftpd => (true, Iac::Single),
        Software::PureFtpd => (features.mlst, Iac::Single),
        Software::Proftpd | Software::Inetutils => (features.mlst, Iac::Doubled),
        Software::Pyftpdlib | Software::Busybox | Software::Unknown => {
            (features.mlst, Iac::Refused)
        }
    };
    let max_line_bytes = if is_newer {
        MAX_LINE_BYTES_NEWER
    } else {
        MAX_LINE_BYTES
    };
    (max_line_bytes, iac)
}

/// A stream for servers that were seen to read any rightly; of the others nobody knows what they descend from.
const fn way_ahead(software: Software) -> Ahead {
    match software {
        Software::Vsftpd
        | Software::PureFtpd
        | Software::Pyftpdlib
        | Software::Inetutils
        | Software::Busybox => Ahead::Stream,
        Software::Proftpd | Software::Unknown => Ahead::Flights,
    }
}

/// Whether this is a server that looks at a data connection only once it runs the command: what was sent before waits
/// in the socket. The others may have an event loop, as pyftpdlib has, which drops a connection that ends before the
/// command has arrived, and never says so.
const fn accepts_after_command(software: Software) -> bool {
    match software {
        Software::Vsftpd
        | Software::Proftpd
        | Software::PureFtpd
        | Software::Inetutils
        | Software::Busybox => true,
        Software::Pyftpdlib | Software::Unknown => false,
    }
}

/// The path in a 257 reply. RFC 959 doubles quotes within it, Pure-FTPd does not: a quote ends the path where a blank
/// or nothing follows it.
fn parse_quoted(text: &[u8]) -> Option<Vec<u8>> {
    let open = text.iter().position(|byte| *byte == b'"')?;
    let mut path = Vec::new();
    let mut rest = &text[open + 1..];
    loop {
        match rest {
            [b'"', b'"', after @ ..] => {
                path.push(b'"');
                rest = after;
            }
            [b'"'] | [b'"', b' ', ..] => return (!path.is_empty()).then_some(path),
            [byte, after @ ..] => {
                path.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

/// What speaks there instead of an FTP server.
fn foreign_greeting(input: &[u8]) -> String {
    if input.starts_with(b"SSH-") {
        "this is an SSH server; FTP does not run there".to_owned()
    } else if input.starts_with(b"HTTP/") || input.starts_with(b"<") {
        "this is a web server; FTP does not run there".to_owned()
    } else if input.starts_with(&[0x15, 3]) || input.starts_with(&[0x16, 3]) {
        "this port speaks TLS, not plain FTP".to_owned()
    } else {
        let line = input
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let line = &line[..line.len().min(MAX_FOREIGN_BYTES)];
        format!(
            "this is no FTP server; it says \"{}\"",
            Escaped(line.trim_ascii())
        )
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The same failure once more, for those who come later.
fn copy_kind(kind: &ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::Timeout(phase) => ErrorKind::Timeout(*phase),
        ErrorKind::Unavailable(text) => ErrorKind::Unavailable(text.clone()),
        ErrorKind::Protocol(text) => ErrorKind::Protocol(text.clone()),
        ErrorKind::Login(text) => ErrorKind::Login(text.clone()),
        ErrorKind::Tls(text) => ErrorKind::Tls(text.clone()),
        ErrorKind::Network(error) => {
            ErrorKind::Network(io::Error::new(error.kind(), error.to_string()))
        }
        _ => ErrorKind::Network(io::ErrorKind::NotConnected.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_login_directory_of_all_servers() {
        let read =
            |text: &str| parse_quoted(text.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(read("\"/\""), Some("/".into()));
        assert_eq!(
            read("\"/a b\" is the current directory"),
            Some("/a b".into())
        );
        assert_eq!(
            read("\"/q\"\"q\" is the current directory"),
            Some("/q\"q".into())
        );
        assert_eq!(
            read("\"/q\"q\" is your current location"),
            Some("/q\"q".into())
        );
        assert_eq!(
            read("\"/\" is current directory for \"user\""),
            Some("/".into())
        );
        assert_eq!(read("\"/never ends"), None);
        assert_eq!(read("\"\" nothing"), None);
        assert_eq!(read("nothing"), None);
    }

    #[test]
    fn says_who_answered_instead() {
        assert!(foreign_greeting(b"SSH-2.0-OpenSSH_9.2\r\n").contains("SSH server"));
        assert!(foreign_greeting(b"HTTP/1.1 400 Bad\r\n").contains("web server"));
        assert!(foreign_greeting(&[0x15, 3, 1]).contains("TLS"));
        assert_eq!(
            foreign_greeting(b"* OK \x1b[31m\r\nmore"),
            r#"this is no FTP server; it says "* OK \x1b[31m""#
        );
    }

    #[test]
    fn only_known_servers_are_sent_a_stream() {
        assert_eq!(way_ahead(Software::Vsftpd), Ahead::Stream);
        assert_eq!(way_ahead(Software::Proftpd), Ahead::Flights);
        assert_eq!(way_ahead(Software::Unknown), Ahead::Flights);
    }

    #[test]
    fn data_goes_early_only_to_servers_known_to_wait_for_the_command() {
        assert!(accepts_after_command(Software::Proftpd));
        assert!(!accepts_after_command(Software::Pyftpdlib));
        assert!(!accepts_after_command(Software::Unknown));
    }

    #[test]
    fn long_lines_go_only_to_servers_known_to_take_them() {
        let old = Features::default();
        let newer = Features {
            mlst: true,
            ..Features::default()
        };
        assert_eq!(
            server_limits(Software::Inetutils, &old),
            (500, Iac::Doubled)
        );
        assert_eq!(server_limits(Software::Vsftpd, &old), (2000, Iac::Single));
        assert_eq!(
            server_limits(Software::Pyftpdlib, &newer),
            (2000, Iac::Refused)
        );
        assert_eq!(server_limits(Software::Unknown, &old), (500, Iac::Refused));
    }
}
