//! A detector that is handed what was there before goes on as one that was there.

use crate::{Detector, DetectorSettings, Finding, FindingKind, Past, Rule, RuleFile, RuleSet};
use millrace_model::{LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value};
use std::{sync::Arc, time::Duration};

const DAY: i64 = 86_400;

/// Seconds since an arbitrary day.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_006_400 + seconds) * 1000)
}

fn row(number: u64, second: i64, user: &str, host: &str) -> Row {
    let mut record = LogRecord {
        timestamp: Some(at(second)),
        observed_timestamp: at(second),
        body: Value::from("it failed"),
        ..LogRecord::default()
    };
    record.attributes.set("user", user);
    record.attributes.set("host", host);
    let id = RecordId { source: SourceId(3), position: number, index: 0 };
    Row { id, stream: StreamName::default(), time: record.time(), record }
}

fn rules(kind: &str, terms: &str) -> Arc<RuleSet> {
    let text = format!("title: r\nid: r\nkind: {kind}\nquery: failed\n{kind}: {{ {terms} }}\n");
    let (set, errors) = RuleSet::load(vec![RuleFile { path: "r.yml".to_owned(), text }]);
    assert!(errors.is_empty(), "{errors:?}");
    Arc::new(set)
}

/// What was there before `until`, of these records.
fn past<'r>(rules: &RuleSet, until: i64, rows: impl IntoIterator<Item = &'r Row>) -> Past {
    let rule = rules.get("r").unwrap();
    let mut past = Past::new(rule, at(until));
    let range = rule.past(at(until)).unwrap();
    for row in rows.into_iter().filter(|row| range.contains(row.time)) {
        past.observe(rule, row).unwrap();
    }
    past
}

/// A detector to which its rules have come at that time.
fn came(rules: &Arc<RuleSet>, second: i64) -> Detector {
    let mut detector = Detector::new(Arc::clone(rules), DetectorSettings::default());
    detector.tick(at(second), &mut Vec::new());
    detector
}

/// Which rules want what was there before when.
fn wanting(detector: &Detector) -> impl Iterator<Item = (&Rule, Timestamp)> {
    detector.pasts().filter_map(|(rule, came)| Some((rule, came?)))
}

fn heard(detector: &mut Detector, row: &Row) -> Vec<Finding> {
    let mut out = Vec::new();
    detector.observe(row, row.time, &mut out);
    out
}

#[test]
fn a_value_that_was_there_is_not_new_and_one_that_was_not_is_at_once() {
    let rules = rules("new_term", "fields: [user], history: 30d, learn: 1d");
    let before = [row(1, -2 * DAY, "ann", "h"), row(2, -60, "bob", "h"), row(3, -31 * DAY, "old", "h")];
    let mut detector = came(&rules, 0);
    assert_eq!(
        wanting(&detector).map(|(rule, came)| (rule.id.as_str(), came)).collect::<Vec<_>>(),
        [("r", at(0))]
    );
    assert!(detector.remember(&past(&rules, 0, &before)));
    assert_eq!(wanting(&detector).count(), 0);
    for (number, user, is_new) in
        [(10, "ann", false), (11, "bob", false), (12, "eve", true), (13, "old", true)]
    {
        let found = heard(&mut detector, &row(number, 5, user, "h"));
        assert_eq!(
            found.iter().any(|finding| finding.kind == FindingKind::Fired),
            is_new,
            "{user}: {found:?}"
        );
    }
    // One that was handed nothing learns first.
    assert_eq!(heard(&mut came(&rules, 0), &row(12, 5, "eve", "h")), []);
}

#[test]
fn learning_takes_as_long_as_it_does_and_what_was_there_before_counts() {
    let rules = rules("new_term", "fields: [user], history: 30d, learn: 1d");
    let mut detector = came(&rules, 0);
    assert!(detector.remember(&past(&rules, 0, &[row(1, -DAY / 2, "ann", "h")])));
    assert_eq!(heard(&mut detector, &row(2, 5, "eve", "h")), []);
    assert_eq!(heard(&mut detector, &row(3, DAY / 2, "joe", "h")).len(), 1);
}

#[test]
fn each_group_is_handed_its_own() {
    let rules = rules("new_term", "fields: [user], learn: 1d, group_by: [host]");
    let mut detector = came(&rules, 0);
    let before = [row(1, -2 * DAY, "ann", "one"), row(2, -2 * DAY, "bob", "two")];
    assert!(detector.remember(&past(&rules, 0, &before)));
    assert_eq!(heard(&mut detector, &row(3, 5, "bob", "one")).len(), 1);
    assert_eq!(heard(&mut detector, &row(4, 5, "bob", "two")), []);
    // Of a third nothing is known, so it learns.
    assert_eq!(heard(&mut detector, &row(5, 5, "bob", "three")), []);
}

