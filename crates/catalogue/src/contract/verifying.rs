//! Trails against rows: whatever is changed behind the catalogue's back is named, and what goes on rightly is not.

use super::{
    Bed, GROUP, cut,
    merging::{publish, replacement},
    own, step,
};
use crate::{Catalogue, Cut, ReplaceError, RowFault, VerifiedRows};
use millrace_model::{Partition, ShardMeta, StreamName, Timestamp};
use sqlx::AssertSqlSafe;

async fn verified(catalogue: &Catalogue) -> VerifiedRows {
    catalogue.verify(GROUP).await.unwrap()
}

/// What is found; each as its kind, what it is about, and what is wrong.
async fn faults(catalogue: &Catalogue) -> Vec<String> {
    let faults = verified(catalogue).await.faults;
    let told = faults.into_iter().map(|fault| match fault {
        RowFault::Trail { partition, problem, .. } => format!("trail {partition}: {problem}"),
        RowFault::Partition { partition, problem, .. } => format!("partition {partition}: {problem}"),
        RowFault::Shard { id, problem } => format!("shard {id}: {problem}"),
    });
    told.collect()
}

/// What nobody may do.
async fn tamper(catalogue: &Catalogue, statement: &str) {
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&catalogue.writer).await.unwrap();
    assert!(done.rows_affected() > 0, "{statement}");
}

/// Two partitions: one with two shards that were merged, a third and one that expired, one with a shard of its own.
async fn published(bed: &Bed) -> Vec<ShardMeta> {
    let mut first = own(&bed.first, 0, "a").await;
    let merge = replacement(&publish(&bed.first, &mut first, &[10, 25]).await);
    bed.first.replace(&merge).await.unwrap();
    let old = {
        let mut cut = cut(step(&first, 30));
        cut.shards[0].last = Timestamp::from_millis(1_500);
        cut.shards[0].stream = "old".parse().unwrap();
        bed.first.publish(&cut).await.unwrap();
        first.next_offset = Some(30);
        cut.shards.remove(0)
    };
    bed.first.expire(GROUP, &old.stream, Timestamp::MAX).await.unwrap();
    let third = publish(&bed.first, &mut first, &[40]).await;
    let other = publish(&bed.first, &mut own(&bed.first, 1, "a").await, &[7]).await;
    [merge.added, third, other].concat()
}

pub(crate) async fn what_is_published_verifies(bed: &Bed) {
    assert_eq!(verified(&bed.first).await, VerifiedRows::default(), "nothing is nothing wrong");
    let shards = published(bed).await;
    let found = verified(&bed.second).await;
    assert_eq!((found.chains, found.links, found.faults), (2, 7, vec![]));
    let mut live: Vec<_> = shards.iter().map(|shard| shard.id).collect();
    live.sort_unstable();
    assert_eq!(found.shards.iter().map(|shard| shard.id).collect::<Vec<_>>(), live);
    // A partition that was assigned and never published stands nowhere, and so says its trail.
    own(&bed.first, 2, "a").await;
    assert_eq!(faults(&bed.second).await, [""; 0]);
}

