//! Sources whose settings are gone: each says so in a last message. They stay in the checkpoint, so that settings that
//! come back go on where they left off.

use super::{Context, Mark, Outbox, Reading};
use crate::{
    Error,
    budget::Stopped,
    checkpoint::{Closing, Entry, Place},
    metrics::Reason,
};
use millrace_model::{SourceId, wire::SourceClose};
use std::thread::{self, JoinHandle};

const REASON: &str = "removed";

/// Starts the thread that ends these sources.
pub(crate) fn spawn(context: Context, entries: Vec<(SourceId, Entry)>) -> Result<JoinHandle<()>, Error> {
    let name = context.name.to_string();
    let spawned = thread::Builder::new().name("removed".to_owned()).spawn(move || {
        for (source, entry) in entries {
            if let Err(Stopped) = close(&context, source, &entry) {
                return;
            }
        }
    });
    spawned.map_err(|source| Error::Thread { name, source })
}

fn close(context: &Context, source: SourceId, entry: &Entry) -> Result<(), Stopped> {
    tracing::info!(%source, name = entry.name, "the source is not in the settings any longer");
    let end = entry.position;
    let closing =
        Closing { end, reason: REASON.to_owned(), lost_at_least: None, remember: true, goes_on: None };
    context.tell(Reading::Closing(source, closing))?;
    context.metrics.closed_sources.get_or_create(&Reason { reason: REASON }).inc();
    let mark = match &entry.place {
        Place::File(place) => Mark::File { head: place.head, marker: place.marker, size: place.size },
        Place::Spool(_) => Mark::Spool,
        Place::Journal(_) => Mark::Journal { name: entry.name.as_str().into(), cursor: None },
    };
    let close = SourceClose { end, reason: REASON.to_owned(), lost_at_least: None };
    Outbox::new(source, end, entry.opening(&context.host)).seal(mark, Some(close), context)
}
