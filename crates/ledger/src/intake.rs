//! From a message's bytes to rows: what every consumer of the topic does first.
//!
//! [`read`] decodes; [`Ledger::account`] tells what is new in it and gives each record its id. A message of somebody
//! else's has no ranges: it is taken once because its offset is.

use crate::{Ledger, Outcome};
use bytes::Bytes;
use millrace_model::{
    LogRecord, Partition, RecordId, SourceId, StreamName, Timestamp, TopicId,
    wire::{self, Decoded, Envelope, Run, RunKind, SkipReason},
};

/// Where a message lay.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// Which incarnation of it.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The offset.
    pub offset: i64,
    /// The broker's time for it, for records that bring none.
    pub timestamp: Timestamp,
}

/// A message, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A batch of one of our agents.
    Batch(Box<Envelope>, Vec<LogRecord>),
    /// Plain OTLP.
    Foreign(StreamName, Vec<LogRecord>),
    /// The topic's first message.
    Marker(TopicId),
    /// Cannot be decoded: a dead letter. Its range still counts, where its headers can be read.
    Dead {
        /// Why.
        reason: String,
        /// What it would have covered.
        envelope: Option<Box<Envelope>>,
    },
}

/// A message after the ledger.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Accounted {
    /// The stream of its records.
    pub stream: StreamName,
    /// The new records with their ids.
    pub records: Vec<(RecordId, LogRecord)>,
    /// How much of it was new; `None` for messages without ranges.
    pub outcome: Option<Outcome>,
    /// It opened a derived source.
    pub stray: bool,
}

/// Decodes a message.
pub fn read(headers: &[(String, Bytes)], value: &[u8]) -> Reading {
    match wire::decode(headers, value) {
        Ok(Decoded::Batch(envelope, records)) => Reading::Batch(envelope, records),
        Ok(Decoded::Foreign(stream, records)) => Reading::Foreign(stream.unwrap_or_default(), records),
        Ok(Decoded::TopicMarker(id)) => Reading::Marker(id),
        Err(error) => Reading::Dead { reason: error.to_string(), envelope: wire::envelope(headers) },
    }
}

impl Ledger {
    /// The source to [load](Ledger::load) before [`account`](Self::account), if any. Ask until there is none.
    pub fn missing_for(&self, reading: &Reading) -> Option<SourceId> {
        match reading {
            Reading::Batch(envelope, records) => self.missing(envelope, records),
            Reading::Dead { envelope: Some(envelope), .. } => self.missing(envelope, &[]),
            _ => None,
        }
    }

    /// Accounts for a message and names its new records.
    pub fn account(&mut self, place: Place<'_>, reading: Reading) -> Accounted {
        match reading {
            Reading::Batch(envelope, records) => self.account_batch(place, &envelope, records),
            Reading::Dead { envelope: Some(mut envelope), .. } => {
                let length = envelope.extent.end - envelope.extent.start;
                let kind = RunKind::Skipped(SkipReason::Undecodable);
                envelope.extent.runs = if length > 0 { vec![Run { length, kind }] } else { Vec::new() };
                self.account_batch(place, &envelope, Vec::new())
            }
            Reading::Foreign(stream, records) => {
                let source = foreign_source(place);
                let name = |(index, mut record): (usize, LogRecord)| {
                    if record.observed_timestamp == Timestamp::default() {
                        record.observed_timestamp = place.timestamp;
                    }
                    (RecordId { source, position: place.offset as u64, index: index as u32 }, record)
                };
                Accounted {
                    stream,
                    records: records.into_iter().enumerate().map(name).collect(),
                    ..Accounted::default()
                }
            }
            Reading::Marker(_) | Reading::Dead { envelope: None, .. } => Accounted::default(),
        }
    }

    fn account_batch(&mut self, place: Place<'_>, envelope: &Envelope, records: Vec<LogRecord>) -> Accounted {
        let applied = self.apply(place.partition, envelope, records);
        let source = applied.source;
        Accounted {
            stream: envelope.stream.clone(),
            records: applied
                .records
                .into_iter()
                .map(|(position, record)| (RecordId { source, position, index: 0 }, record))
                .collect(),
            outcome: Some(applied.outcome),
            stray: applied.stray,
        }
    }
}

/// One source for all foreign messages of a partition.
fn foreign_source(place: Place<'_>) -> SourceId {
    let topic_id = place.topic_id.map_or([0; 16], |id| id.0.to_be_bytes());
    SourceId::derived(&[b"foreign", place.topic.as_bytes(), &topic_id, &place.partition.0.to_be_bytes()])
}
