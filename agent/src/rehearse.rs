//! What a source would make of a file: framing, parsing, steps, redaction, and nothing else. No topic is asked, no state is
//! written.

use crate::{
    framing::{Charset, Framer, Piece},
    settings::{Settings, SourceKind, SourceSettings},
    source::file::{framing_of, record_of, resource},
};
use flate2::read::MultiGzDecoder;
use millrace_intake::{
    Redacted,
    process::{At, Dropped},
};
use millrace_model::{SourceId, Timestamp, wire::SkipReason};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
    path::Path,
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

/// Reads all of `input` as the source would read a file at `path`. `each` is given what became of it, with its position, in order;
/// `redacted` the rules that found something, and how often. Sampling by place is that of a source without an id: another
/// one's sample is another. Blocks.
///
/// # Errors
/// The input cannot be read, or is not a kind of source that reads files (then [`io::ErrorKind::Unsupported`]).
pub fn rehearse(
    settings: &Settings,
    source: &SourceSettings,
    path: &Path,
    input: impl Read,
    observed: Timestamp,
    each: &mut dyn FnMut(u64, Made),
) -> io::Result<BTreeMap<String, u64>> {
    let SourceKind::File(file) = &source.kind else {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the source {} reads no files", source.name),
        ));
    };
    let mut input = BufReader::with_capacity(1 << 20, input);
    let mut input: Box<dyn BufRead + '_> = if input.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::with_capacity(1 << 20, MultiGzDecoder::new(input)))
    } else {
        Box::new(input)
    };
    let mut framing = framing_of(file, path);
    if file.charset.is_none() {
        framing.charset = Charset::of_mark(input.fill_buf()?).unwrap_or_default();
    }
    let (mut framer, resource) = (Framer::new(0, &framing), resource(&settings.host, path));
    let mut redacted = BTreeMap::new();
    let mut position = 0;
    let take = &mut |piece: Piece<'_>| {
        let at = At { source: SourceId(0), position };
        let (length, rest) = match &piece {
            Piece::Line { length, .. } | Piece::Skipped { length, .. } => (*length, 0),
            Piece::OverLong { kept, rest_length, .. } => (kept.len() as u64, *rest_length),
        };
        let made = match (record_of(&piece, observed, &resource, file), &piece) {
            (Some(mut record), _) => match source.process.apply(&mut record, at) {
                Ok(()) => {
                    let mut count = |rule: &str| *redacted.entry(rule.to_owned()).or_insert(0) += 1;
                    Made::Record(Box::new(settings.redact.redact(record, &mut count)))
                }
                Err(Dropped { reason, step }) => Made::Left { reason, step: Some(step), bytes: length },
            },
            (None, Piece::Skipped { reason, .. }) => {
                Made::Left { reason: *reason, step: None, bytes: length }
            }
            (None, _) => return,
        };
        each(position, made);
        if rest > 0 {
            each(position + length, Made::Left { reason: SkipReason::OverLong, step: None, bytes: rest });
        }
        position += length + rest;
    };
    loop {
        let block = input.fill_buf()?;
        if block.is_empty() {
            break;
        }
        framer.push(block, take);
        let length = block.len();
        input.consume(length);
    }
    framer.finish(take);
    Ok(redacted)
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
