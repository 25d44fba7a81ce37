//! Scheduled rules: each has its query answered when it is due, and its rows become findings, and these alerts.
//!
//! What the latest run of a rule was is a document. The alerts that a run changes are written in one transaction with it, over
//! the version that was read: of several nodes that carry out the same run one is believed. A lease spares the others the search.
//!
//! **Invariant:** a run whose answer is not known, or may lack something, changes no alert.

mod ask;

pub use ask::{Answered, Ask, Bounds, ask};

use super::{RuleBook, lifecycle::Lifecycle};
use crate::{DETECT_GROUP, Metrics, http::described::Time, metrics::RunOutcome};
use millrace_catalogue::{Alert, AlertState, Catalogue, Cut, DocumentWrite, Error, PublishError};
use millrace_detect::{Finding, FindingKind, Firing, FiringGroup, Rule, Scheduled};
use millrace_model::{Clock, Partition, TimeRange, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// It is looked so often what is due.
const EVERY: Duration = Duration::from_secs(1);
/// So many runs are under way at once at a node.
const AT_ONCE: usize = 4;
/// A node has a run for itself for so long; a search takes less.
const LEASE: Duration = Duration::from_mins(5);
/// A run that failed is tried again after this, then after twice as long, and so on,
const RETRY: Duration = Duration::from_secs(1);
/// but no less often than this.
const SLOWEST: Duration = Duration::from_mins(1);
/// Runs that were missed are counted up to this.
const MOST_MISSED: usize = 10_000;
/// The kind of the documents that say what the latest run of a rule was, by the rule's id.
pub const KIND: &str = "schedule";
/// In whose name findings are held: they come of no partition.
const NOWHERE: Partition = Partition(-1);

/// How the runs of a scheduled rule go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ScheduledRuns)]
pub struct Runs {
    /// Since when the rule is known: nothing was due before.
    #[schema(value_type = Time)]
    pub since: Timestamp,
    /// The latest run.
    #[serde(default)]
    pub last: Option<LastRun>,
    /// How many were passed over because a later one was due before they could be carried out.
    #[serde(default)]
    pub missed: u64,
    /// What keeps the run that is due from being carried out.
    #[serde(default)]
    pub failing: Option<Failing>,
}

/// A run that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ScheduledRun)]
pub struct LastRun {
    /// For which time.
    #[schema(value_type = Time)]
    pub scheduled: Timestamp,
    /// When.
    #[schema(value_type = Time)]
    pub carried_out: Timestamp,
    /// How many rows it had.
    pub rows: u64,
    /// Some were cut off: there are alerts of a thousand only, and none is over that is not among them.
    pub cut_off: bool,
    /// How long its search took.
    pub took_ms: u64,
}

/// A run that could not be carried out so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ScheduledRunFailing)]
pub struct Failing {
    /// For which time.
    #[schema(value_type = Time)]
    pub scheduled: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// It is tried again then, unless another is due.
    #[schema(value_type = Time)]
    pub retry_at: Timestamp,
    /// Why it failed.
    pub error: String,
}

impl Runs {
    fn new(now: Timestamp) -> Self {
        Self { since: now, last: None, missed: 0, failing: None }
    }

    /// The latest time for which nothing is to be done any more.
    fn done(&self) -> Timestamp {
        self.last.as_ref().map_or(self.since, |last| last.scheduled.max(self.since))
    }

    /// For which time a run can be carried out now.
    fn due(&self, scheduled: &Scheduled, now: Timestamp) -> Option<Timestamp> {
        let at = scheduled.due(now).filter(|at| *at > self.done())?;
        let waits = |failing: &Failing| failing.scheduled == at && failing.retry_at > now;
        (!self.failing.as_ref().is_some_and(waits)).then_some(at)
    }

    /// How many times lie between the latest run and this one.
    fn missed_before(&self, scheduled: &Scheduled, at: Timestamp) -> u64 {
        let between = TimeRange { from: Timestamp(self.done().0.saturating_add(1)), to: at };
        scheduled.schedule.times(between).take(MOST_MISSED).count() as u64
    }

    fn failed(&mut self, at: Timestamp, now: Timestamp, error: String) {
        let before = self.failing.as_ref().filter(|failing| failing.scheduled == at);
        let attempts = before.map_or(0, |failing| failing.attempts) + 1;
        let pause = (RETRY * 2u32.saturating_pow((attempts - 1).min(10))).min(SLOWEST);
        self.failing = Some(Failing { scheduled: at, attempts, retry_at: now.plus(pause), error });
    }
}

/// How the runs of all scheduled rules go, by the rule's id.
///
/// # Errors
/// The catalogue cannot be read.
pub async fn all_runs(catalogue: &Catalogue, now: Timestamp) -> Result<BTreeMap<String, Runs>, Error> {
    let documents = catalogue.documents(KIND).await?.into_iter();
    Ok(documents.map(|document| (document.key.clone(), read(&document.key, &document.body, now))).collect())
}

/// What a document says. One that cannot be read says that the rule is new.
fn read(rule: &str, body: &str, now: Timestamp) -> Runs {
    serde_json::from_str(body).unwrap_or_else(|error| {
        tracing::error!(%error, rule.id = rule, "what the latest run of a rule was cannot be read");
        Runs::new(now)
    })
}

/// What a scheduler is made of.
#[derive(Clone)]
pub struct SchedulerParts {
    /// Where runs and alerts are kept.
    pub catalogue: Catalogue,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The rules in use.
    pub rules: Arc<RuleBook>,
    /// Answers their queries.
    pub ask: Ask,
    /// Rung when alerts have changed.
    pub wake: Arc<Notify>,
    /// What is counted.
    pub metrics: Metrics,
    /// This node's name in the catalogue.
    pub node: String,
}

/// Carries out scheduled rules.
#[derive(Clone)]
pub struct Scheduler {
    parts: SchedulerParts,
}

impl Scheduler {
    /// Made of these.
    pub fn new(parts: SchedulerParts) -> Self {
        Self { parts }
    }

    /// Runs until `shutdown`. A run that is under way then is carried out by whoever comes next.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut running: JoinSet<String> = JoinSet::new();
        let mut busy = BTreeSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(done) = running.join_next() => {
                    match done {
                        Ok(rule) => drop(busy.remove(&rule)),
                        // Which of them it was is not known; all that is under way is looked at again.
                        Err(error) => {
                            tracing::error!(%error, "a scheduled rule broke off");
                            busy.clear();
                        }
                    }
                    continue;
                }
                _ = ticks.tick() => {}
            }
            let due = match self.due().await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(
                        error = millrace_model::chain(&error),
                        "what is scheduled cannot be looked up"
                    );
                    continue;
                }
            };
            for (rule, at) in due {
                if running.len() < AT_ONCE && busy.insert(rule.id.clone()) {
                    let scheduler = self.clone();
                    running.spawn(async move {
                        scheduler.carry_out_or_say(&rule, at).await;
                        rule.id
                    });
                }
            }
        }
    }

    /// The rules that are due, and for which time. Rules that are new are noted, those that are gone are ended.
    async fn due(&self) -> Result<Vec<(Rule, Timestamp)>, Error> {
        let SchedulerParts { catalogue, clock, rules: book, .. } = &self.parts;
        let rules = book.current();
        let now = clock.now();
        let known = all_runs(catalogue, now).await?;
        let mut due = Vec::new();
        for rule in rules.rules() {
            let Some(scheduled) = rule.scheduled() else { continue };
            if let Some(runs) = known.get(&rule.id) {
                due.extend(runs.due(scheduled, now).map(|at| (rule.clone(), at)));
            } else {
                let new = body(&Runs::new(now));
                done_by_some_node(catalogue.put_document(KIND, &rule.id, None, &new).await)?;
            }
        }
        // What is broken may be one of these: its alerts stay as they are.
        if book.is_whole() {
            let is_there = |id: &String| rules.get(id).is_some_and(|rule| rule.scheduled().is_some());
            for id in known.keys().filter(|id| !is_there(id)) {
                done_by_some_node(self.end(id).await)?;
            }
        }
        Ok(due)
    }

    async fn carry_out_or_say(&self, rule: &Rule, at: Timestamp) {
        if let Err(error) = self.carry_out(rule, at).await {
            tracing::warn!(
                rule.id,
                error = millrace_model::chain(&error),
                "what a scheduled rule has found cannot be stored"
            );
        }
    }

    /// Carries out one run, unless another node has it, or has had it.
    async fn carry_out(&self, rule: &Rule, at: Timestamp) -> Result<(), Error> {
        let SchedulerParts { catalogue, node, .. } = &self.parts;
        let lease = format!("{KIND}/{}", rule.id);
        if !catalogue.lease(&lease, node, LEASE).await? {
            return Ok(());
        }
        let carried_out = self.carry_out_alone(rule, at).await;
        catalogue.release(&lease, node).await?;
        done_by_some_node(carried_out)
    }

    async fn carry_out_alone(&self, rule: &Rule, at: Timestamp) -> Result<(), Error> {
        let SchedulerParts { catalogue, clock, ask, wake, metrics, .. } = &self.parts;
        let Some(scheduled) = rule.scheduled() else { return Ok(()) };
        let Some((version, text)) = catalogue.document(KIND, &rule.id).await? else { return Ok(()) };
        let mut runs = read(&rule.id, &text, clock.now());
        if runs.due(scheduled, clock.now()) != Some(at) {
            return Ok(());
        }
        let started = Instant::now();
        let answered = ask(rule.clone(), at).await;
        let now = clock.now();
        let write = |runs: &Runs| DocumentWrite {
            kind: KIND.to_owned(),
            key: rule.id.clone(),
            expected_version: Some(version),
            body: body(runs),
        };
        let answered = match answered {
            Ok(answered) => answered,
            Err(error) => {
                tracing::warn!(rule.id, error, scheduled = %at, "a scheduled rule cannot be answered; it is tried again");
                metrics.scheduled_runs.get_or_create(&RunOutcome { outcome: "failed" }).inc();
                runs.failed(at, now, error);
                let cut = Cut { documents: vec![write(&runs)], ..Cut::default() };
                return self.publish(&cut).await;
            }
        };
        let missed = runs.missed_before(scheduled, at);
        if missed > 0 {
            tracing::warn!(
                rule.id,
                missed,
                "runs of a scheduled rule were missed; only the latest is made up for"
            );
        }
        if answered.is_cut_off() {
            tracing::warn!(rule.id, rows = answered.rows, "a scheduled rule found more than is told of");
        }
        let alerts = catalogue.alerts_of(&rule.id, AlertState::Firing).await?;
        let mut firing: Firing = alerts.iter().map(held).collect();
        let findings = rule.found_by_run(at, &answered.table, !answered.is_cut_off(), &mut firing);
        let fired = findings.iter().filter(|finding| finding.kind == FindingKind::Fired).count();
        runs.missed += missed;
        runs.failing = None;
        runs.last = Some(LastRun {
            scheduled: at,
            carried_out: now,
            rows: answered.rows,
            cut_off: answered.is_cut_off(),
            took_ms: started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
        });
        let alerts = changed(alerts, findings, now);
        let changes = !alerts.is_empty();
        let cut =
            Cut { group: DETECT_GROUP.to_owned(), alerts, documents: vec![write(&runs)], ..Cut::default() };
        self.publish(&cut).await?;
        metrics.scheduled_runs.get_or_create(&RunOutcome { outcome: "done" }).inc();
        metrics.scheduled_runs.get_or_create(&RunOutcome { outcome: "missed" }).inc_by(missed);
        metrics.findings.inc_by(fired as u64);
        if changes {
            wake.notify_one();
        }
        Ok(())
    }

    /// Ends what a rule that is gone has found, and forgets its runs.
    async fn end(&self, rule: &str) -> Result<(), Error> {
        let SchedulerParts { catalogue, clock, wake, .. } = &self.parts;
        let Some((version, text)) = catalogue.document(KIND, rule).await? else { return Ok(()) };
        let mut alerts = catalogue.alerts_of(rule, AlertState::Firing).await?;
        for alert in &mut alerts {
            alert.state = AlertState::Resolved;
            alert.resolved_at = Some(clock.now());
        }
        let document = DocumentWrite {
            kind: KIND.to_owned(),
            key: rule.to_owned(),
            expected_version: Some(version),
            body: text,
        };
        let cut = Cut { group: DETECT_GROUP.to_owned(), alerts, documents: vec![document], ..Cut::default() };
        self.publish(&cut).await?;
        wake.notify_one();
        catalogue.delete_document(KIND, rule, version + 1).await
    }

    async fn publish(&self, cut: &Cut) -> Result<(), Error> {
        match self.parts.catalogue.publish(cut).await {
            Ok(_) => Ok(()),
            Err(PublishError::Failed(error)) => Err(error),
            Err(error) => Err(Error::Cut(error.to_string())),
        }
    }
}

/// What another node was faster with is done.
fn done_by_some_node<T>(outcome: Result<T, Error>) -> Result<(), Error> {
    match outcome {
        Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn body(runs: &Runs) -> String {
    serde_json::to_string(runs).unwrap_or_default()
}

/// What of a firing alert its rule must know.
fn held(alert: &Alert) -> (String, FiringGroup) {
    let Alert { fingerprint, group, first, last, count, .. } = alert.clone();
    (fingerprint, FiringGroup { group, first, last, count })
}

/// The alerts that findings change.
fn changed(firing: Vec<Alert>, findings: Vec<Finding>, now: Timestamp) -> Vec<Alert> {
    let mut lifecycle = Lifecycle::new(firing);
    for finding in findings {
        lifecycle.take(NOWHERE, finding, now);
    }
    lifecycle.changes()
}

#[cfg(test)]
mod tests;
