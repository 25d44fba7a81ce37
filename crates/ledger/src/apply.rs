//! One message against one source: is it this source's at all, and what in it is new?

use crate::{Outcome, Piece, REMEMBERED_PIECES, SourceState, Span};
use millrace_model::{
    LogRecord, Timestamp, Value,
    wire::{Envelope, Extent, Run, RunKind, SkipReason},
};

/// Set on a record that was handed out whole although some of its bytes had been covered before.
const REFRAMED: &str = "log.reframed";

/// Do these bytes come from somebody else who claims the same source?
///
/// A second boot of the same epoch does, always: an epoch is raised durably at each start. An older epoch that comes
/// after a newer one, or a range that is covered already, is judged by its checksums. Where an older epoch's cannot be
/// compared, time tells: what it observed before its successor began had been sent and was held up on its way, for a broker
/// goes on to take in what a killed process has sent. Anything later is somebody else's, so that a clone never loses a line.
pub(crate) fn is_stray(state: &SourceState, envelope: &Envelope, records: &[LogRecord]) -> bool {
    let Some(owner) = state.sender else { return false };
    let sender = envelope.sender;
    if state.strays.contains(&sender.boot) || (sender.epoch == owner.epoch && sender.boot != owner.boot) {
        return true;
    }
    let span = span_of(&envelope.extent);
    if standing(state, span) == 0 {
        return false;
    }
    match compare(state, &envelope.extent, records) {
        Comparison::Differs => true,
        Comparison::Same => false,
        Comparison::Unknown => sender.epoch < owner.epoch && !was_observed_before(state.since, records),
    }
}

/// How many positions of `span` are accounted for by more than a dead letter.
fn standing(state: &SourceState, span: Span) -> u64 {
    state.covered.overlap(span) - state.aside.overlap(span)
}

/// What a message says of its source as a whole.
fn describe(state: &mut SourceState, envelope: &Envelope, records: &[LogRecord]) {
    take_over(state, envelope, records);
    state.stream = envelope.stream.clone();
    if state.open.is_none() {
        state.open.clone_from(&envelope.open);
    }
    if envelope.close.is_some() {
        state.close.clone_from(&envelope.close);
    }
}

/// Accounts for a message that was kept aside: what was not accounted for before waits for a good copy.
pub(crate) fn put_aside(state: &mut SourceState, envelope: &Envelope, reason: SkipReason) -> Outcome {
    describe(state, envelope, &[]);
    let span = span_of(&envelope.extent);
    let overlap = state.covered.overlap(span);
    state.duplicate_bytes += overlap;
    keep_aside(state, span, reason);
    state.covered.insert(span);
    outcome(overlap, span)
}

/// What is not accounted for of `span` waits for a good copy.
fn keep_aside(state: &mut SourceState, span: Span, reason: SkipReason) {
    for gap in state.covered.gaps(span) {
        state.aside.insert(reason, gap);
        *state.skipped.entry(reason).or_default() += gap.length();
    }
}

pub(crate) fn apply(
    state: &mut SourceState,
    envelope: &Envelope,
    records: Vec<LogRecord>,
) -> (Vec<(u64, LogRecord)>, Outcome) {
    describe(state, envelope, &records);
    let span = span_of(&envelope.extent);
    let overlap = standing(state, span);
    state.duplicate_bytes += overlap;
    let mut new = Vec::with_capacity(if overlap == 0 { records.len() } else { 0 });
    let mut records = records.into_iter();
    for (run, at) in placed_runs(&envelope.extent) {
        let covered = if overlap == 0 { 0 } else { standing(state, at) };
        match run.kind {
            RunKind::Record => {
                let Some(mut record) = records.next() else { break };
                if covered == run.length {
                    continue;
                }
                if covered > 0 {
                    state.reframed += 1;
                    record.attributes.set(REFRAMED, true);
                }
                state.records += 1;
                new.push((at.start, record));
            }
            // Its agent has made it a dead letter.
            RunKind::Skipped(SkipReason::Rejected) => {
                keep_aside(state, at, SkipReason::Rejected);
                continue;
            }
            RunKind::Skipped(reason) => {
                if covered < run.length {
                    *state.skipped.entry(reason).or_default() += run.length - covered;
                }
            }
        }
        state.come_after_all(at);
    }
    state.covered.insert(span);
    if overlap < span.length() {
        state.recent.push_back(Piece { span, crc32c: envelope.extent.crc32c, epoch: envelope.sender.epoch });
        if state.recent.len() > REMEMBERED_PIECES {
            state.recent.pop_front();
        }
    }
    (new, outcome(overlap, span))
}

