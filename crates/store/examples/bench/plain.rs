//! What the same lines take elsewhere: in one frame of zstd, and in a plain tantivy index with a document a line.

use crate::{
    corpus::Feed,
    meter::{self, Outcome},
};
use millrace_model::{Attributes, Row, Value};
use std::{fs::File, io::Read, path::PathBuf};
use tantivy::{
    Directory, Index, IndexSettings, SingleSegmentIndexWriter, TantivyDocument,
    directory::RamDirectory,
    schema::{BytesOptions, FAST, Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions},
    store::{Compressor, ZstdCompressor},
    tokenizer::{LowerCaser, SimpleTokenizer, TextAnalyzer, TokenizerManager},
};

const ZSTD_LEVEL: i32 = 3;
/// Bytes of stored lines that are compressed together.
const STORE_BLOCK: usize = 64 << 10;
const ARENA_BYTES: usize = 64 << 20;
const TOKENIZER: &str = "words";

/// Bytes, and CPU seconds to make them.
pub(crate) struct Size {
    pub(crate) bytes: u64,
    pub(crate) spent: f64,
}

/// The first `raw` bytes of the files, one after the other, in one frame.
pub(crate) fn zstd(files: &[PathBuf], raw: u64) -> Outcome<Size> {
    let mut lines = Vec::new();
    for file in files {
        File::open(file)?.take(raw - lines.len() as u64).read_to_end(&mut lines)?;
    }
    let (spent, frame) = meter::cpu(|| zstd::encode_all(lines.as_slice(), ZSTD_LEVEL))?;
    Ok(Size { bytes: frame?.len() as u64, spent })
}

/// One segment: words of the line without positions and norms, attributes as terms, a fast time, the line stored.
pub(crate) fn tantivy(feed: &mut Feed) -> Outcome<Size> {
    let fields = Fields::new();
    let files = RamDirectory::create();
    let mut size = Size { bytes: 0, spent: 0.0 };
    let (spent, writer) = meter::cpu(|| fields.writer(files.clone()))?;
    let mut writer = writer?;
    size.spent += spent;
    while let Some(arrival) = feed.next()? {
        let (spent, result) = meter::cpu(|| {
            arrival.rows.iter().try_for_each(|hot| writer.add_document(fields.document(&hot.row)))
        })?;
        result?;
        size.spent += spent;
    }
    let (spent, index) = meter::cpu(|| writer.finalize())?;
    let names = index?.directory().list_managed_files();
    size.spent += spent;
    for name in names {
        size.bytes += files.open_read(&name)?.read_bytes()?.len() as u64;
    }
    Ok(size)
}

struct Fields {
    schema: Schema,
    body: Field,
    terms: Field,
    time: Field,
    line: Field,
}

impl Fields {
    fn new() -> Self {
        let words = TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false);
        let mut schema = Schema::builder();
        let body = schema.add_text_field("body", TextOptions::default().set_indexing_options(words));
        let terms = schema.add_bytes_field("terms", BytesOptions::default().set_indexed());
        let time = schema.add_i64_field("time", FAST);
        let line = schema.add_bytes_field("line", STORED);
        Self { schema: schema.build(), body, terms, time, line }
    }

    fn writer(&self, files: RamDirectory) -> tantivy::Result<SingleSegmentIndexWriter> {
        let tokenizers = TokenizerManager::default();
        let words = TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).build();
        tokenizers.register(TOKENIZER, words);
        let settings = IndexSettings {
            docstore_compression: Compressor::Zstd(ZstdCompressor { compression_level: Some(ZSTD_LEVEL) }),
            docstore_blocksize: STORE_BLOCK,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        Index::builder()
            .schema(self.schema.clone())
            .settings(settings)
            .tokenizers(tokenizers)
            .single_segment_index_writer(files, ARENA_BYTES)
    }

    fn document(&self, row: &Row) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_i64(self.time, row.time.0);
        match &row.record.body {
            Value::String(line) => {
                document.add_text(self.body, line);
                document.add_bytes(self.line, line.as_bytes());
            }
            Value::Bytes(line) => document.add_bytes(self.line, line),
            _ => {}
        }
        let mut term = String::new();
        let mut each = |attributes: &Attributes| {
            attributes.each_leaf(&mut |path, value| {
                term.clear();
                term.push_str(path);
                term.push('\0');
                match value {
                    Value::String(text) => term.push_str(text),
                    other => term.push_str(&other.to_string()),
                }
                document.add_bytes(self.terms, term.as_bytes());
            });
        };
        each(&row.record.attributes);
        each(&row.record.resource);
        if !row.record.severity_text.is_empty() {
            document.add_bytes(self.terms, row.record.severity_text.as_bytes());
        }
        document
    }
}
