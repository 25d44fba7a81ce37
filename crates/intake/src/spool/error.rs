//! Why a spool cannot be used, and why it does not take something.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder of it.
    #[error("{}: cannot {action}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is of a version that this program does not read.
    #[error("{}: it was written by a newer version of this program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// For `map_err`: what was tried with which path.
    pub(super) fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { path, action, source }
    }
}

/// Why records were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The spool holds as much as it may; what is shipped makes room.
    #[error("the spool is full")]
    Full,
    /// The spool holds as much as it may, and they were dropped: to be counted, not to be sent again.
    #[error("the spool is full, and its newest records are dropped")]
    Dropped,
    /// Too much waits for the disk already.
    #[error("too much waits for the disk")]
    Busy,
    /// The disk does not take them.
    #[error("{0}")]
    Disk(String),
    /// So much at once will never be taken.
    #[error("{bytes} bytes at once are more than the {most} that a spool takes")]
    TooLarge {
        /// How much it was.
        bytes: u64,
        /// How much may come at once.
        most: u64,
    },
    /// It is being closed.
    #[error("the spool is closed")]
    Closed,
}
