//! `/api/v1/streams`: what lies in each stream and how long it is kept; holds; deletions by query and their receipts.

mod told;

use super::{
    Api, ApiError,
    described::When,
    error::ErrorAnswer,
    parameters::{self, ObjectBody, wrong},
};
use crate::INDEXER_GROUP;
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use millrace_catalogue::{Deletion, DeletionRequest, Hold, StreamFields};
use millrace_filter::Filter;
use millrace_listen::Caller;
use millrace_model::{StreamName, TimeRange, fields::hex};
use millrace_store::Leaf;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use told::{
    DeclaredTold, DeletionList, DeletionState, DeletionTold, FieldsTold, HoldAnswer, HoldTold, StreamHold,
    StreamList, StreamTold,
};
use utoipa::ToSchema;

/// The longest reason, in characters.
const MAX_REASON: usize = 1_000;

/// How long the records of streams are kept, as this node is configured.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Streams that are not named.
    pub others: Duration,
    /// By name: for how long, and how many bytes.
    pub named: BTreeMap<StreamName, (Duration, Option<u64>)>,
}

/// How long the topic keeps what was sent through it: until when a deleted record lies there still.
pub type TopicKeeps =
    Arc<dyn Fn() -> futures_util::future::BoxFuture<'static, Option<Duration>> + Send + Sync>;

/// What is to be deleted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteBody {
    /// The query, a filter; `*` is everything.
    q: String,
    /// The first instant; absent: from the beginning.
    #[serde(default, deserialize_with = "parameters::text_or_number")]
    #[schema(value_type = Option<When>)]
    from: Option<String>,
    /// The first instant after; absent: without an end.
    #[serde(default, deserialize_with = "parameters::text_or_number")]
    #[schema(value_type = Option<When>)]
    to: Option<String>,
    /// Why, for the receipt.
    #[serde(default)]
    #[schema(max_length = 1000)]
    reason: String,
}

/// Why a stream is put on hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldBody {
    #[schema(max_length = 1000)]
    reason: String,
}

/// The streams that hold something, are on hold or are configured, by name; of them those that may be seen.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    tag = "streams",
    operation_id = "streams",
    responses((status = 200, description = "The streams", body = StreamList))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
) -> Result<Json<StreamList>, ApiError> {
    let catalogue = api.searcher.catalogue();
    let usage = catalogue.stream_usage(INDEXER_GROUP).await?;
    let holds = catalogue.holds(INDEXER_GROUP).await?;
    let deletions = catalogue.deletions(INDEXER_GROUP).await?;
    let fields = catalogue.stream_fields(INDEXER_GROUP).await?;
    let mut names: BTreeSet<&StreamName> = api.kept.named.keys().collect();
    names.extend(usage.iter().map(|usage| &usage.stream));
    names.extend(holds.iter().map(|hold| &hold.stream));
    let describe = |name: &StreamName| {
        let (age, bytes) = api.kept.named.get(name).copied().unwrap_or((api.kept.others, None));
        let usage = usage.iter().find(|usage| usage.stream == *name);
        let pending = deletions.iter().filter(|one| one.stream == *name && one.purged.is_none()).count();
        let hold = holds.iter().find(|hold| hold.stream == *name);
        StreamTold {
            name: name.clone(),
            shards: usage.map_or(0, |usage| usage.shards),
            records: usage.map_or(0, |usage| usage.records),
            bytes: usage.map_or(0, |usage| usage.bytes),
            first: usage.map(|usage| usage.first),
            last: usage.map(|usage| usage.last),
            retention_seconds: age.as_secs(),
            retention_bytes: bytes,
            hold: hold.map(|hold| HoldTold { reason: hold.reason.clone(), since: hold.since }),
            deletions_pending: pending,
            fields: fields.get(name).map(describe_fields),
        }
    };
    let seen = names.into_iter().filter(|name| caller.grant().covers(name));
    Ok(Json(StreamList { streams: seen.map(describe).collect() }))
}

/// What was declared of a stream's fields, in how many shards which declarations hold, and what did not keep to them.
fn describe_fields(fields: &StreamFields) -> FieldsTold {
    let declared = fields.declared.iter().map(|(declarations, shards)| DeclaredTold {
        version: declarations.version().to_string(),
        types: declarations.clone(),
        shards: *shards,
    });
    FieldsTold {
        declared: declared.collect(),
        conflicts: fields.conflicts.clone(),
        beyond_max_fields: fields.beyond,
    }
}

/// Deletes what matches among all records that are in the topic by now: hidden at once, then removed.
///
/// Answers when it is hidden; the stream's deletions tell how far the removal has come.
#[utoipa::path(
    post,
    path = "/api/v1/streams/{name}/delete",
    tag = "streams",
    operation_id = "deleteRecords",
    params(("name" = String, Path, description = "The stream")),
    request_body = DeleteBody,
    responses(
        (status = 202, description = "It is hidden", body = DeletionTold),
        (status = 409, description = "The stream is on hold, or nothing is deleted from it", body = ErrorAnswer)
    )
)]
pub(super) async fn delete<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(name): Path<String>,
    body: ObjectBody,
) -> Result<(StatusCode, Json<DeletionTold>), ApiError> {
    let stream = parameters::stream(&name)?;
    let body: DeleteBody = parameters::of_body(body)?;
    let filter = millrace_filter::parse(&body.q)?;
    if body.q.trim().is_empty() {
        return Err(wrong("q", "a query expected; `*` deletes everything".to_owned()));
    }
    let range = parameters::open_range(body.from.as_deref(), body.to.as_deref(), api.searcher.now())?;
    let reason = reason(&body.reason)?;
    let deletion = ask(&api, stream, &filter, range, reason).await?;
    Ok((StatusCode::ACCEPTED, Json(describe(deletion, (api.topic_keeps)().await))))
}

