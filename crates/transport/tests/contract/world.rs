//! The worlds of the suite, and what its functions share.

use bytes::Bytes;
use millrace_model::{Partition, SystemClock, wire::Payload};
use millrace_test_support::kafka;
use millrace_transport::{
    AnyConsumer, AnyProducer, Assignment, Consumer, ConsumerEvent, DeliveryReport, EmbeddedSettings,
    HttpSettings, KafkaSettings, Message, Metrics, Producer, Revocation, Start, Topic, TopicSettings, router,
};
use prometheus_client::registry::Registry;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
};
use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

/// Long enough for a busy machine; nothing here waits for time to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) const PARTITIONS: u32 = 4;

/// Where topics are made.
pub(crate) struct World {
    pub(crate) settings: TopicSettings,
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    /// Messages come from another host.
    afar: bool,
    serving: Mutex<JoinSet<()>>,
    _folder: Option<TempDir>,
}

impl World {
    pub(crate) fn embedded() -> Self {
        let folder = TempDir::new().unwrap();
        let settings = EmbeddedSettings::new(folder.path().to_owned(), "logs");
        Self::new(TopicSettings::Embedded(settings), Some(folder))
    }

    /// An embedded topic that is sent to through HTTP.
    pub(crate) fn http() -> Self {
        Self { afar: true, ..Self::embedded() }
    }

    /// A topic of its own on the shared broker.
    pub(crate) fn kafka() -> Self {
        Self::kafka_at(&kafka::shared().bootstrap)
    }

    pub(crate) fn kafka_at(bootstrap: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("logs-{}", NUMBER.fetch_add(1, Ordering::SeqCst));
        let mut settings = KafkaSettings::new(vec![bootstrap.to_owned()], &name);
        settings.partitions = PARTITIONS;
        Self::new(TopicSettings::Kafka(settings), None)
    }

    fn new(settings: TopicSettings, folder: Option<TempDir>) -> Self {
        // `RUST_LOG=debug cargo test …` shows what went on.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer();
        drop(log.try_init());
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        Self { settings, registry, metrics, afar: false, serving: Mutex::default(), _folder: folder }
    }

    pub(crate) async fn open(&self) -> Topic {
        Topic::open(&self.settings, Arc::new(SystemClock), &self.metrics).await.unwrap()
    }

    /// The topic as it is sent to: itself, or what stands for it on another host.
    pub(crate) async fn sending(&self, topic: &Topic) -> Topic {
        if !self.afar {
            return topic.clone();
        }
        let url = self.serve(router(topic)).await;
        self.open_afar(HttpSettings::new(&url)).await
    }

    pub(crate) async fn open_afar(&self, settings: HttpSettings) -> Topic {
        Topic::open(&TopicSettings::Http(settings), Arc::new(SystemClock), &self.metrics).await.unwrap()
    }

    /// Serves until the world ends, and says where.
    pub(crate) async fn serve(&self, router: axum::Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        self.serve_at(listener, router);
        url
    }

    pub(crate) fn serve_at(&self, listener: TcpListener, router: axum::Router) {
        self.serving.lock().unwrap().spawn(async move { axum::serve(listener, router).await.unwrap() });
    }

    /// Deletes the topic, which nobody has open, with all that is in it.
    pub(crate) async fn delete(&self) {
        match &self.settings {
            TopicSettings::Embedded(settings) => {
                fs::remove_dir_all(settings.directory.join(&settings.name)).unwrap();
            }
            TopicSettings::Kafka(settings) => delete_topic(settings).await,
            TopicSettings::Http(_) => unreachable!(),
        }
    }

