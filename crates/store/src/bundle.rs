//! The bundle: one file that holds a sealed shard whole. It owns the format below and no meaning of the files inside.
//! Every byte that is read has been checked against its checksum, so what lies behind never meets a flipped bit.
//!
//! ```text
//! files, back to back │ footer (JSON) │ footer's length u32 │ footer's CRC-32C u32 │ schema version u32 │ magic 8 bytes
//! ```
//! Numbers are little-endian. The footer names the files with their places, carries the CRC-32C of each block of
//! [`BLOCK`] bytes before it, and the shard's [`ShardMeta`].

mod directory;
mod source;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use directory::BundleDirectory;
pub use source::ByteRanges;
pub use verify::{BundleFault, Verified, verify, verify_from};

use crate::{Error, leaf::unhex};
use millrace_model::{ShardMeta, fields::hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use source::LocalFile;
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

/// The layout that this program writes, and the newest that it reads.
///
/// 3 has texts that are searched by their words, and says what was declared of fields; 2 is the same without.
pub const SCHEMA_VERSION: u32 = 3;
/// The oldest layout that this program reads.
const OLDEST: u32 = 2;

const MAGIC: &[u8; 8] = b"millrshd";
const TRAILER: usize = 20;
/// How many bytes share a checksum: what a read is rounded out to.
const BLOCK: usize = 32 * 1024;
/// What is read first: the footers of most bundles are shorter.
const TAIL: u64 = 32 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Footer {
    meta: ShardMeta,
    files: Vec<Entry>,
    /// CRC-32C of each block, 8 hexadecimal digits each.
    checksums: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    name: String,
    from: u64,
    to: u64,
}

/// Passes bytes on and keeps account of them.
struct Tally<W> {
    inner: W,
    written: u64,
    digest: Sha256,
    checksums: Vec<u8>,
    block: u32,
    block_length: usize,
}

impl<W: Write> Tally<W> {
    fn new(inner: W) -> Self {
        Self { inner, written: 0, digest: Sha256::new(), checksums: Vec::new(), block: 0, block_length: 0 }
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.written += bytes.len() as u64;
        self.digest.update(bytes);
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.block_length));
            self.block = crc32c::crc32c_append(self.block, now);
            self.block_length += now.len();
            if self.block_length == BLOCK {
                self.end_block();
            }
            bytes = later;
        }
        Ok(())
    }

    fn end_block(&mut self) {
        if self.block_length > 0 {
            self.checksums.extend(self.block.to_be_bytes());
            (self.block, self.block_length) = (0, 0);
        }
    }
}

/// Writes a bundle to `path` and syncs it, the folder included: after this it survives a crash. It appears under its
/// name only when it is whole. `meta` gets its size and hash.
pub(crate) fn write<'a>(
    path: &Path,
    meta: &mut ShardMeta,
    files: impl Iterator<Item = (String, &'a [u8])>,
) -> Result<(), Error> {
    let partial = path.with_extension("partial");
    let written = write_file(&partial, meta, files)
        .and_then(|()| std::fs::rename(&partial, path))
        .and_then(|()| path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()));
    written.map_err(|source| {
        // Nobody would read it, and the first failure is the one to report.
        if let Err(left_behind) = std::fs::remove_file(&partial) {
            tracing::debug!(path = %partial.display(), error = %left_behind, "unfinished bundle not removed");
        }
        Error::io(path, "writing")(source)
    })
}

