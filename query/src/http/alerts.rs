//! `/api/v1/alerts` and `/api/v1/rules`.

use super::{Api, ApiError, described};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_catalogue::{Alert, AlertState};
use millrace_listen::Caller;
use millrace_model::HIDDEN;
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
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
    alerts: Vec<Alert>,
}

/// The rules in use, and what is wrong with those that are not.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is described, and never made")]
pub(super) struct RuleList {
    rules: Vec<described::Rule>,
    /// By file and line.
    errors: Vec<String>,
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
    let mut alerts = api.searcher.catalogue().alerts(parameters.state, limit).await?;
    if api.sight(&caller).masks.hide_anything() {
        // Of which fields they are is known to the rule alone.
        let values = alerts.iter_mut().flat_map(|alert| alert.group.values_mut());
        values.for_each(|value| HIDDEN.clone_into(value));
    }
    Ok(Json(AlertList { alerts }))
}

/// The rules in use, and what is wrong with those that are not.
#[utoipa::path(
    get,
    path = "/api/v1/rules",
    tag = "detection",
    operation_id = "rules",
    responses((status = 200, description = "The rules", body = RuleList))
)]
pub(super) async fn rules<L: Leaf + 'static>(State(api): State<Arc<Api<L>>>) -> Json<Value> {
    Json(api.rules.describe())
}
