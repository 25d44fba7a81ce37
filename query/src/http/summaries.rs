//! `/api/v1/fields/{name}/values` and `/api/v1/patterns`: what there is, and how often. Each is a pipe behind the query.

use super::{
    Api, ApiError,
    parameters::Parameters,
    piped::{Made, piped},
    search,
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use millrace_listen::Caller;
use millrace_pipes::{Answer, Expr, Named, Pipe};
use millrace_store::Leaf;
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};

/// The values of a field, the most frequent first, as many as `limit` says; null stands for the records that lack it.
pub async fn values<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(name): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let by = vec![Named { name: "value".to_owned(), what: Expr::Column(name.clone()) }];
    let top = Pipe::Top { limit: usize::MAX, by, rare: false };
    let mut body = answer(&api, &caller, parameters, top, "values").await?;
    body["field"] = json!(name);
    Ok(Json(body))
}

/// The templates of lines, the most frequent first, as many as `limit` says. The counts of all of them add up to `total`.
pub async fn patterns<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(answer(&api, &caller, parameters, Pipe::Patterns, "patterns").await?))
}

/// What a pipe makes of what the parameters ask for: objects under `key`, how many there are as `total_{key}`.
async fn answer<L: Leaf>(
    api: &Api<L>,
    caller: &Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
    pipe: Pipe,
    key: &'static str,
) -> Result<Value, ApiError> {
    let started = Instant::now();
    let parameters = search::given(parameters)?;
    let (request, pipes) = parameters.summary(&api.asking(caller), pipe, None)?;
    let Made { hits, answer: Answer { table, rows }, .. } = piped(api, &request, &pipes, false).await?;
    let mut body = search::head(&hits, started);
    body[key] = (0..table.rows).map(|row| search::object(&table, row)).collect();
    body[format!("total_{key}")] = json!(rows);
    Ok(body)
}
