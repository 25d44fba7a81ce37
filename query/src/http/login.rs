//! `/auth/login`, `/auth/callback`, `/auth/logout`, and `/api/v1/me`: people log in and out, and anybody learns who they are here. What
//! a login is made of is [`login`](crate::login)'s matter. Each login, refused login and logout is noted in the audit trail, without the codes
//! that are in addresses.

use super::{Api, ApiError, parameters::wrong};
use crate::login::{LOGIN, LoggedIn, Login, NotLoggedIn, PENDING, is_local};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use millrace_listen::{
    Audited, Caller, Turned,
    access::{Cookie, Means},
};
use millrace_model::Grant;
use millrace_store::Leaf;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Where a login goes on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    next: Option<String>,
}

/// What the provider says; it may say more.
#[derive(Debug, Deserialize)]
pub(super) struct Back {
    code: Option<String>,
    state: Option<String>,
    /// Who says it (RFC 9207).
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

fn login<L>(api: &Api<L>) -> Result<&Arc<Login>, ApiError> {
    let nobody = "nobody can log in here (no [query.auth.oidc])";
    api.login.as_ref().ok_or_else(|| ApiError::NotFound(nobody.to_owned()))
}

/// Sends a browser to the provider.
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
    let mut answer = Json(json!({ "logged_out": true, "login": LOGIN })).into_response();
    answer.headers_mut().append(header::SET_COOKIE, cookies.set(Cookie::Session, "", 0));
    let outcome = Some(format!("{} has logged out", caller.name().unwrap_or_default()));
    answer.extensions_mut().insert(Audited { caller: Some(caller), outcome });
    Ok(answer)
}

/// Who asks, and what they may.
pub(super) async fn me(caller: Caller) -> Response {
    let grants: serde_json::Map<String, Value> =
        caller.grants().iter().map(|(role, grant)| (role.name().to_owned(), streams(grant))).collect();
    let answer = Json(json!({
        "name": caller.name(),
        "roles": caller.grants().keys().collect::<Vec<_>>(),
        "streams": streams(caller.grant()),
        "grants": grants,
        "known_by": caller.means().name(),
        "until": caller.until(),
    }));
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}

fn streams(grant: &Grant) -> Value {
    match grant {
        Grant::All => json!(["*"]),
        Grant::Streams(names) => json!(names),
    }
}
