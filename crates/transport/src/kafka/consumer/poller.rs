//! The thread that polls a group's client, whatever happens: a client that is not polled loses its partitions. A reader that is in
//! no group has all partitions that the topic is found to have.
//!
//! A new assignment goes through three phases, and polling goes on in all of them: its partitions are looked up
//! ([`scout`]), offered to the pipeline, and read from where the pipeline says. librdkafka is told only in the last
//! one; until then it waits, and holds further rebalances back.

use super::{Shared, Turn, context::Context, roster};
use crate::{
    AssignedPartition, Assignment, Message, Start,
    events::{HAND_OVER, UNHURRIED},
    kafka::{Ready, scout},
    sync::{Bell, lock},
};
use millrace_model::{Partition, TopicId};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

/// How long one poll waits for messages: also how late a command of the pipeline may be heard.
const TICK: Duration = Duration::from_millis(25);
/// One event holds about so many bytes of messages.
const EVENT: usize = 1 << 20;
/// How often the end of a partition is asked for that is not being read.
const SURVEY: Duration = Duration::from_secs(2);
/// How often the topic's id is read again: librdkafka goes on in a topic that was made anew as if it were the old one,
/// if its offsets reach as far.
const IDENTITY: Duration = Duration::from_mins(1);
/// How often the group is asked for partitions that none of its members has: by a member that has none itself, and by one
/// that reads.
const ROLL_OF_IDLE: Duration = Duration::from_secs(5);
const ROLL_OF_READING: Duration = Duration::from_mins(1);
/// How often a reader that is in no group asks whether the topic has more partitions.
const ROLL_OF_ALONE: Duration = Duration::from_secs(10);
/// Before an assignment that nobody started is offered again.
const AGAIN: Duration = Duration::from_millis(500);

type Client = BaseConsumer<Context>;

pub(super) struct Poller {
    shared: Arc<Shared>,
    config: ClientConfig,
    phase: Phase,
    /// What librdkafka was told to pause.
    paused: BTreeSet<Partition>,
    /// The pipeline is behind, and everything is paused until it has caught up by half.
    behind: bool,
    /// The topic does not have what is to be read next: everything is paused until the pipeline has taken what was read before,
    /// and then assigned afresh.
    astray: bool,
    surveyed: Instant,
    /// A partition whose topic's id is known, and that id.
    identity: Option<(Partition, TopicId)>,
    identified: Instant,
    /// The id being read again.
    check: Option<mpsc::Receiver<Vec<AssignedPartition>>>,
    /// When the group was last asked, or had something to say, of who reads what.
    called: Instant,
}

enum Phase {
    /// Nothing is assigned.
    Idle,
    /// The partitions are being looked up.
    Scouting(mpsc::Receiver<Vec<AssignedPartition>>, Vec<Partition>),
    /// The pipeline has been asked where to begin.
    Offered(mpsc::Receiver<Vec<(Partition, Start)>>, Vec<AssignedPartition>),
    /// Where each partition goes on; `None` until its first message has come.
    Reading(BTreeMap<Partition, Option<i64>>),
}

impl Poller {
    pub(super) fn new(shared: Arc<Shared>, config: ClientConfig) -> Self {
        let now = Instant::now();
        // A reader takes its partitions at once.
        let called = if shared.has_group { Some(now) } else { now.checked_sub(AGAIN) };
        Self {
            shared,
            config,
            phase: Phase::Idle,
            paused: BTreeSet::new(),
            behind: false,
            astray: false,
            surveyed: now,
            identity: None,
            identified: now,
            check: None,
            called: called.unwrap_or(now),
        }
    }

    /// Reads until closed. A client that broke for good is replaced.
    pub(super) fn run(mut self) {
        let pause = Bell::default();
        while *self.shared.topic.ready.borrow() == Ready::NotYet && !self.shared.is_closing() {
            pause.wait(0, TICK);
        }
        while !self.shared.is_closing() {
            match self.client() {
                Ok(client) => {
                    self.poll_until_broken(&client);
                    // Dropping it leaves the group, and polls once more for the last revocation.
                }
                Err(error) => {
                    self.shared.topic.metrics.retries.inc();
                    tracing::error!(%error, "cannot make a Kafka consumer; trying again");
                }
            }
            if !self.shared.is_closing() {
                self.take_away(true, HAND_OVER);
                pause.wait(0, Duration::from_secs(1));
            }
        }
    }

