//! Cuts: whole or not at all.

use super::{Bed, GROUP, TOPIC, alert, cut, everything, notification, own, shard, source, step};
use crate::{
    AlertState, Catalogue, Cut, DocumentWrite, Error, Move, Ownership, PUBLISH_WITHIN, PublishError,
};
use millrace_model::{Clock, Partition, TimeRange};
use std::time::Duration;

/// A cut that touches every table.
fn full(bed: &Bed, at: Move) -> Cut {
    let document = DocumentWrite {
        kind: "rule".to_owned(),
        key: "window".to_owned(),
        expected_version: None,
        body: "{}".to_owned(),
    };
    Cut {
        alerts: vec![alert("brute", AlertState::Firing)],
        notifications: vec![notification("brute/ops/firing", "brute", bed.clock.now())],
        documents: vec![document],
        ..cut(at)
    }
}

pub(crate) async fn a_cut_moves_everything_at_once(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    let published = full(bed, step(&owned, 10));
    bed.first.publish(&published).await.unwrap();
    let seen = everything(&bed.second).await;
    assert_eq!(seen.snapshot.partitions[0].next_offset, Some(10));
    assert_eq!(seen.snapshot.shards, published.shards);
    assert_eq!(seen.sources[0].state, published.sources[0].state);
    assert_eq!(seen.sources[0].version, 1);
    assert_eq!(seen.alerts, published.alerts);
    assert_eq!(seen.due[0].notification, published.notifications[0]);
    assert_eq!(seen.documents[0].version, 1);
    assert_eq!(seen.trail.len(), 1);
}

pub(crate) async fn a_zombie_changes_nothing(bed: &Bed) {
    let (a, b) = (own(&bed.first, 0, "a").await, own(&bed.first, 1, "a").await);
    let first = Cut { moves: vec![step(&a, 10), step(&b, 10)], ..cut(step(&a, 10)) };
    bed.first.publish(&first).await.unwrap();
    let before = everything(&bed.second).await;

    let right = Move { partition: Partition(0), epoch: a.epoch, from: Some(10), to: 20 };
    let other = Move { partition: Partition(1), ..right };
    let wrong = [
        Move { epoch: b.epoch + 1, ..other },
        Move { epoch: 0, ..other },
        Move { from: Some(9), ..other },
        Move { from: None, ..other },
        Move { partition: Partition(7), ..other },
    ];
    for zombie in wrong {
        let attempt = Cut { moves: vec![right, zombie], ..full(bed, right) };
        let refused = bed.first.publish(&attempt).await.unwrap_err();
        assert!(
            matches!(refused, PublishError::Fenced { partition } if partition == zombie.partition),
            "{refused:?}"
        );
        assert_eq!(everything(&bed.second).await, before, "{zombie:?}");
    }
    bed.first.publish(&Cut { moves: vec![right, other], ..full(bed, right) }).await.unwrap();
}

pub(crate) async fn a_conflict_changes_nothing(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    let first = cut(step(&owned, 10));
    bed.first.publish(&first).await.unwrap();
    let before = everything(&bed.second).await;

    let known = first.sources[0].id;
    let at = Move { from: Some(10), ..step(&owned, 20) };
    for (id, expected_version) in
        [(known, None), (known, Some(2)), (known, Some(0)), (millrace_model::SourceId::random(), Some(1))]
    {
        let mut attempt = full(bed, at);
        attempt.sources.push(source(owned.partition, expected_version, 200));
        attempt.sources[1].id = id;
        let refused = bed.first.publish(&attempt).await.unwrap_err();
        assert!(matches!(refused, PublishError::Conflict { source_id } if source_id == id), "{refused:?}");
        assert_eq!(everything(&bed.second).await, before);
    }
    let mut attempt = full(bed, at);
    attempt.sources[0] = source(owned.partition, Some(1), 200);
    attempt.sources[0].id = known;
    bed.first.publish(&attempt).await.unwrap();
    let stored = bed.second.sources(GROUP, &[known]).await.unwrap();
    assert_eq!((stored[0].version, &stored[0].state), (2, &attempt.sources[0].state));
}

pub(crate) async fn a_stale_document_changes_nothing(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    bed.second.put_document("rule", "window", None, "theirs").await.unwrap();
    let before = everything(&bed.second).await;
    let refused = bed.first.publish(&full(bed, step(&owned, 10))).await.unwrap_err();
    assert!(
        matches!(refused, PublishError::Failed(Error::Conflict { expected: None, found: Some(1), .. })),
        "{refused:?}"
    );
    assert_eq!(everything(&bed.second).await, before);
}

