//! A sealed shard: opened once, then searched by any number of threads.
//!
//! Rows are numbered in their total order, so a time range, a cursor and a histogram's buckets are stretches of numbers.
//! What matches is found chunk by chunk ([`answers`]), in the order of shapes and ranks; where that meets the order of
//! rows is told by the blocks ([`rows`]).

mod answers;
mod candidates;
mod counted;
#[cfg(test)]
mod equality;
mod everything;
#[cfg(test)]
mod many_fields;
mod reader;
mod rewrite;
mod rows;
mod scan;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod unfolded;

pub(crate) use self::rewrite::{Rewriter, Unpacked};
pub use self::{everything::TextPlace, told::ChunksTold};
use crate::{
    Error,
    blocks::Ranks,
    bundle::{Bundle, ByteRanges},
    bytes::Malformed,
    directory::{self, Directory},
    index::{ChunkIndex, Counts},
    leaf::{LeafRequest, LeafResponse},
    plan::Origin,
    shape::Place,
    shape::Shape,
    threads::Threads,
};
use answers::Answers;
use millrace_model::{RecordId, Row, ShardMeta, SourceId};
use reader::Reader;
use std::{
    collections::HashMap,
    ops::Range,
    path::Path,
    sync::{Arc, OnceLock},
};

/// A published shard, open for searching. Keeps one file open, its directory, its filters and the dictionary of its
/// terms in memory; the rest is read when it is asked for.
pub struct SealedShard {
    bundle: Arc<Bundle>,
    directory: Directory,
    index: ChunkIndex,
    /// The first chunk of each shape; one more at the end.
    chunks_of: Vec<u32>,
    /// The first row of each shape in the order of shapes and ranks.
    rows_before: Vec<u32>,
    /// Where each group begins in each file.
    groups: Vec<GroupOffset>,
    /// The shapes under whose path there are values without terms.
    untermed: HashMap<String, Vec<u32>>,
    ranks: OnceLock<Ranks>,
    counts: OnceLock<Counts>,
    /// The frames of the chunks' heads.
    heads: OnceLock<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct GroupOffset {
    heads: u64,
    pools: u64,
    columns: u64,
}

impl std::fmt::Debug for SealedShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedShard").field("path", &self.bundle.path()).finish_non_exhaustive()
    }
}

