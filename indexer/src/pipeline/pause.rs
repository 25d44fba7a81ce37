//! Why nothing more is taken in for now. There may be several reasons; the topic is paused while there is one, and goes on
//! when there is none.

use super::Flow;
use crate::metrics::Reason;
use millrace_transport::Consumer;
use std::collections::BTreeSet;

impl Flow<'_> {
    /// Pauses or resumes the topic. `weight`: the bytes of rows that are not published.
    pub(super) fn regulate(&mut self, weight: u64) {
        let reasons = [("memory", weight >= self.settings.memory), ("disk", self.room.is_short())];
        let now: BTreeSet<&str> =
            reasons.into_iter().filter(|(_, holds)| *holds).map(|(reason, _)| reason).collect();
        for (reason, holds) in reasons {
            self.parts.metrics.paused.get_or_create(&Reason { reason }).set(i64::from(holds));
            if holds && !self.paused.contains(reason) {
                tracing::info!(reason, bytes = weight, "the topic is paused: there is no room");
            }
        }
        if now.is_empty() != self.paused.is_empty() {
            let partitions = self.shards.partitions();
            if now.is_empty() {
                self.consumer.resume(&partitions);
            } else {
                self.consumer.pause(&partitions);
            }
        }
        self.paused = now;
    }
}
