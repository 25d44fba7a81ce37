//! The language by examples, and by random queries.

mod errors;
mod log;
mod metric;
mod random;
