//! What becomes of partitions whose owner is another in the catalogue than in the group.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{GROUP, shards::Owned};
use millrace_catalogue::{Acquisition, Cut, HoleKind, Move};
use millrace_model::{
    AgentId, BootId, Clock as _, InstanceId, LogRecord, RecordId, Row, SourceId, StreamName, SystemClock,
    TimeRange, Value,
    wire::{Envelope, Extent, Payload, Run, RunKind, Sender, encode},
};
use millrace_store::HotRow;
use millrace_transport::{Message, Producer as _};
use std::path::Path;

const P0: Partition = Partition(0);
const P1: Partition = Partition(1);

async fn indexer(folder: &Path) -> Indexer {
    Indexer::new(Settings::default(), Parts::in_folder(folder, "node", Arc::new(SystemClock)).await)
}

fn flow(indexer: &Indexer) -> Flow<'_> {
    Flow::new(indexer, indexer.parts.topic.consumer(GROUP).unwrap())
}

fn own(indexer: &Indexer, partition: Partition, epoch: u64) {
    let owned = Owned { topic_id: None, epoch, published: Some(0), held_from: 0, next: 0, end: 0 };
    indexer.shards.own(partition, owned);
}

fn append(indexer: &Indexer, partition: Partition, offset: i64) {
    let id = RecordId { source: SourceId(1), position: offset as u64, index: 0 };
    let row =
        Row { id, stream: StreamName::default(), time: Timestamp(offset), record: LogRecord::default() };
    let row = (StreamName::default(), Timestamp(0), HotRow { partition, offset, row });
    indexer.shards.append(partition, vec![row], offset + 1, None);
}

/// The next assignment.
async fn offered(flow: &mut Flow<'_>) -> millrace_transport::Assignment {
    loop {
        match flow.consumer.next().await.unwrap() {
            ConsumerEvent::Assigned(assignment) => return assignment,
            ConsumerEvent::Revoked(revocation) => revocation.done(),
            ConsumerEvent::Messages(messages) => panic!("{messages:?}"),
        }
    }
}

/// A cut of a row of `P0`, on its way.
fn cut(indexer: &Indexer) -> InFlight {
    own(indexer, P0, 1);
    append(indexer, P0, 0);
    let frozen = indexer.shards.freeze().unwrap();
    let generation = frozen.generation;
    let publication =
        Arc::new(Publication { frozen, changes: Vec::new(), bounds: [].into(), traffic: [].into() });
    InFlight { generation, publication, task: tokio::spawn(std::future::pending()) }
}

/// A message of an agent with one line.
fn message(partition: Partition) -> Message {
    let sender = Sender { agent: AgentId(1), instance: InstanceId(1), epoch: 1, boot: BootId(1) };
    let observed_timestamp = SystemClock.now();
    let line = LogRecord { body: Value::from("line"), observed_timestamp, ..LogRecord::default() };
    let runs = vec![Run { length: 5, kind: RunKind::Record }];
    let extent = Extent { start: 0, end: 5, crc32c: 0, runs };
    let (stream, source) = (StreamName::default(), SourceId(7));
    let envelope = Envelope { stream, sender, source, extent, open: None, close: None };
    let payload = encode(&envelope, [&line]);
    let (key, headers, value) = (payload.key, payload.headers, payload.value);
    Message { partition, offset: 0, timestamp: Timestamp(0), key, headers, value }
}

#[tokio::test]
async fn a_refused_cut_takes_nothing_of_a_newer_ownership() {
    let folder = tempfile::tempdir().unwrap();
    let indexer = indexer(folder.path()).await;
    let mut flow = flow(&indexer);
    let refused = cut(&indexer);
    // A rebalance, while the cut is on its way, after which the partition is here again.
    indexer.shards.disown(&[P0]);
    own(&indexer, P0, 3);
    append(&indexer, P0, 0);
    assert!(!flow.cut_ended(Some((refused, Some(Outcome::Fenced(P0))))));
    assert_eq!(indexer.shards.owned(P0).map(|owned| (owned.epoch, owned.next)), Some((3, 1)));
    let next = indexer.shards.freeze().unwrap();
    assert_eq!((next.moves[0].epoch, next.rows.len()), (3, 1));
    assert!(!flow.is_stranded(Instant::now() + Duration::from_hours(1)));
}