impl SealedShard {
    /// Opens a bundle. Blocking; reads the footer, the directory, the filters and the term dictionaries.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Index`] where bytes are missing or changed, [`Error::Version`] where the layout
    /// is newer than this program.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::of(path, Arc::new(Bundle::open(path)?))
    }

    /// Opens a bundle that is no local file, by two reads, or three where its footer is long: what opening needs lies
    /// together. A search then reads the heads of all chunks and the ranks of all rows once, and of what it asks for
    /// whole groups of chunks. Errors name the bundle by `name`.
    ///
    /// # Errors
    /// As [`Self::open`]; and what the source says.
    pub fn open_from(name: &Path, source: Arc<dyn ByteRanges>) -> Result<Self, Error> {
        let bundle = Arc::new(Bundle::of(name, source)?);
        bundle.read_ahead(directory::FILTERS)?;
        let shard = Self::of(name, Arc::clone(&bundle));
        bundle.forget();
        shard
    }

    fn of(path: &Path, bundle: Arc<Bundle>) -> Result<Self, Error> {
        let broken = |problem: Malformed| Error::corrupt(path, format!("its directory: {problem}"));
        let directory =
            Directory::read(&whole(&bundle, directory::DIRECTORY)?, bundle.meta().records).map_err(broken)?;
        let index =
            ChunkIndex::open(&bundle, &whole(&bundle, directory::FILTERS)?, directory.chunks.len() as u32)?;
        let mut chunks_of = vec![0u32; directory.shapes.len() + 1];
        directory.chunks.iter().for_each(|chunk| chunks_of[chunk.shape as usize + 1] += 1);
        (1..chunks_of.len()).for_each(|shape| chunks_of[shape] += chunks_of[shape - 1]);
        let mut rows_before = vec![0u32];
        for rows in &directory.rows {
            rows_before.push(rows_before.last().copied().unwrap_or_default() + rows);
        }
        let mut groups = Vec::with_capacity(directory.groups.len());
        let mut at = GroupOffset::default();
        for group in &directory.groups {
            groups.push(at);
            at.heads += group.heads;
            at.pools += group.pools;
            at.columns += group.columns;
        }
        let mut untermed: HashMap<String, Vec<u32>> = HashMap::new();
        for (number, shape) in directory.shapes.iter().enumerate() {
            shape.attributes.each(&mut |path, place| {
                if matches!(place, Place::Part { .. } | Place::Own { .. }) && shape.slot_of(place).is_none() {
                    untermed.entry(path.to_owned()).or_default().push(number as u32);
                }
            });
        }
        Ok(Self {
            bundle,
            directory,
            index,
            chunks_of,
            rows_before,
            groups,
            untermed,
            ranks: OnceLock::new(),
            counts: OnceLock::new(),
            heads: OnceLock::new(),
        })
    }

    /// What the bundle says of itself.
    pub fn meta(&self) -> &ShardMeta {
        self.bundle.meta()
    }

    /// The files inside the bundle and their sizes in bytes.
    pub fn parts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.bundle.places().map(|(name, place)| (name, place.end - place.start))
    }

    /// Searches, on the caller's thread alone. CPU bound and blocking, for a pool of threads.
    pub fn search(&self, request: &LeafRequest) -> Result<LeafResponse, Error> {
        self.search_on(request, None)
    }

    /// Searches; where many chunks have to be read, on as many threads as are lent.
    pub fn search_on(
        &self,
        request: &LeafRequest,
        threads: Option<&dyn Threads>,
    ) -> Result<LeafResponse, Error> {
        if let Some(fragments) = &request.fragments {
            let gathered = self.gather(&request.filter, request.range, fragments, threads)?;
            return Ok(match request.beside() {
                Some(beside) => gathered.with(self.search_on(&beside, threads)?),
                None => gathered,
            });
        }
        let reader = Reader::new(self);
        let rows = rows::inside(self, &reader, request.range)?;
        if rows.is_empty() {
            return Ok(LeafResponse::default());
        }
        let answers = Answers::new(self, &reader, &request.filter, &rows)?;
        rows::search(self, &reader, &answers, rows, request, threads)
    }

    /// The record of that id, if it is in here.
    pub fn record(&self, id: RecordId) -> Result<Option<Row>, Error> {
        let reader = Reader::new(self);
        Ok(match reader.find(id)? {
            Some(row) => reader.rows(&[row], None)?.pop(),
            None => None,
        })
    }

    fn ranks(&self) -> Result<&Ranks, Error> {
        if let Some(ranks) = self.ranks.get() {
            return Ok(ranks);
        }
        let file = whole(&self.bundle, directory::RANKS)?;
        let ranks = directory::decompressed(&file)
            .and_then(|plain| Ranks::read(&plain, &self.directory.blocks, &self.directory.rows))
            .map_err(|problem| self.broken(problem))?;
        Ok(self.ranks.get_or_init(|| ranks))
    }

    fn heads(&self) -> Result<&[u8], Error> {
        if let Some(heads) = self.heads.get() {
            return Ok(heads);
        }
        let heads = whole(&self.bundle, directory::HEADS)?;
        Ok(self.heads.get_or_init(|| heads))
    }

    pub(crate) fn shapes(&self) -> &[Arc<Shape>] {
        &self.directory.shapes
    }

    pub(crate) fn origins(&self) -> &[Origin] {
        &self.directory.origins
    }

    /// The source of an origin.
    fn source(&self, origin: u32) -> Result<SourceId, Error> {
        let known = self.directory.origins.get(origin as usize).map(|origin| origin.source);
        known.ok_or_else(|| self.broken(Malformed("a known origin expected")))
    }

    fn broken(&self, problem: Malformed) -> Error {
        Error::corrupt(self.bundle.path(), problem.to_string())
    }

    /// Where bytes of one of the bundle's files lie in the bundle.
    fn place(&self, file: &str, range: Range<u64>) -> Result<Range<u64>, Error> {
        let path = self.bundle.path();
        let place =
            self.bundle.place(file).ok_or_else(|| Error::corrupt(path, format!("it has no file {file}")))?;
        if place.start.checked_add(range.end).is_none_or(|end| end > place.end) {
            return Err(Error::corrupt(path, format!("its file {file} is too short")));
        }
        Ok(place.start + range.start..place.start + range.end)
    }

    /// Bytes of one of the bundle's files, checked.
    fn read(&self, file: &str, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.bundle.part(self.place(file, range)?)
    }

    /// The chunks of a shape.
    fn chunks(&self, shape: u32) -> Range<u32> {
        let at = |shape: usize| self.chunks_of.get(shape).copied().unwrap_or_default();
        at(shape as usize)..at(shape as usize + 1)
    }

    /// The chunks that hold a shape's rows of these ranks, and which of the rows of each those are.
    fn chunks_of_ranks(&self, shape: u32, ranks: Range<u32>) -> impl Iterator<Item = (u32, Range<u32>)> {
        let mut rank = ranks.start;
        std::iter::from_fn(move || {
            if rank >= ranks.end {
                return None;
            }
            let number = self.chunk_of(shape, rank);
            let place = self.directory.chunks[number as usize];
            let rows = rank - place.first..ranks.end.min(place.first + place.rows) - place.first;
            rank = place.first + rows.end;
            Some((number, rows))
        })
    }

    /// The chunk that holds a shape's row of that rank.
    fn chunk_of(&self, shape: u32, rank: u32) -> u32 {
        let chunks = self.chunks(shape);
        let all = &self.directory.chunks[chunks.start as usize..chunks.end as usize];
        chunks.start + all.partition_point(|chunk| chunk.first <= rank).saturating_sub(1) as u32
    }
}

fn whole(bundle: &Bundle, file: &str) -> Result<Vec<u8>, Error> {
    let path = bundle.path();
    let place = bundle.place(file).ok_or_else(|| Error::corrupt(path, format!("it has no file {file}")))?;
    bundle.part(place)
}
