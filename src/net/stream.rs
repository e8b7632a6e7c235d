//! A connection with deadlines: every wait ends, and says what it was for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

use super::halt::{Halt, SLICE, Waiter, failure};
use super::pipe::Pipe;
use super::tls::{Secured, Tickets, TlsClient};
use crate::error::{Error, ErrorKind, Phase, Result};

/// A silent control connection is probed this often, so that NAT does not forget it during a long transfer.
const KEEP_ALIVE_SECS: u32 = 30;

/// The shortest time that is handed to the kernel: zero means for ever there.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// After an upload the server may be that slow to say that it has read everything. The reply that follows has a wait
/// of its own.
const GOODBYE_WAIT: Duration = Duration::from_secs(10);

/// One connection, in the clear or through TLS.
#[derive(Debug)]
pub struct Stream {
    layer: Layer,
    /// Read ahead to see whether there was anything.
    ahead: Option<u8>,
}

#[derive(Debug)]
enum Layer {
    Clear(Wire),
    Secured(Box<Secured>),
}

impl Stream {
    /// Takes over a connected socket, which may be silent for `idle` at a time. Every wait ends soon after `halt` says so.
    pub fn new(socket: TcpStream, idle: Duration, phase: Phase, halt: Halt) -> Self {
        // Commands are small and someone waits for each; a failure only costs time.
        let _ = socket.set_nodelay(true);
        let wire = Wire {
            socket,
            idle,
            phase,
            until: None,
            timeouts: (Duration::ZERO, Duration::ZERO),
            waits: true,
            waiter: Waiter::new(halt),
        };
        Self {
            layer: Layer::Clear(wire),
            ahead: None,
        }
    }

    /// Shakes hands by TLS over a connection that is in the clear so far. On an error the connection is of no use.
    pub fn secure(&mut self, client: &TlsClient, tickets: &mut Tickets) -> Result<()> {
        let Layer::Clear(wire) = &self.layer else {
            unreachable!("a connection is secured once");
        };
        let copy = wire.try_clone().map_err(ErrorKind::Network)?;
        self.layer = Layer::Secured(Box::new(client.connect(copy, tickets)?));
        Ok(())
    }

    /// The TLS of this connection, where it has one.
    pub fn secured(&self) -> Option<&Secured> {
        match &self.layer {
            Layer::Clear(_) => None,
            Layer::Secured(secured) => Some(secured),
        }
    }

    /// Has the kernel probe the peer while nothing is said.
    pub fn keep_alive(&self) {
        let socket = self.socket();
        // Best effort: without it a transfer of hours may lose its control connection, and is looked up then.
        let _ = setsockopt(socket, sockopt::KeepAlive, &true);
        let _ = setsockopt(socket, sockopt::TcpKeepIdle, &KEEP_ALIVE_SECS);
        let _ = setsockopt(socket, sockopt::TcpKeepInterval, &KEEP_ALIVE_SECS);
    }

    /// From now on waits are for `phase`: each silence at most `idle`, all of them together at most `total`.
    pub fn enter(&mut self, phase: Phase, idle: Duration, total: Option<Duration>) {
        let wire = self.wire_mut();
        wire.phase = phase;
        wire.idle = idle;
        wire.until = total.map(|total| Instant::now() + total);
    }

    /// Fails some time after the run was to end, as every wait does.
    pub fn check_halt(&mut self) -> Result<()> {
        let wire = self.wire_mut();
        let phase = wire.phase;
        wire.waiter.check().map_err(|error| failure(error, phase))
    }

    /// The socket, for its addresses.
    pub fn socket(&self) -> &TcpStream {
        &self.wire().socket
    }

