//! `PostgreSQL`: the contract on a real server; many nodes at once, a server that goes away, a node that stands still.

use crate::{
    Catalogue, Error, PublishError, TrailCheck,
    contract::{
        Bed, GROUP, TOPIC, clock, cut,
        going_back::every_version_can_be_gone_back_to,
        merging::{publish, replacement},
        opened_by_many_at_once, own, step, wanted,
    },
};
use millrace_model::{StreamName, TimeRange, Timestamp};
use millrace_test_support::postgres::{Postgres, shared};
use std::{collections::BTreeSet, time::Duration};

async fn open(url: &str) -> Result<Catalogue, Error> {
    Catalogue::open(url, clock()).await
}

/// A catalogue in a database of its own, and two handles on it.
async fn lay() -> (Bed, ()) {
    let url = shared().database();
    let clock = clock();
    let first = Catalogue::open(&url, clock.clone()).await.unwrap();
    let second = Catalogue::open(&url, clock.clone()).await.unwrap();
    (Bed { first, second, clock }, ())
}

mod contract_of {
    crate::contract::tests!(super::lay);
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_catalogue_at_once() {
    opened_by_many_at_once(&shared().database()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_goes_back_and_up_again() {
    every_version_can_be_gone_back_to(&shared().database()).await;
}

#[tokio::test]
async fn what_is_not_ours_or_not_there_is_refused_without_telling_the_password() {
    let url = shared().database();
    shared().execute(name_of(&url), "CREATE TABLE birds (name TEXT)");
    let error = open(&url).await.unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1") && error.to_string().contains(name_of(&url)), "{error}");

    // A schema of its own beside the other tables is as good as a database.
    shared().execute(name_of(&url), "CREATE SCHEMA millrace");
    open(&format!("{url}?options[search_path]=millrace")).await.unwrap();

    let missing = url.replace("millrace@", "millrace:hunter2@").replace("test_", "no_such_");
    let error = open(&missing).await.unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");

    let newer = shared().database();
    open(&newer).await.unwrap().close().await;
    shared().execute(
        name_of(&newer),
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', TRUE, '', 0)",
    );
    let error = open(&newer).await.unwrap_err();
    assert!(matches!(error, Error::Newer { found: 9999, .. }), "{error:?}");
}

#[tokio::test]
async fn a_text_that_the_database_cannot_hold_stops_nobody() {
    let (bed, ()) = lay().await;
    let owned = own(&bed.first, 0, "a").await;
    let mut published = cut(step(&owned, 10));
    published.sources[0].state.open.as_mut().unwrap().path = "/var/log/a\0b".to_owned();
    bed.first.publish(&published).await.unwrap();
    let label = &bed.second.source_labels(GROUP).await.unwrap()[0];
    assert_eq!(label.path.as_deref(), Some("/var/log/a\u{fffd}b"));
    let stored = &bed.second.all_sources(GROUP).await.unwrap()[0];
    assert_eq!(stored.state, published.sources[0].state, "the state is as it was");
}

/// Four nodes publish to partitions of their own while others merge and expire what they made, all as fast as they can:
/// nobody fails but for having come too late, and each trail is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_do_not_wait_for_one_another_in_a_circle() {
    let url = shared().database();
    let mut publishers = Vec::new();
    for partition in 0..4 {
        let url = url.clone();
        publishers.push(tokio::spawn(async move {
            let catalogue = open(&url).await.unwrap();
            let mut owned = own(&catalogue, partition, "publisher").await;
            for _ in 0..15 {
                let from = owned.next_offset.unwrap_or(0);
                let shards = publish(&catalogue, &mut owned, &[from + 3, from + 10]).await;
                catalogue.replace(&replacement(&shards)).await.unwrap();
            }
        }));
    }
    let expirer = {
        let url = url.clone();
        tokio::spawn(async move {
            let catalogue = open(&url).await.unwrap();
            for _ in 0..40 {
                let nothing =
                    catalogue.expire(GROUP, &StreamName::default(), Timestamp::from_millis(0)).await;
                assert_eq!(nothing.unwrap(), []);
                let hidden = catalogue.hidden(Timestamp::MAX).await.unwrap();
                let ids: Vec<_> = hidden.iter().map(|hidden| hidden.shard.id).collect();
                catalogue.forget(&ids).await.unwrap();
            }
        })
    };
    for publisher in publishers {
        publisher.await.unwrap();
    }
    expirer.await.unwrap();
    let catalogue = open(&url).await.unwrap();
    let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    for row in &snapshot.partitions {
        assert_eq!(row.next_offset, Some(150));
        let mut check = TrailCheck::default();
        for link in catalogue.trail(GROUP, TOPIC, row.partition, 0, u32::MAX).await.unwrap() {
            check.accept(&link).unwrap();
        }
        let of_it = snapshot.shards.iter().filter(|shard| shard.offsets[0].partition == row.partition);
        assert!(check.live().keys().copied().eq(of_it.map(|shard| shard.id).collect::<BTreeSet<_>>()));
    }
    assert_eq!(snapshot.shards.len(), 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_and_is_found_again() {
    let server = Postgres::start();
    let url = server.database();
    let catalogue = open(&url).await.unwrap();
    let mut owned = own(&catalogue, 0, "a").await;
    for round in 1..=2 {
        publish(&catalogue, &mut owned, &[round * 10]).await;
        if round % 2 == 0 {
            server.kill();
        } else {
            server.stop();
        }
        let next = cut(step(&owned, round * 10 + 10));
        let refused = catalogue.publish(&next);
        // Nobody is there: the caller hears of it instead of waiting for ever.
        let refused = tokio::time::timeout(Duration::from_mins(1), refused).await.unwrap().unwrap_err();
        assert!(matches!(refused, PublishError::Failed(_)), "{refused:?}");
        server.restart();
        let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
        assert_eq!(snapshot.partitions[0].next_offset, Some(round * 10));
        assert_eq!(snapshot.shards.len() as i64, round);
    }
}

#[tokio::test]
async fn a_node_that_stands_still_in_a_transaction_is_cut_off() {
    let (bed, ()) = lay().await;
    let owned = own(&bed.first, 0, "a").await;
    let mut still = bed.first.begin("stand still").await.unwrap();
    sqlx::query("UPDATE partitions SET owner = 'nobody' WHERE partition = 0")
        .execute(&mut *still)
        .await
        .unwrap();
    // The row is held until the server ends the session that does nothing.
    let begun = std::time::Instant::now();
    loop {
        match bed.second.acquire(GROUP, TOPIC, &[wanted(0, None, 0)], "b").await {
            Ok(taken) => {
                assert_eq!(taken[0].epoch, owned.epoch + 1);
                break;
            }
            Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error:?}"),
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "it is held for ever");
    }
    assert!(sqlx::query("SELECT 1").execute(&mut *still).await.is_err(), "its session is over");
}
