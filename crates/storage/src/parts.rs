//! The pieces in which a file is stored.

use crate::{Error, blocking};
use bytes::Bytes;
use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How much of a bundle is in memory while it is stored, a few times over where parts are sent at once; a smaller one is
/// stored in one piece. S3 allows ten thousand parts of at least 5 MiB.
pub(crate) const PART_BYTES: usize = 8 << 20;

/// A file in pieces of [`PART_BYTES`], read off the async threads.
pub(crate) struct Parts {
    path: PathBuf,
    file: Arc<std::fs::File>,
}

impl Parts {
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        blocking(move || match std::fs::File::open(&path) {
            Ok(file) => Ok(Self { path, file: Arc::new(file) }),
            Err(source) => Err(Error::Source { path, source }),
        })
        .await
    }

    /// The next piece; a shorter one is the last, an empty one comes after the end.
    pub(crate) async fn next(&mut self) -> Result<Bytes, Error> {
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
