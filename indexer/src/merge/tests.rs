//! Merges over a real catalogue and real bundles; what is in the bundles is made up: a line a shard that went in.

use super::*;
use crate::{Metrics, rebuild, retention, settings::Streams, snapshots};
use millrace_catalogue::{Acquisition, Catalogue, Cut, Move, Ownership};
use millrace_model::{Clock, ManualClock, Partition, TimeRange};
use millrace_storage::Bundles;
use millrace_store::Error;
use millrace_transport::{EmbeddedSettings, Topic, TopicSettings};
use prometheus_client::registry::Registry;
use std::sync::{Mutex, atomic::AtomicBool, atomic::Ordering};
use tempfile::TempDir;

const TOPIC: &str = "millrace.logs";
const FAN_IN: u64 = 30;

/// Some nodes on one catalogue and one store of bundles.
struct Site {
    folder: TempDir,
    clock: Arc<ManualClock>,
    topic: Topic,
    catalogue: Catalogue,
    bundles: Bundles,
    owned: Mutex<Ownership>,
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000 * 86_400_000 + 600_000)));
        let settings = EmbeddedSettings::new(folder.path().join("topic"), TOPIC);
        let metrics = millrace_transport::Metrics::new(&mut Registry::default());
        let topic = Topic::open(&TopicSettings::Embedded(settings), clock.clone(), &metrics).await.unwrap();
        let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
        let catalogue = Catalogue::open(&url, clock.clone()).await.unwrap();
        let bundles = Bundles::open(&stored_in(&folder.path().join("shards"))).unwrap();
        let wanted = Acquisition { partition: Partition(0), topic_id: None, low: 0 };
        let owned = catalogue.acquire(GROUP, TOPIC, &[wanted], "a").await.unwrap()[0];
        Self { folder, clock, topic, catalogue, bundles, owned: Mutex::new(owned) }
    }

    fn node(&self, name: &str, merge_shards: MergeShards) -> Merger {
        let work_directory = self.folder.path().join(name);
        std::fs::create_dir_all(&work_directory).unwrap();
        let parts = Parts {
            topic: self.topic.clone(),
            catalogue: self.catalogue.clone(),
            bundles: self.bundles.clone(),
            work_directory,
            clock: self.clock.clone(),
            metrics: Metrics::default(),
            node: name.to_owned(),
            address: None,
        };
        Merger::new(
            Arc::new(parts),
            Settings::default(),
            Arc::default(),
            merge_shards,
            CancellationToken::new(),
        )
    }

    /// Publishes `many` shards of ten records in today's bucket.
    async fn publish(&self, many: u64) -> Vec<ShardMeta> {
        let mut shards = Vec::new();
        for _ in 0..many {
            self.clock.advance(Duration::from_secs(30));
            let mut owned = *self.owned.lock().unwrap();
            let from = owned.next_offset.unwrap_or(0);
            let at =
                Move { partition: Partition(0), epoch: owned.epoch, from: owned.next_offset, to: from + 10 };
            let output = MergeOutput {
                id: ShardId::random(),
                stream: StreamName::default(),
                bucket: Some(Timestamp::from_millis(1_000 * 86_400_000)),
                rewrites: 0,
                passed: 0,
                offsets: vec![OffsetRange {
                    topic: TOPIC.to_owned(),
                    topic_id: None,
                    partition: Partition(0),
                    from,
                    to: at.to,
                }],
                created: self.clock.now(),
            };
            let bundle = write(&output, &format!("{} 10\n", self.clock.now().0), self.folder.path());
            self.bundles.put(&bundle.meta.key, &bundle.path).await.unwrap();
            std::fs::remove_file(&bundle.path).unwrap();
            let cut = Cut {
                group: GROUP.to_owned(),
                topic: TOPIC.to_owned(),
                moves: vec![at],
                shards: vec![bundle.meta.clone()],
                ..Cut::default()
            };
            self.catalogue.publish(&cut).await.unwrap();
            owned.next_offset = Some(at.to);
            *self.owned.lock().unwrap() = owned;
            shards.push(bundle.meta);
        }
        shards
    }

    async fn live(&self) -> Vec<ShardMeta> {
        self.catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().shards
    }

    async fn keys(&self) -> BTreeSet<String> {
        self.bundles.list("").await.unwrap().into_iter().map(|(key, _)| key).collect()
    }

    /// Every record is in one live shard whose bundle is there, and nothing lies in a folder for work.
    async fn check(&self, nodes: &[&Merger]) {
        let live = self.live().await;
        let next = self.owned.lock().unwrap().next_offset.unwrap();
        assert_eq!(live.iter().map(|shard| shard.records).sum::<u64>(), next as u64);
        let keys = self.keys().await;
        assert!(live.iter().all(|shard| keys.contains(&shard.key)), "a live shard has no bundle");
        for node in nodes {
            assert_eq!(std::fs::read_dir(&node.parts.work_directory).unwrap().count(), 0);
        }
    }
}

