//! The life of records over many days, by a clock that is moved by hand: real rows, bundles, merges and catalogue.

use super::*;
use crate::{
    merge::{Merger, Pass, merge_bundles},
    publish::{self, Outcome, Publication},
    route::{Route, route},
    shards::{Owned, Shards},
    templates::Exchange,
};
use millrace_catalogue::{Acquisition, DeletionRequest};
use millrace_model::{
    Clock, LogRecord, ManualClock, Partition, RecordId, Row, SourceId, StreamName, TimeRange, Timestamp,
    Value,
};
use millrace_store::{HotRow, LeafRequest, Order, SealedShard};
use std::{collections::BTreeMap, path::PathBuf};
use tempfile::TempDir;

const TOPIC: &str = "t";
const P: Partition = Partition(0);
const NAMES: [&str; 4] = ["ann", "bob", "eve", "zacharias"];

struct Site {
    folder: TempDir,
    clock: Arc<ManualClock>,
    parts: Arc<Parts>,
    shards: Shards,
    merger: Merger,
    settings: Settings,
    written: BTreeMap<StreamName, u64>,
}

fn stream(name: &str) -> StreamName {
    name.parse().unwrap()
}

impl Site {
    async fn new(named: &[(&str, Keep)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000 * 86_400_000)));
        let parts = Arc::new(Parts::in_folder(folder.path(), "a", clock.clone()).await);
        let named = named.iter().map(|(name, keep)| (stream(name), *keep)).collect();
        let settings = Settings { streams: Streams { named, ..Streams::default() }, ..Settings::default() };
        let merger = Merger::new(
            Arc::clone(&parts),
            settings.clone(),
            Arc::default(),
            Arc::new(merge_bundles),
            CancellationToken::new(),
        );
        let wanted = Acquisition { partition: P, topic_id: None, low: 0 };
        let ownership = parts.catalogue.acquire(GROUP, TOPIC, &[wanted], "a").await.unwrap()[0];
        let shards = Shards::new(TOPIC);
        let epoch = ownership.epoch;
        shards.own(P, Owned { topic_id: None, epoch, published: None, held_from: 0, next: 0, end: 0 });
        Self { folder, clock, parts, shards, merger, settings, written: BTreeMap::new() }
    }

    /// Logins of everybody, `many` each, in the last minutes of what the clock says.
    fn append(&mut self, name: &str, many: i64) {
        let next = self.shards.owned(P).unwrap().next;
        let mut rows = Vec::new();
        for at in 0..many * NAMES.len() as i64 {
            let offset = next + at;
            let user = NAMES[at as usize % NAMES.len()];
            let time = self.clock.now().minus(Duration::from_millis(at as u64 * 7));
            let mut record = LogRecord {
                timestamp: Some(time),
                observed_timestamp: time,
                body: Value::from(format!(
                    "session {offset:08x} opened for {user} from 10.0.{}.{}",
                    at % 250,
                    offset % 251
                )),
                ..LogRecord::default()
            };
            record.attributes.set("user", user.to_owned());
            Arc::make_mut(&mut record.resource).set("owner", user.to_owned());
            let Route::Keep { time, bucket, .. } =
                route(&self.settings.streams, &stream(name), &mut record, self.clock.now())
            else {
                panic!("expired on arrival");
            };
            let id = RecordId { source: SourceId(1), position: offset as u64, index: 0 };
            let row = Row { id, stream: stream(name), time, record };
            rows.push((stream(name), bucket, HotRow { partition: P, offset, row }));
        }
        *self.written.entry(stream(name)).or_default() += rows.len() as u64;
        let end = next + rows.len() as i64;
        self.shards.append(P, rows, end, None);
    }

    async fn publish(&self) {
        let frozen = self.shards.freeze().unwrap();
        let bounds = self.settings.streams.bounds(frozen.rows.iter().map(|(key, _)| &key.stream));
        let generation = frozen.generation;
        let publication =
            Arc::new(Publication { frozen, changes: Vec::new(), bounds, traffic: BTreeMap::new() });
        let templates = Arc::new(Exchange::new(self.shards.shaper()));
        let outcome = publish::publish(Arc::clone(&self.parts), Arc::default(), templates, publication).await;
        assert!(matches!(outcome, Outcome::Published), "{outcome:?}");
        self.shards.published(generation, self.clock.now());
        self.shards.sweep(Timestamp::MAX);
    }

    /// Merging and purging until there is nothing to do, and retention.
    async fn settle(&mut self) {
        while self.merger.once().await.unwrap() == Pass::Worked {}
        once(&self.parts, &self.settings.streams, self.settings.expired_grace).await.unwrap();
    }

    /// Past the grace period of what has ended by now.
    async fn settle_and_sweep(&mut self) {
        self.settle().await;
        self.clock.advance(self.settings.expired_grace + Duration::from_nanos(1));
        self.settle().await;
    }

    async fn live(&self, name: &str) -> Vec<ShardMeta> {
        self.parts.catalogue.snapshot(GROUP, TimeRange::ALL, Some(&[stream(name)])).await.unwrap().shards
    }

    async fn live_bytes(&self, name: &str) -> u64 {
        self.live(name).await.iter().map(|shard| shard.bytes).sum()
    }

    async fn stored_bytes(&self, name: &str) -> u64 {
        self.parts.bundles.usage(name).await.unwrap().bytes
    }

    /// How many records of all bundles that physically lie in a stream's folder match, whoever knows them.
    async fn physically(&self, name: &str, query: &str) -> u64 {
        let filter = millrace_filter::parse(query).unwrap();
        let mut found = 0;
        for (key, _) in self.parts.bundles.list(name).await.unwrap() {
            let path: PathBuf = self.folder.path().join("shards").join(&key);
            let request = LeafRequest {
                filter: filter.clone(),
                range: TimeRange::ALL,
                limit: 0,
                order: Order::default(),
                after: None,
                histogram: None,
                fragments: None,
            };
            found += SealedShard::open(&path).unwrap().search(&request).unwrap().total;
        }
        found
    }
}

