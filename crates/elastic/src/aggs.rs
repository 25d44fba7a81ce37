//! Aggregations: read, lowered to pipes over the records that a search found, and answered out of the tables that come back.
//!
//! Each kind of bucket that must be counted is one [`Pipeline`]: what must hold of its records, and groups by the keys of all
//! the buckets around it and its own, with the metrics that hang directly below. [`Aggregated::respond`] joins their tables into
//! Elasticsearch's nested answer, fills in what is empty, orders and cuts, and then carries out the pipeline aggregations.
//!
//! - Counts and orders are exact: no shard leaves terms out, and so `doc_count_error_upper_bound` is 0.
//! - Ranges and filters may hold a record more than once: each of them is a pipeline of its own.
//! - Of an array its elements are keys only as far as pipes take it apart ([`needs`]).
//!
//! Bounded: depth, number of aggregations, number of pipelines, [`MAX_BUCKETS`].

mod branches;
mod calendar;
mod hits;
mod keys;
mod metric;
mod needs;
mod order;
mod parse;
mod pipeline;
mod plan;
mod respond;
mod script;
mod spec;
mod table;
#[cfg(test)]
mod tests;

pub use hits::TopHits;
pub use plan::Pipeline;
pub use respond::Responded;
pub use spec::Aggregations;

use crate::{Error, fields::Mapping};
use millrace_model::{TimeRange, Timestamp};
use millrace_pipes::Table;

/// The most buckets of one answer.
pub const MAX_BUCKETS: usize = 65_535;
/// How many rows a table may have to be shown: what [`millrace_pipes::Context::limit`] must be at least.
pub const MAX_ROWS: usize = 1_000_000;
/// How deep aggregations may nest.
const MAX_DEPTH: usize = 16;
/// The most aggregations of one request.
const MAX_AGGREGATIONS: usize = 500;
/// The most pipelines that come of them.
const MAX_PIPELINES: usize = 500;

/// Aggregations that are ready to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregated {
    pipelines: Vec<Pipeline>,
    root: plan::Scope,
}

/// Lowers aggregations. `range` is the time that all records lie in that are found.
///
/// # Errors
/// As Elasticsearch has them.
pub fn plan(
    aggregations: &Aggregations,
    mapping: &Mapping,
    now: Timestamp,
    range: TimeRange,
) -> Result<Aggregated, Error> {
    let mut planner = plan::Planner::new(mapping, now, range);
    let root = planner.root(&aggregations.entries)?;
    Ok(Aggregated { pipelines: planner.pipelines, root })
}

impl Aggregated {
    /// What is to be carried out, in one scan.
    pub fn pipelines(&self) -> &[Pipeline] {
        &self.pipelines
    }

    /// The answer, out of the tables of all pipelines in their order.
    ///
    /// # Errors
    /// There are too many buckets.
    pub fn respond(&self, tables: &[Table]) -> Result<Responded, Error> {
        respond::respond(self, tables)
    }
}
