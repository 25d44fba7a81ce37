//! The embedded topic: Kafka's semantics in one process, on disk.
//!
//! | file | what |
//! |---|---|
//! | `<directory>/<topic>.lock` | locked while a process has the topic |
//! | `<directory>/<topic>/topic.json` | the topic's id and its number of partitions |
//! | `<directory>/<topic>/groups.json` | what each group has committed |
//! | `<directory>/<topic>/<partition>/<first offset>.log` | a segment |
//!
//! **What an acknowledgement means.** The message was handed to the operating system: it survives `kill -9` of this
//! process at any moment. With `fsync = "always"` (the default) it was also synced to the disk, and survives a power cut
//! as far as the disk keeps its word. With `fsync = "interval"` a power cut or a crash of the kernel may take the last
//! second.
//!
//! The last handle of a topic to go (topics, producers, consumers) writes what waits and releases the lock.

mod all;
pub(crate) mod block;
mod consumer;
mod description;
mod files;
mod groups;
mod log;
mod retention;
mod segment;
mod verify;
mod writer;

pub use all::{Stored, earliest_stored, read_stored};
pub use consumer::EmbeddedConsumer;
pub use verify::Flaw;

use crate::{
    DeliveryReport, EmbeddedSettings, Error, Metrics, Page, Producer, Rejected, Topic,
    message::{size, weight},
    metrics::TopicMetrics,
    reports::Reports,
    settings::{Fsync, Side},
    sync::{Bell, lock},
};
use description::Described;
use files::{replace_json, sync_folder};
use groups::Groups;
use log::{Log, file_error};
use millrace_model::{Clock, Partition, Timestamp, TopicId, chain, wire};
use std::{
    collections::BTreeMap,
    fmt, fs,
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::{OnceCell, mpsc};
use writer::{Inbox, Waiting, Writer, refuse};

/// How long the lock of another process is waited for: a killed one takes a moment to be taken down.
const TAKEN_DOWN: Duration = Duration::from_secs(3);
/// How often the lock is tried in that time.
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// How often commits are stored, files synced (`fsync = "interval"`) and retention looks.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How many bytes a producer may have under way.
const UNDER_WAY: u32 = 32 << 20;

/// An embedded topic. Cloning is a reference count.
#[derive(Debug, Clone)]
pub struct EmbeddedTopic(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    id: TopicId,
    groups: Arc<Groups>,
    logs: Arc<Vec<Arc<Log>>>,
    inboxes: Vec<Arc<Inbox>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stop: Arc<Stop>,
    metrics: Metrics,
    /// The topics beside it, by what they are for.
    sides: [OnceCell<EmbeddedTopic>; Side::COUNT],
    /// Released when everything else is.
    _lock: File,
}

/// What the topic's threads share.
struct Shared {
    settings: EmbeddedSettings,
    clock: Arc<dyn Clock>,
    metrics: TopicMetrics,
    /// Rung when messages have arrived, members have changed or there is room again.
    arrived: Arc<Bell>,
    /// Partitions whose disk takes nothing, and why.
    trouble: Mutex<BTreeMap<Partition, String>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Shared {
    fn set_trouble(&self, partition: Partition, reason: Option<String>) {
        let mut trouble = lock(&self.trouble);
        match reason {
            Some(reason) => trouble.insert(partition, reason),
            None => trouble.remove(&partition),
        };
    }
}

#[derive(Debug, Default)]
struct Stop {
    stopping: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn now(&self) {
        *lock(&self.stopping) = true;
        self.changed.notify_all();
    }

    /// Waits; says whether to stop.
    fn wait(&self, at_most: Duration) -> bool {
        let stopping = lock(&self.stopping);
        *self
            .changed
            .wait_timeout_while(stopping, at_most, |stopping| !*stopping)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

impl EmbeddedTopic {
    /// Opens the topic, making it first if it is absent. Blocks on the disk.
    pub(crate) fn open(
        settings: EmbeddedSettings,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Self, Error> {
        let own = metrics.of(&settings.name);
        fs::create_dir_all(&settings.directory).map_err(file_error(&settings.directory, "create it"))?;
        let lock_file = take_lock(&settings.directory.join(format!("{}.lock", settings.name)))?;
        let directory = settings.directory.join(&settings.name);
        let described = match description::read(&directory)? {
            Some(described) => described,
            None => create(&directory, settings.partitions, clock.now())?,
        };
        let log = |partition: u32| {
            let partition = Partition(partition as i32);
            Log::open(directory.join(partition.to_string()), partition, &own).map(Arc::new)
        };
        let logs = (0..described.partitions).map(log).collect::<Result<Vec<_>, _>>()?;
        let used = logs.iter().any(|log| log.end() > 1);
        let groups = Groups::open(&directory, described.partitions, used);
        for log in &logs {
            keep_end(log, &groups);
        }
        let shared =
            Shared { settings, clock, metrics: own, arrived: Arc::default(), trouble: Mutex::default() };
        let inner = Inner {
            shared: Arc::new(shared),
            id: described.id,
            groups: Arc::new(groups),
            inboxes: logs.iter().map(|_| Arc::default()).collect(),
            logs: Arc::new(logs),
            threads: Mutex::default(),
            stop: Arc::default(),
            metrics: metrics.clone(),
            sides: Default::default(),
            _lock: lock_file,
        };
        inner.start_threads()?;
        Ok(Self(Arc::new(inner)))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.shared.settings.name
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        usize::try_from(self.0.shared.settings.max_message_bytes).unwrap_or(usize::MAX)
    }

    pub(crate) fn producer(&self, reports: mpsc::Sender<DeliveryReport>) -> EmbeddedProducer {
        let reports = Reports::new(reports, UNDER_WAY, self.0.shared.metrics.clone());
        EmbeddedProducer { topic: Arc::clone(&self.0), reports }
    }

    pub(crate) fn reader(&self) -> Result<EmbeddedConsumer, Error> {
        EmbeddedConsumer::open(&self.0, None)
    }

    pub(crate) fn consumer(&self, group: &str) -> Result<EmbeddedConsumer, Error> {
        EmbeddedConsumer::open(&self.0, Some(group))
    }

    pub(crate) async fn beside(&self, side: Side) -> Result<Self, Error> {
        let topic = self.0.sides[side as usize].get_or_try_init(async || {
            let shared = &self.0.shared;
            let settings = shared.settings.beside(side);
            let (clock, metrics) = (Arc::clone(&shared.clock), self.0.metrics.clone());
            let open = move || Self::open(settings, clock, &metrics);
            tokio::task::spawn_blocking(open).await.map_err(|_| Error::Closed)?
        });
        topic.await.cloned()
    }

    pub(crate) fn page(&self, partition: Partition, from: i64, limit: usize) -> Result<Page, Error> {
        let topic = || self.name().to_owned();
        let log =
            self.0.log(partition).ok_or_else(|| Error::NoSuchPartition { topic: topic(), partition })?;
        consumer::page(&self.0, log, from, limit)
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.0.logs.len() as u32
    }

    pub(crate) fn keeps(&self) -> Duration {
        let settings = &self.0.shared.settings;
        settings.retention + retention::roll_age(settings)
    }

    /// What is wrong with its files, those of the topics beside it included, where there are any.
    pub(crate) async fn verify(&self) -> Result<Vec<Flaw>, Error> {
        let mut flaws = self.verify_own().await?;
        for side in Side::ALL {
            let beside = self.0.shared.settings.beside(side);
            if !beside.directory.join(&beside.name).exists() {
                continue;
            }
            match self.beside(side).await {
                Ok(topic) => flaws.extend(topic.verify_own().await?),
                Err(error) => {
                    let problem = chain(&error);
                    flaws.push(Flaw { topic: beside.name, partition: Partition(0), problem });
                }
            }
        }
        Ok(flaws)
    }

    async fn verify_own(&self) -> Result<Vec<Flaw>, Error> {
        let topic = self.clone();
        let read = move || topic.0.logs.iter().flat_map(|log| verify::verify(topic.name(), log)).collect();
        tokio::task::spawn_blocking(read).await.map_err(|_| Error::Closed)
    }

    pub(crate) fn healthy(&self) -> Result<(), String> {
        match lock(&self.0.shared.trouble).first_key_value() {
            Some((partition, reason)) => Err(format!("partition {partition}: {reason}")),
            None => Ok(()),
        }
    }

    /// Deletes what retention allows; the housekeeping thread does it too.
    #[cfg(test)]
    pub(crate) fn enforce_retention(&self) -> Result<(), Error> {
        retention::enforce(&self.0.shared, &self.0.logs, &self.0.groups)
    }

    #[cfg(test)]
    pub(crate) fn roll_old(&self) -> Result<(), Error> {
        retention::roll_old(&self.0.shared, &self.0.logs, &self.0.inboxes)
    }
}

impl Inner {
    fn log(&self, partition: Partition) -> Option<&Arc<Log>> {
        self.logs.get(usize::try_from(partition.0).ok()?)
    }

    fn start_threads(&self) -> Result<(), Error> {
        let start = |name: String, work: Box<dyn FnOnce() + Send>| {
            let topic = &self.shared.settings.name;
            let failed = |source| Error::Thread { topic: topic.clone(), source };
            let thread = thread::Builder::new().name(name).spawn(work).map_err(failed)?;
            lock(&self.threads).push(thread);
            Ok(())
        };
        for (log, inbox) in self.logs.iter().zip(&self.inboxes) {
            let writer = Writer::new(Arc::clone(&self.shared), Arc::clone(log), Arc::clone(inbox));
            start(format!("append {}", log.partition), Box::new(move || writer.run()))?;
        }
        let (shared, logs) = (Arc::clone(&self.shared), Arc::clone(&self.logs));
        let (groups, stop) = (Arc::clone(&self.groups), Arc::clone(&self.stop));
        let inboxes = self.inboxes.clone();
        start(
            "topic housekeeping".to_owned(),
            Box::new(move || keep_house(&shared, &logs, &inboxes, &groups, &stop)),
        )
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(|inbox| inbox.stop());
        let threads = std::mem::take(&mut *lock(&self.threads));
        let (writers, housekeeping): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|thread| thread.thread().name() != Some("topic housekeeping"));
        let join = |thread: JoinHandle<()>| {
            if thread.join().is_err() {
                tracing::error!(topic = self.shared.settings.name, "a thread of the topic panicked");
            }
        };
        writers.into_iter().for_each(join);
        self.stop.now();
        housekeeping.into_iter().for_each(join);
    }
}

/// Stores commits, syncs files and deletes what is old, until stopped; once more then.
fn keep_house(shared: &Shared, logs: &[Arc<Log>], inboxes: &[Arc<Inbox>], groups: &Groups, stop: &Stop) {
    let mut synced: Vec<i64> = logs.iter().map(|log| log.end()).collect();
    loop {
        let stopping = stop.wait(HOUSEKEEPING);
        let mut results = vec![groups.store(shared.clock.now())];
        if shared.settings.fsync == Fsync::Interval {
            results.extend(logs.iter().zip(&mut synced).map(|(log, synced)| sync(log, synced)));
        }
        results.push(retention::roll_old(shared, logs, inboxes));
        results.push(retention::enforce(shared, logs, groups));
        for error in results.into_iter().filter_map(Result::err) {
            shared.metrics.retries.inc();
            tracing::warn!(error = chain(&error), "housekeeping of the topic failed; it will be tried again");
        }
        if stopping {
            return;
        }
    }
}

/// Syncs the segment being written, if anything was appended since the last time.
fn sync(log: &Log, synced: &mut i64) -> Result<(), Error> {
    let end = log.end();
    if *synced == end {
        return Ok(());
    }
    let path = log.active().path.clone();
    File::open(&path).and_then(|file| file.sync_data()).map_err(file_error(&path, "sync it"))?;
    *synced = end;
    Ok(())
}

fn take_lock(path: &Path) -> Result<File, Error> {
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = open.map_err(file_error(path, "open it"))?;
    let deadline = Instant::now() + TAKEN_DOWN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(file_error(path, "lock it")(source)),
        }
    }
}

/// Where a partition's last messages are gone that groups have read, new ones do not get their offsets.
fn keep_end(log: &Log, groups: &Groups) {
    let (end, read) = (log.end(), groups.read_up_to(log.partition));
    if log.raise(read) {
        tracing::error!(
            path = %log.directory.display(),
            from_offset = end,
            to_offset = read,
            "the partition's last messages are gone, which were read before: it goes on after them"
        );
    }
}

/// Makes the topic beside its place, each partition with the topic's marker as first message, and moves it there whole.
fn create(directory: &Path, partitions: u32, now: Timestamp) -> Result<Described, Error> {
    let described = Described::new(TopicId::random(), partitions);
    let new: PathBuf = directory.with_added_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(file_error(&new, "delete what a crash left of it"))?;
    }
    for partition in 0..partitions {
        let folder = new.join(partition.to_string());
        fs::create_dir_all(&folder).map_err(file_error(&folder, "create it"))?;
        let path = Log::begin(&folder)?;
        let marker = wire::topic_marker(described.id);
        let write = || {
            let (_, block) = block::encode(0, now, std::iter::once(&marker))?;
            fs::write(&path, block)?;
            File::open(&path)?.sync_all()
        };
        write().map_err(file_error(&path, "write it"))?;
    }
    replace_json(&new.join(description::FILE), &described)?;
    let rename = || {
        fs::rename(&new, directory)?;
        directory.parent().map_or(Ok(()), sync_folder)
    };
    rename().map_err(file_error(directory, "create it"))?;
    Ok(described)
}

/// Sends to an embedded topic.
#[derive(Debug)]
pub struct EmbeddedProducer {
    topic: Arc<Inner>,
    reports: Reports,
}

impl Producer for EmbeddedProducer {
    async fn partitions(&self) -> Result<u32, Error> {
        Ok(self.topic.logs.len() as u32)
    }

    async fn send(&self, partition: Partition, payload: wire::Payload, ticket: u64) -> Result<(), Error> {
        let size = size(&payload.key, &payload.headers, &payload.value);
        let weight = weight(&payload.key, &payload.headers, &payload.value);
        let slot = self.reports.admit(ticket, weight, size).await?;
        if let Some(rejected) = refuse(size, self.topic.shared.settings.max_message_bytes) {
            slot.report(Err(rejected));
            return Ok(());
        }
        match usize::try_from(partition.0).ok().and_then(|at| self.topic.inboxes.get(at)) {
            Some(inbox) => inbox.put(Waiting { payload, size, slot }),
            None => slot.report(Err(Rejected::NoSuchPartition(partition))),
        }
        Ok(())
    }

    async fn keep_dead(
        &self,
        partition: Partition,
        original: wire::Payload,
        reason: &str,
    ) -> Result<(), Error> {
        Topic::Embedded(EmbeddedTopic(Arc::clone(&self.topic))).keep_dead(partition, original, reason).await
    }

    async fn flush(&self, within: Duration) -> bool {
        self.reports.settled(within).await
    }
}

#[cfg(test)]
mod tests;