fn write_file<'a>(
    path: &Path,
    meta: &mut ShardMeta,
    files: impl Iterator<Item = (String, &'a [u8])>,
) -> io::Result<()> {
    let mut body = Tally::new(BufWriter::with_capacity(1 << 18, File::create(path)?));
    let mut entries = Vec::new();
    for (name, bytes) in files {
        let from = body.written;
        body.put(bytes)?;
        entries.push(Entry { name, from, to: body.written });
    }
    body.end_block();
    let Tally { mut inner, written, digest, checksums, .. } = body;
    meta.sha256 = hex(&digest.finalize());
    let mut footer = Footer { meta: meta.clone(), files: entries, checksums: hex(&checksums) };
    let json = footer_that_knows_the_size(&mut footer, written)?;
    meta.bytes = footer.meta.bytes;
    inner.write_all(&json)?;
    inner.write_all(&(json.len() as u32).to_le_bytes())?;
    inner.write_all(&crc32c::crc32c(&json).to_le_bytes())?;
    inner.write_all(&SCHEMA_VERSION.to_le_bytes())?;
    inner.write_all(MAGIC)?;
    inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// The footer says how long the whole bundle is, itself included.
fn footer_that_knows_the_size(footer: &mut Footer, body: u64) -> io::Result<Vec<u8>> {
    loop {
        let json = serde_json::to_vec(footer)?;
        let size = body + (json.len() + TRAILER) as u64;
        // More digits make a longer footer, never a shorter one: this ends.
        if footer.meta.bytes == size {
            return Ok(json);
        }
        footer.meta.bytes = size;
    }
}

/// An open bundle. Reads are positional, so that any number of threads share it.
#[derive(Debug)]
pub(crate) struct Bundle {
    path: PathBuf,
    source: Arc<dyn ByteRanges>,
    /// Bytes that were read ahead, and where they begin.
    ahead: RwLock<Option<(u64, Vec<u8>)>>,
    /// Where the files end and the footer begins.
    body: u64,
    meta: ShardMeta,
    files: Vec<Entry>,
    checksums: Vec<u8>,
}

impl Bundle {
    /// Reads and checks the footer of a file.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = LocalFile::open(path).map_err(Error::io(path, "opening"))?;
        Self::of(path, Arc::new(file))
    }

    /// Reads and checks the footer of bytes from anywhere, by one read or two. Errors name `path`.
    pub(crate) fn of(path: &Path, source: Arc<dyn ByteRanges>) -> Result<Self, Error> {
        let size = source.size();
        let bad = |problem: &str| Error::corrupt(path, problem);
        let tail_at = size.saturating_sub(TAIL);
        let tail = source.read(tail_at..size).map_err(Error::io(path, "reading"))?;
        let trailer: &[u8; TRAILER] = tail.last_chunk().ok_or_else(|| bad("it is too short"))?;
        let trailer_at = size - TRAILER as u64;
        let number =
            |at: usize| u32::from_le_bytes([trailer[at], trailer[at + 1], trailer[at + 2], trailer[at + 3]]);
        if trailer[12..] != *MAGIC {
            return Err(bad("its last bytes are not those of a bundle"));
        }
        if !(OLDEST..=SCHEMA_VERSION).contains(&number(8)) {
            return Err(Error::Version { path: path.to_owned(), found: number(8), known: SCHEMA_VERSION });
        }
        let body =
            trailer_at.checked_sub(number(0).into()).ok_or_else(|| bad("its footer is longer than it"))?;
        let json = match body.checked_sub(tail_at) {
            Some(at) => tail[at as usize..tail.len() - TRAILER].to_vec(),
            None => source.read(body..trailer_at).map_err(Error::io(path, "reading"))?,
        };
        if crc32c::crc32c(&json) != number(4) {
            return Err(bad("its footer does not have its checksum"));
        }
        let footer: Footer = serde_json::from_slice(&json).map_err(|e| bad(&format!("its footer: {e}")))?;
        let checksums = unhex(&footer.checksums).ok_or_else(|| bad("its checksums are no hexadecimal"))?;
        if checksums.len() as u64 != body.div_ceil(BLOCK as u64) * 4 {
            return Err(bad("it does not have a checksum for each block"));
        }
        if footer.files.iter().any(|entry| entry.from > entry.to || entry.to > body) {
            return Err(bad("a file's place lies outside"));
        }
        if footer.meta.bytes != size {
            return Err(bad(&format!("{} bytes expected, {size} found", footer.meta.bytes)));
        }
        let (path, ahead) = (path.to_owned(), RwLock::default());
        Ok(Self { path, source, ahead, body, meta: footer.meta, files: footer.files, checksums })
    }

    /// Reads all from a file on at once, for reads that come next; [`Self::forget`] ends that.
    pub(crate) fn read_ahead(&self, file: &str) -> Result<(), Error> {
        let from = self.place(file).map_or(self.body, |place| place.start) / BLOCK as u64 * BLOCK as u64;
        let bytes = self.source.read(from..self.body).map_err(Error::io(&self.path, "reading"))?;
        *self.ahead.write().unwrap_or_else(PoisonError::into_inner) = Some((from, bytes));
        Ok(())
    }

    /// Lets go of what was read ahead.
    pub(crate) fn forget(&self) {
        *self.ahead.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Bytes as the source has them.
    fn given(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if let Some((from, bytes)) = &*self.ahead.read().unwrap_or_else(PoisonError::into_inner)
            && let Some(at) = range.start.checked_sub(*from)
            && let Some(found) = bytes.get(at as usize..(range.end - from) as usize)
        {
            return Ok(found.to_vec());
        }
        self.source.read(range)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn meta(&self) -> &ShardMeta {
        &self.meta
    }

    /// The files inside, by name, and where they lie.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&str, Range<u64>)> {
        self.files.iter().map(|entry| (entry.name.as_str(), entry.from..entry.to))
    }

    /// Where a file lies.
    pub(crate) fn place(&self, name: &str) -> Option<Range<u64>> {
        self.files.iter().find(|entry| entry.name == name).map(|entry| entry.from..entry.to)
    }

    /// Bytes of the bundle, checked.
    pub(crate) fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (from, mut bytes) = self.blocks(&range)?;
        bytes.truncate((range.end - from) as usize);
        bytes.drain(..(range.start - from) as usize);
        Ok(bytes)
    }

    /// Bytes of the bundle, checked; an error names the bundle.
    pub(crate) fn part(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.read(range).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Error::corrupt(&self.path, error.to_string()),
            _ => Error::io(&self.path, "reading")(error),
        })
    }

    /// The whole blocks around bytes of the bundle, checked, and where they begin.
    fn blocks(&self, range: &Range<u64>) -> io::Result<(u64, Vec<u8>)> {
        if range.start > range.end || range.end > self.body {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{range:?} lies outside the bundle"),
            ));
        }
        let block = BLOCK as u64;
        let from = range.start / block * block;
        let to = range.end.next_multiple_of(block).min(self.body);
        let bytes = self.given(from..to)?;
        if bytes.len() as u64 != to - from {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let expected = self.checksums.as_chunks::<4>().0.iter().skip((from / block) as usize);
        for (index, (found, expected)) in bytes.chunks(BLOCK).zip(expected).enumerate() {
            if crc32c::crc32c(found) != u32::from_be_bytes(*expected) {
                let at = from + (index * BLOCK) as u64;
                let problem = format!("bytes {at} to {} do not have their checksum", at + found.len() as u64);
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        }
        Ok((from, bytes))
    }
}
