//! Reading out of S3-compatible storage: what is asked for comes in blocks, neighbours by one request, and is kept on the
//! local disk. Whoever asks for what is on its way to another waits for that.
//!
//! A small bundle is fetched whole, by one request, when it is opened: that costs less than asking for its parts in turn.
//! Of a larger one the last part comes first, where what a search begins with lies, then whatever is read, with more and
//! more of what lies around it.

use crate::{
    Error, Metrics, Reach,
    cache::{
        self, Cache,
        blocks::{BLOCK, place},
        copy::{Claim, Errand, LocalCopy},
    },
    error::Failure,
};
use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, path::Path};
use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Arc, mpsc},
};
use tokio::{runtime::Handle, sync::Semaphore};

/// A bundle of at most so many bytes is fetched whole: over 1 Gbit/s a larger one takes longer than two round trips.
const SMALL: u64 = 1 << 20;
/// Of a larger one, this share is fetched at first, from its end, by one request: about what opening a shard and
/// looking words up takes.
const TAIL_SHARE: u64 = 4;
/// The most bytes that one request asks for.
const PART: u64 = 8 << 20;
/// How much is fetched before more is asked for, where all is wanted.
const WINDOW: u64 = 4 * PART;
/// How many requests for bytes are under way at most.
const REQUESTS: usize = 32;

/// What all readers of a bucket share.
#[derive(Debug)]
pub(crate) struct Origin {
    store: Arc<dyn ObjectStore>,
    place: Arc<str>,
    cache: Option<Arc<Cache>>,
    requests: Semaphore,
    pub(crate) metrics: Metrics,
}

/// One open bundle.
#[derive(Debug)]
pub(crate) struct Remote {
    origin: Arc<Origin>,
    key: String,
    location: Path,
    copy: Arc<LocalCopy>,
    runtime: Handle,
}

/// Blocks that have come and could not be kept.
struct Piece {
    blocks: Range<usize>,
    bytes: Bytes,
}

/// All blocks around a range: those that could not be kept, and the file that holds the others.
struct Brought {
    pieces: Vec<Piece>,
    file: Option<Arc<File>>,
}

impl Origin {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        place: Arc<str>,
        cache: Option<Arc<Cache>>,
        metrics: Metrics,
    ) -> Self {
        Self { store, place, cache, requests: Semaphore::new(REQUESTS), metrics }
    }

    /// How large a bundle is.
    pub(crate) async fn size(&self, key: &str, location: &Path) -> Result<u64, Error> {
        let head = self.store.head(location).await.map(|meta| meta.size);
        let size = head.map_err(|source| self.failure("look for", key).of(source));
        self.metrics.asked("look", &size);
        size
    }

    fn failure(&self, action: &'static str, key: &str) -> Failure {
        Failure { action, key: key.to_owned(), place: Arc::clone(&self.place) }
    }

    async fn get(&self, key: &str, location: &Path, range: Range<u64>, size: u64) -> Result<Bytes, Error> {
        let wanted = range.end - range.start;
        // Never closed.
        let _permit = self.requests.acquire().await;
        let asked = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let got = async {
            let failure = self.failure("read", key);
            let answer = self.store.get_opts(location, asked).await.map_err(|source| failure.of(source))?;
            let found = answer.meta.size;
            if found != size {
                return Err(Error::Size { key: key.to_owned(), expected: size, found });
            }
            answer.bytes().await.map_err(|source| failure.of(source))
        };
        let got = got.await.and_then(|bytes| {
            let found = bytes.len() as u64;
            let short = || Error::Size { key: key.to_owned(), expected: wanted, found };
            if found == wanted { Ok(bytes) } else { Err(short()) }
        });
        self.metrics.asked("read", &got);
        self.metrics.fetched_bytes.inc_by(got.as_ref().map_or(0, |bytes| bytes.len() as u64));
        got
    }
}

impl Remote {
    /// Opens a bundle of that size, and fetches what will be read first. Blocks.
    pub(crate) fn open(
        origin: Arc<Origin>,
        key: &str,
        location: Path,
        size: u64,
        reach: Reach,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let copy = match &origin.cache {
            Some(cache) => cache.enter(&cache::name_of(&origin.place, key), size),
            None => Arc::new(LocalCopy::nothing(String::new(), size)),
        };
        let remote = Self { origin, key: key.to_owned(), location, copy, runtime };
        if reach == Reach::Whole || size <= SMALL {
            remote.fetch_all()?;
        } else {
            remote.bring(&(size - (size / TAIL_SHARE).min(PART - BLOCK)..size))?;
        }
        remote.copy.stamp();
        Ok(remote)
    }

    pub(crate) fn size(&self) -> u64 {
        self.copy.size
    }

    pub(crate) fn is_near(&self) -> bool {
        self.copy.is_whole()
    }

