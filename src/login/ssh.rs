//! What the SSH program asks: the password from where all passwords come from, anything else from the user.
//!
//! Several connections ask the same; the user is asked once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{CredentialOptions, Prompt, known_password};
use crate::error::Result;
use crate::job::Secret;
use crate::path::Escaped;
use crate::screen::terminal::{Keyboard, Terminal};
use crate::sftp::{Answers, Secrecy};

/// Answers for one job's server.
#[derive(Debug)]
pub struct SshAnswers {
    host: String,
    port: u16,
    options: CredentialOptions,
    /// What was answered; none where nobody could. Whoever asks meanwhile waits for it.
    given: Mutex<HashMap<String, Option<Secret>>>,
}

impl SshAnswers {
    /// Answers for that host and port.
    pub fn new(host: &str, port: u16, options: &CredentialOptions) -> Self {
        Self {
            host: host.to_owned(),
            port,
            options: options.clone(),
            given: Mutex::default(),
        }
    }

    fn once(
        &self,
        question: &str,
        answer: impl FnOnce() -> Result<Option<Secret>>,
    ) -> Result<Option<Secret>> {
        // What a thread that panicked has noted is whole all the same.
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = given.get(question) {
            return Ok(known.clone());
        }
        let answer = answer()?;
        given.insert(question.to_owned(), answer.clone());
        Ok(answer)
    }

    fn terminal(&self) -> Option<Terminal> {
        match self.options.prompt {
            Prompt::Never => None,
            Prompt::IfNeeded | Prompt::Always => Terminal::open(),
        }
    }

    fn ask_user(&self, question: &str, secrecy: Secrecy) -> Result<Option<Secret>> {
        let Some(mut terminal) = self.terminal() else {
            return Ok(None);
        };
        let lines: Vec<String> = question
            .lines()
            .map(|line| Escaped(line.as_bytes()).to_string())
            .collect();
        let prompt = lines.join("\n");
        let answer = match secrecy {
            Secrecy::Secret => terminal.read_secret(&prompt)?,
            Secrecy::Plain => terminal.read_line(&prompt)?,
        };
        Ok(Some(Secret::new(answer)))
    }
}

impl Answers for SshAnswers {
    fn password(&self, user: &str) -> Result<Option<Secret>> {
        let host = &self.host;
        let prompt = format!("Password for {user}@{host}: ");
        self.once(&prompt, || {
            if self.options.prompt != Prompt::Always
                && let Some(known) = known_password(user, host, self.port, &self.options)?
            {
                return Ok(Some(known));
            }
            self.ask_user(&prompt, Secrecy::Secret)
        })
    }

    fn ask(&self, question: &str, secrecy: Secrecy) -> Result<Option<Secret>> {
        // A code is good for one login alone.
        if secrecy == Secrecy::Plain || question.contains("passphrase") {
            self.once(question, || self.ask_user(question, secrecy))
        } else {
            self.ask_user(question, secrecy)
        }
    }
}
