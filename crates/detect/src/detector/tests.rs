//! The detector as its owner uses it: rows and times in, findings out.

use super::*;
use crate::{MAX_EVIDENCE, RuleFile, findings_over};
use millrace_model::{LogRecord, RecordId, SourceId, StreamName, Value};
use proptest::prelude::*;

/// Seconds since an arbitrary day.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1000)
}

fn row(number: u64, happened: Option<i64>, observed: i64, body: &str, user: &str) -> Row {
    let mut record = LogRecord {
        timestamp: happened.map(at),
        observed_timestamp: at(observed),
        body: Value::from(body),
        ..LogRecord::default()
    };
    record.attributes.set("user", user);
    let time = record.time();
    Row {
        id: RecordId { source: SourceId(3), position: number, index: 0 },
        stream: StreamName::default(),
        time,
        record,
    }
}

fn rules(texts: &[String]) -> Arc<RuleSet> {
    let (set, errors) = RuleSet::load(vec![RuleFile { path: "r.yml".to_owned(), text: texts.join("---\n") }]);
    assert!(errors.is_empty(), "{errors:?}");
    Arc::new(set)
}

fn threshold(id: &str, count: usize, window: &str, more: &str) -> String {
    format!(
        "title: {id}\nid: {id}\nkind: threshold\nquery: failed\nthreshold: {{ count: {count}, window: {window}, group_by: [user] }}\n{more}\n"
    )
}

fn sigma(id: &str) -> String {
    format!(
        "title: {id}\nid: {id}\nlevel: high\nlogsource: {{ product: linux }}\ndetection:\n  k: [segfault]\n  condition: k\n"
    )
}

fn detector(texts: &[String]) -> Detector {
    Detector::new(rules(texts), DetectorSettings::default())
}

/// Feeds rows that are heard when they were observed; the kinds of what came out.
struct Feed {
    detector: Detector,
    out: Vec<Finding>,
    number: u64,
}

impl Feed {
    fn new(texts: &[String]) -> Self {
        Self { detector: detector(texts), out: Vec::new(), number: 0 }
    }

    fn heard(&mut self, happened: i64, now: i64, user: &str) -> Vec<FindingKind> {
        self.number += 1;
        self.out.clear();
        let row = row(self.number, Some(happened), now, "it failed", user);
        self.detector.observe(&row, at(now), &mut self.out);
        self.kinds()
    }

    fn tick(&mut self, now: i64) -> Vec<FindingKind> {
        self.out.clear();
        self.detector.tick(at(now), &mut self.out);
        self.kinds()
    }

    fn kinds(&self) -> Vec<FindingKind> {
        self.out.iter().map(|finding| finding.kind).collect()
    }
}

use FindingKind::{Fired, Resolved, Updated};

#[test]
fn it_fires_once_goes_on_and_is_resolved() {
    let mut feed = Feed::new(&[threshold("r", 3, "2m", "resolve_after: 5m")]);
    assert_eq!(feed.heard(0, 0, "al"), []);
    assert_eq!(feed.heard(1, 1, "al"), []);
    assert_eq!(feed.heard(2, 2, "al"), [Fired]);
    let fired = feed.out[0].clone();
    assert_eq!((fired.count, fired.first, fired.last), (3, at(0), at(2)));
    assert_eq!(fired.evidence.len(), 3);
    assert_eq!(fired.group["user"], "al");
    assert_eq!(feed.heard(2, 2, "al"), [], "told a moment ago");
    assert_eq!(feed.tick(3), [Updated]);
    assert_eq!(feed.tick(4), [], "nothing new");
    assert_eq!(feed.heard(60, 60, "al"), [Updated]);
    assert_eq!(
        (feed.out[0].count, feed.out[0].last, &feed.out[0].fingerprint),
        (5, at(60), &fired.fingerprint)
    );
    assert_eq!(feed.tick(60 + 299), []);
    assert_eq!(feed.tick(60 + 300), [Resolved]);
    assert_eq!(feed.out[0].count, 5);
    assert_eq!(feed.tick(9999), []);
    assert_eq!(feed.detector.stats().groups, 0);
    for second in 0..2 {
        assert_eq!(feed.heard(10_000 + second, 10_000 + second, "al"), []);
    }
    assert_eq!(feed.heard(10_002, 10_002, "al"), [Fired], "a new episode of the same alert");
    assert_eq!(feed.out[0].fingerprint, fired.fingerprint);
}

