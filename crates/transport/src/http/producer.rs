//! Sends to a topic of another host, one parcel at a time, and keeps what it sent until that host's topic has it.

use super::{HttpTopic, Inner, Outcome, client::Trouble, parcel};
use crate::{
    DeliveryReport, Error, Producer, Rejected, Topic,
    message::{size, weight},
    reports::{Reports, Slot},
    sync::lock,
};
use millrace_model::{Partition, wire::Payload};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::sleep,
};

/// How many bytes may be under way.
const UNDER_WAY: u32 = 32 << 20;
/// A parcel has about so many bytes, unpacked, or one message.
pub(super) const PARCEL: usize = 4 << 20;
/// How long to wait before a parcel is sent again: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// A producer for a topic of another host. Dropped, it gives up what is not reported: `flush` first.
pub struct HttpProducer {
    topic: Arc<Inner>,
    shared: Arc<Shared>,
    sending: AbortHandle,
}

impl fmt::Debug for HttpProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpProducer").field("url", &self.topic.settings.url).finish_non_exhaustive()
    }
}

struct Shared {
    reports: Reports,
    waiting: Mutex<VecDeque<Open>>,
    arrived: Notify,
}

struct Open {
    partition: Partition,
    payload: Payload,
    size: usize,
    slot: Slot,
}

impl HttpProducer {
    pub(super) fn open(topic: &Arc<Inner>, reports: mpsc::Sender<DeliveryReport>) -> Self {
        let reports = Reports::new(reports, UNDER_WAY, topic.metrics.clone());
        let shared = Arc::new(Shared { reports, waiting: Mutex::default(), arrived: Notify::new() });
        let sending = tokio::spawn(deliver_all(Arc::clone(topic), Arc::clone(&shared))).abort_handle();
        Self { topic: Arc::clone(topic), shared, sending }
    }
}

impl Drop for HttpProducer {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

impl Producer for HttpProducer {
    async fn partitions(&self) -> Result<u32, Error> {
        self.topic.partitions().await
    }

    async fn send(&self, partition: Partition, payload: Payload, ticket: u64) -> Result<(), Error> {
        let size = size(&payload.key, &payload.headers, &payload.value);
        let weight = weight(&payload.key, &payload.headers, &payload.value);
        let slot = self.shared.reports.admit(ticket, weight, size).await?;
        lock(&self.shared.waiting).push_back(Open { partition, payload, size, slot });
        self.shared.arrived.notify_one();
        Ok(())
    }

    async fn keep_dead(&self, partition: Partition, original: Payload, reason: &str) -> Result<(), Error> {
        Topic::Http(HttpTopic(Arc::clone(&self.topic))).keep_dead(partition, original, reason).await
    }

    async fn flush(&self, within: Duration) -> bool {
        self.shared.reports.settled(within).await
    }
}

impl Shared {
    /// The next messages, those of one parcel. Waits for some.
    async fn next(&self) -> Vec<Open> {
        loop {
            // A notification between the look and the wait is kept by `Notify`.
            let next = {
                let mut waiting = lock(&self.waiting);
                let count = fitting(waiting.iter().map(|open| open.size), PARCEL);
                waiting.drain(..count).collect::<Vec<Open>>()
            };
            if !next.is_empty() {
                return next;
            }
            self.arrived.notified().await;
        }
    }
}

/// How many of the sizes fit together; one always does, if there is one.
fn fitting(sizes: impl Iterator<Item = usize>, most: usize) -> usize {
    let (mut bytes, mut count) = (0_usize, 0);
    for size in sizes {
        bytes = bytes.saturating_add(size);
        if count > 0 && bytes > most {
            break;
        }
        count += 1;
    }
    count
}

/// Delivers what is sent, until it is aborted.
async fn deliver_all(topic: Arc<Inner>, shared: Arc<Shared>) {
    loop {
        let mut open: VecDeque<Open> = shared.next().await.into();
        // So many at once, less where the other side takes less.
        let mut most = open.len();
        let mut pause = RETRY.0;
        while !open.is_empty() {
            let count = most.min(open.len());
            let part = open.iter().take(count).map(|open| (open.partition, open.payload.clone())).collect();
            match deliver(&topic, part).await {
                Ok(outcomes) => {
                    topic.health.up();
                    for (open, outcome) in open.drain(..count).zip(outcomes) {
                        let outcome = read(outcome, open.partition);
                        open.slot.report(outcome);
                    }
                    pause = RETRY.0;
                }
                Err(trouble) if trouble.too_large && count > 1 => most = count / 2,
                Err(trouble) if trouble.too_large => {
                    // Nothing else is in that parcel.
                    for open in open.drain(..count) {
                        let bytes = open.size;
                        open.slot.report(Err(Rejected::TooLarge { bytes }));
                    }
                }
                Err(trouble) => {
                    topic.metrics.retries.inc();
                    topic.health.down(trouble.problem);
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
    }
}

/// Delivers messages once; an outcome for each.
async fn deliver(topic: &Inner, messages: Vec<(Partition, Payload)>) -> Result<Vec<Outcome>, Trouble> {
    let packed = tokio::task::spawn_blocking(move || parcel::pack(&messages)).await;
    let packed = packed.map_err(|error| Trouble::passing(error.to_string()))?;
    let (parcel, places) = packed.map_err(|error| Trouble::passing(format!("zstd: {error}")))?;
    let answer = topic.client.deliver(parcel).await?;
    if answer.outcomes.len() != places.len() {
        let (found, sent) = (answer.outcomes.len(), places.len());
        return Err(Trouble::passing(format!("it answers for {found} messages, and was sent {sent}")));
    }
    Ok(places.into_iter().map(|place| answer.outcomes[place].clone()).collect())
}

fn read(outcome: Outcome, partition: Partition) -> Result<(Partition, i64), Rejected> {
    match outcome {
        Outcome::Taken(offset) => Ok((partition, offset)),
        Outcome::TooLarge(bytes) => Err(Rejected::TooLarge { bytes }),
        Outcome::NoSuchPartition => Err(Rejected::NoSuchPartition(partition)),
        Outcome::Refused(reason) => Err(Rejected::Refused(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_has_as_much_as_fits_and_one_message_always() {
        let fits = |sizes: &[usize]| fitting(sizes.iter().copied(), 10);
        assert_eq!([fits(&[]), fits(&[4, 6, 1]), fits(&[11]), fits(&[1, usize::MAX, 1])], [0, 2, 1, 1]);
    }
}
