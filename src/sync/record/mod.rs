//! RECORD: what both sides were after the last sync, in one archive for each local root and peer.
//!
//! ```text
//!  home ─ open ─▶ Archive ── block ─▶ Block of records        (look reads them)
//!                 Journal ◀─ intend, note                     (carry writes it)
//!                    └─ save ─▶ the next archive, beside, synced, renamed
//! ```
//!
//! [`archive`] says what is remembered, [`format`](mod@format) how it is written. [`open()`] finds and checks it and takes over what pyftpsync
//! left; a [`Journal`] notes each step before it is made and after; [`save()`] makes one archive of both. The register knows
//! what must be known when the root itself is gone.

mod adopt;
mod archive;
mod archive_file;
mod block;
mod fields;
mod format;
mod header;
mod home;
mod index;
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
mod writer;

pub(crate) mod json;

pub use archive::{Change, DirFacts, Intent, Part, Record, Shown, What};
pub use archive_file::Archive;
pub use block::Block;
pub use home::Home;
pub use journal::Journal;
pub use open::{Mode, Opened, open};
pub use peer::PeerKey;
pub use register::{JobId, Register, Remembered, state_dir};
pub use remote_times::{RemoteTimes, TrueTime};
pub use save::save;
