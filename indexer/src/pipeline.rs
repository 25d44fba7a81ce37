//! The indexer's journey, in order: consume → decode → ledger → route → hot rows → freeze → seal and publish.
//!
//! One task owns the consumer and the ledger; leaf searches read the hot rows beside it; one cut at a time is sealed and
//! published beside it. [`hand_over`] tells what happens when partitions come and go.

mod hand_over;
mod indexer;
mod measure;
mod pause;
mod take;

pub use indexer::Indexer;

use crate::{
    Parts, Settings, Status,
    dead_letter::DeadLetters,
    publish::{self, Outcome, Publication},
    quota::Meter,
    room::Room,
    shards::{Frozen, Shards},
    templates::Exchange,
};
use millrace_catalogue::{Amount, Brought, Node};
use millrace_ledger::{Change, Ledger};
use millrace_model::{Partition, Timestamp, TopicId};
use millrace_transport::{AnyConsumer, Consumer, ConsumerEvent, Lag};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often age, weight and backpressure are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long published rows are kept when memory is short.
const SHORT_LINGER: Duration = Duration::from_secs(2);
/// How often this node says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Shutdown,
    Reset,
}

struct InFlight {
    generation: u64,
    publication: Arc<Publication>,
    task: JoinHandle<Outcome>,
}

struct Flow<'a> {
    settings: &'a Settings,
    parts: &'a Arc<Parts>,
    shards: &'a Arc<Shards>,
    templates: &'a Arc<Exchange>,
    status: &'a Arc<Status>,
    consumer: AnyConsumer,
    ledger: Ledger,
    topic_ids: HashMap<Partition, Option<TopicId>>,
    in_flight: Option<InFlight>,
    /// Since when the open generation has rows.
    open_since: Option<Instant>,
    /// Why the topic is paused; nothing: it is not.
    paused: BTreeSet<&'static str>,
    room: &'a Room,
    /// Since when a partition is the group's to take back.
    stranded: Option<Instant>,
    heartbeat: Option<Instant>,
    dead: DeadLetters,
    meter: Meter,
    lag: Lag,
}

impl<'a> Flow<'a> {
    fn new(indexer: &'a Indexer, consumer: AnyConsumer) -> Self {
        let Indexer { settings, parts, shards, templates, status, room } = indexer;
        Self {
            settings,
            parts,
            shards,
            templates,
            status,
            consumer,
            ledger: Ledger::new(),
            topic_ids: HashMap::new(),
            in_flight: None,
            open_since: None,
            paused: BTreeSet::new(),
            room,
            stranded: None,
            heartbeat: None,
            dead: DeadLetters::new(parts.topic.clone()),
            meter: Meter::default(),
            lag: Lag::default(),
        }
    }

