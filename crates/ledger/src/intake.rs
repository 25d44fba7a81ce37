//! From a message's bytes to rows: what every consumer of the topic does first.
//!
//! [`read`] decodes; [`Ledger::account`] tells what is new in it and gives each record its id. A message of somebody
//! else's has no ranges: it is taken once because its offset is.

use crate::{Applied, Ledger, Outcome, Span, stray_id};
use bytes::Bytes;
use millrace_model::{
    LogRecord, Partition, RecordId, SourceId, StreamName, Timestamp, TopicId,
    wire::{self, Decoded, Envelope, Letter, SkipReason, SourceOpen},
};

/// Where a message lay.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// Which incarnation of it.
    pub topic_id: Option<TopicId>,
    /// The partition.
    pub partition: Partition,
    /// The offset.
    pub offset: i64,
    /// The broker's time for it, for records that bring none.
    pub timestamp: Timestamp,
}

impl<'a> Place<'a> {
    /// What names the message that lies here, if it becomes a dead letter: the place where it lay first.
    pub fn letter(self, reading: &Reading) -> Letter {
        let first = self.revives(reading.letter.as_deref()).unwrap_or(self);
        Letter {
            topic: first.topic.to_owned(),
            topic_id: first.topic_id,
            partition: first.partition,
            offset: Some(first.offset),
        }
    }

    /// Where the dead letter lay that lies here again. `None`: it is none of this partition's.
    fn revives(self, letter: Option<&'a Letter>) -> Option<Self> {
        let letter =
            letter.filter(|letter| letter.topic == self.topic && letter.partition == self.partition)?;
        let offset = letter.offset.filter(|offset| *offset >= 0)?;
        Some(Self { topic_id: letter.topic_id, offset, ..self })
    }

    /// One source for all messages of the partition that are of one `kind` and bring no source.
    fn source(self, kind: &str) -> SourceId {
        let topic_id = self.topic_id.map_or([0; 16], |id| id.0.to_be_bytes());
        let partition = self.partition.0.to_be_bytes();
        SourceId::derived(&[kind.as_bytes(), self.topic.as_bytes(), &topic_id, &partition])
    }
}

/// A message, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What it says.
    pub content: Content,
    /// It was a dead letter, and was sent again: where it lay first.
    pub letter: Option<Box<Letter>>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A batch of one of our agents.
    Batch(Box<Envelope>, Vec<LogRecord>),
    /// Plain OTLP.
    Foreign(StreamName, Vec<LogRecord>),
    /// The topic's first message.
    Marker(TopicId),
    /// A dead letter. Its range still counts, where its headers can be read.
    Dead {
        /// What sort of reason.
        reason: SkipReason,
        /// Why.
        problem: String,
        /// What it would have covered.
        envelope: Option<Box<Envelope>>,
    },
}

impl Reading {
    /// What it would have handed out is kept aside.
    pub fn keep_aside(&mut self, reason: SkipReason, problem: String) {
        let content = std::mem::replace(&mut self.content, Content::Marker(TopicId(0)));
        let envelope = match content {
            Content::Batch(envelope, _) => Some(envelope),
            Content::Dead { envelope, .. } => envelope,
            Content::Foreign(..) | Content::Marker(_) => None,
        };
        self.content = Content::Dead { reason, problem, envelope };
    }

    /// Why it is a dead letter, if it is one.
    pub fn dead(&self) -> Option<&str> {
        match &self.content {
            Content::Dead { problem, .. } => Some(problem),
            _ => None,
        }
    }
}

/// Where the ledger has accounted for a dead letter: the sources that it may be put aside in, and which positions of theirs
/// it stands for. None of them still aside: it has come.
pub fn accounts(letter: &Letter, headers: &[(String, Bytes)]) -> Vec<(SourceId, Span)> {
    let Letter { topic, topic_id, partition, offset } = letter;
    let timestamp = Timestamp::default();
    let nameless = offset.filter(|offset| *offset >= 0).map(|offset| {
        let place = Place { topic, topic_id: *topic_id, partition: *partition, offset, timestamp };
        let at = offset as u64;
        (place.source("dead letters"), Span { start: at, end: at + 1 })
    });
    let own = wire::envelope(headers).into_iter().flat_map(|envelope| {
        let span = Span { start: envelope.extent.start, end: envelope.extent.end };
        [(envelope.source, span), (stray_id(&envelope), span)]
    });
    own.chain(nameless).collect()
}

/// A message after the ledger.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Accounted {
    /// The stream of its records.
    pub stream: StreamName,
    /// The new records with their ids.
    pub records: Vec<(RecordId, LogRecord)>,
    /// How much of it was new; `None` for messages without ranges.
    pub outcome: Option<Outcome>,
    /// It opened a derived source.
    pub stray: bool,
}

