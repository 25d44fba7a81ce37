//! `field:value` by direct look-ups, so that a field with a million values costs no more than one with two. It follows
//! what `filter` says equality means: texts in folded case, numbers by value, any element of an array.

use super::{Lowered, Lowering, Result, index::Index};
use crate::{documents::Documents, terms::term};
use millrace_filter::{Literal, Number};
use tantivy::schema::Field;

/// Whole numbers below this in size are told apart by a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The terms of one field, joined as they are found.
struct Found<'a> {
    index: &'a Index<'a>,
    field: Field,
    key: &'a [u8],
    documents: Documents,
}

impl Found<'_> {
    fn add(&mut self, kind: u8, text: &str) -> Result<()> {
        let found = self.index.with(self.field, &term(self.key, kind, text))?;
        self.documents = std::mem::replace(&mut self.documents, Documents::none(0)).or(&found);
        Ok(())
    }

    /// A scalar, or an element of an array.
    fn add_number(&mut self, number: Number, [int, double]: [u8; 2]) -> Result<()> {
        match number {
            Number::Int(whole) => {
                self.add(int, &whole.to_string())?;
                self.add_double(whole as f64, double)
            }
            Number::Double(value) => {
                if value.fract() == 0.0 && value.abs() < EXACT {
                    self.add(int, &(value as i64).to_string())?;
                }
                self.add_double(value, double)
            }
        }
    }

    fn add_double(&mut self, value: f64, kind: u8) -> Result<()> {
        self.add(kind, &value.to_string())?;
        // Zero is the one double that is spelled in two ways.
        if value == 0.0 { self.add(kind, &(-value).to_string()) } else { Ok(()) }
    }
}

impl Lowering<'_> {
    /// The documents whose value under `key` equals a literal of no more than [`crate::terms::MAX_TEXT`] folded bytes.
    pub(super) fn equal(&self, key: &[u8], literal: &Literal) -> Result<Lowered> {
        let field = self.shard.layout.terms;
        let mut found = Found { index: &self.index, field, key, documents: self.index.none() };
        for kind in *b"sfbS" {
            found.add(kind, &literal.folded)?;
        }
        if let Some(number) = literal.number {
            found.add_number(number, *b"id")?;
            found.add_number(number, *b"ID")?;
        }
        let mut open = self.index.none();
        // Values that are too long for a term, and arrays that hold one.
        for kind in *b"co" {
            open = open.or(&self.index.scan(field, &term(key, kind, ""), |_| None)?.possible);
        }
        if literal.number.is_some_and(beyond_doubles) {
            for kind in *b"iI" {
                open = open.or(&self.index.scan(field, &term(key, kind, ""), |_| None)?.possible);
            }
        }
        Ok(Lowered { possible: open.or(&found.documents), sure: found.documents })
    }
}

/// Several whole numbers may equal such a double.
fn beyond_doubles(number: Number) -> bool {
    matches!(number, Number::Double(value) if value.abs() >= EXACT)
}
