//! Messages that cannot be decoded or go beyond a quota: kept whole in `<topic>.dead`, with the reason and the place, before
//! their offset may advance.

use millrace_model::{
    Partition,
    wire::{self, Letter, Payload},
};
use millrace_transport::{AnyProducer, DeliveryReport, Message, Producer, Topic};
use std::{collections::VecDeque, time::Duration};
use tokio::sync::mpsc;

/// How many letters may wait to be acknowledged.
const UNDER_WAY: usize = 64;

/// The dead-letter topic, opened when its first letter comes.
pub(crate) struct DeadLetters {
    topic: Topic,
    open: Option<Open>,
    /// Sent and not acknowledged yet, with their tickets.
    waiting: VecDeque<(u64, Partition, Payload)>,
    sent: u64,
}

struct Open {
    producer: AnyProducer,
    delivered: mpsc::Receiver<DeliveryReport>,
    partitions: u32,
}

impl DeadLetters {
    /// Beside `topic`.
    pub(crate) fn new(topic: Topic) -> Self {
        Self { topic, open: None, waiting: VecDeque::new(), sent: 0 }
    }

    /// Takes a message, which is named by `place`; [`settle`](Self::settle) says when it is durable.
    pub(crate) async fn send(&mut self, message: &Message, place: &Letter, reason: &str) {
        let original = Payload {
            key: message.key.clone(),
            headers: message.headers.clone(),
            value: message.value.clone(),
        };
        let letter = wire::dead_letter(original, place, reason);
        if self.waiting.len() >= UNDER_WAY {
            self.settle().await;
        }
        self.sent += 1;
        self.waiting.push_back((self.sent, message.partition, letter.clone()));
        if let Err(error) = self.hand_over(self.sent, message.partition, letter).await {
            self.failed(&error).await;
            self.settle().await;
        }
    }

    /// Returns when all that was sent is durable. Tries for ever: their offsets must not advance before.
    pub(crate) async fn settle(&mut self) {
        while !self.waiting.is_empty() {
            if let Err(error) = self.try_settle().await {
                self.failed(&error).await;
            }
        }
    }

    async fn failed(&mut self, error: &anyhow::Error) {
        tracing::error!(error = format!("{error:#}"), "a dead letter cannot be kept; the partition waits");
        self.open = None;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    async fn try_settle(&mut self) -> anyhow::Result<()> {
        if self.open.is_none() {
            // What became of them is not known: they may lie there twice.
            for (ticket, partition, letter) in self.waiting.clone() {
                self.hand_over(ticket, partition, letter).await?;
            }
        }
        let Some(Open { delivered, .. }) = &mut self.open else { return Ok(()) };
        match delivered.recv().await {
            Some(DeliveryReport { outcome: Ok(_), ticket }) => {
                self.waiting.retain(|(waiting, ..)| *waiting != ticket);
                Ok(())
            }
            Some(DeliveryReport { outcome: Err(rejected), .. }) => {
                anyhow::bail!("it was rejected: {rejected}")
            }
            None => anyhow::bail!("the producer ended"),
        }
    }

    async fn hand_over(&mut self, ticket: u64, from: Partition, letter: Payload) -> anyhow::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let topic = self.topic.dead().await?;
                let (reports, delivered) = mpsc::channel(UNDER_WAY);
                let producer = topic.producer(reports)?;
                let partitions = producer.partitions().await?.max(1);
                none.insert(Open { producer, delivered, partitions })
            }
        };
        let partition = Partition(from.0 % i32::try_from(open.partitions).unwrap_or(1));
        Ok(open.producer.send(partition, letter, ticket).await?)
    }
}
