//! Where the process that an agent lives in hands records over: at the address at which people ask, into a spool like that of any
//! pushed source. What was acknowledged is on the disk.
//!
//! | path | what |
//! |---|---|
//! | `POST /api/v1/ingest` | lines, read by `format` (`json` unless it is said), into `stream` |
//! | `POST /v1/logs` | OTLP over HTTP, into `stream` |
//! | `POST /loki/api/v1/push` | as Loki's clients push, JSON or protobuf, into `stream` |
//!
//! Who asks is known by then, and may write to the streams that are granted. Agents come and go with their settings; requests wait a
//! moment for the next one.
#![expect(unused_qualifications, reason = "what utoipa writes is qualified where it need not be")]

use crate::{
    settings::{IngestSettings, of_this_host_as},
    source::{
        http, loki, otlp,
        pushed::{Encoded, Inlet, Later, Taken},
    },
};
use axum::{
    Extension, Router,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use millrace_intake::{Parser, Parsers};
use millrace_listen::{Audited, Caller, From, Listener, Turned, WebSettings, behind_door};
use millrace_model::{LogRecord, StreamName};
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, OpenApi};

/// How long a request waits for an agent.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module. Cloning is cheap, and is the same.
#[derive(Clone)]
pub struct Ingest(Arc<watch::Sender<Option<Open>>>);

#[derive(Clone)]
struct Open {
    inlet: Inlet,
    settings: IngestSettings,
}

/// What a request says in its query string.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Parameters {
    /// Where the records belong; absent: to `logs`.
    #[param(value_type = Option<String>)]
    stream: Option<StreamName>,
    /// How lines are read: `auto`, `json`, `logfmt`, `syslog`, `access`, `cef`, `leef`, `raw`, …; of OTLP nothing.
    #[param(default = "json")]
    format: Option<String>,
}

impl Default for Ingest {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Ingest {
    pub(crate) fn open(&self, inlet: Inlet, settings: &IngestSettings) {
        self.0.send_replace(Some(Open { inlet, settings: settings.clone() }));
    }

    pub(crate) fn close(&self) {
        self.0.send_replace(None);
    }

    async fn get(&self) -> Result<Open, Later> {
        let mut opened = self.0.subscribe();
        let open = timeout(PATIENCE, opened.wait_for(Option::is_some)).await;
        let open = open.ok().and_then(Result::ok).and_then(|open| open.clone());
        open.ok_or_else(|| {
            Later("nothing is taken in now: the agent here is being stopped or started".to_owned())
        })
    }

    /// Brings records of a stream to the disk; when this returns well, they are there.
    ///
    /// # Errors
    /// Nothing is taken now. Of what fails some may be there.
    pub async fn put(&self, stream: &StreamName, records: Vec<LogRecord>) -> Result<Taken, Later> {
        let open = self.get().await?;
        open.inlet.put(Encoded::in_stream(records, stream)).await
    }

    /// These paths, described; Loki's is Loki's to describe.
    pub fn described() -> utoipa::openapi::OpenApi {
        #[derive(OpenApi)]
        #[openapi(paths(lines, otlp))]
        struct Described;
        Described::openapi()
    }

