//! The shipper's desk: what readers told, what the topic reported, and when the book is written. Nothing in here sends;
//! what is to be sent lies in `outgoing`.

use crate::{
    Error,
    book::Book,
    budget::{Budget, Hold},
    durable::Durable,
    identity::StateFolder,
    metrics::{Metrics, Reason},
    ship::RETRY,
    source::{Reading, Shipment},
    spools::Delivered,
    status::Status,
};
use millrace_intake::{Sealed, Smaller, readdress, smaller, without_rejected};
use millrace_model::{AgentId, Partition, SourceId, SpoolId, chain, wire::SkipReason};
use millrace_transport::{DeliveryReport, Rejected};
use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// The checkpoint is written so often at most, while it changes.
pub(crate) const WRITE_EVERY: Duration = Duration::from_millis(250);
/// And not before this many times as long as the last write took.
const WRITE_SHARE: u32 = 20;

/// A message to be sent: a batch, or a part of one.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) source: SourceId,
    /// The start of the batch that it is (a part) of.
    flight: u64,
    pub(crate) sealed: Sealed,
    /// Its batch's part of the budget.
    hold: Arc<Hold>,
}

impl Outgoing {
    /// Another message of the same batch.
    fn with(&self, sealed: Sealed) -> Self {
        Self { sealed, hold: Arc::clone(&self.hold), ..*self }
    }
}

/// The state of shipping; everything that happens comes over it, one thing after the other.
pub(crate) struct Desk {
    agent: AgentId,
    host: Arc<str>,
    pub(crate) book: Book,
    store: Durable,
    /// The state folder's; a write under way holds it, too.
    lock: Arc<File>,
    metrics: Metrics,
    pub(crate) status: Status,
    pub(crate) budget: Arc<Budget>,
    /// How many the topic has.
    pub(crate) partitions: u32,
    pub(crate) sent: HashMap<u64, Outgoing>,
    pub(crate) next_ticket: u64,
    pub(crate) outgoing: VecDeque<Outgoing>,
    /// One record each, which the topic refuses for this reason: to be kept as dead letters.
    pub(crate) unwanted: VecDeque<(Outgoing, String)>,
    /// Refused for reasons that people must see to; tried again.
    pub(crate) refused: Vec<Outgoing>,
    next_try: Instant,
    /// The number of partitions must be asked for again.
    pub(crate) misplaced: bool,
    pub(crate) writing: Option<JoinHandle<Result<(), Error>>>,
    write_began: Instant,
    next_write: Instant,
    /// What spools need not keep any longer.
    delivered: Delivered,
    /// How far the checkpoint that is being written covers them.
    covering: Vec<(SpoolId, u64)>,
}

impl Desk {
    pub(crate) fn new(
        folder: StateFolder,
        host: Arc<str>,
        metrics: Metrics,
        status: Status,
        budget: Arc<Budget>,
        delivered: Delivered,
    ) -> Self {
        let StateFolder { sender, checkpoint, store, lock } = folder;
        Self {
            agent: sender.agent,
            host,
            book: Book::new(checkpoint),
            store,
            lock,
            metrics,
            status,
            budget,
            partitions: 0,
            sent: HashMap::new(),
            next_ticket: 0,
            outgoing: VecDeque::new(),
            unwanted: VecDeque::new(),
            refused: Vec::new(),
            next_try: Instant::now(),
            misplaced: false,
            writing: None,
            write_began: Instant::now(),
            next_write: Instant::now(),
            delivered,
            covering: Vec::new(),
        }
    }

    /// A reader told something.
    pub(crate) fn take(&mut self, reading: Reading) {
        match reading {
            Reading::Opened(sources) => {
                let partition = self.own_partition();
                self.book.opened(sources, partition);
            }
            Reading::Head(source, head) => self.book.head(source, head),
            Reading::Cut(source, at) => self.book.cut(source, at),
            Reading::GoesOn(source, closing) => self.book.goes_on(source, closing),
            Reading::Closing(source, closing) => self.book.closing(source, closing),
            Reading::Moved(source, path, identity, packed) => {
                self.book.moved(source, path, identity, packed);
            }
            Reading::Forgotten(sources) => self.book.forgotten(&sources),
            Reading::Shipment(shipment) => self.take_shipment(*shipment),
        }
    }

    fn take_shipment(&mut self, shipment: Shipment) {
        let source = self.book.under_way(&shipment);
        let (flight, hold) = (shipment.sealed.start, Arc::new(shipment.hold));
        let sealed = self.addressed(shipment.source, source, shipment.sealed);
        self.outgoing.push_back(Outgoing { source, flight, sealed, hold });
    }

