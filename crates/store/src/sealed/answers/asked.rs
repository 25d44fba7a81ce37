//! Asking the columns of one chunk, and what rows say of its rows.

use super::{
    super::{SealedShard, reader::Reader},
    Answer, Answers,
    seams::part_of,
};
use crate::{
    Error,
    bits::Bits,
    bytes::Malformed,
    chunks::{Chunk, ChunkPlace, ColumnSlots},
    column::{Head, Needle},
    plan::{Plan, RowTest, RowView, holds, matches, value_matches},
    shape::{Body, Line, Mask, Place, RowFacts, Shape, Stamp},
    strings::Strings,
    time_text::TimeTest,
};
use millrace_filter::{FieldTest, Predicate, Text};
use millrace_model::{FieldRef, RecordId, Timestamp};
use std::{cell::OnceCell, ops::Range, rc::Rc};

/// A chunk under question.
pub(in crate::sealed) struct Asked<'a> {
    pub(in crate::sealed) number: u32,
    pub(super) place: ChunkPlace,
    pub(in crate::sealed) shape: &'a Shape,
    chunk: OnceCell<Rc<Chunk>>,
}

impl<'a> Asked<'a> {
    /// A chunk of a shard, by its number.
    pub(in crate::sealed) fn new(shard: &'a SealedShard, number: u32) -> Self {
        let place = shard.directory.chunks[number as usize];
        let shape = &shard.directory.shapes[place.shape as usize];
        Self { number, place, shape, chunk: OnceCell::new() }
    }

    /// Where its rows lie in the order of shapes and ranks.
    pub(super) fn range(&self, shard: &SealedShard) -> Range<u32> {
        let start = shard.rows_before[self.place.shape as usize] + self.place.first;
        start..start + self.place.rows
    }
}

impl<'q> Answers<'q> {
    pub(super) fn chunk<'a>(&self, asked: &'a Asked<'_>) -> Result<&'a Chunk, Error> {
        if let Some(chunk) = asked.chunk.get() {
            return Ok(chunk);
        }
        let chunk = self.reader.chunk(asked.number)?;
        Ok(asked.chunk.get_or_init(|| chunk))
    }

    pub(super) fn broken(&self) -> impl Fn(Malformed) -> Error {
        |problem| self.shard.broken(problem)
    }

    /// The rows with a word in a slot of their line.
    pub(super) fn words(&self, text: &Text, asked: &Asked<'_>) -> Result<Bits, Error> {
        let mut found = Bits::none(asked.place.rows);
        let slots = asked.shape.mask().map_or(0, Mask::slots);
        let needle = needle(text);
        let chunk = self.chunk(asked)?;
        for slot in 0..slots {
            let Some(head) = chunk.head(slot) else { continue };
            if let Some(constant) = head.constant() {
                if holds(text, constant) {
                    return Ok(Bits::all(asked.place.rows));
                }
                continue;
            }
            if !may_hold(head, text) {
                continue;
            }
            let column = chunk.column(slot)?;
            let rows = match text {
                Text::Phrase { tokens, .. } if tokens.len() == 1 => {
                    column.with_token(&tokens[0], &mut |value| holds(text, value))
                }
                _ => column.matching(needle.as_ref(), &mut |value| holds(text, value)),
            };
            found.or_with(&rows.map_err(self.broken())?);
        }
        Ok(found)
    }

    /// The rows whose body matches. Words, and parts of words, that a match holds are each looked for alone first.
    pub(super) fn body(
        &self,
        text: &Text,
        needed: &[Text],
        asked: &Asked<'_>,
        within: Option<&Bits>,
    ) -> Result<Answer, Error> {
        let Body::Text(mask) = &asked.shape.body else { return self.lines(text, asked, within) };
        if let Some(part) = part_of(text)
            && let Some(answer) = self.holding(&part, mask, asked)?
        {
            return Ok(answer);
        }
        let mut rows = within.cloned();
        for word in needed {
            let spelled = mask.time.is_some_and(|(_, format)| format.may_match(word));
            if spelled || mask.constants().any(|piece| word.matches(piece)) {
                continue;
            }
            let with = self.words(word, asked)?;
            let both = match rows {
                Some(rows) => rows.and(&with),
                None => with,
            };
            if both.is_empty() {
                return Ok(Answer::None);
            }
            rows = Some(both);
        }
        self.lines(text, asked, rows.as_ref())
    }

