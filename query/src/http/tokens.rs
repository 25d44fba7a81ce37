//! `/api/v1/tokens`: the tokens that lie in the catalogue, for administrators. Their secrets are told once, to whoever has them made.

use super::{
    Api, ApiError,
    described::{self, Time},
    error::ErrorAnswer,
    parameters::{ObjectBody, of_body, wrong},
};
use axum::{
    Json,
    extract::{Path, State},
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
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The token that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenBody {
    name: String,
    #[schema(value_type = Vec<described::Role>)]
    roles: Vec<Role>,
    /// Absent: an administrator's.
    #[serde(default)]
    streams: Vec<String>,
    /// Absent: without an end.
    #[schema(value_type = Option<Time>)]
    expires: Option<Timestamp>,
}

/// The tokens of the catalogue.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenList {
    tokens: Vec<TokenTold>,
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
struct TokenTold {
    name: String,
    #[schema(value_type = Vec<described::Role>)]
    roles: Vec<String>,
    /// `*`: all.
    streams: Vec<String>,
    /// Null: it has no end.
    #[schema(value_type = Option<Time>, required)]
    expires: Option<Timestamp>,
    #[schema(value_type = Time)]
    created: Timestamp,
    /// Empty: by nobody that has a name.
    created_by: String,
    /// The file of tokens has one of that name, too, which counts.
    in_file: bool,
}

/// A token that was made, with its secret: it is told once.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenMade {
    name: String,
    /// What is to be shown.
    token: String,
    #[schema(value_type = Vec<described::Role>)]
    roles: Vec<Role>,
    streams: Vec<String>,
    #[schema(value_type = Option<Time>, required)]
    expires: Option<Timestamp>,
}

/// A token that holds no more.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenRevoked {
    /// Its name.
    revoked: String,
}

/// Who holds tokens here, if anybody has to show one.
fn callers<L>(api: &Api<L>) -> Result<&Arc<Callers>, ApiError> {
    let nobody = "nobody has to show a token here (no [query.auth])";
    api.callers.as_ref().ok_or_else(|| ApiError::Conflict(nobody.to_owned()))
}

/// The tokens of the catalogue, by name; those of the file are in the file.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    tag = "access",
    operation_id = "tokens",
    responses((status = 200, description = "The tokens", body = TokenList))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
) -> Result<Json<TokenList>, ApiError> {
    let tokens = api.searcher.catalogue().tokens().await?;
    let is_in_file = |name: &str| api.callers.as_ref().is_some_and(|callers| callers.is_in_file(name));
    let tokens = tokens.into_iter().map(|token| TokenTold {
        in_file: is_in_file(&token.name),
        name: token.name,
        roles: token.roles,
        streams: token.streams,
        expires: token.expires,
        created: token.created,
        created_by: token.created_by,
    });
    Ok(Json(TokenList { tokens: tokens.collect() }))
}

/// Makes a token, which holds on this node when this returns.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "access",
    operation_id = "makeToken",
    request_body = TokenBody,
    responses(
        (status = 201, description = "It holds", body = TokenMade),
        (status = 409, description = "There is one of that name, or nobody has to show one here", body = ErrorAnswer)
    )
)]
pub(super) async fn add<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    body: ObjectBody,
) -> Result<Response, ApiError> {
    let callers = callers(&api)?;
    let TokenBody { name, roles, streams, expires } = of_body(body)?;
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
    let told = TokenMade { name, token, roles, streams, expires };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(told)).into_response())
}

/// Revokes a token: on this node it does not hold when this returns.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{name}",
    tag = "access",
    operation_id = "revokeToken",
    params(("name" = String, Path, description = "The token")),
    responses(
        (status = 200, description = "It holds no more", body = TokenRevoked),
        (status = 404, description = "The catalogue has none of that name", body = ErrorAnswer),
        (status = 409, description = "Nobody has to show one here", body = ErrorAnswer)
    )
)]
pub(super) async fn revoke<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    Path(name): Path<String>,
) -> Result<Json<TokenRevoked>, ApiError> {
    let callers = callers(&api)?;
    if !api.searcher.catalogue().delete_token(&name).await? {
        let where_it_is = if callers.is_in_file(&name) { ", but one in the file" } else { "" };
        return Err(ApiError::NotFound(format!("the catalogue has no token {name:?}{where_it_is}")));
    }
    callers.look_now().await;
    Ok(Json(TokenRevoked { revoked: name }))
}
