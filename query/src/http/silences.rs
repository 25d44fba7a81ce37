//! `/api/v1/silences` and `/api/v1/receivers`: who is not told of what, and whether who is told can be.

use super::{
    Api, ApiError,
    alerts::{AlertList, told},
    error::ErrorAnswer,
    parameters::{ObjectBody, of_body, wrong},
};
use crate::alert::{
    desk,
    matcher::{Matcher, problem},
    receivers::Outcome,
    silence::{KIND, Kept, MAX_SILENCES, Silence, Wanted},
    told::record,
};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use millrace_catalogue::{Catalogue, Error, KeptAlert};
use millrace_listen::Caller;
use millrace_model::{ShardId, Timestamp};
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use utoipa::ToSchema;

/// Silences that are over are told of for so long, and kept.
const REMEMBERED: Duration = Duration::from_hours(30 * 24);

/// The silences that are kept.
#[derive(Serialize, ToSchema)]
pub(super) struct SilenceList {
    silences: Vec<SilenceTold>,
}

/// A silence.
#[derive(Serialize, ToSchema)]
#[schema(as = SilenceKept)]
pub(super) struct SilenceTold {
    #[serde(flatten)]
    kept: Kept,
    state: SilenceState,
}

/// Where a silence stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SilenceState {
    /// It is still to begin, or between two of its windows.
    Waiting,
    /// It holds.
    Active,
    /// It is over.
    Expired,
}

/// The alerts that are asked after.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewBody {
    /// Which alerts: a filter.
    #[serde(rename = "match")]
    matcher: String,
}

/// How a test went.
#[derive(Serialize, ToSchema)]
pub(super) struct TestAnswer {
    /// It took a test that fires, and that the test is over.
    delivered: bool,
    /// What went wrong.
    #[schema(required)]
    problem: Option<String>,
    took_ms: u64,
}

fn describe(silence: Silence, now: Timestamp) -> SilenceTold {
    let state = if silence.is_over(now) {
        SilenceState::Expired
    } else if silence.holds(now) {
        SilenceState::Active
    } else {
        SilenceState::Waiting
    };
    SilenceTold { kept: silence.kept, state }
}

/// The silences, the latest first; those that are over for 30 days more.
#[utoipa::path(
    get,
    path = "/api/v1/silences",
    tag = "detection",
    operation_id = "silences",
    responses((status = 200, description = "The silences", body = SilenceList))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
) -> Result<Json<SilenceList>, ApiError> {
    let now = api.searcher.now();
    let mut silences = desk::silences(api.searcher.catalogue()).await?;
    silences.sort_by(|a, b| (b.kept.created, &b.kept.id).cmp(&(a.kept.created, &a.kept.id)));
    Ok(Json(SilenceList { silences: silences.into_iter().map(|silence| describe(silence, now)).collect() }))
}

/// Makes a silence: alerts that it means are kept, and nobody is told of them while it holds.
#[utoipa::path(
    post,
    path = "/api/v1/silences",
    tag = "detection",
    operation_id = "silence",
    request_body = Wanted,
    responses(
        (status = 201, description = "It is kept", body = SilenceTold),
        (status = 409, description = "There are as many as there may be", body = ErrorAnswer)
    )
)]
pub(super) async fn add<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    body: ObjectBody,
) -> Result<(StatusCode, Json<SilenceTold>), ApiError> {
    let wanted: Wanted = of_body(body)?;
    let (catalogue, now) = (api.searcher.catalogue(), api.searcher.now());
    let id = format!("s-{}", ShardId::random());
    let silence = wanted.check(id, caller.name().unwrap_or_default(), now);
    let silence = silence.map_err(|(name, problem)| wrong(name, problem))?;
    let there = forget_old(catalogue, now).await?;
    if there >= MAX_SILENCES {
        let full =
            format!("there are {MAX_SILENCES} silences, which is the most: end those that nobody needs");
        return Err(ApiError::Conflict(full));
    }
    let body = serde_json::to_string(&silence.kept).map_err(|error| wrong("body", error.to_string()))?;
    catalogue.put_document(KIND, &silence.kept.id, None, &body).await?;
    api.alerts_changed.notify_one();
    Ok((StatusCode::CREATED, Json(describe(silence, now))))
}

