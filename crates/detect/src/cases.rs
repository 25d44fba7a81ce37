//! Rules tried on lines: the ones that stand in a rule's own file, and any records at all.
//!
//! ```yaml
//! tests:
//!   positive:                       # must fire, once unless `findings` says otherwise
//!     - 'kernel: Out of memory: Killed process 1 (x)'
//!     - { name: slow, every: 10s, repeat: 8, line: 'sshd[1]: Failed …', group: { source_ip: 192.0.2.7 } }
//!     - { lines: ['…', '…'], service: sshd, findings: 2 }
//!     - lines:                      # each may have its own number, pace, host and service, and come some time after the one before
//!         - { line: 'usual', repeat: 40, every: 30m }
//!         - { line: 'never seen', after: 2d, host: db-1, service: cron }
//!       quiet: 1h                   # and then nothing happens for so long
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
/// What one of several lines may say.
const LINE_KEYS: &[&str] = &["line", "repeat", "every", "after", "service", "host"];
/// The most records that one case makes.
const MAX_RECORDS: usize = 100_000;
/// When the first line of a case happens: 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp(1_767_225_600_000_000_000);

/// Lines, and what a rule must say of them.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    name: String,
    lines: Vec<Line>,
    repeat: usize,
    findings: usize,
    group: BTreeMap<String, String>,
    /// So much time passes after the last line.
    quiet: Duration,
}

/// One line of a case, or the same again and again.
#[derive(Debug, Clone)]
struct Line {
    text: String,
    repeat: usize,
    /// Between two of them.
    every: Duration,
    /// Between the line before and the first.
    after: Duration,
    host: String,
    service: Option<String>,
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
        let stream = rule.streams.first().cloned().unwrap_or_else(StreamName::default);
        let source = SourceId::derived(&[b"case", self.name.as_bytes()]);
        let lines: Vec<(&Line, Arc<Attributes>)> =
            self.lines.iter().map(|line| (line, line.resource())).collect();
        let all = (0..self.repeat).flat_map(move |_| lines.clone()).flat_map(|(line, resource)| {
            (0..line.repeat).map(move |number| {
                let gap = if number == 0 { line.after } else { line.every };
                (line.text.as_str(), Arc::clone(&resource), gap)
            })
        });
        let mut time = START;
        all.enumerate().map(move |(number, (text, resource, gap))| {
            if number > 0 {
                time = time.plus(gap);
            }
            let record = LogRecord {
                timestamp: Some(time),
                observed_timestamp: time,
                body: Value::from(text),
                resource,
                ..LogRecord::default()
            };
            let id = RecordId { source, position: number as u64, index: 0 };
            Row { id, stream: stream.clone(), time, record }
        })
    }
}

impl Line {
    fn resource(&self) -> Arc<Attributes> {
        let mut resource = Attributes::new();
        resource.set("host.name", self.host.as_str());
        if let Some(service) = &self.service {
            resource.set("service.name", service.as_str());
        }
        Arc::new(resource)
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
    known(map, KEYS)?;
    let lines = lines(map)?;
    let repeat = count(map, "repeat", 1)?;
    let records = lines.iter().fold(0_usize, |records, line| records.saturating_add(line.repeat));
    if lines.is_empty() || repeat == 0 || records.saturating_mul(repeat) > MAX_RECORDS {
        return Err(format!("1 to {MAX_RECORDS} lines expected"));
    }
    Ok(Case {
        name: text(map, "name")?.unwrap_or_else(|| lines[0].text.clone()),
        repeat,
        findings: if findings == 0 { 0 } else { count(map, "findings", findings)? },
        group: group(map)?,
        quiet: span(map, "quiet")?.unwrap_or_default(),
        lines,
    })
}

/// Says which key is none, and which was meant.
fn known(map: &Mapping, keys: &[&str]) -> Result<(), String> {
    for key in map.keys() {
        let key = key.as_str().unwrap_or_default();
        if !keys.contains(&key) {
            let meant = closest(key, keys.iter().copied()).map(|meant| format!("; did you mean {meant:?}?"));
            return Err(format!("unknown key {key:?}{}", meant.unwrap_or_default()));
        }
    }
    Ok(())
}

fn text(map: &Mapping, key: &str) -> Result<Option<String>, String> {
    match map.get(key) {
        None => Ok(None),
        Some(Yaml::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key}: text expected")),
    }
}

fn count(map: &Mapping, key: &str, default: usize) -> Result<usize, String> {
    match map.get(key) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .ok_or_else(|| format!("{key}: a whole number expected")),
    }
}

fn span(map: &Mapping, key: &str) -> Result<Option<Duration>, String> {
    text(map, key)?.map(|span| parse_span(&span).map_err(|problem| format!("{key}: {problem}"))).transpose()
}

/// The lines of a case; what each does not say itself is said by the case.
fn lines(map: &Mapping) -> Result<Vec<Line>, String> {
    let every = span(map, "every")?.unwrap_or(Duration::from_secs(1));
    let line = Line {
        text: String::new(),
        repeat: 1,
        every,
        after: every,
        host: text(map, "host")?.unwrap_or_else(|| "host-1".to_owned()),
        service: text(map, "service")?,
    };
    match (map.get("line"), map.get("lines")) {
        (Some(Yaml::String(text)), None) => Ok(vec![Line { text: text.clone(), ..line }]),
        (None, Some(Yaml::Sequence(lines))) => lines.iter().map(|entry| one_of(entry, &line)).collect(),
        _ => Err("`line` as text, or `lines` as a list expected".to_owned()),
    }
}

fn one_of(entry: &Yaml, case: &Line) -> Result<Line, String> {
    let map = match entry {
        Yaml::String(text) => return Ok(Line { text: text.clone(), ..case.clone() }),
        Yaml::Mapping(map) => map,
        _ => return Err("lines: each a text, or a mapping with `line`, expected".to_owned()),
    };
    known(map, LINE_KEYS).map_err(|problem| format!("lines: {problem}"))?;
    let repeat = count(map, "repeat", 1)?;
    if repeat == 0 {
        return Err("lines: repeat: 1 or more expected".to_owned());
    }
    Ok(Line {
        text: text(map, "line")?.ok_or("lines: each mapping with `line` expected")?,
        repeat,
        every: span(map, "every")?.unwrap_or(case.every),
        after: span(map, "after")?.unwrap_or(case.after),
        host: text(map, "host")?.unwrap_or_else(|| case.host.clone()),
        service: text(map, "service")?.or_else(|| case.service.clone()),
    })
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
