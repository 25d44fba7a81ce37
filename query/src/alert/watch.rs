//! The rules' own journey: consume → decode → ledger → rules → alerts → one transaction of offsets, ledger, rule state,
//! alerts and outbox.
//!
//! Time is the stream's: a record is heard when the topic took it in, so that what was read late, or at once after a pause, is
//! judged as if it had been read as it came. Only where a partition has been read to its end does the clock go on by itself.
//!
//! Each partition has its own rule state, stored with its offset: a record counts once, whatever dies when, and a
//! partition can move to another node with what its rules had counted so far. A host's records share a partition, so
//! that rules that group by host see all they need. What others match goes on to `<topic>.matches`, by rule and group, whose
//! partitions (slices) are watched the same way and decide about those groups alone: see [`millrace_detect::Share`].

mod account;
mod lane;
mod outlet;
mod sources;

use super::{Histories, RuleBook, lifecycle::Lifecycle};
use crate::{DETECT_GROUP, MATCHES_GROUP, Metrics};
use account::Account;
use anyhow::Context as _;
use lane::{Lane, SOURCES, STATE};
use millrace_catalogue::{Acquisition, AlertState, Catalogue, Cut, Ownership, PublishError};
use millrace_detect::{Detector, DetectorSettings, Finding, FindingKind, MatchBatch, Past, Share};
use millrace_ledger::{Ledger, Outcome, Place, read};
use millrace_model::{
    Clock, Declarations, Partition, Row, StreamName, declared::take_words, wire::MatchOrigin,
};
use millrace_transport::{
    AnyConsumer, AssignedPartition, Assignment, Consumer, ConsumerEvent, Message, Start, Topic,
};
use outlet::Outlet;
use sources::Sources;
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
/// So many firing alerts are known of at most.
const MAX_FIRING: u32 = 100_000;
/// Rule files are looked at so often.
const RELOAD: Duration = Duration::from_secs(5);
/// Slices are told how late it is in a partition that is behind so often.
const MARK: Duration = Duration::from_secs(1);
/// Rules that others know and this node does not are looked for at most so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What watching is made of.
#[derive(Clone)]
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
    /// What is declared of the fields of streams: rules see a record as searches do.
    pub declared: BTreeMap<StreamName, Arc<Declarations>>,
}

/// What a probe can ask.
#[derive(Debug, Default)]
pub struct WatchStatus(Mutex<BTreeMap<&'static str, String>>);

impl WatchStatus {
    /// Why rules are not evaluated now, if they are not.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned()
    }

    fn set(&self, group: &'static str, problem: Option<String>) {
        let mut problems = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => problems.insert(group, problem),
            None => problems.remove(group),
        };
    }
}

/// What is watched.
#[expect(clippy::large_enum_variant, reason = "there is one of each")]
enum Input {
    /// The topic itself: what was seen of its sources, and where matches go that others decide about.
    Records { ledger: Ledger, matches: Topic, outlet: Option<Outlet>, marked: Instant },
    /// What its partitions have handed on.
    Matches { topic: Topic },
}

/// Evaluates rules over the stream.
pub struct Watch {
    parts: WatchParts,
    status: Arc<WatchStatus>,
    input: Input,
    consumer: AnyConsumer,
    lanes: BTreeMap<Partition, Lane>,
    lifecycle: Lifecycle,
    account: Account,
    /// Where what was there before rules came is asked for.
    histories: Histories,
    /// Something happened that people wait for.
    urgent: bool,
    committed: Instant,
    /// How long until the next commit.
    pause: Duration,
    /// When the files of rules were looked at last.
    reloaded: Instant,
}

impl Watch {
    /// Runs until `shutdown`, over the topic and over what its partitions hand on; each asks for histories of its own. What breaks off
    /// is begun again from what was last made durable.
    pub async fn run(
        parts: WatchParts,
        histories: [Histories; 2],
        status: Arc<WatchStatus>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let [of_records, of_slices] = histories;
        let matches = parts.topic.matches().await?;
        let records = || Input::Records {
            ledger: Ledger::new(),
            matches: matches.clone(),
            outlet: None,
            marked: Instant::now(),
        };
        let slices = || Input::Matches { topic: matches.clone() };
        tokio::try_join!(
            Self::keep_on(&parts, of_records, &status, &records, &shutdown),
            Self::keep_on(&parts, of_slices, &status, &slices, &shutdown),
        )?;
        Ok(())
    }

