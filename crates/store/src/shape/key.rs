//! A shape as bytes and back. Slots are not named in it: they are numbered in the order in which they are met.

use super::{Body, MAX_SLOTS, Mask, Named, Place, Read, SeverityNumber, SeverityText, Shape, Stamp};
use crate::{
    bytes::{Malformed, Reader, put_bytes, put_number},
    time_text::TimeFormat,
};

/// Maps nested deeper in a shape are refused; deeper values are kept in one slot.
pub(super) const MAX_DEPTH: usize = 16;

const FROM_TEXT: u8 = 255;
/// The tags of places: the kinds of [`Read`] are added to the last two.
const NULL: u8 = 0;
const MAP: u8 = 1;
const OWN: u8 = 32;
const PART: u8 = 64;

impl Shape {
    /// Numbers the slots and spells the key. Slots in `parts` need not be right.
    pub(super) fn build(
        body: &Body,
        timestamp: Stamp,
        severity: (&SeverityText, SeverityNumber),
        ids: [Option<&Place>; 2],
        attributes: &Named,
    ) -> Result<Self, Malformed> {
        let mut key = Vec::with_capacity(256);
        match body {
            Body::Absent => key.push(0),
            Body::Text(mask) => {
                key.push(1);
                put_bytes(&mut key, &mask.text);
                match mask.time {
                    None => key.push(0),
                    Some((variable, format)) => {
                        put_number(&mut key, variable as u64 + 1);
                        format.write_key(&mut key);
                    }
                }
            }
            Body::Bytes(_) => key.push(2),
            Body::Value(place) => {
                key.push(3);
                put_place(&mut key, place);
            }
        }
        key.push(match timestamp {
            Stamp::Absent => 0,
            Stamp::Row => 1,
            Stamp::Own(_) => 2,
        });
        match severity.0 {
            SeverityText::Constant(text) => {
                key.push(0);
                put_bytes(&mut key, text.as_bytes());
            }
            SeverityText::At(place) => {
                key.push(1);
                put_place(&mut key, place);
            }
        }
        key.push(match severity.1 {
            SeverityNumber::Constant(number) => number,
            SeverityNumber::FromText => FROM_TEXT,
        });
        for id in ids {
            match id {
                None => key.push(0),
                Some(place) => {
                    key.push(1);
                    put_place(&mut key, place);
                }
            }
        }
        match attributes {
            Named::Whole(_) => key.push(0),
            Named::Each(entries) => {
                key.push(1);
                put_entries(&mut key, entries);
            }
        }
        Self::read_key(&key)
    }

    /// Reads what [`Self::key`] spells. Everything in it is checked.
    pub(crate) fn read_key(key: &[u8]) -> Result<Self, Malformed> {
        let mut reader = KeyReader { reader: Reader::new(key), mask: None, slots: 0 };
        let body = reader.body()?;
        if let Body::Text(mask) = &body {
            reader.mask = Some(mask.clone());
        }
        let timestamp = match reader.reader.byte()? {
            0 => Stamp::Absent,
            1 => Stamp::Row,
            2 => Stamp::Own(reader.slot()?),
            _ => return Err(Malformed("where a time comes from expected")),
        };
        let severity_text = match reader.reader.byte()? {
            0 => SeverityText::Constant(reader.reader.text()?.to_owned()),
            1 => SeverityText::At(reader.place(0)?),
            _ => return Err(Malformed("where a level comes from expected")),
        };
        let severity_number = match reader.reader.byte()? {
            FROM_TEXT => SeverityNumber::FromText,
            number @ 0..=24 => SeverityNumber::Constant(number),
            _ => return Err(Malformed("a severity number expected")),
        };
        let trace_id = reader.optional()?;
        let span_id = reader.optional()?;
        let attributes = match reader.reader.byte()? {
            0 => Named::Whole(reader.slot()?),
            1 => Named::Each(reader.entries(0)?),
            _ => return Err(Malformed("attributes expected")),
        };
        if !reader.reader.is_empty() {
            return Err(Malformed("nothing more expected after a shape"));
        }
        let slots = reader.slots;
        Ok(Self {
            body,
            timestamp,
            severity_text,
            severity_number,
            trace_id,
            span_id,
            attributes,
            slots,
            key: key.into(),
        })
    }
}

