//! The hot shards: rows in memory, searchable from the moment they are added until a minute after they were published.
//!
//! One writer (the pipeline) and any number of readers (leaf searches). A reader takes a snapshot of everything under
//! one short lock, so that the offsets that it reports and the rows that it searches belong together.

mod rules;

use crate::settings::StreamFields;
use millrace_model::{OffsetRange, Partition, StreamName, Timestamp, TopicId};
use millrace_store::{HotRow, HotRows, HotShard, Shaper, Unruly};
use rules::Rules;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Which hot shard a row goes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The partition that it came through.
    pub partition: Partition,
    /// Its stream.
    pub stream: StreamName,
    /// The start of its time bucket.
    pub bucket: Timestamp,
}

/// A partition that this indexer owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// Which incarnation of the topic.
    pub topic_id: Option<TopicId>,
    /// The ownership's epoch.
    pub epoch: u64,
    /// What the catalogue had as next offset; `None` where it knew the partition not yet.
    pub published: Option<i64>,
    /// The first offset whose rows are here.
    pub held_from: i64,
    /// The first offset not taken in yet.
    pub next: i64,
    /// The partition's end, as last seen.
    pub end: i64,
}

/// The rows of one cut.
#[derive(Debug)]
struct Generation {
    id: u64,
    shards: BTreeMap<Key, HotShard>,
    phase: Phase,
    /// How far it moves each partition, once it is frozen.
    moves: Vec<FrozenMove>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Frozen,
    Published(Timestamp),
}

/// Rows frozen for sealing.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// Names the generation.
    pub generation: u64,
    /// The offsets that it covers, by partition, with the epoch and the catalogue's next offset as last known.
    pub moves: Vec<FrozenMove>,
    /// Its rows.
    pub rows: Vec<(Key, HotRows)>,
}

/// How far a frozen generation moves one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenMove {
    /// The offsets.
    pub range: OffsetRange,
    /// The owner's epoch.
    pub epoch: u64,
    /// What the catalogue should still have.
    pub published: Option<i64>,
}

/// One partition's rows and where they stand, for a reader.
#[derive(Debug, Clone)]
pub struct HeldPartition {
    /// The partition.
    pub partition: Partition,
    /// Ownership and offsets.
    pub owned: Owned,
    /// For how long the oldest message has waited that is not taken in yet, as last estimated.
    pub waits: Option<Duration>,
    /// Its rows, by stream.
    pub rows: Vec<(StreamName, HotRows)>,
}

/// How much is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Hot shards: one a partition, stream and bucket in each generation.
    pub shards: u64,
    /// Rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<Partition, Owned>,
    /// Of those, how long what is not taken in yet has waited.
    waits: BTreeMap<Partition, Duration>,
    /// Oldest first; the last one is open.
    generations: VecDeque<Generation>,
    next_generation: u64,
    rules: Rules,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Shards {
    topic: String,
    /// Hot shards come and go; what shapes records have is remembered.
    shaper: Shaper,
    state: RwLock<State>,
    /// Somebody waits for the next cut.
    wanted: AtomicBool,
}

impl Shards {
    /// None yet.
    pub fn new(topic: &str) -> Self {
        Self { topic: topic.to_owned(), ..Self::default() }
    }

    /// The same, for records whose fields these rules hold for.
    #[must_use]
    pub fn ruled_by(self, fields: StreamFields) -> Self {
        self.write().rules.fields = fields;
        self
    }