impl Site {
    /// Does any text of any bundle that physically lies in a stream's folder hold this one, rows aside: masks, words, terms,
    /// resources?
    async fn names(&self, name: &str, text: &str) -> bool {
        let mut named = false;
        for (key, _) in self.parts.bundles.list(name).await.unwrap() {
            let shard = SealedShard::open(&self.folder.path().join("shards").join(&key)).unwrap();
            let look = |_, bytes: &[u8]| -> anyhow::Result<()> {
                named |= bytes.windows(text.len()).any(|part| part == text.as_bytes());
                Ok(())
            };
            shard.each_text(look).unwrap();
        }
        named
    }
}

const DAY: Duration = Duration::from_hours(24);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_days_of_three_streams() {
    let bound = 60_000;
    let keeps = [
        ("brief", Keep { age: 2 * DAY, bytes: None }),
        ("bounded", Keep { age: 400 * DAY, bytes: Some(bound) }),
        ("held", Keep { age: DAY, bytes: Some(10_000) }),
    ];
    let mut site = Site::new(&keeps).await;
    site.parts.catalogue.hold(GROUP, &stream("held"), "case 17").await.unwrap();
    let (mut most_stored, mut largest) = (0, 0);
    for quarter in 0..160 {
        site.clock.advance(DAY / 4);
        for name in ["brief", "bounded", "held"] {
            site.append(name, 20 + quarter % 17);
        }
        site.publish().await;
        assert!(site.live_bytes("bounded").await <= bound, "the bound is passed on day {}", quarter / 4);
        largest = largest.max(site.live("bounded").await.iter().map(|shard| shard.bytes).max().unwrap());
        site.settle().await;
        assert!(site.live_bytes("bounded").await <= bound);
        most_stored = most_stored.max(site.stored_bytes("bounded").await);
        let oldest = site.live("brief").await[0].last;
        assert!(oldest >= site.clock.now().minus(2 * DAY), "an expired shard is live");
    }
    assert!(site.live_bytes("bounded").await > bound / 2, "no more ended than had to");
    // What the grace period adds: the shards that ended, or went into a merge, within one step.
    assert!(most_stored <= 2 * bound + largest, "{most_stored}");
    let held: u64 = site.live("held").await.iter().map(|shard| shard.records).sum();
    assert_eq!(held, site.written[&stream("held")], "nothing ends on hold");
    // Two days of rows, and what of the oldest shard is older.
    assert!(site.live("brief").await.iter().map(|shard| shard.records).sum::<u64>() < 10 * 4 * 36);

    site.parts.catalogue.end_hold(GROUP, &stream("held")).await.unwrap();
    site.settle().await;
    assert!(site.live_bytes("held").await <= 10_000);
    site.clock.advance(DAY + Duration::from_hours(1));
    site.settle_and_sweep().await;
    for name in ["brief", "bounded", "held"] {
        assert_eq!(
            site.stored_bytes(name).await,
            site.live_bytes(name).await,
            "{name}: files of ended shards stay"
        );
    }
}

