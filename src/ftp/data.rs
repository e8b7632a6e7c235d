//! Data connections: open, transfer, close, await the final reply; always all of it.
//!
//! The command goes out first and the connection is opened while it travels: no server needs one to wait for the
//! other. Passive connections go to the address of the control connection, whatever the server says.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::command::Command;
use super::reply::Reply;
use super::session::{MAX_PRELIMINARY, Session};
use crate::error::{Error, ErrorKind, Phase, Result, Scope};
use crate::job::DataMode;
use crate::net::{Pipe, Secured, Stream, connect};

/// How long a server that let the data connection fail may take to say why.
const EXCUSE_WAIT: Duration = Duration::from_secs(5);

/// A TLS handshake on a data connection may take this long in all, unless the silence that is allowed is longer.
const HANDSHAKE_TOTAL: Duration = Duration::from_secs(60);

/// How long the reply to a transfer that we gave up may take.
const ABANDON_WAIT: Duration = Duration::from_secs(5);

/// How long the passive port may take that was asked for at the end of a download, once that end was confirmed.
const PORT_WAIT: Duration = Duration::from_secs(5);

/// How long after a second preliminary reply the final one may come.
const AFTERTHOUGHT_WAIT: Duration = Duration::from_secs(1);

/// A transfer may not be slower than this many bytes a minute, once it has run for [`DRIP_GRACE`]: a peer that sends
/// a byte before each silence gets too long is no peer.
const MIN_BYTES_PER_MINUTE: u64 = 1024;
/// See [`MIN_BYTES_PER_MINUTE`]: a slow disk may need to wake up first.
const DRIP_GRACE: Duration = Duration::from_secs(120);

/// With these a server refuses a data connection that does not resume the TLS session, after it has shaken hands:
/// vsftpd 522, ProFTPD and FileZilla 425; others may choose the neighbours.
const NOT_RESUMED: [u16; 5] = [425, 426, 450, 522, 534];

/// A transfer that runs.
pub struct Transfer {
    stream: Stream,
    course: Course,
    /// Whether the server said that it goes on.
    started: bool,
    /// The final reply, where it came early.
    end: Option<Reply>,
    since: Instant,
}

/// How a transfer went.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// Whether the bytes go to the server.
    is_upload: bool,
    /// Whether the TLS session of the control connection was resumed.
    is_resumed: bool,
    /// Whether the connection stood before the command was sent.
    was_early: bool,
    /// Whether the server has sent all that it wanted to.
    has_ended: bool,
    /// Whether the connection failed, so that nothing more can be said on it.
    is_broken: bool,
    moved_bytes: u64,
}

impl Session {
    /// Opens a data connection for the command (`RETR`, `STOR`, `MLSD`, `LIST`), from `offset`.
    ///
    /// The server may still refuse: see [`Session::await_start`]. After an error of [`Scope::Entry`] the session can
    /// be used.
    ///
    /// [`Scope::Entry`]: crate::error::Scope::Entry
    pub fn begin(&mut self, command: &Command<'_>, offset: u64) -> Result<Transfer> {
        if matches!(command, Command::Stor(_)) {
            self.prove_data()?;
        }
        match self.settings.data {
            DataMode::Passive => self.begin_passive(command, offset),
            DataMode::Active => self.begin_active(command, offset),
        }
    }

    /// Waits until the server says that the transfer goes on, and secures the data connection of a protected session.
    /// A refusal ends it.
    pub fn await_start(&mut self, transfer: &mut Transfer) -> Result<()> {
        if !transfer.started {
            let reply = self.any_reply(Phase::Reply, self.settings.timeout)?;
            transfer.started = true;
            if [425, 503].contains(&reply.code) && self.is_on_spare_port {
                self.leave_spare_port();
                let said = self.refusal(&reply);
                let lost = format!("the server did not keep a passive port; {said}");
                return Err(self.fail(ErrorKind::Network(io::Error::other(lost)).into()));
            }
            self.is_on_spare_port = false;
            if !reply.is_preliminary() {
                self.judge_early(transfer.course, &reply);
                let refusal = (!reply.is_success()).then(|| self.refusal(&reply));
                transfer.end = Some(reply);
                if let Some(refusal) = refusal {
                    return Err(refusal);
                }
            }
        }
        let Some(protection) = &mut self.protection else {
            return Ok(());
        };
        if transfer.stream.secured().is_some() {
            return Ok(());
        }
        let wait = self.settings.timeout;
        let total = HANDSHAKE_TOTAL.max(wait);
        let stream = &mut transfer.stream;
        stream.enter(Phase::Handshake, wait, Some(total));
        match stream.secure(&protection.client, &mut protection.tickets) {
            Ok(()) => {
                stream.enter(Phase::Data, wait, None);
                transfer.course.is_resumed = stream.secured().is_some_and(Secured::is_resumed);
                protection.has_resumed |= transfer.course.is_resumed;
                Ok(())
            }
            Err(error) => Err(self.explain_handshake(transfer, error)),
        }
    }

