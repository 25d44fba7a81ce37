//! However records are shared out among partitions, and groups among slices, the findings are those of one detector that sees all.

use super::*;
use crate::{Detector, DetectorSettings, Finding, FindingKind, RuleFile, RuleSet};
use millrace_model::{LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value};
use proptest::prelude::*;
use std::sync::Arc;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1000)
}

fn rules(texts: &[String]) -> Arc<RuleSet> {
    let (set, errors) = RuleSet::load(vec![RuleFile { path: "r.yml".to_owned(), text: texts.join("---\n") }]);
    assert!(errors.is_empty(), "{errors:?}");
    Arc::new(set)
}

fn rule(id: &str, kind: &str, terms: &str) -> String {
    format!("title: {id}\nid: {id}\nkind: {kind}\nquery: failed\n{kind}: {{ {terms} }}\n")
}

fn correlation(id: &str, over: &str, group_by: &str) -> String {
    format!(
        "title: {id}\nid: {id}\ncorrelation:\n  type: event_count\n  rules: [{over}]\n  group-by: [{group_by}]\n  \
         timespan: 2m\n  condition: {{ gte: 2 }}\n  generate: true\n"
    )
}

fn every_kind() -> Vec<String> {
    vec![
        rule("of host", "threshold", "count: 2, window: 1m, group_by: [host]"),
        rule("of user", "threshold", "count: 3, window: 1m, group_by: [user]"),
        rule("of both", "threshold", "count: 2, window: 1m, group_by: [user, host]"),
        rule("of all", "threshold", "count: 4, window: 2m"),
        rule("silence", "flatline", "window: 90s"),
        rule("silence of user", "flatline", "window: 90s, group_by: [user]"),
        rule("spike", "spike", "window: 1m, height: 2, direction: both"),
        rule("metric", "metric", "field: user, is: avg, above: 1.2, window: 1m"),
        rule("term", "new_term", "fields: [user], learn: 20s, history: 5m"),
        rule("change", "change", "fields: [user], within: 1m, group_by: [host]"),
        rule("change anywhere", "change", "fields: [user], within: 1m"),
        rule("list", "list", "field: user, deny: ['2']"),
        rule("baseline", "baseline", "interval: 1m, deviation: 2, at_least: 1"),
        rule("order", "sequence", "steps: ['user:0', { not: 'user:2' }, 'user:1'], within: 2m"),
        "title: s\nid: s\nlogsource: {}\ndetection:\n  k: [failed]\n  condition: k\n".to_owned(),
        correlation("over sigma", "s", "user"),
        correlation("over a count", "of both", "user"),
        correlation("over a count of hosts", "of host", "host"),
        correlation("over a count of users", "of user", "user"),
        correlation("over all of these", "over a count of users", ""),
    ]
}

#[derive(Debug, Clone)]
struct Step {
    pause: u8,
    happened: i64,
    user: u8,
    /// 0: none.
    host: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..40, -50i64..50, 0u8..3, 0u8..4).prop_map(|(pause, happened, user, host)| Step {
        pause,
        happened,
        user,
        host,
    });
    proptest::collection::vec(step, 0..100)
}

fn row(number: u64, step: &Step, now: i64) -> Row {
    let mut record = LogRecord {
        timestamp: Some(at(now + step.happened)),
        observed_timestamp: at(now),
        body: Value::from("failed"),
        ..LogRecord::default()
    };
    record.attributes.set("user", step.user.to_string());
    if step.host > 0 {
        Arc::make_mut(&mut record.resource).set("host.name", step.host.to_string());
    }
    let id = RecordId { source: SourceId(3), position: number, index: 0 };
    Row { id, stream: StreamName::default(), time: record.time(), record }
}

/// What is told, whatever the order.
fn told(findings: Vec<Finding>) -> Vec<String> {
    let told = |finding: Finding| {
        (finding.kind != FindingKind::Updated).then(|| {
            format!(
                "{} {:?} {:?} {}..{} {} {:?}",
                finding.rule_id,
                finding.kind,
                finding.group,
                finding.first,
                finding.last,
                finding.count,
                finding.value
            )
        })
    };
    let mut told: Vec<String> = findings.into_iter().filter_map(told).collect();
    told.sort();
    told
}

struct Parts {
    partitions: Vec<Detector>,
    slices: Vec<Detector>,
    out: Vec<Finding>,
}

impl Parts {
    fn new(rules: &Arc<RuleSet>, partitions: usize, slices: u32) -> Self {
        let make = |share| Detector::sharing(Arc::clone(rules), DetectorSettings::default(), share);
        Self {
            partitions: (0..partitions).map(|_| make(Share::Partition { slices })).collect(),
            slices: (0..slices).map(|number| make(Share::Slice { number, of: slices })).collect(),
            out: Vec::new(),
        }
    }

    /// Over JSON, and in pieces, as it is between processes.
    fn hand_over(&mut self, partition: usize, now: Timestamp) {
        for handed in self.partitions[partition].handed() {
            let (one, other) = handed.matches.split();
            for piece in [Some(one), other].into_iter().flatten() {
                let piece = serde_json::from_str(&serde_json::to_string(&piece).unwrap()).unwrap();
                let slice = &mut self.slices[handed.slice as usize];
                assert!(slice.take_batch(piece, now, &mut self.out).is_empty());
            }
        }
    }

