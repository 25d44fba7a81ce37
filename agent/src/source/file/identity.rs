//! What makes a file the same file: where it lies on disk, when it was made, how it begins, and what stands before the
//! position that was reached. A name is none of these.

use serde::{Deserialize, Serialize};
use std::{fs::Metadata, os::unix::fs::MetadataExt, time::UNIX_EPOCH};

/// Where a file lies on disk. An inode is used again as soon as it is free; the time of birth tells the two apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FileIdentity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Nanoseconds since the epoch, where the file system knows it.
    pub(crate) born: Option<i64>,
}

impl FileIdentity {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: born.and_then(|since| i64::try_from(since.as_nanos()).ok()),
        }
    }

    /// The same file but for the device's number, which may change when the machine starts.
    pub(crate) fn regardless_of_device(self) -> Option<(u64, i64)> {
        self.born.map(|born| (self.inode, born))
    }
}

/// A digest of some bytes of a file, and how many they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    pub(crate) length: u16,
    /// XXH3, 64 bits.
    pub(crate) hash: u64,
}

/// The most bytes of a file's head that are looked at.
pub(crate) const HEAD: usize = 1024;
/// The most bytes before a position that are looked at.
pub(crate) const MARKER: usize = 256;

impl Fingerprint {
    /// `bytes` are at most [`HEAD`].
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let hash = if bytes.is_empty() { 0 } else { xxhash_rust::xxh3::xxh3_64(bytes) };
        Self { length: bytes.len() as u16, hash }
    }

    /// Of the bytes before `to` in a window that shows a part of a file, as many as count.
    pub(crate) fn before(to: usize, window: &[u8]) -> Self {
        Self::of(&window[to.saturating_sub(MARKER)..to])
    }
}