#[test]
fn groups_are_counted_apart() {
    let mut feed = Feed::new(&[threshold("r", 10, "1h", "")]);
    let mut fired = Vec::new();
    for (user, times) in [("a", 1), ("b", 5), ("a", 8), ("b", 5), ("a", 3)] {
        for _ in 0..times {
            if feed.heard(0, 0, user).contains(&Fired) {
                fired.push(user);
            }
        }
    }
    assert_eq!(fired, ["b", "a"]);
}

#[test]
fn a_record_without_the_field_is_a_group_of_its_own() {
    let rules = rules(&[threshold("r", 2, "1m", "")]);
    let mut detector = Detector::new(rules, DetectorSettings::default());
    let mut out = Vec::new();
    for number in 0..2 {
        let mut row = row(number, Some(0), 0, "failed", "x");
        row.record.attributes.remove("user");
        detector.observe(&row, at(0), &mut out);
    }
    assert_eq!(out.len(), 1);
    assert!(out[0].group.is_empty());
}

#[test]
fn records_of_other_streams_do_not_count() {
    let mut feed = Feed::new(&[threshold("r", 1, "1m", "streams: [app]")]);
    assert_eq!(feed.heard(0, 0, "al"), []);
    let mut row = row(99, Some(0), 0, "failed", "al");
    row.stream = "app".parse().unwrap();
    feed.detector.observe(&row, at(0), &mut feed.out);
    assert_eq!(feed.kinds(), [Fired]);
}

#[test]
fn a_record_from_the_future_is_not_believed() {
    let mut feed = Feed::new(&[threshold("r", 5, "1m", "")]);
    for second in 0..4 {
        assert_eq!(feed.heard(second, second, "al"), []);
    }
    assert_eq!(feed.heard(1_000_000, 4, "al"), [], "counts a minute after it was observed");
    assert_eq!(feed.heard(5, 5, "al"), [Fired], "and pushes nothing out");
    assert_eq!(feed.detector.stats().early, 1);
    assert_eq!(feed.out[0].last, at(5));
    let mut feed = Feed::new(&[threshold("r", 1, "2m", "")]);
    assert_eq!(feed.heard(1_000_000, 4, "al"), [Fired]);
    assert_eq!(feed.out[0].last, at(64));
    assert_eq!(feed.tick(64 + 119), []);
    assert_eq!(feed.tick(64 + 120), [Resolved], "and keeps nothing alive");
}

#[test]
fn an_old_file_read_at_once_is_no_burst() {
    let mut feed = Feed::new(&[threshold("r", 8, "2m", "")]);
    for hour in 0..500 {
        assert_eq!(feed.heard(hour * 3600 - 500 * 3600, 0, "al"), [], "hour {hour}");
    }
    assert!(feed.detector.stats().late >= 499);
    for second in 0..7 {
        assert_eq!(feed.heard(second * 10 - 1_000_000, 0, "bo"), []);
    }
    assert_eq!(feed.heard(70 - 1_000_000, 0, "bo"), [Fired], "a burst in it is one, though");
    assert_eq!(feed.tick(1), [], "and is not over before it has been told");
    assert_eq!(feed.tick(120), [Resolved]);
}

#[test]
fn late_records_complete_a_window_but_do_not_fire_again() {
    let mut feed = Feed::new(&[threshold("r", 4, "1m", "")]);
    feed.heard(0, 0, "al");
    feed.heard(10, 10, "al");
    feed.heard(300, 300, "al");
    assert_eq!(feed.tick(400), []);
    assert_eq!(feed.heard(20, 500, "al"), []);
    assert_eq!(feed.heard(30, 501, "al"), [Fired]);
    assert_eq!((feed.out[0].first, feed.out[0].last), (at(0), at(30)));
    assert_eq!(feed.tick(561), [Resolved]);
    assert_eq!(feed.heard(25, 570, "al"), [], "what made it fire is used up");
}

