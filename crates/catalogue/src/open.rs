//! From a url to an open database: the file and its folder, the pragmas, the schema.

use crate::{Catalogue, Error};
use millrace_model::Clock;
use sqlx::{
    Connection, Row, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long other processes are waited for: half a minute, which no transaction of ours takes.
const PATIENCE: Patience = Patience { busy: Duration::from_secs(5), attempts: 6 };
/// How long a caller waits for this process's own writers, or for a free reader.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);
/// Connections that read at once.
const READERS: u32 = 4;
/// How often the first connection is tried while other processes open the same new file.
const OPEN_ATTEMPTS: u32 = 100;
/// Between two such tries: switching a new file to WAL does not wait by itself.
const OPEN_PAUSE: Duration = Duration::from_millis(50);
/// What the write-ahead log shrinks back to once its content has been folded in.
const WAL_BYTES: &str = "67108864";

/// `SQLite`'s codes, without their extended parts.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
pub(crate) const CORRUPT: i32 = 11;
pub(crate) const NOT_A_DATABASE: i32 = 26;

/// How long another process that holds the write lock is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// By `SQLite` itself, each time.
    pub(crate) busy: Duration,
    /// How often a transaction is begun before its caller is told.
    pub(crate) attempts: u32,
}

impl Catalogue {
    /// Opens the catalogue at `url` (`sqlite:///absolute/path`, `sqlite://relative/path`), creating the file and its
    /// folder if they are not there, and brings its schema up to date. Every process may do so at the same time.
    ///
    /// # Errors
    /// A url of another kind, a path that cannot be opened or created, a file that is no database or not ours, a schema
    /// newer than this program. Each names the path.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::open_with(url, clock, PATIENCE).await
    }

    pub(crate) async fn open_with(
        url: &str,
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Result<Self, Error> {
        let path = path_of(url)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        }
        let writer = open_writer(&path, patience).await?;
        let read = options(&path, patience).pragma("query_only", "ON");
        let readers = pool(READERS).connect_lazy_with(read);
        let refused_aliases = Arc::default();
        Ok(Self { path: Arc::new(path), writer, readers, patience, clock, refused_aliases })
    }
}

fn path_of(url: &str) -> Result<PathBuf, Error> {
    let scheme = url.split(':').next().filter(|scheme| scheme.len() < url.len()).unwrap_or_default();
    if scheme != "sqlite" {
        return Err(Error::Scheme { scheme: scheme.to_owned() });
    }
    let bad = |problem| Error::Url { url: url.to_owned(), problem };
    let path = url.strip_prefix("sqlite://").ok_or_else(|| bad("expected // after sqlite:"))?;
    if path.is_empty() || path.ends_with('/') {
        return Err(bad("it names no file"));
    }
    if path.contains('?') {
        return Err(bad("options are not understood here"));
    }
    Ok(PathBuf::from(path))
}

fn options(path: &Path, patience: Patience) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(patience.busy)
        .pragma("journal_size_limit", WAL_BYTES)
}

/// A connection whose transaction could not be ended is not used again: `SQLite` ends one by itself when the disk is full,
/// and what keeps the count of open transactions does not learn of it.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| {
            Box::pin(async move {
                // Answers only after a rollback that is on its way.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
}

async fn open_writer(path: &Path, patience: Patience) -> Result<SqlitePool, Error> {
    let mut attempt = 1;
    loop {
        match try_open_writer(path, patience).await {
            Err(Error::Busy { .. }) if attempt < OPEN_ATTEMPTS => attempt += 1,
            done => return done,
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

async fn try_open_writer(path: &Path, patience: Patience) -> Result<SqlitePool, Error> {
    let failed = |source: sqlx::Error| {
        let path = path.to_owned();
        match code(&source) {
            _ if is_busy(&source) => Error::Busy { path, action: "open it", source },
            Some(CORRUPT | NOT_A_DATABASE) => Error::Damaged { path, source },
            _ => Error::Open { path, source },
        }
    };
    let write = options(path, patience).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let writer = pool(1).connect_with(write).await.map_err(failed)?;
    // Under the write lock, so that of many processes that open a new file one makes the tables.
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    migrate(path, &mut transaction, &failed).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(writer)
}

async fn migrate(
    path: &Path,
    connection: &mut SqliteConnection,
    failed: &impl Fn(sqlx::Error) -> Error,
) -> Result<(), Error> {
    let tables = sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let ours = tables.iter().any(|row| row.get::<&str, _>(0) == "_sqlx_migrations");
    if !tables.is_empty() && !ours {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    if ours {
        let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
        if let Some(found) = found.filter(|found| *found > known) {
            return Err(Error::Newer { path: path.to_owned(), found, known });
        }
    }
    // `run` is this over anything that yields a connection, which keeps the compiler from seeing that it is `Send`.
    MIGRATIONS
        .run_direct(None, connection, false)
        .await
        .map_err(|source| Error::Migrate { path: path.to_owned(), source })
}

/// `SQLite`'s primary result code.
pub(crate) fn code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

/// Did another connection hold the lock for longer than `SQLite` waits?
pub(crate) fn is_locked(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(BUSY | LOCKED))
}

/// Did somebody else hold what was wanted, so that trying again may help?
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    is_locked(error) || matches!(error, sqlx::Error::PoolTimedOut)
}
