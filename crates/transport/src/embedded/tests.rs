#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::{Consumer, ConsumerEvent, Message, Start};
use bytes::Bytes;
use millrace_config::MinFree;
use millrace_model::SystemClock;
use tempfile::TempDir;

fn settings(folder: &TempDir) -> EmbeddedSettings {
    EmbeddedSettings { partitions: 2, ..EmbeddedSettings::new(folder.path().to_owned(), "logs") }
}

fn open(settings: &EmbeddedSettings) -> Result<EmbeddedTopic, Error> {
    EmbeddedTopic::open(settings.clone(), Arc::new(SystemClock), &Metrics::default())
}

async fn send(topic: &EmbeddedTopic, numbers: std::ops::Range<u64>) -> Vec<i64> {
    let (sender, mut reports) = mpsc::channel(64);
    let producer = topic.producer(sender);
    let mut offsets = Vec::new();
    for number in numbers {
        let payload = wire::Payload { value: Bytes::from(number.to_string()), ..wire::Payload::default() };
        producer.send(Partition(0), payload, number).await.unwrap();
        let report = reports.recv().await.unwrap();
        assert_eq!(report.ticket, number);
        offsets.push(report.outcome.unwrap().1);
    }
    offsets
}

/// Everything in partition 0 from `start` on, up to its end.
async fn read(topic: &EmbeddedTopic, start: Start) -> Vec<Message> {
    let mut consumer = topic.consumer("test").unwrap();
    let Some(ConsumerEvent::Assigned(assignment)) = consumer.next().await else { panic!("an assignment") };
    let end = assignment.partitions[0].high;
    assignment.start(vec![(Partition(0), start)]);
    let mut found = Vec::new();
    while found.last().is_none_or(|message: &Message| message.offset < end - 1) {
        let Some(ConsumerEvent::Messages(messages)) = consumer.next().await else { panic!("messages") };
        found.extend(messages);
    }
    consumer.close().await;
    found
}

fn first_segment(settings: &EmbeddedSettings) -> PathBuf {
    settings.directory.join("logs/0/00000000000000000000.log")
}

#[tokio::test]
async fn two_owners_of_one_topic_are_one_too_many() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let topic = open(&settings).unwrap();
    assert!(matches!(open(&settings), Err(Error::InUse { .. })));
    let producer = topic.producer(mpsc::channel(1).0);
    drop(topic);
    assert!(matches!(open(&settings), Err(Error::InUse { .. })), "a producer has it too");
    drop(producer);
    let other = EmbeddedSettings { name: "other".to_owned(), ..settings.clone() };
    let both = (open(&settings).unwrap(), open(&other).unwrap());
    assert_ne!(both.0.0.id, both.1.0.id);
}

#[tokio::test]
async fn a_disk_with_too_little_room_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let short = EmbeddedSettings { min_free: MinFree::bytes(u64::MAX), ..settings(&folder) };
    let topic = open(&short).unwrap();
    let (sender, mut reports) = mpsc::channel(4);
    let producer = topic.producer(sender);
    let payload = wire::Payload { value: Bytes::from("waits"), ..wire::Payload::default() };
    producer.send(Partition(1), payload.clone(), 1).await.unwrap();
    let begun = Instant::now();
    while topic.healthy().is_ok() && begun.elapsed() < Duration::from_mins(1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let problem = topic.healthy().unwrap_err();
    assert!(problem.contains("partition 1") && problem.contains("min_free"), "{problem}");
    assert!(reports.try_recv().is_err(), "it is neither taken nor refused");
    // What nobody can read may use the rest.
    let (sender, mut dead_reports) = mpsc::channel(4);
    let dead = topic.beside(Side::Dead).await.unwrap();
    dead.producer(sender).send(Partition(0), payload, 1).await.unwrap();
    assert!(dead_reports.recv().await.unwrap().outcome.is_ok());
    drop((producer, dead, topic));
    let topic = open(&EmbeddedSettings { min_free: MinFree::NOTHING, ..short }).unwrap();
    send(&topic, 0..10).await;
    assert!(topic.healthy().is_ok());
}

