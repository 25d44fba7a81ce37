//! `[topic]`: which topic, and how it is reached. Plain data; a topic is made from it by `Topic::open`.

use millrace_config::{Age, ByteSize, MinFree, Secret, Section, choices};
use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

/// A topic's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicSettings {
    /// `type = "kafka"`.
    Kafka(KafkaSettings),
    /// `type = "embedded"`.
    Embedded(EmbeddedSettings),
    /// `type = "http"`.
    Http(HttpSettings),
}

/// The topic's name unless one is configured.
pub const DEFAULT_NAME: &str = "millrace.logs";

/// A topic of a Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port` of a few brokers; the others are found through them.
    pub brokers: Vec<String>,
    /// The topic's name.
    pub name: String,
    /// How many partitions it is made with, if it is absent.
    pub partitions: u32,
    /// How many replicas it is made with, if it is absent; `None`: as the broker is set.
    pub replication: Option<u16>,
    /// Of messages of one key the last is kept, for ever, and one without a value ends the key. Not configurable.
    pub(crate) compacted: bool,
    /// Passed to librdkafka after everything that we set ourselves.
    pub librdkafka: BTreeMap<String, String>,
}

/// A topic in this process, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// Where topics lie, each in a folder of its own.
    pub directory: PathBuf,
    /// The topic's name: a folder's name too.
    pub name: String,
    /// How many partitions it is made with, if it is absent.
    pub partitions: u32,
    /// Messages are kept so long,
    pub retention: Duration,
    /// and until the topic is larger than this; but not deleted before every known group has committed them.
    pub retention_bytes: u64,
    /// At this size messages are deleted all the same, and that is said.
    pub disk_bytes: u64,
    /// What the disk must have free for anything to be appended; senders wait until it does.
    pub min_free: MinFree,
    /// When an append is synced to the disk.
    pub fsync: Fsync,
    /// A larger message is rejected.
    pub max_message_bytes: u64,
    /// A segment file is about so large. Not configurable: tests make it small.
    pub segment_bytes: u64,
}

/// A topic of another host, which is only sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where that host listens, with what stands before `/api/v1/topic`.
    pub url: String,
    /// What it asks for.
    pub token: Option<Secret>,
    /// Whom it is believed to be, and who we are.
    pub tls: ClientTls,
    /// A topic beside the host's own. Not configurable.
    side: Option<Side>,
}

/// What a client needs for TLS beside what the system brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Who else may have signed the other's certificate, PEM.
    pub ca: Option<PathBuf>,
    /// What is shown to the other side: a certificate and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A topic beside another, named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What nobody could read, or no topic would take.
    Dead,
    /// What agents say of themselves.
    Agents,
    /// What rules of one partition hand on to those that see all.
    Matches,
    /// What people found alerts to be.
    Verdicts,
}

impl Side {
    pub(crate) const ALL: [Self; 4] = [Self::Dead, Self::Agents, Self::Matches, Self::Verdicts];
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// What stands behind the topic's name and a dot.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Agents => "agents",
            Self::Matches => "matches",
            Self::Verdicts => "verdicts",
        }
    }

    /// How many partitions it has, beside a topic of so many.
    fn partitions(self, beside: u32) -> u32 {
        match self {
            Self::Dead | Self::Agents | Self::Verdicts => 1,
            Self::Matches => beside.min(MATCH_PARTITIONS),
        }
    }

    /// How much larger than the topic's own its messages may be, in bytes: what a dead letter says beside the original.
    fn more(self) -> usize {
        match self {
            Self::Dead => DEAD_LETTER_STORY,
            Self::Agents | Self::Matches | Self::Verdicts => 0,
        }
    }

    /// Do agents send to it, from other hosts, too?
    pub(crate) fn is_for_agents(self) -> bool {
        match self {
            Self::Dead | Self::Agents => true,
            Self::Matches | Self::Verdicts => false,
        }
    }

    /// Does it keep the last message of each key alone?
    fn is_compacted(self) -> bool {
        match self {
            Self::Dead | Self::Agents | Self::Matches => false,
            Self::Verdicts => true,
        }
    }
}

/// Matches are few beside records, and every partition of the topic says in each of these how late it is.
const MATCH_PARTITIONS: u32 = 4;

/// When what was appended is synced. An acknowledged message survives the death of the process in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is acknowledged. It survives a power cut.
    Always,
    /// Within a second. A power cut may take that second.
    Interval,
}

choices!(Fsync { "always" => Self::Always, "interval" => Self::Interval });

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kafka,
    Embedded,
    Http,
}

choices!(Kind { "kafka" => Self::Kafka, "embedded" => Self::Embedded, "http" => Self::Http });

