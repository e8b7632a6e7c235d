//! Bytes and lines.
