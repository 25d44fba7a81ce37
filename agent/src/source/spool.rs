//! Reads the spool of a pushed source: what listeners have put there becomes batches. A record's position is its number in the spool.
//!
//! Records are kept as they came and are redacted here, so that what a policy says counts from the moment at which it is set.

use super::{Context, Mark, Outbox, Reading, pushed::take_stream};
use crate::{
    Error,
    budget::Stopped,
    checkpoint::{Closing, Entry, Place, SpoolPlace},
    metrics::{Kind, Reason},
    settings::SourceKind,
};
use millrace_intake::{
    batch::Raw,
    process::At,
    spool::{Handle, Item, Opened, Reader as SpoolReader},
};
use millrace_model::{
    SourceId,
    wire::{self, SkipReason, SourceClose},
};
use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a reader with nothing to do sleeps at most.
const LOOK: Duration = Duration::from_millis(200);
/// How long to wait before a file is read again that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// Starts the thread that reads a source's spool, from where the checkpoint knows it to be delivered. `at`: where the source listens.
pub(crate) fn spawn(
    context: Context,
    handle: Handle,
    opened: &Opened,
    at: String,
    known: Vec<(SourceId, Entry)>,
) -> Result<JoinHandle<()>, Error> {
    let name = context.name.to_string();
    let place = SpoolPlace { spool: opened.id, input: context.kind.to_owned(), at };
    let spawned = thread::Builder::new().name(format!("spool-{name}")).spawn(move || {
        if let Ok(mut reader) = Reader::begin(context, handle, place, known) {
            // Stopped is how it ends.
            let Stopped = reader.run();
            reader.finish();
        }
    });
    spawned.map_err(|source| Error::Thread { name, source })
}

struct Reader {
    context: Context,
    handle: Handle,
    records: SpoolReader,
    outbox: Outbox,
    /// Something went wrong with the file, and was said.
    troubled: bool,
}

/// What a step found.
enum Found {
    Something,
    Nothing,
    Unreadable,
}

impl Reader {
    /// Finds the source that the spool is, or makes it one; sources of other spools in this place have ended.
    fn begin(
        context: Context,
        handle: Handle,
        place: SpoolPlace,
        known: Vec<(SourceId, Entry)>,
    ) -> Result<Self, Stopped> {
        let mut own = None;
        for (source, entry) in known {
            match &entry.place {
                Place::Spool(known) if known.spool == place.spool => own = Some((source, entry)),
                Place::Spool(_) if !entry.closed => end(&context, source, &entry, &handle)?,
                Place::Spool(_) => context.tell(Reading::Forgotten(vec![source]))?,
                // The name was another kind's before, and may be again.
                _ => {}
            }
        }
        let outbox = match own {
            Some((source, entry)) if !entry.closed && entry.closing.is_none() => {
                Outbox::new(source, entry.position, entry.opening(&context.host))
            }
            // New, or closed when its settings were taken out.
            other => {
                let start = other.as_ref().map_or_else(|| handle.start(), |(_, entry)| entry.position);
                let mut entry = Entry::new(context.name.to_string(), Place::Spool(place), start);
                entry.continues = other.as_ref().map(|(source, _)| *source);
                entry.because = other.as_ref().map(|_| "reopened".to_owned());
                let source = SourceId::random();
                let outbox = Outbox::new(source, start, entry.opening(&context.host));
                context.tell(Reading::Opened(vec![(source, entry)]))?;
                if let Some((old, _)) = other {
                    context.tell(Reading::Forgotten(vec![old]))?;
                }
                outbox
            }
        };
        context.metrics.sources.get_or_create(&Kind { kind: context.kind }).inc();
        let records = handle.reader(outbox.end());
        Ok(Self { context, handle, records, outbox, troubled: false })
    }

    fn run(&mut self) -> Stopped {
        loop {
            if self.context.stopping() {
                return Stopped;
            }
            let wait = match self.step() {
                Ok(Found::Something) => continue,
                Ok(Found::Nothing) => LOOK,
                Ok(Found::Unreadable) => RETRY,
                Err(stopped) => return stopped,
            };
            match self.seal_aged() {
                Ok(due) => self.sleep(due.unwrap_or(wait).min(wait)),
                Err(stopped) => return stopped,
            }
        }
    }

