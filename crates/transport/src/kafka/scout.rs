//! What a partition is like before it is read: its ends, and which incarnation of the topic it belongs to.
//!
//! Looked up by a short-lived client on a thread of its own, so that the group's own client is polled all the while. Pages of
//! messages, for whoever only looks at a partition, are read by such a client too.

use super::{
    Inner,
    client::{self, Quiet},
};
use crate::{AssignedPartition, Error, Glance, KafkaSettings, Message, Page, sync::Bell};
use bytes::Bytes;
use millrace_model::{
    Partition, Timestamp, TopicId,
    wire::{self, Decoded},
};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers as _},
    metadata::MetadataTopic,
};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

const REQUEST: Duration = Duration::from_secs(5);
/// A page is about so large, in bytes.
const PAGE: usize = 1 << 20;

/// Looks the partitions up, and again until it succeeds or nobody listens any more. `after`: how long to wait first.
pub(super) fn send(
    topic: &Arc<Inner>,
    group: &str,
    partitions: Vec<Partition>,
    after: Duration,
) -> io::Result<mpsc::Receiver<Vec<AssignedPartition>>> {
    let (found, receiver) = mpsc::sync_channel(1);
    let (topic, group) = (Arc::clone(topic), group.to_owned());
    thread::Builder::new().name("look partitions up".to_owned()).spawn(move || {
        let pause = Bell::default();
        pause.wait(0, after);
        loop {
            match look(&topic, &group, &partitions) {
                Ok(assigned) => {
                    topic.health.up();
                    // Nobody listens when the partitions have been taken away meanwhile: nothing is lost then.
                    if found.try_send(assigned).is_err() {
                        tracing::debug!("partitions were taken away while they were looked up");
                    }
                    return;
                }
                Err(error) => {
                    topic.metrics.retries.inc();
                    tracing::warn!(%error, "cannot look assigned partitions up; trying again");
                    pause.wait(0, Duration::from_secs(1));
                }
            }
        }
    })?;
    Ok(receiver)
}

/// What brokers tell of a topic, which is not made.
pub(crate) fn glance(settings: &KafkaSettings) -> Result<Glance, Error> {
    let mut config = client::consumer(settings, "glance");
    config.remove("statistics.interval.ms");
    let health = Arc::new(client::Health::new(&settings.name));
    let client = BaseConsumer::from_config_and_context(&config, Quiet(health))
        .map_err(|error| client::client_error(settings, error))?;
    let unreachable = |source| Error::Unreachable { topic: settings.name.clone(), source };
    let metadata = client.fetch_metadata(Some(&settings.name), REQUEST).map_err(unreachable)?;
    let mut found = Glance { brokers: Some(metadata.brokers().len()), ..Glance::default() };
    let topic = metadata.topics().iter().find(|topic| topic.name() == settings.name);
    for partition in topic.into_iter().flat_map(MetadataTopic::partitions) {
        found.partitions += 1;
        if partition.isr().len() < partition.replicas().len() {
            found.behind.push(Partition(partition.id()));
        }
        if partition.leader() < 0 {
            found.without_leader.push(Partition(partition.id()));
        }
    }
    Ok(found)
}

fn look(
    topic: &Arc<Inner>,
    group: &str,
    partitions: &[Partition],
) -> Result<Vec<AssignedPartition>, KafkaError> {
    let mut config = client::consumer(&topic.settings, group);
    // Only the first message of each is wanted.
    config.set("max.partition.fetch.bytes", "65536").set("enable.partition.eof", "true");
    config.remove("statistics.interval.ms");
    let client = BaseConsumer::from_config_and_context(&config, Quiet(Arc::clone(&topic.health)))?;
    let name = &topic.settings.name;
    let mut found = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let (low, high) = client.fetch_watermarks(name, partition.0, REQUEST)?;
        found.push(AssignedPartition { partition: *partition, topic_id: None, low, high });
    }
    let first_is_there = found.iter().filter(|found| found.low == 0 && found.high > 0);
    let ids = topic_ids(&client, name, first_is_there.map(|found| found.partition))?;
    for found in &mut found {
        found.topic_id = ids.get(&found.partition).copied().flatten();
    }
    Ok(found)
}

