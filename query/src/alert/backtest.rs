//! A rule tried over history: what it would have found, had it been there. The records come out of the index, in the order of
//! their times, and go through the very engine that watches the stream. Of a scheduled rule the query is answered for each of its times.

use super::schedule::{self, Bounds};
use crate::{Hits, Missing, SearchRequest, Searcher, search::walk::Walk};
use millrace_detect::{Finding, FindingKind, Firing, Replay, Rule, RuleSet};
use millrace_filter::{Expr, Filter};
use millrace_model::{Sight, TimeRange, Timestamp};
use millrace_store::{Leaf, Order};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// So many records are in memory at once.
const PAGE: usize = 10_000;
/// So many runs of a scheduled rule are tried at most.
pub const MAX_RUNS: usize = 1_000;
/// So many findings are shown.
const SAMPLES: usize = 20;

/// What a rule would have found.
#[derive(Debug, Default)]
pub struct Backtest {
    /// How many records it was tried on.
    pub records: u64,
    /// How many findings there would have been.
    pub findings: u64,
    /// When: by the beginning of each stretch of time that has some, in nanoseconds.
    pub buckets: BTreeMap<i64, u64>,
    /// The first of them.
    pub samples: Vec<Finding>,
    /// What may be missing.
    pub missing: Vec<Missing>,
}

/// What a way through the records came upon.
#[derive(Debug, Default)]
pub struct Replayed {
    /// How many records there were.
    pub records: u64,
    /// What may be missing.
    pub missing: Vec<Missing>,
}

/// Tries a rule, and those that it refers to, over the records of a time.
///
/// # Errors
/// The catalogue cannot be read.
pub async fn run<L: Leaf>(
    searcher: &Searcher<L>,
    rules: RuleSet,
    range: TimeRange,
    interval: Duration,
    sight: Sight,
) -> Result<Backtest, millrace_catalogue::Error> {
    let mut test = Backtest::default();
    let take = |found| {
        test.take(found, interval);
        true
    };
    let Replayed { records, missing } = replay(searcher, rules, range, sight, take).await?;
    Ok(Backtest { records, missing, ..test })
}

/// Has rules look at the records of a time; `take` is given what they find, and says whether to go on.
///
/// # Errors
/// The catalogue cannot be read.
pub async fn replay<L: Leaf>(
    searcher: &Searcher<L>,
    rules: RuleSet,
    range: TimeRange,
    sight: Sight,
    mut take: impl FnMut(Vec<Finding>) -> bool,
) -> Result<Replayed, millrace_catalogue::Error> {
    let request = SearchRequest {
        filter: looked_at(&rules),
        range,
        streams: None,
        sight,
        limit: 0,
        order: Order::OldestFirst,
        after: None,
        histogram: None,
        gather: None,
    };
    let mut replayed = Replayed::default();
    let mut replay = Some(Replay::new(Arc::new(rules)));
    let mut walk = Walk::new(request, PAGE);
    while let Some(Hits { hits, missing, .. }) = walk.next(searcher).await? {
        for missing in missing {
            add(&mut replayed.missing, missing);
        }
        replayed.records += hits.len() as u64;
        let Some(mut running) = replay.take() else { break };
        let tried = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            for row in &hits {
                running.observe(row, &mut found);
            }
            (running, found)
        });
        let Ok((running, found)) = tried.await else { break };
        if !take(found) {
            return Ok(replayed);
        }
        replay = Some(running);
    }
    if let Some(mut replay) = replay {
        let mut found = Vec::new();
        // What silence at the end would have made fire.
        replay.wait_until(range.to.min(searcher.now()), &mut found);
        take(found);
    }
    Ok(replayed)
}

/// Says once what may be missing.
pub(crate) fn add(all: &mut Vec<Missing>, missing: Missing) {
    if !all.contains(&missing) {
        all.push(missing);
    }
}

/// Tries a scheduled rule: its query is answered for each of its times in `range`, [`MAX_RUNS`] at most, one after the other. What was
/// found before the first is not known: all that it finds fires.
pub async fn run_scheduled<L: Leaf>(
    searcher: &Searcher<L>,
    bounds: Bounds,
    rule: &Rule,
    range: TimeRange,
    interval: Duration,
    sight: Sight,
) -> Backtest {
    let mut test = Backtest::default();
    let mut firing = Firing::new();
    let times = rule.scheduled().into_iter().flat_map(|scheduled| scheduled.schedule.times(range));
    for at in times.take(MAX_RUNS) {
        match schedule::ask(searcher, bounds, rule, at, sight.clone()).await {
            Ok(answered) => {
                test.records += answered.records;
                let mut found = rule.found_by_run(at, &answered.table, !answered.is_cut_off(), &mut firing);
                found.retain(|finding| finding.kind == FindingKind::Fired);
                test.take(found, interval);
            }
            Err(reason) => add(&mut test.missing, Missing::of(reason)),
        }
    }
    test
}

impl Backtest {
    fn take(&mut self, found: Vec<Finding>, interval: Duration) {
        for finding in found {
            self.findings += 1;
            let width = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX).max(1);
            let Timestamp(last) = finding.last;
            *self.buckets.entry(last - last.rem_euclid(width)).or_default() += 1;
            if self.samples.len() < SAMPLES {
                self.samples.push(finding);
            }
        }
    }
}

/// What the rules look at: all that any of their queries matches, or everything where one is a Sigma detection.
fn looked_at(rules: &RuleSet) -> Filter {
    let mut any = Vec::new();
    for rule in rules.rules().iter().filter(|rule| !rule.is_correlation()) {
        match &rule.matches {
            Some(matches) => any.push(matches.query.root().clone()),
            None => return Filter::ALL,
        }
    }
    if any.is_empty() { Filter::ALL } else { Filter::new(Expr::any_of(any)) }
}
