//! Scans: some fields of all records that match, for whoever groups or sorts them. Records come in no order, and a field is
//! read only when it is asked for. [`GroupCounts`] is the first of those who do.
//!
//! A field's value is what [`Fields::field`] finds, as [`cell_of`] has it.

mod groups;
mod projection;
#[cfg(test)]
mod tests;

pub use self::groups::GroupCounts;
pub(crate) use self::projection::{Own, Projection, Projector, cell_of_id};
pub(crate) use millrace_pipes::cell_of;

use crate::chunks::CHUNK_ROWS;
#[cfg(doc)]
use millrace_model::Fields;

/// The most rows that come at once. A sealed shard gives a chunk at a time.
pub(crate) const BATCH_ROWS: usize = CHUNK_ROWS;
