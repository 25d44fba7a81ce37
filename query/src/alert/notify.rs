//! Empties the outbox: each notification is claimed, told with its id as idempotency key, and settled. Every receiver has a
//! worker of its own, so that one that fails or hangs holds up nobody else. A receiver that fails is tried again, later and
//! later, until the notification is too old to be of use; one that refuses for good is not.

use super::{
    plan::Message,
    receivers::{Outcome, Receiver, Receivers},
};
use crate::{Metrics, metrics::Delivery as DeliveryLabel};
use millrace_catalogue::{Catalogue, Delivery, DueNotification};
use millrace_model::{Clock, Timestamp};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_64;

/// A claimed notification is somebody else's to send after this.
const CLAIM: Duration = Duration::from_secs(30);
/// and has been told of, or not, before.
const LONGEST: Duration = Duration::from_secs(25);
/// The outbox is looked at so often, even if nobody says that there is something in it.
const EVERY: Duration = Duration::from_secs(1);
/// The longest wait between two attempts that is our own choice.
const MAX_WAIT: Duration = Duration::from_mins(10);
/// So many are read at once.
const AT_ONCE: u32 = 20;
/// What nobody can deliver any more is looked for so often.
const SWEEP: Duration = Duration::from_mins(1);
/// What belongs to nobody is given up after this.
const ORPHANED: Duration = Duration::from_hours(24);
/// What was settled is kept for so long.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// Sends what is in the outbox.
pub struct Notifier {
    catalogue: Catalogue,
    clock: Arc<dyn Clock>,
    receivers: Receivers,
    metrics: Metrics,
    rung: watch::Receiver<()>,
}

impl Notifier {
    /// To these receivers; `rung` says that something was put into the outbox.
    pub fn new(
        catalogue: Catalogue,
        clock: Arc<dyn Clock>,
        receivers: Receivers,
        metrics: Metrics,
        rung: watch::Receiver<()>,
    ) -> Self {
        Self { catalogue, clock, receivers, metrics, rung }
    }

    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let workers = self.receivers.iter().map(|(name, receiver)| {
            let worker = Worker {
                name: name.clone(),
                receiver: Arc::clone(receiver),
                catalogue: self.catalogue.clone(),
                clock: Arc::clone(&self.clock),
                metrics: self.metrics.clone(),
                bucket: Bucket::new(receiver.settings().per_minute, Instant::now()),
            };
            worker.run(self.rung.clone(), shutdown.clone())
        });
        futures_util::future::join(futures_util::future::join_all(workers), self.sweep(shutdown.clone()))
            .await;
    }

    /// Gives up what belongs to receivers that nobody has any more, and forgets what was settled long ago.
    async fn sweep(&self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(SWEEP)).await.is_some() {
            let now = self.clock.now();
            match self.catalogue.overdue_notifications(now.minus(ORPHANED), 1_000).await {
                Ok(overdue) => {
                    for due in
                        overdue.iter().filter(|due| !self.receivers.contains_key(&due.notification.receiver))
                    {
                        let problem = format!("no receiver is called {:?} now", due.notification.receiver);
                        tracing::error!(
                            notification.id = due.notification.id,
                            problem,
                            "a notification is given up"
                        );
                        self.metrics.notifications.get_or_create(&label("", "given_up")).inc();
                        let outcome = Delivery::Abandoned { problem };
                        if let Err(error) = self.catalogue.notified(&due.notification.id, &outcome).await {
                            tracing::warn!(%error, "a notification cannot be given up");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "the outbox cannot be read"),
            }
            if let Err(error) = self.catalogue.forget_notifications(now.minus(KEPT)).await {
                tracing::warn!(%error, "old notifications cannot be forgotten");
            }
        }
    }
}

fn label(receiver: &str, outcome: &'static str) -> DeliveryLabel {
    DeliveryLabel { receiver: receiver.to_owned(), outcome }
}

/// Sends what is for one receiver.
struct Worker {
    name: String,
    receiver: Arc<Receiver>,
    catalogue: Catalogue,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    bucket: Bucket,
}

