//! The schema, back to each earlier version and up again.

use super::{Bed, clock, everything, restoring::fill};
use crate::{Catalogue, Error, NODE_TTL, database::Database, open::MIGRATIONS, tables::Table};
use sqlx::{AnyConnection, Connection};
use std::time::Duration;

/// Tables with their columns, and indexes: what a version is known by.
async fn schema(url: &str) -> (Vec<Table>, Vec<String>) {
    let catalogue = Catalogue::open_to_read(url, clock()).await.unwrap();
    let mut transaction = catalogue.begin_read("look at its schema").await.unwrap();
    let mut tables = catalogue.tables(&mut transaction).await.unwrap();
    for table in &mut tables {
        table.columns.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let indexes = match catalogue.database {
        Database::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY name",
        Database::Postgres => {
            "SELECT CAST(indexname AS TEXT) FROM pg_indexes WHERE schemaname = current_schema() ORDER BY indexname"
        }
    };
    let indexes = sqlx::query_scalar(indexes).fetch_all(&mut *transaction).await.unwrap();
    drop(transaction);
    catalogue.close().await;
    (tables, indexes)
}

/// `url` is that of a database with nothing in it.
pub(crate) async fn every_version_can_be_gone_back_to(url: &str) {
    sqlx::any::install_default_drivers();
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap();
    let mut schemas = Vec::new();
    let to_create = if url.starts_with("sqlite:") { format!("{url}?mode=rwc") } else { url.to_owned() };
    let mut connection = AnyConnection::connect(&to_create).await.unwrap();
    for version in 1..=newest {
        MIGRATIONS.run_direct(Some(version), &mut connection, false).await.unwrap();
        schemas.push(schema(url).await);
    }
    connection.close().await.unwrap();

    let clock = clock();
    let open = || Catalogue::open(url, clock.clone());
    let bed = Bed { first: open().await.unwrap(), second: open().await.unwrap(), clock: clock.clone() };
    fill(&bed).await;
    let refused = async |to: i64, why: &str| {
        let error = Catalogue::take_back(url, to, clock.clone()).await.unwrap_err();
        assert!(matches!(error, Error::NoWayBack { .. }), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(schema(url).await, schemas[newest as usize - 1]);
    };
    refused(1, "1 nodes are running").await;
    clock.advance(NODE_TTL + Duration::from_secs(1));
    refused(2, "1 deletions are not done yet").await;
    let ended = "UPDATE deletions SET purged_ns = 1";
    sqlx::raw_sql(ended).execute(&bed.first.writer).await.unwrap();
    refused(2, "1 streams are on hold").await;
    sqlx::raw_sql("DELETE FROM holds").execute(&bed.first.writer).await.unwrap();
    refused(8, "1 tokens are kept").await;
    bed.first.delete_token("grafana").await.unwrap();
    refused(7, "1 documents that clients wrote").await;
    sqlx::raw_sql("DELETE FROM collection_documents").execute(&bed.first.writer).await.unwrap();
    refused(4, "1 holes in the topic are known").await;
    sqlx::raw_sql("DELETE FROM holes").execute(&bed.first.writer).await.unwrap();
    for to in [-1, 0, newest, newest + 1] {
        refused(to, &format!("it has version {newest}")).await;
    }

    let before = everything(&bed.first).await;
    bed.first.close().await;
    bed.second.close().await;
    for version in (1..newest).rev() {
        assert_eq!(Catalogue::take_back(url, version, clock.clone()).await.unwrap(), version + 1);
        assert_eq!(schema(url).await, schemas[version as usize - 1], "version {version}");
    }
    let after = everything(&open().await.unwrap()).await;
    let ids =
        |all: &super::Everything| -> Vec<_> { all.snapshot.shards.iter().map(|shard| shard.id).collect() };
    assert_eq!(ids(&after), ids(&before));
    assert_eq!(after.snapshot.partitions, before.snapshot.partitions);
    assert_eq!((after.hidden.len(), after.aliases), (before.hidden.len(), Vec::new()));
    assert_eq!((after.sources, after.trail), (before.sources, before.trail));
    assert_eq!((after.alerts, after.documents), (before.alerts, before.documents));
    // What is still to be sent is sent; what it is about, no earlier version knew.
    let due = |mut all: Vec<crate::DueNotification>| {
        for due in &mut all {
            (due.notification.about, due.notification.sequence) = (String::new(), 0);
        }
        all
    };
    assert_eq!(due(after.due), due(before.due));

    // In one step, too.
    assert_eq!(Catalogue::take_back(url, 1, clock).await.unwrap(), newest);
    assert_eq!(schema(url).await, schemas[0]);
}
