//! Elasticsearch's search API, without its HTTP: what clients ask, said as filters and pipes, and what they are answered.
//!
//! - [`query`] reads the query DSL and gives an expression of the filter language.
//! - [`aggs`] reads aggregations, lowers each to pipes over the records that were found, and joins the tables that come back.
//! - [`request`] reads bodies and parameters of `_search`, `_msearch`, `_count` and `_bulk`.
//! - [`fields`] knows what the fields of an index are, and makes records of documents and documents of records.
//! - [`response`] shapes answers.
//!
//! Pure: no I/O, and what time it is, is passed in. Imports `model`, `filter` and `pipes`.
//!
//! **Invariants:**
//! - No input makes it panic or take memory out of proportion: depth, clauses, buckets and expressions are bounded.
//! - What is not understood is an error as Elasticsearch has it, never left out in silence.

pub mod aggs;
pub mod date;
mod error;
pub mod fields;
mod json;
pub mod query;
pub mod request;
pub mod response;
mod wildcard;
mod zone;

pub use error::Error;
pub use wildcard::Wildcard;
pub use zone::Zone;

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod testing;
