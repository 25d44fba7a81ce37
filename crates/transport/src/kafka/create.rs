//! Making a topic that is absent, and its first messages.
//!
//! Whoever creates the topic writes its marker into every partition; a process that finds a brand-new empty topic waits
//! a little, so that the marker comes first.

use super::{
    Inner, Ready,
    client::{self, Quiet},
    producer::KafkaProducer,
};
use crate::{Error, Producer, settings::MESSAGE_MAX_BYTES};
use millrace_model::{Partition, TopicId, wire};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    config::FromClientConfigAndContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

const REQUEST: Duration = Duration::from_secs(5);
/// How long the finder of an empty topic waits for its creator's marker.
const MARKER: Duration = Duration::from_secs(3);

pub(super) type Admin = AdminClient<Quiet>;

/// A client for administration; the first to see whether librdkafka takes the settings.
pub(super) fn admin(topic: &Inner) -> Result<Admin, Error> {
    let settings = &topic.settings;
    let refused = |error| client::client_error(settings, error);
    // Producers and consumers are made later and take more settings: what they would refuse is refused now.
    client::producer(settings).create_native_config().map_err(refused)?;
    client::consumer(settings, "check").create_native_config().map_err(refused)?;
    let config = client::pass_through(client::plain(settings), settings);
    Admin::from_config_and_context(&config, Quiet(Arc::clone(&topic.health))).map_err(refused)
}

/// Why the topic is not there yet.
enum Trouble {
    /// It will not get better by waiting.
    Refused(String),
    /// It may.
    NotYet(String),
}