/// Decodes a message.
pub fn read(headers: &[(String, Bytes)], value: &[u8]) -> Reading {
    let content = match wire::decode(headers, value) {
        Ok(Decoded::Batch(envelope, records)) => Content::Batch(envelope, records),
        Ok(Decoded::Foreign(stream, records)) => Content::Foreign(stream.unwrap_or_default(), records),
        Ok(Decoded::TopicMarker(id)) => Content::Marker(id),
        Err(error) => Content::Dead {
            reason: SkipReason::Undecodable,
            problem: error.to_string(),
            envelope: wire::envelope(headers),
        },
    };
    Reading { content, letter: wire::letter(headers).map(Box::new) }
}

impl Ledger {
    /// The source to [load](Ledger::load) before [`account`](Self::account), if any. Ask until there is none.
    pub fn missing_for(&self, place: Place<'_>, reading: &Reading) -> Option<SourceId> {
        let own = match &reading.content {
            Content::Batch(envelope, records) => self.missing(envelope, records),
            Content::Dead { envelope: Some(envelope), .. } => self.missing(envelope, &[]),
            _ => None,
        };
        let letters = || {
            let nameless = matches!(reading.content, Content::Dead { envelope: None, .. });
            let letter = place.revives(reading.letter.as_deref()).or(nameless.then_some(place))?;
            let letters = letter.source("dead letters");
            (!self.sources.contains_key(&letters)).then_some(letters)
        };
        own.or_else(letters)
    }

    /// Accounts for a message and names its new records.
    pub fn account(&mut self, place: Place<'_>, reading: Reading) -> Accounted {
        let Reading { content, letter } = reading;
        let first = place.revives(letter.as_deref());
        match content {
            Content::Batch(envelope, records) => {
                let applied = self.apply(place.partition, &envelope, records);
                // Its headers may have been what could not be read.
                if let Some(first) = first {
                    self.take_letter(first);
                }
                named(envelope.stream, applied)
            }
            Content::Dead { reason, envelope: Some(envelope), .. } => {
                let applied = self.put_aside(place.partition, &envelope, reason);
                named(envelope.stream, applied)
            }
            Content::Dead { reason, envelope: None, .. } => {
                self.put_letter(first.unwrap_or(place), reason);
                Accounted::default()
            }
            Content::Foreign(stream, records) => {
                if first.is_some_and(|first| !self.take_letter(first)) {
                    return Accounted { stream, outcome: Some(Outcome::Duplicate), ..Accounted::default() };
                }
                let records = foreign(first.unwrap_or(place), records);
                Accounted { stream, records, ..Accounted::default() }
            }
            Content::Marker(_) => Accounted::default(),
        }
    }

    /// A dead letter without a range is accounted for by its offset, in a source of its partition's own.
    fn put_letter(&mut self, place: Place<'_>, reason: SkipReason) {
        let at = place.offset as u64;
        let state = self.change(place.source("dead letters"), place.partition);
        let open = state.open.get_or_insert_with(|| SourceOpen {
            kind: "dead_letters".to_owned(),
            path: format!("{}/{}", place.topic, place.partition),
            host: String::new(),
            start: at,
            continues: None,
            because: None,
        });
        // Offsets rise: what lies before the last letter is known, or was none.
        let known = state.covered.end().unwrap_or(open.start);
        if at < known {
            return;
        }
        state.aside.insert(reason, Span { start: at, end: at + 1 });
        *state.skipped.entry(reason).or_default() += 1;
        state.covered.insert(Span { start: known, end: at + 1 });
    }

    /// A dead letter without a range has come after all. `false`: it had before, or it never was one.
    fn take_letter(&mut self, place: Place<'_>) -> bool {
        let letters = place.source("dead letters");
        let at = place.offset as u64;
        let letter = Span { start: at, end: at + 1 };
        if self.state(letters).is_none_or(|state| state.aside.overlap(letter) == 0) {
            return false;
        }
        self.change(letters, place.partition).come_after_all(letter);
        true
    }
}

fn named(stream: StreamName, applied: Applied) -> Accounted {
    let source = applied.source;
    let name = |(position, record)| (RecordId { source, position, index: 0 }, record);
    Accounted {
        stream,
        records: applied.records.into_iter().map(name).collect(),
        outcome: Some(applied.outcome),
        stray: applied.stray,
    }
}

/// Names the records of a message without ranges, by its offset.
fn foreign(place: Place<'_>, records: Vec<LogRecord>) -> Vec<(RecordId, LogRecord)> {
    let source = place.source("foreign");
    let name = |(index, mut record): (usize, LogRecord)| {
        if record.observed_timestamp == Timestamp::default() {
            record.observed_timestamp = place.timestamp;
        }
        (RecordId { source, position: place.offset as u64, index: index as u32 }, record)
    };
    records.into_iter().enumerate().map(name).collect()
}