pub(crate) async fn a_changed_shard_is_named(bed: &Bed) {
    let shards = published(bed).await;
    let (merged, third) = (&shards[0], &shards[1]);
    let set = async |what: &str| tamper(&bed.first, &format!("UPDATE shards SET {what}")).await;
    let restore = async |shard: &ShardMeta| {
        let offsets = serde_json::to_string(&shard.offsets).unwrap();
        let ShardMeta { id, records, sha256, .. } = shard;
        set(&format!(
            "records = {records}, sha256 = '{sha256}', offsets = '{offsets}', expired_ns = NULL WHERE id = '{id}'"
        ))
        .await;
    };

    set(&format!("records = records + 1 WHERE id = '{}'", third.id)).await;
    let found = faults(&bed.second).await;
    assert_eq!(
        found,
        [format!("shard {}: its row has 11 records, its link 10 (trail of partition 0)", third.id)]
    );
    restore(third).await;

    set(&format!("sha256 = '{}' WHERE id = '{}'", "cd".repeat(32), third.id)).await;
    let found = faults(&bed.second).await;
    assert!(found.len() == 1 && found[0].contains(&format!("{}: its row has the SHA-256 cdcd", third.id)));
    restore(third).await;

    set(&format!(
        "offsets = replace(offsets, '\"partition\":0', '\"partition\":1') WHERE id = '{}'",
        third.id
    ))
    .await;
    let found = faults(&bed.second).await;
    assert_eq!(
        found,
        [
            format!(
                "shard {}: its link has rows of this partition in it, its row names no such offsets (trail of partition 0)",
                third.id
            ),
            format!("shard {}: its row is live, but no link has it so (trail of partition 1)", third.id),
        ]
    );
    set(&format!("offsets = '[]' WHERE id = '{}'", third.id)).await;
    assert!(faults(&bed.second).await[0].contains("its row names no offsets"));
    set(&format!("offsets = 'nonsense' WHERE id = '{}'", third.id)).await;
    let found = faults(&bed.second).await;
    assert!(found.len() == 1 && found[0].contains("its row cannot be read: a shard's offsets"), "{found:?}");
    restore(third).await;

    // Hidden, as an expiry would: the trail tells of none. Then gone altogether.
    let gone = [format!(
        "shard {}: its link has it live, but there is no live row of it (trail of partition 0)",
        merged.id
    )];
    set(&format!("expired_ns = 1 WHERE id = '{}'", merged.id)).await;
    assert_eq!(faults(&bed.second).await, gone);
    tamper(&bed.first, &format!("DELETE FROM shards WHERE id = '{}'", merged.id)).await;
    assert_eq!(faults(&bed.second).await, gone);
}

pub(crate) async fn a_shard_without_a_link_is_named(bed: &Bed) {
    let shards = published(bed).await;
    let made_up = millrace_model::ShardId::random();
    tamper(
        &bed.first,
        &format!(
            "INSERT INTO shards (id, consumer_group, stream, schema_version, first_ns, last_ns, records, bytes, sha256, \
             bundle_key, offsets, created_ns, published_ns) SELECT '{made_up}', consumer_group, stream, schema_version, \
             first_ns, last_ns, records, bytes, sha256, bundle_key, offsets, created_ns, published_ns FROM shards WHERE id = '{}'",
            shards[1].id
        ),
    )
    .await;
    assert_eq!(
        faults(&bed.second).await,
        [format!("shard {made_up}: its row is live, but no link has it so (trail of partition 0)")]
    );
    // What has come back from the dead has no link either.
    tamper(&bed.first, &format!("DELETE FROM shards WHERE id = '{made_up}'")).await;
    tamper(&bed.first, "UPDATE shards SET expired_ns = NULL WHERE stream = 'old'").await;
    let found = faults(&bed.second).await;
    assert!(found.len() == 1 && found[0].contains("its row is live, but no link has it so"), "{found:?}");
}

