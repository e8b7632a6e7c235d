//! Keeps a local directory in step with an FTP server.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod sync;

pub mod target;

pub mod ftp;
pub mod net;

pub mod error;
pub mod job;
pub mod path;
pub mod side;
pub mod time;
