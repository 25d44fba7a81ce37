//! The HTTP API. [`router`] is its table of contents; `CONTRACT.md` its shape.

pub mod alerts;
pub mod audit;
mod catalogue;
pub mod context;
pub mod csv;
pub mod dead_letters;
mod elastic;
pub mod error;
mod explain;
pub mod export;
pub mod fields;
pub mod gzip;
mod histogram;
pub mod hit;
pub mod hosts;
mod login;
mod loki;
pub mod page;
pub mod parameters;
mod piped;
mod pipeline;
pub mod reprocess;
pub mod router;
pub mod search;
pub mod streams;
pub mod summaries;
pub mod tail;
mod tokens;
pub mod traffic;

pub use error::ApiError;
pub use router::{Api, router};
