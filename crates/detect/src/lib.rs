//! Rules over the stream: a record and the time go in, findings come out. Sigma's detections and correlations and Millrace's own
//! rules of many kinds are one [`RuleSet`]; a [`Detector`] tests records against it and remembers what was counted.
//!
//! It is not: an alert's life (that is the query service's), a query over what is stored, or a clock.
//!
//! **Invariant:** pure. Nothing here reads a file, a socket or the time; rules come as text, records as rows, `now` as an
//! argument. The Sigma crates are named here and nowhere else, and none of their types leaves.

mod across;
mod cases;
mod detector;
mod dials;
mod document;
mod explain;
mod finding;
mod keys;
mod kinds;
mod matching;
mod needles;
mod ours;
mod past;
mod replay;
mod rule;
mod schedule;
mod set;
mod sigma;
mod states;
mod window;

pub use across::{Handed, MatchBatch, Share};
pub use cases::{CaseOutcome, run_cases};
pub use detector::{Detector, DetectorSettings, DetectorStats, RuleStats, SnapshotError};
pub use dials::Dial;
pub use finding::{Finding, FindingKind, Level, MAX_EVIDENCE, add_evidence};
pub use kinds::{
    Baseline, Change, Flatline, Measure, Metric, NewTerm, RuleKind, Sequence, Spike, Step, Threshold,
    list::List,
    scheduled::{Firing, FiringGroup, MAX_ROWS, Scheduled},
};
pub use matching::Matches;
pub use past::{Past, TooMuch};
pub use replay::{Replay, findings_over};
pub use rule::{Rule, RuleError, RuleFile};
pub use schedule::Schedule;
pub use set::RuleSet;
pub use sigma::Pipelines;

/// The names of these rules' files, with their texts out of the folder `rules`.
macro_rules! files {
    ($($name:literal,)*) => {
        [$((concat!("starter/", $name), include_str!(concat!("../../../rules/", $name))),)*]
    };
}

/// The detections that come with Millrace: every file of the folder `rules`.
pub fn starter() -> Vec<RuleFile> {
    files![
        "account_created.yml",
        "audit_rules_removed.yml",
        "audit_switched_off.yml",
        "clock_wrong.yml",
        "crash_burst.yml",
        "crontab_changed.yml",
        "disk_fault.yml",
        "disk_full.yml",
        "hardware_fault.yml",
        "host_silent.yml",
        "kernel_fault.yml",
        "kernel_module_new.yml",
        "kernel_module_taint.yml",
        "listening_service_new.yml",
        "logging_stopped.yml",
        "login_brute_force.yml",
        "logs_cleared.yml",
        "logs_lost.yml",
        "memory_errors_corrected.yml",
        "oom_kill.yml",
        "partition_silent.yml",
        "persistence_file.yml",
        "privileged_group_member.yml",
        "program_in_temporary_folder.yml",
        "promiscuous_mode.yml",
        "service_failing.yml",
        "ssh_brute_force.yml",
        "ssh_log_in_after_failures.yml",
        "ssh_new_source.yml",
        "ssh_password_spray.yml",
        "sudo_failure.yml",
        "sudo_new_user.yml",
        "uid_zero_account.yml",
        "upstream_down.yml",
        "web_attack_answered.yml",
        "web_attack_tried.yml",
        "web_client_errors.yml",
        "web_path_search.yml",
        "web_scanner_agent.yml",
        "web_server_error_spike.yml",
        "web_server_errors.yml",
    ]
    .into_iter()
    .map(|(path, text)| RuleFile { path: path.to_owned(), text: text.to_owned() })
    .collect()
}

#[cfg(test)]
mod starter_tests;
