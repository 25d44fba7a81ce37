//! The way in for what is pushed: listeners hand records over, and learn when they are on the disk, or why they are not.

use crate::metrics::{Kind, Metrics, Pushed};
use millrace_intake::spool::{Handle, Refused};
use millrace_model::{Clock, LogRecord, wire};
use std::{sync::Arc, time::Duration};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

/// So many bytes are appended at once, or one record that is longer.
const PART: usize = 256 << 10;
/// About what a record takes in the spool besides itself.
const FRAME: usize = 32;
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

/// Why records are not in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// They are to be sent again, later.
    Later(String),
    /// They never will be taken; told to the sender, and counted.
    Never(String),
    /// The settings say that they are dropped; counted.
    Dropped,
}

impl NotTaken {
    /// The name in metrics.
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
}

/// Records as the spool keeps them.
pub(crate) struct Encoded {
    payloads: Vec<Vec<u8>>,
}

impl Encoded {
    pub(crate) fn of(records: &[LogRecord]) -> Self {
        Self { payloads: records.iter().map(|record| wire::encode_record(record).into()).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.payloads.len()
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

impl Inlet {
    /// Brings records to the disk; when this returns well, they are there, whatever happens to this process or machine. Of what
    /// fails some may be there.
    pub(crate) async fn put(&self, records: Encoded) -> Result<(), NotTaken> {
        let count = records.len() as u64;
        match self.append(records.parts(&self.spool)).await {
            Ok(()) => {
                self.received(count);
                Ok(())
            }
            Err(refused) => Err(self.refused(count, refused)),
        }
    }

    /// The same, and nothing is counted.
    async fn append(&self, parts: Vec<Vec<Vec<u8>>>) -> Result<(), Refused> {
        let mut waiting = Vec::new();
        let mut outcome = Ok(());
        for part in parts {
            let (tell, told) = oneshot::channel();
            // Whoever waits for it may have gone away.
            let done = Box::new(move |outcome| drop(tell.send(outcome)));
            match self.spool.append(part, done) {
                Ok(()) => waiting.push(told),
                Err(refused) => {
                    outcome = Err(refused);
                    break;
                }
            }
        }
        for told in waiting {
            let written = told.await.unwrap_or(Err(Refused::Closed));
            outcome = outcome.and(written);
        }
        outcome
    }

    fn received(&self, records: u64) {
        self.metrics.received_records.get_or_create(&Kind { kind: self.kind }).inc_by(records);
    }

    fn refused(&self, count: u64, refused: Refused) -> NotTaken {
        let pushed = Pushed { kind: self.kind, reason: NotTaken::reason(&refused) };
        match refused {
            Refused::Dropped => {
                self.metrics.pushed_dropped.get_or_create(&pushed).inc_by(count);
                NotTaken::Dropped
            }
            Refused::TooLarge { .. } => {
                self.metrics.pushed_dropped.get_or_create(&pushed).inc_by(count);
                NotTaken::Never(refused.to_string())
            }
            other => {
                self.metrics.refused_records.get_or_create(&pushed).inc_by(count);
                NotTaken::Later(other.to_string())
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
                let refused = match self.append(vec![part.clone()]).await {
                    Ok(()) => {
                        self.received(count);
                        break;
                    }
                    Err(refused) => refused,
                };
                // However long it waits, it is refused once.
                let waits = !matches!(refused, Refused::Dropped | Refused::TooLarge { .. });
                if !std::mem::replace(&mut told, true) || !waits {
                    self.refused(count, refused);
                }
                if !waits {
                    break;
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

    fn lost(&self, records: u64, refused: &Refused) {
        let pushed = Pushed { kind: self.kind, reason: NotTaken::reason(refused) };
        self.metrics.pushed_dropped.get_or_create(&pushed).inc_by(records);
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
}
