//! Collecting the words and terms of chunks, and writing the index and the filters of them.

use super::{FieldName, Fields, filters, settings, tokenizers};
use hashbrown::HashTable;
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
struct Entry {
    hash: u64,
    at: u32,
    length: u32,
    field: FieldName,
    /// The last chunk that it was met in.
    chunk: u32,
    /// It was met in more than one.
    shared: bool,
}

/// The words and terms of chunks, chunk after chunk.
#[derive(Debug)]
pub(crate) struct TermSet {
    seed: u64,
    table: HashTable<u32>,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// The entries of each chunk, and where they end.
    met: Vec<u32>,
    ends: Vec<u32>,
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
            ends: Vec::new(),
        }
    }

    /// Adds a word or term of the open chunk.
    pub(crate) fn add(&mut self, field: FieldName, bytes: &[u8]) {
        let hash = key(self.seed, field, bytes);
        let chunk = self.ends.len() as u32;
        let (entries, all) = (&self.entries, &self.bytes);
        let same = |number: &u32| {
            let entry = &entries[*number as usize];
            entry.hash == hash
                && entry.field == field
                && all[entry.at as usize..(entry.at + entry.length) as usize] == *bytes
        };
        if let Some(number) = self.table.find(hash, same) {
            let entry = &mut self.entries[*number as usize];
            if entry.chunk != chunk {
                (entry.chunk, entry.shared) = (chunk, true);
                self.met.push(*number);
            }
            return;
        }
        let number = self.entries.len() as u32;
        let (at, length) = (self.bytes.len() as u32, bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
        self.entries.push(Entry { hash, at, length, field, chunk, shared: false });
        let entries = &self.entries;
        self.table.insert_unique(hash, number, |number| entries[*number as usize].hash);
        self.met.push(number);
    }

    /// The open chunk has no more.
    pub(crate) fn end_chunk(&mut self) {
        self.ends.push(self.met.len() as u32);
    }

    fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.at as usize..(entry.at + entry.length) as usize]
    }

    /// The entries of each chunk.
    fn chunks(&self) -> impl Iterator<Item = impl Iterator<Item = &Entry>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let met = &self.met[start..*end as usize];
            start = *end as usize;
            met.iter().map(|number| &self.entries[*number as usize])
        })
    }
}

/// Files by their names.
pub(crate) type Files = Vec<(String, OwnedBytes)>;

/// Writes a [`TermSet`].
pub(crate) struct IndexWriter;

impl IndexWriter {
    /// The files of the index, and the file of filters.
    pub(crate) fn write(terms: &TermSet) -> tantivy::Result<(Files, Vec<u8>)> {
        let fields = Fields::new();
        let files = RamDirectory::create();
        let mut writer: SingleSegmentIndexWriter = Index::builder()
            .schema(fields.schema.clone())
            .settings(settings())
            .tokenizers(tokenizers())
            .single_segment_index_writer(files.clone(), ARENA_BYTES)?;
        let mut alone = filters::Writer::new(terms.seed);
        for chunk in terms.chunks() {
            let mut document = TantivyDocument::new();
            let mut words = String::new();
            for entry in chunk {
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
        Ok((all, alone.finish()))
    }
}
