//! A topic of Kafka: each notification is a message of it, as JSON, keyed by what it is about.

use super::Outcome;
use bytes::Bytes;
use millrace_model::{Clock, Partition, wire::Payload};
use millrace_transport::{
    AnyProducer, DeliveryReport, KafkaSettings, Metrics, Producer, Topic, TopicSettings,
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::{Mutex, mpsc};
use xxhash_rust::xxh3::xxh3_64;

/// Sends to one topic, which is opened when there is something to send.
pub(super) struct KafkaReceiver {
    settings: KafkaSettings,
    clock: Arc<dyn Clock>,
    sender: Mutex<Option<Sender>>,
}

struct Sender {
    producer: AnyProducer,
    reports: mpsc::Receiver<DeliveryReport>,
    sent: u64,
}

impl fmt::Debug for KafkaReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaReceiver").field("topic", &self.settings.name).finish_non_exhaustive()
    }
}

impl KafkaReceiver {
    pub(super) fn new(settings: KafkaSettings, clock: Arc<dyn Clock>) -> Self {
        Self { settings, clock, sender: Mutex::new(None) }
    }

    pub(super) async fn send(&self, id: &str, about: &str, json: &str, timeout: Duration) -> Outcome {
        match tokio::time::timeout(timeout, self.deliver(id, about, json)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Outcome::later(format!("topic {} did not take it within {timeout:?}", self.settings.name))
            }
        }
    }

    async fn deliver(&self, id: &str, about: &str, json: &str) -> Outcome {
        let mut held = self.sender.lock().await;
        if held.is_none() {
            match self.open().await {
                Ok(sender) => *held = Some(sender),
                Err(error) => return Outcome::later(error.to_string()),
            }
        }
        let Some(sender) = held.as_mut() else { return Outcome::later("it is not open".to_owned()) };
        match sender.send(id, about, json).await {
            Ok(outcome) => outcome,
            Err(error) => {
                *held = None;
                Outcome::later(error.to_string())
            }
        }
    }

    async fn open(&self) -> Result<Sender, millrace_transport::Error> {
        let settings = TopicSettings::Kafka(self.settings.clone());
        // What moves here is counted by receiver.
        let topic = Topic::open(&settings, Arc::clone(&self.clock), &Metrics::default()).await?;
        let (sender, reports) = mpsc::channel(64);
        Ok(Sender { producer: topic.producer(sender)?, reports, sent: 0 })
    }
}

impl Sender {
    async fn send(
        &mut self,
        id: &str,
        about: &str,
        json: &str,
    ) -> Result<Outcome, millrace_transport::Error> {
        let partitions = self.producer.partitions().await?.max(1);
        let partition = Partition((xxh3_64(about.as_bytes()) % u64::from(partitions)) as i32);
        // What an attempt before this one was told of, after its time was over.
        while self.reports.try_recv().is_ok() {}
        self.sent += 1;
        let header = |name: &str, value: &str| (name.to_owned(), Bytes::from(value.to_owned()));
        // It is for others: nothing of it is a message of ours.
        let payload = Payload {
            key: Bytes::from(about.to_owned()),
            headers: vec![header("idempotency-key", id), header("content-type", "application/json")],
            value: Bytes::from(json.to_owned()),
        };
        self.producer.send(partition, payload, self.sent).await?;
        while let Some(report) = self.reports.recv().await {
            if report.ticket == self.sent {
                return Ok(match report.outcome {
                    Ok(_) => Outcome::Delivered,
                    Err(rejected) => Outcome::Never { problem: rejected.to_string() },
                });
            }
        }
        Err(millrace_transport::Error::Closed)
    }
}
