//! Rules tried on lines: the ones that stand in a rule's own file, and any records at all.
//!
//! ```yaml
//! tests:
//!   positive:                       # must fire, once unless `findings` says otherwise
//!     - 'kernel: Out of memory: Killed process 1 (x)'
//!     - { name: slow, every: 10s, repeat: 8, line: 'sshd[1]: Failed …', group: { source_ip: 192.0.2.7 } }
//!     - { lines: ['…', '…'], service: sshd, findings: 2 }
//!   negative:                       # must not fire
//!     - 'java.lang.OutOfMemoryError'
//! ```

use crate::{
    document::Document,
    finding::{Finding, FindingKind},
    keys::parse_span,
    replay::replayed,
    rule::{Rule, RuleError},
    set::RuleSet,
};
use millrace_model::{Attributes, LogRecord, RecordId, Row, SourceId, StreamName, Timestamp, Value, closest};
use serde::Serialize;
use serde_yaml_ng::{Mapping, Value as Yaml};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const KEYS: &[&str] =
    &["name", "line", "lines", "repeat", "every", "service", "host", "findings", "group", "quiet"];
/// The most records that one case makes.
const MAX_RECORDS: usize = 100_000;
/// When the first line of a case happens: 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp(1_767_225_600_000_000_000);

/// Lines, and what a rule must say of them.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    name: String,
    lines: Vec<String>,
    repeat: usize,
    every: Duration,
    service: Option<String>,
    host: String,
    findings: usize,
    group: BTreeMap<String, String>,
    /// So much time passes after the last line.
    quiet: Duration,
}

/// How a case came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseOutcome {
    /// The rule's id.
    pub rule_id: String,
    /// The rule's title.
    pub rule_title: String,
    /// The file that both stand in.
    pub file: String,
    /// The case's name, or its first line.
    pub name: String,
    /// What went wrong; `None`: nothing.
    pub problem: Option<String>,
}

impl CaseOutcome {
    /// Did the rule do as the case says?
    pub fn passed(&self) -> bool {
        self.problem.is_none()
    }
}

/// Runs the cases of every rule that has some, in the order of the rules.
pub fn run_cases(rules: &Arc<RuleSet>) -> Vec<CaseOutcome> {
    let cases = rules.rules().iter().flat_map(|rule| rule.cases.iter().map(move |case| (rule, case)));
    cases
        .map(|(rule, case)| CaseOutcome {
            rule_id: rule.id.clone(),
            rule_title: rule.title.clone(),
            file: rule.file.clone(),
            name: case.name.clone(),
            problem: case.problem(rule, rules),
        })
        .collect()
}

impl Case {
    /// Is it one of the positive ones?
    #[cfg(test)]
    pub(crate) fn must_fire(&self) -> bool {
        self.findings > 0
    }

    fn problem(&self, rule: &Rule, rules: &Arc<RuleSet>) -> Option<String> {
        let found = replayed(rules, self.rows(rule).enumerate(), self.quiet);
        let fired: Vec<Finding> = found
            .into_iter()
            .map(|(_, finding)| finding)
            .filter(|finding| finding.rule_id == rule.id && finding.kind == FindingKind::Fired)
            .collect();
        if fired.len() != self.findings {
            return Some(format!("{} findings expected, {} found", self.findings, fired.len()));
        }
        let differs = |finding: &&Finding| {
            self.group.iter().any(|(name, value)| finding.group.get(name) != Some(value))
        };
        let other = fired.iter().find(differs)?;
        Some(format!("the group {:?} expected, {:?} found", self.group, other.group))
    }

    fn rows(&self, rule: &Rule) -> impl Iterator<Item = Row> {
        let mut resource = Attributes::new();
        resource.set("host.name", self.host.as_str());
        if let Some(service) = &self.service {
            resource.set("service.name", service.as_str());
        }
        let resource = Arc::new(resource);
        let stream = rule.streams.first().cloned().unwrap_or_else(StreamName::default);
        let source = SourceId::derived(&[b"case", self.name.as_bytes()]);
        (0..self.repeat).flat_map(|_| &self.lines).enumerate().map(move |(number, line)| {
            let time = START.plus(self.every.saturating_mul(number as u32));
            let record = LogRecord {
                timestamp: Some(time),
                observed_timestamp: time,
                body: Value::from(line.as_str()),
                resource: Arc::clone(&resource),
                ..LogRecord::default()
            };
            let id = RecordId { source, position: number as u64, index: 0 };
            Row { id, stream: stream.clone(), time, record }
        })
    }
}

