//! Before an audit: indexers are asked to publish what they hold, and waited for, so that the ledger tells of everything
//! that is in the topic at this moment and not only of what happened to be published.

use super::Missing;
use crate::{INDEXER_GROUP, Leaves, SearchRequest, leaves::LeafAnswer, search::plan};
use millrace_catalogue::{Catalogue, PartitionRow, Snapshot};
use millrace_filter::Filter;
use millrace_model::{Grant, Partition, Sight, TimeRange, TopicId};
use millrace_store::{Leaf, Order};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a cut is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the catalogue is asked meanwhile.
const EVERY: Duration = Duration::from_millis(50);

/// How far partitions reach, and of which epoch's owner that is known.
type Ends = BTreeMap<(String, Option<TopicId>, Partition), (i64, u64)>;

/// Asks for a cut and waits until all that was in the topic is published. Returns what is not.
pub async fn settle<L: Leaf>(
    catalogue: &Catalogue,
    leaves: &Leaves<L>,
) -> Result<Vec<Missing>, millrace_catalogue::Error> {
    let nothing = SearchRequest {
        filter: Filter::ALL,
        range: TimeRange::NONE,
        streams: None,
        sight: Sight::whole(Grant::All),
        limit: 0,
        order: Order::NewestFirst,
        after: None,
        histogram: None,
        gather: None,
    };
    let mut plan = plan::plan(catalogue, &nothing).await?;
    plan.hot.publish = true;
    let answers = leaves.ask(&plan.snapshot.nodes, &plan.hot).await;
    let mut missing = Vec::new();
    if answers.is_empty() {
        missing.push(Missing::of("no indexer is running: what is not published yet is not in this account"));
    }
    let mut ends = Ends::new();
    for LeafAnswer { node, answer, .. } in answers {
        match answer {
            Ok(response) => {
                for part in response.parts {
                    let (end, epoch) = ends.entry((part.topic, part.topic_id, part.partition)).or_default();
                    *end = part.end.max(part.held_to).max(*end);
                    *epoch = part.epoch.max(*epoch);
                }
            }
            Err(error) => missing.push(Missing::of(format!("indexer {node}: {error}"))),
        }
    }
    missing.extend(unheld(&plan.snapshot, &ends));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let snapshot = catalogue.snapshot(INDEXER_GROUP, nothing.range, None).await?;
        let behind = behind(&snapshot, &ends);
        if behind.is_empty() || Instant::now() >= deadline {
            missing.extend(behind);
            return Ok(missing);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The partitions whose owner has not said how far they reach.
fn unheld(snapshot: &Snapshot, ends: &Ends) -> Vec<Missing> {
    let known = |row: &&PartitionRow| {
        let known = ends.get(&(row.topic.clone(), row.topic_id, row.partition));
        known.is_some_and(|(_, epoch)| *epoch >= row.owner_epoch)
    };
    let unheld = snapshot.partitions.iter().filter(|row| !known(row));
    unheld
        .map(|row| Missing {
            partition: Some(row.partition),
            ..Missing::of(format!(
                "no indexer holds partition {} of {}: what is not published of it is not in this account",
                row.partition, row.topic
            ))
        })
        .collect()
}

/// The partitions that are not published up to their ends.
fn behind(snapshot: &Snapshot, ends: &Ends) -> Vec<Missing> {
    let mut behind = Vec::new();
    for ((topic, topic_id, partition), (end, _)) in ends {
        let published = snapshot
            .partitions
            .iter()
            .find(|row| row.topic == *topic && row.topic_id == *topic_id && row.partition == *partition)
            .and_then(|row| row.next_offset)
            .unwrap_or(0);
        if published < *end {
            let lag = end - published;
            behind.push(Missing {
                partition: Some(*partition),
                lag: Some(lag),
                ..Missing::of(format!(
                    "{lag} messages of partition {partition} of {topic} are not published yet"
                ))
            });
        }
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_nobody_or_a_former_owner_holds_is_not_settled() {
        let row = |partition| PartitionRow {
            topic: "t".into(),
            topic_id: None,
            partition: Partition(partition),
            next_offset: Some(5),
            owner_epoch: 2,
            owner: "a".into(),
        };
        let partitions = vec![row(0), row(1), row(2)];
        let snapshot = Snapshot { shards: Vec::new(), partitions, nodes: Vec::new(), deletions: Vec::new() };
        let key = |partition| ("t".to_owned(), None, Partition(partition));
        let ends = Ends::from([(key(0), (5, 2)), (key(1), (5, 1))]);
        let unheld: Vec<_> = unheld(&snapshot, &ends).iter().map(|missing| missing.partition).collect();
        assert_eq!(unheld, [Some(Partition(1)), Some(Partition(2))]);
        assert!(behind(&snapshot, &ends).is_empty());
    }
}
