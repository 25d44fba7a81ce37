//! What streams and hosts have brought today (UTC), against what they may. What goes beyond is kept aside as dead letters,
//! which can be sent again.
//!
//! A host's records come through one partition, so its quota is met to the message. A stream's quota goes by what all
//! indexers had published when this one last published: it may be passed by what they take in between two cuts.

use crate::settings::{Quota, Streams};
use millrace_catalogue::{Amount, Brought, Day, Traffic};
use millrace_ledger::{Accounted, Content, Outcome, Reading};
use millrace_model::{LogRecord, Partition, StreamName, Timestamp, Value};
use std::collections::{BTreeMap, HashMap};

/// Where the host is said of a record.
const HOST: &str = "host.name";

/// Who sent a message, and how large it is.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    stream: StreamName,
    host: String,
    bytes: u64,
}

impl Sent {
    /// Of a message whose value has so many bytes; `None`: nobody can be charged for it.
    pub(crate) fn of(reading: &Reading, bytes: usize) -> Option<Self> {
        let (stream, records) = match &reading.content {
            Content::Batch(envelope, records) => (&envelope.stream, records),
            Content::Foreign(stream, records) => (stream, records),
            Content::Marker(_) | Content::Dead { .. } => return None,
        };
        let host = records.first().map(host).unwrap_or_default();
        Some(Self { stream: stream.clone(), host: host.to_owned(), bytes: bytes as u64 })
    }

    /// How large it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn host(record: &LogRecord) -> &str {
    match record.resource.get(HOST) {
        Some(Value::String(host)) => host,
        _ => "",
    }
}

/// Counts what is brought.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Since the last cut.
    pending: BTreeMap<Brought, Amount>,
    today: Option<Day>,
    /// Bytes of today, of streams with quotas: published ones and pending ones.
    streams: HashMap<StreamName, u64>,
    hosts: HashMap<(StreamName, String), u64>,
    /// Other indexers may have published since these were summed up.
    fresh: bool,
}

impl Meter {
    /// Must [`refresh`](Self::refresh) be called before the next [`refuses`](Self::refuses) of this stream?
    pub(crate) fn is_stale(&self, streams: &Streams, sent: &Sent, now: Timestamp) -> bool {
        streams.quota(&sent.stream).is_some() && !(self.fresh && self.today == Some(Day::of(now)))
    }

    /// A cut was published, or partitions have come.
    pub(crate) fn stale(&mut self) {
        self.fresh = false;
    }

    /// Takes in what all indexers have published of today, while no cut of this one is under way.
    pub(crate) fn refresh(&mut self, streams: &Streams, published: Vec<Traffic>, today: Day) {
        self.today = Some(today);
        self.fresh = true;
        self.streams.clear();
        self.hosts.clear();
        for Traffic { day, stream, host, amount } in published {
            self.sum_up(streams, day, &stream, &host, amount.bytes);
        }
        for (brought, amount) in std::mem::take(&mut self.pending) {
            self.sum_up(streams, brought.day, &brought.stream, &brought.host, amount.bytes);
            self.pending.insert(brought, amount);
        }
    }

    fn sum_up(&mut self, streams: &Streams, day: Day, stream: &StreamName, host: &str, bytes: u64) {
        let Some(quota) = streams.quota(stream).filter(|_| self.today == Some(day)) else { return };
        *self.streams.entry(stream.clone()).or_default() += bytes;
        if quota.host_bytes.is_some() {
            *self.hosts.entry((stream.clone(), host.to_owned())).or_default() += bytes;
        }
    }

    /// Why a message goes beyond a quota, if it does.
    pub(crate) fn refuses(&self, streams: &Streams, sent: &Sent) -> Option<String> {
        let Quota { bytes, host_bytes } = streams.quota(&sent.stream)?;
        let used = self.streams.get(&sent.stream).copied().unwrap_or(0);
        if let Some(quota) = bytes.filter(|quota| used.saturating_add(sent.bytes) > *quota) {
            return Some(format!(
                "stream {} may bring {quota} bytes a day, and has brought {used}",
                sent.stream
            ));
        }
        let host_bytes = host_bytes?;
        let key = (sent.stream.clone(), sent.host.clone());
        let used = self.hosts.get(&key).copied().unwrap_or(0);
        (used.saturating_add(sent.bytes) > host_bytes).then(|| {
            format!(
                "a host may bring {host_bytes} bytes a day to stream {}, and {:?} has brought {used}",
                sent.stream, sent.host
            )
        })
    }

    /// A message was taken in, or kept aside for a quota's sake. What had come before costs nothing.
    pub(crate) fn count(
        &mut self,
        streams: &Streams,
        sent: Sent,
        partition: Partition,
        accounted: &Accounted,
        held: bool,
        now: Timestamp,
    ) {
        if accounted.outcome == Some(Outcome::Duplicate) {
            return;
        }
        let day = Day::of(now);
        let Sent { stream, host, bytes } = sent;
        let amount = if held {
            Amount { held_bytes: bytes, ..Amount::default() }
        } else {
            Amount { records: accounted.records.len() as u64, bytes, held_bytes: 0 }
        };
        self.sum_up(streams, day, &stream, &host, amount.bytes);
        *self.pending.entry(Brought { day, partition, stream, host }).or_default() += amount;
    }

