//! The lock stays fresh while it is held.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Claim, Sign, file, lost};
use crate::error::{Doing, ErrorKind, Result, Scope};
use crate::replica::Replica;
use crate::time::Timestamp;

/// A refresh that is due is left to a worker with nothing to do for this share of the interval; then a transfer is suspended.
const GRACE_SHARE: u32 = 8;

/// Keeps the lock fresh while it is held, whoever comes to it first: a worker between two files or with nothing to do, and where
/// all are in the middle of long transfers the first that can suspend its own. So no server is asked for anything while it
/// transfers, and none is asked for a connection more.
#[derive(Debug)]
pub struct Keeping<'env> {
    holder: &'env str,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    held: Option<Sign>,
    /// Whether another run broke it: nothing more is to be done.
    is_lost: bool,
    due: Instant,
    /// Whether a transfer may be suspended for it: some servers cannot go on with one.
    may_suspend: bool,
}

impl<'env> Keeping<'env> {
    /// No lock yet.
    pub fn new(holder: &'env str, every: Duration, may_suspend: bool) -> Self {
        Self {
            holder,
            every,
            state: Mutex::new(State {
                held: None,
                is_lost: false,
                due: Instant::now(),
                may_suspend,
            }),
        }
    }

    /// Who holds it.
    pub const fn holder(&self) -> &'env str {
        self.holder
    }

    /// From now on this lock is held.
    pub fn hold(&self, sign: Sign) {
        let mut state = self.state();
        state.held = Some(sign);
        state.due = Instant::now() + self.every;
    }

    /// From now on it is not; what stands for it is to be removed.
    pub fn let_go(&self) -> Option<Sign> {
        self.state().held.take()
    }

    /// Whether it is to be refreshed, or is lost.
    pub fn is_due(&self) -> bool {
        let state = self.state();
        state.is_lost || state.held.is_some() && state.due <= Instant::now()
    }

    /// Whether a transfer is to be suspended for it.
    pub fn wants_a_pause(&self) -> bool {
        let state = self.state();
        let until = state.due + self.every / GRACE_SHARE;
        state.is_lost || state.held.is_some() && state.may_suspend && until <= Instant::now()
    }

    /// No transfer is suspended any more: this server cannot go on with it.
    pub fn spare_transfers(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.may_suspend) && state.held.is_some() {
            log::info!(
                "the server bears no suspended transfers; the remote lock is not refreshed in the middle of transfers any more"
            );
        }
    }

    /// Refreshes it where that is due and nobody else is at it. Fails where the session does, and with `Locked` where another
    /// run has broken the lock.
    pub fn keep(&self, remote: &mut dyn Replica) -> Result<()> {
        let Some((old, number)) = self.begin()? else {
            return Ok(());
        };
        let claim = Claim {
            holder: self.holder,
            breaks: false,
            may_have_file: false,
            now: Timestamp::now(),
        };
        let kept = match number {
            Some(number) => claim.refresh(remote, &old, number),
            None => file::write(remote, self.holder, claim.now),
        };
        match kept.doing(|| "refreshing the remote lock") {
            Ok(()) => {
                let mut state = self.state();
                state.due = Instant::now() + self.every;
                if let (Some(Sign::Marks(marks)), Some(number)) = (&mut state.held, number) {
                    *marks = vec![number];
                }
                Ok(())
            }
            // It is tried again soon.
            Err(error) if error.scope() == Scope::Entry => {
                log::info!("{error}");
                Ok(())
            }
            Err(error) => {
                if matches!(error.kind(), ErrorKind::Locked(_)) {
                    let mut state = self.state();
                    (state.held, state.is_lost) = (None, true);
                }
                Err(error)
            }
        }
    }

    /// The marks to be replaced, and the number of the new one; nobody else begins before some time has passed.
    fn begin(&self) -> Result<Option<(Vec<i64>, Option<i64>)>> {
        let mut state = self.state();
        if state.is_lost {
            return Err(lost());
        }
        if state.due > Instant::now() {
            return Ok(None);
        }
        state.due = Instant::now() + self.every / GRACE_SHARE;
        Ok(match &mut state.held {
            Some(Sign::Marks(marks)) => {
                let old = marks.clone();
                let number = old.iter().max().expect("a lock has a mark") + 1;
                marks.push(number);
                Some((old, Some(number)))
            }
            Some(Sign::File) => Some((Vec::new(), None)),
            None => None,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
