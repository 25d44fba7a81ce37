//! What can go wrong with a shard. Every variant names the bundle that it is about.

use std::path::{Path, PathBuf};

/// A shard could not be written, opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused. Worth a retry where it was about room or permissions.
    #[error("{path}: {action} failed")]
    Io {
        /// The bundle, or the folder that it lies in.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The bundle is cut short, or its bytes are not those that were sealed.
    #[error("{path} is no whole shard: {problem}")]
    Corrupt {
        /// The bundle.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// The layout is another than this program's.
    #[error("{path} has shard layout {found}; this program reads layout {known}")]
    Version {
        /// The bundle.
        path: PathBuf,
        /// Its layout.
        found: u32,
        /// The layout that is known here.
        known: u32,
    },
    /// The index in the bundle could not be written or read.
    #[error("{path}: the index in the shard failed")]
    Index {
        /// The bundle.
        path: PathBuf,
        /// The index's own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody waits for the answer any more.
    #[error("the search was given up")]
    Stopped,
    /// Nothing to seal: no row lies inside the offsets of the cut.
    #[error("shard {0} would hold no rows")]
    Empty(millrace_model::ShardId),
    /// More rows than one shard can number.
    #[error("shard {id} would hold {rows} rows, more than {}", u32::MAX)]
    TooManyRows {
        /// The shard.
        id: millrace_model::ShardId,
        /// How many there are.
        rows: usize,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn corrupt(path: &Path, problem: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn index<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        path: &Path,
    ) -> impl Fn(E) -> Self {
        move |source| Self::Index { path: path.to_owned(), source: source.into() }
    }
}
