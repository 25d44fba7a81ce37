//! Which time a record is kept under, and in which bucket; a message's new records as rows. Pure.

use crate::settings::Streams;
use millrace_ledger::Accounted;
use millrace_model::{LogRecord, Partition, Row, StreamName, Timestamp};
use millrace_store::HotRow;
use std::time::Duration;

/// How far ahead of its observation a record's own time is believed.
const AHEAD: Duration = Duration::from_hours(24);
/// Set on a record that is sorted by when it was observed, because its own time cannot be right: what that time was.
const ADJUSTED: &str = "log.time_adjusted";
const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Into a bucket.
    Keep {
        /// The time that it is sorted by.
        time: Timestamp,
        /// The bucket's start.
        bucket: Timestamp,
        /// Its own time was not believed.
        adjusted: bool,
    },
    /// Nowhere: its retention has ended already.
    Expired,
}

/// Routes a record: by its own time if that lies within [observed − retention, observed + 24 h], else by when it was
/// observed, flagged.
pub fn route(streams: &Streams, stream: &StreamName, record: &mut LogRecord, now: Timestamp) -> Route {
    let retention = streams.retention(stream);
    let observed = record.observed_timestamp;
    let time = record.time();
    let believed = time >= observed.minus(retention) && time <= observed.plus(AHEAD);
    let time = if believed {
        time
    } else {
        record.attributes.set(ADJUSTED, time.to_string());
        observed
    };
    if time < now.minus(retention) {
        return Route::Expired;
    }
    Route::Keep { time, bucket: bucket(time, retention), adjusted: !believed }
}

/// What becomes of a message's new records.
#[derive(Debug, Default)]
pub struct Routed {
    /// Those that are kept, each with its stream and the start of its bucket.
    pub rows: Vec<(StreamName, Timestamp, HotRow)>,
    /// How many of those are sorted by when they were observed.
    pub adjusted: u64,
    /// How many had expired.
    pub expired: u64,
}

/// Makes rows of the new records of the message at `(partition, offset)`: the one way in which records come into shards, now or
/// later. What had expired by `now` is left out.
pub fn rows(
    streams: &Streams,
    (partition, offset): (Partition, i64),
    accounted: Accounted,
    now: Timestamp,
) -> Routed {
    let mut routed = Routed { rows: Vec::with_capacity(accounted.records.len()), ..Routed::default() };
    let stream = accounted.stream;
    for (id, mut record) in accounted.records {
        match route(streams, &stream, &mut record, now) {
            Route::Keep { time, bucket, adjusted } => {
                routed.adjusted += u64::from(adjusted);
                let row = Row { id, stream: stream.clone(), time, record };
                routed.rows.push((stream.clone(), bucket, HotRow { partition, offset, row }));
            }
            Route::Expired => routed.expired += 1,
        }
    }
    routed
}

/// The start of the bucket that holds `time`.
fn bucket(time: Timestamp, retention: Duration) -> Timestamp {
    let width = width(retention);
    Timestamp(time.0.div_euclid(width).saturating_mul(width))
}

/// How long a bucket is: an hour where retention is a week or less, else a day.
pub fn bucket_width(retention: Duration) -> Duration {
    Duration::from_nanos(width(retention).unsigned_abs())
}

fn width(retention: Duration) -> i64 {
    if retention <= Duration::from_hours(168) { HOUR } else { DAY }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000 * DAY + HOUR + 5);

    fn at(time: Option<Timestamp>, observed: Timestamp) -> (Route, LogRecord) {
        let mut record = LogRecord { timestamp: time, observed_timestamp: observed, ..LogRecord::default() };
        (route(&Streams::default(), &StreamName::default(), &mut record, NOW), record)
    }

    #[test]
    fn a_record_is_kept_by_its_own_time() {
        let time = NOW.minus(Duration::from_hours(1));
        let bucket = Timestamp(1_000 * DAY);
        assert_eq!(at(Some(time), NOW).0, Route::Keep { time, bucket, adjusted: false });
        assert_eq!(at(None, NOW).0, Route::Keep { time: NOW, bucket, adjusted: false });
    }

    #[test]
    fn a_time_that_cannot_be_right_gives_way_to_the_observed_one() {
        for wrong in [Timestamp(0), NOW.plus(Duration::from_secs(86_401))] {
            let (route, record) = at(Some(wrong), NOW);
            assert_eq!(route, Route::Keep { time: NOW, bucket: Timestamp(1_000 * DAY), adjusted: true });
            assert!(record.attributes.get(ADJUSTED).is_some());
            assert_eq!(record.timestamp, Some(wrong), "what the record says stays");
        }
    }

    #[test]
    fn what_is_expired_on_arrival_is_dropped() {
        let old = NOW.minus(Duration::from_hours(744));
        assert_eq!(at(Some(old), old).0, Route::Expired);
    }
}
