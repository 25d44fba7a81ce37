//! The reading side, for every kind of topic: events, and the two handshakes around a change of owner.

use crate::Message;
use millrace_model::{Partition, TopicId};
use std::{
    future::Future,
    sync::mpsc::{SyncSender, TrySendError},
    time::Instant,
};

/// What a consumer hands out.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// These partitions are ours from here on; nothing is read before [`Assignment::start`] says from where.
    Assigned(Assignment),
    /// These partitions are about to be somebody else's. Messages of theirs that were not handed out yet never will be.
    Revoked(Revocation),
    /// Messages in the order of their partitions; never empty.
    Messages(Vec<Message>),
}

/// A partition as it is when it is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedPartition {
    /// Which.
    pub partition: Partition,
    /// Which incarnation of the topic this is, where its first message is still there and says so.
    pub topic_id: Option<TopicId>,
    /// The first offset that is still there.
    pub low: i64,
    /// The offset that the next message will have.
    pub high: i64,
}

/// Where reading a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this offset. Where the topic no longer or not yet has it nothing is read, and the partition is assigned again, as it
    /// is then.
    Offset(i64),
    /// At the earliest message that is there.
    Earliest,
}

/// Partitions that are ours once we say where to begin.
///
/// Dropped without [`Assignment::start`], nothing is consumed and the assignment is offered again.
#[derive(Debug)]
pub struct Assignment {
    /// The partitions, by number.
    pub partitions: Vec<AssignedPartition>,
    pub(crate) answer: SyncSender<Vec<(Partition, Start)>>,
}

impl Assignment {
    /// Begins reading. A partition that is not named stays unread until the next assignment; one that is not ours is
    /// passed over. Does not block. If the assignment has meanwhile been taken away, this does nothing: its
    /// [`Revocation`] is among the next events.
    pub fn start(self, at: Vec<(Partition, Start)>) {
        match self.answer.try_send(at) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => tracing::error!("an assignment was started twice"),
        }
    }
}

/// Partitions that are being taken away. The rebalance waits until this is dropped, but not past the deadline.
#[derive(Debug)]
pub struct Revocation {
    /// The partitions, by number.
    pub partitions: Vec<Partition>,
    /// When the others stop waiting.
    pub deadline: Instant,
    /// They are somebody else's already, as the session was lost: nothing can be handed over.
    pub lost: bool,
    pub(crate) _done: SyncSender<()>,
}

impl Revocation {
    /// Says that everything about these partitions is settled.
    pub fn done(self) {}
}

/// Some messages of a partition, read apart from every group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In order. None: there is nothing more.
    pub messages: Vec<Message>,
    /// Where the next page begins.
    pub next: i64,
    /// The first offset that is still there.
    pub low: i64,
    /// The offset that the next message will have.
    pub end: i64,
}

/// Reads the partitions that its group assigns to it.
///
/// **Invariant:** it never passes over messages that are gone. Where the topic does not have the next offset any more (its
/// retention was faster, it has lost its end, it was made anew) all that was read is handed out, then everything is taken
/// away and assigned afresh: whoever begins again sees where the topic begins and ends by then.
///
/// Dropping it is like [`Consumer::close`], without waiting.
pub trait Consumer: Send {
    /// The next event; `None` once closed. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<ConsumerEvent>> + Send;

    /// Stops reading these partitions; what was read already may still come. Lasts until [`Consumer::resume`] or until
    /// the partition is revoked. The group never notices. Does not block.
    fn pause(&self, partitions: &[Partition]);

    /// Goes on reading these partitions where it stopped. Does not block.
    fn resume(&self, partitions: &[Partition]);

    /// Tells the topic up to where (the next offset to read) the group is done. Advisory: it feeds lag displays and
    /// retention, and nothing is read from it. Does not block, and may be lost.
    fn commit(&self, next: &[(Partition, i64)]);

    /// The newest known end of an assigned partition: the offset that its next message will have. Cheap; at most a few
    /// seconds old.
    fn end(&self, partition: Partition) -> Option<i64>;

    /// Leaves the group. The partitions are given up at once, without a [`Revocation`].
    fn close(self) -> impl Future<Output = ()> + Send;
}