#[test]
fn what_was_heard_meanwhile_is_kept() {
    let rules = rules("new_term", "fields: [user], learn: 1d, seen_at_most: 1");
    let mut detector = came(&rules, 0);
    heard(&mut detector, &row(3, 1, "ann", "h"));
    heard(&mut detector, &row(4, 2, "new", "h"));
    assert!(detector.remember(&past(&rules, 0, &[row(1, -2 * DAY, "ann", "h"), row(2, -DAY, "ann", "h")])));
    assert_eq!(heard(&mut detector, &row(5, 5, "ann", "h")), [], "three times before");
    assert_eq!(heard(&mut detector, &row(6, 5, "new", "h")).len(), 1, "once before, which is rare");
    assert_eq!(heard(&mut detector, &row(7, 6, "new", "h")).len(), 0);
}

#[test]
fn it_is_handed_over_once_and_a_snapshot_knows() {
    let rules = rules("new_term", "fields: [user], learn: 1d");
    let mut detector = came(&rules, 0);
    heard(&mut detector, &row(2, 1, "bob", "h"));
    let restored = |snapshot: &str| {
        let mut detector = Detector::new(Arc::clone(&rules), DetectorSettings::default());
        detector.restore(snapshot).unwrap();
        detector.tick(at(100), &mut Vec::new());
        detector
    };
    // It stopped before: what is wanted is what was there when the rule came, not what was counted since.
    let again = restored(&detector.snapshot());
    assert_eq!(wanting(&again).map(|(_, came)| came).collect::<Vec<_>>(), [at(0)]);

    let past = past(&rules, 0, &[row(1, -2 * DAY, "ann", "h")]);
    assert!(detector.remember(&past));
    let once = detector.snapshot();
    assert!(!detector.remember(&past));
    assert_eq!(detector.snapshot(), once);
    let mut again = restored(&once);
    assert_eq!(wanting(&again).count(), 0);
    assert!(!again.remember(&past));
    assert_eq!(heard(&mut again, &row(3, 101, "eve", "h")).len(), 1);
}

#[test]
fn what_was_gathered_for_another_rule_or_another_time_is_not_taken() {
    let old = rules("new_term", "fields: [user], learn: 1d");
    let new = rules("new_term", "fields: [user], learn: 2d");
    let mut detector = came(&old, 0);
    assert!(!detector.remember(&past(&new, 0, &[])), "it decides otherwise");
    assert!(!detector.remember(&past(&old, -1, &[])), "of the time until it came nothing is known");
    assert!(!detector.remember(&past(&old, 11, &[])), "what it heard itself would count twice");
    assert!(detector.remember(&past(&old, 10, &[])));
    detector.replace_rules(new);
    assert_eq!(wanting(&detector).count(), 0, "it has not come yet");
    detector.tick(at(50), &mut Vec::new());
    assert_eq!(wanting(&detector).map(|(_, came)| came).collect::<Vec<_>>(), [at(50)]);
    detector.replace_rules(rules("threshold", "count: 3, window: 1m"));
    detector.tick(at(60), &mut Vec::new());
    assert_eq!(wanting(&detector).count(), 0);
}

#[test]
fn what_has_no_room_is_passed_over_and_counted() {
    let rules = rules("new_term", "fields: [user], learn: 1d, group_by: [host]");
    let settings = DetectorSettings { max_groups: 3, ..DetectorSettings::default() };
    let mut detector = Detector::new(Arc::clone(&rules), settings);
    detector.tick(at(0), &mut Vec::new());
    heard(&mut detector, &row(1, 1, "ann", "mine"));
    let before: Vec<Row> = (0..10).map(|n| row(n, -2 * DAY, "ann", &format!("h{n}"))).collect();
    assert!(detector.remember(&past(&rules, 0, &before)));
    assert_eq!((detector.stats().groups, detector.stats().evicted), (3, 8));
    let evicted: Vec<_> =
        detector.take_rule_stats().map(|(rule, stats)| (rule.id.clone(), stats.evicted)).collect();
    assert_eq!(evicted, [("r".to_owned(), 8)]);
    assert_eq!(detector.take_rule_stats().count(), 0, "they are told once");
}

