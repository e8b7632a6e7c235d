//! Finds a host and connects to it, with the time split over its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect as begin, getsockopt, socket,
    sockopt,
};

use super::halt::{Halt, SLICE, Waiter, failure};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::system::Bell;

/// No attempt gets less than this, however many addresses there are: a satellite line needs as much.
const MIN_ATTEMPT: Duration = Duration::from_secs(2);

/// Who looks a name up needs little; the system's resolver has buffers of 64 KiB.
const RESOLVER_STACK_BYTES: usize = 256 * 1024;

/// Connects to the first of the host's addresses that answers, within about `timeout` in all.
///
/// Resolving is the system's business and has the system's own time limit.
pub fn dial(host: &str, port: u16, timeout: Duration, halt: &Halt) -> Result<TcpStream> {
    let looking_up = || looking_up(host);
    let addresses = resolve(host, port, halt).map_err(|error| error.while_doing(looking_up()))?;
    let until = Instant::now() + timeout;
    let mut last = None;
    for (index, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        // Half of what is left, all of it for the last: a dead first address must not eat the time of a live one.
        let share = if index + 1 == addresses.len() {
            left
        } else {
            left / 2
        };
        let share = share.max(MIN_ATTEMPT).min(timeout);
        match connect(*address, share, Phase::Connect, halt) {
            Ok(socket) => return Ok(socket),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted(_)) => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => error.while_doing(format!("connecting to {host}:{port}")),
        None => {
            let nothing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            Error::new(ErrorKind::Network(nothing)).while_doing(looking_up())
        }
    })
}

fn looking_up(host: &str) -> String {
    // Not every resolver puts such a name into the form that is asked for, and a small one never does.
    let hint = match host.is_ascii() {
        true => "",
        false => {
            " (a name with other letters than a to z is found by its form that begins with xn--)"
        }
    };
    format!("looking up {host}{hint}")
}

/// The host's addresses. A thread asks for them, because nothing interrupts the system's resolver; where the run is to end,
/// it is left behind.
fn resolve(host: &str, port: u16, halt: &Halt) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (teller, told) = channel();
    let bell = Arc::new(Bell::new().map_err(ErrorKind::Network)?);
    let (name, rope) = (host.to_owned(), Arc::clone(&bell));
    std::thread::Builder::new()
        .stack_size(RESOLVER_STACK_BYTES)
        .spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs();
            // Nobody may be listening any more.
            let _ = teller.send(found.map(Iterator::collect));
            rope.ring();
        })
        .map_err(ErrorKind::Network)?;
    let mut waiter = Waiter::new(halt.clone());
    let found = loop {
        match told.try_recv() {
            Ok(found) => break found,
            Err(TryRecvError::Disconnected) => break Err(io::ErrorKind::NotFound.into()),
            Err(TryRecvError::Empty) => {}
        }
        bell.wait(Some(SLICE));
        if let Err(error) = waiter.check() {
            break Err(error);
        }
    };
    found.map_err(|error| failure(in_our_words(error), Phase::Resolve))
}

/// What the resolver says, without its name for itself: `no such host`. The C libraries differ in their words.
fn in_our_words(error: io::Error) -> io::Error {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let ours = if says(&[
        "not known",
        "does not resolve",
        "No address associated",
        "has no usable",
    ]) {
        "no such host"
    } else if says(&["emporary failure", "ry again"]) {
        "the name server does not answer"
    } else {
        return error;
    };
    io::Error::new(error.kind(), ours)
}

/// Connects to that address within `timeout`; `phase` names the wait.
pub fn connect(
    address: SocketAddr,
    timeout: Duration,
    phase: Phase,
    halt: &Halt,
) -> Result<TcpStream> {
    connect_in(address, timeout, &mut Waiter::new(halt.clone()))
        .map_err(|error| failure(error, phase))
}

fn connect_in(
    address: SocketAddr,
    timeout: Duration,
    waiter: &mut Waiter,
) -> io::Result<TcpStream> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Stream, flags, None)?;
    match begin(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS | Errno::EINTR) => {
            let until = Instant::now() + timeout;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                let slice = PollTimeout::try_from(left.min(SLICE)).unwrap_or(PollTimeout::ZERO);
                let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
                match poll(&mut fds, slice) {
                    Ok(0) | Err(Errno::EINTR) => {}
                    Ok(_) => break,
                    Err(errno) => return Err(errno.into()),
                }
                if left.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                waiter.check()?;
            }
            match getsockopt(&socket, sockopt::SocketError)? {
                0 => {}
                code => return Err(io::Error::from_raw_os_error(code)),
            }
        }
        Err(errno) => return Err(errno.into()),
    }
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(false)?;
    Ok(socket)
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
        assert!(dial("127.0.0.1", port, Duration::from_secs(5), &Halt::default()).is_ok());
    }

    #[test]
    fn a_name_with_other_letters_gets_the_form_that_is_asked_for() {
        let failed = |host: &str| {
            let dialled = dial(host, 21, Duration::from_secs(5), &Halt::default());
            dialled.unwrap_err().to_string()
        };
        assert!(failed("b\u{fc}cher.invalid").contains("xn--"));
        assert!(!failed("books.invalid").contains("xn--"));
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
    fn a_run_that_ends_waits_for_nobody() {
        // Full to the brim: nobody takes connections there, and the kernel answers no more of them.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let halt = Halt::new(|| Some("the user"));
        let begun = Instant::now();
        let mut waiting = Vec::new();
        let error = loop {
            match connect(address, Duration::from_secs(30), Phase::Connect, &halt) {
                Ok(socket) => waiting.push(socket),
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind(), ErrorKind::Interrupted(_)), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn says_that_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = dial("127.0.0.1", port, Duration::from_secs(5), &Halt::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("connecting to 127.0.0.1:{port}: connection refused")
        );
    }
}
