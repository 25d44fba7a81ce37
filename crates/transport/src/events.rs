//! The queue between the thread that reads a topic and the pipeline that asks for events.
//!
//! Bounded in bytes: the reading thread asks [`Events::has_room`] before it reads on. A revocation overtakes messages,
//! and takes those of its partitions out: nobody works on what is already somebody else's.

use crate::{
    Assignment, ConsumerEvent, Message, Revocation,
    metrics::TopicMetrics,
    sync::{Bell, lock},
};
use millrace_model::Partition;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// From so many queued bytes on nothing more is read. With what the reading side holds itself, below 64 MB.
const FULL: usize = 40 << 20;

/// How long a rebalance waits for a pipeline to settle its partitions.
pub(crate) const HAND_OVER: Duration = Duration::from_secs(2);
/// How long a pipeline may take where nobody else waits for its partitions.
pub(crate) const UNHURRIED: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Events {
    state: Mutex<State>,
    ready: Notify,
    /// Rung when there is room again.
    room: Arc<Bell>,
    metrics: TopicMetrics,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<ConsumerEvent>,
    bytes: usize,
    /// The pipeline has seen an assignment that was not revoked since.
    assigned: bool,
    closed: bool,
}

impl Events {
    pub(crate) fn new(room: Arc<Bell>, metrics: TopicMetrics) -> Self {
        Self { state: Mutex::default(), ready: Notify::new(), room, metrics }
    }

    /// May more be read? Otherwise the bell rings when it may.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.state).bytes < FULL
    }

    /// Is less than half of the room taken? The point at which a reader that stopped goes on.
    pub(crate) fn has_ample_room(&self) -> bool {
        lock(&self.state).bytes < FULL / 2
    }

    pub(crate) fn messages(&self, messages: Vec<Message>) {
        if messages.is_empty() {
            return;
        }
        let bytes = weight(&messages);
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        state.bytes += bytes;
        self.metrics.receive_queue_bytes.inc_by(bytes as i64);
        state.queue.push_back(ConsumerEvent::Messages(messages));
        drop(state);
        self.ready.notify_one();
    }

    pub(crate) fn assigned(&self, assignment: Assignment) {
        let mut state = lock(&self.state);
        if !state.closed {
            state.queue.push_back(ConsumerEvent::Assigned(assignment));
        }
        drop(state);
        self.ready.notify_one();
    }

    /// Has everything been handed out?
    pub(crate) fn is_drained(&self) -> bool {
        lock(&self.state).queue.is_empty()
    }

    /// Takes these partitions away from the pipeline and waits until it has settled them, so long at most. Blocks.
    pub(crate) fn revoke(&self, partitions: Vec<Partition>, lost: bool, within: Duration) {
        let (done, settled) = mpsc::sync_channel(1);
        let deadline = Instant::now() + within;
        {
            let mut state = lock(&self.state);
            self.forget(&mut state, &partitions);
            if !std::mem::take(&mut state.assigned) || state.closed {
                return;
            }
            state.queue.push_front(ConsumerEvent::Revoked(Revocation {
                partitions,
                deadline,
                lost,
                _done: done,
            }));
        }
        self.ready.notify_one();
        // Nothing is ever sent: the other end is dropped when the pipeline is done.
        if settled.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!(
                "partitions were not handed over in time; whoever has them now reads again what was open"
            );
        }
    }

    /// Drops what is queued for `partitions`: messages, and an assignment that nobody has seen.
    fn forget(&self, state: &mut State, partitions: &[Partition]) {
        let before = state.bytes;
        let mut bytes = 0;
        state.queue.retain_mut(|event| match event {
            ConsumerEvent::Messages(messages) => {
                messages.retain(|message| !partitions.contains(&message.partition));
                bytes += weight(messages);
                !messages.is_empty()
            }
            ConsumerEvent::Assigned(_) => false,
            ConsumerEvent::Revoked(_) => true,
        });
        state.bytes = bytes;
        self.metrics.receive_queue_bytes.dec_by((before - bytes) as i64);
    }

    /// The next event, `None` once closed. Cancel-safe.
    pub(crate) async fn next(&self) -> Option<ConsumerEvent> {
        loop {
            // A notification between the look and the wait is kept by `Notify`.
            match self.take() {
                Ok(event) => return event,
                Err(Empty) => self.ready.notified().await,
            }
        }
    }

    fn take(&self) -> Result<Option<ConsumerEvent>, Empty> {
        let mut state = lock(&self.state);
        if state.closed {
            return Ok(None);
        }
        let event = state.queue.pop_front().ok_or(Empty)?;
        match &event {
            ConsumerEvent::Messages(messages) => {
                let bytes = weight(messages);
                let was_full = state.bytes >= FULL;
                state.bytes -= bytes;
                self.metrics.receive_queue_bytes.dec_by(bytes as i64);
                self.metrics.received_messages.inc_by(messages.len() as u64);
                let size = |m: &Message| crate::message::size(&m.key, &m.headers, &m.value) as u64;
                self.metrics.received_bytes.inc_by(messages.iter().map(size).sum());
                if was_full && state.bytes < FULL {
                    self.room.ring();
                }
            }
            ConsumerEvent::Assigned(_) => state.assigned = true,
            ConsumerEvent::Revoked(_) => {}
        }
        Ok(Some(event))
    }

    /// Nothing more comes out.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        self.metrics.receive_queue_bytes.dec_by(state.bytes as i64);
        state.bytes = 0;
        state.queue.clear();
        drop(state);
        self.ready.notify_one();
    }
}

/// Nothing is queued now.
struct Empty;

fn weight(messages: &[Message]) -> usize {
    messages.iter().map(Message::weight).sum()
}