#[test]
fn what_is_heard_much_later_does_not_count_together() {
    let mut feed = Feed::new(&[threshold("r", 2, "1m", "")]);
    feed.heard(0, 0, "al");
    assert_eq!(feed.tick(600), []);
    assert_eq!(feed.detector.stats().events, 1, "still within the lateness");
    assert_eq!(feed.tick(661), []);
    assert_eq!(feed.detector.stats().groups, 0);
    assert_eq!(feed.heard(1, 662, "al"), []);
}

#[test]
fn records_without_times_count_when_they_are_heard() {
    let mut feed = Feed::new(&[threshold("r", 2, "1m", "")]);
    for number in 0..2 {
        let mut row = row(number, None, 0, "failed", "al");
        row.record.observed_timestamp = Timestamp::default();
        feed.detector.observe(&row, at(50 + number as i64), &mut feed.out);
    }
    assert_eq!(feed.kinds(), [Fired]);
    assert_eq!((feed.out[0].first, feed.out[0].last), (at(50), at(51)));
}

#[test]
fn the_same_record_twice_counts_once() {
    let mut feed = Feed::new(&[threshold("r", 2, "1m", "")]);
    for _ in 0..5 {
        feed.detector.observe(&row(1, Some(0), 0, "failed", "al"), at(0), &mut feed.out);
    }
    assert_eq!(feed.kinds(), []);
}

#[test]
fn distinct_values_are_counted_not_records() {
    let text = threshold("r", 3, "5m", "distinct: name\nextract: 'as (?P<name>\\w+)'");
    let mut feed = Feed::new(&[text]);
    let mut kinds = Vec::new();
    for (number, name) in ["ann", "ann", "bob", "bob", "ann", "cid", "dan"].into_iter().enumerate() {
        let row = row(number as u64, Some(number as i64), 0, &format!("failed as {name}"), "al");
        feed.out.clear();
        feed.detector.observe(&row, at(0), &mut feed.out);
        kinds.push(feed.kinds().contains(&Fired));
    }
    assert_eq!(kinds, [false, false, false, false, false, true, false]);
    feed.detector.observe(&row(50, Some(0), 0, "failed without", "zoe"), at(0), &mut feed.out);
    assert_eq!(feed.detector.stats().groups, 1, "without the field there is nothing to count");
}

#[test]
fn matches_of_a_sigma_rule_on_one_host_fold() {
    let rules = rules(&[sigma("s")]);
    let mut detector = Detector::new(rules, DetectorSettings::default());
    let mut kinds = Vec::new();
    for (number, (host, second)) in [("a", 0), ("a", 299), ("b", 300), ("a", 598)].into_iter().enumerate() {
        let mut row = row(number as u64, Some(second), second, "segfault at 0", "al");
        row.record.attributes.set("host", host);
        let mut out = Vec::new();
        detector.tick(at(second), &mut out);
        detector.observe(&row, at(second), &mut out);
        kinds.push(out.iter().map(|f| (f.kind, f.group["host"].clone(), f.count)).collect::<Vec<_>>());
    }
    let of = |kind, host: &str, count| vec![(kind, host.to_owned(), count)];
    assert_eq!(kinds, [of(Fired, "a", 1), of(Updated, "a", 2), of(Fired, "b", 1), of(Updated, "a", 3)]);
    let mut out = Vec::new();
    detector.tick(at(898), &mut out);
    assert_eq!(out.iter().map(|f| (f.kind, f.count)).collect::<Vec<_>>(), [(Resolved, 1), (Resolved, 3)]);
}

