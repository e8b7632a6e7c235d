//! Everything beyond the textbook: what a server may be asked to bear for the sake of speed, and what it was found to bear.
//!
//! A session begins with the dialogue that every server has heard since 1985: one command, then its reply; a port right
//! before the transfer that uses it; the connection before the command. Each way to be faster is one [`Trick`], and
//! [`TABLE`] says of each what it saves, which servers are known to bear it, and how it is tried on one that nobody knows:
//! once, early, with nothing at stake. What fails is given up for good: the session is renewed, and what was not confirmed
//! is done again by the book.
//!
//! All sessions with one server share what was learnt, and it has a form as text, by which the next run begins where this one ended.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::command::Iac;
use super::features::Features;
use super::ports::Way;
use super::software::Software;
use crate::path::Escaped;

/// A way to be faster than the textbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// Commands are sent before the ones before them are answered, a small segment at a time.
    Ahead,
    /// More of them while replies come.
    Stream,
    /// A passive port is asked for before it is needed.
    PortInHand,
    /// The next passive port is asked for at the end of a download, before the reply that ends it.
    PortAtEnd,
    /// The command of a transfer is sent before its data connection stands.
    CommandFirst,
    /// The data connection is opened, and even used, before the command that is to use it was answered.
    EarlyConnection,
    /// A name that is denied, in a directory that can be entered, is absent.
    Denials,
    /// `MLSD` shows all names, those that begin with a dot, too.
    WholeMlsd,
}

/// What there is to say of a trick.
struct Row {
    trick: Trick,
    name: &'static str,
    saves: &'static str,
    /// The servers that were seen to bear it; of the others nobody knows what they descend from.
    vouched: &'static [Software],
    trial: Trial,
}

/// How a trick is tried on a server that nobody vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// At login, with commands that change nothing and whose replies are known.
    Login,
    /// With a listing, which is asked for again by the book where that goes wrong.
    Listing,
    /// With a name whose absence, or presence, a listing has proven.
    Look,
    /// Not at all: what is lost by it is not told.
    Never,
}

const ALL: &[Software] = &[
    Software::Vsftpd,
    Software::Proftpd,
    Software::PureFtpd,
    Software::Pyftpdlib,
    Software::Inetutils,
    Software::Busybox,
];

const TABLE: [Row; 8] = [
    Row {
        trick: Trick::Ahead,
        name: "commands ahead",
        saves: "a round trip for each command of a batch but one",
        vouched: ALL,
        trial: Trial::Login,
    },
    Row {
        trick: Trick::Stream,
        name: "stream of commands",
        saves: "a round trip for each segment of a long batch",
        // ProFTPD takes no line end that is torn apart by two of its reads: it joins such a line with the next one, so that
        // a reply is missing and all that follow belong to other commands. A segment that arrives whole at a server that
        // has read everything before is read at once.
        vouched: &[
            Software::Vsftpd,
            Software::PureFtpd,
            Software::Pyftpdlib,
            Software::Inetutils,
            Software::Busybox,
        ],
        trial: Trial::Never,
    },
    Row {
        trick: Trick::PortInHand,
        name: "port in hand",
        saves: "a round trip for each transfer",
        vouched: ALL,
        trial: Trial::Login,
    },
    Row {
        trick: Trick::PortAtEnd,
        name: "port at the end",
        saves: "a round trip between two downloads",
        vouched: ALL,
        trial: Trial::Listing,
    },
    Row {
        trick: Trick::CommandFirst,
        name: "command first",
        saves: "a round trip for each transfer",
        vouched: ALL,
        trial: Trial::Listing,
    },
    Row {
        trick: Trick::EarlyConnection,
        name: "early connection",
        saves: "two round trips for each small upload",
        // They look at a data connection only once they run the command: what was sent before waits in the socket. Others
        // may have an event loop, as pyftpdlib has, which drops a connection that ends before the command has arrived, and
        // never says so.
        vouched: &[
            Software::Vsftpd,
            Software::Proftpd,
            Software::PureFtpd,
            Software::Inetutils,
            Software::Busybox,
        ],
        trial: Trial::Never,
    },
    Row {
        trick: Trick::Denials,
        name: "denials believed",
        saves: "a listing for each question whether a name is there",
        vouched: ALL,
        trial: Trial::Look,
    },
    Row {
        trick: Trick::WholeMlsd,
        name: "whole MLSD",
        saves: "a second listing that shows what the first one hides",
        vouched: ALL,
        trial: Trial::Listing,
    },
];