    /// Reads some bytes; 0 at the end.
    ///
    /// Through TLS only the peer's own word is the end: a connection that is cut off before it is an error.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let (Some(byte), Some(first)) = (self.ahead, buffer.first_mut()) {
            *first = byte;
            self.ahead = None;
            return Ok(1);
        }
        self.read_layer(buffer).map_err(|error| self.failure(error))
    }

    /// Writes some of the bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = match &mut self.layer {
            Layer::Clear(wire) => wire.write(bytes),
            Layer::Secured(secured) => secured.write(bytes),
        };
        written.map_err(|error| self.failure(error))
    }

    /// Writes all of the bytes.
    pub fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes)? {
                0 => return Err(ErrorKind::Network(io::ErrorKind::WriteZero.into()).into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    /// Moves up to `max` bytes from the file's present place inside the kernel; 0 at its end, none where this kind of
    /// file, or this connection, cannot be moved so.
    pub fn write_from(&mut self, file: BorrowedFd<'_>, max: usize) -> Result<Option<usize>> {
        use nix::errno::Errno;
        let Layer::Clear(wire) = &mut self.layer else {
            return Ok(None);
        };
        let since = Instant::now();
        let moved = loop {
            if let Err(error) = wire.prepare_write(since) {
                break Err(error);
            }
            match sendfile(&wire.socket, file, None, max) {
                Ok(count) => return Ok(Some(count)),
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => return Ok(None),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => break Err(errno.into()),
            }
        };
        moved.map_err(|error| self.failure(error))
    }

    /// Moves up to `max` bytes into the pipe inside the kernel; 0 at the end, none where this connection cannot.
    pub fn read_into(&mut self, pipe: &Pipe, max: usize) -> Result<Option<usize>> {
        use nix::errno::Errno;
        let (Layer::Clear(wire), None) = (&mut self.layer, self.ahead) else {
            return Ok(None);
        };
        let since = Instant::now();
        let moved = loop {
            if let Err(error) = wire.prepare_read(since) {
                break Err(error);
            }
            match pipe.fill(wire.socket.as_fd(), max) {
                Ok(count) => return Ok(Some(count)),
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM) => return Ok(None),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => break Err(errno.into()),
            }
        };
        moved.map_err(|error| self.failure(error))
    }

    /// Whether something (bytes or the end) can be read within that time.
    pub fn is_readable(&mut self, within: Duration) -> bool {
        if self.ahead.is_some() {
            return true;
        }
        let until = Instant::now() + within;
        loop {
            if matches!(self.layer, Layer::Secured(_)) && self.look_ahead() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let ready = poll(&mut fds, timeout).is_ok_and(|count| count > 0);
            if !ready || matches!(self.layer, Layer::Clear(_)) {
                return ready;
            }
        }
    }

    /// Ends what we write so that the peer knows that it has all of it, and waits until it has read it.
    ///
    /// In the clear closing says it. With TLS closing at once loses data: tickets that nobody has read make the kernel
    /// reset the connection, and servers drop what they had not read by then (vsftpd, pyftpdlib with TLS 1.3).
    pub fn finish_writing(&mut self) -> Result<()> {
        let Layer::Secured(secured) = &mut self.layer else {
            return Ok(());
        };
        let said = secured.close_notify();
        said.map_err(|error| self.failure(error))?;
        let _ = self.socket().shutdown(Shutdown::Write);
        let (phase, idle) = (self.wire().phase, self.wire().idle.min(GOODBYE_WAIT));
        self.enter(phase, idle, Some(GOODBYE_WAIT));
        let mut rest = [0; 256];
        // Whatever ends it is good: the final reply and the file's size tell what arrived.
        while self.read(&mut rest).is_ok_and(|count| count > 0) {}
        Ok(())
    }

    /// Answers the peer's word that nothing follows: some servers take a silent close for a broken transfer (vsftpd
    /// with `strict_ssl_write_shutdown`).
    pub fn finish_reading(&mut self) -> Result<()> {
        let Layer::Secured(secured) = &mut self.layer else {
            return Ok(());
        };
        let said = secured.close_notify();
        said.map_err(|error| self.failure(error))
    }

    fn wire(&self) -> &Wire {
        match &self.layer {
            Layer::Clear(wire) => wire,
            Layer::Secured(secured) => secured.wire(),
        }
    }

    fn wire_mut(&mut self) -> &mut Wire {
        match &mut self.layer {
            Layer::Clear(wire) => wire,
            Layer::Secured(secured) => secured.wire_mut(),
        }
    }

    fn read_layer(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Clear(wire) => wire.read(buffer),
            Layer::Secured(secured) => secured.read(buffer),
        }
    }

    /// Takes in what has arrived by now; whether there were bytes or the end among it. A TLS connection may have
    /// nothing to say although its socket is readable: tickets.
    fn look_ahead(&mut self) -> bool {
        let mut byte = [0];
        self.wire_mut().waits = false;
        let looked = self.read_layer(&mut byte);
        self.wire_mut().waits = true;
        match looked {
            Ok(0) => true,
            Ok(_) => {
                self.ahead = Some(byte[0]);
                true
            }
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn failure(&self, error: io::Error) -> Error {
        failure(error, self.wire().phase)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire().socket.as_fd()
    }
}

/// A socket on which every wait ends. A wait that ran out is [`io::ErrorKind::TimedOut`].
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    /// How long it may be silent.
    idle: Duration,
    phase: Phase,
    /// When the present phase ends in any case, however lively the peer is.
    until: Option<Instant>,
    /// What the kernel was told last, so that it is not told twice.
    timeouts: (Duration, Duration),
    /// Whether reading waits for bytes.
    waits: bool,
    waiter: Waiter,
}

