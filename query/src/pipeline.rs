//! Where lines wait on their way from a file to a hit: at agents, in the topic, in the memory of indexers, before the rules. Nothing is
//! measured for it: it is what agents, indexers and the catalogue know when they are asked.
//!
//! **Invariant:** what could not be asked is named, and never counted as if nothing waited there.

use crate::{
    INDEXER_GROUP, Missing, Searcher,
    dead_letters::{DeadLetters, Letters},
    hosts::{Host, Hosts, State},
    search::standing::{PartitionStanding, Standing},
};
use futures_util::{StreamExt, future::join3, stream};
use millrace_catalogue::{PartitionRow, StreamUsage};
use millrace_model::{Partition, Timestamp};
use millrace_store::Leaf;
use millrace_transport::Topic;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// How long the topic and its neighbours may take to say something.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many partitions are asked for at once.
const AT_ONCE: usize = 8;
/// Reasons are counted of so many dead letters, the latest.
const LETTERS: usize = 1_000;
/// So many hosts are named in what is missing.
const NAMED: usize = 10;

/// The way of a line, and what waits where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pipeline {
    /// Where lines wait, in the order in which they come by; `detection` stands beside the way.
    pub hops: Vec<Hop>,
    /// How agents are, of those that have spoken within a week.
    pub agents: Option<AgentCounts>,
    /// Where each partition of the topic stands.
    pub partitions: Vec<PartitionTold>,
    /// What has arrived: shards that are published.
    pub published: PublishedTold,
    /// What was kept aside because it could not be taken in.
    pub dead_letters: Option<DeadLetterCounts>,
    /// Something in here could not be asked.
    pub partial: bool,
    /// What.
    pub missing: Vec<Missing>,
}

/// A place at which lines wait. What is not known of it is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hop {
    /// Which.
    pub hop: HopName,
    /// How many messages wait there.
    pub messages: Option<u64>,
    /// How many records.
    pub records: Option<u64>,
    /// How many bytes.
    pub bytes: Option<u64>,
    /// For how many seconds what came first has waited.
    pub seconds: Option<f64>,
}

/// The places at which lines wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HopName {
    /// On hosts: not read yet, or not acknowledged by the topic.
    Agents,
    /// In the topic, and no indexer has taken them in: they are no hits yet.
    Topic,
    /// In the memory of indexers: they are hits, and not published in shards yet.
    Memory,
    /// Not acknowledged by the rules.
    Detection,
}

/// How many agents are how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct AgentCounts {
    /// They speak, and nothing stands in their way.
    pub up: u64,
    /// They speak of trouble.
    pub troubled: u64,
    /// They have ended in good order.
    pub stopped: u64,
    /// They have not spoken when they should have.
    pub away: u64,
}

/// Where a partition stands. Offsets are those of the first message that has not come so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionTold {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// The indexer that owns it, or owned it last.
    pub owner: String,
    /// Does it answer for it?
    pub held: bool,
    /// How far it is published in shards; null: nothing ever was.
    pub published: Option<i64>,
    /// How far its messages are taken in.
    pub taken: Option<i64>,
    /// Where it ends.
    pub end: Option<i64>,
    /// What waits in the topic.
    pub topic_waits: Waiting,
    /// What waits in memory.
    pub memory_waits: Waiting,
    /// How far rules have come, where they have begun.
    pub detection: Option<DetectionTold>,
}

/// What waits somewhere. What is not known is null.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Waiting {
    /// How many messages.
    pub messages: Option<u64>,
    /// How many records.
    pub records: Option<u64>,
    /// For how many seconds what came first has waited.
    pub seconds: Option<f64>,
}

/// How far rules have come in a partition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DetectionTold {
    /// The node whose rules look at it, or did last.
    pub owner: String,
    /// The first message whose consequences are not in the catalogue; null: none ever was.
    pub next: Option<i64>,
    /// How many messages that leaves.
    pub messages: Option<u64>,
}

impl DetectionTold {
    fn waits(&self) -> Waiting {
        Waiting { messages: self.messages, ..Waiting::default() }
    }
}

/// What shards hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PublishedTold {
    /// How many shards.
    pub shards: u64,
    /// How many records.
    pub records: u64,
    /// The bytes of their bundles.
    pub bytes: u64,
    /// The time of the earliest record.
    pub first: Option<Timestamp>,
    /// The time of the latest.
    pub last: Option<Timestamp>,
}

