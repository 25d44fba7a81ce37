//! Half-open ranges of positions, and sets of them.

use serde::{Deserialize, Serialize};

/// `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first position inside.
    pub start: u64,
    /// The first position after.
    pub end: u64,
}

impl Span {
    /// How many positions.
    pub const fn length(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// No position at all?
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The positions of both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// Is all of `other` inside?
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// A set of positions: sorted spans that neither overlap nor touch. Nearly always one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Span> {
        self.0.iter().copied()
    }

    /// Nothing inside?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many positions.
    pub fn length(&self) -> u64 {
        self.0.iter().map(|span| span.length()).sum()
    }

    /// The first position after all of them; `None` if there are none.
    pub fn end(&self) -> Option<u64> {
        self.0.last().map(|span| span.end)
    }

    /// The first position of them all.
    pub fn start(&self) -> Option<u64> {
        self.0.first().map(|span| span.start)
    }

    /// Adds a span, joining what it touches.
    pub fn insert(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        let from = self.0.partition_point(|s| s.end < span.start);
        let to = self.0.partition_point(|s| s.start <= span.end);
        let joined = self.0[from..to]
            .iter()
            .fold(span, |all, s| Span { start: all.start.min(s.start), end: all.end.max(s.end) });
        self.0.splice(from..to, [joined]);
    }

    /// Takes a span out; says how many positions of it were inside.
    pub fn remove(&mut self, span: Span) -> u64 {
        let removed = self.overlap(span);
        if removed > 0 {
            let cut = |s: Span| {
                [Span { end: s.end.min(span.start), ..s }, Span { start: s.start.max(span.end), ..s }]
            };
            self.0 = self.0.iter().flat_map(|s| cut(*s)).filter(|s| !s.is_empty()).collect();
        }
        removed
    }

    /// How many positions of `span` are inside.
    pub fn overlap(&self, span: Span) -> u64 {
        let from = self.0.partition_point(|s| s.end <= span.start);
        self.0[from..].iter().take_while(|s| s.start < span.end).map(|s| s.intersection(span).length()).sum()
    }

    /// The parts of `within` that are not inside, in order.
    pub fn gaps(&self, within: Span) -> Vec<Span> {
        let mut gaps = Vec::new();
        let mut at = within.start;
        for span in &self.0 {
            if span.end <= at {
                continue;
            }
            if span.start >= within.end {
                break;
            }
            if span.start > at {
                gaps.push(Span { start: at, end: span.start });
            }
            at = span.end;
        }
        if at < within.end {
            gaps.push(Span { start: at, end: within.end });
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_of_spans_is_a_set_of_positions(
            spans in prop::collection::vec((0u64..60, 0u64..10), 0..12), start in 0u64..60, length in 0u64..30,
        ) {
            let mut set = Spans::default();
            let mut naive = BTreeSet::new();
            for (start, length) in spans {
                set.insert(Span { start, end: start + length });
                naive.extend(start..start + length);
            }
            let within = Span { start, end: start + length };
            prop_assert_eq!(set.length(), naive.len() as u64);
            prop_assert_eq!(set.overlap(within), naive.range(start..start + length).count() as u64);
            let missing: Vec<u64> = set.gaps(within).into_iter().flat_map(|s| s.start..s.end).collect();
            let expected: Vec<u64> = (start..start + length).filter(|p| !naive.contains(p)).collect();
            prop_assert_eq!(missing, expected);
            let list: Vec<Span> = set.iter().collect();
            prop_assert!(list.windows(2).all(|pair| pair[0].end < pair[1].start));
            let left: BTreeSet<u64> = naive.iter().copied().filter(|p| !(start..start + length).contains(p)).collect();
            prop_assert_eq!(set.remove(within), (naive.len() - left.len()) as u64);
            prop_assert!(set.iter().flat_map(|s| s.start..s.end).eq(left));
        }
    }
}
