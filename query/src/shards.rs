//! Opened sealed shards, kept while they are in use.

use millrace_model::{ShardId, ShardMeta};
use millrace_storage::Bundles;
use millrace_store::SealedShard;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many shards are kept open.
const OPEN: usize = 512;

/// A bounded cache of opened shards. The one that was used longest ago goes first.
#[derive(Debug)]
pub struct OpenShards {
    bundles: Bundles,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    shards: HashMap<ShardId, (u64, Arc<SealedShard>)>,
    uses: u64,
}

impl OpenShards {
    /// Out of these bundles.
    pub fn new(bundles: Bundles) -> Self {
        Self { bundles, open: Mutex::default() }
    }

    /// Where they lie.
    pub fn bundles(&self) -> &Bundles {
        &self.bundles
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard, opened.
    pub async fn get(&self, meta: &ShardMeta) -> anyhow::Result<Arc<SealedShard>> {
        {
            let mut open = self.lock();
            open.uses += 1;
            let now = open.uses;
            if let Some((used, shard)) = open.shards.get_mut(&meta.id) {
                *used = now;
                return Ok(Arc::clone(shard));
            }
        }
        let path = self.bundles.local(&meta.key).await?;
        let shard = Arc::new(tokio::task::spawn_blocking(move || SealedShard::open(&path)).await??);
        // Another's bundle would answer for other records than those that are asked for.
        anyhow::ensure!(
            shard.meta().id == meta.id && shard.meta().sha256 == meta.sha256,
            "what lies at {} is not its bundle, but that of shard {}",
            meta.key,
            shard.meta().id
        );
        let mut open = self.lock();
        open.uses += 1;
        let now = open.uses;
        if open.shards.len() >= OPEN
            && let Some(oldest) = open.shards.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id)
        {
            open.shards.remove(&oldest);
        }
        open.shards.insert(meta.id, (now, Arc::clone(&shard)));
        Ok(shard)
    }
}
