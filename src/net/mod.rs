//! Sockets: opening them within a time, and moving bytes through them within a time, in the clear or through TLS.

mod dial;
mod halt;
mod pipe;
mod stream;
mod tls;

pub use std::net::IpAddr;

pub use dial::{connect, dial, is_private};
pub use halt::Halt;
pub use pipe::Pipe;
pub use stream::Stream;
pub use tls::{BACKEND, Secured, Tickets, TlsClient};
