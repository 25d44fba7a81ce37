//! What was there before a rule came, for rules that remember: read out of the index while the rules watch the stream, one rule
//! after the other, by searches that share the cores with all others. Whoever watches asks through [`Histories`] and hands on
//! what comes; a [`Historian`] reads.
//!
//! **Invariant:** what is handed over is whole. Where something may be missing, nothing is: the rule learns from the stream, and
//! it is tried again later.

use crate::{Hits, Missing, SearchRequest, Searcher, search::walk::Walk};
use millrace_detect::{Detector, Past, Rule, RuleSet, TooMuch};
use millrace_model::{Grant, Sight, TimeRange, Timestamp, Value};
use millrace_pipes::{Aggregate, AggregateKind, Context, Expr, Named, Pipe, Plan};
use millrace_store::{Leaf, Order};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

/// So many records are in memory at once.
const PAGE: usize = 10_000;
/// More records than this are not read one by one for a rule.
const MOST: u64 = 20_000_000;
/// Records are counted so much time at once.
const SLICE: Duration = Duration::from_hours(24);
/// How much memory counting may take.
const MEMORY: usize = 64 << 20;
/// What failed is tried again after this, then after twice as long,
const AGAIN: Duration = Duration::from_secs(10);
/// and so on, up to this.
const AGAIN_AT_MOST: Duration = Duration::from_mins(10);

/// Has a rule that remembers been handed what was there before it?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PastState {
    /// It is being read, or waits for that; the rule learns from the stream meanwhile.
    Pending,
    /// It has.
    Handed,
    /// It could not be read: the rule learns from the stream.
    Failed {
        /// Why.
        reason: String,
        /// Is it tried again?
        again: bool,
    },
}

/// What one rule is to be handed.
#[derive(Debug)]
struct Wanted {
    rules: Arc<RuleSet>,
    rule: String,
    until: Timestamp,
}

/// What became of it.
type Read = (String, Result<Past, Failure>);

