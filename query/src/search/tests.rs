#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::{HttpLeaves, INDEXER_GROUP};
use millrace_catalogue::{Acquisition, Cut, Move};
use millrace_model::{Grant, ManualClock, OffsetRange, ShardFields, ShardId, ShardMeta};
use millrace_storage::Bundles;
use millrace_store::{HotPart, HotRequest, HotResponse, LeafError, LeafResponse};
use std::sync::atomic::{AtomicU32, Ordering};

const TOPIC: &str = "millrace.logs";

/// Of what it holds, the first `outruns` searches find that it was published and let go of just now.
struct Fleeting {
    catalogue: Catalogue,
    epoch: u64,
    outruns: u32,
    asked: AtomicU32,
}

impl Leaf for &Fleeting {
    async fn search(&self, request: &HotRequest) -> Result<HotResponse, LeafError> {
        let from = request.published[0].next_offset;
        let outrun = self.asked.fetch_add(1, Ordering::SeqCst) < self.outruns;
        let to = from + i64::from(outrun);
        if outrun {
            let moved = Move { partition: Partition(0), epoch: self.epoch, from: Some(from), to };
            let (group, topic) = (INDEXER_GROUP.to_owned(), TOPIC.to_owned());
            let cut = Cut { group, topic, moves: vec![moved], ..Cut::default() };
            self.catalogue.publish(&cut).await.unwrap();
        }
        let part = HotPart {
            topic: TOPIC.to_owned(),
            topic_id: None,
            partition: Partition(0),
            epoch: self.epoch,
            held_from: to,
            held_to: to,
            end: to,
            waits_ms: None,
            response: LeafResponse::default(),
        };
        Ok(HotResponse { parts: vec![part] })
    }
}

/// A searcher of what lies in a folder.
fn searcher<L: Leaf>(
    folder: &std::path::Path,
    catalogue: Catalogue,
    clock: Arc<dyn Clock>,
    local: Option<(String, L)>,
) -> Searcher<L> {
    let url = format!("file://{}", folder.join("shards").display());
    let bundles = Bundles::open(&millrace_storage::Settings::new(url, "")).unwrap();
    let remote = HttpLeaves::new(None, Arc::clone(&clock)).unwrap();
    let leaves = Leaves::new(local, remote, Metrics::default());
    Searcher::new(catalogue, OpenShards::new(bundles), leaves, Cores::default(), clock, Metrics::default())
}

fn everything(grant: Grant) -> SearchRequest {
    SearchRequest {
        filter: Filter::ALL,
        range: TimeRange::ALL,
        streams: None,
        sight: Sight::whole(grant),
        limit: 1,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        gather: None,
    }
}

/// A leaf that owns the one partition of a catalogue in which these shards are published, which is outrun so often.
async fn fleeting(shards: Vec<ShardMeta>, outruns: u32) -> (tempfile::TempDir, Arc<dyn Clock>, Fleeting) {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp(1_000)));
    let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
    let catalogue = Catalogue::open(&url, Arc::clone(&clock)).await.unwrap();
    let wanted = Acquisition { partition: Partition(0), topic_id: None, low: 0 };
    let owned = catalogue.acquire(INDEXER_GROUP, TOPIC, &[wanted], "a").await.unwrap()[0];
    let moved = Move { partition: Partition(0), epoch: owned.epoch, from: None, to: 5 };
    let (group, topic) = (INDEXER_GROUP.to_owned(), TOPIC.to_owned());
    catalogue.publish(&Cut { group, topic, moves: vec![moved], shards, ..Cut::default() }).await.unwrap();
    let fleeting = Fleeting { catalogue, epoch: owned.epoch, outruns, asked: AtomicU32::new(0) };
    (folder, clock, fleeting)
}

