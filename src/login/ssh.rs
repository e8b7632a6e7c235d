//! What the SSH program asks: the password from where all passwords come from, anything else from the user.
//!
//! Several connections ask the same; the user is asked once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Account, Asked, CredentialOptions, Keeper, Prompt, known, within_process};
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
    keeper: Arc<Keeper>,
    /// What was answered; none where nobody could. Whoever asks meanwhile waits for it.
    given: Mutex<HashMap<String, Option<Secret>>>,
}

impl SshAnswers {
    /// Answers for that host and port; a password that is given is noted by the keeper.
    pub fn new(host: &str, port: u16, options: &CredentialOptions, keeper: Arc<Keeper>) -> Self {
        Self {
            host: host.to_owned(),
            port,
            options: options.clone(),
            keeper,
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

    /// The account with the password that is known without anybody being asked.
    fn known(&self, user: &str) -> Result<Option<Account>> {
        let asked = Asked {
            host: &self.host,
            port: self.port,
            user: Some(user),
        };
        let mut warn = |text: &str| log::warn!("{text}");
        let known = within_process(&mut warn, |around| known(&asked, &self.options, around))?;
        Ok(known.password.map(|password| Account {
            user: user.to_owned(),
            password,
            kept: known.kept,
        }))
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
            let known = match self.options.prompt {
                Prompt::Always => None,
                Prompt::IfNeeded | Prompt::Never => self.known(user)?,
            };
            let account = match known {
                Some(known) => known,
                None => match self.ask_user(&prompt, Secrecy::Secret)? {
                    Some(typed) => Account::new(user.to_owned(), typed),
                    None => return Ok(None),
                },
            };
            self.keeper.note(&account);
            Ok(Some(account.password))
        })
    }

    fn password_taken(&self) {
        self.keeper.welcome();
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
