//! Shards in a bucket and, the same ones, in a folder; and searchers over either.

use millrace_catalogue::{Acquisition, Catalogue, Cut, Move};
use millrace_config::Secret;
use millrace_cores::Cores;
use millrace_model::{
    Clock, LogRecord, OffsetRange, Partition, RecordId, Row, Severity, ShardId, ShardMeta, SourceId,
    StreamName, SystemClock, Timestamp,
};
use millrace_query::{HttpLeaves, INDEXER_GROUP, Leaves, Searcher, shards::OpenShards};
use millrace_storage::{Bundles, S3Settings, Settings};
use millrace_store::{HotRequest, HotResponse, HotRow, HotShard, Leaf, LeafError, SealInput, seal};
use millrace_test_support::{
    s3::{self, Kind, S3Server},
    wait,
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

const TOPIC: &str = "t";

/// A node without hot rows.
#[derive(Clone)]
pub(crate) struct Nobody;

impl Leaf for Nobody {
    async fn search(&self, _request: &HotRequest) -> Result<HotResponse, LeafError> {
        Ok(HotResponse { parts: Vec::new() })
    }
}

pub(crate) struct World {
    pub(crate) server: S3Server,
    pub(crate) shards: Vec<ShardMeta>,
    /// The bucket, without copies.
    pub(crate) bundles: Bundles,
    catalogue: Catalogue,
    clock: Arc<dyn Clock>,
    folder: tempfile::TempDir,
}

impl World {
    /// So many shards of so many rows, published.
    pub(crate) async fn new(shards: usize, rows: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let url = format!("sqlite://{}/catalogue.db", folder.path().display());
        let catalogue = Catalogue::open(&url, Arc::clone(&clock)).await.unwrap();
        let server = S3Server::start();
        let bundles = Bundles::open(&settings(&server, PathBuf::new(), 0)).unwrap();
        let mut world = Self { server, shards: Vec::new(), bundles, catalogue, clock, folder };
        for nth in 0..shards {
            world.publish(nth, rows).await;
        }
        world.take_requests();
        world
    }

    async fn publish(&mut self, nth: usize, rows: usize) {
        let path = self.folder.path().to_owned();
        let sealed =
            tokio::task::spawn_blocking(move || seal(&input(nth, rows), &path).unwrap()).await.unwrap();
        let near = Bundles::open(&Settings::new(self.near(), "")).unwrap();
        for bundles in [&self.bundles, &near] {
            bundles.put(&sealed.meta.key, &sealed.path).await.unwrap();
        }
        std::fs::remove_file(&sealed.path).unwrap();
        let wanted = Acquisition { partition: Partition(0), topic_id: None, low: 0 };
        let owned = self.catalogue.acquire(INDEXER_GROUP, TOPIC, &[wanted], "a").await.unwrap()[0];
        let moves = vec![Move {
            partition: Partition(0),
            epoch: owned.epoch,
            from: owned.next_offset,
            to: ((nth + 1) * rows) as i64,
        }];
        let (group, topic) = (INDEXER_GROUP.to_owned(), TOPIC.to_owned());
        let cut = Cut { group, topic, moves, shards: vec![sealed.meta.clone()], ..Cut::default() };
        self.catalogue.publish(&cut).await.unwrap();
        self.shards.push(sealed.meta);
    }

    /// Ends so many shards as another node's retention does: hidden, deleted, forgotten. Searches have the rest no more either.
    pub(crate) async fn end(&self, many: usize) {
        let stream = StreamName::default();
        self.catalogue.expire(INDEXER_GROUP, &stream, Timestamp::MAX).await.unwrap();
        let hidden = self.catalogue.hidden(Timestamp::MAX).await.unwrap();
        let gone = hidden.iter().take(many).map(|hidden| &hidden.shard);
        for shard in gone {
            self.bundles.delete(&shard.key).await.unwrap();
            self.catalogue.forget(&[shard.id]).await.unwrap();
        }
    }

    fn near(&self) -> String {
        format!("file://{}/shards", self.folder.path().display())
    }

    /// Over the bucket, with copies in a folder of that name.
    pub(crate) fn searcher(&self, copies: &str) -> Searcher<Nobody> {
        let copies = self.copies(copies);
        self.searcher_over(Bundles::open(&settings(&self.server, copies, 10 << 30)).unwrap())
    }

    /// Over the folder.
    pub(crate) fn searcher_of_a_folder(&self) -> Searcher<Nobody> {
        self.searcher_over(Bundles::open(&Settings::new(self.near(), "")).unwrap())
    }

    fn searcher_over(&self, bundles: Bundles) -> Searcher<Nobody> {
        let (catalogue, clock) = (self.catalogue.clone(), Arc::clone(&self.clock));
        let metrics = millrace_query::Metrics::default();
        let remote = HttpLeaves::new(None, Arc::clone(&clock)).unwrap();
        let leaves = Leaves::new(Some(("nobody".to_owned(), Nobody)), remote, metrics.clone());
        Searcher::new(catalogue, OpenShards::new(bundles), leaves, Cores::default(), clock, metrics)
    }

    fn copies(&self, name: &str) -> PathBuf {
        let name: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        self.folder.path().join("copies").join(name)
    }

    fn files_of_copies(&self, name: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.copies(name)).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().len() == 32).collect()
    }

    /// Waits until so many copies are whole and will outlive their process.
    pub(crate) fn wait_for_copies(&self, name: &str, many: usize) {
        let there = || self.files_of_copies(name).len() == many;
        wait::until_true("the copies have their names", Duration::from_secs(30), there);
    }

    /// Changes the bytes of all copies.
    pub(crate) fn change_copies(&self, name: &str, change: impl Fn(&mut Vec<u8>)) {
        for path in self.files_of_copies(name) {
            let mut bytes = std::fs::read(&path).unwrap();
            change(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
        }
    }

    /// What has been asked of the bucket since the last time.
    pub(crate) fn take_requests(&self) -> BTreeMap<Kind, usize> {
        let requests = self.server.all_requests();
        self.server.forget();
        requests
    }
}