    /// The paths that take something in, each request within `max_body` bytes.
    pub fn router(&self, max_body: usize) -> Router {
        let taken = self.clone();
        let listener = Listener {
            name: "ingest".into(),
            stop: CancellationToken::new(),
            open: Gauge::default(),
            turned_away: Arc::new(move |reason| {
                if let Some(open) = &*taken.0.borrow() {
                    open.inlet.rejected(reason);
                }
            }),
        };
        let router = Router::new()
            .route("/api/v1/ingest", post(lines))
            .route("/v1/logs", post(otlp))
            .route("/loki/api/v1/push", post(loki))
            .with_state(self.clone());
        behind_door(router, listener, WebSettings { max_body, ..WebSettings::default() })
    }
}

type Given = Result<Query<Parameters>, QueryRejection>;
type Sender = Option<Extension<From>>;

fn address(from: Sender) -> IpAddr {
    from.map_or(IpAddr::from([127, 0, 0, 1]), |Extension(From(address))| address)
}

/// What is asked for, and where it is taken in, if the caller may write there.
async fn begin(
    ingest: &Ingest,
    caller: &Caller,
    parameters: Given,
) -> Result<(Open, StreamName, Parsers), Response> {
    let bad = |why: String| Turned::new(StatusCode::BAD_REQUEST, "parameter_invalid", why).into_response();
    let Query(Parameters { stream, format }) = parameters.map_err(|error| bad(error.body_text()))?;
    let format = match format.as_deref() {
        Some("raw") => "none",
        Some(format) => format,
        None => "json",
    };
    let known = Parser::NAMES.iter().find(|(name, _)| *name == format);
    let Some((_, parser)) = known else {
        let names: Vec<&str> = Parser::NAMES.iter().map(|(name, _)| *name).collect();
        return Err(bad(format!("format: one of {} expected, found {format:?}", names.join(", "))));
    };
    let parse = of_this_host_as(parser.clone());
    let stream = stream.unwrap_or_default();
    if let Err(turned) = caller.may_write(&stream) {
        return Err(refused(turned, caller));
    }
    let open = ingest.get().await.map_err(Later::into_response)?;
    Ok((open, stream, parse))
}

/// Whoever may not is noted.
fn refused(turned: Turned, caller: &Caller) -> Response {
    let mut answer = turned.into_response();
    answer.extensions_mut().insert(Audited::of(Some(caller.clone())));
    answer
}

/// Takes in lines, by default of JSON, a record each.
///
/// A line that no parser reads is kept whole, with the reason.
#[utoipa::path(
    post,
    path = "/api/v1/ingest",
    tag = "ingest",
    operation_id = "ingest",
    params(Parameters),
    request_body(
        description = "Lines; packed by gzip where `content-encoding` says so",
        content((String = "application/x-ndjson"), (String = "text/plain"))
    ),
    responses(
        (status = 200, description = "They are on the disk", body = http::IngestAnswer),
        (status = 415, description = "It is packed by something else than gzip")
    )
)]
async fn lines(
    State(ingest): State<Ingest>,
    caller: Caller,
    from: Sender,
    parameters: Given,
    request: Request,
) -> Response {
    let (open, stream, parse) = match begin(&ingest, &caller, parameters).await {
        Ok(begun) => begun,
        Err(answer) => return answer,
    };
    let Open { inlet, settings } = open;
    let IngestSettings { max_line, max_body, .. } = settings;
    let shared = http::Shared { inlet, parse, max_line, max_body, stream: Some(stream) };
    Arc::new(shared).ingest(address(from), request).await
}

/// Takes in OTLP's logs, as OpenTelemetry's clients send them over HTTP.
#[utoipa::path(
    post,
    path = "/v1/logs",
    tag = "ingest",
    operation_id = "exportLogs",
    params(Parameters),
    request_body(
        description = "An `ExportLogsServiceRequest`; packed by gzip where `content-encoding` says so",
        content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))
    ),
    responses(
        (
            status = 200,
            description = "They are on the disk: an `ExportLogsServiceResponse` as the request was",
            content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))
        ),
        (
            status = 400,
            description = "It is no such request: a `google.rpc.Status` as the request was, or an error as of other paths",
            content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))
        ),
        (status = 415, description = "It is neither, or packed by something else than gzip"),
        (
            status = 503,
            description = "Nothing is taken in now: a `google.rpc.Status` as the request was, or an error as of other paths",
            content((Object = "application/json"), (Vec<u8> = "application/x-protobuf"))
        )
    )
)]
async fn otlp(State(ingest): State<Ingest>, caller: Caller, parameters: Given, request: Request) -> Response {
    match begin(&ingest, &caller, parameters).await {
        Ok((Open { inlet, settings }, stream, _)) => {
            let shared = otlp::Shared { inlet, max_body: settings.max_body, stream: Some(stream) };
            Arc::new(shared).export(request).await
        }
        Err(answer) => answer,
    }
}

async fn loki(State(ingest): State<Ingest>, caller: Caller, parameters: Given, request: Request) -> Response {
    match begin(&ingest, &caller, parameters).await {
        Ok((Open { inlet, settings }, stream, _)) => {
            loki::push(inlet, settings.max_body, stream, request).await
        }
        Err(answer) => answer,
    }
}
