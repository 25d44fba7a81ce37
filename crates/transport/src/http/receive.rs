//! The other end: what agents of other hosts send goes into the topic of this one, and is answered when it is there.

use super::{Answer, Description, Outcome, PATH, VERSION, parcel, producer::PARCEL};
use crate::{
    AnyProducer, DeliveryReport, Error, Message, Producer, Rejected, Topic, settings::Side, sync::lock,
};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use millrace_model::{Partition, chain, wire::Payload};
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OnceCell, Semaphore, mpsc, oneshot},
    time::timeout,
};

/// So many requests are read and held at once; others wait.
const AT_ONCE: usize = 8;
/// How long a request's body may take.
const READING: Duration = Duration::from_secs(45);
/// How long the topic may take with a parcel. Whoever sent it is told to come again then.
const HANDLING: Duration = Duration::from_secs(45);
/// So many messages may be under way.
const REPORTS: usize = 1024;
/// What a parcel adds to its messages, at most.
const FRAMES: usize = 64 << 10;

/// The routes for agents of other hosts, over the topic of this one: see [the module above](super). They ask for no token: that is for
/// whoever serves them.
pub fn router(topic: &Topic) -> Router {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let sides = Side::ALL.into_iter().filter(|side| side.is_for_agents());
    let sides = sides.map(|side| (format!("{PATH}/{}", side.name()), Some(side)));
    let receivers = [(PATH.to_owned(), None)].into_iter().chain(sides);
    receivers.fold(Router::new(), |router, (path, side)| {
        let receiver =
            Receiver { topic: topic.clone(), side, inlet: OnceCell::new(), room: Arc::clone(&room) };
        let routes = Router::new()
            .route(&path, get(describe))
            .route(&format!("{path}/messages"), post(take))
            .with_state(Arc::new(receiver));
        router.merge(routes)
    })
}

/// Takes in what is for one topic: the host's, or one beside it.
struct Receiver {
    topic: Topic,
    side: Option<Side>,
    /// Made when it is first asked for.
    inlet: OnceCell<Inlet>,
    /// For all of them together.
    room: Arc<Semaphore>,
}

/// One topic, and a producer that all requests share.
struct Inlet {
    topic: Topic,
    producer: AnyProducer,
    open: Arc<Open>,
}

type Reported = Result<(Partition, i64), Rejected>;

/// Who waits for which report.
#[derive(Default)]
struct Open {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Reported>>>,
}

/// A message that was sent. Dropped, nobody waits for its report any more.
struct Sent<'a> {
    ticket: u64,
    open: &'a Open,
    report: oneshot::Receiver<Reported>,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        lock(&self.open.waiting).remove(&self.ticket);
    }
}

/// Why a request is turned away.
struct Turned(StatusCode, &'static str, String);

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
    }
}

async fn describe(State(receiver): State<Arc<Receiver>>) -> Result<Json<Description>, Turned> {
    let topic = &receiver.inlet().await?.topic;
    topic.healthy().map_err(unavailable)?;
    let partitions = topic.partitions().await.map_err(|error| unavailable(chain(&error)))?;
    let (name, max_message_bytes) = (topic.name().to_owned(), topic.max_message_bytes());
    Ok(Json(Description { version: VERSION, name, partitions, max_message_bytes }))
}

async fn take(
    State(receiver): State<Arc<Receiver>>,
    headers: header::HeaderMap,
    body: Body,
) -> Result<Json<Answer>, Turned> {
    receiver.take(&headers, body).await
}

fn unavailable(problem: impl Into<String>) -> Turned {
    Turned(StatusCode::SERVICE_UNAVAILABLE, "unavailable", problem.into())
}

impl Receiver {
    async fn inlet(&self) -> Result<&Inlet, Turned> {
        let open = async || {
            let topic = match self.side {
                None => self.topic.clone(),
                Some(side) => self.topic.beside(side).await?,
            };
            Inlet::open(topic)
        };
        let opened = self.inlet.get_or_try_init(open).await;
        opened.map_err(|error: Error| unavailable(chain(&error)))
    }

