//! What the integration tests share: real FTP servers and temporary directories.

// Each test program takes in all of this as a module of its own and uses some of it.
#![allow(dead_code, unreachable_pub)]

pub mod servers;
pub mod temp;
