//! A member of a group of an embedded topic, or a reader that is in none: a thread that keeps up with the group and reads what it was given.

use super::{
    Inner,
    block::{self, Header},
    groups::Step,
    log::Log,
    segment::{self, Segment, Walker},
};
use crate::{
    AssignedPartition, Assignment, Consumer, ConsumerEvent, Error, Message, Page, Start,
    events::{Events, HAND_OVER, UNHURRIED},
    sync::{Bell, lock},
};
use millrace_model::Partition;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::Duration,
};

/// One event holds about so many bytes of messages at most (and at least one block).
const EVENT: usize = 1 << 20;
/// How long an idle member sleeps unless the bell rings.
const IDLE: Duration = Duration::from_secs(5);
/// How often a member that waits for an answer looks up.
const LOOK: Duration = Duration::from_millis(20);

/// A consumer of an embedded topic.
#[derive(Debug)]
pub struct EmbeddedConsumer {
    member: Arc<Member>,
    thread: Option<JoinHandle<()>>,
}

/// What the handle and the thread share.
#[derive(Debug)]
struct Member {
    topic: Arc<Inner>,
    /// Of a reader, one that nobody else is ever in.
    group: String,
    has_group: bool,
    id: u64,
    events: Events,
    bell: Arc<Bell>,
    paused: Mutex<BTreeSet<Partition>>,
    closing: AtomicBool,
}

impl EmbeddedConsumer {
    pub(super) fn open(topic: &Arc<Inner>, group: Option<&str>) -> Result<Self, Error> {
        let (name, id) = topic.groups.join(group);
        let bell = Arc::clone(&topic.shared.arrived);
        let member = Arc::new(Member {
            topic: Arc::clone(topic),
            group: name.clone(),
            has_group: group.is_some(),
            id,
            events: Events::new(Arc::clone(&bell), topic.shared.metrics.clone()),
            bell,
            paused: Mutex::default(),
            closing: AtomicBool::new(false),
        });
        // Created before the thread: if that fails, dropping it leaves the group.
        let mut consumer = Self { member: Arc::clone(&member), thread: None };
        let reader = Reader { member, share: Vec::new(), places: BTreeMap::new(), pending: None };
        let thread = std::thread::Builder::new().name(format!("read {name}")).spawn(move || reader.run());
        let topic = &consumer.member.topic.shared.settings.name;
        consumer.thread = Some(thread.map_err(|source| Error::Thread { topic: topic.clone(), source })?);
        consumer.member.bell.ring();
        Ok(consumer)
    }
}

impl Consumer for EmbeddedConsumer {
    async fn next(&mut self) -> Option<ConsumerEvent> {
        self.member.events.next().await
    }

    fn pause(&self, partitions: &[Partition]) {
        lock(&self.member.paused).extend(partitions);
    }

    fn resume(&self, partitions: &[Partition]) {
        lock(&self.member.paused).retain(|partition| !partitions.contains(partition));
        self.member.bell.ring();
    }

    fn commit(&self, next: &[(Partition, i64)]) {
        let topic = &self.member.topic;
        if self.member.has_group {
            topic.groups.commit(&self.member.group, next, topic.shared.clock.now());
        }
    }

    fn end(&self, partition: Partition) -> Option<i64> {
        self.member.topic.log(partition).map(|log| log.end())
    }

    async fn close(mut self) {
        self.member.leave();
        if let Some(thread) = self.thread.take()
            && tokio::task::spawn_blocking(move || thread.join()).await.is_err()
        {
            tracing::error!("the thread that reads the topic did not end well");
        }
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.member.leave();
    }
}

