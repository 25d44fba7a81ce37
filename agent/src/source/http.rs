//! Lines of JSON over HTTP: a `POST` brings any number, and is answered when they are on the disk. A line that is no JSON is kept
//! whole, with the reason, and counted in the answer; no line is a reason to turn the others away.

use super::pushed::{
    Encoded, Inlet, Later, Taken,
    decoder::{Decoder, Message},
};
use crate::{Error, settings::HttpSettings};
use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use millrace_intake::{Parsers, parse::PARSE_ERROR};
use millrace_listen::{From, PROTOCOLS, RETRY_AFTER, Received, Turned, beside, receive, serve};
use millrace_model::{Attributes, LogRecord, StreamName};
use serde::Serialize;
use std::{net::IpAddr, sync::Arc};
use tokio::{net::TcpListener, task::JoinSet};
use utoipa::ToSchema;

/// What handlers share.
pub(crate) struct Shared {
    pub(crate) inlet: Inlet,
    /// How lines are read, tried in order.
    pub(crate) parse: Parsers,
    pub(crate) max_line: usize,
    pub(crate) max_body: usize,
    /// Where records belong, if not where the source's do.
    pub(crate) stream: Option<StreamName>,
}

/// What became of the lines of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IngestAnswer {
    /// Records that are on the disk.
    accepted: u64,
    /// Records that are not: they are larger than is taken in.
    rejected: u64,
    /// Of those that are, lines that no parser understood: they are kept whole.
    unparsed: u64,
}

/// Listens; the task ends when the inlet's stop is asked for.
pub(crate) async fn start(
    inlet: Inlet,
    settings: &HttpSettings,
    tasks: &mut JoinSet<()>,
) -> Result<(), Error> {
    let listener = inlet.listener();
    let tls = listener.tls(settings.web.tls.as_ref(), PROTOCOLS)?;
    let socket = listener.bind(&settings.listen, || TcpListener::bind(settings.listen)).await?;
    let HttpSettings { parse, max_line, web, .. } = settings.clone();
    let shared = Arc::new(Shared { inlet, parse, max_line, max_body: web.max_body, stream: None });
    let router = Router::new()
        .route("/", post(ingest))
        .route("/api/v1/ingest", post(ingest))
        .fallback(|| async { Turned::new(StatusCode::NOT_FOUND, "not_found", "POST / or /api/v1/ingest") })
        .with_state(shared);
    tasks.spawn(serve(socket, tls, router, listener, settings.web.clone()));
    Ok(())
}

async fn ingest(
    State(shared): State<Arc<Shared>>,
    Extension(From(from)): Extension<From>,
    request: Request,
) -> Response {
    shared.ingest(from, request).await
}

impl Shared {
    /// Takes the lines of a request in.
    pub(crate) async fn ingest(self: Arc<Self>, from: IpAddr, request: Request) -> Response {
        let shared = self;
        let (parts, body) = request.into_parts();
        let reading = Arc::clone(&shared);
        let read = async {
            let received = receive(&parts.headers, body, reading.max_body).await?;
            beside(move || reading.read(received, from)).await
        };
        let (records, unparsed) = match read.await {
            Ok(read) => read,
            Err(turned) => {
                shared.inlet.rejected(turned.code);
                return turned.into_response();
            }
        };
        match shared.inlet.put(records).await {
            Ok(Taken { accepted, rejected }) => {
                Json(IngestAnswer { accepted, rejected, unparsed }).into_response()
            }
            Err(Later(why)) => {
                let turned = Turned::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why);
                ([(header::RETRY_AFTER, RETRY_AFTER.to_string())], turned).into_response()
            }
        }
    }

    /// The records of a body, and how many of its lines no parser understood.
    fn read(&self, received: Received, from: IpAddr) -> Result<(Encoded, u64), Turned> {
        let plain = received.plain()?;
        let address = from.to_string();
        let resource = if from.is_loopback() {
            self.inlet.own_resource()
        } else {
            let mut resource = Attributes::new();
            resource.set("host.name", address.as_str());
            Arc::new(resource)
        };
        let (mut records, mut unparsed) = (Vec::<LogRecord>::new(), 0);
        let mut decoder = Decoder::lines(self.max_line);
        let mut each = |line: Message<'_>| {
            // A blank line is no record that was meant.
            if line.length == 0 {
                return;
            }
            let Some(mut record) = self.inlet.read(&line, &self.parse, &resource) else { return };
            unparsed += u64::from(record.attributes.get(PARSE_ERROR).is_some());
            record.attributes.set("network.peer.address", address.as_str());
            records.push(record);
        };
        decoder.push(&plain, &mut each);
        decoder.finish(&mut each);
        let encoded = match &self.stream {
            Some(stream) => Encoded::in_stream(records, stream),
            None => Encoded::of(&records),
        };
        Ok((encoded, unparsed))
    }
}
