//! Sealing: rows become one immutable bundle. The rows are put in their total order and grouped by shape; each group is
//! cut into chunks, each chunk encoded column by column; the index is made of what the chunks hold. Nothing is published
//! here: a bundle that no catalogue row names does not exist.

mod fetch;
mod order;
mod row_counts;
mod words;

use crate::{
    Error, HotRows, SealedShard,
    blocks::{BlockWriter, RowHead},
    bundle::{self, SCHEMA_VERSION},
    bytes::Malformed,
    chunks::{ChunkWriter, ColumnSlots},
    directory::{self, Directory},
    index::IndexWriter,
    shape::{Body, Shape, Slots},
};
use fetch::Fetched;
use millrace_filter::Filter;
use millrace_model::{OffsetRange, ShardFields, ShardId, ShardMeta, StreamName, TimeRange, Timestamp};
use order::Gathered;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use words::{Given, Words};

/// What a shard is made of.
#[derive(Debug, Clone)]
pub struct SealInput {
    /// The shard's id.
    pub id: ShardId,
    /// The stream of all of its rows.
    pub stream: StreamName,
    /// The rows, in any order.
    pub rows: Vec<HotRows>,
    /// The offsets of the cut. A row whose message lies outside them is left out: it belongs to a later shard.
    pub offsets: Vec<OffsetRange>,
    /// Now.
    pub created: Timestamp,
    /// How often the rows were rewritten before: 0 for rows that were never sealed.
    pub rewrites: u32,
    /// The start of the time bucket that all of the rows lie in; `None`: several buckets share the shard.
    pub bucket: Option<Timestamp>,
}

/// A bundle on disk, not published yet.
#[derive(Debug, Clone)]
pub struct SealedBundle {
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds.
    pub meta: ShardMeta,
    /// How many of the given rows lie outside the offsets and so are not in it.
    pub left_out: u64,
}

/// Writes the bundle `<id>.shard` into `directory`, which must exist, and syncs both. CPU bound and blocking, for an
/// OS thread. A bundle that fails half way leaves nothing under its name.
///
/// # Errors
/// [`Error::Empty`] where no row lies inside the offsets; otherwise what the disk or the index says.
pub fn seal(input: &SealInput, directory: &Path) -> Result<SealedBundle, Error> {
    let path = directory.join(format!("{}.shard", input.id));
    let given = input.rows.iter().map(HotRows::len).sum::<usize>();
    let mut gathered = Gathered::of_hot(&input.rows, &input.offsets)?;
    let meta = meta(input.id, input.stream.clone(), input.offsets.clone(), input.bucket, input.created);
    let fields = ShardFields::union(input.rows.iter().map(HotRows::fields));
    let meta = ShardMeta { rewrites: input.rewrites, fields, ..meta };
    let meta = write(&mut gathered, meta, &path)?;
    Ok(SealedBundle { left_out: given as u64 - meta.records, path, meta })
}

/// What a merged shard is made of.
#[derive(Debug)]
pub struct MergeInput<'a> {
    /// The new shard's id.
    pub id: ShardId,
    /// The shards, of one stream, in any order.
    pub shards: &'a [SealedShard],
    /// What is deleted.
    pub deletions: &'a [Deletion],
    /// The number of the last deletion that the merged shard has been through by that.
    pub passed: u64,
    /// Now.
    pub created: Timestamp,
}

/// Records that are deleted: those that match, in a stretch of time.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// Which.
    pub filter: Filter,
    /// When.
    pub range: TimeRange,
}

