//! What of every source has been seen. Messages go in; new records, and what became of the rest, come out.
//!
//! Pure: no I/O, no clock. Whoever consumes the topic (indexer, detection, live tail) keeps one [`Ledger`] a consumer,
//! loads the [`SourceState`]s that it asks for, and stores the changed ones in the same transaction that moves its
//! offsets.
//!
//! **Invariants:**
//! - A byte of a source yields its record at most once: a covered range is never handed out again.
//! - A hole is reported, never filled by dropping: data beyond a hole is handed out like any other.
//! - A dead letter accounts for its range only until a good copy comes: what it was put aside for is handed out then, once.
//! - What *could* be somebody else's bytes is never taken for a duplicate: a range that is covered already, but whose
//!   checksum differs, or that a second living process of the same epoch sends, goes to a derived source.

mod apply;
mod aside;
mod audit;
mod intake;
mod spans;
mod stored;

pub use aside::Aside;
pub use audit::{Audit, Verdict, audit};
pub use intake::{Accounted, Content, Place, Reading, accounts, read};
pub use spans::{Span, Spans};

use millrace_model::{
    BootId, LogRecord, Partition, SourceId, StreamName, Timestamp,
    wire::{Envelope, Sender, SkipReason, SourceClose, SourceOpen},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How many shipped pieces of a source are remembered with their checksums.
const REMEMBERED_PIECES: usize = 64;
/// How many boots of one source can be told apart as strays.
const REMEMBERED_STRAYS: usize = 16;

/// A shipped range and the checksum of its bytes. Stored as `[start, length, crc32c, epoch]`: a catalogue holds many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u64, u64, u32, u64)", from = "stored::Piece")]
pub struct Piece {
    /// Where.
    pub span: Span,
    /// CRC-32C.
    pub crc32c: u32,
    /// Which process sent it.
    pub epoch: u64,
}

/// All that is known of one source. Stored whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceState {
    /// The stream of its records.
    pub stream: StreamName,
    /// The process of the highest epoch that sent of it.
    pub sender: Option<Sender>,
    /// When that process observed the first records that it sent of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What it is; absent until its first message came.
    pub open: Option<SourceOpen>,
    /// What became of it, once it has ended.
    pub close: Option<SourceClose>,
    /// The positions that are accounted for.
    pub covered: Spans,
    /// The latest pieces, oldest first.
    pub recent: VecDeque<Piece>,
    /// Records handed out.
    pub records: u64,
    /// Accounted for without a record: bytes by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Of those, what lies in the dead-letter topic and can still come.
    #[serde(default, skip_serializing_if = "Aside::is_empty")]
    pub aside: Aside,
    /// Bytes that came again and were dropped.
    pub duplicate_bytes: u64,
    /// Records handed out whole although a part of them had been covered before.
    pub reframed: u64,
    /// The source that this one was derived from, because two senders claimed it.
    pub stray_of: Option<SourceId>,
    /// Boots whose messages go to a derived source.
    pub strays: Vec<BootId>,
}

impl SourceState {
    /// What was kept aside of `span` has come.
    pub(crate) fn come_after_all(&mut self, span: Span) {
        if self.aside.is_empty() {
            return;
        }
        for (reason, length) in self.aside.remove(span) {
            if let Some(skipped) = self.skipped.get_mut(&reason) {
                *skipped -= length.min(*skipped);
            }
        }
        self.skipped.retain(|_, length| *length > 0);
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was new.
    New,
    /// Some of it had come before.
    Overlapping,
    /// All of it had come before.
    Duplicate,
}

/// A message after the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The source that its records belong to: the envelope's, or one derived from it.
    pub source: SourceId,
    /// The new records, each with its position.
    pub records: Vec<(u64, LogRecord)>,
    /// How much of it was new.
    pub outcome: Outcome,
    /// The message opened a derived source: two processes claim to be one.
    pub stray: bool,
}

/// A changed source, to be stored if it still has `expected_version`.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The source.
    pub id: SourceId,
    /// The partition that it comes through.
    pub partition: Partition,
    /// The version that is replaced; `None`: the source is new.
    pub expected_version: Option<u64>,
    /// What is known now.
    pub state: SourceState,
}

#[derive(Debug)]
struct Tracked {
    partition: Partition,
    version: Option<u64>,
    dirty: bool,
    state: SourceState,
}

/// The sources of one consumer.
#[derive(Debug, Default)]
pub struct Ledger {
    sources: HashMap<SourceId, Tracked>,
}

