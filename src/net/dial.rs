//! Finds a host and connects to it, with the time split over its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
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

/// Whether an address is one of this machine or of a network of one's own, where nobody else listens: loopback,
/// RFC 1918, link-local, ULA (RFC 4193).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_loopback() || four.is_private() || four.is_link_local(),
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => is_private(IpAddr::V4(four)),
            None => six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local(),
        },
    }
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
    fn tells_networks_of_ones_own_from_the_others() {
        let is_private = |text: &str| is_private(text.parse().unwrap());
        for own in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.0.9",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(own), "{own}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "100.64.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_private(public), "{public}");
        }
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
