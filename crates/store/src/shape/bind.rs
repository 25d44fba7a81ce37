//! From a record to the values of a shape's slots: does the record have this shape, and if so, which values?
//!
//! Every value that is not stored is compared with what reading would give, so a shape that fits is exact.

use super::{
    Body, Mask, Named, Place, Read, SeverityNumber, SeverityText, Shape, Stamp, key::MAX_DEPTH,
    make::CutLine, read, value_bytes,
};
use crate::strings::Strings;
use millrace_model::{Attributes, LogRecord, Timestamp, Value};
use std::io::Write;

/// The values of the slots of one record, in order: its line's variables are stretches of the line, the others are
/// written out.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    own: Vec<u8>,
    ends: Vec<u32>,
}

impl Bound {
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.own);
        self.ends.push(self.own.len() as u32);
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.push(|own| own.extend_from_slice(bytes));
    }

    /// Appends the value of each slot.
    pub(crate) fn put(&self, shape: &Shape, line: CutLine<'_>, values: &mut Strings) {
        if let Body::Text(mask) = &shape.body {
            for (variable, range) in line.variables.iter().enumerate() {
                if mask.slot(variable).is_some() {
                    values.push(&line.text.as_bytes()[range.start as usize..range.end as usize]);
                }
            }
        }
        let mut start = 0;
        for end in &self.ends {
            values.push(&self.own[start..*end as usize]);
            start = *end as usize;
        }
    }
}

struct Binding<'a> {
    mask: Option<&'a Mask>,
    line: CutLine<'a>,
    bound: &'a mut Bound,
}

impl Shape {
    /// Does the record have this shape? Then `bound` has the values of its slots. `time` is the row's; `line` is the
    /// record's body, cut by the shape's mask (the caller sees to that).
    pub(crate) fn bind(
        &self,
        record: &LogRecord,
        time: Timestamp,
        line: CutLine<'_>,
        bound: &mut Bound,
    ) -> bool {
        bound.own.clear();
        bound.ends.clear();
        let mut binding = Binding { mask: None, line, bound };
        binding.shape(self, record, time)
    }
}

/// Does a value stand at this place of a line?
pub(super) fn fits(mask: &Mask, line: CutLine<'_>, place: &Place, value: &Value, bound: &mut Bound) -> bool {
    Binding { mask: Some(mask), line, bound }.place(place, value, MAX_DEPTH)
}

impl<'a> Binding<'a> {
    fn shape(&mut self, shape: &'a Shape, record: &LogRecord, time: Timestamp) -> bool {
        let own_time = record.timestamp.unwrap_or(time);
        let body = match (&shape.body, &record.body) {
            (Body::Absent, Value::Null) => true,
            (Body::Text(mask), Value::String(_)) => {
                self.mask = Some(mask);
                mask.time.is_none_or(|(variable, format)| {
                    let text = self.line.variable(variable);
                    record.timestamp.is_some() && crate::time_text::spells(text, format, own_time)
                })
            }
            (Body::Bytes(_), Value::Bytes(bytes)) => {
                self.bound.push_bytes(bytes);
                true
            }
            // A body is asked for as a whole.
            (Body::Value(place), value) => self.place(place, value, MAX_DEPTH),
            _ => false,
        };
        body && match (shape.timestamp, record.timestamp) {
            (Stamp::Absent, None) => true,
            (Stamp::Row, Some(own)) => own == time,
            (Stamp::Own(_), Some(own)) => {
                self.number(own.0);
                true
            }
            _ => false,
        } && self.level(shape, record)
            && self.id(shape.trace_id.as_ref(), record.trace_id.as_ref().map(<[u8; 16]>::as_slice))
            && self.id(shape.span_id.as_ref(), record.span_id.as_ref().map(<[u8; 8]>::as_slice))
            && match &shape.attributes {
                Named::Each(entries) => self.entries(entries, &record.attributes, 0),
                Named::Whole(_) => {
                    self.bound.push(|own| value_bytes::put_attributes(own, &record.attributes));
                    true
                }
            }
    }

    fn number(&mut self, number: i64) {
        // Writing to memory does not fail.
        self.bound.push(|own| drop(write!(own, "{number}")));
    }

