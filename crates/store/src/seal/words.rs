//! What a chunk's document holds: the words of its lines and the terms of its records.

use super::row_counts::RowCounts;
use crate::{
    bytes::Malformed,
    chunks::ColumnSlots,
    column::Coded,
    index::{ChunkFacts, FieldName, TermSet},
    plan::Origin,
    shape::{Body, Line, Mask, Named, Place, SeverityText, Shape, read_value, severity_of},
    terms::{self, Scope},
    time_text::TimeFormat,
};
use millrace_filter::value_text;
use millrace_model::{Attributes, Timestamp, Value, text};
use std::collections::BTreeSet;

/// Collects words and terms, chunk by chunk.
pub(super) struct Words {
    pub(super) set: TermSet,
    /// Spelled once for each origin.
    resources: Vec<Option<Vec<Vec<u8>>>>,
    word: String,
    counts: RowCounts,
    /// Of each value of a column, how many rows have it.
    rows_of: Vec<u32>,
}

/// A chunk whose words and terms are wanted.
pub(super) struct Given<'a> {
    pub(super) shape: &'a Shape,
    pub(super) columns: &'a [Coded],
    pub(super) rows: usize,
    /// The times that the lines spell, where they do.
    pub(super) times: &'a [Timestamp],
    pub(super) origins: &'a BTreeSet<u32>,
}

impl Words {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            set: TermSet::new(seed),
            resources: Vec::new(),
            word: String::new(),
            counts: RowCounts::default(),
            rows_of: Vec::new(),
        }
    }

    /// Adds a chunk.
    pub(super) fn add_chunk(&mut self, given: &Given<'_>, all_origins: &[Origin]) -> Result<(), Malformed> {
        let Given { shape, columns, rows, times, origins } = *given;
        let mut facts = ChunkFacts { rows: rows as u32, times: None };
        match &shape.body {
            Body::Absent => {}
            Body::Text(mask) => {
                self.term(terms::BODY);
                let times = mask.time.map(|(_, format)| (format, times));
                facts.times = times
                    .and_then(|(format, times)| Some((format, (*times.iter().min()?, *times.iter().max()?))));
                self.line(mask, columns, rows, times);
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
                    let value = shape.reading(Timestamp(0), &slots, &mut line).value(place)?;
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
        self.set.end_chunk(facts);
        Ok(())
    }

    fn term(&mut self, term: &[u8]) {
        self.set.add(FieldName::Terms, term);
    }

    /// Adds a term that so many more rows have.
    fn term_of(&mut self, term: &[u8], rows: u32) {
        let met = self.set.add(FieldName::Terms, term);
        self.set.add_rows(met, rows);
    }

    fn text(&mut self, value: &str) {
        self.each_word(value, |_, _| {});
    }

    /// Adds the words of a text, and calls `visit` with which of the chunk's they are.
    fn each_word(&mut self, value: &str, visit: impl Fn(&mut RowCounts, u32)) {
        for range in text::token_ranges(value) {
            self.word.clear();
            text::fold_into(&value[range], &mut self.word);
            let met = self.set.add(FieldName::Body, text::indexed_form(&self.word).as_bytes());
            visit(&mut self.counts, met);
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

    /// The words of a line, and in how many rows each is. Those of its own time are in the times: they are only counted.
    fn line(
        &mut self,
        mask: &Mask,
        columns: &[Coded],
        rows: usize,
        times: Option<(TimeFormat, &[Timestamp])>,
    ) {
        self.counts.begin();
        for piece in mask.constants() {
            self.each_word(piece, RowCounts::add_everywhere);
        }
        for (slot, column) in columns.iter().enumerate().take(mask.slots()) {
            self.counts.begin_slot(slot);
            for raw in column.values.iter() {
                self.each_word(std::str::from_utf8(raw).unwrap_or_default(), RowCounts::add);
                self.counts.end_value();
            }
        }
        self.counts.finish(columns, rows, times, &mut self.set);
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
                        let Some(column) = columns.get(slot) else { continue };
                        self.rows_of.clear();
                        self.rows_of.resize(column.values.len(), 0);
                        column.codes.iter().for_each(|code| self.rows_of[*code as usize] += 1);
                        for (number, raw) in column.values.iter().enumerate() {
                            let value = read_value(read, raw)?;
                            let rows = self.rows_of[number];
                            // Others say something of a value beside what it is.
                            let is_whole = |term: &[u8]| terms::whole_text(&key, term).is_some();
                            terms::spell(&key, &value, &mut |term| {
                                self.term_of(term, if is_whole(term) { rows } else { 0 });
                            });
                        }
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
