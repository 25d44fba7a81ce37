//! Lines that become one record: those that belong together ([`Multiline`]), and the parts in which a container's runtime writes
//! long ones. A container's two outputs are gathered each by itself.
//!
//! The record is the run of its first line. What lies elsewhere of it, between lines of the other output, is accounted for as
//! merged. Pieces are handed out in the order of the bytes, and only when no record begins among them that ends after them: until
//! then all of them wait, at most as many bytes as a line may have.

use super::{
    Line, Multiline, Piece,
    container::{Envelope, Opened, Output, open},
    multiline::State,
};
use millrace_intake::batch::Raw;
use millrace_model::wire::SkipReason;
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

/// How lines are gathered, and what waits.
#[derive(Debug, Clone)]
pub(super) struct Gather {
    containers: bool,
    multiline: Option<Multiline>,
    /// The most bytes of a record, and of all that waits.
    most: usize,
    /// Lines that are not handed out, in order.
    waiting: VecDeque<Waiting>,
    /// How many were handed out before the first of them.
    gone: u64,
    /// The bytes of all that wait.
    bytes: u64,
    records: BTreeMap<u64, Record>,
    next_record: u64,
    outputs: [Pending; 2],
    /// Nothing is handed out before this record is complete.
    blocked: Option<u64>,
    /// Lines of another file that follows are looked at, to see which belong to what waits here.
    following: Option<Following>,
}

/// What was found of the file that follows.
#[derive(Debug, Clone)]
struct Following {
    /// Records before this one began before it.
    before: u64,
    /// How many bytes were handed out; the first of them lie in the file before.
    handed_out: u64,
    starts: u64,
    /// What lies in it of records that began before it.
    found: Vec<Range<u64>>,
}

/// No record of this file has this number.
const ELSEWHERE: u64 = u64::MAX;

/// A line that waits.
#[derive(Debug, Clone)]
struct Waiting {
    length: u64,
    crc32c: u32,
    owner: Owner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Record(u64),
    /// Nothing is in it; it may turn out to lie within a record of this output.
    Blank(usize),
}

/// A record that grows, or waits for others.
#[derive(Debug, Clone)]
struct Record {
    text: Vec<u8>,
    malformed: bool,
    envelope: Option<Envelope>,
    complete: bool,
    /// The number of its last line.
    last: u64,
    /// The end of its last line, which is in the text if another line follows.
    end: Vec<u8>,
}

/// What waits for more of one output.
#[derive(Debug, Clone, Default)]
struct Pending {
    /// The record that the line is of which the runtime has written a part.
    parts: Option<u64>,
    /// Lines that the next may belong to.
    group: Option<Group>,
}

#[derive(Debug, Clone)]
struct Group {
    record: u64,
    state: State,
    /// Blank lines after its last.
    blank: Vec<u8>,
}

impl Following {
    fn hand_out(&mut self, owner: Owner, length: u64) {
        let from = self.handed_out.max(self.starts);
        self.handed_out += length;
        if let Owner::Record(number) = owner
            && number < self.before
            && self.handed_out > from
        {
            self.found.push(from - self.starts..self.handed_out - self.starts);
        }
    }
}

impl Gather {
    pub(super) fn new(containers: bool, multiline: Option<Multiline>, most: usize) -> Self {
        Self {
            containers,
            multiline,
            most,
            waiting: VecDeque::new(),
            gone: 0,
            bytes: 0,
            records: BTreeMap::new(),
            next_record: 0,
            outputs: Default::default(),
            blocked: None,
            following: None,
        }
    }

    /// A copy for the lines of the file that follows.
    pub(super) fn follow(&self) -> Self {
        let following =
            Following { before: self.next_record, handed_out: 0, starts: self.bytes, found: Vec::new() };
        Self { following: Some(following), ..self.clone() }
    }

    /// Which bytes of the file that follows belong to records that began before it, and whether that is all of them.
    pub(super) fn followed(&self) -> (Vec<Range<u64>>, bool) {
        let Some(following) = &self.following else { return (Vec::new(), true) };
        let all = self.records.iter().all(|(number, record)| *number >= following.before || record.complete);
        (following.found.clone(), all && self.records.range(..following.before).next().is_none())
    }

    /// Bytes that belong to a record of the file before.
    pub(super) fn merged(&mut self, raw: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        self.wait(raw, Owner::Record(ELSEWHERE));
        self.hand_out(take);
    }

