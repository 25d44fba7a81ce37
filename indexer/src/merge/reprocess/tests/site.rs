//! An indexer's world, by hand: messages go into an embedded topic, are taken in as the pipeline does it, and are cut when a test
//! says so; then bundles are lost, and shards made again.

use super::super::super::{Merger, Pass, merge_bundles};
use crate::{
    GROUP, Parts, Settings,
    publish::{self, Outcome, Publication},
    route,
    shards::{Owned, Shards},
    templates::Exchange,
};
use millrace_catalogue::{Acquisition, Reprocessing, ReprocessingRequest, TrailEntry, TrailEvent};
use millrace_ledger::{Ledger, Place, read};
use millrace_model::{
    AgentId, BootId, Clock, InstanceId, LogRecord, ManualClock, Partition, RecordId, ShardId, ShardMeta,
    SourceId, StreamName, TimeRange, Timestamp, TopicId, Value,
    wire::{
        Decoded, Envelope, Extent, Payload, Run, RunKind, Sender, SkipReason, SourceOpen, decode, encode,
    },
};
use millrace_store::SealedShard;
use millrace_transport::{AnyProducer, DeliveryReport, Producer};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) const P: Partition = Partition(0);
const TOPIC: &str = "t";

/// Some hours into a day.
pub(super) const NOW: Timestamp = Timestamp((1_000 * 24 + 5) * 3_600_000_000_000);

/// A file of an agent's, as far as it was sent.
pub(super) struct Source {
    pub(super) stream: StreamName,
    pub(super) sender: Sender,
    id: SourceId,
    at: u64,
}

impl Source {
    pub(super) fn new(number: u128, stream: &str) -> Self {
        let sender = Sender { agent: AgentId(1), instance: InstanceId(1), epoch: 1, boot: BootId(1) };
        Self { stream: stream.parse().unwrap(), sender, id: SourceId(number), at: 0 }
    }

    /// The next batch: lines with their times, observed at `observed`.
    pub(super) fn batch(&mut self, lines: &[(Timestamp, &str)], observed: Timestamp) -> Payload {
        let start = self.at;
        self.at += lines.iter().map(|(_, line)| line.len() as u64 + 1).sum::<u64>();
        self.batch_at(start, lines, observed)
    }

    /// A batch of what lies at `start`.
    pub(super) fn batch_at(&self, start: u64, lines: &[(Timestamp, &str)], observed: Timestamp) -> Payload {
        let run = |line: &str| Run { length: line.len() as u64 + 1, kind: RunKind::Record };
        let runs: Vec<Run> = lines.iter().map(|(_, line)| run(line)).collect();
        let end = start + runs.iter().map(|run| run.length).sum::<u64>();
        let crc32c = lines.iter().flat_map(|(_, line)| line.bytes()).map(u32::from).sum();
        let open = (start == 0).then(|| SourceOpen {
            kind: "journal".to_owned(),
            path: format!("/{}", self.id),
            host: "h".to_owned(),
            start: 0,
            continues: None,
            because: None,
        });
        let Self { stream, sender, id, .. } = self;
        let extent = Extent { start, end, crc32c, runs };
        let envelope =
            Envelope { stream: stream.clone(), sender: *sender, source: *id, extent, open, close: None };
        let records: Vec<LogRecord> =
            lines.iter().map(|(time, line)| record(*time, line, observed)).collect();
        encode(&envelope, &records)
    }
}

pub(super) fn record(time: Timestamp, line: &str, observed: Timestamp) -> LogRecord {
    LogRecord {
        timestamp: Some(time),
        observed_timestamp: observed,
        body: Value::from(line),
        ..LogRecord::default()
    }
}

pub(super) type Records = BTreeMap<RecordId, (StreamName, Timestamp, String)>;

pub(super) struct Site {
    pub(super) folder: TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) parts: Arc<Parts>,
    pub(super) settings: Settings,
    pub(super) merger: Merger,
    /// The offsets that a quota holds back.
    pub(super) held: BTreeSet<i64>,
    pub(super) topic_id: TopicId,
    shards: Shards,
    ledger: Ledger,
    next: i64,
    producer: AnyProducer,
    reports: mpsc::Receiver<DeliveryReport>,
}