pub(crate) async fn a_changed_trail_is_named(bed: &Bed) {
    published(bed).await;
    let whole = bed.first.trail(GROUP, super::TOPIC, Partition(0), 0, 100).await.unwrap();
    assert_eq!(whole.len(), 6);
    let of_zero = "WHERE partition = 0 AND sequence";
    let restore = async || {
        sqlx::query("DELETE FROM trail WHERE partition = 0").execute(&bed.first.writer).await.unwrap();
        for row in &whole {
            sqlx::query("INSERT INTO trail VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(&row.group)
                .bind(&row.topic)
                .bind(row.partition.0)
                .bind(row.sequence as i64)
                .bind(&row.entry)
                .bind(&row.hash)
                .execute(&bed.first.writer)
                .await
                .unwrap();
        }
        assert_eq!(faults(&bed.second).await, [""; 0]);
    };
    let check = async |statements: &[String], expected: &str| {
        for statement in statements {
            tamper(&bed.first, statement).await;
        }
        let found = faults(&bed.second).await;
        assert!(found.first().is_some_and(|fault| fault.contains(expected)), "{statements:?}: {found:?}");
        restore().await;
        found
    };
    let hash = "its hash does not follow from its content and the link before";
    let changed = format!("UPDATE trail SET entry = replace(entry, '\"to\":25', '\"to\":24') {of_zero} = 2");
    let found = check(&[changed], &format!("trail 0: link 2: {hash}")).await;
    assert_eq!(found.len(), 1, "what a broken chain says is compared with nothing");
    let removed = format!("DELETE FROM trail {of_zero} = 3");
    check(&[removed], "trail 0: link 3 expected, found link 4").await;
    let first = format!("DELETE FROM trail {of_zero} = 1");
    check(&[first], "trail 0: link 1 expected, found link 2").await;
    let added = format!(
        "INSERT INTO trail SELECT consumer_group, topic, partition, 7, entry, hash FROM trail {of_zero} = 6"
    );
    check(&[added], &format!("trail 0: link 7: {hash}")).await;
    let swap = [(2, 99), (3, 2), (99, 3)]
        .map(|(from, to)| format!("UPDATE trail SET sequence = {to} {of_zero} = {from}"));
    check(&swap, &format!("trail 0: link 2: {hash}")).await;
    let cut_off = format!("DELETE FROM trail {of_zero} >= 6");
    check(&[cut_off], "partition 0: its row stands at 40, its trail ends at 30").await;
    let all = "DELETE FROM trail WHERE partition = 0".to_owned();
    check(&[all], "partition 0: its row stands at 40, its trail ends at no offset").await;
}

pub(crate) async fn a_moved_partition_is_named(bed: &Bed) {
    published(bed).await;
    tamper(&bed.first, "UPDATE partitions SET next_offset = 39 WHERE partition = 0").await;
    assert_eq!(
        faults(&bed.second).await,
        [
            "partition 0: its row stands at 39, its trail ends at 40: links were cut off or added, or the row was changed"
        ]
    );
    tamper(&bed.first, "UPDATE partitions SET next_offset = 40 WHERE partition = 0").await;
    tamper(&bed.first, "DELETE FROM partitions WHERE partition = 1").await;
    assert_eq!(faults(&bed.second).await, ["partition 1: it has no row, but a trail or a shard tells of it"]);
}

/// Nodes publish, merge, expire and forget as fast as they can, and nothing is ever found.
pub(crate) async fn a_busy_catalogue_has_no_faults(bed: &Bed) {
    let mut writers = Vec::new();
    for partition in 0..2 {
        let catalogue = bed.first.clone();
        writers.push(tokio::spawn(async move {
            let mut owned = own(&catalogue, partition, "busy").await;
            for round in 0..12 {
                let from = owned.next_offset.unwrap_or(0);
                let merge = replacement(&publish(&catalogue, &mut owned, &[from + 3, from + 10]).await);
                match catalogue.replace(&merge).await {
                    // The other's expiry came first.
                    Ok(()) | Err(ReplaceError::Gone { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                if round % 4 == 3 {
                    catalogue.expire(GROUP, &StreamName::default(), Timestamp::MAX).await.unwrap();
                }
                catalogue.forget(&merge.removed).await.unwrap();
                let nothing = Cut { shards: vec![], sources: vec![], ..cut(step(&owned, from + 11)) };
                catalogue.publish(&nothing).await.unwrap();
                owned.next_offset = Some(from + 11);
            }
        }));
    }
    let mut seen = 0;
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let found = verified(&bed.second).await;
        assert_eq!(found.faults, []);
        seen += found.links;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(seen > 0);
    assert_eq!(verified(&bed.second).await.faults, []);
}
