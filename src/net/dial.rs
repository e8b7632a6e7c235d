//! Finds a host and connects to it, with the time split over its addresses.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Phase, Result};

/// No attempt gets less than this, however many addresses there are: a satellite line needs as much.
const MIN_ATTEMPT: Duration = Duration::from_secs(2);

/// Connects to the first of the host's addresses that answers, within about `timeout` in all.
///
/// Resolving is the system's business and has the system's own time limit.
pub fn dial(host: &str, port: u16, timeout: Duration) -> Result<TcpStream> {
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| {
            Error::new(ErrorKind::Network(error)).while_doing(format!("looking up {host}"))
        })?
        .collect();
    let until = Instant::now() + timeout;
    let mut failure = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        // Half of what is left, all of it for the last: a dead first address must not eat the time of a live one.
        let share = if index + 1 == addresses.len() {
            left
        } else {
            left / 2
        };
        match connect(
            *address,
            share.max(MIN_ATTEMPT).min(timeout),
            Phase::Connect,
        ) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| {
        let nothing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        Error::new(ErrorKind::Network(nothing)).while_doing(format!("looking up {host}"))
    }))
}

/// Connects to that address within `timeout`; `phase` names the wait.
pub fn connect(address: SocketAddr, timeout: Duration, phase: Phase) -> Result<TcpStream> {
    TcpStream::connect_timeout(&address, timeout).map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::Timeout(phase).into(),
        _ => ErrorKind::Network(error).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn reaches_a_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(dial("127.0.0.1", port, Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn says_that_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = dial("127.0.0.1", port, Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.to_string(), "connection refused");
    }
}
