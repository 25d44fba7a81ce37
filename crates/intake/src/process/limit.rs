//! Rates: buckets that fill as time goes by, one for each key.

use millrace_model::Timestamp;
use std::collections::HashMap;

/// How many records at most, and how many of them at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In a second.
    pub per_second: f64,
    /// At once, after a time without any.
    pub burst: f64,
}

/// More keys than this share one bucket.
const MOST_KEYS: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    fn fill(&mut self, rate: Rate, now: Timestamp) {
        // A clock that was set back fills nothing.
        let seconds = if now > self.at { now.since(self.at).as_secs_f64() } else { 0.0 };
        self.tokens = (self.tokens + seconds * rate.per_second).min(rate.burst);
        self.at = self.at.max(now);
    }
}

#[derive(Debug, Default)]
pub(super) struct Buckets {
    of_keys: HashMap<String, Bucket>,
    /// Of the keys that there is no room for.
    of_others: Option<Bucket>,
}

impl Buckets {
    /// Is one more within the rate?
    pub(super) fn take(&mut self, key: &str, rate: Rate, now: Timestamp) -> bool {
        let full = Bucket { tokens: rate.burst, at: now };
        if !self.of_keys.contains_key(key) {
            if self.of_keys.len() >= MOST_KEYS {
                // A bucket that is full again is like none.
                self.of_keys.retain(|_, bucket| {
                    bucket.fill(rate, now);
                    bucket.tokens < rate.burst
                });
            }
            if self.of_keys.len() < MOST_KEYS {
                self.of_keys.insert(key.to_owned(), full);
            }
        }
        let bucket = match self.of_keys.get_mut(key) {
            Some(bucket) => bucket,
            None => self.of_others.get_or_insert(full),
        };
        bucket.fill(rate, now);
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn after(millis: u64) -> Timestamp {
        Timestamp::default().plus(Duration::from_millis(millis))
    }

    #[test]
    fn each_key_has_its_rate_and_its_burst() {
        let (mut buckets, rate) = (Buckets::default(), Rate { per_second: 2.0, burst: 3.0 });
        let mut took = |key: &str, millis| (0..10).filter(|_| buckets.take(key, rate, after(millis))).count();
        assert_eq!((took("a", 0), took("b", 0), took("a", 0)), (3, 3, 0));
        assert_eq!((took("a", 400), took("a", 500), took("a", 10_000)), (0, 1, 3));
        assert_eq!(
            (took("a", 5), took("a", 9_999), took("a", 10_500)),
            (0, 0, 1),
            "a clock that was set back"
        );
    }

    #[test]
    fn keys_without_end_take_no_room_without_end() {
        let (mut buckets, rate) = (Buckets::default(), Rate { per_second: 1.0, burst: 1.0 });
        let taken = (0..30_000).filter(|key| buckets.take(&key.to_string(), rate, after(0))).count();
        assert_eq!((taken, buckets.of_keys.len()), (MOST_KEYS + 1, MOST_KEYS));
        // After a second the buckets are full, and there is room for other keys.
        assert!(buckets.take("another", rate, after(1000)));
        assert_eq!(buckets.of_keys.len(), 1);
    }
}