impl Site {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let parts = Arc::new(Parts::in_folder(folder.path(), "a", clock.clone()).await);
        let marker = parts.topic.page(P, 0, 1).await.unwrap().messages.remove(0);
        let Ok(Decoded::TopicMarker(topic_id)) = decode(&marker.headers, &marker.value) else {
            panic!("{marker:?}")
        };
        let own = [Acquisition { partition: P, topic_id: Some(topic_id), low: 0 }];
        let epoch = parts.catalogue.acquire(GROUP, TOPIC, &own, "a").await.unwrap()[0].epoch;
        let shards = Shards::new(TOPIC);
        let owned = Owned { topic_id: Some(topic_id), epoch, published: None, held_from: 0, next: 0, end: 0 };
        shards.own(P, owned);
        let settings = Settings::default();
        let merger = merger(&parts, &settings);
        let (sender, reports) = mpsc::channel(8);
        let producer = parts.topic.producer(sender).unwrap();
        Self {
            folder,
            clock,
            merger,
            parts,
            settings,
            held: BTreeSet::new(),
            topic_id,
            shards,
            ledger: Ledger::new(),
            next: 0,
            producer,
            reports,
        }
    }

    /// The merger begins anew, with other settings.
    pub(super) fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.merger = merger(&self.parts, &self.settings);
    }

    /// Puts a message into the topic; returns its offset.
    pub(super) async fn send(&mut self, payload: &Payload) -> i64 {
        self.producer.send(P, payload.clone(), 0).await.unwrap();
        self.reports.recv().await.unwrap().outcome.unwrap().1
    }

    /// Takes in what the topic has, as the pipeline does, and publishes it as one cut. Returns its shards.
    pub(super) async fn cut(&mut self) -> Vec<ShardMeta> {
        self.take_in().await;
        let before: BTreeSet<ShardId> = self.live().await.iter().map(|shard| shard.id).collect();
        let frozen = self.shards.freeze().unwrap();
        let generation = frozen.generation;
        let (bounds, traffic) = (BTreeMap::new(), BTreeMap::new());
        let publication =
            Arc::new(Publication { frozen, changes: self.ledger.take_changes(), bounds, traffic });
        let templates = Arc::new(Exchange::new(self.shards.shaper()));
        let outcome = publish::publish(Arc::clone(&self.parts), Arc::default(), templates, publication).await;
        assert!(matches!(outcome, Outcome::Published), "{outcome:?}");
        self.shards.published(generation, self.clock.now());
        self.shards.sweep(Timestamp::MAX);
        self.live().await.into_iter().filter(|shard| !before.contains(&shard.id)).collect()
    }

    async fn take_in(&mut self) {
        loop {
            let page = self.parts.topic.page(P, self.next, usize::MAX).await.unwrap();
            if page.messages.is_empty() {
                return;
            }
            self.next = page.next;
            for message in page.messages {
                let place = Place {
                    topic: TOPIC,
                    topic_id: Some(self.topic_id),
                    partition: P,
                    offset: message.offset,
                    timestamp: message.timestamp,
                };
                let mut reading = read(&message.headers, &message.value);
                if self.held.contains(&message.offset) {
                    reading.keep_aside(SkipReason::Quota, "too much".to_owned());
                }
                while let Some(source) = self.ledger.missing_for(place, &reading) {
                    let stored = self.parts.catalogue.sources(GROUP, &[source]).await.unwrap();
                    let stored = stored.into_iter().next().map(|stored| (stored.version, stored.state));
                    self.ledger.load(source, P, stored);
                }
                let accounted = self.ledger.account(place, reading);
                let routed =
                    route::rows(&self.settings.streams, (P, message.offset), accounted, self.clock.now());
                self.shards.append(P, routed.rows, message.offset + 1, None);
            }
        }
    }

    pub(super) async fn live(&self) -> Vec<ShardMeta> {
        self.parts.catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().shards
    }

    fn path(&self, shard: &ShardMeta) -> PathBuf {
        self.folder.path().join("shards").join(&shard.key)
    }

    /// All records of all live shards, which no two of them share.
    pub(super) async fn records(&self) -> Records {
        let mut records = Records::new();
        for shard in self.live().await {
            let sealed = SealedShard::open(&self.path(&shard)).unwrap();
            assert_eq!(sealed.meta().records, shard.records);
            let each = |row: millrace_model::Row| -> anyhow::Result<()> {
                let Value::String(body) = &row.record.body else { panic!("{row:?}") };
                let known = records.insert(row.id, (row.stream.clone(), row.time, body.clone()));
                assert_eq!(known, None, "{} is there twice", row.id);
                Ok(())
            };
            sealed.each_record(each).unwrap();
        }
        records
    }

    /// A shard's bundle is lost.
    pub(super) fn lose(&self, shard: &ShardMeta) {
        std::fs::remove_file(self.path(shard)).unwrap();
    }

    /// A shard's bundle is damaged where its records lie, or, `all` of it, everywhere but in its size.
    pub(super) fn damage(&self, shard: &ShardMeta, all: bool) {
        let mut bytes = std::fs::read(self.path(shard)).unwrap();
        let end = if all { bytes.len() } else { bytes.len().min(64) };
        bytes[..end].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(self.path(shard), bytes).unwrap();
    }

    pub(super) async fn ask(&self, shards: &[&ShardMeta]) -> Reprocessing {
        let request = ReprocessingRequest {
            group: GROUP.to_owned(),
            stream: None,
            range: TimeRange::ALL,
            shards: shards.iter().map(|shard| shard.id).collect(),
        };
        self.parts.catalogue.request_reprocessing(&request).await.unwrap().unwrap()
    }

    /// Merging, purging and reprocessing until there is nothing to do.
    pub(super) async fn work(&mut self) {
        while self.merger.once().await.unwrap() == Pass::Worked {}
        let left = std::fs::read_dir(&self.parts.work_directory).unwrap().count();
        assert_eq!(left, 0, "something is left in the folder for work");
    }

    pub(super) async fn receipt(&self, number: u64) -> Reprocessing {
        let all = self.parts.catalogue.reprocessings(GROUP).await.unwrap();
        all.into_iter().find(|one| one.number == number).unwrap()
    }

    /// Makes shards again (none named: all), and returns the receipt.
    pub(super) async fn reprocess(&mut self, shards: &[&ShardMeta]) -> Reprocessing {
        let number = self.ask(shards).await.number;
        self.work().await;
        let receipt = self.receipt(number).await;
        assert!(receipt.finished.is_some() && receipt.waiting == 0, "{receipt:?}");
        assert_eq!(self.parts.catalogue.verify(GROUP).await.unwrap().faults, []);
        receipt
    }

    /// A lost shard is made again, and every record is as it was `before`.
    pub(super) async fn assert_made_again(&mut self, shard: &ShardMeta, before: &Records) {
        let receipt = self.reprocess(&[shard]).await;
        assert_eq!((receipt.shards, receipt.records), (1, shard.records), "{receipt:?}");
        assert_eq!(self.records().await, *before);
    }

    /// A shard is refused for this reason, and stays as it is.
    pub(super) async fn assert_refused(&mut self, shard: &ShardMeta, reason: &str) {
        let live = self.live().await;
        let receipt = self.reprocess(&[shard]).await;
        assert_eq!((receipt.shards, receipt.refused), (0, 1), "{receipt:?}");
        let problem = &receipt.refusals[0].problem;
        assert!(receipt.refusals[0].shard == shard.id && problem.contains(reason), "{problem}");
        assert_eq!(self.live().await, live);
    }

    /// The numbers of the reprocessings that the trail tells of.
    pub(super) async fn reprocessed(&self) -> Vec<u64> {
        let rows = self.parts.catalogue.trail(GROUP, TOPIC, P, 0, 10_000).await.unwrap();
        let event = |entry: &str| serde_json::from_str::<TrailEntry>(entry).unwrap().event;
        rows.iter()
            .filter_map(|row| match event(&row.entry) {
                TrailEvent::Reprocessed { number, .. } => Some(number),
                _ => None,
            })
            .collect()
    }
}

pub(super) fn merger(parts: &Arc<Parts>, settings: &Settings) -> Merger {
    let merge = Arc::new(merge_bundles);
    Merger::new(Arc::clone(parts), settings.clone(), Arc::default(), merge, CancellationToken::new())
}

/// So long before now.
pub(super) fn ago(age: Duration) -> Timestamp {
    NOW.minus(age)
}
