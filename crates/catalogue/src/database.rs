//! The databases that a catalogue can stand on, and all in which they differ: how a transaction begins, what is locked in
//! it, and what their errors mean. Everything else is said to both in the same words.
//!
//! `SQLite` has one write lock, which a transaction that may write has from its first moment: what comes after needs none.
//! `PostgreSQL` transactions that write run `READ COMMITTED` beside each other: rows that are compared and set are locked by
//! that, and what must not happen side by side takes a [`Lock`]. So that none waits for another in a circle, all take what
//! they need in one order: [`Lock::Endings`], shards, partitions, sources, alerts, [`Lock::Aliases`]; and of each by name.

use crate::{Catalogue, Error, Transaction, partitions::Place};
use sqlx::AnyConnection;
use std::borrow::Cow;

/// What a catalogue stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

/// Work of which only one goes on at a time, until its transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// Shards end: they expire, are replaced, forgotten.
    Endings,
    /// Aliases are counted: their versions come in the order of commits, so that no reader goes on from behind one that
    /// is still to come.
    Aliases,
    /// The schema is made or changed.
    Schema,
}

/// The first half of the keys of our advisory locks: "mill".
const LOCKS: i32 = 0x6d69_6c6c;

/// What an error means, whatever the database calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Somebody else held what was wanted: trying again may help.
    Busy,
    /// The file is damaged, or is no database.
    Damaged,
    /// Anything else.
    Other,
}

/// `SQLite`'s primary result codes.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;

impl Database {
    /// Begins a transaction that may write.
    pub(crate) const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Begins a transaction that sees one instant.
    pub(crate) const fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// Names the tables that are there.
    pub(crate) const fn tables(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
            Self::Postgres => {
                "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = current_schema()"
            }
        }
    }

    /// Names the columns of a table, in their order, and how they are declared.
    pub(crate) const fn columns(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "SELECT CAST(name AS TEXT), CAST(type AS TEXT) FROM pragma_table_info($1) ORDER BY cid"
            }
            Self::Postgres => {
                "SELECT CAST(column_name AS TEXT), CAST(data_type AS TEXT) FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position"
            }
        }
    }

    /// What lets a transaction read for as long as it takes, where it may not anyway.
    pub(crate) const fn long_read(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => {
                Some("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
            }
        }
    }

    /// What can be done about a damaged one.
    pub(crate) const fn mend(self) -> &'static str {
        match self {
            Self::Sqlite => {
                "move it away, with what lies beside it as -wal and -shm, and run `millrace catalogue rebuild`"
            }
            Self::Postgres => "restore it from a backup, or empty it and run `millrace catalogue rebuild`",
        }
    }

    pub(crate) fn meaning(self, error: &sqlx::Error) -> Meaning {
        if self.is_locked(error) || matches!(error, sqlx::Error::PoolTimedOut) {
            return Meaning::Busy;
        }
        match (self, code(error).as_deref()) {
            (Self::Sqlite, Some(code)) if matches!(primary(code), Some(CORRUPT | NOT_A_DATABASE)) => {
                Meaning::Damaged
            }
            // data_corrupted, index_corrupted
            (Self::Postgres, Some("XX001" | "XX002")) => Meaning::Damaged,
            _ => Meaning::Other,
        }
    }

    /// Did others hold a lock for longer than the database waits, or was this one chosen to give way?
    pub(crate) fn is_locked(self, error: &sqlx::Error) -> bool {
        match (self, code(error).as_deref()) {
            (Self::Sqlite, Some(code)) => matches!(primary(code), Some(BUSY | LOCKED)),
            // serialization_failure, deadlock_detected, lock_not_available, query_canceled,
            // idle_in_transaction_session_timeout, too_many_connections
            (Self::Postgres, Some(code)) => {
                matches!(code, "40001" | "40P01" | "55P03" | "57014" | "25P03" | "53300")
            }
            (_, None) => false,
        }
    }

    /// Waits until nobody else has the lock.
    pub(crate) async fn lock(self, connection: &mut AnyConnection, lock: Lock) -> Result<(), sqlx::Error> {
        if self == Self::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
                .bind(LOCKS)
                .bind(lock as i32)
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

/// A text as every database can hold it. JSON needs none of this: there a zero byte is written out.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// The part of `SQLite`'s code that says what it is.
fn primary(code: &str) -> Option<i32> {
    Some(code.parse::<i32>().ok()? & 0xff)
}

impl Catalogue {
    /// Waits until nobody else has the lock, and has it until the transaction ends.
    pub(crate) async fn lock(&self, transaction: &mut Transaction, lock: Lock) -> Result<(), Error> {
        self.database.lock(transaction, lock).await.map_err(self.failed("wait for others"))
    }

    /// Keeps others from adding to a partition's trail, or from moving it, until the transaction ends.
    pub(crate) async fn lock_partition(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
    ) -> Result<(), Error> {
        if self.database == Database::Postgres {
            sqlx::query(
                "SELECT owner_epoch FROM partitions WHERE consumer_group = $1 AND topic = $2 AND partition = $3 FOR UPDATE",
            )
            .bind(place.group)
            .bind(place.topic)
            .bind(place.partition.0)
            .execute(&mut **transaction)
            .await
            .map_err(self.failed("wait for others"))?;
        }
        Ok(())
    }
}
