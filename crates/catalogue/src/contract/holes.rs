//! What the topic lost: noted in the transaction that moves the partition, and never forgotten.

use super::{Bed, GROUP, TOPIC, cut, own, step, wanted};
use crate::{HoleKind, OffsetHole, Ownership, StepBack, TrailEntry, TrailEvent, verify_trail};
use millrace_model::{OffsetRange, Partition, TimeRange, TopicId};
use sqlx::AssertSqlSafe;

const P: Partition = Partition(0);

async fn acquire(bed: &Bed, topic_id: Option<TopicId>, low: i64) -> Ownership {
    bed.first.acquire(GROUP, TOPIC, &[wanted(0, topic_id, low)], "a").await.unwrap()[0]
}

async fn holes(bed: &Bed) -> Vec<(HoleKind, i64, i64)> {
    let holes = bed.second.holes(GROUP).await.unwrap();
    holes.iter().map(|hole| (hole.kind, hole.from, hole.to)).collect()
}

/// Where the row and the trail say that the partition stands: the same.
async fn stands(bed: &Bed) -> Option<i64> {
    let snapshot = bed.second.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    let trail = bed.second.trail(GROUP, TOPIC, P, 0, 100).await.unwrap();
    let next = snapshot.partitions[0].next_offset;
    assert_eq!(verify_trail(&trail).unwrap().and_then(|head| head.next_offset), next);
    assert_eq!(bed.second.verify(GROUP).await.unwrap().faults, []);
    next
}

pub(crate) async fn what_was_removed_unread_is_a_hole(bed: &Bed) {
    let id = TopicId::random();
    let first = acquire(bed, Some(id), 0).await;
    bed.first.publish(&cut(step(&first, 10))).await.unwrap();
    // The topic begins before where the partition stands, and just there; then behind it, where nobody can see its id.
    for low in [7, 10] {
        assert_eq!(acquire(bed, None, low).await.removed, 0);
    }
    let late = acquire(bed, None, 25).await;
    assert_eq!((late.next_offset, late.removed, late.topic_id), (Some(25), 15, Some(id)));
    let hole = bed.second.holes(GROUP).await.unwrap().remove(0);
    let expected = OffsetHole {
        topic: TOPIC.to_owned(),
        topic_id: Some(id),
        partition: P,
        sequence: 2,
        kind: HoleKind::Removed,
        from: 10,
        to: 25,
        noted: hole.noted,
    };
    assert_eq!(hole, expected);
    assert_eq!(stands(bed).await, Some(25));
    let trail = bed.second.trail(GROUP, TOPIC, P, 1, 1).await.unwrap();
    let entry: TrailEntry = serde_json::from_str(&trail[0].entry).unwrap();
    assert_eq!(entry.event, TrailEvent::Removed { epoch: late.epoch, from: 10, to: 25 });
    // It is told once, and what comes next goes on behind it.
    assert_eq!(acquire(bed, None, 25).await.removed, 0);
    let again = acquire(bed, None, 20).await;
    bed.first.publish(&cut(step(&again, 30))).await.unwrap();
    assert_eq!(stands(bed).await, Some(30));
    assert_eq!(holes(bed).await, [(HoleKind::Removed, 10, 25)]);
}

pub(crate) async fn what_was_there_before_the_group_is_none(bed: &Bed) {
    assert_eq!((acquire(bed, None, 40).await.next_offset, holes(bed).await), (None, vec![]));
    // Nothing was published yet; what was removed since is missed all the same.
    let late = acquire(bed, None, 50).await;
    assert_eq!((late.next_offset, late.removed), (Some(50), 10));
    assert_eq!((stands(bed).await, holes(bed).await), (Some(50), vec![(HoleKind::Removed, 40, 50)]));
    // So it is of a topic that was made anew.
    for (id, low) in [(1, 50), (2, 60), (2, 65)] {
        acquire(bed, Some(TopicId(id)), low).await;
    }
    assert_eq!((stands(bed).await, holes(bed).await.len()), (Some(65), 2));
    assert_eq!(holes(bed).await[1], (HoleKind::Removed, 60, 65));
}

