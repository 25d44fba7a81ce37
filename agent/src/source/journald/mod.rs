//! Journals, through `journalctl -o export --follow` as a child: it reads every version of the files, and a crash of it
//! is no crash of ours.
//!
//! A source is one sequence-number id, a position a number in it; entries of several sequences may interleave. Numbers
//! that never come are accounted for as lost. The cursor given to `--cursor` is inclusive (`--after-cursor` loses an
//! entry when its own was vacuumed), so what comes again is known by its number.

mod child;
mod entry;
mod export;

use crate::{
    Error,
    budget::Stopped,
    checkpoint::{Entry, JournalPlace, Place},
    metrics::{Kind, Reason},
    settings::JournaldSettings,
    source::{Context, Mark, Outbox, Reading},
};
use child::{Child, Event};
use entry::{Cursor, Records};
use export::{JournalEntry, Parser};
use millrace_intake::{batch::Raw, process::At};
use millrace_model::{SourceId, wire::SkipReason};
use std::{
    collections::{HashMap, VecDeque},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Waits between starts of the child, from the first failure on.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A child that lived so long was a good one: the next failure is a first one again.
const GOOD_LIFE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(200);
/// So many gaps of a sequence are remembered, in case that what is missing comes late.
const REMEMBERED_GAPS: usize = 64;

/// Starts the thread that reads one journal; it goes on from what the checkpoint knows.
pub(crate) fn spawn(
    context: Context,
    settings: JournaldSettings,
    known: Vec<(SourceId, Entry)>,
    cursor: Option<String>,
) -> Result<JoinHandle<()>, Error> {
    let name = context.name.to_string();
    let spawned = thread::Builder::new().name(format!("journal-{name}")).spawn(move || {
        let mut reader = Reader::new(context, settings, known, cursor);
        // Stopped is how it ends.
        let Stopped = reader.run();
        reader.finish();
    });
    spawned.map_err(|source| Error::Thread { name, source })
}

/// One sequence of numbers.
#[derive(Debug)]
struct Sequence {
    source: SourceId,
    /// The number that comes next.
    next: u64,
    outbox: Outbox,
    gaps: VecDeque<(u64, u64)>,
}

struct Reader {
    context: Context,
    settings: JournaldSettings,
    /// The journal, as its sources say.
    journal: String,
    sequences: HashMap<String, Sequence>,
    /// Sequences that had ended when their settings were taken out: the source, and where it ended.
    ended: HashMap<String, (SourceId, u64)>,
    /// In the order in which they have something to ship.
    begun: Vec<String>,
    /// Of the last entry that was taken in.
    cursor: Option<String>,
    records: Records,
    /// What was said of the child last, so that it is said once.
    trouble: Option<String>,
}

impl Reader {
    fn new(
        context: Context,
        settings: JournaldSettings,
        known: Vec<(SourceId, Entry)>,
        cursor: Option<String>,
    ) -> Self {
        let journal = match &settings.directory {
            Some(folder) => folder.display().to_string(),
            None => "journal".to_owned(),
        };
        let (mut sequences, mut ended) = (HashMap::new(), HashMap::new());
        for (source, entry) in known {
            let Place::Journal(place) = &entry.place else { continue };
            if entry.closed || entry.closing.is_some() {
                ended.insert(place.sequence.clone(), (source, entry.position));
                continue;
            }
            let outbox = Outbox::new(source, entry.position, entry.opening(&context.host));
            let sequence = Sequence { source, next: entry.position, outbox, gaps: VecDeque::new() };
            context.metrics.sources.get_or_create(&Kind { kind: context.kind }).inc();
            sequences.insert(place.sequence.clone(), sequence);
        }
        let records = Records::new(context.host.clone());
        let begun = Vec::new();
        Self { context, settings, journal, sequences, ended, begun, cursor, records, trouble: None }
    }

    /// One child after the other, until it is told to stop.
    fn run(&mut self) -> Stopped {
        let mut wait = FIRST_WAIT;
        loop {
            let began = Instant::now();
            match self.follow() {
                Ok(trouble) => self.report(&trouble),
                Err(stopped) => return stopped,
            }
            wait = if began.elapsed() > GOOD_LIFE { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            let until = Instant::now() + wait;
            while Instant::now() < until {
                if self.context.stopping() {
                    return Stopped;
                }
                thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
            }
        }
    }

    /// Reads from one child until it ends, and says what it ended of.
    fn follow(&mut self) -> Result<String, Stopped> {
        let mut child = match Child::start(&self.settings, self.cursor.as_deref()) {
            Ok(child) => child,
            Err(error) => return Ok(format!("journalctl cannot be started: {error}")),
        };
        let mut parser = Parser::new(self.settings.max_line);
        loop {
            if self.context.stopping() {
                return Err(Stopped);
            }
            let wait = self.seal_aged()?.unwrap_or(LOOK).min(LOOK);
            match child.next(wait) {
                Event::Nothing => {}
                Event::Ended(last_words) => return Ok(last_words),
                Event::Bytes(bytes) => {
                    let mut entries = Vec::new();
                    let parsed = parser.push(&bytes, &mut |entry| entries.push(entry));
                    for entry in entries {
                        self.take_in(entry)?;
                    }
                    if let Err(error) = parsed {
                        return Ok(error.to_string());
                    }
                }
            }
        }
    }

    fn take_in(&mut self, entry: JournalEntry) -> Result<(), Stopped> {
        let Some(cursor) = Cursor::of(&entry) else {
            self.context.metrics.source_error("no_cursor");
            return Ok(());
        };
        if self.trouble.take().is_some() {
            tracing::info!(source = %self.context.name, "the journal can be read again");
        }
        if !self.make_room_in(&cursor)? {
            // Delivered before the child began, or before this process did.
            self.cursor = Some(cursor.text);
            return Ok(());
        }
        let body = entry.get("MESSAGE").map_or(0, <[u8]>::len);
        let weight =
            body.max(usize::try_from(entry.length).unwrap_or(usize::MAX).min(self.settings.max_line));
        let full = |sequence: &Sequence| sequence.outbox.is_full_for(weight, &self.context);
        if self.sequences.get(&cursor.sequence).is_some_and(full) {
            self.seal_all()?;
        }
        let raw = Raw::Digest { crc32c: entry.crc32c, length: entry.length };
        let record = self.records.make(entry, self.context.clock.now());
        let source = self.sequences.get(&cursor.sequence).map(|sequence| sequence.source);
        let place = source.map(|source| At { source, position: cursor.number });
        let made = place.map(|place| self.context.make(record, place));
        if let Some(sequence) = self.sequences.get_mut(&cursor.sequence) {
            if sequence.outbox.since().is_none() {
                self.begun.push(cursor.sequence.clone());
            }
            if cursor.number > sequence.next {
                let missing = Raw::Digest { crc32c: 0, length: 0 };
                sequence.outbox.skip(cursor.number - sequence.next, missing, SkipReason::Lost, &self.context);
                self.context.metrics.lost_entries.inc_by(cursor.number - sequence.next);
                sequence.gaps.push_back((sequence.next, cursor.number));
                if sequence.gaps.len() > REMEMBERED_GAPS {
                    sequence.gaps.pop_front();
                }
            }
            match made {
                Some(Ok(record)) => sequence.outbox.record(1, weight, raw, record),
                Some(Err(reason)) => sequence.outbox.skip(1, raw, reason, &self.context),
                None => {}
            }
            sequence.next = cursor.number + 1;
        }
        self.cursor = Some(cursor.text);
        Ok(())
    }

    /// Makes sure that there is a source for this entry; `false`: the entry was taken in before.
    fn make_room_in(&mut self, cursor: &Cursor) -> Result<bool, Stopped> {
        let (mut continues, mut start) = (None, cursor.number);
        match self.sequences.get(&cursor.sequence) {
            Some(sequence) if cursor.number >= sequence.next => return Ok(true),
            Some(sequence) => {
                let late = sequence.gaps.iter().any(|(from, to)| (*from..*to).contains(&cursor.number));
                if !late {
                    return Ok(false);
                }
                // It was missing, and now it is here: what is accounted for cannot be taken back.
                continues = Some((sequence.source, "late"));
                self.seal_all()?;
            }
            None => match self.ended.get(&cursor.sequence) {
                Some((_, end)) if cursor.number < *end => return Ok(false),
                Some((source, end)) => {
                    continues = Some((*source, "reopened"));
                    start = *end;
                }
                None => {}
            },
        }
        let source = SourceId::random();
        let (sequence, journal) = (cursor.sequence.clone(), self.journal.clone());
        let place = Place::Journal(JournalPlace { sequence, journal });
        let mut entry = Entry::new(self.context.name.to_string(), place, start);
        entry.continues = continues.map(|(source, _)| source);
        entry.because = continues.map(|(_, because)| because.to_owned());
        let outbox = Outbox::new(source, start, entry.opening(&self.context.host));
        self.context.tell(Reading::Opened(vec![(source, entry)]))?;
        if let Some((old, _)) = self.ended.remove(&cursor.sequence) {
            self.context.tell(Reading::Forgotten(vec![old]))?;
        }
        let sequence = Sequence { source, next: start, outbox, gaps: VecDeque::new() };
        match self.sequences.insert(cursor.sequence.clone(), sequence) {
            Some(old) => {
                self.context.tell(Reading::Forgotten(vec![old.source]))?;
                self.context.metrics.closed_sources.get_or_create(&Reason { reason: "late" }).inc();
            }
            None => {
                self.context.metrics.sources.get_or_create(&Kind { kind: self.context.kind }).inc();
            }
        }
        Ok(true)
    }

    fn seal_aged(&mut self) -> Result<Option<Duration>, Stopped> {
        let since = self.begun.iter().filter_map(|name| self.sequences.get(name)?.outbox.since()).min();
        let Some(waited) = since.map(|since| since.elapsed()) else { return Ok(None) };
        let left = self.context.limits.age.saturating_sub(waited);
        if !left.is_zero() {
            return Ok(Some(left));
        }
        self.seal_all()?;
        Ok(None)
    }

    /// Ships all that was taken in. The last batch carries the cursor: it counts once all before it are delivered.
    fn seal_all(&mut self) -> Result<(), Stopped> {
        let begun = std::mem::take(&mut self.begun);
        for (at, name) in begun.iter().enumerate() {
            let cursor = if at + 1 == begun.len() { self.cursor.clone() } else { None };
            let mark = Mark::Journal { name: self.context.name.clone(), cursor };
            if let Some(sequence) = self.sequences.get_mut(name) {
                sequence.outbox.seal(mark, None, &self.context)?;
            }
        }
        Ok(())
    }

    /// Once a kind of trouble; counted each time.
    fn report(&mut self, trouble: &str) {
        self.context.metrics.source_error("journalctl");
        if self.trouble.as_deref() != Some(trouble) {
            tracing::warn!(source = %self.context.name, trouble, "the journal cannot be followed; it is tried again");
            self.trouble = Some(trouble.to_owned());
        }
    }

    fn finish(&mut self) {
        if self.seal_all().is_err() {
            tracing::debug!(source = %self.context.name, "stopped with a full budget; the rest is read again");
        }
    }
}
