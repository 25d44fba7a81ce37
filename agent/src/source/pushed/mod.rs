//! The way in for what is pushed: listeners hand records over, and learn when they are on the disk, or why they are not.

pub(crate) mod decoder;

use crate::metrics::{Kind, Metrics, Pushed};
use decoder::Message;
use millrace_intake::{
    Parsers,
    smaller::{ORIGINAL_LENGTH, TRUNCATED},
    spool::{Handle, Refused},
};
use millrace_listen::Listener;
use millrace_model::{Attributes, Clock, LogRecord, StreamName, Timestamp, wire};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

/// So many bytes are appended at once, or one record that is longer.
const PART: usize = 256 << 10;
/// About what a record takes in the spool besides itself.
const FRAME: usize = 32;
/// Under this name a spool keeps the stream of a record that has one of its own.
const STREAM: &str = "millrace.stream";
/// How long a sender that cannot be told to wait is made to, before the spool is asked again.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long stopping waits for senders that are being answered.
pub(crate) const FAREWELL: Duration = Duration::from_secs(3);

/// What listeners of one source are given. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Inlet {
    pub(crate) name: Arc<str>,
    pub(crate) kind: &'static str,
    pub(crate) spool: Handle,
    pub(crate) clock: Arc<dyn Clock>,
    /// This host, for records of its own programs.
    pub(crate) host: Arc<str>,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
}

/// The spool takes nothing now: records are to be sent again, later. Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later(pub String);

/// What became of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// They are on the disk.
    pub accepted: u64,
    /// They never will be, and are counted: the settings say that they are dropped, or they are larger than a spool takes.
    pub rejected: u64,
}

/// Records as the spool keeps them.
pub(crate) struct Encoded {
    payloads: Vec<Vec<u8>>,
}

impl Encoded {
    pub(crate) fn of(records: &[LogRecord]) -> Self {
        Self { payloads: records.iter().map(|record| wire::encode_record(record).into()).collect() }
    }

    /// The same, of a stream of their own.
    pub(crate) fn in_stream(mut records: Vec<LogRecord>, stream: &StreamName) -> Self {
        for record in &mut records {
            record.attributes.set(STREAM, stream.as_str());
        }
        Self::of(&records)
    }

    /// In parts that the spool takes at once.
    fn parts(self, spool: &Handle) -> Vec<Vec<Vec<u8>>> {
        let most = PART.min(spool.most() as usize / 2);
        let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
        for payload in self.payloads {
            // What a frame adds is small beside the half that is left.
            if bytes + payload.len() + FRAME > most && !part.is_empty() {
                parts.push(std::mem::take(&mut part));
                bytes = 0;
            }
            bytes += payload.len() + FRAME;
            part.push(payload);
        }
        if !part.is_empty() {
            parts.push(part);
        }
        parts
    }
}

/// The name of a refusal in metrics.
fn reason(refused: &Refused) -> &'static str {
    match refused {
        Refused::Full => "full",
        Refused::Dropped => "newest",
        Refused::Busy => "busy",
        Refused::Disk(_) => "disk",
        Refused::TooLarge { .. } => "too_large",
        Refused::Closed => "stopping",
        _ => "other",
    }
}

/// Is it of no use to try again?
fn is_final(refused: &Refused) -> bool {
    matches!(refused, Refused::Dropped | Refused::TooLarge { .. })
}

/// A line or message becomes a record. `None`: nothing was said.
pub(crate) fn read_message(
    message: &Message<'_>,
    parsers: &Parsers,
    observed: Timestamp,
    resource: &Arc<Attributes>,
) -> Option<LogRecord> {
    if message.text.trim_ascii().is_empty() {
        return None;
    }
    let mut record = parsers.parse(message.text, observed, resource);
    if message.is_cut() {
        record.attributes.set(TRUNCATED, true);
        record.attributes.set(ORIGINAL_LENGTH, message.length as i64);
    }
    Some(record)
}

/// Takes out of a record of the spool which stream it belongs to, where [`Encoded::in_stream`] has said it.
pub(crate) fn take_stream(record: &mut LogRecord) -> Option<StreamName> {
    let stream = record.attributes.remove(STREAM)?;
    stream.as_str().and_then(|name| name.parse().ok())
}

impl Inlet {
    /// Brings records to the disk; when this returns well, they are there, whatever happens to this process or machine. Of what
    /// fails some may be there.
    pub(crate) async fn put(&self, records: Encoded) -> Result<Taken, Later> {
        let (mut waiting, mut taken, mut refused) = (Vec::new(), Taken::default(), None);
        for part in records.parts(&self.spool) {
            let count = part.len() as u64;
            match self.begin(part) {
                Ok(told) => waiting.push((count, told)),
                Err(why) if is_final(&why) => {
                    self.count_dropped(count, &why);
                    taken.rejected += count;
                }
                Err(why) => {
                    refused = Some((count, why));
                    break;
                }
            }
        }
        for (count, told) in waiting {
            match told.await.unwrap_or(Err(Refused::Closed)) {
                Ok(()) => taken.accepted += count,
                Err(why) => refused = Some((count, why)),
            }
        }
        self.received(taken.accepted);
        match refused {
            None => Ok(taken),
            Some((count, why)) => {
                self.count_refused(count, &why);
                Err(Later(why.to_string()))
            }
        }
    }