#[test]
fn too_many_groups_forget_the_stalest_and_say_so() {
    let settings = DetectorSettings { max_groups: 3, max_events: 5, ..DetectorSettings::default() };
    let mut detector = Detector::new(rules(&[threshold("r", 2, "1m", "")]), settings);
    let mut out = Vec::new();
    let mut feed = |number: u64, user: &str, out: &mut Vec<Finding>| {
        detector.observe(&row(number, Some(number as i64), 0, "failed", user), at(number as i64), out);
        detector.stats()
    };
    feed(0, "active", &mut out);
    feed(1, "active", &mut out);
    assert_eq!(out.len(), 1);
    for (number, user) in (2..).zip(["b", "c", "d"]) {
        feed(number, user, &mut out);
    }
    let stats = feed(5, "b", &mut out);
    assert_eq!((stats.groups, stats.evicted), (3, 2), "b was the stalest, then c");
    assert_eq!(out.len(), 1, "b was forgotten, so its second record is its first");
    for (number, user) in (6..).zip(["b", "d", "e", "f"]) {
        feed(number, user, &mut out);
    }
    let kinds: Vec<_> = out.iter().map(|finding| (finding.kind, finding.group["user"].as_str())).collect();
    assert_eq!(kinds, [(Fired, "active"), (Fired, "b"), (Fired, "d")]);
    let stats = feed(10, "g", &mut out);
    assert_eq!((stats.active, stats.groups), (3, 3));
    for number in 11..13 {
        feed(number, "h", &mut out);
    }
    assert!(
        out.iter().all(|finding| finding.kind != Resolved),
        "none that is firing is given up for one that is not"
    );
}

#[test]
fn other_rules_keep_what_was_counted_where_they_decide_the_same() {
    let mut feed = Feed::new(&[
        threshold("same", 3, "1m", ""),
        threshold("other", 3, "1m", ""),
        threshold("gone", 2, "1m", ""),
    ]);
    feed.heard(0, 0, "al");
    assert_eq!(feed.heard(1, 1, "al"), [Fired]);
    feed.detector.replace_rules(rules(&[
        threshold("other", 3, "2m", ""),
        threshold("same", 3, "1m", "description: new"),
    ]));
    assert_eq!(feed.heard(2, 2, "al"), [Resolved, Fired]);
    assert_eq!(feed.out.iter().map(|f| f.rule_id.as_str()).collect::<Vec<_>>(), ["gone", "same"]);
    // A rule that is firing goes on firing, whatever its threshold has become.
    feed.detector.replace_rules(rules(&[threshold("same", 30, "1m", "")]));
    assert_eq!(feed.heard(4, 4, "al"), [Updated]);
    assert_eq!(feed.out[0].count, 4);
}

#[test]
fn a_snapshot_of_another_format_is_refused() {
    let mut detector = detector(&[threshold("r", 2, "1m", "")]);
    assert!(matches!(detector.restore("{\"version\":3}"), Err(SnapshotError::Version(3))));
    assert!(matches!(detector.restore("{}"), Err(SnapshotError::Malformed(_))));
    assert!(matches!(detector.restore("{\"version\":1}"), Err(SnapshotError::Malformed(_))));
    // Written by format 1, and to be read for ever.
    let digest = format!("{:032x}", detector.rules().rules()[0].digest);
    detector.restore(&include_str!("fixture-1.json").replace("DIGEST", &digest)).unwrap();
    let mut out = Vec::new();
    detector.observe(&row(9, Some(5), 5, "failed", "al"), at(5), &mut out);
    assert_eq!(
        out.iter().map(|f| (f.kind, f.rule_id.as_str(), f.count)).collect::<Vec<_>>(),
        [(Resolved, "gone", 7), (Fired, "r", 2)]
    );
}

