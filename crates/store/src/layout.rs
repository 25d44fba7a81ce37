//! Layout 1 of the index in a sealed shard: one document a record, numbered in the rows' total order (time, then id).
//!
//! | field | what |
//! |---|---|
//! | `body` | the words of the body: folded tokens of [`millrace_model::text`], long ones cut |
//! | `terms` | attributes, resource, level and ids, as [`crate::terms`] spells them |
//! | `time` | where the row is sorted, nanoseconds |
//! | `timestamp`, `observed` | how far after `time` the record's own times lie (wrapping); no `timestamp` where it has none |
//! | `severity` | OpenTelemetry's number |
//! | `source`, `resource` | ordinals in the bundle's file `tables` |
//! | `position`, `index` | the rest of the record's id |
//! | `record` | the record without its resource and times, as OTLP bytes; stored |
//!
//! `body` and `terms` are indexed, the numbers are fast fields. Nothing outside this crate knows of documents.

use millrace_model::text;
use tantivy::{
    IndexSettings,
    schema::{BytesOptions, FAST, Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions},
    store::{Compressor, ZstdCompressor},
    tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager},
};

/// The name under which the index's own files ask for the tokeniser of bodies.
const TOKENIZER: &str = "millrace";

/// Bytes of stored records that are compressed together. Measured: a third smaller than with blocks of 16 KiB at no
/// CPU; a single record costs half a millisecond to fetch.
const STORE_BLOCK: usize = 256 * 1024;

/// The file of the bundle that ordinals point into.
pub(crate) const TABLES: &str = "tables";

/// The fields, by handle.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) schema: Schema,
    pub(crate) body: Field,
    pub(crate) terms: Field,
    pub(crate) time: Field,
    pub(crate) timestamp: Field,
    pub(crate) observed: Field,
    pub(crate) severity: Field,
    pub(crate) source: Field,
    pub(crate) position: Field,
    pub(crate) index: Field,
    pub(crate) resource: Field,
    pub(crate) record: Field,
}

impl Layout {
    /// Layout 1.
    pub(crate) fn new() -> Self {
        let words = TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false);
        let mut schema = Schema::builder();
        let body = schema.add_text_field("body", TextOptions::default().set_indexing_options(words));
        let terms = schema.add_bytes_field("terms", BytesOptions::default().set_indexed());
        let [time, timestamp, observed] =
            ["time", "timestamp", "observed"].map(|name| schema.add_i64_field(name, FAST));
        let [severity, source, position, index, resource] =
            ["severity", "source", "position", "index", "resource"]
                .map(|name| schema.add_u64_field(name, FAST));
        let record = schema.add_bytes_field("record", STORED);
        let schema = schema.build();
        Self {
            schema,
            body,
            terms,
            time,
            timestamp,
            observed,
            severity,
            source,
            position,
            index,
            resource,
            record,
        }
    }
}

/// How stored records are kept.
pub(crate) fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::Zstd(ZstdCompressor { compression_level: Some(3) }),
        docstore_blocksize: STORE_BLOCK,
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

/// The tokeniser, under its name.
pub(crate) fn tokenizers() -> TokenizerManager {
    // Fields without a tokeniser ask for the library's default one all the same.
    let manager = TokenizerManager::default();
    manager.register(TOKENIZER, Words::default());
    manager
}

/// [`millrace_model::text`]'s tokens as the index library takes them.
#[derive(Debug, Clone, Default)]
struct Words {
    token: Token,
}

/// The tokens of one text.
struct WordStream<'a> {
    text: &'a str,
    ranges: text::TokenRanges<'a>,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;
    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { text, ranges: text::token_ranges(text), token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(range) = self.ranges.next() else { return false };
        let token = &mut *self.token;
        token.text.clear();
        text::fold_into(&self.text[range.clone()], &mut token.text);
        token.text.truncate(text::indexed_form(&token.text).len());
        token.position = token.position.wrapping_add(1);
        (token.offset_from, token.offset_to) = (range.start, range.end);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}
