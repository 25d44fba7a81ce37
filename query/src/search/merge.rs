//! Joining: sealed answers and, of each partition, the hot rows of its highest epoch; and telling what is missing.

use super::{Hits, Missing, fanout::Sealed, plan::Plan};
use crate::leaves::LeafAnswer;
use millrace_catalogue::PartitionRow;
use millrace_model::{Partition, TopicId};
use millrace_store::HotPart;
use std::collections::BTreeMap;

/// A partition of a topic's incarnation.
pub(super) type PartitionKey = (String, Option<TopicId>, Partition);

/// What holders of hot rows said together.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Of each partition what the highest epoch holds.
    pub(super) parts: BTreeMap<PartitionKey, HotPart>,
    /// Its end as any of them has seen it.
    pub(super) ends: BTreeMap<PartitionKey, i64>,
    /// Who gave no answer, and why.
    pub(super) silent: BTreeMap<String, String>,
}

impl Held {
    /// Of all answers.
    pub(super) fn of(hot: Vec<LeafAnswer>) -> Self {
        let mut held = Self::default();
        for LeafAnswer { node, answer, .. } in hot {
            match answer {
                Ok(response) => response.parts.into_iter().for_each(|part| held.add(part)),
                Err(error) => drop(held.silent.insert(node, error.to_string())),
            }
        }
        held
    }

    fn add(&mut self, part: HotPart) {
        let key = (part.topic.clone(), part.topic_id, part.partition);
        let end = self.ends.entry(key.clone()).or_insert(part.end);
        *end = part.end.max(*end);
        match self.parts.get(&key) {
            Some(other) if other.epoch >= part.epoch => {}
            _ => drop(self.parts.insert(key, part)),
        }
    }

    /// What the owner of a partition holds of it. Who answers for an earlier epoch than that of the owner does not know how far the
    /// owner has come.
    pub(super) fn by_owner(&self, row: &PartitionRow) -> Option<&HotPart> {
        self.parts.get(&key(row)).filter(|part| part.epoch >= row.owner_epoch)
    }

    /// The indexers that gave no answer.
    pub(super) fn missing(&self) -> impl Iterator<Item = Missing> {
        self.silent.iter().map(|(node, problem)| Missing::of(format!("indexer {node}: {problem}")))
    }
}

/// The partition of a row.
pub(super) fn key(row: &PartitionRow) -> PartitionKey {
    (row.topic.clone(), row.topic_id, row.partition)
}

/// Makes the answer.
pub fn merge(plan: &Plan, sealed: Sealed, hot: Vec<LeafAnswer>) -> Hits {
    let mut missing = sealed.missing;
    if hot.is_empty() {
        missing.push(Missing::of("no indexer is running: what it has not published yet cannot be searched"));
    }
    let held = Held::of(hot);
    missing.extend(held.missing());
    missing.extend(gaps(plan, &held));
    missing.extend(held.parts.values().filter(|part| is_of_before_pipes(plan, part)).map(|part| Missing {
        partition: Some(part.partition),
        ..Missing::of(format!(
            "the indexer that holds partition {} of {} is of a version that knows no pipes: its rows are not in here",
            part.partition, part.topic
        ))
    }));

    let parts = held.parts.into_values();
    Hits::of(parts.fold(sealed.response, |all, part| all.merge(part.response, &plan.sealed)), missing)
}

/// Was it asked for what pipes gather, and did it only count?
fn is_of_before_pipes(plan: &Plan, part: &HotPart) -> bool {
    plan.sealed.fragments.is_some() && part.response.gathered.is_none() && part.response.total > 0
}

/// The offsets of each partition that neither sealed shards nor hot rows answer for.
fn gaps(plan: &Plan, held: &Held) -> Vec<Missing> {
    let mut missing = Vec::new();
    for row in &plan.snapshot.partitions {
        let Some(part) = held.by_owner(row) else {
            let PartitionRow { topic, partition, owner, .. } = row;
            let reason = if held.silent.contains_key(owner) {
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
        let end = held.ends.get(&key(row)).copied().unwrap_or(part.end);
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
