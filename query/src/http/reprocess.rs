//! `/api/v1/catalogue/reprocess`: shards that are made again of what the topic says, and the receipts of that.

use super::{
    Api, ApiError,
    described::{self, Time, When},
    error::ErrorAnswer,
    parameters::{self, ObjectBody, wrong},
};
use crate::INDEXER_GROUP;
use axum::{Json, extract::State, http::StatusCode};
use millrace_catalogue::{Refusal, Reprocessing, ReprocessingRequest};
use millrace_model::{ShardId, StreamName, Timestamp, ids::IdError};
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The most shards that are named in one request.
const MOST: usize = 10_000;

/// Which shards: all that fit what is given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReprocessBody {
    /// Only of this stream.
    stream: Option<String>,
    /// Only with records since; absent: from the beginning.
    #[serde(default, deserialize_with = "parameters::text_or_number")]
    #[schema(value_type = Option<When>)]
    from: Option<String>,
    /// Only with records until; absent: without an end.
    #[serde(default, deserialize_with = "parameters::text_or_number")]
    #[schema(value_type = Option<When>)]
    to: Option<String>,
    /// Only these, by their ids.
    #[serde(default)]
    shards: Vec<String>,
}

/// All that were asked for, the latest first.
#[derive(Serialize, ToSchema)]
pub(super) struct ReprocessingList {
    reprocessings: Vec<ReprocessingTold>,
}

/// A reprocessing, and how far it has come: its receipt.
#[derive(Serialize, ToSchema)]
#[schema(as = Reprocessing)]
pub(super) struct ReprocessingTold {
    number: u64,
    state: ReprocessingState,
    /// Of which stream alone; null: of all.
    #[schema(value_type = Option<String>, required)]
    stream: Option<StreamName>,
    /// Null: from the beginning.
    #[schema(value_type = Option<Time>, required)]
    from: Option<Timestamp>,
    /// Null: without an end.
    #[schema(value_type = Option<Time>, required)]
    to: Option<Timestamp>,
    /// How many shards were meant.
    asked: u64,
    /// How many were made again so far.
    shards: u64,
    /// How many records those hold.
    records: u64,
    /// How many shards wait.
    waiting: u64,
    /// How many stayed as they were, because it could not be proved that the topic gives their records.
    refused: u64,
    /// Some of those.
    #[schema(value_type = Vec<described::Refusal>)]
    refusals: Vec<Refusal>,
    #[schema(value_type = Time)]
    requested: Timestamp,
    /// Since when no shard waits.
    #[schema(value_type = Option<Time>, required)]
    finished: Option<Timestamp>,
}

/// How far a reprocessing has come.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ReprocessingState {
    Waiting,
    Finished,
}

/// Asks for shards to be made again of what the topic says.
///
/// Answers when that is noted; the list of reprocessings tells how far it has come.
#[utoipa::path(
    post,
    path = "/api/v1/catalogue/reprocess",
    tag = "state",
    operation_id = "reprocess",
    request_body = ReprocessBody,
    responses(
        (status = 202, description = "It is noted", body = ReprocessingTold),
        (status = 404, description = "No live shard fits", body = ErrorAnswer)
    )
)]
pub(super) async fn ask<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    body: ObjectBody,
) -> Result<(StatusCode, Json<ReprocessingTold>), ApiError> {
    let body: ReprocessBody = parameters::of_body(body)?;
    let shards = shards(&body.shards)?;
    let request = ReprocessingRequest {
        group: INDEXER_GROUP.to_owned(),
        stream: body.stream.as_deref().map(parameters::stream).transpose()?,
        range: parameters::open_range(body.from.as_deref(), body.to.as_deref(), api.searcher.now())?,
        shards,
    };
    let catalogue = api.searcher.catalogue();
    let live = catalogue.live_shards(&request.shards).await?;
    if let Some(ended) = request.shards.iter().find(|shard| !live.contains(*shard)) {
        return Err(ApiError::NotFound(format!("there is no live shard {ended}")));
    }
    let Some(reprocessing) = catalogue.request_reprocessing(&request).await? else {
        return Err(ApiError::NotFound("no live shard fits".to_owned()));
    };
    tracing::info!(number = reprocessing.number, shards = reprocessing.asked, "a reprocessing was asked for");
    Ok((StatusCode::ACCEPTED, Json(describe(reprocessing))))
}

/// All reprocessings that were asked for, the latest first: how far they have come, and what came of them.
#[utoipa::path(
    get,
    path = "/api/v1/catalogue/reprocess",
    tag = "state",
    operation_id = "reprocessings",
    responses((status = 200, description = "The reprocessings", body = ReprocessingList))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
) -> Result<Json<ReprocessingList>, ApiError> {
    let all = api.searcher.catalogue().reprocessings(INDEXER_GROUP).await?;
    Ok(Json(ReprocessingList { reprocessings: all.into_iter().map(describe).collect() }))
}

fn shards(names: &[String]) -> Result<Vec<ShardId>, ApiError> {
    if names.len() > MOST {
        return Err(wrong("shards", format!("at most {MOST} expected, found {}", names.len())));
    }
    let shard = |name: &String| name.parse().map_err(|error: IdError| wrong("shards", error.to_string()));
    names.iter().map(shard).collect()
}

fn describe(reprocessing: Reprocessing) -> ReprocessingTold {
    let (from, to) = parameters::bounds(reprocessing.range);
    let is_finished = reprocessing.finished.is_some();
    ReprocessingTold {
        number: reprocessing.number,
        state: if is_finished { ReprocessingState::Finished } else { ReprocessingState::Waiting },
        stream: reprocessing.stream,
        from,
        to,
        asked: reprocessing.asked,
        shards: reprocessing.shards,
        records: reprocessing.records,
        waiting: reprocessing.waiting,
        refused: reprocessing.refused,
        refusals: reprocessing.refusals,
        requested: reprocessing.requested,
        finished: reprocessing.finished,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_shards_and_nothing_unknown() {
        let body: ReprocessBody = serde_json::from_str("{}").unwrap();
        assert!(shards(&body.shards).unwrap().is_empty());
        assert!(serde_json::from_str::<ReprocessBody>(r#"{"shard":"x"}"#).is_err());
        let id = ShardId(7).to_string();
        assert_eq!(shards(std::slice::from_ref(&id)).unwrap(), [ShardId(7)]);
        for wrong in [vec!["7".to_owned()], vec![id; MOST + 1]] {
            assert!(matches!(shards(&wrong), Err(ApiError::Parameter { name: "shards", .. })));
        }
    }
}
