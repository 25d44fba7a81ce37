//! A shape for a record that none fits: what of it stands in its line, and what needs a slot of its own.

use super::{
    Body, Bound, MAX_KEY, MAX_SLOTS, Mask, Named, Part, Place, Read, SeverityNumber, SeverityText, Shape,
    Stamp, key::MAX_DEPTH, read,
};
use crate::{bytes::Malformed, time_text::TimeFormat};
use millrace_model::{Attributes, LogRecord, Timestamp, Value};
use millrace_template::{FREE_TEXT, Leaf, LeafKind, json_leaves};
use std::ops::Range;

/// A line and its variables.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CutLine<'a> {
    pub(crate) text: &'a str,
    pub(crate) variables: &'a [Range<u32>],
}

impl<'a> CutLine<'a> {
    /// A variable's text.
    pub(super) fn variable(self, number: usize) -> &'a [u8] {
        self.variables
            .get(number)
            .and_then(|range| self.text.as_bytes().get(range.start as usize..range.end as usize))
            .unwrap_or_default()
    }

    /// The text of a part.
    pub(super) fn part(self, mask: &Mask, part: &Part) -> &'a [u8] {
        self.text.as_bytes().get(mask.find(part, self.variables)).unwrap_or_default()
    }
}

/// The last segments of the names under which loggers write their level.
const LEVEL_NAMES: &[&str] =
    &["level", "severity", "severity_text", "severitytext", "levelname", "loglevel", "lvl"];
/// A level longer than this has a slot of its own where it does not stand in the line.
const MAX_LEVEL: usize = 16;
/// A text shorter than this is not looked for in a line that is no JSON: it would be found by chance.
const MIN_FOUND: usize = 2;

impl Shape {
    /// A shape for this record. `mask` is its line's, if its body is a line. Nothing that `earlier` could not find in the
    /// line is looked for there, so that the shapes of one mask are soon all known.
    pub(crate) fn of(
        record: &LogRecord,
        time: Timestamp,
        mask: &[u8],
        line: CutLine<'_>,
        earlier: Option<&Self>,
    ) -> Self {
        Self::close(record, time, mask, line, earlier)
            .ok()
            .filter(|shape| shape.slots <= MAX_SLOTS && shape.key.len() <= MAX_KEY)
            .unwrap_or_else(|| Self::loose(record, time))
    }

    /// The shape of records of this kind that fits them all: body and attributes each in one slot. Its line's mask is
    /// [`FREE_TEXT`].
    pub(crate) fn loose(record: &LogRecord, time: Timestamp) -> Self {
        let own = |read| Place::Own { slot: 0, read };
        let body = match &record.body {
            Value::Null => Body::Absent,
            Value::String(_) => Body::Text(Mask::new(FREE_TEXT, None)),
            Value::Bytes(_) => Body::Bytes(0),
            _ => Body::Value(own(Read::Blob)),
        };
        let level = if record.severity_text.is_empty() {
            SeverityText::Constant(String::new())
        } else {
            SeverityText::At(own(Read::Text))
        };
        let ids = [record.trace_id.map(|_| own(Read::Hex)), record.span_id.map(|_| own(Read::Hex))];
        let attributes = if record.attributes.is_empty() { Named::Each(Vec::new()) } else { Named::Whole(0) };
        let shape = Self::build(
            &body,
            stamp(record, time),
            (&level, SeverityNumber::Constant(record.severity.number())),
            [ids[0].as_ref(), ids[1].as_ref()],
            &attributes,
        );
        shape.unwrap_or_else(|_| Self::empty())
    }

    fn empty() -> Self {
        Self {
            body: Body::Absent,
            timestamp: Stamp::Absent,
            severity_text: SeverityText::Constant(String::new()),
            severity_number: SeverityNumber::Constant(0),
            trace_id: None,
            span_id: None,
            attributes: Named::Each(Vec::new()),
            slots: 0,
            key: Box::default(),
        }
    }

