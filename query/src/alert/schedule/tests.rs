//! Schedulers over one catalogue: each run is carried out once, whoever dies when, and what is not known changes nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{alert::fixtures, settings::AlertSettings};
use millrace_model::{ManualClock, Value};
use millrace_pipes::{Cells, Column, Table};
use std::sync::Mutex;

const RULE: &str = "title: Busy\nid: busy\nkind: scheduled\nlevel: high\n\
                    query: '* | stats count() as n by host | where n > 10'\n\
                    scheduled: { every: 1m, range: 5m, delay: 10s }\n";
const MINUTE: Duration = Duration::from_mins(1);

/// What is answered, and how often it was asked.
#[derive(Default)]
struct Answers {
    next: Mutex<Option<Result<Answered, String>>>,
    asked: Mutex<Vec<Timestamp>>,
}

struct Bed {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    catalogue: Catalogue,
    answers: Arc<Answers>,
    book: Arc<RuleBook>,
}

#[expect(clippy::unnecessary_wraps, reason = "what is answered may be an error")]
fn rows(hosts: &[&str]) -> Result<Answered, String> {
    let mut cells = Cells::default();
    for host in hosts {
        cells.push(Some(Value::from(*host)));
    }
    let column = Column { name: "host".to_owned(), is_time: false, is_estimate: false, cells };
    let table = Table { columns: vec![column], rows: hosts.len(), chosen_by_estimate: false };
    Ok(Answered { table, rows: hosts.len() as u64, records: 7 })
}

impl Bed {
    async fn new() -> Self {
        // On a minute.
        let (catalogue, clock, folder) = fixtures::catalogue(Timestamp::from_millis(1_700_000_040_000)).await;
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        std::fs::write(folder.path().join("rules/busy.yml"), RULE).unwrap();
        let settings = AlertSettings {
            rules: vec![folder.path().join("rules")],
            starter: false,
            ..AlertSettings::default()
        };
        let book = Arc::new(RuleBook::open(&settings, Metrics::default()));
        Self { folder, clock, catalogue, answers: Arc::default(), book }
    }

    fn node(&self, name: &str) -> Scheduler {
        let answers = Arc::clone(&self.answers);
        let ask: Ask = Arc::new(move |_, at| {
            answers.asked.lock().unwrap().push(at);
            let answer = answers.next.lock().unwrap().clone().unwrap_or_else(|| rows(&[]));
            Box::pin(async move {
                // The other gets to run here.
                tokio::task::yield_now().await;
                answer
            })
        });
        Scheduler::new(SchedulerParts {
            catalogue: self.catalogue.clone(),
            clock: Arc::<ManualClock>::clone(&self.clock),
            rules: Arc::clone(&self.book),
            ask,
            wake: Arc::default(),
            metrics: Metrics::default(),
            node: name.to_owned(),
        })
    }

    fn answer(&self, answer: Result<Answered, String>) {
        *self.answers.next.lock().unwrap() = Some(answer);
    }

    /// For which times it was asked since the last look.
    fn asked(&self) -> usize {
        std::mem::take(&mut *self.answers.asked.lock().unwrap()).len()
    }

    async fn alerts(&self) -> Vec<(String, AlertState, u64)> {
        let mut alerts = self.catalogue.alerts(None, 100).await.unwrap();
        alerts.sort_by(|one, other| (one.first, &one.group).cmp(&(other.first, &other.group)));
        alerts.into_iter().map(|alert| (alert.group["host"].clone(), alert.state, alert.count)).collect()
    }

    async fn runs(&self) -> Runs {
        all_runs(&self.catalogue, self.clock.now()).await.unwrap().remove("busy").unwrap()
    }
}

/// Looks once, and carries out what is due.
async fn look(node: &Scheduler) -> Result<(), Error> {
    for (rule, at) in node.due().await? {
        node.carry_out(&rule, at).await?;
    }
    Ok(())
}

use AlertState::{Firing, Resolved};

#[tokio::test]
async fn a_rule_begins_when_it_is_known_and_goes_by_its_rows() {
    let bed = Bed::new().await;
    let node = bed.node("a");
    look(&node).await.unwrap();
    look(&node).await.unwrap();
    assert_eq!(bed.asked(), 0, "what was due before it was known is not made up for");

    bed.answer(rows(&["web1", "web2"]));
    bed.clock.advance(MINUTE);
    look(&node).await.unwrap();
    assert_eq!(bed.asked(), 0, "it waits for what is still on its way");
    bed.clock.advance(Duration::from_secs(10));
    look(&node).await.unwrap();
    look(&node).await.unwrap();
    assert_eq!(bed.asked(), 1);
    assert_eq!(bed.alerts().await, [("web1".into(), Firing, 1), ("web2".into(), Firing, 1)]);
    let last = bed.runs().await.last.unwrap();
    assert_eq!((last.rows, last.cut_off, last.carried_out), (2, false, bed.clock.now()));
    assert_eq!(last.scheduled, bed.clock.now().minus(Duration::from_secs(10)));

    bed.answer(rows(&["web1"]));
    bed.clock.advance(MINUTE);
    look(&node).await.unwrap();
    assert_eq!(bed.alerts().await, [("web1".into(), Firing, 2), ("web2".into(), Resolved, 1)]);
    // What comes back is another alert.
    bed.answer(rows(&["web1", "web2"]));
    bed.clock.advance(MINUTE);
    look(&node).await.unwrap();
    let all = [("web1", Firing, 3), ("web2", Resolved, 1), ("web2", Firing, 1)];
    assert_eq!(bed.alerts().await, all.map(|(host, state, count)| (host.to_owned(), state, count)));
}

