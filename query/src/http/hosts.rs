//! `/api/v1/hosts`: the agents, and how they are.

use super::{Api, ApiError, described::Time};
use crate::hosts::{Host, State as HostState};
use axum::{Json, extract::State};
use millrace_model::{AgentId, InstanceId, Timestamp};
use millrace_store::Leaf;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// The agents that have said how they are in the last seven days, by host.
#[derive(Serialize, ToSchema)]
pub(super) struct HostList {
    hosts: Vec<HostTold>,
}

/// An agent, and what it said last.
#[derive(Serialize, ToSchema)]
#[schema(as = Host)]
struct HostTold {
    host: String,
    state: HostState,
    /// What stands in its way.
    #[schema(required)]
    problem: Option<String>,
    /// When the topic took its last word, by the topic's clock.
    #[schema(value_type = Time)]
    seen: Timestamp,
    #[schema(value_type = String)]
    agent: AgentId,
    /// Where its state lives.
    #[schema(value_type = String)]
    instance: InstanceId,
    /// The program's version.
    millrace: String,
    /// What its settings come to: the same where they are.
    config: String,
    /// By its own clock.
    #[schema(value_type = Time)]
    started: Timestamp,
    /// So often it says how it is.
    interval_seconds: u64,
    /// Open sources, by kind.
    sources: BTreeMap<String, u64>,
    /// What is not read yet, or waits in spools.
    backlog_bytes: u64,
    /// For how long something has lain there unread.
    backlog_seconds: u64,
    /// What the topic has not acknowledged yet.
    in_flight_bytes: u64,
    /// What it has acknowledged since the agent started.
    shipped_records: u64,
    /// How far its clock is ahead of the topic's.
    clock_skew_ms: i64,
}

/// All hosts whose agents have said how they are in the last seven days.
#[utoipa::path(
    get,
    path = "/api/v1/hosts",
    tag = "state",
    operation_id = "hosts",
    responses((status = 200, description = "The hosts", body = HostList))
)]
pub(super) async fn list<L: Leaf + 'static>(
    State(api): State<Arc<Api<L>>>,
) -> Result<Json<HostList>, ApiError> {
    let hosts = api
        .hosts
        .list()
        .await
        .map_err(|error| ApiError::unavailable("heartbeats cannot be read", &error.into()))?;
    Ok(Json(HostList { hosts: hosts.into_iter().map(describe).collect() }))
}

fn describe(host: Host) -> HostTold {
    let clock_skew_ms = host.clock_skew_ms();
    let Host { heartbeat: beat, seen, state } = host;
    HostTold {
        host: beat.host,
        state,
        problem: beat.problem,
        seen,
        agent: beat.agent,
        instance: beat.instance,
        millrace: beat.millrace,
        config: beat.config,
        started: beat.started,
        interval_seconds: beat.interval_seconds,
        sources: beat.sources,
        backlog_bytes: beat.backlog_bytes,
        backlog_seconds: beat.backlog_seconds,
        in_flight_bytes: beat.in_flight_bytes,
        shipped_records: beat.shipped_records,
        clock_skew_ms,
    }
}
