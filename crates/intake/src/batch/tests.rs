#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{Parsers, Policy};
use millrace_model::{AgentId, Attributes, BootId, InstanceId, Timestamp, wire::Decoded};
use proptest::prelude::*;
use std::sync::Arc;

pub(crate) fn heading() -> Heading {
    let sender = Sender { agent: AgentId(1), instance: InstanceId(2), epoch: 3, boot: BootId(4) };
    Heading { stream: StreamName::default(), sender, source: SourceId(5), open: None, close: None }
}

pub(crate) fn redacted(line: &str) -> Redacted {
    let record = Parsers::default().parse(line.as_bytes(), Timestamp(1), &Arc::new(Attributes::new()));
    Policy::nothing().redact(record, &mut |_| {})
}

/// A batch of these lines; an empty one is blank.
pub(crate) fn batch_of(start: u64, lines: &[String]) -> (Batch, Vec<u8>) {
    let (mut batch, mut raw) = (Batch::new(start), Vec::new());
    for line in lines {
        let bytes = format!("{line}\n").into_bytes();
        if line.is_empty() {
            batch.skip(1, Raw::Bytes(&bytes), SkipReason::Blank);
        } else {
            batch.record(bytes.len() as u64, line.len(), Raw::Bytes(&bytes), redacted(line));
        }
        raw.extend(bytes);
    }
    (batch, raw)
}

pub(crate) fn decode(sealed: &Sealed) -> (Envelope, Vec<millrace_model::LogRecord>) {
    match wire::decode(&sealed.payload.headers, &sealed.payload.value).unwrap() {
        Decoded::Batch(envelope, records) => (*envelope, records),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn runs_tile_and_the_checksum_is_that_of_the_bytes(lines in prop::collection::vec("[a-z]{0,20}", 0..60), start in 0u64..1_000_000) {
        let (mut batch, raw) = batch_of(start, &lines);
        let sealed = batch.seal(heading());
        let (envelope, records) = decode(&sealed);
        prop_assert_eq!(envelope.extent.crc32c, crc32c::crc32c(&raw));
        prop_assert_eq!((envelope.extent.start, envelope.extent.end), (start, start + raw.len() as u64));
        prop_assert_eq!(envelope.extent.runs.len(), sealed.seams.len());
        for (record, at) in records.iter().zip(envelope.extent.record_positions()) {
            let body = record.body.as_str().unwrap().as_bytes();
            prop_assert_eq!(&raw[(at - start) as usize..][..body.len()], body);
        }
        prop_assert!(batch.is_empty());
        prop_assert_eq!(batch.end(), sealed.end);
    }
}

#[test]
fn bytes_that_passed_by_count_in_the_checksum() {
    let line = vec![b'x'; 100_000];
    let mut batch = Batch::new(0);
    batch.record(10, 10, Raw::Bytes(&line[..10]), redacted("xxxxxxxxxx"));
    let rest = Raw::Digest { crc32c: crc32c::crc32c(&line[10..]), length: 99_990 };
    batch.skip(99_990, rest, SkipReason::OverLong);
    assert_eq!(decode(&batch.seal(heading())).0.extent.crc32c, crc32c::crc32c(&line));
}

#[test]
fn a_batch_is_full_by_bytes_or_records_but_never_when_empty() {
    let limits = Limits { bytes: 10, records: 2, ..Limits::default() };
    let mut batch = Batch::new(0);
    assert!(!batch.is_full_for(1_000_000, &limits));
    batch.record(4, 3, Raw::Bytes(b"abc\n"), redacted("abc"));
    assert!(!batch.is_full_for(7, &limits));
    assert!(batch.is_full_for(8, &limits));
    batch.record(4, 3, Raw::Bytes(b"abc\n"), redacted("abc"));
    assert!(batch.is_full_for(0, &limits));
}
