//! `/api/v1/alerts/{id}/…`: what people do with an alert. Each of these is in the audit trail, and in the history of the alert.

use super::{
    Api, ApiError,
    alerts::{AlertAnswer, answer, missing},
    described::{self, Time},
    error::ErrorAnswer,
    parameters::{ObjectBody, of_body, said, wrong},
};
use axum::{
    Json,
    extract::{Path, State},
};
use millrace_catalogue::{Act, KeptAlert, Triage, Verdict, VerdictKind, VerdictScope};
use millrace_listen::Caller;
use millrace_model::Timestamp;
use millrace_store::Leaf;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The longest text that somebody may say, in characters.
const MAX_TEXT: usize = 2_000;
/// An alert that changes meanwhile is looked at again so often.
const ATTEMPTS: usize = 10;

/// What somebody says to it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoteBody {
    #[serde(default)]
    note: String,
}

/// Whose it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AssignBody {
    /// Null: nobody's.
    #[schema(required)]
    to: Option<String>,
}

/// What an alert was.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VerdictBody {
    #[schema(value_type = described::VerdictKind)]
    verdict: VerdictKind,
    #[serde(default)]
    reason: String,
    /// Absent: this alert alone.
    #[serde(default)]
    #[schema(value_type = described::VerdictScope)]
    scope: VerdictScope,
    /// Absent: without an end.
    #[schema(value_type = Option<Time>)]
    expires: Option<Timestamp>,
}

fn text(name: &'static str, text: &str) -> Result<String, ApiError> {
    said(name, text, MAX_TEXT)
}

/// Changes what people did with an alert, and tells of it as it is then.
async fn change<L: Leaf>(
    api: &Api<L>,
    caller: &Caller,
    id: &str,
    change: impl Fn(&KeptAlert, &mut Triage) -> Result<(), ApiError>,
) -> Result<Json<AlertAnswer>, ApiError> {
    let catalogue = api.searcher.catalogue();
    for _ in 0..ATTEMPTS {
        let before = catalogue.kept_alert(id).await?.ok_or_else(|| missing(id))?;
        let mut triage = before.triage.clone();
        change(&before, &mut triage)?;
        if triage == before.triage || catalogue.triage(&before, &triage).await? {
            api.alerts_changed.notify_one();
            return Ok(Json(answer(api, caller, id).await?));
        }
    }
    Err(ApiError::Conflict("the alert changes all the time: try again".to_owned()))
}

fn act<L: Leaf>(api: &Api<L>, caller: &Caller, note: &str) -> Result<Act, ApiError> {
    Ok(Act {
        at: api.searcher.now(),
        by: caller.name().unwrap_or_default().to_owned(),
        note: text("note", note)?,
    })
}

/// Says that somebody has seen an alert: it is not repeated any more.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/ack",
    tag = "detection",
    operation_id = "acknowledge",
    params(("id" = String, Path, description = "The alert")),
    request_body = NoteBody,
    responses(
        (status = 200, description = "The alert, acknowledged", body = AlertAnswer),
        (status = 404, description = "There is none of that id", body = ErrorAnswer),
        (status = 409, description = "It changes all the time", body = ErrorAnswer)
    )
)]
pub(super) async fn acknowledge<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
    body: ObjectBody,
) -> Result<Json<AlertAnswer>, ApiError> {
    let body: NoteBody = of_body(body)?;
    let act = act(&api, &caller, &body.note)?;
    change(&api, &caller, &id, |_, triage| {
        triage.acknowledged = Some(act.clone());
        Ok(())
    })
    .await
}

/// Takes an acknowledgement back.
#[utoipa::path(
    delete,
    path = "/api/v1/alerts/{id}/ack",
    tag = "detection",
    operation_id = "endAcknowledgement",
    params(("id" = String, Path, description = "The alert")),
    responses(
        (status = 200, description = "The alert, as if nobody had seen it", body = AlertAnswer),
        (status = 404, description = "There is none of that id", body = ErrorAnswer),
        (status = 409, description = "It changes all the time", body = ErrorAnswer)
    )
)]
pub(super) async fn unacknowledge<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AlertAnswer>, ApiError> {
    change(&api, &caller, &id, |_, triage| {
        triage.acknowledged = None;
        Ok(())
    })
    .await
}

