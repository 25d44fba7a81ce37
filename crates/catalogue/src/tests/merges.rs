//! `SQLite`: merges that are killed, dropped half way or run out of disk; a catalogue from before there were any.

use super::{VICTIM, lay, open, raw, said_until_killed, url};
use crate::{
    Catalogue, Cut, ReplaceError, Snapshot, TrailCheck,
    contract::{
        GROUP, TOPIC, clock, cut, everything,
        merging::{publish, replacement},
        own, step,
    },
};
use millrace_model::{Partition, ShardId, StreamName, TimeRange, Timestamp};
use sqlx::Executor;
use std::{collections::BTreeSet, io::Write, path::Path};

/// Checks that live shards hold each offset once, up to where the partition stands.
async fn check_snapshot(catalogue: &Catalogue) -> Snapshot {
    let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    let next = snapshot.partitions[0].next_offset.unwrap();
    let mut ranges: Vec<_> = snapshot.shards.iter().flat_map(|shard| &shard.offsets).collect();
    ranges.sort();
    assert!(ranges.windows(2).all(|pair| pair[0].to == pair[1].from), "{ranges:?}");
    assert_eq!((ranges[0].from, ranges[ranges.len() - 1].to), (0, next));
    assert_eq!(snapshot.shards.iter().map(|shard| shard.records).sum::<u64>(), next as u64);
    snapshot
}

/// Checks besides that the trail names just these shards, where nobody writes meanwhile; returns where the partition stands.
async fn check_whole(catalogue: &Catalogue) -> i64 {
    let snapshot = check_snapshot(catalogue).await;
    let next = snapshot.partitions[0].next_offset.unwrap();
    let mut check = TrailCheck::default();
    for row in catalogue.trail(GROUP, TOPIC, Partition(0), 0, u32::MAX).await.unwrap() {
        check.accept(&row).unwrap();
    }
    let live: BTreeSet<_> = snapshot.shards.iter().map(|shard| shard.id).collect();
    assert!(check.live().keys().eq(&live));
    assert_eq!(check.head().unwrap().next_offset, Some(next));
    next
}

/// Publishes and merges as fast as it can, saying each merged shard once it is true, until it is killed.
async fn merge_for_ever(path: &Path) {
    let catalogue = open(path).await.unwrap();
    let mut owned = own(&catalogue, 0, "victim").await;
    loop {
        let from = owned.next_offset.unwrap_or(0);
        let shards = publish(&catalogue, &mut owned, &[from + 3, from + 10]).await;
        let merge = replacement(&shards);
        catalogue.replace(&merge).await.unwrap();
        writeln!(std::io::stdout(), "merged {}", merge.added[0].id).unwrap();
        catalogue.forget(&merge.removed).await.unwrap();
    }
}

#[tokio::test]
async fn a_merger_killed_at_any_moment_leaves_whole_merges() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return merge_for_ever(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    for lines in [1, 4, 11, 30, 55] {
        let test = "tests::merges::a_merger_killed_at_any_moment_leaves_whole_merges";
        let acknowledged: Vec<ShardId> = said_until_killed(test, &path, "merged ", lines);
        assert!(acknowledged.len() >= lines);

        let catalogue = open(&path).await.unwrap();
        assert!(check_whole(&catalogue).await >= acknowledged.len() as i64 * 10);
        let live = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap().shards;
        let live: BTreeSet<ShardId> = live.into_iter().map(|shard| shard.id).collect();
        assert!(acknowledged.iter().all(|id| live.contains(id)), "an acknowledged merge was lost");
        // Nothing ends but by a merge that came to be, and nothing expires by it.
        assert!(everything(&catalogue).await.hidden.iter().all(|hidden| hidden.replaced));
    }
}

