//! The index over chunks: a tantivy index whose documents are the chunks, in their order, and filters beside it.
//!
//! | field | what a chunk's document holds |
//! |---|---|
//! | `body` | the words of its lines: folded tokens of [`millrace_model::text`], long ones cut |
//! | `terms` | attributes, resources, levels and ids of its rows, as [`crate::terms`] spells them |
//!
//! Basic postings, no norms, nothing stored. A word or term of a single chunk may stand in a filter instead of the index:
//! a binary fuse filter (Graf and Lemire, "Binary Fuse Filters", 2022; 8 bits) over the keys of some neighbouring chunks.
//! Beside them stand counts of rows for words and terms that many chunks have ([`counts`]).
//! A key is the XXH3 hash of the bytes with the shard's own random seed.

mod counts;
mod filters;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use self::{
    counts::{ChunkCounts, Counts, LENGTH as COUNTS_LENGTH, RowCount},
    read::ChunkIndex,
    write::{ChunkFacts, IndexWriter, TermSet},
};
use tantivy::{
    IndexSettings,
    schema::{BytesOptions, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions},
    tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager},
};

/// Which of the two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldName {
    Body,
    Terms,
}

/// The name under which the index's own files ask for the tokeniser of words.
const TOKENIZER: &str = "millrace";

/// The fields, by handle.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    pub(crate) schema: Schema,
    pub(crate) body: Field,
    pub(crate) terms: Field,
}

impl Fields {
    pub(crate) fn new() -> Self {
        let words = TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false);
        let mut schema = Schema::builder();
        let body = schema.add_text_field("body", TextOptions::default().set_indexing_options(words));
        let terms = schema.add_bytes_field("terms", BytesOptions::default().set_indexed());
        Self { schema: schema.build(), body, terms }
    }

    pub(crate) fn get(&self, name: FieldName) -> Field {
        match name {
            FieldName::Body => self.body,
            FieldName::Terms => self.terms,
        }
    }
}

fn settings() -> IndexSettings {
    IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() }
}

/// The tokeniser, under its name.
pub(crate) fn tokenizers() -> TokenizerManager {
    // Fields without a tokeniser ask for the library's default one all the same.
    let manager = TokenizerManager::default();
    manager.register(TOKENIZER, Words::default());
    manager
}

/// Words that are folded and cut already, one a line.
#[derive(Debug, Clone, Default)]
struct Words {
    token: Token,
}

struct WordStream<'a> {
    rest: std::str::Split<'a, char>,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;
    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { rest: text.split('\n'), token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(word) = self.rest.find(|word| !word.is_empty()) else { return false };
        let token = &mut *self.token;
        token.text.clear();
        token.text.push_str(word);
        token.position = token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}
