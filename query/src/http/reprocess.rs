//! `/api/v1/catalogue/reprocess`: shards that are made again of what the topic says, and the receipts of that.

use super::{
    Api, ApiError,
    parameters::{self, wrong},
};
use crate::INDEXER_GROUP;
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
};
use millrace_catalogue::{Reprocessing, ReprocessingRequest};
use millrace_model::{ShardId, ids::IdError};
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most shards that are named in one request.
const MOST: usize = 10_000;

/// Which shards: all that fit what is given.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReprocessBody {
    /// Only of this stream.
    stream: Option<String>,
    /// Only with records since; absent: from the beginning.
    from: Option<String>,
    /// Only with records until; absent: without an end.
    to: Option<String>,
    /// Only these, by their ids.
    #[serde(default)]
    shards: Vec<String>,
}

/// Asks for shards to be made again. Answers when that is noted; [`list`] tells how far it has come.
pub async fn ask<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    body: Result<Json<ReprocessBody>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Json(body) = body.map_err(|e| wrong("body", e.body_text()))?;
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
    let Reprocessing { number, asked, .. } = reprocessing;
    tracing::info!(number, shards = asked, "a reprocessing was asked for");
    Ok((StatusCode::ACCEPTED, Json(describe(&reprocessing))))
}

/// All that were asked for, the latest first: how far they have come, and what came of them.
pub async fn list<L: Leaf + 'static>(State(api): State<Arc<Api<L>>>) -> Result<Json<Value>, ApiError> {
    let all = api.searcher.catalogue().reprocessings(INDEXER_GROUP).await?;
    let reprocessings: Vec<Value> = all.iter().map(describe).collect();
    Ok(Json(json!({ "reprocessings": reprocessings })))
}

fn shards(names: &[String]) -> Result<Vec<ShardId>, ApiError> {
    if names.len() > MOST {
        return Err(wrong("shards", format!("at most {MOST} expected, found {}", names.len())));
    }
    let shard = |name: &String| name.parse().map_err(|error: IdError| wrong("shards", error.to_string()));
    names.iter().map(shard).collect()
}

fn describe(reprocessing: &Reprocessing) -> Value {
    let (from, to) = parameters::bounds(reprocessing.range);
    json!({
        "number": reprocessing.number,
        "state": if reprocessing.finished.is_some() { "finished" } else { "waiting" },
        "stream": reprocessing.stream,
        "from": from,
        "to": to,
        "asked": reprocessing.asked,
        "shards": reprocessing.shards,
        "records": reprocessing.records,
        "waiting": reprocessing.waiting,
        "refused": reprocessing.refused,
        "refusals": reprocessing.refusals,
        "requested": reprocessing.requested,
        "finished": reprocessing.finished,
    })
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
