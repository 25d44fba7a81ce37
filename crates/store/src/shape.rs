//! Shapes: what is the same in many records, and where each of them differs. A record is its shape, the values of the
//! shape's slots, and what its row says (times, id, resource).
//!
//! The line comes first: its mask ([`millrace_template`]) is constant, its variables are slots. What a parser read out
//! of the line is not stored a second time: a [`Place::Part`] says which stretch of the line an attribute, the level or
//! a trace id is, and how it is read. What the line does not hold has a slot of its own.
//!
//! A shape knows nothing of rows, chunks or files. **Invariant:** [`Shape::bind`] accepts a record only if
//! [`Shape::record`] gives exactly that record back.

mod bind;
mod key;
mod make;
mod read;
#[cfg(test)]
mod tests;
mod value_bytes;

pub(crate) use self::{
    bind::Bound,
    make::CutLine,
    read::{Line, RowFacts, Slots, read_value, severity_of},
    value_bytes::{put as put_value, put_attributes, read_attributes, read_attributes_from},
};
use crate::time_text::TimeFormat;
#[cfg(doc)]
use millrace_model::FieldRef;
use millrace_model::{Attributes, Timestamp, fields};
use std::ops::Range;

/// A record of a shape has at most so many slots; one that would need more is kept whole.
pub(crate) const MAX_SLOTS: usize = 512;
/// The longest key of a shape, in bytes; a record that would need more is kept whole.
pub(crate) const MAX_KEY: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) body: Body,
    pub(crate) timestamp: Stamp,
    pub(crate) severity_text: SeverityText,
    pub(crate) severity_number: SeverityNumber,
    pub(crate) trace_id: Option<Place>,
    pub(crate) span_id: Option<Place>,
    pub(crate) attributes: Named,
    /// How many slots it has: those of the line first, then the others in the order of the fields above.
    slots: usize,
    /// Everything above, spelled: two shapes are one when their keys are.
    key: Box<[u8]>,
}

/// What the body is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// There is none.
    Absent,
    /// A line.
    Text(Mask),
    /// Bytes that are not text: one slot.
    Bytes(usize),
    /// Any other value.
    Value(Place),
}

/// A line's constant text and its variables.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mask {
    /// The line with a zero for each variable.
    pub(crate) text: Box<[u8]>,
    /// Where the zeros are.
    pub(crate) variables: Box<[u32]>,
    /// The variable that is the record's own time, which no slot holds.
    pub(crate) time: Option<(usize, TimeFormat)>,
}

/// Where a record's own time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// It has none.
    Absent,
    /// It is the row's.
    Row,
    /// Nanoseconds in decimals.
    Own(usize),
}

/// Where the level's text comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SeverityText {
    Constant(String),
    At(Place),
}

/// Where the severity's number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeverityNumber {
    Constant(u8),
    /// It is the one that the text names; 0 where it names none.
    FromText,
}

/// Named values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Named {
    /// Each by its name.
    Each(Vec<(String, Place)>),
    /// All of them in one slot.
    Whole(usize),
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    Null,
    Map(Vec<(String, Place)>),
    /// In a slot of its own.
    Own {
        slot: usize,
        read: Read,
    },
    /// In the line.
    Part {
        part: Part,
        read: Read,
    },
}

/// A stretch of a line, by its mask. It cuts no variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Bytes of the mask.
    pub(crate) mask: Range<usize>,
    /// The variables inside.
    pub(crate) variables: Range<usize>,
}

/// How text becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Read {
    /// As it is.
    Text,
    /// Bytes that need not be text.
    Bytes,
    /// A whole number in decimals.
    Int,
    /// A number as Rust prints it, or `#` and its bits in hexadecimal.
    Double,
    /// `true` or `false`.
    Bool,
    /// Any value, as [`value_bytes`] spells it.
    Blob,
    /// The inside of a JSON string.
    JsonString,
    /// Any other JSON value.
    JsonBare,
    /// Hexadecimal digits of an id, in any case.
    Hex,
    /// As it is, searched by its words.
    Words,
    /// The inside of a JSON string, searched by its words.
    JsonWords,
}

impl Read {
    const ALL: [Self; 11] = [
        Self::Text,
        Self::Bytes,
        Self::Int,
        Self::Double,
        Self::Bool,
        Self::Blob,
        Self::JsonString,
        Self::JsonBare,
        Self::Hex,
        Self::Words,
        Self::JsonWords,
    ];
}

impl Mask {
    pub(crate) fn new(text: &[u8], time: Option<(usize, TimeFormat)>) -> Self {
        Self {
            text: text.into(),
            variables: memchr::memchr_iter(0, text).map(|at| at as u32).collect(),
            time,
        }
    }

    /// The slot that holds a variable; `None` for the time.
    pub(crate) fn slot(&self, variable: usize) -> Option<usize> {
        match self.time {
            Some((time, _)) if variable == time => None,
            Some((time, _)) if variable > time => Some(variable - 1),
            _ => Some(variable),
        }
    }

    /// How many slots the line has.
    pub(crate) fn slots(&self) -> usize {
        self.variables.len() - usize::from(self.time.is_some())
    }