/// Says whose an alert is.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/assign",
    tag = "detection",
    operation_id = "assign",
    params(("id" = String, Path, description = "The alert")),
    request_body = AssignBody,
    responses(
        (status = 200, description = "The alert, assigned", body = AlertAnswer),
        (status = 404, description = "There is none of that id", body = ErrorAnswer),
        (status = 409, description = "It changes all the time", body = ErrorAnswer)
    )
)]
pub(super) async fn assign<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
    body: ObjectBody,
) -> Result<Json<AlertAnswer>, ApiError> {
    let body: AssignBody = of_body(body)?;
    let to = body.to.map(|to| text("to", &to)).transpose()?.filter(|to| !to.trim().is_empty());
    change(&api, &caller, &id, |_, triage| {
        triage.assignee.clone_from(&to);
        Ok(())
    })
    .await
}

/// Says that an alert is over: receivers are told so, and nothing more of it, whatever its rule still finds.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/close",
    tag = "detection",
    operation_id = "close",
    params(("id" = String, Path, description = "The alert")),
    request_body = NoteBody,
    responses(
        (status = 200, description = "The alert, closed", body = AlertAnswer),
        (status = 404, description = "There is none of that id", body = ErrorAnswer),
        (status = 409, description = "It is over already, or changes all the time", body = ErrorAnswer)
    )
)]
pub(super) async fn close<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
    body: ObjectBody,
) -> Result<Json<AlertAnswer>, ApiError> {
    let body: NoteBody = of_body(body)?;
    let act = act(&api, &caller, &body.note)?;
    change(&api, &caller, &id, |before, triage| {
        if before.ended().is_some() {
            return Err(ApiError::Conflict("the alert is over already".to_owned()));
        }
        triage.closed = Some(act.clone());
        Ok(())
    })
    .await
}

/// Says what an alert was, in place of what was said before.
#[utoipa::path(
    post,
    path = "/api/v1/alerts/{id}/verdict",
    tag = "detection",
    operation_id = "giveVerdict",
    params(("id" = String, Path, description = "The alert")),
    request_body = VerdictBody,
    responses(
        (status = 200, description = "The alert, with the verdict", body = AlertAnswer),
        (status = 404, description = "There is none of that id", body = ErrorAnswer)
    )
)]
pub(super) async fn judge<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
    body: ObjectBody,
) -> Result<Json<AlertAnswer>, ApiError> {
    let VerdictBody { verdict, reason, scope, expires } = of_body(body)?;
    let given = api.searcher.now();
    if expires.is_some_and(|expires| expires <= given) {
        return Err(wrong("expires", "a time that is still to come expected".to_owned()));
    }
    let catalogue = api.searcher.catalogue();
    let kept = catalogue.kept_alert(&id).await?.ok_or_else(|| missing(&id))?;
    let verdict = Verdict {
        alert_id: id.clone(),
        rule_id: kept.alert.rule_id,
        fingerprint: kept.alert.fingerprint,
        group: kept.alert.group,
        verdict,
        reason: text("reason", &reason)?,
        scope,
        expires,
        given,
        given_by: caller.name().unwrap_or_default().to_owned(),
    };
    if !catalogue.give_verdict(&verdict).await? {
        return Err(missing(&id));
    }
    api.alerts_changed.notify_one();
    Ok(Json(answer(&api, &caller, &id).await?))
}

/// Takes a verdict back, and with it what followed from it.
#[utoipa::path(
    delete,
    path = "/api/v1/alerts/{id}/verdict",
    tag = "detection",
    operation_id = "takeVerdictBack",
    params(("id" = String, Path, description = "The alert")),
    responses(
        (status = 200, description = "The alert, as if nothing had been said", body = AlertAnswer),
        (status = 404, description = "There is none of that id, or it has no verdict", body = ErrorAnswer)
    )
)]
pub(super) async fn unjudge<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AlertAnswer>, ApiError> {
    if !api.searcher.catalogue().take_back_verdict(&id).await? {
        return Err(ApiError::NotFound(format!("there is no verdict on an alert {id:?}")));
    }
    api.alerts_changed.notify_one();
    Ok(Json(answer(&api, &caller, &id).await?))
}
