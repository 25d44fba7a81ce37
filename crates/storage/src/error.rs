//! What can go wrong with the store of bundles.

use std::path::PathBuf;

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The url names no kind of store that is supported. Only its scheme is repeated: a url may hold a secret.
    #[error("unsupported storage url scheme {scheme:?}; expected file:///absolute/path")]
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
    /// The store has no room: nothing lies under the key, and trying again makes sense once there is.
    #[error("no room in the store for bundle {key:?}")]
    Full {
        /// Its key.
        key: String,
        /// What the system says.
        source: object_store::Error,
    },
    /// The store failed.
    #[error("cannot {action} {key:?} in the store")]
    Store {
        /// What was wanted.
        action: &'static str,
        /// Of which key or prefix.
        key: String,
        /// Why not.
        source: object_store::Error,
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

/// Does the failure come from a want of room?
pub(crate) fn is_full(error: &object_store::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge);
        }
        source = cause.source();
    }
    false
}