#[test]
fn a_group_that_nothing_is_heard_of_here_is_never_found_silent() {
    let rules =
        rules("baseline", "interval: 1m, deviation: 3, direction: both, at_least: 1, group_by: [host]");
    let before: Vec<Row> = [steady("here", -120..0), steady("elsewhere", -120..0)].concat();
    let mut detector = came(&rules, 0);
    assert!(detector.remember(&past(&rules, 0, &before)));
    let mut out = Vec::new();
    for row in steady("here", 0..30) {
        detector.observe(&row, row.time, &mut out);
    }
    detector.tick(at(30 * 60), &mut out);
    assert_eq!(out, []);
    // What is heard of here is missed when it stops.
    detector.tick(at(33 * 60), &mut out);
    let hosts = |out: &[Finding]| -> Vec<String> {
        let fired = out.iter().filter(|finding| finding.kind == FindingKind::Fired);
        fired.map(|finding| finding.group["host"].clone()).collect()
    };
    assert_eq!(hosts(&out), ["here"]);
    // The other is known by its past as soon as it comes: so few are not usual.
    detector.observe(&row(1, 40 * 60 + 1, "ann", "elsewhere"), at(40 * 60 + 1), &mut out);
    out.clear();
    detector.tick(at(42 * 60), &mut out);
    assert_eq!(hosts(&out), ["elsewhere"]);
}

#[test]
fn counts_are_as_good_as_records() {
    let rules = rules("baseline", "interval: 5m, deviation: 3, group_by: [host, missing]");
    let rule = rules.get("r").unwrap();
    let (interval, fields) = rule.counts_by().unwrap();
    assert_eq!((interval, fields), (Duration::from_mins(5), vec!["host", "missing"]));
    let rows: Vec<Row> =
        (0..100).map(|n| row(n, -(n as i64 + 1) * 60, "ann", &format!("h{}", n % 3))).collect();
    let observed = past(&rules, 0, &rows);
    let mut counted = Past::new(rule, at(0));
    for row in &rows {
        let start = Timestamp(row.time.0 - row.time.0.rem_euclid(300_000_000_000));
        let host = row.record.attributes.get("host").unwrap().clone();
        counted.count(rule, &[host, Value::Null], start, 1).unwrap();
    }
    assert_eq!(counted.records(), observed.records());
    let snapshot = |past: &Past| {
        let mut detector = came(&rules, 0);
        assert!(detector.remember(past));
        detector.snapshot()
    };
    assert_eq!(snapshot(&counted), snapshot(&observed));
    let patterns = "title: r\nid: r\nkind: baseline\nquery: failed\nextract: '(?P<who>\\S+)'\nbaseline: { interval: 5m, group_by: [who] }\n";
    let (set, _) = RuleSet::load(vec![RuleFile { path: "r".to_owned(), text: patterns.to_owned() }]);
    assert!(set.get("r").unwrap().counts_by().is_none(), "what patterns find is in no field");
}

/// Ten records a minute, but for some of the minutes.
fn steady(host: &str, minutes: std::ops::Range<i64>) -> Vec<Row> {
    let of_minute = |minute: i64| (0..10 + minute % 3).map(move |n| minute * 60 + n * 5);
    let rows =
        minutes.flat_map(of_minute).map(|second| row((second + 1_000_000) as u64, second, "ann", host));
    rows.collect()
}

#[test]
fn a_baseline_that_is_handed_its_past_finds_what_one_that_watched_it_finds() {
    let rules = rules("baseline", "interval: 1m, deviation: 3, at_least: 1");
    let burst = (0..200).map(|n| row(n, 3 * 60 * 60 + 120 + n as i64 / 10, "ann", "here"));
    let rows: Vec<Row> = steady("here", 0..180).into_iter().chain(burst).collect();
    // It comes in the middle of a minute, and is handed its past some minutes later.
    let (came_after, handed_after) = (170 * 60 + 25, 174 * 60 + 10);
    let split = rows.partition_point(|row| row.time < at(came_after));
    let (mut watching, mut here, mut without) =
        (came(&rules, 0), came(&rules, came_after), came(&rules, came_after));
    let mut past = Some(past(&rules, came_after, &rows[..split]));
    let mut found = [Vec::new(), Vec::new(), Vec::new()];
    for (number, row) in rows.iter().enumerate() {
        watching.observe(row, row.time, &mut found[0]);
        if number >= split {
            without.observe(row, row.time, &mut found[2]);
            if row.time >= at(handed_after)
                && let Some(past) = past.take()
            {
                assert!(here.remember(&past));
            }
            here.observe(row, row.time, &mut found[1]);
        }
    }
    for (detector, found) in [&mut watching, &mut here, &mut without].into_iter().zip(&mut found) {
        detector.tick(at(3 * 60 * 60 + 185), found);
    }
    let told = |found: &[Finding]| -> Vec<_> {
        let fired = found.iter().filter(|finding| finding.kind == FindingKind::Fired);
        fired.map(|finding| (finding.first, finding.count, finding.value.map(f64::to_bits))).collect()
    };
    let [watching, here, without] = found;
    assert!(watching.iter().any(|finding| finding.count == 200), "{watching:?}");
    assert_eq!(told(&here), told(&watching));
    assert_ne!(told(&without), told(&watching), "ten minutes tell less");
}
