//! What becomes of a password: it is kept once a server took it, if that was asked for; and one that was kept is told where it is
//! when it is refused.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Account, CredentialOptions, Place, keyring};
use crate::error::{Error, ErrorKind};
use crate::job::ANONYMOUS;
use crate::path::Escaped;

/// Keeps the password of one job's server.
#[derive(Debug)]
pub struct Keeper {
    host: String,
    port: u16,
    is_asked: bool,
    state: Mutex<State>,
}

/// Something the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// What was done.
    Notice(String),
    /// What went wrong.
    Warning(String),
}

#[derive(Debug, Default)]
struct State {
    /// Who logs in by a password that is to be kept.
    account: Option<Account>,
    /// Where the password was kept, if it was.
    place: Option<Place>,
    remarks: Vec<Remark>,
}

impl Keeper {
    /// Keeps a password for that host and port if the options say so. A dry run writes nothing anywhere.
    pub fn new(host: &str, port: u16, options: &CredentialOptions, dry_run: bool) -> Self {
        let mut state = State::default();
        if options.store && dry_run {
            let text = "nothing is written, so no password is kept, either";
            state.remarks.push(Remark::Notice(text.to_owned()));
        }
        Self {
            host: host.to_owned(),
            port,
            is_asked: options.store && !dry_run,
            state: Mutex::new(state),
        }
    }

    /// Takes note of who is about to log in.
    pub fn note(&self, account: &Account) {
        let mut state = self.state();
        state.place.clone_from(&account.kept);
        // Nobody's password is no secret, and what is kept already is not kept again.
        let is_new = account.kept.is_none() && !["", ANONYMOUS].contains(&account.user.as_str());
        state.account = (self.is_asked && is_new).then(|| account.clone());
    }

    /// The server took the login. Called at each of them; the first one counts.
    pub fn welcome(&self) {
        // Taken out first: to ask a keyring may take long, and others come in meanwhile.
        let Some(account) = self.state().account.take() else {
            return;
        };
        let who = format!("the password of {}", self.who(&account));
        let remarks = match keyring::keep(&self.host, self.port, &account) {
            Ok((place, complaint)) => {
                let complaint = complaint
                    .map(|reason| Remark::Warning(format!("the keyring is not used: {reason}")));
                let kept = Remark::Notice(format!("{who} is kept in {place}"));
                complaint.into_iter().chain([kept]).collect()
            }
            Err(reason) => vec![Remark::Warning(format!("{who} is not kept: {reason}"))],
        };
        self.state().remarks.extend(remarks);
    }

    /// What there is to tell, once.
    pub fn remarks(&self) -> Vec<Remark> {
        std::mem::take(&mut self.state().remarks)
    }

    /// What helps where the login was refused with a password that was kept.
    pub fn advice(&self, error: &Error) -> Option<String> {
        let ErrorKind::Login(_) = error.kind() else {
            return None;
        };
        let state = self.state();
        let place = state.place.as_ref()?;
        Some(format!(
            "the password that was refused is kept in {place}; --prompt --store-password replaces it"
        ))
    }

    fn who(&self, account: &Account) -> String {
        format!("{}@{}", Escaped(account.user.as_bytes()), self.host)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