#[test]
fn the_time_in_which_nothing_ran_does_not_count() {
    let texts = [threshold("r", 4, "2m", ""), threshold("quick", 1, "2m", "")];
    let mut feed = Feed::new(&texts);
    feed.heard(0, 0, "al");
    feed.heard(1, 1, "al");
    let snapshot = feed.detector.snapshot();
    let mut feed = Feed { detector: detector(&texts), out: Vec::new(), number: 100 };
    feed.detector.restore(&snapshot).unwrap();
    assert_eq!(feed.tick(7200), [], "two hours later nothing is over: the stream has not been read on");
    assert_eq!(feed.heard(2, 7201, "al"), [Updated]);
    assert_eq!(feed.heard(3, 7201, "al"), [Fired], "records of the time before still count together");
    assert_eq!(feed.out[0].rule_id, "r");
}

#[test]
fn history_goes_by_its_own_times() {
    let rows = |seconds: &[i64]| {
        let rows: Vec<Row> = seconds
            .iter()
            .enumerate()
            .map(|(n, s)| row(n as u64, Some(*s), 5_000_000, "failed", "al"))
            .collect();
        rows.into_iter().enumerate()
    };
    let counted = rules(&[threshold("r", 3, "1m", "")]);
    let lines = |seconds: &[i64]| {
        findings_over(&counted, rows(seconds)).into_iter().map(|(line, _)| line).collect::<Vec<_>>()
    };
    assert_eq!(lines(&[0, 1, 2, 3, 4, 200, 201, 202]), [2, 7], "two bursts");
    assert!(lines(&[0, 100, 200, 300]).is_empty());
    let sigma = findings_over(
        &rules(&[sigma("s")]),
        (0..3).map(|n| (n, row(n as u64, Some(n as i64), 9, "segfault", "x"))),
    );
    assert_eq!(
        sigma.iter().map(|(line, f)| (*line, f.kind)).collect::<Vec<_>>(),
        [(0, Fired), (1, Updated), (2, Updated)]
    );
}