    /// The rows `within` whose body, rebuilt, matches.
    fn lines(&self, text: &Text, asked: &Asked<'_>, within: Option<&Bits>) -> Result<Answer, Error> {
        self.each_row_of(asked, within, |slots, own, line| {
            let body = match &asked.shape.body {
                Body::Absent => return Ok(text.matches("")),
                Body::Text(mask) => {
                    line.rebuild(mask, own, slots);
                    return Ok(holds(text, &line.text));
                }
                Body::Bytes(slot) => {
                    use crate::shape::Slots;
                    return Ok(text.matches(&String::from_utf8_lossy(slots.slot(*slot))));
                }
                Body::Value(place) => asked.shape.reading(own, slots, line).value(place)?,
            };
            Ok(text.matches(&millrace_filter::value_text(&body)))
        })
    }

    /// The rows with a matching value at a place.
    pub(super) fn value(
        &self,
        test: &FieldTest,
        place: &Place,
        asked: &Asked<'_>,
        within: Option<&Bits>,
    ) -> Result<Answer, Error> {
        let shape = asked.shape;
        let Some((slot, read)) = shape.slot_of(place) else {
            return self.each_row_of(asked, within, |slots, own, line| {
                let reading = shape.reading(own, slots, line);
                match reading.raw(place) {
                    (raw, Some(read)) => value_matches(test, shape, read, raw),
                    _ => Err(Malformed("a part of a line without a line")),
                }
            });
        };
        let chunk = self.chunk(asked)?;
        if let Some(constant) = chunk.head(slot).and_then(Head::constant) {
            let passes = value_matches(test, shape, read, constant).map_err(self.broken())?;
            return Ok(if passes { Answer::All } else { Answer::None });
        }
        let column = chunk.column(slot)?;
        let mut problem = None;
        let found = column.matching(None, &mut |raw| {
            value_matches(test, shape, read, raw).unwrap_or_else(|malformed| {
                problem = Some(malformed);
                false
            })
        });
        problem.map_or(found, Err).map(Answer::of).map_err(self.broken())
    }

    /// Where the row of an id lies in the order of shapes and ranks; looked up once, however many chunks ask.
    fn find(&self, id: RecordId) -> Result<Option<u32>, Error> {
        if let Some(place) = self.ids.borrow().get(&id) {
            return Ok(*place);
        }
        let place = match self.reader.find(id)? {
            None => None,
            Some(row) => {
                let (block, at) = Reader::place(row);
                let (shape, rank) = self.reader.rank(block, at)?;
                Some(self.shard.rows_before[shape as usize] + rank)
            }
        };
        self.ids.borrow_mut().insert(id, place);
        Ok(place)
    }

    pub(super) fn row_test(&self, test: &RowTest<'q>, asked: &Asked<'_>) -> Result<Bits, Error> {
        let range = asked.range(self.shard);
        match test {
            // An id that is asked for is looked up.
            RowTest::Id(test) if test.field == FieldRef::Id && wanted_id(test).is_some() => {
                let mut found = Bits::none(asked.place.rows);
                let place = wanted_id(test).map_or(Ok(None), |id| self.find(id))?;
                if let Some(place) = place.filter(|place| range.contains(place)) {
                    found.insert(place - range.start);
                }
                Ok(found)
            }
            RowTest::TimeWords { text, format } if matches!(asked.shape.timestamp, Stamp::Own(_)) => {
                let mut test = TimeTest::new(text, *format);
                let words = self.own_times(asked)?.into_iter().map(|time| test.passes(time));
                Ok(words.collect())
            }
            test => Ok(self.unfolded.passing(self.reader, test)?.part(range)),
        }
    }

    /// The records' own times, where they have one.
    pub(super) fn own_times(&self, asked: &Asked<'_>) -> Result<Vec<Timestamp>, Error> {
        if let Stamp::Own(slot) = asked.shape.timestamp {
            let mut texts = Strings::default();
            self.chunk(asked)?.column(slot)?.decode(&mut texts).map_err(self.broken())?;
            let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            let times: Option<Vec<Timestamp>> =
                texts.iter().map(|text| number(text).map(Timestamp)).collect();
            return times.ok_or_else(|| self.shard.broken(Malformed("times in decimals expected")));
        }
        let range = asked.range(self.shard);
        Ok(self.unfolded.times(self.reader)?[range.start as usize..range.end as usize].to_vec())
    }

