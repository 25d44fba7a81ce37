//! Correlations, and the faults of time that other engines have with them.

use crate::{Detector, DetectorSettings, Finding, FindingKind, RuleError, RuleFile, RuleSet};
use millrace_model::{Attributes, LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value};
use std::sync::Arc;

const BASE: &str = "\
title: failed
name: failed
logsource: { product: linux }
detection: { k: { action: failed }, condition: k }
---
title: accepted
name: accepted
logsource: { product: linux }
detection: { k: { action: accepted }, condition: k }
---
";

fn load(correlation: &str) -> (RuleSet, Vec<RuleError>) {
    RuleSet::load(vec![RuleFile { path: "c.yml".into(), text: format!("{BASE}{correlation}") }])
}

fn correlation(kind: &str, rules: &str, more: &str) -> String {
    format!(
        "title: c\nid: c\nlevel: high\ncorrelation:\n  type: {kind}\n  rules: [{rules}]\n  group-by: [user]\n  timespan: 1m\n{more}\n"
    )
}

struct Play {
    detector: Detector,
    number: u64,
    out: Vec<Finding>,
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

impl Play {
    fn new(correlation: &str) -> Self {
        let (rules, errors) = load(correlation);
        assert!(errors.is_empty(), "{errors:?}");
        Self {
            detector: Detector::new(Arc::new(rules), DetectorSettings::default()),
            number: 0,
            out: Vec::new(),
        }
    }

    /// Seconds at which it happened and is heard; the rules that fire.
    fn hear(&mut self, happened: f64, heard: f64, fields: &[(&str, &str)]) -> Vec<String> {
        self.number += 1;
        let (happened, heard) = (at((happened * 1e3) as i64), at((heard * 1e3) as i64));
        let mut attributes = Attributes::new();
        for (name, value) in fields {
            attributes.set(*name, *value);
        }
        let mut resource = Attributes::new();
        resource.set("host.name", "web1");
        let record = LogRecord {
            timestamp: Some(happened),
            observed_timestamp: heard,
            body: Value::from("x"),
            attributes,
            resource: Arc::new(resource),
            ..LogRecord::default()
        };
        let id = RecordId { source: SourceId(1), position: self.number, index: 0 };
        self.out.clear();
        let row = Row { id, stream: StreamName::default(), time: happened, record };
        self.detector.observe(&row, heard, &mut self.out);
        self.fired()
    }

    fn put(&mut self, second: f64, action: &str, user: &str) -> Vec<String> {
        self.hear(second, second, &[("action", action), ("user", user)])
    }

