//! Where bundles lie: a folder, or a bucket of S3-compatible storage with copies on the local disk.
//!
//! It owns what is below its root or prefix and knows nothing of what a bundle holds or which of them count: that is the
//! catalogue's.
//!
//! **Invariants:**
//! - When [`Bundles::put`] returns, the bundle survives power loss, of this machine or as the bucket promises; until then
//!   nothing lies under its key.
//! - No key leads out of the root.
//! - A copy is as good as the bundle: what lies under a key does not change while somebody may read it, and if its size is
//!   not what a reader expects, that is an error.

mod address;
mod bucket;
mod cache;
mod crypto;
mod disk;
mod error;
mod key;
mod metrics;
mod parts;
mod reader;
mod remote;
mod settings;

pub use error::Error;
pub use metrics::{Asked, Metrics};
pub use reader::{Reach, Reader};
pub use settings::{S3Settings, Settings};

use address::Address;
use cache::Cache;
use error::Failure;
use futures_util::{StreamExt, TryStreamExt, stream::FuturesUnordered};
use object_store::{MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, local::LocalFileSystem};
use parts::{PART_BYTES, Parts};
use remote::{Origin, Remote};
use std::{collections::HashSet, fmt, io::ErrorKind, path::Path, sync::Arc, time::SystemTime};
use tokio::runtime::Handle;

/// How many parts of a bundle are sent to S3-compatible storage at once.
const PARTS_AT_ONCE: usize = 3;

/// A handle on the store. Cloning shares it.
#[derive(Clone)]
pub struct Bundles {
    store: Arc<dyn ObjectStore>,
    home: Home,
    /// As people are told of it.
    place: Arc<str>,
    metrics: Metrics,
}

#[derive(Clone)]
enum Home {
    Folder { root: Arc<Path> },
    Bucket { origin: Arc<Origin>, cache: Option<Arc<Cache>> },
}

/// How much lies in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bundles.
    pub bundles: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl fmt::Debug for Bundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bundles").field(&self.place).finish()
    }
}