    fn level(&mut self, shape: &'a Shape, record: &LogRecord) -> bool {
        let text = &record.severity_text;
        let same = match &shape.severity_text {
            SeverityText::Constant(constant) => constant == text,
            SeverityText::At(place) => self.text(place, text, false),
        };
        same && match shape.severity_number {
            SeverityNumber::Constant(number) => number == record.severity.number(),
            SeverityNumber::FromText => read::severity_of(SeverityNumber::FromText, text) == record.severity,
        }
    }

    fn id(&mut self, place: Option<&'a Place>, id: Option<&[u8]>) -> bool {
        match (place, id) {
            (None, None) => true,
            (Some(Place::Own { .. }), Some(id)) => {
                self.bound.push(|own| id.iter().for_each(|byte| drop(write!(own, "{byte:02x}"))));
                true
            }
            (Some(Place::Part { part, .. }), Some(id)) => {
                let raw = self.mask.map_or(&[][..], |mask| self.line.part(mask, part));
                raw.len() == 2 * id.len()
                    && raw
                        .chunks_exact(2)
                        .zip(id)
                        .all(|(pair, byte)| read::unhex_id::<1>(pair) == Some([*byte]))
            }
            _ => false,
        }
    }

    fn entries(&mut self, entries: &'a [(String, Place)], attributes: &Attributes, depth: usize) -> bool {
        entries.len() == attributes.len()
            && entries
                .iter()
                .zip(attributes.iter())
                .all(|((name, place), (key, value))| name == key && self.place(place, value, depth + 1))
    }

    /// A text, searched by its words or not.
    fn text(&mut self, place: &'a Place, text: &str, words: bool) -> bool {
        let (plain, json) =
            if words { (Read::Words, Read::JsonWords) } else { (Read::Text, Read::JsonString) };
        match place {
            Place::Own { read, .. } if *read == plain => {
                self.bound.push_bytes(text.as_bytes());
                true
            }
            Place::Part { part, read } => {
                let raw = self.mask.map_or(&[][..], |mask| self.line.part(mask, part));
                match read {
                    read if *read == plain => raw == text.as_bytes(),
                    read if *read != json => false,
                    _ if memchr::memchr(b'\\', raw).is_none() => raw == text.as_bytes(),
                    _ => std::str::from_utf8(raw)
                        .ok()
                        .and_then(millrace_template::unescape)
                        .is_some_and(|unescaped| unescaped == text),
                }
            }
            _ => false,
        }
    }

    /// `depth`: how many names lead to it.
    fn place(&mut self, place: &'a Place, value: &Value, depth: usize) -> bool {
        match (place, value) {
            (Place::Null, Value::Null) => true,
            (Place::Map(entries), Value::Map(map)) => self.entries(entries, map, depth),
            // What is inside has places and terms of its own, but where it lies too deep for that.
            (_, Value::Map(_)) if depth < MAX_DEPTH => false,
            // What is there is told by the shape alone, so nothing has no place here.
            (Place::Own { read: Read::Blob, .. }, value) if !matches!(value, Value::Null) => {
                self.bound.push(|own| value_bytes::put(own, value));
                true
            }
            (_, Value::String(text)) => self.text(place, text, false),
            (_, Value::Text(text)) => self.text(place, text, true),
            (Place::Own { read: Read::Int, .. }, Value::Int(number)) => {
                self.number(*number);
                true
            }
            (Place::Own { read: Read::Double, .. }, Value::Double(number)) => {
                self.bound.push(|own| read::write_double(*number, own));
                true
            }
            (Place::Own { read: Read::Bool, .. }, Value::Bool(flag)) => {
                self.bound.push_bytes(if *flag { b"true" } else { b"false" });
                true
            }
            (Place::Own { read: Read::Bytes, .. }, Value::Bytes(bytes)) => {
                self.bound.push_bytes(bytes);
                true
            }
            (Place::Part { part, read }, value) => {
                let raw = self.mask.map_or(&[][..], |mask| self.line.part(mask, part));
                match (read, value) {
                    (Read::Int | Read::JsonBare, Value::Int(number))
                        if read::canonical(raw) == Some(*number) =>
                    {
                        true
                    }
                    (Read::JsonBare, value) => {
                        read::read_value(*read, raw).is_ok_and(|read| value_bytes::same(&read, value))
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }
}