    /// The message under the source's present id.
    fn addressed(&self, old: SourceId, new: SourceId, sealed: Sealed) -> Sealed {
        if old == new {
            return sealed;
        }
        let entry = self.book.entry(new).filter(|entry| entry.start == sealed.start);
        let opening = entry.and_then(|entry| entry.opening(&self.host));
        match readdress(&sealed, new, opening) {
            Ok(sealed) => sealed,
            Err(error) => {
                // It was encoded by this process: only a defect of memory can bring us here. Then it goes as it is.
                tracing::error!(%error, "a message of our own cannot be read");
                sealed
            }
        }
    }

    /// The partition of this host's new sources.
    fn own_partition(&self) -> Partition {
        let hash = SourceId::derived(&[&self.agent.0.to_be_bytes()]).0;
        Partition((hash % u128::from(self.partitions.max(1))) as i32)
    }

    /// Sources without a partition get one.
    pub(crate) fn place(&mut self) {
        let partition = self.own_partition();
        self.book.place(partition);
    }

    pub(crate) fn partition_of(&self, source: SourceId) -> Partition {
        self.book.entry(source).and_then(|entry| entry.partition).unwrap_or_else(|| self.own_partition())
    }

    /// The topic reported.
    pub(crate) fn reported(&mut self, report: DeliveryReport) {
        let Some(outgoing) = self.sent.remove(&report.ticket) else {
            tracing::error!(ticket = report.ticket, "a report of a message that was not sent");
            return;
        };
        match report.outcome {
            Ok(_) => {
                let records = outgoing.sealed.records;
                self.metrics.shipped_records.inc_by(records as u64);
                self.metrics.in_flight_records.dec_by(records as i64);
                if let Some(bytes) = self.book.delivered(outgoing.source, outgoing.flight) {
                    self.metrics.shipped_bytes.inc_by(bytes);
                    self.metrics.in_flight_bytes.dec_by(bytes as i64);
                }
                drop(outgoing);
                self.status.waiting(self.budget.used(), true);
                if self.refused.is_empty() {
                    self.status.topic(None);
                }
            }
            Err(rejected) => {
                self.metrics.rejected_messages.inc();
                self.rejected(outgoing, &rejected);
            }
        }
    }

    fn rejected(&mut self, outgoing: Outgoing, rejected: &Rejected) {
        match rejected {
            Rejected::TooLarge { bytes } => self.make_smaller(outgoing, *bytes),
            Rejected::NoSuchPartition(_) => {
                self.misplaced = true;
                self.refused.push(outgoing);
            }
            other => self.refuse(outgoing, other.to_string()),
        }
    }

    /// The topic takes a message neither now nor later: which of its records is that about?
    fn refuse(&mut self, outgoing: Outgoing, reason: String) {
        match without_rejected(&outgoing.sealed) {
            Ok(Smaller::Halves(halves)) => self.halve(&outgoing, *halves),
            Ok(Smaller::Emptied(_)) => self.unwanted.push_back((outgoing, reason)),
            _ => {
                self.trouble(&reason);
                self.refused.push(outgoing);
            }
        }
    }

    /// A record is kept as a dead letter, or could not be: then its message is tried again.
    pub(crate) fn kept_dead(&mut self, outgoing: Outgoing, reason: &str, kept: Result<(), String>) {
        match (kept, without_rejected(&outgoing.sealed)) {
            (Ok(()), Ok(Smaller::Emptied(one))) => {
                let (source, position) = (outgoing.source, outgoing.sealed.start);
                tracing::error!(%source, position, reason, "the topic refuses a record: it is a dead letter");
                let skipped = Reason { reason: SkipReason::Rejected.name() };
                self.metrics.dropped_records.get_or_create(&skipped).inc();
                self.metrics.in_flight_records.dec();
                self.outgoing.push_front(outgoing.with(*one));
            }
            (kept, _) => {
                self.trouble(&format!("{reason}; and no dead letter: {}", kept.err().unwrap_or_default()));
                self.refused.push(outgoing);
            }
        }
    }

    fn make_smaller(&mut self, outgoing: Outgoing, bytes: usize) {
        match smaller(&outgoing.sealed) {
            Ok(Smaller::Halves(halves)) => self.halve(&outgoing, *halves),
            Ok(Smaller::Cut(one)) => {
                self.metrics.truncated_records.inc();
                self.outgoing.push_front(outgoing.with(*one));
            }
            Ok(Smaller::Emptied(one)) => {
                let (source, position) = (outgoing.source, outgoing.sealed.start);
                tracing::error!(%source, position, bytes, "the topic takes no message as small as this record");
                let reason = Reason { reason: SkipReason::OverLong.name() };
                self.metrics.dropped_records.get_or_create(&reason).inc();
                self.metrics.in_flight_records.dec();
                self.outgoing.push_front(outgoing.with(*one));
            }
            Ok(Smaller::Smallest) => {
                self.trouble(&format!("the topic takes no message of {bytes} bytes"));
                self.refused.push(outgoing);
            }
            Err(error) => {
                self.trouble(&format!("a message of our own cannot be read: {error}"));
                self.refused.push(outgoing);
            }
        }
    }