fn settings(server: &S3Server, cache_dir: PathBuf, cache_bytes: u64) -> Settings {
    let s3 = S3Settings {
        endpoint: Some(server.endpoint()),
        credentials: Some((s3::ACCESS_KEY_ID.to_owned(), Secret::new(s3::SECRET_ACCESS_KEY))),
        ..S3Settings::default()
    };
    Settings { s3, cache_bytes, ..Settings::new(format!("s3://{}/logs", s3::BUCKET), cache_dir) }
}

fn input(nth: usize, rows: usize) -> SealInput {
    let hot = HotShard::default();
    let first = nth * rows;
    hot.append((first..first + rows).map(|number| row(number as u64)).collect());
    SealInput {
        id: ShardId::random(),
        stream: StreamName::default(),
        rows: vec![hot.snapshot()],
        offsets: vec![OffsetRange {
            topic: TOPIC.to_owned(),
            topic_id: None,
            partition: Partition(0),
            from: first as i64,
            to: (first + rows) as i64,
        }],
        created: SystemClock.now(),
        rewrites: 0,
        bucket: None,
    }
}

/// A line of one of a few kinds, with values that are seldom the same.
fn row(number: u64) -> HotRow {
    let chance = |salt: u64| {
        let mixed = (number ^ salt << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ mixed >> 32
    };
    let (a, b) = (chance(1), chance(2));
    let line = match a % 5 {
        0 => format!(
            "login of user{} from 10.{}.{}.{} took {} us",
            b % 5000,
            a % 200,
            b % 256,
            a % 256,
            b % 1_000_000
        ),
        1 => format!(
            "request {a:016x}{b:016x} served with {} in {} ms",
            [200, 404, 500][(b % 3) as usize],
            a % 9000
        ),
        2 => format!("block blk_{} of {} bytes stored as part {:08x}", a, b % 134_217_728, b >> 32),
        3 => format!("session {b:016x} of user{} closed after {} s", a % 5000, b % 40_000),
        _ => format!("cache of shard-{} missed key {a:016x} at level {}", b % 64, b % 7),
    };
    let severity = if b.is_multiple_of(50) { Severity::ERROR } else { Severity::INFO };
    let time = Timestamp(number as i64 * 1_000_000);
    let record = LogRecord { body: line.into(), observed_timestamp: time, severity, ..LogRecord::default() };
    let id = RecordId { source: SourceId(3), position: number * 100, index: 0 };
    let row = Row { id, stream: StreamName::default(), time, record };
    HotRow { partition: Partition(0), offset: number as i64, row }
}
