//! What all targets of one account share: how to get there, what protects them, what was learnt of the server.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::FtpReplica;
use super::learnt::{Learnt, Memory};
use crate::error::Result;
use crate::ftp::{Account, Security, Session, Settings, Tricks, Way};
use crate::job::{
    ANONYMOUS, ANONYMOUS_PASSWORD, DataMode, Encoding, FtpLocation, Limits, Passive, Protection,
};
use crate::net::{Halt, IpAddr, TlsClient, is_private};

/// Opens targets for one account of a server, which share what protects them.
#[derive(Clone)]
pub struct FtpConnector {
    pub(super) location: FtpLocation,
    pub(super) limits: Limits,
    pub(super) security: Security,
    pub(super) ways: Arc<[Way]>,
    pub(super) tricks: Arc<Tricks>,
    pub(super) halt: Halt,
    welcome: Option<Arc<dyn Fn() + Send + Sync>>,
    /// What all targets have learnt; none before the first of them.
    pub(super) learnt: Arc<Mutex<Option<Learnt>>>,
    pub(super) memory: Option<Arc<dyn Memory>>,
    /// What the memory holds.
    pub(super) kept: Arc<Mutex<Vec<u8>>>,
    /// Where the password went readable by everyone on the way.
    pub(super) overheard: Arc<OnceLock<IpAddr>>,
}

impl FtpConnector {
    /// Reads what is needed to trust the server; nothing is sent.
    pub fn new(location: &FtpLocation, limits: &Limits) -> Result<Self> {
        let client = |settings| TlsClient::new(settings, &location.host).map(Arc::new);
        Ok(Self {
            location: location.clone(),
            limits: *limits,
            security: match &location.protection {
                Protection::Clear => Security::Clear,
                Protection::Explicit(settings) => Security::Explicit(client(settings)?),
                Protection::Implicit(settings) => Security::Implicit(client(settings)?),
            },
            ways: ways(limits.data, &location.habits.passive).into(),
            tricks: Arc::default(),
            halt: Halt::default(),
            welcome: None,
            learnt: Arc::default(),
            memory: None,
            kept: Arc::default(),
            overheard: Arc::default(),
        })
    }

    /// With the end of the run, which all waits obey.
    #[must_use]
    pub fn with_halt(self, halt: Halt) -> Self {
        Self { halt, ..self }
    }

    /// With somebody who is told of each login that the server took.
    #[must_use]
    pub fn with_welcome(self, welcome: Option<Arc<dyn Fn() + Send + Sync>>) -> Self {
        Self { welcome, ..self }
    }

    /// With what earlier runs have learnt of the server; what this one learns is kept there, too.
    #[must_use]
    pub fn with_memory(self, memory: Arc<dyn Memory>) -> Self {
        let kept = memory.recall(&self.place()).unwrap_or_default();
        if !kept.is_empty() {
            let text = String::from_utf8_lossy(&kept);
            log::debug!("known of the server: {}", text.trim().replace('\n', ", "));
        }
        Self {
            tricks: Arc::new(Tricks::remembering(kept.clone())),
            kept: Arc::new(Mutex::new(kept)),
            memory: Some(memory),
            ..self
        }
    }

    /// The name under which the server is remembered.
    fn place(&self) -> String {
        format!("{}:{}", self.location.host, self.location.port)
    }

    /// What a further target begins with.
    pub(super) fn begin(&self, session: &Session) -> Learnt {
        let fresh = || Learnt::of(session.features()).recall(session.tricks(), &lock(&self.kept));
        *lock(&self.learnt).get_or_insert_with(fresh)
    }

    /// Takes in what a target has learnt, for the others and for the next run.
    pub(super) fn publish(&self, learnt: Learnt) {
        *lock(&self.learnt) = Some(learnt);
        let Some(memory) = &self.memory else { return };
        let text = self.tricks.to_text(&learnt.lines());
        let mut kept = lock(&self.kept);
        if *kept != text {
            memory.keep(&self.place(), &text);
            *kept = text;
        }
    }

    /// Connects and logs in. Whether the root is there shows when it is listed.
    pub fn connect(&self) -> Result<FtpReplica> {
        FtpReplica::of(self.log_in()?, self)
    }

    /// The server's address, if user and password went there in the clear through a network that is not one's own.
    pub fn overheard_on_the_way_to(&self) -> Option<IpAddr> {
        self.overheard.get().copied()
    }

    pub(super) fn log_in(&self) -> Result<Session> {
        let location = &self.location;
        let password = match location.password.reveal() {
            "" if location.user == ANONYMOUS => ANONYMOUS_PASSWORD,
            password => password,
        };
        let account = Account {
            user: &location.user,
            password,
        };
        let settings = Settings {
            timeout: self.limits.timeout,
            ways: Arc::clone(&self.ways),
            utf8: location.habits.encoding == Encoding::Utf8,
            tricks: Arc::clone(&self.tricks),
            halt: self.halt.clone(),
        };
        let (host, port) = (&location.host, location.port);
        let session = Session::open(host, port, account, &settings, &self.security)?;
        if let Some(welcome) = &self.welcome {
            welcome();
        }
        let address = session.peer().ip();
        if session.is_clear() && !location.password.reveal().is_empty() && !is_private(address) {
            let _ = self.overheard.set(address);
        }
        Ok(session)
    }
}

/// The ways to open data connections, the first one first.
fn ways(data: DataMode, passive: &[Passive]) -> Vec<Way> {
    let way = |passive: &Passive| match passive {
        Passive::Epsv => Way::Epsv,
        Passive::Pasv => Way::Pasv,
    };
    match (data, passive) {
        (DataMode::Active, _) => vec![Way::Active],
        (DataMode::Passive, []) => vec![Way::Epsv, Way::Pasv, Way::Active],
        (DataMode::Passive, wished) => wished.iter().map(way).collect(),
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one assignment, so a panic elsewhere leaves nothing half done.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
