//! Other programs' records.
