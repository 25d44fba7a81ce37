#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::batch::{
    Batch, Raw,
    tests::{batch_of, decode, heading, redacted},
};
use millrace_model::wire::{SourceClose, SourceOpen};
use proptest::prelude::*;

/// Makes a message smaller until each part's value fits, as a shipper would.
fn fit(sealed: Sealed, limit: usize) -> Vec<Sealed> {
    if sealed.payload.value.len() <= limit {
        return vec![sealed];
    }
    match smaller(&sealed).unwrap() {
        Smaller::Halves(halves) => halves.into_iter().flat_map(|half| fit(half, limit)).collect(),
        Smaller::Cut(one) | Smaller::Emptied(one) => fit(*one, limit),
        Smaller::Smallest => vec![sealed],
    }
}

proptest! {
    #[test]
    fn parts_account_for_the_same_bytes(lines in prop::collection::vec("[a-z]{0,400}", 1..60), limit in 0usize..2000) {
        let (mut batch, raw) = batch_of(7, &lines);
        let mut heading = heading();
        heading.open = Some(SourceOpen { kind: "file".into(), path: "/x".into(), host: "h".into(), start: 7, continues: None, because: None });
        heading.close = Some(SourceClose { end: 9, reason: "deleted".into(), lost_at_least: None });
        let parts = fit(batch.seal(heading), limit);
        let mut at = 7;
        for (index, part) in parts.iter().enumerate() {
            let (envelope, records) = decode(part);
            prop_assert_eq!(envelope.extent.start, at);
            let bytes = &raw[(at - 7) as usize..(envelope.extent.end - 7) as usize];
            prop_assert_eq!(envelope.extent.crc32c, crc32c::crc32c(bytes));
            prop_assert_eq!(envelope.open.is_some(), index == 0);
            prop_assert_eq!(envelope.close.is_some(), index + 1 == parts.len());
            for (record, position) in records.iter().zip(envelope.extent.record_positions()) {
                let body = record.body.as_str().unwrap();
                prop_assert!(raw[(position - 7) as usize..].starts_with(body.as_bytes()));
                let whole = raw[(position - 7) as usize + body.len()] == b'\n';
                prop_assert_eq!(record.attributes.get(TRUNCATED).is_some(), !whole);
            }
            prop_assert!(part.payload.value.len() <= limit || records.is_empty());
            at = envelope.extent.end;
        }
        prop_assert_eq!(at, 7 + raw.len() as u64);
    }
}

#[test]
fn a_cut_record_says_how_long_it_was_and_keeps_its_over_long_rest() {
    let body = "ü".repeat(50_000);
    let mut batch = Batch::new(0);
    batch.record(100_000, 100_000, Raw::Bytes(body.as_bytes()), redacted(&body));
    batch.skip(5, Raw::Bytes(b"rest\n"), SkipReason::OverLong);
    let parts = fit(batch.seal(heading()), 20_000);
    assert_eq!(parts.len(), 1);
    let (envelope, records) = decode(&parts[0]);
    assert_eq!(envelope.extent.end, 100_005);
    assert_eq!(envelope.extent.runs.len(), 2);
    assert_eq!(records[0].attributes.get(ORIGINAL_LENGTH), Some(&Value::Int(100_000)));
    assert!(records[0].body.as_str().unwrap().len() > 9_000);
}

#[test]
fn attributes_go_before_the_body_where_they_are_larger() {
    let line = format!("{{{}}}", (0..900).map(|n| format!("\"{n}\":{n}")).collect::<Vec<_>>().join(","));
    let mut batch = Batch::new(0);
    batch.record(
        line.len() as u64 + 1,
        line.len(),
        Raw::Bytes(format!("{line}\n").as_bytes()),
        redacted(&line),
    );
    let parts = fit(batch.seal(heading()), line.len() + 200);
    let (_, records) = decode(&parts[0]);
    assert_eq!(records[0].body.as_str(), Some(line.as_str()));
    assert_eq!(records[0].attributes.get(crate::parse::DROPPED_ATTRIBUTES), Some(&Value::Int(900)));
}
