//! `/api/v1/alerts` and `/api/v1/rules`.

use super::{Api, ApiError};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_catalogue::AlertState;
use millrace_listen::Caller;
use millrace_model::HIDDEN;
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most alerts in one answer.
const MAX_LIMIT: u32 = 1000;

/// What may be asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    state: Option<AlertState>,
    limit: Option<u32>,
}

/// Alerts, the latest first.
pub async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(parameters) =
        parameters.map_err(|e| ApiError::Parameter { name: "query string", problem: e.body_text() })?;
    let limit = parameters.limit.unwrap_or(100).min(MAX_LIMIT);
    let mut alerts = api.searcher.catalogue().alerts(parameters.state, limit).await?;
    if api.sight(&caller).masks.hide_anything() {
        // Of which fields they are is known to the rule alone.
        let values = alerts.iter_mut().flat_map(|alert| alert.group.values_mut());
        values.for_each(|value| HIDDEN.clone_into(value));
    }
    Ok(Json(json!({ "alerts": alerts })))
}

/// The rules in use, and what is wrong with those that are not.
pub async fn rules<L: Leaf + 'static>(State(api): State<Arc<Api<L>>>) -> Json<Value> {
    Json(api.rules.describe())
}
