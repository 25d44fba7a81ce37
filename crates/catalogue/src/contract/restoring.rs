//! All that a catalogue holds, given out and taken back.

use super::{
    Bed, GROUP, TOPIC, access, alert, collections, cut, everything,
    merging::{publish, replacement},
    notification, own, reprocessing, step, triage, wanted,
};
use crate::{
    AlertState, Alias, Amount, Brought, Cell, Day, DeletionRequest, DocumentWrite, Node, RestoreError,
    SnapshotError, SnapshotLine, TakeRows, read_snapshot,
};
use millrace_model::{Clock, Partition, StreamName, TimeRange};
use std::{collections::BTreeMap, path::Path, time::Duration};

/// Something in every table.
pub(crate) async fn fill(bed: &Bed) {
    let mut owned = own(&bed.first, 0, "a").await;
    let merge = replacement(&publish(&bed.first, &mut owned, &[10, 25]).await);
    bed.first.replace(&merge).await.unwrap();
    let mut full = cut(step(&owned, 30));
    full.alerts = vec![alert("brute", AlertState::Firing)];
    full.notifications = vec![notification("brute/ops/firing", "brute", bed.clock.now())];
    full.aliases = vec![Alias { id: "00000000000000aa".to_owned(), mask: b"user \0 \xff left".to_vec() }];
    let (kind, key, body) = ("rule".to_owned(), "window".to_owned(), "{\"a\":\"\u{e9}'\\n\"}".to_owned());
    full.documents = vec![DocumentWrite { kind, key, expected_version: None, body }];
    let brought = Brought {
        day: Day::of(bed.clock.now()),
        partition: Partition(0),
        stream: StreamName::default(),
        host: "h".to_owned(),
    };
    full.traffic = [(brought, Amount { records: 1, bytes: 100, held_bytes: 7 })].into();
    bed.first.publish(&full).await.unwrap();
    let topic_id = |id| Some(millrace_model::TopicId(id));
    for id in [1, 2] {
        bed.first.acquire(GROUP, TOPIC, &[wanted(1, topic_id(id), 0)], "a").await.unwrap();
    }
    for low in [0, 5] {
        bed.first.acquire(GROUP, TOPIC, &[wanted(2, None, low)], "a").await.unwrap();
    }
    bed.first.lease("merge", "a", Duration::from_mins(1)).await.unwrap();
    let node = Node {
        id: "a".to_owned(),
        role: "indexer".to_owned(),
        address: None,
        version: "1".to_owned(),
        seen: bed.clock.now(),
    };
    bed.first.heartbeat(&node).await.unwrap();
    let request = DeletionRequest {
        group: GROUP.to_owned(),
        stream: StreamName::default(),
        filter: "user:ann".to_owned(),
        filter_sha256: "cd".repeat(32),
        range: TimeRange::ALL,
        reason: String::new(),
    };
    bed.first.request_deletion(&request).await.unwrap();
    bed.first.hold(GROUP, &StreamName::default(), "case 17").await.unwrap();
    bed.first.request_reprocessing(&reprocessing::everything_live()).await.unwrap().unwrap();
    collections::put(&bed.first, "state", "a", "{}").await;
    access::fill(bed).await;
    triage::fill(bed).await;
}

#[derive(Default)]
struct Rows {
    table: String,
    columns: Vec<String>,
    by_table: BTreeMap<String, Vec<BTreeMap<String, Cell>>>,
}

