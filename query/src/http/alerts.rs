//! `/api/v1/alerts` and `/api/v1/rules`: what rules have found, and how often they were right.

use super::{Api, ApiError, described, error::ErrorAnswer};
use crate::alert::{judge::Precision, schedule::all_runs, told::AlertTold};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use millrace_catalogue::{AlertState, KeptAlert, Verdict};
use millrace_listen::Caller;
use millrace_model::HIDDEN;
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::{IntoParams, ToSchema};

/// The most alerts in one answer.
const MAX_LIMIT: u32 = 1000;

/// What may be asked.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// Only those.
    #[param(value_type = Option<described::AlertState>)]
    state: Option<AlertState>,
    /// How many; beyond 1000 it is 1000.
    #[param(default = 100)]
    limit: Option<u32>,
}

/// Alerts, the latest first.
#[derive(Serialize, ToSchema)]
pub(super) struct AlertList {
    #[schema(value_type = Vec<described::Alert>)]
    pub(super) alerts: Vec<AlertTold>,
}

/// One alert, and what somebody found it to be.
#[derive(Serialize, ToSchema)]
pub(super) struct AlertAnswer {
    #[schema(value_type = described::Alert)]
    alert: AlertTold,
    #[schema(value_type = Option<described::AlertVerdict>, required)]
    verdict: Option<Verdict>,
}

/// The rules in use, and what is wrong with those that are not.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is described, and never made")]
pub(super) struct RuleList {
    rules: Vec<described::Rule>,
    /// By file and line.
    errors: Vec<String>,
}

/// An alert as this caller may see it.
pub(super) fn told<L: Leaf>(api: &Api<L>, caller: &Caller, kept: &KeptAlert) -> AlertTold {
    let mut alert = AlertTold::from(kept);
    if api.sight(caller).masks.hide_anything() {
        // Of which fields they are is known to the rule alone.
        alert.alert.group.values_mut().for_each(|value| HIDDEN.clone_into(value));
    }
    alert
}

/// One alert with all that is known of it.
pub(super) async fn answer<L: Leaf>(
    api: &Api<L>,
    caller: &Caller,
    id: &str,
) -> Result<AlertAnswer, ApiError> {
    let catalogue = api.searcher.catalogue();
    let kept = catalogue.kept_alert(id).await?.ok_or_else(|| missing(id))?;
    let alert = told(api, caller, &kept);
    let mut verdict = catalogue.verdict(id).await?;
    if let Some(verdict) = &mut verdict {
        verdict.group.clone_from(&alert.alert.group);
    }
    Ok(AlertAnswer { alert, verdict })
}

pub(super) fn missing(id: &str) -> ApiError {
    ApiError::NotFound(format!("there is no alert {id:?}"))
}

/// Alerts, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    tag = "detection",
    operation_id = "alerts",
    params(Parameters),
    responses((status = 200, description = "The alerts", body = AlertList))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<AlertList>, ApiError> {
    let Query(parameters) =
        parameters.map_err(|e| ApiError::Parameter { name: "query string", problem: e.body_text() })?;
    let limit = parameters.limit.unwrap_or(100).min(MAX_LIMIT);
    let alerts = api.searcher.catalogue().kept_alerts(parameters.state, limit).await?;
    Ok(Json(AlertList { alerts: alerts.iter().map(|kept| told(&api, &caller, kept)).collect() }))
}

/// One alert, and what somebody found it to be.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/{id}",
    tag = "detection",
    operation_id = "alert",
    params(("id" = String, Path, description = "The alert")),
    responses(
        (status = 200, description = "The alert", body = AlertAnswer),
        (status = 404, description = "There is none of that id", body = ErrorAnswer)
    )
)]
pub(super) async fn one<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AlertAnswer>, ApiError> {
    Ok(Json(answer(&api, &caller, &id).await?))
}

/// The rules in use, how often each was right, and what is wrong with those that are not in use.
#[utoipa::path(
    get,
    path = "/api/v1/rules",
    tag = "detection",
    operation_id = "rules",
    responses((status = 200, description = "The rules", body = RuleList))
)]
pub(super) async fn rules<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
) -> Result<Json<Value>, ApiError> {
    let counts = api.searcher.catalogue().verdict_counts().await?;
    let runs = all_runs(api.searcher.catalogue(), api.searcher.now()).await?;
    let mut described = api.rules.describe();
    let none = BTreeMap::new();
    for rule in described["rules"].as_array_mut().into_iter().flatten() {
        let of_rule = rule["id"].as_str().and_then(|id| counts.get(id)).unwrap_or(&none);
        rule["verdicts"] = json!(Precision::of(of_rule));
        if let Some(runs) = rule["id"].as_str().and_then(|id| runs.get(id)) {
            rule["runs"] = json!(runs);
        }
    }
    Ok(Json(described))
}
