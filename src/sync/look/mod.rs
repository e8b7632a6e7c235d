//! Looking: what both sides show of a directory and what the archive remembers of it, put side by side. No decisions.
//!
//! [`directory`] is done by workers, ahead of the walk; [`pair`] puts the three lists together by name; [`spelling`] finds the names that a side
//! changed; [`filter`] says which
//! entries take part; [`quick`] finds out with few round trips which remote directories need not be listed.

pub mod directory;
pub mod filter;
pub mod pair;
pub mod quick;
pub mod recall;
pub mod seal;
pub mod spelling;

pub use directory::{Found, Pair, Terms, partial_path, survey};
pub use pair::Places;
