//! `/api/v1/catalogue`: what the catalogue holds, in a few numbers.

use super::{Api, ApiError, described::Catalogue};
use crate::INDEXER_GROUP;
use axum::{Json, extract::State};
use millrace_store::Leaf;
use serde_json::{Value, json};
use std::sync::Arc;

/// The summary, and which snapshot is the newest: its key, its time, and how often there is to be one.
#[utoipa::path(
    get,
    path = "/api/v1/catalogue",
    tag = "state",
    operation_id = "catalogue",
    responses((status = 200, description = "What is in the catalogue", body = Catalogue))
)]
pub(super) async fn show<L: Leaf + 'static>(State(api): State<Arc<Api<L>>>) -> Result<Json<Value>, ApiError> {
    let catalogue = api.searcher.catalogue();
    let mut answer = json!(catalogue.summary(INDEXER_GROUP).await?);
    let newest = catalogue.document("snapshot", "newest").await?;
    answer["newest_snapshot"] =
        newest.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default();
    Ok(Json(answer))
}