    /// How many bytes of a line are in no slot: constant text, and the record's own time.
    pub(crate) fn constant_length(&self, time: Timestamp) -> usize {
        let spelled = self.time.map_or(0, |(_, format)| format.length(time));
        self.text.len() - self.variables.len() + spelled
    }

    /// The stretch between two places of the mask.
    pub(crate) fn part(&self, mask: Range<usize>) -> Part {
        let before = |end: usize| self.variables.partition_point(|at| (*at as usize) < end);
        Part { variables: before(mask.start)..before(mask.end), mask }
    }

    /// Where a stretch lies in a line whose variables are given.
    pub(crate) fn find(&self, part: &Part, variables: &[Range<u32>]) -> Range<usize> {
        let offset = |at: usize, before: usize| match before.checked_sub(1) {
            None => at,
            Some(last) => {
                variables.get(last).map_or(0, |range| range.end as usize) + at
                    - self.variables.get(last).map_or(0, |at| *at as usize)
                    - 1
            }
        };
        offset(part.mask.start, part.variables.start)..offset(part.mask.end, part.variables.end)
    }

    /// The constant texts in order, with what stands between them left out.
    pub(crate) fn constants(&self) -> impl Iterator<Item = &str> {
        // The mask of a text is text: a zero never stands inside of a character.
        self.text.split(|byte| *byte == 0).map(|piece| std::str::from_utf8(piece).unwrap_or_default())
    }
}

impl Part {
    /// The one variable that the stretch is, if it is just that.
    pub(crate) fn single(&self) -> Option<usize> {
        (self.mask.len() == 1 && self.variables.len() == 1).then_some(self.variables.start)
    }
}

impl Named {
    /// The place of what [`Attributes::at`] finds under a dotted path. `Err` where only the values can say.
    pub(crate) fn at(&self, path: &str) -> Result<Option<&Place>, Unclear> {
        match self {
            Self::Each(entries) => at(entries, path),
            Self::Whole(_) => Err(Unclear),
        }
    }

    /// Calls `visit` with every place and its dotted path, maps included.
    pub(crate) fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, &'a Place)) {
        fn walk<'a>(
            prefix: &mut String,
            entries: &'a [(String, Place)],
            visit: &mut dyn FnMut(&str, &'a Place),
        ) {
            let length = prefix.len();
            for (name, place) in entries {
                prefix.push_str(name);
                visit(prefix, place);
                if let Place::Map(inner) = place {
                    prefix.push('.');
                    walk(prefix, inner, visit);
                }
                prefix.truncate(length);
            }
        }
        if let Self::Each(entries) = self {
            walk(&mut String::new(), entries, visit);
        }
    }
}

/// The shape does not say where a value is: what is in a slot may be a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unclear;

impl Place {
    /// Is it for values of any kind, maps among them?
    fn may_be_a_map(&self) -> bool {
        let (Self::Own { read, .. } | Self::Part { read, .. }) = self else { return false };
        matches!(read, Read::Blob | Read::JsonBare)
    }
}

/// As [`Attributes::at`] looks a path up.
fn at<'a>(entries: &'a [(String, Place)], path: &str) -> Result<Option<&'a Place>, Unclear> {
    let get = |key: &str| entries.iter().rev().find(|(existing, _)| existing == key).map(|(_, place)| place);
    if let Some(place) = get(path) {
        return Ok(Some(place));
    }
    let mut end = path.len();
    while let Some(dot) = path[..end].rfind('.') {
        match get(&path[..dot]) {
            Some(Place::Map(inner)) => {
                if let Some(place) = at(inner, &path[dot + 1..])? {
                    return Ok(Some(place));
                }
            }
            Some(place) if place.may_be_a_map() => return Err(Unclear),
            _ => {}
        }
        end = dot;
    }
    Ok(None)
}

impl Shape {
    /// How many slots a record of this shape fills.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// The shape, spelled.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The slot that holds the raw value of a place, where it is just one slot.
    pub(crate) fn slot_of(&self, place: &Place) -> Option<(usize, Read)> {
        match place {
            Place::Own { slot, read } => Some((*slot, *read)),
            Place::Part { part, read } => Some((self.mask()?.slot(part.single()?)?, *read)),
            Place::Null | Place::Map(_) => None,
        }
    }

    /// What [`FieldRef::AttributeNames`] says of its records; `None`: they differ in that.
    pub(crate) fn attribute_names(&self) -> Option<String> {
        match &self.attributes {
            Named::Each(places) => Some(fields::names(places.iter().map(|(name, _)| name.as_str()))),
            Named::Whole(_) => None,
        }
    }

    /// The line's mask, where the body is a line.
    pub(crate) fn mask(&self) -> Option<&Mask> {
        match &self.body {
            Body::Text(mask) => Some(mask),
            _ => None,
        }
    }
}

/// Are two sets of named values the same, bit for bit? (Doubles that are no numbers do not equal themselves.)
pub(crate) fn same_attributes(a: &Attributes, b: &Attributes) -> bool {
    a.len() == b.len()
        && a.iter().zip(b.iter()).all(|((ka, va), (kb, vb))| ka == kb && value_bytes::same(va, vb))
}
