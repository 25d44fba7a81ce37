//! What a piece of a file becomes: a record in the batch, or bytes that are accounted for.

use super::{FileContext, container};
use crate::{framing::Piece, source::Outbox};
use millrace_intake::{
    Parsers,
    batch::Raw,
    process::At,
    smaller::{ORIGINAL_LENGTH, TRUNCATED},
};
use millrace_model::{Attributes, Timestamp, wire::SkipReason};
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
    let parse = |text: &[u8], malformed: bool| {
        if malformed {
            Parsers::keep(text, "it is malformed in the encoding of its file", observed, resource)
        } else {
            context.settings.parse.parse(text, observed, resource)
        }
    };
    let place = At { source: outbox.source(), position: outbox.end() };
    match *piece {
        Piece::Line { text, raw, length, malformed, envelope, .. } => {
            let mut record = parse(text, malformed);
            if let Some(envelope) = envelope {
                container::describe(&mut record, envelope);
            }
            match shared.make(record, place) {
                Ok(record) => outbox.record(length, text.len(), raw, record),
                Err(reason) => outbox.skip(length, raw, reason, shared),
            }
        }
        Piece::OverLong { text, malformed, kept, rest, rest_length, length } => {
            let mut record = parse(text, malformed);
            record.attributes.set(TRUNCATED, true);
            record.attributes.set(ORIGINAL_LENGTH, length as i64);
            shared.metrics.truncated_records.inc();
            let length = kept.len() as u64;
            match shared.make(record, place) {
                Ok(record) => outbox.record(length, text.len(), Raw::Bytes(kept), record),
                Err(reason) => outbox.skip(length, Raw::Bytes(kept), reason, shared),
            }
            outbox.skip(rest_length, rest, SkipReason::OverLong, shared);
        }
        Piece::Skipped { reason, raw, length, .. } => outbox.skip(length, raw, reason, shared),
    }
}

/// What every record of the file is about.
pub(super) fn resource(host: &str, path: &Path) -> Arc<Attributes> {
    let mut resource = Attributes::new();
    resource.set("host.name", host);
    resource.set("log.file.path", path.display().to_string());
    for (name, value) in container::of_path(path) {
        resource.set(name, value);
    }
    Arc::new(resource)
}
