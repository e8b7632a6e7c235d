//! Keeps a local directory in step with an FTP server.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod run;

pub mod cli;
pub mod credentials;
pub mod patterns;
pub mod url;

pub mod ask;
pub mod report;
pub mod terminal;

pub mod sync;

pub mod target;

pub mod ftp;

pub mod net;

pub mod error;
pub mod job;
pub mod path;
pub mod side;
pub mod system;
pub mod time;

pub use run::run;