/// librdkafka's keys that hold our promises, and why they are not for configuration.
pub const LIBRDKAFKA_OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "topic.brokers says it"),
    ("metadata.broker.list", "topic.brokers says it"),
    ("group.id", "each role has its own"),
    ("group.instance.id", "two members could pass for one"),
    ("group.protocol", "partitions are handed over by the classic protocol"),
    ("partition.assignment.strategy", "partitions are handed over all together"),
    ("enable.idempotence", "idempotence keeps messages in order"),
    ("acks", "a delivered message must survive the loss of a broker"),
    ("request.required.acks", "a delivered message must survive the loss of a broker"),
    ("message.timeout.ms", "messages are never given up"),
    ("delivery.timeout.ms", "messages are never given up"),
    ("message.send.max.retries", "messages are never given up"),
    ("retries", "messages are never given up"),
    ("transactional.id", "the program does not use it"),
    ("enable.gapless.guarantee", "the program does not use it"),
    ("enable.auto.commit", "offsets are committed when records are published"),
    ("auto.commit.enable", "offsets are committed when records are published"),
    ("enable.auto.offset.store", "offsets are committed when records are published"),
    ("auto.offset.reset", "no message may be passed over"),
    ("allow.auto.create.topics", "topics are created with the configured partitions"),
    ("enable.partition.eof", "the program does not use it"),
    ("isolation.level", "only committed messages are read"),
    ("statistics.interval.ms", "health and lag need it"),
    ("log.queue", "the program reads the log itself"),
];

/// Keys that hold secrets: never shown.
pub(crate) fn is_secret(key: &str) -> bool {
    ["password", "secret", "key.pem", "token"].iter().any(|word| key.contains(word))
}

impl TopicSettings {
    /// Reads `[topic]`. `None`: what is wrong is noted in the document.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        match section.required::<Kind>("type")? {
            Kind::Kafka => KafkaSettings::read(section).map(Self::Kafka),
            Kind::Embedded => EmbeddedSettings::read(section).map(Self::Embedded),
            Kind::Http => HttpSettings::read(section).map(Self::Http),
        }
    }

    /// The topic's name; for one of another host, where that is.
    pub fn name(&self) -> &str {
        match self {
            Self::Kafka(settings) => &settings.name,
            Self::Embedded(settings) => &settings.name,
            Self::Http(settings) => &settings.url,
        }
    }
}

impl KafkaSettings {
    /// A topic on these brokers, with defaults for the rest.
    pub fn new(brokers: Vec<String>, name: &str) -> Self {
        Self {
            brokers,
            name: name.to_owned(),
            partitions: 12,
            replication: None,
            compacted: false,
            librdkafka: BTreeMap::new(),
        }
    }

    /// Reads a topic of a Kafka cluster. `None`: what is wrong is noted in the document.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let brokers: Option<Vec<String>> = section.required("brokers");
        if brokers.as_ref().is_some_and(Vec::is_empty) {
            section.error("brokers", "is empty: at least one host:port is needed");
        }
        let name = read_name(section);
        let partitions = read_partitions(section, 12);
        let replication: Option<u16> = section.optional("replication");
        if replication == Some(0) {
            section.error("replication", "must be at least 1");
        }
        let mut librdkafka = BTreeMap::new();
        if let Some(mut table) = section.section("librdkafka") {
            for (key, value) in table.rest() {
                match LIBRDKAFKA_OURS.iter().find(|(ours, _)| *ours == key) {
                    Some((_, why)) => table.error(&key, format!("cannot be set here: {why}")),
                    None => drop(librdkafka.insert(key, value)),
                }
            }
        }
        Some(Self { brokers: brokers?, name, partitions, replication, compacted: false, librdkafka })
    }

    /// The settings of a topic beside it.
    pub(crate) fn beside(&self, side: Side) -> Self {
        let mut beside = self.clone();
        beside.name = format!("{}.{}", self.name, side.name());
        beside.partitions = side.partitions(self.partitions);
        beside.compacted = side.is_compacted();
        let limit = self.max_message_bytes() + side.more();
        beside.librdkafka.insert(MESSAGE_MAX_BYTES.to_owned(), limit.to_string());
        beside
    }

    /// The largest message that the client takes.
    pub(crate) fn max_message_bytes(&self) -> usize {
        let set = self.librdkafka.get(MESSAGE_MAX_BYTES).and_then(|value| value.parse().ok());
        set.unwrap_or(MESSAGE_MAX_BYTES_DEFAULT)
    }
}

pub(crate) const MESSAGE_MAX_BYTES: &str = "message.max.bytes";
/// librdkafka's own default.
pub(crate) const MESSAGE_MAX_BYTES_DEFAULT: usize = 1_000_000;
/// What a dead letter may say beside the original bytes.
const DEAD_LETTER_STORY: usize = 64 << 10;