    /// Asks `test` of each row `within`, with its values and its own time. Columns are unpacked whole.
    fn each_row_of(
        &self,
        asked: &Asked<'_>,
        within: Option<&Bits>,
        mut test: impl FnMut(&ColumnSlots<'_, Strings>, Timestamp, &mut Line) -> Result<bool, Malformed>,
    ) -> Result<Answer, Error> {
        let columns = self.chunk(asked)?.decode()?;
        let needs_time = asked.shape.mask().is_some_and(|mask| mask.time.is_some());
        let times = if needs_time { self.own_times(asked)? } else { Vec::new() };
        self.reader.unpacked(columns.iter().map(Strings::byte_len).sum());
        let mut found = Bits::none(asked.place.rows);
        let mut line = Line::default();
        for row in 0..asked.place.rows {
            if within.is_some_and(|within| !within.contains(row)) {
                continue;
            }
            let slots = ColumnSlots { columns: &columns, row: row as usize };
            let own = times.get(row as usize).copied().unwrap_or_default();
            if test(&slots, own, &mut line).map_err(self.broken())? {
                found.insert(row);
            }
        }
        Ok(Answer::of(found))
    }

    /// Asks a plan of each row `within`.
    pub(super) fn each_row(
        &self,
        plan: &Plan<'q>,
        asked: &Asked<'_>,
        within: Option<&Bits>,
    ) -> Result<Answer, Error> {
        self.each_view(asked, within, |view, line| matches(plan, view, line))
    }

    /// Calls `ask` with all that each row `within` says, but for its id; the rows for which it says so are the answer.
    pub(in crate::sealed) fn each_view(
        &self,
        asked: &Asked<'_>,
        within: Option<&Bits>,
        mut ask: impl FnMut(&RowView<'_, ColumnSlots<'_, Strings>>, &mut Line) -> Result<bool, Malformed>,
    ) -> Result<Answer, Error> {
        let base = asked.range(self.shard).start as usize;
        let (times, observed) = (self.unfolded.times(self.reader)?, self.unfolded.observed(self.reader)?);
        let origins = self.unfolded.origins(self.reader)?;
        let mut row = 0;
        let within_rows: Vec<usize> = (0..asked.place.rows)
            .filter(|row| within.is_none_or(|within| within.contains(*row)))
            .map(|row| row as usize)
            .collect();
        let all = &self.shard.directory.origins;
        let unknown = Malformed("a known origin expected");
        let stream = &self.shard.meta().stream;
        self.each_row_of(asked, within, |slots, _, line| {
            let at = base + within_rows[row];
            row += 1;
            let origin = all.get(origins[at] as usize).ok_or(unknown)?;
            let view = RowView {
                shape: asked.shape,
                slots,
                facts: RowFacts { time: times[at], observed: observed[at], resource: &origin.resource },
                origin: origins[at] as usize,
                // It stands in no record.
                id: RecordId { source: origin.source, position: 0, index: 0 },
                stream,
            };
            ask(&view, line)
        })
    }
}

/// May a column hold a value with a word that matches, by its head alone?
fn may_hold(head: &Head, text: &Text) -> bool {
    match text {
        Text::Phrase { tokens, .. } => tokens.first().is_some_and(|token| {
            let outside = |(low, high): (i128, i128)| {
                // A sign is no part of a word.
                let number = token.parse::<u64>().map(i128::from).ok();
                number
                    .is_none_or(|number| !(low..=high).contains(&number) && !(low..=high).contains(&-number))
            };
            head.may_hold(token) && !head.integers().is_some_and(outside)
        }),
        Text::Token(glob) => glob.literals().all(|literal| head.may_hold(&literal)),
        _ => true,
    }
}

/// What every word that matches holds: the longest.
fn needle(text: &Text) -> Option<Needle> {
    match text {
        Text::Token(glob) => {
            glob.literals().max_by_key(String::len).and_then(|literal| Needle::new(&literal))
        }
        _ => None,
    }
}

/// The id that a test asks for, if only one can pass.
fn wanted_id(test: &FieldTest) -> Option<RecordId> {
    match &test.predicate {
        Predicate::Equals(literal) => literal.folded.parse().ok(),
        _ => None,
    }
}
