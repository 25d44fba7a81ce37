//! Scans: some fields of all records that match, in batches of columns, for whoever groups, joins or sorts them. Records
//! come in no order, so nothing is unpacked but what is asked for. [`GroupCounts`] is the first of those who do.
//!
//! A field's value is what [`Fields::field`] finds; a level is its text, or its class where it has none, a time is in
//! nanoseconds since the epoch, and null is as good as absent.

mod groups;
mod projection;
#[cfg(test)]
mod tests;

pub use self::groups::GroupCounts;
pub(crate) use self::projection::{Own, Projection, Projector, cell_of, cell_of_id};

use crate::chunks::CHUNK_ROWS;
use millrace_filter::Filter;
#[cfg(doc)]
use millrace_model::Fields;
use millrace_model::{FieldRef, TimeRange, Value};
use std::ops::ControlFlow;

/// The most rows of a batch. A sealed shard gives a chunk at a time.
pub const BATCH_ROWS: usize = CHUNK_ROWS;

/// Which fields, of which records.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanRequest {
    /// Which records.
    pub filter: Filter,
    /// When.
    pub range: TimeRange,
    /// Which of their fields.
    pub fields: Vec<FieldRef>,
    /// How many records at most.
    pub limit: usize,
}

/// Some records of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// How many; never none, at most [`BATCH_ROWS`].
    pub rows: usize,
    /// The fields, in the order in which they were asked for.
    pub columns: Vec<Cells>,
}

/// The values of one field.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cells {
    /// Values that occur; where they repeat, mostly once each.
    pub values: Vec<Value>,
    /// Of each row, which of the values it has, or [`ABSENT`].
    pub codes: Vec<u32>,
}

/// The code of a row without a value.
pub const ABSENT: u32 = u32::MAX;

impl Cells {
    /// The value of a row.
    pub fn get(&self, row: usize) -> Option<&Value> {
        self.values.get(*self.codes.get(row)? as usize)
    }

    pub(crate) fn push(&mut self, value: Option<Value>) {
        match value {
            Some(value) => {
                self.codes.push(self.values.len() as u32);
                self.values.push(value);
            }
            None => self.codes.push(ABSENT),
        }
    }

    /// So many rows with one value.
    pub(crate) fn uniform(value: Option<Value>, rows: usize) -> Self {
        let code = if value.is_some() { 0 } else { ABSENT };
        Self { values: value.into_iter().collect(), codes: vec![code; rows] }
    }

    fn truncate(&mut self, rows: usize) {
        self.codes.truncate(rows);
    }
}

/// Hands batches out until there are enough of them, or nobody wants more.
pub(crate) struct Delivery<'v> {
    left: usize,
    visit: &'v mut dyn FnMut(Batch) -> ControlFlow<()>,
}

impl<'v> Delivery<'v> {
    pub(crate) fn new(limit: usize, visit: &'v mut dyn FnMut(Batch) -> ControlFlow<()>) -> Self {
        Self { left: limit, visit }
    }

    /// Are more rows wanted?
    pub(crate) fn is_open(&self) -> bool {
        self.left > 0
    }

    pub(crate) fn give(&mut self, mut batch: Batch) {
        if batch.rows > self.left {
            batch.rows = self.left;
            batch.columns.iter_mut().for_each(|cells| cells.truncate(self.left));
        }
        if batch.rows == 0 {
            return;
        }
        self.left -= batch.rows;
        if (self.visit)(batch).is_break() {
            self.left = 0;
        }
    }
}