    fn client(&self) -> KafkaResult<Client> {
        let client = Client::from_config_and_context(&self.config, Context(Arc::clone(&self.shared)))?;
        self.join(&client)?;
        Ok(client)
    }

    /// A reader takes its partitions at the next roll-call.
    fn join(&self, client: &Client) -> KafkaResult<()> {
        if !self.shared.has_group {
            return Ok(());
        }
        client.subscribe(&[&self.shared.topic.settings.name])
    }

    fn poll_until_broken(&mut self, client: &Client) {
        while !self.shared.is_closing() {
            self.take_turn(client);
            self.go_on(client);
            self.commit(client);
            self.pause(client);
            self.survey(client);
            self.identify();
            self.call_the_roll(client);
            if self.astray && self.shared.events.is_drained() {
                self.begin_afresh(client);
            }
            if let Err(error) = self.read(client) {
                self.shared.topic.metrics.retries.inc();
                tracing::error!(%error, "the Kafka consumer can go on no longer; making a new one");
                return;
            }
        }
    }

    /// Hears what the group has said in the last poll.
    fn take_turn(&mut self, client: &Client) {
        let Turn { revoked, assigned } = std::mem::take(&mut *lock(&self.shared.turn));
        if revoked {
            self.forget();
        }
        if revoked || assigned.is_some() {
            self.called = Instant::now();
        }
        match assigned {
            Some(partitions) if partitions.is_empty() => {
                // More members than partitions: this one stands by.
                self.tell("assign nothing", client.assign(&TopicPartitionList::new()));
            }
            Some(partitions) => self.scout(partitions, Duration::ZERO),
            None => {}
        }
    }

    fn forget(&mut self) {
        self.phase = Phase::Idle;
        self.paused.clear();
        self.astray = false;
        self.identity = None;
        self.check = None;
        lock(&self.shared.ends).clear();
        lock(&self.shared.paused).clear();
        lock(&self.shared.commits).clear();
    }

    fn scout(&mut self, partitions: Vec<Partition>, after: Duration) {
        match scout::send(&self.shared.topic, &self.shared.group, partitions.clone(), after) {
            Ok(found) => self.phase = Phase::Scouting(found, partitions),
            Err(error) => {
                tracing::error!(%error, "cannot start a thread to look partitions up; trying again");
                let (_, never) = mpsc::sync_channel(1);
                self.phase = Phase::Scouting(never, partitions);
            }
        }
    }

    /// Moves an assignment on by a phase, if it can be.
    fn go_on(&mut self, client: &Client) {
        match &self.phase {
            Phase::Scouting(found, partitions) => match found.try_recv() {
                Ok(found) => self.offer(found),
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => self.scout(partitions.clone(), AGAIN),
            },
            Phase::Offered(answer, found) => match answer.try_recv() {
                Ok(starts) => self.start(client, &found.clone(), starts),
                Err(mpsc::TryRecvError::Empty) => {}
                // Not taken: offered again, as it will be then.
                Err(mpsc::TryRecvError::Disconnected) => self.scout(numbers(found), AGAIN),
            },
            Phase::Idle | Phase::Reading(_) => {}
        }
    }

    fn offer(&mut self, mut found: Vec<AssignedPartition>) {
        found.sort_unstable_by_key(|found| found.partition);
        *lock(&self.shared.ends) = found.iter().map(|found| (found.partition, found.high)).collect();
        let (send, answer) = mpsc::sync_channel(1);
        self.shared.events.assigned(Assignment { partitions: found.clone(), answer: send });
        self.phase = Phase::Offered(answer, found);
    }

    fn start(&mut self, client: &Client, found: &[AssignedPartition], starts: Vec<(Partition, Start)>) {
        let mut reading = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for (partition, start) in starts {
            let Some(found) = found.iter().find(|found| found.partition == partition) else { continue };
            let (offset, next) = match start {
                Start::Offset(offset) if (found.low..=found.high).contains(&offset) => {
                    (Offset::Offset(offset), Some(offset))
                }
                // If the topic has grown meanwhile it may be there; else librdkafka says that it is not.
                Start::Offset(offset) => {
                    let (low, high) = (found.low, found.high);
                    tracing::warn!(%partition, offset, low, high, "the topic may not have that offset");
                    (Offset::Offset(offset), None)
                }
                Start::Earliest => (Offset::Beginning, None),
            };
            if reading.insert(partition, next).is_none() {
                let added = list.add_partition_offset(&self.shared.topic.settings.name, partition.0, offset);
                self.tell("say where a partition begins", added);
            }
        }
        self.tell("assign partitions", client.assign(&list));
        // librdkafka remembers what was paused in an earlier assignment.
        self.tell("resume partitions", client.resume(&list));
        self.paused.clear();
        self.identity = found.iter().find_map(|found| Some((found.partition, found.topic_id?)));
        self.identified = Instant::now();
        self.phase = Phase::Reading(reading);
    }

