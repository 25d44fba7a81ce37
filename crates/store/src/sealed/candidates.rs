//! Which chunks may hold rows that match, by the index and the filters: before any column is read.

use super::{SealedShard, reader::Reader};
use crate::{
    Error,
    bits::Bits,
    index::{ChunkCounts, FieldName},
    plan::whole_words,
    terms::{self, Scope, term},
};
use millrace_filter::{Expr, FieldTest, Literal, Number, Predicate, Text};
use millrace_model::{FieldRef, text::indexed_form};
use regex_syntax::hir::{Hir, HirKind};
use std::cell::Cell;

/// Whole numbers below this in size are told apart by a double.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// A regular expression asks for no more words than this.
const MAX_WORDS: usize = 64;

/// What is known of a filter before columns are read. `None` stands for all chunks.
pub(super) struct Candidates {
    /// By leaf of the filter.
    pub(super) of_leaf: Vec<Option<Bits>>,
    pub(super) of_all: Option<Bits>,
    /// In how many rows of each chunk the word stands, where the filter is a word whose rows were counted.
    pub(super) counts: Option<ChunkCounts>,
}

struct Asking<'s> {
    shard: &'s SealedShard,
    read: &'s Cell<u64>,
    of_leaf: Vec<Option<Bits>>,
}

impl Candidates {
    pub(super) fn of(shard: &SealedShard, root: &Expr, reader: &Reader<'_>) -> Result<Self, Error> {
        if let Expr::Text(Text::Phrase { tokens, .. }) = root
            && let [word] = tokens.as_slice()
            && let Some(counts) = shard.rows_with(word, reader)?
        {
            let chunks = Some(counts.chunks());
            return Ok(Self { of_leaf: vec![chunks.clone()], of_all: chunks, counts: Some(counts) });
        }
        let mut asking = Asking { shard, read: &reader.read_bytes, of_leaf: Vec::new() };
        let of_all = asking.expr(root)?;
        Ok(Self { of_leaf: asking.of_leaf, of_all, counts: None })
    }
}

type Found = Option<Bits>;

fn both(a: Found, b: Found) -> Found {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.and(&b)),
        (a, b) => a.or(b),
    }
}