    async fn keep_on(
        parts: &WatchParts,
        mut histories: Histories,
        status: &Arc<WatchStatus>,
        input: &impl Fn() -> Input,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<()> {
        while !shutdown.is_cancelled() {
            let mut watch = Self::open(parts.clone(), histories, Arc::clone(status), input())?;
            let outcome = watch.flow(shutdown).await;
            let group = watch.input.group();
            watch.let_go();
            watch.consumer.close().await;
            histories = watch.histories;
            if let Err(error) = outcome {
                tracing::warn!(
                    group,
                    error = format!("{error:#}"),
                    "detection begins again from its last commit"
                );
                status.set(group, Some(format!("{error:#}")));
                tokio::time::sleep(COMMIT).await;
            }
        }
        Ok(())
    }

    fn open(
        parts: WatchParts,
        histories: Histories,
        status: Arc<WatchStatus>,
        input: Input,
    ) -> anyhow::Result<Self> {
        let consumer = input.topic(&parts).consumer(input.group())?;
        Ok(Self {
            status,
            consumer,
            input,
            lanes: BTreeMap::new(),
            lifecycle: Lifecycle::default(),
            account: Account::default(),
            histories,
            urgent: false,
            committed: Instant::now(),
            pause: COMMIT,
            reloaded: Instant::now(),
            parts,
        })
    }

    async fn flow(&mut self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.commit().await,
                _ = ticks.tick() => {
                    self.pass_time().await?;
                    if self.reloaded.elapsed() >= RELOAD {
                        self.reload().await?;
                    }
                    self.measure_lag();
                    self.ask_for_history();
                }
                past = self.histories.next() => self.remember(&past),
                event = self.consumer.next() => match event {
                    Some(ConsumerEvent::Assigned(assignment)) => self.assigned(assignment).await?,
                    Some(ConsumerEvent::Revoked(revocation)) => {
                        if !revocation.lost {
                            self.commit().await?;
                        }
                        for partition in &revocation.partitions {
                            self.lanes.remove(partition);
                        }
                        if let Input::Records { ledger, .. } = &mut self.input {
                            ledger.forget(&revocation.partitions);
                        }
                        self.forget_lag(&revocation.partitions);
                        revocation.done();
                    }
                    Some(ConsumerEvent::Messages(messages)) => {
                        for message in messages {
                            match self.input {
                                Input::Records { .. } => self.take(message).await?,
                                Input::Matches { .. } => self.take_matches(&message).await?,
                            }
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
        let group = self.input.group();
        let topic = self.input.topic(&self.parts).name().to_owned();
        let wanted: Vec<_> = assignment
            .partitions
            .iter()
            .map(|p| Acquisition { partition: p.partition, topic_id: p.topic_id, low: p.low })
            .collect();
        let shares = self.input.shares(&self.parts.metrics).await?;
        let owned = self.parts.catalogue.acquire(group, &topic, &wanted, &self.parts.node).await?;
        // Others may have begun what goes on in these partitions, and have ended what did when they were here last.
        let firing = self.parts.catalogue.alerts(Some(AlertState::Firing), MAX_FIRING).await?;
        self.lifecycle = Lifecycle::new(firing);
        let mut starts = Vec::with_capacity(owned.len());
        for ownership in owned {
            let Some(assigned) = assignment.partitions.iter().find(|p| p.partition == ownership.partition)
            else {
                continue;
            };
            let share = shares(ownership.partition);
            let lane = self.lane(&topic, ownership, assigned, share).await?;
            starts.push((assigned.partition, Start::Offset(lane.next)));
            self.lanes.insert(assigned.partition, lane);
            self.account.lag.assigned(assigned.partition, self.parts.clock.now());
        }
        self.status.set(group, None);
        assignment.start(starts);
        Ok(())
    }

    /// A partition as it was left by whoever had it.
    async fn lane(
        &self,
        topic: &str,
        ownership: Ownership,
        assigned: &AssignedPartition,
        share: Share,
    ) -> anyhow::Result<Lane> {
        let (partition, key) = (ownership.partition, state_key(topic, ownership.partition));
        let mut detector = Detector::sharing(self.parts.rules.current(), DetectorSettings::default(), share);
        let stored = self.parts.catalogue.document(STATE, &key).await?;
        let version = stored.as_ref().map(|(version, _)| *version);
        if let Some((_, state)) = stored.filter(|_| !ownership.recreated)
            && let Err(error) = detector.restore(&state)
        {
            tracing::error!(%error, kafka.partition = partition.0, "what rules had counted is lost");
        }
        let mut sources = None;
        if let Input::Matches { .. } = self.input {
            let stored = self.parts.catalogue.document(SOURCES, &key).await?;
            let version = stored.as_ref().map(|(version, _)| *version);
            let restored = stored.map(|(_, state)| Sources::restore(&state)).transpose();
            let restored = restored.unwrap_or_else(|error| {
                tracing::error!(
                    error = format!("{error:#}"),
                    kafka.partition = partition.0,
                    "it is not known which matches were taken: some may count twice"
                );
                None
            });
            sources = Some((restored.unwrap_or_default(), version));
        }
        let ownership = self.look_back(ownership, assigned).await?;
        Ok(Lane {
            topic_id: ownership.topic_id,
            epoch: ownership.epoch,
            published: ownership.next_offset,
            next: ownership.next_offset.unwrap_or(assigned.low),
            high: assigned.high,
            heard: None,
            behind: None,
            detector,
            version,
            told_behind: true,
            reminded: false,
            sources,
        })
    }

    /// Steps back where the topic ends before where the partition stands; says what rules will never see.
    async fn look_back(
        &self,
        mut ownership: Ownership,
        assigned: &AssignedPartition,
    ) -> anyhow::Result<Ownership> {
        let (topic, partition) = (self.input.topic(&self.parts), ownership.partition);
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
            let stepped = self.parts.catalogue.step_back(self.input.group(), topic.name(), &step).await?;
            ownership.stepped(&step, stepped.context("a partition is another node's by now")?);
        }
        Ok(ownership)
    }

    /// One message: what is new in it goes through the rules.
    async fn take(&mut self, message: Message) -> anyhow::Result<()> {
        let reading = read(&message.headers, &message.value);
        let Some(lane) = self.lanes.get(&message.partition) else { return Ok(()) };
        let Input::Records { ledger, outlet, .. } = &mut self.input else { return Ok(()) };
        let topic = self.parts.topic.clone();
        let place = Place {
            topic: topic.name(),
            topic_id: lane.topic_id,
            partition: message.partition,
            offset: message.offset,
            timestamp: message.timestamp,
        };
        while let Some(source) = ledger.missing_for(place, &reading) {
            let stored = self.parts.catalogue.sources(DETECT_GROUP, &[source]).await?;
            let stored = stored.into_iter().next().map(|s| (s.version, s.state));
            ledger.load(source, message.partition, stored);
        }
        let accounted = ledger.account(place, reading);
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
            self.account.look(&lane.detector, &row, &self.parts.metrics);
            lane.detector.observe(&row, now, &mut findings);
        }
        lane.next = message.offset + 1;
        if let Some(outlet) = outlet {
            let origin = lane.origin(message.partition);
            outlet.send(origin, lane.detector.handed()).await?;
        }
        self.account.lag.taken(message.partition, message.timestamp);
        self.found(message.partition, findings);
        Ok(())
    }

    /// One message of what partitions hand on.
    async fn take_matches(&mut self, message: &Message) -> anyhow::Result<()> {
        let Some(lane) = self.lanes.get_mut(&message.partition) else { return Ok(()) };
        lane.next = message.offset + 1;
        let unreadable = |metrics: &Metrics, error: String| {
            metrics.unreadable_matches.inc();
            let (partition, offset) = (message.partition.0, message.offset);
            tracing::error!(partition, offset, error, "what rules have handed on cannot be read");
        };
        let origin = match MatchOrigin::decode(&message.headers) {
            Ok(Some(origin)) => origin,
            // The topic's own marker.
            Ok(None) => return Ok(()),
            Err(error) => {
                unreadable(&self.parts.metrics, error.to_string());
                return Ok(());
            }
        };
        let is_new = lane.sources.as_mut().is_some_and(|(sources, _)| sources.take(&origin));
        let now = lane.hear(message.timestamp, self.parts.clock.now());
        if !is_new || message.value.is_empty() {
            return Ok(());
        }
        let mut batch = match serde_json::from_slice::<MatchBatch>(&message.value) {
            Ok(batch) => batch,
            Err(error) => {
                unreadable(&self.parts.metrics, error.to_string());
                return Ok(());
            }
        };
        let mut findings = Vec::new();
        batch = lane.detector.take_batch(batch, now, &mut findings);
        if !batch.is_empty() && self.reloaded.elapsed() >= LOOK_AGAIN {
            // Another node has seen before this one that rules have changed.
            self.reload().await?;
            if let Some(lane) = self.lanes.get_mut(&message.partition) {
                batch = lane.detector.take_batch(batch, now, &mut findings);
            }
        }
        self.parts.metrics.unknown_matches.inc_by(batch.len() as u64);
        self.found(message.partition, findings);
        Ok(())
    }

    /// Rules are told what time it is, and slices.
    async fn pass_time(&mut self) -> anyhow::Result<()> {
        let clock = self.parts.clock.now();
        let mut found = Vec::new();
        let is_due = matches!(&self.input, Input::Records { marked, .. } if marked.elapsed() >= MARK);
        for (partition, lane) in &mut self.lanes {
            let Some(now) = lane.now(clock) else { continue };
            let mut findings = Vec::new();
            lane.detector.tick(now, &mut findings);
            found.push((*partition, findings));
            if let Input::Records { outlet: Some(outlet), marked, .. } = &mut self.input {
                let origin = lane.origin(*partition);
                outlet.send(origin, lane.detector.handed()).await?;
                // All is well as long as nothing is said.
                let is_behind = origin.behind.is_some();
                if is_due && (is_behind || lane.told_behind) {
                    outlet.mark(origin).await?;
                    lane.told_behind = is_behind;
                    *marked = Instant::now();
                }
            }
        }
        for (partition, findings) in found {
            self.found(partition, findings);
        }
        Ok(())
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

    /// What was there before rules that are new.
    fn ask_for_history(&mut self) {
        let states = self.histories.look(self.lanes.values().map(|lane| &lane.detector));
        self.parts.rules.set_pasts(self.input.group(), states);
    }

    /// What was there before a rule came is known to it from here on.
    fn remember(&mut self, past: &Past) {
        for lane in self.lanes.values_mut() {
            lane.reminded |= lane.detector.remember(past);
        }
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        self.reloaded = Instant::now();
        let book = Arc::clone(&self.parts.rules);
        tokio::task::spawn_blocking(move || book.reload()).await?;
        // Whoever asked first was told that there are others.
        let rules = self.parts.rules.current();
        if self.lanes.values().all(|lane| Arc::ptr_eq(lane.detector.rules(), &rules)) {
            return Ok(());
        }
        self.account();
        self.histories.rules_replaced();
        for lane in self.lanes.values_mut() {
            lane.detector.replace_rules(Arc::clone(&rules));
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
            .filter(|(_, lane)| !alerts.is_empty() || lane.has_moved())
            .map(|(partition, _)| *partition)
            .collect();
        if moved.is_empty() {
            return Ok(());
        }
        let topic = self.input.topic(&self.parts).name().to_owned();
        let mut cut = Cut { group: self.input.group().to_owned(), alerts, ..Cut::default() };
        if let Input::Records { ledger, outlet, .. } = &mut self.input {
            if let Some(outlet) = outlet {
                outlet.settle().await?;
            }
            cut.sources = ledger.take_changes().into_iter().map(Into::into).collect();
        }
        for (partition, lane) in self.lanes.iter().filter(|(partition, _)| moved.contains(partition)) {
            cut.moves.push(lane.moves(*partition));
            cut.documents.extend(lane.documents(&state_key(&topic, *partition))?);
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
                lane.published();
                next.push((partition, lane.next));
            }
        }
        if let Input::Records { ledger, .. } = &mut self.input {
            ledger.forget_closed();
        }
        self.consumer.commit(&next);
        if changed {
            self.parts.wake.notify_one();
        }
        Ok(())
    }
}

impl Input {
    /// The consumer group that its offsets are of.
    fn group(&self) -> &'static str {
        match self {
            Self::Records { .. } => DETECT_GROUP,
            Self::Matches { .. } => MATCHES_GROUP,
        }
    }

    fn topic<'i>(&'i self, parts: &'i WatchParts) -> &'i Topic {
        match self {
            Self::Records { .. } => &parts.topic,
            Self::Matches { topic } => topic,
        }
    }

    /// What is decided in each of its partitions. The first time the topic for matches is asked.
    async fn shares(&mut self, metrics: &Metrics) -> anyhow::Result<impl Fn(Partition) -> Share + use<>> {
        let (of, is_slice) = match self {
            Self::Records { matches, outlet, .. } => {
                if outlet.is_none() {
                    *outlet = Some(Outlet::open(matches, metrics.clone()).await?);
                }
                (outlet.as_ref().map_or(1, Outlet::slices), false)
            }
            Self::Matches { topic } => (outlet::slices(topic).await?, true),
        };
        Ok(move |Partition(partition)| match u32::try_from(partition) {
            Ok(number) if is_slice => Share::Slice { number, of },
            _ => Share::Partition { slices: of },
        })
    }
}

fn state_key(topic: &str, partition: Partition) -> String {
    format!("{topic}/{partition}")
}
