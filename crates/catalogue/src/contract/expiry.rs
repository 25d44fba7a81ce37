//! How shards are seen and how they go, and the chain that remembers it.

use super::{Bed, GROUP, TOPIC, cut, everything, own, shard, step};
use crate::{Cut, HiddenShard, Move, TrailEvent, TrailFault, TrailRow, verify_trail};
use millrace_model::{Clock, Partition, ShardMeta, StreamName, TimeRange, Timestamp};
use std::time::Duration;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn shard_of(step: &Move, stream: &str, first: i64, last: i64) -> ShardMeta {
    ShardMeta { stream: stream.parse().unwrap(), first: at(first), last: at(last), ..shard(step) }
}

/// Three shards in one cut of two partitions: two of `app`, one of `web`.
async fn publish_three(bed: &Bed) -> Vec<ShardMeta> {
    let (a, b) = (own(&bed.first, 0, "a").await, own(&bed.first, 1, "a").await);
    let (a, b) = (step(&a, 10), step(&b, 20));
    let mut spanning = shard_of(&a, "app", 1_000, 2_000);
    spanning.offsets.extend(shard(&b).offsets);
    let shards = vec![spanning, shard_of(&a, "app", 2_000, 3_000), shard_of(&b, "web", 500, 1_500)];
    bed.first.publish(&Cut { moves: vec![a, b], shards: shards.clone(), ..cut(a) }).await.unwrap();
    shards
}

pub(crate) async fn a_snapshot_holds_what_was_asked_for(bed: &Bed) {
    let shards = publish_three(bed).await;
    let app: StreamName = "app".parse().unwrap();
    let seen = async |from, to, streams: Option<&[StreamName]>| {
        let range = TimeRange { from: at(from), to: at(to) };
        let snapshot = bed.second.snapshot(GROUP, range, streams).await.unwrap();
        assert_eq!(snapshot.partitions.len(), 2);
        snapshot
            .shards
            .iter()
            .map(|shard| shards.iter().position(|s| s == shard).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(seen(0, 10_000, None).await, [2, 0, 1]);
    assert_eq!(seen(0, 10_000, Some(std::slice::from_ref(&app))).await, [0, 1]);
    assert_eq!(seen(0, 10_000, Some(&[])).await, [0usize; 0]);
    assert_eq!(seen(2_000, 2_001, None).await, [0, 1], "the last instant of a shard is inside it");
    assert_eq!(seen(0, 500, None).await, [0usize; 0], "the end of a range is outside it");
    assert_eq!(seen(3_001, 9_000, None).await, [0usize; 0]);
}

pub(crate) async fn expiry_hides_at_once_and_forgetting_removes(bed: &Bed) {
    let shards = publish_three(bed).await;
    let app: StreamName = "app".parse().unwrap();
    let still_there = shards[1].id;
    let web: StreamName = "web".parse().unwrap();
    assert_eq!(bed.second.streams(GROUP).await.unwrap(), [app.clone(), web.clone()]);
    assert!(bed.second.streams("detect").await.unwrap().is_empty());
    assert!(bed.first.expire(GROUP, &app, at(2_000)).await.unwrap().is_empty());
    let expired = bed.first.expire(GROUP, &app, at(2_001)).await.unwrap();
    assert_eq!(expired, [shards[0].clone()]);
    let seen = everything(&bed.second).await.snapshot;
    assert_eq!(seen.shards, [shards[2].clone(), shards[1].clone()]);
    assert_eq!(seen.partitions[0].next_offset, Some(10), "offsets stay");
    assert!(bed.first.expire(GROUP, &app, at(2_001)).await.unwrap().is_empty(), "it expires once");
    bed.first.expire(GROUP, &web, Timestamp::MAX).await.unwrap();
    assert_eq!(bed.second.streams(GROUP).await.unwrap(), [app]);

    // Its bundle goes after a grace.
    assert!(bed.second.hidden(bed.clock.now()).await.unwrap().is_empty());
    bed.clock.advance(Duration::from_mins(1));
    let mut gone = bed.second.hidden(bed.clock.now()).await.unwrap();
    gone.sort_by_key(|hidden| hidden.shard.stream.clone());
    let expired = |shard: &ShardMeta| HiddenShard { shard: shard.clone(), replaced: false };
    assert_eq!(gone, [expired(&shards[0]), expired(&shards[2])]);
    bed.second.forget(&[shards[0].id, shards[2].id, still_there]).await.unwrap();
    assert!(bed.second.hidden(bed.clock.now()).await.unwrap().is_empty());
    let known = bed.second.known_shards(&[shards[0].id, still_there]).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [still_there], "what has not expired is not forgotten");

    for (partition, links) in [(0, 2), (1, 3)] {
        let trail = bed.second.trail(GROUP, TOPIC, Partition(partition), 0, 10).await.unwrap();
        assert_eq!(trail.len(), links, "a shard that spans partitions is in the trail of each");
        let entry: crate::TrailEntry = serde_json::from_str(&trail[1].entry).unwrap();
        let TrailEvent::Expired { shards: ids, .. } = entry.event else { panic!("{entry:?}") };
        assert_eq!(ids, [shards[0].id]);
    }
}

pub(crate) async fn the_trail_verifies_and_tells_a_changed_row(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    for to in [10, 25, 26] {
        bed.first.publish(&cut(step(&owned, to))).await.unwrap();
        owned.next_offset = Some(to);
    }
    bed.first.expire(GROUP, &StreamName::default(), Timestamp::MAX).await.unwrap();
    bed.first.publish(&cut(step(&owned, 30))).await.unwrap();

    let trail = bed.second.trail(GROUP, TOPIC, Partition(0), 0, 100).await.unwrap();
    assert_eq!(trail.len(), 5);
    let head = verify_trail(&trail).unwrap().unwrap();
    assert_eq!((head.sequence, head.next_offset), (5, Some(30)));
    assert_eq!(bed.second.trail(GROUP, TOPIC, Partition(0), 2, 2).await.unwrap(), trail[2..4]);

    let broken = |change: &dyn Fn(&mut Vec<TrailRow>)| {
        let mut rows = trail.clone();
        change(&mut rows);
        verify_trail(&rows)
    };
    let changed = |rows: &mut Vec<TrailRow>| rows[1].entry = rows[1].entry.replace("\"to\":25", "\"to\":24");
    assert_eq!(broken(&changed), Err(TrailFault::Hash { sequence: 2 }));
    let left_out = broken(&|rows| drop(rows.remove(2)));
    assert_eq!(left_out, Err(TrailFault::Sequence { expected: 3, found: 4 }));
    let renumbered = broken(&|rows| {
        rows.remove(2);
        rows[2].sequence = 3;
    });
    assert_eq!(renumbered, Err(TrailFault::Hash { sequence: 3 }));
    let swapped = broken(&|rows| rows.swap(0, 1));
    assert_eq!(swapped, Err(TrailFault::Sequence { expected: 1, found: 2 }));
    let moved = broken(&|rows| rows[0].topic = "another".to_owned());
    assert!(matches!(moved, Err(TrailFault::Misplaced { sequence: 1, .. })), "{moved:?}");
    // Whoever cuts off the end is told by the partition's own row.
    let cut_off = broken(&|rows| drop(rows.pop())).unwrap().unwrap();
    assert_ne!(cut_off.next_offset, everything(&bed.first).await.snapshot.partitions[0].next_offset);
}
