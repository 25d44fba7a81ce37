//! What each kind of rule does, case by case: those that `ElastAlert` 2's rule types are tested with, told of ours. What it calls
//! a match is here a record that makes a rule fire or goes on with that; its silence is over when ours is resolved.

use crate::{Detector, DetectorSettings, Finding, FindingKind, Past, RuleFile, RuleSet};
use millrace_model::{Attributes, LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value};
use serde_json::{Value as Json, json};
use std::{sync::Arc, time::Duration};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

/// A rule, and the stream that it watches.
struct Play {
    detector: Detector,
    number: u64,
    out: Vec<Finding>,
}

impl Play {
    /// Where order decides, nothing is waited for: these records come in order.
    fn new(rule: &str) -> Self {
        Self::patient(rule, Duration::ZERO)
    }

    fn patient(rule: &str, patience: Duration) -> Self {
        let text = format!("title: r\nid: r\n{rule}\n");
        let (rules, errors) = RuleSet::load(vec![RuleFile { path: "r.yml".into(), text }]);
        assert!(errors.is_empty(), "{errors:?}");
        let settings =
            DetectorSettings { patience, update_every: Duration::ZERO, ..DetectorSettings::default() };
        Self { detector: Detector::new(Arc::new(rules), settings), number: 0, out: Vec::new() }
    }

    /// A record that happened at that second and is heard at another.
    fn late(&mut self, happened: f64, heard: f64, fields: &Json) -> Vec<(FindingKind, String)> {
        self.number += 1;
        let (happened, heard) = (at((happened * 1000.0) as i64), at((heard * 1000.0) as i64));
        let mut attributes = Attributes::new();
        for (name, value) in fields.as_object().unwrap() {
            match value {
                Json::Null => {}
                Json::String(text) => attributes.set(name.as_str(), text.as_str()),
                Json::Number(number) => attributes.set(name.as_str(), number.as_f64().unwrap()),
                other => attributes.set(name.as_str(), Value::from(other.to_string().as_str())),
            }
        }
        let record = LogRecord {
            timestamp: Some(happened),
            observed_timestamp: happened,
            body: Value::from("something happened"),
            attributes,
            ..LogRecord::default()
        };
        let id = RecordId { source: SourceId(1), position: self.number, index: 0 };
        let row = Row { id, stream: StreamName::default(), time: happened, record };
        self.out.clear();
        self.detector.observe(&row, heard, &mut self.out);
        self.told()
    }

    fn put(&mut self, second: f64, fields: &Json) -> Vec<(FindingKind, String)> {
        self.late(second, second, fields)
    }

    /// So many records at that second; how often the rule fires or goes on.
    fn many(&mut self, count: usize, second: f64, fields: &Json) -> Vec<(FindingKind, String)> {
        (0..count).flat_map(|_| self.put(second, fields)).collect()
    }

    fn tick(&mut self, second: f64) -> Vec<(FindingKind, String)> {
        self.out.clear();
        self.detector.tick(at((second * 1000.0) as i64), &mut self.out);
        self.told()
    }

    fn told(&self) -> Vec<(FindingKind, String)> {
        let one =
            |finding: &Finding| (finding.kind, finding.group.values().cloned().collect::<Vec<_>>().join("/"));
        self.out.iter().map(one).collect()
    }
}

/// How many of them are new.
fn fired(told: &[(FindingKind, String)]) -> usize {
    told.iter().filter(|(kind, _)| *kind == FindingKind::Fired).count()
}

