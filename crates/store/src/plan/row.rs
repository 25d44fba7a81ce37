//! Carrying out a plan on one row: for hot rows, and for rows of sealed shards whose columns cannot decide.

use super::{Plan, RowTest, Test};
use crate::{
    bytes::Malformed,
    shape::{Body, Line, Read, RowFacts, Shape, Slots, read_value, severity_of},
    time_text::TimeTest,
};
use millrace_filter::{FieldTest, Text, value_text};
use millrace_model::{FieldRef, Fields, RecordId, Row, Severity, StreamName, Timestamp, ValueRef};
use std::borrow::Cow;

/// A row with the values of its slots.
pub(crate) struct RowView<'a, S> {
    pub(crate) shape: &'a Shape,
    pub(crate) slots: &'a S,
    pub(crate) facts: RowFacts<'a>,
    pub(crate) origin: usize,
    pub(crate) id: RecordId,
    pub(crate) stream: &'a StreamName,
}

impl<S: Slots> RowView<'_, S> {
    /// The row, rebuilt. `line` is scratch space.
    pub(crate) fn row(&self, line: &mut Line) -> Result<Row, Malformed> {
        let record = self.shape.record(self.slots, self.facts, line)?;
        Ok(Row { id: self.id, stream: self.stream.clone(), time: self.facts.time, record })
    }

    fn own_time(&self) -> Result<Timestamp, Malformed> {
        Ok(self.shape.own_time(self.facts.time, self.slots)?.unwrap_or(self.facts.time))
    }
}

/// Does the row match?
pub(crate) fn matches<S: Slots>(
    plan: &Plan<'_>,
    row: &RowView<'_, S>,
    line: &mut Line,
) -> Result<bool, Malformed> {
    Ok(match plan {
        Plan::Always => true,
        Plan::Never => false,
        Plan::Not(inner) => !matches(inner, row, line)?,
        Plan::All(parts) => {
            for part in parts {
                if !matches(part, row, line)? {
                    return Ok(false);
                }
            }
            true
        }
        Plan::Any(parts) => {
            for part in parts {
                if matches(part, row, line)? {
                    return Ok(true);
                }
            }
            false
        }
        Plan::Test(test) => passes(test, row, line)?,
    })
}

fn passes<S: Slots>(test: &Test<'_>, row: &RowView<'_, S>, line: &mut Line) -> Result<bool, Malformed> {
    match test {
        Test::Words { text, leaf } => {
            let slots = row.shape.mask().map_or(0, crate::shape::Mask::slots);
            Ok(row.slots.may_hold(text, *leaf) && (0..slots).any(|slot| holds(text, row.slots.slot(slot))))
        }
        Test::Body { text, .. } => body_matches(text, row, line),
        Test::Value { test, place, .. } => {
            if let Some((slot, read)) = row.shape.slot_of(place) {
                value_matches(test, row.shape, read, row.slots.slot(slot))
            } else {
                let reading = row.shape.reading(row.own_time()?, row.slots, line);
                let raw = reading.raw(place);
                let read = raw.1.ok_or(Malformed("a part of a line without a line"))?;
                value_matches(test, row.shape, read, raw.0)
            }
        }
        Test::Record { test } => {
            let placed = row.row(line)?;
            Ok(placed.placed().field(&test.field).is_some_and(|value| test.matches(&value)))
        }
        Test::Row(test) => Ok(match test {
            RowTest::Origin(passes) => passes.get(row.origin).is_some_and(|passes| *passes),
            RowTest::Time(test) => test.matches(&ValueRef::Time(row.facts.time)),
            RowTest::Observed(test) => test.matches(&ValueRef::Time(row.facts.observed)),
            RowTest::TimeWords { text, format } => TimeTest::new(text, *format).passes(row.own_time()?),
            RowTest::Id(test) => id_matches(test, row.id),
        }),
    }
}

/// Do the words of a value match?
pub(crate) fn holds(text: &Text, value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|value| text.matches(value))
}

pub(crate) fn id_matches(test: &FieldTest, id: RecordId) -> bool {
    match test.field {
        FieldRef::Position => test.matches(&ValueRef::Int(id.position as i64)),
        _ => test.matches(&ValueRef::Text(id.to_string())),
    }
}

fn body_matches<S: Slots>(text: &Text, row: &RowView<'_, S>, line: &mut Line) -> Result<bool, Malformed> {
    let body = match &row.shape.body {
        Body::Absent => Cow::Borrowed(""),
        Body::Text(mask) => {
            line.rebuild(mask, row.own_time()?, row.slots);
            Cow::Borrowed(std::str::from_utf8(&line.text).map_err(|_| Malformed("text expected"))?)
        }
        Body::Bytes(slot) => String::from_utf8_lossy(row.slots.slot(*slot)),
        Body::Value(place) => {
            let value = row.shape.reading(row.facts.time, row.slots, line).value(place)?;
            Cow::Owned(value_text(&value).into_owned())
        }
    };
    Ok(text.matches(&body))
}

/// Does a value match, given its raw bytes?
pub(crate) fn value_matches(
    test: &FieldTest,
    shape: &Shape,
    read: Read,
    raw: &[u8],
) -> Result<bool, Malformed> {
    Ok(match test.field {
        FieldRef::TraceId | FieldRef::SpanId => {
            let text =
                std::str::from_utf8(raw).map_err(|_| Malformed("hexadecimal digits of an id expected"))?;
            test.matches(&ValueRef::Text(text.to_ascii_lowercase()))
        }
        FieldRef::Level | FieldRef::SeverityNumber => {
            let value = read_value(read, raw)?;
            let text = value.as_str().unwrap_or_default();
            let severity = severity_of(shape.severity_number, text);
            if test.field == FieldRef::Level {
                let there = !text.is_empty() || severity != Severity::UNKNOWN;
                there && test.matches(&ValueRef::Level { text, severity })
            } else {
                severity != Severity::UNKNOWN && test.matches(&ValueRef::Int(severity.number().into()))
            }
        }
        _ => test.matches(&ValueRef::Value(&read_value(read, raw)?)),
    })
}
