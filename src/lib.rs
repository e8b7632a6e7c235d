//! Keeps a local directory in step with an FTP server.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]
