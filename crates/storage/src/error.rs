//! What can go wrong with the store of bundles.

use std::{path::PathBuf, sync::Arc};

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The url names no kind of store that is supported. Only its scheme is repeated: a url may hold a secret.
    #[error(
        "unsupported storage url scheme {scheme:?}; expected file:///absolute/path or s3://bucket/prefix"
    )]
    Scheme {
        /// What stands before the colon.
        scheme: String,
    },
    /// The scheme is right, the rest is not.
    #[error("bad storage url {url:?}: {problem}")]
    Url {
        /// The url.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The bucket cannot be used as it is configured.
    #[error("cannot use {place}: {problem}")]
    Bucket {
        /// The bucket and its endpoint.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The store's folder is not there and cannot be made, or cannot be used.
    #[error("cannot use the storage folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key is not one that this store hands out or takes: a bug of the caller, or an attack.
    #[error("bad bundle key {key:?}: {problem}")]
    Key {
        /// The key, cut short.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file that is to be stored cannot be read.
    #[error("cannot read {}", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such bundle.
    #[error("no bundle {key:?} in the store")]
    Missing {
        /// Its key.
        key: String,
    },
    /// The bundle has another size than it should have.
    #[error("bundle {key:?} has {found} bytes in the store, {expected} expected")]
    Size {
        /// Its key.
        key: String,
        /// In bytes.
        expected: u64,
        /// In bytes.
        found: u64,
    },
    /// The store has no room: nothing lies under the key, and trying again makes sense once there is.
    #[error("no room in the store for bundle {key:?}")]
    Full {
        /// Its key.
        key: String,
        /// What the system says.
        source: object_store::Error,
    },
    /// The store failed.
    #[error("cannot {action} {key:?} in {place}")]
    Store {
        /// What was wanted.
        action: &'static str,
        /// Of which key or prefix.
        key: String,
        /// The store: its address without secrets.
        place: Arc<str>,
        /// Why not.
        source: Box<object_store::Error>,
    },
    /// A folder of the store could not be read, synced or cleaned.
    #[error("cannot {action} {}", path.display())]
    Disk {
        /// What was wanted.
        action: &'static str,
        /// Of which file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The blocking work was cut off: the process is shutting down.
    #[error("the store is shutting down")]
    Shutdown,
}

/// What was being done when the store failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) action: &'static str,
    pub(crate) key: String,
    pub(crate) place: Arc<str>,
}

impl Failure {
    /// The error of it. Only a store that is there can say that a bundle is not.
    pub(crate) fn of(&self, source: object_store::Error) -> Error {
        match source {
            object_store::Error::NotFound { .. } if !says(&source, &["NoSuchBucket"]) => {
                Error::Missing { key: self.key.clone() }
            }
            source => self.of_store(source),
        }
    }

    /// The error where nothing could be missing.
    pub(crate) fn of_store(&self, source: object_store::Error) -> Error {
        Error::Store {
            action: self.action,
            key: self.key.clone(),
            place: Arc::clone(&self.place),
            source: source.into(),
        }
    }

    /// The error of a bundle that is being stored: there is nothing that could be missing, but room.
    pub(crate) fn of_put(&self, source: object_store::Error) -> Error {
        if is_full(&source) { Error::Full { key: self.key.clone(), source } } else { self.of_store(source) }
    }

    /// The error of the local disk.
    pub(crate) fn of_disk(&self, source: std::io::Error) -> Error {
        let source = object_store::Error::Generic { store: "the local disk", source: source.into() };
        self.of_store(source)
    }
}

/// Does the failure come from a want of room?
fn is_full(error: &object_store::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge);
        }
        source = cause.source();
    }
    // As MinIO, Ceph and others say it; Amazon's has room.
    says(error, &["507 Insufficient Storage", "XMinioStorageFull", "QuotaExceeded"])
}

/// Does the answer of S3-compatible storage hold one of these words? Its own type for answers is not to be had.
fn says(error: &object_store::Error, words: &[&str]) -> bool {
    let text = error.to_string();
    words.iter().any(|word| text.contains(word))
}
