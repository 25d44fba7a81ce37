//! Login of people by `OpenID` Connect: the authorization code flow, with PKCE, state and nonce. Whoever comes back from the provider with
//! a group that something is granted to gets a session, which lies in the catalogue: it holds on every node, survives restarts, and can
//! be ended. Who shows a session is found out by [`millrace_listen::Access`].
//!
//! The provider is asked only when somebody logs in: one that is away keeps nothing from starting.

mod keys;
mod provider;
mod settings;
mod token;

pub use settings::LoginSettings;

use crate::login::{
    provider::{Provider, Trouble},
    settings::Granted,
    token::{Expected, Refused},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use millrace_catalogue::{AccessSession, Added, Catalogue, MAX_SESSIONS};
use millrace_listen::{
    Caller,
    access::{Callers, Cookies, secret, session_hash},
};
use millrace_model::{Clock, chain};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};

/// Where a login begins.
pub const LOGIN: &str = "/auth/login";
/// Where the provider sends people back to.
pub const CALLBACK: &str = "/auth/callback";
/// How long a login may take.
pub const PENDING: Duration = Duration::from_mins(10);
/// The longest path that is gone to after a login, in bytes.
const MAX_NEXT: usize = 2_048;
/// The longest name, in characters.
const MAX_NAME: usize = 128;

/// Why nobody was logged in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotLoggedIn {
    /// The provider cannot be asked now, or does not answer as one.
    #[error("the provider {issuer} cannot be asked: {problem}")]
    Provider {
        /// Which.
        issuer: String,
        /// Why.
        problem: String,
    },
    /// What came back from the browser or the provider is not what was begun.
    #[error("{0}; begin again at {LOGIN}")]
    Refused(String),
    /// They are known, and nothing is granted to them.
    #[error("nothing is granted to {name}: {groups}")]
    NoGrant {
        /// Who.
        name: String,
        /// The groups that were seen.
        groups: String,
    },
    /// The session cannot be kept.
    #[error("no session can be kept now: {0}")]
    Unavailable(String),
}

/// A login that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub url: String,
    /// What it keeps until it comes back.
    pub kept: String,
}

/// Somebody has logged in.
#[derive(Debug)]
pub struct LoggedIn {
    /// What the browser shows from now on.
    pub secret: String,
    /// Who it is.
    pub name: String,
    /// The same, as they are known from now on.
    pub caller: Option<Caller>,
    /// Where the browser goes on.
    pub next: String,
}

/// What a browser keeps while somebody logs in.
struct Pending {
    state: String,
    nonce: String,
    verifier: String,
    next: String,
}

impl Pending {
    fn write(&self) -> String {
        let Self { state, nonce, verifier, next } = self;
        format!("{state}.{nonce}.{verifier}.{}", BASE64.encode(next))
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::to_owned);
        let (state, nonce, verifier, next) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let next = String::from_utf8(BASE64.decode(next).ok()?).ok()?;
        let is_whole = [&state, &nonce, &verifier].into_iter().all(|part| part.len() >= 43);
        (is_whole && is_local(&next)).then_some(Self { state, nonce, verifier, next })
    }
}

/// Is that a path of this server, and of no other, however a browser reads it?
pub fn is_local(path: &str) -> bool {
    let other = |c: char| c.is_control() || c == '\\';
    path.len() <= MAX_NEXT && path.starts_with('/') && !path.starts_with("//") && !path.contains(other)
}

/// Logs people in.
pub struct Login {
    settings: LoginSettings,
    provider: Provider,
    catalogue: Catalogue,
    callers: Arc<Callers>,
    clock: Arc<dyn Clock>,
}

impl Login {
    /// By these settings.
    ///
    /// # Errors
    /// There is no TLS.
    pub fn new(
        settings: LoginSettings,
        catalogue: Catalogue,
        callers: Arc<Callers>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        let provider = Provider::new(&settings)?;
        Ok(Self { settings, provider, catalogue, callers, clock })
    }

    /// The cookies of those who log in.
    pub fn cookies(&self) -> Cookies {
        Cookies::new(&self.settings.external_url)
    }

    /// Is that the provider, as it calls itself?
    pub fn is_of(&self, issuer: &str) -> bool {
        self.settings.issuer == issuer
    }

    /// How long a session lasts.
    pub fn lifetime(&self) -> Duration {
        self.settings.session_lifetime
    }

