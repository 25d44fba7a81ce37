//! A bundle that is open for reading, wherever it lies.

use crate::{Error, remote::Remote};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

/// How much of a bundle will be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Some of it: what a search looks at.
    Parts,
    /// All of it: as a merge does.
    Whole,
}

/// A bundle that is open for reading. Any number of threads read at once. On S3-compatible storage what is read is kept
/// on the local disk, as long as there is room.
///
/// A bundle that is deleted meanwhile stays readable in a folder; elsewhere as far as it has been kept, and what has not
/// is an error of kind [`io::ErrorKind::NotFound`].
#[derive(Debug)]
pub struct Reader(Source);

#[derive(Debug)]
enum Source {
    File { file: File, size: u64 },
    Remote(Remote),
}

impl Reader {
    pub(crate) fn file(file: File, size: u64) -> Self {
        Self(Source::File { file, size })
    }

    pub(crate) fn remote(remote: Remote) -> Self {
        Self(Source::Remote(remote))
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Source::File { size, .. } => *size,
            Source::Remote(remote) => remote.size(),
        }
    }

    /// Is all of it on this machine at present? Then reading waits for the disk alone.
    pub fn is_near(&self) -> bool {
        match &self.0 {
            Source::File { .. } => true,
            Source::Remote(remote) => remote.is_near(),
        }
    }

    /// Exactly the bytes of a range. Blocks until they are there, which on S3-compatible storage may take several requests
    /// and, where it does not answer, as long as the settings' `timeout` allows twice. Not for threads that drive async
    /// work.
    ///
    /// # Errors
    /// What the disk or the storage says; [`io::ErrorKind::UnexpectedEof`] past the end, [`io::ErrorKind::NotFound`] where
    /// the bundle has gone meanwhile.
    pub fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.start > range.end || range.end > self.size() {
            let problem = format!("{range:?} lies outside of {} bytes", self.size());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, problem));
        }
        match &self.0 {
            Source::File { file, .. } => {
                let mut bytes = vec![0; (range.end - range.start) as usize];
                file.read_exact_at(&mut bytes, range.start)?;
                Ok(bytes)
            }
            Source::Remote(remote) => remote.read(&range).map_err(as_io),
        }
    }
}

/// The error keeps what it says; its kind is what a reader can act on.
fn as_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::Missing { .. } => io::ErrorKind::NotFound,
        Error::Size { .. } => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
