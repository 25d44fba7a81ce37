//! The numbers of each document, read by document.

use crate::tables::Tables;
use millrace_model::{RecordId, Timestamp};
use std::{fmt, ops::Range, sync::Arc};
use tantivy::{
    SegmentReader, TantivyError,
    columnar::{Column, ColumnValues},
};

/// The fast fields of a shard. Every document has one value in each, but that not every record has its own time.
pub(crate) struct Columns {
    documents: u32,
    time: Arc<dyn ColumnValues<i64>>,
    timestamp: Column<i64>,
    observed: Arc<dyn ColumnValues<i64>>,
    severity: Arc<dyn ColumnValues<u64>>,
    source: Arc<dyn ColumnValues<u64>>,
    position: Arc<dyn ColumnValues<u64>>,
    index: Arc<dyn ColumnValues<u64>>,
    resource: Arc<dyn ColumnValues<u64>>,
}

impl fmt::Debug for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Columns").field("documents", &self.documents).finish_non_exhaustive()
    }
}

impl Columns {
    /// Reads all of them.
    pub(super) fn open(segment: &SegmentReader) -> Result<Self, TantivyError> {
        let fields = segment.fast_fields();
        let documents = segment.max_doc();
        let number = |name: &str| {
            let values = fields.u64(name)?.values;
            full(name, values.num_vals(), documents).map(|()| values)
        };
        let signed = |name: &str| {
            let values = fields.i64(name)?.values;
            full(name, values.num_vals(), documents).map(|()| values)
        };
        Ok(Self {
            documents,
            time: signed("time")?,
            timestamp: fields
                .column_opt("timestamp")?
                .unwrap_or_else(|| Column::build_empty_column(documents)),
            observed: signed("observed")?,
            severity: number("severity")?,
            source: number("source")?,
            position: number("position")?,
            index: number("index")?,
            resource: number("resource")?,
        })
    }

    /// How many documents there are.
    pub(crate) fn documents(&self) -> u32 {
        self.documents
    }

    pub(crate) fn time(&self, document: u32) -> Timestamp {
        Timestamp(self.time.get_val(document))
    }

    /// The record's own time, if it says one.
    pub(super) fn timestamp(&self, document: u32) -> Option<Timestamp> {
        let after = self.timestamp.first(document)?;
        Some(Timestamp(self.time.get_val(document).wrapping_add(after)))
    }

    pub(crate) fn observed(&self, document: u32) -> Timestamp {
        Timestamp(self.time.get_val(document).wrapping_add(self.observed.get_val(document)))
    }

    pub(crate) fn severity(&self, document: u32) -> u64 {
        self.severity.get_val(document)
    }

    pub(crate) fn source(&self, document: u32) -> u64 {
        self.source.get_val(document)
    }

    pub(crate) fn position(&self, document: u32) -> u64 {
        self.position.get_val(document)
    }

    pub(super) fn resource(&self, document: u32) -> u64 {
        self.resource.get_val(document)
    }

    /// The record's id; `None` where its source is not in the tables.
    pub(crate) fn id(&self, document: u32, tables: &Tables) -> Option<RecordId> {
        Some(RecordId {
            source: tables.source(self.source(document))?,
            position: self.position(document),
            index: self.index.get_val(document) as u32,
        })
    }

    /// The document of an id whose source has that ordinal.
    pub(super) fn find(&self, source: u64, id: &RecordId) -> Option<u32> {
        (0..self.documents).find(|document| {
            self.position(*document) == id.position
                && self.source(*document) == source
                && self.index.get_val(*document) == u64::from(id.index)
        })
    }

    /// The first document inside `range` whose time satisfies what all later ones satisfy too; its end if none does.
    pub(super) fn first_from(&self, range: Range<u32>, test: impl Fn(Timestamp) -> bool) -> u32 {
        bisect(range, |document| test(self.time(document)))
    }
}

fn full(name: &str, values: u32, documents: u32) -> Result<(), TantivyError> {
    if values == documents {
        return Ok(());
    }
    Err(TantivyError::SchemaError(format!("column {name} has {values} values for {documents} documents")))
}

/// The first number of `range` that satisfies what all later ones satisfy too; its end if none does.
pub(super) fn bisect(range: Range<u32>, test: impl Fn(u32) -> bool) -> u32 {
    let Range { mut start, mut end } = range;
    while start < end {
        let middle = start + (end - start) / 2;
        if test(middle) { end = middle } else { start = middle + 1 }
    }
    start
}