    fn fired(&self) -> Vec<String> {
        let fired = self.out.iter().filter(|finding| finding.kind == FindingKind::Fired);
        fired.map(|finding| finding.rule_id.clone()).collect()
    }
}

#[test]
fn event_counts_by_group() {
    for (condition, count) in [("gte: 3", 3), ("gt: 3", 4)] {
        let mut play =
            Play::new(&correlation("event_count", "failed", &format!("  condition: {{ {condition} }}")));
        for number in 1..=5 {
            assert!(play.put(f64::from(number), "failed", &format!("u{number}")).is_empty());
            assert!(!play.put(f64::from(number), "accepted", "al").contains(&"c".to_owned()));
            let expected: &[&str] = if number == count { &["c"] } else { &[] };
            assert_eq!(play.put(f64::from(number), "failed", "al"), expected, "{condition} {number}");
        }
        assert_eq!(play.out.iter().map(|finding| finding.group["user"].as_str()).collect::<Vec<_>>(), ["al"]);
    }
}

#[test]
fn rules_without_ids_correlate_and_are_silent_unless_they_are_told_to_speak() {
    let silent = correlation("event_count", "failed", "  condition: { gte: 2 }");
    let speaks = format!("{silent}generate: true\n");
    for (text, expected) in [(&silent, 0), (&speaks, 1)] {
        let mut play = Play::new(text);
        assert_eq!(play.put(0.0, "failed", "al").len(), expected);
        assert_eq!(play.put(1.0, "failed", "al"), ["c"]);
        assert_eq!(play.put(1.0, "accepted", "al").len(), 1, "nobody refers to this one");
    }
}

#[test]
fn value_counts() {
    let text = correlation("value_count", "failed", "  condition: { gte: 3, field: port }")
        .replace("[user]", "[host.name]");
    let mut play = Play::new(&text);
    let mut put =
        |second: f64, port: &str| play.hear(second, second, &[("action", "failed"), ("port", port)]);
    assert!(put(0.0, "1").is_empty() && put(1.0, "1").is_empty() && put(2.0, "2").is_empty());
    assert_eq!(put(3.0, "3"), ["c"]);
    assert!(
        play.hear(4.0, 4.0, &[("action", "failed")]).is_empty(),
        "without the field there is nothing to count"
    );
}

#[test]
fn temporal_in_order_and_in_any() {
    for (kind, forward, backward) in [("temporal", 1, 1), ("temporal_ordered", 1, 0)] {
        let run = |order: [&str; 2], gap: f64| {
            let mut play = Play::new(&correlation(kind, "failed, accepted", ""));
            play.put(0.0, order[0], "al").len() + play.put(gap, order[1], "al").len()
        };
        assert_eq!(run(["failed", "accepted"], 10.0), forward);
        assert_eq!(run(["accepted", "failed"], 10.0), backward);
        assert_eq!(run(["failed", "accepted"], 60.0), 0, "{kind}");
        // Within one second what comes first in the source came first.
        assert_eq!(run(["failed", "accepted"], 0.0), forward);
        assert_eq!(run(["accepted", "failed"], 0.0), backward);
        let mut play = Play::new(&correlation(kind, "failed, accepted", ""));
        assert_eq!(
            play.put(0.0, "failed", "al").len() + play.put(1.0, "accepted", "bo").len(),
            0,
            "two users"
        );
    }
}

#[test]
fn values_are_measured() {
    let put = |play: &mut Play, second: f64, bytes: &str| {
        let mut fired = play.hear(second, second, &[("action", "failed"), ("user", "al"), ("bytes", bytes)]);
        play.out.clear();
        play.detector.tick(at((second * 1e3) as i64 + 1_500), &mut play.out);
        fired.extend(play.fired());
        fired.len()
    };
    for (kind, condition, values, expected) in [
        ("value_sum", "gte: 100", &["40", "60", "1"][..], 1),
        ("value_sum", "gt: 100", &["40", "60"], 0),
        ("value_avg", "lt: 10", &["30", "2", "n/a", "1"], 0),
        ("value_avg", "lte: 10", &["12", "8"], 1),
        ("value_median", "gt: 5", &["1", "1", "9"], 0),
        ("value_percentile", "gte: 9, percentile: 100", &["1", "1", "9"], 1),
    ] {
        let mut play =
            Play::new(&correlation(kind, "failed", &format!("  condition: {{ {condition}, field: bytes }}")));
        let fired: usize =
            values.iter().enumerate().map(|(number, value)| put(&mut play, number as f64 * 5.0, value)).sum();
        assert_eq!(fired, expected, "{kind} {condition}");
    }
}

#[test]
fn aliases_call_fields_by_other_names() {
    let text =
        correlation("temporal", "failed, accepted", "  aliases:\n    who: { failed: user, accepted: name }")
            .replace("[user]", "[who]");
    let mut play = Play::new(&text);
    assert!(play.put(0.0, "failed", "al").is_empty());
    assert!(play.hear(1.0, 1.0, &[("action", "accepted"), ("name", "bo"), ("user", "al")]).is_empty());
    assert_eq!(play.hear(2.0, 2.0, &[("action", "accepted"), ("name", "al")]), ["c"]);
    assert_eq!(play.out[0].group["who"], "al");
}

#[test]
fn correlations_of_correlations() {
    let text = format!(
        "{}name: many\n---\ntitle: then\nid: then\ncorrelation:\n  type: temporal_ordered\n  rules: [many, accepted]\n  group-by: [user]\n  timespan: 5m\n",
        correlation("event_count", "failed", "  condition: { gte: 3 }")
    );
    let mut play = Play::new(&text);
    for second in 0..3 {
        assert!(play.put(f64::from(second), "failed", "al").is_empty(), "the inner one is silent");
    }
    assert!(play.put(3.0, "accepted", "bo").is_empty());
    assert_eq!(play.put(4.0, "accepted", "al"), ["then"]);
    play.out.clear();
    play.detector.tick(at(10_000_000), &mut play.out);
    assert_eq!(play.out.iter().map(|finding| finding.rule_id.as_str()).collect::<Vec<_>>(), ["then"]);
}

#[test]
fn one_record_from_the_future_hides_nothing() {
    let mut play = Play::new(&correlation("event_count", "failed", "  condition: { gte: 5 }"));
    for second in 0..4 {
        assert!(play.put(f64::from(second), "failed", "al").is_empty());
    }
    assert!(play.hear(1e6, 4.0, &[("action", "failed"), ("user", "al")]).is_empty());
    assert_eq!(play.put(5.0, "failed", "al"), ["c"]);
}

#[test]
fn records_of_another_hour_do_not_count_together() {
    let mut play = Play::new(&correlation("event_count", "failed", "  condition: { gte: 5 }"));
    assert!(play.hear(5000.0, 5000.0, &[("action", "failed"), ("user", "al")]).is_empty());
    for second in 0..4 {
        let fields = [("action", "failed"), ("user", "al")];
        assert!(play.hear(1000.0 + f64::from(second), 5001.0, &fields).is_empty());
    }
}

#[test]
fn what_is_not_understood_is_said() {
    for (text, expected) in [
        (correlation("event_count", "failed", "  condition: { lte: 5 }"), "flatline"),
        (correlation("event_count", "failed", "  condition: { gte: 5, lte: 9 }"), "gt and gte"),
        (correlation("value_count", "failed", "  condition: { gte: 5 }"), "field"),
        (correlation("temporal", "failed", ""), "two rules"),
        (format!("sigma-version: 3\n{}", correlation("temporal", "failed, accepted", "")), "2 or nothing"),
        (correlation("temporal", "failed, accepted", "  condition: failed or accepted"), "only `and`"),
        (correlation("event_count", "failed, nobody", "  condition: { gte: 5 }"), "no rule \"nobody\""),
        (correlation("event_count", "c", "  condition: { gte: 5 }"), "refers to itself"),
        (correlation("event_count", "failed", "  condition: { gte: 5 }\n  window: tumbling"), "sliding"),
        (correlation("event_count", "", "  condition: { gte: 5 }"), "1 to 64"),
        (
            correlation(
                "event_count",
                "failed",
                "  condition: { gte: 5 }\ndetection: { k: [x], condition: k }",
            ),
            "no `detection`",
        ),
    ] {
        let (rules, errors) = load(&text);
        assert!(rules.get("c").is_none() && errors.len() == 1, "{text}: {errors:?}");
        assert!(errors[0].message.contains(expected), "{expected}: {errors:?}");
        assert!(errors[0].line.is_some_and(|line| line >= 11), "{errors:?}");
    }
    // What a correlation that is wrong would have kept quiet stays quiet.
    let (rules, _) = load(&correlation("event_count", "failed", "  condition: { lte: 5 }"));
    assert_eq!(rules.rules().iter().map(|rule| rule.title.as_str()).collect::<Vec<_>>(), ["accepted"]);
}