    async fn take(&self, headers: &header::HeaderMap, body: Body) -> Result<Json<Answer>, Turned> {
        let kind = headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes).unwrap_or_default();
        if kind != parcel::CONTENT_TYPE.as_bytes() {
            let problem = format!("messages are taken as {}", parcel::CONTENT_TYPE);
            return Err(Turned(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", problem));
        }
        let inlet = self.inlet().await?;
        inlet.topic.healthy().map_err(unavailable)?;
        let _room = self.room.acquire().await.map_err(|_| unavailable("it is ending"))?;
        let most = inlet.topic.max_message_bytes().max(PARCEL) + FRAMES;
        let body = timeout(READING, to_bytes(body, most)).await;
        let body = body.map_err(|_| unavailable("the request's body took too long"))?;
        // What is too long and what does not come are not told apart: half of it is tried then, which is right for both.
        let body = body.map_err(|error| {
            Turned(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("{error}; {most} bytes are taken at once"),
            )
        })?;
        let unpacked = tokio::task::spawn_blocking(move || parcel::unpack(body, most)).await;
        let messages =
            unpacked.map_err(|error| unavailable(error.to_string()))?.map_err(|damage| match damage {
                parcel::Damage::TooLarge { .. } => {
                    Turned(StatusCode::PAYLOAD_TOO_LARGE, "too_large", damage.to_string())
                }
                damage => Turned(StatusCode::BAD_REQUEST, "damaged", format!("the parcel: {damage}")),
            })?;
        match timeout(HANDLING, inlet.put(messages)).await {
            Ok(outcomes) => Ok(Json(Answer { outcomes: outcomes? })),
            Err(_) => Err(unavailable(match inlet.topic.healthy() {
                Ok(()) => "the topic takes too long".to_owned(),
                Err(problem) => problem,
            })),
        }
    }
}

impl Inlet {
    fn open(topic: Topic) -> Result<Self, Error> {
        let (sender, mut reports) = mpsc::channel::<DeliveryReport>(REPORTS);
        let producer = topic.producer(sender)?;
        let open = Arc::new(Open::default());
        let waiting = Arc::clone(&open);
        // Ends when the producer does.
        tokio::spawn(async move {
            while let Some(report) = reports.recv().await {
                if let Some(waiting) = lock(&waiting.waiting).remove(&report.ticket) {
                    // Whoever waited may have gone.
                    drop(waiting.send(report.outcome));
                }
            }
        });
        Ok(Self { topic, producer, open })
    }

    /// Gives messages to the topic in their order, and waits for all reports.
    async fn put(&self, messages: Vec<Message>) -> Result<Vec<Outcome>, Turned> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            let Message { partition, key, headers, value, .. } = message;
            let waiting = self.open.expect();
            let payload = Payload { key, headers, value };
            let taken = self.producer.send(partition, payload, waiting.ticket).await;
            taken.map_err(|error| unavailable(chain(&error)))?;
            sent.push(waiting);
        }
        let mut outcomes = Vec::with_capacity(sent.len());
        for mut waiting in sent {
            let reported = (&mut waiting.report).await.map_err(|_| unavailable("it is ending"))?;
            outcomes.push(match reported {
                Ok((_, offset)) => Outcome::Taken(offset),
                Err(Rejected::TooLarge { bytes }) => Outcome::TooLarge(bytes),
                Err(Rejected::NoSuchPartition(_)) => Outcome::NoSuchPartition,
                Err(Rejected::Refused(reason)) => Outcome::Refused(reason),
            });
        }
        Ok(outcomes)
    }
}

impl Open {
    fn expect(&self) -> Sent<'_> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, report) = oneshot::channel();
        lock(&self.waiting).insert(ticket, sender);
        Sent { ticket, open: self, report }
    }
}
