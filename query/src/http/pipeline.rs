//! `/api/v1/pipeline`: where lines wait on their way.

use super::{Api, ApiError};
use crate::pipeline::{Pipeline, pipeline};
use axum::{Json, extract::State};
use millrace_store::Leaf;
use std::sync::Arc;

/// What waits at each hop, by partition, and what could not be asked.
pub(super) async fn show<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
) -> Result<Json<Pipeline>, ApiError> {
    Ok(Json(pipeline(&api.searcher, &api.hosts, &api.dead_letters, &api.topic).await?))
}
