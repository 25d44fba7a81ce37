//! How many records have each value of a field.

use crate::shape::put_value;
use hashbrown::HashMap;
use millrace_model::Value;
use millrace_pipes::{ABSENT, Cells};
use std::cmp::Reverse;

/// See the module. Exact; takes memory for each value that occurs. Those of several shards are joined by [`Self::merge`].
#[derive(Debug, Clone, Default)]
pub struct GroupCounts {
    /// By the value's bytes: those of two values are the same when the values are.
    counts: HashMap<Box<[u8]>, (Value, u64)>,
    absent: u64,
    key: Vec<u8>,
    bytes: usize,
}

impl GroupCounts {
    /// Counts the values of some records.
    pub fn add(&mut self, cells: &Cells) {
        let mut counts = vec![0u64; cells.values.len()];
        for code in &cells.codes {
            if let Some(count) = counts.get_mut(*code as usize) {
                *count += 1;
            } else {
                debug_assert!(*code == ABSENT, "a code is that of a value, or none");
                self.absent += 1;
            }
        }
        for (value, count) in cells.values.iter().zip(counts) {
            self.add_value(Some(value), count);
        }
    }

    /// Counts records, with a value or without one.
    pub(crate) fn add_value(&mut self, value: Option<&Value>, count: u64) {
        let Some(value) = value else {
            self.absent += count;
            return;
        };
        if count == 0 {
            return;
        }
        self.key.clear();
        put_value(&mut self.key, value);
        if let Some((_, known)) = self.counts.get_mut(self.key.as_slice()) {
            *known += count;
        } else {
            self.bytes += 96 + 2 * self.key.len();
            self.counts.insert(self.key.as_slice().into(), (value.clone(), count));
        }
    }

    /// Adds what others counted.
    pub fn merge(&mut self, other: &Self) {
        self.absent += other.absent;
        for (value, count) in other.counts.values() {
            self.add_value(Some(value), *count);
        }
    }

    /// The values that occur, and how many records have each; in no order.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&Value, u64)> {
        self.counts.values().map(|(value, count)| (value, *count))
    }

    /// How many records do not have the field.
    pub fn absent(&self) -> u64 {
        self.absent
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.bytes
    }

    /// How many values occur.
    pub fn distinct(&self) -> usize {
        self.counts.len()
    }

    /// The values that occur most, with how many records have each; in a fixed order.
    pub fn top(&self, limit: usize) -> Vec<(&Value, u64)> {
        let mut all: Vec<_> =
            self.counts.iter().map(|(key, (value, count))| (Reverse(*count), key, value)).collect();
        if limit < all.len() && limit > 0 {
            all.select_nth_unstable_by(limit - 1, |a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        }
        all.truncate(limit);
        all.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        all.into_iter().map(|(count, _, value)| (value, count.0)).collect()
    }
}
