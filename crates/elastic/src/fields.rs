//! The fields of an index: what a mapping says of them, how their names find values of records, and how values of documents
//! and of records become one another.
//!
//! An index is a stream. Of a stream of ordinary records a name finds what the query language finds by it: `message` is the
//! line, `log.level` the level, others are looked for among attributes and resource. Of a stream of *documents*, one that was
//! made by `PUT /{index}` or by `_bulk`, each name is that attribute and nothing else; only `@timestamp` is the record's time.
//!
//! - Dates of documents are numbers in attributes: milliseconds since the epoch, or nanoseconds where they are `date_nanos`.
//! - `x.keyword` is `x`, matched whole.

mod document;
mod kind;
mod mapping;
mod source;
#[cfg(test)]
mod tests;

pub use document::{MAX_DEPTH, record_of};
pub use kind::{Kind, Resolved, Stored};
pub use mapping::Mapping;
pub use source::{SourceFilter, leaves, source_of, values_at};
