//! Data connections: open, transfer, close, await the final reply; always all of it.
//!
//! The command goes out first and the connection is opened while it travels: no server needs one to wait for the
//! other. Passive connections go to the address of the control connection, whatever the server says.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::command::Command;
use super::reply::Reply;
use super::session::{MAX_PRELIMINARY, Session};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::job::DataMode;
use crate::net::{Stream, connect};

/// How long a server that let the data connection fail may take to say why.
const EXCUSE_WAIT: Duration = Duration::from_secs(5);

/// How long the reply to a transfer that we gave up may take.
const ABANDON_WAIT: Duration = Duration::from_secs(5);

/// How long after a second preliminary reply the final one may come.
const AFTERTHOUGHT_WAIT: Duration = Duration::from_secs(1);

/// A transfer may not be slower than this many bytes a minute, once it has run for [`DRIP_GRACE`]: a peer that sends
/// a byte before each silence gets too long is no peer.
const MIN_BYTES_PER_MINUTE: u64 = 1024;
/// See [`MIN_BYTES_PER_MINUTE`]: a slow disk may need to wake up first.
const DRIP_GRACE: Duration = Duration::from_secs(120);

/// A transfer that runs.
pub struct Transfer {
    stream: Stream,
    /// Whether the server said that it goes on.
    started: bool,
    /// The final reply, where it came early.
    end: Option<Reply>,
    moved_bytes: u64,
    since: Instant,
}

impl Session {
    /// Opens a data connection for the command (`RETR`, `STOR`, `MLSD`, `LIST`), from `offset`.
    ///
    /// The server may still refuse: see [`Session::await_start`]. After an error of [`Scope::Entry`] the session can
    /// be used.
    ///
    /// [`Scope::Entry`]: crate::error::Scope::Entry
    pub fn begin(&mut self, command: &Command<'_>, offset: u64) -> Result<Transfer> {
        match self.settings.data {
            DataMode::Passive => self.begin_passive(command, offset),
            DataMode::Active => self.begin_active(command, offset),
        }
    }

    /// Waits until the server says that the transfer goes on. A refusal ends it.
    pub fn await_start(&mut self, transfer: &mut Transfer) -> Result<()> {
        if transfer.started {
            return Ok(());
        }
        let reply = self.any_reply(Phase::Reply, self.settings.timeout)?;
        transfer.started = true;
        if reply.is_preliminary() {
            return Ok(());
        }
        let verdict = if reply.is_success() {
            Ok(())
        } else {
            Err(self.refusal(&reply))
        };
        transfer.end = Some(reply);
        verdict
    }

    /// Ends the transfer: closes the data connection and awaits the final reply, whatever it says.
    pub fn end(&mut self, transfer: Transfer) -> Result<Reply> {
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
            mut started,
            end,
            ..
        } = transfer;
        drop(stream);
        if let Some(reply) = end {
            return Ok(reply);
        }
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

    fn begin_passive(&mut self, command: &Command<'_>, offset: u64) -> Result<Transfer> {
        let mut in_hand = self.port_in_hand();
        loop {
            let is_spare = in_hand.is_some();
            let port = match in_hand.take() {
                Some(port) => port,
                None => self.ask_port()?,
            };
            self.restart_at(offset)?;
            self.queue(command)?;
            self.flush()?;
            let address = SocketAddr::new(self.peer.ip(), port);
            match connect(address, self.settings.timeout, Phase::DataConnect) {
                Ok(socket) => return Ok(self.transfer(socket)),
                Err(error) => {
                    let reply = self.excuse(error)?;
                    // A port in hand may have been closed meanwhile: then a fresh one helps.
                    if !is_spare || reply.code != 425 {
                        return Err(self.refusal(&reply));
                    }
                }
            }
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
                    let mut transfer = self.transfer(socket);
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

    fn transfer(&self, socket: TcpStream) -> Transfer {
        Transfer {
            stream: Stream::new(socket, self.settings.timeout, Phase::Data),
            started: false,
            end: None,
            moved_bytes: 0,
            since: Instant::now(),
        }
    }
}

impl Transfer {
    /// Reads the next bytes; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.stream.read(buffer)?;
        self.count(count)?;
        Ok(count)
    }

    /// Writes all of the bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        self.moved_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Moves up to `max` bytes of a file inside the kernel; see [`Stream::write_from`].
    pub fn write_from(&mut self, file: BorrowedFd<'_>, max: usize) -> Result<Option<usize>> {
        let count = self.stream.write_from(file, max)?;
        self.moved_bytes += count.unwrap_or(0) as u64;
        Ok(count)
    }

    /// Counts bytes and refuses a drip.
    pub fn count(&mut self, bytes: usize) -> Result<()> {
        self.moved_bytes += bytes as u64;
        let elapsed = self.since.elapsed();
        let wanted = elapsed.as_secs() / 60 * MIN_BYTES_PER_MINUTE;
        if bytes > 0 && elapsed > DRIP_GRACE && self.moved_bytes < wanted {
            return Err(ErrorKind::Timeout(Phase::Data).into());
        }
        Ok(())
    }
}

impl AsFd for Transfer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
