//! From a url to an open catalogue: connections, what each is set to, the schema.

mod postgres;
mod sqlite;

use crate::{
    Catalogue, Error,
    database::{Database, Lock, Meaning},
};
use millrace_model::Clock;
use sqlx::{
    AnyConnection, AnyPool, Connection,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::Migrator,
};
use std::{sync::Arc, time::Duration};

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long other processes are waited for: half a minute, which no transaction of ours takes.
pub(crate) const PATIENCE: Patience = Patience { busy: Duration::from_secs(5), attempts: 6 };

/// How long another process that holds the write lock is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// By the database itself, each time.
    pub(crate) busy: Duration,
    /// How often a transaction is begun before its caller is told.
    pub(crate) attempts: u32,
}

/// What a catalogue is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// All there is: it is created if it is not there, and its schema brought up to date.
    Work,
    /// Reading alone.
    Read,
}

/// A database that is connected to, its schema up to date.
struct Opened {
    place: String,
    database: Database,
    writer: AnyPool,
    readers: AnyPool,
}

impl Catalogue {
    /// Opens the catalogue at `url` and brings its schema up to date. Every process may do so at the same time.
    ///
    /// `sqlite:///absolute/path` or `sqlite://relative/path`: the file and its folder are created if they are not there.
    /// `postgres://user:password@host:port/database`, with the parameters of libpq (`?sslmode=verify-full`,
    /// `?options[search_path]=millrace`): the database must be there, and hold nothing else in that schema.
    ///
    /// # Errors
    /// A url of another kind, a path that cannot be opened or created, a server that cannot be reached, a database that is
    /// not ours, a schema newer than this program. Each names the place, without a password.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        Self::open_with(url, clock, PATIENCE).await
    }

    pub(crate) async fn open_with(
        url: &str,
        clock: Arc<dyn Clock>,
        patience: Patience,
    ) -> Result<Self, Error> {
        Self::open_as(url, clock, patience, Purpose::Work).await
    }

    pub(crate) async fn open_as(
        url: &str,
        clock: Arc<dyn Clock>,
        patience: Patience,
        purpose: Purpose,
    ) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let scheme = url.split(':').next().filter(|scheme| scheme.len() < url.len()).unwrap_or_default();
        let Opened { place, database, writer, readers } = match scheme {
            "sqlite" => sqlite::open(url, patience, purpose).await?,
            "postgres" | "postgresql" => postgres::open(url, patience, purpose).await?,
            other => return Err(Error::Scheme { scheme: other.to_owned() }),
        };
        let refused_aliases = Arc::default();
        Ok(Self { place: place.into(), database, writer, readers, patience, clock, refused_aliases })
    }
}

fn bad_url(problem: impl Into<String>) -> Error {
    Error::Url { problem: problem.into() }
}

/// What each connection begins with.
type Session = Arc<str>;

/// Connects to what is there, or says why not, and brings the schema up to date, in one transaction: of many processes that
/// open a new database one makes the tables.
///
/// Not by a pool: that tries again, for as long as a caller may wait, what will never work.
async fn migrate(
    place: &str,
    database: Database,
    options: &AnyConnectOptions,
    session: &Session,
) -> Result<(), Error> {
    let failed = opening(place, database);
    let mut connection = AnyConnection::connect_with(options).await.map_err(&failed)?;
    begin_session(&mut connection, session).await.map_err(&failed)?;
    let mut transaction = connection.begin_with(database.begin()).await.map_err(&failed)?;
    database.lock(&mut transaction, Lock::Schema).await.map_err(&failed)?;
    let tables: Vec<String> =
        sqlx::query_scalar(database.tables()).fetch_all(&mut *transaction).await.map_err(&failed)?;
    let ours = tables.iter().any(|name| name == "_sqlx_migrations");
    if !tables.is_empty() && !ours {
        return Err(Error::Foreign { place: place.to_owned() });
    }
    if ours {
        refuse_newer(place, &mut transaction, &failed).await?;
    }
    // `run` is this over anything that yields a connection, which keeps the compiler from seeing that it is `Send`.
    MIGRATIONS
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|source| Error::Migrate { place: place.to_owned(), source })?;
    transaction.commit().await.map_err(&failed)?;
    connection.close().await.map_err(failed)
}

async fn begin_session(connection: &mut AnyConnection, session: &Session) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(session.to_string())).execute(connection).await.map(drop)
}

/// A connection whose transaction could not be ended is not used again: `SQLite` ends one by itself when the disk is full,
/// and what keeps the count of open transactions does not learn of it.
fn pool(connections: u32, acquire_timeout: Duration, session: Session) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(acquire_timeout)
        .after_connect(move |connection, _| {
            let session = Arc::clone(&session);
            Box::pin(async move { begin_session(connection, &session).await })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // Answers only after a rollback that is on its way.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
}

async fn refuse_newer(
    place: &str,
    connection: &mut AnyConnection,
    failed: &impl Fn(sqlx::Error) -> Error,
) -> Result<(), Error> {
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match found.filter(|found| *found > known) {
        Some(found) => Err(Error::Newer { place: place.to_owned(), found, known }),
        None => Ok(()),
    }
}

/// What an error becomes while a database is opened.
fn opening(place: &str, database: Database) -> impl Fn(sqlx::Error) -> Error {
    move |source| {
        let place = place.to_owned();
        match database.meaning(&source) {
            Meaning::Busy => Error::Busy { place, action: "open it", source },
            Meaning::Damaged => Error::Damaged { place, mend: database.mend(), source },
            Meaning::Other => Error::Open { place, source },
        }
    }
}