fn keys_of(shards: &[ShardMeta]) -> BTreeSet<String> {
    shards.iter().map(|shard| shard.key.clone()).collect()
}

/// A bundle: a line for each shard that went in, its time and its number of records.
fn write(output: &MergeOutput, content: &str, directory: &Path) -> SealedBundle {
    let MergeOutput { id, stream, bucket, rewrites, passed, offsets, created } = output.clone();
    let path = directory.join(format!("{id}.shard"));
    std::fs::write(&path, content).unwrap();
    let lines = content.lines().map(|line| line.split_once(' ').unwrap());
    let lines: Vec<(i64, u64)> =
        lines.map(|(time, records)| (time.parse().unwrap(), records.parse().unwrap())).collect();
    let meta = ShardMeta {
        id,
        schema_version: 1,
        key: format!("{stream}/{id}.shard"),
        stream,
        first: Timestamp(lines.iter().map(|(time, _)| *time).min().unwrap()),
        last: Timestamp(lines.iter().map(|(time, _)| *time).max().unwrap()),
        records: lines.iter().map(|(_, records)| records).sum(),
        bytes: content.len() as u64,
        sha256: "ab".repeat(32),
        offsets,
        created,
        rewrites,
        bucket,
        deletions: passed,
        fields: millrace_model::ShardFields::default(),
    };
    SealedBundle { path, meta, left_out: 0 }
}

fn stored_in(folder: &Path) -> millrace_storage::Settings {
    millrace_storage::Settings::new(format!("file://{}", folder.display()), "")
}

fn concatenate(inputs: Vec<Stored>, output: &MergeOutput, directory: &Path) -> Result<SealedBundle, Error> {
    let mut content = String::new();
    for input in inputs {
        let read = input.read(0..input.size());
        let read = read.map_err(|source| Error::Io { path: input.key.into(), action: "reading", source })?;
        content += std::str::from_utf8(&read).unwrap();
    }
    Ok(write(output, &content, directory))
}

fn replacement(task: &MergeTask, bundle: &SealedBundle) -> Replacement {
    let removed = task.shards.iter().map(|shard| shard.id).collect();
    Replacement {
        group: GROUP.to_owned(),
        removed,
        added: vec![bundle.meta.clone()],
        ..Replacement::default()
    }
}

/// Does something else in the middle of a merge.
fn meanwhile<F: Future<Output = ()>>(something: impl Fn() -> F + Send + Sync + 'static) -> MergeShards {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move |inputs, output, directory| {
        let bundle = concatenate(inputs, output, directory)?;
        runtime.block_on(something());
        Ok(bundle)
    })
}

#[tokio::test]
async fn nothing_is_merged_while_the_disk_has_too_little_room() {
    let site = Site::new().await;
    let shards = site.publish(FAN_IN).await;
    let mut node = site.node("a", Arc::new(concatenate));
    node.room.set_short(true);
    assert_eq!(node.once().await.unwrap(), Pass::Idle);
    assert_eq!(keys_of(&site.live().await), keys_of(&shards));
    node.room.set_short(false);
    assert_eq!(node.once().await.unwrap(), Pass::Worked);
    assert_eq!(site.live().await.len(), 1);
}

