//! `/api/v1/hosts`: the agents, and how they are.

use super::{Api, ApiError};
use crate::hosts::Host;
use axum::{Json, extract::State};
use millrace_store::Leaf;
use serde_json::{Value, json};
use std::sync::Arc;

/// All hosts whose agents have said how they are in the last seven days.
pub async fn list<L: Leaf + 'static>(State(api): State<Arc<Api<L>>>) -> Result<Json<Value>, ApiError> {
    let hosts = api
        .hosts
        .list()
        .await
        .map_err(|error| ApiError::unavailable("heartbeats cannot be read", &error.into()))?;
    Ok(Json(json!({ "hosts": hosts.iter().map(describe).collect::<Vec<Value>>() })))
}

fn describe(host: &Host) -> Value {
    let beat = &host.heartbeat;
    json!({
        "host": beat.host,
        "state": host.state.name(),
        "problem": beat.problem,
        "seen": host.seen.to_string(),
        "agent": beat.agent.to_string(),
        "instance": beat.instance.to_string(),
        "millrace": beat.millrace,
        "config": beat.config,
        "started": beat.started.to_string(),
        "interval_seconds": beat.interval_seconds,
        "sources": beat.sources,
        "backlog_bytes": beat.backlog_bytes,
        "backlog_seconds": beat.backlog_seconds,
        "in_flight_bytes": beat.in_flight_bytes,
        "shipped_records": beat.shipped_records,
        "clock_skew_ms": host.clock_skew_ms(),
    })
}
