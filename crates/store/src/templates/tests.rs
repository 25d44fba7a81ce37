//! What names depend on, and what they do not.

use super::*;
use crate::{FieldRules, HotRow, HotShard, Shaper};
use millrace_model::{Partition, RecordId, Row, SourceId, StreamName, Timestamp};
use millrace_template::FREE_TEXT;
use proptest::prelude::*;

const NAMES: [&str; 8] = ["ann", "bob", "eve", "joe", "kim", "lee", "max", "zoe"];

fn record(body: impl Into<Value>) -> LogRecord {
    LogRecord { body: body.into(), ..LogRecord::default() }
}

fn name(templates: &Templates, line: &str) -> Option<TemplateId> {
    templates.namer().name(&record(line))
}

fn append(shaper: &Shaper, lines: &[String]) {
    let rows = lines.iter().enumerate().map(|(nth, line)| HotRow {
        partition: Partition(0),
        offset: nth as i64,
        row: Row {
            id: RecordId { source: SourceId(1), position: nth as u64, index: 0 },
            stream: StreamName::default(),
            time: Timestamp(1),
            record: record(line.as_str()),
        },
    });
    HotShard::new(shaper, &FieldRules::default()).append(rows.collect());
}

fn opened(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("session opened for user {name} by uid=0")).collect()
}

#[test]
fn a_name_is_of_the_mask_until_a_merge_covers_it() {
    let mut templates = Templates::new();
    let line = "session opened for user ann by uid=0";
    assert_eq!(name(&templates, line), Some(TemplateId::of(b"session opened for user ann by uid=\0")));
    let merged = b"session opened for user \0 by uid=\0";
    templates.absorb(merged);
    assert_eq!(name(&templates, line), Some(TemplateId::of(merged)));
    let other = "session closed for user ann by uid=0";
    assert_eq!(name(&templates, other), Some(TemplateId::of(b"session closed for user ann by uid=\0")));
}

#[test]
fn every_text_has_a_name_and_nothing_else_has() {
    let templates = Templates::new();
    assert_eq!(name(&templates, ""), Some(TemplateId::of(b"")));
    let free = Some(TemplateId::of(FREE_TEXT));
    assert_eq!(name(&templates, "a\0b"), free);
    assert_eq!(name(&templates, &"1 ".repeat(1_000_000)), free);
    let long = "word ".repeat(1_000_000);
    assert_eq!(name(&templates, &long), Some(TemplateId::of(long.as_bytes())));
    for body in [Value::Null, Value::Bytes(vec![1]), Value::Int(7), Value::Bool(true)] {
        assert_eq!(templates.namer().name(&record(body)), None);
    }
}

#[test]
fn a_shaper_tells_of_what_it_learned_and_takes_over_what_others_did() {
    let shaper = Shaper::new();
    append(&shaper, &opened(&NAMES[..4]));
    let merges = shaper.merges(|_| true, 10);
    assert_eq!(merges.len(), 1);
    assert_eq!(&*merges[0].mask, b"session opened for user \0 by uid=\0");
    assert_eq!(shaper.merges(|id| id != merges[0].id, 10), []);
    assert_eq!(shaper.merges(|_| true, 0), []);

    let other = Shaper::new();
    other.absorb(&merges[0].mask);
    assert_eq!(other.merges(|_| true, 10), merges);
    append(&other, &opened(&NAMES[4..]));
    assert_eq!(other.merges(|_| true, 10), merges);
}

#[test]
fn records_that_are_kept_whole_are_counted() {
    let shaper = Shaper::new();
    append(&shaper, &opened(&NAMES));
    assert_eq!(shaper.kept_whole(), 0);
    append(&shaper, &["with a \0 in it".to_owned(), "1 ".repeat(300), "a line".to_owned()]);
    assert_eq!(shaper.kept_whole(), 2);
}

/// Lines of few kinds, in which names and words vary.
fn line() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        (name(), name()).prop_map(|(one, two)| format!("user {one} called {two} twice today")),
        (name(), 0..99_u8).prop_map(|(one, number)| format!("user {one} called {number} twice today")),
        (name(), name()).prop_map(|(one, two)| format!("{{\"user\":\"{one}\",\"text\":\"hello {two}\"}}")),
        "\\PC{0,30}",
    ]
}

/// A line's mask with some of its words open.
fn merge() -> impl Strategy<Value = Vec<u8>> {
    (line(), any::<u8>()).prop_map(|(line, open)| {
        let mut scan = Scan::default();
        scan.line(&line);
        let words = scan.mask().split(|byte| *byte == b' ').enumerate();
        let words: Vec<&[u8]> =
            words.map(|(nth, word)| if open >> (nth % 8) & 1 == 1 { b"\0" } else { word }).collect();
        words.join(&b' ')
    })
}

proptest! {
    #[test]
    fn a_name_is_a_function_of_the_line_and_the_set_of_merges(
        lines in prop::collection::vec(line(), 1..20),
        (merges, shuffled) in prop::collection::vec(merge(), 0..12)
            .prop_flat_map(|merges| (Just(merges.clone()), Just(merges).prop_shuffle())),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (mut one, mut two) = (Templates::new(), Templates::new());
        for merge in &merges {
            one.absorb(merge);
        }
        for merge in &shuffled {
            two.absorb(merge);
        }
        for index in again.iter().filter(|_| !merges.is_empty()) {
            two.absorb(&merges[index.index(merges.len())]);
        }
        let (mut first, mut second) = (one.namer(), two.namer());
        for line in lines.iter().chain(lines.iter().rev()) {
            let line = record(line.as_str());
            prop_assert_eq!(first.name(&line), second.name(&line));
        }
    }
}
