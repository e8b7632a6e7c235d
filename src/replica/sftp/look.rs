//! Listing directories and asking for exact names.

use super::flights::{Flights, Outbox, ask_all};
use super::{SftpReplica, is_ok, refusal};
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::replica::{Kind, Listing, Mtime, Stat};
use crate::sftp::packet::NamedAttributes;
use crate::sftp::{Attributes, Handle, Reply, Request, code};
use crate::time::Timestamp;

/// Paths that are asked for at a time: their replies lie in memory together.
const MAX_LOOKS: usize = 1024;

/// More names than a listing takes, or as many replies without any: the server does not come to an end.
const MAX_NAMES: usize = 1_100_000;
const MAX_EMPTY_REPLIES: usize = 64;

/// What is said of one of them.
pub(super) const SPECIAL: Stat = Stat {
    kind: Kind::Special,
    size: 0,
    mtime: None,
};

/// What attributes say; none where they do not say what kind of thing it is, or how large.
pub(super) fn stat_of(attributes: &Attributes) -> Option<Stat> {
    const TYPE: u32 = 0o170_000;
    const DIR: u32 = 0o040_000;
    const FILE: u32 = 0o100_000;
    match attributes.mode? & TYPE {
        DIR => Some(Stat::dir()),
        FILE => Some(Stat {
            kind: Kind::File,
            size: attributes.size?,
            mtime: mtime_of(attributes),
        }),
        _ => Some(SPECIAL),
    }
}

fn mtime_of(attributes: &Attributes) -> Option<Mtime> {
    attributes
        .times
        .map(|(_, changed)| Mtime::exact(Timestamp::from_secs(i64::from(changed))))
}

impl SftpReplica {
    /// Tells the names in a full path, with their times, directories' too.
    pub(super) fn see_times(
        &mut self,
        path: &[u8],
        see: &mut dyn FnMut(&[u8], Option<Mtime>),
    ) -> Result<()> {
        let mut scans = [Scan::new(path)];
        super::flights::drive(&mut self.session, &mut scans, 1)?;
        let [scan] = scans;
        if let Some(error) = scan.failed {
            return Err(error);
        }
        for NamedAttributes { name, attributes } in scan.names {
            see(&name, mtime_of(&attributes));
        }
        Ok(())
    }

    /// Lists a full path.
    pub(super) fn list_path(&mut self, path: &[u8], listing: &mut Listing) -> Result<()> {
        let scan = match self.ahead.take_dir(path) {
            Some(scan) => scan,
            None => {
                let mut scans = [Scan::new(path)];
                super::flights::drive(&mut self.session, &mut scans, 1)?;
                let [scan] = scans;
                scan
            }
        };
        if let Some(error) = scan.failed {
            return Err(self.explain_unlisted(path, error));
        }
        self.learnt.shows_dots |= scan.saw_dots;
        if scan.seen == 0 && !scan.saw_dots && self.learnt.shows_dots {
            // What may be listed but not entered looks empty, and is not.
            listing.mark_incomplete("the server shows nothing at all of it; may it be entered?");
        }
        self.take_names(path, scan, listing)
    }

    fn take_names(&mut self, path: &[u8], scan: Scan, listing: &mut Listing) -> Result<()> {
        let mut untold = Vec::new();
        for NamedAttributes { name, attributes } in scan.names {
            match stat_of(&attributes) {
                Some(stat) => listing.push(&name, stat),
                None => untold.push(name),
            }
        }
        if let Some(why) = scan.gap {
            listing.mark_incomplete(why);
        }
        // A name that could lead elsewhere is not asked for.
        untold.retain(|name| {
            let is_good = crate::path::Name::new(name).is_ok();
            if !is_good {
                listing.push(name, SPECIAL);
            }
            is_good
        });
        let paths: Vec<Vec<u8>> = untold.iter().map(|name| super::join(path, name)).collect();
        for (name, found) in untold.iter().zip(self.look_at(&paths)) {
            match found {
                Ok(Some(stat)) => listing.push(name, stat),
                Ok(None) => {}
                Err(error) if error.scope() != Scope::Entry => return Err(error),
                Err(error) => listing.mark_incomplete(error.to_string()),
            }
        }
        Ok(())
    }

    /// Servers say the same of what is not there and of what is no directory.
    fn explain_unlisted(&mut self, path: &[u8], error: Error) -> Error {
        match self.look_at_one(path) {
            Ok(None) => ErrorKind::NotFound.into(),
            Ok(Some(stat)) if stat.kind != Kind::Dir => {
                ErrorKind::Changed("it is no directory any more").into()
            }
            Ok(Some(_)) => error,
            Err(lost) if lost.scope() != Scope::Entry => lost,
            Err(_) => error,
        }
    }

