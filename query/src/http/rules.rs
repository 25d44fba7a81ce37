//! `/api/v1/rules/{id}/backtest`: a rule tried over history; `/api/v1/coverage`: what of ATT&CK the rules look for.

use super::{
    Api, ApiError,
    described::{Time, When},
    error::ErrorAnswer,
    parameters::{interval, open_range, wrong},
    search::given,
};
use crate::{
    Missing,
    alert::{
        backtest::{self, MAX_RUNS},
        schedule::Bounds,
    },
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use millrace_detect::{Finding, Rule, RuleSet};
use millrace_listen::Caller;
use millrace_model::{TimeRange, Timestamp};
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use utoipa::{IntoParams, ToSchema};

/// A test without a beginning goes back so far.
const BACK: Duration = Duration::from_hours(7 * 24);
/// A test may take so long.
pub(super) const LONGEST: Duration = Duration::from_mins(10);

/// What history a rule is tried over.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// The first instant; absent: a week before `to`.
    #[param(value_type = Option<When>)]
    from: Option<String>,
    /// The first instant after; absent: now.
    #[param(value_type = Option<When>)]
    to: Option<String>,
    /// Findings are told by stretches of time that are so long; absent: about a hundred of them.
    interval: Option<String>,
}

/// What the rule would have found.
#[derive(Serialize, ToSchema)]
pub(super) struct BacktestTold {
    rule_id: String,
    #[schema(value_type = Time)]
    from: Timestamp,
    #[schema(value_type = Time)]
    to: Timestamp,
    /// How many records its query matched, or there were.
    records: u64,
    /// How many findings there would have been.
    findings: u64,
    /// When: stretches of time that have some.
    buckets: Vec<FindingBucket>,
    /// How long each of them is, in seconds.
    interval_seconds: f64,
    /// The first of them, twenty at most.
    samples: Vec<Sample>,
    /// Something may be missing.
    partial: bool,
    missing: Vec<Missing>,
    took_ms: u64,
}

/// A stretch of time.
#[derive(Serialize, ToSchema)]
struct FindingBucket {
    #[schema(value_type = Time)]
    start: Timestamp,
    count: u64,
}

/// A finding that there would have been.
#[derive(Serialize, ToSchema)]
struct Sample {
    /// The values that the rule groups by.
    group: BTreeMap<String, String>,
    #[schema(value_type = Time)]
    first: Timestamp,
    #[schema(value_type = Time)]
    last: Timestamp,
    count: u64,
    /// What was measured, where the rule measures something.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    value: Option<f64>,
    /// The ids of some of the records that it rests on.
    evidence: Vec<String>,
}

