//! The algorithm.

pub mod peer;

pub mod journal;
pub mod metadata;
pub mod register;

pub mod classify;
pub mod digest;
pub mod event;

mod json;

#[cfg(test)]
mod scratch;
