//! A topic of another host, reached through HTTP: what an agent sends is given to the topic that host has, as it is. Only sending
//! is possible.
//!
//! Two requests, version 1:
//!
//! | request | what |
//! |---|---|
//! | `GET …/api/v1/topic` | [`Description`], as JSON |
//! | `POST …/api/v1/topic/messages` | a [`parcel`] of messages; the answer is [`Answer`], as JSON: an outcome for each, in their order |
//!
//! The topics beside it, `<topic>.dead` and `<topic>.agents`, are the same under `…/api/v1/topic/dead` and `…/api/v1/topic/agents`.
//! A message is answered for when the topic has taken it, so its report means what the topic's own would. Any other answer than 200
//! says that it may be tried again: 401 (the token), 413 (too much at once), 503 (the topic takes nothing now), with
//! `{"error":{"code","message"}}`.
//!
//! One parcel is under way at a time, so messages of a partition keep their order; what comes meanwhile waits for the next.

mod client;
mod parcel;
mod producer;
mod receive;

pub use producer::HttpProducer;
pub use receive::router;

use crate::{
    DeliveryReport, Error, HttpSettings, Metrics,
    metrics::TopicMetrics,
    settings::{MESSAGE_MAX_BYTES_DEFAULT, Side},
    sync::lock,
};
use client::{Client, Trouble};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// How long opening waits for the other host before it goes on without.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the other host is asked whether it is there.
const LOOK: Duration = Duration::from_secs(10);
/// Where it is said, behind the host's address.
const PATH: &str = "/api/v1/topic";
/// The version of what is said.
const VERSION: u32 = 1;

/// What a host says of its topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Description {
    version: u32,
    name: String,
    partitions: u32,
    max_message_bytes: usize,
}

/// What became of a parcel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    outcomes: Vec<Outcome>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It lies in the topic, at this offset.
    Taken(i64),
    /// It has more bytes than the topic takes: so many.
    TooLarge(usize),
    /// The topic has no such partition.
    NoSuchPartition,
    /// The topic refuses it for another reason that will stay.
    Refused(String),
}

/// A topic of another host. Cloning is a reference count.
#[derive(Debug, Clone)]
pub struct HttpTopic(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: HttpSettings,
    client: Client,
    metrics: TopicMetrics,
    all_metrics: Metrics,
    health: Health,
    /// What the other host calls it, once it has said so.
    named: OnceLock<String>,
    /// How large a message may be, as it said last.
    max_message_bytes: AtomicUsize,
    /// The topics beside it, by what they are for.
    sides: [OnceLock<HttpTopic>; Side::COUNT],
}

/// Can the other host be reached, and does its topic take messages?
#[derive(Debug)]
struct Health {
    url: String,
    trouble: Mutex<Option<String>>,
}

impl Health {
    fn up(&self) {
        if lock(&self.trouble).take().is_some() {
            tracing::info!(url = self.url, "the other host's topic takes messages");
        }
    }

    fn down(&self, problem: String) {
        let mut trouble = lock(&self.trouble);
        if trouble.as_ref() != Some(&problem) {
            tracing::warn!(
                url = self.url,
                problem,
                "the other host's topic cannot be used; what is sent waits"
            );
            *trouble = Some(problem);
        }
    }
}

impl HttpTopic {
    /// Opens the topic. When the other host is away this goes on in the background, after five seconds of waiting.
    pub(crate) async fn open(settings: HttpSettings, metrics: &Metrics) -> Result<Self, Error> {
        let topic = Self::of(settings, metrics)?;
        drop(timeout(PATIENCE, topic.0.describe()).await);
        topic.watch();
        Ok(topic)
    }

    fn of(settings: HttpSettings, metrics: &Metrics) -> Result<Self, Error> {
        let client = Client::new(&settings)?;
        let inner = Inner {
            client,
            metrics: metrics.of(&settings.url),
            all_metrics: metrics.clone(),
            health: Health {
                url: settings.url.clone(),
                trouble: Mutex::new(Some("it has not answered yet".to_owned())),
            },
            named: OnceLock::new(),
            max_message_bytes: AtomicUsize::new(MESSAGE_MAX_BYTES_DEFAULT),
            sides: Default::default(),
            settings,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Looks now and then whether the other host is there, for as long as anybody wants the topic.
    fn watch(&self) {
        let topic: Weak<Inner> = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                sleep(LOOK).await;
                let Some(topic) = topic.upgrade() else { return };
                drop(topic.describe().await);
            }
        });
    }

    /// What the other host calls it; until that has answered, where that is.
    pub(crate) fn name(&self) -> &str {
        self.0.named.get().unwrap_or(&self.0.settings.url)
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        self.0.max_message_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn producer(&self, reports: mpsc::Sender<DeliveryReport>) -> HttpProducer {
        HttpProducer::open(&self.0, reports)
    }

    pub(crate) fn beside(&self, side: Side) -> Result<Self, Error> {
        let cell = &self.0.sides[side as usize];
        if let Some(topic) = cell.get() {
            return Ok(topic.clone());
        }
        let topic = Self::of(self.0.settings.beside(side), &self.0.all_metrics)?;
        Ok(cell.get_or_init(|| topic).clone())
    }

    pub(crate) async fn partitions(&self) -> Result<u32, Error> {
        self.0.partitions().await
    }

    pub(crate) fn only_sends(&self) -> Error {
        Error::OnlySends { url: self.0.settings.url.clone() }
    }

    pub(crate) fn healthy(&self) -> Result<(), String> {
        lock(&self.0.health.trouble).clone().map_or(Ok(()), Err)
    }
}

impl Inner {
    /// Asks the other host what its topic is.
    async fn describe(&self) -> Result<Description, Trouble> {
        let described = self.client.describe().await.and_then(|described| match described.version {
            VERSION => Ok(described),
            other => {
                Err(Trouble::passing(format!("it speaks version {other} of this protocol, and we {VERSION}")))
            }
        });
        match &described {
            Ok(described) => {
                self.named.get_or_init(|| described.name.clone());
                self.max_message_bytes.store(described.max_message_bytes, Ordering::Relaxed);
                self.health.up();
            }
            Err(trouble) => self.health.down(trouble.problem.clone()),
        }
        described
    }

    async fn partitions(&self) -> Result<u32, Error> {
        let away =
            |trouble: Trouble| Error::Away { url: self.settings.url.clone(), problem: trouble.problem };
        self.describe().await.map(|described| described.partitions).map_err(away)
    }
}
