//! Records of one source, gathered until they are worth a message.
//!
//! A batch accounts for every byte between its start and its end: each run is a record or says why it is none. When
//! a batch is sealed is its owner's decision; [`Limits`] says when it should be.

use crate::Redacted;
use millrace_model::{
    SourceId, StreamName,
    wire::{self, Envelope, Extent, Payload, Run, RunKind, Sender, SkipReason, SourceClose, SourceOpen},
};
use std::time::Duration;

/// When a batch is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of lines. A single longer line is a batch of its own.
    pub bytes: usize,
    /// Records.
    pub records: usize,
    /// How long its first run may wait.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 << 10, records: 2_000, age: Duration::from_millis(50) }
    }
}

/// The raw bytes behind a run.
#[derive(Debug, Clone, Copy)]
pub enum Raw<'a> {
    /// At hand.
    Bytes(&'a [u8]),
    /// They passed by.
    Digest {
        /// Their CRC-32C.
        crc32c: u32,
        /// How many.
        length: u64,
    },
}

/// The checksum and number of a batch's raw bytes up to the end of one of its runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seam {
    /// CRC-32C so far.
    pub crc32c: u32,
    /// Raw bytes so far.
    pub raw: u64,
}

impl Seam {
    fn after(self, raw: Raw<'_>) -> Self {
        match raw {
            Raw::Bytes(bytes) => {
                Self { crc32c: crc32c::crc32c_append(self.crc32c, bytes), raw: self.raw + bytes.len() as u64 }
            }
            Raw::Digest { length: 0, .. } => self,
            Raw::Digest { crc32c, length } => Self {
                crc32c: crc32c::crc32c_combine(self.crc32c, crc32c, length as usize),
                raw: self.raw + length,
            },
        }
    }

    /// The same seam counted from `start` on.
    pub(crate) fn from(self, start: Self) -> Self {
        let raw = self.raw - start.raw;
        let crc32c = match raw {
            0 => 0,
            length => self.crc32c ^ crc32c::crc32c_combine(start.crc32c, 0, length as usize),
        };
        Self { crc32c, raw }
    }
}

/// What a message says besides its records.
#[derive(Debug, Clone)]
pub struct Heading {
    /// The stream of its records.
    pub stream: StreamName,
    /// Who sends it.
    pub sender: Sender,
    /// What it was read from.
    pub source: SourceId,
    /// On a source's first message.
    pub open: Option<SourceOpen>,
    /// On its last.
    pub close: Option<SourceClose>,
}

/// A batch as a message, and what is needed to make smaller ones of it.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The message.
    pub payload: Payload,
    /// The first position inside.
    pub start: u64,
    /// The first position after.
    pub end: u64,
    /// One for each run.
    pub seams: Vec<Seam>,
    /// How many records.
    pub records: usize,
}

/// Records and gaps of one source in order, without a break.
#[derive(Debug)]
pub struct Batch {
    start: u64,
    end: u64,
    runs: Vec<Run>,
    seams: Vec<Seam>,
    records: Vec<Redacted>,
    weight: usize,
}

impl Batch {
    /// An empty batch that goes on at `start`.
    pub fn new(start: u64) -> Self {
        Self { start, end: start, runs: Vec::new(), seams: Vec::new(), records: Vec::new(), weight: 0 }
    }

    /// The first position after what is in it.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many records.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// Must it be sealed before a line of `bytes` may be added?
    pub fn is_full_for(&self, bytes: usize, limits: &Limits) -> bool {
        !self.is_empty()
            && (self.weight + bytes > limits.bytes
                || self.records.len() >= limits.records
                || self.runs.len() >= limits.records.saturating_mul(4))
    }

    /// Adds the record that the next `length` positions hold; `weight` is the number of bytes that it keeps of them.
    pub fn record(&mut self, length: u64, weight: usize, raw: Raw<'_>, record: Redacted) {
        self.records.push(record);
        self.weight += weight;
        self.extend(length, raw, RunKind::Record);
    }

    /// Accounts for the next `length` positions, which are no record.
    pub fn skip(&mut self, length: u64, raw: Raw<'_>, reason: SkipReason) {
        if length == 0 {
            return;
        }
        let kind = RunKind::Skipped(reason);
        if let (Some(run), Some(seam)) = (self.runs.last_mut(), self.seams.last_mut())
            && run.kind == kind
            && reason != SkipReason::OverLong
        {
            run.length += length;
            *seam = seam.after(raw);
            self.end += length;
        } else {
            self.extend(length, raw, kind);
        }
    }

    fn extend(&mut self, length: u64, raw: Raw<'_>, kind: RunKind) {
        let seam = self.seams.last().copied().unwrap_or_default().after(raw);
        self.seams.push(seam);
        self.runs.push(Run { length, kind });
        self.end += length;
    }

    /// Makes the message; the batch is empty afterwards and goes on where it ended.
    pub fn seal(&mut self, heading: Heading) -> Sealed {
        let Heading { stream, sender, source, open, close } = heading;
        let extent = Extent {
            start: self.start,
            end: self.end,
            crc32c: self.seams.last().map_or(0, |seam| seam.crc32c),
            runs: std::mem::take(&mut self.runs),
        };
        let envelope = Envelope { stream, sender, source, extent, open, close };
        let payload = wire::encode(&envelope, self.records.iter().map(Redacted::record));
        let sealed = Sealed {
            payload,
            start: self.start,
            end: self.end,
            seams: std::mem::take(&mut self.seams),
            records: self.records.len(),
        };
        self.runs = envelope.extent.runs;
        self.runs.clear();
        self.records.clear();
        self.weight = 0;
        self.start = self.end;
        sealed
    }
}

#[cfg(test)]
pub(crate) mod tests;
