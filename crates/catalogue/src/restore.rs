//! From a snapshot back to a catalogue: whole, in one transaction, or not at all.
//!
//! What a catalogue says of who is alive or at work now is not restored. Epochs rise by a million, so that whoever still
//! believes to own a partition since after the snapshot can publish nothing.

use crate::{
    Catalogue, Error, NODE_TTL, Transaction,
    database::Lock,
    snapshot::{SnapshotError, SnapshotHead, SnapshotLine, read_snapshot},
    tables::{Cell, Kind, MIGRATIONS, Table},
};
use sqlx::{Any, AssertSqlSafe, any::AnyArguments, query::Query};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// By how much epochs rise: nobody is assigned a partition so often between two snapshots.
const EPOCHS: i64 = 1_000_000;
/// Tables of what is so only now.
const OF_THE_MOMENT: [&str; 2] = ["leases", "nodes"];
/// Lines that are read ahead.
const AHEAD: usize = 256;

/// A catalogue was not restored; it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There are rows in it.
    #[error(
        "the catalogue {place} is not empty (table {table} has rows): nothing was restored. Move it away, or say that it \
         is to be replaced"
    )]
    NotEmpty {
        /// The catalogue's file or address.
        place: String,
        /// The first table that has rows.
        table: String,
    },
    /// Somebody works with it.
    #[error("the node {node} is alive: stop all nodes before the catalogue {place} is replaced")]
    InUse {
        /// The catalogue's file or address.
        place: String,
        /// The first node that is alive.
        node: String,
    },
    /// The snapshot has something that this catalogue has no place for.
    #[error("the snapshot does not fit the catalogue's schema: {problem}")]
    Schema {
        /// What.
        problem: String,
    },
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] Error),
}

/// What has been restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the snapshot says of itself.
    pub head: SnapshotHead,
    /// How many rows there are.
    pub rows: u64,
}

impl Catalogue {
    /// Makes this catalogue what the snapshot in `file` says, which is read twice: once to see that it is whole. With
    /// `replace`, what the catalogue holds goes, if no node is alive.
    pub async fn restore(&self, file: &Path, replace: bool) -> Result<Restored, RestoreError> {
        let path = file.to_owned();
        let whole = tokio::task::spawn_blocking(move || read_snapshot(&path, |_| Ok::<_, SnapshotError>(())));
        let head = whole.await.map_err(|_| ended())??;
        let mut transaction = self.begin("restore a snapshot").await?;
        self.lock(&mut transaction, Lock::Schema).await?;
        let known = self.schema_version(&mut transaction).await?;
        if head.schema > known {
            let problem =
                format!("it has version {}, this program knows versions up to {known}", head.schema);
            return Err(RestoreError::Schema { problem });
        }
        let tables = self.tables(&mut transaction).await?;
        self.make_room(&mut transaction, &tables, replace).await?;
        let rows = self.insert_lines(&mut transaction, &tables, file.to_owned()).await?;
        let raise = format!("UPDATE partitions SET owner_epoch = owner_epoch + {EPOCHS}");
        sqlx::query(AssertSqlSafe(raise))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed("raise epochs"))?;
        transaction.commit().await.map_err(self.failed("restore a snapshot"))?;
        Ok(Restored { head, rows })
    }

    /// Empties the catalogue, or refuses where that was not asked for.
    async fn make_room(
        &self,
        transaction: &mut Transaction,
        tables: &[Table],
        replace: bool,
    ) -> Result<(), RestoreError> {
        let place = self.place.to_string();
        if replace {
            let alive = self.live_nodes(transaction, self.clock.now().minus(NODE_TTL)).await?;
            if let Some(node) = alive.into_iter().next() {
                return Err(RestoreError::InUse { place, node: node.id });
            }
        }
        // Those that refer to others lie behind them.
        for Table { name, .. } in tables.iter().rev().filter(|table| table.name != MIGRATIONS) {
            let deleted = sqlx::query(AssertSqlSafe(format!("DELETE FROM \"{name}\"")))
                .execute(&mut **transaction)
                .await
                .map_err(self.failed("make room for a snapshot"))?;
            if deleted.rows_affected() > 0 && !replace {
                return Err(RestoreError::NotEmpty { place, table: name.clone() });
            }
        }
        Ok(())
    }

    async fn insert_lines(
        &self,
        transaction: &mut Transaction,
        tables: &[Table],
        file: PathBuf,
    ) -> Result<u64, RestoreError> {
        let (lines, mut next) = mpsc::channel(AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            read_snapshot(&file, |line| lines.blocking_send(line).map_err(|_| ended()))
        });
        let (mut insert, mut rows) = (None, 0);
        while let Some(line) = next.recv().await {
            match line {
                SnapshotLine::Table { name, columns } => insert = Insert::into(tables, &name, &columns)?,
                SnapshotLine::Row(cells) => {
                    let Some(insert) = &insert else { continue };
                    insert
                        .row(cells)?
                        .execute(&mut **transaction)
                        .await
                        .map_err(self.failed("restore a row"))?;
                    rows += 1;
                }
            }
        }
        // It was whole a moment ago; if it is no more, all of this is rolled back.
        reading.await.map_err(|_| ended())??;
        Ok(rows)
    }
}