/// Sees to it that the topic exists; tries until it does, or nobody wants it any more.
pub(super) async fn ensure(topic: Weak<Inner>, admin: Admin) {
    let admin = Arc::new(admin);
    let mut wait = Duration::from_millis(250);
    let mut created = None;
    loop {
        let Some(topic) = topic.upgrade() else { return };
        match attempt(&topic, &admin, &mut created).await {
            Ok(()) => {
                topic.health.up();
                topic.ready.send_replace(Ready::Yes);
                return;
            }
            Err(Trouble::Refused(reason)) => {
                tracing::error!(topic = topic.settings.name, reason, "the topic cannot be made");
                topic.ready.send_replace(Ready::Refused(reason));
                return;
            }
            Err(Trouble::NotYet(reason)) => topic.health.down(reason),
        }
        drop(topic);
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}

async fn attempt(
    topic: &Arc<Inner>,
    admin: &Arc<Admin>,
    created: &mut Option<TopicId>,
) -> Result<(), Trouble> {
    if created.is_none() && partitions(topic, admin).await?.is_none() && create(topic, admin).await? {
        *created = Some(TopicId::random());
    }
    if let Some(id) = *created {
        return mark(topic, id).await;
    }
    let deadline = Instant::now() + MARKER;
    loop {
        let Some(partitions) = partitions(topic, admin).await? else {
            return Err(Trouble::NotYet("the topic was made and is not there yet".to_owned()));
        };
        if Instant::now() > deadline || !is_empty(topic, admin, partitions).await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many partitions the topic has; `None` if there is no such topic.
async fn partitions(topic: &Arc<Inner>, admin: &Arc<Admin>) -> Result<Option<u32>, Trouble> {
    let name = topic.settings.name.clone();
    let metadata = blocking(admin, move |admin| admin.inner().fetch_metadata(Some(&name), REQUEST)).await?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic.settings.name) else {
        return Ok(None);
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None | Some(RDKafkaErrorCode::NoError) => Ok(Some(found.partitions().len() as u32)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(RDKafkaErrorCode::InvalidTopic) => Err(Trouble::Refused("the name is not a topic's".to_owned())),
        Some(code) => Err(Trouble::NotYet(code.to_string())),
    }
}

/// How long the broker keeps a message of the topic: its retention, and for how long it writes to one file. `None`: for ever.
pub(super) async fn keeps(topic: &Inner) -> Result<Option<Duration>, String> {
    let admin = admin(topic).map_err(|error| error.to_string())?;
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let name = ResourceSpecifier::Topic(&topic.settings.name);
    let described = admin.describe_configs([&name], &options).await.map_err(|error| error.to_string())?;
    let config = described.into_iter().next().ok_or("no answer")?.map_err(|code| code.to_string())?;
    let mut keeps = Duration::ZERO;
    for key in ["retention.ms", "segment.ms"] {
        let value = config.get(key).and_then(|entry| entry.value.as_ref());
        let value: i64 = value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {key}"))?;
        let Ok(millis) = u64::try_from(value) else { return Ok(None) };
        keeps = keeps.saturating_add(Duration::from_millis(millis));
    }
    Ok(Some(keeps))
}

/// Has nothing been written to the topic yet?
async fn is_empty(topic: &Arc<Inner>, admin: &Arc<Admin>, partitions: u32) -> Result<bool, Trouble> {
    let name = topic.settings.name.clone();
    blocking(admin, move |admin| {
        for partition in 0..partitions as i32 {
            let (_, high) = admin.inner().fetch_watermarks(&name, partition, REQUEST)?;
            if high > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}

/// Creates the topic; `false` if somebody else was faster.
async fn create(topic: &Inner, admin: &Admin) -> Result<bool, Trouble> {
    let settings = &topic.settings;
    let replication = TopicReplication::Fixed(settings.replication.map_or(-1, i32::from));
    let mut new = NewTopic::new(&settings.name, settings.partitions as i32, replication)
        .set("message.timestamp.type", "LogAppendTime");
    if let Some(limit) = settings.librdkafka.get(MESSAGE_MAX_BYTES) {
        new = new.set("max.message.bytes", limit);
    }
    if settings.compacted {
        new = new.set("cleanup.policy", "compact");
    }
    let options = AdminOptions::new().operation_timeout(Some(REQUEST)).request_timeout(Some(REQUEST));
    let results = admin.create_topics([&new], &options).await.map_err(|error| not_yet(&error))?;
    for result in results {
        match result {
            Ok(name) => tracing::info!(topic = name, partitions = settings.partitions, "topic created"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => return Ok(false),
            Err((_, code)) => return Err(refusal(code)),
        }
    }
    Ok(true)
}

fn refusal(code: RDKafkaErrorCode) -> Trouble {
    use RDKafkaErrorCode::{InvalidConfig, InvalidPartitions, InvalidTopic, PolicyViolation};
    match code {
        InvalidPartitions | InvalidTopic | InvalidConfig | PolicyViolation => {
            Trouble::Refused(code.to_string())
        }
        // Also what a cluster says whose brokers are still starting, or whose rights are still being given.
        other => Trouble::NotYet(other.to_string()),
    }
}

/// Writes the topic's id as the first message of each partition.
async fn mark(topic: &Arc<Inner>, id: TopicId) -> Result<(), Trouble> {
    let partitions = topic.settings.partitions;
    let (reports, mut delivered) = mpsc::channel(partitions as usize);
    let producer =
        KafkaProducer::open(topic, reports).map_err(|error| Trouble::Refused(error.to_string()))?;
    for partition in 0..partitions {
        let sent = producer.send(Partition(partition as i32), wire::topic_marker(id), partition.into()).await;
        sent.map_err(|error| Trouble::NotYet(error.to_string()))?;
    }
    for _ in 0..partitions {
        let Some(report) = delivered.recv().await else { break };
        report.outcome.map_err(|rejected| Trouble::NotYet(rejected.to_string()))?;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    admin: &Arc<Admin>,
    work: impl FnOnce(&Admin) -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, Trouble> {
    let admin = Arc::clone(admin);
    match tokio::task::spawn_blocking(move || work(&admin)).await {
        Ok(result) => result.map_err(|error| not_yet(&error)),
        Err(_) => Err(Trouble::NotYet("the program is ending".to_owned())),
    }
}

fn not_yet(error: &KafkaError) -> Trouble {
    Trouble::NotYet(error.to_string())
}