/// Asks for a deletion; when this returns well, what matches is hidden.
pub(super) async fn ask<L: Leaf>(
    api: &Api<L>,
    stream: StreamName,
    filter: &Filter,
    range: TimeRange,
    reason: String,
) -> Result<Deletion, ApiError> {
    if stream.is_audit() {
        return Err(ApiError::Conflict(format!("nothing is deleted from {stream} but by its age and size")));
    }
    // What is not published yet would escape.
    let missing = api.searcher.settle().await?;
    if !missing.is_empty() {
        let reasons: Vec<&str> = missing.iter().map(|missing| missing.reason.as_str()).collect();
        return Err(ApiError::Unavailable(format!(
            "nothing was deleted: not everything is published yet, and what is not would stay: {}",
            reasons.join("; ")
        )));
    }
    let filter = filter.to_string();
    let request = DeletionRequest {
        group: INDEXER_GROUP.to_owned(),
        stream,
        filter_sha256: hex(&Sha256::digest(&filter)),
        filter,
        range,
        reason,
    };
    let deletion = match api.searcher.catalogue().request_deletion(&request).await {
        Err(error @ millrace_catalogue::Error::Held { .. }) => {
            return Err(ApiError::Conflict(error.to_string()));
        }
        other => other?,
    };
    tracing::info!(number = deletion.number, stream.name = %deletion.stream, "a deletion was asked for");
    Ok(deletion)
}

/// All deletions of a stream, the latest first: how far they have come, and what came of them.
#[utoipa::path(
    get,
    path = "/api/v1/streams/{name}/deletions",
    tag = "streams",
    operation_id = "deletions",
    params(("name" = String, Path, description = "The stream")),
    responses((status = 200, description = "The deletions", body = DeletionList))
)]
pub(super) async fn deletions<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(name): Path<String>,
) -> Result<Json<DeletionList>, ApiError> {
    let stream = parameters::stream(&name)?;
    let keeps = (api.topic_keeps)().await;
    let all = api.searcher.catalogue().deletions(INDEXER_GROUP).await?;
    let of_it = all.into_iter().filter(|deletion| deletion.stream == stream);
    Ok(Json(DeletionList { deletions: of_it.map(|deletion| describe(deletion, keeps)).collect() }))
}

fn describe(deletion: Deletion, topic_keeps: Option<Duration>) -> DeletionTold {
    let (from, to) = parameters::bounds(deletion.range);
    let Deletion {
        number,
        stream,
        filter,
        filter_sha256,
        reason,
        requested,
        records,
        shards_left,
        purged,
        ..
    } = deletion;
    DeletionTold {
        number,
        stream,
        state: if purged.is_some() { DeletionState::Purged } else { DeletionState::Hidden },
        q: filter,
        q_sha256: filter_sha256,
        from,
        to,
        reason,
        requested,
        records,
        shards_left,
        purged,
        topic_copy_expires: topic_keeps.map(|keeps| requested.plus(keeps)),
    }
}

/// Puts a stream on hold: nothing of it ends, by age, size or deletion.
#[utoipa::path(
    put,
    path = "/api/v1/streams/{name}/hold",
    tag = "streams",
    operation_id = "hold",
    params(("name" = String, Path, description = "The stream")),
    request_body = HoldBody,
    responses((status = 200, description = "It is on hold", body = HoldAnswer))
)]
pub(super) async fn hold<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(name): Path<String>,
    body: ObjectBody,
) -> Result<Json<HoldAnswer>, ApiError> {
    let stream = parameters::stream(&name)?;
    let body: HoldBody = parameters::of_body(body)?;
    let catalogue = api.searcher.catalogue();
    catalogue.hold(INDEXER_GROUP, &stream, &reason(&body.reason)?).await?;
    let holds = catalogue.holds(INDEXER_GROUP).await?;
    let hold = holds.into_iter().find(|hold| hold.stream == stream);
    let told = |Hold { stream, reason, since }| StreamHold { stream, reason, since };
    Ok(Json(HoldAnswer { hold: hold.map(told) }))
}

/// Ends a hold.
#[utoipa::path(
    delete,
    path = "/api/v1/streams/{name}/hold",
    tag = "streams",
    operation_id = "endHold",
    params(("name" = String, Path, description = "The stream")),
    responses(
        (status = 200, description = "It was on hold, and is no more", body = HoldAnswer),
        (status = 404, description = "It is not on hold", body = ErrorAnswer)
    )
)]
pub(super) async fn release<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(name): Path<String>,
) -> Result<Json<HoldAnswer>, ApiError> {
    let stream = parameters::stream(&name)?;
    if api.searcher.catalogue().end_hold(INDEXER_GROUP, &stream).await? {
        Ok(Json(HoldAnswer { hold: None }))
    } else {
        Err(ApiError::NotFound(format!("stream {stream} is not on hold")))
    }
}

fn reason(text: &str) -> Result<String, ApiError> {
    parameters::said("reason", text, MAX_REASON)
}