#[tokio::test]
async fn what_was_appended_is_there_after_reopening_over_many_segments() {
    let folder = TempDir::new().unwrap();
    let settings = EmbeddedSettings { segment_bytes: 2000, ..settings(&folder) };
    let mut sent = Vec::new();
    for round in 0..3 {
        let topic = open(&settings).unwrap();
        sent.extend(send(&topic, round * 100..round * 100 + 100).await);
        let messages = read(&topic, Start::Earliest).await;
        assert_eq!(messages.len(), sent.len() + 1);
        assert!(messages.iter().map(|message| message.offset).eq(0..=sent.len() as i64));
        assert!(messages[1..].iter().zip(0..).all(|(message, number)| message.value == number.to_string()));
    }
    assert!(sent.into_iter().eq(1..301));
    let segments = fs::read_dir(folder.path().join("logs/0")).unwrap().count();
    assert!(segments > 5, "{segments}");
    // From the middle of a block in the middle of a segment.
    let messages = read(&open(&settings).unwrap(), Start::Offset(150)).await;
    assert!(messages.iter().map(|message| message.offset).eq(150..301));
}

#[tokio::test]
async fn a_torn_end_costs_nothing_that_was_acknowledged() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    send(&open(&settings).unwrap(), 0..10).await;
    let path = first_segment(&settings);
    let mut bytes = fs::read(&path).unwrap();
    let half_a_block = bytes[..bytes.len() / 20].to_vec();
    bytes.extend(half_a_block);
    fs::write(&path, bytes).unwrap();
    let topic = open(&settings).unwrap();
    assert_eq!(send(&topic, 10..12).await.len(), 2);
    let values: Vec<_> =
        read(&topic, Start::Offset(1)).await.into_iter().map(|message| message.value).collect();
    assert_eq!(values, (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_damaged_block_is_passed_over_by_a_reader_and_counted() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let metrics = Metrics::default();
    let topic = EmbeddedTopic::open(settings.clone(), Arc::new(SystemClock), &metrics).unwrap();
    send(&topic, 0..100).await;
    let path = first_segment(&settings);
    // One payload byte of a block somewhere in the middle, while the topic is open.
    let mut bytes = fs::read(&path).unwrap();
    let block = bytes.len() / 2 + block::find_magic(&bytes[bytes.len() / 2..]).unwrap();
    bytes[block + block::HEADER + 4] ^= 1;
    fs::write(&path, bytes).unwrap();
    let messages = read(&topic, Start::Offset(1)).await;
    assert_eq!(messages.len(), 99);
    assert_eq!(metrics.of("logs").corrupt_blocks.get(), 1);
}

#[tokio::test]
async fn an_interval_is_as_good_for_the_death_of_a_process() {
    let folder = TempDir::new().unwrap();
    let settings = EmbeddedSettings { fsync: Fsync::Interval, ..settings(&folder) };
    let topic = open(&settings).unwrap();
    send(&topic, 0..50).await;
    // What is acknowledged is in the file, whether or not it is on the disk.
    let copy = TempDir::new().unwrap();
    let target = EmbeddedSettings { directory: copy.path().to_owned(), ..settings.clone() };
    fs::create_dir_all(copy.path().join("logs/0")).unwrap();
    fs::create_dir_all(copy.path().join("logs/1")).unwrap();
    for file in ["topic.json", "0/00000000000000000000.log", "1/00000000000000000000.log"] {
        fs::copy(folder.path().join("logs").join(file), copy.path().join("logs").join(file)).unwrap();
    }
    assert_eq!(read(&open(&target).unwrap(), Start::Earliest).await.len(), 51);
}

#[tokio::test]
async fn an_end_that_is_gone_is_not_given_out_again() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let topic = open(&settings).unwrap();
    assert_eq!(send(&topic, 0..4).await, [1, 2, 3, 4]);
    topic.0.groups.commit("test", &[(Partition(0), 4)], SystemClock.now());
    drop(topic);
    // All is cut off but the first block, the topic's marker.
    let path = first_segment(&settings);
    let bytes = fs::read(&path).unwrap();
    let second = 1 + block::find_magic(&bytes[1..]).unwrap();
    fs::write(&path, &bytes[..second]).unwrap();
    let topic = open(&settings).unwrap();
    assert_eq!(send(&topic, 9..11).await, [4, 5], "what was read up to there is somebody else's");
    let messages = read(&topic, Start::Offset(4)).await;
    assert_eq!(messages.iter().map(|message| message.offset).collect::<Vec<_>>(), [4, 5]);
    drop(topic);
    assert_eq!(send(&open(&settings).unwrap(), 0..1).await, [6]);
}

#[tokio::test]
async fn a_topic_that_a_crash_left_half_made_is_made_again() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    fs::create_dir_all(folder.path().join("logs.new/0")).unwrap();
    fs::write(folder.path().join("logs.new/0/00000000000000000000.log"), "MRB1 half").unwrap();
    let topic = open(&settings).unwrap();
    assert_eq!(send(&topic, 0..1).await, [1]);
    assert!(!folder.path().join("logs.new").exists());
}
