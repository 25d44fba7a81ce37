#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::{HttpLeaves, INDEXER_GROUP};
use millrace_catalogue::{Acquisition, Cut, Move};
use millrace_model::ManualClock;
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
            response: LeafResponse::default(),
        };
        Ok(HotResponse { parts: vec![part] })
    }
}

/// Searches where so many are outrun; returns how often the leaf was asked and what the answer lacks.
async fn outrun(outruns: u32) -> (u32, Vec<Missing>) {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp(1_000)));
    let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
    let catalogue = Catalogue::open(&url, Arc::clone(&clock)).await.unwrap();
    let wanted = Acquisition { partition: Partition(0), topic_id: None, low: 0 };
    let owned = catalogue.acquire(INDEXER_GROUP, TOPIC, &[wanted], "a").await.unwrap()[0];
    let moved = Move { partition: Partition(0), epoch: owned.epoch, from: None, to: 5 };
    let (group, topic) = (INDEXER_GROUP.to_owned(), TOPIC.to_owned());
    catalogue.publish(&Cut { group, topic, moves: vec![moved], ..Cut::default() }).await.unwrap();
    let fleeting =
        Fleeting { catalogue: catalogue.clone(), epoch: owned.epoch, outruns, asked: AtomicU32::new(0) };
    let url = format!("file://{}", folder.path().join("shards").display());
    let bundles = Bundles::open(&millrace_storage::Settings::new(url, "")).unwrap();
    let remote = HttpLeaves::new(None, Arc::clone(&clock)).unwrap();
    let leaves = Leaves::new(Some(("a".to_owned(), &fleeting)), remote, Metrics::default());
    let searcher = Searcher::new(
        catalogue,
        OpenShards::new(bundles),
        leaves,
        Cores::default(),
        clock,
        Metrics::default(),
    );
    let request = SearchRequest {
        filter: Filter::ALL,
        range: TimeRange::ALL,
        streams: None,
        grant: Grant::All,
        limit: 1,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        gather: None,
    };
    let missing = searcher.search(&request).await.unwrap().missing;
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
