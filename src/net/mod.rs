//! Sockets: opening them within a time, and moving bytes through them within a time.

mod dial;
mod stream;

pub use dial::{connect, dial};
pub use stream::Stream;
