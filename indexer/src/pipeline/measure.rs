//! What of the pipeline is told in metrics at each tick, and as messages are taken in.

use super::Flow;
use crate::metrics::OfPartition;
use millrace_model::{Partition, Timestamp};
use millrace_transport::{Consumer, Message};

impl Flow<'_> {
    /// A message was taken in; `observed`: when the first of its new records was, if it has any. Their rows are hits by now.
    pub(super) fn measure_message(&mut self, message: &Message, observed: Option<Timestamp>) {
        self.lag.taken(message.partition, message.timestamp);
        if let Some(observed) = observed {
            let waited = self.parts.clock.now().since(observed);
            self.parts.metrics.freshness.0.observe(waited.as_secs_f64());
        }
    }

    /// How far behind each partition is, and what is in memory.
    pub(super) fn measure(&mut self, now: Timestamp) {
        let metrics = &self.parts.metrics;
        for partition in self.shards.partitions() {
            if let Some(end) = self.consumer.end(partition) {
                self.shards.see_end(partition, end);
            }
            let Some(owned) = self.shards.owned(partition) else { continue };
            let messages = owned.end - owned.next;
            let of = OfPartition { partition: partition.0 };
            metrics.lag_messages.get_or_create(&of).set(messages);
            let waits = self.lag.waits(partition, messages, now);
            self.shards.see_waits(partition, waits);
            metrics.lag_seconds.get_or_create(&of).set(waits.as_secs_f64());
        }
        let size = self.shards.size();
        metrics.hot_bytes.set(size.bytes as i64);
        metrics.hot_rows.set(size.rows as i64);
        metrics.hot_shards.set(size.shards as i64);
        let whole = self.shards.shaper().kept_whole();
        metrics.whole.inc_by(whole.saturating_sub(metrics.whole.get()));
    }

    /// Partitions are not ours any more.
    pub(super) fn forget_lag(&mut self, partitions: &[Partition]) {
        self.lag.forget(partitions);
        self.parts.metrics.forget_lag(partitions);
    }
}