#[tokio::test]
async fn bundles_that_the_newest_snapshot_names_stay_until_there_is_a_newer_one() {
    let site = Site::new().await;
    let every = Duration::from_hours(1);
    let shards = site.publish(30).await;
    let mut node = site.node("a", Arc::new(concatenate));
    let taken = snapshots::if_due(&node.parts, every).await.unwrap().unwrap();
    assert_eq!(snapshots::if_due(&node.parts, every).await.unwrap(), None, "it is not due yet");
    assert_eq!(node.once().await.unwrap(), Pass::Worked);
    let grace = Settings::default().expired_grace;
    let streams = Streams::default();
    site.clock.advance(grace + Duration::from_secs(1));
    assert_eq!(retention::once(&node.parts, &streams, grace).await.unwrap(), (0, 0));

    // The catalogue is lost: what the snapshot says is there, as if nothing had been merged.
    let url = format!("sqlite://{}", site.folder.path().join("new.db").display());
    let new = Catalogue::open(&url, site.clock.clone()).await.unwrap();
    let request = rebuild::Request::default();
    let rebuilt = rebuild::rebuild(&new, &site.bundles, &streams, &*site.clock, &request, site.folder.path())
        .await
        .unwrap();
    assert_eq!((rebuilt.key, rebuilt.shards, rebuilt.over, rebuilt.lost), (taken.clone(), 30, 0, vec![]));
    assert_eq!(rebuilt.unknown.len(), 1, "the merged shard");
    assert_eq!(new.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().shards, shards);
    assert_eq!(new.verify(GROUP).await.unwrap().faults, []);

    site.clock.advance(every);
    let newer = snapshots::if_due(&node.parts, every).await.unwrap().unwrap();
    assert_eq!(retention::once(&node.parts, &streams, grace).await.unwrap(), (0, 30));
    // The older one names what is gone by now; one that is damaged is passed over.
    std::fs::write(site.folder.path().join("shards").join(&newer), b"damaged").unwrap();
    let request = rebuild::Request { replace: true, ..request };
    let rebuilt = rebuild::rebuild(&new, &site.bundles, &streams, &*site.clock, &request, site.folder.path())
        .await
        .unwrap();
    assert_eq!((rebuilt.key, rebuilt.shards, rebuilt.lost.len()), (taken, 0, 30));
    assert_eq!(rebuilt.passed_over[0].0, newer);
}

