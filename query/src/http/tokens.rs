//! `/api/v1/tokens`: the tokens that lie in the catalogue, for administrators. Their secrets are told once, to whoever has them made.

use super::{Api, ApiError, parameters::wrong};
use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use millrace_catalogue::{AccessToken, Added, MAX_TOKENS};
use millrace_listen::{
    Caller, Callers, Role,
    access::{Made, make},
};
use millrace_model::Timestamp;
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The token that is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    name: String,
    roles: Vec<Role>,
    /// Absent: an administrator's.
    #[serde(default)]
    streams: Vec<String>,
    /// Absent: without an end.
    expires: Option<Timestamp>,
}

/// Who holds tokens here, if anybody has to show one.
fn callers<L>(api: &Api<L>) -> Result<&Arc<Callers>, ApiError> {
    let nobody = "nobody has to show a token here (no [query.auth])";
    api.callers.as_ref().ok_or_else(|| ApiError::Conflict(nobody.to_owned()))
}

/// The tokens of the catalogue, by name; those of the file are in the file.
pub(super) async fn list<L: Leaf + 'static>(State(api): State<Arc<Api<L>>>) -> Result<Json<Value>, ApiError> {
    let tokens = api.searcher.catalogue().tokens().await?;
    let is_in_file = |name: &str| api.callers.as_ref().is_some_and(|callers| callers.is_in_file(name));
    let tokens = tokens.into_iter().map(|token| {
        json!({
            "in_file": is_in_file(&token.name),
            "name": token.name,
            "roles": token.roles,
            "streams": token.streams,
            "expires": token.expires,
            "created": token.created,
            "created_by": token.created_by,
        })
    });
    Ok(Json(json!({ "tokens": tokens.collect::<Vec<_>>() })))
}

/// Makes a token, which holds on this node when this returns.
pub(super) async fn add<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    body: Result<Json<TokenBody>, JsonRejection>,
) -> Result<Response, ApiError> {
    let callers = callers(&api)?;
    let Json(TokenBody { name, roles, streams, expires }) = body.map_err(|e| wrong("body", e.body_text()))?;
    if expires.is_some_and(|expires| expires <= api.searcher.now()) {
        return Err(wrong("expires", "a time that is still to come expected".to_owned()));
    }
    if callers.is_in_file(&name) {
        return Err(ApiError::Conflict(format!("the file of tokens has one that is called {name}")));
    }
    let made = tokio::task::spawn_blocking(move || make(&name, &roles, &streams, expires)).await;
    let made = made.map_err(|error| ApiError::unavailable("no token was made", &error.into()))?;
    let Made { token, name, hash, roles, streams, expires } = made.map_err(|e| wrong("body", e))?;
    let kept = AccessToken {
        name: name.clone(),
        hash,
        roles: roles.iter().map(|role| role.name().to_owned()).collect(),
        streams: streams.clone(),
        expires,
        created: api.searcher.now(),
        created_by: caller.name().unwrap_or_default().to_owned(),
    };
    match api.searcher.catalogue().add_token(&kept).await? {
        Added::Yes => {}
        Added::Exists => return Err(ApiError::Conflict(format!("there is a token that is called {name}"))),
        Added::Full => {
            let full =
                format!("there are {MAX_TOKENS} tokens, which is the most: revoke those that nobody needs");
            return Err(ApiError::Conflict(full));
        }
    }
    callers.look_now().await;
    let told =
        json!({ "name": name, "token": token, "roles": roles, "streams": streams, "expires": expires });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

/// Revokes a token: on this node it does not hold when this returns.
pub(super) async fn revoke<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let callers = callers(&api)?;
    if !api.searcher.catalogue().delete_token(&name).await? {
        let where_it_is = if callers.is_in_file(&name) { ", but one in the file" } else { "" };
        return Err(ApiError::NotFound(format!("the catalogue has no token {name:?}{where_it_is}")));
    }
    callers.look_now().await;
    Ok(Json(json!({ "revoked": name })))
}