pub(crate) async fn a_topic_that_steps_back_begins_under_another_id(bed: &Bed) {
    let id = Some(TopicId::random());
    acquire(bed, id, 0).await;
    let owned = acquire(bed, id, 0).await;
    bed.first.publish(&cut(step(&owned, 10))).await.unwrap();
    let owned = acquire(bed, id, 0).await;
    assert_eq!((owned.step_back(0, 10), owned.step_back(0, 12)), (None, None));
    let back = owned.step_back(0, 6).unwrap();
    assert_eq!((back.from, back.end, back.to), (10, 6, 6), "it is the same topic: what is left was read");
    let other = bed.first.step_back(GROUP, TOPIC, &back).await.unwrap().unwrap();
    assert_ne!(Some(other), id);
    assert_eq!((stands(bed).await, holes(bed).await), (Some(6), vec![(HoleKind::SteppedBack, 6, 10)]));
    let row = bed.second.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().partitions.remove(0);
    assert_eq!(row.topic_id, Some(other));

    // It stays so, and is taken in again under the same offsets; the shard from before stays.
    let owned = acquire(bed, id, 0).await;
    assert_eq!((owned.topic_id, owned.next_offset, owned.recreated), (Some(other), Some(6), false));
    bed.first.publish(&cut(step(&owned, 9))).await.unwrap();
    assert_eq!(bed.second.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().shards.len(), 2);
    // What may be another topic is read from its start: its first message says nothing, or nothing was known.
    let back = acquire(bed, None, 0).await.step_back(0, 3).unwrap();
    assert_eq!((back.from, back.end, back.to), (9, 3, 0));
    // Where the first message is gone nobody can say; that all is another one is not likely then.
    let back = acquire(bed, None, 2).await.step_back(2, 3).unwrap();
    assert_eq!(back.to, 3);
    bed.first.step_back(GROUP, TOPIC, &back).await.unwrap().unwrap();
    // Made anew, it has an id of its own.
    let anew = Some(TopicId::random());
    let owned = acquire(bed, anew, 0).await;
    assert_eq!((owned.topic_id, owned.next_offset, owned.recreated), (anew, None, true));
    assert_eq!((stands(bed).await, holes(bed).await.len()), (None, 2));
}

pub(crate) async fn a_former_owner_steps_nowhere(bed: &Bed) {
    let owned = own(&bed.first, 0, "a").await;
    bed.first.publish(&cut(step(&owned, 10))).await.unwrap();
    let owned = own(&bed.first, 0, "a").await;
    let back = owned.step_back(0, 6).unwrap();
    let successor = own(&bed.second, 0, "b").await;
    assert_eq!(bed.first.step_back(GROUP, TOPIC, &back).await.unwrap(), None);
    let elsewhere = StepBack { from: 9, epoch: successor.epoch, ..back };
    assert_eq!(bed.second.step_back(GROUP, TOPIC, &elsewhere).await.unwrap(), None);
    assert_eq!((stands(bed).await, holes(bed).await), (Some(10), vec![]));
}

pub(crate) async fn what_has_been_published_is_known(bed: &Bed) {
    let id = Some(TopicId::random());
    let range =
        |topic_id, from, to| OffsetRange { topic: TOPIC.to_owned(), topic_id, partition: P, from, to };
    let owned = acquire(bed, id, 0).await;
    bed.first.publish(&cut(step(&owned, 10))).await.unwrap();
    let owned = acquire(bed, id, 20).await;
    bed.first.publish(&cut(step(&owned, 30))).await.unwrap();
    let reached = bed.second.reached(GROUP).await.unwrap();
    for (expected, from, to) in
        [(true, 0, 10), (false, 5, 15), (false, 12, 13), (false, 19, 30), (true, 20, 30), (false, 25, 31)]
    {
        assert_eq!(reached.covers(&range(id, from, to)), expected, "{from} to {to}");
        assert_eq!(reached.covers(&range(None, from, to)), expected, "{from} to {to}, of no known topic");
    }
    assert!(!reached.covers(&range(Some(TopicId(1)), 0, 10)), "another topic's");
    assert!(!reached.covers(&OffsetRange { partition: Partition(1), ..range(id, 0, 10) }));
    // Of a topic that stepped back, and one that was made anew, it is what was published then.
    let owned = acquire(bed, id, 0).await;
    let other = bed.first.step_back(GROUP, TOPIC, &owned.step_back(0, 25).unwrap()).await.unwrap();
    acquire(bed, Some(TopicId(9)), 0).await;
    let reached = bed.second.reached(GROUP).await.unwrap();
    assert!(reached.covers(&range(id, 20, 30)) && !reached.covers(&range(id, 20, 31)));
    assert!(reached.covers(&range(other, 20, 25)) && !reached.covers(&range(other, 20, 26)));
}

pub(crate) async fn a_changed_hole_is_named(bed: &Bed) {
    let owned = acquire(bed, None, 0).await;
    bed.first.publish(&cut(step(&owned, 10))).await.unwrap();
    acquire(bed, None, 20).await;
    stands(bed).await;
    for statement in ["UPDATE holes SET to_offset = 19", "DELETE FROM holes"] {
        sqlx::query(AssertSqlSafe(statement)).execute(&bed.first.writer).await.unwrap();
        let faults = bed.second.verify(GROUP).await.unwrap().faults;
        assert!(faults.len() == 1 && format!("{faults:?}").contains("tells of 1 holes"), "{faults:?}");
    }
}
