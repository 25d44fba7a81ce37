//! What is published together, as plain data, and what must hold in it before the database is asked.

use crate::{Alert, Alias, Amount, Brought, Error, Notification, aliases};
use millrace_ledger::{Change, SourceState};
use millrace_model::{Partition, ShardMeta, SourceId, StreamName};
use std::collections::BTreeMap;

/// An offset for each partition, and all that lies below it: published whole or not at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cut {
    /// The consumer group whose offsets move.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partitions and where they move. A move onto the spot only checks that the caller still owns the partition.
    pub moves: Vec<Move>,
    /// Shards whose rows all lie between `from` and `to` of the moves.
    pub shards: Vec<ShardMeta>,
    /// Changed sources.
    pub sources: Vec<SourceWrite>,
    /// Alerts, new or changed.
    pub alerts: Vec<Alert>,
    /// What is to be sent. One that is there already (by its id) is left as it is.
    pub notifications: Vec<Notification>,
    /// Small documents.
    pub documents: Vec<DocumentWrite>,
    /// Aliases of templates. One that is there already is left as it is.
    pub aliases: Vec<Alias>,
    /// What the live shards of a stream may take, in bytes: the oldest end in the same transaction if the cut makes it more.
    pub bounds: BTreeMap<StreamName, u64>,
    /// What was brought: added to what was brought before.
    pub traffic: BTreeMap<Brought, Amount>,
}

/// One partition's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The partition.
    pub partition: Partition,
    /// The epoch that the caller was given with it.
    pub epoch: u64,
    /// The next offset that the row has now; `None`: none yet.
    pub from: Option<i64>,
    /// The next offset that it will have.
    pub to: i64,
}

/// A source to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceWrite {
    /// The source.
    pub id: SourceId,
    /// The partition that it comes through.
    pub partition: Partition,
    /// The version that is replaced; `None`: the source is new and will have version 1.
    pub expected_version: Option<u64>,
    /// What is known now.
    pub state: SourceState,
}

impl From<Change> for SourceWrite {
    fn from(change: Change) -> Self {
        let Change { id, partition, expected_version, state } = change;
        Self { id, partition, expected_version, state }
    }
}

/// A document to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    /// What sort of document.
    pub kind: String,
    /// Its name among those.
    pub key: String,
    /// The version that is replaced; `None`: there must be none.
    pub expected_version: Option<u64>,
    /// Its text.
    pub body: String,
}

impl Cut {
    /// Finds what no database is needed to refuse: a bug of the caller's that would make records unaccounted for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for (i, step) in self.moves.iter().enumerate() {
            if step.to < step.from.unwrap_or(0) {
                return Err(contradiction(format!("partition {} moves back to {}", step.partition, step.to)));
            }
            if self.moves[..i].iter().any(|earlier| earlier.partition == step.partition) {
                return Err(contradiction(format!("partition {} moves twice", step.partition)));
            }
        }
        if self.moves.is_empty() && !(self.shards.is_empty() && self.sources.is_empty()) {
            return Err(contradiction(
                "shards or sources, but no partition that proves who owns them".to_owned(),
            ));
        }
        aliases::check(&self.aliases).map_err(contradiction)?;
        self.shards.iter().try_for_each(|shard| self.check_shard(shard))
    }

    /// A shard must not hold offsets that the cut leaves unread, or that were published before.
    fn check_shard(&self, shard: &ShardMeta) -> Result<(), Error> {
        if shard.offsets.is_empty() {
            return Err(contradiction(format!("shard {} names no offsets", shard.id)));
        }
        for range in &shard.offsets {
            let inside = range.topic == self.topic
                && self.moves.iter().any(|step| {
                    step.partition == range.partition
                        && step.from.unwrap_or(0) <= range.from
                        && range.from <= range.to
                        && range.to <= step.to
                });
            if !inside {
                return Err(contradiction(format!(
                    "shard {} holds offsets {} to {} of {} {}, outside the cut",
                    shard.id, range.from, range.to, range.topic, range.partition
                )));
            }
        }
        Ok(())
    }
}

fn contradiction(problem: String) -> Error {
    Error::Cut(problem)
}
