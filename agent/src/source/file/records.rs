//! What a piece of a file becomes: a record in the batch, or bytes that are accounted for.

use super::{FileContext, container};
use crate::{framing::Piece, settings::FileSettings, source::Outbox};
use millrace_intake::{
    Parsers,
    batch::Raw,
    process::At,
    smaller::{ORIGINAL_LENGTH, TRUNCATED},
};
use millrace_model::{Attributes, LogRecord, Timestamp, wire::SkipReason};
use std::{path::Path, sync::Arc};

impl Piece<'_> {
    /// How many bytes a batch keeps of it.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Line { text, .. } | Self::OverLong { text, .. } => text.len(),
            Self::Skipped { .. } => 0,
        }
    }
}

/// `RawLine` → `LogRecord` → `Redacted` → `Batch`.
pub(super) fn put(
    piece: &Piece<'_>,
    outbox: &mut Outbox,
    observed: Timestamp,
    resource: &Arc<Attributes>,
    context: &FileContext,
) {
    let shared = &context.shared;
    let place = At { source: outbox.source(), position: outbox.end() };
    let made =
        record_of(piece, observed, resource, &context.settings).map(|record| shared.make(record, place));
    let (raw, length) = match *piece {
        Piece::Line { raw, length, .. } | Piece::Skipped { raw, length, .. } => (raw, length),
        Piece::OverLong { kept, .. } => (Raw::Bytes(kept), kept.len() as u64),
    };
    match (made, piece) {
        (Some(Ok(record)), _) => outbox.record(length, piece.weight(), raw, record),
        (Some(Err(reason)), _) => outbox.skip(length, raw, reason, shared),
        (None, Piece::Skipped { reason, .. }) => outbox.skip(length, raw, *reason, shared),
        (None, _) => {}
    }
    if let Piece::OverLong { rest, rest_length, .. } = *piece {
        shared.metrics.truncated_records.inc();
        outbox.skip(rest_length, rest, SkipReason::OverLong, shared);
    }
}

/// `RawLine` → `LogRecord`; `None`: there is no line.
pub(crate) fn record_of(
    piece: &Piece<'_>,
    observed: Timestamp,
    resource: &Arc<Attributes>,
    settings: &FileSettings,
) -> Option<LogRecord> {
    let parse = |text: &[u8], malformed: bool| {
        if malformed {
            Parsers::keep(text, "it is malformed in the encoding of its file", observed, resource)
        } else {
            settings.parse.parse(text, observed, resource)
        }
    };
    match *piece {
        Piece::Line { text, malformed, envelope, .. } => {
            let mut record = parse(text, malformed);
            if let Some(envelope) = envelope {
                container::describe(&mut record, envelope);
            }
            Some(record)
        }
        Piece::OverLong { text, malformed, length, .. } => {
            let mut record = parse(text, malformed);
            record.attributes.set(TRUNCATED, true);
            record.attributes.set(ORIGINAL_LENGTH, length as i64);
            Some(record)
        }
        Piece::Skipped { .. } => None,
    }
}

/// What every record of the file is about.
pub(crate) fn resource(host: &str, path: &Path) -> Arc<Attributes> {
    let mut resource = Attributes::new();
    resource.set("host.name", host);
    resource.set("log.file.path", path.display().to_string());
    for (name, value) in container::of_path(path) {
        resource.set(name, value);
    }
    Arc::new(resource)
}
