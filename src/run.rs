//! Joins the parts of a run: a job to its replicas, its lock, its archive. What the command line does and what a library user
//! does is the same [`Run`].

mod visit;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Doing, ErrorKind, Result};
#[cfg(feature = "sftp")]
use crate::job::Secret;
use crate::job::{Job, Limits, Links, Location, StateDir};
use crate::net::Halt;
use crate::path::{Escaped, RelPath};
#[cfg(feature = "sftp")]
use crate::replica::{Answers, Secrecy, SftpConnector, SftpReplica};
use crate::replica::{
    Connect, FtpConnector, FtpReplica, LocalConnector, LocalReplica, Replica, RootLock,
};
use crate::side::{Side, Sides};
use crate::sync::event::{Ask, Event};
use crate::sync::plan::guard;
use crate::sync::record::{
    Home, HomeLock, JobId, Mode, PeerKey, Register, Remembered, Servers, open, save, state_dir,
};
use crate::sync::workers::Stop;
use crate::sync::{self, Setting, Summary, Undo};
use crate::time::Timestamp;

/// One run of a request: of a [`Job`], with lock, journal and archive, or of a [`Visit`](crate::job::Visit).
pub struct Run<'a, R = Job> {
    request: &'a R,
    stop: Stop<'a>,
    halt: Halt,
    welcome: Option<Arc<dyn Fn() + Send + Sync>>,
    #[cfg(feature = "sftp")]
    answers: Arc<dyn Answers>,
    remote: Option<(&'a dyn Connect, String)>,
}

impl<'a, R> Run<'a, R> {
    /// A run of that request.
    pub fn of(request: &'a R) -> Self {
        Self {
            request,
            stop: Stop::NEVER,
            halt: Halt::default(),
            welcome: None,
            #[cfg(feature = "sftp")]
            answers: Arc::new(NobodyAnswers),
            remote: None,
        }
    }

    /// Ends it early when `stop` says so.
    #[must_use]
    pub fn stopped_by(self, stop: Stop<'a>) -> Self {
        Self { stop, ..self }
    }

    /// Ends waits on the network early, too, when `halt` says so: what [`Run::stopped_by`] says, for waits in the middle of a
    /// step.
    #[must_use]
    pub fn halted_by(self, halt: Halt) -> Self {
        Self { halt, ..self }
    }

    /// Calls `welcome`, on whichever thread, at each login that an FTP server took; over SSH the answers are told.
    #[must_use]
    pub fn welcomed_by(self, welcome: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            welcome: Some(welcome),
            ..self
        }
    }

    /// Lets `answers` answer what the SSH program asks; otherwise nobody does, and keys or an agent have to do.
    #[cfg(feature = "sftp")]
    #[must_use]
    pub fn answered_by(self, answers: Arc<dyn Answers>) -> Self {
        Self { answers, ..self }
    }

    /// How a location is reached; of a server, a session may be open then.
    fn reach(&self, location: &Location, how: &Reach<'_>) -> Result<Remote<'a>> {
        match location {
            Location::Path(path) => {
                let root = LocalReplica::open_or_absent(path, Links::Skip)?;
                let identity = root.file_system_id().unwrap_or(0);
                Ok(Remote {
                    connect: Connector::Local(LocalConnector::new(path, how.links)),
                    peer: PeerKey::of_path(path, identity),
                })
            }
            #[cfg(feature = "sftp")]
            Location::Sftp(location) => {
                let answers = self.answers.clone();
                let sftp = SftpConnector::new(location, how.limits, answers)?;
                let key = PeerKey::of_sftp(location);
                let (connect, peer) =
                    Begun::of(sftp, key, SftpConnector::connect, SftpReplica::login_dir)?;
                Ok(Remote {
                    connect: Connector::Sftp(Box::new(connect)),
                    peer,
                })
            }
            #[cfg(not(feature = "sftp"))]
            Location::Sftp(_) => {
                let text = "this build of coracle cannot follow sftp://";
                Err(ErrorKind::Usage(text.to_owned()).into())
            }
            Location::Ftp(location) => {
                let given = given_state_dir(how.state)?;
                let servers = Servers::of(&state_dir_of(given.as_deref()), how.mode);
                let ftp = FtpConnector::new(location, how.limits)?
                    .with_halt(self.halt.clone())
                    .with_welcome(self.welcome.clone())
                    .with_memory(Arc::new(servers));
                let key = PeerKey::of_ftp(location);
                let (connect, peer) =
                    Begun::of(ftp, key, FtpConnector::connect, FtpReplica::login_dir)?;
                Ok(Remote {
                    connect: Connector::Ftp(Box::new(connect)),
                    peer,
                })
            }
        }
    }
}