/// Forgets those that were over long ago; how many are left.
async fn forget_old(catalogue: &Catalogue, now: Timestamp) -> Result<usize, ApiError> {
    let silences = catalogue.documents(KIND).await?;
    let mut left = silences.len();
    for document in silences {
        let kept: Option<Kept> = serde_json::from_str(&document.body).ok();
        if kept.and_then(|kept| kept.ends).is_some_and(|ends| ends.plus(REMEMBERED) <= now) {
            match catalogue.delete_document(KIND, &document.key, document.version).await {
                Ok(()) | Err(Error::Conflict { .. }) => left -= 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(left)
}

/// The firing alerts that a silence would cover.
#[utoipa::path(
    post,
    path = "/api/v1/silences/preview",
    tag = "detection",
    operation_id = "previewSilence",
    request_body = PreviewBody,
    responses((status = 200, description = "The alerts", body = AlertList))
)]
pub(super) async fn preview<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    body: ObjectBody,
) -> Result<Json<AlertList>, ApiError> {
    let body: PreviewBody = of_body(body)?;
    let matcher = Matcher::read(&body.matcher).map_err(|error| wrong("match", problem(&error)))?;
    let now = api.searcher.now();
    let open = api.searcher.catalogue().open_alerts().await?;
    let hides = api.sight(&caller).masks.hide_anything();
    let is_meant = |kept: &&KeptAlert| {
        let mut seen = KeptAlert::clone(kept);
        if hides {
            // Who may not see a value cannot guess it either.
            seen.alert.group.clear();
        }
        kept.ended().is_none() && matcher.matches(&record(&seen, None, now))
    };
    Ok(Json(AlertList {
        alerts: open.iter().filter(is_meant).map(|kept| told(&api, &caller, kept)).collect(),
    }))
}

/// Ends a silence now.
#[utoipa::path(
    delete,
    path = "/api/v1/silences/{id}",
    tag = "detection",
    operation_id = "endSilence",
    params(("id" = String, Path, description = "The silence")),
    responses(
        (status = 200, description = "It is over", body = SilenceTold),
        (status = 404, description = "There is none of that id", body = ErrorAnswer),
        (status = 409, description = "It is over already, or somebody else ends it", body = ErrorAnswer)
    )
)]
pub(super) async fn end<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(id): Path<String>,
) -> Result<Json<SilenceTold>, ApiError> {
    let (catalogue, now) = (api.searcher.catalogue(), api.searcher.now());
    let unknown = || ApiError::NotFound(format!("there is no silence {id:?}"));
    let (version, body) = catalogue.document(KIND, &id).await?.ok_or_else(unknown)?;
    let unreadable =
        |problem: String| ApiError::Unavailable(format!("the silence cannot be read: {problem}"));
    let mut kept: Kept = serde_json::from_str(&body).map_err(|error| unreadable(error.to_string()))?;
    if kept.ends.is_some_and(|ends| ends <= now) {
        return Err(ApiError::Conflict("the silence is over already".to_owned()));
    }
    kept.ends = Some(now);
    let silence = Silence::read(kept).map_err(|(_, problem)| unreadable(problem))?;
    let body = serde_json::to_string(&silence.kept).map_err(|error| unreadable(error.to_string()))?;
    match catalogue.put_document(KIND, &id, Some(version), &body).await {
        Ok(_) => {}
        Err(Error::Conflict { .. }) => {
            return Err(ApiError::Conflict("somebody else has changed the silence meanwhile".to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    api.alerts_changed.notify_one();
    Ok(Json(describe(silence, now)))
}

/// Tells a receiver something that is no alert, to see whether it can be told.
#[utoipa::path(
    post,
    path = "/api/v1/receivers/{name}/test",
    tag = "detection",
    operation_id = "testReceiver",
    params(("name" = String, Path, description = "The receiver")),
    responses(
        (status = 200, description = "How it went", body = TestAnswer),
        (status = 404, description = "There is none of that name", body = ErrorAnswer)
    )
)]
pub(super) async fn test<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(name): Path<String>,
) -> Result<Json<TestAnswer>, ApiError> {
    let unknown = || ApiError::NotFound(format!("no receiver is called {name:?}"));
    let receiver = api.receivers.get(&name).ok_or_else(unknown)?;
    let started = Instant::now();
    let problem = match receiver.test(&name).await {
        Outcome::Delivered => None,
        Outcome::Later { problem, .. } | Outcome::Never { problem } => Some(problem),
    };
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(TestAnswer { delivered: problem.is_none(), problem, took_ms }))
}
