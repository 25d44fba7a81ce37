//! What every role serves: `/healthz`, `/readyz` with its reasons, `/metrics` for Prometheus, `/version`.

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
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

/// A request, with who sent it.
async fn told_from(ConnectInfo(from): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(millrace_listen::From(from.ip().to_canonical()));
    request
}

/// Serves until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let router = router.layer(middleware::map_request(told_from));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
    Ok(())
}
