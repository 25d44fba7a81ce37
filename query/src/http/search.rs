//! `/api/v1/search` and `/api/v1/records/{id}`.

use super::{
    Api, ApiError,
    error::ErrorAnswer,
    explain::{self, Explained, Gathers},
    histogram::{self, Histogram, Split},
    hit::{Body, Hit, hit},
    parameters::{Parameters, of_object, write_cursor},
    piped::{Made, piped},
};
use crate::{Hits, Missing, SearchRequest};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use bytes::Bytes;
use millrace_listen::Caller;
use millrace_model::{RecordId, TimeRange, Value};
use millrace_pipes::{Answer, Table};
use millrace_store::{Leaf, Order, Templates};
use serde::Serialize;
use serde_json::{Value as Json_, json};
use std::{sync::Arc, time::Instant};
use utoipa::ToSchema;

/// What was found.
#[derive(Serialize, ToSchema)]
pub(super) struct Found {
    #[serde(flatten)]
    head: Head,
    /// The first of what matches; none, where the query has pipes.
    #[schema(value_type = Vec<Hit>)]
    hits: Vec<Json_>,
    /// Where the next page begins, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cursor: Option<String>,
    /// Where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    histogram: Option<Histogram>,
    /// What pipes made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    table: Option<TableTold>,
    /// What was done for it, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Explained, required = false)]
    explain: Option<Json_>,
}

/// What every answer of a search says.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SearchHead)]
pub(super) struct Head {
    /// How many records match, on whatever page they are.
    total: u64,
    total_relation: TotalRelation,
    /// Something may be missing.
    partial: bool,
    /// What.
    missing: Vec<Missing>,
    took_ms: u64,
    /// What had to be read.
    scanned_bytes: u64,
}

/// How many there are of what `total` counts: so many, or more.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TotalRelation {
    Eq,
    #[expect(dead_code, reason = "clients are told that it may come")]
    Gte,
}

impl Head {
    pub(super) fn of(hits: &Hits, started: Instant) -> Self {
        Self {
            total: hits.total,
            total_relation: TotalRelation::Eq,
            partial: !hits.missing.is_empty(),
            missing: hits.missing.clone(),
            took_ms: started.elapsed().as_millis() as u64,
            scanned_bytes: hits.scanned_bytes,
        }
    }
}

/// What pipes made.
#[derive(Serialize, ToSchema)]
#[schema(as = Table)]
struct TableTold {
    columns: Vec<String>,
    /// Of each row the values of the columns; times are RFC 3339.
    #[schema(value_type = Vec<Vec<Json_>>)]
    rows: Vec<Vec<Value>>,
    /// How many rows there are besides those that are shown.
    total_rows: u64,
    /// The columns that hold estimates.
    estimates: Vec<String>,
    /// It hangs on an estimate which rows there are.
    chosen_by_estimate: bool,
}

/// Searches, by parameters in the query string.
///
/// With pipes in the query the answer is a table.
#[utoipa::path(
    get,
    path = "/api/v1/search",
    tag = "search",
    operation_id = "search",
    params(Parameters),
    responses((status = 200, description = "What was found", body = Found))
)]
pub(super) async fn get<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Found>, ApiError> {
    answer(&api, &caller, &given(parameters)?).await
}

/// Parameters of a query string.
pub(super) fn given<T>(parameters: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    let wrong = |e: QueryRejection| ApiError::Parameter { name: "query string", problem: e.body_text() };
    Ok(parameters.map_err(wrong)?.0)
}

/// The same, by parameters as JSON, whatever the content type says.
#[utoipa::path(
    post,
    path = "/api/v1/search",
    tag = "search",
    operation_id = "searchByBody",
    request_body = Parameters,
    responses((status = 200, description = "What was found", body = Found))
)]
pub(super) async fn post<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Found>, ApiError> {
    let object = serde_json::from_slice(&body)
        .map_err(|e| ApiError::Parameter { name: "body", problem: e.to_string() })?;
    let parameters: Parameters = of_object(object)?;
    answer(&api, &caller, &parameters).await
}