    /// The same rules, with nothing waiting.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.containers, self.multiline.clone(), self.most)
    }

    /// Is each line a record by itself?
    pub(super) fn is_idle(&self) -> bool {
        !self.containers && self.multiline.is_none()
    }

    /// Is a line pending of which the runtime has written a part?
    pub(super) fn has_parts(&self) -> bool {
        self.outputs.iter().any(|output| output.parts.is_some())
    }

    /// How many bytes wait.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes of the first record that waits have come, so that one can see whether it grows.
    pub(super) fn first_length(&self) -> u64 {
        let first = self.blocked.and_then(|record| self.records.get(&record));
        first.map_or(0, |record| record.text.len() as u64 + 1)
    }

    /// Takes a line in, and hands out what is complete.
    pub(super) fn line(&mut self, line: &Line<'_>, take: &mut impl FnMut(Piece<'_>)) {
        if self.bytes > 0 && self.bytes + line.raw.len() as u64 > self.most as u64 {
            self.end(take);
        }
        if !self.containers {
            if line.is_blank() {
                self.blank(0, line.raw, line.raw, take);
            } else {
                let (text, end) = (&line.text[..], line.end);
                let record = self.begin(line.raw, text, end, line.malformed, None);
                self.line_is_whole(0, record);
                self.hand_out(take);
            }
            return;
        }
        let opened = if line.malformed { None } else { open(&line.text) };
        let Some(Opened { envelope, text, goes_on }) = opened else {
            // It is in no envelope: a record by itself.
            self.end(take);
            if line.is_blank() {
                take(Piece::Skipped {
                    reason: SkipReason::Blank,
                    raw: Raw::Bytes(line.raw),
                    length: line.raw.len() as u64,
                    joined: false,
                });
            } else {
                take(Piece::Line {
                    text: &line.text,
                    raw: Raw::Bytes(line.raw),
                    length: line.raw.len() as u64,
                    malformed: line.malformed,
                    envelope: None,
                    joined: false,
                });
            }
            return;
        };
        let output = match envelope.output {
            Output::Stdout => 0,
            Output::Stderr => 1,
        };
        let parts = self.outputs[output].parts;
        if parts.is_none() && !goes_on && text.trim_ascii().is_empty() {
            self.blank(output, line.raw, b"\n", take);
            return;
        }
        if parts.is_none() && !goes_on && self.multiline.is_none() && self.waiting.is_empty() {
            take(Piece::Line {
                text: &text,
                raw: Raw::Bytes(line.raw),
                length: line.raw.len() as u64,
                malformed: false,
                envelope: Some(&envelope),
                joined: false,
            });
            return;
        }
        let record = match parts {
            Some(record) => {
                self.go_on(record, line.raw, &text);
                record
            }
            None => self.begin(line.raw, &text, b"\n", false, Some(envelope)),
        };
        if goes_on {
            self.outputs[output].parts = Some(record);
        } else {
            self.outputs[output].parts = None;
            self.line_is_whole(output, record);
        }
        self.hand_out(take);
    }

    /// All that waits is complete.
    pub(super) fn end(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        for output in 0..self.outputs.len() {
            if let Some(record) = self.outputs[output].parts.take() {
                self.line_is_whole(output, record);
            }
            if let Some(group) = self.outputs[output].group.take() {
                self.complete(group.record);
            }
        }
        self.hand_out(take);
    }

    fn wait(&mut self, raw: &[u8], owner: Owner) {
        self.waiting.push_back(Waiting { length: raw.len() as u64, crc32c: crc32c::crc32c(raw), owner });
        self.bytes += raw.len() as u64;
    }

    fn last(&self) -> u64 {
        self.gone + self.waiting.len() as u64 - 1
    }

    fn begin(
        &mut self,
        raw: &[u8],
        text: &[u8],
        end: &[u8],
        malformed: bool,
        envelope: Option<Envelope>,
    ) -> u64 {
        let number = self.next_record;
        self.next_record += 1;
        self.wait(raw, Owner::Record(number));
        let record = Record {
            text: text.to_vec(),
            malformed,
            envelope,
            complete: false,
            last: self.last(),
            end: end.to_vec(),
        };
        self.records.insert(number, record);
        number
    }

    /// The next part of a line.
    fn go_on(&mut self, number: u64, raw: &[u8], text: &[u8]) {
        self.wait(raw, Owner::Record(number));
        let last = self.last();
        if let Some(record) = self.records.get_mut(&number) {
            record.text.extend_from_slice(text);
            record.last = last;
        }
    }

    /// A line without anything: within a record where more of that follows.
    fn blank(&mut self, output: usize, raw: &[u8], text: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        if let Some(group) = &mut self.outputs[output].group {
            group.blank.extend_from_slice(text);
            self.wait(raw, Owner::Blank(output));
        } else if self.waiting.is_empty() {
            let length = raw.len() as u64;
            take(Piece::Skipped { reason: SkipReason::Blank, raw: Raw::Bytes(raw), length, joined: false });
        } else {
            self.wait(raw, Owner::Blank(output));
        }
    }

    /// The line that a record was begun with is whole: is it a record, or does it belong to the one before?
    fn line_is_whole(&mut self, output: usize, number: u64) {
        let Some(multiline) = &self.multiline else {
            self.complete(number);
            return;
        };
        let Some(line) = self.records.get(&number) else { return };
        let begins = multiline.begin(&line.text);
        let Some(group) = self.outputs[output].group.take() else {
            self.outputs[output].group = Some(Group { record: number, state: begins, blank: Vec::new() });
            return;
        };
        let fits = self.records.get(&group.record).is_some_and(|record| {
            record.text.len() + record.end.len() + group.blank.len() + line.text.len() <= self.most
        });
        let next = if let Some(state) = multiline.go_on(group.state, &line.text).filter(|_| fits) {
            self.join(output, &group, number);
            Group { state, blank: Vec::new(), ..group }
        } else {
            self.complete(group.record);
            Group { record: number, state: begins, blank: Vec::new() }
        };
        self.outputs[output].group = Some(next);
    }

    /// A line, and blank ones before it, become part of the record before.
    fn join(&mut self, output: usize, group: &Group, number: u64) {
        let Some(line) = self.records.remove(&number) else { return };
        let Some(record) = self.records.get_mut(&group.record) else { return };
        let from = (record.last - self.gone) as usize;
        for part in [&record.end[..], &group.blank, &line.text] {
            record.text.extend_from_slice(part);
        }
        record.malformed |= line.malformed;
        (record.last, record.end) = (line.last, line.end);
        for waiting in self.waiting.iter_mut().skip(from) {
            if waiting.owner == Owner::Record(number) || waiting.owner == Owner::Blank(output) {
                waiting.owner = Owner::Record(group.record);
            }
        }
    }

    fn complete(&mut self, number: u64) {
        if let Some(record) = self.records.get_mut(&number) {
            record.complete = true;
        }
    }

    fn hand_out(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        let waits = |record: &u64| self.records.get(record).is_some_and(|record| !record.complete);
        if self.blocked.as_ref().is_some_and(waits) {
            return;
        }
        self.blocked = None;
        while !self.waiting.is_empty() {
            let (mut at, mut end) = (0, 1);
            while at < end {
                if let Some(Waiting { owner: Owner::Record(number), .. }) = self.waiting.get(at)
                    && let Some(record) = self.records.get(number)
                {
                    if !record.complete {
                        self.blocked = Some(*number);
                        return;
                    }
                    end = end.max((record.last - self.gone) as usize + 1);
                }
                at += 1;
            }
            self.hand_out_first(end, take);
        }
    }

    /// Hands out the first lines, none of which is of a record that goes on after them.
    fn hand_out_first(&mut self, count: usize, take: &mut impl FnMut(Piece<'_>)) {
        let mut joined = false;
        let mut left = count;
        while left > 0 {
            let Some(Waiting { mut length, mut crc32c, owner }) = self.waiting.pop_front() else { return };
            left -= 1;
            while left > 0
                && let Some(next) = self.waiting.pop_front_if(|next| next.owner == owner)
            {
                crc32c = crc32c::crc32c_combine(crc32c, next.crc32c, next.length as usize);
                length += next.length;
                left -= 1;
                self.gone += 1;
            }
            self.gone += 1;
            self.bytes -= length;
            if let Some(following) = &mut self.following {
                following.hand_out(owner, length);
            }
            let raw = Raw::Digest { crc32c, length };
            let record = match owner {
                Owner::Record(number) => self.records.remove(&number).ok_or(SkipReason::Merged),
                Owner::Blank(_) => Err(SkipReason::Blank),
            };
            match record {
                Ok(Record { text, malformed, envelope, .. }) => {
                    take(Piece::Line {
                        text: &text,
                        raw,
                        length,
                        malformed,
                        envelope: envelope.as_ref(),
                        joined,
                    });
                }
                Err(reason) => take(Piece::Skipped { reason, raw, length, joined }),
            }
            joined = true;
        }
    }
}
