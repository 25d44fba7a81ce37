//! What can be set of an indexer: `[indexer]` and `[streams.*]`.

mod fields;

pub use fields::{Fields, StreamFields};

use millrace_config::{Age, ByteSize, MinFree, Section, Unguarded};
use millrace_model::StreamName;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// `[indexer]`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where probes, metrics and query nodes ask: `listen`. Other addresses than loopback need a `[cluster] secret`, or
    /// `allow_unauthenticated`.
    pub listen: SocketAddr,
    /// How query nodes reach `listen`, where that differs: `advertise`, as `host:port`.
    pub advertise: Option<String>,
    /// Hot rows are sealed when they are this old: `seal_age`, default 30 s.
    pub seal_age: Duration,
    /// … or when they weigh this much, in bytes: `seal_bytes`, default 64 MiB.
    pub seal_bytes: u64,
    /// Hot rows in memory, sealing ones included; the topic is paused above it, in bytes: `memory`, default 128 MiB.
    pub memory: u64,
    /// What the disks where bundles lie and are made must have free; below it the topic is paused and nothing is merged:
    /// `min_free`, default 1 GiB, or a twentieth of a small disk.
    pub min_free: MinFree,
    /// How long rows are kept after they were published, for searches that began before.
    pub linger: Duration,
    /// How long the file of an expired or merged shard stays for searches that have begun: `expired_grace`, default 2 min.
    pub expired_grace: Duration,
    /// Are small shards merged into larger ones? `merge`, default true.
    pub merge: bool,
    /// How often the catalogue is written among the bundles; zero: never. `[catalogue] snapshot_every`, default 1 h.
    pub snapshot_every: Duration,
    /// What is kept for how long.
    pub streams: Streams,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7702)),
            advertise: None,
            seal_age: Duration::from_secs(30),
            seal_bytes: 64 << 20,
            memory: 128 << 20,
            min_free: MinFree::default(),
            linger: Duration::from_mins(1),
            expired_grace: Duration::from_mins(2),
            merge: true,
            snapshot_every: Duration::from_hours(1),
            streams: Streams::default(),
        }
    }
}

impl Settings {
    /// Reads `[indexer]`; what is absent keeps its default. `[streams]` is read by [`Streams::read`]. `guarded`: the
    /// cluster has a secret.
    pub fn read(section: &mut Section<'_>, streams: Streams, guarded: bool) -> Self {
        let default = Self::default();
        let unguarded = Unguarded {
            problem: "it shows rows to whoever asks",
            help: "set `secret` in [cluster], on query nodes too; or listen on 127.0.0.1",
        };
        Self {
            listen: section.listen(default.listen, (!guarded).then_some(unguarded)),
            advertise: section.optional("advertise"),
            seal_age: section.or("seal_age", Age(default.seal_age)).0,
            seal_bytes: section.or("seal_bytes", ByteSize(default.seal_bytes)).0.max(1),
            memory: section.or("memory", ByteSize(default.memory)).0.max(1),
            min_free: MinFree::read(section),
            linger: default.linger,
            expired_grace: section.or("expired_grace", Age(default.expired_grace)).0,
            merge: section.or("merge", default.merge),
            snapshot_every: default.snapshot_every,
            streams,
        }
    }

    /// Reads what of `[catalogue]` is an indexer's.
    pub fn read_catalogue(&mut self, section: &mut Section<'_>) {
        self.snapshot_every = section.or("snapshot_every", Age(self.snapshot_every)).0;
    }
}

/// `[streams.*]`: what is kept of each stream.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    /// For streams that are not named.
    pub others: Keep,
    /// By name.
    pub named: BTreeMap<StreamName, Keep>,
    /// What may come, for streams that have a bound.
    pub quotas: BTreeMap<StreamName, Quota>,
    /// What holds of their fields.
    pub fields: StreamFields,
}

/// What may come to a stream on a day (UTC), in bytes of messages before compression. What goes beyond is kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// From all hosts together: `daily_quota`.
    pub bytes: Option<u64>,
    /// From each: `daily_quota_per_host`.
    pub host_bytes: Option<u64>,
}

/// What is kept of a stream; whichever bound is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// For how long: `retention`, default 30 days.
    pub age: Duration,
    /// How much, in bytes of published shards: `retention_bytes`, default unbounded.
    pub bytes: Option<u64>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { age: Duration::from_hours(720), bytes: None }
    }
}

impl Streams {
    /// Reads `[streams]` out of the root of a configuration.
    pub fn read(root: &mut Section<'_>) -> Self {
        let mut streams = Self::default();
        for (name, mut section) in root.sections("streams") {
            let keep = Keep {
                age: section.or("retention", Age(streams.others.age)).0,
                bytes: section.optional::<ByteSize>("retention_bytes").map(|bytes| bytes.0),
            };
            let mut bytes = |key| section.optional::<ByteSize>(key).map(|bytes| bytes.0);
            let quota = Quota { bytes: bytes("daily_quota"), host_bytes: bytes("daily_quota_per_host") };
            let fields = Fields::read(&mut section);
            match name.parse::<StreamName>() {
                Ok(name) => {
                    streams.fields.insert(name.clone(), fields);
                    if quota.bytes.or(quota.host_bytes).is_some() {
                        streams.quotas.insert(name.clone(), quota);
                    }
                    streams.named.insert(name, keep);
                }
                Err(error) => section.error("retention", error.to_string()),
            }
        }
        streams
    }

    /// What is kept of `stream`.
    pub fn keep(&self, stream: &StreamName) -> Keep {
        self.named.get(stream).copied().unwrap_or(self.others)
    }

    /// What may come to `stream`; `None`: anything.
    pub fn quota(&self, stream: &StreamName) -> Option<Quota> {
        self.quotas.get(stream).copied()
    }

    /// What those of `streams` may take whose size is bounded, in bytes.
    pub fn bounds<'a>(&self, streams: impl Iterator<Item = &'a StreamName>) -> BTreeMap<StreamName, u64> {
        streams.filter_map(|stream| Some((stream.clone(), self.keep(stream).bytes?))).collect()
    }

    /// How long the records of `stream` are kept.
    pub fn retention(&self, stream: &StreamName) -> Duration {
        self.keep(stream).age
    }
}
