//! What bounds a producer and brings its reports back: room in bytes, and a slot in the channel of reports for every
//! message under way, taken before the message is. So reporting never blocks, whoever does it.

use crate::{DeliveryReport, Error, Rejected, metrics::TopicMetrics};
use millrace_model::Partition;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

#[derive(Debug)]
pub(crate) struct Reports {
    sender: mpsc::Sender<DeliveryReport>,
    room: Arc<Semaphore>,
    limit: u32,
    under_way: Arc<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    count: AtomicUsize,
    changed: Notify,
    metrics: TopicMetrics,
}

/// The right to have one message under way.
#[derive(Debug)]
pub(crate) struct Slot {
    ticket: u64,
    weight: usize,
    size: usize,
    permit: Option<mpsc::OwnedPermit<DeliveryReport>>,
    _room: OwnedSemaphorePermit,
    under_way: Arc<UnderWay>,
}

impl Reports {
    /// `limit`: how many bytes may be under way.
    pub(crate) fn new(sender: mpsc::Sender<DeliveryReport>, limit: u32, metrics: TopicMetrics) -> Self {
        let under_way = UnderWay { count: AtomicUsize::new(0), changed: Notify::new(), metrics };
        Self { sender, room: Arc::new(Semaphore::new(limit as usize)), limit, under_way: Arc::new(under_way) }
    }

    /// Waits for room. First come, first served.
    pub(crate) async fn admit(&self, ticket: u64, weight: usize, size: usize) -> Result<Slot, Error> {
        let permit = self.sender.clone().reserve_owned().await.map_err(|_| Error::Closed)?;
        let permits = u32::try_from(weight).unwrap_or(u32::MAX).min(self.limit);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| Error::Closed)?;
        self.under_way.count.fetch_add(1, Ordering::SeqCst);
        self.under_way.metrics.send_queue_bytes.inc_by(weight as i64);
        let under_way = Arc::clone(&self.under_way);
        Ok(Slot { ticket, weight, size, permit: Some(permit), _room: room, under_way })
    }

    /// Waits until nothing is under way; says whether that came within the time.
    pub(crate) async fn settled(&self, within: Duration) -> bool {
        let settled = async {
            loop {
                let changed = self.under_way.changed.notified();
                tokio::pin!(changed);
                // Listening before looking: a report in between is not missed.
                changed.as_mut().enable();
                if self.under_way.count.load(Ordering::SeqCst) == 0 {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(within, settled).await.is_ok()
    }
}

impl Slot {
    /// Reports. Never blocks.
    pub(crate) fn report(mut self, outcome: Result<(Partition, i64), Rejected>) {
        let metrics = &self.under_way.metrics;
        if outcome.is_ok() {
            metrics.sent_messages.inc();
            metrics.sent_bytes.inc_by(self.size as u64);
        } else {
            metrics.rejected_messages.inc();
        }
        // Whoever has the report finds the counts settled.
        metrics.send_queue_bytes.dec_by(std::mem::take(&mut self.weight) as i64);
        if let Some(permit) = self.permit.take() {
            permit.send(DeliveryReport { ticket: self.ticket, outcome });
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.under_way.metrics.send_queue_bytes.dec_by(self.weight as i64);
        if self.under_way.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.under_way.changed.notify_waiters();
        }
    }
}
