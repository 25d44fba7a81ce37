//! Searches over shards that lie in a bucket: as right as over a folder, with few requests, and none once they are here;
//! and an answer that lacks a shard names it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "afar/world.rs"]
mod world;

use millrace_model::{Grant, ShardMeta, Sight, TimeRange};
use millrace_query::{SearchRequest, search::Hits};
use millrace_store::Order;
use millrace_test_support::s3::{Fault, Kind};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use world::World;

fn latest(query: &str, limit: usize) -> SearchRequest {
    SearchRequest {
        filter: millrace_filter::parse(query).unwrap(),
        range: TimeRange::ALL,
        streams: None,
        sight: Sight::whole(Grant::All),
        limit,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        gather: None,
    }
}

/// The shards that an answer says it lacks.
fn lacking(hits: &Hits) -> Vec<&str> {
    hits.missing.iter().filter_map(|missing| missing.shard.as_deref()).collect()
}

fn ids(shards: &[ShardMeta]) -> Vec<String> {
    let mut ids: Vec<String> = shards.iter().map(|shard| shard.id.to_string()).collect();
    ids.sort_unstable();
    ids
}

const QUERIES: &[&str] = &["login", "user17", "login user17", "*5fe*", "level:error", "nowhere", "*"];

#[tokio::test(flavor = "multi_thread")]
async fn small_shards_take_one_request_each_and_none_again() {
    let world = World::new(12, 3_000).await;
    let (near, far) = (world.searcher_of_a_folder(), world.searcher("copies"));
    for (nth, query) in QUERIES.iter().enumerate() {
        let expected = near.search(&latest(query, 100)).await.unwrap();
        let found = far.search(&latest(query, 100)).await.unwrap();
        assert_eq!((&found.hits, found.total), (&expected.hits, expected.total), "{query}");
        assert_eq!(lacking(&found), [""; 0]);
        let requests = if nth == 0 { BTreeMap::from([(Kind::Get, 12)]) } else { BTreeMap::new() };
        assert_eq!(world.take_requests(), requests, "{query}");
    }
    world.wait_for_copies("copies", 12);
    drop(far);
    let found = world.searcher("copies").search(&latest("login", 100)).await.unwrap();
    assert!(found.total > 0 && lacking(&found).is_empty());
    assert_eq!(world.take_requests(), BTreeMap::new(), "the copies are still there after a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_shards_take_few_requests_and_none_again() {
    for rows in [140_000, 600_000] {
        let world = World::new(2, rows).await;
        assert!(world.shards.iter().all(|shard| shard.bytes > 2 << 20), "{}", world.shards[0].bytes);
        let near = world.searcher_of_a_folder();
        for query in QUERIES {
            let far = world.searcher(query);
            let expected = near.search(&latest(query, 100)).await.unwrap();
            let found = far.search(&latest(query, 100)).await.unwrap();
            assert_eq!((&found.hits, found.total), (&expected.hits, expected.total), "{query}");
            let requests = world.take_requests();
            println!("{rows} rows, {query}: {requests:?}");
            assert!(requests[&Kind::Get] <= 2 * 5 && requests.len() == 1, "{query}: {requests:?}");
            far.search(&latest(query, 100)).await.unwrap();
            assert_eq!(world.take_requests(), BTreeMap::new(), "{query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_goes_while_it_is_searched_is_missed_by_its_name() {
    let world = World::new(6, 500).await;
    let far = world.searcher("copies");
    let gone = &world.shards[2..4];
    for shard in gone {
        world.bundles.delete(&shard.key).await.unwrap();
    }
    let found = far.search(&latest("*", 10)).await.unwrap();
    let mut missed = lacking(&found);
    missed.sort_unstable();
    assert_eq!(missed, ids(gone));
    assert_eq!(found.total, 4 * 500);
    let reasons: Vec<&str> =
        found.missing.iter().filter(|m| m.shard.is_some()).map(|m| m.reason.as_str()).collect();
    assert!(reasons.iter().all(|reason| reason.contains("no bundle")), "{reasons:?}");
    // What has been fetched before is found still: retention hides it first.
    let shard = &world.shards[0];
    world.bundles.delete(&shard.key).await.unwrap();
    assert_eq!(far.search(&latest("*", 10)).await.unwrap().total, 4 * 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_bundles_go_when_the_catalogue_has_forgotten_them() {
    let world = World::new(3, 500).await;
    let far = world.searcher("copies");
    assert_eq!(far.search(&latest("*", 10)).await.unwrap().total, 3 * 500);
    world.wait_for_copies("copies", 3);
    assert_eq!(far.let_go_of_what_is_gone().await.unwrap(), 0);
    // Hidden, and deleted by another node: what was rewritten without somebody's records ends so, too.
    world.end(1).await;
    assert_eq!(far.let_go_of_what_is_gone().await.unwrap(), 1);
    world.wait_for_copies("copies", 2);
    // After a restart, too, when nobody remembers which copy is of which bundle.
    drop(far);
    world.end(1).await;
    let far = world.searcher("copies");
    assert_eq!(far.let_go_of_what_is_gone().await.unwrap(), 1);
    world.wait_for_copies("copies", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_fetched_again() {
    let world = World::new(3, 2_000).await;
    let expected = world.searcher_of_a_folder().search(&latest("login", 50)).await.unwrap();
    let far = world.searcher("copies");
    far.search(&latest("login", 50)).await.unwrap();
    world.wait_for_copies("copies", 3);
    drop(far);
    for damage in [|bytes: &mut Vec<u8>| bytes.fill(7), |bytes: &mut Vec<u8>| bytes[10..5000].fill(7)] {
        world.change_copies("copies", damage);
        world.take_requests();
        let far = world.searcher("copies");
        let found = far.search(&latest("login", 50)).await.unwrap();
        assert_eq!((&found.hits, found.total), (&expected.hits, expected.total));
        let found = far.search(&latest("*5fe*", 50)).await.unwrap();
        assert_eq!(lacking(&found), [""; 0]);
        assert_eq!(world.take_requests()[&Kind::Get], 3);
        world.wait_for_copies("copies", 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_in_trouble_makes_answers_partial_and_nothing_worse() {
    let world = World::new(6, 500).await;
    let far = world.searcher("copies");
    let all = ids(&world.shards);
    world.server.fail(&[Kind::Get], Fault::Status(503), usize::MAX);
    let found = far.search(&latest("*", 10)).await.unwrap();
    let mut missed = lacking(&found);
    missed.sort_unstable();
    assert_eq!((found.total, missed), (0, all.iter().map(String::as_str).collect()));
    world.server.heal();
    world.server.fail(&[Kind::Get], Fault::Drop, 3);
    world.server.fail(&[Kind::Get], Fault::Cut, 3);
    let found = far.search(&latest("*", 10)).await.unwrap();
    assert_eq!(lacking(&found).len() as u64 * 500 + found.total, 6 * 500);
    world.server.heal();
    let found = far.search(&latest("*", 10)).await.unwrap();
    assert_eq!((found.total, lacking(&found).len()), (6 * 500, 0));
    // What is here needs no storage.
    world.server.fail(&[], Fault::Drop, usize::MAX);
    assert_eq!(far.search(&latest("login", 10)).await.unwrap().missing.len(), found.missing.len());
}

/// Prints what searches cost: `cargo test --release --test afar -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; asserts nothing"]
async fn figures() {
    let number =
        |name: &str, default: usize| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (shards, rows) = (number("SHARDS", 100), number("ROWS", 30_000));
    let world = World::new(shards, rows).await;
    let bytes: u64 = world.shards.iter().map(|shard| shard.bytes).sum();
    println!("{shards} shards of {} KiB", bytes / 1024 / shards as u64);
    let delay = Duration::from_millis(number("DELAY_MS", 0) as u64);
    if !delay.is_zero() {
        world.server.fail(&[], Fault::Slow(delay), usize::MAX);
    }
    let near = world.searcher_of_a_folder();
    for query in QUERIES {
        let far = world.searcher(query);
        print!("{query:>14}");
        for (name, searcher) in
            [("near cold", &near), ("near", &near), ("far cold", &far), ("far", &far), ("far", &far)]
        {
            world.take_requests();
            let begun = Instant::now();
            let found = searcher.search(&latest(query, 100)).await.unwrap();
            let took = begun.elapsed();
            assert_eq!(lacking(&found), [""; 0]);
            let gets = world.take_requests().get(&Kind::Get).copied().unwrap_or(0);
            print!(" | {name} {:.1} ms", took.as_secs_f64() * 1e3);
            if gets > 0 {
                print!(" {gets} requests");
            }
        }
        println!();
    }
}
