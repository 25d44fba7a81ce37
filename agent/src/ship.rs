//! Shipping: what readers hand over goes to the topic, what the topic reports moves the checkpoint.
//!
//! **Invariants:**
//! - No byte of a source is sent before the source is in a durable checkpoint, and no end before its decision is.
//! - A position moves only over messages that the topic has acknowledged, without a gap.
//! - A refused message is made smaller, or goes to another partition, or waits; a record is left out only once it is a dead letter.

use crate::{
    Error,
    desk::{Desk, Outgoing, WRITE_EVERY, written},
    source::Reading,
};
use millrace_model::chain;
use millrace_transport::{DeliveryReport, Producer};
use std::time::Duration;
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How long to wait before something is tried again that the topic or the disk did not take.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// How long a stop waits for what is under way.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The parts that shipping works with.
pub(crate) struct Shipper<P> {
    pub(crate) producer: P,
    pub(crate) reports: Receiver<DeliveryReport>,
    pub(crate) readings: Receiver<Reading>,
    pub(crate) desk: Desk,
    pub(crate) shutdown: CancellationToken,
}

impl<P: Producer> Shipper<P> {
    /// Ships until it is told to stop, and then until the readers have ended and all is delivered, or the stop has
    /// waited long enough. Without a reader it just waits: an agent without sources does not end its process.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut tick = interval(WRITE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deadline = None;
        if !self.find_partitions().await {
            return Ok(());
        }
        self.desk.status.started();
        let mut reading = true;
        loop {
            if self.shutdown.is_cancelled() {
                deadline.get_or_insert_with(|| Instant::now() + STOP_WITHIN);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
            if self.desk.misplaced && self.find_partitions().await {
                self.desk.move_misplaced();
            }
            if let Some(next) = self.desk.outgoing.pop_front() {
                self.send(next, &mut tick, deadline).await?;
                continue;
            }
            if let Some((outgoing, reason)) = self.desk.unwanted.pop_front() {
                self.keep_dead(outgoing, &reason, &mut tick, deadline).await;
                continue;
            }
            let delivered = self.desk.sent.is_empty() && self.desk.refused.is_empty();
            if deadline.is_some() && !reading && delivered {
                break;
            }
            let Self { reports, readings, desk, shutdown, .. } = &mut self;
            tokio::select! {
                biased;
                Some(report) = reports.recv() => desk.reported(report),
                next = readings.recv(), if reading => match next {
                    Some(next) => desk.take(next),
                    None => reading = false,
                },
                result = written(&mut desk.writing) => desk.written(result, false),
                _ = tick.tick() => desk.on_tick(),
                () = until(deadline) => break,
                () = shutdown.cancelled(), if deadline.is_none() => {}
            }
        }
        self.desk.last_write().await
    }

    /// Asks the topic how many partitions it has, until it says; `false`: stopped first.
    async fn find_partitions(&mut self) -> bool {
        loop {
            let asked = tokio::select! {
                partitions = self.producer.partitions() => partitions,
                () = self.shutdown.cancelled() => return false,
            };
            let problem = match asked {
                Ok(0) => "the topic has no partitions".to_owned(),
                Ok(partitions) => {
                    self.desk.partitions = partitions;
                    self.desk.place();
                    self.desk.misplaced = !self.desk.book.misplaced(partitions).is_empty();
                    self.desk.status.topic(None);
                    return true;
                }
                Err(error) => chain(&error),
            };
            self.desk.trouble(&problem);
            tokio::select! {
                () = sleep(RETRY) => {}
                () = self.shutdown.cancelled() => return false,
            }
        }
    }

    /// Sends one message; reports are taken meanwhile, or the topic could not go on.
    async fn send(
        &mut self,
        next: Outgoing,
        tick: &mut Interval,
        deadline: Option<Instant>,
    ) -> Result<(), Error> {
        let Self { producer, reports, desk, shutdown, .. } = self;
        if desk.book.is_urgent() && !desk.sync(shutdown).await {
            desk.outgoing.push_front(next);
            return Ok(());
        }
        let ticket = desk.next_ticket;
        desk.next_ticket += 1;
        let (payload, partition) = (next.sealed.payload.clone(), desk.partition_of(next.source));
        desk.sent.insert(ticket, next);
        desk.status.waiting(desk.budget.used(), false);

        let send = producer.send(partition, payload, ticket);
        let taken = attend(send, reports, desk, tick, deadline, shutdown).await;
        match taken {
            Some(Ok(())) => Ok(()),
            Some(Err(error @ millrace_transport::Error::Closed)) => Err(Error::Topic(error)),
            Some(Err(error)) => {
                desk.take_back(ticket);
                desk.trouble(&chain(&error));
                sleep(RETRY).await;
                Ok(())
            }
            None => {
                desk.take_back(ticket);
                Ok(())
            }
        }
    }

    /// Keeps a record that the topic refuses as a dead letter; nothing else is sent meanwhile.
    async fn keep_dead(
        &mut self,
        outgoing: Outgoing,
        reason: &str,
        tick: &mut Interval,
        deadline: Option<Instant>,
    ) {
        let Self { producer, reports, desk, shutdown, .. } = self;
        let partition = desk.partition_of(outgoing.source);
        let keep = producer.keep_dead(partition, outgoing.sealed.payload.clone(), reason);
        let kept = attend(keep, reports, desk, tick, deadline, shutdown).await;
        let kept = kept.map_or(Err("it is ending".to_owned()), |kept| kept.map_err(|error| chain(&error)));
        desk.kept_dead(outgoing, reason, kept);
    }
}

/// Does something with the topic, and what else comes meanwhile; `None`: it was stopped first.
async fn attend<T>(
    work: impl Future<Output = T>,
    reports: &mut Receiver<DeliveryReport>,
    desk: &mut Desk,
    tick: &mut Interval,
    deadline: Option<Instant>,
    shutdown: &CancellationToken,
) -> Option<T> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            Some(report) = reports.recv() => desk.reported(report),
            result = written(&mut desk.writing) => desk.written(result, false),
            _ = tick.tick() => desk.on_tick(),
            () = until(deadline) => return None,
            () = shutdown.cancelled(), if deadline.is_none() => return None,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
