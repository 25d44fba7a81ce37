//! Joining: sealed answers and, of each partition, the hot rows of its highest epoch; and telling what is missing.

use super::{Hits, Missing, fanout::Sealed, plan::Plan};
use crate::leaves::LeafAnswer;
use millrace_catalogue::PartitionRow;
use millrace_model::{Partition, TopicId};
use millrace_store::HotPart;
use std::collections::{BTreeMap, BTreeSet};

/// A partition of a topic's incarnation.
pub(super) type PartitionKey = (String, Option<TopicId>, Partition);

/// Makes the answer.
pub fn merge(plan: &Plan, sealed: Sealed, hot: Vec<LeafAnswer>) -> Hits {
    let mut missing = sealed.missing;
    let mut parts: BTreeMap<PartitionKey, HotPart> = BTreeMap::new();
    let mut ends: BTreeMap<PartitionKey, i64> = BTreeMap::new();
    if hot.is_empty() {
        missing.push(Missing::of("no indexer is running: what it has not published yet cannot be searched"));
    }
    let mut silent = BTreeSet::new();
    for LeafAnswer { node, answer, .. } in hot {
        match answer {
            Ok(response) => {
                for part in response.parts {
                    let key = (part.topic.clone(), part.topic_id, part.partition);
                    let end = ends.entry(key.clone()).or_insert(part.end);
                    *end = part.end.max(*end);
                    match parts.get(&key) {
                        Some(other) if other.epoch >= part.epoch => {}
                        _ => {
                            parts.insert(key, part);
                        }
                    }
                }
            }
            Err(error) => {
                missing.push(Missing::of(format!("indexer {node}: {error}")));
                silent.insert(node);
            }
        }
    }
    missing.extend(gaps(plan, &parts, &ends, &silent));
    missing.extend(parts.values().filter(|part| is_of_before_pipes(plan, part)).map(|part| Missing {
        partition: Some(part.partition),
        ..Missing::of(format!(
            "the indexer that holds partition {} of {} is of a version that knows no pipes: its rows are not in here",
            part.partition, part.topic
        ))
    }));

    let all = parts.into_values().fold(sealed.response, |all, part| all.merge(part.response, &plan.sealed));
    Hits::of(all, missing)
}

/// Was it asked for what pipes gather, and did it only count?
fn is_of_before_pipes(plan: &Plan, part: &HotPart) -> bool {
    plan.sealed.fragments.is_some() && part.response.gathered.is_none() && part.response.total > 0
}

/// The offsets of each partition that neither sealed shards nor hot rows answer for.
fn gaps(
    plan: &Plan,
    parts: &BTreeMap<PartitionKey, HotPart>,
    ends: &BTreeMap<PartitionKey, i64>,
    silent: &BTreeSet<String>,
) -> Vec<Missing> {
    let mut missing = Vec::new();
    for row in &plan.snapshot.partitions {
        let key = (row.topic.clone(), row.topic_id, row.partition);
        // Who answers for an earlier epoch than that of the owner does not know how far the owner has come.
        let Some(part) = parts.get(&key).filter(|part| part.epoch >= row.owner_epoch) else {
            let PartitionRow { topic, partition, owner, .. } = row;
            let reason = if silent.contains(owner) {
                format!(
                    "{owner}, which holds partition {partition} of {topic}, gave no answer: what it has not published is not in here"
                )
            } else {
                format!(
                    "no indexer holds partition {partition} of {topic}: what was not published when {owner} held it cannot be searched yet"
                )
            };
            missing.push(Missing { partition: Some(*partition), ..Missing::of(reason) });
            continue;
        };
        if let Some(next) = row.next_offset
            && part.held_from > next
        {
            missing.push(Missing {
                outrun: true,
                ..gap(row.partition, part.held_from - next, "are between the sealed and the hot ones")
            });
        }
        let end = ends.get(&key).copied().unwrap_or(part.end);
        if part.held_to < end {
            missing.push(gap(row.partition, end - part.held_to, "have not been taken in yet"));
        }
    }
    missing
}

fn gap(partition: Partition, lag: i64, what: &str) -> Missing {
    Missing {
        partition: Some(partition),
        lag: Some(lag),
        ..Missing::of(format!("{lag} messages of partition {partition} {what}"))
    }
}

#[cfg(test)]
mod tests;
