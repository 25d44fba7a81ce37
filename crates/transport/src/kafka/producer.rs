//! Sends to a Kafka topic, and keeps what it sent until the broker has it.
//!
//! One thread serves the client's callbacks. When a client can go on no longer (a fatal error of the idempotent producer,
//! a delivery that failed for a reason that may pass), the thread makes a new one and sends everything again that was not
//! reported, in the order in which it was taken. New messages wait meanwhile.

mod context;

use super::{
    Inner, KafkaTopic, Ready,
    client::{self, Health},
};
use crate::{
    DeliveryReport, Error, Producer, Rejected, Topic,
    message::{size, weight},
    metrics::TopicMetrics,
    reports::{Reports, Slot},
    sync::{Bell, lock},
};
use context::{Context, rejection};
use millrace_model::{Partition, wire::Payload};
use rdkafka::{
    ClientConfig,
    config::FromClientConfigAndContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc};

/// How long the serving thread waits for events at a time.
const TICK: Duration = Duration::from_millis(100);
/// How long a send waits before it tries a full or absent client again, unless it is woken.
const RETRY: Duration = Duration::from_millis(50);
const METADATA: Duration = Duration::from_secs(10);
/// After so long without a delivery the topic is looked at: librdkafka says nothing of messages whose topic is gone.
const STALLED: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_secs(2);

type Client = BaseProducer<Context>;

/// A producer for a Kafka topic. Dropped, it gives up what is not reported: `flush` first.
pub struct KafkaProducer {
    topic: Arc<Inner>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for KafkaProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaProducer").field("topic", &self.topic.settings.name).finish_non_exhaustive()
    }
}

struct Shared {
    name: String,
    compacted: bool,
    config: ClientConfig,
    reports: Reports,
    state: Mutex<State>,
    /// Told when a send that found no room may try again.
    room: Notify,
    health: Arc<Health>,
    metrics: TopicMetrics,
    stopping: AtomicBool,
    /// Rung when stopping, for the pause between two clients.
    bell: Bell,
}

#[derive(Default)]
struct State {
    /// `None` while it is being replaced.
    client: Option<Arc<Client>>,
    /// Which client it is: failures of earlier ones mean nothing.
    generation: u64,
    /// The client must be replaced, and why.
    broken: Option<String>,
    next: usize,
    /// How many messages have been settled so far.
    settled: u64,
    /// Everything sent and not reported, in order.
    open: BTreeMap<usize, Open>,
}

struct Open {
    partition: Partition,
    payload: Payload,
    slot: Slot,
}

/// What the serving thread remembers of a time without deliveries.
struct Stall {
    settled: u64,
    /// When it began, or was last looked into.
    since: Instant,
    /// The topic was not there at the last look.
    gone: bool,
}

impl Default for Stall {
    fn default() -> Self {
        Self { settled: 0, since: Instant::now(), gone: false }
    }
}

/// What a send came to.
enum Sent {
    Taken,
    Rejected(Rejected),
    /// Try again.
    Later,
    /// The client is broken.
    Broken(String),
}

impl KafkaProducer {
    pub(super) fn open(topic: &Arc<Inner>, reports: mpsc::Sender<DeliveryReport>) -> Result<Self, Error> {
        let settings = &topic.settings;
        let config = client::producer(settings);
        let shared = Arc::new(Shared {
            name: settings.name.clone(),
            compacted: settings.compacted,
            reports: Reports::new(reports, client::under_way_bytes(&config), topic.metrics.clone()),
            config,
            state: Mutex::default(),
            room: Notify::new(),
            health: Arc::clone(&topic.health),
            metrics: topic.metrics.clone(),
            stopping: AtomicBool::new(false),
            bell: Bell::default(),
        });
        let client = shared.client(0).map_err(|error| client::client_error(settings, error))?;
        lock(&shared.state).client = Some(Arc::new(client));
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("send to Kafka".to_owned()).spawn(move || serving.serve());
        let thread = match thread {
            Ok(thread) => thread,
            Err(source) => {
                let client = lock(&shared.state).client.take();
                drop(client);
                return Err(Error::Thread { topic: settings.name.clone(), source });
            }
        };
        Ok(Self { topic: Arc::clone(topic), shared, thread: Some(thread) })
    }
}