async fn answer<L: Leaf>(
    api: &Api<L>,
    caller: &Caller,
    parameters: &Parameters,
) -> Result<Json<Found>, ApiError> {
    let started = Instant::now();
    let explain = parameters.explain == Some(true);
    let asking = api.asking(caller);
    let (request, pipes) = parameters.request(&asking)?;
    if let Some(pipes) = pipes {
        let Made { hits, answer, explanation } = piped(api, &request, &pipes, explain).await?;
        let found = found(&request, &hits, &Templates::new(), started);
        return Ok(Json(Found { table: Some(table(&answer)), explain: explanation, ..found }));
    }
    let split = Split::of(parameters.histogram_by.as_deref(), &request, &asking)?;
    let asked = split.as_ref().map_or_else(|| request.clone(), |split| split.ask(&request));
    let (mut hits, explanation) = if explain {
        let (hits, seen) = in_time(api, api.searcher.explain(&asked)).await?;
        let gathers = Gathers::Hits(split.as_ref().map(Split::plan));
        (hits, Some(explain::told(&request, &gathers, &seen, &[])))
    } else {
        (search(api, &asked).await?, None)
    };
    let histogram = match split {
        Some(split) => Some(split.made(&api.searcher, hits.gathered.take()).await?),
        None => request.histogram.map(|interval| histogram::whole(interval, &hits.histogram)),
    };
    let found = found(&request, &hits, &*api.searcher.templates().await, started);
    Ok(Json(Found { histogram, explain: explanation, ..found }))
}

pub(super) async fn search<L: Leaf>(api: &Api<L>, request: &SearchRequest) -> Result<Hits, ApiError> {
    in_time(api, api.searcher.search(request)).await
}

async fn in_time<L: Leaf, T>(
    api: &Api<L>,
    search: impl Future<Output = Result<T, millrace_catalogue::Error>>,
) -> Result<T, ApiError> {
    Ok(tokio::time::timeout(api.timeout, search).await.map_err(|_| ApiError::Timeout)??)
}

fn found(request: &SearchRequest, hits: &Hits, templates: &Templates, started: Instant) -> Found {
    let mut namer = templates.namer();
    let is_full = request.limit > 0 && hits.hits.len() == request.limit;
    let last = hits.hits.last().filter(|_| is_full);
    Found {
        head: Head::of(hits, started),
        hits: hits.hits.iter().map(|row| hit(row, Body::Cut, &mut namer)).collect(),
        cursor: last.map(|last| write_cursor(last.order())),
        histogram: None,
        table: None,
        explain: None,
    }
}

/// What pipes made: how many rows there are besides those that are shown, which columns hold estimates, and whether it hangs on
/// one which rows there are.
fn table(made: &Answer) -> TableTold {
    let columns = &made.table.columns;
    let row = |row: usize| columns.iter().map(|column| column.shown(row)).collect();
    let estimates = columns.iter().filter(|column| column.is_estimate).map(|column| column.name.clone());
    TableTold {
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        rows: (0..made.table.rows).map(row).collect(),
        total_rows: made.rows,
        estimates: estimates.collect(),
        chosen_by_estimate: made.table.chosen_by_estimate,
    }
}

/// A row of a table.
pub(super) fn object(table: &Table, row: usize) -> Json_ {
    let cells = table.columns.iter().map(|column| (column.name.clone(), json!(column.shown(row))));
    Json_::Object(cells.collect())
}

/// One record, whole.
#[utoipa::path(
    get,
    path = "/api/v1/records/{id}",
    tag = "search",
    operation_id = "record",
    params(("id" = String, Path, description = "The `_id` of a hit")),
    responses(
        (status = 200, description = "The record", body = Hit),
        (status = 404, description = "There is no such record", body = ErrorAnswer)
    )
)]
pub(super) async fn record<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Json_>, ApiError> {
    let id: RecordId = id.parse().map_err(|e: millrace_model::ids::IdError| ApiError::Parameter {
        name: "id",
        problem: e.to_string(),
    })?;
    let request = SearchRequest {
        filter: millrace_filter::parse(&format!("_id:\"{id}\""))?,
        range: TimeRange::ALL,
        streams: None,
        sight: api.sight(&caller),
        limit: 1,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        gather: None,
    };
    let hits = search(&api, &request).await?;
    let Some(row) = hits.hits.first() else { return Err(ApiError::NotFound(format!("no record {id}"))) };
    let templates = api.searcher.templates().await;
    Ok(Json(hit(row, Body::Whole, &mut templates.namer())))
}
