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
//! - Each publish, merge, reprocessing, expiry, recreation and hole appends to its partition's hash chain in the same transaction.
//!
//! It stands on `SQLite` (WAL, `synchronous=FULL`), where several processes of one machine may share the file, or on
//! `PostgreSQL` for many nodes ([`database`] tells what that changes). What has been committed survives `kill -9` and power
//! loss on both.

mod access;
mod account;
mod alerts;
mod aliases;
mod collections;
mod cut;
mod database;
mod deletions;
mod documents;
mod error;
pub mod foreign;
mod holes;
mod leases;
mod nodes;
mod open;
mod partitions;
mod publish;
mod query;
mod replace;
mod reprocessings;
mod restore;
mod shards;
mod snapshot;
mod sources;
mod streams;
mod summary;
mod tables;
mod traffic;
mod trail;
mod triage;
mod verdicts;
mod verify;

pub use access::{
    AccessList, AccessSession, AccessToken, Added, MAX_SESSIONS, MAX_SESSIONS_OF_ONE, MAX_TOKENS,
};
pub use alerts::{Alert, AlertState, Delivery, DueNotification, Notification};
pub use aliases::{Alias, MAX_ALIASES, MAX_MASK_BYTES};
pub use collections::{
    Became, Bounds, Change, Collection, CollectionDocument, Decide, Edited, Edits, NotEdited,
};
pub use cut::{Cut, DocumentWrite, Move, SourceWrite};
pub use deletions::{Deletion, DeletionRequest};
pub use documents::Document;
pub use error::{Error, PublishError, ReplaceError};
pub use holes::{HoleKind, OffsetHole, Reached};
pub use nodes::{NODE_TTL, Node};
pub use partitions::{Acquisition, Ownership, PartitionRow, StepBack};
pub use replace::Replacement;
pub use reprocessings::{Refusal, Reprocessing, ReprocessingRequest};
pub use restore::{RestoreError, Restored};
pub use shards::{HiddenShard, PUBLISH_WITHIN, Snapshot};
pub use snapshot::{SnapshotError, SnapshotHead, SnapshotLine, read_snapshot};
pub use sources::{SourceLabel, StoredSource};
pub use streams::{Hold, StreamFields, StreamTier, StreamUsage};
pub use summary::Summary;
pub use tables::{Cell, ReadError, TakeRows};
pub use traffic::{Amount, Brought, Day, TRAFFIC_DAYS, Traffic};
pub use trail::{
    TrailCheck, TrailEntry, TrailEvent, TrailFault, TrailHead, TrailRow, TrailShard, verify_trail,
};
pub use triage::{Act, Demoted, Dispatch, Hushed, KeptAlert, Marks, Triage};
pub use verdicts::{Verdict, VerdictKind, VerdictScope};
pub use verify::{RowFault, VerifiedRows};

use database::{Database, Meaning};
use millrace_model::Clock;
use sqlx::{Any, AnyPool};
use std::sync::{Arc, atomic::AtomicU64};

type Transaction = sqlx::Transaction<'static, Any>;

/// The most ids that one statement names.
const IDS_A_STATEMENT: usize = 500;
/// The most rows that one statement writes. Each is a dozen values, and the driver of `SQLite` looks through all names of values for
/// each of them.
const ROWS_A_STATEMENT: usize = 40;

/// A handle on the catalogue. Cloning shares the connections.
#[derive(Clone)]
pub struct Catalogue {
    /// Its file or its address, as errors name it: without a password.
    place: Arc<str>,
    database: Database,
    writer: AnyPool,
    readers: AnyPool,
    patience: open::Patience,
    clock: Arc<dyn Clock>,
    refused_aliases: Arc<AtomicU64>,
}

impl Catalogue {
    /// Begins a transaction that may write. On `SQLite` it has the database's write lock from its first moment, so that
    /// nothing in it can fail for another writer's sake.
    async fn begin(&self, action: &'static str) -> Result<Transaction, Error> {
        let mut attempt = 1;
        loop {
            match self.writer.begin_with(self.database.begin()).await {
                Ok(transaction) => return Ok(transaction),
                Err(error) if self.database.is_locked(&error) && attempt < self.patience.attempts => {
                    attempt += 1;
                }
                Err(error) => return Err(self.failed(action)(error)),
            }
        }
    }

    /// Begins a transaction that sees one instant and never waits for a writer.
    async fn begin_read(&self, action: &'static str) -> Result<Transaction, Error> {
        self.readers.begin_with(self.database.begin_read()).await.map_err(self.failed(action))
    }

    /// What a failed statement becomes.
    fn failed(&self, action: &'static str) -> impl Fn(sqlx::Error) -> Error {
        move |source| {
            let place = self.place.to_string();
            match self.database.meaning(&source) {
                Meaning::Busy => Error::Busy { place, action, source },
                Meaning::Damaged => Error::Damaged { place, mend: self.database.mend(), source },
                Meaning::Other => Error::Statement { place, action, source },
            }
        }
    }

    /// What a row that cannot be understood becomes.
    fn unreadable<E: ToString>(&self, what: &'static str) -> impl Fn(E) -> Error {
        move |problem| Error::Stored { place: self.place.to_string(), what, problem: problem.to_string() }
    }

    /// Ends all connections, after what they are doing. The last process to close folds the write-ahead log back in.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl std::fmt::Display for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the catalogue {}", self.place)
    }
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue").field("place", &self.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod contract;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
