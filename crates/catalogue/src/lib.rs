//! The one commit point. What the topic has delivered becomes durable here and nowhere else: shards, offsets, the
//! ledger, alerts and their outbox change together, in one transaction, or not at all. Shards are replaced by others
//! that hold the same records here too.
//!
//! It owns the database and its schema. It does not own the bundles (`storage`) or what a source's state means
//! (`ledger`).
//!
//! **Invariants:**
//! - A cut is published by the partition's present owner from the offset where its row stands, or not at all.
//! - A reader's [`Snapshot`] is one instant: shards and offsets in it belong together.
//! - A shard ends once, by expiry or by replacement, and no snapshot has both a shard and what took its place, or neither.
//! - Each publish, merge, expiry and recreation appends to its partition's hash chain in the same transaction.
//!
//! `SQLite` (WAL, `synchronous=FULL`): what has been committed survives `kill -9` and power loss. Several processes may
//! share the file; each has one writing connection, whose transactions begin `IMMEDIATE`, and a few that only read.

mod alerts;
mod aliases;
mod cut;
mod documents;
mod error;
mod leases;
mod nodes;
mod open;
mod partitions;
mod publish;
mod replace;
mod shards;
mod sources;
mod trail;

pub use alerts::{Alert, AlertState, Delivery, DueNotification, Notification};
pub use aliases::{Alias, MAX_ALIASES, MAX_MASK_BYTES};
pub use cut::{Cut, DocumentWrite, Move, SourceWrite};
pub use documents::Document;
pub use error::{Error, PublishError, ReplaceError};
pub use nodes::{NODE_TTL, Node};
pub use partitions::{Ownership, PartitionRow};
pub use replace::Replacement;
pub use shards::{HiddenShard, Snapshot};
pub use sources::{SourceLabel, StoredSource};
pub use trail::{
    TrailCheck, TrailEntry, TrailEvent, TrailFault, TrailHead, TrailRow, TrailShard, verify_trail,
};

use millrace_model::Clock;
use sqlx::{Sqlite, SqlitePool};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

type Transaction = sqlx::Transaction<'static, Sqlite>;

/// The most ids that one statement names.
const IDS_A_STATEMENT: usize = 500;

/// A handle on the catalogue. Cloning shares the connections.
#[derive(Clone)]
pub struct Catalogue {
    path: Arc<PathBuf>,
    writer: SqlitePool,
    readers: SqlitePool,
    patience: open::Patience,
    clock: Arc<dyn Clock>,
    refused_aliases: Arc<AtomicU64>,
}

impl Catalogue {
    /// Begins a transaction that may write. It has the database's write lock from its first moment, so that nothing in
    /// it can fail for another writer's sake.
    async fn begin(&self, action: &'static str) -> Result<Transaction, Error> {
        let mut attempt = 1;
        loop {
            match self.writer.begin_with("BEGIN IMMEDIATE").await {
                Ok(transaction) => return Ok(transaction),
                Err(error) if open::is_locked(&error) && attempt < self.patience.attempts => attempt += 1,
                Err(error) => return Err(self.failed(action)(error)),
            }
        }
    }

    /// Begins a transaction that sees one instant and never waits for a writer.
    async fn begin_read(&self, action: &'static str) -> Result<Transaction, Error> {
        self.readers.begin().await.map_err(self.failed(action))
    }

    /// What a failed statement becomes.
    fn failed(&self, action: &'static str) -> impl Fn(sqlx::Error) -> Error {
        move |source| {
            let path = self.path.as_ref().clone();
            match open::code(&source) {
                _ if open::is_busy(&source) => Error::Busy { path, action, source },
                Some(open::CORRUPT | open::NOT_A_DATABASE) => Error::Damaged { path, source },
                _ => Error::Statement { path, action, source },
            }
        }
    }

    /// What a row that cannot be understood becomes.
    fn unreadable<E: ToString>(&self, what: &'static str) -> impl Fn(E) -> Error {
        move |problem| Error::Stored { path: self.path.as_ref().clone(), what, problem: problem.to_string() }
    }

    /// Ends all connections, after what they are doing. The last process to close folds the write-ahead log back in.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod contract;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
