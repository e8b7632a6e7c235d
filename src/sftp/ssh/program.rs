//! The child process: started on a terminal of its own, attended while it logs in, and gone when this is dropped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, write};

use super::command::{Client, Dialect, Terms, plain};
use super::complaint::{self, Heard};
use super::prompt::{self, Question};
use super::{Answers, Secrecy};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::job::{HostKeys, Mask, Pin};
use crate::path::Escaped;
use crate::process::take_in;
use crate::sftp::session::Channel;
use crate::system::Pty;

/// So much of what the program says is kept: its last words are those that count.
const KEPT_BYTES: usize = 8 * 1024;

/// A program whose input has ended leaves within 35 ms; one that does not is told, and then killed.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// Between two looks at whether it has left.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A running SSH program.
pub struct Program {
    child: Child,
    /// None once it has ended.
    stderr: Option<OwnedFd>,
    terminal: Pty,
    dialect: Dialect,
    name: String,
    terms: Terms,
    answers: Arc<dyn Answers>,
    said: Vec<u8>,
    printed: Vec<u8>,
    asked_about: Option<Pin>,
    is_key_settled: bool,
    was_told_password: bool,
    /// What was typed, and is not to be shown.
    mask: Mask,
}

impl Program {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the program; what it logs in to is behind the channel.
    pub fn start(client: &Client, terms: &Terms, answers: Arc<dyn Answers>) -> Result<Channel> {
        let failed = |error: &io::Error| {
            let name = client.name();
            Error::new(ErrorKind::Usage(format!(
                "{name} cannot be started: {}",
                plain(error)
            )))
        };
        let terminal = Pty::open().map_err(|error| failed(&error))?;
        let mut command = client.command(terms);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        terminal.control(&mut command);
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(&io::ErrorKind::BrokenPipe.into()));
        };
        let program = Self {
            child,
            stderr: Some(stderr.into()),
            terminal,
            dialect: client.dialect(),
            name: client.name(),
            terms: terms.clone(),
            answers,
            said: Vec::new(),
            printed: Vec::new(),
            asked_about: None,
            is_key_settled: false,
            was_told_password: false,
            mask: Mask::default(),
        };
        for fd in program.descriptors() {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|errno| failed(&errno.into()))?;
        }
        Ok(Channel {
            input: stdout.into(),
            output: stdin.into(),
            program: Some(program),
        })
    }

    /// Where it says something beside the packets.
    pub(in crate::sftp) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        stderr.into_iter().chain([self.terminal.ours.as_fd()])
    }

    /// Takes in what it says, and answers what it asks.
    pub(in crate::sftp) fn attend(&mut self) -> Result<()> {
        self.take_complaints();
        take_in(self.terminal.ours.as_fd(), &mut self.printed, KEPT_BYTES);
        if let Some(question) = prompt::find(&self.printed) {
            let text = String::from_utf8_lossy(&self.printed).into_owned();
            self.printed.clear();
            return self.answer(question, &text);
        }
        if self.dialect == Dialect::Dropbear
            && !self.is_key_settled
            && let Some(question @ Question::HostKey { .. }) = prompt::find(&self.said)
        {
            let text = String::from_utf8_lossy(&self.said).into_owned();
            return self.answer(question, &text);
        }
        Ok(())
    }

    fn answer(&mut self, question: Question, text: &str) -> Result<()> {
        match question {
            Question::HostKey { host, pin } => {
                let is_ours = host.is_none_or(|host| prompt::is_host(&host, &self.terms.host));
                self.answer_host_key(is_ours, pin, text)
            }
            Question::HostKeyAgain => Err(self.refuse_key(self.asked_about)),
            Question::Password(Some(account)) => {
                let user = self.terms.user.as_deref();
                if prompt::is_account(&account, user, &self.terms.host) {
                    let user = user.map_or(account.0, str::to_owned);
                    self.answer_password(&user)
                } else {
                    self.relay(text)
                }
            }
            // dbclient has no jump hosts here, so that it can only be the job's.
            Question::Password(None) if self.dialect == Dialect::Dropbear => {
                let user = self.terms.user.clone().unwrap_or_default();
                self.answer_password(&user)
            }
            Question::Password(None) => self.relay(text),
            Question::Other => self.relay(text),
        }
    }

    fn answer_host_key(&mut self, is_ours: bool, pin: Option<Pin>, text: &str) -> Result<()> {
        // A pinned key proves itself, whatever the settings call its host.
        let is_pinned = match (&self.terms.host_keys, pin) {
            (HostKeys::Pins(pins), Some(shown)) => pins.contains(&shown),
            (_, _) => false,
        };
        if !is_ours && !is_pinned {
            return self.relay(text);
        }
        self.asked_about = pin;
        if self.is_key_settled {
            return Err(self.refuse_key(pin));
        }
        self.is_key_settled = true;
        let yes = match self.dialect {
            Dialect::OpenSsh => "yes",
            Dialect::Dropbear => "y",
        };
        match (&self.terms.host_keys, pin) {
            (HostKeys::AcceptNew | HostKeys::Anyone, _) => self.say(yes),
            (HostKeys::Pins(_), Some(shown)) if is_pinned => match self.dialect {
                // So that ssh compares it, too.
                Dialect::OpenSsh => self.say(&prompt::fingerprint_text(&shown)),
                Dialect::Dropbear => self.say(yes),
            },
            (HostKeys::Pins(_), _) => Err(self.refuse_key(pin)),
            (HostKeys::Known, _) => match self.answers.ask(&self.shown(text), Secrecy::Plain)? {
                Some(answer) => self.say(answer.reveal()),
                None => Err(self.refuse_key(pin)),
            },
        }
    }

    fn refuse_key(&self, pin: Option<Pin>) -> Error {
        match self.terms.host_keys {
            HostKeys::Pins(_) => complaint::wrong_pin(&self.terms, pin),
            HostKeys::Known | HostKeys::AcceptNew | HostKeys::Anyone => {
                complaint::unknown_host_key(&self.terms, pin)
            }
        }
    }

    /// A second question means that the password was wrong; asking on would only lock the account.
    fn answer_password(&mut self, user: &str) -> Result<()> {
        if self.was_told_password {
            return Err(complaint::login_refused(&self.terms, true, None));
        }
        match self.answers.password(user)? {
            Some(password) => {
                self.was_told_password = true;
                self.mask.add(password.reveal().as_bytes());
                self.say(password.reveal())
            }
            None => {
                let host = Escaped(self.terms.host.as_bytes());
                let who = Escaped(user.as_bytes());
                Err(ErrorKind::Login(format!(
                    "the server wants the password of {who}@{host}, and there is none; give it by --password-file, \
                     --password-command, CORACLE_PASSWORD or ~/.netrc, or let a key log in"
                ))
                .into())
            }
        }
    }

    /// What is not about this job's account is the user's to answer.
    fn relay(&mut self, text: &str) -> Result<()> {
        let question = text.trim_start_matches(['\r', '\n']);
        let secrecy = if question.contains("(yes/no") || question.contains("(y/n)") {
            Secrecy::Plain
        } else {
            Secrecy::Secret
        };
        let question = &self.shown(question);
        match self.answers.ask(question, secrecy)? {
            Some(answer) => {
                if secrecy == Secrecy::Secret {
                    self.mask.add(answer.reveal().as_bytes());
                }
                self.say(answer.reveal())
            }
            None => {
                let last = question
                    .rsplit(['\r', '\n'])
                    .next()
                    .unwrap_or(question)
                    .trim_end();
                Err(ErrorKind::Login(format!(
                    "{} asks \"{}\", and there is nobody to answer",
                    self.name,
                    Escaped(last.as_bytes())
                ))
                .into())
            }
        }
    }

    /// SFTP has begun: whatever was typed was right.
    pub(in crate::sftp) fn is_in(&self) {
        if self.was_told_password {
            self.answers.password_taken();
        }
    }

    /// A text of the program without what was typed.
    pub(in crate::sftp) fn shown(&self, text: &str) -> String {
        let shown = self.mask.hide(text.as_bytes());
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Types a line.
    fn say(&self, line: &str) -> Result<()> {
        let bytes = [line.as_bytes(), b"\n"].concat();
        match write(&self.terminal.ours, &bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            // A terminal takes 4 KiB at once; no answer is so long.
            Ok(_) => Err(ErrorKind::Login("the answer is too long".to_owned()).into()),
            Err(errno) => Err(ErrorKind::Network(errno.into()).into()),
        }
    }

    /// A pipe that has ended is always ready, so it is looked at no more.
    fn take_complaints(&mut self) {
        if let Some(stderr) = &self.stderr
            && take_in(stderr.as_fd(), &mut self.said, KEPT_BYTES)
        {
            self.stderr = None;
        }
    }

    /// Why it ended; none where it did not say.
    pub(in crate::sftp) fn explain_end(&mut self) -> Option<Error> {
        self.leave();
        self.take_complaints();
        complaint::explain(&Heard {
            stderr: &self.said,
            dialect: self.dialect,
            terms: &self.terms,
            asked_about: self.asked_about,
            was_told_password: self.was_told_password,
            mask: &self.mask,
        })
    }

    /// Why SFTP did not begin in time.
    pub(in crate::sftp) fn explain_silence(&self) -> Error {
        let error = Error::new(ErrorKind::Timeout(Phase::Login));
        match self.dialect {
            Dialect::OpenSsh => error,
            // It says nothing where the server refuses to begin.
            Dialect::Dropbear => {
                error.while_doing("starting SFTP, which a server without it may leave unanswered")
            }
        }
    }

    /// Waits until it has left; its input has ended.
    fn leave(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
            if let Some(signal) = signal {
                // It is still our child: nobody has waited for it.
                let _ = kill(pid, signal);
            }
            let until = Instant::now() + LEAVE_WAIT;
            while Instant::now() < until {
                // An error means that there is nothing left to wait for.
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(LOOK_EVERY);
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.leave();
    }
}
