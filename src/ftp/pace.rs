//! What is learnt of a server about commands that are sent before the ones before them are answered. All sessions with one
//! server share it: what one of them has met, none has to meet again.
//!
//! A server that loses such commands shows it by silence, by closing or by refusing them. A line that breaks looks the
//! same; so the fault is surely the server's where more commands were on their way than it ever answered in one go, and
//! otherwise where it happens again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;

/// Commands on their way without a reply: enough to hide a round trip, few enough to know what was done when the
/// connection is lost.
const MOST_AHEAD: usize = 256;

/// How far ahead a server may be sent commands.
#[derive(Debug)]
pub struct Pace(Mutex<Learnt>);

#[derive(Debug)]
struct Learnt {
    /// The most commands on their way.
    most: usize,
    /// The most that were ever answered in one go.
    proven: usize,
    /// Whether a session was lost with several commands on their way.
    has_lost: bool,
    /// Whether commands that were refused when they were sent ahead were refused when sent alone, too.
    means_refusals: bool,
    /// Whether a passive port is still good when other commands came after it.
    keeps_ports: bool,
    /// Whether it may be asked for the next port at the end of a download, before the reply that ends it.
    asks_port_at_end: bool,
    /// Whether a data connection may be opened before the command that is to use it.
    connects_early: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(Learnt {
            most: MOST_AHEAD,
            proven: 1,
            has_lost: false,
            means_refusals: false,
            keeps_ports: true,
            asks_port_at_end: true,
            connects_early: true,
        }))
    }
}

impl Pace {
    /// The most commands that may be on their way.
    pub(super) fn most(&self) -> usize {
        self.lock().most
    }

    /// So many commands were on their way, and all were answered.
    pub(super) fn answered(&self, count: usize) {
        let mut learnt = self.lock();
        learnt.proven = learnt.proven.max(count);
    }

    /// So many commands were on their way when the session was lost.
    pub(super) fn lost(&self, count: usize) {
        let mut learnt = self.lock();
        if count <= 1 {
            return;
        }
        let most = match (count > learnt.proven, learnt.has_lost) {
            (true, _) => learnt.proven,
            (false, true) => 1,
            (false, false) => learnt.most,
        };
        learnt.has_lost = true;
        if most < learnt.most {
            learnt.most = most;
            log::debug!(
                "the server may lose commands sent ahead; from now on there are at most {}",
                learnt.most
            );
        }
    }

    /// Whether a refusal may be about the command having been sent ahead.
    pub(super) fn doubts_refusals(&self) -> bool {
        let learnt = self.lock();
        !learnt.means_refusals && learnt.most > 1
    }

    /// A refused command was sent alone: whether the server took it then.
    pub(super) fn sent_again(&self, was_taken: bool) {
        let mut learnt = self.lock();
        if was_taken {
            log::debug!("the server refuses commands sent ahead; from now on there are none");
            learnt.most = 1;
        } else {
            learnt.means_refusals = true;
        }
    }

    /// Whether a passive port may be asked for before it is needed.
    pub(super) fn keeps_ports(&self) -> bool {
        self.lock().keeps_ports
    }

    /// A passive port that was in hand led nowhere.
    pub(super) fn port_failed(&self) {
        self.lock().keeps_ports = false;
    }

    /// Whether the next passive port may be asked for behind the last byte of a download, before the reply that ends it.
    pub(super) fn asks_port_at_end(&self) -> bool {
        self.lock().asks_port_at_end
    }

    /// It was asked for there, and that went wrong.
    pub(super) fn port_at_end_failed(&self, why: &Error) {
        self.lock().asks_port_at_end = false;
        log::debug!("no more ports are asked for at the end of a download: {why}");
    }

    /// Whether a data connection may be opened before the command that is to use it.
    pub(super) fn connects_early(&self) -> bool {
        self.lock().connects_early
    }

    /// One was opened so early, and the server overlooked it.
    pub(super) fn early_connection_failed(&self, why: &Error) {
        self.lock().connects_early = false;
        log::debug!("no more data connections are opened before their command: {why}");
    }

    fn lock(&self) -> MutexGuard<'_, Learnt> {
        // Nothing can panic while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_than_was_ever_answered_is_doubted() {
        let pace = Pace::default();
        pace.answered(5);
        pace.lost(5);
        assert_eq!(pace.most(), MOST_AHEAD, "the line may have been cut");
        let pace = Pace::default();
        pace.answered(5);
        pace.lost(200);
        assert_eq!(pace.most(), 5);
    }

    #[test]
    fn what_happens_twice_is_no_accident() {
        let pace = Pace::default();
        pace.answered(5);
        pace.lost(1);
        pace.lost(1);
        assert_eq!(pace.most(), MOST_AHEAD, "nothing was sent ahead");
        pace.lost(3);
        pace.lost(3);
        assert_eq!(pace.most(), 1);
    }

    #[test]
    fn what_was_refused_again_was_meant() {
        let pace = Pace::default();
        assert!(pace.doubts_refusals());
        pace.sent_again(false);
        assert!(!pace.doubts_refusals());
        assert_eq!(pace.most(), MOST_AHEAD);
    }

    #[test]
    fn what_was_taken_alone_is_sent_alone_from_then_on() {
        let pace = Pace::default();
        pace.sent_again(true);
        assert_eq!(pace.most(), 1);
        assert!(!pace.doubts_refusals());
    }
}
