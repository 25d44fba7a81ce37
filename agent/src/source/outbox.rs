//! The batch that one source is filling, and the way out of the reader: `Batch` → `Payload`, within the budget.

use super::{Context, Mark, Reading, Shipment};
use crate::{budget::Stopped, metrics::Kind};
use millrace_intake::{Batch, Heading, Redacted, batch::Raw};
use millrace_model::{
    SourceId, StreamName,
    wire::{SkipReason, SourceClose, SourceOpen},
};
use std::time::Instant;

/// One source's way out.
#[derive(Debug)]
pub(crate) struct Outbox {
    source: SourceId,
    /// Goes with the first message.
    opening: Option<SourceOpen>,
    batch: Batch,
    /// When the batch was begun.
    since: Option<Instant>,
    record_bytes: u64,
    /// The stream of the batch, where it is not the source's.
    stream: Option<StreamName>,
}

impl Outbox {
    pub(crate) fn new(source: SourceId, start: u64, opening: Option<SourceOpen>) -> Self {
        Self { source, opening, batch: Batch::new(start), since: None, record_bytes: 0, stream: None }
    }

    pub(crate) fn source(&self) -> SourceId {
        self.source
    }

    pub(crate) fn end(&self) -> u64 {
        self.batch.end()
    }

    /// When the batch was begun; `None` if there is none.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Has nothing ever been shipped, nor is anything to be?
    pub(crate) fn is_untouched(&self) -> bool {
        self.opening.is_some() && self.batch.is_empty()
    }

    pub(crate) fn is_full_for(&self, bytes: usize, context: &Context) -> bool {
        self.batch.is_full_for(bytes, &context.limits)
    }

    /// What follows belongs to this stream, or to the source's. Ships the batch if it is another's.
    pub(crate) fn turn_to(
        &mut self,
        stream: Option<StreamName>,
        mark: Mark,
        context: &Context,
    ) -> Result<(), Stopped> {
        if self.stream != stream {
            self.seal(mark, None, context)?;
            self.stream = stream;
        }
        Ok(())
    }

    /// The record that the next `length` positions hold, `weight` bytes of which it keeps.
    pub(crate) fn record(&mut self, length: u64, weight: usize, raw: Raw<'_>, record: Redacted) {
        self.batch.record(length, weight, raw, record);
        self.record_bytes += weight.max(1) as u64;
        self.touch();
    }

    /// The next `length` positions are no record.
    pub(crate) fn skip(&mut self, length: u64, raw: Raw<'_>, reason: SkipReason, context: &Context) {
        self.batch.skip(length, raw, reason);
        let bytes = match raw {
            Raw::Bytes(bytes) => bytes.len() as u64,
            Raw::Digest { length, .. } => length,
        };
        context.metrics.read_bytes.get_or_create(&Kind { kind: context.kind }).inc_by(bytes);
        context.metrics.dropped(reason, bytes);
        self.touch();
    }

    fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Ships the batch, if there is anything to say. Waits for room. Blocks.
    pub(crate) fn seal(
        &mut self,
        mark: Mark,
        close: Option<SourceClose>,
        context: &Context,
    ) -> Result<(), Stopped> {
        if self.batch.is_empty() && close.is_none() {
            return Ok(());
        }
        let closes = close.is_some();
        let heading = Heading {
            stream: self.stream.as_ref().unwrap_or(&context.stream).clone(),
            sender: context.sender,
            source: self.source,
            open: self.opening.take(),
            close,
        };
        let sealed = self.batch.seal(heading);
        let record_bytes = std::mem::take(&mut self.record_bytes);
        self.since = None;

        let weight = sealed.payload.value.len() + size_of_val(&sealed.seams[..]);
        let hold = context.budget.take(weight, &context.stop)?;
        let kind = Kind { kind: context.kind };
        context.metrics.read_bytes.get_or_create(&kind).inc_by(record_bytes);
        context.metrics.read_records.get_or_create(&kind).inc_by(sealed.records as u64);
        context.metrics.in_flight_bytes.inc_by(record_bytes as i64);
        context.metrics.in_flight_records.inc_by(sealed.records as i64);
        let shipment = Shipment { source: self.source, sealed, mark, closes, record_bytes, hold };
        context.tell(Reading::Shipment(Box::new(shipment)))
    }
}