fn row(trick: Trick) -> &'static Row {
    let row = TABLE.iter().find(|row| row.trick == trick);
    row.expect("every trick has its row")
}

/// Commands on their way without a reply: enough to hide a round trip, few enough to know what was done when the
/// connection is lost.
const MOST_AHEAD: usize = 256;

/// The longest command line of a server that is not known to take more: old BSD servers cut at 512 bytes and run the
/// rest as a command.
const MAX_LINE_BYTES: usize = 500;
/// The longest command line of a server that is known to be newer: pyftpdlib takes 2048 bytes, all others more.
const MAX_LINE_BYTES_NEWER: usize = 2000;

/// How a trick fared with this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untried,
    Held,
    GivenUp,
}

/// What the sessions with one server have learnt.
#[derive(Debug)]
pub struct Tricks(Mutex<Learnt>);

#[derive(Debug)]
struct Learnt {
    /// The letters of the greeting; none before the first session.
    greeting: Option<String>,
    /// What an earlier run learnt, until the greeting shows whether it was of this server.
    remembered: Vec<u8>,
    states: [State; TABLE.len()],
    /// Ways to open data connections that led nowhere.
    failed_ways: Vec<Way>,
    /// Whether the server wants to know the transfer before it offers a port (DrFTPD).
    wants_plan: bool,
    /// The most commands on their way.
    most: usize,
    /// The most that were ever answered in one go.
    proven: usize,
    /// Whether a session was lost with several commands on their way.
    has_lost: bool,
    /// Whether commands that were refused when they were sent ahead were refused when sent alone, too.
    means_refusals: bool,
    /// Whether somebody has logged in with this account.
    has_let_in: bool,
    /// How many are logged in now.
    inside: usize,
}

impl Default for Tricks {
    fn default() -> Self {
        Self::remembering(Vec::new())
    }
}

impl Tricks {
    /// With what an earlier run learnt, as [`Tricks::to_text`] wrote it.
    pub fn remembering(remembered: Vec<u8>) -> Self {
        Self(Mutex::new(Learnt {
            greeting: None,
            remembered,
            states: [State::Untried; TABLE.len()],
            failed_ways: Vec::new(),
            wants_plan: false,
            most: MOST_AHEAD,
            proven: 1,
            has_lost: false,
            means_refusals: false,
            has_let_in: false,
            inside: 0,
        }))
    }

    /// Takes in a greeting: where it is the one of an earlier run, what that learnt holds.
    pub(super) fn meet(&self, greeting: &[u8]) {
        let mut learnt = self.lock();
        if learnt.greeting.is_some() {
            return;
        }
        let letters = letters(greeting);
        let remembered = std::mem::take(&mut learnt.remembered);
        let mut lines = lines(&remembered);
        if lines.next() == Some(("server", letters.as_str())) {
            for (key, value) in lines {
                learnt.take_line(key, value);
            }
        }
        learnt.greeting = Some(letters);
    }

    /// Takes in what the server is, as far as it shows: its tricks are vouched for.
    pub(super) fn vouch(&self, software: Software) {
        let mut learnt = self.lock();
        for (row, state) in TABLE.iter().zip(&mut learnt.states) {
            if *state == State::Untried && row.vouched.contains(&software) {
                *state = State::Held;
            }
        }
    }

    /// Whether the server bears it.
    pub fn holds(&self, trick: Trick) -> bool {
        self.state(trick) == State::Held
    }

    /// Whether it is to be tried where its trial is.
    pub fn is_untried(&self, trick: Trick) -> bool {
        let row = row(trick);
        row.trial != Trial::Never && self.state(trick) == State::Untried
    }

    /// The server was found to bear it.
    pub fn hold(&self, trick: Trick) {
        let state = &mut self.lock().states[trick as usize];
        if *state == State::Untried {
            let row = row(trick);
            log::debug!(
                "the server bears it: {}, which saves {}",
                row.name,
                row.saves
            );
            *state = State::Held;
        }
    }

