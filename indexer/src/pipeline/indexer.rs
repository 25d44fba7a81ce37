//! An indexer as a whole: the pipeline, begun again where it must be, and what goes on beside it.

use super::{Ended, Flow};
use crate::{
    GROUP, HotLeaf, Parts, Settings, Status, census, merge, retention,
    room::{self, Room},
    shards::Shards,
    snapshots,
    templates::Exchange,
};
use millrace_cores::Cores;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long the catalogue may take to hear that this node ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// An indexer, before it runs.
pub struct Indexer {
    pub(super) settings: Settings,
    pub(super) parts: Arc<Parts>,
    pub(super) shards: Arc<Shards>,
    pub(super) templates: Arc<Exchange>,
    pub(super) status: Arc<Status>,
    pub(super) room: Arc<Room>,
}

impl Indexer {
    /// Out of its parts.
    pub fn new(settings: Settings, parts: Parts) -> Self {
        let shards = Shards::new(parts.topic.name()).ruled_by(settings.streams.fields.clone());
        let shards = Arc::new(shards);
        let templates = Arc::new(Exchange::new(shards.shaper()));
        Self {
            settings,
            parts: Arc::new(parts),
            shards,
            templates,
            status: Arc::default(),
            room: Arc::default(),
        }
    }

    /// Answers searches over its rows, on these cores.
    pub fn leaf(&self, cores: Cores) -> HotLeaf {
        HotLeaf::new(Arc::clone(&self.shards), cores)
    }

    /// For probes.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Runs until `shutdown`; then publishes what it holds and hands its partitions back.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        // What lies in there was being sealed when the process before ended: it is read again.
        match tokio::fs::remove_dir_all(&self.parts.work_directory).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => tokio::fs::create_dir_all(&self.parts.work_directory).await?,
        }
        let mut beside = self.start_beside(&shutdown);
        self.templates.take_over(&self.parts.catalogue).await;
        while !shutdown.is_cancelled() {
            let consumer = self.parts.topic.consumer(GROUP)?;
            let flow = Flow::new(&self, consumer);
            if flow.run(&shutdown).await == Ended::Reset {
                tracing::warn!("what was not published is dropped and read again");
                let partitions = self.shards.partitions();
                self.shards.disown(&partitions);
                self.parts.metrics.forget_lag(&partitions);
            }
        }
        self.say_farewell().await;
        while let Some(ended) = beside.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// What goes on beside the pipeline, until `shutdown`.
    fn start_beside(&self, shutdown: &CancellationToken) -> JoinSet<()> {
        let Self { settings, parts, status, room, .. } = self;
        let (parts, room) = (|| Arc::clone(parts), || Arc::clone(room));
        let mut beside = JoinSet::new();
        beside.spawn(retention::run(parts(), settings.clone(), shutdown.clone()));
        beside.spawn(snapshots::run(parts(), settings.snapshot_every, shutdown.clone()));
        beside.spawn(census::run(parts(), shutdown.clone()));
        beside.spawn(room::run(parts(), room(), Arc::clone(status), settings.min_free, shutdown.clone()));
        if settings.merge {
            let merge_shards = Arc::new(merge::merge_bundles);
            beside.spawn(merge::run(parts(), settings.clone(), room(), merge_shards, shutdown.clone()));
        }
        beside
    }

    /// What it held is published or left to a successor: until its heartbeat is too old, searches would ask it and miss it.
    async fn say_farewell(&self) {
        let said = tokio::time::timeout(FAREWELL, self.parts.catalogue.farewell(&self.parts.node)).await;
        if !matches!(said, Ok(Ok(()))) {
            tracing::warn!(
                "the catalogue was not told that this node ends: searches will miss it for a while"
            );
        }
    }
}
