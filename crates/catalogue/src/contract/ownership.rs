//! Epochs: who may publish, and what becomes of a topic that was created again.

use super::{Bed, GROUP, TOPIC, cut, everything, own, step, wanted};
use crate::{Cut, PublishError, TrailEvent, verify_trail};
use millrace_model::{Partition, TimeRange, TopicId};

pub(crate) async fn acquiring_raises_the_epoch_and_fences_the_older_owner(bed: &Bed) {
    let older = own(&bed.first, 0, "a").await;
    assert_eq!((older.epoch, older.next_offset, older.recreated), (1, None, false));
    bed.first.publish(&cut(step(&older, 10))).await.unwrap();

    let newer = own(&bed.second, 0, "b").await;
    assert_eq!((newer.epoch, newer.next_offset), (2, Some(10)));
    let before = everything(&bed.second).await;
    assert_eq!(before.snapshot.partitions[0].owner, "b");

    let mut late = step(&older, 20);
    late.from = Some(10);
    let refused = bed.first.publish(&cut(late)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Fenced { partition: Partition(0) }), "{refused:?}");
    assert_eq!(everything(&bed.second).await, before);
    bed.second.publish(&cut(step(&newer, 20))).await.unwrap();
}

pub(crate) async fn two_owners_at_once_get_different_epochs(bed: &Bed) {
    let (a, b) = tokio::join!(own(&bed.first, 3, "a"), own(&bed.second, 3, "b"));
    let mut epochs = [a.epoch, b.epoch];
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2]);
}

pub(crate) async fn groups_do_not_meet(bed: &Bed) {
    let indexer = own(&bed.first, 0, "a").await;
    let detect = bed.first.acquire("detect", TOPIC, &[wanted(0, None, 0)], "a").await.unwrap()[0];
    let published = cut(step(&indexer, 5));
    bed.first.publish(&published).await.unwrap();
    // The same source, read by the other group, is new to it.
    let other = Cut {
        group: "detect".to_owned(),
        moves: vec![step(&detect, 3)],
        sources: published.sources.clone(),
        ..cut(step(&detect, 3))
    };
    bed.second.publish(&other).await.unwrap();
    let detect = bed.first.snapshot("detect", TimeRange::ALL, None).await.unwrap();
    assert_eq!(detect.partitions[0].next_offset, Some(3));
    assert_eq!(detect.shards, other.shards);
    let indexer = bed.first.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    assert_eq!(indexer.partitions[0].next_offset, Some(5));
    assert_eq!(indexer.shards, published.shards);
}

pub(crate) async fn a_recreated_topic_begins_anew_and_its_past_is_kept(bed: &Bed) {
    let (old, new) = (TopicId::random(), TopicId::random());
    let unknown = own(&bed.first, 0, "a").await;
    bed.first.publish(&cut(step(&unknown, 10))).await.unwrap();

    // Learning the id for the first time says nothing about a recreation, nor does not knowing it.
    let partition = Partition(0);
    let learned = bed.first.acquire(GROUP, TOPIC, &[wanted(0, Some(old), 0)], "a").await.unwrap()[0];
    assert_eq!((learned.next_offset, learned.recreated), (Some(10), false));
    let unsure = bed.first.acquire(GROUP, TOPIC, &[wanted(0, None, 0)], "a").await.unwrap()[0];
    assert_eq!((unsure.next_offset, unsure.recreated), (Some(10), false));
    let same = bed.first.acquire(GROUP, TOPIC, &[wanted(0, Some(old), 0)], "a").await.unwrap()[0];
    assert_eq!((same.next_offset, same.recreated), (Some(10), false));

    let anew = bed.second.acquire(GROUP, TOPIC, &[wanted(0, Some(new), 0)], "b").await.unwrap()[0];
    assert_eq!((anew.next_offset, anew.recreated), (None, true));
    assert_eq!(anew.epoch, same.epoch + 1);
    let refused = bed.first.publish(&cut(step(&same, 20))).await.unwrap_err();
    assert!(matches!(refused, PublishError::Fenced { .. }), "{refused:?}");

    bed.second.publish(&cut(step(&anew, 4))).await.unwrap();
    let snapshot = bed.first.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    assert_eq!(snapshot.partitions[0].topic_id, Some(new));
    assert_eq!(snapshot.partitions[0].next_offset, Some(4));
    assert_eq!(snapshot.shards.len(), 2, "the old topic's records stay searchable");
    let again = bed.first.acquire(GROUP, TOPIC, &[wanted(0, Some(new), 0)], "a").await.unwrap()[0];
    assert_eq!((again.next_offset, again.recreated), (Some(4), false));

    let trail = bed.first.trail(GROUP, TOPIC, partition, 0, 10).await.unwrap();
    assert_eq!(verify_trail(&trail).unwrap().unwrap().next_offset, Some(4));
    let entry: crate::TrailEntry = serde_json::from_str(&trail[1].entry).unwrap();
    assert_eq!(entry.event, TrailEvent::Recreated { topic_id: new, previous: old, next_offset: Some(10) });
}
