//! What moves over a topic: messages on the way out, reports on the way back.

use bytes::Bytes;
use millrace_model::{Partition, Timestamp};

/// A message as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it lies.
    pub partition: Partition,
    /// Its place there. Offsets rise, but need not be consecutive.
    pub offset: i64,
    /// When the topic took it, in whole milliseconds (for a Kafka topic of somebody else's making: as that topic says).
    pub timestamp: Timestamp,
    /// The key.
    pub key: Bytes,
    /// Names and values, in order. A name may come twice.
    pub headers: Vec<(String, Bytes)>,
    /// The value.
    pub value: Bytes,
}

impl Message {
    /// How many bytes of memory it takes, about.
    pub fn weight(&self) -> usize {
        weight(&self.key, &self.headers, &self.value)
    }
}

/// What a message costs in a queue, in bytes.
pub(crate) fn weight(key: &[u8], headers: &[(String, Bytes)], value: &[u8]) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
    key.len() + headers + value.len() + 160
}

/// How many bytes of a message count against the topic's limit.
pub(crate) fn size(key: &[u8], headers: &[(String, Bytes)], value: &[u8]) -> usize {
    let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    key.len() + headers + value.len()
}

/// What became of a message that was sent. Comes once for each message that `send` took, unless the process ends first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryReport {
    /// As given to `send`.
    pub ticket: u64,
    /// Where the message lies, or why it never will.
    pub outcome: Result<(Partition, i64), Rejected>,
}

/// A message that the topic will never take: sending it again cannot help. Trouble that passes is retried for ever
/// inside and never reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// Larger than the topic takes.
    #[error("a message of {bytes} bytes is larger than the topic takes")]
    TooLarge {
        /// Key, headers and value together.
        bytes: usize,
    },
    /// The partition does not exist.
    #[error("the topic has no partition {0}")]
    NoSuchPartition(Partition),
    /// Refused for another reason that will stay.
    #[error("the topic refuses the message: {0}")]
    Refused(String),
}
