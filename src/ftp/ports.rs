//! The ways to open a data connection: which is next, and the passive port that is asked for before it is needed.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::command::Command;
use super::passive::{parse_epsv, parse_pasv};
use super::reply::Reply;
use super::session::Session;
use super::tricks::Trick;
use crate::error::{ErrorKind, Phase, Result};
use crate::net::{Stream, connect};

/// A passive port in hand is used within this time: pyftpdlib closes it after 30 s.
const PORT_LIFE: Duration = Duration::from_secs(20);

/// A way to open data connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `EPSV` (RFC 2428): we connect to a port of the server's address.
    Epsv,
    /// `PASV`: the same, said in another form.
    Pasv,
    /// `PORT` or `EPRT`: the server connects to us.
    Active,
}

impl Way {
    /// The way of that name, see [`fmt::Display`].
    pub fn named(name: &str) -> Option<Self> {
        let ways = [Self::Epsv, Self::Pasv, Self::Active];
        ways.into_iter().find(|way| way.to_string() == name)
    }

    /// The command that asks for a port; none where we offer one.
    const fn command(self) -> Option<Command<'static>> {
        match self {
            Self::Epsv => Some(Command::Epsv),
            Self::Pasv => Some(Command::Pasv),
            Self::Active => None,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Epsv => "EPSV",
            Self::Pasv => "PASV",
            Self::Active => "PORT",
        })
    }
}

/// What is ready for the next transfer.
#[derive(Default)]
pub(super) struct Ready {
    /// A passive port that the server offered, and when.
    port: Option<(u16, Instant)>,
    /// A data connection that no command has used yet, and when it was opened.
    connection: Option<(Stream, Instant)>,
}

impl Session {
    /// The way that is used now.
    pub(super) fn way(&self) -> Way {
        self.settings.tricks.way(&self.settings.ways)
    }