impl Asking<'_> {
    fn none(&self) -> Bits {
        Bits::none(self.shard.directory.chunks.len() as u32)
    }

    fn expr(&mut self, expr: &Expr) -> Result<Found, Error> {
        match expr {
            Expr::And(terms) => {
                let mut all = None;
                for term in terms {
                    all = both(all, self.expr(term)?);
                }
                Ok(all)
            }
            Expr::Or(terms) => {
                let mut any = Some(self.none());
                for term in terms {
                    any = match (any, self.expr(term)?) {
                        (Some(a), Some(b)) => Some(a.or(&b)),
                        _ => None,
                    };
                }
                Ok(any)
            }
            Expr::Not(inner) => self.expr(inner).map(|_| None),
            Expr::All => Ok(self.leaf(None)),
            Expr::Text(text) => {
                let found = self.text(text)?;
                Ok(self.leaf(found))
            }
            Expr::Field(test) => {
                let found = self.field(test)?;
                Ok(self.leaf(found))
            }
        }
    }

    fn leaf(&mut self, found: Found) -> Found {
        self.of_leaf.push(found.clone());
        found
    }

    fn look_up(&self, field: FieldName, bytes: &[u8]) -> Result<Bits, Error> {
        self.shard.index.look_up(self.shard.bundle.path(), field, bytes, self.read)
    }

    /// The chunks that may hold a folded word. Words of times are no terms: chunks whose times may spell it are in.
    fn word(&self, word: &str) -> Result<Bits, Error> {
        let mut found = self.look_up(FieldName::Body, indexed_form(word).as_bytes())?;
        if word.starts_with(|first: char| first.is_ascii_digit()) {
            for (number, shape) in self.shard.directory.shapes.iter().enumerate() {
                let spelled = shape.mask().and_then(|mask| mask.time);
                if spelled.is_some_and(|(_, format)| format.may_hold(word)) {
                    found.insert_range(self.shard.chunks(number as u32));
                }
            }
        }
        Ok(found)
    }

    fn words<'w>(&self, words: impl Iterator<Item = &'w str>) -> Result<Found, Error> {
        let mut all = None;
        for word in words {
            all = both(all, Some(self.word(word)?));
        }
        Ok(all)
    }

    fn text(&self, text: &Text) -> Result<Found, Error> {
        match text {
            Text::Phrase { tokens, .. } => self.words(tokens.iter().map(String::as_str)),
            Text::Part(glob) => {
                let mut all = None;
                for literal in glob.literals() {
                    all = both(all, self.words(whole_words(&literal))?);
                }
                Ok(all)
            }
            Text::Regex(pattern) => {
                let parsed = regex_syntax::parse(pattern.as_str()).ok();
                let mut asked = 0;
                parsed.map_or(Ok(None), |hir| self.needed(&hir, &mut asked))
            }
            Text::Token(_) | Text::Substring(_) => Ok(None),
        }
    }

    /// The chunks that may hold what every match of an expression holds.
    fn needed(&self, hir: &Hir, asked: &mut usize) -> Result<Found, Error> {
        match hir.kind() {
            HirKind::Literal(literal) => {
                let Ok(text) = std::str::from_utf8(&literal.0) else { return Ok(None) };
                let folded = millrace_model::text::fold(text);
                *asked += 1;
                if *asked > MAX_WORDS { Ok(None) } else { self.words(whole_words(&folded)) }
            }
            HirKind::Capture(capture) => self.needed(&capture.sub, asked),
            HirKind::Repetition(repetition) if repetition.min > 0 => self.needed(&repetition.sub, asked),
            HirKind::Concat(parts) => {
                let mut all = None;
                for part in parts {
                    all = both(all, self.needed(part, asked)?);
                }
                Ok(all)
            }
            HirKind::Alternation(branches) => {
                let mut any = Some(self.none());
                for branch in branches {
                    any = match (any, self.needed(branch, asked)?) {
                        (Some(a), Some(b)) => Some(a.or(&b)),
                        _ => None,
                    };
                }
                Ok(any)
            }
            _ => Ok(None),
        }
    }

    fn field(&self, test: &FieldTest) -> Result<Found, Error> {
        let Predicate::Equals(literal) = &test.predicate else { return Ok(None) };
        if literal.folded.len() > terms::MAX_TEXT || literal.number.is_some_and(beyond_doubles) {
            return Ok(None);
        }
        let scopes: &[Scope] = match test.field {
            FieldRef::TraceId => return self.equal(terms::TRACE_ID, literal).map(Some),
            FieldRef::SpanId => return self.equal(terms::SPAN_ID, literal).map(Some),
            FieldRef::Attribute(_) => &[Scope::Attributes],
            FieldRef::Resource(_) => &[Scope::Resource],
            FieldRef::Any { .. } => &[Scope::Attributes, Scope::Resource],
            _ => return Ok(None),
        };
        let mut found = self.none();
        for path in test.field.paths() {
            for scope in scopes {
                let Some(key) = terms::key(*scope, path) else { return Ok(None) };
                found.or_with(&self.equal(&key, literal)?);
                if *scope == Scope::Attributes {
                    for shape in self.shard.untermed.get(path).into_iter().flatten() {
                        found.insert_range(self.shard.chunks(*shape));
                    }
                }
            }
        }
        Ok(Some(found))
    }

    /// The chunks that may hold a value under `key` that equals the literal, by the spellings that it can have.
    fn equal(&self, key: &[u8], literal: &Literal) -> Result<Bits, Error> {
        let mut found = self.none();
        let mut add = |kind: u8, text: &str| -> Result<(), Error> {
            found.or_with(&self.look_up(FieldName::Terms, &term(key, kind, text))?);
            Ok(())
        };
        for kind in *b"sfS" {
            add(kind, &literal.folded)?;
            literal.address.as_ref().map_or(Ok(()), |address| add(kind, address))?;
        }
        if matches!(literal.folded.as_str(), "true" | "false") {
            add(b'b', &literal.folded)?;
        }
        let (whole, double) = match literal.number {
            None => (None, None),
            Some(Number::Int(whole)) => (Some(whole), Some(whole as f64)),
            Some(Number::Double(value)) => {
                ((value.fract() == 0.0 && value.abs() < EXACT).then_some(value as i64), Some(value))
            }
        };
        for kind in *b"iI" {
            whole.map_or(Ok(()), |whole| add(kind, &whole.to_string()))?;
        }
        for kind in *b"dD" {
            let Some(value) = double else { break };
            add(kind, &value.to_string())?;
            // Zero is the one double that is spelled in two ways.
            if value == 0.0 {
                add(kind, &(-value).to_string())?;
            }
        }
        found.or_with(&self.in_words(key, &literal.words)?);
        Ok(found)
    }

    /// The chunks where a text under `key` that is searched by its words may match.
    fn in_words(&self, key: &[u8], text: &Text) -> Result<Bits, Error> {
        let word = |word: &str| self.look_up(FieldName::Terms, &term(key, b'W', indexed_form(word)));
        let mut found = word("")?;
        if let Text::Phrase { tokens, .. } = text {
            for token in tokens {
                if found.is_empty() {
                    break;
                }
                found = found.and(&word(token)?);
            }
        }
        Ok(found)
    }
}

/// Several whole numbers may equal such a double.
fn beyond_doubles(number: Number) -> bool {
    matches!(number, Number::Double(value) if value.abs() >= EXACT)
}
