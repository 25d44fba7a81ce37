//! The way back: the schema becomes that of an earlier version, for a program that knows no later one. What later
//! versions keep in tables and columns of their own goes with them; where that would make an answer wrong, it is refused.
//!
//! Each migration has its way back beside it (`migrations/*.down.sql`), which a test of the contract walks.

use super::{MIGRATIONS, PATIENCE, Purpose};
use crate::{Catalogue, Error, NODE_TTL, tables};
use millrace_model::{Clock, Timestamp};
use sqlx::{
    AnyConnection, AssertSqlSafe,
    migrate::{Migrate, MigrateError},
};
use std::sync::Arc;

/// Where a schema is taken back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WayBack {
    /// The version that it has in the end.
    pub(crate) to: i64,
    /// Nobody may have been there since.
    pub(crate) quiet_since: Timestamp,
}

/// What only this version and later ones know, and must not be forgotten: how it is counted, and what it is.
const NEEDED: [(i64, &str, &str); 5] = [
    (
        3,
        "SELECT COUNT(*) FROM deletions WHERE purged_ns IS NULL",
        "deletions are not done yet, and what they hide would be found again: wait until they are",
    ),
    (3, "SELECT COUNT(*) FROM holds", "streams are on hold, and would expire: release them first"),
    (
        5,
        "SELECT COUNT(*) FROM holes",
        "holes in the topic are known, of which the audit would say nothing any more",
    ),
    (
        8,
        "SELECT COUNT(*) FROM collection_documents",
        "documents that clients wrote and change are kept, and would be lost: delete their indices first",
    ),
    (
        9,
        "SELECT COUNT(*) FROM tokens",
        "tokens are kept in the catalogue, and would be lost: revoke them first",
    ),
];

impl Catalogue {
    /// Takes the schema of the catalogue at `url` back to version `to`, for a program that knows no later one. Returns the
    /// version that it had.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::NoWayBack`] where that version is not an earlier one, nodes are running, or something
    /// is there that must not be forgotten. Nothing is changed then.
    pub async fn take_back(url: &str, to: i64, clock: Arc<dyn Clock>) -> Result<i64, Error> {
        let before = Self::open_to_read(url, Arc::clone(&clock)).await?;
        let mut transaction = before.begin_read("read its version").await?;
        let had = before.schema_version(&mut transaction).await?;
        drop(transaction);
        before.close().await;
        let way = WayBack { to, quiet_since: clock.now().minus(NODE_TTL) };
        Self::open_as(url, clock, PATIENCE, Purpose::Back(way)).await?.close().await;
        Ok(i64::try_from(had).unwrap_or(i64::MAX))
    }
}

impl WayBack {
    /// Undoes later migrations, the last one first.
    pub(super) async fn go(
        self,
        place: &str,
        connection: &mut AnyConnection,
        failed: &impl Fn(sqlx::Error) -> Error,
    ) -> Result<(), Error> {
        let refused = |problem: String| Error::NoWayBack { place: place.to_owned(), to: self.to, problem };
        let broken = |source: MigrateError| Error::Migrate { place: place.to_owned(), source };
        let applied = connection.list_applied_migrations(tables::MIGRATIONS).await.map_err(broken)?;
        let now = applied.iter().map(|migration| migration.version).max().unwrap_or(0);
        if !(1..now).contains(&self.to) {
            return Err(refused(format!("it has version {now}")));
        }
        let alive: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM nodes WHERE seen_ns >= $1")
            .bind(self.quiet_since.0)
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        if alive > 0 {
            return Err(refused(format!("{alive} nodes are running, or were just now: stop them first")));
        }
        for (_, counted, problem) in NEEDED.iter().filter(|(since, ..)| (self.to + 1..=now).contains(since)) {
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(*counted))
                .fetch_one(&mut *connection)
                .await
                .map_err(failed)?;
            if count > 0 {
                return Err(refused(format!("{count} {problem}")));
            }
        }
        let later = MIGRATIONS.iter().rev().filter(|migration| {
            migration.migration_type.is_down_migration() && (self.to + 1..=now).contains(&migration.version)
        });
        for migration in later {
            connection.revert(tables::MIGRATIONS, migration).await.map_err(broken)?;
        }
        Ok(())
    }
}