    /// The command that asks for a port now; none where we offer one.
    pub(super) fn way_command(&self) -> Option<Command<'static>> {
        self.way().command()
    }

    /// That way was refused or led nowhere; whether there is another one to try.
    pub(super) fn leave_way(&self, way: Way, was_refused: bool) -> bool {
        // Where no passive port can be reached nobody can tell who is at fault; the server will hardly reach us then.
        let ways = self.settings.ways.iter().copied();
        let others: Vec<Way> = ways
            .filter(|way| was_refused || *way != Way::Active)
            .collect();
        self.settings.tricks.fail_way(way, &others)
    }

    /// The command that asks for the next passive port, to be put behind a batch; none where one is in hand, or where the
    /// server does not keep one.
    pub fn port_command(&self) -> Option<Command<'static>> {
        let port_since = self.ready.port.map(|(_, since)| since);
        let connected_since = self.ready.connection.as_ref().map(|(_, since)| *since);
        let in_hand = port_since
            .or(connected_since)
            .is_some_and(|since| since.elapsed() < PORT_LIFE);
        let tricks = &self.settings.tricks;
        if in_hand || tricks.wants_plan() || !tricks.holds(Trick::PortInHand) {
            return None;
        }
        self.way().command()
    }

    /// Takes the reply to [`Session::port_command`] in; whether it offers a port.
    pub fn take_port(&mut self, reply: &Reply) -> bool {
        let way = self.way();
        let port = port_in(reply);
        if port.is_none() && !self.is_told_to_plan(reply) {
            self.leave_way(way, true);
        }
        // Whoever asks for a new port gives the old one up.
        self.ready.connection = None;
        self.ready.port = port.map(|port| (port, Instant::now()));
        port.is_some()
    }

    /// Whether the server was asked for a port that no transfer has used.
    pub(super) const fn has_port(&self) -> bool {
        self.ready.port.is_some()
    }

    /// The server has closed the port in hand.
    pub(super) const fn drop_port(&mut self) {
        self.ready.port = None;
    }

    /// Whether the reply asks for `PRET`, for the first time.
    fn is_told_to_plan(&self, reply: &Reply) -> bool {
        let is_new = reply.mentions(&["pret"]) && !self.settings.tricks.wants_plan();
        if is_new {
            self.settings.tricks.plan();
        }
        is_new
    }

    /// The port in hand, while it is fresh.
    pub(super) fn port_in_hand(&mut self) -> Option<u16> {
        let (port, since) = self.ready.port.take()?;
        (since.elapsed() < PORT_LIFE).then_some(port)
    }

    /// Opens a data connection to the port in hand, where the server looks at it only once it runs the command. A
    /// failure only means that there is none.
    pub(super) fn connect_ahead(&mut self) {
        if !self.takes_data_early() || self.way() == Way::Active {
            return;
        }
        let Some(port) = self.port_in_hand() else {
            return;
        };
        if let Ok(stream) = self.connect_to(port) {
            self.ready.connection = Some((stream, Instant::now()));
        }
    }

    /// A data connection to that port, always at the address of the control connection.
    pub(super) fn connect_to(&self, port: u16) -> Result<Stream> {
        let address = SocketAddr::new(self.peer.ip(), port);
        let (wait, halt) = (self.settings.timeout, &self.settings.halt);
        let socket = connect(address, wait, Phase::DataConnect, halt)?;
        Ok(Stream::new(socket, wait, Phase::Data, halt.clone()))
    }

    /// The data connection in hand, while it is fresh and stands.
    pub(super) fn connection_in_hand(&mut self) -> Option<Stream> {
        let (mut stream, since) = self.ready.connection.take()?;
        // The server has nothing to say on it yet, but the end.
        (since.elapsed() < PORT_LIFE && !stream.is_readable(Duration::ZERO)).then_some(stream)
    }

    /// Asks for a passive port for that transfer; none where we are to offer one.
    pub(super) fn ask_port(&mut self, transfer: &Command<'_>) -> Result<Option<(Way, u16)>> {
        loop {
            let way = self.way();
            let Some(command) = way.command() else {
                return Ok(None);
            };
            if self.settings.tricks.wants_plan() {
                let _said = self.ask(&Command::Pret(transfer))?;
            }
            let reply = self.ask(&command)?;
            if let Some(port) = port_in(&reply) {
                return Ok(Some((way, port)));
            }
            if self.is_told_to_plan(&reply) || self.leave_way(way, true) {
                continue;
            }
            if reply.is_success() {
                let text = format!("no usable port in \"{}\"", self.shown(&reply));
                return Err(self.fail(ErrorKind::Protocol(text).into()));
            }
            let error = self.refusal(&reply);
            return Err(error.while_doing("opening a data connection"));
        }
    }
}

/// The port in a reply, whichever of the two commands it answers: servers mix up the forms.
fn port_in(reply: &Reply) -> Option<u16> {
    if !reply.is_success() {
        return None;
    }
    reply
        .lines()
        .rev()
        .find_map(|line| parse_epsv(line).or_else(|| parse_pasv(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_in_the_form_of_either_command() {
        let port = |text: &str| {
            let (reply, _) = Reply::parse(text.as_bytes()).unwrap().unwrap();
            port_in(&reply)
        };
        assert_eq!(port("229 ok (|||2000|)\r\n"), Some(2000));
        assert_eq!(port("227 127,0,0,1,8,0\r\n"), Some(2048));
        assert_eq!(port("227-made\r\n227 (0,0,0,0,8,0)\r\n"), Some(2048));
        assert_eq!(port("227-(0,0,0,0,8,0)\r\n227 made\r\n"), Some(2048));
        assert_eq!(port("200 (|||2000|)\r\n"), Some(2000));
        assert_eq!(port("202 (|||2000|)\r\n"), None);
        assert_eq!(port("500 (|||2000|)\r\n"), None);
        assert_eq!(port("229 ok\r\n"), None);
    }

    #[test]
    fn ways_have_names() {
        for way in [Way::Epsv, Way::Pasv, Way::Active] {
            assert_eq!(Way::named(&way.to_string()), Some(way));
        }
        assert_eq!(Way::named("SPSV"), None);
    }
}
