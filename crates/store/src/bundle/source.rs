//! Where the bytes of a bundle are: a local file, or whatever else gives ranges of bytes.

use std::{fmt::Debug, fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path};

/// Bytes that do not change, read by range. Any number of threads read at once. What is read is checked by whoever reads,
/// so a source need not do so.
pub trait ByteRanges: Debug + Send + Sync {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Exactly the bytes of a range. Blocks until they are there.
    ///
    /// # Errors
    /// What the file, the network or whoever else is asked says; [`io::ErrorKind::UnexpectedEof`] past the end.
    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>>;
}

/// An open file.
#[derive(Debug)]
pub(super) struct LocalFile {
    file: File,
    size: u64,
}

impl LocalFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl ByteRanges for LocalFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}
