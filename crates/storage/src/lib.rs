//! Where bundles lie: an object store, and the local file that a reader is given for each.
//!
//! It owns what is below its root and knows nothing of what a bundle holds or which of them count: that is the
//! catalogue's.
//!
//! **Invariants:**
//! - When [`Bundles::put`] returns, the bundle survives power loss; until then nothing lies under its key.
//! - No key leads out of the root.

mod disk;
mod error;
mod key;

pub use error::Error;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem};
use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

/// How much of a bundle is in memory while it is stored; a smaller one is stored in one piece.
const PART_BYTES: usize = 8 << 20;

/// A handle on the store. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Bundles {
    store: Arc<LocalFileSystem>,
    root: Arc<Path>,
}

/// How much lies in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bundles.
    pub bundles: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Bundles {
    /// Opens the store at `url` (`file:///absolute/folder`), making the folder if it is not there. Blocks for as long as
    /// that takes.
    pub fn open(url: &str) -> Result<Self, Error> {
        let folder = folder_of(url)?;
        let cannot_use = |source| Error::Folder { path: folder.clone(), source };
        disk::create(&folder).map_err(cannot_use)?;
        // The store's own paths are canonical; the ones below are compared with them.
        let root = folder.canonicalize().map_err(cannot_use)?;
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| cannot_use(std::io::Error::other(error)))?
            .with_fsync(true);
        Ok(Self { store: Arc::new(store), root: root.into() })
    }

    /// Stores a local file under `key`, over what may lie there, and returns its size in bytes. The file stays where it
    /// is. On an error what lay under the key is as it was; if the future is dropped, it is that or the whole new file.
    ///
    /// # Errors
    /// [`Error::Full`] where there is no room: worth another try later.
    pub async fn put(&self, key: &str, file: &Path) -> Result<u64, Error> {
        let location = key::checked(key)?;
        let target = self.path(key, &location)?;
        match self.upload(key, &location, file).await {
            Ok(bytes) => {
                let root = self.root.clone();
                blocking(move || disk::sync_above(&root, &target)).await?;
                Ok(bytes)
            }
            Err(error) => {
                // A failed end of an upload leaves its file behind; the upload's own error is the one to tell.
                if let Err(leftover) = blocking(move || disk::remove_staged(&target)).await {
                    tracing::warn!(key, error = %leftover, "a failed upload's file is left for the sweep");
                }
                Err(error)
            }
        }
    }

    async fn upload(
        &self,
        key: &str,
        location: &object_store::path::Path,
        file: &Path,
    ) -> Result<u64, Error> {
        let mut parts = Parts::open(file).await?;
        let first = parts.next().await?;
        if first.len() < PART_BYTES {
            let bytes = first.len() as u64;
            self.store.put(location, first.into()).await.map_err(refused(key))?;
            return Ok(bytes);
        }
        let mut upload = self.store.put_multipart(location).await.map_err(refused(key))?;
        let mut bytes = 0;
        let mut part = first;
        while !part.is_empty() {
            bytes += part.len() as u64;
            upload.put_part(part.into()).await.map_err(refused(key))?;
            part = parts.next().await?;
        }
        upload.complete().await.map_err(refused(key))?;
        Ok(bytes)
    }

    /// A local file with the content of a bundle, for reading. It stays until the bundle is deleted, and a reader that
    /// has it open keeps its content for longer.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such bundle.
    pub async fn local(&self, key: &str) -> Result<PathBuf, Error> {
        let location = key::checked(key)?;
        match self.store.head(&location).await {
            Ok(_) => self.path(key, &location),
            Err(object_store::Error::NotFound { .. }) => Err(Error::Missing { key: key.to_owned() }),
            Err(source) => Err(Error::Store { action: "look for", key: key.to_owned(), source }),
        }
    }

    /// Deletes a bundle. One that is not there is as good as deleted. After power loss it may be back. Its folder stays
    /// until the [`sweep`](Self::sweep), lest it go while another upload comes to it.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.store.delete(&key::checked(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::Store { action: "delete", key: key.to_owned(), source }),
        }
    }

    /// The bundles whose keys begin with `prefix` (whole parts; empty: all), each with its size in bytes, by key.
    /// Uploads that are under way are not among them.
    pub async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, Error> {
        let location = key::checked_prefix(prefix)?;
        let objects =
            self.store.list(location.as_ref()).map_ok(|meta| (meta.location.to_string(), meta.size));
        let mut bundles: Vec<_> = objects.try_collect().await.map_err(|source| Error::Store {
            action: "list",
            key: prefix.to_owned(),
            source,
        })?;
        bundles.sort_unstable();
        Ok(bundles)
    }

    /// How much lies under `prefix`, as [`list`](Self::list) understands it.
    pub async fn usage(&self, prefix: &str) -> Result<Usage, Error> {
        let bundles = self.list(prefix).await?;
        Ok(Usage { bundles: bundles.len() as u64, bytes: bundles.iter().map(|(_, bytes)| bytes).sum() })
    }

    /// Deletes what killed processes have left of uploads, and empty folders, where neither has changed since `before`;
    /// returns how many bytes that frees. `before` must be earlier than any upload that still goes on, in whatever process.
    pub async fn sweep(&self, before: SystemTime) -> Result<u64, Error> {
        let root = self.root.clone();
        blocking(move || disk::sweep(&root, before)).await
    }

    fn path(&self, key: &str, location: &object_store::path::Path) -> Result<PathBuf, Error> {
        self.store.path_to_filesystem(location).map_err(|source| Error::Store {
            action: "name the file of",
            key: key.to_owned(),
            source,
        })
    }
}

fn folder_of(url: &str) -> Result<PathBuf, Error> {
    let scheme = url.split(':').next().filter(|scheme| scheme.len() < url.len()).unwrap_or_default();
    if scheme != "file" {
        return Err(Error::Scheme { scheme: scheme.to_owned() });
    }
    let bad = |problem| Error::Url { url: url.to_owned(), problem };
    let folder = url.strip_prefix("file://").ok_or_else(|| bad("expected // after file:"))?;
    if !folder.starts_with('/') {
        return Err(bad("expected an absolute path after file://"));
    }
    Ok(PathBuf::from(folder))
}

fn refused(key: &str) -> impl FnOnce(object_store::Error) -> Error {
    let key = key.to_owned();
    move |source| {
        if error::is_full(&source) {
            Error::Full { key, source }
        } else {
            Error::Store { action: "store", key, source }
        }
    }
}

/// A file in pieces of [`PART_BYTES`], read off the async threads.
struct Parts {
    path: PathBuf,
    file: Arc<std::fs::File>,
}

impl Parts {
    async fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        blocking(move || match std::fs::File::open(&path) {
            Ok(file) => Ok(Self { path, file: Arc::new(file) }),
            Err(source) => Err(Error::Source { path, source }),
        })
        .await
    }

    /// The next piece; a shorter one is the last, an empty one comes after the end.
    async fn next(&mut self) -> Result<Bytes, Error> {
        let file = self.file.clone();
        let read = blocking(move || {
            let mut part = Vec::new();
            Ok((&*file).take(PART_BYTES as u64).read_to_end(&mut part).map(|_| part))
        });
        match read.await? {
            Ok(part) => Ok(part.into()),
            Err(source) => Err(Error::Source { path: self.path.clone(), source }),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Shutdown))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
