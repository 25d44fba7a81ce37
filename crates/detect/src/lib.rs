//! Rules over the stream: a record and the time go in, findings come out. Sigma's detections and correlations and Millrace's own
//! rules of many kinds are one [`RuleSet`]; a [`Detector`] tests records against it and remembers what was counted.
//!
//! It is not: an alert's life (that is the query service's), a query over what is stored, or a clock.
//!
//! **Invariant:** pure. Nothing here reads a file, a socket or the time; rules come as text, records as rows, `now` as an
//! argument. The Sigma crates are named here and nowhere else, and none of their types leaves.

mod cases;
mod detector;
mod document;
mod finding;
mod keys;
mod kinds;
mod matching;
mod ours;
mod replay;
mod rule;
mod set;
mod sigma;
mod states;
mod window;

pub use cases::{CaseOutcome, run_cases};
pub use detector::{Detector, DetectorSettings, DetectorStats, MAX_EVIDENCE, RuleStats, SnapshotError};
pub use finding::{Finding, FindingKind, Level};
pub use kinds::{
    Baseline, Change, Flatline, Measure, Metric, NewTerm, RuleKind, Sequence, Spike, Step, Threshold,
    list::List,
};
pub use matching::Matches;
pub use replay::{Replay, findings_over};
pub use rule::{Rule, RuleError, RuleFile};
pub use set::RuleSet;
pub use sigma::Pipelines;

/// The detections that come with Millrace.
pub fn starter() -> Vec<RuleFile> {
    [
        ("starter/ssh_brute_force.yml", include_str!("../../../rules/ssh_brute_force.yml")),
        ("starter/sudo_failure.yml", include_str!("../../../rules/sudo_failure.yml")),
        ("starter/oom_kill.yml", include_str!("../../../rules/oom_kill.yml")),
    ]
    .into_iter()
    .map(|(path, text)| RuleFile { path: path.to_owned(), text: text.to_owned() })
    .collect()
}

#[cfg(test)]
mod starter_tests;
