//! The table of contents of the API.

use super::{
    ApiError, alerts, audit, catalogue, context, dead_letters, export, fields, gzip, hosts, login, loki,
    openapi, page,
    parameters::Asking,
    pipeline, proposals, reprocess, rules, search, silences,
    streams::{self, Kept, TopicKeeps},
    summaries, tail, tokens, traffic, triage,
};
use crate::{
    Searcher,
    alert::{RuleBook, receivers::Receivers},
    dead_letters::DeadLetters,
    elastic,
    hosts::Hosts,
    login::Login,
    tail::Feed,
};
use axum::{
    Router,
    http::Uri,
    middleware,
    routing::{delete, get, post, put},
};
use millrace_listen::{Asked, Caller, Callers, Role, asks};
use millrace_model::{Masks, Sight};
use millrace_store::Leaf;
use millrace_transport::Topic;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// What handlers share.
pub struct Api<L> {
    /// Answers searches.
    pub searcher: Searcher<L>,
    /// How long a search may take.
    pub timeout: Duration,
    /// How many bytes of memory each part of a query's pipes may take.
    pub query_memory: usize,
    /// What is hidden from who may not see it.
    pub masks: Masks,
    /// The rules in use and the broken ones.
    pub rules: Arc<RuleBook>,
    /// Who can be told of alerts.
    pub receivers: Receivers,
    /// Rung when people have changed who is told of what.
    pub alerts_changed: Arc<Notify>,
    /// How long the records of streams are kept.
    pub kept: Kept,
    /// How long the topic keeps what was sent through it.
    pub topic_keeps: TopicKeeps,
    /// What everything comes through.
    pub topic: Topic,
    /// What could not be taken in.
    pub dead_letters: DeadLetters,
    /// The agents, and how they are.
    pub hosts: Hosts,
    /// Records as they come in.
    pub feed: Feed,
    /// What Elasticsearch's API keeps.
    pub elastic: elastic::Kept,
    /// The API's description, as [`super::document`] puts it together.
    pub described: Arc<serde_json::Value>,
    /// All who are known; `None`: nobody has to say who they are.
    pub callers: Option<Arc<Callers>>,
    /// Logs people in; `None`: nobody can.
    pub login: Option<Arc<Login>>,
}

impl<L> Api<L> {
    /// What this caller may see.
    pub(super) fn sight(&self, caller: &Caller) -> Sight {
        caller.sight(&self.masks)
    }

    /// What holds for this caller now.
    pub(super) fn asking(&self, caller: &Caller) -> Asking
    where
        L: Leaf,
    {
        Asking { now: self.searcher.now(), memory: self.query_memory, sight: self.sight(caller) }
    }
}

/// All paths but the probes, which every role has. Who asks is known by then: [`millrace_listen::Access`] stands before them.
pub fn router<L: Leaf + 'static>(api: Arc<Api<L>>) -> Router {
    // Whoever answers these looks at the streams that the caller may see.
    let search = Router::new()
        .route("/api/v1/search", get(search::get::<L>).post(search::post::<L>))
        .route("/api/v1/context", get(context::context::<L>))
        .route("/api/v1/export", get(export::export::<L>))
        .route("/api/v1/tail", get(tail::tail::<L>))
        .route("/api/v1/records/{id}", get(search::record::<L>))
        .route("/api/v1/fields", get(fields::list::<L>))
        .route("/api/v1/fields/{name}/values", get(summaries::values::<L>))
        .route("/api/v1/patterns", get(summaries::patterns::<L>))
        .merge(loki::router::<L>());
    let streams = Router::new().route("/api/v1/streams", get(streams::list::<L>));
    // These tell of all streams.
    let state = Router::new()
        .route("/api/v1/audit", get(audit::audit::<L>))
        .route("/api/v1/traffic", get(traffic::list::<L>))
        .route("/api/v1/hosts", get(hosts::list::<L>))
        .route("/api/v1/pipeline", get(pipeline::show::<L>))
        .route("/api/v1/catalogue", get(catalogue::show::<L>))
        .route("/api/v1/catalogue/reprocess", get(reprocess::list::<L>))
        .route("/api/v1/streams/{name}/deletions", get(streams::deletions::<L>))
        .route("/api/v1/alerts", get(alerts::list::<L>))
        .route("/api/v1/alerts/{id}", get(alerts::one::<L>))
        .route("/api/v1/silences", get(silences::list::<L>))
        .route("/api/v1/silences/preview", post(silences::preview::<L>))
        .route("/api/v1/rules", get(alerts::rules::<L>))
        .route("/api/v1/coverage", get(rules::coverage::<L>));
    // Through all streams, and told in the audit trail.
    let tests = Router::new()
        .route("/api/v1/rules/{id}/backtest", get(rules::backtest::<L>))
        .route("/api/v1/rules/{id}/proposals", get(proposals::show::<L>));
    let administer = Router::new()
        .route("/api/v1/streams/{name}/delete", post(streams::delete::<L>))
        .route("/api/v1/streams/{name}/hold", put(streams::hold::<L>).delete(streams::release::<L>))
        .route("/api/v1/catalogue/reprocess", post(reprocess::ask::<L>))
        .route("/api/v1/alerts/{id}/ack", post(triage::acknowledge::<L>).delete(triage::unacknowledge::<L>))
        .route("/api/v1/alerts/{id}/assign", post(triage::assign::<L>))
        .route("/api/v1/alerts/{id}/close", post(triage::close::<L>))
        .route("/api/v1/alerts/{id}/verdict", post(triage::judge::<L>).delete(triage::unjudge::<L>))
        .route("/api/v1/silences", post(silences::add::<L>))
        .route("/api/v1/silences/{id}", delete(silences::end::<L>))
        .route("/api/v1/receivers/{name}/test", post(silences::test::<L>))
        .route("/api/v1/tokens", get(tokens::list::<L>).post(tokens::add::<L>))
        .route("/api/v1/tokens/{name}", delete(tokens::revoke::<L>))
        .route("/api/v1/dead-letters", get(dead_letters::list::<L>))
        .route("/api/v1/dead-letters/{number}", get(dead_letters::one::<L>))
        .route("/api/v1/dead-letters/replay", post(dead_letters::replay::<L>));
    Router::new()
        .route("/", get(page::index))
        .route("/api/v1/openapi.json", get(openapi::show::<L>))
        .route("/auth/login", get(login::begin::<L>))
        .route("/auth/callback", get(login::back::<L>))
        .route("/auth/logout", post(login::end::<L>))
        .route("/api/v1/me", get(login::me))
        .merge(asks(Asked::Role(Role::Read), true, search))
        .merge(asks(Asked::Role(Role::Read), false, streams))
        .merge(asks(Asked::InAll(Role::Read), false, state))
        .merge(asks(Asked::InAll(Role::Read), true, tests))
        .merge(asks(Asked::Role(Role::Admin), true, administer))
        // One path of it may read, and another write.
        .merge(super::elastic::router::<L>())
        .method_not_allowed_fallback(|| async { ApiError::Method })
        .fallback(|uri: Uri| async move { ApiError::NotFound(format!("no path {}", uri.path())) })
        .layer(middleware::from_fn(gzip::compress))
        .with_state(api)
}
