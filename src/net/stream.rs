//! A connection with deadlines: every wait ends, and says what it was for.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::{setsockopt, sockopt};

use crate::error::{ErrorKind, Phase, Result};

/// A silent control connection is probed this often, so that NAT does not forget it during a long transfer.
const KEEP_ALIVE_SECS: u32 = 30;

/// The shortest time that is handed to the kernel: zero means for ever there.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// One connection.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// How long it may be silent.
    idle: Duration,
    phase: Phase,
    /// When the present phase ends in any case, however lively the peer is.
    until: Option<Instant>,
    /// What the kernel was told last, so that it is not told twice.
    timeouts: (Duration, Duration),
}

impl Stream {
    /// Takes over a connected socket, which may be silent for `idle` at a time.
    pub fn new(socket: TcpStream, idle: Duration, phase: Phase) -> Self {
        // Commands are small and someone waits for each; a failure only costs time.
        let _ = socket.set_nodelay(true);
        Self {
            socket,
            idle,
            phase,
            until: None,
            timeouts: (Duration::ZERO, Duration::ZERO),
        }
    }

    /// Has the kernel probe the peer while nothing is said.
    pub fn keep_alive(&self) {
        // Best effort: without it a transfer of hours may lose its control connection, and is looked up then.
        let _ = setsockopt(&self.socket, sockopt::KeepAlive, &true);
        let _ = setsockopt(&self.socket, sockopt::TcpKeepIdle, &KEEP_ALIVE_SECS);
        let _ = setsockopt(&self.socket, sockopt::TcpKeepInterval, &KEEP_ALIVE_SECS);
    }

    /// From now on waits are for `phase`: each silence at most `idle`, all of them together at most `total`.
    pub fn enter(&mut self, phase: Phase, idle: Duration, total: Option<Duration>) {
        self.phase = phase;
        self.idle = idle;
        self.until = total.map(|total| Instant::now() + total);
    }

    /// The socket, for its addresses.
    pub const fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Reads some bytes; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let wait = self.wait()?;
            if self.timeouts.0 != wait {
                self.socket
                    .set_read_timeout(Some(wait))
                    .map_err(ErrorKind::Network)?;
                self.timeouts.0 = wait;
            }
            match self.socket.read(buffer) {
                Err(error) => self.check(error)?,
                Ok(count) => return Ok(count),
            }
        }
    }

    /// Writes some of the bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        loop {
            self.prepare_write()?;
            match self.socket.write(bytes) {
                Err(error) => self.check(error)?,
                Ok(count) => return Ok(count),
            }
        }
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
    /// file cannot be moved so.
    pub fn write_from(&mut self, file: BorrowedFd<'_>, max: usize) -> Result<Option<usize>> {
        use nix::errno::Errno;
        loop {
            self.prepare_write()?;
            match sendfile(&self.socket, file, None, max) {
                Ok(count) => return Ok(Some(count)),
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => return Ok(None),
                Err(errno) => self.check(errno.into())?,
            }
        }
    }

    /// Whether something (bytes or the end) can be read within that time.
    pub fn is_readable(&self, within: Duration) -> bool {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
        poll(&mut fds, timeout).is_ok_and(|count| count > 0)
    }

    fn prepare_write(&mut self) -> Result<()> {
        let wait = self.wait()?;
        if self.timeouts.1 != wait {
            self.socket
                .set_write_timeout(Some(wait))
                .map_err(ErrorKind::Network)?;
            self.timeouts.1 = wait;
        }
        Ok(())
    }

    /// How long the next wait may be.
    fn wait(&self) -> Result<Duration> {
        let left = self.until.map_or(self.idle, |until| {
            until.saturating_duration_since(Instant::now())
        });
        if left.is_zero() {
            return Err(ErrorKind::Timeout(self.phase).into());
        }
        Ok(left.min(self.idle).max(MIN_WAIT))
    }

    /// Passes over an interruption by a signal, which somebody else looks after.
    fn check(&self, error: io::Error) -> Result<()> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Err(ErrorKind::Timeout(self.phase).into())
            }
            _ => Err(ErrorKind::Network(error).into()),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
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
            Stream::new(socket, Duration::from_secs(5), Phase::Reply),
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