    /// A login that goes on at `next`, a path of this server.
    ///
    /// # Errors
    /// The provider cannot be asked, or this machine has no randomness.
    pub async fn begin(&self, next: &str) -> Result<Begun, NotLoggedIn> {
        let random = || secret().map_err(NotLoggedIn::Unavailable);
        let pending =
            Pending { state: random()?, nonce: random()?, verifier: random()?, next: next.to_owned() };
        let challenge = BASE64.encode(Sha256::digest(&pending.verifier));
        let known = self.provider.known().await.map_err(|trouble| self.not_logged_in(trouble))?;
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", &self.redirect_uri()),
            ("scope", &self.settings.scopes.join(" ")),
            ("state", &pending.state),
            ("nonce", &pending.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let mut url = known.authorization_endpoint.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        Ok(Begun { url: url.into(), kept: pending.write() })
    }

    /// Whoever comes back, with what the browser `kept` and what the provider says in the address.
    ///
    /// # Errors
    /// It is not what was begun, the provider does not vouch for it, or nothing is granted to them.
    pub async fn finish(&self, kept: &str, state: &str, code: &str) -> Result<LoggedIn, NotLoggedIn> {
        let refused = |why: &str| NotLoggedIn::Refused(why.to_owned());
        let pending = Pending::read(kept).ok_or_else(|| refused("this browser has begun no login here"))?;
        if pending.state != state {
            return Err(refused("this is not the login that this browser has begun last (state)"));
        }
        let trouble = |trouble| self.not_logged_in(trouble);
        let answer = self.provider.redeem(code, &pending.verifier, &self.redirect_uri()).await;
        let answer = answer.map_err(trouble)?;
        let claims = self.verified(&answer.id_token, &pending.nonce).await?;
        let subject = text(&claims, "sub").unwrap_or_default();
        let mut claims = claims;
        if !settings::has_claim(&claims, &self.settings.groups_claim)
            && let Some(access_token) = &answer.access_token
        {
            // Some tell of people only where they are asked.
            let more = self.provider.user(access_token).await.map_err(trouble)?;
            if text(&more, "sub").as_deref() == Some(&subject) {
                for (name, value) in more {
                    claims.entry(name).or_insert(value);
                }
            }
        }
        let name = ["preferred_username", "email", "name"].into_iter().find_map(|claim| text(&claims, claim));
        let name = shown(&name.unwrap_or_else(|| subject.clone()));
        let groups = settings::groups(&claims, &self.settings.groups_claim);
        let Some(Granted { groups, .. }) = self.settings.granted(&groups) else {
            let groups = if groups.is_empty() {
                format!("the claim {:?} names no group", self.settings.groups_claim)
            } else {
                let names: Vec<String> = groups.iter().take(50).map(|name| shown(name)).collect();
                format!("of the groups {} none has a grant", names.join(", "))
            };
            return Err(NotLoggedIn::NoGrant { name, groups });
        };
        let secret = secret().map_err(NotLoggedIn::Unavailable)?;
        let now = self.clock.now();
        let session = AccessSession {
            hash: session_hash(&secret),
            subject,
            name: name.clone(),
            groups,
            expires: now.plus(self.settings.session_lifetime),
            created: now,
        };
        let added = self.catalogue.add_session(&session).await;
        match added.map_err(|error| NotLoggedIn::Unavailable(chain(&error)))? {
            Added::Yes => {}
            Added::Exists | Added::Full => {
                let full = format!("there are {MAX_SESSIONS} sessions, which is the most");
                return Err(NotLoggedIn::Unavailable(full));
            }
        }
        self.callers.look_now().await;
        let caller = self.callers.by_session(&secret).await;
        Ok(LoggedIn { secret, name, caller, next: pending.next })
    }

    /// What an id token says, if it is the provider's, and for this login.
    async fn verified(&self, id_token: &str, nonce: &str) -> Result<Map<String, Value>, NotLoggedIn> {
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce,
            now: self.clock.now(),
        };
        let trouble = |trouble| self.not_logged_in(trouble);
        let refused =
            |why: String| NotLoggedIn::Refused(format!("the provider's id token is not good: {why}"));
        let known = self.provider.known().await.map_err(trouble)?;
        match token::verify(id_token, &known.keys, &expected) {
            Ok(claims) => Ok(claims),
            Err(Refused::Wrong(why)) => Err(refused(why)),
            // It may sign by a new one.
            Err(Refused::UnknownKey(_)) => {
                let known = self.provider.with_new_keys(&known).await.map_err(trouble)?;
                let again = token::verify(id_token, &known.keys, &expected);
                again.map_err(|why| refused(why.to_string()))
            }
        }
    }

    /// Ends the session whose secret this is. `false`: there is none.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn end(&self, secret: &str) -> Result<bool, millrace_catalogue::Error> {
        let ended = self.catalogue.end_session(&session_hash(secret)).await?;
        self.callers.look_now().await;
        Ok(ended)
    }

    fn redirect_uri(&self) -> String {
        format!("{}{CALLBACK}", self.settings.external_url)
    }

    fn not_logged_in(&self, trouble: Trouble) -> NotLoggedIn {
        match trouble {
            Trouble::Away(problem) => NotLoggedIn::Provider { issuer: self.settings.issuer.clone(), problem },
            Trouble::Refused(why) => NotLoggedIn::Refused(why),
        }
    }
}

fn text(claims: &Map<String, Value>, name: &str) -> Option<String> {
    claims.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// As it may be shown and logged.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn after_a_login_nobody_is_sent_elsewhere() {
        for path in ["/", "/?q=error&from=7d", "/api/v1/search?q=a//b", "/%2F%2Fevil"] {
            assert!(is_local(path), "{path}");
        }
        for path in
            ["", "//evil", "///evil", "/\\evil", "\\\\evil", "https://evil", "/a\r\nb", "/\t/evil", "evil"]
        {
            assert!(!is_local(path), "{path:?}");
        }
        assert!(!is_local(&format!("/{}", "a".repeat(MAX_NEXT))));
    }

    #[test]
    fn what_a_browser_keeps_is_read_again_or_not_at_all() {
        let part = |c: &str| c.repeat(64);
        let kept = Pending { state: part("a"), nonce: part("b"), verifier: part("c"), next: "/x".to_owned() };
        let text = kept.write();
        let read = Pending::read(&text).unwrap();
        assert_eq!(
            (read.state, read.nonce, read.verifier, read.next),
            (part("a"), part("b"), part("c"), "/x".into())
        );
        for text in ["", "a.b.c.d", &text[..text.len() - 4], &text.replace('a', ""), "..."] {
            assert!(Pending::read(text).is_none(), "{text}");
        }
        let evil = Pending { next: "//evil".to_owned(), ..Pending::read(&kept.write()).unwrap() };
        assert!(Pending::read(&evil.write()).is_none());
    }
}
