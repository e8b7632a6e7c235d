//! A build without TLS: nothing here can be made, and whoever asks is told.

use std::convert::Infallible;
use std::io;

use super::Failure;
use crate::error::{ErrorKind, Result};
use crate::job::TlsSettings;
use crate::net::stream::Wire;

pub(super) const NAME: Option<&str> = None;

pub(super) struct Client(Infallible);

pub(super) struct Tickets(Infallible);

pub(super) struct Connection(Infallible);

impl Client {
    pub(super) fn new(_settings: &TlsSettings, _host: &str) -> Result<Self> {
        Err(ErrorKind::Unsupported("this build of coracle has no TLS").into())
    }

    pub(super) fn tickets(&self, _newer: bool) -> Result<Tickets> {
        match self.0 {}
    }

    pub(super) fn connect(
        &self,
        _wire: Wire,
        _tickets: &mut Tickets,
    ) -> Result<Connection, Failure> {
        match self.0 {}
    }
}

impl Tickets {
    pub(super) fn are_spent(&self) -> bool {
        match self.0 {}
    }
}

impl Connection {
    pub(super) fn is_resumed(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn leaf(&self) -> Option<Vec<u8>> {
        match self.0 {}
    }

    pub(super) fn summary(&self) -> String {
        match self.0 {}
    }

    pub(super) fn wire(&self) -> &Wire {
        match self.0 {}
    }

    pub(super) fn wire_mut(&mut self) -> &mut Wire {
        match self.0 {}
    }

    pub(super) fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(super) fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(super) fn close_notify(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}
