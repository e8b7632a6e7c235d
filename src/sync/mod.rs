//! The algorithm.

pub mod peer;

pub mod metadata;

pub mod classify;
pub mod event;

mod json;
