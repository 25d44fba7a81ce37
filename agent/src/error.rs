//! Why an agent cannot go on. Trouble with a single file, journal or message never ends an agent; it is waited out, and
//! shows in metrics, in the log once, and in the readiness.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why an agent cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the state folder.
    #[error("{}: cannot {action} it", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of the state that is there and cannot be read. It may be whole: it is not passed over.
    #[error("{}: cannot read it: let this program read it, or move it away: then the other generation counts", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process works with the state folder.
    #[error("{}: the state folder is in use by another agent", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A glob of a source.
    #[error("source {name}: {pattern:?} is not a glob")]
    Glob {
        /// The source's name.
        name: String,
        /// The pattern.
        pattern: String,
        /// Why not.
        #[source]
        source: globset::Error,
    },
    /// A spool cannot be used.
    #[error("source {name}: its spool cannot be used")]
    Spool {
        /// The source's name.
        name: String,
        /// Why not.
        #[source]
        source: millrace_intake::spool::Error,
    },
    /// Nobody can be listened to.
    #[error(transparent)]
    Listen(#[from] millrace_listen::Error),
    /// A thread could not be started.
    #[error("a thread for source {name} cannot be started")]
    Thread {
        /// The source's name.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The topic is gone for good.
    #[error("the topic cannot be used")]
    Topic(#[source] millrace_transport::Error),
}

impl Error {
    pub(crate) fn file(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), action, source }
    }
}
