//! What can go wrong for good. Trouble that passes is waited out inside, and shows in metrics and `healthy()`.

use millrace_config::Shortage;
use std::{io, path::PathBuf};

/// Why a topic cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A `[topic.librdkafka]` key that librdkafka does not take.
    #[error("librdkafka refuses {key} = {value:?}: {reason}")]
    Setting {
        /// The key.
        key: String,
        /// As given; hidden for keys that hold secrets.
        value: String,
        /// Its words.
        reason: String,
    },
    /// The broker refuses for a reason that will stay.
    #[error("topic {topic}: {reason}")]
    Refused {
        /// The topic.
        topic: String,
        /// The broker's words.
        reason: String,
    },
    /// The broker does not answer.
    #[error("topic {topic}: the broker does not answer")]
    Unreachable {
        /// The topic.
        topic: String,
        /// The client's words.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// The topic has fewer partitions.
    #[error("topic {topic} has no partition {partition}")]
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// The partition that was asked for.
        partition: millrace_model::Partition,
    },
    /// The client library cannot be started.
    #[error("the Kafka client for topic {topic} cannot be started")]
    Client {
        /// The topic.
        topic: String,
        /// The client's words.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// A file or folder of the embedded topic.
    #[error("{}: cannot {action}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The embedded topic's disk has less room than it must keep.
    #[error("{}: {shortage}", path.display())]
    Full {
        /// A file on it.
        path: PathBuf,
        /// How much less.
        shortage: Shortage,
    },
    /// Another process (or another handle of this one) has the embedded topic.
    #[error("{}: the topic is in use by another process", path.display())]
    InUse {
        /// Its lock file.
        path: PathBuf,
    },
    /// A file of the embedded topic does not say what it should.
    #[error("{}: {problem}", path.display())]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The other host, whose topic it is, does not answer.
    #[error("{url}: {problem}")]
    Away {
        /// The topic.
        url: String,
        /// What it said, or why it said nothing.
        problem: String,
    },
    /// A topic of another host is for sending only.
    #[error("{url}: a topic of type \"http\" is one that is only sent to")]
    OnlySends {
        /// The topic.
        url: String,
    },
    /// A thread could not be started.
    #[error("a thread for topic {topic} cannot be started")]
    Thread {
        /// The topic.
        topic: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The other side of a channel is gone: whoever took reports, or the topic itself.
    #[error("the topic is closed")]
    Closed,
}
