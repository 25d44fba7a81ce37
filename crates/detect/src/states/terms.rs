//! Values that were there before, to tell one that is new, or rare.

use millrace_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The most values that one group remembers.
pub(crate) const MOST: usize = 100_000;

/// What is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Novelty {
    /// A value that was not there for so long is new again.
    pub(crate) history: Duration,
    /// Nothing is new until values were remembered for so long.
    pub(crate) learn: Duration,
    /// Or was there so often only.
    pub(crate) rare: u32,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// When remembering began, as it was heard.
    began: Timestamp,
    /// When a value was there last.
    pub(crate) latest: Timestamp,
    /// When each value was there last, in seconds, and how often; by its digest.
    #[serde(with = "pairs")]
    seen: BTreeMap<u64, (i64, u32)>,
}

impl Terms {
    pub(crate) fn new(began: Timestamp) -> Self {
        Self { began, latest: began, seen: BTreeMap::new() }
    }

    pub(crate) fn weight(&self) -> usize {
        1 + self.seen.len() / 4
    }

    pub(crate) fn delay(&mut self, by: Duration) {
        self.began = self.began.plus(by);
        self.latest = self.latest.plus(by);
    }

    /// Remembering had begun by then.
    pub(crate) fn began_by(&mut self, heard: Timestamp) {
        self.began = self.began.min(heard);
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// What was there before, too, as if it had been remembered then. Returns how many values were forgotten for want of room.
    pub(crate) fn follow(&mut self, before: &Self) -> u64 {
        self.began_by(before.began);
        self.latest = self.latest.max(before.latest);
        for (value, (second, count)) in &before.seen {
            let known = self.seen.entry(*value).or_insert((*second, 0));
            *known = (known.0.max(*second), known.1.saturating_add(*count));
        }
        self.make_room()
    }

    /// A value was there; says whether that is news. How many were forgotten for want of room comes second.
    pub(crate) fn take(
        &mut self,
        value: u64,
        time: Timestamp,
        heard: Timestamp,
        what: Novelty,
    ) -> (bool, u64) {
        self.latest = self.latest.max(heard);
        let second = time.0.div_euclid(1_000_000_000);
        let history = i64::try_from(what.history.as_secs()).unwrap_or(i64::MAX);
        let known = self.seen.entry(value).or_insert((second, 0));
        if second.saturating_sub(known.0) > history {
            known.1 = 0;
        }
        let new = known.1 <= what.rare;
        *known = (known.0.max(second), known.1.saturating_add(1));
        (new && heard.since(self.began) >= what.learn, self.make_room())
    }

    /// Where there are too many, forgets all but nine tenths of the most: those that were there longest ago.
    fn make_room(&mut self) -> u64 {
        let Some(beyond) = self.seen.len().checked_sub(MOST + 1) else { return 0 };
        let mut times: Vec<i64> = self.seen.values().map(|(second, _)| *second).collect();
        let (_, oldest, _) = times.select_nth_unstable(beyond + MOST / 10);
        let (oldest, before) = (*oldest, self.seen.len());
        self.seen.retain(|_, (second, _)| *second > oldest);
        (before - self.seen.len()) as u64
    }
}

/// As a list: keys of JSON's objects are texts.
mod pairs {
    use super::BTreeMap;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        seen: &BTreeMap<u64, (i64, u32)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(seen.iter().map(|(value, (second, count))| (value, second, count)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<u64, (i64, u32)>, D::Error> {
        let list = Vec::<(u64, i64, u32)>::deserialize(from)?;
        Ok(list.into_iter().map(|(value, second, count)| (value, (second, count))).collect())
    }
}