/// What a way to a location depends on.
struct Reach<'r> {
    limits: &'r Limits,
    links: Links,
    state: &'r StateDir,
    mode: Mode,
}

impl<'a> Run<'a> {
    /// Syncs with a replica of another kind than the job's remote location names. `name` is what the archive calls it: it must
    /// always be the same for the same replica, and no other's.
    #[must_use]
    pub fn with_remote(self, remote: &'a dyn Connect, name: &str) -> Self {
        Self {
            remote: Some((remote, name.to_owned())),
            ..self
        }
    }

    /// Runs it to its end. `ask` answers conflicts that no rule settles; where nobody does, they are left as they are. An error
    /// means that nothing was changed; what ends a run in the middle is in the summary.
    pub fn start(
        &self,
        tell: &mut dyn FnMut(Event<'_>),
        ask: Option<&mut dyn Ask>,
    ) -> Result<Summary> {
        let job = self.request;
        let now = Timestamp::now();
        let remote = self.connect_remote()?;
        let place = Place::of(job, remote.peer)?;
        let known = place.register.read(&place.id).unwrap_or_default();
        let local = place.open_local(job, &known)?;
        place.refuse_strange_disks(job, &known)?;
        let _lock = match &local {
            Some(root) => Some(place.lock(root, job, tell)?),
            None => None,
        };
        let peer = &place.id.peer;
        let open_archive = || {
            open(
                &place.home,
                Some(&place.elsewhere),
                &place.id.local,
                peer,
                mode_of(job),
                job.migrate,
            )
        };
        let mut opened = open_archive()?;
        if !job.dry_run && sync::settle_moves(&opened, remote.connect.get())? {
            save(&place.home, &opened.archive, &opened.journal)?;
            opened = open_archive()?;
        }
        for notice in &opened.notices {
            tell(Event::Warning(notice));
        }
        let holder = place.holder(job, tell);
        let local = LocalConnector::new(&place.id.local, job.policy.links);
        let setting = Setting {
            connect: Sides::new(&local, remote.connect.get()),
            stop: self.stop,
            opened: &opened,
            home: &place.home,
            held_files: known.held,
            holder: &holder,
            owner: place.register.part_owner(&place.id),
            now,
        };
        let ran = sync::run(job, &setting, tell, ask);
        remote.connect.tell_overheard(tell);
        let summary = ran?;
        if !job.dry_run {
            place.remember(job, known, &summary);
        }
        Ok(summary)
    }

    /// Takes back what the last run moved to the trash, on both sides. No record is changed: the next run sees what came back.
    pub fn undo(&self, tell: &mut dyn FnMut(Event<'_>)) -> Result<Summary> {
        let job = self.request;
        let remote = self.connect_remote()?;
        let place = Place::of(job, remote.peer)?;
        let root = LocalReplica::open(&place.id.local, Links::Skip)?;
        let _lock = place.lock(&root, job, tell)?;
        let local = LocalConnector::new(&place.id.local, job.policy.links);
        let undo = Undo {
            job,
            connect: Sides::new(&local, remote.connect.get()),
            stop: self.stop,
            holder: &place.holder(job, tell),
            owner: place.register.part_owner(&place.id),
            now: Timestamp::now(),
        };
        Ok(Summary {
            totals: undo.run(tell)?,
            stopped_by: None,
            held_files: Sides::default(),
        })
    }

    fn connect_remote(&self) -> Result<Remote<'a>> {
        let job = self.request;
        if let Some((connect, name)) = &self.remote {
            return Ok(Remote {
                connect: Connector::Given(*connect),
                peer: PeerKey::named(name.clone()),
            });
        }
        if let Location::Path(path) = &job.remote {
            refuse_overlap(&job.local, path)?;
        }
        self.reach(
            &job.remote,
            &Reach {
                limits: &job.limits,
                links: job.policy.links,
                state: &job.state,
                mode: mode_of(job),
            },
        )
    }
}

/// Nobody answers what the SSH program asks.
#[cfg(feature = "sftp")]
struct NobodyAnswers;

#[cfg(feature = "sftp")]
impl Answers for NobodyAnswers {
    fn password(&self, _user: &str) -> Result<Option<Secret>> {
        Ok(None)
    }

