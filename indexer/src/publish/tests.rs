//! Merges of masks on their way through cuts, over a real catalogue and real bundles.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::shards::{Owned, Shards};
use millrace_catalogue::Alias;
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
        let wanted = [(self.partition, None)];
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
