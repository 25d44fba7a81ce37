//! The provider: what it says of itself, the keys that it signs by, and what it gives for a code. It is asked when that is needed, within a
//! bounded time; what it said is kept for a while.

use super::{
    keys::{self, Key},
    settings::{LoginSettings, is_safe},
};
use millrace_config::Secret;
use millrace_model::chain;
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect::Policy};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(3);
/// The largest answer, in bytes.
const LARGEST: usize = 1 << 20;
/// What the provider says of itself is asked for again after this.
const FRESH: Duration = Duration::from_hours(1);
/// After a failure nobody asks again for so long; and for new keys no more often than this.
const PAUSE: Duration = Duration::from_secs(2);
/// So many codes are shown to it at once: anybody can come with one.
const AT_ONCE: usize = 16;

/// Why the provider gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is not there, or does not answer as a provider.
    Away(String),
    /// It has answered no.
    Refused(String),
}

/// What it says of itself.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) authorization_endpoint: Url,
    token_endpoint: Url,
    userinfo_endpoint: Option<Url>,
    jwks_uri: Url,
    /// Is the secret shown in the form alone?
    by_form: bool,
    pub(super) keys: Vec<Key>,
    since: Instant,
    keys_since: Instant,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What it gives for a code.
#[derive(Deserialize)]
pub(super) struct Redeemed {
    pub(super) id_token: String,
    pub(super) access_token: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    failed: Option<(Instant, Trouble)>,
}

/// See the module.
pub(super) struct Provider {
    client: Client,
    issuer: String,
    client_id: String,
    secret: Secret,
    state: Mutex<State>,
    redeeming: Semaphore,
}