    fn ask(&self, _question: &str, _secrecy: Secrecy) -> Result<Option<Secret>> {
        Ok(None)
    }
}

/// The other side of a job.
struct Remote<'a> {
    connect: Connector<'a>,
    peer: PeerKey,
}

enum Connector<'a> {
    Given(&'a dyn Connect),
    Local(LocalConnector),
    Ftp(Box<Begun<FtpConnector>>),
    #[cfg(feature = "sftp")]
    Sftp(Box<Begun<SftpConnector>>),
}

/// A server of which a session may be open already: it had to be asked where the login directory is. Whoever connects first
/// goes on with that session.
struct Begun<C> {
    connect: C,
    first: Mutex<Option<Box<dyn Replica>>>,
}

impl<C> Begun<C> {
    /// The server, and the whole name of the peer: where the login directory belongs to it, a session is opened that tells it.
    fn of<R: Replica + 'static>(
        connect: C,
        mut peer: PeerKey,
        dial: impl Fn(&C) -> Result<R>,
        login_dir: impl Fn(&R) -> Option<RelPath>,
    ) -> Result<(Self, PeerKey)> {
        let mut first: Option<Box<dyn Replica>> = None;
        if peer.is_from_login() {
            let session = dial(&connect)?;
            if let Some(dir) = login_dir(&session) {
                peer = peer.with_login_dir(&dir);
            }
            first = Some(Box::new(session));
        }
        let first = Mutex::new(first);
        Ok((Self { connect, first }, peer))
    }
}

impl<C: Connect> Connect for Begun<C> {
    fn connect(&self) -> Result<Box<dyn Replica>> {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        first.map_or_else(|| self.connect.connect(), Ok)
    }

    fn batch(&self) -> usize {
        self.connect.batch()
    }

    fn is_disk(&self) -> bool {
        self.connect.is_disk()
    }
}

impl Connector<'_> {
    /// Says where user and password went in the clear.
    fn tell_overheard(&self, tell: &mut dyn FnMut(Event<'_>)) {
        if let Self::Ftp(ftp) = self
            && let Some(address) = ftp.connect.overheard_on_the_way_to()
        {
            tell(Event::Warning(&format!(
                "user, password and files went to {address} readable by everyone on the way; does the server know ftps://?"
            )));
        }
    }

    fn get(&self) -> &dyn Connect {
        match self {
            Self::Given(connect) => *connect,
            Self::Local(local) => local,
            Self::Ftp(ftp) => ftp.as_ref(),
            #[cfg(feature = "sftp")]
            Self::Sftp(sftp) => sftp.as_ref(),
        }
    }
}

/// What this machine knows of the job: where its roots are, and what it remembers of them.
struct Place {
    home: Home,
    /// The other place where an archive may be.
    elsewhere: Home,
    register: Register,
    id: JobId,
}

impl Place {
    fn of(job: &Job, peer: PeerKey) -> Result<Self> {
        let local = real(&job.local)?;
        let given = given_state_dir(&job.state)?;
        let state = state_dir_of(given.as_deref());
        if let Some(given) = &given {
            refuse_state_within(given, &local, &job.remote)?;
        }
        let (in_root, in_state) = (Home::in_root(&local), Home::in_state(&state, &local));
        let (home, elsewhere) = match given {
            Some(_) => (in_state, in_root),
            None => (in_root, in_state),
        };
        Ok(Self {
            home,
            elsewhere,
            register: Register::of(&state),
            id: JobId { local, peer },
        })
    }