    /// Two messages instead of one.
    fn halve(&mut self, whole: &Outgoing, halves: [Sealed; 2]) {
        self.book.halved(whole.source, whole.flight);
        for half in halves.into_iter().rev() {
            self.outgoing.push_front(whole.with(half));
        }
    }

    /// Sources whose partition is gone go on as new ones, and with them what was refused.
    pub(crate) fn move_misplaced(&mut self) {
        if !std::mem::take(&mut self.misplaced) {
            // They all exist (again): what was refused is tried again as it is.
            return;
        }
        let partition = self.own_partition();
        for source in self.book.misplaced(self.partitions) {
            if let Some(new) = self.book.succeed(source, partition) {
                tracing::warn!(%source, %new, %partition, "the source's partition is gone: it goes on as a new source");
            }
        }
        let waiting: Vec<Outgoing> = std::mem::take(&mut self.refused);
        for outgoing in waiting.into_iter().chain(std::mem::take(&mut self.outgoing)) {
            let source = self.book.resolve(outgoing.source);
            let sealed = self.addressed(outgoing.source, source, outgoing.sealed);
            self.outgoing.push_back(Outgoing { source, sealed, ..outgoing });
        }
    }

    pub(crate) fn take_back(&mut self, ticket: u64) {
        if let Some(outgoing) = self.sent.remove(&ticket) {
            self.outgoing.push_front(outgoing);
        }
    }

    /// Says what is wrong with the topic; in the log once.
    pub(crate) fn trouble(&self, problem: &str) {
        if self.status.topic(Some(problem.to_owned())) {
            tracing::error!(problem, "the topic does not take messages; they wait");
        }
    }

    pub(crate) fn on_tick(&mut self) {
        if Instant::now() >= self.next_try {
            self.next_try = Instant::now() + RETRY;
            self.outgoing.extend(self.refused.drain(..));
        }
        if self.book.is_changed() && self.writing.is_none() && Instant::now() >= self.next_write {
            self.begin_write();
        }
    }

    fn begin_write(&mut self) {
        // What ranges are shipped under must outlive a damaged file: both generations know of it before a byte is sent.
        let generations = if self.book.is_urgent() { 2 } else { 1 };
        self.book.begin_write();
        self.write_began = Instant::now();
        let (store, checkpoint) = (self.store.clone(), self.book.checkpoint().clone());
        self.covering = checkpoint.spools().collect();
        let lock = Arc::clone(&self.lock);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let stored = (0..generations).try_for_each(|_| store.store(&checkpoint));
            drop(lock);
            stored
        }));
    }

    /// A write has ended. `urgent`: it began after everything that is urgent.
    pub(crate) fn written(&mut self, result: Result<(), Error>, urgent: bool) {
        self.writing = None;
        self.next_write = Instant::now() + (self.write_began.elapsed() * WRITE_SHARE).max(WRITE_EVERY);
        self.book.write_done(result.is_ok(), urgent);
        match result {
            Ok(()) => {
                self.metrics.checkpoints.inc();
                self.status.checkpoint(None);
                if self.delivered.written(&self.covering) {
                    // What goes from a spool must be covered by both generations of the checkpoint.
                    self.book.touch();
                }
            }
            Err(error) => {
                self.metrics.checkpoint_errors.inc();
                let problem = chain(&error);
                if self.status.checkpoint(Some(problem.clone())) {
                    tracing::error!(problem, "the checkpoint cannot be written; it is tried again");
                }
            }
        }
    }

    /// Makes the book durable, however long it takes; `false`: stopped first.
    pub(crate) async fn sync(&mut self, shutdown: &CancellationToken) -> bool {
        loop {
            if self.writing.is_some() {
                let result = written(&mut self.writing).await;
                self.written(result, false);
            }
            self.begin_write();
            let result = written(&mut self.writing).await;
            self.written(result, true);
            if !self.book.is_urgent() {
                return true;
            }
            tokio::select! {
                () = sleep(RETRY) => {}
                () = shutdown.cancelled() => return false,
            }
        }
    }

    pub(crate) async fn last_write(&mut self) -> Result<(), Error> {
        if self.writing.is_some() {
            let result = written(&mut self.writing).await;
            self.written(result, false);
        }
        if !self.book.is_changed() {
            return Ok(());
        }
        self.begin_write();
        written(&mut self.writing).await
    }
}

/// The end of the write under way; never, if there is none.
pub(crate) async fn written(writing: &mut Option<JoinHandle<Result<(), Error>>>) -> Result<(), Error> {
    match writing {
        Some(handle) => handle.await.unwrap_or_else(|error| {
            Err(Error::file("checkpoint.json".as_ref(), "write", std::io::Error::other(error)))
        }),
        None => std::future::pending().await,
    }
}