    /// Brings records to the disk, however long it takes: for senders that can only be told to wait by not being read. Each record
    /// goes once. `false`: stopped first.
    pub(crate) async fn put_patiently(&self, records: Encoded) -> bool {
        for part in records.parts(&self.spool) {
            let count = part.len() as u64;
            let mut told = false;
            loop {
                let outcome = match self.begin(part.clone()) {
                    Ok(told) => told.await.unwrap_or(Err(Refused::Closed)),
                    Err(refused) => Err(refused),
                };
                match outcome {
                    Ok(()) => {
                        self.received(count);
                        break;
                    }
                    Err(refused) if is_final(&refused) => {
                        self.count_dropped(count, &refused);
                        break;
                    }
                    // However long it waits, it is refused once.
                    Err(refused) if !std::mem::replace(&mut told, true) => {
                        self.count_refused(count, &refused);
                    }
                    Err(_) => {}
                }
                tokio::select! {
                    () = sleep(PATIENCE) => {}
                    () = self.stop.cancelled() => return false,
                }
            }
        }
        true
    }

    /// Hands records over and does not wait: for senders that cannot be told anything. What is not taken is lost, counted, and told
    /// in its place.
    pub(crate) fn offer(&self, records: Encoded) {
        for part in records.parts(&self.spool) {
            let count = part.len() as u64;
            let inlet = self.clone();
            let done = move |outcome: Result<(), Refused>| match outcome {
                Ok(()) => inlet.received(count),
                Err(refused) => inlet.lost(count, &refused),
            };
            if let Err(refused) = self.spool.append(part, Box::new(done)) {
                self.lost(count, &refused);
            }
        }
    }

    fn begin(&self, part: Vec<Vec<u8>>) -> Result<oneshot::Receiver<Result<(), Refused>>, Refused> {
        let (tell, told) = oneshot::channel();
        // Whoever waits for it may have gone away.
        self.spool.append(part, Box::new(move |outcome| drop(tell.send(outcome))))?;
        Ok(told)
    }

    fn received(&self, records: u64) {
        self.metrics.received_records.get_or_create(&Kind { kind: self.kind }).inc_by(records);
    }

    fn count_refused(&self, records: u64, refused: &Refused) {
        let pushed = Pushed { kind: self.kind, reason: reason(refused) };
        self.metrics.refused_records.get_or_create(&pushed).inc_by(records);
    }

    fn count_dropped(&self, records: u64, refused: &Refused) {
        self.dropped(reason(refused), records);
        if let Refused::TooLarge { .. } = refused {
            tracing::error!(source = %self.name, records, problem = %refused, "records are dropped");
            self.spool.lose(records);
        }
    }

    fn lost(&self, records: u64, refused: &Refused) {
        self.dropped(reason(refused), records);
        // What its settings drop, the spool tells by itself.
        if !matches!(refused, Refused::Dropped) {
            self.spool.lose(records);
        }
    }

    /// Something that was sent is no record.
    pub(crate) fn dropped(&self, reason: &'static str, records: u64) {
        self.metrics.pushed_dropped.get_or_create(&Pushed { kind: self.kind, reason }).inc_by(records);
    }

    /// A request or connection is turned away.
    pub(crate) fn rejected(&self, reason: &'static str) {
        self.metrics.rejected_requests.get_or_create(&Pushed { kind: self.kind, reason }).inc();
    }

    /// A line or message becomes a record. `None`: nothing was said, which is counted.
    pub(crate) fn read(
        &self,
        message: &Message<'_>,
        parsers: &Parsers,
        resource: &Arc<Attributes>,
    ) -> Option<LogRecord> {
        let record = read_message(message, parsers, self.clock.now(), resource);
        match &record {
            None => self.dropped("blank", 1),
            Some(_) if message.is_cut() => drop(self.metrics.truncated_records.inc()),
            Some(_) => {}
        }
        record
    }

    /// What this host's own records are about.
    pub(crate) fn own_resource(&self) -> Arc<Attributes> {
        let mut resource = Attributes::new();
        resource.set("host.name", &*self.host);
        Arc::new(resource)
    }

    /// What its listeners are told.
    pub(crate) fn listener(&self) -> Listener {
        let inlet = self.clone();
        Listener {
            name: format!("source {}", self.name).into(),
            stop: self.stop.clone(),
            open: self.metrics.connections.get_or_create_owned(&Kind { kind: self.kind }),
            turned_away: Arc::new(move |reason| inlet.rejected(reason)),
        }
    }
}
