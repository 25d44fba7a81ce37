//! The rules' own journey: consume → decode → ledger → rules → alerts → one transaction of offsets, ledger, rule state,
//! alerts and outbox.
//!
//! Time is the stream's: a record is heard when the topic took it in, so that what was read late, or at once after a pause, is
//! judged as if it had been read as it came. Only where a partition has been read to its end does the clock go on by itself.
//!
//! Each partition has its own rule state, stored with its offset: a record counts once, whatever dies when, and a
//! partition can move to another node with what its rules had counted so far. A host's records share a partition, so
//! that rules that group by host or by what a host says see all they need.

use super::{Histories, RuleBook, lifecycle::Lifecycle};
use crate::{DETECT_GROUP, Metrics};
use anyhow::Context as _;
use millrace_catalogue::{Acquisition, Catalogue, Cut, DocumentWrite, Move, Ownership, PublishError};
use millrace_detect::{Detector, DetectorSettings, Finding, FindingKind, Past, Rule};
use millrace_ledger::{Ledger, Outcome, Place, read};
use millrace_model::{
    Clock, Declarations, Partition, Row, SourceId, StreamName, Timestamp, TopicId, declared::take_words,
};
use millrace_transport::{
    AnyConsumer, AssignedPartition, Assignment, Consumer, ConsumerEvent, Lag, Message, Start, Topic,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What was taken in is made durable so often; less often where rules have counted so much that storing it takes long.
const COMMIT: Duration = Duration::from_secs(1);
/// Rule state of so many bytes makes a commit wait as long again, up to [`SLOWEST`] times.
const HEAVY: usize = 1 << 20;
/// See [`HEAVY`].
const SLOWEST: u32 = 30;
/// What people wait for is made durable in this part of the usual time.
const URGENT: u32 = 20;
/// Rules are told that time has passed so often.
const TICK: Duration = Duration::from_millis(500);
/// Rule files are looked at so often.
const RELOAD: Duration = Duration::from_secs(5);
/// A message that was taken in longer ago says that there are more to read.
const BEHIND: Duration = Duration::from_secs(5);
/// Unless nothing comes for so long after it.
const CAUGHT_UP: Duration = Duration::from_secs(2);
/// How long our rules take is measured on one record of so many: on each would take too long.
const TIMED: u64 = 256;
/// What rule states are called in the catalogue.
const STATE: &str = "detector";

/// What watching is made of.
pub struct WatchParts {
    /// The topic.
    pub topic: Topic,
    /// Where offsets, rule state and alerts are kept.
    pub catalogue: Catalogue,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// The rules in use.
    pub rules: Arc<RuleBook>,
    /// This node's name in the catalogue.
    pub node: String,
    /// Rung when alerts have changed.
    pub wake: Arc<Notify>,
    /// Where what was there before rules came is asked for.
    pub histories: Histories,
    /// What is declared of the fields of streams: rules see a record as searches do.
    pub declared: BTreeMap<StreamName, Arc<Declarations>>,
}

/// What a probe can ask.
#[derive(Debug, Default)]
pub struct WatchStatus(Mutex<Option<String>>);

impl WatchStatus {
    /// Why rules are not evaluated now, if they are not.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// One partition's place and rule state.
struct Lane {
    topic_id: Option<TopicId>,
    epoch: u64,
    /// The next offset in the catalogue.
    published: Option<i64>,
    /// The next offset here.
    next: i64,
    /// The next offset that was there when the partition was assigned.
    high: i64,
    /// When the topic took in the last message.
    heard: Option<Timestamp>,
    /// When the last message was read that had waited long.
    behind: Option<Instant>,
    detector: Detector,
    /// Its rules were handed something that is not durable.
    reminded: bool,
    /// The stored rule state's version.
    version: Option<u64>,
}

impl Lane {
    /// How late it is in this partition; `None`: that is not known yet.
    fn now(&self, clock: Timestamp) -> Option<Timestamp> {
        let reads_on =
            self.next < self.high || self.behind.is_some_and(|behind| behind.elapsed() < CAUGHT_UP);
        if reads_on { self.heard } else { Some(clock) }
    }

    /// A message is read; when it was heard.
    fn hear(&mut self, taken: Timestamp, clock: Timestamp) -> Timestamp {
        let heard = taken.min(clock);
        self.behind = (clock.since(heard) > BEHIND).then(Instant::now);
        self.heard = Some(self.heard.map_or(heard, |before| before.max(heard)));
        heard
    }
}

/// Evaluates rules over the stream.
pub struct Watch {
    parts: WatchParts,
    status: Arc<WatchStatus>,
    consumer: AnyConsumer,
    ledger: Ledger,
    lanes: BTreeMap<Partition, Lane>,
    lifecycle: Lifecycle,
    lag: Lag,
    /// How many records were seen.
    seen: u64,
    /// Something happened that people wait for.
    urgent: bool,
    committed: Instant,
    /// How long until the next commit.
    pause: Duration,
}

impl Watch {
    /// Runs until `shutdown`. What breaks off is begun again from what was last made durable.
    pub async fn run(
        parts: WatchParts,
        status: Arc<WatchStatus>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut parts = parts;
        while !shutdown.is_cancelled() {
            let mut watch = Self::open(parts, Arc::clone(&status)).await?;
            let outcome = watch.flow(&shutdown).await;
            watch.consumer.close().await;
            parts = watch.parts;
            if let Err(error) = outcome {
                tracing::warn!(error = format!("{error:#}"), "detection begins again from its last commit");
                status.set(Some(format!("{error:#}")));
                tokio::time::sleep(COMMIT).await;
            }
        }
        Ok(())
    }

    async fn open(parts: WatchParts, status: Arc<WatchStatus>) -> anyhow::Result<Self> {
        let firing = parts.catalogue.alerts(Some(millrace_catalogue::AlertState::Firing), 100_000).await?;
        let consumer = parts.topic.consumer(DETECT_GROUP)?;
        Ok(Self {
            status,
            consumer,
            ledger: Ledger::new(),
            lanes: BTreeMap::new(),
            lifecycle: Lifecycle::new(firing),
            lag: Lag::default(),
            seen: 0,
            urgent: false,
            committed: Instant::now(),
            pause: COMMIT,
            parts,
        })
    }

    async fn flow(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut reloaded = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.commit().await,
                _ = ticks.tick() => {
                    self.pass_time();
                    if reloaded.elapsed() >= RELOAD {
                        reloaded = Instant::now();
                        self.reload().await?;
                    }
                    self.measure_lag();
                    self.ask_for_history();
                }
                past = self.parts.histories.next() => self.remember(&past),
                event = self.consumer.next() => match event {
                    Some(ConsumerEvent::Assigned(assignment)) => self.assigned(assignment).await?,
                    Some(ConsumerEvent::Revoked(revocation)) => {
                        if !revocation.lost {
                            self.commit().await?;
                        }
                        for partition in &revocation.partitions {
                            self.lanes.remove(partition);
                        }
                        self.forget_lag(&revocation.partitions);
                        self.ledger.forget(&revocation.partitions);
                        revocation.done();
                    }
                    Some(ConsumerEvent::Messages(messages)) => {
                        for message in messages {
                            self.take(message).await?;
                        }
                    }
                    None => anyhow::bail!("the consumer ended"),
                },
            }
            let due = if self.urgent { self.pause / URGENT } else { self.pause };
            if self.committed.elapsed() >= due {
                self.commit().await?;
            }
        }
    }

    async fn assigned(&mut self, assignment: Assignment) -> anyhow::Result<()> {
        let topic = self.parts.topic.name();
        let wanted: Vec<_> = assignment
            .partitions
            .iter()
            .map(|p| Acquisition { partition: p.partition, topic_id: p.topic_id, low: p.low })
            .collect();
        let owned = self.parts.catalogue.acquire(DETECT_GROUP, topic, &wanted, &self.parts.node).await?;
        let mut starts = Vec::with_capacity(owned.len());
        for ownership in owned {
            let Some(assigned) = assignment.partitions.iter().find(|p| p.partition == ownership.partition)
            else {
                continue;
            };
            let stored = self.parts.catalogue.document(STATE, &state_key(topic, ownership.partition)).await?;
            let mut detector = Detector::new(self.parts.rules.current(), DetectorSettings::default());
            let version = stored.as_ref().map(|(version, _)| *version);
            if let Some((_, state)) = stored.filter(|_| !ownership.recreated)
                && let Err(error) = detector.restore(&state)
            {
                tracing::error!(%error, kafka.partition = ownership.partition.0, "what rules had counted is lost");
            }
            let ownership = self.look_back(ownership, assigned).await?;
            let next = ownership.next_offset.unwrap_or(assigned.low);
            starts.push((ownership.partition, Start::Offset(next)));
            self.lanes.insert(
                ownership.partition,
                Lane {
                    topic_id: ownership.topic_id,
                    epoch: ownership.epoch,
                    published: ownership.next_offset,
                    next,
                    high: assigned.high,
                    heard: None,
                    behind: None,
                    detector,
                    reminded: false,
                    version,
                },
            );
            self.lag.assigned(ownership.partition, self.parts.clock.now());
        }
        self.status.set(None);
        assignment.start(starts);
        Ok(())
    }

    /// Steps back where the topic ends before where the partition stands; says what rules will never see.
    async fn look_back(
        &self,
        mut ownership: Ownership,
        assigned: &AssignedPartition,
    ) -> anyhow::Result<Ownership> {
        let (topic, partition) = (&self.parts.topic, ownership.partition);
        if ownership.removed > 0 {
            tracing::error!(
                kafka.partition = partition.0,
                messages = ownership.removed,
                "the topic's own retention removed messages that rules never saw"
            );
        }
        let Some(next) = ownership.next_offset.filter(|next| *next > assigned.high) else {
            return Ok(ownership);
        };
        // A former owner may have read on after the ends were looked up, but not after this node became the owner.
        let ends = topic.page(partition, next, 1).await?;
        anyhow::ensure!(assigned.high > 0 || ends.end == 0, "the topic is being made anew");
        if let Some(step) = ownership.step_back(ends.low, ends.end) {
            let stepped = self.parts.catalogue.step_back(DETECT_GROUP, topic.name(), &step).await?;
            ownership.stepped(&step, stepped.context("a partition is another node's by now")?);
        }
        Ok(ownership)
    }

    /// One message: what is new in it goes through the rules.
    async fn take(&mut self, message: Message) -> anyhow::Result<()> {
        let reading = read(&message.headers, &message.value);
        let Some(lane) = self.lanes.get(&message.partition) else { return Ok(()) };
        let topic = self.parts.topic.clone();
        let place = Place {
            topic: topic.name(),
            topic_id: lane.topic_id,
            partition: message.partition,
            offset: message.offset,
            timestamp: message.timestamp,
        };
        while let Some(source) = self.ledger.missing_for(place, &reading) {
            self.load_source(source, message.partition).await?;
        }
        let accounted = self.ledger.account(place, reading);
        if accounted.outcome.is_some_and(|outcome| outcome != Outcome::New) {
            self.parts.metrics.duplicates.inc();
        }
        let clock = self.parts.clock.now();
        let mut findings = Vec::new();
        self.parts.metrics.evaluated.inc_by(accounted.records.len() as u64);
        let Some(lane) = self.lanes.get_mut(&message.partition) else { return Ok(()) };
        let declared = self.parts.declared.get(&accounted.stream);
        let now = lane.hear(message.timestamp, clock);
        for (id, mut record) in accounted.records {
            take_words(&mut record.attributes);
            if let Some(declared) = declared {
                // Those that stay as they came are the indexer's to count.
                declared.coerce(&mut record.attributes, |_| {});
            }
            let row = Row { id, stream: accounted.stream.clone(), time: record.time(), record };
            self.seen += 1;
            if self.seen.is_multiple_of(TIMED) {
                let told = |rule: &Rule, took: Duration| {
                    self.parts.metrics.rule_took(rule, took * TIMED as u32);
                };
                lane.detector.rules().time(&row, Instant::now, told);
            }
            lane.detector.observe(&row, now, &mut findings);
        }
        lane.next = message.offset + 1;
        self.lag.taken(message.partition, message.timestamp);
        self.found(message.partition, findings);
        Ok(())
    }

    async fn load_source(&mut self, source: SourceId, partition: Partition) -> anyhow::Result<()> {
        let stored = self.parts.catalogue.sources(DETECT_GROUP, &[source]).await?;
        self.ledger.load(source, partition, stored.into_iter().next().map(|s| (s.version, s.state)));
        Ok(())
    }

    fn pass_time(&mut self) {
        let now = self.parts.clock.now();
        let mut found = Vec::new();
        for (partition, lane) in &mut self.lanes {
            let mut findings = Vec::new();
            if let Some(now) = lane.now(now) {
                lane.detector.tick(now, &mut findings);
            }
            found.push((*partition, findings));
        }
        for (partition, findings) in found {
            self.found(partition, findings);
        }
    }

    fn found(&mut self, partition: Partition, findings: Vec<Finding>) {
        let now = self.parts.clock.now();
        for finding in findings {
            if finding.kind == FindingKind::Fired {
                self.parts.metrics.findings.inc();
            }
            self.urgent |= finding.kind != FindingKind::Updated;
            self.lifecycle.take(partition, finding, now);
        }
    }

    /// What rules did since the last time is counted.
    fn account(&mut self) {
        let (mut groups, mut values) = (0, 0);
        for lane in self.lanes.values_mut() {
            for (rule, did) in lane.detector.take_rule_stats() {
                self.parts.metrics.rule_did(rule, did);
            }
            let stats = lane.detector.stats();
            groups += stats.groups;
            values += stats.events;
        }
        self.parts.metrics.rule_groups.set(groups as i64);
        self.parts.metrics.rule_values.set(values as i64);
    }

    /// How far behind the rules are.
    fn measure_lag(&mut self) {
        let now = self.parts.clock.now();
        for (partition, lane) in &self.lanes {
            let end = self.consumer.end(*partition).unwrap_or(lane.high).max(lane.next);
            let messages = end - lane.next;
            let waits = self.lag.waits(*partition, messages, now);
            self.parts.metrics.rules_lag(*partition, messages, waits);
        }
    }

    /// What was there before rules that are new.
    fn ask_for_history(&mut self) {
        let states = self.parts.histories.look(self.lanes.values().map(|lane| &lane.detector));
        self.parts.rules.set_pasts(states);
    }

    /// What was there before a rule came is known to it from here on.
    fn remember(&mut self, past: &Past) {
        for lane in self.lanes.values_mut() {
            lane.reminded |= lane.detector.remember(past);
        }
    }

    fn forget_lag(&mut self, partitions: &[Partition]) {
        self.lag.forget(partitions);
        self.parts.metrics.forget_rules_lag(partitions);
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        let book = Arc::clone(&self.parts.rules);
        if let Some(rules) = tokio::task::spawn_blocking(move || book.reload()).await? {
            self.account();
            self.parts.histories.rules_replaced();
            for lane in self.lanes.values_mut() {
                lane.detector.replace_rules(Arc::clone(&rules));
            }
        }
        Ok(())
    }

    /// Makes everything since the last commit durable, together.
    async fn commit(&mut self) -> anyhow::Result<()> {
        self.committed = Instant::now();
        self.urgent = false;
        self.account();
        let alerts = self.lifecycle.changes();
        // With alerts all partitions go along, if only onto the spot: a node that lost them must not write alerts.
        let moved: Vec<Partition> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !alerts.is_empty() || lane.reminded || lane.published != Some(lane.next))
            .map(|(partition, _)| *partition)
            .collect();
        if moved.is_empty() {
            return Ok(());
        }
        let topic = self.parts.topic.name().to_owned();
        let mut cut = Cut {
            group: DETECT_GROUP.to_owned(),
            sources: self.ledger.take_changes().into_iter().map(Into::into).collect(),
            alerts,
            ..Cut::default()
        };
        for (partition, lane) in self.lanes.iter().filter(|(partition, _)| moved.contains(partition)) {
            cut.moves.push(Move {
                partition: *partition,
                epoch: lane.epoch,
                from: lane.published,
                to: lane.next,
            });
            cut.documents.push(DocumentWrite {
                kind: STATE.to_owned(),
                key: state_key(&topic, *partition),
                expected_version: lane.version,
                body: lane.detector.snapshot(),
            });
        }
        cut.topic = topic;
        let bytes: usize = cut.documents.iter().map(|document| document.body.len()).sum();
        self.pause = COMMIT * u32::try_from(1 + bytes / HEAVY).unwrap_or(SLOWEST).min(SLOWEST);
        let changed = !cut.alerts.is_empty();
        match self.parts.catalogue.publish(&cut).await {
            Ok(_) => {}
            Err(error @ (PublishError::Fenced { .. } | PublishError::Conflict { .. })) => {
                anyhow::bail!("a partition is another node's by now: {error}")
            }
            Err(error) => return Err(anyhow::Error::new(error).context("detection's state cannot be stored")),
        }
        let mut next = Vec::with_capacity(moved.len());
        for partition in moved {
            if let Some(lane) = self.lanes.get_mut(&partition) {
                lane.published = Some(lane.next);
                lane.reminded = false;
                lane.version = Some(lane.version.map_or(1, |version| version + 1));
                next.push((partition, lane.next));
            }
        }
        self.ledger.forget_closed();
        self.consumer.commit(&next);
        if changed {
            self.parts.wake.notify_one();
        }
        Ok(())
    }
}

fn state_key(topic: &str, partition: Partition) -> String {
    format!("{topic}/{partition}")
}