    fn commit(&self, client: &Client) {
        let commits = std::mem::take(&mut *lock(&self.shared.commits));
        if !commits.is_empty() {
            let list = self.list(commits.iter().map(|(partition, next)| (*partition, Offset::Offset(*next))));
            self.tell("commit", client.commit(&list, CommitMode::Async));
        }
    }

    /// Pauses what the pipeline wants paused; and everything while it is behind.
    fn pause(&mut self, client: &Client) {
        let Phase::Reading(reading) = &self.phase else { return };
        self.behind =
            if self.behind { !self.shared.events.has_ample_room() } else { !self.shared.events.has_room() };
        let wanted: BTreeSet<Partition> = if self.behind || self.astray {
            reading.keys().copied().collect()
        } else {
            lock(&self.shared.paused).iter().filter(|p| reading.contains_key(p)).copied().collect()
        };
        if wanted == self.paused {
            return;
        }
        let whole = |partition: &Partition| (*partition, Offset::Invalid);
        let (pause, resume) = (wanted.difference(&self.paused), self.paused.difference(&wanted));
        self.tell("pause partitions", client.pause(&self.list(pause.map(whole))));
        self.tell("resume partitions", client.resume(&self.list(resume.map(whole))));
        self.paused = wanted;
    }

    /// Asks for the end of a paused partition now and then: nothing else says how far behind it falls.
    fn survey(&mut self, client: &Client) {
        if self.paused.is_empty() || self.surveyed.elapsed() < SURVEY {
            return;
        }
        self.surveyed = Instant::now();
        for partition in &self.paused {
            let name = &self.shared.topic.settings.name;
            match client.fetch_watermarks(name, partition.0, Duration::from_millis(500)) {
                Ok((_, end)) => self.shared.end_seen(*partition, end),
                // The broker is away: no use in asking for the others now.
                Err(_) => return,
            }
        }
    }

    /// Reads the topic's id again now and then.
    fn identify(&mut self) {
        let Some((partition, id)) = self.identity else { return };
        match self.check.as_ref().map(mpsc::Receiver::try_recv) {
            Some(Ok(found)) => {
                self.check = None;
                match found.first().and_then(|found| found.topic_id) {
                    Some(now) if now != id => self.stray("the topic was made anew"),
                    Some(_) => {}
                    // Retention has deleted the first message: nothing to compare with any more.
                    None => self.identity = None,
                }
            }
            Some(Err(mpsc::TryRecvError::Disconnected)) => self.check = None,
            None if self.identified.elapsed() >= IDENTITY => {
                self.identified = Instant::now();
                let look =
                    scout::send(&self.shared.topic, &self.shared.group, vec![partition], Duration::ZERO);
                self.check = look.ok();
            }
            Some(Err(mpsc::TryRecvError::Empty)) | None => {}
        }
    }

    /// Asks the group now and then whether all of the topic is read, and has it assign everything anew if not.
    fn call_the_roll(&mut self, client: &Client) {
        let every = match self.phase {
            Phase::Idle if !self.shared.has_group => AGAIN,
            Phase::Idle => ROLL_OF_IDLE,
            Phase::Reading(_) if !self.shared.has_group => ROLL_OF_ALONE,
            Phase::Reading(_) => ROLL_OF_READING,
            Phase::Scouting(..) | Phase::Offered(..) => return,
        };
        if self.called.elapsed() < every {
            return;
        }
        self.called = Instant::now();
        if !self.shared.has_group {
            self.take_all(client);
            return;
        }
        let (topic, group) = (&self.shared.topic.settings.name, self.config.get("group.id"));
        match roster::unread(client, topic, group.unwrap_or_default()) {
            Ok(unread) if unread.is_empty() => {}
            Ok(unread) => {
                tracing::warn!(topic, partitions = ?unread, "nobody was given these partitions; joining the group again");
                client.unsubscribe();
                self.tell("join the group again", self.join(client));
            }
            // Another member may ask, or this one next time.
            Err(error) => tracing::debug!(topic, %error, "the group does not say who reads what"),
        }
    }