impl Provider {
    pub(super) fn new(settings: &LoginSettings) -> Result<Self, reqwest::Error> {
        // Nobody else is to be asked in its place.
        let client = Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT).redirect(Policy::none());
        Ok(Self {
            client: client.build()?,
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            secret: settings.client_secret.clone(),
            state: Mutex::default(),
            redeeming: Semaphore::new(AT_ONCE),
        })
    }

    /// What it says of itself, new or not older than an hour; older where it is away.
    pub(super) async fn known(&self) -> Result<Arc<Known>, Trouble> {
        let mut state = self.state.lock().await;
        let just_failed = state.failed.as_ref().filter(|(at, _)| at.elapsed() < PAUSE);
        match (&state.known, just_failed) {
            (Some(known), _) if known.since.elapsed() < FRESH => return Ok(Arc::clone(known)),
            (Some(known), Some(_)) => return Ok(Arc::clone(known)),
            (None, Some((_, trouble))) => return Err(trouble.clone()),
            _ => {}
        }
        let mut found = self.discover().await;
        if matches!(found, Err(Trouble::Away(_))) {
            found = self.discover().await;
        }
        match found {
            Ok(known) => {
                let known = Arc::new(known);
                *state = State { known: Some(Arc::clone(&known)), failed: None };
                Ok(known)
            }
            Err(trouble) => {
                tracing::warn!(issuer = self.issuer, ?trouble, "the provider of logins cannot be asked");
                state.failed = Some((Instant::now(), trouble.clone()));
                state.known.clone().ok_or(trouble)
            }
        }
    }

    /// With its keys of now, if they were not asked for a moment ago.
    pub(super) async fn with_new_keys(&self, before: &Known) -> Result<Arc<Known>, Trouble> {
        let mut state = self.state.lock().await;
        if let Some(known) = &state.known
            && (known.keys_since > before.keys_since || known.keys_since.elapsed() < PAUSE)
        {
            return Ok(Arc::clone(known));
        }
        let known = Arc::new(Known {
            authorization_endpoint: before.authorization_endpoint.clone(),
            token_endpoint: before.token_endpoint.clone(),
            userinfo_endpoint: before.userinfo_endpoint.clone(),
            jwks_uri: before.jwks_uri.clone(),
            by_form: before.by_form,
            keys: self.keys(&before.jwks_uri).await?,
            since: before.since,
            keys_since: Instant::now(),
        });
        state.known = Some(Arc::clone(&known));
        Ok(known)
    }

    async fn discover(&self) -> Result<Known, Trouble> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let (status, body) = self.ask(self.client.get(&url)).await?;
        if status != StatusCode::OK {
            return Err(Trouble::Away(format!("{url} answered {status}")));
        }
        let found: Discovery = serde_json::from_slice(&body)
            .map_err(|error| Trouble::Away(format!("{url} tells of no provider: {error}")))?;
        if found.issuer != self.issuer {
            return Err(Trouble::Away(format!("it calls itself {:?} (issuer)", found.issuer)));
        }
        let endpoint = |url: &str| {
            let safe = Some(url).filter(|url| is_safe(url)).and_then(|url| Url::parse(url).ok());
            safe.ok_or_else(|| Trouble::Away(format!("{url:?} is not reached over TLS")))
        };
        let methods = found.token_endpoint_auth_methods_supported.unwrap_or_default();
        let has = |name: &str| methods.iter().any(|method| method == name);
        let jwks_uri = endpoint(&found.jwks_uri)?;
        Ok(Known {
            authorization_endpoint: endpoint(&found.authorization_endpoint)?,
            token_endpoint: endpoint(&found.token_endpoint)?,
            userinfo_endpoint: found.userinfo_endpoint.as_deref().map(endpoint).transpose()?,
            by_form: has("client_secret_post") && !has("client_secret_basic"),
            keys: self.keys(&jwks_uri).await?,
            jwks_uri,
            since: Instant::now(),
            keys_since: Instant::now(),
        })
    }

    async fn keys(&self, url: &Url) -> Result<Vec<Key>, Trouble> {
        let (status, body) = self.ask(self.client.get(url.clone())).await?;
        if status != StatusCode::OK {
            return Err(Trouble::Away(format!("{url} answered {status}")));
        }
        keys::read(&body).map_err(|problem| Trouble::Away(format!("{url}: {problem}")))
    }

    /// What it gives for a code.
    pub(super) async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
    ) -> Result<Redeemed, Trouble> {
        // Never closed.
        let _place = self.redeeming.acquire().await;
        let known = self.known().await?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        let mut request = self.client.post(known.token_endpoint.clone());
        if known.by_form {
            form.extend([("client_id", self.client_id.as_str()), ("client_secret", self.secret.expose())]);
        } else {
            // Both are encoded before they are put together (RFC 6749, 2.3.1).
            request = request.basic_auth(encoded(&self.client_id), Some(encoded(self.secret.expose())));
        }
        let body = serde_urlencoded::to_string(form).map_err(|error| Trouble::Away(error.to_string()))?;
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let (status, body) = self.ask(request.header("accept", "application/json")).await?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| Trouble::Away(format!("it gave no id token: {error}")));
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(Refusal { error, error_description }) => {
                let why = error_description.map(|why| format!(": {why}")).unwrap_or_default();
                let words: String =
                    format!("{error}{why}").chars().filter(|c| !c.is_control()).take(300).collect();
                // That is about this server, and not about whoever logs in.
                if matches!(error.as_str(), "invalid_client" | "unauthorized_client")
                    || status.is_server_error()
                {
                    return Err(Trouble::Away(format!("it does not answer to this server: {words}")));
                }
                Err(Trouble::Refused(format!("the provider does not take the code: {words}")))
            }
            Err(_) => Err(Trouble::Away(format!("{} answered {status}", known.token_endpoint))),
        }
    }

    /// What it tells of whoever the token is of.
    pub(super) async fn user(&self, access_token: &str) -> Result<Map<String, Value>, Trouble> {
        let known = self.known().await?;
        let Some(url) = &known.userinfo_endpoint else { return Ok(Map::new()) };
        let (status, body) = self.ask(self.client.get(url.clone()).bearer_auth(access_token)).await?;
        if !status.is_success() {
            return Err(Trouble::Away(format!("{url} answered {status}")));
        }
        serde_json::from_slice(&body).map_err(|error| Trouble::Away(format!("{url}: {error}")))
    }

    async fn ask(&self, request: RequestBuilder) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let away = |error: reqwest::Error| Trouble::Away(chain(&error.without_url()));
        let mut response = request.send().await.map_err(away)?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(Trouble::Away(format!("an answer has more than {LARGEST} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}

fn encoded(text: &str) -> String {
    serde_urlencoded::to_string([("", text)]).map_or_else(|_| text.to_owned(), |pair| pair[1..].to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_is_encoded_as_a_form() {
        assert_eq!(super::encoded("a:b c+%ü"), "a%3Ab+c%2B%25%C3%BC");
    }
}
