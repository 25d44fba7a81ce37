//! The door of those who answer people: TLS, who may ask, and the audit trail of what was asked.

use super::Base;
use crate::{
    admin::Reached,
    settings::Settings,
    trail::{self, Trail},
};
use axum::Router;
use millrace_listen::{Access, PROTOCOLS, Tokens};
use std::sync::Arc;

/// Anybody may ask for these: whether it is there, what it is, and the page, which shows nothing by itself.
const OPEN: &[&str] = &["/", "/healthz", "/readyz", "/version"];
/// These tell of all streams.
const OF_ALL: &[&str] = &["/metrics"];

/// What stands before the paths.
pub(super) struct Guard {
    access: Access,
    /// `None`: nothing is noted where nobody says who they are.
    trail: Option<Trail>,
}

impl Guard {
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
pub(super) fn open(base: &mut Base, settings: &Settings) -> anyhow::Result<(Reached, Guard)> {
    let query = &settings.query;
    let listener = base.admin.listener(base.shutdown.clone());
    let tls = listener.tls(query.tls.as_ref(), PROTOCOLS)?;
    let reached = Reached { listener, tls, max_connections: query.max_connections };
    let tokens = match &query.auth {
        None => {
            tracing::warn!(
                "nobody has to say who they are: whoever reaches this address may do all (no [query.auth])"
            );
            None
        }
        Some(auth) => {
            let tokens = Tokens::open(&auth.tokens_file, Arc::clone(&base.clock))?;
            let (kept, stop) = (Arc::clone(&tokens), base.shutdown.clone());
            base.tasks.spawn(async move {
                kept.keep_up(stop).await;
                Ok(())
            });
            Some(tokens)
        }
    };
    let trail = tokens.is_some().then(|| {
        let ingest = settings.ingest.as_ref().map(|_| base.ingest.clone());
        let (trail, keep) = Trail::begin(ingest, &mut base.admin.registry, Arc::clone(&base.clock));
        base.tasks.spawn(keep.run(base.shutdown.clone()));
        trail
    });
    Ok((reached, Guard { access: Access::new(tokens, OPEN, OF_ALL), trail }))
}
