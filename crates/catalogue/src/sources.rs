//! The ledger's rows: what is known of each source, with a version that changes with it.

use crate::{
    Catalogue, Cut, Error, IDS_A_STATEMENT, ROWS_A_STATEMENT, SourceWrite, Transaction, database::storable,
    query::Query,
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

    /// Stores the sources of a cut, many in a statement: a busy indexer has thousands of them. Returns one that is not at the
    /// version that the caller had read, if there is one.
    pub(crate) async fn write_sources(
        &self,
        transaction: &mut Transaction,
        cut: &Cut,
        now: Timestamp,
    ) -> Result<Option<SourceId>, Error> {
        let (new, known): (Vec<&SourceWrite>, Vec<&SourceWrite>) =
            cut.sources.iter().partition(|write| write.expected_version.is_none());
        for (writes, statement) in [(new, INSERT), (known, UPDATE)] {
            for some in writes.chunks(ROWS_A_STATEMENT) {
                let query = self.write_query(statement, cut, some, now)?;
                let written = query.build().execute(&mut **transaction).await;
                if written.map_err(self.failed("store sources"))?.rows_affected() < some.len() as u64 {
                    return self.stale_source(transaction, cut, some).await.map(Some);
                }
            }
        }
        Ok(None)
    }

    fn write_query(
        &self,
        (before, after): (&str, &str),
        cut: &Cut,
        writes: &[&SourceWrite],
        now: Timestamp,
    ) -> Result<Query, Error> {
        let mut query = Query::new(before);
        for (at, SourceWrite { id, partition, expected_version, state }) in writes.iter().enumerate() {
            let open = state.open.as_ref();
            query.push(if at == 0 { "" } else { ", " });
            query.push_row([
                cut.group.as_str().into(),
                id.to_string().into(),
                (expected_version.map_or(1, |version| version + 1) as i64).into(),
                cut.topic.as_str().into(),
                i64::from(partition.0).into(),
                state.close.is_some().into(),
                open.map(|open| storable(&open.kind)).into(),
                open.map(|open| storable(&open.path)).into(),
                open.map(|open| storable(&open.host)).into(),
                serde_json::to_string(state).map_err(self.unreadable("a source's state"))?.into(),
                now.0.into(),
            ]);
        }
        query.push(after);
        Ok(query)
    }

    /// One of these, not all of which could be written, that stands in the way.
    async fn stale_source(
        &self,
        transaction: &mut Transaction,
        cut: &Cut,
        writes: &[&SourceWrite],
    ) -> Result<SourceId, Error> {
        let mut query = select_sources(&cut.group);
        query.push_in(" AND id", writes.iter().map(|write| write.id.to_string()));
        let mut stored = Vec::new();
        self.read_sources(transaction, query, &mut stored).await?;
        let is_ours = |write: &SourceWrite| {
            let version = write.expected_version.map_or(1, |version| version + 1);
            stored.iter().any(|stored| {
                stored.id == write.id && stored.version == version && stored.state == write.state
            })
        };
        Ok(writes.iter().find(|write| !is_ours(write)).unwrap_or(&writes[0]).id)
    }
}

/// What stands before and after the rows of new sources.
const INSERT: (&str, &str) = (
    "INSERT INTO sources (consumer_group, id, version, topic, partition, closed, kind, path, host, state, updated_ns) \
     VALUES ",
    " ON CONFLICT (consumer_group, id) DO NOTHING",
);
/// What stands before and after the rows of known sources. Both databases name the columns of `VALUES` so.
const UPDATE: (&str, &str) = (
    "UPDATE sources SET version = v.column3, topic = v.column4, partition = v.column5, closed = v.column6, \
     kind = v.column7, path = v.column8, host = v.column9, state = v.column10, updated_ns = v.column11 FROM (VALUES ",
    ") AS v WHERE sources.consumer_group = v.column1 AND sources.id = v.column2 AND sources.version = v.column3 - 1",
);

fn select_sources(group: &str) -> Query {
    let mut query =
        Query::new("SELECT id, topic, partition, version, state FROM sources WHERE consumer_group = ");
    query.bind(group);
    query
}
