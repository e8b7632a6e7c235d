//! The algorithm.

pub mod classify;
pub mod decide;
pub mod event;
pub mod filter;
pub mod guard;
pub mod pool;
pub mod resolve;
pub mod scan;
