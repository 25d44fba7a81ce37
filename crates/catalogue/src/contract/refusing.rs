//! Replacements that are refused, and that then leave everything as it was.

use super::{
    Bed, GROUP, TOPIC, cut, everything,
    merging::{at, publish, publish_three, refused, replacement},
    own, shard, step, wanted,
};
use crate::{Alias, Cut, ReplaceError, Replacement, TrailEntry, TrailEvent, verify_trail};
use millrace_model::{Partition, ShardId, ShardMeta, StreamName};
use std::time::Duration;

pub(crate) async fn a_merge_of_a_shard_that_is_not_live_changes_nothing(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let shards = publish(&bed.first, &mut owned, &[10, 20, 30, 40, 50]).await;
    bed.first
        .expire(GROUP, &StreamName::default(), shards[0].last.plus(Duration::from_nanos(1)))
        .await
        .unwrap();
    bed.first.replace(&replacement(&shards[1..3])).await.unwrap();
    let other = bed.first.acquire("detect", TOPIC, &[wanted(0, None, 0)], "a").await.unwrap()[0];
    let other = Cut { group: "detect".to_owned(), ..cut(step(&other, 5)) };
    bed.first.publish(&other).await.unwrap();
    let unknown = ShardMeta { id: ShardId::random(), ..shards[4].clone() };
    let before = everything(&bed.second).await;
    for gone in [&shards[0], &shards[1], &other.shards[0], &unknown] {
        for attempt in [vec![gone.clone()], vec![shards[3].clone(), gone.clone(), shards[4].clone()]] {
            let error = refused(bed, &replacement(&attempt), &before).await;
            assert!(matches!(error, ReplaceError::Gone { shard } if shard == gone.id), "{error:?}");
        }
    }
    // More than one statement's worth.
    let mut many = replacement(&shards[3..]);
    many.removed.extend((0..1_200).map(|_| ShardId::random()));
    let error = refused(bed, &many, &before).await;
    assert!(matches!(error, ReplaceError::Gone { shard } if shard == many.removed[2]), "{error:?}");
    bed.first.replace(&replacement(&shards[3..])).await.unwrap();
}

pub(crate) async fn no_record_is_lost_or_added(bed: &Bed) {
    let shards = publish_three(bed).await;
    let before = everything(&bed.second).await;
    let right = replacement(&shards[..2]);
    let with = |records, deleted| {
        let deleted = vec![(1, deleted)];
        let added = vec![ShardMeta { records, ..right.added[0].clone() }];
        Replacement { added, deleted, ..right.clone() }
    };
    let nothing = Replacement { added: vec![], ..right.clone() };
    for attempt in [with(19, 0), with(21, 0), with(20, 1), with(18, 1), with(u64::MAX, 21), nothing] {
        let error = refused(bed, &attempt, &before).await;
        assert!(matches!(error, ReplaceError::Records { removed: 20, .. }), "{error:?}");
    }
    // Records that are left out on purpose are said, and are in the trail.
    bed.first.replace(&with(17, 3)).await.unwrap();
    let trail = bed.first.trail(GROUP, TOPIC, Partition(0), 3, 1).await.unwrap();
    let entry: TrailEntry = serde_json::from_str(&trail[0].entry).unwrap();
    assert!(matches!(entry.event, TrailEvent::Merged { deleted: 3, .. }), "{entry:?}");
    // All of them, even: then nothing takes the place of the shards.
    let last = Replacement { added: vec![], deleted: vec![(1, 10), (2, 5)], ..replacement(&shards[2..]) };
    bed.first.replace(&last).await.unwrap();
    assert_eq!(everything(&bed.second).await.snapshot.shards.len(), 1);
    verify_trail(&bed.first.trail(GROUP, TOPIC, Partition(0), 0, 10).await.unwrap()).unwrap();
}

pub(crate) async fn a_replacement_that_contradicts_itself_is_refused(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let mut shards = publish(&bed.first, &mut owned, &[10, 20, 30]).await;
    let mut elsewhere = cut(step(&owned, 40));
    elsewhere.shards[0].stream = "app".parse().unwrap();
    let mut another = shard(&step(&owned, 40));
    another.bucket = Some(at(3_600_000));
    let mut unknown = shard(&step(&owned, 40));
    unknown.bucket = None;
    elsewhere.shards.extend([another, unknown]);
    bed.first.publish(&elsewhere).await.unwrap();
    shards.append(&mut elsewhere.shards);
    let before = everything(&bed.second).await;

    for attempt in [replacement(&[shards[0].clone(), shards[3].clone()]), {
        let mut moved = replacement(&shards[..2]);
        moved.added[0].stream = "app".parse().unwrap();
        moved
    }] {
        let error = refused(bed, &attempt, &before).await;
        assert!(matches!(error, ReplaceError::Stream { .. }), "{error:?}");
    }
    let right = replacement(&shards[..2]);
    let with = |change: &dyn Fn(&mut ShardMeta)| {
        let mut attempt = right.clone();
        change(&mut attempt.added[0]);
        attempt
    };
    let removed = |removed: &[&ShardMeta]| Replacement {
        removed: removed.iter().map(|shard| shard.id).collect(),
        ..right.clone()
    };
    let mut twice = right.clone();
    twice.added = vec![ShardMeta { records: 10, ..right.added[0].clone() }; 2];
    let bad = [
        removed(&[]),
        removed(&[&shards[0], &shards[1], &shards[0]]),
        twice,
        with(&|shard| shard.offsets[0].to += 1),
        with(&|shard| shard.offsets[0].from += 1),
        with(&|shard| shard.offsets[0].partition = Partition(1)),
        with(&|shard| shard.offsets[0].topic = "another".to_owned()),
        with(&|shard| shard.offsets.clear()),
        with(&|shard| shard.first = at(999)),
        with(&|shard| shard.first = at(1_001)),
        with(&|shard| shard.last = at(2_098)),
        with(&|shard| shard.last = at(2_100)),
        with(&|shard| shard.bucket = Some(at(3_600_000))),
        with(&|shard| shard.rewrites = 0),
        replacement(&[shards[0].clone(), shards[4].clone()]),
        replacement(&[shards[0].clone(), shards[5].clone()]),
        Replacement { aliases: vec![Alias { id: "x".to_owned(), mask: vec![] }], ..right.clone() },
    ];
    for attempt in bad {
        let error = refused(bed, &attempt, &before).await;
        assert!(matches!(error, ReplaceError::Contradiction { .. }), "{error:?}: {attempt:?}");
    }
    // Offsets may be said in more ranges than it takes.
    let mut long = right.clone();
    long.added[0].offsets = shards[..2].iter().flat_map(|shard| shard.offsets.clone()).collect();
    bed.first.replace(&long).await.unwrap();
}

pub(crate) async fn a_lost_answer_is_no_refusal(bed: &Bed) {
    let shards = publish_three(bed).await;
    let merge = replacement(&shards[..2]);
    bed.first.replace(&merge).await.unwrap();
    // Nobody may take this for a refusal: the bundle is in use. The same when what was added has ended since: its rows
    // and its bundle are another's to remove.
    let next = replacement(&[merge.added[0].clone(), shards[2].clone()]);
    for ended in [false, true] {
        let before = everything(&bed.second).await;
        let error = refused(bed, &merge, &before).await;
        assert!(
            matches!(error, ReplaceError::Duplicate { shard } if shard == merge.added[0].id),
            "{error:?}"
        );
        if !ended {
            bed.second.replace(&next).await.unwrap();
        }
    }
}
