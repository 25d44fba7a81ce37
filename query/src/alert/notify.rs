//! Empties the outbox: each notification is claimed, posted with its id as idempotency key, and settled. A receiver that
//! fails is tried again, later and later; one that refuses for good is not.

use crate::{Metrics, metrics::Delivery as DeliveryLabel, settings::Receiver};
use millrace_catalogue::{Catalogue, Delivery, DueNotification};
use millrace_model::Clock;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A claimed notification is somebody else's to send after this.
const CLAIM: Duration = Duration::from_secs(30);
/// The outbox is looked at so often, even if nobody says that there is something in it.
const EVERY: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_mins(10);

/// Sends what is in the outbox.
pub struct Notifier {
    catalogue: Catalogue,
    clock: Arc<dyn Clock>,
    receivers: BTreeMap<String, Receiver>,
    client: reqwest::Client,
    metrics: Metrics,
    wake: Arc<Notify>,
}

impl Notifier {
    /// To these receivers; `wake` says that something was put into the outbox.
    pub fn new(
        catalogue: Catalogue,
        clock: Arc<dyn Clock>,
        receivers: BTreeMap<String, Receiver>,
        metrics: Metrics,
        wake: Arc<Notify>,
    ) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self { catalogue, clock, receivers, client, metrics, wake })
    }

    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            match self.catalogue.due_notifications(50).await {
                Ok(due) => {
                    for notification in due {
                        self.deliver(&notification).await;
                    }
                }
                Err(error) => tracing::warn!(%error, "the outbox cannot be read"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn deliver(&self, due: &DueNotification) {
        let id = &due.notification.id;
        match self.catalogue.claim_notification(id, self.clock.now().plus(CLAIM)).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "a notification cannot be claimed");
                return;
            }
        }
        let outcome = self.post(due).await;
        let label = match &outcome {
            Delivery::Delivered => "delivered",
            Delivery::Failed { problem, .. } | Delivery::Abandoned { problem } => {
                tracing::warn!(notification.id = id, problem, "a notification was not delivered");
                "failed"
            }
        };
        self.metrics.notifications.get_or_create(&DeliveryLabel { outcome: label }).inc();
        if let Err(error) = self.catalogue.notified(id, &outcome).await {
            tracing::error!(%error, notification.id = id, "what became of a notification cannot be stored");
        }
    }

    async fn post(&self, due: &DueNotification) -> Delivery {
        let notification = &due.notification;
        let Some(Receiver::Webhook { url }) = self.receivers.get(&notification.receiver) else {
            return Delivery::Abandoned {
                problem: format!("no receiver is called {:?} now", notification.receiver),
            };
        };
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("idempotency-key", &notification.id)
            .body(notification.body.clone());
        let problem = match request.send().await {
            Ok(response) if response.status().is_success() => return Delivery::Delivered,
            Ok(response) if refuses(response.status()) => {
                return Delivery::Abandoned { problem: format!("it answered {}", response.status()) };
            }
            Ok(response) => format!("it answered {}", response.status()),
            Err(error) => error.to_string(),
        };
        let wait = Duration::from_secs(1 << due.attempts.min(10)).min(MAX_WAIT);
        Delivery::Failed { retry_at: self.clock.now().plus(wait), problem }
    }
}

/// Will another try never help? Everything of 4xx but time-outs and "not now".
fn refuses(status: reqwest::StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429)
}
