//! An SFTP client without cryptography of its own: packets, a session with requests in flight, and the SSH program that
//! carries them.
//!
//! | file | what is in it |
//! |---|---|
//! | `request`, `packet` | requests and replies as bytes, no I/O |
//! | `session` | any number of requests in flight over two pipes, every wait with an end |
//! | `ssh` | `ssh` or `dbclient` as a child on a terminal of its own: what it is told, asked and complains of |

pub mod packet;
mod request;
mod session;
mod ssh;

pub use packet::{Attributes, Handle, Reply, Status, code};
pub use request::{Access, Request};
pub use session::{Channel, Session};
pub use ssh::{Answers, Client, Program, Secrecy, Terms};
