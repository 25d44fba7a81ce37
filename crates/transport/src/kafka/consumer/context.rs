//! What librdkafka calls back, always from within a poll on the poller's thread.

use super::{Shared, Turn};
use crate::{
    events::HAND_OVER,
    kafka::client::{self, Statistics},
    sync::lock,
};
use millrace_model::Partition;
use rdkafka::{
    TopicPartitionList,
    client::ClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use std::sync::Arc;

/// The context of a group's client.
pub(super) struct Context(pub(super) Arc<Shared>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.topic.health.told(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Some(mut statistics) = Statistics::read(statistics, &self.0.topic.health) else { return };
        let Some(topic) = statistics.topics.remove(&self.0.topic.settings.name) else { return };
        for partition in topic.partitions.values().filter(|partition| partition.ls_offset >= 0) {
            self.0.end_seen(Partition(partition.partition), partition.ls_offset);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let shared = &self.0;
        let mut partitions: Vec<Partition> =
            list.elements().iter().map(|e| Partition(e.partition())).collect();
        partitions.sort_unstable();
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            lock(&shared.turn).assigned = Some(partitions);
            return;
        }
        if !shared.is_closing() {
            shared.events.revoke(partitions, client.assignment_lost(), HAND_OVER);
        }
        *lock(&shared.turn) = Turn { revoked: true, assigned: None };
        if let Err(error) = client.unassign() {
            tracing::warn!(%error, "cannot give partitions up");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "a commit was lost; it was advisory");
        }
    }
}