    /// The server does not bear it, or nobody can tell.
    pub fn give_up(&self, trick: Trick, why: &dyn std::fmt::Display) {
        let state = &mut self.lock().states[trick as usize];
        if *state != State::GivenUp {
            log::debug!(
                "by the book from now on, without {}: {why}",
                row(trick).name
            );
            *state = State::GivenUp;
        }
    }

    fn state(&self, trick: Trick) -> State {
        self.lock().states[trick as usize]
    }

    /// The most commands that may be on their way.
    pub(super) fn most(&self) -> usize {
        let learnt = self.lock();
        match learnt.states[Trick::Ahead as usize] {
            State::Held => learnt.most,
            State::Untried | State::GivenUp => 1,
        }
    }

    /// So many commands were on their way, and all were answered.
    pub(super) fn answered(&self, count: usize) {
        let mut learnt = self.lock();
        learnt.proven = learnt.proven.max(count);
    }

    /// So many commands were on their way when the session was lost.
    ///
    /// A server that loses such commands shows it by silence, by closing or by refusing them. A line that breaks looks the
    /// same; so the fault is surely the server's where more commands were on their way than it ever answered in one go, and
    /// otherwise where it happens again.
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
        !self.lock().means_refusals && self.most() > 1
    }

    /// A refused command was sent alone: whether the server took it then.
    pub(super) fn sent_again(&self, was_taken: bool) {
        if was_taken {
            self.give_up(Trick::Ahead, &"the server refuses commands sent ahead");
        } else {
            self.lock().means_refusals = true;
        }
    }

    /// The way to open data connections: the first that has not failed; the first of all where all have.
    pub(super) fn way(&self, wished: &[Way]) -> Way {
        let learnt = self.lock();
        let is_open = |way: &&Way| !learnt.failed_ways.contains(way);
        let way = wished.iter().find(is_open).or_else(|| wished.first());
        way.copied().unwrap_or(Way::Epsv)
    }

    /// That way led nowhere; whether there is another one.
    pub(super) fn fail_way(&self, way: Way, wished: &[Way]) -> bool {
        let mut learnt = self.lock();
        if !learnt.failed_ways.contains(&way) {
            log::debug!("no more data connections by {way}");
            learnt.failed_ways.push(way);
        }
        let has_other = wished.iter().any(|way| !learnt.failed_ways.contains(way));
        if !has_other {
            // The next transfer may begin with the first again: the line may have been at fault.
            learnt.failed_ways.clear();
        }
        has_other
    }

    /// Whether `PRET` comes before a passive port is asked for.
    pub(super) fn wants_plan(&self) -> bool {
        self.lock().wants_plan
    }

    /// The server wants it.
    pub(super) fn plan(&self) {
        self.lock().wants_plan = true;
    }

    /// Whether the account was ever let in: a refusal is not about its password then.
    pub(super) fn has_let_in(&self) -> bool {
        self.lock().has_let_in
    }

    /// The account was let in.
    pub(super) fn let_in(&self) {
        let mut learnt = self.lock();
        learnt.has_let_in = true;
        learnt.inside += 1;
    }

    /// One that was let in has left.
    pub(super) fn leave(&self) {
        self.lock().inside -= 1;
    }

    /// Whether other sessions with this account are in.
    pub(super) fn are_others_in(&self) -> bool {
        self.lock().inside > 0
    }

    /// How many tricks were given up.
    pub(super) fn given_up(&self) -> usize {
        let learnt = self.lock();
        let given_up = learnt
            .states
            .iter()
            .filter(|state| **state == State::GivenUp);
        given_up.count()
    }

    /// What was learnt, a line each; the first names the server. `more` are lines of others.
    pub fn to_text(&self, more: &[(&str, String)]) -> Vec<u8> {
        let learnt = self.lock();
        let mut text = format!(
            "server {}\n",
            learnt.greeting.as_deref().unwrap_or_default()
        );
        for (row, state) in TABLE.iter().zip(learnt.states) {
            let key = match state {
                State::Untried => continue,
                State::Held => "bears",
                State::GivenUp => "lacks",
            };
            text.push_str(&format!("{key} {}\n", row.name));
        }
        for way in &learnt.failed_ways {
            text.push_str(&format!("fails {way}\n"));
        }
        if learnt.wants_plan {
            text.push_str("wants PRET\n");
        }
        if learnt.most < MOST_AHEAD {
            text.push_str(&format!("most {}\n", learnt.most));
        }
        for (key, value) in more {
            text.push_str(&format!("{key} {value}\n"));
        }
        text.into_bytes()
    }

    /// The lines of `text` behind its first, where that names this server: key and value.
    pub fn lines_of<'t>(&self, text: &'t [u8]) -> impl Iterator<Item = (&'t str, &'t str)> {
        let mut lines = lines(text);
        let is_same = match (lines.next(), &self.lock().greeting) {
            (Some(("server", told)), Some(greeting)) => told == greeting,
            _ => false,
        };
        lines.filter(move |_| is_same)
    }

    fn lock(&self) -> MutexGuard<'_, Learnt> {
        // Nothing can panic while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learnt {
    /// Lines that this version does not know are passed over.
    fn take_line(&mut self, key: &str, value: &str) {
        let state = match key {
            "bears" => State::Held,
            "lacks" => State::GivenUp,
            "fails" => {
                self.failed_ways.extend(Way::named(value));
                return;
            }
            "wants" => {
                self.wants_plan |= value == "PRET";
                return;
            }
            "most" => {
                let most = value.parse().unwrap_or(1);
                self.most = most.clamp(1, MOST_AHEAD);
                return;
            }
            _ => return,
        };
        if let Some(place) = TABLE.iter().position(|row| row.name == value) {
            self.states[place] = state;
        }
    }
}

