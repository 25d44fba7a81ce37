#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use millrace_model::{
    AgentId, InstanceId, Timestamp, Value,
    wire::{self, Extent, Letter, Run, RunKind},
};
use proptest::prelude::*;

const AT: Partition = Partition(0);

fn sender(epoch: u64, boot: u128) -> Sender {
    Sender { agent: AgentId(1), instance: InstanceId(2), epoch, boot: BootId(boot) }
}

/// A file of `lines`, and the message that ships `[from, to)` of them.
fn message(lines: &[String], from: usize, to: usize, sender: Sender) -> (Envelope, Vec<LogRecord>) {
    let start: usize = lines[..from].iter().map(|line| line.len() + 1).sum();
    let raw: String = lines[from..to].iter().flat_map(|line| [line, "\n"]).collect();
    let runs = lines[from..to]
        .iter()
        .map(|line| {
            let kind = if line.is_empty() { RunKind::Skipped(SkipReason::Blank) } else { RunKind::Record };
            Run { length: line.len() as u64 + 1, kind }
        })
        .collect();
    let records = lines[from..to]
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| LogRecord { body: Value::from(line.as_str()), ..LogRecord::default() })
        .collect();
    let open = SourceOpen {
        kind: "file".into(),
        path: "/f".into(),
        host: "h".into(),
        start: 0,
        continues: None,
        because: None,
    };
    let extent = Extent {
        start: start as u64,
        end: (start + raw.len()) as u64,
        crc32c: crc32c::crc32c(raw.as_bytes()),
        runs,
    };
    let envelope = Envelope {
        stream: StreamName::default(),
        sender,
        source: SourceId(7),
        extent,
        open: (from == 0).then_some(open),
        close: None,
    };
    (envelope, records)
}

fn apply(ledger: &mut Ledger, (envelope, records): (Envelope, Vec<LogRecord>)) -> Applied {
    while let Some(id) = ledger.missing(&envelope, &records) {
        ledger.load(id, AT, None);
    }
    ledger.apply(AT, &envelope, records)
}

fn bodies(applied: &Applied) -> Vec<String> {
    applied.records.iter().map(|(_, record)| record.body.to_string()).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("line {n}")).collect()
}

#[test]
fn a_redelivered_range_is_dropped_and_a_half_covered_one_is_split() {
    let lines = numbered(6);
    let mut ledger = Ledger::new();
    assert_eq!(bodies(&apply(&mut ledger, message(&lines, 0, 3, sender(1, 1)))), lines[..3]);
    let again = apply(&mut ledger, message(&lines, 0, 3, sender(1, 1)));
    assert_eq!((again.outcome, again.records.len()), (Outcome::Duplicate, 0));
    let half = apply(&mut ledger, message(&lines, 1, 6, sender(2, 2)));
    assert_eq!(half.outcome, Outcome::Overlapping);
    assert_eq!(bodies(&half), lines[3..]);
    let state = ledger.state(SourceId(7)).unwrap();
    assert_eq!(audit(state).verdict, Verdict::CompleteSoFar);
    assert_eq!(state.records, 6);
}

#[test]
fn a_hole_is_reported_and_filled_later() {
    let lines = numbered(9);
    let mut ledger = Ledger::new();
    apply(&mut ledger, message(&lines, 0, 3, sender(1, 1)));
    assert_eq!(bodies(&apply(&mut ledger, message(&lines, 6, 9, sender(1, 1)))), lines[6..]);
    let account = audit(ledger.state(SourceId(7)).unwrap());
    assert_eq!(account.verdict, Verdict::Holes);
    assert_eq!(account.holes, [Span { start: 21, end: 42 }]);
    assert_eq!(bodies(&apply(&mut ledger, message(&lines, 3, 6, sender(1, 1)))), lines[3..6]);
    assert!(audit(ledger.state(SourceId(7)).unwrap()).is_complete());
}