    fn tick(&mut self, now: Timestamp) {
        for place in 0..self.partitions.len() {
            self.partitions[place].tick(now, &mut self.out);
            self.hand_over(place, now);
        }
        for slice in &mut self.slices {
            slice.tick(now, &mut self.out);
        }
    }

    fn restart(&mut self, rules: &Arc<RuleSet>) {
        let (partitions, slices) = (self.partitions.len(), self.slices.len() as u32);
        let fresh = Self::new(rules, partitions, slices);
        let before = std::mem::replace(self, fresh);
        self.out = before.out;
        let all = self.partitions.iter_mut().chain(&mut self.slices);
        for (after, before) in all.zip(before.partitions.iter().chain(&before.slices)) {
            after.restore(&before.snapshot()).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn parts_find_what_the_whole_finds(
        steps in steps(),
        partitions in 1usize..4,
        slices in 1u32..4,
        restarts in proptest::option::of(0usize..100),
    ) {
        let rules = rules(&every_kind());
        let mut whole = Detector::new(Arc::clone(&rules), DetectorSettings::default());
        let mut parts = Parts::new(&rules, partitions, slices);
        let mut found = Vec::new();
        let mut now = 0;
        whole.tick(at(0), &mut found);
        parts.tick(at(0));
        for (number, step) in steps.iter().enumerate() {
            // Short of what a restart takes for a pause.
            for _ in 0..step.pause / 8 {
                now += 8;
                whole.tick(at(now), &mut found);
                parts.tick(at(now));
            }
            if restarts == Some(number) {
                parts.restart(&rules);
            }
            let row = row(number as u64, step, now);
            whole.observe(&row, at(now), &mut found);
            // What no host has sent lies anywhere.
            let partition = if step.host == 0 { number } else { usize::from(step.host) } % partitions;
            parts.partitions[partition].observe(&row, at(now), &mut parts.out);
            parts.hand_over(partition, at(now));
        }
        for _ in 0..100 {
            now += 60;
            whole.tick(at(now), &mut found);
            parts.tick(at(now));
        }
        prop_assert_eq!(told(parts.out), told(found));
    }
}

#[test]
fn what_is_decided_within_a_partition_and_what_is_not() {
    let rules = rules(&every_kind());
    let slice = |id: &str, values: &[(&str, &str)]| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        rules.slice(rules.place(id).unwrap(), &values, 1 << 20)
    };
    assert_eq!(slice("of host", &[("host", "a")]), None);
    assert_eq!(slice("of both", &[("user", "u"), ("host", "a")]), None);
    assert_eq!(slice("s", &[("host", "a")]), None);
    assert!(slice("of host", &[]).is_some(), "no host sent it");
    assert_ne!(slice("of user", &[("user", "u")]), None);
    assert_ne!(slice("list", &[]), slice("term", &[]), "groups are spread");
    // Over a count of hosts' own, but not by host.
    let over = slice("over a count", &[("user", "u")]);
    assert_eq!((over, over), (slice("over a count", &[("user", "v")]), slice("of both", &[("user", "w")])));
    assert_eq!(slice("over a count of hosts", &[("host", "a")]), None);
    let all = slice("over all of these", &[]);
    assert!(all.is_some());
    assert_eq!(all, slice("over a count of users", &[("user", "u")]));
    assert_eq!(all, slice("of user", &[("user", "u")]));
}

#[test]
fn matches_of_rules_that_are_not_there_are_counted() {
    let all = rules(&every_kind());
    let mut parts = Parts::new(&all, 1, 1);
    let step = Step { pause: 0, happened: 0, user: 2, host: 1 };
    parts.partitions[0].observe(&row(1, &step, 0), at(0), &mut parts.out);
    let batch = parts.partitions[0].handed().next().unwrap().matches;
    assert!(batch.len() > 3, "{batch:?}");
    let changed = rules(&[rule("of user", "threshold", "count: 9, window: 1m, group_by: [user]")]);
    let mut slice =
        Detector::sharing(changed, DetectorSettings::default(), Share::Slice { number: 0, of: 1 });
    assert_eq!(slice.take_batch(batch.clone(), at(0), &mut Vec::new()), batch);
    assert_eq!(slice.stats().events, 0);
}

#[test]
fn a_batch_is_cut_down_to_single_matches() {
    let all = rules(&every_kind());
    let mut parts = Parts::new(&all, 1, 1);
    let step = Step { pause: 0, happened: 0, user: 2, host: 1 };
    parts.partitions[0].observe(&row(1, &step, 0), at(0), &mut parts.out);
    let mut left: Vec<MatchBatch> = parts.partitions[0].handed().map(|handed| handed.matches).collect();
    let (total, mut single) = (left[0].len(), 0);
    while let Some(batch) = left.pop() {
        assert!(!batch.is_empty());
        match batch.split() {
            (one, None) => single += one.len(),
            (one, Some(other)) => left.extend([one, other]),
        }
    }
    assert_eq!(single, total);
}
