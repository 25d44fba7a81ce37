//! `/api/v1/context`: the records around a hit, in its own source, by position.

use super::{
    Api, ApiError,
    error::ErrorAnswer,
    hit::{Body, Hit, hit},
    parameters::wrong,
    search,
};
use crate::Missing;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use millrace_listen::Caller;
use millrace_model::{RecordId, Row};
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json_;
use std::{sync::Arc, time::Instant};
use utoipa::{IntoParams, ToSchema};

/// The most records on either side.
const MOST: usize = 1000;

/// Which record, and how many around it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// The `_id` of a hit.
    id: String,
    /// How many before it.
    #[serde(default = "some")]
    #[param(default = 5, maximum = 1000)]
    before: usize,
    /// How many behind it.
    #[serde(default = "some")]
    #[param(default = 5, maximum = 1000)]
    after: usize,
}

/// What lies around a record.
#[derive(Serialize, ToSchema)]
pub(super) struct ContextFound {
    #[schema(value_type = Vec<Hit>)]
    before: Json_,
    #[schema(value_type = Hit)]
    hit: Json_,
    #[schema(value_type = Vec<Hit>)]
    after: Json_,
    /// Something may be missing.
    partial: bool,
    /// What.
    missing: Vec<Missing>,
    took_ms: u64,
}

fn some() -> usize {
    5
}

/// The records before a hit, it, and those after it.
#[utoipa::path(
    get,
    path = "/api/v1/context",
    tag = "search",
    operation_id = "context",
    params(Parameters),
    responses(
        (status = 200, description = "What lies around it", body = ContextFound),
        (status = 404, description = "There is no such record", body = ErrorAnswer)
    )
)]
pub(super) async fn context<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Json<ContextFound>, ApiError> {
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
    let mut list = |rows: &[Row]| rows.iter().map(|row| hit(row, Body::Cut, &mut namer)).collect::<Json_>();
    Ok(Json(ContextFound {
        before: list(&around.before),
        hit: list(std::slice::from_ref(&it))[0].take(),
        after: list(&around.after),
        partial: !around.missing.is_empty(),
        missing: around.missing,
        took_ms: started.elapsed().as_millis() as u64,
    }))
}
