//! An FTP client (RFC 959, 2389, 2428, 2640, 3659, 4217): parsers that touch no socket, a control connection that keeps
//! commands and replies in step, and data connections that always end with their final reply. It knows nothing of
//! syncing.

mod batch;
mod command;
mod control;
mod data;
mod facts;
mod features;
mod list;
mod list_date;
mod login;
mod meaning;
mod passive;
mod ports;
mod reply;
mod session;
mod software;
mod transfer;
mod tricks;

pub use command::{BadCommand, Command, Iac};
pub use facts::{Facts, FactsKind};
pub use features::Features;
pub use list::{ListEntry, ListKind, ListLine, parse_line};
pub use list_date::{DateOrder, DosDate, ListDate, Orders, TimeUnit};
pub use meaning::{Meaning, says_nothing_there};
pub use passive::{parse_epsv, parse_pasv};
pub use ports::Way;
pub use reply::{Malformed, Reply};
pub use session::{Account, Security, Session, Settings};
pub use software::Software;
pub use transfer::Transfer;
pub use tricks::{Trick, Tricks};
