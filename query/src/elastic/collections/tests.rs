#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::elastic::{id_of, with_ids};
use millrace_catalogue::Change;
use millrace_elastic::fields::source_of;
use millrace_filter::{Expr, Filter};
use millrace_model::{Clock, ManualClock, TimeRange, Timestamp};
use millrace_store::{LeafRequest, Order};
use serde_json::{Value as Json, json};
use std::{collections::BTreeMap, path::Path, time::Duration};

const INDEX: &str = "state";

async fn node(folder: &Path, clock: &Arc<ManualClock>, settings: &ElasticSettings) -> Collections {
    let url = format!("sqlite://{}", folder.join("catalogue.db").display());
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(clock);
    let catalogue = Catalogue::open(&url, clock).await.unwrap();
    Collections::new(catalogue, settings, 1 << 20, &Metrics::default())
}

fn settings() -> ElasticSettings {
    ElasticSettings { documents: vec!["state*".to_owned()], make_room_after: None }
}

fn put(id: &str, document: &Json) -> (String, Decide<ElasticError>) {
    let text = document.to_string();
    (id.to_owned(), Box::new(move |_| Ok(Change::Put(text))))
}

fn delete(id: &str) -> (String, Decide<ElasticError>) {
    (id.to_owned(), Box::new(|_| Ok(Change::Delete)))
}

/// What a search for this finds: documents and versions by id.
async fn found(node: &Collections, index: &Index, filter: Expr) -> BTreeMap<String, (Json, u64)> {
    let request = LeafRequest {
        filter: Filter::new(with_ids(filter)),
        range: TimeRange::ALL,
        limit: 1000,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        fragments: None,
    };
    let rows = node.rows(index).await.unwrap().search(&request, i64::MIN, None).unwrap();
    assert_eq!(rows.total, rows.hits.len() as u64);
    rows.hits.iter().map(|row| (id_of(row), (source_of(row, true), edition(row).0))).collect()
}

/// Numbers that look like chance, the same in each run.
fn chance(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

#[tokio::test]
async fn whoever_searches_finds_what_any_node_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000_000_000)));
    let nodes =
        [node(folder.path(), &clock, &settings()).await, node(folder.path(), &clock, &settings()).await];
    let index = Index::mutable(INDEX.parse().unwrap());
    let mut expected: BTreeMap<String, (Json, u64)> = BTreeMap::new();
    let mut seed = 7;
    for step in 0..300_u64 {
        clock.advance(Duration::from_millis(1));
        let writer = &nodes[chance(&mut seed, 2) as usize];
        let id = format!("d{}", chance(&mut seed, 8));
        match chance(&mut seed, 12) {
            // One in sixty: all of it goes.
            0 if chance(&mut seed, 5) == 0 => {
                writer.delete(&index.stream).await.unwrap();
                expected.clear();
            }
            0..3 => {
                let edited = writer.edit(&index.stream, vec![delete(&id)]).await;
                let was = expected.remove(&id);
                assert_eq!(edited[0].as_ref().unwrap().version, was.map_or(1, |(_, version)| version + 1));
            }
            _ => {
                let document = json!({ "step": step, "rule": { "name": format!("r{}", step % 3) } });
                let edited = writer.edit(&index.stream, vec![put(&id, &document)]).await;
                let version = edited[0].as_ref().unwrap().version;
                expected.insert(id, (document, version));
            }
        }
        // Some searches go on from where the last one was, some begin anew, some have missed much.
        let reader = &nodes[chance(&mut seed, 2) as usize];
        if chance(&mut seed, 3) > 0 {
            assert_eq!(found(reader, &index, Expr::All).await, expected, "after step {step}");
        }
    }
    assert!(expected.len() > 2, "{expected:?}");
}