    /// What all rows are shaped by.
    pub fn shaper(&self) -> &Shaper {
        &self.shaper
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// A partition is ours from here on, at `owned.next`.
    pub fn own(&self, partition: Partition, owned: Owned) {
        self.write().owned.insert(partition, owned);
    }

    /// Partitions are not ours any more: their unpublished rows go. Returns how many.
    pub fn disown(&self, partitions: &[Partition]) -> u64 {
        let mut state = self.write();
        let mut dropped = 0;
        for partition in partitions {
            state.owned.remove(partition);
            state.waits.remove(partition);
        }
        for generation in &mut state.generations {
            generation.moves.retain(|m| !partitions.contains(&m.range.partition));
            let unpublished = !matches!(generation.phase, Phase::Published(_));
            generation.shards.retain(|key, shard| {
                let keep = !partitions.contains(&key.partition);
                if !keep && unpublished {
                    dropped += shard.len() as u64;
                }
                keep
            });
        }
        dropped
    }

    /// The partitions that are ours.
    pub fn partitions(&self) -> Vec<Partition> {
        self.read().owned.keys().copied().collect()
    }

    /// A partition of ours.
    pub fn owned(&self, partition: Partition) -> Option<Owned> {
        self.read().owned.get(&partition).cloned()
    }

    /// Adds the rows of messages up to `next` (exclusive) of one partition. Rows and offset become visible together. Returns
    /// the streams whose rows did not keep to their rules.
    pub fn append(
        &self,
        partition: Partition,
        rows: Vec<(StreamName, Timestamp, HotRow)>,
        next: i64,
        end: Option<i64>,
    ) -> Vec<(StreamName, Unruly)> {
        let mut by_key: BTreeMap<Key, Vec<HotRow>> = BTreeMap::new();
        for (stream, bucket, row) in rows {
            by_key.entry(Key { partition, stream, bucket }).or_default().push(row);
        }
        let mut state = self.write();
        let Some(owned) = state.owned.get_mut(&partition) else { return Vec::new() };
        owned.next = owned.next.max(next);
        owned.end = owned.end.max(end.unwrap_or(next)).max(next);
        state.open();
        let State { generations, rules, .. } = &mut *state;
        let Some(open) = generations.back_mut() else { return Vec::new() };
        let mut unruly = Vec::new();
        for (key, rows) in by_key {
            let stream = key.stream.clone();
            let shard = open.shards.entry(key).or_insert_with_key(|Key { stream, bucket, .. }| {
                HotShard::new(&self.shaper, &rules.of(stream, *bucket))
            });
            let found = shard.append(rows);
            if found != Unruly::default() {
                unruly.push((stream, found));
            }
        }
        unruly
    }

    /// Notes how far the partition reaches, so that a search can say how far behind the rows are.
    pub fn see_end(&self, partition: Partition, end: i64) {
        if let Some(owned) = self.write().owned.get_mut(&partition) {
            owned.end = owned.end.max(end);
        }
    }

    /// Notes for how long the oldest message has waited that is not taken in yet.
    pub fn see_waits(&self, partition: Partition, waits: Duration) {
        let mut state = self.write();
        if state.owned.contains_key(&partition) {
            state.waits.insert(partition, waits);
        }
    }

    /// Asks for a cut before its time.
    pub fn want_cut(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    /// Was a cut asked for since the last call?
    pub fn cut_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::AcqRel)
    }

    /// How far each partition of ours reaches, as last seen.
    pub fn ends(&self) -> Vec<(Partition, i64)> {
        self.read().owned.iter().map(|(partition, owned)| (*partition, owned.end)).collect()
    }

    /// Have the partitions of ours been taken in up to `ends`?
    pub fn reached(&self, ends: &[(Partition, i64)]) -> bool {
        let state = self.read();
        ends.iter().all(|(partition, end)| state.owned.get(partition).is_none_or(|owned| owned.next >= *end))
    }

    /// Freezes the open generation, if any partition has moved since the last one; a new one opens.
    pub fn freeze(&self) -> Option<Frozen> {
        let mut state = self.write();
        let moves: Vec<FrozenMove> = state
            .owned
            .iter()
            .filter(|(_, owned)| owned.published != Some(owned.next))
            .map(|(partition, owned)| FrozenMove {
                range: OffsetRange {
                    topic: self.topic.clone(),
                    topic_id: owned.topic_id,
                    partition: *partition,
                    from: owned.published.unwrap_or(owned.held_from),
                    to: owned.next,
                },
                epoch: owned.epoch,
                published: owned.published,
            })
            .collect();
        if moves.is_empty() {
            return None;
        }
        let generation = state.open();
        generation.phase = Phase::Frozen;
        generation.moves = moves;
        Some(generation.frozen())
    }