/// Writes the rows of several shards into one, `<id>.shard` in `directory`: as [`seal`] would have written them, in one
/// order and with one set of shapes. CPU bound and blocking, for an OS thread; holds some 30 bytes a row in memory, and what it has written.
/// What is deleted is left out, and counted.
///
/// # Errors
/// [`Error::Empty`] where nothing is left; otherwise what a shard, the disk or the index says.
pub fn merge(input: &MergeInput<'_>, directory: &Path) -> Result<SealedBundle, Error> {
    let path = directory.join(format!("{}.shard", input.id));
    let Some(first) = input.shards.first() else { return Err(Error::Empty(input.id)) };
    let metas = || input.shards.iter().map(SealedShard::meta);
    let offsets = OffsetRange::union(metas().flat_map(|meta| &meta.offsets));
    let bucket = first.meta().bucket.filter(|bucket| metas().all(|meta| meta.bucket == Some(*bucket)));
    let meta = meta(input.id, first.meta().stream.clone(), offsets, bucket, input.created);
    let meta = ShardMeta {
        rewrites: metas().map(|meta| meta.rewrites).max().unwrap_or_default() + 1,
        deletions: input.passed,
        fields: ShardFields::union(metas().map(|meta| &meta.fields)),
        ..meta
    };
    let mut gathered = Gathered::of_sealed(input.shards, input.deletions)?;
    let meta = write(&mut gathered, meta, &path)?;
    let given: u64 = input.shards.iter().map(|shard| shard.meta().records).sum();
    Ok(SealedBundle { left_out: given - meta.records, path, meta })
}

fn meta(
    id: ShardId,
    stream: StreamName,
    offsets: Vec<OffsetRange>,
    bucket: Option<Timestamp>,
    created: Timestamp,
) -> ShardMeta {
    ShardMeta {
        id,
        schema_version: SCHEMA_VERSION,
        first: Timestamp::default(),
        last: Timestamp::default(),
        records: 0,
        bytes: 0,
        sha256: String::new(),
        key: format!("{stream}/{id}.shard"),
        stream,
        offsets,
        created,
        rewrites: 0,
        bucket,
        deletions: 0,
        fields: ShardFields::default(),
    }
}

/// Writes a bundle of gathered rows; the meta gets what follows from them.
fn write(gathered: &mut Gathered<'_>, mut meta: ShardMeta, path: &Path) -> Result<ShardMeta, Error> {
    if gathered.rows == 0 {
        return Err(Error::Empty(meta.id));
    }
    if u32::try_from(gathered.rows).is_err() {
        return Err(Error::TooManyRows { id: meta.id, rows: gathered.rows });
    }
    (meta.first, meta.last, meta.records) = (gathered.first, gathered.last, gathered.rows as u64);
    let rows = gathered.of_shape.iter().map(|shape| shape.places.len() as u32).collect();
    let io = |source| Error::Io { path: path.to_owned(), action: "compressing", source };
    let mut words = Words::new(seed());
    let (chunks, lengths) = write_chunks(gathered, &mut words, path)?;
    let mut lengths: Vec<_> = lengths.into_iter().map(Vec::into_iter).collect();
    let mut blocks = BlockWriter::default();
    gathered.each_row(&mut |head, _| {
        let length = lengths[head.shape as usize].next().unwrap_or_default().into();
        blocks.push(RowHead { length, ..head }).map_err(io)
    })?;
    blocks.finish().map_err(io)?;
    let index = IndexWriter::write(&words.set).map_err(Error::index(path))?;
    drop(words);
    let directory = Directory {
        shapes: gathered.shapes.clone(),
        rows,
        origins: gathered.origins.clone(),
        chunks: chunks.chunks,
        groups: chunks.groups,
        blocks: blocks.places,
    };
    let directory_file = directory.write().map_err(io)?;
    let ranks = directory::compressed(&blocks.ranks).map_err(io)?;
    // What a search reads first lies last, beside the footer.
    let own: [(&str, &[u8]); 8] = [
        (directory::COLUMNS, &chunks.columns),
        (directory::POOLS, &chunks.pools),
        (directory::BLOCKS, &blocks.blocks),
        (directory::COUNTS, &index.counts),
        (directory::HEADS, &chunks.heads),
        (directory::RANKS, &ranks),
        (directory::FILTERS, &index.filters),
        (directory::DIRECTORY, &directory_file),
    ];
    let all = own
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), *bytes))
        .chain(index.files.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice())));
    bundle::write(path, &mut meta, all)?;
    Ok(meta)
}

