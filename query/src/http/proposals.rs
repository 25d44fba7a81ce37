//! `/api/v1/rules/{id}/proposals`: how a rule could be turned so that what was found to be false would not have been told.

use super::{
    Api, ApiError,
    described::{Time, When},
    error::ErrorAnswer,
    parameters::wrong,
    rules::{LONGEST, one, range_of},
    search::given,
};
use crate::{
    Missing,
    alert::{
        backtest,
        propose::{Marked, Outcome, Proposal, propose},
    },
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use millrace_catalogue::VerdictKind;
use millrace_detect::Finding;
use millrace_listen::Caller;
use millrace_model::Timestamp;
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use utoipa::{IntoParams, ToSchema};

/// The most findings that a rule, as it is and otherwise, may have in the time that is looked at.
const MOST_FINDINGS: usize = 500_000;

/// What history is looked at.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The first instant; absent: a week before `to`.
    #[param(value_type = Option<When>)]
    from: Option<String>,
    /// The first instant after; absent: now.
    #[param(value_type = Option<When>)]
    to: Option<String>,
}

/// How a rule could be turned.
#[derive(Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the answer's key")]
pub(super) struct Proposals {
    rule_id: String,
    #[schema(value_type = Time)]
    from: Timestamp,
    #[schema(value_type = Time)]
    to: Timestamp,
    /// How many of its alerts of that time people have marked.
    true_positives: usize,
    false_positives: usize,
    /// For each number that decides how much is too much.
    proposals: Vec<ProposalTold>,
    /// Something may be missing.
    partial: bool,
    missing: Vec<Missing>,
    took_ms: u64,
}

/// What was tried of one number. Nothing is changed: whoever answers for the rule changes its file.
#[derive(Serialize, ToSchema)]
struct ProposalTold {
    /// The number: `threshold.count`.
    #[schema(value_type = String)]
    key: &'static str,
    /// The file of the rule, and the line on which the number stands, or the mapping that it stands in.
    file: String,
    line: usize,
    /// The change that would have done; null: there is none.
    #[schema(required)]
    proposal: Option<Proposal>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// Says how a rule could be turned.
///
/// Of each number of a rule that decides how much is too much, the least change that would have silenced all false positives
/// and kept all true ones, tried over the records of that time by the very engine that watches the stream. Rules of the kinds
/// threshold, cardinality, spike, metric, percentage and baseline have such numbers.
#[utoipa::path(
    get,
    path = "/api/v1/rules/{id}/proposals",
    tag = "detection",
    operation_id = "proposeForRule",
    params(("id" = String, Path, description = "The rule's id"), Parameters),
    responses(
        (status = 200, description = "What would have done", body = Proposals),
        (status = 404, description = "There is no such rule", body = ErrorAnswer)
    )
)]
pub(super) async fn show<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Proposals>, ApiError> {
    let Parameters { from, to } = given(parameters)?;
    let range = range_of(from.as_deref(), to.as_deref(), api.searcher.now())?;
    let begun = std::time::Instant::now();
    let rules = one(&api, &id).await?;
    let rule = rules.get(&id).ok_or_else(|| ApiError::NotFound(format!("no rule {id}")))?;
    let mut marked = Vec::new();
    for verdict in api.searcher.catalogue().verdicts_of(&id).await? {
        let alert = api.searcher.catalogue().alert(&verdict.alert_id).await?;
        let alert = alert.filter(|alert| range.from <= alert.last && alert.first < range.to);
        marked.extend(alert.map(|alert| Marked { alert, verdict: verdict.verdict }));
    }
    let count = |kind| marked.iter().filter(|marked| marked.verdict == kind).count();
    let mut told = Proposals {
        rule_id: id.clone(),
        from: range.from,
        to: range.to,
        true_positives: count(VerdictKind::TruePositive),
        false_positives: count(VerdictKind::FalsePositive),
        proposals: Vec::new(),
        partial: false,
        missing: Vec::new(),
        took_ms: 0,
    };
    let sight = api.sight(&caller);
    let missing: Arc<Mutex<Vec<Missing>>> = Arc::default();
    let trying = async {
        for dial in rule.dials() {
            let outcome = propose(&rules, &id, &dial, &marked, |turned| {
                let (api, sight, missing) = (Arc::clone(&api), sight.clone(), Arc::clone(&missing));
                async move {
                    let mut found: Vec<Finding> = Vec::new();
                    let replayed = backtest::replay(&api.searcher, turned, range, sight, |some| {
                        found.extend(
                            some.into_iter().map(|finding| Finding { evidence: Vec::new(), ..finding }),
                        );
                        found.len() <= MOST_FINDINGS
                    });
                    let replayed = replayed.await?;
                    lock(&missing).extend(replayed.missing);
                    if found.len() > MOST_FINDINGS {
                        let problem = format!("the rule fires more than {MOST_FINDINGS} times in that time");
                        return Err(wrong("from", problem));
                    }
                    Ok(found)
                }
            });
            let (proposal, reason) = match outcome.await? {
                Outcome::Found(proposal) => (Some(*proposal), None),
                Outcome::Nothing(why) => (None, Some(why)),
            };
            let (key, file, line) = (dial.key, rule.file.clone(), api.rules.line_of(rule, &dial));
            told.proposals.push(ProposalTold { key, file, line, proposal, reason });
        }
        Ok::<_, ApiError>(())
    };
    tokio::time::timeout(LONGEST, trying).await.map_err(|_| ApiError::Timeout)??;
    for missing in std::mem::take(&mut *lock(&missing)) {
        backtest::add(&mut told.missing, missing);
    }
    told.partial = !told.missing.is_empty();
    told.took_ms = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    Ok(Json(told))
}

fn lock(missing: &Mutex<Vec<Missing>>) -> MutexGuard<'_, Vec<Missing>> {
    missing.lock().unwrap_or_else(PoisonError::into_inner)
}
