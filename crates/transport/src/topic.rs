//! A topic of any kind behind one handle, and producers and consumers that do not show which kind it is.

use crate::{
    Consumer, ConsumerEvent, DeliveryReport, Error, Metrics, Page, Producer, Rejected, TopicSettings,
    embedded::{EmbeddedConsumer, EmbeddedProducer, EmbeddedTopic, Flaw},
    http::{HttpProducer, HttpTopic},
    kafka::{KafkaConsumer, KafkaProducer, KafkaTopic},
    settings::Side,
};
use millrace_model::{
    Clock, Partition,
    wire::{self, Letter, Payload},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// A topic. Cloning is a reference count.
#[derive(Debug, Clone)]
pub enum Topic {
    /// Of a Kafka cluster.
    Kafka(KafkaTopic),
    /// In this process.
    Embedded(EmbeddedTopic),
    /// Of another host; only sent to.
    Http(HttpTopic),
}

impl Topic {
    /// Opens a topic; makes it if it is absent, with its id as the first message of each partition.
    ///
    /// A Kafka broker that is away is waited for: here for five seconds, then in the background. Must be called within a
    /// tokio runtime, and the topic used within it.
    ///
    /// # Errors
    /// The settings are refused, or the embedded topic's files cannot be used.
    pub async fn open(
        settings: &TopicSettings,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        match settings {
            TopicSettings::Kafka(settings) => {
                KafkaTopic::open(settings.clone(), metrics).await.map(Self::Kafka)
            }
            TopicSettings::Embedded(settings) => {
                let (settings, metrics) = (settings.clone(), metrics.clone());
                let open = move || EmbeddedTopic::open(settings, clock, &metrics);
                let opened = tokio::task::spawn_blocking(open).await.map_err(|_| Error::Closed)?;
                opened.map(Self::Embedded)
            }
            TopicSettings::Http(settings) => HttpTopic::open(settings.clone(), metrics).await.map(Self::Http),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Kafka(topic) => topic.name(),
            Self::Embedded(topic) => topic.name(),
            Self::Http(topic) => topic.name(),
        }
    }

    /// Key, headers and value of a message may be so large together.
    pub fn max_message_bytes(&self) -> usize {
        match self {
            Self::Kafka(topic) => topic.max_message_bytes(),
            Self::Embedded(topic) => topic.max_message_bytes(),
            Self::Http(topic) => topic.max_message_bytes(),
        }
    }

    /// A producer. As many messages may be under way as `reports` has room for.
    ///
    /// # Errors
    /// The client or its thread cannot be started.
    pub fn producer(&self, reports: mpsc::Sender<DeliveryReport>) -> Result<AnyProducer, Error> {
        match self {
            Self::Kafka(topic) => topic.producer(reports).map(AnyProducer::Kafka),
            Self::Embedded(topic) => Ok(AnyProducer::Embedded(topic.producer(reports))),
            Self::Http(topic) => Ok(AnyProducer::Http(topic.producer(reports))),
        }
    }

    /// A member of a consumer group.
    ///
    /// # Errors
    /// The client or its thread cannot be started; or the topic is another host's, which is only sent to.
    pub fn consumer(&self, group: &str) -> Result<AnyConsumer, Error> {
        match self {
            Self::Kafka(topic) => topic.consumer(group).map(AnyConsumer::Kafka),
            Self::Embedded(topic) => topic.consumer(group).map(AnyConsumer::Embedded),
            Self::Http(topic) => Err(topic.only_sends()),
        }
    }

    /// Whoever reads all partitions, in no group: nobody shares with it, and retention does not wait for it. Partitions that the
    /// topic gets later are assigned with all others afresh. Commits are nobody's.
    ///
    /// # Errors
    /// As [`Topic::consumer`].
    pub fn reader(&self) -> Result<AnyConsumer, Error> {
        match self {
            Self::Kafka(topic) => topic.reader().map(AnyConsumer::Kafka),
            Self::Embedded(topic) => topic.reader().map(AnyConsumer::Embedded),
            Self::Http(topic) => Err(topic.only_sends()),
        }
    }

    /// The dead-letter topic, `<topic>.dead`: one partition, and messages may be 64 KiB larger. Opened once.
    ///
    /// # Errors
    /// As [`Topic::open`].
    pub async fn dead(&self) -> Result<Self, Error> {
        self.beside(Side::Dead).await
    }

    /// The topic in which agents say how they are, `<topic>.agents`: one partition. Opened once.
    ///
    /// # Errors
    /// As [`Topic::open`].
    pub async fn agents(&self) -> Result<Self, Error> {
        self.beside(Side::Agents).await
    }

    /// The topic in which rules of one partition hand on what those that see all have to decide, `<topic>.matches`: at most four
    /// partitions. Opened once. Other hosts cannot send to it.
    ///
    /// # Errors
    /// As [`Topic::open`]; or the topic is another host's.
    pub async fn matches(&self) -> Result<Self, Error> {
        match self {
            Self::Http(topic) => Err(topic.only_sends()),
            Self::Kafka(_) | Self::Embedded(_) => self.beside(Side::Matches).await,
        }
    }

    /// The topic of what people found alerts to be, `<topic>.verdicts`: one partition, of which each key's last message is kept; one
    /// with an empty value ends its key. `None`: only brokers keep topics like that. Opened once.
    ///
    /// # Errors
    /// As [`Topic::open`].
    pub async fn verdicts(&self) -> Result<Option<Self>, Error> {
        match self {
            Self::Kafka(_) => self.beside(Side::Verdicts).await.map(Some),
            Self::Embedded(_) | Self::Http(_) => Ok(None),
        }
    }

    pub(crate) async fn beside(&self, side: Side) -> Result<Self, Error> {
        match self {
            Self::Kafka(topic) => topic.beside(side).await.map(Self::Kafka),
            Self::Embedded(topic) => topic.beside(side).await.map(Self::Embedded),
            Self::Http(topic) => topic.beside(side).map(Self::Http),
        }
    }

    /// Keeps a message that the topic refuses among its dead letters, once, and waits until it is durable.
    pub(crate) async fn keep_dead(
        &self,
        partition: Partition,
        original: Payload,
        reason: &str,
    ) -> Result<(), Error> {
        let place = Letter { topic: self.name().to_owned(), topic_id: None, partition, offset: None };
        let dead = self.dead().await?;
        let (reports, mut delivered) = mpsc::channel(1);
        let producer = dead.producer(reports)?;
        producer.send(Partition(0), wire::dead_letter(original, &place, reason), 0).await?;
        let report = delivered.recv().await.ok_or(Error::Closed)?;
        let refused = |rejected: Rejected| Error::Refused {
            topic: dead.name().to_owned(),
            reason: rejected.to_string(),
        };
        report.outcome.map(drop).map_err(refused)
    }

    /// Messages of a partition from `from` on, about a megabyte or `limit` of them: for looking at a topic, apart from
    /// every group. Where the topic no longer has `from`, from the earliest that is there. Asks the broker.
    ///
    /// # Errors
    /// There is no such partition, the broker does not answer within ten seconds, or the files cannot be read.
    pub async fn page(&self, partition: Partition, from: i64, limit: usize) -> Result<Page, Error> {
        let topic = self.clone();
        let read = move || match &topic {
            Self::Kafka(topic) => topic.page(partition, from, limit),
            Self::Embedded(topic) => topic.page(partition, from, limit),
            Self::Http(topic) => Err(topic.only_sends()),
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::Closed)?
    }

    /// How many partitions the topic has by now; 0: it is not there. Asks the broker.
    ///
    /// # Errors
    /// The broker does not answer within five seconds.
    pub async fn partitions(&self) -> Result<u32, Error> {
        match self {
            Self::Kafka(topic) => {
                let topic = topic.clone();
                tokio::task::spawn_blocking(move || topic.partitions()).await.map_err(|_| Error::Closed)?
            }
            Self::Embedded(topic) => Ok(topic.partitions()),
            Self::Http(topic) => topic.partitions().await,
        }
    }

    /// How long a message stays at most once all have read it: the topic's retention, and for how long one of its files is
    /// written to. `None`: for ever, or nobody can say now. Asks the broker.
    pub async fn keeps(&self) -> Option<Duration> {
        match self {
            Self::Kafka(topic) => topic.keeps().await,
            Self::Embedded(topic) => Some(topic.keeps()),
            Self::Http(_) => None,
        }
    }

    /// What is wrong with the topic's files, which are all read. Of Kafka's, its brokers see to that themselves.
    ///
    /// # Errors
    /// The program is ending.
    pub async fn verify(&self) -> Result<Vec<Flaw>, Error> {
        match self {
            Self::Kafka(_) | Self::Http(_) => Ok(Vec::new()),
            Self::Embedded(topic) => topic.verify().await,
        }
    }

    /// Can messages move? The error says why not, for `/readyz`. Does not block.
    pub fn healthy(&self) -> Result<(), String> {
        match self {
            Self::Kafka(topic) => topic.healthy(),
            Self::Embedded(topic) => topic.healthy(),
            Self::Http(topic) => topic.healthy(),
        }
    }
}

/// A producer for a topic of any kind.
#[derive(Debug)]
pub enum AnyProducer {
    /// Of a Kafka cluster.
    Kafka(KafkaProducer),
    /// In this process.
    Embedded(EmbeddedProducer),
    /// Of another host.
    Http(HttpProducer),
}

impl Producer for AnyProducer {
    async fn partitions(&self) -> Result<u32, Error> {
        match self {
            Self::Kafka(producer) => producer.partitions().await,
            Self::Embedded(producer) => producer.partitions().await,
            Self::Http(producer) => producer.partitions().await,
        }
    }

    async fn send(&self, partition: Partition, payload: Payload, ticket: u64) -> Result<(), Error> {
        match self {
            Self::Kafka(producer) => producer.send(partition, payload, ticket).await,
            Self::Embedded(producer) => producer.send(partition, payload, ticket).await,
            Self::Http(producer) => producer.send(partition, payload, ticket).await,
        }
    }

    async fn keep_dead(&self, partition: Partition, original: Payload, reason: &str) -> Result<(), Error> {
        match self {
            Self::Kafka(producer) => producer.keep_dead(partition, original, reason).await,
            Self::Embedded(producer) => producer.keep_dead(partition, original, reason).await,
            Self::Http(producer) => producer.keep_dead(partition, original, reason).await,
        }
    }

    async fn flush(&self, within: Duration) -> bool {
        match self {
            Self::Kafka(producer) => producer.flush(within).await,
            Self::Embedded(producer) => producer.flush(within).await,
            Self::Http(producer) => producer.flush(within).await,
        }
    }
}

/// A consumer of a topic of any kind.
#[derive(Debug)]
pub enum AnyConsumer {
    /// Of a Kafka cluster.
    Kafka(KafkaConsumer),
    /// In this process.
    Embedded(EmbeddedConsumer),
}

impl Consumer for AnyConsumer {
    async fn next(&mut self) -> Option<ConsumerEvent> {
        match self {
            Self::Kafka(consumer) => consumer.next().await,
            Self::Embedded(consumer) => consumer.next().await,
        }
    }

    fn pause(&self, partitions: &[Partition]) {
        match self {
            Self::Kafka(consumer) => consumer.pause(partitions),
            Self::Embedded(consumer) => consumer.pause(partitions),
        }
    }

    fn resume(&self, partitions: &[Partition]) {
        match self {
            Self::Kafka(consumer) => consumer.resume(partitions),
            Self::Embedded(consumer) => consumer.resume(partitions),
        }
    }

    fn commit(&self, next: &[(Partition, i64)]) {
        match self {
            Self::Kafka(consumer) => consumer.commit(next),
            Self::Embedded(consumer) => consumer.commit(next),
        }
    }

    fn end(&self, partition: Partition) -> Option<i64> {
        match self {
            Self::Kafka(consumer) => consumer.end(partition),
            Self::Embedded(consumer) => consumer.end(partition),
        }
    }

    async fn close(self) {
        match self {
            Self::Kafka(consumer) => consumer.close().await,
            Self::Embedded(consumer) => consumer.close().await,
        }
    }
}