impl Worker {
    async fn run(mut self, mut rung: watch::Receiver<()>, shutdown: CancellationToken) {
        loop {
            rung.mark_unchanged();
            let mut some = 0;
            match self.catalogue.due_notifications(&self.name, AT_ONCE).await {
                Ok(due) => {
                    for notification in due {
                        let wait = self.bucket.take(Instant::now());
                        if shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                            return;
                        }
                        some += u32::from(self.deliver(&notification).await);
                    }
                }
                Err(error) => tracing::warn!(%error, "the outbox cannot be read"),
            }
            if some > 0 && !shutdown.is_cancelled() {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = rung.changed() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Whether anything changed in the outbox.
    async fn deliver(&self, due: &DueNotification) -> bool {
        let id = &due.notification.id;
        match self.catalogue.claim_notification(id, self.clock.now().plus(CLAIM)).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                tracing::warn!(%error, "a notification cannot be claimed");
                return false;
            }
        }
        let (outcome, counted) = self.outcome(due).await;
        match &outcome {
            Delivery::Delivered => {}
            Delivery::Failed { problem, .. } => {
                tracing::warn!(
                    notification.id = id,
                    receiver = self.name,
                    problem,
                    "a notification was not delivered"
                );
            }
            Delivery::Abandoned { problem } if counted == "superseded" => {
                tracing::debug!(
                    notification.id = id,
                    receiver = self.name,
                    problem,
                    "a notification was left out"
                );
            }
            Delivery::Abandoned { problem } => {
                tracing::error!(
                    notification.id = id,
                    receiver = self.name,
                    problem,
                    "a notification is given up"
                );
            }
        }
        self.metrics.notifications.get_or_create(&label(&self.name, counted)).inc();
        if let Err(error) = self.catalogue.notified(id, &outcome).await {
            tracing::error!(%error, notification.id = id, "what became of a notification cannot be stored");
        }
        true
    }

    async fn outcome(&self, due: &DueNotification) -> (Delivery, &'static str) {
        let notification = &due.notification;
        let message = match Message::read(notification) {
            Ok(message) => message,
            Err(error) => {
                return (Delivery::Abandoned { problem: format!("it cannot be read: {error}") }, "refused");
            }
        };
        if self.receiver.is_stale(&message, self.clock.now().since(notification.created)) {
            return (Delivery::Abandoned { problem: "a later one says the same".to_owned() }, "superseded");
        }
        let told = tokio::time::timeout(LONGEST, self.receiver.tell(&message, &notification.about)).await;
        let hung = || Outcome::Later { problem: format!("it took longer than {LONGEST:?}"), after: None };
        match told.unwrap_or_else(|_| hung()) {
            Outcome::Delivered => (Delivery::Delivered, "delivered"),
            Outcome::Never { problem } => (Delivery::Abandoned { problem }, "refused"),
            Outcome::Later { problem, after } => {
                let wait = pause(&notification.id, due.attempts).max(after.unwrap_or_default());
                let retry_at = self.clock.now().plus(wait);
                let end = notification.created.plus(self.receiver.settings().give_up_after);
                if retry_at > end {
                    (
                        Delivery::Abandoned { problem: given_up(&problem, notification.created, end) },
                        "given_up",
                    )
                } else {
                    (Delivery::Failed { retry_at, problem }, "failed")
                }
            }
        }
    }
}

fn given_up(problem: &str, created: Timestamp, end: Timestamp) -> String {
    format!("it was tried for {:?}: {problem}", end.since(created))
}

/// How long to wait after so many failures: twice as long each time, and not all at the same time.
fn pause(id: &str, failures: u64) -> Duration {
    let wait = Duration::from_secs(1 << failures.min(10)).min(MAX_WAIT);
    let chance = xxh3_64(format!("{id} {failures}").as_bytes()) % 1_000;
    wait.mul_f64(0.75 + chance as f64 / 2_000.0)
}

/// So many a minute, and as many at once where there were none for a while.
#[derive(Debug)]
struct Bucket {
    per_minute: u32,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_minute: u32, now: Instant) -> Self {
        Self { per_minute, tokens: f64::from(per_minute), at: now }
    }

    /// Takes one; how long to wait for it.
    fn take(&mut self, now: Instant) -> Duration {
        let a_second = f64::from(self.per_minute) / 60.0;
        let come = now.saturating_duration_since(self.at).as_secs_f64() * a_second;
        self.tokens = (self.tokens + come).min(f64::from(self.per_minute)) - 1.0;
        self.at = now;
        Duration::from_secs_f64((-self.tokens / a_second).max(0.0))
    }
}

#[cfg(test)]
mod tests;
