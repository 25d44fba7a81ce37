//! What can be proved of one source.

use crate::{SourceState, Span};
use millrace_model::wire::SkipReason;
use serde::{Deserialize, Serialize};

/// What can be said of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every byte from its start to its end is accounted for, and nothing was destroyed unread.
    Complete,
    /// So far every byte is accounted for; the source is still open.
    CompleteSoFar,
    /// Some bytes never came.
    Holes,
    /// The source destroyed bytes before they could be read.
    Lost,
    /// Its first message never came, so that its start is not known.
    Unopened,
}

/// A source's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The one word for it.
    pub verdict: Verdict,
    /// Ranges that never came.
    pub holes: Vec<Span>,
    /// Bytes destroyed unread, at least.
    pub lost: u64,
    /// Bytes accounted for.
    pub covered: u64,
}

impl Audit {
    /// Nothing missing and nothing lost?
    pub fn is_complete(&self) -> bool {
        matches!(self.verdict, Verdict::Complete | Verdict::CompleteSoFar)
    }
}

/// Reads a source's account.
pub fn audit(state: &SourceState) -> Audit {
    let start = state.open.as_ref().map_or(0, |open| open.start);
    let end = state.close.as_ref().map(|close| close.end).max(state.covered.end()).unwrap_or(start);
    let holes = state.covered.gaps(Span { start, end });
    let lost = state.skipped.get(&SkipReason::Lost).copied().unwrap_or(0)
        + state.close.as_ref().and_then(|close| close.lost_at_least).unwrap_or(0);
    let destroyed = lost > 0 || state.close.as_ref().is_some_and(|close| close.lost_at_least.is_some());
    let verdict = if state.open.is_none() {
        Verdict::Unopened
    } else if !holes.is_empty() {
        Verdict::Holes
    } else if destroyed {
        Verdict::Lost
    } else if state.close.is_some() {
        Verdict::Complete
    } else {
        Verdict::CompleteSoFar
    };
    Audit { verdict, holes, lost, covered: state.covered.length() }
}
