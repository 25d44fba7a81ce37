//! Collecting the words and terms of chunks, and writing the index and the filters of them, and the counts.

use super::{FieldName, Fields, counts, filters, settings, tokenizers};
use crate::{chunks::CHUNK_ROWS, time_text::TimeFormat};
use hashbrown::HashTable;
use millrace_model::Timestamp;
use std::path::PathBuf;
use tantivy::{
    Directory, Index, SingleSegmentIndexWriter, TantivyDocument,
    directory::{OwnedBytes, RamDirectory},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How large tantivy makes its hash table of terms at first, as if it had this many bytes; it grows as it must.
const ARENA_BYTES: usize = 16 << 20;

/// A word or term, and which chunks hold it as far as that matters.
#[derive(Debug)]
pub(super) struct Entry {
    hash: u64,
    at: u32,
    length: u32,
    pub(super) field: FieldName,
    /// Where it was met last, among all meetings.
    met: u32,
    /// It was met in more than one chunk.
    shared: bool,
}

/// A word or term in a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    /// Which one.
    pub(super) entry: u32,
    /// In how many rows of the chunk; 0 where nobody counted. The highest bit: only the texts of their times have it.
    rows: u16,
}

const ONLY_IN_TIMES: u16 = 1 << 15;
const _: () = assert!(CHUNK_ROWS < ONLY_IN_TIMES as usize, "a number of rows fits beside the bit");

impl Met {
    /// How many rows of the chunk have it, if they were counted.
    pub(super) fn rows(self) -> Option<u32> {
        let rows = self.rows & !ONLY_IN_TIMES;
        (rows > 0).then_some(rows.into())
    }

    /// Does the chunk hold it in more than the texts of times, which are no part of the index?
    pub(super) fn is_indexed(self) -> bool {
        self.rows & ONLY_IN_TIMES == 0
    }
}

/// What is told of a chunk besides its words and terms.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ChunkFacts {
    pub(crate) rows: u32,
    /// How its lines spell their times, and the first and the last of these.
    pub(crate) times: Option<(TimeFormat, (Timestamp, Timestamp))>,
}

/// The words and terms of chunks, chunk after chunk.
#[derive(Debug)]
pub(crate) struct TermSet {
    seed: u64,
    table: HashTable<u32>,
    pub(super) entries: Vec<Entry>,
    bytes: Vec<u8>,
    met: Vec<Met>,
    /// Where the open chunk's begin.
    open: u32,
    /// Of each chunk where its own end, and what else is known.
    ends: Vec<(u32, ChunkFacts)>,
}

/// The key of a word or term in the filters.
pub(super) fn key(seed: u64, field: FieldName, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, seed ^ field as u64)
}

impl TermSet {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            table: HashTable::new(),
            entries: Vec::new(),
            bytes: Vec::new(),
            met: Vec::new(),
            open: 0,
            ends: Vec::new(),
        }
    }

    /// Adds a word or term of the open chunk; says which of the chunk's it is.
    pub(crate) fn add(&mut self, field: FieldName, bytes: &[u8]) -> u32 {
        let met = self.meet(field, bytes, 0);
        self.met[(self.open + met) as usize].rows &= !ONLY_IN_TIMES;
        met
    }

    /// Adds a word that the text of a time in the open chunk has, which makes it no part of the index.
    pub(crate) fn add_of_time(&mut self, word: &str) -> u32 {
        self.meet(FieldName::Body, word.as_bytes(), ONLY_IN_TIMES)
    }

    /// So many rows more of the open chunk have one of its words or terms.
    pub(crate) fn add_rows(&mut self, met: u32, rows: u32) {
        if let Some(met) = self.met.get_mut((self.open + met) as usize) {
            met.rows = (u32::from(met.rows) + rows) as u16;
        }
    }

    fn meet(&mut self, field: FieldName, bytes: &[u8], rows: u16) -> u32 {
        let hash = key(self.seed, field, bytes);
        let (entries, all) = (&self.entries, &self.bytes);
        let same = |number: &u32| {
            let entry = &entries[*number as usize];
            entry.hash == hash
                && entry.field == field
                && all[entry.at as usize..(entry.at + entry.length) as usize] == *bytes
        };
        let met = self.met.len() as u32;
        if let Some(number) = self.table.find(hash, same) {
            let entry = &mut self.entries[*number as usize];
            if entry.met < self.open {
                (entry.met, entry.shared) = (met, true);
                self.met.push(Met { entry: *number, rows });
            }
            return entry.met - self.open;
        }
        let number = self.entries.len() as u32;
        let (at, length) = (self.bytes.len() as u32, bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
        self.entries.push(Entry { hash, at, length, field, met, shared: false });
        let entries = &self.entries;
        self.table.insert_unique(hash, number, |number| entries[*number as usize].hash);
        self.met.push(Met { entry: number, rows });
        met - self.open
    }

    /// The open chunk has no more.
    pub(crate) fn end_chunk(&mut self, facts: ChunkFacts) {
        self.open = self.met.len() as u32;
        self.ends.push((self.open, facts));
    }

    pub(super) fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.at as usize..(entry.at + entry.length) as usize]
    }

    /// What each chunk holds.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (&[Met], ChunkFacts)> {
        let mut start = 0;
        self.ends.iter().map(move |(end, facts)| {
            let met = &self.met[start..*end as usize];
            start = *end as usize;
            (met, *facts)
        })
    }
}

/// Files by their names.
pub(crate) type Files = Vec<(String, OwnedBytes)>;

/// What [`TermSet`]s are written to.
pub(crate) struct Written {
    /// The index.
    pub(crate) files: Files,
    pub(crate) filters: Vec<u8>,
    pub(crate) counts: Vec<u8>,
}

/// Writes a [`TermSet`].
pub(crate) struct IndexWriter;

impl IndexWriter {
    /// The index, its filters and its counts.
    pub(crate) fn write(terms: &TermSet) -> tantivy::Result<Written> {
        let fields = Fields::new();
        let files = RamDirectory::create();
        let mut writer: SingleSegmentIndexWriter = Index::builder()
            .schema(fields.schema.clone())
            .settings(settings())
            .tokenizers(tokenizers())
            .single_segment_index_writer(files.clone(), ARENA_BYTES)?;
        let mut alone = filters::Writer::new(terms.seed);
        for (met, _) in terms.chunks() {
            let mut document = TantivyDocument::new();
            let mut words = String::new();
            for met in met.iter().filter(|met| met.is_indexed()) {
                let entry = &terms.entries[met.entry as usize];
                match (entry.shared, entry.field) {
                    (false, _) => alone.add(entry.hash),
                    (true, FieldName::Terms) => document.add_bytes(fields.terms, terms.bytes(entry)),
                    (true, FieldName::Body) => {
                        words.push_str(std::str::from_utf8(terms.bytes(entry)).unwrap_or_default());
                        words.push('\n');
                    }
                }
            }
            document.add_text(fields.body, words);
            writer.add_document(document)?;
            alone.end_chunk();
        }
        let mut names: Vec<PathBuf> =
            writer.finalize()?.directory().list_managed_files().into_iter().collect();
        names.sort();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            all.push((name.to_string_lossy().into_owned(), files.open_read(&name)?.read_bytes()?));
        }
        Ok(Written { files: all, filters: alone.finish(), counts: counts::write(terms)? })
    }
}