/// Reads `tests`.
pub(crate) fn read(document: &Document<'_>, errors: &mut Vec<RuleError>) -> Vec<Case> {
    let tests = match document.root.get("tests") {
        None | Some(Yaml::Null) => return Vec::new(),
        Some(Yaml::Mapping(tests)) => tests,
        Some(_) => {
            errors.push(document.error(&["tests"], "tests: a mapping with positive and negative expected"));
            return Vec::new();
        }
    };
    let mut cases = Vec::new();
    for (key, value) in tests {
        let key = key.as_str().unwrap_or_default();
        let findings = match key {
            "positive" => 1,
            "negative" => 0,
            _ => {
                let message = format!("tests: unknown key {key:?}; positive and negative are known");
                errors.push(document.error(&["tests", key], message));
                continue;
            }
        };
        let Yaml::Sequence(values) = value else {
            errors.push(document.error(&["tests", key], format!("tests.{key}: a list expected")));
            continue;
        };
        for value in values {
            match case(value, findings) {
                Ok(case) => cases.push(case),
                Err(problem) => {
                    errors.push(document.error(&["tests", key], format!("tests.{key}: {problem}")));
                }
            }
        }
    }
    cases
}

fn case(value: &Yaml, findings: usize) -> Result<Case, String> {
    let map = match value {
        Yaml::String(line) => &Mapping::from_iter([(Yaml::from("line"), Yaml::from(line.as_str()))]),
        Yaml::Mapping(map) => map,
        _ => return Err("a line or a mapping expected".to_owned()),
    };
    for key in map.keys() {
        let key = key.as_str().unwrap_or_default();
        if !KEYS.contains(&key) {
            let meant = closest(key, KEYS.iter().copied()).map(|meant| format!("; did you mean {meant:?}?"));
            return Err(format!("unknown key {key:?}{}", meant.unwrap_or_default()));
        }
    }
    let text = |key: &str| match map.get(key) {
        None => Ok(None),
        Some(Yaml::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key}: text expected")),
    };
    let count = |key: &str, default: usize| match map.get(key) {
        None => Ok(default),
        Some(value) => {
            value.as_u64().map(|n| n as usize).ok_or_else(|| format!("{key}: a whole number expected"))
        }
    };
    let lines = lines(map)?;
    let repeat = count("repeat", 1)?;
    if lines.is_empty() || repeat == 0 || lines.len().saturating_mul(repeat) > MAX_RECORDS {
        return Err(format!("1 to {MAX_RECORDS} lines expected"));
    }
    let every = text("every")?.map_or(Ok(Duration::from_secs(1)), |every| parse_span(&every))?;
    Ok(Case {
        name: text("name")?.unwrap_or_else(|| lines[0].clone()),
        repeat,
        every,
        service: text("service")?,
        host: text("host")?.unwrap_or_else(|| "host-1".to_owned()),
        findings: if findings == 0 { 0 } else { count("findings", findings)? },
        group: group(map)?,
        quiet: text("quiet")?.map_or(Ok(Duration::ZERO), |quiet| parse_span(&quiet))?,
        lines,
    })
}

fn lines(map: &Mapping) -> Result<Vec<String>, String> {
    match (map.get("line"), map.get("lines")) {
        (Some(Yaml::String(line)), None) => Ok(vec![line.clone()]),
        (None, Some(Yaml::Sequence(lines))) if lines.iter().all(Yaml::is_string) => {
            Ok(lines.iter().filter_map(Yaml::as_str).map(str::to_owned).collect())
        }
        _ => Err("`line` as text, or `lines` as a list of texts expected".to_owned()),
    }
}

fn group(map: &Mapping) -> Result<BTreeMap<String, String>, String> {
    let error = || "group: a mapping of texts expected".to_owned();
    match map.get("group") {
        None => Ok(BTreeMap::new()),
        Some(Yaml::Mapping(group)) => group
            .iter()
            .map(|(name, value)| match (name, value) {
                (Yaml::String(name), Yaml::String(value)) => Ok((name.clone(), value.clone())),
                _ => Err(error()),
            })
            .collect(),
        Some(_) => Err(error()),
    }
}
