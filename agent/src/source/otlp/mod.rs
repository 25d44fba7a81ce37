//! Logs by OpenTelemetry's own protocol, over gRPC and over HTTP (protobuf or JSON). A request is answered well when its records are
//! on the disk; where the spool takes nothing the answer says when to come again.

mod grpc;
mod http;
mod status;

use super::pushed::{Encoded, Inlet, Later, Taken};
use crate::{Error, settings::OtlpSettings};
use axum::{Router, http::StatusCode};
use millrace_listen::{PROTOCOLS, Turned, serve};
use millrace_model::{LogRecord, StreamName, Timestamp, wire::DecodeError};
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, task::JoinSet};

/// What is said of records that are dropped.
const REJECTED: &str =
    "the agent's spool is full, and its settings drop what comes then; or a record is larger than it takes";

/// What handlers share.
pub(crate) struct Shared {
    pub(crate) inlet: Inlet,
    pub(crate) max_body: usize,
    /// Where records belong, if not where the source's do.
    pub(crate) stream: Option<StreamName>,
}

/// Listens; tasks end when the inlet's stop is asked for.
pub(crate) async fn start(
    inlet: Inlet,
    settings: &OtlpSettings,
    tasks: &mut JoinSet<()>,
) -> Result<(), Error> {
    let listener = inlet.listener();
    let tls = listener.tls(settings.web.tls.as_ref(), PROTOCOLS)?;
    let shared = Arc::new(Shared { inlet: inlet.clone(), max_body: settings.web.max_body, stream: None });
    let routers: [(Option<SocketAddr>, Router); 2] =
        [(settings.grpc, grpc::router(Arc::clone(&shared))), (settings.http, http::router(shared))];
    for (address, router) in routers {
        let Some(address) = address else { continue };
        let socket = listener.bind(&address, || TcpListener::bind(address)).await?;
        tasks.spawn(serve(socket, tls.clone(), router, listener.clone(), settings.web.clone()));
    }
    Ok(())
}

impl Shared {
    /// Records that were decoded, as the spool keeps them.
    fn encode(&self, decoded: Result<Vec<LogRecord>, DecodeError>) -> Result<Encoded, Turned> {
        let mut records = decoded
            .map_err(|error| Turned::new(StatusCode::BAD_REQUEST, "undecodable", error.to_string()))?;
        let now = self.inlet.clock.now();
        for record in &mut records {
            if record.observed_timestamp == Timestamp::default() {
                record.observed_timestamp = now;
            }
        }
        Ok(match &self.stream {
            Some(stream) => Encoded::in_stream(records, stream),
            None => Encoded::of(&records),
        })
    }

    async fn put(&self, records: Encoded) -> Result<Taken, Later> {
        self.inlet.put(records).await
    }
}