async fn ask(site: &Site, query: &str, range: TimeRange) -> u64 {
    let request = DeletionRequest {
        group: GROUP.to_owned(),
        stream: stream("app"),
        filter: query.to_owned(),
        filter_sha256: "cd".repeat(32),
        range,
        reason: "asked by the person".to_owned(),
    };
    site.parts.catalogue.request_deletion(&request).await.unwrap().number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_nowhere_afterwards() {
    let mut site = Site::new(&[("other", Keep::default())]).await;
    for _ in 0..6 {
        site.clock.advance(Duration::from_hours(9));
        site.append("app", 25);
        site.append("other", 5);
        site.publish().await;
    }
    site.settle_and_sweep().await;
    let everybody = site.written[&stream("app")];
    assert_eq!(site.physically("app", "zacharias").await, everybody / 4);
    ask(&site, "user:zacharias", TimeRange::ALL).await;
    // The same person once more: what comes later stays, even where it is merged with what was there.
    site.append("app", 25);
    site.publish().await;
    // Another deletion of the same records and some more, of the last day only.
    let last_day = TimeRange { from: site.clock.now().minus(DAY), to: Timestamp::MAX };
    let eves = ask(&site, "eve OR zacharias", last_day).await;
    site.settle().await;
    assert!(
        site.physically("app", "zacharias").await > 25,
        "searches that have begun still read the old bundles"
    );
    assert!(site.parts.catalogue.deletions(GROUP).await.unwrap().iter().all(|one| one.purged.is_none()));
    site.clock.advance(site.settings.expired_grace + Duration::from_nanos(1));
    site.settle().await;

    assert!(
        site.names("app", "ann").await && !site.names("app", "zacharias").await,
        "not in what is beside the rows"
    );
    assert_eq!(site.physically("app", "zacharias").await, 0, "the second deletion took the later ones too");
    let receipts = site.parts.catalogue.deletions(GROUP).await.unwrap();
    let [second, first] = receipts.as_slice() else { panic!("{receipts:?}") };
    assert_eq!((first.records, second.number), (everybody / 4, eves));
    assert!(receipts.iter().all(|one| one.purged.is_some() && one.filter.is_none() && one.shards_left == 0));
    let left: u64 = site.live("app").await.iter().map(|shard| shard.records).sum();
    assert_eq!(
        left + first.records + second.records,
        site.written[&stream("app")],
        "every record is one of them"
    );
    assert_eq!(site.physically("app", "ann OR bob").await, everybody / 2 + 50);
    assert_eq!(site.physically("other", "zacharias").await, 30, "another stream");
    assert_eq!(site.parts.metrics.deleted_records.get(), first.records + second.records);

    // The filter named the person: it is not in the catalogue's file either, once its log is folded in.
    site.parts.catalogue.close().await;
    for name in ["catalogue.db", "catalogue.db-wal"] {
        let bytes = std::fs::read(site.folder.path().join(name)).unwrap_or_default();
        assert!(!bytes.windows(9).any(|part| part == b"zacharias"), "{name} names the person");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_cannot_be_carried_out_holds_up_nothing_else() {
    let mut site = Site::new(&[]).await;
    site.clock.advance(Duration::from_hours(9));
    site.append("app", 5);
    site.publish().await;
    let unreadable = ask(&site, "((", TimeRange::ALL).await;
    site.settle().await;
    assert_eq!(site.parts.metrics.failed_merges.get(), 1);
    // A bundle that is gone is set aside too, and tried again.
    let other = site.live("app").await[0].clone();
    site.parts.bundles.delete(&other.key).await.unwrap();
    site.clock.advance(Duration::from_hours(2));
    site.settle().await;
    assert_eq!(site.parts.metrics.failed_merges.get(), 2);
    assert_eq!(site.parts.catalogue.deletions(GROUP).await.unwrap()[0].number, unreadable);
    assert_eq!(site.live("app").await, [other], "what could not be looked through is not called clean");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_that_nobody_knows_go_after_a_day() {
    let mut site = Site::new(&[]).await;
    site.clock.advance(Duration::from_hours(9));
    site.append("app", 5);
    site.publish().await;
    let live = site.live("app").await[0].key.clone();
    let file = site.folder.path().join("shards").join(&live);
    let orphan = format!("app/{}.shard", ShardId::random());
    for key in [orphan.as_str(), "app/notes.shard", "app/notes.txt"] {
        site.parts.bundles.put(key, &file).await.unwrap();
    }
    let stored = std::fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(orphans::sweep(&site.parts, stored + Duration::from_hours(23)).await.unwrap(), 0);
    assert_eq!(orphans::sweep(&site.parts, stored + Duration::from_hours(25)).await.unwrap(), 1);
    let left: Vec<String> =
        site.parts.bundles.list("").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert!(left.contains(&live) && left.contains(&"app/notes.shard".to_owned()), "{left:?}");
    assert_eq!((left.len(), site.parts.metrics.orphans.get()), (3, 1));
}

/// Puts the catalogue back to what `backup` holds, and owns the partition again, of which the topic begins at `low`.
async fn put_back(site: &Site, backup: &std::path::Path, low: i64) {
    site.parts.catalogue.restore(backup, true).await.unwrap();
    let wanted = Acquisition { partition: P, topic_id: None, low };
    let owned = site.parts.catalogue.acquire(GROUP, TOPIC, &[wanted], "a").await.unwrap()[0];
    let next = owned.next_offset.unwrap();
    let (epoch, published) = (owned.epoch, owned.next_offset);
    site.shards.own(P, Owned { topic_id: None, epoch, published, held_from: next, next, end: next });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_may_be_all_there_is_stays() {
    let mut site = Site::new(&[]).await;
    site.clock.advance(Duration::from_hours(9));
    site.append("app", 5);
    site.publish().await;
    let backup = site.folder.path().join("a.snapshot");
    site.parts.catalogue.write_snapshot(&backup).await.unwrap();
    site.append("app", 5);
    site.publish().await;
    let later = site.live("app").await.into_iter().find(|shard| shard.offsets[0].from == 20).unwrap();
    let later_file = site.folder.path().join("shards").join(&later.key);
    let in_a_day = std::fs::metadata(&later_file).unwrap().modified().unwrap() + Duration::from_hours(25);
    let sweep = async |site: &Site| {
        let swept = orphans::sweep(&site.parts, in_a_day).await.unwrap();
        (swept, site.parts.metrics.kept_orphans.get(), later_file.exists())
    };
    assert_eq!(sweep(&site).await, (0, 0, true));

    // As yesterday: nobody knows the second shard, and what it holds was not read again yet.
    put_back(&site, &backup, 0).await;
    assert_eq!(sweep(&site).await, (0, 1, true));
    // The topic has half of it no more; the rest is read again, and what comes then.
    put_back(&site, &backup, 30).await;
    site.append("app", 10);
    site.publish().await;
    assert_eq!(sweep(&site).await, (0, 1, true));

    // It has all of it, and all was read again; but of a live shard the bundle is gone.
    put_back(&site, &backup, 0).await;
    site.append("app", 5);
    site.publish().await;
    let live = site.live("app").await.remove(0);
    let live_file = site.folder.path().join("shards").join(&live.key);
    let aside = live_file.with_extension("aside");
    std::fs::rename(&live_file, &aside).unwrap();
    assert_eq!(sweep(&site).await.0, 0);
    std::fs::rename(&aside, &live_file).unwrap();
    // What cannot be read is nobody's to judge.
    let unreadable = site.folder.path().join(format!("shards/app/{}.shard", ShardId::random()));
    std::fs::write(&unreadable, "no bundle").unwrap();
    let (swept, kept, there) = sweep(&site).await;
    assert!(swept > 0 && !there, "it was published otherwise");
    assert!(kept > 0 && unreadable.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_does_not_wait_for_the_next_hourly_snapshot() {
    let hour = Duration::from_hours(1);
    let mut site = Site::new(&[]).await;
    site.clock.advance(9 * hour);
    site.append("app", 5);
    site.publish().await;
    snapshots::if_due(&site.parts, hour).await.unwrap().unwrap();
    ask(&site, "user:zacharias", TimeRange::ALL).await;
    site.settle().await;
    for _ in 0..4 {
        site.clock.advance(site.settings.expired_grace + Duration::from_secs(1));
        site.settle().await;
    }
    let receipt = &site.parts.catalogue.deletions(GROUP).await.unwrap()[0];
    assert!(receipt.purged.is_some(), "{receipt:?}");
    assert_eq!(site.physically("app", "zacharias").await, 0);
}
