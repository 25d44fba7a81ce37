//! Who asks, and what they may: tokens, each with roles and streams. Every request passes [`Access::guard`] and is given its
//! [`Caller`]; [`asks`] holds routes against a role. What is behind them is not known here.
//!
//! A token is shown as `Authorization: Bearer TOKEN`, as the password of `Basic`, or as an Elasticsearch API key (`ApiKey`); a session, of
//! somebody who has logged in, by a cookie. How people log in is not known here.
//!
//! **Invariant.** Behind the guard nothing is answered to a caller that is not known, but for the paths that are called open.

mod caller;
mod callers;
mod cookie;
mod tokens;

pub use caller::{Caller, Grants, Means, Role};
pub use callers::{Callers, Kept, KeptSession, KeptToken, Look, session_hash};
pub use cookie::{Cookie, Cookies};
pub use tokens::{Made, Unreadable, add, granted, make, secret};

use crate::Turned;
use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use millrace_config::Section;
use millrace_model::{Grant, Masks};
use serde_json::json;
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

/// `[query.auth]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// The file of tokens: `tokens_file`; `None`: there is none, where people can log in.
    pub tokens_file: Option<PathBuf>,
    /// Fields that are hidden from who has not the role `unmask`: `masked`, default none.
    pub masks: Masks,
}

impl AccessSettings {
    /// Reads `tokens_file`, which may be absent where people can log in. `None` only where an error was recorded.
    pub fn read(section: &mut Section<'_>, people_log_in: bool) -> Option<Self> {
        let tokens_file = if people_log_in {
            section.optional("tokens_file")
        } else {
            Some(section.required("tokens_file")?)
        };
        let masked: Vec<String> = section.or("masked", Vec::new());
        let masks = Masks::new(masked.iter().map(String::as_str), Grant::Streams(BTreeSet::new()));
        let masks = masks.map_err(|error| section.error("masked", error.to_string())).unwrap_or_default();
        Some(Self { tokens_file, masks })
    }
}

/// What an answer was given for. Those that say so belong into the audit trail.
#[derive(Debug, Clone)]
pub struct Audited {
    /// Who asked; `None`: nobody who is known.
    pub caller: Option<Caller>,
    /// What came of it, in place of what was asked, where that holds secrets.
    pub outcome: Option<String>,
}

impl Audited {
    /// Asked by them, and noted as it was asked.
    pub fn of(caller: Option<Caller>) -> Self {
        Self { caller, outcome: None }
    }
}

/// Whoever stands at the door. Cloning is cheap.
#[derive(Clone)]
pub struct Access {
    /// `None`: nobody has to show anything.
    callers: Option<Arc<Callers>>,
    /// Where people log in, and the cookies of those who have; `None`: nobody can.
    login: Option<(&'static str, Cookies)>,
    /// Paths that anybody may ask for.
    open: &'static [&'static str],
    /// Paths that tell of all streams, and ask for nobody's role by themselves.
    of_all: &'static [&'static str],
}

impl Access {
    /// For these, if anybody has to show anything. `open`: paths that anybody may ask for; `of_all`: those that tell of all streams,
    /// and are not behind [`asks`].
    pub fn new(
        callers: Option<Arc<Callers>>,
        open: &'static [&'static str],
        of_all: &'static [&'static str],
    ) -> Self {
        Self { callers, login: None, open, of_all }
    }

    /// Where people log in, at this path, browsers show sessions by cookies.
    #[must_use]
    pub fn with_login(self, path: &'static str, cookies: Cookies) -> Self {
        Self { login: Some((path, cookies)), ..self }
    }

    /// `router`, where every request has its [`Caller`].
    pub fn guard(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), stand))
    }

    /// Refuses what a session asks for from somebody else's page: browsers show cookies, whatever page has them ask.
    fn of_another_page(&self, caller: &Caller, request: &Request) -> Option<Turned> {
        let (_, cookies) = self.login.as_ref()?;
        (caller.means() == Means::Session).then(|| cookies.of_another_page(request)).flatten()
    }

    /// The answer to whoever is not known. Browsers would ask people for a password themselves: where people can log in, pages are told
    /// where.
    fn unknown(&self, turned: Turned, headers: &HeaderMap) -> Response {
        let schemes: &[&str] = &["Bearer", "Basic realm=\"millrace\", charset=\"UTF-8\""];
        let (mut answer, schemes) = match &self.login {
            Some((path, _)) if headers.contains_key("sec-fetch-mode") => {
                let Turned { status, code, message } = turned;
                let told = json!({ "error": { "code": code, "message": message, "login": path } });
                ((status, Json(told)).into_response(), &schemes[..1])
            }
            _ => (turned.into_response(), schemes),
        };
        for scheme in schemes {
            answer.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        answer
    }

    /// Who shows this: a header counts before a cookie.
    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Turned> {
        let Some(callers) = &self.callers else { return Ok(Caller::anybody()) };
        let unknown = |why: &str| Turned::new(StatusCode::UNAUTHORIZED, "unauthorized", why);
        let Some(shown) = headers.get(header::AUTHORIZATION) else {
            let cookies = self.login.as_ref().map(|(_, cookies)| cookies);
            return match cookies.and_then(|cookies| cookies.shown(headers, Cookie::Session)) {
                Some(secret) => {
                    let over = "the session is not known, or its time is over: log in again";
                    callers.by_session(&secret).await.ok_or_else(|| unknown(over))
                }
                None => Err(unknown(
                    "a token is needed: `authorization: Bearer TOKEN`, or as the password of Basic",
                )),
            };
        };
        let shown = shown.to_str().ok().and_then(read_shown);
        let Some((name, secret)) = shown else {
            return Err(unknown("what the header `authorization` shows is no token of Millrace"));
        };
        callers
            .by_token(&name, &secret)
            .await
            .ok_or_else(|| unknown("the token is not known, or its time is over"))
    }
}