    fn close(
        record: &LogRecord,
        time: Timestamp,
        mask: &[u8],
        line: CutLine<'_>,
        earlier: Option<&Self>,
    ) -> Result<Self, Malformed> {
        let is_line = matches!(record.body, Value::String(_));
        let time_of_line = record.timestamp.filter(|_| is_line).and_then(|own| {
            (0..line.variables.len())
                .find_map(|variable| Some((variable, TimeFormat::of(line.variable(variable), own)?)))
        });
        let mask = is_line.then(|| Mask::new(mask, time_of_line));
        let leaves = mask.as_ref().and_then(|mask| json_leaves(&mask.text));
        let maker = Maker { mask: mask.as_ref(), line, leaves, earlier };
        let body = match (&mask, &record.body) {
            (Some(mask), _) => Body::Text(mask.clone()),
            (None, Value::Null) => Body::Absent,
            (None, Value::Bytes(_)) => Body::Bytes(0),
            (None, value) => Body::Value(maker.place(&mut Vec::new(), value, false)),
        };
        let (level, number) = maker.level(record);
        let trace = record.trace_id.as_ref().map(|id| maker.id(id));
        let span = record.span_id.as_ref().map(|id| maker.id(id));
        let attributes = Named::Each(maker.entries(&mut Vec::new(), &record.attributes, true));
        Self::build(
            &body,
            stamp(record, time),
            (&level, number),
            [trace.as_ref(), span.as_ref()],
            &attributes,
        )
    }
}

fn stamp(record: &LogRecord, time: Timestamp) -> Stamp {
    match record.timestamp {
        None => Stamp::Absent,
        Some(own) if own == time => Stamp::Row,
        Some(_) => Stamp::Own(0),
    }
}

struct Maker<'a> {
    mask: Option<&'a Mask>,
    line: CutLine<'a>,
    leaves: Option<Vec<Leaf>>,
    earlier: Option<&'a Shape>,
}