    async fn run(mut self, shutdown: &CancellationToken) -> Ended {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ended = loop {
            let reset = tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ended::Shutdown,
                outcome = finished(&mut self.in_flight) => self.cut_ended(outcome),
                _ = ticks.tick() => self.tick().await,
                event = self.consumer.next() => match event {
                    Some(event) => self.take_event(event).await,
                    None => true,
                },
            };
            if reset {
                break Ended::Reset;
            }
        };
        if ended == Ended::Shutdown {
            let deadline = Instant::now() + Duration::from_secs(10);
            self.publish_before(deadline).await;
        }
        self.consumer.close().await;
        ended
    }

    /// One event of the consumer. Returns whether everything must begin again.
    async fn take_event(&mut self, event: ConsumerEvent) -> bool {
        match event {
            ConsumerEvent::Assigned(assignment) => self.assigned(assignment).await,
            ConsumerEvent::Revoked(revocation) => self.revoked(revocation).await,
            ConsumerEvent::Messages(messages) => {
                for message in messages {
                    self.take(message).await;
                }
                self.dead.settle().await;
                self.consider_cut();
            }
        }
        false
    }

    /// What time alone brings about. Returns whether everything must begin again.
    async fn tick(&mut self) -> bool {
        self.consider_cut();
        let now = self.parts.clock.now();
        self.shards.sweep(now.minus(self.settings.linger));
        // What is open now may grow to another cut.
        if self.shards.size().bytes > self.settings.memory.saturating_sub(self.settings.seal_bytes) {
            // A search that is slower than this begins anew.
            self.shards.sweep(now.minus(SHORT_LINGER));
        }
        self.measure(now);
        if self.heartbeat.is_none_or(|last| last.elapsed() >= HEARTBEAT) {
            self.heartbeat = Some(Instant::now());
            self.beat(now).await;
        }
        self.is_stranded(Instant::now())
    }

    async fn beat(&self, now: Timestamp) {
        let node = Node {
            id: self.parts.node.clone(),
            role: "indexer".to_owned(),
            address: self.parts.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seen: now,
        };
        if let Err(error) = self.parts.catalogue.heartbeat(&node).await {
            tracing::warn!(%error, "the catalogue took no heartbeat");
        }
    }

    /// Begins a cut if it is time, and pauses or resumes the topic.
    fn consider_cut(&mut self) {
        let (open, frozen) = self.shards.weight();
        let old = self.open_since.is_some_and(|since| since.elapsed() >= self.settings.seal_age);
        if self.in_flight.is_none() && (open >= self.settings.seal_bytes || old || self.shards.cut_wanted()) {
            self.freeze_and_publish();
        }
        self.regulate(open + frozen);
    }

    /// Freezes the open rows and begins to publish them, unless a cut is under way.
    fn freeze_and_publish(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        let Some(frozen) = self.shards.freeze() else {
            self.open_since = None;
            return;
        };
        self.open_since = None;
        let changes = self.ledger.take_changes();
        self.ledger.forget_closed();
        let traffic = self.meter.take();
        self.begin(frozen, changes, traffic);
    }

    fn begin(&mut self, frozen: Frozen, changes: Vec<Change>, traffic: BTreeMap<Brought, Amount>) {
        let bounds = self.settings.streams.bounds(frozen.rows.iter().map(|(key, _)| &key.stream));
        let publication = Arc::new(Publication { frozen, changes, bounds, traffic });
        let generation = publication.frozen.generation;
        let task = tokio::spawn(publish::publish(
            Arc::clone(self.parts),
            Arc::clone(self.status),
            Arc::clone(self.templates),
            Arc::clone(&publication),
        ));
        self.in_flight = Some(InFlight { generation, publication, task });
    }

    /// A cut ended. Returns whether everything must begin again.
    fn cut_ended(&mut self, ended: Option<(InFlight, Option<Outcome>)>) -> bool {
        let Some((in_flight, outcome)) = ended else { return false };
        match outcome {
            Some(Outcome::Published) => {
                self.shards.published(in_flight.generation, self.parts.clock.now());
                self.meter.stale();
                let next: Vec<_> = in_flight
                    .publication
                    .frozen
                    .moves
                    .iter()
                    .map(|m| (m.range.partition, m.range.to))
                    .collect();
                self.consumer.commit(&next);
                false
            }
            Some(Outcome::Fenced(partition)) => {
                self.fenced(&in_flight.publication.frozen, partition);
                if let Some(frozen) = self.shards.frozen(in_flight.generation) {
                    let Publication { changes, traffic, .. } = &*in_flight.publication;
                    let changes = changes.iter().filter(|c| c.partition != partition).cloned().collect();
                    let of_others = traffic.iter().filter(|(brought, _)| brought.partition != partition);
                    let traffic = of_others.map(|(brought, amount)| (brought.clone(), *amount)).collect();
                    self.begin(frozen, changes, traffic);
                }
                false
            }
            Some(Outcome::Conflict(source)) => {
                tracing::error!(source.id = %source, "a source was changed by somebody else");
                true
            }
            // The task panicked: what it held is not published, and is read again.
            None => true,
        }
    }
}

/// Waits for the cut under way; for ever if there is none.
async fn finished(in_flight: &mut Option<InFlight>) -> Option<(InFlight, Option<Outcome>)> {
    let Some(current) = in_flight.as_mut() else { return std::future::pending().await };
    let outcome = (&mut current.task).await.ok();
    in_flight.take().map(|ended| (ended, outcome))
}

#[cfg(test)]
mod tests;
