//! One message: decoded, charged to who sent it, accounted for in the ledger, and its new records made searchable.

use super::Flow;
use crate::{
    GROUP, Parts,
    census::OTHERS,
    metrics::{OfStream, Reason},
    quota::Sent,
    route::{self, Routed},
};
use millrace_catalogue::Day;
use millrace_ledger::{Accounted, Outcome, Place, Reading, SourceState, read};
use millrace_model::{SourceId, Timestamp, wire::SkipReason};
use millrace_transport::{Consumer, Message};
use std::time::Duration;

impl Flow<'_> {
    /// Decodes a message, accounts for it, and makes its new records searchable.
    pub(super) async fn take(&mut self, message: Message) {
        if self.shards.owned(message.partition).is_none() {
            // Its new owner takes it in. Accounting for it here would tell the catalogue that its rows are somewhere.
            return;
        }
        self.parts.metrics.messages.inc();
        let now = self.parts.clock.now();
        let mut reading = read(&message.headers, &message.value);
        let sent = Sent::of(&reading, message.value.len());
        let held = self.hold_back(sent.as_ref(), &mut reading, now).await;
        let accounted = self.account(&message, reading, held).await;
        if let Some(sent) = sent {
            self.meter.count(&self.settings.streams, sent, message.partition, &accounted, held, now);
        }
        self.append(&message, accounted, now);
    }

    /// Keeps a message aside that goes beyond a quota; says whether it does.
    async fn hold_back(&mut self, sent: Option<&Sent>, reading: &mut Reading, now: Timestamp) -> bool {
        // Whoever sends a dead letter again has been asked already.
        let Some(sent) = sent.filter(|_| reading.letter.is_none()) else { return false };
        let streams = &self.settings.streams;
        if self.in_flight.is_none() && self.meter.is_stale(streams, sent, now) {
            let today = Day::of(now);
            match self.parts.catalogue.traffic(GROUP, today).await {
                Ok(traffic) => self.meter.refresh(streams, traffic, today),
                Err(error) => {
                    tracing::warn!(%error, "the catalogue cannot be asked what was brought today");
                }
            }
        }
        let Some(problem) = self.meter.refuses(streams, sent) else { return false };
        self.parts.metrics.held_bytes.inc_by(sent.bytes());
        reading.keep_aside(SkipReason::Quota, problem);
        true
    }

    /// Keeps a dead letter, and asks the ledger what is new in any other message. `held`: only a quota keeps it out.
    async fn account(&mut self, message: &Message, reading: Reading, held: bool) -> Accounted {
        let (partition, offset) = (message.partition, message.offset);
        let metrics = &self.parts.metrics;
        let place = Place {
            topic: self.parts.topic.name(),
            topic_id: self.topic_ids.get(&partition).copied().flatten(),
            partition,
            offset,
            timestamp: message.timestamp,
        };
        if let Some(reason) = reading.dead() {
            metrics.dead_letters.inc();
            if !held {
                tracing::warn!(kafka.partition = partition.0, offset, reason, "a dead letter");
            }
            self.dead.send(message, &place.letter(&reading), reason).await;
        }
        while let Some(source) = self.ledger.missing_for(place, &reading) {
            let stored = load_source(self.parts, source).await;
            self.ledger.load(source, partition, stored);
        }
        let accounted = self.ledger.account(place, reading);
        if accounted.outcome.is_some_and(|outcome| outcome != Outcome::New) {
            metrics.duplicates.inc();
        }
        if accounted.stray {
            metrics.strays.inc();
            tracing::error!(
                kafka.partition = partition.0,
                offset,
                "two agents claim to be one (a cloned machine?): the second one's lines are kept under a source of their own"
            );
        }
        accounted
    }

    /// Puts the new records of a message where they are hits.
    fn append(&mut self, message: &Message, accounted: Accounted, now: Timestamp) {
        let metrics = &self.parts.metrics;
        let place = (message.partition, message.offset);
        let Routed { rows, adjusted, expired } = route::rows(&self.settings.streams, place, accounted, now);
        metrics.adjusted.inc_by(adjusted);
        if expired > 0 {
            metrics.dropped.get_or_create(&Reason { reason: "expired" }).inc_by(expired);
        }
        metrics.records.inc_by(rows.len() as u64);
        let observed = rows.iter().map(|(_, _, hot)| hot.row.record.observed_timestamp);
        let observed = observed.filter(|time| *time > Timestamp(0)).min();
        let end = self.consumer.end(message.partition);
        for (stream, unruly) in self.shards.append(message.partition, rows, message.offset + 1, end) {
            // Streams come and go by the headers of messages; what is configured does not.
            let named = self.settings.streams.named.contains_key(&stream);
            let of = OfStream { stream: if named { stream.to_string() } else { OTHERS.to_owned() } };
            if unruly.conflicts > 0 {
                metrics.type_conflicts.get_or_create(&of).inc_by(unruly.conflicts);
            }
            if unruly.beyond > 0 {
                metrics.beyond_max_fields.get_or_create(&of).inc_by(unruly.beyond);
            }
        }
        self.measure_message(message, observed);
        self.open_since.get_or_insert_with(std::time::Instant::now);
    }
}

/// What the catalogue knows of a source; asks until it answers.
async fn load_source(parts: &Parts, source: SourceId) -> Option<(u64, SourceState)> {
    loop {
        match parts.catalogue.sources(GROUP, &[source]).await {
            Ok(stored) => return stored.into_iter().next().map(|s| (s.version, s.state)),
            Err(error) => {
                tracing::warn!(%error, "the catalogue cannot be asked about a source");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}