    /// A server may end a handshake that it does not like, and say why on the control connection.
    fn explain_handshake(&mut self, transfer: &mut Transfer, error: Error) -> Error {
        transfer.course.is_broken = true;
        let error = error.while_doing("securing a data connection");
        if matches!(error.kind(), ErrorKind::Network(_)) && transfer.end.is_none() {
            let _ = transfer.stream.socket().shutdown(Shutdown::Both);
            if let Ok(reply) = self.final_reply(Phase::TransferEnd, EXCUSE_WAIT)
                && !reply.is_success()
            {
                let refusal = self.refusal_of_data(transfer.course, &reply);
                transfer.end = Some(reply);
                return refusal.unwrap_or(error);
            }
        }
        self.fail(error)
    }

    /// The error that this final reply means where it refuses a data connection for not resuming the TLS session.
    fn refusal_of_data(&mut self, course: Course, reply: &Reply) -> Option<Error> {
        let protection = self.protection.as_ref()?;
        // What we sent may have gone nowhere; what the server sent shows that it agreed.
        let has_agreed = course.is_resumed || (!course.is_upload && course.moved_bytes > 0);
        if has_agreed || !NOT_RESUMED.contains(&reply.code) {
            return None;
        }
        let said = self.refusal(reply);
        let error = if protection.has_resumed || protection.client.is_proven() {
            // It worked before, so the session may have run out, and a new one helps.
            let lost = format!("the server no longer accepts data connections; {said}");
            ErrorKind::Network(io::Error::other(lost))
        } else {
            ErrorKind::Tls(format!(
                "the server refused a data connection that does not resume the TLS session of the control connection, \
                 as it seems to demand; {said}"
            ))
        };
        Some(self.fail(error.into()))
    }

    /// Ends the transfer: closes the data connection and awaits the final reply, whatever it says.
    pub fn end(&mut self, mut transfer: Transfer) -> Result<Reply> {
        if !transfer.course.is_broken && transfer.end.is_none() {
            // A failure shows in the reply.
            let _ = if transfer.course.is_upload {
                transfer.stream.finish_writing()
            } else {
                transfer.stream.finish_reading()
            };
        }
        let wait = self.end_wait();
        self.close(transfer, wait)
    }

    /// Ends a transfer whose bytes nobody wants any more. Where the server does not follow soon, the session fails.
    pub fn abandon(&mut self, transfer: Transfer) {
        // A failure is remembered by the session, and nobody is left to be told.
        let _ = self.close(transfer, ABANDON_WAIT);
    }

    fn close(&mut self, transfer: Transfer, wait: Duration) -> Result<Reply> {
        let Transfer {
            stream,
            started,
            end,
            course,
            ..
        } = transfer;
        let is_secured = stream.secured().is_some();
        drop(stream);
        let reply = match end {
            Some(reply) => reply,
            None if course.has_ended => self.last_reply_and_port(started, wait)?,
            None => {
                let reply = self.last_reply(started, wait).inspect_err(|error| {
                    if course.was_early {
                        self.settings.pace.early_connection_failed(error);
                    }
                });
                reply?
            }
        };
        self.judge_early(course, &reply);
        if reply.is_success() {
            if let Some(protection) = &self.protection
                && is_secured
            {
                protection.client.prove();
            }
            return Ok(reply);
        }
        match self.refusal_of_data(course, &reply) {
            Some(refusal) if is_secured => Err(refusal),
            Some(_) | None => Ok(reply),
        }
    }

    fn last_reply(&mut self, mut started: bool, wait: Duration) -> Result<Reply> {
        for _ in 0..MAX_PRELIMINARY {
            let reply = self.any_reply(Phase::TransferEnd, wait)?;
            if !reply.is_preliminary() {
                return Ok(reply);
            }
            // Pure-FTPd ends a broken transfer with a second 150 and says no more.
            if started && !self.has_input(AFTERTHOUGHT_WAIT) {
                self.settle_for_preliminary();
                return Ok(reply);
            }
            started = true;
        }
        Err(self.fail_chatting())
    }

    /// A server that finds no data connection may have overlooked the one that stood before its command.
    fn judge_early(&self, course: Course, reply: &Reply) {
        if course.was_early && matches!(reply.code, 425 | 426) {
            self.settings
                .pace
                .early_connection_failed(&self.refusal(reply));
        }
    }

