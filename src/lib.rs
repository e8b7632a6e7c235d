//! Keeps a local directory in step with an FTP server: upload, download and both ways.
//!
//! # The house
//!
//! ```text
//!  argv ─cli─▶ Job ─run─▶ replicas, lock, archive
//!                          │
//!   ┌──────────────────────▼──────────────────────────────────────────────────┐
//!   │ look     both listings and the archive's block of a directory  ─▶ Found │ workers look ahead
//!   │ plan     status ▸ proposal ▸ conflict ▸ policy; guards         ─▶ Plan  │ pure but for the walk
//!   │ carry    make ▸ rename ▸ copy ▸ delete, deepest first          ─▶ Done  │ workers
//!   │ record   what was truly made equal                        ─▶ archive    │ journal, then whole
//!   └──────────────────────┬──────────────────────────────────────────────────┘
//!                          └─ Event ─▶ screen ─▶ lines, progress, summary, exit code
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `program` | from the arguments of a process to its exit code |
//! | [`mod@run`] | joins the parts of a run: replicas, lock, archive. What a library user calls, too: [`Run`] |
//! | `tasks` | task files: from a task to the words that [`cli`] reads |
//! | [`cli`], [`login`] | from words to a [`job::Job`]: flags, addresses, pattern files; passwords |
//! | [`screen`] | to the user: lines, progress, exit code; questions; the keyboard |
//! | [`sync`] | THE ALGORITHM. Start at [`sync::run()`]. Knows replicas by their trait, never a socket |
//! | [`survey`] | one target by itself: its tree, what runs have left there |
//! | [`replica`] | the two sides behind one trait: [`replica::LocalReplica`], [`replica::FtpReplica`] |
//! | [`ftp`] | an FTP client; its parsers are sans-io, its session is a queue of commands and replies |
//! | `sftp` | an SFTP client over an SSH program that is there: packets sans-io, requests in flight by id |
//! | [`net`] | sockets with deadlines that know what they are waiting for |
//! | [`job`], [`path`], [`side`], [`time`], [`error`] | the floor: what everybody speaks of |
//! | [`process`] | programs that are run for what they say, with a deadline |
//! | `words` | how numbers, times and spans are written for a person |
//! | [`system`] | what Linux offers and std does not; the only `unsafe` |
//!
//! Arrows go down only, also inside [`sync`], and `tests/layers.rs` holds that.
//!
//! # Where a change belongs
//!
//! A new rule of syncing: [`sync::plan::decide`] (and a row in its tests). Something that must never happen:
//! [`sync::plan::guard`]. Something to be remembered: [`sync::record`]. A
//! quirk of a server: [`replica::FtpReplica`]; a reply nobody could parse: [`ftp`]. Another kind of replica: implement
//! [`replica::Replica`] and [`replica::Connect`], run `tests/conformance.rs` over it, and hand it to [`Run::with_remote`]. A
//! flag: [`cli`].
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod program;

pub mod run;

pub mod cli;
#[cfg(feature = "yaml")]
pub mod tasks;

pub mod login;

pub mod screen;

pub mod survey;

pub mod sync;

pub mod replica;

pub mod ftp;

#[cfg(feature = "sftp")]
pub mod sftp;

pub mod net;

pub mod error;
pub mod job;
pub mod path;
pub mod process;
pub mod side;
pub mod system;
pub mod time;
mod words;

pub use program::run;
pub use run::Run;
