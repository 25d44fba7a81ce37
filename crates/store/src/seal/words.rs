//! What a chunk's document holds: the words of its lines and the terms of its records.

use crate::{
    bytes::Malformed,
    chunks::ColumnSlots,
    column::Coded,
    index::{FieldName, TermSet},
    plan::Origin,
    shape::{Body, Line, Mask, Named, Place, SeverityText, Shape, read_value, severity_of},
    terms::{self, Scope},
};
use millrace_filter::value_text;
use millrace_model::{Attributes, Value, text};
use std::collections::BTreeSet;

/// Collects words and terms, chunk by chunk.
pub(super) struct Words {
    pub(super) set: TermSet,
    /// Spelled once for each origin.
    resources: Vec<Option<Vec<Vec<u8>>>>,
    word: String,
}

impl Words {
    pub(super) fn new(seed: u64) -> Self {
        Self { set: TermSet::new(seed), resources: Vec::new(), word: String::new() }
    }

    /// Adds a chunk: all of its columns, and the origins of its rows.
    pub(super) fn add_chunk(
        &mut self,
        shape: &Shape,
        columns: &[Coded],
        rows: usize,
        origins: &BTreeSet<u32>,
        all_origins: &[Origin],
    ) -> Result<(), Malformed> {
        match &shape.body {
            Body::Absent => {}
            Body::Text(mask) => {
                self.term(terms::BODY);
                self.line(mask, columns);
            }
            Body::Bytes(slot) => {
                self.term(terms::BODY);
                self.each_distinct(columns, *slot, |words, raw| {
                    words.text(&String::from_utf8_lossy(raw));
                    Ok(())
                })?;
            }
            Body::Value(place) => {
                self.term(terms::BODY);
                for row in 0..rows {
                    let slots = ColumnSlots { columns, row };
                    let mut line = Line::default();
                    let value =
                        shape.reading(millrace_model::Timestamp(0), &slots, &mut line).value(place)?;
                    self.text(&value_text(&value));
                }
            }
        }
        self.level(shape, columns)?;
        for (key, place) in [(terms::TRACE_ID, &shape.trace_id), (terms::SPAN_ID, &shape.span_id)] {
            if let Some((slot, _)) = place.as_ref().and_then(|place| shape.slot_of(place)) {
                self.term(key);
                self.each_distinct(columns, slot, |words, raw| {
                    let text = String::from_utf8_lossy(raw).to_ascii_lowercase();
                    words.term(&terms::term(key, b's', &text));
                    Ok(())
                })?;
            }
        }
        match &shape.attributes {
            Named::Each(_) => self.attributes(shape, columns)?,
            Named::Whole(slot) => self.each_distinct(columns, *slot, |words, raw| {
                let attributes = crate::shape::read_attributes(raw)?;
                terms::each_of(Scope::Attributes, &attributes, &mut |term| words.term(term));
                Ok(())
            })?,
        }
        for origin in origins {
            self.resource(*origin as usize, all_origins);
        }
        self.set.end_chunk();
        Ok(())
    }

    fn term(&mut self, term: &[u8]) {
        self.set.add(FieldName::Terms, term);
    }

    fn text(&mut self, value: &str) {
        for range in text::token_ranges(value) {
            self.word.clear();
            text::fold_into(&value[range], &mut self.word);
            self.set.add(FieldName::Body, text::indexed_form(&self.word).as_bytes());
        }
    }

    /// Calls `visit` once for each value of a slot.
    fn each_distinct(
        &mut self,
        columns: &[Coded],
        slot: usize,
        mut visit: impl FnMut(&mut Self, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Some(column) = columns.get(slot) else { return Ok(()) };
        column.values.iter().try_for_each(|value| visit(self, value))
    }

    /// The words of a line but for those of its own time, which are in the times.
    fn line(&mut self, mask: &Mask, columns: &[Coded]) {
        for piece in mask.constants() {
            self.text(piece);
        }
        for slot in 0..mask.slots() {
            // Nothing in there fails.
            let added = self.each_distinct(columns, slot, |words, raw| {
                words.text(std::str::from_utf8(raw).unwrap_or_default());
                Ok(())
            });
            debug_assert!(added.is_ok());
        }
    }

    fn level(&mut self, shape: &Shape, columns: &[Coded]) -> Result<(), Malformed> {
        let spell = |text: &str| terms::level(severity_of(shape.severity_number, text), text);
        match &shape.severity_text {
            SeverityText::Constant(text) => self.term(&spell(text)),
            SeverityText::At(place) => {
                if let Some((slot, read)) = shape.slot_of(place) {
                    self.each_distinct(columns, slot, |words, raw| {
                        words.term(&spell(read_value(read, raw)?.as_str().unwrap_or_default()));
                        Ok(())
                    })?;
                }
            }
        }
        Ok(())
    }

    fn attributes(&mut self, shape: &Shape, columns: &[Coded]) -> Result<(), Malformed> {
        let mut places: Vec<(String, &Place)> = Vec::new();
        shape.attributes.each(&mut |path, place| places.push((path.to_owned(), place)));
        for (path, place) in places {
            // Of two spellings of one path only the one that a query sees has terms.
            let seen = shape.attributes.at(&path).ok().flatten();
            if !seen.is_some_and(|seen| std::ptr::eq(seen, place)) {
                continue;
            }
            let Some(key) = terms::key(Scope::Attributes, &path) else { continue };
            self.term(&key);
            match place {
                Place::Null => terms::spell(&key, &Value::Null, &mut |term| self.term(term)),
                Place::Map(_) => {
                    terms::spell(&key, &Value::Map(Attributes::new()), &mut |term| self.term(term));
                }
                // A part with constants in it is found by its words, as the line that it is in.
                place => {
                    if let Some((slot, read)) = shape.slot_of(place) {
                        self.each_distinct(columns, slot, |words, raw| {
                            let value = read_value(read, raw)?;
                            terms::spell(&key, &value, &mut |term| words.term(term));
                            Ok(())
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    fn resource(&mut self, origin: usize, all: &[Origin]) {
        if self.resources.len() <= origin {
            self.resources.resize(origin + 1, None);
        }
        let spelled = self.resources[origin].get_or_insert_with(|| {
            let mut spelled = Vec::new();
            if let Some(origin) = all.get(origin) {
                terms::each_of(Scope::Resource, &origin.resource, &mut |term| spelled.push(term.to_vec()));
            }
            spelled
        });
        for term in spelled {
            self.set.add(FieldName::Terms, term);
        }
    }
}