    /// What is at these full paths.
    pub(super) fn look_at(&mut self, paths: &[Vec<u8>]) -> Vec<Result<Option<Stat>>> {
        let mut found = Vec::with_capacity(paths.len());
        for some in paths.chunks(MAX_LOOKS) {
            let requests: Vec<Request<'_>> = some.iter().map(|path| Request::Lstat(path)).collect();
            match ask_all(&mut self.session, &requests) {
                Ok(replies) => {
                    found.extend(replies.into_iter().map(|reply| self.looked_at(reply)));
                }
                Err(first) => {
                    found.push(Err(first));
                    while found.len() < paths.len() {
                        found.push(Err(self.session.failure()));
                    }
                    return found;
                }
            }
        }
        found
    }

    /// What is at this full path.
    pub(super) fn look_at_one(&mut self, path: &[u8]) -> Result<Option<Stat>> {
        let reply = self.session.ask(&Request::Lstat(path))?;
        self.looked_at(reply)
    }

    /// What a reply to LSTAT says.
    pub(super) fn looked_at(&mut self, reply: Reply) -> Result<Option<Stat>> {
        match reply {
            Reply::Attributes(attributes) => Ok(Some(stat_of(&attributes).unwrap_or(SPECIAL))),
            Reply::Status(status) if status.code == code::NO_SUCH_FILE => Ok(None),
            Reply::Status(status) if !is_ok(&status) => Err(refusal(&status)),
            _ => Err(self.session.nonsense(super::flights::NONSENSE)),
        }
    }
}

/// One directory on its way.
pub(super) struct Scan {
    path: Vec<u8>,
    handle: Option<Handle>,
    names: Vec<NamedAttributes>,
    saw_dots: bool,
    /// How many names came, and how many replies without one.
    seen: usize,
    empty_replies: usize,
    /// Why names are missing.
    gap: Option<String>,
    /// Why nothing is known.
    failed: Option<Error>,
}

impl Scan {
    pub(super) fn new(path: &[u8]) -> Self {
        Self {
            path: path.to_vec(),
            handle: None,
            names: Vec::new(),
            saw_dots: false,
            seen: 0,
            empty_replies: 0,
            gap: None,
            failed: None,
        }
    }

    /// Takes a reply to READDIR in; whether it was the last.
    fn take(&mut self, reply: Reply, out: &mut Outbox<'_>) -> Result<bool> {
        match reply {
            Reply::Names(names) => {
                self.empty_replies += usize::from(names.is_empty());
                for named in names {
                    if named.name == b"." || named.name == b".." {
                        self.saw_dots = true;
                    } else {
                        self.seen += 1;
                        self.names.push(named);
                    }
                }
                let is_endless = self.seen > MAX_NAMES || self.empty_replies > MAX_EMPTY_REPLIES;
                if is_endless {
                    self.gap = Some("the server does not come to an end".to_owned());
                }
                Ok(is_endless)
            }
            Reply::Status(status) if status.code == code::EOF => Ok(true),
            Reply::Status(status) if !is_ok(&status) => {
                // Some servers open what is not there, and fail only now.
                if self.seen == 0 && !self.saw_dots {
                    self.failed = Some(refusal(&status));
                } else {
                    self.gap = Some(refusal(&status).to_string());
                }
                Ok(true)
            }
            _ => Err(out.nonsense()),
        }
    }
}

impl Flights for Scan {
    fn fly(&mut self, replies: Vec<Reply>, out: &mut Outbox<'_>) -> Result<()> {
        if replies.is_empty() {
            return out.send(&Request::OpenDir(&self.path));
        }
        for reply in replies {
            let is_last = match (&self.handle, reply) {
                (None, Reply::Handle(handle)) => {
                    self.handle = Some(handle);
                    false
                }
                (None, Reply::Status(status)) if !is_ok(&status) => {
                    self.failed = Some(refusal(&status));
                    return Ok(());
                }
                (None, _) => return Err(out.nonsense()),
                (Some(_), reply) => self.take(reply, out)?,
            };
            if is_last {
                if let Some(handle) = &self.handle {
                    out.tell(&Request::Close(handle))?;
                }
                return Ok(());
            }
        }
        let Some(handle) = &self.handle else {
            return Err(out.nonsense());
        };
        // Two at once: the second meets the end where the first brings all names.
        out.send(&Request::ReadDir(handle))?;
        out.send(&Request::ReadDir(handle))
    }
}
