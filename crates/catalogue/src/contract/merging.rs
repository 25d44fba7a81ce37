//! Shards that take the place of others: whole or not at all, and only of shards that are live.

use super::{Bed, Everything, GROUP, TOPIC, cut, everything, own, shard, step};
use crate::{
    Alias, Catalogue, Cut, HiddenShard, Ownership, ReplaceError, Replacement, TrailCheck, TrailEntry,
    TrailEvent, TrailFault, TrailRow, TrailShard, trail::link_hash, verify_trail,
};
use millrace_model::{Clock, OffsetRange, Partition, ShardId, ShardMeta, StreamName, TimeRange, Timestamp};
use std::time::Duration;

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// What a merge of `shards` comes to.
pub(crate) fn merged(shards: &[ShardMeta]) -> ShardMeta {
    let id = ShardId::random();
    ShardMeta {
        id,
        first: shards.iter().map(|shard| shard.first).min().unwrap(),
        last: shards.iter().map(|shard| shard.last).max().unwrap(),
        records: shards.iter().map(|shard| shard.records).sum(),
        key: format!("logs/{id}.shard"),
        offsets: OffsetRange::union(shards.iter().flat_map(|shard| &shard.offsets)),
        rewrites: shards.iter().map(|shard| shard.rewrites).max().unwrap() + 1,
        ..shards[0].clone()
    }
}

pub(crate) fn replacement(shards: &[ShardMeta]) -> Replacement {
    Replacement {
        group: GROUP.to_owned(),
        removed: shards.iter().map(|shard| shard.id).collect(),
        added: vec![merged(shards)],
        ..Replacement::default()
    }
}

/// Publishes a shard for each of `ends`; each begins where the one before ended.
pub(crate) async fn publish(catalogue: &Catalogue, owned: &mut Ownership, ends: &[i64]) -> Vec<ShardMeta> {
    let mut shards = Vec::new();
    for &to in ends {
        let mut one = cut(step(owned, to));
        one.shards[0].first = at(to * 100);
        one.shards[0].last = at(to * 100 + 99);
        catalogue.publish(&one).await.unwrap();
        owned.next_offset = Some(to);
        shards.append(&mut one.shards);
    }
    shards
}

pub(crate) async fn publish_three(bed: &Bed) -> Vec<ShardMeta> {
    publish(&bed.first, &mut own(&bed.first, 0, "a").await, &[10, 20, 35]).await
}

pub(crate) async fn refused(bed: &Bed, attempt: &Replacement, before: &Everything) -> ReplaceError {
    let error = bed.first.replace(attempt).await.unwrap_err();
    assert_eq!(&everything(&bed.second).await, before, "{error:?}");
    error
}