/// Key and value of each line.
fn lines(text: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.split_once(' '))
}

/// What of a greeting is the same each time: no clock, no count of users.
fn letters(greeting: &[u8]) -> String {
    const MOST: usize = 100;
    let letters: Vec<u8> = greeting
        .iter()
        .copied()
        .filter(|byte| byte.is_ascii_alphabetic() || *byte == b' ')
        .take(MOST)
        .collect();
    Escaped(letters.trim_ascii()).to_string()
}

/// How long a command line may be and how 0xFF is sent, as far as the server shows what it is.
pub(super) const fn line_limits(software: Software, features: &Features) -> (usize, Iac) {
    let (is_newer, iac) = match software {
        // Newer, though it has no MLST.
        Software::Vsftpd => (true, Iac::Single),
        Software::PureFtpd => (features.mlst, Iac::Single),
        Software::Proftpd | Software::Inetutils => (features.mlst, Iac::Doubled),
        Software::Pyftpdlib | Software::Busybox | Software::Unknown => {
            (features.mlst, Iac::Refused)
        }
    };
    let max_line_bytes = if is_newer {
        MAX_LINE_BYTES_NEWER
    } else {
        MAX_LINE_BYTES
    };
    (max_line_bytes, iac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vouched(software: Software) -> Tricks {
        let tricks = Tricks::default();
        tricks.vouch(software);
        tricks
    }

    #[test]
    fn the_table_stands_in_the_order_of_the_tricks() {
        for (place, row) in TABLE.iter().enumerate() {
            assert_eq!(row.trick as usize, place, "{}", row.name);
        }
    }

    #[test]
    fn nothing_is_taken_for_granted_of_an_unknown_server() {
        let tricks = vouched(Software::Unknown);
        for row in &TABLE {
            assert!(!tricks.holds(row.trick), "{}", row.name);
            assert_eq!(tricks.is_untried(row.trick), row.trial != Trial::Never);
        }
        assert_eq!(tricks.most(), 1);
    }

    #[test]
    fn only_known_servers_are_sent_a_stream_or_early_data() {
        assert!(vouched(Software::Vsftpd).holds(Trick::Stream));
        assert!(!vouched(Software::Proftpd).holds(Trick::Stream));
        assert!(vouched(Software::Proftpd).holds(Trick::EarlyConnection));
        assert!(!vouched(Software::Pyftpdlib).holds(Trick::EarlyConnection));
    }

    #[test]
    fn what_was_given_up_is_not_vouched_for_any_more() {
        let tricks = Tricks::default();
        tricks.give_up(Trick::PortInHand, &"it was lost");
        tricks.hold(Trick::PortInHand);
        tricks.vouch(Software::Vsftpd);
        assert!(!tricks.holds(Trick::PortInHand) && !tricks.is_untried(Trick::PortInHand));
    }

    #[test]
    fn only_more_than_was_ever_answered_is_doubted() {
        let tricks = vouched(Software::Vsftpd);
        tricks.answered(5);
        tricks.lost(5);
        assert_eq!(tricks.most(), MOST_AHEAD, "the line may have been cut");
        let tricks = vouched(Software::Vsftpd);
        tricks.answered(5);
        tricks.lost(200);
        assert_eq!(tricks.most(), 5);
    }

    #[test]
    fn what_happens_twice_is_no_accident() {
        let tricks = vouched(Software::Vsftpd);
        tricks.answered(5);
        tricks.lost(1);
        tricks.lost(1);
        assert_eq!(tricks.most(), MOST_AHEAD, "nothing was sent ahead");
        tricks.lost(3);
        tricks.lost(3);
        assert_eq!(tricks.most(), 1);
    }

    #[test]
    fn what_was_refused_again_was_meant_and_what_was_taken_alone_goes_alone() {
        let tricks = vouched(Software::Vsftpd);
        assert!(tricks.doubts_refusals());
        tricks.sent_again(false);
        assert!(!tricks.doubts_refusals());
        assert_eq!(tricks.most(), MOST_AHEAD);
        let tricks = vouched(Software::Vsftpd);
        tricks.sent_again(true);
        assert_eq!(tricks.most(), 1);
        assert!(!tricks.doubts_refusals());
    }

    #[test]
    fn what_was_learnt_comes_back_as_text() {
        let tricks = Tricks::default();
        tricks.meet(b"Welcome, user 3 of 50\nno 17:31");
        tricks.hold(Trick::Ahead);
        tricks.give_up(Trick::PortInHand, &"why not");
        tricks.fail_way(Way::Epsv, &[Way::Epsv, Way::Pasv]);
        tricks.lost(9);
        let text = tricks.to_text(&[("lists", "LIST".to_owned())]);
        let again = Tricks::remembering(text.clone());
        assert!(!again.holds(Trick::Ahead), "it may be another server");
        again.meet(b"Welcome, user 4 of 50\nno 18:02");
        assert!(again.holds(Trick::Ahead) && !again.is_untried(Trick::PortInHand));
        assert_eq!(again.way(&[Way::Epsv, Way::Pasv]), Way::Pasv);
        assert_eq!(again.to_text(&[("lists", "LIST".to_owned())]), text);
        assert!(again.lines_of(&text).any(|line| line == ("lists", "LIST")));
        let other = Tricks::remembering(text.clone());
        other.meet(b"Hello");
        assert!(other.is_untried(Trick::Ahead));
        assert_eq!(other.lines_of(&text).count(), 0);
    }

    #[test]
    fn a_spoilt_text_is_no_harm() {
        let text = b"server x\nbears commands ahead\nmost 7\nlacks port in hand\nfails EPSV\n";
        for place in 0..text.len() {
            for byte in 0..=255 {
                let mut changed = text.to_vec();
                changed[place] = byte;
                let tricks = Tricks::remembering(changed);
                tricks.meet(b"x");
                assert!((1..=MOST_AHEAD).contains(&tricks.most()));
            }
        }
    }

    #[test]
    fn long_lines_go_only_to_servers_known_to_take_them() {
        let old = Features::default();
        let newer = Features {
            mlst: true,
            ..Features::default()
        };
        assert_eq!(line_limits(Software::Inetutils, &old), (500, Iac::Doubled));
        assert_eq!(line_limits(Software::Vsftpd, &old), (2000, Iac::Single));
        assert_eq!(
            line_limits(Software::Pyftpdlib, &newer),
            (2000, Iac::Refused)
        );
        assert_eq!(line_limits(Software::Unknown, &old), (500, Iac::Refused));
    }
}
