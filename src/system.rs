//! What the operating system offers and `std` does not: directory handles, exact times, locks, signals, the terminal.
//!
//! Names are bytes, sizes and times have 64 bits on every machine, and no call here follows a symbolic link in the
//! last name it is given. Nothing above these files may need `unsafe`.

// The one place where system calls are made by hand; everywhere else the lint stands.
#![allow(unsafe_code)]

mod bell;
mod disk;
mod files;
mod process;
mod signals;
mod status;
mod terminal;
mod zone;

pub use bell::Bell;
pub use disk::*;
pub use files::*;
pub use process::*;
pub use signals::*;
pub use status::*;
pub use terminal::*;
pub use zone::*;
