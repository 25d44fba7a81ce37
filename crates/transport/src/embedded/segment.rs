//! One segment file: blocks one after another, named after the first offset in it. Reading only; the writer appends.
//!
//! A damaged stretch is passed over to the next sound header. Every step moves on, so no file can hold a reader for ever.

use super::block::{self, HEADER, Header};
use crate::{Error, sync::lock};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// An index entry for about so many bytes of file.
const SPARSE: u64 = 32 << 10;
/// How much is read ahead, with payloads and for headers alone.
const READ_AHEAD: usize = 256 << 10;
const READ_HEADERS: usize = 8 << 10;

/// A segment file. Cheap while nobody reads it: no open file, no index.
#[derive(Debug)]
pub(crate) struct Segment {
    /// The first offset that it may hold.
    pub(crate) base: i64,
    pub(crate) path: PathBuf,
    /// How many bytes of whole blocks may be read.
    committed: AtomicU64,
    index: Mutex<Option<Index>>,
}

/// Where offsets lie: every block that begins [`SPARSE`] bytes after the last one listed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Index {
    places: Vec<(i64, u64)>,
    /// The offset after everything listed: what lies before it is a repetition and is passed over.
    end: i64,
    newest_ms: Option<i64>,
    oldest_ms: Option<i64>,
}

impl Index {
    pub(crate) fn add(&mut self, header: &Header, position: u64) {
        if header.first < self.end {
            return;
        }
        self.end = header.end();
        if self.places.last().is_none_or(|(_, last)| position >= last + SPARSE) {
            self.places.push((header.first, position));
        }
        self.newest_ms = self.newest_ms.max(Some(header.newest_ms));
        self.oldest_ms = Some(self.oldest_ms.map_or(header.newest_ms, |oldest| oldest.min(header.newest_ms)));
    }
}

impl Segment {
    /// A segment whose first `committed` bytes are whole blocks; indexed when first read, unless `index` is at hand.
    pub(crate) fn new(base: i64, path: PathBuf, committed: u64, index: Option<Index>) -> Self {
        Self { base, path, committed: AtomicU64::new(committed), index: Mutex::new(index) }
    }

    /// The file's name for a base offset: 20 digits, so that names sort as offsets do.
    pub(crate) fn file_name(base: i64) -> String {
        format!("{base:020}.log")
    }

    /// The base offset in a file's name.
    pub(crate) fn base_of(path: &Path) -> Option<i64> {
        let digits = path.file_name()?.to_str()?.strip_suffix(".log")?;
        (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
    }

    /// Bytes that may be read.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Makes a block that was written at `position` readable.
    pub(crate) fn commit(&self, header: &Header, position: u64) {
        if let Some(index) = lock(&self.index).as_mut() {
            index.add(header, position);
        }
        self.committed.store(position + header.total(), Ordering::Release);
    }

    /// The latest timestamp in it, in milliseconds; `None` while it is empty. Reads the file the first time.
    pub(crate) fn newest_ms(&self) -> Result<Option<i64>, Error> {
        self.with_index(|index| index.newest_ms)
    }

    /// When the first of its blocks was written, in milliseconds since the epoch; `None` if there is none.
    pub(crate) fn oldest_ms(&self) -> Result<Option<i64>, Error> {
        self.with_index(|index| index.oldest_ms)
    }

    /// Opens the file for reading from the block that holds `offset`, or an earlier one.
    pub(crate) fn walk_from(&self, offset: i64) -> Result<Walker, Error> {
        let position = self.with_index(|index| {
            let after = index.places.partition_point(|(first, _)| *first <= offset);
            after.checked_sub(1).map_or(0, |at| index.places[at].1)
        })?;
        Walker::open(&self.path, position, READ_AHEAD)
    }

    fn with_index<T>(&self, ask: impl FnOnce(&Index) -> T) -> Result<T, Error> {
        let mut slot = lock(&self.index);
        if slot.is_none() {
            let mut index = Index::default();
            let mut walker = Walker::open(&self.path, 0, READ_HEADERS)?;
            let committed = self.committed();
            loop {
                match walker.step(committed, false).map_err(|source| walker.error(source))? {
                    Step::Block { header, position, .. } => index.add(&header, position),
                    Step::Damaged { .. } => {}
                    Step::End => break,
                }
            }
            *slot = Some(index);
        }
        Ok(ask(slot.get_or_insert_default()))
    }
}

/// What lies next in a file.
#[derive(Debug)]
pub(crate) enum Step {
    /// A block with a sound header; the payload if it was asked for, not checked yet.
    Block { header: Header, position: u64, payload: Vec<u8> },
    /// Bytes that are no block.
    Damaged { from: u64 },
    /// The limit.
    End,
}

/// Goes through a file block by block.
#[derive(Debug)]
pub(crate) struct Walker {
    path: PathBuf,
    file: File,
    position: u64,
    ahead: usize,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Walker {
    fn open(path: &Path, position: u64, ahead: usize) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::File {
            path: path.to_owned(),
            action: "open it",
            source,
        })?;
        Ok(Self { path: path.to_owned(), file, position, ahead, buffer: Vec::new(), buffer_at: 0 })
    }

