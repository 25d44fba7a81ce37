//! Time: nanoseconds since the epoch, half-open ranges, and the clock that is passed in.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// Nanoseconds since 1970-01-01T00:00:00Z. Serialises as RFC 3339 with nanoseconds in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest time that can be said.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time that can be said.
    pub const MAX: Self = Self(i64::MAX);

    /// From milliseconds since the epoch; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This long after; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// This long before; saturates.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// From chrono's type; `None` outside the years 1677 to 2262.
    pub fn from_datetime(time: &DateTime<Utc>) -> Option<Self> {
        time.timestamp_nanos_opt().map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&DateTime::from_timestamp_nanos(self.0).to_rfc3339_opts(SecondsFormat::Nanos, true))
    }
}

/// The text is neither RFC 3339 nor epoch milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a time as RFC 3339 or epoch milliseconds expected, found {0:?}")]
pub struct TimeError(pub String);

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let error = || TimeError(text.chars().take(80).collect());
        if let Ok(millis) = text.parse::<i64>() {
            return millis.checked_mul(1_000_000).map(Self).ok_or_else(error);
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| error())?;
        Self::from_datetime(&time.to_utc()).ok_or_else(error)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// `[from, to)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first instant inside.
    pub from: Timestamp,
    /// The first instant after; [`Timestamp::MAX`]: it has no end.
    pub to: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { from: Timestamp::MIN, to: Timestamp::MAX };
    /// No time at all.
    pub const NONE: Self = Self { from: Timestamp::MAX, to: Timestamp::MIN };

    /// Is `time` inside?
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from <= time && self.ends_after(time)
    }

    /// Do the two share an instant? `other` is given by its first and last instants, both inside.
    pub fn overlaps_closed(&self, first: Timestamp, last: Timestamp) -> bool {
        self.ends_after(first) && last >= self.from
    }

    fn ends_after(&self, time: Timestamp) -> bool {
        time < self.to || self.to == Timestamp::MAX
    }
}

/// What time it is. Passed in, so that tests move it by hand.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_datetime(&Utc::now()).unwrap_or(Timestamp::MAX)
    }
}

/// A clock that stands until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Shows `now` from here on.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_range_without_an_end_holds_the_last_instant() {
        for time in [Timestamp::MIN, Timestamp(0), Timestamp::MAX] {
            assert!(TimeRange::ALL.contains(time) && TimeRange::ALL.overlaps_closed(time, time));
            assert!(
                !TimeRange::NONE.contains(time) && !TimeRange::NONE.overlaps_closed(Timestamp::MIN, time)
            );
        }
        let range = TimeRange { from: Timestamp(1), to: Timestamp(2) };
        assert!(range.contains(Timestamp(1)) && !range.contains(Timestamp(2)));
    }

    #[test]
    fn times_print_and_parse_back() {
        for nanos in [0, 1, -1, 1_732_388_400_123_456_789] {
            let time = Timestamp(nanos);
            assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
        assert_eq!("1500".parse::<Timestamp>().unwrap(), Timestamp(1_500_000_000));
        assert_eq!("1970-01-01T01:00:00+01:00".parse::<Timestamp>().unwrap(), Timestamp(0));
        assert!("yesterday".parse::<Timestamp>().is_err());
        assert!(i64::MAX.to_string().parse::<Timestamp>().is_err());
    }
}
