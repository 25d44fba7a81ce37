//! What a rule says about the stream. A finding is no alert yet: whoever receives it keeps alerts by fingerprint.

use crate::states::exact;
use millrace_model::{RecordId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// How serious a finding is, by Sigma's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth knowing.
    Informational,
    /// Worth a look some day.
    Low,
    /// Worth a look soon. What a rule without a level has.
    #[default]
    Medium,
    /// Worth a look now.
    High,
    /// Worth waking somebody.
    Critical,
}

impl Level {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// Its name in rules and findings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| "informational, low, medium, high or critical expected".to_owned())
    }
}

/// What happened to the condition that a rule watches, for one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingKind {
    /// It has come about.
    Fired,
    /// It goes on: counts and times have moved.
    Updated,
    /// It has been quiet for as long as the rule asks.
    Resolved,
}

/// A rule was satisfied by the records of one group, or goes on being so, or is so no longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's id.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// The rule's level.
    pub level: Level,
    /// What happened.
    pub kind: FindingKind,
    /// The fields that the rule groups by, and this group's values. A field that the records lack is absent.
    pub group: BTreeMap<String, String>,
    /// The same for the same rule and group, for ever: 32 hexadecimal digits.
    pub fingerprint: String,
    /// The earliest event time that was counted.
    pub first: Timestamp,
    /// The latest event time that was counted.
    pub last: Timestamp,
    /// How many records were counted since it fired, those that made it fire included.
    pub count: u64,
    /// Some of them, at most ten, in the order in which they were counted.
    pub evidence: Vec<RecordId>,
    /// What was measured, where the rule measures something.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exact::option")]
    pub value: Option<f64>,
}

/// The most record ids that a finding names.
pub const MAX_EVIDENCE: usize = 10;

/// Adds records to those that a finding, or an alert of it, names: each once, and as many as it may name.
pub fn add_evidence(evidence: &mut Vec<RecordId>, records: impl IntoIterator<Item = RecordId>) {
    for record in records {
        if evidence.len() < MAX_EVIDENCE && !evidence.contains(&record) {
            evidence.push(record);
        }
    }
}

/// Names a rule and a group for life. Values come from log lines, so the hash is one that nobody can aim.
pub(crate) fn fingerprint(rule: &str, group: &BTreeMap<String, String>) -> u128 {
    let pairs = group.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    digest(std::iter::once(rule).chain(pairs))
}

/// Names what a rule remembers of a group besides its findings.
pub(crate) fn memory(rule: &str, group: &BTreeMap<String, String>) -> u128 {
    let pairs = group.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    digest(["millrace memory", rule].into_iter().chain(pairs))
}

/// SHA-256 of texts and their lengths, cut to 128 bits.
pub(crate) fn digest<'a>(parts: impl Iterator<Item = &'a str>) -> u128 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_rules_groups_and_their_edges_apart() {
        let group = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let base = fingerprint("r", &group(&[("ip", "1.2.3.4")]));
        assert_eq!(base, fingerprint("r", &group(&[("ip", "1.2.3.4")])));
        assert_ne!(base, fingerprint("q", &group(&[("ip", "1.2.3.4")])));
        assert_ne!(base, fingerprint("r", &group(&[("i", "p1.2.3.4")])));
        assert_ne!(base, fingerprint("r", &group(&[])));
        // Alerts are kept by this text: it must never change.
        assert_eq!(format!("{base:032x}"), "8ba79a5d8bfa7ef06d314d2cb9a3e705");
    }

    #[test]
    fn levels_are_sigmas() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse::<Level>().unwrap(), level);
            assert_eq!(serde_json::to_string(&level).unwrap(), format!("\"{level}\""));
        }
        assert!("High".parse::<Level>().is_err());
        assert!(Level::Critical > Level::Informational);
    }
}
