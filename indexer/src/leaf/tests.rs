use super::*;
use crate::shards::Owned;
use axum::http::HeaderValue;
use millrace_filter::Filter;
use millrace_model::{
    Grant, LogRecord, Partition, RecordId, Row, SourceId, StreamName, TimeRange, Timestamp,
};
use millrace_store::{HotRow, LeafRequest, Order};
use std::collections::BTreeSet;

/// Stands still.
#[derive(Debug)]
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// A thread alone, that goes on or does not.
struct Alone(bool);

impl Threads for Alone {
    fn go_on(&self) -> bool {
        self.0
    }
}

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

/// A leaf with a row of each stream.
fn leaf(streams: &[&str]) -> HotLeaf {
    let shards = Shards::new("t");
    let owned = Owned { topic_id: None, epoch: 1, published: None, held_from: 0, next: 0, end: 0 };
    shards.own(Partition(0), owned);
    let rows = streams.iter().enumerate().map(|(nth, stream)| {
        let stream: StreamName = stream.parse().unwrap();
        let id = RecordId { source: SourceId(1), position: nth as u64, index: 0 };
        let row =
            Row { id, stream: stream.clone(), time: Timestamp(nth as i64), record: LogRecord::default() };
        (stream, Timestamp(0), HotRow { partition: Partition(0), offset: nth as i64, row })
    });
    shards.append(Partition(0), rows.collect(), streams.len() as i64, None);
    HotLeaf::new(Arc::new(shards), Cores::default())
}

fn request(streams: Option<&[&str]>, grant: Grant) -> HotRequest {
    HotRequest {
        request: LeafRequest {
            filter: Filter::ALL,
            range: TimeRange::ALL,
            limit: 10,
            order: Order::OldestFirst,
            after: None,
            histogram: None,
            fragments: None,
        },
        streams: streams.map(|names| names.iter().map(|name| name.parse().unwrap()).collect()),
        grant,
        published: Vec::new(),
        publish: false,
    }
}

#[test]
fn no_stream_is_shown_that_is_not_granted() {
    let leaf = leaf(&["app", "audit", "web"]);
    let grant = |names: &[&str]| Grant::Streams(names.iter().map(|name| name.parse().unwrap()).collect());
    let seen = |streams: Option<&[&str]>, grant: Grant| {
        let response =
            leaf.search_now(&request(streams, grant), &Alone(true)).unwrap().parts.remove(0).response;
        let streams: Vec<String> = response.hits.iter().map(|row| row.stream.to_string()).collect();
        assert_eq!(response.total, streams.len() as u64);
        streams
    };
    assert_eq!(seen(None, Grant::All), ["app", "audit", "web"]);
    assert_eq!(seen(None, grant(&["app", "web", "none"])), ["app", "web"]);
    assert_eq!(seen(Some(&["audit", "web"]), grant(&["app", "web"])), ["web"]);
    assert_eq!(seen(Some(&["audit"]), grant(&["app"])), [""; 0]);
    assert_eq!(seen(None, Grant::Streams(BTreeSet::new())), [""; 0]);
    // Where a partition stands is told all the same: whether an answer is whole is nobody's secret.
    let answer = leaf.search_now(&request(None, grant(&[])), &Alone(true)).unwrap();
    assert_eq!(answer.parts[0].held_to, 3);
}

#[test]
fn what_nobody_waits_for_is_not_answered() {
    assert!(leaf(&["app"]).search_now(&request(None, Grant::All), &Alone(false)).is_err());
}

fn door(key: Option<ClusterKey>) -> Door {
    let (leaf, clock) = (leaf(&["app"]), Arc::new(Still(NOW)));
    Door { leaf, key, clock, metrics: Metrics::default(), told: Mutex::default() }
}

/// What becomes of a request: its status, and the reasons that were counted for it.
async fn outcome(door: &Arc<Door>, proof: Option<&str>, body: &str) -> (u16, String) {
    let mut headers = HeaderMap::new();
    if let Some(proof) = proof {
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(proof).unwrap());
    }
    let uri = Uri::from_static("/leaf/search");
    let response = answer(State(Arc::clone(door)), uri, headers, Bytes::from(body.to_owned())).await;
    let counted = ["missing", "stale", "wrong"]
        .map(|reason| door.metrics.refused_requests.get_or_create(&Reason { reason }).get().to_string());
    (response.status().as_u16(), counted.join(" "))
}

#[tokio::test]
async fn only_nodes_of_the_cluster_are_answered_where_it_has_a_secret() {
    let key = ClusterKey::new("a secret of the cluster");
    let locked = Arc::new(door(Some(key.clone())));
    let body = serde_json::to_string(&request(None, Grant::All)).unwrap();
    let proof = key.prove("/leaf/search", body.as_bytes(), NOW);
    assert_eq!(outcome(&locked, Some(&proof), &body).await, (200, "0 0 0".to_owned()));
    assert_eq!(outcome(&locked, None, &body).await, (401, "1 0 0".to_owned()));
    let other = ClusterKey::new("a secret of another").prove("/leaf/search", body.as_bytes(), NOW);
    assert_eq!(outcome(&locked, Some(&other), &body).await, (401, "1 0 1".to_owned()));
    let early = Timestamp(NOW.0 - 120_000_000_000);
    let old = key.prove("/leaf/search", body.as_bytes(), early);
    assert_eq!(outcome(&locked, Some(&old), &body).await, (401, "1 1 1".to_owned()));
    // The grant is among what is signed.
    let narrow = serde_json::to_string(&request(None, Grant::Streams(BTreeSet::new()))).unwrap();
    let proof = key.prove("/leaf/search", narrow.as_bytes(), NOW);
    assert_eq!(outcome(&locked, Some(&proof), &body).await, (401, "1 1 2".to_owned()));
    // What is believed can still be nonsense.
    let proof = key.prove("/leaf/search", b"{", NOW);
    assert_eq!(outcome(&locked, Some(&proof), "{").await, (400, "1 1 2".to_owned()));
    assert_eq!(outcome(&Arc::new(door(None)), None, &body).await, (200, "0 0 0".to_owned()));
}
