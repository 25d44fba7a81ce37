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
use serde::Serialize;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::{OpenApi, ToSchema};

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
            .route("/healthz", get(healthy))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/version", get(version))
            .with_state(Arc::new(self))
    }
}

/// The probes, described.
pub(crate) fn described() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(healthy, ready, metrics, version))]
    struct Described;
    Described::openapi()
}

/// The process lives.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "process",
    operation_id = "healthz",
    responses((status = 200, description = "`ok`", body = String, content_type = "text/plain; charset=utf-8"))
)]
async fn healthy() -> &'static str {
    "ok\n"
}

/// Can it do what it is there for?
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
struct Ready {
    ready: bool,
    /// What stands in its way.
    problems: Vec<String>,
}

/// Can it do what it is there for?
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "process",
    operation_id = "readyz",
    responses(
        (status = 200, description = "It can", body = Ready),
        (status = 503, description = "It cannot", body = Ready)
    )
)]
async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let problems: Vec<String> = admin.readiness.iter().flat_map(|readiness| readiness()).collect();
    let ready = problems.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, problems })).into_response()
}

/// Which program answers.
#[derive(Serialize, ToSchema)]
struct Version {
    #[schema(value_type = String)]
    version: &'static str,
}

/// Which program answers.
#[utoipa::path(
    get,
    path = "/version",
    tag = "process",
    operation_id = "version",
    responses((status = 200, description = "This one", body = Version))
)]
async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION") })
}

/// All metrics, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "process",
    operation_id = "metrics",
    responses((
        status = 200,
        description = "OpenMetrics",
        body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    ))
)]
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
