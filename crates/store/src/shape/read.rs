//! From slots back to the record: the line first, then what was read out of it.

use super::{Body, Mask, Named, Place, Read, SeverityNumber, SeverityText, Shape, Stamp, value_bytes};
use crate::bytes::Malformed;
use millrace_filter::Text;
use millrace_model::{Attributes, LogRecord, Severity, Timestamp, Value};
use std::{borrow::Cow, ops::Range, sync::Arc};

/// The values of one record's slots. A slot that is not there is empty.
pub(crate) trait Slots {
    /// The bytes in a slot.
    fn slot(&self, number: usize) -> &[u8];

    /// May any of them hold words that match this text of the filter, its `leaf`? `false` is sure.
    fn may_hold(&self, _text: &Text, _leaf: usize) -> bool {
        true
    }
}

/// What the row says of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowFacts<'a> {
    /// Where it is sorted.
    pub(crate) time: Timestamp,
    pub(crate) observed: Timestamp,
    pub(crate) resource: &'a Arc<Attributes>,
}

/// A line, rebuilt, and where its variables are in it.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) text: Vec<u8>,
    pub(crate) variables: Vec<Range<u32>>,
}

impl Line {
    /// Writes the line of a mask. `time` is the record's own.
    pub(crate) fn rebuild(&mut self, mask: &Mask, time: Timestamp, slots: &impl Slots) {
        self.text.clear();
        self.variables.clear();
        let mut written = 0;
        for (variable, at) in mask.variables.iter().enumerate() {
            let at = *at as usize;
            self.text.extend_from_slice(&mask.text[written..at]);
            written = at + 1;
            let start = self.text.len() as u32;
            match (mask.slot(variable), mask.time) {
                (Some(slot), _) => self.text.extend_from_slice(slots.slot(slot)),
                (None, Some((_, format))) => format.write(time, &mut self.text),
                (None, None) => {}
            }
            self.variables.push(start..self.text.len() as u32);
        }
        self.text.extend_from_slice(&mask.text[written..]);
    }

    /// The bytes of a part of the line.
    pub(crate) fn part(&self, mask: &Mask, part: &super::Part) -> &[u8] {
        self.text.get(mask.find(part, &self.variables)).unwrap_or_default()
    }
}

impl Shape {
    /// The record's own time.
    pub(crate) fn own_time(
        &self,
        time: Timestamp,
        slots: &impl Slots,
    ) -> Result<Option<Timestamp>, Malformed> {
        Ok(match self.timestamp {
            Stamp::Absent => None,
            Stamp::Row => Some(time),
            Stamp::Own(slot) => Some(Timestamp(decimal(slots.slot(slot))?)),
        })
    }

    /// The record. `line` is scratch space; it holds the line afterwards, where there is one.
    pub(crate) fn record(
        &self,
        slots: &impl Slots,
        row: RowFacts<'_>,
        line: &mut Line,
    ) -> Result<LogRecord, Malformed> {
        let timestamp = self.own_time(row.time, slots)?;
        let reading = self.reading(timestamp.unwrap_or(row.time), slots, line);
        let (severity_text, severity) = reading.level()?;
        let body = match &self.body {
            Body::Absent => Value::Null,
            Body::Text(_) => Value::String(text(&reading.line.text)?.to_owned()),
            Body::Bytes(slot) => Value::Bytes(slots.slot(*slot).to_vec()),
            Body::Value(place) => reading.value(place)?,
        };
        Ok(LogRecord {
            timestamp,
            observed_timestamp: row.observed,
            severity,
            severity_text: severity_text.into_owned(),
            body,
            resource: Arc::clone(row.resource),
            attributes: match &self.attributes {
                Named::Each(entries) => reading.entries(entries)?,
                Named::Whole(slot) => value_bytes::read_attributes(slots.slot(*slot))?,
            },
            trace_id: reading.id(self.trace_id.as_ref())?,
            span_id: reading.id(self.span_id.as_ref())?,
        })
    }

    /// The values of one record, to be read one by one. Rebuilds the line.
    pub(crate) fn reading<'a, S: Slots>(
        &'a self,
        own_time: Timestamp,
        slots: &'a S,
        line: &'a mut Line,
    ) -> Reading<'a, S> {
        if let Body::Text(mask) = &self.body {
            line.rebuild(mask, own_time, slots);
        }
        Reading { shape: self, slots, line }
    }
}

/// See [`Shape::reading`].
pub(crate) struct Reading<'a, S> {
    shape: &'a Shape,
    slots: &'a S,
    pub(crate) line: &'a Line,
}