    /// What the group has committed, as the topic keeps it.
    pub(crate) async fn committed(&self, group: &str, partition: Partition) -> Option<i64> {
        match &self.settings {
            TopicSettings::Embedded(settings) => {
                let path = settings.directory.join(&settings.name).join("groups.json");
                let stored: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).unwrap();
                stored["groups"][group]["next"][partition.to_string()].as_i64()
            }
            TopicSettings::Kafka(settings) => {
                let (settings, group) = (settings.clone(), format!("{}.{group}", settings.name));
                let ask = move || {
                    let client: BaseConsumer = config(&settings).set("group.id", &group).create().unwrap();
                    let mut list = TopicPartitionList::new();
                    list.add_partition(&settings.name, partition.0);
                    let answer = client.committed_offsets(list, PATIENCE).unwrap();
                    match answer.find_partition(&settings.name, partition.0).unwrap().offset() {
                        Offset::Offset(offset) => Some(offset),
                        _ => None,
                    }
                };
                tokio::task::spawn_blocking(ask).await.unwrap()
            }
            TopicSettings::Http(_) => unreachable!(),
        }
    }

    /// The value of a metric, by its whole name.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let topic = format!("{{topic=\"{}\"}}", self.settings.name());
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(topic.as_str()));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

fn config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", settings.brokers.join(","));
    config
}

/// Deletes a Kafka topic, and waits until the broker says that it is gone.
pub(crate) async fn delete_topic(settings: &KafkaSettings) {
    let admin: AdminClient<DefaultClientContext> = config(settings).create().unwrap();
    let results = admin.delete_topics(&[&settings.name], &AdminOptions::new()).await.unwrap();
    for result in results {
        result.unwrap();
    }
    let gone = || {
        let metadata = admin.inner().fetch_metadata(Some(&settings.name), PATIENCE).unwrap();
        metadata.topics().iter().all(|topic| topic.error().is_some())
    };
    while !gone() {
        tokio::task::yield_now().await;
    }
}

