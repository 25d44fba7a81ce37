//! What a source would make of a file, or of what is pushed to it: framing, parsing, steps, redaction, and nothing else. No topic is asked, no state is
//! written.

use crate::{
    framing::{Charset, Framer, Piece},
    settings::{FileSettings, Settings, SourceKind, SourceSettings},
    source::{
        file::{framing_of, record_of, resource},
        pushed::{
            decoder::{Decoder, Message},
            read_message,
        },
    },
};
use flate2::read::MultiGzDecoder;
use millrace_intake::{
    Parsers, Redacted,
    process::{At, Dropped},
};
use millrace_model::{Attributes, LogRecord, SourceId, Timestamp, wire::SkipReason};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

/// What became of a stretch of a file.
#[derive(Debug)]
pub enum Made {
    /// It would be shipped.
    Record(Box<Redacted>),
    /// It would not.
    Left {
        /// Why.
        reason: SkipReason,
        /// The step that dropped it, from 0.
        step: Option<usize>,
        /// How many bytes.
        bytes: u64,
    },
}

/// Reads all of `input` as the source would read a file at `path`, or what is pushed to it. `each` is given what became of it, with
/// its position, in order; `redacted` the rules that found something, and how often. Sampling by place is that of a source without an
/// id: another one's sample is another. What a listener adds of a connection is not there. Blocks.
///
/// # Errors
/// The input cannot be read, or the source takes no lines (then [`io::ErrorKind::Unsupported`]).
pub fn rehearse(
    settings: &Settings,
    source: &SourceSettings,
    path: &Path,
    input: impl Read,
    observed: Timestamp,
    each: &mut dyn FnMut(u64, Made),
) -> io::Result<BTreeMap<String, u64>> {
    let mut rehearsal = Rehearsal { settings, source, observed, redacted: BTreeMap::new() };
    let mut input = BufReader::with_capacity(1 << 20, input);
    match &source.kind {
        SourceKind::File(file) => rehearsal.file(file, path, input, each)?,
        SourceKind::Syslog(syslog) => {
            rehearsal.pushed(Decoder::syslog(syslog.max_line), &syslog.parse, &mut input, each)?;
        }
        SourceKind::Http(http) => {
            rehearsal.pushed(Decoder::lines(http.max_line), &http.parse, &mut input, each)?;
        }
        SourceKind::Stdin(stdin) => {
            rehearsal.pushed(Decoder::lines(stdin.max_line), &stdin.parse, &mut input, each)?;
        }
        SourceKind::Journald(_) | SourceKind::Otlp(_) | SourceKind::Ingest(_) => {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("the source {} takes no lines", source.name),
            ));
        }
    }
    Ok(rehearsal.redacted)
}

/// One run.
struct Rehearsal<'a> {
    settings: &'a Settings,
    source: &'a SourceSettings,
    observed: Timestamp,
    redacted: BTreeMap<String, u64>,
}

impl Rehearsal<'_> {
    fn file(
        &mut self,
        file: &FileSettings,
        path: &Path,
        mut input: impl BufRead,
        each: &mut dyn FnMut(u64, Made),
    ) -> io::Result<()> {
        let mut input: Box<dyn BufRead + '_> = if input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(1 << 20, MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        let mut framing = framing_of(file, path);
        if file.charset.is_none() {
            framing.charset = Charset::of_mark(input.fill_buf()?).unwrap_or_default();
        }
        let (mut framer, resource) = (Framer::new(0, &framing), resource(&self.settings.host, path));
        let mut position = 0;
        let take = &mut |piece: Piece<'_>| {
            let (length, rest) = match &piece {
                Piece::Line { length, .. } | Piece::Skipped { length, .. } => (*length, 0),
                Piece::OverLong { kept, rest_length, .. } => (kept.len() as u64, *rest_length),
            };
            let made = match (record_of(&piece, self.observed, &resource, file), &piece) {
                (Some(record), _) => self.make(record, position, length),
                (None, Piece::Skipped { reason, .. }) => {
                    Made::Left { reason: *reason, step: None, bytes: length }
                }
                (None, _) => return,
            };
            each(position, made);
            if rest > 0 {
                let made = Made::Left { reason: SkipReason::OverLong, step: None, bytes: rest };
                each(position + length, made);
            }
            position += length + rest;
        };
        read(&mut input, |block| framer.push(block, take))?;
        framer.finish(take);
        Ok(())
    }

    /// Positions are the numbers that records have in the spool.
    fn pushed(
        &mut self,
        mut decoder: Decoder,
        parsers: &Parsers,
        input: &mut dyn BufRead,
        each: &mut dyn FnMut(u64, Made),
    ) -> io::Result<()> {
        let mut resource = Attributes::new();
        resource.set("host.name", self.settings.host.as_str());
        let resource = Arc::new(resource);
        let mut number = 0;
        let take = &mut |message: Message<'_>| {
            if let Some(record) = read_message(&message, parsers, self.observed, &resource) {
                each(number, self.make(record, number, message.length));
                number += 1;
            }
        };
        read(input, |block| decoder.push(block, take))?;
        decoder.finish(take);
        Ok(())
    }

    /// Steps and redaction.
    fn make(&mut self, mut record: LogRecord, position: u64, bytes: u64) -> Made {
        match self.source.process.apply(&mut record, At { source: SourceId(0), position }) {
            Ok(()) => {
                let mut count = |rule: &str| *self.redacted.entry(rule.to_owned()).or_insert(0) += 1;
                Made::Record(Box::new(self.settings.redact.redact(record, &mut count)))
            }
            Err(Dropped { reason, step }) => Made::Left { reason, step: Some(step), bytes },
        }
    }
}

/// All of the input, in pieces.
fn read(input: &mut dyn BufRead, mut push: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        let block = input.fill_buf()?;
        if block.is_empty() {
            return Ok(());
        }
        push(block);
        let length = block.len();
        input.consume(length);
    }
}

/// The source that would read the file at this path.
///
/// # Errors
/// None would, or several; says which there are.
pub fn reader_of<'a>(settings: &'a Settings, path: &Path) -> Result<&'a SourceSettings, String> {
    let reads = |source: &&SourceSettings| match &source.kind {
        SourceKind::File(file) => crate::source::file::reads(&source.name, file, path),
        _ => false,
    };
    let found: Vec<&SourceSettings> = settings.sources.iter().filter(reads).collect();
    let names = |sources: &mut dyn Iterator<Item = &SourceSettings>| {
        sources.map(|source| source.name.clone()).collect::<Vec<_>>().join(", ")
    };
    match found[..] {
        [source] => Ok(source),
        [] => {
            let mut files =
                settings.sources.iter().filter(|source| matches!(source.kind, SourceKind::File(_)));
            Err(format!("no source reads {}; there are: {}", path.display(), names(&mut files)))
        }
        _ => Err(format!("several sources read {}: {}", path.display(), names(&mut found.iter().copied()))),
    }
}