fn outcome(overlap: u64, span: Span) -> Outcome {
    match overlap {
        0 => Outcome::New,
        all if all == span.length() => Outcome::Duplicate,
        _ => Outcome::Overlapping,
    }
}

/// Makes the sender the owner, unless one of a higher epoch is.
fn take_over(state: &mut SourceState, envelope: &Envelope, records: &[LogRecord]) {
    let sender = envelope.sender;
    if state.sender.is_none_or(|owner| owner.epoch < sender.epoch) {
        state.sender = Some(sender);
        state.since = None;
    }
    if state.sender == Some(sender) && state.since.is_none() {
        state.since = records.iter().map(|record| record.observed_timestamp).min();
    }
}

fn was_observed_before(time: Option<Timestamp>, records: &[LogRecord]) -> bool {
    time.is_some_and(|time| records.iter().all(|record| record.observed_timestamp < time))
}

fn span_of(extent: &Extent) -> Span {
    Span { start: extent.start, end: extent.end }
}

/// Each run with the positions that it takes.
fn placed_runs(extent: &Extent) -> impl Iterator<Item = (Run, Span)> {
    let mut at = extent.start;
    extent.runs.iter().map(move |run| {
        let start = at;
        at = at.saturating_add(run.length);
        (*run, Span { start, end: at })
    })
}

enum Comparison {
    Same,
    Differs,
    Unknown,
}

/// Compares a message with what is remembered of the bytes that it covers again: a remembered piece with the very
/// same edges by its checksum; one of a file that lies inside the message by the checksum of the message's own lines.
fn compare(state: &SourceState, extent: &Extent, records: &[LogRecord]) -> Comparison {
    let span = span_of(extent);
    let mut verdict = Comparison::Unknown;
    for piece in state.recent.iter().filter(|piece| !piece.span.intersection(span).is_empty()) {
        let crc32c = if piece.span == span {
            Some(extent.crc32c)
        } else if state.open.as_ref().is_some_and(|open| open.kind == "file") && span.contains(piece.span) {
            crc_of_lines(extent, records, piece.span)
        } else {
            None
        };
        match crc32c {
            Some(crc32c) if crc32c == piece.crc32c => verdict = Comparison::Same,
            Some(_) => return Comparison::Differs,
            None => {}
        }
    }
    verdict
}

/// The checksum of the raw bytes of `part`, where they can be told from the records: `part` begins and ends between
/// runs, and each of its runs is a line and its newline. `None` where they cannot.
fn crc_of_lines(extent: &Extent, records: &[LogRecord], part: Span) -> Option<u32> {
    let mut crc = 0;
    let mut at = None;
    let mut records = records.iter();
    for (run, span) in placed_runs(extent) {
        let record = match run.kind {
            RunKind::Record => Some(records.next()?),
            RunKind::Skipped(_) => None,
        };
        if span.end <= part.start || span.start >= part.end {
            continue;
        }
        if !part.contains(span) || (at.is_none() && span.start != part.start) {
            return None;
        }
        let line = match &record?.body {
            Value::String(text) => text.as_bytes(),
            Value::Bytes(bytes) => bytes,
            _ => return None,
        };
        if line.len() as u64 + 1 != run.length {
            return None;
        }
        crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, line), b"\n");
        at = Some(span.end);
    }
    (at == Some(part.end)).then_some(crc)
}
