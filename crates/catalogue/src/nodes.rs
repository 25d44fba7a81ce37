//! Who is alive: each process says so every few seconds, and when it ends; readers find the leaves by it.

use crate::{Catalogue, Error, Transaction};
use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use std::time::Duration;

/// How long after its last heartbeat a node still counts as alive.
pub const NODE_TTL: Duration = Duration::from_secs(10);
/// How long a silent node's row is kept.
const NODE_KEPT: Duration = Duration::from_hours(24);

/// A process that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, unique among those alive.
    pub id: String,
    /// `indexer`, `query`, …
    pub role: String,
    /// Where it answers, if it does.
    pub address: Option<String>,
    /// The program's version.
    pub version: String,
    /// When it last said so.
    pub seen: Timestamp,
}

#[derive(FromRow)]
struct Stored {
    id: String,
    role: String,
    address: Option<String>,
    version: String,
    seen_ns: i64,
}

impl Catalogue {
    /// Says that `node` is alive. Rows of nodes that have been silent for a day go away.
    pub async fn heartbeat(&self, node: &Node) -> Result<(), Error> {
        let failed = self.failed("store a heartbeat");
        let mut transaction = self.begin("store a heartbeat").await?;
        sqlx::query(
            "INSERT INTO nodes (id, role, address, version, seen_ns) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET role = excluded.role, address = excluded.address, \
             version = excluded.version, seen_ns = excluded.seen_ns",
        )
        .bind(&node.id)
        .bind(&node.role)
        .bind(&node.address)
        .bind(&node.version)
        .bind(node.seen.0)
        .execute(&mut *transaction)
        .await
        .map_err(&failed)?;
        sqlx::query("DELETE FROM nodes WHERE seen_ns < $1")
            .bind(node.seen.minus(NODE_KEPT).0)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// Says that a node has ended in good order: nobody waits for its answers any more.
    pub async fn farewell(&self, node: &str) -> Result<(), Error> {
        let failed = self.failed("forget a node");
        let mut transaction = self.begin("forget a node").await?;
        sqlx::query("DELETE FROM nodes WHERE id = $1")
            .bind(node)
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(failed)
    }

    /// The nodes that were heard of at or after `live_since`, by id.
    pub async fn nodes(&self, live_since: Timestamp) -> Result<Vec<Node>, Error> {
        let mut transaction = self.begin_read("read nodes").await?;
        self.live_nodes(&mut transaction, live_since).await
    }

    pub(crate) async fn live_nodes(
        &self,
        transaction: &mut Transaction,
        live_since: Timestamp,
    ) -> Result<Vec<Node>, Error> {
        let rows: Vec<Stored> =
            sqlx::query_as("SELECT id, role, address, version, seen_ns FROM nodes WHERE seen_ns >= $1")
                .bind(live_since.0)
                .fetch_all(&mut **transaction)
                .await
                .map_err(self.failed("read nodes"))?;
        let mut nodes: Vec<Node> = rows
            .into_iter()
            .map(|Stored { id, role, address, version, seen_ns }| Node {
                id,
                role,
                address,
                version,
                seen: Timestamp(seen_ns),
            })
            .collect();
        nodes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(nodes)
    }
}
