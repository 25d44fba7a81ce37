//! Merges of masks on their way through cuts, over a real catalogue and real bundles.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::shards::{Owned, Shards};
use millrace_catalogue::{Acquisition, Alias};
use millrace_model::{LogRecord, RecordId, Row, StreamName, SystemClock, Timestamp, Value};
use millrace_store::{HotRow, TemplateId};
use std::path::Path;

const TOPIC: &str = "t";
const MERGED: &[u8] = b"session opened for user \0 by uid=\0";
const NAMES: [&str; 5] = ["ann", "bob", "eve", "joe", "kim"];

/// An indexer without its pipeline, as the owner of one partition.
struct Node {
    parts: Arc<Parts>,
    shards: Shards,
    templates: Arc<Exchange>,
    partition: Partition,
}

impl Node {
    /// Nodes of one folder share topic, catalogue and bundles.
    async fn new(folder: &Path, name: &str, partition: Partition) -> Self {
        let parts = Parts::in_folder(folder, name, Arc::new(SystemClock)).await;
        let shards = Shards::new(TOPIC);
        let templates = Arc::new(Exchange::new(shards.shaper()));
        let node = Self { parts: Arc::new(parts), shards, templates, partition };
        node.acquire().await;
        node
    }

    async fn acquire(&self) {
        let wanted = [Acquisition { partition: self.partition, topic_id: None, low: 0 }];
        let ownership =
            self.parts.catalogue.acquire(GROUP, TOPIC, &wanted, &self.parts.node).await.unwrap()[0];
        let (published, epoch) = (ownership.next_offset, ownership.epoch);
        let next = published.unwrap_or(0);
        let owned = Owned { topic_id: None, epoch, published, held_from: next, next, end: next };
        self.shards.own(self.partition, owned);
    }

    /// One line for each name.
    fn append(&self, names: &[&str]) {
        let next = self.shards.owned(self.partition).unwrap().next;
        let rows = names.iter().zip(next..).map(|(name, offset)| {
            let body = Value::from(format!("session opened for user {name} by uid=0"));
            let id =
                RecordId { source: SourceId(self.partition.0 as u128), position: offset as u64, index: 0 };
            let record = LogRecord { body, ..LogRecord::default() };
            let row = Row { id, stream: StreamName::default(), time: Timestamp(offset), record };
            (StreamName::default(), Timestamp(0), HotRow { partition: self.partition, offset, row })
        });
        let rows: Vec<_> = rows.collect();
        let next = next + rows.len() as i64;
        self.shards.append(self.partition, rows, next, None);
    }

    fn publication(&self) -> Arc<Publication> {
        Arc::new(Publication {
            frozen: self.shards.freeze().unwrap(),
            changes: Vec::new(),
            bounds: BTreeMap::new(),
            traffic: BTreeMap::new(),
        })
    }

    async fn publish(&self) -> Outcome {
        let publication = self.publication();
        let generation = publication.frozen.generation;
        let (parts, templates) = (Arc::clone(&self.parts), Arc::clone(&self.templates));
        let outcome = publish(parts, Arc::default(), templates, publication).await;
        if matches!(outcome, Outcome::Published) {
            self.shards.published(generation, Timestamp(0));
        }
        outcome
    }

    async fn aliases(&self) -> Vec<Alias> {
        self.parts.catalogue.aliases_since(0).await.unwrap().1
    }
}

fn merged() -> Vec<Alias> {
    vec![Alias { id: TemplateId::of(MERGED).to_string(), mask: MERGED.to_vec() }]
}

#[tokio::test]
async fn what_was_learned_goes_with_the_next_cut_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(folder.path(), "a", Partition(0)).await;
    node.append(&NAMES[..3]);
    assert!(matches!(node.publish().await, Outcome::Published));
    assert_eq!(node.aliases().await, [], "three names are no evidence");
    node.append(&NAMES[3..]);
    assert_eq!(node.templates.due(), merged());
    assert!(matches!(node.publish().await, Outcome::Published));
    assert_eq!(node.aliases().await, merged());
    assert_eq!(node.templates.due(), []);
}

#[tokio::test]
async fn a_fenced_cut_tells_nothing_and_the_next_one_tells_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(folder.path(), "a", Partition(0)).await;
    node.append(&NAMES);
    Node::new(folder.path(), "b", Partition(0)).await;
    assert!(matches!(node.publish().await, Outcome::Fenced(_)));
    assert_eq!(node.aliases().await, []);
    assert_eq!(node.templates.due(), merged());
    node.shards.disown(&[Partition(0)]);
    node.acquire().await;
    node.append(&["zoe"]);
    assert!(matches!(node.publish().await, Outcome::Published));
    assert_eq!(node.aliases().await, merged());
}