    /// What was brought since the last call, to be published.
    pub(crate) fn take(&mut self) -> BTreeMap<Brought, Amount> {
        std::mem::take(&mut self.pending)
    }

    /// Partitions have gone, with what was not published of them.
    pub(crate) fn forget(&mut self, partitions: &[Partition]) {
        self.pending.retain(|brought, _| !partitions.contains(&brought.partition));
        self.stale();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use millrace_model::Attributes;
    use std::{sync::Arc, time::Duration};

    const AT: Partition = Partition(3);
    const NOON: Timestamp = Timestamp(20_000 * 86_400_000_000_000 + 43_200_000_000_000);

    fn sent(host: &str, bytes: usize) -> Sent {
        let mut resource = Attributes::new();
        resource.set(HOST, host);
        let record = LogRecord { resource: Arc::new(resource), ..LogRecord::default() };
        let content = Content::Foreign(StreamName::default(), vec![record]);
        Sent::of(&Reading { content, letter: None }, bytes).unwrap()
    }

    fn streams(bytes: Option<u64>, host_bytes: Option<u64>) -> Streams {
        let quotas = [(StreamName::default(), Quota { bytes, host_bytes })].into();
        Streams { quotas, ..Streams::default() }
    }

    /// What is taken in of `messages` messages of 10 bytes each.
    fn take(meter: &mut Meter, streams: &Streams, host: &str, messages: usize, now: Timestamp) -> usize {
        let one = |_: &usize| {
            let sent = sent(host, 10);
            if meter.is_stale(streams, &sent, now) {
                meter.refresh(streams, Vec::new(), Day::of(now));
            }
            let held = meter.refuses(streams, &sent).is_some();
            let outcome = (!held).then_some(Outcome::New);
            meter.count(streams, sent, AT, &Accounted { outcome, ..Accounted::default() }, held, now);
            !held
        };
        (0..messages).filter(one).count()
    }

    #[test]
    fn what_goes_beyond_a_quota_is_refused_until_the_day_is_over() {
        let streams = streams(Some(50), Some(30));
        let mut meter = Meter::default();
        assert_eq!(take(&mut meter, &streams, "a", 5, NOON), 3, "the host's own quota");
        assert_eq!(take(&mut meter, &streams, "b", 5, NOON), 2, "what is left of the stream's");
        let published = meter.take();
        let of = |host: &str| {
            let brought = Brought {
                day: Day(20_000),
                partition: AT,
                stream: StreamName::default(),
                host: host.to_owned(),
            };
            (published[&brought].bytes, published[&brought].held_bytes)
        };
        assert_eq!((of("a"), of("b")), ((30, 20), (20, 30)));
        assert!(meter.take().is_empty());
        assert_eq!(take(&mut meter, &streams, "a", 1, NOON.plus(Duration::from_hours(12))), 1, "a new day");
    }

    #[test]
    fn what_other_indexers_published_counts() {
        let streams = streams(Some(50), None);
        let mut meter = Meter::default();
        assert!(meter.is_stale(&streams, &sent("a", 10), NOON));
        let amount = Amount { bytes: 45, ..Amount::default() };
        let traffic =
            |day| Traffic { day: Day(day), stream: StreamName::default(), host: "b".to_owned(), amount };
        meter.refresh(&streams, vec![traffic(19_999)], Day(20_000));
        assert_eq!(meter.refuses(&streams, &sent("a", 10)), None, "that was yesterday");
        meter.refresh(&streams, vec![traffic(20_000)], Day(20_000));
        let refused = meter.refuses(&streams, &sent("a", 10)).unwrap();
        assert_eq!(refused, "stream logs may bring 50 bytes a day, and has brought 45");
        assert_eq!(meter.refuses(&streams, &sent("a", 5)), None, "it still fits");
        meter.stale();
        assert!(meter.is_stale(&streams, &sent("a", 10), NOON));
    }

    #[test]
    fn without_a_quota_all_is_counted_and_nothing_refused() {
        let streams = Streams::default();
        let mut meter = Meter::default();
        assert!(!meter.is_stale(&streams, &sent("a", 10), NOON));
        assert_eq!(take(&mut meter, &streams, "a", 5, NOON), 5);
        let again = Accounted { outcome: Some(Outcome::Duplicate), ..Accounted::default() };
        meter.count(&streams, sent("a", 10), AT, &again, false, NOON);
        let bytes: Vec<u64> = meter.take().values().map(|amount| amount.bytes).collect();
        assert_eq!(bytes, [50], "what had come before costs nothing");
        take(&mut meter, &streams, "a", 1, NOON);
        meter.forget(&[AT]);
        assert!(meter.take().is_empty());
    }
}
