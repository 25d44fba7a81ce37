#![expect(clippy::unwrap_used, reason = "tests")]

use crate::{Consumer, ConsumerEvent, EmbeddedSettings, EmbeddedTopic, Metrics, Producer, Start};
use bytes::Bytes;
use millrace_model::{ManualClock, Partition, Timestamp, wire::Payload};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct World {
    _folder: TempDir,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    topic: EmbeddedTopic,
}

/// A topic of one partition with small segments.
fn world(change: impl FnOnce(&mut EmbeddedSettings)) -> World {
    let folder = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    let mut settings = EmbeddedSettings::new(folder.path().to_owned(), "logs");
    settings.partitions = 1;
    settings.segment_bytes = 10_000;
    change(&mut settings);
    let metrics = Metrics::default();
    let topic = EmbeddedTopic::open(settings, clock.clone(), &metrics).unwrap();
    World { _folder: folder, clock, metrics, topic }
}

/// So many messages of about 1 KB on disk, one by one.
async fn send(topic: &EmbeddedTopic, count: u64) {
    let (sender, mut reports) = mpsc::channel(1);
    let producer = topic.producer(sender);
    let mut noise = 1_u64;
    for ticket in 0..count {
        let value = (0..1000).map(|_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(ticket | 1);
            (noise >> 56) as u8
        });
        let payload = Payload { value: Bytes::from(value.collect::<Vec<_>>()), ..Payload::default() };
        producer.send(Partition(0), payload, ticket).await.unwrap();
        reports.recv().await.unwrap().outcome.unwrap();
    }
}

fn low(topic: &EmbeddedTopic) -> i64 {
    topic.enforce_retention().unwrap();
    topic.0.logs[0].low()
}

/// A consumer of a group that began at the start.
async fn joined(topic: &EmbeddedTopic, group: &str) -> crate::EmbeddedConsumer {
    let mut consumer = topic.consumer(group).unwrap();
    let Some(ConsumerEvent::Assigned(assignment)) = consumer.next().await else { panic!("an assignment") };
    assignment.start(vec![(Partition(0), Start::Earliest)]);
    let Some(ConsumerEvent::Messages(_)) = consumer.next().await else { panic!("messages") };
    consumer
}

#[tokio::test]
async fn old_messages_go_once_every_group_has_them() {
    let World { clock, topic, _folder, .. } = world(|settings| settings.retention = Duration::from_hours(1));
    send(&topic, 50).await;
    assert_eq!(low(&topic), 0);
    let consumer = joined(&topic, "indexer").await;
    clock.advance(Duration::from_secs(3601));
    assert_eq!(low(&topic), 0, "old, but the group has not committed");
    consumer.commit(&[(Partition(0), 25)]);
    let kept_from = low(&topic);
    assert!((10..=25).contains(&kept_from), "{kept_from}");
    consumer.commit(&[(Partition(0), 51)]);
    let kept_from = low(&topic);
    assert!((40..=51).contains(&kept_from), "{kept_from}");
    // What came later stays.
    send(&topic, 30).await;
    consumer.commit(&[(Partition(0), 81)]);
    assert!(low(&topic) <= 51);
    consumer.close().await;
}

#[tokio::test]
async fn a_topic_that_is_too_large_loses_its_oldest_unless_a_group_wants_it() {
    let World { topic, metrics, _folder, .. } = world(|settings| settings.retention_bytes = 30_000);
    send(&topic, 30).await;
    let consumer = joined(&topic, "indexer").await;
    consumer.commit(&[(Partition(0), 1)]);
    send(&topic, 30).await;
    assert_eq!(low(&topic), 0);
    consumer.commit(&[(Partition(0), 61)]);
    assert!((30..=50).contains(&low(&topic)));
    assert_eq!(metrics.of("logs").dropped_messages.get(), 0);
    consumer.close().await;
}

#[tokio::test]
async fn the_disk_bound_deletes_all_the_same_and_counts_it() {
    let World { topic, metrics, _folder, .. } = world(|settings| {
        settings.retention_bytes = 30_000;
        settings.disk_bytes = 60_000;
    });
    let mut consumer = joined(&topic, "indexer").await;
    consumer.commit(&[(Partition(0), 1)]);
    consumer.pause(&[Partition(0)]);
    send(&topic, 100).await;
    let kept_from = low(&topic);
    assert!((40..=60).contains(&kept_from), "{kept_from}");
    assert_eq!(metrics.of("logs").dropped_messages.get(), kept_from as u64 - 1);
    // Its reader reads the file that it has open to its end; then it is told what there is, and goes on with that.
    consumer.resume(&[Partition(0)]);
    let (mut next, mut told) = (1, None);
    while next < 101 {
        match consumer.next().await.unwrap() {
            ConsumerEvent::Messages(messages) => {
                assert!(messages.iter().map(|message| message.offset).eq(next..next + messages.len() as i64));
                next += messages.len() as i64;
            }
            ConsumerEvent::Revoked(revocation) => {
                assert!(!revocation.lost && next < kept_from, "what was read can be settled");
                revocation.done();
            }
            ConsumerEvent::Assigned(assignment) => {
                told = Some(assignment.partitions[0].low);
                next = kept_from;
                assignment.start(vec![(Partition(0), Start::Offset(kept_from))]);
            }
        }
    }
    assert_eq!(told, Some(kept_from));
    consumer.close().await;
}

#[tokio::test]
async fn what_lies_in_a_file_that_nobody_fills_goes_in_time_too() {
    let world = world(|settings| settings.retention = Duration::from_hours(8));
    send(&world.topic, 2).await;
    let consumer = joined(&world.topic, "g").await;
    let end = world.topic.0.logs[0].end();
    consumer.commit(&[(Partition(0), end)]);
    let rolled = || world.topic.0.logs[0].active().base == end;
    world.clock.advance(Duration::from_mins(59));
    world.topic.roll_old().unwrap();
    assert_eq!(low(&world.topic), 0);
    assert!(!rolled());
    world.clock.advance(Duration::from_mins(2));
    world.topic.roll_old().unwrap();
    while !rolled() {
        tokio::task::yield_now().await;
    }
    world.clock.advance(Duration::from_hours(8));
    assert_eq!(low(&world.topic), end, "by {:?} it is gone", world.topic.keeps());
    assert!(Duration::from_hours(9) <= world.topic.keeps());
    send(&world.topic, 1).await;
    assert_eq!(world.topic.0.logs[0].end(), end + 1);
}
