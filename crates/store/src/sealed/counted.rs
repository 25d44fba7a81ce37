//! What the counts of words and terms say, before any column is read: of a word, how many rows of each chunk have it;
//! of a field, how many rows of each chunk have which value.

use super::{SealedShard, reader::Reader};
use crate::{
    Error,
    bits::Bits,
    bytes::Malformed,
    directory,
    index::{COUNTS_LENGTH, ChunkCounts, Counts, FieldName, RowCount},
    scan::{GroupCounts, Own, Projection},
    shape::Shape,
    terms::{self, Scope},
};
use hashbrown::HashMap;
use millrace_model::Value;

impl SealedShard {
    pub(super) fn counts(&self) -> Result<&Counts, Error> {
        if let Some(counts) = self.counts.get() {
            return Ok(counts);
        }
        // The first bundles of this layout have none.
        if self.bundle.place(directory::COUNTS).is_none() {
            return Ok(self.counts.get_or_init(Counts::default));
        }
        let start = COUNTS_LENGTH as u64;
        let length = self.read(directory::COUNTS, 0..start)?;
        let length = length.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        let file = self.read(directory::COUNTS, start..start + u64::from(length))?;
        let counts = Counts::read(&file, self.directory.chunks.len() as u32);
        let counts = counts.map_err(|problem| self.broken(problem))?;
        Ok(self.counts.get_or_init(|| counts))
    }

    /// The counts of neighbouring words or terms.
    fn counts_of(&self, words: &[usize], reader: &Reader<'_>) -> Result<Vec<ChunkCounts>, Error> {
        let counts = self.counts()?;
        let place = |word: &usize| counts.group(*word).unwrap_or_default();
        let mut all = Vec::with_capacity(words.len());
        for words in words.chunk_by(|a, b| place(a) == place(b)) {
            let group = reader.read(directory::COUNTS, words.first().map(place).unwrap_or_default())?;
            all.extend(counts.of(words, &group).map_err(|problem| self.broken(problem))?);
        }
        Ok(all)
    }

    /// In how many rows of each chunk a folded word stands, where that was counted.
    pub(super) fn rows_with(&self, word: &str, reader: &Reader<'_>) -> Result<Option<ChunkCounts>, Error> {
        let Some(word) = self.counts()?.find(FieldName::Body, word.as_bytes()) else { return Ok(None) };
        Ok(self.counts_of(&[word], reader)?.pop())
    }
}

/// Counts the values of a field in whole chunks by their terms.
pub(super) struct CountedValues<'s> {
    shard: &'s SealedShard,
    paths: HashMap<String, OfPath>,
}

struct OfPath {
    values: Vec<(Value, ChunkCounts)>,
    /// Of each chunk, how many rows have one of the values.
    sums: Vec<u64>,
    /// The chunks that are counted.
    taken: Bits,
}

impl<'s> CountedValues<'s> {
    pub(super) fn new(shard: &'s SealedShard) -> Self {
        Self { shard, paths: HashMap::new() }
    }

    /// Counts all rows of a chunk, if its terms say enough.
    pub(super) fn take(
        &mut self,
        projection: &Projection<'_>,
        shape: &Shape,
        chunk: u32,
        reader: &Reader<'_>,
    ) -> Result<bool, Error> {
        if !matches!(projection.own, Own::Slot(..)) || !projection.resource.is_empty() {
            return Ok(false);
        }
        let is_there = |path: &&str| matches!(shape.attributes.at(path), Ok(Some(_)));
        let Some(path) = projection.field.paths().find(is_there) else { return Ok(false) };
        if !self.paths.contains_key(path) {
            let counted = OfPath::new(self.shard, path, reader)?;
            self.paths.insert(path.to_owned(), counted);
        }
        let Some(counted) = self.paths.get_mut(path) else { return Ok(false) };
        let rows = self.shard.directory.chunks[chunk as usize].rows;
        let is_enough = counted.sums[chunk as usize] == u64::from(rows);
        if is_enough {
            counted.taken.insert(chunk);
        }
        Ok(is_enough)
    }

    /// What was counted.
    pub(super) fn finish(self) -> GroupCounts {
        let mut groups = GroupCounts::default();
        for counted in self.paths.into_values() {
            for (value, counts) in &counted.values {
                let taken = counts.iter().filter(|(chunk, _)| counted.taken.contains(*chunk));
                let rows = taken.map(|(chunk, count)| rows_of(self.shard, chunk, count)).sum();
                groups.add_value(Some(value), rows);
            }
        }
        groups
    }
}

impl OfPath {
    fn new(shard: &SealedShard, path: &str, reader: &Reader<'_>) -> Result<Self, Error> {
        let chunks = shard.directory.chunks.len() as u32;
        let mut counted =
            Self { values: Vec::new(), sums: vec![0; chunks as usize], taken: Bits::none(chunks) };
        let Some(key) = terms::key(Scope::Attributes, path) else { return Ok(counted) };
        let begin = [key.as_slice(), &[0]].concat();
        let known: Vec<(usize, Value)> = shard
            .counts()?
            .beginning(&begin)
            .filter_map(|(number, term)| Some((number, terms::whole_value(&key, term)?)))
            .collect();
        let (numbers, values): (Vec<usize>, Vec<Value>) = known.into_iter().unzip();
        for (value, counts) in values.into_iter().zip(shard.counts_of(&numbers, reader)?) {
            for (chunk, count) in counts.iter() {
                counted.sums[chunk as usize] += rows_of(shard, chunk, count);
            }
            counted.values.push((value, counts));
        }
        for (sum, chunk) in counted.sums.iter().zip(&shard.directory.chunks) {
            if *sum > chunk.rows.into() {
                return Err(shard.broken(Malformed("counts of no more rows than a chunk has expected")));
            }
        }
        Ok(counted)
    }
}

/// How many rows of a chunk are known to have it.
fn rows_of(shard: &SealedShard, chunk: u32, count: RowCount) -> u64 {
    match count {
        RowCount::None | RowCount::Unknown => 0,
        RowCount::Some(rows) => rows.into(),
        RowCount::All => shard.directory.chunks[chunk as usize].rows.into(),
    }
}
