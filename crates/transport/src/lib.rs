//! Moves payloads over a topic: Kafka, one of our own on this machine's disk, or that of another host, with the same promises.
//!
//! [`Topic::open`] gives a handle; from it come [`Producer`]s and [`Consumer`]s. What a message means is not known here,
//! but for the topic's own marker. One suite of contract tests (`tests/contract`) holds all kinds to what [`Producer`]
//! and [`Consumer`] say.
//!
//! **Invariants.** A message reported as delivered is never lost by the death of this process. Messages of a partition
//! keep their order. No queue is unbounded: senders wait, readers pause. Trouble that passes is never an error.

mod consumer;
mod embedded;
mod error;
mod events;
mod glance;
mod http;
mod kafka;
mod lag;
mod message;
mod metrics;
mod producer;
mod reports;
mod settings;
mod sync;
mod topic;

pub use consumer::{AssignedPartition, Assignment, Consumer, ConsumerEvent, Page, Revocation, Start};
pub use embedded::{
    EmbeddedConsumer, EmbeddedProducer, EmbeddedTopic, Flaw, Stored, earliest_stored, read_stored,
};
pub use error::Error;
pub use glance::{Glance, glance};
pub use http::{HttpProducer, HttpTopic, router};
pub use kafka::{KafkaConsumer, KafkaProducer, KafkaTopic};
pub use lag::Lag;
pub use message::{DeliveryReport, Message, Rejected};
pub use metrics::Metrics;
pub use producer::Producer;
pub use settings::{
    ClientTls, DEFAULT_NAME, EmbeddedSettings, Fsync, HttpSettings, KafkaSettings, LIBRDKAFKA_OURS,
    TopicSettings,
};
pub use topic::{AnyConsumer, AnyProducer, Topic};
