//! The SSH program as a child: `ssh` of OpenSSH or `dbclient` of dropbear, on a terminal of its own.
//!
//! It has keys, agents, settings and jump hosts; what it wants to know it asks on its terminal, where each question is
//! answered at most once, and only if it is about this job's user and host. No secret is in its arguments, its environment
//! or a file.

mod command;
mod complaint;
mod program;
mod prompt;

pub use command::{Client, Terms};
pub use program::Program;

use crate::error::Result;
use crate::job::Secret;

/// Somebody who knows passwords, or can ask the user.
pub trait Answers: Send + Sync {
    /// The password of that user on the job's host; none where nobody knows it. It is looked up when it is asked for: keys
    /// and agent come first.
    fn password(&self, user: &str) -> Result<Option<Secret>>;

    /// The server took a login by the password that was given.
    fn password_taken(&self) {}

    /// Whatever else the program asks, as it asks it; none where there is nobody to answer.
    fn ask(&self, question: &str, secrecy: Secrecy) -> Result<Option<Secret>>;
}

/// Whether an answer may be seen while it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// It is a password or a key's phrase.
    Secret,
    /// It is a word.
    Plain,
}
