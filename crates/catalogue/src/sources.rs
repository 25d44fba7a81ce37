//! The ledger's rows: what is known of each source, with a version that changes with it.

use crate::{
    Catalogue, Cut, Error, IDS_A_STATEMENT, SourceWrite, Transaction, database::storable, query::Query,
};
use millrace_ledger::SourceState;
use millrace_model::{Partition, SourceId, Timestamp};
use sqlx::FromRow;

/// A source with its version.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSource {
    /// The source.
    pub id: SourceId,
    /// The topic that it came through last.
    pub topic: String,
    /// The partition that it came through last.
    pub partition: Partition,
    /// Rises by one with each change; begins at 1.
    pub version: u64,
    /// What is known of it.
    pub state: SourceState,
}

/// What a source is called, without all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLabel {
    /// The source.
    pub id: SourceId,
    /// `file`, `journald`, …; `None` until its first message came, as for the two below.
    pub kind: Option<String>,
    /// The path or the journal's directory.
    pub path: Option<String>,
    /// The host that it lies on.
    pub host: Option<String>,
    /// Has it ended?
    pub closed: bool,
}

#[derive(FromRow)]
struct Stored {
    id: String,
    topic: String,
    partition: i32,
    version: i64,
    state: String,
}

#[derive(FromRow)]
struct StoredLabel {
    id: String,
    kind: Option<String>,
    path: Option<String>,
    host: Option<String>,
    closed: i64,
}

impl Catalogue {
    /// Those of `ids` that are known, in no particular order.
    pub async fn sources(&self, group: &str, ids: &[SourceId]) -> Result<Vec<StoredSource>, Error> {
        let mut transaction = self.begin_read("read sources").await?;
        let mut sources = Vec::with_capacity(ids.len());
        for some in ids.chunks(IDS_A_STATEMENT) {
            let mut query = select_sources(group);
            query.push_in(" AND id", some.iter().map(SourceId::to_string));
            self.read_sources(&mut transaction, query, &mut sources).await?;
        }
        Ok(sources)
    }

    /// All sources of a group, by id: for the audit.
    pub async fn all_sources(&self, group: &str) -> Result<Vec<StoredSource>, Error> {
        let mut transaction = self.begin_read("read sources").await?;
        let mut query = select_sources(group);
        query.push(" ORDER BY id");
        let mut sources = Vec::new();
        self.read_sources(&mut transaction, query, &mut sources).await?;
        Ok(sources)
    }

    /// The first `most` sources after this one, by id: for going through all of them, not as of one instant.
    pub async fn sources_after(
        &self,
        group: &str,
        after: Option<SourceId>,
        most: u32,
    ) -> Result<Vec<StoredSource>, Error> {
        let mut transaction = self.begin_read("read sources").await?;
        let mut query = select_sources(group);
        if let Some(after) = after {
            query.push(" AND id > ").bind(after.to_string());
        }
        query.push(" ORDER BY id LIMIT ").bind(i64::from(most));
        let mut sources = Vec::new();
        self.read_sources(&mut transaction, query, &mut sources).await?;
        Ok(sources)
    }

    /// What all sources of a group are called, by id: for choosing some of them.
    pub async fn source_labels(&self, group: &str) -> Result<Vec<SourceLabel>, Error> {
        let rows: Vec<StoredLabel> = sqlx::query_as(
            "SELECT id, kind, path, host, CASE WHEN closed THEN 1 ELSE 0 END AS closed FROM sources \
             WHERE consumer_group = $1 ORDER BY id",
        )
        .bind(group)
        .fetch_all(&self.readers)
        .await
        .map_err(self.failed("read sources"))?;
        rows.into_iter()
            .map(|StoredLabel { id, kind, path, host, closed }| {
                let id = id.parse().map_err(self.unreadable("a source's id"))?;
                Ok(SourceLabel { id, kind, path, host, closed: closed != 0 })
            })
            .collect()
    }

    async fn read_sources(
        &self,
        transaction: &mut Transaction,
        query: Query,
        into: &mut Vec<StoredSource>,
    ) -> Result<(), Error> {
        let rows: Vec<Stored> =
            query.build_as().fetch_all(&mut **transaction).await.map_err(self.failed("read sources"))?;
        for Stored { id, topic, partition, version, state } in rows {
            into.push(StoredSource {
                id: id.parse().map_err(self.unreadable("a source's id"))?,
                topic,
                partition: Partition(partition),
                version: version as u64,
                state: serde_json::from_str(&state).map_err(self.unreadable("a source's state"))?,
            });
        }
        Ok(())
    }

    /// `false`: the source is not at the version that the caller had read.
    pub(crate) async fn write_source(
        &self,
        transaction: &mut Transaction,
        cut: &Cut,
        write: &SourceWrite,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let SourceWrite { id, partition, expected_version, state } = write;
        let statement = match expected_version {
            None => {
                "INSERT INTO sources (consumer_group, id, version, topic, partition, closed, kind, path, host, state, \
                 updated_ns) VALUES ($1, $2, $3 + 1, $4, $5, $6, $7, $8, $9, $10, $11) \
                 ON CONFLICT (consumer_group, id) DO NOTHING"
            }
            Some(_) => {
                "UPDATE sources SET version = version + 1, topic = $4, partition = $5, closed = $6, kind = $7, \
                 path = $8, host = $9, state = $10, updated_ns = $11 \
                 WHERE consumer_group = $1 AND id = $2 AND version = $3"
            }
        };
        let open = state.open.as_ref();
        let written = sqlx::query(statement)
            .bind(&cut.group)
            .bind(id.to_string())
            .bind(expected_version.unwrap_or(0) as i64)
            .bind(&cut.topic)
            .bind(partition.0)
            .bind(state.close.is_some())
            .bind(open.map(|open| storable(&open.kind)))
            .bind(open.map(|open| storable(&open.path)))
            .bind(open.map(|open| storable(&open.host)))
            .bind(serde_json::to_string(state).map_err(self.unreadable("a source's state"))?)
            .bind(now.0)
            .execute(&mut **transaction)
            .await
            .map_err(self.failed("store a source"))?;
        Ok(written.rows_affected() == 1)
    }
}

fn select_sources(group: &str) -> Query {
    let mut query =
        Query::new("SELECT id, topic, partition, version, state FROM sources WHERE consumer_group = ");
    query.bind(group);
    query
}