/// When it happened, when it is heard, and who did it.
type Line = (i64, i64, &'static str);

/// What can be wrong with time, for a rule that counts, one that wants an order, one that notices silence, and one that
/// notices a change: which of them fire, however fast the stream is read.
#[test]
fn faults_of_time() {
    let rule = |id: &str, kind: &str, terms: &str| {
        format!("title: {id}\nid: {id}\nkind: {kind}\nquery: '*'\n{kind}: {{ {terms} }}\n")
    };
    let texts = [
        rule("count", "threshold", "count: 3, window: 1m"),
        rule("order", "sequence", "steps: ['user:a', 'user:b'], within: 1m"),
        rule("quiet", "flatline", "window: 5m, group_by: [host]"),
        rule("other", "change", "fields: [user]"),
    ];
    let rules = rules(&texts);
    let table: &[(&str, &[Line], &[&str])] = &[
        ("in time", &[(0, 0, "a"), (1, 1, "a"), (2, 2, "b")], &["order", "count", "other"]),
        ("too far apart", &[(0, 0, "b"), (60, 60, "b"), (120, 120, "b")], &[]),
        ("the first is late", &[(1, 1, "a"), (2, 2, "a"), (0, 100, "a")], &["count"]),
        ("so late that it is another time", &[(1, 1, "a"), (2, 2, "a"), (0, 700, "a")], &["quiet"]),
        ("heard in the wrong order", &[(5, 5, "a"), (1, 5, "b")], &["other"]),
        ("late by more than the patience", &[(5, 5, "a"), (1, 6, "b")], &[]),
        (
            "late by less than the patience",
            &[(1, 1, "a"), (3, 3, "b"), (2, 3, "a")],
            &["order", "count", "other"],
        ),
        ("early: an hour ahead", &[(3600, 0, "a"), (3601, 1, "a"), (3602, 2, "a")], &["count"]),
        (
            "one from the future hides nothing",
            &[(0, 0, "a"), (1, 1, "a"), (999_999, 2, "a"), (3, 3, "a")],
            &["count"],
        ),
        ("one from the future adds nothing", &[(0, 0, "a"), (1, 1, "a"), (999_999, 2, "a")], &[]),
        ("one second, in order", &[(0, 0, "a"), (0, 0, "b")], &["order", "other"]),
        ("one second, not in order", &[(0, 0, "b"), (0, 0, "a")], &["other"]),
        ("an hour behind", &[(-3600, 0, "a"), (-3599, 1, "a"), (-3598, 2, "a")], &["count"]),
        ("stepped back between", &[(0, 0, "a"), (1, 1, "a"), (-3598, 2, "a"), (-3597, 3, "a")], &[]),
        (
            "stepped back, and as often again",
            &[(0, 0, "a"), (1, 1, "a"), (-3598, 2, "a"), (-3597, 3, "a"), (-3596, 4, "a")],
            &["count"],
        ),
        ("an old file, read at once", &[(-9000, 0, "a"), (-6000, 0, "a"), (-3000, 0, "a")], &[]),
        ("silence", &[(0, 0, "a"), (301, 301, "a")], &["quiet"]),
        ("silence by a clock that is behind", &[(-3600, 0, "a"), (-3400, 200, "a"), (-3200, 400, "a")], &[]),
    ];
    for (name, lines, expected) in table {
        let fired = |every: i64| {
            let mut detector = Detector::new(Arc::clone(&rules), DetectorSettings::default());
            let (mut out, mut now) = (Vec::new(), 0);
            for (number, (happened, heard, user)) in lines.iter().enumerate() {
                // At its own pace time is told of every so many seconds; in a replay the next record is.
                while every > 0 && now < *heard {
                    detector.tick(at(now), &mut out);
                    now += every;
                }
                now = *heard;
                let mut row = row(number as u64, Some(*happened), *heard, "x", user);
                row.record.attributes.set("host", "h");
                for _ in 0..2 {
                    // Replayed: the same record again is none.
                    detector.observe(&row, at(*heard), &mut out);
                }
            }
            detector.tick(at(now + 5), &mut out);
            let mut fired: Vec<String> = out
                .into_iter()
                .filter(|finding| finding.kind == Fired)
                .map(|finding| finding.rule_id)
                .collect();
            fired.sort();
            fired
        };
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(fired(1), expected, "{name}");
        assert_eq!(fired(0), expected, "{name}, replayed");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Heard { happened: i64, user: u8 },
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<(u8, Step)>> {
    let step = prop_oneof![
        4 => (-100i64..100, 0u8..3).prop_map(|(happened, user)| Step::Heard { happened, user }),
        1 => Just(Step::Tick),
    ];
    proptest::collection::vec((0u8..40, step), 0..120)
}

fn run(detector: &mut Detector, now: &mut i64, number: &mut u64, steps: &[(u8, Step)]) -> Vec<Finding> {
    let mut out = Vec::new();
    for (pause, step) in steps {
        *now += i64::from(*pause);
        match step {
            Step::Heard { happened, user } => {
                *number += 1;
                let row = row(*number, Some(*now + happened), *now, "failed segfault", &user.to_string());
                detector.observe(&row, at(*now), &mut out);
            }
            Step::Tick => detector.tick(at(*now), &mut out),
        }
    }
    out
}

/// A rule of each kind over the records that [`run`] makes.
fn every_kind() -> Vec<String> {
    let rule = |kind: &str, terms: &str| {
        format!("title: {kind}\nid: {kind}\nkind: {kind}\nquery: failed\n{kind}: {{ {terms} }}\n")
    };
    vec![
        threshold("r", 3, "1m", ""),
        threshold("d", 2, "2m", "distinct: user"),
        sigma("s"),
        rule("flatline", "window: 90s, group_by: [user]"),
        rule("cardinality", "field: user, fewer_than: 2, window: 1m"),
        rule("spike", "window: 1m, height: 2, direction: both"),
        rule("metric", "field: user, is: avg, above: 1.2, window: 1m"),
        rule("percentage", "of: 'user:1', below: 20, window: 2m, at_least: 2"),
        rule("new_term", "fields: [user], learn: 20s, history: 5m"),
        rule("change", "fields: [user], within: 1m"),
        rule("list", "field: user, deny: ['2']"),
        rule("baseline", "interval: 1m, deviation: 2, at_least: 1"),
        rule("sequence", "steps: ['user:0', { not: 'user:2' }, 'user:1'], within: 2m"),
        rule("sequence", "steps: ['user:1', { not: 'user:0' }], within: 1m")
            .replace("id: sequence", "id: not_followed"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A stream that is read at once gives what it gave when it was read as it came.
    #[test]
    fn a_replay_finds_the_same(steps in steps(), pace in 1i64..30) {
        let rules = rules(&every_kind());
        let settings = DetectorSettings { lateness: Duration::from_mins(2), ..DetectorSettings::default() };
        let findings = |ticks: bool| {
            let mut detector = Detector::new(Arc::clone(&rules), settings.clone());
            let (mut now, mut number) = (0, 0);
            let mut out = Vec::new();
            detector.tick(at(0), &mut out);
            for (pause, step) in &steps {
                if ticks {
                    for second in (0..i64::from(*pause)).step_by(pace as usize) {
                        detector.tick(at(now + second), &mut out);
                    }
                }
                let step = match step {
                    Step::Tick if !ticks => { now += i64::from(*pause); continue }
                    step => step.clone(),
                };
                out.extend(run(&mut detector, &mut now, &mut number, &[(*pause, step)]));
            }
            detector.tick(at(now + 100_000), &mut out);
            let told = |finding: Finding| (finding.kind != Updated).then_some((
                finding.kind, finding.rule_id, finding.group, finding.first, finding.last, finding.count, finding.value.map(f64::to_bits),
            ));
            out.into_iter().filter_map(told).collect::<Vec<_>>()
        };
        prop_assert_eq!(findings(true), findings(false));
    }

    /// Going on from a snapshot is going on.
    #[test]
    fn a_snapshot_changes_nothing(before in steps(), after in steps()) {
        let rules = rules(&every_kind());
        let settings = DetectorSettings { max_groups: 20, lateness: Duration::from_mins(2), ..DetectorSettings::default() };
        let mut whole = Detector::new(Arc::clone(&rules), settings.clone());
        let (mut now, mut number) = (0, 0);
        run(&mut whole, &mut now, &mut number, &before);
        let snapshot = whole.snapshot();
        let mut restored = Detector::new(rules, settings);
        restored.restore(&snapshot).unwrap();
        prop_assert_eq!(&restored.snapshot(), &snapshot);
        // A first step within moments, for a longer pause is a restart.
        let after: Vec<(u8, Step)> = after.into_iter().enumerate().map(|(n, (p, s))| (if n == 0 { p.min(9) } else { p }, s)).collect();
        let mut again = (now, number);
        let expected = run(&mut whole, &mut now, &mut number, &after);
        let found = run(&mut restored, &mut again.0, &mut again.1, &after);
        prop_assert_eq!(found, expected);
        prop_assert_eq!(restored.snapshot(), whole.snapshot());
    }

    /// Whatever comes, each group fires, goes on and is resolved in turn, and what is resolved had fired.
    #[test]
    fn findings_of_a_group_take_turns(steps in steps()) {
        let mut detector = detector(&[threshold("r", 2, "1m", ""), sigma("s")]);
        let mut out = run(&mut detector, &mut 0, &mut 0, &steps);
        detector.tick(at(1_000_000), &mut out);
        let mut firing = BTreeMap::new();
        for finding in &out {
            let was = firing.insert(&finding.fingerprint, finding.kind != Resolved).unwrap_or(false);
            prop_assert_eq!(was, finding.kind != Fired, "{:?}", finding);
            prop_assert!(finding.first <= finding.last && finding.count as usize >= finding.evidence.len());
            prop_assert!(!finding.evidence.is_empty() && finding.evidence.len() <= MAX_EVIDENCE);
        }
        prop_assert!(firing.values().all(|firing| !firing), "in the end all is quiet");
        let stats = detector.stats();
        prop_assert_eq!((stats.groups, stats.events, stats.active), (0, 0, 0));
        prop_assert_eq!(stats.fired, stats.resolved);
    }
}