/// Encodes all chunks, shape by shape, and measures the line of each row: by shape, too.
fn write_chunks(
    gathered: &mut Gathered<'_>,
    words: &mut Words,
    path: &Path,
) -> Result<(ChunkWriter, Vec<Vec<u32>>), Error> {
    let broken = |problem: Malformed| Error::corrupt(path, problem.to_string());
    let io = |source| Error::Io { path: path.to_owned(), action: "compressing", source };
    let mut lengths = Vec::with_capacity(gathered.shapes.len());
    let mut writer = ChunkWriter::default();
    let (mut fetched, mut times) = (Fetched::default(), Vec::new());
    // What is written of a shape's rows is not needed any more.
    for (number, of_shape) in std::mem::take(&mut gathered.of_shape).into_iter().enumerate() {
        let shape = &gathered.shapes[number];
        fetched.begin_shape(shape);
        let mut measured = Vec::with_capacity(of_shape.places.len());
        let mut origins = OriginRuns { runs: &of_shape.origins, done: 0 };
        let mut done = 0;
        while done < of_shape.places.len() {
            let rows = fetched.take(&gathered.inputs, &of_shape.places[done..])?;
            times.clear();
            times.extend(
                of_shape
                    .times
                    .iter()
                    .skip(done)
                    .take(rows)
                    .enumerate()
                    .map(|(row, time)| own_time(shape, *time, &fetched, row)),
            );
            for row in 0..rows {
                let own_time = times.get(row).copied().unwrap_or_default();
                measured.push(line_length(shape, own_time, &fetched, row));
            }
            let columns = fetched.columns();
            let origins = origins.next(rows as u32);
            let given = Given { shape, columns, rows, times: &times, origins: &origins };
            words.add_chunk(&given, &gathered.origins).map_err(broken)?;
            writer.push(number as u32, done as u32, rows as u32, columns).map_err(io)?;
            done += rows;
        }
        lengths.push(measured);
    }
    writer.finish().map_err(io)?;
    Ok((writer, lengths))
}

/// Runs of origins, of which the first rows are done.
struct OriginRuns<'a> {
    runs: &'a [(u32, u32)],
    done: u32,
}

impl OriginRuns<'_> {
    /// The origins of the next rows.
    fn next(&mut self, mut rows: u32) -> BTreeSet<u32> {
        let mut origins = BTreeSet::new();
        while rows > 0
            && let Some(((origin, length), rest)) = self.runs.split_first()
        {
            origins.insert(*origin);
            let here = (length - self.done).min(rows);
            (rows, self.done) = (rows - here, self.done + here);
            if self.done == *length {
                (self.runs, self.done) = (rest, 0);
            }
        }
        origins
    }
}

/// The time that a row's record has of its own; the row's where it has none.
fn own_time(shape: &Shape, time: Timestamp, fetched: &Fetched, row: usize) -> Timestamp {
    let slots = ColumnSlots { columns: fetched.columns(), row };
    shape.own_time(time, &slots).ok().flatten().unwrap_or(time)
}

/// The bytes of a row's line: what stands between its position and the next line's, but for the line's end.
fn line_length(shape: &Shape, own_time: Timestamp, fetched: &Fetched, row: usize) -> u32 {
    let length = match &shape.body {
        Body::Text(mask) => mask.constant_length(own_time) + fetched.line_bytes()[row],
        Body::Bytes(slot) => ColumnSlots { columns: fetched.columns(), row }.slot(*slot).len(),
        _ => 0,
    };
    // Values of a chunk have 4 GiB together at most.
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Random, so that nobody can choose words whose keys meet.
fn seed() -> u64 {
    ShardId::random().0 as u64
}