#[tokio::test]
async fn the_newest_snapshots_are_kept() {
    let site = Site::new().await;
    let node = site.node("a", Arc::new(concatenate));
    let mut taken = Vec::new();
    for _ in 0..snapshots::KEPT + 3 {
        taken.push(snapshots::if_due(&node.parts, Duration::from_secs(10)).await.unwrap().unwrap());
        site.clock.advance(Duration::from_secs(10));
    }
    assert!(site.keys().await.iter().eq(&taken[3..]));
    let left: Vec<_> = std::fs::read_dir(&node.parts.work_directory).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn small_shards_become_one_and_their_files_go_after_a_grace() {
    let site = Site::new().await;
    let mut node = site.node("a", Arc::new(concatenate));
    let mut shards = site.publish(FAN_IN - 1).await;
    assert_eq!(node.once().await.unwrap(), Pass::Idle);
    shards.extend(site.publish(1).await);
    assert_eq!(node.once().await.unwrap(), Pass::Worked);
    assert_eq!(node.once().await.unwrap(), Pass::Idle);
    let live = site.live().await;
    assert_eq!((live.len(), live[0].records, live[0].rewrites), (1, 300, 1));
    assert_eq!((live[0].bucket, live[0].offsets.len()), (shards[0].bucket, 1));
    site.check(&[&node]).await;
    let metrics = &node.parts.metrics;
    assert_eq!(
        (metrics.merges.get(), metrics.merged_shards.get(), metrics.merged_records.get()),
        (1, 30, 300)
    );
    assert_eq!(metrics.waiting_merges.get(), 0);

    let grace = Settings::default().expired_grace;
    let streams = Settings::default().streams;
    assert_eq!(retention::once(&node.parts, &streams, grace).await.unwrap(), (0, 0));
    assert_eq!(site.keys().await.len(), 31, "searches that have begun still read them");
    site.clock.advance(grace + Duration::from_nanos(1));
    assert_eq!(retention::once(&node.parts, &streams, grace).await.unwrap(), (0, 30));
    assert_eq!(site.keys().await, keys_of(&live));
    assert_eq!(node.parts.metrics.expired.get(), 0, "nothing has expired");

    // The bucket is over: what is left becomes one, and stays it.
    site.publish(3).await;
    site.clock.advance(Duration::from_hours(25));
    assert_eq!(node.once().await.unwrap(), Pass::Worked);
    assert_eq!(node.once().await.unwrap(), Pass::Idle);
    assert_eq!(site.live().await.iter().map(|shard| shard.rewrites).collect::<Vec<_>>(), [2]);
    site.check(&[&node]).await;
}

#[tokio::test]
async fn a_merge_beside_retention_is_refused_and_leaves_nothing() {
    let site = Arc::new(Site::new().await);
    let shards = site.publish(FAN_IN).await;
    let beside = Arc::clone(&site);
    let oldest = shards[0].last.plus(Duration::from_nanos(1));
    let mut node = site.node(
        "a",
        meanwhile(move || {
            let site = Arc::clone(&beside);
            async move {
                assert_eq!(
                    site.catalogue.expire(GROUP, &StreamName::default(), oldest).await.unwrap().len(),
                    1
                );
            }
        }),
    );
    assert_eq!(node.once().await.unwrap(), Pass::Worked);
    assert_eq!(site.live().await, shards[1..]);
    assert_eq!(site.keys().await, keys_of(&shards), "the merged bundle is deleted, no other");
    let metrics = &node.parts.metrics;
    assert_eq!((metrics.refused_merges.get(), metrics.merges.get(), metrics.failed_merges.get()), (1, 0, 0));
    // Nobody is to blame: the rest is merged as soon as there is enough again.
    site.publish(1).await;
    node.merge_shards = Arc::new(concatenate);
    assert_eq!(node.once().await.unwrap(), Pass::Worked);
    assert_eq!(site.live().await.len(), 1);
}

#[tokio::test]
async fn of_two_indexers_one_merges_and_a_zombie_changes_nothing() {
    let site = Arc::new(Site::new().await);
    let shards = site.publish(FAN_IN).await;
    let other = Arc::new(tokio::sync::Mutex::new(site.node("b", Arc::new(concatenate))));
    let (beside, at_once) = (Arc::clone(&site), Arc::clone(&other));
    let slept = Arc::new(AtomicBool::new(false));
    let mut node = site.node(
        "a",
        meanwhile(move || {
            let (site, other, slept) = (Arc::clone(&beside), Arc::clone(&at_once), Arc::clone(&slept));
            async move {
                let mut other = other.lock().await;
                assert_eq!(other.once().await.unwrap(), Pass::Idle, "the lease is another's");
                // The merger sleeps for longer than its lease; the other does the work.
                site.clock.advance(LEASE);
                assert_eq!(other.once().await.unwrap(), Pass::Worked);
                slept.store(true, Ordering::SeqCst);
            }
        }),
    );
    assert_eq!(node.once().await.unwrap(), Pass::Worked);
    let other = other.lock().await;
    assert_eq!((other.parts.metrics.merges.get(), node.parts.metrics.refused_merges.get()), (1, 1));
    let live = site.live().await;
    assert_eq!(live.len(), 1);
    let all: BTreeSet<String> = keys_of(&shards).union(&keys_of(&live)).cloned().collect();
    assert_eq!(site.keys().await, all, "of the two merged bundles the live one is there");
    site.check(&[&node, &other]).await;
}

#[tokio::test]
async fn a_lost_answer_keeps_the_bundle() {
    let site = Site::new().await;
    let shards = site.publish(FAN_IN).await;
    let node = site.node("a", Arc::new(concatenate));
    let task = MergeTask { shards };
    let bundle = node.merge(&task).await.unwrap();
    publish::store(&node.parts, &bundle).await.unwrap();
    assert!(matches!(node.replace(&replacement(&task, &bundle)).await.unwrap(), Ended::Merged));
    // The answer of the first attempt did not come: the second hears that it has happened.
    assert!(matches!(node.replace(&replacement(&task, &bundle)).await.unwrap(), Ended::Merged));
    assert_eq!(site.live().await, [bundle.meta]);
    site.check(&[&node]).await;
}

#[tokio::test]
async fn a_process_killed_before_its_replacement_has_changed_nothing() {
    let site = Site::new().await;
    let shards = site.publish(FAN_IN).await;
    let node = site.node("a", Arc::new(concatenate));
    assert!(site.catalogue.lease("merge/logs", "a", LEASE).await.unwrap());
    let bundle = node.merge(&MergeTask { shards: shards.clone() }).await.unwrap();
    publish::store(&node.parts, &bundle).await.unwrap();
    drop(node);
    assert_eq!(site.live().await, shards);

    // Another waits for its lease; itself, started again under its name, need not.
    let mut other = site.node("b", Arc::new(concatenate));
    assert_eq!(other.once().await.unwrap(), Pass::Idle);
    let mut again = site.node("a", Arc::new(concatenate));
    assert_eq!(again.once().await.unwrap(), Pass::Worked);
    let live = site.live().await;
    assert!(live.len() == 1 && live[0].id != bundle.meta.id);
    site.check(&[&again, &other]).await;
}

#[tokio::test]
async fn a_shard_that_cannot_be_read_holds_up_few() {
    let site = Site::new().await;
    let shards = site.publish(FAN_IN).await;
    let poison = shards[7].key.clone();
    let panics = Arc::new(AtomicBool::new(true));
    let (bad, turn) = (poison.clone(), Arc::clone(&panics));
    let mut node = site.node(
        "a",
        Arc::new(move |inputs, output, directory| {
            if let Some(input) = inputs.iter().find(|input| input.key.ends_with(&bad)) {
                assert!(!turn.fetch_xor(true, Ordering::SeqCst), "a merge that panics");
                return Err(Error::Corrupt { path: input.key.clone().into(), problem: "made up".to_owned() });
            }
            concatenate(inputs, output, directory)
        }),
    );
    assert_eq!(node.once().await.unwrap(), Pass::Worked);
    assert_eq!(node.parts.metrics.failed_merges.get(), 1);
    assert_eq!(node.once().await.unwrap(), Pass::Idle, "they are left alone for a while");
    assert_eq!(site.live().await, shards);
    // What comes meanwhile is merged.
    site.publish(FAN_IN - 1).await;
    assert_eq!(site.live().await.len(), 59);
    for _ in 0..40 {
        while node.once().await.unwrap() == Pass::Worked {}
        site.clock.advance(ASIDE_AT_MOST);
    }
    let live = site.live().await;
    assert!(live.iter().any(|shard| shard.key == poison));
    assert!(live.iter().filter(|shard| shard.records == 10).count() <= 2, "it and a neighbour");
    assert!(live.len() < 15, "{}", live.len());
    site.check(&[&node]).await;
}

#[tokio::test]
async fn a_merge_that_went_wrong_is_not_taken() {
    let wrong: [fn(&mut SealedBundle); 5] = [
        |bundle| bundle.meta.records -= 1,
        |bundle| bundle.meta.offsets[0].to += 1,
        |bundle| bundle.meta.stream = "app".parse().unwrap(),
        |bundle| bundle.meta.id = ShardId::random(),
        |bundle| bundle.meta.key = "logs/another.shard".to_owned(),
    ];
    for change in wrong {
        let site = Site::new().await;
        let shards = site.publish(FAN_IN).await;
        let mut node = site.node(
            "a",
            Arc::new(move |inputs, output, directory| {
                let mut bundle = concatenate(inputs, output, directory)?;
                change(&mut bundle);
                Ok(bundle)
            }),
        );
        assert_eq!(node.once().await.unwrap(), Pass::Worked);
        assert_eq!(node.parts.metrics.failed_merges.get(), 1);
        assert_eq!(site.live().await, shards);
        assert_eq!(site.keys().await, keys_of(&shards));
        site.check(&[&node]).await;
        assert_eq!(node.once().await.unwrap(), Pass::Idle, "it is not tried again at once");
    }
}

#[tokio::test]
async fn it_runs_until_it_is_told_to_stop_and_stores_nothing_then() {
    let site = Site::new().await;
    site.publish(FAN_IN).await;
    let node = site.node("a", Arc::new(concatenate));
    let (parts, shutdown) = (Arc::clone(&node.parts), CancellationToken::new());
    let running = tokio::spawn(run(
        Arc::clone(&parts),
        Settings::default(),
        Arc::default(),
        Arc::new(concatenate),
        shutdown.clone(),
    ));
    while parts.metrics.merges.get() == 0 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    running.await.unwrap();
    assert_eq!(site.live().await.len(), 1);

    // Told in the middle of a merge.
    site.publish(FAN_IN).await;
    let (before, keys) = (site.live().await, site.keys().await);
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let merge_shards: MergeShards = Arc::new(move |inputs, output, directory| {
        token.cancel();
        concatenate(inputs, output, directory)
    });
    run(Arc::clone(&parts), Settings::default(), Arc::default(), merge_shards, shutdown).await;
    assert_eq!((site.live().await, site.keys().await), (before, keys));
    site.check(&[&node]).await;
    assert!(site.catalogue.lease("merge/logs", "b", LEASE).await.unwrap(), "the lease is given back");
}
