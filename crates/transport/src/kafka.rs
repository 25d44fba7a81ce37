//! A topic of a Kafka cluster, through librdkafka. The only place that names it.
//!
//! A broker that is away is no error: opening, sending and reading wait for it, and `healthy()` says so.

mod client;
mod consumer;
mod create;
mod producer;
mod scout;

pub use consumer::KafkaConsumer;
pub use producer::KafkaProducer;
pub(crate) use scout::glance;

use crate::{DeliveryReport, Error, KafkaSettings, Metrics, Page, metrics::TopicMetrics, settings::Side};
use client::Health;
use millrace_model::Partition;
use rdkafka::error::RDKafkaErrorCode;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OnceCell, mpsc, watch};

/// How long opening waits for the broker before it goes on without.
const PATIENCE: Duration = Duration::from_secs(5);

/// A topic of a Kafka cluster. Cloning is a reference count.
#[derive(Debug, Clone)]
pub struct KafkaTopic(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: KafkaSettings,
    metrics: TopicMetrics,
    all_metrics: Metrics,
    health: Arc<Health>,
    ready: watch::Sender<Ready>,
    /// The topics beside it, by what they are for.
    sides: [OnceCell<KafkaTopic>; Side::COUNT],
}

/// Is the topic there?
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ready {
    /// Not yet: the broker is away, or about to make it.
    NotYet,
    /// It is.
    Yes,
    /// It will never be, and why.
    Refused(String),
}

impl KafkaTopic {
    /// Opens the topic, and makes it if it is absent. When the broker is away this goes on in the background, after
    /// five seconds of waiting.
    pub(crate) async fn open(settings: KafkaSettings, metrics: &Metrics) -> Result<Self, Error> {
        let topic = Self(Arc::new(Inner {
            metrics: metrics.of(&settings.name),
            all_metrics: metrics.clone(),
            health: Arc::new(Health::new(&settings.name)),
            ready: watch::Sender::new(Ready::NotYet),
            sides: Default::default(),
            settings,
        }));
        let admin = create::admin(&topic.0)?;
        let mut ready = topic.0.ready.subscribe();
        tokio::spawn(create::ensure(Arc::downgrade(&topic.0), admin));
        let answered = tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready != Ready::NotYet)).await;
        let refused = match answered {
            Ok(Ok(ready)) => match &*ready {
                Ready::Refused(reason) => Some(reason.clone()),
                Ready::Yes | Ready::NotYet => None,
            },
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => None,
        };
        match refused {
            Some(reason) => Err(Error::Refused { topic: topic.0.settings.name.clone(), reason }),
            None => Ok(topic),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.settings.name
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        self.0.settings.max_message_bytes()
    }

    pub(crate) fn producer(&self, reports: mpsc::Sender<DeliveryReport>) -> Result<KafkaProducer, Error> {
        KafkaProducer::open(&self.0, reports)
    }

    pub(crate) fn consumer(&self, group: &str) -> Result<KafkaConsumer, Error> {
        KafkaConsumer::open(&self.0, Some(group))
    }

    pub(crate) fn reader(&self) -> Result<KafkaConsumer, Error> {
        KafkaConsumer::open(&self.0, None)
    }

    pub(crate) async fn beside(&self, side: Side) -> Result<Self, Error> {
        let open = async || Box::pin(Self::open(self.0.settings.beside(side), &self.0.all_metrics)).await;
        self.0.sides[side as usize].get_or_try_init(open).await.cloned()
    }

    pub(crate) fn page(&self, partition: Partition, from: i64, limit: usize) -> Result<Page, Error> {
        let topic = || self.name().to_owned();
        scout::page(&self.0, partition, from, limit).map_err(|source| match source.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownPartition) => Error::NoSuchPartition { topic: topic(), partition },
            _ => Error::Unreachable { topic: topic(), source },
        })
    }

    pub(crate) fn partitions(&self) -> Result<u32, Error> {
        let topic = || self.name().to_owned();
        scout::partitions(&self.0).map_err(|source| Error::Unreachable { topic: topic(), source })
    }

    pub(crate) async fn keeps(&self) -> Option<Duration> {
        match create::keeps(&self.0).await {
            Ok(keeps) => keeps,
            Err(reason) => {
                tracing::warn!(topic = self.0.settings.name, reason, "the topic's retention is not known");
                None
            }
        }
    }

    pub(crate) fn healthy(&self) -> Result<(), String> {
        self.0.health.check()?;
        match &*self.0.ready.borrow() {
            Ready::Yes => Ok(()),
            Ready::NotYet => Err("the broker has not answered yet".to_owned()),
            Ready::Refused(reason) => Err(reason.clone()),
        }
    }
}
