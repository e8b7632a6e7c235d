//! The algorithm.

pub mod classify;
pub mod event;
