//! Opened sealed shards, kept while they are in use.
//!
//! A search of a shard comes in steps: its bundle is fetched as far as a search begins with, which needs no core; it is
//! opened; it is searched. [`Shard::is_near`] says whether the last step waits for a network.

use millrace_model::{ShardId, ShardMeta};
use millrace_storage::{Bundles, Reach, Reader};
use millrace_store::{ByteRanges, Error, SealedShard};
use std::{
    collections::{HashMap, HashSet},
    io,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Semaphore;

/// How many shards are kept open.
const OPEN: usize = 512;
/// How many bundles are fetched at once: each takes a thread that waits.
const FETCHING: usize = 32;

/// A bounded cache of opened shards. The one that was used longest ago goes first.
#[derive(Debug)]
pub struct OpenShards {
    bundles: Bundles,
    open: Mutex<Open>,
    fetching: Semaphore,
}

#[derive(Debug, Default)]
struct Open {
    shards: HashMap<ShardId, (u64, Shard)>,
    uses: u64,
}

/// An open shard, and where its bytes come from. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Shard {
    shard: Arc<SealedShard>,
    bundle: Arc<Bundle>,
}

/// A shard on its way to be searched.
#[derive(Debug)]
pub enum Found {
    /// It is open.
    Open(Shard),
    /// Its bundle can be read.
    Fetched(Arc<Bundle>),
}

/// A stored bundle as shards read it.
#[derive(Debug)]
pub struct Bundle(Reader);

impl ByteRanges for Bundle {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        self.0.read(range)
    }
}

impl Bundle {
    /// What a reader reads.
    pub(crate) fn of(reader: Reader) -> Self {
        Self(reader)
    }

    /// Is all of it on this machine?
    pub fn is_near(&self) -> bool {
        self.0.is_near()
    }
}

impl Shard {
    /// What is searched.
    pub fn sealed(&self) -> &SealedShard {
        &self.shard
    }

    /// Is all of it on this machine? Otherwise a search waits for bytes more than it computes.
    pub fn is_near(&self) -> bool {
        self.bundle.is_near()
    }
}

impl Found {
    /// Is all of it on this machine?
    pub fn is_near(&self) -> bool {
        match self {
            Self::Open(shard) => shard.is_near(),
            Self::Fetched(bundle) => bundle.is_near(),
        }
    }
}

impl OpenShards {
    /// Out of these bundles.
    pub fn new(bundles: Bundles) -> Self {
        Self { bundles, open: Mutex::default(), fetching: Semaphore::new(FETCHING) }
    }

    /// Where they lie.
    pub fn bundles(&self) -> &Bundles {
        &self.bundles
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard if it is open, otherwise its bundle. Waits for the storage.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn find(&self, meta: &ShardMeta) -> Result<Found, millrace_storage::Error> {
        {
            let mut open = self.lock();
            open.uses += 1;
            let now = open.uses;
            if let Some((used, shard)) = open.shards.get_mut(&meta.id) {
                *used = now;
                return Ok(Found::Open(shard.clone()));
            }
        }
        // Never closed.
        let _permit = self.fetching.acquire().await;
        let reader = self.bundles.reader(&meta.key, Some(meta.bytes), Reach::Parts).await?;
        Ok(Found::Fetched(Arc::new(Bundle::of(reader))))
    }

    /// The shard, opened. Blocks, and computes.
    ///
    /// # Errors
    /// As [`SealedShard::open_from`].
    pub fn open(&self, meta: &ShardMeta, found: Found) -> Result<Shard, Error> {
        let bundle = match found {
            Found::Open(shard) => return Ok(shard),
            Found::Fetched(bundle) => bundle,
        };
        let shard = SealedShard::open_from(Path::new(&meta.key), Arc::clone(&bundle) as _)?;
        // Another's bundle would answer for other records than those that are asked for.
        if shard.meta().id != meta.id || shard.meta().sha256 != meta.sha256 {
            let problem =
                format!("it is not its bundle that lies there, but that of shard {}", shard.meta().id);
            return Err(Error::Corrupt { path: meta.key.clone().into(), problem });
        }
        let shard = Shard { shard: Arc::new(shard), bundle };
        let mut open = self.lock();
        open.uses += 1;
        let now = open.uses;
        if open.shards.len() >= OPEN
            && let Some(oldest) = open.shards.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id)
        {
            open.shards.remove(&oldest);
        }
        open.shards.insert(meta.id, (now, shard.clone()));
        Ok(shard)
    }

    /// What is kept here of any bundle but those under these keys goes: nobody may ask for it any more. Returns how many
    /// copies that were.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn keep_only(&self, keys: &HashSet<String>) -> Result<usize, millrace_storage::Error> {
        self.lock().shards.retain(|_, (_, shard)| keys.contains(&shard.sealed().meta().key));
        self.bundles.keep_copies_of(keys).await
    }

    /// What is kept of a shard here goes, as its bytes are not right. Is there any use in another try, because they were
    /// a copy?
    pub async fn distrust(&self, meta: &ShardMeta) -> bool {
        self.lock().shards.remove(&meta.id);
        self.bundles.distrust(&meta.key).await.unwrap_or(false)
    }
}
