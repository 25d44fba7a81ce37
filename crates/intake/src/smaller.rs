//! A message that the topic refuses for its size is made into smaller ones that account for the same bytes: halves,
//! until a single record is left; then that record is cut. Nothing is left out without a mark.

use crate::{Sealed, batch::Seam};
use millrace_model::{
    LogRecord, SourceId, Value,
    wire::{self, DecodeError, Decoded, Envelope, RunKind, SkipReason, SourceOpen},
};

/// Set on a record whose body is not whole.
pub const TRUNCATED: &str = "log.truncated";
/// The true length of a body that is not whole, in bytes.
pub const ORIGINAL_LENGTH: &str = "log.original_length";

/// Bodies are not cut below this; a record that is still refused is given up, loudly.
const LEAST_BODY_BYTES: usize = 64;

/// What can be done for a message that is too large.
#[derive(Debug)]
pub enum Smaller {
    /// Two messages, in order.
    Halves(Box<[Sealed; 2]>),
    /// One message whose only record lost a part of its body or its attributes, and says so.
    Cut(Box<Sealed>),
    /// One message without its only record, whose bytes are now accounted for as skipped.
    Emptied(Box<Sealed>),
    /// Nothing: it holds no record.
    Smallest,
}

/// Makes a refused message smaller. Each call at least halves what can be halved.
///
/// # Errors
/// The message is not one of ours.
pub fn smaller(sealed: &Sealed) -> Result<Smaller, DecodeError> {
    let Decoded::Batch(envelope, records) = wire::decode(&sealed.payload.headers, &sealed.payload.value)?
    else {
        return Err(DecodeError::Value("not a batch of ours".to_owned()));
    };
    Ok(match records.len() {
        0 => Smaller::Smallest,
        1 => cut(*envelope, records, sealed),
        _ => halve(&envelope, &records, &sealed.seams),
    })
}

/// What can be done for a message that is refused, whatever its size: halves, or the same without its only record, whose bytes are
/// now accounted for as rejected.
///
/// # Errors
/// The message is not one of ours.
pub fn without_rejected(sealed: &Sealed) -> Result<Smaller, DecodeError> {
    let Decoded::Batch(envelope, records) = wire::decode(&sealed.payload.headers, &sealed.payload.value)?
    else {
        return Err(DecodeError::Value("not a batch of ours".to_owned()));
    };
    Ok(match records.len() {
        0 => Smaller::Smallest,
        1 => empty(*envelope, sealed.seams.clone(), SkipReason::Rejected),
        _ => halve(&envelope, &records, &sealed.seams),
    })
}

/// Splits before the middle record, so that what follows a record (its over-long rest) stays with it.
fn halve(envelope: &Envelope, records: &[LogRecord], seams: &[Seam]) -> Smaller {
    let middle = records.len() / 2;
    let extent = &envelope.extent;
    let split = extent
        .runs
        .iter()
        .enumerate()
        .filter(|(_, run)| run.kind == RunKind::Record)
        .nth(middle)
        .map_or(extent.runs.len(), |(at, _)| at);
    let position = extent.start + extent.runs[..split].iter().map(|run| run.length).sum::<u64>();
    let seam = split.checked_sub(1).and_then(|last| seams.get(last)).copied().unwrap_or_default();

    let mut left = envelope.clone();
    left.extent.end = position;
    left.extent.runs.truncate(split);
    left.close = None;
    let mut right = envelope.clone();
    right.extent.start = position;
    right.extent.runs.drain(..split);
    right.open = None;

    let right_seams = seams.iter().skip(split).map(|later| later.from(seam)).collect();
    Smaller::Halves(Box::new([
        encode(left, &records[..middle], seams[..split].to_vec()),
        encode(right, &records[middle..], right_seams),
    ]))
}

/// The same message as another source's; `open` says what that source is, on its first.
///
/// # Errors
/// The message is not one of ours.
pub fn readdress(sealed: &Sealed, source: SourceId, open: Option<SourceOpen>) -> Result<Sealed, DecodeError> {
    let Decoded::Batch(mut envelope, records) = wire::decode(&sealed.payload.headers, &sealed.payload.value)?
    else {
        return Err(DecodeError::Value("not a batch of ours".to_owned()));
    };
    envelope.source = source;
    envelope.open = open;
    Ok(encode(*envelope, &records, sealed.seams.clone()))
}

fn encode(mut envelope: Envelope, records: &[LogRecord], seams: Vec<Seam>) -> Sealed {
    envelope.extent.crc32c = seams.last().map_or(0, |seam| seam.crc32c);
    Sealed {
        payload: wire::encode(&envelope, records),
        start: envelope.extent.start,
        end: envelope.extent.end,
        seams,
        records: records.len(),
    }
}

/// The larger of body and attributes goes first: the body by halves, attributes all at once (the body has them too).
fn cut(envelope: Envelope, mut records: Vec<LogRecord>, sealed: &Sealed) -> Smaller {
    let seams = sealed.seams.clone();
    let Some(record) = records.first_mut() else { return Smaller::Smallest };
    let (body, size) = (body_bytes(&record.body), sealed.payload.value.len());
    if body > LEAST_BODY_BYTES && (body >= size / 2 || record.attributes.is_empty()) {
        if record.attributes.get(ORIGINAL_LENGTH).is_none() {
            record.attributes.set(ORIGINAL_LENGTH, body as i64);
        }
        record.attributes.set(TRUNCATED, true);
        shorten(&mut record.body, body / 2);
        return Smaller::Cut(Box::new(encode(envelope, &records, seams)));
    }
    if size > 2 * LEAST_BODY_BYTES && record.attributes.get(crate::parse::DROPPED_ATTRIBUTES).is_none() {
        let kept = [ORIGINAL_LENGTH, TRUNCATED].map(|key| (key, record.attributes.get(key).cloned()));
        let dropped = record.attributes.len();
        record.attributes =
            kept.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        record.attributes.set(crate::parse::DROPPED_ATTRIBUTES, dropped as i64);
        return Smaller::Cut(Box::new(encode(envelope, &records, seams)));
    }
    if body > LEAST_BODY_BYTES {
        record.attributes.set(TRUNCATED, true);
        shorten(&mut record.body, body / 2);
        return Smaller::Cut(Box::new(encode(envelope, &records, seams)));
    }
    empty(envelope, seams, SkipReason::OverLong)
}

/// Without its only record.
fn empty(mut envelope: Envelope, seams: Vec<Seam>, reason: SkipReason) -> Smaller {
    for run in &mut envelope.extent.runs {
        if run.kind == RunKind::Record {
            run.kind = RunKind::Skipped(reason);
        }
    }
    Smaller::Emptied(Box::new(encode(envelope, &[], seams)))
}

fn body_bytes(body: &Value) -> usize {
    match body {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

fn shorten(body: &mut Value, to: usize) {
    match body {
        Value::String(text) => text.truncate(text.floor_char_boundary(to)),
        Value::Bytes(bytes) => bytes.truncate(to),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
