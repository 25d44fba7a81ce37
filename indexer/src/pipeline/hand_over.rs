//! Partitions come and go. What is held of one that goes is published if that can be done before the rebalance must go on;
//! else it is dropped, and the successor reads it again.

use super::{Flow, finished};
use crate::{
    GROUP,
    shards::{Frozen, Owned},
};
use millrace_catalogue::{Acquisition, Ownership};
use millrace_model::Partition;
use millrace_transport::{AssignedPartition, Assignment, Page, Revocation, Start};
use std::time::{Duration, Instant};

/// How long the group may take to take back a partition that has another owner in the catalogue.
const STRANDED: Duration = Duration::from_secs(15);
/// How long a topic that is being made anew may be without its first message.
const MADE_ANEW: Duration = Duration::from_secs(5);
/// What letting go of partitions takes, at most.
const LETTING_GO: Duration = Duration::from_millis(200);

impl Flow<'_> {
    /// Partitions are ours: the catalogue raises their epochs and says where to go on. If that is not known yet, nothing
    /// begins, and the assignment is offered again.
    pub(super) async fn assigned(&mut self, assignment: Assignment) {
        let acquired = self.acquire(&assignment.partitions).await;
        let mut starts = Vec::with_capacity(acquired.len());
        let mut owned = Vec::with_capacity(acquired.len());
        for ownership in acquired {
            let Some(assigned) = assignment.partitions.iter().find(|p| p.partition == ownership.partition)
            else {
                continue;
            };
            let Some(ownership) = self.look_back(ownership, assigned).await else { return };
            starts.push((ownership.partition, Start::Offset(ownership.next_offset.unwrap_or(assigned.low))));
            owned.push((ownership, assigned.low, assigned.high));
        }
        self.status.consuming(None);
        for (ownership, low, high) in owned {
            self.own(&ownership, low, high);
        }
        self.meter.stale();
        self.paused.clear();
        self.stranded = None;
        assignment.start(starts);
    }

    /// Makes this node the owner in the catalogue; asks until it answers.
    async fn acquire(&self, partitions: &[AssignedPartition]) -> Vec<Ownership> {
        let wanted: Vec<_> = partitions
            .iter()
            .map(|p| Acquisition { partition: p.partition, topic_id: p.topic_id, low: p.low })
            .collect();
        let topic = self.parts.topic.name();
        loop {
            match self.parts.catalogue.acquire(GROUP, topic, &wanted, &self.parts.node).await {
                Ok(owned) => return owned,
                Err(error) => {
                    self.status.consuming(Some(format!("the catalogue cannot be asked: {error}")));
                    tracing::warn!(%error, "the catalogue cannot be asked where to go on");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Says what the topic has lost of a partition since it was read; steps back where the topic ends before where the
    /// partition stands. `None`: it cannot be said now.
    async fn look_back(&self, mut ownership: Ownership, assigned: &AssignedPartition) -> Option<Ownership> {
        let (topic, partition) = (&self.parts.topic, ownership.partition);
        if ownership.removed > 0 {
            self.parts.metrics.removed.inc_by(ownership.removed);
            tracing::error!(
                kafka.partition = partition.0,
                messages = ownership.removed,
                to = assigned.low,
                "the topic's own retention removed messages that were never indexed"
            );
        }
        let Some(next) = ownership.next_offset.filter(|next| *next > assigned.high) else {
            return Some(ownership);
        };
        // A former owner may have read on after the ends were looked up, but not after this node became the owner.
        let ends = match self.look_again(partition, next).await {
            // It is just being made anew: offered again, it says so.
            Ok(page) if assigned.high == 0 && page.end > 0 => return None,
            Ok(page) => page,
            Err(error) => {
                self.status.consuming(Some(format!("partition {partition} cannot be looked at: {error}")));
                return None;
            }
        };
        let Some(step) = ownership.step_back(ends.low, ends.end) else { return Some(ownership) };
        match self.parts.catalogue.step_back(GROUP, topic.name(), &step).await {
            Ok(Some(topic_id)) => ownership.stepped(&step, topic_id),
            Ok(None) => return None,
            Err(error) => {
                self.status.consuming(Some(format!("the catalogue cannot be asked: {error}")));
                return None;
            }
        }
        self.parts.metrics.stepped_back.inc();
        tracing::error!(
            kafka.partition = partition.0,
            indexed_to = step.from,
            end = step.end,
            from = step.to,
            "the topic ends before what was indexed of it: it has lost its end, or is another one; reading goes on"
        );
        Some(ownership)
    }

    /// Where a partition begins and ends by now. One that is empty is given time to be made.
    async fn look_again(&self, partition: Partition, next: i64) -> Result<Page, millrace_transport::Error> {
        let deadline = Instant::now() + MADE_ANEW;
        loop {
            let page = self.parts.topic.page(partition, next, 1).await?;
            if page.end > 0 || Instant::now() >= deadline {
                return Ok(page);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn own(&mut self, ownership: &Ownership, low: i64, high: i64) {
        let Ownership { partition, epoch, topic_id, next_offset, .. } = *ownership;
        let next = next_offset.unwrap_or(low);
        tracing::info!(kafka.partition = partition.0, epoch, next, "partition assigned");
        self.topic_ids.insert(partition, topic_id);
        self.lag.assigned(partition, self.parts.clock.now());
        self.shards.own(
            partition,
            Owned { topic_id, epoch, published: next_offset, held_from: next, next, end: high.max(next) },
        );
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