    fn sleep(&self, wait: Duration) {
        if self.troubled {
            thread::sleep(wait.min(LOOK));
        } else {
            self.handle.wait(self.records.position(), wait);
        }
    }

    /// Takes the next record in, or what stands for some that are none any more.
    fn step(&mut self) -> Result<Found, Stopped> {
        let Self { context, records, outbox, troubled, .. } = self;
        let item = match records.next_item() {
            Ok(item) => item,
            Err(error) => {
                context.metrics.source_error("spool");
                if !std::mem::replace(troubled, true) {
                    let problem = millrace_model::chain(&error);
                    tracing::error!(source = %context.name, problem, "the spool cannot be read; it is tried again");
                }
                return Ok(Found::Unreadable);
            }
        };
        *troubled = false;
        match item {
            None => return Ok(Found::Nothing),
            Some(Item::Lost { numbers, damaged }) => {
                let lost = numbers.end - numbers.start;
                context.metrics.lost_entries.inc_by(lost);
                if damaged {
                    context.metrics.spool_damage.inc();
                }
                tracing::error!(source = %context.name, lost, from = numbers.start, damaged, "records of the spool are lost");
                outbox.skip(lost, Raw::Digest { crc32c: 0, length: 0 }, SkipReason::Lost, context);
            }
            Some(Item::Record { number, payload }) => {
                // At hand: to add its checksum up anew is much cheaper than to combine the one that the frame has.
                let raw = Raw::Bytes(payload);
                if outbox.is_full_for(payload.len(), context) {
                    outbox.seal(Mark::Spool, None, context)?;
                }
                match wire::decode_record(payload) {
                    Ok(mut record) => {
                        if context.kind == SourceKind::INGEST {
                            outbox.turn_to(take_stream(&mut record), Mark::Spool, context)?;
                        }
                        match context.make(record, At { source: outbox.source(), position: number }) {
                            Ok(record) => outbox.record(1, payload.len(), raw, record),
                            Err(reason) => outbox.skip(1, raw, reason, context),
                        }
                    }
                    Err(error) => {
                        context.metrics.source_error("spool");
                        tracing::error!(source = %context.name, number, %error, "a record of the spool cannot be decoded");
                        outbox.skip(1, raw, SkipReason::Undecodable, context);
                    }
                }
            }
        }
        if outbox.since().is_some_and(|since| since.elapsed() >= context.limits.age) {
            outbox.seal(Mark::Spool, None, context)?;
        }
        Ok(Found::Something)
    }

    /// Ships the batch if it has waited long enough; else says how much longer it may.
    fn seal_aged(&mut self) -> Result<Option<Duration>, Stopped> {
        let Some(since) = self.outbox.since() else { return Ok(None) };
        let left = self.context.limits.age.saturating_sub(since.elapsed());
        if left.is_zero() {
            self.outbox.seal(Mark::Spool, None, &self.context)?;
            return Ok(None);
        }
        Ok(Some(left))
    }

    fn finish(&mut self) {
        if self.outbox.seal(Mark::Spool, None, &self.context).is_err() {
            tracing::debug!(source = %self.context.name, "stopped with a full budget; the rest is read again");
        }
    }
}

/// The spool of this source is gone: how much of it was not shipped, nobody can say.
fn end(context: &Context, source: SourceId, entry: &Entry, now: &Handle) -> Result<(), Stopped> {
    const REASON: &str = "spool_gone";
    let path = now.folder().display();
    tracing::error!(%source, name = entry.name, %path, "the spool is gone, and another one is made; what it held unshipped is lost");
    let end = entry.position;
    let lost_at_least = Some(0);
    let closing = Closing { end, reason: REASON.to_owned(), lost_at_least, remember: false, goes_on: None };
    context.tell(Reading::Closing(source, closing))?;
    context.metrics.closed_sources.get_or_create(&Reason { reason: REASON }).inc();
    let close = SourceClose { end, reason: REASON.to_owned(), lost_at_least };
    Outbox::new(source, end, entry.opening(&context.host)).seal(Mark::Spool, Some(close), context)
}