pub(crate) async fn a_shard_is_published_once(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    let first = cut(step(&owned, 10));
    bed.first.publish(&first).await.unwrap();
    let before = everything(&bed.second).await;
    // The same cut again, as after a lost answer: told apart from a zombie's, whose bundles may go.
    let refused = bed.first.publish(&first).await.unwrap_err();
    assert!(
        matches!(refused, PublishError::Duplicate { shard } if shard == first.shards[0].id),
        "{refused:?}"
    );
    assert_eq!(everything(&bed.second).await, before);

    let unknown = millrace_model::ShardId::random();
    let known = bed.second.known_shards(&[first.shards[0].id, unknown]).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [first.shards[0].id]);
}

pub(crate) async fn a_contradiction_is_refused(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    let at = step(&owned, 10);
    bed.first.publish(&cut(at)).await.unwrap();
    let before = everything(&bed.second).await;
    let next = Move { from: Some(10), to: 20, ..at };
    let bad = [
        Cut { moves: vec![Move { to: 9, ..next }], shards: vec![], ..cut(next) },
        Cut { moves: vec![next, next], ..cut(next) },
        Cut { moves: vec![], ..cut(next) },
        Cut { shards: vec![shard(&Move { to: 21, ..next })], ..cut(next) },
        Cut { shards: vec![shard(&Move { from: Some(9), ..next })], ..cut(next) },
        Cut { shards: vec![shard(&Move { partition: Partition(1), ..next })], ..cut(next) },
        Cut { topic: "another".to_owned(), ..cut(next) },
        Cut { notifications: vec![notification("x", "no such alert", bed.clock.now())], ..cut(next) },
    ];
    for attempt in bad {
        let refused = bed.first.publish(&attempt).await.unwrap_err();
        assert!(matches!(refused, PublishError::Failed(_)), "{refused:?}");
        assert_eq!(everything(&bed.second).await, before, "{attempt:?}");
    }
}

pub(crate) async fn a_move_onto_the_spot_only_proves_ownership(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    bed.first.publish(&cut(step(&owned, 10))).await.unwrap();
    let still = Move { from: Some(10), ..step(&owned, 10) };
    let resolved = Cut { alerts: vec![alert("brute", AlertState::Resolved)], ..Cut::default() };
    let resolved = Cut { group: GROUP.to_owned(), topic: TOPIC.to_owned(), moves: vec![still], ..resolved };
    bed.first.publish(&resolved).await.unwrap();
    assert_eq!(bed.first.trail(GROUP, TOPIC, Partition(0), 0, 10).await.unwrap().len(), 1);
    own(&bed.second, 0, "b").await;
    let refused = bed.first.publish(&resolved).await.unwrap_err();
    assert!(matches!(refused, PublishError::Fenced { .. }), "{refused:?}");
}

pub(crate) async fn publishers_of_different_partitions_both_succeed(bed: &Bed) {
    async fn publish_many(catalogue: &Catalogue, mut owned: Ownership) {
        for to in 1..=50 {
            catalogue.publish(&cut(step(&owned, to))).await.unwrap();
            owned.next_offset = Some(to);
        }
    }
    let (a, b) = (own(&bed.first, 0, "a").await, own(&bed.second, 1, "b").await);
    tokio::join!(publish_many(&bed.first, a), publish_many(&bed.second, b));
    let snapshot = bed.first.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    assert_eq!(snapshot.shards.len(), 100);
    assert_eq!(
        snapshot.partitions.iter().map(|row| row.next_offset).collect::<Vec<_>>(),
        [Some(50), Some(50)]
    );
}

pub(crate) async fn what_was_sealed_long_ago_is_refused(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    let published = cut(step(&owned, 10));
    bed.clock.set(published.shards[0].created.plus(PUBLISH_WITHIN + Duration::from_nanos(1)));
    let before = everything(&bed.second).await;
    let refused = bed.first.publish(&published).await.unwrap_err();
    assert!(matches!(refused, PublishError::Failed(Error::Stale { .. })), "{refused:?}");
    assert_eq!(everything(&bed.second).await, before);
    bed.clock.set(published.shards[0].created.plus(PUBLISH_WITHIN));
    bed.first.publish(&published).await.unwrap();
}