#[tokio::test]
async fn a_mapping_that_has_changed_holds_for_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000_000_000)));
    let node = node(folder.path(), &clock, &settings()).await;
    let mut index = Index::mutable(INDEX.parse().unwrap());
    let fitting = json!({ "until": "2026-01-15T10:00:00Z" });
    let other = json!({ "until": "soon" });
    node.edit(&index.stream, vec![put("fits", &fitting), put("does not", &other)]).await;
    assert_eq!(found(&node, &index, Expr::All).await.len(), 2);
    index.mapping.merge(&json!({ "properties": { "until": { "type": "date" } } })).unwrap();
    // What does not fit any more is still there, whole, and has no field.
    let all = found(&node, &index, Expr::All).await;
    let one = |document: &Json| (document.clone(), 1);
    assert_eq!(
        all,
        BTreeMap::from([("fits".to_owned(), one(&fitting)), ("does not".to_owned(), one(&other))])
    );
    let filter = json!({ "range": { "until": { "gte": "2026-01-01" } } });
    let filter = millrace_elastic::query::query(&filter, &index.mapping, clock.now()).unwrap();
    assert_eq!(found(&node, &index, filter).await.into_keys().collect::<Vec<_>>(), ["fits"]);
}

#[tokio::test]
async fn rows_of_others_are_let_go_of_where_they_take_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000_000_000)));
    let node = node(folder.path(), &clock, &settings()).await;
    let indices = ["state-a", "state-b"].map(|name| Index::mutable(name.parse().unwrap()));
    for index in &indices {
        let words: Vec<String> = (0..50_000).map(|n| format!("word{n}")).collect();
        let large = |n: usize| json!({ "text": words[n * 12_500..(n + 1) * 12_500].join(" ") });
        let edits = (0..4).map(|n| put(&n.to_string(), &large(n))).collect();
        assert!(node.edit(&index.stream, edits).await.iter().all(Result::is_ok));
    }
    let kept = || {
        let kept = node.lock();
        let mut names: Vec<String> = kept.keys().map(ToString::to_string).collect();
        names.sort_unstable();
        (names, kept.values().map(|slot| slot.weight.load(Ordering::Relaxed)).sum::<usize>())
    };
    // Twice as much as may be kept is searched, and found.
    for index in &indices {
        assert_eq!(found(&node, index, Expr::All).await.len(), 4);
        let (names, weight) = kept();
        assert_eq!(names, [index.stream.to_string()], "{weight}");
    }
}

#[tokio::test]
async fn a_full_index_says_so_or_makes_room_where_it_is_told_to() {
    const MOST: usize = 2 * AT_ONCE + 50;
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000_000_000)));
    let index = Index::mutable(INDEX.parse().unwrap());
    let mut strict = node(folder.path(), &clock, &settings()).await;
    strict.bounds.documents = MOST as u64;
    // More than one transaction of them, and each is told what became of it.
    let edits = (0..MOST + 2).map(|n| put(&n.to_string(), &json!({ "n": n }))).collect();
    let each = strict.edit(&index.stream, edits).await;
    assert_eq!(each.iter().filter(|one| one.is_ok()).count(), MOST);
    for refused in &each[MOST..] {
        let error = refused.as_ref().unwrap_err();
        assert_eq!((error.kind, error.status), ("cluster_block_exception", 429));
        assert!(error.reason.contains("make_room_after"), "{error}");
    }
    let told = ElasticSettings { make_room_after: Some(Duration::from_hours(1)), ..settings() };
    let mut lenient = node(folder.path(), &clock, &told).await;
    lenient.bounds.documents = MOST as u64;
    let more = || vec![put("more", &json!({ "n": -1 }))];
    assert!(lenient.edit(&index.stream, more()).await[0].is_err(), "nothing is old enough");
    clock.advance(Duration::from_hours(2));
    assert!(strict.edit(&index.stream, more()).await[0].is_err(), "here nothing ever is");
    assert!(lenient.edit(&index.stream, more()).await[0].is_ok());
    let gone = lenient.let_go.get() as usize;
    assert!(gone > 0 && strict.let_go.get() == 0);
    let left = found(&strict, &index, Expr::All).await;
    let expected: Vec<String> = (gone..MOST).map(|n| n.to_string()).chain(["more".to_owned()]).collect();
    assert_eq!(left.into_keys().collect::<std::collections::BTreeSet<_>>(), expected.into_iter().collect());
}
