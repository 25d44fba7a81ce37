//! What dead letters stand for: positions that are accounted for, but whose records may still come.

use crate::{Span, Spans};
use millrace_model::wire::SkipReason;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Positions that only a dead letter accounts for, by the reason. They are covered, yet open to a good copy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Aside(BTreeMap<SkipReason, Spans>);

impl Aside {
    /// No positions at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many positions.
    pub fn length(&self) -> u64 {
        self.0.values().map(Spans::length).sum()
    }

    /// How many positions of `span` are among them.
    pub fn overlap(&self, span: Span) -> u64 {
        self.0.values().map(|spans| spans.overlap(span)).sum()
    }

    pub(crate) fn insert(&mut self, reason: SkipReason, span: Span) {
        if !span.is_empty() {
            self.0.entry(reason).or_default().insert(span);
        }
    }

    /// Takes a span out; says how much of it was there for which reason.
    pub(crate) fn remove(&mut self, span: Span) -> Vec<(SkipReason, u64)> {
        let mut removed = Vec::new();
        self.0.retain(|reason, spans| {
            let length = spans.remove(span);
            if length > 0 {
                removed.push((*reason, length));
            }
            !spans.is_empty()
        });
        removed
    }
}
