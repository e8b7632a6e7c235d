//! An FTP client (RFC 959, 2389, 2428, 2640, 3659, 4217): parsers that touch no socket, a control connection that keeps
//! commands and replies in step, and data connections that always end with their final reply. It knows nothing of
//! syncing.

mod command;
mod data;
mod facts;
mod features;
mod list;
mod pace;
mod passive;
mod reply;
mod session;
mod software;

pub use command::{BadCommand, Command, Iac};
pub use data::Transfer;
pub use facts::{Facts, FactsKind};
pub use features::Features;
pub use list::{ListEntry, ListKind, ListLine, TimeUnit, parse_line};
pub use pace::Pace;
pub use passive::{parse_epsv, parse_pasv};
pub use reply::{Malformed, Reply};
pub use session::{Account, Security, Session, Settings};
pub use software::Software;
