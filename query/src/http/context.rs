//! `/api/v1/context`: the records around a hit, in its own source, by position.

use super::{
    Api, ApiError,
    hit::{Body, hit},
    parameters::wrong,
    search,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_listen::Caller;
use millrace_model::{RecordId, Row};
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};

/// The most records on either side.
const MOST: usize = 1000;

/// Which record, and how many around it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    id: String,
    #[serde(default = "some")]
    before: usize,
    #[serde(default = "some")]
    after: usize,
}

fn some() -> usize {
    5
}

/// The records before a hit, it, and those after it.
pub async fn context<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let started = Instant::now();
    let Parameters { id, before, after } = search::given(parameters)?;
    let id: RecordId = id.parse().map_err(|e: millrace_model::ids::IdError| wrong("id", e.to_string()))?;
    for (name, count) in [("before", before), ("after", after)] {
        if count > MOST {
            return Err(wrong(name, format!("a number from 0 to {MOST} expected")));
        }
    }
    let sight = api.sight(&caller);
    let around = tokio::time::timeout(api.timeout, api.searcher.around(id, before, after, &sight));
    let around = around.await.map_err(|_| ApiError::Timeout)??;
    let Some(it) = around.hit else { return Err(ApiError::NotFound(format!("no record {id}"))) };
    let templates = api.searcher.templates().await;
    let mut namer = templates.namer();
    let mut list = |rows: &[Row]| rows.iter().map(|row| hit(row, Body::Cut, &mut namer)).collect::<Value>();
    Ok(Json(json!({
        "before": list(&around.before),
        "hit": list(std::slice::from_ref(&it))[0],
        "after": list(&around.after),
        "partial": !around.missing.is_empty(),
        "missing": around.missing,
        "took_ms": started.elapsed().as_millis() as u64,
    })))
}