impl Member {
    /// Gives everything up at once.
    fn leave(&self) {
        if !self.closing.swap(true, Ordering::SeqCst) {
            self.events.close();
            self.topic.groups.leave(&self.group, self.id);
            self.bell.ring();
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}

/// The thread's own.
struct Reader {
    member: Arc<Member>,
    /// All that it was given.
    share: Vec<Partition>,
    /// Where each partition that is being read goes on.
    places: BTreeMap<Partition, Place>,
    /// An assignment that was offered and not answered.
    pending: Option<Pending>,
}

struct Pending {
    partitions: Vec<Partition>,
    answer: mpsc::Receiver<Vec<(Partition, Start)>>,
}

/// Where reading a partition goes on.
struct Place {
    log: Arc<Log>,
    next: i64,
    open: Option<(Arc<Segment>, Walker)>,
    /// Retention was faster: what is next is not there any more.
    astray: bool,
}

impl Reader {
    fn run(mut self) {
        while !self.member.is_closing() {
            let rings = self.member.bell.rings();
            match self.member.topic.groups.step(&self.member.group, self.member.id) {
                Step::Revoke(partitions) => self.give_up(partitions),
                Step::Assign(partitions) => self.offer(partitions),
                Step::Wait => self.member.bell.wait(rings, IDLE),
                Step::Steady if self.pending.is_some() => self.await_answer(),
                Step::Steady if self.places.values().any(|place| place.astray) => {
                    if self.member.events.is_drained() {
                        self.begin_afresh();
                    } else {
                        self.member.bell.wait(rings, LOOK);
                    }
                }
                Step::Steady => {
                    if !self.read_all() {
                        self.member.bell.wait(rings, IDLE);
                    }
                }
            }
        }
    }

    fn give_up(&mut self, partitions: Vec<Partition>) {
        self.places.clear();
        self.pending = None;
        lock(&self.member.paused).clear();
        self.member.events.revoke(partitions, false, HAND_OVER);
        self.member.topic.groups.released(&self.member.group, self.member.id);
        self.member.bell.ring();
    }

    /// Some of what was to be read is gone: what was read is settled, and everything is assigned as it is now.
    fn begin_afresh(&mut self) {
        self.places.clear();
        lock(&self.member.paused).clear();
        self.member.events.revoke(self.share.clone(), false, UNHURRIED);
        if self.member.topic.groups.is_current(&self.member.group, self.member.id) {
            self.offer(self.share.clone());
        }
    }

    fn offer(&mut self, partitions: Vec<Partition>) {
        self.share.clone_from(&partitions);
        if partitions.is_empty() {
            // More members than partitions: this one stands by, and there is nothing to say.
            self.pending = None;
            return;
        }
        let (send, answer) = mpsc::sync_channel(1);
        let topic = &self.member.topic;
        let describe = |log: &Arc<Log>| AssignedPartition {
            partition: log.partition,
            topic_id: Some(topic.id),
            low: log.low(),
            high: log.end(),
        };
        let known = partitions.iter().filter_map(|partition| topic.log(*partition)).map(describe).collect();
        self.member.events.assigned(Assignment { partitions: known, answer: send });
        self.pending = Some(Pending { partitions, answer });
        self.member.bell.ring();
    }

    fn await_answer(&mut self) {
        let Some(pending) = &self.pending else { return };
        match pending.answer.recv_timeout(LOOK) {
            Ok(starts) => {
                let partitions = std::mem::take(&mut self.pending).map(|pending| pending.partitions);
                self.start(&partitions.unwrap_or_default(), starts);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Not taken: offered again, after a look at the group.
            Err(RecvTimeoutError::Disconnected) => {
                let partitions = std::mem::take(&mut self.pending).map(|pending| pending.partitions);
                self.member.bell.wait(self.member.bell.rings(), LOOK);
                if self.member.topic.groups.is_current(&self.member.group, self.member.id) {
                    self.offer(partitions.unwrap_or_default());
                }
            }
        }
    }

    fn start(&mut self, ours: &[Partition], starts: Vec<(Partition, Start)>) {
        for (partition, start) in starts {
            let known = self.member.topic.log(partition).filter(|_| ours.contains(&partition));
            let Some(log) = known.cloned() else { continue };
            let (low, end) = (log.low(), log.end());
            let next = match start {
                Start::Offset(offset) => offset,
                Start::Earliest => low,
            };
            let astray = !(low..=end).contains(&next);
            if astray {
                tracing::warn!(%partition, next, low, end, "the topic does not have that offset");
            }
            self.member.topic.groups.began(&self.member.group, partition, next);
            self.places.insert(partition, Place { log, next, open: None, astray });
        }
    }

    /// Reads a little of every partition; says whether there was anything.
    fn read_all(&mut self) -> bool {
        let mut found = false;
        let paused = lock(&self.member.paused).clone();
        for (partition, place) in &mut self.places {
            if paused.contains(partition) {
                continue;
            }
            if !self.member.events.has_room() || self.member.is_closing() {
                break;
            }
            match place.read(&self.member.topic) {
                Ok(messages) => {
                    found |= !messages.is_empty();
                    self.member.events.messages(messages);
                }
                Err(error) => {
                    self.member.topic.shared.metrics.retries.inc();
                    tracing::error!(%partition, error = millrace_model::chain(&error), "cannot read the topic; trying again");
                    place.open = None;
                    self.member.bell.wait(self.member.bell.rings(), Duration::from_secs(1));
                }
            }
        }
        found
    }
}

/// Messages of one partition, apart from every group.
pub(super) fn page(topic: &Inner, log: &Arc<Log>, from: i64, limit: usize) -> Result<Page, Error> {
    let low = log.low();
    let mut place = Place { log: Arc::clone(log), next: from.max(low), open: None, astray: false };
    let mut messages = Vec::new();
    // A damaged stretch gives none, though it is not the end.
    while messages.is_empty() && place.next < log.end() {
        let before = place.next;
        messages = place.read(topic)?;
        if std::mem::take(&mut place.astray) {
            // Whoever looks takes what is there.
            place.next = place.next.max(log.low());
        }
        if place.next == before {
            break;
        }
    }
    let mut next = place.next;
    if messages.len() > limit {
        next = messages[limit].offset;
        messages.truncate(limit);
    }
    Ok(Page { messages, next, low, end: log.end() })
}

impl Place {
    /// The next messages, at most about [`EVENT`] bytes; none at the end.
    fn read(&mut self, topic: &Inner) -> Result<Vec<Message>, Error> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        while bytes < EVENT && self.next < self.log.end() {
            let (segment, walker) = if let Some(open) = self.open.take() {
                self.open.insert(open)
            } else {
                if self.is_overtaken() {
                    break;
                }
                let Some(segment) = self.log.segment_of(self.next) else { break };
                let walker = segment.walk_from(self.next)?;
                self.open.insert((segment, walker))
            };
            let limit = segment.committed();
            match walker.step(limit, true).map_err(|source| walker.error(source))? {
                segment::Step::Block { header, .. } if header.end() <= self.next => {}
                segment::Step::Block { header, payload, position } => {
                    match self.decode(&header, &payload) {
                        Ok(block) => {
                            bytes += block.iter().map(Message::weight).sum::<usize>();
                            messages.extend(block);
                        }
                        Err(damage) => self.damaged(topic, position, &damage.to_string()),
                    }
                    self.next = header.end();
                }
                segment::Step::Damaged { from } => self.damaged(topic, from, "no sound block header"),
                segment::Step::End => {
                    let Some(next) = self.log.segment_after(segment.base) else { break };
                    if self.is_overtaken() {
                        break;
                    }
                    self.pass_gap(topic, &next);
                }
            }
        }
        Ok(messages)
    }

    fn decode(&self, header: &Header, payload: &[u8]) -> Result<Vec<Message>, block::Damage> {
        let mut messages = block::decode(header, payload, self.log.partition)?;
        messages.retain(|message| message.offset >= self.next);
        Ok(messages)
    }

    /// Has retention deleted what is next? A segment that is open is read to its end all the same.
    fn is_overtaken(&mut self) -> bool {
        let low = self.log.low();
        self.astray = self.next < low;
        if self.astray {
            self.open = None;
            let partition = self.log.partition;
            tracing::warn!(%partition, next = self.next, low, "messages were deleted before they were read");
        }
        self.astray
    }

    /// Goes on in the next segment. What neither it nor the finished one holds is gone.
    fn pass_gap(&mut self, topic: &Inner, next: &Segment) {
        if self.next < next.base {
            topic.shared.metrics.corrupt_blocks.inc();
            tracing::error!(
                partition = %self.log.partition,
                from_offset = self.next,
                to_offset = next.base,
                before = %next.path.display(),
                "no segment file holds these messages: they are lost"
            );
        }
        self.next = self.next.max(next.base);
        self.open = None;
    }

    fn damaged(&self, topic: &Inner, position: u64, problem: &str) {
        topic.shared.metrics.corrupt_blocks.inc();
        let path = self.open.as_ref().map(|(segment, _)| segment.path.display().to_string());
        tracing::error!(path, position, problem, "a damaged block is skipped: its messages are lost");
    }
}
