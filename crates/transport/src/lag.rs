//! How long the oldest message of each partition waits that has not been taken in: an estimate, without reading it. It came
//! after the last one that was taken, and after the moment when nothing was left; the later of the two is nearest.

use millrace_model::{Partition, Timestamp};
use std::{collections::HashMap, time::Duration};

/// See the module.
#[derive(Debug, Default)]
pub struct Lag(HashMap<Partition, Seen>);

#[derive(Debug)]
struct Seen {
    assigned: Timestamp,
    /// When the topic took the latest message that was taken in here.
    taken: Option<Timestamp>,
    /// When nothing was left to take in.
    caught_up: Option<Timestamp>,
}

impl Lag {
    /// A partition is ours.
    pub fn assigned(&mut self, partition: Partition, now: Timestamp) {
        self.0.insert(partition, Seen { assigned: now, taken: None, caught_up: None });
    }

    /// Partitions are not ours any more.
    pub fn forget(&mut self, partitions: &[Partition]) {
        self.0.retain(|partition, _| !partitions.contains(partition));
    }

    /// A message was taken in, which the topic took at that time.
    pub fn taken(&mut self, partition: Partition, time: Timestamp) {
        if let Some(seen) = self.0.get_mut(&partition) {
            seen.taken = Some(seen.taken.map_or(time, |latest| latest.max(time)));
        }
    }

    /// How long the oldest of so many messages waits; zero where there is none.
    pub fn waits(&mut self, partition: Partition, messages: i64, now: Timestamp) -> Duration {
        let Some(seen) = self.0.get_mut(&partition) else { return Duration::ZERO };
        if messages <= 0 {
            seen.caught_up = Some(now);
            return Duration::ZERO;
        }
        // Nothing is known of what was there before: it waits at least since then.
        now.since(seen.taken.max(seen.caught_up).unwrap_or(seen.assigned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(3);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    fn seconds(lag: &mut Lag, messages: i64, now: i64) -> u64 {
        lag.waits(P, messages, at(now)).as_secs()
    }

    #[test]
    fn a_backlog_is_as_old_as_what_was_read_of_it_last() {
        let mut lag = Lag::default();
        lag.assigned(P, at(1000));
        assert_eq!(seconds(&mut lag, 50, 1002), 2, "nothing was read of it yet");
        lag.taken(P, at(100));
        assert_eq!(seconds(&mut lag, 40, 1002), 902);
        lag.taken(P, at(990));
        lag.taken(P, at(980));
        assert_eq!(seconds(&mut lag, 1, 1002), 12, "a clock that went back does not make it older");
        assert_eq!(seconds(&mut lag, 0, 1003), 0);
    }

    #[test]
    fn a_message_after_a_quiet_hour_is_not_an_hour_old() {
        let mut lag = Lag::default();
        lag.assigned(P, at(0));
        lag.taken(P, at(10));
        assert_eq!(seconds(&mut lag, 0, 3600), 0);
        assert_eq!(seconds(&mut lag, 1, 3601), 1);
        assert_eq!(seconds(&mut lag, 5, 3660), 60, "and is not taken in");
        lag.forget(&[P]);
        assert_eq!(seconds(&mut lag, 5, 3660), 0);
    }
}
