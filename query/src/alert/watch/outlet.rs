//! The way out for matches that span partitions: into `<topic>.matches`, a slice a partition.
//!
//! **Invariant:** a partition's place moves on only when all that its messages before that place gave to hand on is in the topic.

use crate::Metrics;
use anyhow::Context as _;
use millrace_detect::Handed;
use millrace_model::{Partition, wire::MatchOrigin};
use millrace_transport::{AnyProducer, DeliveryReport, Producer, Topic};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::{mpsc, watch};

/// So many messages may be under way.
const UNDER_WAY: usize = 1024;
/// How long the topic may take until watching begins again.
const PATIENCE: Duration = Duration::from_secs(30);
/// What headers take of a message, at most.
const HEADERS: usize = 1 << 10;

/// What has become of messages.
#[derive(Debug, Clone, Default)]
struct Delivered {
    count: u64,
    refused: Option<String>,
}

/// See the module.
pub(super) struct Outlet {
    producer: AnyProducer,
    metrics: Metrics,
    slices: u32,
    max_bytes: usize,
    sent: u64,
    delivered: watch::Receiver<Delivered>,
}

impl Outlet {
    /// Over the topic for matches. Asks it how many partitions it has.
    ///
    /// # Errors
    /// It is not there yet, or cannot be asked.
    pub(super) async fn open(topic: &Topic, metrics: Metrics) -> anyhow::Result<Self> {
        let slices = slices(topic).await?;
        let (reports, received) = mpsc::channel(UNDER_WAY);
        let producer = topic.producer(reports)?;
        let (tell, delivered) = watch::channel(Delivered::default());
        tokio::spawn(count(received, tell));
        let max_bytes = topic.max_message_bytes().saturating_sub(HEADERS);
        Ok(Self { producer, metrics, slices, max_bytes, sent: 0, delivered })
    }

    /// How many slices there are.
    pub(super) fn slices(&self) -> u32 {
        self.slices
    }

    /// Hands on what came of one message. Waits while too much is under way.
    ///
    /// # Errors
    /// The topic will never take it.
    pub(super) async fn send(
        &mut self,
        origin: MatchOrigin,
        handed: impl Iterator<Item = Handed>,
    ) -> anyhow::Result<()> {
        let mut pieces: BTreeMap<u32, u32> = BTreeMap::new();
        for Handed { slice, counted, matches } in handed {
            self.metrics.handed_on.inc_by(matches.len() as u64);
            // The first on top.
            let mut left = vec![matches];
            while let Some(batch) = left.pop() {
                let value = serde_json::to_vec(&batch)?;
                if value.len() > self.max_bytes
                    && let (one, Some(other)) = batch.split()
                {
                    left.extend([other, one]);
                    continue;
                }
                let piece = pieces.entry(slice).or_default();
                let origin = MatchOrigin { piece: (!counted).then_some(*piece), ..origin };
                *piece += u32::from(!counted);
                self.put(slice, &origin, value).await?;
            }
        }
        Ok(())
    }

    /// Says to all slices how late it is in a partition.
    ///
    /// # Errors
    /// The topic will never take it.
    pub(super) async fn mark(&mut self, origin: MatchOrigin) -> anyhow::Result<()> {
        for slice in 0..self.slices {
            self.put(slice, &MatchOrigin { piece: None, ..origin }, Vec::new()).await?;
        }
        Ok(())
    }

    async fn put(&mut self, slice: u32, origin: &MatchOrigin, value: Vec<u8>) -> anyhow::Result<()> {
        let slice = Partition(i32::try_from(slice)?);
        self.producer.send(slice, origin.encode(value.into()), self.sent).await?;
        self.sent += 1;
        Ok(())
    }

    /// Waits until all that was sent is in the topic.
    ///
    /// # Errors
    /// The topic refuses it, or does not take it for half a minute.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        let (sent, patience) = (self.sent, PATIENCE);
        if self.delivered.borrow().count < sent {
            self.producer.flush(patience).await;
        }
        let done = |delivered: &Delivered| delivered.count >= sent || delivered.refused.is_some();
        let delivered = tokio::time::timeout(patience, self.delivered.wait_for(done)).await;
        let delivered = delivered.context("the topic of matches takes nothing")??;
        match &delivered.refused {
            Some(reason) => anyhow::bail!("the topic of matches refuses what rules hand on: {reason}"),
            None => Ok(()),
        }
    }
}

/// How many partitions the topic for matches has.
///
/// # Errors
/// It is not there yet, or cannot be asked.
pub(super) async fn slices(topic: &Topic) -> anyhow::Result<u32> {
    let partitions = topic.partitions().await?;
    anyhow::ensure!(partitions > 0, "the topic {} is not there yet", topic.name());
    Ok(partitions)
}

async fn count(mut reports: mpsc::Receiver<DeliveryReport>, tell: watch::Sender<Delivered>) {
    while let Some(report) = reports.recv().await {
        tell.send_modify(|delivered| {
            delivered.count += 1;
            if let Err(rejected) = report.outcome {
                delivered.refused.get_or_insert(rejected.to_string());
            }
        });
    }
}
