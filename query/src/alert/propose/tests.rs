//! A history that people have marked: what follows from it makes a rule right more often, and loses nothing that was true.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::alert::judge::judge;
use millrace_catalogue::{AlertState, Marks as AlertMarks, Verdict, VerdictScope};
use millrace_detect::{RuleFile, findings_over};
use millrace_model::{LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value};
use std::{convert::Infallible, sync::Arc};

const RULE: &str = "title: Guessing\nid: guessing\nkind: threshold\nlevel: high\nquery: failed\n\
                    extract: 'from (?P<ip>\\S+)'\nthreshold: { count: 5, window: 1m, group_by: [ip] }\n";

fn rules(text: &str) -> RuleSet {
    let (rules, errors) = RuleSet::load(vec![RuleFile { path: "a.yml".into(), text: text.into() }]);
    assert!(errors.is_empty(), "{errors:?}");
    rules
}

/// A burst: from where, how many lines, and what it was.
type Burst = (&'static str, u64, VerdictKind);
use VerdictKind::{Benign, FalsePositive, TruePositive};

/// Somebody who mistypes a password at a terminal has up to twelve failures, a program that guesses has dozens.
const HISTORY: &[Burst] = &[
    ("10.0.0.1", 6, FalsePositive),
    ("203.0.113.1", 40, TruePositive),
    ("10.0.0.2", 12, FalsePositive),
    ("10.0.0.1", 9, FalsePositive),
    ("203.0.113.2", 25, TruePositive),
    ("192.0.2.7", 30, Benign),
    ("203.0.113.1", 18, TruePositive),
    ("10.0.0.3", 5, FalsePositive),
    ("10.0.0.4", 2, FalsePositive),
];

/// The lines of bursts, an hour apart, a second between two lines of one.
fn records(bursts: &[Burst]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (hour, (ip, lines, _)) in (0..).zip(bursts) {
        for line in 0..*lines as i64 {
            let time = Timestamp((hour * 3_600 + line) * 1_000_000_000);
            let body = Value::from(format!("failed password from {ip} took {lines} ms").as_str());
            let record =
                LogRecord { timestamp: Some(time), observed_timestamp: time, body, ..LogRecord::default() };
            let id = RecordId { source: SourceId(1), position: rows.len() as u64, index: 0 };
            rows.push(Row { id, stream: StreamName::default(), time, record });
        }
    }
    rows
}

/// The alerts that the rule raised of a history, as people marked them.
fn marked(rules: &RuleSet, bursts: &[Burst]) -> Vec<Marked> {
    let dial = rules.rules()[0].dials().remove(0);
    let as_it_is = Arc::new(rules.turned("guessing", &dial, &[dial.value]).unwrap());
    let found = findings_over(&as_it_is, records(bursts).into_iter().map(|row| (0, row)));
    let alerts = found.into_iter().map(|(_, finding)| {
        let burst = bursts[usize::try_from(finding.first.0 / 3_600_000_000_000).unwrap()];
        let alert = Alert {
            id: format!("{}-{:x}", finding.fingerprint, finding.first.0),
            fingerprint: finding.fingerprint,
            rule_id: "guessing".into(),
            title: finding.rule_title,
            level: finding.level.to_string(),
            state: AlertState::Resolved,
            group: finding.group,
            first: finding.first,
            last: finding.last,
            count: finding.count,
            evidence: Vec::new(),
            resolved_at: Some(finding.last),
        };
        Marked { alert, verdict: burst.2 }
    });
    alerts.collect()
}

/// Turns the rule's first dial over these records; also how often it went through them.
async fn turn(text: &str, marked: &[Marked], bursts: &[Burst]) -> (Outcome, u32) {
    let rules = rules(text);
    let dial = rules.rules()[0].dials().remove(0);
    let mut ways = 0;
    let outcome = propose(&rules, &rules.rules()[0].id, &dial, marked, |turned| {
        ways += 1;
        let found = findings_over(&Arc::new(turned), records(bursts).into_iter().map(|row| (0, row)));
        std::future::ready(Ok::<_, Infallible>(found.into_iter().map(|(_, finding)| finding).collect()))
    });
    let outcome = outcome.await.unwrap();
    (outcome, ways)
}

#[tokio::test]
async fn a_marked_history_raises_precision_and_loses_nothing_that_was_true() {
    let marked = marked(&rules(RULE), HISTORY);
    assert_eq!(marked.len(), HISTORY.len() - 1, "two failures are no alert");
    let (outcome, ways) = turn(RULE, &marked, HISTORY).await;
    let Outcome::Found(proposal) = outcome else { panic!("{outcome:?}") };
    // The worst that was false has twelve lines; thirteen is the least that is silent about it.
    assert_eq!((proposal.key, proposal.from.as_str(), proposal.to.as_str()), ("threshold.count", "5", "13"));
    assert_eq!((proposal.silenced.len(), proposal.kept.len()), (4, 3));
    assert_eq!(
        (proposal.findings_before, proposal.findings_after),
        (8, 4),
        "the one that did no harm stays, too"
    );
    assert!(proposal.precision_after.precision > proposal.precision_before.precision, "{proposal:?}");
    assert_eq!((proposal.precision_before.false_positive, proposal.precision_after.false_positive), (4, 0));
    assert_eq!(proposal.precision_after.true_positive, proposal.precision_before.true_positive);
    assert!(ways <= 4, "{ways}");

    // Whoever takes it: the rule as it is then, over the same history.
    let after = rules(&RULE.replace("count: 5", "count: 13"));
    let found = findings_over(&Arc::new(after), records(HISTORY).into_iter().map(|row| (0, row)));
    let found: Vec<Finding> = found.into_iter().map(|(_, finding)| finding).collect();
    let of = |kind| marked.iter().filter(move |marked| marked.verdict == kind);
    assert!(of(TruePositive).all(|marked| tells_of(&found, &marked.alert)), "recall is 1.0");
    assert!(!of(FalsePositive).any(|marked| tells_of(&found, &marked.alert)));
}

#[tokio::test]
async fn what_would_lose_something_true_is_not_proposed() {
    let mut history = HISTORY.to_vec();
    history.push(("203.0.113.9", 11, TruePositive));
    let marked = marked(&rules(RULE), &history);
    let (outcome, _) = turn(RULE, &marked, &history).await;
    let Outcome::Nothing(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("13 would silence all false positives, and 1 of the true ones"), "{why}");
}

#[tokio::test]
async fn where_nothing_is_to_be_had_it_says_so() {
    // Of records that are gone nothing can be said.
    let all = marked(&rules(RULE), HISTORY);
    let (outcome, ways) = turn(RULE, &all, &HISTORY[1..2]).await;
    assert!(matches!(&outcome, Outcome::Nothing(why) if why.contains("found again")), "{outcome:?}");
    assert_eq!(ways, 1);
    // More than is tried.
    let flood = [("10.0.0.1", 4_200, FalsePositive)];
    let rule = RULE.replace("window: 1m", "window: 2h");
    let (outcome, _) = turn(&rule, &marked(&rules(&rule), &flood), &flood).await;
    assert!(matches!(&outcome, Outcome::Nothing(why) if why.contains("no value")), "{outcome:?}");
}

#[tokio::test]
async fn the_bound_of_a_measure_is_turned_as_little_as_does() {
    let rule = "title: m\nid: guessing\nkind: metric\nquery: failed\n\
                extract: ['from (?P<ip>\\S+)', 'took (?P<ms>\\d+)']\n\
                metric: { field: ms, is: max, above: 4, window: 1m, group_by: [ip] }\n";
    let marked = marked(&rules(rule), HISTORY);
    let (outcome, ways) = turn(rule, &marked, HISTORY).await;
    let Outcome::Found(proposal) = outcome else { panic!("{outcome:?}") };
    let to: f64 = proposal.to.parse().unwrap();
    assert!((12.0..12.13).contains(&to), "within a hundredth of the worst that was false: {to}");
    assert_eq!((proposal.key, proposal.silenced.len(), proposal.kept.len()), ("metric.above", 4, 3));
    assert!(ways <= 4, "{ways}");
}

#[test]
fn verdicts_alone_raise_precision_and_lose_nothing_that_was_true() {
    // People mark the first half; what comes then of the same groups is judged by that.
    let marked = marked(&rules(RULE), HISTORY);
    let (known, later) = marked.split_at(3);
    let verdicts: Vec<Verdict> = known
        .iter()
        .filter(|marked| marked.verdict == FalsePositive)
        .map(|marked| Verdict {
            alert_id: marked.alert.id.clone(),
            rule_id: marked.alert.rule_id.clone(),
            fingerprint: marked.alert.fingerprint.clone(),
            group: marked.alert.group.clone(),
            verdict: FalsePositive,
            reason: String::new(),
            scope: VerdictScope::Fingerprint,
            expires: None,
            given: Timestamp(0),
            given_by: String::new(),
        })
        .collect();
    let told: Vec<&Marked> = later
        .iter()
        .filter(|marked| {
            let mut marks = AlertMarks::default();
            judge(&marked.alert, &verdicts, &mut marks);
            marks.suppressed_by.is_none()
        })
        .collect();
    let share = |marked: &[&Marked]| {
        let of = |kind| marked.iter().filter(|marked| marked.verdict == kind).count();
        (of(TruePositive), of(TruePositive) as f64 / (of(TruePositive) + of(FalsePositive)) as f64)
    };
    let (before, after) = (share(&later.iter().collect::<Vec<_>>()), share(&told));
    assert_eq!(before.0, after.0, "recall is 1.0");
    assert!(after.1 > before.1, "{before:?} {after:?}");
}