impl Wire {
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            waiter: self.waiter.clone(),
            ..*self
        })
    }

    fn prepare_read(&mut self, since: Instant) -> io::Result<()> {
        let wait = self.wait(since)?;
        if self.timeouts.0 != wait {
            self.socket.set_read_timeout(Some(wait))?;
            self.timeouts.0 = wait;
        }
        Ok(())
    }

    fn prepare_write(&mut self, since: Instant) -> io::Result<()> {
        let wait = self.wait(since)?;
        if self.timeouts.1 != wait {
            self.socket.set_write_timeout(Some(wait))?;
            self.timeouts.1 = wait;
        }
        Ok(())
    }

    /// How long the kernel may wait before we look up again, in a silence that has lasted `since` then.
    fn wait(&mut self, since: Instant) -> io::Result<Duration> {
        let silence = self.idle.saturating_sub(since.elapsed());
        let left = self.until.map_or(silence, |until| {
            silence.min(until.saturating_duration_since(Instant::now()))
        });
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.waiter.check()?;
        Ok(left.min(SLICE).max(MIN_WAIT))
    }

    fn write_by(
        &mut self,
        mut write: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let since = Instant::now();
        loop {
            self.prepare_write(since)?;
            match write(&mut self.socket) {
                Err(error) if is_over(&error) => {}
                other => return other,
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let since = Instant::now();
        loop {
            let read = if self.waits {
                self.prepare_read(since)?;
                self.socket.read(buffer)
            } else {
                recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT).map_err(Into::into)
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.waits && is_over(&error) => {}
                other => return other,
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_by(|socket| socket.write(bytes))
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.write_by(|socket| socket.write_vectored(pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the kernel only gave up waiting, for the time or for a signal that somebody else looks after.
fn is_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        (
            Stream::new(
                socket,
                Duration::from_secs(5),
                Phase::Reply,
                Halt::default(),
            ),
            peer,
        )
    }

    #[test]
    fn silence_ends_the_phase_by_its_name() {
        let (mut stream, _peer) = pair();
        stream.enter(Phase::Greeting, Duration::from_millis(20), None);
        let error = stream.read(&mut [0; 8]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "timed out waiting for the server's greeting"
        );
    }

    #[test]
    fn a_dripping_peer_ends_with_the_total() {
        let (mut stream, mut peer) = pair();
        peer.write_all(&[1; 64]).unwrap();
        stream.enter(
            Phase::Login,
            Duration::from_secs(5),
            Some(Duration::from_millis(30)),
        );
        let mut result = Ok(1);
        // The peer never is silent for long, and yet it must end.
        while result.is_ok() {
            result = stream.read(&mut [0; 1]);
            let _ = peer.write_all(&[1]);
        }
        assert_eq!(
            result.unwrap_err().to_string(),
            "timed out waiting for the login"
        );
    }

    #[test]
    fn the_end_is_readable() {
        let (mut stream, peer) = pair();
        assert!(!stream.is_readable(Duration::ZERO));
        drop(peer);
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        assert!(stream.is_readable(Duration::from_secs(5)));
    }
}
