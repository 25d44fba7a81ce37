//! Somebody who asks, as far as they are known: roles, streams, and whether that still holds.

use crate::Turned;
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use millrace_model::{Grant, Masks, Sight, StreamName, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// What somebody may do. Nobody may do what is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Search in granted streams.
    Read,
    /// Hand records in to granted streams.
    Write,
    /// All of it, in all streams.
    Admin,
    /// See what is hidden from others in granted streams.
    Unmask,
}

impl Role {
    /// As it is spelled in a file of tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Unmask => "unmask",
        }
    }

    /// The role of this name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin, Self::Unmask].into_iter().find(|role| role.name() == name)
    }
}

/// What somebody may do, and where.
pub type Grants = BTreeMap<Role, Grant>;

static NOTHING: Grant = Grant::Streams(BTreeSet::new());

/// By what somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Nobody has to say who they are.
    Nothing,
    /// A token.
    Token,
    /// A session, after a login.
    Session,
}

impl Means {
    /// As the API says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Token => "token",
            Self::Session => "session",
        }
    }
}

/// Who asks. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Known>);

#[derive(Debug)]
struct Known {
    means: Means,
    name: Option<String>,
    subject: Option<String>,
    /// What no other caller has.
    key: Option<String>,
    /// What they may do, and where.
    grants: Grants,
    until: Option<Timestamp>,
    ends: CancellationToken,
}

impl Caller {
    /// Anybody, where nobody has to say who they are: they may do all.
    pub fn anybody() -> Self {
        Self(Arc::new(Known {
            means: Means::Nothing,
            name: None,
            subject: None,
            key: None,
            grants: [(Role::Admin, Grant::All)].into(),
            until: None,
            ends: CancellationToken::new(),
        }))
    }

    /// Whoever shows this token.
    pub(super) fn of_token(name: &str, roles: &[Role], grant: &Grant, until: Option<Timestamp>) -> Self {
        let name = Some(name.to_owned());
        let grants = roles.iter().map(|role| (*role, grant.clone())).collect();
        Self::known(Means::Token, name.clone(), None, name, grants, until)
    }

    /// Whoever has logged in.
    pub(super) fn of_session(name: &str, subject: &str, grants: &Grants, until: Timestamp) -> Self {
        let (name, subject) = (Some(name.to_owned()), Some(subject.to_owned()));
        // No token's name has a colon.
        let key = subject.as_ref().map(|subject| format!("subject:{subject}"));
        Self::known(Means::Session, name, subject, key, grants.clone(), Some(until))
    }

    fn known(
        means: Means,
        name: Option<String>,
        subject: Option<String>,
        key: Option<String>,
        grants: Grants,
        until: Option<Timestamp>,
    ) -> Self {
        let ends = CancellationToken::new();
        Self(Arc::new(Known { means, name, subject, key, grants, until, ends }))
    }

    /// By what they are known.
    pub fn means(&self) -> Means {
        self.0.means
    }

    /// The name of the token, or of the person; `None`: nobody has to show one.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// What the provider calls the person; `None`: it is none.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// What tells them from all other callers: a person may be called as a token is. `None`: nobody has to say who they are.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// What they may do, and where: an administrator everywhere, whatever it says.
    pub fn grants(&self) -> &Grants {
        &self.0.grants
    }

    /// The streams that they may see; of whoever may see none, those that they may write to.
    pub fn grant(&self) -> &Grant {
        self.granted(Role::Read).or_else(|| self.granted(Role::Write)).unwrap_or(&NOTHING)
    }

    /// What they may see, where these fields are hidden from who has not the role `unmask`.
    pub fn sight(&self, masks: &Masks) -> Sight {
        let clear = self.granted(Role::Unmask).unwrap_or(&NOTHING);
        Sight { grant: self.grant().clone(), masks: masks.but_for(clear.clone()) }
    }

    /// Where they may do this, if anywhere.
    fn granted(&self, role: Role) -> Option<&Grant> {
        let grants = &self.0.grants;
        if grants.contains_key(&Role::Admin) { Some(&Grant::All) } else { grants.get(&role) }
    }

    /// Until when this holds, if nobody ends it before; `None`: without an end.
    pub fn until(&self) -> Option<Timestamp> {
        self.0.until
    }

    /// It does not hold any more.
    pub(super) fn end(&self) {
        self.0.ends.cancel();
    }