impl EmbeddedSettings {
    /// A topic in this folder, with defaults for the rest.
    pub fn new(directory: PathBuf, name: &str) -> Self {
        Self {
            directory,
            name: name.to_owned(),
            partitions: 4,
            retention: Duration::from_hours(24),
            retention_bytes: 1 << 30,
            disk_bytes: 16 << 30,
            min_free: MinFree::default(),
            fsync: Fsync::Always,
            max_message_bytes: 8 << 20,
            segment_bytes: 16 << 20,
        }
    }

    fn read(section: &mut Section<'_>) -> Option<Self> {
        let directory: Option<PathBuf> = section.required("directory");
        let name = read_name(section);
        let defaults = Self::new(PathBuf::new(), "");
        let read = Self {
            directory: PathBuf::new(),
            name,
            partitions: read_partitions(section, defaults.partitions),
            retention: section.or("retention", Age(defaults.retention)).0,
            retention_bytes: section.or("retention_bytes", ByteSize(defaults.retention_bytes)).0,
            disk_bytes: section.or("disk_bytes", ByteSize(defaults.disk_bytes)).0,
            min_free: MinFree::read(section),
            fsync: section.or("fsync", defaults.fsync),
            max_message_bytes: section.or("max_message_bytes", ByteSize(defaults.max_message_bytes)).0,
            segment_bytes: defaults.segment_bytes,
        };
        if read.disk_bytes < read.retention_bytes {
            section.error("disk_bytes", "is below retention_bytes: what groups have not read would go first");
        }
        if !(1 << 10..=32 << 20).contains(&read.max_message_bytes) {
            section.error("max_message_bytes", "must lie between 1 KiB and 32 MiB");
        }
        Some(Self { directory: directory?, ..read })
    }

    /// The settings of a topic beside it. It may have what the others must leave: an indexer waits for it in the middle of its
    /// work.
    pub(crate) fn beside(&self, side: Side) -> Self {
        let mut beside = self.clone();
        beside.name = format!("{}.{}", self.name, side.name());
        beside.partitions = side.partitions(self.partitions);
        beside.min_free = MinFree::NOTHING;
        beside.max_message_bytes += side.more() as u64;
        beside
    }
}

impl HttpSettings {
    /// The topic of the host at this address, without a token and with the system's certificates.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), token: None, tls: ClientTls::default(), side: None }
    }

    fn read(section: &mut Section<'_>) -> Option<Self> {
        let url: Option<String> = section.required("url");
        let plain = section.or("allow_plaintext", false);
        if let Some(url) = &url {
            read_url(section, url, plain);
        }
        let token = section.token("token");
        let tls = section.section("tls").map(|mut tls| ClientTls::read(&mut tls)).unwrap_or_default();
        Some(Self { url: url?, token, tls, side: None })
    }

    /// The settings of a topic beside it.
    pub(crate) fn beside(&self, side: Side) -> Self {
        Self { side: Some(side), ..self.clone() }
    }

    /// What stands behind `/api/v1/topic`.
    pub(crate) fn path(&self) -> String {
        self.side.map(|side| format!("/{}", side.name())).unwrap_or_default()
    }
}

fn read_url(section: &mut Section<'_>, url: &str, allow_plaintext: bool) {
    let parsed = match reqwest::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(error) => return section.error("url", format!("{url:?} is no address: {error}")),
    };
    if !["http", "https"].contains(&parsed.scheme())
        || parsed.query().is_some()
        || parsed.fragment().is_some()
    {
        return section.error("url", "an address such as \"https://logs.example.com:7703\" expected");
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return section.error("url", "a name and a password have no place in it; `token` has");
    }
    let here = parsed.host_str().is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    });
    if parsed.scheme() == "http" && !here && !allow_plaintext {
        section.error_with_help(
            "url",
            "http:// is read by everybody on the way, the token with it",
            "use https://, or say `allow_plaintext = true`",
        );
    }
}

impl ClientTls {
    fn read(section: &mut Section<'_>) -> Self {
        let ca = section.optional("ca");
        let (certificate, key) = (section.optional("certificate"), section.optional("key"));
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                section.error("certificate", "its `key` is missing");
                None
            }
            (None, Some(_)) => {
                section.error("key", "its `certificate` is missing");
                None
            }
        };
        Self { ca, identity }
    }
}

fn read_name(section: &mut Section<'_>) -> String {
    let name = section.or("name", DEFAULT_NAME.to_owned());
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    // Room is left for `.verdicts`; Kafka's own limit is 249.
    if !(1..=240).contains(&name.len()) || !name.bytes().all(legal) || name.starts_with('.') {
        section.error("name", "must be 1 to 240 letters, digits, '.', '_' or '-', and not begin with a '.'");
    }
    name
}

fn read_partitions(section: &mut Section<'_>, default: u32) -> u32 {
    let partitions = section.or("partitions", default);
    if !(1..=10_000).contains(&partitions) {
        section.error("partitions", "must lie between 1 and 10000");
    }
    partitions
}

#[cfg(test)]
mod tests;