    /// What a reader reads is all that there is: when that is more than it has, everything is assigned afresh.
    fn take_all(&mut self, client: &Client) {
        let all = match roster::partitions(client, &self.shared.topic.settings.name) {
            Ok(all) => all,
            Err(error) => {
                tracing::debug!(%error, "the topic does not say which partitions it has");
                return;
            }
        };
        match &self.phase {
            Phase::Idle if !all.is_empty() => self.scout(all.into_iter().collect(), Duration::ZERO),
            Phase::Reading(_)
                if all.iter().any(|partition| !lock(&self.shared.ends).contains_key(partition)) =>
            {
                self.stray("the topic has more partitions");
            }
            _ => {}
        }
    }

    /// Polls once, and on while messages are at hand. `Err`: the client is of no more use.
    fn read(&mut self, client: &Client) -> KafkaResult<()> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut wait = TICK;
        while bytes < EVENT {
            let polled = client.poll(wait);
            if lock(&self.shared.turn).revoked {
                // What was read before that belongs to somebody else now.
                return Ok(());
            }
            match polled {
                Some(Ok(message)) => {
                    if let Some(message) = self.take(&message) {
                        bytes += message.weight();
                        batch.push(message);
                    } else {
                        self.stray("the topic went back");
                        break;
                    }
                }
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                    self.stray("the topic does not have what is to be read next");
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    self.shared.events.messages(batch);
                    return Err(error);
                }
                // Told to the context as well.
                Some(Err(error)) => tracing::debug!(%error, "while polling the topic"),
                None => break,
            }
            wait = Duration::ZERO;
        }
        if !batch.is_empty() {
            self.shared.topic.health.up();
        }
        self.shared.events.messages(batch);
        Ok(())
    }

    /// Nothing more is read until what was read is taken, and everything is assigned afresh.
    fn stray(&mut self, why: &str) {
        tracing::warn!(topic = self.shared.topic.settings.name, why, "reading it afresh");
        self.astray = true;
    }

    /// The message, copied; `None` if it lies before where we are: then this is another topic under the old name.
    fn take(&mut self, message: &BorrowedMessage<'_>) -> Option<Message> {
        let (partition, offset) = (Partition(message.partition()), message.offset());
        if let Phase::Reading(reading) = &mut self.phase
            && let Some(next) = reading.get_mut(&partition)
        {
            if next.is_some_and(|next| offset < next) {
                return None;
            }
            *next = Some(offset + 1);
        }
        self.shared.end_seen(partition, offset + 1);
        Some(scout::copy(message))
    }

    /// The topic is not what it was when it was assigned (made anew, shorter at its start or its end): what was read of it is
    /// settled, and everything is assigned as it is now.
    fn begin_afresh(&mut self, client: &Client) {
        let partitions = self.take_away(false, UNHURRIED);
        self.tell("give partitions up", client.unassign());
        if self.shared.has_group {
            self.scout(partitions, Duration::ZERO);
        } else {
            self.take_all(client);
        }
    }

    /// Takes everything from the pipeline that it has; returns what that was.
    fn take_away(&mut self, lost: bool, within: Duration) -> Vec<Partition> {
        let partitions = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => Vec::new(),
            Phase::Scouting(_, partitions) => partitions,
            Phase::Offered(_, found) => numbers(&found),
            Phase::Reading(_) => lock(&self.shared.ends).keys().copied().collect(),
        };
        if !partitions.is_empty() {
            self.shared.events.revoke(partitions.clone(), lost, within);
        }
        self.forget();
        partitions
    }

    fn list(&self, partitions: impl Iterator<Item = (Partition, Offset)>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in partitions {
            let name = &self.shared.topic.settings.name;
            self.tell("name a partition", list.add_partition_offset(name, partition.0, offset));
        }
        list
    }

    /// Failures of calls that librdkafka makes good by itself, or that the next rebalance does.
    fn tell(&self, action: &str, result: KafkaResult<()>) {
        if let Err(error) = result {
            self.shared.topic.metrics.retries.inc();
            tracing::warn!(%error, "cannot {action}");
        }
    }
}

fn numbers(found: &[AssignedPartition]) -> Vec<Partition> {
    found.iter().map(|found| found.partition).collect()
}
