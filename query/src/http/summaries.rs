//! `/api/v1/fields/{name}/values` and `/api/v1/patterns`: what there is, and how often. Each is a pipe behind the query.

use super::{
    Api, ApiError,
    parameters::{Parameters, Selection},
    piped::{Made, piped},
    search::{self, Head},
};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use millrace_listen::Caller;
use millrace_pipes::{Answer, Expr, Named, Pipe};
use millrace_store::Leaf;
use serde::Serialize;
use serde_json::Value;
use std::{sync::Arc, time::Instant};
use utoipa::ToSchema;

/// The values of a field.
#[derive(Serialize, ToSchema)]
pub(super) struct FieldValues {
    #[serde(flatten)]
    head: Head,
    field: String,
    #[schema(value_type = Vec<ValueCount>)]
    values: Vec<Value>,
    /// How many there are besides those that are shown.
    total_values: u64,
}

/// A value, and how many records have it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is described, and never made")]
struct ValueCount {
    /// Null: those that have none.
    value: Value,
    count: u64,
    /// What part of all that is.
    percent: f64,
}

/// The templates of lines.
#[derive(Serialize, ToSchema)]
#[schema(as = Patterns)]
pub(super) struct PatternList {
    #[serde(flatten)]
    head: Head,
    #[schema(value_type = Vec<PatternCount>)]
    patterns: Vec<Value>,
    /// How many there are besides those that are shown.
    total_patterns: u64,
}

/// A template, and how many lines it has.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is described, and never made")]
struct PatternCount {
    count: u64,
    /// What part of all that is.
    percent: f64,
    /// Its id, as hits have it in `_template`; null: their bodies are no lines.
    #[schema(required)]
    template: Option<String>,
    /// The line, with `<*>` for what varies.
    #[schema(required)]
    pattern: Option<String>,
}

/// The values of a field, the most frequent first, as many as `limit` says; null stands for the records that lack it.
#[utoipa::path(
    get,
    path = "/api/v1/fields/{name}/values",
    tag = "search",
    operation_id = "fieldValues",
    params(("name" = String, Path, description = "The field"), Selection),
    responses((status = 200, description = "The values", body = FieldValues))
)]
pub(super) async fn values<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(field): Path<String>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<FieldValues>, ApiError> {
    let by = vec![Named { name: "value".to_owned(), what: Expr::Column(field.clone()) }];
    let top = Pipe::Top { limit: usize::MAX, by, rare: false };
    let (head, values, total_values) = answer(&api, &caller, parameters, top).await?;
    Ok(Json(FieldValues { head, field, values, total_values }))
}

/// The templates of lines, the most frequent first, as many as `limit` says. The counts of all of them add up to `total`.
#[utoipa::path(
    get,
    path = "/api/v1/patterns",
    tag = "search",
    operation_id = "patterns",
    params(Selection),
    responses((status = 200, description = "The templates", body = PatternList))
)]
pub(super) async fn patterns<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<PatternList>, ApiError> {
    let (head, patterns, total_patterns) = answer(&api, &caller, parameters, Pipe::Patterns).await?;
    Ok(Json(PatternList { head, patterns, total_patterns }))
}

/// What a pipe makes of what the parameters ask for: as objects, and how many there are.
async fn answer<L: Leaf>(
    api: &Api<L>,
    caller: &Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
    pipe: Pipe,
) -> Result<(Head, Vec<Value>, u64), ApiError> {
    let started = Instant::now();
    let parameters = search::given(parameters)?;
    let (request, pipes) = parameters.summary(&api.asking(caller), pipe, None)?;
    let Made { hits, answer: Answer { table, rows }, .. } = piped(api, &request, &pipes, false).await?;
    let objects = (0..table.rows).map(|row| search::object(&table, row)).collect();
    Ok((Head::of(&hits, started), objects, rows))
}