    /// The reply that ends a download, with the next passive port, for which it is asked at the same time: everything has
    /// arrived, so the server is done but for saying so, and some say so only once they have seen us close.
    ///
    /// Behind the last byte of an upload it is a race, on two connections: of 200 tries over loopback ProFTPD refused 12 to
    /// 56 % (450, before the 226) and Pure-FTPd 1 to 33 % (500); only vsftpd reads commands after the transfer always.
    /// There it would save nothing: the port is asked for while the file is looked at.
    fn last_reply_and_port(&mut self, started: bool, wait: Duration) -> Result<Reply> {
        let pace = Arc::clone(&self.settings.pace);
        let command = match self.port_command() {
            Some(command) if pace.asks_port_at_end() => command,
            Some(_) | None => return self.last_reply(started, wait),
        };
        self.queue(&command)?;
        self.flush()?;
        let replies = self.last_reply(started, wait).map(|reply| {
            let port = self.final_reply(Phase::Reply, PORT_WAIT.min(wait));
            (reply, port)
        });
        let is_port = |reply: &Reply| matches!(reply.code, 227 | 229);
        match replies {
            Ok((reply, Ok(port))) if !is_port(&reply) && is_port(&port) => {
                self.take_port(&port);
                Ok(reply)
            }
            Ok((reply, Ok(port))) if !is_port(&reply) && !port.is_success() => {
                pace.port_at_end_failed(&self.refusal(&port));
                Ok(reply)
            }
            Ok((_, Ok(port))) => {
                let text = "its replies came in another order than the commands".to_owned();
                pace.port_at_end_failed(&self.refusal(&port));
                Err(self.fail(ErrorKind::Protocol(text).into()))
            }
            // The transfer was answered, so it counts; the session is lost for what follows.
            Ok((reply, Err(error))) if !is_port(&reply) => {
                pace.port_at_end_failed(&error);
                Ok(reply)
            }
            Ok((_, Err(error))) | Err(error) => {
                pace.port_at_end_failed(&error);
                Err(error)
            }
        }
    }

    /// Lists the login directory, unless a data connection was seen to work: a server that refuses data connections
    /// after it has taken `STOR` leaves an empty file.
    fn prove_data(&mut self) -> Result<()> {
        let is_proven = self
            .protection
            .as_ref()
            .is_none_or(|protection| protection.client.is_proven());
        if is_proven {
            return Ok(());
        }
        let mut listing = self.begin(&Command::List, 0)?;
        match self.await_start(&mut listing) {
            Ok(()) => {}
            // There is nothing to list; that says nothing of data connections.
            Err(error) if error.scope() == Scope::Entry => {
                return self.end(listing).map(drop);
            }
            Err(error) => return Err(error),
        }
        let mut buffer = [0; 4096];
        while listing.read(&mut buffer).is_ok_and(|count| count > 0) {}
        self.end(listing).map(drop)
    }

    fn begin_passive(&mut self, command: &Command<'_>, offset: u64) -> Result<Transfer> {
        if let Some(stream) = self.connection_in_hand() {
            self.restart_at(offset)?;
            self.queue(command)?;
            self.flush()?;
            let mut transfer = Transfer::new(stream, command);
            transfer.course.was_early = true;
            return Ok(transfer);
        }
        let mut in_hand = self.port_in_hand();
        loop {
            let is_spare = in_hand.is_some();
            self.is_on_spare_port = is_spare;
            let port = match in_hand.take() {
                Some(port) => port,
                None => self.ask_port()?,
            };
            self.restart_at(offset)?;
            self.queue(command)?;
            self.flush()?;
            let address = SocketAddr::new(self.peer.ip(), port);
            match connect(address, self.settings.timeout, Phase::DataConnect) {
                Ok(socket) => return Ok(self.transfer(socket, command)),
                Err(error) => {
                    let reply = self.excuse(error)?;
                    self.leave_spare_port();
                    // A port in hand may have been closed meanwhile: then a fresh one helps.
                    if !is_spare || reply.code != 425 {
                        return Err(self.refusal(&reply));
                    }
                }
            }
        }
    }

    /// A port that was in hand led nowhere: the server did not keep it.
    fn leave_spare_port(&mut self) {
        if std::mem::take(&mut self.is_on_spare_port) {
            self.settings.pace.port_failed();
        }
    }