    /// What is left of a frozen generation after some of its partitions were taken away; `None` if nothing is, and the
    /// generation is gone.
    pub fn frozen(&self, generation: u64) -> Option<Frozen> {
        let mut state = self.write();
        let at = state.generations.iter().position(|g| g.id == generation)?;
        if state.generations[at].moves.is_empty() {
            state.generations.remove(at);
            return None;
        }
        Some(state.generations[at].frozen())
    }

    /// A frozen generation was published: its rows stay for searches that began before, until [`sweep`](Self::sweep).
    pub fn published(&self, generation: u64, now: Timestamp) {
        let mut state = self.write();
        let Some(generation) = state.generations.iter_mut().find(|g| g.id == generation) else { return };
        generation.phase = Phase::Published(now);
        for moved in generation.moves.clone() {
            if let Some(owned) =
                state.owned.get_mut(&moved.range.partition).filter(|o| o.epoch == moved.epoch)
            {
                owned.published = Some(moved.range.to);
            }
        }
    }

    /// Drops generations that were published before `before`.
    pub fn sweep(&self, before: Timestamp) {
        let mut state = self.write();
        while let Some(first) = state.generations.front() {
            if !matches!(first.phase, Phase::Published(at) if at < before) {
                break;
            }
            let moves = first.moves.clone();
            state.generations.pop_front();
            for moved in moves {
                if let Some(owned) =
                    state.owned.get_mut(&moved.range.partition).filter(|o| o.epoch == moved.epoch)
                {
                    owned.held_from = owned.held_from.max(moved.range.to);
                }
            }
        }
    }

    /// Bytes of rows that are not published yet: (open, frozen).
    pub fn weight(&self) -> (u64, u64) {
        let state = self.read();
        let weight = |phase: Phase| {
            let shards =
                state.generations.iter().filter(|g| g.phase == phase).flat_map(|g| g.shards.values());
            shards.map(|shard| shard.weight() as u64).sum()
        };
        (weight(Phase::Open), weight(Phase::Frozen))
    }

    /// What is in memory, published or not.
    pub fn size(&self) -> Size {
        let state = self.read();
        let mut size = Size::default();
        for shard in state.generations.iter().flat_map(|g| g.shards.values()) {
            size.shards += 1;
            size.rows += shard.len() as u64;
            size.bytes += shard.weight() as u64;
        }
        size
    }

    /// Everything, as it stands at one moment.
    pub fn held(&self) -> Vec<HeldPartition> {
        let state = self.read();
        state
            .owned
            .iter()
            .map(|(partition, owned)| HeldPartition {
                partition: *partition,
                owned: owned.clone(),
                waits: state.waits.get(partition).copied(),
                rows: state
                    .generations
                    .iter()
                    .flat_map(|g| g.shards.iter())
                    .filter(|(key, _)| key.partition == *partition)
                    .map(|(key, shard)| (key.stream.clone(), shard.snapshot()))
                    .collect(),
            })
            .collect()
    }
}

impl State {
    /// The open generation; there is at most one, the last.
    fn open(&mut self) -> &mut Generation {
        if self.generations.back().is_none_or(|g| g.phase != Phase::Open) {
            let id = self.next_generation;
            self.next_generation += 1;
            let (shards, moves) = (BTreeMap::new(), Vec::new());
            self.generations.push_back(Generation { id, shards, phase: Phase::Open, moves });
        }
        let last = self.generations.len() - 1;
        &mut self.generations[last]
    }
}

impl Generation {
    fn frozen(&self) -> Frozen {
        Frozen {
            generation: self.id,
            moves: self.moves.clone(),
            rows: self.shards.iter().map(|(key, shard)| (key.clone(), shard.snapshot())).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