impl Producer for KafkaProducer {
    async fn partitions(&self) -> Result<u32, Error> {
        let mut ready = self.topic.ready.subscribe();
        let ready = ready.wait_for(|ready| *ready != Ready::NotYet).await.map_err(|_| Error::Closed)?.clone();
        let topic = self.shared.name.clone();
        if let Ready::Refused(reason) = ready {
            return Err(Error::Refused { topic, reason });
        }
        let Some(client) = lock(&self.shared.state).client.clone() else {
            let source = KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerNotAvailable);
            return Err(Error::Unreachable { topic, source });
        };
        let fetch = move || match client.client().fetch_metadata(Some(&topic), METADATA) {
            Ok(metadata) => Ok(metadata.topics().first().map_or(0, |topic| topic.partitions().len() as u32)),
            Err(source) => Err(Error::Unreachable { topic, source }),
        };
        tokio::task::spawn_blocking(fetch).await.map_err(|_| Error::Closed)?
    }

    async fn send(&self, partition: Partition, payload: Payload, ticket: u64) -> Result<(), Error> {
        let size = size(&payload.key, &payload.headers, &payload.value);
        let weight = weight(&payload.key, &payload.headers, &payload.value);
        let slot = self.shared.reports.admit(ticket, weight, size).await?;
        let mut open = Open { partition, payload, slot };
        loop {
            match self.shared.try_send(open) {
                None => return Ok(()),
                Some(again) => open = again,
            }
            // Woken or not: what matters is whether there is room.
            drop(tokio::time::timeout(RETRY, self.shared.room.notified()).await);
        }
    }

    async fn keep_dead(&self, partition: Partition, original: Payload, reason: &str) -> Result<(), Error> {
        Topic::Kafka(KafkaTopic(Arc::clone(&self.topic))).keep_dead(partition, original, reason).await
    }

    async fn flush(&self, within: Duration) -> bool {
        self.shared.reports.settled(within).await
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.bell.ring();
        // The thread ends within a tick and takes the client with it; nobody has to wait for that.
        drop(self.thread.take());
    }
}

impl Shared {
    fn client(self: &Arc<Self>, generation: u64) -> Result<Client, KafkaError> {
        let context = Context { shared: Arc::clone(self), generation };
        Client::from_config_and_context(&self.config, context)
    }

    /// Sends, or gives the message back to be tried later. The lock is held so that the order in the queue is the order
    /// in `open`.
    fn try_send(&self, open: Open) -> Option<Open> {
        let mut state = lock(&self.state);
        let Some(client) = &state.client else { return Some(open) };
        match self.hand_over(client, state.next, open.partition, &open.payload) {
            Sent::Taken => {
                let sequence = state.next;
                state.next += 1;
                state.open.insert(sequence, open);
                None
            }
            Sent::Rejected(rejected) => {
                drop(state);
                open.slot.report(Err(rejected));
                None
            }
            Sent::Later => Some(open),
            Sent::Broken(reason) => {
                state.broken.get_or_insert(reason);
                Some(open)
            }
        }
    }

    fn hand_over(&self, client: &Client, sequence: usize, partition: Partition, payload: &Payload) -> Sent {
        let mut headers = OwnedHeaders::new_with_capacity(payload.headers.len());
        for (name, value) in &payload.headers {
            headers = headers.insert(Header { key: name, value: Some(value.as_ref()) });
        }
        let record = BaseRecord::with_opaque_to(&self.name, sequence)
            .partition(partition.0)
            .key(payload.key.as_ref())
            .headers(headers);
        // Only a value that is none at all ends a key.
        let ends_a_key = self.compacted && payload.value.is_empty() && !payload.key.is_empty();
        let record = if ends_a_key { record } else { record.payload(payload.value.as_ref()) };
        let Err((error, _)) = client.send::<[u8], [u8]>(record) else { return Sent::Taken };
        let Some(code) = error.rdkafka_error_code() else {
            return Sent::Rejected(Rejected::Refused(error.to_string()));
        };
        match rejection(code, partition, payload) {
            Some(rejected) => Sent::Rejected(rejected),
            None if code == RDKafkaErrorCode::Fatal => Sent::Broken(error.to_string()),
            None => {
                if code != RDKafkaErrorCode::QueueFull {
                    self.health.told(&error, &error.to_string());
                }
                Sent::Later
            }
        }
    }

