//! What the integration tests share.

// Each test program takes in all of this as a module of its own and uses some of it.
#![allow(dead_code, unreachable_pub)]

pub mod faulty;
pub mod memory;
pub mod temp;