#[tokio::test]
async fn a_dropped_replacement_happens_wholly_or_not_at_all() {
    let (bed, _kept) = lay().await;
    let shards = publish(&bed.first, &mut own(&bed.first, 0, "a").await, &[10, 25]).await;
    let merge = replacement(&shards);
    let mut polls = 1;
    let outcome = loop {
        let mut replace = std::pin::pin!(bed.first.replace(&merge));
        let mut outcome = None;
        for _ in 0..polls {
            tokio::select! {
                biased;
                done = &mut replace => { outcome = Some(done); break }
                () = tokio::task::yield_now() => {}
            }
        }
        // A commit may still be on its way.
        check_snapshot(&bed.second).await;
        if let Some(outcome) = outcome {
            break outcome;
        }
        polls *= 2;
    };
    assert!(matches!(outcome, Ok(()) | Err(ReplaceError::Duplicate { .. })), "{outcome:?}");
    assert_eq!(everything(&bed.second).await.snapshot.shards, merge.added);
    check_whole(&bed.second).await;
}

#[tokio::test]
async fn a_full_disk_replaces_nothing_and_passes() {
    let (bed, _kept) = lay().await;
    let ends: Vec<i64> = (1..=150).collect();
    let shards = publish(&bed.first, &mut own(&bed.first, 0, "a").await, &ends).await;
    let mut merge = replacement(&shards);
    merge.aliases = (0..8u64)
        .map(|id| crate::Alias { id: format!("{id:016x}"), mask: vec![1; crate::MAX_MASK_BYTES] })
        .collect();
    let before = everything(&bed.second).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&bed.first.writer).await.unwrap();
    let limit = async |pages: i64| {
        let statement = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        bed.first.writer.execute(statement).await.unwrap();
    };
    limit(pages + 2).await;
    let refused = bed.first.replace(&merge).await.unwrap_err();
    assert!(matches!(refused, ReplaceError::Failed(crate::Error::Statement { .. })), "{refused:?}");
    assert_eq!(everything(&bed.second).await, before);
    limit(i64::from(i32::MAX)).await;
    bed.first.replace(&merge).await.unwrap();
    check_whole(&bed.second).await;
}

#[tokio::test]
async fn a_catalogue_from_before_merges_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let written = include_str!("schema-1.sql");
    raw(&path).await.execute(written).await.unwrap();

    let catalogue = Catalogue::open(&url(&path), clock()).await.unwrap();
    let before = everything(&catalogue).await;
    assert_eq!(before.snapshot.shards.len(), 4);
    assert!(before.snapshot.shards.iter().all(|shard| (shard.rewrites, shard.bucket) == (0, None)));
    assert!(before.hidden.len() == 2 && before.hidden.iter().all(|hidden| !hidden.replaced));
    assert_eq!((before.sources.len(), before.alerts.len(), before.documents.len()), (1, 1, 1));
    assert!(catalogue.mergeable(GROUP, u32::MAX).await.unwrap().is_empty(), "nobody knows their buckets");
    assert_eq!(catalogue.aliases_since(0).await.unwrap(), (0, vec![]));
    for row in &before.snapshot.partitions {
        let trail = catalogue.trail(GROUP, TOPIC, row.partition, 0, 100).await.unwrap();
        assert_eq!(crate::verify_trail(&trail).unwrap().unwrap().next_offset, Some(40));
    }

    // It goes on: published to, merged, expired.
    let owned = own(&catalogue, 0, "b").await;
    assert_eq!((owned.epoch, owned.next_offset), (2, Some(40)));
    let next: Cut = cut(step(&owned, 50));
    catalogue.publish(&next).await.unwrap();
    let mut pair: Vec<_> = before.snapshot.shards.into_iter().take(2).collect();
    pair.sort_by_key(|shard| shard.id);
    let merge = replacement(&pair);
    catalogue.replace(&merge).await.unwrap();
    let expired = catalogue.expire(GROUP, &StreamName::default(), Timestamp::MAX).await.unwrap();
    assert_eq!(expired.len(), 4);
    assert!(expired.contains(&merge.added[0]) && expired.contains(&next.shards[0]));
    for partition in [0, 1] {
        let trail = catalogue.trail(GROUP, TOPIC, Partition(partition), 0, 100).await.unwrap();
        let mut check = TrailCheck::default();
        for row in &trail {
            check.accept(row).unwrap();
        }
        assert!(check.live().is_empty());
    }
    catalogue.close().await;
    open(&path).await.unwrap();
}