impl Maker<'_> {
    /// Would a record with nothing but this value read back?
    fn fits(&self, place: &Place, value: &Value) -> bool {
        let Some(mask) = self.mask else { return false };
        let mut bound = Bound::default();
        super::bind::fits(mask, self.line, place, value, &mut bound)
    }

    fn leaf(&self, path: &[&str], value: &Value) -> Option<Place> {
        let leaf = self.leaves.as_ref()?.iter().rev().find(|leaf| leaf.path == path)?;
        Some(Self::leaf_place(leaf, value))
    }

    /// The leaf, read as what the value is: a field may be declared to be something else than JSON makes of it.
    fn leaf_place(leaf: &Leaf, value: &Value) -> Place {
        let read = match (leaf.kind, value) {
            (LeafKind::String, Value::Int(_)) => Read::Int,
            (LeafKind::String, Value::Text(_)) => Read::JsonWords,
            (LeafKind::String, _) => Read::JsonString,
            (LeafKind::Bare, Value::String(_)) => Read::Text,
            (LeafKind::Bare, Value::Text(_)) => Read::Words,
            (LeafKind::Bare, _) => Read::JsonBare,
        };
        Place::Part { part: Part { mask: leaf.content.clone(), variables: leaf.variables.clone() }, read }
    }

    /// May the value at this path be looked for in the line? Not if an earlier shape of the mask had no luck.
    fn allowed(&self, path: &[&str]) -> bool {
        let Some(earlier) = self.earlier else { return true };
        let Named::Each(mut entries) = earlier.attributes.clone() else { return false };
        for (depth, name) in path.iter().enumerate() {
            match entries.into_iter().find(|(known, _)| known == name) {
                Some((_, Place::Map(inner))) if depth + 1 < path.len() => entries = inner,
                Some((_, Place::Part { .. })) => return depth + 1 == path.len(),
                // Not known to it: nothing is known against it.
                None => return true,
                _ => return false,
            }
        }
        false
    }

    fn place<'p>(&self, path: &mut Vec<&'p str>, value: &'p Value, named: bool) -> Place {
        let scalar = |read| Place::Own { slot: 0, read };
        if named && self.allowed(path) && !matches!(value, Value::Map(_)) {
            let found = match self.leaves {
                Some(_) => self.leaf(path, value),
                None => self.found(value),
            };
            if let Some(place) = found.filter(|place| self.fits(place, value)) {
                return place;
            }
        }
        match value {
            Value::Null => Place::Null,
            Value::Bool(_) => scalar(Read::Bool),
            Value::Int(_) => scalar(Read::Int),
            Value::Double(_) => scalar(Read::Double),
            Value::String(_) => scalar(Read::Text),
            Value::Text(_) => scalar(Read::Words),
            Value::Bytes(_) => scalar(Read::Bytes),
            Value::Map(map) if path.len() < MAX_DEPTH => Place::Map(self.entries(path, map, named)),
            Value::Map(_) | Value::Array(_) => scalar(Read::Blob),
        }
    }

    fn entries<'p>(&self, path: &mut Vec<&'p str>, map: &'p Attributes, named: bool) -> Vec<(String, Place)> {
        let entry = |(name, value): (&'p str, &'p Value)| {
            path.push(name);
            let place = self.place(path, value, named);
            path.pop();
            (name.to_owned(), place)
        };
        map.iter().map(entry).collect()
    }

    /// The value in a line that is no JSON: where its text stands between words.
    fn found(&self, value: &Value) -> Option<Place> {
        let (text, read) = match value {
            Value::String(text) => (std::borrow::Cow::Borrowed(text.as_str()), Read::Text),
            Value::Text(text) => (std::borrow::Cow::Borrowed(text.as_str()), Read::Words),
            Value::Int(number) => (std::borrow::Cow::Owned(number.to_string()), Read::Int),
            _ => return None,
        };
        let mask = self.mask?;
        if text.len() < MIN_FOUND {
            return None;
        }
        let line = self.line.text.as_bytes();
        let whole = |at: usize, end: usize| {
            let word = |byte: Option<&u8>| {
                byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 128)
            };
            let starts = at == 0 || !word(line.get(at)) || !word(line.get(at - 1));
            let ends = !word(line.get(end)) || !word(line.get(end - 1));
            starts && ends
        };
        memchr::memmem::find_iter(line, text.as_bytes())
            .filter(|at| whole(*at, at + text.len()))
            .find_map(|at| self.stretch(mask, at..at + text.len()))
            .map(|part| Place::Part { part, read })
    }

    /// The part of the mask that stands for these bytes of the line; `None` where a variable is cut.
    fn stretch(&self, mask: &Mask, bytes: Range<usize>) -> Option<Part> {
        let place = |at: usize, is_end: bool| {
            let before = self.line.variables.partition_point(|range| {
                if is_end {
                    (range.end as usize) <= at
                } else {
                    (range.start as usize) < at && (range.end as usize) <= at
                }
            });
            let inside = self.line.variables.get(before).is_some_and(|next| (next.start as usize) < at);
            let base = before.checked_sub(1).map_or(Some((0, 0)), |last| {
                Some((*mask.variables.get(last)? as usize + 1, self.line.variables.get(last)?.end as usize))
            })?;
            (!inside).then_some(base.0 + (at - base.1))
        };
        let part = mask.part(place(bytes.start, false)?..place(bytes.end, true)?);
        (mask.find(&part, self.line.variables) == bytes).then_some(part)
    }

    fn level(&self, record: &LogRecord) -> (SeverityText, SeverityNumber) {
        let text = &record.severity_text;
        let value = Value::String(text.clone());
        let in_line = self.leaves.as_ref().and_then(|leaves| {
            let named = |leaf: &&Leaf| {
                let last = leaf
                    .path
                    .last()
                    .map(|name| name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase());
                leaf.kind == LeafKind::String && last.is_some_and(|last| LEVEL_NAMES.contains(&last.as_str()))
            };
            leaves
                .iter()
                .filter(named)
                .map(|leaf| Self::leaf_place(leaf, &value))
                .find(|place| self.fits(place, &value))
        });
        let allowed = self
            .earlier
            .is_none_or(|earlier| matches!(earlier.severity_text, SeverityText::At(Place::Part { .. })));
        match in_line.filter(|_| allowed && !text.is_empty()) {
            Some(place) if read::severity_of(SeverityNumber::FromText, text) == record.severity => {
                (SeverityText::At(place), SeverityNumber::FromText)
            }
            Some(place) => (SeverityText::At(place), SeverityNumber::Constant(record.severity.number())),
            None if text.len() <= MAX_LEVEL => {
                (SeverityText::Constant(text.clone()), SeverityNumber::Constant(record.severity.number()))
            }
            None => (
                SeverityText::At(Place::Own { slot: 0, read: Read::Text }),
                SeverityNumber::Constant(record.severity.number()),
            ),
        }
    }

    /// An id: one variable of the line, or a slot of its own.
    fn id<const N: usize>(&self, id: &[u8; N]) -> Place {
        let here = |mask: &&Mask| {
            (0..mask.variables.len())
                .find(|variable| read::unhex_id::<N>(self.line.variable(*variable)).as_ref() == Some(id))
        };
        match self.mask.as_ref().and_then(|mask| Some((mask, here(mask)?))) {
            Some((mask, variable)) => {
                let at = mask.variables[variable] as usize;
                Place::Part { part: mask.part(at..at + 1), read: Read::Hex }
            }
            None => Place::Own { slot: 0, read: Read::Hex },
        }
    }
}
