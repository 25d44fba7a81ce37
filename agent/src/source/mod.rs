//! What is read: files, journals, and spools of what is pushed, each on an OS thread of its own. All of them hand the same things
//! to the shipper. What is pushed comes in by listeners, which are tasks.

pub(crate) mod file;
pub(crate) mod http;
pub(crate) mod journald;
pub(crate) mod loki;
pub(crate) mod otlp;
mod outbox;
pub(crate) mod pushed;
pub(crate) mod removed;
pub(crate) mod spool;
pub(crate) mod stdin;
pub(crate) mod syslog;

pub(crate) use outbox::Outbox;

use crate::{
    budget::{Hold, Share, Stopped},
    checkpoint::{Closing, Entry},
    metrics::{Kind, Metrics, Reason, Rule, Step},
};
use file::{FileIdentity, Fingerprint};
use millrace_intake::{
    Limits, Policy, Process, Redacted, Sealed,
    process::{self, Dropped},
    spool::Handle,
};
use millrace_model::{
    Clock, LogRecord, SourceId, StreamName,
    wire::{Sender, SkipReason},
};
use pushed::Inlet;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a reader tells the shipper, in order.
#[derive(Debug)]
pub(crate) enum Reading {
    /// New sources. Durable before anything that follows is shipped.
    Opened(Vec<(SourceId, Entry)>),
    /// How a source's file begins. Durable before anything that follows is shipped: what is shipped can be told by it when its file is
    /// gone and a copy of it is there.
    Head(SourceId, Fingerprint),
    /// What is pending was taken as complete at this position. Durable before anything that follows is shipped.
    Cut(SourceId, u64),
    /// A source will end, and another has the rest of its last records. Durable as the next.
    GoesOn(SourceId, Closing),
    /// A source will end. Durable before anything that follows is shipped.
    Closing(SourceId, Closing),
    /// A batch.
    Shipment(Box<Shipment>),
    /// A file was seen at another path (or on another device number, or compressed, then with its size as it lies there).
    Moved(SourceId, PathBuf, FileIdentity, Option<u64>),
    /// Sources that need not be remembered any longer.
    Forgotten(Vec<SourceId>),
}

/// A batch on its way to the topic.
#[derive(Debug)]
pub(crate) struct Shipment {
    pub(crate) source: SourceId,
    pub(crate) sealed: Sealed,
    pub(crate) mark: Mark,
    /// It is the source's last.
    pub(crate) closes: bool,
    /// Bytes of records in it.
    pub(crate) record_bytes: u64,
    /// Its part of the budget.
    pub(crate) hold: Hold,
}

/// How to go on after a batch, once it is delivered.
#[derive(Debug, Clone)]
pub(crate) enum Mark {
    File {
        head: Fingerprint,
        marker: Fingerprint,
        size: u64,
    },
    /// Of a whole journal: everything that it gave up to here.
    Journal {
        name: Arc<str>,
        cursor: Option<String>,
    },
    /// The numbers say it all.
    Spool,
}

/// What every reader is given.
pub(crate) struct Context {
    /// The name of its settings.
    pub(crate) name: Arc<str>,
    pub(crate) kind: &'static str,
    pub(crate) stream: StreamName,
    pub(crate) sender: Sender,
    pub(crate) host: Arc<str>,
    pub(crate) readings: mpsc::Sender<Reading>,
    pub(crate) budget: Share,
    /// How many bytes of deleted files may be kept from being freed.
    pub(crate) deleted: Arc<Deleted>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) limits: Limits,
    pub(crate) process: Process,
    pub(crate) policy: Policy,
    pub(crate) stop: CancellationToken,
}

/// Deleted files that are still read keep their bytes on the disk. All readers together keep no more than a bound.
#[derive(Debug)]
pub(crate) struct Deleted {
    limit: u64,
    bytes: AtomicU64,
}

impl Deleted {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, bytes: AtomicU64::new(0) })
    }

    /// A reader keeps so many bytes now, and kept so many before. How many are too many?
    pub(crate) fn change(&self, before: u64, now: u64) -> u64 {
        let others = self.bytes.fetch_sub(before, Ordering::Relaxed) - before;
        self.bytes.fetch_add(now, Ordering::Relaxed);
        (others + now).saturating_sub(self.limit)
    }
}

impl Context {
    /// Waits while the shipper is behind. Blocks.
    pub(crate) fn tell(&self, reading: Reading) -> Result<(), Stopped> {
        self.readings.blocking_send(reading).map_err(|_| Stopped)
    }

    /// Does to a record what is configured, and takes out of it what must not leave this host.
    ///
    /// # Errors
    /// It is dropped, and counted.
    pub(crate) fn make(&self, mut record: LogRecord, place: process::At) -> Result<Redacted, SkipReason> {
        self.process.apply(&mut record, place).map_err(|dropped| self.drop(dropped))?;
        Ok(self.policy.redact(record, &mut |rule| {
            self.metrics.redactions.get_or_create(&Rule { rule: rule.to_owned() }).inc();
        }))
    }

    fn drop(&self, Dropped { reason, step }: Dropped) -> SkipReason {
        let action = self.process.steps().nth(step).map_or("", |step| step.action.name());
        let (source, step) = (self.name.to_string(), format!("{}:{action}", step + 1));
        self.metrics.processed_out.get_or_create(&Step { source, step }).inc();
        self.metrics.read_records.get_or_create(&Kind { kind: self.kind }).inc();
        self.metrics.dropped_records.get_or_create(&Reason { reason: reason.name() }).inc();
        reason
    }

    /// The way in of a source that is pushed.
    pub(crate) fn inlet(&self, spool: Handle) -> Inlet {
        Inlet {
            name: Arc::clone(&self.name),
            kind: self.kind,
            spool,
            clock: Arc::clone(&self.clock),
            host: Arc::clone(&self.host),
            metrics: self.metrics.clone(),
            stop: self.stop.clone(),
        }
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.is_cancelled() || self.readings.is_closed()
    }
}
