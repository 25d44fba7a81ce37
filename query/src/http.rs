//! The HTTP API. [`router`] is its table of contents; `CONTRACT.md` its shape.
#![expect(unused_qualifications, reason = "what utoipa writes is qualified where it need not be")]

pub mod alerts;
pub mod audit;
mod catalogue;
pub mod context;
pub mod csv;
pub mod dead_letters;
pub(crate) mod described;
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
mod openapi;
pub mod page;
pub mod parameters;
pub(crate) mod piped;
mod pipeline;
mod proposals;
pub mod reprocess;
pub mod router;
pub mod rules;
pub mod search;
mod silences;
pub mod streams;
pub mod summaries;
pub mod tail;
mod tokens;
pub mod traffic;
mod triage;

pub use error::ApiError;
pub use openapi::document;
pub use router::{Api, router};
