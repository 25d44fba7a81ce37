//! The sending side, for every kind of topic.

use crate::Error;
use millrace_model::{Partition, wire::Payload};
use std::{future::Future, time::Duration};

/// Sends messages. What it promises: a message whose report says delivered survives `kill -9` of this process (and
/// what else the topic's settings say); messages of one partition lie in the order in which `send` took them; trouble
/// that passes is retried for ever.
///
/// A message may lie in the topic twice when the topic's answer was lost; whoever reads must know its messages.
pub trait Producer: Send + Sync {
    /// How many partitions the topic has now.
    fn partitions(&self) -> impl Future<Output = Result<u32, Error>> + Send;

    /// Takes a message, or waits while the queue is full: that is the backpressure. `ticket` comes back in the report.
    ///
    /// There are never more messages under way than the channel of reports has room for: take the reports from another
    /// task than the one that sends. Cancelled before it is ready, the message was not taken.
    fn send(
        &self,
        partition: Partition,
        payload: Payload,
        ticket: u64,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Keeps a message that the topic refuses in the dead-letter topic beside it, and returns when it is durable there. Tries
    /// once.
    fn keep_dead(
        &self,
        partition: Partition,
        original: Payload,
        reason: &str,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Waits until everything taken so far is reported, `within` at most; says whether it is.
    fn flush(&self, within: Duration) -> impl Future<Output = bool> + Send;
}