pub(crate) async fn a_merge_takes_effect_at_once(bed: &Bed) {
    let shards = publish_three(bed).await;
    let before = everything(&bed.second).await;
    let alias = Alias { id: "00000000000000aa".to_owned(), mask: b"user \0 left".to_vec() };
    let merge = Replacement { aliases: vec![alias.clone()], ..replacement(&shards[..2]) };
    bed.first.replace(&merge).await.unwrap();
    let after = everything(&bed.second).await;
    assert_eq!(after.snapshot.shards, [merge.added[0].clone(), shards[2].clone()]);
    assert_eq!((merge.added[0].rewrites, merge.added[0].bucket), (1, Some(at(0))));
    assert_eq!(after.snapshot.partitions, before.snapshot.partitions, "offsets and owners stay");
    assert_eq!(after.sources, before.sources, "the ledger stays");
    assert_eq!(after.aliases, [alias]);
    let hidden = shards[..2].iter().map(|shard| HiddenShard { shard: shard.clone(), replaced: true });
    let mut seen = after.hidden;
    seen.sort_by_key(|hidden| hidden.shard.last);
    assert_eq!(seen, hidden.collect::<Vec<_>>());

    // In time, a search finds the merged shard where it found one of the others.
    let range = TimeRange { from: at(1_050), to: at(1_060) };
    assert_eq!(bed.second.snapshot(GROUP, range, None).await.unwrap().shards, merge.added);

    assert_eq!(after.trail.len(), 4);
    assert_eq!(after.trail[..3], before.trail);
    assert_eq!(verify_trail(&after.trail).unwrap().unwrap().next_offset, Some(35));
    let entry: TrailEntry = serde_json::from_str(&after.trail[3].entry).unwrap();
    let event = TrailEvent::Merged {
        stream: StreamName::default(),
        removed: merge.removed.clone(),
        added: vec![TrailShard::from(&merge.added[0])],
        deleted: 0,
    };
    assert_eq!(entry.event, event);
    assert!(after.trail[3].entry.contains(r#""kind":"merged""#));
    let mut check = TrailCheck::default();
    for row in &after.trail {
        check.accept(row).unwrap();
    }
    let trail_shards = after.snapshot.shards.iter().map(|shard| (shard.id, TrailShard::from(shard)));
    assert_eq!(check.live(), &trail_shards.collect());

    // Their files stay for a grace, then they are forgotten.
    assert!(bed.second.hidden(bed.clock.now()).await.unwrap().is_empty());
    bed.clock.advance(Duration::from_mins(1));
    assert_eq!(bed.second.hidden(bed.clock.now()).await.unwrap().len(), 2);
    bed.second.forget(&[shards[0].id, shards[1].id, merge.added[0].id]).await.unwrap();
    let all = [shards[0].id, shards[1].id, merge.added[0].id];
    let known = bed.second.known_shards(&all).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [merge.added[0].id]);
}

pub(crate) async fn of_two_merges_of_the_same_shards_one_happens(bed: &Bed) {
    let shards = publish_three(bed).await;
    // One shard in common is enough.
    let (a, b) = (replacement(&shards[..2]), replacement(&shards[1..]));
    let (first, second) = tokio::join!(bed.first.replace(&a), bed.second.replace(&b));
    let (winner, left, loser) = match (first, second) {
        (Ok(()), Err(error)) => (a, &shards[2], error),
        (Err(error), Ok(())) => (b, &shards[0], error),
        both => panic!("{both:?}"),
    };
    assert!(matches!(loser, ReplaceError::Gone { shard } if shard == shards[1].id), "{loser:?}");
    let mut live = everything(&bed.first).await.snapshot.shards;
    live.retain(|shard| shard.id != left.id);
    assert_eq!(live, winner.added);
    let trail = bed.first.trail(GROUP, TOPIC, Partition(0), 0, 10).await.unwrap();
    assert_eq!((trail.len(), verify_trail(&trail).is_ok()), (4, true));
}

pub(crate) async fn a_zombies_merge_is_as_good_as_its_shards(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let shards = publish(&bed.first, &mut owned, &[10, 20, 30]).await;
    let (pair, all) = (replacement(&shards[..2]), replacement(&shards));
    // The merger loses its partition and sleeps; the shards are live when it wakes, and what they hold has not changed.
    let mut newer = own(&bed.second, 0, "b").await;
    publish(&bed.second, &mut newer, &[40]).await;
    bed.first.replace(&pair).await.unwrap();

    // Another that slept all the while until its shards were replaced, and replaced again, their files deleted, their rows
    // forgotten.
    let next = replacement(&[pair.added[0].clone(), shards[2].clone()]);
    bed.second.replace(&next).await.unwrap();
    for forgotten in [false, true] {
        let before = everything(&bed.second).await;
        let error = refused(bed, &all, &before).await;
        assert!(matches!(error, ReplaceError::Gone { .. }), "{error:?}");
        if !forgotten {
            let ids: Vec<ShardId> = before.hidden.iter().map(|hidden| hidden.shard.id).collect();
            assert_eq!(ids.len(), 4);
            bed.second.forget(&ids).await.unwrap();
        }
    }
    let live: u64 = everything(&bed.second).await.snapshot.shards.iter().map(|shard| shard.records).sum();
    assert_eq!(live, 40);
}

pub(crate) async fn a_merge_and_an_expiry_in_either_order(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let shards = publish(&bed.first, &mut owned, &[10, 20, 30, 40]).await;
    let stream = StreamName::default();
    let after = |shard: &ShardMeta| shard.last.plus(Duration::from_nanos(1));

    // Expiry first: nothing of the merge happens, what has expired stays expired.
    let merge = replacement(&shards[..2]);
    assert_eq!(bed.second.expire(GROUP, &stream, after(&shards[0])).await.unwrap(), shards[..1]);
    let before = everything(&bed.second).await;
    assert!(matches!(refused(bed, &merge, &before).await, ReplaceError::Gone { .. }));

    // The merge first: the replaced do not expire, the merged shard does when its latest record is old enough.
    let merge = replacement(&shards[1..3]);
    bed.first.replace(&merge).await.unwrap();
    assert_eq!(bed.second.expire(GROUP, &stream, after(&shards[1])).await.unwrap(), []);
    assert_eq!(bed.second.expire(GROUP, &stream, after(&shards[2])).await.unwrap(), merge.added);
    let hidden = everything(&bed.second).await.hidden;
    let replaced = |id| hidden.iter().find(|hidden| hidden.shard.id == id).unwrap().replaced;
    assert_eq!([shards[0].id, merge.added[0].id].map(replaced), [false, false]);
    assert_eq!([shards[1].id, shards[2].id].map(replaced), [true, true]);
    let trail = bed.first.trail(GROUP, TOPIC, Partition(0), 0, 100).await.unwrap();
    verify_trail(&trail).unwrap();
    let expired: Vec<ShardId> = trail
        .iter()
        .filter_map(|row| match serde_json::from_str::<TrailEntry>(&row.entry).unwrap().event {
            TrailEvent::Expired { shards, .. } => Some(shards),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(expired, [shards[0].id, merge.added[0].id], "the replaced have not expired");
    assert_eq!(bed.second.streams(GROUP).await.unwrap(), [stream]);

    // Both at once, again and again: the records of a pair expire whole, or their merge does, or stays whole.
    let mut end = 40;
    for _ in 0..20 {
        let pair = publish(&bed.first, &mut owned, &[end + 10, end + 20]).await;
        let merge = replacement(&pair);
        let stream = StreamName::default();
        let (merged, expired) =
            tokio::join!(bed.first.replace(&merge), bed.second.expire(GROUP, &stream, after(&pair[1])));
        let expired: Vec<ShardId> = expired.unwrap().iter().map(|shard| shard.id).collect();
        match merged {
            Ok(()) => assert!(expired.contains(&merge.added[0].id) && !expired.contains(&pair[0].id)),
            Err(error) => {
                assert!(matches!(error, ReplaceError::Gone { .. }), "{error:?}");
                assert!(expired.contains(&pair[0].id) && expired.contains(&pair[1].id));
            }
        }
        end += 20;
    }
    verify_trail(&bed.first.trail(GROUP, TOPIC, Partition(0), 0, 1_000).await.unwrap()).unwrap();
}

pub(crate) async fn a_merge_of_several_partitions_is_in_the_trail_of_each(bed: &Bed) {
    let (a, b) = (own(&bed.first, 0, "a").await, own(&bed.first, 1, "a").await);
    let idle = own(&bed.first, 2, "a").await;
    let (left, right) = (step(&a, 10), step(&b, 20));
    let still = step(&idle, 0);
    // The first holds rows of one partition, and names another that it has nothing of; the second spans two.
    let mut one = shard(&left);
    one.offsets.extend(shard(&still).offsets);
    let mut two = shard(&left);
    two.offsets.extend(shard(&right).offsets);
    let shards = vec![one, two];
    bed.first
        .publish(&Cut { moves: vec![left, right, still], shards: shards.clone(), ..cut(left) })
        .await
        .unwrap();
    let merge = replacement(&shards);
    assert_eq!(merge.added[0].offsets.len(), 2, "what is empty is no range");
    bed.first.replace(&merge).await.unwrap();
    for (partition, removed) in
        [(0, Some(vec![shards[0].id, shards[1].id])), (1, Some(vec![shards[1].id])), (2, None)]
    {
        let trail = bed.second.trail(GROUP, TOPIC, Partition(partition), 0, 10).await.unwrap();
        let mut check = TrailCheck::default();
        let events: Vec<TrailEvent> = trail.iter().map(|row| check.accept(row).unwrap().event).collect();
        let Some(mut expected) = removed else {
            assert_eq!(events.len(), 1);
            assert!(check.live().is_empty());
            continue;
        };
        let TrailEvent::Merged { removed, added, .. } = &events[1] else { panic!("{events:?}") };
        expected.sort_by_key(|id| removed.iter().position(|removed| removed == id));
        assert_eq!(removed, &expected);
        assert_eq!(added, &[TrailShard::from(&merge.added[0])]);
        assert_eq!(check.live().keys().collect::<Vec<_>>(), [&merge.added[0].id]);
    }
}

pub(crate) async fn the_trail_tells_a_merge_that_cannot_be(bed: &Bed) {
    let shards = publish_three(bed).await;
    bed.first.replace(&replacement(&shards[..2])).await.unwrap();
    bed.first.expire(GROUP, &StreamName::default(), Timestamp::MAX).await.unwrap();
    let trail = bed.first.trail(GROUP, TOPIC, Partition(0), 0, 10).await.unwrap();
    verify_trail(&trail).unwrap();
    // Whoever writes the chain anew has its hashes right; what it says must still make sense.
    let forged = |change: &dyn Fn(&mut Vec<TrailEvent>)| {
        let entry = |row: &TrailRow| serde_json::from_str::<TrailEntry>(&row.entry).unwrap();
        let mut events: Vec<TrailEvent> = trail.iter().map(|row| entry(row).event).collect();
        change(&mut events);
        let mut hash = "0".repeat(64);
        let rows = events.into_iter().enumerate().map(|(nth, event)| {
            let entry = TrailEntry { event, sequence: nth as u64 + 1, ..entry(&trail[0]) };
            let entry = serde_json::to_string(&entry).unwrap();
            hash = link_hash(&hash, &entry);
            TrailRow { sequence: nth as u64 + 1, entry, hash: hash.clone(), ..trail[0].clone() }
        });
        verify_trail(&rows.collect::<Vec<_>>())
    };
    assert_eq!(forged(&|_| {}).unwrap().unwrap().sequence, 5);
    let early = forged(&|events| events.swap(1, 3));
    assert!(matches!(early, Err(TrailFault::NotLive { sequence: 2, .. })), "{early:?}");
    let again = forged(&|events| events.insert(4, events[3].clone()));
    assert_eq!(again, Err(TrailFault::NotLive { sequence: 5, shard: shards[0].id }));
    let kept = forged(&|events| {
        let TrailEvent::Merged { removed, added, .. } = &mut events[3] else { panic!("{events:?}") };
        added[0].id = shards[2].id;
        removed.pop();
    });
    assert_eq!(kept, Err(TrailFault::AlreadyLive { sequence: 4, shard: shards[2].id }));
    let unmerged = forged(&|events| drop(events.remove(3)));
    assert!(matches!(unmerged, Err(TrailFault::NotLive { sequence: 4, .. })), "{unmerged:?}");
}

pub(crate) async fn a_snapshot_has_the_shards_from_before_or_from_after(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let ends: Vec<i64> = (1..=60).map(|n| n * 10).collect();
    let mut shards = publish(&bed.first, &mut owned, &ends).await;
    let (see, mut seen) = tokio::sync::watch::channel(0);
    let merging = async {
        while shards.len() > 1 {
            // At first, and halfway, until somebody has looked again.
            if shards.len() == 60 || shards.len() == 30 {
                seen.mark_unchanged();
                seen.changed().await.unwrap();
            }
            let pair: Vec<ShardMeta> = shards.drain(..2).collect();
            let merge = replacement(&pair);
            bed.first.replace(&merge).await.unwrap();
            shards.push(merge.added[0].clone());
            if shards.len() % 2 == 0 {
                // Pairs of neighbours, not of the ends.
                shards.sort_by_key(|shard| shard.first);
            }
        }
    };
    let reading = async {
        loop {
            let snapshot = bed.second.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
            let mut ranges: Vec<_> = snapshot.shards.iter().flat_map(|shard| &shard.offsets).collect();
            ranges.sort();
            let covered: i64 = ranges.iter().map(|range| range.to - range.from).sum();
            assert!(ranges.windows(2).all(|pair| pair[0].to <= pair[1].from), "a record is there twice");
            assert_eq!(covered, 600, "records are missing");
            assert_eq!(snapshot.shards.iter().map(|shard| shard.records).sum::<u64>(), 600);
            see.send_modify(|seen| *seen += 1);
            if snapshot.shards.len() == 1 {
                break;
            }
        }
    };
    tokio::join!(merging, reading);
}

pub(crate) async fn what_can_be_merged_is_live_in_one_bucket_and_rewritten_seldom(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let shards = publish(&bed.first, &mut owned, &[10, 20, 30, 40, 50]).await;
    let mut late = cut(step(&owned, 60));
    late.shards[0].bucket = None;
    bed.first.publish(&late).await.unwrap();
    let expired = shards[0].last.plus(Duration::from_nanos(1));
    bed.first.expire(GROUP, &StreamName::default(), expired).await.unwrap();
    let once = replacement(&shards[1..3]);
    bed.first.replace(&once).await.unwrap();
    let twice = replacement(&[once.added[0].clone(), shards[3].clone()]);
    bed.first.replace(&twice).await.unwrap();
    assert_eq!(twice.added[0].rewrites, 2);
    let ids = async |rewrites| {
        let mut found = bed.second.mergeable(GROUP, rewrites).await.unwrap();
        found.sort_by_key(|shard| shard.first);
        found.into_iter().map(|shard| shard.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(2).await, [shards[4].id]);
    assert_eq!(ids(3).await, [twice.added[0].id, shards[4].id]);
    assert!(ids(0).await.is_empty());
    assert!(bed.second.mergeable("detect", 2).await.unwrap().is_empty());
}
