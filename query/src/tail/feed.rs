//! The one reader for all who watch.

use super::{
    Cursor, Watcher,
    ring::{Batch, Look, Place, Ring},
};
use crate::INDEXER_GROUP;
use millrace_catalogue::Catalogue;
use millrace_filter::Filter;
use millrace_ledger::{Accounted, Ledger, Place as MessagePlace, read};
use millrace_model::{
    Declarations, Partition, Row, Sight, StreamName, TimeRange, TopicId, declared::take_words,
};
use millrace_transport::{
    AnyConsumer, AssignedPartition, Assignment, Consumer, ConsumerEvent, Message, Start, Topic,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// What came last is kept up to so many bytes.
const HELD: usize = 64 << 20;
/// Who begins to watch waits so long for the topic.
const PATIENCE: Duration = Duration::from_secs(10);
/// The topic is read for so long after the last has stopped watching: who comes back finds what came meanwhile.
const LINGER: Duration = Duration::from_mins(1);
/// Before trouble is gone into again.
const AGAIN: Duration = Duration::from_secs(1);
/// So many messages are read at most that nobody has published yet, to know what their agents send again.
const UNPUBLISHED: i64 = 10_000;
/// Sources that have ended are forgotten when so many are known.
const KNOWN: usize = 10_000;
/// So many may watch at once.
const MOST_WATCHERS: usize = 512;

/// What a feed is made of.
#[derive(Clone)]
pub struct FeedParts {
    /// The topic.
    pub topic: Topic,
    /// Where the ledger is kept.
    pub catalogue: Catalogue,
    /// What is declared of the fields of streams: who watches sees a record as searches do.
    pub declared: BTreeMap<StreamName, Arc<Declarations>>,
}

/// See the module. Reads only while somebody watches.
pub struct Feed(Arc<Inner>);

/// Nobody can begin to watch now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotNow {
    /// The topic is away.
    #[error("the topic cannot be read now")]
    Away,
    /// As many watch as may.
    #[error("{MOST_WATCHERS} watch already, which are as many as may")]
    TooMany,
}

pub(super) struct Inner {
    pub(super) parts: FeedParts,
    ring: Mutex<Ring>,
    /// Rises with each batch, and when reading begins.
    pub(super) news: watch::Sender<u64>,
    audience: Mutex<Audience>,
}

struct Audience {
    watchers: usize,
    is_reading: bool,
    left: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Of this topic. Nothing is read yet.
    pub fn new(parts: FeedParts) -> Self {
        Self::holding(parts, HELD)
    }

    pub(super) fn holding(parts: FeedParts, bytes: usize) -> Self {
        let audience = Audience { watchers: 0, is_reading: false, left: Instant::now() };
        Self(Arc::new(Inner {
            parts,
            ring: Mutex::new(Ring::new(bytes)),
            news: watch::Sender::new(0),
            audience: Mutex::new(audience),
        }))
    }

    pub(super) fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.0)
    }

    /// Begins to watch what matches in these streams, from a cursor or from now on.
    ///
    /// # Errors
    /// The topic cannot be read, or too many watch.
    pub async fn watch(
        &self,
        filter: Filter,
        streams: Option<Vec<StreamName>>,
        sight: Sight,
        from: Option<Cursor>,
    ) -> Result<Watcher, NotNow> {
        let seat = self.0.sit_down()?;
        let mut news = self.0.news.subscribe();
        let began = async {
            while lock(&self.0.ring).held().is_empty() {
                // The sender lives as long as this.
                drop(news.changed().await);
            }
        };
        tokio::time::timeout(PATIENCE, began).await.map_err(|_| NotNow::Away)?;
        seat.keep();
        Ok(Watcher::new(self, filter, streams, sight, from))
    }
}

/// One of the audience, until it is kept by a watcher.
struct Seat(Option<Arc<Inner>>);

impl Seat {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            inner.leave();
        }
    }
}

impl Inner {
    /// One more of the audience; reading begins with the first.
    fn sit_down(self: &Arc<Self>) -> Result<Seat, NotNow> {
        let mut audience = lock(&self.audience);
        if audience.watchers >= MOST_WATCHERS {
            return Err(NotNow::TooMany);
        }
        audience.watchers += 1;
        if !audience.is_reading {
            audience.is_reading = true;
            tokio::spawn(Reader::run(Arc::clone(self)));
        }
        Ok(Seat(Some(Arc::clone(self))))
    }

    pub(super) fn leave(&self) {
        let mut audience = lock(&self.audience);
        audience.watchers -= 1;
        audience.left = Instant::now();
    }

    /// Has nobody watched for a while? Then reading ends.
    fn is_left(&self) -> bool {
        let mut audience = lock(&self.audience);
        let is_left = audience.watchers == 0 && audience.left.elapsed() >= LINGER;
        if is_left {
            audience.is_reading = false;
            lock(&self.ring).clear();
        }
        is_left
    }

    pub(super) fn look(&self, place: Place) -> Look {
        lock(&self.ring).look(place)
    }

    /// What is held of each partition.
    pub(super) fn held(&self) -> BTreeMap<Partition, (i64, i64)> {
        lock(&self.ring).held().clone()
    }

    /// The same, with the place where it begins.
    pub(super) fn held_from(&self) -> (BTreeMap<Partition, (i64, i64)>, Place) {
        let ring = lock(&self.ring);
        (ring.held().clone(), ring.start())
    }

    /// Where somebody stands who begins now.
    pub(super) fn now(&self) -> (Cursor, Option<Place>) {
        let ring = lock(&self.ring);
        let next = ring.held().iter().map(|(partition, (_, to))| (*partition, *to)).collect();
        (Cursor { next, within: BTreeMap::new() }, Some(ring.end()))
    }