impl From<Finding> for Sample {
    fn from(finding: Finding) -> Self {
        Self {
            group: finding.group,
            first: finding.first,
            last: finding.last,
            count: finding.count,
            value: finding.value,
            evidence: finding.evidence.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Tries a rule over history.
///
/// With the very engine that watches the stream, over the records that are kept. Of rules that count, each time that they would have
/// fired; of those that single records satisfy, every record that does. Of a scheduled rule each of its runs is carried out, a thousand at most.
#[utoipa::path(
    get,
    path = "/api/v1/rules/{id}/backtest",
    tag = "detection",
    operation_id = "backtestRule",
    params(("id" = String, Path, description = "The rule's id"), Parameters),
    responses(
        (status = 200, description = "What it would have found", body = BacktestTold),
        (status = 404, description = "There is no such rule", body = ErrorAnswer)
    )
)]
pub(super) async fn backtest<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<BacktestTold>, ApiError> {
    let Parameters { from, to, interval: wanted } = given(parameters)?;
    let range = range_of(from.as_deref(), to.as_deref(), api.searcher.now())?;
    let interval = match wanted {
        Some(text) => interval_of(&text, range)?,
        None => Duration::from_secs((range.to.since(range.from).as_secs() / 100).max(1)),
    };
    let begun = std::time::Instant::now();
    let rules = one(&api, &id).await?;
    let sight = api.sight(&caller);
    let testing = async {
        let Some(rule) = rules.get(&id).filter(|rule| rule.scheduled().is_some()) else {
            return Ok(backtest::run(&api.searcher, rules, range, interval, sight).await?);
        };
        let times = rule.scheduled().into_iter().flat_map(|scheduled| scheduled.schedule.times(range));
        if times.take(MAX_RUNS + 1).count() > MAX_RUNS {
            return Err(wrong("from", format!("the rule would run more than {MAX_RUNS} times in that time")));
        }
        let bounds = Bounds { timeout: api.timeout, memory: api.query_memory };
        Ok(backtest::run_scheduled(&api.searcher, bounds, rule, range, interval, sight).await)
    };
    let tested = tokio::time::timeout(LONGEST, testing).await.map_err(|_| ApiError::Timeout)??;
    let bucket = |(start, count)| FindingBucket { start: Timestamp(start), count };
    Ok(Json(BacktestTold {
        rule_id: id,
        from: range.from,
        to: range.to,
        records: tested.records,
        findings: tested.findings,
        buckets: tested.buckets.into_iter().map(bucket).collect(),
        interval_seconds: interval.as_secs_f64(),
        samples: tested.samples.into_iter().map(Sample::from).collect(),
        partial: !tested.missing.is_empty(),
        missing: tested.missing,
        took_ms: begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
    }))
}

/// A rule, and those that it refers to.
pub(super) async fn one<L: Leaf>(api: &Api<L>, id: &str) -> Result<RuleSet, ApiError> {
    let (book, wanted) = (Arc::clone(&api.rules), id.to_owned());
    let rules = tokio::task::spawn_blocking(move || book.one(&wanted)).await;
    rules.ok().flatten().ok_or_else(|| ApiError::NotFound(format!("no rule {id}")))
}

/// The history that is looked at: up to now, and a week where no beginning is said.
pub(super) fn range_of(from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<TimeRange, ApiError> {
    let mut range = open_range(from, to, now)?;
    range.to = range.to.min(now);
    if range.from == Timestamp::MIN {
        range.from = range.to.minus(BACK);
    }
    if range.from > range.to {
        return Err(wrong("from", format!("{} is after {}", range.from, range.to)));
    }
    Ok(range)
}

fn interval_of(text: &str, range: TimeRange) -> Result<Duration, ApiError> {
    let interval = interval("interval", text, range)?;
    if interval < Duration::from_secs(1) {
        return Err(wrong("interval", "at least 1s expected".to_owned()));
    }
    Ok(interval)
}

/// What of ATT&CK the rules look for.
#[derive(Serialize, ToSchema)]
pub(super) struct Coverage {
    /// By id.
    techniques: Vec<Technique>,
    /// How many rules name none.
    untagged: usize,
}

/// A technique, and the rules that look for it.
#[derive(Serialize, ToSchema)]
struct Technique {
    /// `T1110`, or of a sub-technique `T1110.001`.
    id: String,
    /// The tactics that its rules name.
    tactics: Vec<String>,
    rules: Vec<RuleNamed>,
}

/// A rule by name.
#[derive(Serialize, ToSchema)]
struct RuleNamed {
    id: String,
    title: String,
}

/// What of ATT&CK the rules in use look for, by their tags.
#[utoipa::path(
    get,
    path = "/api/v1/coverage",
    tag = "detection",
    operation_id = "coverage",
    responses((status = 200, description = "Techniques and their rules", body = Coverage))
)]
pub(super) async fn coverage<L: Leaf + 'static>(State(api): State<Arc<Api<L>>>) -> Json<Coverage> {
    Json(cover(api.rules.current().rules()))
}

fn cover(rules: &[Rule]) -> Coverage {
    let mut techniques: BTreeMap<String, Technique> = BTreeMap::new();
    let mut untagged = 0;
    for rule in rules.iter().filter(|rule| !rule.is_silent) {
        let tags: Vec<&str> = rule.tags.iter().filter_map(|tag| tag.strip_prefix("attack.")).collect();
        let is_technique = |tag: &&str| {
            tag.strip_prefix('t').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let (ids, tactics): (Vec<&str>, Vec<&str>) = tags.into_iter().partition(is_technique);
        untagged += usize::from(ids.is_empty());
        for id in ids {
            let id = id.to_uppercase();
            let technique = techniques.entry(id.clone()).or_insert(Technique {
                id,
                tactics: Vec::new(),
                rules: Vec::new(),
            });
            for tactic in &tactics {
                if !technique.tactics.iter().any(|known| known == tactic) {
                    technique.tactics.push((*tactic).to_owned());
                }
            }
            technique.rules.push(RuleNamed { id: rule.id.clone(), title: rule.title.clone() });
        }
    }
    Coverage { techniques: techniques.into_values().collect(), untagged }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_detect::{RuleSet, starter};

    #[test]
    fn the_starter_pack_covers_some_techniques() {
        let (rules, errors) = RuleSet::load(starter());
        assert!(errors.is_empty());
        let coverage = cover(rules.rules());
        let guessing = coverage.techniques.iter().find(|technique| technique.id == "T1110.001").unwrap();
        assert!(guessing.tactics.contains(&"credential-access".to_owned()) && !guessing.rules.is_empty());
        assert!(coverage.techniques.is_sorted_by_key(|technique| &technique.id));
    }
}