impl Ledger {
    /// A ledger that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The source that must be [loaded](Self::load) before this message can be applied, if any. Ask again after
    /// loading: a second one may be needed.
    pub fn missing(&self, envelope: &Envelope, records: &[LogRecord]) -> Option<SourceId> {
        let Some(base) = self.sources.get(&envelope.source) else { return Some(envelope.source) };
        let stray = apply::is_stray(&base.state, envelope, records).then(|| stray_id(envelope))?;
        (!self.sources.contains_key(&stray)).then_some(stray)
    }

    /// Takes in what the catalogue has stored of a source: nothing (`None`), or its version and state.
    pub fn load(&mut self, id: SourceId, partition: Partition, stored: Option<(u64, SourceState)>) {
        let (version, state) = match stored {
            Some((version, state)) => (Some(version), state),
            None => (None, SourceState::default()),
        };
        self.sources.entry(id).or_insert(Tracked { partition, version, dirty: false, state });
    }

    /// Accounts for a message and hands out what is new in it.
    ///
    /// Call only when [`missing`](Self::missing) is `None`; a source that was not loaded counts as never seen.
    pub fn apply(&mut self, partition: Partition, envelope: &Envelope, records: Vec<LogRecord>) -> Applied {
        let (source, stray) = self.source_of(partition, envelope, &records);
        let (records, outcome) = apply::apply(self.change(source, partition), envelope, records);
        Applied { source, records, outcome, stray }
    }

    /// Accounts for a message whose records are kept aside: nothing is handed out.
    pub(crate) fn put_aside(
        &mut self,
        partition: Partition,
        envelope: &Envelope,
        reason: SkipReason,
    ) -> Applied {
        let (source, stray) = self.source_of(partition, envelope, &[]);
        let outcome = apply::put_aside(self.change(source, partition), envelope, reason);
        Applied { source, records: Vec::new(), outcome, stray }
    }

    /// The source that a message belongs to, and whether it opened a derived one.
    fn source_of(
        &mut self,
        partition: Partition,
        envelope: &Envelope,
        records: &[LogRecord],
    ) -> (SourceId, bool) {
        self.load(envelope.source, partition, None);
        let Some(base) = self.sources.get_mut(&envelope.source) else { return (envelope.source, false) };
        if !apply::is_stray(&base.state, envelope, records) {
            return (envelope.source, false);
        }
        let first = !base.state.strays.contains(&envelope.sender.boot);
        if first {
            base.dirty = true;
            base.state.strays.push(envelope.sender.boot);
            if base.state.strays.len() > REMEMBERED_STRAYS {
                base.state.strays.remove(0);
            }
        }
        let derived = stray_id(envelope);
        self.change(derived, partition).stray_of = Some(envelope.source);
        (derived, first)
    }

    /// What is known of a source, to be changed.
    fn change(&mut self, source: SourceId, partition: Partition) -> &mut SourceState {
        let new = || Tracked { partition, version: None, dirty: true, state: SourceState::default() };
        let tracked = self.sources.entry(source).or_insert_with(new);
        tracked.dirty = true;
        &mut tracked.state
    }

    /// The sources that changed since the last call, with the versions that they replace. What is handed out counts as
    /// stored from here on: whoever cannot store it must drop the whole ledger of those partitions and read again.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes: Vec<Change> = self
            .sources
            .iter_mut()
            .filter(|(_, tracked)| tracked.dirty)
            .map(|(id, tracked)| {
                tracked.dirty = false;
                let expected_version = tracked.version;
                tracked.version = Some(expected_version.map_or(1, |version| version + 1));
                Change {
                    id: *id,
                    partition: tracked.partition,
                    expected_version,
                    state: tracked.state.clone(),
                }
            })
            .collect();
        changes.sort_by_key(|change| change.id);
        changes
    }

    /// Forgets the sources of partitions that are no longer owned, with their unstored changes.
    pub fn forget(&mut self, partitions: &[Partition]) {
        self.sources.retain(|_, tracked| !partitions.contains(&tracked.partition));
    }

    /// Forgets sources that have ended and whose end is stored, to bound memory; they are loaded again if need be.
    pub fn forget_closed(&mut self) {
        self.sources.retain(|_, tracked| tracked.dirty || tracked.state.close.is_none());
    }

    /// What is known of a source, if it is loaded.
    pub fn state(&self, id: SourceId) -> Option<&SourceState> {
        self.sources.get(&id).map(|tracked| &tracked.state)
    }

    /// How many sources are loaded.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// None loaded?
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}

/// The source under which a second sender's bytes are kept: the same for every message of that boot.
fn stray_id(envelope: &Envelope) -> SourceId {
    SourceId::derived(&[&envelope.source.0.to_be_bytes(), &envelope.sender.boot.0.to_be_bytes()])
}

#[cfg(test)]
mod tests;
