//! What all clients of a cluster share: configuration, librdkafka's log, and whether the broker is there.

use crate::{Error, KafkaSettings, settings::is_secret, sync::lock};
use rdkafka::{
    ClientConfig,
    client::ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// For administration and look-ups.
pub(crate) fn plain(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("client.id", "millrace")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "2000")
        // New partitions are seen, and a topic that came back is found, within this time.
        .set("topic.metadata.refresh.interval.ms", "15000")
        .set_log_level(RDKafkaLogLevel::Info);
    config
}

/// For producers. Order and completeness first; then the size of batches.
pub(crate) fn producer(settings: &KafkaSettings) -> ClientConfig {
    let mut config = plain(settings);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("compression.type", "zstd")
        .set("compression.level", "1")
        .set("linger.ms", "5")
        .set("batch.size", "262144")
        .set("queue.buffering.max.kbytes", UNDER_WAY_KIB)
        .set("statistics.interval.ms", "1000");
    pass_through(config, settings)
}

const UNDER_WAY_KIB: &str = "32768";

/// How many bytes a producer may have under way: what librdkafka's queue holds.
pub(crate) fn under_way_bytes(config: &ClientConfig) -> u32 {
    let kib = config.get("queue.buffering.max.kbytes").and_then(|kib| kib.parse::<u32>().ok());
    kib.unwrap_or(32 << 10).clamp(64, 2 << 20).saturating_mul(1024)
}

/// For members of a group. The cluster knows it as `<topic>.<group>`, so that readers of other topics are not in it.
pub(crate) fn consumer(settings: &KafkaSettings, group: &str) -> ClientConfig {
    let mut config = plain(settings);
    config
        .set("group.id", format!("{}.{group}", settings.name))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // What is gone is never passed over in silence.
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("partition.assignment.strategy", "range,roundrobin")
        // A member that was killed is noticed within this time.
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "2000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "20")
        .set("statistics.interval.ms", "1000");
    pass_through(config, settings)
}

/// Last, so that it decides.
pub(crate) fn pass_through(mut config: ClientConfig, settings: &KafkaSettings) -> ClientConfig {
    for (key, value) in &settings.librdkafka {
        config.set(key, value);
    }
    config
}

/// Why a client could not be made.
pub(crate) fn client_error(settings: &KafkaSettings, error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, key, value) => {
            let value = if is_secret(&key) { "(hidden)".to_owned() } else { value };
            Error::Setting { key, value, reason: reason.trim_end_matches('\0').to_owned() }
        }
        source => Error::Client { topic: settings.name.clone(), source },
    }
}

/// Can the topic be used? Told by all clients of a topic, asked by `/readyz`.
#[derive(Debug)]
pub(crate) struct Health {
    topic: String,
    any: AtomicBool,
    trouble: Mutex<Trouble>,
}

/// What stands in the way, by who can say that it no longer does.
#[derive(Debug, Default)]
struct Trouble {
    /// No broker can be reached. Over when one is.
    brokers: Option<String>,
    /// The topic cannot be used. Over when it is.
    topic: Option<String>,
}

impl Health {
    pub(crate) fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), any: AtomicBool::new(false), trouble: Mutex::default() }
    }

    /// The topic cannot be used.
    pub(crate) fn down(&self, reason: impl Into<String>) {
        self.change(|trouble| trouble.topic = Some(reason.into()));
    }

    /// The topic was used.
    pub(crate) fn up(&self) {
        // On the path of every message: only a look, nearly always.
        if self.any.load(Ordering::Relaxed) {
            self.change(|trouble| *trouble = Trouble::default());
        }
    }

    /// Is any broker there?
    fn brokers(&self, trouble_with: Option<String>) {
        if trouble_with.is_some() || self.any.load(Ordering::Relaxed) {
            self.change(|trouble| trouble.brokers = trouble_with);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Trouble)) {
        let mut trouble = lock(&self.trouble);
        let before = trouble.reason().is_some();
        change(&mut trouble);
        match (before, trouble.reason()) {
            (false, Some(reason)) => {
                tracing::warn!(
                    topic = self.topic,
                    reason,
                    "the topic cannot be reached; trying until it can"
                );
            }
            (true, None) => tracing::info!(topic = self.topic, "the topic can be reached again"),
            _ => {}
        }
        self.any.store(trouble.reason().is_some(), Ordering::SeqCst);
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        lock(&self.trouble).reason().map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    /// What a client's error means for the topic as a whole.
    pub(crate) fn told(&self, error: &KafkaError, reason: &str) {
        use RDKafkaErrorCode::{
            AllBrokersDown, Authentication, BrokerTransportFailure, ClusterAuthorizationFailed,
            GroupAuthorizationFailed, PartitionEOF, Resolve, SSL, SaslAuthenticationFailed,
            TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition,
        };
        match error.rdkafka_error_code() {
            // Whoever reads to the end on purpose is told so twice.
            Some(PartitionEOF) => {}
            Some(AllBrokersDown | Authentication | SaslAuthenticationFailed) => {
                self.brokers(Some(reason.to_owned()));
            }
            Some(
                ClusterAuthorizationFailed
                | GroupAuthorizationFailed
                | TopicAuthorizationFailed
                | UnknownTopic
                | UnknownTopicOrPartition,
            ) => self.down(reason),
            // One broker of many; when it is all of them, that is told too.
            Some(BrokerTransportFailure | Resolve | SSL) => {
                tracing::debug!(topic = self.topic, %error, reason);
            }
            _ => tracing::warn!(topic = self.topic, %error, reason, "the Kafka client reports a problem"),
        }
    }
}

impl Trouble {
    fn reason(&self) -> Option<&str> {
        self.brokers.as_deref().or(self.topic.as_deref())
    }
}

/// The context of clients that only look things up.
#[derive(Debug, Clone)]
pub(crate) struct Quiet(pub(crate) Arc<Health>);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.told(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

/// librdkafka's log lines, as ours.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    match level {
        Emerg | Alert | Critical => tracing::error!(target: "librdkafka", facility, "{message}"),
        // Lost connections are its daily bread; what they mean for the topic is said by `Health`. A setting that is
        // for producers only is no news on a consumer.
        Error if facility == "FAIL" => tracing::debug!(target: "librdkafka", facility, "{message}"),
        Warning if facility == "CONFWARN" => tracing::debug!(target: "librdkafka", facility, "{message}"),
        Error | Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        Notice | Info => tracing::info!(target: "librdkafka", facility, "{message}"),
        Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// The part of librdkafka's statistics that is read, once a second.
#[derive(Debug, Deserialize)]
pub(crate) struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    pub(crate) topics: HashMap<String, TopicStatistics>,
}

#[derive(Debug, Deserialize)]
struct Broker {
    nodeid: i64,
    state: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TopicStatistics {
    #[serde(default)]
    pub(crate) partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct PartitionStatistics {
    pub(crate) partition: i32,
    /// The end as committed messages go; negative while unknown.
    pub(crate) ls_offset: i64,
}

impl Statistics {
    /// Reads them, and tells the topic's health what they say of the brokers.
    pub(crate) fn read(json: &[u8], health: &Health) -> Option<Self> {
        match serde_json::from_slice::<Self>(json) {
            Ok(statistics) => {
                if statistics.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP") {
                    health.brokers(None);
                }
                Some(statistics)
            }
            Err(error) => {
                tracing::warn!(%error, "librdkafka's statistics cannot be read; lag and health are stale");
                None
            }
        }
    }
}
