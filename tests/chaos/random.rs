//! Chance that can be had again: random numbers out of a seed that is printed, and settings by the environment.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

/// Random numbers (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    /// Out of `MILLRACE_CHAOS_SEED`, or of one that is drawn. Prints it.
    pub(crate) fn from_environment() -> Self {
        let seed =
            number("MILLRACE_CHAOS_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("MILLRACE_CHAOS_SEED={seed}");
        Self(seed)
    }

    /// Another one, whose numbers do not hang together with what is drawn here from now on.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A time of at least `least` and less than `most`.
    pub(crate) fn time(&mut self, least: Duration, most: Duration) -> Duration {
        least + Duration::from_millis(self.below(most.saturating_sub(least).as_millis() as u64))
    }

    /// In another order.
    pub(crate) fn shuffle<T>(&mut self, of: &mut [T]) {
        for at in (1..of.len()).rev() {
            of.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// A setting of the environment, which must be a number.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}
