//! Partitions come and go. What is held of one that goes is published if that can be done before the rebalance must go on;
//! else it is dropped, and the successor reads it again.

use super::{Flow, finished};
use crate::{
    GROUP,
    shards::{Frozen, Owned},
};
use millrace_model::Partition;
use millrace_transport::{Assignment, Revocation, Start};
use std::time::{Duration, Instant};

/// How long the group may take to take back a partition that has another owner in the catalogue.
const STRANDED: Duration = Duration::from_secs(15);
/// What letting go of partitions takes, at most.
const LETTING_GO: Duration = Duration::from_millis(200);

impl Flow<'_> {
    /// Partitions are ours: the catalogue raises their epochs and says where to go on.
    pub(super) async fn assigned(&mut self, assignment: Assignment) {
        let wanted: Vec<_> = assignment.partitions.iter().map(|p| (p.partition, p.topic_id)).collect();
        let topic = self.parts.topic.name();
        let owned = loop {
            match self.parts.catalogue.acquire(GROUP, topic, &wanted, &self.parts.node).await {
                Ok(owned) => break owned,
                Err(error) => {
                    self.status.consuming(Some(format!("the catalogue cannot be asked: {error}")));
                    tracing::warn!(%error, "the catalogue cannot be asked where to go on");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        self.status.consuming(None);
        let mut starts = Vec::with_capacity(owned.len());
        for ownership in owned {
            let Some(assigned) = assignment.partitions.iter().find(|p| p.partition == ownership.partition)
            else {
                continue;
            };
            let wanted = ownership.next_offset.unwrap_or(assigned.low);
            let next = wanted.max(assigned.low);
            if next > wanted {
                tracing::error!(
                    kafka.partition = ownership.partition.0,
                    from = wanted,
                    to = next,
                    "the topic's own retention removed messages that were never indexed"
                );
            }
            tracing::info!(
                kafka.partition = ownership.partition.0,
                epoch = ownership.epoch,
                next,
                "partition assigned"
            );
            self.topic_ids.insert(ownership.partition, assigned.topic_id);
            self.lag.assigned(ownership.partition, self.parts.clock.now());
            self.shards.own(
                ownership.partition,
                Owned {
                    topic_id: assigned.topic_id,
                    epoch: ownership.epoch,
                    published: ownership.next_offset,
                    held_from: next,
                    next,
                    end: assigned.high.max(next),
                },
            );
            starts.push((ownership.partition, Start::Offset(next)));
        }
        self.meter.stale();
        self.paused.clear();
        self.stranded = None;
        assignment.start(starts);
    }

    /// Partitions go: publish what is here if there is time, then let go.
    pub(super) async fn revoked(&mut self, revocation: Revocation) {
        let partitions = revocation.partitions.clone();
        if !revocation.lost {
            let deadline = revocation.deadline.checked_sub(LETTING_GO).unwrap_or(revocation.deadline);
            self.publish_before(deadline).await;
        }
        let abandoned = self.shards.disown(&partitions);
        self.parts.metrics.abandoned.inc_by(abandoned);
        self.ledger.forget(&partitions);
        self.meter.forget(&partitions);
        self.forget_lag(&partitions);
        self.stranded = None;
        tracing::info!(
            partitions = partitions.len(),
            abandoned,
            lost = revocation.lost,
            "partitions revoked"
        );
        revocation.done();
    }

    /// Finishes the cut under way, then makes one of what is left, as far as `deadline` allows.
    pub(super) async fn publish_before(&mut self, deadline: Instant) {
        for _ in 0..2 {
            self.freeze_and_publish();
            if self.in_flight.is_none() {
                return;
            }
            let Ok(outcome) = tokio::time::timeout_at(deadline.into(), finished(&mut self.in_flight)).await
            else {
                return;
            };
            self.cut_ended(outcome);
        }
    }

    /// The catalogue refuses a cut: a partition has had another owner since that began. Where it was taken away and is ours
    /// again by now, under a newer epoch, what is held of it is another's than what was refused.
    pub(super) fn fenced(&mut self, refused: &Frozen, partition: Partition) {
        self.parts.metrics.fenced.inc();
        let refused = refused.moves.iter().find(|step| step.range.partition == partition);
        let present = self.shards.owned(partition).map(|owned| owned.epoch);
        if present.is_some() && present != refused.map(|step| step.epoch) {
            return;
        }
        tracing::warn!(
            kafka.partition = partition.0,
            "the partition has a new owner; its rows are left to it"
        );
        self.shards.disown(&[partition]);
        self.ledger.forget(&[partition]);
        self.meter.forget(&[partition]);
        self.forget_lag(&[partition]);
        if present.is_some() {
            self.stranded.get_or_insert_with(Instant::now);
        }
    }

    /// Does the group still leave a partition to us that has another owner in the catalogue? That owner may have been given
    /// it before us, and only have been slow to say so: then nobody reads it, until the group is asked anew.
    pub(super) fn is_stranded(&self, now: Instant) -> bool {
        self.stranded.is_some_and(|since| now.duration_since(since) >= STRANDED)
    }
}