    /// Waits until this does not hold any more: it was revoked or changed, or its time is over.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.ends.clone().cancelled_owned()
    }

    /// What is said to whoever is in the middle of something then.
    pub fn why_ended(&self) -> Turned {
        let who = self.described();
        let why = format!("{who} does not hold any more: it was ended or changed, or its time is over");
        Turned::new(StatusCode::UNAUTHORIZED, "unauthorized", why)
    }

    fn described(&self) -> String {
        let name = self.name().unwrap_or_default();
        match self.0.means {
            Means::Session => format!("the session of {name}"),
            Means::Token | Means::Nothing => format!("the token {name}"),
        }
    }

    /// May they do this, in the streams that are granted?
    ///
    /// # Errors
    /// They may not.
    pub fn may(&self, role: Role) -> Result<(), Turned> {
        let lacks = || self.forbidden(&format!("has not the role {}", role.name()));
        self.granted(role).map(drop).ok_or_else(lacks)
    }

    /// May they do this in all streams?
    ///
    /// # Errors
    /// They may not.
    pub fn may_in_all(&self, role: Role) -> Result<(), Turned> {
        self.may(role)?;
        match self.granted(role) {
            Some(Grant::All) => Ok(()),
            _ => Err(self.forbidden("is for some streams, and this is about all of them")),
        }
    }

    /// May they hand records in to this stream?
    ///
    /// # Errors
    /// They may not; to the audit trail nobody may.
    pub fn may_write(&self, stream: &StreamName) -> Result<(), Turned> {
        self.may(Role::Write)?;
        if stream.is_audit() {
            let why = format!("{stream} is written by Millrace alone");
            return Err(Turned::new(StatusCode::FORBIDDEN, "forbidden", why));
        }
        if self.granted(Role::Write).is_some_and(|grant| grant.covers(stream)) {
            return Ok(());
        }
        Err(self.forbidden(&format!("is not for the stream {stream}")))
    }

    fn forbidden(&self, why: &str) -> Turned {
        Turned::new(StatusCode::FORBIDDEN, "forbidden", format!("{} {why}", self.described()))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Turned;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Turned> {
        let unguarded = || {
            tracing::error!(path = parts.uri.path(), "a path is answered that nobody guards");
            Turned::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "nobody has looked at who asks")
        };
        parts.extensions.get().cloned().ok_or_else(unguarded)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn grant(names: &[&str]) -> Grant {
        Grant::Streams(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    #[test]
    fn nobody_may_what_is_not_said() {
        let stream = |name: &str| name.parse::<StreamName>().unwrap();
        let named = |name, role, streams: &[&str]| Caller::of_token(name, &[role], &grant(streams), None);
        let reader = named("r", Role::Read, &["app"]);
        assert!(reader.may(Role::Read).is_ok() && reader.may(Role::Write).is_err());
        assert!(reader.may_in_all(Role::Read).is_err() && reader.may_write(&stream("app")).is_err());
        let writer = named("w", Role::Write, &["app"]);
        assert!(writer.may(Role::Read).is_err() && writer.may_write(&stream("app")).is_ok());
        assert_eq!(
            writer.may_write(&stream("web")).unwrap_err().message,
            "the token w is not for the stream web"
        );
        let admin = named("a", Role::Admin, &[]);
        assert!(admin.may_in_all(Role::Read).is_ok() && admin.may_write(&stream("web")).is_ok());
        assert!(Caller::anybody().may_in_all(Role::Admin).is_ok());
        for caller in [admin, Caller::anybody()] {
            assert!(caller.may_write(&stream(StreamName::AUDIT)).is_err());
        }
    }

    #[test]
    fn what_may_be_read_and_what_may_be_written_are_two_things() {
        let stream = |name: &str| name.parse::<StreamName>().unwrap();
        let grants = [(Role::Read, grant(&["app"])), (Role::Write, Grant::All)].into();
        let both = Caller::of_session("ann", "1", &grants, Timestamp::from_millis(1));
        assert!(both.grant().covers(&stream("app")) && !both.grant().covers(&stream("web")));
        assert!(both.may_write(&stream("web")).is_ok() && both.may_in_all(Role::Write).is_ok());
        assert!(both.may_in_all(Role::Read).is_err() && both.may(Role::Admin).is_err());
    }

    #[test]
    fn a_person_is_no_token_of_the_same_name() {
        let until = Timestamp::from_millis(1);
        let grants = [(Role::Read, grant(&["app"]))].into();
        let person = Caller::of_session("ann", "ann", &grants, until);
        let token = Caller::of_token("ann", &[Role::Read], &grant(&["app"]), None);
        assert_eq!((person.name(), token.name()), (Some("ann"), Some("ann")));
        assert_ne!(person.key(), token.key());
        assert_eq!(person.may(Role::Write).unwrap_err().message, "the session of ann has not the role write");
    }
}
