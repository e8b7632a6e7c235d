//! RECORD: what both sides were after the last sync, in one archive for each local root and peer.
//!
//! ```text
//!  home ─ open ─▶ Archive ── block ─▶ Block of records        (look reads them)
//!                 Journal ◀─ intend, note                     (carry writes it)
//!                    └─ save ─▶ the next archive, beside, synced, renamed
//! ```
//!
//! [`open()`] finds the archive, makes sure that it can be believed and takes over what pyftpsync left. A [`Journal`] notes each
//! step before it is made, and what is true after it. [`save()`] makes the next archive of both. The [`Register`] knows what must
//! be known when the root itself is gone.
//!
//! Inside: `archive` is what is remembered, `block` the records of one directory, `line` and `format` how they are read and
//! written, `index` where they are in the file, `inventory` what lies there of all peers, `layers` what a journal changes, `home` where all of it lies.

mod adopt;
mod archive;
mod archive_file;
mod block;
mod fields;
mod format;
mod header;
mod home;
mod index;
mod inventory;
mod journal;
mod layers;
mod line;
mod lines;
mod object;
mod open;
mod peer;
mod pyftpsync;
mod register;
mod remote_times;
mod save;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod scratch;
mod servers;
mod writer;

pub(crate) mod json;

pub use archive::{Change, DirFacts, Intent, Part, Record, Shown, What};
pub use archive_file::Archive;
pub use block::Block;
pub use home::{Home, HomeLock};
pub use inventory::{Keeps, Kept};
pub use journal::Journal;
pub use open::{Mode, Opened, open};
pub use peer::PeerKey;
pub use register::{JobId, Register, Remembered, state_dir};
pub use remote_times::{RemoteTimes, TrueTime};
pub use save::save;
pub use servers::Servers;