/// Why nothing is handed over.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the catalogue cannot be read")]
    Catalogue(#[from] millrace_catalogue::Error),
    #[error("something may be missing: {0}")]
    Partial(String),
    #[error("it broke off")]
    BrokenOff(#[from] tokio::task::JoinError),
    #[error("counting takes more memory than there is for it: {0}")]
    Memory(#[from] millrace_pipes::TooLarge),
    #[error("it cannot be counted: {0}")]
    Plan(String),
    #[error("there is too much of it: {0}")]
    TooMuch(#[from] TooMuch),
    #[error("there is too much of it: more than {MOST} records")]
    TooMany,
}

impl Failure {
    /// May it be otherwise soon?
    fn passes(&self) -> bool {
        matches!(self, Self::Catalogue(_) | Self::Partial(_) | Self::BrokenOff(_))
    }
}

/// A failure, and when to try again.
#[derive(Debug)]
struct Failed {
    reason: String,
    tries: u32,
    again: Option<Instant>,
}

/// The side of whoever watches.
#[derive(Debug)]
pub struct Histories {
    ask: mpsc::Sender<Wanted>,
    read: mpsc::Receiver<Read>,
    reading: bool,
    failed: BTreeMap<String, Failed>,
}

/// The side of whoever reads.
#[derive(Debug)]
pub struct Historian {
    asked: mpsc::Receiver<Wanted>,
    tell: mpsc::Sender<Read>,
}

/// Both sides. One rule at a time is read.
pub fn histories() -> (Histories, Historian) {
    let (ask, asked) = mpsc::channel(1);
    let (tell, read) = mpsc::channel(1);
    (Histories { ask, read, reading: false, failed: BTreeMap::new() }, Historian { asked, tell })
}

impl Histories {
    /// Asks for what one of these detectors' rules is to be handed, if nothing is being read; says how it stands with each of them.
    pub fn look<'d>(&mut self, detectors: impl Iterator<Item = &'d Detector>) -> BTreeMap<String, PastState> {
        let mut states = BTreeMap::new();
        let mut wanted: BTreeMap<&str, (&Arc<RuleSet>, Vec<Timestamp>)> = BTreeMap::new();
        for detector in detectors {
            for (rule, came) in detector.pasts() {
                let Some(came) = came else {
                    states.entry(rule.id.clone()).or_insert(PastState::Handed);
                    continue;
                };
                states.insert(rule.id.clone(), self.state(&rule.id));
                wanted.entry(&rule.id).or_insert((detector.rules(), Vec::new())).1.push(came);
            }
        }
        let is_due = |rule: &str| match self.failed.get(rule) {
            Some(failed) => failed.again.is_some_and(|again| again <= Instant::now()),
            None => true,
        };
        let next = wanted.iter().find(|(rule, _)| !self.reading && is_due(rule));
        if let Some((rule, (rules, came))) = next
            && let Some(until) = up_to(came)
        {
            let wanted = Wanted { rules: Arc::clone(rules), rule: (*rule).to_owned(), until };
            self.reading = self.ask.try_send(wanted).is_ok();
        }
        states
    }

    fn state(&self, rule: &str) -> PastState {
        match self.failed.get(rule) {
            None => PastState::Pending,
            Some(failed) => {
                PastState::Failed { reason: failed.reason.clone(), again: failed.again.is_some() }
            }
        }
    }

    /// The rules were replaced: what failed may not fail for these.
    pub fn rules_replaced(&mut self) {
        self.failed.clear();
    }

    /// The next that has been read. Cancel-safe; waits for ever where nobody reads.
    pub async fn next(&mut self) -> Past {
        loop {
            let Some((rule, read)) = self.read.recv().await else { return std::future::pending().await };
            self.reading = false;
            match read {
                Ok(past) => {
                    self.failed.remove(&rule);
                    tracing::info!(rule.id = rule, records = past.records(), "a rule is handed its history");
                    return past;
                }
                Err(failure) => self.fail(rule, &failure),
            }
        }
    }

    fn fail(&mut self, rule: String, failure: &Failure) {
        let reason = millrace_model::chain(failure);
        let tries = self.failed.get(&rule).map_or(0, |failed| failed.tries);
        let pause = AGAIN.saturating_mul(1 << tries.min(16)).min(AGAIN_AT_MOST);
        let again = failure.passes().then(|| Instant::now() + pause);
        tracing::warn!(
            rule.id = rule,
            again = again.is_some(),
            "a rule's history cannot be read, it learns from the stream: {reason}"
        );
        self.failed.insert(rule, Failed { reason, tries: tries.saturating_add(1), again });
    }
}

/// The end of what is read for a rule that came to detectors at these times: to all that it came to soon after the first, and others
/// are served after that.
fn up_to(came: &[Timestamp]) -> Option<Timestamp> {
    let first = came.iter().min()?;
    came.iter().filter(|came| came.since(*first) <= Past::TOLERANCE).max().copied()
}

impl Historian {
    /// Reads what is asked for until `shutdown`.
    pub async fn run<L: Leaf>(mut self, searcher: &Searcher<L>, shutdown: CancellationToken) {
        let serve = async {
            while let Some(wanted) = self.asked.recv().await {
                let read = match wanted.rules.get(&wanted.rule) {
                    Some(rule) => read(searcher, &wanted, rule).await,
                    None => continue,
                };
                if self.tell.send((wanted.rule, read)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            // Nobody watches.
            () = serve => shutdown.cancelled().await,
        }
    }
}

async fn read<L: Leaf>(searcher: &Searcher<L>, wanted: &Wanted, rule: &Rule) -> Result<Past, Failure> {
    let past = Past::new(rule, wanted.until);
    let (Some(range), Some(matches)) = (rule.past(wanted.until), &rule.matches) else { return Ok(past) };
    let request = SearchRequest {
        filter: matches.query.clone(),
        range,
        streams: (!rule.streams.is_empty()).then(|| rule.streams.clone()),
        sight: Sight::whole(Grant::All),
        limit: 0,
        order: Order::OldestFirst,
        after: None,
        histogram: None,
        gather: None,
    };
    match rule.counts_by() {
        Some((interval, fields)) => count(searcher, request, rule, past, interval, &fields).await,
        None => walk(searcher, request, wanted, past).await,
    }
}

/// Record by record: for rules that look into them.
async fn walk<L: Leaf>(
    searcher: &Searcher<L>,
    request: SearchRequest,
    wanted: &Wanted,
    past: Past,
) -> Result<Past, Failure> {
    let mut past = past;
    let mut walk = Walk::new(request, PAGE);
    while let Some(Hits { hits, missing, total, .. }) = walk.next(searcher).await? {
        whole(&missing)?;
        // First of all comes an empty page that knows how many there are.
        if total.max(past.records()) > MOST {
            return Err(Failure::TooMany);
        }
        let (rules, id) = (Arc::clone(&wanted.rules), wanted.rule.clone());
        let looking = searcher.try_on_a_core(move |_| {
            if let Some(rule) = rules.get(&id) {
                hits.iter().try_for_each(|row| past.observe(rule, row))?;
            }
            Ok::<_, TooMuch>(past)
        });
        past = looking.await??;
    }
    Ok(past)
}

/// By intervals and groups, where the records lie: for rules that ask for nothing else.
async fn count<L: Leaf>(
    searcher: &Searcher<L>,
    request: SearchRequest,
    rule: &Rule,
    mut past: Past,
    interval: Duration,
    fields: &[&str],
) -> Result<Past, Failure> {
    let TimeRange { mut from, to } = request.range;
    while from < to {
        let range = TimeRange { from, to: to.min(from.plus(SLICE)) };
        from = range.to;
        let plan = plan(interval, fields, range).map_err(Failure::Plan)?;
        let request = SearchRequest { range, gather: Some(plan.leaf()), ..request.clone() };
        let found = searcher.search(&request).await?;
        whole(&found.missing)?;
        let table = searcher.finish(plan, found.gathered).await?.table;
        let Some(((times, counts), groups)) = table
            .columns
            .split_first()
            .and_then(|(times, rest)| rest.split_last().map(|(counts, groups)| ((times, counts), groups)))
        else {
            continue;
        };
        for row in 0..table.rows {
            let (Some(Value::Int(start)), Some(Value::Int(count))) =
                (times.cells.get(row), counts.cells.get(row))
            else {
                continue;
            };
            let group: Vec<Value> = groups.iter().map(|column| column.shown(row)).collect();
            past.count(rule, &group, Timestamp(*start), u64::try_from(*count).unwrap_or_default())?;
        }
    }
    Ok(past)
}

/// Where an interval begins, the values of the fields, and how many records there were: a row each.
fn plan(interval: Duration, fields: &[&str], range: TimeRange) -> Result<Plan, String> {
    let column = |(number, name): (usize, &&str)| Named {
        name: format!("group{number}"),
        what: Expr::Column((*name).to_owned()),
    };
    let count = Aggregate { kind: AggregateKind::Count, of: None };
    let pipe = Pipe::Timechart {
        interval: Some(i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX)),
        aggregates: vec![Named { name: "count".to_owned(), what: count }],
        by: fields.iter().enumerate().map(column).collect(),
    };
    Plan::new(&[pipe], &Context { now: range.to, range, limit: usize::MAX, memory: MEMORY })
}

/// Is nothing missing?
fn whole(missing: &[Missing]) -> Result<(), Failure> {
    match missing.first() {
        Some(missing) => Err(Failure::Partial(missing.reason.clone())),
        None => Ok(()),
    }
}