    fn begin_active(&mut self, command: &Command<'_>, offset: u64) -> Result<Transfer> {
        let ours = self
            .stream
            .socket()
            .local_addr()
            .map_err(ErrorKind::Network)?;
        let listener = TcpListener::bind((ours.ip(), 0)).map_err(ErrorKind::Network)?;
        let address = listener.local_addr().map_err(ErrorKind::Network)?;
        let reply = self.ask(&Command::Port(address))?;
        if !reply.is_success() {
            return Err(self
                .refusal(&reply)
                .while_doing("opening a data connection"));
        }
        self.restart_at(offset)?;
        self.queue(command)?;
        self.flush()?;
        let mut started = false;
        let until = Instant::now() + self.settings.timeout;
        loop {
            // The server connects before or after it says so; when it refuses, it never does.
            if !started && self.has_input(Duration::ZERO) {
                let reply = self.any_reply(Phase::Reply, self.settings.timeout)?;
                if !reply.is_preliminary() {
                    return Err(self.refusal(&reply));
                }
                started = true;
            }
            if self.wait_for(&listener, !started, until)? {
                let (socket, from) = listener.accept().map_err(ErrorKind::Network)?;
                // Only the server may come: another one would read the file or write it.
                if from.ip() == self.peer.ip() {
                    let mut transfer = self.transfer(socket, command);
                    transfer.started = started;
                    return Ok(transfer);
                }
                log::warn!(
                    "refused a data connection from {}, which is not the server",
                    from.ip()
                );
            }
        }
    }

    /// Waits for the listener and, where wanted, the control connection; whether the listener is ready.
    fn wait_for(&mut self, listener: &TcpListener, control: bool, until: Instant) -> Result<bool> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.fail(ErrorKind::Timeout(Phase::DataConnect).into()));
        }
        let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if control {
            fds.push(PollFd::new(self.stream.as_fd(), PollFlags::POLLIN));
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(fds[0].any().unwrap_or(false)),
            Err(errno) => Err(ErrorKind::Network(errno.into()).into()),
        }
    }

    /// REST directly before the transfer (some servers forget it otherwise), and never without its 350: a transfer
    /// from the beginning would cut off what lies there.
    fn restart_at(&mut self, offset: u64) -> Result<()> {
        if offset == 0 {
            return Ok(());
        }
        let reply = self.ask(&Command::Rest(offset))?;
        if reply.is_intermediate() {
            return Ok(());
        }
        Err(self
            .refusal(&reply)
            .while_doing("going on with an interrupted transfer"))
    }

    /// The reply to a transfer whose data connection could not be opened; the error itself when none comes.
    fn excuse(&mut self, error: Error) -> Result<Reply> {
        match self.final_reply(Phase::DataConnect, EXCUSE_WAIT) {
            Ok(reply) if !reply.is_success() => Ok(reply),
            Ok(_) | Err(_) => Err(self.fail(error.while_doing("opening a data connection"))),
        }
    }

    fn transfer(&self, socket: TcpStream, command: &Command<'_>) -> Transfer {
        let stream = Stream::new(socket, self.settings.timeout, Phase::Data);
        Transfer::new(stream, command)
    }
}

impl Transfer {
    fn new(stream: Stream, command: &Command<'_>) -> Self {
        Self {
            stream,
            started: false,
            end: None,
            course: Course {
                is_upload: matches!(command, Command::Stor(_)),
                is_resumed: false,
                was_early: false,
                has_ended: false,
                is_broken: false,
                moved_bytes: 0,
            },
            since: Instant::now(),
        }
    }

    /// Reads the next bytes; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.stream.read(buffer);
        let count = self.note(read)?;
        self.course.has_ended |= count == 0 && !buffer.is_empty();
        self.count(count)?;
        Ok(count)
    }

    /// Moves up to `max` bytes into the pipe inside the kernel; see [`Stream::read_into`].
    pub fn read_into(&mut self, pipe: &Pipe, max: usize) -> Result<Option<usize>> {
        let moved = self.stream.read_into(pipe, max);
        let Some(count) = self.note(moved)? else {
            return Ok(None);
        };
        self.course.has_ended |= count == 0;
        self.count(count)?;
        Ok(Some(count))
    }

    /// Writes all of the bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.stream.write_all(bytes);
        self.note(written)?;
        self.course.moved_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Moves up to `max` bytes of a file inside the kernel; see [`Stream::write_from`].
    pub fn write_from(&mut self, file: BorrowedFd<'_>, max: usize) -> Result<Option<usize>> {
        let moved = self.stream.write_from(file, max);
        let count = self.note(moved)?;
        self.course.moved_bytes += count.unwrap_or(0) as u64;
        Ok(count)
    }

    /// The bytes that were moved so far.
    pub const fn moved_bytes(&self) -> u64 {
        self.course.moved_bytes
    }

    const fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        self.course.is_broken |= result.is_err();
        result
    }

    /// Counts bytes and refuses a drip.
    fn count(&mut self, bytes: usize) -> Result<()> {
        self.course.moved_bytes += bytes as u64;
        let elapsed = self.since.elapsed();
        let wanted = elapsed.as_secs() / 60 * MIN_BYTES_PER_MINUTE;
        if bytes > 0 && elapsed > DRIP_GRACE && self.course.moved_bytes < wanted {
            return Err(ErrorKind::Timeout(Phase::Data).into());
        }
        Ok(())
    }
}