/// The id in the first message of each partition, where it is one that says so.
fn topic_ids(
    client: &BaseConsumer<Quiet>,
    name: &str,
    partitions: impl Iterator<Item = Partition>,
) -> Result<BTreeMap<Partition, Option<TopicId>>, KafkaError> {
    let mut ids = BTreeMap::new();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(name, partition.0, Offset::Offset(0))?;
    }
    client.assign(&list)?;
    let deadline = Instant::now() + REQUEST;
    while ids.len() < list.count() {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let id = if message.offset() == 0 { marker(&message) } else { None };
                ids.entry(Partition(message.partition())).or_insert(id);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ids.entry(Partition(partition)).or_insert(None);
            }
            Some(Err(error)) => return Err(error),
            None if Instant::now() > deadline => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            None => {}
        }
    }
    Ok(ids)
}

fn marker(message: &BorrowedMessage<'_>) -> Option<TopicId> {
    match wire::decode(&headers(message), message.payload().unwrap_or_default()) {
        Ok(Decoded::TopicMarker(id)) => Some(id),
        Ok(_) | Err(_) => None,
    }
}

/// A message, copied.
pub(super) fn copy(message: &BorrowedMessage<'_>) -> Message {
    let copied = |bytes: Option<&[u8]>| Bytes::copy_from_slice(bytes.unwrap_or_default());
    Message {
        partition: Partition(message.partition()),
        offset: message.offset(),
        timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        key: copied(message.key()),
        headers: headers(message),
        value: copied(message.payload()),
    }
}

fn headers(message: &BorrowedMessage<'_>) -> Vec<(String, Bytes)> {
    let header = |header: rdkafka::message::Header<'_, &[u8]>| {
        (header.key.to_owned(), Bytes::copy_from_slice(header.value.unwrap_or_default()))
    };
    message.headers().map(|headers| headers.iter().map(header).collect()).unwrap_or_default()
}

/// How many partitions the topic has by now. The client is a consumer's: a producer's would make the topic where it is not there.
pub(super) fn partitions(topic: &Arc<Inner>) -> Result<u32, KafkaError> {
    let mut config = client::consumer(&topic.settings, "look");
    config.remove("statistics.interval.ms");
    let client = BaseConsumer::from_config_and_context(&config, Quiet(Arc::clone(&topic.health)))?;
    let metadata = client.fetch_metadata(Some(&topic.settings.name), REQUEST)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic.settings.name);
    Ok(found.map_or(0, |found| found.partitions().len() as u32))
}

/// Messages of one partition, apart from every group: a client of its own reads them.
pub(super) fn page(
    topic: &Arc<Inner>,
    partition: Partition,
    from: i64,
    limit: usize,
) -> Result<Page, KafkaError> {
    let mut config = client::consumer(&topic.settings, "look");
    config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "10");
    // Whoever looks takes what is there.
    config.set("auto.offset.reset", "earliest");
    config.remove("statistics.interval.ms");
    let client = BaseConsumer::from_config_and_context(&config, Quiet(Arc::clone(&topic.health)))?;
    let name = &topic.settings.name;
    let (low, end) = client.fetch_watermarks(name, partition.0, REQUEST)?;
    let mut page = Page { messages: Vec::new(), next: from.max(low), low, end };
    if page.next >= end {
        return Ok(page);
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(name, partition.0, Offset::Offset(page.next))?;
    client.assign(&list)?;
    let deadline = Instant::now() + REQUEST;
    let mut bytes = 0;
    while page.messages.len() < limit && bytes < PAGE {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let message = copy(&message);
                bytes += message.weight();
                page.next = message.offset + 1;
                page.messages.push(message);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => {
                page.next = page.next.max(end);
                break;
            }
            Some(Err(error)) => return Err(error),
            None if Instant::now() > deadline => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            None => {}
        }
    }
    Ok(page)
}