    /// Fetches what is not there yet, as long as it can be kept.
    fn fetch_all(&self) -> Result<(), Error> {
        let mut from = 0;
        while from < self.size() {
            let to = self.size().min(from + WINDOW);
            if !self.bring(&(from..to))?.pieces.is_empty() {
                return Ok(());
            }
            from = to;
        }
        Ok(())
    }

    /// Exactly the bytes of a range.
    pub(crate) fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, Error> {
        if let Some(cache) = &self.origin.cache {
            cache.touch(&self.copy);
        }
        match self.bring(range)?.read(range) {
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                self.give_up_copy(&error);
                let again = self.bring(range)?.read(range);
                again.map_err(|source| self.origin.failure("read the copy of", &self.key).of_disk(source))
            }
        }
    }

    /// Has all blocks around a range brought. Waits for those that others bring.
    fn bring(&self, range: &Range<u64>) -> Result<Brought, Error> {
        let mut pieces: Vec<Piece> = Vec::new();
        loop {
            let has = |block| pieces.iter().any(|piece| piece.blocks.contains(&block));
            let errand = match self.copy.claim(range, has) {
                Ok(Claim::There(file)) => return Ok(Brought { pieces, file }),
                Ok(Claim::Bring(errand)) => errand,
                Err(error) => {
                    self.give_up_copy(&error);
                    continue;
                }
            };
            let requests: Vec<Range<usize>> = errand.runs.iter().flat_map(requests_for).collect();
            let answers: Vec<_> = requests.iter().map(|blocks| self.ask(blocks)).collect();
            let mut failure = None;
            for (blocks, answer) in requests.into_iter().zip(answers) {
                match answer.recv().unwrap_or(Err(Error::Shutdown)) {
                    Ok(bytes) if self.keep(&errand, &blocks, &bytes) => {}
                    Ok(bytes) => pieces.push(Piece { blocks, bytes }),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            drop(errand);
            if let Some(error) = failure {
                return Err(error);
            }
        }
    }

    /// Asks for blocks. The answer comes from a thread of the runtime; none comes if that shuts down.
    fn ask(&self, blocks: &Range<usize>) -> mpsc::Receiver<Result<Bytes, Error>> {
        let (sender, answer) = mpsc::sync_channel(1);
        let (origin, key, location) = (Arc::clone(&self.origin), self.key.clone(), self.location.clone());
        let (range, size) = (place(blocks, self.size()), self.size());
        self.runtime.spawn(async move {
            // Whoever asked waits, unless it has panicked.
            drop(sender.send(origin.get(&key, &location, range, size).await));
        });
        answer
    }

    fn keep(&self, errand: &Errand<'_>, blocks: &Range<usize>, bytes: &[u8]) -> bool {
        let Some(cache) = &self.origin.cache else { return false };
        let kept = cache.keep(&self.copy, errand, blocks, bytes);
        if kept == Some(true) {
            let (copy, folder) = (Arc::clone(&self.copy), cache.folder.clone());
            self.runtime.spawn_blocking(move || copy.settle(&folder));
        }
        kept.is_some()
    }

    /// The copy cannot be read: it goes, and everything is fetched anew.
    fn give_up_copy(&self, error: &io::Error) {
        tracing::warn!(key = self.key, %error, "the copy of a bundle cannot be read; it is fetched again");
        if let Some(cache) = &self.origin.cache {
            cache.forget(&cache::name_of(&self.origin.place, &self.key));
        }
        self.copy.clear();
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if let Some(cache) = &self.origin.cache {
            cache.leave(&self.copy);
        }
    }
}

/// Blocks in as many pieces as there are requests for them.
fn requests_for(run: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let (step, end) = ((PART / BLOCK) as usize, run.end);
    run.clone().step_by(step).map(move |start| start..end.min(start + step))
}

impl Brought {
    /// Bytes of a range, all blocks of which have been brought.
    fn read(&self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let mut from = range.start;
        while from < range.end {
            let block = (from / BLOCK) as usize;
            let piece = self.pieces.iter().find(|piece| piece.blocks.contains(&block));
            // Without a piece: as far as the file goes, up to the next one.
            let later =
                || self.pieces.iter().map(|piece| piece.blocks.start).filter(|start| *start > block).min();
            let end = piece.map(|piece| piece.blocks.end).or_else(later).unwrap_or(usize::MAX);
            let to = range.end.min((end as u64).saturating_mul(BLOCK));
            let into = &mut bytes[(from - range.start) as usize..(to - range.start) as usize];
            match (piece, &self.file) {
                (Some(piece), _) => {
                    let start = piece.blocks.start as u64 * BLOCK;
                    into.copy_from_slice(&piece.bytes[(from - start) as usize..(to - start) as usize]);
                }
                (None, Some(file)) => file.read_exact_at(into, from)?,
                (None, None) => return Err(io::ErrorKind::NotFound.into()),
            }
            from = to;
        }
        Ok(bytes)
    }
}