fn ended() -> SnapshotError {
    SnapshotError::Io { path: PathBuf::new(), source: std::io::Error::other("the program is ending") }
}

/// How a table's rows are put back.
struct Insert {
    text: String,
    kinds: Vec<Kind>,
}

impl Insert {
    /// `None` for tables whose rows are not put back.
    fn into(tables: &[Table], name: &str, columns: &[String]) -> Result<Option<Self>, RestoreError> {
        if name == MIGRATIONS || OF_THE_MOMENT.contains(&name) {
            return Ok(None);
        }
        let schema = |problem: String| RestoreError::Schema { problem };
        let table = tables.iter().find(|table| table.name == name);
        let table = table.ok_or_else(|| schema(format!("there is no table {name}")))?;
        let mut kinds = Vec::with_capacity(columns.len());
        for column in columns {
            let found = table.columns.iter().find(|(known, _)| known == column);
            let (_, kind) = found.ok_or_else(|| schema(format!("table {name} has no column {column}")))?;
            kinds.push(*kind);
        }
        let places: Vec<String> = (1..=columns.len()).map(|number| format!("${number}")).collect();
        // Both are names of this database, found above.
        let text =
            format!("INSERT INTO \"{name}\" (\"{}\") VALUES ({})", columns.join("\", \""), places.join(", "));
        Ok(Some(Self { text, kinds }))
    }

    fn row(&self, cells: Vec<Cell>) -> Result<Query<'static, Any, AnyArguments>, RestoreError> {
        let misfit = |problem: &str| RestoreError::Schema { problem: problem.to_owned() };
        if cells.len() != self.kinds.len() {
            return Err(misfit("a row has more or fewer values than its table has columns"));
        }
        let mut query = sqlx::query(AssertSqlSafe(self.text.clone()));
        for (cell, kind) in cells.into_iter().zip(&self.kinds) {
            query = match (cell, kind) {
                (Cell::Null, Kind::Number) => query.bind(None::<i64>),
                (Cell::Null, Kind::Truth) => query.bind(None::<bool>),
                (Cell::Null, Kind::Text) => query.bind(None::<String>),
                (Cell::Null, Kind::Bytes) => query.bind(None::<Vec<u8>>),
                (Cell::Number(number), Kind::Number) => query.bind(number),
                (Cell::Truth(truth), Kind::Truth) => query.bind(truth),
                (Cell::Text(text), Kind::Text) => query.bind(text),
                (Cell::Bytes(bytes), Kind::Bytes) => query.bind(bytes),
                _ => return Err(misfit("a value is of another kind than its column")),
            };
        }
        Ok(query)
    }
}
