//! The door of those who answer people: TLS, who may ask, and the audit trail of what was asked.

use super::Base;
use crate::{
    admin::Reached,
    settings::Settings,
    trail::{self, Trail},
};
use axum::Router;
use millrace_catalogue::{AccessList, AccessSession, Catalogue};
use millrace_listen::{
    Access, Callers, PROTOCOLS,
    access::{Kept, KeptSession, KeptToken, Look},
};
use millrace_model::chain;
use millrace_query::login::{CALLBACK, LOGIN, Login, LoginSettings};
use std::sync::Arc;

/// Anybody may ask for these: whether it is there, what it is, the page, which shows nothing by itself, and how people log in.
const OPEN: &[&str] = &["/", "/healthz", "/readyz", "/version", LOGIN, CALLBACK];
/// These tell of all streams.
const OF_ALL: &[&str] = &["/metrics"];

/// What stands before the paths.
pub(super) struct Guard {
    access: Access,
    /// `None`: nobody has to say who they are.
    callers: Option<Arc<Callers>>,
    /// `None`: nobody can log in.
    login: Option<Arc<Login>>,
    /// `None`: nothing is noted where nobody says who they are.
    trail: Option<Trail>,
}

impl Guard {
    /// All who are known, if anybody has to be, and how people log in, if they can.
    pub(super) fn known(&self) -> (Option<Arc<Callers>>, Option<Arc<Login>>) {
        (self.callers.clone(), self.login.clone())
    }

    /// `router` behind it.
    pub(super) fn before(self, router: Router) -> Router {
        let guarded = self.access.guard(router);
        match self.trail {
            Some(trail) => trail::noted(guarded, trail),
            None => guarded,
        }
    }
}

/// How the address of people is reached, and what stands before its paths. Blocks on small files.
pub(super) fn open(
    base: &mut Base,
    settings: &Settings,
    catalogue: &Catalogue,
) -> anyhow::Result<(Reached, Guard)> {
    let query = &settings.query;
    let listener = base.admin.listener(base.shutdown.clone());
    let tls = listener.tls(query.tls.as_ref(), PROTOCOLS)?;
    let reached = Reached { listener, tls, max_connections: query.max_connections };
    let callers = match &query.auth {
        None => {
            tracing::warn!(
                "nobody has to say who they are: whoever reaches this address may do all (no [query.auth])"
            );
            None
        }
        Some(auth) => {
            let look = look(catalogue.clone(), query.login.clone());
            let callers = Callers::open(auth.tokens_file.as_deref(), Some(look), Arc::clone(&base.clock))?;
            let (kept, stop) = (Arc::clone(&callers), base.shutdown.clone());
            base.tasks.spawn(async move {
                kept.keep_up(stop).await;
                Ok(())
            });
            Some(callers)
        }
    };
    let trail = callers.is_some().then(|| {
        let ingest = settings.ingest.as_ref().map(|_| base.ingest.clone());
        let (trail, keep) = Trail::begin(ingest, &mut base.admin.registry, Arc::clone(&base.clock));
        base.tasks.spawn(keep.run(base.shutdown.clone()));
        trail
    });
    let mut access = Access::new(callers.clone(), OPEN, OF_ALL);
    let login = match (&callers, &query.login) {
        (Some(callers), Some(login)) => {
            let (callers, clock) = (Arc::clone(callers), Arc::clone(&base.clock));
            let login = Login::new(login.clone(), catalogue.clone(), callers, clock)?;
            access = access.with_login(LOGIN, login.cookies());
            Some(Arc::new(login))
        }
        _ => None,
    };
    Ok((reached, Guard { access, callers, login, trail }))
}

/// How what the catalogue keeps is looked at.
fn look(catalogue: Catalogue, login: Option<LoginSettings>) -> Look {
    Arc::new(move |known| {
        let (catalogue, login) = (catalogue.clone(), login.clone());
        Box::pin(async move {
            let list = catalogue.access_list(known).await.map_err(|error| chain(&error))?;
            Ok(list.map(|list| kept(list, login.as_ref())))
        })
    })
}

/// What is granted to groups is as it is configured now, whatever it was at the login.
fn kept(list: AccessList, login: Option<&LoginSettings>) -> Kept {
    let tokens = list.tokens.into_iter().map(|token| KeptToken {
        name: token.name,
        hash: token.hash,
        roles: token.roles,
        streams: token.streams,
        expires: token.expires,
    });
    let sessions = list.sessions.into_iter().filter_map(|session| {
        let grants = login?.granted(&session.groups)?.grants;
        let AccessSession { hash, subject, name, expires, .. } = session;
        Some(KeptSession { hash, subject, name, grants, expires })
    });
    Kept { version: list.version, tokens: tokens.collect(), sessions: sessions.collect() }
}
