//! Data connections: open, transfer, close, await the final reply; always all of it.
//!
//! By the book the connection stands before the command is sent; where the server bears it, the command goes out first and
//! the connection is opened while it travels. Passive connections go to the address of the control connection, whatever the
//! server says.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::command::Command;
use super::control::{MAX_PRELIMINARY, REPLY_TOTAL};
use super::ports::Way;
use super::reply::{Reply, Whole};
use super::session::Session;
use super::transfer::{Course, Transfer, is_listing};
use super::tricks::Trick;
use crate::error::{Error, ErrorKind, Phase, Result, Scope};
use crate::net::{Secured, Stream};

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

/// How often a wait for a connection of the server looks whether the run is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

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
        if let Some(stream) = self.connection_in_hand() {
            self.restart_at(offset)?;
            self.send(command)?;
            let mut transfer = Transfer::new(stream, command);
            transfer.course.was_early = true;
            return Ok(transfer);
        }
        loop {
            if self.way() == Way::Active {
                return self.begin_active(command, offset);
            }
            let spare = self.port_in_hand();
            let is_spare = spare.is_some();
            let Some((way, port)) = (match spare {
                Some(port) => Some((self.way(), port)),
                None => self.ask_port(command)?,
            }) else {
                continue;
            };
            self.is_on_spare_port = is_spare;
            if let Some(transfer) = self.begin_passive(command, offset, port)? {
                return Ok(transfer);
            }
            // A port in hand may have been closed meanwhile: then a fresh one helps.
            self.leave_spare_port();
            if !is_spare && !self.leave_way(way, false) {
                let text = format!("nobody answers at the port that the server offers by {way}");
                let dead = io::Error::new(io::ErrorKind::ConnectionRefused, text);
                return Err(self.fail(ErrorKind::Network(dead).into()));
            }
        }
    }

    /// Waits until the server says that the transfer goes on, and secures the data connection of a protected session.
    /// A refusal ends it.
    pub fn await_start(&mut self, transfer: &mut Transfer) -> Result<()> {
        if !transfer.started {
            let reply = self.any_reply(Phase::Reply, self.settings.timeout)?;
            transfer.started = true;
            if reply.lacks_connection() && self.is_on_spare_port {
                self.leave_spare_port();
                let said = self.refusal(&reply);
                let lost = format!("the server did not keep a passive port; {said}");
                return Err(self.fail(ErrorKind::Network(io::Error::other(lost)).into()));
            }
            self.is_on_spare_port = false;
            if !reply.is_preliminary() {
                self.judge(transfer.course, &reply);
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
        if transfer.stream.secured().is_some() || transfer.course.is_unproven {
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
            Err(error) => self.explain_handshake(transfer, error),
        }
    }

    /// A server may end a handshake that it does not like, and say why on the control connection; or one for which there
    /// is nothing to say, since it has nothing to send.
    fn explain_handshake(&mut self, transfer: &mut Transfer, error: Error) -> Result<()> {
        transfer.course.is_broken = true;
        let error = error.while_doing("securing a data connection");
        if matches!(error.kind(), ErrorKind::Network(_)) && transfer.end.is_none() {
            let _ = transfer.stream.socket().shutdown(Shutdown::Both);
            if let Ok(reply) = self.final_reply(Phase::TransferEnd, EXCUSE_WAIT) {
                let refusal = self.refusal_of_data(transfer.course, &reply);
                let is_empty = reply.is_success() && !transfer.course.is_upload;
                transfer.end = Some(reply);
                if let Some(refusal) = refusal {
                    return Err(refusal);
                }
                if is_empty {
                    transfer.course.is_unproven = true;
                    return Ok(());
                }
            }
        }
        let refusal = self.protection.as_ref().and_then(|it| it.refusal.clone());
        Err(self.fail(match refusal {
            Some(said) => ErrorKind::Tls(format!("{said}; and {error}")).into(),
            None => error,
        }))
    }

    /// The error that this final reply means where it refuses a data connection for not resuming the TLS session.
    fn refusal_of_data(&mut self, course: Course, reply: &Reply) -> Option<Error> {
        let protection = self.protection.as_ref()?;
        // What we sent may have gone nowhere; what the server sent shows that it agreed.
        let has_agreed = course.is_resumed || (!course.is_upload && course.moved_bytes > 0);
        if has_agreed || !reply.wants_resumption() {
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
        let wait = self.end_wait(transfer.course.is_upload);
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
            None if course.has_ended => self.last_reply_and_port(course, started, wait)?,
            None => {
                let tricks = Arc::clone(&self.settings.tricks);
                self.last_reply(started, wait).inspect_err(|error| {
                    if course.was_early {
                        tricks.give_up(Trick::EarlyConnection, error);
                    }
                })?
            }
        };
        self.judge(course, &reply);
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
        let until = Instant::now() + REPLY_TOTAL.max(wait);
        for _ in 0..MAX_PRELIMINARY {
            let left = until.saturating_duration_since(Instant::now());
            let reply = self.any_reply_in(Phase::TransferEnd, wait, left, &mut Whole)?;
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

    /// Whether the server bore what was beyond the book: one that finds no data connection may have overlooked the one that
    /// stood before its command, or not have waited for the one that was to come.
    fn judge(&self, course: Course, reply: &Reply) {
        let tricks = &self.settings.tricks;
        if course.was_early && reply.lost_connection() {
            tricks.give_up(Trick::EarlyConnection, &self.refusal(reply));
        }
        if course.was_command_first {
            if reply.lacks_connection() {
                tricks.give_up(Trick::CommandFirst, &self.refusal(reply));
            } else if reply.is_success() {
                tricks.hold(Trick::CommandFirst);
            }
        }
    }

    /// The reply that ends a download, with the next passive port, for which it is asked at the same time: everything has
    /// arrived, so the server is done but for saying so, and some say so only once they have seen us close.
    ///
    /// Behind the last byte of an upload it is a race, on two connections: of 200 tries over loopback ProFTPD refused 12 to
    /// 56 % (450, before the 226) and Pure-FTPd 1 to 33 % (500); only vsftpd reads commands after the transfer always.
    /// There it would save nothing: the port is asked for while the file is looked at.
    fn last_reply_and_port(
        &mut self,
        course: Course,
        started: bool,
        wait: Duration,
    ) -> Result<Reply> {
        let tricks = Arc::clone(&self.settings.tricks);
        let may_ask = tricks.holds(Trick::PortAtEnd)
            || course.is_listing && tricks.is_untried(Trick::PortAtEnd);
        let command = match self.port_command() {
            Some(command) if may_ask => command,
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
                if self.take_port(&port) {
                    tricks.hold(Trick::PortAtEnd);
                }
                Ok(reply)
            }
            Ok((reply, Ok(port))) if !is_port(&reply) && !port.is_success() => {
                tricks.give_up(Trick::PortAtEnd, &self.refusal(&port));
                Ok(reply)
            }
            Ok((_, Ok(port))) => {
                let text = "its replies came in another order than the commands".to_owned();
                tricks.give_up(Trick::PortAtEnd, &self.refusal(&port));
                Err(self.fail(ErrorKind::Protocol(text).into()))
            }
            // The transfer was answered, so it counts; the session is lost for what follows.
            Ok((reply, Err(error))) if !is_port(&reply) => {
                tricks.give_up(Trick::PortAtEnd, &error);
                Ok(reply)
            }
            Ok((_, Err(error))) | Err(error) => {
                tricks.give_up(Trick::PortAtEnd, &error);
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

    /// Begins a transfer on that port; none where nobody answers there.
    fn begin_passive(
        &mut self,
        command: &Command<'_>,
        offset: u64,
        port: u16,
    ) -> Result<Option<Transfer>> {
        let tricks = Arc::clone(&self.settings.tricks);
        let is_trial = tricks.is_untried(Trick::CommandFirst) && is_listing(command);
        if !is_trial && !tricks.holds(Trick::CommandFirst) {
            let stream = match self.connect_to(port) {
                Ok(stream) => stream,
                Err(error) if error.scope() == Scope::Session => return Ok(None),
                Err(error) => return Err(error),
            };
            self.restart_at(offset)?;
            self.send(command)?;
            return Ok(Some(Transfer::new(stream, command)));
        }
        self.restart_at(offset)?;
        self.send(command)?;
        match self.connect_to(port) {
            Ok(stream) => {
                let mut transfer = Transfer::new(stream, command);
                transfer.course.was_command_first = true;
                Ok(Some(transfer))
            }
            Err(error) => {
                let way = self.way();
                let reply = self.excuse(error).inspect_err(|_| {
                    self.leave_way(way, false);
                })?;
                if reply.lost_connection() {
                    return Ok(None);
                }
                Err(self.refusal(&reply))
            }
        }
    }

    fn send(&mut self, command: &Command<'_>) -> Result<()> {
        self.queue(command)?;
        self.flush()
    }

    /// A port that was in hand led nowhere: the server did not keep it.
    fn leave_spare_port(&mut self) {
        if std::mem::take(&mut self.is_on_spare_port) {
            let why = "the server did not keep a passive port";
            self.settings.tricks.give_up(Trick::PortInHand, &why);
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
            self.leave_way(Way::Active, true);
            return Err(self
                .refusal(&reply)
                .while_doing("opening a data connection"));
        }
        self.restart_at(offset)?;
        self.send(command)?;
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
                    let (wait, halt) = (self.settings.timeout, self.settings.halt.clone());
                    let stream = Stream::new(socket, wait, Phase::Data, halt);
                    let mut transfer = Transfer::new(stream, command);
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
        self.stream.check_halt().map_err(|error| self.fail(error))?;
        let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if control {
            fds.push(PollFd::new(self.stream.as_fd(), PollFlags::POLLIN));
        }
        let look = left.min(LOOK_INTERVAL);
        let timeout = PollTimeout::try_from(look).unwrap_or(PollTimeout::ZERO);
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
}
