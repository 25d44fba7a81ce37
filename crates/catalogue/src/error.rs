//! What can go wrong with the catalogue, and what each outcome of a publish means to its caller.

use millrace_model::{Partition, ShardId, SourceId};
use std::path::PathBuf;

/// The catalogue could not do what it was asked. Nothing was changed, unless the variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The url names no kind of database that is supported. Only its scheme is repeated: a url may hold a password.
    #[error(
        "unsupported catalogue url scheme {scheme:?}; expected sqlite:///absolute/path, sqlite://relative/path or \
         postgres://user@host/database"
    )]
    Scheme {
        /// What stands before the colon.
        scheme: String,
    },
    /// The scheme is right, the rest is not. The url is not repeated: it may hold a password.
    #[error("bad catalogue url: {problem}")]
    Url {
        /// What is wrong with it.
        problem: String,
    },
    /// The database's folder is not there and cannot be made.
    #[error("cannot create the catalogue's folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be opened or created, or the server cannot be reached.
    #[error("cannot open the catalogue {place}")]
    Open {
        /// The catalogue's file or address.
        place: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The file is no database, or a damaged one.
    #[error("the catalogue {place} is damaged or is not a database: {mend}")]
    Damaged {
        /// The catalogue's file or address.
        place: String,
        /// What can be done about it.
        mend: &'static str,
        /// What the database says.
        source: sqlx::Error,
    },
    /// Where the catalogue's files are to lie, something else does.
    #[error(
        "{} is no file: move it away; if the catalogue is gone, `millrace catalogue rebuild` makes it again", path.display()
    )]
    NoFile {
        /// What lies there.
        path: PathBuf,
    },
    /// There is nothing to read.
    #[error("there is no catalogue {place}")]
    Absent {
        /// The catalogue's file.
        place: String,
    },
    /// The database belongs to something else.
    #[error("{place} is a database, but not a catalogue")]
    Foreign {
        /// The catalogue's file or address.
        place: String,
    },
    /// A newer program has written the database.
    #[error(
        "the catalogue {place} has schema version {found}, this program knows versions up to {known}; use the newer program, or its \
         `millrace catalogue downgrade`"
    )]
    Newer {
        /// The catalogue's file or address.
        place: String,
        /// The version that it has.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The schema is not taken back to an earlier version. Nothing was changed.
    #[error("the schema of the catalogue {place} cannot be taken back to version {to}: {problem}")]
    NoWayBack {
        /// The catalogue's file or address.
        place: String,
        /// The version that was wanted.
        to: i64,
        /// Why not.
        problem: String,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot change the schema of the catalogue {place}")]
    Migrate {
        /// The catalogue's file or address.
        place: String,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// Other writers held the database for longer than is waited for. Worth another try.
    #[error("the catalogue {place} stayed locked while trying to {action}")]
    Busy {
        /// The catalogue's file or address.
        place: String,
        /// What was wanted.
        action: &'static str,
        /// What the database says.
        source: sqlx::Error,
    },
    /// A statement failed: a full disk, an I/O error. If it was the commit, the outcome is unknown.
    #[error("cannot {action} in the catalogue {place}")]
    Statement {
        /// The catalogue's file or address.
        place: String,
        /// What was wanted.
        action: &'static str,
        /// Why not.
        source: sqlx::Error,
    },
    /// A row holds something that this program never writes.
    #[error("{what} in the catalogue {place} cannot be read: {problem}")]
    Stored {
        /// The catalogue's file or address.
        place: String,
        /// Which column.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A document has another version than the writer expected.
    #[error("document {kind}/{key} has version {found:?}, expected {expected:?}")]
    Conflict {
        /// The document's kind.
        kind: String,
        /// Its key.
        key: String,
        /// The version that the writer had read; `None`: no such document.
        expected: Option<u64>,
        /// The version that is there.
        found: Option<u64>,
    },
    /// The shard was sealed too long ago: its bundle may be gone. Seal it anew.
    #[error("shard {shard} was sealed too long ago to be published now")]
    Stale {
        /// The first such shard.
        shard: ShardId,
    },
    /// The stream is on hold: nothing in it may end.
    #[error("stream {stream} is on hold: nothing in it may be deleted")]
    Held {
        /// The stream.
        stream: String,
    },
    /// The caller's request contradicts itself: a bug of the caller, never worth another try.
    #[error("the cut contradicts itself: {0}")]
    Cut(String),
}

/// Shards were not replaced. Except after [`Failed`](Self::Failed) from the commit itself, nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// A shard that was to be removed is not live: it has expired, was replaced by another, or never was one of this
    /// group. The bundles of the added shards may be deleted.
    #[error("shard {shard} is not there any more: nothing was replaced")]
    Gone {
        /// The first such shard.
        shard: ShardId,
    },
    /// Records would be lost, or come twice.
    #[error(
        "{removed} records would be replaced by {added}, with {deleted} left out on purpose: nothing was replaced"
    )]
    Records {
        /// How many the removed shards hold.
        removed: u128,
        /// How many the added shards hold.
        added: u128,
        /// How many are left out on purpose.
        deleted: u64,
    },
    /// The shards are not all of one stream.
    #[error("shard {shard} is of another stream: nothing was replaced")]
    Stream {
        /// The first that is of another stream than the rest.
        shard: ShardId,
    },
    /// The replacement is wrong in itself: a bug of whoever made it, never worth another try.
    #[error("the replacement contradicts itself: {problem}")]
    Contradiction {
        /// How.
        problem: String,
    },
    /// An added shard is in the catalogue already: this replacement has happened before. **Its bundle must not be
    /// deleted.**
    #[error("shard {shard} was added before: nothing was replaced now")]
    Duplicate {
        /// The first such shard.
        shard: ShardId,
    },
    /// The catalogue itself failed. A commit whose answer was lost may have happened: before bundles are deleted the
    /// same replacement is tried again, until the answer is another one than this.
    #[error("the shards were not replaced")]
    Failed(#[from] Error),
}

/// A cut was not published. Except after [`Failed`](Self::Failed) from the commit itself, nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Another owner has the partition, or has moved it: the caller is a zombie there.
    #[error("partition {partition} is owned by another by now, or was moved: nothing was published")]
    Fenced {
        /// The first such partition.
        partition: Partition,
    },
    /// A source is not at the version that the caller had read.
    #[error("source {source_id} was changed by another: nothing was published")]
    Conflict {
        /// The first such source.
        source_id: SourceId,
    },
    /// The shard is in the catalogue already, by an earlier publish: **its bundle must not be deleted**.
    #[error("shard {shard} was published before: nothing was published now")]
    Duplicate {
        /// The first such shard.
        shard: ShardId,
    },
    /// The catalogue itself failed, or a document has another version ([`Error::Conflict`]). Whoever means to delete
    /// bundles after this asks [`known_shards`](crate::Catalogue::known_shards) first: a commit whose answer was lost
    /// may have happened.
    #[error("the cut was not published")]
    Failed(#[from] Error),
}
