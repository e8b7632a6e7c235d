//! Keeps a local directory in step with an FTP server: upload, download and both ways.
//!
//! # The house
//!
//! ```text
//!  argv ─cli─▶ Job ─run─▶ replicas, locks, memory
//!                            │
//!   ┌────────────────────────▼───────────────────────────────────────────────┐
//!   │ glance    what is proven to be as recorded (--quick-scan) (a worker)   │
//!   │ survey    both listings and the records of a directory    (workers)    │
//!   │ scan      local ∪ remote ∪ recorded names, in order       ─▶ Pair      │
//!   │ classify  each side against its record                    ─▶ Status    │ pure
//!   │ decide    propose ▸ resolve conflict ▸ apply policy       ─▶ Action    │ pure
//!   │ guard     the finished plan, before anything is done      ─▶ refusal   │ pure
//!   │ execute   directories ▸ files ▸ deletions, deepest first  (workers)    │
//!   │ record    what was truly made equal                       ─▶ Metadata  │ atomic
//!   └────────────────────────┬───────────────────────────────────────────────┘
//!                            └─ Event ─▶ screen ─▶ lines, totals, exit code
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `run` | joins the parts: the only place that knows all of them |
//! | [`cli`], [`login`] | from words to a [`job::Job`]: flags, addresses, pattern files; passwords |
//! | [`screen`] | to the user: lines, progress, exit code; questions; the keyboard |
//! | [`sync`] | THE ALGORITHM. Start at [`sync::run`]. Knows replicas by their trait, never a socket or a file |
//! | [`replica`] | the two replicas behind one trait: [`replica::LocalReplica`], [`replica::FtpReplica`] |
//! | [`ftp`] | an FTP client; its parsers are sans-io, its session is a queue of commands and replies |
//! | `sftp` | an SFTP client over an SSH program that is there: packets sans-io, requests in flight by id |
//! | [`net`] | sockets with deadlines that know what they are waiting for |
//! | [`job`], [`path`], [`side`], [`time`], [`error`] | the floor: what everybody speaks of |
//! | [`system`] | what Linux offers and std does not; the only `unsafe` |
//!
//! Arrows go down only, and `tests/layers.rs` holds that.
//!
//! # Where a change belongs
//!
//! A new rule of syncing: [`sync::decide`] (and a row in its tests). Something that must never happen: [`sync::guard`]. A
//! quirk of a server: [`replica::FtpReplica`]; a reply nobody could parse: [`ftp`]. Another kind of replica: implement
//! [`replica::Replica`] and run `tests/conformance.rs` over it. A flag: [`cli`].
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod run;

pub mod cli;
pub mod login;

pub mod screen;

pub mod sync;

pub mod replica;

pub mod ftp;

#[cfg(feature = "sftp")]
pub mod sftp;

pub mod net;

pub mod error;
pub mod job;
pub mod path;
pub mod side;
pub mod system;
pub mod time;

pub use run::run;