    /// Serves callbacks until stopped.
    fn serve(self: Arc<Self>) {
        let mut failures = 0;
        let mut stall = Stall::default();
        while !self.stopping.load(Ordering::SeqCst) {
            let (client, broken) = {
                let mut state = lock(&self.state);
                (state.client.clone(), state.broken.take())
            };
            if let (Some(client), None) = (&client, &broken) {
                client.poll(TICK);
                let fatal = client.client().fatal_error().map(|(_, reason)| reason);
                if let Some(reason) = fatal.or_else(|| self.look_if_stalled(client, &mut stall)) {
                    lock(&self.state).broken.get_or_insert(reason);
                }
                if lock(&self.state).broken.is_none() {
                    failures = 0;
                }
                continue;
            }
            failures += 1;
            self.replace(client, &broken.unwrap_or_default(), failures);
        }
        // The context of the client holds `self`: this ends the circle.
        // Not under the lock: its last callbacks take it.
        let client = lock(&self.state).client.take();
        drop(client);
        let open = std::mem::take(&mut lock(&self.state).open);
        drop(open);
    }

    /// Looks whether the topic is still there when nothing has been delivered for a while. Says why the client must be
    /// replaced, if it must: the topic was gone and is back, and librdkafka has lost its way.
    fn look_if_stalled(&self, client: &Client, stall: &mut Stall) -> Option<String> {
        let (settled, idle) = {
            let state = lock(&self.state);
            (state.settled, state.open.is_empty())
        };
        if idle || settled != stall.settled {
            *stall = Stall { settled, ..Stall::default() };
            return None;
        }
        if stall.since.elapsed() < STALLED {
            return None;
        }
        stall.since = Instant::now();
        let metadata = client.client().fetch_metadata(Some(&self.name), LOOK).ok()?;
        let topic = metadata.topics().first()?;
        match topic.error().map(RDKafkaErrorCode::from) {
            Some(error) if error != RDKafkaErrorCode::NoError => {
                stall.gone = true;
                self.health.down(error.to_string());
                None
            }
            _ => std::mem::take(&mut stall.gone).then(|| "the topic was gone and is back".to_owned()),
        }
    }

    /// Makes a new client and sends again what the old one did not deliver.
    fn replace(self: &Arc<Self>, old: Option<Arc<Client>>, reason: &str, failures: u32) {
        self.metrics.retries.inc();
        self.health.down(format!("messages cannot be delivered: {reason}"));
        let generation = {
            let mut state = lock(&self.state);
            state.client = None;
            state.broken = None;
            state.generation += 1;
            state.generation
        };
        if let Some(old) = old {
            // Its last callbacks: what was delivered after all leaves `open`.
            old.purge(PurgeConfig::default().queue().inflight());
            if let Err(error) = old.flush(Duration::from_secs(2)) {
                tracing::debug!(%error, "the old Kafka client did not empty its queue");
            }
        }
        let seen = self.bell.rings();
        self.bell.wait(seen, Duration::from_millis(200 << failures.min(6)));
        let client = match self.client(generation) {
            Ok(client) => Arc::new(client),
            Err(error) => {
                tracing::error!(%error, "cannot make a new Kafka client; trying again");
                lock(&self.state).broken = Some(error.to_string());
                return;
            }
        };
        if self.send_again(&client) {
            lock(&self.state).client = Some(client);
            self.room.notify_waiters();
        } else {
            lock(&self.state).broken.get_or_insert_with(|| "the new client is broken too".to_owned());
        }
    }

    /// Everything in `open`, in order; `false` if this client cannot do it either.
    fn send_again(&self, client: &Client) -> bool {
        let mut from = 0;
        loop {
            if self.stopping.load(Ordering::SeqCst) || lock(&self.state).broken.is_some() {
                return false;
            }
            let next = {
                let state = lock(&self.state);
                let next = state.open.range(from..).next();
                next.map(|(sequence, open)| (*sequence, open.partition, open.payload.clone()))
            };
            let Some((sequence, partition, payload)) = next else { return true };
            match self.hand_over(client, sequence, partition, &payload) {
                Sent::Taken => from = sequence + 1,
                Sent::Rejected(rejected) => {
                    self.settle(sequence, Err(rejected));
                    from = sequence + 1;
                }
                Sent::Later => client.poll(Duration::from_millis(20)),
                Sent::Broken(_) => return false,
            }
        }
    }

    fn settle(&self, sequence: usize, outcome: Result<(Partition, i64), Rejected>) {
        let open = {
            let mut state = lock(&self.state);
            state.settled += 1;
            state.open.remove(&sequence)
        };
        // A message that two clients delivered is reported once.
        if let Some(open) = open {
            open.slot.report(outcome);
        }
        self.room.notify_one();
    }
}
