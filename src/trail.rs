//! The audit trail: every search and what administrators do, with who asked, as records of a stream of their own. Also whoever was turned
//! away. It is written where tokens are asked for.
//!
//! What cannot be written there is written to the log of this process instead, and counted.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::Response,
};
use http_body_util::BodyExt;
use millrace_agent::{Ingest, Later};
use millrace_listen::{Audited, Caller, From};
use millrace_model::{Clock, LogRecord, Severity, StreamName, Timestamp, Value};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// So much of what a request says is kept, in bytes.
const SAID: usize = 4 << 10;
/// So many notes wait to be written.
const WAITING: usize = 10_000;
/// So many are written at once.
const AT_ONCE: usize = 500;
/// How long to wait where nothing is taken in.
const RETRY: Duration = Duration::from_secs(1);

/// Takes notes. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Trail {
    notes: mpsc::Sender<LogRecord>,
    elsewhere: Counter,
    clock: Arc<dyn Clock>,
}

/// Writes them.
pub(crate) struct Keeper {
    notes: mpsc::Receiver<LogRecord>,
    /// `None`: this process takes nothing in.
    ingest: Option<Ingest>,
    elsewhere: Counter,
}

impl Trail {
    /// `ingest`: what takes records in, if anything does.
    pub(crate) fn begin(
        ingest: Option<Ingest>,
        registry: &mut Registry,
        clock: Arc<dyn Clock>,
    ) -> (Self, Keeper) {
        let (sender, notes) = mpsc::channel(WAITING);
        let elsewhere = Counter::default();
        registry.sub_registry_with_prefix("millrace_audit").register(
            "logged_records",
            "Notes for the audit trail that are in the log of this process instead, because nothing took them in",
            elsewhere.clone(),
        );
        if ingest.is_none() {
            tracing::warn!(
                "the audit trail is written to this log: nothing is taken in here (no [query.ingest])"
            );
        }
        let keeper = Keeper { notes, ingest, elsewhere: elsewhere.clone() };
        (Self { notes: sender, elsewhere, clock }, keeper)
    }
}

impl Keeper {
    /// Writes until the stop, and then what is left.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut some = Vec::new();
        loop {
            let count = tokio::select! {
                count = self.notes.recv_many(&mut some, AT_ONCE) => count,
                () = stop.cancelled() => {
                    self.notes.close();
                    self.notes.recv_many(&mut some, AT_ONCE).await
                }
            };
            if count == 0 {
                return Ok(());
            }
            self.write(std::mem::take(&mut some), &stop).await;
        }
    }

    async fn write(&self, notes: Vec<LogRecord>, stop: &CancellationToken) {
        let Ok(stream) = StreamName::AUDIT.parse::<StreamName>() else { return };
        let Some(ingest) = &self.ingest else { return log(&notes, &self.elsewhere) };
        loop {
            match ingest.put(&stream, notes.clone()).await {
                Ok(_) => return,
                Err(Later(why)) if stop.is_cancelled() => {
                    tracing::error!(why, "the audit trail cannot be written");
                    return log(&notes, &self.elsewhere);
                }
                Err(Later(why)) => tracing::warn!(why, "the audit trail waits"),
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(RETRY)).await;
        }
    }
}

/// Into this process's own log.
fn log(notes: &[LogRecord], counter: &Counter) {
    for note in notes {
        counter.inc();
        let attributes = serde_json::to_string(&note.attributes).unwrap_or_default();
        tracing::info!(target: "millrace::audit", attributes, "{}", note.body.as_str().unwrap_or_default());
    }
}

/// `router`, of whose answers those that say so are noted.
pub(crate) fn noted(router: Router, trail: Trail) -> Router {
    router.layer(middleware::from_fn_with_state(trail, note))
}

async fn note(State(trail): State<Trail>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let from = request.extensions().get::<From>().map(|From(address)| address.to_string());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let said = Arc::new(Mutex::new(Vec::new()));
    let response = next.run(overheard(request, &said)).await;
    let Some(Audited { caller, outcome }) = response.extensions().get() else { return response };
    let who = caller.as_ref().map(|caller| caller.name().unwrap_or_default().to_owned());
    let subject = caller.as_ref().and_then(Caller::subject).map(str::to_owned);
    // Where there is an outcome, what was asked holds secrets.
    let query = uri.query().filter(|_| outcome.is_none()).map(str::to_owned);
    let path = uri.path().to_owned();
    let asked = Asked { who, subject, from, method, path, query, outcome: outcome.clone() };
    let mut said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
    if outcome.is_some() {
        said.clear();
    }
    let record = asked.record(&said, response.status(), started.elapsed(), trail.clock.now());
    if let Err(error) = trail.notes.try_send(record) {
        log(&[error.into_inner()], &trail.elsewhere);
    }
    response
}

/// The request, of whose body the beginning is heard here as well.
fn overheard(request: Request, said: &Arc<Mutex<Vec<u8>>>) -> Request {
    let said = Arc::clone(said);
    request.map(|body| {
        Body::new(body.map_frame(move |frame| {
            if let Some(bytes) = frame.data_ref() {
                keep(&mut said.lock().unwrap_or_else(PoisonError::into_inner), bytes);
            }
            frame
        }))
    })
}

fn keep(said: &mut Vec<u8>, bytes: &Bytes) {
    let room = SAID.saturating_sub(said.len());
    said.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

struct Asked {
    who: Option<String>,
    /// What the provider calls a person.
    subject: Option<String>,
    from: Option<String>,
    method: Method,
    path: String,
    query: Option<String>,
    outcome: Option<String>,
}

impl Asked {
    /// By OpenTelemetry's names.
    fn record(self, said: &[u8], status: StatusCode, took: Duration, now: Timestamp) -> LogRecord {
        let Self { who, subject, from, method, path, query, outcome } = self;
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let name = who.as_deref().unwrap_or("nobody who is known");
        let mut body = format!("{name}: {method} {path} {}", status.as_u16());
        if let Some(outcome) = &outcome {
            body.extend([" ", outcome.as_str()]);
        }
        let mut record = LogRecord {
            timestamp: Some(now),
            observed_timestamp: now,
            body: Value::String(body),
            ..LogRecord::default()
        };
        record.severity = if refused { Severity::WARN } else { Severity::INFO };
        let said = (!said.is_empty()).then(|| String::from_utf8_lossy(said).into_owned());
        let texts = [
            ("user.name", who),
            ("user.id", subject),
            ("client.address", from),
            ("http.request.method", Some(method.to_string())),
            ("url.path", Some(path)),
            ("url.query", query),
            ("http.request.body.content", said),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                record.attributes.set(name, text);
            }
        }
        record.attributes.set("http.response.status_code", i64::from(status.as_u16()));
        record.attributes.set("http.server.request.duration", took.as_secs_f64());
        record
    }
}
