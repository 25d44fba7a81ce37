//! What every role serves: `/healthz`, `/readyz` with its reasons, `/metrics` for Prometheus, `/version`.

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use millrace_listen::{Listener, Tls};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use serde_json::json;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Says why it is not ready; nothing: it is.
pub(crate) type Readiness = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the probes look at.
pub(crate) struct Admin {
    pub(crate) registry: Registry,
    pub(crate) readiness: Vec<Readiness>,
}

impl Admin {
    /// Nothing to look at yet.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register(
            "millrace_build",
            "This program",
            prometheus_client::metrics::info::Info::new(
                build.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
            ),
        );
        Self { registry, readiness: Vec::new() }
    }

    /// Asks this before the process calls itself ready.
    pub(crate) fn ready_if(&mut self, readiness: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.readiness.push(Box::new(readiness));
    }

    /// The probes' paths.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/version", get(|| async { Json(json!({ "version": env!("CARGO_PKG_VERSION") })) }))
            .with_state(Arc::new(self))
    }
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let problems: Vec<String> = admin.readiness.iter().flat_map(|readiness| readiness()).collect();
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": problems.is_empty(), "problems": problems }))).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Takes a port, so that an occupied one ends the start with a clear word.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = millrace_listen::patiently(|| TcpListener::bind(address)).await;
    bound.map_err(|error| anyhow::anyhow!("{address} cannot be listened on: {error}"))
}

/// The most connections at once to the probes of a role.
const MAX_CONNECTIONS: usize = 1_000;

/// How a role is reached.
pub(crate) struct Reached {
    pub(crate) listener: Listener,
    pub(crate) tls: Option<Tls>,
    pub(crate) max_connections: usize,
}

impl Admin {
    /// Of its open connections, and what is turned away.
    pub(crate) fn listener(&mut self, stop: CancellationToken) -> Listener {
        let (open, turned_away) = (Gauge::default(), Family::<Reason, Counter>::default());
        let metrics = self.registry.sub_registry_with_prefix("millrace_http");
        metrics.register(
            "connections",
            "Open connections to the address that this role listens on",
            open.clone(),
        );
        metrics.register(
            "rejected_connections",
            "Connections that were turned away, by reason",
            turned_away.clone(),
        );
        let turned_away = move |reason| {
            turned_away.get_or_create(&Reason { reason }).inc();
        };
        Listener { name: "http".into(), stop, open, turned_away: Arc::new(turned_away) }
    }
}

impl Reached {
    /// In the clear.
    pub(crate) fn plainly(listener: Listener) -> Self {
        Self { listener, tls: None, max_connections: MAX_CONNECTIONS }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}
