//! `/api/v1/search` and `/api/v1/records/{id}`.

use super::{
    Api, ApiError,
    explain::{self, Gathers},
    histogram::{self, Split},
    hit::{Body, hit},
    parameters::{Parameters, write_cursor},
    piped::{Made, piped},
};
use crate::{Hits, SearchRequest};
use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use bytes::Bytes;
use millrace_listen::Caller;
use millrace_model::{RecordId, TimeRange};
use millrace_pipes::{Answer, Table};
use millrace_store::{Leaf, Order, Templates};
use serde_json::{Value as Json_, json};
use std::{sync::Arc, time::Instant};

/// `GET`: parameters in the query string.
pub async fn get<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Json_>, ApiError> {
    answer(&api, &caller, &given(parameters)?).await
}

/// Parameters of a query string.
pub(super) fn given<T>(parameters: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    let wrong = |e: QueryRejection| ApiError::Parameter { name: "query string", problem: e.body_text() };
    Ok(parameters.map_err(wrong)?.0)
}

/// `POST`: parameters as JSON, whatever the content type says.
pub async fn post<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Json_>, ApiError> {
    let parameters = serde_json::from_slice(&body)
        .map_err(|e| ApiError::Parameter { name: "body", problem: e.to_string() })?;
    answer(&api, &caller, &parameters).await
}

async fn answer<L: Leaf>(
    api: &Api<L>,
    caller: &Caller,
    parameters: &Parameters,
) -> Result<Json<Json_>, ApiError> {
    let started = Instant::now();
    let explain = parameters.explain == Some(true);
    let asking = api.asking(caller);
    let (request, pipes) = parameters.request(&asking)?;
    let (mut body, explanation) = if let Some(pipes) = pipes {
        let Made { hits, answer, explanation } = piped(api, &request, &pipes, explain).await?;
        let mut body = body(&request, &hits, &Templates::new(), started);
        body["table"] = table(&answer);
        (body, explanation)
    } else {
        let split = Split::of(parameters.histogram_by.as_deref(), &request, &asking)?;
        let asked = split.as_ref().map_or_else(|| request.clone(), |split| split.ask(&request));
        let (mut hits, explanation) = if explain {
            let (hits, seen) = in_time(api, api.searcher.explain(&asked)).await?;
            let gathers = Gathers::Hits(split.as_ref().map(Split::plan));
            (hits, Some(explain::told(&request, &gathers, &seen, &[])))
        } else {
            (search(api, &asked).await?, None)
        };
        let mut body = body(&request, &hits, &*api.searcher.templates().await, started);
        if let Some(split) = split {
            body["histogram"] = json!(split.made(&api.searcher, hits.gathered.take()).await?);
        } else if let Some(interval) = request.histogram {
            body["histogram"] = json!(histogram::whole(interval, &hits.histogram));
        }
        (body, explanation)
    };
    if let Some(explanation) = explanation {
        body["explain"] = explanation;
    }
    Ok(Json(body))
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

fn body(request: &SearchRequest, hits: &Hits, templates: &Templates, started: Instant) -> Json_ {
    let mut namer = templates.namer();
    let mut body = head(hits, started);
    body["hits"] = hits.hits.iter().map(|row| hit(row, Body::Cut, &mut namer)).collect();
    if request.limit > 0
        && hits.hits.len() == request.limit
        && let Some(last) = hits.hits.last()
    {
        body["cursor"] = json!(write_cursor(last.order()));
    }
    body
}

/// What every answer says.
pub(super) fn head(hits: &Hits, started: Instant) -> Json_ {
    json!({
        "total": hits.total,
        "total_relation": "eq",
        "partial": !hits.missing.is_empty(),
        "missing": hits.missing,
        "took_ms": started.elapsed().as_millis() as u64,
        "scanned_bytes": hits.scanned_bytes,
    })
}

/// What pipes made: how many rows there are besides those that are shown, which columns hold estimates, and whether it hangs on
/// one which rows there are.
fn table(made: &Answer) -> Json_ {
    let columns = &made.table.columns;
    let row = |row: usize| columns.iter().map(|column| json!(column.shown(row))).collect::<Json_>();
    let estimates = columns.iter().filter(|column| column.is_estimate).map(|column| column.name.as_str());
    json!({
        "columns": columns.iter().map(|column| column.name.as_str()).collect::<Json_>(),
        "rows": (0..made.table.rows).map(row).collect::<Json_>(),
        "total_rows": made.rows,
        "estimates": estimates.collect::<Json_>(),
        "chosen_by_estimate": made.table.chosen_by_estimate,
    })
}

/// A row of a table.
pub(super) fn object(table: &Table, row: usize) -> Json_ {
    let cells = table.columns.iter().map(|column| (column.name.clone(), json!(column.shown(row))));
    Json_::Object(cells.collect())
}

/// One record, whole.
pub async fn record<L: Leaf + 'static>(
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
