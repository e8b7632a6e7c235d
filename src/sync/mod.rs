//! The algorithm.

pub mod classify;
pub mod decide;
pub mod event;
pub mod filter;