#[tokio::test]
async fn what_fails_is_told_when_it_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::new(folder.path(), "a", Partition(0)).await;
    node.append(&NAMES);
    let publication = node.publication();
    let mut shards = None;
    std::fs::remove_dir(&node.parts.work_directory).unwrap();
    try_publish(&node.parts, &node.templates, &publication, &mut shards).await.unwrap_err();
    assert_eq!((node.aliases().await, node.templates.due()), (vec![], merged()));
    std::fs::create_dir(&node.parts.work_directory).unwrap();
    try_publish(&node.parts, &node.templates, &publication, &mut shards).await.unwrap();
    assert_eq!((node.aliases().await, node.templates.due()), (merged(), vec![]));

    // The echo of a commit whose answer was lost says nothing of aliases.
    let node = Node::new(folder.path(), "b", Partition(1)).await;
    node.append(&NAMES);
    let again = node.publication();
    try_publish(&node.parts, &Exchange::default(), &again, &mut None).await.unwrap();
    let mut published =
        node.parts.catalogue.snapshot(GROUP, millrace_model::TimeRange::ALL, None).await.unwrap();
    published.shards.retain(|shard| shard.offsets[0].partition == Partition(1));
    let outcome = try_publish(&node.parts, &node.templates, &again, &mut Some(published.shards)).await;
    assert!(matches!(outcome, Ok(Outcome::Published)));
    assert_eq!(node.templates.due(), merged());
}

#[tokio::test]
async fn what_others_learned_is_taken_over_and_not_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (
        Node::new(folder.path(), "a", Partition(0)).await,
        Node::new(folder.path(), "b", Partition(1)).await,
    );
    one.append(&NAMES);
    one.publish().await;
    two.append(&NAMES);
    assert_eq!(two.templates.due(), merged());
    two.templates.take_over(&two.parts.catalogue).await;
    assert_eq!(two.templates.due(), []);
    let late = Node::new(folder.path(), "c", Partition(2)).await;
    late.append(&NAMES[..1]);
    assert!(matches!(late.publish().await, Outcome::Published));
    let known: Vec<TemplateId> = late.shards.shaper().merges(|_| true, 9).iter().map(|m| m.id).collect();
    assert_eq!(known, [TemplateId::of(MERGED)]);
    assert_eq!(one.aliases().await, merged());
}

#[tokio::test]
async fn a_partition_that_goes_between_sealing_and_the_transaction_is_published_by_its_successor_alone() {
    let folder = tempfile::tempdir().unwrap();
    let one = Node::new(folder.path(), "a", Partition(0)).await;
    one.append(&NAMES);
    // A source that changed with the rows.
    let change = Change {
        id: SourceId(7),
        partition: Partition(0),
        expected_version: None,
        state: millrace_ledger::SourceState { records: 5, ..Default::default() },
    };
    let publication = |node: &Node| {
        let Publication { frozen, .. } = Arc::into_inner(node.publication()).unwrap();
        let (bounds, traffic) = (BTreeMap::new(), BTreeMap::new());
        Arc::new(Publication { frozen, changes: vec![change.clone()], bounds, traffic })
    };
    let late = publication(&one);
    let stored = upload(&one.parts, &late).await.unwrap();
    assert_eq!(one.parts.bundles.list("").await.unwrap().len(), 1);

    let two = Node::new(folder.path(), "b", Partition(0)).await;
    let mut sealed = Some(stored.clone());
    let outcome = try_publish(&one.parts, &one.templates, &late, &mut sealed).await.unwrap();
    assert!(matches!(outcome, Outcome::Fenced(Partition(0))), "{outcome:?}");
    // Nothing of it is there: no shard, no offset, no source; the whole way through, no bundle either.
    let catalogue = &two.parts.catalogue;
    let snapshot = catalogue.snapshot(GROUP, millrace_model::TimeRange::ALL, None).await.unwrap();
    assert_eq!((snapshot.shards.len(), snapshot.partitions[0].next_offset), (0, None));
    assert_eq!(catalogue.all_sources(GROUP).await.unwrap(), []);
    discard(&one.parts, &stored).await;
    assert!(matches!(again_late(&one, &late).await, Outcome::Fenced(Partition(0))));
    assert_eq!(one.parts.bundles.list("").await.unwrap(), []);

    // The successor has read the same, and it is there once.
    two.append(&NAMES);
    let theirs = publication(&two);
    let published = publish(Arc::clone(&two.parts), Arc::default(), Arc::clone(&two.templates), theirs);
    assert!(matches!(published.await, Outcome::Published));
    let snapshot = catalogue.snapshot(GROUP, millrace_model::TimeRange::ALL, None).await.unwrap();
    assert_eq!(snapshot.shards.iter().map(|shard| shard.records).sum::<u64>(), NAMES.len() as u64);
    assert_eq!(snapshot.partitions[0].next_offset, Some(NAMES.len() as i64));
    let sources = catalogue.all_sources(GROUP).await.unwrap();
    assert_eq!(
        sources.iter().map(|source| (source.version, source.state.records)).collect::<Vec<_>>(),
        [(1, 5)]
    );
    assert!(matches!(again_late(&one, &late).await, Outcome::Fenced(_)), "however late it wakes");
}

async fn again_late(node: &Node, late: &Arc<Publication>) -> Outcome {
    let (parts, templates) = (Arc::clone(&node.parts), Arc::clone(&node.templates));
    publish(parts, Arc::default(), templates, Arc::clone(late)).await
}
