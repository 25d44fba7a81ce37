//! `/auth/login`, `/auth/callback`, `/auth/logout`, and `/api/v1/me`: people log in and out, and anybody learns who they are here. What
//! a login is made of is [`login`](crate::login)'s matter. Each login, refused login and logout is noted in the audit trail, without the codes
//! that are in addresses.

use super::{
    Api, ApiError,
    described::{self, Time},
    error::ErrorAnswer,
    parameters::wrong,
};
use crate::login::{LOGIN, LoggedIn, Login, NotLoggedIn, PENDING, is_local};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use millrace_listen::{
    Audited, Caller, Role, Turned,
    access::{Cookie, Means},
};
use millrace_model::{Grant, Timestamp};
use millrace_store::Leaf;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::{IntoParams, ToSchema};

/// Where a login goes on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Begin {
    /// A path of this server, to which the browser is sent in the end; absent: `/`.
    next: Option<String>,
}

/// What the provider says; it may say more.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Back {
    code: Option<String>,
    state: Option<String>,
    /// Who says it (RFC 9207).
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// A session that has ended.
#[derive(Serialize, ToSchema)]
pub(super) struct LoggedOut {
    logged_out: bool,
    /// Where one logs in again.
    #[schema(value_type = String)]
    login: &'static str,
}

/// Who asks, and what they may.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// Null: nobody has to say who they are.
    #[schema(required)]
    name: Option<String>,
    #[schema(value_type = Vec<described::Role>)]
    roles: Vec<Role>,
    /// What they may see; `*`: all.
    streams: Vec<String>,
    /// Of each role the streams in which they have it.
    grants: BTreeMap<String, Vec<String>>,
    #[schema(value_type = described::KnownBy)]
    known_by: &'static str,
    /// Null: without an end.
    #[schema(value_type = Option<Time>, required)]
    until: Option<Timestamp>,
}

fn login<L>(api: &Api<L>) -> Result<&Arc<Login>, ApiError> {
    let nobody = "nobody can log in here (no [query.auth.oidc])";
    api.login.as_ref().ok_or_else(|| ApiError::NotFound(nobody.to_owned()))
}

/// Sends a browser to the provider.
#[utoipa::path(
    get,
    path = "/auth/login",
    tag = "access",
    operation_id = "login",
    params(Begin),
    responses(
        (status = 303, description = "To the provider"),
        (status = 404, description = "Nobody can log in here", body = ErrorAnswer)
    )
)]
pub(super) async fn begin<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    given: Result<Query<Begin>, QueryRejection>,
) -> Result<Response, ApiError> {
    let login = login(&api)?;
    let Query(Begin { next }) = given.map_err(|error| wrong("query string", error.body_text()))?;
    let next = next.unwrap_or_else(|| "/".to_owned());
    if !is_local(&next) {
        return Err(wrong("next", "a path of this server expected, as in /?q=error".to_owned()));
    }
    let begun = match login.begin(&next).await {
        Ok(begun) => begun,
        Err(error) => return Ok(refused(&error)),
    };
    let mut answer = go_to(&begun.url);
    let cookie = login.cookies().set(Cookie::Login, &begun.kept, PENDING.as_secs());
    answer.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(answer)
}

/// Takes whoever comes back from the provider.
#[utoipa::path(
    get,
    path = "/auth/callback",
    tag = "access",
    operation_id = "loginCallback",
    params(Back),
    responses(
        (status = 303, description = "Logged in: to where the login was to go on"),
        (status = 404, description = "Nobody can log in here", body = ErrorAnswer)
    )
)]
pub(super) async fn back<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    headers: HeaderMap,
    given: Result<Query<Back>, QueryRejection>,
) -> Result<Response, ApiError> {
    let login = login(&api)?;
    let given = given.map_err(|error| wrong("query string", error.body_text()))?;
    let cookies = login.cookies();
    let mut answer = match finish(login, &headers, given.0).await {
        Ok(LoggedIn { secret, name, next, caller }) => {
            let mut answer = go_to(&next);
            let cookie = cookies.set(Cookie::Session, &secret, login.lifetime().as_secs());
            answer.headers_mut().append(header::SET_COOKIE, cookie);
            let outcome = Some(format!("{name} has logged in"));
            answer.extensions_mut().insert(Audited { caller, outcome });
            answer
        }
        Err(error) => refused(&error),
    };
    // Whatever came of it: it is used up.
    answer.headers_mut().append(header::SET_COOKIE, cookies.set(Cookie::Login, "", 0));
    Ok(answer)
}