/// Searches where so many are outrun; returns how often the leaf was asked and what the answer lacks.
async fn outrun(outruns: u32) -> (u32, Vec<Missing>) {
    let (folder, clock, fleeting) = fleeting(Vec::new(), outruns).await;
    let catalogue = fleeting.catalogue.clone();
    let local = Some(("a".to_owned(), &fleeting));
    let searcher = searcher(folder.path(), catalogue, clock, local);
    let missing = searcher.search(&everything(Grant::All)).await.unwrap().missing;
    (fleeting.asked.load(Ordering::SeqCst), missing)
}

#[tokio::test]
async fn a_search_that_is_outrun_by_a_publish_begins_anew() {
    assert_eq!(outrun(0).await, (1, Vec::new()));
    assert_eq!(outrun(AGAIN).await, (AGAIN + 1, Vec::new()));
    // But not for ever: then it says what it lacks.
    let (asked, missing) = outrun(AGAIN + 1).await;
    assert_eq!((asked, missing.len(), missing[0].lag), (AGAIN + 1, 1, Some(1)));
}

/// A shard whose bundle nobody finds.
fn lost_shard(number: u128, stream: &str) -> ShardMeta {
    ShardMeta {
        id: ShardId(number),
        schema_version: 3,
        stream: stream.parse().unwrap(),
        first: Timestamp(100),
        last: Timestamp(200),
        records: 7,
        bytes: 70,
        sha256: String::new(),
        key: format!("{stream}/{number}"),
        offsets: vec![OffsetRange {
            topic: TOPIC.to_owned(),
            topic_id: None,
            partition: Partition(0),
            from: 0,
            to: 5,
        }],
        created: Timestamp(300),
        rewrites: 0,
        bucket: None,
        deletions: 0,
        fields: ShardFields::default(),
    }
}

#[tokio::test]
async fn an_explanation_tells_nothing_of_streams_that_are_not_granted() {
    let shards = vec![
        lost_shard(1, "app"),
        lost_shard(2, "app"),
        lost_shard(3, "hidden"),
        lost_shard(4, StreamName::AUDIT),
    ];
    let (folder, clock, fleeting) = fleeting(shards, 0).await;
    let catalogue = fleeting.catalogue.clone();
    let local = Some(("a".to_owned(), &fleeting));
    let searcher = searcher(folder.path(), catalogue, clock, local);

    let (_, all) = searcher.explain(&everything(Grant::All)).await.unwrap();
    assert_eq!((all.shards.considered, all.shards.failed, all.shards.each.len()), (4, 3, 3));
    assert_eq!(all.shards.pruned, [("stream", 1)].into_iter().collect(), "the audit trail is not named");
    let offsets = all.offsets.unwrap();
    let held = offsets[0].held.as_ref().unwrap();
    assert_eq!((offsets[0].published, held.node.as_str(), held.from, held.to), (Some(5), "a", 5, 5));

    let streams =
        |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<StreamName>>();
    let app = || Grant::Streams(streams(&["app"]).into_iter().collect());
    let (_, some) = searcher.explain(&everything(app())).await.unwrap();
    let told = serde_json::to_string(&some).unwrap();
    assert_eq!((some.shards.considered, some.shards.each.len()), (2, 2), "{told}");
    assert!(!told.contains("hidden") && !told.contains(TOPIC) && some.offsets.is_none(), "{told}");
    // Nor where it is asked for.
    let asked = SearchRequest { streams: Some(streams(&["hidden"])), ..everything(app()) };
    let (_, none) = searcher.explain(&asked).await.unwrap();
    let told = serde_json::to_string(&none).unwrap();
    assert_eq!((none.shards.considered, none.shards.each.len()), (2, 0), "{told}");
    assert_eq!(none.shards.pruned, [("stream", 2)].into_iter().collect());
    assert!(!told.contains("hidden"), "{told}");
    // What lies in another time is known by the catalogue.
    let range = TimeRange { from: Timestamp(500), to: Timestamp(600) };
    let (_, other) = searcher.explain(&SearchRequest { range, ..everything(app()) }).await.unwrap();
    assert_eq!(other.shards.pruned, [("time", 2)].into_iter().collect());
}
