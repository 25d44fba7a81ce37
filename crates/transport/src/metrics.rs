//! What this room counts. One set for all topics of a process; the label `topic` is as bounded as the configuration.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    topic: String,
}

/// The metrics of all topics, `millrace_transport_…`. Make one for a process; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    sent_messages: Family<Labels, Counter>,
    sent: Family<Labels, Counter>,
    received_messages: Family<Labels, Counter>,
    received: Family<Labels, Counter>,
    rejected_messages: Family<Labels, Counter>,
    send_queue: Family<Labels, Gauge>,
    receive_queue: Family<Labels, Gauge>,
    retries: Family<Labels, Counter>,
    corrupt_blocks: Family<Labels, Counter>,
    cut: Family<Labels, Counter>,
    dropped_messages: Family<Labels, Counter>,
}

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let room = registry.sub_registry_with_prefix("millrace_transport");
        let m = metrics.clone();
        room.register("sent_messages", "Messages that the topic has taken", m.sent_messages);
        room.register_with_unit("sent", "Key, headers and value of messages taken", Unit::Bytes, m.sent);
        room.register("received_messages", "Messages handed to pipelines", m.received_messages);
        room.register_with_unit(
            "received",
            "Key, headers and value of messages handed out",
            Unit::Bytes,
            m.received,
        );
        room.register("rejected_messages", "Messages that the topic will never take", m.rejected_messages);
        room.register_with_unit("send_queue", "Sent and not yet reported", Unit::Bytes, m.send_queue);
        room.register_with_unit("receive_queue", "Read and not yet handed out", Unit::Bytes, m.receive_queue);
        room.register("send_retries", "Sends that had to be tried again, and clients rebuilt", m.retries);
        room.register("corrupt_blocks", "Times that a damaged block was met and skipped", m.corrupt_blocks);
        room.register_with_unit("cut", "Torn ends of files cut off when opening", Unit::Bytes, m.cut);
        room.register(
            "dropped_messages",
            "Messages that retention deleted before a known group had committed them",
            m.dropped_messages,
        );
        metrics
    }

    pub(crate) fn of(&self, topic: &str) -> TopicMetrics {
        let labels = Labels { topic: topic.to_owned() };
        TopicMetrics {
            sent_messages: self.sent_messages.get_or_create_owned(&labels),
            sent_bytes: self.sent.get_or_create_owned(&labels),
            received_messages: self.received_messages.get_or_create_owned(&labels),
            received_bytes: self.received.get_or_create_owned(&labels),
            rejected_messages: self.rejected_messages.get_or_create_owned(&labels),
            send_queue_bytes: self.send_queue.get_or_create_owned(&labels),
            receive_queue_bytes: self.receive_queue.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
            corrupt_blocks: self.corrupt_blocks.get_or_create_owned(&labels),
            cut_bytes: self.cut.get_or_create_owned(&labels),
            dropped_messages: self.dropped_messages.get_or_create_owned(&labels),
        }
    }
}

/// The metrics of one topic, looked up once.
#[derive(Debug, Clone)]
pub(crate) struct TopicMetrics {
    pub(crate) sent_messages: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) received_messages: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) rejected_messages: Counter,
    pub(crate) send_queue_bytes: Gauge,
    pub(crate) receive_queue_bytes: Gauge,
    pub(crate) retries: Counter,
    pub(crate) corrupt_blocks: Counter,
    pub(crate) cut_bytes: Counter,
    pub(crate) dropped_messages: Counter,
}
