//! The bounds of the plan, held over made-up days of cuts: records rewritten, shards left, nothing forgotten, nothing undone.

use super::*;
use crate::settings::Keep;
use millrace_model::{OffsetRange, Partition, ShardId};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};

const HOUR: Duration = Duration::from_hours(1);
const CUT: Duration = Duration::from_secs(30);

fn midnight() -> Timestamp {
    Timestamp::from_millis(1_000 * 86_400_000)
}

/// `hours` lies in buckets of an hour, all others in those of a day.
fn streams() -> Streams {
    let mut streams = Streams::default();
    streams.named.insert("hours".parse().unwrap(), Keep { age: Duration::from_hours(72), bytes: None });
    streams
}

/// Shards as a catalogue would have them, and how often each cut's records were really rewritten.
#[derive(Default)]
struct World {
    shards: Vec<ShardMeta>,
    rewritten: HashMap<ShardId, Vec<(ShardId, u32)>>,
    ids: u128,
    merges: usize,
    records_rewritten: u64,
}

impl World {
    fn id(&mut self) -> ShardId {
        self.ids += 1;
        // In no order that means anything.
        ShardId(self.ids.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
    }

    /// A cut's shard: of records of `stream` from `time` on, sealed at `now`.
    fn seal(&mut self, stream: &str, time: Timestamp, now: Timestamp, records: u64, bytes: u64) -> ShardId {
        let id = self.id();
        let stream: StreamName = stream.parse().unwrap();
        let width = route::bucket_width(streams().retention(&stream)).as_nanos() as i64;
        let bucket = Timestamp(time.0.div_euclid(width) * width);
        let last = Timestamp(time.plus(CUT).0.min(bucket.0 + width - 1));
        let offset = self.ids as i64 * 10;
        self.shards.push(ShardMeta {
            id,
            schema_version: 1,
            stream,
            first: time,
            last,
            records,
            bytes,
            sha256: String::new(),
            key: format!("{id}.shard"),
            offsets: vec![OffsetRange {
                topic: "t".to_owned(),
                topic_id: None,
                partition: Partition(0),
                from: offset,
                to: offset + 10,
            }],
            created: now,
            rewrites: 0,
            bucket: Some(bucket),
            deletions: 0,
            fields: millrace_model::ShardFields::default(),
        });
        self.rewritten.insert(id, vec![(id, 0)]);
        id
    }

    /// Does what a task says, as the indexer would.
    fn merge(&mut self, task: &MergeTask, limits: &Limits, now: Timestamp) {
        check(task, limits);
        let removed: BTreeSet<ShardId> = task.shards.iter().map(|shard| shard.id).collect();
        let before = self.shards.len();
        self.shards.retain(|shard| !removed.contains(&shard.id));
        assert_eq!(before - self.shards.len(), task.shards.len(), "a task of shards that are not live");
        let id = self.id();
        let gathered = removed.iter().flat_map(|id| self.rewritten.remove(id).unwrap());
        let gathered: Vec<(ShardId, u32)> = gathered.map(|(cut, times)| (cut, times + 1)).collect();
        self.rewritten.insert(id, gathered);
        self.merges += 1;
        self.records_rewritten += task.records();
        self.shards.push(ShardMeta {
            id,
            first: task.shards.iter().map(|shard| shard.first).min().unwrap(),
            last: task.shards.iter().map(|shard| shard.last).max().unwrap(),
            records: task.records(),
            // Together they take less, seldom more.
            bytes: task.shards.iter().map(|shard| shard.bytes).sum::<u64>() * 9 / 10,
            offsets: task.offsets(),
            created: now,
            rewrites: task.rewrites(),
            ..task.shards[0].clone()
        });
    }

    /// Plans and merges until there is nothing to do; at most `most` tasks.
    fn work(&mut self, limits: &Limits, now: Timestamp, most: usize) {
        for _ in 0..most {
            let Some(task) = plan(&self.shards, limits, &streams(), now).into_iter().next() else { return };
            self.merge(&task, limits, now);
        }
    }

    fn most_rewritten(&self) -> u32 {
        self.rewritten.values().flatten().map(|(_, times)| *times).max().unwrap_or(0)
    }

    fn cuts(&self) -> usize {
        self.rewritten.values().map(Vec::len).sum()
    }

    fn buckets(&self) -> BTreeMap<(StreamName, Option<Timestamp>), Vec<&ShardMeta>> {
        let mut buckets: BTreeMap<_, Vec<&ShardMeta>> = BTreeMap::new();
        for shard in &self.shards {
            buckets.entry((shard.stream.clone(), shard.bucket)).or_default().push(shard);
        }
        buckets
    }
}

/// What must hold of every task.
fn check(task: &MergeTask, limits: &Limits) {
    let MergeTask { shards } = task;
    assert!(shards.len() >= 2 && shards.len() <= limits.inputs);
    assert!(task.records() <= limits.records);
    assert!(shards.iter().map(|shard| shard.bytes).sum::<u64>() <= limits.bytes);
    for shard in shards {
        assert!(shard.rewrites < MAX_REWRITES && !limits.is_large(shard));
        assert!(shard.bucket.is_some() && shard.bucket == shards[0].bucket);
        assert_eq!((&shard.stream, shard.schema_version), (&shards[0].stream, shards[0].schema_version));
    }
    assert!(shards.is_sorted_by_key(|shard| shard.first), "neighbours in time");
}

/// Lets days pass without anything new, so that everything is over.
fn settle(world: &mut World, limits: &Limits) {
    for hour in 0..72 {
        world.work(limits, midnight().plus(HOUR * (25 + hour)), usize::MAX);
    }
    let over = midnight().plus(HOUR * 200);
    assert_eq!(plan(&world.shards, limits, &streams(), over), [], "it comes to rest");
}

#[test]
fn a_quiet_day_becomes_one_shard() {
    let limits = Limits::default();
    let mut world = World::default();
    let mut most = 0;
    for cut in 0..2_880 {
        let time = midnight().plus(CUT * cut);
        world.seal("days", time, time.plus(CUT), 300, 20_000);
        world.work(&limits, time.plus(CUT), usize::MAX);
        most = most.max(world.shards.len());
    }
    assert!(most <= 96 + 30, "{most} shards at once");
    settle(&mut world, &limits);
    assert_eq!((world.shards.len(), world.most_rewritten(), world.cuts()), (1, 2, 2_880));
    assert_eq!(world.merges, 97);
}

#[test]
fn a_busy_day_is_rewritten_once() {
    let limits = Limits::default();
    let mut world = World::default();
    for cut in 0..2_880 {
        let time = midnight().plus(CUT * cut);
        world.seal("days", time, time.plus(CUT), 300_000, 6 << 20);
        world.work(&limits, time.plus(CUT), usize::MAX);
    }
    settle(&mut world, &limits);
    assert_eq!((world.shards.len(), world.most_rewritten()), (480, 1), "six cuts fill a shard");
    // Cuts that are large enough as they are.
    world.seal("days", midnight().plus(HOUR), midnight().plus(HOUR * 30), 1_000_000, 1);
    world.seal("days", midnight().plus(HOUR), midnight().plus(HOUR * 30), 1, 128 << 20);
    let before = world.merges;
    settle(&mut world, &limits);
    assert_eq!((world.shards.len(), world.merges), (482, before));
}

#[test]
fn a_day_without_merging_is_made_up_for() {
    let limits = Limits::default();
    let mut world = World::default();
    // Of eight indexers.
    for cut in 0..2_880 * 8 {
        let time = midnight().plus(CUT * (cut / 8));
        world.seal("days", time, time.plus(CUT), 50, 4_000);
    }
    settle(&mut world, &limits);
    assert_eq!((world.shards.len(), world.most_rewritten()), (1, 2));
}

#[test]
fn a_bucket_is_complete_only_when_nothing_comes_for_it() {
    let limits = Limits::default();
    let mut world = World::default();
    for cut in 0..20 {
        let time = midnight().plus(CUT * cut);
        world.seal("hours", time, time.plus(CUT), 300, 20_000);
    }
    let over = midnight().plus(HOUR);
    let tasks = |world: &World, now| plan(&world.shards, &limits, &streams(), now).len();
    assert_eq!(tasks(&world, over.plus(limits.lateness).minus(Duration::from_nanos(1))), 0);
    assert_eq!(tasks(&world, over.plus(limits.lateness)), 1);
    // An agent that was away ships what it has of that hour: wait until it has.
    let late = over.plus(limits.lateness);
    world.seal("hours", midnight(), late, 300, 20_000);
    assert_eq!(tasks(&world, late.plus(Duration::from_mins(9))), 0);
    world.work(&limits, late.plus(Duration::from_mins(10)), usize::MAX);
    assert_eq!((world.shards.len(), world.shards[0].rewrites), (1, 1));
    // One that goes on for ever holds nothing up but its own last few.
    let mut now = late.plus(Duration::from_mins(10));
    for _ in 0..20_000 {
        now = now.plus(Duration::from_mins(5));
        world.seal("hours", midnight(), now, 3, 200);
        world.work(&limits, now, usize::MAX);
    }
    let by = |rewrites| world.shards.iter().filter(|shard| shard.rewrites == rewrites).count();
    assert!(world.shards.len() <= 30 + 256 + 3, "{:?}", [by(0), by(1), by(2)]);
    assert_eq!(world.most_rewritten(), 2);
}

#[test]
fn what_must_not_be_merged_is_passed_by() {
    let limits = Limits::default();
    let mut world = World::default();
    for _ in 0..8 {
        world.seal("hours", midnight(), midnight().plus(CUT), 10, 10);
    }
    world.shards[0].bucket = None;
    world.shards[1].rewrites = MAX_REWRITES;
    world.shards[2].stream = "hours2".parse().unwrap();
    world.shards[3].schema_version = 2;
    world.shards[4].bucket = Some(midnight().plus(HOUR));
    world.shards[5].records = 1_000_000;
    let later = midnight().plus(HOUR * 100);
    let tasks = plan(&world.shards, &limits, &streams(), later);
    assert_eq!(tasks.len(), 1);
    let ids: BTreeSet<_> = tasks[0].shards.iter().map(|shard| shard.id).collect();
    assert_eq!(ids, world.shards[6..].iter().map(|shard| shard.id).collect());
    assert_eq!(plan(&[], &limits, &streams(), later), []);
}

/// Cuts of a day: for each, how many records, how far back their time lies, which stream.
fn cuts() -> impl Strategy<Value = Vec<(u64, u64, bool)>> {
    let records = prop_oneof![
        6 => 1..400u64,
        3 => 400..60_000u64,
        2 => 60_000..600_000u64,
        1 => 600_000..3_000_000u64,
    ];
    // Most are just in time.
    let late = prop_oneof![12 => Just(0u64), 1 => 0..7_200u64, 1 => 0..86_400u64];
    prop::collection::vec((records, late, any::<bool>()), 1..700)
}

fn small_limits() -> impl Strategy<Value = Limits> {
    (2..12usize, 2..20usize, 1_000_000..4_000_000u64, 10u64 << 20..64 << 20).prop_map(
        |(fan_in, more, records, bytes)| Limits {
            records,
            bytes,
            inputs: fan_in + more,
            fan_in,
            ..Limits::default()
        },
    )
}

/// How many shards a bucket may come to, however its cuts came: those that are large, or that the next one would have
/// burst, hold half of a merge's records or bytes each, the pair; of others one is left, but for what came late.
fn most_shards(shards: &[&ShardMeta], limits: &Limits) -> usize {
    let records: u64 = shards.iter().map(|shard| shard.records).sum();
    let bytes: u64 = shards.iter().map(|shard| shard.bytes * 10 / 9).sum();
    (2 * records / limits.records + 3 * bytes / limits.bytes) as usize + 2
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Cuts just in time, at any rate, merged as fast as one likes: few shards are left, no record is rewritten thrice.
    #[test]
    fn a_day_in_time_leaves_few_shards(cuts in cuts(), most in 1..4usize) {
        let limits = Limits::default();
        let mut world = World::default();
        let pace = Duration::from_hours(24) / cuts.len() as u32;
        for (nth, (records, _, hours)) in cuts.iter().enumerate() {
            let time = midnight().plus(pace * nth as u32);
            world.seal(if *hours { "hours" } else { "days" }, time, time.plus(CUT), *records, records * 20 + 900);
            world.work(&limits, time.plus(CUT), most);
        }
        settle(&mut world, &limits);
        prop_assert!(world.most_rewritten() <= MAX_REWRITES);
        prop_assert_eq!(world.cuts(), cuts.len());
        for ((stream, bucket), shards) in world.buckets() {
            let most = most_shards(&shards, &limits);
            prop_assert!(shards.len() <= most, "{} of {stream} in {bucket:?}, expected {most}", shards.len());
        }
    }

    /// Cuts late and early, bounds of any kind, work that stands still now and then and is done out of order.
    #[test]
    fn whatever_comes_nothing_waits_for_ever(
        cuts in cuts(), limits in small_limits(), pauses in prop::collection::vec(0..6usize, 8), seed in any::<u64>(),
    ) {
        let mut world = World::default();
        let pace = Duration::from_hours(24) / cuts.len() as u32;
        let mut chance = seed;
        for (nth, (records, late, hours)) in cuts.iter().enumerate() {
            let now = midnight().plus(pace * nth as u32).plus(CUT);
            let time = now.minus(CUT).minus(Duration::from_secs(*late));
            world.seal(if *hours { "hours" } else { "days" }, time, now, *records, records * 20 + 900);
            for _ in 0..pauses[nth * pauses.len() / cuts.len()] {
                let tasks = plan(&world.shards, &limits, &streams(), now);
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if !tasks.is_empty() {
                    world.merge(&tasks[(chance >> 33) as usize % tasks.len()].clone(), &limits, now);
                }
            }
        }
        settle(&mut world, &limits);
        prop_assert!(world.most_rewritten() <= MAX_REWRITES);
        prop_assert_eq!(world.cuts(), cuts.len());
        for (_, shards) in world.buckets() {
            let waiting = shards.iter().filter(|s| s.rewrites < MAX_REWRITES && !limits.is_large(s)).count();
            prop_assert!(waiting <= 1, "{waiting} shards wait for ever");
        }
    }

    /// The plan does not depend on the order of what it is given; its tasks share no shard; doing one changes no other bucket's;
    /// doing all of them comes to an end.
    #[test]
    fn a_plan_is_stable(cuts in cuts(), limits in small_limits(), hours in 0..40u32, turn in any::<prop::sample::Index>()) {
        let mut world = World::default();
        let pace = Duration::from_hours(24) / cuts.len() as u32;
        for (nth, (records, late, hours)) in cuts.iter().enumerate() {
            let now = midnight().plus(pace * nth as u32).plus(CUT);
            let time = now.minus(CUT).minus(Duration::from_secs(*late));
            world.seal(if *hours { "hours" } else { "days" }, time, now, *records, records * 20 + 900);
        }
        let now = midnight().plus(HOUR * hours);
        let mut tasks = plan(&world.shards, &limits, &streams(), now);
        let mut turned = world.shards.clone();
        let by = turn.index(turned.len());
        turned.rotate_left(by);
        turned.reverse();
        prop_assert_eq!(&plan(&turned, &limits, &streams(), now), &tasks);
        let ids: Vec<ShardId> = tasks.iter().flat_map(|task| &task.shards).map(|shard| shard.id).collect();
        prop_assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        while !tasks.is_empty() {
            world.merge(&tasks.remove(0), &limits, now);
            let next = plan(&world.shards, &limits, &streams(), now);
            let made = world.shards.last().unwrap();
            let elsewhere = |tasks: &[MergeTask]| -> Vec<MergeTask> {
                let beside = |task: &&MergeTask| {
                    task.shards[0].bucket == made.bucket && task.shards[0].stream == made.stream
                };
                tasks.iter().filter(|task| !beside(task)).cloned().collect()
            };
            prop_assert_eq!(elsewhere(&next), elsewhere(&tasks), "other buckets have nothing to do with it");
            tasks = next;
        }
        prop_assert!(world.most_rewritten() <= MAX_REWRITES);
    }
}