#[test]
fn a_record_across_a_covered_edge_is_kept_whole_and_counted() {
    let mut ledger = Ledger::new();
    // The first process flushed "ab" as a line of its own; its successor reads "abcd\n" in one.
    let (mut envelope, records) = message(&["a".to_owned()], 0, 1, sender(1, 1));
    envelope.extent.crc32c = crc32c::crc32c(b"ab");
    ledger.load(SourceId(7), AT, None);
    ledger.apply(AT, &envelope, records);
    let applied = apply(&mut ledger, message(&["abcd".to_owned()], 0, 1, sender(2, 2)));
    assert_eq!(bodies(&applied), ["abcd"]);
    assert_eq!(applied.records[0].1.attributes.get("log.reframed"), Some(&Value::Bool(true)));
    assert_eq!(ledger.state(SourceId(7)).unwrap().reframed, 1);
}

#[test]
fn a_cloned_machine_loses_nothing_and_is_seen() {
    let ours = numbered(6);
    let theirs: Vec<String> = (0..6).map(|n| format!("them {n}")).collect();
    let mut ledger = Ledger::new();
    apply(&mut ledger, message(&ours, 0, 3, sender(4, 1)));
    // Both start again: the same epoch, two boots.
    assert_eq!(bodies(&apply(&mut ledger, message(&ours, 3, 5, sender(5, 10)))), ours[3..5]);
    let stray = apply(&mut ledger, message(&theirs, 3, 6, sender(5, 11)));
    assert!(stray.stray);
    assert_ne!(stray.source, SourceId(7));
    assert_eq!(bodies(&stray), theirs[3..]);
    assert_eq!(bodies(&apply(&mut ledger, message(&ours, 5, 6, sender(5, 10)))), ours[5..]);
    let again = apply(&mut ledger, message(&theirs, 3, 6, sender(5, 11)));
    assert_eq!((again.stray, again.outcome, again.source), (false, Outcome::Duplicate, stray.source));
    assert_eq!(ledger.state(stray.source).unwrap().stray_of, Some(SourceId(7)));
}

#[test]
fn the_clone_that_was_not_restarted_is_told_by_its_checksums() {
    let ours = numbered(9);
    let theirs: Vec<String> = (0..9).map(|n| format!("them {n}")).collect();
    let mut ledger = Ledger::new();
    apply(&mut ledger, message(&ours, 0, 3, sender(4, 1)));
    apply(&mut ledger, message(&theirs, 3, 6, sender(5, 2)));
    let late = apply(&mut ledger, message(&ours, 3, 8, sender(4, 1)));
    assert!(late.stray);
    assert_eq!(bodies(&late), ours[3..8]);
}

#[test]
fn a_straggler_of_the_process_before_is_a_duplicate() {
    let lines = numbered(9);
    let mut ledger = Ledger::new();
    apply(&mut ledger, message(&lines, 0, 3, sender(4, 1)));
    apply(&mut ledger, message(&lines, 3, 5, sender(5, 2)));
    // The old process's last message was held up in the broker: other edges, the same bytes.
    let late = apply(&mut ledger, message(&lines, 3, 7, sender(4, 1)));
    assert!(!late.stray);
    assert_eq!(bodies(&late), lines[5..7]);
}

#[test]
fn a_straggler_that_cannot_be_compared_is_told_by_its_time() {
    let (lines, theirs) = (numbered(9), vec!["another".to_owned(); 9]);
    let at = |time: i64, (envelope, mut records): (Envelope, Vec<LogRecord>)| {
        for record in &mut records {
            record.observed_timestamp = Timestamp(time);
        }
        (envelope, records)
    };
    let mut ledger = Ledger::new();
    apply(&mut ledger, at(1, message(&lines, 0, 3, sender(4, 1))));
    apply(&mut ledger, at(20, message(&lines, 3, 8, sender(5, 2))));
    apply(&mut ledger, at(21, message(&lines, 8, 9, sender(5, 2))));
    // Inside what its successor read in one piece.
    let late = apply(&mut ledger, at(19, message(&lines, 4, 6, sender(4, 1))));
    assert_eq!((late.stray, late.outcome, late.records.len()), (false, Outcome::Duplicate, 0));
    // A process that reads on beside its successor is another's.
    let clone = apply(&mut ledger, at(20, message(&theirs, 4, 6, sender(4, 1))));
    assert!(clone.stray);
    assert_eq!(bodies(&clone), theirs[4..6]);
}