/// Looks at who comes.
async fn stand(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    if let Some(turned) = of_another_site(&request) {
        return turned.into_response();
    }
    let known = access.caller(request.headers()).await;
    if let Ok(caller) = &known
        && let Some(turned) = access.of_another_page(caller, &request)
    {
        return turned.into_response();
    }
    match known {
        Ok(caller) if access.of_all.contains(&request.uri().path()) => match caller.may_in_all(Role::Read) {
            Ok(()) => next.run(request).await,
            Err(turned) => turned.into_response(),
        },
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(_) if access.open.contains(&request.uri().path()) => next.run(request).await,
        Err(turned) => {
            let mut answer = access.unknown(turned, request.headers());
            answer.extensions_mut().insert(Audited::of(None));
            answer
        }
    }
}

/// A browser tells whose page it was that asked. One of another site changes nothing here, whatever the browser knows of tokens.
fn of_another_site(request: &Request) -> Option<Turned> {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    let foreign = matches!(site, Some(b"cross-site" | b"same-site"));
    (foreign && cookie::changes(request)).then(|| {
        Turned::new(StatusCode::FORBIDDEN, "cross_site", "a page of another site may not ask for this")
    })
}

/// Name and secret, however they are shown.
fn read_shown(header: &str) -> Option<(String, String)> {
    let (scheme, shown) = header.split_once(' ')?;
    let shown = shown.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return tokens::split(shown);
    }
    let key = scheme.eq_ignore_ascii_case("apikey");
    if key && let Some(token) = tokens::split(shown) {
        return Some(token);
    }
    if !key && !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(shown).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    tokens::split(password).or_else(|| Some((user.to_owned(), password.to_owned())))
}

/// What is asked of whoever asks for some paths.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// A role, in the streams that are granted: whoever answers looks at the streams.
    Role(Role),
    /// A role in all streams.
    InAll(Role),
}

/// `router`, for those alone who may. `audited`: what is asked for belongs into the audit trail.
pub fn asks<S: Clone + Send + Sync + 'static>(asked: Asked, audited: bool, router: Router<S>) -> Router<S> {
    router.route_layer(middleware::from_fn(move |caller: Caller, request: Request, next: Next| async move {
        let may = match asked {
            Asked::Role(role) => caller.may(role),
            Asked::InAll(role) => caller.may_in_all(role),
        };
        let refused = may.is_err();
        let mut answer = match may {
            Ok(()) => next.run(request).await,
            Err(turned) => turned.into_response(),
        };
        if audited || refused {
            answer.extensions_mut().insert(Audited::of(Some(caller)));
        }
        answer
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_in_three_ways() {
        let secret = "0f".repeat(32);
        let token = format!("millrace_ops_{secret}");
        let pair = Some(("ops".to_owned(), secret.clone()));
        let basic = |text: &str| STANDARD.encode(text);
        for header in [
            format!("Bearer {token}"),
            format!("bearer  {token}"),
            format!("Basic {}", basic(&format!("ops:{secret}"))),
            format!("basic {}", basic(&format!("whoever:{token}"))),
            format!("ApiKey {}", basic(&format!("ops:{secret}"))),
            format!("ApiKey {token}"),
        ] {
            assert_eq!(read_shown(&header), pair, "{header}");
        }
        for header in ["", "Bearer", "Bearer ops", "Digest x", "Basic ?", "ApiKey x"] {
            assert_eq!(read_shown(header), None, "{header}");
        }
    }
}