impl Bundles {
    /// Opens the store. A folder is made if it is not there; a bucket is not asked for anything yet, so that whether it can
    /// be reached shows later, when waiting makes sense. Blocks for as long as the local disk takes.
    ///
    /// # Errors
    /// The url or what belongs to it is wrong, or a folder, that of copies included, cannot be used: by this process, or
    /// because another one has its copies there.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        match Address::of(&settings.url)? {
            Address::Folder(folder) => Self::open_folder(&folder),
            Address::Bucket { bucket, prefix } => Self::open_bucket(&bucket, prefix, settings),
        }
    }

    fn open_folder(folder: &Path) -> Result<Self, Error> {
        let cannot_use = |source| Error::Folder { path: folder.to_owned(), source };
        disk::create(folder).map_err(cannot_use)?;
        // The store's own paths are canonical; the ones below are compared with them.
        let root = folder.canonicalize().map_err(cannot_use)?;
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| cannot_use(std::io::Error::other(error)))?
            .with_fsync(true);
        let place = format!("file://{}", root.display()).into();
        let home = Home::Folder { root: root.into() };
        Ok(Self { store: Arc::new(store), home, place, metrics: Metrics::default() })
    }

    fn open_bucket(
        bucket: &str,
        prefix: Option<object_store::path::Path>,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let (store, place) = bucket::open(bucket, prefix, &settings.s3)?;
        let (place, metrics) = (Arc::<str>::from(place), Metrics::default());
        let cache = match settings.cache_bytes {
            0 => None,
            bound => Some(Arc::new(Cache::open(&settings.cache_dir, bound, metrics.clone())?)),
        };
        let origin = Origin::new(Arc::clone(&store), Arc::clone(&place), cache.clone(), metrics.clone());
        let home = Home::Bucket { origin: Arc::new(origin), cache };
        Ok(Self { store, home, place, metrics })
    }

    /// The folder that bundles lie in, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.home {
            Home::Folder { root } => Some(root),
            Home::Bucket { .. } => None,
        }
    }

    /// What is counted: nothing for a folder.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Stores a local file under `key`, over what may lie there, and returns its size in bytes. The file stays where it
    /// is, and must not change: its blocks may serve as the local copy. If the future is dropped, what lay under the key is
    /// as it was or it is the whole new file; on an error it is as it was, but that a bucket's answer may have been lost.
    ///
    /// # Errors
    /// [`Error::Full`] where there is no room: worth another try later.
    pub async fn put(&self, key: &str, file: &Path) -> Result<u64, Error> {
        let location = key::checked(key)?;
        let stored = self.upload(key, &location, file).await;
        match &self.home {
            Home::Folder { root } => {
                let (root, target) = (Arc::clone(root), root.join(key));
                match stored {
                    Ok(bytes) => blocking(move || disk::sync_above(&root, &target)).await.map(|()| bytes),
                    Err(error) => {
                        // A failed end of an upload leaves its file behind; the upload's own error is the one to tell.
                        if let Err(leftover) = blocking(move || disk::remove_staged(&target)).await {
                            tracing::warn!(key, error = %leftover, "a failed upload's file is left for the sweep");
                        }
                        Err(error)
                    }
                }
            }
            Home::Bucket { cache, .. } => {
                self.metrics.asked("put", &stored);
                if let Some(cache) = cache.clone() {
                    let (name, file) = (cache::name_of(&self.place, key), file.to_owned());
                    let bytes = stored.as_ref().ok().copied();
                    blocking(move || {
                        cache.forget(&name);
                        if let Some(bytes) = bytes {
                            cache.adopt(&name, &file, bytes);
                        }
                        Ok(())
                    })
                    .await?;
                }
                stored
            }
        }
    }

    async fn upload(
        &self,
        key: &str,
        location: &object_store::path::Path,
        file: &Path,
    ) -> Result<u64, Error> {
        let failure = self.failure("store", key);
        let refused = |source| failure.of_put(source);
        let mut parts = Parts::open(file).await?;
        let first = parts.next().await?;
        if first.len() < PART_BYTES {
            let bytes = first.len() as u64;
            self.store.put(location, first.into()).await.map_err(refused)?;
            return Ok(bytes);
        }
        let mut upload = self.store.put_multipart(location).await.map_err(refused)?;
        let sent = self.send(upload.as_mut(), first, &mut parts, &failure).await;
        let done = match sent {
            Ok(bytes) => upload.complete().await.map(|_| bytes).map_err(refused),
            Err(error) => Err(error),
        };
        // In a folder `put` cleans up: after a failed end, too, and with the answer awaited.
        if done.is_err()
            && matches!(self.home, Home::Bucket { .. })
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(key, %error, "parts of a failed upload are left for the bucket's lifecycle rule");
        }
        done
    }

    /// Sends all parts. To a folder they go one after the other.
    async fn send(
        &self,
        upload: &mut dyn MultipartUpload,
        first: bytes::Bytes,
        parts: &mut Parts,
        failure: &Failure,
    ) -> Result<u64, Error> {
        let at_once = if matches!(self.home, Home::Bucket { .. }) { PARTS_AT_ONCE } else { 1 };
        let mut sending = FuturesUnordered::new();
        let (mut bytes, mut part) = (0, first);
        while !part.is_empty() {
            bytes += part.len() as u64;
            sending.push(upload.put_part(part.into()));
            if sending.len() == at_once {
                sending.next().await.unwrap_or(Ok(())).map_err(|source| failure.of_put(source))?;
            }
            part = parts.next().await?;
        }
        while let Some(sent) = sending.next().await {
            sent.map_err(|source| failure.of_put(source))?;
        }
        Ok(bytes)
    }

    /// Opens a bundle for reading. Of a bucket's, `reach` says how much of it will be read: then it is fetched to the local
    /// disk whole, or as far as a search begins with. Who knows its size in `bytes` says it: that saves a request, and a
    /// bundle of another size is refused.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such bundle; [`Error::Size`].
    pub async fn reader(&self, key: &str, bytes: Option<u64>, reach: Reach) -> Result<Reader, Error> {
        let location = key::checked(key)?;
        match &self.home {
            Home::Folder { root } => {
                let (path, key) = (root.join(key), key.to_owned());
                let failure = self.failure("open", &key);
                blocking(move || {
                    let opened = std::fs::File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
                    match opened {
                        Ok((metadata, file)) if metadata.is_file() => {
                            sized(&key, bytes, metadata.len()).map(|()| Reader::file(file, metadata.len()))
                        }
                        Ok(_) => Err(Error::Missing { key }),
                        Err(error)
                            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                        {
                            Err(Error::Missing { key })
                        }
                        Err(error) => Err(failure.of_disk(error)),
                    }
                })
                .await
            }
            Home::Bucket { origin, .. } => {
                // A bundle of nothing has no bytes that could tell that it is there.
                let size = match bytes.filter(|bytes| *bytes > 0) {
                    Some(bytes) => bytes,
                    None => origin.size(key, &location).await?,
                };
                sized(key, bytes, size)?;
                let (origin, key, runtime) = (Arc::clone(origin), key.to_owned(), Handle::current());
                blocking(move || {
                    Remote::open(origin, &key, location, size, reach, runtime).map(Reader::remote)
                })
                .await
            }
        }
    }

    /// Writes what lies under a key into a local file, over what may be there, for who needs a file. Returns its size.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such bundle.
    pub async fn copy_to(&self, key: &str, file: &Path) -> Result<u64, Error> {
        let reader = self.reader(key, None, Reach::Whole).await?;
        let (path, failure) = (file.to_owned(), self.failure("copy", key));
        blocking(move || {
            let mut copy = std::fs::File::create(&path).map_err(|error| failure.of_disk(error))?;
            let mut from = 0;
            while from < reader.size() {
                let to = reader.size().min(from + PART_BYTES as u64);
                let part = reader.read(from..to).map_err(|error| failure.of_disk(error))?;
                std::io::Write::write_all(&mut copy, &part).map_err(|error| failure.of_disk(error))?;
                from = to;
            }
            Ok(reader.size())
        })
        .await
    }

    /// Lets go of the local copy of a bundle: what it holds is not right. Whoever reads fetches anew. Returns whether there
    /// was one.
    pub async fn distrust(&self, key: &str) -> Result<bool, Error> {
        key::checked(key)?;
        let Home::Bucket { cache: Some(cache), .. } = &self.home else { return Ok(false) };
        let (cache, name) = (Arc::clone(cache), cache::name_of(&self.place, key));
        blocking(move || Ok(cache.forget(&name))).await
    }

    /// Lets go of the local copies of all bundles but those under these keys: the others were deleted, maybe by another node.
    /// Returns how many there were.
    pub async fn keep_copies_of(&self, keys: &HashSet<String>) -> Result<usize, Error> {
        let Home::Bucket { cache: Some(cache), .. } = &self.home else { return Ok(0) };
        let names = keys.iter().map(|key| cache::name_of(&self.place, key)).collect();
        let cache = Arc::clone(cache);
        blocking(move || Ok(cache.keep_only(&names))).await
    }

    /// Deletes a bundle. One that is not there is as good as deleted. After power loss it may be back in a folder. Its
    /// folder stays until the [`sweep`](Self::sweep), lest it go while another upload comes to it.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let deleted = match self.store.delete(&key::checked(key)?).await {
            Ok(()) => Ok(()),
            Err(source) => match self.failure("delete", key).of(source) {
                Error::Missing { .. } => Ok(()),
                error => Err(error),
            },
        };
        if matches!(self.home, Home::Bucket { .. }) {
            self.metrics.asked("delete", &deleted);
        }
        deleted?;
        self.distrust(key).await.map(drop)
    }

    /// The bundles whose keys begin with `prefix` (whole parts; empty: all), each with its size in bytes, by key.
    /// Uploads that are under way are not among them, nor what could not have been put there.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        self.list_where(prefix, |_| true).await
    }

    /// The keys of those that were stored before `before`, by the clock of the storage.
    pub async fn list_older(&self, prefix: &str, before: SystemTime) -> Result<Vec<String>, Error> {
        let listed = self.list_where(prefix, |meta| SystemTime::from(meta.last_modified) < before).await?;
        Ok(listed.into_iter().map(|(key, _)| key).collect())
    }

    async fn list_where(
        &self,
        prefix: &str,
        wanted: impl Fn(&ObjectMeta) -> bool,
    ) -> Result<Vec<(String, u64)>, Error> {
        let location = key::checked_prefix(prefix)?;
        let objects = self.store.list(location.as_ref()).try_filter_map(|meta| {
            std::future::ready(Ok(wanted(&meta).then(|| (meta.location.to_string(), meta.size))))
        });
        let failure = self.failure("list", prefix);
        let listed = objects.try_collect().await.map_err(|source| failure.of_store(source));
        if matches!(self.home, Home::Bucket { .. }) {
            self.metrics.asked("list", &listed);
        }
        let mut bundles: Vec<(String, u64)> = listed?;
        bundles.retain(|(key, _)| key::checked(key).is_ok());
        bundles.sort_unstable();
        Ok(bundles)
    }

    /// How much lies under `prefix`, as [`list`](Self::list) understands it.
    pub async fn usage(&self, prefix: &str) -> Result<Usage, Error> {
        let bundles = self.list(prefix).await?;
        Ok(Usage { bundles: bundles.len() as u64, bytes: bundles.iter().map(|(_, bytes)| bytes).sum() })
    }

    /// Deletes what killed processes have left of uploads in a folder, and empty folders, where neither has changed since
    /// `before`; returns how many bytes that frees. `before` must be earlier than any upload that still goes on, in whatever
    /// process. In a bucket nothing is seen of such leftovers, and none is swept: a lifecycle rule of the bucket that aborts
    /// incomplete uploads after a day does that.
    pub async fn sweep(&self, before: SystemTime) -> Result<u64, Error> {
        let Home::Folder { root } = &self.home else { return Ok(0) };
        let root = Arc::clone(root);
        blocking(move || disk::sweep(&root, before)).await
    }

    fn failure(&self, action: &'static str, key: &str) -> Failure {
        Failure { action, key: key.to_owned(), place: Arc::clone(&self.place) }
    }
}

fn sized(key: &str, expected: Option<u64>, found: u64) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != found => Err(Error::Size { key: key.to_owned(), expected, found }),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Shutdown))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod contract;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
