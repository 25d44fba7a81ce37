//! All that a catalogue holds, table by table, as plain values: for dumps and snapshots. Which tables and columns there are
//! is asked of the database, so what a later migration adds comes along by itself.
//!
//! **Invariant:** every row of every table is given, each value as it is stored: numbers, truth values, texts, bytes.

use crate::{Catalogue, Error, Transaction, database::Database, open};
use futures_util::TryStreamExt;
use millrace_model::Clock;
use sqlx::{AssertSqlSafe, Row as _, any::AnyRow};
use std::sync::Arc;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// None.
    Null,
    /// A whole number.
    Number(i64),
    /// A truth value.
    Truth(bool),
    /// Text, and whatever else has no kind of its own here, such as the time of a migration.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Truth,
    Text,
    Bytes,
}

/// A table and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<(String, Kind)>,
}

/// Whoever takes rows. Its error ends the reading.
pub trait TakeRows: Send {
    /// A table begins.
    fn table(&mut self, name: &str, columns: &[&str]) -> std::io::Result<()>;
    /// A row of the table that began last.
    fn row(&mut self, cells: &[Cell]) -> std::io::Result<()>;
}

/// Rows were not all read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] Error),
    /// Whoever took the rows takes no more.
    #[error("a row cannot be written")]
    Taker(#[from] std::io::Error),
}

/// The migrations' own table.
pub(crate) const MIGRATIONS: &str = "_sqlx_migrations";

impl Kind {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_lowercase();
        if declared.contains("int") {
            Self::Number
        } else if declared.contains("bool") {
            Self::Truth
        } else if declared == "bytea" || declared == "blob" {
            Self::Bytes
        } else {
            Self::Text
        }
    }

    /// What selects a column as text: the one type that both databases hand over in the same way.
    fn select(self, database: Database, column: &str) -> String {
        match (self, database) {
            (Self::Number | Self::Text, _) => format!("CAST(\"{column}\" AS TEXT)"),
            (Self::Truth, _) => {
                format!("CASE WHEN \"{column}\" THEN 'true' WHEN NOT \"{column}\" THEN 'false' END")
            }
            (Self::Bytes, Database::Sqlite) => {
                format!("CASE WHEN \"{column}\" IS NOT NULL THEN lower(hex(\"{column}\")) END")
            }
            (Self::Bytes, Database::Postgres) => format!("encode(\"{column}\", 'hex')"),
        }
    }

    /// A value out of its text. One that is not of its kind is given as what it is: `SQLite` would hold it.
    fn cell(self, text: Option<String>) -> Cell {
        let Some(text) = text else { return Cell::Null };
        match self {
            Self::Number => text.parse().map_or(Cell::Text(text), Cell::Number),
            Self::Truth => Cell::Truth(text == "true"),
            Self::Bytes => unhex(&text).map_or(Cell::Text(text), Cell::Bytes),
            Self::Text => Cell::Text(text),
        }
    }
}

/// The bytes of a text in hexadecimal.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

impl Catalogue {
    /// Opens the catalogue at `url` for reading alone: nothing is created, and its schema stays as it is, whatever its
    /// version. What would write fails.
    ///
    /// # Errors
    /// As [`open`](Self::open); and where there is no catalogue.
    pub async fn open_to_read(url: &str, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let catalogue = Self::open_as(url, clock, open::PATIENCE, open::Purpose::Read).await?;
        let mut transaction = catalogue.begin_read("look for its tables").await?;
        let tables = catalogue.table_names(&mut transaction).await?;
        if !tables.iter().any(|table| table == MIGRATIONS) {
            return Err(Error::Foreign { place: catalogue.place.to_string() });
        }
        Ok(catalogue)
    }

    /// Gives every row of every table, by the tables' names, as they were at one instant. Returns how many there were.
    pub async fn read_all(&self, taker: &mut dyn TakeRows) -> Result<u64, ReadError> {
        let mut transaction = self.begin_read("read all rows").await?;
        self.read_all_in(&mut transaction, taker).await
    }

    pub(crate) async fn read_all_in(
        &self,
        transaction: &mut Transaction,
        taker: &mut dyn TakeRows,
    ) -> Result<u64, ReadError> {
        if let Some(patience) = self.database.long_read() {
            sqlx::raw_sql(patience)
                .execute(&mut **transaction)
                .await
                .map_err(self.failed("read all rows"))?;
        }
        let mut count = 0;
        for table in self.tables(transaction).await? {
            let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
            taker.table(&table.name, &columns)?;
            let selected: Vec<String> =
                table.columns.iter().map(|(name, kind)| kind.select(self.database, name)).collect();
            let text = format!("SELECT {} FROM \"{}\"", selected.join(", "), table.name);
            let mut rows = sqlx::query(AssertSqlSafe(text)).fetch(&mut **transaction);
            while let Some(row) = rows.try_next().await.map_err(self.failed("read all rows"))? {
                taker.row(&self.cells(&table, &row)?)?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn cells(&self, table: &Table, row: &AnyRow) -> Result<Vec<Cell>, Error> {
        let cell = |(at, (_, kind)): (usize, &(String, Kind))| {
            let text: Option<String> = row.try_get(at).map_err(self.failed("read all rows"))?;
            Ok(kind.cell(text))
        };
        table.columns.iter().enumerate().map(cell).collect()
    }

    async fn table_names(&self, transaction: &mut Transaction) -> Result<Vec<String>, Error> {
        let names = sqlx::query_scalar(self.database.tables()).fetch_all(&mut **transaction).await;
        let mut names: Vec<String> = names.map_err(self.failed("list its tables"))?;
        names.retain(|name| !name.starts_with("sqlite_"));
        names.sort_unstable();
        Ok(names)
    }

    /// The tables that are there, by name.
    pub(crate) async fn tables(&self, transaction: &mut Transaction) -> Result<Vec<Table>, Error> {
        let mut tables = Vec::new();
        for name in self.table_names(transaction).await? {
            let columns: Vec<(String, String)> = sqlx::query_as(self.database.columns())
                .bind(&name)
                .fetch_all(&mut **transaction)
                .await
                .map_err(self.failed("list its columns"))?;
            let columns = columns.into_iter().map(|(name, declared)| (name, Kind::of(&declared))).collect();
            tables.push(Table { name, columns });
        }
        Ok(tables)
    }

    /// The version of its schema.
    pub(crate) async fn schema_version(&self, transaction: &mut Transaction) -> Result<u64, Error> {
        let version: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(&mut **transaction)
            .await
            .map_err(self.failed("read its version"))?;
        Ok(version.unwrap_or(0) as u64)
    }
}