async fn finish(login: &Login, headers: &HeaderMap, given: Back) -> Result<LoggedIn, NotLoggedIn> {
    let kept = login.cookies().shown(headers, Cookie::Login).unwrap_or_default();
    if given.iss.as_deref().is_some_and(|issuer| !login.is_of(issuer)) {
        return Err(NotLoggedIn::Refused("that is said by another than the provider (iss)".to_owned()));
    }
    match given {
        Back { error: Some(error), error_description, .. } => {
            let why = error_description.map(|why| format!(": {why}")).unwrap_or_default();
            let words: String =
                format!("{error}{why}").chars().filter(|c| !c.is_control()).take(300).collect();
            Err(NotLoggedIn::Refused(format!("the provider says no: {words}")))
        }
        Back { code: Some(code), state: Some(state), .. } => login.finish(&kept, &state, &code).await,
        _ => Err(NotLoggedIn::Refused("code and state of the provider expected".to_owned())),
    }
}

fn go_to(place: &str) -> Response {
    let Ok(place) = HeaderValue::from_str(place) else {
        return ApiError::Unavailable("that is no place to go to".to_owned()).into_response();
    };
    let headers = [(header::LOCATION, place), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn refused(error: &NotLoggedIn) -> Response {
    let (status, code) = match error {
        NotLoggedIn::Provider { .. } => (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable"),
        NotLoggedIn::Refused(_) => (StatusCode::BAD_REQUEST, "login_refused"),
        NotLoggedIn::NoGrant { .. } => (StatusCode::FORBIDDEN, "no_grant"),
        NotLoggedIn::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let why = error.to_string();
    tracing::info!(why, "a login was refused");
    let mut answer = Turned::new(status, code, why.clone()).into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.extensions_mut().insert(Audited { caller: None, outcome: Some(why) });
    answer
}

/// Ends the session that is shown.
#[utoipa::path(
    post,
    path = "/auth/logout",
    tag = "access",
    operation_id = "logout",
    responses(
        (status = 200, description = "It has ended", body = LoggedOut),
        (status = 404, description = "Nobody can log in here", body = ErrorAnswer),
        (status = 409, description = "No session is shown", body = ErrorAnswer)
    )
)]
pub(super) async fn end<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let login = login(&api)?;
    let cookies = login.cookies();
    let secret = cookies.shown(&headers, Cookie::Session).filter(|_| caller.means() == Means::Session);
    let Some(secret) = secret else {
        return Err(ApiError::Conflict("a session is ended by whoever shows it, in its cookie".to_owned()));
    };
    login.end(&secret).await?;
    let mut answer = Json(LoggedOut { logged_out: true, login: LOGIN }).into_response();
    answer.headers_mut().append(header::SET_COOKIE, cookies.set(Cookie::Session, "", 0));
    let outcome = Some(format!("{} has logged out", caller.name().unwrap_or_default()));
    answer.extensions_mut().insert(Audited { caller: Some(caller), outcome });
    Ok(answer)
}

/// Who asks, and what they may.
#[utoipa::path(
    get,
    path = "/api/v1/me",
    tag = "access",
    operation_id = "me",
    responses((status = 200, description = "They", body = Me))
)]
pub(super) async fn me(caller: Caller) -> Response {
    let answer = Json(Me {
        name: caller.name().map(str::to_owned),
        roles: caller.grants().keys().copied().collect(),
        streams: streams(caller.grant()),
        grants: caller
            .grants()
            .iter()
            .map(|(role, grant)| (role.name().to_owned(), streams(grant)))
            .collect(),
        known_by: caller.means().name(),
        until: caller.until(),
    });
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}

fn streams(grant: &Grant) -> Vec<String> {
    match grant {
        Grant::All => vec!["*".to_owned()],
        Grant::Streams(names) => names.iter().map(ToString::to_string).collect(),
    }
}