/// What was kept aside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct DeadLetterCounts {
    /// How many letters were looked at: the latest, so many at most.
    pub looked_at: u64,
    /// How many of them wait: what they stand for is not searchable yet.
    pub waiting: u64,
    /// Of those that wait, how many for which reason.
    pub reasons: BTreeMap<String, u64>,
}

/// Asks everybody, at once.
///
/// # Errors
/// The catalogue cannot be read: then nothing is known of what there is.
pub async fn pipeline<L: Leaf>(
    searcher: &Searcher<L>,
    hosts: &Hosts,
    letters: &DeadLetters,
    topic: &Topic,
) -> Result<Pipeline, millrace_catalogue::Error> {
    let (standing, hosts, letters) = join3(
        searcher.standing(),
        in_time("heartbeats", hosts.list()),
        in_time("dead letters", letters.latest(LETTERS)),
    )
    .await;
    let usage = searcher.catalogue().stream_usage(INDEXER_GROUP).await?;
    let Standing { rows, partitions, mut missing } = standing?;
    let (now, both) = (searcher.now(), rows.iter().zip(&partitions));
    let told: Vec<_> = both.map(|(row, standing)| partition(topic, now, row, standing)).collect();
    let told = stream::iter(told).buffered(AT_ONCE);
    let mut all = Vec::with_capacity(rows.len());
    for (partition, problem) in told.collect::<Vec<_>>().await {
        missing.extend(problem);
        all.push(partition);
    }
    let mut known = |problem: String| missing.push(Missing::of(problem));
    let (hosts, letters) = (hosts.map_err(&mut known).ok(), letters.map_err(&mut known).ok());
    if let Some(away) = hosts.as_deref().and_then(away) {
        missing.push(Missing::of(away));
    }
    Ok(Pipeline {
        hops: vec![
            of_agents(hosts.as_deref()),
            hop(HopName::Topic, all.iter().map(|one| one.topic_waits)),
            hop(HopName::Memory, all.iter().map(|one| one.memory_waits)),
            hop(
                HopName::Detection,
                all.iter().filter_map(|one| one.detection.as_ref()).map(DetectionTold::waits),
            ),
        ],
        agents: hosts.as_deref().map(counts),
        partitions: all,
        published: published(&usage),
        dead_letters: letters.map(kept_aside),
        partial: !missing.is_empty(),
        missing,
    })
}

/// What somebody says who has only so long for it.
async fn in_time<T, E: std::fmt::Display>(
    what: &str,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(said)) => Ok(said),
        Ok(Err(error)) => Err(format!("{what} cannot be read: {error}")),
        Err(_) => Err(format!("{what} could not be read within {PATIENCE:?}")),
    }
}

/// Where a partition stands, and what of that could not be asked.
async fn partition(
    topic: &Topic,
    now: Timestamp,
    row: &PartitionRow,
    standing: &PartitionStanding,
) -> (PartitionTold, Option<Missing>) {
    let mut told = PartitionTold {
        topic: row.topic.clone(),
        partition: row.partition,
        owner: row.owner.clone(),
        held: standing.held.is_some(),
        published: standing.published,
        taken: None,
        end: None,
        topic_waits: Waiting::default(),
        memory_waits: Waiting::default(),
        detection: None,
    };
    let problem = match &standing.held {
        Some(held) => {
            (told.taken, told.end) = (Some(held.taken), Some(held.end));
            told.topic_waits = Waiting::between(held.taken, held.end, held.waits);
            let from = held.taken.saturating_sub_unsigned(held.unpublished);
            told.memory_waits =
                Waiting { records: Some(held.records), ..Waiting::between(from, held.taken, held.age) };
            None
        }
        None => Some(unheld(topic, now, row, &mut told).await),
    };
    told.detection = standing.detected.as_ref().map(|detected| {
        let waits = detected.next.zip(told.end).map(|(next, end)| Waiting::between(next, end, None));
        let messages = waits.and_then(|waits| waits.messages);
        DetectionTold { owner: detected.owner.clone(), next: detected.next, messages }
    });
    let problem = problem.map(|reason| Missing { partition: Some(row.partition), ..Missing::of(reason) });
    (told, problem)
}