    /// Opens the local root; none where there is none. It is made if that was asked for, and if it never held anything.
    fn open_local(&self, job: &Job, known: &Remembered) -> Result<Option<LocalReplica>> {
        let may_make = job.create_folder
            && job.direction.writes(Side::Local)
            && (!known.held.local || job.policy.allow.empty)
            && !job.dry_run;
        let opened = if may_make {
            LocalReplica::create(&self.id.local, Links::Skip)
        } else {
            LocalReplica::open(&self.id.local, Links::Skip)
        };
        match opened {
            Ok(root) => Ok(Some(root)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The identity of what is at each side's path now; none where that side is no disk, or not there.
    fn identities(&self, job: &Job) -> Sides<Option<u64>> {
        let identity = |path: &Path| {
            let root = LocalReplica::open(path, Links::Skip).ok()?;
            root.file_system_id().ok()
        };
        let remote = match &job.remote {
            Location::Path(path) => identity(path),
            Location::Ftp(_) | Location::Sftp(_) => None,
        };
        Sides::new(identity(&self.id.local), remote)
    }

    fn refuse_strange_disks(&self, job: &Job, known: &Remembered) -> Result<()> {
        let now = self.identities(job);
        for side in Side::BOTH {
            if let Some(now) = *now.of(side) {
                let seen = known.identities.of(side);
                sync::refuse_if(guard::strange_disk(side, seen, now, job.policy.allow))?;
            }
        }
        Ok(())
    }

    /// What this run calls itself. Without a register it goes by a name of its own.
    fn holder(&self, job: &Job, tell: &mut dyn FnMut(Event<'_>)) -> String {
        if job.dry_run {
            return String::new();
        }
        self.register.holder(&self.id.local).unwrap_or_else(|error| {
            tell(Event::Notice(&format!(
                "{error}; the run goes on, but the next one will not know whether these directories held files, nor what was \
                 learnt of the server (--state-dir names another place)"
            )));
            Register::passing_holder()
        })
    }

    /// Keeps other runs on this machine out.
    fn lock(
        &self,
        root: &LocalReplica,
        job: &Job,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(RootLock, Option<HomeLock>)> {
        let lock = root.lock()?;
        if lock.is_held() || job.dry_run {
            return Ok((lock, None));
        }
        let file = self.home.lock()?;
        if file.is_none() {
            tell(Event::Notice(
                "the file system of the local directory has no locks",
            ));
        }
        Ok((lock, file))
    }

    /// Remembers what the next run's guards want to know. To have no register (a read-only home) is no error: they are weaker
    /// then.
    fn remember(&self, job: &Job, mut known: Remembered, summary: &Summary) {
        known.held = summary.held_files;
        let now = self.identities(job);
        for side in Side::BOTH {
            let seen = known.identities.of_mut(side);
            if let Some(now) = (*now.of(side)).filter(|now| !seen.contains(now)) {
                seen.push(now);
            }
        }
        if let Err(error) = self.register.remember(&self.id, &known) {
            log::debug!("{error}");
        }
    }
}

/// What may be written: a dry run writes nothing anywhere.
const fn mode_of(job: &Job) -> Mode {
    if job.dry_run {
        Mode::ReadOnly
    } else {
        Mode::ReadWrite
    }
}

fn given_state_dir(state: &StateDir) -> Result<Option<PathBuf>> {
    match state {
        StateDir::InRoot => Ok(None),
        StateDir::Below(dir) => absolute(dir).map(Some),
    }
}

fn state_dir_of(given: Option<&Path>) -> PathBuf {
    state_dir(given, |name| std::env::var_os(name).map(Into::into))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(ErrorKind::Disk)
        .doing(|| format!("finding {}", Escaped(path.as_os_str().as_bytes())))
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize().or_else(|_| absolute(path))
}

/// Two roots of which one lies in the other would be synced into each other without end.
fn refuse_overlap(local: &Path, remote: &Path) -> Result<()> {
    if overlap(&real(local)?, &real(remote)?) {
        return Err(ErrorKind::Usage(
            "one of the two directories lies in the other, or they are the same".to_owned(),
        )
        .into());
    }
    Ok(())
}

/// Whether one of the two is the other, or in it.
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The state directory would be synced, and a tree that is gone would take what is remembered of it along.
fn refuse_state_within(state: &Path, local: &Path, remote: &Location) -> Result<()> {
    let state = real(state)?;
    let is_within_remote = match remote {
        Location::Path(path) => state.starts_with(real(path)?),
        Location::Ftp(_) | Location::Sftp(_) => false,
    };
    if state.starts_with(local) || is_within_remote {
        return Err(ErrorKind::Usage(
            "--state-dir lies within one of the two directories; put it elsewhere".to_owned(),
        )
        .into());
    }
    Ok(())
}