#[tokio::test]
async fn two_nodes_carry_out_each_run_once() {
    let bed = Bed::new().await;
    let (one, other) = (bed.node("a"), bed.node("b"));
    look(&one).await.unwrap();
    bed.answer(rows(&["web1"]));
    bed.clock.advance(Duration::from_secs(10));
    for run in 1..=20 {
        bed.clock.advance(MINUTE);
        let outcomes = tokio::join!(look(&one), look(&other));
        outcomes.0.unwrap();
        outcomes.1.unwrap();
        // Who has not had the lease looks again.
        look(&one).await.unwrap();
        look(&other).await.unwrap();
        assert_eq!((bed.asked(), bed.alerts().await), (1, vec![("web1".to_owned(), Firing, run)]));
    }
}

#[tokio::test]
async fn of_two_that_both_carry_out_a_run_one_is_believed() {
    let bed = Bed::new().await;
    let (one, other) = (bed.node("a"), bed.node("b"));
    look(&one).await.unwrap();
    bed.answer(rows(&["web1"]));
    bed.clock.advance(MINUTE + MINUTE);
    let (rule, at) = one.due().await.unwrap().remove(0);
    // As if the lease had run out while the first was searching.
    let outcomes = tokio::join!(one.carry_out_alone(&rule, at), other.carry_out_alone(&rule, at));
    let is_refused = |outcome: &Result<(), Error>| matches!(outcome, Err(Error::Conflict { .. }));
    let refused = usize::from(is_refused(&outcomes.0)) + usize::from(is_refused(&outcomes.1));
    assert!(refused < 2, "{outcomes:?}");
    // One that comes when the other is done does not ask.
    assert_eq!((bed.asked(), bed.alerts().await), (1 + refused, vec![("web1".to_owned(), Firing, 1)]));
}

#[tokio::test]
async fn a_run_that_fails_changes_nothing_and_is_tried_again_more_and_more_seldom() {
    let bed = Bed::new().await;
    let (one, other) = (bed.node("a"), bed.node("b"));
    look(&one).await.unwrap();
    bed.answer(rows(&["web1"]));
    bed.clock.advance(MINUTE + Duration::from_secs(10));
    look(&one).await.unwrap();
    assert_eq!(bed.asked(), 1);

    bed.answer(Err("an indexer is away".into()));
    bed.clock.advance(MINUTE);
    let mut tries = Vec::new();
    for second in 0..55 {
        look(&one).await.unwrap();
        look(&other).await.unwrap();
        if bed.asked() > 0 {
            tries.push(second);
        }
        bed.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(tries, [0, 1, 3, 7, 15, 31]);
    assert_eq!(bed.alerts().await, [("web1".into(), Firing, 1)], "no rows are known, not: there are none");
    let failing = bed.runs().await.failing.unwrap();
    assert_eq!((failing.attempts, failing.error.as_str()), (6, "an indexer is away"));

    // The next one is due before the eighth try.
    bed.answer(rows(&[]));
    bed.clock.advance(Duration::from_secs(5));
    look(&other).await.unwrap();
    let runs = bed.runs().await;
    assert_eq!((bed.asked(), runs.missed, runs.failing), (1, 1, None));
    assert_eq!(bed.alerts().await, [("web1".into(), Resolved, 1)]);
}

#[tokio::test]
async fn of_what_was_missed_the_latest_is_made_up_for() {
    let bed = Bed::new().await;
    look(&bed.node("a")).await.unwrap();
    bed.clock.advance(90 * MINUTE + Duration::from_secs(10));
    bed.answer(rows(&["web1"]));
    look(&bed.node("b")).await.unwrap();
    let runs = bed.runs().await;
    assert_eq!((bed.asked(), runs.missed), (1, 89));
    assert_eq!(runs.last.unwrap().scheduled, bed.clock.now().minus(Duration::from_secs(10)));
}

#[tokio::test]
async fn what_was_cut_off_is_not_over() {
    let bed = Bed::new().await;
    let node = bed.node("a");
    look(&node).await.unwrap();
    for (hosts, more) in [(["web1", "web2"].as_slice(), 0), (&["web1"], 5)] {
        bed.answer(rows(hosts).map(|some| Answered { rows: some.rows + more, ..some }));
        bed.clock.advance(MINUTE + Duration::from_secs(10));
        look(&node).await.unwrap();
    }
    assert_eq!(bed.alerts().await, [("web1".into(), Firing, 2), ("web2".into(), Firing, 1)]);
    assert!(bed.runs().await.last.unwrap().cut_off);
}

#[tokio::test]
async fn what_a_rule_that_is_gone_has_found_is_over_but_not_where_it_may_be_broken() {
    let bed = Bed::new().await;
    let node = bed.node("a");
    look(&node).await.unwrap();
    bed.answer(rows(&["web1"]));
    bed.clock.advance(MINUTE + Duration::from_secs(10));
    look(&node).await.unwrap();

    // A process that starts with a mistake in the file knows nothing of the rule.
    let file = bed.folder.path().join("rules/busy.yml");
    let settings = AlertSettings { rules: vec![file.clone()], starter: false, ..AlertSettings::default() };
    std::fs::write(&file, RULE.replace("query:", "qery:")).unwrap();
    let book = Arc::new(RuleBook::open(&settings, Metrics::default()));
    let broken = Scheduler::new(SchedulerParts { rules: Arc::clone(&book), ..node.parts.clone() });
    look(&broken).await.unwrap();
    assert_eq!(bed.alerts().await, [("web1".into(), Firing, 1)]);

    std::fs::write(&file, "").unwrap();
    book.reload().unwrap();
    look(&broken).await.unwrap();
    assert_eq!(bed.alerts().await, [("web1".into(), Resolved, 1)]);
    assert!(bed.catalogue.documents(KIND).await.unwrap().is_empty());
}