/// Of a partition that no indexer answers for the topic knows how much waits. Returns what remains unknown.
async fn unheld(topic: &Topic, now: Timestamp, row: &PartitionRow, told: &mut PartitionTold) -> String {
    let PartitionRow { topic: name, partition, owner, .. } = row;
    if name != topic.name() {
        return format!(
            "no indexer answers for partition {partition} of {name}, and nobody here reads that topic"
        );
    }
    let from = row.next_offset.unwrap_or(0);
    match in_time("the topic", topic.page(*partition, from, 1)).await {
        Ok(page) => {
            let first = page.messages.first().map(|message| now.since(message.timestamp));
            told.end = Some(page.end);
            told.topic_waits = Waiting::between(from.max(page.low), page.end, first);
            format!(
                "no indexer answers for partition {partition} of {name}, which {owner} had: all that is not published waits in the topic"
            )
        }
        Err(problem) => format!("no indexer answers for partition {partition} of {name}, and {problem}"),
    }
}

impl Waiting {
    /// Messages between two offsets, of which the first has waited so long.
    fn between(from: i64, to: i64, waits: Option<Duration>) -> Self {
        let messages = to.saturating_sub(from).max(0) as u64;
        let waits = if messages == 0 { Some(Duration::ZERO) } else { waits };
        Self { messages: Some(messages), records: None, seconds: waits.map(|waits| waits.as_secs_f64()) }
    }
}

/// A hop, of what is known of each of its parts.
fn hop(hop: HopName, parts: impl Iterator<Item = Waiting> + Clone) -> Hop {
    let sum =
        |of: fn(&Waiting) -> Option<u64>| parts.clone().filter_map(|part| of(&part)).reduce(|a, b| a + b);
    Hop {
        hop,
        messages: sum(|part| part.messages),
        records: sum(|part| part.records),
        bytes: None,
        seconds: parts.clone().filter_map(|part| part.seconds).reduce(f64::max),
    }
}

/// What waits at agents that speak. How much waits at others nobody can say.
fn of_agents(hosts: Option<&[Host]>) -> Hop {
    let speak = |host: &&Host| matches!(host.state, State::Up | State::Troubled);
    let beats = || hosts.into_iter().flatten().filter(speak).map(|host| &host.heartbeat);
    Hop {
        hop: HopName::Agents,
        messages: None,
        records: None,
        bytes: hosts.map(|_| beats().map(|beat| beat.backlog_bytes + beat.in_flight_bytes).sum()),
        seconds: hosts.map(|_| beats().map(|beat| beat.backlog_seconds).max().unwrap_or_default() as f64),
    }
}

fn counts(hosts: &[Host]) -> AgentCounts {
    let of = |state| hosts.iter().filter(|host| host.state == state).count() as u64;
    AgentCounts {
        up: of(State::Up),
        troubled: of(State::Troubled),
        stopped: of(State::Stopped),
        away: of(State::Away),
    }
}

/// Whose backlog is not known.
fn away(hosts: &[Host]) -> Option<String> {
    let names: Vec<&str> = hosts
        .iter()
        .filter(|host| host.state == State::Away)
        .map(|host| host.heartbeat.host.as_str())
        .collect();
    let more = names.len().saturating_sub(NAMED);
    let named = names[..names.len() - more].join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("agents are away, and what waits there is not known: {named}{more}"))
}

fn kept_aside(letters: Letters) -> DeadLetterCounts {
    let mut counts =
        DeadLetterCounts { looked_at: letters.letters.len() as u64, ..DeadLetterCounts::default() };
    for letter in letters.letters.into_iter().filter(|letter| letter.waits) {
        counts.waiting += 1;
        *counts.reasons.entry(letter.reason).or_default() += 1;
    }
    counts
}

fn published(usage: &[StreamUsage]) -> PublishedTold {
    PublishedTold {
        shards: usage.iter().map(|one| one.shards).sum(),
        records: usage.iter().map(|one| one.records).sum(),
        bytes: usage.iter().map(|one| one.bytes).sum(),
        first: usage.iter().map(|one| one.first).min(),
        last: usage.iter().map(|one| one.last).max(),
    }
}

#[cfg(test)]
mod tests;