#[test]
fn changes_carry_the_versions_that_they_replace() {
    let lines = numbered(4);
    let mut ledger = Ledger::new();
    apply(&mut ledger, message(&lines, 0, 2, sender(1, 1)));
    let first = ledger.take_changes();
    assert_eq!((first.len(), first[0].expected_version), (1, None));
    assert!(ledger.take_changes().is_empty());
    apply(&mut ledger, message(&lines, 2, 4, sender(1, 1)));
    assert_eq!(ledger.take_changes()[0].expected_version, Some(1));

    let mut successor = Ledger::new();
    successor.load(SourceId(7), AT, Some((1, first[0].state.clone())));
    assert_eq!(bodies(&apply(&mut successor, message(&lines, 0, 4, sender(1, 1)))), lines[2..]);
    successor.forget(&[AT]);
    assert!(successor.is_empty());
}

#[test]
fn a_state_survives_its_json() {
    let mut ledger = Ledger::new();
    apply(&mut ledger, message(&["x".to_owned(), String::new(), "y".to_owned()], 0, 3, sender(1, 1)));
    let state = ledger.state(SourceId(7)).unwrap();
    assert_eq!(state.skipped, BTreeMap::from([(SkipReason::Blank, 1)]));
    let json = serde_json::to_string(state).unwrap();
    assert_eq!(serde_json::from_str::<SourceState>(&json).unwrap(), *state);
}

fn place(offset: i64) -> Place<'static> {
    Place { topic: "t", topic_id: None, partition: AT, offset, timestamp: Timestamp(5) }
}

fn account(ledger: &mut Ledger, offset: i64, reading: Reading) -> Accounted {
    while let Some(id) = ledger.missing_for(place(offset), &reading) {
        ledger.load(id, AT, None);
    }
    ledger.account(place(offset), reading)
}

fn undecodable() -> Content {
    Content::Dead { reason: SkipReason::Undecodable, problem: "no OTLP".to_owned(), envelope: None }
}

fn letter(offset: i64) -> Letter {
    Letter { topic: "t".to_owned(), topic_id: None, partition: AT, offset: Some(offset) }
}

#[test]
fn what_was_kept_aside_comes_once_when_it_is_sent_again() {
    let lines = numbered(6);
    let mut ledger = Ledger::new();
    apply(&mut ledger, message(&lines, 0, 2, sender(1, 1)));
    let batch = |from, to| {
        let (envelope, records) = message(&lines, from, to, sender(1, 1));
        Reading { content: Content::Batch(Box::new(envelope), records), letter: None }
    };
    let mut aside = batch(2, 4);
    aside.keep_aside(SkipReason::Quota, "too much".to_owned());
    assert_eq!(account(&mut ledger, 1, aside.clone()).records, []);
    apply(&mut ledger, message(&lines, 4, 6, sender(1, 1)));
    let state = ledger.state(SourceId(7)).unwrap();
    assert_eq!((state.aside.length(), state.skipped[&SkipReason::Quota], state.records), (14, 14, 4));
    assert_eq!(audit(state).verdict, Verdict::CompleteSoFar);
    // The letter comes again, still unreadable; then what it stands for, twice.
    assert_eq!(account(&mut ledger, 3, aside).records, []);
    let revived = Reading { letter: Some(Box::new(letter(1))), ..batch(2, 4) };
    assert_eq!(account(&mut ledger, 4, revived.clone()).records.len(), 2);
    assert_eq!(account(&mut ledger, 5, revived).outcome, Some(Outcome::Duplicate));
    let state = ledger.state(SourceId(7)).unwrap();
    assert_eq!((state.aside.is_empty(), state.skipped.is_empty(), state.records), (true, true, 6));
    assert_eq!(ledger.len(), 2, "the source, and the letters of the partition, of which there are none");
    assert!(ledger.take_changes().iter().all(|change| change.id == SourceId(7)));
}