/// How many of them are what `ElastAlert` calls matches.
fn matches(told: &[(FindingKind, String)]) -> usize {
    told.iter().filter(|(kind, _)| *kind != FindingKind::Resolved).count()
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;

#[test]
fn any() {
    let mut play = Play::new("kind: threshold\nquery: '*'\nthreshold: { count: 1, window: 1m }");
    assert_eq!(fired(&play.put(0.0, &json!({}))), 1);
}

fn frequency(count: usize, group_by: &str) -> Play {
    Play::new(&format!(
        "kind: threshold\nquery: '*'\nthreshold: {{ count: {count}, window: 1h, group_by: [{group_by}] }}"
    ))
}

#[test]
fn frequency_of_sixty() {
    for (count, group_by, expected) in [(59, "", 1), (59, "user", 1), (61, "", 0)] {
        let mut play = frequency(count, group_by);
        let told: Vec<_> =
            (0..60).flat_map(|second| play.put(f64::from(second), &json!({ "user": "al" }))).collect();
        assert_eq!(fired(&told), expected, "{count}");
        play.tick(48.0 * HOUR);
        assert_eq!((play.detector.stats().groups, play.detector.stats().events), (0, 0));
    }
}

#[test]
fn frequency_of_counts() {
    let none = json!({});
    let mut play = frequency(100, "");
    let mut told = Vec::new();
    for (count, minute) in [(75, 0.0), (10, 15.0), (10, 25.0), (6, 45.0)] {
        assert_eq!(fired(&told), 0);
        told = play.many(count, minute * MINUTE, &none);
    }
    assert_eq!(fired(&told), 1, "at the fourth");
    let mut play = frequency(100, "");
    for (count, minute) in [(75, 0.0), (10, 45.0), (10, 55.0), (6, 65.0)] {
        assert_eq!(fired(&play.many(count, minute * MINUTE, &none)), 0, "75 are too old by then");
    }
    let late: Vec<_> = (0..75).flat_map(|_| play.late(60.0 * MINUTE, 65.0 * MINUTE, &none)).collect();
    assert_eq!(fired(&late), 1);
}

#[test]
fn frequency_out_of_order() {
    let mut play = frequency(60, "");
    let mut heard = |range: std::ops::Range<i32>, before: f64| -> usize {
        range.map(|second| fired(&play.late(f64::from(second) - before, 60.0, &json!({})))).sum()
    };
    assert_eq!(heard(0..10, 0.0) + heard(0..50, HOUR + 60.0), 0);
    assert_eq!(heard(15..20, 0.0) + heard(10..15, 0.0) + heard(20..55, 0.0) + heard(57..60, 0.0), 0);
    assert_eq!(heard(55..57, 0.0), 1);
}

#[test]
fn frequency_of_terms() {
    let mut play = frequency(10, "user");
    let mut put = |a: usize, b: usize, minute: f64| {
        let told = [
            play.many(a, minute * MINUTE, &json!({ "user": "A" })),
            play.many(b, minute * MINUTE, &json!({ "user": "B" })),
        ];
        told.concat()
            .into_iter()
            .filter(|(kind, _)| *kind == FindingKind::Fired)
            .map(|(_, user)| user)
            .collect::<Vec<_>>()
    };
    assert!(put(1, 5, 0.0).is_empty());
    assert_eq!(put(8, 5, 10.0), ["B"]);
    assert_eq!(put(3, 0, 25.0), ["A"]);
}

fn spike(more: &str) -> Play {
    Play::patient(&format!("kind: spike\nquery: '*'\nspike: {{ {more} }}"), Duration::from_millis(100))
}

#[test]
fn spike_of_counts() {
    let none = json!({});
    let told = |counts: [usize; 3]| {
        let mut play = spike("window: 10s, height: 2, direction: both, min_reference: 10");
        let mut told = Vec::new();
        for (number, count) in counts.into_iter().enumerate() {
            told.extend(play.many(count, 10.0 * number as f64, &none));
        }
        told.extend(play.tick(20.5));
        fired(&told)
    };
    assert_eq!(told([10, 10, 20]), 1);
    assert_eq!(told([10, 10, 0]), 1, "down");
    assert_eq!(told([10, 10, 10]), 0);
}

#[test]
fn spike_of_rates() {
    // A record a second for 50 s; then two a second, or one in two seconds.
    let run = |more: &str, gap: f64| {
        let mut play = spike(more);
        let mut told = Vec::new();
        for second in 0..50 {
            told.extend(play.put(f64::from(second), &json!({})));
        }
        let mut second = 50.0;
        while second < 75.0 {
            told.extend(play.tick(second));
            told.extend(play.put(second, &json!({})));
            second += gap;
        }
        told.extend(play.tick(75.0));
        fired(&told)
    };
    assert_eq!(run("window: 10s, height: 2, direction: up", 1.0), 0, "constant");
    assert_eq!(run("window: 10s, height: 2, direction: up", 0.5), 1, "it doubles, once");
    assert_eq!(run("window: 10s, height: 3, direction: up", 0.5), 0);
    assert_eq!(run("window: 10s, height: 2, direction: down", 25.0), 1, "a gap of 25 s");
    assert_eq!(run("window: 10s, height: 2, direction: up, min_reference: 11", 0.5), 0);
    assert_eq!(run("window: 10s, height: 2, direction: up, min_current: 30", 0.5), 0);
}

#[test]
fn spike_where_there_was_nothing() {
    let mut play = spike("window: 30s, height: 2, new_groups: true, min_current: 25");
    assert!(play.tick(0.0).is_empty());
    let mut told: Vec<_> = (0..25).flat_map(|n| play.put(70.0 + f64::from(n) / 10.0, &json!({}))).collect();
    told.extend(play.tick(74.0));
    assert_eq!(fired(&told), 1);
}

#[test]
fn spike_by_user() {
    for (who, expected) in [("other", 0), ("al", 1)] {
        let mut play = spike("window: 10s, height: 2, group_by: [a.b.user]");
        let mut told = Vec::new();
        for second in 0..75 {
            let second = f64::from(second);
            told.extend(play.put(second, &json!({ "a.b.user": "al" })));
            if second > 50.0 {
                told.extend(play.put(second, &json!({ "a.b.user": who })));
            }
        }
        assert_eq!(fired(&told), expected, "{who}");
    }
    // Without the window before, or without the present one, there is nothing to compare.
    let mut play = spike("window: 10s, height: 2, direction: both, group_by: [user]");
    assert_eq!(matches(&play.many(50, 0.0, &json!({ "user": "al" }))), 0);
}

#[test]
fn spike_of_terms() {
    let of = |user: &str| json!({ "user": user });
    let mut play = spike("window: 10m, height: 2, group_by: [user]");
    let mut told = Vec::new();
    for (a, b, minute) in [(10, 5, 0.0), (22, 5, 9.0), (25, 27, 24.0)] {
        assert_eq!(fired(&told), 0, "the windows are not full");
        told.extend(play.many(a, minute * MINUTE, &of("A")));
        told.extend(play.many(b, minute * MINUTE, &of("B")));
        told.extend(play.tick(minute * MINUTE + 1.0));
    }
    assert_eq!(fired(&told), 1);
    assert!(told.contains(&(FindingKind::Fired, "B".to_owned())));
    let steady: Vec<_> =
        (25..60).flat_map(|minute| play.many(5, f64::from(minute) * MINUTE, &of("B"))).collect();
    assert_eq!(fired(&steady), 0, "what goes on at that rate is no spike");
}

#[test]
fn spike_of_new_users() {
    let of = |user: &str| json!({ "user": user });
    for (new_groups, expected) in [(false, [0, 0]), (true, [1, 1])] {
        let mut play = spike(&format!(
            "window: 10m, height: 2, group_by: [user], new_groups: {new_groups}, min_current: 50"
        ));
        play.many(10, 0.0, &of("A"));
        let mut c = play.many(100, 24.0 * MINUTE, &of("C"));
        c.extend(play.tick(24.5 * MINUTE));
        let mut d = play.many(100, 25.0 * MINUTE, &of("D"));
        d.extend(play.put(25.5 * MINUTE, &of("C")));
        assert_eq!([fired(&c), fired(&d)], expected, "{new_groups}");
    }
}

#[test]
fn lists() {
    let run = |list: &str, events: &[Json]| -> Vec<usize> {
        let mut play = Play::new(&format!("kind: list\nquery: '*'\nlist: {{ field: word, {list} }}"));
        let told: Vec<usize> = events
            .iter()
            .enumerate()
            .map(|(second, event)| matches(&play.put(second as f64, event)))
            .collect();
        told.iter().enumerate().filter(|(_, count)| **count > 0).map(|(number, _)| number).collect()
    };
    let events = ["good", "bad", "also good", "really bad"].map(|word| json!({ "word": word }));
    let mut events = events.to_vec();
    events.push(json!({ "no_word": "bad" }));
    assert_eq!(run("deny: [bad, really bad]", &events), [1, 3]);
    assert_eq!(run("allow: [good, also good]", &events), [1, 3]);
    assert_eq!(run("allow: [good, also good], missing: true", &events), [1, 3, 4]);
}

#[test]
fn change() {
    // Ten records of a user; the ninth lacks the field, the last has another value.
    let run = |more: &str, without_ninth: bool| {
        let mut play = Play::new(&format!(
            "kind: change\nquery: '*'\nchange: {{ fields: [term], group_by: [user], {more} }}"
        ));
        let mut told = Vec::new();
        for number in 0..10 {
            let event = match number {
                8 if without_ninth => continue,
                8 => json!({ "user": "qlo" }),
                9 => json!({ "user": "qlo", "term": "bad" }),
                _ => json!({ "user": "qlo", "term": "good" }),
            };
            told.extend(play.put(f64::from(number), &event));
        }
        matches(&told)
    };
    assert_eq!(run("missing: false", false), 1);
    assert_eq!(run("missing: true", false), 2);
    assert_eq!(run("within: 2s", false), 1);
    assert_eq!(run("within: 1s", true), 0, "two seconds lie between");
    let mut play = Play::new("kind: change\nquery: '*'\nchange: { fields: [term], group_by: [list] }");
    for term in ["a", "b"] {
        play.put(0.0, &json!({ "list": ["x", "y"], "term": term }));
    }
    assert_eq!(play.out.len(), 1, "a list is a key as well");
}

fn new_term(more: &str) -> Play {
    let mut play = Play::new(&format!("kind: new_term\nquery: '*'\nnew_term: {{ {more} }}"));
    play.detector.tick(at(-1000), &mut play.out);
    let rules = Arc::clone(play.detector.rules());
    let mut past = Past::new(&rules.rules()[0], at(-1000));
    let long_ago = at(-2 * 86_400_000);
    for (number, known) in
        [json!({ "a": "key1", "b": "key1" }), json!({ "a": "key2", "b": "key2" })].iter().enumerate()
    {
        let mut attributes = Attributes::new();
        for (name, value) in known.as_object().unwrap() {
            attributes.set(name.as_str(), value.as_str().unwrap());
        }
        let record = LogRecord { timestamp: Some(long_ago), attributes, ..LogRecord::default() };
        let id = RecordId { source: SourceId(9), position: number as u64, index: 0 };
        let row = Row { id, stream: StreamName::default(), time: long_ago, record };
        past.observe(&rules.rules()[0], &row).unwrap();
    }
    assert!(play.detector.remember(&past));
    play
}

#[test]
fn new_terms() {
    let mut play = new_term("fields: [a, b], missing: false");
    assert_eq!(matches(&play.put(0.0, &json!({ "a": "key1", "b": "key2" }))), 0);
    assert_eq!(matches(&play.put(1.0, &json!({ "a": "key1" }))), 0);
    assert_eq!(
        play.put(2.0, &json!({ "a": "key2", "b": "key3" })),
        [(FindingKind::Fired, "key3".to_owned())]
    );
    assert_eq!(play.out[0].group.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(matches(&play.put(3.0, &json!({ "a": "key2", "b": "key3" }))), 0, "it is known now");
    let mut play = new_term("fields: [a, b], missing: true");
    assert_eq!(matches(&play.put(0.0, &json!({ "a": "key2" }))), 1);
}

#[test]
fn new_terms_of_several_fields() {
    let mut play = new_term("fields: [[a, b]]");
    assert_eq!(matches(&play.put(0.0, &json!({ "a": "key1", "b": "key1", "c": "x" }))), 0);
    assert_eq!(
        matches(&play.put(1.0, &json!({ "a": "key1", "b": "key2" }))),
        1,
        "each is known, both together are not"
    );
    let mut play = new_term("fields: [b.c]");
    assert_eq!(matches(&play.put(2.0, &json!({ "b.c": "key9" }))), 0, "nothing was gathered of it yet");
    let mut play = new_term("fields: [b.c], learn: 0s");
    assert_eq!(matches(&play.put(2.0, &json!({ "b.c": "key9" }))), 1);
}

#[test]
fn terms_are_learnt_first_and_forgotten_last() {
    let mut play = Play::new(
        "kind: new_term\nquery: '*'\nnew_term: { fields: [user], learn: 1h, history: 2d }\nresolve_after: 1m",
    );
    assert_eq!(matches(&play.put(0.0, &json!({ "user": "al" }))), 0);
    assert_eq!(matches(&play.put(HOUR - 1.0, &json!({ "user": "bo" }))), 0);
    assert_eq!(matches(&play.put(HOUR, &json!({ "user": "cy" }))), 1);
    assert_eq!(matches(&play.put(30.0 * HOUR, &json!({ "user": "al" }))), 0);
    assert_eq!(matches(&play.put(79.0 * HOUR, &json!({ "user": "al" }))), 1, "for two days there was none");
    let mut play =
        Play::new("kind: new_term\nquery: '*'\nnew_term: { fields: [user], learn: 0s, seen_at_most: 2 }");
    let told: Vec<usize> =
        (0..5).map(|second| matches(&play.put(f64::from(second), &json!({ "user": "al" })))).collect();
    assert_eq!(told, [1, 1, 1, 0, 0], "rare");
}

fn flatline(more: &str) -> Play {
    let mut play = Play::new(&format!("kind: flatline\nquery: '*'\nflatline: {{ {more} }}"));
    play.tick(0.0);
    play
}

#[test]
fn flatlines() {
    let none = json!({});
    let mut play = flatline("window: 30s, fewer_than: 2");
    play.put(0.0, &none);
    play.many(10, 1.0, &none);
    assert!(play.tick(11.0).is_empty());
    assert_eq!(fired(&play.tick(45.0)), 1);
    assert_eq!(fired(&play.tick(50.0)), 0, "it goes on");
    assert_eq!(fired(&play.put(50.0, &none)), 0, "one is too few");
    let told: Vec<_> = (51..55).flat_map(|second| play.put(f64::from(second), &none)).collect();
    assert_eq!(told.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [FindingKind::Resolved]);
    assert!(play.tick(82.0).is_empty());
    assert_eq!(fired(&play.tick(83.0)), 1, "30 s after the last but one");
}

#[test]
fn flatlines_where_nothing_ever_was() {
    let mut play = flatline("window: 30m");
    assert!(play.tick(29.0 * MINUTE).is_empty());
    assert_eq!(fired(&play.tick(35.0 * MINUTE)), 1);
    assert_eq!(play.put(36.0 * MINUTE, &json!({}))[0].0, FindingKind::Resolved);
}

#[test]
fn flatlines_by_key() {
    let of = |key: &str| json!({ "key": key });
    for forget_after in ["7d", "40s"] {
        let mut play = flatline(&format!("window: 30s, group_by: [key], forget_after: {forget_after}"));
        for key in ["key1", "key2", "key3"] {
            play.put(0.0, &of(key));
        }
        play.put(20.0, &of("key3"));
        let told = play.tick(35.0);
        let mut silent: Vec<&str> = told.iter().map(|(_, key)| key.as_str()).collect();
        silent.sort_unstable();
        assert_eq!((fired(&told), silent), (2, vec!["key1", "key2"]));
        let told = play.tick(55.0);
        assert_eq!((fired(&told), told.len()), if forget_after == "7d" { (1, 1) } else { (1, 3) });
        assert_eq!(play.detector.stats().groups, if forget_after == "7d" { 3 } else { 1 });
    }
}

#[test]
fn flatlines_learn_how_long_silence_usually_is() {
    let mut play = flatline("window: learned, group_by: [host], least: 1s");
    for number in 0..12 {
        play.put(f64::from(number) * 10.0, &json!({ "host": "a" }));
        if number % 4 == 0 {
            play.put(f64::from(number) * 10.0, &json!({ "host": "b" }));
        }
    }
    assert!(play.tick(139.0).is_empty(), "three times ten seconds");
    assert_eq!(play.tick(141.0), [(FindingKind::Fired, "a".to_owned())]);
    assert!(play.tick(10.0 * HOUR).is_empty(), "of b too little is known");
}

#[test]
fn cardinality_at_most() {
    let mut play =
        Play::new("kind: cardinality\nquery: '*'\ncardinality: { field: user, more_than: 4, window: 10m }");
    for (second, user) in ["foo", "bar", "baz", "qux", "qux"].into_iter().enumerate() {
        assert_eq!(matches(&play.put(second as f64, &json!({ "user": user }))), 0);
    }
    assert_eq!(matches(&play.put(5.0, &json!({ "x": "no user" }))), 0);
    assert_eq!(matches(&play.put(6.0, &json!({ "user": "quux" }))), 1);
    assert_eq!(fired(&play.put(15.0 * MINUTE + 7.0, &json!({ "user": "faz" }))), 0);
    let mut play = Play::new(
        "kind: cardinality\nquery: '*'\ncardinality: { field: user, more_than: 2, window: 10m, group_by: [key] }",
    );
    let mut told = Vec::new();
    for (second, (key, user)) in
        [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3"), ("a", "4")].into_iter().enumerate()
    {
        told.extend(play.put(second as f64, &json!({ "key": key, "user": user })));
    }
    assert_eq!((fired(&told), matches(&told)), (1, 2), "the third and the fourth of one key");
}

#[test]
fn cardinality_at_least() {
    let mut play = Play::new(
        "kind: cardinality\nquery: '*'\ncardinality: { field: user, fewer_than: 4, window: 10m, group_by: [key] }",
    );
    let put = |play: &mut Play, minute: f64, user: &str| {
        play.put(minute * MINUTE, &json!({ "key": "k", "user": user }))
    };
    assert!(put(&mut play, 0.0, "a").is_empty() && put(&mut play, 0.5, "b").is_empty());
    assert!(play.tick(9.0 * MINUTE).is_empty(), "the time is not over");
    for user in ["c", "d", "e"] {
        assert!(put(&mut play, 5.0, user).is_empty());
    }
    assert!(play.tick(10.0 * MINUTE).is_empty());
    assert_eq!(fired(&play.tick(15.0 * MINUTE)), 1, "of five minutes ago are three, and the fourth is gone");
}

fn metric(more: &str) -> Play {
    Play::new(&format!("kind: metric\nquery: '*'\nmetric: {{ field: cpu, window: 1s, {more} }}"))
}

#[test]
fn metrics() {
    let run = |values: &[Json]| {
        let mut play = metric("is: avg, above: 0.8, below: 0.1");
        let told: Vec<_> = values
            .iter()
            .enumerate()
            .flat_map(|(number, value)| play.put(number as f64 * 10.0, &json!({ "cpu": value })))
            .collect();
        matches(&told)
    };
    for (value, expected) in [
        (json!(null), 0),
        (json!(0.09), 1),
        (json!(0.10), 0),
        (json!(0.5), 0),
        (json!(0.79), 0),
        (json!(0.81), 1),
        (json!("n/a"), 0),
        (json!("0.95"), 1),
    ] {
        assert_eq!(run(std::slice::from_ref(&value)), expected, "{value}");
    }
    assert_eq!(run(&[json!(0.05), json!(0.95)]), 2);
    assert_eq!(run(&[0.91, 0.89, 0.78, 0.85, 0.86].map(|value| json!(value))), 4);
}

#[test]
fn metrics_by_key_and_percentiles() {
    let mut play = metric("is: max, above: 0.8, group_by: [host, core]");
    let mut told = Vec::new();
    for (host, core, cpu) in [("a", "0", 0.9), ("a", "1", 0.9), ("b", "0", 0.2)] {
        told.extend(play.put(0.0, &json!({ "host": host, "core": core, "cpu": cpu })));
    }
    assert_eq!(told.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>(), ["0/a", "1/a"]);
    let mut play = metric("is: p95, above: 0.9");
    let told: Vec<_> = [0.91, 0.95, 0.89]
        .iter()
        .enumerate()
        .flat_map(|(n, cpu)| play.put(n as f64 * 10.0, &json!({ "cpu": cpu })))
        .collect();
    assert_eq!(matches(&told), 2);
    assert_eq!(play.out[0].kind, FindingKind::Resolved);
}

#[test]
fn percentages() {
    let run = |good: usize, bad: usize| {
        let mut play = Play::new(
            "kind: percentage\nquery: '*'\npercentage: { of: 'status:good', above: 75, below: 25, window: 10s, at_least: 100 }",
        );
        // In turns, so that the share is what it is all the time.
        let (mut told, mut done) = (Vec::new(), 0);
        for number in 0..good + bad {
            let is_good = (number + 1) * good / (good + bad).max(1) > done;
            done += usize::from(is_good);
            told.extend(play.put(1.0, &json!({ "status": if is_good { "good" } else { "bad" } })));
        }
        matches(&told)
    };
    for (good, bad, expected) in
        [(0, 0, 0), (26, 74, 0), (74, 26, 0), (24, 76, 1), (76, 24, 1), (25, 75, 0), (75, 25, 0)]
    {
        assert_eq!(run(good, bad), expected, "{good} of {}", good + bad);
    }
    let mut play =
        Play::new("kind: percentage\nquery: '*'\npercentage: { of: 'status:5*', above: 5, window: 1m }");
    play.many(29, 0.0, &json!({ "status": "200" }));
    play.put(1.0, &json!({ "status": "500" }));
    assert_eq!(play.out.len(), 0, "1 in 30");
    play.put(2.0, &json!({ "status": "503" }));
    assert_eq!(play.out[0].value.map(|value| format!("{value:.2}")), Some("6.45".to_owned()));
}

#[test]
fn spike_of_a_metric() {
    let mut play = spike("window: 10s, height: 2, field: latency, is: p95");
    let mut told = Vec::new();
    for second in 0..60 {
        let latency = if second < 40 { 20.0 } else { 9879.0 };
        told.extend(play.put(f64::from(second), &json!({ "latency": latency })));
    }
    assert_eq!(fired(&told), 1);
}

#[test]
fn what_a_kind_cannot_do_without_is_said() {
    for (rule, expected) in [
        ("kind: metric\nquery: '*'\nmetric: { field: a, is: avg, window: 1m }", "above"),
        ("kind: percentage\nquery: '*'\npercentage: { of: a, window: 1m }", "above"),
        ("kind: cardinality\nquery: '*'\ncardinality: { field: a, window: 1m }", "fewer_than"),
        ("kind: spike\nquery: '*'\nspike: { height: 1, window: 1m }", "above 1"),
        ("kind: list\nquery: '*'\nlist: { field: a, deny: [b], allow: [c] }", "not both"),
        ("kind: list\nquery: '*'\nlist: { field: a, deny_file: x }", "not read here"),
        ("kind: sequence\nsequence: { steps: [a], within: 1m }", "2 to 16 steps"),
        ("kind: sequence\nsequence: { steps: [{ not: a }, b], within: 1m }", "behind something"),
        ("kind: sequence\nsequence: { steps: [a, { not: b }], within: 1m, ordered: false }", "order"),
        ("kind: template\nquery: '*'\ntemplate: { is: odd }", "new, rare or quiet"),
        ("kind: new_term\nquery: '*'\nnew_term: {}", "fields"),
        ("kind: change\nquery: '*'\nchange: { fields: [a], widthin: 1m }", "did you mean \"within\"?"),
        ("kind: flatlien\nquery: '*'\nflatline: { window: 1m }", "did you mean \"flatline\"?"),
        ("kind: baseline\nquery: '*'\nbaseline: { interval: 2h }", "1s to 1h"),
    ] {
        let text = format!("title: t\n{rule}\n");
        let (rules, errors) = RuleSet::load(vec![RuleFile { path: "r.yml".into(), text }]);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(rules.is_empty() && said.iter().any(|said| said.contains(expected)), "{rule}: {said:?}");
        assert!(errors.iter().all(|error| error.line.is_some()), "{said:?}");
    }
}

fn sequence(more: &str, patience: Duration) -> Play {
    Play::patient(&format!("kind: sequence\nsequence: {{ {more} }}"), patience)
}

/// What happens, second by second: the queries of steps find it by its letter.
fn steps(play: &mut Play, events: &[(f64, &str)]) -> Vec<(FindingKind, String)> {
    events.iter().flat_map(|(second, what)| play.put(*second, &json!({ "what": what }))).collect()
}

#[test]
fn sequences_in_order() {
    let rule = "steps: [{ query: 'what:fail', count: 3 }, 'what:login'], within: 10s";
    for (events, expected) in [
        (&[(0.0, "fail"), (1.0, "fail"), (2.0, "fail"), (3.0, "login")][..], 1),
        (&[(0.0, "fail"), (1.0, "fail"), (2.0, "login"), (3.0, "fail")], 0),
        (&[(0.0, "fail"), (1.0, "fail"), (2.0, "fail"), (10.0, "login")], 0),
        (&[(0.0, "fail"), (1.0, "fail"), (1.5, "fail"), (2.0, "fail"), (10.5, "login")], 1),
        (&[(0.0, "login"), (0.0, "fail"), (0.0, "fail"), (0.0, "fail")], 0),
        (&[(0.0, "fail"), (0.0, "fail"), (0.0, "fail"), (0.0, "login")], 1),
    ] {
        let mut play = sequence(rule, Duration::ZERO);
        assert_eq!(fired(&steps(&mut play, events)), expected, "{events:?}");
    }
    // However late a step is heard.
    let mut play = sequence(rule, Duration::ZERO);
    assert_eq!(fired(&steps(&mut play, &[(0.0, "fail"), (2.0, "fail"), (3.0, "login")])), 0);
    assert_eq!(fired(&play.late(1.0, 60.0, &json!({ "what": "fail" }))), 1);
    assert_eq!(play.out[0].count, 4);
}

#[test]
fn sequences_in_any_order() {
    for (events, expected) in
        [(&[(0.0, "b"), (5.0, "a")][..], 1), (&[(0.0, "a"), (10.0, "b")], 0), (&[(0.0, "a"), (1.0, "a")], 0)]
    {
        let mut play = sequence("steps: ['what:a', 'what:b'], within: 10s, ordered: false", Duration::ZERO);
        assert_eq!(fired(&steps(&mut play, events)), expected, "{events:?}");
    }
}

#[test]
fn sequences_without_something_between() {
    let rule = "steps: ['what:start', { not: 'what:stop' }, 'what:start'], within: 1m";
    for (events, expected) in [
        (&[(0.0, "start"), (5.0, "start")][..], 1),
        (&[(0.0, "start"), (2.0, "stop"), (5.0, "start")], 0),
        (&[(0.0, "stop"), (1.0, "start"), (5.0, "start"), (6.0, "stop")], 1),
    ] {
        let mut play = sequence(rule, Duration::from_secs(1));
        let mut told = steps(&mut play, events);
        told.extend(play.tick(20.0));
        assert_eq!(fired(&told), expected, "{events:?}");
    }
    // What must not come between may be heard a moment later.
    let mut play = sequence(rule, Duration::from_secs(1));
    steps(&mut play, &[(0.0, "start"), (5.0, "start")]);
    play.late(2.0, 5.5, &json!({ "what": "stop" }));
    assert_eq!(fired(&play.tick(20.0)), 0);
}

#[test]
fn sequences_that_are_not_followed_by_something() {
    let rule = "steps: ['what:begin', { not: 'what:end' }], within: 30s";
    for (events, expected) in [
        (&[(0.0, "begin")][..], 1),
        (&[(0.0, "begin"), (29.0, "end")], 0),
        (&[(0.0, "begin"), (31.0, "end")], 1),
        (&[(0.0, "begin"), (5.0, "begin"), (31.0, "end")], 1),
    ] {
        let mut play = sequence(rule, Duration::from_secs(1));
        let mut told = steps(&mut play, events);
        told.extend(play.tick(32.9));
        told.extend(play.tick(60.0));
        assert_eq!(fired(&told), expected, "{events:?}");
    }
}

#[test]
fn templates() {
    let mut play = Play::new("kind: template\nquery: '*'\ntemplate: { is: new, learn: 1h }");
    assert!(play.put(0.0, &json!({})).is_empty() && play.put(2.0 * HOUR, &json!({})).is_empty());
    let line = |body: &str, number: u64| {
        let record =
            LogRecord { timestamp: Some(at(7_300_000)), body: Value::from(body), ..LogRecord::default() };
        let id = RecordId { source: SourceId(7), position: number, index: 0 };
        Row { id, stream: StreamName::default(), time: at(7_300_000), record }
    };
    for (number, (body, expected)) in
        [("disk sda1 failed after 12 ms", 1), ("disk sda1 failed after 99 ms", 0), ("all is well", 1)]
            .iter()
            .enumerate()
    {
        play.out.clear();
        play.detector.observe(&line(body, number as u64), at(7_300_000), &mut play.out);
        assert_eq!(fired(&play.told()), *expected, "{body}");
    }
    let mut play =
        Play::new("kind: template\nquery: '*'\ntemplate: { is: quiet, least: 1s, group_by: [_template] }");
    for second in 0..20 {
        assert!(play.put(f64::from(second), &json!({})).is_empty());
    }
    assert_eq!(fired(&play.tick(30.0)), 1);
}

#[test]
fn baselines() {
    let mut play = Play::new(
        "kind: baseline\nquery: '*'\nbaseline: { interval: 1m, deviation: 6, at_least: 20, group_by: [host] }",
    );
    let mut told = Vec::new();
    for minute in 0..60 {
        let count = if minute == 50 { 300 } else { 10 + minute % 3 };
        told.extend(play.many(count, minute as f64 * MINUTE + 1.0, &json!({ "host": "a" })));
    }
    assert_eq!(
        told.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [FindingKind::Fired, FindingKind::Resolved]
    );
    assert_eq!(fired(&play.tick(61.5 * MINUTE)), 1, "silence is unusual, too");
}

/// However many come, each is decided in about the same time.
#[test]
fn a_flood_of_one_step_is_bounded() {
    for ordered in [true, false] {
        let rule =
            format!("steps: [{{ query: 'what:a', count: 3 }}, 'what:b'], within: 1h, ordered: {ordered}");
        let mut play = sequence(&rule, Duration::ZERO);
        for number in 0..20_000 {
            assert!(play.put(f64::from(number) / 100.0, &json!({ "what": "a" })).is_empty());
        }
        assert!(play.detector.stats().events <= 4096 && play.detector.stats().evicted > 0);
        assert_eq!(fired(&play.put(201.0, &json!({ "what": "b" }))), 1, "{ordered}");
    }
}