    /// From the start, with payloads.
    pub(crate) fn whole(path: &Path) -> Result<Self, Error> {
        Self::open(path, 0, READ_AHEAD)
    }

    /// Says which file a failure belongs to.
    pub(crate) fn error(&self, source: io::Error) -> Error {
        Error::File { path: self.path.clone(), action: "read it", source }
    }

    /// The next block before `limit`, and moves past it.
    pub(crate) fn step(&mut self, limit: u64, with_payload: bool) -> io::Result<Step> {
        let position = self.position;
        if position >= limit {
            return Ok(Step::End);
        }
        let Some(header) = self.header_at(position, limit)? else {
            let to = self.next_header_after(position, limit)?;
            self.position = to;
            return Ok(Step::Damaged { from: position });
        };
        let payload = if with_payload {
            self.bytes_at(position + HEADER as u64, header.length as usize, limit)?.to_vec()
        } else {
            Vec::new()
        };
        self.position = position + header.total();
        Ok(Step::Block { header, position, payload })
    }

    /// A sound header at `position` whose payload ends before `limit`.
    fn header_at(&mut self, position: u64, limit: u64) -> io::Result<Option<Header>> {
        let header = Header::read(self.bytes_at(position, HEADER, limit)?);
        Ok(header.filter(|header| position + header.total() <= limit))
    }

    /// The first place after `position` where a sound header begins, or `limit`.
    fn next_header_after(&mut self, position: u64, limit: u64) -> io::Result<u64> {
        let mut at = position + 1;
        while at < limit {
            let bytes = self.rest_at(at, HEADER, limit)?;
            if bytes.is_empty() {
                break;
            }
            let Some(found) = block::find_magic(bytes) else {
                // The magic may straddle two looks.
                at += (bytes.len().saturating_sub(3)).max(1) as u64;
                continue;
            };
            at += found as u64;
            if self.header_at(at, limit)?.is_some() {
                return Ok(at);
            }
            at += 1;
        }
        Ok(limit)
    }

    /// Up to `length` bytes from `position`: fewer only at `limit` or the file's end.
    fn bytes_at(&mut self, position: u64, length: usize, limit: u64) -> io::Result<&[u8]> {
        let bytes = self.rest_at(position, length, limit)?;
        Ok(&bytes[..length.min(bytes.len())])
    }

    /// What is at hand from `position` on: at least `length` bytes but at `limit` or the file's end.
    fn rest_at(&mut self, position: u64, length: usize, limit: u64) -> io::Result<&[u8]> {
        let left = usize::try_from(limit.saturating_sub(position)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let have = self.buffer_at..self.buffer_at + self.buffer.len() as u64;
        if !(have.contains(&position) && position + length as u64 <= have.end) {
            self.fill(position, length.max(self.ahead).min(left))?;
        }
        let start = (position - self.buffer_at) as usize;
        let end = self.buffer.len().min(start + left);
        Ok(&self.buffer[start.min(end)..end])
    }

    fn fill(&mut self, position: u64, length: usize) -> io::Result<()> {
        self.buffer.resize(length, 0);
        self.buffer_at = position;
        let mut filled = 0;
        while filled < length {
            match self.file.read_at(&mut self.buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.clear();
                    return Err(error);
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }
}
