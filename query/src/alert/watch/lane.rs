//! One partition that is watched: its place, what its rules have counted, and what time it is there.

use super::sources::Sources;
use millrace_catalogue::{DocumentWrite, Move};
use millrace_detect::Detector;
use millrace_model::{Partition, Timestamp, TopicId, wire::MatchOrigin};
use std::time::{Duration, Instant};

/// A message that was taken in longer ago says that there are more to read.
const BEHIND: Duration = Duration::from_secs(5);
/// Unless nothing comes for so long after it.
const CAUGHT_UP: Duration = Duration::from_secs(2);
/// What rule states are called in the catalogue.
pub(super) const STATE: &str = "detector";
/// What it is called how far partitions have handed on their matches.
pub(super) const SOURCES: &str = "detector.sources";

/// See the module.
pub(super) struct Lane {
    pub(super) topic_id: Option<TopicId>,
    pub(super) epoch: u64,
    /// The next offset in the catalogue.
    pub(super) published: Option<i64>,
    /// The next offset here.
    pub(super) next: i64,
    /// The next offset that was there when the partition was assigned.
    pub(super) high: i64,
    /// When the topic took in the last message.
    pub(super) heard: Option<Timestamp>,
    /// When the last message was read that had waited long.
    pub(super) behind: Option<Instant>,
    pub(super) detector: Detector,
    /// Its rules were handed something that is not durable.
    pub(super) reminded: bool,
    /// The stored rule state's version.
    pub(super) version: Option<u64>,
    /// Slices may take it to be behind.
    pub(super) told_behind: bool,
    /// Of a slice: what the topic's partitions have handed on to it, and the version of that as it is stored.
    pub(super) sources: Option<(Sources, Option<u64>)>,
}

impl Lane {
    /// Is there more to read that has waited?
    pub(super) fn reads_on(&self) -> bool {
        self.next < self.high || self.behind.is_some_and(|behind| behind.elapsed() < CAUGHT_UP)
    }

    /// How late it is in this partition; `None`: that is not known yet. In a slice it is no later than in the partition that is
    /// furthest behind.
    pub(super) fn now(&self, clock: Timestamp) -> Option<Timestamp> {
        let now = if self.reads_on() { self.heard } else { Some(clock) };
        now.map(|now| self.no_later(now))
    }

    /// A message is read; how late it is by that.
    pub(super) fn hear(&mut self, taken: Timestamp, clock: Timestamp) -> Timestamp {
        let heard = taken.min(clock);
        self.behind = (clock.since(heard) > BEHIND).then(Instant::now);
        self.heard = Some(self.heard.map_or(heard, |before| before.max(heard)));
        self.no_later(heard)
    }

    fn no_later(&self, now: Timestamp) -> Timestamp {
        let behind = self.sources.as_ref().and_then(|(sources, _)| sources.behind());
        behind.map_or(now, |behind| behind.min(now))
    }

    /// Where what is handed on now comes from.
    pub(super) fn origin(&self, partition: Partition) -> MatchOrigin {
        let behind = self.heard.filter(|_| self.reads_on());
        MatchOrigin { partition, topic_id: self.topic_id, offset: self.next - 1, piece: None, behind }
    }

    /// Is there anything new since it was last made durable?
    pub(super) fn has_moved(&self) -> bool {
        self.reminded || self.published != Some(self.next)
    }

    /// What is made durable of it: its place,
    pub(super) fn moves(&self, partition: Partition) -> Move {
        Move { partition, epoch: self.epoch, from: self.published, to: self.next }
    }

    /// and what was counted.
    pub(super) fn documents(&self, key: &str) -> anyhow::Result<Vec<DocumentWrite>> {
        let write = |kind: &str, expected_version, body| DocumentWrite {
            kind: kind.to_owned(),
            key: key.to_owned(),
            expected_version,
            body,
        };
        let mut documents = vec![write(STATE, self.version, self.detector.snapshot())];
        if let Some((sources, version)) = &self.sources {
            documents.push(write(SOURCES, *version, sources.snapshot()?));
        }
        Ok(documents)
    }

    /// That is durable now.
    pub(super) fn published(&mut self) {
        let next = |version: Option<u64>| Some(version.map_or(1, |version| version + 1));
        self.published = Some(self.next);
        self.reminded = false;
        self.version = next(self.version);
        if let Some((_, version)) = &mut self.sources {
            *version = next(*version);
        }
    }
}