#[tokio::test]
async fn a_partition_that_only_the_group_leaves_here_is_asked_for_anew() {
    let folder = tempfile::tempdir().unwrap();
    let indexer = indexer(folder.path()).await;
    let mut flow = flow(&indexer);
    let refused = cut(&indexer);
    assert!(!flow.cut_ended(Some((refused, Some(Outcome::Fenced(P0))))));
    assert_eq!(indexer.shards.owned(P0), None);
    assert!(!flow.is_stranded(Instant::now()), "the group is given time");
    assert!(flow.is_stranded(Instant::now() + Duration::from_hours(1)));
}

#[tokio::test]
async fn messages_of_a_partition_with_another_owner_are_not_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let indexer = indexer(folder.path()).await;
    let mut flow = flow(&indexer);
    own(&indexer, P1, 1);
    append(&indexer, P1, 0);
    let refused = cut(&indexer);
    assert!(!flow.cut_ended(Some((refused, Some(Outcome::Fenced(P0))))));
    flow.take(message(P0)).await;
    assert_eq!(flow.ledger.take_changes(), []);
    flow.take(message(P1)).await;
    assert_eq!(flow.ledger.take_changes().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_ends_before_what_was_published_is_read_on_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let indexer = indexer(folder.path()).await;
    let mut flow = flow(&indexer);
    let catalogue = &indexer.parts.catalogue;
    // Another had published up to 50 of a topic that has one message by now.
    let id = offered(&mut flow).await.partitions[0].topic_id;
    let wanted = Acquisition { partition: P0, topic_id: id, low: 0 };
    let owned = catalogue.acquire(GROUP, "t", &[wanted], "before").await.unwrap()[0];
    let to_50 = Move { partition: P0, epoch: owned.epoch, from: None, to: 50 };
    let cut = Cut { group: GROUP.into(), topic: "t".into(), moves: vec![to_50], ..Cut::default() };
    catalogue.publish(&cut).await.unwrap();

    let assignment = offered(&mut flow).await;
    flow.assigned(assignment).await;
    let owned = indexer.shards.owned(P0).unwrap();
    assert_eq!((owned.published, owned.next, owned.held_from, owned.end), (Some(1), 1, 1, 1));
    assert_ne!(owned.topic_id, id, "the same offsets are other messages from here on");
    let metrics = &indexer.parts.metrics;
    assert_eq!((metrics.stepped_back.get(), metrics.removed.get()), (1, 0));
    let holes = catalogue.holes(GROUP).await.unwrap();
    assert_eq!(
        holes.iter().map(|hole| (hole.kind, hole.from, hole.to)).collect::<Vec<_>>(),
        [(HoleKind::SteppedBack, 1, 50)]
    );
    assert_eq!(indexer.shards.owned(P1).unwrap().topic_id, id);

    // What comes then is taken in and published, though its offset had been published before.
    let (reports, mut delivered) = tokio::sync::mpsc::channel(1);
    let producer = indexer.parts.topic.producer(reports).unwrap();
    let Message { key, headers, value, .. } = message(P0);
    producer.send(P0, Payload { key, headers, value }, 1).await.unwrap();
    assert_eq!(delivered.recv().await.unwrap().outcome.unwrap(), (P0, 1));
    while indexer.shards.size().rows == 0 {
        let event = flow.consumer.next().await.unwrap();
        flow.take_event(event).await;
    }
    flow.publish_before(Instant::now() + Duration::from_mins(1)).await;
    let snapshot = catalogue.snapshot(GROUP, TimeRange::ALL, None).await.unwrap();
    assert_eq!(snapshot.shards.iter().map(|shard| shard.records).sum::<u64>(), 1);
    assert_eq!(
        (snapshot.partitions[0].next_offset, snapshot.partitions[0].topic_id),
        (Some(2), owned.topic_id)
    );
    assert_eq!(catalogue.verify(GROUP).await.unwrap().faults, []);
    // Whoever comes next finds it so.
    let again = catalogue.acquire(GROUP, "t", &[wanted], "after").await.unwrap()[0];
    assert_eq!((again.next_offset, again.topic_id, again.step_back(0, 2)), (Some(2), owned.topic_id, None));
}