/// The message that says that the topic takes no record of it.
fn rejected(lines: &[String], from: usize, to: usize) -> Reading {
    let (mut envelope, _) = message(lines, from, to, sender(1, 1));
    for run in &mut envelope.extent.runs {
        if run.kind == RunKind::Record {
            run.kind = RunKind::Skipped(SkipReason::Rejected);
        }
    }
    Reading { content: Content::Batch(Box::new(envelope), Vec::new()), letter: None }
}

#[test]
fn what_the_topic_refused_comes_once_when_it_is_sent_again() {
    let lines = numbered(3);
    let mut ledger = Ledger::new();
    apply(&mut ledger, message(&lines, 0, 1, sender(1, 1)));
    // Said twice: its agent was killed in between.
    for offset in 1..3 {
        assert_eq!(account(&mut ledger, offset, rejected(&lines, 1, 2)).records, []);
        let state = ledger.state(SourceId(7)).unwrap();
        assert_eq!((state.aside.length(), state.skipped[&SkipReason::Rejected]), (7, 7));
    }
    apply(&mut ledger, message(&lines, 2, 3, sender(1, 1)));
    assert_eq!(audit(ledger.state(SourceId(7)).unwrap()).verdict, Verdict::CompleteSoFar);
    let nowhere = Letter { offset: None, ..letter(0) };
    let (envelope, records) = message(&lines, 1, 2, sender(1, 1));
    let letters = accounts(&nowhere, &wire::encode(&envelope, &records).headers);
    assert!(letters.contains(&(SourceId(7), Span { start: 7, end: 14 })), "{letters:?}");
    let content = Content::Batch(Box::new(envelope), records);
    let revived = Reading { content, letter: Some(Box::new(nowhere)) };
    assert_eq!(account(&mut ledger, 4, revived.clone()).records.len(), 1);
    assert_eq!(account(&mut ledger, 5, revived).outcome, Some(Outcome::Duplicate));
    // A late word of the refusal changes nothing any more.
    assert_eq!(account(&mut ledger, 6, rejected(&lines, 1, 2)).outcome, Some(Outcome::Duplicate));
    let state = ledger.state(SourceId(7)).unwrap();
    assert_eq!((state.aside.is_empty(), state.skipped.is_empty(), state.records), (true, true, 3));
}

#[test]
fn a_dead_letter_without_a_range_comes_once_when_it_is_sent_again() {
    let mut ledger = Ledger::new();
    let foreign = || Content::Foreign(StreamName::default(), vec![LogRecord::default()]);
    let dead = || Reading { content: undecodable(), letter: None };
    assert_eq!(account(&mut ledger, 10, dead()).records, []);
    let between = account(&mut ledger, 11, Reading { content: foreign(), letter: None });
    assert_eq!(between.records.len(), 1);
    account(&mut ledger, 12, dead());
    let changed = ledger.take_changes().remove(0);
    assert_eq!((changed.state.aside.length(), changed.state.skipped[&SkipReason::Undecodable]), (2, 2));
    assert_eq!(audit(&changed.state).verdict, Verdict::CompleteSoFar);
    // Still not readable: nothing new.
    account(&mut ledger, 13, Reading { content: undecodable(), letter: Some(Box::new(letter(10))) });
    assert_eq!(ledger.state(changed.id).unwrap().aside.length(), 2);
    let first = account(&mut ledger, 14, Reading { content: foreign(), letter: Some(Box::new(letter(10))) });
    assert_eq!(first.records[0].0.position, 10, "it is named by where it lay first");
    assert_eq!(first.records[0].0.source, between.records[0].0.source);
    for again in [letter(10), letter(11)] {
        let again = account(&mut ledger, 15, Reading { content: foreign(), letter: Some(Box::new(again)) });
        assert_eq!((again.records.len(), again.outcome), (0, Some(Outcome::Duplicate)));
    }
    // Of another topic: what it once was means nothing here.
    let other = Box::new(Letter { topic: "other".to_owned(), ..letter(12) });
    assert_eq!(
        account(&mut ledger, 16, Reading { content: foreign(), letter: Some(other) }).records.len(),
        1
    );
    assert_eq!(ledger.state(changed.id).unwrap().aside.length(), 1);
}

