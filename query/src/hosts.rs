//! The hosts whose agents say how they are.
//!
//! Nothing is kept but what lies in the topic: whoever asks first after a start has it read again, and whoever asks later has read on.

use millrace_model::{AgentId, Clock, Partition, Timestamp, wire::Heartbeat};
use millrace_transport::Topic;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::Mutex;
use utoipa::ToSchema;

/// The topic of heartbeats has one partition.
const AT: Partition = Partition(0);
/// So many heartbeats are read at most that lie there already; who is in none of them has long been silent.
const HISTORY: i64 = 100_000;
/// So many are read at once.
const PAGE: usize = 10_000;
/// So many heartbeats may be missed before a host is away.
const MISSED: u64 = 3;
/// Hosts that were silent for so long are no longer told of.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);

/// How a host's agent is, as far as one can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HostState)]
pub enum State {
    /// It speaks, and nothing stands in its way.
    Up,
    /// It speaks of trouble.
    Troubled,
    /// It has ended in good order.
    Stopped,
    /// It has not spoken when it should have.
    Away,
}

/// What an agent said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// It.
    pub heartbeat: Heartbeat,
    /// When the topic took it, by the topic's clock.
    pub seen: Timestamp,
    /// How it is now.
    pub state: State,
}

impl Host {
    /// How far its clock is ahead of the topic's, in milliseconds; what the message took on its way makes it less.
    pub fn clock_skew_ms(&self) -> i64 {
        self.heartbeat.sent.as_millis().saturating_sub(self.seen.as_millis())
    }
}

/// Reads heartbeats.
pub struct Hosts {
    topic: Topic,
    clock: Arc<dyn Clock>,
    read: Mutex<Read>,
}

/// What was read so far.
#[derive(Default)]
struct Read {
    next: Option<i64>,
    last: BTreeMap<AgentId, (Heartbeat, Timestamp)>,
}

impl Hosts {
    /// Those that say how they are beside `topic`.
    pub fn new(topic: Topic, clock: Arc<dyn Clock>) -> Self {
        Self { topic, clock, read: Mutex::default() }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub async fn list(&self) -> Result<Vec<Host>, millrace_transport::Error> {
        let topic = self.topic.agents().await?;
        let mut read = self.read.lock().await;
        read.on(&topic).await?;
        let now = self.clock.now();
        read.last.retain(|_, (_, seen)| now.since(*seen) < FORGOTTEN);
        let mut hosts: Vec<Host> = read
            .last
            .values()
            .map(|(heartbeat, seen)| Host {
                state: state(heartbeat, *seen, now),
                seen: *seen,
                heartbeat: heartbeat.clone(),
            })
            .collect();
        hosts.sort_by(|a, b| a.heartbeat.host.cmp(&b.heartbeat.host));
        Ok(hosts)
    }
}

impl Read {
    async fn on(&mut self, topic: &Topic) -> Result<(), millrace_transport::Error> {
        let mut from = if let Some(next) = self.next {
            next
        } else {
            let first = topic.page(AT, 0, 1).await?;
            first.low.max(first.end - HISTORY)
        };
        loop {
            let page = topic.page(AT, from, PAGE).await?;
            for message in &page.messages {
                if let Some(heartbeat) = Heartbeat::decode(&message.headers, &message.value) {
                    self.last.insert(heartbeat.agent, (heartbeat, message.timestamp));
                }
            }
            // A topic that was made anew begins again.
            from = if from > page.end { page.low } else { page.next };
            self.next = Some(from);
            if page.messages.is_empty() || from >= page.end {
                return Ok(());
            }
        }
    }
}

fn state(heartbeat: &Heartbeat, seen: Timestamp, now: Timestamp) -> State {
    if heartbeat.stopping {
        return State::Stopped;
    }
    if now.since(seen).as_secs() > MISSED * heartbeat.interval_seconds.max(1) {
        return State::Away;
    }
    if heartbeat.problem.is_some() { State::Troubled } else { State::Up }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::{InstanceId, ManualClock};
    use millrace_transport::{EmbeddedSettings, Metrics, Producer, TopicSettings};
    use tokio::sync::mpsc;

    fn beat(agent: u128, host: &str, sent: Timestamp) -> Heartbeat {
        Heartbeat {
            agent: AgentId(agent),
            instance: InstanceId(1),
            host: host.to_owned(),
            millrace: "1".to_owned(),
            config: String::new(),
            started: sent,
            sent,
            interval_seconds: 30,
            stopping: false,
            sources: BTreeMap::new(),
            backlog_bytes: 0,
            backlog_seconds: 0,
            in_flight_bytes: 0,
            shipped_records: 0,
            problem: None,
        }
    }

    #[tokio::test]
    async fn the_last_word_of_each_agent_counts_until_it_should_have_spoken_again() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TopicSettings::Embedded(EmbeddedSettings::new(folder.path().to_owned(), "logs"));
        let now = Timestamp::from_millis(1_000_000);
        let clock = Arc::new(ManualClock::new(now));
        let topic =
            Topic::open(&settings, Arc::clone(&clock) as Arc<dyn Clock>, &Metrics::default()).await.unwrap();
        let hosts = Hosts::new(topic.clone(), Arc::clone(&clock) as Arc<dyn Clock>);
        assert_eq!(hosts.list().await.unwrap(), []);

        let (reports, mut delivered) = mpsc::channel(8);
        let producer = topic.agents().await.unwrap().producer(reports).unwrap();
        let ahead = now.plus(Duration::from_secs(5));
        let troubled = Heartbeat { problem: Some("the disk is full".to_owned()), ..beat(2, "b", now) };
        let stopped = Heartbeat { stopping: true, ..beat(3, "a", now) };
        for beat in [beat(2, "b", now), beat(1, "c", ahead), stopped, troubled] {
            producer.send(AT, beat.encode().unwrap(), 0).await.unwrap();
            delivered.recv().await.unwrap().outcome.unwrap();
        }
        let states = |hosts: &[Host]| -> Vec<(String, State)> {
            hosts.iter().map(|host| (host.heartbeat.host.clone(), host.state)).collect()
        };
        let name = |name: &str, state| (name.to_owned(), state);
        let listed = hosts.list().await.unwrap();
        assert_eq!(
            states(&listed),
            [name("a", State::Stopped), name("b", State::Troubled), name("c", State::Up)]
        );
        assert_eq!(listed.iter().map(Host::clock_skew_ms).collect::<Vec<_>>(), [0, 0, 5000]);

        clock.advance(Duration::from_secs(91));
        producer.send(AT, beat(2, "b", clock.now()).encode().unwrap(), 0).await.unwrap();
        delivered.recv().await.unwrap().outcome.unwrap();
        let listed = hosts.list().await.unwrap();
        assert_eq!(
            states(&listed),
            [name("a", State::Stopped), name("b", State::Up), name("c", State::Away)]
        );
        // Whoever starts later reads the same.
        let later = Hosts::new(topic, Arc::clone(&clock) as Arc<dyn Clock>);
        assert_eq!(later.list().await.unwrap(), listed);
        clock.advance(FORGOTTEN);
        assert_eq!(hosts.list().await.unwrap(), []);
    }
}