/// What the broker says is done with old messages of a topic.
pub(crate) async fn cleanup_policy(settings: &KafkaSettings, topic: &str) -> String {
    let admin: AdminClient<DefaultClientContext> = config(settings).create().unwrap();
    let topic = ResourceSpecifier::Topic(topic);
    let described = admin.describe_configs([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    described.get("cleanup.policy").unwrap().value.clone().unwrap()
}

/// The keys and values of a topic's first partition, up to so many, as the broker has them: a value may be none.
pub(crate) async fn keys_and_values(
    settings: &KafkaSettings,
    topic: &str,
    count: usize,
) -> Vec<(String, Option<String>)> {
    let client: BaseConsumer = config(settings).set("group.id", "raw").create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    client.assign(&list).unwrap();
    let read = move || {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut found = Vec::new();
        while found.len() < count {
            let message = client.poll(PATIENCE).unwrap().unwrap();
            found.push((text(message.key().unwrap()), message.payload().map(text)));
        }
        found
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Waits until a group's coordinator tells of this state, and so many members.
pub(crate) async fn until_group(settings: &KafkaSettings, group: &str, state: &str, members: usize) {
    let (group, state) = (format!("{}.{group}", settings.name), state.to_owned());
    let client: BaseConsumer = config(settings).create().unwrap();
    let ask = Arc::new(move || {
        let groups = client.fetch_group_list(Some(&group), PATIENCE).unwrap();
        groups.groups().iter().any(|found| found.state() == state && found.members().len() == members)
    });
    loop {
        let ask = Arc::clone(&ask);
        if tokio::task::spawn_blocking(move || ask()).await.unwrap() {
            return;
        }
    }
}

/// Removes all messages of a partition that lie before an offset, as a broker's retention does.
pub(crate) async fn remove_records(settings: &KafkaSettings, partition: Partition, before: i64) {
    let admin: AdminClient<DefaultClientContext> = config(settings).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&settings.name, partition.0, Offset::Offset(before)).unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

/// Waits for what must come.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it never came")
}

/// Waits until a condition that is looked at again and again holds.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(wait).await;
}

/// A message that can be told from others: its number in the value, some of it in key and headers.
pub(crate) fn payload(number: u64) -> Payload {
    Payload {
        key: Bytes::from(format!("host-{}", number % 7)),
        headers: vec![
            ("number".to_owned(), Bytes::from(number.to_string())),
            ("number".to_owned(), Bytes::from_static(b"\x00\xff")),
            ("empty".to_owned(), Bytes::new()),
        ],
        value: Bytes::from(format!("{number} {}", "x".repeat((number % 300) as usize))),
    }
}

/// The number of a message made by [`payload`]; `None` for the topic's marker.
pub(crate) fn number(message: &Message) -> Option<u64> {
    let (_, value) = message.headers.iter().find(|(name, _)| name == "number")?;
    Some(std::str::from_utf8(value).unwrap().parse().unwrap())
}

/// A producer and its reports.
pub(crate) struct Sender {
    pub(crate) producer: AnyProducer,
    pub(crate) reports: mpsc::Receiver<DeliveryReport>,
}

impl Sender {
    pub(crate) fn new(topic: &Topic, room: usize) -> Self {
        let (sender, reports) = mpsc::channel(room);
        Self { producer: topic.producer(sender).unwrap(), reports }
    }

    /// Sends the numbers round the partitions, and returns where each lies once all are delivered.
    pub(crate) async fn send_all(
        &mut self,
        numbers: impl Iterator<Item = u64>,
    ) -> BTreeMap<u64, (Partition, i64)> {
        let mut places = BTreeMap::new();
        let mut take = |report: DeliveryReport| {
            assert!(places.insert(report.ticket, report.outcome.unwrap()).is_none(), "reported twice");
        };
        let mut sent = 0;
        for number in numbers {
            let partition = Partition((number % u64::from(PARTITIONS)) as i32);
            let send = self.producer.send(partition, payload(number), number);
            tokio::pin!(send);
            loop {
                tokio::select! {
                    biased;
                    Some(report) = self.reports.recv() => { sent -= 1; take(report) }
                    done = &mut send => { done.unwrap(); break }
                }
            }
            sent += 1;
        }
        while sent > 0 {
            take(soon(self.reports.recv()).await.unwrap());
            sent -= 1;
        }
        places
    }
}

/// The next event, which must be an assignment of at least one partition.
pub(crate) async fn assigned(consumer: &mut AnyConsumer) -> Assignment {
    match soon(consumer.next()).await {
        Some(ConsumerEvent::Assigned(assignment)) => assignment,
        other => panic!("an assignment expected, found {other:?}"),
    }
}

/// The next event but messages, which must be a revocation.
pub(crate) async fn revoked(consumer: &mut AnyConsumer) -> Revocation {
    loop {
        match soon(consumer.next()).await {
            Some(ConsumerEvent::Revoked(revocation)) => return revocation,
            Some(ConsumerEvent::Messages(_)) => {}
            other => panic!("a revocation expected, found {other:?}"),
        }
    }
}

/// The next messages; nothing else may come.
pub(crate) async fn messages(consumer: &mut AnyConsumer) -> Vec<Message> {
    match soon(consumer.next()).await {
        Some(ConsumerEvent::Messages(messages)) => messages,
        other => panic!("messages expected, found {other:?}"),
    }
}

/// Every partition from its earliest message.
pub(crate) fn from_start(assignment: &Assignment) -> Vec<(Partition, Start)> {
    assignment.partitions.iter().map(|assigned| (assigned.partition, Start::Earliest)).collect()
}

/// Joins the group and begins at the earliest of all partitions.
pub(crate) async fn read_from_start(topic: &Topic, group: &str) -> AnyConsumer {
    let mut consumer = topic.consumer(group).unwrap();
    let assignment = assigned(&mut consumer).await;
    assert_eq!(assignment.partitions.len(), PARTITIONS as usize);
    let at = from_start(&assignment);
    assignment.start(at);
    consumer
}

/// Reads until so many numbered messages have come.
pub(crate) async fn read_numbers(consumer: &mut AnyConsumer, count: usize) -> Vec<Message> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(messages(consumer).await.into_iter().filter(|message| number(message).is_some()));
    }
    found
}