    /// A message's new records, as searches see them.
    pub(super) fn rows(&self, accounted: Accounted) -> Vec<Row> {
        let Accounted { stream, records, .. } = accounted;
        let declared = self.parts.declared.get(&stream);
        let row = |(id, mut record): (_, millrace_model::LogRecord)| {
            take_words(&mut record.attributes);
            if let Some(declared) = declared {
                // Those that stay as they came are the indexer's to count.
                declared.coerce(&mut record.attributes, |_| {});
            }
            Row { id, stream: stream.clone(), time: record.time(), record }
        };
        records.into_iter().map(row).collect()
    }

    fn tell(&self) {
        self.news.send_modify(|news| *news += 1);
    }
}

/// What the reading task has.
struct Reader {
    inner: Arc<Inner>,
    ledger: Ledger,
    lanes: BTreeMap<Partition, Lane>,
}

/// Where a partition is being read.
#[derive(Debug, Clone, Copy)]
struct Lane {
    topic_id: Option<TopicId>,
    next: i64,
    /// What lies before was there when reading began: nobody is shown it.
    shown_from: i64,
}

impl Reader {
    /// Reads until nobody has watched for a while.
    async fn run(inner: Arc<Inner>) {
        let mut reader = Self { inner, ledger: Ledger::new(), lanes: BTreeMap::new() };
        loop {
            let consumer = match reader.inner.parts.topic.reader() {
                Ok(consumer) => consumer,
                Err(error) => {
                    tracing::error!(
                        error = millrace_model::chain(&error),
                        "live tails cannot read the topic"
                    );
                    tokio::time::sleep(AGAIN).await;
                    if reader.inner.is_left() {
                        return;
                    }
                    continue;
                }
            };
            let Err(error) = reader.flow(consumer).await else { return };
            tracing::warn!(error = format!("{error:#}"), "live tails begin to read again");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// `Ok`: nobody watches any more.
    async fn flow(&mut self, mut consumer: AnyConsumer) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(LINGER / 4);
        loop {
            tokio::select! {
                _ = ticks.tick() => if self.inner.is_left() {
                    consumer.close().await;
                    return Ok(());
                },
                event = consumer.next() => match event {
                    Some(ConsumerEvent::Assigned(assignment)) => self.begin(assignment).await?,
                    Some(ConsumerEvent::Revoked(revocation)) => revocation.done(),
                    Some(ConsumerEvent::Messages(messages)) => {
                        for message in messages {
                            self.take(message).await?;
                        }
                        self.forget();
                        self.inner.tell();
                    }
                    None => anyhow::bail!("the consumer ended"),
                },
            }
        }
    }

    /// Goes on where it was; of partitions that are new to it, where what is published ends.
    async fn begin(&mut self, assignment: Assignment) -> anyhow::Result<()> {
        let published = self.published().await?;
        let mut starts = Vec::with_capacity(assignment.partitions.len());
        for assigned in &assignment.partitions {
            let AssignedPartition { partition, topic_id, low, high } = *assigned;
            let lane = self.lanes.get(&partition).copied();
            let lane = lane.filter(|lane| lane.topic_id == topic_id && (low..=high).contains(&lane.next));
            let lane = lane.unwrap_or_else(|| {
                let next = published.get(&(partition, topic_id)).copied().unwrap_or(low);
                let next = next.clamp(low.max(high - UNPUBLISHED).min(high), high);
                self.ledger.forget(&[partition]);
                lock(&self.inner.ring).begin(partition, high);
                Lane { topic_id, next, shown_from: high }
            });
            starts.push((partition, Start::Offset(lane.next)));
            self.lanes.insert(partition, lane);
        }
        assignment.start(starts);
        self.inner.tell();
        Ok(())
    }

    /// The first offset of each partition that is not published.
    async fn published(&self) -> anyhow::Result<BTreeMap<(Partition, Option<TopicId>), i64>> {
        let parts = &self.inner.parts;
        let rows = parts.catalogue.snapshot(INDEXER_GROUP, TimeRange::NONE, None).await?.partitions;
        let of_topic = rows.into_iter().filter(|row| row.topic == parts.topic.name());
        Ok(of_topic.filter_map(|row| Some(((row.partition, row.topic_id), row.next_offset?))).collect())
    }

    /// What has ended need not be known any more; there is nobody to store what has changed.
    fn forget(&mut self) {
        if self.ledger.len() > KNOWN {
            self.ledger.take_changes();
            self.ledger.forget_closed();
        }
    }

    async fn take(&mut self, message: Message) -> anyhow::Result<()> {
        let (partition, offset) = (message.partition, message.offset);
        let Some(lane) = self.lanes.get(&partition).copied() else { return Ok(()) };
        let reading = read(&message.headers, &message.value);
        let topic = self.inner.parts.topic.clone();
        let place = MessagePlace {
            topic: topic.name(),
            topic_id: lane.topic_id,
            partition,
            offset,
            timestamp: message.timestamp,
        };
        while let Some(source) = self.ledger.missing_for(place, &reading) {
            let stored = self.inner.parts.catalogue.sources(INDEXER_GROUP, &[source]).await?;
            let mut known = stored.into_iter().next().map(|stored| (stored.version, stored.state));
            // What was published of it since this message would make the message look like one that came again.
            if known.is_some()
                && self.published().await?.get(&(partition, lane.topic_id)).is_some_and(|next| *next > offset)
            {
                known = None;
            }
            self.ledger.load(source, partition, known);
        }
        let rows = self.inner.rows(self.ledger.account(place, reading));
        if let Some(lane) = self.lanes.get_mut(&partition) {
            lane.next = offset + 1;
        }
        if offset >= lane.shown_from {
            lock(&self.inner.ring).push(Batch { partition, offset, rows });
        }
        Ok(())
    }
}
