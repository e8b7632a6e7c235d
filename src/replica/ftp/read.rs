//! Reading a file: RETR, and the final reply before anything of it may be used.

use std::io;

use super::FtpReplica;
use super::lines::network_kind;
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::ftp::{Command, Meaning, Transfer};
use crate::net::Pipe;
use crate::replica::Source;

impl FtpReplica {
    /// Opens a full path for reading.
    pub(super) fn open_path<'a>(
        &'a mut self,
        path: &[u8],
        offset: u64,
    ) -> Result<Box<dyn Source + 'a>> {
        match self.start_reading(path, offset) {
            Ok(transfer) => Ok(Box::new(FtpSource {
                target: self,
                path: path.to_vec(),
                offset,
                transfer: Some(transfer),
                at_end: false,
            })),
            // The same code stands for "not there" and "not for you".
            Err(error) if matches!(error.kind(), ErrorKind::Refused { code, .. } if Meaning::of(*code) == Meaning::No) => {
                match self.look_at_one(path) {
                    Ok(None) => Err(ErrorKind::NotFound.into()),
                    Err(lost) if lost.scope() != Scope::Entry => Err(lost),
                    Ok(Some(_)) | Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn start_reading(&mut self, path: &[u8], offset: u64) -> Result<Transfer> {
        let mut transfer = self.session.begin(&Command::Retr(path), offset)?;
        match self.session.await_start(&mut transfer) {
            Ok(()) => Ok(transfer),
            Err(error) => {
                // The refusal was the final reply; ending only closes the data connection.
                let _ = self.session.end(transfer);
                Err(error)
            }
        }
    }
}

/// The bytes of a remote file on their way.
struct FtpSource<'a> {
    target: &'a mut FtpReplica,
    path: Vec<u8>,
    offset: u64,
    /// None once it has ended.
    transfer: Option<Transfer>,
    at_end: bool,
}

impl Source for FtpSource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let Some(transfer) = &mut self.transfer else {
            if self.at_end {
                return Ok(0);
            }
            return Err(self.target.session.failure());
        };
        match transfer.read(buffer) {
            Ok(count) => {
                self.at_end = count == 0 && !buffer.is_empty();
                Ok(count)
            }
            Err(error) => self.explain(error),
        }
    }

    fn read_into(&mut self, pipe: &Pipe, max: usize) -> Result<Option<usize>> {
        let Some(transfer) = &mut self.transfer else {
            // An ordinary read says what there is to say.
            return Ok(None);
        };
        match transfer.read_into(pipe, max) {
            Ok(moved) => {
                self.at_end = moved == Some(0);
                Ok(moved)
            }
            Err(error) => self.explain(error).map(Some),
        }
    }

    fn finish(&mut self) -> Result<()> {
        if !self.at_end && self.read(&mut [0])? != 0 {
            return Err(ErrorKind::Changed("the file has grown while it was read").into());
        }
        let Some(transfer) = self.transfer.take() else {
            // It was cut off and found whole.
            return Ok(());
        };
        let reply = self.target.session.end(transfer)?;
        if reply.is_success() {
            return Ok(());
        }
        Err(self.target.session.refusal(&reply))
    }
}

impl FtpSource<'_> {
    /// A data connection that breaks is explained by the final reply, where one comes.
    ///
    /// Some servers forget the end mark of TLS, or end what is whole by a reset. Then the file is whole only if it has the
    /// size that the server tells on the control connection, where nobody between can speak.
    fn explain(&mut self, error: Error) -> Result<usize> {
        let Some(transfer) = self.transfer.take() else {
            return Err(error);
        };
        let session = &mut self.target.session;
        if matches!(
            error.kind(),
            ErrorKind::Timeout(_) | ErrorKind::Interrupted(_)
        ) {
            return Err(session.fail(error));
        }
        let end_bytes = self.offset + transfer.moved_bytes();
        let may_be_whole = match network_kind(&error) {
            Some(io::ErrorKind::UnexpectedEof) => !session.is_clear(),
            Some(io::ErrorKind::ConnectionReset) => true,
            _ => false,
        };
        let reply = session.end(transfer)?;
        if !reply.is_success() {
            return Err(session.refusal(&reply));
        }
        if may_be_whole
            && let Some(stat) = self.target.look_at_one(&self.path)?
            && stat.size == end_bytes
        {
            self.at_end = true;
            return Ok(0);
        }
        Err(error.while_doing("the data connection broke off"))
    }
}

impl Drop for FtpSource<'_> {
    fn drop(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            self.target.session.abandon(transfer);
        }
    }
}
