//! Sealing: rows become one immutable bundle. The rows are put in order, written as a tantivy segment in memory, and
//! packed with their tables. Nothing is published here: a bundle that no catalogue row names does not exist.

use crate::{
    Error, HotRow, HotRows,
    bundle::{self, SCHEMA_VERSION},
    layout::{self, Layout, TABLES},
    tables::TablesWriter,
    terms::TermWriter,
};
use millrace_model::{
    Attributes, LogRecord, OffsetRange, Row, ShardId, ShardMeta, StreamName, Timestamp, Value, wire,
};
use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};
use tantivy::{
    Directory, Index, SingleSegmentIndexWriter, TantivyDocument,
    directory::{OwnedBytes, RamDirectory},
};

/// How large tantivy makes its hash table of terms at first, as if it had this many bytes; it grows as it must.
const ARENA_BYTES: usize = 64 << 20;

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
/// OS thread; takes memory for about half of the rows' raw bytes. A bundle that fails half way leaves nothing under
/// its name.
///
/// # Errors
/// [`Error::Empty`] where no row lies inside the offsets; otherwise what the disk or the index says.
pub fn seal(input: &SealInput, directory: &Path) -> Result<SealedBundle, Error> {
    let path = directory.join(format!("{}.shard", input.id));
    let given = input.rows.iter().map(HotRows::len).sum::<usize>();
    let rows = in_order(input);
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Err(Error::Empty(input.id)) };
    if u32::try_from(rows.len()).is_err() {
        return Err(Error::TooManyRows { id: input.id, rows: rows.len() });
    }
    let mut meta = ShardMeta {
        id: input.id,
        schema_version: SCHEMA_VERSION,
        stream: input.stream.clone(),
        first: first.time,
        last: last.time,
        records: rows.len() as u64,
        bytes: 0,
        sha256: String::new(),
        key: format!("{}/{}.shard", input.stream, input.id),
        offsets: input.offsets.clone(),
        created: input.created,
    };
    let files = index(&rows).map_err(Error::index(&path))?;
    bundle::write(&path, &mut meta, files.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice())))?;
    Ok(SealedBundle { path, meta, left_out: (given - rows.len()) as u64 })
}

/// The rows of the cut, in the order of answers: documents are numbered by it.
fn in_order(input: &SealInput) -> Vec<&Row> {
    let inside = |hot: &&HotRow| {
        input
            .offsets
            .iter()
            .any(|range| range.partition == hot.partition && (range.from..range.to).contains(&hot.offset))
    };
    let mut rows: Vec<&Row> =
        input.rows.iter().flat_map(HotRows::iter).filter(inside).map(|hot| &hot.row).collect();
    rows.sort_by_key(|row| row.order());
    rows
}

/// The files of the index and the tables, by name.
fn index(rows: &[&Row]) -> tantivy::Result<Vec<(String, OwnedBytes)>> {
    let layout = Layout::new();
    let files = RamDirectory::create();
    let mut writer: SingleSegmentIndexWriter = Index::builder()
        .schema(layout.schema.clone())
        .settings(layout::settings())
        .tokenizers(layout::tokenizers())
        .single_segment_index_writer(files.clone(), ARENA_BYTES)?;
    let mut tables = TablesWriter::new();
    let mut documents = DocumentMaker { layout, terms: TermWriter::new(), nothing: Arc::default() };
    for row in rows {
        let (source, resource) = (tables.source(row), tables.resource(row));
        writer.add_document(documents.make(row, source, resource))?;
    }
    let mut names: Vec<PathBuf> = writer.finalize()?.directory().list_managed_files().into_iter().collect();
    names.sort();
    let mut all = Vec::with_capacity(names.len() + 1);
    for name in names {
        let bytes = files.open_read(&name)?.read_bytes()?;
        all.push((name.to_string_lossy().into_owned(), bytes));
    }
    all.push((TABLES.to_owned(), OwnedBytes::new(tables.finish()?)));
    Ok(all)
}

struct DocumentMaker {
    layout: Layout,
    terms: TermWriter,
    nothing: Arc<Attributes>,
}

impl DocumentMaker {
    fn make(&mut self, row: &Row, source: u64, resource: u64) -> TantivyDocument {
        let layout = &self.layout;
        let mut document = TantivyDocument::new();
        document.add_text(layout.body, body_text(&row.record.body));
        self.terms.each(row, resource, &mut |term| document.add_bytes(layout.terms, term));
        document.add_i64(layout.time, row.time.0);
        if let Some(timestamp) = row.record.timestamp {
            document.add_i64(layout.timestamp, timestamp.0.wrapping_sub(row.time.0));
        }
        document.add_i64(layout.observed, row.record.observed_timestamp.0.wrapping_sub(row.time.0));
        document.add_u64(layout.severity, row.record.severity.number().into());
        document.add_u64(layout.source, source);
        document.add_u64(layout.position, row.id.position);
        document.add_u64(layout.index, row.id.index.into());
        document.add_u64(layout.resource, resource);
        let alone = LogRecord {
            timestamp: None,
            observed_timestamp: Timestamp::default(),
            resource: Arc::clone(&self.nothing),
            ..row.record.clone()
        };
        document.add_bytes(layout.record, &wire::encode_record(&alone));
        document
    }
}

/// The text whose words are indexed: what bare words of a query look at.
fn body_text(body: &Value) -> Cow<'_, str> {
    match body {
        Value::String(text) => Cow::Borrowed(text),
        Value::Null => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}
