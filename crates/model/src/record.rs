//! The record: OpenTelemetry's log data model, and the record with its place.

use crate::{Attributes, RecordId, Severity, StreamName, Timestamp, Value};
use std::sync::Arc;

/// One log record, by OpenTelemetry's names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogRecord {
    /// When it happened, where the record says so.
    pub timestamp: Option<Timestamp>,
    /// When it was first seen by a collector.
    pub observed_timestamp: Timestamp,
    /// OpenTelemetry's severity number.
    pub severity: Severity,
    /// The level as the record spells it; empty if it has none.
    pub severity_text: String,
    /// The line, where the input was a line. `Bytes` where it is not valid UTF-8.
    pub body: Value,
    /// What the record is about: host, service, file. Shared by the records of a batch.
    pub resource: Arc<Attributes>,
    /// What the record says of itself.
    pub attributes: Attributes,
    /// W3C trace id.
    pub trace_id: Option<[u8; 16]>,
    /// W3C span id.
    pub span_id: Option<[u8; 8]>,
}

impl LogRecord {
    /// The time that the record is sorted and kept by: its own, else when it was observed.
    pub fn time(&self) -> Timestamp {
        self.timestamp.unwrap_or(self.observed_timestamp)
    }

    /// The level's name: as the record spells it, else its class.
    pub fn level(&self) -> &str {
        if self.severity_text.is_empty() { self.severity.class() } else { &self.severity_text }
    }
}

/// A record in its place: what a hit is made of, and what both evaluators see.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name for life.
    pub id: RecordId,
    /// The stream that it belongs to.
    pub stream: StreamName,
    /// Where it is sorted: the record's time after the bucket rules have been applied.
    pub time: Timestamp,
    /// The record itself.
    pub record: LogRecord,
}

impl Row {
    /// The total order of answers: time, then id.
    pub fn order(&self) -> (Timestamp, RecordId) {
        (self.time, self.id)
    }

    /// About how many bytes it holds in memory.
    pub fn weight(&self) -> usize {
        fn value(v: &Value) -> usize {
            24 + match v {
                Value::String(text) | Value::Text(text) => text.len(),
                Value::Bytes(bytes) => bytes.len(),
                Value::Array(values) => values.iter().map(value).sum(),
                Value::Map(map) => attributes(map),
                _ => 0,
            }
        }
        fn attributes(map: &Attributes) -> usize {
            map.iter().map(|(key, v)| 24 + key.len() + value(v)).sum()
        }
        size_of::<Self>()
            + value(&self.record.body)
            + attributes(&self.record.attributes)
            + self.record.severity_text.len()
    }
}
