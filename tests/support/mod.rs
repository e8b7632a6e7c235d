//! What the integration tests share.
// Every test binary compiles all of this and uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod ftp_server;
