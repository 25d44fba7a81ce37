//! Messages that cannot be decoded: kept whole in `<topic>.dead`, with the reason and the place, before their offset
//! may advance.

use bytes::Bytes;
use millrace_model::{Partition, wire::Payload};
use millrace_transport::{AnyProducer, DeliveryReport, Message, Producer, Topic};
use std::time::Duration;
use tokio::sync::mpsc;

/// The dead-letter topic, opened when its first letter comes.
pub(crate) struct DeadLetters {
    topic: Topic,
    open: Option<(AnyProducer, mpsc::Receiver<DeliveryReport>, u32)>,
    sent: u64,
}

impl DeadLetters {
    /// Beside `topic`.
    pub(crate) fn new(topic: Topic) -> Self {
        Self { topic, open: None, sent: 0 }
    }

    /// Keeps a message, and returns when it is durable. Tries for ever: its offset must not advance before.
    pub(crate) async fn send(&mut self, message: &Message, reason: &str) {
        while let Err(error) = self.try_send(message, reason).await {
            tracing::error!(
                error = format!("{error:#}"),
                "a dead letter cannot be kept; the partition waits"
            );
            self.open = None;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn try_send(&mut self, message: &Message, reason: &str) -> anyhow::Result<()> {
        if self.open.is_none() {
            let topic = self.topic.dead().await?;
            let (reports, delivered) = mpsc::channel(1);
            let producer = topic.producer(reports)?;
            let partitions = producer.partitions().await?.max(1);
            self.open = Some((producer, delivered, partitions));
        }
        let Some((producer, delivered, partitions)) = &mut self.open else { return Ok(()) };
        self.sent += 1;
        let partition = Partition(message.partition.0 % i32::try_from(*partitions).unwrap_or(1));
        producer.send(partition, letter(self.topic.name(), message, reason), self.sent).await?;
        match delivered.recv().await {
            Some(DeliveryReport { outcome: Ok(_), .. }) => Ok(()),
            Some(DeliveryReport { outcome: Err(rejected), .. }) => {
                anyhow::bail!("it was rejected: {rejected}")
            }
            None => anyhow::bail!("the producer ended"),
        }
    }
}

/// The original key, headers and value; the reason and the place go in front.
fn letter(topic: &str, message: &Message, reason: &str) -> Payload {
    let own = [
        ("millrace.dead.reason", reason.to_owned()),
        ("millrace.dead.topic", topic.to_owned()),
        ("millrace.dead.partition", message.partition.to_string()),
        ("millrace.dead.offset", message.offset.to_string()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), Bytes::from(value)));
    Payload {
        key: message.key.clone(),
        headers: own.chain(message.headers.iter().cloned()).collect(),
        value: message.value.clone(),
    }
}