impl<S: Slots> Reading<'_, S> {
    /// The raw bytes of a place, and how they are read; not for nothing and maps.
    pub(crate) fn raw(&self, place: &Place) -> (&[u8], Option<Read>) {
        match (place, &self.shape.body) {
            (Place::Own { slot, read }, _) => (self.slots.slot(*slot), Some(*read)),
            (Place::Part { part, read }, Body::Text(mask)) => (self.line.part(mask, part), Some(*read)),
            _ => (&[], None),
        }
    }

    /// The value at a place.
    pub(crate) fn value(&self, place: &Place) -> Result<Value, Malformed> {
        match place {
            Place::Null => Ok(Value::Null),
            Place::Map(entries) => self.entries(entries).map(Value::Map),
            _ => match self.raw(place) {
                (raw, Some(read)) => read_value(read, raw),
                (_, None) => Err(Malformed("a part of a line without a line")),
            },
        }
    }

    fn entries(&self, entries: &[(String, Place)]) -> Result<Attributes, Malformed> {
        let mut attributes = Attributes::new();
        for (name, place) in entries {
            attributes.push(name.clone(), self.value(place)?);
        }
        Ok(attributes)
    }

    /// The level's text and number.
    pub(crate) fn level(&self) -> Result<(Cow<'_, str>, Severity), Malformed> {
        let text = match &self.shape.severity_text {
            SeverityText::Constant(text) => Cow::Borrowed(text.as_str()),
            SeverityText::At(place) => match self.value(place)? {
                Value::String(text) => Cow::Owned(text),
                _ => return Err(Malformed("a level that is text expected")),
            },
        };
        let severity = severity_of(self.shape.severity_number, &text);
        Ok((text, severity))
    }

    fn id<const N: usize>(&self, place: Option<&Place>) -> Result<Option<[u8; N]>, Malformed> {
        let Some(place) = place else { return Ok(None) };
        let (raw, _) = self.raw(place);
        unhex_id(raw).map(Some).ok_or(Malformed("hexadecimal digits of an id expected"))
    }
}

/// The severity that a shape gives a record whose level has this text.
pub(crate) fn severity_of(number: SeverityNumber, text: &str) -> Severity {
    match number {
        SeverityNumber::Constant(number) => Severity::from_number(number.into()),
        SeverityNumber::FromText => Severity::from_name(text).unwrap_or_default(),
    }
}

/// Reads a value out of its raw bytes.
pub(crate) fn read_value(read: Read, raw: &[u8]) -> Result<Value, Malformed> {
    Ok(match read {
        Read::Text => Value::String(text(raw)?.to_owned()),
        Read::Words => Value::Text(text(raw)?.to_owned()),
        Read::Bytes => Value::Bytes(raw.to_vec()),
        Read::Int => Value::Int(decimal(raw)?),
        Read::Double => Value::Double(double(raw).ok_or(Malformed("a number expected"))?),
        Read::Bool => Value::Bool(raw == b"true"),
        Read::Blob => value_bytes::read(raw)?,
        Read::JsonString => Value::String(json_string(raw)?),
        Read::JsonWords => Value::Text(json_string(raw)?),
        Read::JsonBare => match canonical(raw) {
            Some(number) => Value::Int(number),
            None => serde_json::from_slice(raw).map_err(|_| Malformed("a JSON value expected"))?,
        },
        Read::Hex => return Err(Malformed("an id is no value")),
    })
}

fn text(raw: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(raw).map_err(|_| Malformed("text expected"))
}

fn json_string(raw: &[u8]) -> Result<String, Malformed> {
    let unescaped = millrace_template::unescape(text(raw)?);
    Ok(unescaped.ok_or(Malformed("a JSON string expected"))?.into_owned())
}

fn decimal(raw: &[u8]) -> Result<i64, Malformed> {
    canonical(raw).ok_or(Malformed("a whole number expected"))
}

/// The whole number that is spelled exactly like this when it is printed.
pub(super) fn canonical(raw: &[u8]) -> Option<i64> {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    let plain = match digits {
        [b'0'] => digits.len() == raw.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain {
        return None;
    }
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// A double as a slot holds it.
pub(super) fn write_double(number: f64, into: &mut Vec<u8>) {
    use std::io::Write;
    let written =
        if number.is_nan() { write!(into, "#{:016x}", number.to_bits()) } else { write!(into, "{number:?}") };
    debug_assert!(written.is_ok(), "writing to memory does not fail");
}

fn double(raw: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(raw).ok()?;
    match text.strip_prefix('#') {
        Some(bits) => u64::from_str_radix(bits, 16).ok().map(f64::from_bits),
        None => text.parse().ok(),
    }
}

/// An id out of its hexadecimal digits, in any case.
pub(super) fn unhex_id<const N: usize>(raw: &[u8]) -> Option<[u8; N]> {
    if raw.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut id = [0; N];
    for (byte, pair) in id.iter_mut().zip(raw.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(id)
}