proptest! {
    /// Any messages are kept aside, come again, and are sent again, in any order: every line comes out once.
    #[test]
    fn what_is_kept_aside_is_neither_lost_nor_doubled(
        lines in prop::collection::vec("[a-c]{0,4}", 1..20),
        steps in prop::collection::vec((0usize..20, 1usize..6, 0..3_u8), 1..40),
    ) {
        let mut ledger = Ledger::new();
        let mut out: BTreeMap<u64, String> = BTreeMap::new();
        let mut handle = |from: usize, to: usize, fate: u8| {
            let (envelope, records) = message(&lines, from, to, sender(1, 1));
            let mut reading = Reading { content: Content::Batch(Box::new(envelope), records), letter: None };
            match fate {
                0 => {}
                1 => reading.keep_aside(SkipReason::Quota, String::new()),
                _ => reading = rejected(&lines, from, to),
            }
            for (id, record) in account(&mut ledger, 0, reading).records {
                assert!(out.insert(id.position, record.body.to_string()).is_none(), "twice at {}", id.position);
            }
        };
        for (from, length, fate) in steps {
            let from = from.min(lines.len());
            handle(from, (from + length).min(lines.len()), fate);
        }
        handle(0, lines.len(), 1);
        handle(0, lines.len(), 0);
        let expected: Vec<String> = lines.iter().filter(|line| !line.is_empty()).cloned().collect();
        prop_assert_eq!(out.into_values().collect::<Vec<_>>(), expected);
        let state = ledger.state(SourceId(7)).unwrap();
        let blank = lines.iter().filter(|line| line.is_empty()).count() as u64;
        let skipped = if blank > 0 { BTreeMap::from([(SkipReason::Blank, blank)]) } else { BTreeMap::new() };
        prop_assert_eq!((state.aside.is_empty(), &state.skipped), (true, &skipped));
    }

    /// Processes die and start again at any delivered edge, ship in pieces of any size, and messages come again at
    /// will: every line comes out once, in its place.
    #[test]
    fn every_line_comes_out_exactly_once(
        lines in prop::collection::vec("[a-c]{0,4}", 1..30),
        steps in prop::collection::vec((0usize..30, 1usize..8, any::<bool>()), 1..40),
    ) {
        let mut ledger = Ledger::new();
        let mut out: BTreeMap<u64, String> = BTreeMap::new();
        let (mut epoch, mut reached) = (1u64, 0usize);
        let mut handle = |ledger: &mut Ledger, from: usize, to: usize, epoch: u64| {
            let applied = apply(ledger, message(&lines, from, to, sender(epoch, u128::from(epoch))));
            assert!(!applied.stray);
            for (position, record) in applied.records {
                assert!(out.insert(position, record.body.to_string()).is_none(), "twice at {position}");
            }
        };
        for (back, length, restart) in steps {
            if restart {
                epoch += 1;
            }
            let from = if restart { reached.saturating_sub(back) } else { reached };
            let to = (from + length).min(lines.len());
            handle(&mut ledger, from, to, epoch);
            reached = reached.max(to);
        }
        epoch += 1;
        handle(&mut ledger, 0, lines.len(), epoch);
        let expected: Vec<String> = lines.iter().filter(|line| !line.is_empty()).cloned().collect();
        prop_assert_eq!(out.into_values().collect::<Vec<_>>(), expected);
        prop_assert!(audit(ledger.state(SourceId(7)).unwrap()).is_complete());
    }
}
