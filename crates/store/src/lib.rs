//! Shards: temporary.
mod bundle;
mod documents;
mod error;
mod hot;
mod layout;
mod leaf { #[path="rows_as_otlp.rs"] mod rows_as_otlp; pub(crate) use rows_as_otlp::unhex; }
mod seal;
mod tables;
#[cfg(test)]
mod sample;
mod terms;
pub use bundle::SCHEMA_VERSION;
pub use error::Error;
pub use hot::{HotRow, HotRows, HotShard};
pub use seal::{SealInput, SealedBundle, seal};