impl TakeRows for Rows {
    fn table(&mut self, name: &str, columns: &[&str]) -> std::io::Result<()> {
        name.clone_into(&mut self.table);
        self.columns = columns.iter().map(|column| (*column).to_owned()).collect();
        self.by_table.entry(self.table.clone()).or_default();
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> std::io::Result<()> {
        let row = self.columns.iter().cloned().zip(cells.iter().cloned()).collect();
        self.by_table.get_mut(&self.table).unwrap().push(row);
        Ok(())
    }
}

pub(crate) async fn every_row_of_every_table_is_given(bed: &Bed) {
    fill(bed).await;
    let mut rows = Rows::default();
    let count = bed.second.read_all(&mut rows).await.unwrap();
    assert_eq!(rows.by_table.values().map(Vec::len).sum::<usize>() as u64, count);
    let empty: Vec<&String> =
        rows.by_table.iter().filter(|(_, rows)| rows.is_empty()).map(|(name, _)| name).collect();
    assert!(empty.is_empty(), "{empty:?}");
    assert!(rows.by_table.len() >= 12, "{:?}", rows.by_table.keys());
    let shards = &rows.by_table["shards"];
    assert_eq!(shards.iter().filter(|row| row["replaced"] == Cell::Truth(true)).count(), 2);
    assert_eq!(shards.iter().filter(|row| row["expired_ns"] == Cell::Null).count(), 2);
    assert_eq!(rows.by_table["template_aliases"][0]["mask"], Cell::Bytes(b"user \0 \xff left".to_vec()));
    assert!(rows.by_table["partitions"].iter().any(|row| row["next_offset"] == Cell::Number(30)));
    let document = &rows.by_table["documents"][0];
    assert_eq!(document["body"], Cell::Text("{\"a\":\"\u{e9}'\\n\"}".to_owned()));
}

pub(crate) async fn a_snapshot_restores_what_was_there(bed: &Bed) {
    fill(bed).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.snapshot");
    let before = everything(&bed.first).await;
    let (head, rows) = bed.second.write_snapshot(&file).await.unwrap();
    assert_eq!(head.at, bed.clock.now());
    // What comes later is not in it.
    publish(&bed.first, &mut own(&bed.first, 7, "b").await, &[3]).await;

    let refused = bed.second.restore(&file, false).await.unwrap_err();
    assert!(matches!(refused, RestoreError::NotEmpty { .. }), "{refused:?}");
    let refused = bed.second.restore(&file, true).await.unwrap_err();
    assert!(matches!(&refused, RestoreError::InUse { node, .. } if node == "a"), "{refused:?}");
    assert_eq!(everything(&bed.first).await.snapshot.partitions.len(), 4, "nothing was changed");

    bed.clock.advance(Duration::from_mins(1));
    let restored = bed.second.restore(&file, true).await.unwrap();
    assert_eq!(restored.head, head);
    let mut after = everything(&bed.first).await;
    let ups =
        crate::open::MIGRATIONS.iter().filter(|migration| !migration.migration_type.is_down_migration());
    let migrations = ups.count() as u64;
    assert_eq!(restored.rows, rows - migrations - 2, "migrations, a lease and a node stay out");
    for (row, old) in after.snapshot.partitions.iter_mut().zip(&before.snapshot.partitions) {
        assert_eq!(row.owner_epoch, old.owner_epoch + 1_000_000, "older owners are fenced");
        row.owner_epoch = old.owner_epoch;
    }
    let nodes = before.snapshot.nodes.clone();
    assert_eq!((after.snapshot.nodes, nodes.len()), (vec![], 1));
    after.snapshot.nodes = nodes;
    // A minute has passed: everything is due.
    after.due.clone_from(&before.due);
    assert_eq!(after, before);
    // It goes on from there, and its trails with it.
    let owned = own(&bed.second, 0, "b").await;
    assert_eq!(owned.next_offset, Some(30));
    bed.second.publish(&cut(step(&owned, 35))).await.unwrap();
    assert_eq!(bed.second.verify(GROUP).await.unwrap().faults, []);
}

/// Written by the first program that wrote any, on `SQLite`: read for ever, on any database.
pub(crate) async fn a_snapshot_of_the_first_version_restores(bed: &Bed) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.snapshot");
    std::fs::write(&file, include_bytes!("../tests/version-1.snapshot")).unwrap();
    let restored = bed.first.restore(&file, false).await.unwrap();
    assert_eq!(restored.head.schema, 2);
    let found = everything(&bed.second).await;
    assert_eq!((found.snapshot.shards.len(), found.sources.len(), found.trail.len()), (2, 3, 5));
    assert_eq!(
        found.aliases,
        [Alias { id: "00000000000000aa".to_owned(), mask: b"user \0 \xff left".to_vec() }]
    );
    assert_eq!((found.alerts.len(), found.hidden.len(), found.documents.len()), (1, 2, 1));
    assert_eq!(bed.second.verify(GROUP).await.unwrap().faults, []);
}

pub(crate) async fn a_snapshot_that_is_not_whole_restores_nothing(bed: &Bed) {
    fill(bed).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.snapshot");
    bed.first.write_snapshot(&file).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let plain = zstd::decode_all(whole.as_slice()).unwrap();
    let refused = async |bytes: &[u8], why: &str| {
        std::fs::write(&file, bytes).unwrap();
        bed.clock.advance(Duration::from_mins(1));
        let before = everything(&bed.first).await;
        let error = bed.second.restore(&file, true).await.unwrap_err();
        assert!(matches!(error, RestoreError::Snapshot(_)), "{why}: {error:?}");
        assert_eq!(everything(&bed.first).await, before, "{why}");
    };
    refused(&whole[..whole.len() - 9], "cut short").await;
    refused(b"something else", "no snapshot").await;
    let pack = |plain: &[u8]| zstd::encode_all(plain, 1).unwrap();
    let lines: Vec<&[u8]> = plain.split_inclusive(|byte| *byte == b'\n').collect();
    refused(&pack(&lines[..lines.len() - 1].concat()), "without its end").await;
    let mut without_a_row = lines.clone();
    without_a_row.remove(2);
    refused(&pack(&without_a_row.concat()), "without a row").await;
    let changed = String::from_utf8(plain.clone()).unwrap().replacen("Many failed", "Some failed", 1);
    refused(&pack(changed.as_bytes()), "changed").await;
    refused(&pack(&[plain.as_slice(), b"{}\n"].concat()), "going on").await;
    let newer = String::from_utf8(plain).unwrap().replacen("\"version\":1", "\"version\":2", 1);
    refused(&pack(newer.as_bytes()), "newer").await;
    let error = read_snapshot(Path::new("/nowhere"), |_: SnapshotLine| Ok::<_, SnapshotError>(()));
    assert!(matches!(error, Err(SnapshotError::Io { .. })), "{error:?}");
}

pub(crate) async fn a_summary_counts_what_is_there(bed: &Bed) {
    fill(bed).await;
    let summary = bed.second.summary(GROUP).await.unwrap();
    assert_eq!((summary.sources, summary.trail_links, summary.hidden_shards), (3, 9, 2));
    assert_eq!((summary.partitions.len(), summary.nodes.len()), (3, 1));
    let [stream] = summary.streams.as_slice() else { panic!("{summary:?}") };
    assert_eq!((stream.shards, stream.records), (2, 30));
    let nothing = bed.second.summary("nobody").await.unwrap();
    assert_eq!((nothing.streams.len(), nothing.sources), (0, 0));
}