fn put_entries(key: &mut Vec<u8>, entries: &[(String, Place)]) {
    put_number(key, entries.len() as u64);
    for (name, place) in entries {
        put_bytes(key, name.as_bytes());
        put_place(key, place);
    }
}

fn put_place(key: &mut Vec<u8>, place: &Place) {
    match place {
        Place::Null => key.push(NULL),
        Place::Map(entries) => {
            key.push(MAP);
            put_entries(key, entries);
        }
        Place::Own { read, .. } => key.push(OWN + *read as u8),
        Place::Part { part, read } => {
            key.push(PART + *read as u8);
            put_number(key, part.mask.start as u64);
            put_number(key, part.mask.end as u64);
        }
    }
}

struct KeyReader<'a> {
    reader: Reader<'a>,
    mask: Option<Mask>,
    slots: usize,
}

impl KeyReader<'_> {
    fn slot(&mut self) -> Result<usize, Malformed> {
        self.slots += 1;
        if self.slots > MAX_SLOTS { Err(Malformed("fewer slots expected")) } else { Ok(self.slots - 1) }
    }

    fn body(&mut self) -> Result<Body, Malformed> {
        match self.reader.byte()? {
            0 => Ok(Body::Absent),
            1 => {
                let text = self.reader.bytes()?;
                if std::str::from_utf8(text).is_err() {
                    return Err(Malformed("a mask that is text expected"));
                }
                let variables = memchr::memchr_iter(0, text).count();
                let time = match self.reader.below(variables + 1)? {
                    0 => None,
                    variable => Some((variable - 1, TimeFormat::read_key(&mut self.reader)?)),
                };
                let mask = Mask::new(text, time);
                self.slots = mask.slots();
                if self.slots > MAX_SLOTS {
                    Err(Malformed("fewer slots expected"))
                } else {
                    Ok(Body::Text(mask))
                }
            }
            2 => Ok(Body::Bytes(self.slot()?)),
            3 => Ok(Body::Value(self.place(0)?)),
            _ => Err(Malformed("a body expected")),
        }
    }

    fn optional(&mut self) -> Result<Option<Place>, Malformed> {
        match self.reader.byte()? {
            0 => Ok(None),
            1 => self.place(0).map(Some),
            _ => Err(Malformed("a place or none expected")),
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<(String, Place)>, Malformed> {
        let count = self.reader.count()?;
        (0..count).map(|_| Ok((self.reader.text()?.to_owned(), self.place(depth + 1)?))).collect()
    }

    fn place(&mut self, depth: usize) -> Result<Place, Malformed> {
        if depth > MAX_DEPTH + 1 {
            return Err(Malformed("a shape that is not nested so deep expected"));
        }
        let read =
            |tag: u8| Read::ALL.get(usize::from(tag)).copied().ok_or(Malformed("a kind of value expected"));
        match self.reader.byte()? {
            NULL => Ok(Place::Null),
            MAP => Ok(Place::Map(self.entries(depth)?)),
            tag if tag >= PART => {
                let mask = self.mask.as_ref().ok_or(Malformed("a part of a line without a line"))?;
                let end = mask.text.len() + 1;
                let (from, to) = (self.reader.below(end)?, self.reader.below(end)?);
                if from > to {
                    return Err(Malformed("a part that ends after its start expected"));
                }
                Ok(Place::Part { part: mask.part(from..to), read: read(tag - PART)? })
            }
            tag if tag >= OWN => Ok(Place::Own { read: read(tag - OWN)?, slot: self.slot()? }),
            _ => Err(Malformed("a place expected")),
        }
    }
}
