//! A member of a consumer group of a Kafka topic, or a reader that is in none: the handle, and what it shares with the thread
//! that polls.

mod context;
mod poller;
mod roster;

use super::{Inner, client};
use crate::{
    Consumer, ConsumerEvent, Error,
    events::Events,
    sync::{Bell, lock},
};
use millrace_model::Partition;
use poller::Poller;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// What clients are called that are in no group.
const ALONE: &str = "look";

/// A consumer of a Kafka topic.
pub struct KafkaConsumer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for KafkaConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConsumer").field("group", &self.shared.group).finish_non_exhaustive()
    }
}

/// What the handle, the polling thread and librdkafka's callbacks share.
struct Shared {
    topic: Arc<Inner>,
    /// What its clients are called; of a reader, no member ever joins it.
    group: String,
    has_group: bool,
    events: Events,
    /// What the pipeline wants paused.
    paused: Mutex<BTreeSet<Partition>>,
    /// What the pipeline wants committed, newest last.
    commits: Mutex<BTreeMap<Partition, i64>>,
    /// The newest known end of each partition that is assigned.
    ends: Mutex<BTreeMap<Partition, i64>>,
    /// What the group has said since the thread last looked.
    turn: Mutex<Turn>,
    closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Turn {
    /// Everything was taken away.
    revoked: bool,
    /// These were given, after that.
    assigned: Option<Vec<Partition>>,
}

impl KafkaConsumer {
    pub(super) fn open(topic: &Arc<Inner>, group: Option<&str>) -> Result<Self, Error> {
        let (group, has_group) = (group.unwrap_or(ALONE), group.is_some());
        let settings = &topic.settings;
        let config = client::consumer(settings, group);
        config.create_native_config().map_err(|error| client::client_error(settings, error))?;
        let shared = Arc::new(Shared {
            topic: Arc::clone(topic),
            group: group.to_owned(),
            has_group,
            events: Events::new(Arc::new(Bell::default()), topic.metrics.clone()),
            paused: Mutex::default(),
            commits: Mutex::default(),
            ends: Mutex::default(),
            turn: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        let poller = Poller::new(Arc::clone(&shared), config);
        let thread = std::thread::Builder::new().name(format!("read {group}")).spawn(move || poller.run());
        let thread = thread.map_err(|source| Error::Thread { topic: settings.name.clone(), source })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Consumer for KafkaConsumer {
    async fn next(&mut self) -> Option<ConsumerEvent> {
        self.shared.events.next().await
    }

    fn pause(&self, partitions: &[Partition]) {
        lock(&self.shared.paused).extend(partitions);
    }

    fn resume(&self, partitions: &[Partition]) {
        lock(&self.shared.paused).retain(|partition| !partitions.contains(partition));
    }

    fn commit(&self, next: &[(Partition, i64)]) {
        if self.shared.has_group {
            lock(&self.shared.commits).extend(next.iter().copied());
        }
    }

    fn end(&self, partition: Partition) -> Option<i64> {
        lock(&self.shared.ends).get(&partition).copied()
    }

    async fn close(mut self) {
        self.shared.leave();
        if let Some(thread) = self.thread.take()
            && !matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(())))
        {
            tracing::error!("the thread that reads the topic did not end well");
        }
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.shared.leave();
    }
}

impl Shared {
    fn leave(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.events.close();
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Something was seen of a partition's end. Ends never go back while a partition is assigned.
    fn end_seen(&self, partition: Partition, end: i64) {
        if let Some(known) = lock(&self.ends).get_mut(&partition) {
            *known = end.max(*known);
        }
    }
}
